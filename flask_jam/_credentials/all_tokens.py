"""Own tokens and those of other issuers, told apart by ``iss`` and verified by one verifier.

Only the unverified ``iss`` chooses the rules, so no token is tried under those of two issuers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .._helpers.strict_json import strict_object
from ..errors import Reason, TokenError
from ..jws import read_jws
from ..keys import KeyRing
from ..settings import JWTSettings
from ..stores.interface import CLOCK_SKEW, Store
from .access_tokens import Clock, Verifier, check_type
from .claims import Facts, facts_of, json_of
from .foreign_claims import ForeignFacts
from .foreign_tokens import Issuers
from .issuer import Issuer
from .issuer_names import is_named, names_of


class AllTokens(Verifier):
    """Verify own tokens and those of other issuers.

    :param by_name: issuers whose tokens are accepted only by guards that name them.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what the own verifier has, too
        self,
        keyring: KeyRing,
        settings: JWTSettings,
        store: Store,
        clock: Clock,
        issuers: Issuers,
        by_name: Collection[Issuer],
    ) -> None:
        super().__init__(keyring, settings, store, clock)
        self.issuers = issuers
        self._by_name = frozenset(by_name)

    @property
    def longest_life(self) -> float:
        """How long a token may be taken after it was issued, in seconds."""
        others = (each.longest + 2 * (each.leeway + CLOCK_SKEW) for each in self.issuers.states())
        return max(super().longest_life, *others)

    @property
    def has_own_key(self) -> bool:
        """Return True if this service has a key, so that it has tokens of its own."""
        return self._settings.has_key

    @property
    def takes_plain(self) -> bool:
        """Return True if there are tokens that a plain guard accepts."""
        others = set(self.issuers.states()) - self._by_name
        return bool(others) or self.has_own_key

    def is_taken(self, rules: Any, names: Collection[str]) -> bool:
        """Return True if a guard with these issuers, or none, accepts tokens under ``rules``."""
        if not names:
            return not self.is_by_name(rules)
        own = names_of(rules)
        return any(is_named(iss, name) or is_named(name, iss) for iss in own for name in names)

    def is_by_name(self, rules: Issuer) -> bool:
        """Return True for an issuer whose tokens are accepted only by guards that name it."""
        return rules in self._by_name

    def established(self, token: str) -> Facts:
        """Check form, signature and claims, without time, revocation and cache."""
        jws = read_jws(token, max_bytes=self._longest)
        claims = strict_object(jws.payload)
        if self.issuers.is_of_one(claims):
            return self._as_facts(self.issuers.established_of(jws, claims))
        if not self.has_own_key:
            raise TokenError(Reason.WRONG_ISSUER, "iss is no configured issuer")
        keyring = self._keyring
        key = keyring.find(jws.header)
        if key is None or not jws.is_signed_by(key):
            raise TokenError(Reason.INVALID)
        check_type(jws.header)
        return facts_of(claims, self._settings, keyring)

    def of_claims(self, claims: Mapping[str, Any]) -> Facts:
        """Return the facts of claims that were verified before, expired or not.

        :raises TokenError: for claims of another issuer that do not identify a token.
        """
        said = strict_object(json_of(claims))
        if not self.issuers.is_of_one(said):
            return super().of_claims(claims)
        facts = self.issuers.facts_of_claims(said)
        if facts.jti is None:
            raise TokenError(
                Reason.INVALID,
                "these claims do not identify a token, as their issuer sets no id: pass the token "
                "itself, or current_auth()",
            )
        return self._as_facts(facts)

    def check_own(self, claims: Mapping[str, Any]) -> None:
        """Raise an error for claims in the name of another issuer.

        :raises TokenError: ``wrong_issuer``.
        """
        if self.issuers.is_of_one(claims):
            raise TokenError(Reason.WRONG_ISSUER, "iss is the name of another issuer")

    def _as_facts(self, foreign: ForeignFacts) -> Facts:
        flat = mapped(foreign)
        return Facts(
            flat=flat,
            nested=tuple((k, v) for k, v in flat.items() if isinstance(v, (dict, list))),
            keyring=foreign.keyring,
            exp=foreign.exp,
            nbf=foreign.nbf,
            iat=foreign.iat,
            jti=foreign.jti,
            sub=foreign.sub,
            family=None,
            slot=foreign.slot,
            cut_off=None,
            starts=foreign.starts,
            ends=foreign.ends,
            auth_time=foreign.auth_time,
            issuer=foreign.iss,
            owner=foreign.owner,
            mark=foreign.mark,
            keys=foreign.keys,
            periods=foreign.rules,
            by_name=foreign.rules in self._by_name,
        )


def mapped(foreign: ForeignFacts) -> dict[str, Any]:
    """Return the claims with ``scope`` and ``roles`` as derived by the issuer's rules.

    Guards and policies read these two names. The issuer's own values under them count only if its
    rules say so.
    """
    flat = {name: each for name, each in foreign.flat.items() if name not in ("scope", "roles")}
    scopes = foreign.scopes
    # A name with a space would be read as two.
    if scopes and all(name and not set(name) & set(" \t\r\n") for name in scopes):
        flat["scope"] = " ".join(scopes)
    if foreign.roles:
        flat["roles"] = list(foreign.roles)
    return flat
