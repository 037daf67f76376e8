"""What real use has shown: ``g``, templates, chunked bodies, ``next=/logout`` and step-up."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from flask import Flask, g, redirect, render_template_string, request
from flask.testing import FlaskClient
from jinja2 import StrictUndefined
from werkzeug.serving import make_server

from flask_jam import (
    Jam,
    JamExtension,
    JWTExtension,
    SessionExtension,
    StoreUnavailable,
    TokenError,
    jwt_required,
    public,
    safe_next,
    session_required,
)

from ..cases import each_case
from ..conftest import Clock, bearer, build_app, new_app
from ..servers import HOST

MakeJam = Callable[..., Jam]
PAGE = {"Accept": "text/html"}


def access(jam: Jam, subject: str = "ann") -> str:
    token: str = jam.issue_tokens(subject)["access_token"]
    return token


def works(jam: Jam, token: str) -> bool:
    app = jam_app(jam)
    return app.test_client().get("/", headers=bearer(token)).status_code == 200


def jam_app(jam: Jam) -> Flask:
    app = Flask("checks")
    JWTExtension(jam, app)
    app.add_url_rule("/", "view", jwt_required(lambda: "in"))
    return app


# --- g ----------------------------------------------------------------------------------------


def answers(app: Flask, view: Callable[[], Any], headers: dict[str, str] | None = None) -> Any:
    """What a view returns, in a request of its own."""
    found: list[Any] = []
    app.add_url_rule("/it", "it", public(lambda: (found.append(view()), "")[1]))
    assert app.test_client().get("/it", headers=headers).status_code == 200
    return found[0]


def test_payload_is_in_g_for_anonymous_and_known_users(jam: Jam) -> None:
    for headers in ({}, bearer(access(jam))):

        def view() -> Any:
            g.own = 1
            return "payload" in g, sorted(g), "own" in g, "other" in g

        assert answers(new_app(jam), view, headers) == (True, ["own", "payload"], True, False)


def test_an_assigned_payload_is_in_g_once(jam: Jam) -> None:
    app = new_app(jam)
    with app.app_context():
        g.payload = "outer"
        assert list(g) == ["payload"]

        def view() -> Any:
            g.payload = "inner"
            return list(g)

        assert answers(app, view) == ["payload"]


def test_defaults_stand_for_the_payload_of_an_anonymous_visitor(jam: Jam) -> None:
    def view() -> Any:
        got = g.get("payload", {}), g.get("payload"), g.pop("payload", {}), g.pop("payload")
        return *got, g.payload, g.setdefault("payload", {"n": 1}), g.payload, g.get("payload", 5)

    expected = ({}, None, {}, None, None, {"n": 1}, {"n": 1}, {"n": 1})
    assert answers(new_app(jam), view) == expected


def test_defaults_are_ignored_where_a_user_is_known(jam: Jam) -> None:
    def view() -> Any:
        found = g.get("payload", {}), g.setdefault("payload", {}), g.pop("payload", {}), g.payload
        return [each["sub"] for each in found]

    assert answers(new_app(jam), view, bearer(access(jam))) == ["ann"] * 4


@each_case("forget", [lambda: g.pop("payload"), lambda: delattr(g, "payload")], ids=["pop", "del"])
def test_pop_and_del_undo_an_assignment_and_break_no_read(
    jam: Jam, forget: Callable[[], Any]
) -> None:
    def view() -> Any:
        forget()
        g.payload = {"sub": "own"}
        first = g.payload["sub"]
        forget()
        forget()
        return first, g.payload and g.payload["sub"], "payload" in g

    assert answers(new_app(jam), view, bearer(access(jam))) == ("own", "ann", True)
    assert answers(new_app(jam), view) == ("own", None, True)


def test_pop_returns_what_was_assigned(jam: Jam) -> None:
    def view() -> Any:
        g.payload = {"sub": "own"}
        return g.pop("payload"), g.pop("payload")

    assert answers(new_app(jam), view) == ({"sub": "own"}, None)


def test_outside_of_a_request_payload_is_a_plain_name(jam: Jam) -> None:
    with new_app(jam).app_context():
        assert g.payload is None
        assert ("payload" in g, list(g), g.get("payload", 5)) == (False, [], 5)
        with pytest.raises(KeyError):
            g.pop("payload")
        with pytest.raises(AttributeError):
            del g.payload
        assert g.pop("payload", 5) == 5
        assert (g.setdefault("payload", 1), g.payload, list(g)) == (1, 1, ["payload"])
        g.payload = 2
        assert (g.payload, g.get("payload"), g.pop("payload"), g.payload) == (2, 2, 2, None)


def test_the_names_of_others_in_g_behave_as_in_flask(jam: Jam) -> None:
    def view() -> Any:
        with pytest.raises(KeyError):
            g.pop("other")
        with pytest.raises(AttributeError):
            del g.other
        g.other = 1
        got = g.setdefault("other", 2), g.get("other"), g.pop("other"), g.pop("other", 3)
        return *got, g.setdefault("other", 4), g.other

    assert answers(new_app(jam), view) == (1, 1, 1, 3, 4, 4)


def test_the_repr_of_g_is_that_of_flask_and_asks_nothing(jam: Jam, monkeypatch: Any) -> None:
    def verify(_token: str) -> None:
        raise AssertionError

    monkeypatch.setattr(jam.verifier, "verify", verify)
    app = new_app(jam)
    assert answers(app, lambda: repr(g), bearer("a.b.c")) == "<flask.g of 'app_under_test'>"
    with app.app_context():
        outer = g._get_current_object()
    assert "Globals" in repr(outer)
    assert "locals" not in repr(outer)


def test_nothing_of_g_leaks_into_the_next_request(jam: Jam) -> None:
    app = new_app(jam)
    steps: dict[str, Callable[[], Any]] = {
        "set": lambda: setattr(g, "payload", "mine"),
        "default": lambda: g.setdefault("payload", "mine"),
        "pop": lambda: g.pop("payload"),
        "read": lambda: g.payload and g.payload["sub"],
        "iterated": lambda: list(g),
    }
    app.add_url_rule("/<step>", "step", public(lambda step: {"it": steps[step]()}))
    with app.app_context():
        client = app.test_client()
        for step in ("set", "default", "pop", "iterated"):
            client.get(f"/{step}")
            assert client.get("/read").json == {"it": None}
            assert client.get("/read", headers=bearer(access(jam))).json == {"it": "ann"}
        assert "payload" not in g
        assert g.payload is None


# --- templates --------------------------------------------------------------------------------

EMPTY = [
    "{{ current_auth() }}",
    "{{ current_auth().subject }}",
    "{{ current_auth().payload.name }}",
    "{{ current_auth().payload['name'].first }}",
    "{{ current_auth().payload.get('name') }}",
    "{{ current_auth().payload.name | upper }}",
    "{% if current_auth() %}in{% endif %}",
    "{% if current_auth() is defined %}in{% endif %}",
    "{% for role in current_auth().payload.roles %}{{ role }}{% endfor %}",
    "{% if 'admin' in current_auth().payload.roles %}in{% endif %}",
    "{% if current_auth().subject == none %}in{% endif %}",
]


@each_case("strict", [False, True])
@each_case("source", EMPTY)
def test_a_template_is_empty_for_an_anonymous_visitor(jam: Jam, source: str, strict: bool) -> None:
    app = new_app(jam)
    if strict:
        app.jinja_options = {"undefined": StrictUndefined}
    app.add_url_rule("/", "page", public(lambda: render_template_string(source)))
    answer = app.test_client().get("/")
    assert (answer.status_code, answer.text) == (200, "")


def test_a_default_stands_for_what_is_empty(jam: Jam) -> None:
    app = new_app(jam)
    source = "{{ current_auth().payload.name | default('guest') }}"
    app.add_url_rule("/", "page", public(lambda: render_template_string(source)))
    assert app.test_client().get("/").text == "guest"


def test_a_template_knows_a_user_as_before(jam: Jam) -> None:
    app = new_app(jam)
    source = "{% if current_auth() %}{{ current_auth().payload.name }}{% endif %}"
    app.add_url_rule("/", "page", public(lambda: render_template_string(source)))
    token = jam.issue_tokens("ann", name="Ann <3")["access_token"]
    assert app.test_client().get("/", headers=bearer(token)).text == "Ann &lt;3"


# --- chunked bodies ---------------------------------------------------------------------------


@pytest.fixture
def served(jam: Jam) -> Iterator[tuple[Flask, int]]:
    app = build_app(jam)
    server = make_server(HOST, 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield app, server.server_port
    server.shutdown()
    thread.join(10)
    server.server_close()


def post_chunked(port: int, kind: str, *parts: bytes, cookie: str = "") -> tuple[int, Any]:
    """Send a body as dart:io does: in chunks, and without a length."""
    link = http.client.HTTPConnection(HOST, port, timeout=10)
    headers = {"Content-Type": kind, "Transfer-Encoding": "chunked", "Cookie": cookie}
    link.request("POST", "/refresh", iter(parts), headers, encode_chunked=True)
    answer = link.getresponse()
    found = answer.status, json.loads(answer.read())
    link.close()
    return found


def encoded(kind: str, **fields: str) -> bytes:
    return (json.dumps(fields) if kind.endswith("json") else urlencode(fields)).encode()


KINDS = ["application/json", "application/x-www-form-urlencoded"]


@each_case("kind", KINDS)
def test_a_chunked_refresh_works(served: tuple[Flask, int], jam: Jam, kind: str) -> None:
    pair = jam.issue_tokens("ann")
    body = encoded(kind, refresh_token=pair["refresh_token"])
    status, answer = post_chunked(served[1], kind, body[:7], body[7:40], body[40:])
    assert status == 200
    assert jam.verify_jwt_token(answer["access_token"])["sub"] == "ann"


def test_a_chunked_multipart_form_works(served: tuple[Flask, int], jam: Jam) -> None:
    token = jam.issue_tokens("ann")["refresh_token"]
    body = (
        f'--b\r\nContent-Disposition: form-data; name="refresh_token"\r\n\r\n{token}\r\n--b--\r\n'
    )
    status, _ = post_chunked(served[1], "multipart/form-data; boundary=b", body.encode())
    assert status == 200


@each_case("kind", KINDS)
@each_case(("size", "status"), [(16384, 200), (16385, 400), (40000, 400)])
def test_a_chunked_body_is_bounded(
    served: tuple[Flask, int], jam: Jam, kind: str, size: int, status: int
) -> None:
    fields = {"refresh_token": jam.issue_tokens("ann")["refresh_token"], "pad": ""}
    fields["pad"] = "x" * (size - len(encoded(kind, **fields)))
    body = encoded(kind, **fields)
    assert len(body) == size
    parts = [body[n : n + 5000] for n in range(0, size, 5000)]
    assert post_chunked(served[1], kind, *parts)[0] == status


@each_case(("body", "status"), [(b"", 400), (b"{", 400), (b"[]", 400), (b"{}", 401)])
def test_a_chunked_body_without_a_refresh_token_is_refused(
    served: tuple[Flask, int], body: bytes, status: int
) -> None:
    assert post_chunked(served[1], "application/json", *filter(None, [body]))[0] == status


def test_chunks_that_no_server_can_read_are_refused(served: tuple[Flask, int]) -> None:
    lines = "POST /refresh HTTP/1.1", f"Host: {HOST}", "Content-Type: application/json"
    head = "\r\n".join([*lines, "Transfer-Encoding: chunked", "", "zz\r\n{}\r\n0\r\n\r\n"])
    with socket.create_connection((HOST, served[1]), timeout=10) as link:
        link.sendall(head.encode())
        assert link.recv(100).split(b" ")[1] == b"400"


@each_case("read", ["get_data", "form", "json"])
def test_a_chunked_body_that_a_hook_has_read_works(
    served: tuple[Flask, int], jam: Jam, read: str
) -> None:
    kind = KINDS[read == "form"]
    served[0].before_request(lambda: (request.get_data() if read == "get_data" else
                                      getattr(request, read), None)[1])  # fmt: skip
    body = encoded(kind, refresh_token=jam.issue_tokens("ann")["refresh_token"])
    assert post_chunked(served[1], kind, body)[0] == 200


def test_a_chunked_body_is_there_after_the_refresh(jam: Jam) -> None:
    app = build_app(jam)
    seen: list[str] = []
    app.after_request(lambda response: (seen.append(request.form["n"]), response)[1])
    body = urlencode({"refresh_token": jam.issue_tokens("ann")["refresh_token"], "n": "1"})
    client = app.test_client()
    answer = client.post("/refresh", **chunked(body.encode(), KINDS[1]))
    assert (answer.status_code, seen) == (200, ["1"])


def chunked(body: bytes, kind: str) -> dict[str, Any]:
    from io import BytesIO

    environ = {"wsgi.input": BytesIO(body), "wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
    return {"environ_overrides": environ, "headers": {"Content-Type": kind}}


@each_case("body", [b"", b'{"refresh_token": ""}'])
def test_a_chunked_body_without_a_token_leaves_it_to_the_cookie(jam: Jam, body: bytes) -> None:
    client = build_app(jam, cookie_name="token").test_client()
    pair = client.post("/login/ann").json
    assert client.post("/refresh", **chunked(body, KINDS[0])).status_code == 200
    other = jam.issue_tokens("bob")["refresh_token"]
    sent = encoded(KINDS[0], refresh_token=other)
    answer = client.post("/refresh", **chunked(sent, KINDS[0]))
    assert jam.verify_jwt_token(answer.json["access_token"])["sub"] == "bob"
    assert pair


def test_max_content_length_of_the_app_is_a_400_too(jam: Jam) -> None:
    app = build_app(jam)
    app.config["MAX_CONTENT_LENGTH"] = 100
    body = encoded(KINDS[0], refresh_token=jam.issue_tokens("ann")["refresh_token"], pad="x" * 100)
    assert app.test_client().post("/refresh", **chunked(body, KINDS[0])).status_code == 400


# --- next=/logout -----------------------------------------------------------------------------

LOGS_OUT = [
    "/logout", "/LogOut", "/log-out", "/log_out", "/signout", "/Sign-Out", "/sign_out",
    "/auth/logout", "/auth/logout/", "/logout?a=1", "/logout#x", "/lo%67out", "/a%2Flogout",
    "/logout/.", "/logout/x/..", "/a//logout",
]  # fmt: skip
STAYS = ["/logouts", "/logout-help", "/logout/everywhere", "/blog_outro", "/?next=/logout", "/out"]


@pytest.fixture
def pages(make_jam: MakeJam) -> FlaskClient:
    app = Flask("pages")
    session = SessionExtension(make_jam(login_view="login"), app)

    @app.route("/login", methods=["GET", "POST"])
    @public
    def login() -> Any:
        if request.method == "POST":
            session.login("ann")
            return redirect(safe_next("/home"), 303)
        return "the form"

    @app.get("/<path:path>")
    @session_required
    def page(path: str) -> str:
        if path.endswith("logout"):
            session.logout()
        return path

    return app.test_client()


@each_case("path", [path for path in LOGS_OUT if "#" not in path and "/." not in path])
def test_a_guarded_logout_is_no_page_to_come_back_to(pages: FlaskClient, path: str) -> None:
    assert pages.get(path, headers=PAGE).location == "/login"
    sent = {**PAGE, "HX-Request": "true", "HX-Current-URL": f"http://localhost{path}"}
    assert pages.get("/page", headers=sent).headers["HX-Redirect"] == "/login"


@each_case("path", LOGS_OUT)
def test_safe_next_never_logs_out(pages: FlaskClient, path: str) -> None:
    assert pages.post("/login", query_string={"next": path}).location == "/home"
    assert pages.post("/login", data={"next": path}).location == "/home"


@each_case("path", STAYS)
def test_a_path_that_only_looks_like_a_logout_is_come_back_to(
    pages: FlaskClient, path: str
) -> None:
    if "?" not in path:
        assert pages.get(path, headers=PAGE).location == f"/login?next={quote(path)}"
    assert pages.post("/login", query_string={"next": path}).location == path


def test_a_visitor_of_a_guarded_logout_stays_logged_in(pages: FlaskClient) -> None:
    login = pages.get("/logout", headers=PAGE).location
    pages.post(login or "", base_url="https://localhost", follow_redirects=True)
    answer = pages.get("/page", headers=PAGE, base_url="https://localhost")
    assert (answer.status_code, answer.text) == (200, "page")


# --- step-up ----------------------------------------------------------------------------------


@pytest.fixture
def step_up(jam: Jam) -> FlaskClient:
    """An app with tokens in headers and cookies."""
    return build_app(jam, cookie_name="token").test_client(use_cookies=False)


def can_refresh(jam: Jam, pair: dict[str, Any]) -> bool:
    return jam.families.of_token(pair["refresh_token"]) is not None


def test_a_login_ends_the_tokens_of_the_same_subject(step_up: FlaskClient, jam: Jam) -> None:
    old, other = jam.issue_tokens("ann"), jam.issue_tokens("ann")
    answer = step_up.post("/login/ann", headers=bearer(old["access_token"]))
    assert answer.status_code == 200
    assert (works(jam, old["access_token"]), can_refresh(jam, old)) == (False, False)
    for pair in (answer.json, other):
        assert (works(jam, pair["access_token"]), can_refresh(jam, pair)) == (True, True)


def test_a_login_leaves_the_token_of_another_in_a_header(step_up: FlaskClient, jam: Jam) -> None:
    # Such as that of an operator, or of the app that logs its users in.
    for sent in ("access_token", "refresh_token"):
        old = jam.issue_tokens("service")
        assert step_up.post("/login/ann", headers=bearer(old[sent])).status_code == 200
        assert (works(jam, old["access_token"]), can_refresh(jam, old)) == (True, True)


@each_case("name", ["token", "token_refresh", "token_logout"])
@each_case("subject", ["ann", "mallory"])
def test_a_login_ends_what_came_by_cookie(
    step_up: FlaskClient, jam: Jam, subject: str, name: str
) -> None:
    old = jam.issue_tokens(subject)
    value = old["access_token" if name == "token" else "refresh_token"]
    answer = step_up.post("/login/ann", headers={"Cookie": f"{name}={value}"})
    assert (answer.status_code, can_refresh(jam, old)) == (200, False)
    assert not works(jam, old["access_token"])
    assert works(jam, answer.json["access_token"])


def test_a_login_ends_the_family_of_an_expired_token(
    step_up: FlaskClient, jam: Jam, clock: Clock
) -> None:
    old = jam.issue_tokens("ann")
    clock.tick(2000)
    assert step_up.post("/login/ann", headers=bearer(old["access_token"])).status_code == 200
    assert not can_refresh(jam, old)


def test_a_refresh_token_in_a_header_ends_with_its_login(step_up: FlaskClient, jam: Jam) -> None:
    old = jam.issue_tokens("ann")
    assert step_up.post("/login/ann", headers=bearer(old["refresh_token"])).status_code == 200
    assert not can_refresh(jam, old)


@each_case("value", ["a.b.c", "..", "x" * 9000 + "..", "é..", "a.b.c,d.e.f g.h.i"])
def test_junk_never_fails_a_login(step_up: FlaskClient, value: str) -> None:
    raw = value.encode().decode("latin-1")
    sent = {"Authorization": f"Bearer {raw}", "Cookie": f"token={raw.split(',')[0]}"}
    assert step_up.post("/login/ann", headers=sent).status_code == 200


def test_a_login_looks_at_four_tokens(step_up: FlaskClient, jam: Jam, monkeypatch: Any) -> None:
    looked: list[str] = []
    of_ours = jam.tokens.of_ours
    monkeypatch.setattr(
        jam.tokens, "of_ours", lambda token: (looked.append(token), of_ours(token))[1]
    )
    many = ",".join(f"Bearer a.b.{number}" for number in range(9))
    cookies = "; ".join(f"token=a.c.{number}" for number in range(9))
    assert step_up.post("/login/ann", headers={"Authorization": many}).status_code == 200
    assert len(looked) == 4
    step_up.post("/login/ann", headers={"Authorization": many, "Cookie": cookies})
    assert len(looked) <= 8


def test_two_logins_of_a_subject_in_a_request_leave_the_second(app: Flask, jam: Jam) -> None:
    jwt = app.extensions["flask_jam"].owners["jwt"]
    app.add_url_rule("/twice", "twice", lambda: [jwt.login("ann"), jwt.login("ann")])
    first, second = app.test_client().get("/twice").json
    assert [can_refresh(jam, pair) for pair in (first, second)] == [False, True]


def test_a_login_reports_what_it_ended_before_itself(
    app: Flask, client: FlaskClient, jam: Jam, event_log: Any
) -> None:
    client.post("/login/ann", headers=bearer(access(jam)))
    said = [(name, what.get("kind")) for name, what in event_log]
    assert said == [("revoked", "token"), ("revoked", "family"), ("logged_in", None)]


def test_the_old_login_lives_if_the_new_one_could_not_be_stored(
    step_up: FlaskClient, jam: Jam, monkeypatch: Any
) -> None:
    old = jam.issue_tokens("ann")

    def fail(*_: Any) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(jam.store, "start_family", fail)
    answer = step_up.post("/login/ann", headers=bearer(old["access_token"]))
    assert (answer.status_code, can_refresh(jam, old)) == (503, True)
    assert works(jam, old["access_token"])


def test_a_step_up_ends_the_old_family_without_a_revocation_list(make_jam: MakeJam) -> None:
    jam = make_jam(jwt={"list": "off"})
    old = jam.issue_tokens("ann")
    client = build_app(jam).test_client()
    assert client.post("/login/ann", headers=bearer(old["access_token"])).status_code == 200
    assert not can_refresh(jam, old)


# --- a missing key ----------------------------------------------------------------------------


def is_refused(verb: Callable[[str], Any]) -> None:
    with pytest.raises(TokenError):
        verb("a.b.c")


def warned(act: Callable[[], Any]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        act()
    return [str(each.message) for each in caught]


@each_case("alg", ["HS256", "ES256", "EdDSA"])
def test_an_app_with_sessions_only_needs_no_token_key(alg: str) -> None:
    app = Flask("sessions")
    app.config["JAM_JWT_ALG"] = alg

    def use() -> None:
        session = SessionExtension(app=app)
        app.add_url_rule("/in", "in", lambda: session.login("ann"))
        app.add_url_rule("/", "view", session_required(lambda: "in"))
        client = app.test_client()
        for path in ("/in", "/"):
            assert client.get(path, base_url="https://localhost").status_code == 200

    assert warned(use) == []
    jam: Jam = app.extensions["jam"]
    assert jam.settings.jwt.secret_key is None
    steps = [lambda: JWTExtension(app=app), lambda: JWTExtension(app=app).init_app(app)]
    (sentence,) = warned(steps[0])
    assert ("JAM_JWT_SECRET_KEY" if alg == "HS256" else "JAM_JWT_PRIVATE_KEY_FILE") in sentence
    assert warned(lambda: jam.gen_jwt_token({"sub": "ann"})) == []


@each_case(
    "use",
    [
        lambda jam: jam.gen_jwt_token({"sub": "ann"}),
        lambda jam: jam.issue_tokens("ann"),
        lambda jam: is_refused(jam.verify_jwt_token),
        lambda jam: is_refused(jam.refresh_tokens),
    ],
    ids=["mint", "issue", "verify", "refresh"],
)
def test_a_missing_key_is_warned_of_once_a_token_is_used(use: Callable[[Jam], Any]) -> None:
    app = Flask("late")
    assert warned(lambda: JamExtension(app=app)) == []
    jam: Jam = app.extensions["jam"]
    (sentence,) = warned(lambda: use(jam))
    assert "No key is configured" in sentence
    assert warned(lambda: use(jam)) == []


def test_the_random_key_of_an_app_signs_and_verifies() -> None:
    app = Flask("random")
    JamExtension(app=app)
    jam: Jam = app.extensions["jam"]
    with pytest.warns(RuntimeWarning):
        pair = jam.issue_tokens("ann")
    assert jam.verify_jwt_token(pair["access_token"])["sub"] == "ann"
    assert jam.refresh_tokens(pair["refresh_token"])


def test_a_jam_made_by_hand_warns_at_once() -> None:
    (sentence,) = warned(Jam)
    assert "No key is configured" in sentence


# --- who raised -------------------------------------------------------------------------------


def test_checks_log_the_apps_own_line(jam: Jam, caplog: pytest.LogCaptureFixture) -> None:
    def check(payload: dict[str, Any]) -> bool:
        return json.loads("{" + payload["sub"]) is None  # raises within json

    app = new_app(jam)
    app.add_url_rule("/", "view", jwt_required(check=check)(lambda: "in"))
    assert app.test_client().get("/", headers=bearer(access(jam))).status_code == 403
    line = check.__code__.co_firstlineno + 1
    assert f"JSONDecodeError at {__file__}:{line}" in caplog.text
    assert "ann" not in caplog.text
