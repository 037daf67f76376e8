"""HTTP Basic on Redis: several processes, a store that is killed, and what a guess costs."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from flask import Flask

from flask_jam import BasicExtension, Jam, SessionExtension, basic_required, session_required
from flask_jam.schemes.basic import basic_header
from flask_jam.stores.redis import RedisStore

from ..conftest import SECRET
from ..servers import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


class Table:
    """The users of an app; it counts the checks."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def check(self, name: str, password: str) -> str | None:
        self.asked.append(name)
        return name if (name, password) == ("ann", "right") else None


def new_app(jam: Jam, table: Table) -> Flask:
    app = Flask("on_redis")
    SessionExtension(jam, app)
    BasicExtension(table.check, jam, app)
    guards = {
        "basic": basic_required,
        "session": session_required | basic_required,
        "optional": basic_required(optional=True),
    }
    for name, guard in guards.items():
        app.add_url_rule(f"/{name}", name, guard(lambda: "in"))
    return app


def sent(name: str, password: str) -> dict[str, str]:
    return {"Authorization": basic_header(name, password)}


ANN = sent("ann", "right")


def test_an_unknown_name_costs_what_a_known_one_costs(redis_server: RedisServer) -> None:
    redis_server.flush()
    jam = Jam({"jwt": {"secret_key": SECRET}, "redis_url": redis_server.url, "near_cache": False})
    table = Table()
    client = new_app(jam, table).test_client()
    try:
        client.get("/basic", headers=sent("warm", "up"))
        costs = set()
        for name in ("ann", "unknown", "", "x" * 256, "ann"):
            before, asked = redis_server.questions(), len(table.asked)
            assert client.get("/basic", headers=sent(name, "wrong")).status_code == 401
            costs.add((redis_server.questions() - before, len(table.asked) - asked))
        assert costs == {(1, 1)}
    finally:
        close(jam)


def close(jam: Jam) -> None:
    assert isinstance(jam.store, RedisStore)
    jam.store.close()


@pytest.mark.parametrize("near", [True, False])
def test_a_store_that_is_killed_is_a_503_and_authenticates_no_user(near: bool) -> None:
    table = Table()
    with RedisServer() as server:
        url = {"redis_url": server.url, "near_cache": near, "near_cache_silence": 0.2}
        jam = Jam({"jwt": {"secret_key": SECRET}, **url})
        client = new_app(jam, table).test_client()
        assert client.get("/basic", headers=ANN).status_code == 200
        server.stop()
        time.sleep(0.5)  # longer than the near cache believes what it has heard
        try:
            for headers in (ANN, sent("ann", "wrong"), sent("unknown", "x")):
                for path in ("/basic", "/session", "/optional"):
                    answer = client.get(path, headers=headers)
                    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
                    assert "WWW-Authenticate" not in answer.headers
            assert table.asked == ["ann"]
        finally:
            close(jam)


#: Answers each line, a password, with the status of a request and the number of checks so far.
PROCESS = """
import sys
from flask import Flask
from flask_jam import BasicExtension, Jam, basic_required
from flask_jam.schemes.basic import basic_header

url, near, secret = sys.argv[1:]
jam = Jam({"jwt": {"secret_key": secret}, "redis_url": url, "near_cache": near == "near"})
users, asked = jam.store.client(), []

def check(name, password):
    asked.append(name)
    return "id-7" if users.get("password").decode() == password else None

app = Flask("one_of_many")
BasicExtension(check, jam, app)
app.add_url_rule("/", "view", basic_required(lambda: "in"))
for line in sys.stdin:
    sent = {"Authorization": basic_header("ann", line.strip())}
    status = app.test_client().get("/", headers=sent).status_code
    print(status, len(asked), flush=True)
jam.store.close()
"""


class Process:
    """One of the processes that serve an app."""

    def __init__(self, url: str, near: str) -> None:
        self.running = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", PROCESS, url, near, SECRET],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip

    def ask(self, password: str) -> tuple[int, int]:
        assert self.running.stdin is not None
        assert self.running.stdout is not None
        self.running.stdin.write(password + "\n")
        self.running.stdin.flush()
        status, asked = self.running.stdout.readline().split()
        return int(status), int(asked)

    def end(self) -> None:
        self.running.communicate(timeout=10)


@pytest.mark.parametrize("near", ["near", "asked"])
def test_two_processes_forget_an_old_password_at_once(redis_server: RedisServer, near: str) -> None:
    redis_server.flush()
    users = redis_server.client()
    users.set("password", "old")
    jam = Jam({"jwt": {"secret_key": SECRET}, "redis_url": redis_server.url})
    processes = [Process(redis_server.url, near) for _ in range(2)]
    try:
        for each in processes:
            assert [each.ask("old") for _ in range(3)] == [(200, 1)] * 3
        users.set("password", "new")
        assert [each.ask("old") for each in processes] == [(200, 1)] * 2  # nothing told them
        jam.revoke_subject("id-7")
        if near == "near":
            time.sleep(1.0)  # near_cache_silence: the bound if the push is lost
        for each in processes:
            assert each.ask("old") == (401, 2)
            assert [each.ask("new") for _ in range(3)][1:] == [(200, 4)] * 2
    finally:
        for each in processes:
            each.end()
        users.close()
        close(jam)
