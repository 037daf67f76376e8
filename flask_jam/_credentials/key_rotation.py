"""Changes to a key ring: create the next key, or retire one.

Each change is a pure step from the members of the directory to the next ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from ..errors import ConfigError
from ..stores.interface import CLOCK_SKEW
from .key_directory import MOST_KEYS
from .key_members import make_key
from .key_states import SPREAD, Member, Ring, State

#: How many retired keys the ring remembers.
_REMEMBERED = 10


class Change(NamedTuple):
    """The result of a step: the new content of the directory, and the key concerned."""

    #: The new members of the directory; None for no change.
    members: list[Member] | None
    about: Member
    #: The key that signs next, if this step created or promoted one.
    successor: Member | None = None


def rotate(ring: Ring, now: float, alg: str, wait: float) -> Change:
    """Create the next key, unless one is waiting to sign.

    :param alg: the algorithm.
    :param wait: seconds from now until it signs. The very first key signs at once.
    :raises ConfigError: if there are too many keys, or a clock is wrong.
    """
    own = [member for member in ring.members if member.setting is None]
    for member in made_in_future(own, now):
        raise ConfigError(
            f"{member.kid} was made later than now: this clock is behind, or another one was "
            "ahead. If that one was, flask jam keyring retire ends the key"
        )
    waiting = ring.of(State.PENDING, now) or _just_begun(own, now)
    if waiting:
        return Change(None, waiting[-1])
    living = _pruned(ring, now)
    if sum(member.key is not None for member in living) >= MOST_KEYS:
        raise ConfigError(
            f"jwt.keyring: {MOST_KEYS} keys are in use, as tokens live long: rotate less often"
        )
    begins = now if ring.signer(now) is None else now + wait
    new = _made(alg, now, begins)
    return Change([*living, new], new, new)


def made_in_future(members: Iterable[Member], now: float) -> list[Member]:
    """Return the keys whose creation lies in the future: some clock is wrong."""
    return [each for each in members if each.key and each.created_at > now + CLOCK_SKEW]


def _just_begun(own: Sequence[Member], now: float) -> list[Member]:
    """Return a key that another operator created just now and that signed at once."""
    at_once = [each for each in own if each.key and each.created_at == each.active_at]
    return [each for each in at_once if now - each.active_at < SPREAD]


def usual_alg(ring: Ring, default: str) -> str:
    """Return the algorithm of the newest key of the directory."""
    own = [member for member in ring.members if member.setting is None]
    return own[-1].alg if own else default


def _made(alg: str, now: float, begins: float) -> Member:
    key = make_key(alg)
    return Member(key.kid, alg, key, created_at=now, active_at=begins)


def _pruned(ring: Ring, now: float) -> list[Member]:
    """Return the members of the directory; without the private halves of retired ones."""
    own, gone = [], []
    for member, state in ring.states(now):
        if member.setting is None and state is State.RETIRED:
            gone.append(_ended(member, ring.retires_at(member) or now))
        elif member.setting is None:
            own.append(member)
    return [*sorted(gone, key=lambda each: each.retired_at or 0)[-_REMEMBERED:], *own]


def _ended(member: Member, at: float, *, forced: bool = False) -> Member:
    if member.key is None:
        return member
    return replace(member, key=None, retired_at=at, forced=forced)


def retire(ring: Ring, kid: str, now: float, *, force: bool) -> Change:
    """Retire a key that is not used any more, or with force any key.

    If it signs, a waiting key replaces it at once, or a new one.

    :raises ConfigError: if there is no such key, or retiring it would log users out.
    """
    member, state = _named(ring, kid, now)
    if state is State.RETIRED and member.key is None:
        return Change(None, member)
    if not force:
        _check_unused(ring, member, state, now)
    rest = [each for each in _pruned(ring, now) if each.kid != kid]
    successor = _successor(rest, member, now) if state is State.ACTIVE else None
    if successor is not None:
        rest = [each for each in rest if each.kid != successor.kid] + [successor]
    if state is State.PENDING:
        return Change(rest, member)  # it signed nothing, so the ring need not remember it
    ended = _ended(member, now, forced=force and state is not State.RETIRED)
    return Change([ended, *rest], ended, successor)


def _named(ring: Ring, kid: str, now: float) -> tuple[Member, State]:
    for member, state in ring.states(now):
        if member.kid == kid and member.setting is None:
            return member, state
    for member in ring.members:
        if member.kid == kid:
            raise ConfigError(f"{kid} is {member.setting}: remove it from the settings")
    raise ConfigError(f"the ring has no key {kid}: flask jam keyring list shows them")


def _check_unused(ring: Ring, member: Member, state: State, now: float) -> None:
    if state is State.ACTIVE:
        raise ConfigError(
            f"{member.kid} signs now: flask jam keyring rotate makes the next key. With --force it "
            "ends at once, and users with a token of it log in again"
        )
    if state is State.RETIRING:
        raise ConfigError(
            f"tokens of {member.kid} may be alive: see flask jam keyring list. With --force it "
            "ends at once, and users with such a token log in again"
        )
    if state is State.PENDING and member.active_at - now < SPREAD:
        raise ConfigError(f"{member.kid} may sign any moment: add --force to end it all the same")


def _successor(rest: Sequence[Member], ended: Member, now: float) -> Member:
    waiting = [each for each in rest if each.key is not None and each.active_at > now]
    # Every process has read a key that was waiting.
    return replace(waiting[0], active_at=now) if waiting else _made(ended.alg, now, now)
