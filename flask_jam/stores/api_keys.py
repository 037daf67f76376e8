"""API keys as a store keeps them, and the verbs for them. The rules of the port apply.

A key is named by its owner's slot and the id that stands in it. The store has its hash, so a dump
of the store opens nothing. What has ended stays for :data:`KEEP_ENDED` seconds, so that a key is
refused as revoked or expired, and so that a step which is repeated finds what it did.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

#: How long an ended key is still known as such, in seconds.
KEEP_ENDED = 86_400.0
#: Within so many seconds, another use of a key is not written down.
COALESCE = 60.0


@dataclass(frozen=True)
class ApiKey:
    """An API key as it is stored. Readers must not change ``data``."""

    #: Its name in the store: the owner's slot, then the id.
    key: str
    #: Whose it is: see :func:`~flask_jam.stores.interface.owner_of`.
    owner: str = field(repr=False)
    #: The hash of the key.
    digest: str = field(repr=False)
    name: str
    scopes: tuple[str, ...]
    roles: tuple[str, ...]
    created_at: float
    #: Infinite where it has no end.
    expires_at: float = math.inf
    data: Mapping[str, Any] | None = field(default=None, repr=False)
    #: The cut-off of its owner when it was created; a later one of everything ends it.
    cut_off: float = 0.0
    #: ``None`` until its first use; coalesced to a minute.
    last_used_at: float | None = None
    #: The name of the key that a rotation has put in its place.
    successor: str | None = None
    #: Revoked, cut off, or rotated without an overlap.
    is_revoked: bool = False

    @property
    def handle(self) -> str:
        """Return the handle in a list, which is not a credential."""
        return self.key[2:]

    def alive(self, now: float) -> bool:
        """Return True if it was not revoked and its end has not come."""
        return not self.is_revoked and now < self.expires_at

    def is_used_lately(self, now: float) -> bool:
        """Return True if another use of it is not worth writing down."""
        return self.last_used_at is not None and now - self.last_used_at < COALESCE


class NewKey(NamedTuple):
    """The new key of a rotation."""

    key: str
    digest: str


class KeyRotation(NamedTuple):
    """The result of a rotation; by default there is no such key."""

    #: The key that was made by this step, also when it is repeated.
    made: ApiKey | None = None
    #: The name of the one that another rotation has made, where that came first.
    reused: str | None = None
    #: Why there was nothing to rotate: it was there, and has ended.
    is_revoked: bool = False
    is_expired: bool = False


class ApiKeyPage(NamedTuple):
    """The result of one step of a walk through an owner's API keys."""

    #: The living ones, the oldest first.
    living: Sequence[ApiKey] = ()
    #: Where the next step begins; ``None`` at the end of the walk.
    after: str | None = None


class ApiKeyStore(Protocol):
    """The methods of a store for API keys.

    A later cut-off of everything ends keys, that of logins does not. A store keeps a cut-off for
    as long as any key may live that it has ended: keys may have no end.
    """

    def create_api_key(self, api_key: ApiKey) -> bool:
        """Keep a new key; ``False`` if a cut-off is later than its own, or if it was ended since.

        A repetition changes nothing, and answers the same.
        """
        ...

    def read_api_key(self, key: str, digest: str, now: float) -> ApiKey | None:
        """Return a key, also one that has ended; ``None`` for what is unknown.

        If it lives and ``digest`` is its own, its last use is ``now`` from this step on, unless it
        was used within :data:`COALESCE` seconds. Nothing else is written, and never a key made.
        The caller compares digest and ends.
        """
        ...

    def list_api_keys(self, slot: str, owner: str, now: float, after: str = "") -> ApiKeyPage:
        """Look at the next ``STEP`` keys of an owner, by age; remove the dead of them.

        A walk, as :meth:`~flask_jam.stores.Store.list_sessions` is one.
        """
        ...

    def rotate_api_key(
        self, key: str, owner: str, new: NewKey, now: float, overlap: float
    ) -> KeyRotation:
        """Put a new key in the place of a living one of this owner, once.

        The new one is made of the old one, its end included. The old one ends ``overlap`` seconds
        from now, if not sooner, and with 0 in this step. The same step with the same ``new`` gets
        the same answer again: its reply was lost.
        """
        ...

    def end_api_key(self, key: str, owner: str, now: float, attempt: str) -> bool:
        """End a key of this owner; ``True`` if it was alive.

        The same step with the same ``attempt`` gets the same answer again.
        """
        ...
