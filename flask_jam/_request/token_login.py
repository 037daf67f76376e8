"""``jwt.login()`` and ``jwt.refresh()``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any

from blinker import NamedSignal
from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from .. import signals
from .._credentials.login_claims import LIFE
from .._credentials.refresh_rotation import Reload, TokenPair, handle_of_family
from .._helpers.strict_json import copy_json, strict_object
from ..errors import Reason, TokenError
from ..schemes.interface import MALFORMED, MISSING
from ..schemes.jwt import JWTScheme
from ..schemes.outcome import Accepted, Credential, Rejected
from .app_state import AppState
from .cookies import Setting, clear_later, own_cookie, refresh_cookies, set_later
from .login import (
    arrive,
    candidates,
    check_site,
    clear_twins,
    durably,
    refuse_action,
    with_known_user,
)
from .request_auth import current_request_auth

#: A refresh request is small; a larger body is not read.
_MAX_BODY = 16384
#: How many tokens of one request a login ends, at most.
_MOST_REPLACED = 4
_TOKENS = ("access_token", "refresh_token")


def login(
    state: AppState, scheme: JWTScheme, subject: str, claims: Mapping[str, Any]
) -> dict[str, Any]:
    """Issue a new pair and end the login that it replaces; emit ``logged_in``.

    :param claims: all other arguments of :meth:`~flask_jam.Jam.issue_tokens`.
    """
    check_site(state, scheme)
    old = candidates(state, scheme)
    with durably(state, scheme):
        agent, ip = request.user_agent.string, request.remote_addr
        pair = state.jam.issue_pair(subject, agent, ip, **claims)
        ended = _end_replaced(state, scheme, subject, old)
    if ended:
        clear_twins(state, scheme)
    _set_cookies(state, scheme, pair)
    return _send_pair(state, scheme, pair, _accepted(scheme, pair), signals.logged_in)


def _end_replaced(
    state: AppState, scheme: JWTScheme, subject: str, old: Iterable[Credential]
) -> bool:
    """End the logins that the request carries: those of the subject, and those in cookies.

    A header may carry the token of a client that logs users in, so its token is ended only if it
    has the same subject.

    :returns: True if one was ended.
    """
    sources = {each.value: each.source for each in old}  # of a header and a cookie, the cookie
    ended = [
        scheme.end(token)
        for token in list(sources)[:_MOST_REPLACED]
        if sources[token] == "cookie" or _owner_of(state, token) == subject
    ]
    return any(each is not None for each in ended)


def _owner_of(state: AppState, token: str) -> str | None:
    facts = state.jam.tokens.of_ours(token)
    if facts is not None:
        return facts.owner
    family = state.jam.families.of_token(token)
    return None if family is None else family.subject


def refresh(state: AppState, scheme: JWTScheme, reload: Reload | None) -> dict[str, Any]:
    """Present the refresh token of the request; emit ``refreshed``."""
    # Else another site could send a token of its own, and its visitors get the cookies for it.
    check_site(state, scheme)
    credential = _refresh_token(state, scheme)
    due = _loaded(state, scheme, credential) if state.loaders else None
    with durably(state, scheme, credential):
        # A browser stores the new one of a cookie by itself. Where no other client is given a
        # refresh token, one that comes in a body is a stolen one.
        always = credential.source == "cookie" or scheme.header_name is None
        pair = state.jam.rotate_pair(credential.value, reload_claims=reload, always=always)
    accepted = with_known_user(state, credential, _accepted(scheme, pair), due)
    if "refresh_token" in pair.answer:
        _set_cookies(state, scheme, pair)
    return _send_pair(state, scheme, pair, accepted, signals.refreshed)


def own_handle(state: AppState, scheme: JWTScheme) -> str | None:
    """Return the handle of the caller's login; None for a token without one."""
    auth = current_request_auth()
    outcome = auth.resolve(scheme.name)
    auth.observe(outcome)
    if isinstance(outcome, Rejected) or outcome.issuer is not None:
        return None  # in another issuer's token the claim means something else
    family = outcome.payload.get("fam")
    return handle_of_family(family) if isinstance(family, str) else None


def _loaded(state: AppState, scheme: JWTScheme, credential: Credential) -> Accepted | None:
    """Return the caller of a refresh token, with the user, before anything is rotated.

    So a refusal, or an error in ``load_user``, leaves the client's token valid.
    """
    with durably(state, scheme, credential):
        family = state.jam.families.due(credential.value)
    if family is None:
        return None
    claims = {name: copy_json(each) for name, each in family.claims.items() if name != LIFE}
    auth_time = claims.get("auth_time", family.started_at)
    payload = {"sub": family.subject, **claims}
    accepted = Accepted(scheme.name, credential.source, family.subject, payload, auth_time)
    return with_known_user(state, credential, accepted)


