"""How a credential travels: every line T01 to T15 of the attack catalogue.

The test client and WSGI servers differ in how they join header lines and fold them, so what
depends on that is also sent over a socket to a real server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
from flask import Flask, Response, request
from flask.testing import FlaskClient

from flask_jam import (
    ConfigError,
    Jam,
    JWTExtension,
    Reason,
    SessionExtension,
    TokenError,
    current_auth,
    jwt_required,
    session_required,
)

from ..cases import each_case
from ..conftest import SECRET, Clock, bearer, build_app
from .craft import (
    COOKIE,
    EXPIRED,
    OK,
    N,
    R,
    RawResponse,
    T,
    Verdict,
    claims,
    forged,
    on_every_route,
    served,
    signed,
    verdict,
)

MakeJam = Callable[..., Jam]
Ask = Callable[..., RawResponse]

A, B = signed(claims(jti="a", sub="alice")), signed(claims(jti="b", sub="bob"))
BASIC = "Basic YWxpY2U6c2VjcmV0"


def answer(client: FlaskClient, header: str, path: str = "/jwt") -> Verdict:
    return verdict(client.get(path, environ_overrides={"HTTP_AUTHORIZATION": header}))


def with_cookies(client: FlaskClient, header: str, path: str = "/jwt") -> Any:
    """The Cookie header as it is: the client's own jar would rewrite it."""
    raw = client.application.test_client(use_cookies=False)
    return raw.get(path, environ_overrides={"HTTP_COOKIE": header})


def subject_of(response: Any) -> Any:
    return response.json["subject"]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """A client of a real server, at the standing clock of the tests."""
    jam = Jam({"jwt": {"secret_key": SECRET}}, clock=Clock())
    with served(build_app(jam)) as ask:
        yield ask


def test_the_server_takes_a_good_token_so_that_refusals_mean_something(ask: Ask) -> None:
    response = ask("/jwt", f"Authorization: Bearer {A}")

    assert verdict(response) == OK
    assert response.json["subject"] == "alice"


# --- T01 two headers, folded headers --------------------------------------------------

TWO = [
    pytest.param(f"Bearer {A}", f"Bearer {B}", id="T01-two-good-tokens"),
    pytest.param(f"Bearer {A}", f"Bearer {A}", id="T01-the-same-token-twice"),
    pytest.param(f"Bearer {A}", f"Bearer {forged(B)}", id="T01-good-then-forged"),
    pytest.param(f"Bearer {forged(A)}", f"Bearer {B}", id="T01-forged-then-good"),
    pytest.param("Bearer a", "Bearer b", id="T01-two-that-are-no-tokens"),
    pytest.param(f"Bearer {A}", BASIC, id="T01-token-then-basic"),
    pytest.param(BASIC, f"Bearer {A}", id="T01-basic-then-token"),
    pytest.param(f"Bearer {A}", "", id="T01-token-then-empty"),
    pytest.param("", f"Bearer {A}", id="T01-empty-then-token"),
    pytest.param("Bearer", f"Bearer {A}", id="T01-bare-scheme-then-token"),
    pytest.param(f"bearer {A}", f"BEARER {B}", id="T01-letter-case"),
]


@each_case("glue", [",", ", "], ids=["comma", "comma-space"])
@each_case(("first", "second"), TWO)
def test_two_authorization_headers_are_a_malformed_request(
    client: FlaskClient, first: str, second: str, glue: str
) -> None:
    sent = {"Authorization": first + glue + second}

    assert on_every_route(client, sent) == {R}


@each_case(("first", "second"), TWO)
def test_two_authorization_lines_on_the_wire_are_a_malformed_request(
    ask: Ask, first: str, second: str
) -> None:
    for path in ("/jwt", "/optional"):
        response = ask(path, f"Authorization: {first}", f"authorization: {second}")
        assert verdict(response) == R


