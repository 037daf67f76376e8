"""A terminal that types the ``console`` blocks of the tutorial and compares what they print."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..servers import gone
from .blocks import ROOT, Block

WITHIN = 60.0
#: What the test has done already: an environment with all packages, in a folder of its own.
DONE = ("mkdir ", "python3 -m venv ", "pip install ")
#: Programs that run until they are stopped, and the port that each opens.
SERVERS = {"flask --app notebook run": 5000, "redis-server": 6379, "gunicorn": 8000, "nginx": 8443}
#: The answers to the questions of ``add-user``.
PASSWORDS = {"ada@example.org": "correct horse", "bob@example.org": "battery staple"}
QUESTIONS = ("Password:\n", "Repeat for confirmation:\n")
# pytest-flask and dash are packages of ``bench``: a reader of the tutorial has neither.
PYTEST = "-p no:flask -p no:dash -p no:cacheprovider"


def is_open(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def until(true: Callable[[], bool], log: Path) -> None:
    """Wait until it is true; fail with what the server has logged."""
    end = time.monotonic() + WITHIN
    while not true():
        assert time.monotonic() < end, log.read_text(encoding="utf-8")
        time.sleep(0.05)


class Terminal:
    """A bash in the reader's folder.

    :param ports: a free port of this machine for each port of the pages.
    """

    def __init__(self, folder: Path, ports: dict[int, int]) -> None:
        self.folder, self.ports = folder, ports
        self.values: dict[str, str] = {}
        self._running: dict[str, tuple[str, int]] = {}
        self._is_stale = False
        self._shell = subprocess.Popen(
            ["bash", "--norc"], cwd=folder, env=self._environment(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        outside = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("JAM_", "FLASK_"))
        }
        # A virtualenv's programs come first, as activated; Debian has nginx in /usr/sbin.
        path = os.pathsep.join([str(Path(sys.executable).parent), outside["PATH"], "/usr/sbin"])
        reader = {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(self.folder)}
        return {**outside, **reader, "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_ADDOPTS": PYTEST}

    def write(self, files: dict[str, str]) -> None:
        """Write the files of a page. Before it is asked again, the app starts anew."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._with_ports(text), encoding="utf-8")
        self._is_stale = True

    def run(self, block: Block) -> None:
        """Type each command of a block, and compare what it prints with what the page shows."""
        for entry in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            # A backslash at the end of a line goes on with the command.
            command, _, shown = entry.replace("\\\n", "").partition("\n")
            for question in QUESTIONS:
                shown = shown.replace(question, "")
            if command.startswith(DONE):
                continue
            if command.startswith(tuple(SERVERS)):
                self._serve(command)
                continue
            self._compare(self._with_ports(shown).strip(), self.type(command), command)

    def type(self, command: str) -> str:
        """Type a command, wait for its end, and return what it has printed."""
        assert self._shell.stdin
        if self._is_stale and "localhost:5000/" in command and "flask" in self._running:
            self.restart("flask")
        self._shell.stdin.write(f"{self._answered(command)} </dev/null\necho; echo =END=\n")
        self._shell.stdin.flush()
        return self._read().strip()

    def _read(self) -> str:
        """Return what is printed up to the end mark. A command that hangs ends with its shell."""
        assert self._shell.stdout
        deadline = threading.Timer(WITHIN, self._shell.kill)
        deadline.start()
        printed = ""
        for line in self._shell.stdout:
            if line == "=END=\n":
                deadline.cancel()
                return printed
            printed += line
        raise AssertionError(printed)

    def restart(self, program: str) -> None:
        """Stop a server and start it again, as it was started."""
        self._serve(self._running[program][0])

    def stop(self, program: str) -> None:
        """Stop a server, and wait for its end."""
        if program in self._running:
            command, pid = self._running.pop(program)
            os.kill(pid, signal.SIGTERM)
            # The threads of a process outlive its first one by a moment, with its sockets.
            port = self._port(command)
            until(lambda: gone(pid) and not is_open(port), self.folder / f"{program}.log")

    def close(self) -> None:
        assert self._shell.stdin
        assert self._shell.stdout
        for program in reversed([*self._running]):
            self.stop(program)
        self._shell.stdin.close()
        self._shell.wait(WITHIN)
        self._shell.stdout.close()

    def _serve(self, command: str) -> None:
        program, port = command.split()[0], self._port(command)
        self.stop(program)
        self._is_stale = self._is_stale and program != "flask"
        # Restarting is ours: a reloader takes seconds to notice a file.
        options = f" --no-reload --port {port}" if program == "flask" else ""
        pid = self.type(f"{command}{options} >{program}.log 2>&1 & echo $!").split()[-1]
        self._running[program] = (command, int(pid))
        until(lambda: is_open(port), self.folder / f"{program}.log")

    def _port(self, command: str) -> int:
        (port,) = [port for start, port in SERVERS.items() if command.startswith(start)]
        return self.ports[port]

    def _with_ports(self, text: str) -> str:
        return re.sub("|".join(map(str, self.ports)), lambda m: str(self.ports[int(m[0])]), text)

    def _answered(self, command: str) -> str:
        for name, value in self.values.items():
            command = command.replace(f"{name}=jam_…", f"{name}={value}")
        for email, password in PASSWORDS.items():
            if f"add-user {email}" in command:
                command += f" --password '{password}'"
        return self._with_ports(command)

    def _compare(self, shown: str, printed: str, command: str) -> None:
        pattern = ".*?".join(map(re.escape, shown.split("…")))
        assert re.fullmatch(pattern, printed, re.DOTALL), f"$ {command}\n{printed}"
