"""The logins of a user: sessions and refresh families are listed and ended together."""

from __future__ import annotations

from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import pytest

from flask_jam import Jam, LoginInfo, Reason, StoreUnavailable, TokenError
from flask_jam.stores._redis.values import hashed
from flask_jam.stores.interface import owner_of, slot_of
from flask_jam.stores.memory import MemoryStore

from ..cases import each_case
from ..conftest import Clock

MakeJam = Callable[..., Jam]
NOW = 1_800_000_000.0
DAY = 86400.0


def works(jam: Jam, token: str) -> bool:
    try:
        jam.verify_jwt_token(token)
    except TokenError:
        return False
    return True


def can_refresh(jam: Jam, pair: dict[str, Any]) -> bool:
    return jam.families.of_token(pair["refresh_token"]) is not None


def told_by(jam: Jam) -> list[tuple[str, str, str]]:
    told: list[tuple[str, str, str]] = []
    jam.subscribe(lambda name, what: told.append((name, what["kind"], what["subject"])))
    return told


def handles(jam: Jam, subject: str = "ann") -> list[str]:
    return [login.handle for login in jam.list_logins(subject)]


# --- the list -----------------------------------------------------------------------------------


def test_sessions_and_token_logins_are_in_one_list_by_age(jam: Jam, clock: Clock) -> None:
    jam.create_session("ann", {}, user_agent="Firefox", ip="192.0.2.1")
    clock.tick(1)
    jam.issue_pair("ann", "Phone/1", "192.0.2.2")
    clock.tick(1)
    jam.create_session("ann", {})
    jam.issue_tokens("bob")
    browser, phone, second = jam.list_logins("ann")
    assert browser == LoginInfo(
        jam.list_sessions("ann")[0].handle, "session", None, NOW, NOW, NOW + DAY,
        "Firefox", "192.0.2.1",
    )  # fmt: skip
    assert phone == LoginInfo(
        phone.handle, "jwt", None, NOW + 1, NOW + 1, NOW + 1 + 14 * DAY, "Phone/1", "192.0.2.2"
    )
    assert second[1:] == ("session", None, NOW + 2, NOW + 2, NOW + 2 + DAY, None, None)


def test_a_refresh_is_the_last_use_of_a_token_login(jam: Jam, clock: Clock) -> None:
    pair = jam.issue_pair("ann", "Phone/1", "192.0.2.2").answer
    (before,) = jam.list_logins("ann")
    clock.tick(1000)
    jam.refresh_tokens(pair["refresh_token"])
    (after,) = jam.list_logins("ann")
    used = before._replace(last_seen_at=NOW + 1000, expires_at=NOW + 1000 + 14 * DAY)
    assert after == used


def test_an_expired_token_login_is_not_listed(jam: Jam, clock: Clock) -> None:
    jam.issue_tokens("ann")
    clock.tick(14 * DAY - 0.001)
    assert len(jam.list_logins("ann")) == 1
    clock.tick(0.001)
    assert jam.list_logins("ann") == []


def test_tightened_settings_reach_the_list(make_jam: MakeJam, clock: Clock) -> None:
    store = MemoryStore()
    make_jam(store=store).issue_tokens("ann")
    (login,) = make_jam(store=store, jwt={"refresh_idle": 3600}).list_logins("ann")
    assert login.expires_at == NOW + 3600


def test_tokens_without_a_refresh_token_are_no_logins(jam: Jam) -> None:
    jam.issue_tokens("ann", refresh=False)
    jam.gen_jwt_token(jam.make_payload(sub="ann"))
    assert jam.list_logins("ann") == []


@each_case("text, kept", [("x" * 300, "x" * 256), ("", None), (None, None), ("\x1b[0m", "\x1b[0m")])
def test_user_agents_are_bounded(jam: Jam, text: str | None, kept: str | None) -> None:
    jam.issue_pair("ann", text, None)
    jam.create_session("ann", {}, user_agent=text)
    assert [login.user_agent for login in jam.list_logins("ann")] == [kept, kept]


