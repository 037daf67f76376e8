"""Jam as a whole: what it tells, what it keeps, and what it never says."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import logging
import math
import pprint
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest

from flask_jam import (
    ConfigError,
    Jam,
    JamError,
    Reason,
    SessionError,
    StoreUnavailable,
    TokenError,
)
from flask_jam.keys import KeyRing
from flask_jam.schemes.outcome import Accepted, Credential, Rejected
from flask_jam.settings import JWTSettings, Settings
from flask_jam.stores.interface import Kind, slot_of
from flask_jam.stores.memory import MemoryStore

from .cases import each_case
from .conftest import SECRET, Clock
from .test_keys import pem_for

MakeJam = Callable[..., Jam]
Events = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def events(jam: Jam) -> Events:
    seen: Events = []
    jam.subscribe(lambda name, what: seen.append((name, dict(what))))
    return seen


# --- making one -----------------------------------------------------------------------


def test_no_argument_works() -> None:
    with pytest.warns(RuntimeWarning, match="JAM_JWT_SECRET_KEY"):
        jam = Jam()
    assert jam.verify_jwt_token(jam.gen_jwt_token({"sub": "ann"}))["sub"] == "ann"
    assert jam.get_session(jam.create_session("ann", {"n": 1})) == {"n": 1}


def test_two_jams_share_nothing_that_they_were_not_given(make_jam: MakeJam) -> None:
    first, second = make_jam(), make_jam()
    token, session_id = first.gen_jwt_token({"sub": "ann"}), first.create_session("ann", {})
    first.revoke_token(token)
    assert second.get_session(session_id) is None
    assert second.verify_jwt_token(token)
    assert first.store is not second.store


def test_two_jams_on_one_store_share_what_is_in_it(make_jam: MakeJam) -> None:
    store = MemoryStore()
    first, second = make_jam(store=store), make_jam(store=store)
    session_id = first.create_session("ann", {"n": 1})
    second.update_session(session_id, {"n": 2})
    assert first.get_session(session_id) == {"n": 2}
    pair = first.issue_tokens("ann")
    assert second.refresh_tokens(pair["refresh_token"])


def test_an_empty_store_is_used_and_not_replaced(make_jam: MakeJam) -> None:
    class Sized(MemoryStore):
        def __len__(self) -> int:
            return 0

    store = Sized()
    assert make_jam(store=store).store is store


def test_settings_that_were_read_before_are_taken_as_they_are(clock: Clock) -> None:
    settings = Settings(jwt=JWTSettings(secret_key=SECRET.encode()))
    assert Jam(settings, clock=clock).settings is settings


def test_a_configuration_may_be_a_path_or_the_name_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "jam.toml"
    path.write_text(f'[jam.jwt]\nsecret_key = "{SECRET}"\nexpire = 60\n')
    for config in (path, str(path)):
        assert Jam(config).settings.jwt.expire == 60


@each_case("config", [5, b"x.toml", ["x"], True, 1.5], ids=repr)
def test_a_configuration_of_another_kind_is_an_error_with_a_sentence(config: Any) -> None:
    with pytest.raises(ConfigError, match="mapping|path"):
        Jam(config)


# --- what it tells --------------------------------------------------------------------


def test_each_revocation_is_told_once_it_is_durable(jam: Jam) -> None:
    told: list[str] = []

    def observer(name: str, what: Mapping[str, Any]) -> None:
        with pytest.raises(TokenError):
            jam.verify_jwt_token(token)
        told.append(name)

    token = jam.gen_jwt_token({"sub": "ann"})
    jam.subscribe(observer)
    jam.revoke_token(token)
    assert told == ["revoked"]


def test_revoked_is_sent_after_the_cut_off_and_before_sessions_go(
    make_jam: MakeJam,
) -> None:
    class Failing(MemoryStore):
        def list_sessions(self, *_: Any, **__: Any) -> Any:
            raise StoreUnavailable

        clear_sessions = list_sessions

    jam, reported = make_jam(store=Failing()), []

    def observer(name: str, what: Mapping[str, Any]) -> None:
        with pytest.raises(TokenError):
            jam.verify_jwt_token(pair["access_token"])
        with pytest.raises(TokenError):
            jam.refresh_tokens(pair["refresh_token"])
        assert jam.get_session(session_id) is None
        reported.append((name, dict(what)))

    pair, session_id = jam.issue_tokens("ann"), jam.create_session("ann", {})
    jam.subscribe(observer)
    with suppress(StoreUnavailable):
        jam.revoke_subject("ann")
    assert reported == [("revoked", {"kind": "subject", "subject": "ann", "issuer": None})]


def test_what_is_told_names_kind_and_subject(jam: Jam, events: Events) -> None:
    jam.revoke_token(jam.gen_jwt_token({"sub": "ann"}))
    jam.revoke_token(jam.gen_jwt_token({}))
    jam.revoke_token(jam.issue_tokens("ann")["refresh_token"])
    jam.revoke_subject("bob")
    jam.delete_session(jam.create_session("cid", {}))
    assert events == [
        ("revoked", {"kind": "token", "subject": "ann", "issuer": None}),
        ("revoked", {"kind": "token", "subject": None, "issuer": None}),
        ("revoked", {"kind": "family", "subject": "ann", "issuer": None}),
        ("revoked", {"kind": "subject", "subject": "bob", "issuer": None}),
        ("revoked", {"kind": "session", "subject": "cid", "issuer": None}),
    ]


def test_nothing_is_told_of_what_did_not_happen(
    make_jam: MakeJam, jam: Jam, events: Events
) -> None:
    jam.revoke_token("x")
    jam.delete_session("x" * 45)
    jam.clear_sessions("nobody")
    with pytest.raises(JamError):
        jam.revoke_subject("")
    with pytest.raises(TokenError):
        jam.verify_jwt_token("x")

    class Silent(MemoryStore):
        def cut(self, *_: Any, **__: Any) -> None:
            raise StoreUnavailable

    down = make_jam(store=Silent())
    down.subscribe(lambda name, what: events.append((name, dict(what))))
    with pytest.raises(StoreUnavailable):
        down.revoke_subject("ann")
    assert events == []


@each_case("subject", ["x" * 1025, "a\nb", "\ud800", "x" * 257])
def test_invalid_subject_is_refused_before_any_change(
    jam: Jam, events: Events, subject: str
) -> None:
    # A session key may be longer than a subject, and hold what a subject may not: those are
    # revoked. What is neither is an error, and no half of it has happened.
    try:
        session_id = jam.create_session(subject, {})
    except SessionError:
        with pytest.raises(JamError):
            jam.revoke_subject(subject)
        assert events == []
        marks = jam.store.marks(slot_of(str(subject)), None, None, subject, jam.clock())
        assert marks.cut_off is None
    else:
        jam.revoke_subject(subject)
        assert jam.get_session(session_id) is None
        assert events == [("revoked", {"kind": "subject", "subject": subject, "issuer": None})]


def test_an_observer_that_raises_is_logged_and_changes_nothing(
    jam: Jam, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise LookupError("mArKeR")

    seen: list[str] = []
    jam.subscribe(broken)
    jam.subscribe(lambda name, what: seen.append(name))
    token = jam.gen_jwt_token({"sub": "ann"})
    assert jam.revoke_token(token) is True
    assert seen == ["revoked"]
    assert "LookupError" in caplog.text
    assert "mArKeR" not in caplog.text


def test_an_observer_that_raises_is_logged_with_its_own_line(
    jam: Jam, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_name: str, what: Mapping[str, Any]) -> None:
        pprint.pformat(what, indent=-1)  # raises within pprint

    jam.subscribe(broken)
    jam.revoke_subject("mArKeR")
    place = f"at {__file__}:{broken.__code__.co_firstlineno + 1}"
    assert caplog.text.rstrip().endswith(f"raised ValueError {place}")
    assert "mArKeR" not in caplog.text


# --- revoking a token -----------------------------------------------------------------


@each_case("lists", ["deny", "allow"])
@each_case("as_claims", [False, True])
def test_revoking_returns_true_once(
    make_jam: MakeJam, events: Events, lists: str, as_claims: bool
) -> None:
    jam = make_jam(jwt={"list": lists})
    jam.subscribe(lambda name, what: events.append((name, dict(what))))
    token = jam.issue_tokens("ann")["access_token"]
    given = jam.verify_jwt_token(token) if as_claims else token
    assert [jam.revoke_token(given) for _ in range(3)] == [True, False, False]
    assert [what["kind"] for _, what in events] == ["token"]
    with pytest.raises(TokenError):
        jam.verify_jwt_token(token)


def test_revoking_a_refresh_token_returns_true_once(jam: Jam) -> None:
    pair = jam.issue_tokens("ann")
    assert [jam.revoke_token(pair["refresh_token"]) for _ in range(2)] == [True, False]
    assert jam.revoke_token(pair["access_token"]) is False


@each_case("end", [lambda jam, _: jam.revoke_subject("ann"), lambda jam, t: jam.end_login(t)])
def test_revoking_a_token_that_was_ended_otherwise_returns_false(jam: Jam, end: Any) -> None:
    token = jam.issue_tokens("ann")["access_token"]
    end(jam, token)
    assert jam.revoke_token(token) is False


def test_claims_of_a_login_after_a_revocation_are_revoked(jam: Jam, clock: Clock) -> None:
    # Its claims do not say under which cut-off it was minted.
    clock.tick(0.5)
    jam.revoke_subject("ann")
    token = jam.issue_tokens("ann")["access_token"]
    assert jam.revoke_token(jam.verify_jwt_token(token)) is True
    with pytest.raises(TokenError):
        jam.verify_jwt_token(token)


@each_case(
    "claims",
    [
        {"jti": "x", "exp": 1}, {"jti": "x", "iat": 0, "exp": 1}, {"jti": "x", "exp": 1.5, "n": 1},
        {"jti": "x", "iat": 1.8e9, "exp": 9e9},
        {"jti": "x", "iat": 1.8e9, "exp": 1.8e9 + 5, "aud": "y"},
        {"jti": "x", "iat": 1.8e9, "exp": 1.8e9 + 5, "token_use": "id"},
    ],
)  # fmt: skip
def test_claims_of_no_living_token_are_no_error(
    jam: Jam, events: Events, claims: dict[str, Any]
) -> None:
    assert jam.revoke_token(claims) is False
    assert events == []


@each_case(
    ("claims", "sentence"),
    [
        ({"exp": 1}, "jti or iat is missing"), ({}, "exp is missing"),
        ({"jti": "x"}, "exp is missing"),
        ({"jti": "x", "exp": 1.8e9 + 5}, "jti or iat is missing"),
        ({"jti": 5, "iat": 1.8e9, "exp": 1.8e9 + 5}, "jti must be"),
        ({"jti": "x", "exp": "soon"}, "exp must be"),
        ({"jti": "x", "iat": 1.8e9, "exp": 1.8e9 + 5, "x": object()}, "the claim x"),
    ],
)  # fmt: skip
def test_incomplete_claims_are_an_error_with_a_sentence(
    jam: Jam, claims: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(TokenError, match=sentence):
        jam.revoke_token(claims)


def test_incomplete_claims_are_an_error_until_their_leeway_is_over(
    make_jam: MakeJam, clock: Clock
) -> None:
    jam = make_jam(jwt={"leeway": 10})
    claims = {"jti": "x", "exp": clock.now}
    clock.tick(9)
    with pytest.raises(TokenError, match="iat is missing"):
        jam.revoke_token(claims)
    clock.tick(1)
    assert jam.revoke_token(claims) is False


def test_revoking_a_token_that_was_never_allowed_returns_false(jam: Jam, make_jam: MakeJam) -> None:
    strict = make_jam(jwt={"list": "allow"})
    assert strict.revoke_token(jam.gen_jwt_token({"sub": "ann"})) is False
    assert strict.revoke_token(strict.gen_jwt_token({"sub": "ann"})) is True


def test_without_a_list_a_token_of_ours_cannot_be_revoked(make_jam: MakeJam, clock: Clock) -> None:
    jam = make_jam(jwt={"list": "off"})
    token = jam.issue_tokens("ann")["access_token"]
    assert jam.revoke_token("a.b.c") is False
    for seconds in (0, 2000):
        clock.tick(seconds)
        with pytest.raises(ConfigError, match='write "deny"'):
            jam.revoke_token(token)


# --- data of a session ----------------------------------------------------------------


class Point:
    pass


@dataclasses.dataclass
class Money:
    amount: int = 987654


class Colour(enum.Enum):
    RED = 987654


UNFIT: dict[str, tuple[Any, str]] = {
    "decimal": (Decimal("987654"), "type Decimal: write str(...)"),
    "date": (datetime.date(1987, 6, 5), "type date: write value.isoformat()"),
    "datetime": (datetime.datetime(1987, 6, 5), "type datetime: write value.isoformat()"),
    "time": (datetime.time(9, 8, 7), "type time: write value.isoformat()"),
    "timedelta": (datetime.timedelta(987654), "type timedelta: write value.total_seconds()"),
    "bytes": (b"987654", "type bytes: write value.decode(), or base64"),
    "dataclass": (Money(), "type Money: write dataclasses.asdict(...)"),
    "class": (Money, "type type: write str(...)"),
    "uuid": (UUID(int=987654), "type UUID: write str(...)"),
    "set": ({987654}, "type set: write sorted(...)"),
    "enum": (Colour.RED, "type Colour: write value.value"),
    "mapping": (MappingProxyType({"x": 987654}), "type mappingproxy: write dict(...)"),
    "object": (Point(), "type Point: write str(...)"),
    "inner": ({"a": [1, {"b": Decimal("987654")}]}, "type Decimal: write str(...)"),
    "tuple key": ({("987654", 1): 2}, "a key of type tuple: write str(...)"),
    "int key": ([{987654: 2}], "a key of type int: write str(...)"),
    "nan": (math.nan, "a float that is infinite or not a number"),
    "surrogate": ("987654\ud800", "a string with a lone surrogate"),
    "deep": (functools.reduce(lambda inner, _: [inner], range(16), 987654), "nested more than 16"),
}


@each_case("kind", UNFIT)
def test_session_data_that_is_no_json_names_key_and_type(jam: Jam, kind: str) -> None:
    value, advice = UNFIT[kind]
    session_id = jam.create_session("ann", {})
    for verb in (
        lambda data: jam.create_session("ann", data),
        lambda data: jam.update_session(session_id, data),
    ):
        with pytest.raises(SessionError) as caught:
            verb({"fine": [1, "x", None, 1.5, (1, 2)], "price": value})
        sentence = str(caught.value)
        assert sentence.startswith("session data must be plain JSON, and 'price' holds ")
        assert advice in sentence
        assert "87" not in sentence


@each_case("key", [("987654", 1), 987654, UUID(int=987654)], ids=repr)
def test_a_key_of_session_data_that_is_no_string_names_its_type(jam: Jam, key: Any) -> None:
    with pytest.raises(SessionError) as caught:
        jam.create_session("ann", {key: 1})
    kind = type(key).__name__
    assert f"got a key of type {kind}: write str(...)" in str(caught.value)
    assert "87" not in str(caught.value)


@each_case("key", [5, UUID(int=987654), b"ann", None], ids=repr)
def test_a_session_key_that_is_no_string_names_its_type(jam: Jam, key: Any) -> None:
    for verb in (lambda: jam.create_session(key, {}), lambda: jam.list_sessions(key)):
        with pytest.raises(SessionError, match=rf"got {type(key).__name__}: write str\(\.\.\.\)"):
            verb()


def test_logging_out_with_what_is_no_token_ends_nothing(jam: Jam, events: Events) -> None:
    assert jam.end_login("x") is None
    assert events == []


# --- what is at rest ------------------------------------------------------------------


def reachable(thing: Any, seen: set[int] | None = None) -> Iterator[Any]:
    """Every text and every run of bytes that an object leads to."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, (type, type(logging), int, float)):
        return
    seen.add(id(thing))
    if isinstance(thing, (str, bytes, bytearray)):
        yield thing
        return
    inner: list[Any] = []
    if isinstance(thing, Mapping):
        inner = [*thing.keys(), *thing.values()]
    elif isinstance(thing, (list, tuple, set, frozenset)):
        inner = list(thing)
    inner += list(getattr(thing, "__dict__", {}).values())
    slots = [slot for cls in type(thing).__mro__ for slot in getattr(cls, "__slots__", ())]
    inner += [getattr(thing, slot) for slot in slots if hasattr(thing, slot)]
    for each in inner:
        yield from reachable(each, seen)


