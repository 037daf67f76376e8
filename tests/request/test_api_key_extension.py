"""The extension for API keys and its verbs: the keys of the caller, and a key that makes no key."""

from __future__ import annotations

import gc
from typing import Any
from weakref import ref

import pytest
from flask import Flask, current_app, request
from flask.testing import FlaskClient

from flask_jam import (
    ApiKeyExtension,
    BasicExtension,
    ConfigError,
    Jam,
    JWTExtension,
    SessionExtension,
    TokenError,
    api_key_required,
    current_auth,
    jwt_required,
    protect,
    public,
    session_required,
    signals,
)
from flask_jam._helpers import deadline
from flask_jam.audit import open_routes, routes

from ..cases import each_case
from ..conftest import Clock, bearer
from ..servers import RedisServer

OWNER = session_required | jwt_required | api_key_required


def build(jam: Jam, **options: Any) -> Flask:
    """An app whose users manage their keys, however they come."""
    app = Flask("own_keys")
    keys = ApiKeyExtension(jam, app, **options)
    JWTExtension(jam, app)
    SessionExtension(jam, app)

    def made(pair: Any) -> dict[str, Any]:
        return {"key": pair[0], **pair[1]._asdict()}

    def create() -> Any:
        return made(keys.create(name="cron", scopes={"read"}, by_key="by_key" in request.args))

    def rotate(handle: str) -> Any:
        return made(keys.rotate(handle, by_key="by_key" in request.args))

    views: dict[str, Any] = {
        "/create": create,
        "/rotate/<handle>": rotate,
        "/list": lambda: [each.handle for each in keys.list()],
        "/revoke/<handle>": lambda handle: {"was": keys.revoke(handle)},
    }
    for rule, view in views.items():
        name = rule.split("/")[1]
        app.add_url_rule(rule, name, OWNER(view), methods=["GET", "POST"])
        app.add_url_rule(f"/open{rule}", f"open_{name}", view, methods=["GET", "POST"])
    return app


@pytest.fixture
def app(jam: Jam) -> Flask:
    return build(jam)


@pytest.fixture
def client(app: Flask, jam: Jam) -> FlaskClient:
    """Alice, by her session."""
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("alice", {}))
    return client


def test_a_user_manages_keys(client: FlaskClient, jam: Jam) -> None:
    made = client.post("/create").json
    assert jam.api_keys.lookup(made["key"]).owner == "alice"
    assert client.get("/list").json == [made["handle"]]
    next_one = client.post(f"/rotate/{made['handle']}").json
    assert next_one["key"] != made["key"]
    assert client.get("/list").json == [next_one["handle"]]
    assert client.post(f"/revoke/{next_one['handle']}").json == {"was": True}
    assert client.post(f"/revoke/{next_one['handle']}").json == {"was": False}
    assert client.get("/list").json == []


def test_an_answer_with_a_key_is_never_stored(client: FlaskClient, app: Flask) -> None:
    @app.after_request
    def cache(response: Any) -> Any:
        response.headers["Cache-Control"] = "private, max-age=600"
        return response

    assert client.get("/list").headers["Cache-Control"] == "private, max-age=600"
    for path in ("/create", f"/rotate/{client.post('/create').json['handle']}"):
        assert client.post(path).headers["Cache-Control"] == "no-store"


def test_a_token_manages_keys_and_a_user_only_their_own(app: Flask, jam: Jam) -> None:
    alice, bob = (bearer(jam.issue_tokens(name)["access_token"]) for name in ("alice", "bob"))
    client = app.test_client()
    handle = client.post("/create", headers=alice).json["handle"]
    assert client.get("/list", headers=bob).json == []
    assert client.post(f"/revoke/{handle}", headers=bob).json == {"was": False}
    app.testing = True
    with pytest.raises(TokenError):
        client.post(f"/rotate/{handle}", headers=bob)
    assert client.get("/list", headers=alice).json == [handle]


def test_a_key_makes_no_key_unless_the_view_says_so(app: Flask, jam: Jam) -> None:
    key, info = jam.create_api_key("alice", name="first")
    client, heard = app.test_client(), []
    with signals.rejected.connected_to(lambda _, **what: heard.append(what), sender=app):
        for path in ("/create", f"/rotate/{info.handle}", "/open/create"):
            answer = client.post(path, headers=bearer(key))
            assert (answer.status_code, answer.json["error"]) == (403, "access_denied")
    assert {(each["reason"].value, each["subject"]) for each in heard} == {("denied", "alice")}
    assert len(jam.list_api_keys("alice")) == 1
    # It may look, and end itself.
    assert client.get("/list", headers=bearer(key)).json == [info.handle]
    assert client.post("/create?by_key=1", headers=bearer(key)).status_code == 200
    assert client.post(f"/rotate/{info.handle}?by_key=1", headers=bearer(key)).status_code == 200
    last, info = jam.create_api_key("alice", name="last")
    assert client.post(f"/revoke/{info.handle}", headers=bearer(last)).json == {"was": True}


