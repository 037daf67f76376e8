"""The exceptions: one tree, a reason on every refusal, and nothing lost on the way."""

from __future__ import annotations

import copy
import json
import pickle

import flask_jam
from flask_jam import (
    ConfigError,
    JamError,
    Reason,
    SessionError,
    StoreUnavailable,
    TokenError,
    errors,
)
from flask_jam._credentials.refresh_rotation import ReuseError

from .cases import each_case

PUBLIC = (ConfigError, TokenError, SessionError, StoreUnavailable)

EXAMPLES = (
    ConfigError("write this"),
    TokenError(Reason.EXPIRED),
    TokenError(Reason.INVALID, "exp is missing"),
    SessionError(),
    SessionError(Reason.TOO_LARGE, "a session holds at most 64 bytes"),
    StoreUnavailable(),
    StoreUnavailable("the store is being moved"),
    ReuseError("family", "ann"),
)


def test_whatever_this_package_raises_is_a_jam_error() -> None:
    assert all(issubclass(error, JamError) for error in PUBLIC)
    assert not any(issubclass(a, b) for a in PUBLIC for b in PUBLIC if a is not b)


def test_a_wrong_setting_is_a_value_error_too() -> None:
    assert issubclass(ConfigError, ValueError)


def test_the_tree_in_the_docstring_names_every_public_class() -> None:
    named = {"JamError", *(error.__name__ for error in PUBLIC)}
    assert named <= set((errors.__doc__ or "").split())
    assert all(getattr(flask_jam, name) for name in named)


def test_the_reasons_are_these_and_no_others() -> None:
    assert {reason.value for reason in Reason} == {
        "missing", "malformed", "too_large", "invalid", "expired", "not_yet_valid",
        "wrong_issuer", "wrong_audience", "wrong_type", "revoked", "reused", "unknown_session",
        "session_expired", "csrf", "insufficient_scope", "insufficient_role", "denied", "stale",
        "unknown_subject", "unavailable",
    }  # fmt: skip


@each_case("reason", Reason)
def test_a_reason_is_its_own_text(reason: Reason) -> None:
    assert reason == reason.value
    assert f"{reason}" == str(reason) == reason.value
    assert json.loads(json.dumps(reason)) == reason.value
    assert {reason.value: 1}[reason] == 1


def test_a_refusal_carries_its_reason_and_says_only_its_sentence() -> None:
    error = TokenError(Reason.EXPIRED, "the token has expired")
    assert error.reason is Reason.EXPIRED
    assert str(error) == "the token has expired"


def test_a_refusal_without_a_sentence_has_a_usual_one() -> None:
    assert str(TokenError(Reason.REVOKED)) == "the token is not valid"
    assert (SessionError().reason, str(SessionError())) == (
        Reason.UNKNOWN_SESSION, "the session is gone",
    )  # fmt: skip


def test_a_store_that_is_down_is_never_a_verdict() -> None:
    assert StoreUnavailable().reason is Reason.UNAVAILABLE
    assert not issubclass(StoreUnavailable, (TokenError, SessionError))


@each_case("error", EXAMPLES, ids=repr)
def test_an_exception_survives_the_way_between_two_processes(error: JamError) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert (str(twin), twin.args) == (str(error), error.args)
        assert vars(twin) == vars(error)
