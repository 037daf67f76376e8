"""Beside Flask-Caching: a cache above a guard gives one user's page to all, and is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, g
from flask.views import MethodView

from flask_jam import Accepted, Jam, SessionExtension, current_auth, current_user, session_required
from flask_jam.audit import overridden_guards
from flask_jam.testing import assert_all_protected

from ..conftest import new_app

flask_caching = pytest.importorskip("flask_caching", reason="needs Flask-Caching")

Decorator = Callable[[Any], Any]


@pytest.fixture
def app(jam: Jam) -> Flask:
    app = new_app(jam)
    app.testing = True
    return app


@pytest.fixture
def cached(app: Flask) -> Decorator:
    cache = flask_caching.Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    decorator: Decorator = cache.cached(timeout=60)
    return decorator


def page() -> str:
    return str(g.payload["name"])


def pages(app: Flask, jam: Jam) -> list[str]:
    """Return what Alice, Bob and a stranger get, in this order."""
    found = []
    for user in ("alice", "bob", None):
        client = app.test_client()
        if user is not None:
            client.set_cookie("sessionId", jam.create_session(user, {"name": user}))
        answer = client.get("/")
        found.append(answer.text if answer.status_code == 200 else answer.status)
    return found


def test_cache_above_a_guard_leaks_and_is_named(app: Flask, jam: Jam, cached: Decorator) -> None:
    app.add_url_rule("/", "page", cached(session_required(page)))
    assert pages(app, jam) == ["alice", "alice", "alice"]
    (sentence,) = overridden_guards(app)
    assert sentence.startswith("flask_caching.")
    assert "flask_caching/__init__.py:" in sentence.replace("\\", "/")
    assert "above the guard on page and serves its answer to others" in sentence
    with pytest.warns(RuntimeWarning, match="stands above the guard on page"):
        assert_all_protected(app)


def test_cache_below_a_guard_is_no_warning(app: Flask, jam: Jam) -> None:
    cache = flask_caching.Cache(app, config={"CACHE_TYPE": "SimpleCache"})

    def key() -> str:
        auth = current_auth()
        return auth.subject or "" if auth else ""

    below = cache.cached(timeout=60, key_prefix=key)
    app.add_url_rule("/", "page", session_required(below(page)))
    assert pages(app, jam) == ["alice", "bob", "401 UNAUTHORIZED"]
    assert overridden_guards(app) == []
    assert_all_protected(app)


def test_cache_around_a_class_with_guarded_methods_is_named(
    app: Flask, jam: Jam, cached: Decorator
) -> None:
    class Page(MethodView):
        decorators = [cached]  # noqa: RUF012 - as Flask documents it

        @session_required
        def get(self) -> str:
            return page()

    app.add_url_rule("/", view_func=Page.as_view("page"))
    assert pages(app, jam) == ["alice", "alice", "alice"]
    (sentence,) = overridden_guards(app)
    assert "Page and serves its answer to others" in sentence


def test_cache_between_two_guards_is_named(app: Flask, cached: Decorator) -> None:
    admin = session_required(roles={"admin"})
    app.add_url_rule("/", "page", session_required(cached(admin(page))))
    assert len(overridden_guards(app)) == 1


def test_a_memoized_loader_gives_each_caller_their_own_user(jam: Jam) -> None:
    app, loaded = Flask("memoized"), list[str | None]()
    session = SessionExtension(jam, app)
    cache = flask_caching.Cache(app, config={"CACHE_TYPE": "SimpleCache"})

    @session.user_loader
    @cache.memoize(timeout=60)  # type: ignore[untyped-decorator,unused-ignore]
    def load_user(auth: Accepted) -> dict[str, Any]:
        loaded.append(auth.subject)
        return {"name": auth.subject}

    app.add_url_rule("/", "view", session_required(lambda: current_user["name"]))
    client = app.test_client()
    for name in ("ann", "bob"):
        client.set_cookie("sessionId", jam.create_session(name, {}))
        assert [client.get("/").text for _ in range(2)] == [name, name]
    assert loaded == ["ann", "bob"]
