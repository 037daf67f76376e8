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
    """What one request has established, for an app that knows the owners of API keys."""

    def load(self, accepted: Accepted) -> Outcome:
        """Return who is authenticated, with the user; a key gives no more than its owner has.

        ``load_user`` may write into the payload what the owner has: it narrows a key, and never
        widens it.
        """
        if accepted.scheme not in self.state.owner_grants:
            return super().load(accepted) if self.state.loaders else accepted
        own = _granted_by(accepted.payload)
        outcome = super().load(accepted) if self.state.loaders else accepted
        if isinstance(outcome, Rejected):
            return outcome
        _limit(outcome.payload, own)
        owner_grants = self.state.owner_grants[accepted.scheme]
        return outcome if owner_grants is None else self._limited(outcome, owner_grants)

    def _limited(self, accepted: Accepted, owner_grants: OwnerGrants) -> Outcome:
        try:
            granted = self._ask(accepted, owner_grants, checked_grants)
        except StoreUnavailable as error:
            return self.denied(accepted, error.reason)
        if granted is None:
            return self.denied(accepted, Reason.UNKNOWN_SUBJECT)
        _limit(accepted.payload, granted)
        return accepted


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


def _granted_by(payload: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the names in a payload, by ``scopes`` and ``roles``."""
    scope, roles = payload.get("scope"), payload.get("roles")
    return {
        "scopes": tuple(scope.split(" ")) if isinstance(scope, str) else (),
        "roles": tuple(roles) if isinstance(roles, list) else (),
    }


def _limit(payload: dict[str, Any], granted: Mapping[str, tuple[str, ...]]) -> None:
    """Leave in a payload what is granted, too. What has another form than names is dropped."""
    found = _granted_by(payload)
    for name, claim in _CLAIMS.items():
        if claim in payload and name in granted:
            left = [each for each in found[name] if each in granted[name]]
            payload[claim] = " ".join(left) if claim == "scope" else left
            if not left:
                del payload[claim]