def _accepted(scheme: JWTScheme, pair: TokenPair) -> Accepted:
    facts = pair.access
    accepted = Accepted(scheme.name, "body", facts.sub, facts.fresh(), facts.auth_time)
    return accepted._replace(token_id=facts.mark)


def _send_pair(
    state: AppState, scheme: JWTScheme, pair: TokenPair, accepted: Accepted, signal: NamedSignal
) -> dict[str, Any]:
    answer = {**pair.answer, "token_type": scheme.token_type}
    credential = Credential(scheme.name, "body", answer["access_token"])
    arrive(state, credential, accepted, signal)
    if scheme.header_name is not None:
        return answer
    # Cookies carry them, and no script needs to see them (ASVS 3.3.4).
    return {name: value for name, value in answer.items() if name not in _TOKENS}


def _set_cookies(state: AppState, scheme: JWTScheme, pair: TokenPair) -> None:
    if scheme.cookie_name is None:
        return
    settings, answer = state.jam.settings, pair.answer
    life = pair.refresh_ends - state.jam.clock()
    cookies = list(refresh_cookies(state.app, settings, scheme.cookie_name, scheme.refresh_path))
    kept = cookies if "refresh_token" in answer and "cookie" in scheme.refresh_sources else []
    own = own_cookie(settings, scheme.cookie_name)
    set_later(
        state.app,
        settings,
        Setting(own, answer["access_token"], answer["expires_in"]),
        *(Setting(cookie, answer["refresh_token"], life) for cookie in kept),
    )
    # One of an earlier login would bring back its user at the next refresh.
    for cookie in cookies if not kept else ():
        clear_later(state.app, settings, cookie)


def _refresh_token(state: AppState, scheme: JWTScheme) -> Credential:
    """Return the refresh token from the body or the header, else from its cookie."""
    auth = current_request_auth()
    in_body = _in_body(state, scheme) if "body" in scheme.refresh_sources else None
    in_header = scheme.refresh_in_header(auth.environ)
    if in_header is MALFORMED or (in_body is not None and in_header is not MISSING):
        refuse_action(state, Rejected(scheme.name, Reason.MALFORMED, "header"))
    if in_body is not None:
        return in_body
    in_cookie = "cookie" in scheme.refresh_sources and in_header is MISSING
    found = scheme.find_refresh(auth.environ) if in_cookie else in_header
    outcome = auth.admissible(scheme, found)
    if isinstance(outcome, Rejected):
        refuse_action(state, outcome)
    return outcome


def _in_body(state: AppState, scheme: JWTScheme) -> Credential | None:
    """Return the refresh token from the JSON or form field; None if there is none."""
    is_optional = scheme.cookie_name is not None or "header" in scheme.refresh_sources
    values = _body_values(is_optional=is_optional)
    if values is None or len(values) > 1 or not all(isinstance(v, str) for v in values):
        refuse_action(state, Rejected(scheme.name, Reason.MALFORMED, "body"))
    return Credential(scheme.name, "body", str(values[0])) if values and values[0] else None


def _body_values(*, is_optional: bool) -> list[Any] | None:
    """Return the refresh tokens of the body; None if it cannot be read.

    :param is_optional: True if the body may be missing, whatever its content type.
    """
    try:
        length = _length_of_body()
        if length > _MAX_BODY:
            return None
        if is_optional and not length:
            return []
        if not request.is_json:
            return list(request.form.getlist("refresh_token"))
        body = strict_object(request.get_data())
    except (TokenError, RequestEntityTooLarge, OSError):
        # The second is what Werkzeug calls some forms that it cannot decode, the third what servers
        # raise for chunks that they cannot read.
        return None
    return [body["refresh_token"]] if "refresh_token" in body else []


def _length_of_body() -> int:
    """Return the body's length. A body of unknown length is read, up to a byte past the limit."""
    length = request.content_length or 0
    if length or not request.environ.get("wsgi.input_terminated"):
        return length
    body = _read(_MAX_BODY + 1)
    if body:
        request.__dict__["stream"] = BytesIO(body)  # where Werkzeug reads forms and data from
        return len(body)
    return len(request.get_data())  # a hook may have read it before


def _read(size: int) -> bytes:
    """Read up to ``size`` bytes of the body. A server's stream may return fewer at once."""
    body = b""
    while len(body) < size and (part := request.stream.read(size - len(body))):
        body += part
    return body
