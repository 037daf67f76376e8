"""Beside Flask-Sock, on a real server: a socket is refused before its handshake is answered."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest
from flask import Blueprint, Flask
from werkzeug.serving import make_server

from flask_jam import Jam, current_subject, protect, session_required

from ..conftest import new_app

flask_sock = pytest.importorskip("flask_sock", reason="needs Flask-Sock")
simple_websocket = pytest.importorskip("simple_websocket", reason="needs simple-websocket")
pytestmark = [
    pytest.mark.slow,
    # The client does not close its own socket when it is refused.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def url(jam: Jam) -> Iterator[str]:
    app: Flask = new_app(jam)
    sock, sockets = flask_sock.Sock(app), Blueprint("sockets", "sockets")
    protect(sockets, session_required)

    @sock.route("/late")
    @session_required
    def late(ws: simple_websocket.Server) -> None:
        feed(ws)

    @sock.route("/feed", bp=sockets)
    def protected(ws: simple_websocket.Server) -> None:
        feed(ws)

    def feed(ws: simple_websocket.Server) -> None:
        while True:
            ws.send(f"{ws.receive()} {current_subject()}")

    app.register_blueprint(sockets)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"ws://127.0.0.1:{server.server_port}"
    gc.collect()
    server.shutdown()
    server.server_close()
    thread.join(5)


def greet(url: str, timeout: float = 10, **headers: str) -> str | None:
    """Return what the socket answers, the status of its refusal, or None if it broke."""
    try:
        ws = simple_websocket.Client.connect(url, headers=headers)
    except simple_websocket.ConnectionError as error:
        return str(error.status_code)
    try:
        ws.send("Hello")
        answer: str | None = ws.receive(timeout=timeout)
        ws.close()
    except simple_websocket.ConnectionClosed:
        return None
    return answer


def test_socket_opens_for_a_user_alone(url: str, jam: Jam) -> None:
    cookie = f"sessionId={jam.create_session('ann', {})}"
    for path, refused in (("/feed", "401"), ("/late", None)):
        assert greet(url + path, Cookie=cookie) == "Hello ann"
        assert greet(url + path, timeout=0.5) == refused
        assert greet(url + path, timeout=0.5, Cookie="sessionId=x") == refused


def test_socket_of_another_site_is_refused(url: str, jam: Jam) -> None:
    cookie = f"sessionId={jam.create_session('ann', {})}"
    assert greet(f"{url}/feed", Cookie=cookie, Origin="https://evil.example") == "403"
