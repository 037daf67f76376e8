"""The API keys of the user: made for a script, shown once, listed with their last use, ended."""

from __future__ import annotations

from flask import Blueprint, Flask, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from flask_jam import current_user_as, session_required

from .extensions import api_keys
from .people import SCOPES, User

_DAY = 86400
_LIVES = {"30": "30 days", "90": "90 days", "365": "A year", "": "No end"}


def init_app(app: Flask) -> None:
    blueprint = Blueprint("keys", __name__, url_prefix="/keys")
    # A key lives longer than the login, so only a recent one makes it.
    recent = session_required(max_age=app.config["STEP_UP_SECONDS"])
    blueprint.add_url_rule("/", view_func=session_required(index))
    blueprint.add_url_rule("/new", view_func=recent(form), methods=["GET"])
    blueprint.add_url_rule("/new", view_func=recent(create), methods=["POST"])
    blueprint.add_url_rule("/<handle>/revoke", view_func=session_required(revoke), methods=["POST"])
    app.register_blueprint(blueprint)


def index() -> str:
    return render_template("keys.html", keys=api_keys.list())


def form() -> str:
    return _form({})


def create() -> str | tuple[str, int]:
    name, days = request.form.get("name", "").strip(), request.form.get("days", "90")
    scopes = set(request.form.getlist("scopes"))
    wrong = _mistakes(name, days, scopes)
    if wrong:
        return _form(wrong), 422
    life = int(days) * _DAY if days else None
    key, info = api_keys.create(name=name, scopes=scopes, expires_in=life)
    # Not after a redirect: the key would have to be kept until the next request.
    return render_template("key.html", key=key, info=info)


def revoke(handle: str) -> Response:
    is_ended = api_keys.revoke(handle)
    flash("That key is revoked." if is_ended else "That key had ended already.")
    return redirect(url_for("keys.index"), 303)


def _form(wrong: dict[str, str]) -> str:
    return render_template("new_key.html", wrong=wrong, scopes=_scopes(), lives=_LIVES)


def _scopes() -> dict[str, str]:
    return SCOPES[current_user_as(User).role]


def _mistakes(name: str, days: str, scopes: set[str]) -> dict[str, str]:
    """Return what is wrong with each field, as a sentence."""
    found = {
        "name": "" if 0 < len(name) <= 60 and name.isprintable() else "Use 1 to 60 characters.",
        "scopes": "" if scopes and scopes <= set(_scopes()) else "Choose what the key is for.",
        "days": "" if days in _LIVES else "Choose one of these.",
    }
    return {field: text for field, text in found.items() if text}
