"""API keys: create, list, rotate, revoke, look up. The store has only their hashes.

A key that fails its form or its checksum is refused before the store is asked. The others are one
lookup each, by the id in the key; then hashes, expiries and cutoffs are compared.
"""

from __future__ import annotations

import hmac
import math
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from .._helpers.deadline import one_deadline
from .._helpers.names import name_set
from .._helpers.strict_json import copy_json, strict_dumps
from ..errors import Reason, SessionError, TokenError
from ..settings import DAY
from ..stores.api_keys import ApiKey, KeyRotation, NewKey
from ..stores.interface import Store, owner_of, slot_of
from .access_tokens import Clock
from .api_key_text import digest_of, hashed, id_of, is_key, length_of, new_key
from .claims import check_name
from .revocation import checked_subject
from .session_data import kept_data
from .token_cache import FactCache

#: Largest name, in characters; largest data, and scopes and roles, in bytes of JSON. A list of keys
#: reads all of it.
MAX_NAME, MAX_DATA, MAX_GRANTS = 256, 4096, 4096
_LONGEST = 100 * 365 * DAY
_REFUSED = "the API key is not valid"
#: The cursor at which a walk begins.
_FIRST: str | None = ""
#: How many parsed keys are cached.
_TEXTS = 10_000
_HANDLE = re.compile(r"[0-9A-Za-z]{1,64}")


class ApiKeyInfo(NamedTuple):
    """An API key, to show to its owner. ``handle`` is no credential."""

    handle: str
    name: str
    scopes: tuple[str, ...]
    roles: tuple[str, ...]
    created_at: float
    #: ``None`` if it does not expire.
    expires_at: float | None
    #: ``None`` until its first use; exact to a minute.
    last_used_at: float | None
    data: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"ApiKeyInfo(handle={self.handle!r}, name={self.name!r})"


