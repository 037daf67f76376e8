"""Refresh tokens and revocation: R01 to R24 of the attack catalogue, on the memory store."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask, g
from flask.testing import FlaskClient

from flask_jam import Jam, JWTExtension, StoreUnavailable, TokenError, signals
from flask_jam.stores.interface import Kind

from ..cases import each_case
from ..conftest import Clock, bearer, build_app
from .craft import (
    ABSENT,
    COOKIE,
    DOWN,
    EXPIRED,
    NOW,
    OK,
    FlakyStore,
    N,
    R,
    T,
    Verdict,
    asked,
    b64,
    claims,
    forged,
    on_every_route,
    signed,
    unb64,
    verdict,
)

MakeJam = Callable[..., Jam]
Pair = dict[str, Any]
Log = list[tuple[str, dict[str, Any]]]
GONE: Verdict = (204, None)


def answer(client: FlaskClient, token: str, path: str = "/jwt") -> Verdict:
    return verdict(client.get(path, headers=bearer(token)))


def present(client: FlaskClient, refresh_token: str) -> Any:
    response = client.post("/refresh", json={"refresh_token": refresh_token})
    # R06: two tabs may race, and the loser must not log out the winner.
    assert "Set-Cookie" not in response.headers
    return response


def turned(client: FlaskClient, pair: Pair) -> Pair:
    response = present(client, pair["refresh_token"])
    assert verdict(response) == OK
    assert "no-store" in response.headers["Cache-Control"]
    return response.json  # type: ignore[no-any-return]


def names(log: Log) -> list[str]:
    return [name for name, _ in log]


@pytest.fixture
def pair(jam: Jam) -> Pair:
    return jam.issue_tokens("alice", scopes={"read"}, roles={"editor"})


# --- rotation, grace, reuse -----------------------------------------------------------


def test_R01_a_rotated_token_after_the_grace_ends_the_family(
    client: FlaskClient, clock: Clock, pair: Pair, event_log: Log
) -> None:
    second = turned(client, pair)
    clock.tick(10.001)
    event_log.clear()

    assert verdict(present(client, pair["refresh_token"])) == T

    assert names(event_log) == ["revoked", "reuse_detected", "rejected"]
    assert event_log[0][1] == {"kind": "family", "subject": "alice", "issuer": None}
    assert event_log[1][1]["subject"] == "alice"
    assert event_log[2][1]["reason"] == "reused"
    assert verdict(present(client, second["refresh_token"])) == T
    for token in (pair["access_token"], second["access_token"]):
        assert on_every_route(client, bearer(token)) == {T}


def test_R02_a_replay_within_the_grace_gets_the_same_successor(
    client: FlaskClient, clock: Clock, pair: Pair, event_log: Log
) -> None:
    second = turned(client, pair)
    for seconds in (0, 4, 4):  # and what the test itself takes
        clock.tick(seconds)
        again = turned(client, pair)
        assert again["refresh_token"] == second["refresh_token"]
        assert answer(client, again["access_token"]) == OK

    third = turned(client, second)

    assert third["refresh_token"] != second["refresh_token"]
    assert "reuse_detected" not in names(event_log)


def test_R03_a_grandparent_within_the_grace_ends_the_family(
    client: FlaskClient, pair: Pair, event_log: Log
) -> None:
    # django-oauth-toolkit #1617. Not a second has passed here.
    third = turned(client, turned(client, pair))

    assert verdict(present(client, pair["refresh_token"])) == T

    assert "reuse_detected" in names(event_log)
    assert verdict(present(client, third["refresh_token"])) == T
    assert on_every_route(client, bearer(third["access_token"])) == {T}


def test_R01_without_a_grace_the_second_use_is_the_alarm(make_jam: MakeJam, clock: Clock) -> None:
    jam = make_jam(jwt={"refresh_grace": 0})
    client = build_app(jam).test_client()
    pair = jam.issue_tokens("alice")
    second = turned(client, pair)
    clock.tick(0.001)

    assert verdict(present(client, pair["refresh_token"])) == T
    assert verdict(present(client, second["refresh_token"])) == T


def test_R04_fifty_threads_get_one_successor(app: Flask, pair: Pair, event_log: Log) -> None:
    barrier = threading.Barrier(50, timeout=20)

    def refresh() -> tuple[Verdict, str]:
        client = app.test_client()
        barrier.wait()
        response = present(client, pair["refresh_token"])
        return verdict(response), response.json["refresh_token"]

    with ThreadPoolExecutor(50) as pool:
        runs = [pool.submit(refresh) for _ in range(50)]
        answers = {run.result() for run in runs}

    ((outcome, successor),) = answers
    assert outcome == OK
    assert successor != pair["refresh_token"]
    assert "reuse_detected" not in names(event_log)
    assert turned(app.test_client(), {"refresh_token": successor})["refresh_token"] != successor


def test_R04_threads_that_refresh_and_refresh_never_fork_the_family(app: Flask, pair: Pair) -> None:
    # All present what they got last. Whoever falls behind by one is in the grace; nobody can be
    # further behind, as each waits for the others before the next round.
    barrier = threading.Barrier(8, timeout=20)
    rounds: list[set[str]] = [set() for _ in range(6)]

    def refresh() -> None:
        client, token = app.test_client(), pair["refresh_token"]
        for found in rounds:
            barrier.wait()
            token = turned(client, {"refresh_token": token})["refresh_token"]
            found.add(token)

    with ThreadPoolExecutor(8) as pool:
        for run in [pool.submit(refresh) for _ in range(8)]:
            run.result()

    assert [len(found) for found in rounds] == [1] * 6


def test_R05_a_refresh_that_lands_inside_of_another_gets_the_same_successor(jam: Jam) -> None:
    # sheaf #239. The other one lands where it hurts most: after the question, before the step.
    inner: list[Pair] = []

    def reload_claims(subject: str, old: dict[str, Any]) -> dict[str, Any]:
        if not inner:
            inner.append({})
            inner[0] = jam.refresh_tokens(pair["refresh_token"])
        return old

    client = build_app(jam, reload_claims=reload_claims).test_client()
    pair = jam.issue_tokens("alice")

    outer = turned(client, pair)

    assert outer["refresh_token"] == inner[0]["refresh_token"]
    assert turned(client, outer)["refresh_token"] != outer["refresh_token"]


def test_R05_a_logout_that_lands_inside_of_a_refresh_wins(jam: Jam) -> None:
    def reload_claims(subject: str, old: dict[str, Any]) -> dict[str, Any]:
        jam.revoke_subject(subject)
        return old

    client = build_app(jam, reload_claims=reload_claims).test_client()
    pair = jam.issue_tokens("alice")

    assert verdict(present(client, pair["refresh_token"])) == T


@each_case("verb", ["rotate_family", "start_family"])
@each_case("by", ["subject", "family"])
def test_R05_a_revocation_between_a_step_and_its_answer_takes_the_answer_along(
    make_jam: MakeJam, verb: str, by: str
) -> None:
    store = FlakyStore()
    jam = make_jam(store=store)
    client = build_app(jam).test_client()
    pair = jam.issue_tokens("alice")

    def revoke(done: str) -> None:
        if done == verb:
            store.after = lambda done: None
            if by == "subject":
                jam.revoke_subject("alice")
            else:
                for family_id in list(store._families):
                    store.end_family(family_id, jam.clock(), jam.clock() + 10**6)

    store.after = revoke
    if verb == "start_family":
        pair = client.post("/login/alice").json
    else:
        pair = turned(client, pair)

    # It was answered as good, for it was, and it is dead on arrival.
    assert on_every_route(client, bearer(pair["access_token"])) == {T}
    assert verdict(present(client, pair["refresh_token"])) == T


def test_R06_a_loser_clears_nothing(
    jam: Jam, client: FlaskClient, pair: Pair, clock: Clock
) -> None:
    session_id = jam.create_session("alice", {})
    client.set_cookie("sessionId", session_id)
    turned(client, pair)
    clock.tick(60)

    response = present(client, pair["refresh_token"])

    assert verdict(response) == T
    assert verdict(client.get("/session")) == OK


# R07 waits: a refresh token is bound to no client and no key yet.


def test_R08_a_guess_never_ends_a_family(
    jam: Jam, make_jam: MakeJam, pair: Pair, event_log: Log, app: Flask
) -> None:
    client = app.test_client()
    right = turned(client, pair)["refresh_token"]
    family, generation, mac = right.split(".")
    other = make_jam(jwt={"secret_key": "an0ther-" * 8}).issue_tokens("alice")["refresh_token"]
    guesses = [
        f"{family}.{generation}.{'A' * 43}", f"{family}.1.{mac}", f"{family}.3.{mac}",
        f"{family}.0.{mac}", f"{family}.-1.{mac}", f"{family}.02.{mac}", f"{family}.\uff12.{mac}",
        f"{family}.{'9' * 9}.{mac}", f"{family}.{'9' * 5000}.{mac}", f"{family}..{mac}",
        f"{family}.{generation}.", f"{family}.{generation}", family, f"{right}=", f" {right}",
        f"{right}\n", f"{right}.", f".{right}", right.upper(), f"{mac}.{generation}.{family}",
        f"{family}.{generation}.{other.split('.')[2]}", f"{family}.{generation}.{mac[:-1]}",
        f"{family}.{generation}.{mac[:-1]}{'A' if mac[-1] != 'A' else 'E'}",
        f"{family.lower()}.{generation}.{mac}", other, "é.1.é", "\x00", "." * 10**4,
    ]  # fmt: skip
    event_log.clear()

    for guess in guesses:
        assert verdict(present(client, guess)) == T, guess
        jam.revoke_token(guess)

    assert set(names(event_log)) == {"rejected"}
    assert {what["reason"] for _, what in event_log} == {"invalid"}
    assert verdict(present(client, right)) == OK


def test_R08_a_guess_never_reaches_the_store(make_jam: MakeJam) -> None:
    store = FlakyStore()
    client = build_app(make_jam(store=store)).test_client()
    store.calls.clear()
    store.fail()

    for guess in ("a.1.b", f"{'A' * 45}.1.{'A' * 43}", "x" * 10_000, signed(claims())):
        assert verdict(present(client, guess)) == T
    assert store.calls == []


# --- ends -----------------------------------------------------------------------------


@each_case("end", ["logout", "subject", "refresh-token", "disabled"])
def test_R09_nobody_refreshes_after_the_end(jam: Jam, end: str) -> None:
    disabled: set[str] = set()

    def reload_claims(subject: str, old: dict[str, Any]) -> dict[str, Any] | None:
        return None if subject in disabled else old

    client = build_app(jam, reload_claims=reload_claims).test_client()
    first = jam.issue_tokens("alice")
    pair = turned(client, first)
    {
        "logout": lambda: client.post("/logout", headers=bearer(pair["access_token"])),
        # A changed password ends everything of its owner.
        "subject": lambda: jam.revoke_subject("alice"),
        "refresh-token": lambda: jam.revoke_token(pair["refresh_token"]),
        "disabled": lambda: disabled.add("alice"),
    }[end]()

    for token in (pair["refresh_token"], first["refresh_token"], pair["refresh_token"]):
        assert verdict(present(client, token)) == T


def test_R09_a_login_after_the_end_is_a_new_beginning(jam: Jam, client: FlaskClient) -> None:
    # In the very same instant: the clock stands still.
    old = jam.issue_tokens("alice")
    jam.revoke_subject("alice")

    new = jam.issue_tokens("alice")

    assert verdict(present(client, old["refresh_token"])) == T
    assert answer(client, new["access_token"]) == OK
    assert answer(client, turned(client, new)["access_token"]) == OK


def test_R10_nobody_slides_past_the_absolute_end(make_jam: MakeJam, clock: Clock) -> None:
    jam = make_jam(jwt={"refresh_idle": 100, "refresh_absolute": 250})
    client = build_app(jam).test_client()
    pair = jam.issue_tokens("alice")
    for _ in range(2):
        clock.tick(99)
        pair = turned(client, pair)
    clock.tick(51.9)
    pair = turned(client, pair)

    clock.tick(0.1)

    assert verdict(present(client, pair["refresh_token"])) == EXPIRED


def test_R10_nobody_comes_back_after_the_idle_time(make_jam: MakeJam, clock: Clock) -> None:
    jam = make_jam(jwt={"refresh_idle": 100})
    client = build_app(jam).test_client()
    pair = jam.issue_tokens("alice")
    clock.tick(100)

    assert verdict(present(client, pair["refresh_token"])) == EXPIRED
    clock.tick(-1)
    assert verdict(present(client, pair["refresh_token"])) == OK


def test_R11_a_refresh_grants_what_the_login_granted(client: FlaskClient, pair: Pair) -> None:
    wishes = {"scope": "read write", "roles": ["admin"], "aud": "x", "sub": "root", "exp": 10**10,
              "auth_time": NOW + 100, "grant_type": "password"}  # fmt: skip
    body = {"refresh_token": pair["refresh_token"]}
    responses = [
        client.post("/refresh", json={**body, **wishes}),
        client.post("/refresh", data={**body, **wishes}),
        client.post("/refresh?scope=write&roles=admin", json=body),
    ]

    for response in responses:
        assert verdict(response) == OK
        assert response.json["scope"] == "read"
        said = client.get("/jwt", headers=bearer(response.json["access_token"])).json["payload"]
        assert (said["sub"], said["scope"], said["roles"]) == ("alice", "read", ["editor"])
        assert said["exp"] <= NOW + 900
        assert "aud" not in said
        assert answer(client, response.json["access_token"], "/admin") == (403, None)


def test_R11_a_refresh_keeps_the_time_of_the_login(
    client: FlaskClient, pair: Pair, clock: Clock
) -> None:
    assert answer(client, pair["access_token"], "/fresh") == OK
    clock.tick(301)

    pair = turned(client, pair)

    assert answer(client, pair["access_token"]) == OK
    assert answer(client, pair["access_token"], "/fresh")[0] == 401


def test_R12_neither_token_does_the_work_of_the_other(client: FlaskClient, pair: Pair) -> None:
    assert verdict(present(client, pair["access_token"])) == T
    assert on_every_route(client, bearer(pair["refresh_token"])) == {T}
    assert verdict(client.post("/refresh", headers=bearer(pair["refresh_token"]))) == N
    assert verdict(client.post("/refresh", headers=bearer(pair["access_token"]))) == N
    assert verdict(present(client, pair["refresh_token"])) == OK


def test_R12_a_refresh_token_counts_in_the_body_only(client: FlaskClient, pair: Pair) -> None:
    token = pair["refresh_token"]
    client.set_cookie("refresh_token", token)

    assert verdict(client.post(f"/refresh?refresh_token={token}")) == N
    assert verdict(client.post("/refresh", headers={"X-Refresh-Token": token})) == N
    assert client.get("/refresh", json={"refresh_token": token}).status_code == 405


# R13 waits for the refresh cookie.


@each_case(
    "body",
    [
        pytest.param({"data": b"{"}, id="R12-body-cut-off"),
        pytest.param({"data": b'["refresh_token"]'}, id="R12-body-list"),
        pytest.param({"data": b'{"refresh_token":"a","refresh_token":"b"}'}, id="R12-body-twice"),
        pytest.param({"data": b'{"refresh_token":["a"]}'}, id="R12-body-field-is-a-list"),
        pytest.param({"data": b'{"refresh_token":null}'}, id="R12-body-field-is-null"),
        pytest.param({"data": b'{"refresh_token":"\\ud800"}'}, id="R12-body-lone-surrogate"),
        pytest.param({"data": '{"refresh_token":"a"}'.encode("utf-16")}, id="R12-body-utf-16"),
        pytest.param({"data": b"[" * 16000}, id="R12-body-deep"),
        pytest.param({"data": b'{"a":' * 3000}, id="R12-body-deep-objects"),
        pytest.param({"data": b" " * 20000}, id="R12-body-large"),
    ],
)
def test_a_body_in_a_wrong_form_is_a_malformed_request(
    client: FlaskClient, body: dict[str, Any]
) -> None:
    assert verdict(client.post("/refresh", content_type="application/json", **body)) == R


@each_case("length", [ABSENT, "", "0", "x"], ids=["absent", "empty", "zero", "bad"])
@each_case("kind", ["application/json", "application/x-www-form-urlencoded"])
def test_R12_a_body_without_a_length_is_not_read_to_its_end(
    app: Flask, pair: Pair, kind: str, length: Any
) -> None:
    # Chunked: the client says no length, and the server hands on whatever comes.
    said = {"refresh_token": pair["refresh_token"], "pad": "x" * 1_000_000}
    body = json.dumps(said) if kind == "application/json" else urlencode(said)
    stream = BytesIO(body.encode())
    chunked = {"CONTENT_LENGTH": length, "wsgi.input": stream, "wsgi.input_terminated": True}

    response = asked(app, "/refresh", "POST", CONTENT_TYPE=kind, **chunked)

    assert verdict(response) in (R, (413, None))
    assert stream.tell() < 100_000


def test_R12_two_refresh_tokens_in_a_form_are_a_malformed_request(
    client: FlaskClient, pair: Pair
) -> None:
    token = pair["refresh_token"]

    assert verdict(client.post("/refresh", data={"refresh_token": [token, token]})) == R
    assert verdict(client.post("/refresh", data={"refresh_token": token})) == OK


def test_R14_an_expired_family_raises_no_alarm(make_jam: MakeJam, clock: Clock) -> None:
    jam = make_jam(jwt={"refresh_absolute": 1000, "refresh_idle": 500})
    app = build_app(jam)
    client = app.test_client()
    first = jam.issue_tokens("alice")
    second = turned(client, first)
    clock.tick(501)
    heard: list[Any] = []

    def receiver(sender: Flask, **what: Any) -> None:
        heard.append(what)

    with (
        signals.reuse_detected.connected_to(receiver, app),
        signals.revoked.connected_to(receiver, app),
    ):
        for pair in (first, second, first):
            assert verdict(present(client, pair["refresh_token"])) == EXPIRED
        clock.tick(1000)
        for pair in (first, second):
            assert verdict(present(client, pair["refresh_token"])) == EXPIRED

    assert heard == []


def test_R14_a_family_that_ended_by_reuse_raises_one_alarm(
    client: FlaskClient, pair: Pair, clock: Clock, event_log: Log
) -> None:
    second = turned(client, pair)
    clock.tick(11)

    for token in (pair["refresh_token"], pair["refresh_token"], second["refresh_token"]) * 2:
        assert verdict(present(client, token)) == T

    assert names(event_log).count("reuse_detected") == 1
    assert names(event_log).count("revoked") == 1


# --- revocation -----------------------------------------------------------------------


@each_case(
    "token",
    [
        pytest.param("junk", id="R15-junk"),
        pytest.param("", id="R15-empty"),
        pytest.param("a.b.c", id="R15-three-segments"),
        pytest.param("x" * 100_000, id="R15-large"),
        pytest.param("\ud800", id="R15-lone-surrogate"),
        pytest.param(forged(signed(claims())), id="R15-forged"),
        pytest.param(signed(claims(), secret="an0ther-" * 8), id="R15-foreign"),
        pytest.param(signed(claims(aud="them")), id="R15-for-somebody-else"),
        pytest.param(f"{'A' * 45}.1.{'A' * 43}", id="R15-foreign-refresh-token"),
    ],
)
def test_revoking_what_is_not_ours_is_no_error_and_does_nothing(
    make_jam: MakeJam, token: str
) -> None:
    store = FlakyStore()
    jam = make_jam(store=store)
    client = build_app(jam).test_client()
    ours = signed(claims())

    assert jam.revoke_token(token) is False
    sent = {"HTTP_AUTHORIZATION": f"Bearer {token}"}
    # A header that is no token68 is a malformed request, here as on a guarded route.
    said = verdict(client.post("/logout", environ_overrides=sent))
    assert said == (GONE if token.isascii() and token else R)

    assert store.calls == []
    assert answer(client, ours) == OK


def test_R15_revoking_twice_is_revoking_once(jam: Jam, client: FlaskClient, pair: Pair) -> None:
    assert jam.revoke_token(pair["access_token"]) is True
    assert jam.revoke_token(pair["refresh_token"]) is True
    assert jam.revoke_token(pair["refresh_token"]) is False
    assert client.post("/logout", headers=bearer(pair["access_token"])).status_code == 204
    assert answer(client, pair["access_token"]) == T


def twin_of_last_bits(token: str) -> str:
    """The same bytes in another base64url: 32 bytes leave two bits of the last letter unused."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]
    assert unb64(twin.rpartition(".")[2]) == unb64(token.rpartition(".")[2])
    assert twin != token
    return twin