def test_addresses_are_bounded(jam: Jam) -> None:
    # Behind a proxy it is what a header says.
    jam.issue_pair("ann", None, "1" * 5000)
    jam.create_session("ann", {}, ip="1" * 5000)
    assert [len(login.ip or "") for login in jam.list_logins("ann")] == [64, 64]


def test_claims_may_have_the_names_of_what_is_known_of_a_client(jam: Jam) -> None:
    pair = jam.issue_tokens("ann", user_agent="claim", ip="claim", client="claim")
    claims = jam.verify_jwt_token(pair["access_token"])
    assert (claims["user_agent"], claims["ip"], claims["client"]) == ("claim", "claim", "claim")
    assert jam.list_logins("ann")[0].user_agent is None


def test_a_handle_says_nothing_of_the_credential(jam: Jam) -> None:
    pair, session_id = jam.issue_tokens("ann"), jam.create_session("ann", {})
    family_id, _ = jam.families.parsed(pair["refresh_token"])
    for handle in handles(jam):
        assert len(handle) == 20
        assert handle not in str(pair)
        assert handle not in session_id + family_id
        assert not works(jam, handle)
        assert jam.get_session(handle) is None
        with pytest.raises(TokenError):
            jam.refresh_tokens(handle)


def test_a_handle_stays_through_refreshes(jam: Jam, clock: Clock) -> None:
    pair, before = jam.issue_tokens("ann"), handles(jam)
    for _ in range(3):
        clock.tick(60)
        pair = jam.refresh_tokens(pair["refresh_token"])
        assert handles(jam) == before


def test_handles_of_a_thousand_logins_are_all_different(make_jam: MakeJam) -> None:
    jam = make_jam(session={"max_per_owner": 0}, jwt={"max_logins": 0})
    for _ in range(500):
        jam.create_session("ann", {})
        jam.issue_tokens("ann")
    assert len(set(handles(jam))) == 1000


@each_case("subject", ["", "x" * 1025, "\ud800", 7, None, b"ann"])
def test_what_can_be_no_subject_is_a_sentence(jam: Jam, subject: Any) -> None:
    for verb in (
        jam.list_logins, jam.end_logins, lambda name: jam.end_login_by_handle(name, "x")
    ):  # fmt: skip
        with pytest.raises(TokenError, match="cannot be a subject") as caught:
            verb(subject)
        assert caught.value.reason is Reason.INVALID


@each_case("subject", ["a:b", "x" * 1000, "\n", "ümlaut ☃", "{a}"])
def test_every_session_key_has_a_list(jam: Jam, subject: str) -> None:
    jam.create_session(subject, {})
    (handle,) = handles(jam, subject)
    assert jam.end_login_by_handle(subject, handle)
    jam.create_session(subject, {})
    assert jam.end_logins(subject) == 1


# --- ending one ---------------------------------------------------------------------------------


def test_ending_a_token_login_ends_its_access_tokens_and_no_other(jam: Jam) -> None:
    pair, other, session_id = jam.issue_tokens("ann"), jam.issue_tokens("ann"), None
    session_id = jam.create_session("ann", {})
    told = told_by(jam)
    family_id, _ = jam.families.parsed(pair["refresh_token"])
    assert jam.end_login_by_handle("ann", handle_of(family_id))
    assert (works(jam, pair["access_token"]), can_refresh(jam, pair)) == (False, False)
    assert (works(jam, other["access_token"]), can_refresh(jam, other)) == (True, True)
    assert jam.get_session(session_id) == {}
    assert told == [("revoked", "family", "ann")]
    assert not jam.end_login_by_handle("ann", handle_of(family_id))
    assert len(told) == 1


def handle_of(family_id: str) -> str:
    from flask_jam._credentials.refresh_rotation import handle_of_family

    return handle_of_family(family_id)


def test_ending_a_session_by_handle_ends_that_one(jam: Jam) -> None:
    session_id, other = jam.create_session("ann", {}), jam.create_session("ann", {})
    pair, told = jam.issue_tokens("ann"), told_by(jam)
    assert jam.end_login_by_handle("ann", jam.handle_of(session_id))
    assert jam.get_session(session_id) is None
    assert jam.get_session(other) == {}
    assert works(jam, pair["access_token"])
    assert told == [("revoked", "session", "ann")]


