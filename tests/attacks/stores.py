"""The stores that sessions and refresh families are attacked on: memory, Redis, the near cache."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from flask_jam.stores._redis.client import client_factory
from flask_jam.stores._redis.near_cache import NearStore
from flask_jam.stores.interface import Store
from flask_jam.stores.memory import MemoryStore
from flask_jam.stores.redis import RedisStore

from ..servers import HOST, RedisServer
from .conftest import Watch

KINDS = ("memory", "redis", "near")


class RedisWatch(Watch):
    """The watch of every attack, which leaves the way to the test's own Redis open."""

    #: Of all tests: a link of the last one may be connecting still.
    ports: ClassVar[set[int]] = set()

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        where = arguments[1] if event == "socket.connect" else arguments[:2]
        if event not in ("socket.connect", "socket.getaddrinfo") or not self._is_ours(where):
            super().see(event, arguments)

    def _is_ours(self, where: object) -> bool:
        return where in {(HOST, port) for port in self.ports}


class Backend:
    """One kind of store; ``connect()`` gives it as another worker process would have it."""

    def __init__(self, kind: str, watch: RedisWatch, request: pytest.FixtureRequest) -> None:
        self.kind = kind
        self._made: list[RedisStore] = []
        self._watch = watch
        self._memory = MemoryStore()
        if kind != "memory":
            self.server: RedisServer = request.getfixturevalue("redis_server")
            self.server.flush()
            self.raw = self.server.client()

    def connect(
        self, *, port: int | None = None, timeout: float = 5.0, listening: bool = True,
        **options: Any,
    ) -> Store:  # fmt: skip
        """A store; of memory there is one, for there is one process."""
        if self.kind == "memory":
            return self._memory
        port = port or self.server.port
        self._watch.ports.add(port)
        make = NearStore if self.kind == "near" else RedisStore
        client = client_factory(f"redis://{HOST}:{port}/0", timeout)
        store = make(client, timeout=timeout, **options)
        self._made.append(store)
        if isinstance(store, NearStore) and listening:
            listen(store)
        return store

    def held(self) -> list[str]:
        """Names of what is kept of families and sessions, and of indexes of them."""
        if self.kind == "memory":
            indexes = self._memory._family_index, self._memory._session_index
            return [*self._memory._families, *self._memory._sessions, *indexes[0], *indexes[1]]
        return [key.decode() for letter in "fsoelm" for key in self.raw.keys(f"*:{letter}:*")]

    def everything(self) -> bytes:
        """All that the store holds, as text."""
        if self.kind == "memory":
            held = {name: value for name, value in vars(self._memory).items() if name != "_lock"}
            # What is out of a repr is in the store all the same.
            held["seen"] = [vars(session) for session in self._memory._sessions.values()]
            return repr(held).encode()
        return b"".join(key + (self.raw.dump(key) or b"") for key in self.raw.keys("*"))

    def sees(self, check: Callable[[], bool]) -> bool:
        """Whether it is so: at once, or as soon as a near cache has to hear of it."""
        end = time.monotonic() + (1.0 if self.kind == "near" else 0.0)
        while not (found := check()) and time.monotonic() < end:
            time.sleep(0.002)
        return found

    def close(self) -> None:
        for store in self._made:
            store.close()
        if self.kind != "memory":
            self.raw.close()


def wait_for_links() -> None:
    """Wait for threads of near caches: the watch on the next module's attacks would catch one."""
    for thread in threading.enumerate():
        if thread.name == "flask_jam near cache":
            thread.join(5)


def listen(store: NearStore, within: float = 5.0) -> None:
    """Wait until the near cache believes what it keeps."""
    store.marks("ab", "nobody", None, None, 0.0)
    end = time.monotonic() + within
    while time.monotonic() - store.link.view.as_of > 0.5:
        assert time.monotonic() < end, "the near cache never heard of Redis"
        time.sleep(0.002)
