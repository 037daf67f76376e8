"""The rights that the documentation asks for are enough, and none of them is too many."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_jam import Jam, StoreUnavailable, TokenError

from ..cases import each_case
from ..conftest import SECRET
from ..servers import RedisServer

PAGE = Path(__file__).parents[2] / "docs" / "redis.rst"


@pytest.fixture(scope="module")
def guarded_server(each_server: RedisServer) -> Iterator[RedisServer]:
    """A server with the user of the documentation."""
    said = re.search(r"ACL SETUSER jam on >password (.*?)\n\n", PAGE.read_text(), re.DOTALL)
    assert said is not None
    client = each_server.client()
    client.execute_command("ACL", "SETUSER", "jam", "on", ">password", *said[1].split())
    yield each_server
    client.execute_command("ACL", "DELUSER", "jam")


def jam_as(server: RedisServer) -> Jam:
    url = f"redis://jam:password@127.0.0.1:{server.port}/0"
    # Time enough for a busy machine.
    return Jam({"jwt": {"secret_key": SECRET}, "redis_url": url, "redis_timeout": 5})


def whole_life(jam: Jam) -> None:
    """Every verb."""
    pair = jam.issue_tokens("ann")
    jam.verify_jwt_token(pair["access_token"])
    pair = jam.refresh_tokens(pair["refresh_token"])
    jam.end_login(pair["access_token"])
    with pytest.raises(TokenError):
        jam.verify_jwt_token(pair["access_token"])
    session_id = jam.create_session("ann", {"n": 1})
    jam.update_session(session_id, {"m": 2})
    session_id = jam.rework_session(session_id)
    assert jam.get_session(session_id) == {"n": 1, "m": 2}
    assert len(jam.list_sessions("ann")) == 1
    jam.delete_session(session_id)
    jam.create_session("ann", {})
    assert jam.clear_sessions("ann") == 1
    jam.issue_ticket("reset", "ann", expires_in=60)
    ticket = jam.issue_ticket("reset", "ann", expires_in=60)
    assert jam.peek_ticket("reset", ticket) == jam.redeem_ticket("reset", ticket)
    _, info = jam.create_api_key("ann", name="backup")
    key, info = jam.rotate_api_key("ann", info.handle, overlap=5)
    assert jam.api_keys.lookup(key)
    assert len(jam.list_api_keys("ann")) == 2
    assert jam.revoke_api_key("ann", info.handle)
    jam.revoke_subject("ann")


def test_the_rights_of_the_documentation_are_enough(guarded_server: RedisServer) -> None:
    guarded_server.flush()
    jam = jam_as(guarded_server)
    whole_life(jam)
    end = time.monotonic() + 10
    while jam.store.link.view.as_of < 0:  # type: ignore[attr-defined]
        jam.get_session(jam.create_session("ann", {}))
        assert time.monotonic() < end, "the near cache does not come up"
        time.sleep(0.02)
    jam.store.close()  # type: ignore[attr-defined]


@each_case("right", ["evalsha", "hgetall", "zadd", "pexpire", "set"])
def test_none_of_them_is_too_many(guarded_server: RedisServer, right: str) -> None:
    client = guarded_server.client()
    client.execute_command("ACL", "SETUSER", "jam", f"-{right}")
    jam = jam_as(guarded_server)
    try:
        with pytest.raises(StoreUnavailable):
            whole_life(jam)
    finally:
        client.execute_command("ACL", "SETUSER", "jam", f"+{right}")
        jam.store.close()  # type: ignore[attr-defined]
