"""API keys that this process has read from Redis: a part of the near cache.

What is unknown is not kept, so strangers cannot fill it. A use is told to Redis once a minute.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from cachetools import FIFOCache

from ..._credentials.token_cache import MAX_AGE
from ..._helpers.fork_lock import fork_safe_lock
from ..._helpers.strict_json import strict_dumps
from ..api_keys import COALESCE, ApiKey
from ..redis import RedisStore
from .invalidation import Link, group_of

#: Bytes of memory, roughly, that remembered keys may take.
_MEMORY = 16 * 2**20


class _Seen(NamedTuple):
    """A key as it was read."""

    era: object
    group: int
    version: int
    #: Of the owner's cut-off, which ends the key, too.
    slot_version: int
    read_at: float
    api_key: ApiKey
    #: Until then a use need not be told to Redis, and it is as alive as it was.
    until: float


class NearApiKeys(RedisStore):
    """Reads an API key that was seen before without asking Redis."""

    if TYPE_CHECKING:
        link: Link
        _silence: float
        _hits: int
        _misses: int

        def _unheard(self, answer: ApiKey | None) -> ApiKey | None: ...

    def __init__(self, client: Any, **options: Any) -> None:
        super().__init__(client, **options)
        # First in, first out: to read one changes nothing, so only to write one needs the lock.
        self._seen_keys: FIFOCache[str, _Seen] = FIFOCache(_MEMORY, _weight)
        self._key_puts = fork_safe_lock()

    def read_api_key(self, key: str, digest: str, now: float) -> ApiKey | None:
        """See :class:`~flask_jam.stores.api_keys.ApiKeyStore`."""
        slots, groups, as_of, era = self.link.view
        at, slot_version = time.monotonic(), slots.get(key[:2], 0)
        if at - as_of >= self._silence:
            return self._unheard(super().read_api_key(key, digest, now))
        try:
            kept_era, group, version, kept_slot, read_at, known, until = self._seen_keys[key]
            if (
                kept_era is era
                and groups[group] == version
                and kept_slot == slot_version
                and now < until
                and at - read_at < MAX_AGE
            ):
                self._hits += 1
                return known
        except KeyError:
            pass
        self._misses += 1
        group = group_of(self._api_key(key).encode())
        version = groups[group]
        found = self._read_api_key(key, digest, now)
        if found is not None:
            until = _until(found, now)
            self._put_key(key, _Seen(era, group, version, slot_version, at, found, until))
        return found

    def _put_key(self, key: str, seen: _Seen) -> None:
        with self._key_puts, suppress(ValueError):  # what weighs more than all may is not kept
            self._seen_keys[key] = seen


def _until(api_key: ApiKey, now: float) -> float:
    if not api_key.alive(now):
        return math.inf
    used_at = api_key.last_used_at
    return 0.0 if used_at is None else min(api_key.expires_at, used_at + COALESCE)


def _weight(seen: _Seen) -> int:
    # What JSON becomes in memory, by rule of thumb.
    held = seen.api_key
    return 1500 + 4 * len(strict_dumps([held.name, held.scopes, held.roles, held.data]))
