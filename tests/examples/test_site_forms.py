"""The forms of the site example: register, remember me, limits on guessing, and their messages."""

from __future__ import annotations

import logging
import re
import threading
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_jam import Jam

from ..cases import each_case
from .visitors import (
    FROM_ELSEWHERE,
    SITE,
    app_is_in,
    browser,
    cookie_line,
    is_in,
    log_in,
    messages,
    phone_app,
    signed_in,
)

DAY = 86400
WORDS = "three wise words"


def register(client: FlaskClient, name: str = "carol", **changes: str) -> TestResponse:
    form = {"name": name, "password": WORDS, "again": WORDS, **changes}
    return client.post("/register", data=form)


# --- register --------------------------------------------------------------------------


def test_a_visitor_registers_and_is_signed_in(site: Flask) -> None:
    client = browser(site)
    response = register(client, " Carol ")
    assert (response.status_code, response.location) == (303, "/dashboard")
    page = client.get(response.location).text
    assert "Signed in as <strong>carol</strong>" in page
    assert messages(page) == ["Your account is ready. Welcome, carol."]
    client.post("/logout")
    form = {"name": "CAROL", "password": WORDS}
    assert client.post("/login", data=form).location == "/dashboard"
    assert "Max-Age" not in cookie_line(response)


@each_case(
    ("field", "value", "text"),
    [
        ("name", "", "3 to 30 letters"),
        ("name", "ab", "3 to 30 letters"),
        ("name", "a" * 31, "3 to 30 letters"),
        ("name", "bob builder", "3 to 30 letters"),
        ("name", "b\u043eb", "3 to 30 letters"),  # a Cyrillic letter that looks like an o
        ("name", "bob\x00", "3 to 30 letters"),
        ("name", "<b>bob</b>", "3 to 30 letters"),
        ("name", "Alice", "This name is taken"),
        ("password", "short", "at least 8 characters"),
        ("password", "x" * 257, "at most 256"),
        ("password", "Password", "easy to guess"),
        ("password", "carol-2026", "easy to guess"),
        ("again", "three wise worms", "not the same password"),
        ("again", "", "not the same password"),
    ],
)
def test_a_mistake_is_told_beside_its_field(site: Flask, field: str, value: str, text: str) -> None:
    client = browser(site)
    changes = {field: value, **({"again": value} if field == "password" else {})}
    response = register(client, **changes)
    assert response.status_code == 422
    (wrong,) = re.findall(rf'<p class="wrong" id="{field}-wrong">(.*?)</p>', response.text)
    assert text in wrong
    (control,) = re.findall(rf'<input id="{field}".*?>', response.text, re.DOTALL)
    assert f'aria-describedby="{field}-hint {field}-wrong"' in control
    assert "autofocus" in control
    assert response.text.count("aria-invalid") == 1
    assert "<b>" not in response.text
    assert WORDS not in response.text
    assert client.get_cookie("site_session") is None
    assert len(site.extensions["people"].all()) == 2


def test_every_mistake_of_a_form_is_told_at_once(site: Flask) -> None:
    page = browser(site).post("/register", data={}).text
    assert page.count("aria-invalid") == 2
    assert page.count("autofocus") == 1


def test_a_closed_account_keeps_its_name(site: Flask) -> None:
    signed_in(site, "bob").post("/account/delete")
    assert "This name is taken" in register(browser(site), "bob").text


def test_of_two_who_register_a_name_at_once_one_gets_it(site: Flask) -> None:
    people, users = site.extensions["people"], []
    together = threading.Barrier(8)

    def add() -> None:
        together.wait(10)
        users.append(people.add("carol", WORDS))

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(user is None for user in users) == [False] + [True] * 7
    assert [user.name for user in people.all()] == ["alice", "bob", "carol"]


def test_another_site_registers_nobody(site: Flask) -> None:
    form = {"name": "carol", "password": WORDS, "again": WORDS}
    response = browser(site).post("/register", data=form, headers=FROM_ELSEWHERE)
    assert response.status_code == 403
    assert "site_session" not in str(response.headers.getlist("Set-Cookie"))
    assert len(site.extensions["people"].all()) == 2


def test_a_user_who_is_signed_in_has_no_form_to_register(site: Flask) -> None:
    client = signed_in(site, "bob")
    assert client.get("/register").location == "/dashboard"
    assert register(client).location == "/dashboard"
    assert len(site.extensions["people"].all()) == 2


