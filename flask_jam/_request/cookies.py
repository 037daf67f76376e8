"""Credential cookies: their names, and how they are set, cleared and read."""

from __future__ import annotations

import logging
import math
import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from operator import methodcaller
from typing import Any, NamedTuple

from flask import Flask, Response, request
from werkzeug.http import dump_cookie

from ..errors import ConfigError, Reason, TokenError
from ..settings import Settings
from .flask_internals import before_sending
from .werkzeug_internals import copy_response

_log = logging.getLogger("flask_jam.cookies")

# RFC 6265 4.1.1: a cookie name is a token of RFC 9110 5.6.2.
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
#: Browsers silently drop a longer one; its attributes count, too (ASVS 3.3.5).
LONGEST = 4096
#: How many cookies of one name are read: a browser keeps one for each domain and path.
MOST_OF_A_NAME = 4
#: Four times the largest token allowed. Browsers keep 180 cookies of a site.
_LONGEST_HEADER, _MOST_PAIRS = 4 * 65536, 200
#: What a lenient parser may drop around a name.
_AROUND = "\"' \t\r\n\v\f"


class Cookie(NamedTuple):
    """Name, domain and path: what identifies a cookie in a browser."""

    name: str
    path: str = "/"


def own_cookie(settings: Settings, name: str) -> Cookie:
    """Return the cookie of a credential: it goes to every URL below ``cookie_path``."""
    return Cookie(name, settings.cookie_path)


def check_cookie_name(name: object) -> None:
    """Raise an error for a name that no browser would send back.

    :raises ConfigError: for such a name.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError("cookie_name: write letters, digits, - or _, such as sessionId")


def check_prefix(name: str, settings: Settings) -> None:
    """Raise an error for a name whose prefix contradicts the settings: no browser stores it.

    :raises ConfigError: for such a name (RFC 6265bis 4.1.3, ASVS 3.3.1).
    """
    if _is_prefixed(name) and settings.cookie_secure is False:
        raise ConfigError(
            f"the cookie {name} must be Secure, by its prefix: leave cookie_secure "
            "unset, or choose a name without it"
        )
    if name.lower().startswith("__host-") and settings.cookie_domain is not None:
        raise ConfigError(
            f"the cookie {name} is for one host, by its prefix: leave cookie_domain "
            "unset, or name it __Secure-…"
        )


def check_path(name: str, settings: Settings) -> None:
    """Raise an error for a ``__Host-`` name with another path than ``/``: no browser stores it.

    :raises ConfigError: for such a name (RFC 6265bis 4.1.3.2).
    """
    if name.lower().startswith("__host-") and settings.cookie_path != "/":
        raise ConfigError(
            f"the cookie {name} must have the path /, by its prefix: leave cookie_path unset, or "
            "name it __Secure-…"
        )


def _is_prefixed(name: str) -> bool:
    return name.lower().startswith(("__host-", "__secure-"))


# --- the refresh token ------------------------------------------------------------------


def refresh_name(name: str, use: str = "refresh") -> str:
    """Return the name of the refresh token's cookie; with a path it cannot be ``__Host-``."""
    if name.lower().startswith("__host-"):
        name = "__Secure-" + name[len("__Host-") :]
    return f"{name}_{use}"


def refresh_cookies(
    app: Flask, settings: Settings, name: str, path: str | None
) -> Iterator[Cookie]:
    """Return the cookies of a refresh token: one for the refresh URL, one for the logout URL.

    A cookie has one path, so each of the two has its own, and the rest of the site sees neither.

    :param path: the path above both, if ``refresh_path`` is set.
    """
    below = settings.cookie_path
    refresh = _shared(app, "refresh") if path is None else path
    if path is None and refresh == "/":
        _log.warning(
            "the refresh token goes to every URL of this host, because none or several end in "
            "refresh: write JWTExtension(refresh_path=…), such as /auth"
        )
    yield Cookie(refresh_name(name), _as_seen(refresh, below))
    logout = _shared(app, "logout") if path is None else path
    if logout != "/" and not _covers(refresh, logout):
        yield Cookie(refresh_name(name, "logout"), _as_seen(logout, below))


def _as_seen(path: str, below: str) -> str:
    """Return a path as the browser sees it: ``cookie_path`` may begin with a proxy's prefix."""
    path = request.script_root + path
    return path if _covers(below, path) else below.rstrip("/") + path


def _shared(app: Flask, word: str) -> str:
    """Return the path of the URL that ends in a word; the common part of several; else ``/``."""
    paths = [
        rule.rule.partition("<")[0].rstrip("/") or "/"
        for rule in app.url_map.iter_rules()
        if rule.rule.rstrip("/").rpartition("/")[2] == word
        and (rule.methods is None or "POST" in rule.methods)
    ]
    return posixpath.commonpath(paths) if paths else "/"


def _covers(path: str, other: str) -> bool:
    return path in ("/", other) or other.startswith(path.rstrip("/") + "/")


# --- reading ------------------------------------------------------------------------------


def is_oversized(header: str) -> bool:
    """Return True for a Cookie header too long for a browser: it is not parsed."""
    return len(header) > _LONGEST_HEADER or header.count(";") >= _MOST_PAIRS


def values_of(environ: dict[str, Any], name: str) -> list[str]:
    """Return each value that the Cookie header has under exactly this name (RFC 6265 4.2.1).

    Duplicates are dropped: a client may repeat a value a thousand times.
    """
    return read_cookies(environ, name)[0]


