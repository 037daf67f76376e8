"""Claims and time: every line C01 to C33 of the attack catalogue, against a running app.

All tokens here carry a right signature: only what they say is wrong. That nothing is fetched is
held by the watch that every attack runs under.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_jam import ConfigError, Jam
from flask_jam._credentials.token_cache import MAX_AGE, FactCache

from ..cases import each_case
from ..conftest import Clock, bearer, build_app
from .craft import (
    ABSENT,
    COOKIE,
    EXPIRED,
    NOW,
    OK,
    STALE,
    UNREAD,
    R,
    S,
    T,
    claims,
    claims_are_good,
    forged,
    header_is_good,
    kid_of,
    on_every_route,
    signed,
    standing,
    verdict,
)

MakeJam = Callable[..., Jam]


def answer(client: FlaskClient, token: str, path: str = "/jwt") -> tuple[int, str | None]:
    return verdict(client.get(path, headers=bearer(token)))


def test_a_token_by_our_own_hand_is_taken_so_that_refusals_mean_something(
    client: FlaskClient,
) -> None:
    response = client.get("/jwt", headers=bearer(signed(claims())))

    assert verdict(response) == OK
    assert response.json["payload"] == claims()


# --- what is refused wherever a token is asked for ------------------------------------

FULLWIDTH = {ord("0") + digit: 0xFF10 + digit for digit in range(10)}

EXP = [
    pytest.param({"exp": ABSENT}, id="C01-exp-missing"),
    pytest.param({"exp": ABSENT, "iat": ABSENT}, id="C01-exp-and-iat-missing"),
    pytest.param({"exp": ABSENT, "sub": ABSENT}, id="C01-exp-and-sub-missing"),
    pytest.param({"exp": None}, id="C02-exp-null"),
    pytest.param({"exp": []}, id="C02-exp-empty-list"),
    pytest.param({"exp": [NOW + 600]}, id="C02-exp-list-of-a-date"),
    pytest.param({"exp": {}}, id="C02-exp-object"),
    pytest.param({"exp": ""}, id="C02-exp-empty-text"),
    pytest.param({"exp": str(NOW + 600)}, id="C03-exp-text"),
    pytest.param({"exp": f" {NOW + 600} "}, id="C03-exp-padded-text"),
    pytest.param({"exp": f"{NOW + 600:_}"}, id="C03-exp-text-with-underscores"),
    pytest.param({"exp": f"{NOW + 600}.0"}, id="C03-exp-text-with-fraction"),
    pytest.param({"exp": f"+{NOW + 600}"}, id="C03-exp-text-with-sign"),
    pytest.param({"exp": hex(NOW + 600)}, id="C03-exp-hexadecimal"),
    pytest.param({"exp": "1e30"}, id="C03-exp-text-with-exponent"),
    pytest.param({"exp": "١٨٠٠٠٠٠٦٠٠"}, id="C03-exp-arabic-indic-digits"),
    pytest.param({"exp": str(NOW + 600).translate(FULLWIDTH)}, id="C03-exp-fullwidth-digits"),
    pytest.param({"exp": "2027-01-15T08:10:00Z"}, id="C03-exp-iso-date"),
    pytest.param({"exp": True}, id="C04-exp-true"),
    pytest.param({"exp": False}, id="C04-exp-false"),
    pytest.param({"iat": True}, id="C04-iat-true"),
    pytest.param({"nbf": False}, id="C04-nbf-false"),
    pytest.param({"exp": 1e30}, id="C05-exp-1e30"),
    pytest.param({"exp": 10**23}, id="C05-exp-ten-to-the-23"),
    pytest.param({"exp": 1_515_700_000_000}, id="C05-exp-year-50000"),
    pytest.param({"exp": 1_515_700_000_000, "iat": ABSENT}, id="C05-exp-year-50000-without-iat"),
    pytest.param({"exp": NOW * 1000}, id="C05-exp-milliseconds"),
    pytest.param({"exp": NOW + 86401}, id="C05-exp-a-second-over-the-longest-life"),
    pytest.param({"exp": NOW + 86401, "iat": ABSENT}, id="C05-exp-over-the-longest-life-no-iat"),
    pytest.param({"exp": 10**400}, id="C05-exp-too-large-for-a-float"),
    pytest.param({"exp": math.nan}, id="C06-exp-nan"),
    pytest.param({"exp": math.inf}, id="C06-exp-infinity"),
    pytest.param({"exp": -math.inf}, id="C06-exp-minus-infinity"),
]

DATES = [
    pytest.param({"nbf": NOW + 1}, id="C10-nbf-future"),
    pytest.param({"nbf": NOW + 0.5}, id="C10-nbf-future-by-a-fraction"),
    pytest.param({"nbf": str(NOW)}, id="C10-nbf-text"),
    pytest.param({"nbf": True}, id="C10-nbf-true"),
    pytest.param({"nbf": None}, id="C10-nbf-null"),
    pytest.param({"nbf": []}, id="C10-nbf-list"),
    pytest.param({"nbf": {}}, id="C10-nbf-object"),
    pytest.param({"nbf": 1e30}, id="C10-nbf-1e30"),
    pytest.param({"nbf": math.nan}, id="C10-nbf-nan"),
    pytest.param({"iat": NOW + 10.001}, id="C11-iat-future-by-more-than-the-skew-of-clocks"),
    pytest.param({"iat": NOW + 11}, id="C11-iat-future"),
    pytest.param({"iat": NOW + 300, "exp": NOW + 600}, id="C11-iat-future-by-minutes"),
    pytest.param({"iat": str(NOW)}, id="C11-iat-text"),
    pytest.param({"iat": None}, id="C11-iat-null"),
    pytest.param({"iat": []}, id="C11-iat-list"),
    pytest.param({"iat": math.inf}, id="C11-iat-infinity"),
    pytest.param({"iat": -1e18}, id="C12-iat-before-the-universe"),
    pytest.param({"iat": 0}, id="C12-iat-1970"),
    pytest.param({"iat": NOW - 86400}, id="C12-iat-older-than-the-longest-life"),
]

NAMES = [
    pytest.param({"sub": ""}, id="C22-sub-empty"),
    pytest.param({"sub": 7}, id="C22-sub-int"),
    pytest.param({"sub": None}, id="C22-sub-null"),
    pytest.param({"sub": True}, id="C22-sub-true"),
    pytest.param({"sub": ["alice"]}, id="C22-sub-list"),
    pytest.param({"sub": {"id": "alice"}}, id="C22-sub-object"),
    pytest.param({"sub": "a" * 257}, id="C22-sub-too-long"),
    pytest.param({"sub": "alice\x00"}, id="C22-sub-with-nul"),
    pytest.param({"sub": "alice\nroot"}, id="C22-sub-with-newline"),
    pytest.param({"sub": "\ud800"}, id="C22-sub-lone-surrogate"),
    pytest.param({"jti": ABSENT}, id="C25-jti-missing"),
    pytest.param({"jti": ""}, id="C25-jti-empty"),
    pytest.param({"jti": 7}, id="C25-jti-int"),
    pytest.param({"jti": None}, id="C25-jti-null"),
    pytest.param({"jti": ["the-id"]}, id="C25-jti-list"),
    pytest.param({"jti": "j" * 257}, id="C25-jti-too-long"),
    pytest.param({"jti": "j\x1b[2J"}, id="C25-jti-with-escape-sequence"),
    pytest.param({"fam": 7}, id="C25-family-int"),
    pytest.param({"fam": ""}, id="C25-family-empty"),
]

# C14 and C15 where no audience is configured: an ``aud`` is for somebody else then.
FOREIGN_AUD = [
    pytest.param({"aud": 0}, id="C15-aud-zero"),
    pytest.param({"aud": {}}, id="C15-aud-object"),
    pytest.param({"aud": ""}, id="C15-aud-empty"),
    pytest.param({"aud": False}, id="C15-aud-false"),
    pytest.param({"aud": None}, id="C15-aud-null"),
    pytest.param({"aud": []}, id="C15-aud-empty-list"),
    # The catalogue wants a refusal to start without an audience. The contract lets an app start,
    # and refuses each token that names one: what is for somebody is not for us.
    pytest.param({"aud": "https://api.example"}, id="C19-aud-where-none-is-configured"),
    pytest.param({"aud": ["a", "b"]}, id="C19-aud-list-where-none-is-configured"),
    # An OpenID Connect ID token names the client as its audience.
    pytest.param(
        {"aud": "client-1", "nonce": "n-0S6_WzA2Mj", "at_hash": "77QmUPtjPfzWtF2AnpK9RQ"},
        id="C29-id-token-for-a-client",
    ),
    pytest.param(
        {"aud": ["client-1"], "azp": "client-1", "auth_time": NOW, "nonce": "n"},
        id="C29-id-token-with-azp",
    ),
]


@each_case("changes", [*EXP, *DATES, *NAMES, *FOREIGN_AUD])
def test_what_a_token_must_not_say(changes: dict[str, Any]) -> None:
    assert on_every_route(standing(), bearer(signed(claims(**changes)))) == {T}


@each_case(
    ("exp", "now"),
    [
        pytest.param(0, NOW, id="C06-exp-zero-is-a-time"),
        pytest.param(-1, NOW, id="C06-exp-minus-one"),
        pytest.param(0.0, NOW, id="C06-exp-zero-with-fraction"),
        pytest.param(NOW + 600, NOW + 600, id="C07-exp-is-now"),
        pytest.param(NOW + 600, NOW + 600.0001, id="C07-exp-just-passed"),
        pytest.param(NOW + 600.25, NOW + 600.25, id="C08-fraction-is-now"),
        pytest.param(NOW + 600.25, NOW + 600.26, id="C08-fraction-not-rounded-up"),
        pytest.param(NOW + 600.75, NOW + 600.8, id="C08-fraction-not-rounded-to-the-next-second"),
    ],
)
def test_what_has_passed_has_expired(
    client: FlaskClient, clock: Clock, exp: float, now: float
) -> None:
    clock.now = now

    assert on_every_route(client, bearer(signed(claims(exp=exp)))) == {EXPIRED}


def test_C07_a_token_lives_up_to_its_last_moment(client: FlaskClient, clock: Clock) -> None:
    token = signed(claims())
    clock.now = math.nextafter(NOW + 600, 0)

    assert answer(client, token) == OK


def test_C08_a_fraction_is_not_cut_off(client: FlaskClient, clock: Clock) -> None:
    token = signed(claims(exp=NOW + 600.25))
    clock.now = NOW + 600.2

    assert answer(client, token) == OK


# --- leeway ---------------------------------------------------------------------------


@each_case("name", ["exp", "nbf", "iat"])
def test_C04_no_bool_is_a_date_even_where_it_would_be_one(
    make_jam: MakeJam, clock: Clock, name: str
) -> None:
    # With the clock at the epoch and the widest leeway, true and false would pass as 1 and 0.
    clock.now = 0.5
    client = build_app(make_jam(jwt={"leeway": 300})).test_client()
    good = {"jti": "j", "sub": "alice", "exp": 100, "iat": 0, "nbf": 0}

    assert answer(client, signed(good)) == OK
    for value in (True, False):
        assert on_every_route(client, bearer(signed({**good, name: value}))) == {T}


@each_case(
    "leeway",
    [
        pytest.param(math.nan, id="C09-nan"),
        pytest.param("nan", id="C09-nan-as-text"),
        pytest.param(math.inf, id="C09-infinity"),
        pytest.param("inf", id="C09-infinity-as-text"),
        pytest.param(-1, id="C09-negative"),
        pytest.param(301, id="C09-over-300"),
        pytest.param(300.5, id="C09-over-300-by-a-fraction"),
        pytest.param(True, id="C09-bool"),
        pytest.param([], id="C09-list"),
    ],
)
def test_a_leeway_that_disables_expiry_is_refused_at_start(
    make_jam: MakeJam, leeway: object
) -> None:
    with pytest.raises(ConfigError, match=r"jwt\.leeway"):
        make_jam(jwt={"leeway": leeway})


def test_C09_leeway_counts_once_on_a_miss_and_on_a_hit(make_jam: MakeJam, clock: Clock) -> None:
    client = build_app(make_jam(jwt={"leeway": 60})).test_client()
    seen, unseen = signed(claims(jti="seen")), signed(claims(jti="unseen"))
    clock.now = NOW + 659
    assert answer(client, seen) == OK

    clock.now = NOW + 660

    assert answer(client, seen) == EXPIRED
    assert answer(client, unseen) == EXPIRED


def test_C10_and_C11_leeway_reaches_so_far_and_no_further(make_jam: MakeJam, clock: Clock) -> None:
    client = build_app(make_jam(jwt={"leeway": 60})).test_client()

    assert answer(client, signed(claims(nbf=NOW + 60))) == OK
    assert answer(client, signed(claims(nbf=NOW + 61))) == T
    assert answer(client, signed(claims(iat=NOW + 60))) == OK
    assert answer(client, signed(claims(iat=NOW + 61))) == T


@each_case("leeway", [0, 5, 10])
def test_C11_iat_may_lie_ten_seconds_ahead_and_nbf_only_the_leeway(
    make_jam: MakeJam, leeway: float
) -> None:
    # Two machines whose clocks are up to 5 s off, each its own way.
    client = build_app(make_jam(jwt={"leeway": leeway})).test_client()
    for ahead in (0.01, 4, 10):
        assert answer(client, signed(claims(iat=NOW + ahead))) == OK
    assert answer(client, signed(claims(iat=NOW + 10.001))) == T
    assert answer(client, signed(claims(nbf=NOW + leeway + 0.001))) == T


# --- how long ago ---------------------------------------------------------------------


@each_case(
    "auth_time",
    [
        # The contract counts max_age from auth_time, the login itself, which a refresh keeps; iat
        # would be as young as the last refresh.
        pytest.param(NOW - 301, id="C12-login-too-long-ago"),
        pytest.param(-1e18, id="C12-login-before-the-universe"),
        pytest.param(ABSENT, id="C12-no-login-time"),
        pytest.param(str(NOW), id="C12-login-time-as-text"),
        pytest.param(True, id="C12-login-time-as-bool"),
        pytest.param(None, id="C12-login-time-null"),
        pytest.param([NOW], id="C12-login-time-as-list"),
        pytest.param(NOW + 10.001, id="C12-login-further-ahead-than-clocks-differ"),
        pytest.param(NOW + 3600, id="C12-login-in-the-future"),
        pytest.param(1e300, id="C12-login-at-the-end-of-time"),
    ],
)
def test_a_login_that_is_not_known_to_be_recent_is_not(auth_time: object) -> None:
    client, token = standing(), signed(claims(auth_time=auth_time))

    assert answer(client, token, "/fresh") == STALE
    assert answer(client, token) == OK


def test_C12_a_recent_login_is(client: FlaskClient) -> None:
    for auth_time in (NOW - 300, NOW + 4, NOW + 10):
        assert answer(client, signed(claims(auth_time=auth_time)), "/fresh") == OK


def test_C13_a_token_without_iat_could_escape_a_cut_off_and_is_refused(
    client: FlaskClient,
) -> None:
    assert on_every_route(client, bearer(signed(claims(iat=ABSENT)))) == {T}


def test_C13_without_revocation_iat_may_be_missing_and_the_life_that_is_left_is_bounded() -> None:
    client = standing(list="off")

    assert answer(client, signed(claims(iat=ABSENT, exp=NOW + 86400))) == OK
    for exp in (NOW + 86401, 1_515_700_000_000, 1e30):
        assert on_every_route(client, bearer(signed(claims(iat=ABSENT, exp=exp)))) == {T}
    for iat in (None, str(NOW), True, NOW + 11):
        assert on_every_route(client, bearer(signed(claims(iat=iat)))) == {T}


@each_case("iat", [NOW, NOW + 0.999, NOW - 0.001, NOW - 80000])
def test_C13_foreign_token_dies_unless_its_second_follows_the_cut_off(
    jam: Jam, client: FlaskClient, iat: float
) -> None:
    token = signed(claims(iat=iat))
    assert answer(client, token) == OK

    jam.revoke_subject("alice")

    assert on_every_route(client, bearer(token)) == {T}
    assert answer(client, signed(claims(iat=NOW + 1, jti="after"))) == OK


@each_case("carried", [0, -1, NOW - 0.001, NOW, NOW + 1, 1e12])
def test_C13_token_is_judged_by_the_cut_off_it_carries_not_by_iat(
    jam: Jam, client: FlaskClient, carried: float
) -> None:
    # Whoever holds the key may write one; without the key it is under the signature.
    jam.revoke_subject("alice")
    for iat in (NOW - 80000, NOW + 10):
        own, other = (
            signed(claims(iat=iat, jti=f"id {iat}", jam_cut=[store, carried]))
            for store in (jam.store.identity(), "another")
        )
        assert answer(client, own) == (OK if carried >= NOW else T)
        # Cut-offs of two stores cannot be compared: its iat decides.
        assert answer(client, other) == (OK if iat > NOW else T)


@each_case(
    "carried",
    [True, "9e9", 9e9, None, [], {}, [9e9], ["x", "9e9"], [9e9, 9e9], ["x", 9e9, 9e9], 10**400],
    ids=lambda value: repr(value)[:12],
)
def test_C13_a_carried_cut_off_of_the_wrong_kind_is_none(
    jam: Jam, client: FlaskClient, carried: Any
) -> None:
    token = signed(claims(jam_cut=carried))
    assert answer(client, token) in (OK, T)
    jam.revoke_subject("alice")
    assert on_every_route(client, bearer(token)) == {T}


# --- audience and issuer --------------------------------------------------------------

AUDIENCE = "https://api.example"
ISSUER = "https://issuer.example"


@each_case(
    "aud",
    [
        pytest.param(ABSENT, id="C14-missing"),
        pytest.param([], id="C14-empty-list"),
        pytest.param(None, id="C14-null"),
        pytest.param(0, id="C15-zero"),
        pytest.param({}, id="C15-object"),
        pytest.param({AUDIENCE: True}, id="C15-object-that-has-it-as-a-member"),
        pytest.param("", id="C15-empty"),
        pytest.param(True, id="C15-true"),
        pytest.param([AUDIENCE, 1], id="C16-beside-an-int"),
        pytest.param([AUDIENCE, None], id="C16-beside-null"),
        pytest.param([AUDIENCE, [AUDIENCE]], id="C16-beside-a-list"),
        pytest.param([[AUDIENCE]], id="C16-nested"),
        pytest.param([AUDIENCE, ""], id="C16-beside-an-empty-text"),
        pytest.param("https://api", id="C17-prefix"),
        pytest.param("api.example", id="C17-substring"),
        pytest.param(AUDIENCE + ".evil.example", id="C17-longer"),
        pytest.param(AUDIENCE.upper(), id="C17-upper-case"),
        pytest.param(AUDIENCE + "/", id="C17-trailing-slash"),
        pytest.param(f" {AUDIENCE}", id="C17-leading-space"),
        pytest.param(f"{AUDIENCE} https://other.example", id="C17-one-of-two-in-a-text"),
        pytest.param(list(AUDIENCE), id="C17-letter-by-letter"),
        pytest.param("https://\u0430pi.example", id="C17-cyrillic-look-alike"),
        pytest.param("https://billing.example", id="C18-sibling-service"),
        pytest.param(["https://billing.example", "https://mail.example"], id="C18-siblings"),
        pytest.param("client-1", id="C29-id-token-for-a-client"),
    ],
)
def test_a_token_for_somebody_else_is_refused(aud: object) -> None:
    assert on_every_route(standing(audience=AUDIENCE), bearer(signed(claims(aud=aud)))) == {T}


@each_case("aud", [AUDIENCE, [AUDIENCE], ["https://mail.example", AUDIENCE]])
def test_C18_a_token_that_names_us_is_taken(aud: object) -> None:
    assert answer(standing(audience=AUDIENCE), signed(claims(aud=aud))) == OK


@each_case("audience", [False, 0, [], {}, ["a"], "", " "])
def test_C19_no_value_of_the_setting_turns_the_audience_off(
    make_jam: MakeJam, audience: object
) -> None:
    with pytest.raises(ConfigError, match=r"jwt\.audience"):
        make_jam(jwt={"audience": audience})


@each_case(
    "iss",
    [
        pytest.param("issuer.example", id="C20-substring"),
        pytest.param("https://issuer", id="C20-prefix"),
        pytest.param("", id="C20-empty"),
        pytest.param([ISSUER], id="C20-list"),
        pytest.param({"iss": ISSUER}, id="C20-object"),
        pytest.param(ISSUER + "/", id="C20-trailing-slash"),
        pytest.param(ISSUER + "\x00", id="C20-nul"),
        pytest.param(ISSUER.upper(), id="C20-upper-case"),
        pytest.param(ABSENT, id="C20-missing"),
        pytest.param(None, id="C20-null"),
        pytest.param("https://unknown.example", id="C21-unknown"),
        pytest.param("https://169.254.169.254/latest", id="C21-unknown-at-a-metadata-address"),
    ],
)
def test_a_token_of_another_issuer_is_refused_and_nobody_is_asked(iss: object) -> None:
    client = standing(issuer=ISSUER)

    assert on_every_route(client, bearer(signed(claims(iss=iss)))) == {T}
    assert answer(client, signed(claims(iss=ISSUER))) == OK


def test_C20_a_setting_with_several_issuers_is_refused(make_jam: MakeJam) -> None:
    for issuer in ([ISSUER], {ISSUER: 1}, (ISSUER, "b")):
        with pytest.raises(ConfigError, match=r"jwt\.issuer"):
            make_jam(jwt={"issuer": issuer})


def test_C23_the_same_subject_of_another_issuer_is_not_our_subject(make_jam: MakeJam) -> None:
    # One issuer per Jam so far: nobody else's "alice" ever becomes one.
    client = build_app(make_jam(jwt={"issuer": ISSUER})).test_client()
    ours, theirs = (signed(claims(iss=iss)) for iss in (ISSUER, "https://other.example"))

    assert client.get("/jwt", headers=bearer(ours)).json["subject"] == "alice"
    assert on_every_route(client, bearer(theirs)) == {T}


def test_C26_a_token_of_another_issuer_cannot_revoke_ours_by_its_jti(make_jam: MakeJam) -> None:
    jam = make_jam(jwt={"issuer": ISSUER})
    client = build_app(jam).test_client()
    ours, theirs = (signed(claims(iss=iss)) for iss in (ISSUER, "https://other.example"))

    assert jam.revoke_token(theirs) is False
    assert jam.revoke_token(claims(iss="https://other.example")) is False
    client.post("/logout", headers=bearer(theirs))

    assert answer(client, ours) == OK


# --- names ----------------------------------------------------------------------------


def test_C22_a_token_without_sub_is_taken_and_is_nobody_in_particular(client: FlaskClient) -> None:
    # Refused by the catalogue; the contract's own example mints one: make_payload(user=1).
    response = client.get("/jwt", headers=bearer(signed(claims(sub=ABSENT, user=1))))

    assert verdict(response) == OK
    assert response.json["subject"] is None


@each_case("mode", ["deny", "allow"])
@each_case("jti", [ABSENT, "", 7, None, True, ["j"]])
def test_C25_what_cannot_be_revoked_is_refused(make_jam: MakeJam, mode: str, jti: object) -> None:
    client = build_app(make_jam(jwt={"list": mode})).test_client()

    assert on_every_route(client, bearer(signed(claims(jti=jti)))) == {T}


def test_C25_without_revocation_a_jti_may_be_missing_and_not_mistyped(make_jam: MakeJam) -> None:
    client = build_app(make_jam(jwt={"list": "off"})).test_client()

    assert answer(client, signed(claims(jti=ABSENT))) == OK
    for jti in ("", 7, None):
        assert on_every_route(client, bearer(signed(claims(jti=jti)))) == {T}


def test_C25_on_an_allow_list_only_what_was_minted_here_passes(make_jam: MakeJam) -> None:
    jam = make_jam(jwt={"list": "allow"})
    client = build_app(jam).test_client()

    assert on_every_route(client, bearer(signed(claims()))) == {T}
    assert answer(client, jam.gen_jwt_token({"sub": "alice"})) == OK


# --- scopes and roles -----------------------------------------------------------------


@each_case(
    "scope",
    [
        # The catalogue refuses the token; by the contract the guard denies, as ``scope`` is no
        # claim that verification needs.
        pytest.param(["read"], id="C27-list"),
        pytest.param({"read": True}, id="C27-object"),
        pytest.param(None, id="C27-null"),
        pytest.param(True, id="C27-true"),
        pytest.param(0, id="C27-zero"),
        pytest.param("write  read", id="C27-double-space"),
        pytest.param(" read", id="C27-leading-space"),
        pytest.param("read ", id="C27-trailing-space"),
        pytest.param("write\u00a0read", id="C27-no-break-space"),
        pytest.param("write\tread", id="C27-tab"),
        pytest.param("write\nread", id="C27-newline"),
        pytest.param("write\u2003read", id="C27-em-space"),
        pytest.param("write,read", id="C27-comma"),
        pytest.param("", id="C27-empty"),
        pytest.param(ABSENT, id="C27-missing"),
        pytest.param("read:all", id="C28-longer-scope"),
        pytest.param("rea", id="C28-prefix"),
        pytest.param("spread", id="C28-substring"),
        pytest.param("READ", id="C28-upper-case"),
        pytest.param("*", id="C28-star"),
    ],
)
def test_a_scope_is_granted_by_its_whole_name_only(scope: object) -> None:
    client, token = standing(), signed(claims(scope=scope))

    assert answer(client, token) == OK
    assert answer(client, token, "/read") == UNREAD
    assert answer(client, token, "/read") == UNREAD


@each_case("scope", ["read", "write read", "read write", "a read b"])
def test_C27_a_scope_among_others_is_granted(client: FlaskClient, scope: str) -> None:
    assert answer(client, signed(claims(scope=scope)), "/read") == OK


@each_case(
    "roles",
    [
        pytest.param("admin", id="C28-text"),
        pytest.param("superadmin", id="C28-text-that-contains-it"),
        pytest.param(["superadmin"], id="C28-role-that-contains-it"),
        pytest.param(["admi"], id="C28-role-that-starts-it"),
        pytest.param(["Admin"], id="C28-other-letter-case"),
        pytest.param(["admin", 1], id="C28-list-that-is-not-all-texts"),
        pytest.param([["admin"]], id="C28-nested"),
        pytest.param({"admin": True}, id="C28-object"),
        pytest.param(None, id="C28-null"),
        pytest.param(True, id="C28-true"),
        pytest.param(ABSENT, id="C28-missing"),
    ],
)
def test_a_role_is_granted_by_its_whole_name_only(roles: object) -> None:
    client, token = standing(), signed(claims(roles=roles))

    assert answer(client, token) == OK
    assert answer(client, token, "/admin") == S
    assert answer(client, token, "/admin") == S


def test_C28_a_role_among_others_is_granted(client: FlaskClient) -> None:
    assert answer(client, signed(claims(roles=["editor", "admin"])), "/admin") == OK


# --- one kind of token in place of another --------------------------------------------


@each_case(
    "header",
    [
        pytest.param({"typ": "refresh"}, id="C30-typ-of-a-refresh-token"),
        pytest.param({"typ": "rt+jwt"}, id="C30-typ-of-another-refresh-token"),
        pytest.param({}, id="C30-no-typ"),
        pytest.param({"typ": None}, id="C30-typ-null"),
        pytest.param({"typ": ""}, id="C30-typ-empty"),
        pytest.param({"typ": "id_token"}, id="C29-typ-of-an-id-token"),
        pytest.param({"typ": "id+jwt"}, id="C29-typ-of-an-id-token-by-suffix"),
    ],
)
def test_a_token_of_another_kind_is_no_access_token(header: dict[str, Any]) -> None:
    token = signed(claims(), {"alg": "HS256", **header})

    assert on_every_route(standing(), bearer(token)) == {T}


def test_C30_a_refresh_token_of_another_library_is_no_access_token() -> None:
    # Some libraries tell their two kinds apart by this claim, and a site may share its key.
    assert on_every_route(standing(), bearer(signed(claims(type="refresh")))) == {T}
    assert answer(standing(), signed(claims(type="access"))) == OK


def test_C30_a_refresh_token_opens_no_route(jam: Jam, client: FlaskClient) -> None:
    pair = jam.issue_tokens("alice")

    assert on_every_route(client, bearer(pair["refresh_token"])) == {T}


def test_C30_an_access_token_refreshes_nothing(jam: Jam, client: FlaskClient) -> None:
    pair = jam.issue_tokens("alice")

    response = client.post("/refresh", json={"refresh_token": pair["access_token"]})

    assert verdict(response) == T
    assert verdict(client.post("/refresh", json={"refresh_token": pair["refresh_token"]})) == OK


# --- anything into everything ---------------------------------------------------------

INJECTED = [
    None, True, False, "jwt_tool", 0, "", [], {}, -1, 1e300,
    "http://169.254.169.254/latest/meta-data/", "https://attacker.example/keys.json",
    "file:///etc/passwd", "gopher://127.0.0.1:6379/_FLUSHALL", "//attacker.example/x",
    "' OR 1=1 --", "| sleep 10", "../../dev/null", "{{7*7}}", "${jndi:ldap://attacker.example/x}",
]  # fmt: skip
HEADERS = ("typ", "alg", "kid", "jku", "x5u", "x5t", "x5t#S256", "x5c", "jwk", "crit", "b64",
           "zip", "enc", "epk", "cty", "url", "nonce", "iss", "sub", "aud")  # fmt: skip
CLAIMS = (
    "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "fam", "scope", "roles", "auth_time",
    "name", "given_name", "family_name", "middle_name", "nickname", "preferred_username",
    "profile", "picture", "website", "email", "email_verified", "gender", "birthdate", "zoneinfo",
    "locale", "phone_number", "phone_number_verified", "address", "updated_at", "azp", "nonce",
    "at_hash", "c_hash", "acr", "amr", "sub_jwk", "cnf", "sip_from_tag", "sip_date",
    "sip_callid", "sip_cseq_num", "sip_via_branch", "orig", "dest", "mky", "events", "toe", "txn",
    "rph", "sid", "vot", "vtm", "attest", "origid", "act", "client_id", "may_act", "jcard",
    "at_use_nbr", "div", "opt", "groups", "entitlements", "_claim_names", "_claim_sources",
    "__class__", "__proto__", "items", "user", "admin",
)  # fmt: skip
#: What only a token of another kind says: refused, whatever stands in it.
OTHER_KINDS = {"nonce", "at_hash", "c_hash", "cnf", "events"}


@each_case("name", [pytest.param(name, id=f"C31-header-{name}") for name in HEADERS])
def test_anything_in_a_header_is_ignored_or_refused_and_never_fetched(name: str) -> None:
    client = standing()
    kid = kid_of(client.application.extensions["jam"])
    for value in INJECTED:
        header = {"alg": "HS256", "typ": "JWT", name: value}
        expected = OK if header_is_good(header, kid) else T
        assert answer(client, signed(claims(), header)) == expected, value


@each_case("name", [pytest.param(name, id=f"C31-claim-{name}") for name in CLAIMS])
def test_anything_in_a_claim_is_data_or_refused_and_never_fetched(name: str) -> None:
    client = standing()
    for value in INJECTED:
        said = claims(**{name: value})
        response = client.get("/jwt", headers=bearer(signed(said)))
        if name not in OTHER_KINDS and claims_are_good(said, NOW):
            assert verdict(response) == OK, value
            assert response.json["payload"] == said
        else:
            assert verdict(response) in (T, EXPIRED), value


def test_C32_nothing_of_an_unverified_token_is_told_to_anybody(
    client: FlaskClient,
    event_log: list[tuple[str, dict[str, Any]]],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    marker = "reflect-me-7d1f"
    said = {name: f"{marker}-{name}" for name in CLAIMS}
    header = {"alg": "HS256", "typ": "JWT", "kid": marker, "jku": f"https://{marker}.example"}
    tokens = [forged(signed(claims(**said))), forged(signed(claims(), header)),
              signed(claims(), header), signed(claims(**said))]  # fmt: skip

    told = [repr(event_log)]
    for token in tokens:
        for accept in ("application/json", "text/html"):
            sent = {**bearer(token), "Accept": accept}
            for path in ("/jwt", "/optional", "/open"):
                response = client.get(path, headers=sent)
                told += [response.text, str(response.headers)]
            assert verdict(client.get("/jwt", headers=sent)) == T
    told += [repr(event_log), caplog.text, *capsys.readouterr()]

    assert event_log
    assert not [text for text in told if marker in text]


# --- clocks that jump -----------------------------------------------------------------


def test_C33_a_clock_that_jumps_forward_expires_what_was_accepted(
    client: FlaskClient, clock: Clock
) -> None:
    token = signed(claims())
    assert answer(client, token) == OK

    clock.tick(10 * 365 * 86400)

    assert on_every_route(client, bearer(token)) == {EXPIRED}


def test_C33_a_clock_that_is_set_right_again_is_believed(client: FlaskClient, clock: Clock) -> None:
    token = signed(claims())
    clock.tick(3600)
    assert answer(client, token) == EXPIRED

    clock.tick(-3600)

    assert answer(client, token) == OK
    clock.tick(600)
    assert answer(client, token) == EXPIRED


def test_C33_a_clock_before_the_token_was_minted_refuses_it(
    client: FlaskClient, clock: Clock
) -> None:
    token = signed(claims())
    assert answer(client, token) == OK

    clock.tick(-3600)

    assert on_every_route(client, bearer(token)) == {T}


def test_C33_a_revocation_stands_after_the_clock_was_set_back(
    jam: Jam, client: FlaskClient, clock: Clock
) -> None:
    early, late = signed(claims(jti="early")), None
    clock.tick(300)
    late = jam.issue_tokens("alice")["access_token"]

    clock.tick(-290)
    jam.revoke_subject("alice")

    assert answer(client, early) == T
    clock.tick(300)
    assert answer(client, late) == T


def test_C33_an_idle_session_is_over_even_if_the_clock_went_back_in_between(
    jam: Jam, client: FlaskClient, clock: Clock
) -> None:
    session_id = jam.create_session("alice", {})
    client.set_cookie("sessionId", session_id)
    clock.tick(-3600)
    assert verdict(client.get("/session")) == OK

    clock.tick(3600 + 30 * 86400)

    status, challenge = verdict(client.get("/session"))
    assert (status, challenge) == COOKIE


def test_C33_a_clock_that_stands_still_keeps_no_fact_for_ever(jam: Jam) -> None:
    # The wall clock says nothing passes; the monotonic one bounds what the cache holds.
    seconds = [0.0]
    jam.verifier._cache = FactCache(10, timer=lambda: seconds[0])
    client = build_app(jam).test_client()
    token = signed(claims())
    for _ in range(2):
        assert answer(client, token) == OK
    assert jam.verifier.cache_info()[:2] == (1, 1)

    seconds[0] = math.nextafter(MAX_AGE, 0)
    assert answer(client, token) == OK
    assert jam.verifier.cache_info()[:2] == (2, 1)

    seconds[0] = MAX_AGE
    assert answer(client, token) == OK
    assert jam.verifier.cache_info()[:2] == (2, 2)


def test_C33_a_use_does_not_prolong_a_fact() -> None:
    seconds = [0.0]
    cache: FactCache[str] = FactCache(10, timer=lambda: seconds[0])
    cache.put(b"key", "fact", cache.get(b"key")[1])
    for seconds[0] in (MAX_AGE * 0.5, MAX_AGE * 0.9):
        assert cache.get(b"key")[0] == "fact"

    seconds[0] = MAX_AGE

    assert cache.get(b"key")[0] is None


def test_every_refusal_of_this_file_reads_the_same(app: Flask) -> None:
    """Two different wrongs give the same bytes: no oracle."""
    client = app.test_client()
    wrongs = [claims(exp=ABSENT), claims(sub=""), claims(aud="x"), claims(nbf=NOW + 9)]
    bodies = {client.get("/jwt", headers=bearer(signed(wrong))).data for wrong in wrongs}
    bodies.add(client.get("/jwt", headers=bearer(forged(signed(claims())))).data)

    assert len(bodies) == 1
    assert set(json.loads(bodies.pop())) == {"type", "title", "status", "detail", "error"}
    assert verdict(client.get("/jwt", headers={"Authorization": "Bearer a b"})) == R