def holds(thing: Any, secret: str) -> bool:
    return any(
        secret in found if isinstance(found, str) else secret.encode() in found
        for found in reachable(thing)
    )


def test_the_search_finds_what_is_there() -> None:
    store = MemoryStore()
    store.mark("ab", Kind.TOKEN, "needle-1", 1.0, 9e9)
    store.cut("ab", "xxneedle-2", 1.0, 9e9)
    store._extra = [{"a": (b"needle-3",)}]  # type: ignore[attr-defined]
    assert [holds(store, f"needle-{n}") for n in range(5)] == [False, True, True, True, False]


@each_case("mode", ["deny", "allow"])
def test_no_usable_credential_is_at_rest(make_jam: MakeJam, mode: str) -> None:
    jam = make_jam(jwt={"list": mode})
    first = jam.issue_tokens("ann", scopes={"read"}, tenant="t1")
    second = jam.refresh_tokens(first["refresh_token"])
    revoked = jam.issue_tokens("ann")
    old = jam.create_session("ann", {"n": 1}, user_agent="agent/1")
    new = jam.rework_session(old)
    minted = jam.gen_jwt_token({"sub": "bob"})
    for token in (first["access_token"], second["access_token"], minted):
        jam.verify_jwt_token(token)
    jam.revoke_token(revoked["refresh_token"])
    jam.revoke_token(revoked["access_token"])
    jam.update_session(new, {"n": 2})
    jam.get_session(new)
    credentials = [old, new, minted] + [
        pair[kind]
        for pair in (first, second, revoked)
        for kind in ("access_token", "refresh_token")
    ]
    # The proof of a refresh token is its last part, and the signature that of a token.
    credentials += [one.rpartition(".")[2] for one in credentials if "." in one]
    assert holds(jam.store, "ann"), "the search would find nothing in any case"
    for credential in credentials:
        assert not holds(jam.store, credential)
        assert not holds(jam, credential), "the cache and the rest keep none either"


