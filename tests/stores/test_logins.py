"""Logins on Redis: ended on every machine in one step, also where Redis dies in the middle."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from flask_jam import Jam, StoreUnavailable, TokenError
from flask_jam.stores._redis import scripts as lua
from flask_jam.stores._redis.client import client_factory
from flask_jam.stores._redis.near_cache import NearStore
from flask_jam.stores.interface import STEP
from flask_jam.stores.redis import RedisStore
from flask_jam.testing.stores import (
    SLOT,
    a_family,
    a_session,
    at,
    at_once,
    ended_logins,
    listed_families,
)

from ..attacks.stores import listen
from ..cases import each_case
from ..conftest import Clock
from ..servers import HOST, Proxy, RedisServer, _until
from .test_owner_index import Dying, index, told_by
from .test_redis import FOREIGN

pytestmark = pytest.mark.redis

NOW = 4_000_000_000.0
MakeJam = Callable[..., Jam]


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    redis_server.flush()
    return redis_server


@pytest.fixture
def raw(server: RedisServer) -> Iterator[redis.Redis]:
    client = server.client()
    yield client
    client.close()


@pytest.fixture
def store(server: RedisServer) -> Iterator[RedisStore]:
    store = RedisStore(client_factory(server.url, 5.0), timeout=5.0)
    yield store
    store.close()


@pytest.fixture
def dying(server: RedisServer) -> Iterator[Dying]:
    with Proxy(server.port) as proxy:
        store = Dying(client_factory(f"redis://{HOST}:{proxy.port}/0", 5.0), timeout=5.0)
        store.proxy = proxy
        yield store
        store.close()


@pytest.fixture
def machines(server: RedisServer, make_jam: MakeJam) -> Iterator[Callable[..., tuple[Jam, Jam]]]:
    """Two machines on one Redis, which hears and is heard."""
    made: list[NearStore] = []

    def make(**sections: Any) -> tuple[Jam, Jam]:
        made.extend(
            NearStore(client_factory(server.url, 5.0), timeout=5.0, silence=30.0) for _ in range(2)
        )
        for store in made:
            listen(store)
        one, two = (make_jam(store=store, **sections) for store in made)
        return one, two

    yield make
    for store in made:
        store.close()


def works(jam: Jam, token: str) -> bool:
    try:
        jam.verify_jwt_token(token)
    except TokenError:
        return False
    return True


def fill(jam: Jam, count: int) -> tuple[list[dict[str, Any]], list[str]]:
    pairs = [jam.issue_tokens("ann") for _ in range(count)]
    return pairs, [jam.create_session("ann", {}) for _ in range(count)]


def left(jam: Jam, pairs: list[dict[str, Any]], ids: list[str]) -> int:
    """How many of these credentials still work."""
    tokens = [works(jam, pair["access_token"]) for pair in pairs]
    families = [jam.families.of_token(pair["refresh_token"]) is not None for pair in pairs]
    sessions = [jam.get_session(session_id) is not None for session_id in ids]
    return sum(itertools.chain(tokens, families, sessions))


UNBOUNDED: dict[str, Any] = {"session": {"max_per_owner": 0}, "jwt": {"max_logins": 0}}


# --- two machines -------------------------------------------------------------------------------


def test_what_one_machine_ends_is_dead_on_the_other(
    machines: Callable[..., tuple[Jam, Jam]],
) -> None:
    here, there = machines()
    pairs, ids = fill(here, 3)
    assert left(there, pairs, ids) == left(here, pairs, ids) == 9
    assert here.end_logins("ann") == 6
    assert left(here, pairs, ids) == 0
    _until(lambda: left(there, pairs, ids) == 0, "the push")
    again, more = fill(there, 1)
    assert left(there, again, more) == left(here, again, more) == 3


def test_a_login_ended_by_handle_is_dead_on_the_other_machine(
    machines: Callable[..., tuple[Jam, Jam]],
) -> None:
    here, there = machines()
    pairs, ids = fill(here, 1)
    assert left(there, pairs, ids) == 3
    for login in there.list_logins("ann"):
        assert there.end_login_by_handle("ann", login.handle)
        assert not here.end_login_by_handle("ann", login.handle)
    _until(lambda: left(here, pairs, ids) == 0, "the push")


def test_both_machines_list_the_same(
    machines: Callable[..., tuple[Jam, Jam]], clock: Clock
) -> None:
    here, there = machines()
    for number in range(3):
        clock.tick(1)
        here.issue_pair("ann", f"Phone/{number}", "192.0.2.1")
        clock.tick(1)
        there.create_session("ann", {}, user_agent=f"Firefox/{number}")
    assert here.list_logins("ann") == there.list_logins("ann")
    assert [login.scheme for login in here.list_logins("ann")] == ["jwt", "session"] * 3


def test_parallel_ends_of_four_machines_count_each_login_once(
    server: RedisServer, make_jam: MakeJam
) -> None:
    stores = [RedisStore(client_factory(server.url, 5.0), timeout=5.0) for _ in range(4)]
    jams = [make_jam(store=each) for each in stores]
    pairs, ids = fill(jams[0], 20)
    counts = at_once(4, lambda n: jams[n].end_logins("ann"))
    assert sum(counts) == 40
    assert left(jams[0], pairs, ids) == 0
    for each in stores:
        each.close()


def test_a_thousand_logins_of_one_subject_are_listed_and_ended(
    raw: redis.Redis, store: RedisStore, make_jam: MakeJam
) -> None:
    jam = make_jam(store=store, **UNBOUNDED)
    pairs, ids = fill(jam, 500)
    logins = jam.list_logins("ann")
    assert len({login.handle for login in logins}) == 1000
    assert jam.end_login_by_handle("ann", logins[700].handle)
    assert jam.end_logins("ann") == 999
    assert left(jam, pairs[::50], ids[::50]) == 0
    assert raw.keys("jam:[sfolme]:*") == []


# --- Redis dies in the middle -------------------------------------------------------------------


@each_case("step", [lua.LIST_SESSIONS, lua.LIST_FAMILIES], ids=["sessions", "families"])
@each_case("done", [0, 1])
def test_all_logins_are_dead_where_redis_dies_while_they_are_counted(
    store: RedisStore, dying: Dying, make_jam: MakeJam, step: str, done: int
) -> None:
    store.client().flushall()
    dying.proxy.accept()
    jam, other = (make_jam(store=each, **UNBOUNDED) for each in (dying, store))
    pairs, ids = fill(jam, 150)
    heard = told_by(jam)
    dying.at_step, dying.done = step, done
    with pytest.raises(StoreUnavailable):
        jam.end_logins("ann")
    assert left(other, pairs[::30], ids[::30]) == 0
    assert heard == [("revoked", "session"), ("revoked", "family")]
    again, more = fill(other, 1)

    dying.proxy.accept()
    # A dead session that was presented is gone already.
    rest = jam.end_logins("ann")
    assert rest <= 302 - STEP * done
    assert left(other, again, more) == 0
    assert jam.end_logins("ann") == 0


def test_an_end_that_did_not_reach_redis_ends_nothing_and_tells_nothing(
    store: RedisStore, dying: Dying, make_jam: MakeJam
) -> None:
    jam, other = make_jam(store=dying), make_jam(store=store)
    pairs, ids = fill(jam, 1)
    heard = told_by(jam)
    dying.at_step, dying.done = lua.CUT_LOGINS, 0
    with pytest.raises(StoreUnavailable):
        jam.end_logins("ann")
    assert left(other, pairs, ids) == 3
    assert heard == []


def test_an_end_whose_reply_was_lost_may_be_repeated(
    store: RedisStore, dying: Dying, make_jam: MakeJam
) -> None:
    jam, other = make_jam(store=dying), make_jam(store=store)
    pairs, ids = fill(jam, 1)
    other.end_logins("bob")  # the server knows the script: else the first attempt runs nothing
    dying.proxy.swallow_replies(b"EVALSHA")
    with pytest.raises(StoreUnavailable):
        jam.end_logins("ann")
    assert left(other, pairs, ids) == 0
    again, more = fill(other, 1)
    assert left(other, again, more) == 3, "no late repetition has ended it"
    dying.proxy.accept()
    assert jam.end_logins("ann") >= 2


@each_case("step", [lua.LIST_SESSIONS, lua.LIST_FAMILIES], ids=["sessions", "families"])
def test_half_a_list_is_no_list(dying: Dying, make_jam: MakeJam, step: str) -> None:
    dying.proxy.accept()
    jam = make_jam(store=dying, **UNBOUNDED)
    fill(jam, 120)
    for verb in (jam.list_logins, lambda name: jam.end_login_by_handle(name, "no such")):
        dying.at_step, dying.done = step, 1
        with pytest.raises(StoreUnavailable):
            verb("ann")
        dying.at_step = ""
        dying.proxy.accept()


def test_out_of_memory_logins_can_be_ended(
    raw: redis.Redis, store: RedisStore, make_jam: MakeJam
) -> None:
    jam = make_jam(store=store)
    pairs, ids = fill(jam, 3)
    raw.config_set("maxmemory", 1)
    try:
        (first, *_) = jam.list_logins("ann")
        assert jam.end_login_by_handle("ann", first.handle)
        assert jam.end_logins("ann") == 5
    finally:
        raw.config_set("maxmemory", 0)
    assert left(jam, pairs, ids) == 0


# --- what is in Redis ---------------------------------------------------------------------------


def test_the_cutoff_of_logins_stands_beside_that_of_everything(
    raw: redis.Redis, store: RedisStore
) -> None:
    store.cut_logins(SLOT, "ann", NOW + 0.5, NOW + 1e6)
    (key,) = raw.keys("*")
    assert key == b"jam:c:{ab}:eENgqil_bktV27TeHyM0U4fBA_d9vwdXugookf4mjNM"
    assert raw.get(key) == b"[2,0,4001000000.0,4000000000.5]"
    store.cut(SLOT, "ann", NOW, NOW + 10)
    assert raw.get(key) == b"[2,4000000000.500001,4001000000.0,4000000000.5]"
    assert raw.pttl(key) > 1e6 * 1000


def test_a_subject_whose_logins_were_never_ended_has_the_mark_it_always_had(
    raw: redis.Redis, store: RedisStore
) -> None:
    store.cut(SLOT, "ann", NOW, NOW + 100)
    assert raw.get(raw.keys("*")[0]) == b"[1,4000000000.0,4000000100.0]"


def test_ending_logins_under_a_damaged_cutoff_lets_logins_in_again(
    raw: redis.Redis, store: RedisStore
) -> None:
    for value in (b"garbage", b"[2,1,2]", b"[2,1,null,3]", b""):
        store.create_session(at("s"), a_session(NOW))
        store.cut_logins(SLOT, "ann", NOW, NOW + 1e6)
        (key,) = raw.keys("jam:c:*")
        raw.set(key, value)
        assert store.standing(SLOT, "ann", NOW).latest == 0.0
        store.cut_logins(SLOT, "ann", NOW, NOW + 1e6)
        # It may have been that of everything: so it is again, and later than any clock.
        standing = store.standing(SLOT, "ann", NOW)
        assert standing.cut_off == standing.latest == NOW + 20
        assert store.read_session(at("s"), NOW) is None
        assert store.create_session(at("n"), a_session(NOW, cut_off=standing.latest))
        raw.flushall()


@each_case("letter", "lm")
@each_case("kind", [kind for kind in FOREIGN if kind != "zset"])
def test_a_list_of_families_survives_an_index_of_a_foreign_type(
    raw: redis.Redis, store: RedisStore, letter: str, kind: str
) -> None:
    raw.flushall()
    store.start_family(at("f"), a_family(NOW))
    (key,) = raw.keys(f"jam:{letter}:*")
    raw.delete(key)
    FOREIGN[kind](raw, key)
    assert listed_families(store, NOW) in ([], [at("f")])
    store.cut_logins(SLOT, "ann", NOW, NOW + 1e6)
    assert store.read_family(at("f"), NOW) is None, "also one that is in no index"
    assert listed_families(store, NOW) == []


def test_names_of_others_in_the_index_of_families_touch_nothing_else(
    raw: redis.Redis, store: RedisStore
) -> None:
    store.start_family(at("bobs"), a_family(NOW, subject="bob"))
    store.create_session(at("s"), a_session(NOW, session_key="bob"))
    store.start_family(at("f"), a_family(NOW))
    raw.set("other:key", "of another app")
    names = [b"", b"\xff", b"other:key", b"{x}", b"%1", b"abbobs", b"abs", b"a:b:{ab}:c"]
    for letter in "lm":
        for key in raw.keys(f"jam:{letter}:*"):
            if raw.zscore(key, "abf"):
                raw.zadd(key, dict.fromkeys(names, NOW - 1))
    assert listed_families(store, NOW + 1) == [at("f")]
    assert index_of(raw, "abf") == [b"abf"]
    assert ended_logins(store, NOW + 1) == (0, 1)
    assert raw.get("other:key") == b"of another app"
    assert store.read_family(at("bobs"), NOW + 1) is not None
    assert store.read_session(at("s"), NOW + 1) is not None
    assert listed_families(store, NOW + 1, "bob") == [at("bobs")]


def index_of(raw: redis.Redis, name: str) -> list[bytes]:
    (key,) = [key for key in raw.keys("jam:l:*") if raw.zscore(key, name) is not None]
    return raw.zrange(key, 0, -1)


@each_case("field", [b"g", b"t", b"i", b"e", b"b", b"u", b"k", b"j"])
@each_case("value", [b"", b"x", b"nan", b"1e999", b"\xff", b"[]", b"9" * 400])
def test_a_damaged_family_is_neither_listed_nor_an_error(
    raw: redis.Redis, store: RedisStore, field: bytes, value: bytes
) -> None:
    raw.flushall()
    store.start_family(at("f"), a_family(NOW))
    store.start_family(at("good"), a_family(NOW))
    raw.hset("jam:f:{ab}:abf", field, value)
    assert listed_families(store, NOW + 1) == [at("good")]
    assert listed_families(store, NOW + 1) == [at("good")]
    assert not raw.exists("jam:f:{ab}:abf")
    assert ended_logins(store, NOW + 1) == (0, 1)


def test_a_list_ships_no_claims(raw: redis.Redis, store: RedisStore, make_jam: MakeJam) -> None:
    jam = make_jam(store=store)
    for _ in range(20):
        jam.issue_tokens("ann", note="x" * 5000)
    jam.list_logins("ann")
    before = raw.info("stats")["total_net_output_bytes"]
    assert len(jam.list_logins("ann")) == 20
    assert raw.info("stats")["total_net_output_bytes"] - before < 20_000


@each_case("answer", [[b"done"], [b"done", b"", b"", b"x"], [b"done", b"", b"", 0, b"f"], [], None])
def test_a_page_of_families_of_another_shape_is_no_answer(answer: Any) -> None:
    class Stranger:
        def execute_command(self, *_: Any) -> Any:
            return answer

    with pytest.raises(StoreUnavailable):
        RedisStore(Stranger()).list_families(SLOT, "ann", NOW, NOW + 60)


@each_case("after", ["", " ", "x", "1", "nan k", "1e999 k", "\x00", "4e9 ", "-1 kk"])
def test_a_walk_from_a_place_that_never_was_is_an_answer_or_unavailable(
    store: RedisStore, after: str
) -> None:
    store.start_family(at("f"), a_family(NOW))
    try:
        page = store.list_families(SLOT, "ann", NOW, NOW + 60, after)
    except StoreUnavailable:
        return
    assert [family.key for family in page.living] in ([], [at("f")])


def test_the_indexes_forget_what_was_ended(raw: redis.Redis, store: RedisStore) -> None:
    for number in range(150):
        store.start_family(at(f"f{number}"), a_family(NOW))
    assert ended_logins(store, NOW) == (0, 150)
    assert index(raw, "l") == index(raw, "m") == []
    assert len(raw.keys("jam:x:*")) == 150
    assert all(0 < raw.pttl(key) <= 121_000 for key in raw.keys("jam:x:*"))
