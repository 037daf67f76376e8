"""What a loader may be, and what it may return: every mistake is found, and none lets a user in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from werkzeug.local import LocalProxy

from flask_jam import (
    Accepted,
    ConfigError,
    Jam,
    JWTExtension,
    SchemeExtension,
    SessionExtension,
    current_user,
    jwt_required,
    session_required,
)
from flask_jam._request.user_loader import check_loader, user_from

from ..cases import each_case
from ..conftest import bearer
from ..schemes.test_interface import HeaderScheme


class Falsy:
    """A user whose class says that it is false and empty."""

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0


async def load_async(auth: Accepted) -> None: ...


class AsyncCallable:
    async def __call__(self, auth: Accepted) -> None: ...


async def load_generated(auth: Accepted) -> Any:
    yield None


@each_case(
    ("loader", "sentence"),
    [
        (load_async, "must not be async"),
        (functools.partial(load_async), "must not be async"),
        (AsyncCallable(), "must not be async"),
        (load_generated, "must not be async"),
        ("load", "must be a function, got str"),
        (Falsy, "must be a function, got Falsy"),
        (lambda: None, "called with one argument"),
        (lambda header, payload: None, "called with one argument"),
    ],
)
def test_a_loader_that_could_never_work_is_refused_at_start(loader: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_loader(loader)
    with pytest.raises(ConfigError, match=sentence):
        JWTExtension(load_user=loader)
    with pytest.raises(ConfigError, match=sentence):
        SessionExtension().user_loader(loader)
    with pytest.raises(ConfigError, match=sentence):
        SchemeExtension(HeaderScheme(), load_user=loader)


@each_case("loader", [lambda auth: None, lambda *args: None, {}.get, functools.partial(max, 1)])
def test_any_function_of_one_argument_is_a_loader(loader: Any) -> None:
    check_loader(loader)


def test_user_loader_gives_the_function_back() -> None:
    def load(auth: Accepted) -> None: ...

    assert JWTExtension().user_loader(load) is load


@each_case("returned", [None, False, 0, 0.0, "", b"", [], (), {}, set()])
def test_a_false_value_of_a_built_in_type_is_no_user(returned: Any) -> None:
    assert user_from(returned) is None


@each_case("returned", [Falsy(), object(), {"id": 1}, "ann", 7, ("ann",)])
def test_any_other_object_is_a_user(returned: Any) -> None:
    assert user_from(returned) is returned


def answer_of(jam: Jam, loader: Callable[[Accepted], Any]) -> Any:
    app = Flask("loaded")
    JWTExtension(jam, app, load_user=loader)
    app.add_url_rule("/", "view", jwt_required(lambda: repr(bool(current_user))))
    return app.test_client().get("/", headers=bearer(jam.issue_tokens("ann")["access_token"]))


@each_case("returned", [True, load_async, lambda auth: (n for n in [1])])
def test_what_is_a_mistake_and_no_user_lets_nobody_in(jam: Jam, returned: Any) -> None:
    def load(auth: Accepted) -> Any:
        return returned(auth) if callable(returned) else returned

    # Without a warning of a coroutine that was never awaited, which would be an error here.
    assert answer_of(jam, load).status_code == 500


def test_an_object_that_is_false_by_itself_is_a_user(jam: Jam) -> None:
    assert answer_of(jam, lambda auth: Falsy()).text == "True"


def test_a_disabled_user_by_and_is_refused(jam: Jam) -> None:
    row = type("Row", (), {"is_active": 0})()
    assert answer_of(jam, lambda auth: row and row.is_active and row).status_code == 401


@each_case(("behind", "status"), [(None, 401), (False, 401), ("ann", 200)])
def test_a_proxy_is_the_user_that_it_stands_for(jam: Jam, behind: Any, status: int) -> None:
    app = Flask("proxies")
    SessionExtension(jam, app, load_user=lambda _: LocalProxy(lambda: behind))
    app.add_url_rule("/me", "me", session_required(lambda: "in"))
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("ann", {}))
    assert client.get("/me").status_code == status
