"""Who is asking, at any moment of a request: lazily, once per scheme, and one person only."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from flask import (
    Blueprint,
    Flask,
    abort,
    current_app,
    g,
    render_template_string,
    stream_with_context,
)
from flask.testing import FlaskClient
from jinja2 import DictLoader

from flask_jam import (
    Jam,
    SchemeExtension,
    SessionExtension,
    StoreUnavailable,
    current_auth,
    jwt_required,
    protect,
    public,
    session_required,
    signals,
)
from flask_jam._request.current_auth import current_auth_in_template
from flask_jam.audit import open_routes
from flask_jam.schemes import Accepted

from ..cases import each_case
from ..conftest import Clock, bearer, new_app
from ..schemes.test_interface import HeaderScheme


def who() -> str:
    auth = current_auth()
    assert (g.payload is None) is (auth is None)
    return f"{auth.scheme}:{auth.subject}" if auth else "anonymous"


def token(jam: Jam, subject: str = "ann", **claims: Any) -> dict[str, str]:
    return bearer(jam.issue_tokens(subject, **claims)["access_token"])


@pytest.fixture
def app(jam: Jam) -> Flask:
    """Hooks that note the caller, and a route of each posture."""
    app = new_app(jam)
    seen: list[str] = []
    app.extensions["seen"] = seen
    app.url_value_preprocessor(lambda *_: seen.append(who()))
    app.before_request(lambda: seen.append(who()))
    app.after_request(lambda response: (seen.append(who()), response)[1])
    app.add_url_rule("/guarded", "guarded", jwt_required(who))
    app.add_url_rule("/admin", "admin", jwt_required(roles={"admin"})(who))
    app.add_url_rule("/session", "session", session_required(who), methods=["GET", "POST"])
    app.add_url_rule("/either", "either", (session_required | jwt_required)(who))
    app.add_url_rule("/public", "public", public(lambda: who()), methods=["GET", "POST"])
    app.add_url_rule("/open", "open", who, methods=["GET", "POST"])
    for code in (400, 401, 403, 404, 405):
        app.register_error_handler(code, lambda error: (f"{error.code} for {who()}", error.code))
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def seen(app: Flask) -> list[str]:
    found: list[str] = app.extensions["seen"]
    return found


# --- everywhere --------------------------------------------------------------------------------


@each_case(
    ("path", "method", "answer"),
    [
        ("/guarded", "GET", "jwt:ann"),
        ("/public", "GET", "jwt:ann"),
        ("/open", "GET", "jwt:ann"),
        ("/nowhere", "GET", "404 for jwt:ann"),
        ("/guarded", "DELETE", "405 for jwt:ann"),
        ("/admin", "GET", "403 for jwt:ann"),
        ("/static/none.css", "GET", "404 for jwt:ann"),
    ],
)
def test_the_caller_is_known_in_every_hook_view_and_handler(
    app: Flask, client: FlaskClient, jam: Jam, path: str, method: str, answer: str
) -> None:
    assert client.open(path, method=method, headers=token(jam)).text == answer
    assert set(seen(app)) == {"jwt:ann"}
    assert len(seen(app)) >= 2


@each_case("path", ["/guarded", "/public", "/open", "/nowhere", "/admin", "/session"])
def test_a_bad_credential_is_no_caller_anywhere(
    app: Flask, client: FlaskClient, jam: Jam, path: str
) -> None:
    client.set_cookie("sessionId", jam.create_session("bob", {}))
    client.get(path, headers=bearer("a.b.c"))
    # A guard's own scheme comes first, and there the token is not looked at.
    expected = "session:bob" if path == "/session" else "anonymous"
    assert set(seen(app)) == {expected}


def test_the_guards_own_schemes_come_first(app: Flask, client: FlaskClient, jam: Jam) -> None:
    client.set_cookie("sessionId", jam.create_session("bob", {}))
    for path, expected in (("/session", "session:bob"), ("/guarded", "jwt:ann"),
                           ("/open", "jwt:ann"), ("/public", "jwt:ann")):  # fmt: skip
        seen(app).clear()
        assert client.get(path, headers=token(jam)).text == expected
        assert set(seen(app)) == {expected}


def test_the_schemes_of_protect_come_first_and_not_on_public_views(jam: Jam) -> None:
    app = new_app(jam)
    protect(app, session_required)
    gate: list[str] = []
    app.before_request(lambda: gate.append(who()))
    app.add_url_rule("/closed", "closed", who)
    app.add_url_rule("/public", "public", public(lambda: who()))
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("bob", {}))
    assert client.get("/closed", headers=token(jam)).text == "session:bob"
    assert client.get("/public", headers=token(jam)).text == "jwt:ann"
    assert gate == ["session:bob", "jwt:ann"]


def test_templates_and_imported_macros_know_the_caller(jam: Jam) -> None:
    app = new_app(jam)
    app.jinja_loader = DictLoader(  # type: ignore[assignment]
        {
            "nav.html": "{% macro nav() %}"
            "{{ current_auth().subject if current_auth() }}{% endmacro %}"
        }
    )
    source = "{% import 'nav.html' as n %}{{ n.nav() }}/{{ current_auth().subject }}"
    app.add_url_rule("/", "page", public(lambda: render_template_string(source)))
    assert app.test_client().get("/", headers=token(jam)).text == "ann/ann"


def test_the_template_global_keeps_the_apps_own_environment(jam: Jam) -> None:
    app = Flask("later")
    app.jinja_env.globals["own"] = 1
    SessionExtension(jam, app)
    assert app.jinja_env.globals["own"] == 1
    assert app.jinja_env.globals["current_auth"] is current_auth_in_template
    other = new_app(jam)
    other.jinja_options = {"trim_blocks": True}
    assert other.jinja_env.trim_blocks


def test_a_receiver_of_rejected_knows_whom_the_guard_refused(app: Flask, jam: Jam) -> None:
    heard: list[tuple[str, str | None]] = []

    def receive(_app: Flask, *, subject: str | None, **_: Any) -> None:
        heard.append((who(), subject))

    with signals.rejected.connected_to(receive, app):
        client = app.test_client()
        client.get("/admin", headers=token(jam))
        client.get("/guarded", headers=bearer("a.b.c"))
        client.get("/guarded")
    assert heard == [("jwt:ann", "ann"), ("anonymous", None), ("anonymous", None)]


def test_asking_refuses_nothing_and_emits_nothing(app: Flask, jam: Jam) -> None:
    heard: list[Any] = []
    with signals.rejected.connected_to(lambda *_a, **_k: heard.append(1), app):
        for headers in (bearer("a.b.c"), bearer(""), {"Cookie": "sessionId=x; sessionId=y"}):
            assert app.test_client().get("/open", headers=headers).status_code == 200
            assert app.test_client().get("/public", headers=headers).status_code == 200
    assert heard == []


# --- lazily and once ---------------------------------------------------------------------------


class Reads:
    """Counts what the store is asked for."""

    def __init__(self, jam: Jam, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.down = False
        for name in ("marks", "read_session"):
            monkeypatch.setattr(jam.store, name, self._counted(getattr(jam.store, name)))

    def _counted(self, read: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any) -> Any:
            self.count += 1
            if self.down:
                raise StoreUnavailable
            return read(*args)

        return counted


@each_case("path", ["/guarded", "/public", "/open", "/nowhere", "/admin", "/session", "/either"])
def test_a_scheme_is_asked_once_however_often_the_request_asks(
    app: Flask, client: FlaskClient, jam: Jam, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.set_cookie("sessionId", jam.create_session("ann", {}))
    headers = token(jam)
    reads = Reads(jam, monkeypatch)
    client.get(path, headers=headers)
    assert 1 <= reads.count <= 2  # one for each scheme at most
    assert len(seen(app)) >= 2


def test_a_public_view_that_asks_nothing_asks_the_store_nothing(
    jam: Jam, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = new_app(jam)
    app.add_url_rule("/", "open", public(lambda: "open"))
    reads = Reads(jam, monkeypatch)
    assert app.test_client().get("/", headers=token(jam)).text == "open"
    assert reads.count == 0


# --- one person --------------------------------------------------------------------------------


def confirmed_only(app: Flask) -> None:
    """A gate as apps have it: a known user must have confirmed an address."""

    @app.before_request
    def gate() -> None:
        auth = current_auth()
        if auth is not None and not auth.payload.get("confirmed"):
            abort(403)


ALICE = {"confirmed": False}


def enforcing(guard: Any) -> Callable[[], str]:
    def view() -> str:
        guard.enforce()
        return who()

    return view


@each_case("junk", ["Bearer a.b.c", "Bearer", "Bearer x y"])
def test_a_bad_credential_opens_no_gate(jam: Jam, junk: str) -> None:
    app = new_app(jam)
    confirmed_only(app)
    app.add_url_rule("/s", "s", session_required(who))
    app.add_url_rule("/e", "e", (session_required | jwt_required)(who))
    app.add_url_rule("/in", "in", enforcing(session_required))
    app.add_url_rule("/never", "never", enforcing(session_required(roles={"x"})))
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("alice", ALICE))
    for path in ("/s", "/e", "/in", "/never"):
        assert client.get(path).status_code == 403, path
        refused = client.get(path, headers={"Authorization": junk}).status_code
        assert refused in (400, 401, 403), path


def test_the_token_of_another_beside_a_cookie_opens_no_gate(jam: Jam) -> None:
    app = new_app(jam)
    confirmed_only(app)
    app.add_url_rule("/s", "s", session_required(who))
    app.add_url_rule("/in", "in", enforcing(session_required))
    app.add_url_rule("/either", "either", (jwt_required(roles={"x"}) | session_required)(who))
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("alice", ALICE))
    bob = token(jam, "bob", confirmed=True)
    assert client.get("/s", headers=bob).status_code == 403  # the gate sees alice
    for path in ("/in", "/either"):  # the gate saw bob, the guard would let in alice
        answer = client.get(path, headers=bob)
        assert (answer.status_code, answer.json["error"]) == (400, "invalid_request"), path


def test_two_schemes_of_one_person_are_fine(jam: Jam) -> None:
    app = new_app(jam)
    app.before_request(lambda: print(end="") if current_auth() else None)
    app.add_url_rule("/in", "in", enforcing(session_required))
    app.add_url_rule("/both", "both", jwt_required(session_required(who)))
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("ann", {}))
    for path in ("/in", "/both"):
        assert client.get(path, headers=token(jam)).text == "session:ann"


def test_tokens_without_a_subject_are_no_proof_of_one_person(jam: Jam) -> None:
    app = new_app(jam)
    app.add_url_rule("/both", "both", jwt_required(session_required(who)))
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("ann", {}))
    anonymous = bearer(jam.gen_jwt_token(jam.make_payload(user=1)))
    assert client.get("/both", headers=anonymous).status_code == 400


def test_two_credentials_without_a_subject_are_refused(jam: Jam) -> None:
    app, scheme = new_app(jam), HeaderScheme()
    scheme.result = Accepted("key", "header", None, {})
    required = SchemeExtension(scheme, jam, app).required
    app.add_url_rule("/both", "both", jwt_required(required(who)))
    headers = {"X-Key": "any", **bearer(jam.gen_jwt_token({}))}
    assert app.test_client().get("/both", headers=headers).status_code == 400


def test_a_store_that_was_down_for_the_gate_is_down_for_the_view(
    jam: Jam, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = new_app(jam)
    reads = Reads(jam, monkeypatch)
    confirmed_only(app)
    # The store is back when the guard decides.
    app.before_request(lambda: setattr(reads, "down", False))
    app.add_url_rule("/s", "s", session_required(who))
    app.add_url_rule("/jwt", "jwt", jwt_required(who))
    app.add_url_rule("/in", "in", enforcing(session_required))
    app.add_url_rule("/open", "open", who)
    client = app.test_client()
    headers = token(jam, "alice", confirmed=False)
    client.set_cookie("sessionId", jam.create_session("alice", ALICE))
    for path in ("/s", "/jwt", "/in"):
        reads.down = True
        answer = client.get(path, headers=headers)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1"), path
    reads.down = True
    assert client.get("/open", headers=headers).text == "anonymous"


def test_a_login_in_the_request_is_the_caller_from_then_on(jam: Jam) -> None:
    app = new_app(jam)
    session = SessionExtension(jam, Flask("other"))
    session = app.extensions["flask_jam"].owners["session"]
    before: list[str] = []
    app.before_request(lambda: before.append(who()))

    def login() -> str:
        session.login("bob", {})
        session_required.enforce()
        return who()

    def logout() -> str:
        session.logout()
        return who()

    app.add_url_rule("/login", "login", public(login), methods=["POST"])
    app.add_url_rule("/logout", "logout", public(logout), methods=["POST"])
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("ann", {}))
    assert client.post("/login").text == "session:bob"
    assert client.post("/logout").text == "anonymous"
    assert before == ["session:ann", "session:bob"]


# --- ambient credentials -----------------------------------------------------------------------

FOREIGN = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}


@each_case("path", ["/public", "/open", "/session"])
def test_a_cookie_of_a_cross_site_request_is_no_caller(
    app: Flask, client: FlaskClient, jam: Jam, path: str
) -> None:
    client.set_cookie("sessionId", jam.create_session("ann", {}))
    client.post(path, headers=FOREIGN)
    assert set(seen(app)) == {"anonymous"}
    seen(app).clear()
    client.get(path, headers={**FOREIGN, "Upgrade": "websocket", "Connection": "Upgrade"})
    assert set(seen(app)) == {"anonymous"}
    seen(app).clear()
    client.get(path, headers=FOREIGN)  # a link from another site
    assert set(seen(app)) == {"session:ann"}


# --- recipes -----------------------------------------------------------------------------------


def test_step_up_under_protect_keeps_the_data_of_the_session(jam: Jam, clock: Clock) -> None:
    app = new_app(jam)
    session = app.extensions["flask_jam"].owners["session"]
    protect(app, session_required)

    def login() -> Any:
        auth = current_auth()
        kept = auth.payload if auth is not None and auth.subject == "ann" else {}
        return session.login("ann", {**kept, "name": "Ann"})

    app.add_url_rule("/login", "login", public(login), methods=["POST"])
    app.add_url_rule("/", "home", public(lambda: f"Hello {who()}"))
    app.add_url_rule("/danger", "danger", session_required(max_age=300)(lambda: g.payload))
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("ann", {"cart": [1]}))
    clock.tick(301)
    assert client.get("/danger").status_code == 401
    assert client.get("/").text == "Hello session:ann"
    client.post("/login")
    assert client.get("/danger").json == {"cart": [1], "name": "Ann"}
    assert open_routes(app) == []


# --- checks cannot lie -------------------------------------------------------------------------


def test_a_check_cannot_change_what_the_next_one_sees(jam: Jam) -> None:
    app = new_app(jam)

    def grant(payload: dict[str, Any]) -> bool:
        payload.setdefault("roles", []).append("admin")
        payload["deep"]["x"] = 1
        return False

    guard = jwt_required(check=grant) | session_required(roles={"admin"})
    app.add_url_rule("/", "view", guard(who))
    app.add_url_rule("/own", "own", jwt_required(check=lambda p: not grant(p))(lambda: g.payload))
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("ann", {"deep": {}}))
    headers = token(jam, deep={})
    assert client.get("/", headers=headers).status_code == 403
    assert client.get("/own", headers=headers).json["deep"] == {}


def test_a_check_that_logs_the_user_out_does_not_let_in(jam: Jam) -> None:
    app = new_app(jam)
    session = app.extensions["flask_jam"].owners["session"]

    def check(_payload: dict[str, Any]) -> bool:
        session.logout()
        return True

    app.add_url_rule("/", "view", session_required(check=check)(who))
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("ann", {}))
    assert client.get("/").status_code == 401


def test_a_blueprint_and_a_stream_know_the_caller(jam: Jam) -> None:
    app, pages = new_app(jam), Blueprint("pages", __name__)
    pages.before_request(lambda: None if who() == "jwt:ann" else abort(418))

    @pages.get("/stream")
    def stream() -> Any:
        return current_app.response_class(stream_with_context(iter([who(), who()])))

    app.register_blueprint(pages)
    assert app.test_client().get("/stream", headers=token(jam)).text == "jwt:annjwt:ann"


# --- found by attacking it ---------------------------------------------------------------------

BANNED = {"banned": True}


def ban(app: Flask) -> list[str]:
    """A gate that shuts out banned users; what it saw."""
    gate: list[str] = []

    @app.before_request
    def gate_() -> None:
        auth = current_auth()
        gate.append(who())
        if auth is not None and auth.payload.get("banned"):
            abort(403)

    return gate


@each_case("how", ["protect", "hook"])
def test_an_optional_guard_before_a_gate_settles_nothing(jam: Jam, how: str) -> None:
    app = new_app(jam)
    if how == "protect":
        protect(app, jwt_required(optional=True))
    else:
        app.before_request(jwt_required(optional=True).enforce)
    gate = ban(app)
    app.add_url_rule("/staff", "staff", session_required(who))
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("alice", BANNED))
    assert client.get("/staff").status_code == 403
    assert gate == ["session:alice"]


def test_an_optional_guard_between_two_people_hides_neither(jam: Jam) -> None:
    app = new_app(jam)
    gate = ban(app)
    either = session_required(roles={"admin"}) | jwt_required
    app.add_url_rule("/", "view", session_required(roles={"x"}, optional=True)(either(who)))
    app.add_url_rule("/k", "k", jwt_required(scopes={"k"}, optional=True)(either(who)))
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("alice", {}))
    for path in ("/", "/k"):
        assert client.get(path, headers=token(jam, "bob")).status_code in (400, 403), path
    assert gate == ["session:alice", "jwt:bob"]


def test_the_context_of_another_app_answers_none_and_settles_nothing(
    jam: Jam, make_jam: Any
) -> None:
    app, other = new_app(jam), new_app(make_jam())

    @app.before_request
    def task_in_its_own_app() -> None:
        with other.app_context():
            assert current_auth() is None

    gate = ban(app)
    app.add_url_rule("/me", "me", session_required(lambda: (who(), {"Cache-Control": "public"})))
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("alice", {}))
    answer = client.get("/me")
    assert (answer.text, answer.headers["Cache-Control"]) == ("session:alice", "private")
    client.set_cookie("sessionId", jam.create_session("bob", BANNED))
    assert client.get("/me").status_code == 403
    assert gate == ["session:alice", "session:bob"]


def test_the_context_of_another_app_knows_nobody_on_the_same_jam(jam: Jam) -> None:
    app, other = new_app(jam), new_app(jam)

    def view() -> str:
        with other.app_context():
            return who()

    app.add_url_rule("/", "view", view)
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("ann", {}))
    assert client.get("/").text == "anonymous"


def test_logout_of_one_scheme_leaves_the_user_of_another_known(jam: Jam) -> None:
    app = new_app(jam)
    session = app.extensions["flask_jam"].owners["session"]
    view = jwt_required(lambda: (session.logout(), who())[1])
    app.add_url_rule("/", "view", view, methods=["POST"])
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("ann", {}))
    assert client.post("/", headers=token(jam)).text == "jwt:ann"


def test_a_scheme_that_fails_once_fails_for_the_whole_request(jam: Jam) -> None:
    from flask_jam import SchemeExtension
    from flask_jam.schemes import MISSING, Accepted, Credential, Scheme

    class Hiccup(Scheme):
        name = "key"
        calls = 0

        def find(self, request: Any) -> Any:
            value = request.headers.get("X-Key")
            return Credential("key", "header", value) if value else MISSING

        def authenticate(self, credential: Any, request: Any) -> Any:
            Hiccup.calls += 1
            if Hiccup.calls == 1:
                raise ConnectionError
            return Accepted("key", credential.source, credential.value, BANNED)

    app = new_app(jam)
    required = SchemeExtension(Hiccup(), jam, app).required

    @app.before_request
    def a_limiter_that_swallows_errors() -> None:
        with contextlib.suppress(ConnectionError):
            current_auth()

    app.add_url_rule("/me", "me", required(who))
    assert app.test_client().get("/me", headers={"X-Key": "alice"}).status_code == 500
    assert Hiccup.calls == 1


def test_a_scheme_that_asks_who_asks_is_run_once_and_sees_no_caller(jam: Jam) -> None:
    from flask_jam import SchemeExtension
    from flask_jam.schemes import Accepted, Credential, Scheme

    inside: list[Any] = []

    class Asking(Scheme):
        name = "asking"

        def find(self, request: Any) -> Any:
            return Credential("asking", "header", "x")

        def authenticate(self, credential: Any, request: Any) -> Any:
            inside.append(current_auth())
            return Accepted("asking", "header", None, {})

    app = new_app(jam)
    required = SchemeExtension(Asking(), jam, app).required
    app.add_url_rule("/", "view", required(lambda: "in"))
    assert app.test_client().get("/").text == "in"
    assert inside == [None]


def test_parallel_questions_of_one_request_see_the_same_caller(
    jam: Jam, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time
    from concurrent.futures import ThreadPoolExecutor

    from flask import copy_current_request_context

    app = new_app(jam)
    read = jam.store.read_session
    monkeypatch.setattr(jam.store, "read_session", lambda *a: (time.sleep(0.05), read(*a))[1])

    def view() -> str:
        with ThreadPoolExecutor(4) as pool:
            runs = [pool.submit(copy_current_request_context(who)) for _ in range(4)]
            return ",".join(sorted({run.result() for run in runs}))

    app.add_url_rule("/", "view", view)
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("ann", {}))
    assert client.get("/").text == "session:ann"


def test_what_is_remembered_of_methods_has_a_bound(jam: Jam) -> None:
    from werkzeug.routing import Rule

    app = new_app(jam)
    app.url_map.add(Rule("/any", endpoint="any"))
    app.view_functions["any"] = who
    client = app.test_client()
    for number in range(50):
        client.open("/any", method=f"M{number}", headers=token(jam))
    assert len(app.extensions["flask_jam"]._orders) <= 2
