"""Policies: named conditions that are joined by ``&``, ``|`` and ``~`` and say why they denied.

A policy is a value that you import, as a guard is; there is no registry of names. A misspelt name
is then an error of the import and not a policy that nobody has registered, the type checker and
"find usages" know every place, two apps share nothing, and there is no empty policy that would let
in everybody or nobody: ``&`` and ``|`` always join two.

A policy is also a plain function of the payload, so it is what ``check=`` of a guard takes. What a
thing belongs to is known only once a view has loaded it, so that is asked there: by
:func:`authorize`, which refuses as a guard does. No decision is ever remembered.

A condition holds, does not hold, or cannot tell: it raised, it returned something else than
``True`` or ``False``, the claim that it reads has another form. The last of the three denies, and
``~`` does not change that. So ``~`` is always pushed down to the single conditions, where the three
can be told apart.
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

#: No resource was given. ``None`` is one: what a database says of a row that it does not have.
_NOTHING: Any = type("_Nothing", (), {"__repr__": lambda _: "…"})()
#: On a request: the policies that have let it pass.
_PASSED = "_flask_jam_passed"


class _Verdict(NamedTuple):
    """What came out: nothing unmet is a yes."""

    unmet: tuple[_Condition, ...]
    #: The scopes that a caller needs in all, for the challenge.
    scopes: tuple[str, ...]


class Policy:
    """A condition on the caller, and maybe on a thing; or several of them.

    Make one with :func:`scope`, :func:`role`, :func:`claim` or :func:`policy`, and others with
    ``&``, ``|`` and ``~``. It cannot be changed, it can be compared and kept in a set, and its
    ``repr`` is what you wrote.
    """

    #: Whether it decides on a thing, so that it cannot be the ``check`` of a guard.
    needs_resource: bool
    #: Whether the payload alone says it: no code of the app runs.
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
        """As ``check`` of a guard: what is not met is logged.

        :raises ConfigError: if it needs a resource.
        """
        unmet = self.unmet(payload)
        if unmet:
            _log_denial(self, unmet)
        return not unmet

    def allows(self, payload: Payload | None, resource: Any = _NOTHING) -> bool:
        """Whether it lets in, without a word in the log: for the items of a list.

        :param payload: of the caller; ``None``, for an anonymous one, is never let in.
        :raises ConfigError: if it needs a resource and there is none.
        """
        return not self._verdict(payload, resource).unmet

    def unmet(self, payload: Payload | None, resource: Any = _NOTHING) -> tuple[str, ...]:
        """Names of the conditions that stood in the way; empty where it lets in.

        Predicates are not asked where scopes, roles and claims have decided.

        :raises ConfigError: if it needs a resource and there is none.
        """
        return tuple(repr(each) for each in self._verdict(payload, resource).unmet)

    def _verdict(self, payload: Payload | None, resource: Any) -> _Verdict:
        """All that :func:`authorize` needs to know.

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
    """A single one. Its name tells it from others: ``True == 1``, their texts differ."""

    name: str
    test: Callable[..., bool | None]
    #: For ``test``, after the payload.
    wanted: tuple[Any, ...] = ()
    #: Why its absence is a refusal.
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
        # Anything else than the one answer that is a yes: also "cannot tell".
        unmet = () if held is (not self.negated) else (self,)
        return _Verdict(unmet, self.wanted if self.refusal is Reason.INSUFFICIENT_SCOPE else ())

    def _ask(self, payload: Payload, resource: Any) -> bool | None:
        given = (resource,) if self.needs_resource else self.wanted
        try:
            # A predicate of the app must not change what the next one sees.
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
        """What to refuse with: another token helps who has too few scopes, not who has too many."""
        return Reason.DENIED if self.negated else self.reason


@dataclass(frozen=True, repr=False)
class _Several(Policy):
    """All of its parts, or one of them."""

    parts: tuple[Policy, ...]
    is_all: bool
    needs_resource: bool
    is_fact: bool

    def __repr__(self) -> str:
        sign = " & " if self.is_all else " | "
        return sign.join(f"({p!r})" if isinstance(p, _Several) else repr(p) for p in self.parts)

    @cached_property
    def facts_first(self) -> tuple[Policy, ...]:
        """So the answer does not hang on the order, and no database is asked in vain."""
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
        # One way is enough, so one way is asked for: the first, as a guard does.
        return _Verdict(tuple(leaf for each in found for leaf in each.unmet), found[0].scopes)


def _joined(is_all: bool, *policies: Policy) -> Policy:
    """Those of the same kind side by side: ``(a & b) & c`` is ``a & b & c``."""
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
    """The scope is in the claim ``scope``.

    :raises ConfigError: for what is no name of a scope.
    """
    wanted = name_set((name,), "scopes")
    return _Condition(f"scope({name!r})", _has_scope, wanted, Reason.INSUFFICIENT_SCOPE)


def role(name: str) -> Policy:
    """The role is in the claim ``roles``.

    :raises ConfigError: for what is no name of a role.
    """
    wanted = name_set((name,), "roles")
    return _Condition(f"role({name!r})", _has_role, wanted, Reason.INSUFFICIENT_ROLE)


def claim(name: str, value: str | float | bool) -> Policy:
    """The claim is there and has this value, of this type: ``True`` is not ``1``.

    A claim of another type cannot tell: it denies, under ``~`` as well.

    :param value: a text, a number, ``True`` or ``False``.
    :raises ConfigError: for a value of another type.
    """
    if not isinstance(name, str) or not name:
        raise ConfigError('claim: write the name of a claim, such as claim("tenant", "acme")')
    if type(value) not in (str, int, float, bool) or not _is_finite(value):
        raise ConfigError(
            f"claim({name!r}, …): the value is a text, a number, True or False; for "
            "anything else, decorate a function with @policy"
        )
    return _Condition(f"claim({name!r}, {value!r})", _has_claim, (name, value))


def policy(predicate: Predicate, /) -> Policy:
    """A policy of your own, named as the function: of the payload, or of payload and resource.

    Only ``True`` lets in; under ``~`` only ``False``. An error is logged and denies, under ``~`` as
    well. Inside it you may read ``flask.request``.

    :raises ConfigError: for a function without a name, or of other arguments.
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


# Each says None where the claim has a form that it cannot have: a typo of the issuer must not turn
# ~role("suspended") into a yes.


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
    """Let the view go on, or refuse as a guard does: for what is known only inside.

    It decides on the caller that the guard let in. What was not met is logged; the client gets what
    a guard tells: the scopes where nothing but scopes is missing, else only that access is denied.

    :raises Refusal: an HTTP exception; the signal ``rejected`` was sent before. 401 for nobody.
    :raises ConfigError: for what is no policy, and for a policy that needs a resource without one.
    """
    if not isinstance(policy, Policy):
        raise ConfigError("authorize takes a policy: decorate your function with @policy")
    if not request:
        raise ConfigError(
            "authorize decides on a request: outside of one, ask policy.allows(payload, resource)"
        )
    auth = current_request_auth()
    accepted = auth.look()
    # First of all, so that a wrong call is found for every caller.
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
    """The policies by which :func:`authorize` let this request pass.

    For an ``after_request`` that finds the view which has forgotten to ask.
    """
    return tuple(_passed()) if request else ()


def _passed() -> list[Policy]:
    found: list[Policy] = request_attributes(get_request()).setdefault(_PASSED, [])
    return found


def _refuse_anonymous(auth: RequestAuth) -> NoReturn:
    """401, and what was wrong with a credential if one was looked at: 503 if none could be."""
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