@each_case(
    "lines",
    [
        pytest.param(("Authorization: Bearer a", " b"), id="T01-folded-value"),
        pytest.param((f"Authorization: Bearer {A[:50]}", f" {A[50:]}"), id="T01-folded-token"),
        pytest.param((f"Authorization: Bearer {A[:50]}", f"\t{A[50:]}"), id="T01-folded-by-tab"),
        pytest.param((f"Authorization: Bearer {A}", f" , Bearer {B}"), id="T01-folded-second"),
    ],
)
def test_a_folded_header_is_a_malformed_request(ask: Ask, lines: tuple[str, ...]) -> None:
    # RFC 9112 5.2 lets a server refuse it, or turn the fold into spaces: 400 either way.
    assert ask("/jwt", *lines).status_code == 400
    assert ask("/optional", *lines).status_code == 400


@each_case(("first", "second"), TWO)
def test_two_headers_are_malformed_on_a_shared_header_too(
    jam: Jam, first: str, second: str
) -> None:
    app = Flask("shared header")
    JWTExtension(jam, app)
    SessionExtension(jam, app, header_name="Authorization")
    app.add_url_rule("/jwt", "jwt", jwt_required(lambda: "in"))
    app.add_url_rule("/optional", "optional", jwt_required(optional=True)(lambda: "in"))
    app.add_url_rule("/session", "session", session_required(lambda: "in"))
    app.add_url_rule("/either", "either", (jwt_required | session_required)(lambda: "in"))
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("mallory", {}))

    for path in ("/jwt", "/optional", "/session", "/either"):
        assert answer(client, f"{first},{second}", path) == R, path


# --- T02 several places at once -------------------------------------------------------


@pytest.fixture
def both(jam: Jam) -> FlaskClient:
    """A client of an app that takes a token from the header or from a cookie."""
    return build_app(jam, cookie_name="token").test_client()


def test_T02_an_explicit_header_beats_an_ambient_cookie(both: FlaskClient) -> None:
    # The catalogue refuses the combination. By the contract the explicit one counts alone, for
    # browsers add their cookie to whatever a script sends.
    both.set_cookie("token", B)

    assert subject_of(both.get("/jwt")) == "bob"
    assert subject_of(both.get("/jwt", headers=bearer(A))) == "alice"
    both.set_cookie("token", forged(B))
    assert subject_of(both.get("/jwt", headers=bearer(A))) == "alice"


@each_case(
    ("header", "expected"),
    [
        pytest.param(f"Bearer {forged(A)}", T, id="T02-forged"),
        pytest.param(f"Bearer {signed(claims(exp=1))}", EXPIRED, id="T02-expired"),
        pytest.param("Bearer", R, id="T02-scheme-alone"),
        pytest.param("Bearer a b", R, id="T02-malformed"),
        pytest.param(f"Bearer {A},Bearer {B}", R, id="T02-two"),
        pytest.param(f"{BASIC},Bearer {A}", R, id="T02-basic-and-bearer"),
        pytest.param(f"Bearer {'a' * 300_000}", T, id="T02-too-large"),
    ],
)
def test_a_bad_header_is_never_passed_over_for_a_good_cookie(
    both: FlaskClient, header: str, expected: Verdict
) -> None:
    both.set_cookie("token", B)

    for path in ("/jwt", "/optional", "/either"):
        assert answer(both, header, path) == expected
    assert both.get("/open", headers={"Authorization": header}).json["payload"] is None


def test_T02_a_bad_token_is_never_passed_over_for_a_good_session(
    jam: Jam, client: FlaskClient
) -> None:
    client.set_cookie("sessionId", jam.create_session("bob", {}))
    assert subject_of(client.get("/either")) == "bob"

    assert answer(client, f"Bearer {forged(A)}", "/either") == T
    assert answer(client, "Bearer a b", "/either") == R
    assert answer(client, f"Bearer {forged(A)}", "/open") == OK
    assert client.get("/open", headers=bearer(forged(A))).json["payload"] is None


def test_T02_two_living_cookies_of_two_people_are_a_malformed_request(both: FlaskClient) -> None:
    for first, second in ((A, B), (B, A)):
        sent = f"token={first}; token={second}"
        for path in ("/jwt", "/optional", "/either"):
            assert verdict(with_cookies(both, sent, path)) == R
        assert with_cookies(both, sent, "/open").json["payload"] is None
    for first, second in ((A, A), (A, forged(B)), (forged(B), A), (A, ""), ("", A)):
        sent = f"token={first}; token={second}"
        for path in ("/jwt", "/optional", "/either", "/open"):
            assert subject_of(with_cookies(both, sent, path)) == "alice"


