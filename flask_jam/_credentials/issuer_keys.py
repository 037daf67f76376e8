"""The keys of one issuer: configured, or fetched and kept fresh.

Each issuer has a thread that fetches its keys, so a provider or name server that hangs delays
neither a request nor another issuer. The first token of the issuer starts the thread, once in each
process. A request waits for it only while there are no keys at all, or for an unknown ``kid``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from .._helpers.fork_lock import start_anew_in_child
from ..errors import ConfigError, IssuerUnavailable, Reason, TokenError
from ..keys import Key, KeyRing
from .issuer import Issuer
from .key_fetch import FetchedJSON, FetchError, fetch_keys

_log = logging.getLogger(__name__)

#: Bounds of max-age, and the lifetime of a key set without one, in seconds.
SHORTEST_FRESH, LONGEST_FRESH, USUAL_FRESH = 300.0, 3600.0, 600.0
#: The part of that time after which it is fetched again.
AHEAD = 0.8
#: How long an old set is used while fetching fails, in seconds.
LONGEST_STALE = 86400.0
#: The longest time between two failing attempts, in seconds.
LONGEST_BACK_OFF = 60.0
#: The shortest time between two fetches for an unknown kid, in seconds.
KID_INTERVAL = 30.0
#: How long requests wait for an attempt to fetch keys, from its beginning: later ones do not wait.
PATIENCE = 2.0
#: How many requests may wait for a kid at a time. More would block the other requests' threads.
MOST_WAITING = 4


class KeyState(NamedTuple):
    """The state of an issuer's keys, for operators."""

    #: Their URL; None if they are configured.
    url: str | None = None
    #: Their ``kid``; empty if there are none yet.
    kids: tuple[str, ...] = ()
    #: Seconds since they were fetched; None if they never were.
    age: float | None = None
    #: Failed attempts since the last successful one.
    failures: int = 0
    #: Why the last attempt failed.
    error: str | None = None


class KeySource(Protocol):
    """The source of one issuer's keys."""

    @property
    def ring(self) -> KeyRing | None:
        """Return the keys that verify now; None if :meth:`find` must be called."""
        ...

    def find(self, header: Mapping[str, Any]) -> tuple[Key, KeyRing]:
        """Return the key that a header names, and its ring.

        :raises TokenError: ``invalid``, if there is no such key.
        :raises IssuerUnavailable: if the keys are unavailable.
        """
        ...

    def state(self) -> KeyState:
        """Return the state for operators."""
        ...

    def close(self) -> None:
        """Stop the thread, if any."""
        ...


class GivenKeys:
    """Keys from the configuration."""

    def __init__(self, ring: KeyRing) -> None:
        self.ring: KeyRing = ring

    def find(self, header: Mapping[str, Any]) -> tuple[Key, KeyRing]:
        """See :class:`KeySource`."""
        key = self.ring.find(header)
        if key is None:
            raise TokenError(Reason.INVALID)
        return key, self.ring

    def state(self) -> KeyState:
        """See :class:`KeySource`."""
        return KeyState(kids=self.ring.kids)

    def close(self) -> None:
        """See :class:`KeySource`."""


