"""Parse and verify a JWS: from a client's string to a header and a payload.

Every token is parsed here first: the parser is cheap, it is strict where PyJWT is lenient (RFC 8725
2.6, 3.7, 3.14), and the code behind it may rely on its checks. Base64url is decoded only here.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import jwt as pyjwt

from ._helpers.strict_json import strict_object
from .errors import Reason, TokenError
from .keys import Key, KeyRing

MAX_HEADER_BYTES = 2048

_THREE_SEGMENTS = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
# Extensions that we do not support (RFC 7515 4.1.11, RFC 7797), and members of JWE.
_REFUSED_MEMBERS = frozenset({"crit", "b64", "zip", "enc", "epk", "p2c", "p2s", "cty"})


def verify_jws(
    token: str, keyring: KeyRing, *, max_bytes: int = 8192
) -> tuple[dict[str, Any], bytes]:
    """Return header and payload of a token whose signature is valid. No claim is checked.

    :param max_bytes: a longer token is refused unread.
    :raises TokenError: ``too_large`` or ``invalid``.
    """
    match = _gate(token, max_bytes)
    header = _header(match[1])
    key = keyring.find(header)
    # The algorithm is the key's; the header may only agree (RFC 8725 3.1).
    if key is None or header.get("alg") not in key.algs:
        raise TokenError(Reason.INVALID)
    payload, signature = _decode(match[2]), _decode(match[3])
    if not key.verify(token[: match.end(2)].encode("ascii"), signature):
        raise TokenError(Reason.INVALID)
    return dict(header), payload


class UnverifiedJWS(NamedTuple):
    """A parsed token whose signature was not checked: trust nothing in it."""

    header: Mapping[str, Any]
    payload: bytes
    signature: bytes
    signing_input: bytes

    def is_signed_by(self, key: Key) -> bool:
        """Return True if the key's algorithm is the header's, and the signature is right."""
        return self.header.get("alg") in key.algs and key.verify(self.signing_input, self.signature)


def read_jws(token: str, *, max_bytes: int = 8192) -> UnverifiedJWS:
    """Return the parts of a token, to choose the keys that verify it.

    :raises TokenError: ``too_large`` or ``invalid``, for a string that is no token.
    """
    match = _gate(token, max_bytes)
    parts = _header(match[1]), _decode(match[2]), _decode(match[3])
    return UnverifiedJWS(*parts, token[: match.end(2)].encode("ascii"))


def _gate(token: str, max_bytes: int) -> re.Match[str]:
    if not isinstance(token, str):
        raise TokenError(Reason.INVALID)
    if len(token) > max_bytes:
        raise TokenError(Reason.TOO_LARGE)
    match = _THREE_SEGMENTS.fullmatch(token)
    if match is None:
        raise TokenError(Reason.INVALID)
    return match


def sign_jws(payload: bytes, key: Key) -> str:
    """Return a compact JWS with ``alg``, ``typ`` and ``kid``."""
    return pyjwt.PyJWS().encode(payload, key.private, algorithm=key.alg, headers=_headers(key))


def _headers(key: Key) -> dict[str, str]:
    return {"typ": "JWT", "kid": key.kid}


def signed_length(payload: bytes, key: Key) -> int:
    """Return the length of the token that :func:`sign_jws` would return, without signing."""
    header = json.dumps({"alg": key.alg, **_headers(key)}, separators=(",", ":"))
    sizes = len(header), len(payload), key.signature_bytes
    return sum((size * 4 + 2) // 3 for size in sizes) + 2  # base64url without padding, two dots


# Tokens of one key have one header. A refusal raises, so none is kept.
@lru_cache(maxsize=32)
def _header(segment: str) -> Mapping[str, Any]:
    raw = _decode(segment)
    if len(raw) > MAX_HEADER_BYTES:
        raise TokenError(Reason.TOO_LARGE)
    header = strict_object(raw)
    if not _REFUSED_MEMBERS.isdisjoint(header):
        raise TokenError(Reason.INVALID)
    return MappingProxyType(header)


def _decode(segment: str) -> bytes:
    """Decode canonical base64url (RFC 4648 3.5), which has one spelling for a value."""
    rest = len(segment) % 4
    if rest and segment[-1] not in _LAST[rest]:
        raise TokenError(Reason.INVALID)
    return binascii.a2b_base64(segment.encode("ascii").translate(_STANDARD) + b"=" * (-rest % 4))


# base64url to base64; and, by the length beyond whole groups of four, the characters that may end
# a segment: others set bits that belong to no byte. One character alone is no byte at all.
_STANDARD = bytes.maketrans(b"-_", b"+/")
_LAST = {1: "", 2: "AQgw", 3: "AEIMQUYcgkosw048"}
