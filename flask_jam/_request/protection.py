"""``protect``: guard every route of an app or a blueprint that is not ``@public``.

A route is identified by its endpoint, never by its path: a path has many spellings. Answers of the
router itself (404, 405, redirects, automatic ``OPTIONS``) and static files are not guarded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Flask
from werkzeug.routing import Rule

from ..errors import ConfigError
from ..guards import Guard
from .app_state import AppState
from .flask_internals import add_hook, hooks_of, is_answered_by_flask
from .request_auth import current_request_auth
from .views import blueprints_of, guards_of, is_public, is_static
from .werkzeug_internals import get_app, get_request


class Protection:
    """A hook that guards every request before any ``before_request`` function can answer it."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    def __call__(self, endpoint: str | None, _view_args: object) -> None:
        asked = get_request()
        if endpoint is None:
            return  # the router answers
        if not is_answered_by_flask(asked) and not is_open(get_app(), asked.url_rule, asked.method):
            self.guard.let_in(current_request_auth())


def protect(where: Flask | Blueprint, guard: Guard) -> None:
    """Guard every route of an app or of a blueprint, including those added later.

    Only ``@public`` exempts a view. A request must satisfy the app's guard, then that of each of
    its blueprints, and then the view's own.

    :raises ConfigError: for an app that has served a request, or a blueprint that is registered:
        they accept no more hooks.
    """
    if not isinstance(guard, Guard):
        raise ConfigError("protect(app, jwt_required): the second argument is a guard")
    if not isinstance(where, (Flask, Blueprint)):
        raise ConfigError("protect(app, jwt_required): the first argument is an app or a blueprint")
    protection = Protection(guard)
    try:
        add_hook(where, protection, _after_ours)
    except AssertionError:
        is_app = isinstance(where, Flask)
        what = "app has served" if is_app else f"blueprint {where.name} is registered"
        raise ConfigError(f"the {what} already: protect it before that") from None


def _after_ours(hooks: list[Any]) -> int:
    """Return the position before the app's hooks and after this library's."""
    for number, hook in enumerate(hooks):
        is_check = getattr(hook, "__func__", None) is AppState.first_request
        if not is_check and not isinstance(hook, Protection):
            return number
    return len(hooks)


# --- the guards of a rule, also for the audit ---------------------------------------------------


def is_open(app: Flask, rule: Rule, method: str | None) -> bool:
    """Return True if a protection lets a method pass: ``@public``, or a file of a static folder."""
    return is_public(app.view_functions.get(rule.endpoint), method) or is_static(app, rule)


def protections(app: Flask, endpoint: str) -> Iterator[tuple[str, Guard]]:
    """Yield every guard in front of an endpoint, the outermost first, with its origin."""
    for name in (None, *blueprints_of(endpoint)):
        for hook in hooks_of(app, name):
            if isinstance(hook, Protection):
                yield "app" if name is None else "blueprint", hook.guard


def enforcing_hooks(app: Flask, endpoint: str) -> Iterator[tuple[str, Guard]]:
    """Yield the guards that run by ``before_request(guard.enforce)``."""
    for name in (None, *blueprints_of(endpoint)):
        hooks: list[Any] = app.before_request_funcs.get(name, [])
        for guard in (hook.__self__ for hook in hooks if _is_enforce(hook)):
            yield "app" if name is None else "blueprint", guard


def _is_enforce(hook: Any) -> bool:
    return getattr(hook, "__func__", None) is Guard.enforce


def guards_in_front(app: Flask, rule: Rule, method: str) -> Iterator[Guard]:
    """Return every guard that a request to a rule must satisfy, the outermost first."""
    if not is_open(app, rule, method):
        yield from (guard for _, guard in protections(app, rule.endpoint))
    yield from (guard for _, guard in enforcing_hooks(app, rule.endpoint))
    yield from guards_of(app.view_functions.get(rule.endpoint), method)
