"""``flask jam apikeys``: the keys of a user on the command line."""

from __future__ import annotations

import json
import re
from typing import Any

from flask import Flask

from flask_jam import Jam
from flask_jam._cli.inspection import inspect

from ..cases import each_case
from ..conftest import Clock
from .test_commands import NASTY, MakeJam, failed, new_app, run, told
from .test_commands import shared as shared  # a fixture

KEYS = ("apikeys",)


def jam_of(app: Flask) -> Jam:
    return app.extensions["jam"]  # type: ignore[no-any-return]


def created(app: Flask, *options: str) -> dict[str, Any]:
    return dict(json.loads(told(app, *KEYS, "create", "alice", *options, "--format", "json")))


def test_a_key_is_printed_once_and_alone(shared: Flask) -> None:
    done = run(shared, *KEYS, "create", "alice", "--name", "backup")
    key = done.stdout.rstrip("\n")
    assert done.exit_code == 0
    assert jam_of(shared).api_keys.lookup(key).owner == "alice"
    assert key not in done.stderr
    assert "not shown again" in done.stderr
    listed = run(shared, *KEYS, "list", "alice", "--format", "json")
    assert key not in listed.stdout
    assert json.loads(listed.stdout)[0]["handle"] in done.stderr


def test_what_a_key_may_do_is_said_by_options(shared: Flask, clock: Clock) -> None:
    made = created(
        shared, "--name", "n", "--scope", "a", "--scope", "b", "--role", "ops",
        "--expires-in", "90d",
    )  # fmt: skip
    assert (made["scopes"], made["roles"]) == (["a", "b"], ["ops"])
    assert made["expires_at"] == clock.now + 90 * 86400
    plain = created(shared, "--name", "n")
    assert (plain["expires_at"], plain["last_used_at"], plain["scopes"]) == (None, None, [])


@each_case(
    ("text", "seconds"), [("90d", 7776000), ("12h", 43200), ("30m", 1800), ("5s", 5), ("60", 60)]
)
def test_a_time_has_a_unit(shared: Flask, clock: Clock, text: str, seconds: int) -> None:
    made = created(shared, "--name", "n", "--expires-in", text)
    assert made["expires_at"] == clock.now + seconds


@each_case("text", ["", "x", "1y", "-1", "1.5d", "1 d", "d", "٣d", "9" * 13, "1dd"])
def test_a_time_that_is_none_is_said(shared: Flask, text: str) -> None:
    said = failed(shared, *KEYS, "create", "alice", "--name", "n", f"--expires-in={text}", code=2)
    assert "such as 90d" in said


def test_the_list_shows_no_key_and_moves_no_cursor(shared: Flask, clock: Clock) -> None:
    jam = jam_of(shared)
    key, info = jam.create_api_key("alice", name="backup", scopes={"a"}, roles={NASTY})
    jam.api_keys.lookup(key)
    head, row = told(shared, *KEYS, "list", "alice").splitlines()
    assert head.split("  ")[0].strip() == "handle"
    assert row.startswith(info.handle)
    assert "\x1b" not in row
    assert key not in row
    assert row.count("Z") >= 2
    assert told(shared, *KEYS, "list", "bob").count("\n") == 1


def test_a_user_of_another_issuer_has_keys_of_their_own(shared: Flask) -> None:
    there = ("--issuer", "https://idp.example")
    own, made = (created(shared, "--name", "n", *each)["handle"] for each in ((), there))
    lists = [told(shared, *KEYS, "list", "alice", *each) for each in ((), there)]
    assert [(own in each, made in each) for each in lists] == [(True, False), (False, True)]
    assert failed(shared, *KEYS, "rotate", "alice", made)
    assert failed(shared, *KEYS, "revoke", "alice", own, *there)
    told(shared, *KEYS, "rotate", "alice", made, *there, "--format", "json")
    (newer,) = jam_of(shared).list_api_keys("alice", "https://idp.example")
    told(shared, *KEYS, "revoke", "alice", newer.handle, *there)
    assert jam_of(shared).list_api_keys("alice", "https://idp.example") == []
    assert [each.handle for each in jam_of(shared).list_api_keys("alice")] == [own]


def test_a_rotation_prints_the_new_key(shared: Flask, clock: Clock) -> None:
    jam = jam_of(shared)
    old, info = jam.create_api_key("alice", name="n")
    done = run(shared, *KEYS, "rotate", "alice", info.handle, "--overlap", "1h")
    new = done.stdout.strip()
    assert done.exit_code == 0
    assert jam.api_keys.lookup(new)
    assert jam.api_keys.lookup(old)
    clock.tick(3600)
    assert inspect(jam, old)["good"] is False
    assert "rotated before" in failed(shared, *KEYS, "rotate", "alice", info.handle)


