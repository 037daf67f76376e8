"""The verified-token cache: every line V01 to V28 of the attack catalogue, against a running app.

Names in comments are of incidents elsewhere. "Warm" means: the token was accepted before.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from inspect import signature
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask, g
from flask.testing import FlaskClient

from flask_jam import ConfigError, Jam, Reason, TokenError, jwt_required, signals
from flask_jam._credentials.access_tokens import Verifier
from flask_jam._credentials.token_cache import FactCache
from flask_jam._helpers.fork_lock import fork_safe_lock
from flask_jam.keys import KeyRing
from flask_jam.settings import JWTSettings
from flask_jam.stores.memory import MemoryStore

from ..cases import each_case
from ..conftest import SECRET, Clock, bearer, build_app
from .craft import (
    ABSENT,
    EXPIRED,
    GUARDED,
    NOW,
    OK,
    UNREAD,
    FlakyStore,
    N,
    R,
    S,
    T,
    Verdict,
    b64,
    claims,
    forged,
    on_every_route,
    signed,
    unb64,
    verdict,
)

MakeJam = Callable[..., Jam]
OTHER_SECRET = "an0ther-k3y-for-tests-9876543210-zyxwvutsrqponmlkjihgfedcba-ZYXWVUTS"


def answer(client: FlaskClient, token: str, path: str = "/jwt") -> Verdict:
    return verdict(client.get(path, headers=bearer(token)))


def warmed(jam: Jam, client: FlaskClient, token: str) -> str:
    """The token, once it is known that the next request finds it in the cache."""
    assert answer(client, token) == OK
    hits = jam.verifier.cache_info().hits
    assert answer(client, token) == OK
    assert jam.verifier.cache_info().hits == hits + 1
    return token


def kept(jam: Jam) -> int:
    return jam.verifier.cache_info().currsize


def ring_of(jam: Jam) -> KeyRing:
    return KeyRing.from_settings(jam.settings.jwt)


# --- what names an entry --------------------------------------------------------------


def test_V01_a_forged_token_that_starts_as_a_warm_one_is_refused(
    jam: Jam, client: FlaskClient
) -> None:
    # LiteLLM, CVE-2026-35030: the first 20 characters were the key.
    token = warmed(jam, client, signed(claims()))
    head, body, mac = token.split(".")
    other_body = b64(b'{"sub":"root","jti":"x","exp":1800000600}')
    last = mac[:-1] + ("A" if mac[-1] != "A" else "E")

    for forgery in (forged(token), f"{head}.{other_body}.{mac}", f"{head}.{body}.{last}"):
        assert on_every_route(client, bearer(forgery)) == {T}
    assert kept(jam) == 1


def test_V01_a_forged_token_that_ends_as_a_warm_one_is_refused(
    jam: Jam, client: FlaskClient
) -> None:
    token = warmed(jam, client, signed(claims()))
    _, body, mac = token.split(".")
    root = signed(claims(sub="root")).split(".")[1]
    head = b64(b'{"typ":"JWT","alg":"HS256"}')

    for forgery in (f"{head}.{body}.{mac}", f"{head}.{root}.{mac}"):
        assert on_every_route(client, bearer(forgery)) == {T}


def test_V02_nobody_can_bring_a_way_to_name_entries() -> None:
    # fast-jwt GHSA-rp9m-7r4c-75qg: two tokens had one name by a function of the user's.
    taken = {field.name for field in fields(JWTSettings) if "cache" in field.name}

    assert taken == {"cache_size"}
    assert set(signature(FactCache.__init__).parameters) == {"self", "maxsize", "timer"}
    assert set(signature(Verifier.__init__).parameters) == {
        "self", "keyring", "settings", "store", "clock",
    }  # fmt: skip


@each_case(
    "change",
    [
        pytest.param(str.lower, id="V02-letter-case"),
        pytest.param(lambda token: token.replace(".", ".."), id="V02-dots"),
        pytest.param(lambda token: token + "\u00ad", id="V02-soft-hyphen"),
        pytest.param(lambda token: token + "\x00", id="V02-nul"),
        pytest.param(lambda token: token[:40] + " " + token[40:], id="V02-space-inside"),
    ],
)
def test_a_spelling_that_a_sloppy_name_would_fold_is_another_token(
    jam: Jam, client: FlaskClient, change: Callable[[str], str]
) -> None:
    token = warmed(jam, client, signed(claims()))

    assert on_every_route(client, bearer(change(token))) in ({T}, {R})
    assert kept(jam) == 1


# --- what holds on a hit --------------------------------------------------------------


def test_V03_a_warm_token_is_refused_where_another_audience_is_asked_for(
    make_jam: MakeJam,
) -> None:
    # lua-resty-openidc #569.
    store = MemoryStore()
    here, there = (
        make_jam(store=store, jwt={"audience": name}) for name in ("https://here", "https://there")
    )
    client, other = build_app(here).test_client(), build_app(there).test_client()
    token = warmed(here, client, signed(claims(aud="https://here")))

    assert on_every_route(other, bearer(token)) == {T}
    assert answer(client, token) == OK


def test_V03_the_check_of_a_route_runs_on_every_hit(jam: Jam, app: Flask) -> None:
    asked: list[str] = []

    def only_bob(payload: dict[str, Any]) -> bool:
        asked.append(payload["sub"])
        return payload["sub"] == "bob"

    app.add_url_rule("/bob", "bob", jwt_required(check=only_bob)(lambda: "bob's"))
    client = app.test_client()
    token = warmed(jam, client, signed(claims()))

    assert [answer(client, token, "/bob") for _ in range(3)] == [S, S, S]
    assert asked == ["alice"] * 3


def test_V04_scope_role_and_freshness_are_asked_on_every_hit(
    jam: Jam, client: FlaskClient, clock: Clock
) -> None:
    # Oathkeeper CVE-2021-32701: the scope was checked on a miss only.
    token = warmed(jam, client, signed(claims(scope="write", roles=["editor"], auth_time=NOW)))

    assert answer(client, token, "/read") == UNREAD
    assert answer(client, token, "/admin") == S
    assert answer(client, token, "/fresh") == OK
    clock.tick(301)
    assert answer(client, token, "/fresh")[0] == 401
    assert answer(client, token) == OK


def test_V05_two_verifiers_share_no_entry(make_jam: MakeJam) -> None:
    # Oathkeeper GHSA-4mq7-pvjg-xp2r. All else is shared here: keys, store, clock.
    store = MemoryStore()
    strict, open_ = make_jam(store=store, jwt={"issuer": "https://us"}), make_jam(store=store)
    client = build_app(open_).test_client()
    warmed(open_, client, signed(claims(iss="https://them")))

    assert kept(open_) == 1
    assert kept(strict) == 0
    strict_client = build_app(strict).test_client()
    assert on_every_route(strict_client, bearer(signed(claims(iss="https://them")))) == {T}


def test_V06_two_apps_with_different_secrets_share_no_entry(make_jam: MakeJam) -> None:
    first, second = make_jam(), make_jam(jwt={"secret_key": OTHER_SECRET})
    one, two = build_app(first).test_client(), build_app(second).test_client()
    token = warmed(first, one, signed(claims()))
    foreign = warmed(second, two, signed(claims(), secret=OTHER_SECRET))

    assert on_every_route(two, bearer(token)) == {T}
    assert on_every_route(one, bearer(foreign)) == {T}


# --- what is kept ---------------------------------------------------------------------


def test_V07_logout_with_an_expired_token_keeps_nothing(
    jam: Jam, client: FlaskClient, clock: Clock
) -> None:
    # authup #3210: a verification that overlooked expiry filled the cache.
    token = signed(claims())
    clock.tick(600)

    assert client.post("/logout", headers=bearer(token)).status_code == 204

    assert kept(jam) == 0
    assert answer(client, token) == EXPIRED


def test_V07_login_and_refresh_keep_nothing(jam: Jam, client: FlaskClient) -> None:
    pair = client.post("/login/alice").json
    client.post("/refresh", json={"refresh_token": pair["refresh_token"]})
    jam.revoke_token(pair["access_token"])

    assert kept(jam) == 0
    assert answer(client, pair["access_token"]) == T


def test_V08_a_token_without_any_time_left_is_not_kept(
    jam: Jam, client: FlaskClient, clock: Clock
) -> None:
    # authup: a time to live of zero became the default hour.
    clock.now = NOW + 600

    for exp in (NOW + 600, NOW + 599, 0, -1):
        assert answer(client, signed(claims(exp=exp, iat=NOW))) == EXPIRED
    assert kept(jam) == 0


def test_V09_and_V10_a_warm_token_dies_at_exp(jam: Jam, client: FlaskClient, clock: Clock) -> None:
    # fast-jwt 6.3.2: without iat, exp was never asked again. Here such a token is refused at once.
    assert on_every_route(client, bearer(signed(claims(iat=ABSENT)))) == {T}
    token = warmed(jam, client, signed(claims()))
    clock.tick(599)
    assert answer(client, token) == OK

    clock.tick(1)

    assert on_every_route(client, bearer(token)) == {EXPIRED}


def test_V11_not_yet_is_not_never(jam: Jam, client: FlaskClient, clock: Clock) -> None:
    # fast-jwt #195: "not active yet" was remembered.
    token = signed(claims(nbf=NOW + 60))
    assert answer(client, token) == T
    assert kept(jam) == 0

    clock.tick(60)

    assert answer(client, token) == OK


def test_V12_a_signature_that_was_bad_is_tried_anew_after_a_rotation(
    jam: Jam, client: FlaskClient, make_jam: MakeJam
) -> None:
    token = signed(claims(), secret=OTHER_SECRET)
    assert on_every_route(client, bearer(token)) == {T}

    jam.verifier.rekey(ring_of(make_jam(jwt={"secret_key": OTHER_SECRET})))

    assert answer(client, token) == OK


def test_V13_what_was_refused_is_kept_for_no_reason(
    jam: Jam, client: FlaskClient, clock: Clock
) -> None:
    revoked = signed(claims(jti="revoked"))
    jam.revoke_token(revoked)
    wrong = [
        forged(signed(claims())), signed(claims(), secret=OTHER_SECRET), revoked,
        signed(claims(exp=NOW)), signed(claims(nbf=NOW + 1)), signed(claims(iat=NOW + 1)),
        signed(claims(aud="them")), signed(claims(sub="")), signed(claims(jti=ABSENT)),
        signed(claims(), {"alg": "HS256", "typ": "refresh"}), "a.b.c", "junk", "",
    ]  # fmt: skip
    for token in wrong:
        client.get("/jwt", headers=bearer(token))
        client.post("/logout", headers=bearer(token))

    assert kept(jam) == 0
    assert jam.verifier.cache_info().hits == 0


# --- payloads are fresh ---------------------------------------------------------------


def grown(payload: Any) -> str:
    """What a careless view does to its payload."""
    payload["roles"].append("admin")
    payload["deep"]["list"][0]["x"] = "changed"
    payload["deep"]["more"] = payload
    payload["sub"] = "root"
    payload["exp"] = NOW + 10**9
    del payload["jti"]
    return "changed"


def test_V14_a_view_that_changes_its_payload_changes_nobody_elses(jam: Jam, app: Flask) -> None:
    # fast-jwt 6.3.6 hands the same object to everybody.
    def check(payload: dict[str, Any]) -> bool:
        grown(payload)
        return True

    app.add_url_rule("/grow", "grow", jwt_required(lambda: grown(g.payload)))
    app.add_url_rule("/grow-open", "grow-open", lambda: grown(g.payload))
    app.add_url_rule("/grow-check", "grow-check", jwt_required(check=check)(lambda: "changed"))
    client = app.test_client()
    said = claims(roles=["editor"], deep={"list": [{"x": "as it was"}]})
    token = signed(said)

    for path in ("/grow", "/grow-open", "/grow-check") * 2:
        assert client.get(path, headers=bearer(token)).text == "changed"
        grown(jam.verify_jwt_token(token))
        assert answer(client, token, "/admin") == S
        response = client.get("/jwt", headers=bearer(token))
        assert response.json["payload"] == said
        assert response.json["subject"] == "alice"
    assert jam.verifier.cache_info().misses == 1


def test_V14_a_receiver_that_changes_the_payload_changes_no_token(
    jam: Jam, app: Flask, client: FlaskClient
) -> None:
    def receiver(sender: Flask, payload: dict[str, Any], **extra: Any) -> None:
        payload["roles"] = ["admin"]
        payload["sub"] = "root"

    with signals.logged_in.connected_to(receiver, app):
        pair = client.post("/login/alice").json

    assert answer(client, pair["access_token"], "/admin") == S
    assert client.get("/jwt", headers=bearer(pair["access_token"])).json["subject"] == "alice"


# --- revocation and rotation ----------------------------------------------------------


@each_case("revoke", ["token", "claims", "subject", "logout", "family"])
def test_V15_a_warm_token_is_refused_by_the_next_request_after_its_revocation(
    jam: Jam, client: FlaskClient, revoke: str
) -> None:
    # keygen #651.
    pair = jam.issue_tokens("alice")
    token = warmed(jam, client, pair["access_token"])
    by = {
        "token": lambda: jam.revoke_token(token),
        "claims": lambda: jam.revoke_token(jam.verify_jwt_token(token)),
        "subject": lambda: jam.revoke_subject("alice"),
        "logout": lambda: client.post("/logout", headers=bearer(token)),
        "family": lambda: jam.revoke_token(pair["refresh_token"]),
    }
    by[revoke]()

    assert on_every_route(client, bearer(token)) == {T}


def in_between(store: FlakyStore, action: Callable[[], Any]) -> None:
    """Run once, after the marks of the next token were read and before its facts are kept."""

    def act(verb: str) -> None:
        if verb == "marks":
            store.after = lambda verb: None
            action()

    store.after = act


def test_V16_a_revocation_during_a_verification_counts_from_the_next_request(
    make_jam: MakeJam,
) -> None:
    store = FlakyStore()
    jam = make_jam(store=store)
    client, token = build_app(jam).test_client(), signed(claims())
    in_between(store, lambda: jam.revoke_token(token))

    # This one had its answer before the revocation was there.
    assert answer(client, token) == OK
    assert on_every_route(client, bearer(token)) == {T}


def test_V16_a_fact_that_was_being_found_while_the_cache_was_cleared_is_dropped(
    make_jam: MakeJam,
) -> None:
    store = FlakyStore()
    jam = make_jam(store=store)
    client, token = build_app(jam).test_client(), signed(claims())
    in_between(store, jam.verifier.cache_clear)

    assert answer(client, token) == OK
    assert kept(jam) == 0
    warmed(jam, client, token)


def test_V16_a_fact_of_the_old_key_does_not_outlive_a_rotation_beside_it(
    make_jam: MakeJam,
) -> None:
    store = FlakyStore()
    jam, new = make_jam(store=store), make_jam(jwt={"secret_key": OTHER_SECRET})
    client, token = build_app(jam).test_client(), signed(claims())
    in_between(store, lambda: jam.verifier.rekey(ring_of(new)))

    assert answer(client, token) == OK
    assert kept(jam) == 0
    assert on_every_route(client, bearer(token)) == {T}


def test_V16_threads_that_race_a_revocation_never_win_after_it(
    make_jam: MakeJam, app: Flask, jam: Jam
) -> None:
    revoked = threading.Event()
    late: list[Verdict] = []
    tokens = [signed(claims(jti=f"token-{number}")) for number in range(20)]

    def hammer() -> None:
        client = app.test_client()
        for token in tokens:
            for _ in range(3):
                after = revoked.is_set()
                found = answer(client, token)
                if after:
                    late.append(found)

    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(hammer) for _ in range(4)]
        time.sleep(0.02)
        for token in tokens:
            jam.revoke_token(token)
        revoked.set()
        runs += [pool.submit(hammer)]
        for run in runs:
            run.result()

    assert set(late) == {T}


def test_V17_a_revocation_counts_at_once_for_every_jam_on_one_store(make_jam: MakeJam) -> None:
    # Two workers in one process. Between machines the store has to push; that is Redis's part.
    store = MemoryStore()
    first, second = make_jam(store=store), make_jam(store=store)
    one, two = build_app(first).test_client(), build_app(second).test_client()
    pairs = [first.issue_tokens("alice") for _ in range(3)]
    for pair in pairs:
        warmed(first, one, pair["access_token"])
        warmed(second, two, pair["access_token"])

    first.revoke_token(pairs[0]["access_token"])
    assert answer(two, pairs[0]["access_token"]) == T
    one.post("/logout", headers=bearer(pairs[1]["access_token"]))
    assert answer(two, pairs[1]["access_token"]) == T
    first.revoke_subject("alice")
    assert answer(two, pairs[2]["access_token"]) == T


def test_V18_a_key_that_was_removed_takes_its_warm_tokens_along(
    make_jam: MakeJam,
) -> None:
    jam = make_jam(jwt={"secret_key": OTHER_SECRET, "secret_key_fallbacks": [SECRET]})
    client = build_app(jam).test_client()
    both = [key.kid for key in jam.verifier.keyring.keys]
    new, old = (
        signed(claims(), {"alg": "HS256", "typ": "JWT", "kid": kid}, secret)
        for kid, secret in zip(both, (OTHER_SECRET, SECRET), strict=True)
    )
    warmed(jam, client, old)
    warmed(jam, client, new)

    jam.verifier.rekey(ring_of(make_jam(jwt={"secret_key": OTHER_SECRET})))

    assert kept(jam) == 0
    assert on_every_route(client, bearer(old)) == {T}
    assert answer(client, new) == OK


def test_V18_a_key_that_comes_back_finds_no_facts_from_before(
    jam: Jam, client: FlaskClient, make_jam: MakeJam
) -> None:
    token = warmed(jam, client, signed(claims()))
    jam.verifier.rekey(ring_of(make_jam(jwt={"secret_key": OTHER_SECRET})))
    assert on_every_route(client, bearer(token)) == {T}

    jam.verifier.rekey(ring_of(jam))

    assert jam.verifier.cache_info()[:2] == (0, 0)
    assert answer(client, token) == OK
    assert jam.verifier.cache_info()[:2] == (0, 1)


# --- bounds ---------------------------------------------------------------------------


def test_V19_a_flood_of_good_tokens_costs_misses_and_no_memory(make_jam: MakeJam) -> None:
    jam = make_jam(jwt={"cache_size": 16})
    client = build_app(jam).test_client()

    for number in range(200):
        assert answer(client, signed(claims(jti=f"token-{number}"))) == OK

    info = jam.verifier.cache_info()
    assert (info.maxsize, info.currsize, info.misses) == (16, 16, 200)
    assert answer(client, signed(claims(jti="token-0"))) == OK


def test_V19_a_cache_of_size_zero_keeps_nothing_and_checks_everything(make_jam: MakeJam) -> None:
    jam = make_jam(jwt={"cache_size": 0})
    client, token = build_app(jam).test_client(), signed(claims())

    assert [answer(client, token) for _ in range(3)] == [OK] * 3
    assert (kept(jam), jam.verifier.cache_info().hits) == (0, 0)
    assert answer(client, forged(token)) == T


def test_V20_a_token_over_4_KiB_is_verified_each_time_and_not_kept(
    jam: Jam, client: FlaskClient
) -> None:
    # Entries are counted, so one entry must not be large: 10,000 of these would be 80 MB.
    large, small = (signed(claims(jti=str(size), pad="x" * size)) for size in (4000, 100))
    assert 4096 < len(large) <= 8192

    assert [answer(client, large) for _ in range(3)] == [OK] * 3

    assert kept(jam) == 0
    warmed(jam, client, small)
    assert answer(client, forged(large)) == T


# --- threads and processes ------------------------------------------------------------


@contextmanager
def frequent_switches() -> Iterator[None]:
    """Threads that take turns as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def test_V21_eight_threads_on_a_small_cache_leave_it_whole() -> None:
    # cachetools alone: 97 exceptions in three seconds, or a cache that never works again.
    seconds = [0.0]
    cache: FactCache[int] = FactCache(8, timer=lambda: seconds[0])
    stop = time.monotonic() + 0.7

    def hammer(number: int) -> None:
        turn = number
        while time.monotonic() < stop:
            turn += 7
            key = bytes([turn % 29])
            value, ticket = cache.get(key)
            assert value in (None, turn % 29)
            cache.put(key, turn % 29, ticket)
            seconds[0] += 1
            if turn % 97 == 0:
                cache.clear()
            assert cache.info().currsize <= 8

    with frequent_switches(), ThreadPoolExecutor(8) as pool:
        for run in [pool.submit(hammer, number) for number in range(8)]:
            run.result()

    cache.clear()
    assert cache.info().currsize == 0
    cache.put(b"key", 1, cache.get(b"key")[1])
    assert cache.get(b"key")[0] == 1


