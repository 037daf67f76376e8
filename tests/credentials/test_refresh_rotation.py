"""Refresh families: one successor, one grace, one alarm, and nothing that comes back to life."""

from __future__ import annotations

import base64
import datetime
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest

from flask_jam import ConfigError, Jam, Reason, StoreUnavailable, TokenError
from flask_jam._credentials.refresh_rotation import ReuseError
from flask_jam.stores.interface import Family, slot_of
from flask_jam.stores.memory import MemoryStore

from ..cases import each_case
from ..conftest import SECRET, Clock

MakeJam = Callable[..., Jam]
Pair = dict[str, Any]
DAY = 86400.0


def turned(jam: Jam, pair: Pair, **options: Any) -> Pair:
    return jam.refresh_tokens(pair["refresh_token"], **options)


def refused(jam: Jam, refresh_token: Any, **options: Any) -> Reason:
    with pytest.raises(TokenError) as caught:
        jam.refresh_tokens(refresh_token, **options)
    return caught.value.reason


def access_refused(jam: Jam, pair: Pair) -> Reason:
    with pytest.raises(TokenError) as caught:
        jam.verify_jwt_token(pair["access_token"])
    return caught.value.reason


def claims_of(jam: Jam, pair: Pair) -> dict[str, Any]:
    return jam.verify_jwt_token(pair["access_token"])


def generation_of(pair: Pair) -> int:
    return int(pair["refresh_token"].split(".")[1])


@pytest.fixture
def events(jam: Jam) -> list[tuple[str, Mapping[str, Any]]]:
    seen: list[tuple[str, Mapping[str, Any]]] = []
    jam.subscribe(lambda name, what: seen.append((name, what)))
    return seen


# --- a pair ---------------------------------------------------------------------------


def test_a_pair_has_the_form_of_rfc_6749(jam: Jam) -> None:
    pair = jam.issue_tokens("ann", scopes={"write", "read"}, roles=["b", "a", "a"], tenant="t1")
    assert set(pair) == {"access_token", "token_type", "expires_in", "refresh_token", "scope"}
    assert (pair["token_type"], pair["expires_in"], pair["scope"]) == ("Bearer", 900, "read write")
    assert type(pair["expires_in"]) is int
    claims = claims_of(jam, pair)
    assert set(claims) == {
        "sub", "jti", "iat", "exp", "fam", "auth_time", "scope", "roles", "tenant",
    }  # fmt: skip
    assert (claims["sub"], claims["scope"], claims["tenant"]) == ("ann", "read write", "t1")
    assert sorted(claims["roles"]) == ["a", "b"]
    assert claims["auth_time"] == 1_800_000_000.0


def test_pair_comes_with_the_facts_of_its_access_token(jam: Jam) -> None:
    first = jam.issue_pair("ann", scopes={"read"}, roles={"a"})
    second = jam.rotate_pair(first.answer["refresh_token"])
    for pair in (first, second):
        assert pair.access == jam.verifier.verify(pair.answer["access_token"])
        assert "ann" not in repr(pair)
        assert pair.answer["access_token"] not in repr(pair)


def test_without_scopes_and_roles_there_are_no_such_claims(jam: Jam) -> None:
    pair = jam.issue_tokens("ann")
    assert pair["scope"] == ""
    assert {"scope", "roles"}.isdisjoint(claims_of(jam, pair))


def test_issuer_and_audience_are_in_every_pair(make_jam: MakeJam) -> None:
    jam = make_jam(jwt={"issuer": "https://a.example", "audience": "api"})
    pair = jam.issue_tokens("ann")
    for each in (pair, turned(jam, pair)):
        assert claims_of(jam, each)["iss"] == "https://a.example"


@each_case("name", ["jti", "iat", "exp", "nbf", "iss", "aud", "sub", "fam", "auth_time", "scope"])
def test_what_a_pair_says_by_itself_nobody_else_says(jam: Jam, name: str) -> None:
    with pytest.raises(TokenError, match=f"the claim {name} "):
        jam.issue_tokens("ann", **{name: "x"})


@each_case("subject", [1, None, True, "", "x" * 257, "a\nb", b"ann", ["ann"]], ids=repr)
def test_a_subject_is_a_text(jam: Jam, subject: Any) -> None:
    with pytest.raises(TokenError, match="the subject must be a string"):
        jam.issue_tokens(subject)


