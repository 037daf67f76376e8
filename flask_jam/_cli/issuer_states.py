"""State of other issuers for operators: keys, rules, and why a token is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .._credentials.foreign_tokens import Issuers
from .._credentials.issuer import ANY_TENANT, Issuer
from .._credentials.issuer_keys import KeyState
from .._credentials.issuer_names import names_of
from .._helpers.names import nearest
from ..errors import TokenError
from ..jam import Jam

#: How long a command waits for the keys of all issuers together, in seconds.
_PATIENCE = 6.0
#: Audiences that a provider gives to the tokens of all its clients.
_WIDE = frozenset({"account", "api://default"})


class IssuerState(NamedTuple):
    """One issuer, as ``flask jam issuers`` shows it."""

    issuer: str
    #: ``ok``, or why all of its tokens are refused.
    state: str
    #: The guards that accept its tokens.
    taken_by: str
    keys: int
    #: Seconds since the keys were fetched; None if they are configured, or never were.
    age: float | None
    error: str | None
    source: str | None
    audience: tuple[str, ...]
    algorithms: tuple[str, ...]


def states_of(jam: Jam) -> list[IssuerState]:
    """Return the state of each issuer, after fetching its keys."""
    issuers = jam.issuers
    if issuers is None:
        return []
    _await_keys(issuers)
    return [_state(jam, rules, keys) for rules, keys in issuers.states().items()]


def _await_keys(issuers: Issuers) -> None:
    issuers.start()
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        if all(keys.kids or keys.error for keys in issuers.states().values()):
            return
        time.sleep(0.02)


def _state(jam: Jam, rules: Issuer, keys: KeyState) -> IssuerState:
    return IssuerState(
        _shown(rules),
        "ok" if keys.kids else f"503: no keys ({keys.error or 'not fetched yet'})",
        taken_by(jam, rules),
        len(keys.kids),
        keys.age,
        keys.error,
        keys.url,
        tuple(rules.audience),
        tuple(rules.algorithms),
    )


def _shown(rules: Issuer) -> str:
    """Return the name of an issuer: of one tenant, as its tokens have it."""
    names = names_of(rules)
    return names[0] if len(names) == 1 else rules.issuer


def taken_by(jam: Jam, rules: Issuer) -> str:
    """Return which guards accept the tokens of an issuer."""
    verifier: Any = jam.verifier
    return "guards that name it" if verifier.is_by_name(rules) else "every guard"


# --- one token ---------------------------------------------------------------------------------


def rules_of(jam: Jam, claims: object) -> Issuer | None:
    """Return the rules for a token with these claims; None if it is of no other issuer."""
    if jam.issuers is None or not isinstance(claims, Mapping):
        return None
    with suppress(TokenError):
        return jam.issuers.entry_of(claims).rules
    return None


def unknown_issuer(jam: Jam, claims: object) -> str | None:
    """Return what is wrong with an ``iss`` that matches no issuer; None if one matches."""
    iss = claims.get("iss") if isinstance(claims, Mapping) else None
    if jam.issuers is None or iss is None or iss == jam.settings.jwt.issuer:
        return None
    if rules_of(jam, claims) is not None:
        return None
    if jam.issuers.is_of_one({"iss": iss}):
        return "tid is not the tenant of iss, or no tenant whose tokens are taken"
    known = [name for rules in jam.issuers.states() for name in names_of(rules)]
    return f"its iss is no configured issuer{nearest(iss, known)}"


def flaw_of(jam: Jam, rules: Issuer, header: Mapping[str, Any]) -> str:
    """Return what is wrong with a token whose signature is invalid, by its header."""
    assert jam.issuers is not None
    alg, kid = header.get("alg"), header.get("kid")
    if ("EdDSA" if alg == "Ed25519" else alg) not in tuple(rules.algorithms):
        return f"its alg is not one of the issuer's: {', '.join(rules.algorithms)}"
    kids = jam.issuers.states()[rules].kids
    if kid is not None and kid not in kids:
        return f"its kid is none of the issuer's {len(kids)} keys"
    return "the signature is not that of the issuer's key, or the token breaks a rule before that"


# --- doctor ------------------------------------------------------------------------------------


def examine_issuers(jam: Jam, *, is_tried: bool) -> Iterator[tuple[str, str, str]]:
    """Return status, ASVS requirement and sentence of each check.

    :param is_tried: True if the app is in debug or testing mode.
    """
    states = states_of(jam)
    for state, rules in zip(states, jam.issuers.states() if jam.issuers else (), strict=True):
        name = state.issuer
        if state.keys:
            yield "ok", "9.1.3", f"{name}: {state.keys} key(s), tokens accepted by {state.taken_by}"
        else:
            yield "failure", "9.1.3", f"{name}: no keys, so its tokens get a 503 ({state.error})"
        if not is_tried and _is_plain(rules):
            yield "warning", "12.3.1", f"{name}: its keys come over plain http: write https"
        yield from _reach(name, rules)


def _is_plain(rules: Issuer) -> bool:
    source = None if rules.jwks is not None else rules.jwks_uri or rules.issuer
    return source is not None and urlsplit(source).scheme == "http"


def _reach(name: str, rules: Issuer) -> Iterator[tuple[str, str, str]]:
    for audience in _WIDE.intersection(rules.audience):
        yield (
            "warning",
            "9.2.3",
            f"{name}: the audience {audience} is in tokens for every client there: name one of "
            "this service alone",
        )
    if rules.tenants == (ANY_TENANT,):
        yield (
            "warning",
            "9.2.3",
            f"{name}: users of every tenant in the world are let in: list tenants, or check "
            "current_auth().issuer",
        )
    if rules.everywhere:
        yield (
            "warning",
            "8.2.1",
            f"{name}: everywhere is on, so every plain jwt_required accepts its tokens",
        )
