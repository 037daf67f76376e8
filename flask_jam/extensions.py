"""The extensions: they set an app up at start, and do nothing at request time.

An extension holds no state of an app, so one may serve many apps. The state of an app is in
``app.extensions["flask_jam"]``; its Jam is in ``app.extensions["jam"]``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import timedelta
from typing import Any, NoReturn, TypeVar
from weakref import WeakSet, finalize, ref

from click import Group
from flask import Flask, current_app, request

from . import signals
from ._cli.lazy_group import LazyGroup
from ._credentials.refresh_rotation import Reload
from ._credentials.sessions import Life, SessionInfo
from ._helpers.peer_settings import left_over_names
from ._request import session_login, token_login
from ._request.app_state import EXTENSION_KEY, AppState
from ._request.conditions import Rule
from ._request.cookies import check_path, check_prefix
from ._request.current_auth import current_auth_in_template, with_payload
from ._request.current_user import current_user
from ._request.flask_internals import (
    add_template_global,
    extend_globals,
    get_current_app,
    has_left,
    insert_first,
    wrap_finalize_request,
)
from ._request.login import logout as end_login
from ._request.private_answers import keep_private
from ._request.protection import guards_in_front
from ._request.request_user import UserAuth
from ._request.start_checks import check_keyring, check_login_view, check_views
from ._request.user_loader import LoadUser, check_loader
from .errors import ConfigError
from .guards import Guard, jwt_required, session_required
from .jam import Jam
from .refusal import refuse_login
from .schemes.interface import Scheme, check_scheme
from .schemes.jwt import (
    REFRESH_SOURCES,
    JWTScheme,
    check_refresh_path,
    check_refresh_sources,
)
from .schemes.outcome import Accepted
from .schemes.session import SessionScheme
from .schemes.transport import (
    HEADER_TYPE,
    HeaderType,
    TransportScheme,
    check_header_type,
    check_sources,
)
from .settings import load

F = TypeVar("F", bound=Callable[[Accepted], object])

_log = logging.getLogger("flask_jam")
_SIGNALS = {"revoked": signals.revoked, "reuse_detected": signals.reuse_detected}


class JamExtension:
    """Make a :class:`~flask_jam.Jam` available: ``current_app.extensions["jam"]``.

    :param jam: the one to use; by default built from ``app.config`` and the environment.
    :param app: an app to initialise at once.
    """

    def __init__(self, jam: Jam | None = None, app: Flask | None = None) -> None:
        if jam is not None and not isinstance(jam, Jam):
            raise ConfigError(
                "the first argument is a Jam, the app is the second: "
                f"{type(self).__name__}(jam, app)"
            )
        self._jam = jam
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Register on an app. Repeating it is harmless.

        :raises RuntimeError: if the app has another Jam already.
        :raises ConfigError: if a setting is wrong.
        """
        self._register(_state_of(app, self._jam))

    def _register(self, state: AppState) -> None:
        """Register the schemes and hooks of this extension."""


class _GuardingExtension(JamExtension):
    """Register one scheme on each app, with the function that loads its users."""

    def __init__(self, jam: Jam | None, app: Flask | None, load_user: LoadUser | None) -> None:
        self._states: WeakSet[AppState] = WeakSet()
        self._load_user: LoadUser | None = None
        if load_user is not None:
            self.user_loader(load_user)
        super().__init__(jam, app)

    def user_loader(self, load_user: F) -> F:
        """Register the function that loads the user of each request, like ``load_user=``.

        It is called with the ``Accepted`` of the request, and returns the user, or ``None`` to
        refuse. It also serves the extensions of the app that have none. A second function replaces
        the first.

        :raises ConfigError: if it is ``async``, or does not take one argument.
        """
        check_loader(load_user)
        self._load_user = load_user
        for state in self._states:
            _use_loader(state, self._name, load_user)
        return load_user

    def _scheme(self, jam: Jam) -> Scheme:
        raise NotImplementedError

    @property
    def _name(self) -> str:
        raise NotImplementedError

    #: The guard of this scheme: ``@extension.required`` on a view.
    required: Guard

    def _register(self, state: AppState) -> None:
        owner = state.owners.get(self._name)
        if owner is None:
            state.add(self, self._checked(state, self._scheme(state.jam)))
            self._states.add(state)
            if self._load_user is not None:
                _use_loader(state, self._name, self._load_user)
        elif owner is not self:
            raise RuntimeError(self._is_doubled())

    def _checked(self, state: AppState, scheme: Scheme) -> Scheme:
        return scheme

    def _is_doubled(self) -> str:
        return f"this app has a scheme {self._name} already: give one of the two another name"


