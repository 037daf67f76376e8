"""Tokens of other issuers: verified by the rules of their issuer.

Verification runs in this order: form (:mod:`flask_jam.jws`); the unverified ``iss`` chooses the
rules; algorithm and type; the key; the signature; the claims. The cache may answer all of that.
Then, on a hit as on a miss: the key still is one of the issuer's, time, revocation.

A request waits for keys only if the rest of the token is right. No URL in a token is fetched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

from .._helpers.strict_json import strict_object
from ..errors import ConfigError, IssuerUnavailable, Reason, TokenError
from ..jws import UnverifiedJWS, read_jws
from ..keys import Key
from ..stores.interface import NO_MARKS, Store
from .claims import check_time, survives
from .foreign_claims import Entry, ForeignFacts, facts_of_foreign
from .issuer import ANY_TENANT, TENANT, Issuer, is_tenant
from .issuer_keys import KeySource, KeyState, source_of
from .token_cache import CacheInfo, FactCache

Clock = Callable[[], float]

#: A longer token is verified each time, so that the size of the cache follows from its count.
_LARGEST_KEPT = 4096


class Issuers:
    """Verify tokens of other issuers.

    :param store: the store with revocations; None checks none.
    :param cache_size: how many verified tokens are cached.
    :param max_token_bytes: a longer token is refused unread.
    :param sources: returns the key source of an issuer.
    :raises ConfigError: if two issuers have one ``iss``.
    """

    def __init__(  # noqa: PLR0913 - what the own verifier has, too
        self,
        issuers: Collection[Issuer],
        clock: Clock,
        store: Store | None = None,
        *,
        cache_size: int = 10000,
        max_token_bytes: int = 8192,
        sources: Callable[[Issuer], KeySource] = source_of,
    ) -> None:
        self.clock = clock
        self._store = store
        self._longest = max_token_bytes
        self._cache: FactCache[ForeignFacts] = FactCache(cache_size)
        self._entries: dict[str, Entry] = {}
        #: Entra with any tenant: the parts of iss before and after it.
        self._open: dict[tuple[str, str], Entry] = {}
        self._sources = {rules: self._add(rules, sources(rules)) for rules in issuers}

    def _add(self, rules: Issuer, keys: KeySource) -> KeySource:
        if rules.tenants == (ANY_TENANT,):
            prefix, _, suffix = rules.issuer.partition(TENANT)
            if (prefix, suffix) in self._open:
                raise _twice()
            self._open[prefix, suffix] = Entry(rules.issuer, rules, keys)
            return keys
        for tenant in rules.tenants or (None,):
            iss = rules.issuer if tenant is None else rules.of_tenant(tenant)
            if iss in self._entries:
                raise _twice()
            self._entries[iss] = Entry(iss, rules, keys, tenant)
        return keys

    def verify(self, token: str) -> ForeignFacts:
        """Return the facts of a token that is valid now.

        :raises TokenError: with the reason.
        :raises IssuerUnavailable: if the issuer's keys are unavailable.
        :raises StoreUnavailable: if revocation could not be checked.
        """
        if not isinstance(token, str):
            raise TokenError(Reason.INVALID)
        if len(token) > self._longest:
            raise TokenError(Reason.TOO_LARGE)
        key = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        facts, ticket = self._cache.get(key)
        is_known = facts is not None and self.is_current(facts)
        if facts is None or not is_known:
            facts = self.established(token)
        self.check(facts, self.clock())
        if not is_known and len(token) <= _LARGEST_KEPT:
            self._cache.put(key, facts, ticket)
        return facts

    @staticmethod
    def is_current(facts: ForeignFacts) -> bool:
        """Return True if the issuer still has the keys that verified the token."""
        ring = facts.keys.ring
        return ring is not None and facts.keyring is ring

    def established(self, token: str) -> ForeignFacts:
        """Check form, signature and claims, without time, revocation and cache."""
        jws = read_jws(token, max_bytes=self._longest)
        return self.established_of(jws, strict_object(jws.payload))

    def established_of(self, jws: UnverifiedJWS, claims: dict[str, Any]) -> ForeignFacts:
        """Check signature and claims of a parsed token."""
        entry = self.entry_of(claims)
        _check_header(jws.header, entry.rules)
        ring = entry.keys.ring
        key = None if ring is None else ring.find(jws.header)
        if ring is None or key is None:
            self._check_unverified(jws, claims, entry)
            key, ring = entry.keys.find(jws.header)
        if not jws.is_signed_by(key) or not _may_sign(key, entry):
            raise TokenError(Reason.INVALID)
        return facts_of_foreign(claims, entry, ring, jws.signing_input)

    def _check_unverified(self, jws: UnverifiedJWS, claims: dict[str, Any], entry: Entry) -> None:
        """Refuse a token that no key could make valid, before waiting for keys.

        The reason is not reported, as nothing in the token is verified yet.
        """
        try:
            facts = facts_of_foreign(claims, entry, None, jws.signing_input)
            check_time(facts, self.clock(), entry.rules)
        except TokenError:
            raise TokenError(Reason.INVALID) from None

    def check(self, facts: ForeignFacts, now: float) -> None:
        """Check time and revocation.

        :raises TokenError: with the reason.
        :raises StoreUnavailable: if revocation could not be checked.
        """
        if not facts.starts <= now < facts.ends:
            check_time(facts, now, facts.rules)
        if self._store is None:
            return
        marks = self._store.marks(facts.slot, facts.mark, None, facts.owner, now)
        if marks is NO_MARKS:
            return
        cut_off = marks.cut_off_of(None)
        if marks.revoked or (
            cut_off is not None and not survives(facts, cut_off, self._store.identity())
        ):
            raise TokenError(Reason.REVOKED)

    def entry_of(self, claims: Mapping[str, Any]) -> Entry:
        """Return the entry of the issuer that claims name.

        :raises TokenError: ``wrong_issuer``, if it is not configured.
        """
        iss = claims.get("iss")
        entry = self._entries.get(iss) if isinstance(iss, str) else None
        if entry is None and self._open:
            entry = self._of_any_tenant(iss, claims.get("tid"))
        if entry is None:
            raise TokenError(Reason.WRONG_ISSUER, "iss is no configured issuer")
        return entry

    def _of_any_tenant(self, iss: object, tenant: object) -> Entry | None:
        if not isinstance(tenant, str) or not is_tenant(tenant):
            return None
        for (prefix, suffix), entry in self._open.items():
            if iss == prefix + tenant + suffix:
                return entry._replace(iss=iss, tenant=tenant)
        return None

    def is_of_one(self, claims: Mapping[str, Any]) -> bool:
        """Return True if ``iss`` is that of a configured issuer, whatever else is wrong."""
        iss = claims.get("iss")
        if not isinstance(iss, str):
            return False
        return iss in self._entries or any(map(iss.startswith, (p for p, _ in self._open)))

    def facts_of_claims(self, claims: dict[str, Any]) -> ForeignFacts:
        """Return the facts of claims that were verified before; verify nothing.

        :raises TokenError: for claims that the rules of their issuer refuse.
        """
        return facts_of_foreign(claims, self.entry_of(claims), None, b"")

    def issuer_of(self, iss: str) -> Issuer | None:
        """Return the issuer configured for an ``iss``."""
        entry = self._entries.get(iss)
        return None if entry is None else entry.rules

    def states(self) -> dict[Issuer, KeyState]:
        """Return the state of each issuer's keys."""
        return {rules: keys.state() for rules, keys in self._sources.items()}

    def start(self) -> None:
        """Start fetching the keys of every issuer, before a token needs them."""
        for keys in self._sources.values():
            with suppress(TokenError, IssuerUnavailable):
                keys.find({})

    def cache_info(self) -> CacheInfo:
        """Return hits, misses, bound and size, like :func:`functools.lru_cache`."""
        return self._cache.info()

    def cache_clear(self) -> None:
        """Clear the cache of verified tokens."""
        self._cache.clear()

    def close(self) -> None:
        """End the threads that fetch keys."""
        for keys in self._sources.values():
            keys.close()


def _twice() -> ConfigError:
    return ConfigError("two Issuers have one issuer: give one of them all audiences")


def _may_sign(key: Key, entry: Entry) -> bool:
    """Return False for a key of another tenant: Entra publishes all keys in one set."""
    if entry.tenant is None or key.issuer is None or TENANT in key.issuer:
        return True
    return entry.tenant in key.issuer


def _check_header(header: Mapping[str, Any], rules: Issuer) -> None:
    alg = header.get("alg")
    if ("EdDSA" if alg == "Ed25519" else alg) not in tuple(rules.algorithms):
        raise TokenError(Reason.INVALID, "alg is not one of the issuer's")
    # RFC 8725 3.11 and RFC 7515 4.1.9: media type names, in any letter case.
    kind = header.get("typ")
    if "typ" not in header and rules.typ_optional:
        return
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in rules.typ:
        raise TokenError(Reason.WRONG_TYPE)