def test_a_revocation_ends_a_key_of_that_subject(shared: Flask) -> None:
    jam = jam_of(shared)
    key, info = jam.create_api_key("alice", name="n")
    assert "bob has no API key" in failed(shared, *KEYS, "revoke", "bob", info.handle)
    assert "Revoked" in told(shared, *KEYS, "revoke", "alice", info.handle)
    assert "alice has no API key" in failed(shared, *KEYS, "revoke", "alice", info.handle)
    assert inspect(jam, key)["reason"] == "revoked"


def test_revoking_a_subject_counts_the_keys(shared: Flask) -> None:
    jam_of(shared).create_api_key("alice", name="n")
    assert "0 session(s), and 1 API key(s)." in told(shared, "revoke", "alice")
    assert "0 session(s)." in told(shared, "revoke", "alice")


def test_the_pattern_finds_the_keys_of_the_app(shared: Flask, make_jam: MakeJam) -> None:
    own = made_by(shared)
    assert re.findall(told(shared, *KEYS, "pattern").strip(), f'"{own}"') == [own]
    other = new_app(make_jam(api_key={"prefix": "acme"}))
    assert re.findall(told(other, *KEYS, "pattern").strip(), f'"{own}"') == []


def made_by(app: Flask) -> str:
    return jam_of(app).create_api_key("alice", name="n")[0]


def test_keys_in_the_memory_of_another_process_are_out_of_reach(app: Flask) -> None:
    for arguments in (
        ("create", "alice", "--name", "n"), ("list", "alice"), ("rotate", "alice", "x"),
        ("revoke", "alice", "x"),
    ):  # fmt: skip
        assert "API keys are in the memory" in failed(app, *KEYS, *arguments)


@each_case(
    ("arguments", "sentence"),
    [
        (("create", "alice", "--name", ""), "name must be"),
        (("create", "alice", "--name", "n", "--scope", "a b"), "scopes"),
        (("create", "", "--name", "n"), "subject"),
        (("create", "alice", "--name", "n", "--expires-in", "0"), "expires_in"),
        (("rotate", "alice", "no-such"), "no API key"),
        (("rotate", "alice", NASTY), "no API key"),
        (("revoke", "alice", NASTY), "no API key"),
    ],
)
def test_a_wrong_argument_is_a_sentence(shared: Flask, arguments: Any, sentence: str) -> None:
    said = failed(shared, *KEYS, *arguments)
    assert sentence in said
    assert "\x1b" not in said


def test_a_key_needs_a_name(shared: Flask) -> None:
    assert "--name" in failed(shared, *KEYS, "create", "alice", code=2)


def test_inspect_says_what_a_key_is_and_why_it_is_refused(make_jam: MakeJam, clock: Clock) -> None:
    jam = make_jam()
    key, info = jam.create_api_key(
        "alice", name="n", scopes={"a"}, roles={"ops"}, expires_in=60, data={"secret": "x"}
    )
    found = inspect(jam, key)
    note = found.pop("note")
    assert "memory" in note
    assert found == {
        "kind": "API key", "good": True, "subject": "alice", "handle": info.handle, "name": "n",
        "created_at": clock.now, "expires_at": clock.now + 60, "scopes": ["a"], "roles": ["ops"],
        "data": {"secret": "***"},
    }  # fmt: skip
    wrong = (key[:-1] + ("0" if key[-1] != "0" else "1"), key.upper())
    assert ["checksum" in inspect(jam, each)["detail"] for each in wrong] == [True, True]
    assert "another app" in inspect(make_jam(), key)["detail"]
    clock.tick(60)
    assert inspect(jam, key)["reason"] == "expired"
    foreign, _ = jam.create_api_key("bob", name="n", issuer="https://idp.example")
    assert inspect(jam, foreign)["issuer"] == "https://idp.example"


def test_each_command_says_what_it_does_and_what_each_option_is_for(shared: Flask) -> None:
    for name in ("create", "list", "rotate", "revoke", "pattern"):
        said = told(shared, *KEYS, name, "--help", terminal_width=160)
        assert said.startswith(f"Usage: flask jam apikeys {name} ")
        for line in said.partition("Options:\n")[2].splitlines():
            assert line.split("  ")[-1].strip().endswith((".", "]")), line
