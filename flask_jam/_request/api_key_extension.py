"""``ApiKeyExtension``: API keys on an app."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any
from weakref import finalize

from flask import Flask, current_app, request

from .._credentials.api_keys import ApiKeyInfo
from ..errors import ConfigError
from ..extensions import _GuardingExtension
from ..guards import api_key_required
from ..jam import Jam
from ..schemes.api_key import ApiKeyScheme
from ..schemes.interface import Scheme
from ..schemes.transport import HEADER_TYPE, HeaderType, check_header_type, check_sources
from . import own_api_keys
from .app_state import EXTENSION_KEY, AppState
from .owner_grants import GrantedAuth, OwnerGrants, check_owner_grants
from .user_loader import LoadUser


class ApiKeyExtension(_GuardingExtension):
    """API keys: ``Authorization: Bearer jam_…``, or the bare key in another header.

    Its methods are for views and manage the caller's keys; ``jam.create_api_key`` and its
    neighbours manage those of any subject.

    :param header_name: the header to read. A key comes in nothing else.
    :param header_type: the word in front of the key, such as ``Token``, or ``None`` for a bare
        value. By default ``Bearer`` in the header Authorization, and ``None`` in any other.
    :param load_user: called with the ``Accepted`` of a request; returns the user, or ``None`` to
        refuse: see :meth:`user_loader`.
    :param owner_grants: called with the ``Accepted`` of a request that came by a key; returns what
        the owner has now, such as ``{"scopes": …, "roles": …}``, and the key gives no more than
        that. A name that is left out limits nothing; ``None`` refuses, as the owner is gone.
    :raises ConfigError: without a header, and for a function that could not be called.
    """

    required = api_key_required

    def __init__(  # noqa: PLR0913 - where a key is, and who may go on
        self,
        jam: Jam | None = None,
        app: Flask | None = None,
        *,
        header_name: str = "Authorization",
        header_type: HeaderType = HEADER_TYPE,
        load_user: LoadUser | None = None,
        owner_grants: OwnerGrants | None = None,
    ) -> None:
        if header_name is None:
            raise ConfigError(
                "header_name: an API key comes in a header, such as Authorization or X-API-Key"
            )
        check_sources(header_name, None)
        if owner_grants is not None:
            check_owner_grants(owner_grants)
        self.header_name = header_name
        self._header_type = check_header_type(header_type, header_name)
        self._owner_grants = owner_grants
        super().__init__(jam, app, load_user)

    @property
    def _name(self) -> str:
        return ApiKeyScheme.name

    def _scheme(self, jam: Jam) -> Scheme:
        return ApiKeyScheme(jam, self.header_name, self._header_type)

    def _checked(self, state: AppState, scheme: Scheme) -> Scheme:
        permits, permit = state.jam.api_keys.permits, own_api_keys.permit_of(state.app)
        permits.append(permit)
        finalize(state.app, permits.remove, permit).atexit = False
        state.owner_grants = {**state.owner_grants, scheme.name: self._owner_grants}
        state.loading_class = GrantedAuth
        if self._owner_grants is not None or state.loaders:
            state.auth_class = GrantedAuth
        return scheme

    def _is_doubled(self) -> str:
        return "this app has an ApiKeyExtension already: keep one, which reads one header"

    def create(  # noqa: PLR0913 - what it may do, how long
        self,
        *,
        name: str,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        expires_in: float | timedelta | None = None,
        data: Mapping[str, Any] | None = None,
        by_key: bool = False,
    ) -> tuple[str, ApiKeyInfo]:
        """Create an API key for the caller. Show it now: it cannot be retrieved later.

        :param name: what the user calls it, such as ``backup script``.
        :param expires_in: lifetime in seconds; ``None`` for a key that does not expire.
        :param data: plain JSON of your own, at most 4096 bytes.
        :param by_key: let a caller who came by a key create another one; else that is a 403.
        :returns: the key, and its entry in :meth:`list`.
        :raises Refusal: an HTTP exception, if no caller is known.
        :raises TokenError: for an argument that cannot be stored.
        """
        grants: dict[str, Any] = {"scopes": scopes, "roles": roles, "expires_in": expires_in}
        arguments = {"name": name, "data": data, **grants}
        return own_api_keys.create(self._state(), arguments, by_key=by_key)

    def list(self) -> list[ApiKeyInfo]:
        """Return the caller's valid API keys, the oldest first; or refuse."""
        return own_api_keys.listed(self._state())

    def rotate(
        self, handle: str, overlap: float | timedelta = 0, *, by_key: bool = False
    ) -> tuple[str, ApiKeyInfo]:
        """Replace one of the caller's API keys with a new one: same name, rights and expiry.

        :param overlap: how long the old key stays valid, in seconds.
        :param by_key: let a caller who came by a key rotate it; else that is a 403.
        :raises TokenError: if there is no such valid key, or it was rotated before.
        """
        return own_api_keys.rotate(self._state(), handle, overlap, by_key=by_key)

    def revoke(self, handle: str) -> bool:
        """Revoke an API key of the caller; return False if the handle isn't theirs. Or refuse."""
        return own_api_keys.revoke(self._state(), handle)

    def _state(self) -> AppState:
        if not request:
            raise ConfigError(
                "create(), list(), rotate() and revoke() are for the caller of a request: outside "
                'of one, write app.extensions["jam"].create_api_key(subject, name=…)'
            )
        state: AppState | None = current_app.extensions.get(EXTENSION_KEY)
        if state is None or state.owners.get(self._name) is not self:
            raise ConfigError(
                "this ApiKeyExtension is not on the current app: write .init_app(app)"
            )
        return state
