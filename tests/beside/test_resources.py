"""Beside Flask-RESTful and Flask-RESTX: guards in ``method_decorators`` guard the method."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, g

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
from flask_jam.audit import open_routes, overridden_guards, routes
from flask_jam.openapi import security_for
from flask_jam.testing import assert_all_protected

from ..conftest import bearer, new_app


@pytest.fixture
def app(jam: Jam) -> Flask:
    return new_app(jam)


class Rest:
    """One of the two libraries, which share these names."""

    def __init__(self, name: str) -> None:
        pytest.importorskip(name, reason=f"needs {name}")
        self.library: Any = importlib.import_module(name)

    def things(self, *decorators: Any) -> Any:
        class Things(self.library.Resource):  # type: ignore[name-defined, misc]
            method_decorators = list(decorators)  # noqa: RUF012 - as the library documents it

            def get(self) -> str:
                auth = current_auth()
                return f"{auth.scheme}:{auth.subject}" if auth else "nobody"

            def post(self) -> str:
                return "posted"

        return Things

    def add(self, app: Flask, resource: Any) -> None:
        self.library.Api(app).add_resource(resource, "/things", endpoint="things")


@pytest.fixture(params=["flask_restful", "flask_restx"])
def rest(request: pytest.FixtureRequest) -> Rest:
    return Rest(request.param)


@pytest.fixture
def restful() -> Rest:
    return Rest("flask_restful")


def of_things(app: Flask) -> list[tuple[tuple[str, ...], str, tuple[str, ...]]]:
    return [(r.methods, r.guard, r.origins) for r in routes(app) if r.rule == "/things"]


def statuses(app: Flask, *methods: str) -> list[int]:
    return [app.test_client().open("/things", method=each).status_code for each in methods]


def test_guard_in_a_list_guards_each_method(rest: Rest, app: Flask, jam: Jam) -> None:
    rest.add(app, rest.things(jwt_required))
    assert of_things(app) == [(("GET", "POST"), "jwt_required", ("own",))]
    assert [each for each in open_routes(app) if each.rule == "/things"] == []
    assert security_for("things", app=app) == [{"jwt_header": []}]
    assert statuses(app, "GET", "HEAD", "POST") == [401, 401, 401]
    token = bearer(jam.issue_tokens("ann")["access_token"])
    assert app.test_client().get("/things", headers=token).json == "jwt:ann"


def test_outermost_guard_is_the_last_of_the_list(rest: Rest, app: Flask) -> None:
    admin = jwt_required(roles={"admin"})
    rest.add(app, rest.things(admin, session_required))
    assert of_things(app)[0][1] == "session_required & jwt_required(roles={'admin'})"
    answer = app.test_client().get("/things")
    assert answer.headers["WWW-Authenticate"].startswith("Cookie")


def test_missing_extension_is_found_at_the_first_request(rest: Rest, jam: Jam) -> None:
    app = Flask("half")
    JWTExtension(jam, app)
    app.testing = True
    app.add_url_rule("/other", "other", lambda: "")
    rest.add(app, rest.things(session_required))
    with pytest.raises(ConfigError, match="SessionExtension"):
        app.test_client().get("/other")


def test_guard_of_the_list_is_asked_who_comes(rest: Rest, app: Flask, jam: Jam) -> None:
    seen: list[Any] = []
    app.before_request(lambda: seen.append(g.payload and current_auth()))
    rest.add(app, rest.things(session_required))
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("ann", {"x": 1}))
    token = bearer(jam.issue_tokens("ann")["access_token"])
    assert client.get("/things", headers=token).json == "session:ann"
    assert seen[0].scheme == "session"


def test_list_that_nothing_applies_is_no_guard(rest: Rest, app: Flask) -> None:
    class Own(rest.things(jwt_required)):  # type: ignore[misc]
        def dispatch_request(self, *_: Any, **__: Any) -> Any:
            return app.make_response("own")

    rest.add(app, Own)
    assert statuses(app, "GET") == [200]
    assert {guard for _, guard, _ in of_things(app)} == {""}


def test_dispatch_that_asks_its_base_keeps_the_guard(rest: Rest, app: Flask) -> None:
    class Logged(rest.things(jwt_required)):  # type: ignore[misc]
        def dispatch_request(self, *args: Any, **kwargs: Any) -> Any:
            return super().dispatch_request(*args, **kwargs)

    rest.add(app, Logged)
    assert statuses(app, "GET") == [401]
    assert {guard for _, guard, _ in of_things(app)} == {"jwt_required"}


def test_public_opens_one_method(rest: Rest, app: Flask) -> None:
    class Half(rest.things()):  # type: ignore[misc]
        @public
        def get(self) -> str:
            return "open"

    protect(app, jwt_required)
    rest.add(app, Half)
    assert statuses(app, "GET", "HEAD", "POST") == [200, 200, 401]
    assert of_things(app) == [
        (("GET",), "", ("public",)),
        (("POST",), "jwt_required", ("app",)),
    ]


def test_public_in_the_list_opens_every_method(rest: Rest, app: Flask) -> None:
    protect(app, jwt_required)
    rest.add(app, rest.things(public))
    assert statuses(app, "GET", "HEAD", "POST") == [200, 200, 200]
    assert of_things(app) == [(("GET", "POST"), "", ("public",))]


def test_public_method_with_a_guard_in_the_list_is_an_error(rest: Rest, app: Flask) -> None:
    class Both(rest.things(jwt_required)):  # type: ignore[misc]
        @public
        def get(self) -> str:
            return "open"

    rest.add(app, Both)
    app.testing = True
    with pytest.raises(ConfigError, match="GET of .*Both is both public and guarded"):
        app.test_client().get("/nowhere")


def timed(view: Callable[..., Any]) -> Callable[..., Any]:
    return view


def test_decorator_above_the_guard_is_named_and_the_librarys_own_is_not(
    rest: Rest, app: Flask
) -> None:
    rest.add(app, rest.things(jwt_required, timed))
    (sentence,) = overridden_guards(app)
    assert "timed (" in sentence
    assert "if it answers without calling the view" in sentence
    other = Flask("other")
    rest.add(other, rest.things(timed, jwt_required))
    assert overridden_guards(other) == []


def test_assert_all_protected_knows_the_list(rest: Rest, app: Flask) -> None:
    app.testing = True
    app.add_url_rule("/things", view_func=rest.things(jwt_required).as_view("things"))
    assert_all_protected(app)


# --- a dict: other than Flask-RESTX, Flask-RESTful takes one ------------------------------------


def by_method(restful: Rest, **decorators: Any) -> Any:
    resource = restful.things()
    resource.method_decorators = decorators
    return resource


def test_dict_guards_its_methods_only(restful: Rest, app: Flask) -> None:
    restful.add(app, by_method(restful, post=[jwt_required]))
    assert of_things(app) == [(("GET",), "", ()), (("POST",), "jwt_required", ("own",))]
    assert statuses(app, "GET", "POST") == [200, 401]


def test_head_is_not_guarded_by_the_list_of_get_and_is_listed_so(restful: Rest, app: Flask) -> None:
    restful.add(app, by_method(restful, get=[jwt_required], post=[jwt_required]))
    assert statuses(app, "GET", "POST", "HEAD") == [401, 401, 200]
    assert of_things(app) == [(("GET", "POST"), "jwt_required", ("own",)), (("HEAD",), "", ())]
    assert security_for("things", "HEAD", app=app) is None
    assert security_for("things", "GET", app=app) == [{"jwt_header": []}]


def test_public_in_a_dict_opens_its_method(restful: Rest, app: Flask) -> None:
    protect(app, jwt_required)
    restful.add(app, by_method(restful, get=[public]))
    assert statuses(app, "GET", "HEAD", "POST") == [200, 200, 401]
    assert of_things(app) == [
        (("GET",), "", ("public",)),
        (("POST",), "jwt_required", ("app",)),
    ]


def test_missing_extension_in_a_dict_is_found_at_the_first_request(restful: Rest, jam: Jam) -> None:
    app = Flask("half")
    JWTExtension(jam, app)
    app.testing = True
    restful.add(app, by_method(restful, post=[session_required]))
    with pytest.raises(ConfigError, match="SessionExtension"):
        app.test_client().get("/things")


def test_public_list_of_get_does_not_open_a_head_of_its_own(restful: Rest, app: Flask) -> None:
    protect(app, jwt_required)
    resource = by_method(restful, get=[public])
    resource.head = lambda self: ""
    restful.add(app, resource)
    assert statuses(app, "GET", "HEAD") == [200, 401]
    assert (("HEAD", "POST"), "jwt_required", ("app",)) in of_things(app)
