"""``frozen_time`` and ``Clock``: all of a Jam follows, and nothing stays behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from flask import Flask

from flask_jam import ConfigError, Jam, JWTExtension, Reason, TokenError
from flask_jam.testing import Clock, JamClient, assert_refused, frozen_time

from ..cases import each_case
from ..conftest import SECRET, build_app

CONFIG = {
    "jwt": {"secret_key": SECRET, "expire": 600, "refresh_grace": 10},
    "session": {"idle": 300, "absolute": 1000},
}


@pytest.fixture
def jam() -> Jam:
    """One on the machine's own clock."""
    return Jam(CONFIG)


def holders(root: object, wanted: object) -> list[str]:
    """The type and attribute of everything that is reachable from ``root`` and has ``wanted``."""
    return sorted(set(_holders(root, wanted, set())))


def _holders(root: object, wanted: object, seen: set[int]) -> Iterator[str]:
    if id(root) in seen or not type(root).__module__.startswith("flask_jam"):
        return
    seen.add(id(root))
    slots = [name for cls in type(root).__mro__ for name in getattr(cls, "__slots__", ())]
    named = {**getattr(root, "__dict__", {}), **{n: getattr(root, n, None) for n in slots}}
    for name, value in named.items():
        if value is wanted:
            yield f"{type(root).__name__}.{name}"
        inner = value.values() if isinstance(value, dict) else (value,)
        for each in inner:
            yield from _holders(each, wanted, seen)


# --- everything follows ---


def test_no_part_of_a_jam_keeps_the_usual_clock(app: Flask, jam: Jam) -> None:
    usual = jam.clock
    before = holders(app.extensions["flask_jam"], usual)
    parts = {"ApiKeys", "Families", "Jam", "Sessions", "Tickets", "Tokens", "Verifier"}
    assert {f"{part}.clock" for part in parts} <= set(before)
    with frozen_time(jam) as clock:
        assert holders(app.extensions["flask_jam"], usual) == []
        assert holders(app.extensions["flask_jam"], clock) == before
    assert holders(app.extensions["flask_jam"], usual) == before
    assert jam.clock is usual


def test_a_token_expires_by_it(client: JamClient) -> None:
    with frozen_time(client.application) as clock:
        client.login("alice")
        # A token expires at a whole second.
        clock.tick(598)
        assert client.get("/jwt").status_code == 200
        clock.tick(2)
        assert_refused(client.get("/jwt"), Reason.EXPIRED)


def test_max_age_follows_it(client: JamClient) -> None:
    with frozen_time(client.application) as clock:
        client.login("alice")
        clock.tick(300)
        assert client.get("/fresh").status_code == 200
        clock.tick(0.5)
        assert_refused(client.get("/fresh"), Reason.STALE)


def test_a_session_ends_by_it_when_idle_and_in_the_end(client: JamClient) -> None:
    with frozen_time(client.application) as clock:
        client.login("alice", scheme="session")
        for _ in range(3):
            clock.tick(299)
            assert client.get("/session").status_code == 200
        clock.tick(102.9)
        assert client.get("/session").status_code == 200
        clock.tick(0.2)
        assert_refused(client.get("/session"), Reason.SESSION_EXPIRED)
        client.login("alice", scheme="session")
        clock.tick(300)
        assert_refused(client.get("/session"), Reason.SESSION_EXPIRED)


def test_the_grace_of_a_refresh_follows_it(jam: Jam) -> None:
    with frozen_time(jam) as clock:
        old = jam.issue_tokens("alice")["refresh_token"]
        new = jam.refresh_tokens(old)["refresh_token"]
        clock.tick(10)
        assert jam.refresh_tokens(old)["refresh_token"] == new
        clock.tick(0.1)
        with pytest.raises(TokenError) as refused:
            jam.refresh_tokens(old)
        assert refused.value.reason is Reason.REUSED


