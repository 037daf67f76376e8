"""Log in, refresh, log out: each answer sets or clears cookies, and no body has a token in it."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, request

from flask_jam import JWTExtension, public

from .people import is_right, role_of


def current_roles(name: str, claims: dict[str, Any]) -> dict[str, Any] | None:
    """Asked at each refresh, so that a changed role arrives and a removed person is refused."""
    role = role_of(name)
    return None if role is None else {**claims, "roles": [role]}


jwt = JWTExtension(header_name=None, cookie_name="access_token", reload_claims=current_roles)
blueprint = Blueprint("auth", __name__)


@blueprint.post("/login")
@public
def login() -> dict[str, Any]:
    name, password = request.form.get("name", ""), request.form.get("password", "")
    if not is_right(name, password):
        abort(401, "Wrong name or password.")
    return jwt.login(name, roles={role_of(name)})


@blueprint.post("/refresh")
@public
def refresh() -> dict[str, Any]:
    return jwt.refresh()


@blueprint.post("/logout")
@public  # an expired token still ends its login
def logout() -> tuple[str, int]:
    jwt.logout()
    return "", 204
