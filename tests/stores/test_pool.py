"""The pool of connections: its size, the wait for a free one, and connections that are dead."""

from __future__ import annotations

import contextlib
import gc
import logging
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from redis.crc import key_slot

from flask_jam import Jam, StoreUnavailable
from flask_jam.stores._redis import redis_internals
from flask_jam.stores._redis.client import client_factory
from flask_jam.stores._redis.redis_internals import Pool, pool_for
from flask_jam.stores.redis import RedisStore
from flask_jam.testing.stores import a_session, at

from .. import servers
from ..cases import each_case
from ..conftest import SECRET
from ..servers import HOST, Proxy, RedisCluster, RedisServer
from .test_client import Sentinel, watching

pytestmark = pytest.mark.redis

LIMIT = 0.25
#: Enough for a machine that has other work.
PATIENT = 5.0
MakeStore = Callable[..., RedisStore]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def store_at() -> Iterator[MakeStore]:
    """``store_at(url, timeout, most)``: a store that is closed with the test."""
    with contextlib.ExitStack() as stack:

        def make(url: str | int, timeout: float = PATIENT, most: int = 50) -> RedisStore:
            url = f"redis://{HOST}:{url}" if isinstance(url, int) else url
            store = RedisStore(client_factory(url, timeout, most), timeout=timeout)
            stack.callback(store.close)
            return store

        yield make


def ask(store: RedisStore, place: str = "aa") -> None:
    assert store.marks(place, "a-token", None, "ann", time.time()).revoked is False


def outcomes(store: RedisStore, count: int, place: str = "aa") -> list[BaseException | None]:
    """What becomes of so many questions, asked one after the other."""
    return [_outcome(store, place) for _ in range(count)]


def _outcome(store: RedisStore, place: str = "aa") -> BaseException | None:
    try:
        ask(store, place)
    except StoreUnavailable as error:
        return error
    return None


