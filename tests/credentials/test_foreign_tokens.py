"""Tokens of other issuers: which rules count, and what holds under them."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jwt as pyjwt
import pytest

from flask_jam import Reason, TokenError
from flask_jam._credentials.claims import Facts
from flask_jam._credentials.issuer_keys import FetchedKeys
from flask_jam._credentials.key_fetch import FetchedJSON
from flask_jam.errors import IssuerUnavailable
from flask_jam.issuers import Issuer
from flask_jam.stores.interface import Kind
from flask_jam.stores.memory import MemoryStore

from ..attacks.forge import b64, compact, raw_json
from ..cases import each_case
from ..conftest import Clock
from ..providers import running
from ..test_keys import jwk_of, key_of, pem_of
from .accepting import Accepting, roles_of, scopes_of
from .test_issuer_keys import refresh

NOW = int(Clock().now)
ISS = "https://login.example.org/"
KEY = jwk_of("RSA2048", kid="a")
OTHER = jwk_of("RSA2048", number=1, kid="b")
TENANT = "aaaaaaaa-2222-3333-4444-555555555555"
ELSEWHERE = "99999999-2222-3333-4444-555555555555"


def claims_of(**more: Any) -> dict[str, Any]:
    usual = {"iss": ISS, "aud": "api", "sub": "alice", "jti": "t1", "iat": NOW, "exp": NOW + 600}
    return {name: value for name, value in {**usual, **more}.items() if value is not DROP}


DROP: Any = object()


def token_of(
    claims: Mapping[str, Any], *, alg: str = "RS256", number: int = 0, **header: Any
) -> str:
    named = {"alg": alg, "kid": "a", "typ": "JWT", **header}
    return signed({k: v for k, v in named.items() if v is not DROP}, claims, alg, number)


def signed(
    header: Mapping[str, Any], claims: Mapping[str, Any], alg: str = "RS256", number: int = 0
) -> str:
    key = key_of("RSA2048", number) if number else key_of("RSA2048")
    text = f"{b64(raw_json(dict(header)))}.{b64(raw_json(dict(claims)))}"
    return f"{text}.{b64(pyjwt.get_algorithm_by_name(alg).sign(text.encode(), key))}"


def issuer(iss: str = ISS, **rules: Any) -> Issuer:
    usual = {} if "jwks_uri" in rules else {"jwks": {"keys": [KEY]}}
    return Issuer(iss, **{"audience": "api", **usual, **rules})


def issuers_of(*given: Issuer, clock: Clock | None = None, **options: Any) -> Accepting:
    return Accepting(given or [issuer()], clock or Clock(), **options)


def facts_of(*, claims: Mapping[str, Any] | None = None, **rules: Any) -> Facts:
    return issuers_of(issuer(**rules)).verify(token_of(claims_of(**(claims or {}))))


def reason_of(call: Callable[[], Any]) -> Reason:
    with pytest.raises(TokenError) as caught:
        call()
    return caught.value.reason


# --- what holds -----------------------------------------------------------------------


def test_a_token_of_a_configured_issuer_holds_and_is_remembered() -> None:
    issuers = issuers_of()
    token = token_of(claims_of(scope="read write", groups=[{"a": 1}], jam_cut=["x", 1], fam="f"))
    facts = issuers.verify(token)
    assert (facts.issuer, facts.sub, facts.jti) == (ISS, "alice", "t1")
    assert (scopes_of(facts), roles_of(facts)) == (("read", "write"), ())
    # What only a token of our own may say counts for nothing here.
    assert (facts.cut_off, facts.family) == (None, None)
    assert "jam_cut" not in facts.fresh()
    assert issuers.verify(token) is facts
    assert issuers.cache_info()[:2] == (1, 1)
    facts.fresh()["groups"][0]["a"] = 2
    assert facts.fresh()["groups"] == [{"a": 1}]
    assert "alice" not in repr(facts)


SCOPES = [
    ({"scope": "a b"}, ("a", "b")), ({"scp": "a b"}, ("a", "b")), ({"scp": ["a", "b"]}, ("a", "b")),
    ({"scope": ["a"]}, ("a",)), ({"scope": "a", "scp": "b"}, ("a",)),
    ({"scope": 5, "scp": "b"}, ("b",)),
    ({"scope": None, "scp": ["b"]}, ("b",)), ({"scope": ["a", 5]}, ()), ({"scope": ""}, ()),
    ({"scope": {"a": 1}}, ()), ({"scope": True}, ()), ({}, ()), ({"scope": " a  b "}, ("a", "b")),
]  # fmt: skip


@each_case(("claims", "scopes"), SCOPES)
def test_scopes_are_those_of_the_first_claim_that_has_some(
    claims: dict[str, Any], scopes: tuple[str, ...]
) -> None:
    assert scopes_of(facts_of(claims=claims)) == scopes


NESTED = {"realm_access": {"roles": ["r"]}, "https://example.org/roles": ["u"],
          "a.b": ["dotted"], "a": {"b": ["inner"]}, "resource_access": {"my.app": {"roles": ["c"]}},
          "cognito:groups": ["g"], "text": "admin", "mixed": ["a", 5], "null": None}  # fmt: skip
ROLES = [
    ("realm_access.roles", ("r",)), ("https://example.org/roles", ("u",)), ("a.b", ("dotted",)),
    (("a", "b"), ("inner",)), (("resource_access", "my.app", "roles"), ("c",)),
    ("resource_access.my.app.roles", ()), ("cognito:groups", ("g",)), ("text", ()), ("mixed", ()),
    ("null", ()), ("missing", ()), ("realm_access.missing.roles", ()), ("text.roles", ()),
    ("https://example.org.roles", ()), (None, ()),
]  # fmt: skip


@each_case(("path", "roles"), ROLES)
def test_roles_are_a_list_of_strings_at_the_place_that_is_configured(
    path: Any, roles: tuple[str, ...]
) -> None:
    assert roles_of(facts_of(claims=NESTED, roles=path)) == roles


def test_a_subject_that_is_an_address_must_be_verified() -> None:
    address = {"email": "alice@example.org"}
    assert (
        facts_of(claims={**address, "email_verified": True}, subject="email").sub
        == address["email"]
    )
    for verified in (DROP, False, None, "true", 1, "yes", [True]):
        for subject in ("email", ("email",)):
            with pytest.raises(TokenError):
                facts_of(claims={**address, "email_verified": verified}, subject=subject)


# --- who has issued it ----------------------------------------------------------------

STRANGERS = [
    ISS[:-1], ISS + "/", ISS.upper(), ISS.replace("https", "http"), ISS + " ", "\0" + ISS,
    ISS + "\0", ISS.replace("login", "l\u043egin"), "", None, DROP, 5, True, [ISS], {"iss": ISS},
    "x" * 5000,
]  # fmt: skip


@each_case("iss", STRANGERS)
def test_an_issuer_that_is_not_exactly_a_configured_one_is_unknown(iss: Any) -> None:
    source = Counted()
    issuers = issuers_of(issuer(jwks_uri="https://login.example.org/keys"), sources=source)
    assert reason_of(lambda: issuers.verify(token_of(claims_of(iss=iss)))) == "wrong_issuer"
    assert source.fetched == 0


def test_an_iss_that_is_there_twice_is_no_token() -> None:
    payload = json.dumps(claims_of()).replace("{", '{"iss": "https://evil.example", ', 1).encode()
    token = compact({"alg": "RS256", "kid": "a", "typ": "JWT"}, payload, b"x" * 256)
    assert reason_of(lambda: issuers_of().verify(token)) == "invalid"


def test_one_issuer_has_one_entry() -> None:
    with pytest.raises(ValueError, match="two Issuers have one issuer"):
        issuers_of(issuer(), issuer(audience="other"))
    any_tenant = partial(issuer, TEMPLATE, tenants="any")
    with pytest.raises(ValueError, match="two Issuers have one issuer"):
        issuers_of(any_tenant(), any_tenant(audience="other"))


def test_facts_of_one_issuer_never_pass_under_the_rules_of_another() -> None:
    other = "https://other.example.org/"
    strict = issuer(other, audience="admin", roles="roles", algorithms=["PS256"])
    issuers = issuers_of(issuer(roles="groups"), strict)  # they share a key
    claims = claims_of(aud=["api", "admin"], roles=["root"], groups=["staff"])
    token = token_of(claims)
    assert roles_of(issuers.verify(token)) == ("staff",)
    swapped = token_of({**claims, "iss": other})
    assert reason_of(lambda: issuers.verify(swapped)) == "invalid"  # RS256 is not its algorithm
    theirs = issuers.verify(token_of({**claims, "iss": other}, alg="PS256"))
    assert roles_of(theirs) == ("root",)
    assert theirs.owner != issuers.verify(token).owner
    assert theirs.mark != issuers.verify(token).mark
    # Another verifier has other facts.
    assert reason_of(lambda: issuers_of(issuer(audience="x")).verify(token)) == "wrong_audience"


# --- what is refused ------------------------------------------------------------------

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no exp": ({"exp": DROP}, "invalid"),
    "exp as text": ({"exp": str(NOW + 60)}, "invalid"),
    "exp as a flag": ({"exp": True}, "invalid"),
    "exp beyond all numbers": ({"exp": 2**60}, "invalid"),
    "expired": ({"exp": NOW - 60}, "expired"),
    "not valid yet": ({"nbf": NOW + 61}, "not_yet_valid"),
    "made in the future": ({"iat": NOW + 61}, "not_yet_valid"),
    "lives too long": ({"exp": NOW + 86_401}, "invalid"),
    "lives too long and does not say since when": ({"iat": DROP, "exp": NOW + 90_000}, "invalid"),
    "no audience": ({"aud": DROP}, "wrong_audience"),
    "another audience": ({"aud": "other"}, "wrong_audience"),
    "audience in another case": ({"aud": "API"}, "wrong_audience"),
    "other audiences": ({"aud": ["other", "api2"]}, "wrong_audience"),
    "an empty list": ({"aud": []}, "wrong_audience"),
    "null as audience": ({"aud": None}, "wrong_audience"),
    "a number among audiences": ({"aud": ["api", 5]}, "invalid"),
    "an object as audience": ({"aud": {"api": 1}}, "invalid"),
    "no subject": ({"sub": DROP}, "invalid"),
    "an empty subject": ({"sub": ""}, "invalid"),
    "null as subject": ({"sub": None}, "invalid"),
    "a number as subject": ({"sub": 5}, "invalid"),
    "a subject with a control character": ({"sub": "al\nice"}, "invalid"),
    "a long subject": ({"sub": "a" * 257}, "invalid"),
    "a number as id": ({"jti": 5}, "invalid"),
    "of a key of the client": ({"cnf": {"jkt": "x"}}, "wrong_type"),
    "null as such a key": ({"cnf": None}, "wrong_type"),
    "a security event": ({"events": {}}, "wrong_type"),
    "an ID token with nonce": ({"nonce": "n"}, "wrong_type"),
    "an ID token with at_hash": ({"at_hash": "h"}, "wrong_type"),
    "an ID token with c_hash": ({"c_hash": "h"}, "wrong_type"),
    "an ID token of Cognito": ({"token_use": "id"}, "wrong_type"),
    "an ID token of Keycloak": ({"typ": "ID"}, "wrong_type"),
    "a refresh token of Keycloak": ({"typ": "Refresh"}, "wrong_type"),
    "an offline token of Keycloak": ({"typ": "Offline"}, "wrong_type"),
    "a logout token of Keycloak": ({"typ": "Logout"}, "wrong_type"),
    "a refresh token of simplejwt": ({"token_type": "refresh"}, "wrong_type"),
    "a refresh token of Flask-JWT-Extended": ({"type": "refresh"}, "wrong_type"),
}


@each_case("what", REFUSED)
def test_a_token_that_breaks_a_rule_is_refused_with_its_reason(what: str) -> None:
    claims, reason = REFUSED[what]
    issuers = issuers_of()
    token = token_of(claims_of(**claims))
    assert [reason_of(lambda: issuers.verify(token)) for _ in range(2)] == [reason, reason]
    assert issuers.cache_info().currsize == 0


def test_within_the_leeway_clocks_may_differ() -> None:
    for claims in ({"exp": NOW - 59}, {"nbf": NOW + 60}, {"iat": NOW + 60}, {"iat": DROP}):
        assert facts_of(claims=claims).sub == "alice"
    exact = issuers_of(issuer(leeway=0))
    assert reason_of(lambda: exact.verify(token_of(claims_of(exp=NOW)))) == "expired"


def test_a_token_seen_before_expires_and_a_clock_set_back_is_seen(clock: Clock) -> None:
    issuers = issuers_of(clock=clock)
    token = token_of(claims_of(nbf=NOW))
    issuers.verify(token)
    clock.tick(659)
    assert issuers.verify(token).sub == "alice"
    clock.tick(1)
    assert reason_of(lambda: issuers.verify(token)) == "expired"
    clock.tick(-1000)
    assert reason_of(lambda: issuers.verify(token)) == "not_yet_valid"


TYPES = [
    ("JWT", {}, True), ("jwt", {}, True), ("at+jwt", {}, True), ("application/at+JWT", {}, True),
    (DROP, {}, False), (DROP, {"typ_optional": True}, True), ("JWT", {"typ": "at+jwt"}, False),
    ("at+jwt", {"typ": "at+jwt"}, True), ("logout+jwt", {}, False), ("dpop+jwt", {}, False),
    ("logout+jwt", {"typ_optional": True}, False), (5, {"typ_optional": True}, False),
    ("", {"typ_optional": True}, False), ([], {"typ_optional": True}, False),
]  # fmt: skip


@each_case(("typ", "rules", "is_taken"), TYPES)
def test_the_type_is_one_that_the_rules_allow(
    typ: Any, rules: dict[str, Any], is_taken: bool
) -> None:
    token = token_of(claims_of(), typ=typ)
    issuers = issuers_of(issuer(**rules))
    if is_taken:
        assert issuers.verify(token).sub == "alice"
    else:
        assert reason_of(lambda: issuers.verify(token)) == "wrong_type"


def test_an_algorithm_that_is_not_listed_is_refused_whatever_the_key_says() -> None:
    issuers = issuers_of()
    for alg in ("RS512", "PS256"):
        assert reason_of(partial(issuers.verify, token_of(claims_of(), alg=alg))) == "invalid"
        assert issuers_of(issuer(algorithms=[alg])).verify(token_of(claims_of(), alg=alg))
    for alg in ("none", "HS256", "ES256", "rs256", "RS256 ", "", None, 5, [], {}):
        token = signed({"alg": alg, "kid": "a", "typ": "JWT"}, claims_of())
        assert reason_of(partial(issuers.verify, token)) == "invalid"
    # Signed with the public key as a secret.
    header = b64(raw_json({"alg": "HS256", "kid": "a", "typ": "JWT"}))
    text = f"{header}.{b64(raw_json(claims_of()))}"
    for secret in (raw_json(KEY), pem_of(key_of("RSA2048")).public.encode()):
        token = f"{text}.{b64(hmac.digest(secret, text.encode(), 'sha256'))}"
        assert reason_of(partial(issuers.verify, token)) == "invalid"


@each_case(
    "token", ["", "a.b", "a.b.c", "....", "x" * 9000, None, 5, b"a.b.c", "\udcff.a.b", "é.a.b"]
)
def test_what_is_no_token_is_refused(token: Any) -> None:
    assert reason_of(lambda: issuers_of().verify(token)) in {"invalid", "too_large"}


def test_nothing_in_a_token_is_fetched_or_used_as_a_key() -> None:
    with running(OTHER) as evil, running(KEY) as provider:
        issuers = issuers_of(issuer(jwks_uri=provider.jwks_uri))
        brought = {
            "jku": evil.jwks_uri,
            "x5u": evil.jwks_uri,
            "jwk": OTHER,
            "x5c": ["MII"],
            "x5t": "x",
        }
        for kid in ("a", "b", evil.jwks_uri, DROP):
            token = token_of(claims_of(), number=1, **{**brought, "kid": kid})
            assert reason_of(partial(issuers.verify, token)) == "invalid"
        assert issuers.verify(token_of(claims_of(), **brought)).sub == "alice"
        assert evil.asked == []
        assert len(provider.asked) <= 2
        issuers.close()


# --- keys -----------------------------------------------------------------------------


class Counted:
    """Sources of keys that count how often a set was fetched."""

    def __init__(self, *members: Any) -> None:
        self.members = list(members)
        self.fetched = 0
        self.clock = Clock()
        self.made: list[FetchedKeys] = []

    def __call__(self, rules: Issuer) -> FetchedKeys:
        self.made.append(FetchedKeys(rules, self.fetch, self.clock))
        return self.made[-1]

    def fetch(self, _rules: Issuer, _url: str | None) -> FetchedJSON:
        self.fetched += 1
        return FetchedJSON({"keys": list(self.members)}, None, "https://login.example.org/keys")


def remote(*members: Any, **rules: Any) -> tuple[Accepting, Counted]:
    source = Counted(*members)
    rules.setdefault("jwks_uri", "https://login.example.org/keys")
    return issuers_of(issuer(**rules), sources=source), source


def test_a_removed_key_is_refused_after_one_refresh_caches_included() -> None:
    issuers, source = remote(KEY, OTHER)
    token, others = token_of(claims_of()), token_of(claims_of(), number=1, kid="b")
    assert issuers.verify(token) is issuers.verify(token)
    issuers.verify(others)
    source.members.remove(KEY)
    refresh(source.made[0], source.clock)
    assert reason_of(lambda: issuers.verify(token)) == "invalid"
    assert issuers.verify(others).sub == "alice"
    issuers.close()


def test_a_refresh_that_changes_nothing_keeps_the_facts() -> None:
    issuers, source = remote(KEY)
    facts = issuers.verify(token_of(claims_of()))
    refresh(source.made[0], source.clock)
    assert issuers.verify(token_of(claims_of())) is facts
    assert source.fetched == 2
    issuers.close()


WRONG_BEFORE_KEYS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"exp": NOW - 61}, {}), ({"aud": "other"}, {}), ({"nonce": "n"}, {}), ({"sub": DROP}, {}),
    ({"exp": NOW + 90_000}, {}), ({"nbf": NOW + 61}, {}), ({}, {"typ": "logout+jwt"}),
]  # fmt: skip


def test_keys_are_waited_for_only_if_all_else_is_right() -> None:
    for claims, header in WRONG_BEFORE_KEYS:
        issuers, source = remote(KEY)
        token = token_of(claims_of(**claims), **header)
        reason = reason_of(partial(issuers.verify, token))
        # Nothing of it is verified, so no reason of its content is told.
        assert reason == ("wrong_type" if header else "invalid")
        assert source.fetched == 0
    issuers, source = remote(KEY)
    issuers.verify(token_of(claims_of()))
    for claims, header in WRONG_BEFORE_KEYS:
        token = token_of(claims_of(**claims), **{"kid": "unknown", **header})
        reason_of(partial(issuers.verify, token))
    bad = token_of(claims_of())[:-8] + "AAAAAAAA"
    assert reason_of(lambda: issuers.verify(bad)) == "invalid"
    assert source.fetched == 1
    issuers.close()


@pytest.mark.slow
def test_five_thousand_unknown_kids_cause_one_fetch() -> None:
    with running(KEY) as provider:
        issuers = issuers_of(issuer(jwks_uri=provider.jwks_uri))
        known = token_of(claims_of())
        issuers.verify(known)
        payload = claims_of()
        for number in range(5000):
            token = compact(
                {"alg": "RS256", "kid": f"k{number}", "typ": "JWT"}, payload, b"x" * 256
            )
            assert reason_of(partial(issuers.verify, token)) == "invalid"
        assert provider.asked == ["/keys", "/keys"]
        assert issuers.verify(known).sub == "alice"
        issuers.close()


def test_an_issuer_that_was_never_reached_is_unavailable_and_not_a_refusal() -> None:
    with running(KEY) as provider:
        provider.answers["/keys"] = lambda: provider.answer("/nothing")
        issuers = issuers_of(issuer(jwks_uri=provider.jwks_uri))
        for _ in range(3):
            with pytest.raises(IssuerUnavailable):
                issuers.verify(token_of(claims_of()))
        [state] = issuers.states().values()
        assert (state.kids, state.age, state.failures > 0) == ((), None, True)
        assert state.error is not None
        assert "404" in state.error
        issuers.close()


# --- tenants --------------------------------------------------------------------------

TEMPLATE = "https://login.microsoftonline.com/{tenantid}/v2.0"


def tenant_token(tenant: str = TENANT, **more: Any) -> str:
    return token_of(
        claims_of(iss=TEMPLATE.replace("{tenantid}", tenant), **{"tid": tenant, **more})
    )


@each_case("tenants", [TENANT, [TENANT.upper(), ELSEWHERE.replace("9", "8")], "any"])
def test_a_tenant_that_is_allowed_is_the_one_of_iss(tenants: Any) -> None:
    issuers = issuers_of(issuer(TEMPLATE, tenants=tenants))
    facts = issuers.verify(tenant_token())
    assert facts.issuer == TEMPLATE.replace("{tenantid}", TENANT)
    for wrong in (ELSEWHERE, TENANT.upper(), "", None, DROP, 5, [TENANT], "{tenantid}"):
        token = tenant_token(tid=wrong)
        assert reason_of(partial(issuers.verify, token)) == "wrong_issuer"
    for wrong in ("common", "{tenantid}", "x/../" + TENANT, TENANT.upper(), TENANT + "\n", "any"):
        token = tenant_token(wrong)
        assert reason_of(partial(issuers.verify, token)) == "wrong_issuer"
    other = tenant_token(ELSEWHERE)
    if tenants == "any":
        assert issuers.verify(other).issuer != facts.issuer
        assert issuers.verify(other).owner != facts.owner
    else:
        assert reason_of(lambda: issuers.verify(other)) == "wrong_issuer"


def test_a_key_of_another_tenant_signs_nothing_for_this_one() -> None:
    def with_key_of(issuer_of_key: str) -> Accepting:
        keys = {"keys": [{**KEY, "issuer": issuer_of_key}]}
        return issuers_of(issuer(TEMPLATE, tenants="any", jwks=keys))

    assert with_key_of(TEMPLATE).verify(tenant_token())
    assert with_key_of(TEMPLATE.replace("{tenantid}", TENANT)).verify(tenant_token())
    theirs = with_key_of(TEMPLATE.replace("{tenantid}", ELSEWHERE))
    assert reason_of(lambda: theirs.verify(tenant_token())) == "invalid"


# --- revocation -----------------------------------------------------------------------


def test_a_token_is_revoked_by_its_id_or_by_its_content(clock: Clock) -> None:
    store = MemoryStore()
    issuers = issuers_of(clock=clock, store=store)
    for jti in ("t1", DROP):
        token = token_of(claims_of(jti=jti))
        other = token_of(claims_of(jti="t2" if jti == "t1" else DROP, iat=NOW - 1))
        facts = issuers.verify(token)
        assert facts.mark != issuers.verify(other).mark
        store.mark(facts.slot, Kind.TOKEN, facts.mark, clock(), facts.ends)
        for _ in range(2):
            assert reason_of(partial(issuers.verify, token)) == "revoked"
        assert issuers.verify(other).sub == "alice"


def test_a_token_id_is_where_the_rules_say() -> None:
    assert facts_of(claims={"jti": DROP, "uti": "u1"}, jti="uti").jti == "u1"
    assert facts_of(claims={"uti": "u1"}, jti=None).jti is None
    # One jti of two issuers, and a jti that is the hash of another's content, are other marks.
    marks = {facts_of(claims={"jti": jti}).mark for jti in ("t1", "t2", DROP)}
    assert len(marks) == 3


def test_a_cut_off_of_a_subject_ends_the_tokens_of_its_issuer_only(clock: Clock) -> None:
    store = MemoryStore()
    other = "https://other.example.org/"
    issuers = issuers_of(issuer(), issuer(other), clock=clock, store=store)
    facts = issuers.verify(token_of(claims_of()))
    store.cut(facts.slot, facts.owner, clock(), clock() + 600)
    assert reason_of(lambda: issuers.verify(token_of(claims_of()))) == "revoked"
    assert reason_of(lambda: issuers.verify(token_of(claims_of(iat=DROP)))) == "revoked"
    assert issuers.verify(token_of(claims_of(iss=other))).sub == "alice"
    assert issuers.verify(token_of(claims_of(sub="bob"))).sub == "bob"
    clock.tick(2)
    assert issuers.verify(token_of(claims_of(iat=NOW + 2))).sub == "alice"
