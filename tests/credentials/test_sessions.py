"""Server-side sessions: two ends, one living id, and data that is plain JSON."""

from __future__ import annotations

import datetime
import math
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import MappingProxyType
from typing import Any

import pytest

from flask_jam import Jam, Reason, SessionError, SessionInfo, StoreUnavailable
from flask_jam.stores.interface import Session
from flask_jam.stores.memory import MemoryStore

from ..cases import each_case
from ..conftest import Clock

MakeJam = Callable[..., Jam]
NOW = 1_800_000_000.0
DAY = 86400.0
MARKER = "mArKeR"

#: Whose a session is may be any text.
KEYS = ("ann", "a:b", "a:b:c", ":", "user:1", "ümlaut", "{ann}", "*", "ann ", "a\nb", "x" * 1024)


def gone(job: Callable[[], object]) -> Reason:
    with pytest.raises(SessionError) as caught:
        job()
    return caught.value.reason


def verdict(jam: Jam, session_id: str) -> Reason | None:
    """Why there is no such session; ``None`` where there is one."""
    try:
        jam.sessions.lookup(session_id)
    except SessionError as error:
        return error.reason
    return None


# --- creating and reading -------------------------------------------------------------


def test_what_was_put_in_comes_out(jam: Jam) -> None:
    data = {
        "user": 1,
        "pi": 3.25,
        "none": None,
        "list": [1, {"a": []}],
        "text": "é\U0001d11e",
        "": 0,
    }
    assert jam.get_session(jam.create_session("ann", data)) == data


def test_an_id_is_256_bits_of_the_servers_own_making(jam: Jam) -> None:
    ids = {jam.create_session("ann", {}) for _ in range(100)}
    assert len(ids) == 100
    assert {len(one) for one in ids} == {45}


def test_reading_gives_a_fresh_dict(jam: Jam) -> None:
    session_id = jam.create_session("ann", {"cart": [], "tree": {"a": [1]}})
    for _ in range(2):
        data = jam.get_session(session_id)
        assert data == {"cart": [], "tree": {"a": [1]}}
        data["cart"].append(1)
        data["tree"]["a"].append(2)
        data["more"] = 1


def test_what_the_caller_does_with_its_data_afterwards_changes_nothing(jam: Jam) -> None:
    cart: list[int] = []
    session_id = jam.create_session("ann", {"cart": cart})
    cart.append(1)
    assert jam.get_session(session_id) == {"cart": []}
    jam.update_session(session_id, {"cart": cart})
    cart.append(2)
    assert jam.get_session(session_id) == {"cart": [1]}


def test_the_argument_is_not_changed_and_may_be_any_mapping(jam: Jam) -> None:
    data = {"cart": [1]}
    session_id = jam.create_session("ann", MappingProxyType(data))
    jam.update_session(session_id, MappingProxyType({"n": 1}))
    assert data == {"cart": [1]}
    assert jam.get_session(session_id) == {"cart": [1], "n": 1}


@each_case(
    "value",
    [None, 5, b"x" * 45, [], {}, True, "", "x", "x" * 44, "x" * 46, "é" * 45, "x" * 44 + "\n",
     "x" * 44 + "\udcff", "../" + "x" * 40, "x" * 44 + "=", "1" * 100_000],
    ids=lambda value: repr(value)[:12],
)  # fmt: skip
def test_an_id_of_another_shape_is_no_session_and_never_reaches_the_store(
    make_jam: MakeJam, value: Any
) -> None:
    class Untouchable(MemoryStore):
        def read_session(self, *_: Any) -> Any:
            raise AssertionError("reached the store")

        update_session = rework_session = delete_session = read_session  # type: ignore[assignment]

    jam = make_jam(store=Untouchable())
    assert jam.get_session(value) is None
    assert jam.delete_session(value) == 0
    assert gone(lambda: jam.update_session(value, {})) is Reason.UNKNOWN_SESSION
    assert gone(lambda: jam.rework_session(value)) is Reason.UNKNOWN_SESSION
    assert verdict(jam, value) is Reason.UNKNOWN_SESSION


