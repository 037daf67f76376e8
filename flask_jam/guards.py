"""Guards: decorators that let a view run only for certain callers.

A guard is a value: made once, hashable by identity, safe to share. ``jwt_required`` and
``session_required`` are two of them. Calling one with conditions returns another; ``|`` returns one
that accepts either; stacked guards must both be satisfied.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar, overload

from flask import Flask, request
from flask.views import View

from ._helpers.setting_types import as_origins
from ._request.conditions import (
    CONDITIONS,
    Check,
    Rule,
    check_words,
    describe,
    unknown_condition,
)
from ._request.flask_internals import is_answered_by_flask
from ._request.request_auth import RequestAuth, current_request_auth
from ._request.views import (
    MARK,
    OPENS,
    ORIGINS,
    PUBLIC,
    AnyGuard,
    cover,
    cover_class,
    guards_of_class,
    is_covered_class,
    mark_product,
    name_of,
)
from .errors import ConfigError, Reason
from .refusal import refuse
from .schemes.interface import Requirement
from .schemes.outcome import Accepted, Rejected

if TYPE_CHECKING:
    from .issuers import Issuer

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V", bound=View)


class Guard(AnyGuard):
    """Lets a view run when one of its rules is met.

    Put it directly below ``@app.route`` and above all other decorators: a cache between the two
    would serve one user's page to all. It takes functions, ``async`` functions and
    :class:`flask.views.View` classes.
    """

    def __init__(self, *rules: Rule) -> None:
        if not rules:
            raise ConfigError("a guard without a rule lets no caller in: start from jwt_required")
        self._rules = rules
        only = rules[0] if len(rules) == 1 and not rules[0].asks else None
        self._plain = None if only is None else only.scheme

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules, one of which must be met: one for each scheme."""
        return self._rules

    def __repr__(self) -> str:
        return " | ".join(describe(rule) for rule in self.rules)

    def __or__(self, other: Guard) -> Guard:
        if not isinstance(other, Guard):
            return NotImplemented
        return Guard(*self.rules, *other.rules)

    @overload
    def __call__(self, view: type[V], /) -> type[V]: ...

    @overload
    def __call__(self, view: Callable[P, R], /) -> Callable[P, R]: ...

    @overload
    def __call__(
        self,
        /,
        *,
        optional: bool = ...,
        scopes: Iterable[str] = ...,
        roles: Iterable[str] = ...,
        max_age: float | timedelta | None = ...,
        check: Check | None = ...,
        sources: Iterable[str] = ...,
        issuers: Iterable[str | Issuer] = ...,
    ) -> Guard: ...

    def __call__(self, view: Any = None, /, **conditions: Any) -> Any:
        """Guard a view; or, given conditions, return another guard.

        :param optional: let a request without a credential in; a bad credential is still refused.
        :param scopes: names that must all be in the claim ``scope``.
        :param roles: names of which one must be in the claim ``roles``.
        :param max_age: the longest time since the login, in seconds (RFC 9470).
        :param check: called with the payload; only the value ``True`` lets the caller in.
        :param sources: where the credential may come from: ``header``, ``cookie``. One from another
            source counts as missing.
        :param issuers: the only issuers whose tokens it accepts, by name or as an ``Issuer``. Your
            own tokens then need ``| jwt_required``.
        :raises ConfigError: for an argument of the wrong kind.
        """
        if view is None:
            return self._configured(conditions)
        if isinstance(view, (classmethod, staticmethod)):
            raise ConfigError(
                "a guard goes below @classmethod or @staticmethod: swap the two lines"
            )
        if conditions or not callable(view):
            raise ConfigError(
                "a guard takes a view, or conditions by name: "
                '@jwt_required or @jwt_required(roles={"admin"})'
            )
        if getattr(view, MARK, None) is PUBLIC:
            raise ConfigError(f"{name_of(view)} is public and guarded: remove one of the two")
        if isinstance(view, type):
            return self._around_class(view)
        cover(view, sys._getframe(1))
        return self._around(view)

    def _configured(self, conditions: dict[str, Any]) -> Guard:
        """Return another guard: the given conditions replace those of this one, the others stay."""
        if len(self.rules) != 1:
            raise ConfigError("set conditions on each guard before joining them with |")
        for name in conditions:
            if name not in CONDITIONS:
                raise ConfigError(unknown_condition(name))
        checked = {name: CONDITIONS[name](value) for name, value in conditions.items()}
        rule = replace(self.rules[0], **checked)
        check_words(rule)
        return Guard(rule)

    def __bool__(self) -> bool:
        raise ConfigError("a guard is neither true nor false: join guards with |, or stack them")

    # --- at request time ---

    def enforce(self) -> None:
        """Let this request pass, or raise the refusal. For use where a decorator cannot go.

        :raises Refusal: an HTTP exception; the signal ``rejected`` was sent before.
        """
        self._enforce(current_request_auth())

    def _enforce(self, auth: RequestAuth) -> None:
        if auth.environ.get("REQUEST_METHOD") == "OPTIONS" and self._is_preflight(auth.state.app):
            return  # an OPTIONS that carries no credential and reaches no view
        if not self._weigh(auth) and not self._is_hook(auth.state.app):
            auth.hide()

    def _is_preflight(self, app: Flask) -> bool:
        return is_answered_by_flask(request) and self._is_hook(app)

    def _is_hook(self, app: Flask) -> bool:
        """Return True if ``before_request(guard.enforce)`` runs it: other guards may follow."""
        hooks = (hook for each in app.before_request_funcs.values() for hook in each)
        return any(getattr(hook, "__self__", None) is self for hook in hooks)

    def let_in(self, auth: RequestAuth) -> bool:
        """Return True if a caller was let in, False if none came and none is needed."""
        if self._plain is not None and auth.admits(self._plain):
            return True
        return self._weigh(auth)

    def _weigh(self, auth: RequestAuth) -> bool:
        """Evaluate all rules, and let the caller in or refuse."""
        refused: tuple[Rule, Rejected] | None = None
        admitted: Accepted | None = None
        for rule in self._rules:
            outcome = rule.seen(auth.resolve(rule.scheme))
            if isinstance(outcome, Rejected):
                if outcome.reason is not Reason.MISSING:
                    # A bad credential is never passed over for another scheme.
                    self._refuse(auth, rule, outcome)
            elif admitted is None:
                asks = rule.asks or type(outcome) is not Accepted
                reason = rule.unmet(outcome, auth.state.jam.clock) if asks else None
                if auth.resolve(rule.scheme) is not outcome:  # a check has logged the user out
                    refused = refused or (rule, Rejected(rule.scheme, Reason.MISSING))
                elif reason is None:
                    admitted = outcome
                elif refused is None or refused[1].reason is Reason.WRONG_ISSUER:
                    # Of two rules for one scheme, the one that accepts the issuer decides.
                    refused = rule, auth.denied(outcome, reason)
        if admitted is None:
            self._without_credential(auth, refused)
            auth.pass_by()
            return False
        conflict = auth.admit(admitted)
        if conflict is not None:
            self._refuse(auth, self._rules[0], conflict)
        return True

    def _without_credential(self, auth: RequestAuth, refused: tuple[Rule, Rejected] | None) -> None:
        if refused is not None:
            self._refuse(auth, *refused)
        for rule in self._rules:
            if rule.optional:
                return
        self._refuse(auth, self._rules[0], Rejected(self._rules[0].scheme, Reason.MISSING))

    def _refuse(self, auth: RequestAuth, rule: Rule, why: Rejected) -> NoReturn:
        schemes = tuple(each.scheme for each in self._rules)
        refuse(auth.state, why, schemes, Requirement(rule.scopes, rule.roles, rule.max_age))

    # --- at import time ---

    def _around(self, view: Callable[P, Any]) -> Any:
        if inspect.iscoroutinefunction(view):

            @wraps(view)
            async def guarded_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                self.enforce()
                return await view(*args, **kwargs)

            return self._marked(guarded_async, view)

        plain = self._plain

        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
            auth = current_request_auth()
            # Most guards are plain, and most requests carry a good credential.
            if plain is None or not auth.admits(plain):
                self._enforce(auth)
            return view(*args, **kwargs)

        return self._marked(guarded, view)

    def _marked(self, guarded: Any, view: Any) -> Any:
        mark_product(guarded, (self, *getattr(view, MARK, ())))
        return guarded

    def _around_class(self, cls: Any) -> Any:
        """Guard the product of ``as_view``, so that a subclass's ``decorators`` cannot drop it."""
        if not issubclass(cls, View):
            raise ConfigError(f"{cls.__name__} is no flask.views.View: guard a view")
        own = cls.__dict__.get("as_view")

        def as_view(klass: Any, name: str, *args: Any, **kwargs: Any) -> Any:
            # By super(): of several guarded base classes each adds its guard.
            parent: Any = super(cls, klass)
            make = parent.as_view if own is None else own.__get__(None, klass)
            return self(make(name, *args, **kwargs))

        setattr(cls, "as_view", classmethod(as_view))  # noqa: B010 - pyright knows its old type
        cover_class(cls, self)
        return cls


