"""A browser that still holds cookies of earlier settings, or of another app on the host."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask.views import MethodView

from flask_jam import (
    ConfigError,
    Jam,
    JWTExtension,
    SessionExtension,
    StoreUnavailable,
    current_auth,
    jwt_required,
    public,
    session_required,
)

from ..cases import each_case
from ..conftest import Clock

HOST = "www.shop.example"
BASE = f"https://{HOST}"
MakeJam = Callable[..., Jam]
PAGE = {"Accept": "text/html"}


def who() -> str:
    auth = current_auth()
    return auth.subject or "" if auth else "anonymous"


def build(jam: Jam, kind: str, name: str = "sessionId") -> Flask:
    """An app whose only transport is a cookie, below ``/app``."""
    app = Flask("shop")
    extension: Any = (
        SessionExtension(jam, app, cookie_name=name)
        if kind == "session"
        else JWTExtension(jam, app, header_name=None, cookie_name=name)
    )
    app.add_url_rule(
        "/app/login/<user>", "login", lambda user: (extension.login(user), "in")[1],
        methods=["POST"],
    )  # fmt: skip
    app.add_url_rule("/app/refresh", "refresh", lambda: (extension.refresh(), "")[1],
                     methods=["POST"])  # fmt: skip
    app.add_url_rule("/app/logout", "logout", lambda: (extension.logout(), "")[1],
                     methods=["POST"])  # fmt: skip
    app.add_url_rule("/app/me", "me", extension.required(who))
    app.add_url_rule("/app/open", "open", public(lambda: who()))
    return app


class Browser:
    """One jar that obeys RFC 6265, in front of several apps."""

    def __init__(self, app: Flask) -> None:
        self.client: FlaskClient = app.test_client()

    def at(self, app: Flask) -> Browser:
        """Visit another app, or the same with other settings, with the same jar."""
        client = app.test_client()
        client._cookies = self.client._cookies
        self.client = client
        return self

    def post(self, path: str) -> int:
        return self.client.post(f"/app/{path}", base_url=BASE).status_code

    def get(self, path: str = "me", **headers: str) -> Any:
        return self.client.get(f"/app/{path}", base_url=BASE, headers=headers)

    def works(self, user: str) -> None:
        """Logged in as a user: pages, a refresh, pages again, and a logout that logs out."""
        for _ in range(2):
            answer = self.get()
            assert (answer.status_code, answer.text) == (200, user)
            assert self.get("open").text == user
            assert self.post("refresh") == 200
        assert self.post("logout") == 200
        assert self.get().status_code in (400, 401)
        assert self.get("open").text == "anonymous"


SETTINGS: list[dict[str, Any]] = [
    {}, {"cookie_domain": "shop.example"}, {"cookie_domain": HOST}, {"cookie_path": "/app"},
]  # fmt: skip


@pytest.mark.parametrize("kind", ["session", "jwt"])
@each_case("before", SETTINGS)
@each_case("after", SETTINGS)
def test_a_login_works_after_a_setting_of_cookies_changed(
    make_jam: MakeJam, clock: Clock, kind: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    jam = make_jam(**before)
    later = make_jam(**after, store=jam.store)
    browser = Browser(build(jam, kind))
    assert browser.post("login/ann") == 200
    assert browser.get().text == "ann"
    clock.tick(1)
    browser.at(build(later, kind))
    assert browser.post("login/bob") == 200
    browser.works("bob")
    assert jam.list_sessions("ann") == []


@pytest.mark.parametrize("kind", ["session", "jwt"])
def test_a_login_works_beside_three_cookies_of_earlier_settings(
    make_jam: MakeJam, clock: Clock, kind: str
) -> None:
    jam = make_jam()
    browser = Browser(build(jam, kind))
    for settings in SETTINGS[:3]:
        browser.at(build(make_jam(**settings, store=jam.store), kind))
        assert browser.post("login/ann") == 200
        clock.tick(1)
    browser.at(build(make_jam(cookie_path="/app", store=jam.store), kind))
    assert browser.post("login/bob") == 200
    browser.works("bob")


@each_case("settings", [({}, SETTINGS[1]), (SETTINGS[1], {})], ids=["set", "unset"])
def test_the_newest_refresh_token_of_a_family_is_used(
    make_jam: MakeJam, clock: Clock, settings: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    jam = make_jam(**settings[0], jwt={"refresh_grace": 0})
    later = make_jam(**settings[1], jwt={"refresh_grace": 0}, store=jam.store)
    browser = Browser(build(jam, "jwt"))
    assert browser.post("login/ann") == 200
    browser.at(build(later, "jwt"))
    for _ in range(3):
        clock.tick(1)
        assert browser.post("refresh") == 200


def test_refresh_cookies_lie_below_the_path_that_a_proxy_removes(make_jam: MakeJam) -> None:
    app = build(make_jam(cookie_path="/shop"), "jwt")
    answer = app.test_client().post("/app/login/ann", base_url=BASE)
    paths = [line.partition("Path=")[2].partition(";")[0] for line in
             answer.headers.getlist("Set-Cookie")]  # fmt: skip
    assert paths == ["/shop", "/shop/app/refresh", "/shop/app/logout"]


def test_a_login_works_again_after_refresh_tokens_of_two_users(
    make_jam: MakeJam, clock: Clock
) -> None:
    jam = make_jam(cookie_domain="shop.example")
    later = build(make_jam(store=jam.store), "jwt")
    browser = Browser(build(jam, "jwt"))
    assert browser.post("login/ann") == 200
    browser.client.delete_cookie("sessionId", domain="shop.example")  # it expired: nobody ends ann
    browser.at(later)
    assert browser.post("login/bob") == 200
    assert browser.post("refresh") == 400
    assert browser.get().status_code == 401
    assert browser.post("login/bob") == 200
    browser.works("bob")


@pytest.mark.parametrize("kind", ["session", "jwt"])
def test_the_host_only_twin_of_a_domain_cookie_is_cleared(make_jam: MakeJam, kind: str) -> None:
    jam = make_jam()
    browser = Browser(build(jam, kind))
    browser.post("login/ann")
    browser.at(build(make_jam(cookie_domain="shop.example", store=jam.store), kind))
    browser.post("login/ann")
    held = [each for each in (browser.client._cookies or {}).values() if each.key == "sessionId"]
    assert [(each.domain, each.origin_only) for each in held] == [("shop.example", False)]


@pytest.mark.parametrize("kind", ["session", "jwt"])
def test_staging_works_below_the_domain_cookie_of_production(make_jam: MakeJam, kind: str) -> None:
    production = make_jam(cookie_domain="shop.example")
    staging = make_jam(jwt={"secret_key": "staging" * 8})
    browser = Browser(build(production, kind))
    browser.post("login/ann")
    browser.at(build(staging, kind))
    assert browser.get(**PAGE).status_code == 401
    assert browser.post("login/test") == 200
    assert browser.get().text == "test"
    # Production's cookie was never staging's: it is not cleared.
    browser.at(build(production, kind))
    assert [each.domain for each in (browser.client._cookies or {}).values()
            if each.domain == "shop.example"]  # fmt: skip


@pytest.mark.parametrize("kind", ["session", "jwt"])
def test_a_cookie_of_another_app_on_the_host_is_not_cleared(make_jam: MakeJam, kind: str) -> None:
    ours, theirs = make_jam(), make_jam(jwt={"secret_key": "theirs" * 8})
    browser = Browser(build(theirs, kind))
    browser.post("login/ann")
    browser.at(build(ours, kind))
    answer = browser.get(**PAGE)
    assert answer.status_code == 401
    assert "Set-Cookie" not in answer.headers
    browser.at(build(theirs, kind))
    assert browser.get().text == "ann"


def test_two_apps_with_paths_of_their_own_do_not_meet(make_jam: MakeJam) -> None:
    one, two = make_jam(cookie_path="/app"), make_jam(cookie_path="/other")
    browser = Browser(build(one, "session"))
    browser.post("login/ann")
    other = Flask("other")
    session = SessionExtension(two, other)
    other.add_url_rule("/other/login", "login", lambda: session.login("bob"), methods=["POST"])
    other.add_url_rule("/other/me", "me", session_required(who))
    browser.at(other)
    assert browser.client.post("/other/login", base_url=BASE).status_code == 200
    assert browser.client.get("/other/me", base_url=BASE).text == "bob"
    browser.at(build(one, "session"))
    assert browser.get().text == "ann"


def test_a_host_prefix_goes_with_the_path_of_everything(make_jam: MakeJam) -> None:
    with pytest.raises(ConfigError, match="cookie_path"):
        build(make_jam(cookie_path="/app"), "session", "__Host-id")


# --- tossed cookies -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["session", "jwt"])
def test_a_living_cookie_that_a_sibling_tossed_in_is_refused(jam: Jam, kind: str) -> None:
    browser = Browser(build(jam, kind))
    attacker = Browser(build(jam, kind))
    browser.post("login/ann")
    attacker.post("login/mallory")
    cookie = attacker.client.get_cookie("sessionId", HOST)
    assert cookie is not None
    for path in ("/", "/app", "/app/me"):
        browser.client.set_cookie(
            "sessionId", cookie.value, domain="shop.example", path=path, origin_only=False
        )
    assert browser.get().status_code == 400
    assert browser.get("open").text == "anonymous"
    # And a login gets the victim out of it.
    assert browser.post("login/ann") == 200
    assert browser.get().text == "ann"


def test_of_two_living_tokens_without_a_subject_neither_counts(jam: Jam) -> None:
    client = build(jam, "jwt").test_client(use_cookies=False)
    both = "; ".join(f"sessionId={jam.gen_jwt_token({})}" for _ in range(2))
    assert client.get("/app/me", headers={"Cookie": both}).status_code == 400


def test_no_cookie_is_chosen_while_the_store_does_not_answer(
    jam: Jam, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = build(jam, "session").test_client(use_cookies=False)
    both = "; ".join(f"sessionId={jam.create_session(user, {})}" for user in ("ann", "mallory"))
    read, answers = jam.store.read_session, [False, True, True]

    def flaky(*args: Any) -> Any:
        if not answers.pop(0):
            raise StoreUnavailable
        return read(*args)

    monkeypatch.setattr(jam.store, "read_session", flaky)
    assert client.get("/app/me", headers={"Cookie": both}).status_code == 503


# --- bounds ---------------------------------------------------------------------------------------


def count_questions(jam: Jam, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []

    def counted(name: str, verb: Any) -> Any:
        def ask(*args: Any, **kwargs: Any) -> Any:
            asked.append(name)
            return verb(*args, **kwargs)

        return ask

    for name in ("read_session", "delete_session", "marks", "read_family", "end_family", "mark"):
        monkeypatch.setattr(jam.store, name, counted(name, getattr(jam.store, name)))
    return asked


@pytest.mark.parametrize("path", ["logout", "login/ann", "me", "open", "refresh"])
@pytest.mark.parametrize("kind", ["session", "jwt"])
@each_case("many", ["same", "living", "dead"])
def test_a_request_asks_the_store_a_bounded_number_of_times(
    jam: Jam, kind: str, path: str, many: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = build(jam, kind)
    own = jam.create_session("ann", {})
    living = [jam.create_session("ann", {}) for _ in range(140)]
    values = {
        "same": [own] * 140,
        "living": living,
        "dead": ["A" * 40 + f"{n:05}" for n in range(140)],
    }
    if kind == "jwt":
        values["living"] = [jam.issue_tokens("ann")["access_token"] for _ in range(60)]
        values["same"] = values["living"][:1] * 60
    header = "; ".join(f"sessionId={value}" for value in values[many])
    asked = count_questions(jam, monkeypatch)
    client = app.test_client(use_cookies=False)
    method = "GET" if path in ("me", "open") else "POST"
    client.open(f"/app/{path}", method=method, headers={"Cookie": header}, base_url=BASE)
    assert len(asked) <= 12, asked


def test_a_cookie_header_of_semicolons_costs_next_to_nothing(jam: Jam) -> None:
    client = build(jam, "session").test_client(use_cookies=False)
    header = {"Cookie": "sessionId=x" + ";" * 800_000}

    def seconds(headers: dict[str, str]) -> float:
        started = time.process_time()
        for _ in range(5):
            client.get("/app/me", headers=headers, base_url=BASE)
        return time.process_time() - started

    seconds({})
    assert client.get("/app/me", headers=header, base_url=BASE).status_code == 400
    assert seconds(header) < seconds({"Cookie": "sessionId=x"}) + 0.2


# --- a provider that posts back -------------------------------------------------------------------

IDP = {"Origin": "https://idp.example", "Sec-Fetch-Site": "cross-site"}


@pytest.mark.parametrize("kind", ["session", "jwt"])
def test_only_a_view_that_names_an_origin_takes_its_posts(jam: Jam, kind: str) -> None:
    app = build(jam, kind)
    extension = app.extensions["flask_jam"].owners[kind]
    named = public(origins={"https://IDP.example:443"})
    app.add_url_rule("/app/callback", "callback", named(lambda: (extension.login("ann"), "in")[1]),
                     methods=["POST"])  # fmt: skip
    client = app.test_client()
    assert client.post("/app/callback", headers=IDP, base_url=BASE).status_code == 200
    other = {**IDP, "Origin": "https://idp.example.evil.example"}
    assert client.post("/app/callback", headers=other, base_url=BASE).status_code == 403
    assert client.post("/app/login/ann", headers=IDP, base_url=BASE).status_code == 403


def test_only_a_method_that_names_an_origin_takes_its_requests(jam: Jam) -> None:
    class Callback(MethodView):
        @public(origins={"https://idp.example"})
        def post(self) -> str:
            return who()

        def put(self) -> str:
            return who()

    app = build(jam, "session")
    app.add_url_rule("/app/callback", view_func=Callback.as_view("callback"))
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("ann", {}), domain=HOST)
    assert client.post("/app/callback", headers=IDP, base_url=BASE).text == "ann"
    assert client.put("/app/callback", headers=IDP, base_url=BASE).text == "anonymous"


def test_what_is_no_origin_is_a_sentence() -> None:
    for wrong in ("https://idp.example/path", "*", "null", ["https://*.example"], 5, [5]):
        with pytest.raises(ConfigError, match="origins"):
            public(origins=wrong)  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="public and guarded"):
        public(origins={"https://idp.example"})(jwt_required(who))
