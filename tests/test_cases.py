"""``@each_case`` runs every case, each with fixtures of its own, and names those that fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from .cases import each_case

pytest_plugins = ["pytester"]

SOURCE = """
import pytest
from tests.cases import each_case

seen = []

@pytest.fixture
def own(tmp_path, monkeypatch):
    assert not list(tmp_path.iterdir())
    (tmp_path / "used").touch()
    yield []

@each_case("letter", ["a", "b"])
@each_case("number, double", [(1, 2), pytest.param(2, 4, id="two")], ids=None)
def test_product(own, letter, number, double, caplog):
    assert own == []
    own.append(letter)
    seen.append((letter, number, double))

def test_every_combination_was_seen():
    assert seen == [("a", 1, 2), ("a", 2, 4), ("b", 1, 2), ("b", 2, 4)]

@each_case("number", range(5))
def test_odd_ones_fail(number, own):
    assert number % 2 == 0, "odd"

@each_case("number", [1, 2])
def test_one_skips(number):
    if number == 2:
        pytest.skip("no two")

@pytest.fixture
def strict():
    yield
    assert seen[-1] != "bad"

@each_case("word", ["good", "bad", "fine"])
def test_teardown_counts(word, strict):
    seen.append(word)

class TestMethods:
    @pytest.mark.parametrize("outer", [1, 2])
    @each_case("x", [1], ids=["one"])
    def test_method(self, outer, x, request):
        assert request.node.name == f"test_method[{outer}]"
"""


@pytest.fixture
def run(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest("def pytest_addoption(parser): parser.addoption('--case')\n")
    pytester.makepyfile(SOURCE)
    pytester.syspathinsert(str(Path(__file__).parent.parent))
    return pytester


def test_cases_run_with_fixtures_of_their_own(run: pytest.Pytester) -> None:
    result = run.runpytest("-rs")
    result.assert_outcomes(passed=4, failed=2, skipped=1)
    result.stdout.fnmatch_lines(["*2 of 5 cases failed, the first is shown:", "E*  1", "E*  3"])
    result.stdout.fnmatch_lines(["*1 of 3 cases failed, the first is shown:", "E*  bad (teardown)"])
    result.stdout.fnmatch_lines(["SKIPPED*1 of 2 cases, the first is 2: no two"])


def test_one_case_can_be_chosen_by_name(run: pytest.Pytester) -> None:
    result = run.runpytest("-k", "test_odd_ones_fail", "--case", "2")
    result.assert_outcomes(passed=1)


def test_an_argument_that_the_test_does_not_take_is_an_error() -> None:
    with pytest.raises(AssertionError, match="has no argument"):
        each_case("other", [1])(lambda one: None)


def test_no_case_at_all_is_an_error() -> None:
    with pytest.raises(AssertionError, match="at least one"):
        each_case("one", [])(lambda one: None)
