"""The list of routes: what it says of each, and which of them are open."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cachetools
import pytest
from flask import Blueprint, Flask
from flask.views import MethodView, View
from werkzeug.routing import BaseConverter, Rule

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
from flask_jam.audit import Route, early_code, open_routes, overridden_guards, routes
from flask_jam.testing import assert_all_protected

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


def test_public_method_of_a_class_has_a_line_of_its_own(app: Flask) -> None:
    class Half(MethodView):
        @public
        def get(self) -> str:
            return ""

        def post(self) -> str:
            return ""

    app.add_url_rule("/x", view_func=Half.as_view("x"))
    protect(app, jwt_required)
    assert [(r.methods, r.guard, r.origins) for r in routes(app)] == [
        (("GET",), "", ("public",)),
        (("POST",), "jwt_required", ("app",)),
    ]


def test_method_decorators_of_a_plain_class_are_no_guards(app: Flask) -> None:
    class Plain(MethodView):
        method_decorators = [jwt_required]  # noqa: RUF012 - Flask itself ignores it

        def get(self) -> str:
            return ""

    app.add_url_rule("/x", view_func=Plain.as_view("x"))
    assert app.test_client().get("/x").status_code == 200
    assert only(app).origins == ()


def test_guard_inside_a_partial_is_seen(app: Flask) -> None:
    app.add_url_rule("/x", "x", functools.partial(jwt_required(lambda number: ""), number=1))
    assert app.test_client().get("/x").status_code == 401
    assert (only(app).guard, only(app).origins) == ("jwt_required", ("own",))
    assert overridden_guards(app) == []


# --- decorators above a guard -------------------------------------------------------------------


def timed(view: Any) -> Any:
    @functools.wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return wrapper


def copied_by_hand(view: Any) -> Any:
    def wrapper() -> Any:
        return view()

    wrapper.__dict__.update(view.__dict__)
    return wrapper


class Memo:
    def __init__(self, view: Any) -> None:
        functools.update_wrapper(self, view)

    def __call__(self) -> str:
        return ""


@each_case(
    ("decorator", "said"),
    [
        (timed, ["timed", "test_audit.py:", "if it answers without calling the view"]),
        (copied_by_hand, ["copied_by_hand", "test_audit.py:", "if it answers without"]),
        (Memo, ["test_audit.Memo", "if it answers without calling the view"]),
        (functools.lru_cache, ["functools.lru_cache stands", "serves its answer to others"]),
        (cachetools.cached({}), ["cachetools.cached", "serves its answer to others"]),
    ],
)
def test_decorator_above_a_guard_is_named(
    app: Flask, decorator: Callable[[Any], Any], said: list[str]
) -> None:
    app.add_url_rule("/x", "x", decorator(jwt_required(view)))
    app.add_url_rule("/y", "y", decorator(jwt_required(view)))
    (sentence,) = overridden_guards(app)
    for each in [*said, "above the guard on ", "Put it below the guard."]:
        # Python 3.10 knows only the inner name of a function.
        own = each.rpartition(".")[2] in (decorator.__name__, "cached")
        assert each in sentence or (own and "wrapper (" in sentence)
    assert only_origins(app) == {("own",)}


def only_origins(app: Flask) -> set[tuple[str, ...]]:
    return {route.origins for route in routes(app)}


@each_case(
    "decorator",
    [timed, functools.lru_cache, Memo, session_required, lambda view: functools.partial(view)],
)
def test_decorator_below_or_without_a_guard_is_no_warning(
    app: Flask, decorator: Callable[[Any], Any]
) -> None:
    app.add_url_rule("/x", "x", jwt_required(decorator(view)))
    app.add_url_rule("/y", "y", decorator(lambda: ""))
    assert overridden_guards(app) == []


def test_assert_all_protected_warns_of_a_decorator_and_passes(app: Flask) -> None:
    app.testing = True
    app.add_url_rule("/x", "x", timed(jwt_required(view)))
    with pytest.warns(RuntimeWarning, match="above the guard on view: if it answers") as caught:
        assert_all_protected(app)
    assert [each.filename for each in caught] == [__file__]


def test_cache_of_a_public_view_is_no_warning(app: Flask) -> None:
    app.add_url_rule("/x", "x", functools.lru_cache(public(view)))
    assert overridden_guards(app) == []


@each_case("above", [jwt_required, session_required, functools.partial])
def test_guards_and_partials_above_a_guard_are_no_warning(app: Flask, above: Any) -> None:
    app.add_url_rule("/x", "x", above(jwt_required(view)))
    assert overridden_guards(app) == []


@each_case("package", ["flask_limiter", "flask_cors", "flask_wtf", "flask_smorest", "webargs.core"])
def test_package_that_calls_the_view_is_no_warning(app: Flask, package: str) -> None:
    names: dict[str, Any] = {"__name__": package, "functools": functools, "Any": Any}
    exec(inspect.getsource(timed), names)
    theirs = names["timed"]
    app.add_url_rule("/x", "x", theirs(jwt_required(view)))
    assert overridden_guards(app) == []


def test_guard_between_two_caches_is_named_once(app: Flask) -> None:
    app.add_url_rule("/x", "x", Memo(jwt_required(functools.lru_cache(view))))
    (sentence,) = overridden_guards(app)
    assert "Memo" in sentence


# --- code of a rule that runs before a guard ----------------------------------------------------


class Number(BaseConverter):
    pass


@pytest.fixture
def with_converter(app: Flask) -> Flask:
    app.url_map.converters["number"] = Number
    app.add_url_rule("/n/<number:n>", "n", lambda n: "")
    app.add_url_rule("/p/<number:n>", "p", public(lambda n: ""))
    app.add_url_rule("/i/<int(min=1):i>/<s>", "i", lambda i, s: "")
    app.url_map.add(Rule("/old", endpoint="i", redirect_to=lambda adapter: "/n/1"))
    app.url_map.add(Rule("/older", endpoint="i", redirect_to="/n/1"))
    return app


def test_code_before_the_guard_of_protect_is_named(with_converter: Flask) -> None:
    assert early_code(with_converter) == []
    protect(with_converter, jwt_required)
    one, two = early_code(with_converter)
    assert one.startswith("/n/<number:n>: its converter number runs before the guard of protect")
    assert two.startswith("/old: its redirect_to function runs before the guard of protect")


def test_default_converter_of_the_app_is_named(app: Flask) -> None:
    protect(app, jwt_required)
    app.add_url_rule("/<x>", "x", lambda x: "")
    assert early_code(app) == []
    app.url_map.converters["default"] = Number
    assert "its converter default" in early_code(app)[0]


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
        if name == "site":
            pytest.importorskip("flask_limiter", reason="needs Flask-Limiter")
        module: Any = importlib.import_module(f"examples.{name}")
        app: Flask = module.create_app({"JAM_JWT_SECRET_KEY": SECRET})
        return app

    yield make
    for name in [name for name in sys.modules if name.split(".")[0] == "examples"]:
        del sys.modules[name]


@pytest.mark.slow
@each_case("name", ["factory", "site", "spa"])
def test_the_examples_have_no_idle_guard_and_list_every_rule(
    example: Callable[[str], Flask], name: str
) -> None:
    app = example(name)
    assert app.test_client().get("/nowhere").status_code == 404
    assert {route.rule for route in routes(app)} == {rule.rule for rule in app.url_map.iter_rules()}
