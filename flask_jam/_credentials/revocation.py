"""Revocation: first the store, then this process's caches, then the signal.

Other processes learn of it because Redis pushes the changed keys to them: see
:mod:`flask_jam.stores._redis.invalidation`. In memory there is one process. Every later check of a
token reads the marks written here (:mod:`flask_jam._credentials.access_tokens`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Protocol, runtime_checkable

from ..errors import ConfigError, Reason, SessionError, StoreUnavailable, TokenError
from ..settings import Settings
from ..stores.interface import CLOCK_SKEW, Family, Kind, Store, owner_of, slot_of, split_owner
from .access_tokens import Tokens
from .claims import Facts, survives
from .refresh_rotation import Families
from .sessions import LONGEST_USUAL, Sessions, checked_owner

#: The longest leeway that settings and issuers may have, in seconds.
_LONGEST_LEEWAY = 300.0


@runtime_checkable
class Authenticated(Protocol):
    """The attributes of an :class:`~flask_jam.Accepted` that a revocation needs."""

    @property
    def subject(self) -> str | None:
        """Return the subject."""
        ...

    @property
    def issuer(self) -> str | None:
        """Return the issuer of the subject."""
        ...

    @property
    def token_id(self) -> str | None:
        """Return the name of the token in the store."""
        ...

    @property
    def payload(self) -> dict[str, Any]:
        """Return the payload of the token."""
        ...


class Sweeper(Protocol):
    """Frees the storage of an owner's ended credentials."""

    def sweep(self, owner: str, /) -> None:
        """Remove the ended credentials of an owner."""
        ...


