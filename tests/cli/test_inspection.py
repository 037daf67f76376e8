"""``inspect``: what a credential is, whether it is good, and the reason that no client is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_jam import Jam, JWTExtension, SessionExtension, StoreUnavailable
from flask_jam._cli.inspection import has_key, inspect
from flask_jam.stores.memory import MemoryStore

from ..attacks.craft import ABSENT, NOW, FlakyStore, b64, claims, forged, signed
from ..cases import each_case
from ..conftest import SECRET, Clock, bearer
from .test_commands import new_app, run

MakeJam = Callable[..., Jam]


@pytest.fixture
def jam(make_jam: MakeJam) -> Jam:
    return make_jam()


def why(jam: Jam, credential: str) -> tuple[str, str]:
    """The reason and the detail of what is refused."""
    found = inspect(jam, credential)
    assert found["good"] is False
    return found["reason"], found["detail"]


# --- access tokens -------------------------------------------------------------------------------


def test_a_good_token_shows_what_it_says_and_until_when(jam: Jam) -> None:
    token = jam.issue_tokens("ann", roles={"admin"})["access_token"]
    found = inspect(jam, token)
    assert (found["kind"], found["good"]) == ("access token", True)
    assert found["claims"] == {
        **jam.verify_jwt_token(token),
        "jam_cut": [jam.store.identity(), 0.0],
    }
    assert found["header"]["alg"] == "HS256"
    assert found["expires_at"] == found["claims"]["exp"]
    assert "reason" not in found


@each_case(
    ("token", "reason", "detail"),
    [
        (lambda: signed(claims(exp=NOW)), "expired", "has expired"),
        (lambda: forged(signed(claims())), "invalid", "signature is not that of our key"),
        (lambda: signed(claims(), secret="x" * 40), "invalid", "signature is not that of our key"),
        (lambda: signed(claims(), {"alg": "none", "typ": "JWT"}), "invalid", "alg is not HS256"),
        (lambda: signed(claims(), {"alg": "RS256", "typ": "JWT"}), "invalid", "alg is not HS256"),
        (lambda: signed(claims(), {"typ": "JWT"}), "invalid", "alg is not HS256"),
        (lambda: signed(claims(), {"alg": "HS256", "kid": "no"}), "invalid", "kid names no key"),
        (lambda: signed(claims(), {"alg": "HS256", "kid": None}), "invalid", "kid names no key"),
        (lambda: signed(claims(), {"alg": "HS256", "crit": []}), "invalid", "form is not strict"),
        (lambda: signed(claims(), {"alg": "HS256", "typ": "x"}), "wrong_type", "typ is not that"),
        (lambda: signed(claims(nbf=NOW + 9)), "not_yet_valid", "nbf or iat lies in the future"),
        (lambda: signed(claims(aud="shop")), "wrong_audience", "aud does not name"),
        (lambda: signed(claims(exp=ABSENT)), "invalid", "exp is missing"),
        (lambda: signed(claims(exp=NOW + 10**7)), "invalid", "longer than jwt.max_lifetime"),
        (lambda: signed(claims(sub=7)), "invalid", "sub must be a string"),
        (lambda: signed(b'{"exp":1,"exp":2}'), "invalid", "is not strict JSON"),
        (lambda: signed(claims(type="refresh")), "wrong_type", "is not an access token"),
        (lambda: signed(claims(note="x" * 9000)), "too_large", "jwt.max_token_bytes"),
        (lambda: signed(claims(), {"alg": "HS256", "x": "y" * 3000}), "too_large", "its header"),
        (lambda: f"{b64(b'no JSON')}.{b64(b'{}')}.AAAA", "invalid", "first part is not strict"),
    ],
    ids=["expired", "forged", "other-key", "alg-none", "alg-other", "alg-missing", "kid",
         "kid-null", "crit", "typ", "nbf", "aud", "no-exp", "too-long-lived", "sub", "twice",
         "refresh", "large", "large-header", "header"],
)  # fmt: skip
def test_every_reason_is_told_with_what_to_look_at(
    jam: Jam, token: Callable[[], str], reason: str, detail: str
) -> None:
    found = why(jam, token())
    assert found[0] == reason
    assert detail in found[1]


def test_what_another_issuer_or_audience_says_is_told(make_jam: MakeJam) -> None:
    jam = make_jam(jwt={"issuer": "https://us", "audience": "shop"})
    assert why(jam, signed(claims(aud="shop")))[0] == "wrong_issuer"
    assert why(jam, signed(claims(iss="https://us", aud="blog")))[0] == "wrong_audience"
    assert inspect(jam, signed(claims(iss="https://us", aud="shop")))["good"]


@each_case("end", ["token", "family", "subject"])
def test_a_revoked_token_is_told_whatever_revoked_it(jam: Jam, end: str) -> None:
    pair = jam.issue_tokens("ann")
    {
        "token": lambda: jam.revoke_token(pair["access_token"]),
        "family": lambda: jam.revoke_token(pair["refresh_token"]),
        "subject": lambda: jam.revoke_subject("ann"),
    }[end]()
    assert why(jam, pair["access_token"]) == (
        "revoked", "it was revoked, or its login was, or its subject",
    )  # fmt: skip


def test_an_eternal_token_that_cannot_be_revoked_is_told_where_nobody_asks(
    make_jam: MakeJam,
) -> None:
    jam = make_jam(jwt={"list": "off"})
    token = signed(claims(iat=ABSENT, exp=NOW + 10**9))
    assert why(jam, token) == (
        "invalid", "the signature is ours; what it says is not strict JSON, or it lives too long",
    )  # fmt: skip


@each_case("exp", [True, "soon", None, [1]])
def test_what_is_no_date_is_not_shown_as_one(jam: Jam, exp: Any) -> None:
    found = inspect(jam, signed(claims(exp=exp)))
    assert "expires_at" not in found
    assert found["claims"]["exp"] == exp


def test_a_refused_token_shows_what_it_claims_all_the_same(jam: Jam) -> None:
    found = inspect(jam, forged(signed(claims(sub="mallory"))))
    assert found["claims"]["sub"] == "mallory"
    assert found["header"]["alg"] == "HS256"


@each_case(
    ("raw", "shown"),
    [
        (b'{"a":1,"a":2}', '{"a":1,"a":2}'),
        (b'{"a":NaN}', '{"a":NaN}'),
        (b'{"a":1e999}', '{"a":1e999}'),
        (b"[" * 40_000, "[" * 200),
        (b'"just a text"', '"just a text"'),
        (b"\xff\xfe", None),
    ],
    ids=["twice", "nan", "infinity", "deep", "text", "no-utf8"],
)
def test_claims_that_are_no_strict_json_are_shown_as_text(
    make_jam: MakeJam, raw: bytes, shown: str | None
) -> None:
    found = inspect(make_jam(jwt={"max_token_bytes": 65536}), signed(raw))
    assert found["claims"] == shown
    assert not found["good"]
    json.dumps(found, allow_nan=False, indent=2)


# --- refresh tokens ------------------------------------------------------------------------------


def test_a_refresh_token_is_looked_at_and_not_turned(jam: Jam, clock: Clock) -> None:
    pair = jam.issue_tokens("ann")
    for _ in range(2):
        assert inspect(jam, pair["refresh_token"])["good"]
    found = inspect(jam, pair["refresh_token"])
    assert (found["kind"], found["subject"], found["generation"]) == ("refresh token", "ann", 1)
    assert found["expires_at"] == pytest.approx(clock.now + jam.settings.jwt.refresh_idle)
    assert jam.refresh_tokens(pair["refresh_token"])


def test_a_used_refresh_token_is_told_and_no_alarm_is_raised(jam: Jam, clock: Clock) -> None:
    first = jam.issue_tokens("ann")["refresh_token"]
    second = jam.refresh_tokens(first)["refresh_token"]
    assert inspect(jam, first)["good"], "within the grace"
    clock.tick(11)
    reason, detail = why(jam, first)
    assert reason == "reused"
    assert "ends the login" in detail
    assert inspect(jam, second)["good"], "the family lives on"


@each_case("end", ["revoked", "subject", "idle"])
def test_a_refresh_token_whose_login_has_ended_is_told(jam: Jam, clock: Clock, end: str) -> None:
    pair = jam.issue_tokens("ann")
    if end == "idle":
        clock.tick(jam.settings.jwt.refresh_idle)
    elif end == "subject":
        jam.revoke_subject("ann")
    else:
        jam.revoke_token(pair["access_token"])
        jam.end_login(pair["access_token"])
    assert why(jam, pair["refresh_token"]) == ("revoked", "its login has ended, or is not known")


def test_a_refresh_token_of_another_key_is_told_apart(jam: Jam, clock: Clock) -> None:
    other = Jam({"jwt": {"secret_key": SECRET[::-1]}}, clock=clock)
    reason, detail = why(jam, other.issue_tokens("ann")["refresh_token"])
    assert reason == "invalid"
    assert detail == "it has the form of a refresh token, and was made with another key"


# --- sessions ------------------------------------------------------------------------------------


def test_a_living_session_is_shown_and_its_data_is_masked(jam: Jam, clock: Clock) -> None:
    data = {"roles": ["admin"], "scope": "a b", "card": "4111 1111 1111 1111", "deep": {"x": 1}}
    session_id = jam.create_session("ann", data)
    found = inspect(jam, session_id)
    assert found == {
        "kind": "session id", "good": True, "subject": "ann",
        "handle": jam.list_sessions("ann")[0].handle, "created_at": pytest.approx(clock.now),
        "expires_at": pytest.approx(clock.now + jam.settings.session.idle),
        "data": {"roles": ["admin"], "scope": "a b", "card": "***", "deep": "***"},
        "note": found["note"],
    }  # fmt: skip


def test_a_session_that_has_ended_or_never_was_is_told(jam: Jam) -> None:
    session_id = jam.create_session("ann", {})
    jam.delete_session(session_id)
    assert why(jam, session_id) == ("unknown_session", "the session is gone")
    assert why(jam, "A" * 45) == ("unknown_session", "the session is gone")


# --- neither -------------------------------------------------------------------------------------


@each_case(
    "text", ["", "x", "hunter2", "a.b", "a.b.c.d.e", "Bearer x", "é.é.é", "\x00", "\x1b[2J",
             "." * 9, "\udc80.\udc80.\udc80", "A" * 70_000, "." * 200_000, "=.=.="],
)  # fmt: skip
def test_garbage_is_no_error_and_is_not_repeated(jam: Jam, text: str) -> None:
    found = inspect(jam, text)
    assert (found["kind"], found["good"]) == ("unknown", False)
    assert (found["header"], found["claims"]) == (None, None) or text.count(".") == 2
    if len(text) > 3:
        assert text not in json.dumps(found, ensure_ascii=False)


@each_case("kind", ["access", "refresh", "session"])
def test_no_credential_is_in_what_is_found(jam: Jam, kind: str) -> None:
    pair = jam.issue_tokens("ann")
    made = {"access": pair["access_token"], "refresh": pair["refresh_token"],
            "session": jam.create_session("ann", {})}[kind]  # fmt: skip
    found = json.dumps(inspect(jam, made))
    assert made not in found
    assert made.rpartition(".")[2] not in found, "nor the part that proves it"


def test_a_store_that_does_not_answer_is_no_verdict(make_jam: MakeJam) -> None:
    store = FlakyStore()
    jam = make_jam(store=store)
    pair = jam.issue_tokens("ann")
    session_id = jam.create_session("ann", {})
    store.fail()
    for credential in (*(pair[f"{kind}_token"] for kind in ("access", "refresh")), session_id):
        with pytest.raises(StoreUnavailable):
            inspect(jam, credential)
    assert inspect(jam, "x")["good"] is False, "nobody asks the store for that"


# --- what another process may know better --------------------------------------------------------


def test_a_note_says_when_another_process_may_judge_otherwise(
    make_jam: MakeJam, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "memory" in inspect(make_jam(), "x")["note"]

    class Shared:
        def __getattr__(self, name: str) -> Any:
            return getattr(MemoryStore(), name)

    assert "note" not in inspect(make_jam(store=Shared()), "x")
    with pytest.warns(RuntimeWarning, match="No key"):
        keyless = Jam(store=Shared())  # type: ignore[arg-type]
    assert "no key is configured" in inspect(keyless, "x")["note"]


@each_case("name", ["secret_key", "private_key", "private_key_file", "public_key",
                                  "public_key_file", "keyring"])  # fmt: skip
def test_any_key_counts_as_one(jam: Jam, name: str) -> None:
    from dataclasses import replace

    without = replace(jam.settings.jwt, secret_key=None)
    assert not has_key(without)
    assert has_key(replace(without, **{name: "x"}))


def test_token_of_a_retired_key_says_so(tmp_path: Path, make_jam: MakeJam) -> None:
    (tmp_path / "keys").mkdir(mode=0o700)
    jam = make_jam(jwt={"keyring": str(tmp_path / "keys"), "secret_key": None})
    app = new_app(jam)
    assert run(app, "keyring", "rotate").exit_code == 0
    watch = jam.keyring_watch
    assert watch is not None
    watch.look()
    token = jam.issue_tokens("ann")["access_token"]
    assert inspect(jam, token)["good"]
    run(app, "keyring", "retire", jam.verifier.keyring.signing_key().kid, "--force")
    watch.look()
    assert inspect(jam, token)["detail"] == "its kid names a key that was retired"
    unknown = make_jam().issue_tokens("ann")["access_token"]
    assert inspect(jam, unknown)["detail"] == "its kid names no key of ours"


# --- it says what a guard would say --------------------------------------------------------------


def test_the_verdict_is_that_of_a_guard(jam: Jam, clock: Clock) -> None:
    from flask_jam import jwt_required, signals

    app = Flask("asked")
    JWTExtension(jam, app)
    SessionExtension(jam, app)
    app.add_url_rule("/", "it", jwt_required(lambda: "in"))
    reasons: list[str] = []

    def hear(_app: Flask, reason: object, **_extra: Any) -> None:
        reasons.append(str(reason))

    signals.rejected.connect(hear, app)
    good = jam.issue_tokens("ann")["access_token"]
    revoked = jam.issue_tokens("ann")["access_token"]
    jam.revoke_token(revoked)
    for token in (
        good, revoked, forged(good), signed(claims(exp=NOW)), signed(claims(aud="x")),
        signed(claims(nbf=NOW + 9)), signed(claims(), {"alg": "HS256", "typ": "x"}),
    ):  # fmt: skip
        del reasons[:]
        status = app.test_client().get("/", headers=bearer(token)).status_code
        found = inspect(jam, token)
        assert found["good"] == (status == 200)
        assert reasons == ([] if found["good"] else [found["reason"]])
