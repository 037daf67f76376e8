"""``JamClient``: it logs in with real credentials, and only where an app is being tested."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask, Response, g, redirect

from flask_jam import (
    ApiKeyExtension,
    BasicExtension,
    ConfigError,
    Jam,
    JamExtension,
    JWTExtension,
    Reason,
    SessionError,
    SessionExtension,
    StoreUnavailable,
    TokenError,
    api_key_required,
    basic_required,
    current_auth,
    current_subject,
    jwt_required,
    session_required,
)
from flask_jam.stores.memory import MemoryStore
from flask_jam.testing import JamClient, assert_refused
from flask_jam.testing.client import rejections

from ..cases import each_case
from ..conftest import bearer, build_app


def new_app(jam: Jam, *extensions: Any) -> Flask:
    """An app that is being tested, with guarded routes and no scheme but those given."""
    app = Flask("app_under_test")
    app.testing = True
    for extension in extensions:
        extension.init_app(app)

    def who() -> dict[str, Any]:
        auth = current_auth()
        return {"subject": auth and auth.subject, "source": auth and auth.source}

    if "jwt" in app.extensions["flask_jam"].schemes:
        app.add_url_rule("/jwt", "jwt", jwt_required(who))
    if "session" in app.extensions["flask_jam"].schemes:
        app.add_url_rule("/session", "session", session_required(who))
    return app


# --- logging in ---


def test_a_name_and_a_password_are_checked_by_the_app(jam: Jam) -> None:
    basic = BasicExtension(lambda name, password: name if password == "right" else None, jam)
    app = new_app(jam, JWTExtension(jam), basic)
    app.add_url_rule("/basic", "basic", basic_required(lambda: current_subject()))
    client = JamClient(app)
    for password, status in (("wrong", 401), ("right", 200)):
        client.login("alice", scheme="basic", password=password)
        assert client.get("/basic").status_code == status
    client.login("bob")  # the same header: the later login counts
    assert (client.get("/basic").status_code, client.get("/jwt").status_code) == (401, 200)
    for scheme in ("basic", None):
        client.login("alice", scheme="basic", password="right")
        client.logout(scheme)
        assert client.get("/basic").status_code == 401
    with pytest.raises(ConfigError, match=r"BasicExtension\(check, jam\)"):
        JamClient(new_app(jam, JWTExtension(jam))).login("alice", scheme="basic", password="x")


def test_a_login_passes_the_guard_and_is_who_it_says(client: JamClient) -> None:
    pair = client.login("alice", colour="red")
    said = client.get("/jwt").json
    assert (said["subject"], said["scheme"], said["payload"]["colour"]) == ("alice", "jwt", "red")
    assert set(pair) >= {"access_token", "refresh_token", "expires_in"}


def test_before_a_login_the_client_is_nobody(client: JamClient) -> None:
    assert_refused(client.get("/jwt"), Reason.MISSING)
    assert_refused(client.get("/session"), Reason.MISSING)


def test_a_login_brings_no_more_than_it_was_given(client: JamClient) -> None:
    client.login("alice", scopes={"write"}, roles={"editor"})
    assert_refused(client.get("/read"), Reason.INSUFFICIENT_SCOPE)
    assert_refused(client.get("/admin"), Reason.INSUFFICIENT_ROLE)
    assert_refused(client.get("/session"), Reason.MISSING)
    client.login("alice", scopes={"read", "write"}, roles={"admin"})
    assert client.get("/read").status_code == client.get("/admin").status_code == 200


def test_a_session_login_is_a_real_session_with_its_data(client: JamClient, jam: Jam) -> None:
    session_id = client.login("alice", scheme="session", theme="dark")
    assert client.get("/session").json == {
        "payload": {"theme": "dark"}, "scheme": "session", "subject": "alice",
    }  # fmt: skip
    assert jam.get_session(session_id) == {"theme": "dark"}
    assert_refused(client.get("/jwt"), Reason.MISSING)


def test_scopes_and_roles_of_a_session_are_what_guards_look_for(client: JamClient) -> None:
    app = client.application
    needs = session_required(roles={"editor"}, scopes={"read", "write"})
    app.add_url_rule("/needs", "needs", needs(lambda: g.payload))
    client.login("alice", scheme="session", roles=("editor",), scopes=["write", "read"], n=1)
    assert client.get("/needs").json == {"roles": ["editor"], "scope": "read write", "n": 1}


def test_a_login_by_both_schemes_satisfies_a_route_that_asks_for_both(client: JamClient) -> None:
    client.login("alice")
    assert_refused(client.get("/both"), Reason.MISSING)
    client.login("alice", scheme="session")
    assert client.get("/both").status_code == 200


def test_a_second_login_is_somebody_else(client: JamClient) -> None:
    for scheme in ("jwt", "session"):
        for name in ("alice", "bob"):
            client.login(name, scheme=scheme)
        assert client.get(f"/{scheme}").json["subject"] == "bob"


def test_two_clients_of_one_app_are_two_people(app: Flask) -> None:
    alice, bob = JamClient(app), JamClient(app)
    for scheme in ("jwt", "session"):
        alice.login("alice", scheme=scheme)
        bob.login("bob", scheme=scheme)
        assert alice.get(f"/{scheme}").json["subject"] == "alice"
        assert bob.get(f"/{scheme}").json["subject"] == "bob"


def test_it_is_the_apps_own_client_where_the_app_says_so(app: Flask) -> None:
    app.test_client_class = JamClient
    client = app.test_client()
    assert isinstance(client, JamClient)
    client.login("alice")
    with client:
        assert client.get("/jwt").json["subject"] == "alice"
        assert g.payload["sub"] == "alice"


def test_answers_are_of_the_apps_own_class(app: Flask) -> None:
    class Answer(Response):
        colour = "red"

    app.response_class = Answer
    for client in (JamClient(app), app.test_client()):
        assert isinstance(client.get("/open"), Answer)


def test_what_no_guard_would_take_is_not_minted(client: JamClient) -> None:
    with pytest.raises(TokenError, match="subject must be a string"):
        client.login(7)  # type: ignore[call-overload]
    with pytest.raises(TokenError, match="is written by flask_jam itself"):
        client.login("alice", exp=9e9)
    with pytest.raises(ConfigError, match="roles: write a set of names"):
        client.login("alice", scheme="session", roles="admin")
    with pytest.raises(SessionError, match="plain JSON"):
        client.login("alice", scheme="session", when={1})
    assert_refused(client.get("/either"), Reason.MISSING)


def test_a_login_lives_no_longer_than_any(client: JamClient, jam: Jam, clock: Any) -> None:
    client.login("alice")
    clock.tick(jam.settings.jwt.expire)
    assert_refused(client.get("/jwt"), Reason.EXPIRED)
    client.login("alice")
    jam.revoke_subject("alice")
    assert_refused(client.get("/jwt"), Reason.REVOKED)


# --- where the credential goes ---


def test_where_no_header_is_read_a_token_goes_into_its_cookies(jam: Jam) -> None:
    app = build_app(jam, header_name=None, cookie_name="token")
    app.testing = True
    client = JamClient(app)
    client.login("alice")
    assert client.get("/jwt").json["subject"] == "alice"
    assert "HTTP_AUTHORIZATION" not in client.get("/jwt").request.environ
    first = client.get_cookie("token")
    assert client.post("/refresh").status_code == 200
    assert client.get_cookie("token") != first
    assert client.get("/jwt").json["subject"] == "alice"


def test_the_cookies_of_a_login_are_those_of_the_apps_own(jam: Jam) -> None:
    app = build_app(jam, header_name=None, cookie_name="__Host-token")
    app.testing = True
    ours, own = JamClient(app), JamClient(app)
    ours.login("alice")
    ours.login("alice", scheme="session")
    own.post("/login/alice")
    own.post("/session-login/alice")
    assert ours._cookies is not None
    assert own._cookies is not None
    assert set(ours._cookies) == set(own._cookies)
    assert len(own._cookies) == 4


@each_case("config", [
    {"SERVER_NAME": "shop.example:8080"}, {"APPLICATION_ROOT": "/shop"},
])  # fmt: skip
def test_a_login_reaches_the_host_and_the_path_of_the_app(jam: Jam, config: dict[str, str]) -> None:
    app = build_app(jam, header_name=None, cookie_name="token")
    app.config.update(config, TESTING=True)
    client = JamClient(app)
    client.login("alice")
    client.login("alice", scheme="session")
    assert client.get("/both").status_code == 200
    assert client.post("/refresh").status_code == 200
    client.logout()
    assert client._cookies == {}


@each_case("domain", ["example.com", ".example.com"])
def test_a_cookie_for_a_domain_goes_to_its_hosts(make_jam: Callable[..., Jam], domain: str) -> None:
    app = build_app(make_jam(cookie_domain=domain))
    app.testing = True
    client = JamClient(app)
    client.login("alice", scheme="session")
    for host in ("https://example.com", "https://www.example.com"):
        assert client.get("/session", base_url=host).status_code == 200
    assert_refused(client.get("/session", base_url="https://example.org"), Reason.MISSING)
    client.logout()
    assert client._cookies == {}


def test_where_a_session_has_no_cookie_its_id_goes_into_the_header(jam: Jam) -> None:
    app = new_app(jam, SessionExtension(jam, header_name="X-Session", cookie_name=None))
    client = JamClient(app)
    client.login("alice", scheme="session")
    assert client.get("/session").json == {"subject": "alice", "source": "header"}


def test_client_prefers_header_for_tokens_cookie_for_sessions(
    jam: Jam,
) -> None:
    session = SessionExtension(jam, header_name="X-Session")
    client = JamClient(new_app(jam, JWTExtension(jam, cookie_name="token"), session))
    client.login("alice")
    client.login("alice", scheme="session")
    sources = [client.get(path).json["source"] for path in ("/jwt", "/session")]
    assert sources == ["header", "cookie"]
    assert client.get_cookie("token") is None


def test_of_two_schemes_that_read_one_header_the_later_login_is_sent(jam: Jam) -> None:
    session = SessionExtension(jam, header_name="Authorization", cookie_name=None)
    client = JamClient(new_app(jam, JWTExtension(jam), session))
    client.login("alice")
    client.login("bob", scheme="session")
    assert client.get("/session").json["subject"] == "bob"
    assert_refused(client.get("/jwt"), Reason.MISSING)
    client.login("alice")
    assert client.get("/jwt").json["subject"] == "alice"


def test_a_header_that_the_request_brings_is_left_alone(client: JamClient, jam: Jam) -> None:
    client.login("alice")
    bob = jam.issue_tokens("bob")["access_token"]
    assert client.get("/jwt", headers=bearer(bob)).json["subject"] == "bob"
    assert_refused(client.get("/jwt", headers=bearer("forged")), Reason.INVALID)
    assert_refused(client.get("/jwt", headers={"Authorization": ""}), Reason.MISSING)
    assert_refused(client.get("/jwt", auth=("user", "password")), Reason.MISSING)
    assert client.get("/jwt").json["subject"] == "alice"


def test_a_request_in_any_form_is_sent_as_who_is_logged_in(client: JamClient) -> None:
    client.login("alice")
    first = client.get("/jwt")
    again = {name: value for name, value in first.request.environ.items() if "AUTH" not in name}
    assert client.open(again).json == client.open(first.request).json == first.json
    assert "HTTP_AUTHORIZATION" not in again


def test_a_redirect_is_followed_as_who_is_logged_in(client: JamClient) -> None:
    client.application.add_url_rule("/moved", "moved", jwt_required(lambda: redirect("/jwt")))
    client.login("alice")
    assert client.get("/moved", follow_redirects=True).json["subject"] == "alice"


def test_a_client_without_cookies_logs_in_by_header(app: Flask) -> None:
    client = JamClient(app, use_cookies=False)
    client.login("alice")
    assert client.get("/jwt").status_code == 200
    client.logout()
    assert_refused(client.get("/jwt"), Reason.MISSING)


# --- logging out ---


def test_a_logout_ends_the_token_and_its_family_on_the_server(client: JamClient, jam: Jam) -> None:
    pair = client.login("alice")
    client.logout()
    assert_refused(client.get("/jwt"), Reason.MISSING)
    assert_refused(client.get("/jwt", headers=bearer(pair["access_token"])), Reason.REVOKED)
    with pytest.raises(TokenError):
        jam.refresh_tokens(pair["refresh_token"])


def test_a_logout_ends_the_session_on_the_server(client: JamClient, jam: Jam) -> None:
    session_id = client.login("alice", scheme="session")
    client.logout()
    assert_refused(client.get("/session"), Reason.MISSING)
    assert jam.get_session(session_id) is None


def test_a_logout_of_one_scheme_leaves_the_other(client: JamClient) -> None:
    for scheme, other in (("jwt", "session"), ("session", "jwt")):
        client.login("alice")
        client.login("alice", scheme="session")
        client.logout(scheme)
        assert_refused(client.get(f"/{scheme}"), Reason.MISSING)
        assert client.get(f"/{other}").status_code == 200


def test_a_logout_ends_what_the_app_itself_put_into_the_cookies(jam: Jam) -> None:
    app = build_app(jam, header_name=None, cookie_name="token")
    app.testing = True
    client = JamClient(app)
    client.post("/login/alice")
    client.post("/session-login/alice")
    client.post("/session-refresh")
    token, session = client.get_cookie("token"), client.get_cookie("sessionId")
    assert token is not None
    assert session is not None
    assert jam.get_session(session.value) is not None
    client.logout()
    assert jam.get_session(session.value) is None
    with pytest.raises(TokenError) as refused:
        jam.verify_jwt_token(token.value)
    assert refused.value.reason is Reason.REVOKED
    assert client._cookies == {}


def test_a_logout_of_nobody_and_a_second_one_do_nothing(client: JamClient) -> None:
    client.logout()
    client.login("alice")
    for _ in range(2):
        client.logout()
        client.logout("jwt")


def test_a_logout_takes_cookies_of_nobody_else(client: JamClient) -> None:
    client.set_cookie("theme", "dark")
    client.login("alice", scheme="session")
    client.logout()
    assert client.get_cookie("theme") is not None


# --- it cannot weaken an app that serves people ---


@each_case("debug", [False, True])
def test_an_app_that_is_not_being_tested_gets_no_such_client(app: Flask, debug: bool) -> None:
    app.testing, app.debug = False, debug
    with pytest.raises(ConfigError, match=r"app\.testing = True"):
        JamClient(app)
    app.test_client_class = JamClient
    with pytest.raises(ConfigError, match=r"app\.testing = True"):
        app.test_client()


def test_a_client_stops_logging_in_when_the_app_is_tested_no_more(client: JamClient) -> None:
    client.login("alice")
    client.application.testing = False
    for do in (lambda: client.login("bob"), lambda: client.login("bob", "session"), client.logout):
        with pytest.raises(ConfigError, match=r"app\.testing = True"):
            do()


def test_a_login_opens_nothing_that_a_token_does_not(client: JamClient, jam: Jam) -> None:
    pair = client.login("alice", scopes={"read"})
    plain = client.application.test_client()
    for path in ("/jwt", "/read", "/admin", "/session", "/both", "/fresh"):
        ours = client.get(path)
        theirs = plain.get(path, headers=bearer(pair["access_token"]))
        assert (ours.status_code, ours.text) == (theirs.status_code, theirs.text)


def test_a_client_with_a_key_is_its_owner_until_it_logs_out(jam: Jam) -> None:
    app = new_app(jam, ApiKeyExtension(jam), JWTExtension(jam))
    guarded = api_key_required(scopes={"read"})(lambda: current_auth().payload)  # type: ignore[union-attr]
    app.add_url_rule("/key", "key", guarded)
    client = JamClient(app)
    key = client.login("alice", scheme="api_key", scopes={"read"}, data={"n": 1})
    said = client.get("/key").json
    assert (said["sub"], said["name"], said["data"]) == ("alice", "test", {"n": 1})
    # One header has one value: the later login is sent.
    client.login("bob")
    assert_refused(client.get("/key"), Reason.MISSING)
    client.login("alice", scheme="api_key", scopes={"write"})
    assert_refused(client.get("/key"), Reason.INSUFFICIENT_SCOPE)
    client.logout("api_key")
    assert_refused(client.get("/key"), Reason.MISSING)
    assert [each.scopes for each in jam.list_api_keys("alice")] == [("read",)]
    assert jam.api_keys.lookup(key)


# --- mistakes are told ---


def test_an_unknown_scheme_is_told(client: JamClient) -> None:
    for do in (client.login, lambda _, scheme: client.logout(scheme)):
        with pytest.raises(ConfigError, match="did you mean session"):
            do("alice", scheme="sesion")  # type: ignore[call-overload]


@each_case(("scheme", "extension"), [
    ("jwt", "JWTExtension"), ("session", "SessionExtension"), ("api_key", "ApiKeyExtension"),
])  # fmt: skip
def test_a_scheme_that_the_app_has_not_is_told(jam: Jam, scheme: Any, extension: str) -> None:
    client = JamClient(new_app(jam, JamExtension(jam)))
    for do in (lambda: client.login("alice", scheme=scheme), lambda: client.logout(scheme)):
        with pytest.raises(ConfigError, match=rf"write {extension}\(jam\)\.init_app\(app\)"):
            do()


def test_an_app_without_a_jam_and_what_is_no_app_are_told() -> None:
    app = Flask("bare")
    app.testing = True
    with pytest.raises(ConfigError, match="has no Jam"):
        JamClient(app).login("alice")
    with pytest.raises(ConfigError, match="write the Flask app, not a NoneType"):
        JamClient(None)  # type: ignore[arg-type]


# --- what the guards said ---


def test_each_answer_knows_its_own_refusals(client: JamClient) -> None:
    refused = client.get("/jwt")
    client.login("alice")
    passed = client.get("/jwt")
    denied = client.get("/admin")
    found = [rejections(response) for response in (refused, passed, denied)]
    assert [[one.reason for one in each or ()] for each in found] == [
        ["missing"], [], ["insufficient_role"],
    ]  # fmt: skip
    assert found[0] is not None
    assert vars(found[0][0]) == {
        "scheme": "jwt", "reason": Reason.MISSING, "source": None, "endpoint": "jwt",
        "fingerprint": None, "subject": None, "issuer": None,
    }  # fmt: skip
    assert rejections(client.application.test_client().get("/jwt")) is None
    assert rejections(Response()) is None


def test_the_answer_after_a_redirect_knows_its_own_refusals_only(client: JamClient) -> None:
    app = client.application
    app.add_url_rule("/start", "start", lambda: redirect("/jwt"))
    app.register_error_handler(403, lambda error: redirect("/open"))
    client.login("alice")
    assert rejections(client.get("/admin", follow_redirects=True)) == []
    client.logout()
    assert_refused(client.get("/start", follow_redirects=True), Reason.MISSING)


def test_a_view_that_asks_by_a_client_of_its_own_keeps_its_own_refusals(
    client: JamClient,
) -> None:
    app = client.application
    inner: list[Any] = []

    def outer() -> str:
        inner.append(JamClient(app).get("/admin"))
        return "passed"

    app.add_url_rule("/outer", "outer", jwt_required(outer))
    client.login("alice")
    assert rejections(client.get("/outer")) == []
    assert_refused(inner[0], Reason.MISSING)


def test_requests_of_many_threads_keep_their_refusals_apart(app: Flask) -> None:
    def ask(number: int) -> None:
        client = JamClient(app)
        for _ in range(20):
            if number % 2:
                client.login("alice", roles={"admin"})
                assert rejections(client.get("/admin")) == []
                client.logout()
            assert_refused(client.get("/admin"), Reason.MISSING)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))


def test_nothing_listens_when_no_request_is_under_way(client: JamClient) -> None:
    from flask_jam import signals

    before = len(signals.rejected.receivers)

    def broken() -> None:
        raise ZeroDivisionError

    client.application.add_url_rule("/broken", "broken", broken)
    client.get("/jwt")
    with pytest.raises(ZeroDivisionError):
        client.get("/broken")
    assert len(signals.rejected.receivers) == before


def test_a_middleware_that_copies_the_environ_hides_no_refusal(client: JamClient) -> None:
    app = client.application
    inner = app.wsgi_app
    app.wsgi_app = lambda environ, start: inner(dict(environ), start)  # type: ignore[method-assign]
    assert_refused(client.get("/jwt"), Reason.MISSING)


def test_a_store_that_is_down_is_the_reason(make_jam: Callable[..., Jam]) -> None:
    class Down(MemoryStore):
        def marks(self, *args: Any) -> Any:
            raise StoreUnavailable

    jam = make_jam(store=Down())
    client = JamClient(new_app(jam, JWTExtension(jam)))
    client.login("alice")
    assert_refused(client.get("/jwt"), Reason.UNAVAILABLE)
