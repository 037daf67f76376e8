"""Access tokens: what is minted, what is accepted, what the cache remembers, what is revoked."""

from __future__ import annotations

import datetime
import decimal
import hashlib
import json
import math
import os
import signal
import threading
import time
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

import flask_jam._credentials.access_tokens
from flask_jam import ConfigError, Jam, Reason, SessionError, StoreUnavailable, TokenError
from flask_jam._credentials.claims import CUT_OFF
from flask_jam._credentials.token_cache import FactCache
from flask_jam.settings import ALGORITHMS
from flask_jam.stores.interface import Marks, slot_of
from flask_jam.stores.memory import MemoryStore

from ..cases import each_case
from ..conftest import SECRET, Clock
from ..test_jws import b64, craft
from ..test_keys import ASYMMETRIC, SYMMETRIC, pem_for, ring

MakeJam = Callable[..., Jam]

NOW = 1_800_000_000.0
MARKER = "mArKeR"


def good(**changes: Any) -> dict[str, Any]:
    """Claims that are accepted at ``NOW``; ``None`` takes one away."""
    claims = {"sub": "ann", "jti": "id-1", "iat": NOW, "exp": NOW + 900, **changes}
    return {name: value for name, value in claims.items() if value is not None}


def forged(claims: Any, header: dict[str, Any] | None = None) -> str:
    """A token with the right signature and any claims."""
    return craft({"alg": "HS256", "typ": "JWT", **(header or {})}, claims)


def refused(jam: Jam, token: Any) -> Reason:
    with pytest.raises(TokenError) as caught:
        jam.verify_jwt_token(token)
    return caught.value.reason


def unmintable(jam: Jam, payload: Any) -> TokenError:
    with pytest.raises(TokenError) as caught:
        jam.gen_jwt_token(payload)
    return caught.value


# --- make_payload ---------------------------------------------------------------------


def test_a_payload_has_an_id_a_birth_and_an_end(jam: Jam, clock: Clock) -> None:
    clock.now = NOW + 0.123456
    payload = jam.make_payload(user=1)
    assert set(payload) == {"user", "jti", "iat", "exp"}
    assert payload["user"] == 1
    assert payload["iat"] == NOW + 0.123456
    assert payload["exp"] == NOW + 900
    assert type(payload["exp"]) is int
    assert type(payload["iat"]) is float


def test_ids_are_long_and_never_the_same(jam: Jam) -> None:
    ids = {jam.make_payload()["jti"] for _ in range(100)}
    assert len(ids) == 100
    assert {len(one) for one in ids} == {43}


@each_case("life", [1, 60, 60.9, 86400, datetime.timedelta(hours=1)])
def test_exp_counts_seconds_from_now(jam: Jam, life: float | datetime.timedelta) -> None:
    payload = jam.make_payload(exp=life)
    seconds = life.total_seconds() if isinstance(life, datetime.timedelta) else life
    assert payload["exp"] == int(NOW + seconds)
    assert type(payload["exp"]) is int


def test_exp_may_be_given_without_its_name(jam: Jam) -> None:
    assert jam.make_payload(60)["exp"] == NOW + 60


@each_case("life", ["60", True, math.nan, math.inf, [], {}, b"1"], ids=repr)
def test_exp_that_is_no_number_of_seconds_is_refused_with_a_sentence(jam: Jam, life: Any) -> None:
    with pytest.raises(TokenError, match="seconds"):
        jam.make_payload(exp=life)


def test_the_configured_life_issuer_and_audience_are_written(make_jam: MakeJam) -> None:
    jam = make_jam(jwt={"expire": 60, "issuer": "https://a.example", "audience": "api"})
    payload = jam.make_payload(user=1)
    assert payload["exp"] == NOW + 60
    assert (payload["iss"], payload["aud"]) == ("https://a.example", "api")


@each_case("name", ["self", "data", "jti", "iat", "iss", "aud", "sub", "cls"])
def test_data_may_have_any_name_and_wins(jam: Jam, name: str) -> None:
    assert jam.make_payload(**{name: "mine"})[name] == "mine"


# --- gen_jwt_token --------------------------------------------------------------------


def test_a_payload_becomes_a_token_that_says_the_same(jam: Jam) -> None:
    payload = jam.make_payload(
        sub="ann",
        user=1,
        pi=3.25,
        none=None,
        yes=True,
        nested={"a": [1, {"b": []}]},
        text="é\U0001d11e",
    )
    assert jam.verify_jwt_token(jam.gen_jwt_token(payload)) == payload


def test_what_is_missing_is_filled_in_so_no_token_is_eternal(make_jam: MakeJam) -> None:
    jam = make_jam(jwt={"issuer": "https://a.example", "audience": "api"})
    claims = jam.verify_jwt_token(jam.gen_jwt_token({}))
    assert set(claims) == {"jti", "iat", "exp", "iss", "aud"}
    assert claims["exp"] == NOW + 900
    assert claims["iat"] == NOW


@each_case(
    "given",
    [{"jti": "mine"}, {"iat": NOW - 5.5}, {"exp": NOW + 5}, {"exp": int(NOW) + 7}],
    ids=repr,
)
def test_what_is_given_is_kept(jam: Jam, given: dict[str, Any]) -> None:
    claims = jam.verify_jwt_token(jam.gen_jwt_token(given))
    assert {name: claims[name] for name in given} == given
    assert {"jti", "iat", "exp"} <= set(claims)


def test_the_argument_is_never_changed(jam: Jam) -> None:
    nested = {"roles": ["reader"]}
    payload = {"sub": "ann", "nested": nested}
    jam.gen_jwt_token(payload)
    assert payload == {"sub": "ann", "nested": {"roles": ["reader"]}}
    assert payload["nested"] is nested
    assert jam.gen_jwt_token(MappingProxyType(payload))


def test_a_token_without_a_subject_is_a_token(jam: Jam) -> None:
    assert jam.verify_jwt_token(jam.gen_jwt_token({"user": 1}))["user"] == 1


def test_the_header_says_algorithm_type_and_key(jam: Jam) -> None:
    import base64

    segment = jam.gen_jwt_token({}).split(".")[0]
    header = json.loads(base64.urlsafe_b64decode(segment + "=="))
    assert set(header) == {"alg", "typ", "kid"}
    assert (header["alg"], header["typ"]) == ("HS256", "JWT")