@each_case("spell", [
    pytest.param(lambda token: token + "=", id="R16-padded"),
    pytest.param(lambda token: token + "==", id="R16-padded-twice"),
    pytest.param(lambda token: token.replace(".", "=.", 1), id="R16-padded-header"),
    pytest.param(twin_of_last_bits, id="R16-unused-bits"),
])  # fmt: skip
def test_another_spelling_of_a_revoked_token_is_refused(
    jam: Jam, client: FlaskClient, spell: Callable[[str], str]
) -> None:
    # The twin of an ES256 signature is V23's.
    token = signed(claims())
    assert answer(client, spell(token)) in (T, R)
    jam.revoke_token(token)

    assert answer(client, spell(token)) in (T, R)
    assert answer(client, token) == T


def test_R16_the_same_claims_signed_again_are_revoked(jam: Jam, client: FlaskClient) -> None:
    first = signed(claims())
    jam.revoke_token(first)
    other = signed(claims(), {"typ": "at+jwt", "alg": "HS256"})

    assert other != first
    assert on_every_route(client, bearer(other)) == {T}


@each_case("revoke", ["token", "family", "subject"])
def test_R17_a_mark_outlives_the_leeway(make_jam: MakeJam, clock: Clock, revoke: str) -> None:
    jam = make_jam(jwt={"leeway": 60, "refresh_absolute": 1, "refresh_idle": 1})
    client = build_app(jam).test_client()
    pair, other = jam.issue_tokens("alice"), jam.issue_tokens("bob")
    exp = jam.verify_jwt_token(pair["access_token"])["exp"]
    {
        "token": lambda: jam.revoke_token(pair["access_token"]),
        "family": lambda: jam.revoke_token(pair["refresh_token"]),
        "subject": lambda: jam.revoke_subject("alice"),
    }[revoke]()

    clock.now = exp + 59.9
    # So many that the store sweeps out what it believes to have ended.
    for number in range(3000):
        jam.store.mark("ab", Kind.TOKEN, f"other-{number}", clock.now, clock.now + 100)

    assert answer(client, other["access_token"]) == OK
    assert on_every_route(client, bearer(pair["access_token"])) == {T}
    clock.tick(0.1)
    assert on_every_route(client, bearer(other["access_token"])) == {EXPIRED}


