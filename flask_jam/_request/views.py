"""Inspect view functions: names, wrappers, guards, source."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Iterator, Mapping
from functools import partial
from types import CodeType, FrameType, FunctionType
from typing import Any, NamedTuple

from flask import Flask
from flask.views import MethodView
from werkzeug.routing import Rule

#: On a view: the guard that covers it, or :data:`PUBLIC`.
MARK = "__flask_jam__"
PUBLIC = "public"
#: On a public view: other origins that may send it requests with a cookie.
ORIGINS = "__flask_jam_origins__"
#: On the product of a guard: a weak reference to it. ``functools.wraps`` copies the mark, but the
#: copy still refers to the product of the guard.
_PRODUCT = "__flask_jam_product__"
#: On a decorator that marks a view as public.
OPENS = "__flask_jam_opens__"
#: On a function that was given to a guard: the function itself, and how it was given.
_COVERED = "__flask_jam_covered__"
#: How: as a decorator, which takes the function's name; by a call of the code that defines it,
#: which does not; or by other code, such as a decorator of the app's own.
DECORATED, CALLED, UNKNOWN = "decorated", "called", "unknown"


class AnyGuard:
    """Base of :class:`~flask_jam.Guard`, which ranks above this module."""


def name_of(view: Any) -> str:
    """Return the name of a view, for an error sentence."""
    view = getattr(_called(view), "view_class", _called(view))
    return getattr(view, "__qualname__", type(view).__name__)


def _called(view: Any) -> Any:
    """Return the function that a ``functools.partial`` calls, or the view itself."""
    while isinstance(view, partial):
        view = view.func
    return view


def mark_product(guarded: Any, guards: tuple[Any, ...]) -> None:
    """Note on the product of a guard which guards it asks, the outermost first."""
    setattr(guarded, MARK, guards)
    setattr(guarded, _PRODUCT, weakref.ref(guarded))


def _product_in(view: Any) -> Any:
    """Return the guard's product that a view is, or whose mark it has copied; else None."""
    noted = getattr(view, _PRODUCT, None)
    return None if noted is None else noted()


def cover(view: Any, caller: FrameType) -> None:
    """Note on a view, and on what it wraps, that a guard covers it.

    The product of the guard carries the guard's mark; a function that is covered and routed
    without that mark stands below a route that its guard does not protect.

    :param caller: the frame that gives the view to the guard.
    """
    chain = list(chain_of(view))
    manner = _manner(getattr(chain[-1], "__func__", chain[-1]), caller)
    for inner in chain:
        # A bound method has no attributes of its own: its function does.
        function = getattr(inner, "__func__", inner)
        if hasattr(function, "__dict__"):
            setattr(function, _COVERED, (function, manner, getattr(inner, "__self__", None)))


#: A guard may be given a view by a decorator of the app's own, which another may call.
_MOST_HELPERS = 4


def _manner(function: Any, caller: FrameType) -> str:
    code = getattr(function, "__code__", None)
    frame: FrameType | None = caller
    for _ in range(_MOST_HELPERS):
        if frame is None or code is None or code in frame.f_code.co_consts:
            break
        frame = frame.f_back
    if frame is None or code is None or code not in frame.f_code.co_consts:
        return UNKNOWN
    return CALLED if code.co_name == "<lambda>" else _manner_in(frame, code)


def _manner_in(definer: FrameType, code: CodeType) -> str:
    lines = [line for *_, line in code.co_lines() if line and line > code.co_firstlineno]
    body = min(lines, default=code.co_firstlineno + 1)
    return DECORATED if code.co_firstlineno <= definer.f_lineno < body else CALLED


def covered_by(view: Any) -> str | None:
    """Return how a view was given to a guard; None if it was not.

    ``functools.wraps`` copies the note, so it counts only on the function that it names.
    """
    function = getattr(view, "__func__", view)
    noted = getattr(function, _COVERED, None)
    if noted is None or noted[0] is not function:
        return None
    return str(noted[1]) if noted[2] is getattr(view, "__self__", None) else None


def cover_class(cls: Any, guard: Any) -> None:
    """Mark a class of views as covered by a guard."""
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
    """Yield a view and the functions that it wraps (``__wrapped__``), the outermost first."""
    while view is not None:
        yield view
        view = getattr(view, "__wrapped__", None)


