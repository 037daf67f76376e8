"""Guards: who is let in, who is not, and what a wrong use of a guard says."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Blueprint, Flask, g
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
)

from .cases import each_case
from .conftest import Clock, bearer


@pytest.fixture
def app(jam: Jam) -> Flask:
    app = Flask("guarded")
    JWTExtension(jam, app)
    SessionExtension(jam, app)
    return app


def who() -> str:
    auth = current_auth()
    return f"{auth.scheme}:{auth.subject}" if auth else "nobody"


Send = Callable[..., tuple[int, str]]


@pytest.fixture
def send(app: Flask) -> Send:
    """Ask one guard, with a token, a session or both; the status and who was let in."""

    def send(guard: Guard, token: str | None = None, session: str | None = None) -> Any:
        app.add_url_rule("/", "view", guard(lambda: who()))
        client = app.test_client()
        if session is not None:
            client.set_cookie("sessionId", session)
        answer = client.get("/", headers=bearer(token) if token is not None else {})
        return answer.status_code, answer.text if answer.status_code == 200 else ""

    return send


def token_of(jam: Jam, **claims: Any) -> str:
    return str(jam.issue_tokens("alice", **claims)["access_token"])


# --- schemes, or, and --------------------------------------------------------------------


def test_both_guards_are_instances_of_one_class() -> None:
    assert type(jwt_required) is type(session_required) is Guard


@each_case("guard", [jwt_required, session_required])
def test_nobody_is_refused(send: Send, guard: Guard) -> None:
    assert send(guard) == (401, "")


def test_a_token_is_no_session_and_a_session_no_token(send: Send, jam: Jam, app: Flask) -> None:
    app.add_url_rule("/s", "s", session_required(who))
    token, session = token_of(jam), jam.create_session("bob", {})
    assert send(jwt_required, session=session) == (401, "")
    client = app.test_client()
    assert client.get("/s", headers=bearer(token)).status_code == 401
    client.set_cookie("sessionId", token)
    assert client.get("/s").status_code == 401


EITHER = jwt_required(roles={"admin"}) | session_required(roles={"admin", "editor"})


@each_case(
    ("token_role", "session_role", "expected"),
    [
        ("admin", None, (200, "jwt:alice")),
        (None, "editor", (200, "session:bob")),
        ("admin", "editor", (200, "jwt:alice")),
        ("editor", "editor", (200, "session:bob")),
        ("editor", None, (403, "")),
        (None, "reader", (403, "")),
        ("editor", "reader", (403, "")),
        (None, None, (401, "")),
        ("bad", "editor", (401, "")),
        ("admin", "bad", (401, "")),
    ],
)
def test_either_lets_in_who_meets_one_and_brings_nothing_bad(
    send: Send, jam: Jam, token_role: str | None, session_role: str | None, expected: Any
) -> None:
    token = {None: None, "bad": "a.b.c"}.get(token_role, "")
    session = {None: None, "bad": "A" * 43}.get(session_role, "")
    if token == "":
        token = token_of(jam, roles={token_role})
    if session == "":
        session = jam.create_session("bob", {"roles": [session_role]})
    assert send(EITHER, token, session) == expected


def test_stacked_guards_ask_for_all(app: Flask, jam: Jam) -> None:
    app.add_url_rule("/", "view", jwt_required(session_required(roles={"x"})(who)))
    client = app.test_client()
    sent = bearer(token_of(jam))
    assert client.get("/", headers=sent).status_code == 401
    client.set_cookie("sessionId", jam.create_session("alice", {"roles": ["x"]}))
    assert client.get("/").status_code == 401
    # The payload is that of the guard that let it in: the inner one.
    assert client.get("/", headers=sent).text == "session:alice"
    assert client.get("/", headers=bearer("a.b.c")).status_code == 401


def test_stacked_guards_refuse_two_people(app: Flask, jam: Jam) -> None:
    app.add_url_rule("/", "view", jwt_required(scopes={"s"})(session_required(who)))
    app.add_url_rule("/turned", "turned", session_required(jwt_required(scopes={"s"})(who)))
    client, sent = app.test_client(), bearer(token_of(jam, scopes={"s"}))
    client.set_cookie("sessionId", jam.create_session("bob", {}))
    for path in ("/", "/turned"):
        answer = client.get(path, headers=sent)
        assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


def test_an_inner_optional_guard_leaves_whom_the_outer_one_let_in(app: Flask, jam: Jam) -> None:
    app.add_url_rule("/", "view", jwt_required(session_required(optional=True)(who)))
    assert app.test_client().get("/", headers=bearer(token_of(jam))).text == "jwt:alice"


# --- conditions ----------------------------------------------------------------------------


@each_case(
    ("scope", "status"),
    [
        ("read write", 200), ("write read", 200), ("read write more", 200),
        ("read", 403), ("", 403), ("read  write", 403), ("read\twrite", 403),
        ("read\u00a0write", 403), ("readwrite", 403), ("read:write", 403),
        (["read", "write"], 403), (None, 403), (5, 403), ({"read": 1, "write": 1}, 403),
    ],
)  # fmt: skip
def test_scopes_are_all_needed(send: Send, jam: Jam, scope: Any, status: int) -> None:
    token = jam.gen_jwt_token({"sub": "alice", "scope": scope})
    assert send(jwt_required(scopes={"read", "write"}), token)[0] == status


@each_case(
    ("roles", "status"),
    [
        (["admin"], 200), (["x", "editor"], 200), (["superadmin"], 403), (["Admin"], 403),
        ([], 403), ("admin", 403), (None, 403), (5, 403), ({"admin": True}, 403),
        (["admin", 5], 403), ([["admin"]], 403), ([None], 403),
    ],
)  # fmt: skip
def test_one_of_the_roles_is_needed(send: Send, jam: Jam, roles: Any, status: int) -> None:
    token = jam.gen_jwt_token({"sub": "alice", "roles": roles})
    assert send(jwt_required(roles={"admin", "editor"}), token)[0] == status


def test_roles_absent_is_403_and_never_a_500(send: Send, jam: Jam) -> None:
    assert send(jwt_required(roles={"admin"}), jam.gen_jwt_token({"sub": "a"}))[0] == 403


@each_case(("age", "status"), [(0, 200), (300, 200), (300.5, 401), (10**6, 401)])
def test_max_age_counts_from_the_login_and_not_the_refresh(
    app: Flask, jam: Jam, clock: Clock, age: float, status: int
) -> None:
    app.add_url_rule("/", "view", jwt_required(max_age=300)(who))
    pair = jam.issue_tokens("alice")
    clock.tick(age)
    token = jam.refresh_tokens(pair["refresh_token"])["access_token"]
    assert app.test_client().get("/", headers=bearer(token)).status_code == status


def test_max_age_may_be_a_timedelta() -> None:
    assert repr(jwt_required(max_age=timedelta(minutes=5))) == "jwt_required(max_age=300)"


def test_max_age_of_a_session_survives_rework(app: Flask, jam: Jam, clock: Clock) -> None:
    app.add_url_rule("/", "view", session_required(max_age=300)(who))
    client = app.test_client()
    session = jam.create_session("bob", {})
    clock.tick(200)
    session = jam.rework_session(session)
    client.set_cookie("sessionId", session)
    assert client.get("/").status_code == 200
    clock.tick(101)
    assert client.get("/").status_code == 401


@each_case("auth_time", [None, "1800000000", True, [], 1_800_000_500, -1, {}, 10**400])
def test_an_auth_time_that_is_no_past_time_is_stale(send: Send, jam: Jam, auth_time: Any) -> None:
    token = jam.gen_jwt_token({"sub": "alice", "auth_time": auth_time})
    assert send(jwt_required(max_age=300), token)[0] == 401


@each_case("verdict", [1, "yes", None, False, [1], object()])
def test_only_true_itself_passes_a_check(send: Send, jam: Jam, verdict: Any) -> None:
    assert send(jwt_required(check=lambda _payload: verdict), token_of(jam))[0] == 403


def test_a_check_sees_the_payload(send: Send, jam: Jam) -> None:
    guard = jwt_required(check=lambda payload: payload["plan"] == "gold")
    assert send(guard, token_of(jam, plan="gold")) == (200, "jwt:alice")


def test_a_check_that_raises_denies_and_is_logged_without_the_claims(
    send: Send, jam: Jam, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(payload: dict[str, Any]) -> bool:
        raise KeyError(payload["plan"])

    assert send(jwt_required(check=broken), token_of(jam, plan="marker"))[0] == 403
    (record,) = [r for r in caplog.records if r.name.startswith("flask_jam")]
    assert "broken raised KeyError" in record.getMessage()
    assert "test_guards.py:" in record.getMessage()
    assert "marker" not in caplog.text
    assert record.levelno == logging.ERROR


def test_conditions_add_up(send: Send, jam: Jam) -> None:
    guard = jwt_required(scopes={"a"}, roles={"r"}, max_age=9, check=lambda _p: True)
    assert send(guard, token_of(jam, scopes={"a"}, roles={"r"}))[0] == 200


def test_configuring_makes_another_guard(send: Send, jam: Jam) -> None:
    assert jwt_required(roles={"admin"}) is not jwt_required
    assert send(jwt_required, token_of(jam))[0] == 200


# --- optional --------------------------------------------------------------------------------


def test_optional_lets_in_who_presents_nothing(send: Send) -> None:
    assert send(jwt_required(optional=True)) == (200, "nobody")


@each_case("token", ["a.b.c", "x", "x="])
def test_optional_never_lets_a_bad_credential_pass(send: Send, token: str) -> None:
    assert send(jwt_required(optional=True), token)[0] == 401


def test_optional_does_not_pass_a_malformed_header(app: Flask) -> None:
    app.add_url_rule("/", "view", jwt_required(optional=True)(who))
    answer = app.test_client().get("/", headers={"Authorization": "Bearer a b"})
    assert answer.status_code == 400


def test_optional_with_a_role_lets_in_nobody_who_lacks_it(send: Send, jam: Jam) -> None:
    assert send(jwt_required(optional=True, roles={"admin"}), token_of(jam))[0] == 403


# --- kinds of views ----------------------------------------------------------------------------


def test_a_view_keeps_its_name_docstring_and_kind() -> None:
    @jwt_required
    def plain() -> str:
        """What it says."""
        return "in"

    @jwt_required(roles={"admin"})
    async def awaited() -> str:
        return "in"

    assert (plain.__name__, plain.__doc__) == ("plain", "What it says.")
    assert not inspect.iscoroutinefunction(plain)
    assert inspect.iscoroutinefunction(awaited)


def test_async_views_are_guarded_and_awaited(app: Flask, jam: Jam) -> None:
    @app.get("/")
    @jwt_required
    async def view() -> dict[str, Any]:
        return {"sub": g.payload["sub"]}

    client = app.test_client()
    assert client.get("/").status_code == 401
    assert client.get("/", headers=bearer(token_of(jam))).json == {"sub": "alice"}


def test_arguments_of_the_rule_arrive(app: Flask, jam: Jam) -> None:
    @app.get("/<int:number>")
    @jwt_required
    def view(number: int) -> str:
        return str(number + 1)

    assert app.test_client().get("/41", headers=bearer(token_of(jam))).text == "42"


class Plain(View):
    def dispatch_request(self) -> str:
        return who()


def class_views() -> dict[str, type[View]]:
    @jwt_required
    class Decorated(MethodView):
        def get(self) -> str:
            return who()

        async def post(self) -> str:
            return who()

    class Inherits(Decorated):
        decorators = [lambda view: view]  # noqa: RUF012 - as Flask documents it

        def put(self) -> str:
            return who()

    class Listed(Plain):
        decorators = [jwt_required(max_age=60), jwt_required]  # noqa: RUF012

    @jwt_required(max_age=60)
    @jwt_required
    class Stacked(Plain):
        pass

    class OneMethod(MethodView):
        @jwt_required
        def get(self) -> str:
            return who()

    return {c.__name__: c for c in (Decorated, Inherits, Listed, Stacked, OneMethod)}


@each_case("name", list(class_views()))
def test_view_classes_are_guarded(app: Flask, jam: Jam, name: str) -> None:
    cls = class_views()[name]
    app.add_url_rule("/", view_func=cls.as_view("view"))
    client = app.test_client()
    assert client.get("/").status_code == 401
    assert client.get("/", headers=bearer(token_of(jam))).text == "jwt:alice"
    for method in sorted((getattr(cls, "methods", None) or {"GET"}) - {"GET"}):
        assert client.open("/", method=method).status_code == 401
        answer = client.open("/", method=method, headers=bearer(token_of(jam)))
        assert answer.text == "jwt:alice"


def test_guarding_a_class_leaves_its_parent_alone(app: Flask) -> None:
    jwt_required(type("Child", (Plain,), {}))
    app.add_url_rule("/", view_func=Plain.as_view("view"))
    assert app.test_client().get("/").text == "nobody"


def test_views_of_nested_blueprints_are_guarded(app: Flask, jam: Jam) -> None:
    inner, outer = Blueprint("inner", __name__), Blueprint("outer", __name__)
    inner.add_url_rule("/view", "view", jwt_required(who))
    outer.register_blueprint(inner, url_prefix="/inner")
    app.register_blueprint(outer, url_prefix="/outer")
    client = app.test_client()
    assert client.get("/outer/inner/view").status_code == 401
    assert client.get("/outer/inner/view", headers=bearer(token_of(jam))).text == "jwt:alice"


def test_a_views_own_options_is_guarded_and_flasks_is_not(app: Flask) -> None:
    app.add_url_rule("/own", "own", jwt_required(who), methods=["GET", "OPTIONS"])
    app.add_url_rule("/flasks", "flasks", jwt_required(who))
    client = app.test_client()
    assert client.options("/own").status_code == 401
    assert client.options("/flasks").status_code == 200


@each_case("method", ["HEAD", "POST", "PURGE", "TRACE"])
def test_every_method_of_a_view_is_guarded(app: Flask, method: str) -> None:
    app.add_url_rule("/", "view", jwt_required(who), methods=["GET", "POST", "PURGE", "TRACE"])
    assert app.test_client().open("/", method=method).status_code == 401


def test_enforce_guards_where_no_decorator_can(app: Flask, jam: Jam) -> None:
    blueprint = Blueprint("all", __name__)
    blueprint.before_request(jwt_required.enforce)
    blueprint.add_url_rule("/", "view", who)
    app.register_blueprint(blueprint, url_prefix="/all")
    client = app.test_client()
    assert client.get("/all/").status_code == 401
    assert client.get("/all/", headers=bearer(token_of(jam))).text == "jwt:alice"
    preflight = client.options("/all/")
    assert preflight.status_code == 200
    assert set(preflight.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


def test_an_options_of_the_views_own_is_guarded_by_a_hook(app: Flask) -> None:
    blueprint = Blueprint("all", __name__)
    blueprint.before_request(jwt_required.enforce)
    blueprint.add_url_rule("/all", "view", who, methods=["OPTIONS"])
    app.register_blueprint(blueprint)
    assert app.test_client().options("/all").status_code == 401


def test_a_hook_that_does_more_than_enforce_is_guarded_at_a_preflight_too(app: Flask) -> None:
    done = []
    blueprint = Blueprint("all", __name__)
    blueprint.before_request(lambda: (jwt_required.enforce(), done.append(1))[1])
    blueprint.add_url_rule("/all", "view", who)
    app.register_blueprint(blueprint)
    assert app.test_client().options("/all").status_code == 401
    assert done == []


@each_case("kind", [classmethod, staticmethod])
def test_a_guard_above_a_kind_of_method_says_to_swap(kind: Any) -> None:
    with pytest.raises(ConfigError, match="swap the two lines"):
        jwt_required(kind(who))


class Desk:
    def look(self) -> str:
        return who()

    def __call__(self) -> str:
        return who()


@each_case("view", [Desk().look, Desk(), functools.partial(who)])
def test_methods_and_other_callables_are_guarded(app: Flask, jam: Jam, view: Any) -> None:
    app.add_url_rule("/", "view", jwt_required(view))
    client = app.test_client()
    assert client.get("/").status_code == 401
    assert client.get("/", headers=bearer(token_of(jam))).text == "jwt:alice"


@each_case("read_early", [True, False])
def test_an_optional_guard_in_a_view_lets_in_nobody_it_did_not_ask_for(
    app: Flask, jam: Jam, read_early: bool
) -> None:
    if read_early:
        app.before_request(lambda: (g.payload, None)[1])

    @app.get("/")
    def view() -> str:
        jwt_required(optional=True).enforce()
        return who()

    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("bob", {"n": 1}))
    assert client.get("/").text == "nobody"


def test_one_guard_serves_many_views_and_apps(jam: Jam) -> None:
    guard = jwt_required(roles={"admin"})
    token = token_of(jam, roles={"admin"})
    for _ in range(2):
        app = Flask("one_of_many")
        JWTExtension(jam, app)
        for name in ("a", "b"):
            app.add_url_rule(f"/{name}", name, guard(lambda: who()))
        client = app.test_client()
        assert client.get("/a", headers=bearer(token)).text == "jwt:alice"
        assert client.get("/b").status_code == 401


# --- wrong use says so --------------------------------------------------------------------------


@each_case(
    ("wrong", "sentence"),
    [
        ({"roles": "admin"}, r'roles: write a set of names, such as roles=\{"admin"\}'),
        ({"scopes": "read write"}, "scopes: write a set of names"),
        ({"scopes": {"read write"}}, "scopes: a name has no spaces"),
        ({"roles": {1}}, "roles: every name must be a non-empty string"),
        ({"roles": {""}}, "roles: every name must be a non-empty string"),
        ({"roles": 5}, "roles: write a set of names"),
        ({"max_age": 0}, "max_age: write seconds"),
        ({"max_age": -1}, "max_age: write seconds"),
        ({"max_age": "300"}, "max_age: write seconds"),
        ({"max_age": True}, "max_age: write seconds"),
        ({"max_age": float("nan")}, "max_age: write seconds"),
        ({"max_age": float("inf")}, "max_age: write seconds"),
        ({"optional": "yes"}, "optional: write True or False"),
        ({"check": "admin"}, "check: write a plain function"),
    ],
)
def test_a_wrong_argument_is_an_error_with_a_sentence(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        jwt_required(**wrong)


def test_an_async_check_is_refused_rather_than_never_awaited() -> None:
    async def check(_payload: dict[str, Any]) -> bool:
        return True

    with pytest.raises(ConfigError, match="plain function"):
        jwt_required(check=check)  # type: ignore[call-overload]


def test_an_unknown_condition_is_an_error_that_names_the_right_one() -> None:
    with pytest.raises(ConfigError, match="role is no condition.*did you mean roles"):
        jwt_required(role={"admin"})  # type: ignore[call-overload]


@each_case("what", ["admin", 5, {"admin"}])
def test_a_guard_of_no_view_is_an_error(what: Any) -> None:
    with pytest.raises(ConfigError, match="a guard takes a view"):
        jwt_required(what)


def test_a_class_that_is_no_view_is_an_error() -> None:
    with pytest.raises(ConfigError, match="View"):
        jwt_required(type("Plain", (), {}))


def test_configuring_a_configured_guard_keeps_what_it_does_not_replace(
    send: Send, jam: Jam
) -> None:
    admin = jwt_required(roles={"admin"})
    assert repr(admin(max_age=300)) == "jwt_required(roles={'admin'}, max_age=300)"
    assert repr(admin()) == repr(admin)
    assert repr(admin(roles={"editor"})) == "jwt_required(roles={'editor'})"
    assert send(admin(max_age=300), token_of(jam))[0] == 403


@each_case("empty", [set(), [], frozenset(), {}])
@each_case("what", ["roles", "scopes"])
def test_an_empty_set_that_would_open_the_view_is_an_error(what: str, empty: Any) -> None:
    with pytest.raises(ConfigError, match="the set is empty"):
        jwt_required(**{what: empty})


def test_guards_cannot_be_joined_by_and_which_would_drop_one() -> None:
    with pytest.raises(ConfigError, match="join guards with"):
        _ = jwt_required and session_required


def test_joined_guards_take_no_conditions() -> None:
    with pytest.raises(ConfigError, match="before joining"):
        (jwt_required | session_required)(roles={"admin"})


def test_only_guards_can_be_joined() -> None:
    with pytest.raises(TypeError):
        jwt_required | 5  # type: ignore[operator]


@each_case("order", [(public, jwt_required), (jwt_required, public)])
def test_public_and_guarded_is_an_error(order: Any) -> None:
    def view() -> str:
        return "in"

    with pytest.raises(ConfigError, match="view is public and guarded"):
        order[1](order[0](view))


def test_public_classes_stay_open_and_guarded_ones_cannot_be_public(app: Flask) -> None:
    cls = public(type("Open", (Plain,), {}))
    app.add_url_rule("/", view_func=cls.as_view("view"))
    assert app.test_client().get("/", headers=bearer("a.b.c")).text == "nobody"
    with pytest.raises(ConfigError, match="public and guarded"):
        public(jwt_required(type("Closed", (Plain,), {})))


def test_a_guard_without_any_extension_says_what_to_write() -> None:
    app = Flask("forgotten")
    app.testing = True
    app.add_url_rule("/", "view", jwt_required(who))
    with pytest.raises(ConfigError, match=r"JWTExtension\(jam\)\.init_app\(app\)"):
        app.test_client().get("/")


def test_the_repr_says_what_a_guard_asks() -> None:
    assert (
        repr(EITHER)
        == "jwt_required(roles={'admin'}) | session_required(roles={'admin', 'editor'})"
    )
    guard = jwt_required(optional=True, scopes={"a"}, max_age=300, check=who)  # type: ignore[arg-type]
    said = "jwt_required(optional=True, scopes={'a'}, max_age=300, check=who)"
    assert repr(guard) == said


def test_a_refusal_is_decided_before_an_async_view_starts(app: Flask) -> None:
    started: list[int] = []

    @app.get("/")
    @jwt_required
    async def view() -> str:
        started.append(1)
        return "in"

    used: FlaskClient = app.test_client()
    assert used.get("/").status_code == 401
    assert started == []


def test_a_check_is_asked_whatever_python_takes_it_for(jam: Jam) -> None:
    class Invited(list[str]):
        """Nobody yet: so it is false, and no check less."""

        def __call__(self, payload: dict[str, Any]) -> bool:
            return payload["sub"] in self

    invited = Invited()
    app = Flask("party")
    JWTExtension(jam, app)
    app.add_url_rule("/", "in", jwt_required(check=invited)(lambda: "in"))
    client, token = app.test_client(), jam.issue_tokens("ann")["access_token"]
    assert client.get("/", headers=bearer(token)).status_code == 403
    invited.append("ann")
    assert client.get("/", headers=bearer(token)).status_code == 200


# --- classes that inherit guards ---------------------------------------------------------------


@jwt_required
class LoggedIn(MethodView):
    def get(self) -> str:
        return "in"


@jwt_required(roles={"admin"})
class AdminOnly(MethodView):
    def get(self) -> str:
        return "in"


@public
class Opened(MethodView):
    def get(self) -> str:
        return "in"


def test_a_class_below_a_public_one_is_not_public(app: Flask) -> None:
    class Below(Opened):
        pass

    protect(app, jwt_required)
    for cls in (Opened, Below):
        app.add_url_rule(f"/{cls.__name__}", view_func=cls.as_view(cls.__name__))
    client = app.test_client()
    assert [client.get(path).status_code for path in ("/Opened", "/Below")] == [200, 401]


def test_every_guard_of_the_base_classes_counts(app: Flask, jam: Jam) -> None:
    class Delete(LoggedIn, AdminOnly):
        pass

    class Turned(AdminOnly, LoggedIn):
        pass

    @jwt_required(scopes={"write"})
    class Own(Delete):
        decorators: tuple[Any, ...] = ()

        @classmethod
        def as_view(cls, name: str, *args: Any, **kwargs: Any) -> Any:
            return super().as_view(name, *args, **kwargs)

    for cls in (Delete, Turned, Own):
        app.add_url_rule(f"/{cls.__name__}", view_func=cls.as_view(cls.__name__))
    client = app.test_client()
    reader, admin = bearer(token_of(jam)), bearer(token_of(jam, roles={"admin"}))
    writer = bearer(token_of(jam, roles={"admin"}, scopes={"write"}))
    for path, statuses in (("/Delete", (401, 403, 200, 200)), ("/Turned", (401, 403, 200, 200)),
                           ("/Own", (401, 403, 403, 200))):  # fmt: skip
        found = [client.get(path, headers=each).status_code for each in ({}, reader, admin, writer)]
        assert tuple(found) == statuses, path


def test_public_and_guarded_base_classes_are_a_contradiction() -> None:
    for bases in ((Opened, LoggedIn), (LoggedIn, Opened)):
        both = type("Both", bases, {})
        with pytest.raises(ConfigError, match="public and from one that is guarded"):
            both.as_view("both")


def test_an_as_view_that_leaves_out_an_inherited_guard_is_an_error(app: Flask) -> None:
    class Lost(LoggedIn):
        @classmethod
        def as_view(cls, name: str, *args: Any, **kwargs: Any) -> Any:
            return View.as_view.__func__(cls, name)  # type: ignore[attr-defined]

    app.add_url_rule("/", view_func=Lost.as_view("lost"))
    app.testing = True
    with pytest.raises(ConfigError, match="as_view leaves out"):
        app.test_client().get("/")