def test_a_handle_of_another_subject_ends_nothing(jam: Jam) -> None:
    pair, session_id, told = jam.issue_tokens("bob"), jam.create_session("bob", {}), told_by(jam)
    for handle in handles(jam, "bob"):
        assert not jam.end_login_by_handle("ann", handle)
    assert works(jam, pair["access_token"])
    assert jam.get_session(session_id) == {}
    assert told == []


@each_case("handle", ["", "x", None, 7, b"x", [], {}, "A" * 5000, "\ud800", "\x00"])
def test_a_malformed_handle_ends_nothing(jam: Jam, handle: Any) -> None:
    jam.issue_tokens("ann")
    jam.create_session("ann", {})
    assert not jam.end_login_by_handle("ann", handle)
    assert len(jam.list_logins("ann")) == 2


def test_credentials_are_no_handles(jam: Jam) -> None:
    pair, session_id = jam.issue_tokens("ann"), jam.create_session("ann", {})
    for text in (*map(str, pair.values()), session_id, pair["refresh_token"].split(".")[0]):
        assert not jam.end_login_by_handle("ann", text)


def test_one_login_is_ended_once_by_eight_threads(jam: Jam) -> None:
    jam.issue_tokens("ann")
    (handle,) = handles(jam)
    told, ended, gate = told_by(jam), [], Barrier(8)

    def end() -> None:
        gate.wait()
        ended.append(jam.end_login_by_handle("ann", handle))

    threads = [Thread(target=end) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ended) == [False] * 7 + [True]
    assert told == [("revoked", "family", "ann")]


# --- ending all ---------------------------------------------------------------------------------


def test_logging_out_everywhere_ends_sessions_and_tokens_of_that_subject(jam: Jam) -> None:
    pairs = [jam.issue_tokens(subject) for subject in ("ann", "ann", "bob")]
    ids = [jam.create_session(subject, {}) for subject in ("ann", "ann", "ann", "bob")]
    told = told_by(jam)
    assert jam.end_logins("ann") == 5
    assert [works(jam, pair["access_token"]) for pair in pairs] == [False, False, True]
    assert [can_refresh(jam, pair) for pair in pairs] == [False, False, True]
    assert [jam.get_session(each) for each in ids] == [None, None, None, {}]
    assert told == [("revoked", "session", "ann"), ("revoked", "family", "ann")]
    assert jam.list_logins("ann") == []
    assert len(jam.list_logins("bob")) == 2


def test_refresh_after_logging_out_everywhere_is_revoked(jam: Jam) -> None:
    pair = jam.issue_tokens("ann")
    jam.end_logins("ann")
    for present, token in (
        (jam.refresh_tokens, "refresh_token"), (jam.verify_jwt_token, "access_token")
    ):  # fmt: skip
        with pytest.raises(TokenError) as caught:
            present(pair[token])
        assert caught.value.reason is Reason.REVOKED
    assert not jam.revoke_token(pair["access_token"])


@each_case("have, told", [
    (lambda jam: jam.create_session("ann", {}), ["session"]),
    (lambda jam: jam.issue_tokens("ann"), ["family"]),
    (lambda jam: jam.issue_tokens("ann", refresh=False), []),
    (lambda jam: jam.create_session("bob", {}), []),
])  # fmt: skip
def test_only_what_was_ended_is_reported(
    jam: Jam, have: Callable[[Jam], object], told: list[str]
) -> None:
    have(jam)
    heard = told_by(jam)
    assert jam.end_logins("ann") == len(told)
    assert heard == [("revoked", kind, "ann") for kind in told]
    assert jam.end_logins("ann") == 0
    assert len(heard) == len(told)


