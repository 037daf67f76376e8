"""What is found at the first request: a guard that protects nothing, a scheme that nobody checks.

Of a ``login_view`` at which nobody arrives see :mod:`tests.test_pages`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper, wraps
from typing import Any

import pytest
from flask import Blueprint, Flask, request
from flask.views import MethodView, View

from flask_jam import (
    ConfigError,
    Jam,
    JamExtension,
    JWTExtension,
    SessionExtension,
    current_auth,
    jwt_required,
    protect,
    public,
    session_required,
)

from ..cases import each_case
from ..conftest import bearer, new_app

MakeJam = Callable[..., Jam]


@pytest.fixture
def app(jam: Jam) -> Flask:
    return new_app(jam)


def who() -> str:
    auth = current_auth()
    return f"{auth.scheme}:{auth.subject}" if auth else "nobody"


def ann(jam: Jam) -> dict[str, str]:
    return bearer(jam.issue_tokens("ann")["access_token"])


def first_error(app: Flask, path: str = "/") -> str:
    app.testing = True
    with pytest.raises(ConfigError) as caught:
        app.test_client().get(path)
    return str(caught.value)


# --- schemes, and contradictions ------------------------------------------------------------


@each_case("extension", [SessionExtension, JamExtension])
def test_a_guard_without_its_extension_is_found_at_the_first_request(
    jam: Jam, extension: Any
) -> None:
    app = Flask("half")
    extension(jam, app)
    app.add_url_rule("/", "view", jwt_required(who))
    app.add_url_rule("/other", "other", who)
    for _ in range(2):
        assert "JWTExtension" in first_error(app, "/other")


def test_a_scheme_that_the_app_lacks_is_told_at_the_start(jam: Jam) -> None:
    app = Flask("lacking")
    JWTExtension(jam, app)
    protect(app, session_required)
    app.add_url_rule("/", "it", public(lambda: ""))
    app.add_url_rule("/x", "x", lambda: "")
    assert "SessionExtension" in first_error(app)


def test_P09_public_and_guarded_in_one_class_is_an_error(app: Flask) -> None:
    @public
    class Both(MethodView):
        def get(self) -> str:
            return ""

        @jwt_required
        def post(self) -> str:
            return ""

    app.add_url_rule("/both", view_func=Both.as_view("both"))
    said = first_error(app)
    assert "public" in said
    assert "POST" in said


@each_case("how", ["method", "head", "dispatch"])
def test_P09_public_method_of_a_guarded_class_is_an_error(app: Flask, how: str) -> None:
    class Views(MethodView):
        def get(self) -> str:
            return ""

    if how == "dispatch":
        view: Any = type("Views", (View,), {"dispatch_request": public(lambda self: "")})
    else:
        name = "get" if how == "method" else "head"
        view = type("Views", (Views,), {name: public(lambda self: "")})
    app.add_url_rule("/v", view_func=jwt_required(view).as_view("v"))
    said = first_error(app)
    assert "Views" in said
    assert "public" in said
    assert "remove one of the two" in said


def test_public_method_beside_a_guarded_one_is_no_error(app: Flask) -> None:
    class Half(MethodView):
        @public
        def get(self) -> str:
            return "open"

        @jwt_required
        def post(self) -> str:
            return ""

    app.add_url_rule("/", view_func=Half.as_view("half"))
    assert app.test_client().get("/").text == "open"
    assert app.test_client().post("/").status_code == 401


def test_guard_of_a_dispatch_without_its_extension_is_found(jam: Jam) -> None:
    class Own(View):
        @session_required
        def dispatch_request(self) -> str:
            return ""

    app = Flask("half")
    JWTExtension(jam, app)
    app.add_url_rule("/own", view_func=Own.as_view("own"))
    assert "SessionExtension" in first_error(app)


@each_case(("marked", "fine"), [(False, False), (True, True)])
def test_a_login_view_behind_a_protection_must_be_public(
    make_jam: MakeJam, marked: bool, fine: bool
) -> None:
    app = new_app(make_jam(login_view="login"))
    protect(app, session_required)
    app.add_url_rule("/login", "login", public(lambda: "") if marked else lambda: "")
    app.add_url_rule("/", "it", lambda: "")
    if fine:
        assert app.test_client().get("/", headers={"Accept": "text/html"}).status_code == 302
    else:
        assert "@public" in first_error(app)


# --- a guard above the route -----------------------------------------------------------------


def misplaced(app: Flask) -> None:
    @jwt_required
    @app.get("/")
    def exposed() -> str:
        return "in"


def misplaced_in_blueprint(app: Flask) -> None:
    blueprint = Blueprint("pages", __name__)

    @jwt_required(roles={"admin"})
    @blueprint.get("/")
    def exposed() -> str:
        return "in"

    app.register_blueprint(blueprint)


def misplaced_async(app: Flask) -> None:
    @jwt_required
    @app.get("/")
    async def exposed() -> str:
        return "in"


def misplaced_above_a_guard_below(app: Flask) -> None:
    @session_required
    @app.get("/")
    @jwt_required
    def exposed() -> str:
        return "in"


def misplaced_class(app: Flask) -> None:
    class Exposed(View):
        def dispatch_request(self) -> str:
            return who()

    app.add_url_rule("/", view_func=Exposed.as_view("exposed"))
    jwt_required(Exposed)


@each_case(
    "wrong",
    [misplaced, misplaced_in_blueprint, misplaced_async, misplaced_above_a_guard_below,
     misplaced_class],
)  # fmt: skip
def test_a_guard_above_the_route_is_an_error_that_names_the_view(app: Flask, wrong: Any) -> None:
    wrong(app)
    app.testing = True
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"(?i)exposed.* \(.*swap the two lines"):
            app.test_client().get("/")
    app.testing = False
    app.logger.disabled = True
    try:
        assert app.test_client().get("/").status_code == 500
    finally:
        app.logger.disabled = False  # loggers are global: a later test of such an app reads it


def test_view_may_be_open_on_one_app_and_guarded_on_another(app: Flask, jam: Jam) -> None:
    other = Flask("other")
    JWTExtension(jam, other)
    other.add_url_rule("/", "view", jwt_required(who))
    app.add_url_rule("/", "view", who)
    assert app.test_client().get("/").text == "nobody"
    assert other.test_client().get("/").status_code == 401


def test_one_function_behind_two_routes_is_no_mistake(app: Flask, jam: Jam) -> None:
    app.add_url_rule("/open", "open", who)
    app.add_url_rule("/closed", "closed", jwt_required(who))
    client = app.test_client()
    assert client.get("/open").text == "nobody"
    assert client.get("/closed").status_code == 401
    assert client.get("/closed", headers=ann(jam)).text == "jwt:ann"


def test_a_decorator_between_route_and_guard_is_no_mistake(app: Flask, jam: Jam) -> None:
    def other(view: Any) -> Any:
        @wraps(view)
        def wrapper(*args: Any) -> Any:
            return view(*args)

        return wrapper

    app.add_url_rule("/", "view", other(jwt_required(other(who))))
    client = app.test_client()
    assert client.get("/").status_code == 401
    assert client.get("/", headers=ann(jam)).text == "jwt:ann"


def basic_or_jwt(view: Any) -> Any:
    guarded = jwt_required(view)

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        basic = request.authorization is not None and request.authorization.type == "basic"
        return view(*args, **kwargs) if basic else guarded(*args, **kwargs)

    return wrapper


class BasicOrJWT:
    def __init__(self, view: Any) -> None:
        update_wrapper(self, view)
        self.view, self.guarded = view, jwt_required(view)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        basic = request.authorization is not None and request.authorization.type == "basic"
        return (self.view if basic else self.guarded)(*args, **kwargs)


class Unnamed(BasicOrJWT):
    """Without functools.update_wrapper, but with the name that Flask needs."""

    def __init__(self, view: Any) -> None:
        self.view, self.guarded, self.__name__ = view, jwt_required(view), view.__name__


def with_partial(view: Any) -> Any:
    return partial(basic_or_jwt(view))


def made_elsewhere() -> Any:
    def page() -> str:
        return who()

    return page


def test_function_behind_an_open_route_and_a_guarded_one_is_no_mistake(app: Flask) -> None:
    page = made_elsewhere()
    app.add_url_rule("/open", "open", page)
    app.add_url_rule("/closed", "closed", jwt_required(page))
    client = app.test_client()
    assert client.get("/open").text == "nobody"
    assert client.get("/closed").status_code == 401


@each_case("decorator", [basic_or_jwt, BasicOrJWT, Unnamed, with_partial])
@each_case("routes", ["stacked", "two calls", "one call"])
def test_decorator_that_calls_a_guard_inside_is_no_mistake(
    app: Flask, jam: Jam, decorator: Any, routes: str
) -> None:
    def page() -> str:
        return who()

    decorated = decorator(page)
    if routes == "stacked":  # as decorators do it: the lower route takes the same view
        app.add_url_rule("/b", "page", decorated)
        app.add_url_rule("/a", "page", decorated)
    else:
        app.add_url_rule("/a", "a", decorated)
        app.add_url_rule("/b", "b", decorated if routes == "one call" else decorator(page))
    client = app.test_client()
    for path in ("/a", "/b"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=ann(jam)).text == "jwt:ann"
        assert client.get(path, auth=("ann", "password")).text == "nobody"


def test_the_checks_of_the_start_come_first(app: Flask) -> None:
    protect(app, jwt_required)

    @jwt_required
    @app.route("/idle")
    def idle() -> str:
        return ""

    assert "swap the two lines" in first_error(app)


# --- a guard between two routes ----------------------------------------------------------------


def login_required(view: Any) -> Any:
    """A decorator of the app's own."""
    return jwt_required(view)


