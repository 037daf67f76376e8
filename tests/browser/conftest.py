"""One browser for all tests, which forgets everything between two of them, and sites for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from flask import Flask

from .drive import Browser, Site, missing


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