def test_T02_query_and_form_beside_a_header_change_nothing(client: FlaskClient) -> None:
    response = client.post(
        f"/jwt?access_token={B}", data={"access_token": B, "token": B}, headers=bearer(A)
    )

    assert subject_of(response) == "alice"
    response = client.post(f"/jwt?access_token={A}", data={"token": A}, headers=bearer(forged(B)))
    assert verdict(response) == T


# --- T03, T04, T05 the header's own form ----------------------------------------------

MALFORMED = [
    pytest.param("Bearer", id="T03-scheme-alone"),
    pytest.param("Bearer ", id="T03-scheme-and-space"),
    pytest.param("Bearer   ", id="T03-scheme-and-spaces"),
    pytest.param("Bearer \t", id="T03-scheme-space-tab"),
    pytest.param(f"Bearer\t{A}", id="T03-tab"),
    pytest.param(f"Bearer{A}", id="T03-nothing-between"),
    pytest.param("Bearerx", id="T03-longer-scheme"),
    pytest.param("Bearer a b", id="T03-two-words"),
    pytest.param(f"Bearer {A} {B}", id="T03-two-tokens"),
    pytest.param(f"Bearer Bearer {A}", id="T03-scheme-twice"),
    pytest.param('Bearer "x"', id="T03-quoted"),
    pytest.param(f'Bearer "{A}"', id="T03-quoted-token"),
    pytest.param("Bearer a=b", id="T03-parameter"),
    pytest.param(f"Bearer token={A}", id="T03-token-as-parameter"),
    pytest.param(f"Bearer {A};", id="T03-semicolon"),
    pytest.param(f"Bearer {A}\u00e9", id="T03-latin-1"),
    pytest.param(f"Bearer <{A}>", id="T03-angle-brackets"),
    pytest.param(f"Bearer: {A}", id="T03-colon"),
]
OUTSIDE_A_LINE = [
    pytest.param(f"Bearer {A}\x00", id="T03-nul"),
    pytest.param(f"Bearer {A[:9]}\x0b{A[9:]}", id="T03-vertical-tab"),
    pytest.param(f"Bearer\u00a0{A}", id="T03-no-break-space"),
    pytest.param(f"Bearer \u00a0{A}", id="T03-space-no-break-space"),
    pytest.param(f"Bearer {A}\u200b", id="T03-zero-width-space"),
    pytest.param("Bearer \ud800", id="T03-lone-surrogate"),
]


@each_case("header", [*MALFORMED, *OUTSIDE_A_LINE])
def test_what_is_no_bearer_credential_is_a_malformed_request(
    client: FlaskClient, header: str
) -> None:
    for path in ("/jwt", "/optional", "/either", "/both", "/read"):
        assert answer(client, header, path) == R
    assert answer(client, header, "/public") == OK


@each_case("header", MALFORMED)
def test_what_is_no_bearer_credential_on_the_wire_is_a_malformed_request(
    ask: Ask, header: str
) -> None:
    assert verdict(ask("/jwt", f"Authorization: {header}")) == R
    assert verdict(ask("/optional", f"Authorization: {header}")) == R


@each_case("padding", ["=", "==", "==="])
def test_T03_padding_is_token68_and_no_token(client: FlaskClient, padding: str) -> None:
    assert on_every_route(client, bearer(A + padding)) == {T}


@pytest.mark.parametrize("scheme", ["bEaReR", "bearer", "BEARER", "Bearer"])
def test_T04_the_scheme_is_read_in_any_letter_case(
    client: FlaskClient, ask: Ask, scheme: str
) -> None:
    assert answer(client, f"{scheme} {A}") == OK
    assert verdict(ask("/jwt", f"aUTHORIZATION: {scheme} {A}")) == OK
    assert answer(client, f"{scheme} {forged(A)}") == T


