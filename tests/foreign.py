"""Providers that issue tokens, for tests: a name, a key, and tokens signed with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jwt as pyjwt

from flask_jam.issuers import Issuer

from .conftest import Clock
from .test_keys import jwk_of, key_of

NOW = int(Clock().now)
#: As a claim: leave it out.
DROP: Any = object()


class Provider:
    """One service that issues tokens. Two of one ``number`` share their key."""

    def __init__(self, name: str, number: int = 0) -> None:
        self.name, self.number = name, number
        self.jwks = {"keys": [self.jwk()]}

    def jwk(self) -> dict[str, Any]:
        return jwk_of("P-256", number=self.number, kid=f"k{self.number}", alg="ES256")

    def issuer(self, **rules: Any) -> Issuer:
        usual = {"audience": "api", "algorithms": "ES256", "jwks": self.jwks}
        return Issuer(self.name, **{**usual, **rules})

    def claims(self, **more: Any) -> dict[str, Any]:
        usual = {"iss": self.name, "aud": "api", "sub": "ann", "jti": "t1",
                 "iat": NOW, "exp": NOW + 600}  # fmt: skip
        return {name: value for name, value in {**usual, **more}.items() if value is not DROP}

    def token(self, header: Mapping[str, Any] | None = None, **more: Any) -> str:
        key = key_of("P-256", self.number) if self.number else key_of("P-256")
        headers = {"kid": f"k{self.number}", "typ": "at+jwt", **(header or {})}
        return pyjwt.encode(self.claims(**more), key, "ES256", headers=headers)


A = Provider("https://a.example/", 1)
B = Provider("https://b.example/", 2)
#: Another issuer that signs with the key of A.
TWIN = Provider("https://twin.example/", 1)
