"""The routes of an app, looked at once, when all of them are known."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from .errors import ConfigError
from .guards import COVERED, name_of
from .resolver import MARK, AppState


def check_views(state: AppState) -> None:
    """Refuse to serve an app whose guards cannot work.

    :raises ConfigError: for a guard above ``@app.route``, where it protects nothing, and for a
        guard whose scheme the app has no extension for.
    """
    routed = state.app.view_functions.values()
    inside = {id(inner) for view in routed for inner in _wrapped_by(view)}
    for view in routed:
        if _is_idle(view) and id(view) not in inside:
            raise ConfigError(
                f"the guard on {name_of(view)} ({_place(view)}) stands above the route and "
                "protects nothing: swap the two lines, so that the route comes first"
            )
        marks = getattr(view, MARK, ())
        for guard in marks if isinstance(marks, tuple) else ():
            for rule in guard.rules:
                state.scheme(rule.scheme)


def _is_idle(view: Any) -> bool:
    cls = getattr(view, "view_class", None)
    lost = cls is not None and hasattr(cls, COVERED) and not hasattr(view, MARK)
    return lost or COVERED in getattr(view, "__dict__", {})


def _wrapped_by(view: Any) -> Iterable[Any]:
    while (view := getattr(view, "__wrapped__", None)) is not None:
        yield view


def _place(view: Any) -> str:
    cls = getattr(view, "view_class", None)
    code = getattr(inspect.unwrap(view), "__code__", None)
    if cls is not None or code is None:
        return f"in {getattr(cls or view, '__module__', 'an unknown place')}"
    return f"{code.co_filename}:{code.co_firstlineno}"
