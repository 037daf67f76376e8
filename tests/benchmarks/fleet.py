"""How many requests a fleet answers, and how soon it refuses what was revoked.

    python -m tests.benchmarks.fleet [--workers N ...] [--rounds N] [--seconds S] [--rates N ...]

It needs gunicorn and a ``redis-server``; it starts both, on loopback. The peers come from the extra
``bench``; one that is not installed is said to be missing.

**Requests.** gunicorn runs N workers with 4 threads each, and all cases live in the same workers.
One process sends the requests on connections that stay open, the same number to each worker, and
each connection has one request under way. Cases take turns on these connections in rounds, in a
new order each round, and each batch is held against the batches of the bare route right before and
right after it. A header costs something before any guard sees it, as gunicorn parses it: so the
bare route is also sent a token that it does not look at.

**Revocations.** A process of its own revokes tokens at a given rate. Each token was let in by every
watcher before, so that each near cache knows that nothing was against it. Watchers ask for the
tokens in the order of their revocation, again and again, until they are refused. They are either
processes with a Jam, which verify with a short pause in between, or requests to the gunicorn
workers, one under way to each without a pause: so the fleet is under full load.

**What it cannot tell.** Workers, Redis, sender, watchers and revoker share the processors of one
machine. With fewer processors than processes more workers bring no more requests, and what a
revocation needs is mostly the time until a watcher is given a processor: it tells how long it took
here, which is no less than how long it takes.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import multiprocessing
import os
import random
import re
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from flask_jam import TokenError
from tests.servers import RedisServer

from .fleet_app import BARE, CASES, REDIS_URL, TOKEN, WHO, Case, Headers, bearer, make_jam
from .route_cost import forged, machine

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[2]
#: Connections to each worker; it has as many threads.
LINES = 4
#: A worker that is silent for so long is taken for dead.
PATIENCE = 30.0
#: A watching process asks, and waits for so long if it was let in.
PAUSE = 0.001
#: So long after a first read a near cache has its link to Redis for sure.
LINK_UP = 0.7
#: A token that is let in for so long after its revocation is not waited for.
GIVE_UP = 10.0
#: A rate is sustained if 99 of 100 revocations were seen by all after so long.
SOON = 0.1
#: As fast as one process can.
UNLIMITED = math.inf

LIBRARIES = ("Flask", "gunicorn", "redis", "Flask-JWT-Extended", "Flask-Session", "Flask-Login")

# One clock for all processes of a machine.
now = time.monotonic


# --- connections ----------------------------------------------------------------------


def request(path: str, headers: Headers) -> bytes:
    """A GET, ready to be sent."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {HOST}", "Accept: */*"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Line:
    """A connection that stays open, and so stays with one worker."""

    _length = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent_at = 0.0
        self.body = b""
        self._read = b""
        self.ask(request(WHO, {}))
        self.worker = int(self.body)

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def send(self, data: bytes) -> None:
        """One request."""
        self.sent_at = now()
        self.socket.sendall(data)

    def receive(self) -> int | None:
        """The status, once the answer is all there."""
        got = self.socket.recv(65536)
        if not got:
            raise ConnectionError(f"worker {self.worker} hung up")
        self._read += got
        head, end, body = self._read.partition(b"\r\n\r\n")
        length = self._length.search(head)
        if not end or not length or len(body) < int(length[1]):
            return None
        self.body, self._read = body, b""
        return int(head[9:12])

    def ask(self, data: bytes) -> int:
        """One request, and wait for it."""
        self.send(data)
        while (status := self.receive()) is None:
            pass
        return status


def drive(lines: Sequence[Line], follow: Callable[[Line, int], bytes | None], first: bytes) -> None:
    """Keep one request under way on each line, until ``follow`` has no next one for any."""
    under_way = len(lines)
    with selectors.DefaultSelector() as selector:
        for line in lines:
            selector.register(line.socket, selectors.EVENT_READ, line)
            line.send(first)
        while under_way:
            ready = selector.select(PATIENCE)
            if not ready:
                raise TimeoutError("no worker answers")
            for key, _ in ready:
                status = key.data.receive()
                if status is None:
                    continue
                following = follow(key.data, status)
                if following is None:
                    under_way -= 1
                else:
                    key.data.send(following)


# --- the fleet ------------------------------------------------------------------------


