"""API keys as attackers send them: wrong, guessed, stolen, beside another credential."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_jam import (
    ApiKeyExtension,
    Jam,
    JWTExtension,
    SessionExtension,
    StoreUnavailable,
    api_key_required,
    current_auth,
    jwt_required,
    session_required,
    signals,
)
from flask_jam._credentials.api_key_text import ALPHABET, hashed, id_of, is_key

from ..cases import each_case
from ..conftest import Clock, bearer
from ..credentials.test_api_key_text import with_checksum
from .test_logging import Spy
from .test_logging import spy as spy  # a fixture


def said() -> str:
    auth = current_auth()
    return f"{auth.scheme}:{auth.subject}" if auth else "nobody"


def build(jam: Jam, **key: Any) -> FlaskClient:
    """An app where tokens and keys share a header, and sessions have their cookie."""
    app = Flask("attacked")
    ApiKeyExtension(jam, app, **key)
    JWTExtension(jam, app)
    SessionExtension(jam, app)
    either = api_key_required | session_required
    for path, guard in {
        "/key": api_key_required,
        "/optional": api_key_required(optional=True),
        "/either": either,
        "/session-first": session_required | api_key_required,
        "/jwt": jwt_required,
    }.items():
        app.add_url_rule(path, path, guard(said), methods=["GET", "POST"])
    app.add_url_rule("/both", "both", session_required(api_key_required(said)))
    app.add_url_rule("/open", "open", said)
    return app.test_client()


@pytest.fixture
def client(jam: Jam) -> FlaskClient:
    return build(jam)


@pytest.fixture
def key(jam: Jam) -> str:
    return jam.create_api_key("alice", name="victim", scopes={"read"})[0]


@pytest.fixture
def asked(jam: Jam, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every name under which the store was asked for a key."""
    found: list[Any] = []
    read = jam.store.read_api_key

    def noted(name: str, digest: str, now: float) -> Any:
        found.append(name)
        return read(name, digest, now)

    monkeypatch.setattr(jam.store, "read_api_key", noted)
    return found


def mutants(key: str) -> Iterator[str]:
    """What is near a key, and is none."""
    source = random.Random(14)
    yield from (key[:n] for n in (0, 1, 3, 4, 5, 20, 63, 67, 68))
    yield from (key * 2, f"{key}.{key}", key + key[-1], f"{key}=", key[::-1], key[4:])
    yield from (key.upper(), key.lower(), key.swapcase(), key.title(), "JAM" + key[3:])
    yield from (f"{other}{key[3:]}" for other in ("jan", "jamx", "", "ja", "JaM", "acme"))
    for _ in range(200):
        at = source.randrange(len(key))
        other = source.choice([each for each in ALPHABET + "_-.~+/" if each != key[at]])
        yield key[:at] + other + key[at + 1 :]


def test_no_mutant_of_a_key_is_let_in_or_reaches_the_store(
    client: FlaskClient, key: str, asked: list[Any]
) -> None:
    for mutant in mutants(key):
        for path in ("/key", "/either"):
            answer = client.get(path, headers=bearer(mutant))
            assert answer.status_code in (400, 401), mutant
        if mutant:
            assert client.get("/optional", headers=bearer(mutant)).status_code == 401, mutant
        assert client.get("/open", headers=bearer(mutant)).text == "nobody", mutant
    assert asked == []


@each_case(
    "value",
    [
        "Bearer {k}\x00", "Bearer {k}\t{k}", "Bearer {k}; x=1", 'Bearer "{k}"', "Bearer\t{k}",
        "Bearer {k}\u00e9", "Bearer\u00a0{k}", "Basic {k}", "Bearer Bearer {k}", "bearer", "{k}",
        "Bearer {k}, Basic YTpi", "Bearer {k},", ", Bearer {k}", "Bearer ,{k}", "Bearer {k}\r",
    ],
)  # fmt: skip
def test_a_header_of_a_wrong_form_is_refused(client: FlaskClient, key: str, value: str) -> None:
    environ = {"HTTP_AUTHORIZATION": value.format(k=key)}
    answer = client.get("/key", environ_overrides=environ)
    assert answer.status_code in (400, 401)
    assert key not in answer.text + str(answer.headers)


