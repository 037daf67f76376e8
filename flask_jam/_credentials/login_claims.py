"""The claims that a login or a reload may set, and those that Flask-Jam sets itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from .._helpers.names import name_set
from ..errors import Reason, TokenError
from .claims import CUT_OFF, OTHER_KINDS

#: The lifetime of a login's access tokens, among the claims of its family. Tokens don't have it.
LIFE = "jam_life"
#: Claims that Flask-Jam sets in a token pair.
_RESERVED = OTHER_KINDS | {
    *("sub", "jti", "iat", "exp", "nbf", "iss", "aud", "fam", "auth_time", "scope", CUT_OFF),
    *("typ", "token_type", "token_use", LIFE),
}
#: Arguments of other libraries, with their replacements; as claims they would have no effect.
_NO_CLAIMS = {
    "expires": "write expires_in=…, in seconds",
    "expires_delta": "write expires_in=…, in seconds",
    "fresh": "a guard with max_age asks how old the login is",
    "identity": "it is the first argument, the subject",
    "additional_claims": "give each claim by its name",
    "user_claims": "give each claim by its name",
    "additional_headers": "a token has no headers of your own",
}
#: The same at a refresh, which may change the scopes.
_FIXED = _RESERVED - {"scope"}
_NO_CLAIMS_OF_REFRESH = {
    **_NO_CLAIMS,
    "scopes": "write scope, one string with spaces between the names",
    "expires_in": "only the login sets the lifetime of its access tokens",
    "refresh": "it is an argument of the login",
}


def build_claims(
    scopes: Iterable[str], roles: Iterable[str], claims: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the claims of a login. Reserved ones are refused: Flask-Jam sets those itself.

    :raises TokenError: for a reserved claim.
    :raises ConfigError: for scopes or roles that are not a set of names.
    """
    said = dict(_own(claims, _RESERVED, _NO_CLAIMS))
    named = name_set(scopes, "scopes"), name_set(roles, "roles")
    if named[0]:
        said["scope"] = " ".join(named[0])
    if named[1]:
        said["roles"] = list(named[1])
    return said


def check_reloaded(claims: Mapping[str, Any]) -> None:
    """Raise an error for a claim that ``reload_claims`` must not return.

    :raises TokenError: with the name of the claim.
    """
    _own(claims, _FIXED, _NO_CLAIMS_OF_REFRESH)


def shown_to_reload(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Return the claims of a family without those that Flask-Jam sets."""
    return {name: value for name, value in claims.items() if name not in _FIXED}


def _own(
    claims: Mapping[str, Any], reserved: frozenset[str], no_claims: Mapping[str, str]
) -> Mapping[str, Any]:
    for name in claims:
        if name in no_claims:
            raise TokenError(Reason.INVALID, f"{name} is no claim: {no_claims[name]}")
        if name in reserved:
            raise TokenError(Reason.INVALID, _why_reserved(name))
    return claims


def checked_life(expires_in: object, longest: float) -> float:
    """Return the lifetime of an access token in seconds; it may only be shortened.

    :raises TokenError: for a value out of range.
    """
    if isinstance(expires_in, timedelta):
        expires_in = expires_in.total_seconds()
    life = _seconds(expires_in)
    if life is None or not 1 <= life <= longest:
        raise TokenError(
            Reason.INVALID,
            f"expires_in must be 1 to {longest:g} seconds, as it only shortens jwt.expire: for a "
            "longer life, raise that",
        )
    return life


def life_of(stored: object, longest: float) -> float:
    """Return the effective lifetime: the settings may be stricter now than at the login."""
    life = _seconds(stored)
    return longest if life is None else max(1.0, min(life, longest))


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if math.isfinite(value) else None


def _why_reserved(name: str) -> str:
    if name in OTHER_KINDS or name in ("typ", "token_type", "token_use"):
        return f"the claim {name} marks a token that is not a bearer access token: leave it out"
    return f"the claim {name} is written by flask_jam itself"
