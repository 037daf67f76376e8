"""A clock that stands still until the test moves it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from flask import Flask, current_app

from ..errors import ConfigError
from ..jam import Jam
from .events import tested_state


class Clock:
    """A clock for ``Jam(clock=Clock())``, which stands still until it is moved.

    In an app that is not being tested, a request fails.

    :param at: seconds since the epoch, or a ``datetime`` with a time zone; the present by default.
    """

    def __init__(self, at: float | datetime | None = None) -> None:
        self.now = time.time() if at is None else _seconds(at)

    def __call__(self) -> float:
        if current_app and not current_app.testing:
            raise ConfigError(
                "a Clock of flask_jam.testing stands still, and this app is not being tested: set "
                "app.testing = True in your tests, and give it no such clock elsewhere"
            )
        return self.now

    def __repr__(self) -> str:
        return f"Clock({self.now!r})"

    def tick(self, seconds: float | timedelta) -> None:
        """Move the clock forward."""
        if isinstance(seconds, timedelta):
            seconds = seconds.total_seconds()
        self.now += _seconds(seconds)

    def move_to(self, at: float | datetime) -> None:
        """Set the clock, also to an earlier time, as when a machine's clock is set back."""
        self.now = _seconds(at)


def _seconds(at: float | datetime) -> float:
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise ConfigError("a datetime needs a time zone: write tzinfo=timezone.utc")
        return at.timestamp()
    if isinstance(at, bool) or not isinstance(at, (int, float)) or not math.isfinite(at):
        raise ConfigError("write a time as seconds, or as a datetime with a time zone")
    return at


@contextmanager
def frozen_time(jam_or_app: Jam | Flask, at: float | datetime | None = None) -> Iterator[Clock]:
    """Freeze a Jam's clock; move it by the :class:`Clock` that the context yields.

    Tokens, sessions, refresh families and ``max_age`` follow it; nothing else in Python does.

    :param at: the frozen time; by default the Jam's current time.
    :raises ConfigError: unless ``app.testing``.
    """
    jam = jam_or_app if isinstance(jam_or_app, Jam) else tested_state(jam_or_app).jam
    usual = jam.clock
    clock = Clock(usual() if at is None else at)
    _set_clock(jam, clock)
    try:
        yield clock
    finally:
        _set_clock(jam, usual)


def _set_clock(jam: Jam, clock: Callable[[], float]) -> None:
    """Set the clock everywhere it is stored: production code reads it directly."""
    for part in (jam, *vars(jam).values()):
        if hasattr(part, "clock"):
            part.clock = clock