# --- remember me -----------------------------------------------------------------------


def test_only_a_ticked_box_keeps_the_user_signed_in(site: Flask, clock: Any) -> None:
    assert 'name="remember" type="checkbox">' in browser(site).get("/login").text
    kept, not_kept = browser(site), browser(site)
    assert "Max-Age=31536000" in cookie_line(log_in(kept, "bob", remember=True))
    assert "Max-Age" not in cookie_line(log_in(not_kept, "bob"))
    clock.tick(20 * DAY)
    assert is_in(kept)
    assert not is_in(not_kept)


def test_a_wrong_password_leaves_the_box_as_it_was(site: Flask) -> None:
    form = {"name": "bob", "password": "no"}
    page = browser(site).post("/login", data={**form, "remember": "on"}).text
    assert 'type="checkbox" checked>' in page
    assert 'type="checkbox">' in browser(site).post("/login", data=form).text


@each_case("remember", [True, False])
def test_a_confirmed_login_is_remembered_as_before(site: Flask, clock: Any, remember: bool) -> None:
    client = signed_in(site, "bob", remember=remember)
    clock.tick(61)
    form = client.get(client.get("/account/delete").location).text
    fields = dict(re.findall(r'<input (?:type="hidden" )?name="(\w+)" value="(\w+)"', form))
    assert ("remember" in fields) is remember
    response = client.post("/login?next=/account/delete", data={**fields, "password": "builder"})
    assert response.location == "/account/delete"
    assert ("Max-Age=31536000" in cookie_line(response)) is remember


def test_a_remembered_login_is_in_the_list_and_can_be_ended(site: Flask) -> None:
    stolen, owner = signed_in(site, "bob", remember=True), signed_in(site, "bob")
    (button,) = re.findall(r'action="(/logins/[^"]+/end)"', owner.get("/logins/").text)
    owner.post(button)
    assert not is_in(stolen)


# --- messages --------------------------------------------------------------------------


def test_a_message_is_shown_after_each_action_once(site: Flask) -> None:
    client = browser(site)
    refused = client.get("/dashboard")
    assert messages(client.get(refused.location).text) == ["Please enter your password to go on."]
    for act, expected in (
        (lambda: log_in(client, "bob"), "Welcome, bob."),
        (lambda: log_in(client, "bob"), "Thank you. You can go on now."),
        (lambda: log_in(client, "alice"), "Welcome, alice."),
        (lambda: client.post("/logout"), "You are signed out."),
    ):
        response = act()
        assert messages(client.get(response.location).text) == [expected]
        assert messages(client.get("/").text) == []


def test_an_error_page_leaves_the_message_to_the_next_page(site: Flask) -> None:
    client = browser(site)
    log_in(client, "bob")
    assert "Welcome, bob." not in client.get("/nowhere").text
    assert messages(client.get("/dashboard").text) == ["Welcome, bob."]


def test_a_forged_message_is_not_shown(site: Flask) -> None:
    client = browser(site)
    client.set_cookie("session", "eyJfZmxhc2hlcyI6W3siIHQiOlsibWVzc2FnZSIsIkhhIl19XX0.x.y")
    assert messages(client.get("/").text) == []


# --- limits ----------------------------------------------------------------------------


@pytest.fixture
def limited(create_site: Any, site_jam: Jam) -> Flask:
    return create_site({**SITE, "RATELIMIT_ENABLED": True}, site_jam)  # type: ignore[no-any-return]


def guess(site: Flask, name: str, address: str = "192.0.2.1", path: str = "/login") -> TestResponse:
    form = {"name": name, "password": "x"}
    return browser(site).post(path, data=form, environ_base={"REMOTE_ADDR": address})


def statuses(site: Flask, names: list[str], addresses: list[str]) -> list[int]:
    return [guess(site, name, address).status_code for name in names for address in addresses]


def test_guesses_at_one_account_from_one_address_get_a_429(limited: Flask) -> None:
    assert statuses(limited, ["bob"] * 5, ["192.0.2.1"]) == [401] * 5
    response = guess(limited, " BOB ")
    assert response.status_code == 429
    assert response.mimetype == "text/html"
    assert "Too many tries" in response.text
    wait = response.headers["Retry-After"]
    assert 1 <= int(wait) <= 61
    assert f"Try again in {wait} second" in response.text
    right = {"name": "bob", "password": "builder"}
    for path in ("/login", "/api/login"):
        held = {"REMOTE_ADDR": "192.0.2.1"}
        assert browser(limited).post(path, data=right, environ_base=held).status_code == 429
    assert browser(limited).get("/login", environ_base=held).status_code == 200
    assert is_in(signed_in(limited, "bob"))  # from another address


