"""Server-side sessions: S01 to S32 of the attack catalogue, on each store through a real app."""

from __future__ import annotations

import base64
import logging
import pickle
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from flask import Flask, g, request

from flask_jam import (
    Jam,
    Reason,
    SessionError,
    SessionExtension,
    StoreUnavailable,
    TokenError,
    session_required,
    signals,
)
from flask_jam.stores.interface import Session, slot_of
from flask_jam.testing.stores import at_once

from ..cases import each_case
from ..conftest import SECRET, Clock, bearer, build_app
from ..servers import HOST, Proxy, RedisServer
from .conftest import _active
from .craft import COOKIE, DOWN, OK, STALE, FlakyStore, verdict
from .stores import KINDS, Backend, RedisWatch, wait_for_links

GUESS = "A" * 45
MakeJam = Callable[..., Jam]


@pytest.fixture(autouse=True, scope="module")
def links() -> Iterator[None]:
    """All links of near caches end with this module."""
    yield
    wait_for_links()


@pytest.fixture(autouse=True)
def watch() -> Iterator[RedisWatch]:
    """The watch of every attack; the way to the test's own Redis is open."""
    watch = RedisWatch()
    _active.append(watch)
    yield watch
    _active.remove(watch)
    assert watch.caught == []


@pytest.fixture(params=KINDS)
def backend(request: pytest.FixtureRequest, watch: RedisWatch) -> Iterator[Backend]:
    backend = Backend(request.param, watch, request)
    yield backend
    backend.close()


@pytest.fixture
def workers(backend: Backend, make_jam: MakeJam) -> Callable[..., Jam]:
    """``workers()`` is a Jam as one more worker process of the same site has it."""
    return lambda **settings: make_jam(store=backend.connect(), **settings)


@pytest.fixture
def jam(workers: Callable[..., Jam]) -> Jam:
    return workers()


@pytest.fixture
def app(jam: Jam) -> Flask:
    return build_app(jam)


def cookie(session_id: str | None) -> dict[str, str]:
    return {} if session_id is None else {"Cookie": f"sessionId={session_id}"}


def given(response: Any) -> str | None:
    """The session id that a response sets, if any."""
    for line in response.headers.getlist("Set-Cookie"):
        if found := re.match(r"sessionId=([^;]*);", line):
            return found[1]
    return None


def post(app: Flask, path: str, session_id: str | None = None, **more: Any) -> Any:
    client = app.test_client(use_cookies=False)
    return client.post(path, headers=cookie(session_id), **more)


def get(app: Flask, path: str, session_id: str | None = None) -> Any:
    return app.test_client(use_cookies=False).get(path, headers=cookie(session_id))


def login(app: Flask, name: str, old: str | None = None) -> str:
    response = post(app, f"/session-login/{name}", old)
    assert response.status_code == 200
    new = given(response)
    assert new
    return new


def who(app: Flask, session_id: str) -> str | None:
    """Whom an id opens the guarded route for."""
    response = get(app, "/session", session_id)
    if verdict(response) == COOKIE:
        assert get(app, "/open", session_id).json["payload"] is None
        return None
    assert verdict(response) == OK
    return str(response.json["subject"])


def heard(app: Flask) -> list[tuple[str, Any]]:
    """What is rejected from here on: reason and fingerprint."""
    found: list[tuple[str, Any]] = []

    def receiver(sender: Flask, reason: Reason, fingerprint: Any, **what: Any) -> None:
        found.append((str(reason), fingerprint))

    signals.rejected.connect(receiver, app, weak=False)
    return found


# --- ids ----------------------------------------------------------------------------------------


def test_S01_an_id_from_before_the_login_is_dead_after_it(
    app: Flask, jam: Jam, backend: Backend
) -> None:
    planted = jam.create_session("mallory", {"cart": 1})
    new = login(app, "alice", planted)
    assert new != planted
    assert who(app, planted) is None
    assert who(app, new) == "alice"
    assert jam.list_sessions("mallory") == []


