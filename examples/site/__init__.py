"""A small site with server-side sessions: log in, see and end one's sessions, an admin's page.

Run it with ``flask --app examples/site run --debug`` and open ``/``. The people are ``alice``, an
admin, with the password ``wonderland``, and ``bob``, a reader, with ``builder``. ``JAM_...`` in the
environment sets up the rest: ``JAM_REDIS_URL`` for more than one process. The warning about a
random key is about tokens, and this site has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask, Response

from flask_jam import Jam, JamExtension

from . import account, admin, auth, errors, pages, people, words
from .extensions import session

# No script runs here, whatever gets into a page, and nobody frames our buttons.
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def create_app(config: Mapping[str, Any] | None = None, jam: Jam | None = None) -> Flask:
    """The app. A test gives a Jam of its own, with a clock that it moves and its ``login_view``."""
    app = Flask(__name__)
    app.config["STEP_UP_SECONDS"] = 60.0  # FLASK_STEP_UP_SECONDS in the environment
    app.config.from_prefixed_env()
    app.config.update(config or {})
    app.config.setdefault("JAM_LOGIN_VIEW", "auth.login")
    JamExtension(jam).init_app(app)
    for part in (session, people, words, errors, auth, pages, account, admin):
        part.init_app(app)
    app.after_request(_harden)
    return app


def _harden(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", _POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response
