"""Protection, its list of routes, and what helps tests: every way around them that we could think
of. What an app says of itself is held against what it does."""

from __future__ import annotations

import contextlib
import copy
import pickle
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial, wraps
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, g, request
from flask.views import MethodView, View
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.routing import Rule
from werkzeug.test import Client
from werkzeug.wrappers import Response as PlainResponse

from flask_jam import (
    ConfigError,
    Jam,
    JamExtension,
    JWTExtension,
    SessionExtension,
    jwt_required,
    protect,
    public,
    session_required,
)
from flask_jam.audit import Route, open_routes, routes
from flask_jam.policies import authorize, claim, policy, role, scope
from flask_jam.testing import JamClient, assert_all_protected, frozen_time

from ..cases import each_case
from ..conftest import bearer, new_app, status

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PURGE")


@pytest.fixture
def bare(jam: Jam) -> Flask:
    return new_app(jam)


@pytest.fixture
def ann(jam: Jam) -> dict[str, str]:
    return bearer(jam.issue_tokens("ann")["access_token"])


def secret(**_: Any) -> str:
    return "secret"


def said(app: Flask, endpoint: str) -> list[Route]:
    return [route for route in routes(app) if route.endpoint == endpoint]


# --- what protect must not miss ---------------------------------------------------------------


def test_what_inherits_from_a_public_class_is_closed(bare: Flask) -> None:
    # Each class says for itself that it is open: else a base class opens what nobody looked at.
    @public
    class Health(MethodView):
        def get(self) -> str:
            return "fine"

    class Report(Health):
        def get(self) -> str:
            return "secret"

    protect(bare, jwt_required)
    bare.add_url_rule("/health", view_func=Health.as_view("health"))
    bare.add_url_rule("/report", view_func=Report.as_view("report"))
    assert status(bare, "/health") == 200
    assert status(bare, "/report") == 401


def test_a_route_of_a_function_is_not_opened_by_a_public_one_of_it(bare: Flask) -> None:
    # jwt_required(view) guards one route of a view; public(view) marks the view itself.
    protect(bare, jwt_required)
    bare.add_url_rule("/closed", "closed", secret_of_two)
    bare.add_url_rule("/open", "open", public(secret_of_two))
    assert status(bare, "/closed") in (401, 500), "closed, or told at the start"


def secret_of_two() -> str:
    return "secret"


def test_a_view_in_the_place_of_flasks_static_files_is_closed(bare: Flask) -> None:
    bare.add_url_rule("/before", "before", secret)
    bare.view_functions["static"] = secret
    protect(bare, jwt_required)
    assert status(bare, "/static/report.pdf") == 401


def test_a_view_called_static_under_the_path_of_the_folder_is_closed(jam: Jam) -> None:
    app = new_app(jam, static_folder=None)
    app.static_folder = "private"
    app.add_url_rule("/private/<path:filename>", "static", secret)
    protect(app, jwt_required)
    assert status(app, "/private/report.pdf") == 401


@each_case("url", ["/", "", "/a/b", "/static", "/s-1", "/ä"])
@each_case("prefix", ["", "/p", "/p/"])
def test_the_files_of_a_blueprint_stay_open_wherever_they_are(
    jam: Jam, url: str, prefix: str
) -> None:
    app = new_app(jam, static_folder=None)
    inner = Blueprint("inner", __name__, static_folder="none", static_url_path=url)
    outer = Blueprint("outer", __name__, url_prefix=prefix or None)
    outer.register_blueprint(inner, url_prefix="/in")
    app.register_blueprint(outer)
    app.register_blueprint(inner, name="again", url_prefix="/again")
    protect(app, jwt_required)
    assert {route.origins for route in routes(app)} == {("static",)}
    assert len(routes(app)) == 2