def test_R17_an_allowed_token_is_allowed_as_long_as_it_lives(
    make_jam: MakeJam, clock: Clock
) -> None:
    jam = make_jam(jwt={"leeway": 60, "list": "allow"})
    client = build_app(jam).test_client()
    token = jam.issue_tokens("alice")["access_token"]
    clock.tick(900 + 59.9)

    assert answer(client, token) == OK
    jam.revoke_token(token)
    assert on_every_route(client, bearer(token)) == {T}


def test_R18_a_token_until_the_year_9999_fills_no_list(make_jam: MakeJam) -> None:
    store = FlakyStore()
    jam = make_jam(store=store)
    client = build_app(jam).test_client()

    for said in (claims(exp=253_402_300_799), claims(exp=253_402_300_799, iat=253_402_300_000)):
        assert on_every_route(client, bearer(signed(said))) == {T}
    assert jam.revoke_token(signed(claims(exp=253_402_300_799))) is False
    assert jam.revoke_token(claims(exp=253_402_300_799)) is False
    with pytest.raises(TokenError, match="exp"):
        jam.gen_jwt_token(jam.make_payload(exp=10**9, sub="alice"))
    assert "mark" not in store.calls


def test_R18_one_that_hides_when_it_was_minted_is_refused_today_and_later(
    client: FlaskClient, clock: Clock
) -> None:
    # Without iat the life that is left would count, so this one would be short enough tomorrow.
    hiding = signed(claims(exp=NOW + 2 * 86400, iat=ABSENT))
    assert on_every_route(client, bearer(hiding)) == {T}

    clock.tick(86400 + 1)

    assert on_every_route(client, bearer(hiding)) == {T}


