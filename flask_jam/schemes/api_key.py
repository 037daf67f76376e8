"""The scheme ``api_key``: a key that a user has created for a script."""

from __future__ import annotations

from typing import Any

from flask import Request

from .._credentials.api_key_text import has_form
from .._helpers.strict_json import copy_json
from ..errors import Reason, TokenError
from ..jam import Jam
from ..stores.api_keys import ApiKey
from ..stores.interface import split_owner
from .outcome import Accepted, Credential
from .transport import TransportScheme, is_malformed

_new: Any = tuple.__new__  # as in transport.py


class ApiKeyScheme(TransportScheme):
    """Look up the API keys of a :class:`~flask_jam.Jam`. They come in a header only."""

    name = "api_key"
    label = "API key"
    form_rank = 0

    def __init__(self, jam: Jam, header_name: str, header_type: str | None = "Bearer") -> None:
        super().__init__(jam, header_name, None, header_type)
        self._prefix = jam.settings.api_key.prefix

    def recognises(self, value: str) -> bool:
        """Return True for the prefix and the length of a key."""
        return has_form(value, self._prefix)

    def resembles(self, value: str) -> bool:
        """Return True for the prefix, as of a key that was cut or copied twice."""
        return value[: len(self._prefix) + 1].lower() == f"{self._prefix}_"

    def authenticate(self, credential: Credential, request: Request) -> Accepted:
        """See :class:`~flask_jam.schemes.Scheme`. A key has no ``auth_time`` of its owner."""
        try:
            key = self.jam.api_keys.lookup(credential.value)
        except TokenError:
            if is_malformed(credential):
                raise TokenError(Reason.MALFORMED) from None
            raise
        subject, issuer = split_owner(key.owner)
        payload = payload_of(key, subject)
        accepted: Accepted = _new(
            Accepted,
            ("api_key", credential.source, subject, payload, None, None, issuer, None),
        )
        return accepted

    def end(self, credential: str) -> str | None:
        """Revoke a key."""
        try:
            key = self.jam.api_keys.lookup(credential)
        except TokenError:
            return None
        subject, issuer = split_owner(key.owner)
        return key.owner if self.jam.revoke_api_key(subject, key.handle, issuer) else None

    @property
    def token_type(self) -> str:
        """Return the word of the header; for a bare value one that a challenge can name."""
        return self.header_type or "ApiKey"


def payload_of(key: ApiKey, subject: str) -> dict[str, Any]:
    """Return the payload of a key, with ``scope`` and ``roles`` as in a token."""
    payload: dict[str, Any] = {"sub": subject, "name": key.name, "handle": key.handle}
    if key.scopes:
        payload["scope"] = " ".join(key.scopes)
    if key.roles:
        payload["roles"] = list(key.roles)
    payload["data"] = {} if key.data is None else copy_json(dict(key.data))
    return payload
