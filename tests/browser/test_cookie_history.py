"""Logins in a browser that still holds cookies of earlier settings, of other apps, of an attacker.

A browser keeps one cookie of a name for each domain and path, and sends all that match. Ports do
not count, so other apps on a host run on other ports here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from flask import Flask, Response, g, request

from flask_jam import Jam, JWTExtension, SessionExtension, jwt_required, session_required
from flask_jam.stores.memory import MemoryStore

from ..cases import each_case
from ..conftest import SECRET
from .drive import Browser, Site, Tab

Serve = Callable[..., Site]
OTHER_SECRET = SECRET[::-1]
SESSION, TOKEN = "sessionId", "access_token"
#: The settings of the cookie: none, a domain, a path, both.
HOST: dict[str, Any] = {}
DOMAIN = {"cookie_domain": "site.test"}
PATH = {"cookie_path": "/shop"}
BOTH = DOMAIN | PATH

each_scheme = each_case("name", [SESSION, TOKEN])


def build(name: str, store: MemoryStore, secret: str = SECRET, **settings: Any) -> Flask:
    """Build an app whose logins are in cookies of one name; all its URLs are below /shop.

    Apps that share a store and a secret are one app before and after a change of its settings.
    """
    app = Flask("history")
    # A refresh token that was used is dead at once, as it is for good after refresh_grace.
    jam = Jam({"jwt": {"secret_key": secret, "refresh_grace": 0}, **settings}, store=store)
    auth: Any
    if name == SESSION:
        auth = SessionExtension(jam, app, cookie_name=name)
        app.add_url_rule("/shop/who", "who", session_required(lambda: {"who": g.payload["user"]}))
    else:
        auth = JWTExtension(jam, app, header_name=None, cookie_name=name)
        app.add_url_rule("/shop/who", "who", jwt_required(lambda: {"who": g.payload["user"]}))

    def login() -> dict[str, Any]:
        user = request.args["user"]
        if name == SESSION:
            return auth.login(user, {"user": user})  # type: ignore[no-any-return]
        return auth.login(user, user=user)  # type: ignore[no-any-return]

    for path, act in {
        "/shop/login": login,
        "/shop/auth/refresh": auth.refresh,
        "/shop/auth/logout": lambda: auth.logout() or {},
    }.items():
        app.add_url_rule(path, path, act, methods=["POST"])
    app.add_url_rule("/shop/", "page", lambda: "<!doctype html>page")

    @app.get("/shop/set")
    def set_cookie() -> Response:
        answer = Response("set")
        answer.headers["Set-Cookie"] = request.args["cookie"]
        return answer

    return app


class Visit:
    """A tab on one host of a running app."""

    def __init__(self, tab: Tab, site: Site, name: str, host: str = "site.test") -> None:
        self.tab, self.site, self.name, self.host = tab, site, name, host
        self.store = site.app.extensions["jam"].store
        tab.go(site.url("/shop/", host))

    def redeploy(self, **settings: Any) -> None:
        """Run the app with other settings, at the same address, with the same store."""
        self.site.app = build(self.name, self.store, **settings)

    def post(self, path: str) -> int:
        return int(self.tab.fetch(path, method="POST")["status"])

    def login(self, user: str = "alice") -> None:
        assert self.post(f"/shop/login?user={user}") == 200

    def who(self) -> str | int:
        """Return the user whom the app sees, or the status of its refusal."""
        answer = self.tab.fetch("/shop/who")
        if answer["status"] != 200:
            return int(answer["status"])
        return str(answer["text"]).split('"')[3]

    def sent(self) -> int:
        """Return how many cookies of the name came with the last question who it is."""
        return self.site.requests("/shop/who")[-1].cookies.count(self.name)

    def check_login(self, user: str) -> None:
        """The login works, before and after a refresh, and ends with a logout."""
        self.login(user)
        assert self.who() == user
        assert self.post("/shop/auth/refresh") == 200
        assert self.who() == user
        assert self.post("/shop/auth/logout") == 200
        assert self.who() == 401
        assert self.post("/shop/auth/refresh") == 401

    def credentials(self, user: str) -> dict[str, str]:
        """Return what a login of a user would put into its cookies, by name."""
        jam = self.site.app.extensions["jam"]
        if self.name == SESSION:
            return {self.name: jam.create_session(user, {"user": user})}
        pair = jam.issue_tokens(user, user=user)
        return {self.name: pair["access_token"], f"{self.name}_refresh": pair["refresh_token"]}

    def end(self, credentials: dict[str, str]) -> None:
        jam = self.site.app.extensions["jam"]
        end = jam.end_session if self.name == SESSION else jam.end_login
        assert end(credentials[self.name]) is not None

    def set_cookie(self, name: str, value: str, attributes: str, host: str = "site.test") -> None:
        """Have a host set a cookie: an earlier version of this app, or an attacker beside it."""
        url = self.site.url(f"/shop/set?cookie={quote(f'{name}={value}; {attributes}')}", host)
        self.tab.fetch(url, mode="no-cors", credentials="include")
        assert self.site.requests("/shop/set")[-1].status == 200

    def toss(self, credentials: dict[str, str], path: str = "/") -> None:
        """Have the sibling host plant all cookies of a login on every host of the site."""
        for name, value in credentials.items():
            below = "/shop/auth/refresh" if name.endswith("_refresh") else path
            self.set_cookie(name, value, f"Domain=site.test; Path={below}", "app.site.test")


class Kept(NamedTuple):
    """A cookie of the browser, where :meth:`Browser.cookies` keeps one of each name."""

    name: str
    domain: str
    path: str
    value: str


def kept(browser: Browser, name: str) -> list[Kept]:
    """Return every cookie of a name that the browser holds."""
    told = browser.driver.execute_cdp_cmd("Network.getAllCookies", {})["cookies"]
    rows = (Kept(*(each[key] for key in Kept._fields)) for each in told)
    return sorted(row for row in rows if row.name == name)


@pytest.fixture
def visit(browser: Browser, serve: Serve) -> Callable[..., Visit]:
    """``visit(name, **settings)``: a tab on a new app with a store of its own, over https."""

    def start(
        name: str, host: str = "site.test", *, secret: str = SECRET, **settings: Any
    ) -> Visit:
        site = serve(build(name, MemoryStore(), secret, **settings), https=True)
        return Visit(browser.tab(), site, name, host)

    return start


@each_scheme
@each_case("settings", [HOST, DOMAIN, PATH, BOTH], ids=["host", "domain", "path", "both"])
def test_login_sets_and_logout_clears_the_cookie_of_the_settings(
    browser: Browser, visit: Callable[..., Visit], name: str, settings: dict[str, Any]
) -> None:
    page = visit(name, **settings)
    page.login()
    (cookie,) = kept(browser, name)
    domain = ".site.test" if "cookie_domain" in settings else "site.test"
    assert (cookie.domain, cookie.path) == (domain, settings.get("cookie_path", "/"))
    page.check_login("alice")
    assert browser.cookies() == {}


# --- settings that changed --------------------------------------------------------------------

CHANGES = {
    "domain-set": (HOST, DOMAIN),
    "domain-unset": (DOMAIN, HOST),
    "path-narrowed": (HOST, PATH),
    "path-widened": (PATH, HOST),
}


@each_scheme
@each_case("user", ["alice", "bob"])
@each_case("before, after", list(CHANGES.values()), ids=list(CHANGES))
def test_login_works_after_cookie_settings_changed(
    visit: Callable[..., Visit],
    name: str,
    user: str,
    before: dict[str, Any],
    after: dict[str, Any],
) -> None:
    page = visit(name, **before)
    page.login("alice")
    page.redeploy(**after)
    assert page.who() == "alice"  # nobody is logged out by the change
    page.check_login(user)


@each_scheme
@each_case("before, after", list(CHANGES.values()), ids=list(CHANGES))
def test_refresh_works_after_cookie_settings_changed(
    visit: Callable[..., Visit], name: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    page = visit(name, **before)
    page.login()
    page.redeploy(**after)
    assert page.post("/shop/auth/refresh") == 200
    assert page.who() == "alice"
    assert page.post("/shop/auth/refresh") == 200
    assert page.who() == "alice"
    assert page.post("/shop/auth/logout") == 200
    assert page.who() == 401


@each_scheme
def test_login_clears_the_host_only_twin_that_was_ours(
    browser: Browser, visit: Callable[..., Visit], name: str
) -> None:
    page = visit(name)
    page.login()
    page.redeploy(**DOMAIN)
    page.login()
    assert page.who() == "alice"
    assert page.sent() == 1
    assert [row.domain for row in kept(browser, name)] == [".site.test"]


@each_scheme
@each_case("before, after", list(CHANGES.values()), ids=list(CHANGES))
def test_login_works_beside_a_dead_cookie_of_old_settings(
    visit: Callable[..., Visit], name: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    page = visit(name, **before)
    page.login()
    page.site.app.extensions["jam"].revoke_subject("alice")
    page.redeploy(**after)
    assert page.who() == 401
    page.check_login("bob")


@each_scheme
@each_case(
    "users, alive",
    [("alice alice alice", True), ("alice bob carol", True), ("bob bob bob", False)],
    ids=["one-user", "three-users", "dead"],
)
@each_case("now", [HOST, BOTH], ids=["host", "both"])
def test_login_works_beside_three_old_cookies(
    visit: Callable[..., Visit], name: str, users: str, alive: bool, now: dict[str, Any]
) -> None:
    page = visit(name, **now)
    old = ["Path=/shop", "Domain=site.test; Path=/"]
    old.append("Domain=site.test; Path=/shop" if now == HOST else "Path=/")
    for user, attributes in zip(users.split(), old, strict=True):
        values = page.credentials(user)
        page.set_cookie(name, values[name], attributes)
        if not alive:
            page.end(values)
    page.who()
    assert page.sent() == 3
    page.check_login("alice")


# --- other apps ------------------------------------------------------------------------------


@each_scheme
def test_login_works_on_a_host_below_that_of_production(
    browser: Browser, visit: Callable[..., Visit], name: str
) -> None:
    production = visit(name, **DOMAIN, secret=OTHER_SECRET)
    production.login("alice")
    (theirs,) = kept(browser, name)
    staging = visit(name, "app.site.test")
    assert staging.who() == 401
    assert staging.sent() == 1
    staging.check_login("bob")
    assert kept(browser, name) == [theirs]
    assert production.who() == "alice"
    assert production.post("/shop/auth/refresh") == 200


@each_scheme
@each_case(
    "theirs, ours", [(HOST, PATH), (PATH, HOST), (DOMAIN, PATH), (BOTH, DOMAIN), (HOST, DOMAIN)],
    ids=["they-at-root", "they-below", "they-at-domain", "they-below-domain", "they-host-only"],
)  # fmt: skip
def test_cookie_of_another_app_on_the_host_is_never_cleared(
    browser: Browser,
    visit: Callable[..., Visit],
    name: str,
    theirs: dict[str, Any],
    ours: dict[str, Any],
) -> None:
    other = visit(name, **theirs, secret=OTHER_SECRET)
    other.login("alice")
    (cookie,) = kept(browser, name)
    page = visit(name, **ours)
    assert page.who() == 401
    page.tab.go(page.site.url("/shop/who"))  # a page may clear what is ours and dead
    page.tab.go(page.site.url("/shop/"))
    assert kept(browser, name) == [cookie]
    page.login("bob")
    assert cookie in kept(browser, name)
    assert page.who() == "bob"
    assert page.sent() == 2
    assert page.post("/shop/auth/refresh") == 200
    assert page.who() == "bob"
    assert page.post("/shop/auth/logout") == 200
    assert page.who() == 401
    assert kept(browser, name) == [cookie]
    assert other.who() == "alice"


# --- a sibling host --------------------------------------------------------------------------


@each_scheme
@each_case("path", ["/", "/shop"])
@each_case("settings", [HOST, PATH], ids=["at-root", "below"])
def test_live_cookie_of_an_attacker_beside_ours_is_refused(
    visit: Callable[..., Visit], name: str, path: str, settings: dict[str, Any]
) -> None:
    page = visit(name, **settings)
    page.login("alice")
    evil = page.credentials("mallory")
    page.toss(evil, path)
    assert page.who() == 400
    assert page.sent() == 2
    assert page.post("/shop/auth/refresh") == 400


@each_scheme
@each_case("path", ["/", "/shop"])
@each_case("settings", [HOST, PATH], ids=["at-root", "below"])
def test_dead_cookie_of_an_attacker_beside_ours_is_ignored(
    visit: Callable[..., Visit], name: str, path: str, settings: dict[str, Any]
) -> None:
    page = visit(name, **settings)
    page.login("alice")
    evil = page.credentials("mallory")
    page.end(evil)
    page.toss(evil, path)
    assert page.who() == "alice"
    assert page.sent() == 2
    assert page.post("/shop/auth/refresh") == 200
    assert page.who() == "alice"
    page.check_login("alice")


@each_scheme
@each_case("first", [True, False], ids=["before-login", "after-login"])
def test_login_ends_what_an_attacker_has_set(
    visit: Callable[..., Visit], name: str, first: bool
) -> None:
    page = visit(name)
    if not first:
        page.login("alice")
    evil = page.credentials("mallory")
    page.toss(evil)
    assert page.who() == ("mallory" if first else 400)  # why a name should have a prefix
    page.check_login("alice")


@each_scheme
def test_logout_ends_what_an_attacker_has_set(visit: Callable[..., Visit], name: str) -> None:
    page = visit(name)
    page.login("alice")
    page.toss(page.credentials("mallory"))
    assert page.post("/shop/auth/logout") == 200
    assert page.who() == 401


@each_scheme
@each_case("alive", [True, False], ids=["alive", "dead"])
def test_more_than_four_cookies_of_the_name_are_refused(
    visit: Callable[..., Visit], name: str, alive: bool
) -> None:
    page = visit(name)
    page.login("alice")
    for path in ("/", "/shop", "/shop/", "/shop/who"):
        evil = page.credentials("alice")
        page.set_cookie(name, evil[name], f"Domain=site.test; Path={path}", "app.site.test")
        if not alive:
            page.end(evil)
    assert page.who() == 400
    assert page.sent() == 5
