"""Tickets under attack: presented in the wrong place, twice, at once, and looked for at rest."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from itsdangerous import URLSafeTimedSerializer

from flask_jam import Jam, StoreUnavailable, TokenError, public, session_required, signals
from flask_jam.stores.interface import slot_of
from flask_jam.testing.stores import at_once

from ..cases import each_case
from ..conftest import SECRET, Clock, build_app, new_app
from .conftest import _active
from .craft import FlakyStore
from .stores import KINDS, Backend, RedisWatch, wait_for_links
from .test_logging import Spy

MakeJam = Callable[..., Jam]
ANYONE = {"payload": None, "scheme": None, "subject": None}
BOUND = "mArKeR-of-a-password-hash"


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
def flaky(make_jam: MakeJam) -> tuple[Jam, FlakyStore]:
    store = FlakyStore()
    return make_jam(store=store), store


def outcome(jam: Jam, ticket: Any, purpose: str = "reset", **options: Any) -> str:
    """``good``, or why not."""
    try:
        jam.redeem_ticket(purpose, ticket, **options)
    except (TokenError, StoreUnavailable) as error:
        return error.reason.value
    return "good"


# --- one kind of credential for another --------------------------------------------------------


def test_no_guard_takes_a_ticket_or_asks_the_store_about_it(
    flaky: tuple[Jam, FlakyStore],
) -> None:
    jam, store = flaky
    app = build_app(jam, cookie_name="token")
    client = app.test_client(use_cookies=False)
    ticket = jam.issue_ticket("reset", "ann", expires_in=60, data={"roles": ["admin"]})
    store.calls.clear()
    for path in ("/jwt", "/session", "/either", "/both", "/admin", "/read", "/fresh"):
        for headers in (
            {"Authorization": f"Bearer {ticket}"},
            {"Authorization": ticket},
            {"Authorization": f"Bearer {ticket[:45]}"},
            {"Cookie": f"sessionId={ticket}"},
            {"Cookie": f"token={ticket}"},
        ):
            assert client.get(path, headers=headers).status_code in (400, 401), (path, headers)
            assert client.get("/open", headers=headers).json == ANYONE
    assert store.calls == []
    assert client.post("/refresh", data={"refresh_token": ticket}).status_code == 401
    assert outcome(jam, ticket) == "good"


def test_no_verb_takes_a_ticket(jam: Jam) -> None:
    ticket = jam.issue_ticket("reset", "ann", expires_in=60)
    for verb in (jam.verify_jwt_token, jam.refresh_tokens, jam.rework_session,
                 lambda value: jam.update_session(value, {})):  # fmt: skip
        with pytest.raises(Exception, match="not valid|gone"):
            verb(ticket)
    assert jam.get_session(ticket) is None
    assert (jam.revoke_token(ticket), jam.end_login(ticket)) == (False, None)
    assert (jam.delete_session(ticket), jam.end_session(ticket)) == (0, None)
    assert not jam.end_login_by_handle("ann", ticket)
    assert outcome(jam, ticket) == "good"


def test_no_other_credential_is_a_ticket(jam: Jam) -> None:
    pair, session_id = jam.issue_tokens("ann"), jam.create_session("ann", {})
    tickets = {p: jam.issue_ticket(p, "ann", expires_in=60) for p in ("reset", "confirm", "magic")}
    family, generation, mac = pair["refresh_token"].split(".")
    others = [
        *(pair["access_token"], pair["refresh_token"], session_id, jam.handle_of(session_id)),
        *(family, mac, generation, jam.gen_jwt_token({"sub": "ann", "purpose": "reset"})),
        URLSafeTimedSerializer(SECRET, salt="reset").dumps({"sub": "ann"}),
        session_id[:2] + "0" * 64, tickets["reset"].upper(), tickets["reset"] + "0",
        tickets["reset"][:-1], tickets["reset"][2:], "zz" + tickets["reset"][2:],
        tickets["reset"][:34] + tickets["magic"][34:], tickets["reset"][:66].swapcase(),
    ]  # fmt: skip
    for purpose in tickets:
        for other in (*others, *(t for p, t in tickets.items() if p != purpose)):
            for verb in (jam.peek_ticket, jam.redeem_ticket):
                with pytest.raises(TokenError):
                    verb(purpose, other)
    # None of it was used up, or ended anything.
    assert [outcome(jam, ticket, purpose) for purpose, ticket in tickets.items()] == ["good"] * 3
    assert jam.verify_jwt_token(pair["access_token"])
    assert jam.refresh_tokens(pair["refresh_token"])
    assert jam.get_session(session_id) == {}


# --- guesses, floods, and a store that is down -------------------------------------------------


GUESSES: tuple[Any, ...] = (
    *(None, 7, b"ab", [], {}, "", "a", "a" * 65, "a" * 10**6, "../" * 22, "\x00" * 66),
    *("ab" + "0" * 63 + "\n", "ab" + "\u0661" * 64, "ab" + "G" * 64, "%61b" + "0" * 62),
    *("*" * 66, "a:" + "0" * 64, "{}" + "0" * 64, "\ud800" * 66),
)


@each_case("guess", GUESSES, ids=lambda guess: ascii(guess)[:20])
def test_what_has_not_the_form_reaches_no_store(flaky: tuple[Jam, FlakyStore], guess: Any) -> None:
    jam, store = flaky
    for verb in (jam.peek_ticket, jam.redeem_ticket):
        with pytest.raises(TokenError, match="not a ticket"):
            verb("reset", guess)
    assert store.calls == []


def test_guesses_leave_nothing_in_the_store(workers: Callable[..., Jam], backend: Backend) -> None:
    jam, slot = workers(), slot_of("ann")
    ticket = jam.issue_ticket("reset", "ann", expires_in=60)
    before = len(backend.raw.keys("*")) if backend.kind != "memory" else len(vars(jam.store))
    for number in range(100):
        assert outcome(jam, f"{slot}{number:064x}") == "expired"
    after = len(backend.raw.keys("*")) if backend.kind != "memory" else len(vars(jam.store))
    assert after == before
    assert outcome(jam, ticket) == "good"


def test_a_client_that_chooses_the_purpose_gets_no_server_error(jam: Jam) -> None:
    app = new_app(jam)

    @app.get("/<purpose>/<ticket>")
    @public
    def redeem(purpose: str, ticket: str) -> str:
        return outcome(jam, ticket, purpose)

    ticket, client = jam.issue_ticket("reset", "ann", expires_in=60), app.test_client()
    answers = [client.get(f"/{purpose}/{ticket}") for purpose in
               ("%00", "%ff", "x" * 5000, "reset%20", "RESET", "%0d%0a", "\u202e")]  # fmt: skip
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.text for answer in answers} <= {"invalid", "wrong_type"}
    assert client.get(f"/reset/{ticket}").text == "good"


@each_case("verb", ["issue_ticket", "peek_ticket", "redeem_ticket"])
def test_a_store_that_is_down_is_never_an_unknown_ticket(
    flaky: tuple[Jam, FlakyStore], verb: str
) -> None:
    jam, store = flaky
    ticket = jam.issue_ticket("reset", "ann", expires_in=60, bound_to=BOUND)
    arguments: dict[str, Any] = {"bound_to": lambda _: BOUND}
    what = ticket
    if verb == "issue_ticket":
        what, arguments = "ann", {"expires_in": 60, "bound_to": BOUND}
    store.fail()
    with pytest.raises(StoreUnavailable):
        getattr(jam, verb)("reset", what, **arguments)
    store.recover()
    assert outcome(jam, ticket, bound_to=BOUND) == "good"


# --- twice, at once, and with other clocks -----------------------------------------------------


def test_of_many_workers_at_once_one_redeems(workers: Callable[..., Jam]) -> None:
    jams = [workers() for _ in range(4)]
    for number in range(3):
        ticket = jams[0].issue_ticket("reset", f"user {number}", expires_in=60, bound_to=BOUND)

        def redeem(n: int, ticket: str = ticket) -> str:
            # Some bring another purpose or binding, which must not use it up in between.
            purpose, bound = ("other", BOUND) if n % 8 == 0 else ("reset", BOUND)
            return outcome(jams[n % 4], ticket, purpose, bound_to="x" if n % 8 == 1 else bound)

        found = at_once(64, redeem)
        assert found.count("good") == 1
        assert set(found) <= {"good", "reused", "wrong_type", "revoked"}


def test_every_worker_sees_what_ends_a_ticket_at_once(
    workers: Callable[..., Jam], backend: Backend, clock: Clock
) -> None:
    one, other = workers(), workers()
    other.tickets._clock = lambda: clock.now - 5  # a machine whose clock is behind
    for end, reason in (
        (lambda _: one.revoke_subject("ann"), "revoked"),
        (lambda _: other.revoke_subject("ann"), "revoked"),
        (lambda _: one.issue_ticket("reset", "ann", expires_in=60), "revoked"),
        (lambda ticket: one.redeem_ticket("reset", ticket), "reused"),
    ):
        ticket = one.issue_ticket("reset", "ann", expires_in=60)
        assert other.peek_ticket("reset", ticket)
        end(ticket)
        assert [outcome(jam, ticket) for jam in (other, one)] == [reason] * 2


def test_no_clock_brings_a_ticket_back(workers: Callable[..., Jam], clock: Clock) -> None:
    jam = workers()
    used, ended = (jam.issue_ticket("reset", name, expires_in=60) for name in ("ann", "bob"))
    jam.redeem_ticket("reset", used)
    jam.revoke_subject("bob")
    for seconds in (30, -3600, 10, 86400 * 401, -86400 * 401):
        clock.tick(seconds)
        assert outcome(jam, used) in ("reused", "expired")
        assert outcome(jam, ended) in ("revoked", "expired")


# --- at rest, in logs, in signals --------------------------------------------------------------


def test_what_the_store_holds_is_no_ticket(workers: Callable[..., Jam], backend: Backend) -> None:
    jam = workers()
    tickets = [
        jam.issue_ticket("reset", f"user {n}", expires_in=60, bound_to=BOUND) for n in range(3)
    ]
    jam.redeem_ticket("reset", tickets[0], bound_to=BOUND)
    held = backend.everything()
    assert len(held) > 200, "it is the store that is looked at"
    for secret in (BOUND, *tickets, *(ticket[2:] for ticket in tickets)):
        assert secret.encode() not in held


def test_a_ticket_is_in_no_log_signal_or_exception(
    flaky: tuple[Jam, FlakyStore], caplog: pytest.LogCaptureFixture
) -> None:
    jam, store = flaky
    app, heard, texts = new_app(jam), [], []
    app.config["JAM_LOGIN_VIEW"] = "login"
    app.add_url_rule("/login", "login", public(lambda: "log in"))
    app.add_url_rule("/link/<ticket>", "link", session_required(lambda ticket: "in"))
    ticket = jam.issue_ticket("reset", "ann", expires_in=60, data={"mail": BOUND}, bound_to=BOUND)
    receivers = [lambda _sender, **what: heard.append(repr(what)) for _ in range(2)]
    signals.rejected.connect(receivers[0], app)
    signals.revoked.connect(receivers[1], app)
    spy, log = Spy(), logging.getLogger()
    log.addHandler(spy)
    try:
        with caplog.at_level(logging.DEBUG):
            client = app.test_client()
            for headers in ({}, {"Accept": "text/html"}, {"Authorization": f"Bearer {ticket}"},
                            {"Cookie": f"sessionId={ticket}"}):  # fmt: skip
                client.get(f"/link/{ticket}?again={ticket}", headers=headers)
            for down in ((), ("peek_ticket", "redeem_ticket")):
                store.fail(*down) if down else store.recover()
                for bound in ("x", BOUND, lambda _: "x"):
                    try:
                        texts.append(repr(jam.redeem_ticket("other", ticket, bound_to=bound)))
                    except (TokenError, StoreUnavailable) as error:
                        texts += [*map(repr, error.args), str(error), repr(error)]
                        texts += traceback.format_exception(error)
            store.recover()
            texts.append(repr(jam.peek_ticket("reset", ticket, bound_to=BOUND)))
            texts.append(repr(list(store._tickets.values())))
            jam.issue_ticket("reset", "ann", expires_in=60)
    finally:
        log.removeHandler(spy)
    assert len(heard) > 4, "signals were heard"
    for text in (*heard, *texts, *spy.lines, caplog.text):
        assert ticket not in text
        assert ticket[2:] not in text
        assert BOUND not in text
