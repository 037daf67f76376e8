"""The conformance suite in the hands of somebody who writes a store: green, and red."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flask_jam._helpers.owned import OwnerIndex
from flask_jam.stores.api_keys import ApiKey, KeyRotation, NewKey
from flask_jam.stores.interface import Family, Kind, Marks, Page, Rotation, Session
from flask_jam.stores.memory import MemoryStore, _CutOff
from flask_jam.stores.ticket_verbs import Issued, Presented, StoredTicket
from flask_jam.testing.stores import StoreConformance

from ..cases import loop_inherited_cases

pytest_plugins = ["pytester"]


class CountingStore(MemoryStore):
    """Somebody else's: it counts the sessions that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.created = 0

    def create_session(self, key: str, session: Session, most: int = 0) -> bool:
        self.created += 1
        return super().create_session(key, session, most)


@loop_inherited_cases
class TestCountingStore(StoreConformance):
    @pytest.fixture
    def store(self) -> CountingStore:
        return CountingStore()


class MarksForEver(MemoryStore):
    def mark(self, slot: str, kind: Kind, name: str, at: float, until: float) -> None:
        super().mark(slot, kind, name, at, until + 1e9)


class CutsByTheClock(MemoryStore):
    """Two cut-offs at one moment are one, and a clock that is behind sets an earlier one."""

    def cut(self, slot: str, subject: str, now: float, until: float) -> None:
        self._subjects[subject] = _CutOff(now, until, 0.0)


class EndsLoginsByTheClock(MemoryStore):
    """The two kinds of cut-offs do not know of each other."""

    def cut_logins(self, slot: str, subject: str, now: float, until: float) -> None:
        old = self._cut_off(subject, now)
        self._subjects[subject] = _CutOff(old.at, until, max(now, old.logins + 0.001))


class EndsLoginsOneByOne(MemoryStore):
    """What a walk has not reached yet lives on."""

    def cut_logins(self, slot: str, subject: str, now: float, until: float) -> None:
        for family_id in list(self._families)[:100]:
            self.end_family(family_id, now, until)


class MarksNoFamily(MemoryStore):
    def list_families(self, *args: Any, **limits: Any) -> Page:
        page = super().list_families(*args, **limits)
        self._logins.clear()
        return page


class KeepsCutSessions(MemoryStore):
    """A session is compared with the cut-off when it is created, and never again."""

    def read_session(self, key: str, now: float) -> Session | None:
        session = self._sessions.get(key)
        return session if session and now < session.expires_at else super().read_session(key, now)


class KeepsCutFamilies(MemoryStore):
    def read_family(self, family_id: str, now: float) -> Family | None:
        return self._families.get(family_id)


class ForgetsClearings(MemoryStore):
    """Clears what is there, and not what is on its way."""

    def create_session(self, key: str, session: Session, most: int = 0) -> bool:
        return super().create_session(key, replace(session, cleared=9e9), most)


class ClearsPageByPage(MemoryStore):
    """What a clearing has not removed yet lives on."""

    def read_session(self, key: str, now: float) -> Session | None:
        return self._sessions.get(key)


class EndsTheNewest(MemoryStore):
    def create_session(self, key: str, session: Session, most: int = 0) -> bool:
        names = list(self._sessions)
        created = super().create_session(key, session)
        if created and most and len(names) >= most:
            self._pop(names[-1])
        return created


class ForgetsToMark(MemoryStore):
    """A family that was one too many is gone; its access tokens live on."""

    def start_family(
        self, family_id: str, family: Family, most: int = 0, mark_until: float = 0.0
    ) -> None:
        super().start_family(family_id, family, most)


class ListsAllAtOnce(MemoryStore):
    def list_sessions(self, *args: Any) -> Page:
        found = super().list_sessions(*args)
        while found.after is not None:
            page = super().list_sessions(*args[:3], found.after)
            found = Page([*found.living, *page.living], page.after)
        return found


class LosesTheFraction(MemoryStore):
    def marks(self, *args: Any) -> Marks:
        found = super().marks(*args)
        cut = found.cut_off
        return found._replace(cut_off=None if cut is None else float(int(cut)))


