"""The cache of facts: bounded, locked, and deaf to what was under way when it was cleared."""

from __future__ import annotations

import threading
from functools import lru_cache

from flask_jam._credentials.token_cache import MAX_AGE, CacheInfo, FactCache

from ..conftest import Clock


def keep(cache: FactCache[str], key: bytes, value: str) -> None:
    found, ticket = cache.get(key)
    assert found is None
    cache.put(key, value, ticket)


def test_a_fact_that_was_put_is_found() -> None:
    cache: FactCache[str] = FactCache(10)
    keep(cache, b"a", "fact")
    assert cache.get(b"a")[0] == "fact"
    assert cache.get(b"b")[0] is None
    assert cache.info() == CacheInfo(hits=1, misses=2, maxsize=10, currsize=1)


def test_the_info_has_the_fields_of_functools() -> None:
    assert CacheInfo._fields == lru_cache(lambda: 0).cache_info()._fields


def test_the_fact_used_longest_ago_makes_room() -> None:
    cache: FactCache[str] = FactCache(2)
    keep(cache, b"a", "A")
    keep(cache, b"b", "B")
    cache.get(b"a")
    keep(cache, b"c", "C")
    assert [cache.get(key)[0] for key in (b"a", b"b", b"c")] == ["A", None, "C"]
    assert cache.info().currsize == 2


def test_it_never_holds_more_than_its_bound() -> None:
    cache: FactCache[str] = FactCache(100)
    for number in range(1000):
        keep(cache, b"%d" % number, "fact")
    assert cache.info().currsize == 100


def test_with_size_zero_it_keeps_nothing() -> None:
    cache: FactCache[str] = FactCache(0)
    keep(cache, b"a", "A")
    assert cache.get(b"a")[0] is None
    assert cache.info() == CacheInfo(hits=0, misses=2, maxsize=0, currsize=0)


def test_a_fact_is_used_no_longer_than_the_maximal_age() -> None:
    timer = Clock()
    cache: FactCache[str] = FactCache(10, timer)
    keep(cache, b"a", "A")
    timer.tick(MAX_AGE - 0.001)
    assert cache.get(b"a")[0] == "A"
    timer.tick(0.001)
    found, ticket = cache.get(b"a")
    assert found is None
    cache.put(b"a", "again", ticket)
    timer.tick(MAX_AGE - 1)
    assert cache.get(b"a")[0] == "again"


def test_a_put_whose_ticket_is_older_than_a_clear_is_dropped() -> None:
    cache: FactCache[str] = FactCache(10)
    _, ticket = cache.get(b"a")
    cache.clear()
    cache.put(b"a", "established before the clear", ticket)
    assert cache.get(b"a")[0] is None
    keep(cache, b"b", "established after it")
    assert cache.get(b"b")[0] == "established after it"


def test_no_number_of_clears_makes_an_old_ticket_good_again() -> None:
    cache: FactCache[str] = FactCache(10)
    _, ticket = cache.get(b"a")
    for _ in range(300):
        cache.clear()
        cache.put(b"a", "old", ticket)
        assert cache.get(b"a")[0] is None


def test_clearing_forgets_facts_and_counts() -> None:
    cache: FactCache[str] = FactCache(10)
    keep(cache, b"a", "A")
    cache.get(b"a")
    cache.clear()
    assert cache.info() == CacheInfo(hits=0, misses=0, maxsize=10, currsize=0)


def test_many_threads_neither_break_it_nor_lose_a_count() -> None:
    cache: FactCache[int] = FactCache(8)
    wrong: list[object] = []

    def job(seed: int) -> None:
        try:
            for step in range(3000):
                number = (seed * 7 + step * 13) % 32
                found, ticket = cache.get(b"%d" % number)
                if found is None:
                    cache.put(b"%d" % number, number, ticket)
                elif found != number:
                    wrong.append(found)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=job, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    info = cache.info()
    assert wrong == []
    assert info.hits + info.misses == 8 * 3000
    assert info.currsize == 8