def test_an_unknown_id_is_refused_and_never_adopted(jam: Jam) -> None:
    planted = secrets.token_urlsafe(32)
    assert jam.get_session(planted) is None
    assert gone(lambda: jam.update_session(planted, {"n": 1})) is Reason.UNKNOWN_SESSION
    assert gone(lambda: jam.rework_session(planted)) is Reason.UNKNOWN_SESSION
    assert jam.delete_session(planted) == 0
    assert jam.get_session(planted) is None
    assert planted != jam.create_session("ann", {})
    assert jam.get_session(planted) is None


def test_a_store_that_does_not_answer_is_not_an_unknown_session(make_jam: MakeJam) -> None:
    class Silent(MemoryStore):
        def read_session(self, *_: Any) -> Any:
            raise StoreUnavailable

    jam = make_jam(store=Silent())
    session_id = jam.create_session("ann", {})
    with pytest.raises(StoreUnavailable):
        jam.get_session(session_id)


# --- the two ends ---------------------------------------------------------------------


def test_an_unused_session_ends_after_its_idle_time(jam: Jam, clock: Clock) -> None:
    session_id = jam.create_session("ann", {})
    clock.tick(DAY - 0.001)
    assert verdict(jam, session_id) is None
    session_id = jam.create_session("ann", {})
    clock.tick(DAY)
    assert verdict(jam, session_id) is Reason.SESSION_EXPIRED
    assert verdict(jam, session_id) is Reason.UNKNOWN_SESSION


def test_an_expired_session_is_none(jam: Jam, clock: Clock) -> None:
    session_id = jam.create_session("ann", {})
    clock.tick(DAY)
    assert jam.get_session(session_id) is None


def test_a_used_session_lives_on(jam: Jam, clock: Clock) -> None:
    session_id = jam.create_session("ann", {"n": 1})
    for _ in range(20):
        clock.tick(DAY - 1)
        assert jam.get_session(session_id) == {"n": 1}


def test_no_session_is_older_than_its_absolute_time(make_jam: MakeJam, clock: Clock) -> None:
    jam = make_jam(session={"idle": 100, "absolute": 1000})
    session_id = jam.create_session("ann", {})
    for _ in range(19):
        clock.tick(50)
        assert verdict(jam, session_id) is None
        session_id = jam.rework_session(session_id)
    clock.tick(50)
    assert verdict(jam, session_id) is Reason.SESSION_EXPIRED


def test_nothing_revives_an_expired_session(jam: Jam, clock: Clock) -> None:
    session_id = jam.create_session("ann", {})
    clock.tick(DAY)
    assert gone(lambda: jam.update_session(session_id, {"n": 1})) is Reason.UNKNOWN_SESSION
    assert gone(lambda: jam.rework_session(session_id)) is Reason.UNKNOWN_SESSION
    assert jam.list_sessions("ann") == []
    assert jam.get_session(session_id) is None


class Writes(MemoryStore):
    """Counts how often a read has written."""

    slid = 0

    def read_session(self, key: str, *args: Any) -> Session | None:
        before = self._sessions.get(key)
        found = super().read_session(key, *args)
        self.slid += self._sessions.get(key) is not before
        return found


@each_case(("idle", "every"), [(86400, 60), (600, 60), (100, 10), (10, 1)])
def test_a_busy_session_is_written_once_in_a_while(
    make_jam: MakeJam, clock: Clock, idle: float, every: float
) -> None:
    store = Writes()
    jam = make_jam(session={"idle": idle}, store=store)
    session_id = jam.create_session("ann", {})
    for _ in range(100):
        clock.tick(every / 10)
        assert jam.get_session(session_id) is not None
    assert 9 <= store.slid <= 10


def test_when_it_was_last_seen_is_told(jam: Jam, clock: Clock) -> None:
    session_id = jam.create_session("ann", {})
    clock.tick(59)
    jam.get_session(session_id)
    assert jam.list_sessions("ann")[0].last_seen_at == NOW
    clock.tick(1)
    jam.get_session(session_id)
    info = jam.list_sessions("ann")[0]
    assert (info.created_at, info.last_seen_at, info.expires_at) == (NOW, NOW + 60, NOW + 60 + DAY)


