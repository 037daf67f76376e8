"""The near cache keeps the contract, and believes nothing longer than Redis vouches for it."""

from __future__ import annotations

import gc
import logging
import os
import random
import subprocess
import sys
import threading
import time
import tracemalloc
import uuid
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, cast

import pytest
import redis
from redis.crc import key_slot

from flask_jam import Jam, StoreUnavailable
from flask_jam.stores._redis import invalidation as link
from flask_jam.stores._redis import near_cache as near
from flask_jam.stores._redis.client import client_factory
from flask_jam.stores._redis.near_cache import NearStore
from flask_jam.stores.api_keys import NewKey
from flask_jam.stores.interface import Kind, Marks, Store
from flask_jam.stores.redis import RedisStore
from flask_jam.testing.api_keys import a_key
from flask_jam.testing.stores import SLOT, StoreConformance, a_family, a_session, at, cleared

from ..cases import each_case, loop_inherited_cases
from ..servers import HOST, SLOTS, Proxy, RedisCluster, RedisServer, binaries

pytestmark = [pytest.mark.redis, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


def near_store(url: str, timeout: float = 5.0, silence: float = 1.0) -> NearStore:
    return NearStore(client_factory(url, timeout), timeout=timeout, silence=silence)


@loop_inherited_cases
class TestNearStore(StoreConformance):
    @pytest.fixture
    def store(self, each_server: RedisServer) -> Iterator[NearStore]:
        each_server.flush()
        store = near_store(each_server.url)
        yield store
        store.close()

    def elapse(self, seconds: float) -> None:
        time.sleep(seconds)


@loop_inherited_cases
class TestNearStoreOnACluster(StoreConformance):
    @pytest.fixture
    def store(self, three_nodes: RedisCluster) -> Iterator[NearStore]:
        three_nodes.flush()
        store = near_store(three_nodes.url)
        yield store
        store.close()

    def elapse(self, seconds: float) -> None:
        time.sleep(seconds)


# --- what the tests below do, again and again -----------------------------------------

#: Far ahead of any server's clock, as in the suite above.
NOW = 4_000_000_000.0
#: Of most stores here: shorter than anybody wants, so that a test need not wait.
SILENCE = 0.8
#: Of those whose questions are counted: a machine that stands still for a moment adds none.
PATIENCE = 30.0


def until(true: Callable[[], object], what: str, within: float = 10.0) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, f"{what}: not within {within} s"
        time.sleep(0.002)


def believed(store: NearStore) -> bool:
    """Whether Redis vouches for what was kept."""
    return time.monotonic() - store.link.view.as_of < store._silence


def linked(store: NearStore) -> NearStore:
    """The same, once its link is up."""

    def asked() -> bool:
        with suppress(StoreUnavailable):
            store.marks("zz", "nobody", None, None, NOW)
        return believed(store)

    until(asked, "the link is up")
    return store


def wait_for_push(store: NearStore, other: RedisStore) -> None:
    """Until all that was pushed up to now was heard: pushes come in the order of the changes."""
    probe = f"probe {uuid.uuid4()}"
    store.marks("zz", probe, None, None, NOW)
    other.mark("zz", Kind.TOKEN, probe, NOW, NOW + 1000)
    until(lambda: store.marks("zz", probe, None, None, NOW).revoked, "a change is pushed")


def questions(server: RedisServer) -> int:
    """How many there were. A link asks none."""
    return server.questions()


@contextmanager
def asks(server: RedisServer, count: int) -> Iterator[None]:
    """What is done in here asks Redis so often."""
    before = questions(server)
    yield
    assert questions(server) - before == count


def through(server: RedisServer, proxy: Proxy) -> str:
    """Its URL, by way of a proxy."""
    return server.url.replace(f":{server.port}/", f":{proxy.port}/")


def kill_links(server: RedisServer) -> None:
    """As if each was reset; the stores may connect anew."""
    server.client().client_kill_filter(_type="pubsub")


def links_of(server: RedisServer) -> int:
    return len(server.client().client_list(_type="pubsub"))


def cut_off(store: NearStore, server: RedisServer) -> None:
    """Its link is gone, and it has noticed."""
    kill_links(server)
    until(lambda: not believed(store), "the link is lost")


@contextmanager
def store_at(url: str, **options: Any) -> Iterator[NearStore]:
    store = near_store(url, **{"silence": SILENCE, **options})
    try:
        yield store
    finally:
        store.close()


def far_store(url: str) -> RedisStore:
    """Another process: it changes things, and keeps nothing."""
    return RedisStore(client_factory(url, 5.0), timeout=5.0)


@pytest.fixture(scope="module")
def one_server() -> Iterator[RedisServer]:
    """The newest, for what does not depend on its version."""
    with RedisServer([*binaries().values()][-1]) as server:
        yield server


@pytest.fixture
def other(each_server: RedisServer) -> Iterator[RedisStore]:
    each_server.flush()
    store = far_store(each_server.url)
    yield store
    store.close()


@pytest.fixture
def store(each_server: RedisServer, other: RedisStore) -> Iterator[NearStore]:
    """With its link up, and patient."""
    with store_at(each_server.url, silence=PATIENCE) as made:
        yield linked(made)


# --- each interleaving of a read and a change -----------------------------------------


class Held(NearStore):
    """A store of which a read can be held up on its way."""

    #: Called once, when the versions are taken and Redis is not asked yet; and when it has
    #: answered and nothing is kept yet.
    on_the_way: Callable[[], object] | None = None
    on_the_way_back: Callable[[], object] | None = None

    def _ask(self, script: str, keys: Sequence[str], *arguments: Any) -> Any:
        before, self.on_the_way = self.on_the_way, None
        after, self.on_the_way_back = self.on_the_way_back, None
        if before is not None:
            before()
        answer = super()._ask(script, keys, *arguments)
        if after is not None:
            after()
        return answer


class Change(NamedTuple):
    """Something that another process may do to what was read."""

    prepare: Callable[[Store], object]
    read: Callable[[Store], object]
    change: Callable[[Store], object]
    after: object


def _marks(store: Store) -> Marks:
    return store.marks(SLOT, "t", at("f"), "ann", NOW)


def _data(store: Store) -> object:
    session = store.read_session(at("k"), NOW)
    return session and session.data


def _a_session(store: Store) -> object:
    return store.create_session(at("k"), a_session(NOW))


def _a_key(store: Store) -> object:
    # It was used before, so a read writes nothing: a write would be a change of its own.
    return store.create_api_key(a_key(NOW)) and _lives(store)


def _lives(store: Store) -> object:
    found = store.read_api_key(at("k"), "digest-of-k", NOW)
    return found is not None and found.alive(NOW)


def _rotated(store: Store) -> object:
    return store.rotate_api_key(at("k"), "ann", NewKey(at("new"), "digest"), NOW, 0)


def _a_family(store: Store) -> object:
    store.start_family(at("f"), a_family(NOW, generation=3, rotated_at=NOW - 50))
    return None


def _nothing(store: Store) -> None:
    pass


def _reused(store: Store) -> object:
    return store.rotate_family(
        at("f"), 1, now=NOW, grace=10, idle=100, claims=None, mark_until=NOW + 500
    )


REVOKED = Marks(revoked=True)
CHANGES: dict[str, Change] = {
    "token revoked": Change(
        _nothing, _marks, lambda s: s.mark(SLOT, Kind.TOKEN, "t", NOW, NOW + 100), REVOKED
    ),
    "family revoked": Change(
        _nothing, _marks, lambda s: s.mark(SLOT, Kind.FAMILY, at("f"), NOW, NOW + 100), REVOKED
    ),
    "family ended": Change(
        _a_family, _marks, lambda s: s.end_family(at("f"), NOW, NOW + 100), REVOKED
    ),
    "refresh token reused": Change(_a_family, _marks, _reused, REVOKED),
    "subject revoked": Change(
        _nothing, _marks, lambda s: s.cut(SLOT, "ann", NOW, NOW + 100), Marks(cut_off=NOW)
    ),
    "logins ended": Change(
        _nothing, _marks, lambda s: s.cut_logins(SLOT, "ann", NOW, NOW + 100), Marks(logins=NOW)
    ),
    "token allowed": Change(
        _nothing, _marks, lambda s: s.allow(SLOT, "t", NOW, NOW + 100), Marks(allowed=True)
    ),
    "session deleted": Change(_a_session, _data, lambda s: s.delete_session(at("k"), NOW), None),
    "session updated": Change(
        _a_session, _data, lambda s: s.update_session(at("k"), {"n": 1}, NOW, 1000), {"n": 1}
    ),
    "session moved": Change(
        _a_session, _data, lambda s: s.rework_session(at("k"), at("k2"), "seed", NOW), None
    ),
    "owner revoked": Change(
        _a_session, _data, lambda s: s.cut(SLOT, "ann", NOW, NOW + 100), None
    ),
    "logins of its owner ended": Change(
        _a_session, _data, lambda s: s.cut_logins(SLOT, "ann", NOW, NOW + 100), None
    ),
    "sessions cleared": Change(
        _a_session, _data, lambda s: cleared(s, NOW), None
    ),
    "API key ended": Change(
        _a_key, _lives, lambda s: s.end_api_key(at("k"), "ann", NOW, "1"), False
    ),
    "API key rotated": Change(_a_key, _lives, _rotated, False),
    "owner of an API key revoked": Change(
        _a_key, _lives, lambda s: s.cut(SLOT, "ann", NOW, NOW + 100), False
    ),
}  # fmt: skip


class Scene(NamedTuple):
    """A store whose reads can be held up, somebody else, and a change that is to be made."""

    store: Held
    other: RedisStore
    server: RedisServer
    what: Change

    def read(self) -> object:
        return self.what.read(self.store)

    def change(self) -> None:
        self.what.change(self.other)

    def change_and_hear(self) -> None:
        self.change()
        wait_for_push(self.store, self.other)

    def lose_link(self) -> None:
        cut_off(self.store, self.server)

    def lose_link_and_change(self) -> None:
        self.lose_link()
        self.change()

    def lose_link_change_and_find_it(self) -> None:
        self.lose_link_and_change()
        linked(self.store)

    def lose_link_find_it_and_change(self) -> None:
        self.lose_link()
        linked(self.store)
        self.change_and_hear()

    def flush_all_and_prepare(self) -> None:
        self.server.client().flushall()
        self.what.prepare(self.other)
        self.change_and_hear()

    def stop_change_and_start(self) -> None:
        self.store.link.stop()
        until(lambda: links_of(self.server) == 0, "its thread has ended")
        self.change()
        linked(self.store)


@pytest.fixture(params=CHANGES)
def scene(
    request: pytest.FixtureRequest, one_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scene]:
    monkeypatch.setattr(link, "_SOON", 0.01)
    one_server.flush()
    what, other = CHANGES[request.param], far_store(one_server.url)
    what.prepare(other)
    store = Held(client_factory(one_server.url, 5.0), timeout=5.0, silence=SILENCE)
    yield Scene(cast(Held, linked(store)), other, one_server, what)
    store.close()
    other.close()


def sees_the_change(scene: Scene) -> bool:
    """At once, and when the link is back, and from what was kept then."""
    seen = [scene.read() for _ in range(3)]
    linked(scene.store)
    seen += [scene.read() for _ in range(3)]
    return seen == [scene.what.after] * 6


def test_a_change_that_was_pushed_before_the_read_is_seen(scene: Scene) -> None:
    assert scene.read() != scene.what.after
    scene.change_and_hear()
    assert sees_the_change(scene)


def test_a_change_that_was_pushed_after_what_was_read_was_kept_is_seen(scene: Scene) -> None:
    for _ in range(3):
        assert scene.read() != scene.what.after
    scene.change_and_hear()
    assert sees_the_change(scene)


INTERLEAVED = (
    "change_and_hear", "lose_link_and_change", "lose_link_change_and_find_it",
    "lose_link_find_it_and_change", "flush_all_and_prepare", "stop_change_and_start",
)  # fmt: skip


@each_case("meanwhile", INTERLEAVED)
def test_what_happens_between_the_question_and_redis_is_in_the_answer(
    scene: Scene, meanwhile: str
) -> None:
    scene.store.on_the_way = getattr(scene, meanwhile)
    assert scene.read() == scene.what.after
    assert sees_the_change(scene)


@each_case("meanwhile", INTERLEAVED)
def test_an_answer_that_a_change_overtook_is_not_kept(scene: Scene, meanwhile: str) -> None:
    scene.store.on_the_way_back = getattr(scene, meanwhile)
    assert scene.read() != scene.what.after  # it was so when Redis was asked
    assert sees_the_change(scene)


def test_a_push_that_comes_after_an_old_answer_was_kept_takes_it_away(
    each_server: RedisServer, other: RedisStore
) -> None:
    with Proxy(each_server.port) as proxy, store_at(through(each_server, proxy)) as store:
        linked(store)
        for change in CHANGES.values():
            each_server.flush()
            change.prepare(other)
            wait_for_push(store, other)
            assert change.read(store) != change.after
            proxy.delay = 0.05  # of the push, as of all that Redis says
            change.change(other)
            assert change.read(store) != change.after
            until(lambda change=change: change.read(store) == change.after, "pushed", SILENCE)
            proxy.delay = 0.0


@pytest.fixture
def deaf(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Its store hears of no change: what it knows of is its own."""
    monkeypatch.setattr(scene.store.link, "_pushed", lambda keys: None)
    return scene


def test_a_change_of_ones_own_counts_at_once(deaf: Scene) -> None:
    for _ in range(2):
        assert deaf.read() != deaf.what.after
    deaf.what.change(deaf.store)
    assert sees_the_change(deaf)


def test_an_answer_that_a_change_of_another_thread_overtook_is_not_kept(deaf: Scene) -> None:
    deaf.store.on_the_way_back = lambda: deaf.what.change(deaf.store)
    assert deaf.read() != deaf.what.after
    assert sees_the_change(deaf)


def test_what_was_kept_before_the_link_was_lost_is_not_believed_after(scene: Scene) -> None:
    for _ in range(2):
        assert scene.read() != scene.what.after
    scene.lose_link_change_and_find_it()
    assert sees_the_change(scene)


def test_a_new_session_of_an_id_that_was_unknown_is_seen_at_once(
    store: NearStore, other: RedisStore
) -> None:
    assert store.read_session(at("k"), NOW) is None
    other.create_session(at("k"), a_session(NOW))
    assert store.read_session(at("k"), NOW) == a_session(NOW)


# --- what counts is when Redis was heard ----------------------------------------------


def last_let_in(store: NearStore, place: str, end: float) -> float:
    """When it was asked for the last time of those that nothing was known of a token."""
    last = 0.0
    while time.monotonic() < end:
        asked = time.monotonic()
        with suppress(StoreUnavailable):
            if store.marks(place, "t", None, None, NOW) == Marks():
                last = asked
        time.sleep(0.001)
    return last


def next_view(store: NearStore) -> None:
    """Until the link has confirmed what it knows once more."""
    seen = store.link.view.as_of
    while store.link.view.as_of == seen:
        time.sleep(0.0005)


def test_an_answer_vouches_for_the_moment_of_the_question_before(
    one_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis may answer a question before it hands out the pushes of the same turn."""
    asked: list[float] = []
    made = link.connection_of

    def spied(pool: Any, silence: float) -> Any:
        connection = made(pool, silence)
        send = connection.send_command

        def send_command(*command: Any, **options: Any) -> Any:
            if command[0] == "PING":
                asked.append(time.monotonic())
            return send(*command, **options)

        connection.send_command = send_command
        return connection

    monkeypatch.setattr(link, "connection_of", spied)
    with store_at(one_server.url) as store:
        linked(store)
        for _ in range(4):
            next_view(store)
            assert store.link.view.as_of <= asked[-2] <= asked[-1]


def test_late_answer_confirms_only_the_time_of_its_request(
    one_server: RedisServer,
) -> None:
    """The next answer comes right after the change, and the push of that change never."""
    one_server.flush()
    other = far_store(one_server.url)
    with (
        Proxy(one_server.port) as proxy,
        store_at(through(one_server, proxy), silence=1.0, timeout=0.2) as store,
    ):
        linked(store)
        proxy.delay = 0.1
        for _ in range(2):
            assert store.marks(SLOT, "t", None, None, NOW) == Marks()
            next_view(store)
        time.sleep(0.2)  # of the 0.25 that lie between two confirmations
        other.mark(SLOT, Kind.TOKEN, "t", NOW, NOW + 100)
        revoked = time.monotonic()
        next_view(store)
        proxy.freeze()
        last = last_let_in(store, SLOT, revoked + 1.2)
        proxy.thaw()
    other.close()
    assert revoked - 0.3 < last <= revoked + 1.0


# --- a random run against a model -----------------------------------------------------

#: The value of a credential that has ended. Before, it is a number that only grows.
DEAD = float("inf")


class Step(NamedTuple):
    """A change: the value that it makes, when it was begun and done, and through which store."""

    value: float
    begun: float
    done: float
    by: int


class History:
    """What is right about one credential."""

    def __init__(self, name: str, value: float = 0.0) -> None:
        self.name = name
        self.steps = [Step(value, 0.0, 0.0, -1)]

    @property
    def value(self) -> float:
        return self.steps[-1].value

    def begin(self, value: float, by: int) -> None:
        self.steps.append(Step(value, time.monotonic(), DEAD, by))

    def finish(self) -> None:
        self.steps[-1] = self.steps[-1]._replace(done=time.monotonic())

    def late(self, value: float, by: int, asked: float, answered: float) -> float:
        """How many seconds the value that a store read was behind; an error if it may not be."""
        steps = list(self.steps)
        assert value in [step.value for step in steps if step.begun <= answered], (
            f"{self.name} was never {value}"
        )
        missed = [step for step in steps if step.value > value and step.done < asked]
        late = max((asked - step.done for step in missed), default=0.0)
        assert late <= SILENCE, f"{self.name} was {value}, {late} s too late"
        assert by not in [step.by for step in missed], f"{self.name}: a change of one's own"
        return late


class Owner:
    """Somebody with tokens and sessions. What is done to them is done one after the other."""

    def __init__(self, world: int, number: int) -> None:
        self.name = f"owner {world}.{number}"
        self.place = f"{'abcdefghijklmnop'[number]}{world}"
        self.tokens = [History(f"token {world}.{number}.{n}") for n in range(4)]
        self.sessions = [History(f"{self.place}{number}.{n}") for n in range(4)]
        self.lock = threading.Lock()
        #: A step was begun of which nobody knows whether, and when, it was or will be done.
        self.spoiled = False

    def families(self) -> list[str]:
        return [f"{self.place}family {n // 2}" for n in range(4)]

    # - reading

    def token(self, store: Store, number: int) -> float:
        name, family = self.tokens[number].name, self.families()[number]
        found = store.marks(self.place, name, family, self.name, NOW)
        return DEAD if found.revoked or found.cut_off is not None else 0.0

    def session(self, store: Store, history: History) -> float:
        found = store.read_session(history.name, NOW)
        return DEAD if found is None else found.data["n"]

    def lately(self) -> list[History]:
        """The sessions that live, or did a moment ago: that one is unknown is never kept."""
        since = time.monotonic() - 2 * SILENCE
        return [
            each for each in self.sessions if each.value != DEAD or each.steps[-1].begun > since
        ]

    # - changing

    @contextmanager
    def change(self, by: int, value: float, changed: Sequence[History]) -> Iterator[None]:
        for each in changed:
            each.begin(value, by)
        try:
            yield
        except StoreUnavailable:
            self.spoiled = True
            raise
        for each in changed:
            each.finish()

    def create(self, store: Store) -> None:
        for each in self.sessions:
            store.create_session(
                each.name, a_session(NOW, session_key=self.name, ends_at=NOW + 9e3)
            )

    def revoke_token(self, store: Store, by: int, number: int) -> None:
        with self.change(by, DEAD, [self.tokens[number]]):
            store.mark(self.place, Kind.TOKEN, self.tokens[number].name, NOW, NOW + 100)

    def revoke_family(self, store: Store, by: int, number: int) -> None:
        pair = self.tokens[number // 2 * 2 : number // 2 * 2 + 2]
        with self.change(by, DEAD, pair):
            store.mark(self.place, Kind.FAMILY, self.families()[number], NOW, NOW + 100)

    def revoke_all(self, store: Store, by: int, _number: int) -> None:
        with self.change(by, DEAD, [*self.tokens, *self.sessions]):
            store.cut(self.place, self.name, NOW, NOW + 100)
            store.clear_sessions(self.place, self.name, NOW, NOW + 100)

    def update(self, store: Store, by: int, number: int) -> None:
        session = self.sessions[-1 - number]
        if session.value != DEAD:
            value = session.value + 1
            with self.change(by, value, [session]):
                assert store.update_session(session.name, {"n": value}, NOW, 1000)

    def delete(self, store: Store, by: int, number: int) -> None:
        session = self.sessions[-1 - number]
        alive = session.value != DEAD
        with self.change(by, DEAD, [session]):
            assert (store.delete_session(session.name, NOW) is not None) is alive

    def move(self, store: Store, by: int, number: int) -> None:
        session = self.sessions[-1 - number]
        if session.value != DEAD:
            new = History(f"{session.name}'", session.value)
            with self.change(by, DEAD, [session]):
                assert store.rework_session(session.name, new.name, "seed", NOW)
            self.sessions.append(new)


#: Mostly what leaves somebody alive.
ACTS = ("revoke_token", "revoke_token", "revoke_family", "revoke_all", "delete", *["move"] * 4,
        *["update"] * 20)  # fmt: skip


class World:
    """Stores, each as if in a process of its own; threads that use them; and some people."""

    def __init__(self, stores: Sequence[NearStore], trouble: Trouble, number: int) -> None:
        self.stores = stores
        self.trouble = trouble
        self.owners = [Owner(number, n) for n in range(6)]
        for owner in self.owners:
            owner.create(stores[0])
        #: How late each read was that was late at all; and how many there were in all.
        self.late: list[float] = []
        self.reads = 0

    def run(self, seconds: float) -> None:
        end, count = time.monotonic() + seconds, len(self.stores)
        with ThreadPoolExecutor(2 * count) as pool:
            for job in [pool.submit(self.live, n % count, n, end) for n in range(2 * count)]:
                job.result()

    def live(self, by: int, seed: int, end: float) -> None:
        chance, store = random.Random(seed), self.stores[by]
        while time.monotonic() < end:
            owner = chance.choice(self.owners)
            with suppress(StoreUnavailable):
                if chance.random() < 0.02:
                    self.act(owner, store, by, chance)
                else:
                    self.look(owner, store, by, chance)

    def act(self, owner: Owner, store: NearStore, by: int, chance: random.Random) -> None:
        with owner.lock:
            if not owner.spoiled and self.trouble.frozen != by:
                getattr(owner, chance.choice(ACTS))(store, by, chance.randrange(4))

    def look(self, owner: Owner, store: NearStore, by: int, chance: random.Random) -> None:
        number, sessions = chance.randrange(8), owner.lately()
        history = (
            owner.tokens[number % 4] if number < 4 or not sessions else chance.choice(sessions)
        )
        asked = time.monotonic()
        if history in sessions:
            value = owner.session(store, history)
        else:
            value = owner.token(store, number % 4)
        answered = time.monotonic()
        if not owner.spoiled:
            self.reads += 1
            if late := history.late(value, by, asked, answered):
                self.late.append(late)


class Trouble:
    """Something is wrong with the network, all the time."""

    def __init__(self, server: RedisServer, proxies: Sequence[Proxy]) -> None:
        self.server, self.proxies = server, proxies
        self.over = threading.Event()
        #: Whose questions do not get through. What it cannot change it need not try to.
        self.frozen = -1

    def __enter__(self) -> Trouble:
        self.thread = threading.Thread(target=self.make)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def make(self) -> None:
        chance = random.Random(1)
        while not self.over.wait(chance.random() * 0.25):
            number = chance.randrange(len(self.proxies))
            getattr(self, chance.choice(("freeze", "freeze", "slow", "cut", "kill")))(
                number, chance
            )

    def cut(self, number: int, _chance: random.Random) -> None:
        self.proxies[number].cut()

    def kill(self, _number: int, _chance: random.Random) -> None:
        kill_links(self.server)

    def slow(self, number: int, chance: random.Random) -> None:
        self.proxies[number].delay = chance.random() * 0.04

    def freeze(self, number: int, chance: random.Random) -> None:
        self.frozen = number
        self.proxies[number].freeze()
        self.over.wait(chance.random() * 2 * SILENCE)
        self.proxies[number].thaw()
        self.frozen = -1


@pytest.mark.parametrize("troubled", [False, True], ids=["calm", "troubled"])
def test_no_read_misses_a_change_for_longer_than_the_bound(
    one_server: RedisServer, troubled: bool
) -> None:
    one_server.flush()
    with ExitStack() as held:
        proxies = [held.enter_context(Proxy(one_server.port)) for _ in range(3)]
        urls = [through(one_server, proxy) for proxy in proxies]
        stores = [linked(held.enter_context(store_at(url, timeout=0.1))) for url in urls]
        trouble = Trouble(one_server, proxies)
        worlds = [World(stores, trouble, number) for number in range(2 if troubled else 1)]
        if troubled:
            held.enter_context(trouble)
        for world in worlds:
            world.run(1.2)
    late = [each for world in worlds for each in world.late]
    assert sum(world.reads for world in worlds) > 2000
    if troubled:
        assert late, "nothing was ever read from a store that had not heard of a change"


# --- what is not asked ----------------------------------------------------------------


def test_that_nothing_is_known_of_a_token_is_kept(
    each_server: RedisServer, store: NearStore
) -> None:
    with asks(each_server, 1):
        for _ in range(100):
            assert store.marks(SLOT, "t", at("f"), "ann", NOW) == Marks()


def test_what_is_known_of_a_token_is_kept(
    each_server: RedisServer, store: NearStore, other: RedisStore
) -> None:
    other.cut(SLOT, "ann", NOW - 5, NOW + 100)
    wait_for_push(store, other)
    store.identity()  # asked with the first cutoff
    with asks(each_server, 1):
        for _ in range(100):
            assert store.marks(SLOT, "t", at("f"), "ann", NOW) == Marks(cut_off=NOW - 5)
        assert store.marks(SLOT, "t", at("f"), "ann", NOW + 100) == Marks()


def test_tokens_of_one_name_in_two_places_are_two(
    each_server: RedisServer, other: RedisStore
) -> None:
    other.mark("ab", Kind.TOKEN, "t", NOW, NOW + 100)
    with store_at(each_server.url) as store:
        linked(store)
        assert store.marks("cd", "t", None, None, NOW) == Marks()
        assert store.marks("ab", "t", None, None, NOW) == REVOKED


def test_a_session_that_was_read_is_kept(
    each_server: RedisServer, store: NearStore, other: RedisStore
) -> None:
    other.create_session(at("k"), a_session(NOW))
    wait_for_push(store, other)
    with asks(each_server, 1):
        for _ in range(100):
            assert store.read_session(at("k"), NOW) == a_session(NOW)


def test_a_session_that_was_kept_ends_when_it_ends(store: NearStore, other: RedisStore) -> None:
    other.create_session(at("k"), a_session(NOW, idle=5.0, ends_at=NOW + 8))
    wait_for_push(store, other)
    for _ in range(2):
        assert store.read_session(at("k"), NOW + 0.1) is not None
    read = store.read_session(at("k"), NOW + 5)
    assert read is None or read.expires_at <= NOW + 5
    assert store.read_session(at("k"), NOW + 5) is None


def test_a_busy_session_is_slid_seldom_and_lives(
    each_server: RedisServer, store: NearStore, other: RedisStore
) -> None:
    """Its use is written once in a tenth of its idle time, by all processes together."""
    other.create_session(at("k"), a_session(NOW))
    with store_at(each_server.url) as second:
        linked(second)
        wait_for_push(second, other)
        each_server.client().config_resetstat()
        for step in range(500):
            for one in (store, second):
                session = one.read_session(at("k"), NOW + step)
                assert session is not None
                assert session.last_seen_at > NOW + step - 10.5
    commands: dict[str, Any] = each_server.client().info("commandstats")
    assert 40 <= commands["cmdstat_hset"]["calls"] <= 50
    # A slide is pushed to whoever made it, too: each costs two or three questions.
    assert each_server.questions() < 50 * 5


def test_a_view_that_changes_what_it_got_changes_nothing_for_others(
    each_server: RedisServer, store: NearStore
) -> None:
    jam = Jam({"jwt": {"secret_key": "k" * 64}}, store=store, clock=lambda: NOW)
    session_id = jam.create_session("ann", {"roles": ["reader"], "of": {"a": 1}})
    wait_for_push(store, store)
    got = jam.get_session(session_id)
    with asks(each_server, 0):
        again = jam.get_session(session_id)
        assert got is not None
        assert again is not None
        again["roles"].append("admin")
        again["of"]["a"] = 2
        assert jam.get_session(session_id) == got == {"roles": ["reader"], "of": {"a": 1}}


# --- bounds ---------------------------------------------------------------------------


def test_of_tokens_only_so_many_are_kept(
    each_server: RedisServer, other: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near, "_TOKENS_KEPT", 50)
    with store_at(each_server.url, silence=PATIENCE) as store:
        linked(store)

        def read(numbers: range) -> None:
            for number in numbers:
                assert store.marks(SLOT, f"t{number}", None, None, NOW) == Marks()

        with asks(each_server, 200):
            read(range(200))
        with asks(each_server, 0):
            read(range(160, 200))
        with asks(each_server, 40):
            read(range(40))


def test_of_sessions_only_so_many_bytes_are_kept(
    each_server: RedisServer, other: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near, "_SESSION_BYTES", 500_000)
    with store_at(each_server.url, silence=PATIENCE) as store:
        linked(store)
        for number in range(40):
            other.create_session(at(f"k{number}"), a_session(NOW, data={"n": "x" * 20_000}))
        wait_for_push(store, other)
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for number in range(40):
            assert store.read_session(at(f"k{number}"), NOW) is not None
        taken = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        with asks(each_server, 0):
            assert store.read_session(at("k39"), NOW) is not None
        with asks(each_server, 1):
            assert store.read_session(at("k0"), NOW) is not None
    assert taken < 500_000


def test_a_session_that_is_larger_than_all_may_be_is_read_and_not_kept(
    each_server: RedisServer, other: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near, "_SESSION_BYTES", 10_000)
    with store_at(each_server.url, silence=PATIENCE) as store:
        linked(store)
        large = a_session(NOW, data={"n": "x" * 20_000})
        other.create_session(at("large"), large)
        other.create_session(at("small"), a_session(NOW))
        wait_for_push(store, other)
        assert store.read_session(at("small"), NOW) == a_session(NOW)
        with asks(each_server, 3):
            assert [store.read_session(at("large"), NOW) for _ in range(3)] == [large] * 3
        with asks(each_server, 0):
            assert store.read_session(at("small"), NOW) == a_session(NOW)


def test_a_link_that_is_lost_again_and_again_leaves_no_memory_behind(
    one_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "_SOON", 0.005)
    one_server.flush()
    with store_at(one_server.url) as store:
        tracemalloc.start()
        sizes = []
        for number in range(41):
            store.create_session(at(f"k{number}"), a_session(NOW))
            linked(store)
            store.read_session(at(f"k{number}"), NOW)
            store.marks(SLOT, f"t{number}", None, None, NOW)
            sizes.append(tracemalloc.get_traced_memory()[0])
            cut_off(store, one_server)
        tracemalloc.stop()
    assert sizes[40] - sizes[10] < 3_000_000


def test_nothing_is_kept_for_ever(
    each_server: RedisServer, other: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near, "MAX_AGE", 0.3)
    with store_at(each_server.url) as store:
        linked(store)
        other.create_session(at("k"), a_session(NOW))
        wait_for_push(store, other)
        for count, then in ((2, 0.0), (0, 0.31), (2, 0.0)):
            with asks(each_server, count):
                assert store.read_session(at("k"), NOW) is not None
                assert store.marks(SLOT, "t", None, None, NOW) == Marks()
            time.sleep(then)


# --- Redis forgets, ends, comes back --------------------------------------------------


def test_after_a_flush_nothing_is_known(
    each_server: RedisServer, store: NearStore, other: RedisStore
) -> None:
    other.mark(SLOT, Kind.TOKEN, "t", NOW, NOW + 100)
    other.create_session(at("k"), a_session(NOW))
    wait_for_push(store, other)
    for _ in range(2):
        assert store.marks(SLOT, "t", None, None, NOW) == REVOKED
        assert store.read_session(at("k"), NOW) is not None
    each_server.client().flushall()
    wait_for_push(store, other)
    assert believed(store)
    assert store.marks(SLOT, "t", None, None, NOW) == Marks()
    assert store.read_session(at("k"), NOW) is None


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """One that a test may spoil."""
    with RedisServer([*binaries().values()][-1]) as server:
        yield server


def test_while_redis_is_down_nothing_that_was_kept_is_believed(own_server: RedisServer) -> None:
    with store_at(own_server.url) as store:
        store.create_session(at("k"), a_session(NOW))
        linked(store)
        for _ in range(2):
            assert store.read_session(at("k"), NOW) is not None
        own_server.kill()
        until(lambda: not believed(store), "the end of the server is noticed", SILENCE)
        with pytest.raises(StoreUnavailable):
            store.read_session(at("k"), NOW)
        with pytest.raises(StoreUnavailable):
            store.marks(SLOT, "t", None, None, NOW)


def test_a_server_that_comes_back_with_an_empty_memory_is_believed(own_server: RedisServer) -> None:
    with store_at(own_server.url) as store:
        store.create_session(at("k"), a_session(NOW))
        store.mark(SLOT, Kind.TOKEN, "t", NOW, NOW + 100)
        linked(store)
        for _ in range(2):
            assert store.read_session(at("k"), NOW) is not None
            assert store.marks(SLOT, "t", None, None, NOW) == REVOKED
        own_server.restart()
        linked(store)
        assert store.read_session(at("k"), NOW) is None
        assert store.marks(SLOT, "t", None, None, NOW) == Marks()
        with asks(own_server, 0):
            assert store.marks(SLOT, "t", None, None, NOW) == Marks()


def test_a_link_that_cannot_take_what_is_pushed_is_lost_and_found_again(
    one_server: RedisServer,
) -> None:
    limit = ("--client-output-buffer-limit", "pubsub", "65536", "0", "0")
    with RedisServer(one_server.binary, options=limit) as server, store_at(server.url) as store:
        linked(store)
        assert store.marks(SLOT, "t", None, None, NOW) == Marks()
        server.client().eval(
            "for i = 1, 40000 do redis.call('SET', KEYS[1] .. i, '', 'PX', 9000) end "
            "redis.call('SET', KEYS[2], ARGV[1])",
            2, f"jam:t:{{ab}}:{'x' * 200}", "jam:t:{ab}:t", f"[1,{NOW},{NOW + 100}]",
        )  # fmt: skip
        until(lambda: store.marks(SLOT, "t", None, None, NOW) == REVOKED, "it is seen", SILENCE)
        linked(store)
        assert store.marks(SLOT, "t", None, None, NOW) == REVOKED


def test_a_script_that_takes_long_costs_the_near_cache_for_a_moment_only(
    own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    own_server.client().config_set("lua-time-limit", 10)
    with store_at(own_server.url) as store, ThreadPoolExecutor(1) as pool:
        linked(store)
        busy = pool.submit(own_server.client().eval, "for i = 1, 6e7 do end", 0)
        busy.result()
        assert own_server.client().ping()
        linked(store)
    assert "near cache is off" not in caplog.text


def marks_are(store: NearStore, place: str, marks: Marks) -> Callable[[], bool]:
    def is_so() -> bool:
        with suppress(StoreUnavailable):
            return store.marks(place, "t", None, None, NOW) == marks
        return False

    return is_so


# --- another server takes over --------------------------------------------------------


class Pair(NamedTuple):
    """A primary, its replica, and an address that can be moved from one to the other."""

    primary: RedisServer
    replica: RedisServer
    proxy: Proxy

    def promote(self) -> None:
        self.replica.client().execute_command("REPLICAOF", "NO", "ONE")
        self.proxy.target_port = self.replica.port

    def wait(self) -> None:
        """Until the replica has all that the primary has."""
        until(lambda: self.primary.client().wait(1, 1000) == 1, "the replica follows")


@pytest.fixture
def pair(one_server: RedisServer) -> Iterator[Pair]:
    at_once = ("--repl-diskless-sync-delay", "0")
    with RedisServer(one_server.binary, options=at_once) as primary:
        follow = ("--replicaof", HOST, str(primary.port))
        with (
            RedisServer(one_server.binary, options=follow) as replica,
            Proxy(primary.port) as proxy,
        ):
            pair = Pair(primary, replica, proxy)
            pair.wait()
            yield pair


@pytest.fixture
def moved(pair: Pair) -> Iterator[tuple[NearStore, RedisStore]]:
    """A store at the address, and another one at the replica, which is to be promoted."""
    with store_at(through(pair.primary, pair.proxy)) as store:
        store.create_session(at("k"), a_session(NOW))
        pair.wait()
        linked(store)
        for _ in range(2):
            assert store.read_session(at("k"), NOW) == a_session(NOW)
            assert store.marks(SLOT, "t", None, None, NOW) == Marks()
        other = far_store(pair.replica.url)
        yield store, other
        other.close()


def revoke_both(other: RedisStore) -> float:
    """When that was done."""
    other.mark(SLOT, Kind.TOKEN, "t", NOW, NOW + 100)
    other.delete_session(at("k"), NOW)
    return time.monotonic()


def both_refused(store: NearStore) -> bool:
    """Or not known, which lets nobody in either."""
    for let_in in (
        lambda: store.marks(SLOT, "t", None, None, NOW) == Marks(),
        lambda: store.read_session(at("k"), NOW) is not None,
    ):
        with suppress(StoreUnavailable):
            if let_in():
                return False
    return True


def test_of_a_primary_that_died_nothing_is_believed(
    pair: Pair, moved: tuple[NearStore, RedisStore]
) -> None:
    store, other = moved
    pair.primary.kill()
    pair.promote()
    revoked = revoke_both(other)
    until(lambda: time.monotonic() > revoked + SILENCE, "the bound has passed")
    assert both_refused(store)
    linked(store)
    assert store.marks(SLOT, "t", None, None, NOW) == REVOKED
    assert store.read_session(at("k"), NOW) is None


def test_demoted_primary_with_open_links_confirms_nothing(
    pair: Pair, moved: tuple[NearStore, RedisStore]
) -> None:
    store, other = moved
    pair.promote()
    pair.primary.client().execute_command("REPLICAOF", HOST, pair.replica.port)
    revoked = revoke_both(other)
    until(lambda: time.monotonic() > revoked + SILENCE, "the bound has passed")
    assert both_refused(store)


def test_a_primary_that_became_a_replica_is_left_for_the_new_one(
    pair: Pair, moved: tuple[NearStore, RedisStore]
) -> None:
    store, other = moved
    pair.promote()
    pair.primary.client().execute_command("REPLICAOF", HOST, pair.replica.port)
    revoke_both(other)
    until(marks_are(store, SLOT, REVOKED), "the new one is asked")
    assert linked(store).read_session(at("k"), NOW) is None
    assert store.marks(SLOT, "t", None, None, NOW) == REVOKED


def test_isolated_primary_confirms_nothing(pair: Pair, moved: tuple[NearStore, RedisStore]) -> None:
    """It still answers, and where it follows there is nobody."""
    store, other = moved
    pair.promote()
    pair.primary.client().execute_command("REPLICAOF", HOST, 1)
    revoked = revoke_both(other)
    until(lambda: time.monotonic() > revoked + SILENCE, "the bound has passed")
    assert both_refused(store)


# --- a cluster ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[RedisCluster]:
    """One that tests may spoil, if they mend it."""
    options = ("--cluster-require-full-coverage", "no")
    with RedisCluster([*binaries().values()][-1], options=options) as cluster:
        yield cluster


def place_on(node: int) -> str:
    """A place that the cluster keeps on that node."""
    letters = "abcdefghij"
    return next(
        a + b for a in letters for b in letters if key_slot(f"{a}{b}".encode()) * 3 // SLOTS == node
    )


def test_each_node_of_a_cluster_pushes_its_changes(own_cluster: RedisCluster) -> None:
    own_cluster.flush()
    other = far_store(own_cluster.url)
    with store_at(own_cluster.url) as store:
        linked(store)
        for place in map(place_on, range(3)):
            for _ in range(2):
                assert store.marks(place, "t", None, None, NOW) == Marks()
            other.mark(place, Kind.TOKEN, "t", NOW, NOW + 100)
            until(marks_are(store, place, REVOKED), "a node pushes", SILENCE)
    other.close()


def test_a_node_that_is_silent_is_believed_no_longer_than_the_bound(
    own_cluster: RedisCluster,
) -> None:
    own_cluster.flush()
    with store_at(own_cluster.url, timeout=0.1) as store:
        linked(store)
        for place in map(place_on, range(3)):
            assert store.marks(place, "t", None, None, NOW) == Marks()
        own_cluster.nodes[0].pause()
        since = time.monotonic()
        last = last_let_in(store, place_on(0), since + 1.5 * SILENCE)
        own_cluster.nodes[0].resume()
    assert since < last <= since + SILENCE
    own_cluster.wait()


def test_reads_stay_correct_while_a_node_is_down_and_after(
    own_cluster: RedisCluster,
) -> None:
    own_cluster.flush()
    down, up = place_on(0), place_on(1)
    other = far_store(own_cluster.url)
    with store_at(own_cluster.url) as store:
        linked(store)
        assert other.marks(down, "t", None, None, NOW) == Marks()
        for _ in range(2):
            assert store.marks(up, "t", None, None, NOW) == Marks()
        own_cluster.nodes[0].kill()
        with suppress(StoreUnavailable):
            store.marks(down, "t", None, None, NOW)  # a cluster's client learns by failing
        other.mark(up, Kind.TOKEN, "t", NOW, NOW + 100)
        until(marks_are(store, up, REVOKED), "the other nodes are read", SILENCE)
        with pytest.raises(StoreUnavailable):
            store.marks(down, "t", None, None, NOW)
        own_cluster.nodes[0].restart()
        own_cluster.wait()
        until(marks_are(store, down, Marks()), "the node is read again")
        linked(store)
        assert store.marks(up, "t", None, None, NOW) == REVOKED
    other.close()


def test_a_process_that_begins_while_a_node_is_down_reads_the_others(
    own_cluster: RedisCluster,
) -> None:
    own_cluster.flush()
    own_cluster.nodes[0].kill()
    try:
        with store_at(own_cluster.url) as store:
            assert store.marks(place_on(1), "t", None, None, NOW) == Marks()
            assert store.marks(place_on(2), "t", None, None, NOW) == Marks()
            with pytest.raises(StoreUnavailable):
                store.marks(place_on(0), "t", None, None, NOW)
    finally:
        own_cluster.nodes[0].restart()
        own_cluster.wait()


@contextmanager
def two_nodes(binary: str) -> Iterator[tuple[RedisServer, RedisServer]]:
    """A cluster of one node that has all slots, and of one that has none."""
    own = ("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
           "--cluster-announce-ip", HOST)  # fmt: skip
    with RedisServer(binary, options=own) as old, RedisServer(binary, options=own) as new:
        old.client().execute_command("CLUSTER", "ADDSLOTS", *range(SLOTS))
        new.client().execute_command("CLUSTER", "SET-CONFIG-EPOCH", 1)
        old.client().execute_command("CLUSTER", "MEET", HOST, new.port)
        for node in (old, new):
            until(partial(agreed, node), "they are a cluster")
        yield old, new


def agreed(node: RedisServer) -> bool:
    info = node.client(decode_responses=True).cluster("info")
    return bool(info["cluster_state"] == "ok" and info["cluster_slots_ok"] == str(SLOTS))


def give_slot(slot: int, old: RedisServer, new: RedisServer) -> None:
    """It must be empty."""
    old_id, new_id = (node.client().execute_command("CLUSTER", "MYID") for node in (old, new))
    new.client().execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", old_id)
    old.client().execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", new_id)
    for node in (new, old):
        node.client().execute_command("CLUSTER", "SETSLOT", slot, "NODE", new_id)


def test_a_place_that_moves_to_a_node_that_had_none_is_pushed_from_there(
    one_server: RedisServer,
) -> None:
    """Nobody asks for what was kept, so nobody is told that it has moved."""
    with two_nodes(one_server.binary) as (old, new):
        url = f"redis+cluster://{HOST}:{old.port}"
        with store_at(url) as store:
            linked(store)
            for _ in range(2):
                assert store.marks(SLOT, "t", None, None, NOW) == Marks()
            give_slot(key_slot(SLOT.encode()), old, new)
            other = far_store(url)
            until(lambda: marked(other, SLOT), "the new node takes writes")
            revoked = time.monotonic()
            until(lambda: time.monotonic() > revoked + SILENCE, "the bound has passed")
            assert store.marks(SLOT, "t", None, None, NOW) == REVOKED
            other.close()


def marked(other: RedisStore, place: str) -> bool:
    with suppress(StoreUnavailable):
        other.mark(place, Kind.TOKEN, "t", NOW, NOW + 100)
        return True
    return False


# --- what Redis allows, what users bring ----------------------------------------------


def limited(server: RedisServer, *rights: str) -> str:
    """The URL of a user with these rights."""
    server.client().execute_command("ACL", "SETUSER", "limited", "reset", "on", ">pw", *rights)
    return server.url.replace("redis://", "redis://limited:pw@")


def test_forbidden_tracking_turns_the_cache_off_with_a_warning(
    each_server: RedisServer, other: RedisStore, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(link, "_LATER", 0.01)
    with store_at(limited(each_server, "~*", "&*", "+@all", "-client")) as store:
        assert store.marks(SLOT, "t", None, None, NOW) == Marks()
        until(lambda: "near cache" in caplog.text, "the warning")
        for _ in range(10):
            time.sleep(0.02)
            assert store.marks(SLOT, "t", None, None, NOW) == Marks()
        other.mark(SLOT, Kind.TOKEN, "t", NOW, NOW + 100)
        assert store.marks(SLOT, "t", None, None, NOW) == REVOKED
    assert [each.levelname for each in caplog.records if "near cache" in each.message] == [
        "WARNING"
    ]


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_server_that_may_evict_is_warned_of_once(
    own_server: RedisServer, caplog: pytest.LogCaptureFixture, policy: str
) -> None:
    own_server.client().config_set("maxmemory-policy", policy)
    with store_at(own_server.url) as store:
        for _ in range(3):
            linked(store)
            cut_off(store, own_server)
    said = [each for each in caplog.records if "maxmemory-policy" in each.message]
    assert [each.levelname for each in said] == ["WARNING"]
    assert policy in said[0].message


def test_a_server_that_evicts_nothing_is_not_warned_of(
    own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with store_at(own_server.url) as store:
        linked(store)
    assert caplog.records == []


@each_case("options", [{"protocol": 3, "decode_responses": True}, {"protocol": 3}, {}])
def test_a_client_of_the_users_own_works(
    each_server: RedisServer, other: RedisStore, options: dict[str, Any]
) -> None:
    with redis.Redis(port=each_server.port, **options) as client:
        store = NearStore(client, silence=PATIENCE)
        linked(store)
        other.create_session(at("k"), a_session(NOW))
        wait_for_push(store, other)
        with asks(each_server, 2):
            for _ in range(3):
                assert store.read_session(at("k"), NOW) == a_session(NOW)
                assert store.marks(SLOT, "t", None, None, NOW) == Marks()
        revoke_both(other)
        wait_for_push(store, other)
        assert both_refused(store)
        store.close()


def test_a_prefix_that_is_not_ascii_is_a_prefix(
    each_server: RedisServer, other: RedisStore
) -> None:
    make = client_factory(each_server.url, 5.0)
    store, second = NearStore(make, prefix="jäm", silence=SILENCE), RedisStore(make, prefix="jäm")
    linked(store)
    assert store.marks(SLOT, "t", None, None, NOW) == Marks()
    wait_for_push(store, second)
    second.mark(SLOT, Kind.TOKEN, "t", NOW, NOW + 100)
    wait_for_push(store, second)
    assert store.marks(SLOT, "t", None, None, NOW) == REVOKED
    second.close()
    store.close()


def test_applications_with_different_prefixes_do_not_hear_of_each_other(
    each_server: RedisServer, store: NearStore
) -> None:
    second = RedisStore(client_factory(each_server.url, 5.0), prefix="jam2")
    assert store.marks(SLOT, "t", None, None, NOW) == Marks()
    second.mark(SLOT, Kind.TOKEN, "t", NOW, NOW + 100)
    time.sleep(0.05)
    with asks(each_server, 0):
        assert store.marks(SLOT, "t", None, None, NOW) == Marks()
    second.close()


def test_mark_replaced_by_another_type_counts_as_strictest(
    each_server: RedisServer, store: NearStore
) -> None:
    each_server.client().rpush("jam:t:{ab}:t", "no mark")
    each_server.client().set("jam:t:{ab}:u", "")
    wait_for_push(store, store)
    for _ in range(2):
        assert store.marks(SLOT, "t", None, None, NOW) == REVOKED
        assert store.marks(SLOT, "u", None, None, NOW) == REVOKED


@pytest.mark.parametrize("said", ["", "x", "jam:t:{ab}:t"])
def test_what_somebody_else_publishes_does_not_end_the_near_cache(
    one_server: RedisServer, said: str
) -> None:
    one_server.flush()
    other = far_store(one_server.url)
    with store_at(one_server.url) as store:
        linked(store)
        one_server.client().publish("__redis__:invalidate", said)
        time.sleep(0.05)
        linked(store)
        wait_for_push(store, other)
        time.sleep(SILENCE)
        assert believed(linked(store))
    other.close()


@each_case("key", [b"jam:t:", b"jam:t:\xff\xff\xff\xff", b"jam:s:\xff", b"jam:x:{}:"])
def test_a_key_that_is_none_of_ours_harms_nothing(
    each_server: RedisServer, store: NearStore, other: RedisStore, key: bytes
) -> None:
    each_server.client().set(key, "")
    other.mark(SLOT, Kind.TOKEN, "t", NOW, NOW + 100)
    linked(store)
    assert store.marks(SLOT, "t", None, None, NOW) == REVOKED


# --- threads --------------------------------------------------------------------------


def test_closing_ends_the_threads_and_a_read_begins_anew(
    each_server: RedisServer, other: RedisStore
) -> None:
    until(lambda: links_of(each_server) == 0, "those of other tests have ended")
    store = linked(near_store(each_server.url, silence=SILENCE))
    assert links_of(each_server) == 1
    store.close()
    assert not believed(store)
    until(lambda: links_of(each_server) == 0, "the link ends", 2 * SILENCE)
    other.mark(SLOT, Kind.TOKEN, "t", NOW, NOW + 100)
    linked(store)
    assert store.marks(SLOT, "t", None, None, NOW) == REVOKED
    store.close()


def test_the_threads_of_a_store_that_nobody_has_end(
    each_server: RedisServer, other: RedisStore
) -> None:
    until(lambda: links_of(each_server) == 0, "those of other tests have ended")
    store = linked(near_store(each_server.url, silence=SILENCE))
    reference = weakref.ref(store)
    client = store.client()
    del store
    try:
        until(lambda: gc.collect() >= 0 and reference() is None, "it is collected", 5 * SILENCE)
        until(lambda: links_of(each_server) == 0, "its link ends", 5 * SILENCE)
    finally:
        if (left := reference()) is not None:
            left.close()
        client.close()


def test_many_first_reads_at_once_make_one_link(each_server: RedisServer) -> None:
    until(lambda: links_of(each_server) == 0, "those of other tests have ended")
    with store_at(each_server.url) as store, ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: store.marks(SLOT, f"t{n}", None, None, NOW), range(64)))
        linked(store)
        assert links_of(each_server) == 1


def test_where_no_thread_can_be_started_reads_ask_redis(
    each_server: RedisServer, other: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    with store_at(each_server.url) as store:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            assert store.marks(SLOT, "t", None, None, NOW) == Marks()
            assert store.marks(SLOT, "t", None, None, NOW) == Marks()
        time.sleep(0.11)
        linked(store)


#: A store may be collected anywhere, also where its own lock is held.
COLLECTED_IN_THE_LINK = """
import gc, weakref
from flask_jam.stores._redis.near_cache import NearStore
store = NearStore(lambda: None)
store.itself = store
link, left = store.link, weakref.ref(store)
with link._lock:
    del store
    gc.collect()
print("went on" if left() is None else "was not collected")
"""


def test_collecting_a_store_while_its_link_is_busy_waits_for_nothing() -> None:
    command = [sys.executable, "-c", COLLECTED_IN_THE_LINK]
    # This checkout, also where the interpreter has another one installed.
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
    assert done.stdout == "went on\n", done.stderr