UNMINTABLE: dict[str, tuple[dict[str, Any], Reason, str]] = {
    "number as subject": ({"sub": 1}, Reason.INVALID, "sub must be a string"),
    "true as subject": ({"sub": True}, Reason.INVALID, "sub must be a string"),
    "nobody as subject": ({"sub": None}, Reason.INVALID, "sub must be a string"),
    "empty subject": ({"sub": ""}, Reason.INVALID, "sub must be a string"),
    "long subject": ({"sub": "x" * 257}, Reason.INVALID, "256"),
    "line end in subject": ({"sub": "a\nb"}, Reason.INVALID, "control characters"),
    "NUL in subject": ({"sub": "a\0"}, Reason.INVALID, "control characters"),
    "C1 control in subject": ({"sub": "a\x85"}, Reason.INVALID, "control characters"),
    "list as subject": ({"sub": ["ann"]}, Reason.INVALID, "sub must be a string"),
    "number as id": ({"jti": 5}, Reason.INVALID, "jti must be a string"),
    "no id": ({"jti": None}, Reason.INVALID, "jti must be a string"),
    "empty id": ({"jti": ""}, Reason.INVALID, "jti must be a string"),
    "text as end": ({"exp": "1800000900"}, Reason.INVALID, "exp must be a number"),
    "no end": ({"exp": None}, Reason.INVALID, "exp must be a number"),
    "true as end": ({"exp": True}, Reason.INVALID, "exp must be a number"),
    "end out of range": ({"exp": 1e30}, Reason.INVALID, "exp is not a valid timestamp"),
    "text as birth": ({"iat": "now"}, Reason.INVALID, "iat must be a number"),
    "list as not-before": ({"nbf": []}, Reason.INVALID, "nbf must be a number"),
    "past end": ({"exp": NOW - 1}, Reason.EXPIRED, "exp is in the past"),
    "end now": ({"exp": NOW}, Reason.EXPIRED, "exp is in the past"),
    "too long a life": ({"exp": NOW + 86401}, Reason.INVALID, "jwt.max_lifetime"),
    "too old a birth": ({"iat": NOW - 86400}, Reason.INVALID, "jwt.max_lifetime"),
    "audience where none is configured": ({"aud": "x"}, Reason.WRONG_AUDIENCE, "aud"),
    "a date": (
        {"at": datetime.datetime(2030, 1, 1)},
        Reason.INVALID,
        "at cannot be written as JSON: datetime",
    ),
    "a decimal": (
        {"sum": decimal.Decimal(1)},
        Reason.INVALID,
        "sum cannot be written as JSON: Decimal",
    ),
    "bytes": ({"raw": b"x"}, Reason.INVALID, "raw cannot be written as JSON: bytes"),
    "a uuid": ({"u": uuid.UUID(int=1)}, Reason.INVALID, "u cannot be written as JSON: UUID"),
    "a set deep inside": ({"a": [{"b": {1}}]}, Reason.INVALID, "a cannot be written as JSON"),
    "NaN": ({"x": math.nan}, Reason.INVALID, "x cannot be written as JSON"),
    "infinity": ({"x": [math.inf]}, Reason.INVALID, "x cannot be written as JSON"),
    "lone surrogate": ({"x": "\ud800"}, Reason.INVALID, "x cannot be written as JSON"),
    "lone surrogate in a name": ({"\ud800": 1}, Reason.INVALID, "claim"),
    "a name that is no text": ({5: 1}, Reason.INVALID, "name of every claim"),
    "an inner name that is no text": ({"cart": {5: 1}}, Reason.INVALID, "cart"),
    "too deep": ({"x": json.loads("[" * 16 + "]" * 16)}, Reason.INVALID, "would be refused"),
    "not valid before its end": ({"nbf": NOW + 900}, Reason.INVALID, "nbf"),
    "born after its end": ({"iat": NOW + 900}, Reason.INVALID, "iat"),
}


@each_case("what", UNMINTABLE)
def test_what_verification_would_refuse_is_not_minted(jam: Jam, what: str) -> None:
    payload, reason, sentence = UNMINTABLE[what]
    error = unmintable(jam, payload)
    assert error.reason is reason
    assert sentence in str(error)


@each_case(
    "payload", [None, "sub=ann", 5, ["sub", "ann"], b"{}"], ids=lambda value: type(value).__name__
)
def test_a_payload_that_is_no_mapping_is_refused_with_a_sentence(jam: Jam, payload: Any) -> None:
    with pytest.raises((TokenError, TypeError), match="mapping"):
        jam.gen_jwt_token(payload)


@each_case("cycle", ["list", "mapping"])
def test_a_cycle_is_refused_with_a_sentence(jam: Jam, cycle: str) -> None:
    payload: dict[str, Any] = {"a": []}
    payload["a"].append(payload["a"] if cycle == "list" else payload)
    assert "a cannot be written as JSON" in str(unmintable(jam, payload))


@each_case(
    ("claims", "reason"),
    [
        ({"iss": "https://b.example"}, Reason.WRONG_ISSUER),
        ({"iss": 5}, Reason.INVALID),
        ({"iss": None}, Reason.INVALID),
        ({"aud": "web"}, Reason.WRONG_AUDIENCE),
        ({"aud": ["web", "app"]}, Reason.WRONG_AUDIENCE),
        ({"aud": []}, Reason.WRONG_AUDIENCE),
        ({"aud": {"api": 1}}, Reason.INVALID),
        ({"aud": ["api", 5]}, Reason.INVALID),
    ],
    ids=repr,
)
def test_a_wrong_issuer_or_audience_is_not_minted(
    make_jam: MakeJam, claims: dict[str, Any], reason: Reason
) -> None:
    jam = make_jam(jwt={"issuer": "https://a.example", "audience": "api"})
    assert unmintable(jam, claims).reason is reason


def test_a_token_over_the_size_limit_is_not_minted(make_jam: MakeJam) -> None:
    jam = make_jam(jwt={"max_token_bytes": 1000})
    error = unmintable(jam, {"x": "x" * 1000})
    assert error.reason is Reason.TOO_LARGE
    assert "jwt.max_token_bytes" in str(error)
    room = next(n for n in range(1000, 0, -1) if not too_large(jam, n))
    assert 995 <= len(jam.gen_jwt_token({"x": "x" * room, "jti": "j", "iat": NOW})) <= 1000


def too_large(jam: Jam, length: int) -> bool:
    try:
        jam.gen_jwt_token({"x": "x" * length, "jti": "j", "iat": NOW})
    except TokenError as error:
        return error.reason is Reason.TOO_LARGE
    return False


def test_a_refusal_to_mint_quotes_no_value(jam: Jam) -> None:
    for payload in (
        {"sub": MARKER + "\n"}, {"jti": [MARKER]}, {"exp": MARKER}, {"x": {MARKER}},
        {"x": MARKER + "\ud800"}, {"iss": {"x": MARKER}}, {"aud": MARKER}, {"x": MARKER * 5000},
    ):  # fmt: skip
        error = unmintable(jam, payload)
        assert MARKER not in repr(error)


def test_a_life_up_to_the_longest_is_minted(make_jam: MakeJam) -> None:
    assert make_jam().gen_jwt_token({"exp": NOW + 86400})
    long = make_jam(jwt={"expire": 200_000})
    assert long.verify_jwt_token(long.gen_jwt_token({}))["exp"] == NOW + 200_000
    assert unmintable(long, {"exp": NOW + 200_001}).reason is Reason.INVALID


