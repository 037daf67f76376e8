"""The drawn pictures show what the measured file and the command say today."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import draw


def test_drawn_pictures_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(draw.DOCS.parent)
    drawn = draw.pictures()
    committed = {path.name: path.read_text("utf-8") for path in Path("docs/images").glob("*.svg")}
    assert committed == drawn, "run: python -m tests.docs.draw"


def test_a_case_that_was_not_measured_is_not_drawn() -> None:
    lines = draw.MEASURED.read_text(encoding="utf-8").splitlines()
    without = "\n".join(line for line in lines if not line.startswith("jamlib, HS256"))
    with pytest.raises(KeyError, match="jamlib"):
        draw.read_bars(without)
