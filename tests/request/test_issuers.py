"""Tokens of other issuers at the doors of an app: who comes in, who is seen, what is told."""

from __future__ import annotations

import gc
import json
import sys
from typing import Any

import pytest
from flask import Flask, g
from werkzeug.test import EnvironBuilder

from flask_jam import (
    ConfigError,
    Guard,
    Jam,
    JWTExtension,
    Reason,
    SessionExtension,
    TokenError,
    current_auth,
    jwt_required,
    protect,
    public,
    session_required,
)
from flask_jam.issuers import Issuer, entra
from flask_jam.policies import authorize, role, scope
from flask_jam.testing import capture, frozen_time

from ..cases import each_case
from ..conftest import SECRET, Clock, bearer
from ..foreign import DROP, NOW, TWIN, A, B, Provider

OWN = {"jwt": {"secret_key": SECRET}}
NAMED = jwt_required(issuers={A.name})
GUARDS = {
    "/plain": jwt_required,
    "/a": NAMED,
    "/b": jwt_required(issuers={B.name}),
    "/both": jwt_required(issuers={A.name, B.name}),
    "/own-or-a": NAMED | jwt_required,
    "/write": NAMED(scopes={"write"}) | jwt_required(scopes={"own"}),
    "/admin": NAMED(roles={"admin"}),
    "/optional": jwt_required(optional=True),
    "/a-or-session": NAMED | session_required,
    "/session": session_required,
}


def new_jam(clock: Clock, *issuers: Any, own: Any = OWN, **more: Any) -> Jam:
    return Jam({**(own or {}), **more}, clock=clock, issuers=issuers)


def said() -> dict[str, Any]:
    auth = current_auth()
    return {"who": auth and auth.identity, "payload": g.payload}


def app_of(jam: Jam, guards: dict[str, Guard] | None = None) -> Flask:
    app = Flask("app_under_test")
    JWTExtension(jam, app)
    session = SessionExtension(jam, app)
    for path, guard in (GUARDS if guards is None else guards).items():
        app.add_url_rule(path, path[1:].replace("-", "_"), guard(said))
    app.add_url_rule("/open", "open", public(said))
    app.add_url_rule("/login", "login", public(lambda: session.login("ann", issuer=A.name)))
    app.testing = True
    return app


@pytest.fixture
def jam(clock: Clock) -> Jam:
    return new_jam(clock, A.issuer(roles="realm.roles"), B.issuer())


@pytest.fixture
def app(jam: Jam) -> Flask:
    return app_of(jam)


def statuses(app: Flask, token: str, *paths: str) -> dict[str, int]:
    client = app.test_client()
    return {path: client.get(path, headers=bearer(token)).status_code for path in paths}


# --- who may come in ----------------------------------------------------------------------------


def test_an_issuer_opens_no_route_that_does_not_name_it(app: Flask, jam: Jam) -> None:
    paths = ("/plain", "/a", "/b", "/both", "/own-or-a", "/optional", "/session")
    assert statuses(app, A.token(), *paths) == {
        "/plain": 401, "/a": 200, "/b": 401, "/both": 200, "/own-or-a": 200, "/optional": 401,
        "/session": 401,
    }  # fmt: skip
    assert statuses(app, B.token(), *paths)["/a"] == 401
    assert statuses(app, jam.issue_tokens("ann")["access_token"], *paths) == {
        "/plain": 200, "/a": 401, "/b": 401, "/both": 401, "/own-or-a": 200, "/optional": 200,
        "/session": 401,
    }  # fmt: skip
    with pytest.raises(TokenError) as caught:
        jam.verify_jwt_token(A.token())
    assert caught.value.reason is Reason.WRONG_ISSUER


def test_the_only_issuer_of_a_service_without_a_key_comes_in_everywhere(clock: Clock) -> None:
    jam = new_jam(clock, A.issuer(), own=None)
    app = app_of(jam, {"/plain": jwt_required, "/a": NAMED})
    assert statuses(app, A.token(), "/plain", "/a") == {"/plain": 200, "/a": 200}
    assert statuses(app, B.token(), "/plain", "/a") == {"/plain": 401, "/a": 401}
    assert jam.verify_jwt_token(A.token())["iss"] == A.name