@each_case("names", ["admin", b"admin", 5, None, {1}, [""], [None]], ids=repr)
@each_case("what", ["scopes", "roles"])
def test_scopes_and_roles_are_sets_of_names(jam: Jam, what: str, names: Any) -> None:
    with pytest.raises(ConfigError, match=what):
        jam.issue_tokens("ann", **{what: names})


@each_case("scope", ["a b", 'a"b', "a\\b", "a\tb", "é", " "])
def test_a_scope_has_only_the_characters_of_rfc_6749(jam: Jam, scope: str) -> None:
    with pytest.raises(ConfigError, match="scopes"):
        jam.issue_tokens("ann", scopes={scope})


def test_a_claim_that_cannot_be_minted_starts_no_family(make_jam: MakeJam) -> None:
    class Counting(MemoryStore):
        started = 0

        def start_family(self, *args: Any) -> None:
            self.started += 1
            super().start_family(*args)

    store = Counting()
    jam = make_jam(store=store)
    with pytest.raises(TokenError, match="when cannot be written as JSON: datetime"):
        jam.issue_tokens("ann", when=datetime.datetime(2030, 1, 1))
    with pytest.raises(TokenError, match=r"jwt\.max_token_bytes"):
        jam.issue_tokens("ann", text="x" * 8192)
    assert store.started == 0
    jam.issue_tokens("ann")
    assert store.started == 1


def test_a_pair_that_the_store_did_not_keep_is_not_handed_out(make_jam: MakeJam) -> None:
    class Silent(MemoryStore):
        def start_family(self, *_: Any) -> None:
            raise StoreUnavailable

    with pytest.raises(StoreUnavailable):
        make_jam(store=Silent()).issue_tokens("ann")


def test_what_the_caller_does_with_its_claims_afterwards_changes_nothing(jam: Jam) -> None:
    groups = ["readers"]
    pair = jam.issue_tokens("ann", groups=groups)
    groups.append("admins")
    assert claims_of(jam, turned(jam, pair))["groups"] == ["readers"]


# --- turning --------------------------------------------------------------------------


def test_a_refresh_gives_a_new_pair_that_says_the_same(jam: Jam, clock: Clock) -> None:
    first = jam.issue_tokens("ann", scopes={"read"}, roles={"admin"}, tenant="t1")
    clock.tick(60)
    second = turned(jam, first)
    assert set(second) == set(first)
    assert second["access_token"] != first["access_token"]
    assert second["refresh_token"] != first["refresh_token"]
    old, new = claims_of(jam, first), claims_of(jam, second)
    moved = {"jti", "iat", "exp"}
    assert {k: v for k, v in new.items() if k not in moved} == {
        k: v for k, v in old.items() if k not in moved
    }
    assert (new["iat"] - old["iat"], new["exp"] - old["exp"]) == (60, 60)
    assert new["jti"] != old["jti"]
    assert second["scope"] == "read"


def test_a_refresh_keeps_when_the_person_proved_who_they_are(jam: Jam, clock: Clock) -> None:
    pair = jam.issue_tokens("ann")
    for _ in range(5):
        clock.tick(DAY)
        pair = turned(jam, pair, reload_claims=lambda _subject, claims: claims)
        assert claims_of(jam, pair)["auth_time"] == 1_800_000_000.0


def test_an_access_token_lives_on_when_its_family_turns(jam: Jam) -> None:
    pair = jam.issue_tokens("ann")
    turned(jam, pair)
    assert claims_of(jam, pair)


@each_case("seconds", [0, 5, 10])
def test_within_the_grace_the_last_token_gets_the_same_successor(
    jam: Jam, clock: Clock, events: list[Any], seconds: float
) -> None:
    first = jam.issue_tokens("ann")
    second = turned(jam, first)
    clock.tick(seconds)
    again = [turned(jam, first) for _ in range(3)]
    assert {pair["refresh_token"] for pair in again} == {second["refresh_token"]}
    assert all(claims_of(jam, pair)["sub"] == "ann" for pair in again)
    assert turned(jam, second)
    assert events == []


