"""Own keys that rotate: members, states and their times, and each step of an operator."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from functools import cache
from typing import Any
from unittest.mock import patch

import pytest

from flask_jam import ConfigError
from flask_jam._credentials import key_members
from flask_jam._credentials.key_directory import members_of, text_of
from flask_jam._credentials.key_members import (
    make_key,
    private_member,
    public_member,
    public_set,
    read_member,
)
from flask_jam._credentials.key_rotation import Change, retire, rotate, usual_alg
from flask_jam._credentials.key_states import (
    ALWAYS,
    POLL,
    SPREAD,
    EmptyRing,
    Lives,
    Member,
    Ring,
    State,
)
from flask_jam.keys import Key, KeyRing
from flask_jam.settings import DAY, JWTSettings

from ..cases import each_case

NOW = 1_800_000_000.0
LIVES = Lives(longest=1000.0, setting="jwt.expire", leeway=5.0, max_age=300.0)
PENDING, ACTIVE, RETIRING, RETIRED = State


def member(name: str, active_at: float, **more: Any) -> Member:
    key = replace(make_key("HS256"), kid=name)
    return Member(name, "HS256", key, created_at=active_at - 311, active_at=active_at, **more)


@cache
def key_for(alg: str) -> Key:
    """A key that was made once, and a small one: RSA takes long."""
    with patch.object(key_members, "_BITS", 2048):
        return make_key(alg)


def states(ring: Ring, now: float) -> dict[str, State]:
    return {each.kid: state for each, state in ring.states(now)}


# --- members ----------------------------------------------------------------------------------


@each_case("alg", ["HS256", "HS512", "ES256", "ES512", "EdDSA", "RS256"])
def test_key_reads_back_as_it_was_written(alg: str) -> None:
    key = key_for(alg)
    written = json.loads(json.dumps(private_member(key)))
    read = read_member(written)
    assert (read.kid, read.alg, written["use"]) == (key.kid, alg, "sig")
    assert private_member(read) == written
    assert KeyRing([read], read).derive("x") == KeyRing([key], key).derive("x")


@each_case("alg", ["ES256", "EdDSA", "RS256"])
def test_public_member_has_no_private_part(alg: str) -> None:
    key = key_for(alg)
    public = public_member(key)
    assert public is not None
    assert {"kty", "kid", "alg", "use"} < public.keys()
    assert not public.keys() & {"d", "p", "q", "dp", "dq", "qi", "k", "key_ops"}
    found = KeyRing.from_jwks({"keys": [public]}).find({"kid": key.kid})
    assert found is not None
    assert (found.alg, found.private) == (alg, None)


def test_secret_key_is_never_published() -> None:
    keys = [make_key("HS256"), make_key("ES256")]
    assert [each["kid"] for each in public_set(keys)["keys"]] == [keys[1].kid]
    assert public_member(keys[0]) is None


OTHER = private_member(make_key("ES256"))
DAMAGED: list[dict[str, Any]] = [
    {"kid": 1}, {"kid": ""}, {"kid": "x" * 257}, {"kid": "a\x1b"}, {"alg": "none"}, {"alg": None},
    {"alg": []}, {"alg": "ES384"}, {"alg": "HS256"}, {"d": OTHER["d"]}, {"d": 1}, {"d": "!"},
    {"x": OTHER["x"]}, {"kty": "RSA"}, {"kty": None}, {"crv": "P-384"},
]  # fmt: skip


@each_case("damage", DAMAGED, ids=str)
def test_damaged_pair_is_refused_without_quoting_it(damage: dict[str, Any]) -> None:
    good = private_member(make_key("ES256"))
    with pytest.raises(ValueError) as caught:
        read_member({**good, **damage})
    assert good["d"] not in str(caught.value)
    assert OTHER["d"] not in str(caught.value)


@each_case("k", [None, 1, "", "!!!!", "AAAA", base64.b64encode(b"-----BEGIN PUBLIC KEY-----" * 2)])
def test_damaged_secret_is_refused_without_quoting_it(k: Any) -> None:
    text = k.decode() if isinstance(k, bytes) else k
    with pytest.raises(ValueError) as caught:
        read_member({**private_member(make_key("HS256")), "k": text})
    assert not isinstance(text, str) or not text or text not in str(caught.value)


def test_public_key_alone_is_no_member_of_a_ring() -> None:
    public = public_member(make_key("EdDSA"))
    assert public is not None
    with pytest.raises(ValueError, match="no private half"):
        read_member(public)


def test_repr_of_a_member_holds_no_secret() -> None:
    for alg in ("HS256", "ES256"):
        key = make_key(alg)
        shown = repr([Member(key.kid, alg, key, 0, 0), Ring([], LIVES), private_member])
        secret = private_member(key)["k" if alg == "HS256" else "d"]
        assert secret not in shown
        assert not isinstance(key.private, bytes) or key.private.decode() not in shown


# --- lives ------------------------------------------------------------------------------------


@each_case(
    ("jwt", "longest", "setting"),
    [
        ({}, 14 * DAY, "jwt.refresh_idle"),
        ({"refresh_absolute": 10 * DAY}, 10 * DAY, "jwt.refresh_absolute"),
        ({"refresh_idle": 60.0}, DAY, "jwt.max_lifetime"),
        ({"refresh_idle": 60.0, "expire": 2 * DAY}, 2 * DAY, "jwt.expire"),
    ],
)
def test_the_longest_life_is_that_of_any_token(
    jwt: dict[str, Any], longest: float, setting: str
) -> None:
    found = Lives.of(JWTSettings(leeway=7.0, **jwt))
    assert found == (longest, setting, 7.0, 0.0)
    assert found.after == SPREAD + longest + 7.0


def test_published_keys_wait_for_those_who_keep_them() -> None:
    assert Lives.of(JWTSettings()).wait == SPREAD > POLL
    assert Lives.of(JWTSettings(jwks_path="/keys")).wait == SPREAD + 300


# --- states -----------------------------------------------------------------------------------


def test_states_follow_from_the_times_alone() -> None:
    first, second = member("first", NOW), member("second", NOW + 5000)
    ring = Ring([second, first], LIVES)
    end = NOW + 5000 + LIVES.after
    for now, expected in (
        (NOW - 1, (ACTIVE, PENDING)),  # a clock that is behind: still one that signs
        (NOW, (ACTIVE, PENDING)),
        (NOW + 4999.9, (ACTIVE, PENDING)),
        (NOW + 5000, (RETIRING, ACTIVE)),
        (end - 0.1, (RETIRING, ACTIVE)),
        (end, (RETIRED, ACTIVE)),
        (NOW + 1e9, (RETIRED, ACTIVE)),
    ):
        assert tuple(states(ring, now).values()) == expected, now
        keyring = ring.keyring(now)
        kids = {kid for kid, state in states(ring, now).items() if state is not RETIRED}
        assert {key.kid for key in keyring.keys} == kids
        assert keyring.signer is not None
        assert states(ring, now)[keyring.signer.kid] is ACTIVE


def test_clock_that_went_back_finds_the_same_states_again() -> None:
    ring = Ring([member("first", NOW), member("second", NOW + 5000)], LIVES)
    before = states(ring, NOW + 10)
    states(ring, NOW + 1e9)
    assert states(ring, NOW + 10) == before


def test_removed_key_never_comes_back() -> None:
    gone = replace(member("gone", NOW), key=None, retired_at=NOW + 1)
    ring = Ring([gone, member("new", NOW + 1)], LIVES)
    for now in (NOW - 1e6, NOW, NOW + 1, NOW + 1e9):
        assert states(ring, now) == {"gone": RETIRED, "new": ACTIVE}
        assert [key.kid for key in ring.keyring(now).keys] == ["new"]


def test_key_of_the_settings_signs_until_the_first_of_the_ring() -> None:
    own = replace(member("own", ALWAYS), setting="jwt.secret_key")
    ring = Ring([member("first", NOW), own], LIVES)
    assert states(ring, NOW - 1) == {"own": ACTIVE, "first": PENDING}
    assert states(ring, NOW) == {"own": RETIRING, "first": ACTIVE}
    # What is written in the settings verifies until it is removed there.
    assert states(ring, NOW + 1e9) == {"own": RETIRING, "first": ACTIVE}
    assert ring.retires_at(own) == NOW + LIVES.after


def test_key_that_is_in_the_directory_and_the_settings_counts_once() -> None:
    own = replace(member("own", ALWAYS), setting="jwt.secret_key")
    ring = Ring([own, replace(member("own", NOW), key=own.key)], LIVES)
    assert len(ring.keyring(NOW).keys) == 1
    assert ring.members[0].setting is None


def test_keys_of_one_moment_are_told_apart_by_their_order() -> None:
    ring = Ring([member("a", NOW), member("b", NOW)], LIVES)
    assert states(ring, NOW) == {"a": RETIRING, "b": ACTIVE}
    assert states(ring, NOW + LIVES.after) == {"a": RETIRED, "b": ACTIVE}


def test_empty_ring_verifies_and_signs_nothing() -> None:
    ring = Ring([], LIVES).keyring(NOW)
    assert isinstance(ring, EmptyRing)
    assert (ring.keys, ring.find({}), ring.find({"kid": "x"}), ring.derive("x")) == (
        (),
        None,
        None,
        (),
    )
    with pytest.raises(ConfigError, match="flask jam keyring rotate"):
        ring.signing_key()


# --- rotate -----------------------------------------------------------------------------------


def after(change: Change) -> Ring:
    assert change.members is not None
    return Ring(members_of(text_of(change.members).encode(), "x"), LIVES)


def test_first_key_signs_at_once_and_the_next_one_waits() -> None:
    ring = after(rotate(Ring([], LIVES), NOW, "HS256", LIVES.wait))
    assert list(states(ring, NOW).values()) == [ACTIVE]
    change = rotate(ring, NOW + 60, "HS256", LIVES.wait)
    assert change.about.active_at == NOW + 60 + LIVES.wait
    assert list(states(after(change), NOW + 60).values()) == [ACTIVE, PENDING]


def test_rotation_is_not_due_while_a_key_waits_or_was_made_just_now() -> None:
    ring = after(rotate(Ring([], LIVES), NOW, "HS256", LIVES.wait))
    assert rotate(ring, NOW + SPREAD - 1, "HS256", LIVES.wait).members is None
    ring = after(rotate(ring, NOW + 60, "HS256", LIVES.wait))
    for now in (NOW + 60, NOW + 60 + LIVES.wait - 0.1):
        again = rotate(ring, now, "HS256", LIVES.wait)
        assert (again.members, again.about.active_at) == (None, NOW + 60 + LIVES.wait)
    assert rotate(ring, NOW + 60 + LIVES.wait, "HS256", LIVES.wait).members is not None


def test_key_of_a_clock_that_was_ahead_stops_rotations_until_it_is_ended() -> None:
    ring = after(rotate(Ring([member("one", NOW)], LIVES), NOW + 1e8, "HS256", LIVES.wait))
    with pytest.raises(ConfigError, match="flask jam keyring retire") as caught:
        rotate(ring, NOW + 60, "HS256", LIVES.wait)
    ring = after(retire(ring, str(caught.value).split()[0], NOW + 60, force=False))
    assert rotate(ring, NOW + 60, "HS256", LIVES.wait).successor is not None


def test_rotation_removes_the_private_half_of_what_is_retired() -> None:
    ring, now = Ring([], LIVES), NOW
    for _ in range(15):
        ring = after(rotate(ring, now, "HS256", LIVES.wait))
        now += 2 * LIVES.after
    living = [each for each in ring.members if each.key is not None]
    assert (len(living), len(ring.members)) == (2, 12)
    ended = [each for each in ring.members if each.key is None]
    assert all(each.retired_at is not None and not each.forced for each in ended)


def test_ring_with_too_many_living_keys_takes_no_more() -> None:
    ring = Ring([member(f"k{n}", NOW + n) for n in range(100)], LIVES)
    with pytest.raises(ConfigError, match="rotate less often"):
        rotate(ring, NOW + 200, "HS256", LIVES.wait)


def test_next_key_has_the_algorithm_of_the_newest() -> None:
    assert usual_alg(Ring([], LIVES), "ES256") == "ES256"
    own = replace(member("own", ALWAYS), setting="jwt.secret_key")
    assert usual_alg(Ring([own], LIVES), "ES256") == "ES256"
    newest = replace(member("b", NOW + 1), alg="EdDSA")
    assert usual_alg(Ring([newest, member("a", NOW)], LIVES), "ES256") == "EdDSA"


# --- retire -----------------------------------------------------------------------------------


def rotated() -> Ring:
    """``old`` is retiring, ``now`` signs, ``next`` waits."""
    return Ring(
        [member("old", NOW - 900), member("now", NOW - 10), member("next", NOW + 60)], LIVES
    )


@each_case(("kid", "why"), [("now", "signs now"), ("old", "may be alive"), ("x", "no key x")])
def test_key_in_use_is_not_retired_without_force(kid: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        retire(rotated(), kid, NOW, force=False)


def test_key_that_may_sign_any_moment_is_not_retired_without_force() -> None:
    with pytest.raises(ConfigError, match="any moment"):
        retire(rotated(), "next", NOW + 60 - SPREAD + 0.1, force=False)
    ring = after(retire(rotated(), "next", NOW + 60 - SPREAD, force=False))
    assert states(ring, NOW) == {"old": RETIRING, "now": ACTIVE}


def test_forced_end_of_the_signer_promotes_the_key_that_waits() -> None:
    change = retire(rotated(), "now", NOW, force=True)
    ring = after(change)
    assert states(ring, NOW) == {"old": RETIRING, "now": RETIRED, "next": ACTIVE}
    assert [each.forced for each in ring.members if each.kid == "now"] == [True]
    # For a worker whose clock is behind, too.
    assert states(ring, NOW - 5)["now"] is RETIRED


def test_forced_end_of_the_only_key_makes_another() -> None:
    ring = after(retire(Ring([member("one", NOW - 10)], LIVES), "one", NOW, force=True))
    (ended, ending), (new, state) = ring.states(NOW)
    assert (ended.kid, ending, state, new.alg) == ("one", RETIRED, ACTIVE, "HS256")
    assert ring.states(NOW - 5)[1][1] is ACTIVE


def test_forced_end_of_a_retiring_key_leaves_the_signer() -> None:
    ring = after(retire(rotated(), "old", NOW, force=True))
    assert states(ring, NOW) == {"old": RETIRED, "now": ACTIVE, "next": PENDING}


def test_ending_a_key_again_changes_nothing() -> None:
    ring = after(retire(rotated(), "now", NOW, force=True))
    for force in (False, True):
        assert retire(ring, "now", NOW + 1, force=force).members is None


def test_key_of_the_settings_is_not_retired_here() -> None:
    own = replace(member("own", ALWAYS), setting="jwt.secret_key")
    with pytest.raises(ConfigError, match="remove it from the settings"):
        retire(Ring([own], LIVES), "own", NOW, force=True)


def test_key_that_is_over_is_retired_without_force() -> None:
    ring = rotated()
    now = NOW + 60 + LIVES.after
    ring = after(retire(ring, "old", now, force=False))
    assert [each.forced for each in ring.members if each.key is None] == [False, False]
    assert states(ring, now) == {"old": RETIRED, "now": RETIRED, "next": ACTIVE}
