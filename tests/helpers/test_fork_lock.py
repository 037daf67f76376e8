"""A fork at any moment hangs neither the parent nor the child."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import warnings
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flask_jam import Jam
from flask_jam._helpers import fork_lock
from flask_jam._helpers.fork_lock import Gate, fork_safe_lock, start_anew_in_child
from flask_jam.stores._redis.redis_internals import _parts_of

from ..conftest import SECRET, bearer, build_app
from ..servers import RedisServer

ROOT = Path(__file__).parents[2]
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def forked(child: Any) -> int:
    """Fork; return the status of the child, which exits with 0 if ``child()`` is true."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a fork beside threads
        pid = os.fork()
    if pid == 0:
        os._exit(0 if child() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@needs_fork
def test_a_child_process_finds_every_lock_free() -> None:
    lock, held = fork_safe_lock(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            time.sleep(0.1)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    assert forked(lambda: lock.acquire(timeout=2)) == 0
    holder.join()
    assert lock.acquire(timeout=2)


@needs_fork
def test_a_fork_does_not_wait_for_a_gate_and_the_child_finds_it_open() -> None:
    gate, inside, leave = Gate(), threading.Event(), threading.Event()

    def pass_through() -> None:
        with gate.passing():
            inside.set()
            leave.wait(20)

    thread = threading.Thread(target=pass_through)
    thread.start()
    inside.wait()
    assert forked(lambda: passed_in_time(gate)) == 0
    assert thread.is_alive()
    leave.set()
    thread.join()
    assert passed_in_time(gate)


def passed_in_time(gate: Gate) -> bool:
    """Return True if a new thread gets through."""

    def pass_through() -> None:
        with gate.passing():
            pass

    thread = threading.Thread(target=pass_through, daemon=True)
    thread.start()
    thread.join(2)
    return not thread.is_alive()


@needs_fork
def test_a_child_forked_inside_a_gate_leaves_it_like_its_parent() -> None:
    gate = Gate()

    def child() -> bool:
        return passed_in_time(gate)

    with gate.passing():
        status = forked(child)
    assert status == 0
    assert passed_in_time(gate)


def test_a_gate_lets_one_thread_through_at_a_time() -> None:
    gate, inside, most = Gate(), 0, 0

    def pass_through() -> None:
        nonlocal inside, most
        for _ in range(50):
            with gate.passing():
                inside += 1
                most = max(most, inside)
                time.sleep(0)
                inside -= 1

    threads = [threading.Thread(target=pass_through) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


@needs_fork
def test_what_starts_anew_is_told_in_the_child_only() -> None:
    class Counter:
        told = 0

        def after_fork(self) -> None:
            self.told += 1

    counter = Counter()
    start_anew_in_child(counter)
    assert forked(lambda: counter.told == 1) == 0
    assert counter.told == 0


# --- no lock inside another ------------------------------------------------------------------


class Watched:
    """A lock that notes when its thread holds another one."""

    nested = 0
    taken = 0
    _holding = threading.local()

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def acquire(self, *arguments: Any) -> bool:
        Watched.taken += 1
        Watched.nested += getattr(self._holding, "count", 0)
        self._holding.count = getattr(self._holding, "count", 0) + 1
        return self._lock.acquire(*arguments)

    def release(self) -> None:
        self._holding.count -= 1
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> type[Watched]:
    """Every lock that is made by ``fork_safe_lock`` is a watched one."""
    Watched.nested = Watched.taken = 0
    real = fork_lock.Gate.__init__

    def with_its_own_lock(gate: Gate) -> None:
        # What runs inside of a gate may take locks.
        real(gate)
        gate._lock = threading.Lock()

    monkeypatch.setattr(fork_lock.Gate, "__init__", with_its_own_lock)
    monkeypatch.setattr(fork_lock, "threading", SimpleNamespace(Lock=Watched))
    return Watched


def use_everything(jam: Jam) -> None:
    client = build_app(jam).test_client()
    pair = client.post("/login/alice").json
    for _ in range(2):
        assert client.get("/jwt", headers=bearer(pair["access_token"])).status_code == 200
    assert client.post("/session-login/alice").status_code == 200
    assert client.get("/session").status_code == 200
    assert client.post("/session-refresh").status_code == 200
    refreshed = client.post("/refresh", json={"refresh_token": pair["refresh_token"]})
    assert refreshed.status_code == 200
    session_id = jam.create_session("bob", {"n": 1})
    jam.update_session(session_id, {"n": 2})
    assert len(jam.list_sessions("bob")) == 1
    jam.revoke_token(pair["access_token"])
    jam.clear_sessions("bob")
    jam.revoke_subject("alice")
    jam.verifier.cache_info()
    jam.verifier.cache_clear()


def test_no_lock_is_taken_inside_another(watched: type[Watched]) -> None:
    use_everything(Jam({"jwt": {"secret_key": SECRET}}))
    assert watched.taken > 10
    assert watched.nested == 0


@pytest.mark.redis
def test_no_lock_is_taken_inside_another_on_redis(
    watched: type[Watched], redis_server: RedisServer
) -> None:
    redis_server.flush()
    jam = Jam({"jwt": {"secret_key": SECRET}, "redis_url": redis_server.url, "redis_timeout": 10})
    use_everything(jam)
    time.sleep(0.3)  # the link of the near cache comes up
    use_everything(jam)
    jam.store.close()  # type: ignore[attr-defined]
    assert watched.taken > 10
    assert watched.nested == 0


# --- the first request -----------------------------------------------------------------------

APP = f"""
import logging, os, signal, sys, threading, time, warnings
from flask import Flask
from werkzeug.test import create_environ
from flask_jam import Jam, JWTExtension, current_auth, jwt_required
from flask_jam._request.app_state import state_of

warnings.simplefilter("ignore", DeprecationWarning)
signal.alarm(55)  # what hangs is killed, and its parent sees that

class Who(logging.Handler):
    '''As many logs do, it writes who is asking, which takes locks.'''
    def emit(self, record):
        current_auth()

logging.getLogger("flask_jam").addHandler(Who())
logging.getLogger("flask_jam").propagate = False

def app_of():
    jam = Jam({{"jwt": {{"secret_key": {SECRET!r}}}}})
    app = Flask("forking")
    JWTExtension(jam, app)
    app.add_url_rule("/", "me", jwt_required(lambda: "ok"))
    token = jam.issue_tokens("alice")["access_token"]
    app.url_map.update()  # Werkzeug's own lock, which a child may find taken
    return app, token

# Made here: the test client would import what a server does not need, and a fork within an import
# hangs a child whatever it holds.
ENVIRON = {{**create_environ("/"), "wsgi.multiprocess": True}}  # of several processes: it warns

def get(app, token):
    statuses = []
    environ = {{**ENVIRON, "HTTP_AUTHORIZATION": "Bearer " + token}}
    b"".join(app(environ, lambda status, headers, *_: statuses.append(status)))
    return int(statuses[0][:3])

def forked(app, token):
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        os._exit(0 if get(app, token) == 200 else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""

#: A check of the first request waits for the fork, then takes each kind of lock there is.
DURING_A_CHECK = (
    APP
    + """
checking, forking = threading.Event(), threading.Event()
os.register_at_fork(before=forking.set)  # the last one registered is called first

def slow_check(state):
    if threading.current_thread() is threading.main_thread():
        return  # in the child
    checking.set()
    assert forking.wait(10)
    time.sleep(0.2)
    Jam(state.jam.settings).issue_tokens("bob")
    state.jam.issue_tokens("bob")

app, token = app_of()
state_of(app).start_checks.append(slow_check)
answers = []
first = threading.Thread(target=lambda: answers.append(get(app, token)))
first.start()
assert checking.wait(10)
assert forked(app, token) == 0
first.join(10)
assert answers == [200], answers
print("no one hangs")
"""
)

#: One fork after another, each at another moment of another first request.
AT_MANY_MOMENTS = (
    APP
    + """
end, rounds = time.monotonic() + 40, 0
sys.setswitchinterval(1e-5)
while rounds < 400 and time.monotonic() < end:
    app, token = app_of()
    answers = []
    first = threading.Thread(target=lambda: answers.append(get(app, token)))
    first.start()
    time.sleep(rounds % 40 * 5e-5)
    assert forked(app, token) == 0
    first.join(10)
    assert answers == [200], answers
    rounds += 1
assert rounds >= 50, rounds
print("no one hangs")
"""
)


#: A child that is forked within an import waits for ever to import the same.
IMPORTED = (
    APP
    + """
app, token = app_of()
before = set(sys.modules)
assert get(app, token) == 200
assert set(sys.modules) == before, set(sys.modules) - before
print("no one hangs")
"""
)


#: As above, with threads that ask Redis when the fork comes.
WHILE_REDIS_IS_ASKED = (
    APP
    + """
jam = Jam({"jwt": {"secret_key": sys.argv[2]}, "redis_url": sys.argv[1], "redis_timeout": 5,
           "near_cache": False})
token = jam.issue_tokens("alice")["access_token"]
end, rounds = time.monotonic() + 20, 0
sys.setswitchinterval(1e-5)
while rounds < 150 and time.monotonic() < end:
    app = Flask("forking")
    JWTExtension(jam, app)
    app.add_url_rule("/", "me", jwt_required(lambda: "ok"))
    app.url_map.update()
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(get(app, token))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    time.sleep(rounds % 40 * 5e-5)
    assert forked(app, token) == 0
    for thread in threads:
        thread.join(10)
    assert answers == [200] * 4, answers
    rounds += 1
assert rounds >= 20, rounds
print("no one hangs")
"""
)


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip


@needs_fork
@pytest.mark.slow
def test_a_fork_while_the_first_request_checks_the_app_hangs_no_one() -> None:
    done = run(DURING_A_CHECK)
    assert (done.returncode, done.stdout) == (0, "no one hangs\n"), done.stderr


@needs_fork
@pytest.mark.slow
def test_a_fork_at_any_moment_of_a_first_request_hangs_no_one() -> None:
    done = run(AT_MANY_MOMENTS)
    assert (done.returncode, done.stdout) == (0, "no one hangs\n"), done.stderr


@pytest.mark.slow
def test_the_first_request_imports_nothing() -> None:
    done = run(IMPORTED)
    assert (done.returncode, done.stdout) == (0, "no one hangs\n"), done.stderr


@needs_fork
@pytest.mark.slow
@pytest.mark.redis
def test_a_fork_while_threads_ask_redis_hangs_no_one(redis_server: RedisServer) -> None:
    redis_server.flush()
    done = run(WHILE_REDIS_IS_ASKED, redis_server.url, SECRET)
    assert (done.returncode, done.stdout) == (0, "no one hangs\n"), done.stderr


@needs_fork
@pytest.mark.redis
def test_child_queries_redis_though_parent_held_every_client_lock(
    redis_server: RedisServer,
) -> None:
    jam = Jam({"jwt": {"secret_key": SECRET}, "redis_url": redis_server.url, "redis_timeout": 5})
    assert jam.ready()
    store: Any = jam.store
    with ExitStack() as held:
        for lock in locks_of(store.client()):
            held.enter_context(lock)
        status = forked(lambda: ready_in_time(jam))
    assert status == 0
    assert jam.ready()
    store.close()


def locks_of(client: Any) -> list[Any]:
    kinds = type(threading.Lock()), type(threading.RLock())
    values = [value for part in _parts_of(client) for value in vars(part).values()]
    locks = {id(value): value for value in values if isinstance(value, kinds)}
    assert len(locks) >= 2
    return list(locks.values())


def ready_in_time(jam: Jam) -> bool:
    """Ask in another thread: the one that forked may take a lock again that it held."""
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(jam.ready()), daemon=True)
    thread.start()
    thread.join(8)
    return answers == [True]