# --- a store that does not answer -----------------------------------------------------


def is_down(response: Any) -> bool:
    """503, when to come back, no challenge, and whatever the client holds is left alone."""
    assert verdict(response) == DOWN
    assert int(response.headers["Retry-After"]) > 0
    assert "WWW-Authenticate" not in response.headers
    assert "Set-Cookie" not in response.headers
    assert response.json["error"] == "temporarily_unavailable"
    return True


@pytest.fixture
def store() -> FlakyStore:
    return FlakyStore()


@pytest.fixture
def shaky(make_jam: MakeJam, store: FlakyStore) -> Jam:
    return make_jam(store=store)


def heard_by(app: Flask) -> list[str]:
    """Names of the signals that say that something happened."""
    heard: list[str] = []
    for name in ("logged_in", "logged_out", "refreshed", "revoked", "reuse_detected"):

        def receiver(sender: Flask, name: str = name, **what: Any) -> None:
            heard.append(name)

        getattr(signals, name).connect(receiver, app, weak=False)
    return heard


@each_case("warm", [True, False])
def test_R20_a_store_that_is_down_is_503_on_guarded_routes_and_nothing_elsewhere(
    shaky: Jam, store: FlakyStore, warm: bool
) -> None:
    client = build_app(shaky).test_client()
    token = shaky.issue_tokens("alice", scopes={"read"})["access_token"]
    client.set_cookie("sessionId", shaky.create_session("alice", {"n": 1}))
    if warm:
        assert answer(client, token) == verdict(client.get("/session")) == OK
    store.fail()

    for path in ("/jwt", "/optional", "/either", "/both", "/read", "/admin", "/fresh"):
        assert is_down(client.get(path, headers=bearer(token)))
    assert is_down(client.get("/session"))
    assert is_down(client.get("/either"))
    for path in ("/open", "/public"):
        response = client.get(path, headers=bearer(token))
        assert (verdict(response), response.json["payload"]) == (OK, None)

    store.recover()
    assert answer(client, token) == verdict(client.get("/session")) == OK


