"""The single-page app's server, without a browser: what its script would see."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ..cases import each_case
from ..conftest import SECRET

EXAMPLES = Path(__file__).parents[2] / "examples"
ALICE = {"name": "alice", "password": "wonderland"}
BOB = {"name": "bob", "password": "builder"}
# Each with the only path that it is sent to. The last two carry the same refresh token.
PATHS = {
    "access_token": "/",
    "access_token_refresh": "/auth/refresh",
    "access_token_logout": "/auth/logout",
}


@pytest.fixture
def create_app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield importlib.import_module("spa").create_app
    for name in [name for name in sys.modules if name.split(".")[0] == "spa"]:
        del sys.modules[name]


@pytest.fixture
def app(create_app: Any) -> Flask:
    return create_app({"JAM_JWT_SECRET_KEY": SECRET, "TESTING": True})  # type: ignore[no-any-return]


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def cookies(answer: Any) -> dict[str, str]:
    """Name and value of each cookie that an answer sets."""
    pairs = (line.split(";")[0].partition("=") for line in answer.headers.getlist("Set-Cookie"))
    return {name: value for name, _, value in pairs}


def test_without_a_login_the_api_says_so_in_json(client: FlaskClient) -> None:
    for answer in (client.get("/api/notes"), client.post("/api/notes", data={"text": "x"})):
        assert (answer.status_code, answer.content_type) == (401, "application/problem+json")
        assert answer.json["error"] == "missing_credential"
    assert client.post("/auth/refresh").status_code == 401


def test_a_login_sets_cookies_and_says_no_token(client: FlaskClient) -> None:
    answer = client.post("/auth/login", data=ALICE)
    assert (answer.status_code, set(answer.json)) == (200, {"token_type", "expires_in", "scope"})
    made = cookies(answer)
    assert made.keys() == PATHS.keys()
    assert not any(value in answer.text for value in made.values())
    assert all(client.get_cookie(name, path=path) for name, path in PATHS.items())
    for line in answer.headers.getlist("Set-Cookie"):
        assert "HttpOnly" in line
        assert "SameSite=Lax" in line
    answer = client.get("/api/notes")
    assert answer.json == {"name": "alice", "notes": []}
    assert answer.headers["Cache-Control"] == "no-store"


@each_case(("name", "password"), [("alice", "wrong"), ("nobody", "nobody"), ("", "")])
def test_a_wrong_password_is_refused(client: FlaskClient, name: str, password: str) -> None:
    answer = client.post("/auth/login", data={"name": name, "password": password})
    assert (answer.status_code, cookies(answer)) == (401, {})


def test_everybody_reads_their_own_notes(app: Flask) -> None:
    alice, bob = app.test_client(), app.test_client()
    alice.post("/auth/login", data=ALICE)
    bob.post("/auth/login", data=BOB)
    assert alice.post("/api/notes", data={"text": " tea "}).status_code == 201
    assert alice.get("/api/notes").json == {"name": "alice", "notes": ["tea"]}
    assert bob.get("/api/notes").json == {"name": "bob", "notes": []}


@each_case("text", ["", "  ", "x" * 501])
def test_a_note_of_no_use_is_refused(client: FlaskClient, text: str) -> None:
    client.post("/auth/login", data=ALICE)
    assert client.post("/api/notes", data={"text": text}).status_code == 400
    assert client.get("/api/notes").json["notes"] == []


def test_the_refresh_cookie_brings_a_new_access_cookie(client: FlaskClient) -> None:
    first = cookies(client.post("/auth/login", data=ALICE))
    client.delete_cookie("access_token")
    assert client.get("/api/notes").status_code == 401
    answer = client.post("/auth/refresh")
    second = cookies(answer)
    assert answer.status_code == 200
    assert first.keys() == second.keys()
    assert not set(first.values()) & set(second.values())
    assert not any(value in answer.text for value in second.values())
    assert client.get("/api/notes").status_code == 200


def test_two_refreshes_with_one_cookie_both_go_on(app: Flask) -> None:
    tabs = app.test_client(), app.test_client()
    old = cookies(tabs[0].post("/auth/login", data=ALICE))["access_token_refresh"]
    made = []
    for tab in tabs:
        tab.set_cookie("access_token_refresh", old, path="/auth/refresh")
        made.append(cookies(tab.post("/auth/refresh"))["access_token_refresh"])
    assert made[0] == made[1] != old
    assert [tab.get("/api/notes").status_code for tab in tabs] == [200, 200]


def test_a_logout_ends_what_the_cookies_said_wherever_they_are(app: Flask) -> None:
    client, copy = app.test_client(), app.test_client()
    made = cookies(client.post("/auth/login", data=ALICE))
    copy.set_cookie("access_token", made["access_token"])
    copy.set_cookie("access_token_refresh", made["access_token_refresh"], path="/auth/refresh")
    assert copy.get("/api/notes").status_code == 200

    answer = client.post("/auth/logout")

    assert (answer.status_code, cookies(answer)) == (204, dict.fromkeys(made, ""))
    assert not any(client.get_cookie(name, path=path) for name, path in PATHS.items())
    assert copy.get("/api/notes").status_code == 401
    assert copy.post("/auth/refresh").status_code == 401


def test_a_logout_without_the_access_cookie_still_ends_the_login(app: Flask) -> None:
    client, copy = app.test_client(), app.test_client()
    made = cookies(client.post("/auth/login", data=ALICE))
    copy.set_cookie("access_token", made["access_token"])
    client.delete_cookie("access_token")  # its time had come
    assert client.post("/auth/logout").status_code == 204
    assert copy.get("/api/notes").status_code == 401
    assert client.post("/auth/refresh").status_code == 401


def test_somebody_who_is_removed_is_refused_at_the_next_refresh(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.post("/auth/login", data=BOB)
    monkeypatch.delitem(sys.modules["spa.people"]._PEOPLE, "bob")
    assert client.post("/auth/refresh").status_code == 401


@each_case("path", ["/auth/login", "/auth/refresh", "/auth/logout", "/api/notes"])
def test_another_site_can_have_nothing_done(client: FlaskClient, path: str) -> None:
    client.post("/auth/login", data=ALICE)
    elsewhere = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    answer = client.post(path, data={**BOB, "text": "x"}, headers=elsewhere)
    assert (answer.status_code, cookies(answer)) == (403, {})
    assert answer.json["error"] == "csrf"
    assert client.get("/api/notes").json == {"name": "alice", "notes": []}


@each_case("path", ["/", "/static/app.js", "/api/notes", "/nowhere"])
def test_every_answer_has_a_policy_that_lets_in_nothing_from_elsewhere(
    client: FlaskClient, path: str
) -> None:
    with client.get(path) as answer:
        policy = answer.headers["Content-Security-Policy"].split("; ")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert not any(word in " ".join(policy) for word in ("unsafe", "http", "*", "data:"))


def test_the_page_is_one_file_with_no_script_in_it(client: FlaskClient) -> None:
    with client.get("/") as answer:
        page = answer.text
    assert answer.status_code == 200
    assert page.count("<script") == page.count('<script src="/static/') == 1
    assert "style=" not in page
    assert "//" not in page  # nothing from another host
