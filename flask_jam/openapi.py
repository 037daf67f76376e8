"""OpenAPI 3.1 security schemes and requirements, derived from the guards.

They are plain dicts and lists for the tool that writes the description. A route's requirements come
from the guards that :mod:`flask_jam.audit` finds, those of ``protect`` included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple, TypeAlias

from flask import Flask, current_app

from ._request.app_state import EXTENSION_KEY, AppState
from ._request.views import chain_of, name_of
from .audit import Route, routes
from .errors import ConfigError
from .guards import Guard
from .jam import Jam
from .schemes.interface import Scheme

Security: TypeAlias = list[dict[str, list[str]]]


class Need(NamedTuple):
    """Requirements on a credential, and its sources; no sources means any."""

    scopes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    #: The accepted issuers; empty for those that a plain guard accepts.
    issuers: tuple[str, ...] = ()


#: By scheme; ``None`` if the request must carry no credential of it.
Way: TypeAlias = dict[str, "Need | None"]


# --- components.securitySchemes ----------------------------------------------------------


def security_schemes(app_or_jam: Flask | Jam) -> dict[str, dict[str, Any]]:
    """Return ``components.securitySchemes``: one for each place where a credential is read.

    Their names are ``jwt_header``, ``jwt_cookie``, ``session_header``, ``session_cookie``,
    ``api_key_header`` and ``basic``; that of another issuer is derived from its name:
    ``jwt_example_eu_auth0_com``.

    :param app_or_jam: the app, or a Jam of the current app.
    :raises ConfigError: if the app has no extension, or another Jam.
    """
    if not isinstance(app_or_jam, Jam):
        state = _state_of(app_or_jam)
    else:
        state = _state_of(None)
        if state.jam is not app_or_jam:
            raise ConfigError("security_schemes: the current app has another Jam; give it the app")
    found: dict[str, dict[str, Any]] = {}
    for scheme in state.schemes.values():
        for name, described in _places(scheme).items():
            if name in found:
                raise ConfigError(f"two schemes describe {name} to OpenAPI: rename one of them")
            found[name] = described
    return found


def _places(scheme: Scheme) -> dict[str, dict[str, Any]]:
    """Return the Security Scheme Objects of a scheme, by name."""
    described = scheme.openapi()
    return {scheme.name: described} if isinstance(described.get("type"), str) else described


def _state_of(app: Flask | None) -> AppState:
    if app is None and not current_app:
        raise ConfigError(
            "OpenAPI: there is no current app; give it the app, or write this within "
            "app.app_context()"
        )
    state: AppState | None = (app or current_app).extensions.get(EXTENSION_KEY)
    if state is None:
        raise ConfigError(
            "OpenAPI: this app has no extension that could authenticate anybody: "
            "write JWTExtension(jam).init_app(app)"
        )
    return state


# --- security of an operation --------------------------------------------------------------


def security_for(
    view: Callable[..., Any] | str, method: str | None = None, app: Flask | None = None
) -> Security | None:
    """Return ``security`` of an operation: one entry must be met, with all of its schemes.

    :param view: the view function of the route, or the name of its endpoint.
    :param method: the HTTP method; required if a class guards its methods differently.
    :param app: the app; the current one by default.
    :returns: ``[]`` for ``@public``; ``None`` if nothing is known: omit ``security`` then.
    :raises ConfigError: for a view that the app does not route, or a method it does not answer.
    """
    state = _state_of(app)
    found = [_security(state, route) for route in _routes_of(state.app, view, method)]
    if any(each != found[0] for each in found):
        raise ConfigError(
            f"security_for: {_called(view)} is guarded in several ways: say which "
            'method, as in security_for(view, "GET"), or which endpoint'
        )
    return found[0]


def _routes_of(app: Flask, view: Callable[..., Any] | str, method: str | None) -> list[Route]:
    endpoints = {view} if isinstance(view, str) else set(_endpoints(app, view))
    found = [route for route in routes(app) if route.endpoint in endpoints]
    if not found:
        raise ConfigError(
            f"security_for: {_called(view)} is on no route of this app: give it the "
            "view that the route has, or the name of its endpoint"
        )
    answering = found if method is None else _answering(found, method.upper())
    if not answering:
        raise ConfigError(f"security_for: {_called(view)} does not answer {method}")
    return answering


def _answering(found: list[Route], method: str) -> list[Route]:
    exact = [route for route in found if method in route.methods]
    if exact or method != "HEAD":
        return exact
    return [route for route in found if "GET" in route.methods]


def _endpoints(app: Flask, view: Callable[..., Any]) -> Iterator[str]:
    """Yield the endpoints of a view, even if it was wrapped after it was routed."""
    inside = [id(each) for each in chain_of(view)]
    return (name for name, routed in app.view_functions.items() if id(routed) in inside)


def _called(view: Callable[..., Any] | str) -> str:
    return view if isinstance(view, str) else name_of(view)


def _security(state: AppState, route: Route) -> Security | None:
    if not route.guards:
        return [] if "public" in route.origins else None
    ways: list[Way] = [{}]
    for guard in route.guards:
        pairs = product(ways, _ways(guard))
        ways = [merged for one, other in pairs if (merged := _both(one, other)) is not None]
    found: Security = []
    for each in (each for way in ways for each in _spelled_out(state, way)):
        if each not in found:
            found.append(each)
    return found


def _ways(guard: Guard) -> list[Way]:
    """Return the ways to satisfy a guard."""
    ways: list[Way] = [
        {rule.scheme: Need(rule.scopes, rule.sources, rule.issuers)} for rule in guard.rules
    ]
    if any(rule.optional for rule in guard.rules):
        # A credential that is sent must be valid, so anonymous means sending none of them.
        ways.append({rule.scheme: None for rule in guard.rules})
    return ways


def _both(one: Way, other: Way) -> Way | None:
    """Return what satisfies two guards at once; None if they contradict each other."""
    merged = {**one, **other}
    for name in one.keys() & other.keys():
        mine, theirs = one[name], other[name]
        if mine is None and theirs is None:
            continue
        if mine is None or theirs is None:
            return None
        sources = _common(mine.sources, theirs.sources)
        issuers = _common(mine.issuers, theirs.issuers)
        if sources is None or issuers is None:
            return None
        merged[name] = Need(tuple(sorted({*mine.scopes, *theirs.scopes})), sources, issuers)
    return merged


def _common(mine: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the intersection of two conditions; an empty one allows all, None is no match."""
    if not mine or not theirs:
        return mine or theirs
    return tuple(each for each in mine if each in theirs) or None


def _spelled_out(state: AppState, way: Way) -> Iterator[dict[str, list[str]]]:
    """Yield a requirement for each choice of places, as a credential is sent in one of them."""
    needed = {name: need for name, need in way.items() if need is not None}
    places = [_places_of(state.scheme(name), need) for name, need in needed.items()]
    for chosen in product(*places):
        yield {place: list(n.scopes) for place, n in zip(chosen, needed.values(), strict=True)}


def _places_of(scheme: Scheme, need: Need) -> list[str]:
    """Return the places of a scheme that are among the sources; all, if it names others."""
    every, taken = _places(scheme), scheme._places_for(need.issuers)
    # An operation without a place would read as an open one.
    places = {name: every[name] for name in every if taken is None or name in taken} or every
    named = [name for name, each in places.items() if each.get("in", "header") in need.sources]
    return named or list(places)
