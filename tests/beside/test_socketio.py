"""Beside Flask-SocketIO, on a real server: each event asks again who the caller is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, g
from werkzeug.serving import make_server

from flask_jam import Jam, TokenError, current_auth

from ..conftest import new_app

flask_socketio = pytest.importorskip("flask_socketio", reason="needs Flask-SocketIO")
socketio = pytest.importorskip("socketio", reason="needs python-socketio")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def who() -> str:
    auth = current_auth()
    assert (g.payload is None) is (auth is None)
    return f"{auth.scheme}:{auth.subject}" if auth else "anonymous"


def is_let_in(jam: Jam, auth: Any) -> bool:
    try:
        return bool(jam.redeem_ticket("socket", auth))
    except TokenError:
        return False


@pytest.fixture
def url(jam: Jam) -> Iterator[str]:
    app: Flask = new_app(jam)
    sockets = flask_socketio.SocketIO(app, async_mode="threading", cors_allowed_origins="*")
    app.extensions["at_connect"] = []
    sockets.on("connect")(lambda *_: app.extensions["at_connect"].append(who()))
    sockets.on("who")(lambda *_: who())
    sockets.on("connect", "/tickets")(lambda auth: is_let_in(jam, auth))
    app.add_url_rule("/at-connect", "at_connect", lambda: app.extensions["at_connect"][-1])
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(5)


def ask(url: str, headers: dict[str, str], between: Any = None, transport: str = "polling") -> Any:
    client = socketio.Client(reconnection=False)
    client.connect(url, headers=headers, transports=[transport], wait_timeout=10)
    try:
        answers = [client.call("who", timeout=10)]
        if between is not None:
            between()
            answers.append(client.call("who", timeout=10))
        return answers
    finally:
        client.disconnect()


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_an_event_knows_its_caller(url: str, jam: Jam, transport: str) -> None:
    cookie = {"Cookie": f"sessionId={jam.create_session('ann', {})}"}
    token = {"Authorization": f"Bearer {jam.issue_tokens('bob')['access_token']}"}
    assert ask(url, cookie, transport=transport) == ["session:ann"]
    assert ask(url, token, transport=transport) == ["jwt:bob"]
    assert ask(url, {}, transport=transport) == ["anonymous"]
    assert ask(url, {"Authorization": "Bearer a.b.c"}, transport=transport) == ["anonymous"]


def test_each_event_asks_again(url: str, jam: Jam) -> None:
    cookie = {"Cookie": f"sessionId={jam.create_session('ann', {})}"}
    answers = ask(url, cookie, lambda: jam.revoke_subject("ann"))
    assert answers == ["session:ann", "anonymous"]


def test_a_client_connects_with_a_ticket_once(url: str, jam: Jam) -> None:
    ticket = jam.issue_ticket("socket", "ann", expires_in=30)
    for auth, is_in in ((ticket, True), (ticket, False), ("x", False), (None, False)):
        client = socketio.Client(reconnection=False)
        try:
            client.connect(url, auth=auth, transports=["polling"], namespaces=["/tickets"])
            assert is_in
        except socketio.exceptions.ConnectionError:
            assert not is_in
        finally:
            client.disconnect()


def test_a_handshake_from_another_site_has_no_caller(url: str, jam: Jam) -> None:
    cookie = {"Cookie": f"sessionId={jam.create_session('ann', {})}"}
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert ask(url, {**cookie, **headers}, transport="websocket") == ["anonymous"]
