"""Cookies that carry a credential: one place that sets them, one that reads them."""

from __future__ import annotations

import logging
import re
from typing import Any

from flask import Flask, Response, after_this_request, request

from .errors import ConfigError
from .settings import Settings

_log = logging.getLogger(__name__)

# RFC 6265 4.1.1: a cookie name is a token of RFC 9110 5.6.2.
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def check_cookie_name(name: object) -> None:
    """Refuse what no browser would send back.

    :raises ConfigError: with a sentence.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError("cookie_name: write letters, digits, - or _, such as sessionId")


def values_of(environ: dict[str, Any], name: str) -> list[str]:
    """Every value that the raw Cookie header has under exactly this name (RFC 6265 4.2.1).

    Parsed here because a lenient parser takes the first of two, unquotes, and trims names.
    """
    header: str = environ.get("HTTP_COOKIE", "")
    if name not in header:
        return []
    pairs = (part.strip(" \t").partition("=") for part in header.split(";"))
    return [value for found, equals, value in pairs if equals and found == name]


def set_later(app: Flask, settings: Settings, name: str, value: str, max_age: float) -> None:
    """Set the cookie on the response of this request, whatever view makes it."""

    attributes = _attributes(app, settings)
    if attributes["secure"] and not request.is_secure:
        _log.warning(
            "the cookie %s is Secure and this request came over http: a browser will not send it "
            "back. Behind a TLS proxy use werkzeug's ProxyFix; for plain http set "
            "JAM_COOKIE_SECURE=false",
            name,
        )

    def set_it(response: Response) -> Response:
        response.set_cookie(name, value, max_age=int(max_age), **attributes)
        return response

    after_this_request(set_it)


def clear_later(app: Flask, settings: Settings, name: str) -> None:
    """Clear it with the attributes that it was set with: browsers keep it otherwise."""

    def clear_it(response: Response) -> Response:
        response.delete_cookie(name, **_attributes(app, settings))
        return response

    after_this_request(clear_it)


def no_store_later() -> None:
    """``Cache-Control: no-store`` on a response that carries a credential (RFC 6749 5.1)."""

    def mark(response: Response) -> Response:
        response.cache_control.no_store = True
        return response

    after_this_request(mark)


def _attributes(app: Flask, settings: Settings) -> dict[str, Any]:
    secure = settings.cookie_secure
    return {
        "path": "/",
        "domain": settings.cookie_domain,
        "secure": not (app.debug or app.testing) if secure is None else secure,
        "httponly": True,
        "samesite": settings.cookie_samesite,
    }
