"""The app of the other tests, as one that is being tested."""

from __future__ import annotations

import pytest
from flask import Flask

from flask_jam import Jam
from flask_jam.testing import JamClient

from ..conftest import build_app


@pytest.fixture
def app(jam: Jam) -> Flask:
    app = build_app(jam)
    app.testing = True
    return app


@pytest.fixture
def client(app: Flask) -> JamClient:
    return JamClient(app)
