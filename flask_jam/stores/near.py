"""What this process has read from Redis, kept true by Redis itself.

Redis pushes the name of every key that changes to a link of this process (``CLIENT TRACKING``,
broadcast by prefix). What a push names is forgotten. A read takes the version of its keys before
it asks; what it found is kept with that version, so a push that overtakes the read makes it stale
before it is kept.

**The bound.** The link asks ``PING`` again and again. When the answer to one of them is in, every
push that was made before the one *before* it was sent has been read: Redis answers in order, and
hands out pushes once per turn of its event loop, which may be after the answer of that turn but is
before the next. It asks as often whether the server still takes writes: one that has become a
replica hears of changes late, or never. What is kept counts only while that moment lies less than
``silence`` seconds back. So a change that Redis has made is seen here after ``silence`` seconds at
the latest, whatever happens to the link, the server or this thread.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar
from weakref import WeakSet, finalize

from cachetools import FIFOCache
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from ..cache import MAX_AGE, fork_safe_lock
from ..jws import strict_dumps
from ..settings import Settings
from . import NOTHING_KNOWN, Marks, Session
from .client import client_factory, primaries
from .redis import RedisStore, marks_of

K = TypeVar("K")
V = TypeVar("V")

_log = logging.getLogger(__name__)

#: Sessions have versions in groups, so that there is a bound to how many there are.
_GROUPS = 1 << 16
#: Of tokens, so many are remembered; of sessions, so many bytes of memory, roughly.
_TOKENS_KEPT = 20_000
_SESSION_BYTES = 64 * 2**20
#: Seconds until a lost link is tried again; and one that the server does not allow.
_SOON, _LATER = 0.1, 30.0


class View(NamedTuple):
    """What a link vouches for: versions that are all true at a moment of the monotonic clock."""

    #: Of all marks of a place. They change when somebody is revoked, which is rare.
    places: dict[str, int]
    #: Of sessions, by group. They change each time that one is slid.
    groups: list[int]
    as_of: float


#: Nothing is vouched for.
BLIND = View({}, [], float("-inf"))


class _Known(NamedTuple):
    """The marks of a token as they were read."""

    places: dict[str, int]
    version: int
    read_at: float
    letters: str
    #: ``None`` where there was none at all.
    values: list[bytes | None] | None


class _Seen(NamedTuple):
    """A session as it was read."""

    groups: list[int]
    group: int
    version: int
    read_at: float
    session: Session
    #: Until then a use need not be told to Redis.
    until: float


class NearStore(RedisStore):
    """A :class:`~flask_jam.stores.redis.RedisStore` that asks only for what it does not know.

    :param silence: seconds after which nothing is believed that Redis has not confirmed.
    """

    def __init__(
        self, client: Any, *, prefix: str = "jam", timeout: float | None = None,
        silence: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__(client, prefix=prefix, timeout=timeout)
        self._silence = silence
        # First in, first out: to read one changes nothing, so only to write one needs the lock.
        self._known: FIFOCache[tuple[str | None, ...], _Known] = FIFOCache(_TOKENS_KEPT)
        self._seen: FIFOCache[str, _Seen] = FIFOCache(_SESSION_BYTES, _weight)
        self._puts = fork_safe_lock()
        self.link = Link(self.client, prefix, silence)
        # The threads of a store that nobody has any more must not live on.
        finalize(self, self.link.stop).atexit = False

    def marks(
        self, place: str, jti: str | None, family: str | None, subject: str | None, now: float
    ) -> Marks:
        """See :class:`~flask_jam.stores.Store`."""
        places, _, as_of = self.link.view
        at, version = time.monotonic(), places.get(place, 0)
        if at - as_of >= self._silence:
            return self._unheard(super().marks(place, jti, family, subject, now))
        known = _found(self._known, (jti, family, subject))
        if (
            known is None
            or known.places is not places
            or known.version != version
            or at - known.read_at > MAX_AGE
        ):
            letters, keys = self.mark_keys(place, jti, family, subject)
            values = self.read_marks(keys)
            known = _Known(
                places, version, at, letters, values if values.count(None) < len(values) else None
            )
            self._put(self._known, (jti, family, subject), known)
        if known.values is None:
            return NOTHING_KNOWN
        return marks_of(known.letters, known.values, now)

    def read_session(self, key: str, now: float) -> Session | None:
        """See :class:`~flask_jam.stores.Store`."""
        _, groups, as_of = self.link.view
        at = time.monotonic()
        if at - as_of >= self._silence:
            return self._unheard(super().read_session(key, now))
        seen = _found(self._seen, key)
        if (
            seen is not None
            and seen.groups is groups
            and groups[seen.group] == seen.version
            and now < seen.until
            and at - seen.read_at < MAX_AGE
        ):
            return seen.session
        group = _group(self._session_key(key).encode())
        version = groups[group]
        session = super().read_session(key, now)
        if session is not None:
            until = min(session.expires_at, session.last_seen_at + session.slide_after)
            self._put(self._seen, key, _Seen(groups, group, version, at, session, until))
        return session

    def _unheard(self, answer: V) -> V:
        # Only when Redis has answered is it worth trying to listen to it.
        self.link.start()
        return answer

    def _put(self, cache: Any, name: Any, value: Any) -> None:
        with self._puts, suppress(ValueError):  # what weighs more than all may is not kept
            cache[name] = value

    def changed(self, keys: Iterable[str]) -> None:
        """See :class:`~flask_jam.stores.redis.RedisStore`."""
        self.link.forget(key.encode() for key in keys)

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


def _group(key: bytes) -> int:
    return hash(key) % _GROUPS


def _weight(seen: _Seen) -> int:
    # What JSON becomes in memory, by rule of thumb.
    return 1000 + 4 * len(strict_dumps(dict(seen.session.data)))


def store_for(settings: Settings) -> RedisStore:
    """The store that the settings describe.

    :raises ConfigError: if ``redis_url`` is not usable.
    """
    url, timeout, prefix = settings.redis_url, settings.redis_timeout, settings.redis_prefix
    if isinstance(url, str):
        client, limit = client_factory(url, timeout), timeout
    else:
        client, limit = url, None
    if not settings.near_cache:
        return RedisStore(client, prefix=prefix, timeout=limit)
    return NearStore(client, prefix=prefix, timeout=limit, silence=settings.near_cache_silence)


class Link:
    """Listens to Redis in threads of its own, one for each server that takes writes.

    It starts with the first read and, when it is lost, with a read after that: so each process
    has its own, also after a fork, and none that is idle keeps knocking at a server that is down.
    """

    def __init__(self, client: Any, prefix: str, silence: float) -> None:
        self.view = BLIND
        self._client = client
        # A key is prefix:letter:{place}:name.
        self._letter_at = len(prefix.encode()) + 1
        self._place = slice(self._letter_at + 3, self._letter_at + 5)
        self._prefixes = [f"{prefix}:{letter}:" for letter in "txacs"]
        self._silence = silence
        self._lock = fork_safe_lock()
        self._run: _Run | None = None
        self._try_at = 0.0
        self._warned: set[str] = set()
        _links.add(self)

    def start(self) -> None:
        """Have threads that listen, unless there are some, or it was tried just now."""
        if self._run is not None or time.monotonic() < self._try_at:
            return
        with self._lock:
            if self._run is None:
                self._run = _Run()
                self._spawn(self._begin, self._run)

    def _spawn(self, job: Any, *arguments: Any) -> None:
        threading.Thread(
            target=job, args=arguments, name="flask_jam near cache", daemon=True
        ).start()

    def _begin(self, run: _Run) -> None:
        try:
            pools = primaries(self._client())
        except Exception as error:  # as below
            self._lose(run, error)
            return
        run.expect(pools)
        for name, pool in pools.items():
            self._spawn(self._listen, run, name, pool)

    def _listen(self, run: _Run, name: str, pool: Any) -> None:
        pushed, asked = _connection(pool, self._silence), _connection(pool, self._silence)
        try:
            asked.connect()
            self._subscribe(pushed)
            self._follow(run, name, pushed, asked)
        except Exception as error:  # a thread that died would never be replaced
            self._lose(run, error)
        finally:
            pushed.disconnect()
            asked.disconnect()

    def _subscribe(self, connection: Any) -> None:
        connection.connect()
        # Redirected to itself: RESP2 has no other way to get pushes and answers on one link.
        own_id = _asked(connection, "CLIENT", "ID")
        prefixes = [part for prefix in self._prefixes for part in ("PREFIX", prefix)]
        _asked(connection, "CLIENT", "TRACKING", "ON", "REDIRECT", own_id, "BCAST", *prefixes)
        _asked(connection, "SUBSCRIBE", "__redis__:invalidate")

    def _follow(self, run: _Run, name: str, pushed: Any, asked: Any) -> None:
        """Read pushes; ask again and again whether the link still lives, and is to a primary."""
        before = float("-inf")
        while self._run is run:
            sent = time.monotonic()
            if primaries(self._client()).keys() != run.names:
                raise ConnectionError("the cluster has other servers now")
            if _asked(asked, "ROLE")[0] != b"master":
                raise ConnectionError("a replica hears of a change when it comes by")
            pushed.send_command("PING")
            self._read(run, pushed, sent + self._silence, until_pong=True)
            self._confirm(run, name, before)
            if before > float("-inf"):
                self._read(run, pushed, sent + self._silence / 4)
            before = sent

    def _read(self, run: _Run, connection: Any, end: float, *, until_pong: bool = False) -> None:
        while self._run is run:
            if not connection.can_read(timeout=max(end - time.monotonic(), 0)):
                if until_pong:
                    raise TimeoutError
                return
            message = connection.read_response()
            if message[0] == b"message":
                self._pushed(message[2])
            elif until_pong:
                return

    def _pushed(self, keys: list[bytes] | None) -> None:
        if keys is not None:
            self.forget(keys)
            return
        # FLUSHALL, or more changes than Redis could tell.
        with self._lock:
            self.view = _nothing_known()._replace(as_of=self.view.as_of)

    def _confirm(self, run: _Run, name: str, moment: float) -> None:
        with self._lock:
            if self._run is run:
                places, groups, _ = self.view if self.view is not BLIND else _nothing_known()
                self.view = View(places, groups, run.confirmed(name, moment))

    def forget(self, keys: Iterable[bytes]) -> None:
        """What was read of these keys up to now counts no more."""
        with self._lock:
            places, groups, _ = self.view
            for key in keys if groups else ():
                letter, place = key[self._letter_at : self._letter_at + 1], key[self._place]
                if letter == b"s":
                    groups[_group(key)] += 1
                else:
                    places[place.decode()] = places.get(place.decode(), 0) + 1

    def _lose(self, run: _Run, error: BaseException) -> None:
        refused = isinstance(error, ResponseError)
        with self._lock:
            if self._run is not run:
                return
            self._run, self.view = None, BLIND
            self._try_at = time.monotonic() + (_LATER if refused else _SOON)
        if refused:
            self._warn("the near cache is off, because Redis does not allow what it needs: "
                       f"{type(error).__name__}")  # fmt: skip
        else:
            _log.info("the near cache was dropped, the link to Redis is lost")

    def _warn(self, sentence: str) -> None:
        if sentence not in self._warned:
            self._warned.add(sentence)
            _log.warning(sentence)

    def stop(self) -> None:
        """Listen no more; the threads end by themselves, soon."""
        with self._lock:
            self._run, self.view = None, BLIND

    def after_fork(self) -> None:
        """In a child: the threads stayed with the parent."""
        self._run, self.view, self._try_at = None, BLIND, 0.0


def _nothing_known() -> View:
    return View({}, [0] * _GROUPS, float("-inf"))


class _Run:
    """One life of a link: the servers that it listens to, and up to when each was heard."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._moments: dict[str, float] = {}

    def expect(self, names: Iterable[str]) -> None:
        self.names = set(names)
        self._moments = dict.fromkeys(self.names, float("-inf"))

    def confirmed(self, name: str, moment: float) -> float:
        """Up to when all of them were heard, now that this one was."""
        self._moments[name] = moment
        return min(self._moments.values())


def _connection(pool: Any, silence: float) -> Any:
    said = {name: value for name, value in pool.connection_kwargs.items()
            if not name.startswith(("maint_", "oss_cluster_maint"))}  # fmt: skip
    own = {"protocol": 2, "decode_responses": False, "health_check_interval": 0,
           "socket_timeout": silence, "retry": Retry(NoBackoff(), 0)}  # fmt: skip
    return pool.connection_class(**{**said, **own})


def _asked(connection: Any, *command: Any) -> Any:
    connection.send_command(*command)
    return connection.read_response()


_links: WeakSet[Link] = WeakSet()


def _after_fork() -> None:
    for link in list(_links):
        link.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
