"""What comes through a browser: X01 to X20 of the attack catalogue, T08 and T09, R06 and R13.

Then attacks of our own on the way to the login page, on what is set and cleared, and on the pages
with which people look after their sessions.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from flask import Flask, Response, abort, g, jsonify, request
from flask.testing import FlaskClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from flask_jam import (
    ConfigError,
    Jam,
    JWTExtension,
    SessionExtension,
    TokenError,
    current_auth,
    jwt_required,
    public,
    safe_next,
    session_required,
    signals,
)
from flask_jam.refusal import Refusal
from flask_jam.testing.stores import at_once

from ..cases import each_case
from ..conftest import SECRET, Clock, bearer
from .craft import COOKIE, OK, FlakyStore, N, R, RawResponse, S, T, Verdict, served, verdict

MakeJam = Callable[..., Jam]
Ask = Callable[..., RawResponse]

ROOT = Path(__file__).parent.parent.parent
PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
ELSEWHERE = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
HTTPS = "https://shop.example"
LONGEST = 4096
ALL = ["GET", "POST", "PUT", "PATCH", "DELETE"]
BOTH = {"authorization", "cookie"}


def said() -> dict[str, Any]:
    auth = current_auth()
    return {"subject": auth.subject if auth else None, "payload": g.payload}


def site(jam: Jam, *, session_cookie: str = "sessionId", at: str = "", **jwt_options: Any) -> Flask:
    """Both schemes in cookies; a route of each posture; each verb under every method."""
    app = Flask("site")
    jwt = JWTExtension(jam, app, **{"cookie_name": "token", **jwt_options})
    session = SessionExtension(jam, app, cookie_name=session_cookie)
    views: dict[str, Callable[..., Any]] = {
        "session": session_required(said),
        "jwt": jwt_required(said),
        "either": (jwt_required | session_required)(said),
        "optional": session_required(optional=True)(said),
        "optional-jwt": jwt_required(optional=True)(said),
        "open": said,
        "public": public(lambda: said()),
        "login": lambda: jwt.login("mallory"),
        "refresh": jwt.refresh,
        "logout": lambda: (jwt.logout(), {})[1],
        "session/login": lambda: session.login("mallory"),
        "session/renew": session.refresh,
        "session/end": lambda: (session.logout(), {})[1],
        "sessions": lambda: jsonify([session.handle(), [each.handle for each in session.list()]]),
        "sessions/end/<path:handle>": lambda handle: jsonify(session.end(handle)),
        "sessions/end-others": lambda: jsonify(session.end_others()),
    }
    for path, view in views.items():
        app.add_url_rule(f"{at}/{path}", path, view, methods=ALL)
    return app


@pytest.fixture
def app(jam: Jam) -> Flask:
    return site(jam)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def sign_in(app: Flask, jam: Jam) -> FlaskClient:
    """A browser that holds a good session and good tokens of Ann."""
    client, pair = app.test_client(), jam.issue_tokens("ann")
    client.set_cookie("sessionId", jam.create_session("ann", {"n": 1}))
    client.set_cookie("token", pair["access_token"])
    client.set_cookie("token_refresh", pair["refresh_token"], path="/refresh")
    return client


@pytest.fixture
def signed_in(app: Flask, jam: Jam) -> FlaskClient:
    return sign_in(app, jam)


def raw(app: Flask, path: str, cookie: str, method: str = "GET", **options: Any) -> TestResponse:
    """The Cookie header as it is: the client's own jar would rewrite it."""
    environ = {"HTTP_COOKIE": cookie}
    client = app.test_client(use_cookies=False)
    return client.open(path, method=method, environ_overrides=environ, **options)


def set_by(answer: Any) -> dict[tuple[str, str], Morsel[str]]:
    """What an answer sets, by name and path; no line is longer than browsers keep."""
    found: dict[tuple[str, str], Morsel[str]] = {}
    for line in answer.headers.getlist("Set-Cookie"):
        assert len(line.encode()) <= LONGEST
        assert "; HttpOnly" in line
        for name, morsel in SimpleCookie(line.replace("; Partitioned", "")).items():
            found[name, morsel["path"]] = morsel
    return found


def cleared(answer: Any) -> set[str]:
    return {name for (name, _), morsel in set_by(answer).items() if morsel["max-age"] == "0"}


def is_csrf(answer: Any) -> bool:
    """S: refused as another site's, and nothing was set or cleared."""
    assert verdict(answer) == S, (answer.status_code, answer.data)
    assert json.loads(answer.data)["error"] == "csrf"
    assert "Set-Cookie" not in answer.headers
    return True


def raw_value(answer: Any, name: str) -> str:
    """Return the value that an answer sets a cookie to."""
    (line,) = [each for each in answer.headers.getlist("Set-Cookie") if each.startswith(f"{name}=")]
    return str(line.partition("=")[2].partition(";")[0])


def is_alive(jam: Jam) -> bool:
    """Ann's one session and her tokens are as they were, and nobody else has any."""
    return len(jam.list_sessions("ann")) == 1 and jam.list_sessions("mallory") == []


# --- X01 to X03 what the Cookie header says ---------------------------------------------------

VERBS = ("/refresh", "/session/renew")


@each_case("order", [1, -1], ids=["X01-good-first", "X01-good-last"])
@each_case("tossed", ["alive", "dead", "", "same"])
def test_a_living_cookie_of_another_that_a_sibling_tossed_in_is_refused(
    app: Flask, jam: Jam, order: int, tossed: str
) -> None:
    pairs = jam.issue_tokens("ann"), jam.issue_tokens("mallory")
    good = {"sessionId": jam.create_session("ann", {}), "token": pairs[0]["access_token"],
            "token_refresh": pairs[0]["refresh_token"]}  # fmt: skip
    evil = {"sessionId": jam.create_session("mallory", {}), "token": pairs[1]["access_token"],
            "token_refresh": pairs[1]["refresh_token"]}  # fmt: skip
    for name, paths in (
        ("sessionId", ("/session", "/optional", "/either", "/sessions", "/session/renew")),
        ("token", ("/jwt", "/optional-jwt", "/either")),
        ("token_refresh", ("/refresh",)),
    ):  # fmt: skip
        other = {"alive": evil[name], "dead": "A" * 45, "": "", "same": good[name]}[tossed]
        header = "; ".join(f"{name}={value}" for value in (good[name], other)[::order])
        for path in paths:
            answer = raw(app, path, header, "POST")
            assert (verdict(answer) == R) is (tossed == "alive"), path
            if tossed == "alive":
                assert "Set-Cookie" not in answer.headers
            elif path in VERBS:  # it has replaced what is good
                good[name] = raw_value(answer, name)
                header = "; ".join(f"{name}={value}" for value in (good[name], other)[::order])
        if name != "token_refresh":
            subject = raw(app, "/open", header).json["subject"]
            assert subject == (None if tossed == "alive" else "ann")


def test_X01_a_logout_ends_whatever_was_tossed_in_too(app: Flask, jam: Jam) -> None:
    ids = [jam.create_session(name, {}) for name in ("ann", "mallory")]
    answer = raw(app, "/session/end", "; ".join(f"sessionId={value}" for value in ids), "POST")
    assert (answer.status_code, cleared(answer)) == (200, {"sessionId"})
    assert [jam.get_session(value) for value in ids] == [None, None]


def test_X01_a_host_cookie_is_set_as_no_sibling_could(make_jam: MakeJam) -> None:
    app = site(make_jam(), session_cookie="__Host-s", cookie_name="__Host-t")
    for path, name in (("/session/login", "__Host-s"), ("/login", "__Host-t")):
        morsel = set_by(app.test_client().post(path, base_url=HTTPS))[name, "/"]
        assert (morsel["domain"], morsel["secure"], morsel["path"]) == ("", True, "/")


@pytest.fixture(scope="module")
def host_cookies() -> Iterator[tuple[Jam, Ask]]:
    """A real server whose cookies have the prefix, and its Jam."""
    jam = Jam({"jwt": {"secret_key": SECRET}}, clock=Clock())
    with served(site(jam, session_cookie="__Host-s", cookie_name="__Host-t")) as ask:
        yield jam, ask


def ask_both(host_cookies: tuple[Jam, Ask], *lines: str) -> list[tuple[Verdict, Verdict]]:
    """Verdicts of both schemes, guarded and optional; ``{s}`` is a good value, ``{e}`` another.

    An open route knows nobody.
    """
    jam, ask = host_cookies
    good = {"s": jam.create_session("ann", {}), "t": jam.issue_tokens("ann")["access_token"]}
    evil = {"s": jam.create_session("evil", {}), "t": jam.issue_tokens("evil")["access_token"]}
    found = []
    for name, paths in (("s", ("/session", "/optional")), ("t", ("/jwt", "/optional-jwt"))):
        full = f"__Host-{name}"
        sent = [line.format(n=full, g=good[name], e=evil[name]) for line in lines]
        first, second = (verdict(ask(path, *sent)) for path in paths)
        assert ask("/open", *sent).json["subject"] is None, sent
        found.append((first, second))
    return found


def test_the_server_takes_good_cookies_so_that_refusals_mean_something(
    host_cookies: tuple[Jam, Ask],
) -> None:
    jam, ask = host_cookies
    session_id = jam.create_session("ann", {})
    assert ask("/session", f"Cookie: a=b; __Host-s={session_id}").json["subject"] == "ann"
    assert ask("/session", f"Cookie:__Host-s={session_id};").json["subject"] == "ann"


