"""The admin's page: where the users are signed in, and how to sign them out."""

from __future__ import annotations

from flask import Blueprint, Flask, abort, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response

from flask_jam import session_required

from .logins import jam
from .people import User, people

blueprint = Blueprint("admin", __name__, url_prefix="/admin")
admins = session_required(roles={"admin"})


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)


@blueprint.get("/")
@admins
def index() -> str:
    rows = [(user, len(jam().list_logins(user.id))) for user in people().all()]
    return render_template("admin.html", rows=rows)


@blueprint.get("/people/<user_id>/end-logins")
@admins
def confirm(user_id: str) -> str:
    user = _user(user_id)
    return render_template(
        "confirm.html",
        title=f"Sign {user.name} out?",
        text="This ends every browser and app of the account. They can log in again.",
        button=f"Sign {user.name} out everywhere",
        back=url_for("admin.index"),
    )


@blueprint.post("/people/<user_id>/end-logins")
@admins
def end_logins(user_id: str) -> Response:
    user = _user(user_id)
    jam().end_logins(user.id)
    flash(f"{user.name} is signed out everywhere.")
    return redirect(url_for("admin.index"), 303)


def _user(user_id: str) -> User:
    return people().get(user_id) or abort(404)
