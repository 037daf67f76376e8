"""Server-side sessions: created by a login only; ended by idle time, by age or on request.

An id is 256 random bits that only the client has: the store knows its hash (ASVS 7.2.3). An unknown
id is refused, never adopted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from .._helpers.strict_json import copy_json
from ..errors import Reason, SessionError
from ..settings import DAY, SessionSettings
from ..stores.interface import (
    CLOCK_SKEW,
    IP,
    USER_AGENT,
    Limits,
    Listed,
    Page,
    Session,
    Store,
    owner_of,
    shortened,
    slot_of,
)
from .access_tokens import Clock
from .session_data import kept_data

_SHAPE = re.compile(r"[A-Za-z0-9_-]{45}")
_MAX_KEY = 1024
#: Of what was minted under other settings, before they were tightened or by another service.
LONGEST_USUAL = 400 * DAY
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class SessionInfo(NamedTuple):
    """A session, to show to its user. ``handle`` is not a credential."""

    handle: str
    created_at: float
    last_seen_at: float
    expires_at: float
    user_agent: str | None
    ip: str | None


class Life(NamedTuple):
    """The lifetime of a login; ``None`` leaves a value to the settings."""

    #: True for the limits of remembered sessions, False to end with the browser.
    remember: bool | None = None
    #: Seconds without use.
    idle: float | timedelta | None = None
    #: Seconds from the login.
    absolute: float | timedelta | None = None
    #: Timestamp of the user's authentication; None for now, 0 for unknown.
    auth_time: float | None = None


#: The values of the settings.
_AS_SET = Life()


class Sessions:
    """Create, look up, change and end sessions, on any store."""

    def __init__(self, store: Store, settings: SessionSettings, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        # The current settings also bound what is stored.
        self._limits = Limits(
            settings.idle, settings.absolute, settings.remember_idle, settings.remember_absolute
        )
        self.clock = clock

    def create(
        self,
        owner: str,
        data: Mapping[str, Any],
        user_agent: str | None = None,
        ip: str | None = None,
        life: Life = _AS_SET,
    ) -> str:
        """Create a session; return its id.

        :param owner: from :func:`checked_owner`, as in all methods below.
        :raises SessionError: if the data cannot be stored, or the lifetime is too long.
        """
        remember, idle, absolute = self._granted(life)
        now, slot = self.clock(), slot_of(owner)
        auth_time = now if life.auth_time is None else _past(life.auth_time, now)
        standing = self._store.standing(slot, owner, now)
        session = Session(
            session_key=owner,
            data=kept_data(data, self._settings.max_bytes),
            created_at=now,
            auth_time=auth_time,
            last_seen_at=now,
            idle=idle,
            ends_at=now + absolute,
            user_agent=shortened(user_agent, USER_AGENT),
            ip=shortened(ip, IP),
            cut_off=standing.latest,
            cleared=standing.cleared,
            remember=remember,
        )
        session_id = slot + secrets.token_urlsafe(32)
        most = self._settings.max_per_owner
        if not self._store.create_session(_hashed(session_id), session, most):
            raise SessionError(Reason.REVOKED, "the owner was revoked during this login")
        return session_id

    def _granted(self, life: Life) -> tuple[bool | None, float, float]:
        """Return ``remember`` of a login, and its idle and absolute lifetime."""
        remember = self._settings.remember if life.remember is None else life.remember
        if remember is not None and not isinstance(remember, bool):
            kind = type(remember).__name__
            raise SessionError(
                Reason.INVALID, f"remember must be True, False or None, got {kind}: write bool(...)"
            )
        limits, prefix = self.limits_of(remember), "remember_" if remember else ""
        return (
            remember,
            _shortened("idle", life.idle, limits.idle, f"session.{prefix}idle"),
            _shortened("absolute", life.absolute, limits.absolute, f"session.{prefix}absolute"),
        )

    def limits_of(self, remember: bool | None) -> Limits:
        """Return the longest lifetimes for a value of ``remember``."""
        return self._limits.for_remembered() if remember else self._limits

    def lookup(self, session_id: object) -> Session:
        """Return the session of an id. Copy its data before handing it out.

        :raises SessionError: ``unknown_session`` or ``session_expired``.
        """
        now = self.clock()
        session = self._store.read_session(_hashed(_shaped(session_id)), now, self._limits)
        if session is None:
            raise SessionError(Reason.UNKNOWN_SESSION)
        if now >= session.expires_at:
            raise SessionError(Reason.SESSION_EXPIRED, "the session has expired")
        return session

    def get(self, session_id: object) -> dict[str, Any] | None:
        """Return a copy of the data, or ``None``."""
        try:
            return copied_data(self.lookup(session_id))
        except SessionError:
            return None

    def update(self, session_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Merge top-level keys in one step; return a copy of them as they will be read back.

        :raises SessionError: if the session has ended, or would grow too large.
        """
        key, now = _hashed(_shaped(session_id)), self.clock()
        most = self._settings.max_bytes
        kept = kept_data(changes, most)
        if not self._store.update_session(key, kept, now, most, self._limits):
            raise SessionError
        return {name: copy_json(value) for name, value in kept.items()}

    def rework(self, session_id: str) -> tuple[str, Session]:
        """Move a session to a new id; return both. The old id is invalid from this step on.

        Until the new id is used, and for a few seconds, the old id gets the same new id again, as
        the client may have missed the reply. So nothing here looks the new id up.

        :raises SessionError: if the session has ended.
        """
        old_id, seed, now = _shaped(session_id), secrets.token_urlsafe(32), self.clock()
        new_key = _hashed(_successor(old_id, seed))
        found = self._store.rework_session(_hashed(old_id), new_key, seed, now, self._limits)
        if found is None:
            raise SessionError
        return _successor(old_id, found.seed), found.session

    def delete(self, session_id: object) -> str | None:
        """End a session; return its owner, or ``None`` if there was none."""
        if not is_session_id(session_id):
            return None
        return self._store.delete_session(_hashed(str(session_id)), self.clock(), self._limits)

    def delete_by_handle(self, owner: str, handle: object) -> str | None:
        """End the session with a handle in an owner's list."""
        for page in self.walk(owner):
            for session in page.living:
                if _handle(session.key) == handle:
                    return self._store.delete_session(session.key, self.clock(), self._limits)
        return None

    def clear(self, owner: str, keep: object = None) -> Iterator[int]:
        """End every session of an owner except the one with the id ``keep``, in the first step.

        The other steps free memory. Each yields the number of sessions it removed.
        """
        slot, now = slot_of(owner), self.clock()
        kept = _hashed(str(keep)) if is_session_id(keep) else None
        until = now + max(self._settings.longest, LONGEST_USUAL) + 2 * CLOCK_SKEW
        first = self._store.clear_sessions(slot, owner, now, until, kept, self._limits)
        yield first.cleared
        for page in self.walk(owner, first.after):
            yield page.cleared

    def sweep(self, owner: str) -> None:
        """Free the memory of an owner's sessions that have ended."""
        for _ in self.walk(owner):
            pass

    def listed(self, owner: str) -> list[SessionInfo]:
        """Return the valid sessions of an owner, the oldest first."""
        living = [session for page in self.walk(owner) for session in page.living]
        return [SessionInfo(_handle(session.key), *session[1:]) for session in living]

    @staticmethod
    def handle(session: Listed) -> str:
        """Return the handle of a session in a list."""
        return _handle(session.key)

    def walk(self, owner: str, after: str | None = "") -> Iterator[Page]:
        """Walk through the sessions of an owner, in steps of bounded size."""
        slot = slot_of(owner)
        while after is not None:
            now = self.clock()
            page = self._store.list_sessions(slot, owner, now, after, self._limits)
            yield page
            after = page.after


