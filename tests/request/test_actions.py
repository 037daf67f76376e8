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

from ..cases import each_case
from ..conftest import Clock, bearer, build_app


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


@each_case("as_form", [True, False])
def test_refresh_takes_a_json_or_a_form_field(client: FlaskClient, as_form: bool) -> None:
    pair = client.post("/login/alice").json
    field = {"refresh_token": pair["refresh_token"]}
    answer = client.post("/refresh", **({"data": field} if as_form else {"json": field}))
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json["refresh_token"] != pair["refresh_token"]
    assert client.get("/jwt", headers=bearer(answer.json["access_token"])).status_code == 200


@each_case(
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


def test_access_and_refresh_tokens_are_not_interchangeable(
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


@each_case("headers", [{}, bearer("a.b.c"), {"Authorization": "Basic x"}])
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
    client.set_cookie("sessionId", "A" * 45)
    answer = client.post("/session-login/alice")
    assert "A" * 45 not in answer.headers["Set-Cookie"]
    assert jam.get_session("A" * 45) is None


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


@each_case("value", [None, "", "x", "A" * 45])
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


@each_case(
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


# --- several in one request, several credentials in one request ---------------------------


@pytest.fixture
def site(jam: Jam) -> tuple[Flask, SessionExtension]:
    app = Flask("site")
    session = SessionExtension(jam, app, header_name="X-Session")
    JWTExtension(jam, app, cookie_name="token")
    app.add_url_rule("/", "home", session_required(lambda: g.payload))
    return app, session


def test_a_logout_in_the_request_of_the_login_ends_that_session(site: Any, jam: Jam) -> None:
    app, session = site
    app.add_url_rule("/x", "x", lambda: (session.login("alice"), session.logout(), "bye")[2])
    answer = app.test_client().get("/x")
    assert jam.list_sessions("alice") == []
    assert answer.headers.getlist("Set-Cookie")[-1].startswith("sessionId=;")


def test_a_logout_after_a_refresh_ends_the_new_session(site: Any, jam: Jam) -> None:
    app, session = site
    app.add_url_rule("/x", "x", lambda: (session.refresh(), session.logout(), "bye")[2])
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("alice", {}))
    assert client.get("/x").text == "bye"
    assert jam.list_sessions("alice") == []


def test_a_second_login_and_a_refresh_in_one_request_mean_the_first(site: Any, jam: Jam) -> None:
    app, session = site
    steps = (lambda: session.login("alice"), lambda: session.login("alice"), session.refresh)
    app.add_url_rule("/x", "x", lambda: [step() for step in steps][-1])
    client = app.test_client()
    assert client.get("/x").status_code == 200
    assert len(jam.list_sessions("alice")) == 1
    assert client.get("/").status_code == 200


def test_a_guard_after_a_login_means_the_new_session(site: Any, jam: Jam) -> None:
    app, session = site

    def switch() -> Any:
        session.login("bob", {"roles": ["reader"]})
        session_required.enforce()
        subject = current_auth().subject  # type: ignore[union-attr]
        session_required(roles={"admin"}).enforce()
        return subject

    app.add_url_rule("/x", "x", switch)
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("alice", {"roles": ["admin"]}))
    assert client.get("/x").status_code == 403
    assert [jam.list_sessions(name) == [] for name in ("alice", "bob")] == [True, False]


def test_a_guard_after_a_token_login_means_the_new_token(jam: Jam) -> None:
    app = Flask("tokens")
    jwt = JWTExtension(jam, app)

    def switch() -> Any:
        jwt.login("bob")
        jwt_required.enforce()
        subject = current_auth().subject  # type: ignore[union-attr]
        jwt.logout()
        return {"subject": subject, "after": current_auth()}

    app.add_url_rule("/x", "x", switch)
    sent = bearer(jam.issue_tokens("alice")["access_token"])
    assert app.test_client().get("/x", headers=sent).json == {"subject": "bob", "after": None}


@each_case("cookie", ["sessionId={0}; sessionId=x", "sessionId=x; sessionId={0}", "sessionId={0}"])
def test_a_session_logout_ends_every_session_that_the_request_carries(
    site: Any, jam: Jam, cookie: str
) -> None:
    app, session = site
    app.add_url_rule("/x", "x", lambda: (session.logout(), "bye")[1])
    one, two = jam.create_session("alice", {}), jam.create_session("alice", {})
    sent = {"Cookie": cookie.format(one), "X-Session": f"Bearer {two}"}
    assert app.test_client(use_cookies=False).get("/x", headers=sent).text == "bye"
    assert jam.list_sessions("alice") == []


def test_a_login_ends_a_planted_session_in_any_source(site: Any, jam: Jam) -> None:
    app, session = site
    app.add_url_rule("/x", "x", lambda: session.login("alice"))
    one, two = jam.create_session("mallory", {}), jam.create_session("mallory", {})
    sent = {"Cookie": f"sessionId={one}", "X-Session": f"Bearer {two}"}
    assert app.test_client(use_cookies=False).get("/x", headers=sent).status_code == 200
    assert jam.list_sessions("mallory") == []


@each_case(
    ("header", "cookie"),
    [("Bearer {0} x", ""), ("", "token={0}; token=x"), ("Bearer {0},Bearer {0}", ""),
     ("Bearer {0}", "token=x")],
)  # fmt: skip
def test_a_token_logout_ends_every_token_that_the_request_carries(
    site: Any, jam: Jam, header: str, cookie: str
) -> None:
    app, _ = site
    jwt = app.extensions["flask_jam"].owners["jwt"]
    app.add_url_rule("/x", "x", lambda: (jwt.logout(), "bye")[1])
    token = jam.issue_tokens("alice")["access_token"]
    sent = {"Authorization": header.format(token), "Cookie": cookie.format(token)}
    answer = app.test_client(use_cookies=False).get("/x", headers=sent)
    assert answer.text == "bye"
    with pytest.raises(TokenError):
        jam.verify_jwt_token(token)


def test_a_logout_with_the_refresh_token_ends_its_family(client: FlaskClient) -> None:
    pair = client.post("/login/alice").json
    assert client.post("/logout", headers=bearer(pair["refresh_token"])).status_code == 204
    assert refresh(client, pair["refresh_token"]).status_code == 401
    assert client.get("/jwt", headers=bearer(pair["access_token"])).status_code == 401


@each_case("path", ["/logout", "/session-logout"])
def test_a_logout_that_carries_only_rubbish_is_refused(jam: Jam, path: str) -> None:
    client = build_app(jam, cookie_name="token").test_client(use_cookies=False)
    many = "; ".join(f"sessionId={number}" for number in range(5))
    sent = {"Authorization": "Bearer a b", "Cookie": many}
    assert client.post(path, headers=sent).status_code == 400


def test_a_logout_with_more_cookies_than_are_looked_at_is_refused(jam: Jam) -> None:
    client = build_app(jam).test_client(use_cookies=False)
    many = "; ".join(f"sessionId={jam.create_session('ann', {})}" for _ in range(5))
    assert client.post("/session-logout", headers={"Cookie": many}).status_code == 400
    assert len(jam.list_sessions("ann")) == 5


class Racing(MemoryStore):
    """Somebody revokes alice right after a session of hers was stored."""

    jam: Jam

    def create_session(self, *args: Any) -> bool:
        created = super().create_session(*args)
        self.jam.revoke_subject("alice")
        return created

    def rework_session(self, *args: Any) -> Any:
        reworked = super().rework_session(*args)
        self.jam.revoke_subject("alice")
        return reworked


def test_a_revocation_that_overtakes_a_login_is_a_401(make_jam: Callable[..., Jam]) -> None:
    store = Racing()
    jam = store.jam = make_jam(store=store)
    client = build_app(jam).test_client()
    assert client.post("/session-login/alice").status_code == 401
    assert jam.list_sessions("alice") == []


def test_id_that_a_revocation_overtakes_during_its_refresh_opens_nothing(
    make_jam: Callable[..., Jam],
) -> None:
    # The new id is not looked up: whether the client got it is open until it is used.
    store = Racing()
    jam = store.jam = make_jam(store=store)
    client = build_app(jam).test_client()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Racing, "create_session", MemoryStore.create_session)
        client.set_cookie("sessionId", jam.create_session("alice", {}))
    client.post("/session-refresh")
    assert client.get("/session").status_code == 401
    assert client.post("/session-refresh").status_code == 401
    assert jam.list_sessions("alice") == []


