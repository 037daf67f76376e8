"""What a guarded route costs, beside the libraries that do the same work.

    python tests/benchmarks/route_cost.py [--rounds N] [--json] [--profile]

It is no test: on a shared machine a time proves nothing, and a ratio of two times of one run says
a lot. So all cases take turns in one process, in a new order each round, each between two batches
of a bare Flask route that it is measured by. A request is a direct WSGI call: what a server, a
socket and a client would add is the same for all. Garbage collection stays on.

The peers come from the extra ``bench``; one that is not installed is said to be missing. What asks
Redis asks a server on loopback that this run starts and ends, and its time is the wall clock's.
"""

from __future__ import annotations

import argparse
import atexit
import cProfile
import gc
import hashlib
import importlib.util
import json
import os
import platform
import pstats
import random
import secrets
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import jwt as pyjwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from flask import Flask, g
from jwt import algorithms
from werkzeug.test import EnvironBuilder

from flask_jam import (
    ApiKeyExtension,
    BasicExtension,
    Jam,
    JWTExtension,
    SessionExtension,
    api_key_required,
    basic_required,
    jwt_required,
    protect,
    session_required,
)
from flask_jam.issuers import Issuer
from flask_jam.schemes.basic import basic_header

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.servers import RedisServer, binaries  # it is run as a script, too

SECRET = "b3nchmark-only-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNO"
LIFE = 86400
#: Requests in one timed batch, and so the number of tokens that "not seen before" takes.
BATCH = 100
#: Requests ahead of each batch that are not timed.
WARM_UP = 20
#: The bare route of the machine that the budgets in µs were written for.
REFERENCE_BARE = 43.0

Environ = dict[str, Any]

Clock = Callable[[], float]
# This process's own time on the processor: what other processes take in between is not counted.
# A case that waits for a server has to use the wall clock.
WORKING: Clock = time.process_time
WAITING: Clock = time.perf_counter

BARE = "bare route"
CONTROL = "bare route, a second one"
WITH_SECRET_KEY = "bare route, SECRET_KEY set"
OPEN = "no credential, undecorated route"
REFUSED = "no credential, guarded route: 401"
FORGED = "wrong signature: 401"
SEEN = "token seen before, {}"
SCOPED = "token seen before, HS256, scopes and roles"
READ = "token seen before, HS256, g.payload read"
PROTECTED = "token seen before, HS256, by protect"
WITH_USER = "token seen before, HS256, with load_user"
SESSION_USER = "session in memory, with load_user"
UNSEEN = "token not seen before, {}"
FOREIGN = "another issuer's token seen before, RS256"
FOREIGN_UNSEEN = "another issuer's token not seen before, RS256"
STRANGER = "unknown issuer: 401"
SESSION = "session in memory"
BASIC = "Basic seen before"
KEY = "API key seen before"
NEAR_KEY = "API key seen before, Redis, near cache"
FAR_KEY = "API key, Redis asked"
MISTYPED_KEY = "API key with a wrong checksum: 401"
NEAR_TOKEN = "token seen before, HS256, Redis, near cache"
NEAR_SESSION = "session on Redis, near cache"
FAR_TOKEN = "token seen before, HS256, Redis asked"
FAR_SESSION = "session on Redis, Redis asked"
ROUND_TRIP = "bare route with one GET of redis-py"
YARDSTICK = "PyJWT decode alone, {}"
FJE = "Flask-JWT-Extended, {}"
FJE_REFUSED = "Flask-JWT-Extended, no credential: 401"
FJE_FORGED = "Flask-JWT-Extended, wrong signature: 422"
AUTHLIB = "Authlib, HS256"
JAMLIB = "jamlib, HS256"
LOGIN = "Flask-Login, signed cookie"
HTTPAUTH = "Flask-HTTPAuth, Basic"
FJE_REDIS = "Flask-JWT-Extended, HS256, Redis block list"
FLASK_SESSION = "Flask-Session on Redis"
HTTPAUTH_TOKEN = "Flask-HTTPAuth, token, Redis look-up"

LIBRARIES = ("Flask", "Werkzeug", "PyJWT", "cryptography", "cachetools", "Flask-JWT-Extended",
             "Authlib", "joserfc", "jamlib", "Flask-Login", "Flask-Session", "Flask-HTTPAuth",
             "redis", "hiredis")  # fmt: skip


# --- what is timed --------------------------------------------------------------------


@dataclass
class Case:
    """Requests to one route of one app, and what must come back."""

    app: Flask
    #: Sent in turn.
    requests: list[Environ]
    status: int = 200
    body: bytes = b"ok"
    #: Requests that must not get in: if they did, we would be timing a guard that guards nothing.
    turned_away: list[Environ] = field(default_factory=list)
    #: Run ahead of each batch, outside of the timing.
    before: Callable[[], object] = lambda: None
    clock: Clock = WORKING

    def check(self) -> None:
        """Every request gets its answer, and nobody else gets in."""
        self.before()
        for environ in self.requests:
            status, body = answer(self.app, environ)
            assert status == self.status, f"{self.app.name}: {status} instead of {self.status}"
            assert self.body in body, f"{self.app.name}: an answer without {self.body!r}"
        for environ in self.turned_away:
            status, _ = answer(self.app, environ)
            assert status in (401, 422), f"{self.app.name}: let in a stranger, {status}"

    def time(self, count: int) -> float:
        """Seconds of that many requests."""
        self.before()
        app, sent = self.app, self.requests
        pending = [dict(sent[n % len(sent)]) for n in range(count)]
        clock = self.clock
        started = clock()
        while pending:
            # An environ is dropped after its request, as a server does.
            chunks: Any = app(pending.pop(), _start_response)
            for _ in chunks:
                pass
            chunks.close()
        return clock() - started


