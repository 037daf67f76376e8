"""Beside simple-websocket, on a real server: a ticket first, and a check for each message."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from flask import Flask, current_app, request
from werkzeug.serving import make_server

from flask_jam import Jam, TokenError, current_auth

from ..conftest import new_app

simple_websocket = pytest.importorskip("simple_websocket", reason="needs simple-websocket")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::ResourceWarning")]

REFUSED = 1008


def caller() -> str | None:
    with current_app.request_context(request.environ):
        auth = current_auth()
        return auth.subject if auth else None


def serve(jam: Jam, socket: Any) -> None:
    """As the page about tickets has it."""
    try:
        subject = jam.redeem_ticket("socket", socket.receive(timeout=10)).subject
    except TokenError:
        socket.close(REFUSED, "no ticket")
        return
    while (message := socket.receive()) is not None:
        if caller() != subject:
            socket.close(REFUSED, "logged out")
            return
        socket.send(f"{subject}: {message}")


@pytest.fixture
def url(jam: Jam) -> Iterator[str]:
    app: Flask = new_app(jam)

    @app.route("/socket", websocket=True)
    def socket() -> None:
        served = simple_websocket.Server.accept(request.environ)
        with suppress(simple_websocket.ConnectionClosed):
            serve(jam, served)
        raise ConnectionError  # the socket is gone: Werkzeug sends no response

    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True  # type: ignore[attr-defined]
    server.log = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"ws://127.0.0.1:{server.server_port}/socket"
    server.shutdown()
    server.server_close()
    thread.join(5)


def cookie(jam: Jam, name: str = "ann") -> dict[str, str]:
    return {"Cookie": f"sessionId={jam.create_session(name, {})}"}


def talk(url: str, headers: dict[str, str], *messages: Any) -> list[Any]:
    """Send; return the answers, and the code with which the server closed, if it did."""
    socket, answers = simple_websocket.Client(url, headers=headers), []
    try:
        for number, message in enumerate(messages):
            socket.send(message() if callable(message) else message)
            if number:
                answers.append(socket.receive(timeout=10))
        if not answers:
            socket.receive(timeout=10)
        socket.close()
    except simple_websocket.ConnectionClosed as closed:
        answers.append(closed.reason)
    return answers


def ticket(jam: Jam, purpose: str = "socket") -> str:
    return jam.issue_ticket(purpose, "ann", expires_in=30, replace=False)


def test_the_first_message_is_a_ticket_of_the_caller(url: str, jam: Jam) -> None:
    used = ticket(jam)
    assert talk(url, cookie(jam), used, "a", "b") == ["ann: a", "ann: b"]
    for first in (used, ticket(jam, "reset"), "hello", ""):
        assert talk(url, cookie(jam), first) == [REFUSED]
    # A page of another site has no caller, nor has one who brings another user's cookie.
    for headers in ({**cookie(jam), "Origin": "https://evil.example"}, cookie(jam, "bob"), {}):
        assert talk(url, headers, ticket(jam), "a") == [REFUSED]


def test_an_open_socket_ends_with_its_login(url: str, jam: Jam) -> None:
    def log_out() -> str:
        jam.end_logins("ann")
        return "b"

    assert talk(url, cookie(jam), ticket(jam), "a", log_out) == ["ann: a", REFUSED]