def test_R20_what_needs_no_store_is_decided_without_it(shaky: Jam, store: FlakyStore) -> None:
    client = build_app(shaky).test_client()
    store.fail()

    assert verdict(client.get("/jwt")) == N
    assert verdict(client.get("/session")) == COOKIE
    assert on_every_route(client, bearer(forged(signed(claims())))) == {T}
    assert on_every_route(client, bearer(signed(claims(exp=NOW)))) == {EXPIRED}
    assert on_every_route(client, bearer("a b")) == {R}
    client.set_cookie("sessionId", "no-id")
    assert verdict(client.get("/session")) == COOKIE
    assert verdict(client.get("/nowhere")) == (404, None)
    assert store.calls == []


def test_R20_a_page_for_a_person_is_503_as_well(shaky: Jam, store: FlakyStore) -> None:
    client = build_app(shaky).test_client()
    store.fail()

    response = client.get("/jwt", headers={**bearer(signed(claims())), "Accept": "text/html"})

    assert verdict(response) == DOWN
    assert response.mimetype == "text/html"
    assert int(response.headers["Retry-After"]) > 0


@each_case("verbs", [(), ("mark",), ("end_family",)])
def test_R19_a_logout_that_could_not_be_kept_is_no_logout(
    shaky: Jam, store: FlakyStore, verbs: tuple[str, ...]
) -> None:
    app = build_app(shaky)
    client, heard = app.test_client(), heard_by(app)
    pair = shaky.issue_tokens("alice")
    store.fail(*verbs)

    assert is_down(client.post("/logout", headers=bearer(pair["access_token"])))
    assert "logged_out" not in heard

    store.recover()
    assert client.post("/logout", headers=bearer(pair["access_token"])).status_code == 204
    assert heard[-1] == "logged_out"
    assert on_every_route(client, bearer(pair["access_token"])) == {T}
    assert verdict(present(client, pair["refresh_token"])) == T


