"""Pages about other libraries: run the apps of a page, and compare its tables with the library."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from flask import Flask

DOCS = Path(__file__).parents[2] / "docs"
RULE = re.compile(r"^(=+)(?:  =+)+$")


class Page:
    """One page: its blocks with a caption, and the names in its tables.

    A block is a small complete app under ``:caption: Before`` or ``:caption: After``, with more
    words behind it where a page has several; ``During`` is one that uses both libraries. The tests
    of the documentation run the *after* alone: the others need the peer.
    """

    def __init__(self, name: str, peer: str) -> None:
        self.name, self.peer = name, peer
        self.text = (DOCS / f"{name}.rst").read_text(encoding="utf-8")

    def app(self, caption: str) -> Flask:
        """Run a block by its own and return the ``app`` that it makes."""
        module = sys.modules["page"] = ModuleType("page")  # some libraries look their caller up
        exec(compile(self.block(caption), f"{self.name}: {caption}", "exec"), module.__dict__)
        app = module.app
        assert isinstance(app, Flask)
        return app

    def block(self, caption: str) -> str:
        start = rf"^\.\. code-block:: python\n   :caption: {re.escape(caption)}\n"
        (found,) = re.findall(rf"{start}((?:   .*\n|\n)+)", self.text, re.MULTILINE)
        return "\n".join(line[3:] for line in found.splitlines())

    def lacking(self, names: Iterable[str]) -> list[str]:
        """Return the names that stand in no first column of a table."""
        listed = "\n".join(self.first_cells())
        return [name for name in sorted(names) if not re.search(rf"(?<!\w){name}(?!\w)", listed)]

    def first_cells(self) -> Iterator[str]:
        width, rules = 0, 0
        for line in self.text.splitlines():
            rule = RULE.match(line)
            if rule is not None:
                width, rules = len(rule[1]), (rules + 1) % 3
            elif rules == 2:
                yield line[:width]

    def names_newest(self) -> bool:
        """Return True if the page says that it was checked with the peer's installed version."""
        return f"Checked with {self.peer} {version(self.peer)}." in self.text


def public_names(*things: Any) -> set[str]:
    """Return the public names of modules and classes, without the modules among them."""
    return {name for thing in things for name in _names(thing)}


def _names(thing: Any) -> Iterator[str]:
    for name in getattr(thing, "__all__", None) or dir(thing):
        if not name.startswith("_") and not isinstance(getattr(thing, name), ModuleType):
            yield name


def parameters(*functions: Any) -> set[str]:
    """Return what functions can be told: the names of their parameters."""
    return {name for each in functions for name in inspect.signature(each).parameters} - {"self"}


def strings(module: ModuleType, pattern: str, before: str = "") -> set[str]:
    """Return the string literals of a module's or package's source that a pattern matches.

    :param before: a pattern of the code in front of the literal.
    """
    found = re.compile(rf"""{before}["']({pattern})["']""")
    file = Path(str(module.__file__))
    files = file.parent.rglob("*.py") if file.name == "__init__.py" else [file]
    return {name for file in files for name in found.findall(file.read_text(encoding="utf-8"))}
