"""Where a user of the site example is signed in: the list, the admin's page, the closed account."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from flask_jam import Jam

from ..cases import each_case
from ..conftest import SECRET, Clock
from .visitors import (
    EDGE,
    FIREFOX,
    IPHONE,
    SITE,
    app_is_in,
    ending_buttons,
    is_in,
    log_in,
    messages,
    phone_app,
    sent_to_login,
    signed_in,
)

# --- the list ---------------------------------------------------------------------


def test_the_list_tells_devices_apart(site: Flask, clock: Clock) -> None:
    phone = signed_in(site, "bob", IPHONE)
    clock.tick(600)
    desk = signed_in(site, "bob", EDGE)
    page = desk.get("/logins/").text
    assert "Safari on iPhone" in page
    assert "Edge on Windows" in page
    assert page.index("Edge on Windows") < page.index("This device") < page.index("on iPhone")
    assert page.count("This device") == 1
    assert "127.0.0.1" in page
    assert "15 Jan 2027, 08:00 UTC" in page
    assert "10 minutes ago" in page
    assert "Edge on Windows" in phone.get("/logins/").text
    assert "Edge on Windows" not in signed_in(site, "alice").get("/logins/").text


@each_case(
    ("agent", "words"),
    [
        ("", "Unknown device"),
        ("curl/8.14.1", "curl/8.14.1"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Chrome/140.0.0.0 Safari/537.36",
         "Chrome on macOS"),
        ("Mozilla/5.0 (Linux; Android 15) Chrome/140.0.0.0 Mobile Safari/537.36",
         "Chrome on Android"),
        ("<script>alert(1)</script>", "&lt;script&gt;"),
    ],
)  # fmt: skip
def test_a_device_is_named_in_a_few_words(site: Flask, agent: str, words: str) -> None:
    page = signed_in(site, "bob", agent).get("/logins/").text
    assert words in page
    assert "<script" not in page


@each_case(
    ("seconds", "words"),
    [(0, "just now"), (300, "5 minutes ago"), (3 * 3600, "3 hours ago"), (50 * 3600, "2 days ago")],
)
def test_last_seen_is_told_in_a_few_words(
    create_site: Any, make_jam: Callable[..., Jam], clock: Clock, seconds: float, words: str
) -> None:
    site = create_site(SITE, make_jam(session={"idle": 5 * 86400}))
    signed_in(site, "bob", IPHONE)
    clock.tick(seconds)
    rows = signed_in(site, "bob", EDGE).get("/logins/").text.split("<li>")
    assert [words in row for row in rows if "Safari on iPhone" in row] == [True]


def test_a_button_ends_one_other_login(site: Flask) -> None:
    lost, kept, here = (signed_in(site, "bob", agent) for agent in (IPHONE, EDGE, FIREFOX))
    rows = here.get("/logins/").text.split("<li>")
    row = next(row for row in rows if "Safari on iPhone" in row)
    action = re.search(r'action="([^"]+)"', row)
    assert action is not None
    response = here.post(action[1])
    assert (response.status_code, response.location) == (303, "/logins/")
    assert [is_in(lost), is_in(kept), is_in(here)] == [False, True, True]
    assert here.post(action[1]).location == "/logins/"


def test_a_message_follows_each_end_of_a_login(site: Flask) -> None:
    signed_in(site, "bob", IPHONE)
    here = signed_in(site, "bob")
    (button,) = ending_buttons(here)
    for text in ("That device is signed out.", "That device was signed out already."):
        assert messages(here.post(button, follow_redirects=True).text) == [text]
    assert messages(here.get("/logins/").text) == []


def test_browsers_and_apps_are_in_one_list(site: Flask) -> None:
    pair, here = phone_app(site, "bob"), signed_in(site, "bob")
    phone_app(site, "alice")
    (row,) = [row for row in here.get("/logins/").text.split("<li>") if "PantryApp/2.1" in row]
    assert '<span class="badge">App</span>' in row
    assert app_is_in(site, pair)
    (button,) = ending_buttons(here)
    here.post(button)
    assert not app_is_in(site, pair)
    refreshed = site.test_client().post("/api/refresh", data=pair)
    assert refreshed.status_code == 401
    assert "PantryApp" not in here.get("/logins/").text


def test_a_login_of_another_user_cannot_be_ended(site: Flask) -> None:
    signed_in(site, "alice", IPHONE)
    alice, bob = signed_in(site, "alice"), signed_in(site, "bob")
    (button,) = ending_buttons(alice)
    bob.post(button)
    assert ending_buttons(alice) == [button]


# --- log out everywhere ----------------------------------------------------------------


def test_log_out_everywhere_asks_first_and_changes_nothing(site: Flask) -> None:
    phone, here = signed_in(site, "bob", IPHONE), signed_in(site, "bob")
    assert 'href="/logins/end-all"' in here.get("/logins/").text
    page = here.get("/logins/end-all").text
    assert "Log out everywhere?" in page
    assert '<form class="actions" method="post">' in page
    assert is_in(phone)
    assert is_in(here)


def test_log_out_everywhere_ends_browsers_and_apps_and_here(site: Flask) -> None:
    pair, phone = phone_app(site, "bob"), signed_in(site, "bob", IPHONE, remember=True)
    here, alice = signed_in(site, "bob"), signed_in(site, "alice")
    response = here.post("/logins/end-all")
    assert (response.status_code, response.location) == (303, "/")
    assert response.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert here.get_cookie("site_session") is None
    assert messages(here.get("/").text)[-1] == "You are signed out everywhere."
    assert not any(map(is_in, (here, phone)))
    assert not app_is_in(site, pair)
    assert is_in(alice)
    assert is_in(signed_in(site, "bob"))


def test_everywhere_but_here_leaves_this_browser(site: Flask) -> None:
    pair, phone = phone_app(site, "bob"), signed_in(site, "bob", IPHONE)
    here, alice = signed_in(site, "bob"), signed_in(site, "alice")
    assert 'formaction="/logins/end-others"' in here.get("/logins/end-all").text
    page = here.post("/logins/end-others", follow_redirects=True).text
    assert messages(page) == ["You are signed out everywhere else."]
    assert not is_in(phone)
    assert not app_is_in(site, pair)
    assert is_in(here)
    assert is_in(alice)
    assert ending_buttons(here) == []


# --- the admin's page ------------------------------------------------------------------


def test_an_admin_confirms_and_ends_all_logins_of_a_user(site: Flask) -> None:
    bobs = [signed_in(site, "bob", agent) for agent in (IPHONE, EDGE)]
    pair, alice = phone_app(site, "bob"), signed_in(site, "alice")
    page = alice.get("/admin/").text
    assert 'href="/admin/people/2/end-logins"' in page
    assert "<dd>3</dd>" in page
    assert "Sign bob out?" in alice.get("/admin/people/2/end-logins").text
    assert all(map(is_in, bobs))
    page = alice.post("/admin/people/2/end-logins", follow_redirects=True).text
    assert messages(page) == ["bob is signed out everywhere."]
    assert not any(map(is_in, bobs))
    assert not app_is_in(site, pair)
    assert is_in(alice)
    assert "<dd>3</dd>" not in page
    assert is_in(signed_in(site, "bob"))


def test_the_admins_page_is_not_for_a_reader(site: Flask) -> None:
    alice, bob = signed_in(site, "alice"), signed_in(site, "bob")
    path = "/admin/people/1/end-logins"
    for response in (bob.get("/admin/"), bob.get(path), bob.post(path)):
        assert response.status_code == 403
        assert "Not for you" in response.text
        assert "Set-Cookie" not in response.headers
    assert is_in(alice)
    assert is_in(bob)


def test_a_role_counts_from_the_moment_it_changes(site: Flask) -> None:
    bob = signed_in(site, "bob")
    assert bob.get("/admin/").status_code == 403
    site.extensions["people"].get("2").role = "admin"
    assert bob.get("/admin/").status_code == 200


@each_case("method", ["GET", "POST"])
def test_an_unknown_user_has_no_logins_to_end(site: Flask, method: str) -> None:
    response = signed_in(site, "alice").open("/admin/people/9/end-logins", method=method)
    assert response.status_code == 404
    assert "Nothing here" in response.text


# --- step-up ---------------------------------------------------------------------------


def test_closing_the_account_asks_for_a_recent_login(site: Flask, clock: Clock) -> None:
    client = signed_in(site, "bob")
    assert "Close your account?" in client.get("/account/delete").text
    clock.tick(61)
    stale = client.get("/account/delete")
    assert sent_to_login(stale, "/account/delete")
    assert is_in(client)
    form = client.get(stale.location).text
    assert "Signed in as <strong>bob</strong>. Confirm it is you." in form
    assert re.findall(r'<label for="(\w+)">', form) == ["password"]
    name = re.search(r'<input name="name" value="bob"[^>]* hidden>', form)
    assert name is not None
    assert log_in(client, "bob", stale.location).location == "/account/delete"
    assert "Close your account?" in client.get("/account/delete").text


def test_the_button_that_closes_the_account_asks_for_it_as_well(site: Flask, clock: Clock) -> None:
    client = signed_in(site, "bob")
    clock.tick(61)
    stale = client.post("/account/delete")
    assert stale.status_code == 303
    assert sent_to_login(stale, "/account/delete")
    assert is_in(client)
    assert is_in(signed_in(site, "bob"))


def test_a_wrong_password_confirms_nothing_and_logs_nobody_out(site: Flask, clock: Clock) -> None:
    client = signed_in(site, "bob")
    clock.tick(61)
    wrong = client.post("/login?next=/account/delete", data={"name": "bob", "password": "no"})
    assert wrong.status_code == 401
    assert "Wrong password." in wrong.text
    assert "Confirm it is you." in wrong.text
    assert is_in(client)
    assert sent_to_login(client.get("/account/delete"), "/account/delete")


def test_a_confirmed_login_replaces_the_session(site: Flask, clock: Clock) -> None:
    client = signed_in(site, "bob")
    before = client.get_cookie("site_session")
    clock.tick(61)
    log_in(client, "bob")
    after = client.get_cookie("site_session")
    assert before is not None
    assert after is not None
    assert before.value != after.value
    assert ending_buttons(client) == []


def test_the_time_since_the_login_is_set_by_the_config(
    create_site: Any, site_jam: Jam, clock: Clock
) -> None:
    site = create_site({**SITE, "STEP_UP_SECONDS": 2.0}, site_jam)
    client = signed_in(site, "bob")
    clock.tick(1)
    assert client.get("/account/delete").status_code == 200
    clock.tick(2)
    assert sent_to_login(client.get("/account/delete"), "/account/delete")


def test_the_environment_sets_it_too(create_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_STEP_UP_SECONDS", "0.001")
    site = create_site({**SITE, "JAM_JWT_SECRET_KEY": SECRET})
    client = signed_in(site, "bob")
    time.sleep(0.01)
    assert sent_to_login(client.get("/account/delete"), "/account/delete")


def test_a_closed_account_is_out_everywhere_and_stays_out(site: Flask) -> None:
    client, phone = signed_in(site, "bob"), signed_in(site, "bob", IPHONE)
    pair = phone_app(site, "bob")
    response = client.post("/account/delete")
    assert (response.status_code, response.location) == (303, "/account/goodbye")
    assert response.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert "Your account is closed" in client.get(response.location).text
    assert client.get_cookie("site_session") is None
    assert not is_in(client)
    assert not is_in(phone)
    assert not app_is_in(site, pair)
    form = {"name": "bob", "password": "builder"}
    for path in ("/login", "/api/login"):
        assert client.post(path, data=form).status_code == 401
    assert "Account closed" in signed_in(site, "alice").get("/admin/").text


def test_a_user_whom_the_database_closes_is_out_at_once(site: Flask) -> None:
    client, pair = signed_in(site, "bob", remember=True), phone_app(site, "bob")
    people = site.extensions["people"]
    people.close(people.get("2"))
    assert not is_in(client)
    assert not app_is_in(site, pair)
    assert site.test_client().post("/api/refresh", data=pair).status_code == 401
