"""Settings that are tightened reach what is stored; those that are loosened do not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from flask_jam import Jam, SessionError, TokenError
from flask_jam.stores.memory import MemoryStore

from ..cases import each_case
from ..conftest import Clock

MakeJam = Callable[..., Jam]
NOW = 1_800_000_000.0

LIVES: dict[str, Callable[[Jam, str], object]] = {
    "read": lambda jam, session_id: jam.get_session(session_id) is not None,
    "update": lambda jam, session_id: jam.update_session(session_id, {"n": 1}) is None,
    "rework": lambda jam, session_id: jam.rework_session(session_id),
    "delete": lambda jam, session_id: jam.delete_session(session_id),
    "list": lambda jam, session_id: jam.list_sessions("ann"),
    "delete by handle": lambda jam, session_id: jam.delete_session_by_handle(
        "ann", jam.handle_of(session_id)
    ),
}


def lives(jam: Jam, verb: str, session_id: str) -> bool:
    with suppress(SessionError):
        return bool(LIVES[verb](jam, session_id))
    return False


@each_case("verb", LIVES)
@each_case("setting", ["idle", "absolute"])
def test_a_tightened_setting_ends_sessions_that_are_stored(
    make_jam: MakeJam, clock: Clock, verb: str, setting: str
) -> None:
    store = MemoryStore()
    loose, tight = make_jam(store=store), make_jam(store=store, session={setting: 3600})
    session_id = loose.create_session("ann", {})
    clock.tick(3599)
    assert lives(tight, "list", session_id)
    clock.tick(1)
    assert not lives(tight, verb, session_id)


def test_a_loosened_setting_extends_no_session(make_jam: MakeJam, clock: Clock) -> None:
    store = MemoryStore()
    tight = make_jam(store=store, session={"idle": 100, "absolute": 150})
    loose = make_jam(store=store)
    first, second = tight.create_session("ann", {}), tight.create_session("ann", {})
    clock.tick(99)
    assert loose.get_session(first) == {}
    clock.tick(1)
    assert loose.get_session(second) is None
    clock.tick(50)
    assert loose.get_session(first) is None


def test_a_list_tells_the_ends_that_count(make_jam: MakeJam, clock: Clock) -> None:
    store = MemoryStore()
    make_jam(store=store).create_session("ann", {})
    tight = make_jam(store=store, session={"idle": 100})
    assert [info.expires_at for info in tight.list_sessions("ann")] == [NOW + 100]


# --- refresh families -----------------------------------------------------------------


def refreshes(jam: Jam, token: str) -> bool:
    with suppress(TokenError):
        return bool(jam.refresh_tokens(token))
    return False


@each_case("setting", ["refresh_idle", "refresh_absolute"])
@each_case("reloads", [True, False])
def test_a_tightened_setting_ends_families_that_are_stored(
    make_jam: MakeJam, clock: Clock, setting: str, reloads: bool
) -> None:
    store, asked = MemoryStore(), []
    loose, tight = make_jam(store=store), make_jam(store=store, jwt={setting: 3600})
    good, late = (loose.issue_tokens("ann")["refresh_token"] for _ in range(2))

    def reload(subject: str, claims: dict[str, object]) -> dict[str, object]:
        asked.append(subject)
        return claims

    options = {"reload_claims": reload} if reloads else {}
    clock.tick(3599)
    assert tight.refresh_tokens(good, **options)
    clock.tick(1)
    with pytest.raises(TokenError):
        tight.refresh_tokens(late, **options)
    assert asked == ["ann"] * reloads


def test_refresh_idle_counts_from_the_last_rotation(make_jam: MakeJam, clock: Clock) -> None:
    store = MemoryStore()
    loose, tight = make_jam(store=store), make_jam(store=store, jwt={"refresh_idle": 3600})
    token = loose.issue_tokens("ann")["refresh_token"]
    clock.tick(5000)
    token = loose.refresh_tokens(token)["refresh_token"]
    clock.tick(3000)
    assert refreshes(tight, token)


def test_refresh_absolute_counts_from_the_login(make_jam: MakeJam, clock: Clock) -> None:
    store = MemoryStore()
    loose, tight = make_jam(store=store), make_jam(store=store, jwt={"refresh_absolute": 3600})
    token = loose.issue_tokens("ann")["refresh_token"]
    clock.tick(3000)
    token = loose.refresh_tokens(token)["refresh_token"]
    clock.tick(600)
    assert not refreshes(tight, token)


def test_a_loosened_setting_extends_no_family(make_jam: MakeJam, clock: Clock) -> None:
    store = MemoryStore()
    tight = make_jam(store=store, jwt={"refresh_idle": 100})
    token = tight.issue_tokens("ann")["refresh_token"]
    clock.tick(100)
    assert not refreshes(make_jam(store=store), token)