def test_V21_eight_threads_on_one_app_get_each_their_own_answer(make_jam: MakeJam) -> None:
    jam = make_jam(jwt={"cache_size": 4})
    app = build_app(jam)
    tokens = {f"user-{n}": signed(claims(jti=f"j-{n}", sub=f"user-{n}")) for n in range(8)}

    def hammer(number: int) -> None:
        client = app.test_client()
        for turn in range(24):
            name = f"user-{(number + turn) % 8}"
            response = client.get("/jwt", headers=bearer(tokens[name]))
            assert response.json["payload"]["sub"] == response.json["subject"] == name
            assert answer(client, forged(tokens[name])) == T
            if turn % 11 == number:
                jam.verifier.cache_clear()

    with frequent_switches(), ThreadPoolExecutor(8) as pool:
        for run in [pool.submit(hammer, number) for number in range(8)]:
            run.result()
    assert kept(jam) <= 4


def in_child(work: Callable[[], Any], seconds: int = 5) -> int:
    """Fork, run ``work`` in the child, and give its exit status; a hanging child is killed."""
    with warnings.catch_warnings():
        # From Python 3.12 on a fork beside threads warns. Servers do it; so do we, on purpose.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(seconds)
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextmanager
def busy(work: Callable[[], Any], entered: threading.Event) -> Iterator[None]:
    """Meanwhile another thread does ``work``, which sets ``entered`` where it is interesting."""
    thread = threading.Thread(target=work)
    thread.start()
    assert entered.wait(5)
    try:
        yield
    finally:
        thread.join()


