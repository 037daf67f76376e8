"""The methods of :class:`~flask_jam.Jam` for API keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from .api_keys import ApiKeyInfo, ApiKeys


class ApiKeyVerbs:
    """API key methods of :class:`~flask_jam.Jam`."""

    api_keys: ApiKeys

    def create_api_key(  # noqa: PLR0913 - whose it is, what it may do, how long
        self,
        subject: str,
        *,
        name: str,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        expires_in: float | timedelta | None = None,
        data: Mapping[str, Any] | None = None,
        issuer: str | None = None,
    ) -> tuple[str, ApiKeyInfo]:
        """Create an API key for a subject. Show it to the user now: it cannot be retrieved later.

        :param name: what the user calls it, such as ``backup script``.
        :param expires_in: lifetime in seconds; ``None`` for a key that does not expire.
        :param data: plain JSON of your own, at most 4096 bytes.
        :param issuer: the issuer of the subject; ``None`` for this service.
        :returns: the key, and its entry in :meth:`list_api_keys`.
        :raises TokenError: for an argument that cannot be stored.
        """
        self.api_keys.check_permits()
        return self.api_keys.create(
            subject,
            issuer,
            name=name,
            scopes=scopes,
            roles=roles,
            expires_in=expires_in,
            data=data,
        )

    def list_api_keys(self, subject: str, issuer: str | None = None) -> list[ApiKeyInfo]:
        """Return the valid API keys of a subject, the oldest first."""
        return self.api_keys.listed(subject, issuer)

    def rotate_api_key(
        self,
        subject: str,
        handle: str,
        overlap: float | timedelta = 0,
        issuer: str | None = None,
    ) -> tuple[str, ApiKeyInfo]:
        """Replace an API key with a new one: same name, rights and expiry.

        :param handle: the handle of the old key in :meth:`list_api_keys`.
        :param overlap: how long the old key stays valid, in seconds.
        :returns: the new key, which is not shown again, and its entry in the list.
        :raises TokenError: ``reused`` if it was rotated before: the sentence names the successor,
            which you can rotate or revoke if its key was lost. ``revoked``, ``expired`` or
            ``invalid`` if there is no such valid key.
        """
        self.api_keys.check_permits()
        return self.api_keys.rotate(subject, handle, overlap, issuer)

    def revoke_api_key(self, subject: str, handle: str, issuer: str | None = None) -> bool:
        """Revoke the API key that :meth:`list_api_keys` shows under a handle.

        :returns: True if it was valid. A handle of another subject's key ends nothing.
        """
        return self.api_keys.revoke(subject, handle, issuer)
