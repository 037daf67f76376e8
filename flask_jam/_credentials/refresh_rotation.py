"""Refresh families: a login's chain of refresh tokens, with reuse detection.

A refresh token is ``family.generation.mac``. The MAC keeps guesses away from the store, and the
store keeps only the generation, so it holds nothing that a client could present. Each token can be
used once (RFC 9700 4.14.2); the previous one gets the same successor for a short grace, as two tabs
or a lost reply need it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

from .._helpers.strict_json import copy_json, strict_object
from ..errors import ConfigError, Reason, TokenError
from ..settings import JWTSettings
from ..stores.interface import (
    IP,
    USER_AGENT,
    Family,
    Limits,
    Listed,
    Page,
    Rotation,
    Store,
    shortened,
    slot_of,
)
from .access_tokens import Clock, Tokens
from .claims import Facts, check_name, json_of
from .login_claims import LIFE, build_claims, check_reloaded, checked_life, life_of, shown_to_reload

#: Called with subject and claims at each refresh; returns the new claims, or ``None`` to refuse.
Reload = Callable[[str, dict[str, Any]], Mapping[str, Any] | None]

_SHAPE = re.compile(r"([A-Za-z0-9_-]{45})\.([1-9][0-9]{0,8})\.[A-Za-z0-9_-]{43}")
_REFUSED = {Rotation.REVOKED: Reason.REVOKED, Rotation.GONE: Reason.EXPIRED}


class TokenPair(NamedTuple):
    """What a login or a refresh issues."""

    #: The answer to the client, in the form of RFC 6749 5.1.
    answer: dict[str, Any]
    #: The facts of the access token, so that callers need not verify it.
    access: Facts
    #: When the refresh token expires, if it is not used.
    refresh_ends: float = 0.0

    def __repr__(self) -> str:
        return "TokenPair(…)"


class Families:
    """Start, rotate and end refresh families."""

    def __init__(
        self,
        tokens: Tokens,
        store: Store,
        settings: JWTSettings,
        clock: Clock,
    ) -> None:
        self._tokens = tokens
        self._store = store
        self._settings = settings
        # The current settings also bound what is stored.
        self._limits = Limits(settings.refresh_idle, settings.refresh_absolute)
        self.clock = clock

    @property
    def _mac_keys(self) -> tuple[bytes, ...]:
        return self._tokens.derive("refresh token")

    def start(
        self,
        subject: str,
        claims: Mapping[str, Any],
        user_agent: str | None = None,
        ip: str | None = None,
    ) -> TokenPair:
        """Start a family; return its first pair.

        :param claims: from :meth:`claims_of_login`.
        :raises TokenError: if the subject or a claim could not be verified later.
        """
        now = self.clock()
        subject = check_name(subject, "the subject")
        slot = slot_of(subject)
        family_id = slot + secrets.token_urlsafe(32)
        family = Family(
            subject=subject,
            claims=_kept({"auth_time": now, **claims}),
            started_at=now,
            ends_at=now + self._settings.refresh_absolute,
            rotated_at=now,
            idle_until=now + self._settings.refresh_idle,
            cut_off=self._store.standing(slot, subject, now).latest,
            user_agent=shortened(user_agent, USER_AGENT),
            ip=shortened(ip, IP),
        )
        pair = self._pair(family_id, family, now)
        most, mark_until = self._settings.max_logins, self._mark_until(now)
        self._store.start_family(family_id, family, most, mark_until)
        return pair

    def claims_of_login(
        self,
        scopes: Iterable[str],
        roles: Iterable[str],
        expires_in: float | timedelta | None,
        claims: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Check and return the claims of a login.

        :raises TokenError: for a reserved claim, or a lifetime longer than ``jwt.expire``.
        :raises ConfigError: for scopes or roles that are not a set of names.
        """
        said = build_claims(scopes, roles, claims)
        if expires_in is not None:
            said[LIFE] = checked_life(expires_in, self._settings.expire)
        return said

    def without_refresh(self, subject: str, claims: Mapping[str, Any]) -> TokenPair:
        """Return an access token without a family; nothing is stored.

        :raises TokenError: as :meth:`start` does.
        """
        now = self.clock()
        said = {"sub": check_name(subject, "the subject"), "auth_time": now, **claims}
        return self._access_token(said, now)

    def renew(self, refresh_token: object, reload: Reload | None = None) -> TokenPair:
        """Return an access token for the current refresh token, which stays valid.

        Any other refresh token is handled as in :meth:`rotate`: one that was rotated before
        ``jwt.rotate_refresh_tokens`` was turned off is still a sign of theft.

        :raises TokenError: as :meth:`rotate` does.
        """
        family_id, generation = self.parsed(refresh_token)
        family = self.read(family_id)
        if family is None or generation != family.generation:
            return self.rotate(refresh_token, reload)
        if reload is not None:
            family = replace(family, claims=self._asked(family_id, family, reload))
        now = self.clock()
        if not family.alive(now):
            raise TokenError(Reason.EXPIRED, "the refresh token is not valid")
        # A logout meanwhile has marked the family, so the token is refused.
        return self._access_token(_said(family_id, family), now, family.cut_off)

    def rotate(self, refresh_token: object, reload: Reload | None = None) -> TokenPair:
        """Rotate a refresh token; return the next pair.

        :raises TokenError: with the reason; ``reused`` if this has revoked the family.
        """
        family_id, generation = self.parsed(refresh_token)
        claims, grace = self._reloaded(family_id, generation, reload)
        now = self.clock()
        rotation, family = self._store.rotate_family(
            family_id,
            generation,
            now=now,
            grace=grace,
            idle=self._limits.idle,
            claims=claims,
            mark_until=self._mark_until(now),
            absolute=self._limits.absolute,
        )
        if family is None or rotation is Rotation.GONE or rotation is Rotation.REVOKED:
            raise TokenError(_REFUSED[rotation], "the refresh token is not valid")
        if rotation is Rotation.REUSED:
            raise ReuseError(family_id, family.subject)
        return self._pair(family_id, family, now)

    def _reloaded(
        self, family_id: str, generation: int, reload: Reload | None
    ) -> tuple[Mapping[str, Any] | None, float]:
        """Return new claims, if any, and the grace for the token, in seconds."""
        # Called before the rotation: if it fails, the client's token is still valid.
        grace = self._settings.refresh_grace
        family = self.read(family_id) if reload is not None else None
        if family is None or reload is None:
            return None, grace
        if family.answer(generation, grace) is Rotation.REUSED:
            # No claims to reload: the rotation detects the reuse, whatever the clocks say.
            return None, 0.0
        return self._asked(family_id, family, reload), grace

    def _asked(self, family_id: str, family: Family, reload: Reload) -> Mapping[str, Any]:
        # A login cannot set reserved claims; damaged data may have them.
        current = shown_to_reload(family.claims)
        new = reload(family.subject, {name: copy_json(value) for name, value in current.items()})
        if new is None:
            raise TokenError(Reason.REVOKED, "the subject may not refresh")
        if not isinstance(new, Mapping):
            raise ConfigError("reload_claims gives a mapping of claims, or None to refuse")
        claims = {"auth_time": family.claims.get("auth_time", family.started_at), **new}
        try:
            check_reloaded(new)
            self._tokens.check({"sub": family.subject, "fam": family_id, **claims})
        except TokenError as error:
            raise ConfigError(f"reload_claims gave claims that cannot be used: {error}") from None
        kept = {LIFE: family.claims[LIFE]} if LIFE in family.claims else {}
        return _kept({**claims, **kept})

    def end(self, family_id: str) -> Family | None:
        """End a family and its access tokens; return the family if it was active."""
        now = self.clock()
        return self._store.end_family(family_id, now, self._mark_until(now))

    def end_by_handle(self, subject: str, handle: object) -> Family | None:
        """End the family with a handle in a subject's list; return it, or None."""
        for page in self.walk(subject):
            for family in page.living:
                if self.handle(family) == handle:
                    return self.end(family.key)
        return None

    def walk(self, subject: str) -> Iterator[Page]:
        """Walk through the families of a subject, in steps of bounded size."""
        slot = slot_of(subject)
        after: str | None = ""
        while after is not None:
            now = self.clock()
            until = self._mark_until(now)
            page = self._store.list_families(slot, subject, now, until, after, self._limits)
            yield page
            after = page.after

    @staticmethod
    def handle(family: Listed) -> str:
        """Return the handle of a family in a list."""
        return handle_of_family(family.key)

    def of_token(self, refresh_token: object) -> Family | None:
        """Return the active family of a refresh token, or None."""
        try:
            family_id, _ = self.parsed(refresh_token)
        except TokenError:
            return None
        return self.read(family_id)

    def due(self, refresh_token: object) -> Family | None:
        """Return the active family of a refresh token, or None; None also for a used token.

        Rotating a used token is reported as reuse, and nothing may happen before that.
        """
        try:
            family_id, generation = self.parsed(refresh_token)
        except TokenError:
            return None
        family = self.read(family_id)
        grace = self._settings.refresh_grace
        if family is None or family.answer(generation, grace) is Rotation.REUSED:
            return None
        return family

    def read(self, family_id: str) -> Family | None:
        """Return a family if it is active."""
        return self._store.read_family(family_id, self.clock(), self._limits)

    def parsed(self, refresh_token: object) -> tuple[str, int]:
        """Return family and generation of a token with our MAC; others never reach the store.

        :raises TokenError: ``invalid``.
        """
        match = _SHAPE.fullmatch(refresh_token) if isinstance(refresh_token, str) else None
        if match is None:
            raise TokenError(Reason.INVALID)
        presented = match[0].encode("ascii")
        made = [_token(key, match[1], int(match[2])) for key in self._mac_keys]
        if not any(hmac.compare_digest(presented, token.encode("ascii")) for token in made):
            raise TokenError(Reason.INVALID)
        return match[1], int(match[2])

    def _pair(self, family_id: str, family: Family, now: float) -> TokenPair:
        answer, facts, _ = self._access_token(_said(family_id, family), now, family.cut_off)
        token = _token(self._mac_keys[0], family_id, family.generation)
        ends = family.within(self._limits).expires_at
        return TokenPair({**answer, "refresh_token": token}, facts, ends)

    def _access_token(
        self, claims: Mapping[str, Any], now: float, cut_off: float | None = None
    ) -> TokenPair:
        said = dict(claims)
        life = life_of(said.pop(LIFE, None), self._settings.expire)
        token, facts = self._tokens.mint({"iat": now, "exp": int(now + life), **said}, cut_off)
        answer = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": int(life),
            "scope": said.get("scope", ""),
        }
        return TokenPair(answer, facts)

    def _mark_until(self, now: float) -> float:
        return now + self._settings.longest + self._settings.leeway


class ReuseError(TokenError):
    """A rotated refresh token was used again, so a copy exists (RFC 9700 4.14.2)."""

    def __init__(self, family_id: str, subject: str) -> None:
        super().__init__(Reason.REUSED)
        self.family_id = family_id
        self.subject = subject

    def __reduce__(self) -> tuple[type[ReuseError], tuple[str, str]]:
        return type(self), (self.family_id, self.subject)


def _kept(claims: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a copy of the claims, which the caller's objects cannot change."""
    return strict_object(json_of(claims))


def _said(family_id: str, family: Family) -> dict[str, Any]:
    return {"sub": family.subject, "fam": family_id, **family.claims}


def is_refresh_token(value: str) -> bool:
    """Return True for the form of a refresh token, which no access token has."""
    return _SHAPE.fullmatch(value) is not None


def handle_of_family(family_id: str) -> str:
    """Return the handle of a family by its id."""
    name = family_id.encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(b"flask_jam handle of a family\0" + name).digest()
    return base64.urlsafe_b64encode(digest[:15]).decode()


def _token(key: bytes, family_id: str, generation: int) -> str:
    said = f"{family_id}.{generation}"
    mac = hmac.new(key, said.encode("ascii"), hashlib.sha256).digest()
    return f"{said}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
