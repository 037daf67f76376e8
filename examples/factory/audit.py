"""The audit log: one line of JSON for each thing that happened, fed by the signals."""

from __future__ import annotations

import json
import logging
from typing import Any

from flask import Flask

from flask_jam import signals

log = logging.getLogger("audit")
_KINDS = ("logged_in", "logged_out", "refreshed", "rejected", "revoked", "reuse_detected")


def init_app(app: Flask) -> None:
    for kind in _KINDS:
        # weak=False: a closure that nobody else holds would be forgotten at once.
        getattr(signals, kind).connect(_writer(kind), app, weak=False)


def _writer(kind: str) -> Any:
    def write(_app: Flask, *, payload: object = None, **what: Any) -> None:
        # The payload stays out: an audit log needs to know who, not everything about them.
        log.info("%s", json.dumps({"event": kind, **what}, default=str))

    return write
