"""The API of the factory example, for tokens of an OpenID provider: it has no key and no users."""

from __future__ import annotations

from typing import Any

from flask import Flask, current_app

from flask_jam import Jam, JWTExtension, current_auth, current_subject, jwt_required
from flask_jam.issuers import oidc


def create_app(issuer: str) -> Flask:
    """Build the app; the issuer is what its metadata says, with or without a slash at the end."""
    app = Flask(__name__)
    idp = oidc(issuer, audience="articles-api", typ="at+jwt")
    JWTExtension(Jam({}, issuers=[idp]), app)

    @app.get("/articles")
    @jwt_required(scopes={"articles:read"})
    def articles() -> dict[str, Any]:
        return {"articles": ["On looking-glasses"], "reader": current_subject()}

    @app.post("/articles")
    @jwt_required(scopes={"articles:write"})
    def write() -> tuple[dict[str, Any], int]:
        return {"written_by": current_subject()}, 201

    @app.post("/logout")
    @jwt_required
    def logout() -> tuple[str, int]:
        # The provider's token is good for minutes yet: from here on it is refused.
        auth = current_auth()
        assert auth is not None
        current_app.extensions["jam"].revoke_token(auth)
        return "", 204

    return app
