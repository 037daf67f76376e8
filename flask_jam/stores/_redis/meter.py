"""Counts of this process's Redis commands, for ``jam.stats()``."""

from __future__ import annotations

import time
from bisect import bisect_left
from itertools import accumulate
from typing import Any

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    InvalidResponse,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from ..._helpers.fork_lock import fork_safe_lock
from . import api_key_scripts, scripts, ticket_scripts

#: Upper bounds of the histogram, in seconds. A question that takes longer counts as ``+Inf``.
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
CAUSES: tuple[str, ...] = ("timeout", "connection", "pool", "refused", "unreadable")
_REFUSALS = (ResponseError, AuthenticationError, AuthorizationError, BusyLoadingError)
#: redis-py has an exception of its own for it in some versions only.
_POOL_ERRORS = {"MaxConnectionsError", "PoolExhaustedError"}
_POOL_TEXTS = ("Too many connections", "No connection available")
_VERBS = {
    script: name.lower()
    for module in (scripts, api_key_scripts, ticket_scripts)
    for name, script in vars(module).items()
    if name.isupper() and not name.startswith("_")
}


def verb_of(script: str) -> str:
    """Return the name of a step, such as ``read_session``: it is safe to log."""
    return _VERBS.get(script, "a step")


def cause_of(error: BaseException) -> str:
    """Return why a question failed, as one of :data:`CAUSES`."""
    if type(error).__name__ in _POOL_ERRORS or str(error).startswith(_POOL_TEXTS):
        return "pool"
    if isinstance(error, (TimeoutError, RedisTimeoutError)):
        return "timeout"
    if isinstance(error, _REFUSALS):
        return "refused"
    unreadable = isinstance(error, (ValueError, RecursionError, InvalidResponse))
    return "unreadable" if unreadable else "connection"


class Meter:
    """Counts the questions of one store, how long they took, and why some failed."""

    def __init__(self) -> None:
        self._lock = fork_safe_lock()
        self._seconds = 0.0
        self._counts = [0] * (len(BOUNDS) + 1)
        self._failures: dict[str, int] = dict.fromkeys(CAUSES, 0)

    def answered(self, began: float) -> None:
        """Count a question that was asked at a moment of the monotonic clock."""
        took = time.monotonic() - began
        with self._lock:
            self._count(took)

    def failed(self, began: float, error: BaseException) -> float:
        """Count a question that got no answer; return how many seconds it took."""
        took, cause = time.monotonic() - began, cause_of(error)
        with self._lock:
            self._count(took)
            self._failures[cause] += 1
        return took

    def _count(self, took: float) -> None:
        self._counts[bisect_left(BOUNDS, took)] += 1
        self._seconds += took

    def stats(self) -> dict[str, dict[str, Any]]:
        """Return the groups ``store``, ``failures`` and ``latency``."""
        with self._lock:
            counts, seconds, failures = list(self._counts), self._seconds, dict(self._failures)
        at_most = map(str, (*BOUNDS, "+Inf"))
        return {
            "store": {"kind": "redis", "questions": sum(counts), "seconds": seconds},
            "failures": failures,
            "latency": dict(zip(at_most, accumulate(counts), strict=True)),
        }
