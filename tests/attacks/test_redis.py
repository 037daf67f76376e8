"""Refresh, revocation and the token cache over Redis: what several workers and machines add.

The attacks on refresh tokens are the same whatever the store is, so those of
:mod:`test_refresh_revocation` run here once more, with and without a near cache.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask

from flask_jam import Jam, StoreUnavailable, TokenError
from flask_jam.stores._redis import scripts as lua
from flask_jam.stores._redis.near_cache import NearStore
from flask_jam.testing.stores import at_once

from ..cases import each_case
from ..conftest import SECRET, Clock, bearer, build_app
from ..servers import Proxy
from .conftest import _active
from .craft import COOKIE, DOWN, OK, T, verdict
from .stores import Backend, RedisWatch, listen, wait_for_links
from .test_refresh_revocation import (  # noqa: F401 - they are the tests of this file, too
    answer,
    heard_by,
    is_down,
    present,
    test_another_spelling_of_a_revoked_token_is_refused,
    test_R01_a_rotated_token_after_the_grace_ends_the_family,
    test_R01_without_a_grace_the_second_use_is_the_alarm,
    test_R02_a_replay_within_the_grace_gets_the_same_successor,
    test_R03_a_grandparent_within_the_grace_ends_the_family,
    test_R04_fifty_threads_get_one_successor,
    test_R04_threads_that_refresh_and_refresh_never_fork_the_family,
    test_R05_a_logout_that_lands_inside_of_a_refresh_wins,
    test_R05_a_refresh_that_lands_inside_of_another_gets_the_same_successor,
    test_R06_a_loser_clears_nothing,
    test_R08_a_guess_never_ends_a_family,
    test_R09_a_login_after_the_end_is_a_new_beginning,
    test_R09_nobody_refreshes_after_the_end,
    test_R10_nobody_comes_back_after_the_idle_time,
    test_R10_nobody_slides_past_the_absolute_end,
    test_R14_a_family_that_ended_by_reuse_raises_one_alarm,
    test_R14_an_expired_family_raises_no_alarm,
    test_R15_revoking_twice_is_revoking_once,
    test_R16_the_same_claims_signed_again_are_revoked,
    test_R17_a_mark_outlives_the_leeway,
    test_R17_an_allowed_token_is_allowed_as_long_as_it_lives,
    test_R18_one_that_hides_when_it_was_minted_is_refused_today_and_later,
    test_R21_logout_with_an_expired_token_ends_its_login,
    test_R22_every_access_token_of_a_family_dies_with_it,
    test_revoking_what_is_not_ours_is_no_error_and_does_nothing,
    turned,
)

pytestmark = pytest.mark.redis

MakeJam = Callable[..., Jam]
Pair = dict[str, Any]
#: So long may the near cache of :func:`far` believe what nobody confirms.
SILENCE = 0.4


@pytest.fixture(autouse=True, scope="module")
def links() -> Iterator[None]:
    """All links of near caches end with this module."""
    yield
    wait_for_links()


@pytest.fixture(autouse=True)
def watch() -> Iterator[RedisWatch]:
    """The watch of every attack; the way to the test's own Redis is open."""
    watch = RedisWatch()
    _active.append(watch)
    yield watch
    _active.remove(watch)
    assert watch.caught == []


@pytest.fixture(params=["redis", "near"])
def backend(request: pytest.FixtureRequest, watch: RedisWatch) -> Iterator[Backend]:
    backend = Backend(request.param, watch, request)
    yield backend
    backend.close()


