"""The site example in a browser: pages, forms, the login form and the way back."""

from __future__ import annotations

import importlib
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.security import generate_password_hash

from flask_jam import Jam

from ..cases import each_case
from ..conftest import SECRET
from .drive import Browser, Site, Tab, until

ROOT = Path(__file__).parent.parent.parent
COOKIE = "site_session"
SECRETS = ("Orange marmalade", "Signed in as alice")
PASSWORDS = {"alice": "wonderland", "bob": "builder"}
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"

Serve = Callable[..., Site]


@pytest.fixture(scope="module")
def make_app() -> Iterator[Callable[..., Flask]]:
    cheap = partial(generate_password_hash, method="pbkdf2:sha256:1")  # there are many logins here
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        patch.setattr("werkzeug.security.generate_password_hash", cheap)
        create_app = importlib.import_module("examples.site").create_app

    def make(**config: Any) -> Flask:
        return create_app({"JAM_JWT_SECRET_KEY": SECRET, **config})  # type: ignore[no-any-return]

    yield make
    for name in [name for name in sys.modules if name.split(".")[0] == "examples"]:
        del sys.modules[name]


@pytest.fixture
def plain(serve: Serve, make_app: Callable[..., Flask]) -> Site:
    """Over plain http, as in development."""
    return serve(make_app(JAM_COOKIE_SECURE=False))


@pytest.fixture
def safe(serve: Serve, make_app: Callable[..., Flask]) -> Site:
    """Over https, with the settings as they are."""
    return serve(make_app(), https=True)


@pytest.fixture(params=["http", "https"])
def site(request: pytest.FixtureRequest) -> Site:
    """Over http a browser sends no Sec-Fetch-Site: there it is Origin that counts."""
    return request.getfixturevalue({"http": "plain", "https": "safe"}[request.param])  # type: ignore[no-any-return]


def log_in(tab: Tab, site: Site, name: str = "alice", path: str = "/login") -> None:
    tab.go(site.url(path))
    tab.wait_for("Password")
    tab.fill("Name", name)
    tab.fill("Password", PASSWORDS[name])
    tab.press("Log in")
    tab.wait_for(f"Signed in as {name}")


def another_device(site: Site, agent: str, name: str = "alice") -> None:
    """A login of somebody else's browser."""
    form = urllib.parse.urlencode({"name": name, "password": PASSWORDS[name]}).encode()
    address = f"http://127.0.0.1:{site.port}/login"
    asked = urllib.request.Request(address, form, {"User-Agent": agent})
    opener = urllib.request.build_opener(_NoRedirect)
    opener.open(asked, timeout=5).close()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def http_error_303(self, req: Any, fp: Any, *rest: Any) -> Any:
        return fp


def jam_of(site: Site) -> Jam:
    return site.app.extensions["jam"]  # type: ignore[no-any-return]


# --- in, and out ------------------------------------------------------------------------------


def test_somebody_asks_for_a_page_logs_in_and_is_there(browser: Browser, site: Site) -> None:
    tab = browser.tab(site.url("/sessions?from=mail"))
    tab.wait_for("Log in")
    assert tab.url == site.url("/login?next=/sessions%3Ffrom%3Dmail")
    tab.picture("site-login")
    tab.fill("Name", "alice")
    tab.fill("Password", "wrong")
    tab.press("Log in")
    tab.wait_for("Wrong name or password")
    assert len(tab.console()) == 1  # that the form came back with a 401
    tab.fill("Password", "wonderland")
    tab.press("Log in")
    tab.wait_for("Your sessions")
    assert tab.url == site.url("/sessions?from=mail")
    tab.reload()
    tab.wait_for("This device")
    tab.go(site.url("/"))
    tab.wait_for("Signed in as alice")
    assert tab.console() == []


def test_the_cookie_is_as_safe_as_the_browser_can_make_it(browser: Browser, safe: Site) -> None:
    log_in(browser.tab(), safe)
    (cookie,) = browser.cookies().values()
    assert (cookie.name, cookie.domain, cookie.path) == (COOKIE, "site.test", "/")
    assert (cookie.http_only, cookie.secure, cookie.same_site) == (True, True, "Lax")
    assert cookie.max_age is not None
    assert abs(cookie.max_age - 30 * 86400) < 60