# --- updating -------------------------------------------------------------------------


def test_an_update_merges_top_level_keys(jam: Jam) -> None:
    session_id = jam.create_session("ann", {"a": {"x": 1}, "b": [1], "c": 1})
    assert jam.update_session(session_id, {"a": {"y": 2}, "c": None, "d": []}) is None
    assert jam.get_session(session_id) == {"a": {"y": 2}, "b": [1], "c": None, "d": []}


def test_updating_an_ended_session_is_an_error_and_revives_nothing(jam: Jam) -> None:
    session_id = jam.create_session("ann", {})
    jam.delete_session(session_id)
    assert gone(lambda: jam.update_session(session_id, {"n": 1})) is Reason.UNKNOWN_SESSION
    assert jam.get_session(session_id) is None
    assert jam.list_sessions("ann") == []


def test_two_updates_at_once_lose_nothing(jam: Jam) -> None:
    session_id, gate = jam.create_session("ann", {}), Barrier(16)

    def job(number: int) -> None:
        gate.wait()
        for step in range(20):
            jam.update_session(session_id, {f"{number}.{step}": step})

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(job, range(16)))
    assert len(jam.get_session(session_id) or {}) == 16 * 20


# --- what may be kept -----------------------------------------------------------------

cycle: list[Any] = []
cycle.append(cycle)

UNKEEPABLE: dict[str, Any] = {
    "a date": {"x": datetime.datetime(2030, 1, 1)},
    "bytes": {"x": b"x"},
    "a set": {"x": {1}},
    "an object": {"x": object()},
    "NaN": {"x": math.nan},
    "infinity": {"x": [math.inf]},
    "a lone surrogate": {"x": "\ud800"},
    "a lone surrogate as a name": {"\ud800": 1},
    "a cycle": {"x": cycle},
    "a name that is no text": {5: 1},
    "an inner name that is no text": {"cart": {5: 1}},
    "too deep": {"x": [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]},
    "no mapping": [("a", 1)],
    "nothing": None,
    "a text": "data",
}


@each_case("what", UNKEEPABLE)
def test_data_that_is_not_plain_json_is_refused_with_a_sentence(jam: Jam, what: str) -> None:
    session_id = jam.create_session("ann", {"n": 1})
    for job in (
        lambda: jam.create_session("ann", UNKEEPABLE[what]),
        lambda: jam.update_session(session_id, UNKEEPABLE[what]),
    ):
        with pytest.raises(SessionError, match="session data") as caught:
            job()
        assert caught.value.reason is Reason.INVALID
    assert jam.get_session(session_id) == {"n": 1}
    assert len(jam.list_sessions("ann")) == 1


