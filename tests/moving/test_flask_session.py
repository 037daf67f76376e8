"""The page about Flask-Session: one client on both apps, a table that lacks nothing, old data."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from itsdangerous import Signer
from redis import Redis

from ..conftest import SECRET
from ..servers import RedisServer
from .pages import Page, parameters, public_names, strings

PAGE = Page("moving/flask-session", "Flask-Session")


def pass_as_a_browser(app: Flask) -> None:
    """Fill a cart, log in, change what belongs to the user, and log out."""
    browser, other = app.test_client(), app.test_client()
    assert browser.get("/account").status_code == 401
    assert browser.post("/theme", data={"theme": "dark"}).status_code == 401
    add(browser, "tea")
    assert browser.post("/login", data={"name": "mallory"}).status_code == 401
    browser.post("/login", data={"name": "alice"})
    other.post("/login", data={"name": "bob"})
    assert browser.get("/account").json == {"user": "alice", "theme": "light"}
    browser.post("/theme", data={"theme": "dark"})
    assert add(browser, "milk").json == ["tea", "milk"]
    assert browser.get("/account").json == {"user": "alice", "theme": "dark"}
    assert other.get("/account").json == {"user": "bob", "theme": "light"}
    assert other.get("/cart").json == []
    browser.post("/logout")
    assert browser.get("/account").status_code == 401
    assert browser.get("/cart").json == []
    assert other.get("/account").status_code == 200


def add(client: FlaskClient, item: str) -> Any:
    return client.post("/cart", data={"item": item})


def test_browser_passes_on_ours() -> None:
    app = PAGE.app("After")
    app.testing = True
    pass_as_a_browser(app)


@pytest.fixture
def peer() -> Any:
    return pytest.importorskip("flask_session", reason="needs Flask-Session")


@pytest.fixture
def redis(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    redis_server.flush()
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    with Redis.from_url(redis_server.url) as client:
        yield client


@pytest.fixture
def peer_app(peer: Any, redis: Any) -> Iterator[Flask]:
    app = PAGE.app("Before")
    yield app
    app.config["SESSION_REDIS"].close()


@pytest.mark.slow
@pytest.mark.redis
def test_browser_passes_on_the_peer(peer_app: Flask) -> None:
    pass_as_a_browser(peer_app)


@pytest.mark.slow
def test_table_has_every_public_name(peer: Any) -> None:
    from flask.sessions import SessionInterface
    from flask_session import base, defaults
    from flask_session.redis import RedisSessionInterface

    source = "\n".join(
        file.read_text(encoding="utf-8") for file in Path(peer.__file__).parent.rglob("*.py")
    )
    names = set(re.findall(r"^class (\w+)", source, re.MULTILINE)) | {"sid"}
    interface, session = base.ServerSideSessionInterface, base.ServerSideSession
    names |= public_names(interface, peer.Session) - public_names(SessionInterface)
    names |= public_names(session, base.Serializer) - public_names(dict) - {"encode", "decode"}
    names |= parameters(RedisSessionInterface.__init__, interface.__init__) - {"app"}
    assert PAGE.lacking(names - {"on_update"}) == []
    settings = {name for name in vars(defaults.Defaults) if name[0] != "_"}
    settings |= strings(peer, r"[A-Z][A-Z_]+", before=r"config(?:\.get\(|\[)\s*")
    assert len(settings) == 25
    assert PAGE.lacking(settings | {"PERMANENT_SESSION_LIFETIME"}) == []
    assert PAGE.names_newest()


@pytest.mark.slow
@pytest.mark.redis
def test_peer_behaves_as_the_page_says(peer_app: Flask, redis: Any) -> None:
    client = peer_app.test_client()
    client.set_cookie("session", "known-to-an-attacker-12")
    redis.set("session:known-to-an-attacker-12", pickle.dumps({"user": "alice", "theme": "x"}))
    assert client.get("/account").json == {"user": "alice", "theme": "x"}
    rewritten = redis.get("session:known-to-an-attacker-12")
    assert rewritten == packed({"user": "alice", "theme": "x"})
    redis.set("session:known-to-an-attacker-12", b"[1, 2]")
    assert client.get("/account").status_code == 500
    peer_app.secret_key = SECRET
    signed = peer_app.session_interface._sign(peer_app, "id")  # type: ignore[attr-defined]
    assert Signer(SECRET, salt="flask-session", key_derivation="hmac").unsign(signed) == b"id"


def packed(data: dict[str, str]) -> bytes:
    import msgspec  # needed by Flask-Session

    return msgspec.msgpack.encode(data)


# --- what lives during the move -------------------------------------------------------


@pytest.fixture
def during(redis: Any) -> Iterator[Flask]:
    app = PAGE.app("During")
    app.testing = True
    yield app
    app.view_functions["cart"].__globals__["old_sessions"].close()


@pytest.fixture
def old_browser(peer_app: Flask, during: Flask) -> Callable[..., FlaskClient]:
    """Return a browser that comes to the new app with a session of the old one."""

    def come(name: str | None = "alice") -> FlaskClient:
        old, new = peer_app.test_client(), during.test_client()
        add(old, "tea")
        if name is not None:
            old.post("/login", data={"name": name})
        cookie = old.get_cookie("session")
        assert cookie is not None
        new.set_cookie("session", cookie.value)
        return new

    return come


@pytest.mark.slow
@pytest.mark.redis
def test_old_session_is_exchanged_once(
    old_browser: Callable[..., FlaskClient], during: Flask, redis: Any
) -> None:
    client, thief = old_browser(), during.test_client()
    old = client.get_cookie("session")
    assert old is not None
    thief.set_cookie("session", old.value)
    assert client.post("/account").status_code == 401
    assert client.get("/account").json == {"user": "alice", "theme": "light"}
    assert client.get_cookie("session") is None
    assert client.get("/cart").json == ["tea"]
    assert client.post("/account").status_code == 200
    assert client.get("/password").status_code == 401
    assert redis.keys("session:*") == []
    assert thief.get("/account").status_code == 401
    client.post("/logout")
    assert (client.get("/account").status_code, client.get("/cart").json) == (401, [])


@pytest.mark.slow
@pytest.mark.redis
def test_old_cart_of_a_visitor_goes_on(old_browser: Callable[..., FlaskClient]) -> None:
    client = old_browser(None)
    assert client.get("/account").status_code == 401
    assert client.get("/cart").json == ["tea"]


@pytest.mark.slow
@pytest.mark.redis
def test_old_session_does_not_come_back(
    old_browser: Callable[..., FlaskClient], redis: Any
) -> None:
    for leave in ("/logout", "/login"):
        client = old_browser()
        client.post(leave, data={"name": "bob"})
        client.delete_cookie("sessionId")
        assert client.get("/account").status_code == 401
        assert redis.keys("session:*") == []


@pytest.mark.slow
@pytest.mark.redis
def test_what_is_no_old_session_is_no_login(during: Flask, redis: Any) -> None:
    ids = ["A" * 43 for _ in range(5)] + ["", "x", "é" * 43, "a" * 4000, "../" * 14, "A" * 43]
    values = [b"", b"\xff", b"[1]", b"\xa4user", pickle.dumps({"user": "alice"})]
    values += [packed({"user": "alice"})] * 5
    values += [packed({"user": "mallory"})]
    for old_id, value in zip(ids, values, strict=True):
        client = during.test_client()
        client.set_cookie("session", old_id)
        redis.set(f"session:{old_id}", value)
        assert client.get("/account").status_code == 401


@pytest.mark.slow
@pytest.mark.redis
def test_old_redis_that_is_down_is_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    app = PAGE.app("During")
    client = app.test_client()
    client.set_cookie("session", "A" * 43)
    assert client.get("/account").status_code == 503
    assert client.post("/logout").status_code == 503
    assert app.test_client().get("/cart").json == []
