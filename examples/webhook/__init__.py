"""Webhooks of a payment provider, verified by a scheme of the app's own.

Run it with ``WEBHOOK_SECRET=whsec_… flask --app examples/webhook run``.
"""

from __future__ import annotations

import os

from flask import Flask, current_app, g

from flask_jam import Jam, SchemeExtension

from .scheme import WebhookScheme


def create_app(secret: str | None = None, jam: Jam | None = None) -> Flask:
    """Build the app; the secret is the one that the provider's dashboard shows."""
    app = Flask(__name__)
    webhook = SchemeExtension(WebhookScheme(secret or os.environ["WEBHOOK_SECRET"]), jam)
    webhook.init_app(app)

    @app.post("/webhook")
    @webhook.required
    def receive() -> dict[str, str]:
        current_app.logger.info("event %s", g.payload["type"])
        return {"received": g.payload["id"]}

    return app
