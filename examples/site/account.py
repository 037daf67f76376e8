"""Closing one's account: dangerous, so it asks for a login of just now (step-up)."""

from __future__ import annotations

from flask import Blueprint, Flask, current_app, g, redirect, render_template, url_for
from werkzeug.wrappers import Response

from flask_jam import public, session_required

from . import people
from .extensions import session


def init_app(app: Flask) -> None:
    blueprint = Blueprint("account", __name__, url_prefix="/account")
    # A guard is a value: this one is made for each app, from its config.
    recent = session_required(max_age=app.config["STEP_UP_SECONDS"])
    blueprint.add_url_rule("/delete", view_func=recent(confirm), methods=["GET"])
    blueprint.add_url_rule("/delete", view_func=recent(delete), methods=["POST"])
    blueprint.add_url_rule("/goodbye", view_func=goodbye, methods=["GET"])
    app.register_blueprint(blueprint)


def confirm() -> str:
    return render_template("delete.html")


def delete() -> Response:
    name = g.payload["name"]
    people.close(name)
    session.logout(clear_site_data=True)
    current_app.extensions["jam"].revoke_subject(name)  # and on every other device
    return redirect(url_for("account.goodbye"), 303)


@public
def goodbye() -> str:
    return render_template("goodbye.html")
