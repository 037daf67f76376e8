"""The README's first command and its console blocks, as a reader would run them."""

from __future__ import annotations

import doctest
import json
import re
import runpy
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import SECRET, bearer

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MARK = "--- end of output ---"

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None or shutil.which("bash") is None, reason="needs curl and bash"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the server did not start")


@pytest.fixture
def port() -> Iterator[int]:
    """The README's server, started by this Python's own ``flask``."""
    command = re.search(r"\.venv/bin/flask (--app \S+ run)$", README, re.MULTILINE)
    assert command is not None
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "flask", *command[1].split(), "--port", str(port)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        yield port
    finally:
        server.terminate()
        server.wait(10)


def steps() -> list[tuple[str, str]]:
    """Each command of the console blocks with the output that the README shows."""
    lines = "\n".join(re.findall(r"```console\n(.*?)```", README, re.DOTALL)).splitlines()
    found: list[tuple[str, str]] = []
    for line in lines:
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif found:
            found[-1] = (found[-1][0], found[-1][1] + line + "\n")
    return found


def normal(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()).strip()


def shell(script: str, directory: Path) -> list[str]:
    run = subprocess.run(
        ["bash", "-eu"], input=script, cwd=directory, check=True,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return run.stdout.split(MARK)


def test_the_console_block_prints_what_the_readme_shows(port: int, tmp_path: Path) -> None:
    local = [(command.replace(":5000/", f":{port}/"), shown) for command, shown in steps()]
    login, paste, *rest = local
    token = json.loads(shell(login[0], tmp_path)[0])["access_token"]
    commands = [login[0], paste[0].replace("eyJ...", token), *(command for command, _ in rest)]
    outputs = shell("".join(f"{each}\necho; echo '{MARK}'\n" for each in commands), tmp_path)
    assert len(local) == len(outputs) - 1 == 5
    for (command, shown), printed in zip(local, outputs, strict=False):
        matches = doctest.OutputChecker().check_output(
            normal(shown), normal(printed), doctest.ELLIPSIS
        )
        assert matches, f"{command}\nshown:\n{shown}\nprinted:\n{printed}"


def test_the_python_block_runs_and_guards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAM_JWT_SECRET_KEY", SECRET)
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    namespace: dict[str, Any] = {"__name__": "readme"}
    exec(block, namespace)
    app = namespace["create_app"]()
    token = app.extensions["jam"].issue_tokens("alice")["access_token"]
    client = app.test_client()
    assert client.get("/me").status_code == 401
    assert client.get("/me", headers=bearer(token)).json == {"hello": "alice"}


def test_the_quickstart_refreshes_until_the_logout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAM_JWT_SECRET_KEY", SECRET)
    file = runpy.run_path(str(ROOT / "examples" / "quickstart.py"))
    client = file["create_app"]().test_client()
    form = {"name": "alice", "password": "wonderland"}
    pair = client.post("/login", data=form).json
    pair = client.post("/refresh", data={"refresh_token": pair["refresh_token"]}).json
    assert client.post("/logout", headers=bearer(pair["access_token"])).status_code == 204
    again = client.post("/refresh", data={"refresh_token": pair["refresh_token"]})
    assert again.status_code == 401


def test_the_quickstart_stays_small() -> None:
    text = (ROOT / "examples" / "quickstart.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60
