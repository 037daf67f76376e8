"""Without rotation a refresh token stays good until its ends, and what ends a login ends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from flask_jam import Jam, Reason, StoreUnavailable, TokenError

from ..cases import each_case
from ..conftest import SECRET, Clock
from ..servers import RedisServer

MakeJam = Callable[..., Jam]
DAY = 86400.0


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
def keeping(request: pytest.FixtureRequest, make_jam: MakeJam) -> Iterator[Jam]:
    """A Jam that does not rotate, on each store."""
    if request.param == "memory":
        yield make_jam(jwt={"rotate_refresh_tokens": False})
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    server.flush()
    jam = make_jam(jwt={"rotate_refresh_tokens": False}, redis_url=server.url)
    yield jam
    jam.store.close()  # type: ignore[attr-defined]


def rotating(jam: Jam) -> Jam:
    """Return a Jam on the same store that rotates."""
    return Jam({"jwt": {"secret_key": SECRET}}, store=jam.store, clock=jam.clock)


def refused(jam: Jam, refresh_token: str, **options: Any) -> Reason:
    with pytest.raises(TokenError) as caught:
        jam.refresh_tokens(refresh_token, **options)
    return caught.value.reason


def access_refused(jam: Jam, pair: Mapping[str, Any]) -> Reason:
    with pytest.raises(TokenError) as caught:
        jam.verify_jwt_token(pair["access_token"])
    return caught.value.reason


def test_a_kept_token_gives_access_tokens_alone(keeping: Jam, clock: Clock) -> None:
    first = keeping.issue_tokens("ann", scopes={"a"}, roles={"b"}, team="blue")
    claims = keeping.verify_jwt_token(first["access_token"])
    for _ in range(3):
        clock.tick(3600)
        pair = keeping.refresh_tokens(first["refresh_token"])
        assert set(pair) == {"access_token", "token_type", "expires_in", "scope"}
        again = keeping.verify_jwt_token(pair["access_token"])
        changed = {"jti", "iat", "exp"}
        assert {n: v for n, v in again.items() if n not in changed} == {
            n: v for n, v in claims.items() if n not in changed
        }
        assert again["jti"] != claims["jti"]
        assert again["exp"] == clock.now + 900


def test_both_ends_of_a_kept_token_count_from_the_login(make_jam: MakeJam, clock: Clock) -> None:
    for ends, last in (({"refresh_idle": 10 * DAY}, 10), ({"refresh_absolute": 5 * DAY}, 5)):
        jam = make_jam(jwt={"rotate_refresh_tokens": False, **ends})
        token = jam.issue_tokens("ann")["refresh_token"]
        for _ in range(last - 1):
            clock.tick(DAY)
            assert jam.refresh_tokens(token)
        clock.tick(DAY - 1)
        assert jam.refresh_tokens(token)
        clock.tick(1)
        assert refused(jam, token) is Reason.EXPIRED


ENDS: dict[str, Callable[[Jam, Any], object]] = {
    "logout by access token": lambda jam, pair: jam.end_login(pair["access_token"]),
    "logout by refresh token": lambda jam, pair: jam.end_login(pair["refresh_token"]),
    "revoke the token": lambda jam, pair: jam.revoke_token(pair["refresh_token"]),
    "revoke the subject": lambda jam, _: jam.revoke_subject("ann"),
}


@each_case("how", ENDS)
def test_a_stolen_kept_token_ends_with_its_login(keeping: Jam, how: str) -> None:
    pair = keeping.issue_tokens("ann")
    by_thief = keeping.refresh_tokens(pair["refresh_token"])
    ENDS[how](keeping, pair)
    assert refused(keeping, pair["refresh_token"]) is Reason.REVOKED
    assert access_refused(keeping, by_thief) is Reason.REVOKED


@each_case("how", ENDS)
def test_a_refresh_that_a_logout_overtakes_gives_a_dead_token(keeping: Jam, how: str) -> None:
    pair = keeping.issue_tokens("ann")

    def reload(_: str, claims: dict[str, Any]) -> dict[str, Any]:
        ENDS[how](keeping, pair)
        return claims

    made = keeping.refresh_tokens(pair["refresh_token"], reload_claims=reload)
    assert access_refused(keeping, made) is Reason.REVOKED
    assert refused(keeping, pair["refresh_token"]) is Reason.REVOKED


def test_a_kept_token_that_expires_meanwhile_is_refused(keeping: Jam, clock: Clock) -> None:
    token = keeping.issue_tokens("ann")["refresh_token"]

    def slow(_: str, claims: dict[str, Any]) -> dict[str, Any]:
        clock.tick(14 * DAY)
        return claims

    assert refused(keeping, token, reload_claims=slow) is Reason.EXPIRED


def test_reload_claims_is_asked_for_a_kept_token(keeping: Jam) -> None:
    token = keeping.issue_tokens("ann", roles={"admin"}, n=1)["refresh_token"]
    asked: list[Any] = []

    def reload(subject: str, claims: dict[str, Any]) -> dict[str, Any]:
        asked.append((subject, dict(claims)))
        return {"roles": ["user"]}

    for _ in range(2):
        made = keeping.refresh_tokens(token, reload_claims=reload)
        claims = keeping.verify_jwt_token(made["access_token"])
        assert (claims["roles"], claims.get("n")) == (["user"], None)
    assert asked == [("ann", {"roles": ["admin"], "n": 1})] * 2
    assert refused(keeping, token, reload_claims=lambda *_: None) is Reason.REVOKED
    assert keeping.refresh_tokens(token)


def test_a_kept_token_is_no_access_token_nor_the_other_way(keeping: Jam) -> None:
    pair = keeping.issue_tokens("ann")
    assert refused(keeping, pair["access_token"]) is Reason.INVALID
    assert access_refused(keeping, {"access_token": pair["refresh_token"]}) is Reason.INVALID


def test_a_forged_generation_of_a_kept_token_is_refused(keeping: Jam) -> None:
    family, generation, mac = keeping.issue_tokens("ann")["refresh_token"].split(".")
    for other in (f"{family}.{int(generation) + 1}.{mac}", f"{family}.{generation}.{mac[::-1]}"):
        assert refused(keeping, other) is Reason.INVALID


def test_a_token_that_was_rotated_away_is_a_stolen_one_still(keeping: Jam, clock: Clock) -> None:
    events: list[str] = []
    keeping.subscribe(lambda name, _: events.append(name))
    old = keeping.issue_tokens("ann")
    new = rotating(keeping).refresh_tokens(old["refresh_token"])
    assert "refresh_token" not in keeping.refresh_tokens(new["refresh_token"])
    newest = rotating(keeping).refresh_tokens(new["refresh_token"])
    assert refused(keeping, old["refresh_token"]) is Reason.REUSED
    assert events == ["revoked", "reuse_detected"]
    assert refused(keeping, newest["refresh_token"]) is Reason.REVOKED


def test_rotation_begins_with_the_kept_token_when_it_is_on(keeping: Jam) -> None:
    kept = keeping.issue_tokens("ann")["refresh_token"]
    keeping.refresh_tokens(kept)
    on = rotating(keeping)
    following = on.refresh_tokens(kept)["refresh_token"]
    assert following != kept
    assert on.refresh_tokens(following)["refresh_token"] not in (kept, following)


def test_threads_share_a_kept_token(keeping: Jam) -> None:
    token, together = keeping.issue_tokens("ann")["refresh_token"], Barrier(8)

    def refresh(_: int) -> str:
        together.wait()
        return str(keeping.refresh_tokens(token)["access_token"])

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(refresh, range(8)))
    assert len(set(made)) == 8
    for each in made:
        assert keeping.verify_jwt_token(each)["sub"] == "ann"


@pytest.mark.redis
@pytest.mark.slow
def test_a_kept_token_waits_for_a_store_that_is_down(make_jam: MakeJam) -> None:
    with RedisServer() as server:
        jam = make_jam(jwt={"rotate_refresh_tokens": False}, redis_url=server.url)
        token = jam.issue_tokens("ann")["refresh_token"]
        server.pause()
        with pytest.raises(StoreUnavailable):
            jam.refresh_tokens(token)
        server.resume()
        assert jam.refresh_tokens(token)["access_token"]
        server.kill()
        with pytest.raises(StoreUnavailable):
            jam.refresh_tokens(token)
        jam.store.close()  # type: ignore[attr-defined]
