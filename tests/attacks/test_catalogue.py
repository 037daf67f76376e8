"""Every line of the attack catalogue is a test here, or is listed with what it waits for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..cases import each_case
from .waiting import WAITING

#: The sections that this stage answers for, and the last number of each.
SECTIONS = {
    "A": (43, "algorithm and signature"),
    "H": (25, "header parameters"),
    "E": (21, "encoding and format"),
    "C": (33, "claims and time"),
    "V": (28, "the cache of verified tokens"),
    "T": (15, "transport"),
    "S": (32, "server-side sessions"),
    "X": (20, "cookies and cross-site requests"),
    "R": (24, "refresh and revocation"),
    "P": (20, "routes and policy"),
    "L": (7, "logs, errors and signals"),
}
CODES = [f"{letter}{number:02}" for letter, (last, _) in SECTIONS.items()
         for number in range(1, last + 1)]  # fmt: skip

_ID = re.compile(r"([A-Z]\d\d)(-.*)?", re.DOTALL)
_IN_NAME = re.compile(r"(?<=_)[A-Z]\d\d(?=_)")


def codes_in(source: str) -> Iterator[str]:
    """The codes at the start of the ids, and in the names, of the tests of a file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith("test_"):
                yield from _IN_NAME.findall(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # The pieces of an f-string are constants, too.
            match = _ID.fullmatch(node.value)
            if match:
                yield match[1]


@pytest.fixture(scope="module")
def tested() -> set[str]:
    files = [f for f in Path(__file__).parent.glob("test_*.py") if f != Path(__file__)]
    return {code for file in files for code in codes_in(file.read_text(encoding="utf-8"))}


@each_case("letter", SECTIONS)
def test_every_line_of_the_catalogue_is_a_test_or_waits(letter: str, tested: set[str]) -> None:
    missing = [c for c in CODES if c[0] == letter and c not in tested and c not in WAITING]
    assert missing == [], f"no test and no reason: {SECTIONS[letter][1]}"


def test_what_waits_is_of_the_catalogue_and_says_why(tested: set[str]) -> None:
    for waiting, why in WAITING.items():
        code, _, part = waiting.partition("-")
        assert code in CODES, waiting
        assert why.strip(), waiting
        assert "\n" not in why, waiting
        assert bool(part) == (code in tested), f"{waiting}: a part waits only where the rest runs"


def test_no_id_names_a_line_that_the_catalogue_does_not_have(tested: set[str]) -> None:
    ours = {code for code in tested if code[0] in SECTIONS}
    assert ours - set(CODES) == set()


def test_ids_and_names_are_found_and_nothing_else_is() -> None:
    source = """
        CASES = [param(1, id="A01-alg-none"), param(2, id=f"A02-{alg}"), ("A03-x", 1)]
        NOT = ["A04x", "RFC A05", "xA06-", "A7-b"]
        def test_A08_and_A09_in_one_name(): "A10 in a sentence"
        def other_A11_of_nobody(): ...
    """
    assert set(codes_in("if True:" + source)) == {"A01", "A02", "A03", "A08", "A09"}
