"""Reads without a script answer as the script does, in one round trip, and leave doubts to it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from redis.crc import key_slot

from flask_jam import StoreUnavailable
from flask_jam.stores._redis import scripts as lua
from flask_jam.stores._redis.client import client_factory
from flask_jam.stores._redis.plain_reads import PLAIN
from flask_jam.stores._redis.redis_internals import Pool, packed, packed_command
from flask_jam.stores._redis.values import hashed
from flask_jam.stores.interface import NO_LIMITS, Kind, Limits, Marks, Session
from flask_jam.stores.redis import RedisStore
from flask_jam.testing.stores import SLOT, a_session, at

from .. import servers
from ..cases import each_case
from ..servers import HOST, RedisCluster, RedisServer

pytestmark = pytest.mark.redis

NOW = 4_000_000_000.0


@pytest.fixture
def store(each_server: RedisServer) -> Iterator[RedisStore]:
    each_server.flush()
    yield from _store(each_server.url)


def _store(url: str, **options: Any) -> Iterator[RedisStore]:
    store = RedisStore(client_factory(url, 5.0), timeout=5.0, **options)
    yield store
    store.close()


@pytest.fixture
def scripted(each_server: RedisServer) -> RedisStore:
    """The same through a client of the user's own, which only runs scripts."""
    client = each_server.client()
    return RedisStore(client)


@pytest.fixture
def raw(each_server: RedisServer) -> redis.Redis:
    return each_server.client()


def calls(raw: redis.Redis) -> dict[str, int]:
    """How often each command was called since the last time, but for those of the test."""
    stats: Any = raw.info("commandstats")
    raw.config_resetstat()
    own = ("info", "config|resetstat", "config", "client", "hello", "client|setinfo")
    return {
        name.removeprefix("cmdstat_"): count["calls"]
        for name, count in stats.items()
        if name.removeprefix("cmdstat_") not in own
    }


# --- what is asked ---------------------------------------------------------------------------


def test_the_marks_of_a_token_are_plain_reads(store: RedisStore, raw: redis.Redis) -> None:
    store.marks(SLOT, "t", "f", "ann", NOW)
    calls(raw)
    store.marks(SLOT, "t", "f", "ann", NOW)
    assert calls(raw) == {"get": 4, "persist": 1}


def test_the_allow_list_is_read_only_where_it_is_used(
    each_server: RedisServer, raw: redis.Redis
) -> None:
    for store in _store(each_server.url, allow_list=False):
        store.marks(SLOT, "t", "f", "ann", NOW)
        calls(raw)
        store.allow(SLOT, "t", NOW, NOW + 100)
        calls(raw)
        assert store.marks(SLOT, "t", "f", "ann", NOW) == Marks()
        assert calls(raw) == {"get": 3, "persist": 1}


def test_a_session_is_read_by_a_script_once_and_then_plainly(
    store: RedisStore, raw: redis.Redis
) -> None:
    store.create_session(at("s"), a_session(NOW))
    first = store.read_session(at("s"), NOW + 1)
    calls(raw)
    assert store.read_session(at("s"), NOW + 2) == first
    assert calls(raw) == {"hmget": 1, "hlen": 1, "get": 2, "persist": 1}


def test_a_slide_that_is_due_is_one_script_and_nothing_else(
    store: RedisStore, raw: redis.Redis
) -> None:
    store.create_session(at("s"), a_session(NOW))
    store.read_session(at("s"), NOW + 1)
    calls(raw)
    session = store.read_session(at("s"), NOW + 11)
    asked = calls(raw)
    assert session is not None
    assert session.last_seen_at == NOW + 11
    assert asked["evalsha"] == 1
    assert "persist" not in asked


def test_a_slide_of_another_process_is_seen(store: RedisStore, each_server: RedisServer) -> None:
    store.create_session(at("s"), a_session(NOW))
    store.read_session(at("s"), NOW + 1)
    for other in _store(each_server.url):
        other.read_session(at("s"), NOW + 11)
    for then in (9, 12):
        session = store.read_session(at("s"), NOW + then)
        assert session is not None
        assert session.last_seen_at == NOW + 11


# --- the same answer as the script -----------------------------------------------------------

Prepare = Callable[[RedisStore, redis.Redis], object]


def _key(letter: str, name: str) -> str:
    return f"jam:{letter}:{{{SLOT}}}:{name}"


def _mark(letter: str, name: str, value: object) -> Prepare:
    return lambda store, raw: raw.set(_key(letter, name), json.dumps(value))


