"""The package's own Redis client: URL forms, one deadline per question, no silent retries.

========================================================  ==============================
``redis://[user:password@]host[:port][/db]``              one server
``rediss://...``                                          the same over TLS, verified
``unix:///path[?db=0]``                                   a socket of this machine
``redis+sentinel://host[:port],host/service[/db]``        the primary that Sentinels name
``redis+cluster://host[:port],host``                      Redis Cluster
``rediss+sentinel://``, ``rediss+cluster://``             over TLS
========================================================  ==============================

Nothing is connected here: a Redis that is down at start is a 503 later, and no reason not to
start.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import redis
import redis.cluster
import redis.sentinel
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..._helpers.deadline import answered_within, time_left
from ..._helpers.fork_lock import fork_safe_lock
from ...errors import ConfigError
from .redis_internals import FOUND, FOUND_SECURE, LOCAL, PLAIN, SECURE, Pool, SentinelPool

# Half of redis-py has no types; which half changes with its version.
_sentinel: Any = redis.sentinel
_node: Any = redis.cluster.ClusterNode

#: Seconds in which a cluster has to say who it is.
_PATIENCE = 5.0
_TLS_OPTIONS = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")
_FORMS = "redis://host:6379/0, rediss://..., unix:///path, redis+sentinel://... or redis+cluster://"


class _Patient:
    """Makes a client that asks so much that one question's time may not be enough.

    It goes on when the caller has given up: the next one may find it made.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: Any = None
        self._error: BaseException | None = None
        self._pid, self._done = 0, threading.Event()
        self._lock = fork_safe_lock()

    def __call__(self) -> Any:
        with self._lock:
            # A fork leaves the thread behind.
            idle = self._made is None and (self._done.is_set() or self._pid != os.getpid())
            if idle:
                self._pid, self._done, self._error = os.getpid(), threading.Event(), None
            done = self._done
        if idle:
            threading.Thread(target=self._run, args=(done,), daemon=True).start()
        done.wait(time_left(_PATIENCE))
        if self._made is None:
            raise self._error or TimeoutError("the cluster has not said who it is")
        return self._made

    def _run(self, done: threading.Event) -> None:
        try:
            with answered_within(_PATIENCE):
                self._made = self._make()
        except Exception as error:  # raised where it is waited for
            self._error = error
        finally:
            done.set()


class _Address(NamedTuple):
    """What a URL says."""

    tls: bool
    hosts: list[tuple[str, int]]
    path: str
    options: dict[str, Any]


def client_factory(url: str, timeout: float, most: int = 50) -> Callable[[], Any]:
    """What makes the client of a URL, when it is first needed.

    :param timeout: seconds for one question.
    :param most: connections to one server at most, those of the near cache not counted.
    :raises ConfigError: with a sentence; it never repeats the URL, which may hold a password.
    """
    try:
        parts = urlsplit(url.strip())
        make = _MAKERS[parts.scheme]
    except (KeyError, ValueError, AttributeError):
        raise ConfigError(f"redis_url: write {_FORMS}") from None
    if "#" in url or "@" in parts.path + parts.query:
        raise ConfigError(
            "redis_url: of a user name or a password, write / ? # @ : % as "
            "urllib.parse.quote(..., safe='') does"
        )
    return make(parts, {**_own_options(), "socket_timeout": timeout, "max_connections": most})


def _own_options() -> dict[str, Any]:
    # RESP2: what the near cache's link reads is the same then for every version of redis-py.
    return {"protocol": 2, "retry": Retry(NoBackoff(), 0), "socket_keepalive": True}


def _one_server(parts: SplitResult, own: dict[str, Any]) -> Callable[[], Any]:
    address = _address(parts, 6379, _TLS_OPTIONS)
    if len(address.hosts) != 1:
        raise ConfigError("redis_url: several hosts need redis+sentinel:// or redis+cluster://")
    host, port = address.hosts[0]
    said = {**address.options, "host": host, "port": port, "db": _database(address.path)}
    kind = SECURE if address.tls else PLAIN
    return lambda: redis.Redis(connection_pool=Pool(connection_class=kind, **own, **said))


def _a_socket(parts: SplitResult, own: dict[str, Any]) -> Callable[[], Any]:
    options = _credentials(parts) | _query(parts, ("db",))
    if parts.hostname or not parts.path.strip("/"):
        raise ConfigError("redis_url: write the path of the socket, such as unix:///run/redis.sock")
    own = {name: value for name, value in own.items() if name != "socket_keepalive"}
    said = {**options, "path": unquote(parts.path), "db": _database(options.pop("db", ""))}
    return lambda: redis.Redis(connection_pool=Pool(connection_class=LOCAL, **own, **said))


