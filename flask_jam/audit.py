"""The list of an app's routes with the guards in front of each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from flask import Flask
from werkzeug.routing import Rule

from ._request.flask_internals import has_automatic_options
from ._request.protection import enforcing_hooks, protections
from ._request.views import (
    accessible_by,
    guards_of,
    is_method_view,
    is_public,
    is_static,
    method_of,
    name_of,
    source_of,
    wrappers_above_guards,
)
from .guards import Guard


class Route(NamedTuple):
    """A rule of an app, with the methods that have the same guards."""

    rule: str
    methods: tuple[str, ...]
    endpoint: str
    #: File and line of the view.
    source: str
    #: All guards in one string, with ``&`` between those that must all be satisfied.
    guard: str
    #: Their origins: some of ``app blueprint own is_accessible`` (Flask-Admin's); else
    #: ``public`` or ``static``. Empty for a route that is open and not marked so.
    origins: tuple[str, ...]
    guards: tuple[Guard, ...] = ()


def routes(app: Flask) -> list[Route]:
    """Return every route, sorted: the same app gives the same list."""
    found = [
        _route(app, rule, methods, method)
        for rule in app.url_map.iter_rules()
        if not rule.build_only and rule.redirect_to is None
        for methods, method in _groups(app.view_functions.get(rule.endpoint), rule)
    ]
    return sorted(found, key=lambda route: (route.rule, route.methods, route.endpoint))


def open_routes(app: Flask) -> list[Route]:
    """Return the routes that are open without being marked ``@public``."""
    return [route for route in routes(app) if not route.origins]


def _methods(rule: Rule) -> tuple[str, ...]:
    """Return the methods that reach the view. ``HEAD`` is omitted: it is guarded as ``GET``."""
    methods = set(rule.methods or ())
    if has_automatic_options(rule):
        methods.discard("OPTIONS")
    if "GET" in methods:
        methods.discard("HEAD")
    return tuple(sorted(methods))


def _groups(view: Any, rule: Rule) -> list[tuple[tuple[str, ...], str | None]]:
    """Return the methods in groups with the same guards, and one method of each group.

    None stands for all methods of a view that does not distinguish them.
    """
    methods, cls = _methods(rule), getattr(view, "view_class", None)
    if rule.methods is not None and not methods:
        return []  # only Flask's automatic OPTIONS
    if rule.methods is None or not is_method_view(cls):
        return [(methods, None)]
    if "GET" in methods and (hasattr(cls, "head") or _access(view, "HEAD") != _access(view, "GET")):
        methods = (*methods, "HEAD")
    groups: dict[Any, list[str]] = {}
    for name in sorted(methods):
        groups.setdefault(_access(view, name), []).append(name)
    return [(tuple(names), names[0]) for names in groups.values()]


def _access(view: Any, method: str) -> tuple[tuple[Guard, ...], bool]:
    return guards_of(view, method), is_public(view, method)


def _route(app: Flask, rule: Rule, methods: tuple[str, ...], method: str | None) -> Route:
    view: Any = app.view_functions.get(rule.endpoint)
    found = list(_in_front(app, rule, view, method))
    guards = tuple(guard for _, guard in found)
    texts, origins = _texts(guards), [origin for origin, _ in found]
    accessible = accessible_by(view)
    if accessible is not None:
        texts.append(accessible)
        origins.append("is_accessible")
    return Route(
        rule.rule,
        methods,
        rule.endpoint,
        _source(view, method),
        _joined(texts),
        tuple(dict.fromkeys(origins)) or _opened_by(app, rule, view, method),
        guards,
    )


def _in_front(app: Flask, rule: Rule, view: Any, method: str | None) -> Iterator[tuple[str, Guard]]:
    if not _opened_by(app, rule, view, method):
        yield from protections(app, rule.endpoint)
    yield from enforcing_hooks(app, rule.endpoint)
    yield from (("own", guard) for guard in guards_of(view, method))


def _opened_by(app: Flask, rule: Rule, view: Any, method: str | None) -> tuple[str, ...]:
    """Return why a route may be open."""
    if is_public(view, method):
        return ("public",)
    return ("static",) if is_static(app, rule) else ()


def _texts(guards: tuple[Guard, ...]) -> list[str]:
    return [stable(repr(guard)) for guard in dict.fromkeys(guards)]


def _joined(texts: list[str]) -> str:
    return " & ".join(f"({each})" if " | " in each and len(texts) > 1 else each for each in texts)


def overridden_guards(app: Flask) -> list[str]:
    """Return a sentence for each decorator above a guard that could answer without asking it.

    A decorator of a package that is known to call the view, or to refuse, is left out.
    """
    found: dict[str, None] = {}
    for rule in app.url_map.iter_rules():
        view = app.view_functions.get(rule.endpoint)
        methods: list[str | None] = [*sorted(rule.methods or ())]
        for method in methods or [None]:
            for wrapper in wrappers_above_guards(view, method):
                above = wrapper.name + (f" ({_short(wrapper.source)})" if wrapper.source else "")
                found[_overridden(above, name_of(view), wrapper.is_cache)] = None
    return sorted(found)


def _overridden(above: str, view: str, is_cache: bool) -> str:
    if is_cache:
        return (
            f"{above} stands above the guard on {view} and serves its answer to others without "
            "asking the guard. Put it below the guard."
        )
    return (
        f"{above} stands above the guard on {view}: if it answers without calling the view, as a "
        "cache does, the guard is not asked. Put it below the guard."
    )


#: A variable part of a rule, as werkzeug reads it: ``<converter(arguments):name>``.
_VARIABLE = re.compile(r"<(?:([A-Za-z_]\w*)(?:\(.*?\))?:)?[A-Za-z_]\w*>")


def early_code(app: Flask) -> list[str]:
    """Return a sentence for each rule with code that runs before the guard of ``protect``.

    The router calls converters and ``redirect_to`` functions, also for clients that the guard
    refuses.
    """
    found = []
    for rule in app.url_map.iter_rules():
        is_protected = any(protections(app, rule.endpoint or ""))
        is_open = is_public(app.view_functions.get(rule.endpoint), None)
        if rule.build_only or is_open or not is_protected:
            continue
        names = [f"its converter {name}" for name in _custom_converters(app, rule)]
        if callable(rule.redirect_to):
            names.append("its redirect_to function")
        if names:
            found.append(
                f"{rule.rule}: {' and '.join(names)} runs before the guard of protect, also for "
                "a client without a credential"
            )
    return sorted(set(found))


def _custom_converters(app: Flask, rule: Rule) -> list[str]:
    text = "".join([rule.subdomain or "", rule.host or "", rule.rule])
    names = dict.fromkeys(match[1] or "default" for match in _VARIABLE.finditer(text))
    used = {name: app.url_map.converters.get(name) for name in names}
    return [
        name
        for name, converter in used.items()
        if converter is not None and not converter.__module__.startswith("werkzeug.")
    ]


def stable(text: str) -> str:
    """Remove the memory addresses that Python shows for objects without a name."""
    return re.sub(r" at 0x[0-9A-Fa-f]+", "", text)


def _source(view: Any, method: str | None) -> str:
    if view is None or (getattr(view, "__module__", None) or "").startswith("flask."):
        return ""  # none, or Flask's own, as for static files
    return _short(source_of(view if method is None else method_of(view.view_class, method)))


def _short(place: str) -> str:
    """Return a path relative to here or to the packages: the same on every machine."""
    here = os.getcwd() + os.sep
    return re.sub(r"^.*[/\\]site-packages[/\\]", "", place.removeprefix(here))