@each_case("path", ["/one/in/x", "/two/in/x", "/alone/x"])
@each_case("where", ["outer", "inner"])
def test_nested_blueprints_under_every_name_are_closed(bare: Flask, path: str, where: str) -> None:
    outer, inner = Blueprint("outer", __name__), Blueprint("inner", __name__)
    inner.add_url_rule("/x", "x", secret)
    outer.register_blueprint(inner, url_prefix="/in")
    protect({"outer": outer, "inner": inner}[where], jwt_required)
    bare.register_blueprint(outer, url_prefix="/one")
    bare.register_blueprint(outer, url_prefix="/two", name="a.b")
    bare.register_blueprint(inner, url_prefix="/alone", name="alone")
    is_outside = where == "outer" and path.startswith("/alone")
    assert status(bare, path) == (200 if is_outside else 401)
    assert (path in {route.rule for route in open_routes(bare)}) == is_outside


def test_hosts_and_subdomains_are_closed(jam: Jam) -> None:
    by_host = new_app(jam, host_matching=True, static_host="files.test")
    by_host.add_url_rule("/", "it", secret, host="a.test")
    by_host.add_url_rule("/<x>", "any", secret, host="<host>")
    protect(by_host, jwt_required)
    assert status(by_host, "/", base_url="http://a.test") == 401
    assert status(by_host, "/x", base_url="http://other.test") == 401

    by_name = new_app(jam, subdomain_matching=True)
    by_name.config["SERVER_NAME"] = "shop.test"
    by_name.add_url_rule("/", "it", secret, subdomain="<tenant>")
    protect(by_name, jwt_required)
    assert status(by_name, "/", base_url="http://acme.shop.test") == 401


def test_a_websocket_is_closed_before_it_opens(bare: Flask) -> None:
    bare.add_url_rule("/ws", "ws", secret, websocket=True)
    protect(bare, jwt_required)
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    assert status(bare, "/ws", headers=upgrade) == 401
    assert [route.origins for route in said(bare, "ws")] == [("app",)]


@each_case("automatic", [True, False])
def test_the_setting_for_automatic_options_opens_no_view(bare: Flask, automatic: bool) -> None:
    is_known = "PROVIDE_AUTOMATIC_OPTIONS" in bare.config  # since Flask 3.1
    bare.config["PROVIDE_AUTOMATIC_OPTIONS"] = automatic
    protect(bare, jwt_required)
    bare.add_url_rule("/plain", "plain", secret)
    bare.add_url_rule("/own", "own", secret, methods=["OPTIONS"])
    bare.add_url_rule("/off", "off", secret, methods=["GET", "OPTIONS"],
                      provide_automatic_options=False)  # fmt: skip
    bare.add_url_rule("/on", "on", secret, methods=["GET", "OPTIONS"],
                      provide_automatic_options=True)  # fmt: skip
    found = [status(bare, path, "OPTIONS") for path in ("/plain", "/own", "/off", "/on")]
    assert found == [200 if automatic or not is_known else 405, 401, 401, 200]


def test_a_view_that_is_replaced_later_is_as_closed_as_the_new_one(
    bare: Flask, ann: dict[str, str]
) -> None:
    protect(bare, jwt_required)
    bare.add_url_rule("/", "it", public(lambda: "open"))
    assert status(bare, "/") == 200
    bare.view_functions["it"] = lambda: "secret"
    assert status(bare, "/") == 401
    assert status(bare, "/", headers=ann) == 200
    bare.view_functions["it"] = partial(secret)
    assert status(bare, "/") == 401
    bare.view_functions["it"] = public(lambda: "open")
    assert status(bare, "/") == 200


class Restful(MethodView):
    """As Flask-RESTful has it: decorators of methods, at every request."""

    init_every_request = False
    method_decorators: tuple[Any, ...] = ()

    def dispatch_request(self, **kwargs: Any) -> Any:
        method = getattr(self, request.method.lower(), None) or self.get
        for decorator in self.method_decorators:
            method = decorator(method)
        return method(**kwargs)

    def get(self) -> str:
        return "secret"

    post = get


