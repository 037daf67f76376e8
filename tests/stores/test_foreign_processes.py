"""A foreign token that is revoked in one process is refused in another, long before a silence."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from flask_jam import Accepted, Jam

from ..cases import each_case
from ..foreign import DROP, Provider
from ..servers import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
IDP = Provider("https://idp.example/", 7)
#: So long Redis may be silent, and a request may be let in after a cut: far more than is measured.
SILENCE = 20.0
CHILD = """
import json, sys, time
from flask_jam import Jam, TokenError
from flask_jam.issuers import Issuer

told = json.loads(sys.stdin.readline())
jam = Jam(told["config"], issuers=[Issuer(**told["issuer"])])
jam.verify_jwt_token(told["token"])
time.sleep(0.3)  # the link that pushes changes is up
jam.verify_jwt_token(told["token"])
print("in", flush=True)
until = time.time() + 15
while time.time() < until:
    try:
        jam.verify_jwt_token(told["token"])
    except TokenError as error:
        hits = jam.stats()["near_cache"]["hits"]
        print(json.dumps([time.time(), str(error.reason), hits]), flush=True)
        break
    time.sleep(0.0005)
"""


def presented(jam: Jam, token: str) -> Accepted:
    """What ``current_auth()`` is in a request with a token."""
    facts = jam.verifier.verify(token)
    accepted = Accepted("jwt", "header", facts.sub, facts.fresh(), issuer=facts.issuer)
    return accepted._replace(token_id=facts.mark)


@each_case(("more", "revoke"), [
    ({}, lambda jam, token: jam.revoke_token(token)),
    ({"jti": DROP}, lambda jam, token: jam.revoke_token(token)),
    ({}, lambda jam, token: jam.revoke_subject("ann", IDP.name)),
    ({}, lambda jam, token: jam.revoke_token(presented(jam, token))),
])  # fmt: skip
def test_a_foreign_token_is_refused_in_another_process_within_milliseconds(
    redis_server: RedisServer, more: dict[str, Any], revoke: Callable[[Jam, str], object]
) -> None:
    redis_server.flush()
    now = int(time.time())
    token = IDP.token(**{"iat": now - 5, "exp": now + 300, **more})
    rules = {"issuer": IDP.name, "audience": "api", "algorithms": ["ES256"], "jwks": IDP.jwks}
    config = {"redis_url": redis_server.url, "near_cache_silence": SILENCE}
    jam = Jam(config, issuers=[IDP.issuer()])
    program = [sys.executable, "-c", CHILD]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            print(json.dumps({"config": config, "issuer": rules, "token": token}), file=child.stdin,
                  flush=True)  # fmt: skip
            assert child.stdout.readline() == "in\n"
            began = time.time()
            revoke(jam, token)
            at, reason, hits = json.loads(child.stdout.readline())
            assert (reason, hits > 0) == ("revoked", True)
            assert at - began < SILENCE / 20, "it was not pushed"
        finally:
            child.kill()
            with suppress(AttributeError):
                jam.store.close()  # type: ignore[attr-defined]
