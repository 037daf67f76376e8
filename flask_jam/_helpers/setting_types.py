"""Checks for setting values: each takes a raw value and returns the typed one.

They raise ValueError with a sentence that says what to write instead. It never quotes the value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from .names import nearest


def as_text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("write a text that is not empty")
    return value


def as_secret(value: Any) -> bytes:
    if isinstance(value, str):
        # Bytes of the environment that are no UTF-8 arrive as lone surrogates.
        value = value.encode() if _is_utf8(value) else b""
    if not isinstance(value, bytes) or not value:
        raise ValueError("write a long random text; an empty key signs nothing")
    return value


def _is_utf8(text: str) -> bool:
    return not re.search(r"[\ud800-\udfff]", text)


def as_secrets(value: Any) -> tuple[bytes, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, (list, tuple)):
        raise ValueError("write a list of keys, the newest first")
    return tuple(as_secret(part) for part in value)


def _number(value: Any) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("write a number")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise ValueError("write a number") from None


def as_seconds(low: float, high: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        number = _number(value)
        if not math.isfinite(number) or not low <= number <= high:
            raise ValueError(f"write seconds from {low:.15g} to {high:.15g}")
        return number

    return check


def as_count(low: int, high: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        number = _number(value)
        if not number.is_integer() or not low <= number <= high:
            raise ValueError(f"write a whole number from {low} to {high}")
        return int(number)

    return check


_WORDS = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


def as_flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _WORDS:
        return _WORDS[value.lower()]
    raise ValueError("write true or false")


def as_one_of(*choices: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value is False and "off" in choices:  # what YAML makes of a bare off
            return "off"
        if isinstance(value, str) and value in choices:
            return value
        raise ValueError(f"write one of {', '.join(choices)}{nearest(value, choices)}")

    return check


def as_quotable(value: Any) -> str:
    # RFC 9110 5.6.4: what may stand in a quoted-string without an escape.
    if not re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", as_text(value)):
        raise ValueError("write printable ASCII without quotes or backslashes")
    return str(value)


def as_domain(value: Any) -> str:
    if not re.fullmatch(r"\.?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", as_text(value)):
        raise ValueError("write a host name such as example.org")
    return str(value)


def as_view(value: Any) -> str:
    # Only a path of this host, or an endpoint: a URL elsewhere would get our visitors' paths.
    if not re.fullmatch(r"[A-Za-z_][\w.-]*|/|/[\w.~-][\w./~-]*", as_text(value), re.ASCII):
        raise ValueError("write an endpoint such as auth.login, or a path such as /login")
    return str(value)


def as_redis(value: Any) -> Any:
    # A client of one's own is taken as it is; what it is asked for shows when it is used.
    if not isinstance(value, str) and hasattr(value, "execute_command"):
        return value
    return as_text(value)


def as_prefix(value: Any) -> str:
    # Braces would choose the machine of a cluster.
    if not re.fullmatch(r"[A-Za-z0-9_.:/-]{1,64}", as_text(value)):
        raise ValueError("write up to 64 letters, digits and _ . : / -")
    return str(value)


_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9-]+(\.[a-z0-9-]+)*)(:[0-9]{1,5})?")


def as_origins(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
        raise ValueError("write a list of origins, such as https://app.example.org")
    found = tuple(each.lower() for each in value)
    if not all(_ORIGIN.fullmatch(each) for each in found):
        # No wildcards: whoever gets a page onto a sibling host would be trusted, too.
        raise ValueError("write each origin whole, without a path: https://app.example.org")
    return found
