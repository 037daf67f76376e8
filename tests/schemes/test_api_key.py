"""The scheme of API keys: which value of which header is a key, and what a view sees of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, g
from flask.testing import FlaskClient

from flask_jam import (
    ApiKeyExtension,
    ConfigError,
    Jam,
    JWTExtension,
    SchemeExtension,
    SessionExtension,
    api_key_required,
    current_auth,
    jwt_required,
    session_required,
)
from flask_jam._request.views import AnyGuard
from flask_jam.openapi import security_for, security_schemes

from ..cases import each_case
from ..conftest import Clock, bearer
from .test_interface import HeaderScheme

GUARDS: dict[str, Any] = {
    "key": api_key_required,
    "jwt": jwt_required,
    "session": session_required,
    "jwt-or-key": jwt_required | api_key_required,
    "optional": api_key_required(optional=True),
}


def said() -> dict[str, Any]:
    auth = current_auth()
    assert (auth is None) == (g.payload is None)
    return {} if auth is None else {**auth._asdict(), "payload": g.payload}


def client_of(
    jam: Jam, key: dict[str, Any] | None = None, *, jwt: Any = None, session: Any = None
) -> FlaskClient:
    """An app with these extensions, and a view behind each guard that they can serve."""
    app = Flask("keys")
    ApiKeyExtension(jam, app, **(key or {}))
    served = {"api_key"}
    if jwt is not None:
        JWTExtension(jam, app, **jwt)
        served.add("jwt")
    if session is not None:
        SessionExtension(jam, app, **session)
        served.add("session")
    app.add_url_rule("/", "open", said)
    for name, guard in GUARDS.items():
        if {rule.scheme for rule in guard.rules} <= served:
            app.add_url_rule(f"/{name}", name, guard(said))
    return app.test_client()


@pytest.fixture
def key(jam: Jam) -> str:
    return jam.create_api_key(
        "alice", name="backup", scopes={"read", "write"}, roles={"ops"}, data={"host": "db1"}
    )[0]


@pytest.fixture
def asked(jam: Jam, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Every key that the store was asked for."""
    found: list[Any] = []
    read = jam.store.read_api_key
    monkeypatch.setattr(
        jam.store, "read_api_key", lambda *args: (found.append(args), read(*args))[1]
    )
    return found


SHARED: dict[str, Any] = {"header_name": "Authorization", "cookie_name": None}


def test_a_key_is_its_owner_and_its_grants(jam: Jam, key: str) -> None:
    answer = client_of(jam).get("/key", headers=bearer(key)).json
    handle = jam.list_api_keys("alice")[0].handle
    assert answer == {
        "scheme": "api_key", "source": "header", "subject": "alice", "auth_time": None,
        "user": None, "issuer": None, "token_id": None,
        "payload": {
            "sub": "alice", "name": "backup", "handle": handle, "scope": "read write",
            "roles": ["ops"], "data": {"host": "db1"},
        },
    }  # fmt: skip


def test_a_view_changes_no_other_requests_payload(jam: Jam, key: str) -> None:
    app = Flask("greedy")
    ApiKeyExtension(jam, app)

    def view() -> Any:
        seen = str(g.payload)
        g.payload["roles"].append("admin")
        g.payload["data"]["x"] = 1
        return seen

    app.add_url_rule("/", "view", api_key_required(view))
    client = app.test_client()
    assert client.get("/", headers=bearer(key)).text == client.get("/", headers=bearer(key)).text


def test_a_key_without_grants_has_neither_scope_nor_roles(jam: Jam) -> None:
    plain, _ = jam.create_api_key("alice", name="plain")
    payload = client_of(jam).get("/key", headers=bearer(plain)).json["payload"]
    assert "scope" not in payload
    assert "roles" not in payload
    assert payload["data"] == {}


def test_the_conditions_of_a_guard_read_a_key(jam: Jam, key: str) -> None:
    app = Flask("conditions")
    ApiKeyExtension(jam, app)
    guards: dict[str, AnyGuard] = {
        "200 a": api_key_required(scopes={"read"}),
        "200 b": api_key_required(roles={"ops", "admin"}),
        "200 c": api_key_required(check=lambda payload: payload["data"]["host"] == "db1"),
        "200 d": api_key_required(sources={"header"}),
        "403 a": api_key_required(scopes={"read", "delete"}),
        "403 b": api_key_required(roles={"admin"}),
        "403 c": api_key_required(check=lambda payload: payload["data"] == {}),
        # A key does not say when its owner logged in.
        "401 a": api_key_required(max_age=300),
    }
    for name, guard in guards.items():
        app.add_url_rule(f"/{name}", name, guard(said))
    for name in guards:
        answer = app.test_client().get(f"/{name}", headers=bearer(key))
        assert answer.status == f"{name[:3]} {answer.status[4:]}", name
    stale = app.test_client().get("/401 a", headers=bearer(key))
    assert stale.json["error"] == "insufficient_user_authentication"


