"""Who is asking: resolved at most once per request and scheme, put into ``g.payload``.

Per request, before any other ``before_request``: ``g.payload`` is ``None`` and nothing is
remembered. A view that a guard covers is left to its guard. Elsewhere the first scheme for which
the request carries a credential decides; a bad credential means nobody, not the next scheme.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import Enum
from typing import Any

from flask import Flask, current_app, g, request

from .errors import ConfigError, Reason
from .jam import Jam
from .outcome import Accepted, Credential, Outcome, Rejected
from .schemes import Scheme, authenticated

_log = logging.getLogger(__name__)

EXTENSION_KEY = "flask_jam"
_MEMO = "flask_jam.memo"
#: On a view: the guard that covers it, or :data:`PUBLIC`.
MARK = "__flask_jam__"
PUBLIC = "public"


class Posture(Enum):
    """What the hook does for an endpoint."""

    LEAVE = "leave"  # static, public, or guarded: nothing is asked here
    RESOLVE = "resolve"  # undecorated: g.payload says who it is


class Memo:
    """What one request has found out so far, for one app."""

    __slots__ = ("accepted", "credentials", "outcomes", "state")

    def __init__(self, state: AppState) -> None:
        self.state = state
        self.credentials: dict[str, Credential | Rejected] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.accepted: Accepted | None = None


class AppState:
    """What belongs to one app: its Jam, its schemes, and the hook."""

    def __init__(self, app: Flask, jam: Jam) -> None:
        self.app = app
        self.jam = jam
        self.schemes: dict[str, Scheme] = {}
        self.owners: dict[str, object] = {}
        #: Run once, at the first request, when all routes are known; each may raise ConfigError.
        self.start_checks: list[Callable[[AppState], None]] = []
        self._checked = False
        self._postures: dict[str, Posture] = {}

    def add(self, owner: object, scheme: Scheme) -> None:
        """Have a scheme, for the extension that owns it."""
        self.owners[scheme.name] = owner
        self.schemes[scheme.name] = scheme
        headers = [s.header_name.lower() for s in self.schemes.values() if s.header_name]
        for each in self.schemes.values():
            name = each.header_name
            each.shares_header = name is not None and headers.count(name.lower()) > 1

    def before_request(self, endpoint: str | None, _view_args: object) -> None:
        """The hook. It returns nothing: a hook that does would answer the request."""
        environ = request.environ
        memo = environ[_MEMO] = Memo(self)
        g.payload = None
        if not self._checked:
            self._check()
        if endpoint is not None and self._posture(endpoint) is Posture.RESOLVE:
            accepted = self._somebody(memo, environ)
            if accepted is not None:
                admit(memo, accepted)

    def _check(self) -> None:
        # Until a check passes, every request fails: better than serving what is not guarded.
        for check in self.start_checks:
            check(self)
        self._checked = True

    def _posture(self, endpoint: str) -> Posture:
        posture = self._postures.get(endpoint)
        if posture is None:
            view = self.app.view_functions.get(endpoint)
            static = endpoint == "static" or endpoint.endswith(".static")
            leave = static or view is None or hasattr(view, MARK)
            posture = self._postures[endpoint] = Posture.LEAVE if leave else Posture.RESOLVE
        return posture

    def _somebody(self, memo: Memo, environ: dict[str, Any]) -> Accepted | None:
        for name in self.schemes:
            outcome = self.resolve(name, memo, environ)
            if isinstance(outcome, Accepted):
                return outcome
            if outcome.reason is not Reason.MISSING:
                return None
        return None

    def resolve(self, name: str, memo: Memo, environ: dict[str, Any]) -> Outcome:
        """The outcome of a scheme, from the memo or asked now."""
        outcome = memo.outcomes.get(name)
        if outcome is None:
            scheme = self.scheme(name)
            found = memo.credentials[name] = scheme.find(environ)
            outcome = memo.outcomes[name] = authenticated(scheme, found)
        return outcome

    def scheme(self, name: str) -> Scheme:
        """The scheme of that name.

        :raises ConfigError: if the app has none.
        """
        try:
            return self.schemes[name]
        except KeyError:
            extension = {"jwt": "JWTExtension", "session": "SessionExtension"}[name]
            raise ConfigError(
                f"a guard asks for {name} and this app cannot check any: "
                f"write {extension}(jam).init_app(app)"
            ) from None


def admit(memo: Memo, accepted: Accepted | None) -> None:
    """Let the view see who it is."""
    memo.accepted = accepted
    g.payload = None if accepted is None else accepted.payload


def current_state() -> AppState:
    """The state of the current app.

    :raises ConfigError: if no extension was initialised on it.
    """
    state = current_app.extensions.get(EXTENSION_KEY)
    if state is None:
        raise ConfigError(
            "this app has a guard and no extension that could authenticate anybody: "
            "write JWTExtension(jam).init_app(app) or SessionExtension(jam).init_app(app)"
        )
    return state  # type: ignore[no-any-return]


def memo_of(state: AppState) -> Memo:
    """The memo of this request; a new one where the hook did not run, or ran for another app."""
    memo = request.environ.get(_MEMO)
    if memo is None or memo.state is not state:
        memo = request.environ[_MEMO] = Memo(state)
    return memo


def current_auth() -> Accepted | None:
    """Who was let in to this view, or ``None``: also outside of a request."""
    if not request:
        return None
    state = current_app.extensions.get(EXTENSION_KEY)
    return memo_of(state).accepted if state is not None else None
