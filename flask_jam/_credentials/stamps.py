"""Timestamps for minting and revoking that never coincide."""

from __future__ import annotations

import math
from collections.abc import Callable

from .._helpers.fork_lock import fork_safe_lock

Clock = Callable[[], float]

#: Two stamps closer than this, in seconds, count as the same instant.
INSTANT = 0.001


class Stamps:
    """The clock for minting and revoking, which never gives both the same instant.

    What was minted before a revocation has a stamp up to it, what comes after has a later one,
    even where the clock stands still.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._lock = fork_safe_lock()
        self._minted = self._cut = -math.inf

    def mint(self) -> float:
        """Now; a hair later where a cut-off has just been taken."""
        with self._lock:
            now = self.clock()
            if 0 <= self._cut - now < INSTANT:
                now = math.nextafter(self._cut, math.inf)
            self._minted = max(self._minted, now)
            return now

    def cut(self) -> float:
        """A cut-off: no earlier than anything minted, also after the clock was set back."""
        with self._lock:
            self._cut = max(self._cut, self._minted, self.clock())
            return self._cut
