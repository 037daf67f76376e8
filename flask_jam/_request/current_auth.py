"""What sets ``current_auth()`` and ``g.payload``: both ask the request, when they are read."""

from __future__ import annotations

from typing import Any

from flask import current_app, request

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


def with_payload(base: type[Any]) -> Any:
    """Return a class of ``g`` whose ``payload`` is looked up when it is read.

    So a view that does not read it pays nothing, and each of several requests that share an app
    context sees its own.
    """

    class Globals(base):  # type: ignore[misc]
        @property
        def payload(self) -> Any:
            return current_request_auth().payload() if request else None

        def __setattr__(self, name: str, value: Any) -> None:
            if name == "payload" and request:
                current_request_auth().assign(value)
            else:
                super().__setattr__(name, value)

        def get(self, name: str, default: Any = None) -> Any:
            return self.payload if name == "payload" else super().get(name, default)

    return Globals