@dataclass
class Calls:
    """A plain function, with what a request would have handed to it."""

    function: Callable[[str], Any]
    arguments: list[str]
    clock: Clock = WORKING

    def check(self) -> None:
        """It returns something: the claims, or what Redis holds."""
        for argument in self.arguments:
            assert self.function(argument)

    def time(self, count: int) -> float:
        """Seconds of that many calls."""
        function, arguments, clock = self.function, self.arguments[:count], self.clock
        started = clock()
        for argument in arguments:
            function(argument)
        return clock() - started


def _start_response(*_args: Any) -> Any:
    return None


def answer(app: Flask, environ: Environ) -> tuple[int, bytes]:
    """Status and body of one request."""
    said: list[str] = []
    chunks: Any = app(dict(environ), lambda status, *_: said.append(status))
    body = b"".join(chunks)
    chunks.close()
    return int(said[0].split()[0]), body


def request(
    path: str,
    *,
    bearer: str | None = None,
    cookie: str | None = None,
    authorization: str | None = None,
) -> Environ:
    """The environ of a GET."""
    headers = {"Accept": "*/*", "User-Agent": "route_cost"}
    if authorization is not None:
        headers["Authorization"] = authorization
    if bearer is not None:
        headers["Authorization"] = f"Bearer {bearer}"
    if cookie is not None:
        headers["Cookie"] = cookie
    return EnvironBuilder(path=path, headers=headers).get_environ()


def forged(credential: str) -> str:
    """The same credential with another signature, or another random part."""
    head, dot, tail = credential.rpartition(".")
    return head + dot + ("A" if tail[0] != "A" else "B") + tail[1:]


def guarded(app: Flask, path: str, token: str) -> Case:
    """A route that takes a bearer token."""
    strangers = [request(path), request(path, bearer=forged(token))]
    return Case(app, [request(path, bearer=token)], turned_away=strangers)


def plain_view() -> str:
    """What every route does."""
    return "ok"


# --- flask_jam ------------------------------------------------------------------------


@cache
def _private_key(alg: str) -> Any:
    if alg.startswith("ES"):
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def private_pem(alg: str) -> str:
    """A key of this run."""
    return _private_key(alg).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()  # fmt: skip


@cache
def public_pem(alg: str) -> str:
    """Its public half."""
    return _private_key(alg).public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()  # fmt: skip


def our_jam(alg: str = "HS256", issuers: Iterable[Issuer] = (), **settings: Any) -> Jam:
    """A Jam with revocation on and marks of others in its store, so that the store is asked."""
    key = {"secret_key": SECRET} if alg == "HS256" else {"private_key": private_pem(alg)}
    jam = Jam({"jwt": {"alg": alg, "expire": LIFE, **key}, **settings}, issuers=issuers)
    for number in range(100):
        jam.revoke_token(jam.make_payload(sub=f"user-{number}"))
        jam.revoke_subject(f"former-user-{number}")
    return jam


def our_app(jam: Jam) -> Flask:
    """Both schemes on one app, as the documentation has it."""
    app = Flask("flask_jam_app")
    JWTExtension(jam, app)
    SessionExtension(jam, app)
    app.add_url_rule("/open", "open", plain_view)
    app.add_url_rule("/jwt", "jwt", jwt_required(_view()))
    strict = jwt_required(scopes={"read"}, roles={"admin", "editor"})
    app.add_url_rule("/strict", "strict", strict(_view()))
    app.add_url_rule("/read", "read", jwt_required(lambda: g.payload["sub"]))
    app.add_url_rule("/session", "session", session_required(_view()))
    return app


def _view() -> Callable[[], str]:
    # One function each: a guard marks the view that it is put on.
    return lambda: "ok"


def our_token(jam: Jam) -> str:
    """As a login gives it."""
    return jam.issue_tokens("alice", scopes={"read", "write"}, roles={"admin"})["access_token"]


def seen(alg: str, path: str = "/jwt") -> Case:
    """A token that the verifier knows."""
    jam = our_jam(alg)
    return guarded(our_app(jam), path, our_token(jam))


def read() -> Case:
    """The same, and the view looks at who it is: one more proxy."""
    case = seen("HS256", "/read")
    case.body = b"alice"
    return case


def protected() -> Case:
    """The guard is the app's, and the view has none."""
    jam = our_jam()
    app = Flask("protected_app")
    JWTExtension(jam, app)
    SessionExtension(jam, app)
    protect(app, jwt_required)
    app.add_url_rule("/jwt", "jwt", _view())
    return guarded(app, "/jwt", our_token(jam))


