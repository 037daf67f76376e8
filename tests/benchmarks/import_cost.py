"""What ``import flask_jam`` costs beyond ``import flask``: processor time in a new interpreter.

Usage: ``python tests/benchmarks/import_cost.py [--rounds N]``. The minimum of several rounds is
compared: whatever else the machine does only adds to it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PROGRAM = """
import time
began = time.process_time()
import flask
between = time.process_time()
import flask_jam
print(between - began, time.process_time() - between)
"""


class Cost(NamedTuple):
    """Seconds of processor time."""

    flask: float
    beyond: float

    @property
    def ratio(self) -> float:
        return self.beyond / self.flask


def measure(rounds: int) -> Cost:
    """Return the least that each import took, compiled before."""
    with TemporaryDirectory() as folder:
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": folder}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        each = [_once(environ) for _ in range(rounds + 1)][1:]
    return Cost(min(cost.flask for cost in each), min(cost.beyond for cost in each))


def _once(environ: dict[str, str]) -> Cost:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environ, capture_output=True, text=True, check=True
    )
    flask, beyond = map(float, run.stdout.split())
    return Cost(flask, beyond)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    cost = measure(parser.parse_args().rounds)
    print(
        f"import flask {cost.flask * 1000:.0f} ms, flask_jam beyond it "
        f"{cost.beyond * 1000:.0f} ms: {cost.ratio:.2f} of Flask"
    )
