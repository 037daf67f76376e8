"""The store interface: few verbs, each one atomic step.

Rules for every verb of every store:

- It happens whole or not at all, also under threads and processes.
- It may be repeated when its reply was lost: the second time changes nothing more,
  but that a cut-off may move by a microsecond.
- "Not there" is an ordinary answer. "I could not ask" is
  :class:`~flask_jam.errors.StoreUnavailable`, and never anything else.
- Nothing revives: a verb that changes something changes only what is still there and alive.
- ``now`` and every end are seconds since the epoch. What has ended is not there.
  Only a grace is counted by the clock of the store itself, which is ``now`` if it has none.
- No store sees a credential: ids arrive hashed, refresh tokens not at all.
- Whatever belongs to one subject has one *slot*, :func:`slot_of` it: two letters with which the
  names of its sessions, families and tickets begin. A store on many machines keeps a slot
  together, so that a verb finds in one of them all that it needs.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, NamedTuple, Protocol

from .api_keys import ApiKeyStore
from .ticket_verbs import TicketStore

#: Stands between an issuer and a subject. No subject and no issuer holds a lone surrogate.
BETWEEN = "\udcff"


def owner_of(subject: str, issuer: str | None = None) -> str:
    """Return the owner: the opaque name of a subject in the store.

    A subject of this service is its own name. One of another issuer has the issuer in front, so
    that equal subjects of two issuers are two owners.
    """
    return subject if issuer is None else f"{issuer}{BETWEEN}{subject}"


def split_owner(owner: str) -> tuple[str, str | None]:
    """Return the subject and the issuer of an owner; the issuer is ``None`` for this service."""
    issuer, between, subject = owner.rpartition(BETWEEN)
    return subject, issuer if between else None


def slot_of(owner: str) -> str:
    """Return the slot of an owner, one of 4,096."""
    digest = hashlib.sha256(b"flask_jam slot\0" + owner.encode("utf-8", "surrogatepass"))
    return base64.urlsafe_b64encode(digest.digest()[:3])[:2].decode()


class Kind(str, Enum):
    """The kind of a revocation mark."""

    TOKEN = "token"  # noqa: S105 - a kind, not a secret
    FAMILY = "family"


#: The clocks of two machines may be 5 s apart, so a timestamp may lie twice that ahead, in seconds.
CLOCK_SKEW = 10.0


class Marks(NamedTuple):
    """The marks of one access token: revocations, cutoffs and the allow list."""

    #: This token, or its refresh family, was revoked.
    revoked: bool = False
    #: What was minted for the subject under an earlier cut-off is revoked.
    cut_off: float | None = None
    #: The token is on the allow list.
    allowed: bool = False
    #: The same of the subject's logins only: of tokens that are of a refresh family.
    logins: float | None = None

    def cut_off_of(self, family: str | None) -> float | None:
        """Return the cut-off that counts for a token of this family, or of none."""
        if family is None or self.logins is None:
            return self.cut_off
        return self.logins if self.cut_off is None else max(self.cut_off, self.logins)


#: The marks of almost every token.
NO_MARKS = Marks()


class Standing(NamedTuple):
    """The cutoffs under which a login begins; 0 for none."""

    #: Of everything that the subject has.
    cut_off: float = 0.0
    #: Of its sessions: when they were cleared. It ends those from before, and logins on their way.
    cleared: float = 0.0
    #: Of its logins: sessions and refresh families.
    logins: float = 0.0

    @property
    def latest(self) -> float:
        """What carries this was minted after both cut-offs: they grow out of each other."""
        return max(self.cut_off, self.logins)


#: The most sessions or families that one step looks at or ends. So nothing that one owner has
#: keeps a store from answering the others.
STEP = 100


class Limits(NamedTuple):
    """Expiries by the current settings. Of a stored end and this one, the earlier counts.

    So settings that are tightened reach what is stored, and settings that are loosened do not.
    """

    #: Seconds without use.
    idle: float = math.inf
    #: Seconds from the login.
    absolute: float = math.inf
    #: The same of a session that is remembered.
    remember_idle: float = math.inf
    remember_absolute: float = math.inf

    def for_remembered(self) -> Limits:
        """Return the limits of a session that is remembered."""
        return Limits(self.remember_idle, self.remember_absolute)

    def end(self, started_at: float, ends_at: float) -> float:
        """Return the absolute end that counts."""
        return min(ends_at, started_at + self.absolute)


#: Only the stored ends count.
NO_LIMITS = Limits()

#: How long a session that was reworked can be had again with its old id, in seconds.
REWORK_GRACE = 10.0


class Rotation(str, Enum):
    """The result of presenting a refresh token."""

    NEW = "new"  # it was the current one: there is a successor now
    SAME = "same"  # it was the one just before, within the grace: the same successor again
    REUSED = "reused"  # it was older: the family is dead from now on
    REVOKED = "revoked"
    GONE = "gone"  # ended, or never heard of


@dataclass(frozen=True)
class Family:
    """A refresh family: one login, and what its next access token says."""

    subject: str = field(repr=False)
    claims: Mapping[str, Any] = field(repr=False)
    started_at: float
    ends_at: float
    generation: int = 1
    rotated_at: float = 0.0
    idle_until: float = 0.0
    #: The latest cut-off of its subject when it was started; a later one ends it.
    cut_off: float = 0.0
    #: Seconds from the last rotation to this reading, by the store's own clock.
    age: float = field(default=0.0, compare=False)
    user_agent: str | None = field(default=None, repr=False)
    ip: str | None = field(default=None, repr=False)

    def within(self, limits: Limits) -> Family:
        """Return a copy with the effective expiries."""
        ends_at = limits.end(self.started_at, self.ends_at)
        idle_until = min(self.idle_until, self.rotated_at + limits.idle)
        if (ends_at, idle_until) == (self.ends_at, self.idle_until):
            return self
        return replace(self, ends_at=ends_at, idle_until=idle_until)

    def answer(self, generation: int, grace: float) -> Rotation:
        """Return what an active family answers to a presented generation."""
        if generation == self.generation:
            return Rotation.NEW
        if generation > self.generation:
            return Rotation.GONE
        before = generation == self.generation - 1
        in_grace = grace > 0 and is_in_grace(self.age, grace)
        return Rotation.SAME if before and in_grace else Rotation.REUSED

    @property
    def expires_at(self) -> float:
        """Return when it expires if it is not used again."""
        return min(self.ends_at, self.idle_until)

    def alive(self, now: float) -> bool:
        """Return True if neither its idle nor its absolute expiry has passed."""
        return now < self.expires_at


@dataclass(frozen=True)
class Session:
    """A session as it is stored. Readers must not change ``data``."""

    session_key: str = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)
    created_at: float
    auth_time: float
    last_seen_at: float
    idle: float
    ends_at: float
    user_agent: str | None = field(default=None, repr=False)
    ip: str | None = field(default=None, repr=False)
    #: The latest cut-off of its owner when it was created; a later one ends it.
    cut_off: float = 0.0
    #: When its owner's sessions had been cleared at that time; a later clearing ends it.
    cleared: float = field(default=0.0, compare=False)
    #: True for a login that is remembered, with limits of its own. False for one that ends with
    #: the browser, None for one whose cookie is kept: of these two the store makes no difference.
    remember: bool | None = None

    def within(self, limits: Limits) -> Session:
        """Return a copy with the effective expiries."""
        if self.remember:
            limits = limits.for_remembered()
        # At each read of a session in memory: nothing is called in the usual case.
        if self.idle <= limits.idle and self.ends_at <= self.created_at + limits.absolute:
            return self
        ends_at = limits.end(self.created_at, self.ends_at)
        return replace(self, idle=min(self.idle, limits.idle), ends_at=ends_at)

    @property
    def expires_at(self) -> float:
        """Return when it expires if it is not used again."""
        return min(self.last_seen_at + self.idle, self.ends_at)

    @property
    def slide_after(self) -> float:
        """Return how long after a use the next one is recorded, in seconds."""
        return min(60.0, self.idle / 10)

    def seen(self, now: float) -> Session:
        """Return a copy used now: coalesced, so that not every request writes."""
        if now - self.last_seen_at < self.slide_after:
            return self
        return replace(self, last_seen_at=now)


class Reworked(NamedTuple):
    """A session under its new id."""

    #: What the new id is made of, together with the old one.
    seed: str
    session: Session


def is_in_grace(age: float, grace: float) -> bool:
    """Return True for an age that a grace covers, also where a server's clock was set back."""
    return -CLOCK_SKEW <= age <= grace


