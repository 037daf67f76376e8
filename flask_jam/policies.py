"""Policies: named conditions, joined by ``&``, ``|`` and ``~``, that report why they denied.

A policy is a value that you import, like a guard; there is no registry of names. So a misspelt name
is an import error, type checkers and "find usages" see every use, and two apps share nothing. There
is no empty policy, which might allow all callers or none: ``&`` and ``|`` always join two.

A policy is also a plain function of the payload, so ``check=`` of a guard accepts it. The owner of
a resource is known only once a view has loaded it, so the view checks it with :func:`authorize`,
which refuses as a guard does. No decision is cached.

A condition holds, does not hold, or is undecided: it raised, it returned something else than
``True`` or ``False``, or the claim that it reads has another form. An undecided condition denies,
and ``~`` does not change that. So ``~`` is always pushed down to the single conditions, which tell
the three results apart.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, NoReturn, TypeAlias

from flask import request

from ._helpers.names import name_set
from ._helpers.strict_json import copy_json
from ._request.flask_internals import request_attributes
from ._request.request_auth import RequestAuth, current_request_auth
from ._request.werkzeug_internals import get_request
from .errors import ConfigError, Reason, safe_summary
from .refusal import refuse
from .schemes.interface import Requirement
from .schemes.outcome import Rejected

_log = logging.getLogger(__name__)

Payload: TypeAlias = dict[str, Any]
Predicate: TypeAlias = Callable[[Payload], bool] | Callable[[Payload, Any], bool]

#: No resource was given. ``None`` is a resource: a database returns it for a missing row.
_NOTHING: Any = type("_Nothing", (), {"__repr__": lambda _: "…"})()
#: Key of the request attribute with the policies that have let it pass.
_PASSED = "_flask_jam_passed"


class _Verdict(NamedTuple):
    """A decision; it allows if nothing is unmet."""

    unmet: tuple[_Condition, ...]
    #: All scopes that a caller needs, for the challenge.
    scopes: tuple[str, ...]


class Policy:
    """A condition on the caller, and possibly on a resource; or several of them.

    Create one with :func:`scope`, :func:`role`, :func:`claim` or :func:`policy`, and combine them
    with ``&``, ``|`` and ``~``. It is immutable and hashable, and its ``repr`` is the source text.
    """

    #: True if it decides on a resource, so that it cannot be the ``check`` of a guard.
    needs_resource: bool
    #: True if the payload alone decides: no code of the app runs.
    is_fact: bool

    def _judge(self, payload: Payload | None, resource: Any) -> _Verdict:
        raise NotImplementedError

    def __invert__(self) -> Policy:
        raise NotImplementedError

    def __and__(self, other: Policy) -> Policy:
        return _joined(True, self, other) if isinstance(other, Policy) else NotImplemented

    def __or__(self, other: Policy) -> Policy:
        return _joined(False, self, other) if isinstance(other, Policy) else NotImplemented

    def __bool__(self) -> bool:
        raise ConfigError(
            "a policy is neither true nor false: join policies with &, | and ~, not "
            "with and, or, not; ask policy.allows(payload)"
        )

    def __call__(self, payload: Payload) -> bool:
        """Return True if the policy allows; log unmet conditions. It makes a policy a ``check``.

        :raises ConfigError: if it needs a resource.
        """
        unmet = self.unmet(payload)
        if unmet:
            _log_denial(self, unmet)
        return not unmet

    def allows(self, payload: Payload | None, resource: Any = _NOTHING) -> bool:
        """Return True if the policy allows, without logging: for the items of a list.

        :param payload: the caller's payload; ``None``, for an anonymous caller, is denied.
        :raises ConfigError: if it needs a resource and there is none.
        """
        return not self._verdict(payload, resource).unmet

    def unmet(self, payload: Payload | None, resource: Any = _NOTHING) -> tuple[str, ...]:
        """Return the names of the unmet conditions; empty if the policy allows.

        Predicates are not called if scopes, roles and claims have decided.

        :raises ConfigError: if it needs a resource and there is none.
        """
        return tuple(repr(each) for each in self._verdict(payload, resource).unmet)

    def _verdict(self, payload: Payload | None, resource: Any) -> _Verdict:
        """Return the decision for :func:`authorize`.

        :raises ConfigError: if it needs a resource and there is none.
        """
        if self.needs_resource and resource is _NOTHING:
            raise ConfigError(
                f"policy {self!r} decides on a resource: load it in the view, and "
                "write authorize(policy, resource) there"
            )
        return self._judge(payload, resource)


@dataclass(frozen=True, repr=False)
class _Condition(Policy):
    """A single condition. Names tell them apart: ``True == 1``, but their names differ."""

    name: str
    test: Callable[..., bool | None]
    #: Arguments of ``test`` after the payload.
    wanted: tuple[Any, ...] = ()
    #: The refusal reason if it is unmet.
    reason: Reason = Reason.DENIED
    needs_resource: bool = False
    is_fact: bool = True
    negated: bool = False

    def __repr__(self) -> str:
        return "~" + self.name if self.negated else self.name

    def __invert__(self) -> Policy:
        return replace(self, negated=not self.negated)

    def _judge(self, payload: Payload | None, resource: Any) -> _Verdict:
        held = None if payload is None else self._ask(payload, resource)
        # Anything but the one allowing result, "undecided" included.
        unmet = () if held is (not self.negated) else (self,)
        return _Verdict(unmet, self.wanted if self.refusal is Reason.INSUFFICIENT_SCOPE else ())

    def _ask(self, payload: Payload, resource: Any) -> bool | None:
        given = (resource,) if self.needs_resource else self.wanted
        try:
            # A predicate of the app must not change the payload for the next one.
            held = self.test(payload if self.is_fact else copy_json(payload), *given)
        except Exception as error:
            _log.error(
                "policy %s raised %s: access denied", self.name, safe_summary(error, self.test)
            )
            return None
        if not self.is_fact and not isinstance(held, bool):
            _log.error(
                "policy %s returned neither True nor False but %s: access denied",
                self.name,
                type(held).__name__,
            )
        return held

    @property
    def refusal(self) -> Reason:
        """Return the refusal: another token helps a caller with too few scopes, not too many."""
        return Reason.DENIED if self.negated else self.reason


@dataclass(frozen=True, repr=False)
class _Several(Policy):
    """Several policies, of which all or one must allow."""

    parts: tuple[Policy, ...]
    is_all: bool
    needs_resource: bool
    is_fact: bool

    def __repr__(self) -> str:
        sign = " & " if self.is_all else " | "
        return sign.join(f"({p!r})" if isinstance(p, _Several) else repr(p) for p in self.parts)

    @cached_property
    def facts_first(self) -> tuple[Policy, ...]:
        """Return the parts, claims first: order does not matter, and databases are asked last."""
        return tuple(sorted(self.parts, key=lambda part: not part.is_fact))

    def __invert__(self) -> Policy:
        return _joined(not self.is_all, *(~part for part in self.parts))

    def _judge(self, payload: Payload | None, resource: Any) -> _Verdict:
        return (self._all if self.is_all else self._any)(payload, resource)

    def _all(self, payload: Payload | None, resource: Any) -> _Verdict:
        found: list[_Verdict] = []
        unmet: tuple[_Condition, ...] = ()
        for part in self.facts_first:
            if unmet and not part.is_fact:
                break
            found.append(part._judge(payload, resource))
            unmet += found[-1].unmet
        return _Verdict(unmet, tuple(name for each in found for name in each.scopes))

    def _any(self, payload: Payload | None, resource: Any) -> _Verdict:
        found: list[_Verdict] = []
        for part in self.facts_first:
            found.append(part._judge(payload, resource))
            if not found[-1].unmet:
                return found[-1]
        # One part is enough, so the challenge names one: the first, as a guard does.
        return _Verdict(tuple(leaf for each in found for leaf in each.unmet), found[0].scopes)


def _joined(is_all: bool, *policies: Policy) -> Policy:
    """Return the joined policies, flattened: ``(a & b) & c`` is ``a & b & c``."""
    parts: list[Policy] = []
    for each in policies:
        if isinstance(each, _Several) and each.is_all is is_all:
            parts += each.parts
        else:
            parts.append(each)
    needs_resource = any(part.needs_resource for part in parts)
    return _Several(tuple(parts), is_all, needs_resource, all(part.is_fact for part in parts))


# --- makers ------------------------------------------------------------------------------


def scope(name: str) -> Policy:
    """Require a scope in the claim ``scope``.

    :raises ConfigError: for an invalid scope name.
    """
    wanted = name_set((name,), "scopes")
    return _Condition(f"scope({name!r})", _has_scope, wanted, Reason.INSUFFICIENT_SCOPE)


def role(name: str) -> Policy:
    """Require a role in the claim ``roles``.

    :raises ConfigError: for an invalid role name.
    """
    wanted = name_set((name,), "roles")
    return _Condition(f"role({name!r})", _has_role, wanted, Reason.INSUFFICIENT_ROLE)


def claim(name: str, value: str | float | bool) -> Policy:
    """Require a claim with this value, of this type: ``True`` is not ``1``.

    A claim of another type is undecided: it denies, under ``~`` as well.

    :param value: a string, a number, ``True`` or ``False``.
    :raises ConfigError: for a value of another type.
    """
    if not isinstance(name, str) or not name:
        raise ConfigError('claim: write the name of a claim, such as claim("tenant", "acme")')
    if type(value) not in (str, int, float, bool) or not _is_finite(value):
        raise ConfigError(
            f"claim({name!r}, …): the value is a string, a number, True or False; for "
            "anything else, decorate a function with @policy"
        )
    return _Condition(f"claim({name!r}, {value!r})", _has_claim, (name, value))


def policy(predicate: Predicate, /) -> Policy:
    """Make a policy of a function of the payload, or of payload and resource; keep its name.

    Only ``True`` allows; under ``~`` only ``False``. An error is logged and denies, under ``~`` as
    well. The function may read ``flask.request``.

    :raises ConfigError: for a function without a name, or with other arguments.
    """
    name = getattr(predicate, "__name__", "")
    if not name.isidentifier():
        raise ConfigError(
            "a policy says by its name why it denied: write a def, and decorate it with @policy"
        )
    if inspect.iscoroutinefunction(predicate):
        raise ConfigError(f"policy {name}: write a plain function, not an async one")
    return _Condition(name, predicate, needs_resource=_arity(predicate, name) == 2, is_fact=False)


def _arity(predicate: Predicate, name: str) -> int:
    try:
        parameters = list(inspect.signature(predicate).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    plain = [p for p in parameters if p.default is p.empty and p.kind in _POSITIONAL]
    if len(plain) != len(parameters) or len(plain) not in (1, 2):
        raise ConfigError(f"policy {name}: write a function of (payload) or of (payload, resource)")
    return len(plain)


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _is_finite(value: str | float | bool) -> bool:
    return isinstance(value, str) or math.isfinite(value)


# Each returns None if the claim has an invalid form: a typo of the issuer must not make
# ~role("suspended") allow.


def _has_scope(payload: Payload, name: str) -> bool | None:
    said = payload.get("scope", "")
    # RFC 6749 3.3: names separated by one space each.
    names = said.split(" ") if isinstance(said, str) else [""]
    return name in names if said == "" or "" not in names else None


def _has_role(payload: Payload, name: str) -> bool | None:
    roles = payload.get("roles", [])
    if not isinstance(roles, list) or not all(isinstance(each, str) for each in roles):
        return None
    return name in roles


def _has_claim(payload: Payload, name: str, value: Any) -> bool | None:
    if name not in payload:
        return False
    return bool(payload[name] == value) if type(payload[name]) is type(value) else None


# --- inside a view -------------------------------------------------------------------------


def authorize(policy: Policy, resource: Any = _NOTHING) -> None:
    """Check a policy inside a view, and refuse as a guard does if it denies.

    It decides on the caller that the guard let in. Unmet conditions are logged; the client is told
    as much as by a guard: the scopes if only scopes are missing, else only that access is denied.

    :raises Refusal: an HTTP exception, 401 for an anonymous caller; the signal ``rejected`` was
        sent before.
    :raises ConfigError: for a value that is no policy, and for a policy without its resource.
    """
    if not isinstance(policy, Policy):
        raise ConfigError("authorize takes a policy: decorate your function with @policy")
    if not request:
        raise ConfigError(
            "authorize decides on a request: outside of one, ask policy.allows(payload, resource)"
        )
    auth = current_request_auth()
    accepted = auth.look()
    # Checked first, so that a wrong call fails for every caller.
    verdict = policy._verdict(accepted and accepted.payload, resource)
    if accepted is None:
        _refuse_anonymous(auth)
    if verdict.unmet:
        _log_denial(policy, tuple(map(repr, verdict.unmet)))
        why = auth.denied(accepted, _reason(verdict))
        scopes = tuple(dict.fromkeys(verdict.scopes))
        refuse(auth.state, why, (accepted.scheme,), Requirement(scopes))
    _passed().append(policy)


def authorized() -> tuple[Policy, ...]:
    """Return the policies by which :func:`authorize` let this request pass.

    Use it in an ``after_request`` function to find views that forgot to authorize.
    """
    return tuple(_passed()) if request else ()


def _passed() -> list[Policy]:
    found: list[Policy] = request_attributes(get_request()).setdefault(_PASSED, [])
    return found


def _refuse_anonymous(auth: RequestAuth) -> NoReturn:
    """Refuse with 401 and the reason of the credential that was checked, or 503."""
    schemes = tuple(auth.outcomes or auth.state.schemes)
    if not schemes:
        raise ConfigError(
            "authorize: this app has no extension that could authenticate anybody: write "
            "JWTExtension(jam).init_app(app)"
        )
    bad = [each for each in auth.outcomes.values() if isinstance(each, Rejected)]
    why = next((each for each in bad if each.reason is not Reason.MISSING), None)
    refuse(auth.state, why or Rejected(schemes[0], Reason.MISSING), schemes)


def _reason(verdict: _Verdict) -> Reason:
    reasons = {each.refusal for each in verdict.unmet}
    return reasons.pop() if len(reasons) == 1 else Reason.DENIED


def _log_denial(policy: Policy, unmet: tuple[str, ...]) -> None:
    # Names that the developer wrote, never what a claim holds.
    _log.info("policy %s denied, for want of %s", policy, ", ".join(unmet))
