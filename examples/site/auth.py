"""Log in, confirm a login, log out."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Flask, flash, redirect, render_template, request, url_for
from werkzeug.exceptions import Unauthorized
from werkzeug.wrappers import Response

from flask_jam import current_user, public, safe_next, signals

from . import errors, throttle
from .extensions import session
from .people import people


def init_app(app: Flask) -> None:
    blueprint = Blueprint("auth", __name__)
    form = throttle.limit_logins(app, login)
    blueprint.add_url_rule("/login", view_func=form, methods=["GET", "POST"])
    blueprint.add_url_rule("/logout", view_func=logout, methods=["POST"])
    app.register_blueprint(blueprint)
    signals.login_failed.connect(_log_failure, app)


@public
def login() -> str | Response:
    if request.method == "GET":
        return render_template("login.html")
    name = request.form.get("name", "")
    user = people().find(name, request.form.get("password", ""))
    if user is None:
        return _refuse(name)
    is_confirmed = bool(current_user) and current_user.id == user.id
    remember = "remember" in request.form
    session.login(user.id, {"remember": remember}, remember=remember)
    flash("Thank you. You can go on now." if is_confirmed else f"Welcome, {user.name}.")
    return redirect(safe_next(url_for("pages.dashboard")), 303)


def _refuse(name: str) -> Response:
    """Show the form again. It says the same of an unknown name and of a wrong password."""
    try:
        session.refuse_login(name)
    except Unauthorized as refused:
        return errors.fill(refused.get_response(request.environ), "login.html", wrong=True)


@public  # also for a user whose session has ended already
def logout() -> Response:
    session.logout(clear_site_data=True)
    flash("You are signed out.")
    return redirect(url_for("pages.home"), 303)


def _log_failure(app: Flask, subject: str, **extra: Any) -> None:
    # With %r: the client chose the name, and a newline in it must not start a line of the log.
    app.logger.warning("login of %r failed from %s", subject[:64], request.remote_addr)
