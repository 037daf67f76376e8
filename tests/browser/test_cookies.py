"""The cookies as a browser keeps and sends them, and what a sibling host can do to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask, Response, g, request

from flask_jam import Jam, JWTExtension, SessionExtension, jwt_required, session_required

from ..cases import each_case
from ..conftest import SECRET
from .drive import Browser, Site, Tab

Serve = Callable[..., Site]
PATHS = ("/", "/token", "/session", "/auth/login", "/auth/refresh", "/auth/logout", "/auth/x")


def build(session_name: str, token_name: str = "access_token", **settings: Any) -> Flask:
    """Both schemes in cookies; ``/toss`` is what a host beside this one may do."""
    app = Flask("cookies")
    jam = Jam({"jwt": {"secret_key": SECRET}, **settings})
    jwt = JWTExtension(jam, app, header_name=None, cookie_name=token_name)
    session = SessionExtension(jam, app, cookie_name=session_name)
    app.add_url_rule("/", "page", lambda: "<!doctype html>page")
    for path, act in {
        "/auth/login": lambda: jwt.login("alice"),
        "/auth/refresh": jwt.refresh,
        "/auth/logout": lambda: jwt.logout() or {},
        "/in": lambda: session.login("alice", {"user": "alice"}),
        "/out": lambda: session.logout() or {},
    }.items():
        app.add_url_rule(path, path, act, methods=["POST"])
    app.add_url_rule("/token", "token", jwt_required(lambda: {"who": g.payload["sub"]}))
    app.add_url_rule("/session", "session", session_required(lambda: {"who": g.payload["user"]}))

    @app.get("/toss")
    def toss() -> Response:
        answer = Response("tossed")
        answer.headers["Set-Cookie"] = request.args["cookie"]
        return answer

    return app


@pytest.fixture
def start(browser: Browser, serve: Serve) -> Callable[..., tuple[Tab, Site]]:
    """``start("sessionId")``: a tab on the running app, over https."""

    def on(*names: str, **settings: Any) -> tuple[Tab, Site]:
        site = serve(build(*names, **settings), https=True)
        return browser.tab(site.url("/")), site

    return on


def post(tab: Tab, path: str) -> None:
    assert tab.fetch(path, method="POST")["status"] == 200


def test_every_cookie_has_its_flags_and_the_life_of_its_credential(
    browser: Browser, start: Callable[..., tuple[Tab, Site]]
) -> None:
    lives = {"expire": 600, "refresh_idle": 7200}
    tab, _ = start("__Host-site", jwt={"secret_key": SECRET, **lives}, session={"absolute": 90_000})
    post(tab, "/auth/login")
    post(tab, "/in")
    kept = browser.cookies()
    assert {name: cookie.path for name, cookie in kept.items()} == {
        "access_token": "/",
        "access_token_refresh": "/auth/refresh",
        "access_token_logout": "/auth/logout",
        "__Host-site": "/",
    }
    for cookie in kept.values():
        assert (cookie.http_only, cookie.secure, cookie.same_site) == (True, True, "Lax")
        assert cookie.domain == "site.test"  # without a dot: this host alone
    for name, life in {"access_token": 600, "access_token_refresh": 7200,
                       "access_token_logout": 7200, "__Host-site": 90_000}.items():  # fmt: skip
        left = kept[name].max_age
        assert left is not None
        assert life - 10 < left <= life


def test_the_refresh_token_goes_where_it_is_needed_and_nowhere_else(
    start: Callable[..., tuple[Tab, Site]],
) -> None:
    tab, site = start("sessionId")
    post(tab, "/auth/login")
    for path in PATHS:
        tab.fetch(path)  # none of these does anything; each brings what the browser sends there
    arrived = {path: site.requests(path)[-1].cookies for path in PATHS}
    assert arrived.pop("/auth/refresh") == ["access_token_refresh", "access_token"]
    assert arrived.pop("/auth/logout") == ["access_token_logout", "access_token"]
    assert arrived == {path: ["access_token"] for path in arrived}


def test_a_refresh_replaces_all_cookies_and_a_logout_clears_them(
    browser: Browser, start: Callable[..., tuple[Tab, Site]]
) -> None:
    tab, _ = start("sessionId")
    post(tab, "/auth/login")
    first = browser.cookies()
    post(tab, "/auth/refresh")
    second = browser.cookies()
    assert first.keys() == second.keys()
    assert all(first[name].value != second[name].value for name in first)
    assert tab.fetch("/token")["status"] == 200
    post(tab, "/auth/logout")
    assert browser.cookies() == {}
    assert tab.fetch("/token")["status"] == 401


@each_case("name", ["__Host-site", "__Secure-site", "sessionId"])
def test_a_session_cookie_is_kept_sent_and_cleared(
    browser: Browser, start: Callable[..., tuple[Tab, Site]], name: str
) -> None:
    tab, site = start(name)
    post(tab, "/in")
    assert list(browser.cookies()) == [name]
    assert tab.fetch("/session")["status"] == 200
    assert site.requests("/session")[-1].cookies == [name]
    post(tab, "/out")
    assert browser.cookies() == {}
    assert tab.fetch("/session")["status"] == 401


def test_a_prefixed_token_cookie_is_kept_sent_and_cleared(
    browser: Browser, start: Callable[..., tuple[Tab, Site]]
) -> None:
    tab, _ = start("sessionId", "__Host-token")
    post(tab, "/auth/login")
    names = ["__Host-token", "__Secure-token_logout", "__Secure-token_refresh"]
    assert sorted(browser.cookies()) == names
    assert tab.fetch("/token")["status"] == 200
    post(tab, "/auth/refresh")
    post(tab, "/auth/logout")
    assert browser.cookies() == {}


def test_a_partitioned_cookie_is_kept_sent_and_cleared(
    browser: Browser, start: Callable[..., tuple[Tab, Site]]
) -> None:
    tab, _ = start("sessionId", cookie_partitioned=True, cookie_samesite="None")
    post(tab, "/in")
    assert browser.cookies()["sessionId"].partitioned
    assert tab.fetch("/session")["status"] == 200
    post(tab, "/out")
    assert browser.cookies() == {}


# --- a host beside this one ------------------------------------------------------------------


def toss(tab: Tab, site: Site, cookie: str) -> None:
    """``app.site.test`` sets a cookie, for all of ``site.test`` if it says so."""
    url = site.url(f"/toss?cookie={quote(cookie)}", "app.site.test")
    tab.fetch(url, mode="no-cors", credentials="include")
    assert site.requests("/toss")[-1].status == 200


def session_of_mallory(site: Site) -> str:
    return str(site.app.extensions["jam"].create_session("mallory", {"user": "mallory"}))


@each_case("path", ["/", "/session"])
def test_two_session_cookies_let_nobody_in(
    start: Callable[..., tuple[Tab, Site]], path: str
) -> None:
    tab, site = start("sessionId")
    post(tab, "/in")
    toss(tab, site, f"sessionId={session_of_mallory(site)}; Domain=site.test; Path={path}")
    answer = tab.fetch("/session")
    assert site.requests("/session")[-1].cookies == ["sessionId"] * 2
    assert answer["status"] == 400
    assert "who" not in answer["text"]


def test_a_session_that_was_tossed_in_first_is_dead_after_the_login(
    start: Callable[..., tuple[Tab, Site]],
) -> None:
    tab, site = start("sessionId")
    planted = session_of_mallory(site)
    toss(tab, site, f"sessionId={planted}; Domain=site.test; Path=/")
    assert "mallory" in tab.fetch("/session")["text"]  # why a name should have a prefix
    post(tab, "/in")
    answer = tab.fetch("/session")
    assert answer["status"] == 200
    assert "mallory" not in answer["text"]
    assert site.app.extensions["jam"].get_session(planted) is None


@each_case(
    ("name", "path", "method"),
    [("access_token", "/token", "GET"), ("access_token_refresh", "/auth/refresh", "POST")],
)
def test_two_token_cookies_let_nobody_in(
    start: Callable[..., tuple[Tab, Site]], name: str, path: str, method: str
) -> None:
    tab, site = start("sessionId")
    pair = site.app.extensions["jam"].issue_tokens("mallory")
    planted = pair["refresh_token" if method == "POST" else "access_token"]
    post(tab, "/auth/login")
    toss(tab, site, f"{name}={planted}; Domain=site.test; Path={path}")
    answer = tab.fetch(path, method=method)
    assert site.requests(path)[-1].cookies.count(name) == 2
    assert answer["status"] == 400


@each_case(
    ("name", "alone", "beside_ours"),
    [
        ('"sessionId"', 400, 400), ("'sessionId'", 400, 400),  # some parsers take off the quotes
        ("SESSIONID", 401, 200), ("sessionId%3D", 401, 200), ("$sessionId", 401, 200),
    ],
)  # fmt: skip
def test_a_name_that_only_looks_like_ours_lets_nobody_in(
    start: Callable[..., tuple[Tab, Site]],
    name: str,
    alone: int,
    beside_ours: int,
) -> None:
    tab, site = start("sessionId")
    toss(tab, site, f"{name}={session_of_mallory(site)}; Domain=site.test; Path=/")
    assert tab.fetch("/session")["status"] == alone
    assert site.requests("/session")[-1].cookies == [name]
    post(tab, "/in")
    answer = tab.fetch("/session")
    assert answer["status"] == beside_ours
    assert "mallory" not in answer["text"]


def test_nobody_can_toss_in_a_host_cookie(
    browser: Browser, start: Callable[..., tuple[Tab, Site]]
) -> None:
    tab, site = start("__Host-site")
    evil = session_of_mallory(site)
    for cookie in (
        f"__Host-site={evil}; Secure; Path=/; Domain=site.test",
        f"__host-site={evil}; Secure; Path=/; Domain=site.test",
        f"__Host-site={evil}; Secure; Path=/session",
        f"=__Host-site={evil}; Secure; Path=/; Domain=site.test",
        f"__Host-site ={evil}; Secure; Path=/; Domain=site.test",
    ):
        toss(tab, site, cookie)
    assert browser.cookies() == {}
    toss(tab, site, f"__Host-site={evil}; Secure; Path=/")
    assert browser.cookies()["__Host-site"].domain == "app.site.test"  # there, and not here
    assert tab.fetch("/session")["status"] == 401
    post(tab, "/in")
    assert tab.fetch("/session")["text"] == '{"who":"alice"}\n'
    assert site.requests("/session")[-1].cookies == ["__Host-site"]
