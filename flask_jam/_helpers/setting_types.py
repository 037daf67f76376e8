"""Validators of setting values: each takes a raw value and returns the typed one.

They raise ValueError with the second half of a sentence, "must be …". It never quotes the value.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from .names import nearest


def _type_of(value: Any) -> str:
    """Return the type's name; explain how a string may have become a number or a flag."""
    name = type(value).__name__
    if isinstance(value, (bool, int, float)):
        read = "true and false as a flag" if isinstance(value, bool) else "digits as a number"
        return (
            f"{name}: from_prefixed_env reads {read}; set the JAM_ variable without the prefix, or "
            "put the value in double quotes"
        )
    return name


# --- strings --------------------------------------------------------------------------

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def _as_string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be a string, got {_type_of(value)}")
    if not value.strip():
        raise ValueError("must be a non-empty string")
    return value


def as_text(value: Any) -> str:
    text = _as_string(value)
    if text != text.strip() or _CONTROL.search(text):
        raise ValueError(
            "must be a string without control characters (such as a newline) and without spaces "
            "around it"
        )
    return text


def as_name(value: Any) -> str:
    """Check an issuer or audience by the rules that apply to it in a token."""
    text = as_text(value)
    if len(text) > 256 or _SURROGATE.search(text):
        raise ValueError("must be a string of 1 to 256 characters in valid UTF-8")
    return text


def as_pem(value: Any) -> str:
    return _as_string(value)


def as_quotable(value: Any) -> str:
    # RFC 9110 5.6.4: what may stand in a quoted-string without an escape.
    text = as_text(value)
    if not re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", text):
        raise ValueError("must be printable ASCII without quotes or backslashes")
    return text


def as_domain(value: Any) -> str:
    text = as_text(value)
    if not re.fullmatch(r"\.?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", text):
        raise ValueError("must be a host name such as example.org")
    return text


COOKIE_PATH = re.compile(r"/[A-Za-z0-9._~/-]*")


def as_cookie_path(value: Any) -> str:
    text = as_text(value)
    if not COOKIE_PATH.fullmatch(text):
        raise ValueError("must be an absolute path of letters, digits and . _ ~ / -, such as /shop")
    return text


def as_route(value: Any) -> str:
    text = as_text(value)
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", text):
        raise ValueError("must be a path without variables, such as /.well-known/jwks.json")
    return text


def as_view(value: Any) -> str:
    # Only a path of this host, or an endpoint: a URL elsewhere would get our visitors' paths.
    text = as_text(value)
    if not re.fullmatch(r"[A-Za-z_][\w.-]*|/|/[\w.~-][\w./~-]*", text, re.ASCII):
        raise ValueError("must be an endpoint such as auth.login, or a path such as /login")
    return text


def as_views(value: Any) -> tuple[tuple[str, str], ...]:
    """Check the login page of each blueprint; an environment variable has them in one string."""
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        value = {name.strip(): view.strip() for name, _, view in pairs}
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a mapping of blueprints to endpoints, got {_type_of(value)}")
    try:
        return tuple((as_text(name), as_view(view)) for name, view in value.items())
    except ValueError:
        raise ValueError(
            "must map names of blueprints to endpoints or paths, such as admin=admin.login"
        ) from None


