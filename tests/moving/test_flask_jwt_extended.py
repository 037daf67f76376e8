"""The page about Flask-JWT-Extended: one client on both apps, and a table that lacks nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from flask_jam._helpers.peer_settings import FLASK_JWT_EXTENDED
from flask_jam.testing import frozen_time

from ..conftest import bearer
from .pages import Page, parameters, public_names, strings

PAGE = Page("moving/flask-jwt-extended", "Flask-JWT-Extended")
REFUSED = {401, 422}


@pytest.fixture
def peer() -> Any:
    return pytest.importorskip("flask_jwt_extended", reason="needs Flask-JWT-Extended")


def pass_as_an_unchanged_client(client: FlaskClient, later: Callable[[], None]) -> None:
    """Refresh as the peer's clients do: the token in the header, the same one each time."""
    alice, bob, carol = (log_in(client, name) for name in ("alice", "bob", "carol"))
    assert client.post("/login", json={"name": "mallory"}).status_code == 401
    check_gates(client, alice["access_token"], bob["access_token"], carol["access_token"])
    check_bad_tokens(client, alice)
    for _ in range(3):
        later()
        answer = client.post("/refresh", headers=bearer(alice["refresh_token"]))
        token = answer.json["access_token"]
        assert get(client, "/me", token).json == {"name": "alice", "team": "blue"}
    assert client.post("/logout", headers=bearer(token)).status_code == 204
    assert get(client, "/me", token).status_code == 401
    token = log_in(client, "alice")["access_token"]
    assert get(client, "/me", token).status_code == 200


def log_in(client: FlaskClient, name: str) -> Any:
    return client.post("/login", json={"name": name}).json


def get(client: FlaskClient, path: str, token: str) -> Any:
    return client.get(path, headers=bearer(token))


def check_gates(client: FlaskClient, alice: str, bob: str, carol: str) -> None:
    """A gate before the view, a decorator, a fresh login and an optional token."""
    for path, statuses in (
        ("/me", [200, 200, 403]), ("/sales", [200, 403, 403]), ("/prices", [200, 200, 403]),
    ):  # fmt: skip
        assert [get(client, path, each).status_code for each in (alice, bob, carol)] == statuses
    assert client.post("/password", headers=bearer(alice)).text == "changed"
    assert get(client, "/prices", alice).json == {"for": "alice"}
    assert client.get("/prices").json == {"for": "everyone"}


def check_bad_tokens(client: FlaskClient, pair: Any) -> None:
    for path in ("/me", "/sales"):
        assert client.get(path).status_code == 401
        for token in ("a.b.c", pair["access_token"][:-2], pair["refresh_token"]):
            assert get(client, path, token).status_code in REFUSED
    for token in ("a.b.c", pair["access_token"]):
        assert client.post("/refresh", headers=bearer(token)).status_code in REFUSED
    assert client.post("/refresh").status_code == 401


def test_unchanged_client_passes_on_ours() -> None:
    app = PAGE.app("After")
    app.testing = True
    with frozen_time(app) as clock:
        pass_as_an_unchanged_client(app.test_client(), lambda: clock.tick(300))


def pass_as_a_browser(client: FlaskClient) -> None:
    """Log in, write from the app's own page and not from another site's, and log out."""
    at = {"base_url": "https://shop.example"}
    own, other = {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "cross-site"}
    assert client.get("/notes", **at).status_code == 401
    answer = client.post("/login", data={"name": "alice"}, headers=own, **at)
    cookies = [line for line in answer.headers.getlist("Set-Cookie") if "csrf" not in line]
    assert all("HttpOnly" in line and "Secure" in line for line in cookies)
    for _ in range(2):
        assert client.get("/notes", **at).json == {"notes_of": "alice"}
        token = client.get_cookie("csrf_access_token", "shop.example")
        own["X-CSRF-TOKEN"] = token.value if token else ""
        assert client.post("/notes", headers=own, **at).json == {"notes_of": "alice"}
    assert client.post("/notes", headers=other, **at).status_code in {401, 403}
    assert client.post("/logout", headers=own, **at).json == {"name": None}
    assert client.get("/notes", **at).status_code == 401


def status_of_a_copy(client: FlaskClient, cookie: str) -> int:
    """Log in, copy the cookie, log out, and come back with the copy."""
    client.post("/login", data={"name": "alice"})
    copy = client.get_cookie(cookie)
    assert copy is not None
    client.post("/logout")
    client.set_cookie(cookie, copy.value)
    return client.get("/notes").status_code


def test_browser_passes_on_ours() -> None:
    client = PAGE.app("After: cookies").test_client()
    pass_as_a_browser(client)
    assert status_of_a_copy(client, "sessionId") == 401


@pytest.mark.slow
def test_browser_passes_on_the_peer(peer: Any) -> None:
    client = PAGE.app("Before: cookies").test_client()
    pass_as_a_browser(client)
    assert status_of_a_copy(client, "access_token_cookie") == 200


@pytest.mark.slow
def test_unchanged_client_passes_on_the_peer(peer: Any) -> None:
    pass_as_an_unchanged_client(PAGE.app("Before").test_client(), later=lambda: None)


@pytest.mark.slow
def test_table_has_every_public_name(peer: Any) -> None:
    import flask_jwt_extended.exceptions as errors

    calls = (
        peer.jwt_required, peer.create_access_token, peer.decode_token, peer.set_access_cookies,
        peer.JWTManager,
    )  # fmt: skip
    trivial = {"app", "response", "encoded_access_token"}
    names = public_names(peer, peer.JWTManager, errors) | parameters(*calls) - trivial
    assert PAGE.lacking(names) == []
    assert PAGE.names_newest()


@pytest.mark.slow
def test_table_and_warning_have_every_setting(peer: Any) -> None:
    settings = strings(peer, r"JWT_[A-Z_]+")
    assert len(settings) == 43
    assert PAGE.lacking(settings) == []
    assert settings == FLASK_JWT_EXTENDED.keys()
