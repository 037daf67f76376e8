"""API keys in Redis: damage, lost replies, hangs, and what a near cache may answer by itself."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis

from flask_jam import Jam, Reason, StoreUnavailable, TokenError
from flask_jam._credentials.api_key_text import new_key
from flask_jam.stores._redis.client import client_factory
from flask_jam.stores._redis.near_cache import NearStore
from flask_jam.stores.api_keys import COALESCE, KEEP_ENDED, NewKey
from flask_jam.stores.interface import slot_of
from flask_jam.stores.redis import RedisStore
from flask_jam.testing.api_keys import a_key, listed_keys
from flask_jam.testing.stores import SLOT, at, at_once

from ..attacks.stores import listen
from ..cases import each_case
from ..conftest import Clock
from ..servers import HOST, Proxy, RedisServer, _until
from .test_near import wait_for_push
from .test_redis import FOREIGN, PICKLES

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
def connect(server: RedisServer) -> Iterator[Callable[..., Any]]:
    """``connect(NearStore)`` gives a store, as another process would have it."""
    made: list[RedisStore] = []

    def connect(kind: type[RedisStore] = RedisStore, port: int = 0, **options: Any) -> RedisStore:
        url = f"redis://{HOST}:{port or server.port}/0"
        made.append(kind(client_factory(url, 5.0), timeout=5.0, **options))
        return made[-1]

    yield connect
    for store in made:
        store.close()


@pytest.fixture
def store(connect: Callable[..., RedisStore]) -> RedisStore:
    return connect()


def near(connect: Callable[..., Any]) -> NearStore:
    """A store with a near cache whose link is up."""
    store: NearStore = connect(NearStore, silence=30.0)
    listen(store)
    return store


def read(store: RedisStore, now: float, digest: str = "digest-of-k") -> Any:
    return store.read_api_key(at("k"), digest, now)


def rotate(store: RedisStore, now: float, overlap: float = 0.0) -> Any:
    new = NewKey(at("new"), "digest-of-new")
    return store.rotate_api_key(at("k"), "ann", new, now, overlap)


def refused(verb: Callable[..., Any], *arguments: Any) -> Reason:
    with pytest.raises(TokenError) as caught:
        verb(*arguments)
    return caught.value.reason


# --- damage -------------------------------------------------------------------------------------

GARBAGE = [
    b"", b"x", b"\xff\xfe", b"nan", b"-inf", b"1e400", b"{}", b"[]", b"[1]", b"null", b"0x",
    b"[2,\"ann\",null,\"x\",[],[],null]", b"[1,7,null,\"x\",[],[],null]",
    b"[1,\"ann\",7,\"x\",[],[],null]", b"[1,\"ann\",null,7,[],[],null]",
    b"[1,\"ann\",null,\"x\",\"ab\",[],null]", b"[1,\"ann\",null,\"x\",[],[7],null]",
    b"[1,\"ann\",null,\"x\",[],[],[]]", b"[1,\"ann\",null,\"x\",[],[],null,0]",
    b"[" * 100_000, b"[" + b" " * 70_000 + b"]", *PICKLES,
]  # fmt: skip
VERBS: dict[str, Callable[[RedisStore], Any]] = {
    "read": lambda store: read(store, NOW + 61),
    "list": lambda store: listed_keys(store, NOW + 1),
    "rotate": lambda store: rotate(store, NOW + 1).made,
    "end": lambda store: store.end_api_key(at("k"), "ann", NOW + 1, "1"),
    "create": lambda store: store.create_api_key(a_key(NOW + 1)),
}


@each_case("verb", VERBS)
def test_a_damaged_api_key_is_removed_or_means_what_it_says(
    raw: redis.Redis, store: RedisStore, verb: str
) -> None:
    store.create_api_key(a_key(NOW))
    good = raw.hgetall("jam:q:{ab}:abk")
    damages = [(field, None) for field in good]
    damages += [(field, value) for field in (*good, b"l", b"n", b"x") for value in GARBAGE]
    for field, value in damages:
        raw.flushall()
        raw.hset("jam:q:{ab}:abk", mapping=good)
        raw.zadd("jam:y:{ab}:" + good[b"o"].decode(), {"abk": NOW})
        raw.hdel("jam:q:{ab}:abk", field) if value is None else raw.hset(
            "jam:q:{ab}:abk", field, value
        )
        VERBS[verb](store)  # raises nothing
        found = read(store, NOW + 2)
        if found is not None and found.alive(NOW + 2) and verb != "create":
            # A text in place of another one: it has the right to none but what was there.
            assert field in (b"h", b"n"), (field, value)
            assert (found.owner, found.scopes, found.expires_at) == (
                "ann",
                ("a:r", "b:w"),
                NOW + 100,
            )


@each_case("kind", FOREIGN)
def test_a_value_of_a_foreign_type_is_no_api_key(
    raw: redis.Redis, store: RedisStore, kind: str
) -> None:
    for verb, run in VERBS.items():
        store.create_api_key(a_key(NOW))
        for key in raw.keys("jam:[qyz]:*"):
            raw.delete(key)
            FOREIGN[kind](raw, key)
        run(store)
        if verb != "create":
            assert read(store, NOW + 2) is None
            assert listed_keys(store, NOW + 2) == []
        assert store.create_api_key(a_key(NOW + 1)), "a login makes the indexes anew"
        assert [key.key for key in listed_keys(store, NOW + 2)] == [at("k")]
        raw.flushall()


def test_a_damaged_cut_off_lets_no_api_key_in(raw: redis.Redis, store: RedisStore) -> None:
    store.create_api_key(a_key(NOW))
    store.cut(SLOT, "ann", NOW - 1, NOW + 1000)
    (key,) = raw.keys("jam:c:*")
    for value in (b"", b"x", b"[1,0,0]x", b"[3,0,0]"):
        raw.set(key, value)
        found = read(store, NOW)
        assert found is not None
        assert found.is_revoked
        assert store.create_api_key(a_key(NOW, "other")) is False


def test_an_index_that_names_keys_of_others_lists_none_of_them(
    raw: redis.Redis, store: RedisStore
) -> None:
    store.create_api_key(a_key(NOW))
    store.create_api_key(a_key(NOW, "bobs", owner="bob"))
    (index,) = (key for key in raw.keys("jam:y:*") if raw.zscore(key, "abk") is not None)
    raw.zadd(index, {"abbobs": NOW, "abnothing": NOW, "": NOW, "cdk": NOW, "a:{b}": NOW})
    raw.copy("jam:q:{ab}:abk", b"jam:q:{ab}:ab\xff")
    raw.zadd(index, {b"ab\xff": NOW, b"ab\n": NOW})
    assert [key.key for key in listed_keys(store, NOW)] == [at("k")]
    assert raw.zrange(index, 0, -1) == [b"abk"]
    assert [key.key for key in listed_keys(store, NOW, "bob")] == [at("bobs")]


def test_an_answer_of_a_stranger_is_no_answer() -> None:
    class Stranger:
        said: Any = None

        def execute_command(self, *_: Any) -> Any:
            return self.said

    stranger = Stranger()
    words = (b"alive", b"revoked", b"expired", b"new", b"reused", b"dead", b"done", b"created")
    answers: list[Any] = [None, [], b"OK", [b"PONG"], [7], [b"done", b"", b"", b"x"]]
    answers += [[word, *[part] * count] for word in words for part in (7, None, [b"x"])
                for count in (1, 2, 7, 8, 9)]  # fmt: skip
    answers += [[word, *[b"x"] * count] for word in words for count in (3, 4, 7, 9)]
    for stranger.said in answers:
        for verb, run in VERBS.items():
            with pytest.raises(StoreUnavailable):
                pytest.fail(f"{verb}: {stranger.said} gave {run(RedisStore(stranger))}")


# --- lost replies, hangs, no Redis at all -------------------------------------------------------


@each_case("overlap", [0, 60])
def test_a_rotation_whose_reply_was_lost_is_made_once(
    server: RedisServer, connect: Callable[..., Any], make_jam: MakeJam, overlap: int
) -> None:
    with Proxy(server.port) as proxy:
        far = make_jam(store=connect(port=proxy.port))
        for lost in (1, 2):
            key, info = far.create_api_key("ann", name=f"{lost}")
            far.rotate_api_key("ann", far.create_api_key("ann", name="rehearsal")[1].handle)
            before = proxy.swallowed
            proxy.swallow_replies(b"EVALSHA", lost)
            if lost == 1:  # our own client asks again
                new, made = far.rotate_api_key("ann", info.handle, overlap)
                assert far.api_keys.lookup(new).handle == made.handle
            else:
                with pytest.raises(StoreUnavailable):
                    far.rotate_api_key("ann", info.handle, overlap)
                [made] = [each for each in far.list_api_keys("ann")
                          if each.name == "2" and each.handle != info.handle]  # fmt: skip
            assert proxy.swallowed == before + lost
            # The key of a rotation whose caller heard nothing is lost: it can be replaced.
            with pytest.raises(TokenError, match=made.handle) as caught:
                far.rotate_api_key("ann", info.handle, overlap)
            assert caught.value.reason is Reason.REUSED
            assert far.api_keys.lookup(far.rotate_api_key("ann", made.handle)[0])
            if not overlap:
                assert refused(far.api_keys.lookup, key) is Reason.REVOKED


def test_a_revocation_or_creation_whose_reply_was_lost_is_done_once(
    server: RedisServer, connect: Callable[..., Any], make_jam: MakeJam
) -> None:
    with Proxy(server.port) as proxy:
        far, heard = make_jam(store=connect(port=proxy.port)), []
        far.subscribe(lambda event, what: heard.append(what["kind"]))
        _, info = far.create_api_key("ann", name="first")
        far.revoke_api_key("ann", info.handle)
        _, info = far.create_api_key("ann", name="second")
        proxy.swallow_replies(b"EVALSHA")
        assert far.revoke_api_key("ann", info.handle) is True
        assert far.revoke_api_key("ann", info.handle) is False
        assert heard == ["api_key", "api_key"]
        proxy.swallow_replies(b"EVALSHA")
        key, info = far.create_api_key("ann", name="third")
        assert far.list_api_keys("ann") == [info]
        assert far.api_keys.lookup(key)


def test_without_redis_every_verb_is_unavailable_and_nothing_is_told(make_jam: MakeJam) -> None:
    with RedisServer() as server:
        jam, heard = make_jam(redis_url=server.url), []
        jam.subscribe(lambda event, what: heard.append(event))
        key, info = jam.create_api_key("ann", name="backup")
        server.stop()
        for verb in (
            lambda: jam.create_api_key("ann", name="other"),
            lambda: jam.list_api_keys("ann"),
            lambda: jam.rotate_api_key("ann", info.handle),
            lambda: jam.revoke_api_key("ann", info.handle),
            lambda: jam.api_keys.lookup(key),
        ):
            with pytest.raises(StoreUnavailable):
                verb()
        # What fails its checksum is refused all the same.
        assert refused(jam.api_keys.lookup, key[:-1] + "!") is Reason.INVALID
        assert heard == []
        jam.store.close()  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_rotation_that_hung_leaves_one_successor(make_jam: MakeJam, clock: Clock) -> None:
    with RedisServer() as server:
        jam = make_jam(redis_url=server.url, near_cache=False)
        _, info = jam.create_api_key("ann", name="backup")
        server.pause()
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                jam.rotate_api_key("ann", info.handle)
        server.resume()
        _until(jam.ready, "Redis is back")
        with suppress(TokenError):
            jam.rotate_api_key("ann", info.handle)
        assert len(jam.list_api_keys("ann")) == 1
        jam.store.close()  # type: ignore[attr-defined]


def test_parallel_rotations_on_four_machines_make_one_successor(
    connect: Callable[..., Any], make_jam: MakeJam
) -> None:
    jams = [make_jam(store=connect()) for _ in range(4)]
    _, info = jams[0].create_api_key("ann", name="backup")

    def job(number: int) -> str | None:
        with suppress(TokenError):
            return jams[number % 4].rotate_api_key("ann", info.handle)[0]
        return None

    [made] = [key for key in at_once(16, job) if key is not None]
    assert [key.handle for key in jams[0].list_api_keys("ann")] == [
        jams[0].api_keys.lookup(made).handle
    ]


def test_a_primary_that_takes_no_writes_still_knows_a_key(
    raw: redis.Redis, store: RedisStore
) -> None:
    store.create_api_key(a_key(NOW))
    raw.config_set("min-replicas-to-write", 1)
    try:
        found = read(store, NOW)
        assert found is not None
        assert found.last_used_at is None
        for write in (
            lambda: rotate(store, NOW),
            lambda: store.end_api_key(at("k"), "ann", NOW, "1"),
            lambda: store.create_api_key(a_key(NOW, "other")),
        ):
            with pytest.raises(StoreUnavailable):
                write()
    finally:
        raw.config_set("min-replicas-to-write", 0)
    assert read(store, NOW).last_used_at == NOW


def test_a_replica_answers_for_no_key(
    raw: redis.Redis, server: RedisServer, store: RedisStore
) -> None:
    store.create_api_key(a_key(NOW))
    read(store, NOW)
    raw.replicaof(HOST, server.port + 1)
    try:
        for run in (*VERBS.values(), lambda store: read(store, NOW)):
            with pytest.raises(StoreUnavailable):
                run(store)
    finally:
        raw.replicaof("NO", "ONE")


# --- what Redis keeps, and how long -------------------------------------------------------------


def test_indexes_live_as_long_as_the_last_key(raw: redis.Redis, store: RedisStore) -> None:
    def kept() -> dict[str, float]:
        return {key[4:5].decode(): round(raw.pttl(key) / 1000) for key in raw.keys("*")}

    ends, years = round(100 + KEEP_ENDED + 60), 100 * 365 * 86_400
    store.create_api_key(a_key(NOW))
    assert kept() == {"q": ends, "y": ends, "z": ends}
    store.create_api_key(a_key(NOW, "for ever", expires_at=math.inf))
    store.create_api_key(a_key(NOW, "short", expires_at=NOW + 10))
    assert min(kept()["y"], kept()["z"]) >= years
    assert raw.pttl("jam:q:{ab}:abfor ever") / 1000 >= years
    store.end_api_key(at("for ever"), "ann", NOW, "1")
    assert 0 < raw.pttl("jam:q:{ab}:abfor ever") <= (KEEP_ENDED + 60) * 1000
    # With the next key the indexes get a nearer end again.
    store.create_api_key(a_key(NOW, "other"))
    assert kept()["y"] == kept()["z"] == ends


def test_a_use_lists_a_key_whose_index_was_lost(raw: redis.Redis, store: RedisStore) -> None:
    for kind in (None, *FOREIGN):
        store.create_api_key(a_key(NOW))
        for index in raw.keys("jam:[yz]:*"):
            raw.delete(index)
            if kind is not None:
                FOREIGN[kind](raw, index)
        read(store, NOW)
        assert [key.key for key in listed_keys(store, NOW)] == [at("k")]
        raw.flushall()


def test_a_creation_prunes_what_has_ended(raw: redis.Redis, store: RedisStore) -> None:
    for number in range(5):
        store.create_api_key(a_key(NOW, f"k{number}"))
    store.create_api_key(a_key(NOW + 200, "new", expires_at=NOW + 300))
    for index in raw.keys("jam:[yz]:*"):
        assert raw.zrange(index, 0, -1) == [b"abnew"]


def test_revoke_subject_frees_the_memory_of_keys(
    raw: redis.Redis, store: RedisStore, make_jam: MakeJam
) -> None:
    jam = make_jam(store=store)
    for _ in range(250):
        jam.create_api_key("ann", name="backup")
    jam.revoke_subject("ann")
    assert raw.keys("jam:[yz]:*") == []
    kept = [raw.pttl(key) / 1000 for key in raw.keys("jam:q:*")]
    assert len(kept) == 250
    assert max(kept) <= KEEP_ENDED + 60


def test_a_use_is_written_once_a_minute_and_makes_no_key(
    raw: redis.Redis, server: RedisServer, store: RedisStore
) -> None:
    store.create_api_key(a_key(NOW, expires_at=NOW + 10_000))

    def writes(*moments: float) -> int:
        raw.config_resetstat()
        for moment in moments:
            read(store, NOW + moment)
        return int(raw.info("commandstats").get("cmdstat_hset", {}).get("calls", 0))

    assert writes(0) == 1
    assert writes(1, 30, 59.9) == 0
    assert writes(60, 61, 119) == 1
    raw.flushall()
    assert writes(200, 300) == 0
    assert raw.keys("*") == []


def test_two_applications_on_one_server_share_no_key(
    connect: Callable[..., Any], make_jam: MakeJam
) -> None:
    one, two = (make_jam(store=connect(prefix=prefix)) for prefix in ("one", "two"))
    key, info = one.create_api_key("ann", name="backup")
    assert refused(two.api_keys.lookup, key) is Reason.INVALID
    assert two.revoke_api_key("ann", info.handle) is False
    two.revoke_subject("ann")
    assert one.api_keys.lookup(key)


# --- reads without a script -----------------------------------------------------------------------


def scripts(raw: redis.Redis, ask: Callable[[], object]) -> int:
    """How many scripts a question took."""
    raw.config_resetstat()
    ask()
    return sum(
        int(raw.info("commandstats").get(f"cmdstat_{name}", {}).get("calls", 0))
        for name in ("evalsha", "eval")
    )


CHANGES: dict[str, Callable[[RedisStore, redis.Redis], object]] = {
    "ended": lambda store, raw: store.end_api_key(at("k"), "ann", NOW, "1"),
    "rotated": lambda store, raw: rotate(store, NOW),
    "cut off": lambda store, raw: store.cut(SLOT, "ann", NOW, NOW + 100),
    "cut off by damage": lambda store, raw: raw.set(mark_of(raw), "x"),
    "cut off by another type": lambda store, raw: [raw.delete(m := mark_of(raw)), raw.rpush(m, 1)],
    "forgotten": lambda store, raw: raw.flushall(),
    "damaged": lambda store, raw: raw.hset("jam:q:{ab}:abk", "u", "x"),
    "another one": lambda store, raw: raw.hset("jam:q:{ab}:abk", "h", "another"),
}


def mark_of(raw: redis.Redis) -> str:
    """Where the cut-off of the owner stands, or would stand."""
    owner = raw.hget("jam:q:{ab}:abk", "o")
    assert owner is not None
    return f"jam:c:{{ab}}:{owner.decode()}"


@each_case("change", CHANGES)
def test_a_read_without_a_script_sees_what_the_script_sees(
    raw: redis.Redis, store: RedisStore, connect: Callable[..., Any], change: str
) -> None:
    store.cut(SLOT, "ann", NOW - 20, NOW + 1000)  # its own cut-off is no later one
    store.create_api_key(a_key(NOW, cut_off=NOW - 20))
    first = read(store, NOW)
    assert scripts(raw, lambda: read(store, NOW + 59)) == 0
    assert scripts(raw, lambda: read(store, NOW + 60)) == 1
    assert read(store, NOW + 60.5).last_used_at == NOW + 60 > first.last_used_at
    CHANGES[change](connect(), raw)
    found, by_script = read(store, NOW + 61), read(connect(), NOW + 61)
    assert found == by_script
    assert found is None or not found.alive(NOW + 61) or found.digest == "another"
    assert read(store, NOW + 61) == found


def test_a_use_that_another_process_noted_is_no_doubt_for_long(
    raw: redis.Redis, store: RedisStore, connect: Callable[..., Any]
) -> None:
    store.create_api_key(a_key(NOW, expires_at=NOW + 1000))
    read(store, NOW)
    read(connect(), NOW + 60)
    assert scripts(raw, lambda: read(store, NOW + 59)) == 1
    assert scripts(raw, lambda: read(store, NOW + 61)) == 0


# --- the near cache -----------------------------------------------------------------------------


def test_a_key_seen_before_costs_no_question(
    server: RedisServer, connect: Callable[..., Any]
) -> None:
    here, elsewhere = near(connect), connect()
    elsewhere.create_api_key(a_key(NOW, expires_at=NOW + 10_000))
    read(elsewhere, NOW)  # so that this process has nothing to write
    wait_for_push(here, elsewhere)
    read(here, NOW)
    before = server.questions()
    for moment in range(1, 60):
        assert read(here, NOW + moment).alive(NOW + moment)
        # A wrong secret is told by the caller, and neither.
        assert read(here, NOW + moment, "another").digest == "digest-of-k"
    assert server.questions() == before
    # Once a minute, the use is told.
    assert read(here, NOW + COALESCE).last_used_at == NOW + COALESCE
    assert server.questions() == before + 1
    assert read(elsewhere, NOW + COALESCE).last_used_at == NOW + COALESCE


def test_a_use_elsewhere_drops_no_token_of_the_same_owner(connect: Callable[..., Any]) -> None:
    here, elsewhere = near(connect), connect()
    elsewhere.create_api_key(a_key(NOW))
    for _ in range(2):
        here.marks(SLOT, "t", None, "ann", NOW)
        read(elsewhere, NOW)
        wait_for_push(here, elsewhere)
    hits = here.stats()["near_cache"]["hits"]
    here.marks(SLOT, "t", None, "ann", NOW)
    assert here.stats()["near_cache"]["hits"] == hits + 1
    read(elsewhere, NOW + 61)
    wait_for_push(here, elsewhere)
    hits = here.stats()["near_cache"]["hits"]
    here.marks(SLOT, "t", None, "ann", NOW)
    assert here.stats()["near_cache"]["hits"] == hits + 1


@each_case("change", ["end", "rotate", "cut"])
def test_a_change_counts_at_once_here_and_elsewhere(
    connect: Callable[..., Any], change: str
) -> None:
    here, there = near(connect), near(connect)
    make: dict[str, Callable[[], object]] = {
        "end": lambda: here.end_api_key(at("k"), "ann", NOW, "1"),
        "rotate": lambda: rotate(here, NOW),
        "cut": lambda: here.cut(SLOT, "ann", NOW, NOW + 100),
    }
    here.create_api_key(a_key(NOW))
    for store in (here, there, here, there):
        assert read(store, NOW).alive(NOW)
    here.link._pushed = lambda keys: None  # type: ignore[method-assign]
    make[change]()
    assert not read(here, NOW).alive(NOW)
    _until(lambda: not read(there, NOW).alive(NOW), "the push")


def test_the_near_cache_obeys_the_end_of_a_key(connect: Callable[..., Any]) -> None:
    here = near(connect)
    here.create_api_key(a_key(NOW, expires_at=NOW + 5))
    read(here, NOW)
    assert read(here, NOW + 4.9).alive(NOW + 4.9)
    assert not read(here, NOW + 5).alive(NOW + 5)
    # One that is rotated ends with its overlap.
    here.create_api_key(a_key(NOW, "new", expires_at=NOW + 50))
    there = near(connect)
    there.read_api_key(at("new"), "digest-of-new", NOW)
    here.rotate_api_key(at("new"), "ann", NewKey(at("newer"), "x"), NOW, 3)

    def alive(moment: float) -> bool:
        return there.read_api_key(at("new"), "digest-of-new", moment).alive(moment)  # type: ignore[union-attr]

    assert alive(NOW + 2.9)
    _until(lambda: not alive(NOW + 3), "the push")


def test_unknown_keys_fill_no_memory(
    server: RedisServer, connect: Callable[..., Any], make_jam: MakeJam
) -> None:
    here = near(connect)
    jam = make_jam(store=here)
    before = server.questions()
    for _ in range(300):
        assert refused(jam.api_keys.lookup, new_key("jam", slot_of("ann"))) is Reason.INVALID
    assert server.questions() == before + 300
    assert jam.stats()["near_cache"]["api_keys"] == 0
    assert server.client().keys("*") == []


def test_known_keys_have_a_bound_in_memory(connect: Callable[..., Any]) -> None:
    here = near(connect)
    note = "x" * 4000
    for number in range(10):
        here.create_api_key(a_key(NOW, f"k{number}", data={"note": note}))
        here.read_api_key(at(f"k{number}"), f"digest-of-k{number}", NOW)
    assert here.stats()["near_cache"]["api_keys"] == 10
    weight = here._seen_keys.currsize / 10
    assert 4000 < weight < 50_000
    assert here._seen_keys.maxsize == 16 * 2**20


def test_a_lost_link_has_redis_asked(connect: Callable[..., Any], raw: redis.Redis) -> None:
    here = near(connect)
    here.create_api_key(a_key(NOW))
    read(here, NOW)
    read(here, NOW)
    raw.client_kill_filter(_type="pubsub")
    _until(lambda: here.link.view.as_of < 0, "the link is lost")
    raw.flushall()
    assert read(here, NOW) is None
    end = time.monotonic() + 10
    while here.link.view.as_of < 0:
        assert time.monotonic() < end, "the link does not come back"
        assert read(here, NOW) is None
        time.sleep(0.02)
    assert read(here, NOW) is None
