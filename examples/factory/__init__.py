"""An application factory with two blueprints: an API behind tokens, pages behind a session.

Run it with ``flask --app examples/factory run --debug`` and open ``/``; the API is under ``/api``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from flask import Flask

from . import api, audit, pages
from .extensions import jwt, session


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    logging.basicConfig(level=logging.INFO)  # the audit log is of that level
    app = Flask(__name__)
    app.config.update(config or {})
    jwt.init_app(app)
    session.init_app(app)
    audit.init_app(app)
    app.register_blueprint(api.blueprint, url_prefix="/api")
    app.register_blueprint(pages.blueprint)
    return app