def at_once(count: int, question: Callable[[], Any]) -> list[Any]:
    """The answers to so many questions that are asked at the same time."""
    answers: list[Any] = []
    together = threading.Barrier(count)
    threads = [
        threading.Thread(target=lambda: (together.wait(), answers.append(question())))
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def idle_connections(store: RedisStore, count: int, place: str = "aa") -> None:
    """Make the pool hold so many connections that nobody uses."""
    ask(store, place)
    pool = pool_for(store.client(), f"jam:t:{{{place}}}:x")
    assert pool is not None
    taken = [pool.get_connection() for _ in range(count)]
    for connection in taken:
        connection.send_command("PING")
        connection.read_response()
        pool.release(connection)


# --- how many --------------------------------------------------------------------------------


def test_more_threads_than_connections_all_get_an_answer(store_at: MakeStore, proxy: Proxy) -> None:
    store = store_at(proxy.port, most=5)
    proxy.delay = 0.01
    assert at_once(60, lambda: _outcome(store)) == [None] * 60
    assert proxy.links == 5


def test_a_connection_that_becomes_free_goes_to_whoever_has_waited_longest(
    store_at: MakeStore, server: RedisServer
) -> None:
    store = store_at(server.port, most=1)
    ask(store)
    pool = pool_for(store.client(), "jam:t:{aa}:x")
    assert pool is not None
    order: list[str] = []

    def take(name: str) -> None:
        connection = pool.get_connection()
        order.append(name)
        pool.release(connection)

    for _ in range(20):
        taken = pool.get_connection()
        waiting = threading.Thread(target=take, args=("first",))
        waiting.start()
        time.sleep(0.01)
        pool.release(taken)
        take("second")
        waiting.join()
    assert order == ["first", "second"] * 20


KILLED_GREENLETS = """
from gevent import monkey; monkey.patch_all()
import random, sys, time, gevent
from flask_jam.stores.redis import RedisStore
from flask_jam.stores._redis.client import client_factory

store = RedisStore(client_factory(sys.argv[1], 5.0, 4), timeout=5.0)

def ask():
    while True:
        store.marks("aa", "a-token", None, "ann", time.time())

asking = [gevent.spawn(ask) for _ in range(20)]
for _ in range(300):
    gevent.sleep(0.001)
    each = random.randrange(20)
    asking[each].kill()
    asking[each] = gevent.spawn(ask)
gevent.killall(asking)
print(store.stats()["pool"]["in_use"], len([each for each in asking if each.exception]))
"""


@pytest.mark.slow
def test_greenlets_that_are_killed_give_their_places_back(server: RedisServer) -> None:
    pytest.importorskip("gevent")
    command = [sys.executable, "-c", KILLED_GREENLETS, server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["0", "0"], done.stderr


@each_case("error", [KeyboardInterrupt, SystemExit, None])
def test_a_wait_that_is_cut_short_takes_no_place(
    store_at: MakeStore, server: RedisServer, error: type[BaseException] | None
) -> None:
    pool = pool_for(store_at(server.port, 0.05, most=1).client(), "jam:t:{aa}:x")
    assert pool is not None
    taken = pool.get_connection()

    class Came:
        """Is handed the place just when the wait ends."""

        def acquire(self, timeout: float) -> bool:
            pool.release(taken)
            if error is not None:
                raise error
            return False

        def release(self) -> None:
            pass

    class Turn(redis_internals._Turn):
        def __init__(self) -> None:
            super().__init__()
            self.came = Came()  # type: ignore[assignment]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(redis_internals, "_Turn", Turn)
        with pytest.raises(error or redis_internals.PoolExhaustedError):
            pool.get_connection()
    pool.release(pool.get_connection())
    assert pool.pool.qsize() == 1


def test_a_setting_says_how_many_connections_there_are(proxy: Proxy) -> None:
    jam = jam_at(proxy.port, redis_pool=3, redis_timeout=PATIENT)
    jam.create_session("ann", {})
    proxy.delay = 0.01
    at_once(20, lambda: jam.list_sessions("ann"))
    assert proxy.links == 3
    jam.store.close()  # type: ignore[attr-defined]


def jam_at(port: int, **settings: Any) -> Jam:
    url = f"redis://{HOST}:{port}"
    return Jam({"jwt": {"secret_key": SECRET}, "redis_url": url, "near_cache": False, **settings})


def test_pool_exhausted_until_the_deadline_is_a_503(
    store_at: MakeStore, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_at(proxy.port, LIMIT, most=1)
    ask(store)
    pool = pool_for(store.client(), "jam:t:{aa}:x")
    assert pool is not None
    taken = pool.get_connection()
    with pytest.raises(StoreUnavailable, match="redis_pool"):
        ask(store)
    assert _errors(caplog) == 1
    assert "redis_pool" in caplog.text
    pool.release(taken)
    ask(store)


def _errors(caplog: pytest.LogCaptureFixture) -> int:
    return sum(record.levelno >= logging.ERROR for record in caplog.records)


@pytest.mark.slow
def test_the_wait_for_a_connection_and_the_question_have_one_deadline(
    store_at: MakeStore, proxy: Proxy
) -> None:
    store = store_at(proxy.port, LIMIT, most=1)
    ask(store)
    proxy.freeze()
    began = time.monotonic()
    answers = at_once(8, lambda: _outcome(store))
    assert all(isinstance(answer, StoreUnavailable) for answer in answers)
    assert time.monotonic() - began < LIMIT + 0.5


def test_a_unix_socket_has_the_same_pool(store_at: MakeStore) -> None:
    with RedisServer(unix=True) as server:
        store = store_at(server.url, most=2)
        assert at_once(30, lambda: _outcome(store)) == [None] * 30
        assert len(_clients(server)) <= 2


def _clients(server: RedisServer) -> list[Any]:
    """The connections of clients that are not the one that looks."""
    looking = server.client()
    own = looking.client_id()
    others = [each for each in looking.client_list(_type="normal") if int(each["id"]) != own]
    return [each for each in others if not each["name"].startswith("sentinel")]


def test_each_node_of_a_cluster_has_a_pool_of_its_own(
    store_at: MakeStore, three_nodes: RedisCluster
) -> None:
    store = store_at(three_nodes.url, most=2)
    places = [place_on(node) for node in range(3)]
    for place in places:
        ask(store, place)
    assert at_once(30, lambda: [_outcome(store, place) for place in places]) == [[None] * 3] * 30
    pools = {id(pool_for(store.client(), f"jam:t:{{{place}}}:x")) for place in places}
    assert len(pools) == 3
    for place in places:
        pool = pool_for(store.client(), f"jam:t:{{{place}}}:x")
        assert pool is not None
        assert pool.max_connections == 2


def place_on(node: int) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz"
    places = (one + two for one in letters for two in letters)
    return next(place for place in places if key_slot(place.encode()) * 3 // 16_384 == node)


def test_the_primary_that_a_sentinel_names_has_the_same_pool(store_at: MakeStore) -> None:
    with RedisServer() as server, Sentinel(options=watching(server.port)) as sentinel:
        store = store_at(f"redis+sentinel://{HOST}:{sentinel.port}/shop", most=2)
        assert at_once(30, lambda: _outcome(store)) == [None] * 30
        assert len(_clients(server)) <= 2
        # Also the link to the Sentinel has been idle for too long.
        for each in (server, sentinel):
            each.client().client_kill_filter(_type="normal", skipme=True)
        assert outcomes(store, 5) == [None] * 5


def test_the_pool_of_a_fork_is_its_own_and_whole(store_at: MakeStore, server: RedisServer) -> None:
    store = store_at(server.port, most=2)
    ask(store)
    pool = pool_for(store.client(), "jam:t:{aa}:x")
    assert pool is not None
    taken = [pool.get_connection() for _ in range(2)]  # none is free when the fork happens

    def answers() -> bool:
        # The parent's connections must not fill a place here, nor be used.
        pool.release(taken[0])
        return at_once(4, lambda: _outcome(store)) == [None] * 4

    assert servers.holds_in_fork(answers)
    for connection in taken:
        pool.release(connection)
    ask(store)


@each_case("broken", [KeyboardInterrupt, SystemExit, redis.ResponseError])
def test_an_interrupted_question_leaves_no_reply_for_the_next_one(
    store_at: MakeStore, server: RedisServer, broken: type[BaseException]
) -> None:
    store = store_at(server.port, most=1)
    ask(store)
    pool = pool_for(store.client(), "jam:t:{aa}:x")
    assert pool is not None
    connection = pool.get_connection()
    connection.send_command("SET", "somebody", "elses")  # and nobody reads the reply
    with contextlib.suppress(broken):
        try:
            raise broken
        finally:
            pool.release(connection)
    assert pool.ask(b"*1\r\n$4\r\nPING\r\n", 1) == [b"PONG"]


def test_a_place_is_given_back_when_connecting_fails(store_at: MakeStore, proxy: Proxy) -> None:
    store = store_at(proxy.port, LIMIT, most=2)
    proxy.refuse()
    assert None not in outcomes(store, 10)
    proxy.accept()
    assert outcomes(store, 10) == [None] * 10


def test_what_redis_py_does_when_a_node_fails_closes_no_connection_in_use(
    store_at: MakeStore, proxy: Proxy
) -> None:
    store = store_at(proxy.port)
    login(store, 0)
    pool = pool_for(store.client(), "jam:s:{aa}:x")
    assert pool is not None
    (idle,) = [each for each in pool.pool.queue if each is not None]
    outcomes: list[BaseException | None] = []
    asking = threading.Thread(target=lambda: outcomes.append(login(store, 1)))
    disconnect, proxy.delay = idle.disconnect, 0.2

    def meanwhile_taken() -> None:
        idle.disconnect = disconnect
        asking.start()
        time.sleep(0.1)
        disconnect()

    idle.disconnect = meanwhile_taken
    pool.update_active_connections_for_reconnect()
    pool.disconnect_free_connections()
    asking.join()
    assert outcomes == [None]


def test_a_store_that_is_closed_while_it_is_asked_is_a_503_at_most(
    store_at: MakeStore, proxy: Proxy
) -> None:
    store = store_at(proxy.port, most=4)
    proxy.delay = 0.005
    stop = threading.Event()

    def close_again_and_again() -> None:
        while not stop.wait(0.002):
            store.close()

    closing = threading.Thread(target=close_again_and_again)
    closing.start()
    try:
        at_once(8, lambda: outcomes(store, 20))  # another error would end the thread: see below
    finally:
        stop.set()
        closing.join()
    assert outcomes(store, 3) == [None] * 3


# --- connections that the network forgot ------------------------------------------------------


def test_idle_connections_that_are_reset_when_used_cost_no_503(
    store_at: MakeStore, proxy: Proxy
) -> None:
    store = store_at(proxy.port)
    idle_connections(store, 12)
    assert proxy.links == 12
    proxy.reset_when_used()
    assert outcomes(store, 20) == [None] * 20
    assert at_once(12, lambda: _outcome(store)) == [None] * 12


def test_idle_connections_that_went_silent_cost_one_503_in_all(
    store_at: MakeStore, proxy: Proxy
) -> None:
    store = store_at(proxy.port, LIMIT)
    idle_connections(store, 12)
    proxy.mute()
    # Without the first one's failure, each of the others would wait for a dead connection.
    assert isinstance(_outcome(store), StoreUnavailable)
    assert at_once(12, lambda: _outcome(store)) == [None] * 12
    assert outcomes(store, 5) == [None] * 5


def test_connections_that_the_server_closed_cost_no_503(
    store_at: MakeStore, server: RedisServer
) -> None:
    store = store_at(server.port)
    idle_connections(store, 12)
    server.client().client_kill_filter(_type="normal", skipme=True)
    assert outcomes(store, 20) == [None] * 20


def login(store: RedisStore, number: int) -> BaseException | None:
    """A write that must not be sent twice: if it came late, it would undo a logout."""
    now = time.time()
    try:
        assert store.create_session(at(f"k{number}"), a_session(now))
    except StoreUnavailable as error:
        return error
    return None


@pytest.mark.parametrize("reset", [True, False])
def test_writes_after_a_pause_detect_dead_connections_first(
    store_at: MakeStore, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, reset: bool
) -> None:
    monkeypatch.setattr(redis_internals, "_TRUSTED", 0.0)
    store = store_at(proxy.port, LIMIT if not reset else PATIENT)
    idle_connections(store, 12)
    proxy.reset_when_used() if reset else proxy.mute()
    outcomes = [login(store, number) for number in range(20)]
    assert len([outcome for outcome in outcomes if outcome]) == (0 if reset else 1)
    assert at_once(12, lambda: login(store, 99)) == [None] * 12


def test_writes_find_out_at_once_that_the_server_closed_their_connections(
    store_at: MakeStore, server: RedisServer
) -> None:
    store = store_at(server.port)
    idle_connections(store, 12)
    server.client().client_kill_filter(_type="normal", skipme=True)
    assert [login(store, number) for number in range(20)] == [None] * 20


def test_a_write_whose_link_fails_under_way_is_not_sent_again(
    store_at: MakeStore, proxy: Proxy
) -> None:
    store = store_at(proxy.port)
    login(store, 0)
    proxy.swallow_replies(b"EVALSHA")
    assert isinstance(login(store, 1), StoreUnavailable)
    assert proxy.swallowed == 1


def test_a_write_to_a_cluster_whose_link_fails_under_way_is_not_sent_again(
    store_at: MakeStore,
) -> None:
    with behind_proxies() as proxies:
        store = store_at(f"redis+cluster://{HOST}:{proxies[0].port}")
        assert login(store, 0) is None
        for proxy in proxies:
            proxy.swallow_replies(b"EVALSHA", count=2)
        assert isinstance(login(store, 1), StoreUnavailable)
        assert sum(proxy.swallowed for proxy in proxies) == 1
        for proxy in proxies:
            proxy.swallow_replies(count=0)
        assert login(store, 2) is None


def test_a_server_that_refuses_is_asked_twice_and_no_more(
    store_at: MakeStore, proxy: Proxy
) -> None:
    store = store_at(proxy.port)
    ask(store)
    proxy.swallow_replies(count=1000)
    assert isinstance(_outcome(store), StoreUnavailable)
    assert proxy.swallowed == 2
    proxy.swallow_replies(count=0)
    ask(store)


def test_a_wrong_password_is_not_asked_again(store_at: MakeStore) -> None:
    with RedisServer(password="right-password") as server:
        store = store_at(f"redis://:wrong@{HOST}:{server.port}")
        assert isinstance(_outcome(store), StoreUnavailable)
        stat = server.client().info("errorstats")["errorstat_WRONGPASS"]
        assert str(stat) in ("{'count': 1}", "count=1")


def test_a_client_of_the_users_own_is_not_asked_twice(proxy: Proxy) -> None:
    client = redis.Redis(host=HOST, port=proxy.port, retry=None)
    store = RedisStore(client)
    ask(store)
    proxy.swallow_replies(count=1)
    expected = pytest.raises(StoreUnavailable)
    if client.connection_pool.connection_kwargs.get("retry") is not None:
        expected = contextlib.nullcontext()  # type: ignore[assignment] - its own retries
    with expected:
        ask(store)
    client.close()


@contextlib.contextmanager
def behind_proxies() -> Iterator[list[Proxy]]:
    """A cluster of which each node says that it is where its proxy is."""
    for attempt in range(3):
        with contextlib.ExitStack() as stack:
            try:
                proxies = _cluster_behind_proxies(stack)
            except RuntimeError:  # a port was taken meanwhile
                if attempt == 2:
                    raise
                continue
            yield proxies
        return


def _cluster_behind_proxies(stack: contextlib.ExitStack) -> list[Proxy]:
    cluster = RedisCluster()
    proxies = [stack.enter_context(Proxy(servers._free_port())) for _ in cluster.nodes]
    for node, proxy in zip(cluster.nodes, proxies, strict=True):
        announced = ("--cluster-announce-port", str(proxy.port))
        node.port, node._port_is_given = proxy.target_port, True
        node._options = (*node._options, *announced)
    stack.enter_context(cluster)
    return proxies


def test_forgotten_connections_to_a_cluster_cost_at_most_one_503_each_time(
    store_at: MakeStore,
) -> None:
    with behind_proxies() as proxies:
        store = store_at(f"redis+cluster://{HOST}:{proxies[0].port}", 1.0)
        for reset, allowed in ((True, 0), (False, 1)):
            for node in range(3):
                idle_connections(store, 4, place_on(node))
            for proxy in proxies:
                proxy.reset_when_used() if reset else proxy.mute()
            answers = [_outcome(store, place_on(each % 3)) for each in range(24)]
            assert 24 - answers.count(None) <= allowed
        store.close()
    # redis-py drops the nodes of an old map with their connections: the collector closes these.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del store
        gc.collect()


def test_only_own_connections_are_pooled_in_this_way() -> None:
    client = redis.Redis(host=HOST, port=1)
    assert pool_for(client, "jam:t:{aa}:x") is None
    assert not isinstance(client.connection_pool, Pool)
