"""Access tokens: issue, verify, revoke.

Verification, in this order: gate and signature (:mod:`flask_jam.jws`) and claims, all of which
the cache may answer; then, on a hit as on a miss, key generation, time and revocation.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..errors import ConfigError, Reason, TokenError
from ..jws import LARGEST_DATE, sign_jws, strict_dumps, strict_object, verify_jws
from ..keys import KeyRing
from ..settings import JWTSettings
from ..stores.interface import NOTHING_KNOWN, Kind, Marks, Store, place_of
from .token_cache import CacheInfo, FactCache, fork_safe_lock

Clock = Callable[[], float]

#: Two stamps closer than this, in seconds, count as the same instant.
_INSTANT = 0.001
_TYPES = frozenset({"jwt", "at+jwt"})
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
#: A longer token is verified each time, so that the size of the cache follows from its count.
_LARGEST_KEPT = 4096


class Facts(NamedTuple):
    """What held when a token was verified. Never handed out: ``fresh`` makes copies."""

    flat: dict[str, Any]
    nested: tuple[tuple[str, Any], ...]
    keyring: KeyRing
    exp: float
    nbf: float | None
    iat: float | None
    jti: str | None
    sub: str | None
    family: str | None
    #: Where the store keeps what it knows of it.
    place: str
    #: What a cut-off is compared with: the login of a refresh family, else ``iat``.
    born: float
    #: Good from here up to here: exp, nbf and iat in one, leeway included.
    starts: float
    ends: float
    #: When the person proved who they are, where the token says so in a form that one can trust.
    auth_time: float | None = None

    def __repr__(self) -> str:
        return f"Facts(exp={self.exp!r}, …)"

    def fresh(self) -> dict[str, Any]:
        """The claims, as a copy that its owner may change."""
        claims = self.flat.copy()
        for name, value in self.nested:
            claims[name] = copied(value)
        return claims


def copied(value: Any) -> Any:
    """A copy of a JSON value, all the way down."""
    if isinstance(value, dict):
        return {name: copied(inner) for name, inner in value.items()}
    return [copied(inner) for inner in value] if isinstance(value, list) else value


class Stamps:
    """The clock for minting and revoking, which never gives both the same instant.

    What was minted before a revocation has a stamp up to it, what comes after has a later one,
    even where the clock stands still.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._lock = fork_safe_lock()
        self._minted = self._cut = -math.inf

    def mint(self) -> float:
        """Now; a hair later where a cut-off has just been taken."""
        with self._lock:
            now = self.clock()
            if 0 <= self._cut - now < _INSTANT:
                now = math.nextafter(self._cut, math.inf)
            self._minted = max(self._minted, now)
            return now

    def cut(self) -> float:
        """A cut-off: no earlier than anything minted, also after the clock was set back."""
        with self._lock:
            self._cut = max(self._cut, self._minted, self.clock())
            return self._cut


