"""A rework whose answer was lost is had again with the old id, until the new one is used."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from flask import Flask

from flask_jam import Jam, Reason, SessionError, session_required

from ..cases import each_case
from ..conftest import Clock


def gone(job: Callable[[], object]) -> Reason:
    with pytest.raises(SessionError) as caught:
        job()
    return caught.value.reason


def test_old_id_gets_the_same_new_id_for_ten_seconds(jam: Jam, clock: Clock) -> None:
    old = jam.create_session("ann", {"n": 1})
    new = jam.rework_session(old)
    for passed in (0, 5, 5):
        clock.tick(passed)
        assert jam.rework_session(old) == new
        assert jam.get_session(old) is None
    clock.tick(0.001)
    assert gone(lambda: jam.rework_session(old)) is Reason.UNKNOWN_SESSION
    assert jam.get_session(new) == {"n": 1}


def _keep(jam: Jam, session_id: str) -> None:
    jam.clear_sessions("ann", keep=session_id)


USES: dict[str, Callable[[Jam, str], object]] = {
    "read": lambda jam, new: jam.get_session(new),
    "update": lambda jam, new: jam.update_session(new, {"n": 2}),
    "rework": lambda jam, new: jam.get_session(jam.rework_session(new)),
    "logout": lambda jam, new: jam.delete_session(new),
    "logout by handle": lambda jam, new: jam.delete_session_by_handle("ann", jam.handle_of(new)),
    "logout elsewhere": _keep,
    "logout everywhere": lambda jam, new: jam.clear_sessions("ann"),
    "revocation": lambda jam, new: jam.revoke_subject("ann"),
}


@each_case("use", USES)
def test_a_stolen_old_id_gets_nothing_once_the_new_one_was_used(jam: Jam, use: str) -> None:
    old = jam.create_session("ann", {})
    new = jam.rework_session(old)
    USES[use](jam, new)
    assert gone(lambda: jam.rework_session(old)) is Reason.UNKNOWN_SESSION
    assert jam.delete_session(old) == 0


def test_a_login_that_replaces_the_old_id_ends_its_successor(app: Flask, jam: Jam) -> None:
    client = app.test_client()
    old = jam.create_session("ann", {})
    new = jam.rework_session(old)
    client.set_cookie("sessionId", old)
    assert client.post("/session-login/ann").status_code == 200
    assert jam.get_session(new) is None
    assert gone(lambda: jam.rework_session(old)) is Reason.UNKNOWN_SESSION
    assert len(jam.list_sessions("ann")) == 1


def test_a_logout_with_the_old_id_ends_its_successor(
    app: Flask, jam: Jam, event_log: list[tuple[str, dict[str, Any]]]
) -> None:
    client = app.test_client()
    old = jam.create_session("ann", {})
    new = jam.rework_session(old)
    client.set_cookie("sessionId", old)
    assert client.post("/session-logout").status_code == 204
    assert jam.get_session(new) is None
    assert ("logged_out", "ann") in [(name, said.get("subject")) for name, said in event_log]


def test_refresh_that_was_lost_is_had_again_in_an_open_view(app: Flask, jam: Jam) -> None:
    app.add_url_rule(
        "/guarded-refresh", "guarded", session_required(lambda: "new"), methods=["POST"]
    )
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("ann", {"n": 1}))
    old = client.get_cookie("sessionId").value  # type: ignore[union-attr]
    first = client.post("/session-refresh")
    assert first.status_code == 200
    new = client.get_cookie("sessionId").value  # type: ignore[union-attr]
    client.set_cookie("sessionId", old)  # the answer was lost
    assert client.post("/guarded-refresh").status_code == 401
    assert client.get("/session").status_code == 401
    assert client.post("/session-refresh").status_code == 200
    assert client.get_cookie("sessionId").value == new  # type: ignore[union-attr]
    assert client.get("/session").json["payload"] == {"n": 1}  # type: ignore[index]
    client.set_cookie("sessionId", old)
    assert client.post("/session-refresh").status_code == 401


def test_every_thread_that_reworks_one_id_gets_the_same_new_one(jam: Jam) -> None:
    old, gate = jam.create_session("ann", {}), Barrier(16)

    def job(_: int) -> str:
        gate.wait()
        return jam.rework_session(old)

    with ThreadPoolExecutor(16) as pool:
        (new,) = set(pool.map(job, range(16)))
    assert jam.get_session(new) == {}
    assert len(jam.list_sessions("ann")) == 1