class SchemeExtension(_GuardingExtension):
    """Any other kind of credential: your own :class:`~flask_jam.schemes.Scheme`.

    :param scheme: finds and verifies the credential.
    :param load_user: see :meth:`user_loader`.
    :raises ConfigError: if it is not a scheme.
    """

    def __init__(
        self,
        scheme: Scheme,
        jam: Jam | None = None,
        app: Flask | None = None,
        *,
        load_user: LoadUser | None = None,
    ) -> None:
        check_scheme(scheme)
        self.scheme = scheme
        self.required = Guard(Rule(scheme.name))
        super().__init__(jam, app, load_user)

    @property
    def _name(self) -> str:
        return self.scheme.name

    def _scheme(self, jam: Jam) -> Scheme:
        return self.scheme


class _LoginExtension(_GuardingExtension):
    """Add ``login``, ``refresh`` and ``logout``."""

    _built: type[TransportScheme]

    def __init__(
        self,
        jam: Jam | None,
        app: Flask | None,
        load_user: LoadUser | None,
        header_name: str | None,
        cookie_name: str | None,
    ) -> None:
        check_sources(header_name, cookie_name)
        self.header_name = header_name
        self.cookie_name = cookie_name
        super().__init__(jam, app, load_user)

    @property
    def _name(self) -> str:
        return self._built.name

    def _checked(self, state: AppState, scheme: Scheme) -> Scheme:
        names = scheme.cookie_names() if isinstance(scheme, TransportScheme) else []
        flasks = state.app.config.get("SESSION_COOKIE_NAME")
        if flasks in names:
            raise ConfigError(
                f"{flasks!r} is the cookie of Flask's own session: write another cookie_name, "
                "such as sessionId"
            )
        for name in names:
            check_prefix(name, state.jam.settings)
            check_path(name, state.jam.settings)
        return scheme

    def _is_doubled(self) -> str:
        return (
            f"this app has a {type(self).__name__} already: keep one, with a header_name and a "
            "cookie_name"
        )

    def _state(self) -> AppState:
        if not request:
            raise ConfigError(
                "login(), refresh() and logout() answer a request: outside of one, call "
                'app.extensions["jam"].issue_tokens(...) or create_session(...)'
            )
        if has_left():
            raise ConfigError(
                "login(), refresh() and logout() set cookies, and the answer has left: call them "
                "before the stream begins"
            )
        state: AppState | None = current_app.extensions.get(EXTENSION_KEY)
        if state is None or state.owners.get(self._name) is not self:
            raise ConfigError(
                f"this {type(self).__name__} is not on the current app: write .init_app(app)"
            )
        return state

    def logout(self, *, clear_site_data: bool = False) -> None:
        """End every login of this scheme that the request carries; clear the cookies.

        With tokens, it ends the access token, expired or not, and every token of the same login.

        :param clear_site_data: have the browser delete what it stored of your pages (ASVS 14.3.1).
        """
        state, scheme = self._on_app()
        end_login(state, scheme, clear_site_data=clear_site_data)

    def refuse_login(self, subject: str | None = None) -> NoReturn:
        """Emit ``login_failed`` and raise a 401, for a wrong name or password.

        It is answered like every other refusal, but never by a redirect to ``login_view``.

        :param subject: the user whom the client named, if any. The client chose it: don't trust it.
        :raises Refusal: always; an HTTP exception.
        """
        state, scheme = self._on_app()
        refuse_login(state, scheme.name, subject)

    def _on_app(self) -> tuple[AppState, TransportScheme]:
        state = self._state()
        scheme = state.schemes[self._name]
        assert isinstance(scheme, self._built)
        return state, scheme