def test_after_the_grace_the_last_token_ends_the_family(
    jam: Jam, clock: Clock, events: list[Any]
) -> None:
    first = jam.issue_tokens("ann")
    second = turned(jam, first)
    clock.tick(10.001)
    assert refused(jam, first["refresh_token"]) is Reason.REUSED
    assert refused(jam, second["refresh_token"]) is Reason.REVOKED
    assert [access_refused(jam, pair) for pair in (first, second)] == [Reason.REVOKED] * 2
    assert [name for name, _ in events] == ["revoked", "reuse_detected"]
    assert events[0][1] == {"kind": "family", "subject": "ann", "issuer": None}
    assert events[1][1] == {
        "family": first["refresh_token"].split(".")[0], "subject": "ann", "issuer": None,
    }  # fmt: skip


@each_case("seconds", [-0.01, -4, -10])
def test_grace_holds_on_a_machine_whose_clock_is_behind(
    jam: Jam, clock: Clock, events: list[Any], seconds: float
) -> None:
    first = jam.issue_tokens("ann")
    second = turned(jam, first)
    clock.tick(seconds)
    assert turned(jam, first)["refresh_token"] == second["refresh_token"]
    assert events == []


def test_grace_ends_if_the_rotation_lies_further_ahead_than_the_skew(
    jam: Jam, clock: Clock
) -> None:
    first = jam.issue_tokens("ann")
    turned(jam, first)
    clock.tick(-10.001)
    assert refused(jam, first["refresh_token"]) is Reason.REUSED


def test_the_grace_counts_from_the_turn_and_not_from_its_last_use(jam: Jam, clock: Clock) -> None:
    first = jam.issue_tokens("ann")
    turned(jam, first)
    for _ in range(2):
        clock.tick(5)
        turned(jam, first)
    clock.tick(0.01)
    assert refused(jam, first["refresh_token"]) is Reason.REUSED


def test_the_grace_can_be_set(make_jam: MakeJam, clock: Clock) -> None:
    jam = make_jam(jwt={"refresh_grace": 60})
    first = jam.issue_tokens("ann")
    second = turned(jam, first)
    clock.tick(60)
    assert turned(jam, first)["refresh_token"] == second["refresh_token"]


def test_without_a_grace_the_last_token_is_an_alarm_at_once(
    make_jam: MakeJam, clock: Clock
) -> None:
    jam = make_jam(jwt={"refresh_grace": 0})
    first = jam.issue_tokens("ann")
    turned(jam, first)
    clock.tick(0.001)
    assert refused(jam, first["refresh_token"]) is Reason.REUSED


def test_a_grandparent_is_an_alarm_even_within_the_grace(jam: Jam, events: list[Any]) -> None:
    first = jam.issue_tokens("ann")
    second = turned(jam, first)
    third = turned(jam, second)
    assert refused(jam, first["refresh_token"]) is Reason.REUSED
    for pair in (first, second, third):
        assert refused(jam, pair["refresh_token"]) is Reason.REVOKED
        assert access_refused(jam, pair) is Reason.REVOKED
    assert [name for name, _ in events] == ["revoked", "reuse_detected"]


def test_the_alarm_tells_who_and_which_family(jam: Jam) -> None:
    first = jam.issue_tokens("ann")
    turned(jam, turned(jam, first))
    with pytest.raises(ReuseError) as caught:
        turned(jam, first)
    assert (caught.value.subject, caught.value.reason) == ("ann", Reason.REUSED)
    assert caught.value.family_id == first["refresh_token"].split(".")[0]


def test_reuse_in_one_family_leaves_the_others_of_the_subject_alone(jam: Jam) -> None:
    phone, laptop = jam.issue_tokens("ann"), jam.issue_tokens("ann")
    turned(jam, turned(jam, phone))
    refused(jam, phone["refresh_token"])
    assert claims_of(jam, laptop)
    assert turned(jam, laptop)


def test_fifty_parallel_refreshes_give_one_successor(jam: Jam) -> None:
    first, gate = jam.issue_tokens("ann"), Barrier(50)

    def job(_: int) -> Pair:
        gate.wait()
        return turned(jam, first)

    with ThreadPoolExecutor(50) as pool:
        pairs = list(pool.map(job, range(50)))
    assert len({pair["refresh_token"] for pair in pairs}) == 1
    assert {generation_of(pair) for pair in pairs} == {2}
    assert len({claims_of(jam, pair)["jti"] for pair in pairs}) == 50
    assert turned(jam, pairs[0])


# --- ends -----------------------------------------------------------------------------


