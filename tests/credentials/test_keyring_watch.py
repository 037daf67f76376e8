"""A Jam on a key ring: what verifies and signs while keys change. No request reads a file."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest

from flask_jam import ConfigError, Jam, TokenError
from flask_jam._credentials import keyring_watch
from flask_jam._credentials.key_directory import KeyringDirectory
from flask_jam._credentials.key_rotation import Change, retire, rotate
from flask_jam._credentials.key_states import SPREAD, Member, Ring
from flask_jam._credentials.keyring_watch import KeyringWatch, UnreadRing, is_retired
from flask_jam.stores.memory import MemoryStore

from ..cases import each_case
from ..conftest import SECRET, Clock
from ..servers import holds_in_fork

DAY = 86400.0


class Rotating:
    """A directory with an operator, and the Jams of a fleet that read it."""

    def __init__(self, path: Path, clock: Clock) -> None:
        path.mkdir(mode=0o700)
        self.path, self.clock, self.store = path, clock, MemoryStore()
        self.directory = KeyringDirectory(str(path))

    def jam(self, **jwt: Any) -> Jam:
        config = {"jwt": {"keyring": str(self.path), **jwt}}
        return Jam(config, store=self.store, clock=self.clock)

    def change(self, jam: Jam, step: Callable[[Ring], Change]) -> Change:
        watch = watch_of(jam)
        change = step(Ring([*watch.configured, *self.directory.read()], watch.lives))
        if change.members is not None:
            with self.directory.locked():
                self.directory.write(change.members)
        return change

    def rotate(self, jam: Jam, alg: str = "HS256") -> Member:
        now, wait = self.clock(), watch_of(jam).lives.wait
        return self.change(jam, lambda ring: rotate(ring, now, alg, wait)).about

    def retire(self, jam: Jam, kid: str) -> None:
        now = self.clock()
        self.change(jam, lambda ring: retire(ring, kid, now, force=True))


def watch_of(jam: Jam) -> KeyringWatch:
    assert jam.keyring_watch is not None
    return jam.keyring_watch


def look(*jams: Jam) -> None:
    for jam in jams:
        watch_of(jam).look()


def kid_of(jam: Jam) -> str:
    return jam.verifier.keyring.signing_key().kid


def refused(job: Callable[[], object]) -> bool:
    try:
        job()
    except TokenError:
        return True
    return False


@pytest.fixture
def ring(tmp_path: Path, clock: Clock) -> Rotating:
    return Rotating(tmp_path / "keys", clock)


@pytest.fixture
def jam(ring: Rotating) -> Jam:
    """One on a ring with one key, which was looked at."""
    jam = ring.jam()
    ring.rotate(jam)
    look(jam)
    ring.clock.tick(SPREAD)
    return jam


# --- a rotation ---------------------------------------------------------------------------------


@each_case("alg", ["HS256", "EdDSA"])
def test_rotation_logs_no_user_out(tmp_path: Path, clock: Clock, alg: str) -> None:
    ring = Rotating(tmp_path / alg, clock)
    ahead, behind = ring.jam(), ring.jam()
    ring.rotate(ahead, alg)
    look(ahead, behind)
    pairs = [ahead.issue_tokens("ann")]
    clock.tick(SPREAD)
    for _ in range(3):
        ring.rotate(ahead, alg)
        look(ahead, behind)
        clock.tick(SPREAD)
        look(ahead)  # it signs with the next key before the other worker has looked again
        pairs.append(ahead.issue_tokens("ann"))
        for pair in pairs[-2:]:
            assert behind.verify_jwt_token(pair["access_token"])["sub"] == "ann"
        pairs.append(behind.refresh_tokens(pairs[-1]["refresh_token"]))
        look(behind)
        pairs[0] = ahead.refresh_tokens(pairs[0]["refresh_token"])
        assert ahead.verify_jwt_token(pairs[0]["access_token"])["sub"] == "ann"
        clock.tick(60)
    assert len({kid_of(ahead), kid_of(behind)}) == 1
    assert len(ahead.verifier.keyring.keys) == 4


def test_refresh_token_lives_as_long_as_its_key_after_a_rotation(ring: Rotating, jam: Jam) -> None:
    pair = jam.issue_tokens("ann")
    first = kid_of(jam)
    ring.rotate(jam)
    ring.clock.tick(14 * DAY - 1)  # jwt.refresh_idle, just before its end
    look(jam)
    assert kid_of(jam) != first
    pair = jam.refresh_tokens(pair["refresh_token"])
    ring.clock.tick(14 * DAY - 1)
    look(jam)
    assert [key.kid for key in jam.verifier.keyring.keys] == [kid_of(jam)]
    assert jam.refresh_tokens(pair["refresh_token"])["token_type"] == "Bearer"


def test_kept_refresh_token_outlives_a_rotation(ring: Rotating) -> None:
    jam = ring.jam(rotate_refresh_tokens=False)
    ring.rotate(jam)
    look(jam)
    refresh = jam.issue_tokens("ann")["refresh_token"]
    ring.clock.tick(SPREAD)
    ring.rotate(jam)
    ring.clock.tick(14 * DAY - SPREAD - 1)
    look(jam)
    assert jam.refresh_tokens(refresh)["token_type"] == "Bearer"


def test_forced_end_of_a_key_ends_its_access_and_refresh_tokens(ring: Rotating, jam: Jam) -> None:
    other = ring.jam()
    old = jam.issue_tokens("ann")
    look(other)
    for each in (jam, other):
        each.verify_jwt_token(old["access_token"])  # it is in the cache
    session = jam.create_session("ann", {})
    ring.rotate(jam)
    ring.clock.tick(SPREAD)
    look(jam, other)
    new = jam.issue_tokens("bob")
    old_kid = min(watch_of(jam).ring.members, key=lambda member: member.active_at).kid
    ring.retire(jam, old_kid)
    look(jam, other)
    for each in (jam, other):
        assert refused(lambda each=each: each.verify_jwt_token(old["access_token"]))
        assert refused(lambda each=each: each.refresh_tokens(old["refresh_token"]))
        assert each.verify_jwt_token(new["access_token"])["sub"] == "bob"
        assert each.get_session(session) == {}
        assert is_retired(watch_of(each), old_kid)
        assert not is_retired(watch_of(each), kid_of(each))
    assert jam.refresh_tokens(new["refresh_token"])["token_type"] == "Bearer"


def test_retired_key_is_refused_from_the_moment_that_list_shows(ring: Rotating, jam: Jam) -> None:
    ring.rotate(jam)
    watch = watch_of(jam)
    look(jam)
    first = watch.ring.members[0]
    end = watch.ring.retires_at(first)
    assert end == ring.clock() + SPREAD + SPREAD + 14 * DAY
    for now, verifies in ((end - 0.1, True), (end, False)):
        ring.clock.now = now
        look(jam)
        assert (jam.verifier.keyring.find({"kid": first.kid}) is not None) is verifies


def test_clock_that_jumps_leaves_one_key_that_signs(ring: Rotating, jam: Jam) -> None:
    ring.rotate(jam)
    now = ring.clock()
    for moment in (now - 1e6, now + 1e9, now):
        ring.clock.now = moment
        look(jam)
        token = jam.issue_tokens("ann", refresh=False)["access_token"]
        assert jam.verify_jwt_token(token)["sub"] == "ann"


# --- from secret_key to a ring, and back ----------------------------------------------------------


def test_secret_key_makes_way_for_a_ring_without_a_logout(ring: Rotating) -> None:
    plain = Jam({"jwt": {"secret_key": SECRET}}, store=ring.store, clock=ring.clock)
    pair = plain.issue_tokens("ann")
    jam = ring.jam(secret_key=SECRET, alg="EdDSA")
    look(jam)
    # An empty directory changes nothing: workers of both settings understand each other.
    assert plain.verify_jwt_token(jam.issue_tokens("bob")["access_token"])["sub"] == "bob"
    ring.rotate(jam, "EdDSA")
    look(jam)
    assert kid_of(jam) == kid_of(plain)
    ring.clock.tick(SPREAD)
    look(jam)
    assert jam.verifier.keyring.signing_key().alg == "EdDSA"
    assert jam.verify_jwt_token(pair["access_token"])["sub"] == "ann"
    refreshed = jam.refresh_tokens(pair["refresh_token"])
    alone = ring.jam()
    look(alone)
    assert alone.verify_jwt_token(refreshed["access_token"])["sub"] == "ann"
    assert alone.refresh_tokens(refreshed["refresh_token"])["token_type"] == "Bearer"


def test_token_without_a_kid_is_of_the_secret_key_beside_a_ring(ring: Rotating) -> None:
    now = ring.clock()
    claims = {"sub": "ann", "jti": "1", "iat": now, "exp": now + 800}
    token = pyjwt.encode(claims, SECRET, "HS256")
    both = ring.jam(secret_key=SECRET)
    for _ in range(2):
        ring.rotate(both)
        ring.clock.tick(SPREAD)
        look(both)
        assert both.verify_jwt_token(token)["sub"] == "ann"
    other = pyjwt.encode(claims, SECRET[::-1], "HS256")
    assert refused(lambda: both.verify_jwt_token(other))
    assert refused(lambda: ring.jam().verify_jwt_token(token))


def test_private_key_verifies_beside_a_ring(ring: Rotating) -> None:
    from flask_jam.keys import new_key

    pem = new_key("ES256")["JAM_JWT_PRIVATE_KEY"]
    plain = Jam({"jwt": {"alg": "ES256", "private_key": pem}}, store=ring.store, clock=ring.clock)
    pair = plain.issue_tokens("ann")
    jam = ring.jam(alg="ES256", private_key=pem)
    ring.rotate(jam, "EdDSA")
    ring.clock.tick(SPREAD)
    look(jam)
    assert jam.verify_jwt_token(pair["access_token"])["sub"] == "ann"
    assert jam.refresh_tokens(pair["refresh_token"])["token_type"] == "Bearer"


def test_fallback_secrets_verify_beside_a_ring(ring: Rotating) -> None:
    former = SECRET[::-1]
    plain = Jam({"jwt": {"secret_key": former}}, store=ring.store, clock=ring.clock)
    pair = plain.issue_tokens("ann")
    jam = ring.jam(secret_key=SECRET, secret_key_fallbacks=[former])
    look(jam)
    assert kid_of(jam) != kid_of(plain)
    ring.rotate(jam)
    ring.clock.tick(SPREAD)
    look(jam)
    assert len(jam.verifier.keyring.keys) == 3
    assert jam.verify_jwt_token(pair["access_token"])["sub"] == "ann"
    assert jam.refresh_tokens(pair["refresh_token"])["token_type"] == "Bearer"


# --- what cannot be read ------------------------------------------------------------------------


def test_directory_that_cannot_be_used_is_an_error_at_start(ring: Rotating) -> None:
    ring.path.chmod(0o755)
    with pytest.raises(ConfigError, match="chmod 700"):
        ring.jam(secret_key=SECRET)
    ring.path.chmod(0o700)
    ring.directory.file.write_text("{")
    ring.directory.file.chmod(0o600)
    with pytest.raises(ConfigError, match="cut off"):
        ring.jam(secret_key=SECRET)


def test_empty_directory_without_another_key_says_what_makes_one(ring: Rotating) -> None:
    jam = ring.jam()
    look(jam)
    with pytest.raises(ConfigError, match="flask jam keyring rotate"):
        jam.issue_tokens("ann")
    assert refused(lambda: jam.verify_jwt_token("a.b.c"))
    ring.rotate(jam)
    look(jam)
    assert jam.issue_tokens("ann")


@each_case("damage", ["cut off", "gone", "emptied", "open file", "open directory", "loop"])
def test_damage_later_changes_nothing_and_is_logged_once(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    ring = Rotating(tmp_path / f"keys-{damage}", clock)
    jam = ring.jam()
    ring.rotate(jam)
    look(jam)
    file, raw = ring.directory.file, ring.directory.file.read_bytes()
    if damage == "cut off":
        file.write_bytes(raw[:-30])
    elif damage == "emptied":
        file.write_text('{"keys": []}')
    elif damage == "open directory":
        ring.path.chmod(0o755)
    elif damage == "open file":
        file.chmod(0o644)
    else:
        file.unlink()
        if damage == "loop":
            file.symlink_to(file.name)
    caplog.clear()
    with caplog.at_level(logging.WARNING, "flask_jam"):
        look(jam, jam)
        token = jam.issue_tokens("ann")["access_token"]
        assert jam.verify_jwt_token(token)["sub"] == "ann"
        (line,) = caplog.messages
        assert line.startswith("jwt.keyring: ")
        ring.path.chmod(0o700)
        if damage != "open directory":
            file.unlink(missing_ok=True)
            file.touch(0o600)
            file.write_bytes(raw)
        look(jam, jam)
        assert caplog.messages[1:] == ["the key ring can be read again"]


@each_case("secret", [None, SECRET])
def test_file_that_goes_between_two_steps_of_a_look_changes_nothing(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, secret: str | None
) -> None:
    ring = Rotating(tmp_path / f"keys-{secret is None}", clock)
    jam = ring.jam(**({"secret_key": secret} if secret else {}))
    ring.rotate(jam)
    clock.tick(SPREAD)
    look(jam)
    token, directory = jam.issue_tokens("ann")["access_token"], watch_of(jam).directory
    ring.path.joinpath("keyring.json").touch()
    seen = directory.stamp()

    def stamp() -> object:
        directory.file.unlink()
        return seen

    monkeypatch.setattr(directory, "stamp", stamp)
    look(jam)
    assert jam.verify_jwt_token(token)["sub"] == "ann"


# --- requests read no file ------------------------------------------------------------------------


def test_request_reads_an_attribute_and_no_file(
    ring: Rotating, jam: Jam, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = jam.issue_tokens("ann")["access_token"]
    before = jam.verifier.keyring
    for name in ("stamp", "read"):
        monkeypatch.setattr(KeyringDirectory, name, None)
    for _ in range(3):
        jam.verify_jwt_token(token)
        jam.issue_tokens("ann")
    assert jam.verifier.keyring is before
    assert type(before).__name__ == "KeyRing"


def test_look_that_finds_nothing_new_keeps_the_verified_tokens(ring: Rotating, jam: Jam) -> None:
    token = jam.issue_tokens("ann")["access_token"]
    jam.verify_jwt_token(token)
    look(jam)
    jam.verify_jwt_token(token)
    assert jam.verifier.cache_info().hits == 1


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[threading.Thread]]:
    """The threads that look, which do so in a loop without a pause worth mentioning."""
    monkeypatch.setattr(keyring_watch, "POLL", 0.01)
    return lambda: [each for each in threading.enumerate() if each.name == "flask_jam keyring"]


def issue_at_once(jam: Jam) -> None:
    """Use the keys for the first time in eight threads."""
    results: list[str] = []
    askers = [
        threading.Thread(target=lambda: results.append(jam.issue_tokens("ann")["access_token"]))
        for _ in range(8)
    ]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(10)
    assert len(results) == 8


def test_first_use_starts_one_thread_and_sees_what_changed_since_the_start(
    ring: Rotating, threads: Callable[[], list[threading.Thread]]
) -> None:
    jam = ring.jam()
    ring.rotate(jam)
    there = set(threads())
    assert isinstance(jam.verifier.keyring, UnreadRing)
    issue_at_once(jam)
    assert len(set(threads()) - there) == 1
    assert not isinstance(jam.verifier.keyring, UnreadRing)
    held = weakref.ref(jam)
    del jam
    end = time.monotonic() + 10
    while (set(threads()) - there or held()) and time.monotonic() < end:
        gc.collect()
        time.sleep(0.01)
    assert held() is None
    assert set(threads()) == there


def test_forked_child_looks_anew(
    ring: Rotating, jam: Jam, threads: Callable[[], list[threading.Thread]]
) -> None:
    old = jam.issue_tokens("ann")["access_token"]
    jam.verify_jwt_token(old)
    ring.retire(jam, kid_of(jam))  # this process has not seen it
    assert jam.verify_jwt_token(old)

    def sees_it() -> bool:
        return isinstance(jam.verifier.keyring, UnreadRing) and refused(
            lambda: jam.verify_jwt_token(old)
        )

    assert holds_in_fork(sees_it)


def test_directory_that_hangs_delays_the_first_use_only_and_is_logged(
    ring: Rotating, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    jam = ring.jam(secret_key=SECRET)
    hanging, going = threading.Event(), threading.Event()

    def hang(_: object) -> None:
        hanging.set()
        going.wait(10)
        raise OSError("it hung")

    monkeypatch.setattr(KeyringDirectory, "stamp", hang)
    monkeypatch.setattr(keyring_watch, "_PATIENCE", 0.05)
    try:
        token = jam.issue_tokens("ann")["access_token"]
        assert hanging.is_set()
        assert jam.verify_jwt_token(token)["sub"] == "ann"
        (line,) = caplog.messages
        assert "has not answered yet" in line
    finally:
        going.set()


def test_process_without_room_for_a_thread_goes_on(
    ring: Rotating, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    jam = ring.jam(secret_key=SECRET)
    monkeypatch.setattr(threading.Thread, "start", full)
    with caplog.at_level(logging.ERROR, "flask_jam"):
        for _ in range(2):
            assert jam.issue_tokens("ann")
    (line,) = caplog.messages
    assert "can't start new thread" in line


def test_unread_ring_is_copied_and_shown_without_a_look(ring: Rotating) -> None:
    unread = ring.jam(secret_key=SECRET).verifier.keyring
    assert "UnreadRing" in repr(unread)
    assert not hasattr(unread, "__deepcopy__")
