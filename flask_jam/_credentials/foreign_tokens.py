"""Tokens of other issuers: signature and claims, by the rules of their issuer.

The unverified ``iss`` chooses the rules; then algorithm and type, the key, the signature and the
claims are checked. Form, cache, time and revocation are those of every token: see
:mod:`flask_jam._credentials.all_tokens`.

A request waits for keys only if the rest of the token is right. No URL in a token is fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

from ..errors import ConfigError, IssuerUnavailable, Reason, TokenError
from ..jws import UnverifiedJWS
from ..keys import Key
from .claims import check_time
from .foreign_claims import Entry, ForeignFacts, facts_of_foreign
from .issuer import ANY_TENANT, TENANT, Issuer, is_tenant
from .issuer_keys import KeySource, KeyState, source_of

Clock = Callable[[], float]


class Issuers:
    """The configured issuers, each with its keys.

    :param sources: returns the key source of an issuer.
    :raises ConfigError: if two issuers have one ``iss``.
    """

    def __init__(
        self,
        issuers: Collection[Issuer],
        clock: Clock,
        *,
        sources: Callable[[Issuer], KeySource] = source_of,
    ) -> None:
        self.clock = clock
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