NEARLY = [
    pytest.param("{n} ={e}", id="X02-space-before-equals"),
    pytest.param("{n}\t={e}", id="X02-tab-before-equals"),
    pytest.param("{n}  \t ={e}", id="X02-much-before-equals"),
    pytest.param('"{n}"={e}', id="X02-quoted-name"),
    pytest.param("'{n}'={e}", id="X02-single-quoted-name"),
]


@each_case("nearly", NEARLY)
def test_a_name_that_a_lenient_parser_takes_for_ours_is_malformed(
    host_cookies: tuple[Jam, Ask], nearly: str
) -> None:
    # A browser guards the prefix of the exact name, so a sibling may set what is nearly that.
    for line in (nearly, nearly + "; {n}={g}", "{n}={g}; " + nearly, "a=b;" + nearly + ";c=d"):
        answers = ask_both(host_cookies, f"Cookie: {line}")
        assert answers == [(R, R), (R, R)], line


@each_case(
    "lines",
    [
        pytest.param(("Cookie: {n}={g}", "Cookie: {n}={e}"), id="X02-two-lines"),
        pytest.param(("Cookie: {n}={g}", "cookie: a=b"), id="X02-two-lines-of-two-names"),
        pytest.param(("Cookie: {n}={g},{n}={e}",), id="X02-comma-in-one-line"),
        pytest.param(("Cookie: {n}={g}, a=b",), id="X02-comma-and-space"),
    ],
)
def test_two_cookie_lines_become_one_value_that_is_nobodys(
    host_cookies: tuple[Jam, Ask], lines: tuple[str, ...]
) -> None:
    assert ask_both(host_cookies, *lines) == [(COOKIE, COOKIE), (T, T)]


def test_X02_a_line_before_ours_hides_it_and_lets_nobody_in(host_cookies: tuple[Jam, Ask]) -> None:
    found = ask_both(host_cookies, "Cookie: a=b", "Cookie: {n}={e}")
    assert found == [(COOKIE, OK), (N, OK)]


@each_case(
    "value",
    [
        pytest.param('"{g}"', id="X03-quoted"),
        pytest.param('"1\\073"', id="X03-octal"),
        pytest.param('"{g}\\073"', id="X03-good-and-octal"),
        pytest.param("%22{g}%22", id="X03-percent"),
        pytest.param("{g}%00", id="X03-percent-nul"),
        pytest.param("{g}\\", id="X03-backslash"),
        pytest.param("={g}", id="X03-second-equals"),
        pytest.param("{g}=", id="X03-padding"),
        pytest.param(" {g}", id="X03-space-first"),
        pytest.param("{g}\u00e9", id="X03-latin-1"),
        pytest.param("'{g}'", id="X03-single-quotes"),
    ],
)
def test_a_value_that_a_lenient_parser_would_mend_is_nobodys(
    host_cookies: tuple[Jam, Ask], value: str
) -> None:
    assert ask_both(host_cookies, "Cookie: {n}=" + value) == [(COOKIE, COOKIE), (T, T)]


# --- X04, X05 what is emitted -----------------------------------------------------------------


@each_case(
    "more",
    [
        pytest.param({}, id="X04-plain"),
        pytest.param({"cookie_domain": "shop.example"}, id="X04-domain"),
        pytest.param({"cookie_partitioned": True}, id="X04-partitioned"),
    ],
)
def test_no_cookie_is_longer_than_browsers_keep(make_jam: MakeJam, more: dict[str, Any]) -> None:
    app = Flask("sizes")
    jwt = JWTExtension(make_jam(**more), app, header_name=None, cookie_name="token")

    @app.post("/login/<int:size>")
    def login(size: int) -> Any:
        try:
            return jwt.login("ann", pad="x" * size)
        except TokenError:
            return "too large", 413

    def length(size: int) -> int | None:
        answer = app.test_client().post(f"/login/{size}", base_url=HTTPS)
        lines = answer.headers.getlist("Set-Cookie")
        assert bool(lines) == (answer.status_code == 200)
        return max(map(len, lines)) if lines else None

    low, high = 1000, 4096  # of these the first fits, the second does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if length(middle) else (low, middle)
    longest = length(low)
    assert longest is not None
    assert LONGEST - 4 <= longest <= LONGEST  # base64 grows by up to two
    assert length(high) is None


def test_X04_a_login_whose_cookies_do_not_all_fit_sets_none(jam: Jam) -> None:
    # The paths of the two for the refresh token have the mount point in them.
    client = site(jam, header_name=None).test_client()
    mount = {"SCRIPT_NAME": "/" + "a" * 5000}
    made = client.post("/login", environ_overrides=mount)
    assert (made.status_code, set_by(made)) == (500, {})
    gone = client.post("/logout", environ_overrides=mount)
    assert (gone.status_code, cleared(gone)) == (200, {"token"})


def test_X05_in_production_every_cookie_has_its_flags(app: Flask) -> None:
    for path in ("/login", "/session/login", "/logout", "/session/end"):
        morsels = set_by(app.test_client().post(path, base_url=HTTPS)).values()
        assert morsels
        for morsel in morsels:
            assert morsel["secure"] is morsel["httponly"] is True
            assert morsel["samesite"] == "Lax"


def test_X05_secure_can_be_turned_off_by_a_setting_of_its_own_and_by_nothing_else(
    make_jam: MakeJam,
) -> None:
    # The catalogue refuses it at boot. Ours has a setting, for a machine without TLS on a lab's
    # network: it must be written out, and no browser stores the names below without Secure.
    plain = site(make_jam(cookie_secure=False)).test_client().post("/session/login")
    assert [morsel["secure"] for morsel in set_by(plain).values()] == [""]
    for headers in ({"X-Forwarded-Proto": "http"}, {"Host": "localhost"}, {"X-Debug": "1"}):
        answer = site(make_jam()).test_client().post("/session/login", headers=headers)
        assert [morsel["secure"] for morsel in set_by(answer).values()] == [True]


@each_case(
    ("settings", "options"),
    [
        pytest.param({"cookie_secure": False}, {"cookie_name": "__Host-t"}, id="X05-host"),
        pytest.param({"cookie_secure": False}, {"cookie_name": "__Secure-t"}, id="X05-secure"),
        pytest.param({"cookie_secure": False}, {"session_cookie": "__hOST-s"}, id="X05-case"),
        pytest.param({"cookie_domain": "a.b"}, {"session_cookie": "__Host-s"}, id="X05-domain"),
        pytest.param({"cookie_secure": False, "cookie_samesite": "None"}, {}, id="X05-none"),
        pytest.param({"cookie_secure": False, "cookie_partitioned": True}, {}, id="X05-parted"),
        pytest.param({"cookie_httponly": False}, {}, id="X05-httponly"),
        pytest.param({"cookie_samesite": ""}, {}, id="X05-samesite-empty"),
        pytest.param({"cookie_samesite": "lax; Domain=a"}, {}, id="X05-samesite-injection"),
        pytest.param({"cookie_domain": "a.b; Secure"}, {}, id="X05-domain-injection"),
        pytest.param({}, {"cookie_name": "t; a"}, id="X05-name-injection"),
    ],
)
def test_flags_that_a_browser_would_not_stand_are_refused_at_start(
    make_jam: MakeJam, settings: dict[str, Any], options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError):
        site(make_jam(**settings), **options)


# --- X06 to X14 requests that another site makes ----------------------------------------------

#: Each with a credential of its own in a cookie, or none needed.
TARGETS = ("/session", "/jwt", "/either", "/optional", "/optional-jwt", "/login", "/refresh",
           "/logout", "/session/login", "/session/renew", "/session/end", "/sessions",
           "/sessions/end/x", "/sessions/end-others")  # fmt: skip
FORM = "application/x-www-form-urlencoded"


@each_case("path", [pytest.param(path, id=f"X06-{path}") for path in TARGETS])
@each_case("method", ALL[1:])
def test_what_changes_something_is_refused_to_another_site(
    signed_in: FlaskClient, jam: Jam, path: str, method: str
) -> None:
    # The catalogue asks for a token in the page. There is none here: the browser says by itself
    # where a request comes from, and this is the outcome for whoever comes from elsewhere.
    assert is_csrf(signed_in.open(path, method=method, headers=ELSEWHERE))
    assert is_alive(jam)
    assert signed_in.get("/session").json["subject"] == "ann"


@each_case("path", [pytest.param(path, id=f"X06-own-{path}") for path in TARGETS])
@each_case(
    "headers",
    [{"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": "http://localhost"}],
    ids=str,
)
def test_the_site_itself_needs_no_token(
    signed_in: FlaskClient, path: str, headers: dict[str, str]
) -> None:
    assert signed_in.post(path, headers=headers).status_code == 200


TOKENS = [
    pytest.param("x", id="X07-any"),
    pytest.param("", id="X07-empty"),
    pytest.param("[]", id="X07-array"),
    pytest.param("null", id="X07-null"),
    pytest.param("{other}", id="X07-of-another-session"),
    pytest.param("{own}", id="X07-of-this-session"),
    pytest.param("\u00e9\u00ff", id="X09-latin-1"),
    pytest.param("\u00c3\u00a9\u0080", id="X09-utf-8-and-a-stray-byte"),
    pytest.param("a" * 15_000, id="X09-huge"),
]