class TurnsTwice(MemoryStore):
    """Two steps where the contract asks for one."""

    def rotate_family(
        self, family_id: str, generation: int, *, now: float, grace: float, idle: float,
        claims: Mapping[str, Any] | None, mark_until: float,
    ) -> tuple[Rotation, Family | None]:  # fmt: skip
        family = self.read_family(family_id, now)
        if family is None or family.generation != generation:
            return super().rotate_family(
                family_id, generation, now=now, grace=grace, idle=idle, claims=claims,
                mark_until=mark_until,
            )  # fmt: skip
        time.sleep(0.01)  # as a network does: others come in between
        turned = replace(family, generation=generation + 1, rotated_at=now, idle_until=now + idle)
        self.start_family(family_id, turned if claims is None else replace(turned, claims=claims))
        return Rotation.NEW, turned


class Revives(MemoryStore):
    """An update that writes what it has read, whatever happened in between."""

    def update_session(
        self, key: str, changes: Mapping[str, Any], now: float, max_bytes: int
    ) -> bool:
        found = self.read_session(key, now)
        if found is None:
            return False
        super().create_session(key, replace(found, data={**found.data, **changes}))
        return True


class ClearsByPrefix(MemoryStore):
    def clear_sessions(self, slot: str, session_key: str, now: float, *args: Any) -> Page:
        others = {"a": ("a:b", "a:b:c", "a "), "a:b": ("a:b:c",)}.get(session_key, ())
        for other in others:
            super().clear_sessions(slot, other, now, *args)
        return super().clear_sessions(slot, session_key, now, *args)


class OldestLast(MemoryStore):
    def list_sessions(self, *args: Any) -> Page:
        found = super().list_sessions(*args)
        return found._replace(living=list(reversed(found.living)))


class ForgetsUses(MemoryStore):
    """The old id of a reworked session gets the new one also when that is in use."""

    def _settle(self, key: str) -> None:
        pass


class LooseLimits(MemoryStore):
    """Ends as they are stored, whatever the settings say now."""

    def read_session(self, key: str, now: float, *_: Any) -> Session | None:
        return super().read_session(key, now)


class RedeemsInTwoSteps(MemoryStore):
    def redeem_ticket(self, key: str, purpose: str, bound: str, now: float) -> Presented:
        found = self.peek_ticket(key, purpose, bound, now)
        time.sleep(0.01)  # as a network does: others come in between
        super().redeem_ticket(key, purpose, bound, now)
        return found


class ForgetsRedeemedTickets(MemoryStore):
    def redeem_ticket(self, key: str, *presented: Any) -> Presented:
        found = super().redeem_ticket(key, *presented)
        self._tickets.pop(key, None)
        return found


class RedeemsForAnyPurpose(MemoryStore):
    """A link that is presented for another purpose is used up by it."""

    def redeem_ticket(self, key: str, purpose: str, bound: str, now: float) -> Presented:
        if key in self._tickets:
            super().redeem_ticket(key, self._tickets[key].ticket.purpose, bound, now)
        return super().redeem_ticket(key, purpose, bound, now)


class KeepsReplacedTickets(MemoryStore):
    def issue_ticket(self, key: str, ticket: StoredTicket, *, replace: bool) -> Issued:
        return super().issue_ticket(key, ticket, replace=False)


class KeepsCutTickets(MemoryStore):
    def cut(self, slot: str, subject: str, now: float, until: float) -> None:
        super().cut_logins(slot, subject, now, until)


class RotatesTwice(MemoryStore):
    """Two steps where the contract asks for one."""

    def rotate_api_key(
        self, key: str, owner: str, new: NewKey, now: float, overlap: float
    ) -> KeyRotation:
        old = self._api_keys.get(key)
        if old is None or old.successor is not None or not old.alive(now):
            return super().rotate_api_key(key, owner, new, now, overlap)
        time.sleep(0.01)  # as a network does: others come in between
        return KeyRotation(made=self._rotated(old, new, now, overlap))


class KeepsCutKeys(MemoryStore):
    """A key is compared with the cut-off when it is created, and never again."""

    def read_api_key(self, key: str, digest: str, now: float) -> ApiKey | None:
        return self._api_keys.get(key)


class ForgetsCutOffs(MemoryStore):
    """A cut-off ends when the last token has, and not when the last key has."""

    def cut(self, slot: str, subject: str, now: float, until: float) -> None:
        index, self._api_key_index = self._api_key_index, OwnerIndex()
        super().cut(slot, subject, now, until)
        self._api_key_index = index


class RevivesKeys(MemoryStore):
    def create_api_key(self, api_key: ApiKey) -> bool:
        self._api_keys.pop(api_key.key, None)
        return super().create_api_key(api_key)


