"""Configuration checks, each mapped to an ASVS 5.0 requirement."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from flask import Flask, request
from werkzeug.datastructures import Headers
from werkzeug.middleware.proxy_fix import ProxyFix

from .._request.app_state import AppState
from .._request.start_checks import check_login_view, check_views, idle_guards
from .._request.views import is_static
from ..audit import open_routes, overridden_guards
from ..errors import ConfigError, StoreUnavailable
from ..keys import settings_with_whitespace
from ..schemes.basic import BasicScheme
from ..schemes.interface import Scheme
from ..schemes.jwt import JWTScheme
from ..schemes.session import SessionScheme
from ..stores.memory import MemoryStore
from .inspection import has_key
from .issuer_states import examine_issuers
from .key_checks import check_published, check_ring

OK, WARNING, FAILURE = "ok", "warning", "failure"
_HOUR, _DAY = 3600.0, 86400.0
#: The default name of the session cookie.
_COMMON_NAME = "sessionId"


class Finding(NamedTuple):
    """The result of one check."""

    status: str
    #: The requirement of ASVS 5.0.
    asvs: str
    says: str


def examine(state: AppState) -> list[Finding]:
    """Run every check, in a fixed order. No finding quotes a secret."""
    return [finding for look in _LOOKS for finding in look(state)]


def _has(state: AppState, kind: type[Scheme]) -> bool:
    return any(isinstance(scheme, kind) for scheme in state.schemes.values())


def _keys(state: AppState) -> Iterator[Finding]:
    jwt = state.jam.settings.jwt
    if not _has(state, JWTScheme):
        return
    yield from (Finding(*row) for row in check_published(state.jam))
    if state.jam.keyring_watch is not None:
        yield from (Finding(*row) for row in check_ring(state.jam.keyring_watch))
    elif not has_key(jwt) and state.jam.issuers is not None:
        yield Finding(OK, "11.6.1", "no key of its own: this service accepts only tokens of others")
    elif has_key(jwt):
        yield Finding(OK, "11.6.1", f"a key for {jwt.alg} is configured and long enough")
    else:
        yield Finding(
            FAILURE,
            "13.3.1",
            "no key is configured, so tokens become invalid at restart: flask jam keygen makes one",
        )
    secret, own = state.app.config.get("SECRET_KEY"), jwt.secret_key
    if own is not None and secret in (own, own.decode("utf-8", "replace")):
        yield Finding(FAILURE, "13.3.1", "jwt.secret_key is Flask's SECRET_KEY: give each its own")
    for name in settings_with_whitespace(jwt):
        yield Finding(
            WARNING,
            "13.3.1",
            f"{name} begins or ends with whitespace, such as the newline of a secrets file: a "
            "service that strips it has another key",
        )


def _tokens(state: AppState) -> Iterator[Finding]:
    if not _has(state, JWTScheme):
        return
    jwt = state.jam.settings.jwt
    if jwt.audience is None and (has_key(jwt) or state.jam.issuers is None):
        yield Finding(
            WARNING,
            "9.2.3",
            "jwt.audience is not set: a token for another service with the same key would be "
            "accepted",
        )
    elif jwt.audience is not None:
        yield Finding(OK, "9.2.3", f"a token must name the audience {jwt.audience}")
    if jwt.list == "off":
        yield Finding(
            WARNING,
            "7.4.1",
            "jwt.list is off: revoking has no effect on access tokens until they expire",
        )
    else:
        yield Finding(OK, "7.4.1", "a revoked credential is refused from the next request on")
    if not jwt.rotate_refresh_tokens:
        yield _without_rotation()
    lives = f"an access token lives {_time(jwt.expire)} by default"
    if jwt.longest > jwt.expire:
        lives += f", and {_time(jwt.longest)} at most (jwt.max_lifetime)"
    if jwt.expire > _HOUR:
        yield Finding(WARNING, "7.1.1", f"{lives}: make it shorter, a refresh is cheap")
    elif jwt.longest > _DAY:
        yield Finding(WARNING, "7.1.1", f"{lives}: lower jwt.max_lifetime")
    else:
        yield Finding(OK, "7.1.1", lives)


def _without_rotation() -> Finding:
    return Finding(
        WARNING,
        "10.4.5",
        "jwt.rotate_refresh_tokens is off: a stolen refresh token is valid until jwt.refresh_idle, "
        "and unnoticed. Turn it on when all clients store the new token of each refresh",
    )


def _issuers(state: AppState) -> Iterator[Finding]:
    is_tried = state.app.debug or state.app.testing
    yield from (Finding(*each) for each in examine_issuers(state.jam, is_tried=is_tried))


def _sessions(state: AppState) -> Iterator[Finding]:
    if _has(state, SessionScheme):
        for kind, remember in (("a session", None), ("a remembered session", True)):
            limits = state.jam.sessions.limits_of(remember)
            yield Finding(
                OK,
                "7.3.1",
                f"{kind} ends {_time(limits.idle)} after its last use, and "
                f"{_time(limits.absolute)} after the login",
            )


def _cookies(state: AppState) -> Iterator[Finding]:
    names = [scheme.cookie_name for scheme in state.transports() if scheme.cookie_name]
    settings = state.jam.settings
    if not names:
        return
    if settings.cookie_secure is False:
        yield Finding(
            FAILURE, "3.3.1", "cookie_secure is off: cookies are also sent over plain http"
        )
    elif settings.cookie_secure is None and (state.app.debug or state.app.testing):
        yield Finding(
            WARNING, "3.3.1", "cookies are not Secure, because this is debug or testing mode"
        )
    else:
        yield Finding(OK, "3.3.1", "cookies are Secure, HttpOnly and have a SameSite")
    if settings.cookie_domain is not None:
        yield Finding(
            WARNING, "3.3.3", f"cookies are sent to every host below {settings.cookie_domain}"
        )
    else:
        yield from map(_prefix, names)
    yield from _domain(state)
    yield from _collision(state, names)
    yield from _https(state)


def _passwords(state: AppState) -> Iterator[Finding]:
    if not _has(state, BasicScheme):
        return
    if state.jam.settings.cookie_secure is False and not state.app.debug:
        yield Finding(
            WARNING,
            "12.2.1",
            "cookie_secure is off, so this app may be served over plain http: Basic sends the "
            "password with every request, readable to the network",
        )
    else:
        yield Finding(OK, "12.2.1", "Basic sends a password with every request: serve only https")
    if not any(scheme.cookie_name for scheme in state.transports()):
        yield from _https(state)


def _prefix(name: str) -> Finding:
    if name.lower().startswith("__host-"):
        return Finding(OK, "3.3.3", f"the cookie {name} can only be set by this host")
    return Finding(
        WARNING,
        "3.3.3",
        f"a sibling host can set a cookie {name}: name it __Host-{name.removeprefix('__Secure-')}",
    )


def _domain(state: AppState) -> Iterator[Finding]:
    domain = (state.jam.settings.cookie_domain or "").lstrip(".").lower()
    server = state.app.config.get("SERVER_NAME")
    if not domain or not isinstance(server, str):
        return
    host = (urlsplit(f"//{server}").hostname or "").lower()
    if host != domain and not host.endswith(f".{domain}"):
        yield Finding(
            WARNING,
            "3.3.3",
            f"cookie_domain {domain} does not fit SERVER_NAME {host}: a browser there drops the "
            "cookies",
        )


def _collision(state: AppState, names: list[str]) -> Iterator[Finding]:
    path = getattr(state.jam.settings, "cookie_path", None) or "/"
    if _COMMON_NAME not in names or path != "/":
        return
    root = state.app.config.get("APPLICATION_ROOT") or "/"
    if root != "/":
        why = f"APPLICATION_ROOT is {root}"
    elif any(getattr(layer, "mounts", None) for layer in _layers(state.app)):
        why = "other apps are mounted beside this one"
    else:
        return
    yield Finding(
        WARNING,
        "3.3.3",
        f"{why}, and the cookie {_COMMON_NAME} goes to all apps on the host: one that uses the "
        "same name logs this one's users out. Set another cookie_name, or cookie_path",
    )


def _https(state: AppState) -> Iterator[Finding]:
    proxy = next((each for each in _layers(state.app) if isinstance(each, ProxyFix)), None)
    if proxy is not None and getattr(proxy, "x_proto", True):
        taken = "scheme and host" if getattr(proxy, "x_host", False) else "scheme"
        yield Finding(OK, "4.1.3", f"ProxyFix takes the {taken} from the headers of a proxy")
    elif proxy is not None:
        yield Finding(
            WARNING, "4.1.3", "ProxyFix does not take the scheme from the proxy: set x_proto"
        )
    elif not state.app.debug:
        yield Finding(
            WARNING,
            "4.1.3",
            "no ProxyFix: if a proxy ends TLS in front of this app, it "
            "takes every request for plain http",
        )


def _layers(app: Flask) -> Iterator[Any]:
    """Yield the layers of middleware, as far as they expose what they wrap."""
    layer: Any = app.wsgi_app
    for _ in range(20):
        if layer is None:
            return
        yield layer
        layer = getattr(layer, "app", None) or getattr(layer, "wsgi_app", None)


def _origins(state: AppState) -> Iterator[Finding]:
    for origin in state.jam.settings.trusted_origins:
        secure = urlsplit(origin).scheme != "http"
        yield Finding(
            OK if secure else WARNING,
            "3.5.1",
            f"pages of {origin} are trusted"
            + ("" if secure else ": so is an attacker who can modify plain http; write https"),
        )
    found = list(dict.fromkeys(_readable_by_any_origin(state.app)))
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        yield Finding(
            FAILURE,
            "3.4.2",
            "CORS lets pages of every origin read, with credentials, "
            f"{found[0]}{more}: name the origins that may",
        )
    else:
        yield Finding(OK, "3.4.2", "CORS lets no untrusted origin read with credentials")


_STRANGER = "https://stranger.invalid"


def _readable_by_any_origin(app: Flask) -> Iterator[str]:
    """Yield where a page of any origin may read an answer to a request with credentials."""
    named = app.config.get("CORS_ORIGINS", "*")
    anybody = named == "*" or (isinstance(named, (list, tuple, set)) and "*" in named)
    if anybody and app.config.get("CORS_SUPPORTS_CREDENTIALS"):
        yield "what Flask-CORS covers"
    for rule in (rule for rule in app.url_map.iter_rules() if not is_static(app, rule)):
        method = min((rule.methods or {"GET"}) - {"HEAD", "OPTIONS"}, default="OPTIONS")
        headers = _answer_to_untrusted(app, re.sub("<[^>]*>", "1", rule.rule), method)
        allowed = headers.get("Access-Control-Allow-Origin") in ("*", _STRANGER)
        if allowed and headers.get("Access-Control-Allow-Credentials", "").lower() == "true":
            yield rule.rule


def _answer_to_untrusted(app: Flask, path: str, method: str) -> Headers:
    """Return the headers that the app's hooks add to an empty answer. No view runs."""
    response = app.response_class()
    asked = app.test_request_context(path, method=method, headers={"Origin": _STRANGER})
    with suppress(Exception), asked:
        for name in (*request.blueprints, None):
            for hook in app.after_request_funcs.get(name, ()):
                with suppress(Exception):
                    response = app.ensure_sync(hook)(response)
    return response.headers