class ServerClock(Clock):
    """The clock of the test, and of the server, which counts how old a rotation is."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self._raw = backend.raw

    def tick(self, seconds: float) -> None:
        super().tick(seconds)
        for key in self._raw.keys("jam:f:*"):
            rotated_at = self._raw.hget(key, "r")
            if rotated_at is not None:
                self._raw.hset(key, "r", repr(float(rotated_at) - seconds))


@pytest.fixture
def clock(backend: Backend) -> Clock:
    return ServerClock(backend)


@pytest.fixture
def make_jam(backend: Backend, clock: Clock) -> Callable[..., Jam]:
    """As everywhere, on Redis; each Jam has connections of its own, as another worker has."""

    def make(**sections: Any) -> Jam:
        store = sections.pop("store", None) or backend.connect()
        jwt = {"secret_key": SECRET, **sections.pop("jwt", {})}
        return Jam({"jwt": jwt, **sections}, store=store, clock=clock)

    return make


@pytest.fixture
def pair(jam: Jam) -> Pair:
    return jam.issue_tokens("alice", scopes={"read"}, roles={"editor"})


# --- several workers ----------------------------------------------------------------------------


def test_R04_fifty_refreshes_on_five_workers_get_one_successor(
    make_jam: MakeJam, backend: Backend
) -> None:
    workers = [build_app(make_jam()) for _ in range(5)]
    heard = [name for app in workers for name in heard_by(app)]
    first = workers[0].extensions["jam"].issue_tokens("alice")
    token = first["refresh_token"]
    for _ in range(3):
        found = at_once(
            50,
            lambda n, old=token: present(workers[n % 5].test_client(), old).json["refresh_token"],
        )
        (successor,) = set(found)
        assert successor != token
        token = successor
    assert "reuse_detected" not in heard
    assert [key for key in backend.held() if ":f:" in key] != []


@each_case("by", ["reuse", "logout", "subject"])
def test_R05_refreshes_against_an_end_on_another_worker_leave_nothing_alive(
    make_jam: MakeJam, clock: Clock, by: str
) -> None:
    jams = [make_jam() for _ in range(4)]
    for round_ in range(10):
        subject = f"alice {round_}"
        first = jams[0].issue_tokens(subject)
        second = jams[1].refresh_tokens(first["refresh_token"])
        third = jams[1].refresh_tokens(second["refresh_token"])

        def job(
            number: int, subject: str = subject, first: Pair = first, third: Pair = third
        ) -> Any:
            try:
                if number:
                    return jams[number].refresh_tokens(third["refresh_token"])
                return {
                    "reuse": lambda: jams[0].refresh_tokens(first["refresh_token"]),
                    "logout": lambda: jams[0].end_login(first["access_token"]),
                    "subject": lambda: jams[0].revoke_subject(subject),
                }[by]()
            except TokenError:
                return None

        won = [found for found in at_once(4, job) if isinstance(found, dict)]
        for jam in jams:
            for refreshed in (first, second, third, *won):
                with pytest.raises(TokenError):
                    jam.refresh_tokens(refreshed["refresh_token"])
            for refreshed in (first, second, third, *won):
                refused_soon(jam, refreshed["access_token"])
        clock.tick(1)


def refused_soon(jam: Jam, token: str) -> None:
    """As soon as a near cache may take to hear of it."""
    end = time.monotonic() + 1.0
    while accepted(jam, token):
        assert time.monotonic() < end


def accepted(jam: Jam, token: str) -> bool:
    try:
        return bool(jam.verify_jwt_token(token))
    except TokenError:
        return False


# --- lost replies -------------------------------------------------------------------------------


@pytest.fixture
def proxy(backend: Backend) -> Iterator[Proxy]:
    with Proxy(backend.server.port) as proxy:
        yield proxy


@pytest.fixture
def far(
    backend: Backend, proxy: Proxy, make_jam: MakeJam, request: pytest.FixtureRequest
) -> Iterator[Jam]:
    """A Jam behind the proxy. Its near cache is not heard before a test says so."""
    timeout = getattr(request, "param", 5.0)
    silence = {"silence": SILENCE} if backend.kind == "near" else {}
    store = backend.connect(port=proxy.port, timeout=timeout, listening=False, **silence)
    jam = make_jam(store=store)
    yield jam
    jam.store.close()  # type: ignore[attr-defined]


def test_R02_a_refresh_whose_answer_was_lost_gets_the_same_successor_when_repeated(
    far: Jam, make_jam: MakeJam, proxy: Proxy
) -> None:
    app = build_app(far)
    heard, client = heard_by(app), app.test_client()
    pair = turned(client, far.issue_tokens("alice"))
    proxy.swallow_replies(b"EVALSHA")
    assert is_down(present(client, pair["refresh_token"]))
    assert proxy.swallowed == 1
    again = turned(client, pair)
    assert again["refresh_token"] == turned(client, pair)["refresh_token"]
    assert turned(build_app(make_jam()).test_client(), again)
    assert "reuse_detected" not in heard


@each_case("step", ["MARK", "END_FAMILY", "DELETE_SESSION"])
def test_R19_a_logout_whose_answer_was_lost_is_a_logout_when_repeated(
    far: Jam, proxy: Proxy, step: str
) -> None:
    app = build_app(far)
    client, pair = app.test_client(use_cookies=False), far.issue_tokens("alice")
    session_id = far.create_session("alice", {})
    far.delete_session(far.create_session("alice", {}))  # the server knows the scripts then
    far.end_login(far.issue_tokens("bob")["access_token"])
    asked = [
        ("/logout", bearer(pair["access_token"])),
        ("/session-logout", {"Cookie": f"sessionId={session_id}"}),
    ]
    match = hashlib.sha1(getattr(lua, step).encode()).hexdigest().encode()
    proxy.swallow_replies(match, count=2)  # such a step is repeated once by itself
    answers = [client.post(path, headers=headers) for path, headers in asked]
    lost = 1 if step == "DELETE_SESSION" else 0
    assert is_down(answers[lost])
    assert answers[1 - lost].status_code == 204
    path, headers = asked[lost]
    assert client.post(path, headers=headers).status_code == 204
    assert answer(client, pair["access_token"]) == T
    assert verdict(present(client, pair["refresh_token"])) == T
    assert far.get_session(session_id) is None


def test_R19_a_login_whose_answer_was_lost_is_no_login_and_ends_by_itself(
    far: Jam, proxy: Proxy, backend: Backend
) -> None:
    app = build_app(far)
    heard, client = heard_by(app), app.test_client()
    far.issue_tokens("bob")
    far.create_session("bob", {})
    for path in ("/login/alice", "/session-login/alice"):
        proxy.swallow_replies(b"EVALSHA")
        assert is_down(client.post(path))
    assert heard == []
    # Nobody was told the id, and what was kept under it ends.
    assert all(backend.raw.pttl(key) > 0 for key in backend.raw.keys("jam:[^i]:*"))
    far.revoke_subject("alice")
    assert far.list_sessions("alice") == []


# --- a store that does not answer ---------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("far", [0.15], indirect=True)
@each_case("how", ["refuse", "freeze"])
def test_R19_and_R20_without_redis_every_verb_is_503_and_nothing_is_told(
    far: Jam, make_jam: MakeJam, proxy: Proxy, how: str
) -> None:
    app, near = build_app(far), make_jam()
    heard, client = heard_by(app), app.test_client(use_cookies=False)
    pair = near.issue_tokens("alice", scopes={"read"})
    session_id = near.create_session("alice", {})
    cookie = {"Cookie": f"sessionId={session_id}"}
    assert answer(client, near.issue_tokens("bob")["access_token"]) == OK
    getattr(proxy, how)()

    until_down(client, near.issue_tokens("bob")["access_token"])
    begun = time.monotonic()
    asked = [
        client.get("/jwt", headers=bearer(pair["access_token"])),
        client.get("/session", headers=cookie),
        client.post("/login/alice"),
        client.post("/session-login/alice"),
        client.post("/session-refresh", headers=cookie),
        client.post("/session-logout", headers=cookie),
        client.post("/logout", headers=bearer(pair["access_token"])),
        client.post("/refresh", json={"refresh_token": pair["refresh_token"]}),
    ]
    # Each within the timeout and a little.
    assert time.monotonic() - begun < len(asked) * (0.15 + 0.25)
    assert all(map(is_down, asked))
    for revoke in (far.revoke_subject, far.clear_sessions, far.list_sessions):
        with pytest.raises(StoreUnavailable):
            revoke("alice")
    for path in ("/open", "/public"):
        assert client.get(path, headers=bearer(pair["access_token"])).status_code == 200
    assert heard == []

    getattr(proxy, {"refuse": "accept", "freeze": "thaw"}[how])()
    # What it had hung on may have been done after all: nobody was told either way.
    new = near.issue_tokens("alice")
    assert answer(client, new["access_token"]) == OK
    assert turned(client, new)


def until_down(client: Any, token: str, within: float = 1.0) -> None:
    end = time.monotonic() + within
    while verdict(client.get("/jwt", headers=bearer(token))) != DOWN:
        assert time.monotonic() < end, "it was believed for longer than a near cache may"


# --- the token cache on several machines --------------------------------------------------------


REVOKE: dict[str, Callable[[Jam, Pair, str], Any]] = {
    "token": lambda jam, pair, session_id: jam.revoke_token(pair["access_token"]),
    "family": lambda jam, pair, session_id: jam.revoke_token(pair["refresh_token"]),
    "logout": lambda jam, pair, session_id: jam.end_login(pair["access_token"]),
    "subject": lambda jam, pair, session_id: jam.revoke_subject("alice"),
    "session": lambda jam, pair, session_id: jam.delete_session(session_id),
    "sessions": lambda jam, pair, session_id: jam.clear_sessions("alice"),
    "rework": lambda jam, pair, session_id: jam.rework_session(session_id),
}
TOKENS = ("token", "family", "logout", "subject")


def opens(app: Flask, how: str, pair: Pair, session_id: str) -> bool:
    client = app.test_client(use_cookies=False)
    if how in TOKENS:
        found = verdict(client.get("/jwt", headers=bearer(pair["access_token"])))
        assert found in (OK, T, DOWN)
    else:
        found = verdict(client.get("/session", headers={"Cookie": f"sessionId={session_id}"}))
        assert found in (OK, COOKIE, DOWN)
    return found == OK


@pytest.mark.slow
@each_case("how", REVOKE)
def test_V17_a_revocation_on_one_machine_counts_on_the_others(
    make_jam: MakeJam, backend: Backend, how: str
) -> None:
    jams = [make_jam() for _ in range(3)]
    apps = [build_app(jam) for jam in jams]
    pair, session_id = jams[0].issue_tokens("alice"), jams[0].create_session("alice", {})
    for _ in range(3):
        assert [opens(app, how, pair, session_id) for app in apps] == [True] * 3
    warm = [jam.verifier.cache_info().hits for jam in jams]
    assert how not in TOKENS or min(warm) >= 2

    REVOKE[how](jams[0], pair, session_id)
    revoked = time.monotonic()

    assert not opens(apps[0], how, pair, session_id)
    for app in apps[1:]:
        begun = time.monotonic()
        while opens(app, how, pair, session_id):
            assert backend.kind == "near", "who asks each time knows at once"
            assert begun - revoked < 1.0
            begun = time.monotonic()
        # And it stays so.
        assert not any(opens(app, how, pair, session_id) for _ in range(3))


@pytest.mark.slow
@pytest.mark.parametrize("far", [0.15], indirect=True)
@each_case("how", ["token", "subject", "session"])
@each_case("cut", ["freeze", "refuse", "cut"])
def test_V17_with_the_link_cut_nobody_is_believed_longer_than_the_bound(
    make_jam: MakeJam, backend: Backend, far: Jam, proxy: Proxy, how: str, cut: str
) -> None:
    near, app = make_jam(), build_app(far)
    if isinstance(far.store, NearStore):
        listen(far.store)
    pair, session_id = near.issue_tokens("alice"), near.create_session("alice", {})
    for _ in range(3):
        assert opens(app, how, pair, session_id)
    getattr(proxy, cut)()

    REVOKE[how](near, pair, session_id)
    revoked = time.monotonic()

    last, bound = 0.0, SILENCE if backend.kind == "near" else 0.001
    while (begun := time.monotonic()) < revoked + bound + 0.2:
        if opens(app, how, pair, session_id):
            last = begun - revoked
        time.sleep(0.01)
    assert last < bound
    if cut != "cut":
        {"freeze": proxy.thaw, "refuse": proxy.accept}[cut]()
    assert not opens(app, how, pair, session_id)


@pytest.mark.slow
def test_V16_threads_that_race_a_revocation_from_elsewhere_never_win_after_it(
    make_jam: MakeJam, backend: Backend
) -> None:
    near, other = make_jam(), make_jam()
    app = build_app(near)
    tokens = [near.issue_tokens(f"user {n}") for n in range(8)]
    revoked: dict[str, float] = {}
    late: list[float] = []
    over = threading.Event()

    def hammer() -> None:
        client = app.test_client(use_cookies=False)
        while not over.is_set():
            for pair in tokens:
                at = revoked.get(pair["access_token"])
                begun = time.monotonic()
                if answer(client, pair["access_token"]) == OK and at is not None:
                    late.append(begun - at)

    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(hammer) for _ in range(4)]
        for pair in tokens:
            time.sleep(0.02)
            other.revoke_token(pair["access_token"])
            revoked[pair["access_token"]] = time.monotonic()
        time.sleep(0.1)
        over.set()
        for run in runs:
            run.result()

    assert max(late, default=0.0) < 1.0
    if backend.kind == "redis":
        assert late == []
    assert {answer(app.test_client(), pair["access_token"]) for pair in tokens} == {T}
