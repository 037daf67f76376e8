"""Record the signals of an app under test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

from blinker import NamedSignal
from flask import Flask
from werkzeug.local import LocalProxy

from .. import signals
from .._request.app_state import EXTENSION_KEY, AppState
from ..errors import ConfigError

SIGNALS = {name: found for name, found in vars(signals).items() if isinstance(found, NamedSignal)}


def real_app(app: object) -> Flask:
    """Return the app object, also for ``current_app``.

    :raises ConfigError: for any other object.
    """
    if isinstance(app, LocalProxy):
        app = app._get_current_object()
    if not isinstance(app, Flask):
        raise ConfigError(f"write the Flask app, not a {type(app).__name__}")
    return app


def tested_app(app: object) -> Flask:
    """Return the app object, if it is being tested.

    :raises ConfigError: if it is not: these tools must not touch a production app.
    """
    found = real_app(app)
    if not found.testing:
        raise ConfigError(
            "flask_jam.testing is for apps that are being tested, and this one is not: set "
            "app.testing = True in your tests, and nowhere else"
        )
    return found


def tested_state(app: object) -> AppState:
    """Return the state of an app that is being tested.

    :raises ConfigError: if it is not, or has no Jam.
    """
    state: AppState | None = tested_app(app).extensions.get(EXTENSION_KEY)
    if state is None:
        raise ConfigError(
            "this app has no Jam: write JWTExtension(jam).init_app(app) or "
            "SessionExtension(jam).init_app(app)"
        )
    return state


@contextmanager
def capture(signal: NamedSignal, app: Flask) -> Iterator[list[SimpleNamespace]]:
    """Yield a list that records what the app sends by a signal, in order.

    Each entry has the arguments of the signal as attributes; ``vars(entry)`` is their ``dict``.

    :raises ConfigError: unless ``app.testing``.
    """
    sender, heard = tested_app(app), list[SimpleNamespace]()
    if not isinstance(signal, NamedSignal):
        raise ConfigError("signal: write one of flask_jam.signals, such as signals.rejected")

    def hear(_sender: Flask, **what: Any) -> None:
        heard.append(SimpleNamespace(**what))

    with signal.connected_to(hear, sender=sender):
        yield heard


@contextmanager
def every_signal(app: Flask) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Yield a list that records all signals of the app, as ``(name, arguments)``."""
    sender, heard = tested_app(app), list[tuple[str, dict[str, Any]]]()

    def hearing(name: str) -> Any:
        return lambda _sender, **what: heard.append((name, what))

    with ExitStack() as stack:
        for name, signal in SIGNALS.items():
            stack.enter_context(signal.connected_to(hearing(name), sender=sender))
        yield heard
