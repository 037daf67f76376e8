"""Checks of an app's guards, run once all of its routes are known."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Any

from flask import Flask
from flask.sessions import SecureCookieSessionInterface

from .._credentials.issuer_names import is_named, names_of
from .._helpers.names import nearest
from ..errors import ConfigError
from ..guards import Guard
from ..schemes.basic import BasicScheme
from ..schemes.interface import EXTENSIONS, Scheme
from ..schemes.jwt import JWTScheme
from ..schemes.transport import TransportScheme
from .app_state import AppState
from .conditions import Rule, describe
from .protection import enforcing_hooks, protections
from .views import (
    CALLED,
    DECORATED,
    MARK,
    chain_of,
    covered_by,
    guards_of,
    guards_of_class,
    is_covered_class,
    is_method_view,
    is_public,
    methods_of,
    name_of,
    own_guards,
    source_of,
)


def check_views(state: AppState) -> None:
    """Raise an error for an app whose guards cannot work.

    :raises ConfigError: for a guard above ``@app.route``, where it protects nothing, and for a
        guard whose scheme the app has no extension for.
    """
    for idle in idle_guards(state.app):
        raise ConfigError(idle)
    for endpoint, view in state.app.view_functions.items():
        _check_contradiction(view)
        around = [guard for _, guard in protections(state.app, endpoint)]
        own = [guard for method in _methods(view) for guard in guards_of(view, method)]
        for rule in (rule for guard in [*around, *own] for rule in guard.rules):
            _check_sources(rule, state.scheme(rule.scheme))
            _check_issuers(rule, state)


def _check_issuers(rule: Rule, state: AppState) -> None:
    """Raise an error for a guard with unknown issuers, or one that accepts no token at all."""
    verifier = state.jam.verifier
    if rule.scheme != JWTScheme.name:
        return
    issuers = () if state.jam.issuers is None else state.jam.issuers.states()
    known = [name for each in issuers for name in names_of(each)]
    for name in rule.issuers:
        if not any(is_named(name, each) or is_named(each, name) for each in known):
            raise ConfigError(
                f"{describe(rule)}: this app has no issuer {name!r}{nearest(name, known)}"
            )
    if not rule.issuers and not verifier.takes_plain:
        raise ConfigError(
            f"{describe(rule)} lets no caller in: this service has no key of its own, and none "
            "of its issuers is the only one or has everywhere=True. Name issuers={...}"
        )


def check_keyring(state: AppState) -> None:
    """Raise an error if neither ``jwt.keyring`` nor the settings have a key.

    :raises ConfigError: with the command that creates one.
    """
    if state.jam.keyring_watch is not None:
        keyring = state.jam.verifier.keyring
        if not keyring.keys:
            raise ConfigError(keyring.unsigned)


def _check_sources(rule: Rule, scheme: Scheme) -> None:
    """Raise an error for a guard whose ``sources`` its extension does not read."""
    if not rule.sources or not isinstance(scheme, (TransportScheme, BasicScheme)):
        return
    read = {"header": scheme.header_name, "cookie": scheme.cookie_name}
    if not any(read.get(source) for source in rule.sources):
        raise ConfigError(
            f"{describe(rule)} lets no caller in: {EXTENSIONS[scheme.name]} has no "
            + " and no ".join(f"{source}_name" for source in rule.sources)
        )


def _methods(view: Any) -> list[str | None]:
    """Return the methods whose guards may differ; None alone if all methods are one function."""
    cls = getattr(view, "view_class", None)
    return [*methods_of(cls), None] if is_method_view(cls) else [None]


def idle_guards(app: Flask) -> Iterator[str]:
    """Yield an error sentence for every guard that stands above its route."""
    routed = app.view_functions.values()
    inside = {id(inner) for view in routed for inner in list(chain_of(view))[1:]}
    for view in routed:
        if _is_idle(view, inside):
            yield (
                f"the guard on {name_of(view)} ({source_of(view)}) stands above the route and "
                "protects nothing: swap the two lines, so that the route comes first"
            )


def _check_contradiction(view: Any) -> None:
    cls = getattr(view, "view_class", None)
    if cls is None:
        return
    for method in _methods(view):
        if is_public(view, method) and guards_of(view, method):
            if is_public(view, None):
                which = f"{name_of(view)} is public and its {method or 'dispatch_request'} is"
            else:
                which = f"{method} of {name_of(view)} is both public and"
            raise ConfigError(f"{which} guarded: remove one of the two")
    if not set(guards_of_class(cls)) <= set(own_guards(view)):
        raise ConfigError(
            f"{name_of(view)} inherits a guard that its as_view leaves out: call "
            "super().as_view(...) there, or guard the class itself"
        )


def check_login_view(state: AppState) -> None:
    """Raise an error for an unreachable ``login_view``, or a message that is never shown.

    :raises ConfigError: in either case.
    """
    settings, app = state.jam.settings, state.app
    if settings.login_view is not None:
        _check_page(app, "login_view", settings.login_view)
    for blueprint, view in settings.login_views:
        if blueprint not in app.blueprints:
            raise ConfigError(
                f"login_views: this app has no blueprint {blueprint!r}"
                f"{nearest(blueprint, app.blueprints)}"
            )
        _check_page(app, "login_views", view)
    if settings.login_message is not None:
        _check_message(state)


def _check_message(state: AppState) -> None:
    settings = state.jam.settings
    if settings.login_view is None and not settings.login_views:
        raise ConfigError("login_message is flashed on the way to the login: set login_view, too")
    # A session that another extension keeps may need none.
    is_flasks = isinstance(state.app.session_interface, SecureCookieSessionInterface)
    if is_flasks and not state.app.secret_key:
        raise ConfigError(
            "login_message is flashed, which needs Flask's SECRET_KEY: set app.secret_key, or "
            "leave login_message out"
        )


def _check_page(app: Flask, setting: str, name: str) -> None:
    if name.startswith("/"):
        return
    if name not in app.view_functions:
        raise ConfigError(
            f"{setting}: this app has no endpoint {name!r}{nearest(name, app.view_functions)}"
        )
    of_it = [rule for rule in app.url_map.iter_rules() if rule.endpoint == name]
    rules = [rule for rule in of_it if rule.methods is None or "GET" in rule.methods]
    filled = bool(app.url_default_functions)
    if not any(filled or rule.arguments <= set(rule.defaults or ()) for rule in rules):
        raise ConfigError(f"{setting}: {name} has no URL that a GET without arguments reaches")
    view = app.view_functions[name]
    around = () if is_public(view, "GET") else protections(app, name)
    if _refuses([*(guard for _, guard in around), *guards_of(view, "GET")]):
        raise ConfigError(f"{setting}: {name} is guarded, so no user could log in: mark it @public")
    if _refuses(guard for _, guard in enforcing_hooks(app, name)):
        raise ConfigError(
            f"{setting}: before_request(guard.enforce) guards {name}, so no user could log in: "
            "write protect(app, guard) instead, and mark it @public"
        )


def _refuses(guards: Iterable[Guard]) -> bool:
    """Return True if a guard refuses a request without a credential."""
    return not all(any(rule.optional for rule in guard.rules) for guard in guards)


def _is_idle(view: Any, inside: Container[int]) -> bool:
    """Return True if a view was given to a guard, and is routed without it."""
    cls = getattr(view, "view_class", None)
    if cls is not None:
        return is_covered_class(cls, inherited=False) and not hasattr(view, MARK)
    manner = covered_by(view)
    if manner is None:
        return False
    # A function may be open on one route or app, and guarded by a plain call on another.
    is_kept = manner == CALLED or id(view) in inside or _keeps_its_name(view)
    return manner == DECORATED or not is_kept


def _keeps_its_name(view: Any) -> bool:
    """Return True if a function's name is still bound to it, not to a decorator's product."""
    name, names = getattr(view, "__qualname__", ""), getattr(view, "__globals__", {})
    return name == "<lambda>" or names.get(name) is view
