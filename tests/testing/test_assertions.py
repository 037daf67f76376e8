"""``assert_refused`` and ``assert_all_protected``: red where they should be, and saying why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask, jsonify, redirect
from werkzeug.test import TestResponse

from flask_jam import ConfigError, Jam, Reason, jwt_required, public
from flask_jam.refusal import refusal
from flask_jam.testing import JamClient, assert_all_protected, assert_refused
from flask_jam.testing.client import rejections

from ..conftest import bearer, build_app


def refusals(client: Any, jam: Jam, clock: Any) -> dict[Reason, TestResponse]:
    """An answer of each of some reasons, to whichever client."""
    read = jam.issue_tokens("alice", scopes={"write"})["access_token"]
    dead = jam.issue_tokens("alice")["access_token"]
    jam.revoke_token(dead)
    found = {
        Reason.MISSING: client.get("/jwt"),
        Reason.MALFORMED: client.get("/jwt", headers=bearer("two words")),
        Reason.INVALID: client.get("/jwt", headers=bearer("a.b.c")),
        Reason.REVOKED: client.get("/jwt", headers=bearer(dead)),
        Reason.INSUFFICIENT_SCOPE: client.get("/read", headers=bearer(read)),
        Reason.INSUFFICIENT_ROLE: client.get("/admin", headers=bearer(read)),
    }
    clock.tick(301)
    found[Reason.STALE] = client.get("/fresh", headers=bearer(read))
    clock.tick(1000)
    found[Reason.EXPIRED] = client.get("/jwt", headers=bearer(read))
    client.set_cookie("sessionId", "x" * 45)
    found[Reason.UNKNOWN_SESSION] = client.get("/session")
    found[Reason.CSRF] = client.post("/session-logout", headers={"Sec-Fetch-Site": "cross-site"})
    return found


def passes(response: Any, reason: Reason | str) -> bool:
    try:
        assert_refused(response, reason)
    except AssertionError:
        return False
    return True


def test_to_a_jam_client_exactly_the_reason_passes(client: JamClient, jam: Jam, clock: Any) -> None:
    client.post("/jwt")
    for reason, response in refusals(client, jam, clock).items():
        assert [each for each in Reason if passes(response, each)] == [reason]
        assert passes(response, reason.value)


def test_to_any_other_client_what_can_be_seen_passes(app: Flask, jam: Jam, clock: Any) -> None:
    seen = {each: (refusal(each, "").code, refusal(each, "").error) for each in Reason}
    for reason, response in refusals(app.test_client(), jam, clock).items():
        alike = [each for each in Reason if seen[each] == seen[reason]]
        assert [each for each in Reason if passes(response, each)] == alike


def test_an_answer_that_was_let_in_is_no_refusal(client: JamClient, app: Flask) -> None:
    client.login("alice")
    for response in (client.get("/jwt"), app.test_client().get("/open")):
        assert not any(passes(response, reason) for reason in Reason)


def test_a_refusal_that_a_view_has_swallowed_is_none(client: JamClient) -> None:
    def lenient() -> str:
        try:
            jwt_required.enforce()
        except Exception:
            return "come in"
        return "hello"

    client.application.add_url_rule("/lenient", "lenient", lenient)
    response = client.get("/lenient")
    assert rejections(response)
    with pytest.raises(AssertionError, match="but the status was: 200"):
        assert_refused(response, Reason.MISSING)


def test_of_two_refusals_of_one_request_the_later_is_the_answer(client: JamClient) -> None:
    def either() -> str:
        try:
            jwt_required(roles={"admin"}).enforce()
        except Exception:
            jwt_required(scopes={"read"}).enforce()
        return "hello"

    client.application.add_url_rule("/twice", "twice", either)
    client.login("alice")
    response = client.get("/twice")
    assert [one.reason for one in rejections(response) or ()] == [
        "insufficient_role", "insufficient_scope",
    ]  # fmt: skip
    assert_refused(response, Reason.INSUFFICIENT_SCOPE)
    assert not passes(response, Reason.INSUFFICIENT_ROLE)


def test_a_401_of_the_app_itself_is_no_refusal_of_a_guard(client: JamClient) -> None:
    client.application.add_url_rule("/own", "own", lambda: ("no", 401))
    with pytest.raises(AssertionError, match="but no guard refused it"):
        assert_refused(client.get("/own"), Reason.MISSING)


def test_an_error_handler_of_the_app_may_write_the_body(client: JamClient) -> None:
    app = client.application
    app.register_error_handler(401, lambda error: (jsonify(error="log in"), 401))
    app.register_error_handler(403, lambda error: ("not found", 404))
    response = client.get("/jwt")
    assert_refused(response, Reason.MISSING)
    assert not passes(response, Reason.INVALID)
    client.login("alice")
    with pytest.raises(AssertionError, match="but the status was: 404"):
        assert_refused(client.get("/admin"), Reason.INSUFFICIENT_ROLE)


def test_a_page_for_people_is_compared_by_its_challenge(app: Flask) -> None:
    html = {"Accept": "text/html"}
    missing = app.test_client().get("/jwt", headers=html)
    invalid = app.test_client().get("/jwt", headers={**html, **bearer("a.b.c")})
    assert missing.mimetype == "text/html"
    assert passes(missing, Reason.MISSING)
    assert not passes(missing, Reason.INVALID)
    assert passes(invalid, Reason.INVALID)
    assert not passes(invalid, Reason.MISSING)


def test_an_answer_without_a_body_is_compared_too(client: JamClient) -> None:
    response = client.head("/jwt")
    assert_refused(response, Reason.MISSING)
    assert not passes(response, Reason.INVALID)


def test_the_way_to_the_login_page_is_a_refusal(make_jam: Callable[..., Jam]) -> None:
    app = build_app(make_jam(login_view="/open"))
    app.testing = True
    app.add_url_rule("/away", "away", lambda: ("", 302, {"Location": "/open"}))
    client, html = JamClient(app), {"Accept": "text/html"}
    response = client.get("/session", headers=html)
    assert response.status_code == 302
    assert_refused(response, Reason.MISSING)
    assert not passes(response, Reason.UNKNOWN_SESSION)
    assert not passes(client.get("/away"), Reason.MISSING)
    assert not passes(app.test_client().get("/session", headers=html), Reason.MISSING)


def test_a_403_that_sends_somebody_away_is_not_what_a_guard_answers(client: JamClient) -> None:
    client.application.register_error_handler(403, lambda error: redirect("/open"))
    client.login("alice")
    assert not passes(client.get("/admin"), Reason.INSUFFICIENT_ROLE)


def test_the_message_says_what_came_instead(client: JamClient, app: Flask) -> None:
    client.login("alice")
    with pytest.raises(AssertionError) as failed:
        assert_refused(client.get("/admin"), "expired")
    assert str(failed.value).splitlines() == [
        "expected to be refused: expired (401 invalid_token)",
        "but the reason was: insufficient_role",
        "but the status was: 403",
        "but the error was: access_denied",
        "the response: 403 FORBIDDEN",
        "  Content-Type: application/problem+json",
        '  {"type": "about:blank", "title": "Forbidden", "status": 403, "detail": '
        '"Access is denied.", "error": "access_denied"}',
    ]
    with pytest.raises(AssertionError) as failed:
        assert_refused(app.test_client().get("/jwt"), "expired")
    lines = str(failed.value).splitlines()
    assert lines[1:4] == ["but the error was: missing_credential", "the response: 401 UNAUTHORIZED",
                          "  Content-Type: application/problem+json"]  # fmt: skip
    assert lines[-1] == "(not the answer to a JamClient: the reason itself cannot be seen)"


def test_a_message_shows_the_beginning_of_a_long_body(client: JamClient) -> None:
    client.application.add_url_rule("/long", "long", lambda: "x" * 5000)
    with pytest.raises(AssertionError) as failed:
        assert_refused(client.get("/long"), Reason.MISSING)
    assert "x" * 200 + "…" in str(failed.value)
    assert len(str(failed.value)) < 500


def test_a_reason_that_is_none_is_told(client: JamClient) -> None:
    with pytest.raises(ConfigError, match="did you mean expired"):
        assert_refused(client.get("/jwt"), "expird")


# --- the whole app ---


def test_an_app_whose_routes_are_all_guarded_or_public_passes() -> None:
    app = Flask("guarded", static_folder="static")
    app.add_url_rule("/a", "a", jwt_required(lambda: "a"))
    app.add_url_rule("/b", "b", public(lambda: "b"))
    assert_all_protected(app)
    with app.app_context():
        from flask import current_app

        assert_all_protected(current_app)


def test_an_open_route_is_named_with_all_that_finds_it() -> None:
    app = Flask("open")
    shop = Blueprint("shop", __name__)
    app.add_url_rule("/a", "a", jwt_required(lambda: "a"))
    shop.add_url_rule("/pay/<int:order>", "pay", pay, methods=["POST", "PUT"])
    app.register_blueprint(shop, url_prefix="/shop")
    app.add_url_rule("/b", "b", lambda: "b")
    with pytest.raises(AssertionError) as failed:
        assert_all_protected(app)
    lines = str(failed.value).splitlines()
    assert lines[0] == "open, and not marked @public:"
    assert [line.partition(" → ")[0] for line in lines[1:-1]] == [
        "  GET /b", "  POST,PUT /shop/pay/<int:order>",
    ]  # fmt: skip
    assert "→ shop.pay (" in lines[2]
    assert f"test_assertions.py:{pay.__code__.co_firstlineno})" in lines[2]


def pay(order: int) -> str:
    return "paid"


def test_what_is_no_app_is_told() -> None:
    with pytest.raises(ConfigError, match="write the Flask app"):
        assert_all_protected("app")  # type: ignore[arg-type]
