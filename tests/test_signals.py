"""Signals: the real app sends them, and no receiver changes what happened."""

from __future__ import annotations

import functools
import gc
import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from flask_jam import Jam, JWTExtension, SessionExtension, jwt_required, signals

from .conftest import Clock, bearer, build_app


def refresh(client: FlaskClient, token: str) -> Any:
    return client.post("/refresh", json={"refresh_token": token})


def test_login_refresh_and_logout_of_a_token(client: FlaskClient, event_log: Any) -> None:
    pair = client.post("/login/alice").json
    newer = refresh(client, pair["refresh_token"]).json
    client.post("/logout", headers=bearer(newer["access_token"]))
    names = [name for name, _ in event_log]
    assert names == ["logged_in", "refreshed", "revoked", "revoked", "logged_out"]
    assert event_log[0][1]["scheme"] == "jwt"
    assert event_log[0][1]["payload"]["sub"] == event_log[0][1]["subject"] == "alice"
    assert event_log[1][1]["payload"]["jti"] != event_log[0][1]["payload"]["jti"]
    assert [what["kind"] for _, what in event_log[2:4]] == ["token", "family"]
    assert event_log[4][1] == {"scheme": "jwt", "subject": "alice", "issuer": None}


def test_login_refresh_and_logout_of_a_session(client: FlaskClient, event_log: Any) -> None:
    client.post("/session-login/alice")
    client.post("/session-refresh")
    client.post("/session-logout")
    said = {"scheme": "session", "subject": "alice", "payload": {"user": "alice"}, "issuer": None}
    assert event_log == [
        ("logged_in", said),
        ("refreshed", said),
        ("revoked", {"kind": "session", "subject": "alice", "issuer": None}),
        ("logged_out", {"scheme": "session", "subject": "alice", "issuer": None}),
    ]


def test_a_refusal_says_why_where_and_of_which_credential(
    client: FlaskClient, jam: Jam, event_log: Any
) -> None:
    token = jam.issue_tokens("alice")["access_token"]
    client.get("/admin", headers=bearer(token))
    ((name, what),) = event_log
    assert name == "rejected"
    assert {**what, "fingerprint": len(what["fingerprint"])} == {
        "scheme": "jwt", "reason": "insufficient_role", "source": "header", "endpoint": "admin",
        "subject": "alice", "fingerprint": 8, "issuer": None,
    }  # fmt: skip
    assert what["fingerprint"] not in token


def test_a_request_without_credential_has_no_fingerprint(
    client: FlaskClient, event_log: Any
) -> None:
    client.get("/jwt")
    assert event_log == [
        ("rejected", {"scheme": "jwt", "reason": "missing", "source": None, "endpoint": "jwt",
                      "subject": None, "issuer": None, "fingerprint": None})
    ]  # fmt: skip


def test_an_undecorated_view_refuses_nobody(client: FlaskClient, event_log: Any) -> None:
    assert client.get("/open", headers=bearer("a.b.c")).status_code == 200
    assert event_log == []


def test_reuse_is_told_after_the_family_is_dead(
    client: FlaskClient, jam: Jam, clock: Clock, event_log: Any
) -> None:
    pair = client.post("/login/alice").json
    newer = refresh(client, pair["refresh_token"]).json
    clock.tick(11)
    del event_log[:]
    heard: list[int] = []

    def look(_app: Flask, **_extra: Any) -> None:
        heard.append(client.get("/jwt", headers=bearer(newer["access_token"])).status_code)

    with signals.reuse_detected.connected_to(look):
        assert refresh(client, pair["refresh_token"]).status_code == 401
    assert heard == [401]
    names = [name for name, what in event_log if what.get("endpoint") != "jwt"]
    assert names == ["revoked", "reuse_detected", "rejected"]
    reuse = dict(event_log)["reuse_detected"]
    assert reuse["subject"] == "alice"
    assert pair["refresh_token"].startswith(reuse["family"])


def test_the_sender_is_the_real_app(app: Flask) -> None:
    senders: list[Any] = []
    with signals.rejected.connected_to(lambda sender, **_: senders.append(sender)):
        app.test_client().get("/jwt")
    assert senders == [app]
    assert type(senders[0]) is Flask


def test_what_a_script_revokes_is_heard_too(app: Flask, jam: Jam, event_log: Any) -> None:
    jam.revoke_subject("alice")
    with app.app_context():
        jam.revoke_subject("bob")
    what = {"kind": "subject", "issuer": None}
    assert event_log == [("revoked", {**what, "subject": name}) for name in ("alice", "bob")]


def test_of_two_apps_with_one_jam_the_current_one_speaks(jam: Jam) -> None:
    one, two = build_app(jam), build_app(jam)
    heard: list[Flask] = []
    with signals.revoked.connected_to(lambda sender, **_: heard.append(sender)):
        with two.app_context():
            jam.revoke_subject("alice")
        assert heard == [two]
        jam.revoke_subject("alice")
    assert heard == [two, one, two]


