"""The verifier of an app that accepts tokens of other issuers and has no key of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from flask_jam._credentials.all_tokens import AllTokens
from flask_jam._credentials.claims import Facts
from flask_jam._credentials.foreign_tokens import Issuers
from flask_jam._credentials.issuer_keys import KeyState
from flask_jam.issuers import Issuer
from flask_jam.keys import KeyRing
from flask_jam.settings import JWTSettings
from flask_jam.stores.interface import Store
from flask_jam.stores.memory import MemoryStore


class Accepting(AllTokens):
    """Verify as a :class:`~flask_jam.Jam` does, without one."""

    def __init__(
        self,
        rules: Collection[Issuer],
        clock: Callable[[], float],
        store: Store | None = None,
        **options: Any,
    ) -> None:
        issuers = Issuers(rules, clock, **options)
        jwt, kept = JWTSettings(), store or MemoryStore()
        super().__init__(KeyRing.none(), jwt, kept, clock, issuers, by_name=())

    def states(self) -> dict[Issuer, KeyState]:
        return self.issuers.states()

    def close(self) -> None:
        self.issuers.close()


def scopes_of(facts: Facts) -> tuple[str, ...]:
    return tuple(facts.flat.get("scope", "").split())


def roles_of(facts: Facts) -> tuple[str, ...]:
    return tuple(facts.fresh().get("roles", ()))
