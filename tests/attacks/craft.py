"""What an attacker has: tokens made by hand, raw bytes on a socket, a store that stops answering.

Nothing here uses PyJWT or the package's own signing, so that a mistake of either is no mistake of
the tests.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.datastructures import Headers
from werkzeug.serving import WSGIRequestHandler, make_server

from flask_jam import Jam, StoreUnavailable
from flask_jam.stores.interface import CLOCK_SKEW, Store, slot_of
from flask_jam.stores.memory import MemoryStore

from ..conftest import SECRET, Clock, build_app

NOW = int(Clock().now)
ABSENT: Any = object()

# --- verdicts: a status and its challenge ---------------------------------------------

Verdict = tuple[int, "str | None"]

OK: Verdict = (200, None)
#: 401, nobody presented anything.
N: Verdict = (401, 'Bearer realm="api"')
#: 401 invalid_token: one text for every way to be wrong.
T: Verdict = (
    401,
    'Bearer realm="api", error="invalid_token", '
    'error_description="The credential is not valid."',
)  # fmt: skip
#: 401 invalid_token of a token that had been good.
EXPIRED: Verdict = (
    401,
    'Bearer realm="api", error="invalid_token", error_description="The credential has expired."',
)
#: 400: the request itself is wrong.
R: Verdict = (400, 'Bearer realm="api", error="invalid_request"')
#: 403 by a role or a check: no challenge.
S: Verdict = (403, None)
UNREAD: Verdict = (403, 'Bearer realm="api", error="insufficient_scope", scope="read"')
STALE: Verdict = (
    401,
    'Bearer realm="api", error="insufficient_user_authentication", max_age="300"',
)
#: 401 where only a session cookie would do.
COOKIE: Verdict = (401, 'Cookie realm="api"')
DOWN: Verdict = (503, None)


def verdict(response: Any) -> Verdict:
    """Status and challenge. Two challenges, or one that came with a cookie, are a failure."""
    challenges = response.headers.getlist("WWW-Authenticate")
    if len(challenges) > 1 or (challenges and "Set-Cookie" in response.headers):
        raise AssertionError(f"{response.status_code}: {response.headers}")
    return response.status_code, challenges[0] if challenges else None


@cache
def standing(**jwt: Any) -> FlaskClient:
    """A client of an app that tests share: its clock stands, and nothing is revoked there."""
    return build_app(Jam({"jwt": {"secret_key": SECRET, **jwt}}, clock=Clock())).test_client()


#: The routes of ``build_app`` on which a token is asked for.
GUARDED = (
    ("GET", "/jwt"), ("POST", "/jwt"), ("HEAD", "/jwt"), ("GET", "/optional"), ("GET", "/either"),
    ("GET", "/both"), ("GET", "/read"), ("GET", "/admin"), ("GET", "/fresh"),
)  # fmt: skip


def on_every_route(client: FlaskClient, headers: dict[str, str]) -> set[Verdict]:
    """What the guarded routes say, and one of them again: no refusal may be better next time.

    The open routes answer 200 beside them, and know nobody.
    """
    asked = [*GUARDED, GUARDED[0]]
    found = {verdict(client.open(path, method=how, headers=headers)) for how, path in asked}
    for path in ("/open", "/public"):
        response = client.get(path, headers=headers)
        if response.status_code != 200 or response.json["payload"] is not None:
            raise AssertionError(f"{path}: {response.status} {response.text}")
    return found


# --- tokens ---------------------------------------------------------------------------


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a good token; ``ABSENT`` removes one."""
    good = {"jti": "the-id-of-a-token", "sub": "alice", "iat": NOW, "exp": NOW + 600}
    return {name: value for name, value in {**good, **changes}.items() if value is not ABSENT}


def signed(
    payload: dict[str, Any] | bytes,
    header: dict[str, Any] | None = None,
    secret: str = SECRET,
) -> str:
    """A token with a right HS256 signature, whatever it says."""
    head = {"alg": "HS256", "typ": "JWT"} if header is None else header
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    said = f"{b64(json.dumps(head).encode())}.{b64(body)}"
    mac = hmac.new(secret.encode(), said.encode(), hashlib.sha256).digest()
    return f"{said}.{b64(mac)}"


def forged(token: str) -> str:
    """The same header and claims with a signature that nobody made."""
    said, _, signature = token.rpartition(".")
    raw = bytes(byte ^ 0x55 for byte in unb64(signature))
    return f"{said}.{b64(raw)}"


def kid_of(jam: Jam) -> str:
    token = jam.gen_jwt_token(jam.make_payload(sub="nobody"))
    kid: str = json.loads(unb64(token.partition(".")[0]))["kid"]
    return kid


# --- an oracle: the rules for header and claims, told a second time --------------------

REGISTERED = ("exp", "nbf", "iat", "iss", "aud", "sub", "jti", "fam", "scope", "roles",
              "auth_time")  # fmt: skip
_REFUSED_HEADERS = {"crit", "b64", "zip", "enc", "epk", "p2c", "p2s", "cty"}


def header_is_good(header: dict[str, Any], kid: str) -> bool:
    typ = header.get("typ")
    return (
        is_strict_json(header)
        and header.get("alg") == "HS256"
        and header.get("kid", kid) == kid
        and isinstance(typ, str)
        and typ.isascii()
        and typ.lower() in {"jwt", "at+jwt", "application/jwt", "application/at+jwt"}
        and not _REFUSED_HEADERS & set(header)
    )


