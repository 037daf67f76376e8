"""Beside Flask-Login, while an app moves from one to the other: each has its own current_user."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, render_template_string
from jinja2 import DictLoader

from flask_jam import Jam, SessionExtension, current_user, session_required

flask_login = pytest.importorskip("flask_login", reason="needs Flask-Login")


class Person(flask_login.UserMixin):  # type: ignore[misc]
    id = "ann"


def moving(jam: Jam, **options: Any) -> Flask:
    app = Flask("moving")
    app.secret_key = "k3y-for-tests"
    flask_login.LoginManager(app).user_loader(lambda user_id: Person())
    SessionExtension(jam, app, **options)
    app.jinja_loader = DictLoader(  # type: ignore[assignment]
        {"m": "{% macro id() %}{{ current_user.id if current_user is defined }}{% endmacro %}"}
    )
    page = "{{ current_user.id }} {% import 'm' as m %}{{ m.id() }}"
    app.add_url_rule("/in", "in", lambda: str(flask_login.login_user(Person())))
    app.add_url_rule("/", "view", session_required(lambda: render_template_string(page)))
    return app


def page_of(app: Flask, jam: Jam) -> str:
    client = app.test_client()
    client.get("/in")
    client.set_cookie("sessionId", jam.create_session("bob", {}))
    return client.get("/").text


def test_in_a_page_the_name_is_theirs_and_in_a_macro_ours(jam: Jam) -> None:
    bob = type("Bob", (), {"id": "bob"})()
    app = moving(jam, load_user=lambda auth: bob)
    assert page_of(app, jam) == "ann bob"


def test_without_a_loader_of_ours_no_template_changes(jam: Jam) -> None:
    assert page_of(moving(jam), jam) == "ann "


def test_their_guard_and_ours_see_their_own_users(jam: Jam) -> None:
    app = moving(jam, load_user=lambda auth: f"our {auth.subject}")
    app.add_url_rule(
        "/both", "both",
        session_required(lambda: f"{flask_login.current_user.id}, {current_user}"),
    )  # fmt: skip
    client = app.test_client()
    client.get("/in")
    client.set_cookie("sessionId", jam.create_session("bob", {}))
    assert client.get("/both").text == "ann, our bob"
