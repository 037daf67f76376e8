"""Machines whose clocks differ: one store, one order of events, and no clock compared with another.

What is minted carries the subject's cut-off as the store had it. A revocation ends what was minted
before it, on any machine, and a login after it works at once, on any machine.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import jwt as pyjwt
import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_jam import Jam, Reason, SessionError, TokenError
from flask_jam.stores._redis.client import client_factory
from flask_jam.stores._redis.near_cache import NearStore
from flask_jam.stores.interface import CLOCK_SKEW, Store, slot_of
from flask_jam.stores.memory import MemoryStore
from flask_jam.stores.redis import RedisStore
from flask_jam.testing import frozen_time

from ..cases import each_case
from ..conftest import SECRET, bearer, build_app

NOW = 1_800_000_000.25
CONFIG = {"jwt": {"secret_key": SECRET, "refresh_grace": 10}}
#: How far the second clock, and the third where there is one, are ahead of the first.
SKEWS = [
    (ahead * sign,) for ahead in (0.01, 0.05, 4.0) for sign in (1, -1)
] + [(0.05, -0.01), (4.0, -4.0), (-4.0, 4.0), (0.01, 4.0)]  # fmt: skip


class Stores:
    """``connect()`` returns the shared store as one more machine has it."""

    def __init__(self, kind: str, url: str | None) -> None:
        self._kind, self._url = kind, url
        #: How long another machine may take to hear of a revocation.
        self.patience = 2.0 if kind == "near" else 0.0
        self._memory = MemoryStore()
        self._made: list[RedisStore] = []

    def connect(self) -> Store:
        if self._url is None:
            return self._memory
        make = NearStore if self._kind == "near" else RedisStore
        store = make(client_factory(self._url, 5.0), timeout=5.0)
        self._made.append(store)
        if isinstance(store, NearStore):
            _listen(store)
        return store

    def close(self) -> None:
        for store in self._made:
            store.close()


def _listen(store: NearStore) -> None:
    end = time.monotonic() + 5
    store.marks("zz", "none", None, None, NOW)
    while time.monotonic() - store.link.view.as_of > 0.5:
        assert time.monotonic() < end, "the near cache is not linked"
        time.sleep(0.002)


@pytest.fixture(params=["memory", "redis", "near"])
def backend(request: pytest.FixtureRequest) -> Iterator[Stores]:
    """A shared store: in memory, on Redis, and on Redis behind near caches."""
    url = None
    if request.param != "memory":
        server = request.getfixturevalue("redis_server")
        server.flush()
        url = server.url
    stores = Stores(request.param, url)
    yield stores
    stores.close()


class Time:
    """The true time, which no machine knows."""

    def __init__(self) -> None:
        self.now = NOW

    def seen_by(self, skew: float) -> Callable[[], float]:
        return lambda: self.now + skew


class Machines(NamedTuple):
    """Jams on one store, each with a clock of its own."""

    time: Time
    jams: list[Jam]
    patience: float

    def until(self, true: Callable[[], bool]) -> bool:
        """Return True once it is so: at once, but for what a near cache has to hear of."""
        end = time.monotonic() + self.patience
        while not true() and time.monotonic() < end:
            time.sleep(0.002)
        return true()

    def all_refuse(self, *logins: Login) -> bool:
        return self.until(
            lambda: all(login.lives(jam) == DEAD for login in logins for jam in self.jams)
        )

    def pairs(self) -> Iterator[tuple[Jam, Jam]]:
        return ((one, other) for one in self.jams for other in self.jams)


MakeMachines = Callable[..., Machines]


@pytest.fixture
def machines(backend: Stores) -> MakeMachines:
    """``machines(4.0)`` is two machines; the clock of the second is 4 s ahead."""

    def make(*skews: float) -> Machines:
        time_ = Time()
        clocks = [time_.seen_by(skew) for skew in (0.0, *skews)]
        jams = [Jam(CONFIG, store=backend.connect(), clock=clock) for clock in clocks]
        return Machines(time_, jams, backend.patience)

    return make


class Login(NamedTuple):
    """One of each credential of a subject."""

    minted: str
    pair: dict[str, Any]
    session_id: str

    @classmethod
    def on(cls, jam: Jam, subject: str) -> Login:
        return cls(
            jam.gen_jwt_token({"sub": subject}),
            jam.issue_tokens(subject),
            jam.create_session(subject, {"n": 1}),
        )

    def lives(self, jam: Jam) -> list[bool]:
        """Return which credentials a machine accepts; a refresh token is not rotated."""
        return [
            accepts(jam, self.minted),
            accepts(jam, self.pair["access_token"]),
            jam.store.read_family(self.pair["refresh_token"].split(".")[0], jam.clock())
            is not None,
            jam.get_session(self.session_id) is not None,
        ]


ALIVE, DEAD = [True] * 4, [False] * 4


def accepts(jam: Jam, token: str) -> bool:
    try:
        return bool(jam.verify_jwt_token(token))
    except TokenError as error:
        if error.reason is not Reason.REVOKED:
            raise
        return False


# --- what one machine mints, every other accepts at once ------------------------------


@each_case("skews", SKEWS)
def test_each_machine_accepts_at_once_what_another_mints(
    machines: MakeMachines, skews: tuple[float, ...]
) -> None:
    site = machines(*skews)
    for number, (minting, other) in enumerate(site.pairs()):
        login = Login.on(minting, f"ann {number}")
        assert login.lives(other) == ALIVE
        second = other.refresh_tokens(login.pair["refresh_token"])
        assert accepts(minting, second["access_token"])
        assert minting.refresh_tokens(second["refresh_token"])
        other.update_session(login.session_id, {"n": 2})
        assert minting.get_session(other.rework_session(login.session_id)) == {"n": 2}


@each_case("skews", SKEWS)
def test_each_machine_serves_at_once_a_client_that_logged_in_on_another(
    machines: MakeMachines, skews: tuple[float, ...]
) -> None:
    apps = [build_app(jam) for jam in machines(*skews).jams]
    for minting in apps:
        pair = minting.test_client().post("/login/ann").json
        assert pair is not None
        cookie = minting.test_client().post("/session-login/ann").headers["Set-Cookie"]
        for other in apps:
            client, headers = other.test_client(use_cookies=False), bearer(pair["access_token"])
            for path in ("/jwt", "/fresh", "/optional"):
                answer = client.get(path, headers=headers)
                assert (answer.status_code, answer.json["subject"]) == (200, "ann")
            answer = client.get("/session", headers={"Cookie": cookie.split(";")[0]})
            assert answer.status_code == 200


@each_case("skews", SKEWS)
def test_each_machine_repeats_a_rotation_of_another_within_the_grace(
    machines: MakeMachines, skews: tuple[float, ...]
) -> None:
    site = machines(*skews)
    for first, second in site.pairs():
        old = first.issue_tokens("ann")["refresh_token"]
        new = first.refresh_tokens(old)["refresh_token"]
        site.time.now += 0.5
        assert second.refresh_tokens(old)["refresh_token"] == new
        assert first.refresh_tokens(new)


def test_token_from_further_ahead_than_clocks_differ_is_refused(machines: MakeMachines) -> None:
    here, ahead = machines(CLOCK_SKEW + 0.001).jams
    with pytest.raises(TokenError) as caught:
        here.verify_jwt_token(ahead.gen_jwt_token({"sub": "ann"}))
    assert caught.value.reason is Reason.NOT_YET_VALID


# --- a revocation ends what was minted before it --------------------------------------


@each_case("skews", SKEWS)
@each_case("later", [0.0, 0.001, 1.0])
def test_revocation_on_any_machine_ends_what_any_machine_minted_before(
    machines: MakeMachines, skews: tuple[float, ...], later: float
) -> None:
    site = machines(*skews)
    for number, revoking in enumerate(site.jams):
        subject = f"ann {number}"
        logins = [Login.on(jam, subject) for jam in site.jams]
        bobs = Login.on(site.jams[-1], "bob")
        assert all(login.lives(jam) == ALIVE for login in logins for jam in site.jams)
        site.time.now += later
        revoking.revoke_subject(subject)
        assert [login.lives(revoking) for login in logins] == [DEAD] * len(logins)
        assert site.all_refuse(*logins)
        for login in logins:
            for jam in site.jams:
                with pytest.raises(TokenError) as caught:
                    jam.refresh_tokens(login.pair["refresh_token"])
                assert caught.value.reason is Reason.REVOKED
                with pytest.raises(SessionError):
                    jam.update_session(login.session_id, {"n": 2})
                with pytest.raises(SessionError):
                    jam.rework_session(login.session_id)
        assert [jam.list_sessions(subject) for jam in site.jams] == [[]] * len(site.jams)
        assert bobs.lives(revoking) == ALIVE


@each_case("skews", SKEWS)
def test_sessions_die_with_the_cut_off_before_they_are_removed(
    machines: MakeMachines, skews: tuple[float, ...]
) -> None:
    site = machines(*skews)
    for number, revoking in enumerate(site.jams):
        subject = f"ann {number}"
        logins = [Login.on(jam, subject) for jam in site.jams]
        # Also those that a near cache has kept.
        assert all(login.lives(jam) == ALIVE for login in logins for jam in site.jams)
        now = revoking.clock()
        revoking.store.cut(slot_of(subject), subject, now, now + 1e6)
        assert site.all_refuse(*logins)
        assert [jam.list_sessions(subject) for jam in site.jams] == [[]] * len(site.jams)
        after = [Login.on(jam, subject) for jam in site.jams]
        assert [login.lives(jam) for login in after for jam in site.jams] == (
            [ALIVE] * len(after) * len(site.jams)
        )


@each_case("skews", SKEWS)
def test_revocation_ends_logins_that_are_on_their_way_to_the_store(
    machines: MakeMachines, skews: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = machines(*skews)
    for number, (minting, revoking) in enumerate(site.pairs()):
        subject = f"ann {number}"
        for verb in ("start_family", "create_session"):
            step = getattr(minting.store, verb)

            def late(*arguments: Any, step: Any = step, subject: str = subject) -> Any:
                revoking.revoke_subject(subject)  # noqa: B023 - called within this turn
                return step(*arguments)

            with monkeypatch.context() as patched:
                patched.setattr(minting.store, verb, late)
                if verb == "start_family":
                    pair = minting.issue_tokens(subject)
                else:
                    with pytest.raises(SessionError) as refused:
                        minting.create_session(subject, {})
                    assert refused.value.reason is Reason.REVOKED
        for jam in site.jams:
            assert not accepts(jam, pair["access_token"])
            with pytest.raises(TokenError) as caught:
                jam.refresh_tokens(pair["refresh_token"])
            assert caught.value.reason is Reason.REVOKED
            assert jam.list_sessions(subject) == []


@each_case("skews", SKEWS)
def test_what_a_revocation_ended_stays_dead_as_time_passes(
    machines: MakeMachines, skews: tuple[float, ...]
) -> None:
    site = machines(*skews)
    logins = [Login.on(jam, "ann") for jam in site.jams]
    site.jams[0].revoke_subject("ann")
    assert site.all_refuse(*logins)
    for seconds in (0.01, 3.9, 0.2, 6, 60):
        site.time.now += seconds
        assert [login.lives(jam) for login in logins for jam in site.jams] == (
            [DEAD] * len(logins) * len(site.jams)
        )


@each_case("skews", SKEWS)
def test_revocation_ends_what_a_rotation_minted_before_it(
    machines: MakeMachines, skews: tuple[float, ...]
) -> None:
    site = machines(*skews)
    for number, (rotating, revoking) in enumerate(site.pairs()):
        subject = f"ann {number}"
        first = site.jams[0].issue_tokens(subject)
        second = rotating.refresh_tokens(first["refresh_token"])
        revoking.revoke_subject(subject)
        for jam in site.jams:
            assert site.until(lambda jam=jam, pair=second: not accepts(jam, pair["access_token"]))  # type: ignore[misc]
            for pair in (second, first):
                with pytest.raises(TokenError) as caught:
                    jam.refresh_tokens(pair["refresh_token"])
                assert caught.value.reason is Reason.REVOKED


# --- a login after it works at once ---------------------------------------------------


@each_case("skews", SKEWS)
@each_case("times", [1, 2, 5])
def test_login_right_after_a_revocation_works_at_once_on_every_machine(
    machines: MakeMachines, skews: tuple[float, ...], times: int
) -> None:
    # The true time stands still: the login has no later moment to begin at.
    site = machines(*skews)
    for number, (minting, revoking) in enumerate(site.pairs()):
        subject = f"ann {number}"
        before = Login.on(minting, subject)
        for _ in range(times):
            revoking.revoke_subject(subject)
        after = Login.on(minting, subject)
        assert [after.lives(jam) for jam in site.jams] == [ALIVE] * len(site.jams)
        assert site.all_refuse(before)
        assert site.jams[0].refresh_tokens(after.pair["refresh_token"])


@each_case("skews", SKEWS)
def test_each_of_many_revocations_ends_exactly_the_logins_before_it(
    machines: MakeMachines, skews: tuple[float, ...]
) -> None:
    site = machines(*skews)
    dead: list[Login] = []
    for turn in range(3):
        for revoking in site.jams[:: 1 if turn % 2 else -1]:
            alive = [Login.on(jam, "ann") for jam in site.jams]
            assert all(login.lives(jam) == ALIVE for login in alive for jam in site.jams)
            revoking.revoke_subject("ann")
            dead += alive
            assert site.all_refuse(*dead)


@each_case("skews", SKEWS)
def test_clearing_ends_sessions_of_every_machine_and_no_later_login(
    machines: MakeMachines, skews: tuple[float, ...]
) -> None:
    site = machines(*skews)
    for number, clearing in enumerate(site.jams):
        owner = f"ann {number}"
        for _ in range(2):
            ids = [jam.create_session(owner, {}) for jam in site.jams]
            assert clearing.clear_sessions(owner) == len(ids)
            for jam in site.jams:
                assert site.until(lambda jam=jam, ids=ids: not any(map(jam.get_session, ids)))  # type: ignore[misc]
            after = [jam.create_session(owner, {}) for jam in site.jams]
            assert [jam.get_session(i) for jam in site.jams for i in after] == (
                [{}] * len(after) * len(site.jams)
            )
            assert clearing.clear_sessions(owner) == len(after)


@each_case("skews", SKEWS)
def test_login_works_at_once_while_an_earlier_cut_off_ends(
    machines: MakeMachines, skews: tuple[float, ...]
) -> None:
    # One machine still has the cut-off where another has it no more.
    site = machines(*skews)
    site.jams[0].revoke_subject("ann")
    life = site.jams[0].revocation._longest_life()
    for step in range(-6, 7):
        site.time.now = NOW + life + step
        for jam in site.jams:
            login = Login.on(jam, "ann")
            assert [login.lives(each) for each in site.jams] == [ALIVE] * len(site.jams), step


# --- any order ------------------------------------------------------------------------

MACHINE = st.integers(0, 2)
STEPS = st.one_of(
    st.tuples(st.just("mint"), MACHINE, st.sampled_from(["token", "pair", "session"])),
    st.tuples(st.just("mint"), MACHINE, st.sampled_from(["token", "pair", "session"])),
    st.tuples(st.just("revoke"), MACHINE, st.none()),
    st.tuples(st.just("rotate"), MACHINE, st.integers(0, 20)),
    st.tuples(st.just("move"), MACHINE, st.integers(0, 20)),
    st.tuples(st.just("check"), MACHINE, st.none()),
    st.tuples(st.just("wait"), st.just(0), st.sampled_from([1e-6, 0.001, 0.5, 3.0])),
    st.tuples(st.just("skew"), MACHINE, st.sampled_from([-5.0, -0.01, 0.0, 0.01, 5.0])),
)


class Model:
    """Everything minted for one subject on three machines, and which of it must live."""

    def __init__(self, connect: Callable[[], Store], skews: list[float]) -> None:
        self.now, self.skews = NOW, skews
        self.jams = [Jam(CONFIG, store=connect(), clock=self._clock(n)) for n in range(3)]
        self.subject = f"ann {uuid.uuid4()}"
        self.tokens: dict[str, bool] = {}
        self.families: dict[str, bool] = {}
        self.sessions: dict[str, bool] = {}

    def _clock(self, machine: int) -> Callable[[], float]:
        return lambda: self.now + self.skews[machine]

    def run(self, steps: list[tuple[str, int, Any]]) -> None:
        for name, machine, argument in steps:
            getattr(self, name)(machine, argument)
        for machine in range(3):
            self.check(machine, None)

    def wait(self, _machine: int, seconds: float) -> None:
        self.now += seconds

    def skew(self, machine: int, seconds: float) -> None:
        """Set the clock of a machine, also back."""
        self.skews[machine] = seconds

    def mint(self, machine: int, kind: str) -> None:
        jam = self.jams[machine]
        if kind == "token":
            self.tokens[jam.gen_jwt_token({"sub": self.subject})] = True
        elif kind == "pair":
            pair = jam.issue_tokens(self.subject)
            self.tokens[pair["access_token"]] = self.families[pair["refresh_token"]] = True
        else:
            self.sessions[jam.create_session(self.subject, {})] = True

    def rotate(self, machine: int, number: int) -> None:
        if not self.families:
            return
        old = list(self.families)[number % len(self.families)]
        lives = self.families[old]
        try:
            pair = self.jams[machine].refresh_tokens(old)
        except TokenError as error:
            if lives or error.reason is not Reason.REVOKED:
                raise
            return
        assert lives, "a revoked family was rotated"
        del self.families[old]
        self.families[pair["refresh_token"]] = self.tokens[pair["access_token"]] = True

    def move(self, machine: int, number: int) -> None:
        if not self.sessions:
            return
        old = list(self.sessions)[number % len(self.sessions)]
        try:
            new = self.jams[machine].rework_session(old)
        except SessionError:
            assert not self.sessions[old], "a living session was refused"
            return
        assert self.sessions.pop(old), "a revoked session was moved"
        self.sessions[new] = True

    def revoke(self, machine: int, _: None) -> None:
        self.jams[machine].revoke_subject(self.subject)
        for table in (self.tokens, self.families, self.sessions):
            table.update(dict.fromkeys(table, False))

    def check(self, machine: int, _: None) -> None:
        jam = self.jams[machine]
        assert {token: accepts(jam, token) for token in self.tokens} == self.tokens
        living = {each: jam.get_session(each) is not None for each in self.sessions}
        assert living == self.sessions
        assert len(jam.list_sessions(self.subject)) == sum(self.sessions.values())
        families = {
            each: jam.store.read_family(each.split(".")[0], jam.clock()) is not None
            for each in self.families
        }
        assert families == self.families


SKEW = st.floats(-CLOCK_SKEW / 2, CLOCK_SKEW / 2)


@settings(deadline=None)
@given(st.lists(SKEW, min_size=3, max_size=3), st.lists(STEPS, max_size=25))
def test_credential_lives_if_and_only_if_no_revocation_came_after_it(
    skews: list[float], steps: list[tuple[str, int, Any]]
) -> None:
    store = MemoryStore()
    Model(lambda: store, skews).run(steps)


def test_credential_lives_on_redis_if_no_revocation_came_after_it(redis_server: Any) -> None:
    redis_server.flush()
    # Without near caches, to which a revocation elsewhere comes a moment later.
    store = RedisStore(client_factory(redis_server.url, 5.0), timeout=5.0)

    @settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(SKEW, min_size=3, max_size=3), st.lists(STEPS, max_size=20))
    def run(skews: list[float], steps: list[tuple[str, int, Any]]) -> None:
        Model(lambda: store, skews).run(steps)

    run()
    store.close()


# --- tokens of other issuers ----------------------------------------------------------


def foreign(**changes: Any) -> str:
    """A token that another library signed with the same key."""
    claims = {"sub": "ann", "jti": str(uuid.uuid4()), "iat": NOW, "exp": NOW + 900, **changes}
    return pyjwt.encode(claims, SECRET, "HS256")


@each_case("iat", [NOW - 100, NOW - 1, math.floor(NOW), NOW, math.floor(NOW) + 0.999])
def test_foreign_token_dies_if_its_second_is_not_after_the_cut_off(
    machines: MakeMachines, iat: float
) -> None:
    site = machines(0.05)
    here, other = site.jams
    token = foreign(iat=iat)
    assert accepts(here, token)
    assert accepts(other, token)
    here.revoke_subject("ann")
    assert not accepts(here, token)
    assert site.until(lambda: not accepts(other, token))
    # The second that begins after the cut-off is alive, and the present one is not.
    assert not accepts(here, foreign(iat=int(NOW)))
    assert accepts(here, foreign(iat=int(NOW) + 1))


@settings(deadline=None)
@given(
    cut=st.floats(0, 0.999), second=st.integers(0, 3), fraction=st.floats(0, 0.999),
    carried=st.sampled_from([None, "x", True, [], {}]),
)  # fmt: skip
def test_foreign_token_lives_if_and_only_if_its_second_is_later(
    cut: float, second: int, fraction: float, carried: object
) -> None:
    cut, iat = int(NOW) + 1 + cut, int(NOW) + second + fraction
    times = Time()
    jam = Jam(CONFIG, clock=times.seen_by(0.0))
    times.now = cut
    jam.revoke_subject("ann")
    extra = {} if carried is None else {"jam_cut": carried}
    assert accepts(jam, foreign(iat=iat, **extra)) is (math.floor(iat) > cut)


# --- clocks that a test moves ---------------------------------------------------------


def freezegun_at(moment: datetime) -> AbstractContextManager[Any]:
    freezegun = pytest.importorskip("freezegun", reason="needs freezegun")
    return freezegun.freeze_time(moment)  # type: ignore[no-any-return]


def time_machine_at(moment: datetime) -> AbstractContextManager[Any]:
    time_machine = pytest.importorskip("time_machine", reason="needs time-machine")
    return time_machine.travel(moment, tick=False)  # type: ignore[no-any-return]


@pytest.mark.parametrize("travel", [freezegun_at, time_machine_at])
def test_travelling_in_time_moves_the_default_clock(
    travel: Callable[[datetime], AbstractContextManager[Any]],
) -> None:
    jam = Jam({**CONFIG, "session": {"idle": 600, "absolute": 6000}})
    app, start = build_app(jam), datetime.now(timezone.utc)
    pair, session_id = jam.issue_tokens("ann"), jam.create_session("ann", {})
    headers = bearer(pair["access_token"])

    def status() -> int:
        return app.test_client(use_cookies=False).get("/jwt", headers=headers).status_code

    assert status() == 200
    with travel(start + timedelta(seconds=500)):
        assert jam.clock() == time.time() == pytest.approx(start.timestamp() + 500, abs=1)
        assert status() == 200
        assert jam.get_session(session_id) == {}
    with travel(start + timedelta(seconds=901)):
        with pytest.raises(TokenError) as caught:
            jam.verify_jwt_token(pair["access_token"])
        assert caught.value.reason is Reason.EXPIRED
        assert status() == 401
        assert jam.verify_jwt_token(jam.refresh_tokens(pair["refresh_token"])["access_token"])
    assert status() == 200, "the present is back"
    with travel(start + timedelta(days=90)):
        with pytest.raises(TokenError) as caught:
            jam.refresh_tokens(pair["refresh_token"])
        assert caught.value.reason is Reason.EXPIRED
        assert jam.get_session(session_id) is None


@pytest.mark.parametrize("travel", [freezegun_at, time_machine_at])
@each_case("chosen", [{}, {"clock": "time.time"}], ids=["default", "time.time"])
def test_a_jam_that_was_made_in_another_time_follows_it(
    travel: Callable[[datetime], AbstractContextManager[Any]], chosen: dict[str, str]
) -> None:
    with travel(datetime(2040, 1, 1, tzinfo=timezone.utc)):
        jam = Jam(CONFIG, **dict.fromkeys(chosen, time.time))
        token = jam.issue_tokens("ann")["access_token"]
    with travel(datetime(2040, 1, 1, 1, tzinfo=timezone.utc)), pytest.raises(TokenError) as caught:
        jam.verify_jwt_token(token)
    assert caught.value.reason is Reason.EXPIRED


@pytest.mark.parametrize("travel", [freezegun_at, time_machine_at])
def test_revocation_in_a_time_that_was_travelled_to_ends_no_later_login(
    travel: Callable[[datetime], AbstractContextManager[Any]],
) -> None:
    jam = Jam(CONFIG)
    with travel(datetime(2040, 1, 1, tzinfo=timezone.utc)):
        before = Login.on(jam, "ann")
        assert before.lives(jam) == ALIVE
        jam.revoke_subject("ann")
        assert before.lives(jam) == DEAD
    after = Login.on(jam, "ann")
    assert after.lives(jam) == ALIVE
    jam.revoke_subject("ann")
    assert after.lives(jam) == DEAD


@pytest.fixture(scope="module")
def shared_app() -> Flask:
    """One app for all tests of a module, as many projects have it."""
    app = build_app(Jam(CONFIG))
    app.testing = True
    return app


@each_case("days", [365.0, 1.0, 1 / 86400, 0.0, -1.0, -365.0])
def test_revocation_in_frozen_time_ends_no_later_login(shared_app: Flask, days: float) -> None:
    jam = shared_app.extensions["jam"]

    def log_in() -> dict[str, str]:
        pair = shared_app.test_client().post("/login/ann").json
        assert pair is not None
        return bearer(pair["access_token"])

    def status(headers: dict[str, str]) -> int:
        return shared_app.test_client().get("/jwt", headers=headers).status_code

    with frozen_time(shared_app, at=time.time() + days * 86400):
        before, session = log_in(), jam.create_session("ann", {})
        assert status(before) == 200
        jam.revoke_subject("ann")
        assert status(before) == 401
        assert jam.get_session(session) is None
    after, session = log_in(), jam.create_session("ann", {})
    assert status(after) == 200
    assert jam.get_session(session) == {}
    assert jam.refresh_tokens(jam.issue_tokens("ann")["refresh_token"])
    jam.revoke_subject("ann")
    assert status(after) == 401
    assert jam.get_session(session) is None


@each_case("moment", [0.0, 1e-9, 1.0, -1.0])
def test_revocation_works_wherever_a_test_clock_stands(backend: Stores, moment: float) -> None:
    jam = Jam(CONFIG, store=backend.connect(), clock=lambda: moment)
    before = jam.gen_jwt_token({"sub": "ann"}), jam.create_session("ann", {})
    pair = jam.issue_tokens("ann")
    jam.revoke_subject("ann")
    assert not accepts(jam, before[0])
    assert jam.get_session(before[1]) is None
    with pytest.raises(TokenError):
        jam.refresh_tokens(pair["refresh_token"])
    assert accepts(jam, jam.gen_jwt_token({"sub": "ann"}))
    assert jam.get_session(jam.create_session("ann", {})) == {}
