"""Issuers: the rules that may be given, and the presets of providers.

The shapes of tokens are rebuilt from the documentation of each provider.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from flask_jam import ConfigError, TokenError
from flask_jam._credentials.claims import Facts
from flask_jam.issuers import PRESETS, Issuer, entra, firebase, from_table, google, keycloak

from .cases import each_case
from .conftest import Clock
from .credentials.accepting import Accepting, roles_of, scopes_of
from .credentials.test_foreign_tokens import DROP, KEY, NOW, token_of

URL = "https://login.example.org"
GUID, OTHER_GUID = "aaaaaaaa-2222-3333-4444-555555555555", "99999999-2222-3333-4444-555555555555"

# --- rules ----------------------------------------------------------------------------

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no audience": ({"audience": []}, "audience of an Issuer must be a string, or a list"),
    "an empty audience": ({"audience": ""}, "audience of an Issuer must be a non-empty"),
    "a number as audience": ({"audience": [5]}, "audience of an Issuer must be a string"),
    "no URL and no keys": ({"issuer": "urn:x"}, "write jwks_uri, where its keys are"),
    "plain http": ({"issuer": "http://login.example.org"}, "http is for loopback"),
    "a query": ({"issuer": f"{URL}?a=1"}, "write jwks_uri"),
    "an issuer with a newline": ({"issuer": f"{URL}\n"}, "issuer of an Issuer must be"),
    "an issuer of 8 kB": ({"issuer": URL + "x" * 8000}, "1 to 256 characters"),
    "keys over plain http": ({"jwks_uri": "http://login.example.org"}, "jwks_uri of an Issuer"),
    "keys in a file": ({"jwks_uri": "file:///keys"}, "jwks_uri of an Issuer must be a URL"),
    "keys twice": ({"jwks_uri": URL, "jwks": {"keys": [KEY]}}, "not both"),
    "keys that are none": ({"jwks": {"keys": []}}, "no usable key"),
    "keys as text": ({"jwks": "{}"}, "must be a JWK Set as a mapping"),
    "a secret": ({"algorithms": ["HS256"]}, "signatures with a public key"),
    "no signature": ({"algorithms": ["none"]}, "signatures with a public key"),
    "an unknown algorithm": ({"algorithms": "RS265"}, "did you mean RS256"),
    "no algorithm": ({"algorithms": []}, "algorithms of an Issuer"),
    "a type that is none": ({"typ": [5]}, "typ of an Issuer must be"),
    "a word for a flag": ({"typ_optional": "maybe"}, "typ_optional of an Issuer must be true"),
    "much leeway": ({"leeway": 301}, "leeway of an Issuer must be seconds from 0 to 300"),
    "no life": ({"max_lifetime": 0}, "max_lifetime of an Issuer"),
    "a number as path": ({"roles": 5}, "roles of an Issuer must name a claim"),
    "an empty path": ({"roles": ()}, "roles of an Issuer must name a claim"),
    "scopes as a mapping": ({"scopes": {}}, "scopes of an Issuer must be a list"),
    "a list that is required": ({"require": ["a"]}, "require of an Issuer must be a mapping"),
    "a number that is required": ({"require": {"a": 1}}, "require of an Issuer must map"),
    "tenants without a place": ({"tenants": [GUID]}, "stands for"),
    "a place without tenants": ({"issuer": f"{URL}/{{tenantid}}", "jwks_uri": URL}, "stands for"),
    "a tenant by name": ({"tenants": ["example.org"]}, "GUIDs"),
    "metadata of all tenants": (
        {"issuer": f"{URL}/{{tenantid}}", "tenants": [GUID]}, "must be a URL|write jwks_uri"),
}  # fmt: skip


@each_case("what", WRONG)
def test_a_wrong_rule_is_an_error_that_says_what_to_write(what: str) -> None:
    rules, sentence = WRONG[what]
    with pytest.raises(ConfigError, match=sentence):
        Issuer(**{"issuer": URL, "audience": "api", **rules})


def test_an_issuer_cannot_be_changed_and_prints_no_keys() -> None:
    issuer = Issuer(URL, audience="api", jwks={"keys": [KEY]})
    with pytest.raises(AttributeError):
        issuer.audience = "other"  # type: ignore[misc]
    assert KEY["n"] not in repr(issuer)
    assert issuer != Issuer(URL, audience="api", jwks={"keys": [KEY]})


# --- presets --------------------------------------------------------------------------


class Shape(NamedTuple):
    """A preset, a token as its provider makes them, and changes with which it must not pass."""

    issuer: Callable[..., Issuer]
    header: dict[str, Any]
    claims: dict[str, Any]
    scopes: tuple[str, ...]
    roles: tuple[str, ...]
    jti: str | None
    wrong: dict[str, dict[str, Any]]


ENTRA = "https://login.microsoftonline.com"
COGNITO = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Pool"
AUTH0 = "https://example.eu.auth0.com/"
KEYCLOAK = "https://sso.example.org/realms/main"
SHAPES = {
    "oidc": Shape(
        lambda **rules: PRESETS["oidc"](URL, audience="api", **rules),
        {"typ": DROP},
        {"iss": URL, "aud": "api", "sub": "u1", "scope": "read", "client_id": "c1"},
        ("read",), (), None,
        {
            "another audience": {"aud": "other"},
            "another issuer": {"iss": f"{URL}/"},
            "an ID token": {"nonce": "n"},
        },
    ),
    "auth0": Shape(
        lambda **rules: PRESETS["auth0"](
            "example.eu.auth0.com", audience="https://api.example.org", **rules),
        {},
        {"iss": AUTH0, "sub": "auth0|u1", "aud": ["https://api.example.org", f"{AUTH0}userinfo"],
         "azp": "client1", "scope": "openid read", "permissions": ["read:all"]},
        ("openid", "read"), ("read:all",), None,
        {
            "for the userinfo endpoint only": {"aud": [f"{AUTH0}userinfo"]},
            "of another tenant": {"iss": "https://other.eu.auth0.com/"},
            "without the slash": {"iss": AUTH0[:-1]},
            "an ID token": {"aud": "client1", "nonce": "n"},
        },
    ),
    "entra": Shape(
        lambda **rules: entra(GUID, audience="client1", **rules),
        {},
        {"iss": f"{ENTRA}/{GUID}/v2.0", "aud": "client1", "sub": "pairwise", "oid": OTHER_GUID,
         "tid": GUID, "azp": "client2", "azpacr": "1", "scp": "read write", "roles": ["Admin"],
         "uti": "u-t-i", "ver": "2.0", "nbf": NOW},
        ("read", "write"), ("Admin",), "u-t-i",
        {
            "another audience": {"aud": "client2"},
            "another tenant": {"iss": f"{ENTRA}/{OTHER_GUID}/v2.0", "tid": OTHER_GUID},
            "another tenant in tid": {"tid": OTHER_GUID},
            "an ID token of the same audience": {"azp": DROP, "azpacr": DROP, "scp": DROP},
            "version 1": {"iss": f"https://sts.windows.net/{GUID}/", "ver": "1.0"},
        },
    ),
    "entra 1": Shape(
        lambda **rules: entra(GUID, audience="api://client1", version=1, **rules),
        {"x5t": "thumbprint"},
        {"iss": f"https://sts.windows.net/{GUID}/", "aud": "api://client1", "sub": "pairwise",
         "tid": GUID, "appid": "client2", "scp": "read", "uti": "u-t-i", "ver": "1.0",
         "exp": NOW + 27 * 3600},
        ("read",), (), "u-t-i",
        {
            "another audience": {"aud": "api://client2"},
            "version 2": {"iss": f"{ENTRA}/{GUID}/v2.0"},
            "an ID token": {"appid": DROP},
            "longer than 28 hours": {"exp": NOW + 29 * 3600},
        },
    ),
    "entra of several tenants": Shape(
        lambda **rules: entra(tenants=[OTHER_GUID, GUID], audience="client1", **rules),
        {},
        {"iss": f"{ENTRA}/{GUID}/v2.0", "aud": "client1", "sub": "s", "tid": GUID, "azp": "c"},
        (), (), None,
        {
            "tid of another one of them": {"tid": OTHER_GUID},
            "the template": {"iss": f"{ENTRA}/{{tenantid}}/v2.0"},
            "no tid": {"tid": DROP},
        },
    ),
    "cognito": Shape(
        lambda **rules: PRESETS["cognito"](
            "eu-central-1", "eu-central-1_Pool", clients=["client1", "client2"], **rules),
        {"typ": DROP},
        {"iss": COGNITO, "sub": "u1", "client_id": "client1", "token_use": "access", "jti": "j",
         "scope": "aws.cognito.signin.user.admin", "cognito:groups": ["staff"], "username": "u1",
         "event_id": "e", "version": 2, "auth_time": NOW},
        ("aws.cognito.signin.user.admin",), ("staff",), "j",
        {
            "another client": {"client_id": "client3"},
            "another pool": {"iss": COGNITO.replace("Pool", "Other")},
            "an ID token": {"token_use": "id", "aud": "client1", "client_id": DROP},
            "an ID token that names a client": {"token_use": "id", "aud": "client1"},
            "without a use": {"token_use": DROP},
        },
    ),
    "keycloak": Shape(
        lambda **rules: keycloak("https://sso.example.org/", "main", audience="api", **rules),
        {},
        {"iss": KEYCLOAK, "aud": ["api", "account"], "sub": "u1", "typ": "Bearer", "azp": "spa",
         "scope": "openid email", "realm_access": {"roles": ["admin"]}, "jti": "onrtac:1",
         "resource_access": {"account": {"roles": ["manage-account"]}}, "sid": "s"},
        ("openid", "email"), ("admin",), "onrtac:1",
        {
            "the audience that all have": {"aud": "account"},
            "no audience": {"aud": DROP},
            "another realm": {"iss": KEYCLOAK.replace("main", "Main")},
            "an ID token": {"typ": "ID", "aud": "api", "at_hash": "h"},
            "a refresh token": {"typ": "Refresh"},
            "no type": {"typ": DROP},
        },
    ),
    "keycloak without a mapper": Shape(
        lambda **rules: keycloak(
            "https://sso.example.org", "main", audience="spa", audience_claim="azp",
            roles=("resource_access", "my.app", "roles"), **rules),
        {},
        {"iss": KEYCLOAK, "aud": "account", "sub": "u1", "typ": "Bearer", "azp": "spa",
         "resource_access": {"my.app": {"roles": ["editor"]}}},
        (), ("editor",), None,
        {
            "another client": {"azp": "other", "aud": "spa"},
            "no client": {"azp": DROP, "aud": "spa"},
            "an ID token": {"typ": "ID", "aud": "spa"},
        },
    ),
    "okta": Shape(
        lambda **rules: PRESETS["okta"]("example.okta.com", **rules),
        {"typ": DROP},
        {"iss": "https://example.okta.com/oauth2/default", "aud": "api://default", "ver": 1,
         "sub": "alice@example.org", "jti": "AT.1", "cid": "client1", "uid": "00u1",
         "scp": ["openid", "read"], "groups": ["Everyone"]},
        ("openid", "read"), ("Everyone",), "AT.1",
        {
            "another audience": {"aud": "api://other"},
            "the org server": {"iss": "https://example.okta.com"},
            "an ID token": {"cid": DROP, "aud": "client1", "at_hash": "h"},
            "an ID token without a hash": {"cid": DROP},
        },
    ),
    "google": Shape(
        lambda **rules: google(
            "c1.apps.googleusercontent.com", hosted_domain="example.org", **rules),
        {},
        {"iss": "https://accounts.google.com", "aud": "c1.apps.googleusercontent.com", "sub": "1",
         "azp": "c1.apps.googleusercontent.com", "hd": "example.org", "at_hash": "h", "nonce": "n",
         "email": "alice@example.org", "email_verified": True},
        (), (), None,
        {
            "another client": {"aud": "c2.apps.googleusercontent.com"},
            "another domain": {"hd": "evil.example"},
            "no domain": {"hd": DROP},
            "the other spelling of the issuer": {"iss": "accounts.google.com"},
            "of Firebase": {"iss": "https://securetoken.google.com/c1"},
        },
    ),
    "firebase": Shape(
        lambda **rules: firebase("my-project", **rules),
        {},
        {"iss": "https://securetoken.google.com/my-project", "aud": "my-project", "sub": "u1",
         "user_id": "u1", "auth_time": NOW, "firebase": {"sign_in_provider": "password"}},
        (), (), None,
        {
            "another project": {"iss": "https://securetoken.google.com/other", "aud": "other"},
            "the audience of another project": {"aud": "other"},
            "no login": {"auth_time": DROP},
            "a session cookie": {"iss": "https://session.firebase.google.com/my-project"},
            "no subject": {"sub": ""},
        },
    ),
}  # fmt: skip


def verified(shape: Shape, **changes: Any) -> Facts:
    times = {"iat": NOW, "exp": NOW + 300}
    claims = {**times, **shape.claims, **changes}
    token = token_of({k: v for k, v in claims.items() if v is not DROP}, **shape.header)
    return Accepting([shape.issuer(jwks={"keys": [KEY]})], Clock()).verify(token)


@each_case("name", SHAPES)
def test_a_preset_takes_its_providers_access_tokens_and_no_others(name: str) -> None:
    shape = SHAPES[name]
    facts = verified(shape)
    assert (facts.sub, scopes_of(facts), roles_of(facts), facts.jti) == (
        shape.claims["sub"],
        *shape[3:6],
    )
    assert facts.issuer == shape.claims["iss"]
    assert len(shape.wrong) >= 3
    for what, changes in shape.wrong.items():
        with pytest.raises(TokenError):
            pytest.fail(f"{what}: {verified(shape, **changes)}")
    with pytest.raises(TokenError):
        verified(shape, cnf={"jkt": "x"})


def test_each_preset_is_shown_and_fetches_nothing_before_it_is_asked() -> None:
    assert {name.split()[0] for name in SHAPES} == set(PRESETS)
    for name, shape in SHAPES.items():
        issuer = shape.issuer()
        assert name == "oidc" or str(issuer.jwks_uri).startswith("https://")


def test_what_a_preset_requires_is_required_with_what_is_added() -> None:
    shape = SHAPES["keycloak"]
    added = shape._replace(issuer=lambda **rules: shape.issuer(require={"azp": "spa"}, **rules))
    assert verified(added).sub == "u1"
    for changes in ({"azp": "other"}, {"typ": DROP}):
        with pytest.raises(TokenError):
            verified(added, **changes)


def test_required_values_are_compared_with_their_type() -> None:
    def passes(required: Any, value: Any) -> bool:
        rules = Issuer(URL, audience="api", jwks={"keys": [KEY]}, require={"x.y": required})
        claims = {"iss": URL, "aud": "api", "sub": "u", "exp": NOW + 60, "x": {"y": value}}
        try:
            return bool(Accepting([rules], Clock()).verify(token_of(claims)))
        except TokenError:
            return False

    assert passes(True, True)
    assert passes(["a", "b"], "b")
    assert passes("*", False)
    wrong = [(True, 1), (True, "true"), (False, 0), ("a", ["a"]), ("a", "A"), ("*", None)]
    assert not [case for case in wrong if passes(*case)]


# --- tables of a configuration file -----------------------------------------------------


def test_a_table_is_an_issuer_or_a_preset() -> None:
    okta = from_table({"preset": "okta", "domain": "example.okta.com", "leeway": 5})
    assert (okta.issuer, okta.leeway) == ("https://example.okta.com/oauth2/default", 5)
    assert from_table({"issuer": URL, "audience": ["a"], "everywhere": True}).everywhere
    nested = from_table({"issuer": URL, "audience": "a", "roles": ["realm_access", "roles"]})
    assert nested.roles == ("realm_access", "roles")


TABLES: dict[str, tuple[Any, str]] = {
    "no table": ("okta", "write each issuer as a table"),
    "a preset that is none": ({"preset": "auht0"}, "did you mean auth0"),
    "a preset that is no name": ({"preset": ["auth0"]}, "preset of an issuer is one of"),
    "a rule that is none": ({"issuer": URL, "audience": "a", "rolse": "r"}, "did you mean roles"),
    "a rule that a preset lacks": ({"preset": "okta", "domian": "x"}, "did you mean domain"),
    "rules by the word rules": ({"preset": "firebase", "project": "p", "rules": {}}, "no rule"),
    "an issuer that a preset knows": (
        {"preset": "firebase", "project": "p", "issuer": URL}, "issuer is no rule"),
    "an audience that is the clients": (
        {"preset": "google", "client_ids": "c", "audience": "a"}, "audience is no rule"),
    "no audience": ({"issuer": URL}, "an issuer needs audience"),
    "no domain": ({"preset": "auth0", "audience": "a"}, "an issuer needs domain"),
    "a name that is no text": ({5: URL}, "5 is no rule"),
    "a URL as domain": ({"preset": "okta", "domain": "https://x.okta.com"}, "without https://"),
    "a pool with a slash": (
        {"preset": "cognito", "region": "eu-1", "user_pool": "a/b", "clients": "c"}, "slashes"),
    "requirements that are a list": (
        {"preset": "okta", "domain": "x.okta.com", "require": ["cid"]}, "require is a mapping"),
    "a URL that is no string": (
        {"preset": "keycloak", "url": 5, "realm": "r", "audience": "a"}, "url is that of"),
    "two ways to say tenants": (
        {"preset": "entra", "audience": "a", "tenant": GUID, "tenants": "any"}, "entra takes"),
    "a version that is none": (
        {"preset": "entra", "audience": "a", "tenant": GUID, "version": 3}, "1 or 2"),
}  # fmt: skip


@each_case("what", TABLES)
def test_a_wrong_table_is_an_error_that_says_what_to_write(what: str) -> None:
    table, sentence = TABLES[what]
    with pytest.raises(ConfigError, match=sentence):
        from_table(table)


def test_every_preset_documents_its_arguments() -> None:
    for preset in PRESETS.values():
        own = [name for name in inspect.signature(preset).parameters if name != "rules"]
        assert preset.__doc__
        assert own
