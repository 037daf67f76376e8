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
from .stores.memory import MemoryStore

_log = logging.getLogger(__name__)

# An attribute of a proxy costs 1 µs, its object 0.2 µs and the attribute nothing: on the guarded
# route the objects are fetched.
_app: Any = current_app
_g: Any = g
_request: Any = request

EXTENSION_KEY = "flask_jam"
_MEMO = "flask_jam.memo"
#: On ``g``: whether a request is being served. An open app context is shared by several.
_ACTIVE = "_flask_jam_active"
#: On a view: the guard that covers it, or :data:`PUBLIC`.
MARK = "__flask_jam__"
PUBLIC = "public"


class Posture(Enum):
    """What the hook does for an endpoint."""

    LEAVE = "leave"  # static, public, or guarded: nothing is asked here
    RESOLVE = "resolve"  # undecorated: g.payload says who it is


class Memo:
    """What one request has found out so far, for one app.

    It hangs in the environ and must not point back: a cycle would cost a garbage collection.
    """

    __slots__ = ("accepted", "outcomes", "outer", "presented", "state")

    def __init__(self, state: AppState) -> None:
        self.state = state
        #: In a tuple: the payload of the request that this one is made from within, if any.
        self.outer: tuple[Any] | None = None
        self.outcomes: dict[str, Outcome] = {}
        #: Credentials that this request itself has made, by scheme: they replace what it sent.
        self.presented: dict[str, Credential] = {}
        self.accepted: Accepted | None = None

    def resolve(self, name: str, environ: dict[str, Any]) -> Outcome:
        """The outcome of a scheme: asked now, or remembered."""
        outcome = self.outcomes.get(name)
        if outcome is None:
            found = self.find(name, environ)
            outcome = self.outcomes[name] = authenticated(self.state.scheme(name), found)
        return outcome

    def find(self, name: str, environ: dict[str, Any]) -> Credential | Rejected:
        """The credential of a scheme: what this request has made, else what it sent."""
        return self.presented.get(name) or self.state.scheme(name).find(environ)

    def admit(self, accepted: Accepted | None) -> None:
        """Let the view see who it is."""
        self.accepted = accepted
        _g._get_current_object().payload = None if accepted is None else accepted.payload


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
        environ, globals_ = _request._get_current_object().environ, _g._get_current_object()
        memo = environ[_MEMO] = Memo(self)
        if getattr(globals_, _ACTIVE, False):
            memo.outer = (globals_.payload,)
        setattr(globals_, _ACTIVE, True)
        globals_.payload = None
        if not self._checked:
            self._check()
        if endpoint is not None and self._posture(endpoint) is Posture.RESOLVE:
            accepted = self._somebody(memo, environ)
            if accepted is not None:
                memo.admit(accepted)

    def teardown_request(self, _error: BaseException | None) -> None:
        """Give ``g`` back to the request that this one was made from within."""
        memo, globals_ = _request._get_current_object().environ.get(_MEMO), _g._get_current_object()
        if memo is None or memo.state is not self:
            return
        setattr(globals_, _ACTIVE, memo.outer is not None)
        if memo.outer is not None:
            globals_.payload = memo.outer[0]

    def _check(self) -> None:
        # Until a check passes, every request fails: better than serving what is not guarded.
        for check in self.start_checks:
            check(self)
        environ = _request._get_current_object().environ
        if environ.get("wsgi.multiprocess") and isinstance(self.jam.store, MemoryStore):
            _log.warning(
                "there are several worker processes, and the memory store is for one: what the "
                "others know of sessions, refresh tokens and revocations is unknown here. Run one "
                "process with threads"
            )
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
            outcome = memo.resolve(name, environ)
            if isinstance(outcome, Accepted):
                return outcome
            if outcome.reason is not Reason.MISSING:
                return None
        return None

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


def current_memo() -> tuple[Memo, dict[str, Any]]:
    """The memo of this request, and its environ.

    It is a new one where the hook did not run, or ran for another app.

    :raises ConfigError: if no extension was initialised on the app.
    """
    environ = _request._get_current_object().environ
    app = _app._get_current_object()
    memo: Memo | None = environ.get(_MEMO)
    if memo is None or memo.state.app is not app:
        memo = environ[_MEMO] = Memo(_state_of(app))
    return memo, environ


def _state_of(app: Flask) -> AppState:
    state = app.extensions.get(EXTENSION_KEY)
    if state is None:
        raise ConfigError(
            "this app has a guard and no extension that could authenticate anybody: "
            "write JWTExtension(jam).init_app(app) or SessionExtension(jam).init_app(app)"
        )
    return state  # type: ignore[no-any-return]


def current_auth() -> Accepted | None:
    """Who was let in to this view, or ``None``: also outside of a request."""
    if not request or EXTENSION_KEY not in current_app.extensions:
        return None
    return current_memo()[0].accepted
