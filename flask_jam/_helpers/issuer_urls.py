"""The URLs from which the keys of other issuers may be fetched, and where they are published."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import NamedTuple
from urllib.parse import urlsplit

from .setting_types import as_text

#: Visible ASCII without what a URL never holds unescaped.
_PLAIN = re.compile(r"[\x21\x23-\x3b\x3d\x3f-\x5b\x5d\x5f\x61-\x7a\x7e]+")
_RULE = (
    "must be a URL such as https://login.example.org/keys: https, without user, password and "
    "fragment; http is for loopback addresses only"
)


class KeyURL(NamedTuple):
    """A URL that may be fetched."""

    scheme: str
    host: str
    port: int
    #: Path and query, as a request line has them.
    target: str

    @property
    def is_here(self) -> bool:
        """Return True for a host that is this machine, however it is written."""
        return is_here(self.host)

    @property
    def is_loopback(self) -> bool:
        """Return True for an address of this machine."""
        return is_loopback(self.host)


def as_key_url(value: object) -> KeyURL:
    """Read a URL.

    :raises ValueError: with the second half of a sentence, if it must not be fetched.
    """
    text = as_text(value)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(_RULE) from None
    if not _PLAIN.fullmatch(text) or not host or "@" in parts.netloc or "#" in text:
        raise ValueError(_RULE)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ValueError(_RULE)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return KeyURL(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), target)


def is_loopback(host: str) -> bool:
    """Return True for ``localhost`` and the loopback addresses of both kinds."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"


def is_here(host: str) -> bool:
    """Return True for this machine, however it is written: 127.1, 0.0.0.0, ::ffff:127.0.0.1."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(host))
        except OSError:
            return f".{host.rstrip('.').lower()}".endswith(".localhost")
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def discovery_urls(issuer: str) -> list[str]:
    """Return where an issuer may publish its metadata, in the order of asking.

    OpenID Connect Discovery appends to the issuer; RFC 8414 3 and 5 put the well-known part in
    front of its path.
    """
    parts = urlsplit(issuer)
    host, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    found = [
        f"{host}{path}/.well-known/openid-configuration",
        f"{host}/.well-known/oauth-authorization-server{path}",
        f"{host}/.well-known/openid-configuration{path}",
    ]
    return list(dict.fromkeys(found))