def test_a_refresh_token_is_dead_when_it_was_idle_too_long(jam: Jam, clock: Clock) -> None:
    pair = jam.issue_tokens("ann")
    clock.tick(14 * DAY - 0.1)
    pair = turned(jam, pair)
    clock.tick(14 * DAY - 0.1)
    pair = turned(jam, pair)
    clock.tick(14 * DAY)
    assert refused(jam, pair["refresh_token"]) is Reason.EXPIRED


def test_a_family_is_dead_at_its_absolute_end_however_busy_it_is(jam: Jam, clock: Clock) -> None:
    pair = jam.issue_tokens("ann")
    for _ in range(9):
        clock.tick(9.9 * DAY)
        pair = turned(jam, pair)
    clock.tick(0.9 * DAY - 1)
    pair = turned(jam, pair)
    clock.tick(1)
    assert refused(jam, pair["refresh_token"]) is Reason.EXPIRED


def test_an_old_token_of_a_dead_family_is_no_alarm(
    jam: Jam, clock: Clock, events: list[Any]
) -> None:
    first = jam.issue_tokens("ann")
    turned(jam, turned(jam, first))
    clock.tick(14 * DAY)
    assert refused(jam, first["refresh_token"]) is Reason.EXPIRED
    assert events == []


def test_a_revoked_refresh_token_ends_its_family(jam: Jam, events: list[Any]) -> None:
    first = jam.issue_tokens("ann")
    second = turned(jam, first)
    assert jam.revoke_token(first["refresh_token"]) is True
    assert refused(jam, second["refresh_token"]) is Reason.REVOKED
    assert access_refused(jam, second) is Reason.REVOKED
    assert events == [("revoked", {"kind": "family", "subject": "ann", "issuer": None})]
    assert jam.revoke_token(first["refresh_token"]) is False
    assert len(events) == 1


def test_a_revoked_access_token_leaves_its_family_alone(jam: Jam) -> None:
    pair = jam.issue_tokens("ann")
    jam.revoke_token(pair["access_token"])
    assert claims_of(jam, turned(jam, pair))


def test_the_refresh_tokens_of_a_revoked_subject_are_dead(jam: Jam, events: list[Any]) -> None:
    first = jam.issue_tokens("ann")
    second = turned(jam, first)
    other = jam.issue_tokens("bob")
    jam.revoke_subject("ann")
    for pair in (second, first):
        assert refused(jam, pair["refresh_token"]) is Reason.REVOKED
        assert access_refused(jam, pair) is Reason.REVOKED
    assert turned(jam, other)
    after = jam.issue_tokens("ann")
    assert claims_of(jam, turned(jam, after))["sub"] == "ann"
    assert [name for name, _ in events] == ["revoked"]


def test_a_revoked_family_stays_dead_for_as_long_as_it_could_have_lived(
    jam: Jam, clock: Clock
) -> None:
    pair = jam.issue_tokens("ann")
    jam.revoke_subject("ann")
    for _ in range(9):
        clock.tick(10 * DAY - 1)
        assert refused(jam, pair["refresh_token"]) in (Reason.REVOKED, Reason.EXPIRED)


@each_case("back", [0, 0.01, 5, 10])
def test_revoked_family_stays_dead_while_clocks_differ(
    make_jam: MakeJam, clock: Clock, back: float
) -> None:
    jam = make_jam(
        jwt={"expire": 10, "max_lifetime": 10, "refresh_idle": 100, "refresh_absolute": 100},
        session={"idle": 10, "absolute": 10},
    )
    pair = jam.issue_tokens("ann")
    clock.tick(-back)
    jam.revoke_subject("ann")
    clock.tick(back + 99.999)
    assert refused(jam, pair["refresh_token"]) is Reason.REVOKED
    clock.tick(0.001)
    assert refused(jam, pair["refresh_token"]) is Reason.EXPIRED


def test_refresh_overtaken_by_a_subject_revocation_is_useless(
    make_jam: MakeJam,
) -> None:
    class Interrupted(MemoryStore):
        """Between the turn and its answer, somebody revokes the subject."""

        def rotate_family(self, *args: Any, **named: Any) -> Any:
            answer = super().rotate_family(*args, **named)
            jam.revoke_subject("ann")
            return answer

    jam = make_jam(store=Interrupted())
    late = turned(jam, jam.issue_tokens("ann"))
    assert access_refused(jam, late) is Reason.REVOKED
    assert refused(jam, late["refresh_token"]) is Reason.REVOKED


