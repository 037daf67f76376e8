"""The home page, which is open to all, and the page of a user who is signed in."""

from __future__ import annotations

from flask import Blueprint, Flask, render_template

from flask_jam import current_user_as, public, session_required

from .people import User

blueprint = Blueprint("pages", __name__)

_RECIPES = {
    "1": {"Orange marmalade": "Seville oranges, and one small bottle marked “drink me”.",
          "Quince jelly": "Never on Mondays. Skim twice, stir anticlockwise."},
    "2": {"Plum jam": "Two kilos of plums, star anise, and patience.",
          "Rhubarb and ginger": "Fix the lid before the shaking, not after."},
}  # fmt: skip


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)


def recipes_of(user: User) -> dict[str, str]:
    return _RECIPES.get(user.id, {})


@blueprint.get("/")
@public
def home() -> str:
    return render_template("home.html")


@blueprint.get("/dashboard")
@session_required
def dashboard() -> str:
    return render_template("dashboard.html", recipes=recipes_of(current_user_as(User)))
