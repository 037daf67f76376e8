"""``jam.stats()`` and ``jam.ready()``: what operators see of a store, on real servers."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from flask import Flask
from redis import exceptions

from flask_jam import Jam, JWTExtension, StoreUnavailable, jwt_required, public
from flask_jam.stores._redis.meter import BOUNDS, CAUSES, Meter, cause_of, verb_of
from flask_jam.stores._redis.scripts import READ_SESSION, ROTATE_FAMILY
from flask_jam.stores.memory import MemoryStore
from flask_jam.stores.redis import FAILURES, RedisStore

from .. import servers
from ..conftest import SECRET, bearer
from ..servers import HOST, RedisCluster, RedisServer

KEY = {"secret_key": SECRET}


#: What a test has opened: closed behind it.
OPEN: list[Any] = []


def jam_on(url: Any, **settings: Any) -> Jam:
    jam = Jam({"jwt": KEY, "redis_url": url, "redis_timeout": 5, **settings})
    OPEN.append(jam.store)
    return jam


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    yield
    while OPEN:
        opened = OPEN.pop()
        (opened.disconnect if isinstance(opened, redis.ConnectionPool) else opened.close)()


# --- without a server ------------------------------------------------------------------------


def test_stats_are_groups_of_plain_values(jam: Jam) -> None:
    token = jam.issue_tokens("alice")["access_token"]
    jam.create_session("alice", {"n": 1})
    for _ in range(3):
        jam.verify_jwt_token(token)
    jam.revoke_token(token)
    assert jam.stats() == {
        "token_cache": {"hits": 2, "misses": 1, "size": 1, "limit": 10_000},
        "store": {"kind": "memory", "sessions": 1, "families": 1, "api_keys": 0, "marks": 1},
    }
    assert json.loads(json.dumps(jam.stats())) == jam.stats()


def test_a_memory_store_is_ready(jam: Jam) -> None:
    assert jam.ready() is True


class Other:
    """A store of another kind, that is down if it is told so."""

    def __init__(self) -> None:
        self.down = False
        self._inside = MemoryStore()

    def standing(self, slot: str, subject: str, now: float) -> Any:
        if self.down:
            raise StoreUnavailable
        return self._inside.standing(slot, subject, now)

    def __getattr__(self, name: str) -> Any:
        if name == "stats":
            raise AttributeError(name)
        return getattr(self._inside, name)


def test_a_store_of_your_own_needs_no_verb_for_operations() -> None:
    store: Any = Other()
    jam = Jam({"jwt": KEY}, store=store)
    assert jam.ready() is True
    store.down = True
    assert jam.ready() is False
    assert jam.stats()["store"] == {"kind": "Other"}


def test_a_bucket_holds_what_took_at_most_its_bound() -> None:
    meter = Meter()
    for seconds in (0.0, 0.001, 0.00101, 0.25, 0.2501, 99.0):
        meter._count(seconds)
    stats = meter.stats()
    buckets = stats["latency"]
    assert list(buckets) == [str(bound) for bound in BOUNDS] + ["+Inf"]
    counts = [buckets[name] for name in ("0.0005", "0.001", "0.0025", "0.25", "0.5", "2.5")]
    assert counts == [1, 2, 3, 4, 5, 5]
    assert buckets["+Inf"] == stats["store"]["questions"] == 6
    assert stats["store"]["seconds"] == pytest.approx(99.50211)


def test_each_failure_of_redis_has_one_cause() -> None:
    causes = {
        "timeout": [TimeoutError(), exceptions.TimeoutError(), TimeoutError()],
        "connection": [
            ConnectionError(), OSError(), exceptions.ConnectionError("Connection closed"),
            exceptions.RedisClusterException(), exceptions.RedisError(),
            exceptions.ChildDeadlockedError(),
        ],
        "pool": [
            exceptions.ConnectionError("Too many connections"),
            exceptions.ConnectionError("No connection available."),
        ],
        "refused": [
            exceptions.ResponseError("OOM"), exceptions.ReadOnlyError(),
            exceptions.NoPermissionError(), exceptions.AuthenticationError(),
            exceptions.BusyLoadingError(), exceptions.ClusterDownError("down"),
        ],
        "unreadable": [ValueError(), RecursionError(), exceptions.InvalidResponse()],
    }  # fmt: skip
    assert list(causes) == list(CAUSES)
    for cause, errors in causes.items():
        for error in errors:
            assert isinstance(error, FAILURES)
            assert cause_of(error) == cause, repr(error)


def test_a_verb_in_the_log_is_the_name_of_its_step() -> None:
    assert verb_of(READ_SESSION) == "read_session"
    assert verb_of(ROTATE_FAMILY) == "rotate_family"
    assert verb_of("return 'of no one'") == "a step"


def test_stats_before_the_first_question_connect_to_nothing() -> None:
    stats = jam_on(f"redis://{HOST}:1/0").stats()
    assert stats["store"] == {"kind": "redis", "questions": 0, "seconds": 0.0, "down": False}
    assert stats["failures"] == dict.fromkeys(CAUSES, 0)
    assert stats["pool"] == {"in_use": 0, "idle": 0, "limit": 0}
    assert stats["near_cache"] == {
        "hits": 0, "misses": 0, "tokens": 0, "sessions": 0, "api_keys": 0, "session_bytes": 0,
        "link": "idle", "age": None, "losses": 0,
    }  # fmt: skip


# --- on a server -----------------------------------------------------------------------------


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def empty_server(redis_server: RedisServer) -> RedisServer:
    """The shared server, empty."""
    redis_server.flush()
    return redis_server


def warm(jam: Jam, token: str) -> None:
    """Read until the near cache answers by itself."""

    def is_warm() -> bool:
        before = jam.stats()["store"]["questions"]
        jam.verify_jwt_token(token)
        return bool(jam.stats()["store"]["questions"] == before)

    servers._until(is_warm, "the near cache is warm", 5)


@pytest.mark.redis
def test_each_read_is_a_hit_or_a_miss_and_only_a_miss_asks(empty_server: RedisServer) -> None:
    jam = jam_on(empty_server.url)
    token, session_id = jam.issue_tokens("alice")["access_token"], jam.create_session("alice", {})
    warm(jam, token)
    jam.get_session(session_id)
    before = jam.stats()
    for _ in range(5):
        jam.verify_jwt_token(token)
        jam.get_session(session_id)
    after = jam.stats()
    near = after["near_cache"]
    assert near["hits"] - before["near_cache"]["hits"] == 10
    assert near["misses"] == before["near_cache"]["misses"]
    assert after["store"]["questions"] == before["store"]["questions"]
    assert (near["tokens"], near["sessions"], near["link"]) == (1, 1, "up")
    assert near["session_bytes"] > 1000
    assert 0 <= near["age"] < 1
    jam.get_session("A" * 45)
    assert jam.stats()["near_cache"]["misses"] == near["misses"] + 1
    assert jam.stats()["store"]["questions"] == after["store"]["questions"] + 1
    jam.verify_jwt_token(jam.gen_jwt_token({"sub": "bob"}))  # minting asks as well
    assert jam.stats()["near_cache"]["misses"] == near["misses"] + 2
    assert jam.stats()["near_cache"]["hits"] == near["hits"]


@pytest.mark.redis
def test_questions_of_many_threads_are_all_counted(empty_server: RedisServer) -> None:
    jam = jam_on(empty_server.url, near_cache=False)
    assert jam.get_session("A" * 45) is None
    before = jam.stats()["store"]["questions"]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(jam.get_session, ["A" * 45] * 400))
    stats = jam.stats()
    assert stats["store"]["questions"] == stats["latency"]["+Inf"] == before + 400
    assert stats["pool"]["in_use"] == 0
    assert 1 <= stats["pool"]["idle"] <= 8
    assert "near_cache" not in stats


@contextmanager
def holding_a_connection(client: Any) -> Iterator[None]:
    """A pipeline that watches a key keeps its connection."""
    with client.pipeline() as pipeline:
        pipeline.watch("of no one")
        yield


@pytest.mark.redis
def test_the_pool_counts_connections_in_use(empty_server: RedisServer) -> None:
    for kind in (redis.ConnectionPool, redis.BlockingConnectionPool):
        pool: Any = kind(host=HOST, port=empty_server.port, max_connections=5, protocol=2)
        client = redis.Redis(connection_pool=pool)
        jam = Jam({"jwt": KEY}, store=RedisStore(client))
        assert jam.ready()
        assert jam.stats()["pool"] == {"in_use": 0, "idle": 1, "limit": 5}
        with holding_a_connection(client):
            assert jam.stats()["pool"] == {"in_use": 1, "idle": 0, "limit": 5}
        pool.disconnect()


@pytest.mark.redis
def test_a_pool_that_tells_nothing_is_no_error(empty_server: RedisServer) -> None:
    client = redis.Redis(host=HOST, port=empty_server.port, protocol=2)
    OPEN.append(client.connection_pool)
    jam = Jam({"jwt": KEY}, store=RedisStore(client))
    assert jam.ready()
    client.connection_pool = object()  # type: ignore[assignment]
    assert jam.stats()["pool"] == {"in_use": None, "idle": None, "limit": None}


@pytest.mark.redis
def test_a_cluster_counts_the_pools_of_all_its_nodes(three_nodes: RedisCluster) -> None:
    jam = jam_on(three_nodes.url, near_cache=False)
    for name in ("alice", "bob", "carol", "dave", "eve", "frank"):
        jam.create_session(name, {})
    pool = jam.stats()["pool"]
    assert jam.ready()
    assert pool["in_use"] == 0
    assert 1 <= pool["idle"] <= pool["limit"]
    jam.store.close()  # type: ignore[attr-defined]


def fails(jam: Jam) -> dict[str, int]:
    """Ask once, in vain; return the causes that were counted."""
    before = jam.stats()["failures"]
    with pytest.raises(StoreUnavailable):
        jam.get_session("A" * 45)
    after = jam.stats()["failures"]
    return {cause: after[cause] - before[cause] for cause in CAUSES if after[cause] > before[cause]}


@pytest.mark.redis
@pytest.mark.slow
def test_a_failure_is_counted_by_its_cause(own_server: RedisServer) -> None:
    jam = jam_on(own_server.url, redis_timeout=0.25, near_cache=False)
    assert jam.get_session("A" * 45) is None
    own_server.pause()
    assert fails(jam) == {"timeout": 1}
    own_server.resume()
    own_server.client().config_set("requirepass", "changed")
    jam.store.close()  # type: ignore[attr-defined]
    assert fails(jam) == {"refused": 1}
    own_server.kill()
    assert fails(jam) == {"connection": 1}
    stats = jam.stats()
    assert stats["store"]["down"] is True
    assert stats["latency"]["+Inf"] == stats["store"]["questions"] >= 4
    assert stats["store"]["seconds"] >= 0.25


@pytest.mark.redis
def test_an_exhausted_pool_is_a_cause_of_its_own(empty_server: RedisServer) -> None:
    client = redis.Redis(host=HOST, port=empty_server.port, max_connections=1, protocol=2)
    OPEN.append(client)
    jam = Jam({"jwt": KEY}, store=RedisStore(client))
    assert jam.ready()
    with holding_a_connection(client):
        assert fails(jam) == {"pool": 1}
    assert jam.ready()


@pytest.mark.slow
def test_what_speaks_no_redis_is_counted_as_unreadable() -> None:
    with socket.create_server((HOST, 0)) as service:

        def answer() -> None:
            connection, _ = service.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.recv(4096)

        thread = threading.Thread(target=answer)
        thread.start()
        jam = jam_on(f"redis://{HOST}:{service.getsockname()[1]}/0", near_cache=False)
        assert fails(jam) == {"unreadable": 1}
        jam.store.close()  # type: ignore[attr-defined]
        thread.join()


@pytest.mark.redis
def test_stats_name_no_subject_no_key_and_no_address(empty_server: RedisServer) -> None:
    jam = jam_on(empty_server.url)
    token = jam.issue_tokens("alice-the-subject")["access_token"]
    session_id = jam.create_session("alice-the-subject", {"secret": "of-alice"})
    warm(jam, token)
    text = json.dumps(jam.stats())
    for secret in (token, session_id, "alice", "of-alice", HOST, str(empty_server.port), "jam:"):
        assert secret not in text


@pytest.mark.redis
@pytest.mark.slow
def test_the_state_of_the_link_is_in_the_stats(own_server: RedisServer) -> None:
    jam = jam_on(own_server.url, redis_timeout=0.25, near_cache_silence=0.2)
    token = jam.issue_tokens("alice")["access_token"]
    warm(jam, token)
    own_server.kill()
    servers._until(lambda: jam.stats()["near_cache"]["link"] == "down", "it is seen as lost", 5)
    near = jam.stats()["near_cache"]
    assert (near["age"], near["losses"]) == (None, 1)
    own_server.restart()
    warm(jam, token)
    near = jam.stats()["near_cache"]
    assert (near["link"], near["losses"]) == ("up", 1)
    own_server.pause()
    servers._until(lambda: jam.stats()["near_cache"]["link"] != "up", "it is seen as silent", 5)
    own_server.resume()


# --- ready -----------------------------------------------------------------------------------


def app_on(jam: Jam) -> Flask:
    """An app with the recipe of the docs."""
    app = Flask("operated")
    JWTExtension(jam, app)

    @app.get("/live")
    @public
    def live() -> tuple[str, int]:
        return "", 204

    @app.get("/ready")
    @public
    def ready() -> tuple[str, int]:
        return "", 204 if jam.ready() else 503

    app.add_url_rule("/me", "me", jwt_required(lambda: "ok"))
    return app


@pytest.mark.redis
@pytest.mark.slow
@pytest.mark.parametrize("near", [True, False], ids=["near", "asking"])
def test_a_process_is_ready_exactly_while_redis_answers(
    own_server: RedisServer, near: bool, caplog: pytest.LogCaptureFixture
) -> None:
    jam = jam_on(own_server.url, redis_timeout=0.25, near_cache=near)
    client = app_on(jam).test_client()
    token = jam.issue_tokens("alice")["access_token"]
    if near:
        warm(jam, token)
    assert client.get("/ready").status_code == 204
    for begin, end in [
        (own_server.pause, own_server.resume),
        (own_server.kill, own_server.restart),
    ]:
        begin()
        # At once, also if the near cache could still answer by itself.
        began = time.monotonic()
        assert client.get("/ready").status_code == 503
        assert time.monotonic() - began < 0.25 + 0.25
        assert client.get("/live").status_code == 204
        end()
        servers._until(lambda: client.get("/ready").status_code == 204, "it is ready", 5)
        servers._until(
            lambda: client.get("/me", headers=bearer(token)).status_code in (200, 401),
            "it works",
            5,
        )
    time.sleep(0.6)  # so long must it hold, to count as the end
    assert client.get("/ready").status_code == 204
    asked = [record for record in caplog.records if record.getMessage().startswith("Redis does")]
    assert 1 <= len(asked) <= 2
    assert all(record.levelno == logging.ERROR for record in asked)


@pytest.mark.redis
def test_many_probes_of_a_dead_redis_are_one_line(
    own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    jam = jam_on(own_server.url, near_cache=False)
    own_server.kill()
    assert [jam.ready() for _ in range(20)] == [False] * 20
    assert len(caplog.records) == 1
    assert jam.stats()["failures"]["connection"] == 20


@pytest.mark.redis
def test_a_probe_leaves_nothing_in_redis(empty_server: RedisServer) -> None:
    assert jam_on(empty_server.url, near_cache=False).ready()
    assert empty_server.client().keys("*") == []
