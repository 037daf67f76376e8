"""``session.update()``: the session of this request, in the store and in ``g.payload``."""

from __future__ import annotations

from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import pytest
from flask import Flask, g, request
from flask.testing import FlaskClient

from flask_jam import (
    ConfigError,
    Jam,
    JWTExtension,
    SessionError,
    SessionExtension,
    current_auth,
    jwt_required,
    session_required,
)

from ..cases import each_case
from ..conftest import Clock, bearer
from ..servers import Proxy, RedisServer

MakeJam = Callable[..., Jam]


def build(jam: Jam) -> Flask:
    app = Flask("updating")
    session = SessionExtension(jam, app)
    JWTExtension(jam, app)

    def change() -> Any:
        before = g.payload
        session.update(request.get_json())
        return {"payload": g.payload, "auth": current_auth().payload, "before": before}  # type: ignore[union-attr]

    @app.post("/login")
    def login() -> Any:
        session.login("ann", {"n": 0, "kept": True})
        session.update(n=1)
        return {"payload": g.payload}

    @app.post("/names")
    @session_required
    def names() -> Any:
        session.update({"n": 1, "data": 2}, n=3, self=4)
        return g.payload

    @app.post("/own")
    @session_required
    def own() -> Any:
        g.payload = "mine"
        session.update(n=7)
        return {"payload": g.payload}

    @app.post("/out")
    @session_required
    def out() -> Any:
        session.logout()
        session.update(n=9)
        return "never"

    app.add_url_rule("/open", "open", change, methods=["POST"])
    app.add_url_rule("/change", "change", session_required(change), methods=["POST"])
    either = (session_required | jwt_required)(change)
    app.add_url_rule("/either", "either", either, methods=["POST"])
    by_token = jwt_required(lambda: session.update(n=9) or {})
    app.add_url_rule("/by-token", "by_token", by_token, methods=["POST"])
    app.add_url_rule("/me", "me", session_required(lambda: g.payload))
    return app


@pytest.fixture
def app(jam: Jam) -> Flask:
    return build(jam)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    client = app.test_client()
    client.post("/login")
    return client


def held(client: FlaskClient) -> str:
    cookie = client.get_cookie("sessionId")
    assert cookie is not None
    return cookie.value


def test_an_update_is_seen_at_once_and_by_the_next_request(client: FlaskClient) -> None:
    answer = client.post("/change", json={"n": 5, "new": [1]}).json
    wanted = {"n": 5, "kept": True, "new": [1]}
    assert answer["payload"] == answer["auth"] == answer["before"] == wanted
    assert client.get("/me").json == wanted


def test_a_request_that_logs_in_can_update_its_session(app: Flask) -> None:
    client = app.test_client()
    assert client.post("/login").json == {"payload": {"n": 1, "kept": True}}
    assert client.get("/me").json == {"n": 1, "kept": True}


def test_an_update_takes_a_mapping_and_names_and_names_win(client: FlaskClient) -> None:
    assert client.post("/names").json == {"n": 3, "kept": True, "data": 2, "self": 4}


def test_what_the_app_assigned_to_the_payload_stays(client: FlaskClient) -> None:
    assert client.post("/own").json == {"payload": "mine"}
    assert client.get("/me").json["n"] == 7


def test_a_later_change_of_the_value_reaches_no_store(jam: Jam, app: Flask) -> None:
    session = app.extensions["flask_jam"].owners["session"]
    value = {"deep": [1]}

    @app.post("/alias")
    @session_required
    def alias() -> str:
        session.update(value=value)
        value["deep"].append(2)
        g.payload["value"]["deep"].append(3)
        return ""

    client = app.test_client()
    client.post("/login")
    client.post("/alias")
    assert client.get("/me").json["value"] == {"deep": [1]}


@each_case("path", ["/open", "/change"])
def test_without_a_session_an_update_is_refused(app: Flask, path: str) -> None:
    answer = app.test_client().post(path, json={"n": 1})
    assert (answer.status_code, answer.json["error"]) == (401, "missing_credential")


def test_a_login_by_token_has_no_session_to_update(app: Flask, jam: Jam) -> None:
    pair = jam.issue_tokens("ann")
    sent = bearer(pair["access_token"])
    answer = app.test_client().post("/either", json={"n": 1}, headers=sent)
    assert (answer.status_code, answer.json["error"]) == (401, "missing_credential")


def test_a_session_that_was_logged_out_in_the_request_is_not_updated(client: FlaskClient) -> None:
    assert client.post("/out").status_code == 401
    assert client.get("/me").status_code == 401


