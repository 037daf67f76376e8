"""The Redis store keeps the contract, on each Redis that there is and on a cluster.

Below the contract: what is damaged in Redis lets nobody in and breaks nothing, a step whose reply
was lost may be repeated, and what Redis holds is what the table in the store's docstring says.
"""

from __future__ import annotations

import json
import logging
import math
import multiprocessing
import pickle
import re
import socket
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

import flask_jam.stores.redis as redis_module
from flask_jam import Jam, Reason, SessionError, StoreUnavailable, TokenError
from flask_jam.stores._redis.client import client_factory
from flask_jam.stores._redis.near_cache import NearStore
from flask_jam.stores.api_keys import KEEP_ENDED, ApiKey, KeyRotation, NewKey
from flask_jam.stores.interface import (
    CLOCK_SKEW,
    REWORK_GRACE,
    Kind,
    Marks,
    Rotation,
    slot_of,
)
from flask_jam.stores.redis import RedisStore
from flask_jam.testing.api_keys import a_key, listed_keys
from flask_jam.testing.stores import (
    ANY_JSON,
    SLOT,
    StoreConformance,
    a_family,
    a_session,
    at,
    at_once,
    cleared,
    listed,
)
from flask_jam.testing.tickets import a_ticket

from ..cases import each_case, loop_inherited_cases
from ..conftest import SECRET, Clock, build_app
from ..servers import HOST, Proxy, RedisCluster, RedisServer

pytestmark = pytest.mark.redis

NOW = 4_000_000_000.0
MakeJam = Callable[..., Jam]


def store_of(url: str, timeout: float = 5.0) -> RedisStore:
    return RedisStore(client_factory(url, timeout), timeout=timeout)


@loop_inherited_cases
class TestRedisStore(StoreConformance):
    @pytest.fixture
    def store(self, each_server: RedisServer) -> Iterator[RedisStore]:
        each_server.flush()
        store = store_of(each_server.url)
        yield store
        store.close()

    def elapse(self, seconds: float) -> None:
        time.sleep(seconds)


@loop_inherited_cases
class TestRedisStoreOnACluster(StoreConformance):
    @pytest.fixture
    def store(self, three_nodes: RedisCluster) -> Iterator[RedisStore]:
        three_nodes.flush()
        store = store_of(three_nodes.url)
        yield store
        store.close()

    def elapse(self, seconds: float) -> None:
        time.sleep(seconds)


# --- what the tests below share -----------------------------------------------------------------


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    redis_server.flush()
    return redis_server


@pytest.fixture(scope="module")
def raw_client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    client = redis_server.client()
    yield client
    client.close()


@pytest.fixture
def raw(server: RedisServer, raw_client: redis.Redis) -> redis.Redis:
    """A client to look at the emptied server, and to damage what it holds."""
    return raw_client


@pytest.fixture
def connect(server: RedisServer) -> Iterator[Callable[..., RedisStore]]:
    """``connect()`` gives a new store, as another process would have it."""
    made: list[RedisStore] = []

    def connect(kind: type[RedisStore] = RedisStore, url: str | None = None) -> RedisStore:
        made.append(kind(client_factory(url or server.url, 5.0), timeout=5.0))
        return made[-1]

    yield connect
    for store in made:
        store.close()


@pytest.fixture
def store(connect: Callable[..., RedisStore]) -> RedisStore:
    return connect()


@pytest.fixture(params=[RedisStore, NearStore])
def either(request: pytest.FixtureRequest, connect: Callable[..., RedisStore]) -> RedisStore:
    """A store without a near cache, and one with it."""
    return connect(request.param)


def key_of(raw: redis.Redis, letter: str) -> bytes:
    """The one key of that kind."""
    (key,) = raw.keys(f"jam:{letter}:*")
    return bytes(key)


def turn(store: RedisStore, generation: int, now: float, **other: Any) -> Any:
    said: dict[str, Any] = {"grace": 10.0, "idle": 100.0, "claims": None, "mark_until": now + 500}
    return store.rotate_family(at("f"), generation, now=now, **{**said, **other})


FOREIGN: dict[str, Callable[[redis.Redis, bytes], Any]] = {
    "string": lambda raw, key: raw.set(key, "foreign"),
    "list": lambda raw, key: raw.rpush(key, "foreign"),
    "set": lambda raw, key: raw.sadd(key, "foreign"),
    "hash": lambda raw, key: raw.hset(key, "foreign", "field"),
    "zset": lambda raw, key: raw.zadd(key, {"foreign": 1}),
    "stream": lambda raw, key: raw.xadd(key, {"foreign": "field"}),
    "counter": lambda raw, key: raw.pfadd(key, "foreign"),
}


class Bomb:
    """What a pickle of this does when it is read back."""

    blown: list[str] = []  # noqa: RUF012 - one for all

    def __reduce__(self) -> tuple[Any, ...]:
        return Bomb.blown.append, ("pickle",)


PICKLES = [pickle.dumps(Bomb(), protocol) for protocol in (0, 2, 5)]


def test_what_is_read_is_never_unpickled(raw: redis.Redis, store: RedisStore) -> None:
    # A pickle under every key and in every field; the other tests say what is answered.
    for text in PICKLES:
        fill(raw, store)
        for key in raw.keys("*"):
            fields = raw.hgetall(key) if raw.type(key) == b"hash" else {}
            for field in fields:
                raw.hset(key, field, text)
            if not fields:
                raw.set(key, text)
        every_verb(store)
    for source in Path(redis_module.__file__).parent.parent.rglob("*.py"):
        assert not re.search(r"\b(pickle|marshal|shelve|eval|exec)\b", source.read_text()), source
    assert Bomb.blown == []


def fill(raw: redis.Redis, store: RedisStore) -> None:
    """One key of each kind."""
    raw.flushall()
    store.mark(SLOT, Kind.TOKEN, "t", NOW, NOW + 100)
    store.mark(SLOT, Kind.FAMILY, "x", NOW, NOW + 100)
    store.cut(SLOT, "bob", NOW, NOW + 100)
    store.allow(SLOT, "a", NOW, NOW + 100)
    store.start_family(at("f"), a_family(NOW))
    cleared(store, NOW, "carol")
    store.create_session(at("s"), a_session(NOW))
    store.issue_ticket(at("v"), a_ticket(NOW), replace=True)


def every_verb(store: RedisStore) -> None:
    """All that the port has, over what :func:`fill` made; only its own exceptions may come out."""
    for do in (
        lambda: store.marks(SLOT, "t", "x", "bob", NOW + 1),
        lambda: store.marks(SLOT, "a", None, None, NOW + 1),
        lambda: store.read_family(at("f"), NOW + 1),
        lambda: turn(store, 1, NOW + 1),
        lambda: store.end_family(at("f"), NOW + 1, NOW + 10),
        lambda: store.read_session(at("s"), NOW + 50),
        lambda: store.update_session(at("s"), {"n": 1}, NOW + 50, 1000),
        lambda: listed(store, NOW + 50),
        lambda: store.rework_session(at("s"), at("s2"), "seed", NOW + 50),
        lambda: store.delete_session(at("s2"), NOW + 50),
        lambda: store.create_session(at("s"), a_session(NOW)),
        lambda: cleared(store, NOW + 50),
        lambda: store.start_family(at("f"), a_family(NOW)),
        lambda: store.allow(SLOT, "a", NOW, NOW + 10),
        *(lambda kind=kind: store.mark(SLOT, kind, "t", NOW, NOW + 10) for kind in Kind),  # type: ignore[misc]
        lambda: store.standing(SLOT, "bob", NOW + 1),
        lambda: store.standing(SLOT, "carol", NOW + 1),
        lambda: store.create_session(at("c"), a_session(NOW, session_key="carol")),
        lambda: store.cut(SLOT, "bob", NOW + 1, NOW + 10),
        lambda: cleared(store, NOW + 1, "carol"),
        lambda: store.peek_ticket(at("v"), "reset", "digest", NOW + 1),
        lambda: store.redeem_ticket(at("v"), "reset", "digest", NOW + 1),
        lambda: store.issue_ticket(at("v2"), a_ticket(NOW + 1), replace=True),
    ):
        do()


def errors_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


# --- damaged marks: they revoke, and they allow nothing -----------------------------------------

A, B = repr(NOW).encode(), repr(NOW + 100).encode()
BAD_MARKS: dict[str, bytes] = {
    "empty": b"",
    "a word": b"garbage",
    "no text": b"\xff\xfe\x00",
    "cut off": b"[1,%b,%b" % (A, B[:-4]),
    "two parts": b"[1,%b]" % B,
    "four parts": b"[1,%b,%b,0]" % (A, B),
    "a later version": b"[2,%b,%b]" % (A, B),
    "five parts": b"[2,%b,%b,%b,0]" % (A, B, A),
    "a later version of four": b"[3,%b,%b,%b]" % (A, B, A),
    "logins as text": b'[2,%b,%b,"%b"]' % (A, B, A),
    "logins null": b"[2,%b,%b,null]" % (A, B),
    "logins true": b"[2,%b,%b,true]" % (A, B),
    "logins NaN": b"[2,%b,%b,NaN]" % (A, B),
    "logins 1e999": b"[2,%b,%b,1e999]" % (A, B),
    "version 0": b"[0,%b,%b]" % (A, B),
    "version as text": b'["1",%b,%b]' % (A, B),
    "version true": b"[true,%b,%b]" % (A, B),
    "null": b"null",
    "nulls": b"[1,null,null]",
    "an object": b'{"1":[%b,%b]}' % (A, B),
    "a number": b"1",
    "words": b'[1,"x","y"]',
    "times as texts": b'[1,"%b","%b"]' % (A, b"5"),
    "truths": b"[1,true,true]",
    "lists": b"[1,[],[]]",
    "NaN": b"[1,NaN,NaN]",
    "until NaN": b"[1,%b,NaN]" % A,
    "at NaN": b"[1,NaN,%b]" % B,
    "small nan": b"[1,nan,nan]",
    "Infinity": b"[1,Infinity,Infinity]",
    "-Infinity": b"[1,-Infinity,-Infinity]",
    "at and until joined": b"[1,%b-%b]" % (A, B),
    "until 1e999": b"[1,%b,1e999]" % A,
    "at -1e999": b"[1,-1e999,%b]" % B,
    "too many digits": b"[1,%b,%b]" % (b"9" * 400, b"9" * 400),
    "far too many digits": b"[1,%b,%b]" % (b"9" * 5000, b"9" * 5000),
    "deep": b"[" * 100_000,
    "a bomb": PICKLES[-1],
    "large": b"x" * 18_000_000,
}