@each_case("token", TOKENS)
@each_case(
    "tossed", [pytest.param(False, id="X07-header"), pytest.param(True, id="X08-double-submit")]
)
def test_a_token_against_forgery_buys_nothing(
    app: Flask, jam: Jam, token: str, tossed: bool
) -> None:
    # There is none to compare with, so none can be guessed, tossed in, or be no ASCII.
    own, other = jam.create_session("ann", {}), jam.create_session("bob", {})
    value = token.format(own=own, other=other)
    names = ("csrf_token", "XSRF-TOKEN", "csrf_access_token", "_csrf")
    cookie = "; ".join([f"sessionId={own}", *(f"{n}={value}" for n in names if tossed)])
    environ = {"HTTP_X_CSRF_TOKEN": value, "HTTP_X_XSRF_TOKEN": value, "HTTP_X_CSRFTOKEN": value}
    for path in ("/session", "/session/renew", "/session/end", "/session/login"):
        answer = app.test_client(use_cookies=False).post(
            path,
            data=dict.fromkeys(names, value),
            headers=ELSEWHERE,
            environ_overrides={**environ, "HTTP_COOKIE": cookie},
        )
        assert is_csrf(answer)
    assert is_alive(jam)


@each_case("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
@each_case("as_if", ["GET", "HEAD", "OPTIONS"])
def test_X10_a_method_that_is_only_claimed_counts_for_nothing(
    signed_in: FlaskClient, name: str, as_if: str
) -> None:
    for path in ("/session", "/jwt", "/session/renew", "/refresh"):
        answer = signed_in.post(
            f"{path}?_method={as_if}", data={"_method": as_if}, headers={**ELSEWHERE, name: as_if}
        )
        assert is_csrf(answer)


@each_case("method", ["GET", "HEAD"])
@each_case("path", ["/logout", "/session/end", "/sessions/end-others",
                                  "/sessions/end/{handle}"])  # fmt: skip
def test_X10_what_ends_a_login_asks_also_where_a_view_takes_it_by_get(
    signed_in: FlaskClient, jam: Jam, path: str, method: str
) -> None:
    jam.create_session("ann", {})
    handles = [each.handle for each in jam.list_sessions("ann")]
    answer = signed_in.open(
        path.format(handle=handles[1]), method=method, headers={**PAGE, **ELSEWHERE}
    )
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers
    assert [each.handle for each in jam.list_sessions("ann")] == handles
    assert signed_in.get("/jwt").json["subject"] == "ann"


FROM = [
    pytest.param({"Origin": "null"}, id="X11-null"),
    pytest.param({"Origin": "https://evil.example"}, id="X11-foreign"),
    pytest.param({"Origin": "https://www.shop.example"}, id="X11-sibling"),
    pytest.param({"Origin": "https://example"}, id="X11-parent"),
    pytest.param({"Origin": "http://shop.example"}, id="X11-plain-http"),
    pytest.param({"Origin": "https://shop.example:8443"}, id="X11-port"),
    pytest.param({"Origin": "https://shop.example.evil"}, id="X11-longer"),
    pytest.param({"Origin": "https://evilshop.example"}, id="X11-ends-like-ours"),
    pytest.param({"Origin": "https://shop.example, https://evil.example"}, id="X11-two"),
    pytest.param({"Origin": "\u00e9"}, id="X11-latin-1"),
    pytest.param({"Origin": "https://[::1"}, id="X11-broken"),
    pytest.param({"Origin": ""}, id="X11-empty"),
    pytest.param({"Sec-Fetch-Site": "cross-site"}, id="X11-cross-site"),
    pytest.param({"Sec-Fetch-Site": "same-site"}, id="X11-same-site"),
    pytest.param({"Sec-Fetch-Site": "\u00e9"}, id="X11-unknown-site"),
    pytest.param({"Sec-Fetch-Site": "none, none"}, id="X11-two-sites"),
    pytest.param(
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://shop.example"}, id="X11-contradiction"
    ),
    pytest.param(
        {"Origin": "https://evil.example", "X-Forwarded-Host": "evil.example"}, id="X11-forwarded"
    ),
    pytest.param(
        {"Origin": "https://evil.example", "Referer": "https://shop.example/"}, id="X11-referer"
    ),
]


@each_case("headers", FROM)
def test_whoever_comes_from_elsewhere_is_refused(
    app: Flask, jam: Jam, headers: dict[str, str]
) -> None:
    pair = jam.issue_tokens("ann")
    cookie = (f"sessionId={jam.create_session('ann', {})}; token={pair['access_token']}; "
              f"token_refresh={pair['refresh_token']}")  # fmt: skip
    environ = {f"HTTP_{name.upper().replace('-', '_')}": v for name, v in headers.items()}
    client = app.test_client(use_cookies=False)
    for path in TARGETS:
        answer = client.post(
            path, base_url=HTTPS, environ_overrides={**environ, "HTTP_COOKIE": cookie}
        )
        assert is_csrf(answer), path
    assert is_alive(jam)


def test_X11_a_socket_of_another_site_is_not_opened_with_our_cookie(app: Flask, jam: Jam) -> None:
    # A WebSocket begins as a GET, and then carries what changes things. SameSite does not stop a
    # sibling from opening one, nor anybody where the cookie is SameSite=None.
    app.add_url_rule("/socket", "socket", session_required(said), websocket=True)
    cookie = f"sessionId={jam.create_session('ann', {})}"
    shake = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    own = {**shake, "Origin": HTTPS}
    assert raw(app, "/socket", cookie, base_url=HTTPS, headers=own).json["subject"] == "ann"
    for origin in ("https://evil.example", "https://www.shop.example", "null"):
        crossed = {**shake, "Origin": origin}
        assert is_csrf(raw(app, "/socket", cookie, base_url=HTTPS, headers=crossed))


@each_case(
    ("kind", "body"),
    [
        pytest.param("text/plain", b'{"refresh_token": "%s"}', id="X12-json-as-text"),
        pytest.param("text/plain;charset=UTF-8", b'{"a=":"b"}', id="X12-form-as-json"),
        pytest.param(FORM, b"refresh_token=%s", id="X12-form"),
        pytest.param(
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="refresh_token"\r\n\r\n%s\r\n--b--\r\n',
            id="X12-multipart",
        ),
        pytest.param("application/json", b'{"refresh_token": "%s"}', id="X12-json"),
        pytest.param("", b'{"refresh_token": "%s"}', id="X12-no-type"),
    ],
)
def test_no_kind_of_body_gets_around_the_check(
    signed_in: FlaskClient, jam: Jam, kind: str, body: bytes
) -> None:
    own = jam.issue_tokens("mallory")["refresh_token"].encode()
    body = body.replace(b"%s", own)
    for path in TARGETS:
        assert is_csrf(signed_in.post(path, data=body, content_type=kind, headers=ELSEWHERE))
    assert jam.refresh_tokens(own.decode())["access_token"], "it was not used up"


@each_case("path", ["/login", "/session/login", "/refresh"])
@each_case("with_cookie", [True, False])
def test_X13_another_site_logs_nobody_in(
    app: Flask, jam: Jam, event_log: list[Any], path: str, with_cookie: bool
) -> None:
    # By the same check as all else: a session from before the login would be a second thing to
    # steal, and there is nobody yet whom a token could belong to.
    own = jam.issue_tokens("mallory")["refresh_token"]
    cookie = f"sessionId={jam.create_session('ann', {})}" if with_cookie else ""
    for headers in (ELSEWHERE, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}):
        answer = raw(app, path, cookie, "POST", headers=headers, data={"refresh_token": own})
        assert is_csrf(answer)
    assert {name for name, _ in event_log} == {"rejected"}
    assert jam.list_sessions("mallory") == []


@each_case(
    ("junk", "expected"),
    [
        pytest.param("Basic YTpi", S, id="X14-basic"),
        pytest.param("", S, id="X14-empty"),
        pytest.param("Token x", S, id="X14-token"),
        pytest.param("Bearer", R, id="X14-bare-bearer"),
        pytest.param("Bearer a b", R, id="X14-malformed"),
        pytest.param("Bearer a.b.c", T, id="X14-junk-token"),
        pytest.param("Bearer ", R, id="X14-nothing"),
        pytest.param("Basic YTpi, Bearer a.b.c", R, id="X14-two"),
    ],
)
def test_a_junk_header_never_has_the_check_passed_over(
    signed_in: FlaskClient, jam: Jam, junk: str, expected: Verdict
) -> None:
    # The mode is that of the credential that is used. A header of Bearer is itself the
    # credential, and a bad one is refused as such: the cookie never comes into it.
    environ = {"HTTP_AUTHORIZATION": junk}
    for path in ("/jwt", "/optional-jwt", "/either"):
        answer = signed_in.post(path, headers=ELSEWHERE, environ_overrides=environ)
        assert verdict(answer) == expected, path
    for path in TARGETS:
        answer = signed_in.post(path, headers=ELSEWHERE, environ_overrides=environ)
        assert answer.status_code in (400, 401, 403), path
        assert "Set-Cookie" not in answer.headers
    assert is_alive(jam)


