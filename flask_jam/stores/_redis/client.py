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
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import redis
import redis.cluster
import redis.sentinel
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.retry import Retry
from redis.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection

from ..._credentials.token_cache import fork_safe_lock
from ...errors import ConfigError

# Half of redis-py has no types; which half changes with its version.
_sentinel: Any = redis.sentinel
_node: Any = redis.cluster.ClusterNode

#: When the question under way must be answered, on the monotonic clock.
_deadline: ContextVar[float | None] = ContextVar("flask_jam_deadline", default=None)

#: Seconds in which a cluster has to say who it is.
_PATIENCE = 5.0
_TLS_OPTIONS = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")
_FORMS = "redis://host:6379/0, rediss://..., unix:///path, redis+sentinel://... or redis+cluster://"


class answered_within:  # noqa: N801 - a context manager, as a class because that is faster
    """All that is asked in here, connecting included, has ``seconds`` together."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        at = None if self._seconds is None else time.monotonic() + self._seconds
        self._token = _deadline.set(at)

    def __exit__(self, *_: object) -> None:
        _deadline.reset(self._token)


def _left(usual: float) -> float:
    at = _deadline.get()
    if at is None:
        return usual
    left = at - time.monotonic()
    if left <= 0:
        # The builtin one: redis-py closes what it has opened, and calls it its own.
        raise TimeoutError("the deadline has passed")
    return left


class _Timely:
    """A socket of which no wait outlasts the deadline: a timeout of its own is for one packet."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._usual: Any = sock.gettimeout()
        self._set = self._usual

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def settimeout(self, seconds: float) -> None:
        self._usual = self._set = seconds
        self._sock.settimeout(seconds)

    def recv(self, *args: Any) -> Any:
        self._hurry()
        return self._sock.recv(*args)

    def recv_into(self, *args: Any) -> Any:
        self._hurry()
        return self._sock.recv_into(*args)

    def sendall(self, *args: Any) -> Any:
        self._hurry()
        return self._sock.sendall(*args)

    def _hurry(self) -> None:
        usual = self._usual
        if usual == 0:  # a look whether there is something
            return
        wanted = _left(usual)
        if wanted > 0.9 * usual:
            # To set the timeout of a socket is a call of the system: only where it matters.
            wanted = usual
        if wanted != self._set:
            self._set = wanted
            self._sock.settimeout(wanted)


def _hurried(kind: Any) -> Any:
    """A kind of connection that keeps to the deadline, handshake included.

    redis-py's own timeouts are per packet: a slow server with a password and a database number
    would have three of them.
    """

    class Hurried(kind):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            # To tell the server about the library costs two round trips on each connection.
            self.driver_info = self.lib_name = self.lib_version = None
            # Old versions of redis-py forget it for Unix sockets.
            self._socket_timeout = kwargs["socket_timeout"]

        @property
        def socket_connect_timeout(self) -> Any:
            """Asked for each address of a name."""
            return _left(self._socket_timeout)

        @socket_connect_timeout.setter
        def socket_connect_timeout(self, _value: Any) -> None:
            pass

        @property
        def socket_timeout(self) -> Any:
            return self._socket_timeout if self._sock is not None else _left(self._socket_timeout)

        @socket_timeout.setter
        def socket_timeout(self, value: Any) -> None:
            self._socket_timeout = value

        def _connect(self) -> Any:
            timely = _Timely(super()._connect())
            timely.settimeout(self._socket_timeout)
            return timely

    return Hurried


_PLAIN, _SECURE, _LOCAL, _FOUND, _FOUND_SECURE = map(
    _hurried,
    (
        Connection,
        SSLConnection,
        UnixDomainSocketConnection,
        SentinelManagedConnection,
        SentinelManagedSSLConnection,
    ),
)


