"""The checker of random faults reports what is wrong in each order of events, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from .chaos.checker import Bounds, check
from .chaos.history import BROKEN, OK, REFUSED, UNAVAILABLE, Call, Fault, History

BOUNDS = Bounds(silence=0.5, grace=1.5, rework_grace=10.0)
GONE = "unknown_session"


def at(op: str, start: float, end: float | None = None, outcome: str = OK, **more: Any) -> Call:
    """A call about the session or login ``x`` of ``ann``; it lasts 0.1 s."""
    about: dict[str, Any] = {"thing": "x", "owner": "ann", **more}
    if op in ("clear", "revoke"):
        about["thing"] = ""
    if op == "read" and outcome == OK:
        about.setdefault("result", shown())
    if op == "verify" and outcome == OK:
        about["result"] = {"thing": "x", "owner": "ann"}
    return Call(op, start, start + 0.1 if end is None else end, outcome, **about)


def shown(**counts: int) -> dict[str, Any]:
    return {"thing": "x", "owner": "ann", "counts": counts}


def gone(op: str, start: float, credential: str, **more: Any) -> Call:
    return at(op, start, outcome=REFUSED, reason=GONE, credential=credential, **more)


def update(start: float, value: int, credential: str = "id", **more: Any) -> Call:
    return at("update", start, credential=credential, args={"key": "k", "value": value}, **more)


def rework(start: float, old: str, new: str, **more: Any) -> Call:
    return at("rework", start, credential=old, result={"id": new}, **more)


def delete(start: float, count: int = 1, **more: Any) -> Call:
    return at("delete", start, **{"credential": "id", "result": {"count": count}, **more})


def refresh(start: float, old: str, new: str, **more: Any) -> Call:
    return at("refresh", start, credential=old, result={"refresh": new, "access": "a"}, **more)


def refused(start: float, credential: str, reason: str, op: str = "refresh", **more: Any) -> Call:
    return at(op, start, outcome=REFUSED, reason=reason, credential=credential, **more)


def lost(op: str, start: float, **more: Any) -> Call:
    return at(op, start, outcome=UNAVAILABLE, **more)


BORN = at("create", 0.0, result={"id": "id"})
ISSUED = at("issue", 0.0, args={"honest": True}, result={"refresh": "r1", "access": "a1"})
WILD = at("issue", 0.0, args={"honest": False}, result={"refresh": "r1", "access": "a1"})


def rules(*calls: Call, faults: tuple[Fault, ...] = ()) -> list[str]:
    """What the checker reports."""
    return [violation.rule for violation in check(History.of(calls, faults), BOUNDS)]


# --- API keys -------------------------------------------------------------------------

REVIVED = ["accepted after it was ended"]
KEY = at("create_key", 0.0, result={"id": "k1"})


def use(start: float, key: str = "k1", outcome: str = OK, **more: Any) -> Call:
    result = {"thing": "x", "owner": "ann"} if outcome == OK else {}
    return at("use_key", start, outcome=outcome, credential=key, result=result, **more)


def rotate(start: float, new: str, key: str = "k1", **more: Any) -> Call:
    return at("rotate_key", start, credential=key, result={"id": new}, **more)


def test_an_api_key_lives_until_something_may_have_ended_it() -> None:
    ended = at("revoke_key", 1.0, credential="k1", result={"alive": True})
    no = {"outcome": REFUSED, "reason": "revoked"}
    for end in (ended, at("revoke", 1.0), rotate(1.0, "k2")):
        assert rules(KEY, use(0.5), end, use(2.0, **no)) == []
        assert rules(KEY, end, use(2.0)) == REVIVED
        assert rules(KEY, end, use(1.3, near=True, process=2)) == []
        assert rules(KEY, end, use(2.0, near=True, process=2)) == REVIVED
    for end in (at("clear", 1.0), at("revoke_key", 1.0, credential="k1", result={"alive": False})):
        assert rules(KEY, end, use(2.0)) == []
        assert rules(KEY, end, use(2.0, **no)) == ["an API key was lost"]
    assert rules(KEY, lost("revoke_key", 1.0, credential="k1"), use(2.0)) == []
    assert rules(KEY, lost("revoke_key", 1.0, credential="k1"), use(2.0, **no)) == []


def test_an_api_key_has_one_successor() -> None:
    assert rules(KEY, rotate(1.0, "k2"), use(2.0, "k2"), rotate(3.0, "k3", "k2")) == []
    assert "an API key has two successors" in rules(KEY, rotate(1.0, "k2"), rotate(1.05, "k3"))
    late = at("rotate_key", 2.0, outcome=REFUSED, reason="reused", credential="k1")
    assert rules(KEY, rotate(1.0, "k2"), late) == []
    assert rules(KEY, late) == ["an API key was lost"]


# --- nothing revives ------------------------------------------------------------------


@pytest.mark.parametrize(
    "end",
    [
        delete(1.0),
        delete(1.0, count=0),
        at("clear", 1.0),
        at("revoke", 1.0),
        rework(1.0, "id", "new"),
    ],
)
def test_a_session_that_opens_after_its_end_is_reported(end: Call) -> None:
    assert rules(BORN, end, at("read", 1.11, credential="id")) == REVIVED
    assert rules(BORN, end, update(1.11, 1)) == REVIVED
    assert rules(BORN, end, gone("read", 1.11, "id"), gone("update", 1.2, "id")) == []


def test_a_call_beside_the_end_may_have_come_first() -> None:
    assert rules(BORN, delete(1.0), at("read", 1.05, credential="id")) == []


def test_an_end_without_an_answer_allows_both() -> None:
    ended = lost("delete", 1.0, credential="id")
    read = at("read", 2.0, credential="id")
    assert rules(BORN, ended, read) == []
    assert rules(BORN, ended, gone("read", 2.0, "id")) == []


def test_the_near_cache_of_another_process_is_late_by_the_bound_only() -> None:
    def read(start: float, process: int) -> Call:
        return at("read", start, credential="id", near=True, process=process)

    assert rules(BORN, delete(1.0), read(1.55, 1)) == []
    assert rules(BORN, delete(1.0), read(1.65, 1)) == REVIVED
    assert rules(BORN, delete(1.0), read(1.15, 0)) == REVIVED


def test_the_near_cache_is_no_excuse_for_a_write() -> None:
    assert rules(BORN, delete(1.0), update(1.15, 1, near=True, process=1)) == REVIVED


def test_an_owner_is_ended_as_of_before_the_call_only() -> None:
    later = at("create", 2.0, thing="y", result={"id": "other"})
    seen = {"thing": "y", "owner": "ann", "counts": {}}
    read = at("read", 3.0, thing="y", credential="other", result=seen)
    assert rules(at("clear", 1.0), later, read) == []
    assert rules(at("clear", 1.95, 2.05), later, read) == []


@pytest.mark.parametrize(
    "end", [at("logout", 1.0, credential="a1"), at("revoke", 1.0), refused(1.0, "r1", "reused")]
)
def test_a_login_that_is_accepted_after_its_end_is_reported(end: Call) -> None:
    assert rules(WILD, end, at("verify", 1.2, credential="a1")) == REVIVED
    assert rules(WILD, end, refresh(1.2, "r1", "r2")) == REVIVED
    assert rules(WILD, end, refused(1.2, "a1", "revoked", op="verify")) == []


def test_a_revoked_token_ends_itself_and_not_its_login() -> None:
    end = at("revoke_token", 1.0, credential="a1")
    assert rules(ISSUED, end, at("verify", 1.2, credential="a1")) == REVIVED
    assert rules(ISSUED, end, at("verify", 1.2, credential="a2")) == []
    assert rules(ISSUED, end, refused(1.2, "a2", "revoked", op="verify")) == ["a login was lost"]


# --- nothing is lost ------------------------------------------------------------------


@pytest.mark.parametrize("op", ["read", "update", "rework"])
def test_a_session_that_is_gone_for_no_reason_is_reported(op: str) -> None:
    assert rules(BORN, gone(op, 1.0, "id")) == ["a session was lost"]


def test_a_session_that_a_repeated_rework_does_not_find_is_reported() -> None:
    hung = lost("rework", 1.0, credential="id")
    assert rules(BORN, hung, gone("rework", 2.0, "id")) == ["a session was lost"]
    assert rules(BORN, hung, gone("read", 1.5, "id"), rework(2.0, "id", "new")) == []


def test_an_id_is_recovered_for_as_long_as_the_docs_say() -> None:
    hung, late = lost("rework", 1.0, credential="id"), gone("rework", 11.5, "id")
    assert rules(BORN, hung, late) == []
    hang = Fault("stop", 0.5, 5.0, down=True, halted=True)
    assert rules(BORN, hung, late, faults=(hang,)) == ["a session was lost"]


def test_an_id_that_had_its_successor_may_be_refused() -> None:
    assert rules(BORN, rework(1.0, "id", "new"), gone("rework", 1.5, "id")) == []


def test_to_delete_the_old_id_may_end_the_new_one_until_that_is_used() -> None:
    done, ended, lacks = rework(1.0, "id", "new"), delete(1.5, count=0), gone("read", 2.0, "new")
    assert rules(BORN, done, ended, lacks) == []
    used = at("read", 1.2, credential="new")
    assert rules(BORN, done, used, ended, lacks) == ["a session was lost"]
    hung = lost("delete", 0.9, credential="id")
    assert rules(BORN, hung, done, lacks) == []


def test_what_comes_later_excuses_nothing() -> None:
    assert rules(BORN, gone("read", 1.0, "id"), delete(1.2)) == ["a session was lost"]
    ended, later = at("revoke", 1.0), at("create", 1.2, result={"id": "id"})
    assert rules(ended, later, gone("read", 1.4, "id")) == ["a session was lost"]


def test_an_owner_wide_end_without_an_answer_excuses_for_a_while() -> None:
    def born(start: float) -> Call:
        return at("create", start, result={"id": "id"})

    ended = lost("revoke", 1.0)
    assert rules(ended, born(2.0), gone("read", 3.0, "id")) == []
    assert rules(ended, born(9.0), gone("read", 10.0, "id")) == ["a session was lost"]


def test_a_login_that_is_refused_for_no_reason_is_reported() -> None:
    assert rules(ISSUED, refused(1.0, "a1", "revoked", op="verify")) == ["a login was lost"]
    assert rules(ISSUED, refused(1.0, "r1", "expired")) == ["a login was lost"]
    assert rules(WILD, refused(1.0, "a1", "revoked", op="verify")) == []


def test_a_creation_is_refused_only_beside_the_end_of_its_owner() -> None:
    create = at("create", 1.0, outcome=REFUSED, reason="revoked")
    assert rules(create) == ["a login was refused for no reason"]
    assert rules(create, at("clear", 1.05)) == []
    assert rules(create, at("clear", 0.5)) == ["a login was refused for no reason"]


# --- a thief and an honest client -----------------------------------------------------

THIEF = ["an honest client was taken for a thief"]
HUNG = lost("refresh", 1.0, credential="r1")


def test_a_repeat_within_the_grace_is_no_theft() -> None:
    assert rules(ISSUED, HUNG, refused(2.0, "r1", "reused")) == THIEF
    assert rules(ISSUED, HUNG, refused(2.6, "r1", "reused")) == []


def test_a_hang_does_not_count_for_what_began_within_it() -> None:
    hang = Fault("stop", 0.9, 4.0, down=True, halted=True)
    late = refused(4.05, "r1", "reused")
    assert rules(ISSUED, HUNG, late, faults=(hang,)) == THIEF
    just_before = Fault("stop", 1.05, 4.0, down=True, halted=True)
    assert rules(ISSUED, HUNG, late, faults=(just_before,)) == []


def test_an_answer_that_was_lost_may_have_said_reused() -> None:
    late, after = lost("refresh", 2.7, credential="r1"), refused(3.0, "r1", "revoked")
    assert rules(ISSUED, HUNG, late, after) == []
    early = lost("refresh", 1.2, credential="r1")
    assert rules(ISSUED, HUNG, early, refused(1.4, "r1", "revoked")) == ["a login was lost"]


def test_two_successors_are_a_fork() -> None:
    again = refresh(1.2, "r1", "r2")
    assert rules(WILD, refresh(1.0, "r1", "r2"), again) == []
    other = refresh(1.2, "r1", "r3")
    assert rules(WILD, refresh(1.0, "r1", "r2"), other) == ["a refresh token has two successors"]


def test_one_successor_of_two_tokens_is_reported() -> None:
    calls = refresh(1.0, "r1", "r2"), refresh(1.0, "r0", "r2")
    assert rules(WILD, *calls) == ["two refresh tokens have one successor"]


def test_a_refresh_token_is_old_when_its_successor_was_used() -> None:
    used = refresh(1.0, "r1", "r2"), refresh(1.2, "r2", "r3")
    assert rules(WILD, *used, refresh(1.4, "r1", "r2")) == ["an old refresh token was taken"]
    assert rules(WILD, *used, refresh(1.25, "r1", "r2")) == []


def test_a_refresh_token_is_old_after_the_grace() -> None:
    first = refresh(1.0, "r1", "r2")
    assert rules(WILD, first, refresh(2.5, "r1", "r2")) == []
    late = ["a refresh token was taken after the grace"]
    assert rules(WILD, first, refresh(2.8, "r1", "r2")) == late


# --- ids ------------------------------------------------------------------------------


def test_a_repeated_rework_gives_the_same_id() -> None:
    first = rework(1.0, "id", "new")
    assert rules(BORN, first, rework(1.2, "id", "new")) == []
    other = rules(BORN, first, rework(1.2, "id", "other"))
    assert other == ["a session has two successors"]


def test_an_old_id_gives_nothing_once_the_new_one_was_used() -> None:
    used = rework(1.0, "id", "new"), at("read", 1.2, credential="new")
    again = rules(BORN, *used, rework(1.4, "id", "new"))
    assert again == ["an old id was taken after the new one was used"]
    assert rules(BORN, *used, rework(1.25, "id", "new")) == []


def test_the_data_of_another_is_reported() -> None:
    wrong = at("read", 1.0, credential="id", result={**shown(), "owner": "bob"})
    assert rules(BORN, wrong) == ["the data of another"]


# --- updates --------------------------------------------------------------------------


def read_of(start: float, value: int | None, **more: Any) -> Call:
    result = shown() if value is None else shown(k=value)
    return at("read", start, credential="id", result=result, **more)


@pytest.mark.parametrize("value", [None, 1])
def test_an_update_that_a_later_read_lacks_is_reported(value: int | None) -> None:
    updates = update(1.0, 1), update(1.2, 2)
    assert rules(BORN, *updates, read_of(1.4, value)) == ["an update was lost"]
    assert rules(BORN, *updates, read_of(1.4, 2)) == []
    assert rules(BORN, *updates, read_of(1.25, 1)) == []


def test_a_near_read_may_lack_an_update_of_another_process_for_a_while() -> None:
    assert rules(BORN, update(1.0, 1), read_of(1.5, None, near=True, process=1)) == []
    late = read_of(1.7, None, near=True, process=1)
    assert rules(BORN, update(1.0, 1), late) == ["an update was lost"]
    own = read_of(1.5, None, near=True)
    assert rules(BORN, update(1.0, 1), own) == ["an update was lost"]


def test_a_value_that_was_not_sent_is_reported() -> None:
    never = ["a value that was never stored"]
    assert rules(BORN, read_of(1.0, 1)) == never
    assert rules(BORN, update(1.2, 1), read_of(1.0, 1)) == never
    hung = lost("update", 0.5, credential="id", args={"key": "k", "value": 1})
    assert rules(BORN, hung, read_of(1.0, 1)) == []
    assert rules(BORN, hung, read_of(1.0, None)) == []


# --- down, hung, not documented -------------------------------------------------------

DOWN = Fault("kill", 1.0, 3.0, down=True, halted=True)
ANSWERED = ["an answer while Redis was down (kill)"]


def test_an_answer_while_redis_is_down_is_reported() -> None:
    assert rules(BORN, at("read", 1.2, credential="id"), faults=(DOWN,)) == ANSWERED
    assert rules(BORN, lost("read", 1.2, credential="id"), faults=(DOWN,)) == []
    assert rules(BORN, at("read", 0.95, credential="id"), faults=(DOWN,)) == []
    assert rules(BORN, at("read", 2.95, credential="id"), faults=(DOWN,)) == []


def test_unknown_is_never_the_answer_while_redis_is_down() -> None:
    ended = delete(0.5)
    unknown = gone("read", 1.2, "id", near=True)
    assert rules(BORN, ended, unknown, faults=(DOWN,)) == ANSWERED


def test_the_near_cache_answers_while_redis_is_down_until_it_is_silent() -> None:
    def read(start: float) -> Call:
        return at("read", start, credential="id", near=True)

    assert rules(BORN, read(1.4), faults=(DOWN,)) == []
    assert rules(BORN, read(1.6), faults=(DOWN,)) == ANSWERED


@pytest.mark.parametrize(
    "odd",
    [
        at("read", 1.0, outcome=BROKEN, reason="KeyError", credential="id"),
        refused(1.0, "id", "expired", op="read"),
        refused(1.0, "id", GONE, op="delete"),
    ],
)
def test_an_outcome_that_is_not_documented_is_reported(odd: Call) -> None:
    assert "an outcome that is not documented" in rules(BORN, odd)


def test_a_call_without_an_answer_in_the_end_is_reported() -> None:
    last = lost("read", 1.0, credential="id", args={"final": True})
    assert rules(BORN, last) == ["no answer after the last fault"]
    long = at("read", 1.0, 22.0, credential="id")
    assert rules(BORN, long) == ["a call that did not return in time"]


# --- tickets --------------------------------------------------------------------------

GIVEN = at("give", 0.0, result={"id": "t"})


def redeem(start: float, **more: Any) -> Call:
    return at("redeem", start, credential="t", result={"thing": "x", "owner": "ann"}, **more)


def test_a_ticket_that_two_calls_redeemed_is_reported() -> None:
    assert rules(GIVEN, redeem(1.0), refused(2.0, "t", "reused", op="redeem")) == []
    assert rules(GIVEN, redeem(1.0), redeem(1.05)) == ["a ticket was redeemed twice"]
    assert rules(GIVEN, redeem(1.0), redeem(2.0)) == [*REVIVED, "a ticket was redeemed twice"]
    assert rules(GIVEN, at("revoke", 1.0), redeem(2.0)) == REVIVED


def test_a_ticket_that_is_refused_for_no_reason_is_reported() -> None:
    call = refused(2.0, "t", "reused", op="redeem")
    assert rules(GIVEN, call) == ["a ticket was lost"]
    assert rules(GIVEN, lost("redeem", 1.0, credential="t"), call) == []
    assert rules(GIVEN, at("revoke", 1.0), refused(2.0, "t", "revoked", op="redeem")) == []
    unknown = refused(2.0, "t", "expired", op="redeem")
    assert "an outcome that is not documented" in rules(GIVEN, redeem(1.0), unknown)
