"""Reads of API keys as plain commands in one pipeline: as :mod:`plain_reads` does it for sessions.

A key is read before the mark that may end it. Where anything has changed since the script read it,
a use included, or one is to be written, the script decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from cachetools import FIFOCache

from ..._helpers.fork_lock import fork_safe_lock
from ..api_keys import COALESCE, ApiKey
from .plain_reads import _is_primary, _probe
from .redis_internals import Pool, packed
from .values import hashed, parsed_mark

#: Bytes of memory, roughly, that remembered keys may take.
_MEMORY = 16 * 2**20
_FIELDS = ("j", "h", "b", "e", "u", "l", "n", "x", "o")


class _Seen(NamedTuple):
    """A key as it was read, and the commands that read it again."""

    question: bytes
    #: Of its fields, in the order of the question.
    values: list[bytes | None]
    api_key: ApiKey
    #: From then on a use is worth writing down, or the key has ended.
    due_at: float


class PlainApiKeys:
    """The living keys that one store has read."""

    def __init__(self) -> None:
        # First in, first out: to read one changes nothing, so only to write one needs the lock.
        self._seen: FIFOCache[str, _Seen] = FIFOCache(_MEMORY, _weight)
        self._puts = fork_safe_lock()

    def remember(self, key: str, parts: Sequence[bytes], api_key: ApiKey, now: float) -> None:
        """Keep a key that the script has read, so that the next read needs no script."""
        used_at = api_key.last_used_at
        if used_at is None or not api_key.alive(now):
            return
        owner = hashed(api_key.owner)
        values = [part or None for part in parts] + [owner.encode()]
        due_at = min(used_at + COALESCE, api_key.expires_at)
        seen = _Seen(_question(key, owner), values, api_key, due_at)
        with self._puts, suppress(ValueError):  # what weighs more than all may is not kept
            self._seen[key] = seen

    def answer(
        self, pool: Pool, _script: str, keys: Sequence[str], arguments: Sequence[Any]
    ) -> list[Any] | None:
        """Return what the script would answer; None if the script must decide."""
        seen = self._seen.get(keys[0])
        if seen is None or float(arguments[0]) >= seen.due_at:
            return None
        values, mark, probe = pool.ask(seen.question, 3)
        if not _is_primary(probe) or values != seen.values:
            return None
        if mark is not None:
            found = parsed_mark(mark) if isinstance(mark, bytes) else None
            if found is None or seen.api_key.cut_off < found.at:
                return None
        return [b"alive", seen.api_key]


def _question(key: str, owner: str) -> bytes:
    prefix, _, place, _ = key.rsplit(":", 3)
    mark = f"{prefix}:c:{place}:{owner}"
    return packed(("HMGET", key, *_FIELDS), ("GET", mark), _probe(key))


def _weight(seen: _Seen) -> int:
    return 2000 + len(seen.question) + 6 * sum(len(value or b"") for value in seen.values)
