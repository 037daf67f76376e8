"""No step looks at more than a hundred of an owner's things, and a walk that dies loses nothing."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
import redis

from flask_jam import Jam, Reason, StoreUnavailable, TokenError
from flask_jam.stores._redis import scripts as lua
from flask_jam.stores._redis.client import client_factory
from flask_jam.stores._redis.near_cache import NearStore
from flask_jam.stores.interface import STEP, Rotation, slot_of
from flask_jam.stores.redis import RedisStore
from flask_jam.testing.api_keys import a_key
from flask_jam.testing.stores import SLOT, a_family, a_session, at, at_once, cleared, listed, pages

from ..attacks.stores import listen
from ..cases import each_case
from ..conftest import Clock
from ..servers import HOST, Proxy, RedisServer, _until
from .test_redis import FOREIGN, Monitor

pytestmark = pytest.mark.redis

NOW = 4_000_000_000.0
MakeJam = Callable[..., Jam]


class Dying(RedisStore):
    """Its way to Redis is cut at a step, when so many of that kind were done before."""

    proxy: Proxy
    at_step, done = "", -1

    def _ask(self, script: str, keys: Sequence[str], *arguments: Any) -> Any:
        if script == self.at_step:
            if self.done == 0:
                self.proxy.refuse()
                self.proxy.cut()
            self.done -= 1
        return super()._ask(script, keys, *arguments)


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


def index(raw: redis.Redis, letter: str) -> list[bytes]:
    """The names in the one index of that kind; none if there is no such key."""
    keys = raw.keys(f"jam:{letter}:*")
    return raw.zrange(keys[0], 0, -1) if keys else []


# --- what a step touches ------------------------------------------------------------------------


def touched(seen: bytes) -> list[int]:
    """How many sessions and families each script touched, by key or by name in an index."""
    lines = re.findall(rb'^\S+ \[\d+ (\S+)\] "(\w+)"(.*)$', seen, re.M)
    counts = []
    for is_inside, group in itertools.groupby(lines, lambda line: line[0] == b"lua"):
        if is_inside:
            counts.append(len(set().union(*(names_of(rest) for _, _, rest in group))))
    return counts


def names_of(arguments: bytes) -> set[bytes]:
    words = re.findall(rb'"((?:[^"\\]|\\.)*)"', arguments)
    keys = [re.fullmatch(rb"jam:[sfxq]:\{..\}:(.*)", word) for word in words]
    names = [word for word in words[1:] if words[0][4:5] in b"oelmyz" and len(word) == 45]
    return {key[1] for key in keys if key} | set(names)


def rotate_oldest(jam: Jam) -> None:
    with suppress(TokenError):  # it has expired
        jam.rotate_api_key("ann", f"{0:043}", overlap=5)


VERBS: dict[str, Callable[[Jam, Jam], Any]] = {
    "list": lambda jam, bounded: jam.list_sessions("ann"),
    "clear": lambda jam, bounded: jam.clear_sessions("ann"),
    "end by handle": lambda jam, bounded: jam.delete_session_by_handle("ann", "no such"),
    "revoke": lambda jam, bounded: jam.revoke_subject("ann"),
    "list logins": lambda jam, bounded: jam.list_logins("ann"),
    "end a login by handle": lambda jam, bounded: jam.end_login_by_handle("ann", "no such"),
    "end logins": lambda jam, bounded: jam.end_logins("ann"),
    "list API keys": lambda jam, bounded: jam.list_api_keys("ann"),
    "create an API key": lambda jam, bounded: jam.create_api_key("ann", name="x"),
    "rotate an API key": lambda jam, bounded: rotate_oldest(jam),
    "revoke an API key": lambda jam, bounded: jam.revoke_api_key("ann", f"{0:043}"),
    "log in": lambda jam, bounded: jam.create_session("ann", {}),
    "log in, bounded": lambda jam, bounded: bounded.create_session("ann", {}),
    "issue": lambda jam, bounded: jam.issue_tokens("ann"),
    "issue, bounded": lambda jam, bounded: bounded.issue_tokens("ann"),
}
WALKS = ("list", "clear", "revoke", "list logins", "end logins", "list API keys")


@each_case("expired", [False, True])
@each_case("count", [1, 250])
def test_no_step_touches_more_than_a_hundred_and_the_new_one(
    raw: redis.Redis, server: RedisServer, store: RedisStore, make_jam: MakeJam, clock: Clock,
    count: int, expired: bool,
) -> None:  # fmt: skip
    for verb, run in VERBS.items():
        raw.flushall()
        jam, bounded = (
            make_jam(store=store, session={"max_per_owner": most}, jwt={"max_logins": most})
            for most in (0, 5)
        )
        for number in range(count):
            key, now = f"{slot_of('ann')}{number:043}", clock()
            store.create_session(key, a_session(now, idle=1e6, ends_at=now + 2e6))
            store.start_family(key, a_family(now, idle_until=now + 1e6, ends_at=now + 2e6))
            store.create_api_key(a_key(now, key=key, expires_at=now + 1e6))
        clock.tick(20 * 86400.0 if expired else 1)
        with Monitor(server, raw) as monitor:
            run(jam, bounded)
        counts = touched(monitor.seen)
        assert max(counts) <= STEP + 1, verb
        if count > 1 and verb in WALKS:
            assert sum(counts) >= count, "it was not seen what a step touches"


def test_every_verb_still_works_for_an_owner_with_a_thousand(
    store: RedisStore, make_jam: MakeJam
) -> None:
    jam = make_jam(store=store, session={"max_per_owner": 0})
    ids = [jam.create_session("ann", {"n": number}) for number in range(1000)]
    shown = jam.list_sessions("ann")
    assert {info.handle for info in shown} == {jam.handle_of(session_id) for session_id in ids}
    assert jam.delete_session_by_handle("ann", jam.handle_of(ids[500]))
    assert jam.get_session(ids[500]) is None
    assert jam.clear_sessions("ann", keep=ids[10]) == 998
    assert [jam.handle_of(ids[10])] == [info.handle for info in jam.list_sessions("ann")]
    jam.revoke_subject("ann")
    assert jam.list_sessions("ann") == []


def test_a_list_ships_no_data(
    raw: redis.Redis, server: RedisServer, store: RedisStore, make_jam: MakeJam
) -> None:
    jam = make_jam(store=store)
    for _ in range(20):
        jam.create_session("ann", {"note": "x" * 50_000})
    jam.list_sessions("ann")
    before = raw.info("stats")["total_net_output_bytes"]
    assert len(jam.list_sessions("ann")) == 20
    assert raw.info("stats")["total_net_output_bytes"] - before < 20_000


# --- a walk that dies ---------------------------------------------------------------------------


def told_by(jam: Jam) -> list[tuple[str, Any]]:
    told: list[tuple[str, Any]] = []
    jam.subscribe(lambda name, what: told.append((name, what["kind"])))
    return told


@each_case("done", [0, 1])
def test_sessions_are_dead_also_where_redis_dies_while_they_are_cleared(
    store: RedisStore, dying: Dying, make_jam: MakeJam, done: int
) -> None:
    jam, other = (
        make_jam(store=each, session={"max_per_owner": 0}) for each in (dying, store)
    )  # fmt: skip
    ids = [jam.create_session("ann", {}) for _ in range(350)]
    kept, told = ids[200], told_by(jam)
    dying.at_step, dying.done = lua.LIST_SESSIONS, done
    with pytest.raises(StoreUnavailable):
        jam.clear_sessions("ann", keep=kept)
    shown = [ids[0], ids[199], kept, ids[201], ids[349]]
    assert [each for each in shown if other.get_session(each) is not None] == [kept]
    assert told == [("revoked", "session")]

    dying.proxy.accept()
    # A dead one that was presented is gone already; the one that stays may have been in a page.
    rest = jam.clear_sessions("ann", keep=kept)
    assert 349 - STEP * (done + 1) - 4 <= rest <= 350 - STEP * (done + 1)
    assert other.get_session(kept) == {}
    assert jam.clear_sessions("ann", keep=kept) == 0


def test_a_clearing_that_did_not_reach_redis_ends_nothing_and_tells_nothing(
    store: RedisStore, dying: Dying, make_jam: MakeJam
) -> None:
    jam, other = make_jam(store=dying), make_jam(store=store)
    session_id, told = jam.create_session("ann", {}), told_by(jam)
    dying.at_step, dying.done = lua.CLEAR_SESSIONS, 0
    with pytest.raises(StoreUnavailable):
        jam.clear_sessions("ann")
    assert other.get_session(session_id) == {}
    assert told == []


@each_case("done", [0, 1])
def test_revocation_is_reported_if_redis_dies_after_the_cutoff(
    store: RedisStore, dying: Dying, make_jam: MakeJam, done: int
) -> None:
    jam, other = (
        make_jam(store=each, session={"max_per_owner": 0}) for each in (dying, store)
    )  # fmt: skip
    ids = [jam.create_session("ann", {}) for _ in range(250)]
    pair, told = jam.issue_tokens("ann"), told_by(jam)
    dying.at_step, dying.done = lua.LIST_SESSIONS, done
    jam.revoke_subject("ann")
    assert told == [("revoked", "subject")]
    assert [each for each in ids if other.get_session(each) is not None] == []
    with pytest.raises(TokenError):
        other.refresh_tokens(pair["refresh_token"])


def test_the_rest_of_a_clearing_is_removed_by_whoever_lists_next(
    raw: redis.Redis, store: RedisStore
) -> None:
    for number in range(250):
        store.create_session(at(f"k{number}"), a_session(NOW))
    store.clear_sessions(SLOT, "ann", NOW + 1, NOW + 1000)
    assert len(raw.keys("jam:s:*")) == 250 - STEP
    assert listed(store, NOW + 1) == []
    assert raw.keys("jam:[soe]:*") == []


def test_cleared_sessions_stay_dead_where_the_clearing_is_damaged(
    raw: redis.Redis, store: RedisStore
) -> None:
    for number in range(250):
        store.create_session(at(f"k{number:03}"), a_session(NOW))
    store.clear_sessions(SLOT, "ann", NOW + 1, NOW + 1e6)
    (left, *_) = [name.decode() for name in index(raw, "o")]
    raw.set(raw.keys("jam:k:*")[0], "garbage")
    # The login that finds it sets it anew: that brings nothing back.
    assert not store.create_session(at("new"), a_session(NOW + 2))
    own = store.standing(SLOT, "ann", NOW + 2).cleared
    assert store.create_session(at("new"), a_session(NOW + 2, cleared=own))
    assert store.read_session(left, NOW + 3) is None
    assert listed(store, NOW + 3) == [at("new")]
    assert raw.pttl(raw.keys("jam:k:*")[0]) > 399 * 86_400_000


def test_a_process_with_a_near_cache_sees_its_own_clearing_at_once(
    server: RedisServer, store: RedisStore
) -> None:
    near = NearStore(client_factory(server.url, 5.0), timeout=5.0, silence=30.0)
    try:
        for number in range(250):
            store.create_session(at(f"k{number:03}"), a_session(NOW))
        listen(near)
        assert near.read_session(at("k240"), NOW) is not None
        # In the first step, which removes a hundred others.
        near.clear_sessions(SLOT, "ann", NOW, NOW + 1000)
        assert near.read_session(at("k240"), NOW) is None
    finally:
        near.close()


def test_another_process_with_a_near_cache_hears_of_a_clearing(
    server: RedisServer, store: RedisStore
) -> None:
    near = NearStore(client_factory(server.url, 5.0), timeout=5.0, silence=30.0)
    try:
        for number in range(250):
            store.create_session(at(f"k{number:03}"), a_session(NOW))
        listen(near)
        assert near.read_session(at("k240"), NOW) is not None
        kept = at("k230")
        store.clear_sessions(SLOT, "ann", NOW, NOW + 1000, kept)
        _until(lambda: near.read_session(at("k240"), NOW) is None, "the push")
        assert near.read_session(kept, NOW) is not None
    finally:
        near.close()


# --- the bound ----------------------------------------------------------------------------------


def test_parallel_logins_of_four_machines_keep_the_bound(
    server: RedisServer, make_jam: MakeJam
) -> None:
    stores = [RedisStore(client_factory(server.url, 5.0), timeout=5.0) for _ in range(4)]
    sections = {"session": {"max_per_owner": 7}, "jwt": {"max_logins": 7}}
    jams = [make_jam(store=store, **sections) for store in stores]

    def log_in(number: int) -> str:
        jams[number % 4].issue_tokens("ann")
        return jams[number % 4].create_session("ann", {})

    ids = at_once(16, lambda n: [log_in(n) for _ in range(4)][-1])
    assert len(jams[0].list_sessions("ann")) == 7
    assert len([each for each in ids if jams[1].get_session(each) is not None]) <= 7
    assert len(server.client().keys("jam:f:*")) == 7
    for store in stores:
        store.close()


def test_a_login_whose_reply_was_lost_ends_no_second_session(
    raw: redis.Redis, dying: Dying, store: RedisStore
) -> None:
    for number in range(3):
        store.create_session(at(f"k{number}"), a_session(NOW + number), 3)
        store.start_family(at(f"f{number}"), a_family(NOW + number), 3, NOW + 99)
    for start in (
        lambda each: each.create_session(at("new"), a_session(NOW + 9), 3),
        lambda each: each.start_family(at("new"), a_family(NOW + 9), 3, NOW + 99),
    ):
        dying.read_session(at("k1"), NOW)
        dying.proxy.swallow_replies(b"EVALSHA")
        with pytest.raises(StoreUnavailable):
            start(dying)
        start(dying)
    assert listed(store, NOW + 9) == [at("k1"), at("k2"), at("new")]
    assert index(raw, "l") == [b"abf1", b"abf2", b"abnew"]


def test_out_of_memory_a_login_ends_nothing(raw: redis.Redis, store: RedisStore) -> None:
    for number in range(3):
        store.create_session(at(f"k{number}"), a_session(NOW + number))
        store.start_family(at(f"f{number}"), a_family(NOW + number))
    raw.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreUnavailable):
            store.create_session(at("new"), a_session(NOW + 9), 1)
        with pytest.raises(StoreUnavailable):
            store.start_family(at("new"), a_family(NOW + 9), 1, NOW + 99)
        assert len(listed(store, NOW + 9)) == 3
        assert cleared(store, NOW + 9, keep=at("k0")) == 2
    finally:
        raw.config_set("maxmemory", 0)
    assert len([n for n in range(3) if store.read_family(at(f"f{n}"), NOW + 9)]) == 3


# --- the indexes --------------------------------------------------------------------------------


def test_the_indexes_name_what_is_there_whatever_happens(
    raw: redis.Redis, store: RedisStore
) -> None:
    chance, keys, families = random.Random(7), [at("k")], [at("f")]
    for step in range(400):
        now = NOW + step
        key, family_id = chance.choice(keys[-12:]), chance.choice(families[-12:])
        keys.append(at(f"k{step}"))
        families.append(at(f"f{step}"))
        act = chance.randrange(8)
        if act < 3:
            store.create_session(keys[-1], a_session(now, idle=60.0, cleared=NOW * 2), 6)
            store.start_family(families[-1], a_family(now, idle_until=now + 60), 6, now + 50)
        elif act == 3:
            store.read_session(key, now)
            store.rotate_family(family_id, 1, now=now, grace=1.0, idle=60.0, claims=None,
                                mark_until=now + 50)  # fmt: skip
        elif act == 4:
            store.rework_session(key, keys[-1], "seed", now)
        elif act == 5:
            store.delete_session(key, now)
            store.end_family(family_id, now, now + 50)
        elif act == 6 and step % 5 == 0:
            cleared(store, now, keep=key)
        for letters in ("oe", "lm"):
            ages, ends = (set(index(raw, letter)) for letter in letters)
            assert ages == ends
            kind = b"s" if letters == "oe" else b"f"
            there = {key[11:] for key in raw.keys(b"jam:%b:*" % kind)}
            assert ages <= there
            assert [name for name in there - ages if lives(raw, kind, name, now)] == []


def lives(raw: redis.Redis, kind: bytes, name: bytes, now: float) -> bool:
    got = raw.hgetall(b"jam:%b:{ab}:%b" % (kind, name))
    start = float(got[b"s"]) if kind == b"s" else 0.0
    return now < min(start + float(got[b"i"]), float(got[b"e"])) and b"dead" not in got


def test_a_login_drops_old_names_a_hundred_at_a_time(raw: redis.Redis, store: RedisStore) -> None:
    for number in range(250):
        store.create_session(at(f"k{number}"), a_session(NOW, idle=5.0))
        store.start_family(at(f"f{number}"), a_family(NOW, idle_until=NOW + 5))
    sizes = []
    for number in range(4):
        store.create_session(at(f"new{number}"), a_session(NOW + 99))
        store.start_family(at(f"new{number}"), a_family(NOW + 99))
        sizes.append([len(index(raw, letter)) for letter in "oelm"])
    assert sizes == [[151] * 4, [52] * 4, [3] * 4, [4] * 4]


def test_names_that_have_ended_are_dropped_before_a_login_ends_the_living(
    store: RedisStore,
) -> None:
    store.create_session(at("old"), a_session(NOW, idle=900.0))
    for number in range(150):
        store.create_session(at(f"k{number}"), a_session(NOW + 1, idle=5.0))
    for number in range(3):
        store.create_session(at(f"new{number}"), a_session(NOW + 99), 4)
    assert listed(store, NOW + 99)[0] == at("old")
    assert len(listed(store, NOW + 99)) == 4


@each_case("letter", "oelm")
@each_case("kind", [kind for kind in FOREIGN if kind != "zset"])
def test_an_index_of_a_foreign_type_keeps_nobody_from_logging_in(
    raw: redis.Redis, store: RedisStore, letter: str, kind: str
) -> None:
    store.create_session(at("k"), a_session(NOW))
    store.start_family(at("f"), a_family(NOW))
    (key,) = raw.keys(f"jam:{letter}:*")
    raw.delete(key)
    FOREIGN[kind](raw, key)
    assert store.create_session(at("k2"), a_session(NOW + 1), 1)
    store.start_family(at("f2"), a_family(NOW + 1), 1, NOW + 99)
    assert store.read_session(at("k2"), NOW + 1) is not None
    assert store.read_family(at("f2"), NOW + 1) is not None
    assert (raw.type(key), len(index(raw, letter))) == (b"zset", 1)
    assert raw.pttl(key) > 0
    rotation, _ = store.rotate_family(at("f2"), 1, now=NOW + 2, grace=1.0, idle=60.0, claims=None,
                                      mark_until=NOW + 99)  # fmt: skip
    assert rotation is Rotation.NEW
    assert store.end_family(at("f2"), NOW + 2, NOW + 99) is not None
    assert cleared(store, NOW + 2) >= 1
    assert store.read_session(at("k"), NOW + 2) is None


def test_names_of_nobody_in_an_index_touch_nothing_else(
    raw: redis.Redis, store: RedisStore
) -> None:
    store.create_session(at("bobs"), a_session(NOW, session_key="bob"))
    store.create_session(at("k"), a_session(NOW))
    store.start_family(at("f"), a_family(NOW))
    raw.set("other:key", "of another app")
    names = {b"": 1, b"\xff": 2, b"other:key": 3, b"{x}": 4, b"%1": 5, b"abbobs": 6}
    ann = {key[4:5]: key for key in raw.keys("jam:[oelm]:*") if raw.zscore(key, "abk")
           or raw.zscore(key, "abf")}  # fmt: skip
    assert set(ann) == {b"o", b"e", b"l", b"m"}
    for key in ann.values():
        raw.zadd(key, {name: NOW - score for name, score in names.items()})
    assert listed(store, NOW + 1) == [at("k")]
    assert listed(store, NOW + 1, "bob") == [at("bobs")]
    store.start_family(at("f2"), a_family(NOW + 1), 1, NOW + 99)
    assert raw.get("other:key") == b"of another app"
    assert store.read_session(at("bobs"), NOW + 1) is not None


@each_case("after", ["", " ", "x", "1", "nan k", "1e999 k", "\x00", "4e9 ", "-1 kk"])
def test_a_walk_from_a_place_that_never_was_is_an_answer_or_unavailable(
    store: RedisStore, after: str
) -> None:
    store.create_session(at("k"), a_session(NOW))
    with suppress(StoreUnavailable):
        assert [each.key for page in pages(store, NOW, after=after) for each in page.living] in (
            [], [at("k")],
        )  # fmt: skip


SHAPES = ([b"done"], [b"done", b"", b""], [b"done", b"", b"", b"x"], [b"done", b"", b"", 0, b"k"],
          [b"alive", b"1"], [], None, b"done")  # fmt: skip


@each_case("answer", SHAPES)
def test_a_page_of_another_shape_is_no_answer(answer: Any) -> None:
    class Stranger:
        def execute_command(self, *_: Any) -> Any:
            return answer

    with pytest.raises(StoreUnavailable):
        RedisStore(Stranger()).list_sessions(SLOT, "ann", NOW)
    with pytest.raises(StoreUnavailable):
        RedisStore(Stranger()).clear_sessions(SLOT, "ann", NOW, NOW + 9)


def test_a_login_on_its_way_is_refused_long_after_the_clearing(store: RedisStore) -> None:
    before = store.standing(SLOT, "ann", NOW)
    cleared(store, NOW)
    late = a_session(NOW + 3600, cleared=before.cleared)
    assert not store.create_session(at("late"), late)


def test_the_reason_for_a_family_that_was_one_too_many_is_revoked(
    store: RedisStore, make_jam: MakeJam
) -> None:
    jam = make_jam(store=store, jwt={"max_logins": 1})
    first, _ = jam.issue_tokens("ann"), jam.issue_tokens("ann")
    for present, token in ((jam.refresh_tokens, "refresh_token"),
                           (jam.verify_jwt_token, "access_token")):  # fmt: skip
        with pytest.raises(TokenError) as caught:
            present(first[token])
        assert caught.value.reason is Reason.REVOKED
