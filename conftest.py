"""The two tiers of tests: without a path and without ``-m``, pytest runs the quick one."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
COMMAND = ".venv/bin/pip install -q -e '.[test-all]' && .venv/bin/python -m pytest --all"
#: What takes long or needs a server, a browser or a package of ``[test-all]``.
TIERS = ("attack", "redis", "browser", "slow")
FOLDERS = {
    "tests/attacks": ["attack"],
    "tests/browser": ["browser"],
    "tests/beside/heavy": ["slow"],
    "tests/benchmarks": ["slow"],
    "tests/examples/test_site": ["slow"],
}
#: A test that takes one of these talks to a redis-server.
ON_REDIS = {"redis_server", "redis_jam", "each_server", "three_nodes"}
ON_BACKEND = {"redis", "near"}

#: Files that import packages of ``[test-all]`` at once.
OPENAPI = ("apispec", "flask_smorest", "openapi_spec_validator")
BESIDE = (
    "apiflask", "flask_admin", "flask_caching", "flask_cors", "flask_limiter", "flask_restful",
    "flask_restx", "flask_smorest", "flask_sock", "flask_socketio", "flask_wtf",
)  # fmt: skip
NEEDS = {
    "docs/basic.rst": ("flask_limiter",),
    "docs/beside.rst": BESIDE,
    "docs/moving/flask-jwt-extended.rst": ("flask_jwt_extended",),
    "docs/openapi.rst": OPENAPI,
    "docs/operations.rst": ("prometheus_client",),
    "docs/second-factor.rst": ("flask_limiter", "pyotp"),
    "docs/social-login.rst": ("authlib", "requests"),
    "docs/throttling.rst": ("flask_limiter",),
    "tests/browser/test_links.py": ("flask_limiter",),
    "tests/browser/test_site.py": ("flask_limiter",),
    "tests/browser/test_site_pages.py": ("flask_limiter",),
    "tests/docs/test_tutorial.py": ("flask_sqlalchemy",),
    "tests/docs/test_tutorial_deployed.py": ("flask_sqlalchemy", "gunicorn"),
    "tests/examples/test_site.py": ("flask_limiter",),
    "tests/examples/test_site_devices.py": ("flask_limiter",),
    "tests/examples/test_site_forms.py": ("flask_limiter",),
    "tests/examples/test_site_links.py": ("flask_limiter",),
    "tests/test_openapi_libraries.py": OPENAPI,
}

#: The marks of a whole file, as most write them.
FILE_MARKS = re.compile(r"^pytestmark = (.*)$", re.MULTILINE)

_left_out = pytest.StashKey["Counter[str]"]()
_unread = pytest.StashKey[list[str]]()
_ignored = pytest.StashKey[set[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tiers")
    group.addoption("--all", action="store_true", help="run every test, not only the quick tier")
    group.addoption("--case", metavar="NAME", help="run only this case of an @each_case test")
    group.addoption(
        "--no-skips", action="store_true",
        help="fail a test that skips because a package or program is missing",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_ignored], config.stash[_unread] = set(), []
    if is_quick(config) and config.pluginmanager.has_plugin("hypothesispytest"):
        import hypothesis  # noqa: PLC0415 - the plugin has imported it

        hypothesis.settings.register_profile("quick", max_examples=15)
        hypothesis.settings.load_profile("quick")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out a file whose packages are missing, unless it is named or nothing may be skipped."""
    if not collection_path.is_relative_to(ROOT):
        return None
    name = collection_path.relative_to(ROOT).as_posix()
    if is_quick(config) and collection_path.suffix == ".py" and is_left_out(collection_path, name):
        config.stash[_unread].append(name)
        return True
    if config.option.no_skips or any(name in argument for argument in config.args):
        return None
    if all(importlib.util.find_spec(module) for module in NEEDS.get(name, ())):
        return None
    folders = [config.invocation_params.dir / argument for argument in config.args]
    if any(collection_path.is_relative_to(folder) for folder in folders):
        config.stash[_ignored].add(name)
    return True


def is_left_out(path: Path, name: str) -> bool:
    """Return True if every test of a file has a marker that the quick tier leaves out.

    Such a file is not imported: rewriting the assertions of all takes many seconds.
    """
    if not path.name.startswith("test_"):
        return False
    marks = FILE_MARKS.findall(path.read_text(encoding="utf-8"))
    in_file = any(f"pytest.mark.{tier}" in line for line in marks for tier in TIERS)
    return in_file or any(name.startswith(folder) for folder in FOLDERS)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.config.option.no_skips and "needs " in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"--no-skips: {report.longrepr}"
    return report


def pytest_itemcollected(item: pytest.Item) -> None:
    folder = item.path.relative_to(ROOT).as_posix()
    names = {name for start, marks in FOLDERS.items() if folder.startswith(start) for name in marks}
    values = getattr(getattr(item, "callspec", None), "params", {})
    if ON_REDIS & set(getattr(item, "fixturenames", ())) or values.get("backend") in ON_BACKEND:
        names.add("redis")
    for name in names:
        item.add_marker(name)


def is_quick(config: pytest.Config) -> bool:
    """Return True if neither a path, nor ``-m``, nor ``--all`` chooses the tests."""
    named = config.args_source == pytest.Config.ArgsSource.ARGS
    return not (named or config.option.markexpr or config.option.all)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not is_quick(config):
        return
    left_out = [item for item in items if any(map(item.get_closest_marker, TIERS))]
    gone = set(left_out)
    items[:] = [item for item in items if item not in gone]
    config.hook.pytest_deselected(items=left_out)
    config.stash[_left_out] = Counter(
        name for item in left_out for name in TIERS if item.get_closest_marker(name)
    )
    config.stash[_left_out]["all"] = len(left_out)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    left_out, ignored = config.stash.get(_left_out, None), config.stash[_ignored]
    unread = len(config.stash[_unread])
    if not left_out and not ignored and not unread:
        return
    terminalreporter.write_sep("-", "left out")
    if left_out:
        counts = ", ".join(f"{left_out[name]} {name}" for name in TIERS if left_out[name])
        terminalreporter.write_line(
            f"The quick tier left out {left_out['all']} tests by marker: {counts}."
        )
    if unread:
        terminalreporter.write_line(f"It left out whole files, too: {unread}.")
    if ignored:
        terminalreporter.write_line(f"Packages are missing for {', '.join(sorted(ignored))}.")
    terminalreporter.write_line(f"Run everything: {COMMAND}")