@each_case(
    ("options", "header", "status"),
    [
        ({}, "Bearer {k}", 200), ({}, "bearer  {k} ", 200), ({}, "{k}", 401),
        ({}, "Token {k}", 401),
        ({"header_type": "Token"}, "Token {k}", 200), ({"header_type": "Token"}, "Bearer {k}", 401),
        ({"header_type": None}, "{k}", 200), ({"header_type": None}, "Bearer {k}", 200),
        ({}, "Bearer {k} {k}", 400), ({}, "Bearer {k},Bearer {k}", 400), ({}, "Bearer", 400),
    ],
)  # fmt: skip
def test_authorization_takes_a_key_behind_its_word(
    jam: Jam, key: str, options: Any, header: str, status: int
) -> None:
    sent = {"Authorization": header.format(k=key)}
    assert client_of(jam, options).get("/key", headers=sent).status_code == status


def test_a_header_of_its_own_takes_a_bare_key(jam: Jam, key: str) -> None:
    client = client_of(jam, {"header_name": "X-API-Key"}, jwt={})
    for value in (key, f"Bearer {key}", f" {key}\t"):
        assert client.get("/key", headers={"x-api-key": value}).status_code == 200
    for value in (f"{key},{key}", f"{key}, {key}", f"{key} {key}", "Bearer"):
        assert client.get("/key", headers={"X-API-Key": value}).status_code == 400
    assert client.get("/key", headers=bearer(key)).status_code == 401
    assert client.get("/jwt", headers=bearer(key)).json["error"] == "invalid_token"
    assert client.get("/", headers={"X-API-Key": key}).headers["Vary"] == "Authorization, X-API-Key"


def test_two_different_headers_are_two_credentials(jam: Jam, key: str) -> None:
    # Each guard means one of them; the view never sees two people.
    client = client_of(jam, {"header_name": "X-API-Key"}, jwt={})
    other = {"X-API-Key": key, **bearer(jam.issue_tokens("bob")["access_token"])}
    assert client.get("/key", headers=other).json["subject"] == "alice"
    assert client.get("/jwt", headers=other).json["subject"] == "bob"
    bad = {"X-API-Key": key, **bearer("a.b.c")}
    assert client.get("/jwt-or-key", headers=bad).status_code == 401


def test_a_shared_header_is_told_apart_by_form(jam: Jam, key: str) -> None:
    client = client_of(jam, jwt={}, session=SHARED)
    sent = {
        "key": key,
        "jwt": jam.issue_tokens("alice")["access_token"],
        "session": jam.create_session("alice", {}),
    }
    for kind, credential in sent.items():
        for path in sent:
            answer = client.get(f"/{path}", headers=bearer(credential))
            assert answer.status_code == (200 if path == kind else 401), (kind, path)
            assert kind == path or answer.json["error"] == "missing_credential"
    assert client.get("/jwt-or-key", headers=bearer(key)).json["scheme"] == "api_key"
    assert client.get("/", headers=bearer(key)).json["scheme"] == "api_key"


def test_the_form_of_a_key_beats_the_dots_of_a_token(jam: Jam) -> None:
    dotted = bearer("jam_a.b." + "c" * 61)
    for client in (client_of(jam, jwt={}), client_of(jam, jwt={}, session=SHARED)):
        assert client.get("/jwt", headers=dotted).json["error"] == "missing_credential"
        assert client.get("/key", headers=dotted).json["error"] == "invalid_token"


#: What was meant for a key and is none, made from one.
WRONG = (
    "{k}0", "{k}{k}", "{head}", "jam_", "{upper}", "{lower}", "{swapped}", "JAM_{body}",
    "jam_{zeros}", "jam_{dots}", "{typo}",
)  # fmt: skip


def wrong_keys(key: str) -> list[str]:
    parts = {
        "k": key, "head": key[:-1], "upper": key.upper(), "lower": key.lower(), "body": key[4:],
        "swapped": key.swapcase(), "zeros": "0" * 65, "dots": "a.b." + "c" * 61,
        "typo": key[:-9] + ("0" if key[-9] != "0" else "1") + key[-8:],
    }  # fmt: skip
    return [form.format(**parts) for form in WRONG]


