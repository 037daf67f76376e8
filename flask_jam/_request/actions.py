"""Log in, refresh, log out: always store, then cookie, then signal.

So nothing is told or handed out that is not durable. A store that does not answer is a 503 here
as on a guarded route: a login that could not be kept has not happened.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from blinker import NamedSignal
from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from .. import signals
from .._credentials.refresh_rotation import Reload
from .._credentials.sessions import SessionInfo
from .._helpers.strict_json import copy_json, strict_object
from ..errors import Reason, SessionError, StoreUnavailable, TokenError
from ..refusal import Asked, refuse
from ..schemes.outcome import Accepted, Credential, Rejected
from ..schemes.transport import JWTScheme, SessionScheme
from .cookies import (
    Cookie,
    Setting,
    clear_later,
    clear_site_data_later,
    no_store_later,
    refresh_cookies,
    set_later,
)
from .cross_site import is_cross_site, is_from_elsewhere
from .current_auth import AppState, current_memo

#: A refresh request is small; a larger body is not read.
_MAX_BODY = 16384


# --- tokens ----------------------------------------------------------------------------


def jwt_login(state: AppState, subject: str, claims: Mapping[str, Any]) -> dict[str, Any]:
    """A new pair; ``logged_in``."""
    _check_site(state, "jwt")
    with _durably(state, "jwt"):
        pair = state.jam.issue_tokens(subject, **claims)
    return _send_pair(state, pair, signals.logged_in)


def jwt_refresh(state: AppState, reload: Reload | None) -> dict[str, Any]:
    """The next pair for the refresh token of the body, or of its cookie; ``refreshed``."""
    # Else another site could send a token of its own, and its visitors get the cookies for it.
    _check_site(state, "jwt")
    found = _refresh_token(state)
    with _durably(state, "jwt", found):
        pair = state.jam.refresh_tokens(found.value, reload_claims=reload)
    return _send_pair(state, pair, signals.refreshed)


def _send_pair(state: AppState, pair: dict[str, Any], signal: NamedSignal) -> dict[str, Any]:
    facts = state.jam.verifier.established(pair["access_token"])
    credential = Credential("jwt", "body", pair["access_token"])
    accepted = Accepted("jwt", "body", facts.sub, facts.fresh(), facts.born)
    _set_token_cookies(state, pair, facts.born)
    _arrived(state, credential, accepted, signal)
    if state.scheme("jwt").header_name is not None:
        return pair
    # Cookies carry them, and no script needs to see them (ASVS 3.3.4).
    return {name: said for name, said in pair.items() if name not in _TOKENS}


_TOKENS = ("access_token", "refresh_token")


def _set_token_cookies(state: AppState, pair: dict[str, Any], auth_time: float) -> None:
    scheme, jam = state.scheme("jwt"), state.jam
    if scheme.cookie_name is None:
        return
    jwt = jam.settings.jwt
    life = min(jwt.refresh_idle, auth_time + jwt.refresh_absolute - jam.clock())
    set_later(
        state.app,
        jam.settings,
        Setting(Cookie(scheme.cookie_name), pair["access_token"], jwt.expire),
        *(Setting(cookie, pair["refresh_token"], life) for cookie in _refresh_cookies(state)),
    )


def _refresh_cookies(state: AppState) -> Iterator[Cookie]:
    scheme = state.scheme("jwt")
    if isinstance(scheme, JWTScheme) and scheme.cookie_name is not None:
        yield from refresh_cookies(state.app, scheme.cookie_name, scheme.refresh_path)


def jwt_logout(state: AppState, *, clear_site_data: bool = False) -> None:
    """End the tokens of this request, expired or not, and their families; ``logged_out``."""
    subject: str | None = None
    for found in _presented(state, "jwt"):
        with _durably(state, "jwt", found):
            ended = state.jam.end_login(found.value)
        subject = subject if ended is None else ended
    _leave(state, "jwt", subject, clear_site_data=clear_site_data)


def _refresh_token(state: AppState) -> Credential:
    """The refresh token: one, in a JSON or form field of that name, or else in its cookie."""
    scheme = state.scheme("jwt")
    assert isinstance(scheme, JWTScheme)
    # With a cookie, a script need not send a body, whatever type it says that is of.
    values = [] if scheme.cookie_name is not None and _is_empty() else _body_values()
    if values is None or len(values) > 1 or not all(isinstance(v, str) for v in values):
        _refuse(state, Rejected("jwt", Reason.MALFORMED, "body"))
    if values and values[0]:
        return Credential("jwt", "body", str(values[0]))
    found = scheme.find_refresh(current_memo()[1])
    if isinstance(found, Rejected):
        _refuse(state, found)
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
    """Whether the body is longer than a refresh needs, or does not say how long it is."""
    length = request.content_length or 0
    if not length and request.environ.get("wsgi.input_terminated"):
        # Some servers say so of every request, also of one without a body: one byte tells.
        return "Transfer-Encoding" in request.headers or bool(request.stream.read(1))
    return length > _MAX_BODY


# --- sessions ----------------------------------------------------------------------------


def session_login(
    state: AppState, session_key: str, data: Mapping[str, Any] | None
) -> dict[str, Any]:
    """A new session; what the request came with, if anything, is ended; ``logged_in``."""
    # Else another site could log its visitors in as somebody of its choice.
    _check_site(state, "session")
    old = _candidates(state, "session")
    agent = request.user_agent.string or None
    with _durably(state, "session"):
        new_id = state.jam.create_session(
            session_key, data or {}, user_agent=agent, ip=request.remote_addr
        )
        for found in old:
            # Fixation: whoever planted that id must not share the login (ASVS 7.2.4).
            state.jam.delete_session(found.value)
    return _in_session(state, new_id, signals.logged_in)


def session_refresh(state: AppState) -> dict[str, Any]:
    """A new id for the session of the request; ``refreshed``."""
    memo, environ = current_memo()
    found = memo.find("session", environ)
    if isinstance(found, Rejected):
        _refuse(state, found)
    with _durably(state, "session", found):
        new_id = state.jam.rework_session(found.value)
    return _in_session(state, new_id, signals.refreshed)


def _in_session(state: AppState, session_id: str, signal: NamedSignal) -> dict[str, Any]:
    scheme, jam = _session_scheme(state), state.jam
    source = "header" if scheme.cookie_name is None else "cookie"
    credential = Credential("session", source, session_id)
    with _durably(state, "session", credential):
        session = jam.sessions.lookup(session_id)
    now = jam.clock()
    if scheme.cookie_name is not None:
        # A stamp may lie a moment ahead of the clock.
        life = min(session.ends_at - now, jam.settings.session.absolute)
        set_later(state.app, jam.settings, Setting(Cookie(scheme.cookie_name), session_id, life))
    _arrived(state, credential, scheme.accepted(credential, session), signal)
    answer = {"expires_in": math.ceil(session.expires_at - now)}
    # Where a cookie carries it, no script needs to see it (ASVS 3.3.4).
    return answer if scheme.header_name is None else {"session_id": session_id, **answer}


def _session_scheme(state: AppState) -> SessionScheme:
    scheme = state.scheme("session")
    assert isinstance(scheme, SessionScheme)
    return scheme


def session_logout(state: AppState, *, clear_site_data: bool = False) -> None:
    """End every session that this request carries and clear the cookie; ``logged_out``."""
    subject: str | None = None
    for found in _presented(state, "session"):
        with _durably(state, "session", found):
            owner = state.jam.end_session(found.value)
        subject = subject if owner is None else owner
    _leave(state, "session", subject, clear_site_data=clear_site_data)


def own_sessions(state: AppState) -> list[SessionInfo]:
    """Every session of whoever is asking, the oldest first."""
    _, owner = _needed(state)
    with _durably(state, "session"):
        return state.jam.list_sessions(owner)


def own_handle(state: AppState) -> str | None:
    """The handle of the session that is asking."""
    own = _own_session()
    return None if isinstance(own, Rejected) else state.jam.handle_of(own[0])


def end_own_session(state: AppState, handle: str) -> bool:
    """End one of them."""
    _, owner = _needed(state, ends=True)
    with _durably(state, "session"):
        return state.jam.delete_session_by_handle(owner, handle)


def end_other_sessions(state: AppState) -> int:
    """End all of them but the one that is asking."""
    session_id, owner = _needed(state, ends=True)
    with _durably(state, "session"):
        return state.jam.clear_sessions(owner, keep=session_id)


def _needed(state: AppState, *, ends: bool = False) -> tuple[str, str]:
    own, (memo, environ) = _own_session(), current_memo()
    if isinstance(own, Rejected):
        _refuse(state, own)
    if ends and memo.resolve("session", environ).source == "cookie":
        _check_site(state, "session", ends=True)
    return own


def _own_session() -> tuple[str, str] | Rejected:
    """Id and owner of the living session of this request."""
    memo, environ = current_memo()
    found, outcome = memo.find("session", environ), memo.resolve("session", environ)
    memo.depends, memo.seen = True, memo.seen or isinstance(outcome, Accepted)
    if isinstance(outcome, Rejected):
        return outcome
    return found if isinstance(found, Rejected) else (found.value, outcome.subject or "")


# --- both ----------------------------------------------------------------------------------


def _presented(state: AppState, name: str) -> list[Credential]:
    """Every credential of a scheme that is in the request, the bad and the doubled too.

    A logout that passed over one would leave it alive. A header that carries none is refused.
    """
    candidates = _candidates(state, name)
    if not candidates or any(each.source != "header" for each in candidates):
        _check_site(state, name, ends=True)  # also where no cookie came, as the answer clears it
    memo, environ = current_memo()
    found = memo.resolve(name, environ)
    if not candidates and isinstance(found, Rejected) and found.reason is Reason.MALFORMED:
        _refuse(state, found)
    return candidates


def _check_site(state: AppState, name: str, *, ends: bool = False) -> None:
    """Where the answer changes cookies, refuse what another site made a browser send.

    :param ends: whether it ends a login: then also of a GET, as a picture on another site sends.
    """
    is_foreign = is_from_elsewhere if ends else is_cross_site
    if state.scheme(name).cookie_name is not None and is_foreign(
        current_memo()[1], state.jam.settings.trusted_origins
    ):
        _refuse(state, Rejected(name, Reason.CSRF, "cookie"))


def _candidates(state: AppState, name: str) -> list[Credential]:
    memo, environ = current_memo()
    own = (memo.presented or {}).get(name)
    found = state.scheme(name).candidates(environ)
    return found if own is None else [own, *found]


def _arrived(
    state: AppState, credential: Credential, accepted: Accepted, signal: NamedSignal
) -> None:
    """From here on this request is the new login's: a guard or a logout in it means that one."""
    memo = current_memo()[0]
    memo.present(credential)
    memo.outcomes[credential.scheme] = accepted
    memo.admit(accepted)
    no_store_later()
    signals.emit(
        signal,
        state.app,
        scheme=credential.scheme,
        subject=accepted.subject,
        payload=copy_json(accepted.payload),
    )