def test_with_a_second_issuer_or_an_own_key_each_must_be_named(clock: Clock) -> None:
    two = app_of(
        new_jam(clock, A.issuer(), B.issuer(everywhere=True), own=None), {"/plain": jwt_required}
    )
    assert statuses(two, A.token(), "/plain") == {"/plain": 401}
    assert statuses(two, B.token(), "/plain") == {"/plain": 200}
    for everywhere, expected in ((True, 200), (False, 401)):
        beside = app_of(new_jam(clock, A.issuer(everywhere=everywhere)), {"/plain": jwt_required})
        assert statuses(beside, A.token(), "/plain") == {"/plain": expected}


def test_no_key_is_invented_beside_issuers_and_minting_says_so(
    clock: Clock, recwarn: pytest.WarningsRecorder
) -> None:
    jam = new_jam(clock, A.issuer(), own=None)
    assert not recwarn.list
    for mint in (lambda: jam.issue_tokens("ann"), lambda: jam.gen_jwt_token({"sub": "ann"}),
                 lambda: jam.issue_tokens("ann", refresh=False)):  # fmt: skip
        with pytest.raises(ConfigError, match="jwt.secret_key"):
            mint()
    other = Jam(OWN, clock=clock).issue_tokens("ann")
    with pytest.raises(TokenError):
        jam.verify_jwt_token(other["access_token"])
    with pytest.raises(TokenError):
        jam.refresh_tokens(other["refresh_token"])


def test_no_token_is_minted_in_the_name_of_another_issuer(jam: Jam) -> None:
    with pytest.raises(TokenError) as caught:
        jam.gen_jwt_token({"sub": "ann", "iss": A.name})
    assert caught.value.reason is Reason.WRONG_ISSUER


@each_case(("rules", "says"), [
    ({"issuers": [A.issuer()], "jwt": {"issuer": A.name}}, "jwt.issuer"),
    ({"issuers": [A.issuer(), A.issuer()]}, "two Issuers"),
    ({"issuers": [{"preset": "auth1"}]}, "auth0"),
    ({"issuers": [5]}, "table"),
])  # fmt: skip
def test_issuers_that_contradict_are_an_error_at_start(rules: Any, says: str) -> None:
    jwt = {**OWN["jwt"], **rules.get("jwt", {})}
    with pytest.raises(ConfigError, match=says):
        Jam({"jwt": jwt, "issuers": rules["issuers"]})
    with pytest.raises(ConfigError, match="write a list"):
        Jam(OWN, issuers=A.issuer())  # type: ignore[arg-type]


