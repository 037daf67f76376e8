"""The HTTP exceptions that guards raise, for the app's own ``errorhandler``.

Their texts are fixed: they never contain a part of a credential, a claim or an error. The status of
each reason is in :mod:`flask_jam._request.status_codes`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Any, NoReturn

from flask import request
from werkzeug.exceptions import (
    BadRequest,
    Forbidden,
    ServiceUnavailable,
    Unauthorized,
)
from werkzeug.utils import redirect

from . import signals
from ._request.app_state import AppState
from ._request.cookies import clear_later, own_cookie
from ._request.flask_internals import DirectAnswer, has_own_handler
from ._request.login_redirect import flash_login_message, login_url, login_view_of
from ._request.negotiation import PROBLEM, wants_html, wants_page
from ._request.request_auth import current_request_auth
from ._request.status_codes import ANSWERS, PERMANENT
from .errors import Reason
from .schemes.interface import Requirement
from .schemes.outcome import Rejected
from .schemes.transport import TransportScheme

_log = logging.getLogger(__name__)

RETRY_AFTER = 1
_NO_REQUIREMENT = Requirement()


@lru_cache(64)
def _problem(title: str, status: int | None, detail: str | None, error: str) -> str:
    """Return problem details (RFC 9457)."""
    about = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return json.dumps({**about, "error": error})


class Refusal(DirectAnswer):
    """A refused request. ``reason`` is for the app's handlers and logs, not for the client."""

    reason: Reason
    error: str
    challenge: str | None = None
    #: The URL to which htmx should send the user to log in.
    login_url: str | None = None

    @property
    def extra_headers(self) -> dict[str, str]:
        """Return the headers of your own answer, too: the challenge or ``Retry-After``."""
        if self.code == ServiceUnavailable.code:
            return {"Retry-After": str(RETRY_AFTER)}
        extra = {} if self.challenge is None else {"WWW-Authenticate": self.challenge}
        return extra if self.login_url is None else {**extra, "HX-Redirect": self.login_url}

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        """Return the headers of the answer, the challenge included."""
        kind = "text/html; charset=utf-8" if wants_html() else PROBLEM
        return [("Content-Type", kind), *self.extra_headers.items()]

    def get_body(self, *args: Any, **kwargs: Any) -> str:
        """Return problem details (RFC 9457), or a page for a client that prefers one."""
        if wants_html():
            return super().get_body(*args, **kwargs)
        return _problem(self.name, self.code, self.description, self.error)


class Malformed(Refusal, BadRequest):
    """400: the request itself is wrong."""


class Unauthenticated(Refusal, Unauthorized):
    """401: not authenticated."""


class Denied(Refusal, Forbidden):
    """403: authenticated, but not authorized."""


class Unavailable(Refusal, ServiceUnavailable):
    """503: the store did not answer."""


class ToLogin(Refusal):
    """A redirect to the login page, for a client that wants a page.

    It has no ``code``, so Flask passes it only to an error handler for this class: one for
    ``HTTPException`` or ``Exception`` would replace the redirect.
    """

    code: int | None = None

    def __init__(self, location: str, status: int) -> None:
        response = redirect(location, status)
        response.headers["Cache-Control"] = "no-store"
        super().__init__("Log in first.", response)

    @property
    def extra_headers(self) -> dict[str, str]:
        """Return the ``Location``, and the header for htmx."""
        response: Any = self.response
        return {"Location": response.headers["Location"]}


_EXCEPTIONS: dict[int, type[Refusal]] = {
    400: Malformed,
    401: Unauthenticated,
    403: Denied,
    503: Unavailable,
}


def refusal(reason: Reason, challenge: str | None = None) -> Refusal:
    """Return the exception to raise for a reason.

    :param challenge: the ``WWW-Authenticate`` value, if there is one.
    """
    answer = ANSWERS[reason]
    exception = _EXCEPTIONS[answer.status](answer.detail)
    exception.reason, exception.error, exception.challenge = reason, answer.error, challenge
    return exception


