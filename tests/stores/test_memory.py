"""The memory store keeps the contract, and what has ended does not stay in memory."""

from __future__ import annotations

import random

import pytest

from flask_jam._helpers.owned import Owned
from flask_jam.stores.interface import STEP, Kind, Marks, Session, owner_of, split_owner
from flask_jam.stores.memory import MemoryStore
from flask_jam.testing.stores import StoreConformance, a_family, a_session

from ..cases import each_case, loop_inherited_cases


@loop_inherited_cases
class TestMemoryStore(StoreConformance):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()


def kept(store: MemoryStore) -> int:
    """How many things are in memory, whatever they are called there."""
    tables = [value for value in vars(store).values() if isinstance(value, dict)]
    return sum(len(table) for table in tables)


@each_case("what", ["mark", "cut-off", "clearing", "allow", "family", "session"])
def test_what_has_ended_is_swept_out_while_new_things_come_in(what: str) -> None:
    store, most = MemoryStore(), 0
    for step in range(6000):
        now = 1000.0 + step
        if what == "mark":
            store.mark("ab", Kind.TOKEN, f"t{step}", now, now + 10)
        elif what == "cut-off":
            store.cut("ab", f"t{step}", now, now + 10)
        elif what == "clearing":
            store.clear_sessions("ab", f"o{step}", now, now + 60)
        elif what == "allow":
            store.allow("ab", f"t{step}", now, now + 10)
        elif what == "family":
            store.start_family(f"f{step}", a_family(now, ends_at=now + 10))
        else:
            store.create_session(f"s{step}", a_session(now, session_key=f"o{step}", idle=10.0))
        most = max(most, kept(store))
    # Ten of each are alive at any time, and sixty marks of a clearing.
    assert most < 3000


def test_sweeping_leaves_what_is_alive() -> None:
    store, last = MemoryStore(), 50_000.0
    store.mark("ab", Kind.TOKEN, "revoked", 1.0, last + 1)
    store.allow("ab", "allowed", 1.0, last + 1)
    store.start_family("family", a_family(1.0, ends_at=last + 1, idle_until=last + 2))
    store.create_session("session", a_session(1.0, idle=last, ends_at=last + 2))
    for step in range(5001):
        store.mark("ab", Kind.TOKEN, f"t{step}", 10.0 * step, 10.0 * step + 1)
    assert kept(store) < 3000, "nothing was swept, so nothing is shown"
    assert store.marks("ab", "revoked", None, None, last) == Marks(revoked=True)
    assert store.marks("ab", "allowed", None, None, last) == Marks(allowed=True)
    assert store.read_family("family", last) is not None
    assert store.read_session("session", last) is not None


def test_cut_off_that_grew_ahead_of_the_clock_sweeps_only_what_has_ended() -> None:
    # One machine's clock is 60 s ahead; the others revoke after it, by their own time.
    store, now = MemoryStore(), 1000.0
    for step in range(600):
        store.cut("ab", f"s{step}", now + 60, now + 1000)
    for step in range(5000):
        store.mark("ab", Kind.TOKEN, f"t{step}", now, now + 50)
    for step in range(10_000):
        store.cut("ab", f"s{step % 600}", now, now + 1000)
        store.cut("ab", f"n{step}", now, now + 1000)
    found = [store.marks("ab", f"t{step}", None, None, now) for step in range(5000)]
    assert all(marks.revoked for marks in found)
    assert store.standing("ab", "s0", now).cut_off > now + 60


@each_case("kind", Kind)
def test_a_mark_of_the_epoch_itself_is_a_mark(kind: Kind) -> None:
    # Where a test's clock starts at zero.
    store = MemoryStore()
    store.mark("ab", kind, "x", 0.0, 10.0)
    assert store.marks("ab", "x", "x", "x", 1.0) != Marks()


def test_cut_off_at_the_epoch_itself_counts() -> None:
    store = MemoryStore()
    store.cut("ab", "ann", 0.0, 10.0)
    assert store.marks("ab", None, None, "ann", 1.0).cut_off is not None


def test_names_of_an_owner_are_in_order_whatever_happens() -> None:
    chance, owned, model = random.Random(3), Owned(), {}
    for step in range(300):
        name = f"n{chance.randrange(60)}"
        if chance.randrange(3):
            born, end = model.get(name, (chance.randrange(20), 0))[0], chance.randrange(99)
            owned.put(name, born, end)
            model[name] = (born, end)
        else:
            owned.drop(name)
            model.pop(name, None)
        assert len(owned) == len(model)
        now, most = chance.randrange(99), chance.randrange(9)
        due = owned.due(now, most)
        assert len(due) == min(most, sum(end <= now for _, end in model.values())), step
        assert all(model[name][1] <= now for name in due)
        assert walked(owned, chance.randrange(1, 9)) == sorted(
            model, key=lambda name: (model[name][0], walked(owned, 99).index(name))
        )


def walked(owned: Owned, most: int) -> list[str]:
    names, after = [], ""
    while page := owned.page(after, most):
        names += [name for name, _ in page]
        after = page[-1][1]
    return names


def test_no_step_of_a_walk_looks_at_more_than_a_page() -> None:
    class Counted(dict[str, Session]):
        seen = 0

        def __getitem__(self, key: str) -> Session:
            self.seen += 1
            return super().__getitem__(key)

    store = MemoryStore()
    for number in range(900):
        store.create_session(f"ab{number}", a_session(1000.0 + number / 1000))
    counted = store._sessions = Counted(store._sessions)
    for step in (
        lambda: store.list_sessions("ab", "ann", 1001.0),
        lambda: store.create_session("abnew", a_session(1001.0), 5),
        lambda: store.clear_sessions("ab", "ann", 1001.0, 2000.0, "ab700"),
    ):
        counted.seen = 0
        step()
        assert counted.seen <= STEP + 5


def test_an_owner_without_families_leaves_nothing_behind() -> None:
    store = MemoryStore()
    for step in range(50):
        store.start_family(f"f{step}", a_family(1000.0, subject=f"o{step}"))
    store._sweep_at = 0
    store.mark("ab", Kind.TOKEN, "t", 1e6, 1e6)
    assert kept(store) == 0


def test_an_owner_without_sessions_leaves_nothing_behind() -> None:
    store = MemoryStore()
    for step in range(50):
        store.create_session(f"s{step}", a_session(1000.0, session_key=f"o{step}"))
        store.delete_session(f"s{step}", 1000.0)
    assert kept(store) == 0


def test_equal_subjects_of_two_issuers_are_two_owners() -> None:
    issuers = [None, "https://a.example", "https://a.example/", "https://b.example"]
    owners = [owner_of("ann", issuer) for issuer in issuers]
    assert len(set(owners)) == len(owners)
    assert [split_owner(owner) for owner in owners] == [("ann", issuer) for issuer in issuers]
