"""What the owner of an API key may do now: a key never gives more than that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .._helpers.names import name_set, nearest
from ..errors import ConfigError, Reason, StoreUnavailable
from ..schemes.outcome import Accepted, Outcome, Rejected
from .request_user import UserAuth
from .user_loader import check_loader

#: Called with the ``Accepted`` of a key; returns ``scopes``, ``roles`` or both, or ``None``.
OwnerGrants = Callable[[Accepted], Mapping[str, Iterable[str]] | None]

#: By argument of ``create_api_key``: where the payload has it.
_CLAIMS = {"scopes": "scope", "roles": "roles"}


class GrantedAuth(UserAuth):
    """What one request has established, for an app that says what the owners of keys may do."""

    def load(self, accepted: Accepted) -> Outcome:
        """Return who is authenticated, with the user, and with no more than the owner has."""
        outcome = super().load(accepted) if self.state.loaders else accepted
        owner_grants = self.state.owner_grants.get(accepted.scheme)
        if owner_grants is None or isinstance(outcome, Rejected):
            return outcome
        try:
            granted = self._ask(outcome, owner_grants, checked_grants)
        except StoreUnavailable as error:
            return self.denied(accepted, error.reason)
        if granted is None:
            return self.denied(accepted, Reason.UNKNOWN_SUBJECT)
        _limit(outcome.payload, granted)
        return outcome


def check_owner_grants(owner_grants: object) -> None:
    """Refuse what could never say what an owner has.

    :raises ConfigError: with a sentence.
    """
    check_loader(owner_grants, "owner_grants", "a mapping or None")


def checked_grants(granted: object) -> dict[str, tuple[str, ...]] | None:
    """Return the names that an owner has, by ``scopes`` and ``roles``; None if there is no owner.

    :raises ConfigError: for another name, which would limit nothing, and for no names at all.
    """
    if granted is None:
        return None
    if not isinstance(granted, Mapping) or not granted:
        raise ConfigError(
            'owner_grants must return a mapping such as {"roles": user.roles}, or None, got '
            f"{type(granted).__name__}"
        )
    for name in granted:
        if name not in _CLAIMS:
            raise ConfigError(
                f"owner_grants returned {name!r}: it may be scopes or roles{nearest(name, _CLAIMS)}"
            )
    return {name: name_set(names, name) for name, names in granted.items()}


def _limit(payload: dict[str, Any], granted: Mapping[str, tuple[str, ...]]) -> None:
    """Leave in a payload what an owner has, too."""
    if "scopes" in granted and "scope" in payload:
        names = payload["scope"].split(" ")
        payload["scope"] = " ".join(name for name in names if name in granted["scopes"])
    if "roles" in granted and "roles" in payload:
        payload["roles"] = [name for name in payload["roles"] if name in granted["roles"]]
    for claim in _CLAIMS.values():
        if not payload.get(claim, True):
            del payload[claim]
