"""Reads as plain commands in one pipeline, which cost Redis and Python less than the scripts do.

They find what the script of the same verb would find. Where something is to be written (a slide, a
removal), where a session is read for the first time in this process, and in any doubt, they find
nothing and the script decides.

The commands of a pipeline are no atomic step, and need not be. Each mark is one key. A session is
read before the marks that may end it, and its fields are only ever added: where their number is
right afterwards, none was missed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from cachetools import FIFOCache

from ..._helpers.fork_lock import fork_safe_lock
from ..interface import Limits, Session
from . import scripts as lua
from .redis_internals import Pool, packed
from .values import UNREAD, hashed, parsed_mark, session_fields, session_of, written_limits

#: Bytes of memory, roughly, that remembered sessions may take.
_MEMORY = 16 * 2**20
#: A field of a session that was reworked: the old name, until the new id is used.
_WAITING = "w"
#: Errors of a primary that takes no writes just now, but knows what it holds.
_STILL_PRIMARY = ("NOREPLICAS", "MISCONF")

Answer = list[Any]
#: The scripts that have a plain form.
PLAIN = (lua.READ_MARKS, lua.READ_SESSION)


class _Seen(NamedTuple):
    """A session as it was read, and the commands that read it again."""

    question: bytes
    #: Of its fields, in the order of the question.
    values: list[bytes]
    limits: Limits
    #: As they are sent.
    written: tuple[str, ...]
    session: Session
    #: From then on a use is worth writing down, or the session has ended.
    due_at: float


class PlainReads:
    """The reads of one store, and the sessions that it has read."""

    def __init__(self) -> None:
        # First in, first out: to read one changes nothing, so only to write one needs the lock.
        self._seen: FIFOCache[str, _Seen] = FIFOCache(_MEMORY, _weight)
        self._puts = fork_safe_lock()

    def answer(
        self, pool: Pool, script: str, keys: Sequence[str], arguments: Sequence[Any]
    ) -> Answer | None:
        """Return what the script would answer; None if the script must decide."""
        if script is lua.READ_MARKS:
            return self._marks(pool, keys)
        return self._session(pool, keys[0], arguments)

    def remember(self, key: str, session: Session, limits: Limits) -> None:
        """Keep a session that the script has read, so that the next read needs no script."""
        fields = session_fields(session)
        values = [_raw(value) for value in fields.values()]
        question = _question(key, list(fields), session)
        written = written_limits(limits)
        self._put(key, _Seen(question, values, limits, written, session, _due_at(session)))

    def _put(self, key: str, seen: _Seen) -> None:
        with self._puts, suppress(ValueError):  # what weighs more than all may is not kept
            self._seen[key] = seen

    @staticmethod
    def _marks(pool: Pool, keys: Sequence[str]) -> Answer | None:
        gets = [("GET", key) for key in keys]
        *marks, probe = pool.ask(packed(*gets, _probe(keys[0])), len(keys) + 1)
        if not _is_primary(probe):
            return None
        if marks.count(None) < len(marks):
            marks = [b"" if _is_wrong_type(mark) else mark for mark in marks]
            if not all(mark is None or isinstance(mark, bytes) for mark in marks):
                return None
        return [b"marks", *marks]

    def _session(self, pool: Pool, key: str, arguments: Sequence[Any]) -> Answer | None:
        now, limits = float(arguments[0]), arguments[1:]
        seen = self._seen.get(key)
        if seen is None or now >= seen.due_at or limits != seen.written:
            return None
        found, count, *marks, probe = pool.ask(seen.question, 5)
        if count == 0 and _is_primary(probe):
            return [b"gone"]
        if not _is_primary(probe) or not isinstance(found, list):
            return None
        waiting, *values = found
        if waiting or count != len(values) + (waiting is not None):
            return None
        if values != seen.values:
            seen = self._read_anew(key, seen, values)
        if seen is None or now >= seen.due_at or _is_outlived(marks, seen.session):
            return None
        return [b"alive", seen.session]

    def _read_anew(self, key: str, seen: _Seen, values: list[bytes]) -> _Seen | None:
        """Parse a session whose values have changed; None if that is for the script."""
        try:
            fields = dict(zip(session_fields(seen.session), values, strict=True))
            session = session_of(fields["s"], fields["j"], _data(fields), fields["k"])
            written = session_fields(session) | {"s": fields["s"], "k": fields["k"]}
            session = session.within(seen.limits)
        except UNREAD:
            return None
        if [_raw(value) for value in written.values()] != values:
            return None
        anew = seen._replace(values=values, session=session, due_at=_due_at(session))
        self._put(key, anew)
        return anew


def _data(fields: Mapping[str, bytes]) -> bytes:
    parts = [name[1:].encode() + b":" + raw for name, raw in fields.items() if name[:1] == "d"]
    return b"{" + b",".join(parts) + b"}"


def _raw(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _question(key: str, names: Sequence[str], session: Session) -> bytes:
    prefix, _, place, _ = key.rsplit(":", 3)
    owner = hashed(session.session_key)
    marks = [("GET", f"{prefix}:{letter}:{place}:{owner}") for letter in ("c", "k")]
    return packed(("HMGET", key, _WAITING, *names), ("HLEN", key), *marks, _probe(key))


def _weight(seen: _Seen) -> int:
    return 1500 + 2 * len(seen.question) + 6 * sum(map(len, seen.values))


def _probe(key: str) -> tuple[str, str]:
    """Return a write that only a primary carries out, of a key that is not there."""
    # As the scripts do, but with a command that nothing else uses: INFO commandstats counts it.
    prefix, _, place, _ = key.rsplit(":", 3)
    return "PERSIST", f"{prefix}:p:{place}:"


def _is_primary(reply: Any) -> bool:
    return isinstance(reply, int) or str(reply).startswith(_STILL_PRIMARY)


def _is_wrong_type(reply: Any) -> bool:
    """Return True for a key that is no string: as a mark, it counts as the strictest."""
    return isinstance(reply, Exception) and str(reply).startswith("WRONGTYPE")


def _due_at(session: Session) -> float:
    return min(session.last_seen_at + session.slide_after, session.expires_at)


def _is_outlived(marks: Sequence[Any], session: Session) -> bool:
    """Return True if a cutoff or a clearing of the owner may end the session."""
    carried = session.cut_off, session.cleared
    return any(map(_is_later, marks, carried))


def _is_later(mark: Any, carried: float) -> bool:
    if mark is None:
        return False
    found = parsed_mark(mark) if isinstance(mark, bytes) else None
    return found is None or carried < found.latest
