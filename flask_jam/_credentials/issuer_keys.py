"""The keys of one issuer: given, or fetched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from ..errors import Reason, TokenError
from ..keys import Key, KeyRing
from .issuer import Issuer


class KeyState(NamedTuple):
    """What is known of an issuer's keys, for operators."""

    #: Where they come from; None where they are in the configuration.
    url: str | None = None
    #: Their ``kid``; empty if there are none yet.
    kids: tuple[str, ...] = ()
    #: Seconds since they were fetched; None if they never were.
    age: float | None = None
    #: Attempts that have failed since the last good one.
    failures: int = 0
    #: Why the last attempt failed.
    error: str | None = None


class KeySource(Protocol):
    """Where the keys of one issuer come from."""

    @property
    def ring(self) -> KeyRing | None:
        """The keys that verify now; None asks :meth:`find` to look."""
        ...

    def find(self, header: Mapping[str, Any]) -> tuple[Key, KeyRing]:
        """Return the key that a header names, and the ring that it is of.

        :raises TokenError: ``invalid``, if there is none.
        :raises IssuerUnavailable: if the keys cannot be had now.
        """
        ...

    def state(self) -> KeyState:
        """Return what operators may know."""
        ...

    def close(self) -> None:
        """End what runs for it."""
        ...


class GivenKeys:
    """Keys of the configuration."""

    def __init__(self, ring: KeyRing) -> None:
        self.ring: KeyRing = ring

    def find(self, header: Mapping[str, Any]) -> tuple[Key, KeyRing]:
        """See :class:`KeySource`."""
        key = self.ring.find(header)
        if key is None:
            raise TokenError(Reason.INVALID)
        return key, self.ring

    def state(self) -> KeyState:
        """See :class:`KeySource`."""
        return KeyState(kids=self.ring.kids)

    def close(self) -> None:
        """See :class:`KeySource`."""


def source_of(issuer: Issuer) -> KeySource:
    """Return the source of an issuer's keys. Nothing is fetched before it is asked."""
    ring = issuer.static_keys()
    if ring is None:
        raise NotImplementedError
    return GivenKeys(ring)
