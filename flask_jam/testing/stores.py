"""What every store must do, as tests: the contract of :mod:`flask_jam.stores`, verb by verb.

For writers of stores. Inherit, and give an empty store::

    from flask_jam.testing.stores import StoreConformance

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def store(self):
            return MyStore(...)

Only verbs of the port are called, and time is always their argument. Each test starts with an
empty store. The suite's own present is far ahead of any server's clock, so a server that expires
keys by itself does not do it in the middle of a test; override ``now`` where that is not wanted.
Where your store can be down, show by tests of your own that each verb raises
:class:`~flask_jam.StoreUnavailable` then: this suite has no way to pull its plug.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ..errors import Reason, SessionError
from ..stores.interface import (
    STEP,
    Family,
    Kind,
    Limits,
    Listed,
    Marks,
    Page,
    Reworked,
    Rotation,
    Session,
    Store,
    owner_of,
)
from .api_keys import ApiKeyConformance
from .store_samples import ANY_JSON as ANY_JSON
from .store_samples import NAMES as NAMES
from .store_samples import SLOT as SLOT
from .store_samples import at as at
from .store_samples import at_once as at_once
from .tickets import TicketConformance


def a_family(now: float, **changes: Any) -> Family:
    """A refresh family that was started now, of ``ann``."""
    family = Family(
        subject="ann",
        claims={"auth_time": now, "roles": ["reader"]},
        started_at=now,
        ends_at=now + 1000.0,
        rotated_at=now,
        idle_until=now + 100.0,
        user_agent="agent/1",
        ip="192.0.2.1",
    )
    return replace(family, **changes)


def a_session(now: float, **changes: Any) -> Session:
    """A session that was created now, of ``ann``."""
    session = Session(
        session_key="ann",
        data={"n": 0},
        created_at=now,
        auth_time=now,
        last_seen_at=now,
        idle=100.0,
        ends_at=now + 1000.0,
        user_agent="agent/1",
        ip="192.0.2.1",
    )
    return replace(session, **changes)


def pages(store: Store, now: float, owner: str = "ann", after: str | None = "") -> Iterator[Page]:
    """The pages of an owner's sessions, from the first one or from another on."""
    while after is not None:
        page = store.list_sessions(SLOT, owner, now, after)
        yield page
        after = page.after


def listed(store: Store, now: float, owner: str = "ann") -> list[str]:
    """The keys of an owner's living sessions, the oldest first."""
    return [session.key for page in pages(store, now, owner) for session in page.living]


def family_pages(
    store: Store, now: float, subject: str = "ann", after: str | None = ""
) -> Iterator[Page]:
    """The pages of a subject's families, from the first one or from another on."""
    while after is not None:
        page = store.list_families(SLOT, subject, now, now + 60, after)
        yield page
        after = page.after


def listed_families(store: Store, now: float, subject: str = "ann") -> list[str]:
    """The ids of a subject's living families, the oldest first."""
    return [family.key for page in family_pages(store, now, subject) for family in page.living]


def ended_logins(store: Store, now: float, subject: str = "ann") -> tuple[int, int]:
    """End the logins of a subject; return how many sessions and families there were."""
    store.cut_logins(SLOT, subject, now, now + 1e6)
    sessions = sum(page.cleared for page in pages(store, now, subject))
    return sessions, sum(page.cleared for page in family_pages(store, now, subject))


def cleared(store: Store, now: float, owner: str = "ann", keep: str | None = None) -> int:
    """Clear the sessions of an owner; return how many there were."""
    first = store.clear_sessions(SLOT, owner, now, now + 1e6, keep)
    return first.cleared + sum(page.cleared for page in pages(store, now, owner, first.after))


def _update_too_large(store: Store, now: float) -> None:
    with pytest.raises(SessionError):
        store.update_session(at("k2"), {"n": 1}, now, 1)


#: What may happen to a new id, ``k2``, and must end what its old one can get.
USES: dict[str, Callable[[Store, float], object]] = {
    "read": lambda store, now: store.read_session(at("k2"), now),
    "update": lambda store, now: store.update_session(at("k2"), {"n": 1}, now, 1000),
    "update that is too large": _update_too_large,
    "rework": lambda store, now: store.rework_session(at("k2"), at("k3"), "k3", now),
    "delete": lambda store, now: store.delete_session(at("k2"), now),
    "clear": cleared,
    "clear all others": lambda store, now: cleared(store, now, keep=at("k2")),
    "revoke": lambda store, now: store.cut(SLOT, "ann", now, now + 100),
    "end all logins": lambda store, now: store.cut_logins(SLOT, "ann", now, now + 100),
}