@each_case("verbs", [(), ("delete_session",)])
def test_R19_a_session_logout_that_could_not_be_kept_is_no_logout(
    shaky: Jam, store: FlakyStore, verbs: tuple[str, ...]
) -> None:
    app = build_app(shaky)
    client, heard = app.test_client(), heard_by(app)
    session_id = shaky.create_session("alice", {})
    client.set_cookie("sessionId", session_id)
    store.fail(*verbs)

    assert is_down(client.post("/session-logout"))
    assert heard == []

    store.recover()
    assert verdict(client.get("/session")) == OK
    assert client.post("/session-logout").status_code == 204
    client.set_cookie("sessionId", session_id)
    assert verdict(client.get("/session")) == COOKIE


@each_case("path", ["/login/alice", "/session-login/alice"])
def test_R19_a_login_that_could_not_be_kept_is_no_login(
    shaky: Jam, store: FlakyStore, path: str
) -> None:
    app = build_app(shaky)
    client, heard = app.test_client(), heard_by(app)
    store.fail()

    response = client.post(path)

    assert is_down(response)
    assert not {"access_token", "refresh_token", "session_id"} & set(response.json)
    assert heard == []


def test_R19_a_login_does_not_leave_the_planted_session_alive(
    shaky: Jam, store: FlakyStore
) -> None:
    # The new session could be made, the old one not ended: then nobody has logged in.
    app = build_app(shaky)
    client, heard = app.test_client(), heard_by(app)
    client.set_cookie("sessionId", shaky.create_session("mallory", {}))
    store.fail("delete_session")

    assert is_down(client.post("/session-login/alice"))

    assert heard == []
    store.recover()
    assert client.get("/session").json["subject"] == "mallory"


