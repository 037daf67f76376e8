"""The near cache keeps the contract, and believes nothing longer than Redis vouches for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flask_jam.stores.client import client_factory
from flask_jam.stores.near import NearStore

from ..servers import RedisCluster, RedisServer
from .conformance import StoreConformance


def near_store(url: str, timeout: float = 5.0, silence: float = 1.0) -> NearStore:
    return NearStore(client_factory(url, timeout), timeout=timeout, silence=silence)


class TestNearStore(StoreConformance):
    @pytest.fixture
    def store(self, each_server: RedisServer) -> Iterator[NearStore]:
        each_server.flush()
        store = near_store(each_server.url)
        yield store
        store.close()


class TestNearStoreOnACluster(StoreConformance):
    @pytest.fixture
    def store(self, three_nodes: RedisCluster) -> Iterator[NearStore]:
        three_nodes.flush()
        store = near_store(three_nodes.url)
        yield store
        store.close()
