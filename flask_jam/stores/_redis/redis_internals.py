"""Every use of redis-py beyond its public API. Seen in redis-py 5.0 to 8.1.

redis-py retries a failed command up to ten times and has a timeout for each packet, so that a slow
server costs 2.8 to 60 s a request (measured with 8.0). These connections keep one deadline for a
whole question, connecting and TLS included. The newest release of redis-py is a CI leg of its own.
"""
# The newest release that this leg has passed on: 8.1.0.

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from queue import Empty, Full
from typing import Any

from redis.backoff import NoBackoff
from redis.connection import (
    BlockingConnectionPool,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.exceptions import ConnectionError as LinkError
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry
from redis.sentinel import (
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from ..._helpers.deadline import time_left
from .name_lookup import addresses_of

# Half of redis-py has no types; which half changes with its version.
_blocking_pool: Any = BlockingConnectionPool
_sentinel_pool: Any = SentinelConnectionPool
_tcp: Any = Connection


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
        wanted = time_left(usual)
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
            return time_left(self._socket_timeout)

        @socket_connect_timeout.setter
        def socket_connect_timeout(self, _value: Any) -> None:
            pass

        @property
        def socket_timeout(self) -> Any:
            return (
                self._socket_timeout if self._sock is not None else time_left(self._socket_timeout)
            )

        @socket_timeout.setter
        def socket_timeout(self, value: Any) -> None:
            self._socket_timeout = value

        def _connect(self) -> Any:
            timely = _Timely(super()._connect())
            timely.settimeout(self._socket_timeout)
            return timely

        def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
            self.owes_reply = True
            super().send_packed_command(*args, **kwargs)

        def read_response(self, *args: Any, **kwargs: Any) -> Any:
            try:
                response = super().read_response(*args, **kwargs)
            except ResponseError:
                self.owes_reply = False
                raise
            self.owes_reply = False
            return response

    return Hurried


class _Resolving(_tcp):  # type: ignore[misc]
    """A TCP connection whose host name is resolved within the deadline, too."""

    host: Any

    def _connect(self) -> Any:
        # TLS is begun above this, with the name.
        name, error = self.host, OSError("the host has no address")
        try:
            for address in addresses_of(name, self._socket_timeout):
                self.host = address
                try:
                    return super()._connect()
                except OSError as failed:
                    error = failed
            raise error
        finally:
            self.host = name
            del error  # it refers to this frame, and so would keep the connection


def _resolving(kind: Any) -> Any:
    class Resolving(kind, _Resolving):  # type: ignore[misc]
        pass

    return Resolving


PLAIN = _hurried(_Resolving)
SECURE = _hurried(_resolving(SSLConnection))
LOCAL = _hurried(UnixDomainSocketConnection)
FOUND = _hurried(_resolving(SentinelManagedConnection))
FOUND_SECURE = _hurried(_resolving(SentinelManagedSSLConnection))


# --- pools: redis-py's raise when they are empty, or wait for a time of their own --------------


#: Seconds for which an idle connection is taken for alive.
_TRUSTED = 1.0


class PoolExhaustedError(RedisError):
    """Every connection of the pool was in use until the deadline."""


class _Turn:
    """One thread that waits for a free place."""

    __slots__ = ("came", "place")

    def __init__(self) -> None:
        self.place: Any = None
        self.came = threading.Lock()
        self.came.acquire()


class _Free:
    """The free places of a pool: who finds none waits, but not past the deadline.

    The place that was given back last is taken first, and who has waited longest is given the next
    one. A queue of the standard library lets others take it before: of 130 threads on 50
    connections, each free after 5 ms, one question in thirty got none. gevent has another queue.
    """

    def __init__(self, maxsize: int) -> None:
        #: What redis-py and :func:`pool_use` look at.
        self.queue: list[Any] = []
        self._maxsize = maxsize
        self._line: deque[_Turn] = deque()
        self._lock = threading.Lock()

    def qsize(self) -> int:
        return len(self.queue)

    def get_nowait(self) -> Any:
        with self._lock:
            if not self.queue:
                raise Empty
            return self.queue.pop()

    def get(self, timeout: float) -> Any:
        with self._lock:
            if self.queue:
                return self.queue.pop()
            seconds, turn = time_left(timeout), _Turn()
            self._line.append(turn)
        try:
            if not turn.came.acquire(timeout=seconds):
                raise PoolExhaustedError
        except BaseException:
            self._leave(turn)
            raise
        return turn.place

    def put_nowait(self, place: Any) -> None:
        with self._lock:
            self._give(place)

    def _give(self, place: Any) -> None:
        if self._line:
            turn = self._line.popleft()
            turn.place = place
            turn.came.release()
        elif len(self.queue) < self._maxsize:
            self.queue.append(place)
        else:
            raise Full

    def _leave(self, turn: _Turn) -> None:
        with self._lock:
            if turn in self._line:
                self._line.remove(turn)
            else:  # it was given one just now
                self._give(turn.place)


class Pool(_blocking_pool):  # type: ignore[misc]
    """At most ``max_connections`` connections; a question that finds none free waits."""

    #: A connection that was taken in an earlier one is closed when it is released.
    _era = 0

    def __init__(self, **options: Any) -> None:
        super().__init__(timeout=options["socket_timeout"], queue_class=_Free, **options)

    def get_connection(self, *_command: Any, **_options: Any) -> Any:
        connection = self._take()
        try:
            self._make_sure(connection)
        except BaseException:
            connection.disconnect()
            self.release(connection)
            raise
        return connection

    def _take(self) -> Any:
        self._checkpid()
        connection = self.pool.get(timeout=self.timeout)
        try:
            if connection is None:
                connection = self.make_connection()
            if connection._sock is None:
                connection.connect()
                connection.used_at = time.monotonic()
            connection.owes_reply, connection.era = False, self._era
        except BaseException:
            if connection is not None:
                connection.disconnect()
            self.pool.put_nowait(connection)
            raise
        return connection

    def release(self, connection: Any) -> None:
        self._checkpid()
        if connection.pid != self.pid:
            return  # the parent's: this process has places of its own
        is_old = connection.era != self._era
        if connection.owes_reply or is_old or not self.owns_connection(connection):
            # The late reply to an interrupted question must not answer the next one.
            connection.disconnect()
        connection.used_at = time.monotonic()
        self.pool.put_nowait(connection)

    def _make_sure(self, connection: Any) -> None:
        """Connect anew if the network or the server has given up an idle connection.

        What must not be sent twice needs to know before it is sent.
        """
        idle = time.monotonic() - connection.used_at
        try:
            is_alive = not connection.can_read() and (idle < _TRUSTED or _is_answered(connection))
        except TimeoutError:
            raise
        except (LinkError, OSError):
            is_alive = False
        if not is_alive:
            connection.disconnect()
            self._drop_idle()
            connection.connect()
            connection.owes_reply = False

    def ask(self, commands: bytes, count: int, *, once: bool = False) -> list[Any]:
        """Send packed commands; return their replies, in which errors are values.

        :param once: they must not be sent again if the link fails.
        """
        connection = self.get_connection() if once else self._take()
        connection.owes_reply = True
        try:
            connection._sock.sendall(commands)
            read = connection._parser.read_response
            replies = [read() for _ in range(count)]
            connection.owes_reply = False
        except TimeoutError:
            raise
        except OSError as error:
            raise LinkError(str(error)) from error
        finally:
            self.release(connection)
        return replies

    def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the idle connections now, and those in use when they are released.

        To close a connection that another thread is using, or just opening, could lose its socket.
        """
        self._checkpid()
        self._era += inuse_connections
        self._drop_idle()

    # What redis-py calls when the link to a node of a cluster has failed. Its own close connections
    # that another thread has just taken.

    def update_active_connections_for_reconnect(self, *_args: Any, **_options: Any) -> None:
        """Have the connections in use closed when they are released."""
        self._era += 1

    def disconnect_free_connections(self, *_args: Any, **_options: Any) -> None:
        """Close the idle connections."""
        self._drop_idle()

    def _drop_idle(self) -> None:
        # Taken out first: no other thread may be given one that is just being closed.
        places = []
        with suppress(Empty):
            while True:
                places.append(self.pool.get_nowait())
        for connection in reversed(places):
            if connection is not None:
                connection.disconnect()
            self.pool.put_nowait(connection)


def _is_answered(connection: Any) -> bool:
    connection.send_command("PING", check_health=False)
    return connection.read_response() in (b"PONG", "PONG")


class SentinelPool(_sentinel_pool, Pool):  # type: ignore[misc]
    """A :class:`Pool` of connections to the primary that the Sentinels name."""

    def __init__(self, service: str, sentinel: Any, **options: Any) -> None:
        super().__init__(service_name=service, sentinel_manager=sentinel, **options)


def packed(*commands: Sequence[str]) -> bytes:
    """Return commands in the form in which they are sent."""
    parts = []
    for command in commands:
        parts.append(f"*{len(command)}\r\n")
        for argument in command:
            parts.append(f"${len(argument)}\r\n{argument}\r\n")
    text = "".join(parts)
    if text.isascii():
        return text.encode()
    return b"".join([packed_command(*command) for command in commands])


def packed_command(*command: Any) -> bytes:
    """Return a command of any arguments in the form in which it is sent."""
    raw = [part if isinstance(part, bytes) else str(part).encode() for part in command]
    return b"*%d\r\n" % len(raw) + b"".join([b"$%d\r\n%b\r\n" % (len(r), r) for r in raw])


def pool_for(client: Any, key: str) -> Pool | None:
    """Return the pool of the server that has a key; None if the client is not the package's."""
    pool = getattr(client, "connection_pool", None)
    if pool is None and is_cluster(client):
        node = client.get_redis_connection(client.get_node_from_key(key))
        pool = node.connection_pool
    return pool if isinstance(pool, Pool) else None


def run_on_cluster(client: Any, key: str, *command: Any, once: bool) -> Any:
    """Have a cluster's client run a command: it follows slots that have moved.

    :param once: it must not be sent again if the link fails. A client of the user's own has its
        own retries.
    """
    if once and pool_for(client, key) is not None:
        # Given the node, it retries nothing.
        return client.execute_command(*command, target_nodes=client.get_node_from_key(key))
    return client.execute_command(*command)


def is_cluster(client: Any) -> bool:
    return hasattr(client, "nodes_manager")


def disconnect(client: Any, *, inuse: bool = True) -> None:
    """Close the connections of a client; it connects anew when it is asked."""
    for pool in _pools_of(client):
        if inuse:
            pool.disconnect()
        else:
            with suppress(TypeError):  # a pool of redis-py 5 to 7 that waits cannot do that
                pool.disconnect(inuse_connections=False)


def _pools_of(client: Any) -> Iterator[Any]:
    if is_cluster(client):
        manager = client.nodes_manager
        for node in [*manager.nodes_cache.values(), *manager.startup_nodes.values()]:
            if node.redis_connection is not None:
                yield node.redis_connection.connection_pool
        return
    pool = client.connection_pool
    yield pool
    if isinstance(pool, SentinelPool):
        for sentinel in pool.sentinel_manager.sentinels:
            yield sentinel.connection_pool


def primaries(client: Any) -> Mapping[str, Any]:
    """The pool of each server that takes writes, by a name."""
    if not hasattr(client, "get_primaries"):
        return {"": client.connection_pool}
    nodes = {node.name: client.get_redis_connection(node) for node in client.get_primaries()}
    return {name: node.connection_pool for name, node in nodes.items()}


#: How a lock of a type is made.
_NEW_LOCK: dict[type, Callable[[], Any]] = {
    type(threading.Lock()): threading.Lock,
    type(threading.RLock()): threading.RLock,
}


def free_locks(client: Any) -> None:
    """Give a client new locks, in a child: the threads that held them stayed with the parent.

    redis-py connects anew in a child, but since 8.0 it takes a lock of the parent's for that: of
    children that were forked while four threads asked, a third waited for ever.
    """
    fresh: dict[int, Any] = {}
    for owner in _parts_of(client):
        for name, value in list(vars(owner).items()):
            make = _NEW_LOCK.get(type(value))
            if make is not None:
                # Two objects may share a lock.
                setattr(owner, name, fresh.setdefault(id(value), make()))


def _parts_of(client: Any) -> list[Any]:
    """Return a client, its pools, nodes and whatever else of redis-py it is made of."""
    parts, seen, left = [], set(), [client]
    while left:
        each = left.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, (list, tuple, set)):
            left.extend(each)
        elif isinstance(each, dict):
            left.extend(each.values())
        elif _is_of_redis(each):
            parts.append(each)
            left.extend(vars(each).values())
    return parts


def _is_of_redis(each: Any) -> bool:
    package = type(each).__module__.partition(".")[0]
    return package in ("redis", "flask_jam") and hasattr(each, "__dict__")


def pool_use(client: Any) -> dict[str, int | None]:
    """Count the connections in use, the idle ones and the most that a client may have.

    What a pool does not tell, as one of the user's own may not, is None.
    """
    counts = [_use_of(pool) for pool in primaries(client).values()] if client is not None else []
    names = ("in_use", "idle", "limit")
    return {name: _sum(each[at] for each in counts) for at, name in enumerate(names)}


def _use_of(pool: Any) -> tuple[int | None, int | None, int | None]:
    limit: Any = getattr(pool, "max_connections", None)
    places = getattr(getattr(pool, "pool", None), "queue", None)
    if places is not None:  # one that blocks: a free place is None or an idle connection
        free = list(places)
        return limit - len(free), sum(each is not None for each in free), limit
    used = getattr(pool, "_in_use_connections", None)
    idle = getattr(pool, "_available_connections", None)
    counts = [None if each is None else len(each) for each in (used, idle)]
    return counts[0], counts[1], limit


def _sum(counts: Iterable[int | None]) -> int | None:
    known = list(counts)
    return None if None in known else sum(count or 0 for count in known)


def learn_servers(cluster: Any) -> None:
    """Ask a cluster again which servers it has; its client only does so after a failed command."""
    cluster.nodes_manager.initialize()


# --- the link of the near cache: two bare connections, as redis-py has no client-side caching ---
# --- that survives RESP2, a cluster and a fork -------------------------------------------------


def connection_of(pool: Any, silence: float) -> Any:
    said = {
        name: value
        for name, value in pool.connection_kwargs.items()
        if not name.startswith(("maint_", "oss_cluster_maint"))
    }
    own = {
        "protocol": 2,
        "decode_responses": False,
        "health_check_interval": 0,
        "socket_timeout": silence,
        "retry": Retry(NoBackoff(), 0),
    }
    return pool.connection_class(**{**said, **own})


def primaries_of(slots: Any, own: str) -> set[str]:
    """Whom a node says to be in charge of slots; of itself it may not know the address."""
    host = own.rpartition(":")[0]
    return {f"{row[2][0].decode() if row[2][0] else host}:{row[2][1]}" for row in slots}


def ask(connection: Any, *command: Any) -> Any:
    connection.send_command(*command)
    return connection.read_response()
