"""Beside libraries that are too heavy for the other tests: the examples of docs/beside.rst."""

from __future__ import annotations

from typing import Any

import pytest

from flask_jam import Jam

from ...conftest import SECRET, bearer
from ...moving.pages import Page

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def key(no_settings_from_outside: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAM_JWT_SECRET_KEY", SECRET)


def test_strawberry_asks_the_guard_before_a_query() -> None:
    pytest.importorskip("strawberry", reason="needs strawberry-graphql")
    app = Page("beside", "strawberry-graphql").app("Beside: Strawberry")
    jam: Jam = app.extensions["jam"]
    client, query = app.test_client(), {"query": "{ me }"}
    for name in ("alice", "bob"):
        sent = bearer(jam.issue_tokens(name)["access_token"])
        answer = client.post("/graphql", json=query, headers=sent)
        assert answer.json == {"data": {"me": name}}
    for sent in ({}, bearer("a.b.c")):
        refused = client.post("/graphql", json=query, headers=sent)
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.fixture
def dash_app() -> Any:
    pytest.importorskip("dash", reason="needs dash")
    return Page("beside", "dash").app("Beside: Dash")


CALLBACK = {
    "output": "greeting.children",
    "outputs": {"id": "greeting", "property": "children"},
    "inputs": [{"id": "name", "property": "value", "value": ""}],
    "changedPropIds": ["name.value"],
}


def test_dash_shows_a_stranger_nothing(dash_app: Any) -> None:
    client = dash_app.test_client()
    rules = {rule.rule for rule in dash_app.url_map.iter_rules()}
    assert {"/_dash-layout", "/_dash-update-component"} <= rules
    for path in ("/", "/_dash-layout", "/_dash-dependencies"):
        assert client.get(path).status_code == 401
    assert client.post("/_dash-update-component", json=CALLBACK).status_code == 401


def test_dash_callback_knows_its_user(dash_app: Any) -> None:
    client = dash_app.test_client()
    client.post("/login")
    for path in ("/", "/_dash-layout", "/_dash-dependencies"):
        assert client.get(path).status_code == 200
    answer = client.post("/_dash-update-component", json=CALLBACK)
    assert answer.json["response"] == {"greeting": {"children": "Hello alice"}}
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    refused = client.post("/_dash-update-component", json=CALLBACK, headers=elsewhere)
    assert refused.status_code == 403


def test_client_of_pytest_flask_logs_in(pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_flask", reason="needs pytest-flask")
    pytester.makepyfile(Page("beside", "pytest-flask").block("Beside: pytest-flask"))
    result = pytester.runpytest_subprocess("-W", "error", "-p", "no:dash")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["plugins:*flask-*"])
