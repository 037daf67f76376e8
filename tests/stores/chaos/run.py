"""Start the processes, inject faults for a while, check what came of it.

    python -m tests.stores.chaos [--seconds N] [--seed N] [--keep FOLDER]
                                 [--faults KIND ...] [--mutant NAME]

Four processes of three threads each use one Redis through a proxy, two of them with the near
cache. They create, read, change and end sessions, logins and tickets, their own and each other's.
Meanwhile connections are cut and muted, requests and replies held back or lost, Redis stopped,
killed and restarted. Each call is written down with its start, its end and its outcome. Afterwards
:mod:`tests.stores.chaos.checker` looks for a broken promise.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...servers import HOST, Proxy, RedisServer
from .checker import Violation, check
from .faults import DURABLE, KINDS, Faults
from .history import History, Log, now
from .mutants import MUTANTS
from .worker import AT_LAST

ROOT = Path(__file__).parents[3]
PROCESSES = 4
#: So long may a process take to start, on a busy machine.
START = 60.0


@dataclass(frozen=True)
class Outcome:
    """What was done in a run, and what was wrong with it."""

    history: History
    violations: list[Violation]

    @property
    def counts(self) -> Counter[tuple[str, str]]:
        """How often each verb had each outcome."""
        return Counter((call.op, call.outcome) for call in self.history.calls)

    def report(self) -> str:
        """Tell all of it in words."""
        lines = [f"{op:13} {outcome:11} {n:7}" for (op, outcome), n in sorted(self.counts.items())]
        kinds = Counter(fault.kind for fault in self.history.faults)
        lines.append("faults: " + ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())))
        rules = Counter(violation.rule for violation in self.violations)
        lines += [f"{n} × {rule}" for rule, n in rules.most_common()] or ["no broken promise"]
        return "\n".join([*lines, *map(str, self.violations[:10])])


def run(
    folder: Path,
    seconds: float,
    seed: int,
    *,
    mutant: str | None = None,
    faults: Sequence[str] = tuple(KINDS),
    processes: int = PROCESSES,
) -> Outcome:
    """Run it once; the logs are in ``folder``."""
    with RedisServer(options=DURABLE) as server, Proxy(server.port) as proxy, ExitStack() as held:
        url = server.url.replace(f"{HOST}:{server.port}", f"{HOST}:{proxy.port}")
        options = ["--mutant", mutant] if mutant else []
        workers = [
            held.enter_context(_worker(folder, url, number, seed, options))
            for number in range(processes)
        ]
        for worker in workers:
            worker.await_ready()
        begin = now() + 0.1
        for worker in workers:
            worker.start(begin, begin + seconds)
        with Log(folder / "faults.jsonl") as log:
            Faults(server, proxy, log, f"{seed} faults", faults).inject(begin + seconds)
        for worker in workers:
            worker.await_end()
    history = History.read(folder)
    return Outcome(history, check(history))


class Process:
    """A process that was started, and the file of what it complains of."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        self._process = process
        self._errors = errors

    def await_ready(self) -> None:
        """Wait until it has a Jam that works."""
        late = threading.Timer(START, self._process.kill)
        late.start()
        try:
            assert self._process.stdout is not None
            if self._process.stdout.readline() != "ready\n":
                self._fail("a worker did not start")
        finally:
            late.cancel()

    def start(self, begin: float, until: float) -> None:
        """Tell it when to begin and when to end."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{begin} {until}\n")
        self._process.stdin.flush()

    def await_end(self) -> None:
        """Wait until it has ended by itself."""
        if self._process.wait(4 * AT_LAST) != 0 or self._errors.read_text():
            self._fail("a worker failed")

    def _fail(self, sentence: str) -> None:
        raise RuntimeError(f"{sentence}:\n{self._errors.read_text()[-3000:]}")


@contextmanager
def _worker(
    folder: Path, url: str, number: int, seed: int, options: Sequence[str]
) -> Iterator[Process]:
    """Start a process, and end it if it does not end by itself."""
    near = ["--near"] if number % 2 == 0 else []
    command = [sys.executable, "-m", f"{__package__}.process", *near, *options]
    command += [str(folder), url, str(number), str(seed)]
    errors = folder / f"errors-{number}.log"
    with errors.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file,
            text=True,
        )  # fmt: skip
    with process:
        try:
            yield Process(process, errors)
        finally:
            process.kill()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it as the command line says; return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.stores.chaos")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", nargs="*", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--mutant", choices=list(MUTANTS))
    parser.add_argument("--keep", type=Path, help="an empty folder for the logs of the run")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as made:
        folder = options.keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        outcome = run(
            folder, options.seconds, options.seed, mutant=options.mutant, faults=options.faults
        )
    print(outcome.report())
    return int(bool(outcome.violations))
