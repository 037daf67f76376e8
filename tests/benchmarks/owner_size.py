"""How long one owner with many sessions keeps Redis from answering the others.

    python -m tests.benchmarks.owner_size [--sessions N]

It needs a ``redis-server``, which it starts on loopback. Two owners get N sessions and N refresh
families each, with no bound, and at most 10,000 API keys. Then each verb that goes through them
runs once. Counted are its steps. Of each step it shows what the server noted in SLOWLOG, and what
its main thread needed of a processor. The first is what other clients wait for, and on a busy
machine it is also the time in which the server was not running.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import redis

from flask_jam import Jam
from flask_jam.stores.interface import slot_of
from tests.servers import RedisServer

SECRET = "a-key-of-this-benchmark-0123456789-0123456789-0123456789"
SESSIONS = 100_000
#: API keys are made by hand or by a program, but by no visit.
KEYS = 10_000
#: The longest that a step may keep Redis busy, in milliseconds.
ALLOWED = 10.0
#: What a session holds.
DATA = {"user": "ann", "theme": "dark", "cart": ["a", "b", "c"], "note": "x" * 200}


class Row(NamedTuple):
    """What one verb did to Redis; times in milliseconds, but for the whole in seconds."""

    verb: str
    steps: int
    whole: float
    median: float
    worst: float
    #: Of the processor's time, where the system tells it.
    worst_of_processor: float


#: KEYS: something that there is, its two indexes. ARGV: first and last number of its copies.
COPY = """
local start, name = string.match(KEYS[1], '^(.*:)([^:]*)$')
local score, till = redis.call('ZSCORE', KEYS[2], name), redis.call('ZSCORE', KEYS[3], name)
for number = ARGV[1], ARGV[2] do
  local copy = string.sub(name, 1, -7) .. string.format('%06d', number)
  redis.call('COPY', KEYS[1], start .. copy)
  redis.call('ZADD', KEYS[2], string.format('%.3f', score - number / 100), copy)
  redis.call('ZADD', KEYS[3], string.format('%.3f', till - number / 100), copy)
end
"""


def fill(jam: Jam, client: redis.Redis, owner: str, count: int) -> str:
    """Give an owner so many sessions and families; return the id of the newest session."""
    newest, place = jam.create_session(owner, DATA), slot_of(owner)
    jam.issue_tokens(owner)
    jam.create_api_key(owner, name="script", scopes={"articles:read"}, data={"note": "x" * 200})
    for kind, ages, ends in ("soe", "flm", "qyz"):
        most = min(count, KEYS) if kind == "q" else count
        keys = [key for letter in (kind, ages, ends) for key in client.keys(f"jam:{letter}:*")
                if b"{%b}" % place.encode() in key]  # fmt: skip
        for first in range(1, most, 5000):
            client.eval(COPY, 3, *keys, first, min(first + 4999, most - 1))
        assert client.zcard(keys[1]) == client.zcard(keys[2]) == most
    return newest


def measured(server: RedisServer, jam: Jam, verb: str, run: Callable[[], object]) -> Row:
    """Run a verb, and read what the server noted of its steps."""
    client = server.client(socket_timeout=60.0)
    # Microseconds. It would note each command within a step, too: nearly all take less.
    client.config_set("slowlog-log-slower-than", 50)
    client.config_set("slowlog-max-len", 10_000)
    client.slowlog_reset()
    started = time.perf_counter()
    with processor_times(server, jam) as needed:
        run()
    whole = time.perf_counter() - started
    client.config_set("slowlog-log-slower-than", -1)
    noted = client.slowlog_get(10_000)
    steps = [each["duration"] / 1000 for each in noted if each["command"].startswith(b"EVAL")]
    return Row(verb, len(needed), whole, statistics.median(steps), max(steps), max(needed))


@contextmanager
def processor_times(server: RedisServer, jam: Jam) -> Iterator[list[float]]:
    """Collect what each step of a store costs the server's main thread, in milliseconds."""
    store: Any = jam.store
    needed: list[float] = []
    ask = store._ask

    def timed(*arguments: Any) -> Any:
        before = processor_time(server)
        try:
            return ask(*arguments)
        finally:
            needed.append(processor_time(server) - before)

    store._ask = timed
    yield needed
    del store._ask


