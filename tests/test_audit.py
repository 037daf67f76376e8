"""The list of routes: what it says of each, and which of them are open."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView, View
from werkzeug.routing import Rule

from flask_jam import (
    Guard,
    Jam,
    JWTExtension,
    SessionExtension,
    jwt_required,
    protect,
    public,
    session_required,
)
from flask_jam.audit import Route, open_routes, routes

from .cases import each_case
from .conftest import SECRET

ROOT = Path(__file__).parent.parent


@pytest.fixture
def app(jam: Jam) -> Flask:
    app = Flask("audited", static_folder=None)
    JWTExtension(jam, app)
    SessionExtension(jam, app)
    return app


def only(app: Flask) -> Route:
    (route,) = routes(app)
    return route


def view() -> str:
    return ""


# --- the guard, and where it comes from -------------------------------------------------------


def test_a_route_that_nobody_guards_is_open(app: Flask) -> None:
    app.add_url_rule("/x", "x", view)
    route = only(app)
    assert (route.rule, route.methods, route.endpoint) == ("/x", ("GET",), "x")
    assert (route.guard, route.origins, route.guards) == ("", (), ())
    assert open_routes(app) == [route]


def test_public_is_open_on_purpose(app: Flask) -> None:
    app.add_url_rule("/x", "x", public(lambda: ""))
    assert (only(app).guard, only(app).origins) == ("", ("public",))
    assert open_routes(app) == []


@each_case(
    ("guard", "said"),
    [
        (jwt_required, "jwt_required"),
        (jwt_required(scopes={"b", "a"}, max_age=300),
         "jwt_required(scopes={'a', 'b'}, max_age=300)"),
        (jwt_required(optional=True), "jwt_required(optional=True)"),
        (jwt_required | session_required(roles={"admin"}),
         "jwt_required | session_required(roles={'admin'})"),
    ],
)  # fmt: skip
def test_a_guard_is_told_as_it_was_written(app: Flask, guard: Guard, said: str) -> None:
    app.add_url_rule("/x", "x", guard(view))
    assert (only(app).guard, only(app).origins, only(app).guards) == (said, ("own",), (guard,))


def test_guards_that_stand_on_each_other_are_all_told(app: Flask) -> None:
    app.add_url_rule("/x", "x", jwt_required((session_required | jwt_required)(view)))
    assert only(app).guard == "jwt_required & (session_required | jwt_required)"


def test_what_an_app_and_its_blueprints_ask_comes_first(app: Flask) -> None:
    outer, inner = Blueprint("outer", __name__), Blueprint("inner", __name__)
    protect(app, jwt_required | session_required)
    protect(inner, jwt_required(roles={"admin"}))
    inner.add_url_rule("/x", "x", jwt_required(max_age=60)(view))
    inner.add_url_rule("/y", "y", public(lambda: ""))
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    x, y = routes(app)
    assert x.guard == (
        "(jwt_required | session_required) & jwt_required(roles={'admin'}) & "
        "jwt_required(max_age=60)"
    )
    assert x.origins == ("app", "blueprint", "own")
    assert (y.guard, y.origins) == ("", ("public",))


def test_a_guard_of_a_before_request_hook_is_seen_and_holds_for_public_too(app: Flask) -> None:
    blueprint = Blueprint("b", __name__)
    blueprint.before_request(jwt_required.enforce)
    blueprint.add_url_rule("/x", "x", public(lambda: ""))
    app.before_request(lambda: None)
    app.register_blueprint(blueprint)
    assert (only(app).guard, only(app).origins) == ("jwt_required", ("blueprint",))
    app.before_request(session_required.enforce)
    assert only(app).origins == ("app", "blueprint")


def test_static_files_are_listed_and_are_not_open(jam: Jam) -> None:
    app = Flask("files")
    JWTExtension(jam, app)
    protect(app, jwt_required)
    blueprint = Blueprint("b", __name__, static_folder="x", url_prefix="/b")
    app.register_blueprint(blueprint)
    assert [(r.rule, r.origins, r.source) for r in routes(app)] == [
        ("/b/x/<path:filename>", ("static",), ""), ("/static/<path:filename>", ("static",), ""),
    ]  # fmt: skip
    assert open_routes(app) == []


# --- rules, methods, classes ------------------------------------------------------------------


def test_methods_are_those_that_reach_the_view(app: Flask) -> None:
    app.add_url_rule("/a", "a", view)
    app.add_url_rule("/b", "b", view, methods=["POST", "GET"])
    app.add_url_rule("/c", "c", view, methods=["GET", "OPTIONS"])
    app.add_url_rule("/d", "d", view, methods=["HEAD"])
    app.view_functions["e"] = view
    app.url_map.add(Rule("/e", endpoint="e"))
    assert [route.methods for route in routes(app)] == [
        ("GET",), ("GET", "POST"), ("GET", "OPTIONS"), ("HEAD",), (),
    ]  # fmt: skip


class Things(MethodView):
    def get(self) -> str:
        return ""

    @jwt_required
    def post(self) -> str:
        return ""

    @jwt_required
    def put(self) -> str:
        return ""


def test_a_class_that_guards_some_methods_is_told_apart(app: Flask) -> None:
    app.add_url_rule("/x", view_func=Things.as_view("x"))
    found = routes(app)
    assert [(r.methods, r.guard) for r in found] == [
        (("GET",), ""),
        (("POST", "PUT"), "jwt_required"),
    ]
    assert [r.methods for r in open_routes(app)] == [("GET",)]
    lines = [int(r.source.rpartition(":")[2]) for r in found]
    first = inspect.getsourcelines(Things)[1]
    assert lines == [first + 1, first + 4]


def test_a_guarded_class_is_guarded_as_a_whole(app: Flask) -> None:
    @jwt_required
    class Whole(View):
        def dispatch_request(self) -> str:
            return ""

    class ByList(MethodView):
        decorators = [session_required]  # noqa: RUF012 - as Flask documents it

        def get(self) -> str:
            return ""

    app.add_url_rule("/a", view_func=Whole.as_view("a"))
    app.add_url_rule("/b", view_func=ByList.as_view("b"))
    assert [route.guard for route in routes(app)] == ["jwt_required", "session_required"]


def test_the_order_is_that_of_the_rules_whatever_came_first(app: Flask) -> None:
    for rule in ("/b", "/a/<x>", "/", "/a"):
        app.add_url_rule(rule, rule.replace("/", "_"), lambda **_: "")
    app.add_url_rule("/a", "second", view, methods=["POST"])
    assert [(r.rule, r.methods) for r in routes(app)] == [
        ("/", ("GET",)), ("/a", ("GET",)), ("/a", ("POST",)), ("/a/<x>", ("GET",)),
        ("/b", ("GET",)),
    ]  # fmt: skip


def test_a_source_is_told_from_here(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    app.add_url_rule("/x", "x", jwt_required(view))
    line = inspect.getsourcelines(view)[1]
    monkeypatch.chdir(ROOT)
    assert only(app).source == f"tests/test_audit.py:{line}"
    monkeypatch.chdir("/")
    assert only(app).source.endswith(f"test_audit.py:{line}")


def test_what_has_no_source_is_listed_all_the_same(app: Flask) -> None:
    class Called:
        __name__ = "called"

        def __call__(self) -> str:
            return ""

    app.add_url_rule("/a", "a", Called())
    app.url_map.add(Rule("/b", endpoint="nobody"))
    app.url_map.add(Rule("/c", endpoint="c", build_only=True))
    assert [(route.rule, route.origins) for route in routes(app)] == [("/a", ()), ("/b", ())]


# --- the list tells the truth -----------------------------------------------------------------


def test_what_is_listed_as_open_is_open_and_nothing_else_is(app: Flask) -> None:
    blueprint = Blueprint("b", __name__)
    protect(blueprint, session_required)
    blueprint.add_url_rule("/b", "b", view)
    app.add_url_rule("/c", view_func=Things.as_view("c"))
    app.add_url_rule("/d", "d", jwt_required(view))
    app.add_url_rule("/e", "e", public(lambda: ""))
    app.add_url_rule("/f", "f", view)
    app.register_blueprint(blueprint)
    client = app.test_client()
    for route in routes(app):
        for method in route.methods:
            is_open = client.open(route.rule, method=method).status_code == 200
            assert is_open == (not route.guard), route


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Flask]]:
    monkeypatch.syspath_prepend(str(ROOT))

    def make(name: str) -> Flask:
        module: Any = importlib.import_module(f"examples.{name}")
        app: Flask = module.create_app({"JAM_JWT_SECRET_KEY": SECRET})
        return app

    yield make
    for name in [name for name in sys.modules if name.split(".")[0] == "examples"]:
        del sys.modules[name]


@each_case("name", ["factory", "site", "spa"])
def test_the_examples_have_no_idle_guard_and_list_every_rule(
    example: Callable[[str], Flask], name: str
) -> None:
    app = example(name)
    assert app.test_client().get("/nowhere").status_code == 404
    assert {route.rule for route in routes(app)} == {rule.rule for rule in app.url_map.iter_rules()}