def test_a_refresh_token_ends_by_it(jam: Jam) -> None:
    with frozen_time(jam) as clock:
        refresh_token = jam.issue_tokens("alice")["refresh_token"]
        clock.tick(timedelta(days=14))
        with pytest.raises(TokenError) as refused:
            jam.refresh_tokens(refresh_token)
        assert refused.value.reason is Reason.EXPIRED


def test_what_is_made_is_stamped_by_it(jam: Jam) -> None:
    with frozen_time(jam, at=5000) as clock:
        assert jam.make_payload()["iat"] == 5000
        assert jam.verify_jwt_token(jam.issue_tokens("a")["access_token"])["auth_time"] == 5000
        clock.move_to(6000)
        jam.create_session("alice", {})
        assert [info.created_at for info in jam.list_sessions("alice")] == [6000]


def test_time_stands_still(jam: Jam) -> None:
    with frozen_time(jam):
        first = jam.clock()
        time.sleep(0.002)
        assert jam.clock() == first


# --- it ends ---


def test_afterwards_time_goes_on(client: JamClient, jam: Jam) -> None:
    client.login("alice")
    with frozen_time(client.application) as clock:
        clock.tick(700)
        assert_refused(client.get("/jwt"), Reason.EXPIRED)
    assert client.get("/jwt").status_code == 200
    assert abs(jam.clock() - time.time()) < 5


def test_an_error_inside_gives_the_clock_back(jam: Jam) -> None:
    usual = jam.clock
    with pytest.raises(ZeroDivisionError), frozen_time(jam):
        raise ZeroDivisionError
    assert jam.clock is usual


def test_one_within_another_gives_back_the_outer(jam: Jam) -> None:
    with frozen_time(jam, at=1000) as outer:
        with frozen_time(jam) as inner:
            assert inner.now == 1000
            inner.tick(5)
            assert jam.clock() == 1005
        assert jam.clock() == 1000
        assert jam.clock is outer


def moments() -> list[float]:
    """Far behind the present, at it, and far ahead."""
    return [1_000_000_000.0, time.time(), 3_000_000_000.0]


@each_case("first", [0, 1, 2])
@each_case("second", [0, 1, 2])
def test_a_revocation_at_one_moment_ends_no_login_at_another(first: int, second: int) -> None:
    jam = Jam(CONFIG)
    for name, moment in (("one", moments()[first]), ("two", moments()[second])):
        with frozen_time(jam, at=moment):
            log_in_and_end_it(jam, name)
    log_in_and_end_it(jam, "three")


def log_in_and_end_it(jam: Jam, name: str) -> None:
    for _ in range(2):
        token, session_id = jam.issue_tokens(name)["access_token"], jam.create_session(name, {})
        assert jam.verify_jwt_token(token)
        assert jam.get_session(session_id) is not None
        jam.revoke_subject(name)
        assert jam.get_session(session_id) is None
        with pytest.raises(TokenError):
            jam.verify_jwt_token(token)


def test_a_revocation_while_time_stands_still_ends_what_was_before_and_not_what_comes(
    jam: Jam,
) -> None:
    for at in (None, *moments()):
        with frozen_time(jam, at=at):
            old = jam.issue_tokens(f"alice {at}")["access_token"]
            jam.revoke_subject(f"alice {at}")
            new = jam.issue_tokens(f"alice {at}")["access_token"]
            with pytest.raises(TokenError):
                jam.verify_jwt_token(old)
            assert jam.verify_jwt_token(new)


def test_cut_offs_at_one_instant_are_kept_apart_across_frozen_time() -> None:
    # The clock that is frozen stands still by itself, so a cut-off and what follows it are equal.
    jam = Jam(CONFIG, clock=Clock(5000))
    jam.revoke_subject("alice")
    with frozen_time(jam):
        first = jam.issue_tokens("alice")["access_token"]
        assert jam.verify_jwt_token(first)
        jam.revoke_subject("alice")
    second = jam.issue_tokens("alice")["access_token"]
    with pytest.raises(TokenError):
        jam.verify_jwt_token(first)
    assert jam.verify_jwt_token(second)


