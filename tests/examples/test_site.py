"""The site example, used as its people would use it: a browser each, and a clock."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.security import generate_password_hash
from werkzeug.test import TestResponse

from flask_jam import Jam, StoreUnavailable
from flask_jam.stores.memory import MemoryStore

from ..cases import each_case
from ..conftest import SECRET, Clock

ROOT = Path(__file__).parents[2]
PASSWORDS = {"alice": "wonderland", "bob": "builder"}
PRIVATE = {"/dashboard": "Your recipes", "/sessions": "Your sessions", "/admin/": "People",
           "/account/delete": "Close your account?"}  # fmt: skip
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)
EDGE = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0"
)
FROM_ELSEWHERE = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}


@pytest.fixture(scope="module")
def create_app() -> Iterator[Any]:
    cheap = partial(generate_password_hash, method="pbkdf2:sha256:1")  # there are many logins here
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        patch.setattr("werkzeug.security.generate_password_hash", cheap)
        yield importlib.import_module("examples.site").create_app
    for name in [name for name in sys.modules if name.split(".")[0] == "examples"]:
        del sys.modules[name]


@pytest.fixture
def site_jam(make_jam: Callable[..., Jam]) -> Jam:
    return make_jam(login_view="auth.login")


@pytest.fixture
def app(create_app: Any, site_jam: Jam) -> Flask:
    return create_app({"TESTING": True}, site_jam)  # type: ignore[no-any-return]


def browser(app: Flask, agent: str = FIREFOX) -> FlaskClient:
    """A client that asks for pages as a browser does when somebody follows a link."""
    client = app.test_client()
    client.environ_base |= {
        "HTTP_ACCEPT": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "HTTP_USER_AGENT": agent,
        "HTTP_SEC_FETCH_MODE": "navigate",
        "HTTP_SEC_FETCH_SITE": "same-origin",
    }
    return client


def log_in(client: FlaskClient, name: str, url: str = "/login") -> TestResponse:
    answer = client.post(url, data={"name": name, "password": PASSWORDS[name]})
    assert answer.status_code == 303
    return answer


def signed_in(app: Flask, name: str, agent: str = FIREFOX) -> FlaskClient:
    client = browser(app, agent)
    log_in(client, name)
    return client


def sent_to_login(answer: TestResponse, next_path: str | None = None) -> bool:
    """Whether it is a redirect to the form that leads back to ``next_path``."""
    where = urlsplit(answer.location or "")
    back = parse_qs(where.query).get("next")
    return (
        answer.status_code in (302, 303)
        and where.path == "/login"
        and back == (next_path and [next_path])
    )


def is_in(client: FlaskClient) -> bool:
    return client.get("/dashboard").status_code == 200


def ending_buttons(client: FlaskClient) -> list[str]:
    """Where the buttons post to that end one other session each."""
    return re.findall(r'action="(/sessions/[^"]+/end)"', client.get("/sessions").text)


# --- logging in ------------------------------------------------------------------------


@each_case("path", [*PRIVATE, "/dashboard?from=mail&page=2"])
def test_who_is_not_signed_in_logs_in_and_comes_back(app: Flask, path: str) -> None:
    client = browser(app)
    refused = client.get(path)
    assert refused.status_code == 302
    assert sent_to_login(refused, path)
    assert log_in(client, "alice", refused.location).location == path
    assert PRIVATE[path.partition("?")[0]] in client.get(path).text


@each_case("path", ["/sessions/x/end", "/sessions/end-others", "/admin/people/bob/end-sessions"])
def test_a_button_of_who_is_not_signed_in_leads_to_the_form_and_not_back(
    app: Flask, path: str
) -> None:
    refused = browser(app).post(path)
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
def test_next_never_leads_to_another_site(app: Flask, evil: str) -> None:
    form = {"name": "bob", "password": "builder"}
    by_query = browser(app).post("/login", query_string={"next": evil}, data=form)
    by_form = browser(app).post("/login", data={**form, "next": evil})
    for answer in (by_query, by_form):
        assert answer.status_code == 303
        assert answer.location in ("/dashboard", "/%09/evil.example")
    if evil != "/%09/evil.example":  # a strange path, and one of this host all the same
        assert by_query.location == by_form.location == "/dashboard"


@each_case(("name", "password"), [("alice", "wrong"), ("nobody", "nobody"), ("", "")])
def test_a_wrong_password_shows_the_form_again(app: Flask, name: str, password: str) -> None:
    client = browser(app)
    answer = client.post("/login?next=/sessions", data={"name": name, "password": password})
    assert answer.status_code == 401
    assert "Wrong name or password." in answer.text
    assert f'value="{name}"' in answer.text
    assert 'action="' not in answer.text  # so the form posts to where it is, next included
    assert "WWW-Authenticate" not in answer.headers
    assert not is_in(client)


def test_what_was_typed_is_text_on_the_page(app: Flask) -> None:
    form = {"name": '"><script>x</script>', "password": "x"}
    assert "<script" not in browser(app).post("/login", data=form).text


def test_the_home_page_says_who_is_signed_in(app: Flask) -> None:
    client = browser(app)
    assert "Signed in as" not in client.get("/").text
    log_in(client, "bob")
    page = client.get("/").text
    assert "Signed in as <strong>bob</strong>" in page
    assert 'href="/admin/"' not in page
    assert 'href="/admin/"' in signed_in(app, "alice").get("/").text


def test_the_home_page_greets_who_has_a_dead_session_as_anybody(app: Flask, site_jam: Jam) -> None:
    client = signed_in(app, "bob")
    site_jam.revoke_subject("bob")
    answer = client.get("/")
    assert answer.status_code == 200
    assert "Signed in as" not in answer.text


def test_everybody_sees_their_own_recipes(app: Flask) -> None:
    assert "Plum jam" in signed_in(app, "bob").get("/dashboard").text
    assert "Plum jam" not in signed_in(app, "alice").get("/dashboard").text


# --- logging out -----------------------------------------------------------------------


def test_a_logout_ends_the_session_for_every_tab(app: Flask) -> None:
    tab = signed_in(app, "bob")
    other_tab = browser(app)
    cookie = tab.get_cookie("site_session")
    assert cookie is not None
    other_tab.set_cookie("site_session", cookie.value)
    assert is_in(other_tab)
    answer = tab.post("/logout")
    assert (answer.status_code, answer.location) == (303, "/")
    assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert tab.get_cookie("site_session") is None
    assert sent_to_login(other_tab.get("/dashboard"), "/dashboard")


def test_only_a_post_logs_out_and_twice_is_no_trouble(app: Flask) -> None:
    client = signed_in(app, "bob")
    assert client.get("/logout").status_code == 405
    assert is_in(client)
    for _ in range(2):
        assert client.post("/logout").location == "/"
    assert not is_in(client)


@each_case("path", PRIVATE)
def test_private_pages_are_never_stored(app: Flask, path: str) -> None:
    answer = signed_in(app, "alice").get(path)
    assert answer.status_code == 200
    assert "no-store" in answer.headers["Cache-Control"]
    assert "Cookie" in answer.headers["Vary"]


def test_a_page_that_names_nobody_may_be_stored(app: Flask) -> None:
    assert "no-store" not in browser(app).get("/").headers.get("Cache-Control", "")
    assert "no-store" in signed_in(app, "bob").get("/").headers["Cache-Control"]
    style = signed_in(app, "bob").get("/static/style.css")
    style.close()
    assert "no-store" not in style.headers.get("Cache-Control", "")


# --- your sessions ---------------------------------------------------------------------


def test_the_list_tells_devices_apart(app: Flask, clock: Clock) -> None:
    phone = signed_in(app, "bob", IPHONE)
    clock.tick(600)
    desk = signed_in(app, "bob", EDGE)
    page = desk.get("/sessions").text
    assert "Safari on iPhone" in page
    assert "Edge on Windows" in page
    assert page.index("Edge on Windows") < page.index("This device") < page.index("on iPhone")
    assert page.count("This device") == 1
    assert "127.0.0.1" in page
    assert "15 Jan 2027, 08:00 UTC" in page
    assert "10 minutes ago" in page
    assert "Edge on Windows" in phone.get("/sessions").text
    assert "Edge on Windows" not in signed_in(app, "alice").get("/sessions").text


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
def test_a_device_is_named_in_a_few_words(app: Flask, agent: str, words: str) -> None:
    page = signed_in(app, "bob", agent).get("/sessions").text
    assert words in page
    assert "<script" not in page


@each_case(
    ("seconds", "words"),
    [(0, "just now"), (300, "5 minutes ago"), (3 * 3600, "3 hours ago"), (50 * 3600, "2 days ago")],
)
def test_last_seen_is_told_in_a_few_words(
    create_app: Any, make_jam: Callable[..., Jam], clock: Clock, seconds: float, words: str
) -> None:
    app = create_app({"TESTING": True}, make_jam(session={"idle": 5 * 86400}))
    signed_in(app, "bob", IPHONE)
    clock.tick(seconds)
    rows = signed_in(app, "bob", EDGE).get("/sessions").text.split("<li>")
    assert [words in row for row in rows if "Safari on iPhone" in row] == [True]


def test_a_button_ends_one_other_session(app: Flask) -> None:
    lost, kept, here = (signed_in(app, "bob", agent) for agent in (IPHONE, EDGE, FIREFOX))
    rows = here.get("/sessions").text.split("<li>")
    row = next(row for row in rows if "Safari on iPhone" in row)
    action = re.search(r'action="([^"]+)"', row)
    assert action is not None
    answer = here.post(action[1])
    assert (answer.status_code, answer.location) == (303, "/sessions")
    assert [is_in(lost), is_in(kept), is_in(here)] == [False, True, True]
    assert here.post(action[1]).location == "/sessions"


def test_nobody_ends_a_session_of_somebody_else(app: Flask) -> None:
    signed_in(app, "alice", IPHONE)
    alice, bob = signed_in(app, "alice"), signed_in(app, "bob")
    (button,) = ending_buttons(alice)
    bob.post(button)
    assert ending_buttons(alice) == [button]


def test_log_out_everywhere_else_leaves_this_device(app: Flask) -> None:
    elsewhere = [signed_in(app, "bob", agent) for agent in (IPHONE, EDGE)]
    here, alice = signed_in(app, "bob"), signed_in(app, "alice")
    assert "Log out everywhere else" in here.get("/sessions").text
    answer = here.post("/sessions/end-others")
    assert (answer.status_code, answer.location) == (303, "/sessions")
    assert not any(map(is_in, elsewhere))
    assert is_in(here)
    assert is_in(alice)
    assert "Log out everywhere else" not in here.get("/sessions").text


# --- the admin's page ------------------------------------------------------------------


def test_an_admin_ends_all_sessions_of_a_person(app: Flask) -> None:
    bobs = [signed_in(app, "bob", agent) for agent in (IPHONE, EDGE)]
    alice = signed_in(app, "alice")
    page = alice.get("/admin/").text
    assert 'action="/admin/people/bob/end-sessions"' in page
    assert "<dd>2</dd>" in page
    answer = alice.post("/admin/people/bob/end-sessions")
    assert (answer.status_code, answer.location) == (303, "/admin/")
    assert not any(map(is_in, bobs))
    assert is_in(alice)
    assert "<dd>2</dd>" not in alice.get("/admin/").text
    assert is_in(signed_in(app, "bob"))


def test_the_admins_page_is_not_for_a_reader(app: Flask) -> None:
    alice, bob = signed_in(app, "alice"), signed_in(app, "bob")
    for answer in (bob.get("/admin/"), bob.post("/admin/people/alice/end-sessions")):
        assert answer.status_code == 403
        assert "Not for you" in answer.text
        assert "Set-Cookie" not in answer.headers
    assert is_in(alice)
    assert is_in(bob)


def test_there_are_no_sessions_of_nobody_to_end(app: Flask) -> None:
    answer = signed_in(app, "alice").post("/admin/people/nobody/end-sessions")
    assert answer.status_code == 404
    assert "Nothing here" in answer.text


# --- step-up ---------------------------------------------------------------------------


def test_closing_the_account_asks_for_a_login_of_just_now(app: Flask, clock: Clock) -> None:
    client = signed_in(app, "bob")
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


def test_the_button_that_closes_the_account_asks_for_it_as_well(app: Flask, clock: Clock) -> None:
    client = signed_in(app, "bob")
    clock.tick(61)
    stale = client.post("/account/delete")
    assert stale.status_code == 303
    assert sent_to_login(stale, "/account/delete")
    assert is_in(client)
    assert is_in(signed_in(app, "bob"))


def test_a_wrong_password_confirms_nothing_and_logs_nobody_out(app: Flask, clock: Clock) -> None:
    client = signed_in(app, "bob")
    clock.tick(61)
    wrong = client.post("/login?next=/account/delete", data={"name": "bob", "password": "no"})
    assert wrong.status_code == 401
    assert "Wrong password." in wrong.text
    assert "Confirm it is you." in wrong.text
    assert is_in(client)
    assert sent_to_login(client.get("/account/delete"), "/account/delete")


def test_a_confirmed_login_replaces_the_session(app: Flask, clock: Clock) -> None:
    client = signed_in(app, "bob")
    before = client.get_cookie("site_session")
    clock.tick(61)
    log_in(client, "bob")
    after = client.get_cookie("site_session")
    assert before is not None
    assert after is not None
    assert before.value != after.value
    assert ending_buttons(client) == []


def test_the_time_since_the_login_is_set_by_the_config(
    create_app: Any, site_jam: Jam, clock: Clock
) -> None:
    app = create_app({"TESTING": True, "STEP_UP_SECONDS": 2.0}, site_jam)
    client = signed_in(app, "bob")
    clock.tick(1)
    assert client.get("/account/delete").status_code == 200
    clock.tick(2)
    assert sent_to_login(client.get("/account/delete"), "/account/delete")


def test_the_environment_sets_it_too(create_app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_STEP_UP_SECONDS", "0.001")
    app = create_app({"TESTING": True, "JAM_JWT_SECRET_KEY": SECRET})
    client = signed_in(app, "bob")
    time.sleep(0.01)
    assert sent_to_login(client.get("/account/delete"), "/account/delete")


def test_a_closed_account_is_out_everywhere_and_stays_out(app: Flask) -> None:
    client, phone = signed_in(app, "bob"), signed_in(app, "bob", IPHONE)
    answer = client.post("/account/delete")
    assert (answer.status_code, answer.location) == (303, "/account/goodbye")
    assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert "Your account is closed" in client.get(answer.location).text
    assert client.get_cookie("site_session") is None
    assert not is_in(client)
    assert not is_in(phone)
    form = {"name": "bob", "password": "builder"}
    assert client.post("/login", data=form).status_code == 401
    assert "Account closed" in signed_in(app, "alice").get("/admin/").text


# --- what comes from elsewhere, and what goes wrong ------------------------------------


@each_case(
    "path",
    ["/logout", "/sessions/x/end", "/sessions/end-others", "/account/delete",
     "/admin/people/bob/end-sessions", "/login"],
)  # fmt: skip
def test_another_site_presses_no_button(app: Flask, path: str) -> None:
    alice, bob = signed_in(app, "alice"), signed_in(app, "bob")
    form = {"name": "bob", "password": "builder"}
    answer = alice.post(path, data=form, headers=FROM_ELSEWHERE)
    assert answer.status_code == 403
    assert "Not for you" in answer.text
    assert "Set-Cookie" not in answer.headers
    assert is_in(bob)
    assert "Signed in as <strong>alice</strong>" in alice.get("/").text


def test_an_address_that_leads_nowhere_has_a_friendly_page(app: Flask) -> None:
    answer = signed_in(app, "bob").get("/nowhere")
    assert answer.status_code == 404
    assert "Nothing here" in answer.text


class Down(MemoryStore):
    """A store that can be made to answer no more."""

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
    create_app: Any, make_jam: Callable[..., Jam]
) -> None:
    store = Down()
    app = create_app({"TESTING": True}, make_jam(store=store, login_view="auth.login"))
    client = signed_in(app, "alice")
    store.verbs = ("read_session",)
    answer = client.get("/dashboard")
    assert answer.status_code == 503
    assert "One moment, please" in answer.text
    assert answer.headers["Retry-After"] == "1"
    assert "Set-Cookie" not in answer.headers
    assert client.get("/").status_code == 200
    store.verbs = ("list_sessions",)
    for path in ("/sessions", "/admin/"):
        assert client.get(path).status_code == 503
    store.verbs = ()
    assert is_in(client)


def test_who_is_no_browser_gets_the_401_itself(app: Flask) -> None:
    answer = app.test_client().get("/dashboard")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Cookie realm="api"'
    assert answer.json is not None
    assert answer.json["error"] == "missing_credential"


@each_case("path", ["/", "/login", "/nowhere", "/account/goodbye"])
def test_no_page_runs_scripts_or_can_be_framed(app: Flask, path: str) -> None:
    answer = browser(app).get(path)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "<script" not in answer.text
    assert not re.search(r'(?:src|href|action)="(?:https?:)?//', answer.text)


# --- the factory -----------------------------------------------------------------------


def test_two_apps_of_the_factory_share_nothing(
    create_app: Any, make_jam: Callable[..., Jam]
) -> None:
    one, two = (create_app({"TESTING": True}, make_jam()) for _ in range(2))
    bob = signed_in(one, "bob")
    cookie = bob.get_cookie("site_session")
    assert cookie is not None
    elsewhere = browser(two)
    elsewhere.set_cookie("site_session", cookie.value)
    assert not is_in(elsewhere)
    bob.post("/account/delete")
    assert is_in(signed_in(two, "bob"))


def test_the_config_alone_is_enough(create_app: Any) -> None:
    app = create_app({"TESTING": True, "JAM_JWT_SECRET_KEY": SECRET})
    assert sent_to_login(browser(app).get("/sessions"), "/sessions")
    assert is_in(signed_in(app, "alice"))


@pytest.mark.slow
def test_the_command_in_the_docstring_finds_the_app(create_app: Any) -> None:
    said = sys.modules[create_app.__module__].__doc__ or ""
    command = re.search(r"``flask (--app \S+) run --debug``", said)
    assert command is not None
    arguments = [sys.executable, "-W", "ignore", "-m", "flask", *command[1].split(), "routes"]
    shown = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "/account/delete" in shown