@each_case("source", ["header", "second cookie", "both"])
def test_S01_wherever_the_planted_id_came_from(
    make_jam: MakeJam, backend: Backend, source: str
) -> None:
    app, jam = Flask("planted"), make_jam(store=backend.connect())
    session = SessionExtension(jam, app, header_name="Authorization")
    app.add_url_rule("/login", "login", lambda: session.login("alice"), methods=["POST"])
    ids = [jam.create_session("mallory", {"n": n}) for n in range(2)]
    headers = {
        "header": bearer(ids[0]),
        "second cookie": {"Cookie": f"sessionId={ids[0]}; sessionId={ids[1]}"},
        "both": {**bearer(ids[0]), **cookie(ids[1])},
    }[source]

    response = app.test_client(use_cookies=False).post("/login", headers=headers)

    assert response.status_code == 200
    assert given(response) not in (None, *ids)
    alive = [session_id for session_id in ids if jam.get_session(session_id) is not None]
    assert alive == (ids[1:] if source == "header" else [])
    assert jam.get_session(ids[0]) is None


def test_S02_an_id_of_the_clients_choosing_is_never_adopted(
    app: Flask, jam: Jam, backend: Backend
) -> None:
    for chosen in (GUESS, slot_of("alice") + "A" * 43):
        assert who(app, chosen) is None
        for path in ("/session-refresh", "/session-logout"):
            assert given(post(app, path, chosen)) in (None, "")
        assert login(app, "alice", chosen) != chosen
        assert who(app, chosen) is None
        with pytest.raises(SessionError):
            jam.update_session(chosen, {"n": 1})
        with pytest.raises(SessionError):
            jam.rework_session(chosen)
        jam.clear_sessions("alice")
    assert backend.held() == []


def test_S03_an_id_counts_in_its_cookie_only(app: Flask, jam: Jam) -> None:
    session_id = jam.create_session("alice", {})
    client = app.test_client(use_cookies=False)
    asked = [
        client.get(f"/session?sessionId={session_id}"),
        client.get(f"/session?session_id={session_id}&sid={session_id}"),
        client.get(f"/session;sessionId={session_id}"),
        client.get("/session", data={"sessionId": session_id}),
        client.get("/session", json={"sessionId": session_id}),
        client.get("/session", headers=bearer(session_id)),
        client.get("/session", headers={"X-Session-Id": session_id, "SessionId": session_id}),
        client.get("/session", headers={"Cookie": f"sid={session_id}; SESSIONID={session_id}"}),
        client.get("/session", headers={"Cookie": f"xsessionId={session_id}"}),
    ]
    assert {verdict(response) for response in asked if response.status_code != 404} == {COOKIE}
    assert who(app, session_id) == "alice"


