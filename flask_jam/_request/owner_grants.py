"""Limits of API keys: a key never grants more than its owner may do now."""

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

#: The claim for each argument of ``create_api_key``.
_CLAIMS = {"scopes": "scope", "roles": "roles"}


class GrantedAuth(UserAuth):
    """The state of one request, in an app with ``owner_grants``."""

    def load(self, accepted: Accepted) -> Outcome:
        """Return the caller, with the user; a key grants no more than its owner has.

        ``load_user`` may write the owner's grants into the payload: they narrow a key, and never
        widen it.
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
    """Raise an error for a function that could never return grants.

    :raises ConfigError: if it is no function, is ``async``, or does not take one argument.
    """
    check_loader(owner_grants, "owner_grants", "a mapping or None")


def checked_grants(granted: object) -> dict[str, tuple[str, ...]] | None:
    """Return an owner's ``scopes`` and ``roles``; None if there is no such owner.

    :raises ConfigError: for another key, which would limit nothing, and for what is no mapping.
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
    """Remove from a payload what is not granted. Values that are not names are dropped."""
    found = _granted_by(payload)
    for name, claim in _CLAIMS.items():
        if claim in payload and name in granted:
            left = [each for each in found[name] if each in granted[name]]
            payload[claim] = " ".join(left) if claim == "scope" else left
            if not left:
                del payload[claim]