class StoreConformance(ApiKeyConformance, TicketConformance):
    """Inherit this in a class whose name begins with ``Test``, and override ``store``."""

    @pytest.fixture
    def store(self) -> Store:
        """An empty store."""
        raise NotImplementedError("override the fixture: it gives an empty store")

    @pytest.fixture
    def now(self) -> float:
        """The present of the suite."""
        return 4_000_000_000.0

    @pytest.fixture(autouse=True)
    def _threads_meet_often(self) -> Iterator[None]:
        usual = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        yield
        sys.setswitchinterval(usual)

    def turn(
        self, store: Store, generation: int, now: float, *, family_id: str = "f", **other: Any
    ) -> tuple[Rotation, Family | None]:
        """Present a generation, with what the tests mostly say of it."""
        said: dict[str, Any] = {
            "grace": 10.0,
            "idle": 100.0,
            "claims": None,
            "mark_until": now + 500.0,
            **other,
        }
        return store.rotate_family(at(family_id), generation, now=now, **said)

    def rework(self, store: Store, old: str, new: str, now: float, **other: Any) -> str | None:
        """Move a session; return the name under which it lives now."""
        found = store.rework_session(at(old), at(new), new, now, **other)
        return None if found is None else found.seed

    def elapse(self, seconds: float) -> None:
        """Let time pass on the store's own clock, by which it counts graces.

        There is nothing to do for a store whose clock is ``now``. Override it for others, with
        ``time.sleep`` where there is no other way: it is called for less than a second.
        """

    # --- revocation marks ---

    def test_an_empty_store_knows_nothing_against_a_token(self, store: Store, now: float) -> None:
        assert store.marks(SLOT, "t", "f", "s", now) == Marks(False, None, False)

    @pytest.mark.parametrize("name", NAMES)
    def test_a_token_mark_is_about_that_token_only(
        self, store: Store, now: float, name: str
    ) -> None:
        store.mark(SLOT, Kind.TOKEN, name, now, now + 10)
        found = [n for n in NAMES if store.marks(SLOT, n, None, None, now).revoked]
        assert found == [name]
        assert store.marks(SLOT, None, name, name, now) == Marks()

    @pytest.mark.parametrize("name", NAMES)
    def test_a_family_mark_is_about_that_family_only(
        self, store: Store, now: float, name: str
    ) -> None:
        store.mark(SLOT, Kind.FAMILY, name, now, now + 10)
        found = [n for n in NAMES if store.marks(SLOT, "t", n, None, now).revoked]
        assert found == [name]
        assert store.marks(SLOT, name, None, name, now) == Marks()

    @pytest.mark.parametrize("name", NAMES)
    def test_a_cut_off_is_about_that_subject_only(
        self, store: Store, now: float, name: str
    ) -> None:
        assert store.standing(SLOT, name, now).cut_off == 0.0
        store.cut(SLOT, name, now, now + 10)
        found = {other: store.marks(SLOT, "t", "f", other, now) for other in NAMES}
        assert found.pop(name) == Marks(False, now, False)
        assert set(found.values()) == {Marks()}
        assert store.marks(SLOT, name, name, None, now) == Marks()
        cut_offs = {other: store.standing(SLOT, other, now).cut_off for other in NAMES}
        assert cut_offs.pop(name) == now
        assert set(cut_offs.values()) == {0.0}

    def test_no_name_meets_no_mark(self, store: Store, now: float) -> None:
        for kind in Kind:
            store.mark(SLOT, kind, "None", now, now + 10)
        store.allow(SLOT, "None", now, now + 10)
        assert store.marks(SLOT, None, None, None, now) == Marks()

    @pytest.mark.parametrize("fraction", [0.0, 0.001, 0.1234567, 0.9999995])
    def test_a_cut_off_keeps_its_fraction(self, store: Store, now: float, fraction: float) -> None:
        at = now + fraction
        store.cut(SLOT, "s", at, now + 10)
        assert store.marks(SLOT, None, None, "s", now + 1).cut_off == at
        assert store.standing(SLOT, "s", now + 1).cut_off == at

    def test_a_cut_off_is_there_until_its_end_and_not_at_it(self, store: Store, now: float) -> None:
        store.cut(SLOT, "x", now, now + 10)
        assert store.marks(SLOT, None, None, "x", now + 9.999).cut_off == now
        assert store.marks(SLOT, None, None, "x", now + 10) == Marks()
        # Carried while it is there: another machine may still believe it.
        assert store.standing(SLOT, "x", now + 11).cut_off in (now, 0.0)

    def test_its_identity_stays(self, store: Store) -> None:
        assert store.identity() == store.identity()
        assert len(store.identity()) >= 8

    @pytest.mark.parametrize("later", [5.0, 0.0, -5.0])
    def test_a_cut_off_only_grows_whatever_the_clock_says(
        self, store: Store, now: float, later: float
    ) -> None:
        store.cut(SLOT, "s", now, now + 50)
        store.cut(SLOT, "s", now + later, now + 40)
        grown = store.standing(SLOT, "s", now).cut_off
        assert grown == now + 5 if later > 0 else now < grown < now + 0.001
        assert store.standing(SLOT, "s", now + 49).cut_off == grown

    def test_each_of_parallel_cut_offs_ends_what_the_one_before_let_live(
        self, store: Store, now: float
    ) -> None:
        def job(_number: int) -> float:
            store.cut(SLOT, "s", now, now + 100)
            return store.standing(SLOT, "s", now).cut_off

        seen = at_once(16, job)
        assert all(now <= each for each in seen)
        last = store.standing(SLOT, "s", now).cut_off
        assert last == max(seen)
        store.cut(SLOT, "s", now, now + 100)
        assert store.standing(SLOT, "s", now).cut_off > last

    @pytest.mark.parametrize("kind", Kind)
    def test_a_mark_is_there_until_its_end_and_not_at_it(
        self, store: Store, now: float, kind: Kind
    ) -> None:
        store.mark(SLOT, kind, "x", now, now + 10)
        assert store.marks(SLOT, "x", "x", "x", now + 9.999) != Marks()
        assert store.marks(SLOT, "x", "x", "x", now + 10) == Marks()

    @pytest.mark.parametrize("order", [(10, 20), (20, 10)])
    def test_of_two_ends_the_later_stands(
        self, store: Store, now: float, order: tuple[int, int]
    ) -> None:
        for life in order:
            store.mark(SLOT, Kind.TOKEN, "t", now, now + life)
        assert store.marks(SLOT, "t", None, None, now + 19).revoked
        assert not store.marks(SLOT, "t", None, None, now + 20).revoked

    def test_marking_again_changes_nothing_more(self, store: Store, now: float) -> None:
        for _ in range(2):
            for kind in Kind:
                store.mark(SLOT, kind, "x", now, now + 10)
        assert store.marks(SLOT, "x", "x", "x", now + 9) == Marks(True, None, False)
        assert store.marks(SLOT, "x", "x", "x", now + 10) == Marks()

    # --- the allow list ---

    def test_only_an_allowed_token_is_allowed_and_only_until_its_end(
        self, store: Store, now: float
    ) -> None:
        for _ in range(2):  # again, after a lost reply
            store.allow(SLOT, "a:b", now, now + 10)
        assert store.marks(SLOT, "a:b", None, None, now + 9.999) == Marks(allowed=True)
        assert store.marks(SLOT, "a:b", None, None, now + 10) == Marks()
        assert store.marks(SLOT, "a", "a:b", "a:b", now) == Marks()

    @pytest.mark.parametrize("marked_first", [True, False])
    def test_allowing_lifts_no_mark(self, store: Store, now: float, marked_first: bool) -> None:
        if marked_first:
            store.mark(SLOT, Kind.TOKEN, "t", now, now + 9)
        store.allow(SLOT, "t", now, now + 9)
        if not marked_first:
            store.mark(SLOT, Kind.TOKEN, "t", now, now + 9)
        assert store.marks(SLOT, "t", None, None, now) == Marks(revoked=True, allowed=True)

    # --- refresh families ---

    def test_a_family_is_read_as_it_was_started(self, store: Store, now: float) -> None:
        family = a_family(now + 0.1234567, claims={"auth_time": now, **ANY_JSON})
        for _ in range(2):  # again, after a lost reply
            store.start_family(at("f"), family)
        assert store.read_family(at("f"), now + 1) == family

    def test_an_unknown_family_is_none_and_turning_it_is_no_alarm(
        self, store: Store, now: float
    ) -> None:
        store.start_family(at("other"), a_family(now))
        assert store.read_family(at("f"), now) is None
        assert self.turn(store, 1, now) == (Rotation.GONE, None)
        assert store.marks(SLOT, None, at("f"), None, now) == Marks()

    @pytest.mark.parametrize("end", ["ends_at", "idle_until"])
    def test_a_family_is_gone_at_its_end_and_that_is_no_alarm(
        self, store: Store, now: float, end: str
    ) -> None:
        store.start_family(at("f"), a_family(now, generation=5, **{end: now + 50}))
        assert store.read_family(at("f"), now + 49.999) is not None
        assert store.read_family(at("f"), now + 50) is None
        for generation in (1, 4, 5):
            assert self.turn(store, generation, now + 50) == (Rotation.GONE, None)
        assert store.marks(SLOT, None, at("f"), None, now + 50) == Marks()

    def test_the_current_generation_turns_the_family(self, store: Store, now: float) -> None:
        family = a_family(now)
        store.start_family(at("f"), family)
        turned = self.turn(store, 1, now + 50.25, idle=70.0)
        successor = replace(
            family, generation=2, rotated_at=now + 50.25, idle_until=now + 50.25 + 70.0
        )
        assert turned == (Rotation.NEW, successor)
        assert store.read_family(at("f"), now + 51) == successor

    def test_a_turn_never_moves_the_absolute_end(self, store: Store, now: float) -> None:
        store.start_family(at("f"), a_family(now))
        for generation in range(1, 20):
            assert self.turn(store, generation, now + 50 * generation)[0] is Rotation.NEW
        assert store.read_family(at("f"), now + 999.9) is not None
        assert self.turn(store, 20, now + 1000) == (Rotation.GONE, None)

    def test_a_turn_keeps_the_claims_unless_it_brings_others(
        self, store: Store, now: float
    ) -> None:
        store.start_family(at("f"), a_family(now, claims=ANY_JSON))
        assert self.turn(store, 1, now)[1].claims == ANY_JSON  # type: ignore[union-attr]
        new = {"auth_time": now, "roles": []}
        assert self.turn(store, 2, now, claims=new)[1].claims == new  # type: ignore[union-attr]
        assert store.read_family(at("f"), now).claims == new  # type: ignore[union-attr]

    def test_no_claims_at_all_are_claims_too(self, store: Store, now: float) -> None:
        store.start_family(at("f"), a_family(now))
        assert self.turn(store, 1, now, claims={})[1].claims == {}  # type: ignore[union-attr]

    @pytest.mark.parametrize("later", [0.0, 5.0, 10.0])
    def test_within_the_grace_the_one_before_gets_the_same_successor(
        self, store: Store, now: float, later: float
    ) -> None:
        store.start_family(at("f"), a_family(now))
        _, successor = self.turn(store, 1, now)
        for _ in range(3):
            again = self.turn(store, 1, now + later, idle=999.0)
            assert again == (Rotation.SAME, successor)
        assert store.read_family(at("f"), now + later) == successor

    def test_within_the_grace_new_claims_are_kept_and_nothing_else(
        self, store: Store, now: float
    ) -> None:
        store.start_family(at("f"), a_family(now))
        _, successor = self.turn(store, 1, now)
        again = self.turn(store, 1, now + 5, idle=999.0, claims={"roles": ["admin"]})
        assert successor is not None
        assert again == (Rotation.SAME, replace(successor, claims={"roles": ["admin"]}))
        assert store.read_family(at("f"), now + 5) == again[1]

    def test_without_a_grace_the_one_before_ends_the_family_at_once(
        self, store: Store, now: float
    ) -> None:
        store.start_family(at("f"), a_family(now))
        self.turn(store, 1, now)
        assert self.turn(store, 1, now, grace=0.0)[0] is Rotation.REUSED

    def test_a_family_is_as_old_as_its_turn_by_the_clock_of_the_store(
        self, store: Store, now: float
    ) -> None:
        store.start_family(at("f"), a_family(now))
        self.turn(store, 1, now)
        self.elapse(0.2)
        family = store.read_family(at("f"), now + 0.2)
        assert family is not None
        assert family.age > 0.19
        assert family.answer(1, grace=0.1) is Rotation.REUSED
        assert family.answer(1, grace=1e6) is Rotation.SAME

    def test_a_session_dies_with_a_cut_off_that_is_later_than_its_own(
        self, store: Store, now: float
    ) -> None:
        store.create_session(at("old"), a_session(now))
        store.create_session(at("bobs"), a_session(now, session_key="bob"))
        store.cut(SLOT, "ann", now - 5, now + 100)  # by a machine whose clock is behind
        assert store.read_session(at("old"), now) is None
        assert not store.update_session(at("old"), {"n": 1}, now, 1000)
        assert not self.rework(store, "old", "new", now)
        assert store.read_session(at("bobs"), now) is not None
        # On its way here since before the cut-off: kept by no store.
        assert not store.create_session(at("late"), a_session(now + 1))
        assert store.read_session(at("late"), now) is None
        own = a_session(now - 10, cut_off=store.standing(SLOT, "ann", now).cut_off)
        assert store.create_session(at("next"), own)
        assert store.read_session(at("next"), now) is not None
        assert listed(store, now) == [at("next")]
        assert cleared(store, now) == 1

    def test_after_the_grace_the_one_before_ends_the_family(self, store: Store, now: float) -> None:
        store.start_family(at("f"), a_family(now))
        self.turn(store, 1, now)
        self.elapse(0.3)
        outcome, family = self.turn(store, 1, now + 0.3, grace=0.25, mark_until=now + 60)
        assert (outcome, family and family.subject) == (Rotation.REUSED, "ann")
        assert store.read_family(at("f"), now + 11) is None
        assert store.marks(SLOT, None, at("f"), None, now + 59).revoked
        assert not store.marks(SLOT, None, at("f"), None, now + 60).revoked

    def test_an_older_one_ends_the_family_even_within_the_grace(
        self, store: Store, now: float
    ) -> None:
        store.start_family(at("f"), a_family(now))
        self.turn(store, 1, now)
        self.turn(store, 2, now)
        assert self.turn(store, 1, now)[0] is Rotation.REUSED
        for generation in (1, 2, 3):
            assert self.turn(store, generation, now) == (Rotation.REVOKED, None)

    def test_the_alarm_is_given_once(self, store: Store, now: float) -> None:
        store.start_family(at("f"), a_family(now, generation=9))
        answers = [self.turn(store, 1, now)[0] for _ in range(3)]
        assert answers == [Rotation.REUSED, Rotation.REVOKED, Rotation.REVOKED]

    def test_a_generation_that_never_was_changes_nothing(self, store: Store, now: float) -> None:
        family = a_family(now)
        store.start_family(at("f"), family)
        assert self.turn(store, 2, now) == (Rotation.GONE, None)
        assert store.read_family(at("f"), now) == family
        assert self.turn(store, 1, now)[0] is Rotation.NEW

    def test_one_family_does_not_touch_another(self, store: Store, now: float) -> None:
        for name in NAMES:
            store.start_family(at(name), a_family(now, subject=name))
        assert store.end_family(at("a"), now, now + 10)
        assert self.turn(store, 1, now, family_id="b")[0] is Rotation.NEW
        left = {name: store.read_family(at(name), now) for name in NAMES}
        assert left.pop("a") is None
        assert {name: f and (f.subject, f.generation) for name, f in left.items()} == {
            name: (name, 2 if name == "b" else 1) for name in left
        }

    @pytest.mark.parametrize("after", [-5.0, 0.0, 0.001, 30.0])
    def test_a_family_dies_with_a_cut_off_that_is_later_than_its_own(
        self, store: Store, now: float, after: float
    ) -> None:
        store.start_family(at("f"), a_family(now))
        store.cut(SLOT, "ann", now + after, now + 1000)
        assert store.read_family(at("f"), now + 1) is None
        assert self.turn(store, 1, now + 1) == (Rotation.REVOKED, None)
        assert self.turn(store, 1, now + 40) == (Rotation.REVOKED, None)

    def test_a_family_that_carries_the_cut_off_lives(self, store: Store, now: float) -> None:
        store.cut(SLOT, "ann", now + 4, now + 1000)  # by a machine whose clock is ahead
        store.cut(SLOT, "bob", now + 500, now + 1000)
        own = store.standing(SLOT, "ann", now).cut_off
        store.start_family(at("f"), a_family(now, cut_off=own))
        assert store.read_family(at("f"), now + 1) == a_family(now, cut_off=own)
        assert self.turn(store, 1, now + 1)[0] is Rotation.NEW

    def test_a_rotation_does_not_make_a_family_younger(self, store: Store, now: float) -> None:
        store.start_family(at("f"), a_family(now))
        self.turn(store, 1, now + 20)
        store.cut(SLOT, "ann", now + 10, now + 1000)
        assert self.turn(store, 2, now + 21) == (Rotation.REVOKED, None)

    def test_ending_a_family_ends_it_once_and_marks_it(self, store: Store, now: float) -> None:
        store.start_family(at("f"), a_family(now))
        ended = store.end_family(at("f"), now, now + 60)
        assert ended == a_family(now)
        assert store.end_family(at("f"), now + 1, now + 60) is None
        assert store.read_family(at("f"), now) is None
        assert self.turn(store, 1, now) == (Rotation.REVOKED, None)
        assert store.marks(SLOT, None, at("f"), None, now + 59).revoked
        assert not store.marks(SLOT, None, at("f"), None, now + 60).revoked

    def test_a_family_that_has_ended_is_marked_all_the_same(self, store: Store, now: float) -> None:
        # Its last access token may live on after the refresh token has died of old age.
        store.start_family(at("f"), a_family(now))
        assert store.end_family(at("f"), now + 100, now + 160) is None
        assert store.marks(SLOT, None, at("f"), None, now + 159).revoked

    def test_fifty_parallel_turns_give_one_successor(self, store: Store, now: float) -> None:
        store.start_family(at("f"), a_family(now))
        for generation in range(1, 11):
            found = at_once(50, lambda _: self.turn(store, generation, now))  # noqa: B023
            assert sorted(outcome.value for outcome, _ in found) == ["new"] + ["same"] * 49
            assert {family.generation for _, family in found if family} == {generation + 1}
        assert store.read_family(at("f"), now).generation == 11  # type: ignore[union-attr]

    def test_parallel_reuse_alarms_once(self, store: Store, now: float) -> None:
        store.start_family(at("f"), a_family(now, generation=9))
        found = at_once(16, lambda _: self.turn(store, 1, now)[0])
        assert sorted(outcome.value for outcome in found) == ["reused"] + ["revoked"] * 15

    def test_no_turn_outlives_a_parallel_end(self, store: Store, now: float) -> None:
        for round_ in range(20):
            name = f"f{round_}"
            store.start_family(at(name), a_family(now))

            def job(number: int, name: str = name) -> None:
                if number:
                    self.turn(store, 1, now, family_id=name)
                else:
                    store.end_family(at(name), now, now + 60)

            at_once(4, job)
            assert store.read_family(at(name), now) is None

    # --- sessions ---

    def test_a_session_is_read_as_it_was_created(self, store: Store, now: float) -> None:
        session = a_session(now + 0.1234567, auth_time=now, data=ANY_JSON)
        for _ in range(2):  # again, after a lost reply
            store.create_session(at("k"), session)
        assert store.read_session(at("k"), now + 1) == session
        assert len(listed(store, now)) == 1

    def test_what_is_not_known_of_a_client_stays_unknown(self, store: Store, now: float) -> None:
        store.create_session(at("k"), a_session(now, user_agent=None, ip=None, data={}))
        assert store.read_session(at("k"), now) == a_session(now, user_agent=None, ip=None, data={})

    def test_an_unknown_session_is_none_for_every_verb(self, store: Store, now: float) -> None:
        store.create_session(at("other"), a_session(now))
        assert store.read_session(at("k"), now) is None
        assert store.update_session(at("k"), {"n": 1}, now, 1000) is False
        assert self.rework(store, "k", "k2", now) is None
        assert store.delete_session(at("k"), now) is None
        assert cleared(store, now, "nobody") == 0
        assert listed(store, now, "nobody") == []
        assert [store.read_session(at(key), now) for key in ("k", "k2")] == [None, None]
        assert store.read_session(at("other"), now) == a_session(now)

    @pytest.mark.parametrize(("idle", "step"), [(100.0, 10.0), (86400.0, 60.0)])
    def test_reading_slides_a_session_but_not_at_every_read(
        self, store: Store, now: float, idle: float, step: float
    ) -> None:
        session = a_session(now, idle=idle, ends_at=now + 1e6)
        store.create_session(at("k"), session)
        assert store.read_session(at("k"), now + step - 0.001) == session
        slid = replace(session, last_seen_at=now + step)
        assert store.read_session(at("k"), now + step) == slid
        assert store.read_session(at("k"), now + step + 1) == slid

    def test_a_clock_that_was_set_back_slides_nothing(self, store: Store, now: float) -> None:
        store.create_session(at("k"), a_session(now))
        assert store.read_session(at("k"), now - 500) == a_session(now)

    def test_a_used_session_lives_to_its_absolute_end(self, store: Store, now: float) -> None:
        store.create_session(at("k"), a_session(now))
        for step in range(50, 1000, 50):
            session = store.read_session(at("k"), now + step)
            assert session is not None
            assert now + step < session.expires_at <= now + 1000
        ended = store.read_session(at("k"), now + 1000)
        assert ended is None or ended.expires_at <= now + 1000
        assert store.read_session(at("k"), now + 1000) is None

    @pytest.mark.parametrize("end", ["idle", "absolute"])
    def test_an_ended_session_is_told_from_an_unknown_one_once(
        self, store: Store, now: float, end: str
    ) -> None:
        session = a_session(now, **{"idle": 50.0} if end == "idle" else {"ends_at": now + 50})
        store.create_session(at("k"), session)
        assert store.read_session(at("k"), now + 49.9) is not None
        store.create_session(at("k2"), session)
        assert store.read_session(at("k2"), now + 50) == session
        assert store.read_session(at("k2"), now + 50) is None

    def test_parallel_reads_of_an_ended_session_tell_it_once(
        self, store: Store, now: float
    ) -> None:
        store.create_session(at("k"), a_session(now))
        found = at_once(16, lambda _: store.read_session(at("k"), now + 100))
        assert len([session for session in found if session is not None]) == 1

    def test_nothing_revives_an_ended_session(self, store: Store, now: float) -> None:
        store.create_session(at("k"), a_session(now))
        assert store.update_session(at("k"), {"n": 1}, now + 100, 1000) is False
        assert self.rework(store, "k", "k2", now + 100) is None
        assert listed(store, now + 100) == []
        assert store.read_session(at("k2"), now + 100) is None
        ended = store.read_session(at("k"), now + 100)
        assert ended is None or ended.data == {"n": 0}

    @pytest.mark.parametrize("end", ["idle", "absolute"])
    def test_an_ended_session_is_not_there_to_be_deleted_or_counted(
        self, store: Store, now: float, end: str
    ) -> None:
        ended = a_session(now, **{"idle": 50.0} if end == "idle" else {"ends_at": now + 50})
        for key in ("k1", "k2"):
            store.create_session(at(key), ended)
        store.create_session(at("k3"), a_session(now))
        store.create_session(at("other"), replace(ended, session_key="bob"))
        assert store.delete_session(at("k1"), now + 50) is None
        assert cleared(store, now + 50) == 1
        assert cleared(store, now + 50, "bob") == 0
        assert store.read_session(at("k1"), now) is None
        assert listed(store, now) == []

    def test_an_update_merges_top_level_keys(self, store: Store, now: float) -> None:
        store.create_session(at("k"), a_session(now, data={"a": {"x": 1}, "b": [1], "c": None}))
        for _ in range(2):  # again, after a lost reply
            assert store.update_session(at("k"), {"a": {"y": 2}, "d": []}, now, 1000) is True
        session = store.read_session(at("k"), now)
        merged = {"a": {"y": 2}, "b": [1], "c": None, "d": []}
        assert session == a_session(now, data=merged)

    def test_an_update_keeps_json_of_every_kind(self, store: Store, now: float) -> None:
        store.create_session(at("k"), a_session(now, data={**ANY_JSON, "n": 0}))
        assert store.update_session(at("k"), {"n": 1}, now, 10_000)
        assert store.read_session(at("k"), now).data == {**ANY_JSON, "n": 1}  # type: ignore[union-attr]
        assert store.update_session(at("k"), ANY_JSON, now, 10_000)
        assert store.read_session(at("k"), now).data == {**ANY_JSON, "n": 1}  # type: ignore[union-attr]

    def test_an_update_without_changes_succeeds(self, store: Store, now: float) -> None:
        store.create_session(at("k"), a_session(now))
        assert store.update_session(at("k"), {}, now, 1000) is True
        assert store.read_session(at("k"), now) == a_session(now)

    def test_an_update_that_grows_too_large_changes_nothing(self, store: Store, now: float) -> None:
        store.create_session(at("k"), a_session(now, data={"a": "x" * 50}))
        with pytest.raises(SessionError) as caught:
            store.update_session(at("k"), {"b": "y" * 50, "a": ""}, now, 60)
        assert caught.value.reason is Reason.TOO_LARGE
        assert store.read_session(at("k"), now).data == {"a": "x" * 50}  # type: ignore[union-attr]

    def test_the_size_is_that_of_the_merged_data_as_compact_utf8_json(
        self, store: Store, now: float
    ) -> None:
        store.create_session(at("k"), a_session(now, data={"a": "x"}))
        merged = '{"a":"x","b":"é"}'
        size = len(merged.encode())
        with pytest.raises(SessionError):
            store.update_session(at("k"), {"b": "é"}, now, size - 1)
        assert store.update_session(at("k"), {"b": "é"}, now, size) is True

    def test_an_update_may_replace_what_is_too_large(self, store: Store, now: float) -> None:
        store.create_session(at("k"), a_session(now, data={"a": "x" * 500}))
        assert store.update_session(at("k"), {"a": ""}, now, 100) is True
        assert store.read_session(at("k"), now).data == {"a": ""}  # type: ignore[union-attr]

    def test_rework_moves_a_session_as_it_is(self, store: Store, now: float) -> None:
        session = a_session(now, data=ANY_JSON, auth_time=now - 5)
        store.create_session(at("k"), session)
        found = store.rework_session(at("k"), at("k2"), "a-seed_0", now + 30)
        assert store.read_session(at("k"), now + 30) is None
        moved = store.read_session(at("k2"), now + 30)
        assert moved is not None
        assert found == Reworked("a-seed_0", moved)
        assert replace(moved, last_seen_at=now) == session
        assert moved.last_seen_at in (now, now + 30)
        assert listed(store, now + 30) == [at("k2")]

    def test_rework_never_moves_the_absolute_end(self, store: Store, now: float) -> None:
        store.create_session(at("k0"), a_session(now))
        for step in range(19):
            assert self.rework(store, f"k{step}", f"k{step + 1}", now + 50 * (step + 1))
        assert listed(store, now + 999.9) != []
        assert listed(store, now + 1000) == []

    @pytest.mark.parametrize("second", ["k2", "k3"])
    def test_the_old_id_gets_the_same_new_id_again(
        self, store: Store, now: float, second: str
    ) -> None:
        store.create_session(at("k"), a_session(now, data=ANY_JSON))
        first = store.rework_session(at("k"), at("k2"), "k2", now + 5)
        for later in (5, 6, 14):
            again = store.rework_session(at("k"), at(second), second, now + later)
            assert (
                again
                == first
                == Reworked("k2", a_session(now, data=ANY_JSON, last_seen_at=now + 5))
            )
            # The old id opens nothing, and asking with it takes nothing away.
            assert store.read_session(at("k"), now + later) is None
            assert store.update_session(at("k"), {"n": 1}, now + later, 10_000) is False
        assert listed(store, now + 14) == [at("k2")]
        assert store.read_session(at("k3"), now + 14) is None
        assert store.read_session(at("k2"), now + 14) is not None

    @pytest.mark.parametrize("use", USES)
    def test_the_old_id_gets_nothing_once_the_new_one_was_used(
        self, store: Store, now: float, use: str
    ) -> None:
        store.create_session(at("other"), a_session(now))
        store.create_session(at("k"), a_session(now))
        assert self.rework(store, "k", "k2", now) == "k2"
        before = len(listed(store, now))
        USES[use](store, now)
        left = listed(store, now)
        assert self.rework(store, "k", "k4", now) is None
        assert store.delete_session(at("k"), now) is None
        assert listed(store, now) == left
        assert store.read_session(at("k4"), now) is None
        assert before == 2

    def test_the_old_id_gets_nothing_after_the_grace(self, store: Store, now: float) -> None:
        store.create_session(at("k"), a_session(now))
        assert self.rework(store, "k", "k2", now, grace=0.25) == "k2"
        self.elapse(0.3)
        assert self.rework(store, "k", "k3", now + 0.3) is None
        assert store.delete_session(at("k"), now + 0.3) is None
        assert store.read_session(at("k2"), now + 0.3) is not None

    def test_the_old_id_gets_nothing_once_the_session_has_ended(
        self, store: Store, now: float
    ) -> None:
        store.create_session(at("k"), a_session(now, ends_at=now + 3))
        assert self.rework(store, "k", "k2", now) == "k2"
        assert self.rework(store, "k", "k3", now + 2.999) == "k2"
        assert self.rework(store, "k", "k3", now + 3) is None
        assert store.delete_session(at("k"), now + 3) is None

    def test_of_a_chain_of_ids_only_the_last_old_one_gets_the_session(
        self, store: Store, now: float
    ) -> None:
        store.create_session(at("k"), a_session(now))
        assert self.rework(store, "k", "k2", now) == "k2"
        assert self.rework(store, "k2", "k3", now) == "k3"
        assert self.rework(store, "k", "k4", now) is None
        assert self.rework(store, "k2", "k4", now) == "k3"
        assert self.rework(store, "k3", "k5", now) == "k5"
        assert [self.rework(store, name, "k6", now) for name in ("k", "k2", "k3")] == [
            None,
            None,
            "k5",
        ]
        assert listed(store, now) == [at("k5")]

    def test_deleting_an_old_id_within_the_grace_ends_the_session(
        self, store: Store, now: float
    ) -> None:
        store.create_session(at("k"), a_session(now))
        self.rework(store, "k", "k2", now)
        assert store.delete_session(at("k"), now) == "ann"
        assert store.delete_session(at("k"), now) is None
        assert store.read_session(at("k2"), now) is None
        assert self.rework(store, "k", "k3", now) is None
        assert listed(store, now) == []

    def test_an_old_id_is_not_one_that_a_clearing_leaves(self, store: Store, now: float) -> None:
        store.create_session(at("k"), a_session(now))
        self.rework(store, "k", "k2", now)
        assert cleared(store, now, keep=at("k")) == 1
        assert self.rework(store, "k", "k3", now) is None

    # --- limits: what the settings give now ---

    @pytest.mark.parametrize(
        ("limits", "end"), [(Limits(30.0), 30), (Limits(absolute=40.0), 40), (Limits(70, 20), 20)]
    )
    @pytest.mark.parametrize("verb", ["read", "update", "rework", "repeat", "delete"])
    def test_tightened_limits_end_a_session_that_is_stored(
        self, store: Store, now: float, limits: Limits, end: float, verb: str
    ) -> None:
        assert self._lives(store, verb, a_session(now), end - 0.001, limits)
        assert not self._lives(store, verb, a_session(now), end, limits)

    @pytest.mark.parametrize(
        ("limits", "end"), [(Limits(9, 9, 30.0, 1e4), 30), (Limits(9, 9, 1e4, 40.0), 40)]
    )
    @pytest.mark.parametrize("verb", ["read", "update", "rework", "repeat", "delete", "list"])
    def test_a_remembered_session_has_limits_of_its_own(
        self, store: Store, now: float, limits: Limits, end: float, verb: str
    ) -> None:
        remembered = a_session(now, remember=True)
        assert self._lives(store, verb, remembered, end - 0.001, limits)
        assert not self._lives(store, verb, remembered, end, limits)

    @pytest.mark.parametrize("kind", [False, None])
    @pytest.mark.parametrize("verb", ["read", "update", "rework", "repeat", "delete", "list"])
    def test_other_sessions_have_not_the_limits_of_remembered_ones(
        self, store: Store, now: float, kind: bool | None, verb: str
    ) -> None:
        limits, session = Limits(30.0, 1e4, 1e4, 1e4), a_session(now, remember=kind)
        assert self._lives(store, verb, session, 29.999, limits)
        assert not self._lives(store, verb, session, 30, limits)

    @pytest.mark.parametrize("kind", [True, False, None])
    def test_a_session_keeps_its_kind(self, store: Store, now: float, kind: bool | None) -> None:
        store.create_session(at("k"), a_session(now, remember=kind))
        assert store.update_session(at("k"), {"n": 1}, now, 1000)
        reworked = store.rework_session(at("k"), at("k2"), "seed", now)
        read = store.read_session(at("k2"), now)
        assert reworked is not None
        assert read is not None
        assert reworked.session.remember is read.remember is kind

    @pytest.mark.parametrize("kind", [True, False, None])
    def test_each_read_of_a_session_obeys_the_limits_of_its_kind(
        self, store: Store, now: float, kind: bool | None
    ) -> None:
        store.create_session(at("k"), a_session(now, remember=kind))
        limits = Limits(50.0, 60.0, 70.0, 80.0)
        for number in range(6):
            if number == 3:
                store.update_session(at("k"), {"n": number}, now, 1000, limits)
            read = store.read_session(at("k"), now, limits)
            assert read is not None
            assert (read.remember, read.idle, read.ends_at - now) == (
                (True, 70.0, 80.0) if kind else (kind, 50.0, 60.0)
            )

    def _lives(
        self, store: Store, verb: str, session: Session, later: float, limits: Limits
    ) -> bool:
        now, key = session.created_at, f"k{later * 1000:.0f}"
        at_ = now + later
        store.create_session(at(key), session)
        if verb == "update":
            return store.update_session(at(key), {"n": 1}, at_, 1000, limits)
        if verb == "rework":
            return self.rework(store, key, f"{key}x", at_, limits=limits) is not None
        if verb == "repeat":
            assert self.rework(store, key, f"{key}x", now, grace=1e4) is not None
            return self.rework(store, key, f"{key}y", at_, limits=limits) is not None
        if verb == "delete":
            return store.delete_session(at(key), at_, limits) is not None
        if verb == "list":
            listed = store.list_sessions(SLOT, "ann", at_, limits=limits).living
            return at(key) in [each.key for each in listed]
        found = store.read_session(at(key), at_, limits)
        return found is not None and at_ < found.expires_at

    def test_a_read_tells_the_ends_that_count(self, store: Store, now: float) -> None:
        store.create_session(at("k"), a_session(now))
        tight, loose = Limits(50.0, 600.0), Limits(500.0, 9000.0)
        read = store.read_session(at("k"), now, tight)
        assert read == a_session(now, idle=50.0, ends_at=now + 600)
        assert read is not None
        slid = store.read_session(at("k"), now + 49, tight)
        assert slid == replace(read, last_seen_at=now + 49)
        # Loosened ones extend nothing, and what is stored is as it was.
        assert store.read_session(at("k"), now + 49, loose) == a_session(now, last_seen_at=now + 49)
        assert store.read_session(at("k"), now + 98, loose) is not None

    def test_a_use_under_tight_limits_does_not_move_the_absolute_end(
        self, store: Store, now: float
    ) -> None:
        store.create_session(at("k"), a_session(now))
        for step in range(1, 20):
            assert store.read_session(at("k"), now + 10 * step, Limits(20.0, 200.0)) is not None
        ended = store.read_session(at("k"), now + 200, Limits(20.0, 200.0))
        assert ended is None or ended.expires_at <= now + 200

    @pytest.mark.parametrize(("idle", "absolute", "end"), [(30.0, 1e4, 30), (1e4, 40.0, 40)])
    def test_tightened_limits_end_a_family_that_is_stored(
        self, store: Store, now: float, idle: float, absolute: float, end: float
    ) -> None:
        limits = Limits(idle, absolute)
        for name in ("f", "ended"):
            store.start_family(at(name), a_family(now))
        last = store.read_family(at("f"), now + end - 0.001, limits)
        assert last is not None
        assert min(last.idle_until, last.ends_at) == now + end
        assert store.read_family(at("f"), now + end, limits) is None
        ends: dict[str, Any] = {"idle": idle, "absolute": absolute}
        assert self.turn(store, 1, now + end - 0.001, **ends)[0] is Rotation.NEW
        ended = self.turn(store, 1, now + end, family_id="ended", **ends)
        assert ended == (Rotation.GONE, None)

    def test_loosened_limits_extend_no_family(self, store: Store, now: float) -> None:
        store.start_family(at("f"), a_family(now, ends_at=now + 50))
        loose = Limits(1e6, 1e6)
        assert store.read_family(at("f"), now + 49, loose) == a_family(now, ends_at=now + 50)
        assert store.read_family(at("f"), now + 50, loose) is None
        assert self.turn(store, 1, now + 50, idle=1e6, absolute=1e6) == (Rotation.GONE, None)

    def test_deleting_says_whose_it_was_once(self, store: Store, now: float) -> None:
        for name in NAMES:
            store.create_session(at(f"k {name}"), a_session(now, session_key=name))
        assert [store.delete_session(at(f"k {name}"), now) for name in NAMES] == list(NAMES)
        assert [store.delete_session(at(f"k {name}"), now) for name in NAMES] == [None] * len(NAMES)
        assert [listed(store, now, name) for name in NAMES] == [[]] * len(NAMES)

    def test_an_owner_of_another_issuer_is_kept_as_it_is(self, store: Store, now: float) -> None:
        # Its name holds a lone surrogate, for which neither JSON nor UTF-8 has a form.
        owners = ["ann", *(owner_of("ann", f"https://{name}.example/") for name in "ab")]
        for number, owner in enumerate(owners):
            session, family = a_session(now, session_key=owner), a_family(now, subject=owner)
            store.create_session(at(f"s{number}"), session)
            store.start_family(at(f"f{number}"), family)
            assert store.read_session(at(f"s{number}"), now) == session
            assert store.read_family(at(f"f{number}"), now) == family
        store.cut(SLOT, owners[1], now, now + 100.0)
        sessions = [len(listed(store, now, owner)) for owner in owners]
        families = [len(listed_families(store, now, owner)) for owner in owners]
        assert sessions == families == [1, 0, 1]
        assert store.marks(SLOT, None, None, owners[1], now).cut_off is not None
        assert store.marks(SLOT, None, None, owners[2], now).cut_off is None
        assert store.delete_session(at("s2"), now) == owners[2]

    @pytest.mark.parametrize("name", NAMES)
    def test_clearing_takes_the_sessions_of_that_owner_only(
        self, store: Store, now: float, name: str
    ) -> None:
        for owner in NAMES:
            for number in range(2):
                store.create_session(at(f"{owner}/{number}"), a_session(now, session_key=owner))
        assert cleared(store, now, name) == 2
        assert cleared(store, now, name) == 0
        left = {owner: len(listed(store, now, owner)) for owner in NAMES}
        assert left == {owner: 0 if owner == name else 2 for owner in NAMES}
        assert store.read_session(at(f"{name}/0"), now) is None

    def test_clearing_may_leave_one(self, store: Store, now: float) -> None:
        for name in ("kept", "one", "two"):
            store.create_session(at(name), a_session(now, data=ANY_JSON))
        for _ in range(2):
            before = len(listed(store, now))
            assert cleared(store, now, keep=at("kept")) == before - 1
            assert listed(store, now) == [at("kept")]
        assert store.read_session(at("one"), now) is None
        assert store.read_session(at("kept"), now) == a_session(now, data=ANY_JSON)
        # The one that stays goes on as before.
        assert store.update_session(at("kept"), {"n": 1}, now, 10_000)
        assert self.rework(store, "kept", "kept2", now)
        assert cleared(store, now) == 1

    @pytest.mark.parametrize("keep", ["nowhere", "bobs"])
    def test_clearing_leaves_nothing_for_a_key_that_is_not_the_owners(
        self, store: Store, now: float, keep: str
    ) -> None:
        store.create_session(at("bobs"), a_session(now, session_key="bob"))
        store.create_session(at("k"), a_session(now))
        assert cleared(store, now, keep=at(keep)) == 1
        assert listed(store, now) == []
        assert len(listed(store, now, "bob")) == 1

    def test_a_clearing_ends_logins_that_began_before_it_and_none_that_began_after(
        self, store: Store, now: float
    ) -> None:
        before = store.standing(SLOT, "ann", now).cleared
        for clock in (now, now - 5, now):  # by machines whose clocks differ
            cleared(store, clock)
            assert not store.create_session(at("k"), a_session(now, cleared=before))
            assert store.read_session(at("k"), now) is None
            before = store.standing(SLOT, "ann", now).cleared
            assert store.create_session(at(f"k{clock}"), a_session(now - 10, cleared=before))
        assert store.create_session(at("b"), a_session(now, session_key="bob"))

    def test_clearing_finds_a_session_under_its_new_id(self, store: Store, now: float) -> None:
        store.create_session(at("k"), a_session(now))
        self.rework(store, "k", "k2", now)
        assert cleared(store, now) == 1
        assert store.read_session(at("k2"), now) is None

    def test_the_list_holds_the_living_with_the_oldest_first(
        self, store: Store, now: float
    ) -> None:
        living = {
            "third": a_session(now + 3),
            "first": a_session(now + 1),
            "second": a_session(now + 2, data=ANY_JSON),
        }
        for key, session in living.items():
            store.create_session(at(key), session)
        store.create_session(at("ended"), a_session(now, idle=5.0))
        store.create_session(at("other"), a_session(now, session_key="bob"))
        names = ("first", "second", "third")
        assert listed(store, now + 5) == [at(name) for name in names]
        (page,) = pages(store, now + 5)
        assert list(page.living) == [Listed.of(at(name), living[name]) for name in names]
        assert (page.after, page.cleared) == (None, 0)

    def test_listing_slides_nothing(self, store: Store, now: float) -> None:
        store.create_session(at("k"), a_session(now))
        listed(store, now + 90)
        assert listed(store, now + 100) == []

    def test_a_page_has_so_many_and_the_next_begins_after_it(
        self, store: Store, now: float
    ) -> None:
        # Half of them at one moment: an order by age alone would lose some between two pages.
        ages = {at(f"k{n:03}"): now + max(0, n - 130) for n in range(260)}
        for key in sorted(ages, reverse=True):
            store.create_session(key, a_session(ages[key], ends_at=now + 1e4, idle=1e4))
        found = list(pages(store, now + 300))
        assert [len(page.living) for page in found] == [STEP, STEP, 60]
        keys = listed(store, now + 300)
        assert sorted(keys) == list(ages)
        assert [ages[key] for key in keys] == list(ages.values())

    def test_a_walk_goes_on_where_the_last_one_it_saw_has_gone(
        self, store: Store, now: float
    ) -> None:
        for number in range(STEP + 20):
            store.create_session(at(f"k{number:03}"), a_session(now + number // 50))
        first = store.list_sessions(SLOT, "ann", now + 2)
        last, before = first.living[-1].key, first.living[-2].key
        assert store.rework_session(last, last + "new", "seed", now)
        store.delete_session(before, now)
        rest = [each.key for page in pages(store, now + 2, after=first.after)
                for each in page.living]  # fmt: skip
        seen = {each.key for each in first.living} | set(rest)
        assert {at(f"k{number:03}") for number in range(STEP + 20)} <= seen

    def test_a_walk_meets_a_session_that_is_used_meanwhile(self, store: Store, now: float) -> None:
        for number in range(2 * STEP):
            store.create_session(at(f"k{number:03}"), a_session(now))
        first = store.list_sessions(SLOT, "ann", now)
        for number in range(0, 2 * STEP, 3):
            assert store.read_session(at(f"k{number:03}"), now + 50)
        rest = list(pages(store, now + 50, after=first.after))
        seen = [each.key for page in (first, *rest) for each in page.living]
        assert sorted(seen) == [at(f"k{number:03}") for number in range(2 * STEP)]

    def test_listing_removes_the_dead_page_by_page(self, store: Store, now: float) -> None:
        for number in range(250):
            store.create_session(at(f"k{number}"), a_session(now, idle=5.0))
        store.create_session(at("alive"), a_session(now))
        assert [each.key for page in pages(store, now + 5) for each in page.living] == [at("alive")]
        assert [len(page.living) for page in pages(store, now + 5)] == [1]

    def test_tightened_limits_reach_the_list(self, store: Store, now: float) -> None:
        store.create_session(at("old"), a_session(now))
        store.create_session(at("new"), a_session(now + 30))
        page = store.list_sessions(SLOT, "ann", now + 40, limits=Limits(40.0, 60.0))
        shown = a_session(now + 30).within(Limits(40.0, 60.0))
        assert list(page.living) == [Listed.of(at("new"), shown)]
        cleared_page = store.clear_sessions(
            SLOT, "ann", now + 40, now + 1e6, limits=Limits(absolute=5.0)
        )
        assert (list(cleared_page.living), cleared_page.cleared) == ([], 0)

    # --- most sessions of one owner ---

    def test_a_login_ends_the_oldest_of_its_owner(self, store: Store, now: float) -> None:
        for number in range(5):
            store.create_session(at(f"k{number}"), a_session(now + number), 3)
        store.create_session(at("bobs"), a_session(now - 50, session_key="bob"), 3)
        assert listed(store, now + 5) == [at("k2"), at("k3"), at("k4")]
        assert [store.read_session(at(f"k{n}"), now + 5) for n in (0, 1)] == [None, None]
        assert listed(store, now + 5, "bob") == [at("bobs")]

    def test_the_oldest_is_the_one_that_was_created_first(self, store: Store, now: float) -> None:
        for number in range(3):
            store.create_session(at(f"k{number}"), a_session(now + number, ends_at=now + 1e4))
        # Used last, and known by another id: neither makes it younger.
        assert self.rework(store, "k0", "moved", now + 40)
        assert store.read_session(at("moved"), now + 60)
        store.create_session(at("new"), a_session(now + 61, ends_at=now + 1e4), 3)
        assert listed(store, now + 61) == [at("k1"), at("k2"), at("new")]

    @pytest.mark.parametrize("behind", [0.0, 5.0])
    def test_a_login_never_ends_itself(self, store: Store, now: float, behind: float) -> None:
        for number in range(3):
            store.create_session(at(f"k{number}"), a_session(now), 1)
        for _ in range(2):  # again, after a lost reply
            store.create_session(at("a"), a_session(now - behind), 1)
            assert listed(store, now) == [at("a")]

    def test_what_has_ended_is_not_counted(self, store: Store, now: float) -> None:
        for number in range(4):
            store.create_session(at(f"short{number}"), a_session(now + 5, idle=5.0))
        store.create_session(at("old"), a_session(now, idle=500.0))
        store.create_session(at("gone"), a_session(now + 1))
        store.delete_session(at("gone"), now + 1)
        store.create_session(at("new"), a_session(now + 20), 2)
        assert listed(store, now + 20) == [at("old"), at("new")]

    def test_a_used_session_counts_until_its_new_end(self, store: Store, now: float) -> None:
        for number in range(2):
            store.create_session(at(f"k{number}"), a_session(now + number))
        assert store.read_session(at("k0"), now + 80)
        store.create_session(at("new"), a_session(now + 150), 2)
        assert listed(store, now + 150) == [at("k0"), at("new")]
        store.create_session(at("next"), a_session(now + 175), 2)
        assert listed(store, now + 175) == [at("new"), at("next")]

    def test_a_lower_bound_is_reached_in_steps(self, store: Store, now: float) -> None:
        for number in range(250):
            store.create_session(at(f"k{number:03}"), a_session(now + number / 1000))
        counts = []
        for number in range(4):
            store.create_session(at(f"new{number}"), a_session(now + 1 + number), 10)
            counts.append(len(listed(store, now + 9)))
        assert counts == [251 - STEP, 252 - 2 * STEP, 10, 10]
        assert listed(store, now + 9)[-4:] == [at(f"new{number}") for number in range(4)]

    def test_parallel_logins_leave_as_many_as_may_live(self, store: Store, now: float) -> None:
        at_once(16, lambda n: store.create_session(at(f"k{n}"), a_session(now + n / 100), 5))
        assert len(listed(store, now + 1)) == 5

    # --- most families of one subject ---

    def test_a_family_ends_the_oldest_of_its_subject(self, store: Store, now: float) -> None:
        for number in range(5):
            store.start_family(at(f"f{number}"), a_family(now + number), 3, now + 60)
        store.start_family(at("bobs"), a_family(now, subject="bob"), 3, now + 60)
        alive = [n for n in range(5) if store.read_family(at(f"f{n}"), now + 5)]
        assert alive == [2, 3, 4]
        assert store.read_family(at("bobs"), now + 5) is not None
        assert self.turn(store, 1, now + 5, family_id="f0") == (Rotation.REVOKED, None)

    def test_access_tokens_of_a_family_that_was_too_many_are_revoked(
        self, store: Store, now: float
    ) -> None:
        for number in range(3):
            store.start_family(at(f"f{number}"), a_family(now + number), 2, now + 60)
        found = [store.marks(SLOT, "t", at(f"f{n}"), "ann", now + 59).revoked for n in range(3)]
        assert found == [True, False, False]
        assert not store.marks(SLOT, "t", at("f0"), "ann", now + 60).revoked

    def test_the_oldest_family_is_the_one_that_was_started_first(
        self, store: Store, now: float
    ) -> None:
        for number in range(2):
            store.start_family(at(f"f{number}"), a_family(now + number))
        self.turn(store, 1, now + 50, family_id="f0")
        store.start_family(at("new"), a_family(now + 51), 2, now + 99)
        assert [store.read_family(at(f"f{n}"), now + 52) is None for n in (0, 1)] == [True, False]

    @pytest.mark.parametrize("end", ["idle", "absolute", "ended", "reused"])
    def test_a_family_that_has_ended_is_not_counted(
        self, store: Store, now: float, end: str
    ) -> None:
        ends = {"idle": {"idle_until": now + 20}, "absolute": {"ends_at": now + 20}}.get(end, {})
        store.start_family(at("old"), a_family(now, idle_until=now + 500))
        store.start_family(at("f"), a_family(now + 1, generation=9, **ends))
        if end == "ended":
            store.end_family(at("f"), now + 2, now + 9)
        elif end == "reused":
            self.turn(store, 1, now + 2)
        store.start_family(at("new"), a_family(now + 30), 2, now + 99)
        assert store.read_family(at("old"), now + 30) is not None

    def test_a_rotated_family_counts_until_its_new_end(self, store: Store, now: float) -> None:
        for number in range(2):
            store.start_family(at(f"f{number}"), a_family(now + number))
        self.turn(store, 1, now + 80, family_id="f0")
        store.start_family(at("new"), a_family(now + 150), 2, now + 200)
        assert store.read_family(at("f0"), now + 150) is not None
        store.start_family(at("next"), a_family(now + 175), 2, now + 200)
        assert store.read_family(at("f0"), now + 175) is None

    def test_too_many_families_are_ended_in_steps(self, store: Store, now: float) -> None:
        for number in range(250):
            store.start_family(at(f"f{number:03}"), a_family(now + number / 1000))
        counts = []
        for number in range(4):
            store.start_family(at(f"new{number}"), a_family(now + 1 + number), 10, now + 60)
            old = [store.read_family(at(f"f{n:03}"), now + 9) for n in range(250)]
            counts.append(len([family for family in old if family is not None]))
        assert counts == [250 - STEP, 250 - 2 * STEP, 7, 6]

    # --- clearing more than one step can remove ---

    def test_all_sessions_are_dead_from_the_first_step_of_a_clearing(
        self, store: Store, now: float
    ) -> None:
        keys = [at(f"k{number:03}") for number in range(250)]
        for key in keys:
            store.create_session(key, a_session(now))
        first = store.clear_sessions(SLOT, "ann", now + 1, now + 1e6, keys[200])
        assert first.after is not None
        # Here the process that clears dies; nothing brings back what it did not remove.
        late = now + 90
        assert [key for key in keys if store.read_session(key, late)] == [keys[200]]
        assert not any(store.update_session(key, {"n": 1}, late, 999) for key in keys[:200])
        assert not any(store.rework_session(key, key + "x", "seed", late) for key in keys[201:])
        assert listed(store, late) == [keys[200]]

    def test_a_clearing_counts_each_session_once(self, store: Store, now: float) -> None:
        for number in range(250):
            store.create_session(at(f"k{number:03}"), a_session(now))
        for number in range(20):
            store.create_session(at(f"ended{number}"), a_session(now, idle=0.5))
        first = store.clear_sessions(SLOT, "ann", now + 1, now + 1e6, at("k200"))
        assert first.cleared <= STEP
        # Its reply is lost, or the rest of it: it is repeated.
        assert first.cleared + cleared(store, now + 1, keep=at("k200")) == 249
        assert cleared(store, now + 1, keep=at("k200")) == 0
        assert listed(store, now + 1) == [at("k200")]

    def test_logins_after_a_clearing_are_neither_removed_nor_counted(
        self, store: Store, now: float
    ) -> None:
        for number in range(150):
            store.create_session(at(f"k{number:03}"), a_session(now))
        first = store.clear_sessions(SLOT, "ann", now + 1, now + 1e6)
        own = store.standing(SLOT, "ann", now + 1).cleared
        # Also by a machine whose clock is behind.
        store.create_session(at("new"), a_session(now - 4, cleared=own))
        rest = [page.cleared for page in pages(store, now + 1, after=first.after)]
        assert first.cleared + sum(rest) == 150
        assert listed(store, now + 1) == [at("new")]

    def test_a_kept_session_stays_through_every_later_clearing_that_keeps_it(
        self, store: Store, now: float
    ) -> None:
        store.create_session(at("k"), a_session(now))
        for step in range(3):
            assert cleared(store, now - step, keep=at("k")) == 0
            assert self.rework(store, "k", "k2", now)
            assert self.rework(store, "k2", "k", now)
            assert store.read_session(at("k"), now) is not None
        assert cleared(store, now) == 1

    def test_a_clearing_lets_go_at_its_end_and_not_before(self, store: Store, now: float) -> None:
        store.clear_sessions(SLOT, "ann", now, now + 10)
        assert not store.create_session(at("k"), a_session(now + 9.999))
        assert store.create_session(at("k"), a_session(now + 10))

    # --- sessions, many at once ---

    # --- the logins of one subject: its sessions and families ---

    @pytest.mark.parametrize("after", [-5.0, 0.0, 0.001, 30.0])
    def test_ending_logins_ends_sessions_and_families_at_once(
        self, store: Store, now: float, after: float
    ) -> None:
        for name in ("s", "s2", "s3"):
            store.create_session(at(name), a_session(now))
            # Twice: what a store remembers of it must not outlive the end.
            assert store.read_session(at(name), now) == store.read_session(at(name), now)
        for name in ("f", "f2"):
            store.start_family(at(name), a_family(now))
        store.cut_logins(SLOT, "ann", now + after, now + 1000)
        assert store.read_session(at("s"), now + 1) is None
        assert not store.update_session(at("s2"), {"n": 1}, now + 1, 1000)
        assert not self.rework(store, "s3", "s4", now + 1)
        assert store.read_family(at("f"), now + 1) is None
        assert self.turn(store, 1, now + 40) == (Rotation.REVOKED, None)
        assert store.end_family(at("f2"), now + 40, now + 99) is None

    def test_ending_logins_is_about_that_subject_only(self, store: Store, now: float) -> None:
        for name in NAMES:
            store.create_session(at(f"{name}/s"), a_session(now, session_key=name))
            store.start_family(at(f"{name}/f"), a_family(now, subject=name))
        assert ended_logins(store, now, "a") == (1, 1)
        assert store.standing(SLOT, "b", now).latest == 0.0
        for name in NAMES:
            session = store.read_session(at(f"{name}/s"), now)
            family = store.read_family(at(f"{name}/f"), now)
            assert (session is None) == (family is None) == (name == "a"), name

    def test_ending_logins_reaches_tokens_of_families_and_no_others(
        self, store: Store, now: float
    ) -> None:
        store.cut_logins(SLOT, "ann", now, now + 10)
        for last in (now, now + 9.999):
            marks = store.marks(SLOT, "t", at("f"), "ann", last)
            assert marks == Marks(logins=now)
            assert marks.cut_off_of(None) is None
            assert marks.cut_off_of(at("f")) == now == store.standing(SLOT, "ann", last).latest
        assert store.marks(SLOT, "t", at("f"), "ann", now + 10) == Marks()
        assert store.marks(SLOT, "t", at("f"), "bob", now) == Marks()
        assert store.marks(SLOT, "ann", "ann", None, now) == Marks()

    def test_each_cut_off_is_later_than_those_of_both_kinds_before(
        self, store: Store, now: float
    ) -> None:
        latest = 0.0
        for number, behind in enumerate((0, 5, -5, 0, 0, 20)):  # by machines whose clocks differ
            cut = store.cut_logins if number % 2 else store.cut
            cut(SLOT, "ann", now - behind, now + 1e5)
            found = store.standing(SLOT, "ann", now)
            assert found.latest > latest
            assert found.latest == (found.logins if number % 2 else found.cut_off)
            latest = found.latest

    def test_a_cut_off_of_one_kind_keeps_that_of_the_other(self, store: Store, now: float) -> None:
        store.cut(SLOT, "ann", now, now + 50)
        store.cut_logins(SLOT, "ann", now + 1, now + 10)
        first = store.standing(SLOT, "ann", now)
        assert (first.cut_off, first.logins) == (now, now + 1)
        assert store.marks(SLOT, "t", None, "ann", now + 49).cut_off == now
        store.cut(SLOT, "ann", now + 2, now + 50)
        assert store.standing(SLOT, "ann", now).logins == now + 1

    def test_logins_after_the_end_of_all_live_and_those_on_their_way_do_not(
        self, store: Store, now: float
    ) -> None:
        before = store.standing(SLOT, "ann", now).latest
        for number, clock in enumerate((now, now - 5, now)):
            store.cut_logins(SLOT, "ann", clock, now + 1000)
            assert not store.create_session(at("late"), a_session(now + 1, cut_off=before))
            store.start_family(at(f"late{number}"), a_family(now + 1, cut_off=before))
            assert store.read_family(at(f"late{number}"), now + 1) is None
            before = store.standing(SLOT, "ann", now).latest
            assert store.create_session(at(f"s{number}"), a_session(now - 10, cut_off=before))
            store.start_family(at(f"f{number}"), a_family(now - 10, cut_off=before))
            assert store.read_session(at(f"s{number}"), now) is not None
            assert self.turn(store, 1, now, family_id=f"f{number}")[0] is Rotation.NEW
        assert listed(store, now) == [at("s2")]
        assert listed_families(store, now) == [at("f2")]

    def test_a_revocation_ends_what_was_minted_after_the_end_of_all_logins(
        self, store: Store, now: float
    ) -> None:
        store.cut_logins(SLOT, "ann", now + 9, now + 1000)  # by a machine whose clock is ahead
        own = store.standing(SLOT, "ann", now).latest
        store.create_session(at("s"), a_session(now, cut_off=own))
        store.start_family(at("f"), a_family(now, cut_off=own))
        store.cut(SLOT, "ann", now, now + 1000)
        assert store.read_session(at("s"), now) is None
        assert store.read_family(at("f"), now) is None
        assert (store.marks(SLOT, "t", None, "ann", now).cut_off or 0) > own

    def test_what_was_ended_is_counted_once_and_marked(self, store: Store, now: float) -> None:
        for number in range(250):
            store.create_session(at(f"s{number:03}"), a_session(now))
            store.start_family(at(f"f{number:03}"), a_family(now))
        store.create_session(at("old"), a_session(now, idle=0.5))
        store.start_family(at("old"), a_family(now, idle_until=now + 0.5))
        assert ended_logins(store, now + 1) == (250, 250)
        assert ended_logins(store, now + 1) == (0, 0)
        assert listed(store, now + 1) == listed_families(store, now + 1) == []
        for name in ("f000", "f120", "f249"):
            assert self.turn(store, 1, now + 2, family_id=name) == (Rotation.REVOKED, None)
            assert store.marks(SLOT, None, at(name), None, now + 60.9).revoked
            assert not store.marks(SLOT, None, at(name), None, now + 61).revoked

    def test_all_logins_are_dead_where_nobody_counts_them(self, store: Store, now: float) -> None:
        for number in range(150):
            store.create_session(at(f"s{number:03}"), a_session(now))
            store.start_family(at(f"f{number:03}"), a_family(now))
        store.cut_logins(SLOT, "ann", now, now + 1000)
        # Here the process that ends them dies.
        assert not [n for n in range(150) if store.read_session(at(f"s{n:03}"), now + 90)]
        assert not [n for n in range(150) if store.read_family(at(f"f{n:03}"), now + 90)]
        assert listed(store, now + 90) == listed_families(store, now + 90) == []

    def test_logins_after_the_end_of_all_are_neither_removed_nor_counted(
        self, store: Store, now: float
    ) -> None:
        for number in range(150):
            store.start_family(at(f"f{number:03}"), a_family(now))
        store.cut_logins(SLOT, "ann", now + 1, now + 1000)
        own = store.standing(SLOT, "ann", now + 1).latest
        # Also by a machine whose clock is behind.
        store.start_family(at("new"), a_family(now - 4, cut_off=own))
        store.create_session(at("new"), a_session(now - 4, cut_off=own))
        assert sum(page.cleared for page in family_pages(store, now + 1)) == 150
        assert sum(page.cleared for page in pages(store, now + 1)) == 0
        assert listed_families(store, now + 1) == listed(store, now + 1) == [at("new")]

    def test_families_that_a_revocation_has_ended_are_not_counted(
        self, store: Store, now: float
    ) -> None:
        store.start_family(at("f"), a_family(now))
        store.create_session(at("s"), a_session(now))
        store.cut(SLOT, "ann", now, now + 1000)
        assert ended_logins(store, now) == (0, 0)
        assert listed_families(store, now) == []

    def test_the_families_of_a_subject_are_listed_with_the_oldest_first(
        self, store: Store, now: float
    ) -> None:
        families = {
            "third": a_family(now + 3, user_agent=None, ip=None),
            "first": a_family(now + 1),
            "second": a_family(now + 2, claims=ANY_JSON),
        }
        for name, family in families.items():
            store.start_family(at(name), family)
        store.start_family(at("idle"), a_family(now, idle_until=now + 5))
        store.start_family(at("over"), a_family(now, ends_at=now + 5))
        store.start_family(at("other"), a_family(now, subject="bob"))
        store.start_family(at("ended"), a_family(now))
        store.end_family(at("ended"), now, now + 60)
        (page,) = family_pages(store, now + 5)
        wanted = [
            Listed.of_family(at(name), families[name]) for name in ("first", "second", "third")
        ]
        assert list(page.living) == wanted
        assert (page.after, page.cleared) == (None, 0)
        assert wanted[0][1:] == (now + 1, now + 1, now + 101, "agent/1", "192.0.2.1")

    def test_a_rotation_shows_in_the_list_and_moves_no_family(
        self, store: Store, now: float
    ) -> None:
        for number in range(2):
            store.start_family(at(f"f{number}"), a_family(now + number))
        self.turn(store, 1, now + 50, family_id="f0")
        (page,) = family_pages(store, now + 60)
        seen = [(each.key, each.last_seen_at, each.expires_at) for each in page.living]
        assert seen == [(at("f0"), now + 50, now + 150), (at("f1"), now + 1, now + 101)]

    def test_listing_families_uses_none(self, store: Store, now: float) -> None:
        store.start_family(at("f"), a_family(now))
        assert listed_families(store, now + 99.999) == [at("f")]
        assert listed_families(store, now + 100) == []

    def test_a_family_that_was_marked_or_reused_is_not_listed(
        self, store: Store, now: float
    ) -> None:
        store.start_family(at("marked"), a_family(now))
        store.start_family(at("f"), a_family(now, generation=5))
        store.mark(SLOT, Kind.FAMILY, at("marked"), now, now + 60)
        assert self.turn(store, 1, now)[0] is Rotation.REUSED
        assert "abf" not in listed_families(store, now)

    def test_a_page_of_families_has_so_many_and_the_next_begins_after_it(
        self, store: Store, now: float
    ) -> None:
        # Half of them at one moment: an order by age alone would lose some between two pages.
        ages = {at(f"f{n:03}"): now + max(0, n - 130) for n in range(260)}
        for name in sorted(ages, reverse=True):
            store.start_family(name, a_family(ages[name], ends_at=now + 1e4, idle_until=now + 1e4))
        found = list(family_pages(store, now + 300))
        assert [len(page.living) for page in found] == [STEP, STEP, 60]
        names = [family.key for page in found for family in page.living]
        assert sorted(names) == list(ages)
        assert [ages[name] for name in names] == list(ages.values())

    def test_a_walk_of_families_goes_on_where_the_last_one_it_saw_has_gone(
        self, store: Store, now: float
    ) -> None:
        names = [at(f"f{number:03}") for number in range(STEP + 20)]
        for number, name in enumerate(names):
            store.start_family(name, a_family(now + number // 50))
        first = store.list_families(SLOT, "ann", now + 2, now + 60)
        for each in first.living[-2:]:
            store.end_family(each.key, now + 2, now + 60)
        rest = [f.key for page in family_pages(store, now + 2, after=first.after)
                for f in page.living]  # fmt: skip
        assert {each.key for each in first.living} | set(rest) == set(names)

    def test_tightened_limits_reach_the_list_of_families(self, store: Store, now: float) -> None:
        store.start_family(at("f"), a_family(now))
        for limits, end in ((Limits(idle=30.0), 30), (Limits(absolute=40.0), 40)):

            def ends(moment: float, limits: Limits = limits) -> list[float]:
                page = store.list_families(SLOT, "ann", moment, moment + 60, "", limits)
                return [family.expires_at for family in page.living]

            assert ends(now + end - 0.001) == [now + end]
        assert ends(now + 40) == []

    def test_no_turn_outlives_a_parallel_end_of_all_logins(self, store: Store, now: float) -> None:
        for round_ in range(20):
            name, subject = f"f{round_}", f"subject {round_}"
            store.start_family(at(name), a_family(now, subject=subject))

            def job(number: int, name: str = name, subject: str = subject) -> None:
                if number == 0:
                    store.cut_logins(SLOT, subject, now, now + 100)
                elif number == 1:
                    list(family_pages(store, now, subject))
                else:
                    self.turn(store, 1, now, family_id=name)

            at_once(4, job)
            assert store.read_family(at(name), now) is None
            assert self.turn(store, 2, now, family_id=name) == (Rotation.REVOKED, None)

    def test_sixteen_threads_reworking_one_session_get_one_new_id(
        self, store: Store, now: float
    ) -> None:
        for round_ in range(10):
            owner = f"owner {round_}"
            store.create_session(at(f"k{round_}"), a_session(now, session_key=owner))

            def job(number: int, round_: int = round_) -> str | None:
                return self.rework(store, f"k{round_}", f"k{round_}-{number}", now)

            (name,) = set(at_once(16, job))
            assert name is not None
            assert listed(store, now, owner) == [at(name)]
            alive = [n for n in range(16) if store.read_session(at(f"k{round_}-{n}"), now)]
            assert [f"k{round_}-{n}" for n in alive] == [name]

    def test_a_use_of_the_new_id_beside_repeats_ends_them(self, store: Store, now: float) -> None:
        for round_ in range(20):
            old, new = f"k{round_}", f"k{round_}-new"
            store.create_session(at(old), a_session(now))
            assert self.rework(store, old, new, now) == new

            def job(number: int, old: str = old, new: str = new) -> bool:
                if number == 0:
                    return store.read_session(at(new), now) is not None
                return self.rework(store, old, f"{old}-{number}", now) in (None, new)

            assert at_once(4, job) == [True] * 4
            assert self.rework(store, old, f"{old}-late", now) is None

    def test_parallel_updates_lose_nothing(self, store: Store, now: float) -> None:
        store.create_session(at("k"), a_session(now, data={}))

        def job(number: int) -> None:
            for step in range(10):
                assert store.update_session(at("k"), {f"{number}.{step}": step}, now, 100_000)

        at_once(16, job)
        data = store.read_session(at("k"), now).data  # type: ignore[union-attr]
        assert data == {f"{n}.{step}": step for n in range(16) for step in range(10)}

    def test_a_read_that_slides_loses_no_parallel_update(self, store: Store, now: float) -> None:
        store.create_session(at("k"), a_session(now, data={}, ends_at=now + 1e6))

        def job(number: int) -> None:
            for step in range(40):
                if number % 2:
                    assert store.read_session(at("k"), now + 20 * step)
                else:
                    assert store.update_session(at("k"), {f"{number}.{step}": 1}, now, 100_000)

        at_once(8, job)
        data = store.read_session(at("k"), now + 800).data  # type: ignore[union-attr]
        assert len(data) == 4 * 40

    def test_an_update_that_succeeded_is_in_the_reworked_session(
        self, store: Store, now: float
    ) -> None:
        for round_ in range(20):
            store.create_session(at(f"k{round_}"), a_session(now, data={}))

            def job(number: int, round_: int = round_) -> bool:
                if number == 0:
                    return self.rework(store, f"k{round_}", f"k{round_}b", now) is not None
                return store.update_session(at(f"k{round_}"), {str(number): 1}, now, 1000)

            done = at_once(8, job)
            assert done[0] is True
            data = store.read_session(at(f"k{round_}b"), now).data  # type: ignore[union-attr]
            assert set(data) == {str(n) for n in range(1, 8) if done[n]}

    @pytest.mark.parametrize("end", ["delete", "clear", "end all logins"])
    def test_nothing_outlives_a_parallel_end(self, store: Store, now: float, end: str) -> None:
        for round_ in range(20):
            key, owner = f"k{round_}", f"owner {round_}"
            store.create_session(at(key), a_session(now, session_key=owner))

            def job(number: int, key: str = key, owner: str = owner) -> bool:
                if number == 0:
                    if end == "clear":
                        return cleared(store, now, owner) == 1
                    if end == "end all logins":
                        store.cut_logins(SLOT, owner, now, now + 100)
                        return True
                    return store.delete_session(at(key), now) == owner
                if number == 1:
                    return self.rework(store, key, key + "b", now) is not None
                if number == 2:
                    return store.update_session(at(key), {"n": 1}, now, 1000)
                return store.read_session(at(key), now + 50) is not None

            ended, *_ = at_once(4, job)
            # Whichever came first, the owner has nothing left.
            assert ended
            assert listed(store, now, owner) == []
            assert store.read_session(at(key), now) is None
            assert self.rework(store, key, key + "c", now) is None

    def test_sessions_that_are_created_in_parallel_are_all_there(
        self, store: Store, now: float
    ) -> None:
        def job(number: int) -> None:
            for step in range(5):
                store.create_session(at(f"{number}.{step}"), a_session(now + step))

        at_once(16, job)
        assert len(listed(store, now + 5)) == 80
        assert cleared(store, now) == 80
