"""Access tokens: issue, verify, revoke.

Verification runs in this order: form and signature (:mod:`flask_jam.jws`) and claims, which the
cache may answer; then, on a hit as on a miss, key generation, time and revocation.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Any

from .._helpers.strict_json import strict_object
from ..errors import ConfigError, Reason, TokenError
from ..jws import sign_jws, signed_length, verify_jws
from ..keys import Key, KeyRing
from ..settings import JWTSettings
from ..stores.interface import CLOCK_SKEW, NO_MARKS, Kind, Marks, Store, slot_of
from .claims import CUT_OFF, Facts, check_time, facts_of, json_of, survives
from .token_cache import CacheInfo, FactCache

Clock = Callable[[], float]

_TYPES = frozenset({"jwt", "at+jwt"})
#: A longer token is verified each time, so that the size of the cache follows from its count.
_LARGEST_KEPT = 4096


class Verifier:
    """Verify tokens, with a cache of facts."""

    def __init__(self, keyring: KeyRing, settings: JWTSettings, store: Store, clock: Clock) -> None:
        #: The keys that verify now, as a key source like those of other issuers.
        self.ring: KeyRing | None = keyring
        self._keyring = keyring
        self._settings = settings
        self._store = store
        self.clock = clock
        # Read on every request: one lookup each instead of two.
        self._longest, self._asks = settings.max_token_bytes, settings.list != "off"
        self._cache: FactCache[Facts] = FactCache(settings.cache_size)

    @property
    def keyring(self) -> KeyRing:
        """Return the keys that verify now."""
        return self._keyring

    @property
    def longest_life(self) -> float:
        """How long a token may be taken after it was issued, in seconds."""
        return self._settings.longest + 2 * (self._settings.leeway + CLOCK_SKEW)

    @property
    def has_own_key(self) -> bool:
        """Return True if this service has a key, so that it has tokens of its own."""
        return True

    @property
    def takes_plain(self) -> bool:
        """Return True if there are tokens that a plain guard accepts."""
        return self.has_own_key

    def is_taken(self, rules: Any, names: Collection[str]) -> bool:
        """Return True if a guard with these issuers, or none, accepts tokens under ``rules``."""
        return False

    def cache_info(self) -> CacheInfo:
        """Return hits, misses, bound and size, like :func:`functools.lru_cache`."""
        return self._cache.info()

    def cache_clear(self) -> None:
        """Clear the cache of verified tokens."""
        self._cache.clear()

    def rekey(self, keyring: KeyRing) -> None:
        """Verify with other keys from now on; drop the facts of the old ones."""
        self.ring = self._keyring = keyring
        self._cache.clear()

    def verify(self, token: str) -> Facts:
        """Return the facts of a token that is valid now.

        :raises TokenError: with the reason.
        :raises StoreUnavailable: if revocation could not be checked.
        """
        # The size comes first: megabytes from an attacker are not hashed.
        if not isinstance(token, str):
            raise TokenError(Reason.INVALID)
        if len(token) > self._longest:
            raise TokenError(Reason.TOO_LARGE)
        key = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        facts, ticket = self._cache.get(key)
        is_known = facts is not None and facts.keyring is (facts.keys or self).ring
        if facts is None or not is_known:
            facts = self.established(token)
        now = self.clock()
        if not facts.starts <= now < facts.ends:
            check_time(facts, now, facts.periods or self._settings)
        if self._asks:
            marks = self._store.marks(facts.slot, facts.mark, facts.family, facts.owner, now)
            if marks is not NO_MARKS or self._settings.list == "allow":
                self._check_marks(facts, marks)
        if not is_known and len(token) <= _LARGEST_KEPT:
            self._cache.put(key, facts, ticket)
        return facts

    def verify_plain(self, token: str) -> Facts:
        """Return the facts of a token that a plain guard accepts.

        :raises TokenError: ``wrong_issuer`` for a token that only some guards accept.
        :raises StoreUnavailable: if revocation could not be checked.
        """
        facts = self.verify(token)
        if facts.by_name:
            raise TokenError(Reason.WRONG_ISSUER, "only a guard that names its issuer accepts it")
        return facts

    def established(self, token: str) -> Facts:
        """Check form, signature and claims, without time, revocation and cache."""
        keyring = self._keyring
        header, payload = verify_jws(token, keyring, max_bytes=self._settings.max_token_bytes)
        check_type(header)
        return facts_of(strict_object(payload), self._settings, keyring)

    def of_claims(self, claims: Mapping[str, Any]) -> Facts:
        """Return the facts of claims that were verified before, expired or not."""
        return facts_of(strict_object(json_of(claims)), self._settings, self._keyring)

    def check_own(self, claims: Mapping[str, Any]) -> None:
        """Raise an error for claims that this service would not accept as its own."""

    def _check_marks(self, facts: Facts, marks: Marks) -> None:
        is_listed = self._settings.list == "allow" and facts.issuer is None
        if marks.revoked or (is_listed and not marks.allowed):
            raise TokenError(Reason.REVOKED)
        cut_off = marks.cut_off_of(facts.family)
        if cut_off is not None and not survives(facts, cut_off, self._store.identity()):
            raise TokenError(Reason.REVOKED)


class Tokens:
    """Issue and revoke access tokens."""

    def __init__(
        self, settings: JWTSettings, store: Store, clock: Clock, verifier: Verifier
    ) -> None:
        self._settings = settings
        self._store = store
        self.clock = clock
        self._verifier = verifier

    @property
    def longest_life(self) -> float:
        """How long any token may be taken after it was issued, in seconds."""
        return self._verifier.longest_life

    def payload(self, exp: float | timedelta | None, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``data`` with ``jti``, ``iat``, ``exp``, and ``iss`` and ``aud`` if configured."""
        life = self._settings.expire if exp is None else exp
        life = life.total_seconds() if isinstance(life, timedelta) else life
        if isinstance(life, bool) or not isinstance(life, (int, float)) or not math.isfinite(life):
            raise TokenError(Reason.INVALID, "exp: write the lifetime of the token in seconds")
        return self._completed(data, life)

    def _completed(self, data: Mapping[str, Any], life: float) -> dict[str, Any]:
        now = self.clock()
        own = {"jti": secrets.token_urlsafe(32), "iat": now, "exp": int(now + life)}
        if self._settings.issuer is not None:
            own["iss"] = self._settings.issuer
        if self._settings.audience is not None:
            own["aud"] = self._settings.audience
        return {**own, **data}

    def mint(self, payload: Mapping[str, Any], cut_off: float | None = None) -> tuple[str, Facts]:
        """Sign a payload after completing and checking it; return the token and its facts.

        :param cut_off: the subject's cutoff in the store; looked up by default.

        :raises TokenError: with a sentence that says which claim is wrong.
        """
        facts, raw = self.check(self._with_cut_off(payload, cut_off))
        token = sign_jws(raw, self._signer())
        if self._settings.list == "allow":
            until = facts.exp + self._settings.leeway
            self._store.allow(facts.slot, facts.jti or "", self.clock(), until)
        return token, facts

    def _with_cut_off(self, payload: Mapping[str, Any], known: float | None) -> Mapping[str, Any]:
        subject = payload.get("sub") if isinstance(payload, Mapping) else None
        if not isinstance(subject, str) or self._settings.list == "off":
            return payload
        if known is None:
            standing = self._store.standing(slot_of(subject), subject, self.clock())
            ended = standing.latest if "fam" in payload else standing.cut_off
            if ended <= self.clock() + CLOCK_SKEW:  # else a wrong clock set it
                _check_age(payload.get("iat"), ended)
            known = standing.latest
        return {**payload, CUT_OFF: [self._store.identity(), known]}

    def _signer(self) -> Key:
        return self._verifier.keyring.signing_key()

    def derive(self, purpose: str) -> tuple[bytes, ...]:
        """Derive keys for another purpose than signing, that of the signer first."""
        return self._verifier.keyring.derive(purpose)

    def check(self, payload: Mapping[str, Any]) -> tuple[Facts, bytes]:
        """Return the facts that a payload would have as a token, and its JSON; sign nothing.

        :raises TokenError: as :meth:`mint` does.
        """
        signer = self._signer()
        facts, raw = self._checked(self._completed(payload, self._settings.expire))
        self._check_size(signed_length(raw, signer))
        return facts, raw

    def _check_size(self, length: int) -> None:
        limit = self._settings.max_token_bytes
        if length > limit:
            raise TokenError(
                Reason.TOO_LARGE,
                f"the token has {length} bytes and jwt.max_token_bytes is {limit}: keep large "
                "data in your database",
            )

    def _checked(self, payload: Mapping[str, Any]) -> tuple[Facts, bytes]:
        raw = json_of(payload)
        try:
            self._verifier.check_own(payload)
            facts = facts_of(strict_object(raw), self._settings, self._verifier.keyring)
            if facts.exp <= self.clock():
                raise TokenError(Reason.EXPIRED, "exp is in the past")
            if facts.exp <= max(facts.nbf or 0, facts.iat or 0):
                raise TokenError(Reason.INVALID, "exp comes before nbf or iat")
        except TokenError as error:
            raise TokenError(error.reason, f"the token would be refused: {error}") from None
        return facts, raw

    def revoke(self, facts: Facts) -> None:
        """Mark a token as revoked until it expires."""
        if self._settings.list == "off":
            raise ConfigError('jwt.list is "off": no token can be revoked; write "deny"')
        now, until = self.clock(), facts.ends
        self._store.mark(facts.slot, Kind.TOKEN, facts.mark or "", now, until)

    def of_ours(self, token_or_claims: str | Mapping[str, Any]) -> Facts | None:
        """Return the facts of a token or of its claims, expired or not. Nothing is cached."""
        if not isinstance(token_or_claims, (str, Mapping)):
            raise TokenError(Reason.INVALID, "write a token, or the claims of one")
        try:
            if isinstance(token_or_claims, str):
                return self._verifier.established(token_or_claims)
            return self._verifier.of_claims(token_or_claims)
        except TokenError:
            if isinstance(token_or_claims, str):
                return None
            raise


def check_type(header: Mapping[str, Any]) -> None:
    """Raise an error for a header whose type is not that of an access token.

    :raises TokenError: ``wrong_type``.
    """
    # RFC 8725 3.11 and RFC 7515 4.1.9: media type names, in any letter case.
    kind = header.get("typ")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _TYPES:
        raise TokenError(Reason.WRONG_TYPE)


def _check_age(iat: object, cut_off: float) -> None:
    """Raise an error for a payload from before a cutoff: it would restore revoked access."""
    if isinstance(iat, (int, float)) and iat + CLOCK_SKEW < cut_off:
        raise TokenError(
            Reason.REVOKED,
            "the payload was made before its subject was revoked: leave iat and exp out, or call "
            "make_payload again",
        )