def test_a_wrong_key_is_refused_and_the_store_not_asked(
    jam: Jam, key: str, asked: list[Any]
) -> None:
    apps = (
        client_of(jam), client_of(jam, jwt={}), client_of(jam, jwt={}, session=SHARED),
        client_of(jam, session=SHARED),
    )  # fmt: skip
    for client in apps:
        for wrong in wrong_keys(key):
            for path in ("/key", "/optional"):
                answer = client.get(path, headers=bearer(wrong))
                assert (answer.status_code, answer.json["error"]) == (401, "invalid_token"), wrong
            assert client.get("/", headers=bearer(wrong)).json == {}
    assert asked == []


def test_a_value_of_no_form_is_refused_by_some_scheme(jam: Jam) -> None:
    # An optional guard lets in who presents nothing, and this is something.
    for value in ("x", "a.b", "jax_" + "0" * 65, "A" * 45):
        client = client_of(jam, jwt={})
        for path in ("/optional", "/key", "/jwt"):
            assert client.get(path, headers=bearer(value)).status_code == 401, (value, path)


def test_a_session_id_that_begins_like_a_key_is_a_session_id(jam: Jam) -> None:
    client = client_of(jam, session=SHARED)
    like = "jam_" + "A" * 41
    assert client.get("/session", headers=bearer(like)).json["error"] == "invalid_token"
    assert client.get("/key", headers=bearer(like)).json["error"] == "missing_credential"


def test_the_prefix_is_a_setting(make_jam: Any, key: str) -> None:
    jam = make_jam(api_key={"prefix": "acme"})
    own, _ = jam.create_api_key("alice", name="n")
    assert own.startswith("acme_")
    client = client_of(jam)
    assert client.get("/key", headers=bearer(own)).status_code == 200
    assert client.get("/key", headers=bearer(key)).status_code == 401


def test_an_ended_key_is_refused_for_its_reason(jam: Jam, clock: Clock) -> None:
    key, info = jam.create_api_key("alice", name="n", expires_in=60)
    client = client_of(jam)
    assert client.get("/key", headers=bearer(key)).status_code == 200
    clock.tick(60)
    expired = client.get("/key", headers=bearer(key))
    assert (expired.status_code, "expired" in expired.json["detail"]) == (401, True)
    key, info = jam.create_api_key("alice", name="n")
    assert jam.revoke_api_key("alice", info.handle)
    revoked = client.get("/key", headers=bearer(key))
    assert (revoked.status_code, revoked.json["detail"]) == (401, "The credential is not valid.")


def test_revoke_subject_ends_keys_and_end_logins_does_not(jam: Jam, key: str) -> None:
    client = client_of(jam)
    jam.end_logins("alice")
    assert client.get("/key", headers=bearer(key)).status_code == 200
    jam.revoke_subject("alice")
    assert client.get("/key", headers=bearer(key)).status_code == 401


def test_a_key_of_another_issuers_subject_says_whose_it_is(jam: Jam) -> None:
    issuer = "https://idp.example"
    key, _ = jam.create_api_key("alice", name="n", issuer=issuer)
    client = client_of(jam)
    answer = client.get("/key", headers=bearer(key)).json
    assert (answer["subject"], answer["issuer"]) == ("alice", issuer)
    jam.revoke_subject("alice")
    assert client.get("/key", headers=bearer(key)).status_code == 200
    jam.revoke_subject("alice", issuer)
    assert client.get("/key", headers=bearer(key)).status_code == 401


def test_a_challenge_names_what_the_header_takes(jam: Jam, key: str) -> None:
    for options, expected in (
        ({}, 'Bearer realm="api"'),
        ({"header_type": "Token"}, 'Token realm="api"'),
        ({"header_name": "X-API-Key"}, 'ApiKey realm="api"'),
    ):
        client = client_of(jam, options)
        assert client.get("/key").headers["WWW-Authenticate"] == expected
    both = client_of(jam, {"header_name": "X-API-Key"}, jwt={}).get("/jwt-or-key")
    assert both.headers["WWW-Authenticate"] == 'Bearer realm="api", ApiKey realm="api"'


def test_openapi_describes_where_a_key_goes(jam: Jam) -> None:
    app = client_of(jam).application
    assert security_schemes(app) == {
        "api_key_header": {"type": "http", "scheme": "bearer", "bearerFormat": "API key"}
    }
    assert security_for("key", app=app) == [{"api_key_header": []}]
    app = client_of(jam, {"header_name": "X-API-Key"}, jwt={}).application
    assert security_schemes(app)["api_key_header"] == {
        "type": "apiKey", "in": "header", "name": "X-API-Key", "description": "API key",
    }  # fmt: skip
    assert security_for("jwt-or-key", app=app) == [{"jwt_header": []}, {"api_key_header": []}]


def test_no_other_scheme_takes_the_name(jam: Jam) -> None:
    class Impostor(HeaderScheme):
        name = "api_key"

    with pytest.raises(ConfigError, match="api_key"):
        SchemeExtension(Impostor())