def source_of(view: Any) -> str:
    """Return file and line of a view, for an error sentence."""
    cls = getattr(view, "view_class", None)
    code = getattr(inspect.unwrap(_called(view)), "__code__", None)
    if cls is not None or code is None:
        return f"in {getattr(cls or view, '__module__', 'an unknown place')}"
    return f"{code.co_filename}:{code.co_firstlineno}"


# --- the guards and wrappers of a view and of one method ---------------------------------------


def own_guards(view: Any) -> tuple[Any, ...]:
    """Return the guards on one function, the outermost first."""
    marks = getattr(_called(view), MARK, ())
    return marks if isinstance(marks, tuple) else ()


def guards_of(view: Any, method: str | None) -> tuple[Any, ...]:
    """Return every guard on a view that applies to a method, the outermost first.

    They stand on the view, on its class's ``dispatch_request``, in the ``method_decorators`` of
    Flask-RESTful and Flask-RESTX, and on the method itself.

    :param method: None where the class does not dispatch by method, or any method arrives.
    """
    found = own_guards(view)
    cls = getattr(view, "view_class", None)
    if cls is None:
        return found
    found += own_guards(getattr(cls, "dispatch_request", None))
    if method is None or not is_method_view(cls):
        return found
    around = (each for each in decorators_of(cls, method) if isinstance(each, AnyGuard))
    return (*found, *around, *own_guards(method_of(cls, method)))


def is_public(view: Any, method: str | None) -> bool:
    """Return True if a view, or the method of its class that answers, is marked ``@public``."""
    if _is_marked_public(view):
        return True
    cls = getattr(view, "view_class", None)
    if cls is None:
        return False
    if not is_method_view(cls):
        return _is_marked_public(getattr(cls, "dispatch_request", None))
    if method is None:
        return False
    if _is_marked_public(method_of(cls, method)):
        return True
    listed = getattr(cls, "method_decorators", None)
    if isinstance(listed, Mapping) and "head" not in listed and not hasattr(cls, "head"):
        method = "GET" if method == "HEAD" else method  # the function of GET answers
    return any(getattr(_called(each), OPENS, False) for each in decorators_of(cls, method))


def _is_marked_public(function: Any) -> bool:
    return getattr(function, MARK, None) is PUBLIC


def is_method_view(cls: Any) -> bool:
    """Return True for a class with a function for each method of HTTP."""
    return isinstance(cls, type) and issubclass(cls, MethodView)


def methods_of(cls: Any) -> list[str]:
    """Return the methods of HTTP that a class answers. GET brings HEAD along."""
    names = set(getattr(cls, "methods", None) or ())
    return sorted(names | {"HEAD"} if "GET" in names else names)


def method_of(cls: Any, name: str) -> Any:
    """Return the function of a class that answers a method of HTTP."""
    found = getattr(cls, name.lower(), None)
    return getattr(cls, "get", None) if found is None and name == "HEAD" else found


def decorators_of(cls: Any, method: str) -> list[Any]:
    """Return the ``method_decorators`` around a method, the outermost first.

    Flask-RESTful takes a list or a dict of lists; with a dict, HEAD has the list "head" only, even
    where ``get`` answers it.
    """
    listed = getattr(cls, "method_decorators", None)
    if not listed or not _applies_decorators(cls):
        return []
    if isinstance(listed, Mapping):
        listed = listed.get(method.lower())
    return list(reversed(listed)) if isinstance(listed, (list, tuple)) else []


def _applies_decorators(cls: Any) -> bool:
    """Return True if ``dispatch_request`` reads ``method_decorators``: Flask's own does not."""
    for base in cls.__mro__:
        dispatch = base.__dict__.get("dispatch_request")
        code = getattr(inspect.unwrap(dispatch), "__code__", None) if dispatch else None
        if code is not None and "method_decorators" in code.co_names:
            return True
        if code is not None and "dispatch_request" not in code.co_names:
            return False  # it does not call its base class either
    return False


class Wrapper(NamedTuple):
    """A decorator's product above a guard."""

    #: Module and function of the decorator.
    name: str
    #: File and line; empty for what is not written in Python.
    source: str
    #: True if it is known to answer without calling what it wraps.
    is_cache: bool


#: Packages whose decorators always call the view, or refuse.
_CALL_THROUGH = frozenset(
    {
        "apiflask",
        "contextlib",
        "flask",
        "flask_admin",
        "flask_cors",
        "flask_jam",
        "flask_limiter",
        "flask_login",
        "flask_principal",
        "flask_restful",
        "flask_restx",
        "flask_smorest",
        "flask_wtf",
        "webargs",
    }
)
_CACHES = frozenset({"cachetools", "flask_caching", "functools"})
#: A decorator above a view whose product has a name of its own, as the source has it.
_NAMES_OF_TYPES = {"cachetools": "cached", "functools": "lru_cache"}