def test_data_is_nested_up_to_sixteen_deep(jam: Jam) -> None:
    data = {"x": [[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]}
    assert jam.get_session(jam.create_session("ann", data)) == data


def test_a_session_holds_up_to_its_size_and_no_more(make_jam: MakeJam) -> None:
    jam = make_jam(session={"max_bytes": 100})
    fits = {"x": "x" * (100 - len('{"x":""}'))}
    session_id = jam.create_session("ann", fits)
    with pytest.raises(SessionError, match="100 bytes") as caught:
        jam.create_session("ann", {"x": fits["x"] + "x"})
    assert caught.value.reason is Reason.TOO_LARGE
    assert gone(lambda: jam.update_session(session_id, {"y": 1})) is Reason.TOO_LARGE
    assert gone(lambda: jam.update_session(session_id, {"x": "é" * 80})) is Reason.TOO_LARGE
    assert jam.get_session(session_id) == fits
    jam.update_session(session_id, {"x": ""})
    assert jam.get_session(session_id) == {"x": ""}


def test_a_refusal_to_keep_quotes_nothing(make_jam: MakeJam) -> None:
    jam = make_jam(session={"max_bytes": 100})
    for key, data in (("ann", {"x": {MARKER}}), ("ann", {"x": MARKER * 50}),
                      ("ann", {"x": {MARKER: b""}}), ("ann", {"x": MARKER + "\ud800"}),
                      (MARKER * 500, {}), ("ann", MARKER), (MARKER + "\ud800", {})):  # fmt: skip
        with pytest.raises(SessionError) as caught:
            jam.create_session(key, data)  # type: ignore[arg-type]
        assert MARKER not in repr(caught.value)


@each_case("key", ["", None, 5, b"ann", ["ann"], "x" * 1025, "\ud800"], ids=repr)
def test_whose_it_is_must_be_a_text(jam: Jam, key: Any) -> None:
    for job in (
        lambda: jam.create_session(key, {}),
        lambda: jam.clear_sessions(key),
        lambda: jam.list_sessions(key),
    ):
        with pytest.raises(SessionError, match="session key"):
            job()


# --- the list, and what one does with it ------------------------------------------------


def test_a_handle_ends_the_session_that_the_list_shows_under_it(jam: Jam) -> None:
    ids = [jam.create_session("ann", {"n": n}) for n in range(3)]
    assert [info.handle for info in jam.list_sessions("ann")] == list(map(jam.handle_of, ids))
    assert jam.delete_session_by_handle("ann", jam.handle_of(ids[1])) is True
    assert [jam.get_session(each) for each in ids] == [{"n": 0}, None, {"n": 2}]
    assert jam.delete_session_by_handle("ann", jam.handle_of(ids[1])) is False


def test_a_handle_is_no_credential_and_ends_nothing_of_somebody_else(jam: Jam) -> None:
    own, other = jam.create_session("ann", {}), jam.create_session("bob", {})
    handle = jam.handle_of(own)
    assert handle not in own
    assert jam.get_session(handle) is None
    assert jam.delete_session(handle) == 0
    assert jam.delete_session_by_handle("bob", handle) is False
    for made_up in ("", "x", own, None, 5, b"x", handle.upper() + "x"):
        assert jam.delete_session_by_handle("ann", made_up) is False  # type: ignore[arg-type]
    assert jam.get_session(own) == jam.get_session(other) == {}


@each_case("session_id", ["", "x", "A" * 44, "A" * 46, None, 5])
def test_what_is_no_id_has_no_handle(jam: Jam, session_id: Any) -> None:
    assert gone(lambda: jam.handle_of(session_id)) is Reason.UNKNOWN_SESSION


def test_all_sessions_but_one_are_ended(jam: Jam) -> None:
    kept, *others = [jam.create_session("ann", {}) for _ in range(4)]
    bobs = jam.create_session("bob", {})
    heard: list[Any] = []
    jam.subscribe(lambda event, what: heard.append((event, dict(what))))
    assert jam.clear_sessions("ann", keep=kept) == 3
    assert jam.clear_sessions("ann", keep=kept) == 0
    assert heard == [("revoked", {"kind": "session", "subject": "ann", "issuer": None})]
    assert [jam.get_session(each) for each in (kept, *others, bobs)] == [{}, None, None, None, {}]


@each_case("keep", [None, "", "x", 5, "A" * 45])
def test_what_is_no_session_of_theirs_keeps_none(jam: Jam, keep: Any) -> None:
    jam.create_session("ann", {})
    assert jam.clear_sessions("ann", keep=keep) == 1
    assert jam.list_sessions("ann") == []


# --- rework ---------------------------------------------------------------------------


def test_rework_gives_a_new_id_for_the_same_session(jam: Jam, clock: Clock) -> None:
    old = jam.create_session("ann", {"n": 1}, user_agent="agent/1", ip="192.0.2.1")
    before = jam.sessions.lookup(old)
    clock.tick(500)
    new = jam.rework_session(old)
    assert new != old
    assert verdict(jam, old) is Reason.UNKNOWN_SESSION
    after = jam.sessions.lookup(new)
    kept = ("session_key", "data", "created_at", "auth_time", "ends_at", "user_agent", "ip")
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]
    assert after.auth_time == NOW