def test_issuers_stand_in_a_file_in_the_app_config_or_in_the_environment(
    tmp_path: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = {"issuer": A.name, "audience": "api", "algorithms": ["ES256"], "jwks": A.jwks}
    inline = json.dumps([table], separators=(", ", " = "))
    file = tmp_path / "jam.toml"
    file.write_text(f"[jam]\nissuers = {inline}\n", encoding="utf-8")
    monkeypatch.setenv("JAM_ISSUERS", json.dumps([table]))
    app, configured = Flask("app_under_test"), Flask("app_under_test")
    JWTExtension(app=app)
    configured.config["JAM_ISSUERS"] = [A.issuer()]
    JWTExtension(app=configured)
    for jam in (Jam(file), app.extensions["jam"], configured.extensions["jam"]):
        assert [each.issuer for each in jam.issuers.states()] == [A.name]
        with frozen_time(jam, clock()):
            assert jam.verify_jwt_token(A.token())["sub"] == "ann"


@each_case(("guard", "says"), [
    (jwt_required(issuers={"https://a.example"}), "did you mean https://a.example/"),
    (jwt_required, "lets no caller in"),
])  # fmt: skip
def test_a_guard_that_could_let_nobody_in_is_found_at_the_first_request(
    clock: Clock, guard: Guard, says: str
) -> None:
    app = app_of(new_jam(clock, A.issuer(), B.issuer(), own=None), {"/x": guard})
    with pytest.raises(ConfigError, match=says):
        app.test_client().get("/x")


def test_a_guard_names_issuers_by_name_or_as_they_were_given() -> None:
    assert repr(jwt_required(issuers=[A.issuer()])) == repr(NAMED)
    for wrong in ("https://a.example/", set(), [5], None):
        with pytest.raises(ConfigError, match="issuers"):
            jwt_required(issuers=wrong)  # type: ignore[arg-type]


def test_a_guard_with_an_issuer_of_one_tenant_lets_in_no_other_tenant(clock: Clock) -> None:
    one, two = "1" * 8 + "-1111-1111-1111-" + "1" * 12, "2" * 8 + "-2222-2222-2222-" + "2" * 12
    sign = {"jwks": A.jwks, "algorithms": "ES256", "jti": "jti"}
    ours, theirs = (
        entra(tenant, audience=audience, **sign) for tenant, audience in ((one, "api"), (two, "b"))
    )
    template, other = ours.issuer, ours.of_tenant("3" * 8 + one[8:])
    guards = {
        "/ours": jwt_required(issuers=[ours]),
        "/theirs": jwt_required(issuers={theirs.of_tenant(two)}),
        "/all": jwt_required(issuers={template}),
    }
    jam = new_jam(clock, ours, theirs)
    app = app_of(jam, guards)
    for tenant, audience, door in ((one, "api", "/ours"), (two, "b", "/theirs")):
        iss = ours.of_tenant(tenant)
        token = A.token(iss=iss, tid=tenant, aud=audience, azp="client")
        expected = {"/ours": 401, "/theirs": 401, "/all": 200, door: 200}
        assert statuses(app, token, *expected) == expected
    assert [jam.verifier.is_taken(each, (ours.of_tenant(one),)) for each in (ours, theirs)] == [
        True,
        False,
    ]
    closed = app_of(jam, {"/x": jwt_required(issuers={other})})
    with pytest.raises(ConfigError, match="no issuer"):
        closed.test_client().get("/x")


# --- who is seen --------------------------------------------------------------------------------


def test_a_gate_that_asks_who_is_there_is_not_opened_by_an_issuer(app: Flask) -> None:
    seen: list[Any] = []
    app.before_request(lambda: seen.append(current_auth()))
    assert statuses(app, A.token(), "/open", "/plain", "/a", "/missing") == {
        "/open": 200, "/plain": 401, "/a": 200, "/missing": 404,
    }  # fmt: skip
    assert [auth and auth.identity for auth in seen] == [None, None, (A.name, "ann"), None]


def test_the_view_sees_whose_subject_it_is(app: Flask) -> None:
    answer = app.test_client().get("/a", headers=bearer(A.token(scope="read", email="x"))).json
    assert answer["who"] == [A.name, "ann"]
    assert (answer["payload"]["iss"], answer["payload"]["email"]) == (A.name, "x")


def test_equal_subjects_of_two_issuers_are_never_one_caller(app: Flask, jam: Jam) -> None:
    client = app.test_client()
    app.before_request(lambda: session_required(optional=True).enforce())
    cookie = jam.create_session("ann", {}, issuer=B.name)
    same = jam.create_session("ann", {}, issuer=A.name)
    for session_id, status in ((cookie, 400), (same, 200)):
        client.set_cookie("sessionId", session_id)
        assert client.get("/a", headers=bearer(A.token())).status_code == status


def test_a_session_made_for_an_issuer_says_so(app: Flask) -> None:
    client = app.test_client()
    client.get("/login", base_url="https://localhost")
    assert client.get("/session", base_url="https://localhost").json["who"] == [A.name, "ann"]
    assert client.get("/a-or-session", base_url="https://localhost").status_code == 200


# --- scopes and roles ---------------------------------------------------------------------------


def test_guards_and_policies_compare_what_the_mapping_made(app: Flask) -> None:
    @app.get("/policy")
    @NAMED
    def policy() -> dict[str, Any]:
        authorize(scope("write") & role("admin"))
        auth = current_auth()
        assert auth is not None
        return {"scopes": auth.scopes, "roles": auth.roles}

    paths = ("/write", "/admin", "/policy")
    good = A.token(scp=["read", "write"], realm={"roles": ["admin"]})
    assert statuses(app, good, *paths) == dict.fromkeys(paths, 200)
    # What the issuer writes into the names that own tokens use is nothing, unless its rules say so.
    raw = A.token(roles=["admin"], scp="read", realm={"roles": "admin"})
    assert statuses(app, raw, *paths) == dict.fromkeys(paths, 403)
    assert statuses(app, A.token(scp=["write read", "x"]), "/write") == {"/write": 403}


def test_of_two_rules_the_one_that_takes_the_issuer_refuses(app: Flask, jam: Jam) -> None:
    client = app.test_client()
    for token in (A.token(), jam.issue_tokens("ann")["access_token"]):
        assert client.get("/write", headers=bearer(token)).status_code == 403
    assert client.get("/write", headers=bearer(B.token())).status_code == 401


def test_a_refusal_tells_the_signal_whose_subject_it_was(app: Flask) -> None:
    from flask_jam import signals

    with capture(signals.rejected, app) as heard:
        statuses(app, A.token(), "/plain", "/write")
    assert [(each.reason, each.subject, each.issuer) for each in heard] == [
        (Reason.WRONG_ISSUER, "ann", A.name), (Reason.INSUFFICIENT_SCOPE, "ann", A.name),
    ]  # fmt: skip


# --- revocation ---------------------------------------------------------------------------------


def test_a_foreign_token_is_revoked_as_text_or_by_who_presented_it(app: Flask, jam: Jam) -> None:
    @app.post("/revoke")
    @NAMED
    def revoke() -> dict[str, bool]:
        auth = current_auth()
        assert auth is not None
        return {"was": jam.revoke_token(auth)}

    for more in ({"jti": "x"}, {"jti": DROP}):
        token, other = A.token(**more), A.token(jti=DROP, n=1)
        assert statuses(app, token, "/a") == {"/a": 200}
        assert app.test_client().post("/revoke", headers=bearer(token)).json == {"was": True}
        assert statuses(app, token, "/a") == {"/a": 401}
        assert not jam.revoke_token(token)
        assert statuses(app, other, "/a") == {"/a": 200}
    assert jam.revoke_token(other)
    assert statuses(app, other, "/a") == {"/a": 401}
    # Of an issuer that is none of ours, and with a signature that is wrong: no error (RFC 7009).
    assert not jam.revoke_token(TWIN.token())
    assert not jam.revoke_token(A.token(jti="y")[:-4] + "AAAA")


def test_a_foreign_token_ends_by_the_leeway_of_its_issuer(clock: Clock) -> None:
    own = {"jwt": {**OWN["jwt"], "leeway": 300}}
    jam = new_jam(clock, A.issuer(everywhere=True, leeway=0), own=own)
    foreign, ours = A.token(), jam.gen_jwt_token({"sub": "ann", "exp": NOW + 600})
    clock.tick(700)
    assert jam.verify_jwt_token(ours)
    for _ in range(2):
        with pytest.raises(TokenError) as caught:
            jam.verify_jwt_token(foreign)
        assert caught.value.reason is Reason.EXPIRED


def test_a_cut_off_is_kept_as_long_as_a_token_of_any_issuer_may_live(clock: Clock) -> None:
    life = 500 * 86400
    jam = new_jam(clock, A.issuer(everywhere=True, max_lifetime=life))
    token = A.token(exp=NOW + life)
    jam.revoke_subject("ann", A.name)
    clock.tick(life - 60)
    with pytest.raises(TokenError) as caught:
        jam.verify_jwt_token(token)
    assert caught.value.reason is Reason.REVOKED


def test_claims_name_a_foreign_token_only_by_its_id(app: Flask, jam: Jam) -> None:
    token = A.token(jti="by-claims")
    assert jam.revoke_token(A.claims(jti="by-claims"))
    assert statuses(app, token, "/a") == {"/a": 401}
    with pytest.raises(TokenError, match="pass the token"):
        jam.revoke_token(A.claims(jti=DROP))


def test_a_cut_off_ends_the_tokens_of_its_issuer_only(app: Flask, jam: Jam, clock: Clock) -> None:
    tokens = {"/a": A.token(), "/b": B.token(), "/plain": jam.issue_tokens("ann")["access_token"]}

    def states() -> list[int]:
        return [statuses(app, token, path)[path] for path, token in tokens.items()]

    assert states() == [200, 200, 200]
    jam.revoke_subject("ann", A.name)
    assert states() == [401, 200, 200]
    jam.revoke_subject("ann")
    assert states() == [401, 200, 401]
    clock.tick(5)
    tokens["/a"] = A.token(jti="later", iat=int(clock.now))
    assert states() == [200, 200, 401]
    assert statuses(app, A.token(jti="x", iat=DROP), "/a") == {"/a": 401}


def test_claims_that_only_we_write_mean_nothing_in_a_foreign_token(app: Flask, jam: Jam) -> None:
    jwt = app.extensions["flask_jam"].owners["jwt"]
    app.add_url_rule("/handle", "handle", NAMED(lambda: {"handle": jwt.handle()}))
    said = app.test_client().get("/handle", headers=bearer(A.token(fam="x" * 45))).json
    assert said == {"handle": None}
    jam.revoke_subject("ann", A.name)
    forever = [jam.store.identity(), 9e9]
    assert statuses(app, A.token(jam_cut=forever, fam="x" * 45), "/a") == {"/a": 401}


def test_an_allow_list_is_of_own_tokens(clock: Clock) -> None:
    jam = new_jam(clock, A.issuer(everywhere=True), own={"jwt": {**OWN["jwt"], "list": "allow"}})
    token = A.token()
    assert jam.verify_jwt_token(token)
    assert jam.revoke_token(token)
    with pytest.raises(TokenError):
        jam.verify_jwt_token(token)


def test_a_logout_ends_the_foreign_token_that_it_came_with(app: Flask, jam: Jam) -> None:
    from flask_jam import signals

    app.add_url_rule(
        "/logout",
        "logout",
        lambda: (app.extensions["flask_jam"].owners["jwt"].logout(), "ok")[1],
        methods=["POST"],
    )
    with capture(signals.logged_out, app) as heard:
        assert app.test_client().post("/logout", headers=bearer(A.token())).status_code == 200
    assert statuses(app, A.token(), "/a") == {"/a": 401}
    assert [(each.subject, each.issuer) for each in heard] == [("ann", A.name)]


def test_a_login_does_not_end_the_foreign_token_of_an_equal_subject(app: Flask, jam: Jam) -> None:
    app.add_url_rule(
        "/jwt-login",
        "jwt_login",
        lambda: app.extensions["flask_jam"].owners["jwt"].login("ann"),
        methods=["POST"],
    )
    assert app.test_client().post("/jwt-login", headers=bearer(A.token())).status_code == 200
    assert statuses(app, A.token(), "/a") == {"/a": 200}


# --- facts and rules ----------------------------------------------------------------------------


def test_a_fact_of_one_issuer_never_passes_under_the_rules_of_another(clock: Clock) -> None:
    """Two issuers and the service itself have one key, and other audiences."""
    own_key = {"jwt": {"alg": "ES256", "public_key": pem_of(A), "audience": "mine"}}
    jam = new_jam(clock, A.issuer(), TWIN.issuer(audience="twin", roles="roles"), own=own_key)
    guards = {"/plain": jwt_required, "/a": NAMED, "/twin": jwt_required(issuers={TWIN.name})}
    app, paths = app_of(jam, guards), tuple(guards)
    tokens = {"a": A.token(), "twin": TWIN.token(aud="twin"), "own": A.token(iss=DROP, aud="mine")}
    for _ in range(2):  # the second time, from the cache
        assert [list(statuses(app, token, *paths).values()) for token in tokens.values()] == [
            [401, 200, 401], [401, 401, 200], [200, 401, 401],
        ]  # fmt: skip
    for wrong in (A.token(aud="twin"), A.token(aud="mine"), TWIN.token(aud=["api", "mine"])):
        assert set(statuses(app, wrong, *paths).values()) == {401}
    jam.revoke_token(tokens["a"])
    assert list(statuses(app, tokens["twin"], *paths).values()) == [401, 401, 200]


def pem_of(provider: Provider) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from ..test_keys import key_of

    key = key_of("P-256", provider.number).public_key()
    return str(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def test_a_key_that_left_the_set_is_refused_though_its_token_was_known(clock: Clock) -> None:
    jam = new_jam(clock, A.issuer(everywhere=True))
    token = A.token()
    assert jam.verify_jwt_token(token) == jam.verify_jwt_token(token)
    (keys,) = jam.issuers._sources.values()  # type: ignore[union-attr]
    keys.ring = B.issuer().static_keys()  # type: ignore[misc]
    with pytest.raises(TokenError):
        jam.verify_jwt_token(token)


def test_a_directory_of_own_keys_is_an_own_key(clock: Clock, tmp_path: Any) -> None:
    directory = tmp_path / "keys"
    directory.mkdir(mode=0o700)
    jam = new_jam(clock, A.issuer(), own={"jwt": {"keyring": str(directory)}})
    app = app_of(jam, {"/plain": jwt_required, "/a": NAMED})
    app.test_cli_runner().invoke(args=["jam", "keyring", "rotate"])
    assert jam.keyring_watch is not None
    jam.keyring_watch.look()
    own = jam.issue_tokens("ann")["access_token"]
    for _ in range(2):
        assert statuses(app, own, "/plain", "/a") == {"/plain": 200, "/a": 401}
        assert statuses(app, A.token(), "/plain", "/a") == {"/plain": 401, "/a": 200}


def test_protect_and_a_view_may_name_different_issuers(clock: Clock) -> None:
    app = app_of(new_jam(clock, A.issuer(), B.issuer()), {"/b": jwt_required(issuers={B.name})})
    protect(app, jwt_required(issuers={A.name, B.name}))
    assert statuses(app, A.token(), "/b") == {"/b": 401}
    assert statuses(app, B.token(), "/b") == {"/b": 200}


# --- a provider that is down --------------------------------------------------------------------


def test_missing_issuer_keys_are_a_503_on_guarded_routes_only(
    clock: Clock,
) -> None:
    # Nobody listens there.
    down = Issuer("https://down.example/", audience="api", algorithms="ES256",
                  jwks_uri="http://127.0.0.1:9/keys", everywhere=True)  # fmt: skip
    jam = new_jam(clock, down, A.issuer())
    app = app_of(jam, {"/plain": jwt_required, "/a": NAMED, "/optional": GUARDS["/optional"]})
    token, own = A.token(iss=down.issuer), jam.issue_tokens("ann")["access_token"]
    client = app.test_client()
    refused = client.get("/plain", headers=bearer(token))
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert "WWW-Authenticate" not in refused.headers
    assert statuses(app, token, "/optional", "/a", "/open") == {
        "/optional": 503, "/a": 503, "/open": 200,
    }  # fmt: skip
    assert client.get("/open", headers=bearer(token)).json["who"] is None
    assert statuses(app, own, "/plain", "/open") == {"/plain": 200, "/open": 200}
    assert statuses(app, A.token(), "/a") == {"/a": 200}
    # What is wrong with it without any key is a 401 as ever.
    for bad in ({"exp": NOW - 99}, {"aud": "other"}, {"sub": DROP}):
        assert statuses(app, A.token(iss=down.issuer, **bad), "/plain") == {"/plain": 401}
    assert jam.issuers is not None
    jam.issuers.close()  # else its thread goes on trying


# --- what it costs ------------------------------------------------------------------------------


def calls(app: Flask, token: str, path: str) -> int:
    """Count the Python functions that run in one request with a token that was seen before."""
    environ = EnvironBuilder(path=path, headers=bearer(token)).get_environ()
    for _ in range(2):
        assert b"".join(app(dict(environ), lambda *_: lambda _: None))
    counted = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal counted
        counted += event == "call"

    again = dict(environ)
    gc.disable()  # a collection calls what waits for the end of objects of other tests
    sys.setprofile(count)
    try:
        list(app(again, lambda *_: lambda _: None))
    finally:
        sys.setprofile(None)
        gc.enable()
    return counted


def test_a_foreign_token_seen_before_costs_what_an_own_one_costs(clock: Clock) -> None:
    alone, both = new_jam(clock), new_jam(clock, A.issuer(everywhere=True))
    token = alone.issue_tokens("ann")["access_token"]
    own, beside = (app_of(jam, {"/plain": jwt_required}) for jam in (alone, both))
    only = app_of(new_jam(clock, A.issuer(), own=None), {"/plain": jwt_required})
    found = {calls(app, each, "/plain") for app, each in (
        (own, token), (beside, token), (beside, A.token()), (only, A.token()))}  # fmt: skip
    assert len(found) == 1
