"""Keep the examples' passwords cheap to hash: each test imports its example anew."""

from __future__ import annotations

import functools

import pytest
import werkzeug.security


@pytest.fixture(autouse=True)
def cheap_password_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = functools.partial(werkzeug.security.generate_password_hash, method="pbkdf2:sha256:1")
    monkeypatch.setattr(werkzeug.security, "generate_password_hash", quick)
