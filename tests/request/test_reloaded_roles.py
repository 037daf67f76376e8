"""Roles that change while a user is logged in: ``load_user`` gives sessions and tokens today's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, g

from flask_jam import Accepted, Jam, JWTExtension, SessionExtension, jwt_required, session_required

from ..cases import each_case
from ..conftest import bearer

ROLES: dict[str, list[str]] = {}


def load(auth: Accepted) -> object:
    if auth.subject not in ROLES:
        return None
    auth.payload["roles"] = list(ROLES[auth.subject])
    return auth.subject


@pytest.fixture
def app(jam: Jam) -> Flask:
    ROLES.clear()
    ROLES["ann"] = ["admin"]
    app = Flask("roles")
    session = SessionExtension(jam, app, load_user=load)
    JWTExtension(jam, app)
    either = session_required(roles={"admin"}) | jwt_required(roles={"admin"})
    app.add_url_rule("/admin", "admin", either(lambda: g.payload["roles"]))
    app.add_url_rule("/refresh", "refresh", session.refresh, methods=["POST"])
    return app


def by_session(jam: Jam) -> dict[str, str]:
    return {"Cookie": f"sessionId={jam.create_session('ann', {'roles': ['admin']})}"}


def by_token(jam: Jam) -> dict[str, str]:
    return bearer(jam.issue_tokens("ann", roles={"admin"})["access_token"])


@each_case("login", [by_session, by_token], ids=lambda login: login.__name__)
def test_a_role_that_was_taken_away_is_gone_at_once(
    jam: Jam, app: Flask, login: Callable[[Jam], dict[str, str]]
) -> None:
    sent, client = login(jam), app.test_client(use_cookies=False)
    assert client.get("/admin", headers=sent).json == ["admin"]
    ROLES["ann"] = []
    assert client.get("/admin", headers=sent).status_code == 403
    ROLES["ann"] = ["admin", "new"]
    assert client.get("/admin", headers=sent).json == ["admin", "new"]


def test_a_user_who_is_gone_cannot_refresh_a_session(jam: Jam, app: Flask) -> None:
    sent: Any = by_session(jam)
    del ROLES["ann"]
    assert app.test_client(use_cookies=False).post("/refresh", headers=sent).status_code == 401