def test_a_guess_with_the_right_checksum_is_refused_by_its_hash(
    client: FlaskClient, key: str, asked: list[Any]
) -> None:
    # The id is no secret, and anyone can compute the checksum: the secret is what counts.
    guess = with_checksum(key[:20] + "A" * 43 + key[63:])
    assert is_key(guess, "jam")
    assert id_of(guess) == id_of(key)
    assert client.get("/key", headers=bearer(guess)).status_code == 401
    assert asked == [id_of(key)]
    assert client.get("/key", headers=bearer(key)).text == "api_key:alice"


def test_what_the_store_and_the_list_know_opens_nothing(
    client: FlaskClient, jam: Jam, key: str
) -> None:
    info = jam.list_api_keys("alice")[0]
    for known in (hashed(key), id_of(key), info.handle, f"jam_{info.handle}", repr(info)):
        assert client.get("/key", headers=bearer(known)).status_code in (400, 401)


def test_a_flood_of_unknown_keys_leaves_nothing_behind(client: FlaskClient, jam: Jam) -> None:
    before = jam.stats()["store"]
    source = random.Random(7)
    for _ in range(200):
        body = "0" + "".join(source.choices(ALPHABET, k=58))
        unknown = with_checksum(f"jam_{body}000000")
        assert is_key(unknown, "jam")
        assert client.get("/key", headers=bearer(unknown)).status_code == 401
    assert jam.stats()["store"] == before


@each_case("place", ["api_key", "key", "access_token", "token", "authorization", "X-API-Key"])
def test_a_key_in_the_query_string_is_no_credential_and_is_not_logged(
    client: FlaskClient, key: str, place: str, spy: Spy
) -> None:
    heard: list[str] = []

    def note(_app: Flask, **what: Any) -> None:
        heard.append(repr(what))

    with signals.rejected.connected_to(note):
        for path in ("/key", "/either"):
            answer = client.get(f"{path}?{place}={key}", headers={"Accept": "text/html"})
            assert answer.status_code == 401
            assert "error=" not in answer.headers["WWW-Authenticate"]
            assert key not in answer.text + str(answer.headers)
    assert client.get(f"/open?{place}={key}").text == "nobody"
    assert len(heard) == 2
    assert key not in "".join(heard) + "".join(spy.lines)


def test_a_key_in_a_cookie_or_a_body_is_no_credential(client: FlaskClient, key: str) -> None:
    for name in ("api_key", "jam", "Authorization"):
        client.set_cookie(name, key)
    for sent in ({"data": {"api_key": key, "access_token": key}}, {"json": {"api_key": key}}):
        assert client.post("/key", **sent).status_code == 401
    client.set_cookie("sessionId", key)
    assert client.get("/either").status_code == 401


def test_ten_megabytes_are_refused_without_the_store(jam: Jam, key: str, asked: list[Any]) -> None:
    for client, name in ((build(jam), "Authorization"), (build(jam, header_name="X-K"), "X-K")):
        for huge in (key * 150_000, "jam_" + "A" * 10_000_000, f"{key} " * 150_000):
            value = f"Bearer {huge}"
            assert client.get("/optional", headers={name: value}).status_code in (400, 401)
    assert asked == []


def test_two_headers_are_a_bad_request(jam: Jam, key: str) -> None:
    # A server joins headers of one name with a comma.
    other = jam.create_api_key("bob", name="n")[0]
    shared, own = build(jam), build(jam, header_name="X-API-Key")
    for first, second in ((key, key), (key, other), (key, "x"), ("x", key)):
        for comma in (",", ", "):
            joined = {"Authorization": f"Bearer {first}{comma}Bearer {second}"}
            assert shared.get("/key", headers=joined).status_code == 400
            assert (
                own.get("/key", headers={"X-API-Key": f"{first}{comma}{second}"}).status_code == 400
            )


def test_beside_a_cookie_of_another_user_no_view_sees_two_people(
    client: FlaskClient, jam: Jam, key: str
) -> None:
    client.set_cookie("sessionId", jam.create_session("bob", {}))
    sent = bearer(key)
    # What the guard names first is who asks, for all that asks later.
    assert client.get("/key", headers=sent).text == "api_key:alice"
    assert client.get("/either", headers=sent).text == "api_key:alice"
    assert client.get("/session-first", headers=sent).text == "session:bob"
    # Where both are needed, they must be one user's.
    both = client.get("/both", headers=sent)
    assert (both.status_code, both.json["error"]) == (400, "invalid_request")
    own = bearer(jam.create_api_key("bob", name="n")[0])
    assert client.get("/both", headers=own).status_code == 200