def test_what_was_minted_a_hair_ahead_is_ended_too() -> None:
    jam = Jam(CONFIG, clock=Clock(5000))
    jam.revoke_subject("alice")
    token = jam.issue_tokens("alice")["access_token"]
    with frozen_time(jam):
        jam.revoke_subject("alice")
        with pytest.raises(TokenError):
            jam.verify_jwt_token(token)


# --- the clock itself ---


def test_a_jam_may_be_made_with_one() -> None:
    clock = Clock(1000)
    jam = Jam(CONFIG, clock=clock)
    token = jam.issue_tokens("alice")["access_token"]
    clock.tick(600)
    with pytest.raises(TokenError) as refused:
        jam.verify_jwt_token(token)
    assert refused.value.reason is Reason.EXPIRED


def test_a_clock_begins_at_the_present_and_moves_by_hand() -> None:
    clock = Clock()
    assert abs(clock() - time.time()) < 5
    noon = datetime(2030, 1, 1, 12, tzinfo=timezone.utc)
    clock.move_to(noon)
    assert clock() == noon.timestamp() == Clock(noon)() == 1893499200
    clock.tick(timedelta(minutes=1))
    clock.tick(0.5)
    clock.tick(-1)
    assert clock() == clock.now == 1893499259.5
    assert repr(clock) == "Clock(1893499259.5)"


@each_case("wrong", [float("nan"), float("inf"), "now", True, datetime(2030, 1, 1)])
def test_what_is_no_moment_is_told_and_moves_nothing(wrong: Any, jam: Jam) -> None:
    clock, usual = Clock(1000), jam.clock
    for use in (Clock, clock.move_to, clock.tick, lambda at: frozen_time(jam, at).__enter__()):
        with pytest.raises(ConfigError, match="time zone"):
            use(wrong)
    assert clock.now == 1000
    assert jam.clock is usual


# --- it cannot weaken an app that serves people ---


def test_the_time_of_an_app_that_is_not_being_tested_cannot_be_frozen(app: Flask) -> None:
    app.testing = False
    usual = app.extensions["jam"].clock
    with pytest.raises(ConfigError, match=r"app\.testing = True"), frozen_time(app):
        pass
    assert app.extensions["jam"].clock is usual
    with pytest.raises(ConfigError, match="has no Jam"), frozen_time(new_app()):
        pass


def new_app() -> Flask:
    app = Flask("bare")
    app.testing = True
    return app


def test_an_app_that_is_not_being_tested_is_told_no_time_by_its_jam_either(app: Flask) -> None:
    app.testing = False
    client, jam = app.test_client(), app.extensions["jam"]
    token = jam.issue_tokens("alice")["access_token"]
    alice = {"Authorization": f"Bearer {token}"}
    client.set_cookie("sessionId", jam.create_session("alice", {}))
    with frozen_time(jam) as clock:
        clock.move_to(clock.now - 1)
        for path in ("/jwt", "/session", "/fresh", "/open"):
            assert client.get(path, headers=alice).status_code == 500
    assert client.get("/jwt", headers=alice).status_code == 200


def test_a_clock_of_a_test_lets_nobody_in_where_nothing_is_tested() -> None:
    jam = Jam(CONFIG, clock=Clock())
    app = build_app(jam)
    token = jam.issue_tokens("alice")["access_token"]
    answer = app.test_client().get("/jwt", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 500
    assert answer.headers.get("WWW-Authenticate") is None
    app.testing = True
    answer = app.test_client().get("/jwt", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200


def test_only_the_jam_of_that_app_stands_still(app: Flask) -> None:
    other = Jam(CONFIG)
    JWTExtension(other, Flask("other"))
    usual = other.clock
    with frozen_time(app, at=5):
        assert other.clock is usual
        assert other.clock() > 5
