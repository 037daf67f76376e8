"""Resolve the credentials of a request, once per scheme."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from threading import get_ident
from types import MappingProxyType
from typing import Any

from flask import Request
from werkzeug.exceptions import HTTPException

from ..errors import ConfigError, Reason, SessionError, StoreUnavailable, TokenError, safe_summary
from ..schemes.interface import Absence, Found, Scheme
from ..schemes.outcome import Accepted, AcceptedByName, Credential, Outcome, Rejected
from ..schemes.transport import SeveralCookies
from .app_state import EXTENSION_KEY, AppState, state_of
from .cross_site import is_from_elsewhere, is_safe
from .views import ORIGINS, method_of
from .werkzeug_internals import get_app_context, get_request, get_request_context

_log = logging.getLogger("flask_jam.schemes")

#: Its key in the attributes of the request.
KEY = "_flask_jam_auth"


class RequestAuth:
    """The authentication state of one request. It lives on the request object.

    Most requests change few attributes, so the initial values are immutable and stand on the
    class: setting all of them on each object took 0.5 µs.
    """

    #: By scheme: an exception that was no refusal. It is raised again at each lookup.
    failures: Mapping[str, Exception] = MappingProxyType({})
    #: The caller whom a guard or a login of this request has let in.
    accepted: Accepted | None = None
    #: True if the answer depends on the caller, if a user was seen, and if a guard refused: see
    #: :mod:`private_answers`.
    depends = seen = refused = False
    #: The HTTP exception that a guard has raised.
    refusal: Any = None
    #: By scheme: the one of several cookies that counts.
    _chosen: Mapping[str, Credential | Rejected] = MappingProxyType({})
    #: The results of the app's own schemes, each of which is asked once.
    _found: Mapping[str, Found] = MappingProxyType({})
    #: Credentials that this request itself has issued, by scheme.
    _issued: Mapping[str, Credential] = MappingProxyType({})
    #: True if ``accepted`` was set by a guard or a login.
    _admitted = False
    #: In a tuple: the caller that the app has been given. A guard never contradicts it.
    _answer: tuple[Accepted | None] | None = None
    #: The schemes that are being asked, and by which threads: such a thread sees no caller.
    _asking: set[tuple[str, int]] | None = None
    #: In a tuple: the value that the app assigned to ``g.payload``.
    _assigned: tuple[Any] | None = None

    def __init__(self, state: AppState, request: Request) -> None:
        self.state = state
        self.request = request
        self.environ: dict[str, Any] = request.environ
        #: By scheme: the outcomes resolved so far.
        self.outcomes: dict[str, Outcome] = {}

    # --- asking ---

    def resolve(self, name: str) -> Outcome:
        """Return the outcome of a scheme, computed once."""
        outcome = self.outcomes.get(name)
        if outcome is None:
            scheme = self.state.schemes.get(name) or self.state.scheme(name)
            ask = self._authenticated if scheme._is_built_in else self._guarded_ask
            outcome = self.outcomes[name] = ask(scheme)
        return outcome

    def verdict(self, name: str) -> Outcome:
        """Return the outcome of a scheme without loading the user."""
        return self.resolve(name)

    def _guarded_ask(self, scheme: Scheme) -> Outcome:
        """Ask one of the app's own schemes: once, even if it fails or looks up the caller."""
        if scheme.name in self.failures:
            raise self.failures[scheme.name]
        asking, key = self._asking or set(), (scheme.name, get_ident())
        self._asking = asking
        asking.add(key)
        try:
            return self._authenticated(scheme)
        except Exception as error:
            self.failures = {**self.failures, scheme.name: error}
            raise
        finally:
            asking.discard(key)

    def _is_being_asked(self) -> bool:
        own = get_ident()
        return any(thread == own for _, thread in self._asking or ())

    def _authenticated(self, scheme: Scheme) -> Outcome:
        """Return the outcome of a scheme. Only here do refusals become values."""
        found: Credential | Rejected | None = None
        try:
            found = self.credential(scheme)
            if isinstance(found, Rejected):
                return found
            accepted = scheme.authenticate(found, self.request)
        except (TokenError, SessionError, StoreUnavailable) as error:
            if not isinstance(found, Credential):
                return Rejected(scheme.name, error.reason)
            return Rejected(scheme.name, error.reason, found.source, found.fingerprint())
        except Exception as error:
            _log.error("scheme %s raised %s", scheme.name, safe_summary(error))
            raise
        return accepted if scheme._is_built_in else _checked(scheme, found, accepted)

    def load(self, accepted: Accepted) -> Outcome:
        """Return the caller as it is: this app has no ``load_user``."""
        return accepted

    def credential(self, scheme: Scheme) -> Credential | Rejected:
        """Return the credential of a scheme: issued during this request, else sent with it."""
        if self._issued and scheme.name in self._issued:
            return self._issued[scheme.name]
        if not scheme._is_built_in:
            return self.admissible(scheme, self._find_once(scheme))
        found = scheme.find(self.request)
        if type(found) is Credential and found.source == "header" and not scheme.ambient:
            return found  # most need no further check
        return self.admissible(scheme, found)

    def _find_once(self, scheme: Scheme) -> Found:
        if scheme.name not in self._found:
            self._found = {**self._found, scheme.name: scheme.find(self.request)}
        return self._found[scheme.name]

    def admissible(self, scheme: Scheme, found: Found) -> Credential | Rejected:
        """Reject a credential that must not be verified: absent, malformed or sent cross-site."""
        if not isinstance(found, Credential) or found.scheme != scheme.name:
            return _not_found(scheme, found, self.request)
        is_ambient = found.source == "cookie" or scheme.ambient
        is_unsafe = is_ambient and not is_safe(self.environ)
        if is_unsafe and is_from_elsewhere(self.environ, self.trusted()):
            return Rejected(scheme.name, Reason.CSRF, found.source)
        return self._choose(scheme, found) if isinstance(found, SeveralCookies) else found

    def _choose(self, scheme: Scheme, found: SeveralCookies) -> Credential | Rejected:
        """Return the valid one of several cookies of a name; the newest, if they have one owner.

        Those of an earlier ``cookie_domain``, or of another app on the host, are invalid here.
        Valid ones of two owners are refused: a sibling host may have set one of them.
        """
        if scheme.name not in self._chosen:
            self._chosen = {**self._chosen, scheme.name: self._newest(scheme, found)}
        return self._chosen[scheme.name]

    def _newest(self, scheme: Scheme, found: SeveralCookies) -> Credential | Rejected:
        living: list[tuple[Accepted, Credential]] = []
        for credential in found.each():
            try:
                living.append((scheme.authenticate(credential, self.request), credential))
            except (TokenError, SessionError):
                continue
            except StoreUnavailable as error:
                return Rejected(scheme.name, error.reason, found.source)
        identities = {accepted.identity for accepted, _ in living}
        if len(living) > 1 and (len(identities) > 1 or None in identities):
            return Rejected(scheme.name, Reason.MALFORMED, found.source)
        first = Credential(*found)
        return max(living, key=lambda each: _began(each[0]))[1] if living else first

    def trusted(self) -> Collection[str]:
        """Return the other origins that may send this request with a cookie."""
        settings, view = self.state.jam.settings, self.state.view_of(self.request)
        method = method_of(getattr(view, "view_class", None), self.request.method)
        own: Collection[str] = getattr(view, ORIGINS, ()) or getattr(method, ORIGINS, ())
        return {*settings.trusted_origins, *own} if own else settings.trusted_origins

    def look(self) -> Accepted | None:
        """Return the caller at any point of the request; refuse nothing.

        The guard's own schemes are asked first, then the others in the order of ``init_app``. The
        first one with a credential decides: a bad one gives None, and so does a store that is down.
        """
        if self._admitted:
            return self.accepted
        if self._answer is None:
            if self._asking and self._is_being_asked():
                return None
            self._answer = (self._first(),)
            self.observe(self._answer[0])
        return self._answer[0]

    def _first(self) -> Accepted | None:
        for name in self.state.schemes_for(self.request):
            try:
                outcome = self.resolve(name)
            except HTTPException:  # such as a 429 of ``load_user``: only a guard raises it
                return None
            if isinstance(outcome, Accepted):
                if type(outcome) is AcceptedByName and not self._is_taken(outcome):
                    return None
                return outcome
            if outcome.reason is not Reason.MISSING:
                return None
        return None

    def _is_taken(self, accepted: Accepted) -> bool:
        """Return True if a guard in front of the view accepts the tokens of this issuer.

        So a check of ``current_auth()`` is not passed by an issuer that no route names.
        """
        guards = self.state.guards_for(self.request)
        rules = (rule for guard in guards for rule in guard.rules)
        return any(rule.scheme == accepted.scheme and rule.takes(accepted) for rule in rules)

    def payload(self) -> Any:
        """Return ``g.payload``: the caller's payload, or what the app assigned."""
        accepted = self.look()
        if self._assigned is not None:
            return self._assigned[0]
        return None if accepted is None else accepted.payload

    # --- deciding ---

    def admits(self, name: str) -> bool:
        """Admit the caller of a scheme; return False if there is none, or it must be refused."""
        outcome = self.outcomes.get(name) or self.resolve(name)
        if type(outcome) is not Accepted:  # also a caller whom only some guards accept
            return False
        if self._answer is not None or self._assigned is not None:
            return self.admit(outcome) is None
        # The same as admit, for the first lookup: it saves most requests a call.
        self.accepted = outcome
        self._answer = (outcome,)
        self._admitted = self.depends = self.seen = True
        return True

    def admit(self, accepted: Accepted) -> Rejected | None:
        """Let the view see the caller whom a guard lets in.

        :returns: the refusal, if the app has seen another caller in this request: a check in
            ``before_request``, an outer guard and the view must never see two users.
        """
        conflict = self.conflict(accepted)
        if conflict is not None:
            return conflict
        self.accepted = accepted
        self._answer = (accepted,)
        self._admitted = self.depends = self.seen = True
        self._assigned = None
        return None

    @property
    def admitted(self) -> bool:
        """Return True if a guard or a login has let a caller in."""
        return self._admitted and self.accepted is not None

    def certain(self) -> Accepted | None:
        """Return the caller whom a guard or a login has let in; None if neither has."""
        return self.look() if self.admitted else None

    def pass_by(self) -> None:
        """Note that an optional guard let the request pass without a credential.

        It settles nothing: another scheme may still know the caller.
        """
        self.depends = True
        self._assigned = None

    def hide(self) -> None:
        """Hide the caller from the view, unless a guard or a login has let them in."""
        self._admitted = True

    def conflict(self, accepted: Accepted) -> Rejected | None:
        """Return the refusal of a caller, if the request was answered for another one before.

        What a scheme or ``load_user`` raised at that question is raised now.
        """
        if self._answer is None or accepted is self._answer[0]:
            return None
        earlier = self._answer[0]
        if earlier is not None:
            is_same = earlier.subject is not None and earlier.identity == accepted.identity
            reasons = set() if is_same else {Reason.MALFORMED}
        else:
            for error in self.failures.values():
                raise error
            # None was right if no credential came, and not if one was bad or could not be checked.
            rejected = (each for each in self.outcomes.values() if isinstance(each, Rejected))
            reasons = {each.reason for each in rejected} - {Reason.MISSING}
            if type(accepted) is AcceptedByName:
                reasons.add(Reason.MALFORMED)  # sent, but no guard names the scheme
        if not reasons:
            return None
        reason = Reason.UNAVAILABLE if Reason.UNAVAILABLE in reasons else Reason.MALFORMED
        return Rejected(accepted.scheme, reason, accepted.source)

    def refuse(self) -> None:
        """Note that a guard has refused the request. The caller can still be looked up."""
        self.refused = self.depends = True
        self._assigned = None

    def denied(self, accepted: Accepted, reason: Reason) -> Rejected:
        """Return the refusal of a user who is authenticated, but not authorized."""
        found = self.credential(self.state.scheme(accepted.scheme))
        fingerprint = found.fingerprint() if isinstance(found, Credential) else None
        return Rejected(
            accepted.scheme,
            reason,
            accepted.source,
            fingerprint,
            accepted.subject,
            accepted.issuer,
        )

    def observe(self, outcome: Outcome | None) -> None:
        """Note that the answer depends on an outcome."""
        self.depends, self.seen = True, self.seen or isinstance(outcome, Accepted)

    # --- logging in and out ---

    def arrive(self, credential: Credential, accepted: Accepted) -> None:
        """Use a credential issued during this request: from here on guards check that one."""
        self._issued = {**self._issued, credential.scheme: credential}
        self.outcomes[credential.scheme] = accepted
        self._replace(accepted)
        self.seen = True

    def issued(self, name: str) -> Credential | None:
        """Return the credential of a scheme that this request has issued."""
        return self._issued.get(name)

    def leave(self, name: str) -> None:
        """Forget the login of a scheme: it was ended during this request."""
        self._issued = {k: v for k, v in self._issued.items() if k != name}
        self.outcomes[name] = Rejected(name, Reason.MISSING)
        known = self.known()
        if known is not None and known.scheme == name:
            self._replace(None)

    def known(self) -> Accepted | None:
        """Return the caller that the app has seen so far; look nothing up."""
        return self.accepted if self._admitted else (self._answer or (None,))[0]

    def assign(self, value: Any) -> None:
        """Set ``g.payload`` to a value of the app, for this request."""
        self._assigned = (value,)

    def unassign(self) -> None:
        """Reset ``g.payload`` to the caller's payload."""
        self._assigned = None

    def block(self) -> None:
        """Treat the request as anonymous; look nothing up."""
        self._admitted = True

    def _replace(self, accepted: Accepted | None) -> None:
        self.accepted = accepted
        self._answer = (accepted,)
        self._admitted = True
        self._assigned = None