def test_a_gate_that_met_another_user_is_not_passed_with_a_key(jam: Jam, key: str) -> None:
    client = build(jam)
    app = client.application
    gate = session_required(optional=True)
    app.before_request(gate.enforce)
    client.set_cookie("sessionId", jam.create_session("bob", {}))
    answer = client.get("/key", headers=bearer(key))
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


def test_a_bad_key_is_not_passed_over_for_a_good_cookie(
    client: FlaskClient, jam: Jam, key: str
) -> None:
    client.set_cookie("sessionId", jam.create_session("bob", {}))
    for bad in (key[:-1], key.upper(), key + "0"):
        assert client.get("/either", headers=bearer(bad)).status_code == 401
        assert client.get("/session-first", headers=bearer(bad)).status_code == 401


def test_another_site_cannot_use_a_key_and_needs_no_check(client: FlaskClient, key: str) -> None:
    # No browser attaches it, so it is not ambient: a script that has it may call from anywhere.
    sent = {**bearer(key), "Sec-Fetch-Site": "cross-site", "Origin": "https://other.example"}
    assert client.post("/key", headers=sent).text == "api_key:alice"


def test_a_key_of_another_prefix_reaches_no_store(
    make_jam: Any, client: FlaskClient, asked: list[Any]
) -> None:
    for prefix in ("acme", "ja", "jams", "j4m"):
        other, _ = make_jam(api_key={"prefix": prefix}).create_api_key("alice", name="n")
        assert client.get("/key", headers=bearer(other)).status_code == 401
    assert asked == []


def test_a_store_that_is_down_is_a_503_and_no_identity(
    client: FlaskClient, jam: Jam, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_args: Any) -> Any:
        raise StoreUnavailable

    monkeypatch.setattr(jam.store, "read_api_key", down)
    for path in ("/key", "/optional", "/either"):
        answer = client.get(path, headers=bearer(key))
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
        assert "WWW-Authenticate" not in answer.headers
    assert client.get("/open", headers=bearer(key)).text == "nobody"
    # What could be no key is refused all the same, without the store.
    assert client.get("/key", headers=bearer(key[:-1])).status_code == 401


def test_a_clock_that_jumps_revives_no_revoked_key(jam: Jam, clock: Clock) -> None:
    client = build(jam)
    key, info = jam.create_api_key("alice", name="n", expires_in=3600)
    jam.revoke_api_key("alice", info.handle)
    for step in (-86400, -1, 60, 2 * 86400, -10 * 86400):
        clock.tick(step)
        assert client.get("/key", headers=bearer(key)).status_code == 401
    key, _ = jam.create_api_key("alice", name="n", expires_in=3600)
    jam.revoke_subject("alice")
    clock.tick(-1000)
    assert client.get("/key", headers=bearer(key)).status_code == 401


def test_no_request_that_begins_after_a_revocation_is_let_in(jam: Jam) -> None:
    client = build(jam)
    key, info = jam.create_api_key("alice", name="n")
    revoked, warm = Event(), Event()

    def ask() -> list[tuple[bool, int]]:
        found = []
        while len(found) < 2000 and sum(late for late, _ in found) < 20:
            late = revoked.is_set()
            answer = client.application.test_client().get("/key", headers=bearer(key))
            found.append((late, answer.status_code))
            warm.set()
        return found

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        warm.wait(10)
        assert jam.revoke_api_key("alice", info.handle)
        revoked.set()
        outcomes = [each for one in asking for each in one.result()]
    assert {status for late, status in outcomes if late} == {401}
    assert {status for _, status in outcomes} <= {200, 401}


def test_a_stolen_key_makes_nothing_that_outlives_it(jam: Jam) -> None:
    app = Flask("stolen")
    keys = ApiKeyExtension(jam, app)
    anyone = api_key_required | jwt_required
    JWTExtension(jam, app)
    views: dict[str, Any] = {
        "create": lambda: keys.create(name="mine")[0],
        "raw": lambda: jam.create_api_key("alice", name="mine")[0],
        "rotate": lambda: keys.rotate(jam.list_api_keys("alice")[0].handle)[0],
    }
    for name, view in views.items():
        app.add_url_rule(f"/{name}", name, anyone(view), methods=["POST"])
    key, _ = jam.create_api_key("alice", name="stolen")
    for name in views:
        assert app.test_client().post(f"/{name}", headers=bearer(key)).status_code == 403
    assert len(jam.list_api_keys("alice")) == 1
