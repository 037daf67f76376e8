"""API keys: what each verb of ``Jam`` promises, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import pytest

from flask_jam import ApiKeyInfo, ConfigError, Jam, Reason, TokenError
from flask_jam._credentials.api_key_text import new_key
from flask_jam.stores.api_keys import KEEP_ENDED
from flask_jam.stores.interface import slot_of
from flask_jam.stores.memory import MemoryStore

from ..conftest import Clock

DAY = 86_400.0
NOW = 1_800_000_000.0


@pytest.fixture
def jam(make_jam: Callable[..., Jam]) -> Jam:
    return make_jam()


def refused(verb: Callable[..., Any], *arguments: Any, **named: Any) -> Reason:
    with pytest.raises(TokenError) as caught:
        verb(*arguments, **named)
    return caught.value.reason


def test_a_key_carries_what_it_was_created_with(jam: Jam) -> None:
    data = {"team": [1, {"deep": None}]}
    key, info = jam.create_api_key(
        "ann", name="backup", scopes={"b:w", "a:r"}, roles={"ops"}, expires_in=60, data=data
    )
    found = jam.api_keys.lookup(key)
    assert (found.owner, found.name, found.scopes) == ("ann", "backup", ("a:r", "b:w"))
    assert (found.roles, found.data, found.handle) == (("ops",), data, info.handle)
    assert info == (
        info.handle, "backup", ("a:r", "b:w"), ("ops",), NOW, NOW + 60, None, data,
    )  # fmt: skip
    assert info.data is not None
    info.data["team"].append("a change of the caller's")
    assert jam.list_api_keys("ann")[0].data == data


def test_a_key_without_an_end_has_none(jam: Jam, clock: Clock) -> None:
    key, info = jam.create_api_key("ann", name="backup")
    clock.now += 30 * 365 * DAY
    assert jam.api_keys.lookup(key).owner == "ann"
    assert info.expires_at is None
    assert info.data is None


def test_a_key_expires_on_time_and_leaves_the_list(jam: Jam, clock: Clock) -> None:
    key, _ = jam.create_api_key("ann", name="backup", expires_in=timedelta(minutes=1))
    clock.now += 59.9
    assert jam.api_keys.lookup(key)
    clock.now = NOW + 60
    assert refused(jam.api_keys.lookup, key) is Reason.EXPIRED
    assert jam.list_api_keys("ann") == []
    assert refused(jam.api_keys.lookup, key) is Reason.EXPIRED


def test_the_last_use_is_exact_to_a_minute(jam: Jam, clock: Clock) -> None:
    key, _ = jam.create_api_key("ann", name="backup")

    def last_used() -> float | None:
        return jam.list_api_keys("ann")[0].last_used_at

    assert last_used() is None
    jam.api_keys.lookup(key)
    clock.now += 59
    jam.api_keys.lookup(key)
    assert last_used() == NOW
    clock.now += 1
    jam.api_keys.lookup(key)
    assert last_used() == NOW + 60


def test_a_wrong_secret_is_no_use_of_the_key_and_learns_nothing(jam: Jam, clock: Clock) -> None:
    key, info = jam.create_api_key("ann", name="backup", expires_in=60)
    forged = with_secret_of(new_key("jam", slot_of("ann")), key)
    assert refused(jam.api_keys.lookup, forged) is Reason.INVALID
    assert jam.list_api_keys("ann")[0].last_used_at is None
    clock.now += 60
    assert refused(jam.api_keys.lookup, forged) is Reason.INVALID
    jam.revoke_api_key("ann", info.handle)
    assert refused(jam.api_keys.lookup, forged) is Reason.INVALID


def with_secret_of(other: str, key: str) -> str:
    """Return a text with the id of a key, another secret and a right checksum."""
    from flask_jam._credentials.api_key_text import _BODY, _CHECKSUM, _ID, _checksum

    body = key[: -_BODY + _ID] + other[-_BODY + _ID : -_CHECKSUM]
    return body + _checksum(body)


class Counting(MemoryStore):
    reads = 0

    def read_api_key(self, key: str, digest: str, now: float) -> Any:
        self.reads += 1
        return super().read_api_key(key, digest, now)


def test_only_a_right_checksum_asks_the_store(make_jam: Callable[..., Jam]) -> None:
    store = Counting()
    jam = make_jam(store=store)
    key, _ = jam.create_api_key("ann", name="backup")
    wrong: list[Any] = [
        "", "jam_", key[:-1], key + "A", key + key, key.upper(), key.lower(), f" {key}", f"{key}\n",
        "other" + key[3:], key[:20] + ("B" if key[20] == "A" else "A") + key[21:], key[:-1] + "é",
        key.replace("_", "-"), key[:4] + "\0" * 65, "x" * 10_000_000, None, 7, key.encode(), [key],
    ]  # fmt: skip
    for text in wrong:
        assert refused(jam.api_keys.lookup, text) is Reason.INVALID
    assert store.reads == 0
    assert refused(jam.api_keys.lookup, new_key("jam", slot_of("ann"))) is Reason.INVALID
    assert store.reads == 1


def test_the_form_of_a_key_is_checked_once(jam: Jam, monkeypatch: pytest.MonkeyPatch) -> None:
    key, info = jam.create_api_key("ann", name="backup")
    jam.api_keys.lookup(key)
    monkeypatch.setattr("flask_jam._credentials.api_keys.is_key", lambda *_: pytest.fail("again"))
    assert jam.api_keys.lookup(key)
    # What may change is asked for each time.
    jam.revoke_api_key("ann", info.handle)
    assert refused(jam.api_keys.lookup, key) is Reason.REVOKED


def test_a_rotation_keeps_rights_and_expiry(jam: Jam, clock: Clock) -> None:
    old, info = jam.create_api_key(
        "ann", name="backup", scopes={"a:r"}, roles={"ops"}, expires_in=100, data={"n": 1}
    )
    jam.api_keys.lookup(old)
    clock.now += 10
    new, made = jam.rotate_api_key("ann", info.handle)
    assert made == (
        made.handle, "backup", ("a:r",), ("ops",), NOW + 10, NOW + 100, None, {"n": 1},
    )  # fmt: skip
    assert jam.list_api_keys("ann") == [made]
    assert jam.api_keys.lookup(new).handle == made.handle != info.handle
    assert refused(jam.api_keys.lookup, old) is Reason.REVOKED


def test_the_old_key_is_good_for_the_overlap_and_no_longer(jam: Jam, clock: Clock) -> None:
    old, info = jam.create_api_key("ann", name="backup", expires_in=100)
    new, made = jam.rotate_api_key("ann", info.handle, overlap=timedelta(seconds=30))
    clock.now += 29
    assert jam.api_keys.lookup(old)
    assert [key.expires_at for key in jam.list_api_keys("ann")] == [NOW + 30, NOW + 100]
    clock.now += 1
    assert refused(jam.api_keys.lookup, old) is Reason.EXPIRED
    assert jam.api_keys.lookup(new)
    # An overlap never prolongs a life.
    last, _ = jam.rotate_api_key("ann", made.handle, overlap=1000)
    clock.now = NOW + 100
    assert [refused(jam.api_keys.lookup, key) for key in (new, last)] == [Reason.EXPIRED] * 2


def test_a_second_rotation_names_the_successor_of_the_first(jam: Jam, clock: Clock) -> None:
    for overlap in (0, 60):
        _, info = jam.create_api_key("ann", name="backup")
        _, made = jam.rotate_api_key("ann", info.handle, overlap=overlap)
        with pytest.raises(TokenError, match=made.handle) as caught:
            jam.rotate_api_key("ann", info.handle)
        assert caught.value.reason is Reason.REUSED
        assert jam.rotate_api_key("ann", made.handle)


def test_only_a_living_key_of_the_subject_is_rotated(jam: Jam, clock: Clock) -> None:
    _, revoked = jam.create_api_key("ann", name="revoked")
    jam.revoke_api_key("ann", revoked.handle)
    assert refused(jam.rotate_api_key, "ann", revoked.handle) is Reason.REVOKED
    _, expired = jam.create_api_key("ann", name="expired", expires_in=1)
    assert refused(jam.rotate_api_key, "bob", expired.handle) is Reason.INVALID
    clock.now += 1
    assert refused(jam.rotate_api_key, "ann", expired.handle) is Reason.EXPIRED
    for handle in ("", "nothing", "a:b", "{aa}", "x" * 1000, "é", None, 7):
        assert refused(jam.rotate_api_key, "ann", handle) is Reason.INVALID
        assert jam.revoke_api_key("ann", handle) is False  # type: ignore[arg-type]
    assert jam.list_api_keys("ann") == []


def test_a_revoked_key_is_dead_and_reported_once(jam: Jam) -> None:
    key, info = jam.create_api_key("ann", name="backup")
    heard: list[Any] = []
    jam.subscribe(lambda event, what: heard.append((event, what)))
    assert jam.revoke_api_key("bob", info.handle) is False
    assert jam.api_keys.lookup(key)
    assert jam.revoke_api_key("ann", info.handle) is True
    assert jam.revoke_api_key("ann", info.handle) is False
    assert heard == [("revoked", {"kind": "api_key", "subject": "ann", "issuer": None})]
    assert refused(jam.api_keys.lookup, key) is Reason.REVOKED
    assert jam.list_api_keys("ann") == []


def test_a_rotation_is_no_revocation(jam: Jam) -> None:
    _, info = jam.create_api_key("ann", name="backup")
    heard: list[Any] = []
    jam.subscribe(lambda event, what: heard.append(event))
    jam.rotate_api_key("ann", info.handle)
    assert heard == []


def test_revoke_subject_ends_keys_and_end_logins_does_not(jam: Jam) -> None:
    key, _ = jam.create_api_key("ann", name="backup")
    other, _ = jam.create_api_key("bob", name="backup")
    jam.end_logins("ann")
    jam.clear_sessions("ann")
    assert jam.api_keys.lookup(key)
    jam.revoke_subject("ann")
    assert refused(jam.api_keys.lookup, key) is Reason.REVOKED
    assert jam.list_api_keys("ann") == []
    assert jam.api_keys.lookup(other)
    # One that is created after it works at once.
    later, _ = jam.create_api_key("ann", name="another")
    assert jam.api_keys.lookup(later)


def test_a_key_without_an_end_never_comes_back(make_jam: Any, clock: Clock) -> None:
    class NeverSwept(MemoryStore):
        def list_api_keys(self, *_: Any) -> Any:
            from flask_jam.stores.api_keys import ApiKeyPage

            return ApiKeyPage()

    jam = make_jam(store=NeverSwept())
    key, _ = jam.create_api_key("ann", name="backup")
    jam.revoke_subject("ann")
    for years in (0, 1, 2, 50):
        clock.now = NOW + years * 365 * DAY
        assert refused(jam.api_keys.lookup, key) is Reason.REVOKED


def test_subjects_of_two_issuers_have_two_lists(jam: Jam) -> None:
    own, info = jam.create_api_key("ann", name="own")
    foreign, made = jam.create_api_key("ann", name="foreign", issuer="https://idp.example")
    assert jam.list_api_keys("ann") == [info]
    assert jam.list_api_keys("ann", issuer="https://idp.example") == [made]
    assert jam.revoke_api_key("ann", made.handle) is False
    jam.revoke_subject("ann")
    assert refused(jam.api_keys.lookup, own) is Reason.REVOKED
    new, _ = jam.rotate_api_key("ann", made.handle, issuer="https://idp.example")
    assert jam.api_keys.lookup(new).owner != "ann"
    assert refused(jam.api_keys.lookup, foreign) is Reason.REVOKED


class Colour(Enum):
    RED = 1


BAD: dict[str, list[Any]] = {
    "name": ["", None, 7, b"x", "x" * 257, "a\nb", "a\0b", "\u202e", "\ud800", ["x"]],
    "scopes": ["a:r", [""], [7], ["a b"], ['"'], None, 7],
    "roles": ["admin", [""], [None], b"x", 7],
    "expires_in": [0, -1, 0.5, True, "60", float("nan"), float("inf"), 1e300, timedelta(0)],
    "data": [[], "x", {1: 2}, {"x": {1}}, {"x": float("nan")}, {"x": Colour.RED},
             {"x": datetime(2026, 1, 1)}, {"x": "y" * 4096}, {"x": "\ud800"}],
    "issuer": ["", 7, "a\nb", "x" * 257],
}  # fmt: skip


@pytest.mark.parametrize("argument", BAD)
def test_an_argument_that_cannot_be_kept_is_refused_with_a_sentence(
    argument: str, jam: Jam
) -> None:
    for value in BAD[argument]:
        with pytest.raises((TokenError, ConfigError)) as caught:
            jam.create_api_key("ann", **{"name": "backup", argument: value})
        # It names the argument, and repeats nothing of the value.
        assert argument in str(caught.value)
        assert len(str(caught.value)) < 200
    assert jam.list_api_keys("ann") == []


def test_other_arguments_are_checked_by_every_verb(jam: Jam) -> None:
    _, info = jam.create_api_key("ann", name="backup")
    for subject in ("", None, 7, "x" * 1025, "\ud800"):
        for verb, arguments in (
            (lambda s: jam.create_api_key(s, name="x"), ()),
            (jam.list_api_keys, ()),
            (jam.rotate_api_key, (info.handle,)),
            (jam.revoke_api_key, (info.handle,)),
        ):
            assert refused(verb, subject, *arguments) is Reason.INVALID
    for overlap in (-1, True, None, "60", float("nan"), 1e300):
        assert refused(jam.rotate_api_key, "ann", info.handle, overlap=overlap) is Reason.INVALID
    most = [f"scope:{n:0>200}" for n in range(21)]
    assert refused(jam.create_api_key, "ann", name="x", scopes=most) is Reason.TOO_LARGE
    assert refused(jam.create_api_key, "ann", name="x", roles=["\ud800"]) is Reason.INVALID
    assert jam.list_api_keys("ann") == [info]


def test_no_repr_and_no_message_shows_a_key_or_its_hash(jam: Jam) -> None:
    key, info = jam.create_api_key("ann", name="backup", data={"secret": "hunter2"})
    record = jam.api_keys.lookup(key)
    shown = f"{info!r} {info} {record!r} {record}"
    for secret in (key, key[-40:], record.digest, "hunter2"):
        assert secret not in shown
    assert info.handle in shown
    assert isinstance(info, ApiKeyInfo)


def test_what_has_ended_is_forgotten_after_a_day(make_jam: Any, clock: Clock) -> None:
    jam = make_jam()
    for number in range(600):
        _, info = jam.create_api_key("ann", name="backup", expires_in=5)
        if number % 2:
            jam.revoke_api_key("ann", info.handle)
    clock.now += KEEP_ENDED + 10
    for _ in range(600):
        jam.create_api_key("ann", name="backup")
    assert jam.stats()["store"]["api_keys"] <= 1024
