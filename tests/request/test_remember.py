"""Remember me: kinds of logins, how long each lives, and the cookie of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from flask_jam import Jam, SessionError, SessionExtension, current_auth, session_required
from flask_jam.stores.interface import slot_of
from flask_jam.stores.memory import MemoryStore

from ..cases import each_case
from ..conftest import Clock

MakeJam = Callable[..., Jam]
DAY = 86400
NOW = 1_800_000_000
KINDS = [True, False, None]
#: Tightened settings of logins that are not remembered, and of those that are.
SHORT = {"idle": 600, "absolute": 600}
SHORT_REMEMBERED = {"remember_idle": 600, "remember_absolute": 600}


def build(jam: Jam, **options: Any) -> Flask:
    app = Flask("remembering")
    session = SessionExtension(jam, app, **options)

    @app.post("/login/<name>")
    def login(name: str) -> Any:
        return session.login(name, {"n": 0}, **request.get_json())

    app.add_url_rule("/refresh", "refresh", session.refresh, methods=["POST"])
    app.add_url_rule("/me", "me", session_required(lambda: current_auth().subject))  # type: ignore[union-attr]
    app.add_url_rule("/fresh", "fresh", session_required(max_age=300)(lambda: "fresh"))
    return app


@pytest.fixture
def client(jam: Jam) -> FlaskClient:
    return build(jam).test_client()


def logged_in(client: FlaskClient, **life: Any) -> Any:
    answer = client.post("/login/ann", json=life)
    assert answer.status_code == 200
    return answer


def kept_for(answer: Any) -> int | None:
    """``Max-Age`` of the cookie, or None for one that ends with the browser."""
    (line,) = answer.headers.getlist("Set-Cookie")
    found = dict(part.partition("=")[::2] for part in line.split("; "))
    assert ("Max-Age" in found) == ("Expires" in found)
    return int(found["Max-Age"]) if "Max-Age" in found else None


def held(client: FlaskClient) -> str:
    """Return the session id that a browser has."""
    cookie = client.get_cookie("sessionId")
    assert cookie is not None
    return cookie.value


def lives(client: FlaskClient) -> bool:
    return client.get("/me").status_code == 200


# --- the cookie -----------------------------------------------------------------------


@each_case(
    ("life", "kept"),
    [({}, 30 * DAY), ({"remember": True}, 365 * DAY), ({"remember": False}, None),
     ({"remember": None}, 30 * DAY), ({"absolute": 600}, 600),
     ({"remember": True, "absolute": 600}, 600), ({"remember": False, "absolute": 600}, None)],
    ids=str,
)  # fmt: skip
def test_the_cookie_is_kept_as_long_as_its_login(
    client: FlaskClient, life: dict[str, Any], kept: int | None
) -> None:
    assert kept_for(logged_in(client, **life)) == kept


@each_case(("setting", "kept"), [(True, 365 * DAY), (False, None), (None, 30 * DAY)])
@each_case("said", [{}, {"remember": None}], ids=str)
def test_a_login_that_says_nothing_is_as_the_setting_says(
    make_jam: MakeJam, setting: bool | None, kept: int | None, said: dict[str, Any]
) -> None:
    client = build(make_jam(session={"remember": setting})).test_client()
    assert kept_for(logged_in(client, **said)) == kept


@each_case("setting", KINDS)
@each_case(("said", "kept"), [(True, 365 * DAY), (False, None)])
def test_a_login_that_says_its_kind_is_of_that_kind(
    make_jam: MakeJam, setting: bool | None, said: bool, kept: int | None
) -> None:
    client = build(make_jam(session={"remember": setting})).test_client()
    assert kept_for(logged_in(client, remember=said)) == kept


@each_case(("kind", "kept"), [(True, 355 * DAY), (False, None), (None, 20 * DAY)])
def test_a_refresh_keeps_the_kind_of_the_cookie(
    client: FlaskClient, clock: Clock, kind: bool | None, kept: int | None
) -> None:
    logged_in(client, remember=kind)
    for _ in range(20):
        clock.tick(DAY / 2)
        assert lives(client)
    assert kept_for(client.post("/refresh")) == kept


def test_a_refresh_keeps_the_kind_whatever_the_setting_says_now(make_jam: MakeJam) -> None:
    store = MemoryStore()
    client = build(make_jam(store=store)).test_client()
    logged_in(client, remember=False)
    cookie = held(client)
    later = build(make_jam(store=store, session={"remember": True})).test_client()
    later.set_cookie("sessionId", cookie)
    assert kept_for(later.post("/refresh")) is None


@each_case("kind", KINDS)
def test_a_header_session_is_remembered_without_a_cookie(
    make_jam: MakeJam, clock: Clock, kind: bool | None
) -> None:
    app = build(make_jam(), header_name="Authorization", cookie_name=None)
    answer = logged_in(app.test_client(), remember=kind)
    assert "Set-Cookie" not in answer.headers
    assert answer.json["expires_in"] == (30 * DAY if kind else DAY)
    clock.tick(2 * DAY)
    sent = {"Authorization": f"Bearer {answer.json['session_id']}"}
    assert (app.test_client().get("/me", headers=sent).status_code == 200) is bool(kind)


# --- how long it lives on the server --------------------------------------------------


@each_case(("kind", "idle"), [(True, 30 * DAY), (False, DAY), (None, DAY)])
def test_a_login_ends_when_it_is_not_used(
    client: FlaskClient, clock: Clock, kind: bool | None, idle: int
) -> None:
    logged_in(client, remember=kind)
    clock.tick(idle - 1)
    assert lives(client)
    clock.tick(idle)
    assert not lives(client)


@each_case(("kind", "absolute"), [(True, 365), (False, 30), (None, 30)])
def test_a_busy_login_ends_at_its_absolute_end(
    jam: Jam, clock: Clock, kind: bool | None, absolute: int
) -> None:
    session_id = jam.create_session("ann", {}, remember=kind)
    for _ in range(2 * absolute - 1):
        clock.tick(DAY / 2)
        assert jam.get_session(session_id) == {}
    clock.tick(DAY / 2)
    assert jam.get_session(session_id) is None


@each_case("kind", KINDS)
@each_case(
    ("life", "end"),
    [({"idle": 60}, 60), ({"absolute": 90}, 90), ({"idle": timedelta(minutes=1)}, 60),
     ({"absolute": timedelta(minutes=1), "idle": 90}, 60)],
    ids=str,
)  # fmt: skip
def test_a_login_may_be_shorter_than_the_settings(
    jam: Jam, clock: Clock, kind: bool | None, life: dict[str, Any], end: int
) -> None:
    first, late = (jam.create_session("ann", {}, remember=kind, **life) for _ in range(2))
    clock.tick(end - 1)
    assert jam.get_session(first) == {}
    clock.tick(1)
    assert jam.get_session(late) is None


def test_a_short_login_is_used_up_to_its_absolute_end(jam: Jam, clock: Clock) -> None:
    session_id = jam.create_session("ann", {}, remember=True, idle=60, absolute=100)
    for _ in range(9):
        clock.tick(11)
        assert jam.get_session(session_id) == {}
    clock.tick(1)
    assert jam.get_session(session_id) is None


def test_login_made_elsewhere_is_as_old_as_it_was_there(
    client: FlaskClient, jam: Jam, clock: Clock
) -> None:
    for auth_time, status in ((0, 401), (NOW - 301, 401), (NOW - 299, 200), (None, 200)):
        logged_in(client, auth_time=auth_time)
        assert client.get("/me").text == "ann"
        assert client.get("/fresh").status_code == status
    logged_in(client, auth_time=NOW - 200)
    client.post("/refresh")
    clock.tick(101)
    assert client.get("/fresh").status_code == 401


BAD_LIVES: dict[str, tuple[dict[str, Any], str]] = {
    "idle too long": ({"idle": DAY + 1}, "session.idle"),
    "absolute too long": ({"absolute": 30 * DAY + 1}, "session.absolute"),
    "idle too long, no box ticked": ({"remember": False, "idle": 2 * DAY}, "session.idle"),
    "remembered idle too long": (
        {"remember": True, "idle": 30 * DAY + 1}, "session.remember_idle",
    ),
    "remembered absolute too long": (
        {"remember": True, "absolute": 366 * DAY}, "session.remember_absolute",
    ),
    "zero": ({"idle": 0}, "idle must be seconds"),
    "negative": ({"absolute": -1}, "absolute must be seconds"),
    "infinite": ({"absolute": float("inf")}, "absolute must be seconds"),
    "not a number": ({"idle": float("nan")}, "idle must be seconds"),
    "a string": ({"idle": "60"}, "idle must be seconds"),
    "a flag": ({"absolute": True}, "absolute must be seconds"),
    "a negative duration": ({"idle": timedelta(seconds=-5)}, "idle must be seconds"),
    "what a form sends": ({"remember": "on"}, "got str: write bool(...)"),
    "a number": ({"remember": 1}, "got int: write bool(...)"),
    "a later authentication": ({"auth_time": NOW + 3600}, "auth_time must be a timestamp"),
    "before 1970": ({"auth_time": -1}, "auth_time must be a timestamp"),
    "no timestamp": ({"auth_time": float("nan")}, "auth_time must be a timestamp"),
    "a date": ({"auth_time": "2026-11-29"}, "auth_time must be a timestamp"),
    "a yes": ({"auth_time": True}, "auth_time must be a timestamp"),
}  # fmt: skip


@each_case("what", BAD_LIVES)
def test_a_life_that_is_too_long_or_none_is_a_sentence(jam: Jam, what: str) -> None:
    life, phrase = BAD_LIVES[what]
    with pytest.raises(SessionError) as caught:
        jam.create_session("ann", {}, **life)
    assert phrase in str(caught.value)
    assert jam.list_sessions("ann") == []


def test_a_login_with_a_bad_life_ends_no_session_and_sets_no_cookie(
    jam: Jam, client: FlaskClient
) -> None:
    logged_in(client)
    client.application.testing = True
    with pytest.raises(SessionError):
        client.post("/login/ann", json={"idle": 2 * DAY})
    assert lives(client)
    assert len(jam.list_sessions("ann")) == 1


# --- auth_time ------------------------------------------------------------------------


@each_case("kind", KINDS)
def test_max_age_counts_from_the_login_whatever_renews_the_session(
    jam: Jam, client: FlaskClient, clock: Clock, kind: bool | None
) -> None:
    logged_in(client, remember=kind)
    for step in (lambda: client.get("/me"), lambda: client.post("/refresh")):
        clock.tick(99)
        assert step().status_code == 200
        assert client.get("/fresh").status_code == 200
    cookie = held(client)
    jam.update_session(cookie, {"n": 1})
    client.set_cookie("sessionId", jam.rework_session(cookie))
    clock.tick(102)
    assert client.get("/fresh").status_code == 200
    clock.tick(1)
    stale = client.get("/fresh")
    assert (stale.status_code, stale.json["error"]) == (401, "insufficient_user_authentication")
    assert lives(client)


# --- tightened settings ---------------------------------------------------------------

VERBS: dict[str, Callable[[Jam, str], object]] = {
    "read": lambda jam, session_id: jam.get_session(session_id) is not None,
    "update": lambda jam, session_id: jam.update_session(session_id, {"n": 1}) is None,
    "rework": lambda jam, session_id: jam.rework_session(session_id),
    "delete": lambda jam, session_id: jam.delete_session(session_id),
    "list": lambda jam, session_id: jam.list_sessions("ann"),
    "delete by handle": lambda jam, session_id: jam.delete_session_by_handle(
        "ann", jam.handle_of(session_id)
    ),
}


def does(jam: Jam, verb: str, session_id: str) -> bool:
    with suppress(SessionError):
        return bool(VERBS[verb](jam, session_id))
    return False


@each_case("verb", VERBS)
@each_case("setting", [*SHORT, *SHORT_REMEMBERED])
@each_case("kind", KINDS)
def test_a_tightened_setting_ends_the_logins_of_its_kind_only(
    make_jam: MakeJam, clock: Clock, verb: str, setting: str, kind: bool | None
) -> None:
    store = MemoryStore()
    session_id = make_jam(store=store).create_session("ann", {}, remember=kind)
    tight = make_jam(store=store, session={setting: 600})
    clock.tick(600)
    assert does(tight, verb, session_id) is (setting.startswith("remember") is not bool(kind))


@each_case("kind", KINDS)
def test_a_loosened_setting_extends_no_login(
    make_jam: MakeJam, clock: Clock, kind: bool | None
) -> None:
    store = MemoryStore()
    session_id = make_jam(store=store, session={**SHORT, **SHORT_REMEMBERED}).create_session(
        "ann", {}, remember=kind
    )
    clock.tick(600)
    assert make_jam(store=store).get_session(session_id) is None


def test_a_refresh_under_tightened_settings_shortens_the_cookie(
    make_jam: MakeJam, clock: Clock
) -> None:
    store = MemoryStore()
    session_id = make_jam(store=store).create_session("ann", {}, remember=True)
    tight = build(make_jam(store=store, session={"remember_absolute": 5000})).test_client()
    tight.set_cookie("sessionId", session_id)
    clock.tick(1000)
    assert kept_for(tight.post("/refresh")) == 4000


def test_a_revocation_is_kept_as_long_as_a_remembered_login(make_jam: MakeJam) -> None:
    jam = make_jam(session={"remember_absolute": 800 * DAY})
    jam.revoke_subject("ann")
    late = NOW + 800 * DAY
    assert jam.store.marks(slot_of("ann"), None, None, "ann", late).cut_off == NOW


# --- on Redis -------------------------------------------------------------------------


@pytest.fixture
def two_jams(redis_jam: Jam, redis_server: Any, make_jam: MakeJam) -> Iterator[tuple[Jam, Jam]]:
    tight = make_jam(redis_url=redis_server.url, session={"idle": 600, "remember_idle": 1200})
    yield redis_jam, tight
    tight.store.close()  # type: ignore[attr-defined]


@pytest.mark.redis
@each_case(("kind", "idle"), [(True, 1200), (False, 600), (None, 600)])
def test_on_redis_each_kind_obeys_its_own_settings(
    two_jams: tuple[Jam, Jam], clock: Clock, kind: bool | None, idle: int
) -> None:
    loose, tight = two_jams
    first, late = (loose.create_session("ann", {}, remember=kind) for _ in range(2))
    clock.tick(idle - 1)
    # Twice: what a read finds ended, it removes.
    assert [tight.get_session(first) for _ in range(2)] == [{}, {}]
    clock.tick(1)
    assert tight.get_session(late) is None


@pytest.mark.redis
@each_case(("kind", "kept"), [(True, 365 * DAY), (False, None), (None, 30 * DAY)])
def test_on_redis_another_process_renews_the_cookie_of_each_kind(
    two_jams: tuple[Jam, Jam], kind: bool | None, kept: int | None
) -> None:
    client = build(two_jams[0]).test_client()
    logged_in(client, remember=kind)
    cookie = held(client)
    other = build(two_jams[1]).test_client()
    other.set_cookie("sessionId", cookie)
    assert kept_for(other.post("/refresh")) == kept


# --- attacks --------------------------------------------------------------------------


def test_a_stolen_cookie_is_listed_and_ends_with_its_login(jam: Jam, clock: Clock) -> None:
    app = build(jam)
    victim, thief = app.test_client(), app.test_client()
    logged_in(victim, remember=True)
    cookie = held(victim)
    thief.set_cookie("sessionId", cookie)
    clock.tick(20 * DAY)
    assert lives(thief)
    (info,) = jam.list_sessions("ann")
    assert info.last_seen_at == clock()
    assert jam.delete_session_by_handle("ann", info.handle)
    assert not lives(thief)
    assert not lives(victim)


@each_case("verb", ["clear_sessions", "revoke_subject"])
def test_a_remembered_login_ends_with_everything_of_its_owner(jam: Jam, verb: str) -> None:
    client = build(jam).test_client()
    logged_in(client, remember=True)
    getattr(jam, verb)("ann")
    assert not lives(client)


def test_a_login_without_remember_replaces_one_that_is_remembered(
    jam: Jam, client: FlaskClient
) -> None:
    logged_in(client, remember=True)
    assert kept_for(logged_in(client, remember=False)) is None
    assert len(jam.list_sessions("ann")) == 1


def test_two_tabs_that_refresh_at_once_get_one_cookie_of_one_kind(client: FlaskClient) -> None:
    logged_in(client, remember=False)
    old = held(client)
    first = client.post("/refresh")
    client.set_cookie("sessionId", old)
    # The request of the second tab was on its way.
    again = client.post("/refresh")
    assert (first.status_code, again.status_code) == (200, 200)
    assert kept_for(first) is kept_for(again) is None
    assert first.headers["Set-Cookie"] == again.headers["Set-Cookie"]


def test_a_client_cannot_choose_to_be_remembered(jam: Jam, client: FlaskClient) -> None:
    logged_in(client, remember=False)
    cookie = held(client)
    client.set_cookie("sessionId", cookie, max_age=365 * DAY)
    for path in ("/refresh?remember=1", "/refresh"):
        answer = client.post(path, json={"remember": True}, headers={"Remember": "1"})
        assert kept_for(answer) is None
    (info,) = jam.list_sessions("ann")
    assert info.expires_at == NOW + DAY
