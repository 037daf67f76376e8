"""What is wrong with the guards of an app, found when all of its routes are known."""

from __future__ import annotations

import ast
import inspect
import linecache
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType
from typing import Any

from flask import Flask

from .._helpers.fork_lock import fork_safe_lock
from .._helpers.names import nearest
from ..errors import ConfigError
from ..guards import Guard
from .current_auth import AppState
from .protection import protections
from .views import COVERED, MARK, PUBLIC, chain_of, method_of, name_of, own_guards, source_of


def check_views(state: AppState) -> None:
    """Refuse to serve an app whose guards cannot work.

    :raises ConfigError: for a guard above ``@app.route``, where it protects nothing, and for a
        guard whose scheme the app has no extension for.
    """
    for idle in idle_guards(state.app):
        raise ConfigError(idle)
    for endpoint, view in state.app.view_functions.items():
        _check_contradiction(view)
        around = [guard for _, guard in protections(state.app, endpoint)]
        guards = [*around, *own_guards(view), *_of_methods(view)]
        for rule in (rule for guard in guards for rule in guard.rules):
            state.scheme(rule.scheme)


def _of_methods(view: Any) -> list[Guard]:
    cls = getattr(view, "view_class", None)
    names = getattr(cls, "methods", None) or ()
    return [guard for name in names for guard in own_guards(method_of(cls, name))]


def idle_guards(app: Flask) -> Iterator[str]:
    """A sentence for every guard that stands above its route."""
    routed = app.view_functions.values()
    inside = {id(inner) for view in routed for inner in list(chain_of(view))[1:]}
    for view in routed:
        if id(view) not in inside and _is_idle(view):
            yield (
                f"the guard on {name_of(view)} ({source_of(view)}) stands above the route and "
                "protects nothing: swap the two lines, so that the route comes first"
            )


def _check_contradiction(view: Any) -> None:
    cls = getattr(view, "view_class", None)
    if cls is None or getattr(view, MARK, None) is not PUBLIC:
        return
    for method in getattr(cls, "methods", None) or ():
        if own_guards(method_of(cls, method)):
            raise ConfigError(
                f"{name_of(view)} is public and its {method} is guarded: remove one of the two"
            )


def check_login_view(state: AppState) -> None:
    """Refuse a ``login_view`` at which nobody could arrive.

    :raises ConfigError: with a sentence.
    """
    name, app = state.jam.settings.login_view, state.app
    if name is None or name.startswith("/"):
        return
    if name not in app.view_functions:
        raise ConfigError(
            f"login_view: this app has no endpoint {name!r}{nearest(name, app.view_functions)}"
        )
    of_it = [rule for rule in app.url_map.iter_rules() if rule.endpoint == name]
    rules = [rule for rule in of_it if rule.methods is None or "GET" in rule.methods]
    filled = bool(app.url_default_functions)
    if not any(filled or rule.arguments <= set(rule.defaults or ()) for rule in rules):
        raise ConfigError(f"login_view: {name} has no URL that a GET without arguments reaches")
    view = app.view_functions[name]
    around = () if getattr(view, MARK, None) is PUBLIC else protections(app, name)
    guards = [*(guard for _, guard in around), *own_guards(view)]
    if not all(any(rule.optional for rule in guard.rules) for guard in guards):
        raise ConfigError(
            f"login_view: {name} is guarded, so nobody could log in: mark it "
            "@public, or make its guard optional"
        )


def _is_idle(view: Any) -> bool:
    """Whether this view was given to a guard whose product took its name, and is routed itself.

    A function that is open on one route and guarded on another was guarded by a plain call; only
    a decorator, or ``view = guard(view)``, takes the name away.
    """
    cls = getattr(view, "view_class", None)
    if cls is not None:
        return hasattr(cls, COVERED) and not hasattr(view, MARK)
    places = getattr(view, "__dict__", {}).get(COVERED, ())
    return any(_takes_the_name(view, file, line) for file, line in places)


def _takes_the_name(view: Any, file: str, line: int) -> bool:
    with _parsing:
        lines = _lines_of(file)
    if lines is None:
        # No source to read, as in a shell: the function knows where its decorators begin.
        code: CodeType | None = getattr(inspect.unwrap(view), "__code__", None)
        if code is None or code.co_filename != file:
            return False
        return code.co_firstlineno <= line < _body_of(code)
    return any(first <= line <= last for first, last in lines)


def _body_of(code: CodeType) -> int:
    first = code.co_firstlineno
    return min((line for *_, line in code.co_lines() if line and line > first), default=first + 1)


# ast.parse of Python 3.11 fails when two threads are in it.
_parsing = fork_safe_lock()


@lru_cache(maxsize=64)
def _lines_of(file: str) -> tuple[tuple[int, int], ...] | None:
    source = "".join(linecache.getlines(file))
    try:
        return tuple(_renaming_lines(ast.parse(source))) if source else None
    except (SyntaxError, ValueError):
        return None


def _renaming_lines(tree: ast.AST) -> Iterator[tuple[int, int]]:
    """Lines of decorators, down to their ``def``, and of ``name = something(name)``."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.decorator_list:
            yield min(d.lineno for d in node.decorator_list), node.lineno
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            given = {arg.id for arg in node.value.args if isinstance(arg, ast.Name)}
            taken = {name.id for name in node.targets if isinstance(name, ast.Name)}
            if given & taken:
                yield node.lineno, node.end_lineno or node.lineno