def test_an_update_of_a_session_that_ends_meanwhile_is_refused(jam: Jam, app: Flask) -> None:
    session = app.extensions["flask_jam"].owners["session"]

    @app.post("/late")
    @session_required
    def late() -> str:
        jam.clear_sessions("ann")
        session.update(n=1)
        return "never"

    client = app.test_client()
    client.post("/login")
    assert client.post("/late").status_code == 401
    assert jam.list_sessions("ann") == []


@each_case(("subject", "status", "n"), [("ann", 200, 9), ("bob", 400, 1)])
def test_a_view_for_one_user_does_not_update_the_session_of_another(
    jam: Jam, client: FlaskClient, subject: str, status: int, n: int
) -> None:
    sent = bearer(jam.issue_tokens(subject)["access_token"])
    assert client.post("/by-token", headers=sent).status_code == status
    assert client.get("/me").json["n"] == n


@each_case("sent", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}], ids=str)
def test_another_site_updates_nothing(client: FlaskClient, sent: dict[str, str]) -> None:
    answer = client.post("/open", json={"n": 9}, headers=sent)
    assert (answer.status_code, answer.json["error"]) == (403, "csrf")
    assert client.get("/me").json["n"] == 1


@each_case(
    ("changes", "reason"),
    [({"when": {1, 2}}, "invalid"), ({"big": "x" * 70_000}, "too_large"),
     ({"nan": float("nan")}, "invalid"), ({"odd": "\ud800"}, "invalid")],
    ids=["set", "too large", "nan", "surrogate"],
)  # fmt: skip
def test_data_that_cannot_be_kept_is_an_error_of_the_view(
    app: Flask, changes: dict[str, Any], reason: str
) -> None:
    session = app.extensions["flask_jam"].owners["session"]
    app.testing = True

    @app.post("/bad")
    @session_required
    def bad() -> str:
        with pytest.raises(SessionError) as caught:
            session.update(changes)
        return str(caught.value.reason.value) + str(g.payload["n"])

    client = app.test_client()
    client.post("/login")
    assert client.post("/bad").text == f"{reason}1"
    assert client.get("/me").json == {"n": 1, "kept": True}


def test_outside_of_a_request_there_is_nothing_to_update(app: Flask) -> None:
    session = app.extensions["flask_jam"].owners["session"]
    with app.app_context(), pytest.raises(ConfigError):
        session.update(n=1)


def test_two_requests_that_update_at_once_lose_nothing(app: Flask, client: FlaskClient) -> None:
    gate, cookie = Barrier(8), held(client)

    def change(number: int) -> None:
        tab = app.test_client()
        tab.set_cookie("sessionId", cookie)
        gate.wait()
        assert tab.post("/change", json={f"k{number}": number}).status_code == 200

    tabs = [Thread(target=change, args=(number,)) for number in range(8)]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()
    assert client.get("/me").json == {"n": 1, "kept": True, **{f"k{n}": n for n in range(8)}}


@each_case("kind", [True, False, None])
def test_an_update_moves_no_end_and_makes_no_login_younger(
    jam: Jam, app: Flask, clock: Clock, kind: bool | None
) -> None:
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("ann", {}, remember=kind, absolute=100))
    app.add_url_rule("/fresh", "fresh", session_required(max_age=50)(lambda: "fresh"))
    clock.tick(51)
    assert client.post("/change", json={"auth_time": clock(), "n": 1}).status_code == 200
    assert client.get("/fresh").status_code == 401
    clock.tick(49)
    assert client.get("/me").status_code == 401


@pytest.mark.redis
@pytest.mark.slow
def test_a_store_that_is_down_is_a_503_and_the_payload_is_as_it_was(
    redis_server: RedisServer, make_jam: MakeJam
) -> None:
    redis_server.flush()
    with Proxy(redis_server.port) as proxy:
        jam = make_jam(redis_url=f"redis://127.0.0.1:{proxy.port}")
        app = build(jam)
        session = app.extensions["flask_jam"].owners["session"]
        seen: list[Any] = []

        @app.post("/cut")
        @session_required
        def cut() -> Any:
            proxy.refuse()
            try:
                session.update(n=2)
            finally:
                seen.append(g.payload["n"])

        client = app.test_client()
        client.post("/login")
        answer = client.post("/cut")
        assert (answer.status_code, answer.headers["Retry-After"], seen) == (503, "1", [1])
        jam.store.close()  # type: ignore[attr-defined]