@each_case("value", BAD_MARKS.values(), ids=BAD_MARKS)
def test_a_damaged_mark_revokes_and_allows_nothing(
    raw: redis.Redis, store: RedisStore, value: bytes
) -> None:
    fill(raw, store)
    for letter in "txca":
        raw.set(key_of(raw, letter), value)
    check_damaged_marks(store)


@each_case("kind", [kind for kind in FOREIGN if kind != "string"])
def test_a_mark_of_a_foreign_type_revokes_and_allows_nothing(
    raw: redis.Redis, either: RedisStore, kind: str
) -> None:
    fill(raw, either)
    for letter in "txca":
        key = key_of(raw, letter)
        raw.delete(key)
        FOREIGN[kind](raw, key)
    # Twice: what a near cache has kept of it is no better.
    check_damaged_marks(either)
    check_damaged_marks(either)


def check_damaged_marks(store: RedisStore) -> None:
    now = NOW + 1
    assert store.marks(SLOT, "t", None, None, now).revoked
    assert store.marks(SLOT, None, "x", None, now).revoked
    assert store.marks(SLOT, "other", "x", "other", now).revoked
    assert store.marks(SLOT, None, None, "bob", now).cut_off == math.inf
    assert store.marks(SLOT, "a", None, None, now) == Marks()
    # As late as a mark can be damaged, it counts.
    assert store.marks(SLOT, "t", None, None, NOW + 10**6).revoked


@each_case("letter", "txca")
def test_every_beginning_of_a_mark_counts_as_damaged(
    raw: redis.Redis, store: RedisStore, letter: str
) -> None:
    fill(raw, store)
    key = key_of(raw, letter)
    whole = raw.get(key)
    for length in range(len(whole)):
        raw.set(key, whole[:length])
        found = store.marks(SLOT, letter, letter, "bob" if letter == "c" else "ann", NOW + 1)
        expected = {"t": (True, None), "x": (True, None), "c": (False, math.inf)}
        assert (found.revoked, found.cut_off) == expected.get(letter, (False, None)), length
        assert not found.allowed


def damaged(raw: redis.Redis, letter: str) -> Iterator[str]:
    """One damage after another to the mark of that kind."""
    key = key_of(raw, letter)
    for name, value in BAD_MARKS.items():
        if len(value) < 10**6:
            raw.set(key, value)
            yield name
    for kind, make in FOREIGN.items():
        raw.delete(key)
        make(raw, key)
        yield kind


def pass_time(raw: redis.Redis, seconds: float) -> None:
    """Let every rotation be so much older by the clock of the server."""
    for key in raw.keys("jam:f:*"):
        raw.hset(key, "r", repr(float(raw.hget(key, "r") or 0.0) - seconds))


@each_case("passed", [-CLOCK_SKEW, -5.0, 0.0, 5.0])
def test_rotation_is_repeated_within_the_grace(
    raw: redis.Redis, store: RedisStore, passed: float
) -> None:
    store.start_family(at("f"), a_family(NOW))
    assert turn(store, 1, NOW)[0] is Rotation.NEW
    pass_time(raw, passed)
    # The clock of whoever asks decides nothing: a step may have hung on its way.
    for clock in (NOW - 500, NOW, NOW + 99):
        assert turn(store, 1, clock)[0] is Rotation.SAME


@each_case("passed", [-CLOCK_SKEW - 60, 10.0, 1e6])
def test_rotation_outside_of_the_grace_is_reuse(
    raw: redis.Redis, store: RedisStore, passed: float
) -> None:
    store.start_family(at("f"), a_family(NOW))
    assert turn(store, 1, NOW)[0] is Rotation.NEW
    pass_time(raw, passed)
    assert turn(store, 1, NOW)[0] is Rotation.REUSED


def test_a_family_whose_mark_is_damaged_is_dead(raw: redis.Redis, store: RedisStore) -> None:
    store.start_family(at("f"), a_family(NOW))
    store.mark(SLOT, Kind.FAMILY, at("f"), NOW, NOW + 100)
    for name in damaged(raw, "x"):
        assert store.read_family(at("f"), NOW + 1) is None, name
        assert turn(store, 1, NOW + 1) == (Rotation.REVOKED, None), name


def test_damaged_cutoff_ends_families_and_refuses_sessions(
    raw: redis.Redis, store: RedisStore
) -> None:
    store.cut(SLOT, "bob", NOW - 50, NOW + 100)
    store.start_family(at("f"), a_family(NOW, subject="bob", cut_off=NOW - 50))
    assert store.read_family(at("f"), NOW) is not None
    for name in damaged(raw, "c"):
        assert store.read_family(at("f"), NOW + 1) is None, name
        assert turn(store, 1, NOW + 1) == (Rotation.REVOKED, None), name
        for carried in (0.0, NOW - 50, store.standing(SLOT, "bob", NOW + 1).cut_off):
            session = a_session(NOW, session_key="bob", cut_off=carried)
            assert not store.create_session(at("s"), session), name


def test_session_is_dead_while_the_cut_off_of_its_owner_is_damaged(
    raw: redis.Redis, store: RedisStore
) -> None:
    store.cut(SLOT, "ann", NOW - 50, NOW + 100)
    assert store.create_session(at("s"), a_session(NOW, cut_off=NOW - 50))
    key = key_of(raw, "s")
    fields = raw.hgetall(key)
    for name in damaged(raw, "c"):
        raw.hset(key, mapping=fields)
        assert store.read_session(at("s"), NOW + 1) is None, name


def test_a_damaged_mark_can_be_written_anew(raw: redis.Redis, store: RedisStore) -> None:
    for letter, kind in (("t", Kind.TOKEN), ("x", Kind.FAMILY)):
        store.mark(SLOT, kind, "n", NOW, NOW + 100)
        for name in damaged(raw, letter):
            store.mark(SLOT, kind, "n", NOW, NOW + 100)
            assert store.marks(SLOT, "n", "n", "n", NOW + 99) == Marks(revoked=True), name
            assert 159_000 < raw.pttl(key_of(raw, letter)) <= 160_000, name
        raw.flushall()


def test_an_answer_without_all_of_the_marks_is_no_answer() -> None:
    class Stranger:
        def execute_command(self, *_: Any) -> Any:
            return [b"marks"]

    with pytest.raises(StoreUnavailable):
        RedisStore(Stranger()).marks(SLOT, "n", "n", "n", NOW)


def test_damaged_cut_off_can_be_written_anew(raw: redis.Redis, store: RedisStore) -> None:
    store.cut(SLOT, "n", NOW, NOW + 100)
    for name in damaged(raw, "c"):
        store.cut(SLOT, "n", NOW, NOW + 100)
        assert store.marks(SLOT, "n", "n", "n", NOW + 99) == Marks(cut_off=NOW + 20), name
        assert store.standing(SLOT, "n", NOW + 99).cut_off == NOW + 20, name
        assert 159_000 < raw.pttl(key_of(raw, "c")) <= 160_000, name


def test_a_damaged_place_on_the_allow_list_can_be_written_anew(
    raw: redis.Redis, store: RedisStore
) -> None:
    store.allow(SLOT, "n", NOW, NOW + 100)
    for name in damaged(raw, "a"):
        assert not store.marks(SLOT, "n", None, None, NOW + 1).allowed, name
        store.allow(SLOT, "n", NOW, NOW + 100)
        assert store.marks(SLOT, "n", None, None, NOW + 99).allowed, name


def test_a_damaged_mark_of_a_clearing_refuses_one_login_and_no_more(
    raw: redis.Redis, store: RedisStore
) -> None:
    cleared(store, NOW)
    key = key_of(raw, "k")
    assert not store.create_session(at("s"), a_session(NOW))
    assert store.create_session(at("s"), a_session(NOW, cleared=NOW))
    values = [value for value in BAD_MARKS.values() if len(value) < 10**6]
    damages: list[Callable[[], Any]] = [lambda v=v: raw.set(key, v) for v in values]  # type: ignore[misc]
    for damage in damages + [lambda m=make: m(raw, key) for make in FOREIGN.values()]:  # type: ignore[misc]
        raw.delete(key)
        damage()
        own = store.standing(SLOT, "ann", NOW + 1).cleared
        assert not store.create_session(at("s"), a_session(NOW + 1, cleared=own))
        own = store.standing(SLOT, "ann", NOW + 1).cleared
        assert store.create_session(at("s"), a_session(NOW + 1, cleared=own))
        assert cleared(store, NOW + 1) == 1


