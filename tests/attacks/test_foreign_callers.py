"""Attacks on an app that takes tokens of others: names that lie, mixed callers, a dead store."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import jwt as pyjwt
import pytest
from flask import Flask, g
from flask.testing import FlaskClient

from flask_jam import (
    Accepted,
    Jam,
    JWTExtension,
    SessionExtension,
    current_auth,
    current_user,
    jwt_required,
    public,
    session_required,
)
from flask_jam.policies import role, scope
from flask_jam.stores.interface import BETWEEN

from ..cases import each_case
from ..conftest import SECRET, Clock, bearer
from ..foreign import DROP, NOW, TWIN, A, B
from ..test_keys import key_of
from .craft import FlakyStore, signed

pytestmark = pytest.mark.attack


@pytest.fixture
def store() -> FlakyStore:
    return FlakyStore()


@pytest.fixture
def jam(clock: Clock, store: FlakyStore) -> Jam:
    issuers = [A.issuer(roles=("realm", "roles")), B.issuer(), TWIN.issuer()]
    return Jam({"jwt": {"secret_key": SECRET}}, clock=clock, store=store, issuers=issuers)


@pytest.fixture
def app(jam: Jam) -> Flask:
    app = Flask("app_under_test")
    jwt = JWTExtension(jam, app, cookie_name="token")
    SessionExtension(jam, app)

    def said() -> dict[str, Any]:
        auth = current_auth()
        return {"who": auth and auth.identity, "payload": g.payload}

    guards = {"plain": jwt_required, "a": jwt_required(issuers={A.name}),
              "b": jwt_required(issuers={B.name}), "twin": jwt_required(issuers={TWIN.name}),
              "any": jwt_required(issuers={A.name, B.name, TWIN.name}) | jwt_required,
              "admin": jwt_required(issuers={A.name}, roles={"admin"}),
              "checked": jwt_required(issuers={A.name}, check=role("admin") & scope("write")),
              "fresh": jwt_required(issuers={A.name}, max_age=60),
              "header": jwt_required(issuers={A.name}, sources={"header"}),
              "session": session_required}  # fmt: skip
    for name, guard in guards.items():
        app.add_url_rule(f"/{name}", name, guard(said), methods=["GET", "POST"])
    app.add_url_rule("/open", "open", public(said))
    app.add_url_rule("/in", "in", public(lambda: jwt.login("ann")), methods=["POST"])
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def status(client: FlaskClient, path: str, token: str) -> int:
    return client.get(path, headers=bearer(token)).status_code


def own(secret: str = SECRET, **claims: Any) -> str:
    said = {"sub": "ann", "jti": "x", "iat": NOW, "exp": NOW + 60, **claims}
    return pyjwt.encode(said, secret, "HS256", headers={"typ": "JWT"})


# --- names that lie -----------------------------------------------------------------------------

PATHS = ("/plain", "/a", "/b", "/twin", "/any")


@each_case("iss", [
    None, 5, True, [], {}, [A.name], {"iss": A.name}, "", " ", A.name.upper(), A.name[:-1],
    f"{A.name}/", f" {A.name}", f"{A.name}\n", f"{A.name}\x00", A.name + BETWEEN, "x" * 8000,
    "https://a.example:443/", "https://a.example/?", "http://a.example/", "https://a.example./",
])  # fmt: skip
def test_a_name_that_is_nearly_an_issuers_opens_nothing(client: FlaskClient, iss: Any) -> None:
    key = key_of("P-256", A.number)
    headers = {"kid": f"k{A.number}", "typ": "JWT"}
    payload = json.dumps({**A.claims(), "iss": iss}).encode()
    token = pyjwt.PyJWS().encode(payload, key, "ES256", headers=headers)
    assert {status(client, path, token) for path in PATHS} == {401}


def test_two_names_in_one_token_are_refused_whichever_comes_first(client: FlaskClient) -> None:
    key, rest = key_of("P-256", A.number), json.dumps(A.claims(iss=DROP))[1:]
    for first, second in ((A.name, B.name), (B.name, A.name)):
        raw = f'{{"iss": "{first}", "iss": "{second}", {rest}'.encode()
        headers = {"kid": f"k{A.number}", "typ": "JWT"}
        token = pyjwt.PyJWS().encode(raw, key, "ES256", headers=headers)
        assert {status(client, path, token) for path in PATHS} == {401}


def test_own_key_and_issuer_keys_do_not_verify_for_each_other(
    client: FlaskClient,
) -> None:
    assert status(client, "/plain", own()) == 200
    assert {status(client, path, own(iss=A.name)) for path in PATHS} == {401}
    assert {status(client, path, own(iss=A.name, aud="api")) for path in PATHS} == {401}
    # The public key of A as a secret; A without its name; the kid of B on the key of A.
    as_secret = signed(A.claims(), secret=json.dumps(A.jwks))
    for token in (as_secret, A.token(iss=DROP), A.token(iss=B.name), A.token({"kid": "k2"}),
                  B.token({"kid": "k1"}, iss=A.name)):  # fmt: skip
        assert {status(client, path, token) for path in PATHS} == {401}


def test_one_key_under_two_names_gives_each_its_own_tokens(client: FlaskClient, jam: Jam) -> None:
    token, twin = A.token(), TWIN.token()
    for _ in range(2):
        assert [status(client, path, token) for path in ("/a", "/twin", "/any")] == [200, 401, 200]
        assert [status(client, path, twin) for path in ("/a", "/twin", "/any")] == [401, 200, 200]
    jam.revoke_subject("ann", TWIN.name)
    assert [status(client, "/any", each) for each in (token, twin)] == [200, 401]


# --- what a provider's users may write ----------------------------------------------------------


@each_case("claims", [
    {"roles": ["admin"], "scope": "write"}, {"realm": {"roles": "admin"}, "scope": "write"},
    {"realm": [{"roles": ["admin"]}], "scp": "write"}, {"realm": {"roles": [["admin"]]}},
    {"realm.roles": ["admin"], "scope": "write"}, {"realm": {"roles": {"admin": True}}},
    {"realm": {"roles": [None, "admin"]}, "scp": ["write"]}, {"realm": {"roles": ["ADMIN"]}},
    {"realm": None, "scope": ["write"]}, {"realm": {"roles": ["admin "]}, "scope": "write"},
])  # fmt: skip
def test_roles_from_any_other_place_or_of_another_kind_are_none(
    client: FlaskClient, claims: Any
) -> None:
    assert [status(client, path, A.token(**claims)) for path in ("/a", "/admin", "/checked")] == [
        200, 403, 403,
    ]  # fmt: skip


@each_case("scp", [["write read"], ["write\tx"], [["write"]], {"write": 1}, 5])
def test_scopes_that_are_no_names_are_none(client: FlaskClient, scp: Any) -> None:
    token = A.token(realm={"roles": ["admin"]}, scp=scp)
    assert [status(client, path, token) for path in ("/admin", "/checked")] == [200, 403]


@each_case("auth_time", [NOW + 3600, NOW - 61, "now", None, [], 1e300, True, DROP])
def test_a_login_time_that_is_old_or_odd_is_not_recent(client: FlaskClient, auth_time: Any) -> None:
    assert status(client, "/fresh", A.token(auth_time=NOW)) == 200
    token = A.token(auth_time=auth_time, jti="odd")
    assert [status(client, path, token) for path in ("/a", "/fresh")] == [200, 401]


@each_case("claims", [{"sub": f"{B.name}{BETWEEN}ann"}, {"sub": ""}, {"sub": 5}, {"sub": "a\x00b"},
                      {"sub": DROP}, {"sub": "x" * 300}, {"jti": ""}, {"jti": 5},
                      {"jti": ["x"]}])  # fmt: skip
def test_a_subject_or_id_that_could_name_another_is_refused(
    client: FlaskClient, claims: Any
) -> None:
    payload = json.dumps(A.claims(**claims)).encode()
    headers = {"kid": f"k{A.number}", "typ": "JWT"}
    token = pyjwt.PyJWS().encode(payload, key_of("P-256", A.number), "ES256", headers=headers)
    assert status(client, "/a", token) == 401


def test_marks_of_one_id_under_two_issuers_and_this_service_are_three(
    client: FlaskClient, jam: Jam
) -> None:
    tokens = {"/a": A.token(), "/b": B.token(), "/plain": own(jti="t1")}
    for path, token in tokens.items():
        assert {each: status(client, each, tokens[each]) for each in tokens} == {
            each: 401 if list(tokens).index(each) < list(tokens).index(path) else 200
            for each in tokens
        }
        assert jam.revoke_token(token)
    assert {status(client, each, tokens[each]) for each in tokens} == {401}


# --- callers who are mixed ----------------------------------------------------------------------


def test_a_token_and_a_session_of_equal_subjects_are_two_callers(
    app: Flask, client: FlaskClient, jam: Jam
) -> None:
    both = jwt_required(issuers={A.name})(session_required(lambda: "in"))
    app.add_url_rule("/both", "both", both)
    for issuer, expected in ((None, 400), (B.name, 400), (A.name, 200)):
        client.set_cookie("sessionId", jam.create_session("ann", {}, issuer=issuer))
        assert status(client, "/both", A.token()) == expected


def test_two_cookies_of_equal_subjects_of_two_issuers_are_refused(app: Flask, jam: Jam) -> None:
    ids = [jam.create_session("ann", {}, issuer=issuer) for issuer in (A.name, None)]
    cookies = {"HTTP_COOKIE": "; ".join(f"sessionId={each}" for each in ids)}
    client = app.test_client(use_cookies=False)
    assert client.get("/session", environ_overrides=cookies).status_code == 400


def test_a_cache_of_users_gives_no_issuer_the_user_of_another(app: Flask) -> None:
    users: dict[str, Any] = {}
    jwt = app.extensions["flask_jam"].owners["jwt"]

    @jwt.user_loader
    def load(auth: Accepted) -> Any:
        return users.setdefault(repr(auth), auth.identity)

    app.add_url_rule("/user", "user", app.view_functions["any"])
    app.view_functions["user"] = jwt_required(issuers={A.name, B.name})(
        lambda: list(current_user._get_current_object())
    )
    seen = [app.test_client().get("/user", headers=bearer(each.token())).json for each in (A, B)]
    assert seen == [[A.name, "ann"], [B.name, "ann"]]


def test_a_foreign_token_in_the_cookie_is_judged_as_in_the_header(client: FlaskClient) -> None:
    client.set_cookie("token", A.token())
    assert [client.get(path).status_code for path in ("/a", "/header", "/plain", "/b")] == [
        200, 401, 401, 401,
    ]  # fmt: skip
    elsewhere = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    assert client.post("/a", headers=elsewhere).status_code == 403
    assert client.get("/open", headers=elsewhere).json["who"] is None


# --- a dead store, many at once, a clock that moves ---------------------------------------------


def test_a_dead_store_is_a_503_for_a_foreign_token_and_never_a_way_in(
    client: FlaskClient, store: FlakyStore, jam: Jam
) -> None:
    token = A.token()
    assert status(client, "/a", token) == 200
    store.fail("marks")
    assert [status(client, path, token) for path in ("/a", "/any", "/open")] == [503, 503, 200]
    assert client.get("/open", headers=bearer(token)).json["who"] is None
    assert status(client, "/a", A.token(aud="other")) == 401
    store.recover()
    jam.revoke_token(token)
    assert status(client, "/a", token) == 401


def test_a_revocation_among_many_requests_is_final(app: Flask, jam: Jam) -> None:
    token, results, barrier = A.token(), [], threading.Barrier(5)

    def ask() -> None:
        client = app.test_client()
        barrier.wait()
        results.append([status(client, "/a", token) for _ in range(30)])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    barrier.wait()
    jam.revoke_token(token)
    for thread in threads:
        thread.join()
    for found in results:  # once refused, always refused
        assert found == sorted(found)
    assert status(app.test_client(), "/a", token) == 401


@each_case(("move", "expected"), [(0, 200), (650, 200), (661, 401), (-71, 401), (86400, 401)])
def test_time_is_that_of_this_service_with_the_leeway_of_the_issuer(
    app: Flask, clock: Clock, move: float, expected: int
) -> None:
    client = app.test_client()
    token = A.token()
    assert status(client, "/a", token) == 200
    clock.tick(move)
    assert status(client, "/a", token) == expected


@each_case("make", [
    lambda: A.token(nonce="x"), lambda: A.token(cnf={"jkt": "x"}), lambda: A.token(events={}),
    lambda: A.token(typ="Refresh"), lambda: A.token({"typ": "dpop+jwt"}),
    lambda: A.token({"crit": ["x"]}),
    lambda: A.token({"jku": "https://evil.example"})[:-9] + "A" * 9,
])  # fmt: skip
def test_other_kinds_of_tokens_open_nothing(client: FlaskClient, make: Callable[[], str]) -> None:
    assert {status(client, path, make()) for path in PATHS} == {401}


def test_no_refusal_says_which_issuers_are_known(client: FlaskClient) -> None:
    known, unknown = A.token(aud="other"), A.token(iss="https://unknown.example/")
    answers = [client.get("/any", headers=bearer(each)) for each in (known, unknown, own("x" * 40))]
    assert len({(each.status_code, each.data, each.headers["WWW-Authenticate"])
                for each in answers}) == 1  # fmt: skip
