"""The conformance tests of stores for API keys: a part of :mod:`flask_jam.testing.stores`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..stores.api_keys import COALESCE, ApiKey, ApiKeyPage, KeyRotation, NewKey
from ..stores.interface import STEP, Store, owner_of
from .store_samples import ANY_JSON, NAMES, SLOT, at, at_once


def a_key(now: float, ident: str = "k", /, **changes: Any) -> ApiKey:
    """Return an API key of ``ann``, created now."""
    key = ApiKey(
        key=at(ident),
        owner="ann",
        digest=f"digest-of-{ident}",
        name="backup",
        scopes=("a:r", "b:w"),
        roles=("ops",),
        created_at=now,
        expires_at=now + 100.0,
        data={"n": 0},
    )
    return replace(key, **changes)


def key_pages(store: Store, now: float, owner: str = "ann") -> Iterator[ApiKeyPage]:
    """Yield the pages of an owner's API keys."""
    after: str | None = ""
    while after is not None:
        page = store.list_api_keys(SLOT, owner, now, after)
        yield page
        after = page.after


def listed_keys(store: Store, now: float, owner: str = "ann") -> list[ApiKey]:
    """Return the valid API keys of an owner, the oldest first."""
    return [key for page in key_pages(store, now, owner) for key in page.living]


