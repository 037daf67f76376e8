"""Loop over the cases of one rule inside one test.

``@each_case`` takes the arguments of ``pytest.mark.parametrize``. Several of them make a product.
The test runs once for each case, with new function-scoped fixtures, and counts as one test:

    @each_case("alg", ["none", "HS256"])
    @each_case("damage, status", [(cut, 401), (pad, 401)])
    def test_damaged_signature_is_refused(client, alg, damage, status): ...

A failure names every case that failed and shows the first. Run one case again with
``pytest FILE::TEST --case NAME``.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from _pytest.tmpdir import tmppath_result_key

Ids = Sequence[str] | Callable[[Any], object] | None


_FAILURES = (Exception, pytest.fail.Exception)


class Case(NamedTuple):
    """One value of an axis, or one combination of a product."""

    name: str
    arguments: dict[str, Any]


class CasesFailed(AssertionError):
    """One case or more failed; the cause is the first failure."""


def each_case(
    argnames: str | Sequence[str], argvalues: Iterable[Any], ids: Ids = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Run the decorated test once for each of ``argvalues``, inside one test."""
    if isinstance(argnames, str):
        names = [name.strip() for name in argnames.split(",") if name.strip()]
    else:
        names = list(argnames)
    values = list(argvalues)
    if isinstance(argnames, str) and len(names) == 1:
        values = [value if _is_param(value) else (value,) for value in values]
    axis = [_case(names, value, ids, n) for n, value in enumerate(values)]
    assert axis, "each_case needs at least one value"

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        axes = [axis, *getattr(test, "_case_axes", [])]
        body = test.__wrapped__ if hasattr(test, "_case_axes") else test
        return _looped(body, axes, vars(test))

    return decorate


def loop_inherited_cases(cls: type) -> type:
    """Turn ``parametrize`` on the inherited tests of a class into loops."""
    for name in dir(cls):
        test = getattr(cls, name)
        marks = getattr(test, "pytestmark", [])
        axes = [mark for mark in marks if mark.name == "parametrize"]
        for mark in axes:
            test = each_case(*mark.args, **mark.kwargs)(test)
        if axes:
            test.pytestmark = [mark for mark in marks if mark not in axes]
            setattr(cls, name, test)
    return cls


def _is_param(value: Any) -> bool:
    return type(value) is type(pytest.param())


def _case(names: list[str], value: Any, ids: Ids, n: int) -> Case:
    name = None
    if _is_param(value):
        assert not value.marks, "a case takes no marks"
        name, row = value.id, list(value.values)
    else:
        row = list(value)
    assert len(row) == len(names), f"{names} does not fit {row!r}"
    if name is None and ids is not None and not callable(ids):
        name = list(ids)[n]
    if name is None:
        name = "-".join(_name(one, ids) for one in row)
    return Case(str(name), dict(zip(names, row, strict=True)))


def _name(value: Any, ids: Ids) -> str:
    if callable(ids) and (given := ids(value)) is not None:
        return str(given)
    own = getattr(value, "__name__", None)
    shown = own if isinstance(own, str) else value if isinstance(value, str) else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _product(axes: list[list[Case]]) -> Iterator[Case]:
    for combination in itertools.product(*axes):
        arguments: dict[str, Any] = {}
        for case in combination:
            arguments |= case.arguments
        yield Case("-".join(case.name for case in combination), arguments)


def _looped(
    body: Callable[..., Any], axes: list[list[Case]], kept: dict[str, Any]
) -> Callable[..., Any]:
    taken = {name for axis in axes for name in axis[0].arguments}
    signature = inspect.signature(body)
    unknown = taken - set(signature.parameters)
    assert not unknown, f"{body.__name__} has no argument {sorted(unknown)}"
    shown = [entry for name, entry in signature.parameters.items() if name not in taken]
    fixtures = [entry.name for entry in shown if entry.name != "self"]
    if "request" not in fixtures:
        shown.append(inspect.Parameter("request", inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(body)
    def test(*positional: Any, request: pytest.FixtureRequest, **_: Any) -> None:
        item: Any = request.node
        cases = list(_product(axes))
        if wanted := item.config.getoption("case", None):
            cases = [case for case in cases if case.name == wanted]
            if not cases:
                pytest.skip(f"no case is called {wanted}")
        failed: list[tuple[str, BaseException]] = []
        skipped: list[tuple[str, str]] = []
        for n, case in enumerate(cases):
            try:
                if n:
                    _set_up(item)
                body(*positional, **{name: item.funcargs[name] for name in fixtures},
                     **case.arguments)  # fmt: skip
            except pytest.skip.Exception as reason:
                skipped.append((case.name, str(reason)))
            except _FAILURES as error:
                failed.append((case.name, error))
            try:
                if n + 1 < len(cases):  # pytest tears down after the last one
                    _tear_down(item)
            except _FAILURES as error:
                failed.append((f"{case.name} (teardown)", error))
        if failed:
            names = "\n  ".join(name for name, _ in failed)
            message = f"{len(failed)} of {len(cases)} cases failed, the first is shown:\n  {names}"
            raise CasesFailed(message) from failed[0][1]
        if skipped:
            name, why = skipped[0]
            pytest.skip(f"{len(skipped)} of {len(cases)} cases, the first is {name}: {why}")

    vars(test).update({name: value for name, value in kept.items() if name != "__wrapped__"})
    test.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
    test._case_axes = axes  # type: ignore[attr-defined]
    return test


def _tear_down(item: Any) -> None:
    """Tear down the test's function-scoped fixtures, as pytest does after a test."""
    phases = item.stash.get(tmppath_result_key, {})
    if "caplog" in item.funcargs:
        item.funcargs["caplog"].clear()
    try:
        item.session._setupstate.teardown_exact(item.parent)
    finally:
        item.stash[tmppath_result_key] = phases  # tmp_path deletes it


def _set_up(item: Any) -> None:
    """Set them up again, as pytest does before a test."""
    item._initrequest()
    item.session._setupstate.setup(item)
