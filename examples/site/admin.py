"""The admin's page: who is signed in, and how to sign them out."""

from __future__ import annotations

from flask import Blueprint, Flask, abort, current_app, redirect, render_template, url_for
from werkzeug.wrappers import Response

from flask_jam import session_required

from . import people

blueprint = Blueprint("admin", __name__, url_prefix="/admin")
admins = session_required(roles={"admin"})


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)


@blueprint.get("/")
@admins
def index() -> str:
    jam = current_app.extensions["jam"]
    rows = [
        {"name": name, "role": people.role_of(name), "closed": people.is_closed(name),
         "count": len(jam.list_sessions(name))}
        for name in people.names()
    ]  # fmt: skip
    return render_template("admin.html", people=rows)


@blueprint.post("/people/<name>/end-sessions")
@admins
def end_sessions(name: str) -> Response:
    if people.role_of(name) is None:
        abort(404)
    current_app.extensions["jam"].revoke_subject(name)
    return redirect(url_for("admin.index"), 303)
