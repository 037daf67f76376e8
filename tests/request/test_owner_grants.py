"""A key gives no more than its owner has now."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, g

from flask_jam import (
    Accepted,
    ApiKeyExtension,
    ConfigError,
    Jam,
    JWTExtension,
    SessionExtension,
    StoreUnavailable,
    api_key_required,
    current_auth,
    jwt_required,
    protect,
    session_required,
    signals,
)

from ..cases import each_case
from ..conftest import bearer


class Owners:
    """What the app says of owners; a test changes it between two requests."""

    def __init__(self) -> None:
        self.has: Any = {"scopes": {"read", "write"}, "roles": ["ops", "admin"]}
        self.asked: list[Accepted] = []

    def __call__(self, auth: Accepted) -> Any:
        self.asked.append(auth)
        if isinstance(self.has, Exception):
            raise self.has
        return self.has


@pytest.fixture
def owners() -> Owners:
    return Owners()


@pytest.fixture
def key(jam: Jam) -> str:
    return jam.create_api_key("alice", name="n", scopes={"read", "delete"}, roles={"ops", "x"})[0]


def app_with(jam: Jam, owners: Any, **options: Any) -> Flask:
    app = Flask("owners")
    ApiKeyExtension(jam, app, owner_grants=owners, **options)
    JWTExtension(jam, app)
    app.add_url_rule("/", "view", api_key_required(lambda: g.payload))
    app.add_url_rule("/ops", "ops", api_key_required(roles={"ops"})(lambda: g.payload))
    app.add_url_rule("/read", "read", api_key_required(scopes={"read"})(lambda: g.payload))
    app.add_url_rule("/delete", "delete", api_key_required(scopes={"delete"})(lambda: g.payload))
    app.add_url_rule("/jwt", "jwt", jwt_required(lambda: g.payload))
    app.add_url_rule("/open", "open", lambda: g.payload or {})
    return app


def test_a_key_gives_what_it_and_its_owner_have(jam: Jam, owners: Owners, key: str) -> None:
    client = app_with(jam, owners).test_client()
    payload = client.get("/", headers=bearer(key)).json
    assert (payload["scope"], payload["roles"]) == ("read", ["ops"])
    assert client.get("/open", headers=bearer(key)).json == payload
    assert client.get("/delete", headers=bearer(key)).status_code == 403


def test_a_lost_role_is_lost_at_the_next_request(jam: Jam, owners: Owners, key: str) -> None:
    client = app_with(jam, owners).test_client()
    assert client.get("/ops", headers=bearer(key)).status_code == 200
    owners.has = {"scopes": ["read"], "roles": []}
    assert client.get("/ops", headers=bearer(key)).status_code == 403
    assert "roles" not in client.get("/read", headers=bearer(key)).json
    owners.has = {"scopes": ["read"], "roles": ["ops"]}
    assert client.get("/ops", headers=bearer(key)).status_code == 200


def test_what_is_not_said_limits_nothing(jam: Jam, owners: Owners, key: str) -> None:
    client = app_with(jam, owners).test_client()
    owners.has = {"roles": {"ops"}}
    payload = client.get("/", headers=bearer(key)).json
    assert (payload["scope"], payload["roles"]) == ("delete read", ["ops"])
    owners.has = {"scopes": ()}
    payload = client.get("/", headers=bearer(key)).json
    assert "scope" not in payload
    assert payload["roles"] == ["ops", "x"]


def test_a_name_that_begins_with_another_is_another(jam: Jam, owners: Owners) -> None:
    owners.has = {"scopes": {"re", "read:all"}, "roles": {"op", "opsx"}}
    key, _ = jam.create_api_key("alice", name="n", scopes={"read"}, roles={"ops"})
    payload = app_with(jam, owners).test_client().get("/", headers=bearer(key)).json
    assert "scope" not in payload
    assert "roles" not in payload


def test_an_owner_who_is_gone_is_refused(jam: Jam, owners: Owners, key: str) -> None:
    app, heard = app_with(jam, owners), []
    owners.has = None
    with signals.rejected.connected_to(lambda _, **what: heard.append(what), sender=app):
        assert app.test_client().get("/", headers=bearer(key)).status_code == 401
    assert [(each["reason"].value, each["subject"]) for each in heard] == [
        ("unknown_subject", "alice")
    ]
    assert app.test_client().get("/open", headers=bearer(key)).json == {}


def test_an_exception_lets_no_caller_in(jam: Jam, owners: Owners, key: str) -> None:
    app = app_with(jam, owners)
    app.testing = True
    for error in (RuntimeError("boom"), KeyError("roles"), ConfigError("wrong")):
        owners.has = error
        for path in ("/", "/open"):
            with pytest.raises(type(error)):
                app.test_client().get(path, headers=bearer(key))
    owners.has = StoreUnavailable()
    assert app.test_client().get("/", headers=bearer(key)).status_code == 503
    assert app.test_client().get("/open", headers=bearer(key)).json == {}


@each_case(
    "has",
    [
        {}, [], ["ops"], "ops", True, {"scope": ["read"]}, {"role": ["ops"]}, {"roles": "ops"},
        {"roles": None}, {"scopes": ["a b"]}, {"roles": [1]}, {"roles": ["ops"], "x": 1},
    ],
)  # fmt: skip
def test_an_answer_of_another_form_is_an_error(
    jam: Jam, owners: Owners, key: str, has: Any
) -> None:
    app = app_with(jam, owners)
    app.testing, owners.has = True, has
    with pytest.raises(ConfigError):
        app.test_client().get("/", headers=bearer(key))


def test_it_is_asked_once_and_only_for_keys(jam: Jam, owners: Owners, key: str) -> None:
    app = app_with(jam, owners)
    protect(app, api_key_required | jwt_required)
    client = app.test_client()
    client.get("/read", headers=bearer(key))
    assert [(auth.scheme, auth.subject) for auth in owners.asked] == [("api_key", "alice")]
    client.get("/jwt", headers=bearer(jam.issue_tokens("bob", roles={"x"})["access_token"]))
    client.get("/", headers=bearer("jam_" + "0" * 65))
    assert len(owners.asked) == 1


def test_it_has_the_user_and_within_it_the_caller_is_known(jam: Jam, key: str) -> None:
    seen: list[Any] = []

    def grants(auth: Accepted) -> Any:
        seen.append((auth.user, current_auth() is auth))
        return {"roles": auth.user["roles"]}

    def load(auth: Accepted) -> Any:
        return {"name": auth.subject, "roles": ["ops"]}

    client = app_with(jam, grants, load_user=load).test_client()
    assert client.get("/ops", headers=bearer(key)).status_code == 200
    assert seen == [({"name": "alice", "roles": ["ops"]}, True)]


def test_it_may_not_ask_a_guard(jam: Jam, key: str) -> None:
    def grants(_auth: Accepted) -> Any:
        api_key_required.enforce()
        return {"roles": ["ops"]}

    app = app_with(jam, grants)
    app.testing = True
    with pytest.raises(ConfigError, match="nor must owner_grants"):
        app.test_client().get("/ops", headers=bearer(key))


def test_a_loader_that_comes_later_takes_nothing_away(jam: Jam, owners: Owners, key: str) -> None:
    app = app_with(jam, owners)
    session = SessionExtension(jam, app)
    session.user_loader(lambda auth: {"id": auth.subject})
    app.add_url_rule("/session", "session", session_required(lambda: g.payload))
    assert app.test_client().get("/delete", headers=bearer(key)).status_code == 403
    assert app.test_client().get("/read", headers=bearer(key)).status_code == 200


def test_what_could_never_be_asked_is_an_error() -> None:
    async def later(auth: Accepted) -> Any: ...

    for wrong, sentence in (
        (later, "owner_grants must not be async"),
        ("x", "owner_grants must be a function"),
        (lambda: None, "owner_grants is called with one argument"),
        (lambda a, b: None, "owner_grants is called with one argument"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            ApiKeyExtension(owner_grants=wrong)  # type: ignore[arg-type]


@each_case(
    ("written", "scope", "roles"),
    [
        ({"roles": ["ops", "admin"]}, "delete read", ["ops"]),
        ({"roles": []}, "delete read", None),
        ({"scope": "read write"}, "read", ["ops", "x"]),
        ({"scope": "", "roles": ["admin"]}, None, None),
        # What is no set of names grants nothing.
        ({"scope": ["read"], "roles": "ops"}, None, None),
        ({"roles": {"ops"}}, "delete read", None),
        ({}, "delete read", ["ops", "x"]),
    ],
)
def test_a_loader_that_writes_grants_narrows_a_key_and_never_widens_it(
    jam: Jam, key: str, written: dict[str, Any], scope: Any, roles: Any
) -> None:
    for first in (True, False):
        app = Flask("writing")
        keys = ApiKeyExtension(jam, *([app] if first else []))
        jwt = JWTExtension(jam, app)

        def load(auth: Accepted) -> Any:
            auth.payload.update(written)
            return {"id": auth.subject}

        jwt.user_loader(load)
        keys.init_app(app)
        app.add_url_rule("/", "view", api_key_required(lambda: g.payload))
        app.add_url_rule("/jwt", "jwt", jwt_required(lambda: g.payload))
        payload = app.test_client().get("/", headers=bearer(key)).json
        assert (payload.get("scope"), payload.get("roles")) == (scope, roles)
        if written.get("roles") == ["ops", "admin"]:  # of a token, the loader says what counts
            token = bearer(jam.issue_tokens("alice")["access_token"])
            assert app.test_client().get("/jwt", headers=token).json["roles"] == ["ops", "admin"]


def test_a_login_in_an_app_without_a_loader_goes_on(jam: Jam, owners: Owners) -> None:
    app = app_with(jam, owners)
    session = SessionExtension(jam, app)

    def enter() -> Any:
        session.login("alice", {"n": 1})
        session_required.enforce()
        return g.payload

    app.add_url_rule("/enter", "enter", enter, methods=["POST"])
    client = app.test_client()
    assert client.post("/enter", base_url="https://localhost").json == {"n": 1}
    assert owners.asked == []
