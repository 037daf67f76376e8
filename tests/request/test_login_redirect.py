"""Pages and APIs: who is sent to the login page, who gets a 401, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from flask import Blueprint, Flask, Response, abort, g, redirect, render_template_string, request
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from flask_jam import (
    ConfigError,
    Jam,
    JWTExtension,
    SessionExtension,
    current_auth,
    jwt_required,
    public,
    safe_next,
    session_required,
    signals,
)
from flask_jam._request.login_redirect import is_path
from flask_jam.refusal import Refusal, ToLogin

from ..cases import each_case
from ..conftest import Clock, bearer

MakeJam = Callable[..., Jam]
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"
PAGE = {"Accept": BROWSER}
NAVIGATION = {**PAGE, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


def build(jam: Jam) -> Flask:
    app = Flask("pages")
    session = SessionExtension(jam, app)
    JWTExtension(jam, app, cookie_name="token")

    def who() -> str:
        return str(g.payload)

    @app.route("/login", methods=["GET", "POST"])
    def login() -> Any:
        if request.method == "POST":
            session.login("ann", {"roles": ["reader"]})
            return redirect(safe_next("/home"), 303)
        return "the form"

    app.add_url_rule("/private", "private", session_required(who), methods=["GET", "POST"])
    app.add_url_rule("/act", "act", session_required(who), methods=["POST", "DELETE"])
    app.add_url_rule("/admin", "admin", session_required(roles={"admin"})(who))
    app.add_url_rule("/fresh", "fresh", session_required(max_age=60)(who))
    app.add_url_rule("/token", "token", jwt_required(who))
    app.add_url_rule("/either", "either", (jwt_required | session_required)(who))
    app.add_url_rule("/optional", "optional", session_required(optional=True)(who))
    app.add_url_rule("/open", "open", who)
    app.add_url_rule("/unasked", "unasked", lambda: "")
    app.add_url_rule("/public", "public", public(lambda: who()))
    return app


@pytest.fixture
def app(make_jam: MakeJam) -> Flask:
    return build(make_jam(login_view="login"))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def goes_to(answer: TestResponse) -> tuple[str, str | None]:
    """Path and ``next`` of a redirect, which stays on this host."""
    parts = urlsplit(answer.headers["Location"])
    assert (parts.scheme, parts.netloc) == ("", "")
    return parts.path, parse_qs(parts.query).get("next", [None])[0]


def is_api_answer(answer: TestResponse, status: int = 401) -> bool:
    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"
    assert answer.json["status"] == status
    assert "Location" not in answer.headers
    return True


# --- who is sent to the login page ------------------------------------------------------------


@each_case("headers", [PAGE, NAVIGATION, {"Accept": "text/html"}], ids=str)
def test_a_page_that_somebody_must_log_in_for_sends_them_there(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    answer = client.get("/private?a=1&b=%2F", headers=headers)
    assert answer.status_code == 302
    assert goes_to(answer) == ("/login", "/private?a=1&b=%2F")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "WWW-Authenticate" not in answer.headers


def test_a_head_is_as_a_get(client: FlaskClient) -> None:
    answer = client.head("/private", headers=PAGE)
    assert (answer.status_code, *goes_to(answer)) == (302, "/login", "/private")


@each_case(
    ("path", "method", "back"),
    [("/private", "POST", "/private"), ("/act", "POST", None), ("/act", "DELETE", None)],
)
def test_what_was_no_get_comes_back_by_one_where_there_is_one(
    client: FlaskClient, path: str, method: str, back: str | None
) -> None:
    answer = client.open(path, method=method, headers=PAGE)
    assert (answer.status_code, *goes_to(answer)) == (303, "/login", back)


@each_case(
    "headers",
    [
        {}, {"Accept": "*/*"}, {"Accept": ""}, {"Accept": "application/json"},
        {"Accept": "application/vnd.api+json"}, {"Accept": "application/problem+json"},
        {"Accept": "text/plain"}, {"Accept": "text/html;q=0"},
        {"Accept": "application/json, text/html;q=0.9"},
        {"Accept": "application/vnd.x+json, text/html;q=0.5"},
        {"Accept": "application/VND.X+JSON, text/html;q=0.5"},
        {"Accept": "text/html, application/json"},
        {"Accept": "\xff, ;;q=x, text/"},
        {"Accept": "text/html" + ", text/x" * 200},
    ],
    ids=str,
)  # fmt: skip
def test_who_does_not_like_html_best_gets_the_401(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    assert is_api_answer(client.get("/private", headers=headers))


@each_case(
    "headers",
    [
        {"Sec-Fetch-Mode": "cors"}, {"Sec-Fetch-Mode": "same-origin"}, {"Sec-Fetch-Mode": ""},
        {"Sec-Fetch-Mode": "no-cors"}, {"X-Requested-With": "XMLHttpRequest"},
        {"HX-Request": "true"},
    ],
    ids=str,
)  # fmt: skip
def test_a_script_gets_the_401_also_if_it_asks_for_html(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    answer = client.get("/private", headers={**PAGE, **headers})
    assert answer.status_code == 401
    assert "Location" not in answer.headers
    assert is_api_answer(client.get("/private", headers={"Accept": "*/*", **headers}))


@each_case(
    ("page", "back"),
    [
        ("http://localhost/list?page=2#x", "/list?page=2"), ("", None), ("http://[", None),
        ("http://localhost//evil.example", None), ("http://evil.example", None),
        ("javascript:alert(1)", None),
        ("http://localhost/\\evil.example", None), ("/relative", "/relative"),
    ],
)  # fmt: skip
def test_htmx_is_told_where_to_send_the_person(
    client: FlaskClient, page: str, back: str | None
) -> None:
    answer = client.post("/act", headers={"HX-Request": "true", "HX-Current-URL": page})
    assert is_api_answer(answer)
    parts = urlsplit(answer.headers["HX-Redirect"])
    assert (parts.netloc, parts.path) == ("", "/login")
    assert parse_qs(parts.query).get("next", [None])[0] == back


def test_who_is_no_htmx_is_not_told(client: FlaskClient) -> None:
    assert "HX-Redirect" not in client.get("/private").headers


@each_case("path", ["/private", "/token", "/either"])
def test_every_scheme_sends_to_login(client: FlaskClient, path: str) -> None:
    assert goes_to(client.get(path, headers=PAGE)) == ("/login", path)


def test_a_login_that_is_too_old_is_made_again(client: FlaskClient, clock: Clock) -> None:
    client.post("/login")
    assert client.get("/fresh", headers=PAGE).status_code == 200
    clock.tick(61)
    assert goes_to(client.get("/fresh", headers=PAGE)) == ("/login", "/fresh")
    assert client.get("/private", headers=PAGE).status_code == 200
    client.post("/login")
    assert client.get("/fresh", headers=PAGE).status_code == 200


def test_who_may_not_is_told_so_and_not_sent_to_log_in(client: FlaskClient) -> None:
    client.post("/login")
    answer = client.get("/admin", headers=PAGE)
    assert answer.status_code == 403
    assert "Location" not in answer.headers


def test_a_wrong_form_and_another_site_are_told_so(client: FlaskClient, jam: Jam) -> None:
    ids = [client.application.extensions["jam"].create_session(name, {}) for name in ("a", "b")]
    doubled = {**PAGE, "Cookie": f"sessionId={ids[0]}; sessionId={ids[1]}"}
    bare = client.application.test_client(use_cookies=False)
    assert bare.get("/private", headers=doubled).status_code == 400
    client.post("/login")
    crossed = {**PAGE, "Sec-Fetch-Site": "cross-site"}
    assert client.post("/private", headers=crossed).status_code == 403


def test_without_a_login_view_a_page_gets_a_401_in_html(make_jam: MakeJam) -> None:
    answer = build(make_jam()).test_client().get("/private", headers=PAGE)
    assert (answer.status_code, answer.mimetype) == (401, "text/html")


@each_case("view", ["login", "/login"])
def test_a_refusal_on_the_login_page_itself_does_not_go_round(make_jam: MakeJam, view: str) -> None:
    app = build(make_jam(login_view=view))
    app.before_request(lambda: session_required.enforce())
    answer = app.test_client().get("/login", headers=PAGE)
    assert answer.status_code == 401


def test_a_path_is_a_login_view_too(make_jam: MakeJam) -> None:
    client = build(make_jam(login_view="/sso/start")).test_client()
    assert goes_to(client.get("/private", headers=PAGE)) == ("/sso/start", "/private")


@each_case("view", ["login", "/login"])
def test_below_a_mount_point_both_paths_are_the_browsers(make_jam: MakeJam, view: str) -> None:
    client = build(make_jam(login_view=view)).test_client()
    answer = client.get("/private", headers=PAGE, base_url="http://localhost/shop")
    assert goes_to(answer) == ("/shop/login", "/shop/private")


def test_a_poisoned_host_changes_nothing(client: FlaskClient) -> None:
    headers = {**PAGE, "Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    assert goes_to(client.get("/private", headers=headers)) == ("/login", "/private")


@each_case("kind", [HTTPException, Exception, Refusal])
def test_the_way_to_the_login_page_is_final(app: Flask, kind: type[Exception]) -> None:
    app.register_error_handler(kind, lambda _error: ("own", 500))
    answer = app.test_client().get("/private", headers=PAGE)
    assert (answer.status_code, *goes_to(answer)) == (302, "/login", "/private")
    assert app.test_client().get("/private").text == "own"  # a script's refusal is theirs


def test_only_a_handler_of_the_way_itself_is_asked_for_it(app: Flask) -> None:
    part = Blueprint("part", __name__, url_prefix="/part")
    part.add_url_rule("/", "index", session_required(lambda: "in"))
    part.register_error_handler(ToLogin, lambda error: (f"{error.code}", 401))
    app.register_blueprint(part)
    app.register_error_handler(HTTPException, lambda _error: ("own", 500))
    answer = app.test_client().get("/part/", headers=PAGE)
    assert (answer.status_code, answer.text) == (401, "302")
    assert answer.headers["Cache-Control"] == "no-store"
    assert goes_to(app.test_client().get("/private", headers=PAGE)) == ("/login", "/private")


def test_a_handler_that_comes_before_that_of_the_way_loses_nothing(app: Flask) -> None:
    part = Blueprint("part", __name__, url_prefix="/part")
    part.add_url_rule("/", "index", session_required(lambda: "in"))
    part.register_error_handler(Exception, lambda _error: ("own", 500))
    app.register_blueprint(part)
    app.register_error_handler(ToLogin, lambda _error: ("the app's", 401))
    answer = app.test_client().get("/part/", headers=PAGE)
    assert (answer.status_code, *goes_to(answer)) == (302, "/login", "/part/")


def test_a_redirect_is_a_refusal_to_who_listens(app: Flask, client: FlaskClient) -> None:
    heard: list[Any] = []
    with signals.rejected.connected_to(lambda _, **what: heard.append(what), app):
        client.get("/private", headers=PAGE)
    assert [(what["endpoint"], str(what["reason"].value)) for what in heard] == [
        ("private", "missing")
    ]


# --- the login_view itself --------------------------------------------------------------------


@each_case(
    ("view", "said"),
    [("logon", "did you mean login"), ("private", "guarded"), ("by_name", "without arguments"),
     ("act", "GET")],
)  # fmt: skip
def test_unreachable_login_view_is_an_error_at_the_first_request(
    make_jam: MakeJam, view: str, said: str
) -> None:
    app = build(make_jam(login_view=view))
    app.add_url_rule("/by/<name>", "by_name", lambda name: name)
    app.testing = True
    with pytest.raises(ConfigError, match=said):
        app.test_client().get("/open")


def test_hook_guarding_the_login_view_is_an_error_at_first_request(
    make_jam: MakeJam,
) -> None:
    app = build(make_jam(login_view="public"))
    app.before_request(session_required.enforce)
    app.testing = True
    with pytest.raises(ConfigError, match="before_request.*protect"):
        app.test_client().get("/open")


@each_case("view", ["login", "optional", "public", "with_default", "/anything"])
def test_a_login_view_that_lets_in_who_is_nobody_is_fine(make_jam: MakeJam, view: str) -> None:
    app = build(make_jam(login_view=view))
    app.add_url_rule("/at", "with_default", lambda name: name, defaults={"name": "x"})
    app.testing = True
    assert app.test_client().get("/private", headers=PAGE).status_code == 302


# --- and back ---------------------------------------------------------------------------------

PATHS = ["/", "/a", "/a/b?c=d&e=/f", "/a#b", "/%2e%2e", "/a:b", "/@x", "/münchen", "/?next=//x"]
ELSEWHERE = [
    "", "a", "//evil.example", "///evil.example", "/\\evil.example", "\\/evil.example",
    "https://evil.example", "https:evil", "https:/evil.example", "javascript:alert(1)", "/a b",
    "/\t/evil.example", "/\n/evil.example", "/\r\nSet-Cookie: x=1", "/a\\b", " /a", "\x00/a",
    "/a\x7f",
    "\u2028//x", "//user@evil.example", "/" + "a" * 3000, "?next=/a", "#", ".", "//", "/\\",
]  # fmt: skip


@each_case("target", PATHS)
def test_after_the_login_one_is_back(client: FlaskClient, target: str) -> None:
    for options in ({"query_string": {"next": target}}, {"data": {"next": target}}):
        answer = client.post("/login", **options)  # type: ignore[arg-type]
        assert answer.status_code == 303
        assert answer.headers["Location"].startswith("/")
        assert not answer.headers["Location"].startswith("//")


@each_case("target", ELSEWHERE)
def test_T09_nobody_is_sent_elsewhere(client: FlaskClient, target: str) -> None:
    for options in ({"query_string": {"next": target}}, {"data": {"next": target}}):
        answer = client.post("/login", **options)  # type: ignore[arg-type]
        assert answer.headers["Location"] == "/home"


def test_without_a_next_there_is_a_default(app: Flask) -> None:
    with app.test_request_context("/login"):
        assert (safe_next(), safe_next("/x")) == ("/", "/x")


@given(st.text(max_size=30).map(lambda text: "/" + text))
def test_whatever_passes_stays_on_this_host(target: str) -> None:
    if is_path(target):
        location = redirect(target).headers["Location"]
        assert location[0] == "/"
        assert location[1:2] not in ("/", "\\")
        assert not urlsplit(location).netloc
        assert not any(ord(char) < 33 for char in location)


@pytest.fixture
def anywhere(make_jam: MakeJam) -> FlaskClient:
    """A client of an app that guards every path there is."""
    app = build(make_jam(login_view="login"))
    app.url_map.merge_slashes = False
    app.add_url_rule("/<path:rest>", "rest", session_required(lambda rest: repr(request.path)))
    return app.test_client()


@each_case("path", ["/a b", "/ü", "/100%", "/a?b", "/a/../b", "/a//b", "/x\\y"])
def test_the_way_back_leads_to_where_one_was(anywhere: FlaskClient, path: str) -> None:
    there, back = goes_to(anywhere.get(quote(path), headers=PAGE))
    assert there == "/login"
    assert back is not None
    assert anywhere.post("/login", query_string={"next": back}).headers["Location"] == back
    assert anywhere.get(back, headers=PAGE).text == repr(path)


@each_case("query", ["q=ü&r=日本", "q=%C3%BC", "q=a%2Fb&c=+", "q=a'b(c)[d]{e}|f^`"])
def test_a_query_that_is_sent_raw_comes_back_the_same(anywhere: FlaskClient, query: str) -> None:
    app = anywhere.application
    app.add_url_rule("/search", "search", session_required(lambda: repr(request.args)))
    page = f"http://localhost/search?{query}".encode().decode("latin-1")
    raw = {"QUERY_STRING": urlsplit(page).query}
    with app.test_request_context("/search", environ_overrides=raw):
        asked = repr(request.args)
    _, back = goes_to(anywhere.get("/search", headers=PAGE, environ_overrides=raw))
    htmx = {"HTTP_HX_REQUEST": "true", "HTTP_HX_CURRENT_URL": page}
    answer = anywhere.get("/search", environ_overrides=htmx)
    assert back == parse_qs(urlsplit(answer.headers["HX-Redirect"]).query)["next"][0]
    assert back is not None
    assert back.isascii()
    there = anywhere.post("/login", query_string={"next": back}).headers["Location"]
    assert anywhere.get(there, headers=PAGE).text == asked


def test_a_way_back_never_names_a_host(anywhere: FlaskClient) -> None:
    answer = anywhere.get("/", headers=PAGE, environ_overrides={"PATH_INFO": "//evil.example"})
    assert goes_to(answer) == ("/login", "/evil.example")


# --- a dead cookie is cleared with the page ---------------------------------------------------


def cleared(answer: TestResponse) -> list[str]:
    lines = answer.headers.getlist("Set-Cookie")
    return [line.partition("=")[0] for line in lines if "Max-Age=0" in line]


@each_case("headers", [PAGE, NAVIGATION], ids=["accept", "navigation"])
@each_case("path", ["/private", "/either", "/optional", "/fresh"])
def test_an_expired_session_cookie_goes_with_the_page(
    client: FlaskClient, clock: Clock, path: str, headers: dict[str, str]
) -> None:
    client.post("/login")
    clock.tick(86401)
    answer = client.get(path, headers=headers)
    assert cleared(answer) == ["sessionId"]
    assert goes_to(answer) == ("/login", path)
    assert client.get_cookie("sessionId") is None


@each_case("value", ["x", "A" * 45, "A" * 5000, '"1\\073"', "é", "good,__Host-s=evil"])
def test_a_cookie_that_was_never_ours_stays(client: FlaskClient, value: str) -> None:
    # Another app on the host may have set it.
    bare = client.application.test_client(use_cookies=False)
    headers = {**PAGE, "Cookie": f"sessionId={value}".encode().decode("latin-1")}
    assert cleared(bare.get("/private", headers=headers)) == []


def test_a_session_that_was_not_used_for_too_long_goes(client: FlaskClient, clock: Clock) -> None:
    client.post("/login")
    clock.tick(86401)
    assert cleared(client.get("/private", headers=PAGE)) == ["sessionId"]


def test_an_expired_token_goes_and_its_refresh_token_stays(
    client: FlaskClient, clock: Clock
) -> None:
    jam = client.application.extensions["jam"]
    client.set_cookie("token", jam.issue_tokens("ann")["access_token"])
    clock.tick(901)
    assert cleared(client.get("/token", headers=PAGE)) == ["token"]


def test_without_a_login_view_as_well(make_jam: MakeJam, clock: Clock) -> None:
    client = build(make_jam()).test_client()
    client.post("/login")
    clock.tick(86401)
    assert cleared(client.get("/private", headers=PAGE)) == ["sessionId"]


def test_a_scripts_answer_clears_nothing(client: FlaskClient) -> None:
    client.set_cookie("sessionId", "A" * 45)
    by_script = [{"Sec-Fetch-Mode": "cors"}, {"HX-Request": "true"},
                 {"X-Requested-With": "XMLHttpRequest"}]  # fmt: skip
    for headers in ({}, *({**PAGE, **own} for own in by_script)):
        assert cleared(client.get("/private", headers=headers)) == []


def test_what_may_be_good_elsewhere_stays(client: FlaskClient, clock: Clock) -> None:
    client.post("/login")
    assert cleared(client.get("/admin", headers=PAGE)) == []
    crossed = {**PAGE, "Sec-Fetch-Site": "cross-site"}
    assert cleared(client.post("/private", headers=crossed)) == []
    clock.tick(61)
    assert cleared(client.get("/fresh", headers=PAGE)) == []
    doubled = {**PAGE, "Cookie": "sessionId=a; sessionId=b"}
    assert cleared(client.get("/private", headers=doubled)) == []


def test_a_bad_header_clears_no_cookie(client: FlaskClient) -> None:
    answer = client.get("/token", headers={**PAGE, **bearer("a.b.c")})
    assert cleared(answer) == []


# --- what nobody may keep ---------------------------------------------------------------------


def kept(answer: TestResponse) -> tuple[str | None, set[str]]:
    return answer.headers.get("Cache-Control"), {name.lower() for name in answer.vary}


BOTH = {"authorization", "cookie"}


@each_case(
    ("path", "somebody", "nobody"),
    [
        ("/private", ("no-store", BOTH), ("no-store", BOTH)),
        ("/either", ("no-store", BOTH), ("no-store", BOTH)),
        ("/optional", ("no-store", BOTH), (None, BOTH)),
        ("/open", ("no-store", BOTH), (None, BOTH)),
        ("/unasked", (None, set()), (None, set())), ("/public", ("no-store", BOTH), (None, BOTH)),
    ],
)  # fmt: skip
def test_no_cache_hands_an_answer_to_somebody_else(
    client: FlaskClient, path: str, somebody: Any, nobody: Any
) -> None:
    answer = client.get(path)
    assert nobody is None or kept(answer) == nobody
    client.post("/login")
    assert kept(client.get(path)) == somebody


def test_vary_names_the_headers_that_the_app_reads(make_jam: MakeJam) -> None:
    for options, names in (
        ({"header_name": "X-Token", "cookie_name": None}, {"x-token"}),
        ({"header_name": None, "cookie_name": "t"}, {"cookie"}),
        ({"header_name": "Authorization", "cookie_name": "t"}, BOTH),
    ):
        app = Flask("vary")
        JWTExtension(make_jam(), app, **options)  # type: ignore[arg-type]
        app.add_url_rule("/", "it", jwt_required(optional=True)(lambda: ""))
        assert kept(app.test_client().get("/")) == (None, names)


@each_case(
    ("said", "sent"),
    [
        ("private", "private"),
        ("private, max-age=60", "private, max-age=60"),
        ("no-cache", "no-cache"),
        ("no-store", "no-store"),
        ("max-age=60", "max-age=60, private"),
        ("must-revalidate", "must-revalidate, private"),
        ("public, max-age=5", "max-age=5, private"),
        ("Public", "private"),
        ("public, private", "private"),
        ("s-maxage=60, no-cache", "no-cache"),
        ('private="set-cookie, x", S-MaxAge=9', 'private="set-cookie, x", private'),
    ],
)
def test_no_shared_cache_keeps_an_answer_for_a_user(
    client: FlaskClient, app: Flask, said: str, sent: str
) -> None:
    def view() -> Response:
        return Response("x", headers={"Cache-Control": said, "Vary": "Accept-Language"})

    app.add_url_rule("/said", "said", session_required(view))
    client.post("/login")
    answer = client.get("/said")
    assert answer.headers.getlist("Cache-Control") == [sent]
    assert kept(answer)[1] == {"accept-language", *BOTH}


def test_a_guard_on_a_guard_says_it_once(client: FlaskClient, app: Flask) -> None:
    app.add_url_rule("/twice", "twice", session_required(session_required(lambda: str(g.payload))))
    client.post("/login")
    answer = client.get("/twice")
    assert answer.headers.getlist("Vary") == ["Authorization, Cookie"]
    assert answer.headers.getlist("Cache-Control") == ["no-store"]


def test_an_optional_guard_above_one_that_lets_in_keeps_it_private(
    client: FlaskClient, app: Flask
) -> None:
    view = jwt_required(optional=True)(session_required(lambda: str(g.payload)))
    app.add_url_rule("/upgraded", "upgraded", view)
    client.post("/login")
    assert kept(client.get("/upgraded")) == ("no-store", BOTH)


def test_an_error_of_the_view_is_private_too(client: FlaskClient, app: Flask) -> None:
    app.add_url_rule("/gone", "gone", session_required(lambda: abort(410)))
    client.post("/login")
    assert kept(client.get("/gone")) == ("no-store", BOTH)


def test_whom_one_scheme_has_shown_stays_private_though_another_is_refused(jam: Jam) -> None:
    app = Flask("both")
    JWTExtension(jam, app)
    session = SessionExtension(jam, app)
    app.add_url_rule("/both", "both", lambda: f"{len(session.list())} {g.payload}")
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("ann", {}))
    answer = client.get("/both", headers=bearer("a.b.c"))
    assert answer.text == "1 None"
    assert kept(answer) == ("no-store", BOTH)


# --- templates --------------------------------------------------------------------------------


def test_a_template_knows_who_is_signed_in(client: FlaskClient, app: Flask) -> None:
    text = "{% set me = current_auth() %}{{ 'Signed in as ' + me.subject if me else 'Nobody' }}"
    app.add_url_rule("/head", "head", lambda: render_template_string(text))
    assert client.get("/head").text == "Nobody"
    client.post("/login")
    answer = client.get("/head")
    assert answer.text == "Signed in as ann"
    assert kept(answer) == ("no-store", BOTH)


def test_outside_of_a_request_a_template_knows_nobody(app: Flask) -> None:
    with app.app_context():
        assert current_auth() is None
        assert render_template_string("{{ current_auth() }}") == ""
