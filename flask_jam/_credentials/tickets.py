"""Tickets: single-use secrets for a link or a handshake, for one purpose.

A ticket is 256 random bits after the slot of its owner, in a form that no other credential has. The
store has its hash, and a digest of ``bound_to`` keyed by the ticket: so what the store holds can
neither be presented nor reversed by guessing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from .._helpers.deadline import apart, one_deadline
from .._helpers.strict_json import copy_json
from ..errors import ConfigError, Reason, SessionError, TokenError
from ..stores.interface import Store, owner_of, slot_of, split_owner
from ..stores.ticket_verbs import Issued, Presented, StoredTicket, TicketState
from .access_tokens import Clock
from .revocation import checked_subject
from .session_data import kept_data
from .sessions import LONGEST_USUAL

#: It ends with a letter or a digit, so that mail programs keep it in a link.
_SHAPE = re.compile(r"[A-Za-z0-9_-]{2}[0-9a-f]{64}")
_MAX_PURPOSE = 64
_MAX_DATA = 8192
#: The shortest time that cutoffs are kept, in seconds, so no ticket outlives a revocation.
_LONGEST = LONGEST_USUAL
_REFUSALS = {
    TicketState.WRONG_PURPOSE: (Reason.WRONG_TYPE, "the ticket is for another purpose"),
    TicketState.GONE: (Reason.EXPIRED, "the ticket has expired, or is unknown"),
    TicketState.REUSED: (Reason.REUSED, "the ticket has been redeemed"),
    TicketState.REVOKED: (Reason.REVOKED, "the ticket was revoked, or a newer one replaced it"),
    TicketState.UNBOUND: (Reason.REVOKED, "what the ticket is bound to has changed"),
}


class Ticket(NamedTuple):
    """The content of a valid ticket, without the ticket itself."""

    #: The subject that it was issued for.
    subject: str
    #: The ``data`` of ``issue_ticket``; empty by default.
    data: dict[str, Any]
    #: When it expires, in seconds since the epoch.
    issued_at: float
    #: The issuer of the subject; ``None`` for this service.
    issuer: str | None = None

    def __repr__(self) -> str:
        return f"Ticket(issued_at={self.issued_at!r})"


#: The value that a ticket is bound to, or a function that returns it for a presented ticket.
Bound = str | bytes | None
BoundTo = Bound | Callable[[Ticket], Bound]


class Tickets:
    """Issue, peek at and redeem tickets, on any store."""

    def __init__(self, store: Store, clock: Clock, report: Callable[..., None]) -> None:
        self._store = store
        self.clock = clock
        self._report = report

    def issue(  # noqa: PLR0913 - what it is for, whom, how long, what it says and hangs on
        self,
        purpose: str,
        subject: str,
        *,
        expires_in: float | timedelta,
        data: Mapping[str, Any] | None,
        bound_to: Bound,
        replace: bool,
        issuer: str | None,
    ) -> str:
        """Store a new ticket; return its string.

        :raises TokenError: if an argument cannot be stored.
        """
        now, owner = self.clock(), owner_of(checked_subject(subject), _checked_issuer(issuer))
        text = slot_of(owner) + secrets.token_hex(32)
        stored = StoredTicket(
            owner=owner,
            purpose=_checked_purpose(purpose),
            data=_checked_data(data),
            issued_at=now,
            ends_at=now + _checked_life(expires_in),
            bound=_bound(text, bound_to),
        )
        issued = self._store.issue_ticket(_hashed(text), stored, replace=_checked_flag(replace))
        if issued is Issued.REVOKED:
            raise TokenError(Reason.REVOKED, "the subject is revoked")
        if issued is Issued.REPLACED:
            self._report("revoked", kind="ticket", subject=subject, issuer=issuer)
        return text

    @one_deadline
    def peek(self, purpose: str, ticket: object, bound_to: BoundTo) -> Ticket:
        """Return the content of a valid ticket; change nothing.

        :raises TokenError: with the reason.
        """
        text, name = _shaped(ticket), _checked_purpose(purpose)
        bound = self._bound(text, name, bound_to)
        return _good(self._store.peek_ticket(_hashed(text), name, bound, self.clock()))

    @one_deadline
    def redeem(self, purpose: str, ticket: object, bound_to: BoundTo) -> Ticket:
        """Redeem a ticket; return its content.

        :raises TokenError: with the reason. Then nothing has changed.
        """
        text, name = _shaped(ticket), _checked_purpose(purpose)
        bound = self._bound(text, name, bound_to)
        return _good(self._store.redeem_ticket(_hashed(text), name, bound, self.clock()))

    def _bound(self, text: str, purpose: str, bound_to: BoundTo) -> str:
        if callable(bound_to) and not isinstance(bound_to, (str, bytes)):  # as a proxy is
            ticket = _good(self._store.peek_ticket(_hashed(text), purpose, None, self.clock()))
            bound_to = apart(bound_to)(ticket)
        return _bound(text, bound_to)


def _good(presented: Presented) -> Ticket:
    state, stored = presented
    if stored is None:
        raise TokenError(*_REFUSALS[state])
    subject, issuer = split_owner(stored.owner)
    data = {name: copy_json(value) for name, value in stored.data.items()}
    return Ticket(subject, data, stored.issued_at, issuer)


class TicketVerbs:
    """Ticket methods of :class:`~flask_jam.Jam`."""

    tickets: Tickets

    def issue_ticket(  # noqa: PLR0913 - what it is for, whom, how long, what it says and hangs on
        self,
        purpose: str,
        subject: str,
        *,
        expires_in: float | timedelta,
        data: Mapping[str, Any] | None = None,
        bound_to: Bound = None,
        replace: bool = True,
        issuer: str | None = None,
    ) -> str:
        """Issue a ticket: a single-use secret for a link or a handshake, for one purpose.

        It has 66 letters, digits, ``-`` and ``_``. No guard accepts it.

        :param purpose: 1 to 64 printable characters, such as ``"password reset"``.
        :param expires_in: lifetime in seconds, at most 400 days.
        :param data: plain JSON that redeeming returns, at most 8 KiB.
        :param bound_to: a value whose change invalidates the ticket, such as the hash of the user's
            password. Only a digest is stored.
        :param replace: revoke all older tickets of this purpose and subject.
        :param issuer: the issuer of the subject; ``None`` for this service.
        :raises TokenError: for an argument that cannot be stored.
        """
        return self.tickets.issue(
            purpose,
            subject,
            expires_in=expires_in,
            data=data,
            bound_to=bound_to,
            replace=replace,
            issuer=issuer,
        )

    def peek_ticket(self, purpose: str, ticket: str, *, bound_to: BoundTo = None) -> Ticket:
        """Return the content of a valid ticket without redeeming it.

        Use it for the page behind a link: mail scanners open it, too.

        :raises TokenError: as :meth:`redeem_ticket` does.
        """
        return self.tickets.peek(purpose, ticket, bound_to)

    def redeem_ticket(self, purpose: str, ticket: str, *, bound_to: BoundTo = None) -> Ticket:
        """Redeem a ticket; return its content. Only one call succeeds, over all processes.

        :param bound_to: the current value, or a function that returns it for a :class:`Ticket`.
        :raises TokenError: with ``reason``: ``reused`` for one that was redeemed before;
            ``expired`` for one that is expired or unknown; ``revoked`` after ``revoke_subject``,
            a newer ticket, or a change of ``bound_to``; ``wrong_type`` for another purpose;
            ``invalid`` for a string that isn't a ticket. A refusal redeems nothing.
        :raises StoreUnavailable: if the store did not answer; the ticket may be redeemed.
        """
        return self.tickets.redeem(purpose, ticket, bound_to)


# --- text and digests -------------------------------------------------------------------------


def is_ticket(value: object) -> bool:
    """Return True for the form of a ticket, which no other credential has."""
    return isinstance(value, str) and _SHAPE.fullmatch(str(value)) is not None


def _shaped(ticket: object) -> str:
    if not is_ticket(ticket):
        raise TokenError(Reason.INVALID, "this is not a ticket")
    return str(ticket)


def _hashed(text: str) -> str:
    digest = hashlib.sha256(b"flask_jam ticket\0" + text.encode("ascii")).digest()
    return text[:2] + base64.urlsafe_b64encode(digest)[:43].decode()


def _bound(text: str, bound_to: object) -> str:
    """Return a digest keyed by the ticket: equal values of two tickets look different."""
    if bound_to is None:
        return ""
    if isinstance(bound_to, str):
        bound_to = bound_to.encode("utf-8", "surrogatepass")
    if not isinstance(bound_to, bytes):
        kind = type(bound_to).__name__
        raise ConfigError(f"bound_to must be a string, bytes or None, got {kind}: write str(...)")
    made = hmac.new(text.encode("ascii"), b"flask_jam bound\0" + bound_to, "sha256").digest()
    return base64.urlsafe_b64encode(made)[:43].decode()


# --- arguments --------------------------------------------------------------------------------


def _checked_purpose(purpose: object) -> str:
    is_text = isinstance(purpose, str) and purpose.isprintable()
    if not is_text or not 0 < len(str(purpose)) <= _MAX_PURPOSE:
        raise TokenError(
            Reason.INVALID, f"purpose must be a string of 1 to {_MAX_PURPOSE} printable characters"
        )
    return str(purpose)


def _checked_data(data: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        return kept_data({} if data is None else data, _MAX_DATA, "ticket")
    except SessionError as error:
        raise TokenError(error.reason, str(error)) from None


def _checked_life(expires_in: object) -> float:
    seconds = expires_in.total_seconds() if isinstance(expires_in, timedelta) else expires_in
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or not 1 <= seconds <= _LONGEST:  # type: ignore[operator]
        raise TokenError(
            Reason.INVALID, f"expires_in must be seconds from 1 to {_LONGEST}: write 3600"
        )
    return float(seconds)  # type: ignore[arg-type]


def _checked_flag(replace: object) -> bool:
    if not isinstance(replace, bool):
        raise ConfigError("replace must be True or False")
    return replace


def _checked_issuer(issuer: object) -> str | None:
    return None if issuer is None else checked_subject(issuer)
