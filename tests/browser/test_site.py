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
ALICE, BOB = "1", "2"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)
APP = "PantryApp/2.1 (Android 15)"
#: Controls that are shown and that a screen reader could not name.
UNNAMED = """
return [...document.querySelectorAll('a, button, input:not([type=hidden])')]
  .filter(e => e.checkVisibility())
  .filter(e => !(e.ariaLabel || e.innerText?.trim() || e.labels?.[0]?.innerText.trim()))
  .map(e => e.outerHTML);
"""
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
        secure = {"SESSION_COOKIE_SECURE": config.get("JAM_COOKIE_SECURE", True)}
        settings = {"JAM_JWT_SECRET_KEY": SECRET, "RATELIMIT_ENABLED": False}
        return create_app({**settings, **secure, **config})  # type: ignore[no-any-return]

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


def log_in(
    tab: Tab, site: Site, name: str = "alice", path: str = "/login", *, remember: bool = False
) -> None:
    tab.go(site.url(path))
    tab.wait_for("Password")
    tab.fill("Name", name)
    if remember:
        tab.field("Keep me signed in").click()
    tab.fill("Password", PASSWORDS[name])
    tab.press("Log in")
    tab.wait_for(f"Signed in as {name}")


def another_device(site: Site, agent: str, name: str = "alice", path: str = "/login") -> None:
    """Log in with another browser, or with the app."""
    form = urllib.parse.urlencode({"name": name, "password": PASSWORDS[name]}).encode()
    address = f"http://127.0.0.1:{site.port}{path}"
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
    tab = browser.tab(site.url("/logins/?from=mail"))
    tab.wait_for("Please enter your password to go on.")
    assert tab.url == site.url("/login?next=/logins/%3Ffrom%3Dmail")
    tab.picture("site-login")
    tab.fill("Name", "alice")
    tab.fill("Password", "wrong")
    tab.press("Log in")
    tab.wait_for("Wrong name or password")
    assert len(tab.console()) == 1  # that the form came back with a 401
    tab.fill("Password", "wonderland")
    tab.press("Log in")
    tab.wait_for("Your devices")
    assert tab.url == site.url("/logins/?from=mail")
    tab.reload()
    tab.wait_for("This device")
    tab.go(site.url("/"))
    tab.wait_for("Signed in as alice")
    assert tab.console() == []


def test_the_cookie_is_as_safe_as_the_browser_can_make_it(browser: Browser, safe: Site) -> None:
    log_in(browser.tab(), safe, remember=True)
    cookie = browser.cookies()[COOKIE]
    assert list(browser.cookies()) == [COOKIE]  # the message is shown, and its cookie is gone
    assert (cookie.name, cookie.domain, cookie.path) == (COOKIE, "site.test", "/")
    assert (cookie.http_only, cookie.secure, cookie.same_site) == (True, True, "Lax")
    assert cookie.max_age is not None
    assert abs(cookie.max_age - 365 * 86400) < 60


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
    assert COOKIE not in browser.cookies()


def test_the_back_button_shows_nothing_private_after_a_logout(browser: Browser, site: Site) -> None:
    tab = browser.tab()
    log_in(tab, site)
    for path in ("/dashboard", "/logins/", "/admin/"):
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
    jam_of(site).end_logins(ALICE)
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
    tab.wait_for("Thank you. You can go on now.")
    tab.picture("site-close")
    tab.press("Close my account")
    tab.wait_for("Your account is closed")
    assert COOKIE not in browser.cookies()
    other.reload()
    other.wait_for("Password")
    other.fill("Name", "alice")
    other.fill("Password", "wonderland")
    other.press("Log in")
    other.wait_for("Wrong name or password")


# --- the list of logins -----------------------------------------------------------------------


def press_labelled(tab: Tab, label: str) -> None:
    """Press the only control that a screen reader calls so."""
    (control,) = tab.run(
        "return [...document.querySelectorAll('button, a')]"
        ".filter(e => e.ariaLabel === arguments[0])", label,
    )  # fmt: skip
    control.click()


def test_users_see_browsers_and_apps_and_end_them(browser: Browser, plain: Site) -> None:
    for agent in (IPHONE, FIREFOX):
        another_device(plain, agent)
    another_device(plain, APP, path="/api/login")
    tab = browser.tab()
    log_in(tab, plain)
    tab.wait_for("Welcome, alice.")
    tab.picture("site-dashboard")
    tab.press("Devices")
    tab.wait_for("Safari on iPhone")
    assert tab.text.count("Firefox on Windows") == 1
    assert tab.text.count("PantryApp/2.1 App") == 1
    assert tab.text.count("This device") == 1
    tab.picture("site-logins")
    for name in ("Safari on iPhone", "PantryApp/2.1"):
        press_labelled(tab, f"Sign out {name}")
        tab.wait_without(name)
        tab.wait_for("That device is signed out.")
    assert len(jam_of(plain).list_logins(ALICE)) == 2
    tab.reload()
    tab.wait_without("That device is signed out.")


def test_everywhere_but_here_keeps_this_browser(browser: Browser, plain: Site) -> None:
    another_device(plain, FIREFOX)
    tab = browser.tab()
    log_in(tab, plain)
    tab.press("Devices")
    tab.press("Log out everywhere")
    tab.wait_for("Log out everywhere?")
    tab.picture("site-everywhere")
    tab.press("Cancel")
    tab.wait_for("Firefox on Windows")
    tab.press("Log out everywhere")
    tab.press("Everywhere but here")
    tab.wait_for("You are signed out everywhere else.")
    assert "Firefox on Windows" not in tab.text
    assert len(jam_of(plain).list_logins(ALICE)) == 1


