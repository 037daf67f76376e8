"""Close the account: dangerous, so it asks for a recent login (step-up), and then once more."""

from __future__ import annotations

from flask import Blueprint, Flask, redirect, render_template, url_for
from werkzeug.wrappers import Response

from flask_jam import current_user_as, public, session_required

from .extensions import session
from .logins import jam
from .people import User, people


def init_app(app: Flask) -> None:
    blueprint = Blueprint("account", __name__, url_prefix="/account")
    # A guard is a value: this one is made for each app, from its config.
    recent = session_required(max_age=app.config["STEP_UP_SECONDS"])
    blueprint.add_url_rule("/delete", view_func=recent(confirm), methods=["GET"])
    blueprint.add_url_rule("/delete", view_func=recent(delete), methods=["POST"])
    blueprint.add_url_rule("/goodbye", view_func=goodbye, methods=["GET"])
    app.register_blueprint(blueprint)


def confirm() -> str:
    return render_template(
        "confirm.html",
        title="Close your account?",
        text="This cannot be undone. You are signed out on every device and cannot log in again.",
        button="Close my account",
        back=url_for("pages.dashboard"),
    )


def delete() -> Response:
    user = current_user_as(User)
    people().close(user)  # first: from here on load_user refuses the account
    jam().revoke_subject(user.id)
    session.logout(clear_site_data=True)
    return redirect(url_for("account.goodbye"), 303)


@public
def goodbye() -> str:
    return render_template("goodbye.html")
