"""What this process has read from Redis, kept true by Redis itself.

Redis pushes the name of every key that changes to a link of this process (``CLIENT TRACKING``,
broadcast by prefix). What a push names is forgotten. A read takes the version of its keys before
it asks; what it found is kept with that version, so a push that overtakes the read makes it stale
before it is kept. :mod:`flask_jam.stores._redis.invalidation` says why that is safe, and for how
long.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar
from weakref import WeakMethod, finalize

from cachetools import FIFOCache

from ..._credentials.token_cache import MAX_AGE
from ..._helpers.fork_lock import fork_safe_lock
from ..._helpers.strict_json import strict_dumps
from ...settings import Settings
from ..interface import NO_LIMITS, NO_MARKS, Limits, Marks, Session
from ..redis import RedisStore
from .client import client_factory
from .invalidation import Link, group_of
from .near_api_keys import NearApiKeys
from .values import marks_of

K = TypeVar("K")
V = TypeVar("V")

_log = logging.getLogger("flask_jam.stores.redis")

#: Of tokens, so many are remembered; of sessions, so many bytes of memory, roughly.
_TOKENS_KEPT = 20_000
_SESSION_BYTES = 64 * 2**20


class _Known(NamedTuple):
    """The marks of a token as they were read."""

    era: object
    version: int
    read_at: float
    letters: str
    #: ``None`` where there was none at all.
    values: list[bytes | None] | None


class _Seen(NamedTuple):
    """A session as it was read."""

    era: object
    group: int
    version: int
    #: Of the owner's cut-off, which ends the session, too.
    slot_version: int
    read_at: float
    #: Of the caller that read it: another may have stricter ones.
    limits: Limits
    session: Session
    #: Until then a use need not be told to Redis.
    until: float


class NearStore(NearApiKeys):
    """A :class:`~flask_jam.stores.redis.RedisStore` that asks only for what it does not know.

    :param silence: seconds after which nothing is believed that Redis has not confirmed.
    """

    def __init__(
        self,
        client: Any,
        *,
        prefix: str = "jam",
        timeout: float | None = None,
        silence: float = 1.0,
        allow_list: bool = True,
    ) -> None:
        super().__init__(client, prefix=prefix, timeout=timeout, allow_list=allow_list)
        self._silence = silence
        # First in, first out: to read one changes nothing, so only to write one needs the lock.
        self._known: FIFOCache[tuple[str | None, ...], _Known] = FIFOCache(_TOKENS_KEPT)
        self._seen: FIFOCache[str, _Seen] = FIFOCache(_SESSION_BYTES, _weight)
        self._puts = fork_safe_lock()
        # Counted without a lock, which would be the only one of a guarded route.
        self._hits = self._misses = 0
        self.link = Link(WeakMethod(self.client), prefix, silence)
        # The threads of a store that is not used any more must end.
        finalize(self, self.link.end).atexit = False

    def marks(
        self, slot: str, jti: str | None, family: str | None, subject: str | None, now: float
    ) -> Marks:
        """See :class:`~flask_jam.stores.Store`."""
        slots, _, as_of, era = self.link.view
        at, version = time.monotonic(), slots.get(slot, 0)
        if at - as_of >= self._silence:
            return self._unheard(super().marks(slot, jti, family, subject, now))
        name = (slot, jti, family, subject)
        try:
            kept_era, kept_version, read_at, letters, values = self._known[name]
            if kept_era is era and kept_version == version and at - read_at <= MAX_AGE:
                self._hits += 1
                return NO_MARKS if values is None else marks_of(letters, values, now)
        except KeyError:
            pass
        self._misses += 1
        letters, keys = self.mark_keys(*name)
        found = self.read_token_marks(letters, keys)
        values = found if found.count(None) < len(found) else None
        self._put(self._known, name, _Known(era, version, at, letters, values))
        return marks_of(letters, found, now)

    def read_session(self, key: str, now: float, limits: Limits = NO_LIMITS) -> Session | None:
        """See :class:`~flask_jam.stores.Store`."""
        slots, groups, as_of, era = self.link.view
        at, slot_version = time.monotonic(), slots.get(key[:2], 0)
        if at - as_of >= self._silence:
            return self._unheard(super().read_session(key, now, limits))
        seen = _found(self._seen, key)
        if (
            seen is not None
            and seen.era is era
            and groups[seen.group] == seen.version
            and slot_version == seen.slot_version
            and limits is seen.limits
            and now < seen.until
            and at - seen.read_at < MAX_AGE
        ):
            self._hits += 1
            return seen.session
        self._misses += 1
        group = group_of(self._session_key(key).encode())
        version = groups[group]
        session = self._read_session(key, now, limits)
        if session is not None:
            # It was read under this id, so what an old id could have had again is settled.
            until = min(session.expires_at, session.last_seen_at + session.slide_after)
            seen = _Seen(era, group, version, slot_version, at, limits, session, until)
            self._put(self._seen, key, seen)
        return session

    def _unheard(self, answer: V) -> V:
        self._misses += 1
        # Only when Redis has answered is it worth trying to listen to it.
        self.link.start()
        return answer

    def _put(self, cache: Any, name: Any, value: Any) -> None:
        with self._puts, suppress(ValueError):  # what weighs more than all may is not kept
            cache[name] = value

    def changed(self, keys: Iterable[str]) -> None:
        """See :class:`~flask_jam.stores.redis.RedisStore`."""
        self.link.forget(key.encode() for key in keys)

    def stats(self) -> dict[str, dict[str, Any]]:
        """See :class:`~flask_jam.stores.redis.RedisStore`."""
        near = {
            "hits": self._hits,
            "misses": self._misses,
            "tokens": len(self._known),
            "sessions": len(self._seen),
            "api_keys": len(self._seen_keys),
            "session_bytes": int(self._seen.currsize),
            **self.link.stats(),
        }
        return {**super().stats(), "near_cache": near}

    def close(self) -> None:
        """See :class:`~flask_jam.stores.redis.RedisStore`."""
        self.link.stop()
        super().close()


def _found(cache: Mapping[K, V], name: K) -> V | None:
    # Half the price of cachetools' own get.
    try:
        return cache[name]
    except KeyError:
        return None


def _weight(seen: _Seen) -> int:
    # What JSON becomes in memory, by rule of thumb.
    return 1000 + 4 * len(strict_dumps(dict(seen.session.data)))


def store_for(settings: Settings) -> RedisStore:
    """Return the store that the settings describe.

    :raises ConfigError: if ``redis_url`` is not usable.
    """
    url, timeout = settings.redis_url, settings.redis_timeout
    if isinstance(url, str):
        client, limit = client_factory(url, timeout, settings.redis_pool), timeout
    else:
        client, limit = url, None
    options: dict[str, Any] = {
        "prefix": settings.redis_prefix,
        "timeout": limit,
        "allow_list": settings.jwt.list == "allow",
    }
    if not settings.near_cache:
        return RedisStore(client, **options)
    return NearStore(client, silence=settings.near_cache_silence, **options)