class JWTExtension(_LoginExtension):
    """Signed tokens: ``Authorization: Bearer <token>``, or a cookie, or both.

    :param header_name: the header to read, or ``None``.
    :param cookie_name: the cookie to read, or ``None``. A header beats a cookie.
    :param load_user: called with the ``Accepted`` of a request; returns the user, or ``None`` to
        refuse: see :meth:`user_loader`.
    :param header_type: the word in front of the token, such as ``Token``, or ``None`` for a bare
        value. By default ``Bearer`` in the header Authorization, and ``None`` in any other.
    :param refresh_sources: where :meth:`refresh` looks for the refresh token: ``body``, ``cookie``,
        and ``header`` for that of the access token.
    :param reload_claims: called with subject and claims at each refresh; returns the new claims,
        or ``None`` to refuse.
    :param refresh_path: the common path of the refresh and logout URLs, such as ``/auth``. The
        cookie of the refresh token is sent only there; by default, only to the URLs that end in
        ``refresh`` and ``logout``.
    :raises ConfigError: if there is neither a header nor a cookie.
    """

    _built = JWTScheme
    required = jwt_required

    def __init__(  # noqa: PLR0913 - where a credential is, and who may go on
        self,
        jam: Jam | None = None,
        app: Flask | None = None,
        *,
        header_name: str | None = "Authorization",
        cookie_name: str | None = None,
        load_user: LoadUser | None = None,
        header_type: HeaderType = HEADER_TYPE,
        refresh_sources: Collection[str] = REFRESH_SOURCES,
        reload_claims: Reload | None = None,
        refresh_path: str | None = None,
    ) -> None:
        check_sources(header_name, cookie_name)
        check_refresh_path(refresh_path)
        self._header_type = check_header_type(header_type, header_name)
        self._refresh_sources = check_refresh_sources(refresh_sources, header_name, cookie_name)
        self._reload_claims = reload_claims
        self._refresh_path = refresh_path
        super().__init__(jam, app, load_user, header_name, cookie_name)

    def _scheme(self, jam: Jam) -> Scheme:
        jam._will_use_tokens()
        return JWTScheme(
            jam,
            self.header_name,
            self.cookie_name,
            self._refresh_path,
            header_type=self._header_type,
            refresh_sources=self._refresh_sources,
        )

    def login(
        self,
        subject: str,
        *,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        refresh: bool = True,
        expires_in: float | timedelta | None = None,
        **claims: Any,
    ) -> dict[str, Any]:
        """Return a token pair for a user who has just logged in as ``subject`` (RFC 6749 5.1).

        With a ``cookie_name`` both tokens are set as cookies, too; without a ``header_name``, they
        are only in the cookies.

        :param refresh: ``False`` for an access token alone; a cookie with the refresh token of an
            earlier login is cleared.
        :param expires_in: lifetime of this login's access tokens, in seconds: less than
            ``jwt.expire``.
        :param claims: your own claims.
        """
        named = {"scopes": scopes, "roles": roles, "refresh": refresh, "expires_in": expires_in}
        return token_login.login(*self._token_scheme(), subject, {**claims, **named})

    def refresh(self) -> dict[str, Any]:
        """Return the next pair for the refresh token of the request; or a refusal.

        It is read from the field ``refresh_token`` of a JSON or form body, or from its cookie; see
        ``refresh_sources``. If ``jwt.rotate_refresh_tokens`` is off, a token outside of a cookie
        stays valid, and the answer is an access token alone.
        """
        return token_login.refresh(*self._token_scheme(), self._reload_claims)

    def handle(self) -> str | None:
        """Return the handle of the caller's login in ``jam.list_logins``, or ``None``."""
        return token_login.own_handle(*self._token_scheme())

    def _token_scheme(self) -> tuple[AppState, JWTScheme]:
        state, scheme = self._on_app()
        assert isinstance(scheme, JWTScheme)
        return state, scheme


class SessionExtension(_LoginExtension):
    """Server-side sessions: an id in a cookie, or in ``Authorization: Bearer <id>``, or both.

    :param header_name: the header to read, or ``None``.
    :param cookie_name: the cookie to read, or ``None``. A header beats a cookie.
    :param load_user: called with the ``Accepted`` of a request; returns the user, or ``None`` to
        refuse: see :meth:`user_loader`.
    :raises ConfigError: if there is neither a header nor a cookie.
    """

    _built = SessionScheme
    required = session_required

    def __init__(
        self,
        jam: Jam | None = None,
        app: Flask | None = None,
        *,
        header_name: str | None = None,
        cookie_name: str | None = "sessionId",
        load_user: LoadUser | None = None,
    ) -> None:
        super().__init__(jam, app, load_user, header_name, cookie_name)

    def _scheme(self, jam: Jam) -> Scheme:
        return SessionScheme(jam, self.header_name, self.cookie_name)

    def login(  # noqa: PLR0913 - whose it is, what is in it, how long it lives
        self,
        session_key: str,
        data: Mapping[str, Any] | None = None,
        *,
        remember: bool | None = None,
        idle: float | timedelta | None = None,
        absolute: float | timedelta | None = None,
        auth_time: float | None = None,
        issuer: str | None = None,
    ) -> dict[str, Any]:
        """Create a session for ``session_key``, a user whose password was just checked.

        It sets the cookie and ends the session that the request carried. The returned dict has the
        id only if a header carries it.

        :param remember: True for a persistent cookie with ``session.remember_idle`` and
            ``session.remember_absolute``; False for a cookie that ends with the browser; None for
            the setting ``session.remember``.
        :param idle: seconds without use after which it ends, if sooner than the settings.
        :param absolute: seconds from now after which it ends, if sooner than the settings.
        :param auth_time: timestamp of the user's authentication, for a login made elsewhere:
            ``max_age`` counts from it. 0 if unknown; None for now.
        :param issuer: the provider that authenticated ``session_key``, after a login there: then
            ``current_auth().identity`` is ``(issuer, session_key)``.
        """
        life = Life(remember, idle, absolute, auth_time)
        return session_login.login(*self._session_scheme(), session_key, data, life, issuer)

    def update(self, data: Mapping[str, Any] | None = None, /, **changes: Any) -> None:
        """Change top-level keys of this request's session; ``g.payload`` has them at once.

        This also works in the request that logged in. Refuse if the request has no session.

        :raises SessionError: for data that is not plain JSON, or too large.
        """
        session_login.update(*self._session_scheme(), {**(data or {}), **changes})

    def refresh(self) -> dict[str, Any]:
        """Give this request's session a new id, after a change of privilege; or refuse."""
        return session_login.refresh(*self._session_scheme())

    def _session_scheme(self) -> tuple[AppState, SessionScheme]:
        state, scheme = self._on_app()
        assert isinstance(scheme, SessionScheme)
        return state, scheme

    def list(self) -> list[SessionInfo]:
        """Return every session of the caller, the oldest first; or refuse (ASVS 7.5.2)."""
        return session_login.own_sessions(*self._session_scheme())

    def handle(self) -> str | None:
        """Return the handle of the current session in :meth:`list`, or ``None``."""
        return session_login.own_handle(*self._session_scheme())

    def end(self, handle: str) -> bool:
        """End one of the user's own sessions; return False if the handle isn't theirs. Or refuse.

        :param handle: as :meth:`list` returns it: no credential, and only valid for its user.
        """
        return session_login.end_own_session(*self._session_scheme(), handle)

    def end_others(self) -> int:
        """Log out everywhere else; return the number of ended sessions. Or refuse (ASVS 7.4.3)."""
        return session_login.end_other_sessions(*self._session_scheme())


