"""Where the user is signed in: browsers and apps in one list, and buttons to end them."""

from __future__ import annotations

from typing import cast

from flask import Blueprint, Flask, current_app, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response

from flask_jam import Jam, current_subject, session_required

from .extensions import session

blueprint = Blueprint("logins", __name__, url_prefix="/logins")


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)


def jam() -> Jam:
    """Return the Jam of this app."""
    return cast(Jam, current_app.extensions["jam"])


@blueprint.get("/")
@session_required
def index() -> str:
    logins = jam().list_logins(current_subject())
    return render_template("logins.html", logins=logins, here=session.handle())


@blueprint.post("/<handle>/end")
@session_required
def end(handle: str) -> Response:
    is_ended = jam().end_login_by_handle(current_subject(), handle)
    flash("That device is signed out." if is_ended else "That device was signed out already.")
    return redirect(url_for("logins.index"), 303)


@blueprint.get("/end-all")
@session_required
def confirm() -> str:
    return render_template("everywhere.html")


@blueprint.post("/end-others")
@session_required
def end_others() -> Response:
    here = session.handle()
    for login in jam().list_logins(current_subject()):
        if login.handle != here:
            jam().end_login_by_handle(current_subject(), login.handle)
    flash("You are signed out everywhere else.")
    return redirect(url_for("logins.index"), 303)


@blueprint.post("/end-all")
@session_required
def end_all() -> Response:
    jam().end_logins(current_subject())  # in one step: no login in between survives
    session.logout(clear_site_data=True)
    flash("You are signed out everywhere.")
    return redirect(url_for("pages.home"), 303)
