"""Read the history of a run and name each promise that it broke.

A call may take effect at any moment between its start and its end; one without an answer at any
moment after its start. So two calls are in order only if one ended before the other began, and
everything that a rule reports is wrong in each possible order of events.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from .history import BROKEN, OK, REFUSED, UNAVAILABLE, Call, Fault, History
from .lives import API_KEY, LOGIN, SESSION, TICKET, Life, lives_of

#: The reasons with which each verb may refuse; the others refuse nothing.
DOCUMENTED = {
    "create": {"revoked"},
    "read": {"unknown_session"},
    "update": {"unknown_session"},
    "rework": {"unknown_session"},
    "verify": {"revoked"},
    "refresh": {"revoked", "reused", "expired"},
    "redeem": {"revoked", "reused"},
    "create_key": {"revoked"},
    "use_key": {"revoked"},
    "rotate_key": {"revoked", "reused"},
}
#: The verbs that the near cache answers. All others ask Redis.
CACHED = {"read", "verify", "use_key"}
#: The verbs that accept a credential, unless they refuse it.
ACCEPTING = {
    "read", "update", "rework", "verify", "refresh", "redeem", "use_key", "rotate_key",
}  # fmt: skip


@dataclass(frozen=True)
class Bounds:
    """The settings of the Jams, and what no call exceeds; in seconds."""

    silence: float = 0.5
    grace: float = 1.5
    rework_grace: float = 10.0
    #: A call without an answer is carried out within so long, or never.
    landing: float = 6.0
    #: What was held back is carried out so soon after that is over.
    waking: float = 0.5
    #: No call lasts longer, even on a busy machine.
    patience: float = 20.0


class Violation(NamedTuple):
    """A promise that was broken, and the calls that show it."""

    rule: str
    calls: tuple[Call, ...]

    def __str__(self) -> str:
        return "\n    ".join([self.rule, *map(_line, self.calls)])


def _line(call: Call) -> str:
    near = " near" if call.near else ""
    what = f"{call.op} {call.thing or call.owner} …{call.credential[-12:]}"
    became = f"{call.outcome} {call.reason} {dict(call.args) or ''}"
    return f"{call.start:.4f} to {call.end:.4f} process {call.process}{near}: {what} {became}"


@dataclass(frozen=True)
class Case:
    """One life, and what it is judged by."""

    life: Life
    faults: list[Fault]
    bounds: Bounds

    def may_be_dead(self, call: Call, *, but: str = "") -> bool:
        """Return True if another call may have ended what this one presents before it returned.

        :param but: a verb that does not count.
        """
        return any(
            kill.covers(call.credential)
            and kill.call is not call
            and kill.call.op != but
            and kill.call.start < call.end
            for kill in self.life.kills
        )

    def lateness(self, cause: Call, call: Call) -> float:
        """Return how long after a cause a call may still not know of it."""
        is_cached = call.near and call.op in CACHED and call.process != cause.process
        return self.bounds.silence if is_cached else 0.0

    def longest_age(self, first: Call, last: Call) -> float:
        """Return how old what ``first`` did may be when ``last``, a repeat, is carried out.

        What began while Redis carried out nothing was not done before that was over; what was sent
        then and has no answer may be done once it is over.
        """
        halts = [fault for fault in self.faults if fault.halted]
        earliest = [halt.until for halt in halts if halt.since <= first.start]
        latest = [halt.until for halt in halts if halt.since <= last.end]
        waking = 0.0 if last.is_definite else self.bounds.waking
        done_by = last.end if last.is_definite else max([last.end, *latest])
        return done_by + waking - max([first.start, *earliest])


def check(history: History, bounds: Bounds | None = None) -> list[Violation]:
    """Return every broken promise; of one rule about one thing, the first."""
    bounds = bounds or Bounds()
    found = [violation for rule in OVERALL for violation in rule(history, bounds)]
    for life in lives_of(history, bounds.landing):
        case = Case(life, history.faults, bounds)
        for rule in RULES[life.kind]:
            found += list(rule(case))[:1]
    return found


# --- about every call -----------------------------------------------------------------


def only_documented(history: History, bounds: Bounds) -> Iterator[Violation]:
    """No exception and no reason but those of the documentation."""
    for call in history.calls:
        is_odd = call.outcome == REFUSED and call.reason not in DOCUMENTED.get(call.op, ())
        if is_odd or call.outcome == BROKEN:
            yield Violation("an outcome that is not documented", (call,))


def answered_in_time(history: History, bounds: Bounds) -> Iterator[Violation]:
    """Each call returns, and after the last fault each has an answer."""
    for call in history.calls:
        if call.end - call.start > bounds.patience:
            yield Violation("a call that did not return in time", (call,))
        if call.args.get("final") and call.outcome == UNAVAILABLE:
            yield Violation("no answer after the last fault", (call,))


def down_is_not_unknown(history: History, bounds: Bounds) -> Iterator[Violation]:
    """While no reply arrives, only the near cache answers, and only until it believes nothing."""
    starts = [call.start for call in history.calls]
    for fault in history.faults:
        first, last = bisect_left(starts, fault.since), bisect_left(starts, fault.until)
        for call in history.calls[first:last] if fault.down else ():
            is_answered = call.is_definite and call.end <= fault.until
            if is_answered and not _is_from_cache(call, fault, bounds):
                yield Violation(f"an answer while Redis was down ({fault.kind})", (call,))


def _is_from_cache(call: Call, fault: Fault, bounds: Bounds) -> bool:
    is_kept = call.op in ("verify", "use_key") or (call.op == "read" and call.outcome == OK)
    return call.near and is_kept and call.start <= fault.since + bounds.silence


def no_birth_is_refused(history: History, bounds: Bounds) -> Iterator[Violation]:
    """A session is refused at its creation only if its owner is ended at the same time."""
    ends: dict[str, list[Call]] = defaultdict(list)
    for call in history.calls:
        if call.op in ("clear", "revoke"):
            ends[call.owner].append(call)
    for call in history.calls:
        if call.op in ("create", "create_key") and call.outcome == REFUSED:
            near = [end for end in ends[call.owner] if _may_land(end, call, bounds)]
            if not near:
                yield Violation("a login was refused for no reason", (call,))


def _may_land(end: Call, call: Call, bounds: Bounds) -> bool:
    late = 0.0 if end.is_definite else bounds.landing
    return end.start < call.end and call.start < end.end + late


# --- about sessions and logins --------------------------------------------------------


def nothing_revives(case: Case) -> Iterator[Violation]:
    """What was ended is refused: at once in the same process, in others within the bound."""
    certain = [kill for kill in case.life.kills if kill.certain]
    for call in case.life.calls if certain else ():
        for kill in certain if call.op in ACCEPTING and call.outcome == OK else ():
            is_after = call.start > kill.call.end + case.lateness(kill.call, call)
            # A rework that is repeated has a rule of its own.
            is_repeat = call.op == kill.call.op == "rework"
            if is_after and kill.covers(call.credential) and not is_repeat:
                yield Violation("accepted after it was ended", (kill.call, call))


def nothing_is_mixed_up(case: Case) -> Iterator[Violation]:
    """What a credential opens is what it was made for."""
    for call in case.life.calls:
        if call.op in CACHED | {"redeem"} and call.outcome == OK:
            shown = call.result["thing"], call.result["owner"]
            if shown != (call.thing, call.owner):
                yield Violation("the data of another", (case.life.birth, call))


# --- about sessions -------------------------------------------------------------------


def no_session_is_lost(case: Case) -> Iterator[Violation]:
    """A session that was not ended opens with the id that its client knows, or can recover."""
    for call in case.life.calls:
        if call.outcome != REFUSED or call.op not in ("read", "update", "rework"):
            continue
        may_fail = _may_rework_fail if call.op == "rework" else Case.may_be_dead
        if not may_fail(case, call):
            tries = [one for one in case.life.those("rework") if one.start < call.start]
            yield Violation("a session was lost", (case.life.birth, *tries[-4:], call))


def _may_rework_fail(case: Case, call: Call) -> bool:
    """Return True if the session may be dead, or its id had its successor long ago."""
    if case.may_be_dead(call, but="rework"):
        return True
    tries = [one for one in case.life.those("rework", call.credential) if one.start <= call.start]
    if any(one.outcome == OK for one in tries):
        return True
    return case.longest_age(tries[0], call) > case.bounds.rework_grace


def no_id_has_two_successors(case: Case) -> Iterator[Violation]:
    """A repeated rework gives the same id, until that one is used."""
    first: dict[str, Call] = {}
    for call in case.life.those("rework"):
        if call.outcome != OK:
            continue
        before = first.setdefault(call.credential, call)
        if before.result["id"] != call.result["id"]:
            yield Violation("a session has two successors", (before, call))
        used = [one for one in _uses(case, call.result["id"]) if one.end < call.start]
        if used:
            yield Violation("an old id was taken after the new one was used", (*used[:1], call))


def _uses(case: Case, session_id: str) -> Iterator[Call]:
    for call in case.life.calls:
        if call.credential == session_id and call.op in ACCEPTING and call.outcome == OK:
            yield call


def no_update_is_lost(case: Case) -> Iterator[Violation]:
    """A read has each value that was stored before it, and none that was not sent.

    A writer counts up in a key of its own, and takes a new one after an update without an answer:
    that may be carried out later, and then it is no loss.
    """
    updates = list(case.life.those("update"))
    for read in case.life.those("read"):
        if read.outcome == OK:
            late = _lost_by(case, read, updates)
            if late is not None:
                yield Violation("an update was lost", (late, read))
            if not _is_sent(read, updates):
                yield Violation("a value that was never stored", (case.life.birth, read))


def _lost_by(case: Case, read: Call, updates: list[Call]) -> Call | None:
    for update in updates:
        is_stored = update.outcome == OK and update.end + case.lateness(update, read) < read.start
        shown = read.result["counts"].get(update.args["key"], 0)
        if is_stored and shown < update.args["value"]:
            return update
    return None


def _is_sent(read: Call, updates: list[Call]) -> bool:
    sent = {
        (update.args["key"], update.args["value"])
        for update in updates
        if update.start < read.end and update.outcome in (OK, UNAVAILABLE)
    }
    return sent >= set(read.result["counts"].items())


# --- about logins ---------------------------------------------------------------------


def no_login_is_lost(case: Case) -> Iterator[Violation]:
    """A token that was not ended is good, and a client that repeats in time is no thief."""
    for call in case.life.calls if case.life.is_honest else ():
        if call.op not in ("verify", "refresh") or call.outcome != REFUSED:
            continue
        if not case.may_be_dead(call) and not _has_repeated_late(case, call):
            tries = list(case.life.those("refresh", call.credential))
            name = "an honest client was taken for a thief" if call.reason == "reused" else ""
            yield Violation(name or "a login was lost", (case.life.birth, *tries[:3], call))


def _has_repeated_late(case: Case, call: Call) -> bool:
    """Return True if a refresh token may have been repeated after the grace, before a call ended.

    Its client heard nothing for so long that it looked like a thief.
    """
    first: dict[str, Call] = {}
    for attempt in case.life.those("refresh"):
        since = first.setdefault(attempt.credential, attempt)
        is_before = attempt.start < call.end and attempt is not since
        if is_before and case.longest_age(since, attempt) > case.bounds.grace:
            return True
    return False


def no_family_forks(case: Case) -> Iterator[Violation]:
    """A refresh token has one successor, and a successor has one predecessor."""
    after: dict[str, Call] = {}
    before: dict[str, Call] = {}
    for call in _rotations(case):
        first = after.setdefault(call.credential, call)
        if first.result["refresh"] != call.result["refresh"]:
            yield Violation("a refresh token has two successors", (first, call))
        first = before.setdefault(call.result["refresh"], call)
        if first.credential != call.credential:
            yield Violation("two refresh tokens have one successor", (first, call))


def no_old_token_is_taken(case: Case) -> Iterator[Violation]:
    """A refresh token is refused once its successor was used, and after the grace."""
    rotated: dict[str, Call] = {}
    for call in sorted(_rotations(case), key=lambda one: one.end):
        rotated.setdefault(call.credential, call)
    for call in _rotations(case):
        used = rotated.get(call.result["refresh"])
        if used is not None and used.end < call.start:
            yield Violation("an old refresh token was taken", (used, call))
        # The age is measured by two clocks of one machine: the wall clock may be adjusted a bit.
        first = rotated[call.credential]
        if call.start > first.end + case.bounds.grace + 0.1:
            yield Violation("a refresh token was taken after the grace", (first, call))


def _rotations(case: Case) -> Iterator[Call]:
    return (call for call in case.life.those("refresh") if call.outcome == OK)


# --- about tickets --------------------------------------------------------------------


def no_ticket_is_redeemed_twice(case: Case) -> Iterator[Violation]:
    """Of all calls that present a ticket one succeeds."""
    redeemed = [call for call in case.life.those("redeem") if call.outcome == OK]
    if len(redeemed) > 1:
        yield Violation("a ticket was redeemed twice", tuple(redeemed))


def no_ticket_is_lost(case: Case) -> Iterator[Violation]:
    """A ticket that was not revoked is refused only if another call may have redeemed it."""
    for call in case.life.those("redeem"):
        if call.outcome == REFUSED and not case.may_be_dead(call):
            yield Violation("a ticket was lost", (case.life.birth, call))


# --- about API keys -------------------------------------------------------------------


def no_key_is_lost(case: Case) -> Iterator[Violation]:
    """A key that was not ended is good, and can be rotated."""
    for call in case.life.calls:
        is_refused = call.op in ("use_key", "rotate_key") and call.outcome == REFUSED
        if is_refused and not case.may_be_dead(call):
            yield Violation("an API key was lost", (case.life.birth, call))


def no_key_has_two_successors(case: Case) -> Iterator[Violation]:
    """Of all rotations of a key, one makes a successor."""
    first: dict[str, Call] = {}
    for call in case.life.those("rotate_key"):
        if call.outcome == OK and first.setdefault(call.credential, call) is not call:
            yield Violation("an API key has two successors", (first[call.credential], call))


OVERALL = (only_documented, answered_in_time, down_is_not_unknown, no_birth_is_refused)
_EITHER = (nothing_revives, nothing_is_mixed_up)
RULES = {
    SESSION: (*_EITHER, no_session_is_lost, no_id_has_two_successors, no_update_is_lost),
    LOGIN: (*_EITHER, no_login_is_lost, no_family_forks, no_old_token_is_taken),
    TICKET: (*_EITHER, no_ticket_is_redeemed_twice, no_ticket_is_lost),
    API_KEY: (*_EITHER, no_key_is_lost, no_key_has_two_successors),
}