@each_case(
    "header",
    [
        pytest.param(BASIC, id="T05-basic"),
        pytest.param(f"Basic {A}", id="T05-basic-with-a-token"),
        pytest.param(f"Token {A}", id="T05-token"),
        pytest.param(f"JWT {A}", id="T05-jwt"),
        pytest.param(f"DPoP {A}", id="T05-dpop"),
        pytest.param(f"MAC {A}", id="T05-mac"),
        pytest.param(f"X-Bearer {A}", id="T05-scheme-that-ends-like-ours"),
        pytest.param(f"OAuth2 Bearer {A}", id="T05-ours-as-a-value"),
        pytest.param('Digest username="a", realm="b"', id="T05-digest"),
        pytest.param(A, id="T05-no-scheme"),
        pytest.param(f" {A}", id="T05-space-for-a-scheme"),
        pytest.param("\u0412earer x", id="T05-cyrillic-look-alike"),
    ],
)
def test_another_scheme_is_somebody_elses_and_nobody_here(client: FlaskClient, header: str) -> None:
    assert answer(client, header) == N
    assert verdict(client.post("/jwt", environ_overrides={"HTTP_AUTHORIZATION": header})) == N
    response = client.get("/optional", environ_overrides={"HTTP_AUTHORIZATION": header})
    assert (response.status_code, response.json["payload"]) == (200, None)


def test_T05_another_scheme_leaves_the_cookie_to_decide(both: FlaskClient) -> None:
    both.set_cookie("token", B)

    assert subject_of(both.get("/jwt", headers={"Authorization": BASIC})) == "bob"
    both.set_cookie("token", forged(B))
    assert answer(both, BASIC) == T


@each_case("header", ["", " ", "\t"])
def test_T05_an_empty_header_is_nobody(client: FlaskClient, header: str) -> None:
    assert answer(client, header) == N


# --- T06, T07, T12 places that do not count -------------------------------------------

NAMES = ("access_token", "token", "jwt", "authorization", "Authorization", "bearer", "sessionId")


@each_case("name", NAMES)
@each_case(
    "send",
    [
        pytest.param(lambda name: {"query_string": {name: A}}, id="T06-query"),
        pytest.param(lambda name: {"json": {name: A}}, id="T06-json"),
        pytest.param(lambda name: {"data": {name: A}}, id="T06-form"),
        pytest.param(
            lambda name: {"data": {name: (BytesIO(A.encode()), "a.txt", "text/plain")}},
            id="T06-multipart",
        ),
        pytest.param(lambda name: {"data": f"{name}={A}"}, id="T06-text"),
        pytest.param(lambda name: {"headers": {"Referer": f"https://x/?{name}={A}"}}, id="T06-ref"),
    ],
)
def test_a_token_anywhere_else_is_ignored(
    client: FlaskClient, send: Callable[[str], Any], name: str
) -> None:
    assert verdict(client.post("/jwt", **send(name))) == N


COOKIES = ("access_token", "jwt", "Authorization", "TOKEN", "Token", "__Host-token", "tokens",
           "a_token", "token[]")  # fmt: skip


@each_case("name", COOKIES)
def test_T06_a_cookie_of_another_name_is_ignored(both: FlaskClient, name: str) -> None:
    assert verdict(with_cookies(both, f"token={A}")) == OK
    assert verdict(with_cookies(both, f"{name}={A}")) == N


