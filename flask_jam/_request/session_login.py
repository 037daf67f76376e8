"""``session.login()``, ``session.refresh()``, and the list of a user's sessions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from flask import request

from .. import signals
from .._credentials.sessions import Life, SessionInfo
from ..errors import Reason, SessionError
from ..schemes.outcome import Accepted, Credential, Outcome, Rejected
from ..schemes.session import SessionScheme
from ..stores.interface import Session
from .app_state import AppState
from .cookies import Setting, own_cookie, set_later
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


def login(  # noqa: PLR0913, PLR0917 - whose it is, what is in it, how long it lives
    state: AppState,
    scheme: SessionScheme,
    session_key: str,
    data: Mapping[str, Any] | None,
    life: Life,
    issuer: str | None,
) -> dict[str, Any]:
    """Create a session, end those that the request came with; emit ``logged_in``."""
    # Else another site could log its visitors in as a user of its choice.
    check_site(state, scheme)
    old = candidates(state, scheme)
    agent, ip = request.user_agent.string or None, request.remote_addr
    with durably(state, scheme):
        new_id = state.jam.create_session(
            session_key, data or {}, issuer=issuer, **life._asdict(), user_agent=agent, ip=ip
        )
        # Fixation: an attacker who planted an id must not share the login (ASVS 7.2.4).
        ended = [state.jam.delete_session(credential.value) for credential in old]
    if any(ended):
        clear_twins(state, scheme)
    credential = _issued(scheme, new_id)
    with durably(state, scheme, credential):
        session = state.jam.sessions.lookup(new_id)
    _set_cookie(state, scheme, new_id, session)
    arrive(state, credential, scheme.accepted(credential, session), signals.logged_in)
    return _answer(state, scheme, new_id, session)


def refresh(state: AppState, scheme: SessionScheme) -> dict[str, Any]:
    """Give the session of the request a new id; emit ``refreshed``."""
    found = current_request_auth().credential(scheme)
    if isinstance(found, Rejected):
        refuse_action(state, found)
    known = _loaded(state, scheme) if state.loaders else None
    with durably(state, scheme, found):
        # Not looked up: the client's first use does that, and until then the old id gets it again.
        new_id, session = state.jam.sessions.rework(found.value)
    credential = _issued(scheme, new_id)
    accepted = with_known_user(state, found, scheme.accepted(credential, session), known)
    _set_cookie(state, scheme, new_id, session)
    arrive(state, credential, accepted, signals.refreshed)
    return _answer(state, scheme, new_id, session)


def _loaded(state: AppState, scheme: SessionScheme) -> Outcome:
    """Return the session's outcome, with the user, before it gets a new id.

    An unknown id may be one whose reply was lost: the store checks that later.
    """
    outcome = current_request_auth().resolve(scheme.name)
    if isinstance(outcome, Rejected) and outcome.reason in _FINAL:
        refuse_action(state, outcome)
    return outcome


#: Refusals for which no new id is issued.
_FINAL = frozenset({Reason.UNKNOWN_SUBJECT, Reason.UNAVAILABLE})


def _issued(scheme: SessionScheme, session_id: str) -> Credential:
    source = "header" if scheme.cookie_name is None else "cookie"
    return Credential(scheme.name, source, session_id)


def _set_cookie(state: AppState, scheme: SessionScheme, session_id: str, session: Session) -> None:
    if scheme.cookie_name is None:
        return
    settings = state.jam.settings
    cookie = own_cookie(settings, scheme.cookie_name)
    set_later(state.app, settings, Setting(cookie, session_id, _kept_for(state, session)))


def _answer(
    state: AppState, scheme: SessionScheme, session_id: str, session: Session
) -> dict[str, Any]:
    answer = {"expires_in": math.ceil(session.expires_at - state.jam.clock())}
    # Where a cookie carries it, no script needs to see it (ASVS 3.3.4).
    return answer if scheme.header_name is None else {"session_id": session_id, **answer}


def _kept_for(state: AppState, session: Session) -> float | None:
    """Return how long a browser keeps a session's cookie, in seconds; None until it is closed."""
    if session.remember is False:
        return None
    # A timestamp may lie a moment ahead of the clock.
    longest = state.jam.sessions.limits_of(session.remember).absolute
    return min(session.ends_at - state.jam.clock(), longest)


def update(state: AppState, scheme: SessionScheme, changes: Mapping[str, Any]) -> None:
    """Change the data of the caller's session, in the store and in this request's payload."""
    session_id, _ = _require_session(state, scheme)
    outcome = current_request_auth().resolve(scheme.name)
    assert isinstance(outcome, Accepted)
    _refuse_conflict(state, outcome)
    try:
        with durably(state, scheme):
            kept = state.jam.sessions.update(session_id, changes)
    except SessionError as error:
        if error.reason is not Reason.UNKNOWN_SESSION:
            raise  # the data cannot be kept
        refuse_action(state, Rejected(scheme.name, error.reason, outcome.source))
    outcome.payload.update(kept)


def _refuse_conflict(state: AppState, session: Accepted) -> None:
    """Refuse a session of another user than the app has seen, as a guard does.

    A sibling host may have set its cookie: a user with a token would write into it.
    """
    auth = current_request_auth()
    auth.look()
    conflict = None if auth.issued(session.scheme) else auth.conflict(session)
    if conflict is not None:
        refuse_action(state, conflict)


# --- a user's own sessions ----------------------------------------------------------------


def own_sessions(state: AppState, scheme: SessionScheme) -> list[SessionInfo]:
    """Return every session of the caller, the oldest first."""
    _, (owner, issuer) = _require_session(state, scheme)
    with durably(state, scheme):
        return state.jam.list_sessions(owner, issuer)


def own_handle(state: AppState, scheme: SessionScheme) -> str | None:
    """Return the handle of the caller's session."""
    own = _own_session(scheme)
    return None if isinstance(own, Rejected) else state.jam.handle_of(own[0])


def end_own_session(state: AppState, scheme: SessionScheme, handle: str) -> bool:
    """End one of the caller's sessions."""
    _, (owner, issuer) = _require_session(state, scheme, ends=True)
    with durably(state, scheme):
        return state.jam.delete_session_by_handle(owner, handle, issuer)


def end_other_sessions(state: AppState, scheme: SessionScheme) -> int:
    """End all sessions of the caller except the current one."""
    session_id, (owner, issuer) = _require_session(state, scheme, ends=True)
    with durably(state, scheme):
        return state.jam.clear_sessions(owner, issuer, keep=session_id)


def _require_session(
    state: AppState, scheme: SessionScheme, *, ends: bool = False
) -> tuple[str, tuple[str, str | None]]:
    """Return the id of the caller's session, and its subject and issuer; or refuse."""
    own = _own_session(scheme)
    if isinstance(own, Rejected):
        refuse_action(state, own)
    if ends and current_request_auth().resolve(scheme.name).source == "cookie":
        check_site(state, scheme, ends=True)
    return own


def _own_session(scheme: SessionScheme) -> tuple[str, tuple[str, str | None]] | Rejected:
    """Return id, subject and issuer of the valid session of this request."""
    auth = current_request_auth()
    found, outcome = auth.credential(scheme), auth.resolve(scheme.name)
    auth.observe(outcome)
    if isinstance(outcome, Rejected):
        return outcome
    if isinstance(found, Rejected):
        return found
    return found.value, (outcome.subject or "", outcome.issuer)
