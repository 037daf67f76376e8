"""The site example in a browser: in and out, the way back, and what other sites try."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from ..cases import each_case
from .drive import Browser, Site, until
from .visits import (
    ALICE,
    BOB,
    COOKIE,
    SECRETS,
    Serve,
    jam_of,
    log_in,
)

# --- in, and out ------------------------------------------------------------------------------


def test_a_visitor_asks_for_a_page_logs_in_and_is_there(browser: Browser, site: Site) -> None:
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


def test_a_login_ended_elsewhere_ends_on_the_next_page_here(browser: Browser, site: Site) -> None:
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


def test_a_confirmed_user_closes_the_account_and_is_out_for_good(
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
