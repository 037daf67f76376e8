"""One browser for all tests, which forgets everything between two of them, and sites for it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from flask import Flask
from werkzeug.security import generate_password_hash

from ..conftest import SECRET
from .drive import Browser, Site, missing
from .visits import ROOT, Serve


@pytest.fixture(scope="package")
def _chromium() -> Iterator[Browser]:
    if reason := missing():
        pytest.skip(reason)
    with Browser() as browser:
        yield browser


@pytest.fixture
def browser(_chromium: Browser) -> Browser:
    _chromium.fresh()
    return _chromium


@pytest.fixture
def serve() -> Iterator[Callable[..., Site]]:
    """``serve(app, https=True)``: a running :class:`Site`. A request that fails fails the test."""
    sites: list[Site] = []
    with ExitStack() as stack:

        def start(app: Flask, https: bool = False) -> Site:
            sites.append(stack.enter_context(Site(app, https)))
            return sites[-1]

        yield start
    assert [seen for site in sites for seen in site.seen if seen.status == 500] == []


# --- the site example -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def make_app() -> Iterator[Callable[..., Flask]]:
    cheap = partial(generate_password_hash, method="pbkdf2:sha256:1")  # there are many logins here
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        patch.setattr("werkzeug.security.generate_password_hash", cheap)
        create_app = importlib.import_module("examples.site").create_app

    def make(**config: Any) -> Flask:
        secure = {"SESSION_COOKIE_SECURE": config.get("JAM_COOKIE_SECURE", True)}
        settings = {"JAM_JWT_SECRET_KEY": SECRET, "RATELIMIT_ENABLED": False}
        return create_app({**settings, **secure, **config})  # type: ignore[no-any-return]

    yield make
    for name in [name for name in sys.modules if name.split(".")[0] == "examples"]:
        del sys.modules[name]


@pytest.fixture
def plain(serve: Serve, make_app: Callable[..., Flask]) -> Site:
    """Over plain http, as in development."""
    return serve(make_app(JAM_COOKIE_SECURE=False))


@pytest.fixture
def safe(serve: Serve, make_app: Callable[..., Flask]) -> Site:
    """Over https, with the settings as they are."""
    return serve(make_app(), https=True)


@pytest.fixture(params=["http", "https"])
def site(request: pytest.FixtureRequest) -> Site:
    """Over http a browser sends no Sec-Fetch-Site: there it is Origin that counts."""
    return request.getfixturevalue({"http": "plain", "https": "safe"}[request.param])  # type: ignore[no-any-return]
