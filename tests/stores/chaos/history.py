"""The log of a run: one JSON line for each call of a worker and for each fault."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from flask_jam import SessionError, StoreUnavailable, TokenError

#: One clock for all processes of a machine.
now = time.monotonic

OK, REFUSED, UNAVAILABLE, BROKEN = "ok", "refused", "unavailable", "broken"


@dataclass(frozen=True)
class Call:
    """One call of the public API, as its caller saw it."""

    op: str
    start: float
    end: float
    outcome: str = OK
    #: Of a refusal, its ``reason``; of any other exception, its type.
    reason: str = ""
    #: Processes are numbered; those with ``near`` set use the near cache.
    process: int = 0
    near: bool = False
    #: The name of the session or login that the call is about; empty for a whole owner.
    thing: str = ""
    owner: str = ""
    #: The session id or token that was presented.
    credential: str = ""
    args: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_definite(self) -> bool:
        """Return True if the caller knows what became of it."""
        return self.outcome in (OK, REFUSED)


@dataclass(frozen=True)
class Fault:
    """Something that was done to Redis or to the way there."""

    kind: str
    #: It was in effect from here to there.
    since: float
    until: float
    #: No reply reached a client in between.
    down: bool = False
    #: Redis carried out no request in between.
    halted: bool = False


@dataclass(frozen=True)
class History:
    """All calls and faults of a run, each in order of its start."""

    calls: list[Call]
    faults: list[Fault]

    @classmethod
    def of(cls, calls: Iterable[Call], faults: Iterable[Fault] = ()) -> History:
        """Put calls and faults in order."""
        return cls(
            sorted(calls, key=lambda call: call.start),
            sorted(faults, key=lambda fault: fault.since),
        )

    @classmethod
    def read(cls, folder: Path) -> History:
        """Read what the workers and the injector of a run have written."""
        calls = [Call(**line) for path in folder.glob("calls-*.jsonl") for line in _lines(path)]
        return cls.of(calls, [Fault(**line) for line in _lines(folder / "faults.jsonl")])


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Log:
    """A file of JSON lines; each is written whole, so that others can read along."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("w", encoding="utf-8", buffering=1)

    def write(self, entry: Call | Fault) -> None:
        """Append a line."""
        self._file.write(json.dumps(asdict(entry)) + "\n")

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def timed(act: Callable[[], Mapping[str, Any] | None], op: str, **about: Any) -> Call:
    """Call ``act``; record when, and what became of it. ``None`` means an unknown session."""
    start, reason, result = now(), "", None
    try:
        result = act()
        outcome = OK
        if result is None:
            outcome, reason = REFUSED, "unknown_session"
    except StoreUnavailable:
        outcome = UNAVAILABLE
    except (TokenError, SessionError) as error:
        outcome, reason = REFUSED, error.reason.value
    except Exception as error:  # any other is what the checker looks for
        outcome, reason = BROKEN, type(error).__name__
    return Call(op, start, now(), outcome, reason, result=result or {}, **about)
