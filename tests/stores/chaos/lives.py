"""The life of each session, login, API key and ticket: the calls about it, and what ended it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from .history import OK, REFUSED, Call, History

SESSION, LOGIN, API_KEY, TICKET = "session", "login", "API key", "ticket"
BIRTHS = {"create": SESSION, "issue": LOGIN, "create_key": API_KEY, "give": TICKET}
#: Calls that end all of an owner, by what they end.
_OWNER_WIDE = {"clear": {SESSION}, "revoke": {SESSION, LOGIN, API_KEY, TICKET}}


class Kill(NamedTuple):
    """A call that has ended a thing, or may have."""

    call: Call
    #: When it returned, the thing was dead for sure.
    certain: bool
    #: The one credential that it ended; ``None`` for all of the thing.
    credential: str | None = None

    def covers(self, credential: str) -> bool:
        """Return True if it ended this credential."""
        return self.credential in (None, credential)


class Life:
    """One session, with all of its ids, one login, with all tokens, one API key or ticket."""

    def __init__(self, birth: Call) -> None:
        self.birth = birth
        self.kind = BIRTHS[birth.op]
        self.calls: list[Call] = []
        self.kills: list[Kill] = []

    @property
    def is_honest(self) -> bool:
        """Return True for a login whose refresh tokens only its client presents, in order."""
        return self.kind == LOGIN and bool(self.birth.args.get("honest"))

    def those(self, op: str, credential: str | None = None) -> Iterator[Call]:
        """Yield the calls of one verb, in order; of one credential if it is given."""
        for call in self.by_op.get(op, ()):
            if credential is None or call.credential == credential:
                yield call

    @cached_property
    def by_op(self) -> dict[str, list[Call]]:
        """The calls by their verb, once all are known."""
        found: dict[str, list[Call]] = defaultdict(list)
        for call in self.calls:
            found[call.op].append(call)
        return found


def lives_of(history: History, landing: float) -> list[Life]:
    """Sort calls by what they are about.

    :param landing: seconds after which a call without an answer is no longer carried out.
    """
    births = [call for call in history.calls if call.op in BIRTHS and call.outcome == OK]
    lives = {call.thing: Life(call) for call in births}
    for call in history.calls:
        if call.thing in lives and call.op not in BIRTHS:
            lives[call.thing].calls.append(call)
    _add_owner_wide(history, list(lives.values()), landing)
    for life in lives.values():
        life.kills += [kill for call in life.calls for kill in _kills(life, call)]
    return list(lives.values())


def _add_owner_wide(history: History, lives: list[Life], landing: float) -> None:
    owned: dict[str, list[Life]] = defaultdict(list)
    for life in lives:
        owned[life.birth.owner].append(life)
    for call in history.calls:
        for life in owned[call.owner] if call.op in _OWNER_WIDE else ():
            lands_by = call.end + (0 if call.is_definite else landing)
            if life.kind in _OWNER_WIDE[call.op] and life.birth.start < lands_by:
                certain = call.outcome == OK and life.birth.end < call.start
                life.kills.append(Kill(call, certain))


def _kills(life: Life, call: Call) -> Iterator[Kill]:
    if call.op == "refresh" and call.outcome == REFUSED and call.reason == "reused":
        yield Kill(call, certain=True)
    if call.outcome == REFUSED:
        return
    certain = call.outcome == OK
    if call.op == "revoke_key" and certain and not call.result["alive"]:
        return
    if call.op in ("rework", "revoke_token", "rotate_key", "revoke_key"):
        yield Kill(call, certain, call.credential)
    elif call.op in ("logout", "redeem"):
        yield Kill(call, certain)
    elif call.op == "delete":
        yield Kill(call, certain, call.credential)
        if not certain or call.result["count"]:
            yield Kill(call, certain)
        elif _is_recoverable(life, call):
            # Where a reply was lost and the step repeated, the count is that of the second time.
            yield Kill(call, certain=False)


def _is_recoverable(life: Life, call: Call) -> bool:
    """Return True if the id of a call may open its successor: that was not used before."""
    tries = [one for one in life.those("rework", call.credential) if one.start < call.end]
    successors = {one.result["id"] for one in tries if one.outcome == OK}
    used = [
        one for one in life.calls
        if one.credential in successors and one.outcome == OK and one.end < call.start
    ]  # fmt: skip
    return bool(tries) and not used