class ApiKeys:
    """Create, look up, rotate and revoke API keys, on any store."""

    def __init__(
        self, store: Store, clock: Clock, report: Callable[..., None], prefix: str = "jam"
    ) -> None:
        self._store = store
        self.clock = clock
        self._report = report
        self._prefix, self._length = prefix, length_of(prefix)
        #: By the hash of a known key: its name and its hash. So form and checksum are checked once,
        #: and only the key's state each time.
        self._texts: FactCache[tuple[str, str]] = FactCache(_TEXTS)
        #: Called before :class:`~flask_jam.Jam` creates a key; an exception refuses it.
        self.permits: list[Callable[[], None]] = []

    def check_permits(self) -> None:
        """Let an app refuse the creation of a key by the current request."""
        for permit in self.permits:
            permit()

    @one_deadline
    def create(  # noqa: PLR0913 - whose it is, what it may do, how long
        self,
        subject: str,
        issuer: str | None = None,
        *,
        name: str,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        expires_in: float | timedelta | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> tuple[str, ApiKeyInfo]:
        """Create a key; return it, and its entry in the list."""
        owner, now = _owner(subject, issuer), self.clock()
        granted = _granted(scopes, roles)
        ends_at = math.inf if expires_in is None else now + _seconds("expires_in", expires_in, 1)
        kept, named = None if data is None else _kept(data), _name(name)
        slot = slot_of(owner)
        text = new_key(self._prefix, slot)
        cut_off = self._store.standing(slot, owner, now).latest
        key = ApiKey(id_of(text), owner, hashed(text), named, *granted, now, ends_at, kept, cut_off)
        if not self._store.create_api_key(key):
            raise TokenError(Reason.REVOKED, "the subject was revoked while the key was created")
        return text, _info(key)

    def lookup(self, text: object) -> ApiKey:
        """Return the stored key of a string, if valid. Copy its data, which is the store's own.

        :raises TokenError: ``invalid``, ``expired`` or ``revoked``; the last two only for a string
            with the right secret.
        """
        # The size comes first: no megabytes are hashed for a stranger.
        if not isinstance(text, str) or len(text) != self._length or not text.isascii():
            raise TokenError(Reason.INVALID, _REFUSED)
        raw = digest_of(text)
        known, ticket = self._texts.get(raw)
        name, digest = known or self._parsed(text)
        now = self.clock()
        key = self._store.read_api_key(name, digest, now)
        if key is None or not hmac.compare_digest(digest, key.digest):
            raise TokenError(Reason.INVALID, _REFUSED)
        if known is None:
            self._texts.put(raw, (name, digest), ticket)
        if key.is_revoked:
            raise TokenError(Reason.REVOKED, _REFUSED)
        if now >= key.expires_at:
            raise TokenError(Reason.EXPIRED, _REFUSED)
        return key

    def _parsed(self, text: str) -> tuple[str, str]:
        """Return the name of a key in the store, and its hash."""
        if not is_key(text, self._prefix):
            raise TokenError(Reason.INVALID, _REFUSED)
        return id_of(text), hashed(text)

    def listed(self, subject: str, issuer: str | None = None) -> list[ApiKeyInfo]:
        """Return the valid keys of a subject, the oldest first."""
        return [_info(key) for key in self._walk(_owner(subject, issuer))]

    @one_deadline
    def rotate(
        self,
        subject: str,
        handle: str,
        overlap: float | timedelta = 0,
        issuer: str | None = None,
    ) -> tuple[str, ApiKeyInfo]:
        """Replace a valid key with a new one; return it, and its entry in the list."""
        owner, seconds = _owner(subject, issuer), _seconds("overlap", overlap, 0)
        if not _is_handle(handle):
            raise _no_rotation(KeyRotation())
        slot = slot_of(owner)
        text = new_key(self._prefix, slot)
        new, now = NewKey(id_of(text), hashed(text)), self.clock()
        found = self._store.rotate_api_key(slot + handle, owner, new, now, seconds)
        if found.made is None:
            raise _no_rotation(found)
        return text, _info(found.made)

    @one_deadline
    def revoke(self, subject: str, handle: str, issuer: str | None = None) -> bool:
        """Revoke a key in one step; return True if it was valid."""
        owner, attempt = _owner(subject, issuer), secrets.token_hex(8)
        if not _is_handle(handle):
            return False
        key, now = slot_of(owner) + handle, self.clock()
        was_alive = self._store.end_api_key(key, owner, now, attempt)
        if was_alive:
            self._report("revoked", kind="api_key", subject=subject, issuer=issuer)
        return was_alive

    def sweep(self, owner: str) -> None:
        """Free the memory of an owner's keys that have ended."""
        for _ in self._walk(owner):
            pass

    def _walk(self, owner: str) -> Iterator[ApiKey]:
        slot, after = slot_of(owner), _FIRST
        while after is not None:
            page = self._store.list_api_keys(slot, owner, self.clock(), after)
            yield from page.living
            after = page.after


def _info(key: ApiKey) -> ApiKeyInfo:
    return ApiKeyInfo(
        key.handle,
        key.name,
        key.scopes,
        key.roles,
        key.created_at,
        None if math.isinf(key.expires_at) else key.expires_at,
        key.last_used_at,
        None if key.data is None else copy_json(dict(key.data)),
    )


# --- arguments ----------------------------------------------------------------------------------


def _owner(subject: object, issuer: object) -> str:
    name = checked_subject(subject)
    return owner_of(name, None if issuer is None else check_name(issuer, "issuer"))


def _name(name: object) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise TokenError(
            Reason.INVALID,
            f"name must be a non-empty string of at most {MAX_NAME} printable characters: it is "
            "what the owner of the key sees in a list",
        )
    return name


def _granted(
    scopes: Iterable[str], roles: Iterable[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    granted = name_set(scopes, "scopes"), name_set(roles, "roles")
    try:
        is_small = len(strict_dumps(granted)) <= MAX_GRANTS
    except ValueError:
        raise TokenError(Reason.INVALID, "roles: a name holds no lone surrogates") from None
    if not is_small:
        raise TokenError(
            Reason.TOO_LARGE,
            f"scopes and roles may have at most {MAX_GRANTS} bytes: give a key fewer of them",
        )
    return granted


def _seconds(what: str, value: object, least: float) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or not least <= seconds <= _LONGEST:  # type: ignore[operator]
        raise TokenError(
            Reason.INVALID,
            f"{what} must be seconds from {least:g} to {_LONGEST:.15g}, or a timedelta",
        )
    return float(seconds)  # type: ignore[arg-type]


def _kept(data: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return kept_data(data, MAX_DATA, "API key data")
    except SessionError as error:
        raise TokenError(error.reason, str(error)) from None


def _is_handle(handle: object) -> bool:
    return isinstance(handle, str) and _HANDLE.fullmatch(handle) is not None


def _no_rotation(found: KeyRotation) -> TokenError:
    if found.reused is not None:
        return TokenError(
            Reason.REUSED,
            f"the API key was rotated before, and its successor has the handle {found.reused[2:]}: "
            "if that key was lost, rotate or revoke it",
        )
    if found.is_revoked:
        return TokenError(Reason.REVOKED, "the API key was revoked: create another one")
    if found.is_expired:
        return TokenError(Reason.EXPIRED, "the API key has expired: create another one")
    return TokenError(Reason.INVALID, "the subject has no API key with this handle")
