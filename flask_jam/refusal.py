"""From a reason to an answer: status, challenge, body. One table (see :data:`_ANSWERS`).

Refusals are werkzeug's HTTP exceptions, so an app's own ``errorhandler`` decides what they look
like; this file says what they look like otherwise. Texts are fixed: nothing of a credential, a
claim or an error ever gets into one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any, NamedTuple, NoReturn

from flask import request
from werkzeug.exceptions import (
    BadRequest,
    Forbidden,
    HTTPException,
    ServiceUnavailable,
    Unauthorized,
)
from werkzeug.utils import redirect

from . import signals
from ._request.cookies import Cookie, clear_later
from ._request.current_auth import AppState
from ._request.login_redirect import login_url
from ._request.negotiation import PROBLEM, wants_html, wants_page
from .errors import Reason
from .schemes.outcome import Rejected

_log = logging.getLogger(__name__)

RETRY_AFTER = 1


class Asked(NamedTuple):
    """What a challenge says of the guard that refuses."""

    schemes: tuple[str, ...]
    scopes: tuple[str, ...] = ()
    max_age: float | None = None


class Answer(NamedTuple):
    """The public face of a reason."""

    error: str
    detail: str
    exception: type[Refusal]


class Refusal(HTTPException):
    """A guard said no. ``reason`` is for the app's handlers and logs, not for the client."""

    reason: Reason
    error: str
    challenge: str | None = None
    #: Where a script of HTMX should send the person to log in.
    login_url: str | None = None

    @property
    def extra_headers(self) -> dict[str, str]:
        """What an answer of your own should carry too: the challenge, or ``Retry-After``."""
        if self.code == ServiceUnavailable.code:
            return {"Retry-After": str(RETRY_AFTER)}
        extra = {} if self.challenge is None else {"WWW-Authenticate": self.challenge}
        return extra if self.login_url is None else {**extra, "HX-Redirect": self.login_url}

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        """The headers of the answer, the challenge included."""
        kind = "text/html; charset=utf-8" if wants_html() else PROBLEM
        return [("Content-Type", kind), *self.extra_headers.items()]

    def get_body(self, *args: Any, **kwargs: Any) -> str:
        """Problem details (RFC 9457), or a page for who prefers one."""
        if wants_html():
            return super().get_body(*args, **kwargs)
        problem = {
            "type": "about:blank",
            "title": self.name,
            "status": self.code,
            "detail": self.description,
            "error": self.error,
        }
        return json.dumps(problem)


class Malformed(Refusal, BadRequest):
    """400: the request itself is wrong."""


class Unauthenticated(Refusal, Unauthorized):
    """401: nobody is known."""


class Denied(Refusal, Forbidden):
    """403: somebody is known, and may not."""


class Unavailable(Refusal, ServiceUnavailable):
    """503: the store did not answer, so nothing is known."""


class ToLogin(Refusal):
    """302 or 303: a page that somebody must log in for sends them there."""

    def __init__(self, location: str, code: int) -> None:
        self.code = code
        response = redirect(location, code)
        response.headers["Cache-Control"] = "no-store"
        super().__init__("Log in first.", response)

    @property
    def extra_headers(self) -> dict[str, str]:
        """Where to."""
        response: Any = self.response
        return {"Location": response.headers["Location"]}


# One text for every way in which a token can be wrong: a stranger learns nothing from it (RFC
# 8725 3.3 apart, an oracle). "Expired" is only ever said after the signature held.
_INVALID = Answer("invalid_token", "The credential is not valid.", Unauthenticated)
_EXPIRED = Answer("invalid_token", "The credential has expired.", Unauthenticated)

_ANSWERS: dict[Reason, Answer] = {
    Reason.MISSING: Answer("missing_credential", "Authentication is required.", Unauthenticated),
    Reason.MALFORMED: Answer(
        "invalid_request", "The request carries its credential in a wrong form.", Malformed
    ),
    Reason.TOO_LARGE: _INVALID,
    Reason.INVALID: _INVALID,
    Reason.EXPIRED: _EXPIRED,
    Reason.NOT_YET_VALID: _INVALID,
    Reason.WRONG_ISSUER: _INVALID,
    Reason.WRONG_AUDIENCE: _INVALID,
    Reason.WRONG_TYPE: _INVALID,
    Reason.REVOKED: _INVALID,
    Reason.REUSED: _INVALID,
    Reason.UNKNOWN_SESSION: _INVALID,
    Reason.SESSION_EXPIRED: _EXPIRED,
    Reason.STALE: Answer(
        "insufficient_user_authentication", "A more recent login is required.", Unauthenticated
    ),
    Reason.CSRF: Answer("csrf", "The request comes from another site.", Denied),
    Reason.INSUFFICIENT_SCOPE: Answer(
        "insufficient_scope", "The credential does not cover this request.", Denied
    ),
    Reason.INSUFFICIENT_ROLE: Answer("access_denied", "Access is denied.", Denied),
    Reason.DENIED: Answer("access_denied", "Access is denied.", Denied),
    Reason.UNAVAILABLE: Answer(
        "temporarily_unavailable", "Authentication is not possible at the moment.", Unavailable
    ),
}


