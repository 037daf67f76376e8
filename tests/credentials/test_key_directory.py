"""The directory of a key ring: read strictly, private, replaced in one step."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flask_jam import ConfigError
from flask_jam._credentials.key_directory import (
    FILE,
    LOCK,
    KeyringDirectory,
    members_of,
    text_of,
)
from flask_jam._credentials.key_members import make_key, private_member
from flask_jam._credentials.key_states import Member

from ..cases import each_case

NOW = 1_800_000_000.0


@pytest.fixture
def directory(tmp_path: Path) -> KeyringDirectory:
    path = tmp_path / "keys"
    path.mkdir(mode=0o700)
    return KeyringDirectory(str(path))


def member(at: float = NOW) -> Member:
    key = make_key("HS256")
    return Member(key.kid, "HS256", key, at, at)


def write(directory: KeyringDirectory, *members: Member) -> None:
    with directory.locked():
        directory.write(members)


def said(job: Callable[[], object]) -> str:
    with pytest.raises(ConfigError) as caught:
        job()
    return str(caught.value)


# --- writing and reading ------------------------------------------------------------------------


def test_ring_reads_back_as_it_was_written(directory: KeyringDirectory) -> None:
    ended = replace(member(NOW - 5), key=None, retired_at=NOW + 0.5, forced=True)
    assert directory.read() == []
    assert directory.stamp() is None
    write(directory, ended, member())
    first = directory.read()
    assert [each.retired_at for each in first] == [NOW + 0.5, None]
    write(directory, *first)
    again = directory.read()
    assert [each.key and each.key.private for each in again] == [
        each.key and each.key.private for each in first
    ]
    assert again[0] == ended


def test_only_the_owner_can_read_what_is_written(directory: KeyringDirectory) -> None:
    old = os.umask(0)
    try:
        write(directory, member())
    finally:
        os.umask(old)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.path.iterdir()}
    assert modes == {FILE: 0o600, LOCK: 0o600}


def test_stamp_changes_with_every_write_and_with_the_mode(
    directory: KeyringDirectory,
) -> None:
    seen = []
    for change in (member, member, lambda: None):
        made = change()
        if made is None:
            directory.file.chmod(0o400)
        else:
            write(directory, made)
        seen.append(directory.stamp())
    assert len(set(seen)) == 3
    assert directory.stamp() == seen[-1]


def test_path_is_that_of_the_start_wherever_a_process_goes(
    directory: KeyringDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(directory, member())
    monkeypatch.chdir(tmp_path)
    relative = KeyringDirectory("keys")
    monkeypatch.chdir("/")
    assert len(relative.read()) == 1


# --- who may get in -------------------------------------------------------------------------------


@each_case("mode", [0o701, 0o704, 0o702, 0o770, 0o755, 0o1777])
def test_directory_that_others_can_get_into_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / f"open-{mode:o}"
    path.mkdir()
    path.chmod(mode)
    directory = KeyringDirectory(str(path))
    for job in (directory.read, directory.stamp, directory.locked().__enter__):
        assert "chmod 700" in said(job)


@each_case("mode", [0o604, 0o660, 0o644, 0o602])
def test_file_that_others_can_read_is_refused(directory: KeyringDirectory, mode: int) -> None:
    write(directory, member())
    directory.file.chmod(mode)
    assert "chmod 600" in said(directory.read)


def test_group_may_read(directory: KeyringDirectory) -> None:
    write(directory, member())
    directory.path.chmod(0o750)
    directory.file.chmod(0o440)
    assert len(directory.read()) == 1


def test_group_that_may_read_a_ring_may_read_the_next_one(directory: KeyringDirectory) -> None:
    write(directory, member())
    directory.file.chmod(0o640)
    for _ in range(2):
        write(directory, member(), member())
        info = directory.file.stat()
        assert (stat.S_IMODE(info.st_mode), info.st_gid) == (0o640, directory.path.stat().st_gid)
    assert len(directory.read()) == 2


def test_link_to_a_shared_ring_is_not_replaced(directory: KeyringDirectory, tmp_path: Path) -> None:
    write(directory, member())
    shared = directory.file.rename(tmp_path / "shared.json")
    directory.file.symlink_to(shared)
    assert "is a link" in said(lambda: write(directory, member(), member()))
    assert len(directory.read()) == 1


def test_read_only_mount_has_any_mode_and_its_files_do_not(
    directory: KeyringDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(directory, member())
    directory.path.chmod(0o1777)
    seen = os.statvfs(directory.path)

    class ReadOnly:
        f_flag = seen.f_flag | os.ST_RDONLY

    monkeypatch.setattr(os, "statvfs", lambda path: ReadOnly())
    assert len(directory.read()) == 1
    directory.file.chmod(0o644)
    assert "0400" in said(directory.read)


def test_mounted_secret_is_read_again_when_its_link_is_swapped(tmp_path: Path) -> None:
    """An orchestrator writes a new folder and swaps the link ``..data`` to it."""
    mount = tmp_path / "mount"
    mount.mkdir(mode=0o700)
    directory, kids = KeyringDirectory(str(mount)), []
    (mount / FILE).symlink_to(f"..data/{FILE}")
    stamps = set()
    for number in range(2):
        folder = mount / f"..{number}"
        folder.mkdir()
        (folder / FILE).write_text(text_of([member()]))
        (folder / FILE).chmod(0o400)
        (mount / "..data_tmp").symlink_to(folder.name)
        (mount / "..data_tmp").rename(mount / "..data")
        kids.append(directory.read()[0].kid)
        stamps.add(directory.stamp())
    assert len(set(kids)) == len(stamps) == 2


# --- what is no ring ----------------------------------------------------------------------------


def test_missing_directory_says_what_makes_it(tmp_path: Path) -> None:
    assert "mkdir -m 700" in said(KeyringDirectory(str(tmp_path / "none")).read)


def test_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "must be a directory" in said(KeyringDirectory(str(tmp_path / "file")).read)
    assert said(KeyringDirectory(str(tmp_path / "file" / "x")).read)


def put(make: str, path: Path) -> None:
    """Put something odd in the place of the file."""
    if make == "loop":
        path.symlink_to(path.name)
    elif make == "directory":
        path.mkdir()
    elif make == "pipe":
        os.mkfifo(path, 0o600)
    elif make == "device":
        path.symlink_to("/dev/zero")
    elif make == "huge":
        path.touch(0o600)
        os.truncate(path, 1 << 40)


@each_case("make", ["loop", "directory", "pipe", "device", "huge"])
def test_odd_file_in_its_place_is_refused_at_once(tmp_path: Path, make: str) -> None:
    path = tmp_path / f"at-{make}"
    path.mkdir(mode=0o700)
    put(make, path / FILE)
    assert "jwt.keyring" in said(KeyringDirectory(str(path)).read)


def test_dangling_link_is_a_ring_without_a_file_yet(directory: KeyringDirectory) -> None:
    directory.file.symlink_to("..data/keyring.json")
    assert (directory.read(), directory.stamp()) == ([], None)


def test_other_files_in_the_directory_are_not_read(directory: KeyringDirectory) -> None:
    write(directory, member())
    for name in ("keyring.json.bak", ".keyring.json.swp", "x.pem", "keyring.json~"):
        (directory.path / name).write_bytes(b"\xff{")
    (directory.path / "loop").symlink_to("loop")
    assert len(directory.read()) == 1


GOOD = json.loads(text_of([member()]))["keys"][0]
ENDED = {"kid": "k", "alg": "HS256", "created_at": 1, "active_at": 1, "retired_at": 1}
BROKEN: dict[str, Any] = {
    "nothing": b"", "half": json.dumps({"keys": [GOOD]}).encode()[:-20], "no JSON": b"PEM",
    "a list": b"[]", "no keys": b"{}", "keys of another type": b'{"keys": {}}',
    "twice a name": b'{"keys": [], "keys": []}', "UTF-16": '{"keys": []}'.encode("utf-16"),
    "deep": b'{"keys": ' + b"[" * 5000 + b"]" * 5000 + b"}", "no object": {"keys": ["x"]},
    "null": {"keys": [None]}, "many": {"keys": [ENDED] * 201},
    "twice a kid": {"keys": [GOOD, GOOD]},
    **{f"{name} {value!r}": {"keys": [{**GOOD, name: value}]}
       for name in ("created_at", "active_at", "retired_at")
       for value in (None, "1", True, [], 1e300, 2**60)},
    "an infinite time": json.dumps({"keys": [{**GOOD, "active_at": float("inf")}]}).encode(),
    "no time": {"keys": [{**GOOD, "active_at": None}]},
    "ended without a kid": {"keys": [{**ENDED, "kid": None}]},
    "ended without an alg": {"keys": [{**ENDED, "alg": 1}]},
    "ended with a kid for a terminal": {"keys": [{**ENDED, "kid": "\x1b[2J"}]},
}  # fmt: skip


@each_case("what", BROKEN)
def test_what_is_no_whole_ring_is_refused_without_quoting_it(what: str) -> None:
    raw = BROKEN[what]
    with pytest.raises(ConfigError) as caught:
        members_of(raw if isinstance(raw, bytes) else json.dumps(raw).encode(), "FILE")
    assert "FILE" in str(caught.value)
    assert GOOD["k"] not in str(caught.value)


# --- writers ------------------------------------------------------------------------------------


def test_failed_write_leaves_the_old_ring_and_no_trace(
    directory: KeyringDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(directory, member())
    before = directory.file.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for module, name in ((os, "fsync"), (os, "replace"), (fcntl, "flock")):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, full)
            assert "No space left" in said(lambda: write(directory, member()))
        assert directory.file.read_bytes() == before
        assert {path.name for path in directory.path.iterdir()} == {FILE, LOCK}


def test_next_writer_removes_what_a_killed_one_left(directory: KeyringDirectory) -> None:
    (directory.path / f"{FILE}.new-0123").write_text("half")
    write(directory, member())
    assert {path.name for path in directory.path.iterdir()} == {FILE, LOCK}


def test_second_writer_waits_for_the_first(
    directory: KeyringDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []

    def second() -> None:
        with directory.locked():
            order.append("second")

    with directory.locked():
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.1)
        order.append("first")
        monkeypatch.setattr("flask_jam._credentials.key_directory._PATIENCE", 0.0)
        assert "another command" in said(lambda: directory.locked().__enter__())
    thread.join(5)
    assert order == ["first", "second"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write as another user")
def test_ring_that_root_writes_belongs_to_the_owner_of_the_directory(
    directory: KeyringDirectory,
) -> None:
    os.chown(directory.path, 12345, 12345)
    write(directory, member())
    owners = {path.stat().st_uid for path in directory.path.iterdir()}
    assert owners == {12345}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_file_of_root_that_was_linked_to_here_stays_with_root(
    directory: KeyringDirectory, tmp_path: Path
) -> None:
    foreign = tmp_path / "shadow"
    foreign.touch(0o600)
    os.link(foreign, directory.path / LOCK)
    os.chown(directory.path, 12345, 12345)
    write(directory, member())
    assert (foreign.stat().st_uid, directory.file.stat().st_uid) == (0, 12345)


def test_private_members_are_whole(directory: KeyringDirectory) -> None:
    made = member()
    write(directory, made)
    assert made.key is not None
    (entry,) = json.loads(directory.file.read_text())["keys"]
    assert entry.items() >= private_member(made.key).items()