class Verifier:
    """Tokens to claims, with a cache of facts."""

    def __init__(self, keyring: KeyRing, settings: JWTSettings, store: Store, clock: Clock) -> None:
        self._keyring = keyring
        self._settings = settings
        self._store = store
        self._clock = clock
        # Read on every request: one look-up each instead of two.
        self._longest, self._asks = settings.max_token_bytes, settings.list != "off"
        self._cache: FactCache[Facts] = FactCache(settings.cache_size)

    @property
    def keyring(self) -> KeyRing:
        """The keys that verify now."""
        return self._keyring

    def cache_info(self) -> CacheInfo:
        """Hits, misses, bound and size, as :func:`functools.lru_cache` has them."""
        return self._cache.info()

    def cache_clear(self) -> None:
        """Forget every verified token; each is verified anew."""
        self._cache.clear()

    def rekey(self, keyring: KeyRing) -> None:
        """Verify with other keys from now on; facts of the old ones count no more."""
        self._keyring = keyring
        self._cache.clear()

    def verify(self, token: str) -> Facts:
        """The facts of a token that is good now.

        :raises TokenError: with the reason.
        :raises StoreUnavailable: if revocation could not be asked.
        """
        # The size comes first: nobody hashes megabytes for a stranger.
        if not isinstance(token, str):
            raise TokenError(Reason.INVALID)
        if len(token) > self._longest:
            raise TokenError(Reason.TOO_LARGE)
        key = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        facts, ticket = self._cache.get(key)
        if facts is not None and facts.keyring is self._keyring:
            self._check_now(facts)
            return facts
        facts = self.established(token)
        self._check_now(facts)
        if len(token) <= _LARGEST_KEPT:
            self._cache.put(key, facts, ticket)
        return facts

    def established(self, token: str) -> Facts:
        """Gate, signature and claims, without time, revocation and cache."""
        keyring = self._keyring
        header, payload = verify_jws(token, keyring, max_bytes=self._settings.max_token_bytes)
        _check_type(header)
        return facts_of(strict_object(payload), self._settings, keyring)

    def _check_now(self, facts: Facts) -> None:
        now = self._clock()
        if not facts.starts <= now < facts.ends:
            check_time(facts, now, self._settings)
        if self._asks:
            marks = self._store.marks(facts.place, facts.jti, facts.family, facts.sub, now)
            if marks is not NOTHING_KNOWN or self._settings.list == "allow":
                self._check_marks(facts, marks)

    def _check_marks(self, facts: Facts, marks: Marks) -> None:
        if marks.revoked or (self._settings.list == "allow" and not marks.allowed):
            raise TokenError(Reason.REVOKED)
        if marks.not_before is not None and facts.born <= marks.not_before:
            raise TokenError(Reason.REVOKED)


