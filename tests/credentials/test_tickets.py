"""Tickets, on a clock that a test moves: what they bring back, and what is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from werkzeug.local import LocalProxy

from flask_jam import ConfigError, Jam, Reason, Ticket, TokenError

from ..cases import each_case
from ..conftest import Clock

ODD: Any = object()


def refusal(verb: Callable[..., Any], *arguments: Any, **options: Any) -> Reason:
    with pytest.raises(TokenError) as caught:
        verb(*arguments, **options)
    return caught.value.reason


def test_a_ticket_brings_back_what_it_was_issued_with(jam: Jam, clock: Clock) -> None:
    data: dict[str, Any] = {"email": "ann@example.com", "list": [1]}
    ticket = jam.issue_ticket("confirm", "ann", expires_in=60, data=data)
    data["list"].append(2)
    expected = Ticket("ann", {"email": "ann@example.com", "list": [1]}, clock.now, None)
    peeked = jam.peek_ticket("confirm", ticket)
    peeked.data["list"].append(3)
    clock.tick(59)
    assert jam.redeem_ticket("confirm", ticket) == expected
    plain = jam.issue_ticket("confirm", "ann", expires_in=timedelta(minutes=1))
    assert jam.redeem_ticket("confirm", plain).data == {}


def test_a_ticket_is_short_and_needs_no_quoting_in_a_link(jam: Jam) -> None:
    tickets = [jam.issue_ticket("reset", f"user {n}", expires_in=60) for n in range(50)]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{65}[a-z0-9]", ticket) for ticket in tickets)
    assert len(set(tickets)) == 50


def test_a_ticket_is_redeemed_once(jam: Jam, clock: Clock) -> None:
    ticket = jam.issue_ticket("reset", "ann", expires_in=60)
    jam.redeem_ticket("reset", ticket)
    assert refusal(jam.redeem_ticket, "reset", ticket) is Reason.REUSED
    assert refusal(jam.peek_ticket, "reset", ticket) is Reason.REUSED
    clock.tick(60)
    assert refusal(jam.redeem_ticket, "reset", ticket) is Reason.EXPIRED


def test_another_purpose_or_binding_uses_nothing_up(jam: Jam) -> None:
    ticket = jam.issue_ticket("reset", "ann", expires_in=60, bound_to="hash")
    for verb in (jam.peek_ticket, jam.redeem_ticket):
        assert refusal(verb, "confirm", ticket, bound_to="hash") is Reason.WRONG_TYPE
        for other in ("other", "", None, b"", "hash "):
            assert refusal(verb, "reset", ticket, bound_to=other) is Reason.REVOKED
    assert jam.redeem_ticket("reset", ticket, bound_to=b"hash").subject == "ann"
    free = jam.issue_ticket("reset", "ann", expires_in=60)
    assert refusal(jam.redeem_ticket, "reset", free, bound_to="") is Reason.REVOKED
    assert jam.redeem_ticket("reset", free)


def test_a_function_looks_up_what_a_ticket_is_bound_to(jam: Jam) -> None:
    hashes, asked = {"ann": "hash"}, []

    def hash_of(ticket: Ticket) -> str | None:
        asked.append(ticket)
        return hashes.get(ticket.subject)

    ticket = jam.issue_ticket("reset", "ann", expires_in=60, bound_to="hash")
    assert jam.peek_ticket("reset", ticket, bound_to=hash_of).subject == "ann"
    for now in ("another hash", None):  # changed, and a user who is gone
        hashes["ann"] = now  # type: ignore[assignment]
        assert refusal(jam.redeem_ticket, "reset", ticket, bound_to=hash_of) is Reason.REVOKED
    hashes["ann"] = "hash"
    assert jam.redeem_ticket("reset", ticket, bound_to=hash_of).subject == "ann"
    # Of what is not good anyway, it is not asked.
    assert refusal(jam.redeem_ticket, "reset", ticket, bound_to=hash_of) is Reason.REUSED
    assert refusal(jam.redeem_ticket, "other", ticket, bound_to=hash_of) is Reason.WRONG_TYPE
    assert [each.subject for each in asked] == ["ann"] * 4


def test_a_proxy_of_a_string_is_that_string(jam: Jam) -> None:
    value = LocalProxy(lambda: "hash")
    ticket = jam.issue_ticket("reset", "ann", expires_in=60, bound_to=value)
    proxy: Any = LocalProxy(lambda: ticket)
    assert jam.peek_ticket("reset", proxy, bound_to="hash").subject == "ann"
    assert jam.redeem_ticket("reset", proxy, bound_to=value).subject == "ann"


def test_a_ticket_dies_with_its_subject_and_not_with_the_logins(jam: Jam) -> None:
    ticket = jam.issue_ticket("reset", "ann", expires_in=60)
    other = jam.issue_ticket("reset", "bob", expires_in=60)
    jam.end_logins("ann")
    jam.clear_sessions("ann")
    assert jam.peek_ticket("reset", ticket)
    jam.revoke_subject("ann")
    assert refusal(jam.redeem_ticket, "reset", ticket) is Reason.REVOKED
    assert jam.redeem_ticket("reset", other)
    assert jam.redeem_ticket("reset", jam.issue_ticket("reset", "ann", expires_in=60))


def test_a_newer_ticket_ends_an_older_one_and_is_reported(jam: Jam, clock: Clock) -> None:
    heard: list[Any] = []
    jam.subscribe(lambda event, what: heard.append((event, *what.values())))
    old = jam.issue_ticket("reset", "ann", expires_in=60)
    kept = [
        jam.issue_ticket("confirm", "ann", expires_in=60),
        jam.issue_ticket("confirm", "ann", expires_in=60, replace=False),
        jam.issue_ticket("reset", "bob", expires_in=60),
    ]
    assert heard == []
    new = jam.issue_ticket("reset", "ann", expires_in=60)
    assert heard == [("revoked", "ticket", "ann", None)]
    assert refusal(jam.redeem_ticket, "reset", old) is Reason.REVOKED
    jam.redeem_ticket("reset", new)
    # One that was redeemed or has ended is not revoked by the next.
    jam.issue_ticket("reset", "ann", expires_in=5)
    clock.tick(5)
    jam.issue_ticket("reset", "ann", expires_in=5)
    assert len(heard) == 1
    assert [jam.redeem_ticket(p, t).subject for p, t in zip(
        ("confirm", "confirm", "reset"), kept, strict=True)] == ["ann", "ann", "bob"]  # fmt: skip


def test_equal_subjects_of_two_issuers_have_tickets_of_their_own(jam: Jam) -> None:
    idp = "https://idp.example"
    own = jam.issue_ticket("reset", "ann", expires_in=60)
    foreign = jam.issue_ticket("reset", "ann", expires_in=60, issuer=idp)
    assert jam.peek_ticket("reset", foreign)[::3] == ("ann", idp)
    jam.revoke_subject("ann")
    assert refusal(jam.redeem_ticket, "reset", own) is Reason.REVOKED
    assert jam.redeem_ticket("reset", foreign).issuer == idp


@each_case("value", [None, 1, b"x", "", "x", "a.b.c", "0" * 66, "g" * 66, ODD, "ab" + "0" * 65,
                     "ab" + "0" * 63, "ab" + "A" * 64, "ab" + "0" * 64 + "\n", "x" * 10**6,
                     "ab" + "\u0660" * 64, "é" * 66, "ab" + "0" * 64])  # fmt: skip
def test_what_is_no_ticket_is_refused(jam: Jam, value: Any) -> None:
    wanted = Reason.EXPIRED if value in ("ab" + "0" * 64, "0" * 66) else Reason.INVALID
    for verb in (jam.peek_ticket, jam.redeem_ticket):
        assert refusal(verb, "reset", value) is wanted


@each_case("purpose", [None, 1, "", "x" * 65, "a\nb", "\ud800", b"reset", ODD])
def test_what_is_no_purpose_is_refused(jam: Jam, purpose: Any) -> None:
    ticket = jam.issue_ticket("x" * 64, "ann", expires_in=60)
    for verb in (jam.peek_ticket, jam.redeem_ticket):
        assert refusal(verb, purpose, ticket) is Reason.INVALID
    assert refusal(jam.issue_ticket, purpose, "ann", expires_in=60) is Reason.INVALID


@each_case(
    ("changes", "reason"),
    [
        *(({"expires_in": value}, "invalid") for value in
          (0, -1, 0.5, math.nan, math.inf, "60", None, True, 401 * 86400, timedelta(days=-1))),
        *(({"subject": value}, "invalid") for value in ("", None, 1, "x" * 1025, "\udcff")),
        *(({"issuer": value}, "invalid") for value in ("", 1, "x" * 1025, "\udcff")),
        *(({"data": value}, "invalid") for value in
          ([], "x", {1: 2}, {"day": date(2026, 1, 1)}, {"x": math.nan}, {"x": "\ud800"})),
        ({"data": {"x": "x" * 8192}}, "too_large"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused_at_issuing(
    jam: Jam, changes: dict[str, Any], reason: str
) -> None:
    options = {"subject": "ann", "expires_in": 60, **changes}
    assert refusal(jam.issue_ticket, "reset", **options) == reason


def test_an_argument_of_a_wrong_type_is_named(jam: Jam) -> None:
    with pytest.raises(ConfigError, match="bound_to must be a string"):
        jam.issue_ticket("reset", "ann", expires_in=60, bound_to=7)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="replace must be True or False"):
        jam.issue_ticket("reset", "ann", expires_in=60, replace=1)  # type: ignore[arg-type]
    with pytest.raises(TokenError, match="ticket data must be plain JSON, and 'day' holds"):
        jam.issue_ticket("reset", "ann", expires_in=60, data={"day": date(2026, 1, 1)})


def test_what_has_ended_is_swept_out_of_memory(jam: Jam, clock: Clock) -> None:
    store: Any = jam.store
    for round_ in range(4):
        for number in range(600):
            jam.issue_ticket("reset", f"{round_} {number}", expires_in=60)
        clock.tick(61)
    assert max(len(store._tickets), len(store._lines)) < 1300