def _state_of(app: Flask, jam: Jam | None) -> AppState:
    state: AppState | None = app.extensions.get(EXTENSION_KEY)
    if state is None:
        return _new_state(app, jam or _jam_from_config(app))
    if jam is not None and jam is not state.jam:
        raise RuntimeError("this app has another Jam already: give all its extensions the same one")
    return state


def _new_state(app: Flask, jam: Jam) -> AppState:
    state = AppState(app, jam)
    app.extensions[EXTENSION_KEY] = state
    app.extensions["jam"] = jam
    state.guards_in_front = guards_in_front
    state.start_checks += [check_views, check_login_view, check_keyring]
    insert_first(app, state.first_request)
    add_template_global(app, "current_auth", current_auth_in_template)
    app.cli.add_command(LazyGroup(_load_commands))
    wrap_finalize_request(app, keep_private)
    extend_globals(app, with_payload)
    forward = _forwarder(app, jam)
    jam.subscribe(forward)
    finalize(app, jam.unsubscribe, forward).atexit = False
    _warn_of_shared_secret(app, jam)
    _publish_keys(state)
    return state


def _use_loader(state: AppState, name: str, load_user: LoadUser) -> None:
    # An app without a loader uses the class without users.
    state.auth_class = state.loading_class or UserAuth
    state.use_loader(name, load_user)
    add_template_global(state.app, "current_user", current_user)


def _load_commands() -> Group:
    from ._cli.commands import group  # noqa: PLC0415 - see LazyGroup

    return group


def _forwarder(app_: Flask, jam: Jam) -> Any:
    """Return an observer that sends signals: from the current app if it has this Jam, else all."""
    held = ref(app_)  # a Jam that outlives its apps must not keep them

    def forward(event: str, what: Mapping[str, Any]) -> None:
        app = held()
        if app is None:
            return
        here = get_current_app()
        if here is app or here is None or here.extensions.get("jam") is not jam:
            signals.emit(_SIGNALS[event], app, **what)

    return forward


def _jam_from_config(app: Flask) -> Jam:
    """Build the Jam of an app; warn about settings that only Flask-JWT-Extended reads."""
    names = left_over_names(app.config)
    # If both are installed they are no mistake: the other's own defaults are in there, too.
    if names and "flask-jwt-extended" not in app.extensions:
        _log.warning("Flask-Jam does not read these settings; write instead: %s", names)
    return Jam._for_app(load(None, app.config))


def _publish_keys(state: AppState) -> None:
    path = state.jam.settings.jwt.jwks_path
    if path is not None:
        from ._request.published_keys import publish_keys  # noqa: PLC0415 - few apps have it

        publish_keys(state, path)


def _warn_of_shared_secret(app: Flask, jam: Jam) -> None:
    secret, own = app.config.get("SECRET_KEY"), jam.settings.jwt.secret_key
    if own is not None and secret in (own, own.decode("utf-8", "replace")):
        _log.warning("jwt.secret_key is also Flask's SECRET_KEY: give each purpose its own key")