def refuse(
    state: AppState,
    why: Rejected,
    schemes: Collection[str],
    requirement: Requirement = _NO_REQUIREMENT,
    *,
    clears: bool = True,
) -> NoReturn:
    """Emit ``rejected``, then raise. Every refusal of a request goes through here.

    :param schemes: those that the guard accepts; each adds its challenge.
    :param clears: True if a page refused for an invalid cookie clears it.
    :raises Refusal: always.
    """
    auth = current_request_auth()
    auth.refuse()
    _log.debug("refused at %s: %s (%s)", auth.request.endpoint, why.reason, why.fingerprint)
    signals.emit(
        signals.rejected,
        state.app,
        scheme=why.scheme,
        reason=why.reason,
        source=why.source,
        endpoint=auth.request.endpoint,
        subject=why.subject,
        fingerprint=why.fingerprint,
        issuer=why.issuer,
    )
    is_page = wants_page()
    if clears and is_page and why.source == "cookie" and why.reason in PERMANENT:
        _clear(state, why.scheme)
    refused = refusal(why.reason, _challenge(state, why.reason, schemes, requirement))
    if not _is_for_a_dialog(state, why, schemes):
        refused = _sent_to_login(state, refused, is_page=is_page)
    auth.refusal = refused
    raise refused


def refuse_login(state: AppState, scheme: str, subject: str | None) -> NoReturn:
    """Emit ``login_failed``, then raise a 401 without a redirect to the login page.

    :raises Unauthenticated: always.
    """
    auth = current_request_auth()
    auth.refuse()
    signals.emit(signals.login_failed, state.app, scheme=scheme, subject=subject)
    challenge = _challenge(state, Reason.INVALID, (scheme,), _NO_REQUIREMENT)
    auth.refusal = refusal(Reason.INVALID, challenge)
    raise auth.refusal


def _challenge(
    state: AppState, reason: Reason, schemes: Iterable[str], requirement: Requirement
) -> str | None:
    """Return the challenges of all schemes, one of each kind (RFC 9110 11.6.1)."""
    challenges: dict[str, str] = {}
    if ANSWERS[reason].status == 503 or ANSWERS[reason].error in ("csrf", "access_denied"):
        return None  # no other credential would help
    for name in schemes:
        challenge = state.scheme(name).challenge(reason, requirement)
        if challenge:
            challenges.setdefault(challenge.partition(" ")[0].lower(), challenge)
    if len(challenges) > 1:
        challenges.pop("cookie", None)  # it only says that there is no other way
    return ", ".join(challenges.values()) or None


def _clear(state: AppState, scheme: str) -> None:
    # Of pages only: a script's answer may come after that of the refresh which replaced the cookie.
    found = state.schemes.get(scheme)
    if isinstance(found, TransportScheme) and found.cookie_name is not None:
        settings = state.jam.settings
        clear_later(state.app, settings, own_cookie(settings, found.cookie_name))


def _is_for_a_dialog(state: AppState, why: Rejected, schemes: Collection[str]) -> bool:
    """Return True if no login page would help, as the browser itself asks for a password.

    A wrong password is attached to every request, also after a login with a form: only a challenge
    makes the browser ask for another. A redirect would lead back here without end.
    """
    is_wrong = why.reason not in (Reason.MISSING, Reason.STALE)
    if is_wrong and state.scheme(why.scheme)._has_dialog:
        return True
    return all(state.scheme(name)._has_dialog for name in schemes)


def _sent_to_login(state: AppState, refused: Refusal, *, is_page: bool) -> Refusal:
    """Return a redirect to the login page in place of a 401, if the app has a login page."""
    settings = state.jam.settings
    view = login_view_of(settings)
    if view is None or refused.code != Unauthorized.code:
        return refused
    is_htmx = "HX-Request" in request.headers
    url = login_url(view) if is_page or is_htmx else None
    if url is None:
        return refused
    flash_login_message(settings)
    if is_htmx:
        # https://htmx.org/reference/#response_headers: it follows this with any status.
        refused.login_url = url
        return refused
    status = 302 if request.method in ("GET", "HEAD") else 303
    to_login = ToLogin(url, status)
    to_login.reason, to_login.error = refused.reason, refused.error
    if has_own_handler(state.app, ToLogin, request.blueprints):
        to_login.code = status  # no longer final: Flask asks that handler
    return to_login