def wrappers_above_guards(view: Any, method: str | None) -> list[Wrapper]:
    """Return the decorators above a guard, which could answer without asking it."""
    found: list[Wrapper] = []
    is_guarded = False
    for layer, is_guard in reversed(list(_layers(view, method))):
        if is_guard:
            is_guarded = True
        elif is_guarded:
            wrapper = _described(layer)
            if wrapper.name.partition(".")[0] not in _CALL_THROUGH:
                found.append(wrapper)
    return found[::-1]


def _layers(view: Any, method: str | None) -> Iterator[tuple[Any, bool]]:
    """Yield the layers around a view and a method, the outermost first, and which are guards."""
    yield from _layers_of_function(view)
    cls = getattr(view, "view_class", None)
    if cls is None:
        return
    yield from _layers_of_function(getattr(cls, "dispatch_request", None))
    if method is not None and is_method_view(cls):
        for each in decorators_of(cls, method):
            yield each, isinstance(each, AnyGuard)
        yield from _layers_of_function(method_of(cls, method))


def _layers_of_function(function: Any) -> Iterator[tuple[Any, bool]]:
    while function is not None:
        function = _called(function)
        function = getattr(function, "__func__", function)
        product = _product_in(function)
        is_guard = product is not None and product is function
        inner = getattr(function, "__wrapped__", None)
        if product is not None and not is_guard and not _is_inside(product, inner):
            inner = product  # the marks were copied by hand
        if inner is not None:
            yield function, is_guard
        function = inner


def _is_inside(product: Any, view: Any) -> bool:
    return any(getattr(each, "__func__", each) is product for each in chain_of(view))


def _described(layer: Any) -> Wrapper:
    # functools.wraps copies the view's names, so only what it does not copy identifies a wrapper.
    if type(layer) is FunctionType:
        code = layer.__code__
        module = str(layer.__globals__.get("__name__", ""))
        name = getattr(code, "co_qualname", code.co_name).partition(".<locals>")[0]
        source = f"{code.co_filename}:{code.co_firstlineno}"
    else:
        module, name, source = type(layer).__module__, type(layer).__qualname__, ""
    package = module.partition(".")[0]
    if not source and package in _NAMES_OF_TYPES:
        module, name = package, _NAMES_OF_TYPES[package]
    return Wrapper(f"{module}.{name}", source, package in _CACHES)


def accessible_by(view: Any) -> str | None:
    """Return the name of the class whose ``is_accessible`` Flask-Admin asks before a view.

    None if the class is not Flask-Admin's, or does not override the method, which lets all in.
    """
    owner = getattr(view, "__self__", None)
    if not hasattr(view, "_wrapped") or not hasattr(type(owner), "_handle_view"):
        return None
    asks, check = _defined(type(owner), "_handle_view"), _defined(type(owner), "is_accessible")
    if asks is None or check is None or _is_of_admin(check):
        return None
    names = getattr(asks.__dict__["_handle_view"], "__code__", None)
    if not _is_of_admin(asks) and not {"is_accessible", "_handle_view"}.intersection(
        getattr(names, "co_names", ())
    ):
        return None
    return f"{check.__name__}.is_accessible"


def _defined(cls: type, name: str) -> type | None:
    return next((base for base in cls.__mro__ if name in base.__dict__), None)


def _is_of_admin(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "flask_admin"


def is_static(app: Flask, rule: Rule) -> bool:
    """Return True for Flask's own rule of a static folder, not for a view named ``static``."""
    if not rule.endpoint.endswith("static"):
        return False
    name, _, last = rule.endpoint.rpartition(".")
    folder: Any = app.blueprints.get(name) if name else app
    if last != "static" or folder is None or not folder.has_static_folder:
        return False
    view = app.view_functions.get(rule.endpoint)
    module = getattr(view, "__module__", None) or ""
    if getattr(view, "__self__", None) is not folder and not module.startswith("flask."):
        return False  # the app has replaced it
    return rule.rule.endswith(f"{folder.static_url_path}/<path:filename>")


def blueprints_of(endpoint: str) -> list[str]:
    """Return the names of an endpoint's blueprints, the outermost first."""
    parts = endpoint.split(".")[:-1]
    return [".".join(parts[: number + 1]) for number in range(len(parts))]