MARKS: dict[str, Prepare] = {
    "nothing": lambda store, raw: None,
    "a token": lambda store, raw: store.mark(SLOT, Kind.TOKEN, "t", NOW, NOW + 50),
    "a token, over": lambda store, raw: store.mark(SLOT, Kind.TOKEN, "t", NOW, NOW - 50),
    "a family": lambda store, raw: store.mark(SLOT, Kind.FAMILY, "f", NOW, NOW + 50),
    "a cutoff": lambda store, raw: store.cut(SLOT, "ann", NOW, NOW + 50),
    "a cutoff of logins": lambda store, raw: store.cut_logins(SLOT, "ann", NOW, NOW + 50),
    "both cutoffs": lambda store, raw: [
        store.cut(SLOT, "ann", NOW, NOW + 50), store.cut_logins(SLOT, "ann", NOW, NOW + 50),
    ],
    "allowed": lambda store, raw: store.allow(SLOT, "t", NOW, NOW + 50),
    "no JSON": lambda store, raw: raw.set(_key("t", "t"), b"\xff"),
    "another version": _mark("t", "t", [2, NOW, NOW + 50]),
    "an empty text": lambda store, raw: raw.set(_key("x", "f"), ""),
    "a list": lambda store, raw: raw.rpush(_key("t", "t"), "x"),
    "a hash": lambda store, raw: raw.hset(_key("x", "f"), "a", "b"),
    "a set that allows": lambda store, raw: raw.sadd(_key("a", "t"), "x"),
}  # fmt: skip


@each_case("name", MARKS)
def test_marks_are_what_the_script_says(
    store: RedisStore, scripted: RedisStore, raw: redis.Redis, name: str
) -> None:
    MARKS[name](store, raw)
    found = store.marks(SLOT, "t", "f", "ann", NOW + 1)
    assert found == scripted.marks(SLOT, "t", "f", "ann", NOW + 1)
    assert store.standing(SLOT, "ann", NOW) == scripted.standing(SLOT, "ann", NOW)
    if name.startswith(("a list", "a hash", "no JSON", "another", "an empty")):
        assert found.revoked


S = _key("s", at("s"))


def _field(name: str, value: object) -> Prepare:
    return lambda store, raw: raw.hset(S, name, value)  # type: ignore[arg-type]


def _owners_cutoff(store: RedisStore, raw: redis.Redis) -> None:
    store.cut(SLOT, "ann", NOW, NOW + 500)


#: What happens to a session after this process has read it.
CHANGES: dict[str, Prepare] = {
    "nothing": lambda store, raw: None,
    "an update": lambda store, raw: store.update_session(at("s"), {"n": 2}, NOW + 1, 9999),
    "a new key": lambda store, raw: store.update_session(at("s"), {"new": [1]}, NOW + 1, 9999),
    "deleted": lambda store, raw: store.delete_session(at("s"), NOW + 1),
    "cleared": lambda store, raw: store.clear_sessions(SLOT, "ann", NOW + 1, NOW + 99),
    "cleared, and not yet removed": lambda store, raw: raw.set(
        _key("k", hashed("ann")), json.dumps([1, NOW + 1, NOW + 99])
    ),
    "a clearing that has ended": lambda store, raw: raw.set(
        _key("k", hashed("ann")), json.dumps([1, NOW + 1, NOW + 1])
    ),
    "a clearing that cannot be read": lambda store, raw: raw.set(_key("k", hashed("ann")), "?"),
    "all but this one cleared": lambda store, raw: store.clear_sessions(
        SLOT, "ann", NOW + 1, NOW + 99, at("s")
    ),
    "reworked": lambda store, raw: store.rework_session(at("s"), at("s2"), "seed", NOW + 1),
    "a cutoff": _owners_cutoff,
    "a cutoff of logins": lambda store, raw: store.cut_logins(SLOT, "ann", NOW, NOW + 500),
    "a cutoff of logins that has ended": lambda store, raw: store.cut_logins(
        SLOT, "ann", NOW, NOW + 1
    ),
    "a cutoff that cannot be read": lambda store, raw: [
        raw.delete(key) or raw.set(key, "?")
        for key in (_owners_cutoff(store, raw), *raw.keys(_key("c", "*").replace("{", "\\{")))
        if key is not None
    ],
    "a field that was removed": lambda store, raw: raw.hdel(S, "u"),
    "data that was removed": lambda store, raw: raw.hdel(S, 'd"n"'),
    "a field that nobody knows": _field("z", "1"),
    "no time": _field("s", "soon"),
    "an endless one": _field("e", "inf"),
    "another idle time": _field("i", "1e9"),
    "another owner": _field("o", "A" * 43),
    "fixed is no JSON": _field("j", "{"),
    "fixed of another version": _field("j", "[2]"),
    "data is no JSON": _field('d"n"', "{"),
    "a string": lambda store, raw: raw.delete(S) and raw.set(S, "x"),
    "a list": lambda store, raw: raw.delete(S) and raw.rpush(S, "x"),
    "of an older clock": _field("s", repr(NOW - 50)),
    "of a younger clock": _field("s", repr(NOW + 5)),
}  # fmt: skip


