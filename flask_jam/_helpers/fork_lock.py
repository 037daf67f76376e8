"""Locks that are free in a forked child, and objects that are reset in it.

A fork copies locks as they are: one held by another thread would stay held in the child forever.
Two kinds avoid that:

- :func:`fork_safe_lock` guards data. It is taken before a fork and released on both sides, so a
  child never has half a change. Code that holds one takes no other lock and calls no code of the
  app. So a fork may take all of them, in any order, and waits for each only a moment.
- :class:`Gate` guards work that may be done twice, such as the checks before the first request.
  That work may take locks and call code of the app, so a fork must not wait for it: a child gets a
  new, open one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakSet


class StartsAnew(Protocol):
    """An object of which a forked child needs a fresh start."""

    def after_fork(self) -> None:
        """Start anew, in a child. No lock of this module is held."""
        ...


_registry = threading.Lock()
_locks: WeakSet[threading.Lock] = WeakSet()
_starting_anew: WeakSet[StartsAnew] = WeakSet()
_held: list[threading.Lock] = []


def fork_safe_lock() -> threading.Lock:
    """Return a lock that is free in a forked child. See above for what its holder may do."""
    lock = threading.Lock()
    with _registry:
        _locks.add(lock)
    return lock


def start_anew_in_child(owner: StartsAnew) -> None:
    """Call ``owner.after_fork()`` in each child that is forked while the owner lives."""
    with _registry:
        _starting_anew.add(owner)


class Gate:
    """Let one thread through at a time; a forked child gets an open gate."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        start_anew_in_child(self)

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Wait until no other thread of this process is inside."""
        # In a child that was forked from inside, this releases the lock that was taken.
        with self._lock:
            yield

    def after_fork(self) -> None:
        """Open, in a child: the thread that was inside may have stayed with the parent."""
        self._lock = threading.Lock()


def _before_fork() -> None:
    _registry.acquire()
    _held.extend(_locks)
    for lock in _held:
        lock.acquire()


def _after_fork() -> None:
    while _held:
        _held.pop().release()
    _registry.release()


def _in_child() -> None:
    _after_fork()
    for owner in list(_starting_anew):
        owner.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
