"""Beside Flask-Limiter: each user has a bucket of their own."""

from __future__ import annotations

import pytest
from flask import Flask

from flask_jam import Jam, current_auth, protect, public, session_required

from ..conftest import new_app

limiter = pytest.importorskip("flask_limiter", reason="needs Flask-Limiter")


def bucket() -> str:
    auth = current_auth()
    return f"user:{auth.subject}" if auth else "anonymous"


@pytest.fixture
def app(jam: Jam) -> Flask:
    app = new_app(jam)
    limiter.Limiter(bucket, app=app, default_limits=["2 per hour"], storage_uri="memory://")
    protect(app, session_required)
    app.add_url_rule("/", "index", lambda: "in")
    app.add_url_rule("/open", "open", public(lambda: "open"))
    return app


def statuses(app: Flask, jam: Jam, user: str | None, path: str = "/", times: int = 3) -> list[int]:
    client = app.test_client()
    if user is not None:
        client.set_cookie("sessionId", jam.create_session(user, {}))
    return [client.get(path).status_code for _ in range(times)]


def test_each_user_has_a_bucket(app: Flask, jam: Jam) -> None:
    assert statuses(app, jam, "alice") == [200, 200, 429]
    assert statuses(app, jam, "bob") == [200, 200, 429]


def test_a_public_view_counts_the_user_not_everybody(app: Flask, jam: Jam) -> None:
    assert statuses(app, jam, "alice", "/open") == [200, 200, 429]
    assert statuses(app, jam, "bob", "/open") == [200, 200, 429]
    assert statuses(app, jam, None, "/open") == [200, 200, 429]


def test_a_refused_request_counts_for_its_caller(app: Flask, jam: Jam) -> None:
    assert statuses(app, jam, None) == [401, 401, 401]
    assert statuses(app, jam, "alice") == [200, 200, 429]
