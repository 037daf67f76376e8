"""Values as Redis holds them: JSON with a version, written here and read strictly.

What reads is told nothing by a value that is damaged, foreign or of another version: it raises
one of :data:`UNREAD`, and a mark counts as the strictest.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from ..._helpers.strict_json import LARGEST_TIMESTAMP, strict_dumps, strict_object
from ...errors import TokenError
from ..interface import (
    BETWEEN,
    NO_MARKS,
    Family,
    Limits,
    Listed,
    Marks,
    Session,
    Standing,
    owner_of,
    split_owner,
)

#: Seconds that a value is kept longer than it counts.
SLACK = 60.0
#: What reading a value that is not ours raises.
UNREAD = (TypeError, AttributeError, ValueError, OverflowError, RecursionError, TokenError)


def marks_of(letters: str, values: Sequence[bytes | None], now: float) -> Marks:
    """Return the marks at ``now`` from the values of :meth:`RedisStore.mark_keys`."""
    if values.count(None) == len(values):
        return NO_MARKS
    found = {letter: _marked(value, now) for letter, value in zip(letters, values, strict=True)}
    revoked = found.get("t") is not None or found.get("x") is not None
    allowed = found.get("a") not in (None, _UNREADABLE)
    cut = found.get("c")
    if cut is None:
        return Marks(revoked, None, allowed)
    return Marks(revoked, cut.at or None, allowed, cut.logins or None)


class Mark(NamedTuple):
    """A mark as it stands in Redis."""

    at: float
    until: float
    #: Of a cut-off: that of logins only.
    logins: float = 0.0

    @property
    def latest(self) -> float:
        """Return the cutoff that counts for a login."""
        return max(self.at, self.logins)


#: The strictest mark.
_UNREADABLE = Mark(float("inf"), float("inf"))


def _marked(value: bytes | None, now: float) -> Mark | None:
    if value is None:
        return None
    # Damage to a mark must not undo a revocation, or allow a token.
    mark = parsed_mark(value) or _UNREADABLE
    return mark if mark.until > now else None


def standing_of(cut: bytes | None, cleared: bytes | None) -> Standing:
    """Return the cut-offs that a login carries; 0 for none.

    Under one that cannot be read nothing lives, also what is minted now, so it carries none.
    """
    at, _, logins = _read_mark(cut)
    return Standing(at, _read_mark(cleared).at, logins)


def _read_mark(value: bytes | None) -> Mark:
    return (None if value is None else parsed_mark(value)) or Mark(0.0, 0.0)


def parsed_mark(value: bytes) -> Mark | None:
    try:
        version, at, until, *logins = json.loads(value)
        _check_version(version, 1 + len(logins))
        return Mark(_time(at), _time(until), *map(_time, logins))
    except UNREAD:
        return None


def _check_version(version: object, known: int = 1) -> None:
    if type(version) is not int or version != known:
        raise ValueError("of another version")


def _time(value: Any) -> float:
    if type(value) not in (int, float) or not -LARGEST_TIMESTAMP < value < LARGEST_TIMESTAMP:
        raise ValueError("no time")
    return value  # type: ignore[no-any-return]


def family_of(  # noqa: PLR0913, PLR0917 - its fields
    generation: bytes,
    rotated_at: bytes,
    idle_until: bytes,
    fixed: bytes,
    claims: bytes,
    age: bytes = b"0",
) -> Family:
    version, subject, started_at, ends_at, cut_off, user_agent, ip = json.loads(fixed)
    _check_version(version)
    return Family(
        _owner(subject),
        strict_object(claims),
        _time(started_at),
        _time(ends_at),
        int(generation),
        _time(float(rotated_at)),
        _time(float(idle_until)),
        _time(cut_off),
        _time(float(age)),
        _note_of(user_agent),
        _note_of(ip),
    )


def family_fields(family: Family) -> dict[str, Any]:
    fixed = [
        1,
        _written_owner(family.subject),
        family.started_at,
        family.ends_at,
        family.cut_off,
        family.user_agent,
        family.ip,
    ]
    return {
        "j": strict_dumps(fixed),
        "b": repr(family.started_at),
        "c": strict_dumps(dict(family.claims)),
        "u": repr(family.cut_off),
        "e": repr(family.ends_at),
        "g": family.generation,
        "t": repr(family.rotated_at),
        "i": repr(family.idle_until),
        "k": hashed(family.subject),
    }


def listed_family_of(family_id: str, used: bytes, fixed: bytes, limits: Limits) -> Listed:
    rotated_at, idle_until = used.split(b" ")
    family = family_of(b"1", rotated_at, idle_until, fixed, b"{}")
    return Listed.of_family(family_id, family.within(limits))


def session_fields(session: Session) -> dict[str, Any]:
    fixed = [
        1,
        _written_owner(session.session_key),
        session.created_at,
        session.auth_time,
        session.idle,
        session.ends_at,
        session.user_agent,
        session.ip,
        session.cut_off,
        session.remember,
    ]
    return {
        "j": strict_dumps(fixed),
        "o": hashed(session.session_key),
        "s": repr(session.last_seen_at),
        "i": repr(session.idle),
        "e": repr(session.ends_at),
        "b": repr(session.created_at),
        "u": repr(session.cut_off),
        "k": repr(session.cleared),
        **({"r": "remembered"} if session.remember else {}),
        **data_fields(session.data),
    }


def session_of(seen: bytes, fixed: bytes, data: bytes, cleared: bytes = b"0") -> Session:
    version, *fields = json.loads(fixed)
    _check_version(version)
    owner, created_at, auth_time, idle, ends_at, user_agent, ip, cut_off, remember = fields
    return Session(
        _owner(owner),
        strict_object(data),
        _time(created_at),
        _time(auth_time),
        _time(float(seen)),
        _time(idle),
        _time(ends_at),
        _note_of(user_agent),
        _note_of(ip),
        _time(cut_off),
        _time(float(cleared)),
        _kind_of(remember),
    )


def listed_of(name: str, seen: bytes, fixed: bytes, limits: Limits) -> Listed:
    return Listed.of(name, session_of(seen, fixed, b"{}").within(limits))


def _note_of(value: Any) -> str | None:
    return None if value is None else _text(value)


def _kind_of(value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise TypeError("no kind of login")
    return value


def _written_owner(owner: str) -> str | tuple[str, str | None]:
    """Return an owner as JSON can hold it: with its issuer beside it, if it has one."""
    return split_owner(owner) if BETWEEN in owner else owner


def _owner(value: Any) -> str:
    if isinstance(value, list):
        subject, issuer = value
        return owner_of(_text(subject), _text(issuer))
    return _text(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def data_fields(data: Mapping[str, Any]) -> dict[str, bytes]:
    # The key as JSON: the whole is put together again without parsing its parts.
    return {"d" + strict_dumps(name).decode(): strict_dumps(value) for name, value in data.items()}


def flat(fields: Mapping[str, Any]) -> list[Any]:
    return [part for pair in fields.items() for part in pair]


@lru_cache(64)  # a store is asked by the same ones again and again
def written_limits(limits: Limits) -> tuple[str, str]:
    """Return the limits as scripts take them: each with that of remembered sessions."""
    idle, absolute, remember_idle, remember_absolute = limits
    return f"{idle!r} {remember_idle!r}", f"{absolute!r} {remember_absolute!r}"


def as_bytes(value: Any) -> bytes | None:
    # A client given by the app may decode.
    return value.encode() if isinstance(value, str) else value


def as_text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else value


def kept_for(seconds: float) -> int:
    return int((max(seconds, 0.0) + SLACK) * 1000)


def hashed(owner: str) -> str:
    """Return the name of an owner in keys."""
    raw = owner.encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(b"flask_jam name\0" + raw).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
