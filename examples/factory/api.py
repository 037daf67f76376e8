"""The API: tokens in the Authorization header."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, current_app, g, request

from flask_jam import jwt_required, public

from .extensions import jwt
from .people import is_right, role_of

blueprint = Blueprint("api", __name__)


@blueprint.post("/login")
def login() -> dict[str, Any]:
    name, password = request.form.get("name", ""), request.form.get("password", "")
    if not is_right(name, password):
        abort(401, "Wrong name or password.")
    return jwt.login(name, roles={role_of(name)})


@blueprint.post("/refresh")
def refresh() -> dict[str, Any]:
    return jwt.refresh()


@blueprint.post("/logout")
@public  # an expired token still ends its login
def logout() -> tuple[str, int]:
    jwt.logout()
    return "", 204


@blueprint.get("/articles")
@jwt_required
def articles() -> dict[str, Any]:
    return {"articles": ["On looking-glasses"], "reader": g.payload["sub"]}


@blueprint.post("/articles")
@jwt_required(roles={"editor"})
def write() -> tuple[dict[str, Any], int]:
    return {"written_by": g.payload["sub"]}, 201


@blueprint.post("/lock-out/<name>")
@jwt_required(roles={"editor"}, max_age=300)
def lock_out(name: str) -> tuple[str, int]:
    current_app.extensions["jam"].revoke_subject(name)
    return "", 204
