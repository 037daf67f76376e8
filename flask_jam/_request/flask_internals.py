"""Every use of Flask beyond its documented API. Seen in Flask 3.0.2 to 3.1.2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Flask, Request, session
from flask.sansio.scaffold import Scaffold
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Rule

from .werkzeug_internals import get_app, get_globals, get_request, get_request_context

Hook = Callable[..., Any]
_CHANGES, _SENT = "_flask_jam_changes", "_flask_jam_sent"


def hooks_of(where: Scaffold, blueprint: str | None = None) -> list[Hook]:
    """Return the hooks that run first in a request: the ``url_value_preprocessor`` functions.

    It is the earliest point at which a returned value cannot answer the request. The documented
    decorator only appends; a guard must come before the hooks of others.
    """
    hooks: dict[Any, list[Hook]] = where.url_value_preprocessors
    return hooks.get(blueprint, [])


def insert_first(app: Flask, hook: Hook) -> None:
    """Run a hook before every other hook of the app."""
    app.url_value_preprocessors[None].insert(0, hook)


def remove_hook(app: Flask, hook: Hook) -> None:
    """Remove a hook; safe while Flask iterates over the hooks, as the list is replaced."""
    hooks = app.url_value_preprocessors
    hooks[None] = [each for each in hooks[None] if each != hook]


def add_hook(where: Flask | Blueprint, hook: Hook, position: Callable[[list[Hook]], int]) -> None:
    """Insert a hook at a position of the list.

    :raises AssertionError: if the app has served a request, or the blueprint is registered.
    """
    where.url_value_preprocessor(hook)
    hooks: list[Any] = where.url_value_preprocessors[None]
    hooks.remove(hook)
    hooks.insert(position(hooks), hook)


def has_own_handler(app: Flask, error: type[Exception], blueprints: list[str]) -> bool:
    """Return True if Flask would choose a handler registered for just this class of error."""
    for name in (*blueprints, None):
        handlers = app.error_handler_spec[name][None]
        for cls in error.__mro__:
            if cls in handlers:
                return cls is error
    return False


class DirectAnswer(HTTPException):
    """An HTTP exception whose response is taken as it is.

    Flask runs any other exception as a WSGI app and reads its output: 25 µs (Flask 3.1.3).
    """


#: Return values of a view from which Flask makes a new response.
_MADE_ANEW = frozenset({str, bytes, dict, list})
#: The methods of Flask that make it and run the hooks. An override may return an object twice.
_MAKE, _PROCESS = "make_response", "process_response"


def wrap_finalize_request(app: Flask, last_word: Callable[[Request, Any, bool], Any]) -> None:
    """Call a function last on every response, whatever a hook or an error handler did.

    Wrapping ``process_response`` would not do: if a hook raises, Flask sends the response that the
    hook was given, or processes a new one. A function per request (``after_this_request``)
    costs 1.5 µs more and is dropped inside an ``after_request`` hook. What :func:`before_sending`
    was given runs first; after this, nothing can be added to the answer: a stream goes on.

    :param last_word: called with the request, the response, and whether the response was made for
        this request alone: a copy costs 2 µs.
    """
    finalize, own, cls = app.finalize_request, app.__dict__, type(app)
    is_plain = all(getattr(cls, name) is getattr(Flask, name) for name in (_MAKE, _PROCESS))

    def finalize_request(rv: Any, *args: Any, **kwargs: Any) -> Any:
        context = get_request_context()
        is_fresh = rv.__class__ in _MADE_ANEW
        if not is_fresh and isinstance(rv, DirectAnswer):
            is_fresh, rv = True, rv.get_response(context.request.environ)
        response = finalize(rv, *args, **kwargs)
        attributes = context.request.__dict__
        if _CHANGES in attributes:
            for change in attributes.pop(_CHANGES):
                response = change(response)
        if app.after_request_funcs or context._after_request_functions:
            is_fresh = False  # a hook may have returned another object
        elif not is_plain or _MAKE in own or _PROCESS in own:
            is_fresh = False
        response = last_word(context.request, response, is_fresh)
        attributes[_SENT] = True
        return response

    app.finalize_request = finalize_request  # type: ignore[method-assign]


def app_of_request() -> Flask:
    """Return the app of the current request; another app's context may be pushed."""
    app: Flask = get_request_context().app
    return app


def extend_globals(app: Flask, extend: Callable[[type[Any]], Any]) -> None:
    """Extend the class of ``g``, also in an app context that is already pushed."""
    app.app_ctx_globals_class = extend(app.app_ctx_globals_class)
    if get_current_app() is app:
        object.__setattr__(get_globals(), "__class__", app.app_ctx_globals_class)


def add_template_global(app: Flask, name: str, value: Any) -> None:
    """Add a name to every template, imported macros included, unless the app has given it a value.

    This does not create the Jinja environment: Flask creates it at the first use, and later
    changes of ``jinja_options`` would be lost. A context processor does not reach ``{% import %}``.
    """
    if "jinja_env" in app.__dict__:
        app.jinja_env.globals.setdefault(name, value)
        return
    create = app.create_jinja_environment

    def create_jinja_environment() -> Any:
        environment = create()
        environment.globals.setdefault(name, value)
        return environment

    app.create_jinja_environment = create_jinja_environment  # type: ignore[method-assign]


def before_sending(change: Callable[[Any], Any]) -> None:
    """Register a function that changes the response of this request, after every hook.

    ``after_this_request`` is dropped where an ``after_request`` hook calls it.
    """
    request_attributes(get_request()).setdefault(_CHANGES, []).append(change)


def has_left() -> bool:
    """Return True if the response of this request has been handed to the server."""
    return _SENT in request_attributes(get_request())


def is_flashed(message: str, category: str) -> bool:
    """Return True if a message waits to be shown: Flask's own function would remove it."""
    waiting = session.get("_flashes", ())
    return any(tuple(each) == (category, message) for each in waiting)


def get_current_app() -> Flask | None:
    """Return the app whose context is pushed, or None."""
    try:
        app: Flask = get_app()
    except RuntimeError:
        return None
    return app


def request_attributes(request: Request) -> dict[str, Any]:
    """Return the dict for state of one request. It ends with the request, and ``g`` may not."""
    return request.__dict__


def is_answered_by_flask(request: Request) -> bool:
    """Return True for an ``OPTIONS`` that no view answers."""
    rule = request.url_rule
    return request.method == "OPTIONS" and rule is not None and has_automatic_options(rule)


def has_automatic_options(rule: Rule) -> bool:
    """Return True if Flask, and no view, answers the ``OPTIONS`` of a rule."""
    return bool(getattr(rule, "provide_automatic_options", False))
