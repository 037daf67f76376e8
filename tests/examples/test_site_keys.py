"""The API keys of the site example: made with scopes and an end, shown once, used, revoked."""

from __future__ import annotations

import re
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from ..cases import each_case
from ..conftest import Clock, bearer
from .visitors import FROM_ELSEWHERE, is_in, messages, phone_app, sent_to_login, signed_in

READ = {"name": "backup", "scopes": "recipes:read", "days": "90"}


def make(client: FlaskClient, **changes: Any) -> str:
    """Make a key by the form; return it as the page shows it."""
    response = client.post("/keys/new", data={**READ, **changes})
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    (key,) = re.findall(r"<code>(jam_\w{65})</code>", response.text)
    return str(key)


def asks(site: Flask, key: str, path: str = "/api/recipes") -> int:
    return site.test_client().get(path, headers=bearer(key)).status_code


def rows(client: FlaskClient) -> list[str]:
    return client.get("/keys/").text.split("<li>")[1:]


def test_a_key_is_shown_once_and_opens_what_was_chosen(site: Flask) -> None:
    client = signed_in(site, "bob")
    key = make(client)
    answer = site.test_client().get("/api/recipes", headers=bearer(key))
    assert "Plum jam" in answer.json
    assert asks(site, key, "/api/people") == 403
    for path in ("/keys/", "/dashboard", "/logins/"):
        assert key not in client.get(path).text


def test_the_list_shows_name_scopes_last_use_and_end(site: Flask, clock: Clock) -> None:
    client = signed_in(site, "bob")
    key = make(client, name="<b>backup</b>")
    make(client, name="forever", days="")
    forever, backup = rows(client)
    assert "&lt;b&gt;backup&lt;/b&gt;" in backup
    assert "recipes:read" in backup
    assert "<dd>never</dd>" in backup
    assert backup.count("UTC</dd>") == 2
    assert forever.count("<dd>never</dd>") == 2
    asks(site, key)
    clock.tick(300)
    assert "5 minutes ago" in rows(client)[1]


def test_a_key_ends_when_its_time_is_over(site: Flask, clock: Clock) -> None:
    client = signed_in(site, "bob", remember=True)
    key, forever = make(client, days="30"), make(client, days="")
    clock.tick(30 * 86400 - 1)
    assert asks(site, key) == 200
    clock.tick(1)
    assert [asks(site, key), asks(site, forever)] == [401, 200]


def test_a_button_revokes_a_key_of_ones_own(site: Flask) -> None:
    bob, alice = signed_in(site, "bob"), signed_in(site, "alice")
    key = make(bob)
    (button,) = re.findall(r'action="(/keys/\w+/revoke)"', bob.get("/keys/").text)
    page = alice.post(button, follow_redirects=True).text
    assert messages(page)[-1] == "That key had ended already."
    assert asks(site, key) == 200
    page = bob.post(button, follow_redirects=True).text
    assert messages(page)[-1] == "That key is revoked."
    assert asks(site, key) == 401
    assert "You have no key." in bob.get("/keys/").text


@each_case(
    "changes",
    [
        {"name": ""}, {"name": " "}, {"name": "x" * 61}, {"name": "a\nb"}, {"scopes": []},
        {"scopes": "people:read"}, {"scopes": ["recipes:read", "x"]}, {"days": "1"}, {"days": "x"},
    ],
)  # fmt: skip
def test_a_mistake_in_the_form_makes_no_key(site: Flask, changes: dict[str, Any]) -> None:
    client = signed_in(site, "bob")
    response = client.post("/keys/new", data={**READ, **changes})
    assert response.status_code == 422
    assert 'aria-invalid="true"' in response.text
    assert "You have no key." in client.get("/keys/").text


def test_a_key_never_gives_more_than_its_owner_has_now(site: Flask) -> None:
    client = signed_in(site, "alice")
    key = make(client, scopes=["recipes:read", "people:read"])
    assert asks(site, key, "/api/people") == 200
    site.extensions["people"].get("1").role = "reader"
    assert [asks(site, key, path) for path in ("/api/people", "/api/recipes")] == [403, 200]


def test_making_a_key_asks_for_a_recent_login(site: Flask, clock: Clock) -> None:
    client = signed_in(site, "bob")
    clock.tick(61)
    assert sent_to_login(client.get("/keys/new"), "/keys/new")
    assert sent_to_login(client.post("/keys/new", data=READ), "/keys/new")
    assert "You have no key." in client.get("/keys/").text


def test_log_out_everywhere_leaves_keys_and_closing_the_account_does_not(site: Flask) -> None:
    client = signed_in(site, "bob")
    key = make(client)
    client.post("/logins/end-all")
    assert not is_in(client)
    assert asks(site, key) == 200
    client = signed_in(site, "bob")
    client.post("/account/delete")
    assert asks(site, key) == 401


def test_a_key_opens_no_page_and_makes_no_key(site: Flask) -> None:
    key = make(signed_in(site, "alice"), scopes=["recipes:read", "people:read"])
    for path in ("/dashboard", "/keys/", "/keys/new", "/admin/"):
        assert asks(site, key, path) == 401
    assert site.test_client().post("/keys/new", data=READ, headers=bearer(key)).status_code == 401


def test_another_site_makes_and_ends_no_key(site: Flask) -> None:
    client = signed_in(site, "bob")
    make(client)
    (button,) = re.findall(r'action="(/keys/\w+/revoke)"', client.get("/keys/").text)
    for path, data in (("/keys/new", READ), (button, {})):
        assert client.post(path, data=data, headers=FROM_ELSEWHERE).status_code == 403
    assert len(rows(client)) == 1


def test_tokens_of_the_phone_still_open_the_recipes(site: Flask) -> None:
    assert asks(site, phone_app(site, "bob")["access_token"]) == 200
    assert asks(site, phone_app(site, "alice")["access_token"], "/api/people") == 401