class Ready(NamedTuple):
    """A case, with requests that can be sent."""

    good: bytes
    #: Requests that must not get in: if they did, we would be timing a guard that guards nothing.
    strangers: list[bytes]


def prepare(case: Case, url: str) -> Ready:
    """Log in, in this process: the workers have the same keys and the same Redis."""
    headers = case.log_in(case.make(url))
    strangers = [{}, another_one(headers)] if case.guarded else []
    return Ready(request(case.path, headers), [request(case.path, each) for each in strangers])


def another_one(headers: Headers) -> Headers:
    """The same, with a credential that nobody was given."""
    parts = ((name, re.fullmatch("(Bearer |[^=]+=)(.+)", value)) for name, value in headers.items())
    return {name: found[1] + forged(found[2]) for name, found in parts if found}


class Fleet:
    """gunicorn with some workers, and the same number of lines to each of them."""

    def __init__(self, workers: int, redis_url: str, lines: int = LINES) -> None:
        self.workers, self.redis_url, self.per_worker = workers, redis_url, lines
        self.lines: list[Line] = []
        self._held = ExitStack()

    def __enter__(self) -> Fleet:
        with ExitStack() as held:
            folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
            with socket.create_server((HOST, 0), backlog=512) as listening:
                # As gunicorn does with its own: else an answer's second part may wait for 40 ms.
                listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                process = held.enter_context(self._gunicorn(listening, folder))
                port = listening.getsockname()[1]
            self.pid = process.pid
            self._connect(port, process, folder / "log", held)
            self._held = held.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    @contextmanager
    def _gunicorn(
        self, listening: socket.socket, folder: Path
    ) -> Iterator[subprocess.Popen[bytes]]:
        # A file, as older versions know nothing of the first one and take it for a remark.
        settings = folder / "settings.py"
        settings.write_text("control_socket_disable = True\nkeepalive = 120\n", encoding="utf-8")
        command = [
            sys.executable, "-m", "gunicorn", "tests.benchmarks.fleet_app:application()",
            "--config", str(settings), "--chdir", str(ROOT),
            "--bind", f"fd://{listening.fileno()}", "--workers", str(self.workers),
            "--worker-class", "gthread", "--threads", str(LINES), "--log-level", "warning",
        ]  # fmt: skip
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command, env={**os.environ, REDIS_URL: self.redis_url}, stdout=log, stderr=log,
                pass_fds=[listening.fileno()],
            )  # fmt: skip
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _connect(
        self, port: int, process: subprocess.Popen[bytes], log: Path, held: ExitStack
    ) -> None:
        """Which worker takes a connection is up to chance: open more, and keep what fits."""
        per_worker: dict[int, int] = {}
        until = now() + PATIENCE
        while len(self.lines) < self.workers * self.per_worker:
            try:
                line = Line(port)
            except OSError:
                if process.poll() is not None or now() > until:
                    raise RuntimeError(f"gunicorn is not up:\n{log.read_text()[-3000:]}") from None
                continue
            taken = per_worker.setdefault(line.worker, 0)
            if taken == self.per_worker or now() > until:
                line.close()
                assert now() <= until, f"the workers do not share: {per_worker}"
                continue
            per_worker[line.worker] += 1
            self.lines.append(held.enter_context(closing(line)))

    @property
    def one_line_each(self) -> list[Line]:
        """One line to each worker."""
        return list({line.worker: line for line in self.lines}.values())

    def check(self, ready: Ready) -> None:
        """Every worker lets in whom it should, and nobody else."""
        for line in self.one_line_each:
            status = line.ask(ready.good)
            assert (status, line.body) == (200, b"ok"), f"{status} {line.body!r} for {ready.good!r}"
            for stranger in ready.strangers:
                status = line.ask(stranger)
                assert status in (401, 422), f"let in a stranger, {status}: {stranger!r}"


# --- requests per second --------------------------------------------------------------


class Batch(NamedTuple):
    """Requests of one case for some time."""

    per_second: float
    #: The part of one processor that the sender took.
    sender: float
    #: What the bare route did per second right before and right after.
    bare: float = 0.0


def batch(fleet: Fleet, data: bytes, seconds: float) -> Batch:
    """As many as there can be. What is under way at the end is waited for and not counted."""
    answers = 0
    begun, worked = now(), time.process_time()
    end = begun + seconds

    def follow(_line: Line, status: int) -> bytes | None:
        nonlocal answers
        assert status == 200, f"{status} in the middle of a run"
        if now() >= end:
            return None
        answers += 1
        return data

    drive(fleet.lines, follow, data)
    return Batch(answers / seconds, (time.process_time() - worked) / (now() - begun))


