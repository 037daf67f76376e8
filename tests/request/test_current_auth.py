"""``g.payload`` and ``current_auth``: set once per request, never unset, never somebody else's."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, abort, current_app, g

from flask_jam import (
    Jam,
    JamExtension,
    JWTExtension,
    SessionExtension,
    current_auth,
    jwt_required,
    public,
)
from flask_jam._request.request_auth import current_request_auth

from ..cases import each_case
from ..conftest import bearer, build_app


@pytest.fixture
def shape() -> tuple[Flask, Jam]:
    """The application of the design, word for word."""
    jam = Jam({"jwt": {"secret_key": "a secret of the shape that is long enough 0123"}})
    app = Flask(__name__)

    JamExtension(jam).init_app(app)
    JWTExtension(jam, header_name="Authorization", cookie_name=None).init_app(app)
    SessionExtension(jam, header_name=None, cookie_name="sessionId").init_app(app)

    @app.route("/login")
    def login() -> str:
        jam = current_app.extensions["jam"]
        return jam.gen_jwt_token(jam.make_payload(**{"user": 1}))  # type: ignore[no-any-return]

    @app.route("/login-session")
    def login_session() -> Any:
        session_id = jam.create_session("usern", {"user": 1})
        response = app.make_response(session_id)
        response.set_cookie("sessionId", session_id)
        return response

    @app.route("/get_user")
    def get_user() -> Any:
        if not g.payload:
            abort(403)
        return g.payload

    return app, jam


def test_the_shape_of_the_design_runs(shape: tuple[Flask, Jam]) -> None:
    client = shape[0].test_client()
    assert client.get("/get_user").status_code == 403
    token = client.get("/login").text
    assert client.get("/get_user", headers=bearer(token)).json["user"] == 1
    assert client.get("/get_user", headers={"Authorization": f"bEaReR {token}"}).status_code == 200
    client.get("/login-session")
    assert client.get("/get_user").json == {"user": 1}


def test_neither_extension_wipes_the_others_payload(shape: tuple[Flask, Jam]) -> None:
    client = shape[0].test_client()
    token = client.get("/login").text
    client.set_cookie("sessionId", "A" * 45)
    assert "jti" in client.get("/get_user", headers=bearer(token)).json


def test_a_valid_credential_leaves_404_and_405_alone(shape: tuple[Flask, Jam]) -> None:
    client = shape[0].test_client()
    sent = bearer(client.get("/login").text)
    assert client.get("/nowhere", headers=sent).status_code == 404
    assert client.post("/get_user", headers=sent).status_code == 405


def test_a_bad_credential_means_nobody_not_the_next_scheme(shape: tuple[Flask, Jam]) -> None:
    client = shape[0].test_client()
    client.get("/login-session")
    assert client.get("/get_user").status_code == 200
    assert client.get("/get_user", headers=bearer("a.b.c")).status_code == 403
    assert client.get("/get_user", headers={"Authorization": "Basic eDp5"}).status_code == 200


def test_hooks_before_a_guard_see_the_caller(jam: Jam) -> None:
    app = Flask("earlier")
    seen: list[Any] = []
    app.url_value_preprocessor(lambda *_: seen.append(g.payload and g.payload["sub"]))
    app.before_request(lambda: seen.append(g.payload and g.payload["sub"]))
    JWTExtension(jam, app)
    app.add_url_rule("/", "view", jwt_required(lambda: "in"))
    sent = bearer(jam.issue_tokens("alice")["access_token"])
    assert app.test_client().get("/", headers=sent).text == "in"
    assert seen == ["alice", "alice"]


def test_error_handlers_of_404_and_405_see_the_caller(app: Flask, jam: Jam) -> None:
    for code in (404, 405):
        app.register_error_handler(code, lambda e: ({"sub": (g.payload or {}).get("sub")}, e.code))
    client, sent = app.test_client(), bearer(jam.issue_tokens("alice")["access_token"])
    assert client.get("/nowhere", headers=sent).json == {"sub": "alice"}
    assert client.delete("/jwt", headers=sent).json == {"sub": "alice"}
    assert client.get("/nowhere", headers=bearer("a.b.c")).json == {"sub": None}
    assert client.get("/nowhere").json == {"sub": None}


def test_an_error_before_the_hook_sees_none(app: Flask) -> None:
    @app.url_value_preprocessor
    def broken(*_args: object) -> None:
        abort(400)

    app.url_value_preprocessors[None].insert(0, app.url_value_preprocessors[None].pop())
    app.register_error_handler(400, lambda _e: ({"payload": g.payload}, 400))
    assert app.test_client().get("/open").json == {"payload": None}


def test_an_open_app_context_carries_nobody_over(app: Flask, jam: Jam) -> None:
    sent = bearer(jam.issue_tokens("alice")["access_token"])
    with app.app_context():
        client = app.test_client()
        assert client.get("/jwt", headers=sent).json["subject"] == "alice"
        answer = client.get("/open").json
        assert answer == {"payload": None, "scheme": None, "subject": None}
        assert client.get("/public", headers=sent).json["subject"] == "alice"
        assert client.get("/public").json["subject"] is None
        assert client.get("/optional").json["payload"] is None
        assert client.get("/jwt").status_code == 401


def test_an_error_handler_sees_whom_a_guard_refused_for_a_role(app: Flask, jam: Jam) -> None:
    app.register_error_handler(403, lambda _e: ({"sub": g.payload["sub"]}, 403))
    sent = bearer(jam.issue_tokens("alice")["access_token"])
    assert app.test_client().get("/admin", headers=sent).json == {"sub": "alice"}


def test_an_error_handler_sees_no_caller_of_a_bad_credential(app: Flask, jam: Jam) -> None:
    app.register_error_handler(401, lambda _e: ({"payload": g.payload}, 401))
    sent = bearer(jam.issue_tokens("alice")["access_token"][:-2])
    assert app.test_client().get("/admin", headers=sent).json == {"payload": None}


def test_what_a_view_changes_is_its_own(jam: Jam) -> None:
    app = Flask("changing")
    JWTExtension(jam, app)

    @app.get("/")
    @jwt_required
    def view() -> Any:
        g.payload["roles"].append("admin")
        g.payload["deep"]["x"].append(1)
        return g.payload

    sent = bearer(jam.issue_tokens("a", roles={"reader"}, deep={"x": []})["access_token"])
    client = app.test_client()
    answers = [client.get("/", headers=sent).json for _ in range(3)]
    assert all(a["roles"] == ["reader", "admin"] and a["deep"] == {"x": [1]} for a in answers)


def test_a_scheme_is_asked_once_per_request(app: Flask, jam: Jam) -> None:
    sent = bearer(jam.issue_tokens("alice")["access_token"])
    app.add_url_rule("/twice", "twice", jwt_required(jwt_required(lambda: "in")))
    assert app.test_client().get("/twice", headers=sent).text == "in"
    info = jam.verifier.cache_info()
    assert (info.hits, info.misses) == (0, 1)


class Counting:
    """Counts what a scheme is asked."""

    def __init__(self, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        for scheme in app.extensions["flask_jam"].schemes.values():
            monkeypatch.setattr(scheme, "authenticate", self._counted(scheme.authenticate))

    def _counted(self, find: Any) -> Any:
        def counted(*args: Any) -> Any:
            self.asked += 1
            return find(*args)

        return counted


@each_case("path", ["/public", "/nowhere", "/static/none.css"])
def test_a_request_that_asks_nothing_costs_nothing(
    app: Flask, jam: Jam, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.view_functions["public"] = public(lambda: "open")
    counting = Counting(app, monkeypatch)
    app.test_client().get(path, headers=bearer(jam.issue_tokens("alice")["access_token"]))
    assert counting.asked == 0


def test_a_refused_guard_asked_only_its_own_scheme(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting(app, monkeypatch)
    client = app.test_client()
    client.set_cookie("sessionId", "A" * 45)
    assert client.get("/jwt", headers=bearer("a.b.c")).status_code == 401
    assert counting.asked == 1


def test_current_auth_is_none_outside_of_everything(app: Flask) -> None:
    assert current_auth() is None
    with app.app_context():
        assert current_auth() is None
        assert g.payload is None
    with Flask("bare").test_request_context():
        assert current_auth() is None


def test_current_auth_says_who_and_how(app: Flask, jam: Jam) -> None:
    seen: list[Any] = []
    app.after_request(lambda response: (seen.append(current_auth()), response)[1])
    client = app.test_client()
    client.get("/jwt", headers=bearer(jam.issue_tokens("alice")["access_token"]))
    client.set_cookie("sessionId", jam.create_session("bob", {"user": "bob"}))
    client.get("/session")
    client.get("/jwt")
    said = [(a.scheme, a.source, a.subject) if a else None for a in seen]
    bob = ("session", "cookie", "bob")
    assert said == [("jwt", "header", "alice"), bob, bob]


def test_a_request_inside_a_request_of_another_app_keeps_them_apart(jam: Jam) -> None:
    inner, outer = build_app(jam), Flask("outer")
    JWTExtension(jam, outer)

    @outer.get("/")
    @jwt_required
    def view() -> Any:
        answer = inner.test_client().get("/open").json
        auth = current_auth()
        return {"inner": answer["payload"], "outer": auth.subject if auth else None}

    sent = bearer(jam.issue_tokens("alice")["access_token"])
    answer = outer.test_client().get("/", headers=sent).json
    assert answer == {"inner": None, "outer": "alice"}


def test_an_app_called_with_anothers_environ_has_its_own_memo(jam: Jam) -> None:
    inner, outer = build_app(jam), Flask("outer")
    JWTExtension(jam, outer)

    @outer.get("/open")
    @jwt_required
    def view() -> Any:
        with inner.test_request_context():
            pass
        from flask import request

        list(inner.wsgi_app(request.environ, lambda *_: lambda _b: None))
        return {"same": current_request_auth().state.app is outer}

    sent = bearer(jam.issue_tokens("alice")["access_token"])
    assert outer.test_client().get("/open", headers=sent).json == {"same": True}


def test_a_context_without_a_request_of_its_own_does_not_disturb_the_view(
    app: Flask, jam: Jam
) -> None:
    @app.get("/outer")
    @jwt_required
    def outer() -> Any:
        with current_app.test_request_context("/"):
            pass
        bob = bearer(jam.issue_tokens("bob")["access_token"])
        current_app.test_client().get("/jwt", headers=bob)
        return {"payload": g.payload["sub"]}

    sent = bearer(jam.issue_tokens("alice")["access_token"])
    assert app.test_client().get("/outer", headers=sent).json == {"payload": "alice"}


def test_public_means_public_with_any_credential(client: Any) -> None:
    assert client.get("/public", headers=bearer("a.b.c")).status_code == 200
    assert public.__doc__
