"""Which header is read, which cookie, and what of several credentials counts."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from flask_jam import (
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


def test_another_header_needs_the_scheme_too(jam: Jam, token: str) -> None:
    client = app_with(jam, {"header_name": "X-Token"})
    assert client.get("/jwt", headers={"X-Token": f"Bearer {token}"}).text == "jwt:header"
    assert client.get("/jwt", headers={"x-token": f"bearer {token}"}).text == "jwt:header"
    assert client.get("/jwt", headers={"X-Token": token}).status_code == 400
    assert client.get("/jwt", headers=bearer(token)).status_code == 401


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
