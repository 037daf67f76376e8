"""Log in, confirm who one is, log out."""

from __future__ import annotations

from flask import Blueprint, Flask, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from flask_jam import public, safe_next

from .extensions import session
from .people import is_right, role_of

blueprint = Blueprint("auth", __name__)


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)


# Neither guarded nor public: the form looks who is there, to ask somebody to confirm.
@blueprint.route("/login", methods=["GET", "POST"])
def login() -> str | tuple[str, int] | Response:
    if request.method == "GET":
        return render_template("login.html")
    name, password = request.form.get("name", ""), request.form.get("password", "")
    if not is_right(name, password):
        # Yours should also slow down whoever guesses.
        return render_template("login.html", wrong=True), 401
    session.login(name, {"name": name, "roles": [role_of(name)]})
    return redirect(safe_next(url_for("pages.dashboard")), 303)


@blueprint.post("/logout")
@public  # whose session has ended already is not asked to log in first
def logout() -> Response:
    session.logout(clear_site_data=True)
    return redirect(url_for("pages.home"), 303)