def test_tokens_that_are_no_logins_live_on(jam: Jam) -> None:
    token = jam.gen_jwt_token(jam.make_payload(sub="ann"))
    alone = jam.issue_tokens("ann", refresh=False)["access_token"]
    jam.end_logins("ann")
    assert works(jam, token)
    assert works(jam, alone)
    # Also of a payload from before.
    old = jam.make_payload(sub="ann", iat=NOW - 100)
    assert works(jam, jam.gen_jwt_token(old))
    jam.revoke_subject("ann")
    assert not works(jam, token)
    assert not works(jam, alone)


def test_claims_of_an_ended_login_cannot_be_minted_again(jam: Jam, clock: Clock) -> None:
    claims = jam.verify_jwt_token(jam.issue_tokens("ann")["access_token"])
    clock.tick(60)
    jam.end_logins("ann")
    with pytest.raises(TokenError) as caught:
        jam.gen_jwt_token(claims)
    assert caught.value.reason is Reason.REVOKED
    del claims["iat"], claims["exp"]
    assert not works(jam, jam.gen_jwt_token(claims)), "its family is marked"


def test_a_login_right_after_works_at_once(jam: Jam) -> None:
    for _ in range(3):  # at one moment of the clock
        jam.end_logins("ann")
        pair, session_id = jam.issue_tokens("ann"), jam.create_session("ann", {})
        assert works(jam, pair["access_token"])
        assert works(jam, jam.refresh_tokens(pair["refresh_token"])["access_token"])
        assert jam.get_session(session_id) == {}
        assert len(jam.list_logins("ann")) == 2
    assert jam.end_logins("ann") == 2


@each_case("skew", [-5.0, 0.0, 5.0, 300.0])
def test_no_two_clocks_are_compared(make_jam: MakeJam, skew: float) -> None:
    store, here, there = MemoryStore(), Clock(), Clock(NOW + skew)
    one, two = (make_jam(store=store) for _ in range(2))
    for jam, clock in ((one, here), (two, there)):
        for part in (jam, jam.verifier, jam.tokens, jam.families, jam.sessions):
            part.clock = clock
    pair, session_id = one.issue_tokens("ann"), one.create_session("ann", {})
    assert two.end_logins("ann") == 2
    assert not works(one, pair["access_token"])
    assert one.get_session(session_id) is None
    again = one.issue_tokens("ann")
    assert works(one, again["access_token"])
    assert can_refresh(one, again)


def test_a_clock_that_was_set_back_brings_nothing_back(jam: Jam, clock: Clock) -> None:
    pair, session_id = jam.issue_tokens("ann"), jam.create_session("ann", {})
    jam.end_logins("ann")
    clock.tick(-3600)
    assert not works(jam, pair["access_token"])
    assert not can_refresh(jam, pair)
    assert jam.get_session(session_id) is None


def test_revoking_the_subject_ends_what_was_minted_after(jam: Jam) -> None:
    jam.end_logins("ann")
    pair, session_id = jam.issue_tokens("ann"), jam.create_session("ann", {})
    jam.revoke_subject("ann")
    assert not works(jam, pair["access_token"])
    assert not can_refresh(jam, pair)
    assert jam.get_session(session_id) is None
    assert works(jam, jam.issue_tokens("ann")["access_token"])


def test_a_refresh_keeps_a_login_that_came_after(jam: Jam, clock: Clock) -> None:
    jam.end_logins("ann")
    pair = jam.issue_tokens("ann")
    for _ in range(5):
        clock.tick(DAY)
        pair = jam.refresh_tokens(pair["refresh_token"])
        assert works(jam, pair["access_token"])


def test_without_a_list_the_refresh_tokens_end(make_jam: MakeJam) -> None:
    jam = make_jam(jwt={"list": "off"})
    pair = jam.issue_tokens("ann")
    assert jam.end_logins("ann") == 1
    assert works(jam, pair["access_token"]), "as jwt.list says"
    assert not can_refresh(jam, pair)


def test_the_allow_list_serves_logins_that_come_after(make_jam: MakeJam) -> None:
    jam = make_jam(jwt={"list": "allow"})
    pair = jam.issue_tokens("ann")
    jam.end_logins("ann")
    assert not works(jam, pair["access_token"])
    assert works(jam, jam.issue_tokens("ann")["access_token"])


