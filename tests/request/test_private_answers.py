"""What leaves: cookies from hooks, and nothing private that a shared cache could keep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, redirect, send_file, send_from_directory, stream_with_context
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.test import TestResponse

from flask_jam import (
    Jam,
    JWTExtension,
    SessionExtension,
    current_auth,
    jwt_required,
    public,
    session_required,
)

from ..cases import each_case
from ..conftest import Clock, bearer, new_app


def named() -> str:
    auth = current_auth()
    return auth.subject or "" if auth else "stranger"


def is_private(answer: TestResponse) -> bool:
    directives = {part.strip().lower() for part in answer.headers["Cache-Control"].split(",")}
    shared = {each for each in directives if each.startswith(("public", "s-maxage"))}
    return not shared and not directives.isdisjoint({"private", "no-store", "no-cache"})


@pytest.fixture
def app(jam: Jam) -> Flask:
    return new_app(jam)


@pytest.fixture
def client(app: Flask, jam: Jam) -> Any:
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("ann", {}))
    return client


# --- hooks -------------------------------------------------------------------------------------


def hooked(app: Flask, action: Any) -> None:
    def hook(response: Response) -> Response:
        action()
        return response

    app.after_request(hook)
    app.add_url_rule("/", "view", lambda: "body")
    app.add_url_rule("/missing", "missing", lambda: (_ for _ in ()).throw(NotFound()))


@each_case("path", ["/", "/missing", "/nowhere"])
def test_a_session_login_in_a_hook_reaches_the_browser(app: Flask, jam: Jam, path: str) -> None:
    hooked(app, lambda: app.extensions["flask_jam"].owners["session"].login("bob"))
    answer = app.test_client().get(path)
    (cookie,) = answer.headers.getlist("Set-Cookie")
    session_id = cookie.partition("=")[2].partition(";")[0]
    assert jam.list_sessions("bob")[0].handle == jam.handle_of(session_id)
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_session_refresh_in_a_hook_keeps_the_user_logged_in(app: Flask, client: Any) -> None:
    app.add_url_rule("/who", "who", session_required(named))
    hooked(app, lambda: app.extensions["flask_jam"].owners["session"].refresh())
    for _ in range(3):
        client.get("/")
    assert client.get("/who").text == "ann"


def test_a_logout_in_a_hook_clears_the_cookie(app: Flask, client: Any, jam: Jam) -> None:
    hooked(app, lambda: app.extensions["flask_jam"].owners["session"].logout(clear_site_data=True))
    answer = client.get("/")
    assert "Max-Age=0" in answer.headers["Set-Cookie"]
    assert answer.headers["Clear-Site-Data"]
    assert jam.list_sessions("ann") == []


def test_an_implicit_refresh_of_tokens_in_a_hook_reaches_the_browser(
    jam: Jam, clock: Clock
) -> None:
    """The recipe of Flask-JWT-Extended: a token that is about to end is replaced."""
    app = Flask("implicit")
    jwt = JWTExtension(jam, app, header_name=None, cookie_name="token")

    def login() -> str:
        jwt.login("ann")
        return "in"

    app.add_url_rule("/login", "login", login, methods=["POST"])
    app.add_url_rule("/who", "who", jwt.required(named))

    @app.after_request
    def renew(response: Response) -> Response:
        auth = current_auth()
        if auth is not None and auth.payload["exp"] - clock() < 600:
            jwt.login(auth.subject or "")
        return response

    client = app.test_client()
    client.post("/login")
    for _ in range(5):
        clock.tick(400)
        assert client.get("/who").text == "ann"


def test_hooks_that_replace_the_answer_lose_no_cookie(app: Flask) -> None:
    session = app.extensions["flask_jam"].owners["session"]
    app.after_request(lambda _response: Response("another"))
    app.add_url_rule("/", "login", lambda: session.login("bob"))
    assert "sessionId=" in app.test_client().get("/").headers["Set-Cookie"]


# --- streams -----------------------------------------------------------------------------------


def late() -> Response:
    def parts() -> Iterator[str]:
        yield "Hello "
        yield named()

    return Response(stream_with_context(parts()))


@each_case("opened", [True, False])
def test_a_stream_that_asks_late_leaves_private(app: Flask, client: Any, opened: bool) -> None:
    app.add_url_rule("/", "view", public(late) if opened else late)
    answer = client.get("/")
    assert answer.text == "Hello ann"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Cookie" in answer.headers["Vary"]


def test_a_stream_for_a_stranger_is_left_alone(app: Flask) -> None:
    app.add_url_rule("/", "view", late)
    answer = app.test_client().get("/")
    assert answer.text == "Hello stranger"
    assert "Cache-Control" not in answer.headers


def test_a_stream_with_a_cache_control_of_its_own_is_not_public(app: Flask, client: Any) -> None:
    def view() -> Response:
        response = late()
        response.headers["Cache-Control"] = "public, max-age=60"
        return response

    app.add_url_rule("/", "view", view)
    assert client.get("/").headers["Cache-Control"] == "max-age=60, private"


def test_lifetime_in_shared_caches_is_dropped_for_a_user(app: Flask, client: Any) -> None:
    headers = {"Cache-Control": "max-age=5, s-maxage=60"}
    app.add_url_rule("/", "view", lambda: (named(), headers))
    assert client.get("/").headers["Cache-Control"] == "max-age=5, private"


# --- files -------------------------------------------------------------------------------------


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "report.txt"
    path.write_text("a report of ann's")
    return path


@each_case("age", [None, 3600])
def test_a_guarded_file_is_not_public_and_range_and_304_work(
    app: Flask, client: Any, report: Path, age: int | None
) -> None:
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = age
    app.add_url_rule("/file", "file", session_required(lambda: send_file(report)))
    app.add_url_rule(
        "/dir", "dir", session_required(lambda: send_from_directory(report.parent, report.name))
    )
    for path in ("/file", "/dir"):
        with client.get(path) as answer:
            assert answer.text == "a report of ann's"
            assert is_private(answer), answer.headers["Cache-Control"]
            etag = answer.headers["ETag"]
        with client.get(path, headers={"Range": "bytes=2-7"}) as answer:
            assert (answer.status_code, answer.text) == (206, "report")
            assert is_private(answer)
        with client.get(path, headers={"If-None-Match": etag}) as answer:
            assert answer.status_code == 304
            assert is_private(answer)


def test_static_files_stay_cacheable_when_a_hook_asks(jam: Jam, tmp_path: Path) -> None:
    (tmp_path / "style.css").write_text("p {}")
    app = Flask("static", static_folder=str(tmp_path), static_url_path="/static")
    SessionExtension(jam, app)
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 3600
    callers: list[str] = []
    app.before_request(lambda: callers.append(named()))
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("ann", {}))
    with client.get("/static/style.css") as answer:
        assert answer.headers["Cache-Control"] == "public, max-age=3600"
        assert "Vary" not in answer.headers
    assert callers == ["ann"]


# --- shared objects ----------------------------------------------------------------------------


def test_a_response_that_a_view_shares_stays_clean(app: Flask, client: Any) -> None:
    shared = Response("constant", headers={"Vary": "Accept", "Cache-Control": "max-age=5"})
    before = list(shared.headers)
    app.add_url_rule("/guarded", "guarded", session_required(lambda: shared))
    app.add_url_rule("/plain", "plain", lambda: shared)
    for _ in range(2):
        guarded = client.get("/guarded")
        assert guarded.text == "constant"
        assert is_private(guarded)
        plain = client.get("/plain")
        assert (plain.headers["Vary"], plain.headers["Cache-Control"]) == ("Accept", "max-age=5")
    assert list(shared.headers) == before


@pytest.mark.parametrize("method", ["make_response", "process_response"])
@pytest.mark.parametrize("how", ["by the class", "on the app"])
def test_a_response_that_the_app_itself_shares_stays_clean(jam: Jam, method: str, how: str) -> None:
    shared = Response("the same for all")

    class SharingApp(Flask):
        pass

    app = SharingApp(__name__)
    setattr(SharingApp if how == "by the class" else app, method, lambda *_: shared)
    session = SessionExtension(jam)
    session.init_app(app)
    app.add_url_rule("/login", "login", lambda: session.login("ann") and "in")
    app.add_url_rule("/open", "open", public(lambda: "open"))
    app.add_url_rule("/guarded", "guarded", session_required(lambda: "guarded"))
    client = app.test_client()
    client.get("/login", base_url="https://localhost")
    for _ in range(2):
        guarded = client.get("/guarded", base_url="https://localhost")
        assert guarded.headers["Cache-Control"] == "no-store"
    assert "Cache-Control" not in client.get("/open").headers
    assert "Cache-Control" not in shared.headers


def test_a_subclass_of_response_keeps_its_class_and_attributes(app: Flask, client: Any) -> None:
    class Own(Response):
        note = "class"

    def view() -> Own:
        response = Own("own", 202)
        response.note = "instance"
        return response

    found: list[Any] = []
    app.response_class = Own
    app.add_url_rule("/", "view", session_required(view))
    process = app.process_response
    app.process_response = lambda response: (found.append(process(response)), found[-1])[1]  # type: ignore[method-assign]
    assert client.get("/").status_code == 202
    assert (type(found[0]), found[0].note) == (Own, "instance")


# --- refusals ----------------------------------------------------------------------------------


@each_case("status", [200, 301, 308, 404, 410])
def test_no_refusal_is_cached_whatever_an_errorhandler_makes_of_it(
    app: Flask, jam: Jam, status: int
) -> None:
    def handler(_error: HTTPException) -> Any:
        if status in (301, 308):
            answer = redirect("/elsewhere", status)
        else:
            answer = Response("nothing here", status)
        answer.headers["Cache-Control"] = "public, max-age=86400"
        return answer

    app.register_error_handler(401, handler)
    app.register_error_handler(403, handler)
    app.add_url_rule("/members", "members", session_required(named))
    app.add_url_rule("/admins", "admins", session_required(roles={"admin"})(named))
    client = app.test_client()
    assert client.get("/members").status_code == status
    client.set_cookie("sessionId", jam.create_session("ann", {}))
    for path, headers in (("/members", bearer("x")), ("/admins", {})):
        answer = client.get(path, headers=headers)
        if answer.status_code == 200 and path == "/members":
            continue
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Cookie" in answer.headers["Vary"]


def test_a_refused_verb_is_not_cached(app: Flask) -> None:
    session = app.extensions["flask_jam"].owners["session"]
    app.register_error_handler(401, lambda _error: ("gone", 410))
    app.add_url_rule("/", "refresh", lambda: session.refresh())
    answer = app.test_client().get("/")
    assert answer.status_code == 410
    assert answer.headers["Cache-Control"] == "no-store"


# --- found by attacking it ---------------------------------------------------------------------


def failing_once(app: Flask, path: str) -> None:
    failed: list[int] = []

    def hook(response: Response) -> Response:
        from flask import request

        if request.path == path and not failed:
            failed.append(1)
            raise RuntimeError("the audit database is down")
        return response

    app.after_request(hook)


def test_a_hook_that_raises_puts_no_cookie_into_a_shared_response(app: Flask) -> None:
    session, shared = app.extensions["flask_jam"].owners["session"], Response("ok")
    app.add_url_rule("/login", "login", lambda: (session.login("ann"), shared)[1], methods=["POST"])
    app.add_url_rule("/ping", "ping", lambda: shared)
    failing_once(app, "/login")
    client = app.test_client()
    failed = client.post("/login")
    # The login happened, so the answer that is sent, a 500, carries its cookie.
    assert failed.status_code == 500
    assert len(failed.headers.getlist("Set-Cookie")) == 1
    assert failed.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in app.test_client().get("/ping").headers
    assert set(shared.headers.keys()) == {"Content-Type", "Content-Length"}


def test_a_refresh_before_a_hook_that_raises_loses_no_token(make_jam: Any) -> None:
    jam = make_jam(jwt={"refresh_grace": 0})
    app = Flask("raising")
    jwt = JWTExtension(jam, app, header_name=None, cookie_name="t", refresh_path="/auth")
    app.add_url_rule("/auth/login", "login", lambda: jwt.login("ann"), methods=["POST"])
    app.add_url_rule("/auth/refresh", "refresh", lambda: jwt.refresh(), methods=["POST"])
    failing_once(app, "/auth/refresh")
    client = app.test_client()
    client.post("/auth/login")
    assert [client.post("/auth/refresh").status_code for _ in range(3)] == [500, 200, 200]


@each_case("how", ["view", "hook"])
def test_a_guarded_static_file_is_not_public(jam: Jam, tmp_path: Path, how: str) -> None:
    (tmp_path / "a.txt").write_text("secret")
    app = Flask("static", static_folder=str(tmp_path), static_url_path="/static")
    SessionExtension(jam, app)
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 3600
    if how == "view":
        app.view_functions["static"] = session_required(app.view_functions["static"])
    else:
        app.before_request(session_required.enforce)
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("ann", {}))
    with client.get("/static/a.txt") as answer:
        assert answer.status_code == 200
        assert is_private(answer)
        assert "Cookie" in answer.headers["Vary"]


def test_an_error_page_below_static_that_greets_is_private(app: Flask, client: Any) -> None:
    app.register_error_handler(404, lambda _error: (f"hello {named()}", 404))
    answer = client.get("/static/missing.js")
    assert answer.text == "hello ann"
    assert answer.headers["Cache-Control"] == "no-store"


def test_every_kind_of_late_body_leaves_private(app: Flask, client: Any) -> None:
    from flask import abort

    class Rows:
        """A lazy body with a length."""

        def __init__(self, parts: Any) -> None:
            self.parts = parts

        def __len__(self) -> int:
            return 2

        def __iter__(self) -> Iterator[str]:
            return iter(self.parts)

    def parts() -> Any:
        def late_parts() -> Iterator[str]:
            yield "Hello "
            yield named()

        return stream_with_context(late_parts())

    app.add_url_rule("/abort", "abort", lambda: abort(Response(parts())))
    app.add_url_rule("/pass", "pass", lambda: Response(parts(), direct_passthrough=True))
    app.add_url_rule("/rows", "rows", lambda: Response(Rows(parts())))
    for path in ("/abort", "/pass", "/rows"):
        answer = client.get(path)
        assert answer.text == "Hello ann", path
        assert answer.headers["Cache-Control"] == "no-store", path
        assert "Cookie" in answer.headers["Vary"], path


def test_a_login_within_a_stream_is_refused_before_the_store_is_asked(
    app: Flask, client: Any, jam: Jam
) -> None:
    session = app.extensions["flask_jam"].owners["session"]

    def view() -> Response:
        def parts() -> Iterator[str]:
            yield "a"
            session.refresh()
            yield "b"

        return Response(stream_with_context(parts()))

    app.add_url_rule("/", "view", view)
    before = jam.list_sessions("ann")
    with pytest.raises(ValueError, match="before the stream begins"):
        _ = client.get("/").text
    assert [each.handle for each in jam.list_sessions("ann")] == [each.handle for each in before]


def test_a_scheme_that_fails_to_find_is_no_500_on_an_open_stream(jam: Jam) -> None:
    from flask_jam import Reason, SchemeExtension, TokenError
    from flask_jam.schemes import Scheme

    class Raising(Scheme):
        name = "raising"

        def find(self, request: Any) -> Any:
            raise TokenError(Reason.MALFORMED)

    app = new_app(jam)
    SchemeExtension(Raising(), jam, app)
    app.add_url_rule("/", "view", lambda: Response(iter(["x"])))
    answer = app.test_client().get("/")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")


def test_an_answer_that_a_hook_gives_to_everyone_stays_clean(jam: Jam) -> None:
    shared = Response("from the hook")
    app = Flask(__name__)
    JWTExtension(jam, app)
    app.add_url_rule("/", "view", jwt_required(lambda: "text"))
    app.after_request(lambda _response: shared)
    token = jam.issue_tokens("ann")["access_token"]
    answer = app.test_client().get("/", headers={"Authorization": f"Bearer {token}"})
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Cache-Control" not in shared.headers
    assert "Vary" not in shared.headers
