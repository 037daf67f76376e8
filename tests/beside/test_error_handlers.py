"""Beside libraries that answer errors themselves: the way to log in and the challenge survive."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, jsonify
from flask.testing import FlaskClient
from flask.views import MethodView
from werkzeug.exceptions import HTTPException

from flask_jam import Jam, JWTExtension, SessionExtension, jwt_required, session_required

PAGE = {"Accept": "text/html,application/xhtml+xml"}
GUARD = session_required | jwt_required


def plain(app: Flask) -> None:
    app.add_url_rule("/guarded", "guarded", GUARD(lambda: "in"))


def handler_of_http_exceptions(app: Flask) -> None:
    app.register_error_handler(
        HTTPException, lambda error: (jsonify(message=error.description), error.code)
    )
    plain(app)


def handler_of_all_exceptions(app: Flask) -> None:
    app.register_error_handler(
        Exception, lambda error: (jsonify(message="failed"), getattr(error, "code", 500))
    )
    plain(app)


def smorest(app: Flask) -> None:
    library = pytest.importorskip("flask_smorest", reason="needs flask-smorest")
    app.config.update(API_TITLE="t", API_VERSION="1", OPENAPI_VERSION="3.1.0")
    api, blueprint = library.Api(app), library.Blueprint("b", "b")
    blueprint.add_url_rule("/guarded", "guarded", GUARD(lambda: "in"))
    api.register_blueprint(blueprint)


def restful(app: Flask) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library = pytest.importorskip("flask_restful", reason="needs Flask-RESTful")

    class Guarded(library.Resource):  # type: ignore[name-defined, misc]
        method_decorators = (GUARD,)

        def get(self) -> str:
            return "in"

    library.Api(app).add_resource(Guarded, "/guarded")


def restx(app: Flask, handler: bool = False) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library = pytest.importorskip("flask_restx", reason="needs Flask-RESTX")
    api = library.Api(app, doc=False)
    if handler:
        api.errorhandler(Exception)(
            lambda error: ({"message": "failed"}, getattr(error, "code", None) or 500)
        )

    class Guarded(library.Resource):  # type: ignore[name-defined, misc]
        method_decorators = (GUARD,)

        def get(self) -> str:
            return "in"

    api.add_resource(Guarded, "/guarded")


def restx_with_handler(app: Flask) -> None:
    restx(app, handler=True)


def view_class(app: Flask) -> None:
    class Guarded(MethodView):
        decorators = (GUARD,)

        def get(self) -> str:
            return "in"

    handler_of_all_exceptions(app)
    app.view_functions.pop("guarded")
    app.add_url_rule("/guarded2", view_func=Guarded.as_view("guarded2"))
    app.view_functions["guarded"] = app.view_functions["guarded2"]


KINDS: list[Callable[[Flask], None]] = [
    plain, handler_of_http_exceptions, handler_of_all_exceptions, smorest, restful, restx,
    restx_with_handler, view_class,
]  # fmt: skip


def build(jam: Jam, kind: Callable[[Flask], None], app: Flask | None = None) -> FlaskClient:
    app = app or Flask("beside")
    SessionExtension(jam, app)
    JWTExtension(jam, app)
    app.add_url_rule("/login", "login", lambda: "form")
    kind(app)
    return app.test_client()


@pytest.fixture
def login_jam(make_jam: Any) -> Jam:
    jam: Jam = make_jam(login_view="login")
    return jam


def api_flask() -> Flask:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library = pytest.importorskip("apiflask", reason="needs APIFlask")
    app: Flask = library.APIFlask("beside")
    return app


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_sent_to_log_in(login_jam: Jam, kind: Any) -> None:
    client = build(login_jam, kind)
    answer = client.get("/guarded", headers=PAGE)
    assert (answer.status_code, answer.location) == (302, "/login?next=/guarded")
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_401_keeps_its_challenge(login_jam: Jam, kind: Any) -> None:
    client = build(login_jam, kind)
    for headers, part in (
        ({}, 'realm="api"'),
        ({"Authorization": "Bearer x.y.z"}, "invalid_token"),
    ):
        answer = client.get("/guarded", headers=headers)
        assert answer.status_code == 401
        assert part in answer.headers["WWW-Authenticate"]
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_user_gets_in(login_jam: Jam, kind: Any) -> None:
    client = build(login_jam, kind)
    client.set_cookie("sessionId", login_jam.create_session("ann", {}))
    assert "in" in client.get("/guarded").text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_apiflask_keeps_the_way_and_the_challenge(login_jam: Jam) -> None:
    client = build(login_jam, plain, api_flask())
    answer = client.get("/guarded", headers=PAGE)
    assert (answer.status_code, answer.location) == (302, "/login?next=/guarded")
    answer = client.get("/guarded", headers={"Authorization": "Bearer x.y.z"})
    assert answer.status_code == 401
    assert "invalid_token" in answer.headers["WWW-Authenticate"]


def test_a_503_keeps_its_retry_after(make_jam: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from flask_jam import StoreUnavailable

    jam: Jam = make_jam()

    def down(*_: Any) -> Any:
        raise StoreUnavailable

    monkeypatch.setattr(jam.store, "read_session", down)
    client = build(jam, handler_of_all_exceptions)
    client.set_cookie("sessionId", "A" * 45)
    answer = client.get("/guarded")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_a_view_that_handles_the_refusal_keeps_its_page(login_jam: Jam) -> None:
    app = Flask("handled")

    def view() -> str:
        try:
            session_required.enforce()
        except HTTPException:
            return "a teaser"
        return "the article"

    client = build(login_jam, lambda app: app.add_url_rule("/x", "x", view), app)
    answer = client.get("/x", headers=PAGE)
    assert (answer.status_code, answer.text) == (200, "a teaser")
    assert answer.headers["Cache-Control"] == "no-store"