class ApiKeyConformance:
    """The tests of the verbs for API keys. :class:`StoreConformance` inherits them."""

    @staticmethod
    def _read(store: Store, name: str, now: float) -> ApiKey | None:
        return store.read_api_key(at(name), f"digest-of-{name}", now)

    @classmethod
    def _is_alive(cls, store: Store, name: str, now: float) -> bool:
        found = cls._read(store, name, now)
        return found is not None and found.alive(now)

    @staticmethod
    def _rotate(  # noqa: PLR0913, PLR0917 - as the verb
        store: Store, old: str, new: str, now: float, overlap: float = 0.0, owner: str = "ann"
    ) -> KeyRotation:
        return store.rotate_api_key(
            at(old), owner, NewKey(at(new), f"digest-of-{new}"), now, overlap
        )

    @staticmethod
    def _end(store: Store, name: str, now: float, attempt: str = "1", owner: str = "ann") -> bool:
        return store.end_api_key(at(name), owner, now, attempt)

    def test_an_api_key_is_read_as_it_was_created(self, store: Store, now: float) -> None:
        created = [
            a_key(now + 0.25, "k1", data=ANY_JSON, name="ümlaut ✓ 𝄞"),
            a_key(now + 0.125, "k2", owner=owner_of("ann", "https://idp.example"), data=None),
            a_key(now, "k3", expires_at=math.inf, scopes=(), roles=(), cut_off=3.5, data={}),
        ]
        assert all(store.create_api_key(key) for key in created)
        for key in created:
            assert store.read_api_key(key.key, "another digest", now + 1) == key
            assert key in listed_keys(store, now + 1, key.owner)
        assert [key.key for key in listed_keys(store, now + 1)] == [at("k3"), at("k1")]

    def test_an_unknown_api_key_is_none_and_a_read_makes_none(
        self, store: Store, now: float
    ) -> None:
        assert self._read(store, "k", now) is None
        assert listed_keys(store, now) == []
        assert self._rotate(store, "k", "k2", now) == KeyRotation()
        assert self._end(store, "k", now) is False
        assert self._read(store, "k2", now) is None

    def test_a_use_of_an_api_key_is_noted_once_a_minute(self, store: Store, now: float) -> None:
        store.create_api_key(a_key(now, expires_at=now + 1000))
        store.read_api_key(at("k"), "another digest", now)
        assert listed_keys(store, now)[0].last_used_at is None
        for after, noted in ((1.5, 1.5), (COALESCE, 1.5), (COALESCE + 1.5, COALESCE + 1.5)):
            found = self._read(store, "k", now + after)
            assert found is not None
            assert found.last_used_at == now + noted
            assert listed_keys(store, now + after) == [found]

    def test_an_api_key_lives_until_its_end(self, store: Store, now: float) -> None:
        store.create_api_key(a_key(now))
        assert self._is_alive(store, "k", now + 99.999)
        assert listed_keys(store, now + 99.999)
        found = self._read(store, "k", now + 100)
        # It is still known, so "expired" can be told from "unknown".
        assert found is not None
        assert (found.expires_at, found.is_revoked) == (now + 100, False)
        assert listed_keys(store, now + 100) == []
        assert found.last_used_at == now + 99.999
        assert self._rotate(store, "k", "k2", now + 100) == KeyRotation(is_expired=True)
        assert self._end(store, "k", now + 100) is False

    def test_a_repeated_creation_of_an_api_key_changes_nothing(
        self, store: Store, now: float
    ) -> None:
        for _ in range(2):
            assert store.create_api_key(a_key(now)) is True
        assert len(listed_keys(store, now)) == 1
        self._read(store, "k", now)
        assert store.create_api_key(a_key(now)) is True
        assert listed_keys(store, now)[0].last_used_at == now
        self._end(store, "k", now)
        assert store.create_api_key(a_key(now)) is False
        assert not self._is_alive(store, "k", now)
        assert listed_keys(store, now) == []

    def test_a_later_cut_off_of_everything_ends_an_api_key(self, store: Store, now: float) -> None:
        store.create_api_key(a_key(now, "before"))
        store.create_api_key(a_key(now, "bobs", owner="bob"))
        store.cut_logins(SLOT, "ann", now, now + 1000)
        store.clear_sessions(SLOT, "ann", now, now + 1000)
        assert self._is_alive(store, "before", now)
        store.cut(SLOT, "ann", now, now + 1000)
        found = self._read(store, "before", now)
        assert found is None or found.is_revoked
        standing = store.standing(SLOT, "ann", now)
        assert store.create_api_key(a_key(now, "on its way")) is False
        assert store.create_api_key(a_key(now, "after", cut_off=standing.latest)) is True
        assert self._rotate(store, "before", "new", now).made is None
        assert self._end(store, "before", now) is False
        assert [key.key for key in listed_keys(store, now)] == [at("after")]
        for name, alive in (("before", 0), ("on its way", 0), ("after", 1), ("bobs", 1)):
            assert self._is_alive(store, name, now) == alive

    def test_a_cut_off_counts_as_long_as_an_api_key_may_live(
        self, store: Store, now: float
    ) -> None:
        for name, end in (("long", now + 5000), ("for ever", math.inf)):
            store.create_api_key(a_key(now, name, expires_at=end))
        store.cut(SLOT, "ann", now, now + 10)
        for later in (5, 10, 4999, 1e6, 1e9):
            for name in ("long", "for ever"):
                assert not self._is_alive(store, name, now + later)

    def test_a_rotation_gives_a_successor_with_the_same_rights_and_end(
        self, store: Store, now: float
    ) -> None:
        old = a_key(now, data=ANY_JSON, cut_off=2.5, owner=owner_of("ann", "https://idp.example"))
        store.create_api_key(old)
        self._read(store, "k", now + 1)
        made = self._rotate(store, "k", "k2", now + 2.5, owner=old.owner).made
        assert made == replace(old, key=at("k2"), digest="digest-of-k2", created_at=now + 2.5)
        assert listed_keys(store, now + 3, old.owner) == [made]
        assert self._is_alive(store, "k2", now + 99)
        found = self._read(store, "k", now + 3)
        assert found is not None
        assert (found.is_revoked, found.successor) == (True, at("k2"))

    def test_a_rotated_api_key_lives_for_the_overlap(self, store: Store, now: float) -> None:
        store.create_api_key(a_key(now))
        store.create_api_key(a_key(now, "short", expires_at=now + 5))
        self._rotate(store, "k", "k2", now, 10)
        self._rotate(store, "short", "short2", now, 10)
        alive = {5: "k k2", 9.999: "k k2", 10: "k2", 99: "k2"}
        assert self._is_alive(store, "short", now + 4.999)
        for after, names in alive.items():
            found = [n for n in ("k", "k2", "short", "short2")
                     if self._is_alive(store, n, now + after)]  # fmt: skip
            assert found == names.split()
            assert {key.key for key in listed_keys(store, now + after)} == set(map(at, found))
        # A revocation needs no overlap to pass.
        store.create_api_key(a_key(now, "other"))
        self._rotate(store, "other", "other2", now, 10)
        assert self._end(store, "other", now) is True
        assert not self._is_alive(store, "other", now)
        assert self._is_alive(store, "other2", now)

    def test_a_repeated_rotation_gets_the_same_answer(self, store: Store, now: float) -> None:
        for overlap in (0.0, 10.0):
            old, new, other = f"k{overlap}", f"new{overlap}", f"other{overlap}"
            store.create_api_key(a_key(now, old))
            first = self._rotate(store, old, new, now, overlap)
            assert first.made is not None
            assert self._rotate(store, old, new, now + 1, overlap) == first
            assert self._rotate(store, old, other, now, overlap) == KeyRotation(reused=at(new))
            assert self._read(store, other, now) is None
            # It changes nothing that has happened since.
            self._end(store, new, now)
            self._rotate(store, old, new, now, overlap)
            assert not self._is_alive(store, new, now)

    def test_fifty_parallel_rotations_of_an_api_key_make_one_successor(
        self, store: Store, now: float
    ) -> None:
        for overlap in (0.0, 10.0):
            old = f"k{overlap}"
            store.create_api_key(a_key(now, old))
            found = at_once(
                50,
                lambda number, old=old, overlap=overlap: (  # type: ignore[misc]
                    self._rotate(store, old, f"{old}-{number}", now, overlap)
                ),
            )
            [made] = [each.made.key for each in found if each.made is not None]
            assert {each.reused for each in found if each.made is None} == {made}
            living = {key.key for key in listed_keys(store, now)}
            assert living >= {made}
            assert len(living - {at(old), made}) == (0 if overlap == 0 else 1)

    def test_only_a_living_api_key_of_that_owner_is_rotated(self, store: Store, now: float) -> None:
        store.create_api_key(a_key(now))
        assert self._rotate(store, "k", "k2", now, owner="bob") == KeyRotation()
        assert self._end(store, "k", now, owner="bob") is False
        assert self._is_alive(store, "k", now)
        self._end(store, "k", now)
        assert self._rotate(store, "k", "k2", now) == KeyRotation(is_revoked=True)
        assert self._read(store, "k2", now) is None

    def test_an_api_key_is_ended_once_and_a_repetition_hears_the_same(
        self, store: Store, now: float
    ) -> None:
        store.create_api_key(a_key(now))
        assert [self._end(store, "k", now, attempt) for attempt in "1121"] == [
            True, True, False, True,
        ]  # fmt: skip
        found = self._read(store, "k", now)
        assert found is not None
        assert found.is_revoked
        assert listed_keys(store, now) == []
        store.create_api_key(a_key(now, "raced"))
        answers = at_once(20, lambda number: self._end(store, "raced", now, f"a{number}"))
        assert answers.count(True) == 1

    def test_nothing_revives_an_ended_api_key(self, store: Store, now: float) -> None:
        for number in range(5):
            name = f"k{number}"
            store.create_api_key(a_key(now, name))

            def job(which: int, name: str = name) -> object:
                if which == 0:
                    return self._end(store, name, now)
                if which % 2:
                    return self._read(store, name, now + 61)
                return store.create_api_key(a_key(now, name))

            at_once(8, job)
            assert not self._is_alive(store, name, now + 62)
        assert listed_keys(store, now + 62) == []

    def test_a_walk_through_api_keys_goes_in_steps_and_meets_all(
        self, store: Store, now: float
    ) -> None:
        count = 2 * STEP + 50
        for number in range(count):
            end = now + (1 if number % 5 == 0 else 100)
            store.create_api_key(a_key(now + number / 1000, f"k{number:03}", expires_at=end))
        wanted = [at(f"k{number:03}") for number in range(count) if number % 5]
        pages = list(key_pages(store, now + 2))
        assert max(len(page.living) for page in pages) <= STEP
        assert [key.key for page in pages for key in page.living] == wanted
        # Keys that end between two steps leave out no other.
        first = store.list_api_keys(SLOT, "ann", now + 2)
        for key in first.living:
            self._end(store, key.key[len(SLOT) :], now + 2)
        rest = store.list_api_keys(SLOT, "ann", now + 2, first.after or "")
        assert rest.living[0].key == wanted[len(first.living)]

    def test_api_keys_are_listed_for_their_owner_only(self, store: Store, now: float) -> None:
        owners = [*NAMES, owner_of("a", "b"), owner_of("b", "a")]
        for number, owner in enumerate(owners):
            store.create_api_key(a_key(now, f"k{number}", owner=owner))
        for number, owner in enumerate(owners):
            assert [key.key for key in listed_keys(store, now, owner)] == [at(f"k{number}")]
            store.cut(SLOT, owner, now, now + 1000)
            alive = [n for n in range(len(owners)) if self._is_alive(store, f"k{n}", now)]
            assert alive == list(range(number + 1, len(owners)))