@dataclass
class Throughput:
    """The batches of one fleet, case by case, one a round."""

    workers: int
    batches: dict[str, list[Batch]]

    def per_second(self, name: str) -> float:
        """The median."""
        return statistics.median(each.per_second for each in self.batches[name])

    def of_bare(self, name: str) -> float:
        """The median of what part of the bare route around it each batch was."""
        return statistics.median(each.per_second / each.bare for each in self.batches[name])

    @property
    def sender(self) -> float:
        """The most that the sender worked in any case: near 1 it would be what is measured."""
        return max(each.sender for batches in self.batches.values() for each in batches)


def throughput(fleet: Fleet, rounds: int, seconds: float) -> Throughput:
    """Rounds of all cases that can be made here."""
    sent = {name: prepare(case, fleet.redis_url) for name, case in CASES.items() if case.installed}
    for ready in sent.values():
        fleet.check(ready)
        batch(fleet, ready.good, seconds / 2)  # warm
    time.sleep(LINK_UP)
    found = Throughput(fleet.workers, {name: [] for name in sent})
    order = [name for name in sent if name != BARE]
    for number in range(rounds):
        random.Random(number).shuffle(order)
        before = batch(fleet, sent[BARE].good, seconds)
        for name in order:
            taken = batch(fleet, sent[name].good, seconds)
            after = batch(fleet, sent[BARE].good, seconds)
            around = (before.per_second + after.per_second) / 2
            found.batches[name].append(taken._replace(bare=around))
            found.batches[BARE].append(after._replace(bare=after.per_second))
            before = after
    return found


# --- revocations ----------------------------------------------------------------------


class Revoked(NamedTuple):
    """When ``revoke_token`` was called and when it returned."""

    called: float
    returned: float


class Seen(NamedTuple):
    """What one watcher saw of one token; times of a clock that all share."""

    #: When the refusal was there; infinity: never.
    refused: float
    #: When it was asked for the last time of those that it was let in; 0: never.
    let_in: float


@dataclass
class Step:
    """Revocations at one rate, and what each watcher saw of each."""

    asked_rate: float
    revoked: list[Revoked]
    watched: list[list[Seen]]

    @property
    def rate(self) -> float:
        """Revocations per second that really were."""
        first, *others = self.revoked
        return len(others) / (others[-1].called - first.called)

    def propagation(self) -> list[float]:
        """Seconds from the call of each revocation until all watchers refused, sorted."""
        return sorted(
            max(seen.refused for seen in all_seen) - revoked.called
            for revoked, *all_seen in zip(self.revoked, *self.watched, strict=True)
        )

    def late(self) -> float:
        """The longest that any was still let in after its revocation had returned, in seconds."""
        return max(
            (
                max(seen.let_in for seen in all_seen) - revoked.returned
                for revoked, *all_seen in zip(self.revoked, *self.watched, strict=True)
            ),
        )

    @property
    def kept_up(self) -> bool:
        """Whether the rate was reached and the watchers did not fall behind."""
        reached = math.isinf(self.asked_rate) or self.rate >= 0.95 * self.asked_rate
        return reached and percentile(self.propagation(), 99) <= SOON


def percentile(values: Sequence[float], part: float) -> float:
    """Of sorted values, the one that so many percent do not exceed."""
    return values[max(0, math.ceil(len(values) * part / 100) - 1)]


class Helpers:
    """Processes that revoke and watch; each has a Jam of its own and takes orders on a pipe."""

    def __init__(self, url: str, watchers: int) -> None:
        # Not forked: this process has connections and threads that are not for them.
        self._context = multiprocessing.get_context("spawn")
        self._url, self._processes = url, []  # type: ignore[var-annotated]
        self.revoker = self._start(revoke_on_order)
        self.watchers = [self._start(watch_on_order) for _ in range(watchers)]

    def _start(self, target: Callable[[str, Connection], None]) -> Connection:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=target, args=(self._url, theirs), daemon=True)
        process.start()
        theirs.close()
        self._processes.append(process)
        return ours

    @property
    def pids(self) -> list[int]:
        """Who they are."""
        return [process.pid for process in self._processes]

    def close(self) -> None:
        """Send all of them home."""
        for pipe in (self.revoker, *self.watchers):
            pipe.send(None)
            pipe.close()
        for process in self._processes:
            process.join(5)
            if process.exitcode is None:
                process.kill()
                process.join()
            process.close()


