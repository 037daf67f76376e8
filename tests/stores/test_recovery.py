"""No hang and no lost reply loses a session or kills the family of an honest client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import redis

from flask_jam import Jam, SessionError, StoreUnavailable
from flask_jam.stores._redis.client import client_factory
from flask_jam.stores._redis.near_cache import NearStore
from flask_jam.stores.interface import REWORK_GRACE, Limits
from flask_jam.stores.redis import RedisStore
from flask_jam.testing.stores import SLOT, a_session, at, cleared

from ..cases import each_case
from ..conftest import SECRET, build_app
from ..servers import HOST, Proxy, RedisCluster, RedisServer

pytestmark = pytest.mark.redis

NOW = 4_000_000_000.0


def jam_at(url: str, **options: Any) -> Jam:
    return Jam({"jwt": {"secret_key": SECRET}, "redis_url": url, **options})


@pytest.fixture
def stores(redis_server: RedisServer) -> Iterator[Callable[..., Any]]:
    """``stores(NearStore)`` gives a store of the emptied server, as a process would have it."""
    redis_server.flush()
    with ExitStack() as stack:

        def connect(kind: type[RedisStore] = RedisStore, **options: Any) -> RedisStore:
            store = kind(client_factory(redis_server.url, 5.0), timeout=5.0, **options)
            stack.callback(store.close)
            return store

        yield connect


@pytest.fixture
def raw(redis_server: RedisServer) -> redis.Redis:
    return redis_server.client()


# --- hangs of the server, and lost replies ----------------------------------------------


@pytest.fixture(params=["one server", "cluster"])
def servers(request: pytest.FixtureRequest) -> Iterator[RedisServer | RedisCluster]:
    """Of this test's own: it stops them."""
    with RedisServer() if request.param == "one server" else RedisCluster() as found:
        yield found


@contextmanager
def hanging(servers: RedisServer | RedisCluster) -> Iterator[None]:
    nodes = servers.nodes if isinstance(servers, RedisCluster) else [servers]
    for node in nodes:
        node.pause()
    try:
        yield
    finally:
        for node in nodes:
            node.resume()


def rehearse(jam: Jam) -> None:
    """Have each node know the scripts: one that does not would not run them when it wakes."""
    for number in range(30):
        with_reply(lambda n=number: jam.refresh_tokens(jam.issue_tokens(f"{n}")["refresh_token"]))
        with_reply(lambda n=number: jam.rework_session(jam.create_session(f"{n}", {})))
    with_reply(lambda: jam.get_session(jam.create_session("bob", {})))


def with_reply(ask: Callable[[], Any], within: float = REWORK_GRACE) -> Any:
    """Ask again until there is an answer, as a client does that got a 503."""
    end = time.monotonic() + within
    while True:
        try:
            return ask()
        except StoreUnavailable:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def ask_through(hang: float, servers: Any, asks: list[Callable[[], Any]], *, often: bool) -> None:
    """Ask while the servers hang: once, or again and again. Nobody hears an answer then."""
    with hanging(servers):
        end, is_asked = time.monotonic() + hang, False
        while time.monotonic() < end:
            for ask in asks if often or not is_asked else ():
                with pytest.raises(StoreUnavailable):
                    ask()
            is_asked = True
            time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("often", [False, True], ids=["asked once", "asked often"])