@each_case("verbs", [(), ("rotate_family",)])
def test_R19_a_refresh_that_could_not_be_kept_leaves_the_token_good(
    shaky: Jam, store: FlakyStore, verbs: tuple[str, ...]
) -> None:
    app = build_app(shaky)
    client, heard = app.test_client(), heard_by(app)
    pair = shaky.issue_tokens("alice")
    store.fail(*verbs)

    assert is_down(present(client, pair["refresh_token"]))
    assert heard == []

    store.recover()
    assert turned(client, pair)["refresh_token"] != pair["refresh_token"]


def test_R19_a_refresh_whose_question_failed_leaves_the_token_good(
    shaky: Jam, store: FlakyStore
) -> None:
    client = build_app(shaky, reload_claims=lambda subject, old: old).test_client()
    pair = shaky.issue_tokens("alice")
    store.fail("read_family")

    assert is_down(present(client, pair["refresh_token"]))

    store.recover()
    turned(client, pair)


def test_R19_an_allow_list_that_could_not_be_written_gives_no_token(
    make_jam: MakeJam, store: FlakyStore
) -> None:
    jam = make_jam(store=store, jwt={"list": "allow"})
    app = build_app(jam)
    client, heard = app.test_client(), heard_by(app)
    pair = jam.issue_tokens("alice")
    store.fail("allow")

    assert is_down(client.post("/login/alice"))
    assert is_down(present(client, pair["refresh_token"]))
    assert heard == []

    # The turn was kept and its answer was not sent: the grace is for that.
    store.recover()
    assert answer(client, turned(client, pair)["access_token"]) == OK


