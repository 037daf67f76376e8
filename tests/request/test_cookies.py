"""Cookies that carry a credential: how they are named, set, cleared and read."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http.cookies import Morsel, SimpleCookie
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_jam import (
    ConfigError,
    Jam,
    JWTExtension,
    Reason,
    SessionExtension,
    TokenError,
    jwt_required,
    session_required,
    signals,
)
from flask_jam._request.cookies import (
    LONGEST,
    Cookie,
    Setting,
    _line,
    read_cookies,
    set_later,
    values_of,
)
from flask_jam.stores.memory import MemoryStore

from ..cases import each_case
from ..conftest import Clock, bearer

MakeJam = Callable[..., Jam]
HTTPS = "https://shop.example"
REFRESH, LOGOUT = "token_refresh", "token_logout"


def build(jam: Jam, *, at: str = "", debug: bool = False, **options: Any) -> Flask:
    """An app with tokens in cookies, and the verbs below ``at``."""
    app = Flask("cookies")
    app.debug = debug
    options = {"header_name": None, "cookie_name": "token", **options}
    jwt, session = JWTExtension(jam, app, **options), SessionExtension(jam, app)
    verbs: dict[str, Callable[[], Any]] = {
        "login": lambda: jwt.login("ann", roles={"admin"}),
        "refresh": jwt.refresh,
        "logout": lambda: (jwt.logout(), {})[1],
        "forget": lambda: (jwt.logout(clear_site_data=True), {})[1],
        "session/login": lambda: session.login("ann"),
        "session/renew": session.refresh,
        "session/end": lambda: (session.logout(), {})[1],
        "session/forget": lambda: (session.logout(clear_site_data=True), {})[1],
    }
    for name, verb in verbs.items():
        app.add_url_rule(f"{at}/{name}", name, verb, methods=["POST"])
    app.add_url_rule("/me", "me", jwt_required(lambda: "me"))
    app.add_url_rule("/mine", "mine", session_required(lambda: "mine"))
    return app


def lines(answer: TestResponse) -> dict[tuple[str, str], Morsel[str]]:
    """What the answer sets, by name and path."""
    found: dict[tuple[str, str], Morsel[str]] = {}
    for line in answer.headers.getlist("Set-Cookie"):
        assert len(line) <= LONGEST
        for name, morsel in SimpleCookie(line.replace("; Partitioned", "")).items():
            assert (name, morsel["path"]) not in found
            found[name, morsel["path"]] = morsel
    return found


@pytest.fixture
def client(jam: Jam) -> FlaskClient:
    return build(jam).test_client()


def post(client: FlaskClient, path: str, **options: Any) -> TestResponse:
    return client.post(path, base_url=HTTPS, **options)


def get(client: FlaskClient, path: str, **options: Any) -> TestResponse:
    return client.get(path, base_url=HTTPS, **options)


# --- what a login sets ------------------------------------------------------------------------


def test_login_sets_cookies_with_path_and_lifetime_of_each_token(
    client: FlaskClient,
) -> None:
    said = lines(post(client, "/login"))
    assert {key: int(morsel["max-age"]) for key, morsel in said.items()} == {
        ("token", "/"): 900,
        (REFRESH, "/refresh"): 14 * 86400,
        (LOGOUT, "/logout"): 14 * 86400,
    }
    for morsel in said.values():
        assert morsel["secure"] is morsel["httponly"] is True
        assert (morsel["samesite"], morsel["domain"]) == ("Lax", "")


def test_where_cookies_are_the_only_way_no_answer_carries_a_token(client: FlaskClient) -> None:
    answer = post(client, "/login")
    assert answer.json == {"token_type": "Bearer", "expires_in": 900, "scope": ""}
    assert answer.headers["Cache-Control"] == "no-store"
    assert set(post(client, "/refresh").json) == {"token_type", "expires_in", "scope"}


def test_where_a_header_is_read_too_the_answer_has_them_as_well(jam: Jam) -> None:
    client = build(jam, header_name="Authorization").test_client()
    answer = post(client, "/login")
    assert answer.json["access_token"] == lines(answer)["token", "/"].value
    assert answer.json["refresh_token"] == lines(answer)[REFRESH, "/refresh"].value


def test_without_a_cookie_name_no_cookie_is_set(jam: Jam) -> None:
    client = build(jam, header_name="Authorization", cookie_name=None).test_client()
    for path in ("/login", "/logout"):
        assert "Set-Cookie" not in post(client, path).headers


def test_the_cookies_are_those_of_a_good_login(client: FlaskClient) -> None:
    assert get(client, "/me").status_code == 401
    post(client, "/login")
    assert get(client, "/me").text == "me"


@each_case(
    ("at", "options", "paths"),
    [
        ("", {}, {REFRESH: "/refresh", LOGOUT: "/logout"}),
        ("/auth", {}, {REFRESH: "/auth/refresh", LOGOUT: "/auth/logout"}),
        ("/auth", {"refresh_path": "/auth"}, {REFRESH: "/auth"}),
        ("/auth", {"refresh_path": "/"}, {REFRESH: "/"}),
        ("/<tenant>/auth", {}, {REFRESH: "/"}),
        ("/api/<tenant>/auth", {}, {REFRESH: "/api"}),
    ],
)
def test_the_refresh_token_goes_only_to_the_urls_that_need_it(
    jam: Jam, at: str, options: dict[str, Any], paths: dict[str, str]
) -> None:
    app = build(jam, at=at, **options)
    app.url_value_preprocessors[None].append(lambda _, values: (values or {}).clear())
    sent = lines(post(app.test_client(), f"{at.replace('<tenant>', 'acme')}/login"))
    assert {name: path for name, path in sent if name != "token"} == paths


def test_a_refresh_token_that_goes_everywhere_is_told(
    jam: Jam, caplog: pytest.LogCaptureFixture
) -> None:
    post(build(jam, at="/auth").test_client(), "/auth/login")
    post(build(jam, at="/auth", refresh_path="/").test_client(), "/auth/login")
    assert "refresh_path" not in caplog.text
    app = Flask("elsewhere")
    jwt = JWTExtension(jam, app, cookie_name="token")
    app.add_url_rule("/token", "login", lambda: jwt.login("ann"), methods=["POST"])
    assert (REFRESH, "/") in lines(post(app.test_client(), "/token"))
    assert "refresh_path" in caplog.text


def test_below_a_mount_point_the_paths_are_the_browsers(jam: Jam) -> None:
    answer = build(jam).test_client().post("/login", base_url=f"{HTTPS}/shop")
    assert set(lines(answer)) == {
        ("token", "/"), (REFRESH, "/shop/refresh"), (LOGOUT, "/shop/logout"),
    }  # fmt: skip


def test_a_url_that_takes_no_post_or_only_sounds_alike_is_not_meant(jam: Jam) -> None:
    app = build(jam, at="/auth")
    app.add_url_rule("/refresh", "get only", lambda: "")
    app.add_url_rule("/x-refresh", "alike", lambda: "", methods=["POST"])
    assert (REFRESH, "/auth/refresh") in lines(post(app.test_client(), "/auth/login"))


def test_path_that_only_begins_like_the_refresh_url_gets_its_own_cookie(jam: Jam) -> None:
    app = Flask("beside")
    jwt = JWTExtension(jam, app, header_name=None, cookie_name="token")
    app.add_url_rule("/login", "login", lambda: jwt.login("ann"), methods=["POST"])
    app.add_url_rule("/refresh", "refresh", jwt.refresh, methods=["POST"])
    app.add_url_rule("/refreshed/logout", "out", lambda: (jwt.logout(), {})[1], methods=["POST"])
    assert (LOGOUT, "/refreshed/logout") in lines(post(app.test_client(), "/login"))


def test_of_several_urls_the_path_is_what_they_share(jam: Jam) -> None:
    app = build(jam, at="/api/v1")
    app.add_url_rule("/api/v2/refresh/", "second", lambda: "", methods=["POST"])
    said = lines(post(app.test_client(), "/api/v1/login"))
    assert {path for name, path in said if name == REFRESH} == {"/api"}
    assert (LOGOUT, "/api/v1/logout") not in said  # the first goes there already


@each_case("path", ["", "auth", "/a;b", "/a b", "/é", 5, "https://x/", "/a\r\nb"])
def test_a_refresh_path_that_no_cookie_can_have_is_an_error(path: Any) -> None:
    with pytest.raises(ConfigError, match="refresh_path"):
        JWTExtension(cookie_name="token", refresh_path=path)


# --- refresh ----------------------------------------------------------------------------------


def test_a_refresh_finds_its_cookie_and_sets_the_next(client: FlaskClient, clock: Clock) -> None:
    first = lines(post(client, "/login"))
    clock.tick(1000)
    assert get(client, "/me").status_code == 401
    second = lines(post(client, "/refresh"))
    assert set(second) == set(first)
    for key in first:
        assert first[key].value != second[key].value
        assert second[key]["max-age"] == first[key]["max-age"]
    assert get(client, "/me").text == "me"


def test_a_refresh_cookie_never_outlives_its_family(make_jam: MakeJam, clock: Clock) -> None:
    jam = make_jam(jwt={"refresh_idle": 5000, "refresh_absolute": 6000})
    client = build(jam).test_client()
    assert lines(post(client, "/login"))[REFRESH, "/refresh"]["max-age"] == "5000"
    clock.tick(4000)
    assert lines(post(client, "/refresh"))[REFRESH, "/refresh"]["max-age"] == "2000"


def test_a_refresh_cookie_ends_with_a_family_of_shorter_settings(
    make_jam: MakeJam, clock: Clock
) -> None:
    store = MemoryStore()
    began = make_jam(store=store, jwt={"refresh_idle": 5000, "refresh_absolute": 6000})
    sent = began.issue_tokens("ann")["refresh_token"]
    clock.tick(4000)
    loosened = make_jam(store=store, jwt={"refresh_idle": 50_000, "refresh_absolute": 60_000})
    client = build(loosened).test_client(use_cookies=False)
    answer = post(client, "/refresh", headers={"Cookie": f"{REFRESH}={sent}"})
    assert lines(answer)[REFRESH, "/refresh"]["max-age"] == "2000"


def test_a_token_of_the_body_counts_more_than_the_cookie(client: FlaskClient, jam: Jam) -> None:
    post(client, "/login")
    other = jam.issue_tokens("bob")["refresh_token"]
    answer = post(client, "/refresh", json={"refresh_token": other})
    claims = jam.verify_jwt_token(lines(answer)["token", "/"].value)
    assert claims["sub"] == "bob"


@each_case(
    "options",
    [{}, {"data": b""}, {"data": b"", "content_type": "application/json"}, {"json": {}},
     {"json": {"refresh_token": ""}}, {"data": {"other": "x"}}],
    ids=str,
)  # fmt: skip
def test_no_body_or_one_without_a_token_means_the_cookie(
    client: FlaskClient, options: dict[str, Any]
) -> None:
    post(client, "/login")
    assert post(client, "/refresh", **options).status_code == 200


@each_case("options", [{"json": {"refresh_token": 5}}, {"json": []}], ids=str)
def test_a_malformed_body_is_not_passed_over_for_the_cookie(
    client: FlaskClient, options: dict[str, Any]
) -> None:
    post(client, "/login")
    assert post(client, "/refresh", **options).status_code == 400


def test_without_either_there_is_nothing_to_refresh(client: FlaskClient) -> None:
    answer = post(client, "/refresh")
    assert (answer.status_code, answer.json["error"]) == (401, "missing_credential")
    assert "Set-Cookie" not in answer.headers


def test_two_tabs_that_refresh_at_once_both_go_on(client: FlaskClient) -> None:
    cookie = lines(post(client, "/login"))[REFRESH, "/refresh"].value
    headers = {"Cookie": f"{REFRESH}={cookie}"}
    tabs = [client.application.test_client(use_cookies=False) for _ in range(2)]
    answers = [lines(post(tab, "/refresh", headers=headers)) for tab in tabs]
    assert answers[0][REFRESH, "/refresh"].value == answers[1][REFRESH, "/refresh"].value


def test_a_refused_refresh_changes_no_cookie(client: FlaskClient, jam: Jam) -> None:
    post(client, "/login")
    jam.revoke_subject("ann")
    answer = post(client, "/refresh")
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_token")
    assert "Set-Cookie" not in answer.headers


def test_of_two_refresh_cookies_the_living_one_counts(client: FlaskClient, jam: Jam) -> None:
    cookie = lines(post(client, "/login"))[REFRESH, "/refresh"].value
    dead = jam.issue_tokens("ann")
    jam.revoke_token(dead["refresh_token"])
    other = jam.issue_tokens("bob")["refresh_token"]
    bare = client.application.test_client(use_cookies=False)
    for beside, status in ((dead["refresh_token"], 200), ("junk", 200), (other, 400)):
        both = {"Cookie": f"{REFRESH}={beside}; {REFRESH}={cookie}"}
        assert post(bare, "/refresh", headers=both).status_code == status, beside


def test_token_too_large_for_a_cookie_is_refused_without_a_login(jam: Jam) -> None:
    app = build(jam)
    jwt = app.extensions["flask_jam"].owners["jwt"]
    app.add_url_rule("/huge", "huge", lambda: jwt.login("ann", x="y" * 4000), methods=["POST"])
    heard: list[Any] = []
    with signals.logged_in.connected_to(lambda *_, **what: heard.append(what), app):
        app.testing = True
        with pytest.raises(TokenError, match="4096") as error:
            post(app.test_client(), "/huge")
    assert error.value.reason is Reason.TOO_LARGE
    assert heard == []


def test_cookie_may_be_as_long_as_browsers_keep(jam: Jam) -> None:
    app = build(jam)
    with app.test_request_context("/", base_url=HTTPS):
        most = LONGEST - len(_line(app, jam.settings, Cookie("a"), "", 60))
        set_later(app, jam.settings, Setting(Cookie("a"), "v" * most, 60))
        with pytest.raises(TokenError, match="4096"):
            set_later(app, jam.settings, Setting(Cookie("a"), "v" * (most + 1), 60))


# --- logout -----------------------------------------------------------------------------------


@each_case("at", ["", "/auth"])
def test_a_logout_clears_every_cookie_as_it_was_set(jam: Jam, at: str) -> None:
    client = build(jam, at=at).test_client()
    for end in ("logout", "forget"):
        set_, cleared = lines(post(client, f"{at}/login")), lines(post(client, f"{at}/{end}"))
        assert set(set_) == set(cleared)
        for key, morsel in cleared.items():
            assert (morsel.value, morsel["max-age"]) == ("", "0")
            for name in ("domain", "secure", "httponly", "samesite", "path"):
                assert morsel[name] == set_[key][name]


def test_after_a_logout_none_of_the_cookies_is_good(client: FlaskClient) -> None:
    said = lines(post(client, "/login"))
    assert post(client, "/logout").status_code == 200
    again = client.application.test_client(use_cookies=False)
    for name, path in ((REFRESH, "/refresh"), (LOGOUT, "/logout")):
        headers = {"Cookie": f"{REFRESH}={said[name, path].value}"}
        assert post(again, "/refresh", headers=headers).status_code == 401
    headers = {"Cookie": f"token={said['token', '/'].value}"}
    assert get(again, "/me", headers=headers).status_code == 401


def test_a_logout_ends_the_login_also_when_the_access_token_is_gone(
    client: FlaskClient, clock: Clock
) -> None:
    refresh = lines(post(client, "/login"))[REFRESH, "/refresh"].value
    clock.tick(1000)
    client.delete_cookie("token", domain="shop.example")
    heard: list[Any] = []
    with signals.logged_out.connected_to(lambda *_, **what: heard.append(what)):
        assert post(client, "/logout").status_code == 200
    assert [what["subject"] for what in heard] == ["ann"]
    again = client.application.test_client(use_cookies=False)
    answer = post(again, "/refresh", headers={"Cookie": f"{REFRESH}={refresh}"})
    assert answer.status_code == 401


@each_case(("path", "sent"), [
    ("/forget", '"cache", "storage"'), ("/session/forget", '"cache", "storage"'),
    ("/logout", None), ("/session/end", None),
])  # fmt: skip
def test_a_logout_has_the_browser_forget_the_site_where_it_was_asked_to(
    client: FlaskClient, path: str, sent: str | None
) -> None:
    answer = post(client, path)
    assert answer.headers.get("Clear-Site-Data") == sent
    assert answer.headers["Cache-Control"] == "no-store"


# --- sessions ---------------------------------------------------------------------------------


def test_a_session_cookie_lives_as_long_as_the_session_can(
    client: FlaskClient, clock: Clock
) -> None:
    first = lines(post(client, "/session/login"))["sessionId", "/"]
    assert first["max-age"] == str(30 * 86400)
    clock.tick(3600)
    second = lines(post(client, "/session/renew"))["sessionId", "/"]
    assert second["max-age"] == str(30 * 86400 - 3600)
    assert second.value != first.value


def test_session_cookie_of_a_clock_behind_lives_no_longer(
    client: FlaskClient, clock: Clock
) -> None:
    post(client, "/session/login")
    clock.tick(-5)
    renewed = lines(post(client, "/session/renew"))["sessionId", "/"]
    assert renewed["max-age"] == str(30 * 86400)


def test_a_session_logout_clears_the_cookie_as_it_was_set(client: FlaskClient) -> None:
    post(client, "/session/login")
    cleared = lines(post(client, "/session/end"))["sessionId", "/"]
    assert (cleared.value, cleared["max-age"]) == ("", "0")
    assert cleared["secure"] is cleared["httponly"] is True


# --- flags ------------------------------------------------------------------------------------


@each_case(
    ("settings", "debug", "secure"),
    [
        ({}, False, True), ({}, True, False), ({"cookie_secure": True}, True, True),
        ({"cookie_secure": False}, False, False), ({"cookie_samesite": "None"}, True, True),
        ({"cookie_partitioned": True}, True, True),
    ],
    ids=str,
)  # fmt: skip
def test_secure_is_off_only_where_nothing_needs_it(
    make_jam: MakeJam, settings: dict[str, Any], debug: bool, secure: bool
) -> None:
    client = build(make_jam(**settings), debug=debug).test_client()
    for path in ("/login", "/session/login", "/logout", "/session/end"):
        for morsel in lines(post(client, path)).values():
            assert (morsel["secure"] is True) is secure


@each_case("path", ["/login", "/session/login", "/logout", "/session/end"])
def test_partitioned_is_said_where_it_was_asked_for(make_jam: MakeJam, path: str) -> None:
    asked = post(build(make_jam(cookie_partitioned=True)).test_client(), path)
    for line in asked.headers.getlist("Set-Cookie"):
        assert line.endswith("SameSite=None; Partitioned")
        assert "; Secure" in line
    plain = post(build(make_jam()).test_client(), path)
    assert "Partitioned" not in str(plain.headers)


def test_a_domain_is_said_of_each(make_jam: MakeJam) -> None:
    jam = make_jam(cookie_domain="shop.example")
    client = build(jam).test_client()
    for path in ("/login", "/logout"):
        assert {m["domain"] for m in lines(post(client, path)).values()} == {"shop.example"}


@each_case("name", ["__Host-token", "__host-token", "__HOST-token"])
def test_a_host_cookie_is_one_and_its_refresh_token_is_secure(jam: Jam, name: str) -> None:
    client = build(jam, cookie_name=name, debug=True).test_client()
    said = lines(post(client, "/login"))
    assert set(said) == {
        (name, "/"), ("__Secure-token_refresh", "/refresh"), ("__Secure-token_logout", "/logout"),
    }  # fmt: skip
    for morsel in said.values():
        assert morsel["secure"] is True, "also in debug: no browser would keep it otherwise"
        assert morsel["domain"] == ""
    assert post(client, "/refresh").status_code == 200
    assert set(lines(post(client, "/logout"))) == set(said)


@each_case(
    ("name", "settings", "said"),
    [
        ("__Host-s", {"cookie_secure": False}, "Secure"),
        ("__Secure-s", {"cookie_secure": False}, "Secure"),
        ("__secure-s", {"cookie_secure": False}, "Secure"),
        ("__Host-s", {"cookie_domain": "example.org"}, "cookie_domain"),
        ("__host-s", {"cookie_domain": "example.org"}, "cookie_domain"),
    ],
)
@each_case("extension", [JWTExtension, SessionExtension])
def test_a_prefix_that_the_settings_break_is_an_error_at_start(
    make_jam: MakeJam, extension: Any, name: str, settings: dict[str, Any], said: str
) -> None:
    app = Flask("prefixes")
    with pytest.raises(ConfigError, match=said):
        extension(make_jam(**settings), app, cookie_name=name)
    extension(make_jam(), Flask("fine"), cookie_name=name)


def test_secure_over_plain_http_is_told_once_per_cookie(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        client.post("/session/login", base_url="http://shop.example")
    assert len([r for r in caplog.records if "ProxyFix" in r.getMessage()]) == 1


# --- reading ----------------------------------------------------------------------------------


@each_case(
    ("header", "values"),
    [
        ("s=1", ["1"]), ("a=2; s=1", ["1"]), ("s=1;s=2", ["1", "2"]), ("s=", []), ("s", []),
        ("xs=1; sx=2", []), ("s=1=2", ["1=2"]), ('s="1"', ['"1"']), ("", []), (";;=;", []),
    ],
)  # fmt: skip
def test_only_what_has_exactly_the_name_is_read(header: str, values: list[str]) -> None:
    assert values_of({"HTTP_COOKIE": header}, "s") == values


@each_case(
    ("header", "odd"),
    [
        ("s=1", False), ("s=1; a=2", False), ("s=1; xs=2", False), ("s=1; a=s", False),
        ("a=s=2; s=1", False), ("a=2", False), ("", False), ("\ts=1", False),
        ("s=1; s=2", False), ("s=1; s=1; s=2", False), ("s =1", True), ("s\t=1", True),
        ('"s"=1', True), ("'s'=1", True),
        ('s=1; "s"=2', True), ("s=1; s =2", True), ("s\x0b=1", True), ("s=1; s", False),
        ('" s "=1', True),
    ],
)  # fmt: skip
def test_a_lookalike_of_a_name_is_found(header: str, odd: bool) -> None:
    assert read_cookies({"HTTP_COOKIE": header}, "s")[1] is odd


def test_each_value_of_a_name_is_read_once() -> None:
    environ = {"HTTP_COOKIE": "s=1; a=9; s=2; s=1; s=; s"}
    assert values_of(environ, "s") == ["1", "2"]


def test_a_cookie_and_a_header_are_told_apart(jam: Jam) -> None:
    client = build(jam, header_name="Authorization").test_client()
    pair = jam.issue_tokens("bob")
    post(client, "/login")
    assert get(client, "/me", headers=bearer(pair["access_token"])).status_code == 200
    jam.revoke_subject("bob")
    assert get(client, "/me", headers=bearer(pair["access_token"])).status_code == 401


@each_case("beside", ["", "; sessionId={id}"])
@each_case("odd", ["sessionId ={id}", '"sessionId"={id}', "sessionId\t=x"])
def test_who_sends_what_is_nearly_a_cookie_of_ours_is_refused(
    client: FlaskClient, jam: Jam, odd: str, beside: str
) -> None:
    cookie = (odd + beside).format(id=jam.create_session("ann", {}))
    bare = client.application.test_client(use_cookies=False)
    answer = get(bare, "/mine", headers={"Cookie": cookie})
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


def test_a_cookie_domain_of_another_host_is_warned_of_once(
    make_jam: MakeJam, caplog: pytest.LogCaptureFixture
) -> None:
    app = build(make_jam(cookie_domain="shop.example"))
    for host, count in (("shop.example", 0), ("www.SHOP.example:8443", 0), ("other.example", 1)):
        caplog.clear()
        for _ in range(2):
            app.test_client().post("/login", base_url=f"https://{host}")
        warned = [each for each in caplog.records if "cookie_domain" in each.getMessage()]
        assert len(warned) == count, host
