"""The states of own keys: pending, active, retiring, retired. They follow from timestamps alone.

So every process computes the same states. A key is *pending* until it starts to sign, so that every
process and every reader of the public keys knows it by then. It is *active* while it signs,
*retiring* while a token that it signed may be valid, and *retired* after that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from ..keys import Key, KeyRing
from ..settings import JWTSettings
from ..stores.interface import CLOCK_SKEW

#: How often a process checks the directory for changes, in seconds.
POLL = 0.75
#: How long a change may take to reach every process that reads the directory: the next check, and
#: the clock skew of two machines.
SPREAD = 1.0 + CLOCK_SKEW
#: How long readers may cache the public keys, in seconds.
JWKS_MAX_AGE = 300
#: When keys of the settings began to sign: before every key of a directory.
ALWAYS = -math.inf


class State(str, Enum):
    """The state of a key."""

    PENDING = "pending"
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Member:
    """A key of the ring with its timestamps, in seconds since the epoch."""

    kid: str
    alg: str
    #: None once it is retired: then the private half has been removed.
    key: Key | None
    created_at: float
    #: When it starts to sign.
    active_at: float
    #: When it was removed.
    retired_at: float | None = None
    #: True if it was removed early, as after a theft.
    forced: bool = False
    #: The setting that holds it; None for a key of the directory.
    setting: str | None = None

    @property
    def signs(self) -> bool:
        """Return True if it can sign."""
        return self.key is not None and self.key.private is not None


class Lives(NamedTuple):
    """The waiting times of keys, by the settings."""

    #: The longest lifetime of what a key has signed, and the setting that decides it.
    longest: float
    setting: str
    leeway: float
    #: How long readers cache the public keys; 0 if they are not published.
    max_age: float

    @classmethod
    def of(cls, jwt: JWTSettings) -> Lives:
        """Return the waiting times for the settings."""
        access = ("jwt.max_lifetime", "jwt.expire")[jwt.expire > jwt.max_lifetime]
        idle = jwt.refresh_idle <= jwt.refresh_absolute
        refresh = "jwt.refresh_idle" if idle else "jwt.refresh_absolute"
        longest, setting = max(
            (jwt.longest, access), (min(jwt.refresh_idle, jwt.refresh_absolute), refresh)
        )
        return cls(longest, setting, jwt.leeway, JWKS_MAX_AGE if jwt.jwks_path else 0.0)

    @property
    def wait(self) -> float:
        """Return the shortest time between a key's publication and its first signature."""
        return self.max_age + SPREAD

    @property
    def after(self) -> float:
        """Return how long a key must verify after its successor began to sign."""
        return SPREAD + self.longest + self.leeway


class Ring:
    """Keys in the order in which they sign, and their states at any time."""

    def __init__(self, members: Iterable[Member], lives: Lives) -> None:
        # A key of the settings may be in the directory, too: the last one counts.
        unique = {member.kid: member for member in members}
        self.members = sorted(unique.values(), key=lambda member: member.active_at)
        self.lives = lives
        self._living = [member for member in self.members if member.key is not None]
        #: When the next key of the directory begins to sign, by kid.
        self._ends: dict[str, float | None] = {}
        end = None
        for member in reversed(self._living):
            self._ends[member.kid] = end
            end = member.active_at if member.setting is None else end

    def signed_until(self, member: Member) -> float | None:
        """Return when the next key begins to sign; None if there is none."""
        return self._ends.get(member.kid)

    def retires_at(self, member: Member) -> float | None:
        """Return when everything that a key signed has expired; None without a successor."""
        end = self.signed_until(member)
        return None if end is None else end + self.lives.after

    def _is_over(self, member: Member, now: float) -> bool:
        end = self.retires_at(member)
        # A key of the settings verifies until it is removed there.
        return member.setting is None and end is not None and end <= now

    def signer(self, now: float) -> Member | None:
        """Return the key that signs: the newest that has started to.

        If none has, return the first: a clock that is behind must not stop a service.
        """
        able = [m for m in self._living if m.signs and not self._is_over(m, now)]
        due = [member for member in able if member.active_at <= now]
        return due[-1] if due else next(iter(able), None)

    def states(self, now: float) -> list[tuple[Member, State]]:
        """Return every member with its state."""
        signer = self.signer(now)
        return [(member, self._state(member, signer, now)) for member in self.members]

    def _state(self, member: Member, signer: Member | None, now: float) -> State:
        if member.key is None or self._is_over(member, now):
            return State.RETIRED
        if member is signer:
            return State.ACTIVE
        return State.PENDING if member.active_at > now else State.RETIRING

    def of(self, state: State, now: float) -> list[Member]:
        """Return the members in a state."""
        return [member for member, each in self.states(now) if each is state]

    def keyring(self, now: float) -> KeyRing:
        """Return the keys that verify now, and the one that signs."""
        kept = [m.key for m in self._living if m.key and not self._is_over(m, now)]
        if not kept:
            return EmptyRing()
        signer = self.signer(now)
        # A token without a kid is older than the ring, or of a service that has the secret.
        given = [m.key for m in self._living if m.key and m.setting is not None]
        return KeyRing(kept, signer.key if signer else None, unnamed=given)


class EmptyRing(KeyRing):
    """The ring without any key, in the directory or the settings: it refuses."""

    def __init__(self) -> None:
        self.signer = None
        self.unsigned = (
            "jwt.keyring is a directory without a key: flask jam keyring rotate makes the first one"
        )

    @property
    def keys(self) -> tuple[Key, ...]:
        """Return no key."""
        return ()

    def find(self, header: Mapping[str, Any]) -> Key | None:
        """Find no key."""
        return None

    def derive(self, purpose: str) -> tuple[bytes, ...]:
        """Derive nothing."""
        return ()


def configured(jwt: JWTSettings, keyring: KeyRing) -> Sequence[Member]:
    """Return the keys of the settings as members, the one that signs last."""
    setting = "jwt.secret_key" if jwt.secret_key else "jwt.private_key"
    if keyring.signer is None:
        setting = "jwt.public_key"
    members = []
    for key in sorted(keyring.keys, key=lambda key: key is keyring.signer):
        is_former = key is not keyring.signer and jwt.secret_key is not None
        name = "jwt.secret_key_fallbacks" if is_former else setting
        members.append(Member(key.kid, key.alg, key, ALWAYS, ALWAYS, setting=name))
    return members
