"""Beside Flask-Admin: ``is_accessible`` asks who the caller is."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from flask_jam import Jam, current_auth, protect, session_required
from flask_jam.audit import Route, open_routes, routes
from flask_jam.testing import assert_all_protected

from ..conftest import new_app

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    admin = pytest.importorskip("flask_admin", reason="needs Flask-Admin")


class Index(admin.AdminIndexView):  # type: ignore[name-defined, misc]
    def is_accessible(self) -> bool:
        auth = current_auth()
        return auth is not None and "admin" in auth.payload.get("roles", [])


@pytest.mark.parametrize("protected", [False, True])
def test_only_an_admin_sees_the_index(jam: Jam, protected: bool) -> None:
    app = new_app(jam)
    app.secret_key = "flask's own"
    admin.Admin(app, index_view=Index())
    if protected:
        protect(app, session_required)
    statuses: dict[str, Any] = {}
    for user, roles in (("ann", ["admin"]), ("bob", [])):
        client = app.test_client()
        client.set_cookie("sessionId", jam.create_session(user, {"roles": roles}))
        answer = client.get("/admin/")
        statuses[user] = answer.status_code
        assert "public" not in answer.headers.get("Cache-Control", "")
        assert "Cookie" in answer.headers["Vary"]
    assert statuses == {"ann": 200, "bob": 403}
    assert app.test_client().get("/admin/").status_code == (401 if protected else 403)


def test_its_static_files_stay_cacheable(jam: Jam) -> None:
    app = new_app(jam)
    admin.Admin(app, index_view=Index())
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 3600
    app.before_request(lambda: print(end="") if current_auth() else None)
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("ann", {}))
    with client.get("/admin/static/admin/css/bootstrap4/admin.css") as answer:
        assert answer.status_code == 200
        assert "public" in answer.headers["Cache-Control"]
        assert "Vary" not in answer.headers


def index_of(jam: Jam, index_view: Any, protected: bool = False) -> Route:
    app = new_app(jam)
    app.testing = True
    admin.Admin(app, index_view=index_view)
    if protected:
        protect(app, session_required)
    (route,) = [each for each in routes(app) if each.rule == "/admin/"]
    assert (route in open_routes(app)) == (not route.origins)
    if route.origins:
        assert_all_protected(app)
    return route


def test_view_with_is_accessible_is_listed_as_guarded(jam: Jam) -> None:
    route = index_of(jam, Index())
    assert (route.guard, route.origins) == ("Index.is_accessible", ("is_accessible",))
    both = index_of(jam, Index(), protected=True)
    assert both.guard == "session_required & Index.is_accessible"
    assert both.origins == ("app", "is_accessible")


def test_inherited_is_accessible_counts(jam: Jam) -> None:
    class Derived(Index):
        pass

    assert index_of(jam, Derived()).guard == "Index.is_accessible"


def test_view_without_is_accessible_stays_open(jam: Jam) -> None:
    assert index_of(jam, admin.AdminIndexView()).origins == ()


def test_is_accessible_that_is_not_asked_stays_open(jam: Jam) -> None:
    class Never(Index):
        def _handle_view(self, name: str, **kwargs: Any) -> None:
            return None

    assert index_of(jam, Never()).origins == ()
