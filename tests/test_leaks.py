"""Nothing of a token, a claim or a key gets into a body, a header, a log, a repr or an error."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from typing import Any

import jwt as pyjwt
import pytest
from flask import Flask, g

from flask_jam import (
    ApiKeyExtension,
    ConfigError,
    Jam,
    JamError,
    JWTExtension,
    SessionExtension,
    api_key_required,
    current_auth,
    jwt_required,
    session_required,
    signals,
)

from .cases import each_case
from .conftest import Clock, bearer

MARKER = "xQ7marker7Qx"
KEY = f"{MARKER}-a-key-that-is-long-enough-for-any-hash-{MARKER * 3}"


class Spy(logging.Handler):
    """Everything that anything logs, tracebacks included."""

    def __init__(self) -> None:
        super().__init__(0)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += record.getMessage() + repr(record.args)
        if record.exc_info:
            self.text += "".join(traceback.format_exception(*record.exc_info))


@pytest.fixture
def spy() -> Iterator[Spy]:
    handler, root = Spy(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(0)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def jam(clock: Clock) -> Jam:
    return Jam({"jwt": {"secret_key": KEY, "issuer": "us", "audience": "them"}}, clock=clock)


def boom(payload: dict[str, Any]) -> bool:
    raise RuntimeError(payload)


@pytest.fixture
def app(jam: Jam) -> Flask:
    app = Flask("leaky")
    JWTExtension(jam, app)
    SessionExtension(jam, app)
    app.add_url_rule("/", "view", jwt_required(lambda: "in"))
    app.add_url_rule("/role", "role", jwt_required(roles={"admin"})(lambda: "in"))
    app.add_url_rule("/scope", "scope", jwt_required(scopes={"a"})(lambda: "in"))
    app.add_url_rule("/age", "age", jwt_required(max_age=1)(lambda: "in"))
    app.add_url_rule("/check", "check", jwt_required(check=boom)(lambda: "in"))
    app.add_url_rule("/session", "session", session_required(roles={"r"})(lambda: "in"))
    return app


def bad_tokens(jam: Jam, clock: Clock) -> Iterator[str]:
    """A token for each way of being wrong, the marker in every place that has room."""
    base = {"sub": MARKER, "name": MARKER, "jti": MARKER, "iss": "us", "aud": "them",
            "iat": clock.now, "exp": clock.now + 60, "scope": MARKER,
            "roles": [MARKER]}  # fmt: skip

    def made(key: str = KEY, headers: Any = None, **claims: Any) -> str:
        return pyjwt.encode({**base, **claims}, key, algorithm="HS256", headers=headers)

    yield made()
    yield made(key=MARKER * 8)
    yield made(exp=clock.now - 1)
    yield made(nbf=clock.now + 50)
    yield made(iss=MARKER)
    yield made(aud=MARKER)
    yield made(sub=MARKER + "\n")
    yield made(jti=[MARKER])
    yield made(exp=MARKER)
    yield made(headers={"kid": MARKER})
    yield made(headers={"typ": MARKER})
    yield made(headers={"crit": [MARKER], MARKER: 1})
    yield f"{MARKER}.{MARKER}.{MARKER}"
    yield MARKER
    revoked = jam.gen_jwt_token({"sub": MARKER})
    jam.revoke_token(revoked)
    yield revoked


def test_no_response_and_no_log_holds_the_marker(
    app: Flask, jam: Jam, clock: Clock, spy: Spy
) -> None:
    client = app.test_client()
    statuses = set()
    for token in bad_tokens(jam, clock):
        for path in ("/", "/role", "/scope", "/age", "/check"):
            for accept in ("*/*", "text/html"):
                answer = client.get(path, headers={**bearer(token), "Accept": accept})
                statuses.add(answer.status_code)
                seen = answer.text + str(answer.headers)
                assert MARKER not in seen
                assert token not in seen
    client.set_cookie("sessionId", jam.create_session(MARKER, {"roles": [MARKER]}))
    refused = client.get("/session")
    assert MARKER not in refused.text + str(refused.headers)
    assert statuses == {200, 401, 403}
    assert "boom raised RuntimeError" in spy.text
    assert MARKER not in spy.text


def test_no_exception_holds_the_marker(jam: Jam, clock: Clock) -> None:
    for token in bad_tokens(jam, clock):
        try:
            jam.verify_jwt_token(token)
        except JamError as error:
            shown = "".join(traceback.format_exception(error)) + repr(error)
            assert MARKER not in shown
            assert token not in shown


@each_case(
    "payload",
    [
        {"sub": f"{MARKER}\n"}, {"sub": MARKER * 50}, {"n": {MARKER}}, {"exp": MARKER},
        {"iss": MARKER}, {"aud": MARKER}, {"jti": [MARKER]}, {"big": MARKER * 1000},
        {"n": f"{MARKER}\ud800"}, {"deep": [[[[[[[[[[[[[[[[[MARKER]]]]]]]]]]]]]]]]]},
    ],
)  # fmt: skip
def test_what_cannot_be_minted_is_not_quoted(jam: Jam, payload: Any) -> None:
    with pytest.raises(JamError) as caught:
        jam.gen_jwt_token(payload)
    assert MARKER not in "".join(traceback.format_exception(caught.value))


@each_case("data", [{"n": {MARKER}}, {"n": MARKER * 9999}, {"n": f"{MARKER}\ud800"}])
def test_what_cannot_be_kept_is_not_quoted(jam: Jam, data: Any) -> None:
    with pytest.raises(JamError) as caught:
        jam.create_session("alice", data)
    assert MARKER not in "".join(traceback.format_exception(caught.value))


@each_case(
    "jwt",
    [
        {"secret_key": MARKER},
        {"secret_key": f"-----BEGIN PUBLIC KEY-----\n{MARKER}\n-----END PUBLIC KEY-----"},
        {"secret_key": f'{{"kty":"oct","k":"{MARKER * 4}"}}'},
        {"alg": "RS256", "private_key": f"-----BEGIN PRIVATE KEY-----\n{MARKER}"},
        {"alg": "RS256", "public_key": MARKER},
        {"alg": "ES256", "secret_key": MARKER * 4},
        {"secret_key": MARKER * 4, "private_key": MARKER},
        {"expire": MARKER, "secret_key": KEY},
        {"alg": MARKER, "secret_key": KEY},
    ],
)
def test_a_wrong_configuration_is_not_quoted(jwt: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        Jam({"jwt": jwt})
    assert MARKER not in "".join(traceback.format_exception(caught.value))


def test_no_repr_holds_the_marker(app: Flask, jam: Jam) -> None:
    pair = jam.issue_tokens(MARKER, name=MARKER)
    session = jam.create_session(MARKER, {"name": MARKER})
    shown: list[str] = []

    def look() -> str:
        scheme = app.extensions["flask_jam"].schemes["jwt"]
        from flask import request

        found = scheme.find(request._get_current_object())
        shown.extend(map(repr, [current_auth(), found, scheme, app.extensions]))
        return "in"

    app.add_url_rule("/look", "look", jwt_required(look))
    sent = bearer(pair["access_token"])
    assert app.test_client().get("/look", headers=sent).text == "in"
    ring = jam.verifier._keyring
    key = ring.signer
    shown.extend(
        map(repr, [jam, jam.settings, jam.settings.jwt, jam.verifier, jam.store, ring, key])
    )
    shown.extend(map(repr, [jam.sessions, jam.tokens, jam.families]))
    text = " ".join(shown)
    assert len(shown) == 14
    for secret in (MARKER, pair["access_token"], pair["refresh_token"], session):
        assert secret not in text


def test_signals_carry_a_fingerprint_and_no_credential(app: Flask, jam: Jam, clock: Clock) -> None:
    heard: list[str] = []

    def receiver(_app: Flask, *, subject: str | None, **what: Any) -> None:
        assert subject in (None, MARKER)  # an identity, and no credential
        heard.append(repr(what))

    with signals.rejected.connected_to(receiver):
        for token in bad_tokens(jam, clock):
            app.test_client().get("/role", headers=bearer(token))
    assert len(heard) == 15
    assert MARKER not in " ".join(heard)
    assert g is not None


def test_no_answer_log_signal_repr_or_error_holds_an_api_key(jam: Jam, spy: Spy) -> None:
    app, heard = Flask("keys"), []
    keys = ApiKeyExtension(jam, app)
    key, info = jam.create_api_key(
        "alice", name="n", scopes={"a"}, roles={"r"}, data={"password": MARKER}
    )

    def look() -> str:
        from flask import request

        scheme = app.extensions["flask_jam"].schemes["api_key"]
        found = scheme.find(request._get_current_object())
        shown = [current_auth(), found, scheme, keys, jam, jam.api_keys, jam.store, info]
        return " ".join(map(repr, [*shown, keys.list(), jam.api_keys.lookup(key)]))

    for path, guard in {
        "/": api_key_required, "/scope": api_key_required(scopes={"b"}),
        "/role": api_key_required(roles={"x"}), "/age": api_key_required(max_age=1),
        "/check": api_key_required(check=boom),
    }.items():  # fmt: skip
        app.add_url_rule(path, path, guard(look))

    def receiver(_app: Flask, **what: Any) -> None:
        heard.append(repr(what))

    text, other = "", "1" if key[30] == "0" else "0"
    with signals.rejected.connected_to(receiver), signals.revoked.connected_to(receiver):
        for sent in (key, key[:-1], key.swapcase(), key + "0", key[:30] + other + key[31:]):
            for path in ("/", "/scope", "/role", "/age", "/check"):
                answer = app.test_client().get(path, headers=bearer(sent))
                text += answer.text + str(answer.headers)
            try:
                jam.api_keys.lookup(sent)
            except JamError as error:
                text += "".join(traceback.format_exception(error)) + repr(error)
        newer, _ = jam.rotate_api_key("alice", info.handle, overlap=60)
        jam.revoke_api_key("alice", info.handle)
    text += "".join(heard) + spy.text + repr(jam.list_api_keys("alice"))
    assert "boom raised RuntimeError" in spy.text
    assert len(heard) == 25
    for secret in (key, key[20:63], key.swapcase()[20:63], newer[20:63], MARKER):
        assert secret not in text
