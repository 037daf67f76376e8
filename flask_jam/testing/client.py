"""A test client that logs in: with a real credential, past the real guards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Literal, overload

from flask import Flask, request
from flask.testing import FlaskClient
from werkzeug.wrappers import Response

from .. import signals
from .._helpers.names import name_set, nearest
from .._request.app_state import AppState
from .._request.cookies import Cookie
from .._request.login import cookies_of
from ..errors import ConfigError
from ..schemes.api_key import ApiKeyScheme
from ..schemes.basic import BasicScheme, basic_header
from ..schemes.interface import EXTENSIONS, registration_of
from ..schemes.jwt import JWTScheme
from ..schemes.transport import TransportScheme
from .events import tested_app, tested_state

#: Key in the environ of a request for the ``rejected`` signals of its guards.
_REJECTED = "flask_jam.testing.rejected"


class JamClient(FlaskClient):
    """Flask's test client with :meth:`login` and :meth:`logout`.

    Write ``app.test_client_class = JamClient``, or ``JamClient(app)``.

    :raises ConfigError: unless ``app.testing``.
    """

    def __init__(
        self,
        application: Flask,
        response_wrapper: type[Response] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        app = tested_app(application)
        super().__init__(app, response_wrapper or app.response_class, *args, **kwargs)
        #: By scheme: the key of a header in the environ, its value, and the credential in it.
        self._sent: dict[str, tuple[str, str, str]] = {}

    @overload
    def login(
        self, subject: str, scheme: Literal["jwt"] = "jwt", **claims: Any
    ) -> dict[str, Any]: ...

    @overload
    def login(self, subject: str, scheme: Literal["session"], **claims: Any) -> str: ...

    @overload
    def login(self, subject: str, scheme: Literal["basic"], *, password: str) -> str: ...

    @overload
    def login(self, subject: str, scheme: Literal["api_key"], **claims: Any) -> str: ...

    def login(self, subject: str, scheme: str = "jwt", **claims: Any) -> dict[str, Any] | str:
        """Log a user in, by a token pair, a session, an API key or a password.

        The credential goes where the app reads it: a token into the header, or into its cookies
        if no header is read; a session id into its cookie, or else into the header. A header
        that a request brings itself is left alone.

        :param scheme: ``"jwt"``, ``"session"``, ``"api_key"``, or ``"basic"``: then ``subject`` is
            the name, and ``password=`` goes to the app's own check with each request.
        :param claims: ``scopes``, ``roles``, and claims or session data of your own; for a key,
            the arguments of ``jam.create_api_key``.
        :returns: the pair of ``jam.issue_tokens``, the session id, the key, or the header's value.
        :raises ConfigError: unless the app has the extension, and ``app.testing``.
        """
        state = tested_state(self.application)
        if scheme == BasicScheme.name:
            return self._by_password(state, subject, **claims)
        found = _scheme_of(state, scheme)
        if isinstance(found, ApiKeyScheme):
            return self._by_key(state, found, subject, claims)
        return (
            self._by_token(state, found, subject, claims)
            if isinstance(found, JWTScheme)
            else (self._by_session(state, found, subject, claims))
        )

    def _by_key(
        self, state: AppState, scheme: TransportScheme, subject: str, claims: dict[str, Any]
    ) -> str:
        key, _ = state.jam.create_api_key(subject, **{"name": "test", **claims})
        self._send(scheme, key)
        return key

    def _by_token(
        self, state: AppState, scheme: TransportScheme, subject: str, claims: dict[str, Any]
    ) -> dict[str, Any]:
        pair = state.jam.issue_tokens(subject, **claims)
        if scheme.header_name is not None:
            self._send(scheme, pair["access_token"])
        else:
            self._fill_jar(state, scheme, pair["access_token"], pair.get("refresh_token", ""))
        return pair

    def _by_session(
        self, state: AppState, scheme: TransportScheme, owner: str, claims: dict[str, Any]
    ) -> str:
        session_id = state.jam.create_session(owner, _session_data(**claims))
        if scheme.cookie_name is None:
            self._send(scheme, session_id)
        else:
            self._fill_jar(state, scheme, session_id)
        return session_id

    def _by_password(self, state: AppState, name: str, *, password: str) -> str:
        if BasicScheme.name not in state.schemes:
            raise _not_registered(BasicScheme.name)
        value = basic_header(name, password)
        self._send_header(BasicScheme.name, "HTTP_AUTHORIZATION", value)
        return value

    def logout(self, scheme: str | None = None) -> None:
        """Log out: end the client's credentials on the server, and forget them.

        :param scheme: ``"jwt"``, ``"session"``, ``"basic"`` or ``"api_key"``; all by default.
        """
        state = tested_state(self.application)
        if scheme in (None, BasicScheme.name):
            self._unsent(BasicScheme.name)
            if scheme is not None:
                return
        names = (
            [each.name for each in state.transports()]
            if scheme is None
            else [_scheme_of(state, scheme).name]
        )
        for name in names:
            found = _scheme_of(state, name)
            for credential in [*self._unsent(name), *self._emptied(state, found)]:
                found.end(credential)

    def run_wsgi_app(self, environ: dict[str, Any], buffered: bool = False) -> Any:
        """Send a request as the logged-in user, and record the guards' refusals."""
        for key, value, _ in self._sent.values():
            environ.setdefault(key, value)
        with _noting(environ, self.application):
            return super().run_wsgi_app(environ, buffered)

    # --- where credentials are ---

    def _send(self, scheme: TransportScheme, credential: str) -> None:
        key = "HTTP_" + (scheme.header_name or "").upper().replace("-", "_")
        self._send_header(scheme.name, key, scheme.header_value(credential), credential)

    def _send_header(self, scheme: str, key: str, value: str, credential: str = "") -> None:
        # One header has one value: of two schemes that read it, the later login counts.
        others = {name: sent for name, sent in self._sent.items() if sent[0] != key}
        self._sent = {**others, scheme: (key, value, credential)}

    def _unsent(self, scheme: str) -> list[str]:
        sent = self._sent.pop(scheme, None)
        return [] if sent is None else [sent[2]]

    def _fill_jar(
        self, state: AppState, scheme: TransportScheme, credential: str, refresh_token: str = ""
    ) -> None:
        domain, (first, *others) = self._cookies_of(state, scheme)
        refresh = others if refresh_token else []
        values = [(first, credential), *((cookie, refresh_token) for cookie in refresh)]
        for_host = state.jam.settings.cookie_domain is None
        for cookie, value in values:
            self.set_cookie(
                cookie.name, value, domain=domain, path=cookie.path, origin_only=for_host
            )

    def _emptied(self, state: AppState, scheme: TransportScheme) -> Iterator[str]:
        """Remove the cookies of a scheme, those set by the app included; yield their values."""
        if self._cookies is None or scheme.cookie_name is None:
            return
        domain, cookies = self._cookies_of(state, scheme)
        for cookie in cookies:
            found = self.get_cookie(cookie.name, domain, cookie.path)
            if found is not None:
                self.delete_cookie(cookie.name, domain=domain, path=cookie.path)
                yield found.value

    def _cookies_of(self, state: AppState, scheme: TransportScheme) -> tuple[str, list[Cookie]]:
        """Return the domain and the cookies of a scheme, as the app's login would set them."""
        with self.application.test_request_context() as context:
            cookies = list(cookies_of(state, scheme))
            host = context.request.host.partition(":")[0]
        return (state.jam.settings.cookie_domain or host).lstrip("."), cookies