class Revocation:
    """Revoke tokens, families, sessions, or everything of a subject."""

    def __init__(  # noqa: PLR0913, PLR0917 - all that there is to revoke
        self,
        tokens: Tokens,
        families: Families,
        sessions: Sessions,
        api_keys: Sweeper,
        store: Store,
        settings: Settings,
        report: Callable[..., None],
    ) -> None:
        self._tokens = tokens
        self._families = families
        self._sessions = sessions
        self._api_keys = api_keys
        self._store = store
        self._jwt, self._session = settings.jwt, settings.session
        self._report = report

    def token(self, token_or_claims: str | Mapping[str, Any] | Authenticated) -> bool:
        """Revoke one token; a refresh token ends its family. Return True if it was valid."""
        if isinstance(token_or_claims, Authenticated):
            return self._presented_token(token_or_claims)
        family_id = self._family_of(token_or_claims)
        if family_id is not None:
            return self._end_family(family_id) is not None
        facts = self._facts_of(token_or_claims)
        if facts is None:
            return False
        is_alive = self._jwt.list != "off" and self._is_alive(facts, token_or_claims)
        # Even if it has expired: the clock of another machine may be behind.
        self._tokens.revoke(facts)
        if is_alive:
            self._report("revoked", kind="token", subject=facts.sub, issuer=facts.issuer)
        return is_alive

    def _presented_token(self, presented: Authenticated) -> bool:
        """Revoke the token that a request has presented."""
        exp, mark = _number(presented.payload.get("exp")), presented.token_id
        if mark is None or exp is None:
            raise TokenError(
                Reason.INVALID, "no token was presented with it: end a session by session.logout()"
            )
        if self._jwt.list == "off":
            raise ConfigError('jwt.list is "off": no token can be revoked; write "deny"')
        subject, issuer, now = presented.subject, presented.issuer, self._sessions.clock()
        owner = None if subject is None else owner_of(subject, issuer)
        slot, until = slot_of(owner or mark), exp + _LONGEST_LEEWAY
        is_alive = not self._store.marks(slot, mark, None, None, now).revoked and now < exp
        self._store.mark(slot, Kind.TOKEN, mark, now, until)
        if is_alive:
            self._report("revoked", kind="token", subject=subject, issuer=issuer)
        return is_alive

    def _facts_of(self, token_or_claims: str | Mapping[str, Any]) -> Facts | None:
        """Return the facts of a token or of its claims; None if it is not ours or long expired.

        :raises TokenError: for claims that are incomplete, or of a wrong type.
        """
        try:
            return self._tokens.of_ours(token_or_claims)
        except TokenError as error:
            if not isinstance(token_or_claims, Mapping) or "jti" not in token_or_claims:
                raise
            if error.reason is Reason.INVALID and not self._is_outlived(token_or_claims):
                raise
            return None

    def _is_outlived(self, claims: Mapping[str, Any]) -> bool:
        """Return True for claims that have expired, or that live longer than any token may."""
        exp, iat = _number(claims.get("exp")), _number(claims.get("iat"))
        if exp is None:
            return False
        is_expired = exp + self._jwt.leeway <= self._sessions.clock()
        return is_expired or (iat is not None and exp - iat > self._jwt.longest)

    def _is_alive(self, facts: Facts, token_or_claims: str | Mapping[str, Any]) -> bool:
        now = self._sessions.clock()
        marks = self._store.marks(facts.slot, facts.mark, facts.family, facts.owner, now)
        if marks.revoked or now >= facts.ends:
            return False
        if self._jwt.list == "allow" and facts.issuer is None and not marks.allowed:
            return False
        # Claims do not contain the cutoff at issuance: only the token itself does.
        is_token = isinstance(token_or_claims, str)
        cut_off = marks.cut_off_of(facts.family)
        return cut_off is None or not is_token or survives(facts, cut_off, self._store.identity())

    def login(self, token: str) -> str | None:
        """End an access token, expired or not, and its whole family; return the owner."""
        family_id = self._family_of(token)
        if family_id is not None:
            family = self._end_family(family_id)
            return None if family is None else family.subject
        facts = self._tokens.of_ours(token)
        if facts is None:
            return None
        if self._jwt.list != "off":
            self._revoke(facts)
        if facts.family is not None:
            self._end_family(facts.family)
        return facts.owner or ""

    def subject(self, owner: str) -> None:
        """Revoke everything that an owner has now."""
        now = self._sessions.clock()
        self._store.cut(slot_of(owner), owner, now, now + self._longest_life())
        self._report_of(owner, "subject")
        with suppress(StoreUnavailable):
            self._sessions.sweep(owner)
            self._api_keys.sweep(owner)

    def cut_logins(self, owner: str) -> None:
        """End every session and family of an owner, and the access tokens of these."""
        now = self._sessions.clock()
        self._store.cut_logins(slot_of(owner), owner, now, now + self._longest_life())

    def report_ended(self, owner: str, kinds: Iterable[str]) -> None:
        """Report that logins of these kinds were ended."""
        for kind in kinds:
            self._report_of(owner, kind)

    def _report_of(self, owner: str, kind: str) -> None:
        subject, issuer = split_owner(owner)
        self._report("revoked", kind=kind, subject=subject, issuer=issuer)

    def _longest_life(self) -> float:
        """Return how long tokens from before a cutoff may still be valid, in seconds."""
        jwt, session = self._jwt, self._session
        logins = max(jwt.refresh_absolute, session.longest, LONGEST_USUAL)
        return max(logins + 2 * (jwt.leeway + CLOCK_SKEW), self._tokens.longest_life)

    def sessions(self, owner: str, keep: str | None) -> int:
        """End every session of an owner except ``keep``; return the number of ended sessions.

        :raises StoreUnavailable: also in the middle: they have ended, and are reported, but were
            not all counted. A repetition counts the rest.
        """
        count = 0
        try:
            for removed in self._sessions.clear(owner, keep):
                count += removed
        finally:
            self.session(owner if count else None)
        return count

    def session(self, owner: str | None) -> str | None:
        """Report that a session of ``owner`` was ended, if one was."""
        if owner is not None:
            self._report_of(owner, "session")
        return owner

    def _revoke(self, facts: Facts) -> None:
        self._tokens.revoke(facts)
        self._report("revoked", kind="token", subject=facts.sub, issuer=facts.issuer)

    def _family_of(self, token_or_claims: str | Mapping[str, Any]) -> str | None:
        try:
            return self._families.parsed(token_or_claims)[0]
        except TokenError:
            return None

    def _end_family(self, family_id: str) -> Family | None:
        return self.family(self._families.end(family_id))

    def family(self, family: Family | None) -> Family | None:
        """Report that a family was ended, if one was."""
        if family is not None:
            self._report_of(family.subject, "family")
        return family


def checked_subject(subject: object, issuer: object = None) -> str:
    """Return the owner of the logins of a subject.

    :raises TokenError: ``invalid``, for an invalid subject or issuer.
    """
    try:
        return checked_owner(subject, issuer)
    except SessionError as error:
        raise TokenError(error.reason, f"this cannot be a subject: {error}") from None


def owner_of_identity(who: str | Authenticated, issuer: str | None = None) -> str:
    """Return the owner of a subject, or of an :class:`~flask_jam.Accepted`.

    :raises TokenError: ``invalid``, also for an issuer beside an :class:`~flask_jam.Accepted`.
    """
    if not isinstance(who, Authenticated):
        return checked_subject(who, issuer)
    if issuer is not None:
        raise TokenError(Reason.INVALID, "an Accepted has its own issuer: leave issuer out")
    return checked_subject(who.subject, who.issuer)


def _number(value: object) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