def test_what_the_store_knows_of_a_session_opens_no_session(jam: Jam) -> None:
    jam.create_session("ann", {"n": 1})
    texts = [text for text in reachable(jam.store) if isinstance(text, str)]
    assert len(texts) >= 2
    for text in texts:
        for presented in (text, text[:45], text[-45:]):
            assert jam.get_session(presented) is None


# --- what is never said ---------------------------------------------------------------

MARKER = "mArKeR"
PLANTED = {
    "jwt": {
        "secret_key": f"{MARKER}-{SECRET}",
        "secret_key_fallbacks": [f"former-{MARKER}-{SECRET}"],
    },
    "session": {"max_bytes": 200},
}


@pytest.fixture
def planted(clock: Clock) -> Jam:
    return Jam(PLANTED, clock=clock)


def said(thing: Any) -> str:
    return "\n".join([repr(thing), str(thing), f"{thing}", repr([thing]), pprint.pformat(thing)])


def test_the_parts_of_a_jam_print_no_secret(planted: Jam) -> None:
    planted.issue_tokens(MARKER, roles={MARKER})
    planted.create_session(MARKER, {MARKER: MARKER})
    ring = KeyRing.from_settings(planted.settings.jwt)
    private = pem_for("ES256").private
    other = Jam({"jwt": {"alg": "ES256", "private_key": private}})
    for thing in (planted, planted.settings, planted.settings.jwt, planted.verifier, ring,
                  ring.signer, planted.sessions, planted.store, vars(planted)):  # fmt: skip
        assert MARKER not in said(thing)
    for thing in (other, other.settings, other.settings.jwt, vars(other)):
        assert private.splitlines()[1] not in said(thing)