@pytest.mark.parametrize("hang", [0.6, 12.0])
def test_no_hang_loses_a_session_or_kills_the_family_of_an_honest_client(
    servers: RedisServer | RedisCluster, hang: float, often: bool
) -> None:
    jam, told = jam_at(servers.url), []
    rehearse(jam)
    jam.subscribe(lambda event, what: told.append(event))
    old, token = jam.create_session("ann", {"n": 1}), jam.issue_tokens("ann")["refresh_token"]
    asks = [lambda: jam.rework_session(old), lambda: jam.refresh_tokens(token)]
    ask_through(hang, servers, asks, often=often)

    new, pair = (with_reply(ask) for ask in asks)

    assert with_reply(lambda: jam.get_session(new)) == {"n": 1}
    assert with_reply(lambda: jam.get_session(old)) is None
    assert len(with_reply(lambda: jam.list_sessions("ann"))) == 1
    with pytest.raises(SessionError):
        with_reply(lambda: jam.rework_session(old))
    # What the family got is good, and so is what comes after it.
    assert with_reply(lambda: jam.verify_jwt_token(pair["access_token"]))["sub"] == "ann"
    assert with_reply(lambda: jam.refresh_tokens(pair["refresh_token"]))
    assert told == []
    jam.store.close()  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("hang", [0.6, 12.0])
def test_no_hang_logs_out_who_refreshes_a_session(hang: float) -> None:
    with RedisServer() as server:
        jam = jam_at(server.url)
        rehearse(jam)
        client = build_app(jam).test_client()
        client.post("/session-login/ann")
        with hanging(server):
            assert client.post("/session-refresh").status_code == 503
            time.sleep(hang)
        statuses = []
        end = time.monotonic() + REWORK_GRACE
        while 200 not in statuses and time.monotonic() < end:
            statuses.append(client.post("/session-refresh").status_code)
        assert set(statuses) <= {503, 200}
        assert client.get("/session").json["subject"] == "ann"  # type: ignore[index]
        assert len(jam.list_sessions("ann")) == 1
        jam.store.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("lost", [1, 2, 3, 4])
def test_lost_replies_lose_no_session(redis_server: RedisServer, lost: int) -> None:
    redis_server.flush()
    with Proxy(redis_server.port) as proxy:
        far = jam_at(f"redis://{HOST}:{proxy.port}/0", redis_timeout=5, near_cache=False)
        rehearse(far)
        old = far.create_session("ann", {"n": 1})
        proxy.swallow_replies(b"EVALSHA", lost)
        new = with_reply(lambda: far.rework_session(old))
        assert proxy.swallowed == lost
        assert far.get_session(new) == {"n": 1}
        assert [far.handle_of(new)] == [info.handle for info in far.list_sessions("ann")]
        far.store.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_lost_replies_kill_no_family(redis_server: RedisServer, lost: int) -> None:
    redis_server.flush()
    with Proxy(redis_server.port) as proxy:
        far = jam_at(f"redis://{HOST}:{proxy.port}/0", redis_timeout=5, near_cache=False)
        rehearse(far)
        token = far.issue_tokens("ann")["refresh_token"]
        proxy.swallow_replies(b"EVALSHA", lost)
        pair = with_reply(lambda: far.refresh_tokens(token))
        assert proxy.swallowed == lost
        assert far.refresh_tokens(pair["refresh_token"])
        far.store.close()  # type: ignore[attr-defined]


# --- what is at rest ----------------------------------------------------------------------


def test_nobody_who_reads_redis_can_make_the_new_id(
    raw: redis.Redis, redis_server: RedisServer
) -> None:
    redis_server.flush()
    jam = jam_at(redis_server.url, near_cache=False, redis_timeout=5)
    old = jam.create_session("ann", {})
    new = jam.rework_session(old)
    words = {part for key in raw.keys("*") for part in key.split(b":")}
    for key in raw.keys("jam:[sr]:*"):
        words |= {word for pair in raw.hgetall(key).items() for word in pair}
    texts = {word.decode() for word in words if word.isascii()}
    assert not {old, new, old[2:], new[2:]} & texts
    # Any of it as an id, or as the id that a rework begins with.
    for text in [*texts, *(SLOT + text for text in texts), *(new[:2] + text for text in texts)]:
        assert jam.get_session(text) is None
        with pytest.raises(SessionError):
            jam.rework_session(text)
    assert jam.rework_session(old) == new
    jam.store.close()  # type: ignore[attr-defined]


