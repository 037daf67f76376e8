"""The user of a request: loaded once per credential, before a guard lets it in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import get_ident
from types import MappingProxyType
from typing import Any, TypeVar

from flask import Request
from werkzeug.exceptions import HTTPException

from ..errors import ConfigError, Reason, StoreUnavailable
from ..schemes.interface import Scheme
from ..schemes.outcome import Accepted, Credential, Outcome, Rejected, with_user
from .app_state import AppState
from .request_auth import RequestAuth
from .user_loader import user_from

T = TypeVar("T")


class UserAuth(RequestAuth):
    """The authentication state of one request, in an app with a ``load_user``.

    A credential counts as accepted once its user is known. So a guard, ``current_auth()`` and
    ``g.payload`` need not know that users exist.
    """

    #: By scheme: a login of this request whose user is not loaded yet.
    _pending: Mapping[str, Accepted] = MappingProxyType({})

    def __init__(self, state: AppState, request: Request) -> None:
        super().__init__(state, request)
        #: By thread: the arguments of running callbacks, the innermost last.
        self._loading: dict[int, tuple[Accepted, ...]] = {}

    # --- asking ---

    def look(self) -> Accepted | None:
        """Return the caller; within ``load_user``, its argument."""
        if self._loading and (about := self._argument()) is not None:
            return about
        if self._pending and self.accepted is not None:
            login = self._pending.get(self.accepted.scheme)
            if login is not None and login is self.accepted:
                try:
                    self.resolve(login.scheme)
                except HTTPException:
                    return None
        return super().look()

    def certain(self) -> Accepted | None:
        """Return the caller who was let in; within ``load_user``, its argument."""
        return self._argument() or super().certain()

    def _argument(self) -> Accepted | None:
        about = self._loading.get(get_ident())
        return about[-1] if about else None

    def _authenticated(self, scheme: Scheme) -> Outcome:
        if scheme.name in self.failures:
            raise self.failures[scheme.name]
        login = self._pending.get(scheme.name) if self._pending else None
        if login is not None:
            return self._settled(login, self.load(login))
        outcome = super()._authenticated(scheme)
        return outcome if isinstance(outcome, Rejected) else self.load(outcome)

    def verdict(self, name: str) -> Outcome:
        """Return the outcome of a scheme without calling ``load_user``."""
        return self.outcomes.get(name) or super()._authenticated(self.state.scheme(name))

    def load(self, accepted: Accepted) -> Outcome:
        """Return the caller, with the user; or the refusal if there is none."""
        try:
            user = self._ask(accepted, self.state.loaders[accepted.scheme], user_from)
        except StoreUnavailable as error:
            return self.denied(accepted, error.reason)
        if user is None:
            return self.denied(accepted, Reason.UNKNOWN_SUBJECT)
        return with_user(accepted, user)

    def _ask(
        self, accepted: Accepted, ask: Callable[[Accepted], Any], checked: Callable[[object], T]
    ) -> T:
        """Call the app's function. Its exception is raised again at each lookup of this request."""
        own, name = get_ident(), accepted.scheme
        outer = self._loading.get(own, ())
        if outer and any(each.scheme == name for each in outer):
            raise _asked_within()
        self._loading[own] = (*outer, accepted)
        try:
            return checked(ask(accepted))
        except StoreUnavailable:
            raise
        except Exception as error:
            self.failures = {**self.failures, name: error}
            raise
        finally:
            self._loading[own] = outer

    # --- logging in and out ---

    def arrive(self, credential: Credential, accepted: Accepted) -> None:
        """Use a credential issued during this request; its user is loaded on demand."""
        name = credential.scheme
        if self._argument() is not None:
            raise _asked_within()
        self._forget(name)
        super().arrive(credential, accepted)
        if accepted.user is None:
            self._pending = {**self._pending, name: accepted}
            del self.outcomes[name]

    def leave(self, name: str) -> None:
        """Forget the login of a scheme, and its user."""
        self._forget(name)
        super().leave(name)

    def _forget(self, name: str) -> None:
        self._pending = {key: login for key, login in self._pending.items() if key != name}
        self.failures = {key: error for key, error in self.failures.items() if key != name}

    def _settled(self, login: Accepted, outcome: Outcome) -> Outcome:
        """Return the outcome of a login of this request, and note its user."""
        self._forget(login.scheme)
        if self.accepted is login:
            self.accepted = outcome if isinstance(outcome, Accepted) else None
            self._answer = (self.accepted,)
        return outcome


def _asked_within() -> ConfigError:
    return ConfigError(
        "load_user must not ask a guard, log in, refresh or log out, nor must owner_grants: they "
        "decide who the user is. Within them, current_auth() is the argument"
    )
