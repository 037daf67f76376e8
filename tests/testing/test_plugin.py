"""The pytest plugin: there without a line of setup."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from typing import Any

import pytest
from flask import Flask

from flask_jam import ConfigError
from flask_jam.testing import JamClient

from ..cases import each_case
from ..conftest import SECRET

pytest_plugins = ["pytester"]

CONFTEST = f"""
import pytest
from flask import Flask, g
from flask_jam import Jam, JWTExtension, jwt_required

@pytest.fixture
def app():
    app = Flask("shop")
    app.testing = True
    JWTExtension(Jam({{"jwt": {{"secret_key": "{SECRET}"}}}}), app)
    app.add_url_rule("/me", "me", jwt_required(lambda: g.payload))
    return app
"""


def test_the_client_is_one_of_the_fixture_app(jam_client: JamClient, app: Flask) -> None:
    assert jam_client.application is app
    jam_client.login("alice")
    assert jam_client.get("/jwt").json["subject"] == "alice"


class OwnClient(JamClient):
    """What a user may have made of it."""


@each_case(("own", "given"), [
    (OwnClient, OwnClient), (JamClient, JamClient), (None, JamClient),
])  # fmt: skip
def test_the_client_is_of_the_apps_own_kind_where_that_logs_in(
    app: Flask, request: pytest.FixtureRequest, own: Any, given: type
) -> None:
    app.test_client_class = own
    assert type(request.getfixturevalue("jam_client")) is given


def test_the_events_are_those_of_the_app_in_order(
    auth_events: list[tuple[str, dict[str, Any]]], jam_client: JamClient
) -> None:
    assert auth_events == []
    jam_client.post("/login/alice")
    jam_client.get("/jwt")
    jam_client.login("alice")
    jam_client.logout()
    assert [(name, what.get("reason"), what.get("kind")) for name, what in auth_events] == [
        ("logged_in", None, None), ("rejected", "missing", None), ("revoked", None, "token"),
        ("revoked", None, "family"),
    ]  # fmt: skip


@each_case("name", ["jam_client", "auth_events"])
def test_an_app_that_is_not_being_tested_gets_no_fixture(
    app: Flask, request: pytest.FixtureRequest, name: str
) -> None:
    app.testing = False
    with pytest.raises(ConfigError, match=r"app\.testing = True"):
        request.getfixturevalue(name)


def test_it_is_installed_with_the_package() -> None:
    (found,) = (each for each in entry_points(group="pytest11") if each.name == "flask_jam")
    assert found.value == "flask_jam.testing.plugin"


@pytest.mark.slow
def test_a_project_uses_it_without_a_line_of_setup(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile("""
        from flask_jam.testing import assert_refused

        def test_me(jam_client, auth_events):
            assert_refused(jam_client.get("/me"), "missing")
            jam_client.login("alice")
            assert jam_client.get("/me").json["sub"] == "alice"
            assert [name for name, _ in auth_events] == ["rejected"]

        def test_red(jam_client):
            assert_refused(jam_client.get("/me"), "expired")
    """)
    result = pytester.runpytest_subprocess("-W", "error")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E*expected to be refused: expired (401 invalid_token)"])
    # The failure points at the test, not into this package.
    result.stdout.fnmatch_lines(["test_a_project_*.py:10: AssertionError"])


@pytest.mark.slow
def test_loading_it_imports_no_extra_and_no_suite(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys

        def test_it_is_there(request):
            assert request.config.pluginmanager.has_plugin("flask_jam")
            assert {"redis", "yaml", "flask_jam.testing.stores"}.isdisjoint(sys.modules)
    """)
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=1)


@pytest.mark.slow
def test_it_can_be_turned_off(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        def test_nothing_is_there(request):
            assert not request.config.pluginmanager.has_plugin("flask_jam")

        def test_me(jam_client): ...
    """)
    result = pytester.runpytest_subprocess("-W", "error", "-p", "no:flask_jam")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*fixture 'jam_client' not found"])


def test_nothing_but_the_suite_for_stores_needs_pytest(pytester: pytest.Pytester) -> None:
    code = "import sys; sys.modules['pytest'] = None; import flask_jam.testing"
    assert pytester.run(sys.executable, "-c", code).ret == 0


def test_the_package_itself_does_not_import_its_helpers_for_tests(
    pytester: pytest.Pytester,
) -> None:
    code = "import sys, flask_jam; assert 'flask_jam.testing' not in sys.modules"
    assert pytester.run(sys.executable, "-c", code).ret == 0
