"""Deadlines of store calls, for one call or for a verb that makes several.

Only the time within questions counts. A verb that calls back into the application, such as a
refresh with ``reload_claims``, is not charged for what the application does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

#: The deadline of the current store call, on the monotonic clock.
_deadline: ContextVar[float | None] = ContextVar("flask_jam_deadline", default=None)


class _Verb:
    """The seconds that the store calls of one verb have taken together."""

    __slots__ = ("spent",)

    def __init__(self) -> None:
        self.spent = 0.0


_verb: ContextVar[_Verb | None] = ContextVar("flask_jam_verb", default=None)


class answered_within:  # noqa: N801 - a context manager, as a class because that is faster
    """Bound all store calls in the block to ``seconds`` together, connecting included.

    An outer deadline, or that of the current verb, shortens it.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._began = now = time.monotonic()
        self._verb = _verb.get()
        at = outer = _deadline.get()
        if self._seconds is not None:
            spent = 0.0 if self._verb is None else self._verb.spent
            at = now + self._seconds - spent
            at = at if outer is None else min(at, outer)
        self._token = _deadline.set(at)

    def __exit__(self, *_: object) -> None:
        _deadline.reset(self._token)
        if self._verb is not None:
            self._verb.spent += time.monotonic() - self._began


def time_left(usual: float) -> float:
    """Return the seconds until the deadline; ``usual`` where none is set.

    :raises TimeoutError: if the deadline has passed.
    """
    at = _deadline.get()
    if at is None:
        return usual
    left = at - time.monotonic()
    if left <= 0:
        # The builtin one: redis-py closes what it has opened, and calls it its own.
        raise TimeoutError("the deadline has passed")
    return left


def one_deadline(verb: Callable[P, T]) -> Callable[P, T]:
    """Bound a verb that makes several store calls by the deadline of a single call.

    A verb within a verb shares its deadline. One that walks what an owner has, in steps, needs a
    deadline for each step and is not decorated.
    """

    @wraps(verb)
    def together(*args: P.args, **kwargs: P.kwargs) -> T:
        return verb(*args, **kwargs) if _verb.get() else _scoped(_Verb(), verb, *args, **kwargs)

    return together


def apart(callback: Callable[P, T]) -> Callable[P, T]:
    """Exclude the time of an application callback from the deadline of its verb."""

    @wraps(callback)
    def alone(*args: P.args, **kwargs: P.kwargs) -> T:
        return _scoped(None, callback, *args, **kwargs)

    return alone


def _scoped(
    scope: _Verb | None, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    token = _verb.set(scope)
    try:
        return function(*args, **kwargs)
    finally:
        _verb.reset(token)