def test_the_values_of_a_request_print_no_secret() -> None:
    for thing in (
        Credential("jwt", "header", MARKER),
        Accepted("jwt", "header", MARKER, {MARKER: MARKER}, 1.0),
        Rejected(
            "jwt", Reason.INVALID, "header", Credential("jwt", "header", MARKER).fingerprint()
        ),
    ):
        assert MARKER not in said(thing)


def test_what_verification_and_stores_hand_on_prints_no_claim(planted: Jam) -> None:
    pair = planted.issue_tokens(MARKER, roles={MARKER}, tenant=MARKER)
    family_id = pair["refresh_token"].split(".")[0]
    session_id = planted.create_session(MARKER, {MARKER: MARKER}, user_agent=MARKER, ip=MARKER)
    for thing in (
        planted.verifier.verify(pair["access_token"]),
        planted.store.read_family(family_id, planted.clock()),
        planted.sessions.lookup(session_id),
    ):
        assert thing is not None
        assert MARKER not in said(thing)


def failures(jam: Jam, tmp_path: Path) -> dict[str, Callable[[], object]]:
    """Everything that goes wrong near a marker."""
    pair = jam.issue_tokens("ann")
    session_id = jam.create_session("ann", {})
    config = tmp_path / "jam.toml"
    config.write_text(f'[jam.jwt]\nsecret_key = "{MARKER}\n')
    return {
        "token that is none": lambda: jam.verify_jwt_token(MARKER),
        "token of three parts": lambda: jam.verify_jwt_token(f"{MARKER}.{MARKER}.{MARKER}"),
        "large token": lambda: jam.verify_jwt_token(MARKER * 5000),
        "surrogates": lambda: jam.verify_jwt_token(MARKER + "\udcff"),
        "refresh token that is none": lambda: jam.refresh_tokens(MARKER),
        "subject": lambda: jam.gen_jwt_token({"sub": MARKER + "\0"}),
        "subject of a pair": lambda: jam.issue_tokens(MARKER + "\0"),
        "claim": lambda: jam.gen_jwt_token({"x": {MARKER}}),
        "large claim": lambda: jam.gen_jwt_token({"x": MARKER * 5000}),
        "audience": lambda: jam.gen_jwt_token({"aud": MARKER}),
        "life": lambda: jam.make_payload(exp=MARKER),  # type: ignore[arg-type]
        "scope": lambda: jam.issue_tokens("ann", scopes={MARKER + " x"}),
        "reload": lambda: jam.refresh_tokens(
            pair["refresh_token"], reload_claims=lambda *_: {"sub": MARKER}
        ),
        "session that is none": lambda: jam.update_session(MARKER, {}),
        "session data": lambda: jam.update_session(session_id, {"x": {MARKER}}),
        "large session data": lambda: jam.update_session(session_id, {"x": MARKER * 100}),
        "session key": lambda: jam.create_session(MARKER * 500, {}),
        "short secret": lambda: Jam({"jwt": {"secret_key": MARKER}}),
        "secret for RSA": lambda: Jam({"jwt": {"secret_key": MARKER * 9, "alg": "RS256"}}),
        "private key": lambda: Jam({"jwt": {"private_key": MARKER, "alg": "RS256"}}),
        "public key": lambda: Jam({"jwt": {"public_key": MARKER, "alg": "RS256"}}),
        "secret of a wrong type": lambda: Jam({"jwt": {"secret_key": [MARKER]}}),
        "unencodable secret": lambda: Jam({"jwt": {"secret_key": MARKER * 9 + "\udcff"}}),
        "algorithm": lambda: Jam({"jwt": {"alg": MARKER}}),
        "number": lambda: Jam({"jwt": {"expire": MARKER}}),
        "flag": lambda: Jam({"cookie_secure": MARKER}),
        "file": lambda: Jam(config),
    }


def test_no_exception_says_what_it_is_about(
    planted: Jam, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for what, job in failures(planted, tmp_path).items():
        with pytest.raises(JamError) as caught:
            job()
        error = caught.value
        shown = [said(error), str(vars(error)), *traceback.format_exception(error)]
        assert MARKER not in "\n".join(shown), what
    assert MARKER not in caplog.text
