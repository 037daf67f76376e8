"""A stand-in for a provider: its tokens pass under the provider's own rules, and only there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from flask_jam import ConfigError, Jam, JWTExtension, TokenError, current_auth, jwt_required
from flask_jam.issuers import (
    Issuer,
    auth0,
    cognito,
    entra,
    firebase,
    google,
    keycloak,
    oidc,
    okta,
)
from flask_jam.testing import StandIn

from ..cases import each_case
from ..conftest import Clock
from ..foreign import A

TENANT = "11111111-2222-3333-4444-555555555555"
#: Each with whether it has a place for scopes, and for roles.
PROVIDERS: dict[str, tuple[Issuer, bool, bool]] = {
    "oidc": (oidc("https://idp.example", audience="api"), True, False),
    "auth0": (auth0("x.eu.auth0.com", audience="api"), True, True),
    "entra": (entra(TENANT, audience="api"), True, True),
    "entra v1": (entra(tenants="any", audience="api", version=1), True, True),
    "cognito": (cognito("eu-west-1", "eu-west-1_A", clients=["c"]), True, True),
    "keycloak": (keycloak("https://sso.example", "shop", audience="api"), True, True),
    "okta": (okta("x.okta.com"), True, True),
    "google": (google("client", hosted_domain="example.org"), False, False),
    "firebase": (firebase("project"), False, False),
    "email": (google("client", subject="email", roles=("a", "b.c")), False, True),
    "elliptic": (A.issuer(roles="https://x.example/roles", algorithms=["ES256"]), True, True),
}


def quick(issuer: Issuer) -> Issuer:
    """The same rules for a key that is made at once."""
    return replace(issuer, algorithms="ES256")


@each_case("name", PROVIDERS)
def test_its_tokens_pass_under_the_rules_of_each_preset(name: str, clock: Clock) -> None:
    issuer, has_scopes, has_roles = PROVIDERS[name]
    provider = StandIn(quick(issuer), clock)
    jam = Jam({}, clock=clock, issuers=[provider.issuer])
    scopes = {"scopes": ["read", "write"]} if has_scopes else {}
    roles = {"roles": ["admin"]} if has_roles else {}
    claims = jam.verify_jwt_token(provider.token("ann", **scopes, **roles))
    assert claims.get("scope", "").split() == scopes.get("scopes", [])
    assert claims.get("roles", []) == roles.get("roles", [])
    for wrong in ({"exp": int(clock.now) - 99}, {"iss": "https://other.example"}):
        with pytest.raises(TokenError):
            jam.verify_jwt_token(provider.token("ann", **wrong))


def test_its_headers_pass_the_guard_that_names_the_issuer(clock: Clock) -> None:
    provider, other = (
        StandIn(auth0(f"{name}.auth0.com", audience="api", algorithms="ES256"), clock)
        for name in "xy"
    )
    app = Flask("app_under_test")
    JWTExtension(Jam({}, clock=clock, issuers=[provider.issuer]), app)
    guard = jwt_required(issuers=[provider.issuer], roles={"admin"})

    def who() -> Any:
        auth = current_auth()
        return [] if auth is None else list(auth.identity or ())

    app.add_url_rule("/", "who", guard(who))
    client = app.test_client()
    answer = client.get("/", headers=provider.headers("ann", roles=["admin"]))
    assert answer.json == ["https://x.auth0.com/", "ann"]
    assert client.get("/", headers=provider.headers("ann")).status_code == 403
    assert client.get("/", headers=other.headers("ann", roles=["admin"])).status_code == 401
    forged = other.headers("ann", roles=["admin"], iss=provider.issuer.issuer)
    assert client.get("/", headers=forged).status_code == 401


def test_what_it_cannot_do_is_an_error() -> None:
    provider = StandIn(google("client", algorithms="ES256"))
    for wrong in (lambda: provider.token("ann", scopes=["a"]),
                  lambda: provider.token("ann", roles=["a"]),
                  lambda: StandIn("https://idp.example")):  # type: ignore[arg-type]  # fmt: skip
        with pytest.raises(ConfigError):
            wrong()
