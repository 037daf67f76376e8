"""Who may import whom: the table of ranks, read from the source of every module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import flask_jam

PACKAGE = Path(flask_jam.__file__).parent

#: From the bottom to the top. A module imports only what stands before it; a new one is put in
#: here, and where it stands decides what it may use.
ORDER = (
    "errors", "outcome",
    "settings", "cache", "keys", "jws",
    "stores",
    "stores.memory",
    "stores.lua", "stores.values", "stores.client", "stores.link", "stores.redis", "stores.near",
    "tokens", "refresh", "sessions",
    "jam",
    "signals", "cookies", "csrf", "pages", "schemes",
    "resolver", "refusal",
    "policies", "guards", "protection", "actions",
    "inspection", "checks", "audit", "openapi", "doctor", "cli",
    "extension",
    "testing.stores", "testing.events", "testing.clock", "testing.client", "testing.assertions",
    "testing.plugin", "testing",
    "",
)  # fmt: skip
#: The lowest module that knows Flask.
FIRST_WITH_FLASK = "signals"
WEB = {"flask", "werkzeug", "blinker", "click", "jinja2"}
#: Libraries that have a home.
HOMES = {
    "jwt": {"keys", "jws"},
    "cryptography": {"keys", "jws"},
    "cachetools": {"cache", "stores.near"},
    "redis": {"stores.client", "stores.link", "stores.redis", "stores.near"},
    "yaml": {"settings"},
    "pytest": {"testing.stores", "testing.plugin"},
    "pickle": set(),
    "marshal": set(),
    "shelve": set(),
}
#: Modules that nobody imports before a Redis is configured.
LATE = {
    "stores.lua", "stores.values", "stores.client", "stores.link", "stores.redis", "stores.near",
}  # fmt: skip


class Import(NamedTuple):
    target: str
    line: int
    #: Whether it runs when the module is imported.
    at_once: bool


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(source: str, module: str, *, is_package: bool) -> Iterator[Import]:
    """Every import, also of a function, a branch or ``TYPE_CHECKING``."""
    tree = ast.parse(source)
    late = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(a.name, node.lineno, node not in late) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node, module, is_package=is_package)
            for alias in node.names:
                yield Import(f"{base}.{alias.name}", node.lineno, node not in late)


def absolute(node: ast.ImportFrom, module: str, *, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    here = ["flask_jam", *filter(None, module.split("."))]
    if not is_package:
        here.pop()
    base = here[: len(here) - node.level + 1]
    return ".".join([*base, *filter(None, [node.module])])


def own_module(target: str) -> str | None:
    """The module of this package that a target names or takes something from."""
    first, *rest = target.split(".")
    if first != "flask_jam":
        return None
    for length in range(len(rest), 0, -1):
        if ".".join(rest[:length]) in MODULES:
            return ".".join(rest[:length])
    return ""


def found(module: str) -> list[Import]:
    path = MODULES[module]
    return list(
        imports_of(path.read_text(encoding="utf-8"), module, is_package=path.stem == "__init__")
    )


def test_every_module_stands_in_the_table() -> None:
    assert set(MODULES) <= set(ORDER), "put the new module into ORDER, at the rank that it has"
    assert {"errors", "jam", "guards", "extension", "stores.memory", ""} <= set(MODULES)


def test_what_tests_a_module_is_found_by_its_name() -> None:
    files = {path.stem for path in Path(__file__).parent.glob("test_*.py")}
    own = {module for module in MODULES if module and "." not in module}
    assert {f"test_{module}" for module in own - {"stores", "testing"}} <= files


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_stands_before_it(module: str) -> None:
    own = [(own_module(i.target), i.line) for i in found(module)]
    upward = [
        f"{MODULES[module].name}:{line} imports {other or 'flask_jam'}"
        for other, line in own
        if other is not None and ORDER.index(other) >= ORDER.index(module)
    ]
    assert upward == []


@pytest.mark.parametrize(
    "module", [m for m in ORDER[: ORDER.index(FIRST_WITH_FLASK)] if m in MODULES]
)
def test_below_the_line_nobody_knows_flask(module: str) -> None:
    assert [i for i in found(module) if i.target.split(".")[0] in WEB] == []


@pytest.mark.parametrize("module", MODULES)
def test_a_library_with_a_home_is_imported_nowhere_else(module: str) -> None:
    homeless = [
        f"line {i.line} imports {i.target}"
        for i in found(module)
        if module not in HOMES.get(i.target.split(".")[0], {module})
    ]
    assert homeless == []


@pytest.mark.parametrize("module", [module for module in MODULES if module not in LATE])
def test_nothing_of_redis_and_no_extra_is_needed_to_import_the_package(module: str) -> None:
    at_once = [i for i in found(module) if i.at_once]
    assert [i for i in at_once if i.target.split(".")[0] in {"redis", "yaml"}] == []
    assert [i for i in at_once if own_module(i.target) in LATE] == []


def test_the_reader_of_imports_misses_none() -> None:
    source = (
        "from typing import TYPE_CHECKING\n"
        "import os.path, redis\n"
        "from . import jam\n"
        "from .. import errors as e\n"
        "from .memory import MemoryStore\n"
        "if TYPE_CHECKING:\n    from ..guards import Guard\n"
        "def f():\n    from flask import g\n    import jwt\n"
        "class A:\n    import yaml\n"
        "try:\n    import click\nexcept ImportError:\n    pass\n"
    )
    read = {i.target: i.at_once for i in imports_of(source, "stores.near", is_package=False)}
    assert read == {
        "typing.TYPE_CHECKING": True, "os.path": True, "redis": True,
        "flask_jam.stores.jam": True, "flask_jam.errors": True,
        "flask_jam.stores.memory.MemoryStore": True, "flask_jam.guards.Guard": True,
        "flask.g": False, "jwt": False, "yaml": True, "click": True,
    }  # fmt: skip
    inside = {i.target for i in imports_of("from . import x", "stores", is_package=True)}
    assert inside == {"flask_jam.stores.x"}
    assert own_module("flask_jam.stores.memory.MemoryStore") == "stores.memory"
    assert own_module("flask_jam.stores.Kind") == "stores"
    assert own_module("flask_jam.Jam") == ""
    assert own_module("flask.g") is None