def test_rework_by_a_clock_behind_shortens_no_life(make_jam: MakeJam, clock: Clock) -> None:
    jam = make_jam(session={"idle": 100})
    old = jam.create_session("ann", {})
    clock.tick(-10)
    new = jam.rework_session(old)
    clock.tick(109.999)
    assert verdict(jam, new) is None


def test_a_reworked_id_is_dead_for_every_verb(jam: Jam) -> None:
    old = jam.create_session("ann", {"n": 1})
    new = jam.rework_session(old)
    assert jam.get_session(old) is None
    assert jam.get_session(new) == {"n": 1}
    assert gone(lambda: jam.rework_session(old)) is Reason.UNKNOWN_SESSION
    assert gone(lambda: jam.update_session(old, {"n": 2})) is Reason.UNKNOWN_SESSION
    assert jam.delete_session(old) == 0
    assert jam.get_session(new) == {"n": 1}


# --- ending ---------------------------------------------------------------------------


def test_deleting_twice_is_harmless(jam: Jam) -> None:
    session_id, other = jam.create_session("ann", {}), jam.create_session("ann", {})
    assert [jam.delete_session(session_id) for _ in range(3)] == [1, 0, 0]
    assert jam.get_session(session_id) is None
    assert jam.get_session(other) == {}


@each_case("key", KEYS)
def test_clearing_ends_every_session_of_one_owner_and_no_other(jam: Jam, key: str) -> None:
    ids = {owner: [jam.create_session(owner, {"o": owner}) for _ in range(2)] for owner in KEYS}
    assert jam.clear_sessions(key) == 2
    assert jam.clear_sessions(key) == 0
    for owner, own in ids.items():
        alive = [jam.get_session(one) for one in own]
        assert alive == ([None, None] if owner == key else [{"o": owner}] * 2)


def test_what_has_ended_by_itself_is_not_counted_and_not_told(jam: Jam, clock: Clock) -> None:
    seen: list[Any] = []
    jam.subscribe(lambda name, what: seen.append((name, what)))
    first, _ = jam.create_session("ann", {}), jam.create_session("ann", {})
    clock.tick(DAY)
    assert jam.delete_session(first) == 0
    assert jam.clear_sessions("ann") == 0
    assert seen == []


def test_the_end_of_sessions_is_told(jam: Jam) -> None:
    seen: list[tuple[str, Mapping[str, Any]]] = []
    jam.subscribe(lambda name, what: seen.append((name, what)))
    one = jam.create_session("a:b", {})
    jam.create_session("a:b", {})
    for _ in range(2):
        jam.delete_session(one)
    for _ in range(2):
        jam.clear_sessions("a:b")
    assert seen == [("revoked", {"kind": "session", "subject": "a:b", "issuer": None})] * 2


def test_a_revoked_subject_has_no_sessions_and_may_have_new_ones(jam: Jam) -> None:
    old, other = jam.create_session("ann", {}), jam.create_session("bob", {})
    jam.revoke_subject("ann")
    assert jam.get_session(old) is None
    assert jam.get_session(other) == {}
    assert jam.get_session(jam.create_session("ann", {})) == {}


# --- listing --------------------------------------------------------------------------


@each_case("key", KEYS)
def test_a_list_shows_the_sessions_of_one_owner(jam: Jam, key: str) -> None:
    for owner in KEYS:
        jam.create_session(owner, {}, user_agent=f"agent of {owner}")
    assert [info.user_agent for info in jam.list_sessions(key)] == [f"agent of {key}"[:256]]


def test_a_list_holds_the_living_with_the_oldest_first(jam: Jam, clock: Clock) -> None:
    jam.create_session("ann", {}, user_agent="dead")
    for agent in ("one", "two", "three"):
        clock.tick(100)
        jam.create_session("ann", {}, user_agent=agent, ip="192.0.2.1")
    clock.tick(DAY - 300)
    infos = jam.list_sessions("ann")
    assert [info.user_agent for info in infos] == ["one", "two", "three"]
    first = infos[0]
    assert isinstance(first, SessionInfo)
    assert first == SessionInfo(
        first.handle, NOW + 100, NOW + 100, NOW + 100 + DAY, "one", "192.0.2.1"
    )
    assert jam.list_sessions("nobody") == []


