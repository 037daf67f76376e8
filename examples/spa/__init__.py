"""A single-page app: one static page, ``fetch``, and tokens in cookies that no script can read.

Run it with ``flask --app examples/spa run --debug`` and open ``/``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask, Response

from flask_jam import public

from . import auth, notes

# Nothing comes from elsewhere, no script stands in the page, and no page frames this one.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.update(config or {})
    auth.jwt.init_app(app)
    notes.init_app(app)
    app.register_blueprint(auth.blueprint, url_prefix="/auth")
    app.register_blueprint(notes.blueprint, url_prefix="/api")
    app.after_request(_guarded)

    @app.get("/")
    @public
    def page() -> Response:
        return app.send_static_file("index.html")

    return app


def _guarded(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
