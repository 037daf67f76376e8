"""Check the claims of another issuer's token by its rules, and convert them to facts."""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from .._helpers.strict_json import copy_json
from ..errors import Reason, TokenError
from ..keys import KeyRing
from ..stores.interface import owner_of, slot_of
from .claims import (
    CUT_OFF,
    OTHER_KINDS,
    CarriedCutOff,
    check_kind,
    check_name,
    check_timestamp,
    timestamp_or_none,
    window,
)
from .issuer import PRESENT, ClaimPath, Issuer
from .issuer_keys import KeySource

#: Claims of ID tokens (OpenID Connect Core 3.1.3.6, 3.3.2.11).
_ID_TOKEN = frozenset({"nonce", "at_hash", "c_hash"})


class Entry(NamedTuple):
    """The issuer of a token: its ``iss`` and the rules configured for it."""

    iss: str
    rules: Issuer
    keys: KeySource
    #: The tenant that ``tid`` must name.
    tenant: str | None = None


class ForeignFacts(NamedTuple):
    """The verified content of another issuer's token. Never handed out.

    The first fields are those of :class:`~flask_jam._credentials.claims.Facts`.
    """

    flat: dict[str, Any]
    nested: tuple[tuple[str, Any], ...]
    #: The key ring that has verified it; None before verification.
    keyring: KeyRing | None
    exp: float
    nbf: float | None
    iat: float | None
    #: The token's id, as the issuer set it.
    jti: str | None
    #: The subject, as derived by the issuer's rules.
    sub: str
    family: None
    #: The slot of its marks in the store.
    slot: str
    cut_off: CarriedCutOff | None
    #: The window of validity: exp, nbf and iat in one, leeway included.
    starts: float
    ends: float
    #: Timestamp of the user's authentication, if the token has one.
    auth_time: float | None
    #: ``iss``, exactly: with the subject it is the identity.
    iss: str
    rules: Issuer
    keys: KeySource
    #: The owner: the subject's name in the store.
    owner: str
    #: The name of the token's revocation mark, derived from its id, or else from its content.
    mark: str
    scopes: tuple[str, ...]
    roles: tuple[str, ...]

    def __repr__(self) -> str:
        return f"ForeignFacts(exp={self.exp!r}, …)"

    def fresh(self) -> dict[str, Any]:
        """Return a copy of the claims, which the caller may change."""
        claims = self.flat.copy()
        for name, value in self.nested:
            claims[name] = copy_json(value)
        return claims


def facts_of_foreign(
    claims: dict[str, Any], entry: Entry, keyring: KeyRing | None, signing_input: bytes
) -> ForeignFacts:
    """Return the facts of a payload that an issuer's rules allow.

    :raises TokenError: with a sentence that names the claim and never its value.
    """
    rules = entry.rules
    exp, nbf, iat = _times(claims, rules)
    check_kind(claims, OTHER_KINDS - _ID_TOKEN if rules.id_tokens else OTHER_KINDS)
    _check_required(claims, rules)
    _check_tenant(claims, entry)
    _check_audience(claims, rules)
    sub, jti = _subject(claims, rules), _token_id(claims, rules)
    owner = owner_of(sub, entry.iss)
    starts, ends = window(exp, nbf, iat, rules)
    flat = {sys.intern(name): value for name, value in claims.items() if name != CUT_OFF}
    return ForeignFacts(
        flat=flat,
        nested=tuple((k, v) for k, v in flat.items() if isinstance(v, (dict, list))),
        keyring=keyring,
        exp=exp,
        nbf=nbf,
        iat=iat,
        jti=jti,
        sub=sub,
        family=None,
        slot=slot_of(owner),
        cut_off=None,
        starts=starts,
        ends=ends,
        auth_time=timestamp_or_none(claims.get("auth_time")),
        iss=entry.iss,
        rules=rules,
        keys=entry.keys,
        owner=owner,
        mark=mark_of(entry.iss, jti, signing_input),
        scopes=_scopes(claims, rules),
        roles=_names(claim_at(claims, rules.roles)) or (),
    )


def claim_at(claims: Mapping[str, Any], path: ClaimPath | None) -> Any:
    """Return the claim at a path; None if it is missing."""
    if isinstance(path, str):
        if path in claims or "://" in path:
            return claims.get(path)
        path = tuple(path.split("."))
    value: Any = claims if path else None
    for name in path or ():
        value = value.get(name) if isinstance(value, dict) else None
    return value


def mark_of(iss: str, jti: str | None, signing_input: bytes) -> str:
    """Return the name of a token's revocation mark. No two issuers share one."""
    # The signature is left out: one content may have several valid signatures.
    what = b"input\0" + signing_input if jti is None else b"jti\0" + jti.encode()
    digest = hashlib.sha256(b"flask_jam foreign\0" + iss.encode() + b"\0" + what).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _times(claims: Mapping[str, Any], rules: Issuer) -> tuple[float, float | None, float | None]:
    exp, nbf, iat = (check_timestamp(claims, name) for name in ("exp", "nbf", "iat"))
    if exp is None:
        raise TokenError(Reason.INVALID, "exp is missing")
    if iat is not None and exp - iat > rules.max_lifetime:
        raise TokenError(Reason.INVALID, "exp - iat is longer than the issuer's max_lifetime")
    return exp, nbf, iat


def _check_required(claims: Mapping[str, Any], rules: Issuer) -> None:
    for name, values in rules.require:
        value = claim_at(claims, name)
        # 1 is not True here.
        found = any(type(value) is type(each) and value == each for each in values)
        if value is None or not (found or PRESENT in values):
            raise TokenError(Reason.WRONG_TYPE, f"{name} is not what the issuer's rules require")


def _check_tenant(claims: Mapping[str, Any], entry: Entry) -> None:
    if entry.tenant is not None and claims.get("tid") != entry.tenant:
        raise TokenError(Reason.WRONG_ISSUER, "tid is not the tenant of iss")


def _check_audience(claims: Mapping[str, Any], rules: Issuer) -> None:
    value = claim_at(claims, rules.audience_claim)
    listed = value if isinstance(value, list) else [] if value is None else [value]
    named = {check_name(each, "the audience") for each in listed}
    if named.isdisjoint(rules.audience):
        raise TokenError(Reason.WRONG_AUDIENCE, "the token is not for this audience")


def _subject(claims: Mapping[str, Any], rules: Issuer) -> str:
    value = claim_at(claims, rules.subject)
    if value is None:
        raise TokenError(Reason.INVALID, "the subject is missing")
    if rules.subject in ("email", ("email",)) and claims.get("email_verified") is not True:
        raise TokenError(Reason.INVALID, "email_verified is not true")
    return check_name(value, "the subject")


def _token_id(claims: Mapping[str, Any], rules: Issuer) -> str | None:
    value = claim_at(claims, rules.jti)
    return None if value is None else check_name(value, "the token's id")


def _scopes(claims: Mapping[str, Any], rules: Issuer) -> tuple[str, ...]:
    for path in rules.scopes:
        value = claim_at(claims, path)
        found = value.split(" ") if isinstance(value, str) else _names(value)
        if found is not None:
            return tuple(filter(None, found))
    return ()


def _names(value: Any) -> tuple[str, ...] | None:
    """Return a list of strings; anything else counts as absent."""
    is_list = isinstance(value, list) and all(isinstance(each, str) for each in value)
    return tuple(value) if is_list else None