def _shortened(name: str, wanted: object, most: float, setting: str) -> float:
    """Return the lifetime of a login, which may only be shorter than the setting."""
    if wanted is None:
        return most
    seconds = wanted.total_seconds() if isinstance(wanted, timedelta) else wanted
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or not 1 <= seconds <= most:  # type: ignore[operator]
        raise SessionError(
            Reason.INVALID,
            f"{name} must be seconds from 1 to {most:.15g}: it may shorten {setting}, and a "
            "longer lifetime needs that setting",
        )
    return float(seconds)  # type: ignore[arg-type]


def _past(auth_time: object, now: float) -> float:
    """Return the timestamp of an authentication, which must not be in the future."""
    is_number = isinstance(auth_time, (int, float)) and not isinstance(auth_time, bool)
    if not is_number or not 0 <= auth_time <= now + CLOCK_SKEW:  # type: ignore[operator]
        raise SessionError(
            Reason.INVALID,
            "auth_time must be a timestamp that is not in the future: 0 if it is unknown",
        )
    return float(auth_time)  # type: ignore[arg-type]


# --- ids --------------------------------------------------------------------------------------


def is_session_id(value: object) -> bool:
    """Return True if a value has the form of an id. Others are not looked up."""
    return isinstance(value, str) and _SHAPE.fullmatch(value) is not None


def copied_data(session: Session) -> dict[str, Any]:
    """Return a copy of the data, which the caller may change."""
    return {name: copy_json(value) for name, value in session.data.items()}


def handle_of(session_id: str) -> str:
    """Return the handle of a session by its id."""
    return _handle(_hashed(_shaped(session_id)))


def _shaped(session_id: object) -> str:
    if not is_session_id(session_id):
        raise SessionError(Reason.UNKNOWN_SESSION)
    return str(session_id)


def checked_owner(session_key: object, issuer: object = None) -> str:
    """Return the owner for a subject and its issuer.

    :raises SessionError: ``invalid``, for an invalid subject or issuer.
    """
    subject = _checked_key(session_key, "a session key")
    return owner_of(subject, None if issuer is None else _checked_key(issuer, "an issuer"))


def _checked_key(value: object, what: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_KEY:
        sentence = f"{what} must be a string of 1 to {_MAX_KEY} characters"
        if not isinstance(value, str):
            sentence += f", got {type(value).__name__}: write str(...)"
        raise SessionError(Reason.INVALID, sentence)
    if not value.isprintable() and re.search(r"[\ud800-\udfff]", value):
        raise SessionError(Reason.INVALID, f"{what} holds no lone surrogates")
    return value


def _hashed(session_id: str) -> str:
    digest = hashlib.sha256(b"flask_jam session\0" + session_id.encode("ascii")).digest()
    # Like base64.urlsafe_b64encode, without its two calls: saves 0.3 µs on every request.
    encoded = binascii.b2a_base64(digest, newline=False).translate(_URL_SAFE)
    return session_id[:2] + encoded[:43].decode()


def _successor(old_id: str, seed: str) -> str:
    """Return the new id of a reworked session.

    It is derived from the old id, which the store does not know, and from a seed, which the client
    does not know: so neither of them alone can compute it.
    """
    made = hmac.new(old_id.encode("ascii"), b"flask_jam rework\0" + seed.encode("ascii"), "sha256")
    return old_id[:2] + base64.urlsafe_b64encode(made.digest())[:43].decode()


def _handle(key: str) -> str:
    digest = hashlib.sha256(b"flask_jam handle\0" + key.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest[:15]).decode()
