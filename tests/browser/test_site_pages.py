"""The pages of the site example in a browser: devices, admin, register, limits."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
from flask import Flask

from .drive import Browser, Site
from .visits import (
    ALICE,
    APP,
    BOB,
    COOKIE,
    FIREFOX,
    IPHONE,
    UNNAMED,
    Serve,
    another_device,
    jam_of,
    log_in,
    press_labelled,
)

# --- the list of logins -----------------------------------------------------------------------


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


# --- API keys ---------------------------------------------------------------------------------


def test_a_user_makes_a_key_sees_its_use_and_revokes_it(browser: Browser, plain: Site) -> None:
    tab = browser.tab()
    log_in(tab, plain)
    tab.press("API keys")
    tab.press("New key")
    tab.fill("Name", "backup script")
    tab.field("Read your recipes").click()
    tab.press("Make the key")
    tab.wait_for("Copy it now.")
    (key,) = re.findall(r"jam_\w{65}", tab.text)
    tab.press("I have copied it")
    tab.wait_for("backup script")
    assert key not in tab.text
    asked = urllib.request.Request(
        f"http://127.0.0.1:{plain.port}/api/recipes", headers={"Authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(asked, timeout=5) as answer:
        assert "Orange marmalade" in answer.read().decode()
    tab.reload()
    tab.wait_for("just now")
    tab.picture("site-keys")
    press_labelled(tab, "Revoke backup script")
    tab.wait_for("That key is revoked.")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(asked, timeout=5)


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
    for path in ("/dashboard", "/logins/", "/logins/end-all", "/keys/", "/keys/new", "/admin/",
                 "/account/delete"):  # fmt: skip
        tab.go(plain.url(path))
        tab.wait_for("Signed in as alice")
        assert tab.run(UNNAMED) == []
        assert tab.run("return document.querySelectorAll('h1, [role=status]').length") == 2