def with_user() -> Case:
    """The guard asks a loader; users are in a dict, as for Flask-Login."""
    jam = our_jam()
    return guarded(_with_loader(our_app(jam)), "/jwt", our_token(jam))


def session_user() -> Case:
    """The same for a session: what Flask-Login does, and a session that can be ended."""
    case = session()
    _with_loader(case.app)
    return case


def _with_loader(app: Flask) -> Flask:
    users = {"alice": object()}
    app.extensions["flask_jam"].owners["jwt"].user_loader(lambda auth: users.get(auth.subject))
    return app


def unseen(alg: str) -> Case:
    """Many tokens, and a verifier that has forgotten them."""
    jam = our_jam(alg)
    case = guarded(our_app(jam), "/jwt", our_token(jam))
    case.requests = [request("/jwt", bearer=our_token(jam)) for _ in range(BATCH)]
    case.before = jam.verifier.cache_clear
    return case


#: Who issues the tokens of others.
_ISSUER = "https://idp.example/"


def foreign_jam() -> Jam:
    """A Jam with a key of its own, and another issuer whose tokens every guard takes."""
    public = _private_key("RS256").public_key()
    jwk = {**algorithms.RSAAlgorithm.to_jwk(public, as_dict=True), "kid": "idp", "alg": "RS256"}
    issuer = Issuer(_ISSUER, audience="api", jwks={"keys": [jwk]}, everywhere=True)
    return our_jam(issuers=[issuer])


def foreign_token(**more: Any) -> str:
    """As a provider gives it; each is another one."""
    now = int(time.time())
    claims = {"iss": _ISSUER, "aud": "api", "sub": "alice", "jti": secrets.token_urlsafe(32),
              "iat": now, "exp": now + LIFE - 60, "scope": "read write", **more}  # fmt: skip
    return pyjwt.encode(claims, _private_key("RS256"), "RS256", headers={"kid": "idp"})


def foreign() -> Case:
    """Another issuer's token that the verifier knows."""
    return guarded(our_app(foreign_jam()), "/jwt", foreign_token())


def foreign_unseen() -> Case:
    """Many of them, and a verifier that has forgotten them."""
    jam = foreign_jam()
    case = guarded(our_app(jam), "/jwt", foreign_token())
    case.requests = [request("/jwt", bearer=foreign_token()) for _ in range(BATCH)]
    case.before = jam.verifier.cache_clear
    return case


def stranger() -> Case:
    """A token whose issuer nobody has named: no key is looked for, and nothing is fetched."""
    app, token = our_app(foreign_jam()), foreign_token(iss="https://stranger.example/")
    return Case(app, [request("/jwt", bearer=token)], 401, b"invalid_token")


def undecorated() -> Case:
    """Nobody is there and nobody is asked for."""
    return Case(our_app(our_jam()), [request("/open")])


def refused() -> Case:
    """Nobody is there and somebody is asked for: signal, refusal, problem details."""
    return Case(our_app(our_jam()), [request("/jwt")], 401, b"missing_credential")


def wrong_signature() -> Case:
    """A token of ours with another signature: gate and signature, then as above."""
    jam = our_jam()
    return _refusing(guarded(our_app(jam), "/jwt", our_token(jam)), 1, 401, b"invalid_token")


def _refusing(case: Case, stranger: int, status: int, body: bytes) -> Case:
    return Case(case.app, [case.turned_away[stranger]], status, body)


def session(**settings: Any) -> Case:
    """A session by its cookie."""
    jam = our_jam(**settings)
    session_id = jam.create_session("alice", {"user": 1, "roles": ["admin"]})
    strangers = [None, f"sessionId={forged(session_id)}"]
    return Case(
        our_app(jam),
        [request("/session", cookie=f"sessionId={session_id}")],
        turned_away=[request("/session", cookie=cookie) for cookie in strangers],
    )


#: Both sides compare two strings. A password hash takes thousands of times as long.
PASSWORDS = {"alice": "wonderland"}


def check_password(name: str, password: str) -> str | None:
    """Tell whose password it is, as cheaply as can be: what is timed is the library."""
    return name if PASSWORDS.get(name) == password else None


def basic(check: Callable[[str, str], str | None] = check_password) -> Case:
    """A name and a password that were right a moment ago."""
    app = Flask("basic_app")
    BasicExtension(check, our_jam(), app)
    app.add_url_rule("/", "guarded", basic_required(_view()))
    return by_password(app)


def by_password(app: Flask) -> Case:
    """A route that takes a name and a password."""
    sent = [request("/", authorization=basic_header("alice", each)) for each in ("wonderland", "x")]
    return Case(app, sent[:1], turned_away=[request("/"), sent[1]])


def api_key(**settings: Any) -> Case:
    """An API key, on an app that takes tokens and sessions as well, from the same header."""
    jam = our_jam(**settings)
    app = our_app(jam)
    ApiKeyExtension(jam, app)
    app.add_url_rule("/key", "key", api_key_required(_view()))
    key, _ = jam.create_api_key("alice", name="script", scopes={"read", "write"}, roles={"admin"})
    return guarded(app, "/key", key)


