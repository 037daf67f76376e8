"""Tickets on Redis: processes, hangs, lost replies, restarts, and what is damaged."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import chain
from typing import Any

import pytest
import redis

from flask_jam import Jam, Reason, StoreUnavailable, TokenError
from flask_jam.stores._redis.client import client_factory
from flask_jam.stores.interface import slot_of
from flask_jam.stores.redis import RedisStore
from flask_jam.stores.ticket_verbs import TicketState
from flask_jam.testing.stores import at, at_once
from flask_jam.testing.tickets import a_ticket

from ..cases import each_case
from ..conftest import SECRET
from ..servers import HOST, Proxy, RedisServer

pytestmark = pytest.mark.redis

NOW = 4_000_000_000.0


@pytest.fixture
def connect(redis_server: RedisServer) -> Iterator[Callable[..., Jam]]:
    """``connect()``: a Jam on the emptied server, as a process would have it."""
    redis_server.flush()
    with ExitStack() as stack:

        def make(url: str = redis_server.url, timeout: float = 5) -> Jam:
            jam = Jam({"jwt": {"secret_key": SECRET}, "redis_url": url, "redis_timeout": timeout})
            stack.callback(jam.store.close)  # type: ignore[attr-defined]
            return jam

        yield make


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[RedisStore]:
    redis_server.flush()
    store = RedisStore(client_factory(redis_server.url, 5.0), timeout=5.0)
    yield store
    store.close()


@pytest.fixture
def raw(redis_server: RedisServer) -> redis.Redis:
    return redis_server.client()


def outcome(jam: Jam, ticket: str) -> str:
    """``good``, or why not; ``unavailable`` where the store did not answer."""
    try:
        jam.redeem_ticket("reset", ticket)
    except (TokenError, StoreUnavailable) as error:
        return error.reason.value
    return "good"


# --- processes, lost replies, hangs, restarts -------------------------------------------------


def _redeem_elsewhere(url: str, tickets: list[str], all_there: Any, results: Any) -> None:
    """In a process of its own, with sixteen threads."""
    jam = Jam({"jwt": {"secret_key": SECRET}, "redis_url": url, "redis_timeout": 20})
    outcome(jam, "ab" + "0" * 64)  # connected, and the script is known
    all_there.wait(60)
    results.put([at_once(16, lambda _, t=ticket: outcome(jam, t)) for ticket in tickets])
    jam.store.close()  # type: ignore[attr-defined]


@pytest.mark.slow
def test_sixty_four_redeems_in_four_processes_give_one(
    connect: Callable[..., Jam], redis_server: RedisServer
) -> None:
    jam, spawn = connect(), multiprocessing.get_context("spawn")
    tickets = [jam.issue_ticket("reset", f"user {n}", expires_in=600) for n in range(10)]
    results = spawn.SimpleQueue()
    arguments = redis_server.url, tickets, spawn.Barrier(4), results
    processes = [spawn.Process(target=_redeem_elsewhere, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join(30)
        process.close()
    for outcomes in zip(*found, strict=True):
        assert sorted(chain.from_iterable(outcomes)) == ["good", *["reused"] * 63]
    results.close()


@each_case("lost", [1, 2])
def test_a_redeem_whose_reply_was_lost_is_no_reuse_to_its_own_retry(
    connect: Callable[..., Jam], redis_server: RedisServer, lost: int
) -> None:
    near, ticket = connect(), ""
    with Proxy(redis_server.port) as proxy:
        far = connect(f"redis://{HOST}:{proxy.port}/0")
        outcome(far, near.issue_ticket("reset", "ann", expires_in=60))
        ticket = near.issue_ticket("reset", "ann", expires_in=60)
        proxy.swallow_replies(b"EVALSHA", lost)
        # The client asks twice. After that only the store knows that the ticket is used up.
        assert outcome(far, ticket) == ("good" if lost == 1 else "unavailable")
        assert [outcome(jam, ticket) for jam in (far, near)] == ["reused", "reused"]


def test_an_issue_whose_reply_was_lost_reports_what_it_replaced(
    connect: Callable[..., Jam], redis_server: RedisServer
) -> None:
    with Proxy(redis_server.port) as proxy:
        jam, heard = connect(f"redis://{HOST}:{proxy.port}/0"), []
        jam.subscribe(lambda event, what: heard.append(what["kind"]))
        old = jam.issue_ticket("reset", "ann", expires_in=60)
        proxy.swallow_replies(b"EVALSHA")
        new = jam.issue_ticket("reset", "ann", expires_in=60)
        assert heard == ["ticket"]
        assert [outcome(jam, old), outcome(jam, new)] == ["revoked", "good"]


@pytest.mark.slow
def test_a_hang_of_redis_redeems_a_ticket_at_most_once(connect: Callable[..., Jam]) -> None:
    with RedisServer() as server:
        jam = connect(server.url, 0.25)
        outcome(jam, jam.issue_ticket("reset", "bob", expires_in=600))
        tickets = [jam.issue_ticket("reset", f"user {n}", expires_in=600) for n in range(5)]
        server.pause()
        try:
            assert [outcome(jam, ticket) for ticket in tickets] == ["unavailable"] * 5
        finally:
            server.resume()
        again = connect(server.url)
        # The first call may have been carried out when the server woke, but no caller was told.
        for ticket in tickets:
            assert outcome(again, ticket) in ("good", "reused")
            assert outcome(again, ticket) == "reused"


@pytest.mark.slow
def test_after_a_restart_without_persistence_a_ticket_is_refused(
    connect: Callable[..., Jam],
) -> None:
    with RedisServer() as server:
        jam = connect(server.url)
        used, unused = (jam.issue_ticket("reset", name, expires_in=600) for name in ("ann", "bob"))
        jam.redeem_ticket("reset", used)
        server.kill()
        assert outcome(jam, unused) == "unavailable"
        server.restart()
        assert [outcome(jam, used), outcome(jam, unused)] == ["expired", "expired"]
        assert outcome(jam, jam.issue_ticket("reset", "bob", expires_in=600)) == "good"


def test_without_memory_a_ticket_is_redeemed_and_none_is_issued(
    connect: Callable[..., Jam], raw: redis.Redis
) -> None:
    jam = connect()
    ticket = jam.issue_ticket("reset", "ann", expires_in=60)
    raw.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreUnavailable):
            jam.issue_ticket("reset", "ann", expires_in=60)
        assert [outcome(jam, ticket), outcome(jam, ticket)] == ["good", "reused"]
    finally:
        raw.config_set("maxmemory", 0)


def test_a_replica_is_asked_for_no_ticket(
    connect: Callable[..., Jam], raw: redis.Redis, redis_server: RedisServer
) -> None:
    jam = connect()
    ticket = jam.issue_ticket("reset", "ann", expires_in=60)
    raw.replicaof(HOST, redis_server.port + 1)
    try:
        for verb in (jam.peek_ticket, jam.redeem_ticket):
            with pytest.raises(StoreUnavailable):
                verb("reset", ticket)
    finally:
        raw.replicaof("NO", "ONE")
    assert outcome(jam, ticket) == "good"


# --- what is damaged, or lost by an eviction --------------------------------------------------


def fields_of(letter: str) -> list[tuple[str, str]]:
    return [(letter, field) for field in {"v": "pbeuonljd", "w": "lecru"}[letter]]


@each_case(("letter", "field"), [*fields_of("v"), *fields_of("w")])
def test_a_damaged_field_redeems_nothing(
    raw: redis.Redis, store: RedisStore, letter: str, field: str
) -> None:
    for value in (None, b"", b"x", b"\xff\xfe", b"nan", b"1e999", b"[1]", b"x" * 100_000):
        raw.flushall()
        store.issue_ticket(at("k"), a_ticket(NOW), replace=True)
        (key,) = raw.keys(f"jam:{letter}:*")
        raw.hset(key, field, value) if value is not None else raw.hdel(key, field)
        for verb in (store.peek_ticket, store.redeem_ticket, store.redeem_ticket):
            state, ticket = verb(at("k"), "reset", "digest", NOW + 1)
            assert (state, ticket) != (TicketState.GOOD, a_ticket(NOW))
            assert state is not TicketState.GOOD
        # The damage ends with the next ticket.
        store.issue_ticket(at("new"), a_ticket(NOW), replace=True)
        assert store.redeem_ticket(at("new"), "reset", "digest", NOW)[0] is TicketState.GOOD


@each_case("letter", "vw")
@each_case("kind", ["string", "list", "zset", "nothing"])
def test_a_key_of_a_foreign_type_redeems_nothing(
    raw: redis.Redis, store: RedisStore, letter: str, kind: str
) -> None:
    store.issue_ticket(at("k"), a_ticket(NOW), replace=True)
    (key,) = raw.keys(f"jam:{letter}:*")
    raw.delete(key)
    make: dict[str, Callable[[], object]] = {
        "string": lambda: raw.set(key, "x"),
        "list": lambda: raw.rpush(key, "x"),
        "zset": lambda: raw.zadd(key, {"x": 1}),
        "nothing": lambda: None,
    }
    make[kind]()
    wanted = TicketState.GONE if letter == "v" else TicketState.REVOKED
    for verb in (store.peek_ticket, store.redeem_ticket):
        assert verb(at("k"), "reset", "digest", NOW + 1) == (wanted, None)
    store.issue_ticket(at("new"), a_ticket(NOW), replace=False)
    assert store.redeem_ticket(at("new"), "reset", "digest", NOW)[0] is TicketState.GOOD
    raw.flushall()


def test_under_a_damaged_cut_off_no_ticket_is_issued_or_redeemed(
    connect: Callable[..., Jam], raw: redis.Redis
) -> None:
    jam = connect()
    ticket = jam.issue_ticket("reset", "ann", expires_in=60)
    jam.revoke_subject("ann")
    (cut_off,) = raw.keys("jam:c:*")
    raw.set(cut_off, "garbage")
    assert outcome(jam, ticket) == "revoked"
    with pytest.raises(TokenError) as caught:
        jam.issue_ticket("reset", "ann", expires_in=60)
    assert caught.value.reason is Reason.REVOKED
    jam.revoke_subject("ann")
    assert outcome(jam, jam.issue_ticket("reset", "ann", expires_in=60)) == "good"


def test_all_that_a_ticket_needs_is_in_the_slot_of_its_owner(
    connect: Callable[..., Jam], raw: redis.Redis
) -> None:
    jam = connect()
    ticket = jam.issue_ticket("reset", "ann", expires_in=60)
    assert {key.split(b":")[2].decode() for key in raw.keys("*")} == {f"{{{slot_of('ann')}}}"}
    assert ticket.startswith(slot_of("ann"))


@each_case("answer", [["done"], ["done", "fine"], ["done", "good"], ["done", "good", b"x"],
                      ["done", b"\xff"], ["done", 1], ["gone"]], ids=str)  # fmt: skip
def test_the_answer_of_a_stranger_is_no_ticket(answer: list[Any]) -> None:
    class Stranger:
        """Something else that listens at the address of Redis."""

        def execute_command(self, *command: Any, **options: Any) -> Any:
            return answer

        def info(self, *section: Any) -> dict[str, Any]:
            return {}

    store = RedisStore(Stranger())
    for verb in (store.peek_ticket, store.redeem_ticket):
        with pytest.raises(StoreUnavailable):
            verb(at("k"), "reset", "digest", NOW)
