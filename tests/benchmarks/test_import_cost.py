"""The budget of ``import flask_jam``, as processor time beside that of ``import flask``."""

from __future__ import annotations

from .import_cost import measure

#: 0.1 s where Flask takes 0.125.
MOST_OF_FLASK = 0.8


def test_import_keeps_to_its_budget() -> None:
    cost = measure(rounds=10)
    assert cost.flask > 0
    assert cost.ratio <= MOST_OF_FLASK, cost
