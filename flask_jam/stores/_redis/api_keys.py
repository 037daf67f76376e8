"""API keys in Redis: a part of :class:`~flask_jam.stores.redis.RedisStore`."""

from __future__ import annotations

from ..api_keys import ApiKey, ApiKeyPage, KeyRotation, NewKey


class RedisApiKeys:
    """Not yet: every verb but the empty list raises."""

    def create_api_key(self, api_key: ApiKey) -> bool:
        raise NotImplementedError

    def read_api_key(self, key: str, digest: str, now: float) -> ApiKey | None:
        raise NotImplementedError

    def list_api_keys(self, slot: str, owner: str, now: float, after: str = "") -> ApiKeyPage:
        return ApiKeyPage()

    def rotate_api_key(
        self, key: str, owner: str, new: NewKey, now: float, overlap: float
    ) -> KeyRotation:
        raise NotImplementedError

    def end_api_key(self, key: str, owner: str, now: float, attempt: str) -> bool:
        raise NotImplementedError
