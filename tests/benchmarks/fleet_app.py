"""What each worker of the fleet benchmark serves: one app for each case, side by side.

gunicorn finds it as ``tests.benchmarks.fleet_app:application()``. All cases live in the same
workers, so that they can take turns on the same connections.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import redis
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from flask_jam import Jam, JWTExtension, SessionExtension, jwt_required, session_required

from .route_cost import CLAIMS, LIFE, SECRET, installed, plain_view

#: Where a worker reads the address of Redis.
REDIS_URL = "BENCHMARK_REDIS_URL"
#: What tells which worker answers.
WHO = "/who"

Headers = dict[str, str]


class Case(NamedTuple):
    """One route behind one guard."""

    #: The app, given the address of Redis. Workers and the benchmark itself make it alike.
    make: Callable[[str], Flask]
    path: str
    #: The header of somebody who may come in.
    log_in: Callable[[Flask], Headers]
    #: Modules of the extra ``bench``.
    needs: tuple[str, ...] = ()
    #: Whether anybody is turned away.
    guarded: bool = True

    @property
    def installed(self) -> bool:
        """Whether it can be made here."""
        return all(installed(module) for module in self.needs)


def _view() -> Callable[[], str]:
    # One function each: a guard marks the view that it is put on.
    return lambda: "ok"


def bearer(token: str) -> Headers:
    """A token, sent."""
    return {"Authorization": f"Bearer {token}"}


def bare(_url: str) -> Flask:
    """Flask alone."""
    app = Flask("bare_app")
    app.add_url_rule("/", "bare", plain_view)
    return app


# --- flask_jam ------------------------------------------------------------------------


def make_jam(url: str, *, near: bool = True) -> Jam:
    """A Jam of the fleet; all of them have one key and one Redis."""
    jwt = {"secret_key": SECRET, "expire": LIFE}
    return Jam({"jwt": jwt, "redis_url": url, "near_cache": near})


@cache
def near(url: str) -> Flask:
    """Both schemes, the near cache on."""
    return _our_app(make_jam(url))


@cache
def far(url: str) -> Flask:
    """The same, and each request asks Redis."""
    return _our_app(make_jam(url, near=False))


def _our_app(jam: Jam) -> Flask:
    app = Flask("flask_jam_app")
    JWTExtension(jam, app)
    SessionExtension(jam, app)
    app.add_url_rule("/jwt", "jwt", jwt_required(_view()))
    app.add_url_rule("/session", "session", session_required(_view()))
    return app


def our_token(app: Flask) -> Headers:
    """As a login gives it."""
    tokens = app.extensions["jam"].issue_tokens(
        "alice", scopes={"read", "write"}, roles={"admin"}
    )  # fmt: skip
    return bearer(tokens["access_token"])


def any_token(_app: Flask) -> Headers:
    """One of the same size, for a route that looks at none."""
    jam = Jam({"jwt": {"secret_key": SECRET, "expire": LIFE}})
    return our_token(_our_app(jam))


def our_session(app: Flask) -> Headers:
    """A session by its cookie."""
    session_id = app.extensions["jam"].create_session("alice", {"user": 1, "roles": ["admin"]})
    return {"Cookie": f"sessionId={session_id}"}


# --- peers, as their documentation has them -------------------------------------------


def flask_jwt_extended(url: str) -> Flask:
    """With its block list on Redis."""
    from flask_jwt_extended import JWTManager
    from flask_jwt_extended import jwt_required as their_guard

    app = Flask("flask_jwt_extended_app")
    app.config.update(JWT_SECRET_KEY=SECRET, JWT_ACCESS_TOKEN_EXPIRES=LIFE)
    blocked = redis.Redis.from_url(url, decode_responses=True)

    def is_blocked(_header: dict[str, Any], claims: dict[str, Any]) -> bool:
        return blocked.get(claims["jti"]) is not None

    JWTManager(app).token_in_blocklist_loader(is_blocked)
    app.add_url_rule("/", "guarded", their_guard()(_view()))
    return app


def their_token(app: Flask) -> Headers:
    """The claims that ours has."""
    from flask_jwt_extended import create_access_token

    with app.app_context():
        return bearer(create_access_token("alice", additional_claims=CLAIMS))


def flask_session(url: str) -> Flask:
    """Flask-Session keeps the session on Redis, Flask-Login asks who is in it."""
    from flask_login import LoginManager, UserMixin, login_required, login_user
    from flask_session import Session

    class User(UserMixin):
        id = "alice"

    app, users = Flask("flask_session_app"), {"alice": User()}
    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=redis.Redis.from_url(url))
    app.secret_key = SECRET
    Session(app)
    LoginManager(app).user_loader(users.get)
    app.add_url_rule("/login", "login", lambda: str(login_user(users["alice"])))
    app.add_url_rule("/", "guarded", login_required(_view()))
    return app


def their_session(app: Flask) -> Headers:
    """The cookie of a login."""
    cookie = app.test_client(use_cookies=False).get("/login").headers["Set-Cookie"]
    return {"Cookie": cookie.partition(";")[0]}


# --- all of them ----------------------------------------------------------------------

BARE = "bare route"
CONTROL = "bare route, sent a token all the same"
TOKEN = "token, warm near cache"
SESSION = "session, warm near cache"
TOKEN_FAR = "token, near cache off"
SESSION_FAR = "session, near cache off"
FJE = "Flask-JWT-Extended, block list on Redis"
FLASK_SESSION = "Flask-Session on Redis, Flask-Login"

CASES: dict[str, Case] = {
    BARE: Case(bare, "/bare/", lambda _app: {}, guarded=False),
    CONTROL: Case(bare, "/bare/", any_token, guarded=False),
    TOKEN: Case(near, "/near/jwt", our_token),
    SESSION: Case(near, "/near/session", our_session),
    TOKEN_FAR: Case(far, "/far/jwt", our_token),
    SESSION_FAR: Case(far, "/far/session", our_session),
    FJE: Case(flask_jwt_extended, "/fje/", their_token, ("flask_jwt_extended",)),
    FLASK_SESSION: Case(
        flask_session, "/fs/", their_session, ("flask_session", "msgspec", "flask_login")
    ),
}


def application() -> Any:
    """Each case under its own prefix."""
    url = os.environ[REDIS_URL]
    who = Flask("who")
    who.add_url_rule(WHO, "who", lambda: str(os.getpid()))
    mounts = {
        case.path[: case.path.index("/", 1)]: case.make(url)
        for case in CASES.values()
        if case.installed
    }
    return DispatcherMiddleware(who, mounts)
