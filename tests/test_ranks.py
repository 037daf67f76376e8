"""Who may import whom: the table of ranks, read from the source of every module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import flask_jam

PACKAGE = Path(flask_jam.__file__).parent

#: From the bottom to the top. A module imports only what stands before it; a new one is put in
#: here, and where it stands decides what it may use.
ORDER = (
    "errors",
    "_helpers", "_helpers.deadline", "_helpers.fork_lock", "_helpers.names", "_helpers.owned",
    "_helpers.peer_settings",
    "_helpers.setting_types", "_helpers.setting_files", "_helpers.strict_json",
    "_helpers.weak_keys", "_helpers.pem_text", "_helpers.issuer_urls",
    "settings", "keys", "jws",
    "stores.ticket_verbs", "stores.api_keys", "stores.interface", "stores",
    "stores.memory_tickets", "stores._memory_api_keys", "stores.memory",
    "_credentials", "_credentials.token_cache", "_credentials.api_key_text", "_credentials.claims",
    "_credentials.key_members", "_credentials.key_states", "_credentials.key_directory",
    "_credentials.key_rotation", "_credentials.keyring_watch",
    "_credentials.access_tokens", "_credentials.login_claims", "_credentials.refresh_rotation",
    "_credentials.session_data", "_credentials.sessions", "_credentials.revocation",
    "_credentials.logins", "_credentials.tickets", "_credentials.password_checks",
    "_credentials.issuer_names", "_credentials.issuer",
    "_credentials.key_fetch", "_credentials.issuer_keys",
    "_credentials.foreign_claims", "_credentials.foreign_tokens", "issuers",
    "_credentials.all_tokens", "_credentials.verifiers",
    "_credentials.api_keys", "_credentials.api_key_verbs",
    "stores._redis", "stores._redis.owner_index", "stores._redis.scripts",
    "stores._redis.api_key_scripts", "stores._redis.values",
    "stores._redis.ticket_scripts", "stores._redis.tickets",
    "stores._redis.name_lookup", "stores._redis.redis_internals", "stores._redis.meter",
    "stores._redis.plain_reads", "stores._redis.plain_api_keys", "stores._redis.api_keys",
    "stores._redis.client", "stores._redis.invalidation", "stores.redis",
    "stores._redis.near_api_keys", "stores._redis.near_cache",
    "jam",
    "signals",
    "_request", "_request.werkzeug_internals", "_request.flask_internals", "_request.views",
    "_request.cookies", "_request.cross_site", "_request.negotiation", "_request.login_redirect",
    "_request.status_codes",
    "schemes.outcome", "schemes.interface", "schemes", "schemes.transport", "schemes.jwt",
    "schemes.session", "schemes.basic", "schemes.api_key",
    "_request.user_loader", "_request.app_state", "_request.request_auth",
    "_request.request_user", "_request.owner_grants", "_request.current_auth",
    "_request.current_user", "_request.private_answers",
    "refusal", "policies", "_request.conditions", "guards", "_request.protection",
    "_request.published_keys",
    "_request.login", "_request.token_login", "_request.session_login", "_request.start_checks",
    "audit", "openapi",
    "_cli", "_cli.issuer_states", "_cli.inspection", "_cli.key_checks", "_cli.doctor",
    "_cli.lazy_group", "_cli.output", "_cli.keyring", "_cli.api_keys", "_cli.commands",
    "extensions", "_request.basic_extension", "_request.own_api_keys", "_request.api_key_extension",
    "testing.store_samples", "testing.api_keys", "testing.tickets", "testing.stores",
    "testing.events",
    "testing.stand_in", "testing.clock", "testing.client", "testing.assertions",
    "testing.plugin", "testing.schemes", "testing",
    "",
)  # fmt: skip
#: The lowest module that knows Flask.
FIRST_WITH_FLASK = "signals"
WEB = {"flask", "werkzeug", "blinker", "click", "jinja2"}
REDIS = {name for name in ORDER if name.startswith("stores._redis.")} | {"stores.redis"}
#: Libraries that have a home.
HOMES = {
    "jwt": {"keys", "jws", "_credentials.key_members", "testing.stand_in"},
    "cryptography": {"keys", "jws", "_helpers.weak_keys", "_helpers.pem_text"},
    "cachetools": {
        "_credentials.token_cache",
        "stores._redis.near_api_keys",
        "stores._redis.near_cache",
        "stores._redis.plain_api_keys",
        "stores._redis.plain_reads",
    },
    "redis": REDIS,
    "yaml": {"_helpers.setting_files"},
    "pytest": {"testing.tickets", "testing.stores", "testing.schemes", "testing.plugin"},
    "pickle": set(),
    "marshal": set(),
    "shelve": set(),
}
#: Modules that are not imported before a Redis is configured.
LATE = REDIS
#: Tests of a module under another name than its own, from ``tests/``.
TESTED_BY = {
    "_cli.key_checks": "cli/test_doctor",
    "_cli.lazy_group": "cli/test_commands",
    "_cli.output": "cli/test_commands",
    "_helpers.deadline": "stores/test_deadlines",
    "_helpers.names": "test_settings",
    "_helpers.owned": "stores/test_memory",
    "_helpers.peer_settings": "test_settings",
    "_helpers.setting_types": "test_settings",
    "_helpers.setting_files": "test_settings",
    "_helpers.strict_json": "test_jws",
    "_helpers.weak_keys": "test_keys",
    "_helpers.pem_text": "test_keys",
    "_helpers.issuer_urls": "credentials/test_issuer_keys",
    "_credentials.issuer": "test_issuers",
    "_credentials.key_fetch": "credentials/test_issuer_keys",
    "_credentials.foreign_claims": "credentials/test_foreign_tokens",
    "_credentials.all_tokens": "request/test_issuers",
    "_credentials.verifiers": "request/test_issuers",
    "_credentials.issuer_names": "request/test_issuers",
    "_credentials.claims": "credentials/test_access_tokens",
    "_credentials.key_members": "credentials/test_key_states",
    "_credentials.key_rotation": "credentials/test_key_states",
    "_credentials.revocation": "test_jam",
    "_credentials.session_data": "credentials/test_sessions",
    "_request.app_state": "request/test_current_auth",
    "_request.status_codes": "test_refusal",
    "_request.negotiation": "request/test_login_redirect",
    "_request.login": "request/test_actions",
    "_request.token_login": "request/test_actions",
    "_request.session_login": "request/test_actions",
    "_request.conditions": "test_guards",
    "_request.views": "request/test_start_checks",
    "_request.flask_internals": "test_extensions",
    "_request.werkzeug_internals": "request/test_current_auth",
    "_request.basic_extension": "schemes/test_basic",
    "schemes.jwt": "schemes/test_transport",
    "schemes.session": "schemes/test_transport",
    "_request.own_api_keys": "request/test_api_key_extension",
    "_credentials.api_key_verbs": "credentials/test_api_keys",
    "stores.api_keys": "credentials/test_api_keys",
    "stores.interface": "stores/test_memory",
    "stores.ticket_verbs": "stores/test_tickets",
    "stores.memory_tickets": "stores/test_tickets",
    "stores._redis.tickets": "stores/test_tickets",
    "stores._redis.ticket_scripts": "stores/test_tickets",
    "testing.store_samples": "testing/test_stores",
    "testing.tickets": "testing/test_stores",
    "stores._memory_api_keys": "stores/test_memory",
    "stores._redis.api_keys": "stores/test_api_keys",
    "stores._redis.owner_index": "stores/test_owner_index",
    "stores._redis.api_key_scripts": "stores/test_api_keys",
    "stores._redis.near_api_keys": "stores/test_api_keys",
    "stores._redis.plain_api_keys": "stores/test_api_keys",
    "stores._redis.scripts": "stores/test_redis",
    "stores._redis.values": "stores/test_redis",
    "stores._redis.redis_internals": "stores/test_outage",
    "stores._redis.meter": "stores/test_stats",
    "stores._redis.name_lookup": "stores/test_deadlines",
    "stores._redis.plain_reads": "stores/test_plain_reads",
    "stores._redis.client": "stores/test_client",
    "stores._redis.invalidation": "stores/test_near",
    "stores._redis.near_cache": "stores/test_near",
    "testing.api_keys": "testing/test_stores",
}


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


@cache
def found(module: str) -> list[Import]:
    path = MODULES[module]
    return list(
        imports_of(path.read_text(encoding="utf-8"), module, is_package=path.stem == "__init__")
    )


def test_every_module_stands_in_the_table() -> None:
    assert set(MODULES) == set(ORDER), "put the new module into ORDER, at the rank that it has"


def test_what_a_user_imports_is_at_the_top() -> None:
    listed = {path.name for path in PACKAGE.iterdir() if not path.name.startswith(("_", "."))}
    importable = {name for name in listed if name != "py.typed"}
    assert len(importable) <= 18, importable


def test_the_tests_of_a_module_are_found_by_its_name() -> None:
    tests = Path(__file__).parent
    packages = {name for name, path in MODULES.items() if path.stem == "__init__"}
    for module in set(MODULES) - packages:
        default = "/".join(part.lstrip("_") for part in module.split("."))
        default = "/".join([*default.split("/")[:-1], f"test_{default.split('/')[-1]}"])
        found = TESTED_BY.get(module, default)
        assert (tests / f"{found}.py").is_file(), f"{module}: no tests/{found}.py"


def test_a_module_imports_only_what_stands_before_it() -> None:
    for module in MODULES:
        own = [(own_module(i.target), i.line) for i in found(module)]
        upward = [
            f"{module}:{line} imports {other or 'flask_jam'}"
            for other, line in own
            if other is not None and ORDER.index(other) >= ORDER.index(module)
        ]
        assert upward == []


def test_the_core_imports_nothing_of_flask() -> None:
    for module in ORDER[: ORDER.index(FIRST_WITH_FLASK)]:
        assert [i for i in found(module) if i.target.split(".")[0] in WEB] == [], module


def test_a_library_with_a_home_is_imported_nowhere_else() -> None:
    homeless = [
        f"{module}:{i.line} imports {i.target}"
        for module in MODULES
        for i in found(module)
        if module not in HOMES.get(i.target.split(".")[0], {module})
    ]
    assert homeless == []


def test_importing_the_package_needs_no_redis_and_no_extra() -> None:
    for module in set(MODULES) - LATE:
        at_once = [i for i in found(module) if i.at_once]
        assert [i for i in at_once if i.target.split(".")[0] in {"redis", "yaml"}] == [], module
        assert [i for i in at_once if own_module(i.target) in LATE] == [], module


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
