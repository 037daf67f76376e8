"""The injector: one fault after the other, chosen by a seeded generator."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from ...servers import Proxy, RedisServer
from .history import Fault, Log, now

#: Everything that is acknowledged is on disk, so a restart forgets nothing.
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
#: Before the first fault, so that there is something near.
CALM = 1.0
#: A link that begins so carries the pushes of a near cache.
PUSHES = b"TRACKING"


class Faults:
    """What may happen to Redis, and to the way that the workers have to it."""

    def __init__(
        self, server: RedisServer, proxy: Proxy, log: Log, seed: str, kinds: Sequence[str]
    ) -> None:
        self._server = server
        self._proxy = proxy
        self._log = log
        self._chance = random.Random(seed)
        self._kinds = kinds
        self._due: list[str] = []
        self._until = 0.0

    def inject(self, until: float) -> None:
        """Inject faults until then; all are over when it returns."""
        self._until = until
        time.sleep(CALM)
        while now() < until:
            time.sleep(self._chance.uniform(0.05, 0.5))
            if self._kinds:
                self._inject(self._next())

    def _next(self) -> str:
        """Choose at random, but each kind once before any comes again."""
        if not self._due:
            self._due = self._chance.sample(self._kinds, len(self._kinds))
        return self._due.pop()

    def _inject(self, kind: str) -> None:
        since = now()
        KINDS[kind](self)
        if kind not in LASTING:  # those record themselves
            self._log.write(Fault(kind, since, now()))

    def _lasts(self, kind: str, seconds: float, *, halted: bool) -> None:
        since = now()
        time.sleep(max(0.0, min(seconds, self._until - since)))
        self._log.write(Fault(kind, since, now(), down=True, halted=halted))

    # --- what lasts ---

    def refuse(self) -> None:
        self._proxy.refuse()
        self._lasts("refuse", self._chance.uniform(0.05, 0.8), halted=True)
        self._proxy.accept()

    def freeze(self) -> None:
        self._proxy.freeze()
        self._lasts("freeze", self._long(), halted=True)
        self._proxy.thaw()

    def hold_requests(self) -> None:
        self._proxy.hold_requests()
        self._lasts("hold_requests", self._long(), halted=True)
        self._proxy.release()

    def hold_replies(self) -> None:
        self._proxy.hold_replies()
        self._lasts("hold_replies", self._chance.uniform(0.05, 0.6), halted=False)
        self._proxy.release()

    def stop(self) -> None:
        self._server.pause()
        self._lasts("stop", self._long(), halted=True)
        self._server.resume()

    def kill(self) -> None:
        self._server.kill()
        self._lasts("kill", self._chance.uniform(0.0, 0.5), halted=True)
        self._server.restart()

    def _long(self) -> float:
        """Return how long a hang lasts: sometimes longer than a refresh token may be repeated."""
        return self._chance.choice([0.1, 0.4, 0.8, 2.5]) * self._chance.uniform(0.8, 1.2)

    # --- what is over at once ---

    def cut(self) -> None:
        self._proxy.cut()

    def lose_replies(self) -> None:
        self._proxy.swallow_replies(count=self._chance.randint(1, 20))

    def mute_some(self) -> None:
        self._proxy.mute(count=self._chance.randint(1, 12))

    def mute_pushes(self) -> None:
        self._proxy.mute(PUSHES)

    def end_clients(self) -> None:
        kind = self._chance.choice(["normal", "pubsub"])
        self._ask("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

    def forget_scripts(self) -> None:
        self._ask("SCRIPT", "FLUSH")

    def _ask(self, *words: str) -> None:
        with self._server.client() as client:
            client.execute_command(*words)


KINDS: dict[str, Callable[[Faults], None]] = {
    name: getattr(Faults, name)
    for name in (
        "refuse", "freeze", "hold_requests", "hold_replies", "stop", "kill", "cut", "lose_replies",
        "mute_some", "mute_pushes", "end_clients", "forget_scripts",
    )
}  # fmt: skip
LASTING = {"refuse", "freeze", "hold_requests", "hold_replies", "stop", "kill"}
