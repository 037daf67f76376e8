"""The key ring in processes: writers that are killed or race, and a fleet while keys change."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flask_jam._credentials.key_directory import KeyringDirectory
from flask_jam._credentials.key_rotation import Change, retire, rotate
from flask_jam._credentials.key_states import POLL, Lives, Ring, State
from flask_jam.settings import JWTSettings

from ..servers import HOST, RedisServer

WORKERS, ROTATIONS, WITHIN = 8, 20, 60.0
#: How late a thread may be on a machine that has much to do, in seconds.
BUSY = 0.5
#: From the publication of a key to its first signature, in seconds. A command waits longer, for
#: clocks of other machines: here are none.
WAIT = 2 * POLL
#: Access tokens and refresh tokens live this long in the fleet, in seconds.
EXPIRE, IDLE = 4.0, 6.0
LIVES = Lives.of(JWTSettings(expire=EXPIRE, max_lifetime=EXPIRE, refresh_idle=IDLE))

pytestmark = pytest.mark.slow


@pytest.fixture
def directory(tmp_path: Path) -> KeyringDirectory:
    path = tmp_path / "keys"
    path.mkdir(mode=0o700)
    return KeyringDirectory(str(path))


def change(directory: KeyringDirectory, step: Callable[[Ring, float], Change]) -> Change:
    with directory.locked():
        made = step(Ring(directory.read(), LIVES), time.time())
        if made.members is not None:
            directory.write(made.members)
    return made


def started(command: list[str], tmp_path: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command], cwd=tmp_path, text=True,
        env={"PYTHONPATH": ":".join(sys.path), "PATH": os.environ["PATH"], **environment},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


# --- writers ----------------------------------------------------------------------------------

KILLED_AT_EACH_LINE = """
import os, signal, sys, time
from flask_jam._credentials import key_directory
from flask_jam._credentials.key_rotation import retire, rotate
from flask_jam._credentials.key_states import Lives, Ring
from flask_jam.settings import JWTSettings

directory = key_directory.KeyringDirectory(sys.argv[1])
lives, source = Lives.of(JWTSettings()), key_directory.__file__

def work(forced):
    with directory.locked():
        ring = Ring(directory.read(), lives)
        if forced:
            made = retire(ring, ring.signer(time.time()).kid, time.time(), force=True)
        else:
            made = rotate(ring, time.time() + 60, "ES256", 1.0)
        directory.write(made.members)

def dies_at(line):
    left = [line]
    def trace(frame, event, _):
        if frame.f_code.co_filename != source:
            return None
        if event == "line":
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    return trace

def child(forced, line):
    pid = os.fork()
    if not pid:
        sys.settrace(dies_at(line))
        work(forced)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

raw = directory.file.read_bytes()
for forced in (False, True):
    lines = changed = 0
    while True:
        lines += 1
        code = child(forced, lines)
        after = directory.file.read_bytes()
        kids = [m.kid for m in directory.read() if m.key]
        changed += after != raw
        print(forced, lines, code, len(kids), Ring(directory.read(), lives).signer(time.time()).kid)
        directory.file.write_bytes(raw)
        if not code:
            break
"""


def test_writer_killed_at_each_line_loses_nothing(
    directory: KeyringDirectory, tmp_path: Path
) -> None:
    first = change(directory, lambda ring, now: rotate(ring, now, "ES256", 1.0)).about
    killer = started(["-c", KILLED_AT_EACH_LINE, str(directory.path)], tmp_path)
    said, errors = killer.communicate(timeout=WITHIN)
    assert errors == ""
    rows = [line.split() for line in said.splitlines()]
    for forced in ("False", "True"):
        own = [row[1:] for row in rows if row[0] == forced]
        assert [code for _, code, _, _ in own] == ["-9"] * (len(own) - 1) + ["0"]
        assert len(own) > 60
        seen = {(count, kid == first.kid) for _, _, count, kid in own}
        # The ring as it was, or as it should be: a second key, or another one.
        assert seen == {("1", True), ("1", False) if forced == "True" else ("2", True)}
    # What the killed ones left is gone after the next change.
    change(directory, lambda ring, now: rotate(ring, now + 60, "ES256", 1.0))
    assert len(list(directory.path.iterdir())) == 2


OPERATORS = """
import os, time
from dataclasses import replace
from flask import Flask
from flask_jam import JWTExtension

