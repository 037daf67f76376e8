"""Which header is read, which cookie, and what of several credentials counts."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from flask_jam import (
    ConfigError,
    Jam,
    JWTExtension,
    SessionExtension,
    current_auth,
    jwt_required,
    session_required,
)
from flask_jam._request.cookies import values_of

from ..cases import each_case
from ..conftest import Clock, bearer, build_app


def said() -> str:
    auth = current_auth()
    return f"{auth.scheme}:{auth.source}" if auth else "nobody"


def app_with(jam: Jam, jwt: dict[str, Any], session: dict[str, Any] | None = None) -> Any:
    app = Flask("sources")
    JWTExtension(jam, app, **jwt)
    if session is not None:
        SessionExtension(jam, app, **session)
        app.add_url_rule("/session", "session", session_required(lambda: said()))
    app.add_url_rule("/jwt", "jwt", jwt_required(lambda: said()))
    app.add_url_rule("/open", "open", said)
    return app.test_client()


@pytest.fixture
def token(jam: Jam) -> str:
    return str(jam.issue_tokens("alice")["access_token"])


@each_case("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
@each_case("space", [" ", "  "])
def test_the_scheme_is_read_in_any_letter_case(
    client: Any, token: str, scheme: str, space: str
) -> None:
    answer = client.get("/jwt", headers={"Authorization": f"{scheme}{space}{token}"})
    assert answer.status_code == 200


@each_case(
    ("header", "status"),
    [
        ("Bearer", 400), ("Bearer ", 400), ("Bearer\tx", 400), ("Bearerx", 400),
        ("Bearer a b", 400), ('Bearer "x"', 400), ("Bearer a=b", 400), ("Bearer é", 400),
        ("Bearer a,Bearer b", 400), ("Bearer =", 400), ("Bearer x, Basic y", 400),
        ("Bearer x", 401), ("Bearer x=", 401), ("Bearer a+b/c", 401),
    ],
)  # fmt: skip
def test_a_header_that_is_no_token68_is_a_400(client: Any, header: str, status: int) -> None:
    answer = client.get("/jwt", headers={"Authorization": header})
    assert answer.status_code == status
    assert "error=" in answer.headers["WWW-Authenticate"]


@each_case("header", ["Basic eDp5", "Token x", "Digest a=b", "", " ", "x"])
def test_another_scheme_is_nobody(client: Any, header: str) -> None:
    answer = client.get("/jwt", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="api"'


def test_only_a_cookie_is_read_where_no_header_is_named(jam: Jam, token: str) -> None:
    client = app_with(jam, {"header_name": None, "cookie_name": "token"})
    assert client.get("/jwt", headers=bearer(token)).status_code == 401
    client.set_cookie("token", token)
    assert client.get("/jwt").text == "jwt:cookie"


def test_a_header_beats_a_cookie(jam: Jam, token: str) -> None:
    client = app_with(jam, {"cookie_name": "token"})
    client.set_cookie("token", "a.b.c")
    assert client.get("/jwt", headers=bearer(token)).text == "jwt:header"


def test_a_bad_header_is_not_passed_over_for_a_good_cookie(jam: Jam, token: str) -> None:
    client = app_with(jam, {"cookie_name": "token"})
    client.set_cookie("token", token)
    assert client.get("/jwt").text == "jwt:cookie"
    assert client.get("/jwt", headers=bearer("a.b.c")).status_code == 401
    assert client.get("/jwt", headers={"Authorization": "Bearer a b"}).status_code == 400
    assert client.get("/jwt", headers={"Authorization": "Basic x"}).text == "jwt:cookie"


def test_another_header_takes_a_bare_token_and_still_bearer(jam: Jam, token: str) -> None:
    client = app_with(jam, {"header_name": "X-Token"})
    for value in (token, f" {token}\t", f"Bearer {token}", f"bearer  {token}"):
        assert client.get("/jwt", headers={"x-token": value}).text == "jwt:header"
    assert client.get("/jwt", headers=bearer(token)).status_code == 401


# --- the word in front of a token ---------------------------------------------------------

TOKEN_WORD: dict[str, Any] = {"header_type": "Token", "cookie_name": "token"}


@each_case(
    ("value", "status"),
    [
        ("Token {t}", 200), ("token {t}", 200), ("TOKEN  {t} ", 200),
        ("Token", 400), ("Token ", 400), ("Tokenx", 400), ("Token\t{t}", 400),
        ("Token {t} x", 400),
        ("Token {t}, Bearer {t}", 400), ("Bearer {t}, Token {t}", 400),
        ("Token {t},Token {t}", 400),
        ("Token x", 401), ("Bearer {t}", 401), ("Bearer", 401), ("{t}", 401), ("Basic YTpi", 401),
        ('Digest username="a", token="b"', 401), ('Digest a="b", token = "c"', 401),
    ],
)  # fmt: skip
def test_a_header_type_takes_its_word_and_no_other(
    jam: Jam, token: str, value: str, status: int
) -> None:
    client = app_with(jam, {"header_type": "Token"})
    answer = client.get("/jwt", headers={"Authorization": value.format(t=token)})
    assert answer.status_code == status


def test_a_challenge_names_the_word_that_the_header_takes(jam: Jam, token: str) -> None:
    def challenge(options: dict[str, Any], headers: dict[str, str]) -> str:
        answer = app_with(jam, options).get("/jwt", headers=headers)
        return str(answer.headers["WWW-Authenticate"])

    assert challenge({"header_type": "Token"}, bearer(token)) == 'Token realm="api"'
    bad = challenge({"header_type": "Token"}, {"Authorization": "Token x"})
    assert bad.startswith('Token realm="api", error="invalid_token", ')
    assert challenge({"header_name": "X-Token"}, {}) == 'Bearer realm="api"'
    assert challenge({"header_type": "Token", "header_name": "X-T"}, {}) == 'Token realm="api"'


def test_another_word_leaves_the_cookie_to_be_read(jam: Jam, token: str) -> None:
    client = app_with(jam, TOKEN_WORD)
    client.set_cookie("token", token)
    for value, expected in (("Bearer x", "jwt:cookie"), (f"Token {token}", "jwt:header")):
        assert client.get("/jwt", headers={"Authorization": value}).text == expected
    assert client.get("/jwt", headers={"Authorization": "Token x"}).status_code == 401


@each_case(
    ("value", "status"),
    [
        ("{t}", 200), (" {t} ", 200), ("Bearer {t}", 200),
        ("x", 401), ("a.b.c", 401), ("Basic YTpi", 401), ("Token {t}", 401), ("", 401),
        ("{t} {t}", 400), ("{t},{t}", 400), ("Bearer", 400), ("Bearer {t} x", 400), ("=", 400),
    ],
)  # fmt: skip
def test_authorization_without_a_word_is_a_bare_token(
    jam: Jam, token: str, value: str, status: int
) -> None:
    client = app_with(jam, {"header_type": None})
    answer = client.get("/jwt", headers={"Authorization": value.format(t=token)})
    assert answer.status_code == status


def test_another_header_refuses_what_is_no_bare_token(jam: Jam, token: str) -> None:
    client = app_with(jam, {"header_name": "X-Token"})
    for value in (f"{token} {token}", f"{token},{token}", "Basic YTpi", f"Token {token}", "Bearer"):
        assert client.get("/jwt", headers={"X-Token": value}).status_code == 400
    for value in ("", "x"):
        assert client.get("/jwt", headers={"X-Token": value}).status_code == 401


def test_another_header_takes_the_word_that_is_set(jam: Jam, token: str) -> None:
    for word, other in (("Bearer", "Token"), ("Token", "Bearer")):
        client = app_with(jam, {"header_name": "X-Token", "header_type": word})
        assert client.get("/jwt", headers={"X-Token": f"{word} {token}"}).text == "jwt:header"
        for value in (token, f"{other} {token}"):
            assert client.get("/jwt", headers={"X-Token": value}).status_code == 400


@each_case("word", ["", " ", "Token ", "two words", "Tok,en", "Tök", "1st", 5, b"Token", ["Token"]])
def test_a_header_type_is_one_word(jam: Jam, word: Any) -> None:
    with pytest.raises(ConfigError, match="header_type must be one word"):
        JWTExtension(jam, header_type=word)


def test_a_header_type_without_a_header_is_an_error(jam: Jam) -> None:
    with pytest.raises(ConfigError, match="header_type is for a header"):
        JWTExtension(jam, header_name=None, cookie_name="token", header_type="Token")


def test_two_words_in_one_header_keep_the_schemes_apart(jam: Jam, token: str) -> None:
    client = app_with(jam, {"header_type": "Token"}, SHARED)
    session = jam.create_session("bob", {})
    word = {"Authorization": f"Token {token}"}
    assert client.get("/jwt", headers=word).text == "jwt:header"
    assert client.get("/session", headers=bearer(session)).text == "session:header"
    for path, headers, error in (
        ("/jwt", bearer(session), "missing_credential"),
        ("/session", word, "missing_credential"),
        ("/session", bearer(token), "invalid_token"),
        ("/jwt", {"Authorization": f"Token {session}"}, "invalid_token"),
    ):
        assert client.get(path, headers=headers).json["error"] == error


def test_a_bare_token_and_a_session_id_share_a_header(jam: Jam, token: str) -> None:
    shared = {"header_name": "X-Auth", "cookie_name": None}
    client = app_with(jam, {"header_name": "X-Auth"}, shared)
    session = jam.create_session("bob", {})
    for value in (token, f"Bearer {token}"):
        assert client.get("/jwt", headers={"X-Auth": value}).text == "jwt:header"
        assert client.get("/session", headers={"X-Auth": value}).status_code == 401
    sent = {"X-Auth": f"Bearer {session}"}
    assert client.get("/session", headers=sent).text == "session:header"
    assert client.get("/jwt", headers=sent).json["error"] == "missing_credential"
    assert client.get("/session", headers={"X-Auth": session}).status_code == 400


def test_a_bad_bare_value_in_a_shared_header_does_not_give_way_to_a_cookie(
    jam: Jam, token: str
) -> None:
    client = app_with(jam, {"header_type": None, "cookie_name": "token"}, SHARED)
    client.set_cookie("token", token)
    session = jam.create_session("bob", {})
    assert client.get("/jwt").text == "jwt:cookie"
    assert client.get("/jwt", headers=bearer(session)).text == "jwt:cookie"
    for value in ("x", session, "a.b.c"):
        answer = client.get("/jwt", headers={"Authorization": value})
        assert (answer.status_code, answer.json["error"]) == (401, "invalid_token")


def test_a_logout_ends_a_token_behind_another_word(jam: Jam, token: str) -> None:
    app = Flask("words")
    jwt = JWTExtension(jam, app, header_type="Token")
    app.add_url_rule("/out", view_func=lambda: jwt.logout() or "", endpoint="out")
    app.add_url_rule("/in", "in", jwt_required(lambda: "in"))
    client, sent = app.test_client(), {"Authorization": f"Token {token}"}
    assert client.get("/in", headers=sent).status_code == 200
    client.get("/out", headers=sent)
    assert client.get("/in", headers=sent).status_code == 401


SHARED: dict[str, Any] = {"header_name": "authorization", "cookie_name": None}


def test_one_header_for_both_schemes_is_told_apart_by_dots(jam: Jam, token: str) -> None:
    client = app_with(jam, {}, SHARED)
    session = jam.create_session("bob", {"n": 1})
    assert client.get("/jwt", headers=bearer(token)).text == "jwt:header"
    assert client.get("/session", headers=bearer(session)).text == "session:header"
    assert client.get("/open", headers=bearer(session)).text == "session:header"
    assert client.get("/session", headers=bearer(token)).status_code == 401
    assert client.get("/jwt", headers=bearer(session)).status_code == 401
    bare = client.get("/jwt", headers=bearer(session)).headers["WWW-Authenticate"]
    assert bare == 'Bearer realm="api"'


def test_a_value_with_three_dots_on_a_shared_header_is_no_token(jam: Jam, token: str) -> None:
    client = app_with(jam, {}, SHARED)
    answer = client.get("/jwt", headers=bearer(f"{token}.x"))
    assert (answer.status_code, answer.json["error"]) == (401, "missing_credential")


def test_a_mangled_shared_header_is_refused_by_the_scheme_it_looks_like(jam: Jam) -> None:
    client = app_with(jam, {}, SHARED)
    assert client.get("/session", headers=bearer("a b")).status_code == 400
    assert client.get("/jwt", headers=bearer("a.b.c d")).status_code == 400


@each_case(
    ("cookie", "status"),
    [
        ("token={own};token={own}", 200), ("token={own}; token=", 200),
        ("token={own}; token=x", 200), ("token=x; token={own}", 200),
        ("token={own}; token={newer}", 200), ("token=x; token=y", 401),
        ("token={own}; token={other}", 400), ("token={own}; token={anonymous}", 400),
        ("token={own}; token=1; token=2; token=3", 200),
        ("token={own}; token=1; token=2; token=3; token=4", 400),
        ("token={own}" + "; a=b" * 200, 400), ("token={own}; b=" + "x" * 262144, 400),
        ("__Host-t={own}; __Host-t={own}", 200), ("__Host-t={own}; __Host-t=x", 400),
    ],
)  # fmt: skip
def test_of_several_cookies_the_living_one_counts(jam: Jam, cookie: str, status: int) -> None:
    name = "__Host-t" if "__Host-" in cookie else "token"
    client = app_with(jam, {"header_name": None, "cookie_name": name})
    client = client.application.test_client(use_cookies=False)
    tokens = {
        "own": jam.issue_tokens("alice")["access_token"],
        "newer": jam.issue_tokens("alice")["access_token"],
        "other": jam.issue_tokens("bob")["access_token"],
        "anonymous": jam.gen_jwt_token({"user": 1}),
    }
    sent = {"Cookie": cookie.format(**tokens)}
    assert client.get("/jwt", headers=sent).status_code == status


def test_of_several_sessions_of_one_owner_the_newest_counts(jam: Jam, clock: Clock) -> None:
    app = build_app(jam)
    old = jam.create_session("bob", {"n": 1})
    clock.tick(1)
    new = jam.create_session("bob", {"n": 2})
    for pair in ((old, new), (new, old)):
        sent = {"Cookie": "; ".join(f"sessionId={each}" for each in pair)}
        answer = app.test_client(use_cookies=False).get("/session", headers=sent)
        assert answer.json["payload"] == {"n": 2}


@each_case(
    ("header", "values"),
    [
        ("a=1", ["1"]), ("b=2; a=1", ["1"]), ("a=1;a=2", ["1", "2"]), ("aa=1", []),
        ("a =1", []), ("a", []), ("a=", []), ("A=1", []), ("a=x=y", ["x=y"]),
        ('a="1"', ['"1"']), (" a=1 ", ["1"]), ("\ta=1", ["1"]), ("b=a=1", []), ("", []), (";;", []),
    ],
)  # fmt: skip
def test_cookies_are_read_as_they_stand(header: str, values: list[str]) -> None:
    assert values_of({"HTTP_COOKIE": header}, "a") == values


def test_a_quoted_cookie_is_not_unquoted_into_a_credential(jam: Jam) -> None:
    app = build_app(jam)
    session = jam.create_session("bob", {})
    client = app.test_client(use_cookies=False)
    assert client.get("/session", headers={"Cookie": f"sessionId={session}"}).status_code == 200
    for spelling in (f'"{session}"', f"{session} x", f"{session}="):
        sent = {"Cookie": f"sessionId={spelling}"}
        assert client.get("/session", headers=sent).status_code == 401


@each_case("value", ["", "x", "A" * 44, "A" * 46, "../" * 14 + "A", "*" * 45, "A" * 60000])
def test_an_id_of_another_shape_never_reaches_the_store(
    jam: Jam, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(jam.store, "read_session", lambda *a: asked.append(a))
    client = build_app(jam).test_client(use_cookies=False)
    answer = client.get("/session", headers={"Cookie": f"sessionId={value}"})
    assert (answer.status_code, asked) == (401, [])
    client.get("/session", headers={"Cookie": f"sessionId={'A' * 45}"})
    assert len(asked) == 1


def test_a_huge_header_is_refused_without_being_parsed(client: Any) -> None:
    assert client.get("/jwt", headers=bearer("A" * 10_000_000)).status_code == 401
    assert client.get("/jwt", headers=bearer(".".join(["A" * 3000] * 3))).status_code == 401