def _by_sentinel(parts: SplitResult, own: dict[str, Any]) -> Callable[[], Any]:
    address = _address(parts, 26379, (*_TLS_OPTIONS, *_SENTINEL_OPTIONS))
    service, _, database = address.path.strip("/").partition("/")
    if not service:
        raise ConfigError("redis_url: write the service name: redis+sentinel://host,host/mymaster")
    said = address.options
    asked = {
        name.removeprefix("sentinel_"): said.pop(name) for name in _SENTINEL_OPTIONS if name in said
    }
    asked |= {name: value for name, value in said.items() if name in _TLS_OPTIONS}
    asked |= {"ssl_cert_reqs": "required", "ssl_check_hostname": True} if address.tls else {}
    kind = SECURE if address.tls else PLAIN
    sentinel = _sentinel.Sentinel([])
    # Its own clients would have a timeout for each packet of each Sentinel.
    sentinel.sentinels = [
        redis.Redis(
            connection_pool=Pool(connection_class=kind, host=host, port=port, **own, **asked)
        )
        for host, port in address.hosts
    ]
    pool = {
        **own,
        **said,
        "db": _database(database),
        "connection_class": FOUND_SECURE if address.tls else FOUND,
    }
    return lambda: redis.Redis(connection_pool=SentinelPool(service, sentinel, **pool))


def _cluster(parts: SplitResult, own: dict[str, Any]) -> Callable[[], Any]:
    address = _address(parts, 6379, _TLS_OPTIONS)
    if address.path.strip("/"):
        raise ConfigError("redis_url: a cluster has no database numbers and no path")
    nodes = [_node(host, port) for host, port in address.hosts]
    host, port = address.hosts[0]
    kind = SECURE if address.tls else PLAIN
    said = {**own, **address.options, "connection_class": kind, "connection_pool_class": Pool}
    if int(redis.__version__.partition(".")[0]) < 6:
        said["cluster_error_retry_attempts"] = 1
    else:
        # The node that is asked first may be the one that is down. What must not be sent twice is
        # sent to a given node, and then nothing is repeated.
        said["retry"] = Retry(NoBackoff(), 1)
    # Given a URL, it makes the pools of the nodes with our class of connections.
    where = f"redis://{host}:{port}"
    return _Patient(lambda: redis.RedisCluster(url=where, startup_nodes=list(nodes), **said))


_MAKERS: dict[str, Callable[[SplitResult, dict[str, Any]], Callable[[], Any]]] = {
    "redis": _one_server,
    "rediss": _one_server,
    "unix": _a_socket,
    "redis+sentinel": _by_sentinel,
    "rediss+sentinel": _by_sentinel,
    "redis+cluster": _cluster,
    "rediss+cluster": _cluster,
}


def _address(parts: SplitResult, port: int, options: tuple[str, ...]) -> _Address:
    tls = parts.scheme.startswith("rediss")
    allowed = tuple(name for name in options if tls or name not in _TLS_OPTIONS)
    said = _credentials(parts) | _query(parts, allowed)
    if tls:
        said |= {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    names = parts.netloc.rpartition("@")[2].split(",")
    return _Address(tls, [_host(name, port) for name in names], parts.path, said)


def _host(name: str, port: int) -> tuple[str, int]:
    try:
        found = urlsplit(f"//{name}")
        host, port = found.hostname or "", port if found.port is None else found.port
    except ValueError:
        host = ""
    if not host or not port:
        # localhost must be written: guessing it would hide that a variable is empty.
        raise ConfigError("redis_url: a host or its port is missing or wrong: write host:6379")
    return host, port


def _credentials(parts: SplitResult) -> dict[str, Any]:
    before, _, _ = parts.netloc.rpartition("@")
    username, _, password = before.partition(":")
    said = {"username": unquote(username), "password": unquote(password)}
    return {name: value for name, value in said.items() if value}


def _query(parts: SplitResult, allowed: tuple[str, ...]) -> dict[str, str]:
    said = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in said:
        if name not in allowed:
            others = ", ".join(allowed) or "none"
            raise ConfigError(f"redis_url: {name[:40]} is no option here; these are: {others}")
    return said


def _database(path: str) -> int:
    number = path.strip("/")
    if number and not (number.isascii() and number.isdigit()):
        raise ConfigError("redis_url: write the number of the database, such as /0")
    return int(number or 0)
