"""OpenAPI: what is said of a route is what its guards do."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView, View

from flask_jam import (
    ConfigError,
    Guard,
    Jam,
    JWTExtension,
    SessionExtension,
    jwt_required,
    protect,
    public,
    session_required,
)
from flask_jam.issuers import auth0, entra
from flask_jam.openapi import security_for, security_schemes

from .cases import each_case
from .conftest import SECRET, bearer
from .foreign import A

TENANT = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def app(jam: Jam) -> Flask:
    """Tokens in a header, sessions in a cookie: one place each."""
    return new_app(jam)


def new_app(jam: Jam, jwt: Any = None, session: Any = None) -> Flask:
    app = Flask("described")
    JWTExtension(jam, app, **(jwt or {}))
    SessionExtension(jam, app, **(session or {}))
    return app


def view() -> str:
    return "in"


def said_of(app: Flask, guarded: Any, **options: Any) -> Any:
    """What is said of a view once it has a route."""
    app.add_url_rule("/", "view", guarded, **options)
    with app.app_context():
        return security_for(guarded)


TOKEN, SESSION = {"jwt_header": []}, {"session_cookie": []}


# --- where the app looks -----------------------------------------------------------------


@each_case(
    ("jwt", "session", "expected"),
    [
        (
            {}, {},
            {
                "jwt_header": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "session_cookie": {
                    "type": "apiKey", "in": "cookie", "name": "sessionId",
                    "description": "session id",
                },
            },
        ),
        (
            {"cookie_name": "token"}, {"header_name": "authorization", "cookie_name": None},
            {
                "jwt_header": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "jwt_cookie": {
                    "type": "apiKey", "in": "cookie", "name": "token", "description": "JWT",
                },
                "session_header": {
                    "type": "http", "scheme": "bearer", "bearerFormat": "session id",
                },
            },
        ),
        (
            {"header_name": "X-Token"}, {},
            {
                "jwt_header": {
                    "type": "apiKey", "in": "header", "name": "X-Token", "description": "JWT",
                },
                "session_cookie": {
                    "type": "apiKey", "in": "cookie", "name": "sessionId",
                    "description": "session id",
                },
            },
        ),
        (
            {"header_type": "Token"}, {"header_name": "X-Session", "cookie_name": None},
            {
                "jwt_header": {
                    "type": "apiKey", "in": "header", "name": "Authorization",
                    "description": "Token <JWT>",
                },
                "session_header": {
                    "type": "apiKey", "in": "header", "name": "X-Session",
                    "description": "Bearer <session id>",
                },
            },
        ),
    ],
)  # fmt: skip
def test_there_is_a_scheme_for_every_place_where_the_app_looks(
    jam: Jam, jwt: Any, session: Any, expected: Any
) -> None:
    assert security_schemes(new_app(jam, jwt, session)) == expected


@each_case(
    ("guards", "expected"),
    [
        ((jwt_required,), [{"jwt_header": []}, {"jwt_cookie": []}]),
        ((jwt_required(sources={"header"}),), [{"jwt_header": []}]),
        ((jwt_required(sources={"cookie"}, scopes={"a"}),), [{"jwt_cookie": ["a"]}]),
        ((jwt_required(sources={"cookie"}), jwt_required(scopes={"a"})), [{"jwt_cookie": ["a"]}]),
        ((jwt_required(sources={"cookie"}), jwt_required(sources={"header"})), []),
        ((jwt_required(sources={"header"}, optional=True),), [{"jwt_header": []}, {}]),
        (
            (jwt_required(sources={"header"}) | session_required(sources={"cookie"}),),
            [{"jwt_header": []}, {"session_cookie": []}],
        ),
    ],
)
def test_sources_name_the_places_of_an_operation(jam: Jam, guards: Any, expected: Any) -> None:
    app = new_app(jam, {"cookie_name": "token"})
    guarded: Any = view
    for guard in guards:
        guarded = guard(guarded)
    assert said_of(app, guarded) == expected


def test_of_a_jam_the_current_app_tells_how_it_is_used(
    app: Flask, jam: Jam, make_jam: Callable[[], Jam]
) -> None:
    with app.app_context():
        assert security_schemes(jam) == security_schemes(app)
        with pytest.raises(ConfigError, match="another Jam"):
            security_schemes(make_jam())
    with pytest.raises(ConfigError, match="no current app"):
        security_schemes(jam)
    with pytest.raises(ConfigError, match="no extension"):
        security_schemes(Flask("bare"))


# --- what a guard asks for ---------------------------------------------------------------


@each_case(
    ("guard", "expected"),
    [
        (jwt_required, [TOKEN]),
        (session_required, [SESSION]),
        (jwt_required(scopes={"b", "a"}), [{"jwt_header": ["a", "b"]}]),
        (jwt_required(roles={"admin"}, max_age=5), [TOKEN]),
        (jwt_required | session_required(scopes={"x"}), [TOKEN, {"session_cookie": ["x"]}]),
        (jwt_required(optional=True), [TOKEN, {}]),
        (jwt_required(optional=True, scopes={"a"}), [{"jwt_header": ["a"]}, {}]),
        (jwt_required | session_required(optional=True), [TOKEN, SESSION, {}]),
        (jwt_required(sources={"header"}), [TOKEN]),
    ],
)
def test_a_guard_says_in_which_ways_it_is_content(app: Flask, guard: Guard, expected: Any) -> None:
    assert said_of(app, guard(view)) == expected


@each_case(
    ("guards", "expected"),
    [
        ((jwt_required, session_required), [{"jwt_header": [], "session_cookie": []}]),
        (
            (jwt_required(scopes={"b"}), jwt_required(scopes={"a"}), jwt_required),
            [{"jwt_header": ["a", "b"]}],
        ),
        (
            (jwt_required | session_required, jwt_required(scopes={"a"})),
            [{"jwt_header": ["a"]}, {"session_cookie": [], "jwt_header": ["a"]}],
        ),
        (
            (jwt_required | session_required, jwt_required | session_required),
            [TOKEN, {"jwt_header": [], "session_cookie": []}, SESSION],
        ),
        # Optional for one and needed for the other is needed; and good for both if it is there.
        ((jwt_required(optional=True, scopes={"a"}), jwt_required), [{"jwt_header": ["a"]}]),
        (
            (jwt_required(optional=True), session_required),
            [{"jwt_header": [], "session_cookie": []}, SESSION],
        ),
        (
            (jwt_required(optional=True), session_required(optional=True)),
            [{"jwt_header": [], "session_cookie": []}, TOKEN, SESSION, {}],
        ),
    ],
)
def test_stacked_guards_ask_for_all(app: Flask, guards: Any, expected: Any) -> None:
    guarded = functools.reduce(lambda inner, guard: guard(inner), reversed(guards), view)
    assert said_of(app, guarded) == expected


def test_each_place_is_an_alternative_and_a_credential_comes_in_one(jam: Jam) -> None:
    app = new_app(jam, {"cookie_name": "token"}, {"header_name": "Authorization"})
    assert said_of(app, jwt_required(jwt_required(scopes={"a"})(session_required(view)))) == [
        {"jwt_header": ["a"], "session_header": []},
        {"jwt_header": ["a"], "session_cookie": []},
        {"jwt_cookie": ["a"], "session_header": []},
        {"jwt_cookie": ["a"], "session_cookie": []},
    ]


@each_case("outer", [None, jwt_required, jwt_required(optional=True),
                                   jwt_required | session_required])  # fmt: skip
@each_case("inner", [jwt_required, session_required(optional=True), session_required,
                                   jwt_required | session_required(optional=True)])  # fmt: skip
def test_what_is_said_is_what_is_done(app: Flask, jam: Jam, outer: Any, inner: Guard) -> None:
    guarded = inner(view) if outer is None else outer(inner(view))
    said = [set(way) for way in said_of(app, guarded)]
    token, session = jam.issue_tokens("alice")["access_token"], jam.create_session("alice", {})
    for brought in ((), ("jwt_header",), ("session_cookie",), ("jwt_header", "session_cookie")):
        client = app.test_client()
        if "session_cookie" in brought:
            client.set_cookie("sessionId", session)
        answer = client.get("/", headers=bearer(token) if "jwt_header" in brought else {})
        assert (answer.status_code == 200) is any(way <= set(brought) for way in said)


def test_public_is_open_on_purpose_and_an_undecorated_view_is_unknown(app: Flask) -> None:
    app.add_url_rule("/public", "public", public(lambda: "in"))
    app.add_url_rule("/open", "open", view)
    with app.app_context():
        assert security_for("public") == []
        assert security_for("open") is None
        assert security_for("static") is None


# --- wherever a guard stands -------------------------------------------------------------


def test_the_guards_of_the_app_and_the_blueprint_count(app: Flask) -> None:
    office = Blueprint("office", __name__, url_prefix="/office")
    protect(office, jwt_required(scopes={"office"}))
    office.before_request(session_required.enforce)
    office.add_url_rule("/", "desk", view)
    office.add_url_rule("/file", "file", jwt_required(scopes={"file"})(view))
    app.register_blueprint(office)
    app.add_url_rule("/", "view", view)
    app.add_url_rule("/public", "public", public(lambda: "in"))
    protect(app, jwt_required)
    with app.app_context():
        assert security_for("view") == [TOKEN]
        assert security_for("public") == []
        assert security_for("office.desk") == [{"jwt_header": ["office"], "session_cookie": []}]
        assert security_for("office.file") == [
            {"jwt_header": ["file", "office"], "session_cookie": []}
        ]


def counted(inner: Any) -> Any:
    @functools.wraps(inner)
    def around(*args: Any, **kwargs: Any) -> Any:
        return inner(*args, **kwargs)

    return around


def test_other_decorators_hide_no_guard(app: Flask) -> None:
    assert said_of(app, jwt_required(counted(session_required(counted(view))))) == [
        {"jwt_header": [], "session_cookie": []}
    ]


def test_a_decorator_above_the_route_is_looked_through(app: Flask) -> None:
    routed = jwt_required(view)
    app.add_url_rule("/", "view", routed)
    assert security_for(counted(routed), app=app) == [TOKEN]


class Comments(MethodView):
    def get(self) -> str:
        return "for everybody"

    @jwt_required(scopes={"comment"})
    def post(self) -> str:
        return "for some"


def test_a_class_may_guard_each_method_differently(app: Flask) -> None:
    comments = Comments.as_view("comments")
    app.add_url_rule("/", view_func=comments)
    with app.app_context():
        assert security_for(comments, "GET") is security_for(comments, "head") is None
        assert security_for(comments, "post") == [{"jwt_header": ["comment"]}]
        with pytest.raises(ConfigError, match="say which method"):
            security_for(comments)
        with pytest.raises(ConfigError, match="does not answer PUT"):
            security_for(comments, "PUT")


@jwt_required
class Guarded(Comments):
    pass


class Decorated(View):
    decorators = (session_required,)

    def dispatch_request(self) -> str:
        return "in"


def test_the_guards_of_a_class_and_of_its_method_add_up(app: Flask) -> None:
    guarded = Guarded.as_view("guarded")
    app.add_url_rule("/", view_func=guarded)
    with app.app_context():
        assert security_for(guarded, "GET") == [TOKEN]
        assert security_for(guarded, "POST") == [{"jwt_header": ["comment"]}]


def test_a_class_that_names_its_guard_in_decorators_is_known(app: Flask) -> None:
    assert said_of(app, Decorated.as_view("decorated")) == [SESSION]


def test_what_has_no_route_is_a_mistake(app: Flask) -> None:
    with app.app_context():
        for unknown in (view, Comments, "nowhere"):
            with pytest.raises(ConfigError, match="on no route"):
                security_for(unknown)
    with pytest.raises(ConfigError, match="no current app"):
        security_for(view)


# --- other issuers -------------------------------------------------------------------------------


def test_provider_is_described_by_metadata_and_named_by_guards() -> None:
    shop = auth0("shop.eu.auth0.com", audience="api")
    staff = entra(TENANT, audience="api", everywhere=True)
    given = A.issuer()  # its keys are configured, so its metadata is not known
    jam = Jam({"jwt": {"secret_key": SECRET}}, issuers=[shop, staff, given])
    app, login = new_app(jam), "jwt_login_microsoftonline_com_tenantid_v2_0"
    base = f"https://login.microsoftonline.com/{TENANT}/v2.0"
    found = security_schemes(app)
    assert {name: each.get("openIdConnectUrl") for name, each in found.items()} == {
        "jwt_header": None, "session_cookie": None,
        "jwt_shop_eu_auth0_com": "https://shop.eu.auth0.com/.well-known/openid-configuration",
        login: f"{base}/.well-known/openid-configuration",
    }  # fmt: skip
    assert found["jwt_shop_eu_auth0_com"]["type"] == "openIdConnect"
    own = jwt_required(scopes={"own"})
    for guard, expected in (
        (jwt_required, ["jwt_header", login]),
        (jwt_required(issuers=[shop]), ["jwt_shop_eu_auth0_com"]),
        (jwt_required(issuers=[given]), ["jwt_header"]),
        (jwt_required(issuers=[shop])(jwt_required(issuers=[shop, staff])(view)),
         ["jwt_shop_eu_auth0_com"]),
    ):  # fmt: skip
        guarded = guard(view) if isinstance(guard, Guard) else guard
        app.add_url_rule(f"/{id(guarded)}", str(id(guarded)), guarded)
        with app.app_context():
            places = [place for each in security_for(guarded) or () for place in each]
        assert sorted(places) == sorted(expected)
    both = own | jwt_required(issuers=[shop], scopes={"read"})
    assert {"jwt_shop_eu_auth0_com": ["read"]} in said_of(new_app(jam), both(view))


def test_guards_of_two_issuers_leave_no_way_in() -> None:
    shop, other = (auth0(f"{name}.auth0.com", audience="api") for name in ("shop", "other"))
    app = new_app(Jam(issuers=[shop, other]))
    assert "jwt_header" in security_schemes(app)
    guarded = jwt_required(issuers=[shop])(jwt_required(issuers=[other])(view))
    assert said_of(app, guarded) == []