@each_case("name", CHANGES)
def test_a_session_that_changed_is_what_the_script_says(
    store: RedisStore, scripted: RedisStore, raw: redis.Redis, name: str
) -> None:
    def outcome(reader: RedisStore) -> Session | None:
        raw.flushall()
        store.create_session(at("s"), a_session(NOW))
        assert reader.read_session(at("s"), NOW + 1) is not None
        CHANGES[name](scripted, raw)
        return reader.read_session(at("s"), NOW + 2)

    assert outcome(store) == outcome(scripted)


@each_case("then", [9.9, 10.0, 99.0, 100.0, 159.0, 200.0])
def test_the_ends_of_a_session_are_what_the_script_says(
    store: RedisStore, scripted: RedisStore, raw: redis.Redis, then: float
) -> None:
    def outcome(reader: RedisStore) -> Session | None:
        raw.flushall()
        store.create_session(at("s"), a_session(NOW))
        reader.read_session(at("s"), NOW + 1)
        return reader.read_session(at("s"), NOW + then)

    assert outcome(store) == outcome(scripted)


@each_case("idle", [5.0, 50.0, 500.0])
@each_case("absolute", [20.0, 5000.0])
@each_case("then", [1.5, 4.0, 30.0])
def test_tightened_limits_are_what_the_script_says(
    store: RedisStore,
    scripted: RedisStore,
    raw: redis.Redis,
    idle: float,
    absolute: float,
    then: float,
) -> None:
    def outcome(reader: RedisStore) -> list[Session | None]:
        raw.flushall()
        store.create_session(at("s"), a_session(NOW))
        reader.read_session(at("s"), NOW + 1)
        asked = [NO_LIMITS, Limits(idle, absolute), Limits(idle, absolute), NO_LIMITS]
        return [reader.read_session(at("s"), NOW + then, limits) for limits in asked]

    assert outcome(store) == outcome(scripted)


def test_a_new_id_is_settled_by_a_script_and_read_plainly_from_then_on(
    store: RedisStore, raw: redis.Redis
) -> None:
    store.create_session(at("s"), a_session(NOW))
    store.read_session(at("s"), NOW + 1)
    store.rework_session(at("s"), at("s2"), "seed", NOW + 2)
    assert store.read_session(at("s"), NOW + 2) is None
    session = store.read_session(at("s2"), NOW + 3)
    calls(raw)
    assert store.read_session(at("s2"), NOW + 3) == session
    assert "evalsha" not in calls(raw)
    # Another rework of it, by another process, is for the script again.
    raw.hset(_key("s", at("s2")), "w", "A" * 43)
    assert store.read_session(at("s2"), NOW + 3) == session
    assert calls(raw)["evalsha"] == 1


def test_a_clock_that_was_moved_back_revives_and_slides_nothing(
    store: RedisStore, raw: redis.Redis
) -> None:
    store.create_session(at("s"), a_session(NOW))
    store.read_session(at("s"), NOW + 20)
    assert store.read_session(at("s"), NOW - 500) is not None
    store.delete_session(at("s"), NOW + 20)
    for then in (NOW - 500, NOW + 21):
        assert store.read_session(at("s"), then) is None
    assert not raw.exists(S)


def test_what_is_remembered_of_sessions_is_bounded(store: RedisStore) -> None:
    large = a_session(NOW, data={"text": "x" * 60_000})
    for number in range(60):
        store.create_session(at(f"s{number}"), large)
        store.read_session(at(f"s{number}"), NOW + 1)
    seen = store._plain._seen
    assert 0 < len(seen) < 60
    assert seen.currsize <= seen.maxsize
    for number in (0, 59):
        session = store.read_session(at(f"s{number}"), NOW + 2)
        assert session is not None
        assert session.data == large.data


