"""Providers on loopback: HTTP servers with metadata and keys, which a test makes misbehave."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """What the provider answers; the body may come in pieces, or never end."""

    body: Any
    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    #: The announced length, where it is not the true one.
    length: int | None = None


class Provider:
    """Metadata and keys at their usual places, and what was asked for."""

    def __init__(self, keys: Iterable[dict[str, Any]] = ()) -> None:
        self.keys = list(keys)
        self.asked: list[str] = []
        #: By path: what is answered there, in place of the usual.
        self.answers: dict[str, Answer | Callable[[], Answer]] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        #: Set: answers that wait may go on.
        self.released = threading.Event()

    @property
    def jwks_uri(self) -> str:
        return f"{self.url}/keys"

    def answer(self, path: str) -> Answer:
        found = self.answers.get(path)
        if found is not None:
            return found() if callable(found) else found
        if path == "/keys":
            return Answer({"keys": self.keys})
        if path == "/.well-known/openid-configuration":
            return Answer({"issuer": self.url, "jwks_uri": self.jwks_uri})
        return Answer({}, 404)

    def held(self) -> Answer:
        """Answer with the keys, but only when :attr:`released` is set."""
        self.released.wait(10)
        return Answer({"keys": self.keys})


def _handler_of(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            provider.asked.append(self.path)
            with suppress(OSError):
                self._send(provider.answer(self.path))

        def _send(self, answer: Answer) -> None:
            body = answer.body
            if not isinstance(body, (bytes, Iterator)):
                body = json.dumps(body).encode()
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            if isinstance(body, bytes):
                self.send_header("Content-Length", str(answer.length or len(body)))
            self.end_headers()
            for piece in [body] if isinstance(body, bytes) else body:
                self.wfile.write(piece)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def running(*keys: dict[str, Any], certificate: Path | None = None) -> Iterator[Provider]:
    """Run a provider with these keys, with TLS where there is a certificate."""
    provider = Provider(keys)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server = provider.server
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        provider.url = provider.url.replace("http:", "https:")
    thread = threading.Thread(target=provider.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.released.set()
        provider.server.shutdown()
        provider.server.server_close()
        thread.join()
