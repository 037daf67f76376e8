"""What one request has established about its caller: each scheme is resolved at most once."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from flask import Request

from ..errors import ConfigError, Reason, SessionError, StoreUnavailable, TokenError, safe_summary
from ..schemes.interface import Absence, Found, Scheme
from ..schemes.outcome import Accepted, Credential, Outcome, Rejected
from .app_state import AppState, state_of
from .cross_site import is_cross_site
from .werkzeug_internals import get_app, get_request

_log = logging.getLogger("flask_jam.schemes")

_KEY = "_flask_jam_auth"


class RequestAuth:
    """Hangs on the request object and ends with it. Its verbs are what happens in a request."""

    __slots__ = (
        "_admitted",
        "_assigned",
        "_found",
        "_issued",
        "_settled",
        "accepted",
        "depends",
        "environ",
        "outcomes",
        "refused",
        "request",
        "seen",
        "state",
    )

    def __init__(self, state: AppState, request: Request) -> None:
        self.state = state
        self.request = request
        self.environ: dict[str, Any] = request.environ
        #: By scheme: what was resolved so far.
        self.outcomes: dict[str, Outcome] = {}
        #: Who the request is from, once that is settled.
        self.accepted: Accepted | None = None
        #: Whether the answer depends on who asks, whether a user was seen, and whether a guard
        #: refused: see :mod:`private_answers`.
        self.depends = self.seen = self.refused = False
        #: What a scheme of the app's own has found: it is asked once.
        self._found: dict[str, Found] | None = None
        #: Credentials that this request itself has issued, by scheme.
        self._issued: dict[str, Credential] = {}
        self._settled = False
        #: Whether a guard or a login settled it.
        self._admitted = False
        #: In a tuple: what the app itself assigned to ``g.payload``.
        self._assigned: tuple[Any] | None = None

    # --- asking ---

    def resolve(self, name: str) -> Outcome:
        """Return the outcome of a scheme: computed now, or remembered."""
        outcome = self.outcomes.get(name)
        if outcome is None:
            scheme = self.state.schemes.get(name) or self.state.scheme(name)
            outcome = self.outcomes[name] = self._authenticated(scheme)
        return outcome

    def _authenticated(self, scheme: Scheme) -> Outcome:
        """Return the outcome of a scheme: refusals become values here and nowhere else."""
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

    def credential(self, scheme: Scheme) -> Credential | Rejected:
        """Return the credential of a scheme: what this request has issued, else what it sent."""
        issued = self._issued.get(scheme.name) if self._issued else None
        if issued is not None:
            return issued
        find = scheme.find if scheme._is_built_in else partial(self._find_once, scheme)
        return self.admissible(scheme, find(self.request))

    def _find_once(self, scheme: Scheme, request: Request) -> Found:
        known = self._found = {} if self._found is None else self._found
        if scheme.name not in known:
            known[scheme.name] = scheme.find(request)
        return known[scheme.name]

    def admissible(self, scheme: Scheme, found: Found) -> Credential | Rejected:
        """Reject what must not be verified: absent, malformed, or sent by another site."""
        if not isinstance(found, Credential) or found.scheme != scheme.name:
            return _not_found(scheme, found, self.request)
        is_ambient = found.source == "cookie" or scheme.ambient
        if is_ambient and is_cross_site(self.environ, self.state.jam.settings.trusted_origins):
            return Rejected(scheme.name, Reason.CSRF, found.source)
        return found

    def look(self) -> Accepted | None:
        """Return who asks, at any moment of the request; refuse nothing.

        The guard's own schemes are asked first, then the others in the order of ``init_app``. The
        first one with a credential decides: a bad one is None, and so is a store that is down.
        """
        if not self._settled:
            self._settled = True  # first, so that a scheme that asks sees no caller
            self.accepted = self._first()
            self.observe(self.accepted)
        return self.accepted

    def _first(self) -> Accepted | None:
        for name in self.state.schemes_for(self.request):
            outcome = self.resolve(name)
            if isinstance(outcome, Accepted):
                return outcome
            if outcome.reason is not Reason.MISSING:
                return None
        return None

    def payload(self) -> Any:
        """Return what ``g.payload`` is: the payload of the caller, or what the app assigned."""
        accepted = self.look()
        if self._assigned is not None:
            return self._assigned[0]
        return None if accepted is None else accepted.payload

    # --- deciding ---

    def admit(self, accepted: Accepted | None) -> Rejected | None:
        """Let the view see who a guard lets in.

        :returns: the refusal, if the request was answered for another caller before: a gate in
            ``before_request``, an outer guard and the view must never see two people.
        """
        if self._settled and accepted is not None and accepted is not self.accepted:
            conflict = self._conflict(accepted)
            if conflict is not None:
                return conflict
        self.accepted = accepted
        self._settled = self._admitted = self.depends = True
        self._assigned = None
        if accepted is not None:
            self.seen = True
        return None

    def _conflict(self, accepted: Accepted) -> Rejected | None:
        earlier = self.accepted
        if earlier is not None:
            is_same = earlier.subject is not None and earlier.subject == accepted.subject
            reasons = set() if is_same else {Reason.MALFORMED}
        else:
            # None was right if no credential came, and not if one was bad or could not be checked.
            rejected = (each for each in self.outcomes.values() if isinstance(each, Rejected))
            reasons = {each.reason for each in rejected} - {Reason.MISSING}
        if not reasons:
            return None
        reason = Reason.UNAVAILABLE if Reason.UNAVAILABLE in reasons else Reason.MALFORMED
        return Rejected(accepted.scheme, reason, accepted.source)

    def admitted(self) -> Accepted | None:
        """Return who an outer guard or a login has let in."""
        return self.accepted if self._admitted else None

    def refuse(self) -> None:
        """Note that a guard has refused the request. Who asks can still be looked up."""
        self.refused = self.depends = True
        self._assigned = None

    def denied(self, accepted: Accepted, reason: Reason) -> Rejected:
        """Return the refusal of a user who is authenticated, but not authorized."""
        found = self.credential(self.state.scheme(accepted.scheme))
        fingerprint = found.fingerprint() if isinstance(found, Credential) else None
        return Rejected(accepted.scheme, reason, accepted.source, fingerprint, accepted.subject)

    def observe(self, outcome: Outcome | None) -> None:
        """Note that the answer depends on an outcome."""
        self.depends, self.seen = True, self.seen or isinstance(outcome, Accepted)

    # --- logging in and out ---

    def arrive(self, credential: Credential, accepted: Accepted) -> None:
        """Use a credential issued during this request: from here on a guard means that one."""
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
        if self.accepted is not None and self.accepted.scheme == name:
            self._replace(None)

    def assign(self, value: Any) -> None:
        """Have ``g.payload`` be a value of the app's own, for this request."""
        self._assigned = (value,)

    def block(self) -> None:
        """Know no caller, and ask for none."""
        self._settled = True

    def _replace(self, accepted: Accepted | None) -> None:
        self.accepted = accepted
        self._settled = self._admitted = True
        self._assigned = None


def _checked(scheme: Scheme, credential: Credential, accepted: object) -> Accepted:
    """Let nothing pass for an identity that is none of this scheme."""
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
    if not isinstance(accepted.subject, (str, type(None))) or type(accepted.payload) is not dict:
        raise ConfigError(
            f"{author}.authenticate must give Accepted a subject that is a string or None, and a "
            "payload that is a dict"
        )
    return accepted


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
    """Return what the current request has established.

    :raises ConfigError: if no extension was initialised on the app.
    """
    request, app = get_request(), get_app()
    auth: RequestAuth | None = request.__dict__.get(_KEY)
    if auth is None:
        auth = request.__dict__[_KEY] = RequestAuth(state_of(app), request)
    elif auth.state.app is not app:
        # In the context of another app nobody is known: the request is not for that one.
        auth = RequestAuth(state_of(app), request)
        auth.block()
    return auth


def request_auth_so_far() -> RequestAuth | None:
    """Return what the current request has established, if anything was asked."""
    found: RequestAuth | None = get_request().__dict__.get(_KEY)
    return found