class _Patient:
    """Makes a client that asks so much that one question's time may not be enough.

    It goes on when whoever wanted it has given up: the next one may find it made.
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
        done.wait(_left(_PATIENCE))
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


def client_factory(url: str, timeout: float) -> Callable[[], Any]:
    """What makes the client of a URL, when it is first needed.

    :param timeout: seconds for one question.
    :raises ConfigError: with a sentence; it never repeats the URL, which may hold a password.
    """
    try:
        parts = urlsplit(url.strip())
        make = _MAKERS[parts.scheme]
    except (KeyError, ValueError, AttributeError):
        raise ConfigError(f"redis_url: write {_FORMS}") from None
    if "#" in url or "@" in parts.path + parts.query:
        raise ConfigError("redis_url: of a user name or a password, write / ? # @ : % as "
                          "urllib.parse.quote(..., safe='') does")  # fmt: skip
    return make(parts, {**_own_options(), "socket_timeout": timeout})


def _own_options() -> dict[str, Any]:
    # RESP2: what the near cache's link reads is the same then for every version of redis-py.
    return {"protocol": 2, "retry": Retry(NoBackoff(), 0), "socket_keepalive": True}


def _one_server(parts: SplitResult, own: dict[str, Any]) -> Callable[[], Any]:
    address = _address(parts, 6379, _TLS_OPTIONS)
    if len(address.hosts) != 1:
        raise ConfigError("redis_url: several hosts need redis+sentinel:// or redis+cluster://")
    host, port = address.hosts[0]
    said = {**address.options, "host": host, "port": port, "db": _database(address.path)}
    kind = _SECURE if address.tls else _PLAIN
    return lambda: redis.Redis(
        connection_pool=redis.ConnectionPool(connection_class=kind, **own, **said)
    )


def _a_socket(parts: SplitResult, own: dict[str, Any]) -> Callable[[], Any]:
    options = _credentials(parts) | _query(parts, ("db",))
    if parts.hostname or not parts.path.strip("/"):
        raise ConfigError("redis_url: write the path of the socket, such as unix:///run/redis.sock")
    own = {name: value for name, value in own.items() if name != "socket_keepalive"}
    said = {**options, "path": unquote(parts.path), "db": _database(options.pop("db", ""))}
    return lambda: redis.Redis(
        connection_pool=redis.ConnectionPool(connection_class=_LOCAL, **own, **said)
    )


def _by_sentinel(parts: SplitResult, own: dict[str, Any]) -> Callable[[], Any]:
    address = _address(parts, 26379, (*_TLS_OPTIONS, *_SENTINEL_OPTIONS))
    service, _, database = address.path.strip("/").partition("/")
    if not service:
        raise ConfigError("redis_url: write the service name: redis+sentinel://host,host/mymaster")
    said = address.options
    asked = {name.removeprefix("sentinel_"): said.pop(name)
             for name in _SENTINEL_OPTIONS if name in said}  # fmt: skip
    asked |= {name: value for name, value in said.items() if name in _TLS_OPTIONS}
    asked |= {"ssl_cert_reqs": "required", "ssl_check_hostname": True} if address.tls else {}
    kind = _SECURE if address.tls else _PLAIN
    sentinel = _sentinel.Sentinel([])
    # Its own clients would have a timeout for each packet of each Sentinel.
    sentinel.sentinels = [
        redis.Redis(
            connection_pool=redis.ConnectionPool(
                connection_class=kind, host=host, port=port, **own, **asked
            )
        )
        for host, port in address.hosts
    ]
    pool = {**own, **said, "db": _database(database),
            "connection_class": _FOUND_SECURE if address.tls else _FOUND}  # fmt: skip
    return lambda: redis.Redis(
        connection_pool=_sentinel.SentinelConnectionPool(service, sentinel, **pool)
    )


def _cluster(parts: SplitResult, own: dict[str, Any]) -> Callable[[], Any]:
    address = _address(parts, 6379, _TLS_OPTIONS)
    if address.path.strip("/"):
        raise ConfigError("redis_url: a cluster has no database numbers and no path")
    nodes = [_node(host, port) for host, port in address.hosts]
    host, port = address.hosts[0]
    said = {**own, **address.options, "connection_class": _SECURE if address.tls else _PLAIN}
    if int(redis.__version__.partition(".")[0]) < 6:
        said["cluster_error_retry_attempts"] = 1
    else:
        # The node that is asked first may be the one that is down. Every step may be repeated.
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
        # Whoever means this machine says so: guessing it would hide that a variable is empty.
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


def disconnect(client: Any, *, inuse: bool = True) -> None:
    """Close the connections of a client; it connects anew when it is asked."""
    if not hasattr(client, "nodes_manager"):
        client.connection_pool.disconnect(inuse_connections=inuse)
        return
    manager = client.nodes_manager
    for node in [*manager.nodes_cache.values(), *manager.startup_nodes.values()]:
        if node.redis_connection is not None:
            node.redis_connection.connection_pool.disconnect(inuse_connections=inuse)


def primaries(client: Any) -> Mapping[str, Any]:
    """The pool of each server that takes writes, by a name."""
    if not hasattr(client, "get_primaries"):
        return {"": client.connection_pool}
    nodes = {node.name: client.get_redis_connection(node) for node in client.get_primaries()}
    return {name: node.connection_pool for name, node in nodes.items()}
