"""The part of the store port that keeps tickets: secrets that are good once, for one purpose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol


class Issued(str, Enum):
    """The result of issuing a ticket."""

    CREATED = "created"
    REPLACED = "replaced"  # created, and an older one that may still have been good has ended
    REVOKED = "revoked"  # not created: the cut-off of its owner cannot be read


class TicketState(str, Enum):
    """What a store answers when a ticket is presented. Of several, the first that applies."""

    WRONG_PURPOSE = "wrong_purpose"
    GONE = "gone"  # ended, or never heard of
    REUSED = "reused"  # redeemed before
    REVOKED = "revoked"  # by a later cut-off of its owner, or replaced by a newer one
    UNBOUND = "unbound"  # bound to something else
    GOOD = "good"


@dataclass(frozen=True)
class StoredTicket:
    """A ticket as it is stored. Readers must not change ``data``."""

    owner: str = field(repr=False)
    purpose: str
    data: Mapping[str, Any] = field(repr=False)
    issued_at: float
    ends_at: float
    #: A digest of what it is bound to; empty for nothing.
    bound: str = field(default="", repr=False)


#: A ticket is there only if the state is ``GOOD``.
Presented = tuple[TicketState, StoredTicket | None]


class TicketStore(Protocol):
    """The verbs for tickets, by the slot of the owner and the hash of the ticket."""

    def issue_ticket(self, key: str, ticket: StoredTicket, *, replace: bool) -> Issued:
        """Keep a new ticket, under the cut-off that its owner has in this step.

        :param replace: end all older tickets of its owner and purpose in the same step. Without
            it, those stay good, and a later one that replaces ends this one with them.
        """
        ...

    def peek_ticket(self, key: str, purpose: str, bound: str | None, now: float) -> Presented:
        """Look at a ticket; change nothing.

        :param bound: ``None`` to look at it whatever it is bound to.
        """
        ...

    def redeem_ticket(self, key: str, purpose: str, bound: str, now: float) -> Presented:
        """Use a ticket up, if it is ``GOOD``; any other answer changes nothing.

        A redeemed ticket is known as ``REUSED`` until its end. Only the store itself, where it
        repeats the same call because a reply was lost, gets the first answer again.
        """
        ...
