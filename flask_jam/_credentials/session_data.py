"""The data of a session: plain JSON, or an error that names the key at fault."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from .._helpers.strict_json import MAX_DEPTH, strict_object
from ..errors import Reason, SessionError, TokenError
from .claims import json_of

#: Replacements for values of a type or its subclasses, by the type's name.
_INSTEAD = {
    "date": "value.isoformat()",
    "time": "value.isoformat()",
    "timedelta": "value.total_seconds()",
    "bytes": "value.decode(), or base64",
    "bytearray": "value.decode(), or base64",
    "set": "sorted(...)",
    "frozenset": "sorted(...)",
    "Enum": "value.value",
    "Mapping": "dict(...)",
}


def kept_data(data: Mapping[str, Any], max_bytes: int, holder: str = "session") -> dict[str, Any]:
    """Return the data as it will be read back, so that errors come at once.

    :param holder: the name of what holds the data, for the error.
    :raises SessionError: if it is not plain JSON, or too large.
    """
    if not isinstance(data, Mapping):
        raise SessionError(
            Reason.INVALID,
            f"{holder} data must be a mapping with strings as keys, got {type(data).__name__}",
        )
    try:
        raw = json_of(data)
        kept = strict_object(raw)
    except TokenError:
        raise SessionError(Reason.INVALID, _why_not_json(data, holder)) from None
    if len(raw) > max_bytes:
        raise SessionError(Reason.TOO_LARGE, f"a {holder} holds at most {max_bytes} bytes")
    return kept


# --- errors: they name the key and the type, never the value -------------------------------------


def _why_not_json(data: Mapping[Any, Any], holder: str) -> str:
    sentence = f"{holder} data must be plain JSON"
    for key, value in data.items():
        if not isinstance(key, str):
            return f"{sentence}, got a key of type {type(key).__name__}: write str(...)"
        problem = _problem(value, 2)
        if problem is not None:
            return f"{sentence}, and {key[:64]!r} holds {problem}"
    return f"{sentence}, nested at most {MAX_DEPTH} deep"


def _problem(value: object, depth: int) -> str | None:
    """Return what is wrong with the first part of a value that JSON cannot represent."""
    if value is None or isinstance(value, (str, int, float)):
        return _problem_of_scalar(value)
    if not isinstance(value, (dict, list, tuple)):
        return f"a value of type {type(value).__name__}: write {_instead_of(value)}"
    if depth > MAX_DEPTH:
        return f"data nested more than {MAX_DEPTH} deep"
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                return f"a key of type {type(key).__name__}: write str(...)"
        value = list(value.values())
    problems = (_problem(inner, depth + 1) for inner in value)
    return next((problem for problem in problems if problem is not None), None)


def _problem_of_scalar(value: str | float | None) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return "a float that is infinite or not a number"
    if isinstance(value, str) and re.search(r"[\ud800-\udfff]", value):
        return "a string with a lone surrogate"
    return None


def _instead_of(value: object) -> str:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return "dataclasses.asdict(...)"
    kinds = [kind.__name__ for kind in type(value).__mro__]
    kinds += ["Mapping"] if isinstance(value, Mapping) else []
    return next((_INSTEAD[kind] for kind in kinds if kind in _INSTEAD), "str(...)")