class Listed(NamedTuple):
    """A living session or family as a list shows it: without data and claims."""

    key: str
    created_at: float
    last_seen_at: float
    expires_at: float
    user_agent: str | None = None
    ip: str | None = None

    @classmethod
    def of(cls, key: str, session: Session) -> Listed:
        """Return what a list shows of a session."""
        return cls(
            key,
            session.created_at,
            session.last_seen_at,
            session.expires_at,
            session.user_agent,
            session.ip,
        )

    @classmethod
    def of_family(cls, family_id: str, family: Family) -> Listed:
        """Return what a list shows of a family. It is used by a refresh."""
        return cls(
            family_id,
            family.started_at,
            family.rotated_at,
            family.expires_at,
            family.user_agent,
            family.ip,
        )


#: The most characters that are kept of where a login came from.
USER_AGENT, IP = 256, 64


def shortened(text: str | None, most: int) -> str | None:
    """Return the beginning of what a client or a proxy says; None for nothing."""
    return text[:most] if text else None


class Page(NamedTuple):
    """The result of one step of a walk through an owner's sessions or families."""

    #: The living ones, the oldest first.
    living: Sequence[Listed] = ()
    #: Where the next step begins; ``None`` at the end of the walk.
    after: str | None = None
    #: How many this step removed that had been alive until their owner's sessions were cleared,
    #: or its logins ended.
    cleared: int = 0