def test_S04_what_has_not_the_shape_of_an_id_never_reaches_the_store(
    app: Flask, jam: Jam, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = jam.create_session("alice", {})

    def asked(*what: Any) -> None:
        raise AssertionError("the store was asked")

    for verb in ("read_session", "delete_session", "update_session", "rework_session"):
        monkeypatch.setattr(jam.store, verb, asked)
    fuzz = [
        "", "x", good[:-1], good + "A", good * 2, "A" * 44, "A" * 46, "x" * 50_000,
        "../../etc/passwd" + "A" * 29, "*" * 45, "A" * 44 + "*", "A" * 44 + "\x00",
        "A" * 43 + "\r\n", "A" * 44 + "\n", "A" * 44 + "%", "é" * 45, "\uff21" * 45,
        f"{good} x", f" {good}x", f'"{good}"', good[:20] + ":" + good[21:], "{" + good[1:],
        good[:-1] + "=", good[:-1] + "+", good[:-1] + "/", good.replace(good[5], "."),
    ]  # fmt: skip
    client = app.test_client(use_cookies=False)
    for value in fuzz:
        raw = {"HTTP_COOKIE": f"sessionId={value}"}
        response = client.get("/session", environ_overrides=raw)
        assert verdict(response) == COOKIE, value[:60]
        assert client.post("/session-logout", environ_overrides=raw).status_code == 204
        assert jam.get_session(value) is None
        assert jam.delete_session(value) == 0


def test_S05_names_cannot_reach_into_each_others_keys(
    app: Flask, jam: Jam, backend: Backend
) -> None:
    names = ["alice", "alice:", ":alice", "al*", "*", "?lice", "[a]lice", "{alice}", "a}:{b",
             "jam:s:{ab}:x", "alice\n", "\x00alice", "s:alice", "%s", "ALICE"]  # fmt: skip
    ids = {name: jam.create_session(name, {"of": name}) for name in names}
    for name in names:
        assert jam.get_session(ids[name]) == {"of": name}
        assert len(jam.list_sessions(name)) == 1
    for name in names:
        jam.revoke_subject(name)
        assert jam.clear_sessions(name) == 0
        ids.pop(name)
        assert {n: jam.get_session(i) for n, i in ids.items()} == {n: {"of": n} for n in ids}
    assert backend.held() == []
    jam.create_session("alice-in-redis", {})
    if backend.kind != "memory":
        assert not [key for key in backend.held() if "alice" in key]


def test_S06_what_the_store_holds_is_no_id(app: Flask, jam: Jam, backend: Backend) -> None:
    ids = [login(app, "alice") for _ in range(3)]
    ids.append(jam.rework_session(ids[0]))
    jam.update_session(ids[1], {"n": 1})
    held = backend.everything()
    assert b"alice" in held, "it is the store that is looked at"
    for session_id in ids:
        assert session_id[2:].encode() not in held
    # Nor is anything of it good for anything.
    pieces = {word[i : i + 45] for word in re.findall(rb"[A-Za-z0-9_-]{45,}", held)
              for i in range(len(word) - 44)}  # fmt: skip
    assert [piece for piece in pieces if jam.get_session(piece.decode()) is not None] == []


def test_S07_an_id_is_256_random_bits_and_is_looked_up_by_a_digest(
    app: Flask, jam: Jam, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [jam.create_session("alice", {}) for _ in range(50)]
    raw = [base64.urlsafe_b64decode(session_id[2:] + "=") for session_id in ids]
    assert {len(random) for random in raw} == {32}
    assert len({random[:8] for random in raw} | {random[-8:] for random in raw}) == 100
    asked: list[str] = []
    read = jam.store.read_session

    def recorded(key: str, *args: Any) -> Session | None:
        asked.append(key)
        return read(key, *args)

    monkeypatch.setattr(jam.store, "read_session", recorded)
    assert who(app, ids[0]) == "alice"
    assert who(app, ids[0][:-1] + ("A" if ids[0][-1] != "A" else "E")) is None
    assert len(set(asked)) == 2
    assert not [key for key in asked if ids[0][2:20] in key]


def test_S07_every_failed_look_up_is_told(app: Flask) -> None:
    rejected = heard(app)
    for number in range(5):
        assert who(app, f"{GUESS[:-1]}{number}") is None
    assert [reason for reason, _ in rejected[::1] if reason == "unknown_session"] == [
        "unknown_session"
    ] * 5
    assert len({fingerprint for _, fingerprint in rejected}) == 5
    assert all(re.fullmatch("[0-9a-f]{8}", fingerprint) for _, fingerprint in rejected)


# --- ends ---------------------------------------------------------------------------------------


def test_S08_after_logout_the_id_is_dead_and_the_state_is_gone(
    app: Flask, backend: Backend, workers: Callable[..., Jam]
) -> None:
    elsewhere = build_app(workers())
    session_id = login(app, "alice")
    assert who(app, session_id) == "alice"
    response = post(app, "/session-logout", session_id)
    assert response.status_code == 204
    assert given(response) == ""
    assert backend.held() == []
    for site in (app, elsewhere, app):
        assert who(site, session_id) is None
    assert backend.held() == []


ENDS: dict[str, Callable[[Jam, str], Any]] = {
    "logout": lambda jam, session_id: jam.delete_session(session_id),
    "clear": lambda jam, session_id: jam.clear_sessions("alice"),
    "revoke": lambda jam, session_id: jam.revoke_subject("alice"),
    "rework": lambda jam, session_id: jam.get_session(jam.rework_session(session_id)),
    "expiry": lambda jam, session_id: jam.clock.tick(10**6),  # type: ignore[attr-defined]
}
SAVES: dict[str, Callable[[Jam, str], Any]] = {
    "update": lambda jam, session_id: jam.update_session(session_id, {"late": True}),
    "rework": lambda jam, session_id: jam.rework_session(session_id),
    "read": lambda jam, session_id: jam.get_session(session_id),
}


@each_case("save", SAVES)
@each_case("end", ENDS)
def test_S09_a_slow_request_revives_nothing(
    workers: Callable[..., Jam], backend: Backend, end: str, save: str
) -> None:
    jam, other = workers(), workers()
    app = build_app(jam)

    @app.post("/slow")
    @session_required
    def slow() -> Any:
        assert g.payload == {"user": "alice"}
        ENDS[end](other, session_id)
        with suppress(SessionError):
            SAVES[save](other, session_id)
            if end != "expiry" and save != "read":
                raise AssertionError("what is gone was saved")
        with suppress(SessionError):
            SAVES["update"](jam, session_id)
            raise AssertionError("what is gone was saved here")
        return ""

    session_id = login(app, "alice")
    assert post(app, "/slow", session_id).status_code == 200
    assert other.get_session(session_id) is None
    alive = other.list_sessions("alice")
    assert len(alive) == (1 if end == "rework" else 0)
    names = [key for key in backend.held() if ":o:" not in key]
    assert len(names) <= 2 * len(alive) or end == "expiry"


def test_S10_parallel_writers_of_one_session_lose_nothing(
    workers: Callable[..., Jam], backend: Backend
) -> None:
    jams = [workers() for _ in range(3)]
    apps = [build_app(jam) for jam in jams]
    for app, jam in zip(apps, jams, strict=True):
        note = session_required(
            lambda number, jam=jam: jam.update_session(given_id(), {number: 1}) or ""
        )
        app.add_url_rule("/note/<number>", "note", note, methods=["POST"])
    session_id = login(apps[0], "alice")
    found = at_once(12, lambda n: [post(apps[n % 3], f"/note/{n}.{step}", session_id).status_code
                                   for step in range(4)])  # fmt: skip
    assert {status for statuses in found for status in statuses} == {200}
    notes = {f"{n}.{step}": 1 for n in range(12) for step in range(4)}
    whole = {"user": "alice", **notes}
    assert backend.sees(lambda: all(jam.get_session(session_id) == whole for jam in jams))


def given_id() -> str:
    return str(request.cookies["sessionId"])


def test_S11_an_idle_session_ends_though_its_cookie_is_fresh(
    workers: Callable[..., Jam], backend: Backend, clock: Clock
) -> None:
    app = build_app(workers(session={"idle": 600, "absolute": 10_000}))
    rejected = heard(app)
    session_id = login(app, "alice")
    clock.tick(599.9)
    assert who(app, session_id) == "alice"
    clock.tick(600)
    assert [verdict(get(app, "/session", session_id)) for _ in range(2)] == [COOKIE] * 2
    assert [reason for reason, _ in rejected] == ["session_expired", "unknown_session"]
    assert backend.held() == []


def test_S12_and_S13_use_keeps_nothing_alive_past_the_absolute_end(
    workers: Callable[..., Jam], backend: Backend, clock: Clock
) -> None:
    jam = workers(session={"idle": 600, "absolute": 3600})
    app, end = build_app(jam), clock() + 3600
    session_id = login(app, "alice")
    while clock.now < end - 50:
        clock.tick(50)
        if clock.now < end:
            assert who(app, session_id) == "alice"
            (info,) = jam.list_sessions("alice")
            assert info.expires_at <= end
            check_ttl(backend, info.expires_at - info.last_seen_at)
    session_id = jam.rework_session(session_id)
    assert who(app, session_id) == "alice"
    clock.now = end
    assert who(app, session_id) is None


def check_ttl(backend: Backend, counts: float) -> None:
    """What Redis keeps is a minute more than what counts, and never without an end."""
    if backend.kind != "memory":
        (key,) = [key for key in backend.held() if ":s:" in key]
        assert counts + 58 < backend.raw.pttl(key) / 1000 <= counts + 60


def test_S14_a_new_password_ends_all_but_the_session_that_set_it(
    workers: Callable[..., Jam], backend: Backend
) -> None:
    jam, other = workers(), workers()
    app, elsewhere = build_app(jam), build_app(other)
    session = app.extensions["flask_jam"].owners["session"]

    @app.post("/password")
    @session_required
    def password() -> Any:
        jam.revoke_subject("alice")
        return session.login("alice", {"user": "alice"})

    mine, theirs, bobs = login(app, "alice"), login(elsewhere, "alice"), login(app, "bob")
    new = given(post(app, "/password", mine))
    assert new is not None
    assert new not in (mine, theirs)
    expected = {mine: None, theirs: None, new: "alice", bobs: "bob"}
    for site in (app, elsewhere):
        assert backend.sees(lambda site=site: {i: who(site, i) for i in expected} == expected)  # type: ignore[misc]


@each_case("end", ["revoke_subject", "clear_sessions"])
def test_S15_a_login_in_flight_does_not_outlive_an_end_of_all(
    workers: Callable[..., Jam], clock: Clock, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    jam, other = workers(), workers()
    app, create = build_app(jam), jam.store.create_session
    logged_in: list[str] = []
    signals.logged_in.connect(lambda sender, **what: logged_in.append("in"), app, weak=False)

    def late(*arguments: Any) -> bool:
        clock.tick(0.01)
        getattr(other, end)("alice")
        return create(*arguments)

    monkeypatch.setattr(jam.store, "create_session", late)
    response = post(app, "/session-login/alice")
    assert response.status_code == 401
    assert given(response) is None
    assert logged_in == []
    assert jam.list_sessions("alice") == []

    monkeypatch.undo()
    clock.tick(0.01)
    assert who(app, login(app, "alice")) == "alice"


def test_S15_logging_out_everywhere_takes_all_that_were_there_and_none_that_came_after(
    workers: Callable[..., Jam], clock: Clock
) -> None:
    jams = [workers() for _ in range(3)]
    for round_ in range(5):
        clock.tick(1)
        owner = f"alice {round_}"
        before = [jam.create_session(owner, {}) for jam in jams]

        def job(number: int, owner: str = owner) -> str | None:
            if number == 0:
                jams[0].clear_sessions(owner)
                return None
            with suppress(SessionError):
                return jams[number % 3].create_session(owner, {})
            return None

        during = [session_id for session_id in at_once(4, job) if session_id]
        clock.tick(0.001)
        after = [jam.create_session(owner, {}) for jam in jams]
        assert [jams[0].get_session(session_id) for session_id in before] == [None] * 3
        assert [jams[0].get_session(session_id) for session_id in after] == [{}] * 3
        alive = [session_id for session_id in during if jams[0].get_session(session_id) == {}]
        assert jams[0].clear_sessions(owner) == len(alive) + 3


def test_S16_logins_that_race_leave_no_more_sessions_than_allowed(
    workers: Callable[..., Jam], clock: Clock
) -> None:
    jams = [workers(session={"max_per_owner": 3}) for _ in range(3)]
    for round_ in range(3):
        clock.tick(1)
        owner = f"alice {round_}"
        ids = at_once(12, lambda n, owner=owner: jams[n % 3].create_session(owner, {"n": n}))  # type: ignore[misc]
        assert len(jams[0].list_sessions(owner)) == 3
        alive = [session_id for session_id in ids if jams[0].get_session(session_id)]
        assert len(alive) == 3


def test_S17_a_disabled_account_is_out_with_its_next_request(app: Flask, jam: Jam) -> None:
    ids = [login(app, "alice") for _ in range(3)]
    assert [who(app, session_id) for session_id in ids] == ["alice"] * 3
    jam.revoke_subject("alice")
    assert [who(app, session_id) for session_id in ids] == [None] * 3


@each_case("order", ["later first", "earlier first"])
def test_S18_of_several_cut_offs_the_latest_counts(
    backend: Backend, clock: Clock, make_jam: MakeJam, order: str
) -> None:
    # Keycloak, CVE-2026-8922. The other worker's clock is 100 seconds behind.
    jam, behind = make_jam(store=backend.connect()), Jam(
        {"jwt": {"secret_key": SECRET}}, store=backend.connect(), clock=Clock(clock() - 100)
    )  # fmt: skip
    token, other = jam.issue_tokens("alice"), jam.issue_tokens("alice")
    clock.tick(1)
    for revoking in (jam, behind) if order == "later first" else (behind, jam):
        revoking.revoke_subject("alice")
    jam.revoke_token(other["access_token"])
    for pair in (token, other):
        with pytest.raises(TokenError):
            jam.verify_jwt_token(pair["access_token"])
        with pytest.raises(TokenError):
            jam.refresh_tokens(pair["refresh_token"])
    # A login after that works at once, also where the clock is behind.
    assert jam.get_session(behind.create_session("alice", {})) == {}
    assert jam.get_session(jam.create_session("alice", {})) == {}
    assert jam.verify_jwt_token(jam.issue_tokens("alice")["access_token"])


@each_case("fraction", [0.0, 0.5, 0.999999])
def test_S19_before_and_after_a_cut_off_within_one_second_are_told_apart(
    jam: Jam, clock: Clock, fraction: float
) -> None:
    clock.now += fraction
    before = jam.create_session("alice", {"n": 1}), jam.issue_tokens("alice")["access_token"]
    jam.revoke_subject("alice")
    # The clock stands still between the two.
    after = jam.create_session("alice", {"n": 2}), jam.issue_tokens("alice")["access_token"]
    assert [jam.get_session(session_id) for session_id, _ in (before, after)] == [None, {"n": 2}]
    assert jam.verify_jwt_token(after[1])["sub"] == "alice"
    with pytest.raises(TokenError):
        jam.verify_jwt_token(before[1])
    clock.tick(0.001)
    jam.revoke_subject("alice")
    assert jam.get_session(after[0]) is None
    with pytest.raises(TokenError):
        jam.verify_jwt_token(after[1])


def test_S20_a_login_as_somebody_else_takes_nothing_over(app: Flask, jam: Jam) -> None:
    alices = login(app, "alice")
    jam.update_session(alices, {"cart": [1], "admin": True, "user": "alice"})
    bobs = login(app, "bob", alices)
    response = get(app, "/session", bobs)
    assert response.json == {"payload": {"user": "bob"}, "scheme": "session", "subject": "bob"}
    assert who(app, alices) is None
    assert jam.list_sessions("alice") == []


# --- values and outages -------------------------------------------------------------------------


class Bomb:
    blown: list[int] = []  # noqa: RUF012 - one for all

    def __reduce__(self) -> tuple[Any, ...]:
        return Bomb.blown.append, (1,)


@each_case("protocol", [0, 2, 5])
def test_S21_a_pickle_is_never_read(app: Flask, jam: Jam, backend: Backend, protocol: int) -> None:
    text = pickle.dumps(Bomb(), protocol)
    with pytest.raises(SessionError) as caught:
        jam.create_session("alice", {"n": Bomb()})
    assert caught.value.reason is Reason.INVALID
    if backend.kind == "memory":
        return  # nobody else can write to it
    for field in ("j", "s", 'd"user"', None):
        session_id = login(app, "alice")
        (key,) = [key for key in backend.held() if ":s:" in key]
        if field is None:
            backend.raw.set(key, text)
        else:
            backend.raw.hset(key, field, text)
        assert backend.sees(lambda i=session_id: who(app, i) is None), field  # type: ignore[misc]
        backend.raw.flushall()
    assert Bomb.blown == []


def test_S22_an_address_that_a_client_claims_to_have_is_not_believed(app: Flask, jam: Jam) -> None:
    claimed = {"X-Forwarded-For": "203.0.113.9", "X-Real-Ip": "203.0.113.9",
               "Forwarded": "for=203.0.113.9", "User-Agent": "agent\t/1 " + "x" * 1000}  # fmt: skip
    client = app.test_client(use_cookies=False)
    client.post("/session-login/alice", headers=claimed)
    (info,) = jam.list_sessions("alice")
    assert info.ip == "127.0.0.1"
    assert info.user_agent == claimed["User-Agent"][:256]


def test_S23_a_store_that_is_down_is_503_and_the_cookie_stays(
    backend: Backend, make_jam: MakeJam
) -> None:
    if backend.kind == "memory":
        store = FlakyStore()
        check_outage(make_jam(store=store), store.fail, store.recover)
        return
    with Proxy(backend.server.port) as proxy:
        store = backend.connect(port=proxy.port, timeout=0.5)
        check_outage(make_jam(store=store), proxy.refuse, proxy.accept)
        store.close()  # type: ignore[attr-defined]


def check_outage(jam: Jam, fail: Callable[[], Any], recover: Callable[[], Any]) -> None:
    app = build_app(jam)
    session_id, rejected = login(app, "alice"), heard(app)
    assert who(app, session_id) == "alice"
    fail()
    late = time.monotonic() + 1.0
    while verdict(get(app, "/session", session_id)) == OK:
        # A near cache may believe what it knows for so long, and no longer.
        assert time.monotonic() < late
    for response in (
        get(app, "/session", session_id), get(app, "/either", session_id),
        post(app, "/session-refresh", session_id), post(app, "/session-logout", session_id),
        post(app, "/session-login/bob", session_id), get(app, "/session", GUESS),
    ):  # fmt: skip
        assert verdict(response) == DOWN
        assert "Set-Cookie" not in response.headers
        assert int(response.headers["Retry-After"]) > 0
    assert {reason for reason, _ in rejected} == {"unavailable"}
    assert get(app, "/open", session_id).json["payload"] is None
    assert get(app, "/public", session_id).status_code == 200
    assert verdict(get(app, "/session")) == COOKIE
    with pytest.raises(StoreUnavailable):
        jam.get_session(session_id)
    recover()
    assert who(app, session_id) == "alice"


on_redis = pytest.mark.parametrize("backend", ["redis", "near"], indirect=True)


@on_redis
@each_case("policy", ["allkeys-lru", "volatile-ttl", "volatile-random"])
def test_S24_a_server_that_may_evict_is_warned_of(
    backend: Backend, watch: RedisWatch, caplog: pytest.LogCaptureFixture, policy: str
) -> None:
    backend.raw.config_set("maxmemory-policy", policy)
    try:
        store = backend.connect()
        for _ in range(3):
            store.marks("ab", "t", None, None, 0.0)
        warned = [r.getMessage() for r in caplog.records if "maxmemory-policy" in r.getMessage()]
        assert len(warned) == 1
        assert policy in warned[0]
        assert "noeviction" in warned[0]
    finally:
        backend.raw.config_set("maxmemory-policy", "noeviction")


@on_redis
def test_S24_a_server_that_keeps_all_is_not_warned_of(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    backend.connect().marks("ab", "t", None, None, 0.0)
    assert [r for r in caplog.records if "maxmemory" in r.getMessage()] == []


@on_redis
def test_S24_after_a_flush_sessions_are_gone_and_an_allow_list_lets_nobody_in(
    backend: Backend, make_jam: MakeJam
) -> None:
    jam = make_jam(store=backend.connect(), jwt={"list": "allow"})
    app = build_app(jam)
    session_id, pair = login(app, "alice"), jam.issue_tokens("alice")
    revoked = jam.issue_tokens("alice")["access_token"]
    jam.revoke_token(revoked)
    assert who(app, session_id) == "alice"
    assert jam.verify_jwt_token(pair["access_token"])

    backend.raw.flushall()

    late = time.monotonic() + 1.0
    while jam.get_session(session_id) is not None:
        assert time.monotonic() < late
    assert who(app, session_id) is None
    for token in (revoked, pair["access_token"]):
        with pytest.raises(TokenError) as caught:
            jam.verify_jwt_token(token)
        assert caught.value.reason is Reason.REVOKED
    with pytest.raises(TokenError):
        jam.refresh_tokens(pair["refresh_token"])


@on_redis
def test_S25_a_replica_is_never_asked_what_is_revoked(backend: Backend, make_jam: MakeJam) -> None:
    jam = make_jam(store=backend.connect())
    session_id, pair = jam.create_session("alice", {}), jam.issue_tokens("alice")
    options = ["--replicaof", HOST, str(backend.server.port)]
    with RedisServer(backend.server.binary, options=options) as replica:
        copy, end = replica.client(), time.monotonic() + 10
        while copy.dbsize() < len(backend.raw.keys("*")):
            assert time.monotonic() < end
            time.sleep(0.02)
        stale = make_jam(store=backend.connect(port=replica.port, listening=False))
        app = build_app(stale)
        for _ in range(2):
            assert verdict(get(app, "/session", session_id)) == DOWN
            with pytest.raises(StoreUnavailable):
                stale.verify_jwt_token(pair["access_token"])
            with pytest.raises(StoreUnavailable):
                stale.refresh_tokens(pair["refresh_token"], reload_claims=lambda s, old: old)
            with pytest.raises(StoreUnavailable):
                stale.list_sessions("alice")
        stale.store.close()  # type: ignore[attr-defined]
        copy.close()


# --- what is no login ---------------------------------------------------------------------------


def test_S26_what_is_something_else_is_not_taken_for_a_session(
    app: Flask, jam: Jam, backend: Backend
) -> None:
    pair = jam.issue_tokens("alice")
    claims = jam.verify_jwt_token(pair["access_token"])
    family = pair["refresh_token"].split(".")[0]
    assert len(family) == 45, "a family's id has the very shape of a session's"
    others = [
        pair["access_token"],
        pair["refresh_token"],
        pair["refresh_token"].rsplit(".", 1)[1],
        family,
        claims["jti"],
        slot_of("alice") + claims["jti"],
    ]
    for other in others:
        assert who(app, other) is None
        assert jam.delete_session(other) == 0
    # And the other way round.
    session_id = login(app, "alice")
    with pytest.raises(TokenError):
        jam.refresh_tokens(f"{session_id}.1.{session_id[2:]}")
    with pytest.raises(TokenError):
        jam.verify_jwt_token(session_id)
    assert jam.revoke_token(session_id) is False
    assert who(app, session_id) == "alice"


def test_S26_an_empty_session_is_somebody_and_a_missing_one_is_nobody(app: Flask, jam: Jam) -> None:
    # g.payload of a session without data is falsy: the guard goes by the session.
    session_id = jam.create_session("alice", {})
    assert get(app, "/session", session_id).json == {
        "payload": {}, "scheme": "session", "subject": "alice",
    }  # fmt: skip
    assert get(app, "/open", GUESS).json == {"payload": None, "scheme": None, "subject": None}


def test_S27_visitors_leave_nothing_behind(app: Flask, backend: Backend) -> None:
    for number in range(100):
        for path in ("/open", "/public", "/session", "/optional", "/either", "/nowhere"):
            assert "Set-Cookie" not in get(app, path).headers
        assert who(app, f"{GUESS[:-3]}{number:03}") is None
        post(app, "/session-logout", GUESS)
        post(app, "/session-refresh", GUESS)
        post(app, "/refresh", json={"refresh_token": f"{GUESS}.1.{'A' * 43}"})
    assert backend.held() == []
    if backend.kind != "memory":
        assert backend.raw.keys("*") == []


def test_S28_a_session_of_one_app_is_nobody_in_another(backend: Backend, make_jam: MakeJam) -> None:
    if backend.kind == "memory":
        one, two = make_jam(), make_jam()
    else:
        one, two = (make_jam(store=backend.connect(prefix=name)) for name in ("one", "two"))
    sites = build_app(one), build_app(two)
    ids = login(sites[0], "alice"), login(sites[1], "alice")
    assert [who(site, i) for site in sites for i in ids] == ["alice", None, None, "alice"]
    assert post(sites[1], "/session-logout", ids[0]).status_code == 204
    assert two.delete_session(ids[0]) == 0
    two.revoke_subject("alice")
    assert [who(site, i) for site in sites for i in ids] == ["alice", None, None, None]


def test_S29_a_step_up_ends_with_its_session_and_with_its_age(
    app: Flask, jam: Jam, clock: Clock
) -> None:
    fresh = session_required(max_age=300)(lambda: "")
    app.add_url_rule("/pay", "pay", fresh)
    rich = session_required(check=lambda payload: payload.get("step_up") is True)(lambda: "")
    app.add_url_rule("/rich", "rich", rich)
    session_id = login(app, "alice")
    jam.update_session(session_id, {"step_up": True})
    assert {get(app, path, session_id).status_code for path in ("/pay", "/rich")} == {200}

    # Neither use nor a new id makes a login younger.
    clock.tick(200)
    session_id = str(given(post(app, "/session-refresh", session_id)))
    clock.tick(101)
    assert who(app, session_id) == "alice"
    assert verdict(get(app, "/pay", session_id))[0] == STALE[0]

    for name in ("bob", "alice"):
        session_id = login(app, name, session_id)
        assert get(app, "/rich", session_id).status_code == 403
        assert get(app, "/pay", session_id).status_code == 200


def test_S30_no_id_is_in_a_log_a_signal_a_page_or_an_exception(
    app: Flask, jam: Jam, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    names = ("logged_in", "logged_out", "refreshed", "rejected", "revoked")
    for name in names:
        getattr(signals, name).connect(
            lambda sender, **what: told.append(repr(what)), app, weak=False
        )
    app.add_url_rule("/crash", "crash", session_required(lambda: 1 / 0))
    first = login(app, "alice")
    second = str(given(post(app, "/session-refresh", first)))
    pages = [get(app, path, session_id)
             for path in ("/session", "/open", "/either", "/crash", "/nowhere")
             for session_id in (first, second, GUESS)]  # fmt: skip
    pages += [post(app, "/session-logout", second), post(app, "/session-refresh", second)]
    with pytest.raises(SessionError) as caught:
        jam.update_session(second, {"n": 1})
    said = [repr(caught.value), str(caught.value), caplog.text, *told, repr(jam), repr(jam.store)]
    said += [page.text for page in pages] + [str(page.headers) for page in pages]
    assert len(told) > 10
    assert "ZeroDivisionError" in caplog.text
    for session_id in (first, second, GUESS):
        assert not [text for text in said if session_id in text or session_id[2:] in text]


def test_S31_a_handle_is_no_credential(app: Flask, jam: Jam) -> None:
    session_id = login(app, "alice")
    (info,) = jam.list_sessions("alice")
    handle = info.handle
    padded = [
        handle,
        (handle * 3)[:45],
        slot_of("alice") + (handle * 3)[:43],
        handle.ljust(45, "A"),
    ]
    for value in padded:
        assert who(app, value) is None
        assert post(app, "/session-logout", value).status_code == 204
        assert jam.get_session(value) is None
        assert jam.delete_session(value) == 0
        for verb in (
            lambda v=value: jam.update_session(v, {}),
            lambda v=value: jam.rework_session(v),
        ):
            with pytest.raises(SessionError):
                verb()
    assert handle not in session_id
    assert who(app, session_id) == "alice"
    new = jam.rework_session(session_id)
    assert jam.list_sessions("alice")[0].handle != handle
    assert who(app, new) == "alice"
