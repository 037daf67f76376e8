"""``refuse_login()``: a login that failed is answered and announced like every other refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, current_app, render_template_string, request
from flask.testing import FlaskClient
from werkzeug.exceptions import Unauthorized

from flask_jam import (
    ConfigError,
    Jam,
    JWTExtension,
    SessionExtension,
    current_auth,
    public,
    session_required,
    signals,
)
from flask_jam.refusal import Refusal

from ..cases import each_case

MakeJam = Callable[..., Jam]
PAGE = {"Accept": "text/html,*/*;q=0.8", "Sec-Fetch-Mode": "navigate"}


def build(jam: Jam, **options: Any) -> Flask:
    app = Flask("refusing")
    app.secret_key = "k" * 32
    session = SessionExtension(jam, app, **options)
    jwt = JWTExtension(jam, app)

    @app.route("/login", methods=["GET", "POST"])
    @public
    def login() -> Any:
        name = request.values.get("name")
        if request.values.get("password") != "right":
            session.refuse_login(name)
        return session.login(name or "ann")

    @app.route("/token", methods=["POST"])
    def token() -> Any:
        jwt.refuse_login(request.values.get("name"))

    app.add_url_rule("/me", "me", session_required(lambda: current_auth().subject))  # type: ignore[union-attr]
    return app


@pytest.fixture
def app(jam: Jam) -> Flask:
    return build(jam)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def failed(app: Flask) -> Iterator[list[dict[str, Any]]]:
    seen: list[dict[str, Any]] = []

    def note(sender: Flask, **what: Any) -> None:
        assert sender is app
        seen.append(what)

    with signals.login_failed.connected_to(note, app):
        yield seen


def test_a_refused_login_is_a_401_in_the_form_of_all_others(client: FlaskClient) -> None:
    answer = client.post("/token", data={"name": "ann"})
    detail = "The credential is not valid."
    assert answer.status_code == 401
    assert answer.mimetype == "application/problem+json"
    assert answer.json == {
        "type": "about:blank", "title": "Unauthorized", "status": 401, "detail": detail,
        "error": "invalid_token",
    }  # fmt: skip
    assert answer.headers["WWW-Authenticate"] == (
        f'Bearer realm="api", error="invalid_token", error_description="{detail}"'
    )
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Vary"] == "Authorization, Cookie"


def test_a_login_by_cookie_alone_has_the_cookie_challenge(client: FlaskClient) -> None:
    answer = client.post("/login", data={"name": "ann"})
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Cookie realm="api"')


@each_case(("path", "scheme"), [("/login", "session"), ("/token", "jwt")])
def test_a_refused_login_is_announced_once_and_as_nothing_else(
    client: FlaskClient,
    failed: list[dict[str, Any]],
    event_log: list[tuple[str, dict[str, Any]]],
    path: str,
    scheme: str,
) -> None:
    client.post(path, data={"name": "ann"})
    assert failed == [{"scheme": scheme, "subject": "ann"}]
    assert [name for name, _ in event_log] == ["login_failed"]


def test_a_login_of_nobody_in_particular_has_no_subject(
    client: FlaskClient, failed: list[dict[str, Any]]
) -> None:
    client.post("/token")
    assert failed == [{"scheme": "jwt", "subject": None}]


@each_case(
    "name", ["ann\r\nSet-Cookie: x=1", "<script>", "\x00", "x" * 100_000, "é"], ids=lambda s: s[:9]
)
def test_what_the_client_typed_is_in_no_answer(
    client: FlaskClient, failed: list[dict[str, Any]], name: str
) -> None:
    for headers in ({}, PAGE):
        answer = client.post("/token", data={"name": name}, headers=headers)
        assert answer.status_code == 401
        assert name not in answer.text
        assert not any(name in value for _, value in answer.headers)
    assert [each["subject"] for each in failed] == [name, name]


@each_case(("method", "path"), [("GET", "/login"), ("POST", "/login"), ("POST", "/token")])
@each_case("headers", [PAGE, {"HX-Request": "true"}], ids=str)
def test_a_refused_login_never_leads_to_the_login_page(
    make_jam: MakeJam, method: str, path: str, headers: dict[str, str]
) -> None:
    app = build(make_jam(login_view="login", login_message="Log in first."))
    answer = app.test_client().open(path, method=method, headers=headers)
    assert answer.status_code == 401
    assert not {"Location", "HX-Redirect", "Set-Cookie"} & set(answer.headers.keys())


def test_a_page_gets_the_refusal_as_html(client: FlaskClient) -> None:
    answer = client.post("/login", headers=PAGE)
    assert (answer.status_code, answer.mimetype) == (401, "text/html")


def test_the_error_handler_of_the_app_answers_it(app: Flask, client: FlaskClient) -> None:
    @app.errorhandler(401)
    def refused(error: Unauthorized) -> Any:
        return {"reason": error.reason.value, "mine": True}, 401  # type: ignore[attr-defined]

    assert client.post("/token").json == {"reason": "invalid", "mine": True}


def test_a_view_can_catch_it_and_show_the_form_again(
    app: Flask, client: FlaskClient, failed: list[dict[str, Any]]
) -> None:
    session = app.extensions["flask_jam"].owners["session"]

    @app.post("/form")
    def form() -> Any:
        try:
            session.refuse_login(request.form["name"])
        except Refusal as refused:
            page = render_template_string("<p>Wrong.</p>{{ current_auth().subject }}")
            return page, 401, refused.extra_headers

    answer = client.post("/form", data={"name": "ann"}, headers=PAGE)
    assert (answer.status_code, answer.text) == (401, "<p>Wrong.</p>")
    assert answer.headers["WWW-Authenticate"] == 'Cookie realm="api"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert [each["subject"] for each in failed] == ["ann"]


def test_a_refused_login_leaves_the_login_that_was_there(client: FlaskClient) -> None:
    client.post("/login", data={"name": "ann", "password": "right"})
    answer = client.post("/login", data={"name": "bob", "password": "wrong"}, headers=PAGE)
    assert answer.status_code == 401
    assert "Set-Cookie" not in answer.headers
    assert client.get("/me").text == "ann"


def test_a_receiver_that_raises_changes_nothing(app: Flask, client: FlaskClient) -> None:
    def broken(sender: Flask, **what: Any) -> None:
        raise RuntimeError

    with signals.login_failed.connected_to(broken, app):
        assert client.post("/token").status_code == 401


def test_outside_of_a_request_there_is_no_login_to_refuse(app: Flask) -> None:
    with app.app_context(), pytest.raises(ConfigError):
        current_app.extensions["flask_jam"].owners["jwt"].refuse_login("ann")