# --- X15 to X17 logging out; where cookies go --------------------------------------------------


@each_case(
    ("name", "paths"),
    [
        pytest.param("examples.site", ("/logout",), id="X15-site"),
        pytest.param("examples.spa", ("/auth/logout", "/auth/refresh"), id="X15-spa"),
        pytest.param("examples.factory", ("/logout", "/api/logout"), id="X15-factory"),
    ],
)
def test_the_examples_take_a_logout_by_post_only(
    monkeypatch: pytest.MonkeyPatch, name: str, paths: tuple[str, ...]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    before = set(sys.modules)
    try:
        app = importlib.import_module(name).create_app({"JAM_JWT_SECRET_KEY": SECRET})
    finally:
        for added in set(sys.modules) - before:
            if added.startswith(name):
                del sys.modules[added]
    routes = app.url_map.bind("localhost")
    for path in paths:
        assert routes.test(path, method="POST"), path
        for method in ("GET", "HEAD"):
            assert not routes.test(path, method=method), path
            assert sorted(routes.allowed_methods(path)) == ["OPTIONS", "POST"]


@each_case("path", ["/logout", "/session/end"])
@each_case("site_", ["cross-site", "same-site"])
def test_X15_a_picture_on_another_site_logs_nobody_out(
    signed_in: FlaskClient, jam: Jam, path: str, site_: str
) -> None:
    headers = {"Sec-Fetch-Site": site_, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image",
               "Accept": "image/*"}  # fmt: skip
    assert is_csrf(signed_in.get(path, headers=headers))
    assert is_alive(jam)
    assert signed_in.get("/jwt").json["subject"] == "ann"
    # Whoever types the address, or follows a link of the site itself, means it.
    assert signed_in.get(path, headers={"Sec-Fetch-Site": "none"}).status_code == 200


ATTRIBUTES = ("domain", "path", "secure", "httponly", "samesite")


@each_case(
    ("more", "options"),
    [
        pytest.param({}, {}, id="X16-plain"),
        pytest.param({"cookie_domain": "shop.example"}, {}, id="X16-domain"),
        pytest.param({"cookie_samesite": "None"}, {}, id="X16-none"),
        pytest.param({"cookie_partitioned": True}, {}, id="X16-partitioned"),
        pytest.param({"cookie_secure": False}, {}, id="X16-insecure"),
        pytest.param({}, {"cookie_name": "__Host-t", "session_cookie": "__Host-s"}, id="X16-host"),
        pytest.param({}, {"at": "/auth", "refresh_path": "/auth"}, id="X16-refresh-path"),
        pytest.param({}, {"at": "/a b/\u00fc"}, id="X16-odd-path"),
    ],
)
@each_case("root", ["", "/mount"])
def test_a_cookie_is_cleared_with_the_attributes_it_was_set_with(
    make_jam: MakeJam, more: dict[str, Any], options: dict[str, Any], root: str
) -> None:
    app, at = site(make_jam(**more), **options), options.get("at", "")
    for came, went in (("/login", "/logout"), ("/session/login", "/session/end")):
        made, gone = (
            app.test_client(use_cookies=False).post(at + path, base_url=HTTPS + root)
            for path in (came, went)
        )
        assert set(set_by(made)) == set(set_by(gone)) == cleared_keys(gone)
        for key, morsel in set_by(gone).items():
            assert [morsel[a] for a in ATTRIBUTES] == [set_by(made)[key][a] for a in ATTRIBUTES]
        parted = ["Partitioned" in line for line in made.headers.getlist("Set-Cookie")]
        assert parted == ["Partitioned" in line for line in gone.headers.getlist("Set-Cookie")]


def cleared_keys(answer: TestResponse) -> set[tuple[str, str]]:
    found = set_by(answer).items()
    return {key for key, m in found if (m.value, m["max-age"]) == ("", "0")}


def test_X17_the_refresh_token_goes_to_two_urls_and_nowhere_else(jam: Jam) -> None:
    app = site(jam, at="/auth", header_name=None, cookie_name="__Host-t")
    seen: list[str] = []
    app.before_request(lambda: seen.append(request.environ.get("HTTP_COOKIE", "")))
    client = app.test_client()
    made = set_by(client.post("/auth/login", base_url=HTTPS))
    assert {name for name, _ in made} == {"__Host-t", "__Secure-t_refresh", "__Secure-t_logout"}
    assert all(morsel["secure"] is True for morsel in made.values())

    def sent(path: str) -> set[str]:
        client.get(path, base_url=HTTPS, headers=ELSEWHERE)  # a logout is refused, the rest reads
        return {pair.partition("=")[0] for pair in seen[-1].split("; ")} - {"__Host-t"}

    for path in ("/", "/auth", "/auth/", "/auth/login", "/auth/jwt", "/auth/refreshx", "/refresh",
                 "/auth/session/renew", "/static/x.js"):  # fmt: skip
        assert sent(path) == set(), path
    assert sent("/auth/logout") == {"__Secure-t_logout"}
    assert sent("/auth/refresh") == {"__Secure-t_refresh"}


# --- X18, X20 what caches may keep ------------------------------------------------------------


def kept(answer: TestResponse) -> tuple[str | None, set[str]]:
    return answer.headers.get("Cache-Control"), {name.lower() for name in answer.vary}


@each_case("path", [pytest.param(path, id=f"X18-{path}") for path in TARGETS[5:11]])
def test_no_cache_keeps_an_answer_that_sets_or_clears_a_cookie(
    signed_in: FlaskClient, path: str
) -> None:
    answer = signed_in.post(path)
    assert answer.status_code == 200
    assert answer.headers.getlist("Set-Cookie")
    assert "no-store" in str(answer.headers["Cache-Control"])


@each_case("view", ["public, max-age=60", "s-maxage=600", "immutable, max-age=1"])
def test_X18_not_even_where_the_view_calls_it_public(app: Flask, jam: Jam, view: str) -> None:
    session = app.extensions["flask_jam"].owners["session"]

    @app.post("/cached")
    def cached() -> Response:
        session.login("ann")
        return Response("x", headers={"Cache-Control": view})

    answer = app.test_client().post("/cached")
    assert answer.headers.getlist("Set-Cookie")
    assert answer.cache_control.no_store


DECEPTIVE = ("/me/x.css", "/me/a/b.js", "/me/%2e%2e/x.png", "/me/x%3f.ico", "/me/x;.css",
             "/me/x%00.css", "/me/%0a.css", "/me/x.css?v=1")  # fmt: skip


@each_case("path", [pytest.param(path, id=f"X20-{path}") for path in DECEPTIVE])
@each_case(
    "guard",
    [session_required, session_required(optional=True), jwt_required | session_required, None],
    ids=["guarded", "optional", "either", "open"],
)
def test_authenticated_answer_is_not_cached_whatever_its_url(
    signed_in: FlaskClient, app: Flask, guard: Any, path: str
) -> None:
    def me(rest: str) -> dict[str, Any]:
        return {**said(), "rest": rest}

    app.add_url_rule("/me/<path:rest>", "me", me if guard is None else guard(me))
    for method in ("GET", "HEAD"):
        answer = signed_in.open(path, method=method)
        assert answer.status_code == 200
        assert kept(answer) == ("no-store", BOTH)
    nobody = app.test_client().get(path)
    assert nobody.status_code in (200, 401)
    if nobody.status_code == 200:
        # It may be kept, for other people whom no cookie came from.
        assert kept(nobody) == (None, BOTH)


@each_case("code", [301, 302, 404, 410, 500, 304])
def test_X18_an_error_or_a_redirect_of_the_view_is_private_too(
    signed_in: FlaskClient, app: Flask, code: int
) -> None:
    def made() -> Response:
        return Response(str(g.payload), code, {"Location": "/x"})

    app.add_url_rule("/made", "made", session_required(made))
    app.add_url_rule("/raised", "raised", session_required(lambda: abort(made())))
    for path in ("/made", "/raised"):
        assert kept(signed_in.get(path)) == ("no-store", BOTH)


def test_X18_a_guard_that_is_only_tried_leaves_the_answer_private(app: Flask, jam: Jam) -> None:
    def page() -> str:
        who = str(g.payload)
        try:
            session_required(roles={"admin"}).enforce()
        except Refusal:
            return who
        return "an admin"

    app.add_url_rule("/tried", "tried", session_required(page))
    app.add_url_rule("/looked", "looked", page)
    cookie = f"sessionId={jam.create_session('ann', {'n': 1})}"
    for path in ("/tried", "/looked"):
        answer = raw(app, path, cookie)
        assert (answer.text, kept(answer)) == ("{'n': 1}", ("no-store", BOTH))


# --- T08, T09 the way to the login page and back ----------------------------------------------


def pages(jam: Jam) -> Flask:
    """A guarded page, and a login that goes back to where one was."""
    app = Flask("pages")
    session = SessionExtension(jam, app)
    app.add_url_rule("/page", "page", session_required(lambda: str(g.payload)), methods=ALL)

    @app.route("/login", methods=["GET", "POST"])
    def login() -> Any:
        if request.method == "POST":
            session.login("ann")
        return Response("", 303, {"Location": safe_next("/home")})

    return app


@pytest.fixture(params=["login", "/login"])
def visited(request: pytest.FixtureRequest, make_jam: MakeJam) -> Flask:
    """An app whose login page is named by its endpoint, or by its path."""
    return pages(make_jam(login_view=request.param))


def stays(location: str) -> bool:
    """Whether a browser that follows it stays on this host."""
    assert location.isascii(), location
    assert not any(ord(char) <= 32 for char in location)
    return location.startswith("/") and location[1:2] not in ("/", "\\")


@each_case(
    "headers",
    [
        pytest.param({"Host": "evil.example"}, id="T08-login-host"),
        pytest.param({"Host": "evil.example:1@shop.example"}, id="T08-login-userinfo"),
        pytest.param({"Host": "evil.example/"}, id="T08-login-host-slash"),
        pytest.param({"Host": 'a"><script>'}, id="T08-login-host-markup"),
        pytest.param({"X-Forwarded-Host": "evil.example"}, id="T08-login-forwarded-host"),
        pytest.param({"X-Forwarded-Prefix": "//evil.example"}, id="T08-login-forwarded-prefix"),
        pytest.param({"X-Forwarded-Server": "evil.example"}, id="T08-login-forwarded-server"),
        pytest.param({"Forwarded": "host=evil.example"}, id="T08-login-forwarded"),
        pytest.param({"X-Original-URL": "//evil.example"}, id="T08-login-original-url"),
        pytest.param({"X-Script-Name": "//evil.example"}, id="T08-login-script-name"),
        pytest.param({"Referer": "https://evil.example/"}, id="T08-login-referer"),
        pytest.param({"Origin": "https://evil.example"}, id="T08-login-origin"),
    ],
)
def test_nobody_but_the_app_chooses_where_people_log_in(
    visited: Flask, headers: dict[str, str]
) -> None:
    answer = visited.test_client().get("/page", headers={**headers, **PAGE})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/login?next=/page")
    told = visited.test_client().get("/page", headers={**headers, "HX-Request": "true"})
    assert told.headers["HX-Redirect"] == "/login"
    assert "evil" not in answer.text + told.text + str(answer.headers) + str(told.headers)


@each_case(
    "root",
    [
        pytest.param("//evil.example", id="T08-root-two-slashes"),
        pytest.param("/\\evil.example", id="T08-root-backslash"),
        pytest.param("///evil.example", id="T08-root-three-slashes"),
        pytest.param("evil.example", id="T08-root-without-a-slash"),
        pytest.param("/a b", id="T08-root-space"),
        pytest.param("/a?b", id="T08-root-question-mark"),
        pytest.param("/a#b", id="T08-root-hash"),
        pytest.param("/\u65e5\u672c".encode().decode("latin-1"), id="T08-root-unicode"),
        pytest.param("/a\r\nX-Evil: 1", id="T08-root-crlf"),
    ],
)
def test_a_mount_point_of_odd_characters_leads_to_no_other_place(visited: Flask, root: str) -> None:
    # A proxy may say it, by X-Forwarded-Prefix, and a careless one has it from the client.
    environ = {"SCRIPT_NAME": root}
    client = visited.test_client()
    answer = client.get("/page", headers=PAGE, environ_overrides=environ)
    told = client.get("/page", headers={"HX-Request": "true"}, environ_overrides=environ)
    for found in (answer.headers.get("Location"), told.headers.get("HX-Redirect")):
        if found is not None:
            assert stays(found)
            assert urlsplit(found).path.endswith("/login")
    assert answer.status_code in (302, 400, 401)
    assert told.status_code in (400, 401)
    made = client.post("/login", environ_overrides=environ)
    assert made.status_code == 303
    assert set(set_by(made)) == {("sessionId", "/")}


def test_T08_a_server_can_send_what_htmx_is_told_below_such_a_mount_point(
    make_jam: MakeJam,
) -> None:
    app = pages(make_jam(login_view="login"))
    mount = "/\u65e5".encode().decode("latin-1")

    def mounted(environ: dict[str, Any], start: Any) -> Any:
        return app({**environ, "SCRIPT_NAME": mount}, start)

    with served(mounted) as ask:  # type: ignore[arg-type]
        told = ask("/page", "HX-Request: true")
    assert (told.status_code, told.headers["HX-Redirect"]) == (401, "/%E6%97%A5/login")


TARGETS_ELSEWHERE = [
    pytest.param("//evil.example", id="T09-two-slashes"),
    pytest.param("///evil.example", id="T09-three-slashes"),
    pytest.param("////evil.example", id="T09-four-slashes"),
    pytest.param("/\\evil.example", id="T09-slash-backslash"),
    pytest.param("\\/evil.example", id="T09-backslash-slash"),
    pytest.param("\\\\evil.example", id="T09-two-backslashes"),
    pytest.param("/\\/evil.example", id="T09-slash-backslash-slash"),
    pytest.param("https:evil.example", id="T09-scheme-without-slashes"),
    pytest.param("https:/evil.example", id="T09-scheme-and-one-slash"),
    pytest.param("https:///evil.example", id="T09-scheme-and-three-slashes"),
    pytest.param("https://evil.example", id="T09-url"),
    pytest.param("https://localhost/", id="T09-url-of-our-own"),
    pytest.param("https://localhost@evil.example/", id="T09-userinfo"),
    pytest.param("//localhost@evil.example/", id="T09-userinfo-without-a-scheme"),
    pytest.param("javascript:alert(1)", id="T09-javascript"),
    pytest.param("data:text/html,x", id="T09-data"),
    pytest.param("/\t/evil.example", id="T09-tab"),
    pytest.param("/\n/evil.example", id="T09-newline"),
    pytest.param("/\r/evil.example", id="T09-carriage-return"),
    pytest.param("\t//evil.example", id="T09-tab-first"),
    pytest.param(" //evil.example", id="T09-space-first"),
    pytest.param("/a\r\nSet-Cookie: a=b", id="T09-crlf"),
    pytest.param("/a\x00", id="T09-nul"),
    pytest.param("/a\x1f", id="T09-control"),
    pytest.param("/a\x7f", id="T09-delete"),
    pytest.param("/a/..\\..\\evil", id="T09-backslash-inside"),
    pytest.param("evil.example", id="T09-relative"),
    pytest.param("?next=//evil.example", id="T09-query-alone"),
    pytest.param("#//evil.example", id="T09-fragment-alone"),
    pytest.param("\u2028//evil.example", id="T09-line-separator"),
    pytest.param("\u3000//evil.example", id="T09-wide-space"),
    pytest.param("%2f%2fevil.example", id="T09-encoded-twice"),
    pytest.param("/" * 2000 + "evil.example", id="T09-many-slashes"),
    pytest.param("/" + "a" * 100_000, id="T09-huge"),
]


@each_case("target", TARGETS_ELSEWHERE)
def test_after_a_login_nobody_is_sent_to_another_host(visited: Flask, target: str) -> None:
    client = visited.test_client()
    for answer in (
        client.get("/login", query_string={"next": target}),
        client.post("/login", query_string={"next": target}),
        client.post("/login", data={"next": target}),
        client.post("/login", query_string={"next": target}, data={"next": "/fine"}),
        client.get(f"/login?next={quote(target)}&next=/fine"),
    ):
        assert (answer.status_code, answer.headers["Location"]) == (303, "/home")


@each_case(
    ("query", "location"),
    [
        pytest.param("next=/%250d%250aSet-Cookie:a=b", "/%0d%0aSet-Cookie:a=b", id="T09-crlf-kept"),
        pytest.param("next=/%252f/evil.example", "/%2f/evil.example", id="T09-slash-kept"),
        pytest.param("next=/%255cevil.example", "/%5cevil.example", id="T09-backslash-kept"),
        pytest.param("next=/@evil.example", "/@evil.example", id="T09-at-in-a-path"),
        pytest.param("next=/a?b=https://evil.example", "/a?b=https://evil.example", id="T09-query"),
        pytest.param("next=/%ED%A0%80", "/%ED%A0%80", id="T09-lone-surrogate"),
        pytest.param("next=/%E2%80%A8/x", "/%E2%80%A8/x", id="T09-line-separator-inside"),
        pytest.param("next=&next=//evil.example", "/home", id="T09-empty-then-evil"),
        pytest.param("next=%C3%28", "/home", id="T09-no-utf-8"),
        pytest.param("next=/a;//evil.example", "/a;//evil.example", id="T09-semicolon"),
    ],
)
def test_what_is_a_path_of_this_host_stays_one(visited: Flask, query: str, location: str) -> None:
    answer = visited.test_client().post(f"/login?{query}")
    assert answer.headers["Location"] == location
    assert stays(location)
    assert set_by(answer).keys() == {("sessionId", "/")}


@each_case("query", ["next=\xff", "\xa0", "next=/a&x=\xd2\x80\xff", "\xc3"])
def test_T09_bytes_that_are_no_text_are_no_next_and_no_error(visited: Flask, query: str) -> None:
    client = visited.test_client()
    answer = client.post("/login", environ_overrides={"QUERY_STRING": query})
    assert answer.status_code in (303, 400)
    sent = client.application.test_client().get(
        "/page", headers=PAGE, environ_overrides={"QUERY_STRING": query}
    )
    assert sent.status_code == 302
    assert stays(sent.headers["Location"])


PATHS_IN = [
    "//evil.example", "/%2fevil.example", "/\\evil.example", "/;//evil.example", "/\r\nX: y",
    "/\xff\xfe", "/a?b#c", "/" + "a" * 5000, "", "/%", "/..//evil.example", "/./", "/\x00",
]  # fmt: skip


@each_case("path", PATHS_IN)
@each_case("query", ["", "a=//evil.example", "a b", "\xff", "#x", "next=/x&next=/y"])
def test_T09_whatever_was_asked_for_the_way_back_is_a_path(
    make_jam: MakeJam, path: str, query: str
) -> None:
    app = pages(make_jam(login_view="login"))
    app.url_map.merge_slashes = False
    app.add_url_rule("/<path:rest>", "rest", session_required(lambda rest: rest))
    app.add_url_rule("/", "root", session_required(lambda: ""))
    environ = {"PATH_INFO": path, "QUERY_STRING": query}
    answer = app.test_client().get("/", headers=PAGE, environ_overrides=environ)
    if answer.status_code == 302:
        location = answer.headers["Location"]
        assert stays(location)
        back = parse_qs(urlsplit(location).query).get("next", ["/"])
        assert len(back) == 1
        assert stays(quote(back[0], safe="/\\%?#"))
    else:
        # Werkzeug's: no rule takes a line break, and nothing at all is the root.
        assert answer.status_code == (308 if path == "" else 404)


# --- R06, R13 the refresh cookie --------------------------------------------------------------


def refreshing(jam: Jam) -> tuple[Flask, str]:
    """An app whose tokens are in cookies, and the refresh token of Ann."""
    return site(jam, header_name=None), str(jam.issue_tokens("ann")["refresh_token"])


@each_case("headers", [{}, PAGE], ids=["script", "page"])
@each_case("late", [0, 11, 3600, 30 * 86400])
def test_R06_the_tab_that_loses_clears_no_cookie(
    jam: Jam, clock: Clock, headers: dict[str, str], late: float
) -> None:
    app, token = refreshing(jam)
    won = raw(app, "/refresh", f"token_refresh={token}", "POST", headers=headers)
    assert won.status_code == 200
    clock.tick(late)
    lost = raw(app, "/refresh", f"token_refresh={token}", "POST", headers=headers)
    assert lost.status_code == (200 if late == 0 else 401)
    # The other tab may have logged in again by now: what its answer set must stay.
    assert cleared(lost) == set()


def test_R06_tabs_that_refresh_at_once_all_end_with_the_same_token(jam: Jam) -> None:
    app, token = refreshing(jam)
    cookie = f"token_refresh={token}"
    answers = at_once(6, lambda _: raw(app, "/refresh", cookie, "POST"))
    assert {answer.status_code for answer in answers} == {200}
    values = {set_by(answer)["token_refresh", "/refresh"].value for answer in answers}
    assert len(values) == 1
    assert not any(map(cleared, answers))
    following = raw(app, "/refresh", f"token_refresh={values.pop()}", "POST")
    assert following.status_code == 200


@each_case("headers", [{}, PAGE], ids=["script", "page"])
def test_R06_a_bad_refresh_token_does_not_cost_a_good_access_token(
    jam: Jam, headers: dict[str, str]
) -> None:
    app, _ = refreshing(jam)
    good = jam.issue_tokens("ann")["access_token"]
    for bad in ("x", "a.1.b", "A" * 5000, '"1\\073"'):
        cookie = f"token={good}; token_refresh={bad}"
        answer = raw(app, "/refresh", cookie, "POST", headers=headers)
        assert (answer.status_code, cleared(answer)) == (401, set())
    assert raw(app, "/jwt", f"token={good}").json["subject"] == "ann"


def test_R06_a_store_that_is_down_costs_no_cookie(make_jam: MakeJam) -> None:
    store = FlakyStore()
    app, token = refreshing(make_jam(store=store))
    store.fail()
    for path in ("/refresh", "/jwt", "/session", "/session/renew", "/sessions", "/session/end"):
        cookie = f"token_refresh={token}; token={token}; sessionId={'A' * 45}"
        answer = raw(app, path, cookie, "POST", headers=PAGE)
        assert answer.status_code in (401, 503)
        assert cleared(answer) <= ({"token"} if path == "/jwt" else set()), path
    store.recover()
    assert raw(app, "/refresh", f"token_refresh={token}", "POST").status_code == 200


@each_case(
    "headers",
    [
        pytest.param(ELSEWHERE, id="R13-cross-site"),
        pytest.param({"Origin": "https://www.shop.example"}, id="R13-sibling"),
        pytest.param({"Origin": "null"}, id="R13-null"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, id="R13-same-site"),
        pytest.param({**ELSEWHERE, "Authorization": "Basic YTpi"}, id="R13-junk-header"),
    ],
)
def test_another_site_refreshes_nothing(jam: Jam, headers: dict[str, str]) -> None:
    app, token = refreshing(jam)
    own = jam.issue_tokens("mallory")["refresh_token"]
    cookie = f"token_refresh={token}"
    for options in ({}, {"data": {"refresh_token": own}}, {"json": {"refresh_token": own}}):
        answer = raw(app, "/refresh", cookie, "POST", base_url=HTTPS, headers=headers, **options)
        assert is_csrf(answer)
    # Neither was rotated.
    for each in (token, own):
        assert jam.refresh_tokens(each)["refresh_token"]


# --- our own: the login page that cannot be reached -------------------------------------------

# Others, such as one with a port that is no number, break older versions of Flask by themselves.
ODD_HOSTS = ["", "a b", "\xff", "a/b", "a@b", "x" * 3000, "a..b", ".", "-", "\u00e9.example"]


@each_case("host", ODD_HOSTS, ids=lambda host: repr(host[:12]))
@each_case("headers", [PAGE, {}, {"HX-Request": "true"}], ids=["page", "api", "htmx"])
def test_a_host_that_is_none_breaks_no_refusal(
    visited: Flask, host: str, headers: dict[str, str]
) -> None:
    # A guard of every request runs before Flask has told that there is no such host.
    visited.before_request(lambda: session_required.enforce())
    for path in ("/page", "/nowhere", "/login"):
        environ = {"HTTP_HOST": host}
        answer = visited.test_client().get(path, headers=headers, environ_overrides=environ)
        assert answer.status_code in (302, 400, 401)
        assert stays(answer.headers.get("Location", "/"))


@each_case("headers", [PAGE, {}, {"HX-Request": "true"}], ids=["page", "api", "htmx"])
def test_a_host_that_is_not_trusted_breaks_no_refusal(
    visited: Flask, headers: dict[str, str]
) -> None:
    visited.config["TRUSTED_HOSTS"] = ["shop.example"]
    visited.before_request(lambda: session_required.enforce())
    sent = {**headers, "Host": "evil.example"}
    assert visited.test_client().get("/page", headers=sent).status_code in (302, 400, 401)


def in_languages(jam: Jam) -> Flask:
    """The language of a login page is that of the page before it; some pages have none."""
    app = Flask("languages")
    SessionExtension(jam, app)

    @app.url_defaults
    def language(endpoint: str, values: dict[str, Any]) -> None:
        if "lang" in (request.view_args or {}) and endpoint == "login":
            values.setdefault("lang", request.view_args["lang"])  # type: ignore[index]

    app.add_url_rule("/<lang>/login", "login", lambda lang: lang)
    app.add_url_rule("/<lang>/page", "page", session_required(lambda lang: lang))
    app.add_url_rule("/page", "plain", session_required(lambda: ""))
    return app


def test_a_login_page_may_take_its_arguments_from_the_page_before(make_jam: MakeJam) -> None:
    client = in_languages(make_jam(login_view="login")).test_client()
    assert client.get("/de/page", headers=PAGE).location == "/de/login?next=/de/page"
    assert client.get("/a%2Fb%3F/page", headers=PAGE).status_code in (302, 404)


@each_case("headers", [PAGE, {}, {"HX-Request": "true"}], ids=["page", "api", "htmx"])
def test_a_login_page_whose_url_cannot_be_built_is_a_401(
    make_jam: MakeJam, headers: dict[str, str]
) -> None:
    client = in_languages(make_jam(login_view="login")).test_client()
    answer = client.get("/page", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Cookie realm="api"'


@each_case("rules", [["/login"], []], ids=["of any method", "without a URL"])
def test_a_login_view_that_was_routed_by_hand(make_jam: MakeJam, rules: list[str]) -> None:
    app = Flask("by hand")
    app.testing = True
    SessionExtension(make_jam(login_view="login"), app)
    app.view_functions["login"] = lambda: "form"
    app.add_url_rule("/page", "page", session_required(lambda: ""))
    for rule in rules:
        app.url_map.add(Rule(rule, endpoint="login"))  # it takes every method
    if rules:
        assert app.test_client().get("/page", headers=PAGE).location == "/login?next=/page"
    else:
        with pytest.raises(ConfigError, match="login_view"):
            app.test_client().get("/page", headers=PAGE)


# --- our own: hosts, mounts, handlers, loops --------------------------------------------------


def on_hosts(jam: Jam) -> Flask:
    app = Flask("hosts", host_matching=True, static_host="www.example")
    SessionExtension(jam, app)
    app.add_url_rule("/login", "login", lambda: "form", host="auth.example")
    app.add_url_rule("/own", "own", session_required(lambda: ""), host="auth.example")
    app.add_url_rule("/page", "page", session_required(lambda: ""), host="www.example")
    return app


def on_subdomains(jam: Jam) -> Flask:
    app = Flask("subdomains", subdomain_matching=True)
    app.config["SERVER_NAME"] = "example"
    SessionExtension(jam, app)
    app.add_url_rule("/login", "login", lambda: "form", subdomain="auth")
    app.add_url_rule("/own", "own", session_required(lambda: ""), subdomain="auth")
    app.add_url_rule("/page", "page", session_required(lambda: ""), subdomain="www")
    return app


@each_case("build", [on_hosts, on_subdomains])
def test_a_login_page_on_a_host_of_its_own_is_found_there(
    make_jam: MakeJam, build: Callable[[Jam], Flask]
) -> None:
    client = build(make_jam(login_view="login")).test_client()
    there = client.get("/page", headers=PAGE, base_url="https://www.example")
    assert there.location == "https://auth.example/login"
    own = client.get("/own", headers=PAGE, base_url="https://auth.example")
    assert own.location == "/login?next=/own"
    htmx = {"HX-Request": "true", "HX-Current-URL": "https://www.example/list"}
    told = client.get("/page", headers=htmx, base_url="https://www.example")
    assert told.headers["HX-Redirect"] == "https://auth.example/login"


@pytest.mark.filterwarnings("ignore:Current server name")
@each_case("build", [on_hosts, on_subdomains])
@each_case("host", ["evil.example", "www.example.evil", "auth.example@evil", ""])
def test_a_host_that_the_app_does_not_have_is_never_one_to_log_in_at(
    make_jam: MakeJam, build: Callable[[Jam], Flask], host: str
) -> None:
    app = build(make_jam(login_view="login"))
    app.before_request(lambda: session_required.enforce())
    for path in ("/page", "/own", "/login", "/nowhere"):
        answer = app.test_client().get(path, headers=PAGE, environ_overrides={"HTTP_HOST": host})
        assert answer.status_code in (302, 400, 401, 404)
        assert answer.location in (None, "http://auth.example/login")


def test_an_app_below_another_has_a_login_page_and_cookies_of_its_own(make_jam: MakeJam) -> None:
    jam = make_jam(login_view="/login")
    outer, inner = pages(jam), site(jam, header_name=None)
    outer.wsgi_app = DispatcherMiddleware(outer.wsgi_app, {"/in": inner})  # type: ignore[method-assign]
    client = outer.test_client()
    assert client.get("/page", headers=PAGE).location == "/login?next=/page"
    assert client.get("/in/session", headers=PAGE).location == "/in/login?next=/in/session"
    made = set_by(client.post("/in/login", base_url=HTTPS))
    assert set(made) == {
        ("token", "/"), ("token_refresh", "/in/refresh"), ("token_logout", "/in/logout"),
    }  # fmt: skip
    # One Jam, one name and one path: who logs in at one of the two is known to the other.
    client.post("/login")
    client.set_cookie("sessionId", jam.create_session("ann", {}))
    assert client.get("/in/session").json["subject"] == "ann"


def test_an_app_that_asks_another_within_a_request_stays_with_its_own(make_jam: MakeJam) -> None:
    one, two = make_jam(), make_jam()
    outer, inner = Flask("outer"), site(two)
    SessionExtension(one, outer)

    def ask() -> Response:
        answer = Response.from_app(inner.wsgi_app, {**request.environ, "PATH_INFO": "/session"})
        return Response(f"{answer.status_code} {current_auth().subject}")  # type: ignore[union-attr]

    outer.add_url_rule("/", "ask", session_required(ask))
    answer = raw(outer, "/", f"sessionId={one.create_session('ann', {})}", headers=PAGE)
    assert answer.text == "401 ann"
    assert kept(answer)[0] == "no-store"
    assert "Set-Cookie" not in answer.headers, "what the inner app cleared is not for the browser"


def extra(error: Exception) -> Any:
    return "own", getattr(error, "code", 500), getattr(error, "extra_headers", {})


def as_json(error: HTTPException) -> Any:
    response: Any = error.get_response()
    response.data, response.content_type = json.dumps({"e": error.name}), "application/json"
    return response


@each_case("kind", [Exception, HTTPException, Refusal])
@each_case("handler", [extra, as_json])
def test_a_handler_of_the_apps_own_never_loses_the_way(
    visited: Flask, kind: Any, handler: Any
) -> None:
    visited.register_error_handler(kind, handler)
    client = visited.test_client()
    there = client.get("/page", headers=PAGE)
    assert (there.status_code, there.location) == (302, "/login?next=/page")
    api = client.get("/page")
    assert (api.status_code, api.headers["WWW-Authenticate"]) == (401, 'Cookie realm="api"')
    htmx = client.get("/page", headers={"HX-Request": "true"})
    assert htmx.headers["HX-Redirect"] == "/login"


def test_a_handler_that_logs_somebody_in_keeps_the_new_cookie(make_jam: MakeJam) -> None:
    app = pages(make_jam())
    session = app.extensions["flask_jam"].owners["session"]
    app.register_error_handler(401, lambda _error: (session.login("guest"), 200))
    client = app.test_client()
    client.set_cookie("sessionId", "A" * 45)
    (line,) = client.get("/page", headers=PAGE).headers.getlist("Set-Cookie")
    assert "Max-Age=0" not in line


@each_case("view", ["login", "/login"])
def test_no_login_page_goes_round_in_circles(make_jam: MakeJam, view: str) -> None:
    app = pages(make_jam(login_view=view))
    app.before_request(lambda: session_required.enforce())
    for path in ("/login", "/login?next=/login", "/login?next=/page"):
        assert app.test_client().get(path, headers=PAGE).status_code == 401


def test_the_way_to_a_path_with_a_slash_at_its_end_has_an_end(make_jam: MakeJam) -> None:
    app = Flask("slashes")
    SessionExtension(make_jam(login_view="/login"), app)
    app.add_url_rule("/login/", "login", session_required(lambda: "form"))
    answer = app.test_client().get("/login/", headers=PAGE)
    assert answer.status_code == 401


@each_case("method", ["HEAD", "OPTIONS"])
def test_what_only_looks_is_answered_as_a_get_or_by_flask(visited: Flask, method: str) -> None:
    answer = visited.test_client().open("/page", method=method, headers=PAGE)
    assert answer.status_code == (302 if method == "HEAD" else 200)
    assert answer.data == b"" or method == "OPTIONS"
    assert "Set-Cookie" not in answer.headers


# --- our own: cookies that should stay --------------------------------------------------------


def test_a_token_that_is_for_another_app_is_not_taken_from_it(make_jam: MakeJam) -> None:
    # Two apps below one domain, each with an audience of its own, share a cookie for both.
    shared: dict[str, Any] = {"cookie_domain": "shop.example"}
    app = site(make_jam(jwt={"audience": "here"}, **shared), header_name=None)
    for jwt in ({"audience": "there"}, {"audience": "here", "issuer": "https://there"}):
        token = make_jam(jwt=jwt, **shared).issue_tokens("ann")["access_token"]
        answer = raw(app, "/jwt", f"token={token}", headers=PAGE)
        if answer.status_code != 200:
            assert (answer.status_code, cleared(answer)) == (401, set())


@each_case("use", ["refresh", "logout"])
@each_case("first", ["jwt", "session"])
def test_no_two_schemes_share_a_cookie(jam: Jam, first: str, use: str) -> None:
    # On the paths where both arrive every request would be malformed, for ever.
    app = Flask("names")
    jwt = JWTExtension(jam, cookie_name="token")
    session = SessionExtension(jam, cookie_name=f"token_{use}")
    one, two = (jwt, session) if first == "jwt" else (session, jwt)
    one.init_app(app)
    with pytest.raises(ConfigError, match=f"token_{use}"):
        two.init_app(app)


@each_case("use", ["refresh", "logout"])
def test_a_refresh_token_does_not_share_the_cookie_of_flasks_session(jam: Jam, use: str) -> None:
    app = Flask("names")
    app.config["SESSION_COOKIE_NAME"] = f"token_{use}"
    with pytest.raises(ConfigError, match=f"token_{use}"):
        JWTExtension(jam, app, cookie_name="token")


def test_only_the_scheme_whose_cookie_is_dead_loses_it(app: Flask, jam: Jam) -> None:
    good, token = jam.create_session("ann", {}), jam.issue_tokens("ann")["access_token"]
    dead = jam.issue_tokens("ann")["access_token"]
    jam.revoke_token(dead)
    strange = "A" * 45  # another app's, maybe
    for path, cookie, gone in (
        ("/session", f"sessionId={strange}; token={token}", set()),
        ("/jwt", f"sessionId={good}; token=a.b.c", set()),
        ("/jwt", f"sessionId={good}; token={dead}", {"token"}),
        ("/either", f"sessionId={good}; token={dead}", {"token"}),
        ("/open", f"sessionId={strange}; token={dead}", set()),
        ("/public", f"sessionId={strange}; token={dead}", set()),
    ):
        assert cleared(raw(app, path, cookie, headers=PAGE)) == gone, path


# --- our own: people look after their sessions ------------------------------------------------


def handles(jam: Jam, name: str) -> list[str]:
    return [each.handle for each in jam.list_sessions(name)]


def test_nobody_sees_or_ends_a_session_of_somebody_else(app: Flask, jam: Jam) -> None:
    ids = {name: jam.create_session(name, {}) for name in ("ann", "bob")}
    (of_bob,) = handles(jam, "bob")
    ann = f"sessionId={ids['ann']}"
    own, listed = raw(app, "/sessions", ann).json
    assert listed == [own] == handles(jam, "ann")
    odd = [
        of_bob,
        ids["bob"],
        ids["ann"],
        "x",
        "\u00e9",
        "a" * 10_000,
        "..",
        of_bob + "=",
        "*",
        "0",
    ]
    for handle in odd:
        assert raw(app, f"/sessions/end/{quote(handle)}", ann, "POST").json is False
    assert raw(app, "/sessions/end-others", ann, "POST").json == 0
    assert (handles(jam, "ann"), handles(jam, "bob")) == ([own], [of_bob])


@each_case("handle", [None, 1, b"x", [], {}, True, object()], ids=repr)
def test_a_handle_of_an_odd_type_is_nobodys(app: Flask, jam: Jam, handle: Any) -> None:
    session = app.extensions["flask_jam"].owners["session"]
    app.add_url_rule("/odd", "odd", lambda: jsonify(session.end(handle)))
    assert raw(app, "/odd", f"sessionId={jam.create_session('ann', {})}").json is False
    assert len(handles(jam, "ann")) == 1


LOOKING = ("/sessions", "/sessions/end/x", "/sessions/end-others")


def test_who_is_nobody_has_no_sessions_to_look_after(app: Flask, jam: Jam, clock: Clock) -> None:
    ended, old = (jam.create_session("ann", {}) for _ in range(2))
    jam.delete_session(ended)
    clock.tick(86401)
    alive, of_bob = jam.create_session("ann", {}), jam.create_session("bob", {})
    token = jam.issue_tokens("ann")["access_token"]
    for path in LOOKING:
        for cookie, expected in (
            ("", COOKIE), (f"sessionId={ended}", COOKIE), (f"sessionId={old}", COOKIE),
            (f"token={token}", COOKIE), (f"sessionId={alive}; sessionId={of_bob}", R),
        ):  # fmt: skip
            answer = raw(app, path, cookie, "POST")
            assert verdict(answer) == expected
            assert "Set-Cookie" not in answer.headers
    assert len(handles(jam, "ann")) == 1


@each_case("then", ["list", "end_others", "end", "refresh"])
def test_after_a_logout_in_the_same_request_nobody_is_there(
    app: Flask, jam: Jam, then: str
) -> None:
    session = app.extensions["flask_jam"].owners["session"]

    def gone() -> Any:
        session.logout()
        return jsonify(getattr(session, then)(*(["x"] if then == "end" else [])))

    app.add_url_rule("/gone", "gone", session_required(gone))
    other = jam.create_session("ann", {})
    answer = raw(app, "/gone", f"sessionId={jam.create_session('ann', {})}")
    assert (answer.status_code, cleared(answer)) == (401, {"sessionId"})
    assert jam.get_session(other) == {}


def test_they_work_where_a_header_carries_the_session(jam: Jam) -> None:
    app = Flask("header")
    session = SessionExtension(jam, app, header_name="Authorization", cookie_name=None)
    app.add_url_rule("/list", "list", lambda: jsonify([session.handle(), len(session.list())]))
    app.add_url_rule("/others", "others", lambda: jsonify(session.end_others()), methods=["POST"])
    client = app.test_client()
    mine, other = (jam.create_session("ann", {}) for _ in range(2))
    assert client.get("/list", headers=bearer(mine)).json[1] == 2
    # A header is no ambient credential: where it comes from does not matter.
    answer = client.post("/others", headers={**bearer(mine), **ELSEWHERE})
    assert (answer.json, jam.get_session(other)) == (1, None)
    assert verdict(client.get("/list", headers=bearer(other))) == T
    assert verdict(client.get("/list")) == N
    assert "Set-Cookie" not in client.get("/list", headers={**bearer(other), **PAGE}).headers


def test_they_follow_the_session_that_the_request_itself_has_made(app: Flask, jam: Jam) -> None:
    session = app.extensions["flask_jam"].owners["session"]

    def switch() -> Any:
        session.login("bob")
        return jsonify([session.handle(), [each.handle for each in session.list()]])

    app.add_url_rule("/switch", "switch", switch, methods=["POST"])
    answer = raw(app, "/switch", f"sessionId={jam.create_session('ann', {})}", "POST")
    assert answer.json == [handles(jam, "bob")[0], handles(jam, "bob")]
    assert handles(jam, "ann") == []


def test_ending_all_others_at_once_leaves_one_at_most_and_never_an_error(
    app: Flask, jam: Jam
) -> None:
    ids = [jam.create_session("ann", {}) for _ in range(6)]
    answers = at_once(6, lambda n: raw(app, "/sessions/end-others", f"sessionId={ids[n]}", "POST"))
    assert {answer.status_code for answer in answers} <= {200, 401}
    assert len(handles(jam, "ann")) <= 1


# --- our own: anything at all -----------------------------------------------------------------


@pytest.fixture(scope="module")
def fuzzed() -> Flask:
    """Both schemes, sharing a header; what no view handles is raised."""
    jam = Jam({"jwt": {"secret_key": SECRET}, "login_view": "/login-page"}, clock=Clock())
    app = Flask("fuzzed")
    app.testing = True
    jwt = JWTExtension(jam, app, cookie_name="token")
    session = SessionExtension(jam, app, header_name="Authorization")
    verbs = {"in": lambda: session.login("ann"), "jin": lambda: jwt.login("ann"),
             "refresh": jwt.refresh, "renew": session.refresh,
             "logout": lambda: (jwt.logout(), session.logout(), {})[2],
             "list": lambda: str(session.list()), "others": lambda: str(session.end_others()),
             "open": said, "s": session_required(said), "j": jwt_required(said),
             "e": (jwt_required | session_required(max_age=5))(said),
             "o": session_required(optional=True)(said)}  # fmt: skip
    for name, verb in verbs.items():
        app.add_url_rule(f"/{name}", name, verb, methods=ALL)
    return app


BYTES = st.text(st.characters(max_codepoint=255), max_size=12)
WORDS = st.sampled_from(
    ["text/html", "*/*", "application/json", "q=0.5", "q=x", ";", ",", "=", '"', "\\", " ", "\t",
     "https://localhost", "http://", "//", "[", "null", "none", "same-origin", "cross-site",
     "navigate", "true", "Bearer ", "a.b.c", "A" * 45, "sessionId", "token", "token_refresh",
     "/", "?", "#", "%", "%00", "\xff"]
)  # fmt: skip
VALUES = st.lists(WORDS | BYTES, max_size=6).map("".join)
HEADERS = st.dictionaries(
    st.sampled_from(["ACCEPT", "COOKIE", "AUTHORIZATION", "ORIGIN", "SEC_FETCH_SITE",
                     "SEC_FETCH_MODE", "HX_REQUEST", "HX_CURRENT_URL", "USER_AGENT",
                     "X_REQUESTED_WITH", "TRANSFER_ENCODING"]),
    VALUES, max_size=6,
)  # fmt: skip


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)  # fmt: skip
@example({"HX_REQUEST": "true"}, "GET", "s", "/\xc3\xbc", "")
@example({"ACCEPT": "text/html", "COOKIE": "sessionId=x"}, "POST", "refresh", "/m", "\xff")
@given(
    headers=HEADERS,
    method=st.sampled_from([*ALL, "HEAD", "OPTIONS"]),
    path=st.sampled_from(["in", "jin", "refresh", "renew", "logout", "list", "others", "open", "s",
                          "j", "e", "o"]),
    root=st.sampled_from(["", "/m", "/\xc3\xbc"]),
    query=VALUES,
)  # fmt: skip
def test_nothing_that_a_client_sends_breaks_anything(
    fuzzed: Flask, headers: dict[str, str], method: str, path: str, root: str, query: str
) -> None:
    environ = {f"HTTP_{name}": value for name, value in headers.items()}
    environ.update(PATH_INFO=f"/{path}", QUERY_STRING=query, SCRIPT_NAME=root)
    client = fuzzed.test_client(use_cookies=False)
    answer = client.open("/", method=method, environ_overrides=environ)
    assert answer.status_code in (200, 302, 303, 400, 401, 403)
    for name in ("Location", "HX-Redirect"):
        assert stays(answer.headers.get(name, "/"))
    set_by(answer)
    if path in ("s", "j", "e"):
        # Nothing in these requests is a good credential.
        assert answer.status_code != 200 or method == "OPTIONS"


def test_what_is_rejected_is_told_once_and_holds_no_secret(app: Flask, jam: Jam) -> None:
    heard: list[dict[str, Any]] = []
    ended = jam.create_session("ann", {})
    jam.delete_session(ended)
    with signals.rejected.connected_to(lambda _, **what: heard.append(what), app):
        raw(app, "/session", f"sessionId={ended}", headers=PAGE)
    assert [(str(what["reason"]), what["source"]) for what in heard] == [
        ("unknown_session", "cookie")
    ]
    assert ended not in repr(heard)