class Slow:
    """A callable that says when it was called, and takes its time."""

    def __init__(self, answer: float) -> None:
        self.answer = answer
        self.entered = threading.Event()
        self.thread: threading.Thread | None = None

    def __call__(self) -> float:
        if threading.current_thread() is not threading.main_thread():
            self.entered.set()
            time.sleep(0.2)
        return self.answer


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@needs_fork
def test_V22_a_child_finds_the_cache_usable_that_another_thread_had_locked(jam: Jam) -> None:
    slow = Slow(1.0)
    jam.verifier._cache = FactCache(10, timer=slow)
    client, token = build_app(jam).test_client(), signed(claims())
    assert answer(client, token) == OK

    with busy(lambda: jam.verify_jwt_token(token), slow.entered):
        # The other thread is inside of the lock of the cache now.
        status = in_child(lambda: warmed(jam, client, token))

    assert status == 0
    warmed(jam, client, token)


@needs_fork
def test_V22_a_child_finds_the_store_usable_that_another_thread_had_locked(jam: Jam) -> None:
    entered = threading.Event()

    class SlowChanges(Mapping[str, Any]):
        def __iter__(self) -> Iterator[str]:
            entered.set()
            time.sleep(0.2)
            return iter(())

        def __len__(self) -> int:
            return 0

        def __getitem__(self, name: str) -> Any:
            raise KeyError(name)

    session_id = jam.create_session("alice", {"n": 1})
    (key,) = jam.store._sessions

    def child() -> None:
        jam.update_session(session_id, {"n": 2})
        assert jam.get_session(session_id) == {"n": 2}
        jam.revoke_token(jam.issue_tokens("alice")["access_token"])

    def locked() -> None:
        jam.store.update_session(key, SlowChanges(), jam.clock(), 1000)

    with busy(locked, entered):
        status = in_child(child)

    assert status == 0
    assert jam.get_session(session_id) == {"n": 1}