class NotesForgedUses(MemoryStore):
    """A wrong secret is a use."""

    def read_api_key(self, key: str, digest: str, now: float) -> ApiKey | None:
        found = self._api_keys.get(key)
        return found and super().read_api_key(key, found.digest, now)


#: Each breaks a promise of the port, and this test of it must be red.
BROKEN = {
    MarksForEver: "a_mark_is_there_until_its_end_and_not_at_it",
    LosesTheFraction: "a_cut_off_keeps_its_fraction",
    CutsByTheClock: "a_cut_off_only_grows_whatever_the_clock_says",
    EndsLoginsByTheClock: "each_cut_off_is_later_than_those_of_both_kinds_before",
    EndsLoginsOneByOne: "all_logins_are_dead_where_nobody_counts_them",
    MarksNoFamily: "what_was_ended_is_counted_once_and_marked",
    KeepsCutSessions: "a_session_dies_with_a_cut_off_that_is_later_than_its_own",
    KeepsCutFamilies: "a_family_dies_with_a_cut_off_that_is_later_than_its_own",
    ForgetsClearings: "a_clearing_ends_logins_that_began_before_it_and_none_that_began_after",
    TurnsTwice: "fifty_parallel_turns_give_one_successor",
    Revives: "nothing_revives_an_ended_session",
    ClearsByPrefix: "clearing_takes_the_sessions_of_that_owner_only",
    ForgetsUses: "the_old_id_gets_nothing_once_the_new_one_was_used",
    LooseLimits: "a_read_tells_the_ends_that_count",
    ClearsPageByPage: "all_sessions_are_dead_from_the_first_step_of_a_clearing",
    EndsTheNewest: "a_login_ends_the_oldest_of_its_owner",
    ForgetsToMark: "access_tokens_of_a_family_that_was_too_many_are_revoked",
    ListsAllAtOnce: "a_page_has_so_many_and_the_next_begins_after_it",
    RedeemsInTwoSteps: "sixty_four_parallel_redeems_give_one",
    ForgetsRedeemedTickets: "a_ticket_is_redeemed_once_and_known_until_its_end",
    RedeemsForAnyPurpose: "only_its_own_purpose_redeems_a_ticket",
    KeepsReplacedTickets: "a_newer_ticket_ends_those_of_its_purpose_and_owner",
    KeepsCutTickets: "a_ticket_dies_with_a_cut_off_that_is_later_than_its_own",
    RotatesTwice: "fifty_parallel_rotations_of_an_api_key_make_one_successor",
    KeepsCutKeys: "a_later_cut_off_of_everything_ends_an_api_key",
    ForgetsCutOffs: "a_cut_off_counts_as_long_as_an_api_key_may_live",
    RevivesKeys: "a_repeated_creation_of_an_api_key_changes_nothing",
    NotesForgedUses: "a_use_of_an_api_key_is_noted_once_a_minute",
    OldestLast: "the_list_holds_the_living_with_the_oldest_first",
}


@pytest.mark.slow
def test_a_store_that_breaks_a_promise_is_red(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    pytester.makepyfile("""
        import pytest
        from flask_jam.testing.stores import StoreConformance
        from tests.testing.test_stores import BROKEN

        def suite(broken):
            @pytest.fixture
            def store(self):
                return broken()
            return type(f"Test{broken.__name__}", (StoreConformance,), {"store": store})

        for broken in BROKEN:
            globals()[f"Test{broken.__name__}"] = suite(broken)

        class TestNone(StoreConformance): ...
    """)
    wanted = {f"Test{broken.__name__}": test for broken, test in BROKEN.items()}
    wanted["TestNone"] = "the_alarm_is_given_once"
    chosen = " or ".join(f"({name} and {test})" for name, test in wanted.items())
    result = pytester.runpytest_subprocess("-q", "-rfE", "--tb=short", "-k", chosen)
    ends = re.findall(r"^(FAILED|ERROR) \S+::(\w+)::test_([a-z_]+)", result.stdout.str(), re.M)
    assert {name: test for _, name, test in ends} == wanted
    assert {name for end, name, _ in ends if end == "ERROR"} == {"TestNone"}
    # An assertion says what it compared, though it is not in a file of tests.
    result.stdout.fnmatch_lines(["E*At index 0 diff: 'abthird' *"])
    result.stdout.fnmatch_lines(["*NotImplementedError: override the fixture*"])