def test_in_the_context_of_a_strange_app_every_app_of_the_jam_speaks(jam: Jam) -> None:
    app = build_app(jam)
    heard: list[Flask] = []
    heard_by = signals.revoked.connected_to(lambda sender, **_: heard.append(sender))
    with heard_by, Flask("strange").app_context():
        jam.revoke_subject("alice")
    assert heard == [app]


def test_a_raising_receiver_is_logged_and_changes_nothing(
    client: FlaskClient, event_log: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_app: Flask, **what: Any) -> None:
        raise RuntimeError(f"marker {what}")

    with signals.logged_in.connected_to(broken), signals.rejected.connected_to(broken):
        assert client.post("/login/alice").status_code == 200
        assert client.get("/jwt").status_code == 401
    assert [name for name, _ in event_log] == ["logged_in", "rejected"]
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert all("broken" in text and "RuntimeError" in text for text in messages)
    assert "marker" not in caplog.text
    assert not any(record.exc_info for record in caplog.records)


def line_of_raise(receiver: Callable[..., Any], after: int) -> str:
    return f"at {__file__}:{receiver.__code__.co_firstlineno + after}"


def test_a_raising_receiver_is_logged_with_its_own_line(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    def helper(text: str) -> Any:
        return json.loads(text)  # raises within json

    def plain(_app: Flask, subject: str, **_extra: Any) -> None:
        helper(subject)

    async def coroutine(_app: Flask, subject: str, **_extra: Any) -> None:
        helper(subject)

    @functools.wraps(plain)
    def decorated(*args: Any, **what: Any) -> None:
        plain(*args, **what)

    class Receiver:
        def __call__(self, _app: Flask, subject: str, **_extra: Any) -> None:
            helper(subject)

        def method(self, _app: Flask, subject: str, **_extra: Any) -> None:
            helper(subject)

    receiver = Receiver()
    bound = functools.partial(plain)
    for each in (plain, coroutine, decorated, receiver, receiver.method, bound):
        caplog.clear()
        with signals.logged_in.connected_to(each):
            assert client.post("/login/mArKeR").status_code == 200
        (record,) = caplog.records
        expected = f"raised JSONDecodeError {line_of_raise(helper, 1)}"
        assert record.getMessage().endswith(expected), each
        assert record.exc_info is None
        assert "mArKeR" not in caplog.text


def test_receiver_with_wrong_arguments_is_logged_with_its_line(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    def narrow(_app: Flask) -> None:
        raise AssertionError

    with signals.logged_in.connected_to(narrow):
        assert client.post("/login/ann").status_code == 200
    assert caplog.text.rstrip().endswith(f"raised TypeError {line_of_raise(narrow, 0)}")


def test_a_receiver_without_code_of_its_own_is_logged_all_the_same(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    from unittest.mock import Mock

    for each in (Mock(side_effect=LookupError), Mock(side_effect=LookupError, func=Mock())):
        caplog.clear()
        with signals.logged_in.connected_to(each):
            assert client.post("/login/ann").status_code == 200
        assert "raised LookupError at" in caplog.text


def test_an_async_receiver_is_awaited(client: FlaskClient) -> None:
    heard: list[str] = []

    async def receiver(_app: Flask, subject: str, **_extra: Any) -> None:
        heard.append(subject)

    with signals.logged_in.connected_to(receiver):
        client.post("/login/alice")
    assert heard == ["alice"]


def test_an_async_receiver_is_awaited_from_an_async_view_too(app: Flask, jam: Jam) -> None:
    heard: list[str] = []

    async def receiver(_app: Flask, reason: str, **_extra: Any) -> None:
        heard.append(f"{reason} at {request.path}")

    @app.get("/async")
    @jwt_required
    async def view() -> str:
        return "in"

    with signals.rejected.connected_to(receiver):
        app.test_client().get("/async")
    assert heard == ["missing at /async"]


def test_a_jam_that_outlives_its_apps_does_not_keep_them(jam: Jam) -> None:
    before = len(jam._observers)
    for _ in range(5):
        build_app(jam)
    gc.collect()
    assert len(jam._observers) == before


def test_a_muted_signal_stays_mute(client: FlaskClient, event_log: Any) -> None:
    with signals.rejected.muted():
        client.get("/jwt")
    assert event_log == []


def test_nothing_is_told_of_a_login_that_failed(jam: Jam, event_log: Any, app: Flask) -> None:
    session = app.extensions["flask_jam"].owners["session"]
    assert isinstance(session, SessionExtension)
    with app.test_request_context(), pytest.raises(Exception, match="plain JSON"):
        session.login("alice", {"when": object()})
    jwt = app.extensions["flask_jam"].owners["jwt"]
    assert isinstance(jwt, JWTExtension)
    with app.test_request_context(), pytest.raises(Exception, match="subject"):
        jwt.login(5)  # type: ignore[arg-type]
    assert event_log == []
