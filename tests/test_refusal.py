"""Refusals, byte by byte, as the table of the documentation has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_jam import (
    Jam,
    JWTExtension,
    Reason,
    SchemeExtension,
    SessionExtension,
    StoreUnavailable,
    jwt_required,
    session_required,
)
from flask_jam.refusal import PROBLEM, Refusal, refusal
from flask_jam.stores.memory import MemoryStore

from .cases import each_case
from .conftest import Clock, bearer, build_app
from .schemes.test_interface import HeaderScheme

BODY = (
    '{{"type": "about:blank", "title": "{title}", "status": {status}, '
    '"detail": "{detail}", "error": "{error}"}}'
)
MISSING = BODY.format(
    title="Unauthorized", status=401, detail="Authentication is required.",
    error="missing_credential",
)  # fmt: skip
INVALID = BODY.format(
    title="Unauthorized", status=401, detail="The credential is not valid.", error="invalid_token"
)
EXPIRED = BODY.format(
    title="Unauthorized", status=401, detail="The credential has expired.", error="invalid_token"
)
MALFORMED = BODY.format(
    title="Bad Request", status=400, error="invalid_request",
    detail="The request carries its credential in a wrong form.",
)  # fmt: skip
STALE = BODY.format(
    title="Unauthorized", status=401, detail="A more recent login is required.",
    error="insufficient_user_authentication",
)  # fmt: skip
SCOPE = BODY.format(
    title="Forbidden", status=403, error="insufficient_scope",
    detail="The credential does not cover this request.",
)  # fmt: skip
ACCESS_DENIED = BODY.format(
    title="Forbidden", status=403, detail="Access is denied.", error="access_denied"
)
INVALID_CHALLENGE = (
    'Bearer realm="api", error="invalid_token", error_description="The credential is not valid."'
)
EXPIRED_CHALLENGE = (
    'Bearer realm="api", error="invalid_token", error_description="The credential has expired."'
)


def seen(client: FlaskClient, path: str, **headers: str) -> tuple[int, str | None, str]:
    answer = client.get(path, headers={name.replace("_", "-"): v for name, v in headers.items()})
    assert answer.content_type == PROBLEM
    return answer.status_code, answer.headers.get("WWW-Authenticate"), answer.text


def test_no_credential_is_a_bare_challenge(client: FlaskClient) -> None:
    assert seen(client, "/jwt") == (401, 'Bearer realm="api"', MISSING)


def test_a_malformed_request_is_a_400(client: FlaskClient) -> None:
    challenge = 'Bearer realm="api", error="invalid_request"'
    assert seen(client, "/jwt", Authorization="Bearer a b") == (400, challenge, MALFORMED)


def test_a_bad_token_and_a_revoked_one_look_the_same(client: FlaskClient, jam: Jam) -> None:
    token = jam.issue_tokens("alice")["access_token"]
    bad = seen(client, "/jwt", Authorization="Bearer a.b.c")
    jam.revoke_token(token)
    assert bad == (401, INVALID_CHALLENGE, INVALID)
    assert seen(client, "/jwt", Authorization=f"Bearer {token}") == bad


def test_expired_is_told_after_the_signature_held(
    client: FlaskClient, jam: Jam, clock: Clock
) -> None:
    token = jam.issue_tokens("alice")["access_token"]
    clock.tick(900)
    forged = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    expired = seen(client, "/jwt", Authorization=f"Bearer {token}")
    assert expired == (401, EXPIRED_CHALLENGE, EXPIRED)
    assert seen(client, "/jwt", Authorization=f"Bearer {forged}")[2] == INVALID


def test_an_old_login_is_asked_to_be_renewed(client: FlaskClient, jam: Jam, clock: Clock) -> None:
    token = jam.issue_tokens("alice")["access_token"]
    clock.tick(301)
    challenge = 'Bearer realm="api", error="insufficient_user_authentication", max_age="300"'
    assert seen(client, "/fresh", Authorization=f"Bearer {token}") == (401, challenge, STALE)


def test_a_missing_scope_names_all_that_is_needed(jam: Jam) -> None:
    app = Flask("scopes")
    JWTExtension(jam, app)
    app.add_url_rule("/", "view", jwt_required(scopes={"write", "read"})(lambda: "in"))
    token = jam.issue_tokens("alice", scopes={"read"})["access_token"]
    challenge = 'Bearer realm="api", error="insufficient_scope", scope="read write"'
    refused = seen(app.test_client(), "/", Authorization=f"Bearer {token}")
    assert refused == (403, challenge, SCOPE)


def test_a_missing_role_has_no_challenge(client: FlaskClient, jam: Jam) -> None:
    token = jam.issue_tokens("alice", roles={"reader"})["access_token"]
    assert seen(client, "/admin", Authorization=f"Bearer {token}") == (403, None, ACCESS_DENIED)


def test_denied_user_of_any_scheme_gets_no_challenge(jam: Jam) -> None:
    class Key(HeaderScheme):
        def challenge(self, *_: Any) -> str:
            return "Key"

    app = Flask("denied")
    required = SchemeExtension(Key(), jam, app).required
    app.add_url_rule("/", "view", required(roles={"admin"})(lambda: "in"))
    client = app.test_client()
    assert seen(client, "/") == (401, "Key", MISSING)
    assert seen(client, "/", X_Key="ann") == (403, None, ACCESS_DENIED)


@each_case("sent", [None, "A" * 45, "nonsense"])
def test_a_guard_of_session_cookies_challenges_for_a_cookie(
    client: FlaskClient, sent: str | None
) -> None:
    if sent:
        client.set_cookie("sessionId", sent)
    body = INVALID if sent else MISSING
    assert seen(client, "/session") == (401, 'Cookie realm="api"', body)


def test_a_guard_of_sessions_in_headers_challenges_for_a_bearer(jam: Jam) -> None:
    app = Flask("header_sessions")
    SessionExtension(jam, app, header_name="Authorization", cookie_name=None)
    app.add_url_rule("/", "view", session_required(lambda: "in"))
    client = app.test_client()
    assert seen(client, "/") == (401, 'Bearer realm="api"', MISSING)
    assert seen(client, "/", Authorization="Bearer x")[1] == INVALID_CHALLENGE


class Dead(MemoryStore):
    """A store that does not answer."""

    def marks(self, *args: Any) -> Any:
        raise StoreUnavailable

    def read_session(self, *args: Any) -> Any:
        raise StoreUnavailable


def test_a_dead_store_is_a_503_on_guarded_routes_only(make_jam: Callable[..., Jam]) -> None:
    jam = make_jam(store=Dead())
    client = build_app(jam).test_client()
    sent = bearer(jam.issue_tokens("alice")["access_token"])
    refused = client.get("/jwt", headers=sent)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert "WWW-Authenticate" not in refused.headers
    assert "Set-Cookie" not in refused.headers
    assert refused.json["error"] == "temporarily_unavailable"
    assert client.get("/open", headers=sent).json["payload"] is None
    assert client.get("/public", headers=sent).status_code == 200
    client.set_cookie("sessionId", "A" * 45)
    assert client.get("/session").status_code == 503


def test_the_realm_is_a_setting(make_jam: Callable[..., Jam]) -> None:
    client = build_app(make_jam(realm="the shop")).test_client()
    assert seen(client, "/jwt")[1] == 'Bearer realm="the shop"'


@each_case(
    ("accept", "html"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("text/html", True),
        ("*/*", False),
        ("application/json", False),
        ("application/json, text/html", False),
        ("text/html;q=0.5, application/problem+json;q=0.9", False),
        ("", False),
        ("nonsense;;;q=x", False),
    ],
)
def test_a_page_is_for_who_prefers_one(client: FlaskClient, accept: str, html: bool) -> None:
    answer = client.get("/jwt", headers={"Accept": accept})
    assert answer.status_code == 401
    assert answer.mimetype == ("text/html" if html else PROBLEM)
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="api"'
    assert answer.text.startswith("<!doctype html>") is html


def test_head_has_the_headers_and_no_body(client: FlaskClient) -> None:
    answer = client.head("/jwt")
    assert (answer.status_code, answer.data) == (401, b"")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="api"'


@each_case("registered", [401, Refusal])
def test_the_apps_own_errorhandler_wins(app: Flask, registered: Any) -> None:
    @app.errorhandler(registered)
    def own(error: Refusal) -> tuple[dict[str, Any], int]:
        return {"mine": True, "reason": error.reason, "challenge": error.challenge}, 418

    answer = app.test_client().get("/jwt")
    said = {"mine": True, "reason": "missing", "challenge": 'Bearer realm="api"'}
    assert (answer.status_code, answer.json) == (418, said)


def test_the_package_installs_no_error_handler(app: Flask) -> None:
    assert not any(app.error_handler_spec.values())


def test_every_reason_has_an_answer() -> None:
    statuses = {str(reason): refusal(reason).code for reason in Reason}
    assert {r: s for r, s in statuses.items() if s != 401} == {
        "malformed": 400, "csrf": 403, "insufficient_scope": 403, "insufficient_role": 403,
        "denied": 403, "unavailable": 503,
    }  # fmt: skip


@each_case(
    ("reason", "headers"),
    [
        ("missing", {"WWW-Authenticate": 'Bearer realm="api"'}),
        ("denied", {}),
        ("unavailable", {"Retry-After": "1"}),
    ],
)
def test_extra_headers_are_for_an_answer_of_your_own(reason: str, headers: Any) -> None:
    challenge = headers.get("WWW-Authenticate")
    assert refusal(Reason(reason), challenge).extra_headers == headers


def test_a_refusal_is_logged_for_debugging_without_the_credential(
    client: FlaskClient, jam: Jam, caplog: pytest.LogCaptureFixture
) -> None:
    token = jam.issue_tokens("alice")["access_token"]
    with caplog.at_level("DEBUG", "flask_jam"):
        client.get("/admin", headers=bearer(token))
    (record,) = [r for r in caplog.records if r.name.startswith("flask_jam")]
    assert "refused at admin: insufficient_role" in record.getMessage()
    assert token not in caplog.text


@each_case("source", ["header", "cookie"])
@each_case("accept", ["text/html", "application/json"])
def test_only_a_page_refused_for_its_dead_cookie_clears_it(
    jam: Jam, clock: Clock, source: str, accept: str
) -> None:
    app = Flask("dead")
    JWTExtension(jam, app, cookie_name="token")
    app.add_url_rule("/", "view", jwt_required(lambda: "in"))
    token = jam.gen_jwt_token({"sub": "ann"})
    clock.tick(900)
    sent = bearer(token) if source == "header" else {"Cookie": f"token={token}"}
    client = app.test_client(use_cookies=False)
    answer = client.get("/", headers={"Accept": accept, **sent})
    assert answer.status_code == 401
    clears = source == "cookie" and accept == "text/html"
    assert ("Set-Cookie" in answer.headers) is clears