#: Require a valid token.
jwt_required = Guard(Rule("jwt"))
#: Require a valid session.
session_required = Guard(Rule("session"))
#: Require a name and a password that the app has checked.
basic_required = Guard(Rule("basic"))
#: Require a valid API key.
api_key_required = Guard(Rule("api_key"))


@overload
def public(view: type[V], /) -> type[V]: ...


@overload
def public(view: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def public(*, origins: Iterable[str]) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def public(view: Any = None, /, *, origins: Iterable[str] = ()) -> Any:
    """Mark a view as open on purpose. It does not look up the user unless the view does.

    :param origins: other origins that may send this view a request with a cookie, such as an
        OpenID provider that posts back to it: ``public(origins={"https://idp.example"})``.
    :raises ConfigError: if the view is guarded as well, or for an invalid origin.
    """
    trusted = _origins(origins)
    if view is None:
        return partial(_opened, origins=trusted)
    return _opened(view, trusted)


def _origins(origins: Iterable[str]) -> frozenset[str]:
    try:
        return frozenset(as_origins(list(origins) if not isinstance(origins, str) else origins))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"public(origins=…) is not usable: {error}") from None


def _opened(view: Any, origins: frozenset[str]) -> Any:
    if getattr(view, MARK, PUBLIC) is not PUBLIC or is_covered_class(view):
        raise ConfigError(f"{name_of(view)} is public and guarded: remove one of the two")
    if isinstance(view, type):
        if origins:
            raise ConfigError("public(origins=…) is for a function: write it on the view's method")
        return _public_class(view)
    opened = _passed_on(view)
    setattr(opened, MARK, PUBLIC)
    if origins:
        setattr(opened, ORIGINS, origins)
    return opened


setattr(public, OPENS, True)
setattr(_opened, OPENS, True)  # what public(origins=…) gives


def _passed_on(view: Any) -> Any:
    """Return a function that calls the view: on another route the view itself may be guarded."""
    if inspect.iscoroutinefunction(view):

        @wraps(view)
        async def opened_async(*args: Any, **kwargs: Any) -> Any:
            return await view(*args, **kwargs)

        return opened_async

    @wraps(view)
    def opened(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return opened


def _public_class(cls: Any) -> Any:
    make = cls.as_view.__func__

    def as_view(klass: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        made = make(klass, name, *args, **kwargs)
        if guards_of_class(klass):
            raise ConfigError(
                f"{klass.__name__} inherits from a class that is public and from one that is "
                "guarded: remove one of the two"
            )
        # A class that inherits from a public one is not public by itself.
        return public(made) if klass.__dict__.get(MARK) is PUBLIC else made

    cls.as_view = classmethod(as_view)
    setattr(cls, MARK, PUBLIC)
    return cls
