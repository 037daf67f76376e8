"""Redis, Valkey and Redis Cluster: one atomic step per verb, shared by every process.

========================  ======  ===========================================  ====================
key, after ``prefix:``    type    value                                        kept
========================  ======  ===========================================  ====================
``t:{slot}:jti``         string  mark of a token: JSON ``[1, at, until]``     as the token
``x:{slot}:family``      string  mark of a refresh family                     as its last token
``c:{slot}:subject``     string  cut-offs of a subject, as a mark              400 days or more
``a:{slot}:jti``         string  allow list: ``[1, at, until]``               as the token
``f:{slot}:family``      hash    refresh family, claims as JSON               idle or absolute end
``s:{slot}:id``          hash    session, each key of its data as JSON        idle or absolute end
``r:{slot}:id``          hash    seed of the new id of a reworked session     10 s
``i:{AA}:id``            string  the name of this store                       for ever
``k:{slot}:owner``       string  when an owner's sessions were cleared        400 days or more
``o:{slot}:owner``       zset    names of an owner's sessions, by age         as its last session
``e:{slot}:owner``       zset    the same, by their end                       as its last session
``l:{slot}:subject``     zset    names of a subject's families, by age        as its last family
``m:{slot}:subject``     zset    the same, by their end                       as its last family
``v:{slot}:id``          hash    ticket, its data as JSON                     its end
``w:{slot}:line``        hash    which tickets of a subject and purpose live  as its last ticket
``q:{slot}:id``          hash    API key, what never changes as JSON          a day after its end
``y:{slot}:owner``       zset    names of an owner's API keys, by age         as its last key
``z:{slot}:owner``       zset    the same, by their end                       as its last key
========================  ======  ===========================================  ====================

Subjects, owners, purposes, session ids and tickets stand in keys as hashes; that of a subject has
room for an issuer (:func:`~flask_jam.stores.interface.owner_of`). The cut-off of a subject's logins
stands beside that of everything, ``[2, at, until, at of logins]``: so nothing more is read to check
a token. What never changes of a family, a session or a ticket is one field, ``j``: JSON that begins
with the version, which is 1. All is kept a minute longer than it counts, so that a server whose
clock is ahead brings nothing back that was revoked: what counts is decided by ``now``, which the
caller gives. The two graces, of a rotation and of a rework, are counted by the clock of the server.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import math
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ChildDeadlockedError,
    NoScriptError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as LinkError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .._helpers.deadline import answered_within, one_deadline
from .._helpers.fork_lock import fork_safe_lock, start_anew_in_child
from .._helpers.strict_json import strict_dumps
from ..errors import ConfigError, Reason, SessionError, StoreUnavailable
from ._redis import api_key_scripts, ticket_scripts
from ._redis import scripts as lua
from ._redis.api_keys import RedisApiKeys, is_answer
from ._redis.meter import Meter, verb_of
from ._redis.plain_api_keys import PlainApiKeys
from ._redis.plain_reads import PLAIN, PlainReads
from ._redis.redis_internals import (
    PoolExhaustedError,
    disconnect,
    free_locks,
    is_cluster,
    packed_command,
    pool_for,
    pool_use,
    run_on_cluster,
)
from ._redis.tickets import RedisTickets, is_ticket_answer
from ._redis.values import (
    UNREAD,
    as_bytes,
    as_text,
    data_fields,
    family_fields,
    family_of,
    flat,
    hashed,
    kept_for,
    listed_family_of,
    listed_of,
    marks_of,
    parsed_mark,
    session_fields,
    session_of,
    standing_of,
    written_limits,
)
from .interface import (
    NO_LIMITS,
    REWORK_GRACE,
    Family,
    Kind,
    Limits,
    Listed,
    Marks,
    Page,
    Reworked,
    Rotation,
    Session,
    Standing,
)

_log = logging.getLogger(__name__)


_LETTERS = {Kind.TOKEN: "t", Kind.FAMILY: "x"}
_KEEPS = "noeviction"
#: Where what belongs to no subject is kept.
_ANY_SLOT = "AA"
_REMOVED = "a value in Redis could not be read and was removed"
#: What a server or the way to it can do to a question. ValueError: it does not speak RESP.
FAILURES = (
    RedisError,
    RedisClusterException,
    ChildDeadlockedError,
    OSError,
    ValueError,
    RecursionError,
)
_WORDS = {
    "done",
    "created",
    "alive",
    "expired",
    "corrupt",
    "too_large",
    "dead",
    *(t.value for t in Rotation),
}
_OF_API_KEYS = {
    api_key_scripts.CREATE_API_KEY,
    api_key_scripts.READ_API_KEY,
    api_key_scripts.ROTATE_API_KEY,
    api_key_scripts.END_API_KEY,
    api_key_scripts.LIST_API_KEYS,
}
_TICKET_STEPS = {
    ticket_scripts.ISSUE_TICKET,
    ticket_scripts.PEEK_TICKET,
    ticket_scripts.REDEEM_TICKET,
}
_PLAIN = (*PLAIN, api_key_scripts.READ_API_KEY)
#: Steps that change nothing if Redis carries them out twice, the second time much later: what was
#: sent may still be on its way when the link has failed. A rotation, an update or a login is not:
#: meanwhile it may have been followed by another one, or by a logout.
_REPEATABLE = {
    lua.READ_MARKS,
    lua.READ_FAMILY,
    lua.READ_SESSION,
    lua.LIST_SESSIONS,
    lua.LIST_FAMILIES,
    lua.IDENTITY,
    lua.MARK,
    lua.END_FAMILY,
    lua.DELETE_SESSION,
    lua.REWORK_SESSION,
    lua.REMOVE,
    *_TICKET_STEPS,
    *_OF_API_KEYS,
}
#: Link errors that are answers of a server, or that the same question would get again.
_ANSWERS = (AuthenticationError, AuthorizationError, BusyLoadingError)
#: After these, idle connections are not trusted, either.
_LINK_FAILURES = (LinkError, TimeoutError, RedisTimeoutError)
#: So many seconds without a failure are the end of an outage.
_CALM = 0.5
_SHAS = {
    script: hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
    for module in (lua, api_key_scripts, ticket_scripts)
    for name, script in vars(module).items()
    if name.isupper() and not name.startswith("_")
}


class RedisStore(RedisApiKeys, RedisTickets):
    """A store on a client of redis-py.

    :param client: a ``redis.Redis`` or ``redis.RedisCluster``, or what makes one when it is first
        needed. Of a client of your own, its retries and timeouts are yours too: every step is
        safe to repeat.
    :param prefix: the beginning of every key. Applications that must not see each other's
        sessions have different ones.
    :param timeout: timeout of one command, in seconds, for the package's own client.
    :param allow_list: False if ``marks`` need not read the allow list: no ``jwt.list`` asks for it.
    """

    def __init__(
        self,
        client: Any,
        *,
        prefix: str = "jam",
        timeout: float | None = None,
        allow_list: bool = True,
    ) -> None:
        ask = getattr(client, "execute_command", None)
        if ask is None and not callable(client):
            raise ConfigError("RedisStore takes a client: redis.Redis(...) or redis.RedisCluster")
        if inspect.iscoroutinefunction(ask):
            raise ConfigError("RedisStore takes a client of redis, not of redis.asyncio")
        self._client: Any = None if ask is None else client
        self._make_client: Any = client if ask is None else None
        self._prefix = prefix
        self._timeout = timeout
        self._allow_list = allow_list
        self._plain = PlainReads()
        self._plain_keys = PlainApiKeys()
        self._meter = Meter()
        self._down, self._failed_at, self._down_since = False, 0.0, 0.0
        #: The steps that a server that is there would not run, in this outage.
        self._refused: set[str] = set()
        self._looked = False
        self._noted: set[str] = set()
        self._identity: str | None = None
        self._lock = fork_safe_lock()
        start_anew_in_child(self)

    # --- revocation marks, the allow list ---

    def marks(
        self, slot: str, jti: str | None, family: str | None, subject: str | None, now: float
    ) -> Marks:
        """See :class:`~flask_jam.stores.Store`."""
        names, keys = self.mark_keys(slot, jti, family, subject)
        return marks_of(names, self.read_token_marks(names, keys), now)

    def mark_keys(
        self, slot: str, jti: str | None, family: str | None, subject: str | None
    ) -> tuple[str, list[str]]:
        """Return the kinds (as letters) and the keys of one token's marks."""
        owner = None if subject is None else hashed(subject)
        allowed = jti if self._allow_list else None
        named = (("t", jti), ("a", allowed), ("x", family), ("c", owner))
        there = [(letter, name) for letter, name in named if name is not None]
        keys = [self._key(letter, slot, name) for letter, name in there]
        return "".join(letter for letter, _ in there), keys

    def read_marks(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the raw values of marks."""
        if not keys:
            return []
        values: list[bytes | None] = self._ask(lua.READ_MARKS, keys)[1:]
        if values.count(None) == len(values):
            return values
        values = [as_bytes(value) for value in values]
        if any(value is not None and parsed_mark(value) is None for value in values):
            self._note("a revocation mark in Redis could not be read and counts as the strictest")
        return values

    @one_deadline
    def read_token_marks(self, letters: str, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of a token's marks; have the store's name if there is a cutoff."""
        values = self.read_marks(keys)
        if letters[-1:] == "c" and values[-1] is not None:
            self.identity()  # the cutoff is compared with it: both questions have one deadline
        return values

    def mark(self, slot: str, kind: Kind, name: str, at: float, until: float) -> None:
        """See :class:`~flask_jam.stores.Store`."""
        key = self._key(_LETTERS[kind], slot, name)
        self._write(lua.MARK, [key], repr(at), repr(until), kept_for(until - at))

    def standing(self, slot: str, subject: str, now: float) -> Standing:
        """See :class:`~flask_jam.stores.Store`."""
        keys = [self._key(letter, slot, hashed(subject)) for letter in ("c", "k")]
        return standing_of(*self.read_marks(keys))

    def identity(self) -> str:
        """See :class:`~flask_jam.stores.Store`."""
        if self._identity is None:
            key = self._key("i", _ANY_SLOT, "id")
            self._identity = as_text(self._ask(lua.IDENTITY, [key], secrets.token_hex(8))[1])
        return self._identity

    def cut(self, slot: str, subject: str, now: float, until: float) -> None:
        """See :class:`~flask_jam.stores.Store`."""
        self._cut(lua.CUT, slot, subject, now, until)

    def cut_logins(self, slot: str, subject: str, now: float, until: float) -> None:
        """See :class:`~flask_jam.stores.Store`."""
        self._cut(lua.CUT_LOGINS, slot, subject, now, until)

    def _cut(self, script: str, slot: str, subject: str, now: float, until: float) -> None:
        key = self._key("c", slot, hashed(subject))
        self._write(script, [key], repr(now), repr(until), kept_for(until - now))

    def allow(self, slot: str, jti: str, now: float, until: float) -> None:
        """See :class:`~flask_jam.stores.Store`."""
        key = self._key("a", slot, jti)
        self._write(lua.MARK, [key], repr(now), repr(until), kept_for(until - now))

    # --- refresh families ---

    def start_family(
        self, family_id: str, family: Family, most: int = 0, mark_until: float = 0.0
    ) -> None:
        """See :class:`~flask_jam.stores.Store`."""
        key, now = self._key("f", family_id[:2], family_id), family.started_at
        end = min(family.ends_at, family.idle_until)
        ended = self._write(
            lua.START_FAMILY,
            [key, self._key("l", family_id[:2], hashed(family.subject))],
            repr(now),
            kept_for(end - now),
            repr(end),
            repr(family.ends_at - now),
            most,
            repr(mark_until),
            kept_for(mark_until - now),
            *flat(family_fields(family)),
        )
        self.changed(as_text(key) for key in ended[1:])

    def read_family(self, family_id: str, now: float, limits: Limits = NO_LIMITS) -> Family | None:
        """See :class:`~flask_jam.stores.Store`."""
        keys = self._family_keys(family_id)
        found = self._ask(lua.READ_FAMILY, keys, repr(now), *written_limits(limits))
        return self._family(found, family_id, limits)

    def rotate_family(  # noqa: PLR0913 - the port's
        self,
        family_id: str,
        generation: int,
        *,
        now: float,
        grace: float,
        idle: float,
        claims: Mapping[str, Any] | None,
        mark_until: float,
        absolute: float = math.inf,
    ) -> tuple[Rotation, Family | None]:
        """See :class:`~flask_jam.stores.Store`."""
        limits = Limits(idle, absolute)
        found = self._write(
            lua.ROTATE_FAMILY,
            self._family_keys(family_id),
            generation,
            repr(now),
            repr(grace),
            repr(now + idle),
            b"" if claims is None else strict_dumps(dict(claims)),
            repr(mark_until),
            kept_for(mark_until - now),
            secrets.token_hex(8),
            *written_limits(limits),
        )
        family = self._family(found, family_id, limits)
        said = as_text(found[0])
        if said == "corrupt" or (len(found) > 1 and family is None):
            return Rotation.GONE, None
        return Rotation(said), family

    def end_family(self, family_id: str, now: float, mark_until: float) -> Family | None:
        """See :class:`~flask_jam.stores.Store`."""
        keys, kept = self._family_keys(family_id), kept_for(mark_until - now)
        found = self._write(lua.END_FAMILY, keys, repr(now), repr(mark_until), kept)
        return self._family(found, family_id)

    def list_families(  # noqa: PLR0913, PLR0917 - the port's
        self,
        slot: str,
        subject: str,
        now: float,
        mark_until: float,
        after: str = "",
        limits: Limits = NO_LIMITS,
    ) -> Page:
        """See :class:`~flask_jam.stores.Store`."""
        told = (
            repr(now),
            after,
            *written_limits(limits),
            repr(mark_until),
            kept_for(mark_until - now),
        )
        found = self._ask(lua.LIST_FAMILIES, [self._key("l", slot, hashed(subject))], *told)
        return self._page(found, limits, self._listed_family)

    def _listed_family(
        self, family_id: str, used: Any, fixed: Any, limits: Limits
    ) -> Listed | None:
        try:
            return listed_family_of(
                family_id, as_bytes(used) or b"", as_bytes(fixed) or b"", limits
            )
        except UNREAD:
            self._write(lua.REMOVE, self._family_keys(family_id)[:1])
            self._note(_REMOVED)
            return None

    def _family_keys(self, family_id: str) -> list[str]:
        return [self._key(letter, family_id[:2], family_id) for letter in ("f", "x")]

    def _family(
        self, found: Sequence[Any], family_id: str, limits: Limits = NO_LIMITS
    ) -> Family | None:
        if self._is_nothing(found[0]):
            return None
        try:
            return family_of(*(as_bytes(part) or b"" for part in found[1:])).within(limits)
        except UNREAD:
            self._write(lua.REMOVE, self._family_keys(family_id)[:1])
            self._note(_REMOVED)
            return None

    # --- sessions ---

    def create_session(self, key: str, session: Session, most: int = 0) -> bool:
        """See :class:`~flask_jam.stores.Store`."""
        now, owner = session.created_at, self._owner_key(key[:2], session.session_key)
        name = hashed(session.session_key)
        cuts = [self._key(letter, key[:2], name) for letter in ("c", "k")]
        said, *ended = self._write(
            lua.CREATE_SESSION,
            [self._session_key(key), owner, *cuts],
            repr(now),
            repr(session.expires_at),
            repr(session.cut_off),
            repr(session.cleared),
            most,
            *flat(session_fields(session)),
        )
        self.changed(as_text(key) for key in ended)
        return as_text(said) == "created"

    def read_session(self, key: str, now: float, limits: Limits = NO_LIMITS) -> Session | None:
        """See :class:`~flask_jam.stores.Store`."""
        return self._read_session(key, now, limits, remember=self._timeout is not None)

    def _read_session(
        self, key: str, now: float, limits: Limits, *, remember: bool = False
    ) -> Session | None:
        redis_key = self._session_key(key)
        found = self._ask(lua.READ_SESSION, [redis_key], repr(now), *written_limits(limits))
        if isinstance(found[-1], Session):
            return found[-1]
        session = self._session(found, redis_key, limits)
        if remember and session is not None:
            self._plain.remember(redis_key, session, limits)
        return session

    def _session(
        self, found: Sequence[Any], redis_key: str, limits: Limits = NO_LIMITS
    ) -> Session | None:
        if self._is_nothing(found[0]):
            return None
        try:
            return session_of(*(as_bytes(part) or b"" for part in found[1:4])).within(limits)
        except UNREAD:
            self._write(lua.DELETE_SESSION, [redis_key], "0")
            self._note(_REMOVED)
            return None

    def update_session(
        self,
        key: str,
        changes: Mapping[str, Any],
        now: float,
        max_bytes: int,
        limits: Limits = NO_LIMITS,
    ) -> bool:
        """See :class:`~flask_jam.stores.Store`."""
        said = self._change(
            key,
            lua.UPDATE_SESSION,
            [self._session_key(key)],
            repr(now),
            max_bytes,
            *written_limits(limits),
            *flat(data_fields(changes)),
        )[0]
        if as_text(said) == "too_large":
            raise SessionError(Reason.TOO_LARGE, f"a session holds at most {max_bytes} bytes")
        return not self._is_nothing(said)

    def rework_session(  # noqa: PLR0913, PLR0917 - the port's
        self,
        key: str,
        new_key: str,
        seed: str,
        now: float,
        limits: Limits = NO_LIMITS,
        grace: float = REWORK_GRACE,
    ) -> Reworked | None:
        """See :class:`~flask_jam.stores.Store`."""
        keys = [self._session_key(key), self._session_key(new_key)]
        told = repr(now), *written_limits(limits), seed, int(grace * 1000)
        found = self._change(key, lua.REWORK_SESSION, keys, *told)
        session = self._session(found, keys[1], limits)
        return None if session is None else Reworked(as_text(found[4]), session)

    def delete_session(self, key: str, now: float, limits: Limits = NO_LIMITS) -> str | None:
        """See :class:`~flask_jam.stores.Store`."""
        redis_key = self._session_key(key)
        told = repr(now), *written_limits(limits)
        found = self._change(key, lua.DELETE_SESSION, [redis_key], *told)
        session = None if self._is_nothing(found[0]) else self._session(found, redis_key)
        return session.session_key if session and as_text(found[0]) == "alive" else None

    def _change(self, key: str, script: str, keys: Sequence[str], *arguments: Any) -> Any:
        """Run a step that changes a session, or ends an id of it.

        What is near of its slot counts no more: another process may have moved the session, so
        it may be here under an id that is not among the keys.
        """
        try:
            return self._write(script, keys, *arguments)
        finally:
            self.changed([self._key("o", key[:2], "")])

    def clear_sessions(  # noqa: PLR0913, PLR0917 - the port's
        self,
        slot: str,
        session_key: str,
        now: float,
        until: float,
        keep: str | None = None,
        limits: Limits = NO_LIMITS,
    ) -> Page:
        """See :class:`~flask_jam.stores.Store`."""
        keys = [self._key(letter, slot, hashed(session_key)) for letter in ("k", "o")]
        told = repr(now), repr(until), kept_for(until - now), keep or "", *written_limits(limits)
        return self._page(self._write(lua.CLEAR_SESSIONS, keys, *told), limits, self._listed)

    def list_sessions(
        self,
        slot: str,
        session_key: str,
        now: float,
        after: str = "",
        limits: Limits = NO_LIMITS,
    ) -> Page:
        """See :class:`~flask_jam.stores.Store`."""
        keys = [self._owner_key(slot, session_key)]
        told = repr(now), after, *written_limits(limits)
        return self._page(self._ask(lua.LIST_SESSIONS, keys, *told), limits, self._listed)

    def _page(
        self,
        found: Sequence[Any],
        limits: Limits,
        listed_as: Callable[[str, Any, Any, Limits], Listed | None],
    ) -> Page:
        _, more, after, cleared, *parts = found
        rows = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
        listed = [listed_as(as_text(name), seen, fixed, limits) for name, seen, fixed in rows]
        living = [each for each in listed if each is not None]
        return Page(living, as_text(after) if more else None, int(cleared))

    def _listed(self, name: str, seen: Any, fixed: Any, limits: Limits) -> Listed | None:
        try:
            return listed_of(name, as_bytes(seen) or b"", as_bytes(fixed) or b"", limits)
        except UNREAD:
            self._write(lua.DELETE_SESSION, [self._session_key(name)], "0")
            self._note(_REMOVED)
            return None

    def _session_key(self, key: str) -> str:
        return self._key("s", key[:2], key)

    def _owner_key(self, slot: str, session_key: str) -> str:
        return self._key("o", slot, hashed(session_key))

    def _key(self, letter: str, slot: str, name: str) -> str:
        return f"{self._prefix}:{letter}:{{{slot}}}:{name}"

    # --- asking ---

    def changed(self, keys: Iterable[str]) -> None:
        """Note that this process has changed these keys, or may have."""

    def _write(self, script: str, keys: Sequence[str], *arguments: Any) -> Any:
        try:
            return self._ask(script, keys, *arguments)
        finally:
            self.changed(keys)

    def _ask(self, script: str, keys: Sequence[str], *arguments: Any) -> Any:
        """Run a step on Redis; convert its errors to ``StoreUnavailable``."""
        began = time.monotonic()
        try:
            with answered_within(self._timeout):
                answer = self._tried(script, keys, arguments)
                if not self._looked:
                    self._look()
        except FAILURES as error:
            self._failed(error, script, self._meter.failed(began, error))
            raise StoreUnavailable(self._sentence(error)) from None
        self._meter.answered(began)
        if self._down:
            self._answered(script)
        return answer

    def _tried(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Ask; a step that may be repeated once more if only the link failed."""
        try:
            return self._evaluated(script, keys, arguments)
        except LinkError as error:
            # Of a client of the user's own, retries are the user's, too.
            is_final = script not in _REPEATABLE or isinstance(error, _ANSWERS)
            if self._timeout is None or is_final:
                raise
            self._drop_idle()
            return self._evaluated(script, keys, arguments)

    def _evaluated(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        client = self.client()
        if script in _PLAIN:
            answer = self._read_plainly(client, script, keys, arguments)
            if answer is not None:
                return answer
        answer = _run(client, script, keys, arguments)
        _check_answer(script, keys, answer)
        return answer

    def _read_plainly(
        self, client: Any, script: str, keys: Sequence[str], arguments: Sequence[Any]
    ) -> Any:
        try:
            pool = pool_for(client, keys[0])
            reads = self._plain_keys if script in _OF_API_KEYS else self._plain
            return None if pool is None else reads.answer(pool, script, keys, arguments)
        except (RedisError, RedisClusterException, OSError) as error:
            if not is_cluster(client):
                raise
            if isinstance(error, _LINK_FAILURES):
                self._drop_idle()
            # Its client finds out which servers there are now.
            return None

    def client(self) -> Any:
        """Return the client, created on first use, when a cluster's asks for its slot map."""
        if self._client is None:
            made = self._make_client()
            with self._lock:
                self._client = self._client or made
            if self._client is not made:
                disconnect(made)  # another thread was faster
        return self._client

    def _failed(self, error: BaseException, script: str, took: float) -> None:
        with self._lock:
            first, self._down, self._failed_at = not self._down, True, time.monotonic()
            if first:
                self._down_since = self._failed_at - took
            if isinstance(error, ResponseError):
                # Where memory is full, say: some steps go on meanwhile.
                self._refused.add(script)
        # Redis 6.2 says it within another error.
        demoted = isinstance(error, ReadOnlyError) or "READONLY" in str(error)
        if demoted or (isinstance(error, _LINK_FAILURES) and self._timeout is not None):
            # Who connects now gets to the new primary. Threads that are asking find out themselves.
            self._drop_idle()
        if first:
            # One line for an outage. The text of the error may hold keys and addresses.
            _log.error(
                "%s: %s (%s, after %d ms)",
                self._sentence(error), type(error).__name__, verb_of(script), took * 1000,
            )  # fmt: skip

    def _sentence(self, error: BaseException) -> str:
        if isinstance(error, PoolExhaustedError):
            return (
                "every connection to Redis was in use for as long as redis_timeout allows: "
                "raise redis_pool, or use fewer threads"
            )
        return "Redis does not answer"

    def _drop_idle(self) -> None:
        """Close the idle connections: what broke one may have broken them all."""
        if self._client is not None:
            disconnect(self._client, inuse=False)

    def _answered(self, script: str) -> None:
        with self._lock:
            self._refused.discard(script)
            calm = time.monotonic() - self._failed_at >= _CALM
            over = self._down and calm and not self._refused
            self._down = self._down and not over
        if over:
            away = time.monotonic() - self._down_since
            _log.warning("Redis answers again (%s, after %.1f s)", verb_of(script), away)

    def _look(self) -> None:
        """Check once whether the server may evict keys."""
        self._looked = True
        with suppress(Exception):  # no caller waits for it
            for policy in self.eviction_policies() - {_KEEPS}:
                self._note(
                    f"Redis may evict what it holds (maxmemory-policy {policy}): a "
                    "revocation that it forgets is undone; set maxmemory-policy noeviction",
                    logging.WARNING,
                )

    def eviction_policies(self) -> set[str]:
        """Return ``maxmemory-policy`` of the server, or of each node of a cluster."""
        said = self.client().info("memory")
        nodes = [each for each in said.values() if isinstance(each, dict)]
        return {each.get("maxmemory_policy", _KEEPS) for each in nodes or [said]}

    def _is_nothing(self, said: Any) -> bool:
        """Return True if a step found nothing valid and nothing just ended."""
        if as_text(said) == "corrupt":
            self._note(_REMOVED)
        return as_text(said) in ("corrupt", "gone", "revoked")

    def _note(self, sentence: str, level: int = logging.ERROR) -> None:
        if sentence not in self._noted:
            self._noted.add(sentence)
            _log.log(level, sentence)

    def stats(self) -> dict[str, dict[str, Any]]:
        """Return counts of this process, for :meth:`flask_jam.Jam.stats`. Nothing is asked."""
        groups = self._meter.stats()
        groups["store"]["down"] = self._down
        return {**groups, "pool": pool_use(self._client)}

    def after_fork(self) -> None:
        """Make the client usable in a child, whatever a thread of the parent was doing."""
        if self._client is not None:
            free_locks(self._client)

    def close(self) -> None:
        """Close the connections. The store may be used again."""
        if self._client is not None:
            disconnect(self._client)


def _run(client: Any, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
    rest, once = (len(keys), *keys, *arguments), script not in _REPEATABLE
    try:
        return _command(client, keys[0], once, "EVALSHA", _SHAS[script], *rest)
    except NoScriptError:
        # A server that does not know the script has not run it: this is no repetition.
        return _command(client, keys[0], once, "EVAL", script, *rest)


def _command(client: Any, key: str, once: bool, *command: Any) -> Any:
    if is_cluster(client):
        return run_on_cluster(client, key, *command, once=once)
    pool = pool_for(client, key)
    if pool is None:
        return client.execute_command(*command)
    [reply] = pool.ask(packed_command(*command), 1, once=once)
    if isinstance(reply, Exception):
        raise reply
    return reply


def _check_answer(script: str, keys: Sequence[str], answer: Any) -> None:
    """Raise an error for an answer that the step cannot give: another server may answer."""
    word, *found = answer if isinstance(answer, list) and answer else [None]
    if script is lua.READ_MARKS:
        known = as_text(word) == "marks" and len(found) == len(keys)
        known = known and all(value is None or isinstance(value, (bytes, str)) for value in found)
    else:
        known = isinstance(word, (bytes, str)) and as_text(word) in _WORDS
    if script in _OF_API_KEYS:
        known = known and is_answer(script, as_text(word), found)
    if script in (lua.CLEAR_SESSIONS, lua.LIST_SESSIONS, lua.LIST_FAMILIES):
        known = known and len(found) % 3 == 0 and len(found) > 0 and isinstance(found[2], int)
    if script in _TICKET_STEPS:
        known = known and is_ticket_answer(found)
    if not known:
        raise ValueError("not Redis")
