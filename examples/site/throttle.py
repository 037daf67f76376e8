"""Limits on guessing: for one account, for one address, and for one account from one address."""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import sha256
from math import ceil
from typing import Any, cast

from flask import Flask, request
from flask_limiter import Limiter, RateLimitExceeded
from flask_limiter.util import get_remote_address
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from . import errors
from .people import plain

View = Callable[..., Any]


def init_app(app: Flask) -> None:
    app.config.setdefault("RATELIMIT_STORAGE_URI", "memory://")
    # Without the fallback, nobody could log in while the limiter's Redis is down.
    limiter = Limiter(get_remote_address, app=app, in_memory_fallback_enabled=True)
    app.extensions["throttle"] = limiter
    app.register_error_handler(RateLimitExceeded, lambda error: _too_many(limiter, error))


def limit_logins(app: Flask, view: View) -> View:
    """Limit a view that checks a password. All such views count together."""
    limiter = cast(Limiter, app.extensions["throttle"])
    for limit, key in (
        ("200 per hour", _account),
        ("20 per minute", get_remote_address),
        ("5 per minute; 50 per hour", _account_and_address),
    ):
        view = limiter.shared_limit(limit, "login", key_func=key, methods=["POST"])(view)
    return view


def limit_registers(app: Flask, view: View) -> View:
    """Limit the form that tells which names are taken."""
    limiter = cast(Limiter, app.extensions["throttle"])
    return limiter.limit("20 per hour", methods=["POST"])(view)


def limit_mails(app: Flask, view: View) -> View:
    """Limit a form that sends a mail: to one address, and from one address of the network."""
    limiter = cast(Limiter, app.extensions["throttle"])
    for limit, key in (("5 per hour", _mailbox), ("20 per hour", get_remote_address)):
        view = limiter.shared_limit(limit, "mail", key_func=key, methods=["POST"])(view)
    return view


def _account() -> str:
    """Return a key of the account that is asked for, whether it exists or not."""
    return _key_of("name")


def _mailbox() -> str:
    return _key_of("email")


def _key_of(field: str) -> str:
    try:
        name = plain(request.form.get(field, ""))
    except HTTPException:  # a form that is too large: the view refuses it
        name = ""
    return sha256(name.encode("utf-8", "replace")).hexdigest()


def _account_and_address() -> str:
    return f"{_account()} {get_remote_address()}"


def _too_many(limiter: Limiter, error: RateLimitExceeded) -> Response:
    limit = limiter.current_limit
    error.retry_after = max(1, ceil(limit.reset_at - time.time())) if limit else 60
    return errors.page(error)
