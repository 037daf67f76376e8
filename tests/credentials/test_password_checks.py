"""A checked password is remembered for a minute, until its subject is revoked, and never kept."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any

import pytest

from flask_jam import ConfigError, Jam, Reason, TokenError
from flask_jam._credentials import password_checks
from flask_jam._credentials.password_checks import PasswordChecks

from ..cases import each_case
from ..conftest import Clock
from ..helpers.test_fork_lock import forked, needs_fork

MINUTE = 60.0


class Users:
    """A table of an application: names, passwords and subjects; it counts how often it is asked."""

    def __init__(self, **passwords: str) -> None:
        self.passwords = passwords
        self.ids: dict[str, str] = {}
        self.asked: list[str] = []
        #: Called while a password is being checked, after it was looked up.
        self.meanwhile: Callable[[], object] = lambda: None

    def check(self, name: str, password: str) -> str | None:
        self.asked.append(name)
        is_right = self.passwords.get(name) == password
        self.meanwhile()
        return self.ids.get(name, name) if is_right else None


@pytest.fixture
def users() -> Users:
    return Users(ann="pw:of ann", bob="pw of bob")


@pytest.fixture
def timer() -> Clock:
    return Clock(5.0)


@pytest.fixture
def checks(users: Users, jam: Jam, clock: Clock, timer: Clock) -> PasswordChecks:
    return PasswordChecks(users.check, jam.store, clock, timer)


def refusal(checks: PasswordChecks, name: str, password: str) -> Reason:
    with pytest.raises(TokenError) as caught:
        checks.subject_of(name, password)
    assert caught.value.args == (caught.value.reason, "the token is not valid")
    assert caught.value.__cause__ is None
    return caught.value.reason


def test_a_success_is_asked_once_a_minute(
    checks: PasswordChecks, users: Users, clock: Clock, timer: Clock
) -> None:
    for passed in (0, 0, 30, 29.9, 0.1, 1):
        clock.tick(passed)
        timer.tick(passed)
        assert checks.subject_of("ann", "pw:of ann") == "ann"
    assert len(users.asked) == 2


@each_case(("wall", "monotonic"), [(60, 0), (0, 60), (-1, 1), (10**9, 1), (-(10**9), 1)])
def test_a_moved_clock_makes_no_success_live_longer(
    checks: PasswordChecks, users: Users, clock: Clock, timer: Clock, wall: float, monotonic: float
) -> None:
    checks.subject_of("ann", "pw:of ann")
    users.passwords["ann"] = "new"
    clock.tick(wall)
    timer.tick(monotonic)
    assert refusal(checks, "ann", "pw:of ann") is Reason.INVALID


def test_the_minute_counts_from_the_begin_of_the_check(
    checks: PasswordChecks, users: Users, clock: Clock
) -> None:
    users.meanwhile = lambda: clock.tick(40)
    checks.subject_of("ann", "pw:of ann")
    clock.tick(20)
    checks.subject_of("ann", "pw:of ann")
    assert len(users.asked) == 2


def test_a_failure_is_never_remembered(checks: PasswordChecks, users: Users) -> None:
    for name in ("ann", "ann", "unknown", "unknown"):
        assert refusal(checks, name, "wrong") is Reason.INVALID
    users.passwords["ann"] = "wrong"
    assert checks.subject_of("ann", "wrong") == "ann"
    assert users.asked == ["ann", "ann", "unknown", "unknown", "ann"]


def test_name_and_password_are_told_apart(checks: PasswordChecks, users: Users) -> None:
    users.passwords = {"ab": "c"}
    assert checks.subject_of("ab", "c") == "ab"
    for name, password in (("a", "bc"), ("abc", ""), ("", "abc"), ("ab", "c "), ("AB", "c")):
        assert refusal(checks, name, password) is Reason.INVALID


@each_case("verb", ["revoke_subject", "end_logins"])
@each_case("subject", ["ann", "user-1"])
def test_a_revoked_subject_is_asked_for_the_password_at_once(
    checks: PasswordChecks, users: Users, jam: Jam, verb: str, subject: str
) -> None:
    users.ids = {"ann": subject}
    for name, password in (("ann", "pw:of ann"), ("bob", "pw of bob")):
        checks.subject_of(name, password)
    users.passwords = {"ann": "new", "bob": "new"}
    getattr(jam, verb)(subject)
    assert refusal(checks, "ann", "pw:of ann") is Reason.INVALID
    assert checks.subject_of("bob", "pw of bob") == "bob"
    assert checks.subject_of("ann", "new") == subject


@each_case("subject", ["ann", "user-1"])
def test_an_old_password_that_is_revoked_during_its_check_is_refused(
    checks: PasswordChecks, users: Users, jam: Jam, subject: str
) -> None:
    users.ids = {"ann": subject}

    def change_password() -> None:
        users.passwords["ann"] = "new"
        users.meanwhile = lambda: None
        jam.revoke_subject(subject)

    users.meanwhile = change_password
    assert refusal(checks, "ann", "pw:of ann") is Reason.INVALID
    assert len(users.asked) == 2


def test_a_revocation_during_each_check_is_a_refusal(
    checks: PasswordChecks, users: Users, jam: Jam
) -> None:
    users.meanwhile = lambda: jam.revoke_subject("ann")
    assert refusal(checks, "ann", "pw:of ann") is Reason.REVOKED
    assert len(users.asked) == 2


@each_case("ahead", [-5, 0, 10**6])
def test_a_cut_off_of_any_clock_leaves_a_later_success_remembered(
    checks: PasswordChecks, users: Users, jam: Jam, clock: Clock, ahead: float
) -> None:
    users.ids = {"ann": "user-1"}
    clock.tick(ahead)
    jam.revoke_subject("user-1")
    clock.tick(-ahead)
    for _ in range(3):
        assert checks.subject_of("ann", "pw:of ann") == "user-1"
    assert len(users.asked) == 2  # the first could not know whose cut-off to read before it


def test_requests_of_one_client_at_once_cost_one_check(
    checks: PasswordChecks, users: Users
) -> None:
    together = Barrier(8)

    def ask(_: int) -> str:
        together.wait(10)
        return checks.subject_of("ann", "pw:of ann")

    users.meanwhile = lambda: Event().wait(0.05)
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(ask, range(8))) == {"ann"}
    assert users.asked == ["ann"]


def test_a_check_that_fails_lets_the_waiting_ones_make_their_own(
    checks: PasswordChecks, users: Users
) -> None:
    together = Barrier(4)

    def ask(_: int) -> Reason:
        together.wait(10)
        return refusal(checks, "ann", "wrong")

    users.meanwhile = lambda: Event().wait(0.05)
    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(ask, range(4))) == {Reason.INVALID}
    assert len(users.asked) == 4
    assert not checks._under_way


def test_a_check_that_raises_is_not_waited_for_again(checks: PasswordChecks, users: Users) -> None:
    def fail() -> None:
        raise OSError("the database is away")

    users.meanwhile = fail
    with pytest.raises(OSError, match="database"):
        checks.subject_of("ann", "pw:of ann")
    users.meanwhile = lambda: None
    assert checks.subject_of("ann", "pw:of ann") == "ann"


def test_what_is_remembered_is_bounded_and_holds_no_password(
    users: Users, jam: Jam, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(password_checks, "MOST", 3)
    checks = PasswordChecks(lambda name, password: name, jam.store, clock)
    for number in range(10):
        checks.subject_of(f"user-{number}", "swordfish")
    assert checks._known.info().currsize == 3
    kept = repr((vars(checks), vars(checks._known)))
    assert "user-9" in kept
    assert "swordfish" not in kept


@each_case(
    "returned", [True, False, 1, 0, "", b"ann", ["ann"], ("ann",), "x" * 1025, "\udcff", object()]
)
def test_a_check_that_returns_no_subject_is_an_error(jam: Jam, clock: Clock, returned: Any) -> None:
    checks = PasswordChecks(lambda *_: returned, jam.store, clock)
    with pytest.raises(ConfigError, match="check") as caught:
        checks.subject_of("ann", "swordfish")
    assert "swordfish" not in str(caught.value)
    assert not checks._known.info().currsize


def test_a_coroutine_is_an_error_and_closed(jam: Jam, clock: Clock) -> None:
    async def check(name: str, password: str) -> str:
        return name

    checks = PasswordChecks(lambda *pair: check(*pair), jam.store, clock)  # type: ignore[arg-type,return-value]
    with pytest.raises(ConfigError, match="got coroutine"):
        checks.subject_of("ann", "swordfish")


def test_a_token_in_the_place_of_the_password_is_verified_by_the_check(
    jam: Jam, clock: Clock
) -> None:
    def check(name: str, password: str) -> str:
        return str(jam.verify_jwt_token(password)["sub"])

    checks = PasswordChecks(check, jam.store, clock)
    token = jam.issue_tokens("ann")["access_token"]
    assert checks.subject_of("x-token", token) == "ann"
    assert refusal(checks, "x-token", "a.b.c") is Reason.INVALID


@each_case("end", ["it expires", "it is revoked", "its session ends", "it is redeemed", "a key"])
def test_a_credential_in_the_place_of_the_password_ends_at_once(
    jam: Jam, clock: Clock, timer: Clock, end: str
) -> None:
    def check(name: str, password: str) -> str | None:
        if end == "its session ends":
            return "ann" if jam.get_session(password) is not None else None
        if end == "it is redeemed":
            return jam.redeem_ticket("basic", password).subject
        if end == "a key":
            return jam.api_keys.lookup(password).owner
        return str(jam.verify_jwt_token(password)["sub"])

    token = jam.issue_tokens("ann", expires_in=20)["access_token"]
    key, info = jam.create_api_key("ann", name="script")
    value, make_an_end = {
        "it expires": (token, lambda: clock.tick(50)),
        "it is revoked": (token, lambda: jam.revoke_token(token)),
        "its session ends": (jam.create_session("ann", {}), lambda: jam.clear_sessions("ann")),
        "a key": (key, lambda: jam.revoke_api_key("ann", info.handle)),
        "it is redeemed": (jam.issue_ticket("basic", "ann", expires_in=60), lambda: None),
    }[end]
    checks = PasswordChecks(check, jam.store, clock, timer)
    assert checks.subject_of("ann", value) == "ann"
    make_an_end()
    assert refusal(checks, "ann", value) is Reason.INVALID


@pytest.mark.slow
@needs_fork
def test_a_forked_child_has_another_key_and_remembers_nothing(
    checks: PasswordChecks, users: Users
) -> None:
    checks.subject_of("ann", "pw:of ann")
    key = checks._key

    def child() -> bool:
        is_new = checks._key != key and not checks._known.info().currsize
        checks.subject_of("ann", "pw:of ann")
        return is_new and len(users.asked) == 2

    assert forked(child) == 0
    assert checks._key == key
    checks.subject_of("ann", "pw:of ann")
    assert len(users.asked) == 1
