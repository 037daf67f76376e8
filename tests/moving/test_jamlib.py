"""The page about jamlib: one client on both apps, a table that lacks nothing, and what lives on."""

from __future__ import annotations

import gc
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from ..conftest import SECRET, bearer
from .pages import Page, parameters, public_names, strings

PAGE = Page("moving/jamlib", "jamlib")
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def pass_as_a_client(client: FlaskClient) -> None:
    """Log in, pass each gate or be refused by it, and log out."""
    assert client.post("/login", json={"name": "mallory"}).status_code == 401
    tokens = [log_in(client, name) for name in ("alice", "bob", "carol")]
    for method, path, statuses in (
        ("GET", "/me", [200, 200, 403]),
        ("GET", "/", [200, 200, 403]),
        ("POST", "/posts", [200, 403, 403]),
    ):
        assert [ask(client, each, method, path).status_code for each in tokens] == statuses
    alice, bob, _ = tokens
    assert ask(client, alice, "GET", "/me").json == {"name": "alice"}
    assert client.get("/").json == {"for": "everyone"}
    assert ask(client, alice[:-4], "GET", "/").json == {"for": "everyone"}
    for token in ("", alice[:-4]):
        assert ask(client, token, "GET", "/me").status_code in {400, 401}
        assert ask(client, token, "POST", "/posts").status_code in {400, 401}
    assert ask(client, alice, "POST", "/logout").status_code == 204
    assert ask(client, alice, "GET", "/me").status_code == 401
    assert ask(client, bob, "GET", "/me").status_code == 200


def log_in(client: FlaskClient, name: str) -> str:
    answer = client.post("/login", json={"name": name})
    return str(answer.json["access_token"])


def ask(client: FlaskClient, token: str, method: str, path: str) -> Any:
    return client.open(path, method=method, headers=bearer(token))


def test_client_passes_on_ours() -> None:
    pass_as_a_client(PAGE.app("After").test_client())


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Any]:
    """The library, in a directory of its own: it writes files to where it runs."""
    yield pytest.importorskip("jam", reason="needs jamlib")
    gc.collect()  # its JSON files are never closed: let no later test hear of it


@pytest.mark.slow
def test_client_passes_on_the_peer(peer: Any) -> None:
    pass_as_a_client(PAGE.app("Before").test_client())


@pytest.mark.slow
def test_table_has_every_public_name(peer: Any) -> None:
    def of(name: str) -> Any:
        return importlib.import_module(f"jam.{name}")

    flask, base = of("ext.flask"), of("ext._base")
    classes = (
        peer.Jam, peer.Principal, peer.BaseSubject, flask.JamAuth, base.CredentialSource,
        base.AuthenticationResult,
    )  # fmt: skip
    modules = (peer, flask, of("exceptions"), of("utils"), of("tests"))
    trivial = {"kind", "name", "scheme", "source", "token", "principal", "is_authenticated"}
    names = public_names(*modules, *classes) - trivial
    rooms = {f"jam.{each.name}" for each in pkgutil.iter_modules(peer.__path__)}
    assert PAGE.lacking(names | {room for room in rooms if "__" not in room}) == []
    assert PAGE.names_newest()


@pytest.mark.slow
def test_table_has_every_setting(peer: Any) -> None:
    from jam.jose import JWT
    from jam.sessions import JSONSessions, RedisSessions

    read = strings(peer, r"JAM_[A-Z_]+", before=r"getenv\(") | settings_that_are_read(peer)
    read |= parameters(JWT.__init__, JSONSessions.__init__, RedisSessions.__init__)
    read |= parameters(peer.Jam.__init__)
    assert {"JAM_DEBUG", "keychain", "redis_uri", "otp", "ttl"} <= read
    assert PAGE.lacking(read) == []


def settings_that_are_read(peer: Any) -> set[str]:
    """Return the keys that jamlib's core and its lists take from a mapping."""
    core, lists = (importlib.import_module(f"jam.{name}") for name in ("__core__", "lists"))
    return {
        name
        for module in (core, lists)
        for name in strings(module, r"[a-z]\w+", before=r"(?:cfg|config)\.(?:get|pop)\(")
    }


# --- what lives during the move -------------------------------------------------------


@pytest.mark.slow
def test_token_on_the_old_deny_list_is_revoked(peer: Any) -> None:
    denied = {"backend": "json", "type": "black", "json_path": "denied.json"}
    old = peer.Jam({"jose": {"jwt": {"alg": "HS256", "secret_key": SECRET, "list": denied}}})
    living, ended = (old.issue({"id": "alice"}, via="jwt", exp=600) for _ in range(2))
    old.jwt_list.add(ended)
    old.jwt_list.add("no token")
    client = PAGE.app("During: deny list").test_client()
    assert ask(client, living, "GET", "/me").text == "me"
    assert ask(client, ended, "GET", "/me").status_code == 401


@pytest.fixture
def old_session(peer: Any) -> str:
    return issued_there(peer)


def issued_there(peer: Any) -> str:
    old = peer.Jam({"session": {"type": "json", "json_path": "sessions.json"}})
    return str(old.issue({"id": "alice"}, via="session"))


@pytest.mark.slow
def test_old_session_is_exchanged_once(old_session: str) -> None:
    app = PAGE.app("During: sessions")
    client, thief = app.test_client(), app.test_client()
    for each in (client, thief):
        each.set_cookie("sessionId", old_session)
    assert client.post("/me").status_code == 401
    assert client.get("/me").text == "alice"
    assert client.get_cookie("sessionId") is None
    assert client.post("/me").text == "alice"
    assert client.get("/password").status_code == 401
    assert thief.get("/me").status_code == 401
    client.post("/logout")
    client.set_cookie("sessionId", old_session)
    assert client.get("/me").status_code == 401


@pytest.mark.slow
def test_old_session_does_not_come_back(peer: Any) -> None:
    for leave in ("/login", "/logout"):
        client = PAGE.app("During: sessions").test_client()
        client.set_cookie("sessionId", issued_there(peer))
        client.post(leave, data={"name": "bob"})
        client.delete_cookie("blog_session")
        assert client.get("/me").status_code == 401


@pytest.mark.slow
def test_junk_in_the_old_cookie_is_no_session(peer: Any) -> None:
    app = PAGE.app("During: sessions")
    for junk in ("", "J$_x", "alice:1", "\x01", "x" * 4000):
        client = app.test_client()
        client.set_cookie("sessionId", junk)
        assert client.get("/me").status_code == 401