def _leave(state: AppState, name: str, subject: str | None, *, clear_site_data: bool) -> None:
    """What the browser is told, and then who listens."""
    for cookie in _cookies(state, name):
        clear_later(state.app, state.jam.settings, cookie)
    no_store_later()
    if clear_site_data:
        clear_site_data_later()
    if subject is not None:
        _left(state, name, subject)


def _cookies(state: AppState, name: str) -> Iterator[Cookie]:
    own = state.scheme(name).cookie_name
    if own is not None:
        yield Cookie(own)
    if name == "jwt":
        yield from _refresh_cookies(state)


def _left(state: AppState, scheme: str, subject: str) -> None:
    memo = current_memo()[0]
    memo.presented = {k: v for k, v in (memo.presented or {}).items() if k != scheme}
    memo.outcomes[scheme] = Rejected(scheme, Reason.MISSING)
    if memo.accepted is not None and memo.accepted.scheme == scheme:
        memo.admit(None)
    signals.emit(signals.logged_out, state.app, scheme=scheme, subject=subject)


@contextmanager
def _durably(state: AppState, scheme: str, found: Credential | None = None) -> Iterator[None]:
    """Turn what the client caused into its refusal; a wrong call of the developer stays one."""
    try:
        yield
    except StoreUnavailable as error:
        _refuse(state, _rejected(scheme, found, error.reason))
    except (TokenError, SessionError) as error:
        if found is None and error.reason is not Reason.REVOKED:
            raise
        _refuse(state, _rejected(scheme, found, error.reason))


def _rejected(scheme: str, found: Credential | None, reason: Reason) -> Rejected:
    if found is None:
        return Rejected(scheme, reason)
    return Rejected(scheme, reason, found.source, found.fingerprint())


def _refuse(state: AppState, why: Rejected) -> NoReturn:
    # A refresh that was refused says nothing of the access token, which has the other cookie.
    refuse(state, why, Asked((why.scheme,)), clears=why.scheme == "session")
