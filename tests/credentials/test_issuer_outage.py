"""A provider that stops, and processes that fork: with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from statistics import median

import pytest

from flask_jam import TokenError
from flask_jam._credentials.issuer_keys import FetchedKeys
from flask_jam._credentials.key_fetch import fetch_keys
from flask_jam.errors import IssuerUnavailable

from ..attacks.forge import compact
from ..attacks.test_token_cache import in_child, needs_fork
from ..conftest import Clock
from ..providers import running
from .accepting import Accepting
from .test_foreign_tokens import KEY, claims_of, issuer, issuers_of, token_of
from .test_issuer_keys import wait_until

pytestmark = pytest.mark.slow

PROGRAM = """
import json, sys, time
from tests.providers import running
with running(json.loads(sys.argv[1])) as provider:
    print(provider.jwks_uri, flush=True)
    while True:
        time.sleep(1)
"""


@contextmanager
def provider_process() -> Iterator[tuple[str, int]]:
    """Run a provider in a process; give the address of its keys, and its pid."""
    arguments = [sys.executable, "-c", PROGRAM, json.dumps(KEY)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), process.pid
        finally:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
            process.terminate()


ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def test_a_provider_that_stops_costs_no_request() -> None:
    timer = Clock()
    with provider_process() as (url, pid):
        made: list[FetchedKeys] = []

        def source(rules: object) -> FetchedKeys:
            made.append(FetchedKeys(rules, partial(fetch_keys, within=3.0), timer))  # type: ignore[arg-type]
            return made[-1]

        issuers = issuers_of(issuer(jwks_uri=url), sources=source)
        known = token_of(claims_of())
        issuers.verify(known)
        before = median(timed(issuers, known) for _ in range(1000))
        os.kill(pid, signal.SIGSTOP)
        timer.tick(3000)  # the set is old, and its refresh hangs
        made[0]._wake.set()
        wait_until(lambda: made[0]._is_fetching)
        new = [token_of(claims_of(jti=f"new-{number}")) for number in range(500)]
        times = [timed(issuers, known) for _ in range(9500)]
        first_seen = [timed(issuers, token) for token in new]
        assert max(times) < 1.5
        assert max(first_seen) < 1.5
        assert median(times) < 3 * before
        wait_until(lambda: made[0].state().failures > 0)
        # Nor does an attacker's kid cost one.
        attempts = made[0]._attempts
        for number in range(5000):
            token = compact({"alg": "RS256", "kid": f"k{number}", "typ": "JWT"}, claims_of(), b"x")
            with pytest.raises(TokenError):
                issuers.verify(token)
        assert made[0]._attempts - attempts <= 1
        issuers.verify(known)
        # When it is back, so are its keys.
        os.kill(pid, signal.SIGCONT)
        timer.tick(60)
        made[0]._wake.set()
        wait_until(lambda: made[0].state().failures == 0)
        assert made[0].state().age == 0
        issuers.close()


def timed(issuers: Accepting, token: str) -> float:
    began = time.perf_counter()
    issuers.verify(token)
    return time.perf_counter() - began


def test_a_provider_that_hangs_from_the_start_costs_two_seconds_at_most() -> None:
    with provider_process() as (url, pid):
        os.kill(pid, signal.SIGSTOP)
        fetch = partial(fetch_keys, within=2.5)
        issuers = issuers_of(issuer(jwks_uri=url), sources=lambda rules: FetchedKeys(rules, fetch))
        began = time.monotonic()
        with pytest.raises(IssuerUnavailable):
            issuers.verify(token_of(claims_of()))
        assert 1.5 < time.monotonic() - began < 4
        wait_until(lambda: next(iter(issuers.states().values())).failures > 0)
        began = time.monotonic()
        for _ in range(1000):
            with pytest.raises(IssuerUnavailable):
                issuers.verify(token_of(claims_of()))
        assert time.monotonic() - began < 10
        issuers.close()


@needs_fork
def test_a_forked_child_verifies_and_fetches_with_a_thread_of_its_own() -> None:
    with running(KEY) as provider:
        issuers = issuers_of(issuer(jwks_uri=provider.jwks_uri))
        token, unknown = token_of(claims_of()), token_of(claims_of(), kid="unknown")
        issuers.verify(token)

        def work() -> None:
            for _ in range(3):
                issuers.verify(token)
                issuers.verify(token_of(claims_of(jti="new")))
            with suppress(TokenError):
                issuers.verify(unknown)
            assert next(iter(issuers.states().values())).kids == ("a",)

        assert in_child(work) == 0
        assert provider.asked == ["/keys", "/keys"]
        issuers.close()
