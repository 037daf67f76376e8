"""Tickets in Redis: a part of :mod:`flask_jam.stores.redis`."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..._helpers.strict_json import strict_dumps, strict_object
from ..interface import owner_of, split_owner
from ..ticket_verbs import Issued, Presented, StoredTicket, TicketState
from . import ticket_scripts as lua
from .values import UNREAD, as_bytes, as_text, flat, hashed

#: Stands for whatever a ticket is bound to; no digest is so short.
_ANY = "*"
#: What a step for tickets may answer.
_STATES = {*Issued, *TicketState, "corrupt"}


def is_ticket_answer(parts: Sequence[Any]) -> bool:
    """Return True for what a step for tickets can have answered behind its first word."""
    state = as_text(parts[0]) if parts else None
    return state in _STATES and (state != TicketState.GOOD or len(parts) == 3)


class RedisTickets:
    """The verbs for tickets, one script each."""

    if TYPE_CHECKING:

        def _ask(self, script: str, keys: Sequence[str], *arguments: Any) -> Any: ...
        def _key(self, letter: str, slot: str, name: str) -> str: ...
        def _is_nothing(self, said: Any) -> bool: ...

    def issue_ticket(self, key: str, ticket: StoredTicket, *, replace: bool) -> Issued:
        """See :class:`~flask_jam.stores.ticket_verbs.TicketStore`."""
        slot, line = key[:2], _line_of(ticket)
        keys = [
            self._key("v", slot, key),
            self._key("w", slot, line),
            self._key("c", slot, hashed(ticket.owner)),
        ]
        now, end = repr(ticket.issued_at), repr(ticket.ends_at)
        fields = flat(_fields(ticket, line))
        found = self._ask(lua.ISSUE_TICKET, keys, now, end, "1" if replace else "", *fields)
        return Issued(as_text(found[1]))

    def peek_ticket(self, key: str, purpose: str, bound: str | None, now: float) -> Presented:
        """See :class:`~flask_jam.stores.ticket_verbs.TicketStore`."""
        return self._presented(lua.PEEK_TICKET, key, purpose, bound, now)

    def redeem_ticket(self, key: str, purpose: str, bound: str, now: float) -> Presented:
        """See :class:`~flask_jam.stores.ticket_verbs.TicketStore`."""
        attempt = secrets.token_hex(8)
        return self._presented(lua.REDEEM_TICKET, key, purpose, bound, now, attempt)

    def _presented(
        self, script: str, key: str, purpose: str, bound: str | None, now: float, *attempt: str
    ) -> Presented:
        keys = [self._key("v", key[:2], key)]
        told = repr(now), purpose, _ANY if bound is None else bound
        _, state, *parts = self._ask(script, keys, *told, *attempt)
        if as_text(state) == "corrupt":
            return self._unreadable()
        if as_text(state) != TicketState.GOOD:
            return TicketState(as_text(state)), None
        try:
            fixed, data = (as_bytes(part) or b"" for part in parts)
            return TicketState.GOOD, _ticket_of(fixed, data, purpose)
        except UNREAD:
            return self._unreadable()

    def _unreadable(self) -> Presented:
        self._is_nothing("corrupt")  # notes it
        return TicketState.GONE, None


def _line_of(ticket: StoredTicket) -> str:
    return hashed(f"{ticket.purpose}\0{ticket.owner}")


def _fields(ticket: StoredTicket, line: str) -> dict[str, Any]:
    times = ticket.issued_at, ticket.ends_at
    fixed = [1, *split_owner(ticket.owner), *times, ticket.bound]
    return {
        "p": ticket.purpose,
        "b": ticket.bound,
        "e": repr(ticket.ends_at),
        "o": hashed(ticket.owner),
        "n": line,
        "j": strict_dumps(fixed),
        "d": strict_dumps(dict(ticket.data)),
    }


def _ticket_of(fixed: bytes, data: bytes, purpose: str) -> StoredTicket:
    version, subject, issuer, issued_at, ends_at, bound = json.loads(fixed)
    if type(version) is not int or version != 1:
        raise ValueError("of another version")
    if not all(isinstance(text, str) for text in (subject, issuer or "", bound)):
        raise TypeError("no text")
    owner, times = owner_of(subject, issuer), (float(issued_at), float(ends_at))
    return StoredTicket(owner, purpose, strict_object(data), *times, bound)