def test_refresh_overtaken_by_the_end_of_its_family_is_useless(
    make_jam: MakeJam,
) -> None:
    class Interrupted(MemoryStore):
        def rotate_family(self, family_id: str, *args: Any, **named: Any) -> Any:
            answer = super().rotate_family(family_id, *args, **named)
            self.end_family(family_id, named["now"], named["mark_until"])
            return answer

    jam = make_jam(store=Interrupted())
    late = turned(jam, jam.issue_tokens("ann"))
    assert access_refused(jam, late) is Reason.REVOKED
    assert refused(jam, late["refresh_token"]) is Reason.REVOKED


def test_refresh_that_overtakes_a_cut_off_gives_nothing_usable(
    make_jam: MakeJam,
) -> None:
    late: list[Pair] = []

    class Slow(MemoryStore):
        """On the way to the store, the cut-off is overtaken by a refresh."""

        def cut(self, *args: Any, **kwargs: Any) -> None:
            late.append(turned(jam, pair))
            super().cut(*args, **kwargs)

    jam = make_jam(store=Slow())
    pair = jam.issue_tokens("ann")
    jam.revoke_subject("ann")
    assert refused(jam, late[0]["refresh_token"]) is Reason.REVOKED
    assert access_refused(jam, late[0]) is Reason.REVOKED


@each_case("step", [0.3, 0.45, 1e-6])
def test_slow_issuance_keeps_a_pair_within_its_lifetime(
    step: float,
) -> None:
    # With the longest life that is allowed there is not a second to spare.
    clock = Clock(1_800_000_000.9999995)

    def running() -> float:
        clock.tick(step)
        return clock()

    def reload(_subject: str, claims: dict[str, Any]) -> dict[str, Any]:
        clock.tick(0.7)
        return claims

    jam = Jam({"jwt": {"secret_key": SECRET, "expire": 2 * DAY}}, clock=running)
    for _ in range(10):
        pair = turned(jam, jam.issue_tokens("ann"), reload_claims=reload)
        assert claims_of(jam, pair)["sub"] == "ann"
        assert jam.verify_jwt_token(jam.gen_jwt_token(jam.make_payload(sub="ann")))


def test_login_overtaken_by_a_subject_revocation_is_useless(
    make_jam: MakeJam,
) -> None:
    class Interrupted(MemoryStore):
        def start_family(self, *args: Any) -> None:
            jam.revoke_subject("ann")
            super().start_family(*args)

    jam = make_jam(store=Interrupted())
    late = jam.issue_tokens("ann")
    assert access_refused(jam, late) is Reason.REVOKED
    assert refused(jam, late["refresh_token"]) is Reason.REVOKED


def test_logging_out_ends_the_token_and_its_family(jam: Jam, clock: Clock) -> None:
    first = jam.issue_tokens("ann")
    second, other = turned(jam, first), jam.issue_tokens("ann")
    clock.tick(901)  # an expired token logs out too
    third = turned(jam, second)
    assert jam.end_login(second["access_token"]) == "ann"
    assert refused(jam, third["refresh_token"]) is Reason.REVOKED
    assert access_refused(jam, third) is Reason.REVOKED
    assert turned(jam, other)


def test_without_a_list_families_end_all_the_same(make_jam: MakeJam) -> None:
    jam = make_jam(jwt={"list": "off"})
    pair, other = jam.issue_tokens("ann"), jam.issue_tokens("ann")
    assert jam.revoke_token(pair["refresh_token"]) is True
    assert refused(jam, pair["refresh_token"]) is Reason.REVOKED
    assert jam.end_login(other["access_token"]) == "ann"
    assert refused(jam, other["refresh_token"]) is Reason.REVOKED


# --- reload_claims --------------------------------------------------------------------


def test_reload_is_asked_with_the_subject_and_its_claims(jam: Jam) -> None:
    asked: list[Any] = []

    def reload(subject: str, claims: dict[str, Any]) -> dict[str, Any]:
        asked.append((subject, dict(claims)))
        return claims

    pair = jam.issue_tokens("ann", scopes={"read"}, roles={"admin"}, tenant="t1")
    assert turned(jam, pair, reload_claims=reload)
    assert asked == [("ann", {"scope": "read", "roles": ["admin"], "tenant": "t1"})]


