"""Stores that break one promise each, to show that the checker sees it.

A mutant is put in front of a real store. It passes on the arguments that do not matter to it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from flask_jam import Jam, StoreUnavailable
from flask_jam.stores.api_keys import KeyRotation


class ServesRevoked:
    """Serve a session for ever that was read once."""

    def read_session(self, key: str, *more: Any) -> Any:
        kept = self.__dict__.setdefault("kept", {})
        if key not in kept:
            kept[key] = super().read_session(key, *more)
        return kept[key]


class ServesRevokedKeys:
    """Serve an API key for ever that was read once."""

    def read_api_key(self, key: str, *more: Any) -> Any:
        kept = self.__dict__.setdefault("kept_keys", {})
        if key not in kept:
            kept[key] = super().read_api_key(key, *more)
        return kept[key]


class ForksKeys:
    """Rotate an API key in two steps: look whether it was rotated, and make another one."""

    def rotate_api_key(self, key: str, owner: str, new: Any, now: float, *more: Any) -> Any:
        old = super().read_api_key(key, "", now)
        if old is None or old.successor is not None or not old.alive(now):
            return super().rotate_api_key(key, owner, new, now, *more)
        made = replace(old, key=new.key, digest=new.digest)
        super().create_api_key(made)
        time.sleep(0.05)
        super().rotate_api_key(key, owner, new, now, *more)
        return KeyRotation(made)


class ForgetsMarks:
    """Keep what was against a token, and hear of nothing new."""

    def marks(self, *names: Any) -> Any:
        kept = self.__dict__.setdefault("kept_marks", {})
        if names[:4] not in kept:
            kept[names[:4]] = super().marks(*names)
        return kept[names[:4]]


class WritesWhole:
    """Update in three steps: read all of the data, change it, write it back."""

    def update_session(self, key: str, changes: Any, now: float, *more: Any) -> Any:
        session = super().read_session(key, now)
        data = {} if session is None else dict(session.data)
        time.sleep(0.1)
        return super().update_session(key, {**data, **changes}, now, *more)


class RevivesOnWrite:
    """Create the session that an update does not find."""

    def update_session(self, key: str, changes: Any, now: float, *more: Any) -> Any:
        seen = self.__dict__.setdefault("seen", {})
        seen[key] = super().read_session(key, now) or seen.get(key)
        if super().update_session(key, changes, now, *more):
            return True
        return seen[key] is not None and super().create_session(key, seen[key])


class ForksFamilies:
    """Rotate a family again for the token before the current one."""

    def rotate_family(self, family_id: str, generation: int, **more: Any) -> Any:
        family = super().read_family(family_id, more["now"])
        if family is not None and generation == family.generation - 1:
            generation = family.generation
        return super().rotate_family(family_id, generation, **more)


class KeepsTheOldId:
    """Leave a reworked session under its old id, too."""

    def rework_session(self, key: str, *more: Any) -> Any:
        session = super().read_session(key, time.time())
        reworked = super().rework_session(key, *more)
        if session is not None:
            super().create_session(key, replace(session, created_at=time.time()))
        return reworked


class LosesTheNewId:
    """Move a session to an id that its client never hears of, once in a while."""

    def rework_session(self, key: str, new_key: str, *more: Any) -> Any:
        if secrets.randbelow(4):
            return super().rework_session(key, new_key, *more)
        super().rework_session(key, key[:2] + secrets.token_urlsafe(32), *more)
        raise StoreUnavailable


class UnknownWhenDown:
    """Take a Redis that does not answer for one that knows no such session."""

    def read_session(self, *arguments: Any) -> Any:
        try:
            return super().read_session(*arguments)
        except StoreUnavailable:
            return None


class Raises:
    """Raise what is not documented."""

    def end_family(self, *arguments: Any) -> Any:
        super().end_family(*arguments)
        raise KeyError


class RedeemsInTwoSteps:
    """Look whether a ticket is good, then use it up."""

    def redeem_ticket(self, *arguments: Any) -> Any:
        found = super().peek_ticket(*arguments)
        time.sleep(0.1)
        super().redeem_ticket(*arguments)
        return found


class NeverSilent:
    """Believe what is near however long Redis has been silent: a setting beyond the bound."""


class Mutant(NamedTuple):
    """What is put in front of the store, the rules that it breaks, the faults that show it."""

    store: type
    rules: set[str]
    faults: tuple[str, ...] = ()
    settings: Mapping[str, Any] = {}


MUTANTS = {
    mutant.store.__name__: mutant
    for mutant in (
        Mutant(ServesRevoked, {"accepted after it was ended"}),
        Mutant(ServesRevokedKeys, {"accepted after it was ended"}),
        Mutant(ForksKeys, {"an API key has two successors"}),
        Mutant(ForgetsMarks, {"accepted after it was ended"}),
        Mutant(WritesWhole, {"an update was lost"}),
        Mutant(RevivesOnWrite, {"accepted after it was ended"}),
        Mutant(ForksFamilies, {"a refresh token has two successors"}),
        Mutant(KeepsTheOldId, {"accepted after it was ended"}),
        Mutant(LosesTheNewId, {"a session was lost"}),
        Mutant(UnknownWhenDown, {"an answer while Redis was down (refuse)"}, ("refuse",)),
        Mutant(
            NeverSilent, {"accepted after it was ended", "an update was lost"}, ("mute_pushes",),
            {"near_cache_silence": 60.0},
        ),
        Mutant(RedeemsInTwoSteps, {"a ticket was redeemed twice"}),
        Mutant(Raises, {"an outcome that is not documented"}),
    )
}  # fmt: skip


def mutate(jam: Jam, name: str) -> None:
    """Have the store of a Jam break a promise."""
    jam.store.__class__ = type(name, (MUTANTS[name].store, type(jam.store)), {})