def test_R19_a_session_id_that_could_not_be_changed_stays(shaky: Jam, store: FlakyStore) -> None:
    app = build_app(shaky)
    client, heard = app.test_client(), heard_by(app)
    client.set_cookie("sessionId", shaky.create_session("alice", {}))
    store.fail("rework_session")

    assert is_down(client.post("/session-refresh"))

    assert heard == []
    store.recover()
    assert verdict(client.get("/session")) == OK


def test_R19_outside_of_a_request_the_caller_hears_of_it(shaky: Jam, store: FlakyStore) -> None:
    pair = shaky.issue_tokens("alice")
    session_id = shaky.create_session("alice", {})
    store.fail()

    for call in (
        lambda: shaky.revoke_token(pair["access_token"]),
        lambda: shaky.revoke_token(pair["refresh_token"]),
        lambda: shaky.revoke_subject("alice"),
        lambda: shaky.verify_jwt_token(pair["access_token"]),
        lambda: shaky.refresh_tokens(pair["refresh_token"]),
        lambda: shaky.issue_tokens("alice"),
        lambda: shaky.get_session(session_id),
        lambda: shaky.create_session("alice", {}),
        lambda: shaky.update_session(session_id, {}),
        lambda: shaky.rework_session(session_id),
        lambda: shaky.delete_session(session_id),
        lambda: shaky.clear_sessions("alice"),
        lambda: shaky.list_sessions("alice"),
    ):
        with pytest.raises(StoreUnavailable):
            call()


# --- logout ---------------------------------------------------------------------------


def test_R21_logout_with_an_expired_token_ends_its_login(
    jam: Jam, client: FlaskClient, clock: Clock, pair: Pair, event_log: Log
) -> None:
    clock.tick(901)
    assert answer(client, pair["access_token"]) == EXPIRED

    assert client.post("/logout", headers=bearer(pair["access_token"])).status_code == 204

    assert jam.verifier.cache_info().currsize == 0
    assert verdict(present(client, pair["refresh_token"])) == T
    assert ("logged_out", {"scheme": "jwt", "subject": "alice", "issuer": None}) in event_log
    assert answer(client, pair["access_token"])[0] == 401


def test_R21_logout_with_an_expired_token_lets_nobody_in_for_the_rest_of_the_request(
    jam: Jam, clock: Clock
) -> None:
    app = Flask("logout")
    jwt = JWTExtension(jam, app)

    def logout() -> dict[str, Any]:
        before = g.payload
        jwt.logout()
        return {"before": before, "after": g.payload}

    app.add_url_rule("/logout", "logout", logout, methods=["POST"])
    token = jam.issue_tokens("alice")["access_token"]
    client = app.test_client()

    response = client.post("/logout", headers=bearer(token))
    assert response.json["before"]["sub"] == "alice"
    assert response.json["after"] is None
    clock.tick(901)
    response = client.post("/logout", headers=bearer(token))
    assert response.json == {"before": None, "after": None}


@each_case("end", ["logout", "reuse", "refresh-token"])
def test_R22_every_access_token_of_a_family_dies_with_it(
    jam: Jam, client: FlaskClient, clock: Clock, pair: Pair, end: str
) -> None:
    pairs = [pair]
    for _ in range(3):
        pairs.append(turned(client, pairs[-1]))
    other = jam.issue_tokens("alice")
    for each in (*pairs, other):
        assert answer(client, each["access_token"]) == OK
    {
        "logout": lambda: client.post("/logout", headers=bearer(pairs[1]["access_token"])),
        "reuse": lambda: present(client, pair["refresh_token"]),
        "refresh-token": lambda: jam.revoke_token(pairs[-1]["refresh_token"]),
    }[end]()

    for each in pairs:
        assert on_every_route(client, bearer(each["access_token"])) == {T}
    # Another login of the same person is another family.
    assert answer(client, other["access_token"]) == OK
    turned(client, other)


# R23 waits for the back-channel endpoint.


@each_case("typ", ["logout+jwt", "application/logout+jwt", "LOGOUT+JWT"])
def test_R24_a_logout_token_is_no_access_token(client: FlaskClient, typ: str) -> None:
    events = {"http://schemas.openid.net/event/backchannel-logout": {}}
    token = signed(claims(events=events, sid="s"), {"alg": "HS256", "typ": typ})

    assert on_every_route(client, bearer(token)) == {T}


def test_R24_a_logout_token_that_calls_itself_a_jwt_is_for_its_client(client: FlaskClient) -> None:
    events = {"http://schemas.openid.net/event/backchannel-logout": {}}
    token = signed(claims(events=events, sid="s", aud="client-1"))

    assert on_every_route(client, bearer(token)) == {T}
    head, _, mac = token.split(".")
    assert on_every_route(client, bearer(f"{head}.{b64(b'{}')}.{mac}")) == {T}