@each_case(
    "header",
    [
        pytest.param("Proxy-Authorization", id="T07-proxy"),
        pytest.param("X-Forwarded-Authorization", id="T07-forwarded"),
        pytest.param("X-Authorization", id="T07-x"),
        pytest.param("X-Original-Authorization", id="T07-original"),
        pytest.param("X-Access-Token", id="T07-access-token"),
        pytest.param("Authorization-", id="T07-with-a-dash"),
        pytest.param("Authorization_", id="T07-with-an-underscore"),
        pytest.param("_Authorization", id="T07-underscore-first"),
        pytest.param("HTTP_AUTHORIZATION", id="T07-environ-name"),
        pytest.param("Redirect-Http-Authorization", id="T07-redirect"),
        pytest.param("Authentication", id="T07-misspelt"),
        pytest.param("X-User-Id", id="T12-user-id"),
        pytest.param("X-Remote-User", id="T12-remote-user"),
        pytest.param("X-Forwarded-User", id="T12-forwarded-user"),
        pytest.param("X-Jwt-Payload", id="T12-payload"),
        pytest.param("Sub", id="T12-sub"),
        pytest.param("Remote-User", id="T12-remote-user-bare"),
    ],
)
def test_no_other_header_says_who_somebody_is(client: FlaskClient, ask: Ask, header: str) -> None:
    for value in (f"Bearer {A}", A, "alice"):
        assert on_every_route_is_nobody(client, {header: value})
        assert verdict(ask("/jwt", f"{header}: {value}")) == N


def on_every_route_is_nobody(client: FlaskClient, headers: dict[str, str]) -> bool:
    assert verdict(client.get("/jwt", headers=headers)) == N
    assert verdict(client.get("/session", headers=headers)) == COOKIE
    assert client.get("/optional", headers=headers).json["payload"] is None
    return client.get("/open", headers=headers).json["payload"] is None


@each_case(
    "name",
    [
        pytest.param("REDIRECT_HTTP_AUTHORIZATION", id="T07-environ-redirect"),
        pytest.param("REDIRECT_REDIRECT_HTTP_AUTHORIZATION", id="T07-environ-redirect-twice"),
        pytest.param("X_HTTP_AUTHORIZATION", id="T07-environ-x"),
        pytest.param("AUTHORIZATION", id="T07-environ-bare"),
        pytest.param("REMOTE_USER", id="T12-environ-remote-user"),
        pytest.param("AUTH_TYPE", id="T12-environ-auth-type"),
        pytest.param("HTTP_REMOTE_USER", id="T12-environ-http-remote-user"),
        pytest.param("SSL_CLIENT_S_DN", id="T12-environ-certificate"),
    ],
)
def test_nothing_else_in_the_environ_says_who_somebody_is(client: FlaskClient, name: str) -> None:
    for value in (f"Bearer {A}", A, "alice"):
        assert verdict(client.get("/jwt", environ_overrides={name: value})) == N


def test_T07_a_header_of_our_own_is_not_reached_by_an_underscore(jam: Jam) -> None:
    # To WSGI both spellings are one name; the server is what keeps them apart.
    app = build_app(jam, header_name="X-Api-Token")
    with served(app) as ask:
        assert verdict(ask("/jwt", f"X-Api-Token: Bearer {A}")) == OK
        assert verdict(ask("/jwt", f"X_Api_Token: Bearer {A}")) == N
        assert verdict(ask("/jwt", f"Authorization: Bearer {A}")) == N


# --- T08, T10 what an answer is made of -----------------------------------------------


