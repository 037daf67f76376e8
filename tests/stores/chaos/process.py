"""A process of a few workers on one Jam.

    python -m tests.stores.chaos.process FOLDER URL NUMBER SEED [--near] [--mutant NAME]

It prints a line when it is ready, reads when to begin and when to end from its standard input, and
ends by itself.
"""

from __future__ import annotations

import argparse
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from flask_jam import Jam

from .board import Board
from .checker import Bounds
from .history import Log
from .mutants import MUTANTS, mutate
from .worker import Worker

SECRET = "a-key-of-this-run-0123456789-0123456789-0123456789-0123456789"
THREADS = 3


def make_jam(url: str, *, near: bool, mutant: str | None = None) -> Jam:
    """Build the Jam of one process."""
    bounds = Bounds()
    jam = Jam({
        # No bound: what a login ends for a newer one would look like a loss.
        "jwt": {"secret_key": SECRET, "refresh_grace": bounds.grace, "max_logins": 0},
        "session": {"max_per_owner": 0},
        "redis_url": url, "near_cache": near, "near_cache_silence": bounds.silence,
        **(MUTANTS[mutant].settings if mutant else {}),
    })  # fmt: skip
    if mutant:
        mutate(jam, mutant)
    return jam


def main(arguments: list[str] | None = None) -> None:
    """Run the threads of one process."""
    options = _options(arguments)
    logging.disable()  # that Redis does not answer is what we are here for
    jam = make_jam(options.url, near=options.near, mutant=options.mutant)
    jam.verify_jwt_token(jam.issue_tokens("nobody")["access_token"])
    with ExitStack() as held:
        board = held.enter_context(Board(options.folder))
        workers = list(_workers(options, jam, board, held))
        print("ready", flush=True)
        begin, until = map(float, sys.stdin.readline().split())
        threads = [threading.Thread(target=one.run, args=(begin, until)) for one in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    jam.store.close()  # type: ignore[attr-defined]


def _workers(
    options: argparse.Namespace, jam: Jam, board: Board, held: ExitStack
) -> Iterator[Worker]:
    for number in range(THREADS):
        name = f"{options.number}.{number}"
        log = held.enter_context(Log(options.folder / f"calls-{name}.jsonl"))
        yield Worker(name, jam, log, board, f"{options.seed} {name}")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.stores.chaos.process")
    parser.add_argument("folder", type=Path)
    parser.add_argument("url")
    parser.add_argument("number", type=int)
    parser.add_argument("seed")
    parser.add_argument("--near", action="store_true")
    parser.add_argument("--mutant")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