def test_log_out_everywhere_ends_this_browser_as_well(browser: Browser, site: Site) -> None:
    tab = browser.tab()
    log_in(tab, site)
    other = browser.tab(site.url("/dashboard"))
    tab.go(site.url("/logins/end-all"))
    tab.press("Log out everywhere")
    tab.wait_for("You are signed out everywhere.")
    assert COOKIE not in browser.cookies()
    assert jam_of(site).list_logins(ALICE) == []
    other.reload()
    other.wait_for("Keep me signed in")


def test_an_admin_signs_a_user_out_and_a_reader_may_not(browser: Browser, plain: Site) -> None:
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
    assert len(jam_of(plain).list_logins(BOB)) == 2
    press_labelled(tab, "Sign bob out")
    tab.press("Sign bob out everywhere")
    tab.wait_for("bob is signed out everywhere.")
    assert jam_of(plain).list_logins(BOB) == []
    tab.wait_for("Signed in as alice")


# --- forms ------------------------------------------------------------------------------------


def test_only_a_remembered_login_survives_the_browser(browser: Browser, site: Site) -> None:
    tab = browser.tab()
    log_in(tab, site)
    assert browser.cookies()[COOKIE].max_age is None  # until the browser is closed
    tab.press("Log out")
    tab.wait_for("You are signed out.")
    log_in(tab, site, remember=True)
    assert browser.cookies()[COOKIE].max_age is not None


def test_a_visitor_registers_after_a_mistake(browser: Browser, site: Site) -> None:
    tab = browser.tab(site.url("/"))
    tab.press("Register")
    tab.fill("Name", "Bob")
    tab.fill("Password", "three wise words")
    tab.fill("Password, once more", "three wise words")
    tab.press("Register")
    tab.wait_for("This name is taken.")
    assert tab.run("return document.activeElement.id") == "name"
    tab.picture("site-register")
    tab.fill("Name", "Carol")
    tab.fill("Password", "three wise words")
    tab.fill("Password, once more", "three wise words")
    tab.press("Register")
    tab.wait_for("Your account is ready. Welcome, carol.")
    assert tab.url == site.url("/dashboard")
    tab.press("Log out")
    tab.wait_for("You are signed out.")
    tab.go(site.url("/login"))
    tab.fill("Name", "carol")
    tab.fill("Password", "three wise words")
    tab.press("Log in")
    tab.wait_for("Welcome, carol.")


def test_a_guesser_sees_how_long_to_wait(
    browser: Browser, serve: Serve, make_app: Callable[..., Flask]
) -> None:
    site = serve(make_app(JAM_COOKIE_SECURE=False, RATELIMIT_ENABLED=True))
    tab = browser.tab(site.url("/login"))
    for _ in range(5):
        tab.fill("Name", "bob")
        tab.fill("Password", "guess")
        tab.press("Log in")
        tab.wait_for("Wrong name or password.")
    tab.fill("Password", "builder")
    tab.press("Log in")
    tab.wait_for("Too many tries")
    assert "Try again in" in tab.text
    tab.picture("site-throttled")
    assert COOKIE not in browser.cookies()


def test_every_control_has_a_name_and_a_visible_focus(browser: Browser, plain: Site) -> None:
    tab = browser.tab()
    for path in ("/login", "/register"):
        tab.go(plain.url(path))
        assert tab.run(UNNAMED) == []
        tab.driver.switch_to.active_element.send_keys("\ue004")  # the tab key
        style = "return getComputedStyle(document.activeElement).outlineStyle"
        assert tab.run(style) == "solid"
    log_in(tab, plain)
    for path in ("/dashboard", "/logins/", "/logins/end-all", "/admin/", "/account/delete"):
        tab.go(plain.url(path))
        tab.wait_for("Signed in as alice")
        assert tab.run(UNNAMED) == []
        assert tab.run("return document.querySelectorAll('h1, [role=status]').length") == 2


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
@each_case("path", ["/logout", "/logins/end-all", "/account/delete"])
def test_a_form_on_another_site_does_nothing(
    browser: Browser, site: Site, evil: Callable[[Site], Site], host: str, path: str
) -> None:
    tab = browser.tab()
    log_in(tab, site)
    before = jam_of(site).list_logins(ALICE)
    bait = browser.tab(evil(site).url("/", host))
    bait.wait_for("Cats!")
    bait.run(FORM, site.url(path), {})
    bait.wait_without("Cats!")
    (forged,) = [seen for seen in site.requests(path) if seen.method == "POST"]
    # From another host of the site the cookie comes along: SameSite does not help there.
    assert (COOKIE in forged.cookies) == (host == "app.site.test")
    assert forged.status == (403 if path == "/logout" or COOKIE in forged.cookies else 303)
    assert [each.handle for each in jam_of(site).list_logins(ALICE)] == [
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
    assert COOKIE not in browser.cookies()
    assert jam_of(site).list_logins(BOB) == []


def test_a_next_that_names_another_site_leads_home(browser: Browser, site: Site) -> None:
    tab = browser.tab()
    log_in(tab, site, path="/login?next=//evil.test/")
    assert tab.url == site.url("/dashboard")