class Store(ApiKeyStore, TicketStore, Protocol):
    """The methods of a store that :class:`~flask_jam.Jam` calls."""

    # --- revocation marks, the allow list ---

    def marks(
        self, slot: str, jti: str | None, family: str | None, subject: str | None, now: float
    ) -> Marks:
        """Return the marks of one token, in one round trip."""
        ...

    def mark(self, slot: str, kind: Kind, name: str, at: float, until: float) -> None:
        """Revoke. Of two marks of one name the later ``at`` and the later ``until`` stand."""
        ...

    def identity(self) -> str:
        """Return a name that no other store has, and that all processes of this one share.

        Cut-offs of two stores cannot be compared, so what carries one says whose it is.
        """
        ...

    def standing(self, slot: str, subject: str, now: float) -> Standing:
        """Return the cut-offs of a subject as the store has them, never from a cache.

        Also of one whose ``until`` has come, while it is there: the clocks of two machines may
        differ. What is minted for the subject carries them. So clocks are never compared: what
        carries an
        earlier cut-off than the store has was minted before it, on whatever machine.
        """
        ...

    def cut(self, slot: str, subject: str, now: float, until: float) -> None:
        """End everything of a subject: set a cut-off that is later than the one before it.

        It is ``now``, or just after the present cut-off where that is later, and is kept until
        ``until``.
        """
        ...

    def cut_logins(self, slot: str, subject: str, now: float, until: float) -> None:
        """End every session and refresh family of a subject, and the access tokens of these.

        A cut-off like that of :meth:`cut`, and later than both kinds of before; so is the next
        one of :meth:`cut`. What was minted for the subject without a login lives on.
        """
        ...

    def allow(self, slot: str, jti: str, now: float, until: float) -> None:
        """Put a token on the allow list."""
        ...

    # --- refresh families, by an id that begins with the slot ---

    def start_family(
        self, family_id: str, family: Family, most: int = 0, mark_until: float = 0.0
    ) -> None:
        """Keep a new family, and end the oldest of its subject so that ``most`` are alive.

        One step ends at most :data:`STEP`: the next ones catch up. What is ended is marked until
        ``mark_until``, as :meth:`end_family` does. 0 is no bound.
        """
        ...

    def read_family(self, family_id: str, now: float, limits: Limits = NO_LIMITS) -> Family | None:
        """Return the family, or ``None`` if it has ended, was revoked or never existed.

        Its ends are those that count, and its ``age`` is that of this moment.
        """
        ...

    def rotate_family(  # noqa: PLR0913 - one atomic step needs all of it
        self,
        family_id: str,
        generation: int,
        *,
        now: float,
        grace: float,
        idle: float,
        claims: Mapping[str, Any] | None,
        mark_until: float,
        absolute: float = math.inf,
    ) -> tuple[Rotation, Family | None]:
        """Present a generation.

        The current one turns the family. The one just before, up to ``grace`` seconds after the
        turn, gets what the turn made. Both store ``claims`` if there are any. An older one ends
        the family and marks it until ``mark_until``. Of an ended family nothing is alarming.

        ``idle`` and ``absolute`` are :class:`Limits` of the family, and ``idle`` is how long it
        lives from a turn on. The seconds after a turn are counted by the store's own clock: a
        step that hung on its way here has the ``now`` of when it was sent.
        """
        ...

    def end_family(self, family_id: str, now: float, mark_until: float) -> Family | None:
        """End and mark a family; return it if it was active."""
        ...

    def list_families(  # noqa: PLR0913, PLR0917 - one atomic step needs all of it
        self,
        slot: str,
        subject: str,
        now: float,
        mark_until: float,
        after: str = "",
        limits: Limits = NO_LIMITS,
    ) -> Page:
        """Look at the next :data:`STEP` families of a subject, by age; remove the dead of them.

        A walk, as :meth:`list_sessions` is one. Those that :meth:`cut_logins` has ended are marked
        until ``mark_until``, as :meth:`end_family` does.
        """
        ...

    # --- sessions, by the slot and the hash of their id ---

    def create_session(self, key: str, session: Session, most: int = 0) -> bool:
        """Keep a new session; ``False`` if a cut-off or a clearing is later than its own.

        In the same step, end the oldest of its owner so that ``most`` are alive, and at most
        :data:`STEP`: the next ones catch up. Never the new one. 0 is no bound.
        """
        ...

    def read_session(self, key: str, now: float, limits: Limits = NO_LIMITS) -> Session | None:
        """Return the session and note its use; one that has just expired is returned and removed.

        Its ends are those that count. The caller compares ``expires_at``: so "expired" can be
        told from "unknown" once.
        """
        ...

    def update_session(
        self,
        key: str,
        changes: Mapping[str, Any],
        now: float,
        max_bytes: int,
        limits: Limits = NO_LIMITS,
    ) -> bool:
        """Merge top-level keys; return ``False`` if the session has ended.

        :raises SessionError: ``too_large``; nothing is changed then.
        """
        ...

    def rework_session(  # noqa: PLR0913, PLR0917 - one atomic step needs all of it
        self,
        key: str,
        new_key: str,
        seed: str,
        now: float,
        limits: Limits = NO_LIMITS,
        grace: float = REWORK_GRACE,
    ) -> Reworked | None:
        """Move a session from ``key`` to ``new_key``; return ``None`` if it has ended.

        ``key`` opens nothing from this step on. For ``grace`` seconds by the store's own clock,
        the same step with the same ``key`` gets what the first one got: its seed, and the session
        where that put it. That is over with the first verb that is given ``new_key``, and with
        the session itself: a store that keeps sessions near it must not answer for ``new_key``
        before that is durable. A deletion of ``key`` within that time deletes the session.

        The seed is from the caller, who makes the new id of it and of the old id. The store
        knows neither, so what it holds is worth nothing to an attacker who reads it.
        """
        ...

    def delete_session(self, key: str, now: float, limits: Limits = NO_LIMITS) -> str | None:
        """Remove a session, or the reworked one that this key still names; return its owner.

        ``None`` when none was alive.
        """
        ...

    def clear_sessions(  # noqa: PLR0913, PLR0917 - one atomic step needs all of it
        self,
        slot: str,
        session_key: str,
        now: float,
        until: float,
        keep: str | None = None,
        limits: Limits = NO_LIMITS,
    ) -> Page:
        """End every session of one owner but the one at ``keep``, in one step.

        The step sets a clearing that is later than the one before it, kept until ``until``: a
        session that carries an earlier one is dead from then on, also one that is still on its
        way here (see :class:`Standing`). The one at ``keep`` carries it from this step on.
        Then it removes the dead of the first page; a walk of :meth:`list_sessions` from its
        ``after`` on removes the rest.
        """
        ...

    def list_sessions(
        self,
        slot: str,
        session_key: str,
        now: float,
        after: str = "",
        limits: Limits = NO_LIMITS,
    ) -> Page:
        """Look at the next :data:`STEP` sessions of one owner, by age; remove the dead of them.

        A walk meets each session that lives from its first step to its last.
        """
        ...