@each_case("guard", [jwt_required, login_required], ids=["guard", "alias"])
def test_a_guard_between_two_routes_is_an_error(app: Flask, guard: Any) -> None:
    @app.get("/v2", endpoint="v2")
    @guard
    @app.get("/v1", endpoint="v1")
    def between() -> str:
        return who()

    assert "swap the two lines" in first_error(app, "/v1")


def test_two_guards_around_a_route_are_an_error(app: Flask) -> None:
    @app.get("/v2", endpoint="v2")
    @session_required
    @app.get("/v1", endpoint="v1")
    @jwt_required
    def between() -> str:
        return who()

    assert "swap the two lines" in first_error(app, "/v1")


def test_a_plain_call_on_another_route_is_no_mistake(app: Flask, jam: Jam) -> None:
    def view() -> str:
        return who()

    class Pages:
        def page(self) -> str:
            return who()

    one, two, odd = Pages(), Pages(), lambda: who()
    app.add_url_rule("/open", "open", view)
    app.add_url_rule("/closed", "closed", jwt_required(view))
    app.add_url_rule("/alias", "alias", login_required(view))
    app.add_url_rule("/one", "one", one.page)
    app.add_url_rule("/two", "two", jwt_required(two.page))
    app.add_url_rule("/odd", "odd", odd), app.add_url_rule("/odd2", "odd2", jwt_required(odd))
    client = app.test_client()
    assert client.get("/open").text == "nobody"
    for path in ("/closed", "/alias", "/two", "/odd2"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=ann(jam)).text == "jwt:ann"