app = Flask("shop")
JWTExtension(app=app)
directory = app.extensions["jam"].keyring_watch.directory

def operator(start):
    pid = os.fork()
    if not pid:
        time.sleep(max(start - time.time(), 0))
        done = app.test_cli_runner().invoke(args=["jam", "keyring", "rotate"])
        print(done.exit_code, done.output.split()[0], flush=True)
        os._exit(0)
    return pid

for _ in range(2):
    for pid in [operator(time.time() + 0.2) for _ in range(4)]:
        os.waitpid(pid, 0)
    print(len(directory.read()), "keys", flush=True)
    with directory.locked():
        hour = time.time() - 3600
        directory.write([replace(m, created_at=hour, active_at=hour) for m in directory.read()])
"""


def test_operators_at_once_make_one_key(directory: KeyringDirectory, tmp_path: Path) -> None:
    operators = started(["-c", OPERATORS], tmp_path, JAM_JWT_KEYRING=str(directory.path))
    said, errors = operators.communicate(timeout=WITHIN)
    assert errors == ""
    lines = said.splitlines()
    for at, count in ((0, 1), (5, 2)):
        assert sorted(lines[at : at + 4]) == ["0 Made", *["0 Nothing"] * 3]
        assert lines[at + 4] == f"{count} keys"


def test_full_disk_is_a_sentence_and_the_old_ring_stays(
    directory: KeyringDirectory, tmp_path: Path
) -> None:
    change(directory, lambda ring, now: rotate(ring, now, "ES256", 1.0))
    before = directory.file.read_bytes()
    script = (
        "import resource, signal, sys\n"
        "from flask_jam import ConfigError\n"
        "from flask_jam._credentials.key_directory import KeyringDirectory\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "directory = KeyringDirectory(sys.argv[1])\n"
        "try:\n"
        "    with directory.locked():\n"
        "        directory.write(directory.read())\n"
        "except ConfigError as error:\n"
        "    print(error)\n"
    )
    said, errors = started(["-c", script, str(directory.path)], tmp_path).communicate(
        timeout=WITHIN
    )
    assert (errors, "cannot be written: File too large" in said) == ("", True)
    assert directory.file.read_bytes() == before
    assert {path.name for path in directory.path.iterdir()} == {"keyring.json", "keyring.lock"}


# --- a fleet ------------------------------------------------------------------------------------

APP = """
import os
from flask import Flask
from flask_jam import Jam, JWTExtension, jwt_required

jam = Jam({
    "jwt": {"keyring": os.environ["RING"], "expire": 4, "max_lifetime": 4, "refresh_idle": 6},
    "redis_url": os.environ["REDIS"], "redis_timeout": 5,
})
app = Flask(__name__)
jwt = JWTExtension(jam, app)
app.add_url_rule("/login", "login", lambda: jwt.login("ann"), methods=["POST"])
app.add_url_rule("/refresh", "refresh", jwt.refresh, methods=["POST"])
app.add_url_rule("/me", "me", jwt_required(lambda: {"worker": os.getpid()}))
"""


class Answer(NamedTuple):
    status: int
    body: Any


class Fleet:
    """gunicorn with eight workers that were forked from one process."""

    def __init__(self, directory: KeyringDirectory, redis: str, tmp_path: Path) -> None:
        (tmp_path / "fleet.py").write_text(APP)
        self._process = started(
            ["-m", "gunicorn", "--preload", "--workers", str(WORKERS), "--bind", f"{HOST}:0",
             "--backlog", "512", "--timeout", "60", "fleet:app"],
            tmp_path, RING=str(directory.path), REDIS=redis,
        )  # fmt: skip
        self.log: list[str] = []
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(line)
            if found := re.search(rf"http://{HOST}:(\d+)", line):
                self.port = int(found[1])
                break
        self._reader = threading.Thread(target=self.log.extend, args=(self._process.stderr,))
        self._reader.start()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(WITHIN)
        self._reader.join(WITHIN)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def ask(self, path: str, token: str | None = None, method: str = "GET", **form: str) -> Answer:
        """Ask any of the workers, on a connection of its own."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=WITHIN)
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        try:
            connection.request(method, path, json.dumps(form) if form else None, headers)
            answer = connection.getresponse()
            return Answer(answer.status, json.loads(answer.read()))
        finally:
            connection.close()