def test_a_service_that_only_verifies_says_what_it_needs_to_sign() -> None:
    jam = Jam({"jwt": {"alg": "ES256", "public_key": pem_for("ES256").public}})
    with pytest.raises(ConfigError, match="jwt.private_key"):
        jam.gen_jwt_token({"sub": "ann"})
    with pytest.raises(ConfigError, match="jwt.private_key"):
        jam.issue_tokens("ann")


# --- verify_jwt_token -----------------------------------------------------------------


def test_the_reference_token_is_accepted(jam: Jam) -> None:
    assert jam.verify_jwt_token(forged(good())) == good()


def test_every_verification_gives_a_fresh_dict(jam: Jam) -> None:
    token = jam.gen_jwt_token({"roles": ["reader"], "tree": {"a": [{"b": []}]}})
    for _ in range(3):  # a miss, then hits
        claims = jam.verify_jwt_token(token)
        assert claims["roles"] == ["reader"]
        assert claims["tree"] == {"a": [{"b": []}]}
        assert type(claims) is dict
        claims["roles"].append("admin")
        claims["tree"]["a"][0]["b"].append(1)
        claims["tree"]["more"] = 1
        claims["sub"] = "eve"
    assert jam.verifier.cache_info().hits == 2


@each_case("typ", ["JWT", "jwt", "Jwt", "at+jwt", "AT+JWT", "application/jwt",
                                 "application/at+jwt", "APPLICATION/AT+JWT"])  # fmt: skip
def test_both_kinds_of_access_token_are_taken_in_any_letter_case(jam: Jam, typ: str) -> None:
    assert jam.verify_jwt_token(forged(good(), {"typ": typ}))


@each_case(
    "typ",
    ["", "dpop+jwt", "logout+jwt", "rt+jwt", "JWT ", "application/", "application/application/jwt",
     "text/jwt", "at+jwt+x", None, 1, True, ["JWT"], {}],
    ids=repr,
)  # fmt: skip
def test_a_token_of_another_kind_is_refused(jam: Jam, typ: Any) -> None:
    assert refused(jam, forged(good(), {"typ": typ})) is Reason.WRONG_TYPE


def test_a_token_that_does_not_say_its_kind_is_refused(jam: Jam) -> None:
    assert refused(jam, craft({"alg": "HS256"}, good())) is Reason.WRONG_TYPE


BAD_CLAIMS: dict[str, tuple[dict[str, Any], Reason]] = {
    "no end": (good(exp=None), Reason.INVALID),
    "no id": (good(jti=None), Reason.INVALID),
    "null end": ({**good(), "exp": None}, Reason.INVALID),
    "text end": (good(exp="1800000900"), Reason.INVALID),
    "text end with a space": (good(exp=" 1800000900"), Reason.INVALID),
    "list end": (good(exp=[NOW + 900]), Reason.INVALID),
    "true end": (good(exp=True), Reason.INVALID),
    "huge end": (good(exp=1e30), Reason.INVALID),
    "huge whole end": (good(exp=10**30), Reason.INVALID),
    "negative end": (good(exp=-1), Reason.EXPIRED),
    "end at zero": (good(exp=0), Reason.EXPIRED),
    "past": (good(exp=NOW - 0.5), Reason.EXPIRED),
    "now": (good(exp=NOW), Reason.EXPIRED),
    "too long a life": (good(exp=NOW + 86401), Reason.INVALID),
    "no birth and far an end": (good(iat=None, exp=NOW + 86401), Reason.INVALID),
    "future birth": (good(iat=NOW + 10.001), Reason.NOT_YET_VALID),
    "text birth": (good(iat="0"), Reason.INVALID),
    "true birth": (good(iat=True), Reason.INVALID),
    "ancient birth": (good(iat=-1e18), Reason.INVALID),
    "not yet": (good(nbf=NOW + 0.5), Reason.NOT_YET_VALID),
    "true not-before": (good(nbf=True), Reason.INVALID),
    "text not-before": (good(nbf=""), Reason.INVALID),
    "number subject": (good(sub=1), Reason.INVALID),
    "empty subject": (good(sub=""), Reason.INVALID),
    "null subject": ({**good(), "sub": None}, Reason.INVALID),
    "long subject": (good(sub="x" * 257), Reason.INVALID),
    "control character": (good(sub="a\x1b[0m"), Reason.INVALID),
    "list id": (good(jti=["x"]), Reason.INVALID),
    "long id": (good(jti="x" * 257), Reason.INVALID),
    "number issuer": (good(iss=1), Reason.INVALID),
    "an audience that we do not have": (good(aud="api"), Reason.WRONG_AUDIENCE),
    "an empty audience": (good(aud=""), Reason.INVALID),
    "no audience in a list": (good(aud=[]), Reason.WRONG_AUDIENCE),
    "number audience": (good(aud=0), Reason.INVALID),
    "mapping audience": (good(aud={}), Reason.INVALID),
    "false audience": (good(aud=False), Reason.INVALID),
    "number family": (good(fam=1), Reason.INVALID),
}


@each_case("what", BAD_CLAIMS)
def test_a_claim_that_is_not_right_is_refused(jam: Jam, what: str) -> None:
    claims, reason = BAD_CLAIMS[what]
    token = forged(claims)
    assert refused(jam, token) is reason
    assert refused(jam, token) is reason
    assert jam.verifier.cache_info().hits == 0


@each_case(
    "payload",
    [b"", b"null", b"[]", b'"x"', b"{", b'{"exp":1800000900,"exp":1900000000}', b"\xff",
     b'{"exp":NaN}', b'{"exp":1e999}', '{"exp":1800000900}'.encode("utf-16")],
    ids=repr,
)  # fmt: skip
def test_a_payload_that_is_no_strict_object_is_refused(jam: Jam, payload: bytes) -> None:
    said = f"{b64(json.dumps({'alg': 'HS256', 'typ': 'JWT'}).encode())}.{b64(payload)}"
    import hmac

    mac = b64(hmac.new(SECRET.encode(), said.encode(), hashlib.sha256).digest())
    assert refused(jam, f"{said}.{mac}") is Reason.INVALID


@each_case("value", [None, 5, b"a.b.c", [], {}, "", "a.b.c", "\udcff"], ids=repr)
def test_what_is_no_token_is_refused(jam: Jam, value: Any) -> None:
    assert refused(jam, value) is Reason.INVALID


def test_a_token_over_the_size_limit_is_refused_unread(make_jam: MakeJam) -> None:
    jam = make_jam(jwt={"max_token_bytes": 500})
    assert refused(jam, forged(good(x="x" * 500))) is Reason.TOO_LARGE
    assert refused(jam, "x" * 501) is Reason.TOO_LARGE
    assert jam.verifier.cache_info().misses == 0


def test_a_token_of_exactly_the_size_limit_is_verified(jam: Jam, make_jam: MakeJam) -> None:
    token = jam.gen_jwt_token({"sub": "ann"})
    assert make_jam(jwt={"max_token_bytes": len(token)}).verify_jwt_token(token)
    assert refused(make_jam(jwt={"max_token_bytes": len(token) - 1}), token) is Reason.TOO_LARGE