class Tokens:
    """Minting and revoking."""

    def __init__(
        self, keyring: KeyRing, settings: JWTSettings, store: Store, stamps: Stamps,
        verifier: Verifier,
    ) -> None:  # fmt: skip
        self._keyring = keyring
        self._settings = settings
        self._store = store
        self._stamps = stamps
        self._verifier = verifier

    def payload(self, exp: float | None, data: Mapping[str, Any]) -> dict[str, Any]:
        """``data`` with ``jti``, ``iat``, ``exp``, and ``iss`` and ``aud`` where configured."""
        life = self._settings.expire if exp is None else exp
        if isinstance(life, bool) or not isinstance(life, (int, float)) or not math.isfinite(life):
            raise TokenError(Reason.INVALID, "exp: write the life of the token in seconds")
        return self._completed(data, life)

    def _completed(self, data: Mapping[str, Any], life: float) -> dict[str, Any]:
        now = self._stamps.mint()
        own = {"jti": secrets.token_urlsafe(32), "iat": now, "exp": int(now + life)}
        if self._settings.issuer is not None:
            own["iss"] = self._settings.issuer
        if self._settings.audience is not None:
            own["aud"] = self._settings.audience
        return {**own, **data}

    def mint(self, payload: Mapping[str, Any]) -> str:
        """The signed token of a payload, completed and checked as verification would.

        :raises TokenError: with a sentence that says which claim is wrong.
        """
        token, claims = self._signed(payload)
        if self._settings.list == "allow":
            until = claims.exp + self._settings.leeway
            self._store.allow(claims.place, claims.jti or "", self._stamps.clock(), until)
        return token

    def _signed(self, payload: Mapping[str, Any]) -> tuple[str, Facts]:
        if self._keyring.signer is None:
            raise ConfigError("this service only verifies: to sign, set jwt.private_key")
        claims, raw = self._checked(self._completed(payload, self._settings.expire))
        token = sign_jws(raw, self._keyring.signer)
        if len(token) > self._settings.max_token_bytes:
            raise TokenError(
                Reason.TOO_LARGE,
                f"the token has {len(token)} bytes and jwt.max_token_bytes is "
                f"{self._settings.max_token_bytes}: keep large data in your database",
            )
        return token, claims

    def check(self, payload: Mapping[str, Any]) -> None:
        """Raise what minting this payload would raise."""
        self._signed(payload)

    def _checked(self, payload: Mapping[str, Any]) -> tuple[Facts, bytes]:
        raw = json_of(payload)
        try:
            facts = facts_of(strict_object(raw), self._settings, self._keyring)
            if facts.exp <= self._stamps.clock():
                raise TokenError(Reason.EXPIRED, "exp has passed: it would be dead at birth")
            if facts.exp <= max(facts.nbf or 0, facts.iat or 0):
                raise TokenError(Reason.INVALID, "exp comes before nbf or iat")
        except TokenError as error:
            raise TokenError(error.reason, f"the token would be refused: {error}") from None
        return facts, raw

    def revoke(self, facts: Facts) -> None:
        """Mark a token as revoked until it expires."""
        if self._settings.list == "off":
            raise ConfigError('jwt.list is "off": no token can be revoked; write "deny"')
        until, now = facts.exp + self._settings.leeway, self._stamps.clock()
        self._store.mark(facts.place, Kind.TOKEN, facts.jti or "", now, until)

    def of_ours(self, token_or_claims: str | Mapping[str, Any]) -> Facts | None:
        """The facts of a token or of its claims, expired or not. Nothing is cached."""
        if not isinstance(token_or_claims, (str, Mapping)):
            raise TokenError(Reason.INVALID, "write a token, or the claims of one")
        try:
            if isinstance(token_or_claims, str):
                return self._verifier.established(token_or_claims)
            claims = strict_object(json_of(token_or_claims))
            return facts_of(claims, self._settings, self._keyring)
        except TokenError:
            if isinstance(token_or_claims, str):
                return None
            raise

    def revoke_before(self, subject: str, longest: float) -> None:
        """Every token and family of a subject that exists now and lives ``longest`` at most."""
        cut, now = self._stamps.cut(), self._stamps.clock()
        self._store.mark(place_of(subject), Kind.SUBJECT, subject, cut, cut + longest, now=now)


# --- claims ---------------------------------------------------------------------------


def facts_of(claims: dict[str, Any], settings: JWTSettings, keyring: KeyRing) -> Facts:
    """The facts of a payload whose claims are well typed, ours, and not too long-lived.

    :raises TokenError: with a sentence that names the claim and never its value.
    """
    exp, nbf, iat = _date(claims, "exp"), _date(claims, "nbf"), _date(claims, "iat")
    if exp is None:
        raise TokenError(Reason.INVALID, "exp is missing")
    if iat is not None and exp - iat > settings.longest:
        raise TokenError(Reason.INVALID, "exp - iat is longer than jwt.max_lifetime")
    jti, sub = _name(claims, "jti"), _name(claims, "sub")
    if settings.list != "off" and (jti is None or iat is None):
        raise TokenError(Reason.INVALID, "jti or iat is missing, so it could not be revoked")
    if claims.get("type") == "refresh":
        # Of a library that tells its two kinds apart by this claim, under a key that we share.
        raise TokenError(Reason.WRONG_TYPE, "type is refresh: that is no access token")
    place, family = place_of(sub or jti or ""), _name(claims, "fam")
    if family is not None and not family.startswith(place):
        raise TokenError(Reason.INVALID, "fam is written by issue_tokens, for its subject")
    _check_issuer(claims, settings.issuer)
    _check_audience(claims, settings.audience)
    flat = {sys.intern(name): value for name, value in claims.items()}
    nested = tuple((k, v) for k, v in flat.items() if isinstance(v, (dict, list)))
    born = _born(claims, iat)
    starts, ends = _window(exp, nbf, iat, settings)
    return Facts(flat, nested, keyring, exp, nbf, iat, jti, sub, family, place, born, starts, ends,
                 _said_date(claims.get("auth_time")))  # fmt: skip


