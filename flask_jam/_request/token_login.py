"""``jwt.login()`` and ``jwt.refresh()``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blinker import NamedSignal
from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from .. import signals
from .._credentials.refresh_rotation import Reload, TokenPair
from .._helpers.strict_json import strict_object
from ..errors import Reason, TokenError
from ..schemes.jwt import JWTScheme
from ..schemes.outcome import Accepted, Credential, Rejected
from .app_state import AppState
from .cookies import Cookie, Setting, refresh_cookies, set_later
from .login import arrive, check_site, durably, refuse_action
from .request_auth import current_request_auth

#: A refresh request is small; a larger body is not read.
_MAX_BODY = 16384
_TOKENS = ("access_token", "refresh_token")


def login(
    state: AppState, scheme: JWTScheme, subject: str, claims: Mapping[str, Any]
) -> dict[str, Any]:
    """Issue a new pair; emit ``logged_in``."""
    check_site(state, scheme)
    with durably(state, scheme):
        pair = state.jam.issue_pair(subject, **claims)
    return _send_pair(state, scheme, pair, signals.logged_in)


def refresh(state: AppState, scheme: JWTScheme, reload: Reload | None) -> dict[str, Any]:
    """Rotate the refresh token of the body, or of its cookie; emit ``refreshed``."""
    # Else another site could send a token of its own, and its visitors get the cookies for it.
    check_site(state, scheme)
    credential = _refresh_token(state, scheme)
    with durably(state, scheme, credential):
        pair = state.jam.rotate_pair(credential.value, reload_claims=reload)
    return _send_pair(state, scheme, pair, signals.refreshed)


def _send_pair(
    state: AppState, scheme: JWTScheme, pair: TokenPair, signal: NamedSignal
) -> dict[str, Any]:
    facts, answer = pair.access, pair.answer
    credential = Credential(scheme.name, "body", answer["access_token"])
    accepted = Accepted(scheme.name, "body", facts.sub, facts.fresh(), facts.auth_time)
    _set_cookies(state, scheme, answer, facts.auth_time or state.jam.clock())
    arrive(state, credential, accepted, signal)
    if scheme.header_name is not None:
        return answer
    # Cookies carry them, and no script needs to see them (ASVS 3.3.4).
    return {name: value for name, value in answer.items() if name not in _TOKENS}


def _set_cookies(
    state: AppState, scheme: JWTScheme, answer: dict[str, Any], auth_time: float
) -> None:
    if scheme.cookie_name is None:
        return
    jam = state.jam
    jwt = jam.settings.jwt
    life = min(jwt.refresh_idle, auth_time + jwt.refresh_absolute - jam.clock())
    cookies = refresh_cookies(state.app, scheme.cookie_name, scheme.refresh_path)
    set_later(
        state.app,
        jam.settings,
        Setting(Cookie(scheme.cookie_name), answer["access_token"], jwt.expire),
        *(Setting(cookie, answer["refresh_token"], life) for cookie in cookies),
    )


def _refresh_token(state: AppState, scheme: JWTScheme) -> Credential:
    """Return the refresh token: one, in a JSON or form field of that name, or in its cookie."""
    # With a cookie, a script need not send a body, whatever type it says that is of.
    values = [] if scheme.cookie_name is not None and _is_empty() else _body_values()
    if values is None or len(values) > 1 or not all(isinstance(v, str) for v in values):
        refuse_action(state, Rejected(scheme.name, Reason.MALFORMED, "body"))
    if values and values[0]:
        return Credential(scheme.name, "body", str(values[0]))
    auth = current_request_auth()
    found = auth.admissible(scheme, scheme.find_refresh(auth.environ))
    if isinstance(found, Rejected):
        refuse_action(state, found)
    return found


def _body_values() -> list[Any] | None:
    if _is_too_long():
        return None
    try:
        if not request.is_json:
            return list(request.form.getlist("refresh_token"))
        body = strict_object(request.get_data())
    except (TokenError, RequestEntityTooLarge):
        # The latter is what Werkzeug calls some forms that it cannot decode.
        return None
    return [body["refresh_token"]] if "refresh_token" in body else []


def _is_empty() -> bool:
    return not request.content_length and "Transfer-Encoding" not in request.headers


def _is_too_long() -> bool:
    """Return True if the body is longer than a refresh needs, or of unknown length."""
    length = request.content_length or 0
    if not length and request.environ.get("wsgi.input_terminated"):
        # Some servers say so of every request, also of one without a body: one byte tells.
        return "Transfer-Encoding" in request.headers or bool(request.stream.read(1))
    return length > _MAX_BODY