def _store(state: AppState) -> Iterator[Finding]:
    store = state.jam.store
    if isinstance(store, MemoryStore):
        yield Finding(
            WARNING,
            "7.4.1",
            "state is in the memory of this process: with more than one, set redis_url",
        )
        return
    try:
        state.jam.list_sessions("flask jam doctor")
    except StoreUnavailable:
        yield Finding(FAILURE, "13.1.3", "the store does not answer: guarded routes are 503")
        return
    yield Finding(OK, "13.1.3", "the store answers")
    yield from _redis(state, store)


def _redis(state: AppState, store: Any) -> Iterator[Finding]:
    if hasattr(store, "eviction_policies"):
        yield _eviction(store)
    url = state.jam.settings.redis_url
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is not None and parts.scheme.partition("+")[0] == "redis":
        yield _unencrypted(parts)
    elif parts is not None:
        is_tls = parts.scheme.startswith("rediss")
        way = "the connection to Redis uses TLS" if is_tls else "Redis is on this machine"
        yield Finding(OK, "12.3.1", way)


def _unencrypted(url: SplitResult) -> Finding:
    if url.hostname in _HERE:
        return Finding(OK, "12.3.1", "Redis is on this machine")
    better = url.scheme.replace("redis", "rediss", 1)
    return Finding(WARNING, "12.3.1", f"redis_url is not encrypted: write {better}://")