def test_issuer_and_audience_are_exact(make_jam: MakeJam) -> None:
    jam = make_jam(jwt={"issuer": "https://a.example", "audience": "api"})

    def verdict(**claims: Any) -> Reason | None:
        try:
            jam.verify_jwt_token(forged(good(**claims)))
        except TokenError as error:
            return error.reason
        return None

    iss, aud = "https://a.example", "api"
    assert verdict(iss=iss, aud=aud) is None
    assert verdict(iss=iss, aud=["web", aud]) is None
    assert verdict(aud=aud) is Reason.WRONG_ISSUER
    for other in ("https://a.example/", "https://A.example", "https://a.example.evil"):
        assert verdict(iss=other, aud=aud) is Reason.WRONG_ISSUER
    assert verdict(iss=[iss], aud=aud) is Reason.INVALID
    assert verdict(iss=iss) is Reason.WRONG_AUDIENCE
    for wrong in ("API", "ap", "api ", ["web"], []):
        assert verdict(iss=iss, aud=wrong) is Reason.WRONG_AUDIENCE


def test_an_issuer_that_nobody_asked_for_is_only_typed(jam: Jam) -> None:
    assert jam.verify_jwt_token(forged(good(iss="anyone")))["iss"] == "anyone"


def test_expired_is_told_only_after_the_signature_held(jam: Jam) -> None:
    stranger = craft(payload=good(exp=NOW - 1), secret="x" * 64)
    assert refused(jam, stranger) is Reason.INVALID


# --- time -----------------------------------------------------------------------------


def test_a_token_is_dead_at_its_end_and_not_before(jam: Jam, clock: Clock) -> None:
    token = jam.gen_jwt_token({})
    clock.tick(899.999)
    assert jam.verify_jwt_token(token)
    clock.tick(0.001)
    assert refused(jam, token) is Reason.EXPIRED


def test_a_token_seen_before_is_dead_at_its_end_too(jam: Jam, clock: Clock) -> None:
    token = jam.gen_jwt_token({})
    jam.verify_jwt_token(token)
    clock.tick(900)
    assert refused(jam, token) is Reason.EXPIRED
    assert jam.verifier.cache_info().hits == 1


def test_leeway_counts_once_at_the_end(make_jam: MakeJam, clock: Clock) -> None:
    jam = make_jam(jwt={"leeway": 10})
    token = jam.gen_jwt_token({})
    clock.tick(909.999)
    assert jam.verify_jwt_token(token)
    clock.tick(0.001)
    assert refused(jam, token) is Reason.EXPIRED


@each_case("claim", ["nbf", "iat"])
def test_leeway_counts_once_at_the_beginning(make_jam: MakeJam, clock: Clock, claim: str) -> None:
    jam = make_jam(jwt={"leeway": 10})
    token = forged(good(**{claim: NOW + 20}))
    clock.tick(9.9)
    assert refused(jam, token) is Reason.NOT_YET_VALID
    clock.tick(0.1)
    assert jam.verify_jwt_token(token)


def test_leeway_lengthens_no_life_at_minting(make_jam: MakeJam) -> None:
    jam = make_jam(jwt={"leeway": 300})
    assert unmintable(jam, {"exp": NOW - 1}).reason is Reason.EXPIRED
    assert jam.make_payload()["exp"] == NOW + 900


def test_not_before_is_good_at_that_very_moment(jam: Jam, clock: Clock) -> None:
    token = jam.gen_jwt_token({"nbf": NOW + 60})
    assert refused(jam, token) is Reason.NOT_YET_VALID
    clock.tick(60)
    assert jam.verify_jwt_token(token)
    clock.tick(-1)
    assert refused(jam, token) is Reason.NOT_YET_VALID


def test_the_wall_clock_is_read_again_at_each_decision(jam: Jam, clock: Clock) -> None:
    token = jam.gen_jwt_token({})
    clock.tick(1000)
    assert refused(jam, token) is Reason.EXPIRED
    clock.tick(-500)
    assert jam.verify_jwt_token(token)


# --- algorithms -----------------------------------------------------------------------


@pytest.mark.parametrize("alg", SYMMETRIC)
def test_a_secret_makes_a_round_trip(make_jam: MakeJam, alg: str) -> None:
    jam = make_jam(jwt={"alg": alg})
    assert jam.verify_jwt_token(jam.gen_jwt_token({"sub": "ann"}))["sub"] == "ann"


@each_case("source", ["text", "file"])
@each_case("alg", ASYMMETRIC)
def test_a_key_pair_makes_a_round_trip_between_two_services(
    make_jam: MakeJam, alg: str, source: str, tmp_path: Path
) -> None:
    pem = pem_for(alg)
    if source == "file":
        (tmp_path / "private.pem").write_text(pem.private)
        (tmp_path / "public.pem").write_text(pem.public)
        signs = make_jam(jwt={"alg": alg, "private_key_file": str(tmp_path / "private.pem")})
        verifies = make_jam(jwt={"alg": alg, "public_key_file": str(tmp_path / "public.pem")})
    else:
        signs = make_jam(jwt={"alg": alg, "private_key": pem.private})
        verifies = make_jam(jwt={"alg": alg, "public_key": pem.public})
    token = signs.gen_jwt_token({"sub": "ann"})
    assert verifies.verify_jwt_token(token)["sub"] == "ann"
    assert signs.verify_jwt_token(token)["sub"] == "ann"


def test_no_algorithm_takes_the_token_of_another(make_jam: MakeJam) -> None:
    jams = {
        alg: make_jam(
            jwt={"alg": alg}
            if alg in SYMMETRIC
            else {"alg": alg, "private_key": pem_for(alg).private}
        )
        for alg in ALGORITHMS
    }
    tokens = {alg: jam.gen_jwt_token({"sub": "ann"}) for alg, jam in jams.items()}
    taken = {
        (verifier, signer)
        for verifier, jam in jams.items()
        for signer, token in tokens.items()
        if not _refuses(jam, token)
    }
    assert taken == {(alg, alg) for alg in ALGORITHMS}


def _refuses(jam: Jam, token: str) -> bool:
    try:
        jam.verify_jwt_token(token)
    except TokenError as error:
        return error.reason is Reason.INVALID
    return False


def test_a_public_key_is_never_a_secret(make_jam: MakeJam) -> None:
    # CVE-2022-29217 and its kin.
    pem = pem_for("RS256").public
    jam = make_jam(jwt={"alg": "RS256", "public_key": pem})
    for secret in (pem, pem.strip(), pem + "\n", pem.replace("\n", "")):
        assert refused(jam, craft({"alg": "HS256", "typ": "JWT"}, good(), secret)) is Reason.INVALID
        assert refused(jam, craft({"alg": "RS256", "typ": "JWT"}, good(), secret)) is Reason.INVALID


