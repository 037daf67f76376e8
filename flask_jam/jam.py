"""``Jam``: settings, keys and a store, without Flask."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ._credentials.access_tokens import Tokens
from ._credentials.api_key_verbs import ApiKeyVerbs
from ._credentials.api_keys import ApiKeys
from ._credentials.logins import LoginInfo, Logins
from ._credentials.refresh_rotation import Families, Reload, ReuseError, TokenPair
from ._credentials.revocation import (
    Authenticated,
    Revocation,
    checked_subject,
    owner_of_identity,
)
from ._credentials.sessions import Life, SessionInfo, Sessions, checked_owner, handle_of
from ._credentials.tickets import Tickets, TicketVerbs
from ._credentials.verifiers import issuers_of, keyring_for, verifier_for
from ._helpers.deadline import apart, one_deadline
from .errors import ConfigError, StoreUnavailable, safe_summary
from .keys import KeyRing, new_key
from .settings import JWTSettings, Settings, Source, load
from .stores.interface import Store, slot_of
from .stores.memory import MemoryStore

if TYPE_CHECKING:
    from ._credentials.foreign_tokens import Issuers
    from ._credentials.keyring_watch import KeyringWatch
    from .issuers import Issuer

_log = logging.getLogger(__name__)

#: The subject that a readiness check looks up.
_NO_ONE = "flask_jam.ready"

#: Called with the name of an event and its details, after the event is durable.
Observer = Callable[[str, Mapping[str, Any]], None]


def _store_for(settings: Settings) -> Store:
    if settings.redis_url is None:
        return MemoryStore()
    from .stores._redis.near_cache import store_for  # noqa: PLC0415 - only who uses Redis imports it

    return store_for(settings)


def _keyring_watch(jwt: JWTSettings, clock: Callable[[], float]) -> KeyringWatch | None:
    if jwt.keyring is None:
        return None
    from ._credentials.keyring_watch import KeyringWatch  # noqa: PLC0415 - as above

    return KeyringWatch(jwt, clock)


def _with_random_key(jwt: JWTSettings) -> JWTSettings:
    """Return the settings; with a random key for this process, if they have none."""
    if jwt.has_key:
        return jwt
    made = new_key(jwt.alg)
    if "JAM_JWT_SECRET_KEY" in made:
        return replace(jwt, secret_key=made["JAM_JWT_SECRET_KEY"].encode())
    return replace(jwt, private_key=made["JAM_JWT_PRIVATE_KEY"])


def _wall_clock() -> float:
    # Looked up at each call, so that freezegun and its kin reach it.
    return time.time()


class Jam(ApiKeyVerbs, TicketVerbs):
    """Tokens, refresh families, sessions, API keys and tickets of one application, without Flask.

    :param config: a mapping ``{"jwt": {...}, "session": {...}}``; a path to ``.toml``, ``.json``
        or ``.yaml``; or ``None``: the environment (``JAM_...``) over ``./pyproject.toml``.
    :param store: where state is kept; by default Redis if ``redis_url`` is set, else the memory of
        this process.
    :param clock: returns seconds since the epoch; ``time.time`` by default.
    :param issuers: other services whose tokens are accepted: see :mod:`flask_jam.issuers`.
    :raises ConfigError: with a sentence that says what to write instead.
    """

    def __init__(
        self,
        config: Source | Settings = None,
        *,
        store: Store | None = None,
        clock: Callable[[], float] | None = None,
        issuers: Iterable[Issuer] = (),
    ) -> None:
        self.settings = config if isinstance(config, Settings) else load(config)
        self.clock = _wall_clock if clock is None or clock is time.time else clock
        if store is not None and not hasattr(store, "marks"):
            raise ConfigError("store: write a Store object, such as MemoryStore()")
        self.store: Store = _store_for(self.settings) if store is None else store
        given = issuers_of(issuers, self.settings)
        self.keyring_watch = _keyring_watch(self.settings.jwt, self._now)
        if self.keyring_watch is None:
            keyring = keyring_for(self.settings.jwt, given)
        else:
            keyring = self.keyring_watch.unread
        self.verifier = verifier_for(keyring, self.settings.jwt, self.store, self.clock, given)
        if self.keyring_watch is not None:
            self.keyring_watch.attach(self.verifier.rekey)
        #: The other issuers, if any.
        self.issuers: Issuers | None = getattr(self.verifier, "issuers", None)
        self.tokens = Tokens(self.settings.jwt, self.store, self.clock, self.verifier)
        self.families = Families(self.tokens, self.store, self.settings.jwt, self.clock)
        self.sessions = Sessions(self.store, self.settings.session, self.clock)
        self.api_keys = ApiKeys(self.store, self.clock, self._report, self.settings.api_key.prefix)
        self.revocation = Revocation(
            self.tokens,
            self.families,
            self.sessions,
            self.api_keys,
            self.store,
            self.settings,
            self._report,
        )
        self.logins = Logins(self.sessions, self.families, self.revocation)
        self.tickets = Tickets(self.store, self.clock, self._report)
        self._observers: list[Observer] = []
        self._owes_warning = False

    def _now(self) -> float:
        # A test may set another clock.
        return self.clock()

    @classmethod
    def _for_app(cls, settings: Settings) -> Jam:
        """Build the default Jam of an app: it warns about a missing key at its first token."""
        # A service that accepts tokens of others needs none, and may not want to issue any.
        jwt = settings.jwt if settings.issuers else _with_random_key(settings.jwt)
        jam = cls(replace(settings, jwt=jwt))
        jam.settings, jam._owes_warning = settings, jwt is not settings.jwt
        return jam

    def _will_use_tokens(self) -> None:
        """Warn once about a missing key. An app with sessions only needs none."""
        if self._owes_warning:
            self._owes_warning = False
            KeyRing.from_settings(self.settings.jwt)  # warns

    # --- tokens ---

    def make_payload(self, /, exp: float | timedelta | None = None, **data: Any) -> dict[str, Any]:
        """Return ``data`` with ``jti``, ``iat``, ``exp``, and ``iss`` and ``aud`` if configured.

        :param exp: life from now, in seconds or a ``timedelta``; ``jwt.expire`` if not given.
        """
        return self.tokens.payload(exp, data)

    @one_deadline
    def gen_jwt_token(self, payload: Mapping[str, Any]) -> str:
        """Return the signed token of a payload; add ``jti``, ``iat`` and ``exp`` if missing.

        :raises TokenError: for a payload that verification would refuse.
        """
        self._will_use_tokens()
        return self.tokens.mint(payload)[0]

    @one_deadline
    def verify_jwt_token(self, token: str) -> dict[str, Any]:
        """Return the claims of a valid token, as a new ``dict``.

        It accepts the tokens that a plain ``jwt_required`` accepts. In another issuer's token,
        ``scope`` and ``roles`` are what its rules derived; ``iss`` names the issuer.

        :raises TokenError: with ``reason``.
        :raises StoreUnavailable: if revocation could not be checked.
        """
        self._will_use_tokens()
        return self.verifier.verify_plain(token).fresh()

    def issue_tokens(
        self,
        subject: str,
        *,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        refresh: bool = True,
        expires_in: float | timedelta | None = None,
        **claims: Any,
    ) -> dict[str, Any]:
        """Return an access token and the first refresh token of a new login (RFC 6749 5.1).

        :param refresh: ``False`` for an access token alone.
        :param expires_in: lifetime of this login's access tokens, in seconds: less than
            ``jwt.expire``.
        :raises TokenError: for a subject or a claim that verification would refuse.
        """
        pair = self.issue_pair(
            subject, scopes=scopes, roles=roles, refresh=refresh, expires_in=expires_in, **claims
        )
        return pair.answer

    @one_deadline
    def issue_pair(  # noqa: PLR0913 - whose it is, where it began, what it says, how long it lives
        self,
        subject: str,
        user_agent: str | None = None,
        ip: str | None = None,
        /,
        *,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        refresh: bool = True,
        expires_in: float | timedelta | None = None,
        **claims: Any,
    ) -> TokenPair:
        """Like :meth:`issue_tokens`, but also return the claims of the access token.

        Details of the client are positional, as their names may be those of claims.
        """
        if not isinstance(refresh, bool):
            raise ConfigError("refresh must be True or False")
        self._will_use_tokens()
        said = self.families.claims_of_login(scopes, roles, expires_in, claims)
        if not refresh:
            return self.families.without_refresh(subject, said)
        return self.families.start(subject, said, user_agent, ip)

    def refresh_tokens(
        self, refresh_token: str, *, reload_claims: Reload | None = None
    ) -> dict[str, Any]:
        """Return the next pair of a login; each refresh token can be used once.

        If ``jwt.rotate_refresh_tokens`` is off, return an access token alone.

        :param reload_claims: called with subject and claims; returns the new claims, or ``None`` to
            refuse.
        :raises TokenError: ``reused`` for a token that was rotated before: the family is revoked.
        """
        return self.rotate_pair(refresh_token, reload_claims=reload_claims).answer

    @one_deadline
    def rotate_pair(
        self,
        refresh_token: str,
        *,
        reload_claims: Reload | None = None,
        always: bool = False,
    ) -> TokenPair:
        """Like :meth:`refresh_tokens`, but also return the claims of the access token.

        :param always: rotate, even if ``jwt.rotate_refresh_tokens`` is off.
        """
        self._will_use_tokens()
        is_kept = not always and not self.settings.jwt.rotate_refresh_tokens
        present = self.families.renew if is_kept else self.families.rotate
        reload = None if reload_claims is None else apart(reload_claims)
        try:
            return present(refresh_token, reload)
        except ReuseError as reuse:
            who = {"subject": reuse.subject, "issuer": None}  # families are of own subjects
            self._report("revoked", kind="family", **who)
            self._report("reuse_detected", family=reuse.family_id, **who)
            raise

    @one_deadline
    def revoke_token(self, token_or_claims: str | Mapping[str, Any] | Authenticated) -> bool:
        """Revoke one token, given as a string or as its claims; a refresh token ends its family.

        :param token_or_claims: a token of another issuer is given as a string, or as the
            :class:`~flask_jam.Accepted` of the request that presented it.
        :returns: True if it was valid and is revoked now. False if it has expired, was revoked
            before or isn't one of your tokens: that is not an error (RFC 7009 2.2).
        :raises TokenError: for claims that are incomplete: pass all of them, or the token.
        """
        return self.revocation.token(token_or_claims)

    @one_deadline
    def end_login(self, token: str) -> str | None:
        """Revoke a token and its whole family: an access token, expired or not, or a refresh token.

        :returns: the owner of the ended login; ``None`` for a string that isn't one of our tokens.
        """
        return self.revocation.login(token)

    def revoke_subject(self, subject: str | Authenticated, issuer: str | None = None) -> None:
        """Revoke everything a subject has now: tokens, logins, sessions, API keys and tickets.

        :param subject: the subject, or an :class:`~flask_jam.Accepted`, for exactly its identity.
        :param issuer: for the subject of another issuer: its tokens, and what was made for it
            here. ``None`` is this service, and ends nothing of another issuer.
        """
        self.revocation.subject(owner_of_identity(subject, issuer))

    # --- sessions ---

    @one_deadline
    def create_session(  # noqa: PLR0913 - whose it is, what is in it, how long it lives
        self,
        session_key: str,
        data: Mapping[str, Any],
        *,
        remember: bool | None = None,
        idle: float | timedelta | None = None,
        absolute: float | timedelta | None = None,
        auth_time: float | None = None,
        user_agent: str | None = None,
        ip: str | None = None,
        issuer: str | None = None,
    ) -> str:
        """Create a session of ``session_key``; return its id.

        :param remember: True for ``session.remember_idle`` and ``session.remember_absolute``; None
            for the setting ``session.remember``.
        :param idle: seconds without use after which it ends, if sooner than the settings.
        :param absolute: seconds from now after which it ends, if sooner than the settings.
        :param auth_time: timestamp of the user's authentication, from which a guard's ``max_age``
            counts; None for now.
        :param issuer: the provider that authenticated ``session_key``; ``None`` for this service.
        :raises SessionError: for data that is not plain JSON or too large, and for a lifetime
            beyond the settings.
        """
        life = Life(remember, idle, absolute, auth_time)
        owner = checked_owner(session_key, issuer)
        return self.sessions.create(owner, data, user_agent, ip, life)

    def get_session(self, session_id: str) -> dict[str, Any] | None:
        """Return a copy of the data; ``None`` for an id that is unknown, expired or malformed."""
        return self.sessions.get(session_id)

    def update_session(self, session_id: str, data: Mapping[str, Any]) -> None:
        """Merge top-level keys into a session's data, atomically.

        :raises SessionError: if the session has ended; it is never revived.
        """
        self.sessions.update(session_id, data)

    def rework_session(self, session_id: str) -> str:
        """Give a session a new id, and invalidate the old one in the same step.

        If the reply was lost, call it with the old id again: for 10 seconds, and until the new
        id is used, it returns the same new id.

        :raises SessionError: if the session has ended.
        """
        return self.sessions.rework(session_id)[0]

    def delete_session(self, session_id: str) -> int:
        """End a session; return the number of ended sessions, 1 or 0."""
        return int(self.end_session(session_id) is not None)

    @one_deadline
    def end_session(self, session_id: str) -> str | None:
        """End a session; return its owner, or ``None`` if there was none."""
        return self.revocation.session(self.sessions.delete(session_id))

    def delete_session_by_handle(
        self, session_key: str, handle: str, issuer: str | None = None
    ) -> bool:
        """End the session of ``session_key`` that :meth:`list_sessions` shows under a handle.

        :returns: True if there was one. A handle of another user's session ends nothing.
        """
        owner = self.sessions.delete_by_handle(checked_owner(session_key, issuer), handle)
        return self.revocation.session(owner) is not None

    def clear_sessions(
        self, session_key: str, issuer: str | None = None, *, keep: str | None = None
    ) -> int:
        """End every session of ``session_key``; return the number of ended sessions.

        :param keep: the id of a session to keep, to log a user out everywhere else (ASVS 7.4.3).
        """
        return self.revocation.sessions(checked_owner(session_key, issuer), keep)

    def list_sessions(self, session_key: str, issuer: str | None = None) -> list[SessionInfo]:
        """Return the valid sessions of ``session_key``, the oldest first."""
        return self.sessions.listed(checked_owner(session_key, issuer))

    def handle_of(self, session_id: str) -> str:
        """Return the handle under which :meth:`list_sessions` shows a session.

        :raises SessionError: for a string that has not the form of an id.
        """
        return handle_of(session_id)

    # --- logins: sessions and refresh families ---

    def list_logins(self, subject: str, issuer: str | None = None) -> list[LoginInfo]:
        """Return the active logins of a subject, the oldest first: sessions and token logins.

        An access token without a refresh token is no login.

        :raises TokenError: for a value that cannot be a subject.
        """
        return self.logins.listed(checked_subject(subject, issuer))

    def end_login_by_handle(self, subject: str, handle: str, issuer: str | None = None) -> bool:
        """End the login that :meth:`list_logins` shows under a handle, with its access tokens.

        :returns: True if there was one. A handle of another subject's login ends nothing.
        """
        return self.logins.end(checked_subject(subject, issuer), handle)

    def end_logins(self, subject: str, issuer: str | None = None) -> int:
        """Log a subject out everywhere: end every session, refresh token and its access tokens.

        All are refused from one atomic step on, including a login in progress. Tokens without a
        login, such as those of :meth:`gen_jwt_token`, stay valid: :meth:`revoke_subject` revokes
        them, too.

        :returns: the number of ended logins.
        :raises StoreUnavailable: also if they have ended, but could not all be counted.
        """
        return self.logins.end_all(checked_subject(subject, issuer))

    # --- operations ---

    def ready(self) -> bool:
        """Return True if the store answers now, within its deadline. No cache is used.

        It does not raise if the store is down: the log and :meth:`stats` have the reason.
        """
        try:
            self.store.standing(slot_of(_NO_ONE), _NO_ONE, self.clock())
        except StoreUnavailable:
            return False
        return True

    def stats(self) -> dict[str, dict[str, Any]]:
        """Return counts of this process, ready for JSON: groups of names and numbers.

        It makes no store call, so it returns at once even if the store is down.
        """
        tokens = self.verifier.cache_info()
        counts = {"hits": tokens.hits, "misses": tokens.misses}
        sizes = {"size": tokens.currsize, "limit": tokens.maxsize}
        own: Any = getattr(self.store, "stats", None)
        groups = {"store": {"kind": type(self.store).__name__}} if own is None else own()
        return {"token_cache": {**counts, **sizes}, **groups}

    # --- events ---

    def subscribe(self, observer: Observer) -> None:
        """Call an observer for ``revoked`` and ``reuse_detected``, after they are durable."""
        self._observers.append(observer)

    def unsubscribe(self, observer: Observer) -> None:
        """Remove an observer."""
        self._observers.remove(observer)

    def _report(self, event: str, **what: Any) -> None:
        for observer in self._observers:
            try:
                apart(observer)(event, what)
            except Exception as error:
                _log.error("an observer of %s raised %s", event, safe_summary(error, observer))
