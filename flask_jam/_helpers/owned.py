"""Index of what each owner has in memory, by age and by expiry."""

from __future__ import annotations

import math
from bisect import bisect_left, insort


class Owned:
    """The names of one owner. Lists stay sorted: a name is found without looking at the others."""

    def __init__(self) -> None:
        self._noted: dict[str, tuple[tuple[float, int, str], float]] = {}
        # Of two names of one age, the first that came is the older.
        self._ages: list[tuple[float, int, str]] = []
        self._ends: list[tuple[float, str]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._noted)

    def put(self, name: str, born: float, end: float) -> None:
        """Add a name, or update its expiry."""
        if name in self._noted:
            age, old_end = self._noted[name]
            del self._ends[bisect_left(self._ends, (old_end, name))]
        else:
            self._count += 1
            age = born, self._count, name
            insort(self._ages, age)
        self._noted[name] = age, end
        insort(self._ends, (end, name))

    def drop(self, name: str) -> None:
        """Remove a name, if present."""
        if name in self._noted:
            age, end = self._noted.pop(name)
            del self._ages[bisect_left(self._ages, age)]
            del self._ends[bisect_left(self._ends, (end, name))]

    def due(self, now: float, most: int) -> list[str]:
        """Return at most ``most`` names that have expired."""
        count = bisect_left(self._ends, (math.nextafter(now, math.inf),))
        return [name for _, name in self._ends[: min(count, most)]]

    def last_end(self) -> float:
        """Return the latest expiry."""
        return self._ends[-1][0]

    def page(self, after: str, most: int) -> list[tuple[str, str]]:
        """Return at most ``most`` names by age, each with the cursor that follows it."""
        start = 0
        if after:
            born, _, count = after.partition(" ")
            start = bisect_left(self._ages, (float(born), int(count) + 1))
        found = self._ages[start : start + most]
        return [(name, f"{born!r} {count}") for born, count, name in found]


class OwnerIndex(dict[str, Owned]):
    """The names of every owner."""

    def put(self, owner: str, name: str, born: float, end: float) -> None:
        """Add a name of an owner, or update its expiry."""
        self.setdefault(owner, Owned()).put(name, born, end)

    def drop(self, owner: str, name: str) -> None:
        """Remove a name, and its owner with the last one."""
        owned = self.get(owner)
        if owned is not None:
            owned.drop(name)
            if not owned:
                del self[owner]

    def due(self, owner: str, now: float, most: int) -> list[str]:
        """Return at most ``most`` names that have expired."""
        return self[owner].due(now, most) if owner in self else []

    def last_end(self, owner: str) -> float:
        """Return the latest expiry, or 0 if the owner has no names."""
        return self[owner].last_end() if owner in self else 0.0

    def page(self, owner: str, after: str, most: int) -> list[tuple[str, str]]:
        """Return at most ``most`` names by age, each with the cursor that follows it."""
        return self[owner].page(after, most) if owner in self else []

    def excess(self, owner: str, new: str, most: int, step: int) -> list[str]:
        """Return the oldest names beyond ``most``: at most ``step``, and never ``new``."""
        over = min(len(self.get(owner, ())) - most, step)
        if most == 0 or over <= 0:
            return []
        return [name for name, _ in self.page(owner, "", over + 1) if name != new][:over]
