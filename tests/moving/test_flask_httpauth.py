"""The page about Flask-HTTPAuth: one script on both apps, and a table that lacks nothing."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ..conftest import bearer
from .pages import Page, parameters, public_names

PAGE = Page("moving/flask-httpauth", "Flask-HTTPAuth")
PASSWORDS = {"alice": "wonderland", "bob": "builder", "carol": "singer"}


def pass_as_a_script(client: FlaskClient) -> None:
    """Send passwords, exchange one for a token, pass each gate or be refused by it."""
    check_refusals(client)
    tokens = {}
    for name, password in PASSWORDS.items():
        tokens[name] = client.post("/tokens", auth=(name, password)).json["token"]
    for path, statuses in (
        ("/me", [200, 200, 200]), ("/admin", [200, 403, 403]), ("/drafts", [200, 200, 403]),
    ):  # fmt: skip
        for sent in (by_password, lambda name: {"headers": bearer(tokens[name])}):
            seen = [client.get(path, **sent(name)).status_code for name in PASSWORDS]
            assert seen == statuses
    assert client.get("/me", headers=bearer(tokens["bob"])).json == {"name": "bob"}
    assert client.post("/tokens", headers=bearer(tokens["bob"])).status_code == 401
    assert client.get("/news").json == {"for": "everyone"}
    assert client.get("/news", **by_password("bob")).json == {"for": "bob"}
    assert client.post("/logout", headers=bearer(tokens["bob"])).status_code == 204
    assert client.get("/me", headers=bearer(tokens["bob"])).status_code == 401
    assert client.get("/me", headers=bearer(tokens["carol"])).status_code == 200
    assert client.get("/me", **by_password("bob")).status_code == 200


def by_password(name: str) -> dict[str, Any]:
    return {"auth": (name, PASSWORDS[name])}


def check_refusals(client: FlaskClient) -> None:
    answer = client.get("/me")
    assert (answer.status_code, answer.json) == (401, {"error": "refused"})
    assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
    for auth in (
        ("alice", "queen"),
        ("mallory", "wonderland"),
        ("alice", ""),
        ("mallory", "no user's password"),
    ):
        for path in ("/me", "/admin", "/drafts"):
            assert client.get(path, auth=auth).status_code == 401
        assert client.post("/tokens", auth=auth).status_code == 401
    for path in ("/me", "/admin", "/drafts"):
        assert client.get(path, headers=bearer("0" * 32)).status_code == 401


def test_script_passes_on_ours() -> None:
    pass_as_a_script(PAGE.app("After").test_client())


@pytest.fixture
def peer() -> Any:
    return pytest.importorskip("flask_httpauth", reason="needs Flask-HTTPAuth")


@pytest.fixture
def peer_app(peer: Any) -> Flask:
    return PAGE.app("Before")


@pytest.mark.slow
def test_script_passes_on_the_peer(peer_app: Flask) -> None:
    pass_as_a_script(peer_app.test_client())


@pytest.mark.slow
def test_table_has_every_public_name(peer: Any) -> None:
    classes = [
        peer.HTTPAuth, peer.HTTPBasicAuth, peer.HTTPDigestAuth, peer.HTTPTokenAuth, peer.MultiAuth,
    ]  # fmt: skip
    found = {name for name, thing in vars(peer).items() if thing in classes}
    assert found == {each.__name__ for each in classes}
    names = found | public_names(*classes) | parameters(*classes, peer.HTTPAuth.login_required)
    assert PAGE.lacking(names) == []
    assert PAGE.names_newest()


@pytest.mark.slow
def test_peer_behaves_as_the_page_says(peer_app: Flask, peer: Any) -> None:
    auth = next(
        cell.cell_contents
        for cell in peer_app.view_functions["make_token"].__closure__ or ()
        if isinstance(cell.cell_contents, peer.HTTPBasicAuth)
    )
    optional = auth.login_required(optional=True, role="admin")
    peer_app.add_url_rule("/optional", "optional", optional(lambda: str(auth.current_user().id)))
    client = peer_app.test_client()
    assert client.get("/news", auth=("alice", "wrong")).json == {"for": "everyone"}
    assert client.get("/optional", **by_password("carol")).text == "carol"
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    answer = client.post("/tokens", headers=elsewhere, **by_password("alice"))
    assert answer.status_code == 200
    token = answer.json["token"]
    for word, status in (("Bearer", 200), ("bearer", 401)):
        sent = client.get("/me", headers={"Authorization": f"{word} {token}"})
        assert sent.status_code == status
    assert "WWW-Authenticate" in client.get("/admin", **by_password("bob")).headers
