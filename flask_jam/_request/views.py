"""Inspect view functions: names, wrappers, guards, source."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

#: On a view: the guard that covers it, or :data:`PUBLIC`.
MARK = "__flask_jam__"
PUBLIC = "public"
#: On a view that was guarded: from where.
COVERED = "__flask_jam_covered__"


def name_of(view: Any) -> str:
    """What a view is called, for a sentence."""
    view = getattr(view, "view_class", view)
    return getattr(view, "__qualname__", type(view).__name__)


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
