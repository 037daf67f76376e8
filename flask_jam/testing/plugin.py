"""The pytest plugin: fixtures for apps that use Flask-Jam. pytest loads it at start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from .client import JamClient
from .events import every_signal

pytest.register_assert_rewrite(
    "flask_jam.testing.stores", "flask_jam.testing.api_keys", "flask_jam.testing.tickets"
)


@pytest.fixture
def jam_client(app: Flask) -> JamClient:
    """Return a client of your fixture ``app`` that logs in: ``jam_client.login("alice")``."""
    own = app.test_client_class
    if own is not None and issubclass(own, JamClient):
        return own(app)
    return JamClient(app)


@pytest.fixture
def auth_events(app: Flask) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Yield every signal of your fixture ``app`` in order, as ``(name, arguments)``."""
    with every_signal(app) as heard:
        yield heard