def test_damaged_marks_are_told_once(
    raw: redis.Redis, store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    fill(raw, store)
    raw.set(key_of(raw, "t"), "secret-looking garbage")
    for _ in range(5):
        store.marks(SLOT, "t", None, None, NOW + 1)
    (line,) = errors_in(caplog)
    assert "could not be read" in line
    assert "garbage" not in line


@each_case("name", ["a", "a:", "a::"])
@each_case("kind", [Kind.TOKEN, Kind.FAMILY, None])
def test_reading_a_mark_removes_no_other(either: RedisStore, kind: Kind | None, name: str) -> None:
    for other in ("a", "a:", "a::", "a:::"):
        if kind is None:
            either.allow(SLOT, other, NOW, NOW + 100)
        else:
            either.mark(SLOT, kind, other, NOW, NOW + 100)
    for _ in range(2):
        either.marks(SLOT, name, name, name, NOW + 1)
    found = [either.marks(SLOT, n, n, n, NOW + 1) for n in ("a:::", "a::", "a:", "a")]
    assert found == [Marks(revoked=kind is not None, allowed=kind is None)] * 4


# --- damaged families: there are none -----------------------------------------------------------

NO_NUMBERS = (
    b"", b"x", b"\xff\xfe", b"nan", b"-nan", b"inf", b"-inf", b"1e999", b"1e300", b"-1e300",
    b"9" * 400, b"4000000000.0x", b"1,5", b"[]", PICKLES[0],
)  # fmt: skip
NO_JSON = (
    b"", b"x", b"\xff", b"{", b"NaN", b"[" * 100_000, b"9" * 5000, b"null", b"1", b'"text"',
    b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":"\xff"}', b'{"a":"\\ud800"}', b"\xef\xbb\xbf{}",
    PICKLES[-1],
)  # fmt: skip


def fixed_of(raw: redis.Redis, letter: str) -> list[Any]:
    return list(json.loads(raw.hget(key_of(raw, letter), "j")))


def bad_fixed(good: list[Any], texts: set[int], flags: Collection[int] = ()) -> Iterator[bytes]:
    """What the field ``j`` must not be: each part of it missing, or of another kind."""
    yield from (value for value in NO_JSON)
    yield from (json.dumps([version, *good[1:]]).encode() for version in (0, 2, "1", None, []))
    for place in range(1, len(good)):
        yield json.dumps(good[:place] + good[place + 1 :]).encode()
        for value in (
            math.nan,
            math.inf,
            1e300,
            10**400,
            [],
            {},
            *([] if place in flags else [True]),
            *([] if place in texts else ["5"]),
        ):
            if not (place in texts and value is None):
                yield json.dumps([*good[:place], value, *good[place + 1 :]]).encode()
    yield json.dumps([*good, 1]).encode()


FAMILY_VERBS: dict[str, Callable[[RedisStore], Any]] = {
    "read": lambda store: store.read_family(at("f"), NOW + 1),
    "turn": lambda store: turn(store, 3, NOW + 1)[1],
    "turn the one before": lambda store: turn(store, 2, NOW + 5)[1],
    # Whether it was alive, nobody can say of it any more.
    "end": lambda store: [store.end_family(at("f"), NOW + 1, NOW + 100)].clear(),
}


def family_damages(raw: redis.Redis) -> Iterator[tuple[str, dict[bytes, bytes]]]:
    """A name, and the fields of a family with that damage."""
    good = raw.hgetall(key_of(raw, "f"))
    for field in good:
        yield f"no {field!r}", {name: value for name, value in good.items() if name != field}
    for field in (b"g", b"t", b"i", b"e", b"b", b"u", b"r"):
        for value in NO_NUMBERS:
            yield f"{field!r} is {value[:20]!r}", {**good, field: value}
    for value in NO_JSON:
        yield f"claims are {value[:20]!r}", {**good, b"c": value}
    for value in bad_fixed(fixed_of(raw, "f"), texts={1, 5, 6}):
        yield f"j is {value[:60]!r}", {**good, b"j": value}
    for value in (b"", b"x", b"\xff", b"jam:c:{cd}:x", good[b"k"][:-1], good[b"k"] + b"x"):
        yield f"k is {value[:60]!r}", {**good, b"k": value}
    yield "oversized claims", {**good, b"c": b'{"a":"%b"}' % (b"x" * 18_000_000)}
    yield "an oversized field", {**good, b"j": b"[" + b" " * 18_000_000 + good[b"j"][1:]}


@each_case("verb", FAMILY_VERBS)
def test_a_damaged_family_is_none_and_removed(
    raw: redis.Redis, store: RedisStore, verb: str
) -> None:
    store.start_family(at("f"), a_family(NOW, generation=3))
    key, wrong = key_of(raw, "f"), []
    for name, fields in list(family_damages(raw)):
        raw.flushall()
        raw.hset(key, mapping=fields)
        try:
            found = FAMILY_VERBS[verb](store)
        except BaseException as error:
            found = error
        if found is not None or raw.exists(key):
            wrong.append((name, found, raw.exists(key)))
    assert wrong == []


@each_case("verb", FAMILY_VERBS)
@each_case("kind", FOREIGN)
def test_a_family_of_a_foreign_type_is_none_and_removed(
    raw: redis.Redis, store: RedisStore, kind: str, verb: str
) -> None:
    store.start_family(at("f"), a_family(NOW, generation=3))
    key = key_of(raw, "f")
    raw.delete(key)
    FOREIGN[kind](raw, key)
    assert FAMILY_VERBS[verb](store) is None
    assert not raw.exists(key)


def test_a_damaged_family_is_no_alarm_and_turns_into_nothing(
    raw: redis.Redis, store: RedisStore
) -> None:
    for value in (b"x", b"nan", b"\xff"):
        store.start_family(at("f"), a_family(NOW, generation=3))
        raw.hset(key_of(raw, "f"), "g", value)
        for generation in (1, 2, 3, 4):
            assert turn(store, generation, NOW + 1) == (Rotation.GONE, None)
    assert store.marks(SLOT, None, at("f"), None, NOW + 1) == Marks()


def test_a_cut_off_counts_also_where_the_family_no_longer_says_where_it_is(
    raw: redis.Redis, store: RedisStore
) -> None:
    # Else damage to one field would bring back what was revoked.
    for value in (b"", b"x", b"jam:c:{cd}:other"):
        store.start_family(at("f"), a_family(NOW))
        store.cut(SLOT, "ann", NOW + 1, NOW + 1000)
        raw.hset(key_of(raw, "f"), "k", value)
        assert store.read_family(at("f"), NOW + 2) is None
        assert turn(store, 1, NOW + 2)[1] is None


def test_ending_a_damaged_family_marks_it_all_the_same(raw: redis.Redis, store: RedisStore) -> None:
    store.start_family(at("f"), a_family(NOW))
    raw.hset(key_of(raw, "f"), "g", "x")
    assert store.end_family(at("f"), NOW + 1, NOW + 100) is None
    assert store.marks(SLOT, None, at("f"), None, NOW + 99).revoked


@each_case("claims", [b"{}", b'{"auth_time":"x"}', b'{"auth_time":null}', b"[]"])
@each_case("reloads", [True, False])
def test_a_family_whose_claims_have_lost_something_is_no_500(
    raw: redis.Redis, store: RedisStore, make_jam: MakeJam, claims: bytes, reloads: bool
) -> None:
    jam = make_jam(store=store)
    app = build_app(jam, reload_claims=(lambda subject, old: old) if reloads else None)
    pair = jam.issue_tokens("alice")
    raw.hset(key_of(raw, "f"), "c", claims)
    said = {"refresh_token": pair["refresh_token"]}
    response = app.test_client().post("/refresh", json=said)
    assert response.status_code in (200, 401)
    if response.status_code == 200:
        assert jam.verify_jwt_token(response.json["access_token"])["sub"] == "alice"


# --- damaged sessions: there are none -----------------------------------------------------------

SESSION_VERBS: dict[str, Callable[[RedisStore], Any]] = {
    "read": lambda store: store.read_session(at("s"), NOW + 1),
    "read and slide": lambda store: store.read_session(at("s"), NOW + 50),
    "update": lambda store: store.update_session(at("s"), {"x": 1}, NOW + 1, 10**6) or None,
    "rework": lambda store: (
        store.rework_session(at("s"), at("s2"), "seed", NOW + 1)
        and store.read_session(at("s2"), NOW + 1)
    ) or None,
    "delete": lambda store: store.delete_session(at("s"), NOW + 1),
    # A list reads no data: what is damaged there, the next reader finds.
    "list": lambda store: (
        listed(store, NOW + 1) and store.read_session(at("s"), NOW + 1)
    ) or None,
}  # fmt: skip


def session_damages(raw: redis.Redis) -> Iterator[tuple[str, dict[bytes, bytes]]]:
    good = raw.hgetall(key_of(raw, "s"))
    for field in (b"j", b"o", b"s", b"i", b"e", b"b", b"u", b"k"):
        yield f"no {field!r}", {name: value for name, value in good.items() if name != field}
    for field in (b"s", b"i", b"e", b"b", b"u", b"k"):
        for value in NO_NUMBERS:
            yield f"{field!r} is {value[:20]!r}", {**good, field: value}
    for value in (b"", b"x", b"\xff", b"NaN", b"[" * 100_000, b'0,"n":1', PICKLES[-1]):
        yield f"data is {value[:20]!r}", {**good, b'd"n"': value}
    for name in (b"d", b"dn", b'd"n', b'd"\xff"', b'd"x":1,"n"', b"d1"):
        yield f"a field is {name!r}", {**good, name: b"1"}
    for value in bad_fixed(fixed_of(raw, "s"), texts={1, 6, 7}, flags={9}):
        yield f"j is {value[:60]!r}", {**good, b"j": value}
    for value in (b"", b"x", b"\xff", b"jam:o:{cd}:x", good[b"o"][:-1], good[b"o"] + b"x"):
        yield f"o is {value[:60]!r}", {**good, b"o": value}
    yield "oversized", {**good, b'd"n"': b'"%b"' % (b"x" * 18_000_000)}


@each_case("verb", SESSION_VERBS)
def test_a_damaged_session_is_unknown_and_removed(
    raw: redis.Redis, store: RedisStore, verb: str
) -> None:
    store.create_session(at("s"), a_session(NOW))
    key, owner, wrong = key_of(raw, "s"), key_of(raw, "o"), []
    for name, fields in list(session_damages(raw)):
        raw.flushall()
        raw.hset(key, mapping=fields)
        raw.zadd(owner, {"abs": NOW + 100})
        try:
            found = SESSION_VERBS[verb](store)
        except BaseException as error:
            found = error
        with suppress(Exception):
            # An update need not look at all of it: then the next reader does.
            if found is True:
                found = store.read_session(at("s"), NOW + 1)
        left = set(raw.keys("*")) - {owner}
        if found is not None or left:
            wrong.append((name, found, left))
    assert wrong == []


@each_case("verb", SESSION_VERBS)
@each_case("kind", FOREIGN)
def test_a_session_of_a_foreign_type_is_unknown_and_removed(
    raw: redis.Redis, store: RedisStore, kind: str, verb: str
) -> None:
    store.create_session(at("s"), a_session(NOW))
    key = key_of(raw, "s")
    raw.delete(key)
    FOREIGN[kind](raw, key)
    assert SESSION_VERBS[verb](store) is None
    assert not raw.exists(key)


def test_clearing_takes_the_damaged_along_and_counts_the_living(
    raw: redis.Redis, store: RedisStore
) -> None:
    for name in ("a", "b", "c", "d"):
        store.create_session(at(name), a_session(NOW))
    raw.hset("jam:s:{ab}:aba", "s", "x")
    raw.delete("jam:s:{ab}:abb")
    raw.set("jam:s:{ab}:abb", "foreign")
    assert cleared(store, NOW + 1) == 2
    assert raw.keys("jam:[so]:*") == []


def test_damaged_values_are_told_once_and_without_what_they_hold(
    raw: redis.Redis, store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(5):
        store.create_session(at("s"), a_session(NOW))
        raw.hset(key_of(raw, "s"), "s" if number % 2 else "j", "secret-looking garbage")
        assert store.read_session(at("s"), NOW + 1) is None
        raw.flushall()
    (line,) = errors_in(caplog)
    assert "removed" in line
    assert "garbage" not in line


# --- a damaged index ----------------------------------------------------------------------------


@each_case("kind", [kind for kind in FOREIGN if kind != "zset"])
def test_an_index_of_a_foreign_type_is_made_anew(
    raw: redis.Redis, either: RedisStore, kind: str
) -> None:
    def damage() -> None:
        raw.delete(owner)
        FOREIGN[kind](raw, owner)

    either.create_session(at("s"), a_session(NOW))
    owner = key_of(raw, "o")
    steps: list[Callable[[], Any]] = [
        lambda: either.read_session(at("s"), NOW + 20) is not None,
        lambda: either.update_session(at("s"), {"n": 1}, NOW + 20, 1000),
        lambda: either.rework_session(at("s"), at("s2"), "seed", NOW + 40),
        lambda: either.create_session(at("s3"), a_session(NOW + 40)),
        lambda: listed(either, NOW + 40) == [],
        lambda: either.delete_session(at("s2"), NOW + 40) == "ann",
        lambda: cleared(either, NOW + 40) == 0,
    ]
    for step in steps:
        damage()
        assert step()
        if raw.type(owner) == b"zset":
            assert raw.pttl(owner) > 0, "an index that is made anew ends, too"
    assert not raw.exists(owner)


MEMBERS = (b"", b"x", b"\xff\xfe", b"jam:s:{ab}:abs", b"jam:t:{ab}:t", b"other:key", b"%s", b"%1",
           b"jam:s:{cd}:cdx", b"{elsewhere}", b":t:{ab}:t", b"x:t:{ab}:t")  # fmt: skip


@each_case("verb", ["list", "clear"])
def test_what_does_not_belong_in_an_index_is_left_alone_and_dropped(
    raw: redis.Redis, either: RedisStore, verb: str
) -> None:
    either.create_session(at("s"), a_session(NOW))
    either.mark(SLOT, Kind.TOKEN, "t", NOW, NOW + 100)
    raw.set("other:key", "of somebody else")
    raw.zadd(key_of(raw, "o"), dict.fromkeys(MEMBERS, NOW + 100))
    if verb == "list":
        assert listed(either, NOW + 1) == [at("s")]
        assert raw.zrange(key_of(raw, "o"), 0, -1) == [b"abs"]
    else:
        assert cleared(either, NOW + 1) == 1
    assert raw.get("other:key") == b"of somebody else"
    assert either.marks(SLOT, "t", None, None, NOW + 1).revoked


@each_case("verb", ["list", "clear"])
def test_on_a_cluster_an_index_with_keys_of_elsewhere_still_works(
    three_nodes: RedisCluster, verb: str
) -> None:
    three_nodes.flush()
    store, raw = store_of(three_nodes.url), three_nodes.client()
    store.create_session(at("s"), a_session(NOW))
    owner = next(key for node in three_nodes.nodes for key in node.client().keys("jam:o:*"))
    raw.zadd(owner, {"{elsewhere}": NOW + 100, "x": NOW, b"\xff": NOW})
    if verb == "list":
        assert listed(store, NOW + 1) == [at("s")]
    else:
        assert cleared(store, NOW + 1) == 1
    store.close()


def test_a_session_that_names_an_index_of_elsewhere_writes_nothing_there(
    raw: redis.Redis, store: RedisStore
) -> None:
    for elsewhere in ("jam:t:{ab}:t", "other:key", "x"):
        raw.flushall()
        store.mark(SLOT, Kind.TOKEN, "t", NOW, NOW + 100)
        store.create_session(at("s"), a_session(NOW))
        before = set(raw.keys("*"))
        raw.hset("jam:s:{ab}:abs", "o", elsewhere)
        assert store.read_session(at("s"), NOW + 50) is None
        assert store.marks(SLOT, "t", None, None, NOW + 1).revoked
        assert set(raw.keys("*")) <= before


# --- lost replies -------------------------------------------------------------------------------

Steps = tuple[Callable[[RedisStore], Any], Callable[[RedisStore], Any]]


def a_turned_family(store: RedisStore) -> None:
    store.start_family(at("f"), a_family(NOW))
    for generation in (1, 2):
        store.rotate_family(at("f"), generation, now=NOW, grace=10.0, idle=100.0, claims=None,
                          mark_until=NOW + 500)  # fmt: skip


def a_few_sessions(store: RedisStore) -> None:
    store.create_session(at("s"), a_session(NOW, data=ANY_JSON))
    store.create_session(at("other"), a_session(NOW))


def a_few_tickets(store: RedisStore) -> None:
    store.issue_ticket(at("v"), a_ticket(NOW), replace=True)
    store.issue_ticket(at("v2"), a_ticket(NOW), replace=False)


def a_few_keys(store: RedisStore) -> None:
    store.create_api_key(a_key(NOW, data=ANY_JSON))
    store.create_api_key(a_key(NOW, "other", expires_at=math.inf))
    read_key(store, NOW)


def read_key(store: RedisStore, now: float) -> ApiKey | None:
    return store.read_api_key(at("k"), "digest-of-k", now)


def rotate_key(store: RedisStore, overlap: float) -> KeyRotation:
    new = NewKey(at("new"), "digest-of-new")
    return store.rotate_api_key(at("k"), "ann", new, NOW + 1, overlap)


#: What is there, and the step whose reply is lost.
LOSSES: dict[str, Steps] = {
    "mark": (a_few_sessions, lambda s: s.mark(SLOT, Kind.TOKEN, "t", NOW, NOW + 100)),
    "cut": (
        lambda s: s.cut(SLOT, "ann", NOW - 5, NOW + 200),
        lambda s: s.cut(SLOT, "ann", NOW, NOW + 100),
    ),
    "standing": (
        lambda s: s.cut(SLOT, "ann", NOW, NOW + 100),
        lambda s: s.standing(SLOT, "ann", NOW + 1),
    ),
    "allow": (a_few_sessions, lambda s: s.allow(SLOT, "t", NOW, NOW + 100)),
    "marks": (
        lambda s: s.mark(SLOT, Kind.TOKEN, "t", NOW, NOW + 100),
        lambda s: s.marks(SLOT, "t", "f", "ann", NOW + 1),
    ),
    "start_family": (a_few_sessions, lambda s: s.start_family(at("f"), a_family(NOW))),
    "read_family": (a_turned_family, lambda s: s.read_family(at("f"), NOW)),
    "rotate_family": (a_turned_family, lambda s: turn(s, 3, NOW + 1, claims={"n": 1})),
    "rotate_family in the grace": (a_turned_family, lambda s: turn(s, 2, NOW + 1)),
    "rotate_family by reuse": (a_turned_family, lambda s: turn(s, 1, NOW + 1)),
    "rotate_family that never was": (a_turned_family, lambda s: turn(s, 9, NOW + 1)),
    "end_family": (a_turned_family, lambda s: s.end_family(at("f"), NOW + 1, NOW + 100)),
    "create_session": (a_few_sessions, lambda s: s.create_session(at("k"), a_session(NOW + 1))),
    "read_session": (a_few_sessions, lambda s: s.read_session(at("s"), NOW + 1)),
    "read_session with a slide": (a_few_sessions, lambda s: s.read_session(at("s"), NOW + 50)),
    "read_session at its end": (a_few_sessions, lambda s: s.read_session(at("s"), NOW + 100)),
    "update_session": (
        a_few_sessions, lambda s: s.update_session(at("s"), {"n": [1], "m": 2}, NOW + 1, 9999),
    ),
    "rework_session": (
        a_few_sessions, lambda s: s.rework_session(at("s"), at("s2"), "seed", NOW + 1),
    ),
    "delete_session": (a_few_sessions, lambda s: s.delete_session(at("s"), NOW + 1)),
    "clear_sessions": (a_few_sessions, lambda s: cleared(s, NOW + 1)),
    "list_sessions": (a_few_sessions, lambda s: listed(s, NOW + 1)),
    "issue_ticket": (
        a_few_tickets, lambda s: s.issue_ticket(at("w"), a_ticket(NOW + 1), replace=True),
    ),
    "issue_ticket beside others": (
        a_few_tickets, lambda s: s.issue_ticket(at("w"), a_ticket(NOW + 1), replace=False),
    ),
    "peek_ticket": (a_few_tickets, lambda s: s.peek_ticket(at("v"), "reset", "digest", NOW + 1)),
    "redeem_ticket": (
        a_few_tickets, lambda s: s.redeem_ticket(at("v"), "reset", "digest", NOW + 1),
    ),
    "redeem_ticket for another purpose": (
        a_few_tickets, lambda s: s.redeem_ticket(at("v"), "other", "digest", NOW + 1),
    ),
    "create_api_key": (a_few_keys, lambda s: s.create_api_key(a_key(NOW + 1, "new"))),
    "read_api_key": (a_few_keys, lambda s: read_key(s, NOW + 1)),
    "read_api_key that is used": (a_few_keys, lambda s: read_key(s, NOW + 61)),
    "rotate_api_key": (a_few_keys, lambda s: rotate_key(s, 0.0)),
    "rotate_api_key with an overlap": (a_few_keys, lambda s: rotate_key(s, 10.0)),
    "end_api_key": (a_few_keys, lambda s: s.end_api_key(at("k"), "ann", NOW + 1, "attempt")),
    "list_api_keys": (a_few_keys, lambda s: listed_keys(s, NOW + 1)),
}  # fmt: skip
#: What the second of two equal steps can no longer tell: that there was something to end.
ENDED_ALREADY = {
    "end_family": None, "delete_session": None, "clear_sessions": 0,
    "read_session at its end": None,
}  # fmt: skip


def state_of(raw: redis.Redis) -> dict[bytes, Any]:
    """All that Redis holds; TTLs to the second, and without the names of attempts.

    Cut-offs to the millisecond: one that is set again grows by less. The moment of a rotation by
    the server's clock, and what is left of ten seconds, differ from run to run.
    """
    found: dict[bytes, Any] = {}
    for key in raw.keys("*"):
        kind = raw.type(key)
        value: Any = {b"hash": raw.hgetall, b"string": raw.get}.get(kind, lambda k: None)(key)
        if kind == b"zset":
            value = raw.zrange(key, 0, -1, withscores=True)
        elif kind == b"hash":
            varies = {b"f": (b"n", b"dead", b"r"), b"v": (b"w",)}.get(key[4:5], ())
            value = {n: v if n not in varies else b"-" for n, v in value.items()}
        elif key[4:5] in b"ck":
            version, cut, end = json.loads(value)
            value = version, round(cut, 3), end
        kept = raw.pttl(key)
        found[key] = (kind, value, kept > 0 if key[4:5] == b"r" else round(kept / 1000))
    return found


@pytest.fixture(scope="module")
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    with Proxy(redis_server.port) as proxy:
        yield proxy


def done_once(raw: redis.Redis, store: RedisStore, name: str) -> tuple[dict[bytes, Any], Any]:
    """The state and the answer where nothing is lost; the setup is there again afterwards."""
    setup, step = LOSSES[name]
    setup(store)
    answer = step(store)
    state = state_of(raw)
    raw.flushall()
    setup(store)
    return state, answer


#: A lost one may still be on its way, and be carried out after what came next.
ASKED_ONCE = ("cut", "start_family", "rotate_family", "create_session", "update_session",
              "clear_sessions")  # fmt: skip


@each_case("name", LOSSES)
def test_step_with_lost_reply_is_repeated_where_safe(
    raw: redis.Redis, store: RedisStore, connect: Callable[..., RedisStore], proxy: Proxy, name: str
) -> None:
    expected, answer = done_once(raw, store, name)
    far = connect(url=f"redis://{HOST}:{proxy.port}/0")
    before = proxy.swallowed
    proxy.swallow_replies()

    if name.startswith(ASKED_ONCE):
        with pytest.raises(StoreUnavailable):
            LOSSES[name][1](far)
    else:
        assert LOSSES[name][1](far) == ENDED_ALREADY.get(name, answer)
    assert proxy.swallowed == before + 1
    assert state_of(raw) == expected


@each_case("name", LOSSES)
def test_after_lost_replies_the_same_step_leaves_what_one_would(
    raw: redis.Redis, store: RedisStore, connect: Callable[..., RedisStore], proxy: Proxy, name: str
) -> None:
    expected, _ = done_once(raw, store, name)
    far = connect(url=f"redis://{HOST}:{proxy.port}/0")
    before, lost = proxy.swallowed, 1 if name.startswith(ASKED_ONCE) else 2
    proxy.swallow_replies(count=lost)

    with pytest.raises(StoreUnavailable):
        LOSSES[name][1](far)
    assert proxy.swallowed == before + lost
    assert state_of(raw) == expected

    LOSSES[name][1](far)
    assert state_of(raw) == expected


def test_a_new_id_whose_reply_was_lost_is_asked_for_again(
    raw: redis.Redis, store: RedisStore, connect: Callable[..., RedisStore], proxy: Proxy
) -> None:
    store.create_session(at("k"), a_session(NOW))
    far = connect(url=f"redis://{HOST}:{proxy.port}/0")
    far.read_session(at("k"), NOW)
    proxy.swallow_replies(b"EVALSHA")
    assert far.rework_session(at("k"), at("k2"), "seed", NOW)
    assert store.read_session(at("k2"), NOW) is not None


@pytest.fixture
def stubborn(server: RedisServer, proxy: Proxy) -> Iterator[RedisStore]:
    """A store on a client of the user's own, which asks again when it hears nothing."""
    client = redis.Redis(
        host=HOST, port=proxy.port, socket_timeout=5.0, retry=Retry(NoBackoff(), 3),
        retry_on_error=[redis.ConnectionError, redis.TimeoutError],
    )  # fmt: skip
    yield RedisStore(client)
    client.close()


@each_case("name", LOSSES)
def test_step_repeated_by_a_retrying_client_counts_once(
    raw: redis.Redis, store: RedisStore, stubborn: RedisStore, proxy: Proxy, name: str
) -> None:
    expected, answer = done_once(raw, store, name)
    before = proxy.swallowed
    proxy.swallow_replies(b"EVALSHA")

    assert LOSSES[name][1](stubborn) == ENDED_ALREADY.get(name, answer)

    assert proxy.swallowed == before + 1
    assert state_of(raw) == expected


@each_case("lost", [1, 2, 3])
def test_a_turn_whose_reply_was_lost_is_no_reuse_also_without_a_grace(
    raw: redis.Redis, store: RedisStore, stubborn: RedisStore, proxy: Proxy, lost: int
) -> None:
    store.start_family(at("f"), a_family(NOW))
    turn(store, 1, NOW, grace=0.0)
    proxy.swallow_replies(b"EVALSHA", count=lost)

    outcome, family = turn(stubborn, 2, NOW + 1, grace=0.0)

    assert (outcome, family and family.generation) == (Rotation.NEW, 3)
    assert turn(store, 3, NOW + 2, grace=0.0)[0] is Rotation.NEW
    assert raw.keys("jam:x:*") == []
    # Another attempt with the same token is what it looks like.
    assert turn(stubborn, 3, NOW + 2, grace=0.0)[0] is Rotation.REUSED


def test_a_reuse_whose_reply_was_lost_is_told_once(
    store: RedisStore, stubborn: RedisStore, proxy: Proxy
) -> None:
    a_turned_family(store)
    proxy.swallow_replies(b"EVALSHA", count=2)
    outcome, family = turn(stubborn, 1, NOW + 1)
    assert (outcome, family and family.subject) == (Rotation.REUSED, "ann")
    for generation in (1, 2, 3):
        assert turn(stubborn, generation, NOW + 1) == (Rotation.REVOKED, None)


def test_refresh_with_lost_reply_gets_the_same_successor(
    server: RedisServer, connect: Callable[..., RedisStore], proxy: Proxy, make_jam: MakeJam
) -> None:
    near, far = make_jam(store=connect()), make_jam(
        store=connect(url=f"redis://{HOST}:{proxy.port}/0")
    )  # fmt: skip
    told: list[str] = []
    far.subscribe(lambda event, what: told.append(event))
    pair = near.refresh_tokens(near.issue_tokens("alice")["refresh_token"])
    proxy.swallow_replies(b"EVALSHA")

    with pytest.raises(StoreUnavailable):
        far.refresh_tokens(pair["refresh_token"])
    again = far.refresh_tokens(pair["refresh_token"])

    assert again["refresh_token"] == near.refresh_tokens(pair["refresh_token"])["refresh_token"]
    assert near.refresh_tokens(again["refresh_token"])
    assert told == []


# --- many at once, through many connections -----------------------------------------------------


def test_fifty_parallel_refreshes_on_five_machines_give_one_successor(
    connect: Callable[..., RedisStore], make_jam: MakeJam
) -> None:
    jams = [make_jam(store=connect([RedisStore, NearStore][i % 2])) for i in range(5)]
    told: list[str] = []
    for jam in jams:
        jam.subscribe(lambda event, what: told.append(event))
    token = jams[0].issue_tokens("alice")["refresh_token"]
    for _ in range(4):
        found = at_once(50, lambda i, old=token: jams[i % 5].refresh_tokens(old))
        (successor,) = {pair["refresh_token"] for pair in found}
        assert successor != token
        token = successor
    assert told == []


def test_reuse_on_five_machines_at_once_is_told_once(
    raw: redis.Redis, connect: Callable[..., RedisStore], make_jam: MakeJam
) -> None:
    jams = [make_jam(store=connect()) for _ in range(5)]
    told: list[str] = []
    for jam in jams:
        jam.subscribe(lambda event, what: told.append(event))
    first = jams[0].issue_tokens("alice")
    second = jams[1].refresh_tokens(first["refresh_token"])
    pass_time(raw, 11)

    def reason(number: int) -> Reason:
        with pytest.raises(TokenError) as caught:
            jams[number % 5].refresh_tokens(first["refresh_token"])
        return caught.value.reason

    assert sorted(at_once(20, reason)) == [Reason.REUSED] + [Reason.REVOKED] * 19
    assert told == ["revoked", "reuse_detected"]
    for jam in jams:
        with pytest.raises(TokenError):
            jam.verify_jwt_token(second["access_token"])


def _update_from_elsewhere(url: str, number: int) -> None:
    """In a process of its own."""
    store = store_of(url)
    at_once(4, lambda i: [store.update_session(at("s"), {f"{number}.{i}.{step}": step}, NOW, 10**6)
                          for step in range(15)])  # fmt: skip
    store.close()


def test_updates_from_several_processes_lose_nothing(
    server: RedisServer, store: RedisStore
) -> None:
    store.create_session(at("s"), a_session(NOW, data={"mine": 1}))
    spawn = multiprocessing.get_context("spawn")
    others = [spawn.Process(target=_update_from_elsewhere, args=(server.url, n)) for n in (1, 2)]
    for other in others:
        other.start()
    _update_from_elsewhere(server.url, 0)
    for other in others:
        other.join(30)
        assert other.exitcode == 0
        other.close()
    session = store.read_session(at("s"), NOW)
    expected = {f"{n}.{i}.{step}": step for n in range(3) for i in range(4) for step in range(15)}
    assert session is not None
    assert session.data == {"mine": 1, **expected}


@pytest.mark.parametrize("kind", [RedisStore, NearStore])
def test_sixteen_threads_on_four_connections_rework_a_session_into_one(
    raw: redis.Redis, connect: Callable[..., RedisStore], make_jam: MakeJam, kind: type[RedisStore]
) -> None:
    jams = [make_jam(store=connect(kind)) for _ in range(4)]
    for _ in range(5):
        session_id = jams[0].create_session("ann", {"n": 1})

        def rework(number: int, old: str = session_id) -> str:
            return jams[number % 4].rework_session(old)

        (alive,) = set(at_once(16, rework))
        assert [jam.get_session(alive) for jam in jams] == [{"n": 1}] * 4
        assert len(raw.keys("jam:s:*")) == 1
        assert jams[0].clear_sessions("ann") == 1


# --- nothing revives ----------------------------------------------------------------------------

ENDS: dict[str, Callable[[RedisStore], Any]] = {
    "logout": lambda s: s.delete_session(at("k"), NOW + 1),
    "rework": lambda s: (
        s.rework_session(at("k"), at("k2"), "seed", NOW + 1),
        s.read_session(at("k2"), NOW + 1),
    ),
    "clear": lambda s: cleared(s, NOW + 1),
    "revoke": lambda s: (
        s.cut(SLOT, "ann", NOW + 1, NOW + 500),
        cleared(s, NOW + 1),
    ),
    "idle": lambda s: s.read_session(at("k"), NOW + 100),
}
LATE: dict[str, Callable[[RedisStore], Any]] = {
    "read": lambda s: s.read_session(at("k"), NOW + 50),
    "update": lambda s: s.update_session(at("k"), {"late": 1}, NOW + 50, 1000),
    "rework": lambda s: s.rework_session(at("k"), at("k3"), "seed", NOW + 50),
    "delete": lambda s: s.delete_session(at("k"), NOW + 50),
    "list": lambda s: [key for key in listed(s, NOW + 50) if key != at("k2")],
}


@each_case("late", LATE)
@each_case("end", ENDS)
def test_a_slow_request_that_ends_after_the_end_revives_nothing(
    raw: redis.Redis, either: RedisStore, connect: Callable[..., RedisStore], end: str, late: str
) -> None:
    slow, quick = either, connect()
    slow.create_session(at("k"), a_session(NOW))
    assert slow.read_session(at("k"), NOW) is not None
    # The slow one knows the session, the quick one ends it, both in one process or in two.
    for step in (ENDS[end], LATE[late]):
        step(quick)
    assert not LATE[late](quick)
    if late != "read":
        assert not LATE[late](slow)
    left = {b"jam:s:{ab}:abk2"} if end == "rework" else set()
    assert set(raw.keys("jam:s:*")) == left
    if left:
        assert quick.read_session(at("k2"), NOW + 2) is not None
        assert quick.read_session(at("k2"), NOW + 2).data == {"n": 0}  # type: ignore[union-attr]


def test_a_slow_request_that_ends_after_an_update_takes_nothing_back(
    either: RedisStore, connect: Callable[..., RedisStore]
) -> None:
    slow, quick = either, connect()
    slow.create_session(at("k"), a_session(NOW, data={"mine": 0, "yours": 0}))
    assert slow.read_session(at("k"), NOW) is not None
    assert quick.update_session(at("k"), {"yours": 1}, NOW, 1000)
    assert slow.update_session(at("k"), {"mine": 1}, NOW + 20, 1000)
    assert quick.read_session(at("k"), NOW + 20).data == {"mine": 1, "yours": 1}  # type: ignore[union-attr]


# --- ends, under constant use -------------------------------------------------------------------


def writes_of(raw: redis.Redis) -> int:
    told: dict[str, Any] = raw.info("commandstats")
    writing = ("hset", "pexpire", "zadd", "zrem", "set", "rename")
    return sum(int(said["calls"]) for name, said in told.items() if name[8:] in writing)


@pytest.mark.parametrize("either", [RedisStore, NearStore], indirect=True)
def test_a_session_that_is_polled_lives_to_its_absolute_end_and_not_longer(
    raw: redis.Redis, either: RedisStore, make_jam: MakeJam, clock: Clock
) -> None:
    jam = make_jam(store=either, session={"idle": 600, "absolute": 3600})
    session_id = jam.create_session("ann", {"n": 1})
    start = clock()
    for second in range(20, 3600, 20):
        clock.now = start + second
        assert jam.get_session(session_id) == {"n": 1}, second
        # What lives on in Redis is never longer than what counts, and a minute.
        key = key_of(raw, "s")
        left = start + 3600 - float(raw.hget(key, "s"))
        assert raw.pttl(key) <= (min(600, left) + 60) * 1000
    clock.now = start + 3600
    assert jam.get_session(session_id) is None
    assert raw.keys("jam:s:*") == []


@pytest.mark.parametrize("either", [RedisStore, NearStore], indirect=True)
def test_unused_session_expires_though_others_are_polled(
    either: RedisStore, make_jam: MakeJam, clock: Clock
) -> None:
    jam = make_jam(store=either, session={"idle": 600, "absolute": 3600})
    idle, busy = (jam.create_session("ann", {"n": n}) for n in (1, 2))
    for _ in range(60):
        clock.tick(10)
        assert jam.get_session(busy) == {"n": 2}
    assert jam.get_session(idle) is None
    assert [info.last_seen_at for info in jam.list_sessions("ann")] == [clock()]


@pytest.mark.parametrize("either", [RedisStore, NearStore], indirect=True)
def test_a_busy_session_is_written_once_a_minute(
    raw: redis.Redis, either: RedisStore, make_jam: MakeJam, clock: Clock
) -> None:
    jam = make_jam(store=either)
    session_id = jam.create_session("ann", {})
    jam.get_session(session_id)
    raw.config_resetstat()
    for _ in range(600):
        clock.tick(0.5)
        assert jam.get_session(session_id) == {}
    # In five minutes: last seen, its expiry, and its place in two indexes, five times.
    assert writes_of(raw) == 5 * 4


def test_a_session_with_a_short_idle_time_is_written_each_tenth_of_it(
    raw: redis.Redis, store: RedisStore, make_jam: MakeJam, clock: Clock
) -> None:
    jam = make_jam(store=store, session={"idle": 100, "absolute": 10_000})
    session_id = jam.create_session("ann", {})
    raw.config_resetstat()
    for _ in range(100):
        clock.tick(1)
        assert jam.get_session(session_id) == {}
    assert writes_of(raw) == 10 * 4


def test_a_session_that_is_gone_is_not_written_by_being_read(
    raw: redis.Redis, store: RedisStore
) -> None:
    raw.config_resetstat()
    for _ in range(3):
        assert store.read_session(at("k"), NOW) is None
    assert writes_of(raw) == 0
    assert raw.keys("*") == []


# --- logins in flight ---------------------------------------------------------------------------


@each_case("end", ["clear_sessions", "revoke_subject"])
def test_ending_logins_in_flight_ends_earlier_ones_only(
    server: RedisServer, connect: Callable[..., RedisStore], end: str
) -> None:
    config = {"jwt": {"secret_key": SECRET}}
    jams = [Jam(config, store=connect()) for _ in range(4)]
    for round_ in range(15):
        owner = f"ann {round_}"
        before = [jam.create_session(owner, {}) for jam in jams]

        def job(number: int, owner: str = owner) -> str | None:
            if number == 0:
                getattr(jams[0], end)(owner)
                return None
            with suppress(SessionError):
                return jams[number % 4].create_session(owner, {})
            return None

        during = [session_id for session_id in at_once(5, job) if session_id]
        after = [jam.create_session(owner, {}) for jam in jams]
        assert [jams[0].get_session(session_id) for session_id in before] == [None] * 4
        assert [jams[0].get_session(session_id) for session_id in after] == [{}] * 4
        alive = [session_id for session_id in during if jams[1].get_session(session_id) == {}]
        # Nobody lives on unseen: the next end finds them all.
        assert len(jams[2].list_sessions(owner)) == len(alive) + 4
        assert jams[3].clear_sessions(owner) == len(alive) + 4


@each_case("end", ["clear_sessions", "revoke_subject"])
@each_case("seconds", [0.001, 0.0, -4.0])
def test_login_that_began_before_the_end_of_all_is_refused(
    connect: Callable[..., RedisStore], make_jam: MakeJam, clock: Clock, end: str, seconds: float
) -> None:
    jam, other = (make_jam(store=connect()) for _ in range(2))
    store = jam.store
    create = store.create_session

    def late(*args: Any) -> bool:
        clock.tick(seconds)
        getattr(other, end)("ann")
        return create(*args)

    store.create_session = late  # type: ignore[method-assign]
    with pytest.raises(SessionError) as caught:
        jam.create_session("ann", {})
    assert caught.value.reason is Reason.REVOKED
    assert jam.list_sessions("ann") == []
    store.create_session = create  # type: ignore[method-assign]
    assert jam.get_session(jam.create_session("ann", {})) == {}


# --- the index ----------------------------------------------------------------------------------


def test_listing_prunes_what_has_ended(raw: redis.Redis, store: RedisStore) -> None:
    for number in range(10):
        store.create_session(at(f"s{number}"), a_session(NOW, idle=10.0 + number))
    store.create_session(at("alive"), a_session(NOW))
    raw.delete("jam:s:{ab}:abs0")
    assert listed(store, NOW + 50) == [at("alive")]
    assert raw.zrange(key_of(raw, "o"), 0, -1) == [b"abalive"]
    assert raw.keys("jam:s:*") == [b"jam:s:{ab}:abalive"]


def test_a_login_prunes_the_index_of_what_has_ended(raw: redis.Redis, store: RedisStore) -> None:
    for number in range(20):
        store.create_session(at(f"s{number}"), a_session(NOW + 200 * number, ends_at=NOW + 10**6))
        assert raw.zcard(key_of(raw, "o")) == 1


def test_the_index_lives_as_long_as_its_last_session_can(
    raw: redis.Redis, store: RedisStore
) -> None:
    store.create_session(at("long"), a_session(NOW, ends_at=NOW + 5000))
    store.create_session(at("short"), a_session(NOW, ends_at=NOW + 50))
    assert 5_059_000 < raw.pttl(key_of(raw, "o")) <= 5_060_000


def test_an_index_is_gone_with_its_last_session(raw: redis.Redis, store: RedisStore) -> None:
    for key in ("a", "b"):
        store.create_session(at(key), a_session(NOW))
    store.delete_session(at("a"), NOW)
    assert raw.zcard(key_of(raw, "o")) == 1
    store.delete_session(at("b"), NOW)
    assert raw.keys("*") == []


# --- what stands in Redis -----------------------------------------------------------------------

ROW = re.compile(r"^``(\w):\{(?:slot|AA)\}:(\w+)``\s+(\w+)\s+(.*?)\s{2,}(\S.*)$", re.MULTILINE)
TABLE = {found[1]: found for found in ROW.finditer(redis_module.__doc__ or "")}
#: How long the table's words mean, in seconds, for what the test below makes.
KEPT = {
    "as the token": 900.0,
    "as its last token": 86_400.0,
    # Clocks may differ, so a cut-off is kept twice their skew longer.
    "400 days or more": 400 * 86_400.0 + 2 * CLOCK_SKEW,
    "as its last session": 30 * 86_400.0,
    "as its last family": 90 * 86_400.0,
    "10 s": REWORK_GRACE,
    "its end": 3600.0,
    "as its last ticket": 3600.0,
    "a day after its end": 500.0 + KEEP_ENDED,
    "as its last key": 500.0 + KEEP_ENDED,
}


def test_the_table_of_the_docstring_has_every_kind_of_key() -> None:
    assert sorted(TABLE) == sorted("txcafsokrielmvwqyz")


def whole_life(jam: Jam, clock: Clock) -> dict[str, list[str]]:
    """Logins, refreshes, reuse, revocations; every credential that was handed out."""
    made: dict[str, list[str]] = {
        "access": [], "refresh": [], "session": [], "ticket": [], "api_key": [],
    }  # fmt: skip

    def pair(found: dict[str, Any]) -> str:
        made["access"].append(found["access_token"])
        made["refresh"].append(found["refresh_token"])
        return str(found["refresh_token"])

    def session(session_id: str) -> str:
        made["session"].append(session_id)
        return session_id

    for subject in ("alice", "bob"):
        second = pair(jam.refresh_tokens(pair(jam.issue_tokens(subject, scopes={"read"}))))
        pair(jam.refresh_tokens(second, reload_claims=lambda subject, old: {"roles": ["x"]}))
        jam.verify_jwt_token(made["access"][-1])
        jam.revoke_token(made["access"][0])
        noted = {"user_agent": "agent", "ip": "192.0.2.1"}
        first = session(jam.create_session(subject, {"n": 1}, remember=True, **noted))
        jam.update_session(first, {"m": 2})
        again = session(jam.rework_session(first))
        jam.get_session(again)
        jam.delete_session(session(jam.create_session(subject, {})))
        jam.get_session(made["session"][-1])
        for _ in range(2):
            ticket = jam.issue_ticket("reset", subject, expires_in=3600, bound_to="secret hash")
            made["ticket"].append(ticket)
        jam.redeem_ticket("reset", ticket, bound_to="secret hash")
        made["api_key"].append(jam.create_api_key(subject, name="backup", expires_in=500)[0])
        jam.api_keys.lookup(made["api_key"][-1])
    with suppress(TokenError):
        jam.refresh_tokens(made["refresh"][0])  # reuse
    jam.revoke_token(pair(jam.issue_tokens("carol")))
    session(jam.rework_session(session(jam.create_session("erin", {}))))
    session(jam.create_session("dave", {}))
    jam.revoke_subject("dave")
    jam.list_sessions("alice")
    jam.clear_sessions("bob")
    return made


@each_case("prefix", ["jam", "an app"])
def test_keys_types_and_expiries_are_as_the_table_says(
    raw: redis.Redis, server: RedisServer, clock: Clock, make_jam: MakeJam, prefix: str
) -> None:
    store = RedisStore(client_factory(server.url, 5.0), prefix=prefix, timeout=5.0)
    lives = {"idle": 500, "remember_idle": 500, "remember_absolute": 30 * 86_400}
    jam = make_jam(store=store, jwt={"list": "allow"}, session=lives)
    whole_life(jam, clock)
    store.close()
    seen = set()
    for key in raw.keys("*"):
        letter, tag, name = re.fullmatch(rf"{prefix}:(\w):\{{(..)\}}:(.+)", key.decode()).groups()  # type: ignore[union-attr]
        row = TABLE[letter]
        seen.add(letter)
        assert raw.type(key).decode() == row[3], row[0]
        if row[5] == "for ever":
            assert raw.pttl(key) == -1
            continue
        expected = KEPT.get(row[5], min(500.0, 30 * 86_400.0) if letter == "s" else 14 * 86_400.0)
        # The expiry of a token is a whole second.
        slack = 0 if letter == "r" else 60
        assert expected - 2 < raw.pttl(key) / 1000 - slack <= expected, row[0]
        if letter in "sfvq":
            assert name.startswith(tag), "an id begins with its slot"
        check_value(raw, letter, key)
    assert seen == set(TABLE)


def check_value(raw: redis.Redis, letter: str, key: bytes) -> None:
    """JSON with a version, in every kind that has a value."""
    if letter in "txcak":
        version, at_, until = json.loads(raw.get(key))
        assert (version, at_ < until) == (1, True)
    elif letter == "r":
        # Of the new id, what is worth nothing without the old one.
        assert sorted(raw.hgetall(key)) == [b"n", b"v"]
    elif letter == "w":
        assert sorted(raw.hgetall(key)) == [b"c", b"e", b"l", b"r", b"u"]
    elif letter == "v":
        fields = raw.hgetall(key)
        assert json.loads(fields.pop(b"j"))[0] == 1
        assert set(fields) | {b"w"} == set(b"p b e o n d l u x w".split())
    elif letter in "fsq":
        fields = raw.hgetall(key)
        assert json.loads(fields.pop(b"j"))[0] == 1
        own = {
            "f": b"b c u e g t i k n r dead", "s": b"b o s i e u k w r", "q": b"b e u o h l n x",
        }[letter].split()  # fmt: skip
        for name, value in fields.items():
            assert name in own or name[:1] == b"d"
            if name[:1] == b"d" and name not in own:
                json.loads(b"{%b:%b}" % (name[1:], value))
    else:
        kind = dict(zip("oelmyz", b"ssffqq", strict=True))[letter]
        beside = key.rpartition(b":")[0].replace(b":%b:" % letter.encode(), b":%c:" % kind)
        assert all(raw.exists(b"%b:%b" % (beside, name)) for name in raw.zrange(key, 0, -1))


def test_no_key_is_without_an_end(
    raw: redis.Redis, either: RedisStore, make_jam: MakeJam, clock: Clock
) -> None:
    for kind in ("deny", "allow"):
        whole_life(make_jam(store=either, jwt={"list": kind}), clock)
        clock.tick(1)
        assert len(raw.keys("*")) > 7
        assert [key for key in raw.keys("*") if raw.pttl(key) <= 0] in ([], [b"jam:i:{AA}:id"])


def test_all_keys_of_a_subject_are_in_one_slot(
    raw: redis.Redis, store: RedisStore, make_jam: MakeJam, clock: Clock
) -> None:
    jam = make_jam(store=store)
    slots = set()
    for number in range(20):
        raw.flushall()
        subject = f"user {number}"
        pair = jam.issue_tokens(subject)
        session_id = jam.create_session(subject, {})
        jam.revoke_token(jam.issue_tokens(subject)["access_token"])
        jam.revoke_token(jam.issue_tokens(subject)["refresh_token"])
        jam.refresh_tokens(pair["refresh_token"])
        session_id = jam.rework_session(session_id)
        jam.rotate_api_key(subject, jam.create_api_key(subject, name="x")[1].handle)
        keys = raw.keys("*")
        jam.get_session(session_id)
        jam.clear_sessions(subject)
        jam.create_session(subject, {})
        jam.issue_ticket("reset", subject, expires_in=60)
        keys += raw.keys("*")
        jam.revoke_subject(subject)
        keys = [key for key in keys + raw.keys("*") if key != b"jam:i:{AA}:id"]
        assert {chr(key[4]) for key in keys} == set("txfsockrelmvwqyz")
        (slot,) = {key_slot(key) for key in keys}
        assert slot == key_slot(f"jam:s:{{{slot_of(subject)}}}:x".encode())
        slots.add(slot)
    assert len(slots) > 10


# --- what a thief finds -------------------------------------------------------------------------


class Monitor:
    """All that the server is told, while a ``with`` block runs."""

    def __init__(self, server: RedisServer, raw: redis.Redis) -> None:
        self._server, self._raw = server, raw
        self.seen = b""

    def __enter__(self) -> Monitor:
        self._wire = socket.create_connection((HOST, self._server.port), timeout=5)
        self._wire.sendall(b"MONITOR\r\n")
        self._wire.recv(5)
        return self

    def __exit__(self, *exc: object) -> None:
        self._raw.echo("the-last-line")
        while b"the-last-line" not in self.seen:
            self.seen += self._wire.recv(65536)
        self._wire.close()


def saved(server: RedisServer, raw: redis.Redis) -> bytes:
    """The file that SAVE writes, with nothing hidden by compression."""
    raw.config_set("rdbcompression", "no")
    raw.save()
    return (server.folder / "dump.rdb").read_bytes()


@each_case("listed", ["deny", "allow"])
def test_nothing_in_redis_or_on_its_wire_can_be_presented(
    server: RedisServer, raw: redis.Redis, either: RedisStore, make_jam: MakeJam, clock: Clock,
    listed: str,
) -> None:  # fmt: skip
    jam = make_jam(store=either, jwt={"list": listed})
    with Monitor(server, raw) as monitor:
        made = whole_life(jam, clock)
        dumps = [raw.dump(key) for key in raw.keys("*")]
        file = saved(server, raw)
    loot = b"\n".join([monitor.seen, file, *raw.keys("*"), *map(bytes, dumps)])
    assert b"EVALSHA" in monitor.seen
    assert b"REDIS" in file

    secrets = [SECRET, *made["access"], *made["refresh"], *made["session"]]
    secrets += [token.rsplit(".", 1)[1] for token in (*made["access"], *made["refresh"])]
    secrets += [token.split(".")[1] for token in made["access"]]
    secrets += [session_id[2:] for session_id in made["session"]]
    secrets += ["secret hash", *(ticket[2:] for ticket in made["ticket"])]
    secrets += [key for text in made["api_key"] for key in (text, text[-49:-6])]
    assert [secret for secret in secrets if secret.encode() in loot] == []
    assert b"agent" in loot, "what is there is found"
    assert usable(jam, loot) == []


def usable(jam: Jam, loot: bytes) -> list[str]:
    """Whatever in it opens a door: each word, each piece as long as an id, each pair of them."""
    words = {word.decode() for word in re.findall(rb"[A-Za-z0-9_.=+/-]{8,}", loot)}
    pieces = {word[i : i + 45] for word in words for i in range(max(len(word) - 44, 0))}
    opened = [piece for piece in pieces | words if jam.get_session(piece) is not None]
    for word in words | {piece[:69] for piece in words}:
        with suppress(TokenError):
            opened.append(jam.api_keys.lookup(word).handle)
    for word in words | {f"{piece}.1.{other}" for piece in pieces for other in list(words)[:3]}:
        with suppress(TokenError):
            opened.append(str(jam.verify_jwt_token(word)))
        with suppress(TokenError):
            opened.append(str(jam.refresh_tokens(word)))
        with suppress(TokenError):
            opened.append(str(jam.peek_ticket("reset", word, bound_to="secret hash")))
    return opened


def test_a_guess_never_reaches_redis(
    raw: redis.Redis, server: RedisServer, either: RedisStore, make_jam: MakeJam, clock: Clock
) -> None:
    jam = make_jam(store=either, near_cache=False)
    client = build_app(jam).test_client()
    right = jam.issue_tokens("alice")["refresh_token"]
    family, generation, mac = right.split(".")
    guesses = [f"{family}.{generation}.{'A' * 43}", f"{family}.2.{mac}", f"{'A' * 45}.1.{mac}",
               f"{mac}xx.1.{mac}", family, f"{right}=", "a.b.c", "*", "x" * 10_000]  # fmt: skip
    with Monitor(server, raw) as monitor:
        for guess in guesses:
            response = client.post("/refresh", json={"refresh_token": guess})
            assert response.status_code == 401
            jam.revoke_token(guess)
    # The link of the near cache, if there is one, asks PING and nothing else.
    asked = [line for line in monitor.seen.splitlines() if b'"' in line and b'"PING"' not in line]
    assert [line for line in asked if b"the-last-line" not in line] == []


@pytest.mark.parametrize("either", [RedisStore, NearStore], indirect=True)
def test_a_thousand_anonymous_hits_leave_no_key(
    raw: redis.Redis, either: RedisStore, make_jam: MakeJam
) -> None:
    client = build_app(make_jam(store=either)).test_client(use_cookies=False)
    guess = "A" * 45
    for number in range(100):
        for path in ("/open", "/public", "/session", "/jwt", "/optional", "/either"):
            client.get(path)
        client.post("/session-logout")
        client.post("/logout")
        session_id = f"{guess[:-3]}{number:03}"
        assert (
            client.get("/session", headers={"Cookie": f"sessionId={session_id}"}).status_code == 401
        )
        assert (
            client.get("/either", headers={"Cookie": f"sessionId={session_id}"}).status_code == 401
        )
    assert raw.keys("*") == []


def test_two_applications_on_one_server_share_nothing_but_a_prefix(
    server: RedisServer, make_jam: MakeJam
) -> None:
    stores = [RedisStore(client_factory(server.url, 5.0), prefix=p, timeout=5.0)
              for p in ("one", "two")]  # fmt: skip
    one, two = (make_jam(store=store) for store in stores)
    pair, session_id = one.issue_tokens("alice"), one.create_session("alice", {})
    assert two.get_session(session_id) is None
    assert two.clear_sessions("alice") == 0
    two.revoke_subject("alice")
    with pytest.raises(TokenError):
        two.refresh_tokens(pair["refresh_token"])
    assert one.get_session(session_id) == {}
    assert one.verify_jwt_token(pair["access_token"])
    assert one.refresh_tokens(pair["refresh_token"])
    for store in stores:
        store.close()
