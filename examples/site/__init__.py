"""A small site with sessions: register, stay signed in, see and end logins, make API keys.

Run it with ``flask --app examples/site run --debug`` and open ``/``. The users are ``alice``, an
admin, with the password ``wonderland``, and ``bob``, a reader, with ``builder``. Mails go to the
page ``/outbox``. It needs Flask-Limiter. The environment sets up the rest: ``JAM_JWT_SECRET_KEY``
for the tokens of the app, ``FLASK_SECRET_KEY`` for the messages, ``FLASK_SITE_URL`` for the links
in mails, and for more than one process ``JAM_REDIS_URL`` and ``FLASK_RATELIMIT_STORAGE_URI``.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from flask import Flask, Response

from flask_jam import Jam, JamExtension

from . import (
    account,
    admin,
    api,
    auth,
    errors,
    keys,
    links,
    logins,
    outbox,
    pages,
    people,
    register,
    throttle,
    words,
)
from .extensions import api_keys, jwt, session

# No script runs here, whatever gets into a page, and nobody frames our buttons.
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def create_app(config: Mapping[str, Any] | None = None, jam: Jam | None = None) -> Flask:
    """Make the app. A test gives a Jam of its own, with a clock that it moves."""
    app = Flask(__name__)
    app.config.update(
        STEP_UP_SECONDS=60.0,
        SITE_URL="http://localhost:5000",  # in links of mails: never the host of a request
        MAX_CONTENT_LENGTH=64 * 1024,  # all that is sent here is a form
        SESSION_COOKIE_SAMESITE="Lax",  # Flask's own cookie has the messages
        SESSION_COOKIE_SECURE=not app.debug,
        JAM_LOGIN_VIEW="auth.login",
        JAM_LOGIN_MESSAGE="Please enter your password to go on.",
    )
    app.config.from_prefixed_env()
    app.config.update(config or {})
    app.secret_key = app.secret_key or secrets.token_urlsafe(32)
    JamExtension(jam).init_app(app)
    # The limiter comes before the views that it limits.
    for part in (session, jwt, api_keys, people, words, errors, throttle, auth, register):
        part.init_app(app)
    for part in (pages, logins, keys, account, admin, api, outbox, links):
        part.init_app(app)
    app.after_request(_harden)
    return app


def _harden(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", _POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response