def mistyped_key() -> Case:
    """No look-up, and then as any refusal."""
    return _refusing(api_key(), 1, 401, b"invalid_token")


@cache
def redis_server() -> RedisServer:
    """One for this run."""
    server = RedisServer()
    server.__enter__()
    atexit.register(server.__exit__, None, None, None)
    return server


def near_token() -> Case:
    """What revokes it is known here, and Redis vouches for that."""
    jam = our_jam(redis_url=redis_server().url)
    return _once_heard(guarded(our_app(jam), "/jwt", our_token(jam)), jam)


def near_session() -> Case:
    """A session that is known here."""
    case = session(redis_url=redis_server().url)
    return _once_heard(case, case.app.extensions["jam"])


def near_key() -> Case:
    """An API key that is known here."""
    case = api_key(redis_url=redis_server().url)
    return _once_heard(case, case.app.extensions["jam"])


def _once_heard(case: Case, jam: Any) -> Case:
    atexit.register(jam.store.close)
    # The link is made by the first request; until it is up, every request asks Redis.
    for _ in range(500):
        answer(case.app, case.requests[0])
        if jam.store.link.view.as_of > time.monotonic() - 1:
            return case
        time.sleep(0.01)
    raise AssertionError("the near cache does not come up")


def far_token() -> Case:
    """Redis is asked each time."""
    jam = our_jam(redis_url=redis_server().url, near_cache=False)
    atexit.register(jam.store.close)
    case = guarded(our_app(jam), "/jwt", our_token(jam))
    case.clock = WAITING
    return case


def far_session() -> Case:
    """Redis is asked each time."""
    case = session(redis_url=redis_server().url, near_cache=False)
    atexit.register(case.app.extensions["jam"].store.close)
    case.clock = WAITING
    return case


def far_key() -> Case:
    """Redis is asked each time."""
    case = api_key(redis_url=redis_server().url, near_cache=False)
    atexit.register(case.app.extensions["jam"].store.close)
    case.clock = WAITING
    return case


def round_trip() -> Case:
    """The least that asking Redis costs, on a route: a server that has dozed off has to wake up."""
    client = redis_server().client()
    client.set("benchmark", "x" * 200)
    app = Flask("round_trip_app")
    app.add_url_rule("/", "bare", lambda: client.get("benchmark") and "ok")
    return Case(app, [request("/")], clock=WAITING)


def pyjwt_decode(alg: str) -> Calls:
    """The least that verifying such a token costs: PyJWT with a key that is parsed already."""
    jam = our_jam(alg)
    key = SECRET if alg == "HS256" else _private_key(alg).public_key()
    tokens = [our_token(jam) for _ in range(BATCH)]
    return Calls(lambda token: pyjwt.decode(token, key, algorithms=[alg]), tokens)


def bare(secret_key: str | None = None) -> Case:
    """Flask alone."""
    app = Flask("bare_app")
    app.secret_key = secret_key
    app.add_url_rule("/", "bare", plain_view)
    return Case(app, [request("/")])


# --- peers: without "Redis" in its name, none of them asks for revocation --------------

#: What every token says, besides its times and its own id.
CLAIMS = {"scope": "read write", "roles": ["admin"]}


def flask_jwt_extended(alg: str) -> Case:
    """No block list."""
    from flask_jwt_extended import JWTManager, create_access_token
    from flask_jwt_extended import jwt_required as their_guard

    app = Flask("flask_jwt_extended_app")
    app.config.update(JWT_ALGORITHM=alg, JWT_ACCESS_TOKEN_EXPIRES=LIFE)
    if alg == "HS256":
        app.config["JWT_SECRET_KEY"] = SECRET
    else:
        app.config["JWT_PRIVATE_KEY"] = private_pem(alg)
        app.config["JWT_PUBLIC_KEY"] = public_pem(alg)
    JWTManager(app)
    app.add_url_rule("/", "guarded", their_guard()(_view()))
    with app.app_context():
        token = create_access_token("alice", additional_claims=CLAIMS)
    return guarded(app, "/", token)


def flask_jwt_extended_refused() -> Case:
    """No challenge, no signal, no problem details: a line of JSON."""
    return _refusing(flask_jwt_extended("HS256"), 0, 401, b"msg")


def flask_jwt_extended_forged() -> Case:
    """It answers 422 to what it cannot verify."""
    return _refusing(flask_jwt_extended("HS256"), 1, 422, b"msg")