def test_token_of_a_former_secret_is_valid_until_its_removal(
    make_jam: MakeJam,
) -> None:
    token = make_jam().gen_jwt_token({"sub": "ann"})
    new = {"secret_key": "new" + SECRET}
    rotated = make_jam(jwt={**new, "secret_key_fallbacks": [SECRET]})
    assert rotated.verify_jwt_token(token)["sub"] == "ann"
    assert refused(make_jam(jwt=new), token) is Reason.INVALID
    assert make_jam(jwt=new).verify_jwt_token(rotated.gen_jwt_token({"sub": "ann"}))


# --- the cache ------------------------------------------------------------------------


@pytest.fixture
def signatures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every token whose signature was really checked."""
    seen: list[str] = []
    real = flask_jam._credentials.access_tokens.verify_jws

    def counted(token: str, *args: Any, **named: Any) -> Any:
        seen.append(token)
        return real(token, *args, **named)

    monkeypatch.setattr(flask_jam._credentials.access_tokens, "verify_jws", counted)
    return seen


def test_a_signature_is_checked_once_and_hits_and_misses_are_counted(
    jam: Jam, signatures: list[str]
) -> None:
    tokens = [jam.gen_jwt_token({}) for _ in range(3)]
    for token in tokens * 4:
        jam.verify_jwt_token(token)
    assert signatures == tokens
    assert jam.verifier.cache_info() == (9, 3, 10000, 3)


def test_a_cleared_cache_verifies_anew(jam: Jam, signatures: list[str]) -> None:
    token = jam.gen_jwt_token({})
    jam.verify_jwt_token(token)
    jam.verifier.cache_clear()
    assert jam.verifier.cache_info() == (0, 0, 10000, 0)
    assert jam.verify_jwt_token(token)
    assert len(signatures) == 2


def test_the_cache_is_bounded(make_jam: MakeJam) -> None:
    jam = make_jam(jwt={"cache_size": 3})
    for token in [jam.gen_jwt_token({}) for _ in range(20)]:
        jam.verify_jwt_token(token)
    assert jam.verifier.cache_info() == (0, 20, 3, 3)


def test_long_token_is_verified_each_time_to_bound_memory(jam: Jam, signatures: list[str]) -> None:
    short, long = jam.gen_jwt_token({"x": "x" * 2500}), jam.gen_jwt_token({"x": "x" * 4000})
    for token in (short, long) * 3:
        assert jam.verify_jwt_token(token)
    assert (len(short) < 4096 < len(long), signatures.count(short), signatures.count(long)) == (
        True, 1, 3,
    )  # fmt: skip
    assert jam.verifier.cache_info().currsize == 1


def test_with_size_zero_every_token_is_verified(make_jam: MakeJam, signatures: list[str]) -> None:
    jam = make_jam(jwt={"cache_size": 0})
    token = jam.gen_jwt_token({})
    for _ in range(3):
        jam.verify_jwt_token(token)
    assert len(signatures) == 3
    assert jam.verifier.cache_info() == (0, 3, 0, 0)


def test_a_failure_is_not_cached(jam: Jam, clock: Clock, signatures: list[str]) -> None:
    revoked = jam.gen_jwt_token({})
    jam.revoke_token(revoked)
    signatures.clear()
    for token in (craft(payload=good(), secret="x" * 64), forged(good(sub=1)),
                  forged(good(exp=NOW - 1)), forged(good(nbf=NOW + 5)), revoked):  # fmt: skip
        for _ in range(2):
            refused(jam, token)
    assert jam.verifier.cache_info() == (0, 10, 10000, 0)
    assert len(signatures) == 10


def test_one_jam_remembers_nothing_for_another(make_jam: MakeJam, signatures: list[str]) -> None:
    first, second = make_jam(), make_jam()
    token = first.gen_jwt_token({})
    assert first.verify_jwt_token(token)
    assert second.verifier.cache_info().currsize == 0
    assert second.verify_jwt_token(token)
    assert len(signatures) == 2


def test_another_spelling_of_a_token_meets_no_fact_of_it(jam: Jam) -> None:
    token = jam.gen_jwt_token({})
    jam.verify_jwt_token(token)
    for other in (token + "=", " " + token, token + "\n", token.upper(), token + "\udcff"):
        assert refused(jam, other) is Reason.INVALID


class Interrupting(MemoryStore):
    """Calls something while a verification is under way."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], object] = lambda: None

    def marks(self, *args: Any) -> Marks:
        self.meanwhile()
        return super().marks(*args)


def test_fact_established_during_a_cache_clear_is_dropped(
    make_jam: MakeJam,
) -> None:
    store = Interrupting()
    jam = make_jam(store=store)
    token = jam.gen_jwt_token({})
    store.meanwhile = jam.verifier.cache_clear
    assert jam.verify_jwt_token(token)
    assert jam.verifier.cache_info().currsize == 0
    store.meanwhile = lambda: None
    assert jam.verify_jwt_token(token)
    assert jam.verifier.cache_info().currsize == 1


def test_with_other_keys_a_token_seen_before_is_refused(jam: Jam) -> None:
    token = jam.gen_jwt_token({})
    assert jam.verify_jwt_token(token)
    jam.verifier.rekey(ring(secret_key="other" + SECRET))
    assert refused(jam, token) is Reason.INVALID


