"""The verified-token cache: facts that held, never verdicts.

A fact is "this signature and these claims were right". On every hit, the current
validity is checked by :mod:`flask_jam._credentials.access_tokens`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from typing import Generic, NamedTuple, TypeVar

from cachetools import LRUCache

from .._helpers.fork_lock import fork_safe_lock

V = TypeVar("V")

#: The longest use of a fact, in monotonic seconds, whatever the wall clock says.
MAX_AGE = 300.0
#: How long a just-used fact is read without the lock, and without marking it as used, in seconds.
_RECENT = 1.0


class CacheInfo(NamedTuple):
    """Statistics like those of :func:`functools.lru_cache`."""

    hits: int
    misses: int
    maxsize: int
    currsize: int


class FactCache(Generic[V]):
    """A bounded, locked LRU cache whose puts carry the ticket of their get.

    cachetools caches are not safe under threads, hence the lock. ``clear`` moves the generation,
    and a put whose ticket is of an older one is dropped: a fact that was being established while
    keys changed is not kept.

    The lock and the order of use take two thirds of a hit (1.0 of 1.5 µs), so a fact that was used
    within the last second is found in a plain dictionary, of which a single read needs no lock.
    """

    def __init__(self, maxsize: int, timer: Callable[[], float] = time.monotonic) -> None:
        self._entries: LRUCache[bytes, tuple[float, V]] = LRUCache(max(maxsize, 1))
        self._maxsize = maxsize
        self._timer = timer
        self._lock = fork_safe_lock()
        self._generation = self._hits = self._misses = 0
        #: By key: the fact, and until when it is found here.
        self._recent: dict[bytes, tuple[V, float]] = {}
        #: Counts hits without the lock; reading it counts, too.
        self._recent_hits, self._reads = count(), 0

    def get(self, key: bytes) -> tuple[V | None, int]:
        """Return the fact or ``None``, and the ticket for a put."""
        recent = self._recent.get(key)
        if recent is not None and self._timer() < recent[1]:
            next(self._recent_hits)
            return recent[0], self._generation
        with self._lock:
            return self._used(key), self._generation

    def _used(self, key: bytes) -> V | None:
        """Return a fact and mark it as used just now."""
        now = self._timer()
        try:
            born, value = self._entries[key]
        except KeyError:
            born, value = now - MAX_AGE, None
        if now - born >= MAX_AGE:
            self._misses += 1
            return None
        self._hits += 1
        if len(self._recent) >= self._maxsize:
            self._recent = {}
        if value is not None:
            self._recent[key] = value, min(now + _RECENT, born + MAX_AGE)
        return value

    def put(self, key: bytes, value: V, ticket: int) -> None:
        """Keep the fact, unless the cache was cleared after the ticket was issued."""
        with self._lock:
            if ticket == self._generation and self._maxsize:
                self._entries[key] = (self._timer(), value)

    def clear(self) -> None:
        """Drop every fact and every ticket."""
        with self._lock:
            self._generation += 1
            self._entries.clear()
            self._recent = {}
            self._hits = self._misses = 0
            self._recent_hits, self._reads = count(), 0

    def info(self) -> CacheInfo:
        """Return hits, misses, bound and size."""
        with self._lock:
            hits = self._hits + next(self._recent_hits) - self._reads
            self._reads += 1
            return CacheInfo(hits, self._misses, self._maxsize, len(self._entries))
