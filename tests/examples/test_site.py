"""The site example, used as its users would use it: a browser each, and a clock."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from flask_jam import Jam, StoreUnavailable
from flask_jam.stores.memory import MemoryStore

from ..cases import each_case
from ..conftest import SECRET
from .visitors import (
    FROM_ELSEWHERE,
    IDS,
    ROOT,
    SITE,
    browser,
    is_in,
    log_in,
    sent_to_login,
    signed_in,
)

PRIVATE = {"/dashboard": "Your recipes", "/logins/": "Your devices", "/admin/": "People",
           "/logins/end-all": "Log out everywhere?", "/account/delete": "Close your account?",
           "/admin/people/2/end-logins": "Sign bob out?", "/keys/": "API keys",
           "/keys/new": "New API key"}  # fmt: skip


# --- logging in ------------------------------------------------------------------------


@each_case("path", [*PRIVATE, "/dashboard?from=mail&page=2"])
def test_a_visitor_logs_in_and_comes_back_to_the_page(site: Flask, path: str) -> None:
    client = browser(site)
    refused = client.get(path)
    assert refused.status_code == 302
    assert sent_to_login(refused, path)
    assert log_in(client, "alice", refused.location).location == path
    assert PRIVATE[path.partition("?")[0]] in client.get(path).text


@each_case("path", ["/logins/x/end", "/logins/end-others"])
def test_a_button_pressed_by_a_visitor_leads_to_the_form_and_not_back(
    site: Flask, path: str
) -> None:
    refused = browser(site).post(path)
    assert refused.status_code == 303
    assert sent_to_login(refused, None)


@each_case(
    "evil",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example",
        "/%09/evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "evil.example",
        " //evil.example",
        "http:evil.example",
        "",
    ],
)
def test_next_never_leads_to_another_site(site: Flask, evil: str) -> None:
    form = {"name": "bob", "password": "builder"}
    by_query = browser(site).post("/login", query_string={"next": evil}, data=form)
    by_form = browser(site).post("/login", data={**form, "next": evil})
    for response in (by_query, by_form):
        assert response.status_code == 303
        assert response.location in ("/dashboard", "/%09/evil.example")
    if evil != "/%09/evil.example":  # a strange path, and one of this host all the same
        assert by_query.location == by_form.location == "/dashboard"


@each_case(("name", "password"), [("alice", "wrong"), ("nobody", "nobody"), ("", "")])
def test_a_wrong_password_shows_the_form_again(site: Flask, name: str, password: str) -> None:
    client = browser(site)
    response = client.post("/login?next=/logins/", data={"name": name, "password": password})
    assert response.status_code == 401
    assert "Wrong name or password." in response.text
    assert f'value="{name}"' in response.text
    assert 'action="' not in response.text  # so the form posts to where it is, next included
    assert response.headers["WWW-Authenticate"].startswith("Cookie ")
    assert not is_in(client)


def test_what_was_typed_is_text_on_the_page(site: Flask) -> None:
    form = {"name": '"><script>x</script>', "password": "x"}
    assert "<script" not in browser(site).post("/login", data=form).text


def test_the_home_page_says_who_is_signed_in(site: Flask) -> None:
    client = browser(site)
    assert "Signed in as" not in client.get("/").text
    log_in(client, "bob")
    page = client.get("/").text
    assert "Signed in as <strong>bob</strong>" in page
    assert 'href="/admin/"' not in page
    assert 'href="/admin/"' in signed_in(site, "alice").get("/").text


def test_the_home_page_greets_the_owner_of_a_dead_session_as_a_visitor(
    site: Flask, site_jam: Jam
) -> None:
    client = signed_in(site, "bob")
    site_jam.revoke_subject(IDS["bob"])
    response = client.get("/")
    assert response.status_code == 200
    assert "Signed in as" not in response.text


def test_everybody_sees_their_own_recipes(site: Flask) -> None:
    assert "Plum jam" in signed_in(site, "bob").get("/dashboard").text
    assert "Plum jam" not in signed_in(site, "alice").get("/dashboard").text


# --- logging out -----------------------------------------------------------------------


def test_a_logout_ends_the_session_for_every_tab(site: Flask) -> None:
    tab = signed_in(site, "bob")
    other_tab = browser(site)
    cookie = tab.get_cookie("site_session")
    assert cookie is not None
    other_tab.set_cookie("site_session", cookie.value)
    assert is_in(other_tab)
    response = tab.post("/logout")
    assert (response.status_code, response.location) == (303, "/")
    assert response.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert tab.get_cookie("site_session") is None
    assert sent_to_login(other_tab.get("/dashboard"), "/dashboard")


def test_only_a_post_logs_out_and_twice_is_no_trouble(site: Flask) -> None:
    client = signed_in(site, "bob")
    assert client.get("/logout").status_code == 405
    assert is_in(client)
    for _ in range(2):
        assert client.post("/logout").location == "/"
    assert not is_in(client)


@each_case("path", PRIVATE)
def test_private_pages_are_never_stored(site: Flask, path: str) -> None:
    response = signed_in(site, "alice").get(path)
    assert response.status_code == 200
    assert "no-store" in response.headers["Cache-Control"]
    assert "Cookie" in response.headers["Vary"]


def test_a_page_that_names_nobody_may_be_stored(site: Flask) -> None:
    assert "no-store" not in browser(site).get("/").headers.get("Cache-Control", "")
    assert "no-store" in signed_in(site, "bob").get("/").headers["Cache-Control"]
    style = signed_in(site, "bob").get("/static/style.css")
    style.close()
    assert "no-store" not in style.headers.get("Cache-Control", "")


# --- what comes from elsewhere, and what goes wrong ------------------------------------


@each_case(
    "path",
    ["/logout", "/logins/x/end", "/logins/end-others", "/account/delete",
     "/logins/end-all",
     "/admin/people/2/end-logins", "/login"],
)  # fmt: skip
def test_another_site_presses_no_button(site: Flask, path: str) -> None:
    alice, bob = signed_in(site, "alice"), signed_in(site, "bob")
    form = {"name": "bob", "password": "builder"}
    response = alice.post(path, data=form, headers=FROM_ELSEWHERE)
    assert response.status_code == 403
    assert "Not for you" in response.text
    assert "Set-Cookie" not in response.headers
    assert is_in(bob)
    assert "Signed in as <strong>alice</strong>" in alice.get("/").text


def test_an_address_that_leads_nowhere_has_a_friendly_page(site: Flask) -> None:
    response = signed_in(site, "bob").get("/nowhere")
    assert response.status_code == 404
    assert "Nothing here" in response.text


class Down(MemoryStore):
    """A store that can be made to response no more."""

    verbs: tuple[str, ...] = ()

    def _asked(self, verb: str) -> None:
        if verb in self.verbs:
            raise StoreUnavailable

    def read_session(self, *args: Any, **kwargs: Any) -> Any:
        self._asked("read_session")
        return super().read_session(*args, **kwargs)

    def list_sessions(self, *args: Any, **kwargs: Any) -> Any:
        self._asked("list_sessions")
        return super().list_sessions(*args, **kwargs)


def test_a_store_that_is_down_is_told_and_logs_nobody_out(
    create_site: Any, make_jam: Callable[..., Jam]
) -> None:
    store = Down()
    site = create_site(SITE, make_jam(store=store, login_view="auth.login"))
    client = signed_in(site, "alice")
    store.verbs = ("read_session",)
    response = client.get("/dashboard")
    assert response.status_code == 503
    assert "One moment, please" in response.text
    assert response.headers["Retry-After"] == "1"
    assert "Set-Cookie" not in response.headers
    assert client.get("/").status_code == 200
    store.verbs = ("list_sessions",)
    for path in ("/logins/", "/admin/"):
        assert client.get(path).status_code == 503
    store.verbs = ()
    assert is_in(client)


def test_a_program_gets_the_401_itself(site: Flask) -> None:
    response = site.test_client().get("/dashboard")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Cookie realm="api"'
    assert response.json is not None
    assert response.json["error"] == "missing_credential"


@each_case("path", ["/", "/login", "/register", "/nowhere", "/account/goodbye"])
def test_no_page_runs_scripts_or_can_be_framed(site: Flask, path: str) -> None:
    response = browser(site).get(path)
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "<script" not in response.text
    assert not re.search(r'(?:src|href|action)="(?:https?:)?//', response.text)


# --- the factory -----------------------------------------------------------------------


def test_two_apps_of_the_factory_share_nothing(
    create_site: Any, make_jam: Callable[..., Jam]
) -> None:
    one, two = (create_site(SITE, make_jam()) for _ in range(2))
    bob = signed_in(one, "bob")
    cookie = bob.get_cookie("site_session")
    assert cookie is not None
    elsewhere = browser(two)
    elsewhere.set_cookie("site_session", cookie.value)
    assert not is_in(elsewhere)
    bob.post("/account/delete")
    assert is_in(signed_in(two, "bob"))


def test_the_config_alone_is_enough(create_site: Any) -> None:
    site = create_site({**SITE, "JAM_JWT_SECRET_KEY": SECRET})
    assert sent_to_login(browser(site).get("/logins/"), "/logins/")
    assert is_in(signed_in(site, "alice"))


@pytest.mark.slow
def test_the_command_in_the_docstring_finds_the_app(create_site: Any) -> None:
    said = sys.modules[create_site.__module__].__doc__ or ""
    command = re.search(r"``flask (--app \S+) run --debug``", said)
    assert command is not None
    arguments = [sys.executable, "-W", "ignore", "-m", "flask", *command[1].split(), "routes"]
    shown = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "/account/delete" in shown