def read_cookies(environ: dict[str, Any], name: str) -> tuple[list[str], bool]:
    """Return the values under exactly this name, and True if another cookie's name is close to it.

    A browser sends the name as it is: another parser on the way may read ``name =`` or ``"name"=``
    as ours. None of the values is trusted then.
    """
    header: str = environ.get("HTTP_COOKIE", "")
    return ([], False) if is_oversized(header) else read_values(header, name)


def read_values(header: str, name: str) -> tuple[list[str], bool]:
    """Do what :func:`read_cookies` does, for a header that is not oversized."""
    # Parsed here because a lenient parser takes the first of two, unquotes, and trims names.
    exact: list[str] = _pair(name).findall(header)
    values = [value for value in map(_trimmed, exact) if value] if exact else exact
    if len(values) > 1:
        values = list(dict.fromkeys(values))
    if header.count(name) == len(exact):
        return values, False
    names = (part.strip(" \t").partition("=")[0] for part in header.split(";"))
    return values, any(name == found.strip(_AROUND) != found for found in names)


@lru_cache(64)
def _pair(name: str) -> re.Pattern[str]:
    """Return the pattern that finds the values of a name: a parser in Python took 5 µs."""
    return re.compile(rf"(?:^|;)[ \t]*{re.escape(name)}=([^;]*)")


_trimmed = methodcaller("rstrip", " \t")


# --- setting and clearing -------------------------------------------------------------------


class Setting(NamedTuple):
    """A cookie to set, with its lifetime in seconds, which is that of its credential."""

    cookie: Cookie
    value: str
    #: None for a cookie that ends with the browser.
    max_age: float | None


def set_later(app: Flask, settings: Settings, *wanted: Setting) -> None:
    """Set all of the cookies on the response of this request, or none.

    :raises TokenError: ``too_large``, if browsers would drop one.
    """
    lines = [_line(app, settings, *each) for each in wanted]
    for line, (cookie, *_) in zip(lines, wanted, strict=True):
        if len(line) > LONGEST:
            raise TokenError(
                Reason.TOO_LARGE,
                f"the cookie {cookie.name} would be longer than "
                f"{LONGEST} bytes: put less into the token",
            )
    _warn_of_domain(app, settings)
    if any("; Secure" in line for line in lines) and not request.is_secure:
        _log.warning(
            "the cookie %s is Secure and this request came over http: a browser will not send it "
            "back. Behind a TLS proxy use werkzeug's ProxyFix; for plain http set "
            "JAM_COOKIE_SECURE=false",
            wanted[0].cookie.name,
        )
    for line in lines:
        _send_later(line)


def _warn_of_domain(app: Flask, settings: Settings) -> None:
    """Warn once about a ``cookie_domain`` that browsers reject from this host (RFC 6265 5.3)."""
    domain, host = settings.cookie_domain, request.host.rpartition(":")[0] or request.host
    if domain is None or f".{host.lower()}".endswith("." + domain.lower().lstrip(".")):
        return
    warned = app.extensions.setdefault("flask_jam_warned", set())
    if domain not in warned:
        warned.add(domain)
        _log.warning(
            "cookie_domain is %s and this request is for another host: a browser drops the cookie. "
            "Leave cookie_domain unset, or set it to a parent of the host",
            domain,
        )


def clear_later(app: Flask, settings: Settings, cookie: Cookie, *, host_only: bool = False) -> None:
    """Clear a cookie with the attributes that it was set with: browsers keep it otherwise.

    :param host_only: clear the one without a domain, set before ``cookie_domain`` was.
    """
    if host_only:
        settings = replace(settings, cookie_domain=None)
    line = _line(app, settings, cookie, "", 0)
    if len(line) <= LONGEST:  # a longer one was never set
        _send_later(line)


def _line(app: Flask, settings: Settings, cookie: Cookie, value: str, max_age: float | None) -> str:
    samesite = "None" if settings.cookie_partitioned else settings.cookie_samesite
    secure = settings.cookie_secure
    if secure is None:
        must_be = samesite == "None" or _is_prefixed(cookie.name)
        secure = must_be or not (app.debug or app.testing)
    line = dump_cookie(
        cookie.name,
        value,
        max_age=None if max_age is None else max(0, math.ceil(max_age)),
        path=cookie.path,
        domain=settings.cookie_domain,
        secure=secure,
        httponly=True,
        samesite=samesite,
        max_size=0,
    )
    return line + "; Partitioned" if settings.cookie_partitioned else line


def _send_later(line: str) -> None:
    _add_later(lambda headers: headers.append(("Set-Cookie", line)))


def no_store_later() -> None:
    """Send ``Cache-Control: no-store`` with a response that carries a credential (RFC 6749 5.1)."""

    def mark(headers: list[tuple[str, str]]) -> None:
        headers[:] = [(name, value) for name, value in headers if name.lower() != "cache-control"]
        headers.append(("Cache-Control", "no-store"))

    _add_later(mark)


def clear_site_data_later() -> None:
    """Have the browser delete what it stored of this site's pages (ASVS 14.3.1).

    Cookies are left out: some may belong to other apps, and ours are cleared one by one.
    """
    _add_later(lambda headers: headers.append(("Clear-Site-Data", '"cache", "storage"')))


def _add_later(change: Callable[[list[tuple[str, str]]], None]) -> None:
    def send(response: Response) -> Response:
        headers = list(response.headers)
        change(headers)
        return copy_response(response, headers)

    before_sending(send)
