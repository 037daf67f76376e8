"""Clients that cannot change at once: where they send a refresh token, and which one they keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from flask_jam import ConfigError, Jam, JWTExtension, jwt_required, signals

from ..cases import each_case
from ..conftest import Clock, bearer, build_app

MakeJam = Callable[..., Jam]
OLD: dict[str, Any] = {"refresh_sources": ("header", "body")}


@pytest.fixture
def keeping(make_jam: MakeJam) -> Jam:
    return make_jam(jwt={"rotate_refresh_tokens": False})


# --- where the refresh token is -------------------------------------------------------


def test_a_header_carries_a_refresh_token_where_that_is_on(jam: Jam) -> None:
    client = build_app(jam, **OLD).test_client()
    pair = client.post("/login/ann").json
    answer = client.post("/refresh", headers=bearer(pair["refresh_token"]))
    assert answer.status_code == 200
    assert answer.json["refresh_token"] != pair["refresh_token"]
    json = {"refresh_token": answer.json["refresh_token"]}
    assert client.post("/refresh", json=json).status_code == 200


def test_a_header_carries_no_refresh_token_by_default(jam: Jam) -> None:
    client = build_app(jam).test_client()
    pair = client.post("/login/ann").json
    answer = client.post("/refresh", headers=bearer(pair["refresh_token"]))
    assert (answer.status_code, answer.json["error"]) == (401, "missing_credential")


@each_case("content_type", [None, "application/json", "application/x-www-form-urlencoded"])
def test_a_refresh_by_header_needs_no_body(jam: Jam, content_type: str | None) -> None:
    client = build_app(jam, **OLD).test_client()
    token = client.post("/login/ann").json["refresh_token"]
    answer = client.post("/refresh", headers=bearer(token), content_type=content_type)
    assert answer.status_code == 200


def test_an_access_token_in_the_header_leaves_the_body_to_count(jam: Jam) -> None:
    client = build_app(jam, **OLD).test_client()
    pair = client.post("/login/ann").json
    sent = {"headers": bearer(pair["access_token"])}
    json = {"refresh_token": pair["refresh_token"]}
    assert client.post("/refresh", json=json, **sent).status_code == 200
    alone = client.post("/refresh", **sent)
    assert (alone.status_code, alone.json["error"]) == (401, "missing_credential")


def test_a_refresh_token_in_header_and_body_is_refused(jam: Jam) -> None:
    client = build_app(jam, **OLD).test_client()
    first, second = (client.post("/login/ann").json["refresh_token"] for _ in range(2))
    for in_header, in_body in ((first, first), (first, second), (first, "x")):
        for kind in ("json", "data"):
            body: Any = {kind: {"refresh_token": in_body}}
            answer = client.post("/refresh", headers=bearer(in_header), **body)
            assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")
    assert client.post("/refresh", headers=bearer(first)).status_code == 200


@each_case(
    ("header", "status"),
    [
        ("Bearer", 400), ("Bearer {t} x", 400), ("Bearer {t}, Bearer {t}", 400),
        ("bearer {t}", 200), ("Token {t}", 401), ("{t}", 401), ("Basic {t}", 401),
        ("Bearer {t}x", 401), ("Bearer x", 401), ("Bearer a.1.b", 401),
    ],
)  # fmt: skip
def test_a_bad_header_is_not_taken_for_a_refresh_token(jam: Jam, header: str, status: int) -> None:
    client = build_app(jam, **OLD).test_client()
    token = client.post("/login/ann").json["refresh_token"]
    answer = client.post("/refresh", headers={"Authorization": header.format(t=token)})
    assert answer.status_code == status


def test_a_refresh_token_takes_the_word_of_the_access_token(jam: Jam) -> None:
    client = build_app(jam, header_type="Token", **OLD).test_client()
    pair = client.post("/login/ann").json
    assert pair["token_type"] == "Token"
    for word, status in (("Bearer", 401), ("Token", 200)):
        sent = {"Authorization": f"{word} {pair['refresh_token']}"}
        assert client.post("/refresh", headers=sent).status_code == status


def test_a_refresh_token_in_the_header_is_no_access_token(jam: Jam) -> None:
    client = build_app(jam, **OLD).test_client()
    pair = client.post("/login/ann").json
    assert client.get("/jwt", headers=bearer(pair["refresh_token"])).status_code == 401
    old = jam.refresh_tokens(pair["refresh_token"])
    answer = client.post("/refresh", headers=bearer(old["access_token"]))
    assert answer.status_code == 401


def test_a_source_that_is_left_out_is_not_read(jam: Jam) -> None:
    options: dict[str, Any] = {"cookie_name": "token", "refresh_sources": {"header"}}
    client = build_app(jam, **options).test_client()
    pair = client.post("/login/ann").json
    token = pair["refresh_token"]
    assert client.post("/refresh", json={"refresh_token": token}).status_code == 401
    client.set_cookie("token_refresh", token, path="/refresh")
    assert client.post("/refresh").status_code == 401
    assert client.post("/refresh", headers=bearer(token)).status_code == 200


def test_a_header_beats_the_cookie_of_a_refresh_token(jam: Jam) -> None:
    options: dict[str, Any] = {"cookie_name": "token", "refresh_sources": ("header", "cookie")}
    client = build_app(jam, **options).test_client()
    client.post("/login/bob")
    in_header = jam.issue_tokens("ann")["refresh_token"]
    made = client.post("/refresh", headers=bearer(in_header)).json
    assert jam.verify_jwt_token(made["access_token"])["sub"] == "ann"


@each_case(
    ("options", "sentence"),
    [
        ({"refresh_sources": ("boddy",)}, "did you mean body"),
        ({"refresh_sources": ("query",)}, "none of body, cookie, header"),
        ({"refresh_sources": ()}, "at least one"),
        ({"refresh_sources": "body"}, "write a set of names"),
        ({"refresh_sources": None}, "write a set of names"),
        ({"refresh_sources": (1,)}, "every name must be a non-empty string"),
        ({"refresh_sources": ("cookie",)}, "needs a cookie_name"),
        ({"header_name": None, "cookie_name": "t", "refresh_sources": ("header",)}, "set that"),
        ({"header_name": None, "cookie_name": "t", "refresh_sources": ("body",)}, "add \"cookie\""),
    ],
)  # fmt: skip
def test_refresh_sources_that_cannot_work_are_an_error(
    jam: Jam, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        JWTExtension(jam, **options)


# --- a refresh token that is kept -----------------------------------------------------


def test_a_kept_refresh_token_gives_an_access_token_alone(keeping: Jam) -> None:
    client = build_app(keeping, cookie_name="token", **OLD).test_client(use_cookies=False)
    token = client.post("/login/ann").json["refresh_token"]
    for request in ({"headers": bearer(token)}, {"json": {"refresh_token": token}}):
        for _ in range(2):
            answer = client.post("/refresh", **request)
            assert set(answer.json) == {"access_token", "token_type", "expires_in", "scope"}
            assert "Set-Cookie" not in answer.headers
            assert answer.headers["Cache-Control"] == "no-store"
            sent = bearer(answer.json["access_token"])
            assert client.get("/jwt", headers=sent).json["subject"] == "ann"


def test_a_refresh_token_of_a_cookie_is_rotated_all_the_same(keeping: Jam) -> None:
    client = build_app(keeping, cookie_name="token").test_client()
    first = client.post("/login/ann").json["refresh_token"]
    second = client.post("/refresh").json["refresh_token"]
    assert client.get_cookie("token_refresh", path="/refresh").value == second != first  # type: ignore[union-attr]
    third = client.post("/refresh").json["refresh_token"]
    assert third not in (first, second)
    answer = client.post("/refresh", json={"refresh_token": first})
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_token")


def test_where_only_cookies_carry_tokens_every_one_is_rotated(keeping: Jam) -> None:
    app = build_app(keeping, header_name=None, cookie_name="token")
    client = app.test_client()
    client.post("/login/ann")
    stolen = client.get_cookie("token_refresh", path="/refresh").value  # type: ignore[union-attr]
    thief = app.test_client()
    assert thief.post("/refresh", json={"refresh_token": stolen}).status_code == 200
    assert thief.post("/refresh").status_code == 200
    assert client.post("/refresh").status_code == 401
    assert thief.post("/refresh").status_code == 401


def test_a_logout_ends_a_kept_refresh_token(keeping: Jam) -> None:
    client = build_app(keeping, **OLD).test_client()
    pair = client.post("/login/ann").json
    made = client.post("/refresh", headers=bearer(pair["refresh_token"])).json
    assert client.post("/logout", headers=bearer(made["access_token"])).status_code == 204
    assert client.post("/refresh", headers=bearer(pair["refresh_token"])).status_code == 401
    for each in (pair, made):
        assert client.get("/jwt", headers=bearer(each["access_token"])).status_code == 401


def test_a_refresh_of_a_kept_token_is_announced(keeping: Jam) -> None:
    app = build_app(keeping, **OLD)
    client, seen = app.test_client(), []
    pair = client.post("/login/ann").json

    def note(_sender: Flask, **what: Any) -> None:
        seen.append((what["scheme"], what["subject"], what["payload"]["sub"]))

    with signals.refreshed.connected_to(note, app):
        client.post("/refresh", headers=bearer(pair["refresh_token"]))
    assert seen == [("jwt", "ann", "ann")]


def test_a_fresh_login_is_no_younger_by_a_kept_token(keeping: Jam, clock: Clock) -> None:
    client = build_app(keeping, **OLD).test_client()
    pair = client.post("/login/ann").json
    clock.tick(301)
    made = client.post("/refresh", headers=bearer(pair["refresh_token"])).json
    assert client.get("/fresh", headers=bearer(made["access_token"])).status_code == 401
    assert client.get("/jwt", headers=bearer(made["access_token"])).status_code == 200


# --- a login without a refresh token, or with a shorter life ----------------------------


def app_with_short_logins(jam: Jam, **options: Any) -> Flask:
    app = build_app(jam, **options)
    jwt = app.extensions["flask_jam"].owners["jwt"]
    app.add_url_rule(
        "/alone/<name>", "alone", lambda name: jwt.login(name, refresh=False), methods=["POST"]
    )
    app.add_url_rule(
        "/short/<name>", "short", lambda name: jwt.login(name, expires_in=60), methods=["POST"]
    )
    return app


def test_a_login_without_refresh_is_in_force_at_once(jam: Jam) -> None:
    client = app_with_short_logins(jam).test_client()
    answer = client.post("/alone/ann")
    assert set(answer.json) == {"access_token", "token_type", "expires_in", "scope"}
    sent = bearer(answer.json["access_token"])
    assert client.get("/jwt", headers=sent).json["subject"] == "ann"
    assert client.post("/logout", headers=sent).status_code == 204
    assert client.get("/jwt", headers=sent).status_code == 401


def test_a_login_without_refresh_clears_the_refresh_cookie(jam: Jam) -> None:
    client = app_with_short_logins(jam, cookie_name="token").test_client()
    client.post("/login/ann")
    answer = client.post("/alone/bob")
    sent = [line.partition(";")[0] for line in answer.headers.getlist("Set-Cookie")]
    assert "token_refresh=" in sent
    assert client.get_cookie("token_refresh", path="/refresh") is None
    assert client.get("/jwt").json["subject"] == "bob"
    assert client.post("/refresh").status_code == 401


def test_a_cookie_lives_as_long_as_its_shorter_token(jam: Jam) -> None:
    client = app_with_short_logins(jam, cookie_name="token").test_client()
    for answer in (client.post("/short/ann"), client.post("/refresh")):
        line = next(c for c in answer.headers.getlist("Set-Cookie") if c.startswith("token="))
        assert "Max-Age=60;" in line
        assert answer.json["expires_in"] == 60


def test_a_token_alone_is_in_its_cookie_alone(jam: Jam) -> None:
    app = app_with_short_logins(jam, header_name=None, cookie_name="token")
    client = app.test_client()
    answer = client.post("/alone/ann")
    assert set(answer.json) == {"token_type", "expires_in", "scope"}
    assert client.get("/jwt").json["subject"] == "ann"


def test_a_view_that_lengthens_a_token_hears_of_it(jam: Jam) -> None:
    app = Flask("long")
    app.testing = True
    jwt = JWTExtension(jam, app)
    app.add_url_rule("/in", "in", lambda: jwt.login("ann", expires_in=3600))
    app.add_url_rule("/", "view", jwt_required(lambda: ""))
    with pytest.raises(Exception, match="only shortens jwt.expire"):
        app.test_client().get("/in")
