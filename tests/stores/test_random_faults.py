"""Random faults break no promise of a Jam, and a store that breaks one is found out."""

from __future__ import annotations

from pathlib import Path

import pytest

from .chaos.faults import KINDS
from .chaos.history import OK, UNAVAILABLE
from .chaos.mutants import MUTANTS
from .chaos.run import Outcome, run
from .chaos.worker import VERBS

pytestmark = [pytest.mark.redis, pytest.mark.slow]

SECONDS, SHORT = 20.0, 4.0
SEED = 20_261
#: One for each kind of promise; ``python -m tests.stores.chaos --mutant NAME`` runs any.
TRIED = ("ServesRevoked", "WritesWhole", "RevivesOnWrite", "ForksFamilies", "UnknownWhenDown")


def test_no_random_fault_breaks_a_promise(tmp_path: Path) -> None:
    outcome = run(tmp_path, SECONDS, SEED)
    _check_coverage(outcome)
    assert not outcome.violations, outcome.report()


def _check_coverage(outcome: Outcome) -> None:
    """A run in which little happened shows nothing."""
    assert {fault.kind for fault in outcome.history.faults} == set(KINDS)
    rare = {verb for verb in VERBS if not outcome.counts[verb, OK]}
    assert not rare, outcome.report()
    assert outcome.counts["read", UNAVAILABLE] > 0


@pytest.mark.parametrize("name", TRIED)
def test_a_store_that_breaks_a_promise_is_found_out(tmp_path: Path, name: str) -> None:
    mutant, reports = MUTANTS[name], []
    for seed in range(SEED, SEED + 3):  # what is rare may take more than one run
        (folder := tmp_path / str(seed)).mkdir()
        outcome = run(folder, SHORT, seed, mutant=name, faults=mutant.faults, processes=2)
        if mutant.rules & {violation.rule for violation in outcome.violations}:
            return
        reports.append(outcome.report())
    pytest.fail("\n".join(reports))
