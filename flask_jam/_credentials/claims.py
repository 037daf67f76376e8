"""Check the claims of a token and convert them to facts."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from .._helpers.strict_json import LARGEST_TIMESTAMP, copy_json, strict_dumps
from ..errors import Reason, TokenError
from ..keys import KeyRing
from ..settings import JWTSettings
from ..stores.interface import CLOCK_SKEW, slot_of

#: The claim with the cutoff of the subject. Payloads that the app sees do not have it.
CUT_OFF = "jam_cut"
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Facts(NamedTuple):
    """The verified content of a token. Never handed out: ``fresh`` makes copies."""

    flat: dict[str, Any]
    nested: tuple[tuple[str, Any], ...]
    keyring: KeyRing | None
    exp: float
    nbf: float | None
    iat: float | None
    jti: str | None
    sub: str | None
    family: str | None
    #: The slot of its marks in the store.
    slot: str
    #: The subject's cutoff at issuance; None if it was not issued here.
    cut_off: CarriedCutOff | None
    #: The window of validity: exp, nbf and iat in one, leeway included.
    starts: float
    ends: float
    #: Timestamp of the user's authentication, if the token has a valid one.
    auth_time: float | None = None
    #: The issuer: ``None`` for this service.
    issuer: str | None = None
    #: The names of the subject and of the token in the store.
    owner: str | None = None
    mark: str | None = None
    #: For another issuer: its keys, the lifetime of its tokens, and if only guards that name it
    #: accept them.
    keys: KeySource | None = None
    periods: Periods | None = None
    by_name: bool = False

    def __repr__(self) -> str:
        return f"Facts(exp={self.exp!r}, …)"

    def fresh(self) -> dict[str, Any]:
        """Return a copy of the claims, which the caller may change."""
        claims = self.flat.copy()
        for name, value in self.nested:
            claims[name] = copy_json(value)
        return claims


# --- claims ---------------------------------------------------------------------------


def facts_of(claims: dict[str, Any], settings: JWTSettings, keyring: KeyRing) -> Facts:
    """Return the facts of a payload; check types, issuer, audience and lifetime.

    :raises TokenError: with a sentence that names the claim and never its value.
    """
    exp, nbf, iat = (check_timestamp(claims, name) for name in ("exp", "nbf", "iat"))
    if exp is None:
        raise TokenError(Reason.INVALID, "exp is missing")
    if iat is not None and exp - iat > settings.longest:
        raise TokenError(Reason.INVALID, "exp - iat is longer than jwt.max_lifetime")
    jti, sub = _name(claims, "jti"), _name(claims, "sub")
    if settings.list != "off" and (jti is None or iat is None):
        raise TokenError(Reason.INVALID, "jti or iat is missing, so it could not be revoked")
    check_kind(claims)
    slot, family = slot_of(sub or jti or ""), _name(claims, "fam")
    if family is not None and not family.startswith(slot):
        raise TokenError(Reason.INVALID, "fam is written by issue_tokens, for its subject")
    _check_issuer(claims, settings.issuer)
    _check_audience(claims, settings.audience)
    flat = {sys.intern(name): value for name, value in claims.items() if name != CUT_OFF}
    nested = tuple((k, v) for k, v in flat.items() if isinstance(v, (dict, list)))
    cut_off = _carried(claims.get(CUT_OFF))
    starts, ends = window(exp, nbf, iat, settings)
    return Facts(
        flat,
        nested,
        keyring,
        exp,
        nbf,
        iat,
        jti,
        sub,
        family,
        slot,
        cut_off,
        starts,
        ends,
        timestamp_or_none(claims.get("auth_time")),
        None,
        sub,
        jti,
    )


def timestamp_or_none(value: object) -> float | None:
    """Return an optional timestamp; None if it is of the wrong kind."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if -LARGEST_TIMESTAMP < value < LARGEST_TIMESTAMP else None


class Periods(Protocol):
    """The longest lifetime of tokens and the allowed clock skew, in seconds."""

    @property
    def leeway(self) -> float: ...

    @property
    def longest(self) -> float: ...


class KeySource(Protocol):
    """The source of an issuer's keys."""

    @property
    def ring(self) -> KeyRing | None:
        """Return the keys that verify now."""
        ...


class Timestamps(Protocol):
    """The timestamps in the facts of any token."""

    @property
    def exp(self) -> float: ...

    @property
    def nbf(self) -> float | None: ...

    @property
    def iat(self) -> float | None: ...

    @property
    def cut_off(self) -> CarriedCutOff | None: ...


def window(
    exp: float, nbf: float | None, iat: float | None, settings: Periods
) -> tuple[float, float]:
    """Return the window in which :func:`check_time` passes, so that a hit can skip it."""
    leeway = settings.leeway
    minted = exp - settings.longest if iat is None else iat - max(leeway, CLOCK_SKEW)
    return (minted if nbf is None else max(minted, nbf - leeway)), exp + leeway


