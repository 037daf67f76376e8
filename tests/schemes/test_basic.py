"""HTTP Basic: the header, the challenge, the guard, and what stands around them."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
from flask import Flask, abort, g, request

from flask_jam import (
    BasicExtension,
    ConfigError,
    Jam,
    JWTExtension,
    SchemeExtension,
    SessionExtension,
    basic_required,
    current_auth,
    jwt_required,
    protect,
    public,
    session_required,
    signals,
)
from flask_jam._cli.doctor import examine
from flask_jam.audit import routes
from flask_jam.openapi import security_for, security_schemes
from flask_jam.schemes import Scheme
from flask_jam.schemes.basic import BasicScheme, basic_header
from flask_jam.testing.schemes import SchemeConformance

from ..cases import each_case
from ..conftest import SECRET, Clock, bearer

MakeJam = Callable[..., Jam]
USERS = {"ann": "pw:of ann", "zoë": "pässwörd", "": "of the empty name", "key": ""}
PAGE = {"Accept": "text/html"}
NAVIGATION = {**PAGE, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}
CHALLENGE = 'Basic realm="api", charset="UTF-8"'


def check(name: str, password: str) -> str | None:
    return f"id of {name}" if USERS.get(name) == password else None


def told() -> str:
    auth = current_auth()
    return f"{auth.scheme}:{auth.subject}" if auth else "anonymous"


def view() -> Callable[[], str]:
    return lambda: told()


def new_app(jam: Jam, checked: Any = check, **options: Any) -> Flask:
    app = Flask("basic_app")
    JWTExtension(jam, app)
    SessionExtension(jam, app)
    BasicExtension(checked, jam, app, **options)
    both = ["GET", "POST"]
    app.add_url_rule("/basic", "basic", basic_required(view()), methods=both)
    app.add_url_rule("/either", "either", (session_required | basic_required)(view()), methods=both)
    app.add_url_rule("/any", "any", (jwt_required | basic_required)(view()))
    app.add_url_rule("/optional", "optional", basic_required(optional=True)(view()))
    app.add_url_rule("/recent", "recent", basic_required(max_age=300)(view()))
    app.add_url_rule("/scoped", "scoped", basic_required(scopes={"read"})(view()))
    app.add_url_rule("/open", "open", public(view()), methods=both)
    app.add_url_rule("/login", "login", public(lambda: "form"))
    return app


@pytest.fixture
def client(jam: Jam) -> Any:
    return new_app(jam).test_client()


def raw(pair: bytes) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(pair).decode()}


ANN = raw(b"ann:pw:of ann")


# --- who is let in ----------------------------------------------------------------------


@each_case("name", USERS)
@each_case("word", ["Basic", "basic", "BASIC", "Basic  "])
def test_a_right_password_lets_in(client: Any, name: str, word: str) -> None:
    sent = basic_header(name, USERS[name]).replace("Basic", word)
    answer = client.get("/basic", headers={"Authorization": sent})
    assert (answer.status_code, answer.text) == (200, f"basic:id of {name}")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Authorization" in answer.headers["Vary"]


@each_case("pair", [b"ann:wrong", b"ann:", b"ann:pw", b"bob:pw:of ann", b":", b"Ann:pw:of ann"])
def test_a_wrong_password_is_a_401_with_a_challenge(client: Any, pair: bytes) -> None:
    for path in ("/basic", "/either", "/optional"):
        answer = client.get(path, headers=raw(pair))
        assert answer.status_code == 401
        assert answer.json["error"] == "invalid_token"
        assert CHALLENGE in answer.headers["WWW-Authenticate"]
    assert client.get("/open", headers=raw(pair)).text == "anonymous"


def test_the_payload_names_the_name_and_there_is_no_auth_time(jam: Jam) -> None:
    app, seen = new_app(jam), []
    app.add_url_rule("/me", "me", basic_required(lambda: seen.append(current_auth()) or g.payload))
    assert app.test_client().get("/me", headers=ANN).json == {"name": "ann"}
    assert (seen[0].source, seen[0].subject, seen[0].auth_time) == ("header", "id of ann", None)


def test_max_age_and_scopes_refuse_a_password(client: Any) -> None:
    stale = client.get("/recent", headers=ANN)
    assert stale.json["error"] == "insufficient_user_authentication"
    assert (stale.status_code, stale.headers.get("WWW-Authenticate")) == (401, None)
    assert client.get("/scoped", headers=ANN).status_code == 403


def test_one_route_takes_a_session_a_token_or_a_password(client: Any, jam: Jam) -> None:
    token = jam.issue_tokens("tom")["access_token"]
    assert client.get("/any", headers=bearer(token)).text == "jwt:tom"
    assert client.get("/any", headers=ANN).text == "basic:id of ann"
    assert client.get("/basic", headers=bearer(token)).json["error"] == "missing_credential"
    session_id = jam.create_session("sue", {})
    client.set_cookie("sessionId", session_id)
    assert client.get("/either").text == "session:sue"
    assert client.get("/either", headers=raw(b"ann:wrong")).status_code == 401


def test_a_loader_loads_and_refuses(jam: Jam) -> None:
    known = {"id of ann": object()}
    app = new_app(jam, load_user=lambda auth: known.get(auth.subject))
    client = app.test_client()
    assert client.get("/basic", headers=ANN).text == "basic:id of ann"
    known.clear()
    answer = client.get("/basic", headers=ANN)
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_token")
    assert client.get("/open", headers=ANN).text == "anonymous"


def test_the_check_runs_once_until_its_subject_is_revoked(jam: Jam) -> None:
    asked: list[str] = []
    client = new_app(jam, lambda *pair: asked.append(pair[0]) or check(*pair)).test_client()
    for _ in range(20):
        assert client.get("/basic", headers=ANN).status_code == 200
    assert len(asked) == 1
    jam.revoke_subject("id of ann")
    assert client.get("/basic", headers=ANN).status_code == 200
    assert len(asked) == 2


def test_two_apps_of_one_extension_remember_apart() -> None:
    asked: list[str] = []
    extension = BasicExtension(lambda *pair: asked.append(pair[0]) or check(*pair))
    for app in (Flask("one"), Flask("two")):
        app.config["JAM_JWT_SECRET_KEY"] = SECRET
        extension.init_app(app)
        app.add_url_rule("/", "view", extension.required(view()))
        assert app.test_client().get("/", headers=ANN).text == "basic:id of ann"
    assert len(asked) == 2


# --- the form of the header -------------------------------------------------------------


@each_case(
    "header",
    [
        "Basic", "Basic ", "Basic\tYTpi", "BasicYTpi", "Basic:YTpi", "Basic YTpi YTpi",
        "Basic YTpi,Basic YTpi", "Basic YTpi, Bearer a.b.c", "Bearer a.b.c, Basic YTpi",
        "Negotiate x,basic YTpi", "Basic YTpi=", "Basic YTp", "Basic YT pi", "Basic YTpj====",
        "Basic YTp\u00e9", "Basic _-__", "Basic é", 'Basic "YTpi"', "Basic a=b",
        "Basic YWI6Y2R=", "Basic =", "Basic " + "YTpi" * 1025, "Basic YWI=",
    ],
)  # fmt: skip
def test_a_header_that_is_not_exactly_of_the_form_is_a_400(client: Any, header: str) -> None:
    for path in ("/basic", "/either", "/optional"):
        answer = client.get(path, environ_overrides={"HTTP_AUTHORIZATION": header})
        assert (answer.status_code, answer.json["error"]) == (400, "invalid_request"), header


@each_case(
    "pair",
    [
        b"", b"ann", b"\xff:x", b"ann:\xe4", b"ann:\xc0\x80", b"ann:\xed\xa0\x80", b"a\0:b",
        b"ann:a\0", b"ann:a\nb", b"a\rb:c", b"ann:\x7f", b"ann:\xc2\x85", b"\x1b:x",
        b"n" * 257 + b":x", b"ann:" + b"x" * 3100, "ä".encode() * 257 + b":",
    ],
)  # fmt: skip
def test_a_pair_that_is_no_name_and_password_is_a_400(client: Any, pair: bytes) -> None:
    for path in ("/basic", "/either", "/optional"):
        assert client.get(path, headers=raw(pair)).status_code == 400
    assert client.get("/open", headers=raw(pair)).text == "anonymous"


@each_case("header", ["", " ", "x", "Bearer x", "Token x", 'Digest a="b", basic="c"', "YTpi"])
def test_another_word_is_no_credential_of_this_scheme(client: Any, header: str) -> None:
    answer = client.get("/basic", environ_overrides={"HTTP_AUTHORIZATION": header})
    assert answer.json["error"] == "missing_credential"


def test_the_longest_name_and_password_are_taken(jam: Jam) -> None:
    client = new_app(jam, lambda name, password: "x").test_client()
    assert client.get("/basic", headers=raw("ä".encode() * 256 + b":" + b"x" * 2500)).text


# --- browsers ---------------------------------------------------------------------------


@each_case(
    ("headers", "asks"),
    [
        ({}, True), (PAGE, True), (NAVIGATION, True), ({"Sec-Fetch-Mode": "navigate"}, True),
        ({"Sec-Fetch-Mode": "cors"}, False), ({"Sec-Fetch-Mode": "no-cors"}, False),
        ({"Sec-Fetch-Mode": "same-origin"}, False), ({"Sec-Fetch-Mode": ""}, False),
        ({"Sec-Fetch-Site": "same-origin"}, False), ({"Sec-Fetch-Dest": "empty"}, False),
        ({"X-Requested-With": "XMLHttpRequest"}, False), ({"HX-Request": "true"}, False),
    ],
)  # fmt: skip
def test_a_dialog_opens_for_a_person_and_never_for_a_script(
    client: Any, headers: dict[str, str], asks: bool
) -> None:
    for sent in (headers, {**headers, **raw(b"ann:wrong")}):
        answer = client.get("/basic", headers=sent)
        assert (answer.status_code, answer.headers.get("WWW-Authenticate")) == (
            401,
            CHALLENGE if asks else None,
        )


def test_browsers_go_to_the_login_page_and_curl_gets_a_challenge(make_jam: MakeJam) -> None:
    client = new_app(make_jam(login_view="login")).test_client()
    for headers in (PAGE, NAVIGATION):
        answer = client.get("/either", headers=headers)
        assert (answer.status_code, answer.location) == (302, "/login?next=/either")
        assert "WWW-Authenticate" not in answer.headers
    curl = client.get("/either", headers={"Accept": "*/*"})
    assert (curl.status_code, curl.headers["WWW-Authenticate"]) == (401, CHALLENGE)
    script = client.get("/either", headers={"Sec-Fetch-Mode": "cors"})
    assert (script.status_code, script.headers["WWW-Authenticate"]) == (401, 'Cookie realm="api"')


def test_no_login_page_is_shown_where_only_the_dialog_of_a_browser_helps(
    make_jam: MakeJam,
) -> None:
    jam = make_jam(login_view="login")
    app = new_app(jam)
    client = app.test_client(use_cookies=False)
    # A browser attaches an old password also after a login: each redirect would lead back here.
    logged_in = {"Cookie": f"sessionId={jam.create_session('id of ann', {})}"}
    wrong = {**NAVIGATION, **raw(b"ann:old")}
    for path, sent in (
        ("/either", wrong), ("/either", {**wrong, **logged_in}), ("/basic", NAVIGATION),
        ("/basic", {**NAVIGATION, **logged_in}), ("/basic", wrong), ("/optional", wrong),
    ):  # fmt: skip
        answer = client.get(path, headers=sent)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, CHALLENGE), path
        htmx = client.get(path, headers={**sent, "HX-Request": "true"})
        assert (htmx.status_code, htmx.headers.get("HX-Redirect")) == (401, None), path
    assert client.get("/recent", headers={**NAVIGATION, **ANN}).status_code == 401
    assert client.get("/either", headers={**NAVIGATION, **logged_in}).status_code == 200


def test_a_route_of_two_schemes_challenges_for_both(client: Any) -> None:
    for headers, error in (({}, ""), (bearer("a.b.c"), "invalid_token")):
        challenge = client.get("/any", headers=headers).headers["WWW-Authenticate"]
        assert challenge.startswith('Bearer realm="api"')
        assert challenge.endswith(f", {CHALLENGE}")
        assert error in challenge
        script = client.get("/any", headers={**headers, "Sec-Fetch-Mode": "cors"})
        assert challenge == script.headers["WWW-Authenticate"] + f", {CHALLENGE}"


@each_case(
    ("headers", "status"),
    [
        ({}, 200), ({"Sec-Fetch-Site": "same-origin"}, 200), ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403), ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403), ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost"}, 200),
    ],
)  # fmt: skip
def test_another_site_can_change_nothing_with_a_password(
    client: Any, headers: dict[str, str], status: int
) -> None:
    sent = {**headers, **ANN}
    for path in ("/basic", "/either"):
        assert client.post(path, headers=sent).status_code == status
        assert client.get(path, headers=sent).status_code == 200
    assert (client.post("/open", headers=sent).text == "anonymous") is (status == 403)


def test_a_request_of_another_site_makes_no_check(jam: Jam) -> None:
    asked: list[str] = []
    client = new_app(jam, lambda *pair: asked.append(pair[0])).test_client()
    client.post("/basic", headers={**ANN, "Sec-Fetch-Site": "cross-site"})
    assert asked == []


# --- what is told -----------------------------------------------------------------------


def test_a_refusal_is_told_with_a_fingerprint_that_confirms_no_guess(jam: Jam) -> None:
    app, seen = new_app(jam), []

    def receive(sender: Flask, **what: Any) -> None:
        assert request.authorization is not None
        seen.append((request.authorization.username, what))

    with signals.rejected.connected_to(receive, app):
        for pair in (b"ann:wrong", b"ann:wrong", b"ann:worse"):
            app.test_client().get("/basic", headers=raw(pair))
    (name, first), (_, again), (_, other) = seen
    assert name == "ann"
    assert (first["scheme"], first["reason"], first["source"]) == ("basic", "invalid", "header")
    assert (first["subject"], len(first["fingerprint"])) == (None, 8)
    assert first["fingerprint"] == again["fingerprint"] != other["fingerprint"]
    guesses = (b"ann:wrong", raw(b"ann:wrong")["Authorization"].encode(), b"wrong")
    assert first["fingerprint"] not in {hashlib.sha256(each).hexdigest()[:8] for each in guesses}


def test_an_error_of_the_check_is_logged_once_and_authenticates_no_user(
    jam: Jam, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    def broken(name: str, password: str) -> str:
        asked.append(name)
        raise OSError("the database is away")

    app = new_app(jam, broken)
    app.logger.disabled = True
    app.before_request(lambda: None)
    with caplog.at_level(logging.ERROR, "flask_jam"):
        for path in ("/basic", "/either", "/optional"):
            assert app.test_client().get(path, headers=ANN).status_code == 500
    assert len(caplog.messages) == len(asked) == 3
    assert all(each.startswith("scheme basic raised OSError at ") for each in caplog.messages)


def test_a_check_may_abort(jam: Jam) -> None:
    client = new_app(jam, lambda *_: abort(429)).test_client()
    assert client.get("/basic", headers=ANN).status_code == 429


@each_case("aborts", ["check", "load_user"])
def test_an_abort_is_raised_by_a_guard_and_never_by_a_question(jam: Jam, aborts: str) -> None:
    def load(auth: Any) -> Any:
        return abort(429) if aborts == "load_user" else auth

    app = new_app(jam, (lambda *_: abort(429)) if aborts == "check" else check, load_user=load)
    for code in (404, 429):  # pages that show who asks, such as in a navigation
        app.register_error_handler(code, lambda error: (f"{error.code} {told()}", error.code))
    app.add_url_rule("/hooked", "hooked", lambda: f"{told()} {basic_required.enforce()}")
    for path in ("/basic", "/either", "/optional", "/hooked"):
        answer = app.test_client().get(path, headers=ANN)
        assert (answer.status_code, answer.text) == (429, "429 anonymous"), path
    assert app.test_client().get("/open", headers=ANN).text == "anonymous"
    assert app.test_client().get("/nowhere", headers=ANN).text == "404 anonymous"


def test_no_guard_admits_whom_an_aborted_question_did_not_name(jam: Jam) -> None:
    app = Flask("basic_first")
    BasicExtension(lambda *_: abort(429), jam, app)
    SessionExtension(jam, app)
    app.add_url_rule("/", "view", lambda: f"{told()} {session_required.enforce()} {told()}")
    cookie = {"Cookie": f"sessionId={jam.create_session('ann', {})}"}
    client = app.test_client(use_cookies=False)
    assert client.get("/", headers={**cookie, **ANN}).status_code == 429
    assert client.get("/", headers=cookie).text == "session:ann None session:ann"


def test_a_check_that_asks_who_asks_is_told_none(jam: Jam) -> None:
    seen = []

    def curious(name: str, password: str) -> str:
        seen.append(current_auth())
        return name

    assert new_app(jam, curious).test_client().get("/basic", headers=ANN).status_code == 200
    assert seen == [None]


def test_the_audit_and_openapi_describe_it(jam: Jam) -> None:
    app = new_app(jam)
    app.add_url_rule("/plain", "plain", view())
    protect(app, basic_required)
    guards = {route.rule: route.guard for route in routes(app)}
    assert guards["/plain"] == "basic_required"
    assert guards["/either"] == "basic_required & (session_required | basic_required)"
    assert security_schemes(app)["basic"] == {"type": "http", "scheme": "basic"}
    assert security_for("basic", app=app) == [{"basic": []}]
    assert app.test_client().get("/plain", headers=ANN).text == "basic:id of ann"


@each_case(
    ("settings", "debug", "warns"),
    [
        ({}, False, False),
        ({"cookie_secure": False}, False, True),
        ({"cookie_secure": False}, True, False),
        ({}, True, False),
    ],
)
def test_the_doctor_warns_of_passwords_over_plain_http(
    make_jam: MakeJam, settings: dict[str, Any], debug: bool, warns: bool
) -> None:
    app = Flask("doctor")
    app.debug = debug
    jam = make_jam(**settings)
    BasicExtension(check, jam, app)
    found = [each for each in examine(app.extensions["flask_jam"]) if "password" in each.says]
    assert [each.asvs for each in found] == ["12.2.1"]
    assert found[0].status == ("warning" if warns else "ok")


# --- at start ---------------------------------------------------------------------------


async def later(name: str, password: str) -> str:
    return name


class Later:
    async def __call__(self, name: str, password: str) -> str:
        return name


@each_case(
    ("wrong", "sentence"),
    [
        (later, "must not be async"), (partial(later), "must not be async"),
        (Later(), "must not be async"), (None, "got NoneType"), ("check", "got str"),
        (dict, "got dict"), (lambda name: name, "two arguments"), (lambda: "", "two arguments"),
        (lambda name, *, password: name, "two arguments"), (Jam({"jwt": {"secret_key": "x" * 64}}),
        "got Jam"),
    ],
)  # fmt: skip
def test_a_check_that_cannot_work_is_refused_at_start(wrong: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        BasicExtension(wrong)


def test_what_contradicts_is_refused_at_start(jam: Jam) -> None:
    app = new_app(jam)
    with pytest.raises(RuntimeError, match="a BasicExtension already"):
        BasicExtension(check, jam, app)
    with pytest.raises(ConfigError, match=r"the app is the third"):
        BasicExtension(check, app)  # type: ignore[arg-type]
    app.add_url_rule("/x", "x", basic_required(sources={"cookie"})(view()))
    app.testing = True
    with pytest.raises(ConfigError, match="BasicExtension has no cookie_name"):
        app.test_client().get("/open")
    with pytest.raises(ConfigError, match="neither header nor cookie"):
        basic_required(sources={"body"})
    without = Flask("without")
    SessionExtension(jam, without)
    without.add_url_rule("/", "view", basic_required(view()))
    without.testing = True
    with pytest.raises(ConfigError, match=r"BasicExtension\(check, jam\)\.init_app"):
        without.test_client().get("/")

    class OwnScheme(Scheme):
        name = "basic"

    with pytest.raises(ConfigError, match="none of jwt, session, basic"):
        SchemeExtension(OwnScheme())


# --- the contract of a scheme -----------------------------------------------------------


class TestBasicScheme(SchemeConformance):
    def make_scheme(self) -> Scheme:
        return BasicScheme(Jam({"jwt": {"secret_key": "x" * 64}}, clock=Clock()), check)

    def good_request(self) -> dict[str, Any]:
        return {"method": "POST", "headers": ANN}

    def bad_requests(self) -> Iterable[dict[str, Any]]:
        for pair in (b"ann:wrong", b"bob:x", b"no colon", b"\xff:"):
            yield {"method": "POST", "headers": raw(pair)}

    def _guarded(self) -> Flask:
        app = Flask("conformance")
        extension = BasicExtension(check, Jam({"jwt": {"secret_key": "x" * 64}}), app)
        guarded = extension.required(lambda: told().partition(":")[0])
        app.add_url_rule("/", "view", guarded, methods=["GET", "POST"])
        return app
