"""Password checks by the application; a success is cached for a minute.

What is remembered is an HMAC of name and password under a key of this process, never a password.
It carries the cut-off of its subject from before the check, as a token does, so
``revoke_subject`` ends it at once and in every process. A failure is never remembered, and neither
is a token, a key or a ticket in the place of the password: it has an end of its own.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from types import CoroutineType
from typing import NamedTuple

from .._helpers.fork_lock import start_anew_in_child
from ..errors import ConfigError, Reason, SessionError, TokenError
from ..stores.interface import CLOCK_SKEW, NO_MARKS, Store, slot_of
from .access_tokens import Clock
from .api_key_text import is_any_key
from .sessions import checked_owner, is_session_id
from .tickets import is_ticket
from .token_cache import FactCache

#: Called with name and password; returns the subject, or ``None`` if they are wrong.
PasswordCheck = Callable[[str, str], str | None]

#: How long a success is cached, in seconds from the start of the check.
REMEMBERED = 60.0
#: How many successes are cached.
MOST = 10_000
#: How long a request waits for another with the same name and password, in seconds.
_LONGEST_WAIT = 5.0
#: A JWT: its header begins with a brace.
_TOKEN = re.compile(r"e[wy][\w-]*\.[\w-]+\.[\w-]*", re.ASCII)


class _Success(NamedTuple):
    """A check that succeeded."""

    subject: str
    slot: str
    #: The latest cutoff of the subject, read before the check.
    cut_off: float
    #: When the check began, on the wall clock and on the monotonic one.
    began: float
    began_monotonic: float


class PasswordChecks:
    """Call the application's check, at most once a minute for each name and password."""

    def __init__(
        self,
        check: PasswordCheck,
        store: Store,
        clock: Clock,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._check = check
        self._store = store
        self._clock = clock
        self._timer = timer
        self._known: FactCache[_Success] = FactCache(MOST, timer)
        self.after_fork()
        start_anew_in_child(self)

    def after_fork(self) -> None:
        """Clear the cache, and use a new key: each process has its own."""
        self._key = secrets.token_bytes(32)
        #: By HMAC: the running check, for other threads to wait for.
        self._under_way: dict[bytes, Event] = {}
        self._known.clear()

    def subject_of(self, name: str, password: str) -> str:
        """Return the subject of a name and password.

        :raises TokenError: ``invalid`` if they are wrong, ``revoked`` if the subject was revoked
            again and again during the check.
        :raises StoreUnavailable: if it is unknown whether the subject was revoked.
        :raises ConfigError: if the check returned neither a subject nor ``None``.
        """
        digest = self._digest(name, password)
        known, ticket = self._known.get(digest)
        if known is not None and self._holds(known):
            return known.subject
        with self._after_the_first(digest) as has_waited:
            if has_waited:
                known, ticket = self._known.get(digest)
                if known is not None and self._holds(known):
                    return known.subject
            success = self._checked(name, password, name if known is None else known.subject)
            if not _ends_by_itself(password):
                self._known.put(digest, success, ticket)
            return success.subject

    def _digest(self, name: str, password: str) -> bytes:
        raw = name.encode()
        message = len(raw).to_bytes(4, "big") + raw + password.encode()
        return hmac.digest(self._key, message, "sha256")

    def _holds(self, known: _Success) -> bool:
        """Return True if a success is recent, and its subject was not revoked."""
        now = self._clock()
        if not 0 <= now - known.began < REMEMBERED:
            return False
        if self._timer() - known.began_monotonic >= REMEMBERED:
            return False
        marks = self._store.marks(known.slot, None, None, known.subject, now)
        # "Log out everywhere" keeps the password, so asking for it again costs its user nothing.
        cut_off = max(marks.cut_off or 0.0, marks.logins or 0.0)
        return marks is NO_MARKS or cut_off <= known.cut_off

    @contextmanager
    def _after_the_first(self, digest: bytes) -> Iterator[bool]:
        """Let one thread check a name and password; the others wait, and get True.

        So concurrent requests of a client cost one check. If that one fails or takes too long,
        each of them makes its own.
        """
        mine = Event()
        first = self._under_way.setdefault(digest, mine)
        if first is not mine:
            first.wait(_LONGEST_WAIT)
            yield True
            return
        try:
            yield False
        finally:
            self._under_way.pop(digest, None)
            mine.set()

    def _checked(self, name: str, password: str, probable: str) -> _Success:
        """Make the check, and return it with a cutoff of the subject from before it.

        The subject is known only after the check. So the cutoff of the probable one is read
        before. If it is another, whose cutoff may have been set during the check, or if the
        probable one was revoked meanwhile, the password may be an old one: it is checked again.
        """
        for _ in range(2):
            began, began_monotonic = self._clock(), self._timer()
            before = self._cut_off_of(probable)
            subject = self._ask(name, password)
            after = self._cut_off_of(subject)
            is_older = before == after if subject == probable else after + CLOCK_SKEW < began
            if is_older:
                return _Success(subject, slot_of(subject), after, began, began_monotonic)
            probable = subject
        raise TokenError(Reason.REVOKED)

    def _cut_off_of(self, subject: str) -> float:
        return self._store.standing(slot_of(subject), subject, self._clock()).latest

    def _ask(self, name: str, password: str) -> str:
        try:
            returned: object = self._check(name, password)
        except (TokenError, SessionError):
            # Such as a token in place of the password.
            raise TokenError(Reason.INVALID) from None
        if returned is None:
            raise TokenError(Reason.INVALID)
        return _subject_from(returned)


def _ends_by_itself(password: str) -> bool:
    """Return True for the form of a credential that may expire, be revoked or be used up."""
    is_token = _TOKEN.fullmatch(password) is not None or is_any_key(password)
    return is_token or is_session_id(password) or is_ticket(password)


def _subject_from(returned: object) -> str:
    """Return the subject that a check has returned.

    :raises ConfigError: for a value that is not a subject.
    """
    if isinstance(returned, CoroutineType):
        returned.close()
    if not isinstance(returned, str):
        raise ConfigError(
            "check must return the subject, a non-empty string such as str(user.id), or None for "
            f"a wrong name or password, got {type(returned).__name__}"
        )
    try:
        return checked_owner(str(returned))  # str() resolves a proxy
    except SessionError as error:
        raise ConfigError(f"check returned a string that cannot be a subject: {error}") from None
