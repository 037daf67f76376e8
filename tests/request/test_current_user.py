"""``current_user`` where a user is there, where none is, and where none could be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask, render_template_string
from jinja2 import DictLoader

from flask_jam import (
    ConfigError,
    Jam,
    SessionExtension,
    current_auth,
    current_subject,
    current_user,
    current_user_as,
    jwt_required,
    public,
    session_required,
)

from ..cases import each_case
from ..conftest import bearer, new_app


@dataclass
class User:
    name: str


class Disabled(User):
    """One that says itself what it is."""

    is_authenticated = False
    is_anonymous = True

    @property
    def is_active(self) -> bool:
        raise AttributeError("a fault of its own")


def loading(jam: Jam, kind: type[Any] = User) -> Flask:
    app = Flask("users")
    SessionExtension(jam, app, load_user=lambda auth: kind(auth.subject))
    return app


def get(app: Flask, jam: Jam, view: Any, subject: str | None = "ann", guard: Any = public) -> Any:
    app.testing = True
    app.add_url_rule("/", "view", guard(view))
    client = app.test_client()
    if subject is not None:
        client.set_cookie("sessionId", jam.create_session(subject, {}))
    return client.get("/")


FLAGS = "is_authenticated", "is_active", "is_anonymous"


def flags() -> list[Any]:
    return [bool(current_user), *(getattr(current_user, name) for name in FLAGS)]


def test_a_user_is_there_and_says_so(jam: Jam) -> None:
    def view() -> list[Any]:
        assert current_user == User("ann")
        assert isinstance(current_user, User)
        assert current_user._get_current_object() is current_auth().user  # type: ignore[union-attr]
        return [*flags(), current_user.name]

    assert get(loading(jam), jam, view).json == [True, True, True, False, "ann"]


def test_nobody_is_false_and_says_so(jam: Jam) -> None:
    def view() -> list[Any]:
        assert (current_auth(), repr(current_user)) == (None, "<anonymous>")
        assert not hasattr(current_user, "name")
        return flags()

    assert get(loading(jam), jam, view, subject=None).json == [False, False, False, True]


def test_outside_of_a_request_it_is_nobody() -> None:
    assert flags() == [False, False, False, True]


def test_what_a_user_says_of_itself_counts(jam: Jam) -> None:
    def view() -> list[Any]:
        with pytest.raises(AttributeError, match="own"):
            _ = current_user.is_active
        return [bool(current_user), current_user.is_authenticated, current_user.is_anonymous]

    assert get(loading(jam, Disabled), jam, view).json == [True, False, True]


def test_without_a_loader_it_is_an_error_and_no_template_has_it(jam: Jam) -> None:
    def view() -> str:
        for ask in (lambda: bool(current_user), lambda: current_user.name):
            with pytest.raises(ConfigError, match=r"write @session\.user_loader"):
                ask()
        return render_template_string("{{ current_user is defined }}")

    assert get(new_app(jam), jam, view).text == "False"


def test_without_an_extension_it_is_an_error() -> None:
    with Flask("none").test_request_context(), pytest.raises(ConfigError, match="loads no users"):
        bool(current_user)


TEMPLATES = {
    "macro": "{% macro who() %}{{ current_user.name if current_user else 'nobody' }}{% endmacro %}",
    "page": "{% import 'macro' as m %}{{ m.who() }}{{ '!' if current_user.is_authenticated }}",
}


@each_case(("subject", "text"), [("ann", "ann!"), (None, "nobody")])
def test_templates_and_imported_macros_have_it(jam: Jam, subject: str | None, text: str) -> None:
    app = loading(jam)
    app.jinja_loader = DictLoader(TEMPLATES)  # type: ignore[assignment]
    view = app.jinja_env.get_template("page").render
    assert get(app, jam, view, subject).text == text


def test_a_loader_set_after_the_environment_is_made_reaches_templates(jam: Jam) -> None:
    app = Flask("late")
    session = SessionExtension(jam, app)
    assert "current_user" not in app.jinja_env.globals
    session.user_loader(lambda auth: User(str(auth.subject)))
    assert app.jinja_env.globals["current_user"] is current_user


def test_a_template_global_of_the_app_is_kept(jam: Jam) -> None:
    app = Flask("own")
    app.jinja_env.globals["current_user"] = "mine"
    SessionExtension(jam, app, load_user=lambda auth: None)
    assert app.jinja_env.globals["current_user"] == "mine"


# --- in a guarded view ---


def test_the_user_of_a_guarded_view_is_of_its_class(jam: Jam) -> None:
    def view() -> str:
        user: User = current_user_as(User)
        with pytest.raises(ConfigError, match=r"current_user_as\(int\): .* a User"):
            current_user_as(int)
        return user.name

    assert get(loading(jam), jam, view, guard=session_required).text == "ann"


def test_the_subject_of_a_guarded_view_is_a_string(jam: Jam) -> None:
    assert get(new_app(jam), jam, current_subject, guard=session_required).text == "ann"


@each_case("ask", [current_subject, lambda: current_user_as(User)])
@each_case("subject", ["ann", None])
def test_where_no_guard_stands_both_say_so(jam: Jam, ask: Any, subject: str | None) -> None:
    def view() -> str:
        with pytest.raises(ConfigError, match="behind a guard that is not optional"):
            ask()
        return "asked"

    assert get(loading(jam), jam, view, subject).text == "asked"


def test_a_guard_that_let_a_stranger_pass_makes_no_subject(jam: Jam) -> None:
    def view() -> str:
        with pytest.raises(ConfigError, match="not optional"):
            current_subject()
        return "asked"

    guard = session_required(optional=True)
    assert get(new_app(jam), jam, view, None, guard).text == "asked"


def test_a_typed_user_needs_a_loader(jam: Jam) -> None:
    def view() -> str:
        with pytest.raises(ConfigError, match="loads no users"):
            current_user_as(User)
        return "asked"

    assert get(new_app(jam), jam, view, guard=session_required).text == "asked"


def test_a_token_without_a_subject_has_none(jam: Jam) -> None:
    def view() -> str:
        with pytest.raises(ConfigError, match="has no sub"):
            current_subject()
        return "asked"

    app = new_app(jam)
    app.testing = True
    app.add_url_rule("/", "view", jwt_required(view))
    assert app.test_client().get("/", headers=bearer(jam.gen_jwt_token({}))).text == "asked"


def test_outside_of_a_request_flask_says_what_is_missing() -> None:
    with pytest.raises(RuntimeError, match="request context"):
        current_subject()
