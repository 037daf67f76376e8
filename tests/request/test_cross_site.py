"""A request that a cookie speaks for comes from the site itself, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_jam import Jam
from flask_jam._request.cross_site import SAFE, is_cross_site

from ..cases import each_case
from ..conftest import bearer, build_app

UNSAFE = ("POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "post", "")
ELSEWHERE = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}


def environ(method: str = "POST", host: str = "shop.example", **headers: str) -> dict[str, Any]:
    said = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    return {"REQUEST_METHOD": method, "wsgi.url_scheme": "https", "SERVER_NAME": "10.0.0.7",
            "SERVER_PORT": "8000", "HTTP_HOST": host, **said}  # fmt: skip


# --- the rule -----------------------------------------------------------------------------


@each_case("method", sorted(SAFE))
def test_what_changes_nothing_may_come_from_anywhere(method: str) -> None:
    asked = environ(method, origin="https://evil.example", sec_fetch_site="cross-site")
    assert not is_cross_site(asked, ())


@each_case("method", UNSAFE)
def test_every_other_method_is_checked(method: str) -> None:
    assert is_cross_site(environ(method, sec_fetch_site="cross-site"), ())
    assert not is_cross_site(environ(method, sec_fetch_site="same-origin"), ())


@each_case(
    ("site", "refused"),
    [
        ("same-origin", False), ("none", False), ("same-site", True), ("cross-site", True),
        ("", True), ("Same-Origin", True), ("same-origin,cross-site", True), ("x", True),
    ],
)  # fmt: skip
def test_the_browser_says_where_a_request_comes_from(site: str, refused: bool) -> None:
    assert is_cross_site(environ(sec_fetch_site=site), ()) is refused
    # What it says counts more than an Origin, which may be our own behind a proxy.
    own = environ(sec_fetch_site=site, origin="https://shop.example")
    assert is_cross_site(own, ()) is refused


@each_case(
    ("origin", "refused"),
    [
        ("https://shop.example", False), ("https://SHOP.example", False),
        ("https://shop.example:443", False), ("https://shop.example:8443", True),
        ("http://shop.example", True), ("https://shop.example.evil.example", True),
        ("https://evil.example", True), ("https://www.shop.example", True), ("null", True),
        ("", True), ("https://", True), ("shop.example", True), ("https://shop.example:x", True),
        ("ftp://shop.example", True), ("https://[::1", True), ("https://user@evil.example", True),
    ],
)  # fmt: skip
def test_without_that_the_origin_must_be_the_host(origin: str, refused: bool) -> None:
    assert is_cross_site(environ(origin=origin), ()) is refused


@each_case(
    ("host", "origin"),
    [
        ("shop.example:5000", "http://shop.example:5000"), ("127.0.0.1:80", "http://127.0.0.1"),
        ("[::1]:5000", "http://[::1]:5000"), ("shop.example", "https://shop.example"),
    ],
)  # fmt: skip
def test_a_proxy_may_end_tls_and_a_port_may_be_any(host: str, origin: str) -> None:
    asked = {**environ(host=host, origin=origin), "wsgi.url_scheme": "http"}
    assert not is_cross_site(asked, ())
    assert is_cross_site({**asked, "HTTP_HOST": "other.example"}, ())


def test_who_sends_neither_is_no_browser() -> None:
    assert not is_cross_site(environ(), ())


def test_without_a_host_header_the_server_is_the_host() -> None:
    asked = {**environ(origin="http://10.0.0.7:8000"), "wsgi.url_scheme": "http"}
    del asked["HTTP_HOST"]
    assert not is_cross_site(asked, ())


@each_case("site", ["same-site", "cross-site"])
def test_a_trusted_origin_may_and_nobody_beside_it(site: str) -> None:
    trusted = ("https://app.example",)
    for origin, refused in (
        ("https://app.example", False), ("https://APP.example", False),
        ("https://app.example.evil", True), ("http://app.example", True),
        ("https://app.example:444", True), ("null", True),
    ):  # fmt: skip
        assert is_cross_site(environ(origin=origin, sec_fetch_site=site), trusted) is refused
        assert is_cross_site(environ(origin=origin), trusted) is refused


# --- where it is asked ----------------------------------------------------------------------


@pytest.fixture
def app(jam: Jam) -> Flask:
    app = build_app(jam, cookie_name="token")
    for view in ("session", "open", "optional"):
        rule = next(rule for rule in app.url_map.iter_rules() if rule.endpoint == view)
        app.add_url_rule(rule.rule, f"{view}-post", app.view_functions[view], methods=["POST"])
    return app


@pytest.fixture
def signed_in(client: FlaskClient, jam: Jam) -> FlaskClient:
    client.set_cookie("sessionId", jam.create_session("ann", {"user": "ann"}))
    client.set_cookie("token", jam.issue_tokens("ann")["access_token"])
    return client


@each_case("path", ["/session", "/jwt", "/optional"])
def test_a_guard_refuses_a_cookie_from_another_site(
    signed_in: FlaskClient, event_log: list[tuple[str, dict[str, Any]]], path: str
) -> None:
    assert signed_in.post(path).status_code == 200
    event_log.clear()
    answer = signed_in.post(path, headers=ELSEWHERE)
    assert (answer.status_code, answer.json["error"]) == (403, "csrf")  # type: ignore[index]
    assert "WWW-Authenticate" not in answer.headers
    assert [(name, what["reason"], what["source"]) for name, what in event_log] == [
        ("rejected", "csrf", "cookie")
    ]


def test_reading_is_free(signed_in: FlaskClient) -> None:
    assert signed_in.get("/session", headers=ELSEWHERE).status_code == 200


def test_a_header_needs_none_of_it(client: FlaskClient, jam: Jam) -> None:
    token = jam.issue_tokens("ann")["access_token"]
    assert client.post("/jwt", headers={**ELSEWHERE, **bearer(token)}).status_code == 200


def test_a_junk_header_does_not_hide_a_cookie_from_the_check(signed_in: FlaskClient) -> None:
    # It is the credential that counts, and not what came beside it.
    sent = {**ELSEWHERE, "Authorization": "Basic eDp5"}
    assert signed_in.post("/jwt", headers=sent).status_code == 403


def test_on_an_undecorated_route_nobody_is_there(signed_in: FlaskClient) -> None:
    assert signed_in.post("/open").json["payload"] is not None  # type: ignore[index]
    assert signed_in.post("/open", headers=ELSEWHERE).json["payload"] is None  # type: ignore[index]


@each_case("path", ["/session-login/mallory", "/session-logout", "/session-refresh"])
def test_another_site_can_log_nobody_in_or_out(
    signed_in: FlaskClient, jam: Jam, event_log: list[tuple[str, dict[str, Any]]], path: str
) -> None:
    answer = signed_in.post(path, headers=ELSEWHERE)
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers
    assert [name for name, _ in event_log] == ["rejected"]
    assert signed_in.get("/session").json["subject"] == "ann"  # type: ignore[index]
    assert len(jam.list_sessions("ann")) == 1
    assert jam.list_sessions("mallory") == []


@each_case("path", ["/session-login/mallory", "/session-logout"])
def test_that_holds_where_the_browser_sent_no_cookie_along(
    client: FlaskClient, jam: Jam, path: str
) -> None:
    answer = client.post(path, headers=ELSEWHERE)
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (403, False)


def test_a_logout_by_header_needs_none_of_it(client: FlaskClient, jam: Jam) -> None:
    token = jam.issue_tokens("ann")["access_token"]
    assert client.post("/logout", headers={**ELSEWHERE, **bearer(token)}).status_code == 204


def test_the_store_is_not_asked_for_a_request_from_another_site(
    make_jam: Callable[..., Jam], signed_in: FlaskClient, monkeypatch: pytest.MonkeyPatch, jam: Jam
) -> None:
    monkeypatch.setattr(jam.store, "read_session", None)
    assert signed_in.post("/session", headers=ELSEWHERE).status_code == 403


def test_trusted_origins_are_trusted(make_jam: Callable[..., Jam]) -> None:
    jam = make_jam(trusted_origins=["https://app.example"])
    client = build_app(jam).test_client()
    client.set_cookie("sessionId", jam.create_session("ann", {}))
    sent = {"Origin": "https://app.example", "Sec-Fetch-Site": "same-site"}
    assert client.post("/session-refresh", headers=sent).status_code == 200
    assert client.post("/session-refresh", headers=ELSEWHERE).status_code == 403


# --- the verbs, where tokens are in cookies ---------------------------------------------------


@each_case("path", ["/login/mallory", "/refresh", "/logout"])
def test_another_site_sets_and_clears_no_token(
    signed_in: FlaskClient, jam: Jam, event_log: list[tuple[str, dict[str, Any]]], path: str
) -> None:
    event_log.clear()
    mallorys = {"refresh_token": jam.issue_tokens("mallory")["refresh_token"]}
    answer = signed_in.post(path, headers=ELSEWHERE, data=mallorys)
    assert (answer.status_code, answer.json["error"]) == (403, "csrf")  # type: ignore[index]
    assert "Set-Cookie" not in answer.headers
    assert [name for name, _ in event_log] == ["rejected"]
    assert signed_in.get("/jwt").json["subject"] == "ann"  # type: ignore[index]
    assert signed_in.post(path, data=mallorys).status_code in (200, 204)


@each_case("path", ["/login/ann", "/refresh"])
def test_where_they_are_not_in_cookies_there_is_nothing_to_check(jam: Jam, path: str) -> None:
    own = {"refresh_token": jam.issue_tokens("ann")["refresh_token"]}
    client = build_app(jam).test_client()
    assert client.post(path, headers=ELSEWHERE, json=own).status_code == 200


@each_case("view", ["logout", "session_logout"])
def test_a_picture_on_another_site_logs_nobody_out(
    signed_in: FlaskClient, app: Flask, view: str
) -> None:
    app.add_url_rule("/bye", "bye", app.view_functions[view], methods=["GET"])
    picture = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert signed_in.get("/bye", headers=picture).status_code == 403
    assert signed_in.get("/jwt").status_code == signed_in.get("/session").status_code == 200
    for own in ({"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {}):
        assert signed_in.get("/bye", headers=own).status_code == 204