def test_no_script_can_read_the_cookie(browser: Browser, plain: Site) -> None:
    tab = browser.tab()
    log_in(tab, plain)
    assert tab.run("return document.cookie") == ""


def test_a_logout_in_one_tab_is_seen_in_the_other(browser: Browser, site: Site) -> None:
    one = browser.tab()
    log_in(one, site)
    two = browser.tab(site.url("/dashboard"))
    two.wait_for("Orange marmalade")
    one.press("Log out")
    one.wait_for("Log in to your recipes")
    two.reload()
    two.wait_for("Password")
    assert two.url == site.url("/login?next=/dashboard")
    assert browser.cookies() == {}


def test_the_back_button_shows_nothing_private_after_a_logout(browser: Browser, site: Site) -> None:
    tab = browser.tab()
    log_in(tab, site)
    for path in ("/dashboard", "/sessions", "/admin/"):
        tab.go(site.url(path))
        tab.wait_for("Signed in as alice")
    tab.press("Log out")
    tab.wait_for("Log in to your recipes")
    for _ in range(4):
        tab.back()
        until(lambda: tab.run("return document.readyState") == "complete", "a page")
        assert not any(secret in tab.text for secret in SECRETS)


def test_a_login_that_ended_elsewhere_ends_on_the_next_page_and_a_new_one_works(
    browser: Browser, site: Site
) -> None:
    tab = browser.tab()
    log_in(tab, site)
    jam_of(site).clear_sessions("alice")
    assert COOKIE in browser.cookies()
    tab.go(site.url("/dashboard"))
    tab.wait_for("Password")
    log_in(tab, site)
    tab.go(site.url("/dashboard"))
    assert tab.url == site.url("/dashboard")


# --- step-up ------------------------------------------------------------------------------------


def test_closing_the_account_asks_for_the_password_once_more(
    browser: Browser, serve: Serve, make_app: Callable[..., Flask]
) -> None:
    site = serve(make_app(JAM_COOKIE_SECURE=False, STEP_UP_SECONDS=0.001))
    tab = browser.tab()
    log_in(tab, site)
    tab.press("Close my account")
    tab.wait_for("Confirm it is you")
    assert tab.url == site.url("/login?next=/account/delete")
    assert "Signed in as alice" in tab.text
    tab.picture("site-confirm")


def test_a_confirmed_person_closes_the_account_and_is_out_for_good(
    browser: Browser, serve: Serve, make_app: Callable[..., Flask]
) -> None:
    site = serve(make_app(JAM_COOKIE_SECURE=False, STEP_UP_SECONDS=2))
    tab = browser.tab()
    log_in(tab, site)
    other = browser.tab(site.url("/dashboard"))
    auth_time = jam_of(site).clock()
    until(lambda: jam_of(site).clock() > auth_time + 2.1, "the login is old")
    tab.press("Close my account")
    tab.wait_for("Confirm it is you")
    tab.fill("Password", "wonderland")
    tab.press("Confirm")
    tab.wait_for("Close your account?")
    tab.press("Close my account")
    tab.wait_for("Your account is closed")
    assert browser.cookies() == {}
    other.reload()
    other.wait_for("Password")
    other.fill("Name", "alice")
    other.fill("Password", "wonderland")
    other.press("Log in")
    other.wait_for("Wrong name or password")


# --- one's sessions -------------------------------------------------------------------------------


def test_people_see_their_devices_and_end_them(browser: Browser, plain: Site) -> None:
    for agent in (IPHONE, FIREFOX, FIREFOX):
        another_device(plain, agent)
    tab = browser.tab()
    log_in(tab, plain)
    tab.picture("site-dashboard")
    tab.press("Sessions")
    tab.wait_for("Safari on iPhone")
    tab.picture("site-sessions")
    assert tab.text.count("Firefox on Windows") == 2
    assert tab.text.count("This device") == 1
    (phone,) = tab.run(
        "return [...document.querySelectorAll('button')]"
        ".filter(e => e.ariaLabel === 'End the session of Safari on iPhone')"
    )
    phone.click()
    tab.wait_without("Safari on iPhone")
    tab.press("Log out everywhere else")
    tab.wait_for("You are signed in nowhere else")
    assert len(jam_of(plain).list_sessions("alice")) == 1
    tab.reload()
    tab.wait_for("Signed in as alice")


