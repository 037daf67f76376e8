"""Anything at all, sent everywhere: never a 500, and nobody gets in who should not.

What is right is said by ``craft``'s oracle, which knows the rules and nothing of the package.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from flask import Flask
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flask_jam import Jam, signals

from ..conftest import SECRET, Clock, build_app
from .craft import (
    COOKIE,
    EXPIRED,
    NOW,
    OK,
    REGISTERED,
    STALE,
    UNREAD,
    N,
    R,
    RawResponse,
    S,
    T,
    Verdict,
    asked,
    b64,
    claims,
    claims_are_good,
    header_is_good,
    is_admin,
    is_fresh,
    kid_of,
    reads,
    signed,
    verdict,
)

fuzz = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def raising(app: Flask) -> Flask:
    """The app, so that what would have been a 500 says why."""
    app.config["PROPAGATE_EXCEPTIONS"] = True
    return app


JAM = Jam({"jwt": {"secret_key": SECRET}}, clock=Clock())
#: Tokens in the header, sessions in the cookie.
APP = raising(build_app(JAM))
#: Tokens in the header or in the cookie ``token``.
COOKIES = raising(build_app(JAM, cookie_name="token"))
#: An app of its own for logouts: they leave marks, which the oracle knows nothing of.
LEAVING_JAM = Jam({"jwt": {"secret_key": SECRET}}, clock=Clock())
LEAVING = raising(build_app(LEAVING_JAM))
STAYING = LEAVING_JAM.issue_tokens("alice")
KID = kid_of(JAM)
GOOD = signed(claims(scope="read", roles=["admin"], auth_time=NOW), {
    "alg": "HS256", "typ": "JWT", "kid": KID})  # fmt: skip
SESSION = JAM.create_session("alice", {"n": 1})
PAIR = JAM.issue_tokens("alice")

#: Every route of the test app, and how to ask for it.
ROUTES = sorted(
    (method, rule.rule.replace("<name>", "bob").replace("<path:filename>", "nothing.css"))
    for rule in APP.url_map.iter_rules()
    for method in rule.methods or ()
)
FORM = "application/x-www-form-urlencoded"
GUARDS = ("/jwt", "/optional", "/either", "/read", "/admin", "/fresh")


def knows_nobody(response: RawResponse) -> bool:
    return response.status_code != 200 or response.json["payload"] is None


# --- anything as a header -------------------------------------------------------------

wire = st.binary(max_size=300).map(lambda raw: raw.decode("latin-1"))
words = st.text(max_size=200)
schemes = st.sampled_from(["Bearer ", "bearer ", "Bearer", "Bearer\t", "Basic ", "", " Bearer "])
dotted = st.lists(st.text("ABCab01-_=+/. ", max_size=40), min_size=1, max_size=5).map(".".join)
values = st.one_of(
    wire, words, dotted, st.builds("".join, st.tuples(schemes, dotted | wire | words))
)


@fuzz
@given(values, st.sampled_from(ROUTES))
@example("Bearer \ud800", ("GET", "/jwt"))
@example("Bearer " + "." * 5000, ("POST", "/logout"))
def test_no_authorization_header_lets_anybody_in(value: str, route: tuple[str, str]) -> None:
    method, path = route

    response = asked(APP, path, method, HTTP_AUTHORIZATION=value)
    assert response.status_code < 500
    for path in GUARDS:
        found = verdict(response := asked(APP, path, HTTP_AUTHORIZATION=value))
        assert found in (N, R, T) or (path == "/optional" and found == OK)
        assert knows_nobody(response)
    assert asked(APP, "/open", HTTP_AUTHORIZATION=value).json["payload"] is None


names = st.sampled_from(
    ["sessionId", "token", " token", "token ", "tok", "__Host-token", '"token"']
)
pairs = st.builds("{}={}".format, names, wire | words | dotted)
cookies = st.one_of(wire, words, st.lists(pairs, max_size=4).map("; ".join),
                    st.lists(pairs, max_size=3).map(",".join))  # fmt: skip


@fuzz
@given(cookies, st.sampled_from(ROUTES))
@example("token=\ud800; sessionId=\ud800", ("POST", "/session-logout"))
@example("sessionId=" + "A" * 45, ("POST", "/session-refresh"))
def test_no_cookie_header_lets_anybody_in(value: str, route: tuple[str, str]) -> None:
    method, path = route

    assert asked(COOKIES, path, method, HTTP_COOKIE=value).status_code < 500
    for path in (*GUARDS, "/session"):
        found = verdict(response := asked(COOKIES, path, HTTP_COOKIE=value))
        assert found in (N, R, T, COOKIE) or (path == "/optional" and found == OK)
        assert knows_nobody(response)
    assert asked(COOKIES, "/open", HTTP_COOKIE=value).json["payload"] is None


@fuzz
@given(wire, wire, wire)
def test_no_accept_header_breaks_a_refusal(accept: str, agent: str, kind: str) -> None:
    sent = {"HTTP_ACCEPT": accept, "HTTP_USER_AGENT": agent, "CONTENT_TYPE": kind}

    assert verdict(asked(APP, "/jwt", "POST", **sent)) == N
    assert verdict(asked(APP, "/jwt", HTTP_AUTHORIZATION="Bearer x", **sent)) == T
    assert asked(APP, "/session-login/bob", "POST", **sent).status_code == 200
    assert verdict(asked(APP, "/refresh", "POST", **sent)) in (N, R)


# --- a good credential, changed -------------------------------------------------------

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
odd = st.sampled_from([*ALPHABET, *".=+/ ,;~\t\"'\\%\x00\x7f\x80\xe9\xff\u0430\u212a\ud800"])


@st.composite
def changed(draw: st.DrawFn, good: str) -> str:
    """The text after a few changes such as a bad wire or a curious person makes."""
    text = good
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(text) - 1, 0)))
        end = draw(st.integers(at, min(len(text), at + 50)))
        parts = text.split(".")
        choices = [
            text[:at] + draw(odd) + text[at + 1 :],
            text[:at] + draw(odd) + text[at:],
            text[:at] + text[at + 1 :],
            text[:at] + text[end:],
            text[:end] + text[at:],
            text[:at],
            text[:at] + text[at:].swapcase(),
            ".".join(draw(st.permutations(parts))),
            ".".join([*parts[:-1], parts[-1] + draw(st.sampled_from(["", "=", "==", "A", "."]))]),
            text[:-1] + draw(st.sampled_from(ALPHABET)),
        ]
        text = draw(st.sampled_from(choices))
    return text


@fuzz
@given(changed(GOOD))
@example(GOOD)
@example(GOOD + " ")
def test_a_token_is_taken_as_it_was_signed_and_not_otherwise(text: str) -> None:
    # Spaces around a field value are no part of it (RFC 9110 5.5).
    same = text.strip(" \t") == GOOD

    for path in GUARDS:
        found = verdict(asked(APP, path, HTTP_AUTHORIZATION=f"Bearer {text}"))
        assert found == OK if same else found in (R, T)
    found = verdict(asked(APP, "/both", HTTP_AUTHORIZATION=f"Bearer {text}"))
    assert found == COOKIE if same else found in (R, T)
    payload = asked(APP, "/open", HTTP_AUTHORIZATION=f"Bearer {text}").json["payload"]
    assert (payload is not None) == same


@fuzz
@given(changed(GOOD))
@example(GOOD)
def test_a_token_in_a_cookie_is_taken_as_it_was_signed_and_not_otherwise(text: str) -> None:
    sent = f"a=b; token={text}"
    same = [part.strip(" \t") for part in sent.split(";")].count(f"token={GOOD}") == 1

    for path in GUARDS:
        found = verdict(asked(COOKIES, path, HTTP_COOKIE=sent))
        nobody = path == "/optional" and found == OK and not text.partition(";")[0].strip(" \t")
        assert found == OK if same else found in (N, R, T) or nobody


@fuzz
@given(changed(SESSION))
@example(SESSION)
def test_a_session_id_is_taken_as_it_was_made_and_not_otherwise(text: str) -> None:
    sent = f"sessionId={text}"
    same = [part.strip(" \t") for part in sent.split(";")].count(f"sessionId={SESSION}") == 1

    found = verdict(asked(APP, "/session", HTTP_COOKIE=sent))
    assert found == OK if same else found in (COOKIE, R)
    if not same:
        assert asked(APP, "/session-logout", "POST", HTTP_COOKIE=sent).status_code in (204, 400)
        assert asked(APP, "/session-refresh", "POST", HTTP_COOKIE=sent).status_code in (400, 401)
    assert JAM.get_session(SESSION) == {"n": 1}


@fuzz
@given(changed(PAIR["refresh_token"]))
def test_a_refresh_token_is_taken_as_it_was_made_and_not_otherwise(text: str) -> None:
    if text == PAIR["refresh_token"]:
        return
    body = json.dumps({"refresh_token": text}).encode()
    form = urlencode({"refresh_token": text}, errors="replace").encode()
    for sent, kind in ((body, "application/json"), (form, FORM)):
        found = verdict(asked(APP, "/refresh", "POST", sent, CONTENT_TYPE=kind))
        assert found in ((T, R) if text else (N,))
    # Nor did the family suffer from it: this one would be dead.
    assert JAM.verify_jwt_token(PAIR["access_token"])["sub"] == "alice"


# --- other claims, rightly signed -----------------------------------------------------

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.text(st.characters(codec=None), max_size=5),
)  # fmt: skip
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
dates = st.sampled_from([
    NOW, NOW - 1, NOW + 1, NOW - 300, NOW - 301, NOW + 600, NOW + 86400, NOW + 86401, NOW + 0.5,
    NOW - 0.5, 0, -1, NOW - 86400, 2**53, -(2**53), 2**63, 1e30, str(NOW + 600), True,
])  # fmt: skip
texts = st.sampled_from([
    "alice", "a" * 256, "a" * 257, "", " ", "a\x00", "a\n", "\x7f", "\x85", "\u2028", "\ud800",
    "\U0001f600", "é", "read", "admin",
])  # fmt: skip
scopes = st.sampled_from([
    "read", "write read", "read  write", " read", "read\t", "reading", "", "READ", ["read"],
    "write\u00a0read", {"read": 1},
])  # fmt: skip
roles = st.sampled_from([
    ["admin"], ["editor", "admin"], ["admins"], [], "admin", ["admin", 1], [["admin"]],
    {"admin": 1},
])  # fmt: skip
LIKELY = {"exp": dates, "nbf": dates, "iat": dates, "auth_time": dates, "scope": scopes,
          "roles": roles}  # fmt: skip
CLAIM_NAMES = (*REGISTERED, "name", "__class__")


@st.composite
def said_instead(draw: st.DrawFn) -> dict[str, Any]:
    """The claims of a good token, of which a few are missing or something else."""
    said = claims(scope="read", roles=["admin"], auth_time=NOW)
    for name in draw(st.lists(st.sampled_from(CLAIM_NAMES), min_size=0, max_size=3, unique=True)):
        if draw(st.integers(0, 4)) == 0:
            said.pop(name, None)
        else:
            said[name] = draw(st.one_of(LIKELY.get(name, texts), anything))
    return said


def expected_by_route(said: dict[str, Any]) -> dict[str, Verdict]:
    return {
        "/jwt": OK,
        "/optional": OK,
        "/either": OK,
        "/open": OK,
        "/both": COOKIE,
        "/read": OK if reads(said) else UNREAD,
        "/admin": OK if is_admin(said) else S,
        "/fresh": OK if is_fresh(said, NOW) else STALE,
        "/session": COOKIE,
        "/public": OK,
    }


REFUSED = {"/open": OK, "/public": OK, "/session": COOKIE}


@settings(fuzz, max_examples=250)
@given(said_instead())
@example(claims(exp=NOW))
@example(claims(exp=NOW + 86401, iat=NOW + 1))
@example(claims(roles=["admin", "\ud800"]))
@example({})
def test_what_is_signed_is_taken_by_the_rules_alone(said: dict[str, Any]) -> None:
    token = signed(said)
    good = claims_are_good(said, NOW) and len(token) <= 8192

    for path, wanted in expected_by_route(said).items():
        response = asked(APP, path, HTTP_AUTHORIZATION=f"Bearer {token}")
        if good:
            assert verdict(response) == wanted
        else:
            assert verdict(response) in (REFUSED.get(path, T), REFUSED.get(path, EXPIRED))
        if path == "/jwt" and good:
            assert response.json["payload"] == said
            assert response.json["subject"] == said.get("sub")
        if path in ("/open", "/public"):
            assert response.json["payload"] == (said if good else None)


HEADERS = ("alg", "typ", "kid", "crit", "b64", "zip", "enc", "jwk", "jku", "x5c", "x5u", "cty",
           "epk", "p2c", "name")  # fmt: skip
members = st.sampled_from([
    "HS256", "hs256", "HS512", "none", "RS256", "JWT", "jwt", "at+jwt", "application/AT+JWT",
    "refresh", "application/", "JWS", KID, KID.swapcase(), "", "DEF", "b64", ["b64"], ["HS256"],
])  # fmt: skip


@st.composite
def headed_instead(draw: st.DrawFn) -> dict[str, Any]:
    """A good header, of which a few members are missing or something else."""
    header: dict[str, Any] = {"alg": "HS256", "typ": "JWT", "kid": KID}
    for name in draw(st.lists(st.sampled_from(HEADERS), min_size=0, max_size=2, unique=True)):
        if draw(st.integers(0, 3)) == 0:
            header.pop(name, None)
        else:
            header[name] = draw(st.one_of(members, anything))
    return header


@fuzz
@given(headed_instead())
def test_what_heads_it_is_taken_by_the_rules_alone(header: dict[str, Any]) -> None:
    token = signed(claims(), header)
    small = len(token) <= 8192 and len(json.dumps(header)) <= 2048
    expected = OK if small and header_is_good(header, KID) else T

    for path in ("/jwt", "/optional", "/either"):
        assert verdict(asked(APP, path, HTTP_AUTHORIZATION=f"Bearer {token}")) == expected


@fuzz
@given(st.binary(max_size=200), st.binary(max_size=100))
@example(b'{"jti":"a","exp":1800000600}', b"")
def test_what_is_no_json_is_no_token_whoever_signed_it(body: bytes, head: bytes) -> None:
    token = signed(body)
    headless = ".".join([b64(head), *token.split(".")[1:]])

    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if not isinstance(said, dict) or not claims_are_good(said, NOW):
        assert verdict(asked(APP, "/jwt", HTTP_AUTHORIZATION=f"Bearer {token}")) in (T, EXPIRED)
    assert verdict(asked(APP, "/jwt", HTTP_AUTHORIZATION=f"Bearer {headless}")) == T


@fuzz
@given(said_instead(), headed_instead())
def test_logout_with_anything_signed_ends_nobody_else(
    said: dict[str, Any], header: dict[str, Any]
) -> None:
    token = signed(said, header)

    for _ in range(2):
        response = asked(LEAVING, "/logout", "POST", HTTP_AUTHORIZATION=f"Bearer {token}")
        assert verdict(response) == (204, None)
        assert response.data == b""
        # It is gone now, if it ever was good.
        assert verdict(asked(LEAVING, "/jwt", HTTP_AUTHORIZATION=f"Bearer {token}")) in (T, EXPIRED)
    other = asked(LEAVING, "/jwt", HTTP_AUTHORIZATION=f"Bearer {STAYING['access_token']}")
    assert verdict(other) == OK


# --- bodies ---------------------------------------------------------------------------

kinds = st.sampled_from([
    "application/json", "application/json; charset=utf-16", "application/vnd.api+json",
    "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
    "multipart/form-data", "text/plain", "", "application/json; charset=\x00", "a/b;c",
])  # fmt: skip
bodies = st.one_of(
    st.binary(max_size=300),
    anything.map(lambda value: json.dumps(value).encode()),
    anything.map(lambda value: json.dumps({"refresh_token": value}).encode()),
    st.lists(anything, max_size=3).map(
        lambda values: b"{" + b",".join(
            b'"refresh_token":' + json.dumps(value).encode() for value in values
        ) + b"}"
    ),
    st.binary(max_size=60).map(lambda raw: b"refresh_token=" + raw),
    st.binary(max_size=60).map(
        lambda raw: b'--x\r\nContent-Disposition: form-data; name="refresh_token"\r\n\r\n'
        + raw + b"\r\n--x--\r\n"
    ),
)  # fmt: skip


@fuzz
@given(bodies, kinds, st.sampled_from(["utf-8", "utf-16", "utf-32", "utf-8-sig"]))
@example(b"[" * 16000, "application/json", "utf-8")
@example(b'{"refresh_token":1' + b"0" * 5000 + b"}", "application/json", "utf-8")
def test_no_body_refreshes_or_logs_out_anybody(body: bytes, kind: str, encoding: str) -> None:
    heard: list[str] = []

    def receiver(sender: Flask, **what: Any) -> None:
        heard.append(str(what))

    if encoding != "utf-8":
        body = body.decode("latin-1").encode(encoding)
    with (
        signals.refreshed.connected_to(receiver, APP),
        signals.revoked.connected_to(receiver, APP),
        signals.logged_out.connected_to(receiver, APP),
    ):
        assert verdict(asked(APP, "/refresh", "POST", body, CONTENT_TYPE=kind)) in (N, R, T)
        for path in ("/logout", "/session-logout"):
            assert asked(APP, path, "POST", body, CONTENT_TYPE=kind).status_code == 204
        response = asked(APP, "/session-refresh", "POST", body, CONTENT_TYPE=kind)
        assert verdict(response) == COOKIE
    assert heard == []


def test_after_all_of_this_those_who_belong_here_are_still_in() -> None:
    """Run last: nothing above ended the token, the session or the family that it played with."""
    assert verdict(asked(APP, "/jwt", HTTP_AUTHORIZATION=f"Bearer {GOOD}")) == OK
    assert verdict(asked(APP, "/session", HTTP_COOKIE=f"sessionId={SESSION}")) == OK
    body = json.dumps({"refresh_token": PAIR["refresh_token"]}).encode()
    response = asked(APP, "/refresh", "POST", body, CONTENT_TYPE="application/json")
    assert verdict(response) == OK
