"""What 10,000 cached tokens weigh.

    python tests/benchmarks/memory.py

Counted by :mod:`tracemalloc` from a verifier that knows no token to one that knows all of them, so
without the tokens themselves: no cache holds one.
"""

from __future__ import annotations

import gc
import tracemalloc

from flask_jam import Jam

TOKENS = 10_000
ALLOWED = 20_000_000


def realistic_tokens(jam: Jam, count: int) -> list[str]:
    """One user each, with what a login puts in a token."""
    return [
        jam.issue_tokens(
            f"{number:08x}-7d3c-4b7e-9f0a-2f6c1d8e5b40",
            scopes={"articles:read", "articles:write", "profile"},
            roles={"editor", "member"},
            name=f"Reader Number {number}",
            email=f"reader-{number}@example.org",
        )["access_token"]
        for number in range(count)
    ]


def cached_bytes(count: int) -> int:
    """Bytes that a verifier has come to hold after that many tokens."""
    jam = Jam({"jwt": {"secret_key": "m3mory-only-0123456789-abcdefghijklmnopqrstuvwxyz"}})
    tokens = realistic_tokens(jam, count)
    jam.verifier.verify(tokens[0])
    jam.verifier.cache_clear()
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for token in tokens:
            jam.verifier.verify(token)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert jam.verifier.cache_info().currsize == count
    return after - before


def main() -> None:
    """Measure and print."""
    held = cached_bytes(TOKENS)
    verdict = "met" if held < ALLOWED else "NOT MET"
    print(
        f"{TOKENS:,} cached tokens: {held / 1e6:.1f} MB, {held / TOKENS:,.0f} bytes each; "
        f"budget {ALLOWED / 1e6:.0f} MB: {verdict}"
    )


if __name__ == "__main__":
    main()
