"""API keys in memory: a part of :class:`~flask_jam.stores.memory.MemoryStore`."""

from __future__ import annotations

import hmac
from dataclasses import replace
from typing import Any

from .._helpers.owned import OwnerIndex
from .api_keys import COALESCE, KEEP_ENDED, ApiKey, ApiKeyPage, KeyRotation, NewKey
from .interface import STEP


class MemoryApiKeys:
    """Keys by name, and what has ended lately."""

    #: The lock of the store.
    _lock: Any
    _subjects: dict[str, Any]

    def __init__(self) -> None:
        super().__init__()
        self._api_keys: dict[str, ApiKey] = {}
        self._api_key_index = OwnerIndex()
        #: Of revoked ones: until when they are known, and by which attempt they were ended.
        self._buried: dict[str, tuple[float, str]] = {}

    def _cut_off_at(self, owner: str, now: float) -> float:
        """Return when everything of an owner was cut off."""
        raise NotImplementedError

    def create_api_key(self, api_key: ApiKey) -> bool:
        """See :class:`~flask_jam.stores.api_keys.ApiKeyStore`."""
        now = api_key.created_at
        with self._lock:
            known = self._api_keys.get(api_key.key)
            if known is not None:
                return _is_same(known, api_key.digest) and not self._is_revoked(known, now)
            if self._is_revoked(api_key, now):
                return False
            self._put_api_key(api_key)
            self._sweep(now)
            return True

    def _sweep(self, now: float) -> None:
        """Remove what has ended, now and then."""
        raise NotImplementedError

    def _put_api_key(self, api_key: ApiKey) -> None:
        self._api_keys[api_key.key] = api_key
        end = api_key.expires_at
        self._api_key_index.put(api_key.owner, api_key.key, api_key.created_at, end)

    def read_api_key(self, key: str, digest: str, now: float) -> ApiKey | None:
        """See :class:`~flask_jam.stores.api_keys.ApiKeyStore`. Most reads need no lock."""
        found = self._api_keys.get(key)
        if found is None:
            return None
        used_at = found.last_used_at
        is_used_lately = used_at is not None and now - used_at < COALESCE
        if is_used_lately and found.owner not in self._subjects:
            return found
        with self._lock:
            return self._used_api_key(key, digest, now)

    def _used_api_key(self, key: str, digest: str, now: float) -> ApiKey | None:
        found = self._api_keys.get(key)
        if found is None:
            return None
        if self._is_revoked(found, now):
            return replace(found, is_revoked=True)
        if _is_same(found, digest) and now < found.expires_at and not found.is_used_lately(now):
            found = self._api_keys[key] = replace(found, last_used_at=now)
        return found

    def _is_revoked(self, found: ApiKey, now: float) -> bool:
        return found.is_revoked or found.cut_off < self._cut_off_at(found.owner, now)

    def list_api_keys(self, slot: str, owner: str, now: float, after: str = "") -> ApiKeyPage:
        """See :class:`~flask_jam.stores.api_keys.ApiKeyStore`."""
        with self._lock:
            names = self._api_key_index.page(owner, after, STEP)
            living = []
            for key, place in names:
                found = self._api_keys[key]
                if self._is_revoked(found, now):
                    self._bury(found, now, "")
                elif now < found.expires_at:
                    living.append(found)
                    after = place
                else:
                    self._api_key_index.drop(owner, key)
            return ApiKeyPage(living, after if len(names) == STEP else None)

    def rotate_api_key(
        self, key: str, owner: str, new: NewKey, now: float, overlap: float
    ) -> KeyRotation:
        """See :class:`~flask_jam.stores.api_keys.ApiKeyStore`."""
        with self._lock:
            old = self._api_keys.get(key)
            if old is None or old.owner != owner:
                return KeyRotation()
            if old.successor == new.key:
                return KeyRotation(made=self._api_keys.get(new.key))
            if old.successor is not None:
                return KeyRotation(reused=old.successor)
            if self._is_revoked(old, now):
                return KeyRotation(is_revoked=True)
            if now >= old.expires_at:
                return KeyRotation(is_expired=True)
            return KeyRotation(made=self._rotated(old, new, now, overlap))

    def _rotated(self, old: ApiKey, new: NewKey, now: float, overlap: float) -> ApiKey:
        made = replace(old, key=new.key, digest=new.digest, created_at=now, last_used_at=None)
        old = replace(old, successor=new.key, expires_at=min(old.expires_at, now + overlap))
        self._put_api_key(made)
        self._put_api_key(old)
        if overlap == 0:
            self._bury(old, now, "")
        self._sweep(now)
        return made

    def end_api_key(self, key: str, owner: str, now: float, attempt: str) -> bool:
        """See :class:`~flask_jam.stores.api_keys.ApiKeyStore`."""
        with self._lock:
            found = self._api_keys.get(key)
            if found is None or found.owner != owner:
                return False
            if key in self._buried:
                return self._buried[key][1] == attempt
            was_alive = now < found.expires_at and not self._is_revoked(found, now)
            # One that has expired, too: the clock of another machine may be behind.
            self._bury(found, now, attempt if was_alive else "")
            self._sweep(now)
            return was_alive

    def _bury(self, found: ApiKey, now: float, attempt: str) -> None:
        """Keep only what is needed to refuse it, and to repeat the step that has ended it."""
        self._api_key_index.drop(found.owner, found.key)
        self._api_keys[found.key] = replace(found, data=None, is_revoked=True)
        self._buried[found.key] = now + KEEP_ENDED, attempt

    def _sweep_api_keys(self, now: float) -> None:
        for key, found in list(self._api_keys.items()):
            until, _ = self._buried.get(key, (found.expires_at + KEEP_ENDED, ""))
            if until <= now:
                self._buried.pop(key, None)
                self._api_key_index.drop(found.owner, key)
                del self._api_keys[key]


def _is_same(found: ApiKey, digest: str) -> bool:
    return hmac.compare_digest(found.digest.encode(), digest.encode())