@each_case("kept", [True, False])
def test_refresh_tokens_that_are_kept_end_as_well(make_jam: MakeJam, kept: bool) -> None:
    jam = make_jam(jwt={"rotate_refresh_tokens": not kept})
    pair = jam.issue_tokens("ann")
    renewed = jam.refresh_tokens(pair["refresh_token"])
    jam.end_logins("ann")
    assert not works(jam, renewed["access_token"])
    with pytest.raises(TokenError):
        jam.refresh_tokens(pair["refresh_token"])


class Overtaken(MemoryStore):
    """All logins end while one is on its way: after it asked how things stand."""

    jam: Jam

    def start_family(self, *args: Any) -> None:
        self.jam.end_logins("ann")
        super().start_family(*args)

    def create_session(self, *args: Any) -> bool:
        self.jam.end_logins("ann")
        return super().create_session(*args)


def test_a_login_on_its_way_is_ended(make_jam: MakeJam) -> None:
    store = Overtaken()
    jam = store.jam = make_jam(store=store)
    pair = jam.issue_tokens("ann")
    assert not works(jam, pair["access_token"])
    assert not can_refresh(jam, pair)
    with pytest.raises(Exception, match="revoked during this login"):
        jam.create_session("ann", {})
    assert jam.list_logins("ann") == []


class Dying(MemoryStore):
    """It does not answer from some step on."""

    dies_at = ""

    def __getattribute__(self, name: str) -> Any:
        if name == object.__getattribute__(self, "dies_at"):
            raise StoreUnavailable
        return super().__getattribute__(name)


@each_case("dies_at, told, alive", [
    ("cut_logins", [], True),
    ("list_sessions", ["session", "family"], False),
    ("list_families", ["session", "family"], False),
])  # fmt: skip
def test_logins_end_and_are_reported_where_the_store_dies_halfway(
    make_jam: MakeJam, dies_at: str, told: list[str], alive: bool
) -> None:
    store = Dying()
    jam = make_jam(store=store)
    pair, session_id, heard = jam.issue_tokens("ann"), jam.create_session("ann", {}), told_by(jam)
    store.dies_at = dies_at
    with pytest.raises(StoreUnavailable):
        jam.end_logins("ann")
    store.dies_at = ""
    assert [kind for _, kind, _ in heard] == told
    assert works(jam, pair["access_token"]) == alive
    assert can_refresh(jam, pair) == alive
    assert (jam.get_session(session_id) is not None) == alive


@each_case("verb", ["list_logins", "end_logins", "end_login_by_handle"])
def test_a_store_that_is_down_is_never_an_empty_list(make_jam: MakeJam, verb: str) -> None:
    store = Dying()
    jam = make_jam(store=store)
    for step in ("list_sessions", "list_families"):
        store.dies_at = step
        arguments = ("ann", "x") if verb == "end_login_by_handle" else ("ann",)
        with pytest.raises(StoreUnavailable):
            getattr(jam, verb)(*arguments)


# --- the names of keys --------------------------------------------------------------------------


def test_own_subjects_have_the_keys_that_they_always_had() -> None:
    assert slot_of(owner_of("ann")) == slot_of("ann") == "Q5"
    assert hashed(owner_of("ann")) == "eENgqil_bktV27TeHyM0U4fBA_d9vwdXugookf4mjNM"


def test_names_of_keys_tell_issuers_and_subjects_apart() -> None:
    pairs = [
        ("ann", None), ("ann", "https://a.example"), ("ann", "https://b.example"), ("ann", ""),
        ("bann", "a"), ("ann", "ab"), ("", "abann"), ("abann", None), ("ÿann", None), ("ann", "ÿ"),
        ("nn", "a"), ("a", "nn"),
    ]  # fmt: skip
    names = {hashed(owner_of(subject, issuer)) for subject, issuer in pairs}
    assert len(names) == len(pairs)
    assert all(len(name) == 43 for name in names)