def test_the_verbs_of_jam_refuse_a_caller_with_a_key(jam: Jam) -> None:
    app = Flask("raw")
    ApiKeyExtension(jam, app)
    JWTExtension(jam, app)
    key, info = jam.create_api_key("alice", name="first")

    def create() -> str:
        return jam.create_api_key("bob", name="made")[1].name

    def ask_and_create() -> str:
        assert current_auth() is not None
        return create()

    app.add_url_rule("/guarded", "guarded", (jwt_required | api_key_required)(create))
    app.add_url_rule("/asked", "asked", ask_and_create)
    app.add_url_rule("/rotate", "rotate", api_key_required(
        lambda: jam.rotate_api_key("alice", info.handle)[1].name
    ))  # fmt: skip
    app.add_url_rule("/signup", "signup", public(create))
    client = app.test_client()
    for path in ("/guarded", "/asked", "/rotate"):
        assert client.get(path, headers=bearer(key)).status_code == 403, path
    assert jam.list_api_keys("bob") == []
    # A view that asks for no caller lets in no key.
    assert client.get("/signup", headers=bearer(key)).text == "made"
    token = jam.issue_tokens("alice")["access_token"]
    assert client.get("/guarded", headers=bearer(token)).text == "made"
    # Outside of a request, and in that of another app, nothing is refused.
    other = Flask("other")
    with app.app_context():
        jam.create_api_key("alice", name="cli")
    with other.test_request_context(headers=bearer(key)):
        jam.create_api_key("alice", name="worker")


def test_a_jam_keeps_no_app_alive(jam: Jam) -> None:
    app = Flask("short")
    ApiKeyExtension(jam, app)
    held = ref(app)
    del app
    gc.collect()
    assert held() is None
    assert jam.api_keys.permits == []


def test_without_a_caller_the_verbs_refuse(app: Flask, jam: Jam) -> None:
    client = app.test_client()
    for path in ("/open/create", "/open/list", "/open/rotate/x", "/open/revoke/x"):
        assert client.post(path).json["error"] == "missing_credential"
        assert client.post(path, headers=bearer("jam_x")).json["error"] == "invalid_token"
        anonymous = bearer(jam.gen_jwt_token({"user": 1}))
        assert client.post(path, headers=anonymous).status_code == 403