@each_case("field", ["n", "v"])
@each_case("value", [b"", b"x", b"\xff\xfe", b"abk3", b"*", b"x" * 10**6, b"a b", None])
def test_a_damaged_seed_gives_nothing(
    raw: redis.Redis, stores: Callable[..., RedisStore], field: str, value: bytes | None
) -> None:
    store = stores()
    store.create_session(at("k"), a_session(NOW))
    assert store.rework_session(at("k"), at("k2"), "seed", NOW) is not None
    (key,) = raw.keys("jam:r:*")
    raw.hset(key, field, value) if value is not None else raw.hdel(key, field)
    found = store.rework_session(at("k"), at("k3"), "seed3", NOW)
    assert found is None or (field == "v" and found.seed.encode() == value)
    assert store.read_session(at("k3"), NOW) is None
    assert store.read_session(at("k2"), NOW) == a_session(NOW)
    raw.flushall()


@each_case("kind", ["string", "list", "zset"])
def test_a_seed_of_a_foreign_type_gives_nothing_and_goes(
    raw: redis.Redis, stores: Callable[..., RedisStore], kind: str
) -> None:
    store = stores()
    store.create_session(at("k"), a_session(NOW))
    store.rework_session(at("k"), at("k2"), "seed", NOW)
    (key,) = raw.keys("jam:r:*")
    raw.delete(key)
    make: dict[str, Callable[[], object]] = {
        "string": lambda: raw.set(key, "x"),
        "list": lambda: raw.rpush(key, "x"),
        "zset": lambda: raw.zadd(key, {"x": 1}),
    }
    make[kind]()
    assert store.rework_session(at("k"), at("k3"), "seed", NOW) is None
    assert store.read_session(at("k2"), NOW) is not None
    assert not raw.exists(key)
    raw.flushall()


@pytest.mark.parametrize("kind", [RedisStore, NearStore])
def test_a_session_is_not_read_while_its_old_id_cannot_be_closed(
    raw: redis.Redis, stores: Callable[..., RedisStore], kind: type[RedisStore]
) -> None:
    # A primary that takes no writes: else the old id would get a session that is in use.
    store = stores(kind)
    store.create_session(at("k"), a_session(NOW))
    store.rework_session(at("k"), at("k2"), "seed", NOW, grace=60.0)
    raw.config_set("min-replicas-to-write", 1)
    try:
        with pytest.raises(StoreUnavailable):
            store.read_session(at("k2"), NOW)
        raw.config_set("min-replicas-to-write", 0)
        raw.pexpire(raw.keys("jam:r:*")[0], 1)
        time.sleep(0.01)
        raw.config_set("min-replicas-to-write", 1)
        assert store.read_session(at("k2"), NOW) == a_session(NOW)
    finally:
        raw.config_set("min-replicas-to-write", 0)


def test_a_replica_gives_no_session_again(
    raw: redis.Redis, redis_server: RedisServer, stores: Callable[..., RedisStore]
) -> None:
    # It answers from the past: there the new id may not have been used yet.
    store = stores()
    store.create_session(at("k"), a_session(NOW))
    store.rework_session(at("k"), at("k2"), "seed", NOW)
    raw.replicaof(HOST, redis_server.port + 1)
    try:
        for ask in (
            lambda: store.rework_session(at("k"), at("k3"), "seed3", NOW),
            lambda: store.delete_session(at("k"), NOW),
            lambda: store.delete_session(at("unknown"), NOW),
            lambda: store.read_session(at("k2"), NOW),
        ):
            with pytest.raises(StoreUnavailable):
                ask()
    finally:
        raw.replicaof("NO", "ONE")
    assert store.rework_session(at("k"), at("k3"), "seed3", NOW) is not None


# --- the near cache -------------------------------------------------------------------------


def linked(store: Any) -> Any:
    """The same, once its near cache believes what it keeps."""
    end = time.monotonic() + 10
    while time.monotonic() - store.link.view.as_of > 5:
        assert time.monotonic() < end, "the link does not come up"
        store.marks("zz", "nobody", None, None, NOW)
        time.sleep(0.005)
    return store


