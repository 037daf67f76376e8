"""``current_user``, and for guarded views the typed user and the subject."""

from __future__ import annotations

from typing import Any, TypeVar

from flask import current_app, request
from werkzeug.local import LocalProxy

from ..errors import ConfigError
from ..schemes.outcome import Accepted
from .app_state import EXTENSION_KEY
from .request_auth import current_request_auth

U = TypeVar("U")


class _Anonymous:
    """The value of ``current_user`` if no user is known."""

    is_authenticated = is_active = False
    is_anonymous = True

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "<anonymous>"


_ANONYMOUS = _Anonymous()
#: What templates read, for user classes that do not define it.
_IS_THERE = {"is_authenticated": True, "is_active": True, "is_anonymous": False}


class _CurrentUser(LocalProxy[Any]):
    """A proxy that is true if a user is known, whatever the object's ``bool`` and ``len``."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return self._get_current_object() is not _ANONYMOUS

    def __getattr__(self, name: str) -> Any:
        user = self._get_current_object()
        try:
            return getattr(user, name)
        except AttributeError:
            if name not in _IS_THERE or hasattr(type(user), name):
                raise
            return _IS_THERE[name]


def _find() -> Any:
    """Return the user, or ``_ANONYMOUS``.

    :raises ConfigError: in an app without a loader, where it would always be ``_ANONYMOUS``.
    """
    if not request:
        return _ANONYMOUS
    if EXTENSION_KEY not in current_app.extensions:
        raise ConfigError(_NO_LOADER)
    auth = current_request_auth()
    if not auth.state.loaders:
        raise ConfigError(_NO_LOADER)
    accepted = auth.look()
    return _ANONYMOUS if accepted is None or accepted.user is None else accepted.user


_NO_LOADER = (
    "this app loads no users: write @session.user_loader, or load_user= of an extension. Without "
    "one, ask current_auth()"
)

#: The user of this request, as ``load_user`` returned it. If no user is known it is false, and its
#: ``is_authenticated`` is ``False``.
current_user: Any = _CurrentUser(_find)


# --- in a guarded view ------------------------------------------------------------------------


def current_user_as(user_class: type[U]) -> U:
    """Return the user of a guarded view, as an object of your class: for type checkers.

    :raises ConfigError: if no guard has let a user in, or the user is of another class.
    """
    user = _let_in("current_user_as()").user
    if user is None:
        raise ConfigError(_NO_LOADER)
    if not isinstance(user, user_class):
        raise ConfigError(
            f"current_user_as({user_class.__name__}): load_user returned a {type(user).__name__}"
        )
    return user


def current_subject() -> str:
    """Return the subject of a guarded view: ``sub`` of the token, or the key of the session.

    Within ``load_user`` it is the subject of its argument.

    :raises ConfigError: if no guard has let a user in, or the token has no ``sub``.
    """
    subject = _let_in("current_subject()").subject
    if subject is None:
        raise ConfigError(
            "current_subject(): the token has no sub: make tokens by jwt.login(subject) or "
            "jam.issue_tokens(subject)"
        )
    return subject


def _let_in(what: str) -> Accepted:
    """Return the caller whom a guard or a login of this request has let in.

    :raises ConfigError: also for a logged-in user in a view without a guard, so that the mistake
        shows at the first try and not with the first anonymous visitor.
    """
    accepted = current_request_auth().certain()
    if accepted is None:
        raise ConfigError(
            f"{what} is for views behind a guard that is not optional: elsewhere, ask "
            "current_auth(), which may be None"
        )
    return accepted
