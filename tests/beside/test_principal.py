"""Beside Flask-Principal: its identity is the caller, before a guard has run."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from flask_jam import Jam, current_auth, jwt_required, public

from ..conftest import bearer, new_app

principal = pytest.importorskip("flask_principal", reason="needs Flask-Principal")


@pytest.fixture
def app(jam: Jam) -> Flask:
    app = new_app(jam)
    principals = principal.Principal(app, use_sessions=False)
    admin = principal.Permission(principal.RoleNeed("admin"))

    @principals.identity_loader
    def load() -> Any:
        auth = current_auth()
        return principal.Identity(auth.subject) if auth else None

    @principal.identity_loaded.connect_via(app)
    def add_roles(_sender: Any, identity: Any) -> None:
        auth = current_auth()
        for role in auth.payload.get("roles", []) if auth else []:
            identity.provides.add(principal.RoleNeed(role))

    app.extensions["add_roles"] = add_roles  # blinker holds receivers weakly
    app.add_url_rule("/admin", "admin", jwt_required(admin.require(403)(lambda: "in")))
    app.add_url_rule("/open", "open", public(admin.require(403)(lambda: "in")))
    return app


@pytest.mark.parametrize("path", ["/admin", "/open"])
def test_an_admin_is_let_in_and_a_reader_is_not(app: Flask, jam: Jam, path: str) -> None:
    client = app.test_client()
    admin = bearer(jam.issue_tokens("ann", roles={"admin"})["access_token"])
    reader = bearer(jam.issue_tokens("bob", roles={"reader"})["access_token"])
    assert client.get(path, headers=admin).status_code == 200
    assert client.get(path, headers=reader).status_code == 403
    assert client.get(path).status_code in (401, 403)
    assert client.get(path, headers=bearer("a.b.c")).status_code in (401, 403)
