"""The verified-token cache: facts that held, never verdicts.

A fact is "this signature and these claims were right". Whether a token is good *now* is asked
again on every hit, by :mod:`flask_jam._credentials.access_tokens`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from cachetools import LRUCache

from .._helpers.fork_lock import fork_safe_lock

V = TypeVar("V")

#: No fact is used longer than this, in monotonic seconds, whatever the wall clock says.
MAX_AGE = 300.0


class CacheInfo(NamedTuple):
    """As :func:`functools.lru_cache` has it."""

    hits: int
    misses: int
    maxsize: int
    currsize: int


class FactCache(Generic[V]):
    """A bounded, locked LRU whose puts carry the ticket of their get.

    cachetools caches are not safe under threads, hence the lock. ``clear`` moves the generation,
    and a put whose ticket is of an older one is dropped: a fact that was being established while
    keys changed is not kept.
    """

    def __init__(self, maxsize: int, timer: Callable[[], float] = time.monotonic) -> None:
        self._entries: LRUCache[bytes, tuple[float, V]] = LRUCache(max(maxsize, 1))
        self._maxsize = maxsize
        self._timer = timer
        self._lock = fork_safe_lock()
        self._generation = self._hits = self._misses = 0

    def get(self, key: bytes) -> tuple[V | None, int]:
        """The fact or ``None``, and the ticket to put one with."""
        with self._lock:
            try:
                born, value = self._entries[key]
            except KeyError:
                born, value = -MAX_AGE, None
            if value is not None and self._timer() - born < MAX_AGE:
                self._hits += 1
                return value, self._generation
            self._misses += 1
            return None, self._generation

    def put(self, key: bytes, value: V, ticket: int) -> None:
        """Keep the fact, unless the cache was cleared since the ticket was given."""
        with self._lock:
            if ticket == self._generation and self._maxsize:
                self._entries[key] = (self._timer(), value)

    def clear(self) -> None:
        """Forget every fact and every ticket."""
        with self._lock:
            self._generation += 1
            self._entries.clear()
            self._hits = self._misses = 0

    def info(self) -> CacheInfo:
        """Hits, misses, bound and size."""
        with self._lock:
            return CacheInfo(self._hits, self._misses, self._maxsize, len(self._entries))
