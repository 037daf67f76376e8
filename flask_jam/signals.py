"""Blinker signals that Flask-Jam sends; the sender is the real app object.

Accept ``**extra`` in a receiver: later versions may send more. A receiver that is a closure is
garbage collected at once unless it is connected with ``weak=False``.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any

from blinker import NamedSignal, Namespace
from flask import Flask

from .errors import safe_summary

_log = logging.getLogger(__name__)
_namespace = Namespace()

#: ``login()`` succeeded, durably: ``scheme, subject, issuer, payload``.
logged_in = _namespace.signal("logged-in")
#: ``logout()``: ``scheme, subject, issuer``.
logged_out = _namespace.signal("logged-out")
#: ``refresh()`` succeeded, durably: ``scheme, subject, issuer, payload``.
refreshed = _namespace.signal("refreshed")
#: ``refuse_login()``: ``scheme, subject``, the subject as the client typed it.
login_failed = _namespace.signal("login-failed")
#: A guard refused: ``scheme, reason, source, endpoint, subject, issuer, fingerprint``.
rejected = _namespace.signal("rejected")
#: Something was revoked: ``kind`` (``token family subject session``), ``subject, issuer``.
revoked = _namespace.signal("revoked")
#: A rotated refresh token came back: ``subject, issuer, family``.
reuse_detected = _namespace.signal("reuse-detected")


def emit(signal: NamedSignal, app: Flask, /, **what: Any) -> None:
    """Send a signal to every receiver. Log one that raises, with its line but no error text.

    :param app: the app object, not a proxy: blinker compares senders by identity.
    """
    if not signal.receivers or signal.is_muted:
        return
    for receiver in signal.receivers_for(app):
        try:
            _deliver(receiver, app, what)
        except Exception as error:
            name = getattr(receiver, "__qualname__", type(receiver).__name__)
            _log.error(
                "receiver %s of %s raised %s", name, signal.name, safe_summary(error, receiver)
            )


def _deliver(receiver: Callable[..., Any], app: Flask, what: dict[str, Any]) -> None:
    if not inspect.iscoroutinefunction(receiver):
        receiver(app, **what)
        return
    call = partial(copy_context().run, app.ensure_sync(receiver), app, **what)
    if _in_event_loop():
        # The guard of an async view runs inside its loop, which cannot wait for another.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(call).result()
    else:
        call()


def _in_event_loop() -> bool:
    import asyncio  # noqa: PLC0415 - 10 ms of processor time, and few apps have async receivers

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
