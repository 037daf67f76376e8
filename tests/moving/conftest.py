"""The key that both apps of a page read, the peer's and ours."""

from __future__ import annotations

import pytest

from ..conftest import SECRET


@pytest.fixture(autouse=True)
def one_key(no_settings_from_outside: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JWT_SECRET_KEY", "SECRET_KEY", "JAM_JWT_SECRET_KEY"):
        monkeypatch.setenv(name, SECRET)