def _eviction(store: Any) -> Finding:
    try:
        unsafe = store.eviction_policies() - {"noeviction"}
    except Exception:  # a server that restricts CONFIG
        return Finding(
            WARNING,
            "7.4.1",
            "this Redis user cannot read maxmemory-policy: make sure that it is noeviction",
        )
    if unsafe:
        return Finding(
            FAILURE,
            "7.4.1",
            f"maxmemory-policy is {', '.join(sorted(unsafe))}: a "
            "revocation that Redis evicts is undone; set noeviction",
        )
    return Finding(OK, "7.4.1", "maxmemory-policy is noeviction")


_HERE = frozenset({None, "localhost", "127.0.0.1", "::1"})


def _guards(state: AppState) -> Iterator[Finding]:
    found = list(idle_guards(state.app))
    for sentence in found:
        yield Finding(FAILURE, "8.3.1", sentence)
    for check in () if found else (check_views, check_login_view):
        try:
            check(state)
        except ConfigError as error:
            found.append(str(error))
            yield Finding(FAILURE, "8.3.1", str(error))
    if not found:
        yield Finding(OK, "8.3.1", "every guard protects a route")
    for sentence in overridden_guards(state.app):
        yield Finding(WARNING, "8.3.1", sentence)
    unmarked = open_routes(state.app)
    if not unmarked:
        yield Finding(OK, "8.2.1", "every route has a guard, or is open on purpose")
    for route in unmarked:
        yield Finding(
            WARNING,
            "8.2.1",
            f"{' '.join(route.methods)} {route.rule} ({route.source}) "
            "is open: guard it, or mark it @public",
        )


def _debug(state: AppState) -> Iterator[Finding]:
    if state.app.debug:
        yield Finding(WARNING, "13.4.2", "debug mode is on: never in production")
    else:
        yield Finding(OK, "13.4.2", "debug mode is off")


_LOOKS: tuple[Callable[[AppState], Iterator[Finding]], ...] = (
    _keys,
    _tokens,
    _issuers,
    _sessions,
    _cookies,
    _passwords,
    _origins,
    _store,
    _guards,
    _debug,
)


def _time(seconds: float) -> str:
    for length, word in ((_DAY, "d"), (_HOUR, "h"), (60.0, "min")):
        if seconds >= length:
            return f"{seconds / length:g} {word}"
    return f"{seconds:g} s"
