"""Settings of Flask-JWT-Extended, each with its replacement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TRANSPORT = "JWTExtension(header_name=…, cookie_name=…)"
_NO_CSRF = "nothing (there is no CSRF token)"
_NOT_IN_A_URL = "nothing (a token in a URL ends up in logs: send it in the header)"
#: Its settings in ``app.config``, and their replacements.
FLASK_JWT_EXTENDED = {
    "JWT_SECRET_KEY": "JAM_JWT_SECRET_KEY",
    "JWT_PRIVATE_KEY": "JAM_JWT_PRIVATE_KEY",
    "JWT_PUBLIC_KEY": "JAM_JWT_PUBLIC_KEY",
    "JWT_ALGORITHM": "JAM_JWT_ALG",
    "JWT_DECODE_ALGORITHMS": "JAM_JWT_ALG",
    "JWT_ACCESS_TOKEN_EXPIRES": "JAM_JWT_EXPIRE",
    "JWT_REFRESH_TOKEN_EXPIRES": "JAM_JWT_REFRESH_IDLE and JAM_JWT_REFRESH_ABSOLUTE",
    "JWT_ENCODE_ISSUER": "JAM_JWT_ISSUER",
    "JWT_DECODE_ISSUER": "JAM_JWT_ISSUER",
    "JWT_ENCODE_AUDIENCE": "JAM_JWT_AUDIENCE",
    "JWT_DECODE_AUDIENCE": "JAM_JWT_AUDIENCE",
    "JWT_DECODE_LEEWAY": "JAM_JWT_LEEWAY",
    "JWT_ENCODE_NBF": "nothing (tokens carry no nbf; one that comes is checked)",
    "JWT_VERIFY_SUB": "nothing (a subject is always a string)",
    "JWT_IDENTITY_CLAIM": "nothing (always sub)",
    "JWT_TOKEN_LOCATION": _TRANSPORT,
    "JWT_HEADER_NAME": _TRANSPORT,
    "JWT_ACCESS_COOKIE_NAME": _TRANSPORT,
    "JWT_HEADER_TYPE": "JWTExtension(header_type=…)",
    "JWT_QUERY_STRING_NAME": _NOT_IN_A_URL,
    "JWT_QUERY_STRING_VALUE_PREFIX": _NOT_IN_A_URL,
    "JWT_JSON_KEY": "nothing (an access token is not read from a body)",
    "JWT_REFRESH_JSON_KEY": "nothing (always refresh_token)",
    "JWT_REFRESH_COOKIE_NAME": "nothing (the access cookie's name and _refresh)",
    "JWT_REFRESH_COOKIE_PATH": "JWTExtension(refresh_path=…)",
    "JWT_ACCESS_COOKIE_PATH": "JAM_COOKIE_PATH",
    "JWT_COOKIE_SECURE": "JAM_COOKIE_SECURE",
    "JWT_COOKIE_SAMESITE": "JAM_COOKIE_SAMESITE",
    "JWT_COOKIE_DOMAIN": "JAM_COOKIE_DOMAIN",
    "JWT_SESSION_COOKIE": "nothing (a cookie lives as long as its token)",
    "JWT_COOKIE_CSRF_PROTECT": "nothing (the cross-site check is always on)",
    "JWT_CSRF_METHODS": "nothing (every unsafe method is checked)",
    "JWT_CSRF_IN_COOKIES": _NO_CSRF,
    "JWT_CSRF_CHECK_FORM": _NO_CSRF,
    "JWT_ACCESS_CSRF_COOKIE_NAME": _NO_CSRF,
    "JWT_ACCESS_CSRF_COOKIE_PATH": _NO_CSRF,
    "JWT_ACCESS_CSRF_FIELD_NAME": _NO_CSRF,
    "JWT_ACCESS_CSRF_HEADER_NAME": _NO_CSRF,
    "JWT_REFRESH_CSRF_COOKIE_NAME": _NO_CSRF,
    "JWT_REFRESH_CSRF_COOKIE_PATH": _NO_CSRF,
    "JWT_REFRESH_CSRF_FIELD_NAME": _NO_CSRF,
    "JWT_REFRESH_CSRF_HEADER_NAME": _NO_CSRF,
    "JWT_ERROR_MESSAGE_KEY": "@app.errorhandler(401)",
}


def left_over_names(app_config: Mapping[str, Any]) -> str:
    """Return the settings of Flask-JWT-Extended in a config, each with its replacement.

    :returns: part of a sentence that quotes no value; empty if there are none.
    """
    found = {name: FLASK_JWT_EXTENDED[name] for name in FLASK_JWT_EXTENDED if name in app_config}
    return ", ".join(
        f"{name} -> {instead}" for name, instead in found.items() if app_config[name] is not None
    )
