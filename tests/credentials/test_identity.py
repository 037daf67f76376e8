"""Equal subjects of two issuers are two users, in everything that a store keeps of them."""

from __future__ import annotations

from typing import Any

import pytest

from flask_jam import Accepted, Jam, JamError
from flask_jam.stores.interface import BETWEEN

from ..cases import each_case

A, B = "https://a.example/", "https://b.example/"
ISSUERS = (None, A, B)


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
def jam(request: pytest.FixtureRequest) -> Jam:
    made: Jam = request.getfixturevalue(f"{request.param}_jam")
    return made


@pytest.fixture
def memory_jam(make_jam: Any) -> Jam:
    made: Jam = make_jam()
    return made


def sessions(jam: Jam) -> dict[str | None, str]:
    return {issuer: jam.create_session("ann", {}, issuer=issuer) for issuer in ISSUERS}


def alive(jam: Jam, ids: dict[str | None, str]) -> list[str | None]:
    return [issuer for issuer, each in ids.items() if jam.get_session(each) is not None]


def heard_by(jam: Jam) -> list[tuple[str, str | None, str | None]]:
    heard: list[tuple[str, str | None, str | None]] = []
    jam.subscribe(lambda _, what: heard.append((what["kind"], what["subject"], what["issuer"])))
    return heard


def test_each_issuer_has_lists_of_its_own(jam: Jam) -> None:
    ids = sessions(jam)
    for issuer, session_id in ids.items():
        handle = jam.handle_of(session_id)
        assert [each.handle for each in jam.list_sessions("ann", issuer)] == [handle]
        logins = jam.list_logins("ann", issuer)
        assert [(each.handle, each.issuer) for each in logins] == [(handle, issuer)]


def test_revoking_a_subject_ends_only_that_of_its_issuer(jam: Jam) -> None:
    ids, token, heard = sessions(jam), jam.issue_tokens("ann")["access_token"], heard_by(jam)
    jam.revoke_subject("ann", A)
    assert (alive(jam, ids), heard) == ([None, B], [("subject", "ann", A)])
    assert jam.verify_jwt_token(token)["sub"] == "ann"
    jam.revoke_subject("ann")
    assert (alive(jam, ids), heard[1:]) == ([B], [("subject", "ann", None)])


@each_case("end", [
    lambda jam, handle: jam.clear_sessions("ann", A),
    lambda jam, handle: jam.end_logins("ann", A),
    lambda jam, handle: jam.end_login_by_handle("ann", handle, A),
    lambda jam, handle: jam.delete_session_by_handle("ann", handle, A),
])  # fmt: skip
def test_each_verb_ends_sessions_of_the_issuer_that_it_names(make_jam: Any, end: Any) -> None:
    jam: Jam = make_jam()
    ids, heard = sessions(jam), heard_by(jam)
    for issuer in (None, B):  # a handle of another issuer's user ends nothing
        assert not jam.end_login_by_handle("ann", jam.handle_of(ids[A]), issuer)
    assert end(jam, jam.handle_of(ids[A])) == 1
    assert (alive(jam, ids), heard) == ([None, B], [("session", "ann", A)])


def test_an_accepted_ends_exactly_its_identity(make_jam: Any) -> None:
    jam: Jam = make_jam()
    ids = sessions(jam)
    jam.revoke_subject(Accepted("session", "cookie", "ann", {}, issuer=B))
    assert alive(jam, ids) == [None, A]
    jam.revoke_subject(Accepted("jwt", "header", "ann", {}))
    assert alive(jam, ids) == [A]
    nobody = Accepted("jwt", "header", None, {})
    for wrong in (lambda: jam.revoke_subject(nobody), lambda: jam.revoke_token(nobody),
                  lambda: jam.revoke_subject(Accepted("jwt", "header", "ann", {}), A)):  # fmt: skip
        with pytest.raises(JamError):
            wrong()
    assert alive(jam, ids) == [A]


def test_the_accepted_of_an_own_token_revokes_that_token(make_jam: Any, clock: Any) -> None:
    jam: Jam = make_jam()
    token, other = jam.gen_jwt_token({"sub": "ann"}), jam.gen_jwt_token({"sub": "ann"})
    claims = jam.verify_jwt_token(token)
    presented = Accepted("jwt", "header", "ann", claims, token_id=claims["jti"])
    assert [jam.revoke_token(presented), jam.revoke_token(presented)] == [True, False]
    with pytest.raises(JamError):
        jam.verify_jwt_token(token)
    assert jam.verify_jwt_token(other)
    clock.tick(2000)
    assert not jam.revoke_token(presented._replace(token_id="x"))


@each_case("issuer", ["", 5, "x" * 1025, f"https://a{BETWEEN}b", "\ud800"])
def test_what_can_be_no_issuer_is_an_error_and_never_another_owner(
    make_jam: Any, issuer: Any
) -> None:
    jam: Jam = make_jam()
    for verb in (jam.revoke_subject, jam.list_sessions, jam.list_logins, jam.end_logins,
                 jam.clear_sessions, lambda s, i: jam.create_session(s, {}, issuer=i)):  # fmt: skip
        with pytest.raises(JamError):
            verb("ann", issuer)


def test_a_subject_that_spells_an_owner_of_another_issuer_is_refused(make_jam: Any) -> None:
    jam: Jam = make_jam()
    ids, forged = sessions(jam), f"{A}{BETWEEN}ann"
    for verb in (jam.revoke_subject, jam.clear_sessions, jam.end_logins, jam.list_sessions,
                 lambda s: jam.create_session(s, {}), jam.issue_tokens):  # fmt: skip
        with pytest.raises(JamError):
            verb(forged)
    assert alive(jam, ids) == list(ISSUERS)


def test_identity_scopes_and_roles_of_what_was_accepted() -> None:
    own = Accepted("jwt", "header", "ann", {"scope": "a b", "roles": ["x"]})
    foreign = own._replace(issuer=A)
    assert (own.identity, foreign.identity) == ("ann", (A, "ann"))
    assert foreign._replace(subject=None).identity is None
    assert (own.scopes, own.roles) == (("a", "b"), ("x",))
    for odd in ({}, {"scope": "a  b", "roles": "x"}, {"scope": ["a"], "roles": [1]}):
        assert (own._replace(payload=odd).scopes, own._replace(payload=odd).roles) == ((), ())
    assert len({repr(own), repr(foreign), repr(own._replace(issuer=B))}) == 3
