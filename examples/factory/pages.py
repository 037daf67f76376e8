"""The pages: a server-side session, its id in a cookie."""

from __future__ import annotations

from flask import Blueprint, current_app, g, redirect, render_template_string, request, url_for
from werkzeug.wrappers import Response

from flask_jam import public, session_required

from .extensions import session
from .people import is_right

blueprint = Blueprint("pages", __name__)

_LOGIN = """<!doctype html><title>Log in</title>
{% if wrong %}<p>Wrong name or password.</p>{% endif %}
<form method="post"><input name="name"><input name="password" type="password">
<button>Log in</button></form>"""

_HOME = """<!doctype html><title>Home</title>
<p>Signed in as {{ name }}, on {{ sessions|length }} device(s).</p>
<form method="post" action="{{ url_for('pages.logout') }}"><button>Log out</button></form>"""


@blueprint.route("/login", methods=["GET", "POST"])
@public
def login() -> str | tuple[str, int] | Response:
    if request.method == "GET":
        return render_template_string(_LOGIN, wrong=False)
    name, password = request.form.get("name", ""), request.form.get("password", "")
    if not is_right(name, password):
        return render_template_string(_LOGIN, wrong=True), 401
    session.login(name, {"name": name})
    return redirect(url_for("pages.home"), 303)


@blueprint.get("/")
@session_required
def home() -> str:
    name = g.payload["name"]
    sessions = current_app.extensions["jam"].list_sessions(name)
    return render_template_string(_HOME, name=name, sessions=sessions)


@blueprint.post("/logout")
@session_required
def logout() -> Response:
    session.logout()
    return redirect(url_for("pages.login"), 303)
