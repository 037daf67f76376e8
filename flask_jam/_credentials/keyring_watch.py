"""A thread that watches the directory of the key ring, so that no request has to.

It starts with the first use of a key in a process. That use waits for the thread's first check, as
the ring from before a start or a fork may be old. From then on a request reads an attribute, as
without a directory, and the thread replaces its value.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from weakref import ref

from .._helpers.fork_lock import fork_safe_lock, start_anew_in_child
from ..errors import ConfigError, safe_summary
from ..keys import KeyRing
from ..settings import JWTSettings
from .key_directory import KeyringDirectory, Stamp
from .key_states import POLL, Lives, Member, Ring, State, configured

_log = logging.getLogger("flask_jam.keyring")

#: How long the first use of a key waits for the first check, in seconds.
_PATIENCE = 2.0


class KeyringWatch:
    """Keep the ring of a directory up to date in this process.

    :param clock: returns seconds since the epoch.
    :raises ConfigError: if the directory cannot be used.
    """

    def __init__(self, jwt: JWTSettings, clock: Callable[[], float]) -> None:
        assert jwt.keyring is not None
        self.directory = KeyringDirectory(jwt.keyring)
        self.lives = Lives.of(jwt)
        self.clock = clock
        self.configured = _configured(jwt)
        self._publish: Callable[[KeyRing], object] = lambda _: None
        self._known: Stamp | None = None
        self._complaint: str | None = None
        self.ring = Ring(self.configured, self.lives)
        self._read()
        self.current = self.ring.keyring(clock())
        #: The ring that a process uses until its first check of the directory.
        self.unread = UnreadRing(self._first_look)
        self._is_published = False
        self._lock = fork_safe_lock()
        self._run: object | None = None
        self._looked, self._wait_until = threading.Event(), 0.0
        start_anew_in_child(self)

    def attach(self, publish: Callable[[KeyRing], object]) -> None:
        """Register a function that receives each new ring, such as ``Verifier.rekey``."""
        self._publish = publish

    # --- looking ---

    def look(self) -> None:
        """Read the directory if it has changed; publish the ring if a state has.

        If it cannot be read, the previous ring stays in use.
        """
        try:
            self._read()
        except ConfigError as error:
            self._complain(str(error))
        fresh = self.ring.keyring(self.clock())
        if self._is_published and _is_same(fresh, self.current):
            return
        self.current, self._is_published = fresh, True
        self._publish(fresh)

    def _read(self) -> None:
        stamp = self.directory.stamp()
        if stamp is None and self._known is not None:
            raise self.directory.gone()
        if stamp is not None and stamp != self._known:
            self.ring = Ring([*self.configured, *self._members()], self.lives)
            # Only now, so that a half-written file is read again.
            self._known = stamp
        if self._complaint is not None:
            self._complaint = None
            _log.warning("the key ring can be read again")

    def _members(self) -> list[Member]:
        members, now = self.directory.read(was_there=True), self.clock()
        own = [each for each in self.ring.members if each.key and each.setting is None]
        # No command takes the last key that has signed: an empty ring is a copy that failed.
        if not members and any(each.active_at <= now for each in own):
            raise ConfigError(f"jwt.keyring: {self.directory.file} has no key any more")
        return members

    def _complain(self, sentence: str) -> None:
        if sentence != self._complaint:
            self._complaint = sentence
            _log.error("%s. The keys that were read before stay in use", sentence)

    # --- the thread ---

    def _first_look(self) -> KeyRing:
        """Return the ring after the thread's first check; the initial one if that takes long."""
        self._start()
        is_in_time = self._looked.wait(max(self._wait_until - time.monotonic(), 0.0))
        if not is_in_time and self._complaint is None:
            self._complain(f"jwt.keyring: {self.directory.path} has not answered yet")
        return self.current

    def _start(self) -> None:
        with self._lock:
            if self._run is not None:
                return
            run = self._run = object()
            self._looked, self._wait_until = threading.Event(), time.monotonic() + _PATIENCE
        # Not under the lock: with gevent a thread may run before this one goes on.
        arguments = (ref(self), run, self._looked)
        thread = threading.Thread(
            target=_watch, args=arguments, name="flask_jam keyring", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # too many threads, or the interpreter is exiting
            self._run, self._wait_until = None, 0.0
            self._complain(f"jwt.keyring: no thread can watch it: {error}")

    def after_fork(self) -> None:
        """Reset in a child: the thread stayed with the parent, and its ring may be old."""
        self._run, self._looked = None, threading.Event()
        if self._is_published:
            self._is_published = False
            self._publish(self.unread)


def _watch(watch_of: Callable[[], KeyringWatch | None], run: object, looked: Any) -> None:
    while True:
        watch = watch_of()
        if watch is None or watch._run is not run:
            return
        try:
            watch.look()
        except Exception as error:  # a thread that died would never be replaced
            watch._complain(f"jwt.keyring: checking it raised {safe_summary(error)}")
        looked.set()
        del watch  # a Jam that is not used any more must not be kept
        time.sleep(POLL)


class UnreadRing(KeyRing):
    """A placeholder for the ring until this process has read the directory."""

    def __init__(self, look: Callable[[], KeyRing]) -> None:
        self._look = look

    def __getattr__(self, name: str) -> Any:
        # The attributes of a KeyRing are read from the real one.
        if name.startswith("__") or name == "_look":
            raise AttributeError(name)
        return getattr(self._look(), name)


def _is_same(one: KeyRing, other: KeyRing) -> bool:
    ids = [[id(key) for key in (ring.signer, *ring.keys)] for ring in (one, other)]
    return ids[0] == ids[1]


def _configured(jwt: JWTSettings) -> tuple[Member, ...]:
    """Return the keys of the settings, which verify beside those of the directory."""
    given = jwt.secret_key, jwt.private_key, jwt.public_key
    if not any((*given, jwt.private_key_file, jwt.public_key_file)):
        return ()
    # A secret may be replaced by a key of another algorithm.
    is_secret = jwt.secret_key is not None and not jwt.alg.startswith("HS")
    return tuple(
        configured(jwt, KeyRing.from_settings(replace(jwt, alg="HS256") if is_secret else jwt))
    )


def is_retired(watch: KeyringWatch, kid: object) -> bool:
    """Return True if a kid names a key that was retired."""
    states = watch.ring.states(watch.clock())
    return any(member.kid == kid and state is State.RETIRED for member, state in states)
