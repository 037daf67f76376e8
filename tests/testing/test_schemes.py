"""The conformance suite for schemes catches a scheme that breaks the contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flask_jam.errors import Reason
from flask_jam.schemes import Accepted, Credential, Requirement, Scheme
from flask_jam.testing.schemes import SchemeConformance

from ..schemes.test_interface import HeaderScheme


class Sound(HeaderScheme):
    def authenticate(self, credential: Credential, request: Any) -> Any:
        from flask_jam import TokenError

        if credential.value != "ann":
            raise TokenError(Reason.INVALID)
        return Accepted("key", credential.source, "ann", {})


class Suite(SchemeConformance):
    scheme: type[Scheme] = Sound

    def make_scheme(self) -> Scheme:
        return self.scheme()

    def good_request(self) -> dict[str, Any]:
        return {"headers": {"X-Key": "ann"}}

    def bad_requests(self) -> Iterator[dict[str, Any]]:
        yield {"headers": {"X-Key": "bob"}}


class TestSound(Suite):
    """A scheme that keeps the contract."""


class RaisesOther(Sound):
    def authenticate(self, credential: Credential, request: Any) -> Any:
        if credential.value != "ann":
            raise KeyError(credential.value)
        return super().authenticate(credential, request)


class SharesPayload(Sound):
    payload: dict[str, Any] = {}  # noqa: RUF012

    def authenticate(self, credential: Credential, request: Any) -> Any:
        return super().authenticate(credential, request)._replace(payload=self.payload)


class AcceptsAll(Sound):
    def authenticate(self, credential: Credential, request: Any) -> Any:
        return Accepted("key", credential.source, "ann", {})


class HidesVary(Sound):
    vary = ()


class BreaksHeader(Sound):
    def challenge(self, reason: Reason, requirement: Requirement) -> str | None:
        return "Key\r\nSet-Cookie: a=b"


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (RaisesOther, "test_a_bad_request_is_refused_with_a_reason"),
        (RaisesOther, "test_odd_headers_raise_nothing_unexpected"),
        (SharesPayload, "test_each_payload_is_a_new_one"),
        (AcceptsAll, "test_a_bad_request_is_refused_with_a_reason"),
        (AcceptsAll, "test_its_guard_lets_in_and_refuses"),
        (HidesVary, "test_vary_names_the_headers_that_are_read"),
        (BreaksHeader, "test_a_challenge_is_a_header_value_or_none"),
    ],
)
def test_a_scheme_that_breaks_the_contract_is_red(broken: type[Scheme], rule: str) -> None:
    suite = Suite()
    suite.scheme = broken
    with pytest.raises((Exception, pytest.fail.Exception)):
        getattr(suite, rule)()
