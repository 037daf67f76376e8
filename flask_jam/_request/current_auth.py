"""Who is asking: resolved at most once per request and scheme, and told by ``g.payload``.

``g.payload`` is ``None`` and never unset. A view that a guard covers is left to its guard.
Elsewhere the first scheme for which the request carries a credential decides, when somebody looks;
a bad credential means nobody, not the next scheme.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, current_app, request

from .._helpers.fork_lock import fork_safe_lock
from ..errors import ConfigError, Reason
from ..jam import Jam
from ..schemes.outcome import Accepted, Credential, Outcome, Rejected
from ..schemes.transport import Scheme, authenticated
from ..stores.memory import MemoryStore
from .views import MARK

_log = logging.getLogger("flask_jam.resolver")

# An attribute of a proxy costs 1 µs, its object 0.2 µs and the attribute nothing: on the guarded
# route the objects are fetched.
_app: Any = current_app
_request: Any = request

EXTENSION_KEY = "flask_jam"
_MEMO = "_flask_jam_memo"


class Memo:
    """What one request has found out so far. It hangs on the request object and ends with it."""

    __slots__ = (
        "accepted",
        "admitted",
        "assigned",
        "depends",
        "outcomes",
        "presented",
        "refused",
        "seen",
        "settled",
        "state",
    )

    def __init__(self, state: AppState) -> None:
        self.state = state
        self.outcomes: dict[str, Outcome] = {}
        #: Credentials that this request itself has made, by scheme.
        self.presented: dict[str, Credential] | None = None
        self.accepted: Accepted | None = None
        #: Whether ``accepted`` is decided: by a guard, or by the first look at ``g.payload``.
        self.settled = False
        #: Whether a guard or a login of this request said so.
        self.admitted = False
        #: In a tuple: what the app itself wrote to ``g.payload``, if it did.
        self.assigned: tuple[Any] | None = None
        #: Whether the answer depends on who is asking, and whether somebody was seen: a guard or
        #: the view has looked.
        self.depends = self.seen = False
        #: Whether a guard said no. Where the view made a page of that, the page depends on it.
        self.refused = False

    def was_refused(self, response: Response) -> bool:
        """Whether the view made a page of a refusal: somebody else would have got another."""
        return self.refused and response.status_code < 300

    def resolve(self, name: str, environ: dict[str, Any]) -> Outcome:
        """The outcome of a scheme: asked now, or remembered."""
        outcome = self.outcomes.get(name)
        if outcome is None:
            scheme = self.state.schemes.get(name) or self.state.scheme(name)
            # What this request has made replaces what it sent.
            own = self.presented.get(name) if self.presented else None
            found = own or scheme.find(environ)
            outcome = self.outcomes[name] = authenticated(scheme, found)
        return outcome

    def find(self, name: str, environ: dict[str, Any]) -> Credential | Rejected:
        """The credential of a scheme: what this request has made, else what it sent."""
        own = self.presented.get(name) if self.presented else None
        return own or self.state.scheme(name).find(environ)

    def denied(self, environ: dict[str, Any], accepted: Accepted, reason: Reason) -> Rejected:
        """The refusal of somebody who is known, and may not."""
        found = self.find(accepted.scheme, environ)
        fingerprint = found.fingerprint() if isinstance(found, Credential) else None
        return Rejected(accepted.scheme, reason, accepted.source, fingerprint)

    def present(self, credential: Credential) -> None:
        """Have this credential, which the request itself has made."""
        self.presented = {**(self.presented or {}), credential.scheme: credential}
        self.outcomes.pop(credential.scheme, None)

    def admit(self, accepted: Accepted | None) -> None:
        """Let the view see who it is."""
        self.accepted = accepted
        self.settled, self.admitted, self.assigned = True, True, None
        if accepted is not None:
            self.seen = True


class AppState:
    """What belongs to one app: its Jam, its schemes, and what is checked at its start."""

    def __init__(self, app: Flask, jam: Jam) -> None:
        self.app = app
        self.jam = jam
        self.schemes: dict[str, Scheme] = {}
        self.owners: dict[str, object] = {}
        #: Run once, at the first request, when all routes are known; each may raise ConfigError.
        self.start_checks: list[Callable[[AppState], None]] = []
        self._checked = False
        self._checking = fork_safe_lock()
        self._undecorated: dict[str, bool] = {}
        self._vary = ""

    def add(self, owner: object, scheme: Scheme) -> None:
        """Have a scheme, for the extension that owns it."""
        others = {cookie for other in self.schemes.values() for cookie in other.cookie_names()}
        for cookie in others.intersection(scheme.cookie_names()):
            raise ConfigError(f"two extensions read the cookie {cookie!r}: give each its own")
        self.owners[scheme.name] = owner
        self.schemes[scheme.name] = scheme
        headers = [s.header_name.lower() for s in self.schemes.values() if s.header_name]
        for each in self.schemes.values():
            name = each.header_name
            each.shares_header = name is not None and headers.count(name.lower()) > 1
        read = {s.header_name for s in self.schemes.values() if s.header_name}
        if any(s.cookie_name for s in self.schemes.values()):
            read.add("Cookie")
        self._vary = ", ".join(sorted(read))

    def first_request(self, _endpoint: str | None, _view_args: object) -> None:
        """Check all views, then get out of the way.

        Until the checks pass, every request fails: better than serving what is not guarded.
        """
        with self._checking:
            if not self._checked:
                for check in self.start_checks:
                    check(self)
                self._warn_of_processes()
                self._checked = True
        hooks = self.app.url_value_preprocessors
        # Another list, because Flask is going through this one.
        hooks[None] = [hook for hook in hooks[None] if hook != self.first_request]

    def _warn_of_processes(self) -> None:
        environ = _request._get_current_object().environ
        if environ.get("wsgi.multiprocess") and isinstance(self.jam.store, MemoryStore):
            _log.warning(
                "there are several worker processes, and the memory store is for one: what the "
                "others know of sessions, refresh tokens and revocations is unknown here. Set "
                "redis_url, or run one process with threads"
            )

    def before_it_leaves(self, process: Callable[[Response], Response]) -> Any:
        """An app's ``process_response`` that has the last word on who may keep the answer.

        What the view and every hook said of caching is known then, and stands. A function for each
        request (``after_this_request``) costs a microsecond and a half more.
        """

        def process_response(response: Response) -> Response:
            try:
                response = process(response)
            finally:  # a hook that raises leaves the answer as it is by now
                memo: Memo | None = _request._get_current_object().__dict__.get(_MEMO)
                if memo is not None and (memo.depends or memo.was_refused(response)):
                    self._keep_private(memo, response)
            return response

        return process_response

    def _keep_private(self, memo: Memo, response: Response) -> None:
        """Have no cache hand the answer of this request to somebody else (ASVS 14.3.2)."""
        headers, is_cached, is_varied = response.headers, False, False
        # To ask the headers for a name that is not there costs more than to look through them.
        for name, _ in headers:
            is_cached = is_cached or name.lower() == "cache-control"
            is_varied = is_varied or name.lower() == "vary"
        if not is_cached and memo.seen:
            headers.add("Cache-Control", "no-store")
        if not is_varied and self._vary:
            headers.add("Vary", self._vary)
        elif self._vary:
            said = [name.strip() for line in headers.getlist("Vary") for name in line.split(",")]
            known = {name.lower() for name in said}
            said += [name for name in self._vary.split(", ") if name.lower() not in known]
            headers["Vary"] = ", ".join(said)

    def settle(self, memo: Memo) -> Accepted | None:
        """Who it is; where no guard has said so, and none will, the first scheme decides."""
        if not memo.settled:
            memo.settled = True
            request = _request._get_current_object()
            endpoint = request.endpoint
            if endpoint is not None and self._is_undecorated(endpoint):
                memo.accepted = self._somebody(memo, request.environ)
                memo.depends, memo.seen = True, memo.seen or memo.accepted is not None
        return memo.accepted

    def _is_undecorated(self, endpoint: str) -> bool:
        """Whether nobody else asks: no guard will, and it is neither static nor public."""
        found = self._undecorated.get(endpoint)
        if found is None:
            view = self.app.view_functions.get(endpoint)
            static = endpoint == "static" or endpoint.endswith(".static")
            found = not static and view is not None and not hasattr(view, MARK)
            self._undecorated[endpoint] = found
        return found

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

    :raises ConfigError: if no extension was initialised on the app.
    """
    request = _request._get_current_object()
    app = _app._get_current_object()
    memo: Memo | None = request.__dict__.get(_MEMO)
    if memo is None:
        memo = request.__dict__[_MEMO] = Memo(_state_of(app))
    elif memo.state.app is not app:
        # Within the context of another app, who asks this one is nobody there.
        memo = Memo(_state_of(app))
        memo.settled = True
    return memo, request.environ


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
    memo = current_memo()[0]
    return memo.state.settle(memo)


def with_payload(base: type[Any]) -> Any:
    """The class of ``g`` with a ``payload`` that is asked for when it is read.

    So whoever does not read it pays nothing, and an app context that several requests share, one
    after another or one within another, tells each of them its own.
    """

    class Globals(base):  # type: ignore[misc]
        @property
        def payload(self) -> Any:
            if not _request:
                return None
            memo = current_memo()[0]
            accepted = memo.state.settle(memo)
            if memo.assigned is not None:
                return memo.assigned[0]
            return None if accepted is None else accepted.payload

        def __setattr__(self, name: str, value: Any) -> None:
            if name == "payload" and _request:
                current_memo()[0].assigned = (value,)
            else:
                super().__setattr__(name, value)

        def get(self, name: str, default: Any = None) -> Any:
            return self.payload if name == "payload" else super().get(name, default)

    return Globals