def authlib() -> Case:
    """RFC 9068, which also asks for ``iss``, ``aud`` and ``client_id``. The key set is kept."""
    from authlib.integrations.flask_oauth2 import ResourceProtector
    from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
    from joserfc.jwk import KeySet, OctKey

    issuer, api = "https://login.example.org", "https://api.example.org"
    keys = KeySet([OctKey.import_key(SECRET)])

    class Validator(JWTBearerTokenValidator):
        def get_jwks(self) -> KeySet:
            return keys

    protect = ResourceProtector()
    protect.register_token_validator(Validator(issuer, api))
    app = Flask("authlib_app")
    app.add_url_rule("/", "guarded", protect()(_view()))
    now = int(time.time())  # it takes an iat with a fraction for one of the future
    claims = {"sub": "alice", "iat": now, "exp": now + LIFE, "jti": secrets.token_urlsafe(32),
              **CLAIMS, "iss": issuer, "aud": api, "client_id": "web"}  # fmt: skip
    token = pyjwt.encode(claims, SECRET, "HS256", headers={"typ": "at+jwt"})
    return guarded(app, "/", token)


def jamlib() -> Case:
    """No deny list. Its hook verifies, its decorator looks at the result."""
    from jam import Jam as TheirJam
    from jam.ext.flask import JamAuth

    app = Flask("jamlib_app")
    theirs = TheirJam({"jose": {"jwt": {"alg": "HS256", "secret_key": SECRET}}})
    auth = JamAuth(app, jam=theirs, via="jwt")
    app.add_url_rule("/", "guarded", auth.login_required(_view()))
    # It wants a mapping with an id, which becomes sub, and adds iat and jti.
    return guarded(app, "/", theirs.issue({"id": "alice", **CLAIMS}, via="jwt", exp=LIFE))


def by_cookie(app: Flask, clock: Clock = WORKING) -> Case:
    """The route of somebody who has come by ``/login``."""
    headers: dict[str, str] = {}
    b"".join(app(request("/login"), lambda _status, pairs, *_: headers.update(pairs)))
    name, _, value = headers["Set-Cookie"].partition(";")[0].partition("=")
    strangers = [None, f"{name}={forged(value)}"]
    return Case(
        app,
        [request("/", cookie=f"{name}={value}")],
        turned_away=[request("/", cookie=cookie) for cookie in strangers],
        clock=clock,
    )


def flask_login() -> Case:
    """Flask's signed cookie; users are in a dict. It cannot do without a SECRET_KEY."""
    from flask_login import LoginManager, UserMixin, login_required, login_user

    class User(UserMixin):
        id = "alice"

    app, users = Flask("flask_login_app"), {"alice": User()}
    app.secret_key = SECRET
    LoginManager(app).user_loader(users.get)
    app.add_url_rule("/login", "login", lambda: str(login_user(users["alice"])))
    app.add_url_rule("/", "guarded", login_required(_view()))
    return by_cookie(app)


def flask_httpauth() -> Case:
    """It checks the password at each request, which here is a comparison."""
    from flask_httpauth import HTTPBasicAuth

    app, auth = Flask("flask_httpauth_app"), HTTPBasicAuth()
    auth.verify_password(check_password)
    app.add_url_rule("/", "guarded", auth.login_required(_view()))
    return by_password(app)


def flask_jwt_extended_redis() -> Case:
    """The block list of its documentation: one key for each token that was revoked."""
    case = flask_jwt_extended("HS256")
    manager = case.app.extensions["flask-jwt-extended"]
    client = redis_server().client(decode_responses=True)

    @manager.token_in_blocklist_loader
    def is_revoked(_header: dict[str, Any], payload: dict[str, Any]) -> bool:
        return client.get(payload["jti"]) is not None

    case.clock = WAITING
    return case


def flask_session() -> Case:
    """Server-side sessions on Redis; the view refuses whoever has none."""
    from flask import abort
    from flask import session as data
    from flask_session import Session as TheirSessions

    app = Flask("flask_session_app")
    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=redis_server().client())
    TheirSessions(app)

    def view() -> str:
        return "ok" if data.get("user") == 1 else abort(401)

    app.add_url_rule("/login", "login", lambda: str(data.update(user=1, roles=["admin"])))
    app.add_url_rule("/", "guarded", view)
    return by_cookie(app, WAITING)


def flask_httpauth_token() -> Case:
    """A token that is looked up in Redis by its hash, as its documentation leaves to the app."""
    from flask_httpauth import HTTPTokenAuth

    app, auth, client = Flask("flask_httpauth_app"), HTTPTokenAuth(), redis_server().client()
    token = secrets.token_urlsafe(48)

    def place(text: str) -> str:
        return "key:" + hashlib.sha256(text.encode()).hexdigest()

    client.set(place(token), "alice")
    auth.verify_token(lambda given: client.get(place(given)))
    app.add_url_rule("/", "guarded", auth.login_required(_view()))
    case = guarded(app, "/", token)
    case.clock = WAITING
    return case


REDIS = "redis-server"


class Entry(NamedTuple):
    """How to make a case, and which module of the extra ``bench``, or which server, it needs."""

    make: Callable[[], Case | Calls]
    needs: str | None = None


