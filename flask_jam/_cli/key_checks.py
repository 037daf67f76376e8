"""Checks of ``flask jam doctor`` for the key ring and the published keys."""

from __future__ import annotations

from collections.abc import Iterator

from .._credentials.key_members import public_set
from .._credentials.key_rotation import made_in_future
from .._credentials.keyring_watch import KeyringWatch
from ..jam import Jam

_DAY = 86400.0
#: A key that signs for longer should have been rotated, in days.
_OLD = 365

#: Status, requirement of ASVS 5.0, sentence.
Row = tuple[str, str, str]


def check_ring(watch: KeyringWatch) -> Iterator[Row]:
    """Check that a ring has a key that signs, that it is not old, and that none is left over."""
    ring, now = watch.ring, watch.clock()
    signer = ring.signer(now)
    if signer is None:
        hint = "flask jam keyring rotate makes the first one"
        yield "failure", "13.3.1", f"jwt.keyring is a directory without a key: {hint}"
        return
    days = (now - signer.active_at) // _DAY
    if signer.setting is None and days > _OLD:
        hint = "flask jam keyring rotate makes the next one, and cron may call it"
        yield "warning", "13.3.4", f"one key has signed for {days:g} days: {hint}"
    else:
        count = len(ring.keyring(now).keys)
        yield "ok", "13.3.4", f"jwt.keyring: {count} verify, and one of them signs"
    for member in made_in_future(ring.members, now):
        hint = "a clock is wrong, and no key is rotated: see flask jam keyring list"
        yield "warning", "13.3.4", f"the key {member.kid} was made later than now: {hint}"
    for member in ring.members:
        end = ring.retires_at(member)
        if member.setting is not None and end is not None and end <= now:
            yield "warning", "13.3.4", f"nothing that {member.setting} signed is alive: remove it"


def check_published(jam: Jam) -> Iterator[Row]:
    """Check that there is something to publish at ``jwt.jwks_path``."""
    path = jam.settings.jwt.jwks_path
    keys = jam.verifier.keyring.keys
    if path is not None and keys and not public_set(keys)["keys"]:
        hint = "take an alg such as EdDSA, or remove jwt.jwks_path"
        yield "warning", "11.6.1", f"{path} is 404, as every key is a secret (HS...): {hint}"