def test_reloaded_claims_replace_the_old_ones_from_now_on(jam: Jam) -> None:
    pair = jam.issue_tokens("ann", scopes={"read", "write"}, roles={"admin"}, tenant="t1")
    new = {"scope": "read", "level": 2}
    pair = turned(jam, pair, reload_claims=lambda *_: new)
    assert pair["scope"] == "read"
    for each in (pair, turned(jam, pair)):
        claims = claims_of(jam, each)
        found = [claims.get(name) for name in ("scope", "level", "roles", "tenant", "sub")]
        assert found == ["read", 2, None, None, "ann"]


def test_a_subject_that_reload_refuses_is_refused(jam: Jam) -> None:
    pair = jam.issue_tokens("ann")
    assert refused(jam, pair["refresh_token"], reload_claims=lambda *_: None) is Reason.REVOKED


def test_a_refused_refresh_has_turned_nothing(jam: Jam, clock: Clock) -> None:
    pair = jam.issue_tokens("ann")
    refused(jam, pair["refresh_token"], reload_claims=lambda *_: None)
    clock.tick(60)
    assert generation_of(turned(jam, pair)) == 2


def test_a_reload_that_raises_has_turned_nothing(jam: Jam, clock: Clock) -> None:
    def broken(*_: Any) -> None:
        raise LookupError("the database is down")

    pair = jam.issue_tokens("ann")
    with pytest.raises(LookupError):
        turned(jam, pair, reload_claims=broken)
    clock.tick(60)
    assert generation_of(turned(jam, pair)) == 2


BAD_RELOADS: dict[str, Any] = {
    "a date": {"when": datetime.datetime(2030, 1, 1)},
    "NaN": {"x": math.nan},
    "a token that is too large": {"x": "x" * 9000},
    "the subject": {"sub": "eve"},
    "the family": {"fam": "other"},
    "the end": {"exp": 9e9},
    "when the person proved who they are": {"auth_time": 9e9},
    "a text": "admin",
    "true": True,
}


@each_case("what", BAD_RELOADS)
def test_a_reload_that_cannot_be_minted_has_turned_nothing(
    jam: Jam, clock: Clock, what: str
) -> None:
    pair = jam.issue_tokens("ann", tenant="t1")
    # The developer's mistake, and no verdict on the client.
    with pytest.raises((ConfigError, TypeError)):
        turned(jam, pair, reload_claims=lambda *_: BAD_RELOADS[what])
    clock.tick(60)
    again = turned(jam, pair)
    assert generation_of(again) == 2
    assert claims_of(jam, again)["tenant"] == "t1"


@each_case("refuses", [True, False])
def test_reload_changes_only_what_it_returns(jam: Jam, refuses: bool) -> None:
    def greedy(_subject: str, claims: dict[str, Any]) -> Any:
        claims["roles"].append("admin")
        claims["tree"]["a"].append(1)
        claims["more"] = 1
        if refuses:
            return None
        raise LookupError

    pair = jam.issue_tokens("ann", roles={"reader"}, tree={"a": []})
    with pytest.raises((TokenError, LookupError)):
        turned(jam, pair, reload_claims=greedy)
    claims = claims_of(jam, turned(jam, pair))
    assert (claims["roles"], claims["tree"]) == (["reader"], {"a": []})
    assert "more" not in claims


def test_what_happens_to_the_reloaded_claims_afterwards_changes_nothing(jam: Jam) -> None:
    new = {"groups": ["readers"]}
    pair = turned(jam, jam.issue_tokens("ann"), reload_claims=lambda *_: new)
    new["groups"].append("admins")
    assert claims_of(jam, turned(jam, pair))["groups"] == ["readers"]


def test_within_the_grace_the_claims_are_what_reload_says_now(jam: Jam) -> None:
    first = jam.issue_tokens("ann")
    second = turned(jam, first, reload_claims=lambda *_: {"level": 1})
    again = turned(jam, first, reload_claims=lambda *_: {"level": 2})
    assert again["refresh_token"] == second["refresh_token"]
    assert claims_of(jam, again)["level"] == 2
    assert claims_of(jam, turned(jam, again))["level"] == 2


