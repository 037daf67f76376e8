"""What operators are told of other issuers: their keys, what is too wide, and why one refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from flask_jam import Jam, JWTExtension, SessionExtension
from flask_jam._cli.doctor import examine
from flask_jam._cli.inspection import inspect
from flask_jam._credentials.foreign_tokens import Issuers
from flask_jam.issuers import Issuer, entra

from ..cases import each_case
from ..conftest import SECRET, Clock
from ..foreign import NOW, TWIN, A, B
from .test_commands import run

#: Where nobody listens.
NOWHERE = "http://127.0.0.1:9/keys"


def new_app(clock: Clock, *issuers: Issuer, own: Any = SECRET) -> Flask:
    app = Flask("app_under_test", static_folder=None)
    jam = Jam({"jwt": {"secret_key": own}} if own else {}, clock=clock, issuers=issuers)
    JWTExtension(jam, app)
    SessionExtension(jam, app)
    if jam.issuers is not None:
        _started.append(jam.issuers)
    return app


_started: list[Issuers] = []


@pytest.fixture(autouse=True)
def no_thread_goes_on_trying() -> Iterator[None]:
    yield
    while _started:
        _started.pop().close()


def unreachable(**rules: Any) -> Issuer:
    return Issuer("https://down.example/", audience="api", jwks_uri=NOWHERE, **rules)


@pytest.fixture
def jam(clock: Clock) -> Jam:
    return Jam({"jwt": {"secret_key": SECRET}}, clock=clock, issuers=[A.issuer(roles="groups")])


def test_each_issuer_is_listed_with_its_keys_and_who_takes_its_tokens(clock: Clock) -> None:
    app = new_app(clock, A.issuer(), B.issuer(everywhere=True))
    shown = run(app, "issuers")
    lines = shown.stdout.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["https://a.example/", "ok", "1"], ["https://b.example/", "ok", "1"],
    ]  # fmt: skip
    assert ("guards that name it" in lines[1], "every guard" in lines[2]) == (True, True)
    assert shown.exit_code == 0


def test_issuers_of_two_tenants_are_told_apart(clock: Clock) -> None:
    tenants = [digit * 8 + f"-{digit * 4}" * 3 + "-" + digit * 12 for digit in "12"]
    ours = [entra(each, audience="api", jwks=A.jwks, algorithms="ES256") for each in tenants]
    shown = run(new_app(clock, *ours), "issuers").stdout
    for tenant in tenants:
        assert f"https://login.microsoftonline.com/{tenant}/v2.0 " in shown


def test_an_issuer_without_keys_is_told_with_the_reason(clock: Clock) -> None:
    app = new_app(clock, unreachable())
    shown = run(app, "issuers", "--format", "json")
    (state,) = json.loads(shown.stdout)
    assert (state["keys"], state["age"], state["source"]) == (0, None, NOWHERE)
    assert state["state"].startswith("503: no keys (")
    assert (bool(state["error"]), shown.exit_code) == (True, 1)


def test_without_other_issuers_the_command_says_where_to_begin(clock: Clock) -> None:
    assert "flask_jam.issuers" in run(new_app(clock), "issuers").stdout


# --- inspect -----------------------------------------------------------------------------------


def test_inspect_shows_what_the_rules_make_of_a_foreign_token(jam: Jam) -> None:
    found = inspect(jam, A.token(scp=["read"], groups=["staff"]))
    assert {name: found[name] for name in ("good", "issuer", "subject", "scope", "roles")} == {
        "good": True, "issuer": A.name, "subject": "ann", "scope": "read", "roles": ["staff"],
    }  # fmt: skip
    assert found["taken_by"] == "guards that name it"


@each_case(("token", "reason", "detail"), [
    (lambda: B.token(), "invalid", "no configured issuer; did you mean https://a.example/"),
    (lambda: A.token(iss="https://a.example"), "invalid", "did you mean https://a.example/"),
    (lambda: A.token(aud="other"), "wrong_audience", "audience"),
    (lambda: A.token(exp=NOW - 100), "expired", "has expired"),
    (lambda: A.token({"typ": "logout+jwt"}), "wrong_type", "typ is not that"),
    (lambda: A.token({"kid": "other"}), "invalid", "kid is none of the issuer's 1 key"),
    (lambda: B.token(iss=A.name), "invalid", "kid is none"),
    (lambda: TWIN.token(iss=A.name)[:-8] + "A" * 8, "invalid", "the signature is not"),
])  # fmt: skip
def test_inspect_says_which_rule_a_foreign_token_breaks(
    jam: Jam, token: Any, reason: str, detail: str
) -> None:
    found = inspect(jam, token())
    assert (found["good"], found["reason"]) == (False, reason)
    assert detail in found["detail"]


def test_inspect_tells_keys_that_cannot_be_had_from_a_bad_token(clock: Clock) -> None:
    jam = new_app(clock, unreachable(algorithms="ES256")).extensions["jam"]
    found = inspect(jam, A.token(iss="https://down.example/"))
    assert (found["good"], found["reason"]) == (False, "unavailable")
    assert "flask jam issuers" in found["detail"]


def test_the_commands_end_what_an_issuers_user_has(shared_app: Flask) -> None:
    jam: Jam = shared_app.extensions["jam"]
    own = jam.create_session("ann", {})
    for command in ("sessions", "logins"):
        jam.create_session("ann", {}, issuer=A.name)
        listed = run(shared_app, command, "ann", "--issuer", A.name, "--format", "json").stdout
        assert len(json.loads(listed)) == (1 if command == "sessions" else 2)
    assert inspect(jam, jam.create_session("ann", {}, issuer=A.name))["issuer"] == A.name
    assert "3 session" in run(shared_app, "revoke", "ann", "--issuer", A.name).stdout
    assert (jam.list_sessions("ann", A.name), jam.get_session(own)) == ([], {})


@pytest.fixture
def shared_app(clock: Clock) -> Flask:
    from flask_jam.stores.memory import MemoryStore

    from .test_commands import Shared

    app = Flask("app_under_test")
    jam = Jam({"jwt": {"secret_key": SECRET}}, clock=clock, store=Shared(MemoryStore()))
    SessionExtension(jam, app)
    return app


# --- doctor ------------------------------------------------------------------------------------


def findings(app: Flask, word: str) -> list[tuple[str, str]]:
    with app.app_context():
        every = examine(app.extensions["flask_jam"])
    return [(each.status, each.asvs) for each in every if word in each.says]


def test_doctor_finds_keys_that_are_missing_or_come_in_the_clear(clock: Clock) -> None:
    app = new_app(clock, A.issuer(), unreachable())
    assert findings(app, "https://a.example/: 1 key(s)") == [("ok", "9.1.3")]
    assert findings(app, "no keys, so its tokens get a 503") == [("failure", "9.1.3")]
    assert findings(app, "its keys come over plain http") == [("warning", "12.3.1")]
    app.testing = True
    assert findings(app, "its keys come over plain http") == []


@each_case(("rules", "word"), [
    ({"audience": ["account", "x"]}, "in tokens for every client"),
    ({"everywhere": True}, "every plain jwt_required"),
    ({"tenants": "any"}, "every tenant"),
])  # fmt: skip
def test_doctor_warns_of_what_lets_in_too_many(clock: Clock, rules: Any, word: str) -> None:
    assert findings(new_app(clock, A.issuer()), word) == []
    name = "https://a.example/{tenantid}" if "tenants" in rules else A.name
    usual = {"audience": "api", "jwks": A.jwks, "algorithms": "ES256"}
    app = new_app(clock, Issuer(name, **{**usual, **rules}))
    assert [status for status, _ in findings(app, word)] == ["warning"]


def test_doctor_asks_for_no_own_key_where_others_issue_the_tokens(clock: Clock) -> None:
    app = new_app(clock, A.issuer(), own=None)
    assert findings(app, "no key of its own") == [("ok", "11.6.1")]
    assert findings(app, "jwt.audience is not set") == []
