"""``current_auth()`` and ``g.payload``: both ask the request, when they are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import current_app, request
from jinja2 import ChainableUndefined

from ..schemes.outcome import Accepted
from .app_state import EXTENSION_KEY
from .request_auth import current_request_auth


def current_auth() -> Accepted | None:
    """Return who is asking, at any moment of a request, or ``None``; outside of one, ``None``.

    The first scheme for which the request carries a credential decides, the schemes of the view's
    guard first. A bad credential is ``None``, and so is a store that is down: only a guard refuses.
    """
    if not request or EXTENSION_KEY not in current_app.extensions:
        return None
    return current_request_auth().look()


class _Anonymous(ChainableUndefined):
    """What ``current_auth()`` is in a template if no user is known.

    False, and empty however far a template looks into it, also if it calls a method.
    """

    __slots__ = ()

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        return self


def current_auth_in_template() -> Accepted | _Anonymous:
    """Return what :func:`current_auth` does; instead of ``None``, a false and empty value.

    So ``{{ current_auth().payload.name }}`` is empty for an anonymous visitor, whatever the app
    takes as Jinja's ``undefined``.
    """
    return current_auth() or _Anonymous(name="current_auth()")


_ABSENT: Any = object()


def with_payload(base: type[Any]) -> Any:
    """Return a class of ``g`` whose ``payload`` is looked up when it is read.

    So a view that does not read it pays nothing, and each of several requests that share an app
    context sees its own. In a request ``"payload" in g`` is always true, and ``None`` is its value
    if no user is known: then ``get``, ``pop`` and ``setdefault`` give their default. Assigning
    lasts for the request; ``pop`` and ``del`` undo it. Outside of a request it is a plain name,
    but for reading it, which gives ``None`` if it is not set.
    """

    class Globals(base):  # type: ignore[misc]
        @property
        def payload(self) -> Any:
            return current_request_auth().payload() if request else self.__dict__.get("payload")

        def __setattr__(self, name: str, value: Any) -> None:
            if name == "payload" and request:
                current_request_auth().assign(value)
            else:
                super().__setattr__(name, value)

        def __delattr__(self, name: str) -> None:
            if name == "payload" and request:
                current_request_auth().unassign()
            else:
                super().__delattr__(name)

        def get(self, name: str, default: Any = None) -> Any:
            if name != "payload" or not request:
                return super().get(name, default)
            payload = self.payload
            return default if payload is None else payload

        def pop(self, name: str, default: Any = _ABSENT) -> Any:
            if name != "payload" or not request:
                return super().pop(name) if default is _ABSENT else super().pop(name, default)
            payload = self.get(name, None if default is _ABSENT else default)
            current_request_auth().unassign()
            return payload

        def setdefault(self, name: str, default: Any = None) -> Any:
            if name != "payload" or not request:
                return super().setdefault(name, default)
            if self.payload is None:
                current_request_auth().assign(default)
            return self.payload

        def __contains__(self, name: object) -> bool:
            return (name == "payload" and bool(request)) or super().__contains__(name)

        def __iter__(self) -> Iterator[str]:
            if not request:
                return iter(super().__iter__())
            return iter(dict.fromkeys([*super().__iter__(), "payload"]))

    Globals.__name__, Globals.__qualname__ = base.__name__, base.__qualname__
    return Globals