class FetchedKeys:
    """Keys that a thread fetches and keeps fresh.

    :param fetch: called with the rules and the last working URL; returns a JWK Set.
    :param timer: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        rules: Issuer,
        fetch: Callable[[Issuer, str | None], FetchedJSON] = fetch_keys,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules, self._fetch, self._timer = rules, fetch, timer
        #: None also in a new process: the first look starts the thread there.
        self.ring: KeyRing | None = None
        self._kept: _Kept | None = None
        self._failures, self._error = 0, ""
        self._attempts, self._attempted_at, self._began = 0, 0.0, 0.0
        self._asked_at, self._is_asked = float("-inf"), False
        self._waiting = 0
        self._is_closed = False
        self.after_fork()
        start_anew_in_child(self)

    def after_fork(self) -> None:
        """Reset in a child: the thread stayed with the parent, the keys are copied."""
        self.ring = None
        self._changed = threading.Condition()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_fetching, self._waiting = False, 0

    def find(self, header: Mapping[str, Any]) -> tuple[Key, KeyRing]:
        """See :class:`KeySource`."""
        with self._changed:
            self._start()
            ring = self.ring or self._first_ring()
            key = ring.find(header)
            if key is None:
                key, ring = self._find_again(header)
            return key, ring

    def _start(self) -> None:
        if self._is_closed or (self._thread is not None and self._thread.is_alive()):
            return
        self._is_fetching, self._began = False, self._timer()
        self._forget_old()
        self.ring = self._kept.ring if self._kept else None
        arguments = (weakref.ref(self), self._wake)
        thread = threading.Thread(
            target=_serve, args=arguments, name="flask_jam-issuer-keys", daemon=True
        )
        # The system has no thread to give, or the interpreter ends: the next request tries again.
        with contextlib.suppress(RuntimeError):
            thread.start()
            self._thread = thread
            weakref.finalize(self, self._wake.set).atexit = False

    def _first_ring(self) -> KeyRing:
        """Wait for the first attempt. After one that failed, no request waits for the next."""
        self._wait(lambda: self.ring is not None or self._failures > 0)
        if self.ring is None:
            raise IssuerUnavailable
        return self.ring

    def _find_again(self, header: Mapping[str, Any]) -> tuple[Key, KeyRing]:
        """Fetch the set again for an unknown kid, unless that was done just now."""
        if not isinstance(header.get("kid"), str) or not self._is_asked_for():
            raise TokenError(Reason.INVALID)
        if self._waiting >= MOST_WAITING:
            raise IssuerUnavailable
        attempts, failures = self._attempts, self._failures
        self._waiting += 1
        try:
            is_done = self._wait(lambda: self._attempts > attempts)
        finally:
            self._waiting -= 1
        ring = self.ring
        key = ring.find(header) if ring else None
        if ring is not None and key is not None:
            return key, ring
        if not is_done or self._failures > failures:
            raise IssuerUnavailable
        raise TokenError(Reason.INVALID)

    def _wait(self, is_over: Callable[[], bool]) -> bool:
        """Wait for an attempt. One that hangs, if only in the name server, holds up few requests.

        Else each of them would wait anew, for as long as it hangs.
        """
        if self._thread is None:
            return False
        waited = max(self._timer() - self._began, 0.0)
        return self._changed.wait_for(is_over, max(PATIENCE - waited, 0.0))

    def _is_asked_for(self) -> bool:
        """Return True if the set is being fetched, or will be in a moment. Not in an outage."""
        if self._is_closed or self._failures:
            return False
        if self._is_fetching or self._is_asked:
            return True
        now = self._timer()
        if now - self._asked_at < KID_INTERVAL:
            return False
        self._asked_at = self._began = now
        self._is_asked = True
        self._wake.set()
        return True

    # --- in the thread ---

    def work(self) -> float | None:
        """Fetch, if it is time; return the seconds until the next time, or None at the end."""
        with self._changed:
            if self._is_closed:
                return None
            self._forget_old()
            due = self._due_at() - self._timer()
            if due > 0 and not self._is_asked:
                return due
            # One request for a kid. When it is time, the metadata is read again: keys may move.
            url = self._kept.url if self._kept and self._is_asked else None
            self._is_fetching, self._is_asked = True, False
            self._began = self._timer()
        outcome = self._attempt(url)
        self._publish(outcome)
        # Not under the lock: log handlers are code of the app.
        if isinstance(outcome, str):
            self._log(outcome)
        return max(self._due_at() - self._timer(), 0.0)

    def _publish(self, outcome: _Kept | str) -> None:
        with self._changed:
            self._is_fetching = False
            self._attempts += 1
            self._attempted_at = self._timer()
            if isinstance(outcome, str):
                self._failures, self._error = self._failures + 1, outcome
                self._forget_old()
            else:
                self._failures, self._error = 0, ""
                self._kept, self.ring = outcome, outcome.ring
            self._changed.notify_all()

    def _attempt(self, url: str | None) -> _Kept | str:
        """Return the fetched keys, or why fetching failed. It never raises."""
        began = self._timer()
        try:
            fetched = self._fetch(self._rules, url)
            members = sorted(json.dumps(each, sort_keys=True) for each in _members(fetched))
            if self._kept is not None and self._kept.members == members:
                ring = self._kept.ring
            else:
                ring = KeyRing.from_jwks(fetched.document, algorithms=self._rules.algorithms)
        except (FetchError, ConfigError) as error:
            return str(error)
        except Exception as error:
            return f"unexpected: {type(error).__name__}"
        return _Kept(ring, members, fetched.url, began, _fresh_for(fetched.max_age))

    def _log(self, failure: str) -> None:
        what = "the former ones stay in use" if self.ring else "its tokens get a 503"
        issuer = self._rules.issuer
        with contextlib.suppress(Exception):  # from a log filter or handler of the app
            _log.warning("the keys of issuer %s were not fetched: %s; %s", issuer, failure, what)

    def _due_at(self) -> float:
        """Return the time of the next fetch."""
        if self._failures:
            delay = min(2.0 ** min(self._failures - 1, 10), LONGEST_BACK_OFF)
            return self._attempted_at + delay * random.uniform(0.75, 1.0)  # noqa: S311
        return self._kept.fetched_at + AHEAD * self._kept.fresh_for if self._kept else 0.0

    def _forget_old(self) -> None:
        if self._kept is not None and self._timer() - self._kept.fetched_at > LONGEST_STALE:
            self._kept = self.ring = None

    # --- for operators ---

    def state(self) -> KeyState:
        """See :class:`KeySource`."""
        with self._changed:
            kept = self._kept
            return KeyState(
                url=kept.url if kept else self._rules.jwks_uri or self._rules.issuer,
                kids=kept.ring.kids if kept else (),
                age=self._timer() - kept.fetched_at if kept else None,
                failures=self._failures,
                error=self._error or None,
            )

    def close(self) -> None:
        """See :class:`KeySource`."""
        with self._changed:
            self._is_closed = True
            thread, self._thread = self._thread, None
            self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(PATIENCE)


class _Kept(NamedTuple):
    ring: KeyRing
    #: The members of the set: one that did not change keeps its ring, and the facts of it.
    members: list[str]
    url: str
    #: The time before the request: an answer may be as old as its request.
    fetched_at: float
    fresh_for: float


def _serve(reference: weakref.ref[FetchedKeys], wake: threading.Event) -> None:
    """Keep the keys fresh while their owner is alive."""
    while True:
        wake.clear()
        keys = reference()
        wait = keys.work() if keys is not None else None
        del keys
        if wait is None:
            return
        wake.wait(wait)


def _members(fetched: FetchedJSON) -> list[Any]:
    members = fetched.document.get("keys")
    return members if isinstance(members, list) else []


def _fresh_for(max_age: float | None) -> float:
    if max_age is None:
        return USUAL_FRESH
    return min(max(max_age, SHORTEST_FRESH), LONGEST_FRESH)


def source_of(issuer: Issuer) -> KeySource:
    """Return the source of an issuer's keys. It fetches nothing before its first use."""
    ring = issuer.static_keys()
    return FetchedKeys(issuer) if ring is None else GivenKeys(ring)
