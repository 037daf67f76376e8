"""The gate and the signature: from a text that a client sent to a header and a payload.

Nothing looks at a token before the gate: it is cheap, it is strict where PyJWT is lenient (RFC
8725 2.6, 3.7, 3.14), and everything behind it may rely on what it let through. This is also the
one home of base64url and of JSON that came from outside.
"""

from __future__ import annotations

import binascii
import json
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NoReturn

import jwt as pyjwt

from .errors import Reason, TokenError
from .keys import Key, KeyRing

MAX_HEADER_BYTES = 2048
MAX_DEPTH = 16
#: In seconds. Beyond, a double does not count single seconds.
LARGEST_DATE = 2**53

_THREE_SEGMENTS = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
# Extensions of which we understand none (RFC 7515 4.1.11, RFC 7797), and members of JWE.
_REFUSED_MEMBERS = frozenset({"crit", "b64", "zip", "enc", "epk", "p2c", "p2s", "cty"})


def verify_jws(
    token: str, keyring: KeyRing, *, max_bytes: int = 8192
) -> tuple[dict[str, Any], bytes]:
    """The header and payload of a token whose signature holds. No claim is looked at.

    :param max_bytes: a longer token is refused unread.
    :raises TokenError: ``too_large`` or ``invalid``.
    """
    if not isinstance(token, str):
        raise TokenError(Reason.INVALID)
    if len(token) > max_bytes:
        raise TokenError(Reason.TOO_LARGE)
    match = _THREE_SEGMENTS.fullmatch(token)
    if match is None:
        raise TokenError(Reason.INVALID)
    header = _header(match[1])
    key = keyring.find(header)
    # The algorithm is the key's; the header may only agree (RFC 8725 3.1).
    if key is None or header.get("alg") != key.alg:
        raise TokenError(Reason.INVALID)
    payload, signature = _decode(match[2]), _decode(match[3])
    if not key.verify(token[: match.end(2)].encode("ascii"), signature):
        raise TokenError(Reason.INVALID)
    return dict(header), payload


def sign_jws(payload: bytes, key: Key) -> str:
    """A compact JWS with ``alg``, ``typ`` and ``kid``."""
    headers = {"typ": "JWT", "kid": key.kid}
    return pyjwt.PyJWS().encode(payload, key.private, algorithm=key.alg, headers=headers)


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
    """Canonical base64url (RFC 4648 3.5): one spelling for one value. The alphabet was checked."""
    rest = len(segment) % 4
    if rest and segment[-1] not in _LAST[rest]:
        raise TokenError(Reason.INVALID)
    return binascii.a2b_base64(segment.encode("ascii").translate(_STANDARD) + b"=" * (-rest % 4))


# base64url to base64; and, by the length beyond whole groups of four, the characters that may end
# a segment: others set bits that belong to no byte. One character alone is no byte at all.
_STANDARD = bytes.maketrans(b"-_", b"+/")
_LAST = {1: "", 2: "AQgw", 3: "AEIMQUYcgkosw048"}


def strict_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in strict UTF-8, without what two parsers could read in two ways.

    Refused: other encodings and a byte order mark (RFC 8725 3.7), duplicate members (RFC 8259 4),
    NaN and infinities, lone surrogates, nesting deeper than 16, anything but an object.

    :raises TokenError: ``invalid``.
    """
    try:
        value = _parse(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise TokenError(Reason.INVALID) from None
    if not isinstance(value, dict):
        raise TokenError(Reason.INVALID)
    return value


def _parse(text: str) -> Any:
    value = _decoder.decode(text)
    if text.count("{") + text.count("[") > MAX_DEPTH and _too_deep(value):
        raise ValueError
    if "\\u" in text:
        # An escape may have made a lone surrogate, which no response could ever carry.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


def _refuse(_constant: str) -> NoReturn:
    raise ValueError


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse)


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        level = inner
    return any(isinstance(item, (dict, list)) for item in level)


def _check_names(value: Any) -> None:
    # json.dumps would write the name 1 as "1", which may be there already.
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError("the names in a JSON object are texts")
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return
    for inner in value:
        _check_names(inner)


def strict_dumps(value: Any) -> bytes:
    """JSON that :func:`strict_object` reads back as it was.

    :raises TypeError: for a value or a name that JSON has no form for.
    :raises ValueError: for NaN, an infinity, a cycle or a lone surrogate.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    _check_names(value)
    return text.encode("utf-8")
