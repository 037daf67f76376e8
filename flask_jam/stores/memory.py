"""A store in this process's memory: for tests, development and small apps.

Another process sees nothing of it, and it ends with the process: a site with several workers
needs a store that they share.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from .._helpers.fork_lock import fork_safe_lock
from .._helpers.owned import OwnerIndex
from .._helpers.strict_json import strict_dumps
from ..errors import Reason, SessionError
from ._memory_api_keys import MemoryApiKeys
from .interface import (
    NO_LIMITS,
    NO_MARKS,
    REWORK_GRACE,
    STEP,
    Family,
    Kind,
    Limits,
    Listed,
    Marks,
    Page,
    Reworked,
    Rotation,
    Session,
    Standing,
    is_in_grace,
)
from .memory_tickets import MemoryTickets


class _Successor(NamedTuple):
    """Where a reworked session is, whose new id was not used yet."""

    key: str
    seed: str
    at: float
    grace: float


class _Read(NamedTuple):
    """A session that was read: until then, another read by the same limits changes nothing."""

    stored: Session
    limits: Limits
    session: Session
    until: float


class _CutOff(NamedTuple):
    """The cut-offs of a subject: of everything, and of its logins."""

    at: float
    until: float
    logins: float

    @property
    def latest(self) -> float:
        return max(self.at, self.logins)


_NO_CUT_OFF = _CutOff(0.0, 0.0, 0.0)


class MemoryStore(MemoryApiKeys, MemoryTickets):
    """Dictionaries under one lock. What has ended is swept out as writes come in."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = fork_safe_lock()
        self._identity = secrets.token_hex(8)
        # Revocation marks, a table each: the hash of an Enum would be a Python call per look-up.
        self._tokens: dict[str, tuple[float, float]] = {}
        self._logins: dict[str, tuple[float, float]] = {}
        self._subjects: dict[str, _CutOff] = {}
        self._cleared: dict[str, tuple[float, float]] = {}
        self._allowed: dict[str, float] = {}
        self._families: dict[str, Family] = {}
        self._sessions: dict[str, Session] = {}
        self._read: dict[str, _Read] = {}
        self._family_index, self._session_index = OwnerIndex(), OwnerIndex()
        # By old key, and back. Both entries end with the first use of the new key.
        self._successors: dict[str, _Successor] = {}
        self._reworked: dict[str, str] = {}
        self._sweep_at = 1024

    def stats(self) -> dict[str, dict[str, Any]]:
        """Return how much is kept, for :meth:`flask_jam.Jam.stats`."""
        marks = len(self._tokens) + len(self._logins) + len(self._subjects) + len(self._cleared)
        kept = {
            "sessions": len(self._sessions),
            "families": len(self._families),
            "api_keys": len(self._api_keys),
            "marks": marks,
        }
        return {"store": {"kind": "memory", **kept}}

    # --- revocation marks, the allow list ---

    def marks(
        self, slot: str, jti: str | None, family: str | None, subject: str | None, now: float
    ) -> Marks:
        """See :class:`~flask_jam.stores.Store`. Single reads of a dict need no lock."""
        if (
            jti not in self._tokens
            and family not in self._logins
            and subject not in self._subjects
            and jti not in self._allowed
        ):
            return NO_MARKS
        token, login = self._marked(Kind.TOKEN, jti, now), self._marked(Kind.FAMILY, family, now)
        cut_off = self._cut_off(subject, now)
        allowed = jti is not None and self._allowed.get(jti, now) > now
        revoked = token is not None or login is not None
        return Marks(revoked, cut_off.at or None, allowed, cut_off.logins or None)

    def _table(self, kind: Kind) -> dict[str, tuple[float, float]]:
        return self._tokens if kind is Kind.TOKEN else self._logins

    def _marked(self, kind: Kind, name: str | None, now: float) -> float | None:
        at, until = self._table(kind).get(name or "", (None, 0.0))
        return at if until > now else None

    def mark(self, slot: str, kind: Kind, name: str, at: float, until: float) -> None:
        """See :class:`~flask_jam.stores.Store`."""
        with self._lock:
            self._mark(kind, name, at, until)
            self._sweep(at)

    def standing(self, slot: str, subject: str, now: float) -> Standing:
        """See :class:`~flask_jam.stores.Store`."""
        with self._lock:
            cut_off = self._subjects.get(subject, _NO_CUT_OFF)
            cleared, _ = self._cleared.get(subject, (0.0, 0.0))
            return Standing(cut_off.at, cleared, cut_off.logins)

    def identity(self) -> str:
        """See :class:`~flask_jam.stores.Store`."""
        return self._identity

    def _cut_off_at(self, owner: str, now: float) -> float:
        return self._cut_off(owner, now).at

    def _cleared_at(self, owner: str, now: float) -> float:
        at, until = self._cleared.get(owner, (0.0, 0.0))
        return at if until > now else 0.0

    def _cut_off(self, subject: str | None, now: float) -> _CutOff:
        cut_off = self._subjects.get(subject or "", _NO_CUT_OFF)
        return cut_off if cut_off.until > now else _NO_CUT_OFF

    def cut(self, slot: str, subject: str, now: float, until: float) -> None:
        """See :class:`~flask_jam.stores.Store`."""
        with self._lock:
            # Some of its API keys may have no end, and must not come back with the end of this.
            until = max(until, self._api_key_index.last_end(subject))
            at, until = self._grown(subject, now, until)
            self._subjects[subject] = self._cut_off(subject, 0.0)._replace(at=at, until=until)
            self._sweep(now)

    def cut_logins(self, slot: str, subject: str, now: float, until: float) -> None:
        """See :class:`~flask_jam.stores.Store`."""
        with self._lock:
            at, until = self._grown(subject, now, until)
            self._subjects[subject] = self._cut_off(subject, 0.0)._replace(logins=at, until=until)
            self._sweep(now)

    def _grown(self, subject: str, now: float, until: float) -> tuple[float, float]:
        old = self._cut_off(subject, 0.0)
        return _later(old.latest, now), max(until, old.until)

    def _mark(self, kind: Kind, name: str, at: float, until: float) -> None:
        old_at, old_until = self._table(kind).get(name, (at, until))
        self._table(kind)[name] = (max(at, old_at), max(until, old_until))

    def allow(self, slot: str, jti: str, now: float, until: float) -> None:
        """See :class:`~flask_jam.stores.Store`."""
        with self._lock:
            self._allowed[jti] = until
            self._sweep(now)

    # --- refresh families ---

    def start_family(
        self, family_id: str, family: Family, most: int = 0, mark_until: float = 0.0
    ) -> None:
        """See :class:`~flask_jam.stores.Store`."""
        with self._lock:
            now = family.started_at
            self._put_family(family_id, family)
            for old in self._excess_families(family.subject, family_id, most, now):
                self._end_family(old, now, mark_until)
            self._sweep(now)

    def _put_family(self, family_id: str, family: Family) -> None:
        self._families[family_id] = family
        end = min(family.ends_at, family.idle_until)
        self._family_index.put(family.subject, family_id, family.started_at, end)

    def _pop_family(self, family_id: str) -> None:
        family = self._families.pop(family_id, None)
        if family is not None:
            self._family_index.drop(family.subject, family_id)

    def _excess_families(self, subject: str, new: str, most: int, now: float) -> list[str]:
        """Return the oldest of a subject that are more than ``most``, without what has ended."""
        ended = self._family_index.due(subject, now, STEP)
        for family_id in ended:
            self._pop_family(family_id)
        return self._family_index.excess(subject, new, most, STEP - len(ended))

    def read_family(self, family_id: str, now: float, limits: Limits = NO_LIMITS) -> Family | None:
        """See :class:`~flask_jam.stores.Store`."""
        with self._lock:
            return self._living_family(family_id, now, limits)

    def _living_family(
        self, family_id: str, now: float, limits: Limits = NO_LIMITS
    ) -> Family | None:
        stored = self._families.get(family_id)
        family = None if stored is None else stored.within(limits)
        if family is None or not family.alive(now):
            return None
        if family.cut_off < self._cut_off(family.subject, now).latest:
            return None
        return replace(family, age=now - family.rotated_at)

    def rotate_family(  # noqa: PLR0913 - the port's
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
        """See :class:`~flask_jam.stores.Store`."""
        limits = Limits(idle, absolute)
        with self._lock:
            family = self._living_family(family_id, now, limits)
            if family is None:
                return self._why_no_family(family_id, now, limits), None
            answer = family.answer(generation, grace)
            if answer is Rotation.REUSED:
                self._end_family(family_id, now, mark_until)
            elif answer is not Rotation.GONE:
                stored = _rotated(self._families[family_id], answer, now, idle, claims)
                self._put_family(family_id, stored)
                family = stored.within(limits)
            return answer, None if answer is Rotation.GONE else family

    def _why_no_family(self, family_id: str, now: float, limits: Limits) -> Rotation:
        if self._marked(Kind.FAMILY, family_id, now) is not None:
            return Rotation.REVOKED
        family = self._families.get(family_id)
        is_alive = family is not None and family.within(limits).alive(now)
        return Rotation.REVOKED if is_alive else Rotation.GONE

    def end_family(self, family_id: str, now: float, mark_until: float) -> Family | None:
        """See :class:`~flask_jam.stores.Store`."""
        with self._lock:
            family = self._living_family(family_id, now)
            self._end_family(family_id, now, mark_until)
            return family

    def list_families(  # noqa: PLR0913, PLR0917 - the port's
        self,
        slot: str,
        subject: str,
        now: float,
        mark_until: float,
        after: str = "",
        limits: Limits = NO_LIMITS,
    ) -> Page:
        """See :class:`~flask_jam.stores.Store`."""
        with self._lock:
            names = self._family_index.page(subject, after, STEP)
            living, ended = [], 0
            for family_id, place in names:
                family = self._living_family(family_id, now, limits)
                if family is not None:
                    living.append(Listed.of_family(family_id, family))
                    after = place
                elif self._was_ended(self._families[family_id].within(limits), now):
                    ended += 1
                    self._mark(Kind.FAMILY, family_id, now, mark_until)
                    self._pop_family(family_id)
                else:
                    self._pop_family(family_id)
            return Page(living, after if len(names) == STEP else None, ended)

    def _was_ended(self, family: Family, now: float) -> bool:
        """Return True for a family that lived until its subject's logins were ended."""
        return family.alive(now) and family.cut_off >= self._cut_off(family.subject, now).at

    def _end_family(self, family_id: str, now: float, mark_until: float) -> None:
        self._pop_family(family_id)
        self._mark(Kind.FAMILY, family_id, now, mark_until)
        self._sweep(now)

    # --- sessions ---

    def create_session(self, key: str, session: Session, most: int = 0) -> bool:
        """See :class:`~flask_jam.stores.Store`."""
        with self._lock:
            now = session.created_at
            if self._is_outlived(session, now):
                return False
            self._put(key, session)
            for old in self._excess_sessions(session.session_key, key, most, now):
                self._pop(old)
            self._sweep(now)
            return True

    def _put(self, key: str, session: Session) -> None:
        self._sessions[key] = session
        self._session_index.put(session.session_key, key, session.created_at, session.expires_at)

    def _excess_sessions(self, owner: str, new: str, most: int, now: float) -> list[str]:
        """Return the oldest of an owner that are more than ``most``, without what has ended."""
        due = self._session_index.due(owner, now, STEP)
        for key in due:
            if now < self._sessions[key].expires_at:
                self._put(key, self._sessions[key])  # it was used: it ends later than was noted
            else:
                self._pop(key)
        return self._session_index.excess(owner, new, most, STEP - len(due))

    def _pop(self, key: str) -> Session | None:
        session = self._sessions.pop(key, None)
        self._read.pop(key, None)
        self._settle(key)
        if session is not None:
            self._session_index.drop(session.session_key, key)
        return session

    def _settle(self, key: str) -> None:
        """Note that the new id was used, so its client has it."""
        old = self._reworked.pop(key, "")
        successor = self._successors.get(old)
        if successor is not None and successor.key == key:
            del self._successors[old]

    def read_session(self, key: str, now: float, limits: Limits = NO_LIMITS) -> Session | None:
        """See :class:`~flask_jam.stores.Store`."""
        stored, read = self._sessions.get(key), self._read.get(key)
        if stored is None:
            return None
        if read is not None and read.stored is stored and read.limits is limits:
            owner = stored.session_key
            is_marked = owner in self._subjects or owner in self._cleared
            if now < read.until and not is_marked:
                return read.session
        with self._lock:
            return self._slide(key, now, limits)

    def _is_cut(self, session: Session, now: float) -> bool:
        return session.cut_off < self._cut_off(session.session_key, now).at

    def _is_outlived(self, session: Session, now: float) -> bool:
        """Return True if a cut-off or a clearing of its owner is later than its own."""
        owner = session.session_key
        if session.cleared < self._cleared_at(owner, now):
            return True
        return session.cut_off < self._cut_off(owner, now).latest

    def _slide(self, key: str, now: float, limits: Limits) -> Session | None:
        stored = self._sessions.get(key)
        if stored is None:
            return None
        session = stored.within(limits)
        is_outlived = self._is_outlived(session, now)
        if is_outlived or now >= session.expires_at:
            self._pop(key)
            return None if is_outlived else session
        self._settle(key)
        session = self._use(key, session.seen(now))
        until = min(session.expires_at, session.last_seen_at + session.slide_after)
        self._read[key] = _Read(self._sessions[key], limits, session, until)
        return session

    def _use(self, key: str, session: Session) -> Session:
        # The stored ends stay: these are those that count now.
        stored = self._sessions[key]
        if stored.last_seen_at != session.last_seen_at:
            self._sessions[key] = replace(stored, last_seen_at=session.last_seen_at)
        return session

    def _living_session(self, key: str, now: float, limits: Limits = NO_LIMITS) -> Session | None:
        stored = self._sessions.get(key)
        session = None if stored is None else stored.within(limits)
        return session if session is not None and self._is_alive(session, now) else None

    def _is_alive(self, session: Session, now: float) -> bool:
        return now < session.expires_at and not self._is_outlived(session, now)

    def update_session(
        self,
        key: str,
        changes: Mapping[str, Any],
        now: float,
        max_bytes: int,
        limits: Limits = NO_LIMITS,
    ) -> bool:
        """See :class:`~flask_jam.stores.Store`."""
        with self._lock:
            if self._living_session(key, now, limits) is None:
                return False
            self._settle(key)
            stored = self._sessions[key]
            data = {**stored.data, **changes}
            if len(strict_dumps(data)) > max_bytes:
                raise SessionError(Reason.TOO_LARGE, f"a session holds at most {max_bytes} bytes")
            self._sessions[key] = replace(stored, data=data)
            return True

    def rework_session(  # noqa: PLR0913, PLR0917 - the port's
        self,
        key: str,
        new_key: str,
        seed: str,
        now: float,
        limits: Limits = NO_LIMITS,
        grace: float = REWORK_GRACE,
    ) -> Reworked | None:
        """See :class:`~flask_jam.stores.Store`."""
        with self._lock:
            session = self._living_session(key, now, limits)
            if session is None:
                return self._again(key, new_key, seed, now, limits)
            stored = self._sessions[key]
            self._pop(key)
            self._put(new_key, stored)
            self._successors[key] = _Successor(new_key, seed, now, grace)
            self._reworked[new_key] = key
            used = replace(session, last_seen_at=max(now, session.last_seen_at))
            return Reworked(seed, self._use(new_key, used))

    def _again(
        self, key: str, new_key: str, seed: str, now: float, limits: Limits
    ) -> Reworked | None:
        """Repeat the answer of a rework whose reply was lost."""
        successor = self._successor(key, now) or _Successor(new_key, seed, now, 0.0)
        session = self._living_session(successor.key, now, limits)
        return None if session is None else Reworked(successor.seed, session)

    def _successor(self, key: str, now: float) -> _Successor | None:
        found = self._successors.get(key)
        if found is None or not is_in_grace(now - found.at, found.grace):
            return None
        return found

    def delete_session(self, key: str, now: float, limits: Limits = NO_LIMITS) -> str | None:
        """See :class:`~flask_jam.stores.Store`."""
        with self._lock:
            stored, successor = self._pop(key), self._successor(key, now)
            if stored is None and successor is not None:
                stored = self._pop(successor.key)
            session = None if stored is None else stored.within(limits)
            return session.session_key if session and self._is_alive(session, now) else None

    def clear_sessions(  # noqa: PLR0913, PLR0917 - the port's
        self,
        slot: str,
        session_key: str,
        now: float,
        until: float,
        keep: str | None = None,
        limits: Limits = NO_LIMITS,
    ) -> Page:
        """See :class:`~flask_jam.stores.Store`."""
        with self._lock:
            kept = self._living_session(keep or "", now)
            _grow(self._cleared, session_key, now, until)
            if keep is not None and kept is not None and kept.session_key == session_key:
                self._sessions[keep] = replace(kept, cleared=self._cleared[session_key][0])
                self._settle(keep)
            self._sweep(now)
            return self._page(session_key, now, "", limits)

    def list_sessions(
        self,
        slot: str,
        session_key: str,
        now: float,
        after: str = "",
        limits: Limits = NO_LIMITS,
    ) -> Page:
        """See :class:`~flask_jam.stores.Store`."""
        with self._lock:
            return self._page(session_key, now, after, limits)

    def _page(self, owner: str, now: float, after: str, limits: Limits) -> Page:
        names = self._session_index.page(owner, after, STEP)
        living, cleared = [], 0
        for key, place in names:
            session = self._sessions[key].within(limits)
            if self._is_alive(session, now):
                living.append(Listed.of(key, session))
                after = place
            else:
                cleared += now < session.expires_at and not self._is_cut(session, now)
                self._pop(key)
        return Page(living, after if len(names) == STEP else None, cleared)

    # --- sweeping ---

    def _sweep(self, now: float) -> None:
        """Remove what has ended, each time that the store has doubled since the last sweep."""
        if self._size() < self._sweep_at:
            return
        tables: tuple[dict[str, Any], ...] = (
            self._tokens, self._logins, self._subjects, self._cleared,
        )  # fmt: skip
        for marks in tables:
            for name in [name for name, mark in marks.items() if mark[1] <= now]:
                del marks[name]
        self._allowed = {jti: until for jti, until in self._allowed.items() if until > now}
        for name in [name for name, f in self._families.items() if not f.alive(now)]:
            self._pop_family(name)
        for key in [key for key, s in self._sessions.items() if now >= s.expires_at]:
            self._pop(key)
        self._sweep_api_keys(now)
        self._sweep_at = max(1024, 2 * self._size())

    def _size(self) -> int:
        marks = len(self._tokens) + len(self._logins) + len(self._subjects) + len(self._cleared)
        logins = len(self._families) + len(self._sessions)
        return marks + len(self._allowed) + logins + len(self._api_keys)


def _rotated(
    family: Family, answer: Rotation, now: float, idle: float, claims: Mapping[str, Any] | None
) -> Family:
    if claims is not None:
        family = replace(family, claims=claims)
    if answer is Rotation.SAME:
        return family
    return replace(family, generation=family.generation + 1, rotated_at=now, idle_until=now + idle)


def _grow(cuts: dict[str, tuple[float, float]], name: str, now: float, until: float) -> None:
    """Set a cut-off that is later than the one before it, whatever the clocks say."""
    at, old_until = cuts.get(name, (0.0, until))  # 0.0 is what "none" is
    cuts[name] = (_later(at, now), max(until, old_until))


def _later(at: float, now: float) -> float:
    return max(now, math.nextafter(at, math.inf))
