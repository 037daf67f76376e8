"""Inspect view functions: names, wrappers, guards, source."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import FrameType
from typing import Any

from flask import Flask
from werkzeug.routing import Rule

#: On a view: the guard that covers it, or :data:`PUBLIC`.
MARK = "__flask_jam__"
PUBLIC = "public"
#: On a function that was given to a guard: the function itself, and how it was given.
_COVERED = "__flask_jam_covered__"
#: How: as a decorator, which takes the function's name; by a call of the code that defines it,
#: which does not; or by other code, such as a decorator of the app's own.
DECORATED, CALLED, UNKNOWN = "decorated", "called", "unknown"


def name_of(view: Any) -> str:
    """What a view is called, for a sentence."""
    view = getattr(view, "view_class", view)
    return getattr(view, "__qualname__", type(view).__name__)


def cover(view: Any, caller: FrameType) -> None:
    """Note on a view, and on what it wraps, that a guard covers it.

    The product of the guard carries the guard's mark; a function that is covered and routed
    without that mark stands below a route that its guard does not protect.

    :param caller: the frame that gives the view to the guard.
    """
    # A bound method has no attributes of its own: its function does.
    functions = [getattr(inner, "__func__", inner) for inner in chain_of(view)]
    manner = _manner(functions[-1], caller)
    for function in functions:
        if hasattr(function, "__dict__"):
            setattr(function, _COVERED, (function, manner))


def _manner(function: Any, caller: FrameType) -> str:
    code = getattr(function, "__code__", None)
    if code is None or code not in caller.f_code.co_consts:
        return UNKNOWN
    lines = [line for *_, line in code.co_lines() if line and line > code.co_firstlineno]
    body = min(lines, default=code.co_firstlineno + 1)
    return DECORATED if code.co_firstlineno <= caller.f_lineno < body else CALLED


def covered_by(view: Any) -> str | None:
    """Return how a view was given to a guard; None if it was not.

    ``functools.wraps`` copies the note, so it counts only on the function that it names.
    """
    function = getattr(view, "__func__", view)
    noted = getattr(function, _COVERED, None)
    return noted[1] if noted is not None and noted[0] is function else None


def cover_class(cls: Any, guard: Any) -> None:
    """Note on a class of views that a guard covers it."""
    own = cls.__dict__.get(_COVERED, (cls, UNKNOWN, ()))[2]
    setattr(cls, _COVERED, (cls, UNKNOWN, (guard, *own)))


def guards_of_class(cls: Any) -> list[Any]:
    """Return the guards of a class of views and of all classes that it inherits from."""
    noted = (each.__dict__.get(_COVERED) for each in cls.__mro__)
    return [guard for note in noted if note is not None for guard in note[2]]


def is_covered_class(cls: Any, *, inherited: bool = True) -> bool:
    """Return True for a class of views that a guard covers, or that inherits from such a class."""
    if not isinstance(cls, type):
        return False
    return hasattr(cls, _COVERED) if inherited else _COVERED in cls.__dict__


def chain_of(view: Any) -> Iterator[Any]:
    """A view and what ``functools.wraps`` says that it wraps, the outermost first."""
    while view is not None:
        yield view
        view = getattr(view, "__wrapped__", None)


def source_of(view: Any) -> str:
    """File and line of a view, for a sentence."""
    cls = getattr(view, "view_class", None)
    code = getattr(inspect.unwrap(view), "__code__", None)
    if cls is not None or code is None:
        return f"in {getattr(cls or view, '__module__', 'an unknown place')}"
    return f"{code.co_filename}:{code.co_firstlineno}"


def own_guards(view: Any) -> tuple[Any, ...]:
    """The guards on a view, the outermost first."""
    marks = getattr(view, MARK, ())
    return marks if isinstance(marks, tuple) else ()


def method_of(cls: Any, name: str) -> Any:
    """What answers a method of HTTP in a class of views."""
    found = getattr(cls, name.lower(), None)
    return getattr(cls, "get", None) if found is None and name == "HEAD" else found


def is_static(app: Flask, rule: Rule) -> bool:
    """Whether it is Flask's own rule for a static folder, not a view that is called so."""
    if not rule.endpoint.endswith("static"):
        return False
    name, _, last = rule.endpoint.rpartition(".")
    folder: Any = app.blueprints.get(name) if name else app
    if last != "static" or folder is None or not folder.has_static_folder:
        return False
    view = app.view_functions.get(rule.endpoint)
    module = getattr(view, "__module__", None) or ""
    if getattr(view, "__self__", None) is not folder and not module.startswith("flask."):
        return False  # somebody's own in its place
    return rule.rule.endswith(f"{folder.static_url_path}/<path:filename>")


def blueprints_of(endpoint: str) -> list[str]:
    """Names of the blueprints of an endpoint, the outermost first."""
    parts = endpoint.split(".")[:-1]
    return [".".join(parts[: number + 1]) for number in range(len(parts))]