def as_tables(value: Any) -> tuple[Any, ...]:
    """Check a list of tables, which is JSON in the environment. Their content is checked later."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError('must be JSON, such as [{"preset": "auth0", ...}]') from None
    if isinstance(value, Mapping) or not isinstance(value, (list, tuple)):
        raise ValueError(f"must be a list of tables, got {_type_of(value)}")
    return tuple(value)


def as_redis(value: Any) -> Any:
    # A Redis client object is taken as it is; what it lacks shows when it is used.
    if not isinstance(value, str) and hasattr(value, "execute_command"):
        return value
    try:
        return as_text(value)
    except ValueError as error:
        raise ValueError(f"{error}: write a URL such as redis://host:6379") from None


def as_prefix(value: Any) -> str:
    # Braces would choose the machine of a cluster.
    text = as_text(value)
    if not re.fullmatch(r"[A-Za-z0-9_.:/-]{1,64}", text):
        raise ValueError("must be up to 64 letters, digits and _ . : / -")
    return text


def as_key_prefix(value: Any) -> str:
    text = as_text(value)
    if not re.fullmatch(r"[a-z][a-z0-9]{1,15}", text):
        raise ValueError("must be 2 to 16 lower-case letters and digits, the first a letter")
    return text


# --- secrets --------------------------------------------------------------------------


def as_secret(value: Any) -> bytes:
    if isinstance(value, str):
        if _SURROGATE.search(value):  # bytes of the environment that are not UTF-8
            raise ValueError("must be a long random string in valid UTF-8")
        value = value.encode()
    if not isinstance(value, bytes):
        raise ValueError(f"must be a long random string, got {_type_of(value)}")
    if not value:
        raise ValueError("must be a long random string: an empty key signs nothing")
    return value


@dataclass(frozen=True)
class FallbackText:
    """Former secrets in one string, as an environment variable holds them."""

    text: str = field(repr=False)

    def keys(self, least: int, current: bytes | None) -> tuple[bytes, ...]:
        """Return every secret that the string may contain.

        A former secret must verify whatever it contains, commas and whitespace included. So the
        string counts as a whole, too, and each part as written and stripped. Some of these keys
        never signed anything; that costs nothing, because a token names its key by a thumbprint.

        :param least: length of the shortest key that the algorithm takes, in bytes. Shorter parts
            never were keys and are left out.
        :param current: the secret that signs now.
        """
        parts, raw = _json_strings(self.text), []
        if parts is None:
            split = self.text.split(",")
            parts = [part.strip() for part in split]
            raw = [text for part in split for text in (part.lstrip(), part.rstrip(), part)]
        whole = self.text.encode()
        listed = dict.fromkeys(as_secret(part) for part in parts if part.strip())
        if len(whole) < least:
            return tuple(listed)  # all too short, as the check of the length says
        found = {
            **listed,
            **dict.fromkeys(part.encode() for part in raw if part.strip()),
            whole: None,
        }
        return tuple(key for key in found if len(key) >= least and (key != current or key == whole))


def _json_strings(text: str) -> list[str] | None:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    is_list = isinstance(parsed, list) and all(isinstance(part, str) for part in parsed)
    return parsed if is_list else None


def as_secrets(value: Any) -> tuple[bytes, ...] | FallbackText:
    if isinstance(value, str):
        if value:
            as_secret(value)
        return FallbackText(value)
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"must be a list of keys, the newest first, got {_type_of(value)}")
    return tuple(as_secret(part) for part in value)


# --- numbers, flags and choices -------------------------------------------------------


def _number(value: Any) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"must be a number, got {type(value).__name__}")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise ValueError("must be a number") from None


def as_seconds(low: float, high: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        number = _number(value)
        if not math.isfinite(number) or not low <= number <= high:
            raise ValueError(f"must be seconds from {low:.15g} to {high:.15g}")
        return number

    return check


def as_count(low: int, high: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        number = _number(value)
        if not number.is_integer() or not low <= number <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
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
    # from_prefixed_env has made an int of "1".
    if isinstance(value, (str, int)) and str(value).lower() in _WORDS:
        return _WORDS[str(value).lower()]
    raise ValueError("must be true or false")


def as_one_of(*choices: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value is False and "off" in choices:  # what YAML makes of a bare off
            return "off"
        if isinstance(value, str) and value in choices:
            return value
        raise ValueError(f"must be one of {', '.join(choices)}{nearest(value, choices)}")

    return check


# --- origins --------------------------------------------------------------------------

_ORIGIN = re.compile(
    r"([a-z][a-z0-9+.-]*)://"
    r"(\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?)"
    r"(?::([1-9][0-9]{0,4}))?"
)
_DEFAULT_PORTS = {"http": "80", "https": "443"}
#: Pages with these schemes have no origin of their own, or there are no such pages.
_WITHOUT_ORIGIN = frozenset(
    {"about", "blob", "data", "file", "filesystem", "ftp", "javascript", "ws", "wss"}
)


def normal_origin(text: str) -> str | None:
    """Return an origin as a browser sends it: lower case, no default port.

    :returns: None for anything else than a whole origin (RFC 6454 6.1): one with a path, a user,
        a wildcard or a port out of range, and ``null``.
    """
    # ASCII only: the lower case of other letters may be ASCII.
    match = _ORIGIN.fullmatch(text.lower()) if text.isascii() else None
    if match is None or int(match[3] or 1) > 65535 or match[1] in _WITHOUT_ORIGIN:
        return None
    scheme, port = match[1], match[3]
    host = _normal_host(match[2])
    if host is None:
        return None
    return f"{scheme}://{host}" + (
        f":{port}" if port and port != _DEFAULT_PORTS.get(scheme) else ""
    )


def _normal_host(host: str) -> str | None:
    try:
        if host.startswith("["):
            return f"[{_normal_ipv6(ipaddress.IPv6Address(host[1:-1]))}]"
        if re.search(r"(^|\.)(0x[0-9a-f]*|[0-9]+)\.?$", host):
            # A browser reads such a host as an address, and sends its usual form.
            return str(ipaddress.IPv4Address(host))
    except ValueError:
        return None
    return host


def _normal_ipv6(address: ipaddress.IPv6Address) -> str:
    mapped = address.ipv4_mapped
    if mapped is None:
        return address.compressed
    # Not dotted: neither browsers nor Python before 3.13 write it so.
    return f"::ffff:{int(mapped) >> 16:x}:{int(mapped) & 0xFFFF:x}"


def as_origins(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
        raise ValueError("must be a list of origins, such as https://app.example.org")
    found = [normal_origin(each) for each in value]
    if None in found:
        # No wildcards: an attacker with a page on a sibling host would be trusted, too.
        raise ValueError(
            "must be whole origins without a path, user or wildcard, such as "
            "https://app.example.org (another alphabet is written xn--…) or capacitor://localhost"
        )
    return tuple(dict.fromkeys(each for each in found if each is not None))
