"""Keep the examples' passwords cheap to hash: each test imports its example anew."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import werkzeug.security
from flask import Flask

from flask_jam import Jam

from .visitors import ROOT, SITE


@pytest.fixture(autouse=True)
def cheap_password_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = functools.partial(werkzeug.security.generate_password_hash, method="pbkdf2:sha256:1")
    monkeypatch.setattr(werkzeug.security, "generate_password_hash", quick)


@pytest.fixture(scope="module")
def create_site() -> Iterator[Any]:
    """``create_app`` of the site example, imported once for the module."""
    cheap = functools.partial(
        werkzeug.security.generate_password_hash, method="pbkdf2:sha256:1"
    )  # there are many logins here
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        patch.setattr("werkzeug.security.generate_password_hash", cheap)
        yield importlib.import_module("examples.site").create_app
    for name in [name for name in sys.modules if name.split(".")[0] == "examples"]:
        del sys.modules[name]


@pytest.fixture
def site_jam(make_jam: Callable[..., Jam]) -> Jam:
    return make_jam(login_view="auth.login", login_message="Please enter your password to go on.")


@pytest.fixture
def site(create_site: Any, site_jam: Jam) -> Flask:
    """The site example on the test's clock, without limits on logins."""
    return create_site(SITE, site_jam)  # type: ignore[no-any-return]
