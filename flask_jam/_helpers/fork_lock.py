"""A lock that a forked child finds free."""

from __future__ import annotations

import os
import threading
from weakref import WeakSet

# A fork copies locks as they are: one held by another thread would stay held in the child for
# ever. So every lock is taken before a fork and given back on both sides of it.
_registry = threading.Lock()
_locks: WeakSet[threading.Lock] = WeakSet()
_held: list[threading.Lock] = []


def fork_safe_lock() -> threading.Lock:
    """A lock that a child process finds free."""
    lock = threading.Lock()
    with _registry:
        _locks.add(lock)
    return lock


def _before_fork() -> None:
    _registry.acquire()
    _held.extend(_locks)
    for lock in _held:
        lock.acquire()


def _after_fork() -> None:
    while _held:
        _held.pop().release()
    _registry.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
