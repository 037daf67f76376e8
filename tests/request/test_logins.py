"""A user's logins from inside a request: where each began, which one asks, and the end of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, current_app, request
from flask.testing import FlaskClient

from flask_jam import (
    Jam,
    JWTExtension,
    SessionExtension,
    StoreUnavailable,
    current_auth,
    jwt_required,
    session_required,
)
from flask_jam.stores.memory import MemoryStore

from ..cases import each_case
from ..conftest import Clock, bearer

MakeJam = Callable[..., Jam]


def build(jam: Jam, **options: Any) -> Flask:
    """A site and an API whose users see their logins, and end them."""
    app = Flask("logins")
    jwt, session = JWTExtension(jam, app, **options), SessionExtension(jam, app)
    either = session_required | jwt_required

    def subject() -> str:
        auth = current_auth()
        assert auth is not None
        return str(auth.subject)

    def own() -> dict[str, Any]:
        return {"jwt": jwt.handle(), "session": session.handle()}

    def end() -> dict[str, Any]:
        jam = current_app.extensions["jam"]
        return {"ended": jam.end_login_by_handle(subject(), request.form.get("handle", ""))}

    def end_all() -> dict[str, Any]:
        return {"ended": current_app.extensions["jam"].end_logins(subject())}

    add = app.add_url_rule
    add("/in/<name>", "in", lambda name: session.login(name), methods=["POST"])
    add("/token/<name>", "token", lambda name: jwt.login(name), methods=["POST"])
    add("/alone/<name>", "alone", lambda name: jwt.login(name, refresh=False), methods=["POST"])
    add("/refresh", "refresh", jwt.refresh, methods=["POST"])
    add("/me", "me", either(lambda: {"subject": subject()}))
    add("/open", "open", own)
    add("/own", "own", either(own))
    add("/end", "end", either(end), methods=["POST"])
    add("/end-all", "end_all", either(end_all), methods=["POST"])
    return app


@pytest.fixture
def app(jam: Jam) -> Flask:
    return build(jam)


@pytest.fixture
def browser(app: Flask) -> FlaskClient:
    client = app.test_client()
    client.post("/in/ann", headers={"User-Agent": "Firefox"})
    return client


@pytest.fixture
def phone(app: Flask) -> FlaskClient:
    return app.test_client(use_cookies=False)


def log_in(phone: FlaskClient, path: str = "/token/ann") -> dict[str, Any]:
    pair = phone.post(path, headers={"User-Agent": "Phone/1"}).json
    assert pair is not None
    return dict(pair)


def me(client: FlaskClient, pair: dict[str, Any] | None = None) -> int:
    return client.get("/me", headers=bearer(pair["access_token"]) if pair else {}).status_code


def refreshes(phone: FlaskClient, pair: dict[str, Any]) -> int:
    return phone.post("/refresh", json={"refresh_token": pair["refresh_token"]}).status_code


# --- where a login began ------------------------------------------------------------------------


def test_a_token_login_keeps_browser_and_address_as_a_session_does(
    browser: FlaskClient, phone: FlaskClient, jam: Jam
) -> None:
    log_in(phone)
    found = [(login.scheme, login.user_agent, login.ip) for login in jam.list_logins("ann")]
    assert found == [("session", "Firefox", "127.0.0.1"), ("jwt", "Phone/1", "127.0.0.1")]


def test_a_refresh_from_elsewhere_does_not_rewrite_where_a_login_began(
    phone: FlaskClient, jam: Jam, clock: Clock
) -> None:
    pair = log_in(phone)
    (before,) = jam.list_logins("ann")
    clock.tick(60)
    thief = {"HTTP_USER_AGENT": "Thief/9", "REMOTE_ADDR": "198.51.100.9"}
    sent = {"refresh_token": pair["refresh_token"]}
    assert phone.post("/refresh", json=sent, environ_overrides=thief).status_code == 200
    (after,) = jam.list_logins("ann")
    assert after[-2:] == before[-2:]
    assert after.last_seen_at == before.last_seen_at + 60


@each_case("agent", ["", "x" * 5000, "ümlaut", "\xff\xfe", "<script>", "a\tb"])
def test_no_user_agent_fails_a_login(phone: FlaskClient, jam: Jam, agent: str) -> None:
    raw = {"HTTP_USER_AGENT": agent.encode().decode("latin-1")}
    assert phone.post("/token/ann", environ_overrides=raw).status_code == 200
    kept = jam.list_logins("ann")[-1].user_agent
    assert kept is None if not agent else 0 < len(kept or "") <= 256


def test_a_request_without_an_address_can_log_in(phone: FlaskClient, jam: Jam) -> None:
    assert phone.post("/token/ann", environ_overrides={"REMOTE_ADDR": None}).status_code == 200
    assert jam.list_logins("ann")[0].ip is None


# --- which one asks -----------------------------------------------------------------------------


def test_each_caller_finds_itself_in_the_list(
    browser: FlaskClient, phone: FlaskClient, jam: Jam
) -> None:
    pair = log_in(phone)
    log_in(phone)
    first, second, _ = (login.handle for login in jam.list_logins("ann"))
    assert browser.get("/own").json == {"jwt": None, "session": first}
    own = phone.get("/own", headers=bearer(pair["access_token"]))
    assert own.json == {"jwt": second, "session": None}
    assert "Authorization" in own.headers["Vary"]


def test_a_refresh_keeps_the_handle_of_the_caller(phone: FlaskClient, jam: Jam) -> None:
    pair = log_in(phone)
    before = phone.get("/own", headers=bearer(pair["access_token"])).json
    pair = phone.post("/refresh", json={"refresh_token": pair["refresh_token"]}).json or {}
    assert phone.get("/own", headers=bearer(pair["access_token"])).json == before


def test_callers_without_a_login_have_no_handle(phone: FlaskClient, jam: Jam) -> None:
    alone = log_in(phone, "/alone/ann")
    assert phone.get("/own", headers=bearer(alone["access_token"])).json["jwt"] is None
    pair = log_in(phone)
    jam.end_logins("ann")
    for headers in ({}, bearer("junk"), bearer(pair["access_token"])):
        assert phone.get("/open", headers=headers).json == {"jwt": None, "session": None}


def test_a_family_of_another_program_is_no_error(phone: FlaskClient, jam: Jam) -> None:
    slot = jam.families.parsed(log_in(phone)["refresh_token"])[0][:2]
    token = jam.gen_jwt_token(jam.make_payload(sub="ann", fam=slot + "é☃"))
    assert phone.get("/own", headers=bearer(token)).status_code == 200


# --- ending -------------------------------------------------------------------------------------


def test_a_browser_ends_the_login_of_a_phone(
    browser: FlaskClient, phone: FlaskClient, jam: Jam
) -> None:
    pair = log_in(phone)
    handle = jam.list_logins("ann")[1].handle
    assert (me(phone, pair), me(browser)) == (200, 200)
    assert browser.post("/end", data={"handle": handle}).json == {"ended": True}
    assert (me(phone, pair), refreshes(phone, pair), me(browser)) == (401, 401, 200)
    assert browser.post("/end", data={"handle": handle}).json == {"ended": False}


def test_a_phone_ends_the_login_of_a_browser(
    browser: FlaskClient, phone: FlaskClient, jam: Jam
) -> None:
    pair = log_in(phone)
    handle = jam.list_logins("ann")[0].handle
    answer = phone.post("/end", data={"handle": handle}, headers=bearer(pair["access_token"]))
    assert answer.json == {"ended": True}
    assert (me(browser), me(phone, pair)) == (401, 200)


def test_a_login_of_another_user_is_not_ended(
    browser: FlaskClient, phone: FlaskClient, jam: Jam
) -> None:
    pair = log_in(phone, "/token/bob")
    (login,) = jam.list_logins("bob")
    for handle in (login.handle, "", "x" * 10_000, "\x00", "ümlaut"):
        assert browser.post("/end", data={"handle": handle}).json == {"ended": False}
    assert me(phone, pair) == 200


def test_logging_out_everywhere_ends_browsers_and_phones(
    app: Flask, browser: FlaskClient, phone: FlaskClient,
    event_log: list[tuple[str, dict[str, Any]]],
) -> None:  # fmt: skip
    first, second = log_in(phone), log_in(phone)
    event_log.clear()
    assert browser.post("/end-all").json == {"ended": 3}
    assert [(name, what["kind"], what["subject"]) for name, what in event_log] == [
        ("revoked", "session", "ann"), ("revoked", "family", "ann"),
    ]  # fmt: skip
    for pair in (first, second):
        assert (me(phone, pair), refreshes(phone, pair)) == (401, 401)
    assert me(browser) == 401
    browser.post("/in/ann")
    assert (me(browser), me(phone, log_in(phone))) == (200, 200)


@each_case("path", ["/end", "/end-all"])
def test_a_store_that_dies_is_never_a_list_of_nothing(make_jam: MakeJam, path: str) -> None:
    class Dying(MemoryStore):
        def list_families(self, *args: Any, **kwargs: Any) -> Any:
            raise StoreUnavailable

    app = build(make_jam(store=Dying()))
    app.register_error_handler(StoreUnavailable, lambda _: ("Try again.", 503))
    client = app.test_client()
    client.post("/in/ann")
    assert client.post(path, data={"handle": "x"}).status_code == 503
    if path == "/end-all":
        assert me(client) == 401, "it has ended all the same"


# --- step-up ------------------------------------------------------------------------------------


@each_case("options", [{}, {"cookie_name": "token"}], ids=["header", "both"])
def test_a_login_at_step_up_replaces_the_one_that_asks(
    make_jam: MakeJam, clock: Clock, options: dict[str, Any]
) -> None:
    jam = make_jam()
    phone = build(jam, **options).test_client(use_cookies=False)
    first = log_in(phone)
    other = log_in(phone)
    clock.tick(60)
    rotated = phone.post("/refresh", json={"refresh_token": first["refresh_token"]}).json or {}
    answer = phone.post("/token/ann", headers=bearer(rotated["access_token"]))
    fresh = answer.json or {}
    assert [me(phone, pair) for pair in (first, rotated, other, fresh)] == [401, 401, 200, 200]
    assert (refreshes(phone, rotated), refreshes(phone, fresh)) == (401, 200)
    assert len(jam.list_logins("ann")) == 2


def test_a_login_at_step_up_that_could_not_be_stored_ends_nothing(make_jam: MakeJam) -> None:
    class Failing(MemoryStore):
        fails = False

        def start_family(self, *args: Any) -> None:
            if self.fails:
                raise StoreUnavailable
            super().start_family(*args)

    store = Failing()
    phone = build(make_jam(store=store)).test_client(use_cookies=False)
    pair = log_in(phone)
    store.fails = True
    assert phone.post("/token/ann", headers=bearer(pair["access_token"])).status_code == 503
    assert (me(phone, pair), refreshes(phone, pair)) == (200, 200)
