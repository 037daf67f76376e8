"""What all workers know of each other's sessions and logins: they read each other's logs."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from .lives import BIRTHS

#: So many of each kind are remembered, dead ones among them.
_REMEMBERED = 40
_PAUSE = 0.03


class Thing:
    """A session with its ids, a login with its tokens, an API key, the newest last, or a ticket."""

    def __init__(self, name: str, owner: str, *, honest: bool = True) -> None:
        self.name = name
        self.owner = owner
        self.honest = honest
        self.ids: list[str] = []
        self.access: list[str] = []

    def learn(self, result: Mapping[str, Any]) -> None:
        """Take in what a call gave: an id, or a pair of tokens."""
        for known, new in ((self.ids, result.get("id")), (self.ids, result.get("refresh")),
                           (self.access, result.get("access"))):  # fmt: skip
            if new is not None and new not in known:
                known.append(new)


class Board:
    """The newest things of all workers; a thread of its own reads their logs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Path, tuple[BinaryIO, bytearray]] = {}
        self._things: dict[str, Thing] = {}
        self._newest: dict[str, deque[str]] = {kind: deque() for kind in BIRTHS.values()}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="board", daemon=True)

    def __enter__(self) -> Board:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()
        for file, _ in self._files.values():
            file.close()

    def newest(self, kind: str) -> list[Thing]:
        """Return the things of a kind that were made last."""
        named = (self._things.get(name) for name in list(self._newest[kind]))
        return [thing for thing in named if thing is not None]

    def _follow(self) -> None:
        while not self._over.wait(_PAUSE):
            for path in self._folder.glob("calls-*.jsonl"):
                if path not in self._files:
                    self._files[path] = path.open("rb"), bytearray()
                self._take(*self._files[path])

    def _take(self, file: BinaryIO, pending: bytearray) -> None:
        pending += file.read()
        end = pending.rfind(b"\n") + 1  # the last line may not be whole yet
        lines = bytes(pending[:end]).splitlines()
        del pending[:end]
        for line in lines:
            if b'"outcome": "ok"' in line and b'"result": {}' not in line:
                self._learn(json.loads(line))

    def _learn(self, call: Mapping[str, Any]) -> None:
        name, kind = call["thing"], BIRTHS.get(call["op"])
        if kind is not None:
            honest = call["args"].get("honest", True)
            self._things[name] = Thing(name, call["owner"], honest=honest)
            self._remember(kind, name)
        if name in self._things:
            self._things[name].learn(call["result"])

    def _remember(self, kind: str, name: str) -> None:
        newest = self._newest[kind]
        newest.append(name)
        if len(newest) > _REMEMBERED:
            self._things.pop(newest.popleft(), None)
