"""The verifier of a Jam: for own tokens, those of other issuers, or both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..keys import KeyRing
from ..settings import JWTSettings, Settings
from ..stores.interface import Store
from .access_tokens import Clock, Verifier

if TYPE_CHECKING:
    from ..issuers import Issuer


def issuers_of(given: Iterable[Issuer], settings: Settings) -> tuple[Issuer, ...]:
    """Check and return the issuers of the settings and those of the argument.

    :raises ConfigError: for a value that is not a list of issuers.
    """
    if not settings.issuers and given in ((), []):
        return ()
    from ..issuers import Issuer, from_table  # noqa: PLC0415 - only who takes others' tokens

    if isinstance(given, Issuer) or not isinstance(given, Iterable):
        raise ConfigError("issuers: write a list, such as issuers=[auth0(...)]")
    found = (*settings.issuers, *given)
    return tuple(each if isinstance(each, Issuer) else from_table(each) for each in found)


def keyring_for(jwt: JWTSettings, issuers: tuple[Issuer, ...]) -> KeyRing:
    """Return the own keys. With other issuers, a missing key is not replaced by a random one."""
    return KeyRing.none() if issuers and not jwt.has_key else KeyRing.from_settings(jwt)


def verifier_for(
    keyring: KeyRing, jwt: JWTSettings, store: Store, clock: Clock, issuers: tuple[Issuer, ...]
) -> Verifier:
    """Return the verifier of the tokens that a Jam accepts.

    :raises ConfigError: if another issuer has the name of this service.
    """
    if not issuers:
        return Verifier(keyring, jwt, store, clock)
    from .all_tokens import AllTokens  # noqa: PLC0415 - as above
    from .foreign_tokens import Issuers  # noqa: PLC0415 - as above

    others = Issuers(issuers, clock)
    if others.is_of_one({"iss": jwt.issuer}):
        raise ConfigError("jwt.issuer is this service itself: no Issuer may have the same name")
    is_only = not jwt.has_key and len(issuers) == 1
    by_name = [each for each in issuers if not (each.everywhere or is_only)]
    return AllTokens(keyring, jwt, store, clock, others, by_name)