def test_no_grace_is_none_at_all(make_jam: MakeJam) -> None:
    jam = make_jam(jwt={"refresh_grace": 0})
    first = jam.issue_tokens("ann")
    turned(jam, first)
    assert refused(jam, first["refresh_token"]) is Reason.REUSED


def test_a_slow_reload_does_not_lengthen_the_grace(jam: Jam, clock: Clock) -> None:
    first = jam.issue_tokens("ann")
    turned(jam, first)

    def slow(_subject: str, claims: dict[str, Any]) -> dict[str, Any]:
        clock.tick(120)
        return claims

    assert refused(jam, first["refresh_token"], reload_claims=slow) is Reason.REUSED


@each_case("reload", ["refuses", "raises", "agrees"])
def test_reuse_is_an_alarm_whatever_reload_would_say(
    jam: Jam, events: list[Any], reload: str
) -> None:
    def asked(_subject: str, claims: dict[str, Any]) -> Any:
        if reload == "raises":
            raise LookupError
        return None if reload == "refuses" else claims

    first = jam.issue_tokens("ann")
    third = turned(jam, turned(jam, first))
    assert refused(jam, first["refresh_token"], reload_claims=asked) is Reason.REUSED
    assert refused(jam, third["refresh_token"]) is Reason.REVOKED
    assert [name for name, _ in events] == ["revoked", "reuse_detected"]


def test_reload_is_not_asked_for_what_is_dead_already(jam: Jam, clock: Clock) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("asked in vain")

    pair, idle = jam.issue_tokens("ann"), jam.issue_tokens("bob")
    jam.revoke_subject("ann")
    assert refused(jam, pair["refresh_token"], reload_claims=never) is Reason.REVOKED
    clock.tick(14 * DAY)
    assert refused(jam, idle["refresh_token"], reload_claims=never) is Reason.EXPIRED
    assert refused(jam, "x", reload_claims=never) is Reason.INVALID


# --- what is presented ----------------------------------------------------------------


