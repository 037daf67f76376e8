"""Old clients of Flask-JWT-Extended, moved in two steps, with its own tokens under the same key."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask, g
from flask.testing import FlaskClient

from flask_jam import Jam, JWTExtension, current_auth, jwt_required

from ..cases import each_case
from ..conftest import SECRET, bearer

fje = pytest.importorskip("flask_jwt_extended", reason="needs Flask-JWT-Extended")
STEP_ONE: dict[str, Any] = {"refresh_sources": ("header", "body")}


@pytest.fixture
def old() -> Flask:
    """The server of before."""
    app = Flask("old")
    app.config.update(JWT_SECRET_KEY=SECRET)
    fje.JWTManager(app)

    @app.post("/login")
    def login() -> dict[str, str]:
        return {
            "access_token": fje.create_access_token("ann", fresh=True),
            "refresh_token": fje.create_refresh_token("ann"),
        }

    return app


def server(jam: Jam, **options: Any) -> Flask:
    app = Flask("new")
    jwt = JWTExtension(jam, app, **options)

    @app.get("/me")
    @jwt_required
    def me() -> dict[str, Any]:
        auth = current_auth()
        assert auth is not None
        return {"subject": auth.subject, "claims": g.payload}

    app.add_url_rule("/fresh", "fresh", jwt_required(max_age=300)(lambda: "fresh"))
    app.add_url_rule("/login", "login", lambda: jwt.login("ann"), methods=["POST"])
    app.add_url_rule("/logout", "logout", lambda: jwt.logout() or "", methods=["POST"])
    app.extensions["refresh"] = jwt.refresh
    return app


@pytest.fixture
def store() -> Any:
    return Jam({"jwt": {"secret_key": SECRET}}).store


@pytest.fixture
def step_one(store: Any) -> Flask:
    """It takes what old and new clients send, and the refresh tokens of both libraries."""
    jam = Jam({"jwt": {"secret_key": SECRET, "rotate_refresh_tokens": False}}, store=store)
    app = server(jam, **STEP_ONE)
    app.config.update(JWT_SECRET_KEY=SECRET)
    fje.JWTManager(app)

    @app.post("/refresh")
    def refresh() -> Any:
        from flask_jwt_extended.exceptions import JWTExtendedException
        from jwt import PyJWTError

        try:
            fje.verify_jwt_in_request(refresh=True)
        except (JWTExtendedException, PyJWTError):
            return app.extensions["refresh"]()
        login = {"sub": str(fje.get_jwt_identity()), "auth_time": fje.get_jwt()["iat"]}
        token = jam.gen_jwt_token(jam.make_payload(**login))
        return {"access_token": token}, {"Cache-Control": "no-store"}

    return app


@pytest.fixture
def step_two(store: Any) -> Flask:
    """The options are off."""
    app = server(Jam({"jwt": {"secret_key": SECRET}}, store=store))
    app.add_url_rule("/refresh", "refresh", app.extensions["refresh"], methods=["POST"])
    return app


class OldClient:
    """It sends each token in the header, and of a refresh it reads the access token only."""

    def __init__(self, app: Flask, pair: Any = None) -> None:
        self.at(app)
        self.pair = pair or self.client.post("/login").json

    def at(self, app: Flask) -> None:
        self.client: FlaskClient = app.test_client()

    def get(self, path: str) -> Any:
        return self.client.get(path, headers=bearer(self.pair["access_token"]))

    def refresh(self) -> int:
        answer = self.client.post("/refresh", headers=bearer(self.pair["refresh_token"]))
        if answer.status_code == 200:
            self.pair["access_token"] = answer.json["access_token"]
        return int(answer.status_code)


class NewClient(OldClient):
    """It sends the refresh token in the body, and keeps the new one if there is one."""

    def refresh(self) -> int:
        json = {"refresh_token": self.pair["refresh_token"]}
        answer = self.client.post("/refresh", json=json)
        if answer.status_code == 200:
            self.pair.update(answer.json)
        return int(answer.status_code)


# --- the two steps --------------------------------------------------------------------


def test_an_old_client_goes_on_with_its_old_tokens(old: Flask, step_one: Flask) -> None:
    client = OldClient(old)
    client.at(step_one)
    assert client.get("/me").json["subject"] == "ann"
    for _ in range(3):
        assert client.refresh() == 200
        assert client.get("/me").json["subject"] == "ann"


def test_an_old_client_that_logs_in_anew_refreshes_for_ever(step_one: Flask) -> None:
    client = OldClient(step_one)
    for _ in range(3):
        assert client.refresh() == 200
        assert client.get("/me").json["subject"] == "ann"
    client.client.post("/logout", headers=bearer(client.pair["access_token"]))
    assert client.refresh() == 401
    assert client.get("/me").status_code == 401


def test_a_changed_client_works_before_and_after_the_second_step(
    step_one: Flask, step_two: Flask
) -> None:
    client = NewClient(step_one)
    for app in (step_one, step_one, step_two, step_two, step_two):
        client.at(app)
        assert client.refresh() == 200
        assert client.get("/me").json["subject"] == "ann"


def test_rotation_finds_a_stolen_token_after_the_second_step(
    step_one: Flask, step_two: Flask
) -> None:
    client = NewClient(step_one)
    thief = NewClient(step_two, dict(client.pair))
    client.at(step_two)
    assert [client.refresh(), client.refresh()] == [200, 200]
    assert thief.refresh() == 401
    assert client.refresh() == 401


def test_the_second_step_ends_what_did_not_change(
    old: Flask, step_one: Flask, step_two: Flask
) -> None:
    for client in (OldClient(old), OldClient(step_one)):
        client.at(step_two)
        assert client.get("/me").json["subject"] == "ann"
        assert client.refresh() == 401


# --- an old token is what it is -------------------------------------------------------


def test_the_claims_of_an_old_token_are_in_the_payload(old: Flask, step_two: Flask) -> None:
    with old.app_context():
        token = fje.create_access_token("ann", fresh=True, additional_claims={"team": "blue"})
    claims = OldClient(step_two, {"access_token": token}).get("/me").json["claims"]
    assert claims.keys() >= {"fresh", "type", "jti", "sub", "csrf", "nbf", "iat", "exp", "team"}
    assert (claims["type"], claims["fresh"], claims["team"]) == ("access", True, "blue")


def test_an_old_token_with_an_identity_claim_has_no_subject(old: Flask, step_two: Flask) -> None:
    old.config["JWT_IDENTITY_CLAIM"] = "identity"
    with old.app_context():
        token = fje.create_access_token("ann")
    said = OldClient(step_two, {"access_token": token}).get("/me").json
    assert (said["subject"], said["claims"]["identity"]) == (None, "ann")


def test_an_exchanged_token_is_no_fresh_login(old: Flask, step_one: Flask) -> None:
    client = OldClient(old)
    assert OldClient(step_one, dict(client.pair)).get("/fresh").status_code == 401
    with old.app_context():
        token = fje.create_refresh_token("ann", additional_claims={"iat": 1_600_000_000})
    client = OldClient(step_one, {"access_token": "", "refresh_token": token})
    assert client.refresh() == 200
    assert client.get("/me").status_code == 200
    assert client.get("/fresh").status_code == 401


@each_case("path", ["/me", "/fresh"])
def test_an_old_refresh_token_is_no_access_token(old: Flask, step_one: Flask, path: str) -> None:
    pair = OldClient(old).pair
    client = OldClient(step_one, {"access_token": pair["refresh_token"]})
    assert client.get(path).status_code == 401


def test_no_other_token_refreshes_in_the_first_step(old: Flask, step_one: Flask) -> None:
    new = step_one.test_client().post("/login").json
    with old.app_context():
        expired = fje.create_refresh_token("ann", expires_delta=timedelta(seconds=-1))
    old.config["JWT_SECRET_KEY"] = SECRET[::-1]
    foreign = old.test_client().post("/login").json["refresh_token"]
    for token in (new["access_token"], expired, foreign, "x", "a.b.c", new["refresh_token"][:-1]):
        client = OldClient(step_one, {"refresh_token": token})
        assert client.refresh() == 401


@each_case("how", ["logout", "revoke_subject"])
def test_an_old_access_token_can_be_revoked(old: Flask, step_one: Flask, how: str) -> None:
    client = OldClient(old)
    client.at(step_one)
    if how == "logout":
        client.client.post("/logout", headers=bearer(client.pair["access_token"]))
    else:
        step_one.extensions["jam"].revoke_subject("ann")
    assert client.get("/me").status_code == 401


def test_another_word_is_taken_from_old_clients(old: Flask, store: Any) -> None:
    old.config["JWT_HEADER_TYPE"] = "Token"
    app = server(Jam({"jwt": {"secret_key": SECRET}}, store=store), header_type="Token")
    pair = OldClient(old).pair
    for word, status in (("Token", 200), ("Bearer", 401)):
        sent = {"Authorization": f"{word} {pair['access_token']}"}
        assert app.test_client().get("/me", headers=sent).status_code == status
