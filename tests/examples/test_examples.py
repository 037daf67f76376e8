"""The factory example, used as its people would use it."""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from ..cases import each_case
from ..conftest import SECRET, bearer

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def create_app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield importlib.import_module("factory").create_app
    for name in [name for name in sys.modules if name.split(".")[0] == "factory"]:
        del sys.modules[name]


@pytest.fixture
def app(create_app: Any) -> Flask:
    return create_app({"JAM_JWT_SECRET_KEY": SECRET, "TESTING": True})  # type: ignore[no-any-return]


def log_in(client: Any, name: str, password: str) -> dict[str, Any]:
    answer = client.post("/api/login", data={"name": name, "password": password})
    assert answer.status_code == 200
    return dict(answer.json)


def test_the_api_lets_in_tokens_and_only_editors_write(app: Flask) -> None:
    client = app.test_client()
    assert client.get("/api/articles").status_code == 401
    reader = bearer(log_in(client, "bob", "builder")["access_token"])
    editor = bearer(log_in(client, "alice", "wonderland")["access_token"])
    assert client.get("/api/articles", headers=reader).json["reader"] == "bob"
    assert client.post("/api/articles", headers=reader).status_code == 403
    assert client.post("/api/articles", headers=editor).json == {"written_by": "alice"}


@each_case(("name", "password"), [("alice", "wrong"), ("nobody", "nobody"), ("", "")])
def test_a_wrong_password_is_refused(app: Flask, name: str, password: str) -> None:
    client = app.test_client()
    form = {"name": name, "password": password}
    assert client.post("/api/login", data=form).status_code == 401
    assert client.post("/login", data=form).status_code == 401


def test_the_pages_let_in_the_session_and_not_the_token(app: Flask) -> None:
    client = app.test_client()
    token = log_in(client, "alice", "wonderland")["access_token"]
    assert client.get("/", headers=bearer(token)).status_code == 401
    answer = client.post("/login", data={"name": "alice", "password": "wonderland"})
    assert (answer.status_code, answer.location) == (303, "/")
    assert "Signed in as alice, on 1 device(s)." in client.get("/").text
    assert client.post("/logout").status_code == 303
    assert client.get("/").status_code == 401


def test_an_editor_locks_somebody_out_everywhere_at_once(app: Flask) -> None:
    bob, alice = app.test_client(), app.test_client()
    pair = log_in(bob, "bob", "builder")
    bob.post("/login", data={"name": "bob", "password": "builder"})
    editor = bearer(log_in(alice, "alice", "wonderland")["access_token"])
    assert alice.post("/api/lock-out/bob", headers=editor).status_code == 204
    assert bob.get("/api/articles", headers=bearer(pair["access_token"])).status_code == 401
    assert bob.get("/").status_code == 401
    refresh = {"refresh_token": pair["refresh_token"]}
    assert bob.post("/api/refresh", json=refresh).status_code == 401
    assert alice.get("/api/articles", headers=editor).status_code == 200


def test_a_refresh_brings_the_current_role(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    client = app.test_client()
    pair = log_in(client, "bob", "builder")
    people = sys.modules["factory.people"]
    monkeypatch.setitem(people._PEOPLE, "bob", (people._PEOPLE["bob"][0], "editor"))
    pair = client.post("/api/refresh", json={"refresh_token": pair["refresh_token"]}).json
    assert client.post("/api/articles", headers=bearer(pair["access_token"])).status_code == 201
    monkeypatch.delitem(people._PEOPLE, "bob")
    refused = client.post("/api/refresh", json={"refresh_token": pair["refresh_token"]})
    assert refused.status_code == 401


def test_the_audit_log_says_who_and_never_what_with(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    client = app.test_client()
    with caplog.at_level(logging.INFO, "audit"):
        client.get("/api/articles")
        pair = log_in(client, "alice", "wonderland")
        client.post("/api/refresh", json={"refresh_token": pair["refresh_token"]})
        client.post("/api/logout", headers=bearer(pair["access_token"]))
    events = [json.loads(record.message) for record in caplog.records if record.name == "audit"]
    kinds = [event["event"] for event in events]
    assert kinds == ["rejected", "logged_in", "refreshed", "revoked", "revoked", "logged_out"]
    assert events[0]["reason"] == "missing"
    assert events[1]["subject"] == "alice"
    assert pair["access_token"] not in caplog.text
    assert pair["refresh_token"] not in caplog.text


def test_two_apps_of_the_factory_share_nothing(create_app: Any) -> None:
    one = create_app({"JAM_JWT_SECRET_KEY": SECRET, "TESTING": True})
    two = create_app({"JAM_JWT_SECRET_KEY": SECRET[::-1], "TESTING": True})
    token = log_in(one.test_client(), "alice", "wonderland")["access_token"]
    assert one.test_client().get("/api/articles", headers=bearer(token)).status_code == 200
    assert two.test_client().get("/api/articles", headers=bearer(token)).status_code == 401
