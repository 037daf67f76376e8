"""Tokens of other issuers: which rules count, and what holds under them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jwt as pyjwt

from flask_jam._credentials.foreign_tokens import Issuers
from flask_jam.issuers import Issuer

from ..conftest import Clock
from ..test_keys import jwk_of, key_of

NOW = int(Clock().now)
ISS = "https://login.example.org/"
KEYS = {"keys": [jwk_of("RSA2048", kid="a")]}


def claims_of(**more: Any) -> dict[str, Any]:
    usual = {"iss": ISS, "aud": "api", "sub": "alice", "jti": "t1", "iat": NOW, "exp": NOW + 600}
    return {name: value for name, value in {**usual, **more}.items() if value is not None}


def token_of(
    claims: Mapping[str, Any], *, alg: str = "RS256", number: int = 0, **header: Any
) -> str:
    headers = {"kid": "a", "typ": "JWT", **header}
    key = key_of("RSA2048", number) if number else key_of("RSA2048")
    return pyjwt.encode(dict(claims), key, alg, headers=headers)


def issuers_of(*given: Issuer, **options: Any) -> Issuers:
    return Issuers(given or [issuer()], options.pop("clock", Clock()), **options)


def issuer(iss: str = ISS, **rules: Any) -> Issuer:
    return Issuer(iss, **{"audience": "api", "jwks": KEYS, **rules})


def test_a_token_of_a_configured_issuer_holds_and_is_remembered() -> None:
    issuers = issuers_of()
    token = token_of(claims_of(scope="read write"))
    facts = issuers.verify(token)
    assert (facts.iss, facts.sub, facts.jti, facts.scopes) == (
        ISS,
        "alice",
        "t1",
        ("read", "write"),
    )
    assert issuers.verify(token) is facts
    assert issuers.cache_info().hits == 1