@each_case(
    "headers",
    [
        pytest.param({"Host": "evil.example"}, id="T08-host"),
        pytest.param({"Host": 'a" evil="b'}, id="T08-host-with-quotes"),
        pytest.param({"X-Forwarded-Host": "evil.example"}, id="T08-forwarded-host"),
        pytest.param({"Forwarded": "host=evil.example"}, id="T08-forwarded"),
        pytest.param({"X-Original-URL": "//evil.example"}, id="T08-original-url"),
        pytest.param({"Origin": "https://evil.example"}, id="T08-origin"),
        pytest.param({"Referer": "https://evil.example"}, id="T08-referer"),
    ],
)
def test_no_answer_repeats_where_the_client_says_we_are(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    for sent, expected in ({}, N), (bearer(forged(A)), T), (bearer("a b"), R):
        for accept in ("application/json", "text/html"):
            response = client.get("/jwt", headers={**headers, **sent, "Accept": accept})
            assert verdict(response) == expected
            assert "evil" not in response.text + str(response.headers)


@each_case(
    "realm",
    [
        pytest.param('api", error="none', id="T10-quote"),
        pytest.param("api\r\nSet-Cookie: a=b", id="T10-crlf"),
        pytest.param("api\n", id="T10-newline-at-the-end"),
        pytest.param("a\\pi", id="T10-backslash"),
        pytest.param("a\x00", id="T10-nul"),
        pytest.param("\u00e4pi", id="T10-latin-1"),
        pytest.param("", id="T10-empty"),
    ],
)
def test_a_realm_that_would_break_the_challenge_is_refused_at_start(
    make_jam: MakeJam, realm: str
) -> None:
    with pytest.raises(ConfigError, match="realm"):
        make_jam(realm=realm)


@each_case(
    "scope",
    [
        pytest.param('read", error="none', id="T10-scope-quote"),
        pytest.param("read\r\nSet-Cookie: a=b", id="T10-scope-crlf"),
        pytest.param("read\n", id="T10-scope-newline-at-the-end"),
        pytest.param("re\\ad", id="T10-scope-backslash"),
        pytest.param("read write", id="T10-scope-space"),
        pytest.param("r\u00e9ad", id="T10-scope-latin-1"),
        pytest.param("", id="T10-scope-empty"),
    ],
)
def test_a_scope_that_would_break_the_challenge_is_refused_at_the_guard(scope: str) -> None:
    with pytest.raises(ConfigError, match="scopes"):
        jwt_required(scopes={scope})


INJECTIONS = ('"', '", error="none', "\\", "%0d%0aSet-Cookie:%20a=b", "\u00e9", "\x00", "\x1b[31m")


@each_case("injected", INJECTIONS, ids=lambda text: f"T10-{text.encode().hex()}")
def test_nothing_that_a_client_sends_gets_into_a_challenge(
    client: FlaskClient, injected: str
) -> None:
    token = signed(claims(scope=injected, sub="alice"), {"alg": "HS256", "typ": "JWT"})
    wrong = signed(claims(), {"alg": "HS256", "typ": "JWT", "kid": injected})

    assert answer(client, f"Bearer {injected}") in (R, T)
    assert answer(client, f"Bearer {wrong}") == T
    status, challenge = answer(client, f"Bearer {token}", "/read")
    assert (status, challenge) == (
        403, 'Bearer realm="api", error="insufficient_scope", scope="read"',
    )  # fmt: skip


def test_T10_line_breaks_in_a_path_make_no_header(ask: Ask) -> None:
    for path in ("/jwt%0d%0aX-Evil:%201", "/login/%0d%0aX-Evil:%201", "/%0aX-Evil:1"):
        response = ask(path)
        assert response.status_code in (404, 405)
        assert "X-Evil" not in response.headers


# --- T11 methods ----------------------------------------------------------------------

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND",
           "JEFF", "GETS"]  # fmt: skip


@each_case("method", [pytest.param(m, id=f"T11-{m}") for m in METHODS])
def test_every_method_of_a_guarded_view_is_guarded(jam: Jam, method: str) -> None:
    ran: list[str] = []
    app = Flask("methods")
    JWTExtension(jam, app)
    app.add_url_rule(
        "/all", "all", jwt_required(lambda: ran.append(request.method) or "in"), methods=METHODS
    )
    client = app.test_client()

    assert verdict(client.open("/all", method=method)) == N
    assert verdict(client.open("/all", method=method, headers=bearer(forged(A)))) == T
    assert ran == []
    assert verdict(client.open("/all", method=method, headers=bearer(A))) == OK
    assert ran == [method]


@each_case("override", ["X-HTTP-Method-Override", "X-Method-Override", "_method"])
def test_T11_a_method_in_a_header_or_field_changes_nothing(
    client: FlaskClient, override: str
) -> None:
    for other in ("OPTIONS", "TRACE", "HEAD"):
        sent = {"headers": {override.replace("_", "X-"): other}, "data": {override: other}}
        assert verdict(client.post("/jwt", **sent)) == N


@each_case("method", ["TRACE", "JEFF", "PUT", "GETS"])
def test_T11_a_method_that_no_view_takes_reaches_no_view(ask: Ask, method: str) -> None:
    assert ask("/jwt", f"Authorization: Bearer {A}", method=method).status_code == 405


