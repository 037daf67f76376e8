"""One verb has one deadline, and it covers the resolution of host names."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flask_jam import Jam, StoreUnavailable, TokenError
from flask_jam._helpers import deadline
from flask_jam._helpers.deadline import answered_within, apart, one_deadline, time_left
from flask_jam.stores._redis import name_lookup
from flask_jam.stores._redis.client import client_factory
from flask_jam.stores._redis.name_lookup import addresses_of
from flask_jam.stores.redis import RedisStore

from .. import servers
from ..cases import each_case
from ..conftest import SECRET
from ..servers import HOST, Proxy, RedisServer

LIMIT = 0.25
#: What a machine with other work to do may add.
NOISE = 0.5


class Stopwatch:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    watch = Stopwatch()
    monkeypatch.setattr(deadline, "time", watch)
    return watch


def spend(watch: Stopwatch, seconds: float, limit: float = LIMIT) -> float:
    """Ask something that takes so long; return the time that there was for it."""
    with answered_within(limit):
        left = time_left(60.0)
        watch.now += seconds
    return left


# --- one verb, one deadline ------------------------------------------------------------------


def test_the_questions_of_a_verb_share_one_deadline(watch: Stopwatch) -> None:
    @one_deadline
    def verb() -> list[float]:
        return [round(spend(watch, 0.1), 3) for _ in range(3)]

    assert verb() == [0.25, 0.15, 0.05]
    assert verb() == [0.25, 0.15, 0.05]


def test_a_verb_whose_time_is_over_asks_nothing_more(watch: Stopwatch) -> None:
    @one_deadline
    def verb() -> None:
        spend(watch, 0.3)
        spend(watch, 0.0)

    with pytest.raises(TimeoutError):
        verb()
    assert spend(watch, 0.0) == LIMIT


def test_a_verb_within_a_verb_does_not_extend_its_deadline(watch: Stopwatch) -> None:
    inner = one_deadline(lambda: spend(watch, 0.1))
    outer = one_deadline(lambda: [round(inner(), 3), round(inner(), 3)])
    assert outer() == [0.25, 0.15]


def test_a_question_within_a_question_does_not_extend_its_deadline(watch: Stopwatch) -> None:
    with answered_within(LIMIT):
        watch.now += 0.2
        assert round(spend(watch, 0.0, limit=5.0), 3) == 0.05


def test_time_between_questions_is_not_the_stores(watch: Stopwatch) -> None:
    @one_deadline
    def verb() -> list[float]:
        left = [round(spend(watch, 0.1), 3)]
        watch.now += 60.0  # the application looks something up
        return [*left, round(spend(watch, 0.1), 3)]

    assert verb() == [0.25, 0.15]


def test_a_callback_of_the_application_has_deadlines_of_its_own(watch: Stopwatch) -> None:
    callback = apart(lambda: [spend(watch, 0.2), spend(watch, 0.2)])

    @one_deadline
    def verb() -> tuple[list[float], float]:
        spend(watch, 0.1)
        return callback(), round(spend(watch, 0.0), 3)

    assert verb() == ([LIMIT, LIMIT], 0.15)


def test_without_a_limit_no_question_has_a_deadline(watch: Stopwatch) -> None:
    @one_deadline
    def verb() -> float:
        with answered_within(None):
            watch.now += 100.0
            return time_left(60.0)

    assert verb() == 60.0


# --- the verbs of a Jam -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


class Metered(RedisStore):
    """A store of which each question takes a while, by the clock of a test."""

    watch: Stopwatch
    takes = 0.0

    def _ask(self, *question: Any) -> Any:
        began = time.monotonic()
        try:
            return super()._ask(*question)
        finally:
            self.spent.append(time.monotonic() - began)

    def _evaluated(self, *question: Any) -> Any:
        self.lefts.append(round(time_left(60.0), 3))
        answer = super()._evaluated(*question)
        self.watch.now += self.takes
        return answer

    lefts: list[float]
    spent: list[float]


@pytest.fixture
def jam(server: RedisServer, watch: Stopwatch) -> Iterator[Jam]:
    store = Metered(client_factory(f"redis://{HOST}:{server.port}", 5.0), timeout=LIMIT)
    store.watch, store.lefts, store.spent = watch, [], []
    yield Jam({"jwt": {"secret_key": SECRET}}, store=store)
    store.close()


def _refresh(jam: Jam) -> Callable[[], object]:
    token = jam.issue_tokens("ann")["refresh_token"]
    return lambda: jam.refresh_tokens(token, reload_claims=lambda _subject, claims: claims)


def _with_token(verb: str) -> Callable[[Jam], Callable[[], object]]:
    def prepare(jam: Jam) -> Callable[[], object]:
        token = jam.issue_tokens("ann")["access_token"]
        return lambda: getattr(jam, verb)(token)

    return prepare


def _redeem(jam: Jam) -> Callable[[], object]:
    ticket = jam.issue_ticket("reset", "ann", expires_in=60, bound_to="x")
    return lambda: jam.redeem_ticket("reset", ticket, bound_to=lambda _ticket: "x")


#: Verbs that ask several questions.
VERBS: dict[str, Callable[[Jam], Callable[[], object]]] = {
    "issue_tokens": lambda jam: lambda: jam.issue_tokens("ann"),
    "gen_jwt_token": lambda jam: lambda: jam.gen_jwt_token({"sub": "ann"}),
    "create_session": lambda jam: lambda: jam.create_session("ann", {}),
    "end_login": _with_token("end_login"),
    "revoke_token": _with_token("revoke_token"),
    "refresh_tokens": _refresh,
    "redeem_ticket": _redeem,
}


@pytest.mark.redis
@each_case("verb", VERBS)
def test_a_verb_of_several_questions_has_one_deadline(
    jam: Jam, watch: Stopwatch, verb: str
) -> None:
    store: Any = jam.store
    ready = VERBS[verb](jam)
    store._identity = None
    store.lefts.clear()
    store.takes = 0.06
    ready()
    lefts = store.lefts
    assert len(lefts) > 1
    assert lefts == [round(LIMIT - 0.06 * asked, 3) for asked in range(len(lefts))]


@pytest.mark.redis
def test_a_guard_that_meets_its_first_cutoff_has_one_deadline(jam: Jam, watch: Stopwatch) -> None:
    store: Any = jam.store
    jam.revoke_subject("cut")
    token = jam.issue_tokens("cut")["access_token"]
    jam.verifier.verify(token)
    store._identity = None
    store.lefts.clear()
    store.takes = 0.06
    jam.verifier.verify(token)
    assert store.lefts == [0.25, 0.19]


@pytest.mark.redis
@each_case("verb", VERBS)
def test_a_verb_that_takes_too_long_together_is_unavailable(
    jam: Jam, watch: Stopwatch, verb: str
) -> None:
    store: Any = jam.store
    ready = VERBS[verb](jam)
    store._identity = None
    store.takes = 0.3
    with pytest.raises(StoreUnavailable):
        ready()
    store.takes = 0.0
    with contextlib.suppress(TokenError):  # the first question of a logout was carried out
        ready()


@pytest.mark.redis
def test_each_session_of_a_walk_has_a_deadline_of_its_own(jam: Jam, watch: Stopwatch) -> None:
    store: Any = jam.store
    session_id = jam.create_session("walker", {})
    [info] = jam.list_sessions("walker")
    store.lefts.clear()
    store.takes = 0.2
    assert jam.delete_session_by_handle("walker", info.handle)
    assert store.lefts == [LIMIT] * len(store.lefts)
    assert len(store.lefts) > 1
    assert jam.get_session(session_id) is None


@pytest.mark.slow
@pytest.mark.redis
def test_a_logout_from_a_slow_redis_takes_one_deadline(server: RedisServer) -> None:
    with Proxy(server.port) as proxy:
        jam = Jam({"jwt": {"secret_key": SECRET}, "redis_url": f"redis://{HOST}:{proxy.port}",
                   "near_cache": False})  # fmt: skip
        token = jam.issue_tokens("ann")["access_token"]
        proxy.delay = 0.2
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            jam.end_login(token)
        assert time.monotonic() - began < LIMIT + 0.15
        jam.store.close()  # type: ignore[attr-defined]


# --- host names ---------------------------------------------------------------------------------


class Dns:
    """Host names of a test, which resolve when the test lets them."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked: list[str] = []
        self.threads: set[int] = set()
        self.addresses = [HOST]
        self.real = socket.getaddrinfo

    def getaddrinfo(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if not str(host).endswith(".example"):
            return self.real(host, port, *args, **kwargs)
        self.asked.append(host)
        self.threads.add(threading.get_ident())
        assert self.go.wait(20)
        if not self.addresses:
            raise socket.gaierror("no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 0)) for each in self.addresses]


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dns]:
    dns = Dns()
    monkeypatch.setattr(socket, "getaddrinfo", dns.getaddrinfo)
    name_lookup._resolver.forget()
    yield dns
    dns.go.set()
    name_lookup._resolver.forget()


def test_an_ip_address_asks_nobody(dns: Dns, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise AssertionError("a thread for an IP address")

    monkeypatch.setattr(threading.Thread, "start", start)
    for address in ("127.0.0.1", "::1", "fe80::1%eth0"):
        assert list(addresses_of(address, 1.0)) == [address]
    assert dns.asked == []


def test_a_name_is_resolved_in_the_time_that_is_left(dns: Dns) -> None:
    with answered_within(0.05), pytest.raises(TimeoutError):
        addresses_of("redis.example", 60.0)


def test_a_late_answer_is_for_whoever_asks_next(dns: Dns) -> None:
    for _ in range(3):
        with answered_within(0.02), pytest.raises(TimeoutError):
            addresses_of("redis.example", 60.0)
    assert dns.asked == ["redis.example"]
    dns.go.set()
    assert list(addresses_of("redis.example", 20.0)) == [HOST]


def test_the_last_known_address_serves_while_names_do_not_resolve(dns: Dns) -> None:
    dns.go.set()
    addresses_of("redis.example", 20.0)
    dns.go.clear()
    dns.addresses = ["127.0.0.9"]
    with answered_within(0.1):
        assert list(addresses_of("redis.example", 60.0)) == [HOST]
    dns.go.set()
    assert list(addresses_of("redis.example", 20.0)) == ["127.0.0.9"]


def test_a_name_that_is_gone_is_an_error_though_it_was_known(dns: Dns) -> None:
    dns.go.set()
    addresses_of("redis.example", 20.0)
    dns.addresses = []
    with pytest.raises(OSError, match="could not be resolved"):
        addresses_of("redis.example", 20.0)


def test_a_name_is_resolved_anew_for_each_connection(dns: Dns) -> None:
    dns.go.set()
    for address in ("127.0.0.1", "127.0.0.2"):
        dns.addresses = [address]
        assert list(addresses_of("redis.example", 20.0)) == [address]


def test_names_that_hang_take_a_bounded_number_of_threads(dns: Dns) -> None:
    for number in range(3 * name_lookup._MOST_AT_ONCE):
        with answered_within(0.005), pytest.raises(TimeoutError):
            addresses_of(f"redis-{number}.example", 60.0)
    assert len(dns.asked) <= name_lookup._MOST_AT_ONCE


def test_many_askers_of_one_name_share_one_thread(dns: Dns) -> None:
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(addresses_of("redis.example", 20.0)))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    dns.go.set()
    for thread in threads:
        thread.join()
    assert [list(each) for each in found] == [[HOST]] * 20


def test_a_fork_while_a_name_hangs_resolves_anew(dns: Dns) -> None:
    with answered_within(0.02), pytest.raises(TimeoutError):
        addresses_of("redis.example", 60.0)

    def resolves() -> bool:
        dns.go = threading.Event()
        dns.go.set()
        return list(addresses_of("redis.example", 20.0)) == [HOST]

    assert servers.holds_in_fork(resolves)


@pytest.mark.redis
def test_a_store_by_name_answers_once_the_name_resolves(dns: Dns, server: RedisServer) -> None:
    store = RedisStore(client_factory(f"redis://redis.example:{server.port}", 0.2), timeout=0.2)
    with pytest.raises(StoreUnavailable):
        store.marks("aa", "t", None, None, time.time())
    dns.go.set()
    for _ in range(50):
        with contextlib.suppress(StoreUnavailable):
            assert store.marks("aa", "t", None, None, time.time()).revoked is False
            break
    else:
        raise AssertionError("it does not answer")
    store.close()


@pytest.mark.redis
@each_case("addresses", [["127.0.0.2", HOST], [HOST, "127.0.0.2"]])
def test_the_next_address_of_a_name_is_tried(
    dns: Dns, server: RedisServer, addresses: list[str]
) -> None:
    dns.go.set()
    dns.addresses = addresses
    store = RedisStore(client_factory(f"redis://redis.example:{server.port}", 5.0), timeout=5.0)
    assert store.marks("aa", "t", None, None, time.time()).revoked is False
    store.close()


@pytest.mark.slow
def test_a_name_that_hangs_is_a_503_in_time(dns: Dns) -> None:
    for url in ("redis://redis.example", "redis+sentinel://one.example/shop",
                "redis+cluster://one.example"):  # fmt: skip
        store = RedisStore(client_factory(url, LIMIT), timeout=LIMIT)
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.marks("aa", "t", None, None, time.time())
        assert time.monotonic() - began < LIMIT + NOISE