def survives(facts: Timestamps, cut_off: float, store: str) -> bool:
    """Return True if a token was issued under this cutoff of this store, or a later one."""
    if facts.cut_off is not None and facts.cut_off.store == store:
        return facts.cut_off.at >= cut_off
    # A token of another issuer or store has only iat, mostly in whole seconds.
    return facts.iat is not None and math.floor(facts.iat) > cut_off


class CarriedCutOff(NamedTuple):
    """The cutoff under which a token was issued, and the store that has it."""

    store: str
    at: float


def _carried(value: object) -> CarriedCutOff | None:
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], str):
        return None
    at = timestamp_or_none(value[1])
    return None if at is None else CarriedCutOff(value[0], at)


def check_time(facts: Timestamps, now: float, settings: Periods) -> None:
    """Check expiry and not-before by this machine's clock (RFC 7519 4.1.4, 4.1.5)."""
    leeway = settings.leeway
    if now >= facts.exp + leeway:
        raise TokenError(Reason.EXPIRED, "the token has expired")
    if facts.nbf is not None and facts.nbf > now + leeway:
        raise TokenError(Reason.NOT_YET_VALID)
    if facts.iat is None:
        if facts.exp - now > settings.longest:
            raise TokenError(Reason.INVALID)
    elif facts.iat > now + max(leeway, CLOCK_SKEW):
        raise TokenError(Reason.NOT_YET_VALID)


def check_timestamp(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a timestamp of the claims, or None if it is missing.

    :raises TokenError: ``invalid``, for another type of value.
    """
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TokenError(Reason.INVALID, f"{name} must be a number of seconds")
    if not -LARGEST_TIMESTAMP < value < LARGEST_TIMESTAMP:
        raise TokenError(Reason.INVALID, f"{name} is not a valid timestamp")
    return value


def _name(claims: Mapping[str, Any], name: str) -> str | None:
    if name not in claims:
        return None
    return check_name(claims[name], name)


def check_name(value: object, name: str) -> str:
    """Return a string that may name a token, a subject, an issuer or an audience.

    :raises TokenError: ``invalid``.
    """
    if not isinstance(value, str):
        kind = type(value).__name__
        raise TokenError(Reason.INVALID, f"{name} must be a string, not {kind}: write str(...)")
    if not 0 < len(value) <= 256 or _FORBIDDEN.search(value):
        raise TokenError(
            Reason.INVALID,
            f"{name} must be a string of 1 to 256 characters without control characters",
        )
    return value


#: Claims that mark other tokens than bearer access tokens: bound to a client's key (RFC 9449 7.2),
#: security events and logout (RFC 8417), ID tokens (OpenID Connect Core 3.1.3.6, 3.3.2.11).
OTHER_KINDS = frozenset({"cnf", "events", "nonce", "at_hash", "c_hash"})
#: Values by which libraries that may share our key mark tokens other than access tokens:
#: Flask-JWT-Extended, djangorestframework-simplejwt, Amazon Cognito, Keycloak.
_OTHER_KINDS = {
    "type": {"refresh"},
    "token_type": {"refresh"},
    "token_use": {"id"},
    "typ": {"id", "refresh", "offline", "logout"},
}


def check_kind(claims: Mapping[str, Any], others: frozenset[str] = OTHER_KINDS) -> None:
    """Raise an error for claims of another kind than a bearer access token.

    :param others: claims that access tokens never have.
    :raises TokenError: ``wrong_type``.
    """
    for name in others.intersection(claims):
        raise TokenError(
            Reason.WRONG_TYPE, f"{name} marks a token that is not a bearer access token"
        )
    for name, kinds in _OTHER_KINDS.items():
        value = claims.get(name)
        if isinstance(value, str) and value.lower() in kinds:
            raise TokenError(Reason.WRONG_TYPE, f"{name} says that this is not an access token")


def _check_issuer(claims: Mapping[str, Any], issuer: str | None) -> None:
    if _name(claims, "iss") != issuer and issuer is not None:
        raise TokenError(Reason.WRONG_ISSUER, "iss is not jwt.issuer")


def _check_audience(claims: Mapping[str, Any], audience: str | None) -> None:
    if "aud" not in claims:
        named = []
    elif isinstance(claims["aud"], list):
        named = [check_name(name, "aud") for name in claims["aud"]]
    else:
        named = [check_name(claims["aud"], "aud")]
    # RFC 7519 4.1.3: an audience that does not name us is refused, even if none is configured.
    if (audience is None and "aud" in claims) or (audience is not None and audience not in named):
        raise TokenError(Reason.WRONG_AUDIENCE, "aud does not name jwt.audience")


def json_of(claims: Mapping[str, Any]) -> bytes:
    """Serialize claims as JSON.

    :raises TokenError: with name and type of a claim that JSON cannot represent.
    """
    for name, value in claims.items():
        if not isinstance(name, str):
            raise TokenError(Reason.INVALID, "the name of every claim must be a string")
        try:
            strict_dumps({name: value})
        except (TypeError, ValueError, RecursionError):
            raise TokenError(
                Reason.INVALID,
                f"the claim {name} cannot be written as JSON: {type(value).__name__}",
            ) from None
    return strict_dumps(dict(claims))
