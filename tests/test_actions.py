"""Login, refresh and logout: durable first, then the cookie, then the signal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, g
from flask.testing import FlaskClient

from flask_jam import (
    ConfigError,
    Jam,
    JWTExtension,
    SessionExtension,
    StoreUnavailable,
    TokenError,
    current_auth,
    jwt_required,
    session_required,
)
from flask_jam.stores.memory import MemoryStore

from .conftest import Clock, bearer, build_app


def refresh(client: FlaskClient, token: object, **options: Any) -> Any:
    return client.post("/refresh", json={"refresh_token": token}, **options)


# --- tokens --------------------------------------------------------------------------------


def test_login_returns_the_pair_of_rfc_6749(app: Flask, jam: Jam) -> None:
    jwt = app.extensions["flask_jam"].owners["jwt"]
    app.add_url_rule("/in", "in", lambda: jwt.login("alice", scopes={"b", "a"}, roles={"r"}, n=1))
    answer = app.test_client().get("/in")
    assert set(answer.json) == {
        "access_token", "token_type", "expires_in", "refresh_token", "scope",
    }  # fmt: skip
    assert (answer.json["token_type"], answer.json["expires_in"]) == ("Bearer", 900)
    assert answer.json["scope"] == "a b"
    assert answer.headers["Cache-Control"] == "no-store"
    claims = jam.verify_jwt_token(answer.json["access_token"])
    assert (claims["sub"], claims["scope"], claims["roles"], claims["n"]) == (
        "alice", "a b", ["r"], 1,
    )  # fmt: skip


@pytest.mark.parametrize("as_form", [True, False])
def test_refresh_takes_a_json_or_a_form_field(client: FlaskClient, as_form: bool) -> None:
    pair = client.post("/login/alice").json
    field = {"refresh_token": pair["refresh_token"]}
    answer = client.post("/refresh", **({"data": field} if as_form else {"json": field}))
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json["refresh_token"] != pair["refresh_token"]
    assert client.get("/jwt", headers=bearer(answer.json["access_token"])).status_code == 200


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({}, 401),
        ({"data": b"", "content_type": "application/json"}, 400),
        ({"data": b"{", "content_type": "application/json"}, 400),
        ({"data": b"[" * 9000, "content_type": "application/json"}, 400),
        ({"data": b"[]", "content_type": "application/json"}, 400),
        ({"data": b"null", "content_type": "application/json"}, 400),
        ({"data": b'{"refresh_token":"a","refresh_token":"b"}',
          "content_type": "application/json"}, 400),
        ({"data": b"\xff\xfe", "content_type": "application/json"}, 400),
        ({"json": {}}, 401),
        ({"json": {"refresh_token": ""}}, 401),
        ({"json": {"refresh_token": None}}, 400),
        ({"json": {"refresh_token": 5}}, 400),
        ({"json": {"refresh_token": ["x"]}}, 400),
        ({"json": {"refresh_token": "x"}}, 401),
        ({"json": {"refresh_token": "x" * 20000}}, 400),
        ({"json": {"refresh_token": "é.1.\ud800"}}, 400),
        ({"data": {"refresh_token": ["a", "b"]}}, 400),
        ({"data": {"refresh_token": "x"}}, 401),
        ({"data": b"refresh_token=%ff%fe%00"}, 401),
        ({"query_string": {"refresh_token": "x"}}, 401),
        ({"data": b"x" * 20000, "content_type": "multipart/form-data; boundary=x"}, 400),
        ({"data": b"x", "content_type": "multipart/form-data"}, 401),
        ({"data": b"x", "content_type": "multipart/form-data; boundary=\xc3\xa9"}, 401),
    ],
)  # fmt: skip
def test_a_body_without_one_good_refresh_token_is_refused(
    client: FlaskClient, options: dict[str, Any], status: int
) -> None:
    answer = client.post("/refresh", **options)
    assert answer.status_code == status
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="api"')


def test_a_refresh_token_in_the_query_is_ignored(client: FlaskClient) -> None:
    token = client.post("/login/alice").json["refresh_token"]
    assert client.post("/refresh", query_string={"refresh_token": token}).status_code == 401


def test_an_access_token_does_not_refresh_and_a_refresh_token_opens_nothing(
    client: FlaskClient,
) -> None:
    pair = client.post("/login/alice").json
    assert refresh(client, pair["access_token"]).status_code == 401
    assert client.get("/jwt", headers=bearer(pair["refresh_token"])).status_code == 401
    assert refresh(client, pair["refresh_token"]).status_code == 200


def test_logout_ends_the_token_its_family_and_nothing_else(client: FlaskClient) -> None:
    mine, others = client.post("/login/alice").json, client.post("/login/alice").json
    newer = refresh(client, mine["refresh_token"]).json
    assert client.post("/logout", headers=bearer(mine["access_token"])).status_code == 204
    for pair in (mine, newer):
        assert client.get("/jwt", headers=bearer(pair["access_token"])).status_code == 401
        assert refresh(client, pair["refresh_token"]).status_code == 401
    assert client.get("/jwt", headers=bearer(others["access_token"])).status_code == 200
    assert refresh(client, others["refresh_token"]).status_code == 200


def test_logout_with_an_expired_token_still_ends_the_family(
    client: FlaskClient, clock: Clock, jam: Jam
) -> None:
    pair = client.post("/login/alice").json
    clock.tick(1000)
    before = jam.verifier.cache_info().currsize
    assert client.post("/logout", headers=bearer(pair["access_token"])).status_code == 204
    assert refresh(client, pair["refresh_token"]).status_code == 401
    assert jam.verifier.cache_info().currsize == before


@pytest.mark.parametrize("headers", [{}, bearer("a.b.c"), {"Authorization": "Basic x"}])
def test_logout_of_nobody_changes_nothing(
    client: FlaskClient, headers: dict[str, str], event_log: Any
) -> None:
    assert client.post("/logout", headers=headers).status_code == 204
    assert event_log == []


def test_logout_twice_is_harmless(client: FlaskClient) -> None:
    sent = bearer(client.post("/login/alice").json["access_token"])
    assert [client.post("/logout", headers=sent).status_code for _ in range(2)] == [204, 204]


def test_logout_works_without_a_revocation_list(make_jam: Callable[..., Jam]) -> None:
    client = build_app(make_jam(jwt={"list": "off"})).test_client()
    pair = client.post("/login/alice").json
    assert client.post("/logout", headers=bearer(pair["access_token"])).status_code == 204
    assert refresh(client, pair["refresh_token"]).status_code == 401


def test_after_logout_the_view_sees_nobody(jam: Jam) -> None:
    app = Flask("leaving")
    jwt = JWTExtension(jam, app)

    @app.post("/")
    @jwt_required
    def leave() -> dict[str, Any]:
        jwt.logout()
        return {"payload": g.payload, "auth": current_auth()}

    sent = bearer(jam.issue_tokens("alice")["access_token"])
    assert app.test_client().post("/", headers=sent).json == {"payload": None, "auth": None}


def test_reload_claims_gives_new_ones_or_refuses(jam: Jam) -> None:
    known: dict[str, Any] = {"alice": {"roles": ["editor"]}}
    client = build_app(jam, reload_claims=lambda name, _old: known.get(name)).test_client()
    pair = client.post("/login/alice").json
    pair = refresh(client, pair["refresh_token"]).json
    assert jam.verify_jwt_token(pair["access_token"])["roles"] == ["editor"]
    known.clear()
    assert refresh(client, pair["refresh_token"]).status_code == 401


# --- sessions --------------------------------------------------------------------------------


def test_login_sets_the_cookie_and_shows_no_id(client: FlaskClient, jam: Jam) -> None:
    answer = client.post("/session-login/alice", headers={"User-Agent": "test/1"})
    cookie = answer.headers["Set-Cookie"]
    session_id = cookie.split("=", 1)[1].split(";")[0]
    assert "; Secure; HttpOnly; Path=/; SameSite=Lax" in cookie
    assert "Max-Age=2592000" in cookie
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json == {"expires_in": 86400}
    assert session_id not in answer.text
    assert client.get("/session").json["payload"] == {"user": "alice"}
    (info,) = jam.list_sessions("alice")
    assert (info.user_agent, info.ip) == ("test/1", "127.0.0.1")


def test_login_shows_the_id_where_a_header_carries_it(jam: Jam) -> None:
    app = Flask("header_sessions")
    session = SessionExtension(jam, app, header_name="X-Session", cookie_name=None)
    app.add_url_rule("/in", "in", lambda: session.login("alice", {"n": 1}))
    app.add_url_rule("/", "view", session_required(lambda: g.payload))
    client = app.test_client()
    answer = client.get("/in")
    assert "Set-Cookie" not in answer.headers
    sent = {"X-Session": f"Bearer {answer.json['session_id']}"}
    assert client.get("/", headers=sent).json == {"n": 1}


def test_login_ends_the_session_that_the_request_came_with(client: FlaskClient, jam: Jam) -> None:
    planted = jam.create_session("mallory", {"user": "mallory"})
    client.set_cookie("sessionId", planted)
    client.post("/session-login/alice")
    assert jam.get_session(planted) is None
    assert client.get("/session").json["subject"] == "alice"


def test_an_unknown_id_is_never_adopted(client: FlaskClient, jam: Jam) -> None:
    client.set_cookie("sessionId", "A" * 43)
    answer = client.post("/session-login/alice")
    assert "A" * 43 not in answer.headers["Set-Cookie"]
    assert jam.get_session("A" * 43) is None


def test_login_without_data_is_a_session_all_the_same(jam: Jam) -> None:
    app = Flask("empty")
    session = SessionExtension(jam, app)
    app.add_url_rule("/in", "in", lambda: session.login("alice"))
    app.add_url_rule("/", "view", session_required(lambda: {"payload": g.payload}))
    client = app.test_client()
    client.get("/in")
    assert client.get("/").json == {"payload": {}}


def test_refresh_moves_the_session_to_a_new_id(client: FlaskClient, jam: Jam) -> None:
    client.post("/session-login/alice")
    old = client.get_cookie("sessionId")
    assert client.post("/session-refresh").status_code == 200
    new = client.get_cookie("sessionId")
    assert old is not None
    assert new is not None
    assert old.value != new.value
    assert jam.get_session(old.value) is None
    assert client.get("/session").json["subject"] == "alice"


@pytest.mark.parametrize("value", [None, "", "x", "A" * 43])
def test_refresh_of_no_session_is_refused(client: FlaskClient, value: str | None) -> None:
    if value is not None:
        client.set_cookie("sessionId", value)
    answer = client.post("/session-refresh")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Cookie realm="api"')


def test_logout_ends_the_session_and_clears_the_cookie_as_it_was_set(
    client: FlaskClient, jam: Jam
) -> None:
    client.post("/session-login/alice")
    cookie = client.get_cookie("sessionId")
    answer = client.post("/session-logout")
    assert cookie is not None
    assert jam.get_session(cookie.value) is None
    cleared = answer.headers["Set-Cookie"]
    assert cleared.startswith("sessionId=;")
    assert "Max-Age=0; Secure; HttpOnly; Path=/; SameSite=Lax" in cleared
    assert client.get("/session").status_code == 401


def test_a_view_sees_the_session_that_it_has_just_started(jam: Jam) -> None:
    app = Flask("arriving")
    session = SessionExtension(jam, app)

    @app.post("/")
    def arrive() -> dict[str, Any]:
        session.login("alice", {"n": 1})
        auth = current_auth()
        return {"payload": g.payload, "subject": auth.subject if auth else None}

    assert app.test_client().post("/").json == {"payload": {"n": 1}, "subject": "alice"}


@pytest.mark.parametrize(
    ("config", "debug", "secure"),
    [({}, False, True), ({}, True, False), ({"cookie_secure": True}, True, True),
     ({"cookie_secure": False}, False, False)],
)  # fmt: skip
def test_secure_is_off_only_in_debug_or_on_demand(
    make_jam: Callable[..., Jam], config: dict[str, Any], debug: bool, secure: bool
) -> None:
    app = build_app(make_jam(**config))
    app.debug = debug
    cookie = app.test_client().post("/session-login/alice").headers["Set-Cookie"]
    assert ("Secure" in cookie) is secure


def test_samesite_and_domain_are_settings(make_jam: Callable[..., Jam]) -> None:
    jam = make_jam(cookie_samesite="Strict", cookie_domain="example.org")
    cookie = build_app(jam).test_client().post("/session-login/a").headers["Set-Cookie"]
    assert "SameSite=Strict" in cookie
    assert "Domain=example.org" in cookie


# --- the store fails --------------------------------------------------------------------------


class Failing(MemoryStore):
    """Does not answer while ``down``."""

    down = False

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name != "down" and type(self).down:
            raise StoreUnavailable
        return super().__getattribute__(name)


@pytest.mark.parametrize(
    "path", ["/login/alice", "/session-login/alice", "/refresh", "/logout", "/session-logout",
             "/session-refresh"],
)  # fmt: skip
def test_what_could_not_be_stored_has_not_happened(
    make_jam: Callable[..., Jam], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = build_app(make_jam(store=Failing())).test_client()
    pair = client.post("/login/alice").json
    client.post("/session-login/alice")
    options: dict[str, Any] = {"headers": bearer(pair["access_token"])}
    if path == "/refresh":
        options["json"] = {"refresh_token": pair["refresh_token"]}
    monkeypatch.setattr(Failing, "down", True)
    answer = client.post(path, **options)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "Set-Cookie" not in answer.headers
    assert "WWW-Authenticate" not in answer.headers
    monkeypatch.setattr(Failing, "down", False)
    assert refresh(client, pair["refresh_token"]).status_code == 200
    assert client.get("/session").status_code == 200


# --- wrong calls of the developer ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (((5,), {}), TokenError), ((("",), {}), TokenError), ((("a\nb",), {}), TokenError),
        ((("a",), {"sub": "b"}), TokenError), ((("a",), {"exp": 5}), TokenError),
        ((("a",), {"roles": "admin"}), ConfigError), ((("a",), {"n": {1}}), TokenError),
        ((("a",), {"big": "x" * 9000}), TokenError),
    ],
)  # fmt: skip
def test_a_wrong_login_is_the_developers_error(app: Flask, arguments: Any, error: Any) -> None:
    jwt = app.extensions["flask_jam"].owners["jwt"]
    with app.test_request_context(), pytest.raises(error):
        jwt.login(*arguments[0], **arguments[1])


def test_a_verb_of_an_extension_that_is_not_on_the_app_says_so(app: Flask, jam: Jam) -> None:
    for stranger in (JWTExtension(jam), SessionExtension(jam)):
        with app.test_request_context(), pytest.raises(ConfigError, match=r"\.init_app\(app\)"):
            stranger.logout()
