"""``examples/webhook``: a scheme of an app's own, in the form of a well-known provider."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, g
from flask.testing import FlaskClient

from examples.webhook import create_app
from examples.webhook.scheme import WebhookScheme
from flask_jam import Jam, JWTExtension, SchemeExtension, current_auth, jwt_required, protect
from flask_jam.audit import routes
from flask_jam.openapi import security_for, security_schemes
from flask_jam.schemes import Scheme
from flask_jam.testing.schemes import SchemeConformance

from ..conftest import Clock, bearer

SECRET = "whsec_of_the_tests"
NOW = 1_800_000_000
BODY = b'{"id": "evt_1", "type": "charge.succeeded", "account": "acct_7", "scope": "refund"}'


def signed(body: bytes = BODY, at: float = NOW, secret: str = SECRET) -> dict[str, Any]:
    mac = hmac.new(secret.encode(), f"{int(at)}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"Stripe-Signature": f"t={int(at)},v1={mac}"}
    return {"method": "POST", "data": body, "headers": headers}


class TestWebhookScheme(SchemeConformance):
    def make_scheme(self) -> Scheme:
        return WebhookScheme(SECRET, Clock(NOW))

    def good_request(self) -> dict[str, Any]:
        return signed()

    def bad_requests(self) -> Iterator[dict[str, Any]]:
        yield {**signed(), "data": BODY.replace(b"evt_1", b"evt_2")}
        yield signed(secret="another")
        yield signed(at=NOW - 301)
        yield signed(at=NOW + 301)
        yield signed(b"not JSON")
        yield signed(b"[1]")
        yield {**signed(), "headers": {"Stripe-Signature": "t=1,v0=00"}}
        yield {**signed(), "headers": {"Stripe-Signature": "v1=00"}}


@pytest.fixture
def client() -> FlaskClient:
    return create_app(
        SECRET, Jam({"jwt": {"secret_key": "k" * 20 + "0123456789abcdefghij"}})
    ).test_client()


def test_a_signed_event_is_received(client: FlaskClient) -> None:
    answer = client.open("/webhook", **signed(at=time.time()))
    assert (answer.status_code, answer.json) == (200, {"received": "evt_1"})


def test_an_event_is_refused_unsigned_forged_replayed_or_too_large(client: FlaskClient) -> None:
    now = time.time()
    assert client.post("/webhook", data=BODY).status_code == 401
    for bad in (signed(at=now, secret="x"), signed(at=now - 1000)):
        answer = client.open("/webhook", **bad)
        assert (answer.status_code, answer.json["error"]) == (401, "invalid_token")
    assert client.open("/webhook", **signed(b"a" * 70_000, at=now)).status_code == 400


def test_a_rotated_secret_may_sign_beside_the_new_one(client: FlaskClient) -> None:
    new, old = (signed(at=time.time(), secret=each) for each in (SECRET, "old"))
    old_mac = old["headers"]["Stripe-Signature"].partition(",")[2]
    new["headers"]["Stripe-Signature"] += f",{old_mac}"
    assert client.open("/webhook", **new).status_code == 200


def test_the_scheme_has_fewer_than_60_lines() -> None:
    path = Path(__file__).parents[2] / "examples" / "webhook" / "scheme.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60


@pytest.fixture
def app(jam: Jam) -> Flask:
    """An app with tokens and webhooks."""
    app = Flask("shop")
    JWTExtension(jam, app)
    app.extensions["webhook"] = SchemeExtension(WebhookScheme(SECRET, Clock(NOW)), jam, app)
    return app


def who() -> str:
    auth = current_auth()
    return f"{auth.scheme}:{auth.subject}" if auth else "anonymous"


def test_its_guard_joins_with_others_and_asks_for_scopes(app: Flask, jam: Jam) -> None:
    required = app.extensions["webhook"].required
    app.add_url_rule("/either", "either", (jwt_required | required)(who), methods=["POST"])
    app.add_url_rule("/other", "other", required(scopes={"write"})(who), methods=["POST"])
    client, token = app.test_client(), bearer(jam.issue_tokens("ann")["access_token"])
    assert client.open("/either", **signed()).text == "webhook:acct_7"
    assert client.post("/either", headers=token).text == "jwt:ann"
    refused = client.post("/either")
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == (
        'Bearer realm="api", Stripe-Signature realm="webhook"'
    )
    assert client.open("/other", **signed()).status_code == 403
    # A bad credential is never passed over for another scheme.
    both = signed(secret="x")
    both["headers"].update(token)
    assert client.open("/either", **both).status_code == 401


def test_it_is_in_the_audit_in_openapi_in_protect_and_in_vary(app: Flask, jam: Jam) -> None:
    required = app.extensions["webhook"].required
    protect(app, required)
    app.add_url_rule("/hook", "hook", who, methods=["POST"])
    client = app.test_client()
    answer = client.open("/hook", **signed())
    assert answer.text == "webhook:acct_7"
    assert "Stripe-Signature" in answer.headers["Vary"]
    assert client.post("/hook").status_code == 401
    (route,) = [each for each in routes(app) if each.endpoint == "hook"]
    assert (route.guard, route.origins) == ("webhook_required", ("app",))
    described = {"type": "apiKey", "in": "header", "name": "Stripe-Signature"}
    assert security_schemes(app)["webhook"] == described
    assert security_for("hook", app=app) == [{"webhook": []}]


def test_a_guard_of_a_scheme_that_the_app_lacks_is_a_sentence(jam: Jam) -> None:
    app = Flask("without")
    app.testing = True
    JWTExtension(jam, app)
    required = SchemeExtension(WebhookScheme(SECRET)).required
    app.add_url_rule("/", "view", required(who))
    with pytest.raises(ValueError, match="SchemeExtension"):
        app.test_client().get("/")


def test_its_payload_is_in_g(app: Flask) -> None:
    required = app.extensions["webhook"].required
    app.add_url_rule("/id", "id", required(lambda: g.payload["id"]), methods=["POST"])
    assert app.test_client().open("/id", **signed()).text == "evt_1"
