"""What happened, for whoever wants to know: blinker signals, sent by the real app object.

Take ``**extra`` in a receiver: later versions may say more. A receiver that is a closure dies at
once unless it is connected with ``weak=False``.
"""

from __future__ import annotations

import inspect
import logging
from typing import Any

from blinker import NamedSignal, Namespace
from flask import Flask

from .errors import shown

_log = logging.getLogger(__name__)
_namespace = Namespace()

#: ``login()`` succeeded, durably: ``scheme, subject, payload``.
logged_in = _namespace.signal("logged-in")
#: ``logout()``: ``scheme, subject``.
logged_out = _namespace.signal("logged-out")
#: ``refresh()`` succeeded, durably: ``scheme, subject, payload``.
refreshed = _namespace.signal("refreshed")
#: A guard refused: ``scheme, reason, source, endpoint, fingerprint``.
rejected = _namespace.signal("rejected")
#: Something was revoked: ``kind`` (``token family subject session``), ``subject``.
revoked = _namespace.signal("revoked")
#: A rotated refresh token came back: ``subject, family``.
reuse_detected = _namespace.signal("reuse-detected")


def emit(signal: NamedSignal, app: Flask, /, **what: Any) -> None:
    """Send to every receiver. One that raises is logged; nobody else notices.

    :param app: the real object, not a proxy: blinker compares senders by identity.
    """
    if not signal.receivers or signal.is_muted:
        return
    for receiver in signal.receivers_for(app):
        try:
            if inspect.iscoroutinefunction(receiver):
                receiver = app.ensure_sync(receiver)  # noqa: PLW2901
            receiver(app, **what)
        except Exception as error:
            name = getattr(receiver, "__qualname__", type(receiver).__name__)
            _log.error("receiver %s of %s raised %s", name, signal.name, shown(error))
