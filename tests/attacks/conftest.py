"""What every attack runs under: a watch on the doors, and an app to attack."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .victim import Victim, shared_victim

_NETWORK = frozenset({"socket.connect", "socket.sendto", "socket.getaddrinfo",
                      "socket.gethostbyname"})  # fmt: skip
_PROCESS = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"})
_EVENTS = _NETWORK | _PROCESS | {"open"}
#: What Python itself opens: modules, and the sources of a traceback.
_PYTHON = tuple(
    folder.rstrip("/") + "/"
    for folder in (sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(),
                   *filter(os.path.isabs, sys.path))
)  # fmt: skip


class Watch:
    """Sees what the app connects to, looks up, runs and opens by name, and lets none through."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.caught: list[str] = []

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open":
            self._stop(f"{event} {arguments[1:2]!r}")
        elif isinstance(arguments[0], (str, bytes)):
            path = os.path.abspath(os.fsdecode(arguments[0]))
            self.opened.append(path)
            # Tracebacks of Python 3.11 parse lines, and look for the file of one that is no code.
            if not path.startswith(_PYTHON) and not path.endswith("<unknown>"):
                self._stop(f"open {path}")

    def _stop(self, what: str) -> None:
        # Kept as well as raised: whoever catches everything would hide it.
        self.caught.append(what)
        raise PermissionError(f"the attacked app did this: {what}")


_active: list[Watch] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    # An audit hook sees what C code does, too. It cannot be taken away: hence the list.
    if event in _EVENTS and _active and _in_app():
        _active[-1].see(event, arguments)


def _in_app() -> bool:
    # What a test does itself, such as asking a server over a socket, is none of our business.
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_globals.get("__name__", "").split(".")[0] in {"flask_jam", "flask"}:
            return True
        frame = frame.f_back
    return False


sys.addaudithook(_hook)


@pytest.fixture(autouse=True)
def watch() -> Iterator[Watch]:
    """No attack makes the app connect, look up a name, run a command or open a file by name."""
    watch = Watch()
    _active.append(watch)
    yield watch
    _active.remove(watch)
    assert watch.caught == []


@pytest.fixture
def victim(clock: Any) -> Callable[..., Victim]:
    """``victim("RS256")``: an app that takes tokens of this algorithm, and whose key we know.

    The app is shared by all tests that ask for the same: what is refused leaves nothing behind,
    which :meth:`Victim.refuses` holds to. With ``fresh=True`` it is new, and on the test's clock.
    """

    def make(name: str = "HS256", *, fresh: bool = False, **jwt: Any) -> Victim:
        return Victim.of(name, clock, **jwt) if fresh else shared_victim(name, **jwt)

    return make