CASES: dict[str, Entry] = {
    BARE: Entry(bare),
    CONTROL: Entry(bare),
    WITH_SECRET_KEY: Entry(lambda: bare(SECRET)),
    OPEN: Entry(undecorated),
    SEEN.format("HS256"): Entry(lambda: seen("HS256")),
    SEEN.format("RS256"): Entry(lambda: seen("RS256")),
    SEEN.format("ES256"): Entry(lambda: seen("ES256")),
    SCOPED: Entry(lambda: seen("HS256", "/strict")),
    READ: Entry(read),
    PROTECTED: Entry(protected),
    WITH_USER: Entry(with_user),
    SESSION_USER: Entry(session_user),
    SESSION: Entry(session),
    BASIC: Entry(basic),
    UNSEEN.format("HS256"): Entry(lambda: unseen("HS256")),
    UNSEEN.format("RS256"): Entry(lambda: unseen("RS256")),
    FOREIGN: Entry(foreign),
    FOREIGN_UNSEEN: Entry(foreign_unseen),
    STRANGER: Entry(stranger),
    KEY: Entry(api_key),
    NEAR_KEY: Entry(near_key, REDIS),
    FAR_KEY: Entry(far_key, REDIS),
    MISTYPED_KEY: Entry(mistyped_key),
    NEAR_TOKEN: Entry(near_token, REDIS),
    NEAR_SESSION: Entry(near_session, REDIS),
    FAR_TOKEN: Entry(far_token, REDIS),
    FAR_SESSION: Entry(far_session, REDIS),
    ROUND_TRIP: Entry(round_trip, REDIS),
    REFUSED: Entry(refused),
    FORGED: Entry(wrong_signature),
    YARDSTICK.format("HS256"): Entry(lambda: pyjwt_decode("HS256")),
    YARDSTICK.format("RS256"): Entry(lambda: pyjwt_decode("RS256")),
    FJE.format("HS256"): Entry(lambda: flask_jwt_extended("HS256"), "flask_jwt_extended"),
    FJE.format("RS256"): Entry(lambda: flask_jwt_extended("RS256"), "flask_jwt_extended"),
    FJE_REFUSED: Entry(flask_jwt_extended_refused, "flask_jwt_extended"),
    FJE_FORGED: Entry(flask_jwt_extended_forged, "flask_jwt_extended"),
    AUTHLIB: Entry(authlib, "authlib"),
    JAMLIB: Entry(jamlib, "jam.ext.flask"),
    LOGIN: Entry(flask_login, "flask_login"),
    HTTPAUTH: Entry(flask_httpauth, "flask_httpauth"),
    FJE_REDIS: Entry(flask_jwt_extended_redis, "flask_jwt_extended"),
    FLASK_SESSION: Entry(flask_session, "flask_session"),
    HTTPAUTH_TOKEN: Entry(flask_httpauth_token, "flask_httpauth"),
}
OURS = [OPEN, *(SEEN.format(alg) for alg in ("HS256", "RS256", "ES256")), SCOPED, READ,
        PROTECTED, WITH_USER, SESSION, SESSION_USER, BASIC, NEAR_TOKEN, NEAR_SESSION, FAR_TOKEN,
        FAR_SESSION, KEY, NEAR_KEY, FAR_KEY, UNSEEN.format("HS256"), UNSEEN.format("RS256"),
        FOREIGN, FOREIGN_UNSEEN, STRANGER, REFUSED, FORGED, MISTYPED_KEY]  # fmt: skip
#: Plain functions, not routes.
YARDSTICKS = {YARDSTICK.format("HS256"), YARDSTICK.format("RS256")}
#: With the short name for the head of a column.
PEERS = {FJE.format("HS256"): "FJE HS256", FJE.format("RS256"): "FJE RS256", AUTHLIB: "Authlib",
         JAMLIB: "jamlib", LOGIN: "Flask-Login", HTTPAUTH: "HTTPAuth",
         FJE_REDIS: "FJE Redis", FLASK_SESSION: "Flask-Sess.",
         HTTPAUTH_TOKEN: "HTTPAuth token"}  # fmt: skip


def installed(module: str | None) -> bool:
    """Whether a module of the extra, or a server, is there."""
    if module in (REDIS, "flask_session", "flask_httpauth") and not binaries():
        return False
    if module == REDIS:
        return True
    try:
        return module is None or importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


# --- the run --------------------------------------------------------------------------


class Sample(NamedTuple):
    """One batch, and the batches of the bare route right before and right after it, in µs."""

    before: float
    taken: float
    after: float

    @property
    def bare(self) -> float:
        """What the bare route cost at that moment."""
        return (self.before + self.after) / 2

    @property
    def steady(self) -> bool:
        """Whether the machine kept its speed meanwhile."""
        return max(self.before, self.after) <= 1.1 * min(self.before, self.after)


def measure(rounds: int) -> dict[str, list[Sample]]:
    """Samples of each case that can be made here, one a round."""
    cases = {name: entry.make() for name, entry in CASES.items() if installed(entry.needs)}
    for case in cases.values():
        case.check()
        _batch(case)  # warm
    ruler = cases.pop(BARE)
    samples: dict[str, list[Sample]] = {name: [] for name in cases}
    order, shuffle = list(cases), random.Random(20).shuffle
    for _ in range(rounds):
        shuffle(order)
        before = _batch(ruler)
        for name in order:
            taken, after = _batch(cases[name]), _batch(ruler)
            samples[name].append(Sample(before, taken, after))
            before = after
    return samples