def test_fact_of_former_keys_is_unused_during_a_cache_clear(
    jam: Jam, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = jam.gen_jwt_token({})
    assert jam.verify_jwt_token(token)
    # Keys change first and the cache is cleared after: this is the moment between the two.
    monkeypatch.setattr(FactCache, "clear", lambda _: None)
    jam.verifier.rekey(ring(secret_key="other" + SECRET))
    assert refused(jam, token) is Reason.INVALID


def test_a_fact_of_keys_that_changed_meanwhile_is_not_kept(make_jam: MakeJam) -> None:
    store = Interrupting()
    jam = make_jam(store=store)
    token = jam.gen_jwt_token({})
    store.meanwhile = lambda: jam.verifier.rekey(ring(secret_key="other" + SECRET))
    jam.verify_jwt_token(token)
    store.meanwhile = lambda: None
    assert refused(jam, token) is Reason.INVALID


def test_threads_verify_the_same_tokens_and_get_the_right_claims(jam: Jam) -> None:
    tokens = {str(n): jam.gen_jwt_token({"sub": str(n), "x": [n]}) for n in range(20)}
    wrong: list[Any] = []

    def job() -> None:
        for _ in range(20):
            for name, token in tokens.items():
                claims = jam.verify_jwt_token(token)
                if (claims["sub"], claims["x"]) != (name, [int(name)]):
                    wrong.append(claims)
                claims["x"].append(1)

    threads = [threading.Thread(target=job) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    info = jam.verifier.cache_info()
    assert info.hits + info.misses == 8 * 20 * 20


# --- the allow list, and none at all --------------------------------------------------


def test_with_an_allow_list_only_what_was_minted_here_passes(make_jam: MakeJam) -> None:
    store = MemoryStore()
    jam = make_jam(jwt={"list": "allow"}, store=store)
    minted = jam.gen_jwt_token({"sub": "ann"})
    assert jam.verify_jwt_token(minted)
    assert refused(jam, forged(good())) is Reason.REVOKED
    assert refused(make_jam(jwt={"list": "allow"}), minted) is Reason.REVOKED
    assert make_jam(jwt={"list": "allow"}, store=store).verify_jwt_token(minted)


def test_an_allowed_token_can_be_revoked(make_jam: MakeJam, clock: Clock) -> None:
    jam = make_jam(jwt={"list": "allow", "leeway": 10})
    token, other = jam.gen_jwt_token({}), jam.gen_jwt_token({})
    clock.tick(905)
    assert jam.verify_jwt_token(token)
    jam.revoke_token(token)
    assert refused(jam, token) is Reason.REVOKED
    assert jam.verify_jwt_token(other)
    clock.tick(5)
    assert refused(jam, other) is Reason.EXPIRED


def test_a_pair_is_on_the_allow_list_too(make_jam: MakeJam) -> None:
    jam = make_jam(jwt={"list": "allow"})
    pair = jam.issue_tokens("ann")
    assert jam.verify_jwt_token(pair["access_token"])
    assert jam.verify_jwt_token(jam.refresh_tokens(pair["refresh_token"])["access_token"])


class Silent(MemoryStore):
    """Does not answer any more."""

    def marks(self, *_: Any) -> Marks:
        raise StoreUnavailable

    allow = mark = cut = standing = marks  # type: ignore[assignment]


def test_a_store_that_does_not_answer_is_no_verdict(make_jam: MakeJam) -> None:
    jam, store = make_jam(), Silent()
    token = jam.gen_jwt_token({"sub": "ann"})
    jam = make_jam(store=store)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            jam.verify_jwt_token(token)
    assert jam.verifier.cache_info().currsize == 0
    with pytest.raises(StoreUnavailable):
        jam.revoke_token(token)


def test_minting_for_a_subject_fails_while_the_store_does_not_answer(make_jam: MakeJam) -> None:
    # Else the token would carry no cut-off, and be dead or outlive a revocation.
    jam = make_jam(store=Silent())
    for mint in (lambda: jam.gen_jwt_token({"sub": "ann"}), lambda: jam.issue_tokens("ann")):
        with pytest.raises(StoreUnavailable):
            mint()
    assert jam.gen_jwt_token({"user": 1}), "what is of no subject asks nothing"


def test_minting_for_a_subject_asks_the_store_once(make_jam: MakeJam) -> None:
    asked: list[str] = []

    class Counting(MemoryStore):
        def standing(self, *args: Any) -> Any:
            asked.append("standing")
            return super().standing(*args)

    jam = make_jam(store=Counting())
    for mint in (lambda: jam.gen_jwt_token({"sub": "ann"}), lambda: jam.issue_tokens("ann")):
        asked.clear()
        mint()
        assert asked == ["standing"]
    pair = jam.issue_tokens("ann")
    asked.clear()
    jam.refresh_tokens(pair["refresh_token"])
    assert asked == [], "a family carries the cut-off itself"


def test_a_token_that_could_not_be_put_on_the_allow_list_is_not_handed_out(
    make_jam: MakeJam,
) -> None:
    with pytest.raises(StoreUnavailable):
        make_jam(jwt={"list": "allow"}, store=Silent()).gen_jwt_token({"user": 1})


def test_list_off_skips_the_store_and_cannot_revoke(
    make_jam: MakeJam,
) -> None:
    jam = make_jam(jwt={"list": "off"}, store=Silent())
    token = jam.gen_jwt_token({"sub": "ann"})
    assert jam.verify_jwt_token(token)
    assert jam.verify_jwt_token(forged(good(jti=None)))
    for revoked in (token, jam.verify_jwt_token(token)):
        with pytest.raises(ConfigError, match='write "deny"'):
            jam.revoke_token(revoked)


# --- revoking a token -----------------------------------------------------------------


@each_case("seen_before", [False, True])
@each_case("as_claims", [False, True])
def test_a_revoked_token_is_refused_and_no_other(
    jam: Jam, seen_before: bool, as_claims: bool
) -> None:
    token, other = jam.gen_jwt_token({"sub": "ann"}), jam.gen_jwt_token({"sub": "ann"})
    claims = make_claims(token)
    if seen_before:
        shown = {name: value for name, value in claims.items() if name != CUT_OFF}
        assert jam.verify_jwt_token(token) == shown
    assert jam.revoke_token(claims if as_claims else token)
    assert refused(jam, token) is Reason.REVOKED
    assert refused(jam, token) is Reason.REVOKED
    assert jam.verify_jwt_token(other)


def make_claims(token: str) -> dict[str, Any]:
    import base64

    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return claims


def test_every_spelling_of_a_revoked_token_is_revoked(make_jam: MakeJam) -> None:
    # One id, another signature: an ECDSA or PSS signer never signs the same way twice.
    jam = make_jam(jwt={"alg": "ES256", "private_key": pem_for("ES256").private})
    payload = jam.make_payload(sub="ann")
    first, second = jam.gen_jwt_token(payload), jam.gen_jwt_token(payload)
    assert first != second
    assert jam.verify_jwt_token(second)
    jam.revoke_token(first)
    assert refused(jam, second) is Reason.REVOKED


def test_revoking_again_changes_nothing_and_returns_false(jam: Jam) -> None:
    token = jam.gen_jwt_token({})
    assert [jam.revoke_token(token), jam.revoke_token(token)] == [True, False]
    assert refused(jam, token) is Reason.REVOKED


def test_a_mark_lasts_as_long_as_the_token_and_its_leeway(make_jam: MakeJam, clock: Clock) -> None:
    jam = make_jam(jwt={"leeway": 100})
    token = jam.gen_jwt_token({})
    jam.revoke_token(token)
    for seconds in (899, 1, 99.999):
        clock.tick(seconds)
        assert refused(jam, token) is Reason.REVOKED
    clock.tick(0.001)
    assert refused(jam, token) is Reason.EXPIRED


def test_an_expired_token_is_marked_all_the_same(jam: Jam, clock: Clock) -> None:
    token = jam.gen_jwt_token({})
    clock.tick(2000)
    assert jam.revoke_token(token) is False
    clock.tick(-1500)  # a clock that was wrong
    assert refused(jam, token) is Reason.REVOKED


@each_case(
    "value", ["", "x", "a.b.c", craft(payload=good(), secret="x" * 64), "\udcff", "x" * 9000],
    ids=lambda value: value[:8],
)  # fmt: skip
def test_revoking_what_is_no_token_of_ours_is_no_error(jam: Jam, value: str) -> None:
    # RFC 7009 2.2
    assert jam.revoke_token(value) is False


def test_claims_that_could_not_be_ours_are_an_error_with_a_sentence(jam: Jam) -> None:
    with pytest.raises(TokenError, match="exp is missing"):
        jam.revoke_token({"jti": "x"})
    with pytest.raises(TokenError, match="jti or iat is missing"):
        jam.revoke_token({"exp": NOW + 5})


@each_case("value", [None, 5, b"a.b.c", ["x"]], ids=repr)
def test_revoking_another_type_is_an_error_with_a_hint(jam: Jam, value: Any) -> None:
    with pytest.raises((TokenError, TypeError), match="token|claims"):
        jam.revoke_token(value)


def test_a_revocation_is_seen_by_every_jam_on_the_store(make_jam: MakeJam) -> None:
    store = MemoryStore()
    here, there = make_jam(store=store), make_jam(store=store)
    token = here.gen_jwt_token({"sub": "ann"})
    assert there.verify_jwt_token(token)
    here.revoke_token(token)
    assert refused(there, token) is Reason.REVOKED


# --- revoking a subject ---------------------------------------------------------------


def test_every_token_of_a_revoked_subject_is_refused_and_no_others(jam: Jam) -> None:
    anns = [jam.gen_jwt_token({"sub": "ann"}), jam.issue_tokens("ann")["access_token"]]
    others = [jam.gen_jwt_token({"sub": name}) for name in ("bob", "ann ", "Ann", "an", "annn")]
    nobodys = jam.gen_jwt_token({})
    jam.verify_jwt_token(anns[0])
    jam.revoke_subject("ann")
    assert [refused(jam, token) for token in anns] == [Reason.REVOKED] * 2
    assert all(jam.verify_jwt_token(token) for token in [*others, nobodys])


def test_cutoff_within_one_instant_ends_earlier_tokens_only(jam: Jam) -> None:
    # The clock stands still.
    dead: list[str] = []
    for _ in range(25):
        dead.append(jam.gen_jwt_token({"sub": "ann"}))
        jam.revoke_subject("ann")
        fresh = jam.gen_jwt_token({"sub": "ann"})
        assert jam.verify_jwt_token(fresh)
        assert {refused(jam, token) for token in dead} == {Reason.REVOKED}
        dead.append(fresh)


@each_case("step", [1e-7, 1e-6, 1e-4, 0.0005, 0.001, 0.5, 1.0])
def test_the_order_holds_however_little_time_passes(jam: Jam, clock: Clock, step: float) -> None:
    for _ in range(20):
        before = jam.gen_jwt_token({"sub": "ann"})
        clock.tick(step)
        jam.revoke_subject("ann")
        clock.tick(step)
        after = jam.gen_jwt_token({"sub": "ann"})
        assert refused(jam, before) is Reason.REVOKED
        assert jam.verify_jwt_token(after)


@each_case("back", [1e-5, 0.01, 5, 500])
def test_cutoff_ends_earlier_tokens_after_the_clock_is_set_back(
    jam: Jam, clock: Clock, back: float
) -> None:
    token = jam.gen_jwt_token({"sub": "ann"})
    jam.verify_jwt_token(token)
    clock.tick(-back)
    jam.revoke_subject("ann")
    with pytest.raises(TokenError):
        jam.verify_jwt_token(token)
    clock.tick(back)
    assert refused(jam, token) is Reason.REVOKED
    clock.tick(0.01)
    assert refused(jam, token) is Reason.REVOKED
    assert jam.verify_jwt_token(jam.gen_jwt_token({"sub": "ann"}))


def test_a_later_revocation_does_not_bring_an_earlier_cut_off_back(jam: Jam, clock: Clock) -> None:
    token = jam.gen_jwt_token({"sub": "ann"})
    jam.revoke_subject("ann")
    clock.tick(-100)
    jam.revoke_subject("ann")
    clock.tick(100)
    assert refused(jam, token) is Reason.REVOKED


def test_token_without_iat_is_refused_as_no_cutoff_reaches_it(
    make_jam: MakeJam,
) -> None:
    token = forged(good(iat=None))
    assert refused(make_jam(), token) is Reason.INVALID
    assert make_jam(jwt={"list": "off"}).verify_jwt_token(token)


def test_a_refresh_token_of_another_library_is_no_access_token(jam: Jam) -> None:
    assert refused(jam, forged(good(type="refresh"))) is Reason.WRONG_TYPE
    assert jam.verify_jwt_token(forged(good(type="access")))


def test_kind_of_another_library_is_read_in_any_letter_case(jam: Jam) -> None:
    assert refused(jam, forged(good(type="Refresh"))) is Reason.WRONG_TYPE
    assert refused(jam, forged(good(typ="ID"))) is Reason.WRONG_TYPE


def test_family_of_another_slot_is_refused(jam: Jam) -> None:
    assert jam.verify_jwt_token(forged(good(fam=slot_of("ann") + "x")))
    assert refused(jam, forged(good(fam=slot_of("bob") + "x"))) is Reason.INVALID


def test_a_cut_off_outlives_every_token_that_it_hits(make_jam: MakeJam, clock: Clock) -> None:
    settings = {"max_lifetime": 5000, "leeway": 100, "refresh_absolute": 10}
    jam = make_jam(jwt=settings)
    token = jam.gen_jwt_token({"sub": "ann", "exp": NOW + 5000})
    jam.revoke_subject("ann")
    clock.tick(5099)
    assert refused(jam, token) is Reason.REVOKED
    clock.tick(1)
    assert refused(jam, token) is Reason.EXPIRED


@each_case("back", [0, 0.01, 5, 10])
def test_cut_off_outlives_what_it_ends_while_clocks_differ(
    make_jam: MakeJam, clock: Clock, back: float
) -> None:
    # Each clock may be 5 s off, so the one that revokes may be 10 s behind the one that minted.
    jam = make_jam(
        jwt={"max_lifetime": 100, "expire": 100, "refresh_absolute": 10, "leeway": 5},
        session={"idle": 10, "absolute": 10},
    )
    token = jam.gen_jwt_token({"sub": "ann"})
    clock.tick(-back)
    jam.revoke_subject("ann")
    clock.tick(back + 104.999)
    assert refused(jam, token) is Reason.REVOKED
    clock.tick(0.001)
    assert refused(jam, token) is Reason.EXPIRED


def test_cut_off_outlives_the_longest_token_while_clocks_differ(
    make_jam: MakeJam, clock: Clock
) -> None:
    life = 401 * 86400
    jam = make_jam(jwt={"max_lifetime": life, "expire": life, "leeway": 5})
    token = jam.gen_jwt_token({"sub": "ann"})
    clock.tick(-10)
    jam.revoke_subject("ann")
    clock.tick(10 + life + 4.999)
    assert refused(jam, token) is Reason.REVOKED


# --- the cut-off that a token carries -------------------------------------------------


def test_a_token_carries_the_cut_off_of_its_subject(jam: Jam) -> None:
    store = jam.store.identity()
    assert make_claims(jam.gen_jwt_token({"sub": "ann"}))[CUT_OFF] == [store, 0.0]
    jam.revoke_subject("ann")
    for token in (jam.gen_jwt_token({"sub": "ann"}), jam.issue_tokens("ann")["access_token"]):
        assert make_claims(token)[CUT_OFF] == [store, NOW]
        assert make_claims(token)["iat"] == NOW, "iat stays the true time"
    assert make_claims(jam.gen_jwt_token({"sub": "bob"}))[CUT_OFF] == [store, 0.0]
    assert CUT_OFF not in make_claims(jam.gen_jwt_token({}))


def test_no_payload_shows_the_cut_off_that_a_token_carries(jam: Jam) -> None:
    jam.revoke_subject("ann")
    for token in (jam.gen_jwt_token({"sub": "ann"}), jam.issue_tokens("ann")["access_token"]):
        assert CUT_OFF not in jam.verify_jwt_token(token)
        assert CUT_OFF not in jam.verifier.verify(token).flat
        assert jam.verifier.verify(token).cut_off == (jam.store.identity(), NOW)


@each_case(
    ("word", "instead"),
    [
        ("expires", "write expires_in"), ("expires_delta", "write expires_in"),
        ("fresh", "max_age"), ("additional_claims", "each claim by its name"),
        ("identity", "the first argument"), ("additional_headers", "no headers"),
    ],
)  # fmt: skip
def test_a_word_that_is_no_claim_is_refused_at_a_login(jam: Jam, word: str, instead: str) -> None:
    with pytest.raises(TokenError, match=f"{word} is no claim: .*{instead}"):
        jam.issue_tokens("ann", **{word: 60})


def test_a_caller_cannot_choose_the_cut_off_of_a_token(jam: Jam) -> None:
    early = jam.gen_jwt_token({"sub": "ann", CUT_OFF: 9e9})
    with pytest.raises(TokenError, match="jam_cut is written by flask_jam itself"):
        jam.issue_tokens("ann", **{CUT_OFF: 9e9})
    jam.revoke_subject("ann")
    assert refused(jam, early) is Reason.REVOKED
    assert jam.verify_jwt_token(jam.gen_jwt_token({"sub": "ann", CUT_OFF: 0}))
    # Nor is it handed on with the claims of an earlier token.
    payload = {**make_claims(early), "jti": "another"}
    assert jam.verify_jwt_token(jam.gen_jwt_token(payload))


def test_cut_off_that_another_store_has_set_counts_for_nothing(jam: Jam) -> None:
    token = forged(good(**{CUT_OFF: ["another", NOW + 1000]}))
    assert jam.verify_jwt_token(token)
    jam.revoke_subject("ann")
    assert refused(jam, token) is Reason.REVOKED


def test_old_payload_is_not_minted_under_a_cut_off_of_a_clock_ahead(jam: Jam, clock: Clock) -> None:
    payload = jam.make_payload(sub="ann")
    clock.tick(20)
    jam.revoke_subject("ann")
    clock.tick(-5)
    assert unmintable(jam, payload).reason is Reason.REVOKED


def test_payload_of_a_clock_behind_is_minted_after_a_cut_off(jam: Jam, clock: Clock) -> None:
    jam.revoke_subject("ann")
    clock.tick(-10)
    payload = jam.make_payload(sub="ann")
    clock.tick(10)
    assert jam.verify_jwt_token(jam.gen_jwt_token(payload))


def test_mint_returns_the_token_and_what_verification_reads_of_it(jam: Jam) -> None:
    jam.revoke_subject("ann")
    token, facts = jam.tokens.mint({"sub": "ann", "roles": ["a"]})
    assert facts == jam.verifier.verify(token)


def test_checking_a_payload_signs_nothing(jam: Jam, monkeypatch: pytest.MonkeyPatch) -> None:
    signed: list[object] = []
    monkeypatch.setattr(
        flask_jam._credentials.access_tokens, "sign_jws", lambda *args: signed.append(args)
    )
    facts, raw = jam.tokens.check({"sub": "ann"})
    assert facts.sub == json.loads(raw)["sub"] == "ann"
    with pytest.raises(TokenError, match="jwt.max_token_bytes"):
        jam.tokens.check({"sub": "ann", "x": "x" * 9000})
    assert signed == []


@each_case("ahead", [0.01, 1, 4, 10])
def test_iat_may_lie_ahead_by_as_much_as_clocks_differ(jam: Jam, ahead: float) -> None:
    token = forged(good(iat=NOW + ahead))
    for _ in range(2):  # of the second time, the cache knows
        assert jam.verify_jwt_token(token)["iat"] == NOW + ahead


@each_case("subject", ["", None, 5, b"ann", ["ann"]], ids=repr)
def test_a_subject_that_is_no_text_cannot_be_revoked(jam: Jam, subject: Any) -> None:
    with pytest.raises((TokenError, SessionError), match="string of 1 to"):
        jam.revoke_subject(subject)


@each_case("subject", ["a:b", "ann, bob", "{ann}", "*", "ümlaut", "x" * 256])
def test_a_subject_is_any_text(jam: Jam, subject: str) -> None:
    token = jam.gen_jwt_token({"sub": subject})
    jam.revoke_subject(subject)
    assert refused(jam, token) is Reason.REVOKED


@pytest.mark.slow
def test_a_mint_under_way_in_another_thread_is_on_one_side_of_the_cut_off(jam: Jam) -> None:
    # Whatever was handed out before the revocation returned and after it started may go either
    # way; what was there before it is refused, what came after it is accepted.
    before = [jam.gen_jwt_token({"sub": "ann"}) for _ in range(5)]
    stop = threading.Event()

    def mint() -> None:
        while not stop.is_set():
            jam.gen_jwt_token({"sub": "ann"})

    minter = threading.Thread(target=mint)
    minter.start()
    for _ in range(20):
        jam.revoke_subject("ann")
        after = jam.gen_jwt_token({"sub": "ann"})
        assert jam.verify_jwt_token(after)
    stop.set()
    minter.join()
    assert {refused(jam, token) for token in before} == {Reason.REVOKED}


# --- processes ------------------------------------------------------------------------


class SlowClock(Clock):
    """Takes its time, once, with whoever reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.slow = threading.Event(), False

    def __call__(self) -> float:
        if self.slow:
            self.slow = False
            self.read.set()
            time.sleep(0.2)
        return self.now


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_child_forked_during_signing_can_sign() -> None:
    clock = SlowClock()
    jam = Jam({"jwt": {"secret_key": SECRET}}, clock=clock)
    clock.slow = True
    minter = threading.Thread(target=jam.make_payload)
    minter.start()
    assert clock.read.wait(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 3.12 and later warn of a fork beside threads
        child = os.fork()
    if child == 0:
        signal.alarm(2)  # ends a child that waits for ever
        try:
            jam.gen_jwt_token({"sub": "ann"})
            os._exit(0)
        finally:
            os._exit(1)
    minter.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
