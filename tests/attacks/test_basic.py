"""HTTP Basic under attack: odd headers, leaks, guesses, two people in one request."""

from __future__ import annotations

import base64
import gc
import random
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask

from flask_jam import (
    BasicExtension,
    Jam,
    JWTExtension,
    SessionExtension,
    basic_required,
    current_auth,
    jwt_required,
    session_required,
    signals,
)
from flask_jam.schemes.basic import basic_header

from ..cases import each_case
from .craft import served

MARKER = "xQ7marker7Qx"
PASSWORD = f"pw:{MARKER}"


class Table:
    """The users of an app; it counts the checks."""

    def __init__(self) -> None:
        self.passwords = {"ann": PASSWORD}
        self.asked: list[str] = []

    def check(self, name: str, password: str) -> str | None:
        self.asked.append(name)
        return name if self.passwords.get(name) == password else None


@pytest.fixture
def table() -> Table:
    return Table()


def new_app(jam: Jam, check: Any) -> Flask:
    app = Flask("attacked")
    JWTExtension(jam, app)
    SessionExtension(jam, app)
    BasicExtension(check, jam, app)
    guards = {
        "basic": basic_required,
        "session": session_required | basic_required,
        "jwt": jwt_required | basic_required,
        "optional": basic_required(optional=True),
    }
    for name, guard in guards.items():
        app.add_url_rule(f"/{name}", name, guard(view()), methods=["GET", "POST"])
    return app


def view() -> Any:
    return lambda: f"in:{getattr(current_auth(), 'subject', None)}"


def sent(name: str, password: str) -> dict[str, str]:
    return {"Authorization": basic_header(name, password)}


ANN = sent("ann", PASSWORD)


@pytest.fixture
def app(jam: Jam, table: Table) -> Flask:
    return new_app(jam, table.check)


def test_two_authorization_headers_are_a_400_on_a_real_server(app: Flask, jam: Jam) -> None:
    lines = [
        f"Authorization: {ANN['Authorization']}",
        f"Authorization: {basic_header('bob', 'x')}",
        f"Authorization: Bearer {jam.issue_tokens('tom')['access_token']}",
    ]
    with served(app) as ask:
        assert ask("/basic", lines[0]).status_code == 200
        for one in lines:
            for other in lines:
                for path in ("/basic", "/session", "/jwt"):
                    is_for_other = path != "/jwt" and "Basic" not in one + other
                    expected = 401 if is_for_other else 400
                    assert ask(path, one, other).status_code == expected, (path, one, other)


def test_no_damage_to_a_header_lets_in_or_is_a_500(app: Flask) -> None:
    chance, good = random.Random(7617), ANN["Authorization"]
    alphabet = [chr(code) for code in (*range(32, 127), 9, 128, 173, 255)]
    client, statuses = app.test_client(), set()
    for _ in range(1500):
        damaged = list(good)
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(damaged))
            damaged[place : place + chance.randint(0, 2)] = chance.choices(
                alphabet, k=chance.randint(0, 2)
            )
        header = "".join(damaged)
        answer = client.get("/basic", environ_overrides={"HTTP_AUTHORIZATION": header})
        word, _, value = header.strip(" \t").partition(" ")
        is_same = word.lower() == "basic" and value.strip(" \t") == good[6:]
        assert answer.status_code in ((200,) if is_same else (400, 401)), header
        statuses.add(answer.status_code)
    assert {400, 401} <= statuses


@each_case("size", [4_000, 100_000, 2_000_000])
@each_case("filler", ["A", ",", ", basic", " ", "=", "Basic ", "\xe4", ":"])
def test_a_huge_header_is_refused_unread(app: Flask, table: Table, size: int, filler: str) -> None:
    header = "Basic " + filler * (size // len(filler))
    answer = app.test_client().get("/basic", environ_overrides={"HTTP_AUTHORIZATION": header})
    assert answer.status_code in (400, 401)
    assert len(table.asked) <= 1  # "AAA…" is base64 of a name without a colon


def test_a_password_is_in_no_answer_log_signal_or_error(
    jam: Jam, table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Any] = []
    broken = new_app(jam, lambda *_: 5)
    apps = [new_app(jam, table.check), broken]
    pairs = [PASSWORD, PASSWORD + "x", f"{MARKER}\0", f"{MARKER}\udce4"]
    with caplog.at_level(0), hearing(heard, apps):
        for app in apps:
            for password in pairs:
                raw = f"ann:{password}".encode("utf-8", "surrogateescape")
                value = base64.b64encode(raw).decode()
                for header in (f"Basic {value}", f"Basic{value}", f"Basic {value}, Basic {value}"):
                    answer = app.test_client().get("/basic", headers={"Authorization": header})
                    assert holds_no_marker(answer.text + str(answer.headers))
    errors = [record.exc_info for record in caplog.records if record.exc_info]
    told = "".join("".join(traceback.format_exception(*each)) for each in errors if each)
    assert errors
    assert holds_no_marker(told + caplog.text + repr(heard))


def holds_no_marker(text: str) -> bool:
    encoded = base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
    return MARKER not in text and encoded[8:24] not in text


@contextmanager
def hearing(heard: list[Any], apps: list[Flask]) -> Iterator[None]:
    def receive(_sender: Flask, **what: Any) -> None:
        heard.append(what)

    signals.rejected.connect(receive)
    yield
    signals.rejected.disconnect(receive)
    assert heard


def test_nothing_of_a_password_stays_in_memory(app: Flask, table: Table) -> None:
    assert app.test_client().get("/basic", headers=ANN).status_code == 200
    checks = app.extensions["flask_jam"].schemes["basic"]._checks
    seen, todo = set(), [checks]
    while todo:
        each = todo.pop()
        is_ours = not isinstance(each, (Table, Jam, type)) and each is not table.check
        if id(each) in seen or not is_ours or callable(each):
            continue
        seen.add(id(each))
        assert not isinstance(each, (str, bytes)) or holds_no_marker(repr(each))
        todo += gc.get_referents(each)
    assert len(seen) > 20


def test_a_burst_of_guesses_lets_in_the_right_one_alone(app: Flask, table: Table) -> None:
    passwords = [PASSWORD if n % 4 == 0 else f"guess-{n}" for n in range(40)]

    def guess(password: str) -> int:
        return app.test_client().get("/basic", headers=sent("ann", password)).status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(guess, passwords))
    assert statuses == [200 if password == PASSWORD else 401 for password in passwords]
    assert len(table.asked) == 31  # each wrong one, and the right one once


def test_a_password_and_an_earlier_answer_of_another_user_are_a_400(jam: Jam) -> None:
    app = new_app(jam, Table().check)
    app.before_request(lambda: (session_required(optional=True).enforce(), None)[1])
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("sue", {}))
    assert client.get("/basic", headers=ANN).status_code == 400
