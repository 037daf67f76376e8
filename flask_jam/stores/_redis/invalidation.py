"""The link on which Redis tells this process what has changed.

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
import threading
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from ..._helpers.fork_lock import fork_safe_lock, start_anew_in_child
from .redis_internals import ask, connection_of, learn_servers, primaries, primaries_of

_log = logging.getLogger("flask_jam.stores.redis")

#: Sessions and API keys have versions in groups, so that there is a bound to how many there are.
_GROUPS = 1 << 16
_GROUPED = (b"s", b"q")
#: Seconds until a lost link is tried again: at first, and after many times that it came to nothing
#: or once that the server did not allow it.
_SOON, _LATER = 0.1, 30.0
#: Seconds that a link which was lost must hold until it counts as back: one that comes and goes is
#: one loss.
_STEADY = 1.0


class View(NamedTuple):
    """What a link vouches for: versions that are all true at a moment of the monotonic clock."""

    #: Of all marks of a slot. They change when a user is revoked, which is rare.
    slots: dict[str, int]
    #: Of sessions and API keys, by group. They change each time that a use of one is noted.
    groups: list[int]
    as_of: float
    #: What was kept in another era counts no more. (Small, as whatever is kept refers to it.)
    era: object


#: Nothing is vouched for.
BLIND = View({}, [], float("-inf"), None)


def group_of(key: bytes) -> int:
    return hash(key) % _GROUPS


class Link:
    """Listens to Redis in threads of its own, one for each server that takes writes.

    It starts with the first read and, when it is lost, with a read after that: so each process
    has its own, also after a fork, and none that is idle keeps knocking at a server that is down.
    """

    def __init__(self, client: Any, prefix: str, silence: float) -> None:
        self.view = BLIND
        self._client = client
        # A key is prefix:letter:{slot}:name.
        self._letter_at = len(prefix.encode()) + 1
        self._slot = slice(self._letter_at + 3, self._letter_at + 5)
        self._prefixes = [f"{prefix}:{letter}:" for letter in "txacksq"]
        self._silence = silence
        self._lock = fork_safe_lock()
        self._run: _Run | None = None
        self._try_at, self._pause = 0.0, _SOON
        self._warned: set[str] = set()
        self._losses = 0
        #: When the link was lost that is not back yet, and when it was heard again, if it was.
        self._lost_at: float | None = None
        self._heard_at: float | None = None
        start_anew_in_child(self)

    def start(self) -> None:
        """Have threads that listen, unless there are some, or it was tried just now."""
        if self._run is not None or time.monotonic() < self._try_at:
            return
        with self._lock:
            if self._run is not None:
                return
            run = self._run = _Run()
        # Not under the lock: with gevent a thread may run before this one goes on.
        self._spawn(self._begin, run)

    def _spawn(self, job: Any, run: _Run, *arguments: Any) -> None:
        thread = threading.Thread(
            target=job, args=(run, *arguments), name="flask_jam near cache", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # there are too many, or the interpreter ends
            self._lose(run, error)

    def _begin(self, run: _Run) -> None:
        try:
            pools = primaries(self._made_client())
        except Exception as error:  # as below
            self._lose(run, error)
            return
        run.expect(pools)
        for name, pool in pools.items():
            self._spawn(self._listen, run, name, pool)

    def _listen(self, run: _Run, name: str, pool: Any) -> None:
        pushed, asked = connection_of(pool, self._silence), connection_of(pool, self._silence)
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
        own_id = ask(connection, "CLIENT", "ID")
        prefixes = [part for prefix in self._prefixes for part in ("PREFIX", prefix)]
        ask(connection, "CLIENT", "TRACKING", "ON", "REDIRECT", own_id, "BCAST", *prefixes)
        ask(connection, "SUBSCRIBE", "__redis__:invalidate")

    def _follow(self, run: _Run, name: str, pushed: Any, asked: Any) -> None:
        """Read pushes; ask again and again whether the link still lives, and is to a primary."""
        before = float("-inf")
        while self._run is run:
            sent = time.monotonic()
            if primaries(self._made_client()).keys() != run.names:
                raise ConnectionError("the cluster has other servers now")
            if ask(asked, "ROLE")[0] != b"master":
                raise ConnectionError("a replica hears of a change when it comes by")
            if name and primaries_of(ask(asked, "CLUSTER", "SLOTS"), name) != run.names:
                learn_servers(self._made_client())
                raise ConnectionError("the cluster has other servers now")
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
        away = None
        with self._lock:
            if self._run is run:
                slots, groups, _, era = self.view if self.view is not BLIND else _nothing_known()
                self.view = View(slots, groups, run.confirmed(name, moment), era)
                if self.view.as_of > float("-inf"):
                    self._pause = _SOON
                    away = self._time_away()
        if away is not None:
            _log.warning("the near cache is in use again, its link to Redis is back (%.1f s)", away)

    def _time_away(self) -> float | None:
        """Return how long the link was lost, once it has been back for a while."""
        now = time.monotonic()
        self._heard_at = self._heard_at or now
        if self._lost_at is None or now - self._heard_at < _STEADY:
            return None
        away, self._lost_at = self._heard_at - self._lost_at, None
        return away

    def forget(self, keys: Iterable[bytes]) -> None:
        """What was read of these keys up to now counts no more."""
        with self._lock:
            slots, groups, _, _ = self.view
            for key in keys if groups else ():
                letter, slot = key[self._letter_at : self._letter_at + 1], key[self._slot]
                if letter in _GROUPED:
                    groups[group_of(key)] += 1
                else:
                    slots[slot.decode()] = slots.get(slot.decode(), 0) + 1

    def _lose(self, run: _Run, error: BaseException) -> None:
        refused = isinstance(error, ResponseError) and not str(error).startswith("BUSY")
        with self._lock:
            if self._run is not run:
                return
            self._run, self.view = None, BLIND
            self._try_at = time.monotonic() + (_LATER if refused else self._pause)
            self._pause = min(2 * self._pause, _LATER)
            self._losses += self._heard_at is not None
            first, self._heard_at = self._lost_at is None, None
            if first:
                self._lost_at = time.monotonic()
        if refused:
            self._warn(
                "the near cache is off, because Redis does not allow what it needs: "
                f"{type(error).__name__}"
            )
        elif first:
            _log.warning(
                "the near cache was dropped, its link to Redis is lost: %s; every read asks Redis "
                "until it is back",
                type(error).__name__,
            )

    def _warn(self, sentence: str) -> None:
        if sentence not in self._warned:
            self._warned.add(sentence)
            _log.warning(sentence)

    def stats(self) -> dict[str, Any]:
        """Return the state of the link, its age in seconds and how often it was lost."""
        as_of, age = self.view.as_of, time.monotonic() - self.view.as_of
        if age < self._silence:
            state = "up"
        elif self._run is not None:
            state = "connecting"
        else:
            state = "idle" if self._lost_at is None else "down"
        known = as_of > float("-inf")
        return {"link": state, "age": age if known else None, "losses": self._losses}

    def stop(self) -> None:
        """Listen no more; the threads end by themselves, soon."""
        with self._lock:
            self._run, self.view = None, BLIND

    def end(self) -> None:
        """The same without the lock: the collector may run where this thread holds it."""
        self._run, self.view = None, BLIND

    def _made_client(self) -> Any:
        make = self._client()
        if make is None:
            raise ConnectionError("the store is not used any more")
        return make()

    def after_fork(self) -> None:
        """In a child: the threads stayed with the parent."""
        self._run, self.view, self._try_at = None, BLIND, 0.0
        self._losses, self._lost_at, self._heard_at = 0, None, None


def _nothing_known() -> View:
    return View({}, [0] * _GROUPS, float("-inf"), object())


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