def refusal(
    reason: Reason,
    realm: str,
    *,
    cookie_only: bool = False,
    scopes: Iterable[str] = (),
    max_age: float | None = None,
) -> Refusal:
    """The exception to raise for a reason.

    :param cookie_only: whether the guard takes a session cookie and nothing else.
    :param scopes: all that the guard needs, told where one is missing (RFC 6750 3.1).
    :param max_age: seconds since the login that the guard allows (RFC 9470 3).
    """
    answer = _ANSWERS[reason]
    exception = answer.exception(answer.detail)
    exception.reason, exception.error = reason, answer.error
    if cookie_only and exception.code == Unauthorized.code:
        exception.challenge = f'Cookie realm="{realm}"'
    elif answer.error in _CHALLENGED:
        exception.challenge = _bearer(realm, answer, scopes, max_age)
    return exception


def refuse(state: AppState, why: Rejected, guard: Asked, *, clears: bool = True) -> NoReturn:
    """Tell who listens, then raise. Every refusal of a request goes through here.

    :param clears: whether a page that is refused for a dead cookie clears it.
    :raises Refusal: always.
    """
    _log.debug("refused at %s: %s (%s)", request.endpoint, why.reason, why.fingerprint)
    signals.emit(
        signals.rejected,
        state.app,
        scheme=why.scheme,
        reason=why.reason,
        source=why.source,
        endpoint=request.endpoint,
        fingerprint=why.fingerprint,
    )
    is_page = wants_page()
    if clears and is_page and why.source == "cookie" and why.reason in _DEAD:
        _clear(state, why.scheme)
    headers = [state.scheme(name).header_name for name in guard.schemes]
    cookie_only = set(guard.schemes) == {"session"} and not any(headers)
    refused = refusal(
        why.reason,
        state.jam.settings.realm,
        cookie_only=cookie_only,
        scopes=guard.scopes,
        max_age=guard.max_age,
    )
    raise _sent_to_login(state, refused, is_page=is_page)


#: A cookie of these never becomes good again. Others may be good for another page, another app of
#: the same domain, or in a moment.
_DEAD = frozenset(
    {
        Reason.TOO_LARGE,
        Reason.INVALID,
        Reason.EXPIRED,
        Reason.WRONG_TYPE,
        Reason.REVOKED,
        Reason.REUSED,
        Reason.UNKNOWN_SESSION,
        Reason.SESSION_EXPIRED,
    }
)


def _clear(state: AppState, scheme: str) -> None:
    # Of pages only: a script's answer may come after that of the refresh which replaced the cookie.
    name = state.scheme(scheme).cookie_name
    if name is not None:
        clear_later(state.app, state.jam.settings, Cookie(name))


def _sent_to_login(state: AppState, refused: Refusal, *, is_page: bool) -> Refusal:
    """What a person gets instead of a 401: the way to the login page, if the app has one."""
    view = state.jam.settings.login_view
    if view is None or refused.code != Unauthorized.code:
        return refused
    is_htmx = "HX-Request" in request.headers
    url = login_url(view) if is_page or is_htmx else None
    if url is None:
        return refused
    if is_htmx:
        # https://htmx.org/reference/#response_headers: it follows this with any status.
        refused.login_url = url
        return refused
    to_login = ToLogin(url, 302 if request.method in ("GET", "HEAD") else 303)
    to_login.reason, to_login.error = refused.reason, refused.error
    return to_login


_CHALLENGED = frozenset(
    {
        "missing_credential",
        "invalid_request",
        "invalid_token",
        "insufficient_user_authentication",
        "insufficient_scope",
    }
)


def _bearer(realm: str, answer: Answer, scopes: Iterable[str], max_age: float | None) -> str:
    """The challenge (RFC 6750 3): no ``error`` where nothing was presented."""
    parts = [f'Bearer realm="{realm}"']
    if answer.error != "missing_credential":
        parts.append(f'error="{answer.error}"')
    if answer.error == "invalid_token":
        parts.append(f'error_description="{answer.detail}"')
    if answer.error == "insufficient_scope":
        parts.append(f'scope="{" ".join(scopes)}"')
    if answer.error == "insufficient_user_authentication":
        parts.append(f'max_age="{int(max_age or 0)}"')
    return ", ".join(parts)
