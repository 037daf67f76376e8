"""The user of a request: loaded once, by the first question, and refused if there is none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask, copy_current_request_context, g, request
from flask.testing import FlaskClient

from flask_jam import (
    Accepted,
    Jam,
    JWTExtension,
    SchemeExtension,
    SessionExtension,
    StoreUnavailable,
    TokenError,
    current_auth,
    current_subject,
    current_user,
    jwt_required,
    protect,
    public,
    session_required,
    signals,
)
from flask_jam.policies import authorize, policy
from flask_jam.testing import capture

from ..cases import each_case
from ..conftest import Clock, bearer
from ..schemes.test_interface import HeaderScheme
from ..servers import RedisServer

HTML = {"Accept": "text/html"}


class User:
    def __init__(self, name: str | None) -> None:
        self.name = name


class Users:
    """A database: who is in it, and who was asked for."""

    def __init__(self) -> None:
        self.gone: set[str | None] = set()
        self.error: Exception | None = None
        self.asked: list[Accepted] = []

    def load(self, auth: Accepted) -> User | None:
        self.asked.append(auth)
        if self.error is not None:
            raise self.error
        return None if auth.subject in self.gone else User(auth.subject)

    @property
    def count(self) -> int:
        return len(self.asked)


def who() -> str:
    """Say who asks, by all three answers; they agree."""
    auth = current_auth()
    if auth is None:
        assert (g.payload, bool(current_user)) == (None, False)
        return "nobody"
    assert auth.user is current_user._get_current_object()
    assert g.payload is auth.payload
    assert auth.user.name == auth.subject
    return str(auth.user.name)


@pytest.fixture
def users() -> Users:
    return Users()


@pytest.fixture
def app(jam: Jam, users: Users) -> Flask:
    """Both schemes, one loader on the session, a route of each posture."""
    app = Flask("users")
    app.testing, app.config["PROPAGATE_EXCEPTIONS"] = True, False
    jwt = JWTExtension(jam, app)
    session = SessionExtension(jam, app)
    session.user_loader(users.load)
    app.add_url_rule("/open", "open", public(who))
    app.add_url_rule("/jwt", "jwt", jwt_required(who))
    app.add_url_rule("/session", "session", session_required(who))
    app.add_url_rule("/optional", "optional", session_required(optional=True)(who))
    app.add_url_rule("/either", "either", (jwt_required | session_required)(who))
    app.add_url_rule("/twice", "twice", session_required(session_required(roles=())(who)))
    app.add_url_rule("/jwt-refresh", "jwt_refresh", jwt.refresh, methods=["POST"])
    app.add_url_rule("/refresh", "refresh", session.refresh, methods=["POST"])
    app.add_url_rule(
        "/logout", "logout", lambda: (session.logout(), jwt.logout(), who())[2], methods=["POST"]
    )
    return app


def browser(app: Flask, subject: str = "ann") -> FlaskClient:
    client = app.test_client()
    client.set_cookie("sessionId", app.extensions["jam"].create_session(subject, {}))
    return client


# --- once, by the first question ---


@each_case("path", ["/open", "/session", "/optional", "/either", "/twice"])
def test_the_first_question_loads_the_user_once(app: Flask, users: Users, path: str) -> None:
    before = users.count
    assert browser(app).get(path).text == "ann"
    assert users.count == before + 1


def test_a_request_that_asks_nothing_loads_nobody(app: Flask, users: Users) -> None:
    app.add_url_rule("/silent", "silent", public(lambda: "said nothing"))
    browser(app).get("/silent")
    assert users.count == 0


def test_a_bad_credential_and_none_load_nobody(app: Flask, users: Users, clock: Clock) -> None:
    client = browser(app)
    clock.tick(365 * 86400)
    assert [client.get(path).status_code for path in ("/open", "/session")] == [200, 401]
    assert app.test_client().get("/open").text == "nobody"
    assert app.test_client().get("/jwt", headers=bearer("a.b.c")).status_code == 401
    assert users.count == 0


def test_a_cookie_from_another_site_loads_nobody(app: Flask, users: Users) -> None:
    app.add_url_rule("/change", "change", session_required(who), methods=["POST"])
    answer = browser(app).post("/change", headers={"Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, users.count) == (403, 0)


def test_hooks_guards_templates_and_receivers_share_one_user(app: Flask, users: Users) -> None:
    seen: list[Any] = []
    app.before_request(lambda: seen.append(current_user._get_current_object()))
    app.after_request(lambda r: (seen.append(current_auth().user), r)[1])  # type: ignore[union-attr]
    protect(app, session_required | jwt_required)
    assert browser(app).get("/session").text == "ann"
    assert len({id(user) for user in seen}) == 1
    assert users.count == 1


def test_the_user_is_not_kept_from_request_to_request(app: Flask) -> None:
    with app.app_context():  # one g for all of them
        clients = [browser(app, name) for name in ("ann", "bob")]
        texts = [client.get("/session").text for client in clients * 2]
        assert texts == ["ann", "bob", "ann", "bob"]
        assert app.test_client().get("/open").text == "nobody"
        assert not [value for value in vars(g).values() if isinstance(value, User)]


def test_each_thread_of_concurrent_requests_sees_its_own_user(app: Flask, users: Users) -> None:
    barrier = threading.Barrier(8, timeout=10)
    app.before_request(lambda: (barrier.wait(), None)[1])
    clients = [(name, browser(app, name)) for name in map(str, range(8))]
    with ThreadPoolExecutor(8) as pool:
        runs = [(name, pool.submit(client.get, "/session")) for name, client in clients]
        assert [run.result().text for _, run in runs] == [name for name, _ in runs]


def test_threads_of_one_request_ask_within_the_loader_without_end(app: Flask, users: Users) -> None:
    barrier = threading.Barrier(4, timeout=10)

    def load(auth: Accepted) -> User:
        barrier.wait()
        assert current_auth() is auth
        return User(auth.subject)

    users.load = load  # type: ignore[method-assign]
    SessionExtension.user_loader(_owner(app, "session"), load)

    def view() -> str:
        with ThreadPoolExecutor(4) as pool:
            runs = [pool.submit(copy_current_request_context(current_subject_of)) for _ in range(4)]
            return ",".join({run.result() for run in runs})

    app.add_url_rule("/threads", "threads", public(view))
    assert browser(app).get("/threads").text == "ann"


def current_subject_of() -> str:
    return str(current_user.name)


def _owner(app: Flask, name: str) -> Any:
    return app.extensions["flask_jam"].owners[name]


# --- whose loader ---


def test_a_loader_serves_every_extension_without_its_own(app: Flask, jam: Jam) -> None:
    SchemeExtension(HeaderScheme(), jam, app)
    token = jam.issue_tokens("tom")["access_token"]
    assert app.test_client().get("/jwt", headers=bearer(token)).text == "tom"
    assert app.test_client().get("/open", headers={"X-Key": "key"}).text == "key"


def test_an_extension_with_a_loader_uses_its_own(jam: Jam) -> None:
    app = Flask("two")
    SchemeExtension(HeaderScheme(), jam, app)
    JWTExtension(jam, app, load_user=lambda auth: f"robot {auth.subject}")
    SessionExtension(jam, app, load_user=lambda auth: f"person {auth.subject}")
    app.add_url_rule("/", "view", lambda: str(current_user))
    token = jam.issue_tokens("x")["access_token"]
    assert app.test_client().get("/", headers=bearer(token)).text == "robot x"
    assert browser(app).get("/").text == "person ann"
    # One without has that of the first which was registered.
    assert app.test_client().get("/", headers={"X-Key": "k"}).text == "robot k"


def test_a_loader_set_after_the_first_request_counts(jam: Jam, users: Users) -> None:
    app, session = Flask("late"), SessionExtension(jam)
    session.init_app(app)
    app.add_url_rule("/", "view", session_required(lambda: "in"))
    client = browser(app)
    assert client.get("/").text == "in"
    users.gone.add("ann")
    session.user_loader(users.load)
    assert client.get("/").status_code == 401


def test_one_extension_loads_the_users_of_all_its_apps(jam: Jam, users: Users) -> None:
    session = SessionExtension(jam, load_user=users.load)
    for app in (Flask("one"), Flask("two")):
        session.init_app(app)
        app.add_url_rule("/", "view", session_required(who))
        assert browser(app).get("/").text == "ann"


def test_an_extension_keeps_no_app_alive(jam: Jam, users: Users) -> None:
    session = SessionExtension(jam, load_user=users.load)
    session.init_app(Flask("gone"))
    assert len(session._states) <= 1
    import gc

    gc.unfreeze()
    gc.collect()
    assert len(session._states) == 0


def test_an_app_without_a_loader_has_no_user(jam: Jam) -> None:
    app = Flask("none")
    SessionExtension(jam, app)
    app.add_url_rule("/", "view", session_required(lambda: repr(current_auth().user)))  # type: ignore[union-attr]
    assert browser(app).get("/").text == "None"


# --- a user who is gone ---


def test_all_answers_are_none_for_a_user_who_is_gone(app: Flask, users: Users) -> None:
    users.gone.add("ann")
    assert browser(app).get("/open").text == "nobody"
    assert users.count == 1


@each_case("path", ["/session", "/optional", "/either", "/twice"])
def test_a_guard_refuses_a_user_who_is_gone(app: Flask, users: Users, path: str) -> None:
    users.gone.add("ann")
    with capture(signals.rejected, app) as refusals:
        answer = browser(app).get(path)
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_token")
    assert answer.json["detail"] == "The credential is not valid."
    assert "realm=" in answer.headers["WWW-Authenticate"]
    assert "Set-Cookie" not in answer.headers
    told = refusals[0]
    assert (told.reason, told.subject, told.source) == ("unknown_subject", "ann", "cookie")
    assert len(told.fingerprint) == 8


def test_a_page_goes_to_the_login_and_its_session_stays(
    make_jam: Callable[..., Jam], users: Users
) -> None:
    jam = make_jam(login_view="login")
    app = Flask("pages")
    SessionExtension(jam, app, load_user=users.load)
    app.add_url_rule("/login", "login", public(who))
    app.add_url_rule("/account", "account", session_required(who))
    client = browser(app)
    users.gone.add("ann")
    answer = client.get("/account", headers=HTML)
    assert (answer.status_code, answer.location) == (302, "/login?next=/account")
    assert answer.headers["Set-Cookie"].startswith("sessionId=;")
    assert client.get("/login", headers=HTML).text == "nobody"
    assert len(jam.list_sessions("ann")) == 1


def test_a_user_who_comes_back_is_let_in_again(app: Flask, users: Users) -> None:
    client = browser(app)
    users.gone.add("ann")
    assert client.get("/session").status_code == 401
    users.gone.clear()
    assert client.get("/session").text == "ann"


def test_another_credential_does_not_stand_in_for_one_without_a_user(
    app: Flask, jam: Jam, users: Users
) -> None:
    users.gone.add("bob")
    client, robot = browser(app), bearer(jam.issue_tokens("bob")["access_token"])
    assert client.get("/either", headers=robot).status_code == 401
    assert client.get("/open", headers=robot).text == "nobody"
    assert client.get("/session", headers=robot).text == "ann"  # it asks for sessions only


def test_a_policy_inside_the_view_refuses_a_user_who_is_gone(app: Flask, users: Users) -> None:
    @policy
    def anyone(payload: Any) -> bool:
        return True

    app.add_url_rule("/policy", "policy", public(lambda: authorize(anyone) or who()))
    client = browser(app)
    assert client.get("/policy").text == "ann"
    users.gone.add("ann")
    with capture(signals.rejected, app) as refusals:
        assert client.get("/policy").status_code == 401
    assert refusals[0].reason == "unknown_subject"


def test_a_check_may_ask_for_the_user(app: Flask, users: Users) -> None:
    guard = session_required(check=lambda payload: current_user.name == "ann")
    app.add_url_rule("/check", "check", guard(who))
    assert [browser(app, name).get("/check").status_code for name in ("ann", "bob")] == [200, 403]
    assert users.count == 2


# --- a loader that fails ---


@each_case("error", [RuntimeError("down"), TokenError("revoked"), KeyError("ann")])  # type: ignore[arg-type]
@each_case("path", ["/open", "/session", "/optional", "/either"])
def test_a_loader_that_raises_lets_nobody_in(
    app: Flask, users: Users, path: str, error: Exception
) -> None:
    users.error = error
    assert browser(app).get(path).status_code == 500
    app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(type(error)):
        browser(app).get(path)
    app.config["PROPAGATE_EXCEPTIONS"] = False


def test_a_loader_that_raised_is_not_asked_again_and_raises_again(app: Flask, users: Users) -> None:
    def swallows() -> None:
        with pytest.raises(RuntimeError):
            current_auth()

    app.before_request(swallows)
    users.error = RuntimeError("down")
    client = browser(app)
    # The database is back when the guard decides.
    app.before_request(lambda: setattr(users, "error", None))
    assert client.get("/session").status_code == 500
    assert users.count == 1
    users.error = None


def test_a_store_that_is_down_for_the_loader_is_503(app: Flask, users: Users) -> None:
    users.error = StoreUnavailable()
    client = browser(app)
    answer = client.get("/session")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert client.get("/open").text == "nobody"
    assert client.post("/refresh").status_code == 503


def test_after_a_refresh_that_was_503_an_error_handler_may_ask(
    app: Flask, jam: Jam, users: Users
) -> None:
    app.register_error_handler(503, lambda error: (who(), 503))
    users.error = StoreUnavailable()
    refresh_token = jam.issue_tokens("ann")["refresh_token"]
    client, body = browser(app), {"refresh_token": refresh_token}
    answer = app.test_client().post("/jwt-refresh", json=body)
    assert (answer.status_code, answer.text) == (503, "nobody")
    assert client.post("/refresh").status_code == 503
    users.error = None
    assert app.test_client().post("/jwt-refresh", json=body).status_code == 200
    assert client.post("/refresh").status_code == 200


@pytest.mark.redis
def test_a_killed_store_is_503_and_asks_no_loader(
    make_jam: Callable[..., Jam], users: Users
) -> None:
    with RedisServer() as server:
        jam = make_jam(redis_url=server.url, near_cache=False)
        app = Flask("killed")
        SessionExtension(jam, app, load_user=users.load)
        app.add_url_rule("/", "view", session_required(who))
        client = browser(app)
        assert client.get("/").text == "ann"
    answer = client.get("/")
    assert (answer.status_code, users.count) == (503, 1)
    jam.store.close()  # type: ignore[attr-defined]


def test_an_abort_of_the_loader_is_the_answer(app: Flask, users: Users) -> None:
    from werkzeug.exceptions import Gone

    users.error = Gone()
    assert browser(app).get("/session").status_code == 410


# --- within the loader ---


def test_within_the_loader_current_auth_is_its_argument(jam: Jam) -> None:
    seen: list[Any] = []

    def load(auth: Accepted) -> User:
        seen.append((current_auth() is auth, g.payload is auth.payload, auth.user))
        seen.append((bool(current_user), current_subject()))
        return User(auth.subject)

    app = Flask("within")
    SessionExtension(jam, app, load_user=load)
    app.add_url_rule("/", "view", session_required(who))
    app.add_url_rule("/open", "open", who)
    for path in ("/", "/open"):
        assert browser(app).get(path).text == "ann"
        assert seen == [(True, True, None), (False, "ann")]
        seen.clear()


@each_case("verb", ["enforce", "login", "refresh", "list"])
def test_a_loader_that_asks_a_guard_or_logs_in_is_told_so(jam: Jam, verb: str) -> None:
    app = Flask("recursion")
    app.testing = True
    session = SessionExtension(jam, app)
    calls = {
        "enforce": session_required.enforce, "login": lambda: session.login("bob"),
        "refresh": session.refresh, "list": session.list,
    }  # fmt: skip
    session.user_loader(lambda auth: calls[verb]() or User(auth.subject))
    app.add_url_rule("/", "view", session_required(who))
    with pytest.raises(ValueError, match="load_user must not ask a guard"):
        browser(app).get("/")


# --- refresh ---


def test_a_token_of_a_user_who_is_gone_is_not_refreshed(app: Flask, jam: Jam, users: Users) -> None:
    pair = jam.issue_tokens("ann", team="blue")
    body = {"refresh_token": pair["refresh_token"]}
    users.gone.add("ann")
    with capture(signals.rejected, app) as refusals:
        assert app.test_client().post("/jwt-refresh", json=body).status_code == 401
    told = refusals[0]
    assert (told.reason, told.subject, told.source) == ("unknown_subject", "ann", "body")
    asked = users.asked[0]
    assert (asked.scheme, asked.payload["team"], asked.payload["sub"]) == ("jwt", "blue", "ann")
    users.gone.clear()  # the token was not used up
    assert app.test_client().post("/jwt-refresh", json=body).status_code == 200


def test_a_refresh_loads_the_user_once(app: Flask, jam: Jam, users: Users) -> None:
    app.after_request(lambda answer: (who(), answer)[1])
    body = {"refresh_token": jam.issue_tokens("ann")["refresh_token"]}
    assert app.test_client().post("/jwt-refresh", json=body).status_code == 200
    assert users.count == 1
    assert browser(app).post("/refresh").status_code == 200
    assert users.count == 2


def test_a_loader_that_raises_leaves_the_refresh_token_good(
    app: Flask, jam: Jam, users: Users
) -> None:
    body = {"refresh_token": jam.issue_tokens("ann")["refresh_token"]}
    client = browser(app)
    # Not only an error of its own: one that a refusal of this package would be, too.
    for users.error in (RuntimeError("down"), TokenError("revoked")):  # type: ignore[arg-type]
        assert app.test_client().post("/jwt-refresh", json=body).status_code == 500
        assert client.post("/refresh").status_code == 500
    users.error = None
    assert app.test_client().post("/jwt-refresh", json=body).status_code == 200
    assert client.post("/refresh").status_code == 200


def test_a_stolen_refresh_token_raises_the_alarm_before_any_loader(
    app: Flask, jam: Jam, users: Users, clock: Clock
) -> None:
    first = jam.issue_tokens("ann")["refresh_token"]
    jam.refresh_tokens(first)
    clock.tick(3600)
    users.gone.add("ann")
    with capture(signals.reuse_detected, app) as alarms:
        answer = app.test_client().post("/jwt-refresh", json={"refresh_token": first})
    assert (answer.status_code, len(alarms), users.count) == (401, 1, 0)


def test_what_no_earlier_read_has_seen_is_loaded_after_the_rotation(
    app: Flask, jam: Jam, users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jam.families, "due", lambda token: None)  # a read that is late
    body = {"refresh_token": jam.issue_tokens("ann")["refresh_token"]}
    users.gone.add("ann")
    answer = app.test_client().post("/jwt-refresh", json=body)
    assert (answer.status_code, users.count) == (401, 1)


def test_reload_claims_and_the_loader_may_both_refuse(jam: Jam, users: Users) -> None:
    asked: list[str] = []

    def reload(subject: str, claims: dict[str, Any]) -> dict[str, Any]:
        asked.append(subject)
        return {"team": "red"}

    app = Flask("both")
    jwt = JWTExtension(jam, app, load_user=users.load, reload_claims=reload)
    app.add_url_rule("/refresh", "refresh", jwt.refresh, methods=["POST"])
    body = {"refresh_token": jam.issue_tokens("ann")["refresh_token"]}
    users.gone.add("ann")
    assert app.test_client().post("/refresh", json=body).status_code == 401
    assert asked == []
    users.gone.clear()
    token = app.test_client().post("/refresh", json=body).json["access_token"]
    assert jam.verify_jwt_token(token)["team"] == "red"


@pytest.mark.redis
def test_concurrent_refreshes_on_redis_each_ask_the_loader(redis_jam: Jam, users: Users) -> None:
    app = Flask("redis")
    jwt = JWTExtension(redis_jam, app, load_user=users.load)
    app.add_url_rule("/refresh", "refresh", jwt.refresh, methods=["POST"])
    body = {"refresh_token": redis_jam.issue_tokens("ann")["refresh_token"]}

    def refreshed(_number: int) -> Any:
        return app.test_client().post("/refresh", json=body)

    with ThreadPoolExecutor(4) as pool:
        users.gone.add("ann")
        assert {answer.status_code for answer in pool.map(refreshed, range(4))} == {401}
        users.gone.clear()
        answers = list(pool.map(refreshed, range(4)))
    assert len({answer.json["refresh_token"] for answer in answers}) == 1
    assert users.count == 8


def test_a_session_of_a_user_who_is_gone_gets_no_new_id(app: Flask, jam: Jam, users: Users) -> None:
    client = browser(app)
    users.gone.add("ann")
    with capture(signals.rejected, app) as refusals:
        assert client.post("/refresh").status_code == 401
    assert (refusals[0].reason, refusals[0].subject) == ("unknown_subject", "ann")
    users.gone.clear()
    assert client.get("/session").text == "ann"  # the id is the same


def test_a_lost_reply_recovers_the_session_of_a_living_user_only(app: Flask, users: Users) -> None:
    client = browser(app)
    held = client.get_cookie("sessionId")
    assert held is not None
    assert client.post("/refresh").status_code == 200
    users.gone.add("ann")
    again = {"Cookie": f"sessionId={held.value}"}
    bare = app.test_client(use_cookies=False)
    refused = bare.post("/refresh", headers=again)
    assert (refused.status_code, refused.headers.get("Set-Cookie")) == (401, None)
    users.gone.clear()
    assert bare.post("/refresh", headers=again).status_code == 200


# --- login and logout within the request ---


def entering(app: Flask, jam: Jam, *, first: bool) -> None:
    session, jwt = _owner(app, "session"), _owner(app, "jwt")

    def view(name: str) -> str:
        before = who() if first else "-"
        (session if request.args.get("by") != "jwt" else jwt).login(name)
        return f"{before} {who()} {who()}"

    app.add_url_rule("/enter/<name>", "enter", public(view), methods=["POST"])


@each_case("by", ["session", "jwt"])
def test_after_a_login_the_new_user_is_asked_once(
    app: Flask, jam: Jam, users: Users, by: str
) -> None:
    if "enter" not in app.view_functions:
        entering(app, jam, first=True)
    before = users.count
    assert browser(app).post(f"/enter/bob?by={by}").text == "ann bob bob"
    assert [auth.subject for auth in users.asked[before:]] == ["ann", "bob"]


def test_a_login_that_asks_nothing_loads_nobody(app: Flask, jam: Jam, users: Users) -> None:
    session = _owner(app, "session")
    app.add_url_rule("/in", "in", public(lambda: session.login("bob")), methods=["POST"])
    assert app.test_client().post("/in").status_code == 200
    assert users.count == 0


def test_a_login_of_a_user_whom_the_loader_denies_opens_nothing(
    app: Flask, jam: Jam, users: Users
) -> None:
    entering(app, jam, first=False)
    users.gone.add("bob")
    client = app.test_client()
    assert client.post("/enter/bob").text == "- nobody nobody"
    assert users.count == 1
    assert client.get("/session").status_code == 401

    session = _owner(app, "session")

    def guarded() -> str:
        session.login("bob")
        session_required.enforce()
        return "in"

    app.view_functions["open"] = guarded
    assert client.get("/open").status_code == 401


def test_a_loader_that_raises_after_a_login_raises_at_each_question(
    app: Flask, jam: Jam, users: Users
) -> None:
    session = _owner(app, "session")

    def view() -> str:
        session.login("bob")
        users.error = RuntimeError("down")
        for ask in (current_auth, session_required.enforce, lambda: bool(current_user)):
            with pytest.raises(RuntimeError):
                ask()
        users.error = None
        session.login("cid")  # another user is another question
        return who()

    app.config["PROPAGATE_EXCEPTIONS"] = True
    app.add_url_rule("/in", "in", public(view), methods=["POST"])
    assert app.test_client().post("/in").text == "cid"
    assert [auth.subject for auth in users.asked] == ["bob", "cid"]


def test_a_receiver_of_logged_in_sees_the_new_user(app: Flask, jam: Jam) -> None:
    seen: list[str] = []
    entering(app, jam, first=True)

    def note(sender: Any, **extra: Any) -> None:
        seen.append(who())

    with signals.logged_in.connected_to(note, sender=app):
        browser(app).post("/enter/bob")
    assert seen == ["bob"]


def test_after_a_logout_nobody_is_there(app: Flask) -> None:
    client = browser(app)
    assert client.post("/logout").text == "nobody"
    assert client.get("/open").text == "nobody"


@each_case("error", [None, RuntimeError("down")])
def test_a_logout_asks_no_loader_and_always_works(
    app: Flask, jam: Jam, users: Users, error: Exception | None
) -> None:
    client = browser(app)
    users.gone.add("ann")
    users.error, before = error, users.count
    assert client.post("/logout").status_code == 200
    assert users.count == before
    assert jam.list_sessions("ann") == []
    users.error = None


@each_case("rotates", [True, False])
def test_at_a_refresh_the_loader_sees_no_claim_that_no_token_has(rotates: bool) -> None:
    jam = Jam({"jwt": {"secret_key": "0123456789abcdef" * 3, "rotate_refresh_tokens": rotates}})
    users, app = Users(), Flask("lives")
    jwt = JWTExtension(jam, app, load_user=users.load)
    app.add_url_rule("/refresh", "refresh", jwt.refresh, methods=["POST"])
    sent = jam.issue_tokens("ann", expires_in=60, plan="free")
    app.test_client().post("/refresh", json={"refresh_token": sent["refresh_token"]})
    (asked,) = users.asked
    assert sorted(asked.payload) == ["auth_time", "plan", "sub"]