def test_unknown_names_are_limited_as_known_ones_are(limited: Flask) -> None:
    assert statuses(limited, ["nobody"] * 6, ["192.0.2.1"]) == [401] * 5 + [429]


def test_an_address_tries_few_accounts_and_an_account_few_addresses(limited: Flask) -> None:
    names = [f"user{n}" for n in range(22)]
    assert statuses(limited, names, ["192.0.2.1"]) == [401] * 20 + [429] * 2
    many = [f"198.51.{n // 200}.{n % 200}" for n in range(202)]
    assert statuses(limited, ["bob"], many) == [401] * 200 + [429] * 2


def test_the_app_and_the_form_count_together(limited: Flask) -> None:
    for path in ("/login", "/api/login") * 2:
        assert guess(limited, "bob", path=path).status_code == 401
    assert guess(limited, "bob").status_code == 401
    refused = guess(limited, "bob", path="/api/login")
    assert refused.status_code == 429
    assert "<header>" not in refused.text
    assert "Retry-After" in refused.headers


def test_logins_that_are_there_go_on_while_new_ones_are_refused(limited: Flask) -> None:
    client, pair = signed_in(limited, "bob"), phone_app(limited, "bob")
    for n in range(210):
        guess(limited, "bob", f"198.51.{n // 200}.{n % 200}")
    assert guess(limited, "bob", "192.0.2.77").status_code == 429
    assert is_in(client)
    assert app_is_in(limited, pair)
    assert limited.test_client().post("/api/refresh", data=pair).status_code == 200


def test_confirming_a_login_is_limited_too(limited: Flask, clock: Any) -> None:
    client = signed_in(limited, "bob")
    clock.tick(61)
    form = {"name": "bob", "password": "no"}
    found = [client.post("/login", data=form).status_code for _ in range(5)]
    assert found == [401] * 4 + [429]
    assert is_in(client)


def test_taken_names_cannot_be_asked_for_without_end(limited: Flask) -> None:
    found = [register(browser(limited), "bob").status_code for _ in range(22)]
    assert found == [422] * 20 + [429] * 2


@each_case("path", ["/login", "/register", "/api/login"])
def test_odd_forms_are_refused_and_leave_the_limits_in_place(
    limited: Flask, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = browser(limited)
    kind = "application/x-www-form-urlencoded"
    for n, data in enumerate((b"", b"name=%ff%fe&password=x", b"\xff\x00", b"name=%00&name=b")):
        held = {"REMOTE_ADDR": f"192.0.2.{n}"}
        response = client.post(path, data=data, content_type=kind, environ_base=held)
        # Werkzeug before 3.1 takes bytes that are no form for one that is too large.
        assert response.status_code in (401, 413, 422)
    huge = client.post(path, data={"name": "x" * 70_000, "password": "x"})
    assert huge.status_code == 413
    assert client.post(path, json={"name": ["x"]}).status_code in (401, 422)
    # A limiter that takes the 413 for a storage that is down would count in memory from now on.
    assert "unreachable" not in caplog.text


def test_a_limiter_without_its_redis_counts_in_memory(create_site: Any, site_jam: Jam) -> None:
    nowhere = {"RATELIMIT_ENABLED": True, "RATELIMIT_STORAGE_URI": "redis://127.0.0.1:1"}
    site = create_site({**SITE, **nowhere}, site_jam)
    assert statuses(site, ["bob"] * 6, ["192.0.2.1"]) == [401] * 5 + [429]
    assert is_in(signed_in(site, "bob"))


def test_a_failed_login_is_logged_in_one_line(
    site: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, site.logger.name):
        guess(site, "bob\nlogin of 'x' failed")
        guess(site, "y" * 1000, path="/api/login")
    lines = [record.getMessage() for record in caplog.records if record.name == site.logger.name]
    assert lines[0] == "login of \"bob\\nlogin of 'x' failed\" failed from 192.0.2.1"
    assert lines[1] == f"login of {'y' * 64!r} failed from 192.0.2.1"
