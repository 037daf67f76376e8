"""Checks of ``load_user`` and of the user that it returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import CoroutineType
from typing import Any

from werkzeug.local import LocalProxy

from ..errors import ConfigError
from ..schemes.outcome import Accepted

#: Called with the ``Accepted`` of a request; returns the user, or ``None`` to refuse.
LoadUser = Callable[[Accepted], object]


def check_loader(
    load_user: object, name: str = "load_user", returns: str = "a user or None"
) -> None:
    """Raise an error for a callback that could never work.

    :raises ConfigError: if it is no function, is ``async``, or does not take one argument.
    """
    form = f"write def {name}(auth), which returns {returns}"
    if not callable(load_user) or isinstance(load_user, type):
        raise ConfigError(f"{name} must be a function, got {kind_of(load_user)}: {form}")
    if is_async(load_user):
        raise ConfigError(
            f"{name} must not be async: current_user and current_auth() cannot wait for it. "
            f"Instead, {form}"
        )
    try:
        signature = inspect.signature(load_user)
    except (TypeError, ValueError):  # some callables written in C have none
        return
    try:
        signature.bind(None)
    except TypeError:
        raise ConfigError(
            f"{name} is called with one argument, the Accepted of the request: {form}"
        ) from None


def is_async(function: Any) -> bool:
    """Return True if a function, a partial or a callable object returns a coroutine."""
    candidates = function, getattr(function, "func", None), type(function).__call__
    is_async = inspect.iscoroutinefunction, inspect.isasyncgenfunction
    return any(check(each) for check in is_async for each in candidates)


def user_from(returned: object) -> object | None:
    """Return the user that a loader has returned, or None if it refuses.

    An object of one of the app's classes is a user, whatever its ``bool``. A false value of a
    built-in type is not: ``row and row.is_active and row`` is ``False`` or ``0`` for a disabled
    user, and ``rows and rows[0]`` is ``[]`` for a deleted one.

    :raises ConfigError: for a return value that is a mistake, such as a class.
    """
    while issubclass(type(returned), LocalProxy):  # of None, it is none
        returned = returned._get_current_object()  # type: ignore[attr-defined]
    if type(returned).__module__ != "builtins":
        return returned
    if returned is True or inspect.isgenerator(returned) or inspect.isawaitable(returned):
        if isinstance(returned, CoroutineType):
            returned.close()
        raise ConfigError(f"load_user must return a user or None, got {kind_of(returned)}")
    return returned or None


def kind_of(value: object) -> str:
    """Name the type of a value, or the value itself if it is a type."""
    return value.__name__ if isinstance(value, type) else type(value).__name__