#: What process A does itself, and must count in it at once.
OWN: dict[str, Callable[[RedisStore], object]] = {
    "logout": lambda store: store.delete_session(at("k2"), NOW),
    "logout with the old id": lambda store: store.delete_session(at("k"), NOW),
    "logout everywhere": lambda store: cleared(store, NOW),
    "logout elsewhere": lambda store: cleared(store, NOW, keep=at("k2")),
    "revocation": lambda store: store.cut(SLOT, "ann", NOW, NOW + 100),
    "rework": lambda store: store.rework_session(at("k2"), at("k3"), "seed", NOW),
    "update": lambda store: store.update_session(at("k2"), {"n": 1}, NOW, 1000),
    "login past the bound": lambda store: store.create_session(at("k4"), a_session(NOW), 1),
}


@pytest.mark.slow
@each_case("own", OWN)
def test_own_change_counts_at_once_where_no_push_comes(
    stores: Callable[..., Any], own: str
) -> None:
    near, other = linked(stores(NearStore, silence=60.0)), stores()
    near.link._pushed = lambda keys: None  # half open: what other processes do is not heard
    other.create_session(at("k"), a_session(NOW))
    assert near.read_session(at("k"), NOW) is not None
    other.rework_session(at("k"), at("k2"), "seed", NOW)
    assert near.read_session(at("k"), NOW) is not None, "it is known, so this tests something"
    OWN[own](near)
    assert near.read_session(at("k"), NOW) is None


@pytest.mark.slow
def test_a_read_by_a_near_cache_settles_the_new_id(stores: Callable[..., Any]) -> None:
    one, two, other = linked(stores(NearStore)), linked(stores(NearStore)), stores()
    for round_ in range(20):
        old, new = at(f"k{round_}"), at(f"n{round_}")
        other.create_session(old, a_session(NOW))
        for near in (one, two):
            assert near.read_session(old, NOW) is not None
        assert one.rework_session(old, new, "seed", NOW) is not None
        assert other.rework_session(old, at("x"), "seed2", NOW).seed == "seed"
        for _ in range(3):
            assert two.read_session(new, NOW) is not None
            for store in (one, two, other):
                assert store.rework_session(old, at("x"), "seed2", NOW) is None


@pytest.mark.slow
def test_near_sessions_obey_whoever_has_the_stricter_settings(
    stores: Callable[..., Any],
) -> None:
    near, tight = linked(stores(NearStore, silence=60.0)), Limits(30.0, 500.0)
    near.create_session(at("k"), a_session(NOW, idle=1000.0))
    near.create_session(at("k2"), a_session(NOW, idle=1000.0))
    for key in (at("k"), at("k2")):
        for _ in range(2):
            assert near.read_session(key, NOW + 2) is not None
    assert near.read_session(at("k"), NOW + 29, tight).idle == 30.0
    ended = near.read_session(at("k2"), NOW + 30, tight)
    assert ended is None or ended.expires_at <= NOW + 30
    assert near.read_session(at("k2"), NOW + 31) is None


@pytest.mark.slow
def test_a_tightened_setting_ends_what_a_near_cache_holds(redis_server: RedisServer) -> None:
    redis_server.flush()
    clock = [time.time()]
    jam = Jam(
        {"jwt": {"secret_key": SECRET}, "redis_url": redis_server.url, "session": {"idle": 30}},
        clock=lambda: clock[0],
    )
    loose = Jam({"jwt": {"secret_key": SECRET}}, store=jam.store, clock=jam.clock)
    linked(jam.store)
    session_id = loose.create_session("ann", {})
    for _ in range(3):
        assert loose.get_session(session_id) == {}
    clock[0] += 30
    assert jam.get_session(session_id) is None
    jam.store.close()  # type: ignore[attr-defined]
