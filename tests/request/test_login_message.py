"""On the way to the login: which page, with which message, and sent there from inside a view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from flask import Blueprint, Flask, Response, flash, get_flashed_messages, redirect, request
from flask.sessions import SecureCookieSession, SessionInterface
from flask.testing import FlaskClient

from flask_jam import (
    ConfigError,
    Jam,
    SessionExtension,
    protect,
    public,
    safe_next,
    session_required,
    signals,
)
from flask_jam.refusal import ToLogin

from ..cases import each_case
from ..conftest import Clock

MakeJam = Callable[..., Jam]
PAGE = {"Accept": "text/html,*/*;q=0.8"}
HTMX = {"HX-Request": "true", "HX-Current-URL": "https://localhost/list"}
MESSAGE = "Please log in."


def said() -> Any:
    return get_flashed_messages(with_categories=True)


def build(jam: Jam, key: str | None = "k" * 32) -> Flask:
    """A site with an area for admins, and one for auditors within it."""
    app = Flask("messages")
    app.secret_key = key
    session = SessionExtension(jam, app)
    admin, audit = Blueprint("admin", "admin"), Blueprint("audit", "audit")

    def login() -> Any:
        if request.method == "POST":
            session.login("ann")
            return redirect(safe_next("/home"), 303)
        return {"flashed": said()}

    for area, name in ((app, "login"), (admin, "enter"), (audit, "sign_in")):
        area.add_url_rule(f"/{name}", name, public(login), methods=["GET", "POST"])
        area.add_url_rule("/home", "home", session_required(lambda: "home"))
        area.add_url_rule("/fresh", "fresh", session_required(max_age=60)(lambda: "fresh"))
        area.add_url_rule("/staff", "staff", session_required(roles={"staff"})(lambda: "staff"))

    @app.route("/pay", methods=["GET", "POST"])
    @public
    def pay() -> str:
        if request.values.get("amount", "0") != "0":
            session_required.enforce()
        if request.values.get("amount", "0") == "1000":
            session_required(max_age=60).enforce()
        return "paid"

    admin.register_blueprint(audit, url_prefix="/audit")
    app.register_blueprint(admin, url_prefix="/admin")
    return app


@pytest.fixture
def client(make_jam: MakeJam) -> FlaskClient:
    jam = make_jam(login_view="login", login_message=MESSAGE, login_message_category="warning")
    return build(jam).test_client()


VIEWS = {"admin": "admin.enter", "admin.audit": "admin.audit.sign_in"}


# --- login_views ----------------------------------------------------------------------


@each_case(
    ("views", "path", "login"),
    [
        (VIEWS, "/home", "/login"),
        (VIEWS, "/admin/home", "/admin/enter"),
        (VIEWS, "/admin/audit/home", "/admin/audit/sign_in"),
        ({"admin": "admin.enter"}, "/admin/audit/home", "/admin/enter"),
        ({"admin.audit": "/sso"}, "/admin/audit/home", "/sso"),
        ({"admin.audit": "/sso"}, "/admin/home", "/login"),
    ],
    ids=str,
)
def test_each_blueprint_has_its_login_page(
    make_jam: MakeJam, views: dict[str, str], path: str, login: str
) -> None:
    client = build(make_jam(login_view="login", login_views=views)).test_client()
    answer = client.get(path, headers=PAGE)
    assert (answer.status_code, answer.location) == (302, f"{login}?next={path}")
    scripted = client.get(path, headers=HTMX)
    assert scripted.headers["HX-Redirect"].startswith(f"{login}?")


def test_a_blueprint_may_be_the_only_one_with_a_login_page(make_jam: MakeJam) -> None:
    client = build(make_jam(login_views={"admin": "admin.enter"})).test_client()
    assert client.get("/home", headers=PAGE).status_code == 401
    assert client.get("/admin/home", headers=PAGE).location == "/admin/enter?next=/admin/home"


def test_a_protected_blueprint_sends_to_its_own_page(make_jam: MakeJam) -> None:
    jam = make_jam(login_views={"shop": "shop.enter"})
    app, shop = Flask("shops"), Blueprint("shop", "shop")
    SessionExtension(jam, app)
    protect(shop, session_required)
    shop.add_url_rule("/enter", "enter", public(lambda: "form"))
    shop.add_url_rule("/cart", "cart", lambda: "cart")
    app.register_blueprint(shop, url_prefix="/shop")
    client = app.test_client()
    assert client.get("/shop/cart", headers=PAGE).location == "/shop/enter?next=/shop/cart"
    assert client.get("/shop/enter", headers=PAGE).text == "form"


@each_case(
    ("views", "phrase"),
    [
        ({"adnim": "login"}, "no blueprint 'adnim'; did you mean admin?"),
        ({"audit": "login"}, "no blueprint 'audit'"),
        ({"admin": "admin.entre"}, "no endpoint 'admin.entre'; did you mean admin.enter?"),
        ({"admin": "admin.home"}, "login_views: admin.home is guarded"),
        ({"admin": "login", "admin.audit": "admin.audit.home"}, "admin.audit.home is guarded"),
    ],
    ids=str,
)
def test_a_login_page_at_which_nobody_arrives_is_an_error_at_start(
    make_jam: MakeJam, views: dict[str, str], phrase: str
) -> None:
    app = build(make_jam(login_view="login", login_views=views))
    app.testing = True
    with pytest.raises(ConfigError) as caught:
        app.test_client().get("/login")
    assert phrase in str(caught.value)


# --- login_message --------------------------------------------------------------------


def test_the_message_is_shown_on_the_login_page_once(client: FlaskClient) -> None:
    answer = client.get("/home", headers=PAGE)
    assert client.get(answer.location).json == {"flashed": [["warning", MESSAGE]]}
    assert client.get("/login").json == {"flashed": []}


def test_the_category_is_flasks_own_by_default(make_jam: MakeJam) -> None:
    client = build(make_jam(login_view="login", login_message=MESSAGE)).test_client()
    client.get("/home", headers=PAGE)
    assert client.get("/login").json == {"flashed": [["message", MESSAGE]]}


def test_without_a_message_nothing_is_flashed(make_jam: MakeJam) -> None:
    client = build(make_jam(login_view="login"), key=None).test_client()
    answer = client.get("/home", headers=PAGE)
    assert answer.status_code == 302
    assert "Set-Cookie" not in answer.headers


def test_several_refused_requests_flash_it_once(client: FlaskClient) -> None:
    for path in ("/home", "/fresh", "/staff", "/home", "/admin/home"):
        assert client.get(path, headers=PAGE).status_code == 302
    assert client.get("/login").json == {"flashed": [["warning", MESSAGE]]}


def test_messages_of_the_app_are_kept(make_jam: MakeJam) -> None:
    app = build(make_jam(login_view="login", login_message=MESSAGE))

    @app.get("/hello")
    @public
    def hello() -> str:
        flash("Hello.")
        flash(MESSAGE, "another")
        return ""

    client = app.test_client()
    client.get("/hello")
    client.get("/home", headers=PAGE)
    wanted = [["message", "Hello."], ["another", MESSAGE], ["message", MESSAGE]]
    assert client.get("/login").json == {"flashed": wanted}


@each_case(
    "headers",
    [{}, {"Accept": "application/json"}, {"Accept": "*/*"},
     {**PAGE, "X-Requested-With": "XMLHttpRequest"}, {**PAGE, "Sec-Fetch-Mode": "cors"}],
    ids=str,
)  # fmt: skip
def test_an_answer_to_a_script_flashes_nothing(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    answer = client.get("/home", headers=headers)
    assert answer.status_code == 401
    assert "Set-Cookie" not in answer.headers
    assert client.get("/login").json == {"flashed": []}


def test_htmx_is_sent_to_the_login_with_the_message(client: FlaskClient) -> None:
    answer = client.get("/home", headers=HTMX)
    assert answer.status_code == 401
    assert client.get(answer.headers["HX-Redirect"]).json == {"flashed": [["warning", MESSAGE]]}


def test_who_is_known_and_may_not_is_flashed_nothing(client: FlaskClient) -> None:
    client.post("/login")
    assert client.get("/staff", headers=PAGE).status_code == 403
    assert client.get("/login").json == {"flashed": []}


def test_the_redirect_is_for_no_cache(client: FlaskClient) -> None:
    answer = client.get("/home", headers=PAGE)
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Cookie" in answer.headers["Vary"]
    assert "HttpOnly" in answer.headers["Set-Cookie"]


@each_case(
    "target",
    ["//evil.example", "https://evil.example", "/\\evil.example", "/%0d%0aLocation:%20//e.example"],
)
def test_a_message_opens_no_redirect(client: FlaskClient, target: str) -> None:
    answer = client.get(f"/home?next={quote(target)}", headers={**PAGE, "Host": "localhost"})
    assert answer.location.startswith("/login?next=/home%3F")
    entered = client.post(f"/login?next={quote(target)}")
    assert entered.headers["Location"].startswith("/")
    assert not entered.headers["Location"].startswith(("//", "/\\"))


def test_a_message_from_the_request_is_never_flashed(client: FlaskClient) -> None:
    client.get("/home?login_message=evil&message=evil", headers={**PAGE, "X-Message": "evil"})
    assert client.get("/login").json == {"flashed": [["warning", MESSAGE]]}


def test_a_forged_session_cookie_of_flask_is_as_none(client: FlaskClient) -> None:
    client.set_cookie("session", "eyJfZmxhc2hlcyI6W119.forged.forged")
    assert client.get("/home", headers=PAGE).status_code == 302
    assert client.get("/login").json == {"flashed": [["warning", MESSAGE]]}


def test_the_apps_own_handler_of_the_redirect_finds_it_flashed(client: FlaskClient) -> None:
    app = client.application

    @app.errorhandler(ToLogin)
    def on_the_way(error: ToLogin) -> Any:
        return {"to": error.extra_headers["Location"], "flashed": said()}, 401

    answer = client.get("/home", headers=PAGE)
    assert answer.json == {"to": "/login?next=/home", "flashed": [["warning", MESSAGE]]}


def test_a_message_without_a_secret_key_is_an_error_at_start(make_jam: MakeJam) -> None:
    app = build(make_jam(login_view="login", login_message=MESSAGE), key=None)
    app.testing = True
    with pytest.raises(ConfigError) as caught:
        app.test_client().get("/login")
    assert "needs Flask's SECRET_KEY" in str(caught.value)


def test_a_message_without_a_login_page_is_an_error_at_start(make_jam: MakeJam) -> None:
    app = build(make_jam(login_message=MESSAGE))
    app.testing = True
    with pytest.raises(ConfigError) as caught:
        app.test_client().get("/login")
    assert "set login_view, too" in str(caught.value)


class _InMemory(SessionInterface):
    """A session of Flask that another extension keeps on the server: it needs no key."""

    def __init__(self) -> None:
        self.kept = SecureCookieSession()

    def open_session(self, app: Flask, request: Any) -> SecureCookieSession:
        return self.kept

    def save_session(self, app: Flask, session: Any, response: Response) -> None:
        self.kept = session


def test_a_session_that_needs_no_secret_key_flashes_without(make_jam: MakeJam) -> None:
    app = build(make_jam(login_view="login", login_message=MESSAGE), key=None)
    app.session_interface = _InMemory()
    client = app.test_client()
    client.get("/home", headers=PAGE)
    assert client.get("/login").json == {"flashed": [["message", MESSAGE]]}


# --- from inside a view ---------------------------------------------------------------


@each_case("method", ["GET", "POST"])
def test_a_view_sends_a_visitor_to_the_login_as_a_guard_does(
    client: FlaskClient, method: str
) -> None:
    assert client.open("/pay", method=method, headers=PAGE).text == "paid"
    answer = client.open("/pay?amount=5", method=method, headers=PAGE)
    assert answer.status_code == (302 if method == "GET" else 303)
    assert answer.location == "/login?next=/pay%3Famount%3D5"
    assert client.get("/login").json == {"flashed": [["warning", MESSAGE]]}
    refused = client.open("/pay?amount=5", method=method)
    assert (refused.status_code, refused.json["error"]) == (401, "missing_credential")


def test_a_view_asks_for_a_recent_login(client: FlaskClient, clock: Clock) -> None:
    client.post("/login")
    clock.tick(61)
    heard: list[Any] = []

    def note(sender: Flask, **what: Any) -> None:
        heard.append((what["reason"], what["subject"]))

    with signals.rejected.connected_to(note, client.application):
        assert client.get("/pay?amount=5", headers=PAGE).text == "paid"
        answer = client.get("/pay?amount=1000", headers=PAGE)
    assert answer.location == "/login?next=/pay%3Famount%3D1000"
    assert heard == [("stale", "ann")]
    client.post("/login")
    assert client.get("/pay?amount=1000", headers=PAGE).text == "paid"