def test_a_login_that_was_stamped_before_the_revocation_is_a_401(
    jam: Jam, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, create = jam.store, jam.store.create_session

    def overtaken(*args: Any) -> bool:
        jam.revoke_subject("alice")
        return create(*args)

    monkeypatch.setattr(store, "create_session", overtaken)
    assert build_app(jam).test_client().post("/session-login/alice").status_code == 401
    assert jam.list_sessions("alice") == []


def test_a_chunked_body_is_read_up_to_the_limit_and_a_byte(client: FlaskClient) -> None:
    class Endless:
        given = 0

        def read(self, size: int = -1) -> bytes:
            assert 0 < size <= 16385 - self.given
            part = b"x" * min(size, 1000)
            self.given += len(part)
            return part

    body = Endless()
    answer = client.post(
        "/refresh",
        headers={"Transfer-Encoding": "chunked", "Content-Type": "application/json"},
        environ_overrides={
            "wsgi.input": body, "wsgi.input_terminated": True, "CONTENT_LENGTH": "",
        },
    )  # fmt: skip
    assert answer.status_code == 400
    assert body.given == 16385


# --- the store fails --------------------------------------------------------------------------


class Failing(MemoryStore):
    """Does not answer while ``down``."""

    down = False

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name != "down" and type(self).down:
            raise StoreUnavailable
        return super().__getattribute__(name)


@each_case(
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


@each_case(
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


# --- one's own sessions ----------------------------------------------------------------------


@pytest.fixture
def devices(jam: Jam) -> list[FlaskClient]:
    """Three browsers of alice, and one of bob, on an app that shows them their sessions."""
    app = Flask("devices")
    session = SessionExtension(jam, app)
    app.add_url_rule(
        "/login/<name>", "login", session.login, methods=["POST"], defaults={"data": {}}
    )
    app.view_functions["login"] = lambda name, data: session.login(name, data)
    app.add_url_rule("/list", "list", lambda: [info._asdict() for info in session.list()])
    app.add_url_rule("/handle", "handle", lambda: {"handle": session.handle()})
    app.add_url_rule("/end/<handle>", "end", lambda handle: {"ended": session.end(handle)},
                     methods=["POST"])  # fmt: skip
    app.add_url_rule("/others", "others", lambda: {"ended": session.end_others()}, methods=["POST"])
    app.add_url_rule("/out", "out", lambda: (session.logout(), session.handle())[1] or "nobody",
                     methods=["POST"])  # fmt: skip
    clients = [app.test_client() for _ in range(4)]
    for number, client in enumerate(clients):
        name = "bob" if number == 3 else "alice"
        client.post(f"/login/{name}", headers={"User-Agent": f"browser {number}"})
    return clients


def handles(client: FlaskClient) -> list[str]:
    return [info["handle"] for info in client.get("/list").json]


def test_people_see_their_own_sessions_and_which_one_is_this(devices: list[FlaskClient]) -> None:
    one, two, three, bobs = devices
    shown = one.get("/list").json
    assert [info["user_agent"] for info in shown] == ["browser 0", "browser 1", "browser 2"]
    own = [client.get("/handle").json["handle"] for client in (one, two, three)]
    assert own == handles(one) == handles(two)
    assert handles(bobs) == [bobs.get("/handle").json["handle"]]


def test_people_end_one_of_their_own_and_no_other(devices: list[FlaskClient]) -> None:
    one, two, _, bobs = devices
    handle = handles(one)[1]
    assert bobs.post(f"/end/{handle}").json == {"ended": False}
    assert one.post(f"/end/{handle}").json == {"ended": True}
    assert one.post(f"/end/{handle}").json == {"ended": False}
    assert two.get("/list").status_code == 401
    assert len(handles(one)) == 2


def test_people_log_out_everywhere_else(devices: list[FlaskClient]) -> None:
    one, two, three, bobs = devices
    assert two.post("/others").json == {"ended": 2}
    assert [client.get("/list").status_code for client in (one, two, three, bobs)] == [
        401, 200, 401, 200,
    ]  # fmt: skip
    assert two.post("/others").json == {"ended": 0}


def test_who_is_nobody_has_no_sessions(devices: list[FlaskClient]) -> None:
    nobody = devices[0].application.test_client()
    assert nobody.get("/handle").json == {"handle": None}
    for answer in (nobody.get("/list"), nobody.post("/end/x"), nobody.post("/others")):
        assert (answer.status_code, answer.json["error"]) == (401, "missing_credential")


def test_another_site_ends_nothing(devices: list[FlaskClient]) -> None:
    crossed = {"Sec-Fetch-Site": "cross-site"}
    for path in ("/others", f"/end/{handles(devices[0])[1]}"):
        assert devices[0].post(path, headers=crossed).status_code == 403
    assert len(handles(devices[0])) == 3


def test_a_picture_on_another_site_ends_nothing(site: Any, jam: Jam) -> None:
    app, session = site
    app.add_url_rule("/others", "others", lambda: {"ended": session.end_others()})
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("ann", {}))
    jam.create_session("ann", {})
    picture = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert client.get("/others", headers=picture).status_code == 403
    assert client.get("/others").json == {"ended": 1}


def test_after_a_logout_the_request_is_nobodys(devices: list[FlaskClient]) -> None:
    assert devices[0].post("/out").text == "nobody"