def test_a_text_in_a_session_may_be_in_any_script(store: RedisStore) -> None:
    data = {"ключ:{}\r\n": "mañana", "": [None, {"a": "\x00"}], 'd"x"': 1.5}
    store.create_session(at("s"), a_session(NOW, data=data))
    for then in (1, 2, 3):
        session = store.read_session(at("s"), NOW + then)
        assert session is not None
        assert session.data == data


# --- who answers ---------------------------------------------------------------------------------


def test_a_primary_that_became_a_replica_is_not_believed(each_server: RedisServer) -> None:
    with RedisServer(each_server.binary) as old:
        for store in _store(old.url):
            store.create_session(at("s"), a_session(NOW))
            store.read_session(at("s"), NOW + 1)
            store.marks(SLOT, "t", "f", "ann", NOW)
            old.client().replicaof(HOST, servers._free_port())
            for ask in (
                lambda store=store: store.read_session(at("s"), NOW + 2),
                lambda store=store: store.marks(SLOT, "t", "f", "ann", NOW),
                lambda store=store: store.standing(SLOT, "ann", NOW),
            ):
                with pytest.raises(StoreUnavailable):
                    ask()


def test_a_primary_that_may_not_write_still_answers_what_it_knows(
    each_server: RedisServer,
) -> None:
    with RedisServer(each_server.binary) as alone:
        for store in _store(alone.url):
            store.create_session(at("s"), a_session(NOW))
            store.read_session(at("s"), NOW + 1)
            alone.client().config_set("min-replicas-to-write", 1)
            assert store.read_session(at("s"), NOW + 2) is not None
            assert store.marks(SLOT, "t", "f", "ann", NOW) == Marks()


@contextlib.contextmanager
def moving(cluster: RedisCluster) -> Iterator[Callable[[], None]]:
    """A slot that is being moved, and what completes the move."""
    slot, clients = key_slot(SLOT.encode()), [node.client() for node in cluster.nodes]
    ids = [client.execute_command("CLUSTER MYID").decode() for client in clients]
    source = next(n for n in range(3) if slot < servers.SLOTS * (n + 1) // 3)
    target = (source + 1) % 3

    def give(owner: int) -> None:
        for node in (owner, source, target, 3 - source - target):
            clients[node].execute_command("CLUSTER SETSLOT", slot, "NODE", ids[owner])

    def complete() -> None:
        for key in clients[source].execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
            port = cluster.nodes[target].port
            clients[source].execute_command("MIGRATE", HOST, port, key, 0, 5000)
        give(target)

    clients[target].execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[source])
    clients[source].execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[target])
    try:
        yield complete
    finally:
        cluster.flush()
        give(source)


@each_case("way", ["plain", "scripts"])
def test_what_is_in_a_slot_that_moves_is_never_taken_for_gone(
    three_nodes: RedisCluster, way: str
) -> None:
    three_nodes.flush()
    store = RedisStore(three_nodes.client())
    if way == "plain":
        store = RedisStore(client_factory(three_nodes.url, 5.0), timeout=5.0)
    store.create_session(at("s"), a_session(NOW))
    store.cut(SLOT, "bob", NOW, NOW + 500)
    assert store.read_session(at("s"), NOW + 1) is not None
    with moving(three_nodes) as complete:
        for _ in range(2):
            with contextlib.suppress(StoreUnavailable):
                _is_known(store)
        complete()
        for _ in range(2):
            _is_known(store)
    store.close()


def _is_known(store: RedisStore) -> None:
    assert store.marks(SLOT, "t", "f", "bob", NOW + 1).cut_off is not None
    session = store.read_session(at("s"), NOW + 2)
    assert session is not None
    assert session.session_key == "ann"


# --- the commands ---------------------------------------------------------------------------------


@each_case("command", [("GET", "a"), ("GET", "ключ"), ("SET", "a b", "\r\n"), ("ECHO", "")])
def test_a_command_is_sent_as_redis_py_sends_it(command: tuple[str, ...]) -> None:
    client = redis.Redis(host=HOST, port=1)
    expected = b"".join(client.connection_pool.make_connection().pack_command(*command))
    assert packed(command) == packed_command(*command) == expected
    assert packed(command, command) == expected * 2


def test_every_plain_read_has_its_script(store: RedisStore) -> None:
    assert PLAIN == (lua.READ_MARKS, lua.READ_SESSION)
    assert isinstance(store.client().connection_pool, Pool)
