"""Guard conditions: scopes, roles, age of the login, custom checks."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from .._credentials.issuer_names import is_named, names_of
from .._helpers.names import name_set, nearest
from .._helpers.strict_json import copy_json
from ..errors import ConfigError, Reason, safe_summary
from ..policies import Policy
from ..schemes.interface import EXTENSIONS
from ..schemes.outcome import Accepted, AcceptedByName, Outcome, Rejected
from ..stores.interface import CLOCK_SKEW

_log = logging.getLogger("flask_jam.guards")

Check = Callable[[dict[str, Any]], bool]


@dataclass(frozen=True)
class Rule:
    """The conditions on one scheme. Without any, an authenticated caller is let in."""

    scheme: str
    optional: bool = False
    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    max_age: float | None = None
    check: Check | None = None
    sources: tuple[str, ...] = ()
    #: The only issuers whose tokens count; empty for those that every plain guard accepts.
    issuers: tuple[str, ...] = ()

    @cached_property
    def asks(self) -> bool:
        """Return True if there is a condition beyond being authenticated."""
        # Not bool(check): a callable may be false.
        has_more = self.max_age is not None or self.check is not None
        return bool(self.scopes or self.roles or self.sources or self.issuers) or has_more

    def seen(self, outcome: Outcome) -> Outcome:
        """Return the outcome for this rule: a credential from another source counts as missing."""
        if not self.sources or outcome.source is None or outcome.source in self.sources:
            return outcome
        return Rejected(self.scheme, Reason.MISSING)

    def takes(self, accepted: Accepted) -> bool:
        """Return True if the rule accepts tokens of this issuer."""
        if not self.issuers:
            return not isinstance(accepted, AcceptedByName)
        issuer = accepted.issuer
        return issuer is not None and any(is_named(issuer, name) for name in self.issuers)

    def unmet(self, accepted: Accepted, clock: Callable[[], float]) -> Reason | None:
        """Return the first condition that does not hold, or ``None``."""
        if not self.takes(accepted):
            return Reason.WRONG_ISSUER
        payload = accepted.payload
        if self.scopes and not _covers(payload.get("scope"), self.scopes):
            return Reason.INSUFFICIENT_SCOPE
        if self.roles and not _has_one(payload.get("roles"), self.roles):
            return Reason.INSUFFICIENT_ROLE
        if self.max_age is not None and not _recent(accepted.auth_time, clock(), self.max_age):
            return Reason.STALE
        if self.check is not None and not _passes(self.check, payload):
            return Reason.DENIED
        return None


def _covers(scope: object, needed: Iterable[str]) -> bool:
    # RFC 6749 3.3: names separated by one space each. Anything else grants nothing.
    names = scope.split(" ") if isinstance(scope, str) else []
    return "" not in names and set(needed).issubset(names)


def _has_one(roles: object, wanted: Iterable[str]) -> bool:
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        return False
    return not set(wanted).isdisjoint(roles)


def _recent(auth_time: float | None, now: float, max_age: float) -> bool:
    # A login further ahead than clocks may differ is not recent: some clock is wrong.
    return auth_time is not None and -CLOCK_SKEW <= now - auth_time <= max_age


def _passes(check: Check, payload: dict[str, Any]) -> bool:
    try:
        return check(copy_json(payload)) is True  # the next rule must not see its changes
    except Exception as error:
        name = getattr(check, "__qualname__", type(check).__name__)
        _log.error("check %s raised %s: access denied", name, safe_summary(error, check))
        return False


def _names(what: str) -> Callable[[Any], tuple[str, ...]]:
    def check(names: Any) -> tuple[str, ...]:
        found = name_set(names, what)
        if not found and names != ():
            # An empty set, such as a variable that was not filled, would open the view to all.
            raise ConfigError(f"{what}: the set is empty; leave {what} out to ask for none")
        return found

    return check


def _named(issuers: Any) -> Any:
    """Return the names of issuers, each of which may be given as an ``Issuer``."""
    if isinstance(issuers, (str, bytes)) or not isinstance(issuers, Iterable):
        return issuers
    return [name for each in issuers for name in names_of(each)]


def _checked_flag(optional: Any) -> bool:
    if not isinstance(optional, bool):
        raise ConfigError("optional: write True or False")
    return optional


def _checked_age(max_age: object) -> float | None:
    if max_age is None:
        return None
    if isinstance(max_age, timedelta):
        max_age = max_age.total_seconds()
    is_number = isinstance(max_age, (int, float)) and not isinstance(max_age, bool)
    if not is_number or not math.isfinite(max_age) or max_age <= 0:  # type: ignore[operator, arg-type]
        raise ConfigError("max_age: write seconds since the login, such as max_age=300")
    return max_age  # type: ignore[return-value]


def _checked_check(check: Any) -> Check | None:
    if check is not None and (not callable(check) or inspect.iscoroutinefunction(check)):
        raise ConfigError("check: write a plain function of the payload that returns True")
    if isinstance(check, Policy) and check.needs_resource:
        raise ConfigError(
            f"check: {check!r} needs a resource, which only a view has: write "
            "authorize(policy, resource) there"
        )
    return check  # type: ignore[no-any-return]


CONDITIONS: dict[str, Callable[[Any], Any]] = {
    "optional": _checked_flag,
    "scopes": _names("scopes"),
    "roles": _names("roles"),
    "max_age": _checked_age,
    "check": _checked_check,
    "sources": _names("sources"),
    "issuers": lambda issuers: _names("issuers")(_named(issuers)),
}
#: The sources of this package's schemes. Other schemes name their own.
_SOURCES = ("header", "cookie")


def check_words(rule: Rule) -> None:
    """Raise an error for a condition that no credential of the scheme could meet.

    :raises ConfigError: for an unknown source.
    """
    for word in rule.sources if rule.scheme in EXTENSIONS else ():
        if word not in _SOURCES:
            raise ConfigError(
                f"sources: {word!r} is neither header nor cookie{nearest(word, _SOURCES)}"
            )


#: Arguments of ``jwt_required`` in Flask-JWT-Extended, and their replacements.
_FLASK_JWT_EXTENDED = {
    "fresh": "write max_age=300, the seconds since the login",
    "refresh": "remove the guard, and call jwt.refresh() in the view",
    "locations": (
        "write header_name=… and cookie_name=… once, in JWTExtension(…), and here "
        'sources={"header"} or sources={"cookie"}'
    ),
    "verify_type": "remove it, a refresh token is never an access token here",
    "skip_revocation_check": 'remove it; jwt.list="off" skips the check for all routes',
}


def unknown_condition(name: str) -> str:
    """Return the error sentence for an argument that no guard has."""
    instead = _FLASK_JWT_EXTENDED.get(name)
    hint = f": {instead}" if instead else nearest(name, CONDITIONS)
    return f"{name} is no condition of a guard{hint}"


def describe(rule: Rule) -> str:
    name = getattr(rule.check, "__qualname__", repr(rule.check))
    said = {
        "optional": rule.optional and "True",
        "scopes": rule.scopes and "{" + ", ".join(map(repr, rule.scopes)) + "}",
        "roles": rule.roles and "{" + ", ".join(map(repr, rule.roles)) + "}",
        "max_age": rule.max_age is not None and f"{rule.max_age:g}",
        "check": rule.check is not None and name,
        "sources": rule.sources and "{" + ", ".join(map(repr, rule.sources)) + "}",
        "issuers": rule.issuers and "{" + ", ".join(map(repr, rule.issuers)) + "}",
    }
    inner = ", ".join(f"{key}={value}" for key, value in said.items() if value)
    return f"{rule.scheme}_required" + (f"({inner})" if inner else "")
