"""Shared helpers of the conformance suite for stores: names, JSON, parallel calls."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

T = TypeVar("T")

#: JSON of every kind; a store that goes through another language's JSON loses one of these.
ANY_JSON: dict[str, Any] = {
    "empty list": [],
    "empty mapping": {},
    "empty text": "",
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "large": 2**53 - 1,
    "negative": -7,
    "fraction": 0.1,
    "whole as a float": 2.0,
    "precise": 1800000000.1234567,
    "text": 'ümlaut ✓ 𝄞 \n\t"\\ \x00 \u2028',
    "nested": {"list": [1, [2, {"x": None}], []], "mapping": {"": {}}},
    "ключ": "key",
}
#: Names that a store must not read anything into.
NAMES = (
    "a",
    "a:b",
    "a:b:c",
    "b",
    "A",
    "a ",
    "{a}",
    "a}{b",
    "*",
    "a*",
    "[a]",
    "?",
    "a\nb",
    "ä",
    "☃",
    "%s",
)


#: The slot of these tests.
SLOT = "ab"


def at(name: str) -> str:
    """Return an id, or the key of one, in that slot."""
    return SLOT + name


def at_once(count: int, job: Callable[[int], T]) -> list[T]:
    """Return the results of ``job(0)`` to ``job(count - 1)``, all started at once."""
    gate = Barrier(count)

    def run(number: int) -> T:
        gate.wait()
        return job(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))
