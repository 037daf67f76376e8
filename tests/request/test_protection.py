"""``protect``: every route of an app or a blueprint is guarded, and ``@public`` is the way out."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask, abort, g
from flask.views import MethodView, View
from werkzeug.routing import Rule

from flask_jam import (
    ConfigError,
    Jam,
    JWTExtension,
    current_auth,
    jwt_required,
    protect,
    public,
    session_required,
)

from ..cases import each_case
from ..conftest import bearer, new_app, status

MakeJam = Callable[..., Jam]


def said() -> str:
    return str(g.payload and g.payload.get("sub"))


@pytest.fixture
def app(jam: Jam) -> Flask:
    return new_app(jam)


@pytest.fixture
def ann(jam: Jam) -> dict[str, str]:
    return bearer(jam.issue_tokens("ann", roles={"reader"})["access_token"])


# --- what it covers -----------------------------------------------------------------------------


def test_every_route_of_an_app_is_guarded_those_before_and_those_after(
    app: Flask, ann: dict[str, str]
) -> None:
    app.add_url_rule("/before", "before", lambda: said())
    protect(app, jwt_required)
    app.add_url_rule("/after", "after", lambda: said())
    for path in ("/before", "/after"):
        assert status(app, path) == 401
        assert app.test_client().get(path, headers=ann).text == "ann"


@each_case("first", ["protect", "init_app"])
def test_it_does_not_matter_whether_the_extension_came_first(jam: Jam, first: str) -> None:
    app = Flask("order")
    app.add_url_rule("/", "it", lambda: "")
    if first == "protect":
        protect(app, jwt_required)
    JWTExtension(jam, app)
    if first == "init_app":
        protect(app, jwt_required)
    assert status(app, "/") == 401


def test_an_app_that_could_authenticate_nobody_lets_nobody_in() -> None:
    app = Flask("bare")
    protect(app, jwt_required)
    app.add_url_rule("/", "it", lambda: "")
    assert status(app, "/") == 500
    app.testing = True
    with pytest.raises(ConfigError, match="init_app"):
        status(app, "/")


@each_case("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "QUERY"])
def test_every_method_is_guarded(app: Flask, ann: dict[str, str], method: str) -> None:
    protect(app, jwt_required)
    app.add_url_rule("/", "it", lambda: said(), methods=["GET", "POST", "PUT", "PATCH", "DELETE",
                                                        "QUERY"])  # fmt: skip
    assert status(app, "/", method) == 401
    assert status(app, "/", method, headers=ann) == 200


def test_a_views_own_options_is_guarded_and_flasks_is_not(app: Flask) -> None:
    protect(app, jwt_required)
    app.add_url_rule("/own", "own", lambda: "", methods=["GET", "OPTIONS"])
    app.add_url_rule("/automatic", "automatic", lambda: "")
    assert status(app, "/own", "OPTIONS") == 401
    assert status(app, "/automatic", "OPTIONS") == 200
    assert status(app, "/automatic") == 401


class Things(MethodView):
    def get(self) -> str:
        return said()

    @session_required
    def post(self) -> str:
        return str(current_auth() and current_auth().scheme)  # type: ignore[union-attr]


def test_classes_and_methods_that_are_added_later_are_guarded(
    app: Flask, ann: dict[str, str]
) -> None:
    protect(app, jwt_required)
    app.add_url_rule("/things", view_func=Things.as_view("things"))
    Things.delete = lambda self: said()  # type: ignore[attr-defined]
    app.add_url_rule("/things", view_func=app.view_functions["things"], methods=["DELETE"])
    for method in ("GET", "POST", "DELETE"):
        assert status(app, "/things", method) == 401
    assert status(app, "/things", "GET", headers=ann) == 200
    assert status(app, "/things", "DELETE", headers=ann) == 200
    assert status(app, "/things", "POST", headers=ann) == 401, "its own guard asks for a session"


def test_rules_that_bypass_the_decorators_are_guarded(app: Flask) -> None:
    protect(app, jwt_required)
    app.view_functions["odd"] = lambda: ""
    app.url_map.add(Rule("/odd", endpoint="odd"))
    assert status(app, "/odd") == status(app, "/odd", "POST") == 401


def nested(app: Flask, *guards: tuple[str, Any]) -> Flask:
    """Routes on an app, a blueprint of it, and a blueprint of that."""
    outer, inner = Blueprint("outer", __name__), Blueprint("inner", __name__)
    for where, guard in guards:
        protect({"app": app, "outer": outer, "inner": inner}[where], guard)  # type: ignore[arg-type]
    app.add_url_rule("/app", "app", lambda: said())
    outer.add_url_rule("/outer", "outer", lambda: said())
    inner.add_url_rule("/inner", "inner", lambda: said())
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    return app


@each_case(
    ("where", "guarded"),
    [("app", {"/app", "/outer", "/inner"}), ("outer", {"/outer", "/inner"}), ("inner", {"/inner"})],
)
def test_a_blueprint_is_guarded_with_all_that_is_in_it(
    app: Flask, where: str, guarded: set[str]
) -> None:
    nested(app, (where, jwt_required))
    found = {path for path in ("/app", "/outer", "/inner") if status(app, path) == 401}
    assert found == guarded


def test_guards_add_up(app: Flask, jam: Jam) -> None:
    staff, admin = jwt_required(roles={"staff", "admin"}), jwt_required(roles={"admin"})
    nested(app, ("app", jwt_required), ("outer", staff), ("inner", admin))
    seen = {}
    for role in ("nobody", "staff", "admin"):
        headers = bearer(jam.issue_tokens("x", roles={role})["access_token"])
        seen[role] = [status(app, path, headers=headers) for path in ("/app", "/outer", "/inner")]
    assert seen == {
        "nobody": [200, 403, 403], "staff": [200, 200, 403], "admin": [200, 200, 200],
    }  # fmt: skip


def test_a_views_own_guard_comes_on_top(app: Flask, jam: Jam, ann: dict[str, str]) -> None:
    protect(app, jwt_required | session_required)
    app.add_url_rule("/", "it", jwt_required(roles={"admin"})(lambda: said()))
    assert status(app, "/") == 401
    assert status(app, "/", headers=ann) == 403
    admin = bearer(jam.issue_tokens("bob", roles={"admin"})["access_token"])
    assert status(app, "/", headers=admin) == 200


def test_twice_asks_for_both_in_that_order(app: Flask, ann: dict[str, str]) -> None:
    protect(app, jwt_required)
    protect(app, session_required)
    app.add_url_rule("/", "it", lambda: "")
    answer = app.test_client().get("/")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="api"'
    assert app.test_client().get("/", headers=ann).headers["WWW-Authenticate"].startswith("Cookie")


def test_a_blueprint_that_is_registered_twice_is_guarded_twice(app: Flask) -> None:
    blueprint = Blueprint("b", __name__)
    protect(blueprint, jwt_required)
    blueprint.add_url_rule("/", "it", lambda: "")
    app.register_blueprint(blueprint, url_prefix="/one")
    app.register_blueprint(blueprint, url_prefix="/two", name="again")
    assert status(app, "/one/") == status(app, "/two/") == 401


@each_case(
    "path", ["/Admin", "/admin/", "//admin", "/%61dmin", "/./admin", "/x/../admin", "/admin;x",
             "/admin%2f", "/admin?x", "/ADMIN/login"],
)  # fmt: skip
def test_P07_no_spelling_of_a_path_gets_around_it(app: Flask, path: str) -> None:
    protect(app, jwt_required)
    app.add_url_rule("/admin", "admin", lambda: "secret")
    app.add_url_rule("/<path:rest>", "rest", lambda rest: "secret")
    answer = app.test_client().get(path)
    assert "secret" not in answer.text
    assert answer.status_code in (401, 404, 308)


# --- what it leaves open --------------------------------------------------------------------------


def test_public_opens_a_view_and_asks_the_store_nothing(
    app: Flask, jam: Jam, monkeypatch: pytest.MonkeyPatch
) -> None:
    protect(app, session_required)
    app.add_url_rule("/", "it", public(lambda: "None"))

    @public
    class Open(View):
        def dispatch_request(self) -> str:
            return "open"

    app.add_url_rule("/open", view_func=Open.as_view("open"))
    monkeypatch.setattr(jam.store, "read_session", None)
    client = app.test_client()
    client.set_cookie("sessionId", "A" * 45)
    assert (client.get("/").text, client.get("/open").text) == ("None", "open")


def test_public_that_got_lost_under_a_decorator_is_closed(app: Flask) -> None:
    protect(app, jwt_required)

    def careless(view: Any) -> Any:
        return lambda: view()

    def careful(view: Any) -> Any:
        return wraps(view)(lambda: view())

    app.add_url_rule("/lost", "lost", careless(public(lambda: "")))
    app.add_url_rule("/kept", "kept", careful(public(lambda: "")))
    assert (status(app, "/lost"), status(app, "/kept")) == (401, 200)


class Articles(MethodView):
    @public
    def get(self) -> str:
        return "all"

    def post(self) -> str:
        return "made"

    def options(self) -> str:
        return "own"


def test_public_opens_one_method_of_a_class(app: Flask, ann: dict[str, str]) -> None:
    protect(app, jwt_required)
    app.add_url_rule("/", view_func=Articles.as_view("articles"))
    for method, expected in (("GET", 200), ("HEAD", 200), ("POST", 401), ("OPTIONS", 401)):
        assert status(app, "/", method) == expected
        assert app.test_client().open("/", method=method, headers=ann).status_code == 200


def test_public_method_that_is_overridden_is_closed(app: Flask) -> None:
    class Drafts(Articles):
        def get(self) -> str:
            return "drafts"

    class WithHead(Articles):
        def head(self) -> str:
            return ""

    protect(app, jwt_required)
    app.add_url_rule("/drafts", view_func=Drafts.as_view("drafts"))
    app.add_url_rule("/head", view_func=WithHead.as_view("with_head"))
    assert (status(app, "/drafts"), status(app, "/drafts", "HEAD")) == (401, 401)
    assert (status(app, "/head"), status(app, "/head", "HEAD")) == (200, 401)


def test_public_dispatch_opens_its_class(app: Flask) -> None:
    class Open(View):
        @public
        def dispatch_request(self) -> str:
            return "open"

    class OfMethods(MethodView):
        @public
        def dispatch_request(self) -> str:  # type: ignore[override]
            return "closed"

        def get(self) -> str:
            return ""

    protect(app, jwt_required)
    app.add_url_rule("/", view_func=Open.as_view("open"))
    app.add_url_rule("/methods", view_func=OfMethods.as_view("methods"))
    assert (status(app, "/"), status(app, "/methods")) == (200, 401)


def test_public_login_method_is_a_login_view(make_jam: MakeJam) -> None:
    class Login(MethodView):
        @public
        def get(self) -> str:
            return "login"

    app = new_app(make_jam(login_view="login"))
    protect(app, session_required)
    app.add_url_rule("/login", view_func=Login.as_view("login"))
    app.add_url_rule("/", "it", lambda: "")
    answer = app.test_client().get("/", headers={"Accept": "text/html"}, follow_redirects=True)
    assert answer.text == "login"


@pytest.fixture
def with_files(jam: Jam, tmp_path: Path) -> Flask:
    (tmp_path / "style.css").write_text("css")
    app = new_app(jam, static_folder=str(tmp_path), static_url_path="/files")
    blueprint = Blueprint("b", __name__, static_folder=str(tmp_path), static_url_path="/more",
                          url_prefix="/b")  # fmt: skip
    protect(app, jwt_required)
    protect(blueprint, jwt_required)
    app.register_blueprint(blueprint)
    return app


@each_case("path", ["/files/style.css", "/b/more/style.css"])
def test_P05_static_files_are_open(with_files: Flask, path: str) -> None:
    answer = with_files.test_client().get(path)
    assert (answer.status_code, answer.text) == (200, "css")
    answer.close()


def test_a_view_that_is_only_called_static_is_guarded(jam: Jam) -> None:
    app = new_app(jam, static_folder=None)
    blueprint = Blueprint("b", __name__)
    protect(app, jwt_required)
    app.add_url_rule("/files/<path:filename>", "static", lambda filename: "secret")
    blueprint.add_url_rule("/b/<path:filename>", "static", lambda filename: "secret")
    app.register_blueprint(blueprint)
    assert status(app, "/files/x") == status(app, "/b/x") == 401


def test_P06_what_the_router_answers_passes(app: Flask) -> None:
    protect(app, jwt_required)
    app.add_url_rule("/folder/", "folder", lambda: "")
    assert status(app, "/nowhere") == 404
    assert status(app, "/folder/", "DELETE") == 405
    assert status(app, "/folder") == 308


def test_P08_nobody_elses_hook_answers_first(app: Flask) -> None:
    called = []
    app.before_request(lambda: called.append("before") or "early")  # type: ignore[func-returns-value]
    app.url_value_preprocessor(lambda *_: called.append("values"))
    protect(app, jwt_required)
    app.add_url_rule("/", "it", lambda: "")
    assert status(app, "/") == 401
    assert called == []


def test_a_payload_is_there_for_every_hook(app: Flask, ann: dict[str, str]) -> None:
    seen = []
    app.before_request(lambda: seen.append(g.payload["sub"]))
    protect(app, jwt_required)
    app.add_url_rule("/", "it", lambda: "")
    assert status(app, "/", headers=ann) == 200
    assert seen == ["ann"]


def test_an_error_page_of_the_app_is_no_route(app: Flask) -> None:
    protect(app, jwt_required)
    app.register_error_handler(404, lambda _: ("ours", 404))
    app.add_url_rule("/", "it", public(lambda: abort(404)))
    assert app.test_client().get("/").text == "ours"
    assert app.test_client().get("/nowhere").text == "ours"


# --- wrong calls ----------------------------------------------------------------------------------


@each_case("guard", [None, "jwt", lambda: None, jwt_required.enforce, Flask("x")])
def test_only_a_guard_guards(app: Flask, guard: Any) -> None:
    with pytest.raises(ConfigError, match="second argument"):
        protect(app, guard)


@each_case("where", [None, "app", jwt_required, Flask])
def test_only_an_app_or_a_blueprint_is_protected(where: Any) -> None:
    with pytest.raises(ConfigError, match="first argument"):
        protect(where, jwt_required)


def test_a_blueprint_that_is_registered_already_is_told(app: Flask) -> None:
    blueprint = Blueprint("late", __name__)
    app.register_blueprint(blueprint)
    with pytest.raises(ConfigError, match="late is registered already"):
        protect(blueprint, jwt_required)


def test_two_apps_share_nothing(jam: Jam) -> None:
    one, two = new_app(jam), new_app(jam)
    protect(one, jwt_required)
    for app in (one, two):
        app.add_url_rule("/", "it", lambda: "")
    assert (status(one, "/"), status(two, "/")) == (401, 200)
