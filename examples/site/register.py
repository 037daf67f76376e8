"""Make an account. The form tells which names are taken, as every site with names does.

A site that registers addresses need not: it answers the same in both cases, and sends an e-mail.
"""

from __future__ import annotations

import re

from flask import Blueprint, Flask, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from flask_jam import current_user, public

from . import throttle
from .extensions import session
from .people import people, plain

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{2,29}")
_COMMON = frozenset({"password", "12345678", "123456789", "1234567890", "qwertyuiop", "iloveyou"})


def init_app(app: Flask) -> None:
    blueprint = Blueprint("register", __name__, url_prefix="/register")
    form = throttle.limit_registers(app, register)
    blueprint.add_url_rule("", "form", form, methods=["GET", "POST"])
    app.register_blueprint(blueprint)


@public
def register() -> str | tuple[str, int] | Response:
    if current_user:
        return redirect(url_for("pages.dashboard"), 303)
    if request.method == "GET":
        return render_template("register.html", wrong={})
    name, password = plain(request.form.get("name", "")), request.form.get("password", "")
    wrong = _mistakes(name, password, request.form.get("again", ""))
    return _not_yet(wrong) if wrong else _add(name, password)


def _add(name: str, password: str) -> tuple[str, int] | Response:
    session.logout()  # refuses what another site sent, before there is an account
    user = people().add(name, password)
    if user is None:
        return _not_yet({"name": "This name is taken. Choose another one."})
    session.login(user.id, {"remember": False}, remember=False)
    flash(f"Your account is ready. Welcome, {user.name}.")
    return redirect(url_for("pages.dashboard"), 303)


def _not_yet(wrong: dict[str, str]) -> tuple[str, int]:
    return render_template("register.html", wrong=wrong), 422


def _mistakes(name: str, password: str, again: str) -> dict[str, str]:
    """Return what is wrong with each field, as a sentence."""
    found = {
        "name": ""
        if _NAME.fullmatch(name)
        else "Use 3 to 30 letters from a to z, digits, - and _.",
        "password": weakness(password, name),
        "again": "" if again == password else "This is not the same password.",
    }
    return {field: text for field, text in found.items() if text}


def weakness(password: str, name: str) -> str:
    """Return what is wrong with a new password, as a sentence; empty for nothing."""
    if not 8 <= len(password) <= 256:
        return "Use at least 8 characters, and at most 256."
    if password.casefold() in _COMMON or (len(name) > 2 and name in password.casefold()):
        return "This password is easy to guess. Use a few words, and not your name."
    return ""
