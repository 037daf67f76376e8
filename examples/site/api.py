"""The same recipes for the app on a phone, which has tokens, and for scripts with API keys."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Flask, request

from flask_jam import api_key_required, current_user_as, jwt_required, public

from . import throttle
from .extensions import jwt
from .pages import recipes_of
from .people import User, people


def init_app(app: Flask) -> None:
    blueprint = Blueprint("api", __name__, url_prefix="/api")
    checked = throttle.limit_logins(app, login)
    blueprint.add_url_rule("/login", view_func=checked, methods=["POST"])
    blueprint.add_url_rule("/refresh", view_func=refresh, methods=["POST"])
    blueprint.add_url_rule("/logout", view_func=logout, methods=["POST"])
    blueprint.add_url_rule("/recipes", view_func=recipes)
    blueprint.add_url_rule("/people", view_func=all_people)
    app.register_blueprint(blueprint)


@public
def login() -> dict[str, Any]:
    name = request.form.get("name", "")
    user = people().find(name, request.form.get("password", ""))
    if user is None:
        jwt.refuse_login(name)
    return jwt.login(user.id)


@public
def refresh() -> dict[str, Any]:
    return jwt.refresh()


@public
def logout() -> tuple[str, int]:
    jwt.logout()
    return "", 204


@(jwt_required | api_key_required(scopes={"recipes:read"}))
def recipes() -> dict[str, str]:
    return recipes_of(current_user_as(User))


@api_key_required(scopes={"people:read"})  # of an owner who is an admin now
def all_people() -> dict[str, str]:
    return {user.name: user.role for user in people().all()}
