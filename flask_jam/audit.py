"""Every route of an app and who may come in: for people, for scripts, and for a test."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from flask import Flask
from flask.views import MethodView
from werkzeug.routing import Rule

from ._request.flask_internals import has_automatic_options
from ._request.protection import enforcing_hooks, protections
from ._request.views import MARK, PUBLIC, is_static, method_of, own_guards, source_of
from .guards import Guard


class Route(NamedTuple):
    """A rule of an app with methods that are guarded alike."""

    rule: str
    methods: tuple[str, ...]
    endpoint: str
    #: File and line of the view.
    source: str
    #: All guards in one text, with ``&`` between those that must all be satisfied.
    guard: str
    #: Where they come from: some of ``app blueprint own``; else ``public`` or ``static``. Empty
    #: where it is open and nobody said that it should be.
    origins: tuple[str, ...]
    guards: tuple[Guard, ...] = ()


def routes(app: Flask) -> list[Route]:
    """Every route, sorted: the same app gives the same list."""
    found = [
        _route(app, rule, methods, functions)
        for rule in app.url_map.iter_rules()
        if not rule.build_only and rule.redirect_to is None
        for methods, functions in _groups(app.view_functions.get(rule.endpoint), rule)
    ]
    return sorted(found, key=lambda route: (route.rule, route.methods, route.endpoint))


def open_routes(app: Flask) -> list[Route]:
    """Those that are open without being marked ``@public``."""
    return [route for route in routes(app) if not route.origins]


def _methods(rule: Rule) -> tuple[str, ...]:
    """Those that reach the view. ``HEAD`` comes with ``GET``, and is guarded as ``GET`` is."""
    methods = set(rule.methods or ())
    if has_automatic_options(rule):
        methods.discard("OPTIONS")
    if "GET" in methods:
        methods.discard("HEAD")
    return tuple(sorted(methods))


def _groups(view: Any, rule: Rule) -> list[tuple[tuple[str, ...], tuple[Any, ...]]]:
    """Methods that are guarded alike, and the functions of the class that answer them."""
    methods, cls = _methods(rule), getattr(view, "view_class", None)
    if rule.methods is not None and not methods:
        return []  # Flask's automatic OPTIONS is all there is
    if cls is None or rule.methods is None or not issubclass(cls, MethodView):
        return [(methods, () if cls is None else (cls.dispatch_request,))]
    if "GET" in methods and hasattr(cls, "head"):
        methods = (*methods, "HEAD")
    groups: dict[tuple[Guard, ...], list[str]] = {}
    for name in sorted(methods):
        groups.setdefault(own_guards(method_of(cls, name)), []).append(name)
    return [
        (tuple(names), (cls.dispatch_request, method_of(cls, names[0])))
        for names in groups.values()
    ]


def _route(app: Flask, rule: Rule, methods: tuple[str, ...], functions: tuple[Any, ...]) -> Route:
    view: Any = app.view_functions.get(rule.endpoint)
    found = list(_in_front(app, rule, view, functions))
    guards = tuple(guard for _, guard in found)
    origins = tuple(dict.fromkeys(origin for origin, _ in found)) or _said(app, rule, view)
    return Route(
        rule.rule,
        methods,
        rule.endpoint,
        _source(view, functions),
        _joined(guards),
        origins,
        guards,
    )


def _in_front(
    app: Flask, rule: Rule, view: Any, functions: tuple[Any, ...]
) -> Iterator[tuple[str, Guard]]:
    if not _said(app, rule, view):
        yield from protections(app, rule.endpoint)
    yield from enforcing_hooks(app, rule.endpoint)
    for each in (view, *functions):
        yield from (("own", guard) for guard in own_guards(each))


def _said(app: Flask, rule: Rule, view: Any) -> tuple[str, ...]:
    """Why it may be open."""
    if getattr(view, MARK, None) is PUBLIC:
        return ("public",)
    return ("static",) if is_static(app, rule) else ()


def _joined(guards: tuple[Guard, ...]) -> str:
    said = [stable(repr(guard)) for guard in dict.fromkeys(guards)]
    return " & ".join(f"({each})" if " | " in each and len(said) > 1 else each for each in said)


def stable(text: str) -> str:
    """Without the addresses that Python shows of objects that have no name."""
    return re.sub(r" at 0x[0-9A-Fa-f]+", "", text)


def _source(view: Any, functions: tuple[Any, ...]) -> str:
    if view is None or (getattr(view, "__module__", None) or "").startswith("flask."):
        return ""  # none, or Flask's own, as for static files
    return _short(source_of(functions[-1] if len(functions) > 1 else view))


def _short(place: str) -> str:
    """From here, so that the list is the same on every machine."""
    here = os.getcwd() + os.sep
    return place.removeprefix(here)