def _batch(case: Case | Calls) -> float:
    # Nobody pays for the garbage, nor for the processor's caches, of whoever came before.
    case.time(WARM_UP)
    gc.collect(1)
    return case.time(BATCH) / BATCH * 1e6


class Verdict(NamedTuple):
    """One row of the budget, in µs. ``allowed`` is ``None`` where this run cannot tell."""

    work: str
    budget: str
    measured: float
    allowed: float | None

    @property
    def met(self) -> bool | None:
        """Whether the figure is within the budget."""
        return None if self.allowed is None else self.measured <= self.allowed


class Report:
    """The figures of one run.

    A machine that others use changes its speed from one second to the next, for all cases alike.
    So a case is held against the bare route of its own moment: the median of these ratios is the
    figure, and µs are that ratio on the median bare route of the run.
    """

    def __init__(self, samples: dict[str, list[Sample]], load: float) -> None:
        self.load = load
        self.rounds = len(next(iter(samples.values())))
        self.bare = statistics.median(s.bare for taken in samples.values() for s in taken)
        self.ratios = {name: _ratios(taken) for name, taken in samples.items()}
        self.ratio = {name: statistics.median(ratios) for name, ratios in self.ratios.items()}

    def over(self, name: str) -> float | None:
        """µs over the bare route; of a plain function, all of them. ``None``: not installed."""
        if name not in self.ratio:
            return None
        below = 0 if name in YARDSTICKS else 1
        return (self.ratio[name] - below) * self.bare

    def verdicts(self) -> Iterator[Verdict]:
        """The budget, row by row. A budget in µs grows and shrinks with the bare route."""

        def verdict(work: str, budget: str, allowed: float | None) -> Verdict:
            return Verdict(work, budget, self.over(work) or 0.0, allowed)

        scale = self.bare / REFERENCE_BARE
        peer, older = self.over(FJE.format("HS256")), self.over(JAMLIB)
        for alg in ("HS256", "RS256", "ES256"):
            work = SEEN.format(alg)
            yield verdict(work, "1/16 of Flask-JWT-Extended, HS256", peer and peer / 16)
            yield verdict(work, "1/5 of jamlib", older and older / 5)
        decode = self.over(YARDSTICK.format("HS256")) or 0.0
        yield verdict(UNSEEN.format("HS256"), "PyJWT's decode + 12 µs, scaled", decode + 12 * scale)
        yield verdict(OPEN, "3 µs, scaled", 3 * scale)
        theirs = self.over(FJE_FORGED)
        yield verdict(FORGED, "half of Flask-JWT-Extended's", theirs and theirs / 2)
        yield verdict(STRANGER, "half of Flask-JWT-Extended's", theirs and theirs / 2)
        own = self.over(SEEN.format("RS256"))
        yield verdict(FOREIGN, "an own token's, and a tenth for chance", own and own * 1.1)
        yield verdict(NEAR_TOKEN, "1/16 of Flask-JWT-Extended, HS256", peer and peer / 16)
        yield verdict(NEAR_TOKEN, "1/5 of jamlib", older and older / 5)
        for work, as_token in ((KEY, SEEN.format("HS256")), (NEAR_KEY, NEAR_TOKEN)):
            yield verdict(work, "as a token seen before", self.over(as_token))
        yield verdict(MISTYPED_KEY, "half of Flask-JWT-Extended's", theirs and theirs / 2)
        blocked, sessions = self.over(FJE_REDIS), self.over(FLASK_SESSION)
        yield verdict(NEAR_SESSION, "1/25 of Flask-Session", sessions and sessions / 25)
        share = 1 / 3 if installed("hiredis") else 0.4
        said = "1/3" if installed("hiredis") else "0.4"
        yield verdict(FAR_TOKEN, f"{said} of FJE with block list", blocked and blocked * share)
        yield verdict(FAR_SESSION, f"{said} of Flask-Session", sessions and sessions * share)

    def as_json(self) -> str:
        """Everything, for a program."""
        cases = {
            name: {
                "times_bare": self.ratio[name],
                "middle_half": _middle_half(self.ratios[name]),
                "over_bare_us": self.over(name),
                "steady_samples": len(self.ratios[name]),
            }
            for name in self.ratio
        }
        found = {
            "machine": machine(),
            "libraries": libraries(),
            "load": self.load,
            "rounds": self.rounds,
            "requests_per_batch": BATCH,
            "bare_us": self.bare,
            "cases": cases,
            "not_installed": [name for name in self._names() if name not in cases],
            "budget": [{**verdict._asdict(), "met": verdict.met} for verdict in self.verdicts()],
        }
        return json.dumps(found, indent=2)

    def as_text(self) -> str:
        """Three tables, for a person."""
        return "\n".join(
            [*self._head(), "", *self._cases(), "", *self._peers(), "", *self._budget()]
        )

    def _names(self) -> list[str]:
        return [name for name in CASES if name != BARE]

    def _head(self) -> Iterator[str]:
        yield ", ".join(f"{key} {value}" for key, value in machine().items())
        yield ", ".join(f"{name} {number}" for name, number in libraries().items())
        yield (
            f"{self.rounds} rounds of {BATCH} requests, load {self.load:.2f} at the start; "
            f"bare route {self.bare:.1f} µs"
        )

    def _cases(self) -> Iterator[str]:
        yield f"{'case':45}{'x bare':>8}{'middle half':>15}{'over bare, µs':>15}"
        for name in self._names():
            if name in self.ratio:
                low, high = _middle_half(self.ratios[name])
                yield (
                    f"{name:45}{self.ratio[name]:8.2f}{low:9.2f}-{high:5.2f}{self.over(name):15.1f}"
                )
            else:
                yield f"{name:45}   not installed"

    def _peers(self) -> Iterator[str]:
        yield f"{'what a peer adds / what we add':45}" + "".join(f"{p:>12}" for p in PEERS.values())
        for name in OURS:
            ours = self.over(name) or 0.0
            cells = (_quotient(self.over(peer), ours) for peer in PEERS)
            yield f"{name:45}" + "".join(f"{cell:>12}" for cell in cells)

    def _budget(self) -> Iterator[str]:
        yield f"{'budget, µs over bare':81}{'allowed':>8}{'here':>8}"
        for verdict in self.verdicts():
            allowed = "?" if verdict.allowed is None else f"{verdict.allowed:.1f}"
            said = {True: "met", False: "NOT MET", None: "peer not installed"}[verdict.met]
            yield (
                f"{verdict.work:45}{verdict.budget:36}{allowed:>8}{verdict.measured:8.1f}  {said}"
            )


