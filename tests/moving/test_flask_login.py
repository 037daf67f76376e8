"""The page about Flask-Login: one browser on both apps, a table that lacks nothing, old logins."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_jam.testing import frozen_time

from ..conftest import SECRET
from .pages import Page, parameters, public_names, strings

PAGE = Page("moving/flask-login", "Flask-Login")
HTML = {"Accept": "text/html"}
#: The cookies of both libraries.
COOKIES = ("session", "remember_token", "sessionId")


def pass_as_a_browser(app: Flask, later: Callable[[], None]) -> None:
    """Log in with and without the box, pass each gate or be refused by it, and log out."""
    check_gates(app)
    browser = opened(app)
    assert sent_to(browser.get("/account")) == "/login?next=/account"
    assert "Please log in" in browser.get("/login").text
    for name in ("mallory", "dave"):
        assert log_in(browser, name).status_code == 401
    assert log_in(browser, "alice", "/account").location == "/account"
    assert browser.get("/").text == "Hello alice"
    assert browser.get("/password").text == "change it"
    close(browser)
    assert browser.get("/").text == "Hello stranger"
    log_in(browser, "alice", remember="on")
    close(browser)
    later()
    assert browser.get("/account").text == "alice"
    assert sent_to(browser.get("/password")) == "/login?next=/password"
    log_in(browser, "alice")
    assert browser.get("/password").text == "change it"
    browser.post("/logout")
    assert browser.get("/").text == "Hello stranger"
    assert sent_to(browser.get("/account")) == "/login?next=/account"


def check_gates(app: Flask) -> None:
    """A guard, a decorator, and a gate before the view."""
    for name, statuses in (
        ("alice", [200, 200, 200]), ("bob", [200, 200, 403]), ("carol", [403, 403, 403]),
        (None, [200, 302, 302]),
    ):  # fmt: skip
        browser = opened(app)
        if name is not None:
            log_in(browser, name)
        seen = [browser.get(path).status_code for path in ("/", "/account", "/admin")]
        assert seen == statuses


def opened(app: Flask) -> FlaskClient:
    """Return a client that asks for pages, as browsers do."""
    client = app.test_client()
    client.environ_base["HTTP_ACCEPT"] = "text/html"
    return client


def log_in(client: FlaskClient, name: str, back: str = "/", **form: str) -> Any:
    return client.post(f"/login?next={back}", data={"name": name, **form})


def sent_to(answer: Any) -> str:
    assert answer.status_code == 302
    return unquote(answer.location)


def close(client: FlaskClient) -> None:
    """Forget the cookies that end with the browser."""
    for name in COOKIES:
        cookie = client.get_cookie(name)
        if cookie is not None and cookie.expires is None and cookie.max_age is None:
            client.delete_cookie(name)


def test_browser_passes_on_ours() -> None:
    app = PAGE.app("After")
    app.testing = True
    with frozen_time(app) as clock:
        pass_as_a_browser(app, lambda: clock.tick(301))


@pytest.fixture
def peer() -> Any:
    return pytest.importorskip("flask_login", reason="needs Flask-Login")


@pytest.fixture
def peer_app(peer: Any) -> Flask:
    return PAGE.app("Before")


utcnow = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


@pytest.mark.slow
@utcnow
def test_browser_passes_on_the_peer(peer_app: Flask) -> None:
    pass_as_a_browser(peer_app, later=lambda: None)


@pytest.mark.slow
def test_table_has_every_public_name(peer: Any) -> None:
    manager = peer.LoginManager
    classes = (manager, peer.UserMixin, peer.AnonymousUserMixin)
    calls = (
        peer.login_user, peer.login_url, peer.decode_cookie, peer.make_next_param,
        peer.set_login_view, manager,
    )  # fmt: skip
    on_the_manager = {name for name in vars(manager()) if name[0] != "_"}
    names = public_names(peer, peer.config, *classes) | parameters(*calls) | on_the_manager
    trivial = {"app", "user", "timedelta"}
    assert PAGE.lacking(names - trivial | {"user_loaded_from_header", "fresh_login"}) == []
    assert PAGE.names_newest()


@pytest.mark.slow
def test_table_has_every_setting(peer: Any) -> None:
    settings = strings(peer, r"[A-Z][A-Z_]+", before=r"config(?:\.get\(|\[)\s*")
    assert len(settings) == 14
    assert PAGE.lacking(settings) == []


@pytest.mark.slow
@utcnow
def test_peer_behaves_as_the_page_says(peer_app: Flask) -> None:
    client = peer_app.test_client()
    assert client.get("/account", headers={"Accept": "application/json"}).status_code == 302
    log_in(client, "alice", remember="on")
    stolen = {name: cookie_of(client, name) for name in ("session", "remember_token")}
    client.post("/logout")
    assert client.get("/account").status_code == 302
    for name, value in stolen.items():
        thief = peer_app.test_client()
        thief.set_cookie(name, value)
        assert thief.get("/account").text == "alice"


def cookie_of(client: FlaskClient, name: str) -> str:
    cookie = client.get_cookie(name)
    assert cookie is not None
    return cookie.value


# --- what lives during the move -------------------------------------------------------


@pytest.fixture
def during() -> Iterator[Flask]:
    app = PAGE.app("During")
    app.testing = True
    with frozen_time(app):
        yield app


@pytest.fixture
def old(peer_app: Flask) -> Callable[..., dict[str, str]]:
    """Return the cookies that Flask-Login gives a user."""

    def log_in_there(name: str, *, box: bool) -> dict[str, str]:
        client = peer_app.test_client()
        log_in(client, name, **({"remember": "on"} if box else {}))
        kept = ("remember_token",) if box else ("session",)
        return {each: cookie_of(client, each) for each in kept}

    return log_in_there


def holding(app: Flask, cookies: dict[str, str]) -> FlaskClient:
    client = opened(app)
    for name, value in cookies.items():
        client.set_cookie(name, value)
    return client


@pytest.mark.slow
@utcnow
def test_old_login_is_exchanged_at_the_first_page(
    during: Flask, old: Callable[..., dict[str, str]]
) -> None:
    for box in (True, False):
        client = holding(during, old("alice", box=box))
        assert client.post("/account").status_code == 401
        assert client.get("/account").text == "alice"
        assert client.get_cookie("remember_token") is None
        kept = client.get_cookie("sessionId")
        assert kept is not None
        assert (kept.max_age is not None) == box
        assert client.post("/account").text == "alice"
        assert client.get("/password").status_code == 401
        client.post("/logout")
        assert client.get("/account").status_code == 401


@pytest.mark.slow
@utcnow
def test_old_login_does_not_come_back(during: Flask, old: Callable[..., dict[str, str]]) -> None:
    for box in (True, False):
        client = holding(during, old("alice", box=box))
        client.post("/logout")
        assert client.get("/account").status_code == 401
        client = holding(during, old("alice", box=box))
        log_in(client, "bob")
        assert client.get("/account").text == "bob"
        client.delete_cookie("sessionId")
        assert client.get("/account").status_code == 401


@pytest.mark.slow
@utcnow
def test_old_login_of_a_user_who_ended_them_is_refused(
    during: Flask, old: Callable[..., dict[str, str]]
) -> None:
    for box in (True, False):
        assert holding(during, old("bob", box=box)).get("/account").status_code == 401


@pytest.mark.slow
@utcnow
def test_old_login_waits_while_the_store_is_down(
    old: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAM_REDIS_URL", "redis://127.0.0.1:1")
    app = PAGE.app("During")
    for box in (True, False):
        client = holding(app, old("alice", box=box))
        answer = client.get("/account")
        assert (answer.status_code, answer.headers.getlist("Set-Cookie")) == (503, [])
    app.extensions["jam"].store.close()


def test_forged_remember_cookie_is_no_login(during: Flask) -> None:
    digest = hmac.new(SECRET.encode(), b"dave", "sha512").hexdigest()
    other = hmac.new(b"another key", b"alice", "sha512").hexdigest()
    for token in (
        "", "|", "alice", "alice|", f"alice|{digest}", f"alice|{other}", "alice|é", "é|é",
        f"dave|{digest}", f"dave|{digest.upper()}", f"mallory|{digest}", "x" * 4000, "alice|\x01",
    ):  # fmt: skip
        client = holding(during, {"remember_token": token})
        assert client.get("/account").status_code == 401