@each_case("method", ["get", "Get", "post", "head"])
def test_T11_a_method_in_another_letter_case_is_guarded(ask: Ask, method: str) -> None:
    assert verdict(ask("/jwt", method=method)) == N
    assert verdict(ask("/jwt", f"Authorization: Bearer {forged(A)}", method=method)) == T


# --- T13, T14 how long and how large --------------------------------------------------


def test_T13_a_stream_can_ask_again_and_hears_that_its_token_has_expired(
    jam: Jam, clock: Clock
) -> None:
    app = Flask("stream")
    JWTExtension(jam, app)
    told: list[Reason] = []

    @app.get("/stream")
    @jwt_required
    def stream() -> Response:
        token = request.headers["Authorization"].partition(" ")[2]
        assert current_auth() is not None

        def parts() -> Iterator[str]:
            for _ in range(10):
                try:
                    jam.verify_jwt_token(token)
                except TokenError as refused:
                    told.append(refused.reason)
                    return
                yield "part;"
                clock.tick(250)

        return Response(parts())

    # 600 seconds of life, 250 per part: the fourth is never sent.
    assert app.test_client().get("/stream", headers=bearer(A)).text == "part;" * 3
    assert told == [Reason.EXPIRED]


def test_T13_a_stream_can_ask_again_and_hears_of_a_revocation(jam: Jam, app: Flask) -> None:
    token = jam.issue_tokens("alice")["access_token"]

    def parts() -> Iterator[str]:
        while True:
            jam.verify_jwt_token(token)
            yield "part"

    app.add_url_rule("/stream", "stream", jwt_required(lambda: Response(parts())))
    response = app.test_client().get("/stream", headers=bearer(token), buffered=False)
    stream = response.iter_encoded()
    assert next(stream) == b"part"

    jam.revoke_subject("alice")

    with pytest.raises(TokenError) as refused:
        next(stream)
    assert refused.value.reason is Reason.REVOKED


@each_case(
    "value",
    [
        pytest.param("a" * 200_000, id="T14-letters"),
        pytest.param(A + "a" * 200_000, id="T14-token-with-a-tail"),
        pytest.param("a." * 100_000, id="T14-dots"),
        pytest.param(".".join(["a" * 70_000] * 3), id="T14-three-segments"),
        pytest.param(signed(claims(pad="x" * 150_000)), id="T14-signed-by-us"),
        pytest.param("a" * 10_000_000, id="T14-ten-megabytes"),
        pytest.param("a" * 8193, id="T14-a-byte-over"),
        pytest.param(signed(claims(pad="x" * 6000)), id="T14-a-little-over-and-signed"),
    ],
)
def test_a_huge_header_is_refused_unread(jam: Jam, client: FlaskClient, value: str) -> None:
    for path in ("/jwt", "/optional", "/either"):
        assert answer(client, f"Bearer {value}", path) == T
    assert verdict(client.post("/logout", headers=bearer(value))) == (204, None)
    assert jam.revoke_token(value) is False

    # Not even hashed, which the look-up in the cache would have taken.
    assert jam.verifier.cache_info().misses == 0


def test_T14_a_huge_header_on_the_wire_ends_at_the_gate_or_at_the_server(ask: Ask) -> None:
    assert verdict(ask("/jwt", f"Authorization: Bearer {'a' * 60_000}")) == T
    assert ask("/jwt", f"Authorization: Bearer {'a' * 200_000}").status_code in (400, 431)


def test_T14_huge_cookies_are_refused_unread(both: FlaskClient) -> None:
    verifier = both.application.extensions["jam"].verifier
    for cookie in ("a" * 200_000, "a." * 100_000, A + "." * 10**6):
        sent = f"token={cookie}; sessionId={cookie}"
        assert verdict(with_cookies(both, sent)) == R
        assert verdict(with_cookies(both, sent, "/session")) == R
    assert verifier.cache_info().misses == 0
    flood = "; ".join(f"c{number}={number}" for number in range(20_000))
    assert verdict(with_cookies(both, flood)) == R
    assert verdict(with_cookies(both, flood + f"; token={A}")) == R
    assert with_cookies(both, flood + f"; token={A}", "/open").json["payload"] is None