def processor_time(server: RedisServer) -> float:
    path = Path(f"/proc/{server.pid}/task/{server.pid}/schedstat")
    return int(path.read_text().split()[0]) / 1e6 if path.exists() else 0.0


def run(count: int = SESSIONS) -> Iterator[Row]:
    """Measure every verb that goes through what an owner has."""
    with RedisServer() as server:
        yield from verbs(server, count)


def verbs(server: RedisServer, count: int) -> Iterator[Row]:
    jam, bounded, client = made(server.url, 0), made(server.url, 100), server.client()
    newest = {owner: fill(jam, client, owner, count) for owner in ("ann", "bob")}
    handle = jam.handle_of(newest["bob"])
    yield measured(server, jam, "create_session, no bound", lambda: jam.create_session("ann", DATA))
    yield measured(
        server, bounded, "create_session, 100 end", lambda: bounded.create_session("bob", DATA)
    )
    yield measured(server, bounded, "issue_tokens, 100 end", lambda: bounded.issue_tokens("bob"))
    yield measured(server, jam, "list_sessions", lambda: jam.list_sessions("ann"))
    yield measured(server, jam, "list_logins", lambda: jam.list_logins("ann"))
    yield measured(server, jam, "list_api_keys", lambda: jam.list_api_keys("ann"))
    yield measured(server, jam, "create_api_key", lambda: jam.create_api_key("ann", name="another"))
    yield measured(
        server, jam, "rotate_api_key",
        lambda: jam.rotate_api_key("ann", jam.create_api_key("ann", name="old")[1].handle),
    )  # fmt: skip
    yield measured(
        server, jam, "delete_session_by_handle",
        lambda: jam.delete_session_by_handle("bob", handle),
    )  # fmt: skip
    yield measured(
        server, jam, "clear_sessions(keep=…)",
        lambda: jam.clear_sessions("ann", keep=newest["ann"]),
    )  # fmt: skip
    yield measured(server, jam, "revoke_subject", lambda: jam.revoke_subject("bob"))
    assert jam.get_session(newest["ann"]) == DATA
    yield measured(server, jam, "end_logins", lambda: jam.end_logins("ann"))
    assert jam.get_session(newest["ann"]) is None
    assert [len(jam.list_sessions(owner)) for owner in ("ann", "bob")] == [0, 0]
    for each in (jam, bounded):
        each.store.close()  # type: ignore[attr-defined]


def made(url: str, most: int) -> Jam:
    """A Jam whose owners may have so many sessions, with time enough for a busy machine."""
    return Jam({"jwt": {"secret_key": SECRET, "max_logins": most}, "redis_url": url,
                "session": {"max_per_owner": most}, "redis_timeout": 5.0})  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """Return the rows as text."""
    lines = [f"{'':<26}{'steps':>7}{'whole':>9}{'median':>9}{'worst':>9}{'processor':>11}"]
    lines += [f"{'':<26}{'':>7}{'s':>9}{'ms':>9}{'ms':>9}{'worst, ms':>11}"]
    lines += [
        f"{row.verb:<26}{row.steps:>7,}{row.whole:>9.2f}{row.median:>9.2f}{row.worst:>9.2f}"
        f"{row.worst_of_processor:>11.2f}"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    count = parser.parse_args().sessions
    rows = list(run(count))
    verdict = "met" if max(row.worst_of_processor for row in rows) < ALLOWED else "NOT MET"
    print(
        f"{count:,} sessions, {count:,} refresh families and {min(count, KEYS):,} API keys of each "
        "of two owners\n"
    )
    print(table(rows))
    print(f"\nbudget of a step: {ALLOWED:.0f} ms: {verdict}")


if __name__ == "__main__":
    main()
