"""No step blocks Redis for long, and none looks at more than a hundred, at 100,000 sessions."""

from __future__ import annotations

import pytest

from . import owner_size as benchmark

pytestmark = pytest.mark.redis


def test_no_step_needs_more_than_its_budget_at_a_hundred_thousand() -> None:
    rows = {row.verb: row for row in benchmark.run()}
    # The processor's time: what the server was kept waiting for by others is not its own.
    # Neighbours lengthen that, too, and never shorten it: the lower of two measurements counts.
    worst = {name: row.worst_of_processor for name, row in rows.items()}
    if max(worst.values()) >= benchmark.ALLOWED:
        worst = {row.verb: min(worst[row.verb], row.worst_of_processor) for row in benchmark.run()}
    assert {name: value for name, value in worst.items() if value >= benchmark.ALLOWED} == {}
    for verb in ("list_sessions", "clear_sessions(keep=…)"):
        assert 999 <= rows[verb].steps <= 1003, verb
    assert 99 <= rows["list_api_keys"].steps <= 103
    assert 1099 <= rows["revoke_subject"].steps <= 1105
    assert rows["create_session, 100 end"].steps == 2