def _checked(scheme: Scheme, credential: Credential, accepted: object) -> Accepted:
    """Raise an error if the result of a scheme is no ``Accepted`` of that scheme."""
    author = type(scheme).__name__
    if (
        not isinstance(accepted, Accepted)
        or accepted.scheme != scheme.name
        or accepted.source != credential.source
    ):
        raise ConfigError(
            f"{author}.authenticate must return Accepted({scheme.name!r}, credential.source, ...) "
            f"or raise TokenError(reason), got {type(accepted).__name__}"
        )
    names = accepted.subject, accepted.issuer
    are_names = all(isinstance(name, (str, type(None))) for name in names)
    if not are_names or type(accepted.payload) is not dict:
        raise ConfigError(
            f"{author}.authenticate must give Accepted a subject and an issuer that are strings "
            "or None, and a payload that is a dict"
        )
    return accepted


def _began(accepted: Accepted) -> tuple[float, float]:
    """Return the timestamps of a login and its token, to find the newest."""
    iat = accepted.payload.get("iat")
    return accepted.auth_time or 0.0, float(iat) if isinstance(iat, (int, float)) else 0.0


def _not_found(scheme: Scheme, found: object, request: Request) -> Rejected:
    if not isinstance(found, Absence):
        # Neither is a credential under the name of another scheme.
        raise ConfigError(
            f"{type(scheme).__name__}.find must return a Credential, MISSING or MALFORMED, got "
            f"{type(found).__name__}"
        )
    source = None if found is Absence.MISSING else scheme._malformed_source(request)
    return Rejected(scheme.name, found.value, source)


def current_request_auth() -> RequestAuth:
    """Return the authentication state of the current request.

    :raises ConfigError: if no extension was initialised on the app.
    """
    try:
        context = get_request_context()
    except LookupError:
        get_request()  # raises Flask's own sentence
        raise
    request, app = context.request, get_app_context().app
    auth: RequestAuth | None = request.__dict__.get(KEY)
    if auth is None and app is context.app:
        state: AppState = app.extensions.get(EXTENSION_KEY) or state_of(app)
        cls: type[RequestAuth] = state.auth_class or RequestAuth
        auth = request.__dict__[KEY] = cls(state, request)
    elif auth is None or auth.state.app is not app:
        # In the context of another app no caller is known: the request is not for that app.
        auth = RequestAuth(state_of(app), request)
        auth.block()
    return auth