def claims_are_good(said: dict[str, Any], now: float, longest: float = 86400) -> bool:
    """Whether a token is to be accepted where it can be revoked, without leeway, iss and aud."""
    dates = {name: said[name] for name in ("exp", "nbf", "iat") if name in said}
    names = [said[name] for name in ("sub", "jti", "iss", "fam") if name in said]
    if not is_strict_json(said) or "aud" in said or not {"jti", "exp", "iat"} <= set(said):
        return False
    if {"nonce", "at_hash", "c_hash", "cnf", "events"} & set(said):
        return False
    if said.get("type") == "refresh" or not family_is_good(said):
        return False
    if not all(is_date(date) for date in dates.values()) or not all(map(is_name, names)):
        return False
    return (
        now < dates["exp"]
        and dates["exp"] - dates["iat"] <= longest
        and dates["iat"] <= now + CLOCK_SKEW
        and dates.get("nbf", now) <= now
    )


def family_is_good(said: dict[str, Any]) -> bool:
    """Whether a refresh family is named that could be of this subject."""
    owner = said.get("sub", said["jti"])
    return "fam" not in said or (
        isinstance(said["fam"], str)
        and isinstance(owner, str)
        and said["fam"].startswith(slot_of(owner))
    )


def is_date(value: object) -> bool:
    return type(value) in (int, float) and abs(value) < 2**53  # type: ignore[arg-type]


def is_name(value: object) -> bool:
    return (
        isinstance(value, str)
        and 0 < len(value) <= 256
        and not any(unicodedata.category(character) in ("Cc", "Cs") for character in value)
    )


def is_strict_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8")
    except ValueError:
        return False
    return True


def reads(said: dict[str, Any]) -> bool:
    scope = said.get("scope")
    names = scope.split(" ") if isinstance(scope, str) else []
    return "read" in names and "" not in names


def is_admin(said: dict[str, Any]) -> bool:
    roles = said.get("roles")
    return (
        isinstance(roles, list) and all(isinstance(role, str) for role in roles)
        and "admin" in roles
    )  # fmt: skip


def is_fresh(said: dict[str, Any], now: float) -> bool:
    # A second ahead is no other time: two clocks are never quite one.
    at = said.get("auth_time")
    return type(at) in (int, float) and -1 <= now - at <= 300  # type: ignore[operator]


# --- a store that stops answering -----------------------------------------------------


class FlakyStore(MemoryStore):
    """A memory store whose verbs fail while their names are in ``down``; it counts every call."""

    VERBS = frozenset(name for name in dir(Store) if not name.startswith("_"))

    def __init__(self) -> None:
        super().__init__()
        self.down: frozenset[str] = frozenset()
        self.calls: list[str] = []
        #: Called after a verb has done its work, with its name.
        self.after: Callable[[str], None] = lambda verb: None

    def fail(self, *verbs: str) -> None:
        self.down = frozenset(verbs) or self.VERBS

    def recover(self) -> None:
        self.down = frozenset()


def _flaky(name: str) -> Callable[..., Any]:
    def verb(self: FlakyStore, *args: Any, **kwargs: Any) -> Any:
        self.calls.append(name)
        if name in self.down:
            raise StoreUnavailable
        answer = getattr(MemoryStore, name)(self, *args, **kwargs)
        self.after(name)
        return answer

    return verb


for _name in FlakyStore.VERBS:
    setattr(FlakyStore, _name, _flaky(_name))


# --- a real server --------------------------------------------------------------------


class RawResponse:
    """What came back, with nothing made of it."""

    def __init__(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status_code = int(status.split(" ")[0])
        self.headers = Headers(headers)
        self.data = body

    @property
    def json(self) -> Any:
        return json.loads(self.data)


def parsed(raw: bytes) -> RawResponse:
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    return RawResponse(status.partition(" ")[2], headers, body)


def asked(
    app: Flask, path: str, method: str = "GET", body: bytes = b"", **environ: Any
) -> RawResponse:
    """One WSGI call, by nobody's client: fast, and whatever is in the environ stays as it is."""
    started: list[Any] = []
    full = {
        "REQUEST_METHOD": method, "PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": "",
        "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1", "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr, "wsgi.multithread": True, "wsgi.multiprocess": False,
        "wsgi.run_once": False, **environ,
    }  # fmt: skip
    full = {name: value for name, value in full.items() if value is not ABSENT}
    parts = app(full, lambda *what: started.append(what) or (lambda data: None))  # type: ignore[func-returns-value]
    try:
        data = b"".join(parts)
    finally:
        if hasattr(parts, "close"):
            parts.close()
    return RawResponse(started[0][0], started[0][1], data)


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """Nothing: what the server prints is not the subject."""


@contextmanager
def served(app: Flask) -> Iterator[Callable[..., RawResponse]]:
    """A werkzeug server on the loopback; ``ask(path, *header_lines)`` sends lines as they are."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    def ask(path: str, *lines: str, method: str = "GET") -> RawResponse:
        head = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *lines]
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as wire:
            wire.sendall("\r\n".join([*head, "", ""]).encode("latin-1"))
            raw = b""
            while part := wire.recv(65536):
                raw += part
        return parsed(raw)

    try:
        yield ask
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
