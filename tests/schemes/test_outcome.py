"""The values of a request cannot be changed, and say nothing secret of themselves."""

from __future__ import annotations

import hashlib
import pprint
from typing import Any

import pytest

from flask_jam.schemes.outcome import Accepted, Credential, Reason, Rejected, with_user

from ..cases import each_case

MARKER = "mArKeR"

CREDENTIAL = Credential("jwt", "header", MARKER)
ACCEPTED = Accepted("session", "cookie", MARKER, {MARKER: MARKER}, 1.0)
REJECTED = Rejected("jwt", Reason.EXPIRED, "header", "0123abcd")


@each_case(("value", "name"), [(CREDENTIAL, "value"), (ACCEPTED, "subject"), (REJECTED, "reason")])
def test_nothing_can_be_changed_on_the_way(value: Any, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(value, name, "other")
    with pytest.raises(AttributeError):
        value.other = 1


@each_case("value", [CREDENTIAL, ACCEPTED], ids=["credential", "accepted"])
def test_no_secret_and_no_claim_is_printed(value: Any) -> None:
    texts = (repr(value), str(value), f"{value}", f"{value!s} {value!r}", repr([value]),
             pprint.pformat({"x": value}))  # fmt: skip
    assert not [text for text in texts if MARKER in text]


def test_what_is_printed_says_what_it_is() -> None:
    assert repr(CREDENTIAL).startswith("Credential(scheme='jwt', source='header', value=•••")
    assert repr(ACCEPTED).startswith("Accepted(scheme='session', source='cookie'")


def test_a_cache_that_keys_by_repr_tells_two_callers_apart() -> None:
    others = [ACCEPTED._replace(subject="x"), ACCEPTED._replace(payload={"tenant": 2})]
    assert repr(ACCEPTED) == repr(Accepted(*ACCEPTED)) == repr(with_user(ACCEPTED, object()))
    assert len({repr(each) for each in (ACCEPTED, *others)}) == 3
    assert repr(CREDENTIAL) == repr(Credential(*CREDENTIAL))
    assert repr(CREDENTIAL) != repr(CREDENTIAL._replace(value="x"))
    assert hashlib.sha256(MARKER.encode()).hexdigest()[:8] not in repr(CREDENTIAL)


def test_a_fingerprint_is_the_first_eight_hex_digits_of_sha256() -> None:
    assert CREDENTIAL.fingerprint() == hashlib.sha256(MARKER.encode()).hexdigest()[:8]
    assert (
        Credential("session", "cookie", "é").fingerprint()
        == (hashlib.sha256("é".encode()).hexdigest()[:8])
    )


def test_a_value_that_no_encoding_carries_has_a_fingerprint_too() -> None:
    assert len(Credential("jwt", "header", "\udcff").fingerprint()) == 8


def test_a_rejection_may_know_no_more_than_its_reason() -> None:
    assert Rejected("jwt", Reason.MISSING) == ("jwt", Reason.MISSING, None, None, None, None)
