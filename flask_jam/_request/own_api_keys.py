"""The caller's API keys, for views: create, list, rotate and revoke."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn
from weakref import ref

from flask import Flask, request

from .._credentials.api_keys import ApiKeyInfo
from ..errors import Reason, StoreUnavailable
from ..refusal import refuse
from ..schemes.outcome import Accepted, Rejected
from .app_state import AppState
from .cookies import no_store_later
from .cross_site import is_from_elsewhere
from .flask_internals import get_current_app
from .request_auth import current_request_auth

#: The name of the scheme.
NAME = "api_key"


def create(state: AppState, arguments: dict[str, Any], *, by_key: bool) -> tuple[str, ApiKeyInfo]:
    """Create a key of the caller."""
    owner = _owner(state, by_key=by_key)
    with _available(state):
        made = state.jam.api_keys.create(*owner, **arguments)
    no_store_later()
    return made


def rotate(state: AppState, handle: str, overlap: Any, *, by_key: bool) -> tuple[str, ApiKeyInfo]:
    """Replace a key of the caller."""
    subject, issuer = _owner(state, by_key=by_key)
    with _available(state):
        made = state.jam.api_keys.rotate(subject, handle, overlap, issuer)
    no_store_later()
    return made


def listed(state: AppState) -> list[ApiKeyInfo]:
    """Return the valid keys of the caller, the oldest first."""
    owner = _names_of(_caller(state))
    with _available(state):
        return state.jam.list_api_keys(*owner)


def revoke(state: AppState, handle: str) -> bool:
    """Revoke a key of the caller."""
    subject, issuer = _owner(state, by_key=True)
    with _available(state):
        return state.jam.revoke_api_key(subject, handle, issuer)


def _owner(state: AppState, *, by_key: bool) -> tuple[str, str | None]:
    """Return subject and issuer of the caller, if the request may change keys; or refuse."""
    caller, auth = _caller(state), current_request_auth()
    is_ambient = caller.source == "cookie" or state.scheme(caller.scheme).ambient
    if is_ambient and is_from_elsewhere(auth.environ, auth.trusted()):  # an image tag sends a GET
        refuse(state, auth.denied(caller, Reason.CSRF), (caller.scheme,))
    if caller.scheme == NAME and not by_key:
        refuse_key(state, caller)
    return _names_of(caller)


def _names_of(caller: Accepted) -> tuple[str, str | None]:
    return caller.subject or "", caller.issuer


def _caller(state: AppState) -> Accepted:
    """Return the caller; or refuse, with the reason why none is known."""
    auth = current_request_auth()
    accepted = auth.look()
    if accepted is None:
        outcomes = [auth.resolve(name) for name in state.schemes_for(auth.request)]
        refused = [each for each in outcomes if isinstance(each, Rejected)]
        reasons = (each for each in refused if each.reason is not Reason.MISSING)
        refuse(state, next(reasons, Rejected(NAME, Reason.MISSING)), tuple(state.schemes))
    if accepted.subject is None:  # a token without sub
        refuse(state, auth.denied(accepted, Reason.DENIED), (accepted.scheme,))
    return accepted


@contextmanager
def _available(state: AppState) -> Iterator[None]:
    """Turn a store failure into a 503. Mistakes of the view author propagate."""
    try:
        yield
    except StoreUnavailable as error:
        refuse(state, Rejected(NAME, error.reason), (NAME,))


# --- a key creates no key ---------------------------------------------------------------------


def refuse_key(state: AppState, caller: Accepted) -> NoReturn:
    """Refuse a caller with a key: a stolen key must not create others that outlive it."""
    refuse(state, current_request_auth().denied(caller, Reason.DENIED), (NAME,))


def permit_of(app: Flask) -> Callable[[], None]:
    """Return a function that refuses ``jam.create_api_key`` in a request that used a key."""
    held = ref(app)  # a Jam that outlives its apps must not keep them

    def permit() -> None:
        app = held()
        if app is None or not request or get_current_app() is not app:
            return
        auth = current_request_auth()
        caller = auth.known()
        if caller is not None and caller.scheme == NAME:
            refuse_key(auth.state, caller)

    return permit
