"""The home page, which is everybody's, and the pages of whoever is signed in."""

from __future__ import annotations

from flask import Blueprint, Flask, g, redirect, render_template, url_for
from werkzeug.wrappers import Response

from flask_jam import session_required

from .extensions import session

blueprint = Blueprint("pages", __name__)

_RECIPES = {
    "alice": {"Orange marmalade": "Seville oranges, and one small bottle marked “drink me”.",
              "Quince jelly": "Never on Mondays. Skim twice, stir anticlockwise."},
    "bob": {"Plum jam": "Two kilos of plums, star anise, and patience.",
            "Rhubarb and ginger": "Fix the lid before the shaking, not after."},
}  # fmt: skip


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)


# Neither guarded nor public: everybody may see it, and its header says who is signed in.
@blueprint.get("/")
def home() -> str:
    return render_template("home.html")


@blueprint.get("/dashboard")
@session_required
def dashboard() -> str:
    return render_template("dashboard.html", recipes=_RECIPES[g.payload["name"]])


@blueprint.get("/sessions")
@session_required
def sessions() -> str:
    return render_template("sessions.html", sessions=session.list(), here=session.handle())


@blueprint.post("/sessions/<handle>/end")
@session_required
def end_session(handle: str) -> Response:
    session.end(handle)  # false for one that has ended already: the list shows as much
    return redirect(url_for("pages.sessions"), 303)


@blueprint.post("/sessions/end-others")
@session_required
def end_other_sessions() -> Response:
    session.end_others()
    return redirect(url_for("pages.sessions"), 303)
