"""API keys in Redis: a part of :class:`~flask_jam.stores.redis.RedisStore`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..._helpers.strict_json import strict_dumps, strict_object
from ..api_keys import ApiKey, ApiKeyPage, KeyRotation, NewKey
from ..interface import owner_of, split_owner
from . import api_key_scripts as lua
from .plain_api_keys import PlainApiKeys
from .scripts import REMOVE
from .values import (
    UNREAD,
    _check_version,
    _text,
    _time,
    as_bytes,
    as_text,
    flat,
    hashed,
)

_NO_END = float(lua.NO_END)
#: Values of one key in an answer of a step.
_PARTS = 8


class RedisApiKeys:
    """The verbs for API keys, one script each."""

    if TYPE_CHECKING:
        _timeout: float | None
        _plain_keys: PlainApiKeys

        def _ask(self, script: str, keys: Sequence[str], *arguments: Any) -> Any: ...
        def _write(self, script: str, keys: Sequence[str], *arguments: Any) -> Any: ...
        def _key(self, letter: str, slot: str, name: str) -> str: ...
        def _is_nothing(self, said: Any) -> bool: ...

    def create_api_key(self, api_key: ApiKey) -> bool:
        """See :class:`~flask_jam.stores.api_keys.ApiKeyStore`."""
        slot = api_key.key[:2]
        fields = fields_of(api_key)
        keys = [self._api_key(api_key.key), self._key("c", slot, fields["o"])]
        told = repr(api_key.created_at), api_key.digest, fields["u"], fields["e"]
        return as_text(self._write(lua.CREATE_API_KEY, keys, *told, *flat(fields))[0]) == "created"

    def read_api_key(self, key: str, digest: str, now: float) -> ApiKey | None:
        """See :class:`~flask_jam.stores.api_keys.ApiKeyStore`."""
        return self._read_api_key(key, digest, now, remember=self._timeout is not None)

    def _read_api_key(
        self, key: str, digest: str, now: float, *, remember: bool = False
    ) -> ApiKey | None:
        redis_key = self._api_key(key)
        found = self._ask(lua.READ_API_KEY, [redis_key], repr(now), digest)
        if isinstance(found[-1], ApiKey):
            return found[-1]
        api_key = self._api_key_of(key, found)
        if api_key is not None and remember:
            parts = [as_bytes(part) or b"" for part in found[1:]]
            self._plain_keys.remember(redis_key, parts, api_key, now)
        return api_key

    def list_api_keys(self, slot: str, owner: str, now: float, after: str = "") -> ApiKeyPage:
        """See :class:`~flask_jam.stores.api_keys.ApiKeyStore`."""
        keys = [self._key("y", slot, hashed(owner))]
        # Those that it removes are changed, too: Redis pushes them.
        _, more, place, *parts = self._ask(lua.LIST_API_KEYS, keys, repr(now), after)
        step = 1 + _PARTS
        rows = [parts[start : start + step] for start in range(0, len(parts), step)]
        found = [self._api_key_of(as_text(name), ["alive", *row]) for name, *row in rows]
        return ApiKeyPage([each for each in found if each], as_text(place) if more else None)

    def rotate_api_key(
        self, key: str, owner: str, new: NewKey, now: float, overlap: float
    ) -> KeyRotation:
        """See :class:`~flask_jam.stores.api_keys.ApiKeyStore`."""
        keys = [self._api_key(key), self._api_key(new.key)]
        end = repr(now + overlap) if overlap > 0 else ""
        found = self._write(lua.ROTATE_API_KEY, keys, repr(now), hashed(owner), new.digest, end)
        word = as_text(found[0])
        if word == "reused":
            return KeyRotation(reused=as_text(found[1]))
        if word == "dead":
            is_revoked = as_text(found[1]) == "revoked"
            return KeyRotation(is_revoked=is_revoked, is_expired=not is_revoked)
        return KeyRotation(made=self._api_key_of(new.key, found))

    def end_api_key(self, key: str, owner: str, now: float, attempt: str) -> bool:
        """See :class:`~flask_jam.stores.api_keys.ApiKeyStore`."""
        keys = [self._api_key(key)]
        [word] = self._write(lua.END_API_KEY, keys, repr(now), hashed(owner), attempt)
        return not self._is_nothing(word) and as_text(word) == "alive"

    def _api_key_of(self, key: str, found: Sequence[Any]) -> ApiKey | None:
        word, *parts = found
        if self._is_nothing(word) and not parts:
            return None
        try:
            is_revoked = as_text(word) == "revoked"
            return api_key_of(key, [as_bytes(part) or b"" for part in parts], is_revoked)
        except UNREAD:
            self._write(REMOVE, [self._api_key(key)])
            self._is_nothing("corrupt")
            return None

    def _api_key(self, key: str) -> str:
        return self._key("q", key[:2], key)


#: How many values follow the word of an answer; the word alone where it is not here.
_AFTER = {
    lua.READ_API_KEY: {"alive": _PARTS, "expired": _PARTS, "revoked": _PARTS},
    lua.ROTATE_API_KEY: {
        "new": _PARTS,
        "expired": _PARTS,
        "revoked": _PARTS,
        "reused": 1,
        "dead": 1,
    },
}


def is_answer(script: str, word: str, values: Sequence[Any]) -> bool:
    """Return True if that step for API keys can have said this."""
    if script == lua.LIST_API_KEYS:
        values = [*values[:1], *values[1:2]] if len(values) % (1 + _PARTS) == 2 else [None]
    elif len(values) != _AFTER.get(script, {}).get(word, 0):
        return False
    return all(isinstance(value, (bytes, str)) for value in values)


def fields_of(api_key: ApiKey) -> dict[str, Any]:
    """Return what Redis keeps of a new key."""
    data = None if api_key.data is None else dict(api_key.data)
    granted = list(api_key.scopes), list(api_key.roles)
    fixed = [1, *split_owner(api_key.owner), api_key.name, *granted, data]
    end = lua.NO_END if math.isinf(api_key.expires_at) else repr(api_key.expires_at)
    return {
        "j": strict_dumps(fixed),
        "o": hashed(api_key.owner),
        "h": api_key.digest,
        "b": repr(api_key.created_at),
        "e": end,
        "u": repr(api_key.cut_off),
    }


def api_key_of(key: str, parts: Sequence[bytes], is_revoked: bool) -> ApiKey:
    """Read what Redis keeps of a key.

    :raises: one of :data:`~flask_jam.stores._redis.values.UNREAD`.
    """
    fixed, digest, created_at, end, cut_off, used, successor, _ = parts
    version, subject, issuer, name, scopes, roles, data = json.loads(fixed)
    _check_version(version)
    ends_at = _time(float(end))
    return ApiKey(
        key=key,
        owner=owner_of(_text(subject), None if issuer is None else _text(issuer)),
        digest=digest.decode("ascii"),
        name=_text(name),
        scopes=_names(scopes),
        roles=_names(roles),
        created_at=_time(float(created_at)),
        expires_at=math.inf if ends_at >= _NO_END else ends_at,
        data=None if data is None else strict_object(strict_dumps(data)),
        cut_off=_time(float(cut_off)),
        last_used_at=_time(float(used)) if used else None,
        successor=successor.decode("ascii") or None,
        is_revoked=is_revoked,
    )


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("no names")
    return tuple(map(_text, value))