def rejections(response: Response) -> list[SimpleNamespace] | None:
    """Return the ``rejected`` signals for an answer to a :class:`JamClient`, in order.

    ``None`` for an answer to another client.
    """
    asked = getattr(response, "request", None)
    return None if asked is None else asked.environ.get(_REJECTED)


@contextmanager
def _noting(environ: dict[str, Any], app: Flask) -> Iterator[None]:
    noted: list[SimpleNamespace] = []
    environ[_REJECTED] = noted

    def note(_sender: Flask, **what: Any) -> None:
        # Others may be asking at the same time: another thread, or a view that has a client too.
        if request and request.environ.get(_REJECTED) is noted:
            noted.append(SimpleNamespace(**what))

    with signals.rejected.connected_to(note, sender=app):
        yield


def _scheme_of(state: AppState, name: str) -> TransportScheme:
    if name not in EXTENSIONS:
        known = '"jwt", "session", "basic" or "api_key"'
        raise ConfigError(f"scheme: write {known}{nearest(name, EXTENSIONS)}")
    for scheme in state.transports():
        if scheme.name == name:
            return scheme
    raise _not_registered(name)


def _not_registered(name: str) -> ConfigError:
    return ConfigError(
        f"no user can log in with {name} here: write {registration_of(name)}.init_app(app)"
    )


def _session_data(
    *, scopes: Iterable[str] = (), roles: Iterable[str] = (), **data: Any
) -> dict[str, Any]:
    """Return session data with scopes and roles in the form that guards read."""
    if scopes:
        data["scope"] = " ".join(name_set(scopes, "scopes"))
    if roles:
        data["roles"] = list(name_set(roles, "roles"))
    return data