def _ratios(samples: list[Sample]) -> list[float]:
    steady = [sample for sample in samples if sample.steady]
    return [sample.taken / sample.bare for sample in steady or samples]


def _middle_half(values: list[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4)
    return low, high


def _quotient(theirs: float | None, ours: float) -> str:
    # Below half a microsecond there is nothing but noise to divide by.
    return "-" if theirs is None or ours < 0.5 else f"{theirs / ours:.1f}"


def profile() -> Iterator[str]:
    """What the guarded route adds, file by file. :mod:`cProfile` makes every call dearer."""
    bare = _profiled(BARE)
    yield f"{BARE}: {sum(calls for calls, _ in bare.values()):.0f} Python calls a request"
    for name in (OPEN, SEEN.format("HS256"), UNSEEN.format("HS256")):
        found = _profiled(name)
        added = {file: _minus(cost, bare.get(file, (0.0, 0.0))) for file, cost in found.items()}
        added = {file: cost for file, cost in added.items() if round(cost[0])}
        total = sum(seconds for _, seconds in added.values())
        yield ""
        yield f"{name}: {sum(calls for calls, _ in added.values()):+.0f} Python calls"
        for file, (calls, seconds) in sorted(added.items(), key=lambda each: -each[1][1]):
            share = 100 * seconds / total
            if share >= 2:
                yield f"{share:6.0f} % of their time{calls:6.0f} calls  {file}"


def _minus(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return one[0] - other[0], one[1] - other[1]


def _profiled(name: str) -> dict[str, tuple[float, float]]:
    """Python calls and seconds of a request by file; a built-in counts for who called it."""
    case = CASES[name].make()
    assert isinstance(case, Case)
    case.check()
    case.time(BATCH)
    profiler = cProfile.Profile(builtins=False)
    # Whole batches, each as if it were the first; garbage is left for later.
    gc.disable()
    for _ in range(20):
        case.before()
        sent = [dict(case.requests[n % len(case.requests)]) for n in range(BATCH)]
        profiler.enable()
        for environ in sent:
            b"".join(case.app(environ, _start_response))
        profiler.disable()
    gc.enable()
    costs: dict[str, tuple[float, float]] = {}
    stats: Any = pstats.Stats(profiler)
    for (path, _, _), (_, calls, seconds, _, _) in stats.stats.items():
        place = Path(path)
        file = f"{place.parent.name}/{place.name}" if place.suffix else "made by the interpreter"
        had = costs.get(file, (0.0, 0.0))
        costs[file] = (had[0] + calls / BATCH / 20, had[1] + seconds)
    costs.pop(f"benchmarks/{Path(__file__).name}", None)
    return costs


def machine() -> dict[str, str]:
    """What it ran on."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text(encoding="utf-8").splitlines() if cpu.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "CPU": f"{os.cpu_count()} x {models[0] if models else platform.machine()}",
        "system": f"{platform.system()} {platform.machine()}",
        platform.python_implementation(): platform.python_version(),
    }


def libraries() -> dict[str, str]:
    """Which versions it ran with."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What a guarded route costs.")
    parser.add_argument("--rounds", type=int, default=60, help="batches of each case (60)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--profile", action="store_true", help="say where the time goes instead")
    options = parser.parse_args()
    if options.profile:
        print("\n".join(profile()))
        return
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    report = Report(measure(max(1, options.rounds)), load)
    print(report.as_json() if options.json else report.as_text())


if __name__ == "__main__":
    main()