def test_a_store_that_is_down_is_a_503(
    client: FlaskClient, jam: Jam, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flask_jam import StoreUnavailable

    def down(*_args: Any) -> Any:
        raise StoreUnavailable

    for verb in ("create_api_key", "list_api_keys", "rotate_api_key", "end_api_key"):
        monkeypatch.setattr(jam.store, verb, down)
    for path in ("/create", "/list", "/rotate/x", "/revoke/x"):
        assert client.post(path).status_code == 503, path
    monkeypatch.setattr(jam.store, "read_session", down)
    assert client.post("/open/create").status_code == 503


def test_the_questions_of_one_creation_share_a_deadline(
    client: FlaskClient, jam: Jam, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def noted(step: Any) -> Any:
        return lambda *args: (seen.append(deadline._verb.get()), step(*args))[1]

    for name in ("standing", "create_api_key"):
        monkeypatch.setattr(jam.store, name, noted(getattr(jam.store, name)))
    assert client.post("/create").status_code == 200
    assert len(seen) == 2
    assert seen[0] is seen[1] is not None


def test_another_site_changes_no_keys(client: FlaskClient, jam: Jam) -> None:
    handle = client.post("/create").json["handle"]
    for path in ("/open/create", f"/open/rotate/{handle}", f"/open/revoke/{handle}"):
        for method in ("GET", "POST"):
            answer = client.open(path, method=method, headers={"Sec-Fetch-Site": "cross-site"})
            assert answer.status_code in (401, 403), (path, method)
    assert [each.handle for each in jam.list_api_keys("alice")] == [handle]


def test_a_password_manages_keys_and_another_site_does_not(jam: Jam) -> None:
    app = Flask("passwords")
    keys = ApiKeyExtension(jam, app)
    basic = BasicExtension(lambda name, password: name if password == "x" else None, jam, app)
    app.add_url_rule("/create", "create", basic.required(lambda: keys.create(name="n")[0]))
    client, sent = app.test_client(), {"Authorization": "Basic YWxpY2U6eA=="}
    # A browser attaches a password by itself, and a picture sends a GET.
    foreign = client.get("/create", headers={**sent, "Sec-Fetch-Site": "cross-site"})
    assert foreign.status_code == 403
    assert jam.list_api_keys("alice") == []
    assert jam.api_keys.lookup(client.get("/create", headers=sent).text).owner == "alice"


def test_revoking_a_key_is_heard_with_its_kind(app: Flask, jam: Jam) -> None:
    _, info = jam.create_api_key("alice", name="n")
    heard: list[Any] = []
    with signals.revoked.connected_to(lambda _, **what: heard.append(what), sender=app):
        jam.revoke_api_key("alice", info.handle)
        jam.revoke_api_key("alice", info.handle)
    assert heard == [{"kind": "api_key", "subject": "alice", "issuer": None}]


def test_a_wrong_argument_is_a_sentence_for_the_view(client: FlaskClient, app: Flask) -> None:
    app.testing = True
    with pytest.raises(TokenError):
        client.post("/rotate/no-such-handle")


def test_the_verbs_are_for_the_callers_of_their_app(jam: Jam, app: Flask) -> None:
    keys = ApiKeyExtension(jam)
    for verb in (lambda: keys.create(name="n"), keys.list, lambda: keys.rotate("x"),
                 lambda: keys.revoke("x")):  # fmt: skip
        with pytest.raises(ConfigError, match="outside of one"):
            verb()
        with app.test_request_context(), pytest.raises(ConfigError, match="not on the current app"):
            verb()
        with Flask("bare").test_request_context(), pytest.raises(ConfigError, match="not on the"):
            verb()


def test_one_extension_serves_two_apps_and_one_app_takes_one(jam: Jam) -> None:
    keys, key = ApiKeyExtension(jam), jam.create_api_key("alice", name="n")[0]
    apps = [Flask(name) for name in ("one", "two")]  # one that is gone has no permit
    for app in apps:
        keys.init_app(app)
        keys.init_app(app)
        app.add_url_rule("/", "view", keys.required(lambda: current_app.name))
        assert app.test_client().get("/", headers=bearer(key)).text == app.name
    assert len(jam.api_keys.permits) == 2
    with pytest.raises(RuntimeError, match="keep one, which reads one header"):
        ApiKeyExtension(jam, apps[0])


@each_case("header", [None, "", "X API", 5, "X:Y", "X_Key"])
def test_a_key_comes_in_a_header(header: Any) -> None:
    with pytest.raises(ConfigError, match="header"):
        ApiKeyExtension(header_name=header)


def test_a_loader_serves_keys_too(jam: Jam) -> None:
    app, users = Flask("users"), {"alice": {"name": "Alice"}}
    keys = ApiKeyExtension(jam, app)
    keys.user_loader(lambda auth: users.get(auth.subject or ""))
    app.add_url_rule("/", "view", keys.required(lambda: current_auth().user))  # type: ignore[union-attr]
    key, _ = jam.create_api_key("alice", name="n")
    assert app.test_client().get("/", headers=bearer(key)).json == {"name": "Alice"}
    users.clear()
    assert app.test_client().get("/", headers=bearer(key)).status_code == 401


def test_protect_and_the_audit_know_keys(jam: Jam) -> None:
    app = Flask("audited")
    keys = ApiKeyExtension(jam, app)
    protect(app, keys.required | jwt_required(roles={"admin"}))
    JWTExtension(jam, app)
    app.add_url_rule("/", "view", keys.required(scopes={"read"})(lambda: "in"))
    guards = {route.endpoint: route.guard for route in routes(app)}
    assert guards["view"] == (
        "(api_key_required | jwt_required(roles={'admin'})) & api_key_required(scopes={'read'})"
    )
    assert open_routes(app) == []
    key, _ = jam.create_api_key("alice", name="n", scopes={"read"})
    assert app.test_client().get("/", headers=bearer(key)).text == "in"
    assert app.test_client().get("/").status_code == 401


def test_a_guard_without_the_extension_says_what_to_write(jam: Jam) -> None:
    app = Flask("bare")
    JWTExtension(jam, app)
    app.add_url_rule("/", "view", api_key_required(lambda: "in"))
    app.testing = True
    with pytest.raises(ConfigError, match=r"write ApiKeyExtension\(jam\)\.init_app\(app\)"):
        app.test_client().get("/")


def test_a_cookie_is_no_source_of_keys(jam: Jam) -> None:
    app = Flask("sources")
    ApiKeyExtension(jam, app)
    app.add_url_rule("/", "view", api_key_required(sources={"cookie"})(lambda: "in"))
    app.testing = True
    with pytest.raises(ConfigError, match="ApiKeyExtension has no cookie_name"):
        app.test_client().get("/")


def test_the_use_of_a_key_is_seen_in_the_list(jam: Jam, clock: Clock) -> None:
    app = Flask("used")
    keys = ApiKeyExtension(jam, app)
    app.add_url_rule("/", "view", keys.required(lambda: "in"))
    key, info = jam.create_api_key("alice", name="n")
    assert info.last_used_at is None
    clock.tick(5)
    app.test_client().get("/", headers=bearer(key))
    assert jam.list_api_keys("alice")[0].last_used_at == clock.now


@pytest.mark.redis
def test_a_key_of_another_app_on_the_same_redis_is_refused(
    redis_server: RedisServer, make_jam: Any
) -> None:
    redis_server.flush()
    jams = [make_jam(redis_url=redis_server.url, redis_prefix=name) for name in ("shop", "blog")]
    key, _ = jams[0].create_api_key("alice", name="n")
    for jam, expected in zip(jams, (200, 401), strict=True):
        app = Flask("on_redis")
        ApiKeyExtension(jam, app)
        app.add_url_rule("/", "view", api_key_required(lambda: "in"))
        for _ in range(2):
            assert app.test_client().get("/", headers=bearer(key)).status_code == expected
        jam.store.close()