class User(threading.Thread):
    """Logs in, asks with every token that lives, and refreshes, again and again."""

    def __init__(self, fleet: Fleet, end: threading.Event) -> None:
        super().__init__()
        self.fleet, self.end = fleet, end
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.kids: set[str] = set()

    def run(self) -> None:
        tokens: list[tuple[float, str]] = []
        refresh, made_at = None, 0.0
        while not self.end.is_set():
            now = time.time()
            tokens = [(at, token) for at, token in tokens if now - at < EXPIRE - 1.5]
            if refresh is None or now - made_at > IDLE - 2:
                pair = self._pair("/login")
            elif random.random() < 0.1:
                pair = self._pair("/refresh", refresh_token=refresh)
            else:
                self._asked("/me", random.choice(tokens)[1] if tokens else None)
                time.sleep(0.02)
                continue
            refresh, made_at = pair.get("refresh_token"), now
            tokens.append((now, pair.get("access_token", "")))

    def _asked(self, path: str, token: str | None) -> None:
        if token is not None:
            self.statuses[path, self.fleet.ask(path, token).status] += 1

    def _pair(self, path: str, **form: str) -> dict[str, Any]:
        answer = self.fleet.ask(path, method="POST", **form)
        self.statuses[path, answer.status] += 1
        return answer.body if answer.status == 200 else {}


@pytest.fixture
def fleet(
    directory: KeyringDirectory, redis_server: RedisServer, tmp_path: Path
) -> Iterator[Fleet]:
    if importlib.util.find_spec("gunicorn") is None:
        pytest.skip("needs gunicorn: pip install gunicorn")
    redis_server.flush()
    change(directory, lambda ring, now: rotate(ring, now - 3600, "EdDSA", 1.0))
    fleet = Fleet(directory, redis_server.url, tmp_path)
    yield fleet
    fleet.close()


def test_twenty_rotations_under_load_and_no_answer_but_200(
    fleet: Fleet, directory: KeyringDirectory
) -> None:
    end = threading.Event()
    users = [User(fleet, end) for _ in range(4)]
    for user in users:
        user.start()
    kids = set()
    for _ in range(ROTATIONS):
        made = change(directory, lambda ring, now: rotate(ring, now, "EdDSA", WAIT))
        assert made.members is not None
        kids.add(made.about.kid)
        time.sleep(WAIT + 0.1)
    end.set()
    for user in users:
        user.join(WITHIN)
    statuses = sum((user.statuses for user in users), Counter())
    assert {status for _, status in statuses} == {200}, (statuses, "".join(fleet.log))
    # One login each: every refresh token was exchanged while keys changed.
    assert statuses["/login", 200] == len(users)
    assert min(statuses["/me", 200], statuses["/refresh", 200]) > 200, statuses
    assert len(kids) == ROTATIONS
    retired = Ring(directory.read(), LIVES).of(State.RETIRED, time.time())
    assert len(retired) > 3


def test_forced_end_is_in_force_in_every_worker_within_a_second(
    fleet: Fleet, directory: KeyringDirectory
) -> None:
    pair = fleet.ask("/login", method="POST").body
    workers: set[int] = set()
    while len(workers) < WORKERS:  # each has verified it, and keeps that
        workers.add(fleet.ask("/me", pair["access_token"]).body["worker"])
    (active,) = Ring(directory.read(), LIVES).of(State.ACTIVE, time.time())
    change(directory, lambda ring, now: retire(ring, active.kid, now, force=True))
    done = time.monotonic()
    last = done
    while time.monotonic() < done + 2:
        asked = time.monotonic()
        if fleet.ask("/me", pair["access_token"]).status == 200:
            last = asked
    assert last - done < 1.0 + BUSY
    assert fleet.ask("/refresh", method="POST", refresh_token=pair["refresh_token"]).status == 401
    again = fleet.ask("/login", method="POST").body["access_token"]
    for _ in range(5 * WORKERS):
        assert fleet.ask("/me", again).status == 200
