"""The single-page app in a browser: what its people do, and what others would like to do."""

from __future__ import annotations

import importlib
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from ..cases import each_case
from ..conftest import SECRET
from .drive import NAMES, Browser, Seen, Site, Tab, until

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SIGNED_IN, SIGNED_OUT = "Signed in as alice", "Password"
# The paths that each cookie is for, and goes to.
COOKIES = {
    "access_token": "/",
    "access_token_refresh": "/auth/refresh",
    "access_token_logout": "/auth/logout",
}
OTHERS = NAMES[1:]

Serve = Callable[..., Site]


@pytest.fixture(scope="module")
def make_app() -> Iterator[Callable[..., Flask]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        create_app = importlib.import_module("spa").create_app

    def make(**config: Any) -> Flask:
        return create_app({"JAM_JWT_SECRET_KEY": SECRET, **config})  # type: ignore[no-any-return]

    yield make
    for name in [name for name in sys.modules if name.split(".")[0] == "spa"]:
        del sys.modules[name]


@pytest.fixture
def plain(serve: Serve, make_app: Callable[..., Flask]) -> Site:
    """The app over plain http, as in development."""
    return serve(make_app(JAM_COOKIE_SECURE=False))


@pytest.fixture(params=["http", "https"])
def site(request: pytest.FixtureRequest, serve: Serve, make_app: Callable[..., Flask]) -> Site:
    """Over http a browser sends no Sec-Fetch-Site: there it is Origin that counts."""
    https = request.param == "https"
    return serve(make_app(JAM_COOKIE_SECURE=https), https)


def log_in(tab: Tab, site: Site) -> None:
    """Without the form, which costs half a second."""
    tab.go(site.url("/static/icon.svg"))
    tab.begin(
        "const body = new URLSearchParams({name: 'alice', password: 'wonderland'});"
        "return (await fetch('/auth/login', {method: 'POST', body})).status"
    )
    assert tab.finish() == 200
    tab.go(site.url("/"))
    tab.wait_for(SIGNED_IN)


def log_in_by_hand(tab: Tab, password: str = "wonderland", then: str = SIGNED_IN) -> None:
    tab.wait_for("Log in")
    tab.fill("Name", "alice")
    tab.fill("Password", password)
    tab.press("Log in")
    tab.wait_for(then)


def replayed(site: Site, path: str, cookies: dict[str, str], method: str = "GET") -> int:
    """The status for who has a copy of the cookies, and is no browser."""
    header = "; ".join(f"{name}={value}" for name, value in cookies.items())
    headers = {"Cookie": header, "Host": site.url("")[len("http://") :]}
    address = f"http://127.0.0.1:{site.port}{path}"
    try:
        with urllib.request.urlopen(
            urllib.request.Request(address, method=method, headers=headers), timeout=5
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


# --- at home ---------------------------------------------------------------------------------


def test_somebody_logs_in_writes_a_note_and_stays_in(browser: Browser, plain: Site) -> None:
    tab = browser.tab(plain.url("/"))
    tab.wait_for("Log in")
    tab.picture("spa-login")
    tab.picture("spa-login-dark", dark=True)
    log_in_by_hand(tab)
    for note in ("Croquet at five, bring a flamingo", "Ask the Hatter about the riddle"):
        tab.fill("New note", note)
        tab.press("Add note")
        tab.wait_for(note)
        until(lambda: tab.field("New note").get_property("value") == "", "an empty field")
    tab.picture("spa-notes")
    tab.picture("spa-notes-dark", dark=True)

    tab.reload()
    tab.wait_for(SIGNED_IN)
    tab.wait_for("flamingo")
    another = browser.tab(plain.url("/"))
    another.wait_for("riddle")
    assert SIGNED_OUT not in another.text


def test_a_wrong_password_is_told_and_lets_nobody_in(browser: Browser, plain: Site) -> None:
    tab = browser.tab(plain.url("/"))
    log_in_by_hand(tab, "looking-glass", "Wrong name or password.")
    assert browser.cookies() == {}
    assert SIGNED_OUT in tab.text


def test_somebody_whose_browser_keeps_no_cookies_is_told_so(
    browser: Browser, serve: Serve, make_app: Callable[..., Flask]
) -> None:
    tab = browser.tab(serve(make_app(JAM_COOKIE_SECURE=True)).url("/"))
    log_in_by_hand(tab, then="they need https")
    assert browser.cookies() == {}


def test_no_script_can_read_a_token(browser: Browser, plain: Site) -> None:
    tab = browser.tab()
    log_in(tab, plain)
    kept = {cookie.name: cookie for cookie in browser.cookies().values()}
    assert {name: cookie.path for name, cookie in kept.items()} == COOKIES
    assert all(cookie.http_only for cookie in kept.values())
    reachable = (
        "return [document.cookie, JSON.stringify({...localStorage}),"
        "JSON.stringify({...sessionStorage}), location.href, document.documentElement.outerHTML]"
    )
    seen = tab.run(reachable)
    assert seen[:3] == ["", "{}", "{}"]
    said = [tab.fetch(path, method="POST")["text"] for path in ("/auth/refresh", "/auth/logout")]
    assert not any(c.value in text for c in kept.values() for text in [*seen, *said])


def test_the_page_breaks_no_rule_of_its_own_policy(browser: Browser, plain: Site) -> None:
    tab = browser.tab()
    log_in(tab, plain)
    tab.press("Log out")
    tab.wait_for(SIGNED_OUT)
    assert [line for line in tab.console() if "Content Security Policy" in line] == []
    tab.run(
        "const bad = document.createElement('script');"
        "bad.textContent = 'document.title = \"taken\"'; document.body.append(bad)"
    )
    assert tab.run("return document.title") == "Notes"
    assert any("Content Security Policy" in line for line in tab.console())


# --- time goes by ----------------------------------------------------------------------------


def test_an_expired_access_token_is_refreshed_without_a_word(
    browser: Browser, serve: Serve, make_app: Callable[..., Flask]
) -> None:
    site = serve(make_app(JAM_COOKIE_SECURE=False, JAM_JWT_EXPIRE=2))
    tab = browser.tab()
    log_in(tab, site)
    old = browser.cookies()["access_token"].value
    until(lambda: "access_token" not in browser.cookies(), "the end of the access cookie")
    assert replayed(site, "/api/notes", {"access_token": old}) == 401

    tab.fill("New note", "Still here")
    tab.press("Add note")
    tab.wait_for("Still here")

    assert [seen.status for seen in site.requests("/auth/refresh")] == [200]
    assert SIGNED_OUT not in tab.text


def test_one_tab_that_asks_much_at_once_refreshes_once(browser: Browser, plain: Site) -> None:
    tab = browser.tab()
    log_in(tab, plain)
    browser.drop_cookie("access_token", plain.url("/"))
    # All three are refused before the refresh is answered.
    plain.gather("/api/notes", 3)
    tab.begin("return Promise.all(['a', 'b', 'c'].map(q => api('/api/notes?' + q)))")
    assert [answer["name"] for answer in tab.finish()] == ["alice"] * 3
    assert len(plain.requests("/auth/refresh")) == 1


def test_two_tabs_that_refresh_at_once_both_go_on(browser: Browser, plain: Site) -> None:
    tabs = [browser.tab(), browser.tab()]
    log_in(tabs[0], plain)
    tabs[1].go(plain.url("/"))
    tabs[1].wait_for(SIGNED_IN)
    plain.gather("/auth/refresh", 2)  # neither is answered before both have sent the old token
    for round in range(3):
        browser.drop_cookie("access_token", plain.url("/"))
        for tab in tabs:
            tab.begin("return (await api('/api/notes?' + args[0])).name", round)
        assert [tab.finish() for tab in tabs] == ["alice", "alice"]
    sent = plain.requests("/auth/refresh")
    assert [seen.status for seen in sent] == [200] * 6
    for first, second in zip(sent[::2], sent[1::2], strict=True):
        assert first.headers["cookie"] == second.headers["cookie"]
    for tab in tabs:
        tab.reload()
        tab.wait_for(SIGNED_IN)
    assert browser.cookies().keys() == COOKIES.keys()


# --- the end ---------------------------------------------------------------------------------


def test_a_logout_in_one_tab_is_seen_in_the_other(browser: Browser, plain: Site) -> None:
    tabs = [browser.tab(), browser.tab()]
    log_in(tabs[0], plain)
    tabs[1].go(plain.url("/"))
    tabs[1].wait_for(SIGNED_IN)
    tabs[0].press("Log out")
    for tab in tabs:
        tab.wait_for("You are signed out.")
        assert tab.run("return document.querySelector('header').innerText.trim()") == "Notes"
        assert tab.run("return who.textContent + list.textContent") == ""
    assert plain.requests("/auth/logout")[0].status == 204

    log_in_by_hand(tabs[0])  # and a login, too
    tabs[1].wait_for(SIGNED_IN)


def test_a_tab_that_heard_of_no_logout_is_told_by_the_server(browser: Browser, plain: Site) -> None:
    tabs = [browser.tab(), browser.tab()]
    log_in(tabs[0], plain)
    tabs[1].go(plain.url("/"))
    tabs[1].wait_for(SIGNED_IN)
    assert tabs[0].fetch("/auth/logout", method="POST")["status"] == 204  # without a message
    assert SIGNED_IN in tabs[1].text
    tabs[1].fill("New note", "Too late")
    tabs[1].press("Add note")
    tabs[1].wait_for("You are signed out.")
    assert SIGNED_IN not in tabs[1].text
    log_in_by_hand(tabs[1])
    assert "Too late" not in tabs[1].text


def test_after_a_logout_no_cookie_is_left_and_no_copy_of_one_works(
    browser: Browser, plain: Site
) -> None:
    tab = browser.tab()
    log_in(tab, plain)
    copies = {name: cookie.value for name, cookie in browser.cookies().items()}
    assert replayed(plain, "/api/notes", copies) == 200
    tab.press("Log out")
    tab.wait_for("You are signed out.")
    assert browser.cookies() == {}
    assert replayed(plain, "/api/notes", copies) == 401
    assert replayed(plain, "/auth/refresh", copies, "POST") == 401


def test_back_after_a_logout_shows_nothing_of_the_notes(browser: Browser, plain: Site) -> None:
    tab = browser.tab()
    log_in(tab, plain)
    tab.fill("New note", "Nobody may see this")
    tab.press("Add note")
    tab.wait_for("Nobody may see this")
    tab.go(plain.url("/static/icon.svg"))
    other = browser.tab(plain.url("/"))
    other.wait_for(SIGNED_IN)
    other.press("Log out")
    other.wait_for("You are signed out.")
    tab.back()
    # Looked at from the first moment on.
    shown = until(lambda: SIGNED_OUT in tab.text and [tab.text], "the login form")
    assert "Nobody" not in shown[0]
    assert "Nobody" not in tab.run("return document.documentElement.textContent")


def test_a_page_that_is_kept_for_the_back_button_is_kept_empty(
    browser: Browser, plain: Site
) -> None:
    tab = browser.tab()
    log_in(tab, plain)
    tab.fill("New note", "Nobody may see this")
    event = "dispatchEvent(new PageTransitionEvent(arguments[0], {persisted: true}))"
    tab.run(event, "pagehide")  # no driver says whether the browser will keep a page
    assert tab.text.strip() == "Notes"
    assert tab.run("return document.querySelector('textarea').value + who.textContent") == ""
    tab.run(event, "pageshow")
    tab.wait_for(SIGNED_IN)


def test_a_server_that_fails_is_no_logout(browser: Browser, plain: Site) -> None:
    tab = browser.tab()
    log_in(tab, plain)
    plain.down = True
    tab.fill("New note", "Kept for later")
    tab.press("Add note")
    tab.wait_for("Try again.")
    tab.press("Log out")
    tab.wait_for("Try again.")
    assert SIGNED_IN in tab.text
    assert tab.field("New note").get_property("value") == "Kept for later"
    assert browser.cookies().keys() == COOKIES.keys()


# --- another site ----------------------------------------------------------------------------


_EVIL = """<!doctype html><body>here<script>
const FIELDS = {name: "bob", password: "builder", text: "planted"};

function post(url, target) {
  const form = document.createElement("form");
  [form.method, form.action, form.target] = ["post", url, target];
  for (const [name, value] of Object.entries(FIELDS)) {
    const input = document.createElement("input");
    [input.name, input.value] = [name, value];
    form.append(input);
  }
  document.body.append(form);
  form.submit();
}

async function load(kind, url) {
  const element = document.createElement(kind);
  element.name = url;
  document.body.append(element);
  await new Promise(done => {
    element.onload = element.onerror = done;
    kind === "iframe" ? post(url, url) : element.src = url;
  });
}

const send = (url, mode) =>
  fetch(url, {mode, method: "POST", credentials: "include", body: new URLSearchParams(FIELDS)})
    .then(answer => answer.status, () => "refused");

// What a page can have a browser do to another origin; and what its script gets to see of that.
const attack = url =>
  Promise.all([load("iframe", url), load("img", url), send(url, "cors"), send(url, "no-cors")]);
</script>"""


@pytest.fixture
def elsewhere(serve: Serve) -> Callable[[Site], Site]:
    """A server for another origin, in the scheme of the one that it attacks."""
    app = Flask("elsewhere")
    app.add_url_rule("/", "page", lambda: _EVIL)
    return lambda site: serve(app, site.scheme == "https")


def statuses(requests: list[Seen], below: str) -> set[int]:
    return {each.status for each in requests if each.path.startswith(below)}


@each_case("host", OTHERS)
def test_another_origin_can_have_nothing_done(
    browser: Browser, site: Site, elsewhere: Callable[[Site], Site], host: str
) -> None:
    """From a sibling host the cookies do come along: the check is all that there is."""
    tab = browser.tab()
    log_in(tab, site)
    before, seen = browser.cookies(), len(site.seen)
    evil = browser.tab(elsewhere(site).url("/", host))
    urls = [site.url(p) for p in ("/api/notes", "/auth/logout", "/auth/refresh", "/auth/login")]
    evil.begin("return Promise.all(args[0].map(attack))", urls)
    assert evil.finish() == [[None, None, "refused", 0]] * 4

    arrived = site.seen[seen:]
    posts = [each for each in arrived if each.method == "POST"]
    looks = [each for each in arrived if each.method == "GET"]
    comes_along = host == "app.site.test"  # which SameSite takes for the same site
    sent = {name for each in posts for name in each.cookies}
    assert sent == (set(COOKIES) if comes_along else set())
    assert len(posts) == 4 * 3
    assert statuses(posts, "/auth/") == {403}
    assert statuses(posts, "/api/") == ({403} if comes_along else {401})
    assert statuses(looks, "/auth/") == {405}
    assert browser.cookies() == before
    tab.reload()
    tab.wait_for(SIGNED_IN)
    assert "planted" not in tab.text


def test_nobody_is_logged_in_from_elsewhere(
    browser: Browser, site: Site, elsewhere: Callable[[Site], Site]
) -> None:
    evil, server = browser.tab(), elsewhere(site)
    for host in OTHERS:
        evil.go(server.url("/", host))
        evil.begin("return attack(args[0])", site.url("/auth/login"))
        evil.finish()
        evil.run("post(arguments[0], '_top')", site.url("/auth/login"))
        until(lambda: evil.url == site.url("/auth/login"), "the answer in the tab itself")
    posts = [each for each in site.requests("/auth/login") if each.method == "POST"]
    assert [each.status for each in posts] == [403] * 8
    assert browser.cookies() == {}


@each_case("path", ["/api/notes", "/auth/logout"])
def test_samesite_none_cookies_rely_on_the_cross_site_check(
    browser: Browser,
    serve: Serve,
    make_app: Callable[..., Flask],
    elsewhere: Callable[[Site], Site],
    path: str,
) -> None:
    site = serve(make_app(JAM_COOKIE_SAMESITE="None"), https=True)
    tab = browser.tab()
    log_in(tab, site)
    evil = browser.tab(elsewhere(site).url("/", "evil.test"))
    evil.run("post(arguments[0], '_top')", site.url(path))
    until(lambda: evil.url == site.url(path), "the answer in the tab itself")
    [forged] = [each for each in site.requests(path) if each.method == "POST"]
    assert (forged.headers["sec-fetch-site"], forged.status) == ("cross-site", 403)
    assert "access_token" in forged.cookies
    tab.reload()
    tab.wait_for(SIGNED_IN)
    assert "planted" not in tab.text


def test_no_other_page_can_show_this_one_in_a_frame(
    browser: Browser, plain: Site, elsewhere: Callable[[Site], Site]
) -> None:
    evil = browser.tab(elsewhere(plain).url("/", "evil.test"))
    evil.begin("return load('iframe', args[0])", plain.url("/"))
    evil.finish()
    assert any("frame-ancestors" in line for line in evil.console())