@needs_fork
def test_V22_a_child_can_mint_where_another_thread_was_minting() -> None:
    slow = Slow(float(NOW))
    jam = Jam({"jwt": {"secret_key": SECRET}}, clock=slow)

    with busy(lambda: jam.issue_tokens("alice"), slow.entered):
        status = in_child(lambda: jam.verify_jwt_token(jam.issue_tokens("bob")["access_token"]))

    assert status == 0


@needs_fork
def test_V22_a_preloaded_app_works_in_every_worker(jam: Jam, app: Flask) -> None:
    client, token = app.test_client(), signed(claims())
    warmed(jam, client, token)

    def worker() -> None:
        warmed(jam, client, token)
        assert answer(client, forged(token)) == T
        jam.revoke_token(token)
        assert answer(client, token) == T

    assert [in_child(worker) for _ in range(3)] == [0, 0, 0]
    assert answer(client, token) == OK


@needs_fork
def test_V22_threads_that_fork_at_the_same_time_do_not_stop_each_other() -> None:
    # In a process of its own: what is wrong here would hang.
    program = """
        import os, sys, threading, time, warnings
        from flask_jam._credentials.token_cache import FactCache
        warnings.simplefilter("ignore", DeprecationWarning)
        inside = threading.Event()
        failed = []

        def slow():
            if threading.current_thread().name == "holder":
                inside.set()
                time.sleep(0.3)
            return 0.0

        caches = [FactCache(10, timer=slow) for _ in range(3)]

        def use():
            for cache in caches:
                cache.put(b"key", 1, cache.get(b"key")[1])

        def ended(pid):
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

        def fork():
            pid = os.fork()
            if pid == 0:
                # A worker that makes a worker of its own.
                inner = os.fork()
                use()
                os._exit(ended(inner) if inner else 0)
            failed.append(ended(pid))
            use()

        # All forks wait for one lock, and go on at the same moment.
        holder = threading.Thread(target=use, name="holder")
        threads = [threading.Thread(target=fork) for _ in range(3)]
        holder.start()
        inside.wait()
        for thread in threads: thread.start()
        for thread in (holder, *threads): thread.join()
        sys.exit(failed != [0, 0, 0])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")


@needs_fork
def test_V22_a_lock_is_free_again_on_this_side_of_a_fork() -> None:
    lock = fork_safe_lock()

    assert in_child(lambda: lock.acquire(timeout=2) or os._exit(3)) == 0
    assert lock.acquire(timeout=2)


# --- several spellings of one token ---------------------------------------------------

ORDER_OF_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.fixture(scope="module")
def ec_pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def test_V23_the_twin_of_a_revoked_token_is_revoked(make_jam: MakeJam, ec_pem: str) -> None:
    jam = make_jam(jwt={"alg": "ES256", "private_key": ec_pem})
    client = build_app(jam).test_client()
    token = jam.issue_tokens("alice")["access_token"]
    said, _, signature = token.rpartition(".")
    raw = unb64(signature)
    s = ORDER_OF_P256 - int.from_bytes(raw[32:], "big")
    twin = f"{said}.{b64(raw[:32] + s.to_bytes(32, 'big'))}"

    # Whoever has one can make the other: both are the same token, by its jti.
    warmed(jam, client, token)
    warmed(jam, client, twin)
    assert kept(jam) == 2
    jam.revoke_token(token)

    for spelling in (token, twin):
        assert on_every_route(client, bearer(spelling)) == {T}
    for padding in ("=", "=="):
        assert on_every_route(client, bearer(token + padding)) == {T}
        assert on_every_route(client, bearer(twin + padding)) == {T}


# --- V24 waits: there is no introspection yet -----------------------------------------


def test_V25_a_disabled_user_is_asked_about_at_each_refresh(jam: Jam) -> None:
    enabled = {"alice"}
    asked: list[str] = []

    def reload_claims(subject: str, old: dict[str, Any]) -> dict[str, Any] | None:
        asked.append(subject)
        return {"roles": ["editor"]} if subject in enabled else None

    client = build_app(jam, reload_claims=reload_claims).test_client()
    pair = client.post("/login/alice").json
    for _ in range(3):
        response = client.post("/refresh", json={"refresh_token": pair["refresh_token"]})
        pair = response.json
        assert verdict(response) == OK
        assert client.get("/jwt", headers=bearer(pair["access_token"])).json["payload"][
            "roles"
        ] == ["editor"]

    enabled.clear()

    assert verdict(client.post("/refresh", json={"refresh_token": pair["refresh_token"]})) == T
    assert asked == ["alice"] * 4


def test_V25_who_is_disabled_by_hand_is_out_with_the_next_request(
    jam: Jam, client: FlaskClient
) -> None:
    pair = jam.issue_tokens("alice")
    warmed(jam, client, pair["access_token"])
    client.set_cookie("sessionId", jam.create_session("alice", {}))
    assert verdict(client.get("/session")) == OK

    jam.revoke_subject("alice")

    assert answer(client, pair["access_token"]) == T
    assert verdict(client.post("/refresh", json={"refresh_token": pair["refresh_token"]})) == T
    assert client.get("/session").status_code == 401


@each_case(
    ("said", "path"),
    [
        pytest.param({}, "/jwt", id="V26-accepted"),
        pytest.param({}, "/read", id="V26-scope-missing"),
        pytest.param({}, "/admin", id="V26-role-missing"),
        pytest.param({"auth_time": 0}, "/fresh", id="V26-login-too-old"),
        pytest.param({}, "/both", id="V26-session-missing"),
    ],
)
def test_hit_and_miss_are_answered_with_the_same_bytes(
    jam: Jam, client: FlaskClient, said: dict[str, Any], path: str
) -> None:
    # That a hit is faster says that the token was seen before, to somebody who has the token.
    token = signed(claims(**said))
    miss = client.get(path, headers=bearer(token))
    hit = client.get(path, headers=bearer(token))

    assert jam.verifier.cache_info()[:2] == (1, 1)
    assert (hit.status, hit.headers, hit.data) == (miss.status, miss.headers, miss.data)


def test_V26_what_is_looked_up_is_a_digest(jam: Jam, client: FlaskClient) -> None:
    # So no comparison stops early at a byte of a token that an attacker varies.
    token = warmed(jam, client, signed(claims()))
    (name,) = jam.verifier._cache._entries

    assert len(name) == 32
    assert name not in token.encode()


@each_case(
    "other",
    [
        pytest.param(lambda token: token.encode(), id="V27-bytes"),
        pytest.param(lambda token: bytearray(token.encode()), id="V27-bytearray"),
        pytest.param(lambda token: memoryview(token.encode()), id="V27-memoryview"),
        pytest.param(lambda token: [token], id="V27-list"),
        pytest.param(lambda token: {token: token}, id="V27-dict"),
        pytest.param(lambda token: None, id="V27-none"),
        pytest.param(lambda token: 7, id="V27-int"),
        pytest.param(lambda token: object(), id="V27-object"),
    ],
)
def test_what_is_no_text_is_no_token_also_when_its_text_is_warm(
    jam: Jam, client: FlaskClient, other: Callable[[str], Any]
) -> None:
    token = warmed(jam, client, signed(claims()))
    before = jam.verifier.cache_info()

    with pytest.raises(TokenError) as refused:
        jam.verify_jwt_token(other(token))

    assert refused.value.reason is Reason.INVALID
    assert jam.verifier.cache_info() == before


def test_V28_a_receiver_that_raises_changes_no_verdict(
    app: Flask, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    def receiver(sender: Flask, **what: Any) -> None:
        heard.append(what["scheme"])
        raise RuntimeError("a receiver that is broken, and quotes " + str(what))

    token = signed(claims())
    with (
        signals.rejected.connected_to(receiver, app),
        signals.logged_in.connected_to(receiver, app),
        signals.refreshed.connected_to(receiver, app),
        signals.logged_out.connected_to(receiver, app),
    ):
        for method, path in GUARDED:
            response = client.open(path, method=method, headers=bearer(forged(token)))
            assert verdict(response) == T
            assert verdict(client.open(path, method=method))[0] in (200, 401)
        assert verdict(client.get("/jwt")) == N
        assert answer(client, token, "/read") == UNREAD
        pair = client.post("/login/alice").json
        pair = client.post("/refresh", json={"refresh_token": pair["refresh_token"]}).json
        assert answer(client, pair["access_token"]) == OK
        assert client.post("/logout", headers=bearer(pair["access_token"])).status_code == 204
        assert answer(client, pair["access_token"]) == T

    assert len(heard) > 3
    assert "quotes" not in caplog.text


def test_V28_a_receiver_that_raises_at_a_revocation_undoes_nothing(
    jam: Jam, app: Flask, client: FlaskClient
) -> None:
    def receiver(sender: Flask, **what: Any) -> None:
        raise RuntimeError

    token = warmed(jam, client, signed(claims()))
    with signals.revoked.connected_to(receiver, app):
        assert jam.revoke_token(token) is True

    assert on_every_route(client, bearer(token)) == {T}


def test_a_cache_size_that_is_no_bound_is_refused_at_start(make_jam: MakeJam) -> None:
    for size in (-1, 1.5, "many", None.__class__, 10**9, float("inf"), True):
        with pytest.raises(ConfigError, match=r"jwt\.cache_size"):
            make_jam(jwt={"cache_size": size})
