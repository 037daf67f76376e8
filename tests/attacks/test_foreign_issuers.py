"""Tokens of several trusted issuers, which lie about each other."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from flask_jam import TokenError
from flask_jam.stores.interface import Kind
from flask_jam.stores.memory import MemoryStore

from ..cases import each_case
from ..conftest import Clock
from ..credentials.test_foreign_tokens import (
    DROP,
    ISS,
    KEY,
    OTHER,
    claims_of,
    issuer,
    issuers_of,
    reason_of,
    remote,
    token_of,
)
from .forge import compact

THEIRS = "https://other.example.org/"
#: Two issuers, each with a key of its own under the same kid.
BOTH = (issuer(), issuer(THEIRS, jwks={"keys": [{**OTHER, "kid": "a"}]}))


def test_A37_a_trusted_issuer_does_not_sign_in_anothers_name() -> None:
    issuers = issuers_of(*BOTH)
    assert issuers.verify(token_of(claims_of())).issuer == ISS
    assert issuers.verify(token_of(claims_of(iss=THEIRS), number=1)).issuer == THEIRS
    for iss, number in ((ISS, 1), (THEIRS, 0)):
        for kid in ("a", "b", DROP):
            token = token_of(claims_of(iss=iss), number=number, kid=kid)
            assert reason_of(partial(issuers.verify, token)) == "invalid"


@each_case("kid", ["unknown", "../a", "a\0", "A", " a", "", "x" * 900, "https://evil.example/k"])
def test_H10_a_flood_of_kids_fetches_once_in_a_cool_down(kid: str) -> None:
    issuers, source = remote(KEY)
    issuers.verify(token_of(claims_of()))
    for number in range(200):
        header = {"alg": "RS256", "typ": "JWT", "kid": f"{kid}{number or ''}"}
        token = compact(header, claims_of(), b"x" * 256)
        assert reason_of(partial(issuers.verify, token)) == "invalid"
    assert source.fetched == 2
    issuers.close()


@each_case("iss", [DROP, None, "", [ISS, THEIRS], f"{ISS} {THEIRS}", f"{ISS},{THEIRS}"])
def test_C20_among_several_issuers_none_is_chosen_for_a_token_without_iss(iss: Any) -> None:
    issuers = issuers_of(*BOTH)
    for number in (0, 1):
        token = token_of(claims_of(iss=iss), number=number)
        assert reason_of(partial(issuers.verify, token)) == "wrong_issuer"


def test_C23_one_subject_of_two_issuers_is_two_owners_and_never_ours() -> None:
    issuers = issuers_of(*BOTH)
    mine = issuers.verify(token_of(claims_of()))
    theirs = issuers.verify(token_of(claims_of(iss=THEIRS), number=1))
    assert mine.sub == theirs.sub == "alice"
    assert len({mine.owner, theirs.owner, "alice"}) == 3
    # Nor can a subject be made to look like another issuer's.
    for sub in (f"{THEIRS}\udcffalice", f"{THEIRS}\x1falice", "\ud800"):
        with pytest.raises(TokenError):
            issuers.verify(token_of(claims_of(sub=sub)))


def test_C24_a_client_that_is_named_as_a_user_is_told_apart() -> None:
    of_client = claims_of(sub="alice", client_id="alice", gty="client-credentials", scope=DROP)
    # It is never the user "alice" of this app, and rules may take tokens of users only.
    assert issuers_of().verify(token_of(of_client)).owner != "alice"
    users_only = issuers_of(issuer(require={"auth_time": "*"}))
    assert reason_of(partial(users_only.verify, token_of(of_client))) == "wrong_type"


def test_C26_one_jti_of_two_issuers_is_two_tokens() -> None:
    store, clock = MemoryStore(), Clock()
    issuers = issuers_of(*BOTH, store=store, clock=clock)
    mine = issuers.verify(token_of(claims_of()))
    theirs = token_of(claims_of(iss=THEIRS), number=1)
    store.mark(mine.slot, Kind.TOKEN, mine.mark, clock(), mine.ends)
    assert reason_of(partial(issuers.verify, token_of(claims_of()))) == "revoked"
    facts = issuers.verify(theirs)
    assert facts.jti == mine.jti
    # Also in one slot.
    store.mark(facts.slot, Kind.TOKEN, mine.mark, clock(), mine.ends)
    assert issuers.verify(theirs) is facts