def orders(pipe: Connection) -> Iterator[Any]:
    """Until there is none."""
    with pipe:
        while (order := pipe.recv()) is not None:
            yield order


def revoke_on_order(url: str, pipe: Connection) -> None:
    """Revoke the given tokens at the given rate."""
    jam = make_jam(url)
    for tokens, rate in orders(pipe):
        begun, done = now(), []
        for number, token in enumerate(tokens):
            pause = begun + (number + 1) / rate - now()
            if pause > 0:
                time.sleep(pause)
            called = now()
            jam.revoke_token(token)
            done.append(Revoked(called, now()))
        pipe.send(done)


def watch_on_order(url: str, pipe: Connection) -> None:
    """Come to know the given tokens, say so, then watch for their end in that order."""
    jam = make_jam(url)
    for tokens in orders(pipe):
        for pause in (LINK_UP, 0):  # only what is read with the link up is kept
            for token in tokens:
                jam.verify_jwt_token(token)
            time.sleep(pause)
        pipe.send("ready")
        pipe.send([watch(jam.verify_jwt_token, token) for token in tokens])


def watch(verify: Callable[[str], object], token: str) -> Seen:
    """Ask until it is refused."""
    begun, let_in = now(), 0.0
    while True:
        asked = now()
        try:
            verify(token)
        except TokenError:
            return Seen(now(), let_in)
        if asked - begun > GIVE_UP:
            return Seen(math.inf, asked)
        let_in = asked
        time.sleep(PAUSE)


def make_tokens(url: str, count: int) -> list[str]:
    """A login each."""
    jam = make_jam(url)
    tokens = [jam.issue_tokens(f"user-{number}")["access_token"] for number in range(count)]
    jam.store.close()  # type: ignore[attr-defined]
    return tokens


def seen_by_processes(helpers: Helpers, tokens: list[str], rate: float) -> Step:
    """Watchers are processes with a Jam."""
    for pipe in helpers.watchers:
        pipe.send(tokens)
    for pipe in helpers.watchers:
        _receive(pipe)
    helpers.revoker.send((tokens, rate))
    return Step(rate, _receive(helpers.revoker), [_receive(pipe) for pipe in helpers.watchers])


def seen_by_fleet(helpers: Helpers, fleet: Fleet, tokens: list[str], rate: float) -> Step:
    """Watchers are requests, one under way to each worker."""
    path = CASES[TOKEN].path
    requests = [request(path, bearer(token)) for token in tokens]
    lines = fleet.one_line_each
    for pause in (LINK_UP, 0):
        _let_in_by_all(lines, requests)
        time.sleep(pause)
    watched: dict[int, list[Seen]] = {line.worker: [] for line in lines}
    let_in = dict.fromkeys(watched, 0.0)
    until = now() + len(tokens) / rate + GIVE_UP

    def follow(line: Line, status: int) -> bytes | None:
        seen = watched[line.worker]
        if status == 200:
            let_in[line.worker] = line.sent_at
        if status != 200 or now() > until:
            assert status in (200, 401), f"{status} in the middle of a run"
            seen.append(Seen(now() if status == 401 else math.inf, let_in[line.worker]))
            let_in[line.worker] = 0.0
        return requests[len(seen)] if len(seen) < len(requests) else None

    helpers.revoker.send((tokens, rate))
    drive(lines, follow, requests[0])
    return Step(rate, _receive(helpers.revoker), list(watched.values()))


def _let_in_by_all(lines: Sequence[Line], requests: Sequence[bytes]) -> None:
    asked = dict.fromkeys((line.worker for line in lines), 0)

    def follow(line: Line, status: int) -> bytes | None:
        assert status == 200, f"{status} before anything was revoked"
        asked[line.worker] += 1
        number = asked[line.worker]
        return requests[number] if number < len(requests) else None

    drive(lines, follow, requests[0])


def _receive(pipe: Connection) -> Any:
    if not pipe.poll(PATIENCE):
        raise TimeoutError("a helper does not answer")
    return pipe.recv()