def test_an_admin_signs_somebody_out_and_a_reader_may_not(browser: Browser, plain: Site) -> None:
    tab = browser.tab()
    log_in(tab, plain, "bob")
    tab.go(plain.url("/admin/"))
    tab.wait_for("Not for you")
    another_device(plain, IPHONE, "bob")
    browser.fresh()
    tab = browser.tab()
    log_in(tab, plain)
    tab.press("Admin")
    tab.wait_for("People")
    tab.picture("site-admin")
    assert len(jam_of(plain).list_sessions("bob")) == 2
    (button,) = tab.run(
        "return [...document.querySelectorAll('button')]"
        ".filter(e => e.ariaLabel === 'End all sessions of bob')"
    )
    button.click()
    until(lambda: jam_of(plain).list_sessions("bob") == [], "bob is out")
    tab.wait_for("Signed in as alice")


# --- other sites ----------------------------------------------------------------------------

FORM = """
const form = document.body.appendChild(document.createElement('form'));
form.method = 'post'; form.action = arguments[0];
for (const [name, value] of Object.entries(arguments[1])) {
  const field = form.appendChild(document.createElement('input'));
  field.name = name; field.value = value;
}
form.submit();
"""


@pytest.fixture
def evil(serve: Serve, request: pytest.FixtureRequest) -> Callable[[Site], Site]:
    """A page of somebody else, over the same scheme as the site."""

    def start(site: Site) -> Site:
        app = Flask("evil")
        app.add_url_rule("/", "page", lambda: "<!doctype html><title>cats</title><body>Cats!")
        app.add_url_rule("/favicon.ico", "icon", lambda: ("", 204))
        return serve(app, https=site.scheme == "https")

    return start


@each_case("host", ["evil.test", "app.site.test"])
@each_case("path", ["/logout", "/sessions/end-others", "/account/delete"])
def test_a_form_on_another_site_does_nothing(
    browser: Browser, site: Site, evil: Callable[[Site], Site], host: str, path: str
) -> None:
    tab = browser.tab()
    log_in(tab, site)
    before = jam_of(site).list_sessions("alice")
    bait = browser.tab(evil(site).url("/", host))
    bait.wait_for("Cats!")
    bait.run(FORM, site.url(path), {})
    bait.wait_without("Cats!")
    (forged,) = [seen for seen in site.requests(path) if seen.method == "POST"]
    # From another host of the site the cookie comes along: SameSite does not help there.
    assert (COOKIE in forged.cookies) == (host == "app.site.test")
    assert forged.status == (403 if path == "/logout" or forged.cookies else 303)
    assert [each.handle for each in jam_of(site).list_sessions("alice")] == [
        each.handle for each in before
    ]
    tab.reload()
    tab.wait_for("Signed in as alice")


def test_nobody_is_logged_in_by_a_form_on_another_site(
    browser: Browser, site: Site, evil: Callable[[Site], Site]
) -> None:
    bait = browser.tab(evil(site).url("/", "evil.test"))
    bait.wait_for("Cats!")
    bait.run(FORM, site.url("/login"), {"name": "bob", "password": "builder"})
    bait.wait_without("Cats!")
    (forged,) = [seen for seen in site.requests("/login") if seen.method == "POST"]
    assert forged.status == 403
    assert browser.cookies() == {}
    assert jam_of(site).list_sessions("bob") == []


def test_a_next_that_names_another_site_leads_home(browser: Browser, site: Site) -> None:
    tab = browser.tab()
    log_in(tab, site, path="/login?next=//evil.test/")
    assert tab.url == site.url("/dashboard")