def output(resource: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(resource)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return resource(*args, **kwargs)

    return wrapper


def test_extensions_with_dispatchers_of_their_own_are_closed(
    bare: Flask, ann: dict[str, str]
) -> None:
    class Guarded(Restful):
        method_decorators = (jwt_required,)

    protect(bare, jwt_required)
    bare.add_url_rule("/plain", view_func=output(Restful.as_view("plain")))
    bare.add_url_rule("/twice", view_func=output(Guarded.as_view("twice")))
    for path in ("/plain", "/twice"):
        for method in ("GET", "HEAD", "POST"):
            assert status(bare, path, method) == 401
            assert status(bare, path, method, headers=ann) == 200


@each_case("trap", ["TRAP_HTTP_EXCEPTIONS", "TRAP_BAD_REQUEST_ERRORS", "PROPAGATE_EXCEPTIONS"])
@each_case("header", [{}, {"Authorization": "Bearer a b"}])
def test_no_trap_of_flask_lets_anybody_in(bare: Flask, trap: str, header: dict[str, str]) -> None:
    ran: list[str] = []

    def view() -> str:
        ran.append("ran")
        return ""

    bare.config[trap] = True
    bare.add_url_rule("/", "it", view)
    protect(bare, jwt_required)
    with suppress(HTTPException):
        assert status(bare, "/", headers=header) >= 400
    assert ran == []


def test_no_hook_of_a_blueprint_runs_before_the_guards(bare: Flask) -> None:
    ran: list[str] = []

    def note(what: str) -> str:
        ran.append(what)
        return "early"

    blueprint = Blueprint("b", __name__)
    blueprint.url_value_preprocessor(lambda *_: ran.append("values"))
    blueprint.app_url_value_preprocessor(lambda *_: ran.append("app values"))
    blueprint.before_request(lambda: note("before"))
    blueprint.before_app_request(lambda: note("app before"))
    blueprint.add_url_rule("/", "it", secret)
    protect(blueprint, session_required)
    protect(bare, jwt_required)
    bare.register_blueprint(blueprint)
    assert status(bare, "/") == 401
    assert ran == []


def test_an_app_that_is_mounted_keeps_its_own_guard(jam: Jam, ann: dict[str, str]) -> None:
    outer, inner = new_app(jam), new_app(jam)
    for app in (outer, inner):
        app.add_url_rule("/", "it", secret)
    protect(inner, jwt_required)
    client = Client(DispatcherMiddleware(outer, {"/in": inner}))
    assert client.get("/in/").status_code == 401
    assert client.get("/in/", headers=ann).status_code == 200
    assert client.get("/").status_code == 200


def test_a_request_within_a_request_is_asked_by_itself(bare: Flask, ann: dict[str, str]) -> None:
    protect(bare, jwt_required)
    bare.add_url_rule("/closed", "closed", secret)
    bare.add_url_rule("/open", "open", public(lambda: str(status(bare, "/closed"))))
    bare.add_url_rule("/outer", "outer", lambda: str(status(bare, "/closed")))
    client = bare.test_client()
    assert client.get("/open").text == "401"
    assert client.get("/outer", headers=ann).text == "401"


def test_a_protection_that_comes_late_holds_from_then_on(bare: Flask) -> None:
    bare.add_url_rule("/", "it", secret)
    assert status(bare, "/") == 200
    with suppress(ConfigError):  # to refuse is as good
        protect(bare, jwt_required)
        assert status(bare, "/") == 401


def test_a_protection_that_comes_during_the_first_request_is_not_lost(bare: Flask) -> None:
    # The hook stands for another thread: it is asked while the check of the start, which has run,
    # is being taken out of the list of hooks.
    class Meanwhile:
        came = False

        def __call__(self, *_: Any) -> None: ...

        def __hash__(self) -> int:
            return 0

        def __eq__(self, other: object) -> bool:
            return self is other

        def __ne__(self, other: object) -> bool:
            if not Meanwhile.came:
                with contextlib.suppress(ConfigError):  # told, and so not lost
                    protect(bare, jwt_required)
                    Meanwhile.came = True
            return self is not other

    bare.add_url_rule("/", "it", secret)
    bare.url_value_preprocessor(Meanwhile())
    status(bare, "/")
    if Meanwhile.came:
        assert status(bare, "/") in (401, 500)


@each_case("again", [
    copy.copy, copy.deepcopy, lambda guard: pickle.loads(pickle.dumps(guard)),
])  # fmt: skip
@each_case("guard", [
    jwt_required, session_required, jwt_required(roles={"admin"}) | session_required(max_age=1),
])  # fmt: skip
def test_a_copy_of_a_guard_is_as_strict(bare: Flask, again: Any, guard: Any) -> None:
    bare.add_url_rule("/", "it", secret)
    protect(bare, again(guard))
    assert repr(again(guard)) == repr(guard)
    assert status(bare, "/") == 401


def test_what_a_guard_asks_for_cannot_change_behind_its_back(
    bare: Flask, ann: dict[str, str]
) -> None:
    bare.add_url_rule("/", "it", secret)
    guard = copy.copy(jwt_required)
    with suppress(AttributeError, ConfigError):  # to refuse is as good
        guard.rules = jwt_required(roles={"admin"}).rules
        protect(bare, guard)
        assert repr(guard) == "jwt_required(roles={'admin'})"
        assert status(bare, "/", headers=ann) == 403


def test_an_async_view_is_closed_before_it_starts(bare: Flask, ann: dict[str, str]) -> None:
    ran: list[str] = []

    async def view() -> str:
        ran.append("ran")
        return ""

    protect(bare, jwt_required)
    bare.add_url_rule("/", "it", view)
    assert status(bare, "/") == 401
    assert ran == []
    assert status(bare, "/", headers=ann) == 200


def test_a_method_of_an_object_can_be_public(bare: Flask) -> None:
    # It takes no attributes: either it is marked in another way, or a sentence says so.
    with suppress(ConfigError):
        bare.add_url_rule("/", "it", public(Desk().greet))
        protect(bare, jwt_required)
        assert status(bare, "/") == 200


class Desk:
    """A view that is a method of an object."""

    def greet(self) -> str:
        return "hello"


def test_a_scheme_that_only_a_method_asks_for_is_told_at_the_start(jam: Jam) -> None:
    class Thing(MethodView):
        def get(self) -> str:
            return ""

        @session_required
        def post(self) -> str:
            return ""

    app = Flask("lacking")
    JWTExtension(jam, app)
    app.add_url_rule("/", view_func=Thing.as_view("thing"))
    app.testing = True
    with pytest.raises(ConfigError, match="SessionExtension"):
        app.test_client().get("/")


# --- the list of routes tells what is so --------------------------------------------------------


class OwnHead(MethodView):
    @jwt_required
    def get(self) -> str:
        return "secret"

    def head(self) -> Response:
        return Response(headers={"X-Secret": "secret"})


def test_a_head_of_its_own_that_nobody_guards_is_listed(bare: Flask) -> None:
    bare.add_url_rule("/", view_func=OwnHead.as_view("it"))
    assert status(bare, "/", "HEAD") == 200
    assert [(route.methods, route.guard) for route in said(bare, "it")] == [
        (("GET",), "jwt_required"), (("HEAD",), ""),
    ]  # fmt: skip
    with pytest.raises(AssertionError, match="HEAD /"):
        assert_all_protected(bare)


class Thing(MethodView):
    def get(self) -> str:
        return "secret"


def test_a_class_on_a_rule_for_every_method_is_listed(bare: Flask) -> None:
    bare.view_functions["it"] = Thing.as_view("it")
    bare.url_map.add(Rule("/", endpoint="it"))
    assert status(bare, "/") == 200
    assert [route.rule for route in open_routes(bare)] == ["/"]
    with pytest.raises(AssertionError, match="open, and not marked"):
        assert_all_protected(bare)


def test_a_guard_on_a_method_that_nothing_calls_is_none(bare: Flask) -> None:
    class Helper(View):
        @jwt_required
        def get(self) -> str:
            return "never"

        def dispatch_request(self) -> str:
            return "secret"

    bare.add_url_rule("/", view_func=Helper.as_view("it"))
    assert status(bare, "/") == 200
    assert [route.guard for route in said(bare, "it")] == [""]


@each_case("base", [View, MethodView])
def test_a_guard_on_what_dispatches_is_one(bare: Flask, base: Any) -> None:
    class Guarded(base):  # type: ignore[misc]
        methods = ("GET",)

        @jwt_required
        def dispatch_request(self) -> str:
            return "secret"

    bare.add_url_rule("/", view_func=Guarded.as_view("it"))
    assert status(bare, "/") == 401
    assert [route.guard for route in said(bare, "it")] == ["jwt_required"]


def test_what_the_router_answers_is_not_listed_as_open(bare: Flask) -> None:
    bare.add_url_rule("/new", "new", public(lambda: ""))
    bare.add_url_rule("/old", "old", redirect_to="/new")
    bare.add_url_rule("/nothing", "nothing", secret, methods=[])
    assert status(bare, "/old") == 308
    assert status(bare, "/nothing") == 405
    assert open_routes(bare) == []


# Each makes a view; whether its guards can be seen from outside is in the name.


def _method_view(rng: random.Random, guards: list[Any], ran: list[str]) -> Any:
    def answer(self: Any) -> str:
        ran.append("ran")
        return ""

    def maybe(view: Any) -> Any:
        return rng.choice([*guards, lambda v: v])(view)

    names = rng.sample(["get", "head", "post", "put", "options", "purge"], rng.randint(1, 4))
    made = {name: maybe(lambda self, _answer=answer: _answer(self)) for name in names}
    return type("Made", (MethodView,), made)


def _view(rng: random.Random, guards: list[Any], ran: list[str]) -> Any:
    """A view of one of many kinds."""

    def plain(**_: Any) -> str:
        ran.append("ran")
        return ""

    guard = rng.choice(guards)
    as_class: Any = type("Plain", (View,), {"dispatch_request": lambda self, **_: plain()})
    name = f"v{rng.random()}".replace(".", "_")
    kinds: list[Callable[[], Any]] = [
        lambda: plain,
        lambda: public(plain),
        lambda: guard(plain),
        lambda: output(guard(plain)),
        lambda: guard(output(plain)),
        lambda: partial(plain),
        lambda: as_class.as_view(name),
        lambda: guard(as_class).as_view(name),
        lambda: public(as_class).as_view(name),
        lambda: derived(as_class, guard).as_view(name),
        lambda: _method_view(rng, guards, ran).as_view(name),
        lambda: guard(_method_view(rng, guards, ran)).as_view(name),
        lambda: output(_method_view(rng, guards, ran).as_view(name)),
    ]
    return rng.choice(kinds)()


def derived(cls: Any, guard: Any) -> Any:
    return type("Derived", (cls,), {"decorators": [guard]})


def random_app(jam: Jam, seed: int) -> tuple[Flask, list[str]]:
    """Views of every kind on an app, in blueprints and blueprints of these."""
    rng, ran = random.Random(seed), list[str]()
    app = new_app(jam, static_folder=None)
    outer, inner = Blueprint("outer", __name__), Blueprint("inner", __name__)
    guards = [jwt_required, session_required, jwt_required(roles={"admin"}),
              jwt_required | session_required]  # fmt: skip
    for where, odds in ((app, 0.2), (outer, 0.4), (inner, 0.4)):
        if rng.random() < odds:
            protect(where, rng.choice(guards))
    if rng.random() < 0.15:
        outer.before_request(rng.choice(guards).enforce)
    for number in range(7):
        view, options = _view(rng, guards, ran), dict[str, Any]()
        if rng.random() < 0.3 and not hasattr(view, "view_class"):
            options["methods"] = rng.sample(METHODS, rng.randint(1, 4))
        where = rng.choice((app, outer, inner))
        where.add_url_rule(f"/{number}", f"e{number}", view, **options)
    app.view_functions["hand"] = _view(rng, guards, ran)
    app.url_map.add(Rule("/hand", endpoint="hand"))
    outer.register_blueprint(inner, url_prefix="/inner")
    app.register_blueprint(outer, url_prefix="/outer")
    if rng.random() < 0.5:
        app.register_blueprint(outer, url_prefix="/again", name="again")
    return app, ran


def answered(app: Flask, ran: list[str], rule: str, method: str) -> bool:
    """Whether a view runs for somebody without a credential."""
    ran.clear()
    with suppress(AssertionError):  # of Flask, for a method that a class does not have
        status(app, rule, method)
    return bool(ran)


def listed(found: list[Route], rule: str, method: str) -> bool:
    """Whether the list says that it is open, on purpose or not."""

    def has(route: Route, name: str) -> bool:
        return route.rule == rule and (name in route.methods or not route.methods)

    names = [name for name in (method, "GET") if name == method or method == "HEAD"]
    for name in names:
        if any(has(route, name) for route in found):
            return any(has(route, name) and not route.guards for route in found)
    return False


@each_case("seed", range(60))
def test_what_is_listed_as_open_is_what_answers_a_stranger(jam: Jam, seed: int) -> None:
    app, ran = random_app(jam, seed)
    found = routes(app)
    wrong = []
    for rule in {rule.rule for rule in app.url_map.iter_rules()}:
        for method in METHODS:
            does, says = answered(app, ran, rule, method), listed(found, rule, method)
            if does and not says:
                wrong.append(f"{method} {rule} answers and is not listed as open")
            elif says and not does and _would_answer(app, rule, method):
                # The careful side of wrong; still, a list that cries wolf is read by nobody.
                wrong.append(f"{method} {rule} is listed as open and does not answer")
    assert wrong == []


def _would_answer(app: Flask, rule: str, method: str) -> bool:
    """Whether there is anything behind it: a class may not have the method of its rule."""
    (found,) = (each for each in app.url_map.iter_rules() if each.rule == rule)
    if found.methods is None:
        return False  # which methods a class has is not known for sure: it may be called open
    if method == "OPTIONS" and getattr(found, "provide_automatic_options", False):
        return False
    if method not in found.methods:
        return False
    cls = getattr(app.view_functions[found.endpoint], "view_class", None)
    names = {method.lower(), "get" if method == "HEAD" else method.lower()}
    return cls is None or not issubclass(cls, MethodView) or any(hasattr(cls, n) for n in names)


# --- what somebody was told stays private ---------------------------------------------------------


def is_private(answer: Any) -> bool:
    """Whether no shared cache hands it to somebody else."""
    return "no-store" in answer.headers.get("Cache-Control", "") and "Vary" in answer.headers


@each_case("wrap", [lambda view: view, public])
def test_a_list_of_ones_sessions_stays_private(jam: Jam, wrap: Any) -> None:
    app = Flask("sessions")
    session = SessionExtension(jam, app)
    app.add_url_rule("/list", "list", wrap(lambda: str(session.list())))
    app.add_url_rule("/handle", "handle", wrap(lambda: str(session.handle())))
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("ann", {}))
    for path in ("/list", "/handle"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert is_private(answer)


def test_a_page_for_who_was_refused_is_kept_for_nobody_else(
    bare: Flask, ann: dict[str, str]
) -> None:
    # Else a cache hands the page for strangers to who has logged in.
    def view() -> str:
        try:
            jwt_required.enforce()
        except HTTPException:
            return "for strangers"
        return "for members"

    bare.add_url_rule("/", "it", view)
    client = bare.test_client()
    assert "Authorization" in client.get("/", headers=ann).headers["Vary"]
    stranger = client.get("/")
    assert stranger.text == "for strangers"
    assert "Authorization" in stranger.headers.get("Vary", "")


@each_case("kind", [Response, PlainResponse])
def test_an_answer_that_is_one_object_for_all_grows_no_headers(
    bare: Flask, ann: dict[str, str], kind: Any
) -> None:
    constant = kind("always the same")
    bare.add_url_rule("/", "it", jwt_required(lambda: constant))
    client = bare.test_client()
    first = client.get("/", headers=ann).headers
    for _ in range(5):
        last = client.get("/", headers=ann).headers
    assert list(last) == list(first)
    assert last.getlist("Cache-Control") == ["no-store"]
    assert len(last.getlist("Vary")) == 1


def test_an_answer_that_is_one_object_for_all_keeps_nobodys_cookie(jam: Jam) -> None:
    app, constant = Flask("sessions"), Response("welcome")
    app.testing = True
    session = SessionExtension(jam, app)

    def login(name: str) -> Response:
        session.login(name)
        return constant

    app.add_url_rule("/login/<name>", "login", login)
    app.add_url_rule("/", "it", public(lambda: constant))
    cookies = [app.test_client().get(f"/login/{name}").headers.getlist("Set-Cookie")
               for name in ("ann", "bob")]  # fmt: skip
    assert [len(each) for each in cookies] == [1, 1], "bob is told the session of ann"
    assert "Set-Cookie" not in app.test_client().get("/").headers


def test_an_app_that_reads_no_credential_varies_with_none(jam: Jam) -> None:
    app = Flask("reachable")
    JamExtension(jam, app)
    app.add_url_rule("/", "it", lambda: str(g.payload))
    app.add_url_rule("/vary", "vary", lambda: (str(g.payload), {"Vary": "Accept"}))
    client = app.test_client()
    assert "Vary" not in client.get("/").headers
    assert client.get("/vary").headers["Vary"] == "Accept"


@each_case("view", [
    lambda: ("", 304), lambda: PlainResponse("x"), lambda: iter(["x"]),
    lambda: Response("x", headers={"Vary": "Accept"}),
    lambda: HTTPException(response=Response("x")),
], ids=["304", "werkzeug", "iterator", "vary", "exception"])  # fmt: skip
@each_case("method", ["GET", "HEAD"])
def test_every_kind_of_answer_stays_private(
    bare: Flask, ann: dict[str, str], view: Any, method: str
) -> None:
    bare.add_url_rule("/", "it", jwt_required(view))
    answer = bare.test_client().open("/", method=method, headers=ann)
    assert is_private(answer)
    assert ",".join(answer.headers.getlist("Vary")).count("Authorization") == 1


def test_all_that_an_answer_varies_with_is_kept(bare: Flask, ann: dict[str, str]) -> None:
    def view() -> Response:
        response = Response("x")
        response.headers.add("Vary", "Origin")
        response.headers.add("Vary", "Accept-Language")
        return response

    bare.add_url_rule("/", "it", jwt_required(view))
    found = ",".join(bare.test_client().get("/", headers=ann).headers.getlist("Vary"))
    for name in ("Origin", "Accept-Language", "Authorization", "Cookie"):
        assert name in found


def test_a_page_of_an_error_stays_private_where_a_hook_fails_as_well(
    bare: Flask, ann: dict[str, str]
) -> None:
    def broken(_: Any) -> Any:
        raise RuntimeError("a hook")

    bare.config["PROPAGATE_EXCEPTIONS"] = False
    bare.after_request(broken)
    bare.register_error_handler(500, lambda _: (f"sorry {g.payload['sub']}", 200))
    bare.add_url_rule("/", "it", jwt_required(secret))
    answer = bare.test_client().get("/", headers=ann)
    assert answer.text == "sorry ann"
    assert is_private(answer)


def test_an_app_with_a_process_response_of_its_own_stays_private(
    jam: Jam, ann: dict[str, str]
) -> None:
    class Own(Flask):
        def process_response(self, response: Response) -> Response:
            super().process_response(response)
            return Response("another", headers={"X-Own": "yes"})

    one, two = Own("one"), Own("two")
    for app in (one, two):
        JWTExtension(jam, app)
        app.add_url_rule("/", "it", jwt_required(secret))
        answer = app.test_client().get("/", headers=ann)
        assert answer.headers["X-Own"] == "yes"
        assert is_private(answer)


def test_a_payload_is_there_in_the_context_in_which_the_app_was_made(jam: Jam) -> None:
    app = Flask("made within its own context")
    with app.app_context():
        JWTExtension(jam, app)
        app.add_url_rule("/", "it", lambda: str(g.payload))
        assert app.test_client().get("/").text == "None"


# --- policies that cannot tell ------------------------------------------------------------------


@policy
def broken(payload: dict[str, Any]) -> bool:
    raise RuntimeError


@policy
def undecided(payload: dict[str, Any]) -> bool:
    return None  # type: ignore[return-value]


ODD_CLAIMS = [{"roles": "admin"}, {"roles": [1]}, {"scope": ["a"]}, {"scope": "a  b"}, {"t": 1}]


@each_case("payload", ODD_CLAIMS)
def test_what_cannot_be_told_lets_in_neither_way(payload: dict[str, Any]) -> None:
    for each in (broken, undecided, _about(payload)):
        for one in (each, ~each, ~~each, ~(each & role("x")) & each, ~(each | each)):
            assert not one.allows(payload)
            assert not one.allows(None)


def _about(payload: dict[str, Any]) -> Any:
    return {"roles": role("x"), "scope": scope("x"), "t": claim("t", True)}[next(iter(payload))]


@each_case("seed", range(20))
def test_an_expression_agrees_with_logic_of_three_values(seed: int) -> None:
    rng = random.Random(seed)
    atoms: list[tuple[Any, bool | None]] = [
        (broken, None), (undecided, None), (role("in"), True), (role("out"), False),
        (scope("in"), True), (scope("out"), False), (claim("t", True), None),
    ]  # fmt: skip
    payload = {"roles": ["in"], "scope": "in", "t": 1}
    for _ in range(30):
        made, value = rng.choice(atoms)
        for _ in range(rng.randint(0, 6)):
            made, value = _step(rng, atoms, made, value)
        assert made.allows(payload) is (value is True)


def _step(rng: random.Random, atoms: Any, made: Any, value: Any) -> tuple[Any, bool | None]:
    other, theirs = rng.choice(atoms)
    kind = rng.choice("~&|")
    if kind == "~":
        return ~made, None if value is None else not value
    both = (value, theirs)
    if kind == "&":
        return made & other, False if False in both else None if None in both else True
    return other | made, True if True in both else None if None in both else False


def asking() -> str:
    authorize(~role("x"))
    return "in"


def test_nobody_is_authorized_where_no_guard_asked(bare: Flask, ann: dict[str, str]) -> None:
    bare.add_url_rule("/open", "open", public(lambda: asking()))
    maybe = jwt_required(optional=True)
    bare.add_url_rule("/maybe", "maybe", maybe(asking))
    assert status(bare, "/open") == 401
    assert status(bare, "/maybe") == 401
    assert status(bare, "/open", headers=ann) == 200
    assert status(bare, "/maybe", headers=ann) == 200


# --- helpers for tests leave nothing behind -------------------------------------------------------


def test_time_goes_on_after_a_test_that_failed(jam: Jam) -> None:
    usual = jam.clock
    with pytest.raises(ZeroDivisionError), frozen_time(jam), frozen_time(jam, at=5.0):
        _ = 1 / 0
    holders = (jam, jam.verifier, jam.tokens, jam.families, jam.sessions)
    assert [each.clock for each in holders] == [usual] * 5


def test_frozen_time_of_a_jam_is_no_time_for_its_other_app(jam: Jam, ann: dict[str, str]) -> None:
    tested, serving = new_app(jam), new_app(jam)
    tested.testing = True
    for app in (tested, serving):
        app.add_url_rule("/", "it", jwt_required(secret))
    with frozen_time(tested):
        assert status(tested, "/", headers=ann) == 200
        assert status(serving, "/", headers=ann) == 500
    assert status(serving, "/", headers=ann) == 200


def test_clients_of_several_threads_are_each_who_they_are(bare: Flask) -> None:
    bare.testing = True
    bare.add_url_rule("/", "it", jwt_required(lambda: g.payload["sub"]))
    seen: dict[str, set[str]] = {}

    def ask(name: str) -> None:
        client = JamClient(bare)
        client.login(name)
        seen[name] = {client.get("/").text for _ in range(10)}

    threads = [threading.Thread(target=ask, args=(f"user{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {f"user{n}": {f"user{n}"} for n in range(6)}


@pytest.fixture(autouse=True)
def no_receiver_is_left() -> Iterator[None]:
    from flask_jam import signals

    before = len(signals.rejected.receivers)
    yield
    assert len(signals.rejected.receivers) <= before