class Untouchable(MemoryStore):
    """Fails the test if anything is asked of it."""

    def read_family(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("a guess reached the store")

    rotate_family = end_family = mark = read_family  # type: ignore[assignment]


@each_case(
    "value",
    [None, 5, b"x", [], {}, True, "", "x", "a.b", "a.1.c", "é", "\udcff", "x" * 100_000],
    ids=lambda value: repr(value)[:12],
)
def test_what_is_no_refresh_token_never_reaches_the_store(make_jam: MakeJam, value: Any) -> None:
    assert refused(make_jam(store=Untouchable()), value) is Reason.INVALID


def test_a_guess_never_reaches_the_store(jam: Jam, make_jam: MakeJam) -> None:
    token = jam.issue_tokens("ann")["refresh_token"]
    family, generation, mac = token.split(".")
    blind = make_jam(store=Untouchable())
    guesses = [
        f"{family}.{int(generation) + 1}.{mac}",
        f"{family[::-1]}.{generation}.{mac}",
        f"{family}.{generation}.{mac[::-1]}",
        f"{family}.0{generation}.{mac}",
        f"{family}.0.{mac}", f"{family}.-1.{mac}", f"{family}.+1.{mac}", f"{family}.1_0.{mac}",
        f"{family}.١.{mac}", f"{family}.{generation}.", f"{family}.{generation}.{mac}=",
        f"{token}.", f" {token}", f"{token}\n", token.upper(), token[:-1],
    ]  # fmt: skip
    for guess in guesses:
        assert refused(blind, guess) is Reason.INVALID
        assert blind.revoke_token(guess) is False
    with pytest.raises(AssertionError):
        blind.refresh_tokens(token)  # the real one does: so the guesses really were stopped


def test_an_access_token_is_no_refresh_token_and_the_other_way_round(jam: Jam) -> None:
    pair = jam.issue_tokens("ann")
    assert refused(jam, pair["access_token"]) is Reason.INVALID
    with pytest.raises(TokenError) as caught:
        jam.verify_jwt_token(pair["refresh_token"])
    assert caught.value.reason is Reason.INVALID


def test_a_token_of_another_service_is_refused(make_jam: MakeJam) -> None:
    stranger = make_jam(jwt={"secret_key": "other" + SECRET}).issue_tokens("ann")
    assert refused(make_jam(), stranger["refresh_token"]) is Reason.INVALID


def test_refresh_token_of_a_former_secret_is_valid_until_its_removal(
    make_jam: MakeJam,
) -> None:
    store = MemoryStore()
    pair = make_jam(store=store).issue_tokens("ann")
    new = {"secret_key": "new" + SECRET}
    rotated = make_jam(jwt={**new, "secret_key_fallbacks": [SECRET]}, store=store)
    renewed = turned(rotated, pair)
    dropped = make_jam(jwt=new, store=store)
    assert refused(dropped, pair["refresh_token"]) is Reason.INVALID
    assert turned(dropped, renewed)


def test_a_refresh_token_says_its_place_and_nothing_else_of_its_subject(jam: Jam) -> None:
    token = jam.issue_tokens("ann-with-a-name", tenant="t1")["refresh_token"]
    family, generation, mac = token.split(".")
    assert (len(family), generation, len(mac)) == (45, "1", 43)
    assert family[:2] == slot_of("ann-with-a-name")
    assert all(len(base64.urlsafe_b64decode(part + "=")) == 32 for part in (family[2:], mac))


def test_two_families_have_nothing_in_common(jam: Jam) -> None:
    tokens = [jam.issue_tokens("ann")["refresh_token"].split(".") for _ in range(20)]
    assert len({family for family, _, _ in tokens}) == len({mac for *_, mac in tokens}) == 20


def test_a_service_that_only_verifies_refuses_every_refresh_token(
    make_jam: MakeJam, jam: Jam
) -> None:
    from ..test_keys import pem_for

    verifies = make_jam(jwt={"alg": "RS256", "public_key": pem_for("RS256").public})
    assert refused(verifies, jam.issue_tokens("ann")["refresh_token"]) is Reason.INVALID


def test_ended_family_is_marked_as_long_as_its_tokens_and_their_leeway(
    make_jam: MakeJam, clock: Clock
) -> None:
    jam = make_jam(jwt={"expire": 100, "max_lifetime": 100, "leeway": 10})
    pair = jam.issue_tokens("ann")
    jam.revoke_token(pair["refresh_token"])
    clock.tick(109.999)
    assert access_refused(jam, pair) is Reason.REVOKED


# --- the clock of the store -----------------------------------------------------------


class SetBack(MemoryStore):
    """A store whose clock is set back between the question before a rotation and the rotation."""

    def read_family(self, *args: Any) -> Family | None:
        family = super().read_family(*args)
        return None if family is None else replace(family, age=family.age + 11)


def test_nobody_gets_a_successor_for_whom_no_claims_were_reloaded(make_jam: MakeJam) -> None:
    jam, asked = make_jam(store=SetBack()), []

    def reload(subject: str, claims: dict[str, Any]) -> dict[str, Any]:
        asked.append(subject)
        return claims

    first = jam.issue_tokens("ann")["refresh_token"]
    jam.refresh_tokens(first, reload_claims=reload)
    with pytest.raises(TokenError) as caught:
        jam.refresh_tokens(first, reload_claims=reload)
    assert caught.value.reason is Reason.REUSED
    assert asked == ["ann"]


# --- most logins of one subject -------------------------------------------------------


@each_case("most, alive", [(0, 120), (1, 1), (100, 100), (None, 100)])
def test_the_setting_says_how_many_logins_live(
    make_jam: MakeJam, clock: Clock, most: int | None, alive: int
) -> None:
    jam = make_jam() if most is None else make_jam(jwt={"max_logins": most})
    pairs = []
    for _ in range(120):
        pairs.append(jam.issue_tokens("ann"))
        clock.tick(1)
    others = jam.issue_tokens("bob")
    found = [jam.families.of_token(pair["refresh_token"]) is not None for pair in pairs]
    assert found == [False] * (120 - alive) + [True] * alive
    assert turned(jam, others)


def test_a_login_that_ended_for_a_newer_one_is_revoked_with_its_tokens(
    make_jam: MakeJam, clock: Clock
) -> None:
    jam = make_jam(jwt={"max_logins": 1})
    first = jam.issue_tokens("ann")
    clock.tick(1)
    second = jam.issue_tokens("ann")
    assert refused(jam, first["refresh_token"]) is Reason.REVOKED
    assert access_refused(jam, first) is Reason.REVOKED
    assert jam.verify_jwt_token(turned(jam, second)["access_token"])
