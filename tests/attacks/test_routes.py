"""Routes and policy: P01 to P19 of the attack catalogue."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, g
from flask.testing import FlaskClient
from flask.views import MethodView, View

from flask_jam import (
    ConfigError,
    Guard,
    Jam,
    JWTExtension,
    SessionExtension,
    current_auth,
    jwt_required,
    protect,
    public,
    session_required,
    signals,
)
from flask_jam.policies import authorize, authorized, policy
from flask_jam.testing import JamClient, capture, frozen_time

from ..cases import each_case
from ..conftest import Clock, bearer, build_app
from .craft import (
    COOKIE,
    EXPIRED,
    GUARDED,
    NOW,
    OK,
    N,
    R,
    S,
    T,
    Verdict,
    claims,
    forged,
    signed,
    verdict,
)

GOOD = signed(claims())
BAD = forged(GOOD)


def answer(client: FlaskClient, path: str, token: str | None = None, how: str = "GET") -> Verdict:
    headers = {} if token is None else bearer(token)
    return verdict(client.open(path, method=how, headers=headers))


@pytest.fixture
def bare(jam: Jam) -> Flask:
    """An app with both extensions and no route."""
    app = Flask("routes")
    JWTExtension(jam, app)
    SessionExtension(jam, app)
    return app


class Bare(MethodView):
    """Nobody has decorated it."""

    def get(self) -> str:
        return "in"


@each_case("path", ["/", "/nested", "/class"])
def test_P01_what_nobody_decorated_is_closed_where_everything_is_protected(
    bare: Flask, path: str
) -> None:
    protect(bare, jwt_required)
    blueprint = Blueprint("b", __name__)
    bare.add_url_rule("/", "root", lambda: "in")
    blueprint.add_url_rule("/nested", "nested", lambda: "in")
    bare.register_blueprint(blueprint)
    bare.add_url_rule("/class", view_func=Bare.as_view("bare"))
    client = bare.test_client()
    assert answer(client, path, None) == N
    assert answer(client, path, BAD) == T
    assert answer(client, path, GOOD) == OK


@each_case("order", ["function", "class"])
def test_P02_a_guard_above_the_route_is_found_out_before_anybody_is_served(
    bare: Flask, order: str
) -> None:
    if order == "function":

        @jwt_required
        @bare.get("/idle")
        def idle() -> str:
            raise AssertionError("served")
    else:

        class Idle(View):
            def dispatch_request(self) -> str:
                raise AssertionError("served")

        bare.add_url_rule("/idle", view_func=Idle.as_view("idle"))
        jwt_required(Idle)

    bare.add_url_rule("/fine", "fine", lambda: "fine")
    bare.config["PROPAGATE_EXCEPTIONS"] = True
    client = bare.test_client()

    # At every request until the lines are swapped, and whatever is asked for.
    for path in ("/idle", "/fine", "/idle"):
        with pytest.raises(ConfigError, match="swap"):
            client.get(path)


@each_case("found", ["nothing", "a mistake"])
def test_P02_those_who_come_first_together_wait_for_one_check(app: Flask, found: str) -> None:
    # Reading the sources of all views in every thread at once takes seconds, and Python 3.11 is
    # not able to parse in two threads at a time.
    barrier = threading.Barrier(16, timeout=20)
    checks: list[int] = []

    def slow_check(state: Any) -> None:
        checks.append(threading.get_ident())
        time.sleep(0.05)
        if found == "a mistake":
            raise ConfigError("swap the two lines")

    state = app.extensions["flask_jam"]
    state.start_checks = [slow_check] if found == "a mistake" else [*state.start_checks, slow_check]
    app.config["PROPAGATE_EXCEPTIONS"] = True

    def ask() -> Any:
        client = app.test_client()
        barrier.wait()
        try:
            return answer(client, "/jwt", GOOD)
        except ConfigError as error:
            return str(error)

    with ThreadPoolExecutor(16) as pool:
        answers = [run.result() for run in [pool.submit(ask) for _ in range(16)]]

    if found == "nothing":
        assert answers == [OK] * 16
        assert len(checks) == 1
    else:
        assert answers == ["swap the two lines"] * 16


def test_P03_every_method_of_a_class_is_guarded_also_one_that_comes_later(bare: Flask) -> None:
    @jwt_required
    class Thing(MethodView):
        def get(self) -> str:
            return "got"

    class More(Thing):
        decorators: tuple[Any, ...] = ()

        def delete(self) -> str:
            return "deleted"

    Thing.put = lambda self: "put"  # type: ignore[attr-defined]
    Thing.methods = {"GET", "PUT"}
    bare.add_url_rule("/thing", view_func=Thing.as_view("thing"))
    bare.add_url_rule("/more", view_func=More.as_view("more"), methods=["GET", "DELETE"])
    client = bare.test_client()

    for path, how in (("/thing", "GET"), ("/thing", "PUT"), ("/more", "GET"), ("/more", "DELETE")):
        assert answer(client, path, None, how) == N
        assert answer(client, path, BAD, how) == T
        assert answer(client, path, GOOD, how) == OK


def test_P03_what_is_added_after_everything_was_protected_is_closed(bare: Flask) -> None:
    outer, inner = Blueprint("outer", __name__), Blueprint("inner", __name__)
    protect(bare, jwt_required)
    bare.add_url_rule("/class", view_func=Bare.as_view("bare"), methods=["GET", "PURGE"])
    Bare.purge = lambda self: "purged"  # type: ignore[attr-defined]
    inner.add_url_rule("/late", "late", lambda: "in")
    outer.register_blueprint(inner, url_prefix="/inner")
    bare.register_blueprint(outer, url_prefix="/outer")
    client = bare.test_client()
    for path, how in (("/class", "GET"), ("/class", "PURGE"), ("/outer/inner/late", "GET")):
        assert answer(client, path, None, how) == N
        assert answer(client, path, GOOD, how) == OK


def test_P03_a_guarded_view_is_guarded_under_every_blueprint(bare: Flask) -> None:
    inner, outer = Blueprint("inner", __name__), Blueprint("outer", __name__)
    inner.add_url_rule("/secret", "secret", jwt_required(lambda: "in"))
    outer.register_blueprint(inner, url_prefix="/inner")
    bare.register_blueprint(outer, url_prefix="/outer")
    bare.register_blueprint(inner, url_prefix="/again", name="again")
    client = bare.test_client()

    for path in ("/outer/inner/secret", "/again/secret"):
        assert answer(client, path) == N
        assert answer(client, path, BAD) == T
        assert answer(client, path, GOOD) == OK


def test_P04_head_is_asked_like_get_and_automatic_options_is_open(client: FlaskClient) -> None:
    assert answer(client, "/jwt", None, "HEAD") == N
    assert answer(client, "/jwt", BAD, "HEAD") == T
    assert answer(client, "/jwt", GOOD, "HEAD") == OK
    assert answer(client, "/jwt", None, "OPTIONS") == OK
    assert client.open("/jwt", method="OPTIONS").data == b""


def test_P04_an_options_view_of_ones_own_is_guarded(bare: Flask) -> None:
    ran: list[str] = []
    view = jwt_required(lambda: ran.append("ran") or "in")
    bare.add_url_rule("/own", "own", view, methods=["OPTIONS", "GET"])

    @jwt_required
    class Own(MethodView):
        def options(self) -> str:
            ran.append("ran")
            return "in"

    bare.add_url_rule("/class", view_func=Own.as_view("class"), methods=["OPTIONS"])
    client = bare.test_client()

    for path in ("/own", "/class"):
        assert answer(client, path, None, "OPTIONS") == N
        assert answer(client, path, BAD, "OPTIONS") == T
    assert ran == []
    assert answer(client, "/own", GOOD, "OPTIONS") == OK


# P05 is in test_commands.py: the list of routes names static files.


@each_case("token", [None, BAD, GOOD, "a b"])
def test_P06_what_is_no_view_stays_what_it_is_for_anybody(
    client: FlaskClient, token: str | None
) -> None:
    client.application.add_url_rule("/folder/", "folder", jwt_required(lambda: "in"))

    assert answer(client, "/nowhere", token) == (404, None)
    assert answer(client, "/jwt", token, "DELETE") == (405, None)
    assert answer(client, "/folder", token) == (308, None)
    assert answer(client, "/static/nothing.css", token) == (404, None)
    assert answer(client, "/folder/", token) == {None: N, BAD: T, GOOD: OK, "a b": R}[token]


PATHS = ["/admin/", "//admin", "/./admin", "/admin/.", "/x/../admin", "/ADMIN", "/Admin",
         "/admin%00", "/admin\x00", "/admin;x", "/admin?", "/admin%2f", "/%61dmin", "/admin\\",
         "/admin/login", "/public/../admin", "/static/../admin", "/admin\n", "/admin ", " /admin",
         "/admin.json", "/\u0430dmin", "admin", "", "*", "http://x/admin"]  # fmt: skip


@each_case("path", [pytest.param(p, id=f"P07-{p.encode().hex()}") for p in PATHS])
def test_no_spelling_of_a_path_goes_round_a_guard(client: FlaskClient, path: str) -> None:
    ran: list[str] = []
    app = client.application
    app.view_functions["admin"] = jwt_required(roles={"admin"})(lambda: ran.append("ran") or "in")

    path = path.encode().decode("latin-1")  # as WSGI has it

    for token in (None, BAD, GOOD):
        headers = {} if token is None else bearer(token)
        for sent in ({"PATH_INFO": path}, {"SCRIPT_NAME": path, "PATH_INFO": "/admin"}):
            response = client.get("/", headers=headers, environ_overrides=sent)
            assert response.status_code in (308, 401, 403, 404)

    assert ran == []


def test_P08_who_answers_first_answers_and_the_view_does_not_run(bare: Flask) -> None:
    # A hook of somebody else's that returns an answer ends the request: no guard, and no view.
    ran: list[str] = []
    bare.before_request(lambda: ("teapot", 418))
    bare.add_url_rule("/jwt", "jwt", jwt_required(lambda: ran.append("ran") or "in"))
    client = bare.test_client()

    for token in (None, BAD, GOOD):
        assert answer(client, "/jwt", token) == (418, None)
    assert ran == []


def test_P08_every_hook_knows_the_caller_on_every_route(jam: Jam) -> None:
    app = Flask("hooks")
    seen: list[Any] = []

    # Registered before the extensions are, and still they were asked before it.
    @app.before_request
    def early() -> None:
        seen.append(g.payload["sub"] if g.payload else None)

    JWTExtension(jam, app)
    app.add_url_rule("/open", "open", lambda: "open")
    app.add_url_rule("/jwt", "jwt", jwt_required(lambda: "in"))
    app.add_url_rule("/public", "public", public(lambda: "in"))
    client = app.test_client()

    for path in ("/open", "/jwt", "/public", "/nowhere"):
        for token in (GOOD, BAD, None):
            answer(client, path, token)

    assert seen == ["alice", None, None] * 4


@each_case(
    "make",
    [
        pytest.param(lambda view: public(jwt_required(view)), id="P09-public-over-guard"),
        pytest.param(lambda view: jwt_required(public(view)), id="P09-guard-over-public"),
        pytest.param(lambda view: public(session_required(view)), id="P09-public-over-session"),
        pytest.param(lambda view: (jwt_required | session_required)(public(view)), id="P09-either"),
    ],
)
def test_public_and_guarded_is_an_error(make: Callable[[Any], Any]) -> None:
    def view() -> str:
        raise AssertionError("served")

    with pytest.raises(ConfigError, match="public and guarded"):
        make(view)


def raises(payload: dict[str, Any]) -> bool:
    raise RuntimeError(f"what it knows is {payload}")


@each_case(
    "check",
    [
        pytest.param(raises, id="P10-raises"),
        pytest.param(lambda payload: payload["no such claim"], id="P10-raises-key-error"),
        pytest.param(lambda payload: None, id="P10-none"),
        pytest.param(lambda payload: 1, id="P10-one"),
        pytest.param(lambda payload: 1.0, id="P10-one-as-a-float"),
        pytest.param(lambda payload: "yes", id="P10-yes"),
        pytest.param(lambda payload: "True", id="P10-true-as-text"),
        pytest.param(lambda payload: [True], id="P10-list"),
        pytest.param(lambda payload: payload, id="P10-payload"),
        pytest.param(lambda payload: object(), id="P10-object"),
        pytest.param(lambda payload: False, id="P10-false"),
        pytest.param(lambda payload: (_ for _ in (True,)), id="P10-generator"),
    ],
)
def test_a_check_lets_in_by_true_itself_only(
    bare: Flask, check: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    bare.add_url_rule("/checked", "checked", jwt_required(check=check)(lambda: "in"))
    bare.add_url_rule("/or", "or", (jwt_required(check=check) | session_required)(lambda: "in"))
    client = bare.test_client()

    for path in ("/checked", "/or"):
        assert answer(client, path, GOOD) == S
    assert "alice" not in caplog.text


def test_P10_a_check_that_says_true_lets_in(bare: Flask) -> None:
    bare.add_url_rule("/", "root", jwt_required(check=lambda payload: True)(lambda: "in"))

    assert answer(bare.test_client(), "/", GOOD) == OK


@each_case("status", [SystemExit(3), KeyboardInterrupt()])
def test_P10_a_check_that_ends_the_process_lets_nobody_in(
    bare: Flask, status: BaseException
) -> None:
    ran: list[str] = []

    def check(payload: dict[str, Any]) -> bool:
        raise status

    view = jwt_required(check=check)(lambda: ran.append("ran") or "in")
    bare.add_url_rule("/", "root", view)

    with pytest.raises(type(status)):
        bare.test_client().get("/", headers=bearer(GOOD))
    assert ran == []


def test_P11_a_guard_that_asks_for_nothing_lets_nobody_in(bare: Flask) -> None:
    try:
        empty = Guard()
    except ConfigError:
        return  # refused at start is as good
    bare.add_url_rule("/", "root", empty(lambda: "in"))

    assert answer(bare.test_client(), "/", GOOD)[0] in (401, 403)


def test_P11_any_of_is_as_strict_as_its_laxest_and_never_laxer(bare: Flask, jam: Jam) -> None:
    staff = jwt_required(roles={"admin"}) | jwt_required(scopes={"staff"})
    bare.add_url_rule("/staff", "staff", staff(lambda: "in"))
    both = jwt_required(roles={"admin"})(jwt_required(scopes={"staff"})(lambda: "in"))
    bare.add_url_rule("/both", "both", both)
    client = bare.test_client()
    admin, scoped, nobody, each = (
        signed(claims(**said))
        for said in (
            {"roles": ["admin"]}, {"scope": "staff"}, {}, {"roles": ["admin"], "scope": "staff"},
        )
    )  # fmt: skip

    assert [answer(client, "/staff", t)[0] for t in (admin, scoped, nobody, each)] == [
        200, 200, 403, 200,
    ]  # fmt: skip
    assert [answer(client, "/both", t)[0] for t in (admin, scoped, nobody, each)] == [
        403, 403, 403, 200,
    ]  # fmt: skip


@each_case(
    ("header", "expected"),
    [
        pytest.param(f"Bearer {BAD}", T, id="P12-forged"),
        pytest.param(f"Bearer {signed(claims(exp=NOW))}", EXPIRED, id="P12-expired"),
        pytest.param("Bearer", R, id="P12-empty"),
        pytest.param("Bearer a b", R, id="P12-malformed"),
        pytest.param("Bearer null", T, id="P12-null"),
        pytest.param("Bearer undefined", T, id="P12-undefined"),
        pytest.param("Bearer []", R, id="P12-list"),
    ],
)
def test_a_bad_credential_is_refused_where_none_is_needed(
    client: FlaskClient, header: str, expected: Verdict
) -> None:
    assert verdict(client.get("/optional", headers={"Authorization": header})) == expected
    assert answer(client, "/optional") == OK


def test_P12_a_bad_session_is_refused_where_none_is_needed(bare: Flask, jam: Jam) -> None:
    either = jwt_required(optional=True) | session_required(optional=True)
    bare.add_url_rule("/own", "own", session_required(optional=True)(lambda: str(g.payload)))
    bare.add_url_rule("/either", "either", either(lambda: str(g.payload)))
    client = bare.test_client()
    assert client.get("/own").text == client.get("/either").text == "None"

    for value in ("x", "A" * 45, "%00", "../../etc/passwd", jam.create_session("a", {}) + "x"):
        client.set_cookie("sessionId", value)
        assert answer(client, "/own") == COOKIE
        assert answer(client, "/either") == T


# --- P13 to P15: nobody stays -----------------------------------------------------------


def test_P13_nobody_stays_in_an_app_context_that_is_left_open(app: Flask) -> None:
    client = app.test_client()
    with app.app_context():
        for path in ("/jwt", "/open", "/optional"):
            assert client.get(path, headers=bearer(GOOD)).json["subject"] == "alice"
            assert client.get("/open").json == {"payload": None, "scheme": None, "subject": None}
            assert client.get("/public").json["payload"] is None
            assert answer(client, "/jwt") == N
            assert g.payload is None


def test_P13_nobody_stays_in_a_client_that_keeps_its_context(app: Flask) -> None:
    with app.test_client() as client:
        client.get("/jwt", headers=bearer(GOOD))
        assert g.payload["sub"] == "alice"
        client.get("/open")
        assert g.payload is None
        assert current_auth() is None
        client.get("/jwt", headers=bearer(BAD))
        assert g.payload is None
        assert current_auth() is None


def test_P13_an_error_page_sees_whom_the_outer_guard_let_in(
    bare: Flask,
) -> None:
    seen: list[Any] = []
    both = jwt_required(session_required(lambda: "in"))
    bare.add_url_rule("/both", "both", both)
    bare.register_error_handler(
        401,
        lambda error: (seen.append((g.payload["sub"], current_auth().subject)), error)[1],  # type: ignore[union-attr]
    )
    client = bare.test_client()

    assert answer(client, "/both", GOOD) == COOKIE
    assert seen == [("alice", "alice")]


@each_case("kind", ["sync", "async"])
def test_P13_threads_see_each_their_own(bare: Flask, kind: str) -> None:
    barrier = threading.Barrier(8, timeout=10)

    def view() -> dict[str, Any]:
        barrier.wait()  # all eight are inside at once
        return {"payload": g.payload["sub"], "auth": current_auth().subject}  # type: ignore[union-attr]

    async def view_async() -> dict[str, Any]:
        return view()

    bare.add_url_rule("/who", "who", jwt_required(view if kind == "sync" else view_async))

    def ask(name: str) -> tuple[str, Any]:
        token = signed(claims(sub=name, jti=name))
        return name, bare.test_client().get("/who", headers=bearer(token)).json

    with ThreadPoolExecutor(8) as pool:
        for name, said in pool.map(ask, [f"user-{n}" for n in range(32)]):
            assert said == {"payload": name, "auth": name}


def test_P13_a_request_inside_of_another_does_not_change_who_the_outer_one_is(
    app: Flask, jam: Jam
) -> None:
    other = build_app(jam)

    @app.get("/outer")
    @jwt_required
    def outer() -> dict[str, Any]:
        inner = app.test_client()
        inner.get("/jwt", headers=bearer(signed(claims(sub="bob"))))
        inner.get("/open")
        other.test_client().get("/jwt", headers=bearer(signed(claims(sub="carol"))))
        return {"payload": g.payload["sub"], "auth": current_auth().subject}  # type: ignore[union-attr]

    response = app.test_client().get("/outer", headers=bearer(GOOD))

    assert response.json == {"payload": "alice", "auth": "alice"}


def test_P14_a_stream_is_decided_before_its_first_byte(bare: Flask) -> None:
    ran: list[str] = []

    def parts() -> Iterator[str]:
        ran.append("ran")
        yield "first byte"

    bare.add_url_rule("/stream", "stream", jwt_required(lambda: Response(parts())))
    client = bare.test_client()

    assert answer(client, "/stream") == N
    assert answer(client, "/stream", BAD) == T
    assert ran == []
    assert client.get("/stream", headers=bearer(GOOD)).text == "first byte"


def test_P14_an_async_view_is_decided_before_it_starts(bare: Flask) -> None:
    ran: list[str] = []

    @bare.get("/async")
    @jwt_required(roles={"admin"})
    async def view() -> str:
        ran.append("ran")
        return "in"

    client = bare.test_client()

    assert answer(client, "/async") == N
    assert answer(client, "/async", BAD) == T
    assert answer(client, "/async", GOOD) == S
    assert ran == []
    assert answer(client, "/async", signed(claims(roles=["admin"]))) == OK


@each_case("token", [None, BAD, GOOD])
def test_P15_an_error_page_finds_the_caller_or_none(bare: Flask, token: str | None) -> None:
    def page(error: Any) -> Response:
        response: Response = error.get_response()
        auth = current_auth()
        response.data = f"payload: {g.payload and g.payload['sub']}, auth: {auth and auth.subject}"
        return response

    for code in (400, 401, 403, 404, 405):
        bare.register_error_handler(code, page)
    bare.add_url_rule("/jwt", "jwt", jwt_required(lambda: "in"))
    bare.add_url_rule("/admin", "admin", jwt_required(roles={"admin"})(lambda: "in"))
    client = bare.test_client()
    headers = {} if token is None else bearer(token)

    for path, how in (("/nowhere", "GET"), ("/jwt", "PUT"), ("/admin", "GET")):
        response = client.open(path, method=how, headers=headers)
        assert response.status_code >= 400
        caller = "alice" if token == GOOD else None
        assert response.text == f"payload: {caller}, auth: {caller}"


def test_P15_before_any_request_there_is_nobody(app: Flask) -> None:
    with app.app_context():
        assert g.payload is None
        assert current_auth() is None
    assert current_auth() is None


# --- policies are asked anew ----------------------------------------------------------


def test_P18_what_the_server_knows_beats_what_the_login_said(jam: Jam) -> None:
    roles = {"alice": ["admin"]}
    app = build_app(jam, reload_claims=lambda subject, old: {**old, "roles": roles[subject]})
    client = app.test_client()
    pair = jam.issue_tokens("alice", roles={"admin"})
    assert answer(client, "/admin", pair["access_token"]) == OK

    roles["alice"] = []
    pair = client.post("/refresh", json={"refresh_token": pair["refresh_token"]}).json

    assert answer(client, "/admin", pair["access_token"]) == S
    assert answer(client, "/jwt", pair["access_token"]) == OK


def test_P19_no_denial_is_remembered(bare: Flask, clock: Clock) -> None:
    allowed: set[str] = set()
    guard = jwt_required(check=lambda payload: payload["sub"] in allowed)
    bare.add_url_rule("/object", "object", guard(lambda: "in"))
    client = bare.test_client()

    for _ in range(3):
        allowed.clear()
        assert answer(client, "/object", GOOD) == S
        allowed.add("alice")
        assert answer(client, "/object", GOOD) == OK


def test_no_route_of_the_test_app_is_open_by_mistake(client: FlaskClient) -> None:
    """What the other files call guarded is guarded."""
    for how, path in GUARDED:
        expected = OK if path == "/optional" else N
        assert answer(client, path, None, how) == expected


# --- P16, P17: helpers for tests, decisions about a thing ---------------------------------------


@each_case(
    "cheat",
    [
        pytest.param(lambda app, jam: JamClient(app).login("alice"), id="P16-login"),
        pytest.param(lambda app, jam: JamClient(app).login("alice", "session"), id="P16-session"),
        pytest.param(lambda app, jam: frozen_time(app).__enter__(), id="P16-time-of-an-app"),
        pytest.param(
            lambda app, jam: capture(signals.rejected, app).__enter__(), id="P16-listening"
        ),
    ],
)
def test_what_helps_tests_is_of_no_use_to_an_app_in_production(
    jam: Jam, cheat: Callable[[Flask, Jam], Any]
) -> None:
    app = build_app(jam)
    app.testing = False
    app.debug = True
    with pytest.raises(ConfigError, match="testing"):
        cheat(app, jam)


def test_P16_a_login_of_a_test_passes_the_guards_and_not_around_them(app: Flask, jam: Jam) -> None:
    app.testing = True
    client = JamClient(app)
    client.login("alice", roles={"reader"})
    assert client.get("/jwt").status_code == 200
    assert client.get("/admin").status_code == 403
    jam.revoke_subject("alice")
    assert client.get("/jwt").status_code == 401


@policy
def owner(payload: dict[str, Any], article: dict[str, str]) -> bool:
    return article["author"] == payload["sub"]


def test_P17_an_answer_about_a_thing_that_nobody_decided_on_is_found_out(bare: Flask) -> None:
    article = {"author": "alice"}
    bare.add_url_rule("/asked", "asked", jwt_required(lambda: (authorize(owner, article), "")[1]))
    bare.add_url_rule("/forgot", "forgot", jwt_required(lambda: article["author"]))

    @bare.after_request
    def decided(response: Any) -> Any:
        return response if authorized() or response.status_code != 200 else Response("", 500)

    client = bare.test_client()
    assert client.get("/asked", headers=bearer(GOOD)).status_code == 200
    assert client.get("/forgot", headers=bearer(GOOD)).status_code == 500
    article["author"] = "bob"
    assert client.get("/asked", headers=bearer(GOOD)).status_code == 403
