"""The Redis store keeps the contract, on each Redis that there is and on a cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flask_jam.stores.client import client_factory
from flask_jam.stores.redis import RedisStore

from ..servers import RedisCluster, RedisServer
from .conformance import StoreConformance


def store_of(url: str, timeout: float = 5.0) -> RedisStore:
    return RedisStore(client_factory(url, timeout), timeout=timeout)


class TestRedisStore(StoreConformance):
    @pytest.fixture
    def store(self, each_server: RedisServer) -> Iterator[RedisStore]:
        each_server.flush()
        store = store_of(each_server.url)
        yield store
        store.close()


class TestRedisStoreOnACluster(StoreConformance):
    @pytest.fixture
    def store(self, three_nodes: RedisCluster) -> Iterator[RedisStore]:
        three_nodes.flush()
        store = store_of(three_nodes.url)
        yield store
        store.close()