def test_the_end_that_is_told_is_the_earlier_one(make_jam: MakeJam) -> None:
    jam = make_jam(session={"idle": 1000, "absolute": 600})
    jam.create_session("ann", {})
    assert jam.list_sessions("ann")[0].expires_at == NOW + 600


def test_a_handle_is_no_credential(jam: Jam) -> None:
    session_id = jam.create_session("ann", {})
    handle = jam.list_sessions("ann")[0].handle
    assert jam.list_sessions("ann")[0].handle == handle
    assert handle not in session_id
    for presented in (handle, handle.ljust(45, "A"), (handle * 3)[:45]):
        assert jam.get_session(presented) is None
        assert jam.delete_session(presented) == 0
    assert jam.get_session(session_id) == {}
    assert handle not in str(vars(jam.store)), "the handle is not a key of the store either"


def test_every_session_has_a_handle_of_its_own(jam: Jam) -> None:
    for _ in range(50):
        jam.create_session("ann", {})
    assert len({info.handle for info in jam.list_sessions("ann")}) == 50


def test_what_a_client_says_of_itself_is_kept_to_a_length(jam: Jam) -> None:
    jam.create_session("ann", {}, user_agent="x" * 10_000)
    jam.create_session("ann", {}, user_agent="")
    assert [info.user_agent for info in jam.list_sessions("ann")] == ["x" * 256, None]


# --- most sessions of one owner -------------------------------------------------------


def test_a_login_ends_the_oldest_of_a_hundred_and_one_sessions(jam: Jam, clock: Clock) -> None:
    ids = []
    for _ in range(101):
        ids.append(jam.create_session("ann", {}))
        clock.tick(1)
    others = jam.create_session("bob", {})
    assert verdict(jam, ids[0]) is Reason.UNKNOWN_SESSION
    assert [verdict(jam, session_id) for session_id in ids[1:]] == [None] * 100
    assert len(jam.list_sessions("ann")) == 100
    assert verdict(jam, others) is None


@each_case("most, alive", [(0, 120), (1, 1), (3, 3), (115, 115)])
def test_the_setting_says_how_many_sessions_live(
    make_jam: MakeJam, clock: Clock, most: int, alive: int
) -> None:
    jam = make_jam(session={"max_per_owner": most})
    ids = []
    for _ in range(120):
        ids.append(jam.create_session("ann", {}))
        clock.tick(1)
    found = [session_id for session_id in ids if jam.get_session(session_id) is not None]
    assert found == ids[-alive:]
    assert jam.clear_sessions("ann") == alive


def test_verbs_of_an_owner_walk_past_a_page(make_jam: MakeJam, clock: Clock) -> None:
    jam = make_jam(session={"max_per_owner": 0})
    ids = []
    for _ in range(250):
        ids.append(jam.create_session("ann", {}))
        clock.tick(1)
    assert [info.handle for info in jam.list_sessions("ann")] == [jam.handle_of(i) for i in ids]
    assert jam.delete_session_by_handle("ann", jam.handle_of(ids[-1]))
    assert not jam.delete_session_by_handle("ann", jam.handle_of(ids[-1]))
    assert jam.clear_sessions("ann", keep=ids[222]) == 248
    assert [info.handle for info in jam.list_sessions("ann")] == [jam.handle_of(ids[222])]
    jam.revoke_subject("ann")
    assert jam.list_sessions("ann") == []


def test_a_clearing_counts_as_long_as_a_session_can_live(make_jam: MakeJam, clock: Clock) -> None:
    class Recording(MemoryStore):
        until = 0.0

        def clear_sessions(self, *args: Any, **kwargs: Any) -> Any:
            self.until = args[3]
            return super().clear_sessions(*args, **kwargs)

    for absolute in (30 * DAY, 3000 * DAY):
        store = Recording()
        make_jam(store=store, session={"absolute": absolute}).clear_sessions("ann")
        assert store.until >= clock() + max(absolute, 400 * DAY)
