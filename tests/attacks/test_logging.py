"""Logs, errors and signals: what an attacker sends stays data, and what is secret stays out."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import hmac
import logging
import pickle
import re
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from blinker import NamedSignal
from flask import Flask
from flask.testing import FlaskClient

import flask_jam
from flask_jam import Jam, Reason, TokenError, signals
from flask_jam.errors import JamError
from flask_jam.schemes.outcome import Accepted, Credential

from ..cases import each_case
from ..conftest import bearer, build_app
from .craft import FlakyStore, claims, kid_of, signed

ODD = "x\r\n2026-01-01 root: logged in\x00\x1b[2J\x1b]0;t\x07\u2028\u202e"
MARKER = "mArKeR7q"
MakeJam = Callable[..., Jam]


class Spy(logging.Handler):
    """Every line that anything logs, as a file would get it."""

    def __init__(self) -> None:
        super().__init__(0)
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def spy() -> Iterator[Spy]:
    handler, log = Spy(), logging.getLogger("flask_jam")
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    yield handler
    log.removeHandler(handler)
    log.setLevel(before)


def own_lines(spy: Spy) -> list[str]:
    """Some, each of them one line of printable text."""
    assert spy.lines
    assert all(line.isprintable() for line in spy.lines), spy.lines
    return spy.lines


# --- L01: what is sent moves no cursor and begins no line -------------------------------------


@each_case(
    "token",
    [
        pytest.param(lambda jam: signed(claims(sub=ODD)), id="L01-sub"),
        pytest.param(lambda jam: signed(claims(), {"kid": ODD}), id="L01-kid"),
        pytest.param(lambda jam: signed(claims(), {"typ": ODD}), id="L01-typ"),
        pytest.param(lambda jam: signed(claims(jti=ODD)), id="L01-jti"),
        pytest.param(lambda jam: signed(claims(iss=ODD)), id="L01-iss"),
        pytest.param(lambda jam: ODD.encode("utf-8", "replace").decode("latin-1"), id="L01-itself"),
    ],
)
def test_what_a_token_says_is_no_line_of_the_log(
    client: FlaskClient, jam: Jam, spy: Spy, token: Callable[[Jam], str]
) -> None:
    environ = {"HTTP_AUTHORIZATION": f"Bearer {token(jam)}"}
    answer = client.get("/jwt", environ_overrides=environ)
    assert answer.status_code in (400, 401)
    assert not any("logged in" in line for line in own_lines(spy))


def test_L01_a_browser_that_calls_itself_so_is_kept_as_it_is_and_not_logged(
    client: FlaskClient, jam: Jam, spy: Spy
) -> None:
    agent = {"HTTP_USER_AGENT": ODD.encode().decode("latin-1")}
    assert client.post("/session-login/ann", environ_overrides=agent).status_code == 200
    client.get("/admin", environ_overrides=agent)
    assert not any("logged in" in line for line in own_lines(spy))


def test_L01_a_path_or_an_endpoint_of_odd_characters_is_not_logged_as_it_is(
    app: Flask, spy: Spy
) -> None:
    app.add_url_rule("/odd/<path:rest>", "odd", flask_jam.jwt_required(lambda rest: rest))
    app.test_client().get("/odd/%1b[2Jroot:%20logged%20in")
    assert not any("logged in" in line for line in own_lines(spy))


# --- L02: no secret in an error, a repr or what a crash reporter sees -------------------------


def secrets_of(jam: Jam) -> dict[str, str]:
    pair = jam.issue_tokens("ann", note=MARKER)
    return {
        "access": pair["access_token"], "refresh": pair["refresh_token"],
        "session": jam.create_session("ann", {"note": MARKER}),
    }  # fmt: skip


def test_L02_the_text_of_no_error_has_what_it_was_about(jam: Jam) -> None:
    made = secrets_of(jam)
    for value in (*made.values(), MARKER * 3):
        for verb in (jam.verify_jwt_token, jam.refresh_tokens, jam.rework_session):
            try:
                verb(value + "x")
            except JamError as error:
                said = "".join(traceback.format_exception(error)) + repr(error) + str(error.args)
                assert value not in said


def test_L02_a_credential_and_who_it_authenticates_hide_in_their_repr(jam: Jam) -> None:
    made = secrets_of(jam)
    for source, value in made.items():
        assert value not in repr(Credential("jwt", source, value))
    accepted = Accepted("jwt", "header", "ann", {"note": MARKER}, 1.0)
    assert MARKER not in repr(accepted)
    assert MARKER not in f"{accepted} {[accepted]}"


@each_case("what", ["jam", "settings", "keyring", "store"])
def test_L02_what_a_crash_reporter_shows_of_the_parts_has_no_key(
    make_jam: MakeJam, what: str
) -> None:
    jam = make_jam(jwt={"secret_key": MARKER * 8, "secret_key_fallbacks": [MARKER * 9]})
    secrets_of(jam)
    part = {"jam": jam, "settings": jam.settings, "keyring": jam.verifier.keyring,
            "store": jam.store}[what]  # fmt: skip
    assert MARKER not in repr(part)


def test_L02_a_refusal_can_be_pickled_and_says_no_more_then(jam: Jam) -> None:
    token = secrets_of(jam)["access"]
    with pytest.raises(TokenError) as caught:
        jam.verify_jwt_token(token + "x")
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.reason is caught.value.reason
    assert token not in repr(again)


# --- L03: before the signature held, everything looks the same --------------------------------


def test_L03_an_unknown_key_a_bad_signature_and_a_revoked_token_look_the_same(
    jam: Jam, client: FlaskClient
) -> None:
    good = jam.issue_tokens("ann")["access_token"]
    revoked = jam.issue_tokens("ann")["access_token"]
    jam.revoke_token(revoked)
    tokens = [
        signed(claims(), {"kid": "unknown"}), good[:-4] + "AAAA", revoked, "a.b.c",
        signed(claims(), {"alg": "none"}), signed(claims(exp=1), {"kid": "unknown"}),
    ]  # fmt: skip
    answers = [client.get("/jwt", headers=bearer(token)) for token in tokens]
    assert len({(a.status_code, a.text, str(a.headers)) for a in answers}) == 1
    assert answers[0].status_code == 401


# --- L04, L05: what signals and metrics get ---------------------------------------------------


def heard_by(app: Flask, do: Callable[[], Any]) -> list[dict[str, Any]]:
    heard: list[dict[str, Any]] = []
    own = [value for value in vars(signals).values() if isinstance(value, NamedSignal)]
    receivers = [(signal, lambda _app, **what: heard.append(what)) for signal in own]
    for signal, receiver in receivers:
        signal.connect(receiver, app)
    do()
    for signal, receiver in receivers:
        signal.disconnect(receiver, app)
    return heard


def test_L04_signals_carry_a_fingerprint_and_never_a_credential(app: Flask, jam: Jam) -> None:
    made = secrets_of(jam)
    bad = {name: value[:-1] + ("A" if value[-1] != "A" else "B") for name, value in made.items()}
    client = app.test_client(use_cookies=False)

    def everything() -> None:
        for value in (*made.values(), *bad.values()):
            client.get("/jwt", headers=bearer(value))
            client.get("/session", headers={"Cookie": f"sessionId={value}"})
            client.post("/refresh", json={"refresh_token": value})
        client.post("/session-logout", headers={"Cookie": f"sessionId={made['session']}"})
        client.post("/logout", headers=bearer(made["access"]))

    heard = heard_by(app, everything)
    for value in (*made.values(), *bad.values()):
        assert not any(value in repr(what) for what in heard)
    prints = {what["fingerprint"] for what in heard if what.get("fingerprint")}
    assert all(re.fullmatch(r"[0-9a-f]{8}", each) for each in prints)
    assert hashlib.sha256(bad["access"].encode()).hexdigest()[:8] in prints


def test_L05_a_label_is_one_of_a_few_words_whatever_was_sent(app: Flask, jam: Jam) -> None:
    client = app.test_client(use_cookies=False)
    sent = [ODD.encode("utf-8", "replace").decode("latin-1"), "x" * 9000, "a.b.c", "", "é",
            signed(claims(aud=ODD)), signed(claims(), {"kid": kid_of(jam)})]  # fmt: skip

    def everything() -> None:
        for value in sent:
            client.get("/jwt", environ_overrides={"HTTP_AUTHORIZATION": f"Bearer {value}"})

    for what in heard_by(app, everything):
        assert isinstance(what["reason"], Reason)
        assert what["scheme"] in ("jwt", "session")
        assert what["source"] in (None, "header", "cookie", "body")
        assert what["endpoint"] in app.view_functions


# --- L06: no trace of the code in an answer ---------------------------------------------------


@each_case("down", [False, True])
@each_case("debug", [False, True])
def test_L06_no_answer_has_a_traceback(make_jam: MakeJam, down: bool, debug: bool) -> None:
    store = FlakyStore()
    jam = make_jam(store=store)
    app = build_app(jam)
    app.debug = debug
    token = jam.issue_tokens("ann")["access_token"]
    if down:
        store.fail()
    for headers in (bearer(token), bearer("a.b.c"), {}, {"Cookie": f"sessionId={'A' * 45}"}):
        for path in ("/jwt", "/session", "/admin", "/refresh", "/logout"):
            for method in ("GET", "POST"):
                answer = app.test_client().open(path, method=method, headers=headers)
                assert answer.status_code != 500
                for trace in ("Traceback", ".py", "flask_jam", "line ", token):
                    assert trace not in answer.text


# --- L07: secrets are compared in constant time -----------------------------------------------


def test_L07_what_is_secret_is_compared_by_one_function(
    jam: Jam, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def spied(one: Any, two: Any) -> bool:
        assert isinstance(one, bytes), "texts that are not ASCII raise"
        assert isinstance(two, bytes)
        compared.append((one, two))
        return real(one, two)

    monkeypatch.setattr(hmac, "compare_digest", spied)
    refresh = jam.issue_tokens("ann")["refresh_token"]
    for value in (refresh, refresh[:-1] + "é", refresh[:-2] + "AA", "\udc80" + refresh):
        with contextlib.suppress(TokenError):
            jam.refresh_tokens(value)
    jam.verify_jwt_token(jam.issue_tokens("ann")["access_token"])
    assert len(compared) >= 3


def test_L07_no_module_compares_a_digest_by_equality() -> None:
    secret = re.compile(r"(?i)^(.*_)?(mac|digest|signature|secret|hmac)$")
    for path in Path(flask_jam.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.Eq, ast.NotEq)):
                names = [getattr(side, "id", getattr(side, "attr", ""))
                         for side in (node.left, *node.comparators)]  # fmt: skip
                assert not any(map(secret.match, names)), f"{path.name}:{node.lineno}"
