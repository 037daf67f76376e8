"""Tickets in the memory of this process: a part of :mod:`flask_jam.stores.memory`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .ticket_verbs import Issued, Presented, StoredTicket, TicketState


@dataclass
class _Kept:
    ticket: StoredTicket
    cut_off: float
    #: The ticket that began its line.
    line: str
    is_redeemed: bool = False


@dataclass
class _Line:
    """The tickets of one owner and purpose that live beside each other."""

    name: str
    cut_off: float
    ends_at: float
    issued: int = 0
    redeemed: int = 0

    def may_live(self, now: float) -> bool:
        return now < self.ends_at and self.redeemed < self.issued


class MemoryTickets:
    """The verbs for tickets, under the lock of the store."""

    if TYPE_CHECKING:
        _lock: AbstractContextManager[Any]

        def _cut_off(self, subject: str | None, now: float) -> Any: ...

    def __init__(self) -> None:
        super().__init__()
        self._tickets: dict[str, _Kept] = {}
        self._lines: dict[tuple[str, str], _Line] = {}
        self._tickets_sweep_at = 1024

    def issue_ticket(self, key: str, ticket: StoredTicket, *, replace: bool) -> Issued:
        """See :class:`~flask_jam.stores.ticket_verbs.TicketStore`."""
        with self._lock:
            if key in self._tickets:
                return Issued.CREATED  # by this very call
            now, cut_off = ticket.issued_at, self._cut_off(ticket.owner, 0.0).at
            line = self._lines.get((ticket.owner, ticket.purpose))
            is_over = line is None or line.cut_off < cut_off
            is_replaced = replace and not is_over and line is not None and line.may_live(now)
            if line is None or is_over or replace:
                line = _Line(key, cut_off, ticket.ends_at)
                self._lines[ticket.owner, ticket.purpose] = line
            line.issued += 1
            line.ends_at = max(line.ends_at, ticket.ends_at)
            self._tickets[key] = _Kept(ticket, cut_off, line.name)
            self._sweep_tickets(now)
            return Issued.REPLACED if is_replaced else Issued.CREATED

    def peek_ticket(self, key: str, purpose: str, bound: str | None, now: float) -> Presented:
        """See :class:`~flask_jam.stores.ticket_verbs.TicketStore`."""
        with self._lock:
            state = self._state(key, purpose, bound, now)
            return state, self._tickets[key].ticket if state is TicketState.GOOD else None

    def redeem_ticket(self, key: str, purpose: str, bound: str, now: float) -> Presented:
        """See :class:`~flask_jam.stores.ticket_verbs.TicketStore`."""
        with self._lock:
            state = self._state(key, purpose, bound, now)
            if state is not TicketState.GOOD:
                return state, None
            kept = self._tickets[key]
            kept.is_redeemed = True
            self._lines[kept.ticket.owner, purpose].redeemed += 1
            return state, kept.ticket

    def _state(self, key: str, purpose: str, bound: str | None, now: float) -> TicketState:
        kept = self._tickets.get(key)
        if kept is None:
            return TicketState.GONE
        if kept.ticket.purpose != purpose:
            return TicketState.WRONG_PURPOSE
        if now >= kept.ticket.ends_at:
            return TicketState.GONE
        if kept.is_redeemed:
            return TicketState.REUSED
        if self._is_over(kept, now):
            return TicketState.REVOKED
        is_bound = bound is None or kept.ticket.bound == bound
        return TicketState.GOOD if is_bound else TicketState.UNBOUND

    def _is_over(self, kept: _Kept, now: float) -> bool:
        """Return True after a later cut-off of its owner, or a newer ticket that replaced it."""
        owner = kept.ticket.owner
        line = self._lines.get((owner, kept.ticket.purpose))
        is_replaced = line is None or line.name != kept.line
        return is_replaced or bool(kept.cut_off < self._cut_off(owner, now).at)

    def _sweep_tickets(self, now: float) -> None:
        """Remove what has ended, each time that there are twice as many as after the last sweep."""
        if len(self._tickets) < self._tickets_sweep_at:
            return
        self._tickets = {k: kept for k, kept in self._tickets.items() if now < kept.ticket.ends_at}
        self._lines = {name: line for name, line in self._lines.items() if now < line.ends_at}
        self._tickets_sweep_at = max(1024, 2 * len(self._tickets))