def _said_date(value: object) -> float | None:
    """A date that is no reason to refuse the token: one of the wrong kind is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if -LARGEST_DATE < value < LARGEST_DATE else None


def _window(
    exp: float, nbf: float | None, iat: float | None, settings: JWTSettings
) -> tuple[float, float]:
    """The time in which :func:`check_time` has nothing to say, so that a hit need not ask it."""
    leeway = settings.leeway
    born = exp - settings.longest if iat is None else iat - leeway - _INSTANT
    return (born if nbf is None else max(born, nbf - leeway)), exp + leeway


def _born(claims: Mapping[str, Any], iat: float | None) -> float:
    """When what led to this token began. One that does not say is older than any cut-off."""
    auth_time = claims.get("auth_time")
    if iat is None or "fam" not in claims or not isinstance(auth_time, (int, float)):
        return -math.inf if iat is None else iat
    # A refresh that ends while the subject is being revoked mints after the cut-off.
    return min(iat, auth_time)


def check_time(facts: Facts, now: float, settings: JWTSettings) -> None:
    """Expiry and not-before, on this machine's wall clock (RFC 7519 4.1.4, 4.1.5)."""
    leeway = settings.leeway
    if now >= facts.exp + leeway:
        raise TokenError(Reason.EXPIRED, "the token has expired")
    if facts.nbf is not None and facts.nbf > now + leeway:
        raise TokenError(Reason.NOT_YET_VALID)
    if facts.iat is None:
        if facts.exp - now > settings.longest:
            raise TokenError(Reason.INVALID)
    elif facts.iat > now + leeway + _INSTANT:
        raise TokenError(Reason.NOT_YET_VALID)


def _check_type(header: Mapping[str, Any]) -> None:
    # RFC 8725 3.11 and RFC 7515 4.1.9: media type names, in any letter case.
    kind = header.get("typ")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _TYPES:
        raise TokenError(Reason.WRONG_TYPE)


def _date(claims: Mapping[str, Any], name: str) -> float | None:
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TokenError(Reason.INVALID, f"{name} must be a number of seconds")
    if not -LARGEST_DATE < value < LARGEST_DATE:
        raise TokenError(Reason.INVALID, f"{name} is no date")
    return value


def _name(claims: Mapping[str, Any], name: str) -> str | None:
    if name not in claims:
        return None
    return check_name(claims[name], name)


def check_name(value: object, name: str) -> str:
    """A text that may name a token, a subject, an issuer or an audience.

    :raises TokenError: ``invalid``.
    """
    if not isinstance(value, str):
        kind = type(value).__name__
        raise TokenError(Reason.INVALID, f"{name} must be a text, not {kind}: write str(...)")
    if not 0 < len(value) <= 256 or _FORBIDDEN.search(value):
        raise TokenError(
            Reason.INVALID,
            f"{name} must be a text of 1 to 256 characters without control characters",
        )
    return value


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
    # RFC 7519 4.1.3: an audience that does not name us is a refusal, also where we have no name.
    if (audience is None and "aud" in claims) or (audience is not None and audience not in named):
        raise TokenError(Reason.WRONG_AUDIENCE, "aud does not name jwt.audience")


def json_of(claims: Mapping[str, Any]) -> bytes:
    """The claims as JSON.

    :raises TokenError: naming the one that is none, by its name and type.
    """
    for name, value in claims.items():
        if not isinstance(name, str):
            raise TokenError(Reason.INVALID, "the name of every claim must be a text")
        try:
            strict_dumps({name: value})
        except (TypeError, ValueError, RecursionError):
            raise TokenError(
                Reason.INVALID,
                f"the claim {name} cannot be written as JSON: {type(value).__name__}",
            ) from None
    return strict_dumps(dict(claims))
