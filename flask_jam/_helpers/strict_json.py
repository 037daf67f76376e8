"""Strict JSON: unambiguous to read, and read back exactly as written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from ..errors import Reason, TokenError

MAX_DEPTH = 16
#: In seconds. Beyond it, a double cannot represent single seconds.
LARGEST_TIMESTAMP = 2**53


def strict_object(raw: bytes) -> dict[str, Any]:
    """Parse a JSON object in strict UTF-8; reject what two parsers could read in two ways.

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
            raise TypeError("the names in a JSON object are strings")
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return
    for inner in value:
        _check_names(inner)


def strict_dumps(value: Any) -> bytes:
    """Return JSON that :func:`strict_object` reads back unchanged.

    :raises TypeError: for a value or a name that JSON has no form for.
    :raises ValueError: for NaN, an infinity, a cycle or a lone surrogate.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    _check_names(value)
    return text.encode("utf-8")


def copy_json(value: Any) -> Any:
    """Return a deep copy of a JSON value."""
    if isinstance(value, dict):
        return {name: copy_json(inner) for name, inner in value.items()}
    return [copy_json(inner) for inner in value] if isinstance(value, list) else value
