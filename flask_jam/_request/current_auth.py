"""``current_auth()`` and ``g.payload``: both resolve the request when they are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import current_app, request
from jinja2 import ChainableUndefined

from ..schemes.outcome import Accepted
from .app_state import EXTENSION_KEY
from .request_auth import current_request_auth


def current_auth() -> Accepted | None:
    """Return the authenticated caller at any point of a request, or ``None``.

    The first scheme for which the request carries a credential decides, the schemes of the view's
    guard first. A bad credential gives ``None``, and so does a store that is down: only a guard
    refuses. Outside of a request it is ``None``.
    """
    if not request or EXTENSION_KEY not in current_app.extensions:
        return None
    return current_request_auth().look()


class _Anonymous(ChainableUndefined):
    """The value of ``current_auth()`` in a template if no user is known.

    It is false, and so is each of its attributes and calls, which render as empty strings.
    """

    __slots__ = ()

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        return self


def current_auth_in_template() -> Accepted | _Anonymous:
    """Return :func:`current_auth`, with a false and empty value in place of ``None``.

    So ``{{ current_auth().payload.name }}`` is empty for an anonymous visitor, whatever the app
    takes as Jinja's ``undefined``.
    """
    return current_auth() or _Anonymous(name="current_auth()")


_ABSENT: Any = object()


def with_payload(base: type[Any]) -> Any:
    """Return a class of ``g`` that resolves ``payload`` when it is read.

    So a view that does not read it pays nothing, and each of several requests that share an app
    context sees its own. In a request ``"payload" in g`` is always true, and ``None`` is its value
    if no user is known: then ``get``, ``pop`` and ``setdefault`` give their default. Assigning
    lasts for the request; ``pop`` and ``del`` undo it. Outside of a request it is a plain
    attribute, except that reading it gives ``None`` if it is not set.
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
