"""The conformance tests of stores for tickets: a part of :mod:`flask_jam.testing.stores`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ..stores.interface import Store, owner_of
from ..stores.ticket_verbs import Issued, StoredTicket, TicketState
from .store_samples import ANY_JSON, NAMES, at, at_once

GOOD, GONE, REUSED, REVOKED = (
    TicketState.GOOD,
    TicketState.GONE,
    TicketState.REUSED,
    TicketState.REVOKED,
)


def a_ticket(now: float, **changes: Any) -> StoredTicket:
    """Return a ticket, issued now, for ``ann`` to reset a password."""
    ticket = StoredTicket("ann", "reset", {"n": 0}, now, now + 100.0, "digest")
    return replace(ticket, **changes)


class TicketConformance:
    """The tests of the verbs for tickets. :class:`StoreConformance` inherits them."""

    @staticmethod
    def _issue(
        store: Store, name: str, now: float, *, replace: bool = True, **changes: Any
    ) -> Issued:
        return store.issue_ticket(at(name), a_ticket(now, **changes), replace=replace)

    @staticmethod
    def _peek(store: Store, name: str, now: float) -> TicketState:
        return store.peek_ticket(at(name), "reset", "digest", now)[0]

    @staticmethod
    def _redeem(store: Store, name: str, now: float) -> TicketState:
        return store.redeem_ticket(at(name), "reset", "digest", now)[0]

    def test_a_ticket_is_presented_as_it_was_issued(self, store: Store, now: float) -> None:
        for number, owner in enumerate(("ann", owner_of("ann", "https://idp.example"))):
            ticket = a_ticket(now + 0.25, owner=owner, data=ANY_JSON, bound="")
            assert store.issue_ticket(at(f"{number}"), ticket, replace=True) is Issued.CREATED
            for verb in (store.peek_ticket, store.peek_ticket, store.redeem_ticket):
                assert verb(at(f"{number}"), "reset", "", now + 1) == (GOOD, ticket)

    def test_a_ticket_is_redeemed_once_and_known_until_its_end(
        self, store: Store, now: float
    ) -> None:
        assert self._redeem(store, "k", now) is GONE
        self._issue(store, "k", now)
        assert self._redeem(store, "k", now + 99) is GOOD
        for moment, state in ((now, REUSED), (now + 99.999, REUSED), (now + 100, GONE)):
            assert self._redeem(store, "k", moment) is state
            assert self._peek(store, "k", moment) is state

    def test_a_ticket_is_good_until_its_end_and_not_at_it(self, store: Store, now: float) -> None:
        self._issue(store, "k", now)
        # A clock that is behind the one that issued it, or was set back, changes nothing.
        for moment, state in ((now - 1e6, GOOD), (now + 99.999, GOOD), (now + 100, GONE)):
            assert self._peek(store, "k", moment) is state
        assert self._redeem(store, "k", now + 100) is GONE

    @pytest.mark.parametrize("name", NAMES)
    def test_only_its_own_purpose_redeems_a_ticket(
        self, store: Store, now: float, name: str
    ) -> None:
        self._issue(store, "k", now, purpose=name)
        for verb in (store.peek_ticket, store.redeem_ticket):
            others = {verb(at("k"), n, "digest", now)[0] for n in NAMES if n != name}
            assert others == {TicketState.WRONG_PURPOSE}
        assert store.redeem_ticket(at("k"), name, "digest", now)[0] is GOOD

    def test_only_what_it_is_bound_to_redeems_a_ticket(self, store: Store, now: float) -> None:
        for number, bound in enumerate(("digest", "")):
            key = at(f"{number}")
            store.issue_ticket(key, a_ticket(now, bound=bound), replace=True)
            for other in {"other", "digest", "", "digest "} - {bound}:
                for verb in (store.peek_ticket, store.redeem_ticket):
                    assert verb(key, "reset", other, now) == (TicketState.UNBOUND, None)
            ticket = a_ticket(now, bound=bound)
            assert store.peek_ticket(key, "reset", None, now) == (GOOD, ticket)
            assert store.redeem_ticket(key, "reset", bound, now)[0] is GOOD
            assert store.peek_ticket(key, "reset", None, now)[0] is REUSED
            # Redeeming it may be what changes the value that it was bound to.
            assert store.redeem_ticket(key, "reset", "other", now)[0] is REUSED

    def test_a_ticket_dies_with_a_cut_off_that_is_later_than_its_own(
        self, store: Store, now: float
    ) -> None:
        self._issue(store, "old", now)
        self._issue(store, "other", now, owner="bob")
        store.cut(at("")[:2], "ann", now, now + 1e6)
        assert self._peek(store, "old", now) is self._redeem(store, "old", now) is REVOKED
        # A clock that is behind does not bring it back, and issues what lives.
        assert self._issue(store, "new", now - 5, replace=False) is Issued.CREATED
        assert self._redeem(store, "old", now) is REVOKED
        assert self._redeem(store, "new", now) is self._redeem(store, "other", now) is GOOD

    def test_a_ticket_outlives_the_end_of_all_logins(self, store: Store, now: float) -> None:
        self._issue(store, "k", now)
        store.cut_logins(at("")[:2], "ann", now, now + 1e6)
        assert self._peek(store, "k", now) is GOOD
        store.cut(at("")[:2], "ann", now, now + 1e6)
        assert self._peek(store, "k", now) is REVOKED

    @pytest.mark.parametrize("name", NAMES)
    def test_a_newer_ticket_ends_those_of_its_purpose_and_owner(
        self, store: Store, now: float, name: str
    ) -> None:
        for number, other in enumerate(NAMES):
            for replace_, key in ((True, "a"), (False, "b")):
                self._issue(store, f"{key}{number}", now, replace=replace_, owner=other)
        assert self._issue(store, "new", now, owner=name) is Issued.REPLACED
        self._issue(store, "purpose", now, owner=name, purpose="another")
        states = {
            other: {self._peek(store, f"{key}{number}", now) for key in "ab"}
            for number, other in enumerate(NAMES)
        }
        assert states.pop(name) == {REVOKED}
        assert list(states.values()) == [{GOOD}] * len(states)
        assert self._redeem(store, "new", now) is GOOD

    def test_a_ticket_that_replaces_none_leaves_the_others(self, store: Store, now: float) -> None:
        for name in "abc":
            assert self._issue(store, name, now, replace=False) is Issued.CREATED
        assert [self._redeem(store, name, now) for name in "ab"] == [GOOD, GOOD]
        assert self._issue(store, "d", now) is Issued.REPLACED
        states = [self._redeem(store, name, now) for name in "abcd"]
        assert states == [REUSED, REUSED, REVOKED, GOOD]

    def test_no_replacement_is_reported_where_no_ticket_was_good(
        self, store: Store, now: float
    ) -> None:
        assert self._issue(store, "a", now) is Issued.CREATED
        self._redeem(store, "a", now)
        assert self._issue(store, "b", now, ends_at=now + 5) is Issued.CREATED
        assert self._issue(store, "c", now + 5) is Issued.CREATED
        store.cut(at("")[:2], "ann", now + 5, now + 1e6)
        assert self._issue(store, "d", now + 6) is Issued.CREATED

    def test_issuing_a_ticket_again_revives_nothing(self, store: Store, now: float) -> None:
        self._issue(store, "a", now)
        self._issue(store, "b", now + 1)
        self._issue(store, "a", now)
        assert self._peek(store, "a", now + 1) is REVOKED
        assert self._redeem(store, "b", now + 1) is GOOD
        self._issue(store, "b", now + 1)
        assert self._redeem(store, "b", now + 1) is REUSED

    def test_sixty_four_parallel_redeems_give_one(self, store: Store, now: float) -> None:
        for name in "ab":
            self._issue(store, name, now)
            found = at_once(64, lambda _: self._redeem(store, name, now))  # noqa: B023
            assert sorted(found) == [GOOD, *[REUSED] * 63]

    def test_parallel_tickets_that_replace_leave_one(self, store: Store, now: float) -> None:
        at_once(16, lambda number: self._issue(store, f"{number}", now))
        states = [self._redeem(store, f"{number}", now) for number in range(16)]
        assert sorted(states) == [GOOD, *[REVOKED] * 15]

    def test_no_redeem_outlives_a_parallel_revocation(self, store: Store, now: float) -> None:
        for round_ in range(10):
            self._issue(store, f"{round_}", now)
            jobs = (
                lambda: self._redeem(store, f"{round_}", now),  # noqa: B023
                lambda: store.cut(at("")[:2], "ann", now, now + 1e6),
            )
            state = at_once(2, lambda number: jobs[number]())[0]  # noqa: B023
            assert state in (GOOD, REVOKED)
            after = self._redeem(store, f"{round_}", now)
            assert after is (REUSED if state is GOOD else REVOKED)