def steps(
    rates: Sequence[float], seconds: float, url: str, take: Callable[[list[str], float], Step]
) -> list[Step]:
    """One step for each rate."""
    most = max((rate for rate in rates if math.isfinite(rate)), default=500)
    counts = [max(5, round(min(rate, most) * seconds)) for rate in rates]
    return [take(make_tokens(url, n), rate) for n, rate in zip(counts, rates, strict=True)]


# --- the report -----------------------------------------------------------------------


def versions(redis_version: str) -> str:
    """What it ran with."""
    found = [f"Redis {redis_version}"]
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def requests_table(found: Sequence[Throughput]) -> Iterator[str]:
    """Requests per second, a column for each fleet."""
    heads = [f"{each.workers} workers" for each in found]
    yield f"{'requests per second':42}" + "".join(f"{head:>12}{'of bare':>9}" for head in heads)
    for name in CASES:
        if not all(name in each.batches for each in found):
            yield f"{name:42}   not installed"
            continue
        cells = (f"{each.per_second(name):12.0f}{each.of_bare(name):9.0%}" for each in found)
        yield f"{name:42}" + "".join(cells)
    busy = (f"{each.sender:12.0%}{'':9}" for each in found)
    yield f"{'(the sender, of one processor, at most)':42}" + "".join(busy).rstrip()


def revocations_table(title: str, found: Sequence[Step]) -> Iterator[str]:
    """Propagation, a line for each rate."""
    yield f"{title:42}{'done':>8}{'median':>10}{'p99':>10}{'longest':>10}{'let in late':>13}"
    for step in found:
        asked = "as fast as can be" if math.isinf(step.asked_rate) else f"{step.asked_rate:.0f}/s"
        times = step.propagation()
        figures = (statistics.median(times), percentile(times, 99), times[-1])
        cells = "".join(f"{seconds * 1000:10.1f}" for seconds in figures)
        late = max(0.0, step.late()) * 1000
        yield (
            f"  {asked:40}{step.rate:6.0f}/s{cells}{late:13.1f}"
            + ("" if step.kept_up else "  did not keep up")
        )
    kept = [step.rate for step in found if step.kept_up]
    yield f"  sustained here: {max(kept):.0f} per second" if kept else "  none was sustained"


def run(options: argparse.Namespace, server: RedisServer) -> Iterator[str]:
    """All of it, line by line as it is found."""
    yield ", ".join(f"{key} {value}" for key, value in machine().items())
    yield versions(server.client().info("server")["redis_version"])
    yield (
        f"{options.rounds} rounds of {options.seconds} s, {LINES} connections to each worker, "
        f"load {os.getloadavg()[0]:.2f} at the start"
    )
    yield ""
    found = []
    for workers in options.workers:
        with Fleet(workers, server.url) as fleet:
            found.append(throughput(fleet, options.rounds, options.seconds))
    yield from requests_table(found)
    yield ""
    yield "revocations, in ms from the call until all refuse; let in late: after the call's return"
    count, span = options.processes, options.revoke_seconds
    with closing(Helpers(server.url, count)) as helpers:
        rates = [*options.rates, UNLIMITED]
        yield from revocations_table(
            f"{count} processes that verify",
            steps(rates, span, server.url, partial(seen_by_processes, helpers)),
        )
    with closing(Helpers(server.url, 0)) as helpers, Fleet(count, server.url, 1) as fleet:
        # Each refusal at each worker is a request: more would measure gunicorn.
        rates = [rate for rate in options.rates if rate * count <= 1000] or options.rates[:1]
        yield from revocations_table(
            f"{count} gunicorn workers under load",
            steps(rates, span, server.url, partial(seen_by_fleet, helpers, fleet)),
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What a fleet on one Redis can do.")
    add = parser.add_argument
    add("--workers", type=int, nargs="+", default=[2, 4, 8], help="sizes of the fleet (2 4 8)")
    add("--rounds", type=int, default=4, help="batches of each case (4)")
    add("--seconds", type=float, default=0.2, help="of one batch (0.2)")
    add("--rates", type=float, nargs="+", default=[20, 100, 500], help="revocations per second")
    add("--processes", type=int, default=8, help="that see revocations (8)")
    add("--revoke-seconds", type=float, default=1.5, help="of one rate (1.5)")
    options = parser.parse_args()
    if importlib.util.find_spec("gunicorn") is None:
        sys.exit("gunicorn is not installed: pip install gunicorn")
    with RedisServer() as server:
        for line in run(options, server):
            print(line, flush=True)


if __name__ == "__main__":
    main()
