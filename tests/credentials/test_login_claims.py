"""A login without a refresh token, one with a shorter life, and the claims that none may say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flask_jam import ConfigError, Jam, Reason, TokenError

from ..cases import each_case
from ..conftest import Clock

MakeJam = Callable[..., Jam]

RESERVED = (
    "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "auth_time", "scope", "fam", "cnf", "events",
    "typ", "token_type", "token_use", "nonce", "at_hash", "c_hash", "jam_life", "jam_cut",
)  # fmt: skip


def life_of(jam: Jam, pair: dict[str, Any]) -> float:
    claims = jam.verify_jwt_token(pair["access_token"])
    return float(claims["exp"] - claims["iat"])


def reason_of(act: Callable[[], object]) -> Reason:
    with pytest.raises(TokenError) as caught:
        act()
    return caught.value.reason


# --- an access token alone ------------------------------------------------------------


def test_without_refresh_there_is_an_access_token_alone(jam: Jam) -> None:
    pair = jam.issue_tokens("ann", scopes={"a"}, roles={"b"}, refresh=False, team="blue")
    assert set(pair) == {"access_token", "token_type", "expires_in", "scope"}
    claims = jam.verify_jwt_token(pair["access_token"])
    assert set(claims) == {"sub", "jti", "iat", "exp", "auth_time", "scope", "roles", "team"}
    assert (claims["sub"], claims["scope"], claims["roles"]) == ("ann", "a", ["b"])
    assert claims["auth_time"] == 1_800_000_000.0


def test_an_access_token_alone_is_revoked_as_any(jam: Jam) -> None:
    ends: list[Callable[[str], object]] = [
        jam.revoke_token, jam.end_login, lambda _: jam.revoke_subject("ann"),
    ]  # fmt: skip
    for end in ends:
        token = jam.issue_tokens("ann", refresh=False)["access_token"]
        end(token)
        assert reason_of(lambda token=token: jam.verify_jwt_token(token)) is Reason.REVOKED  # type: ignore[misc]
    assert jam.verify_jwt_token(jam.issue_tokens("ann", refresh=False)["access_token"])


@each_case("subject", [1, None, "", "x" * 257, "a\nb", b"ann"], ids=repr)
def test_a_subject_without_refresh_is_a_text_too(jam: Jam, subject: Any) -> None:
    with pytest.raises(TokenError, match="the subject must be a string"):
        jam.issue_tokens(subject, refresh=False)


@each_case("refresh", [None, 0, 1, "no", "false"], ids=repr)
def test_refresh_is_true_or_false(jam: Jam, refresh: Any) -> None:
    with pytest.raises(ConfigError, match="refresh must be True or False"):
        jam.issue_tokens("ann", refresh=refresh)


# --- a shorter life -------------------------------------------------------------------


@each_case(
    ("given", "expected"), [(60, 60), (1, 1), (900, 900), (90.5, 90), (timedelta(minutes=2), 120)]
)
@each_case("refresh", [True, False])
def test_expires_in_shortens_an_access_token(
    jam: Jam, clock: Clock, given: Any, expected: int, refresh: bool
) -> None:
    pair = jam.issue_tokens("ann", expires_in=given, refresh=refresh)
    assert pair["expires_in"] == expected == life_of(jam, pair)
    clock.tick(expected)
    assert reason_of(lambda: jam.verify_jwt_token(pair["access_token"])) is Reason.EXPIRED


def test_a_refresh_keeps_the_shorter_life(jam: Jam) -> None:
    pair = jam.issue_tokens("ann", expires_in=60, team="blue")
    for reload in (None, lambda _, claims: claims, lambda *_: {"n": 1}):
        pair = jam.refresh_tokens(pair["refresh_token"], reload_claims=reload)
        assert pair["expires_in"] == 60 == life_of(jam, pair)
        assert "jam_life" not in jam.verify_jwt_token(pair["access_token"])


def test_reload_claims_is_not_shown_the_life(jam: Jam) -> None:
    seen: list[dict[str, Any]] = []
    pair = jam.issue_tokens("ann", expires_in=60, team="blue")
    jam.refresh_tokens(
        pair["refresh_token"], reload_claims=lambda _, claims: seen.append(claims) or claims
    )
    assert seen == [{"team": "blue"}]


def test_a_tightened_expire_beats_the_life_of_the_login(make_jam: MakeJam) -> None:
    jam = make_jam(jwt={"expire": 600})
    pair = jam.issue_tokens("ann", expires_in=500)
    tight = make_jam(jwt={"expire": 100}, store=jam.store)
    assert life_of(tight, tight.refresh_tokens(pair["refresh_token"])) == 100


@each_case(
    "given",
    [0, -1, 0.5, 900.5, 901, 86401, True, "60", b"60", float("nan"), float("inf"), [60],
     timedelta(0), timedelta(days=400)],
    ids=repr,
)  # fmt: skip
@each_case("refresh", [True, False])
def test_expires_in_only_shortens(jam: Jam, given: Any, refresh: bool) -> None:
    with pytest.raises(TokenError, match="expires_in must be 1 to 900 seconds.*jwt.expire"):
        jam.issue_tokens("ann", expires_in=given, refresh=refresh)


@each_case("stored", ["60", None, [], True, -5, 0, 1e300], ids=repr)
def test_a_damaged_life_in_the_store_never_lengthens(jam: Jam, stored: Any) -> None:
    from dataclasses import replace

    pair = jam.issue_tokens("ann", expires_in=60)
    families: Any = jam.store
    (name,) = families._families
    family = families._families[name]
    claims = {**family.claims, "jam_life": stored}
    families._families[name] = replace(family, claims=claims)
    assert 1 <= jam.refresh_tokens(pair["refresh_token"])["expires_in"] <= 900


# --- claims that are written by Flask-Jam itself ----------------------------------------


@each_case("name", [name for name in RESERVED if name != "sub"])
@each_case("refresh", [True, False])
def test_a_reserved_claim_of_a_login_is_refused(jam: Jam, name: str, refresh: bool) -> None:
    with pytest.raises(TokenError, match=f"the claim {name} "):
        jam.issue_tokens("ann", refresh=refresh, **{name: "x"})


@each_case("name", [name for name in RESERVED if name != "scope"])
def test_a_reserved_claim_of_a_reload_is_refused(jam: Jam, name: str) -> None:
    pair = jam.issue_tokens("ann")
    with pytest.raises(ConfigError, match=f"the claim {name} "):
        jam.refresh_tokens(pair["refresh_token"], reload_claims=lambda *_: {name: "x"})


@each_case(
    ("name", "instead"),
    [
        ("scopes", "write scope"), ("expires_in", "only the login"), ("refresh", "of the login"),
        ("fresh", "max_age"), ("expires_delta", "expires_in"), ("identity", "the subject"),
    ],
)  # fmt: skip
def test_an_argument_is_no_claim_of_a_reload(jam: Jam, name: str, instead: str) -> None:
    pair = jam.issue_tokens("ann")
    with pytest.raises(ConfigError, match=f"{name} is no claim: .*{instead}"):
        jam.refresh_tokens(pair["refresh_token"], reload_claims=lambda *_: {name: ["a"]})
    assert jam.refresh_tokens(pair["refresh_token"])


def test_gen_jwt_token_takes_times_and_ids(jam: Jam, clock: Clock) -> None:
    now = clock.now
    given = {
        "sub": "ann", "jti": "1", "iat": now, "nbf": now, "exp": now + 5, "auth_time": now - 5,
        "scope": "a",
    }  # fmt: skip
    assert jam.verify_jwt_token(jam.gen_jwt_token(given)) == given


@each_case(
    "kind",
    [{"cnf": {}}, {"events": {}}, {"nonce": "x"}, {"at_hash": "x"}, {"c_hash": "x"},
     {"token_type": "refresh"}, {"token_use": "id"}, {"typ": "Refresh"}, {"typ": "Logout"}],
    ids=repr,
)  # fmt: skip
def test_gen_jwt_token_takes_no_other_kind(jam: Jam, kind: dict[str, Any]) -> None:
    with pytest.raises(TokenError, match="would be refused"):
        jam.gen_jwt_token({"sub": "ann", **kind})


def test_a_service_that_only_verifies_issues_nothing_alone() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = Ed25519PrivateKey.generate().public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    jam = Jam({"jwt": {"alg": "EdDSA", "public_key": pem}})
    with pytest.raises(ConfigError, match="only verifies"):
        jam.issue_tokens("ann", refresh=False)
