"""``flask jam keyring …``: what it prints, how it exits, and that it shows no secret."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from flask_jam import Jam, JWTExtension
from flask_jam._credentials.key_states import SPREAD
from flask_jam.stores.memory import MemoryStore

from ..cases import each_case
from ..conftest import SECRET, Clock
from .test_commands import failed, run, told

NOW = "2027-01-15 08:00:00Z"


class Ring:
    """An app on a directory of keys, and its commands."""

    def __init__(self, path: Path, clock: Clock, **jwt: Any) -> None:
        path.mkdir(mode=0o700, exist_ok=True)
        self.file, self.clock = path / "keyring.json", clock
        self.jam = Jam({"jwt": {"keyring": str(path), **jwt}}, store=MemoryStore(), clock=clock)
        self.app = Flask("shop", static_folder=None)
        JWTExtension(self.jam, self.app)

    def told(self, *arguments: str) -> str:
        return told(self.app, "keyring", *arguments)

    def failed(self, *arguments: str, code: int = 1) -> str:
        return failed(self.app, "keyring", *arguments, code=code)

    def run(self, *arguments: str) -> Result:
        return run(self.app, "keyring", *arguments)

    def listed(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.told("list", "--format", "json"))["keys"]
        return found

    def kids(self) -> dict[str, str]:
        """The last key of each state."""
        return {each["state"]: each["kid"] for each in self.listed()}

    def secrets(self) -> list[str]:
        raw = self.file.read_text() if self.file.exists() else ""
        return re.findall(r'"(?:d|k|p|q|dp|dq|qi)": "([^"]+)"', raw)


@pytest.fixture
def ring(tmp_path: Path, clock: Clock) -> Ring:
    """A ring of three keys: one retiring, one that signs, one that waits."""
    ring = Ring(tmp_path / "keys", clock, alg="EdDSA", leeway=5)
    for _ in range(2):
        ring.told("rotate")
        clock.tick(SPREAD)
    ring.told("rotate")
    return ring


def test_list_explains_every_state_by_its_times(ring: Ring) -> None:
    ring.clock.tick(1)
    lines = [line.split(maxsplit=3) for line in ring.told("list").splitlines()]
    assert [line[1:] for line in lines] == [
        ["EdDSA", "retiring", "signed until 2027-01-15 08:00:22Z; verifies until "
         "2027-01-29 08:00:38Z, jwt.refresh_idle (14 d) + jwt.leeway (5 s) + 11 s for workers "
         "and clocks later"],
        ["EdDSA", "active", "signs since 2027-01-15 08:00:22Z until 2027-01-15 08:00:33Z"],
        ["EdDSA", "pending", "signs from 2027-01-15 08:00:33Z: by then every worker has read it"],
    ]  # fmt: skip
    assert [line[0] for line in lines] == [each["kid"] for each in ring.listed()]


def test_list_explains_that_copies_of_the_public_keys_must_expire(
    tmp_path: Path, clock: Clock
) -> None:
    ring = Ring(tmp_path / "keys", clock, alg="EdDSA", jwks_path="/keys.json")
    ring.told("rotate")
    clock.tick(SPREAD)
    ring.told("rotate")
    assert ring.told("list").endswith(
        "signs from 2027-01-15 08:05:22Z: by then every worker has read it, and each copy of the "
        "public keys (5 min) has expired\n"
    )


def test_list_of_no_key_says_what_makes_one(tmp_path: Path, clock: Clock) -> None:
    ring = Ring(tmp_path / "keys", clock)
    assert "flask jam keyring rotate" in ring.told("list")
    assert ring.listed() == []


def test_list_as_json_has_every_time_and_what_it_comes_from(ring: Ring) -> None:
    found = json.loads(ring.told("list", "--format", "json"))
    assert found["waits"] == {
        "spread": 11, "jwks_max_age": 0, "longest_life": 1209600,
        "longest_life_setting": "jwt.refresh_idle", "leeway": 5, "before_signing": 11,
        "after_signing": 1209616,
    }  # fmt: skip
    first, second, third = found["keys"]
    assert first["signs_until"] == second["signs_from"]
    assert second["signs_until"] == third["signs_from"] == ring.clock() + SPREAD
    assert first["retires_at"] == first["signs_until"] + 1209616
    assert [third["signs_until"], third["retires_at"], third["forced"]] == [None, None, False]


def test_secret_key_is_listed_with_the_moment_to_remove_it(tmp_path: Path, clock: Clock) -> None:
    ring = Ring(tmp_path / "keys", clock, secret_key=SECRET)
    assert "jwt.secret_key: signs\n" in ring.told("list")
    ring.told("rotate")
    clock.tick(SPREAD)
    first, second = ring.told("list").splitlines()
    assert "jwt.secret_key: signed until 2027-01-15 08:00:11Z; remove it from the settings" in first
    assert "active" in second
    assert SECRET not in first


def test_rotate_says_when_the_new_key_signs_and_the_old_one_ends(ring: Ring) -> None:
    ring.clock.tick(SPREAD)
    active = ring.kids()["active"]
    said = ring.told("rotate")
    pending = ring.kids()["pending"]
    assert said.startswith(
        f"Made the key {pending} for EdDSA. It signs from 2027-01-15 08:00:44Z.\n"
    )
    assert f"{active} signed until 2027-01-15 08:00:44Z; verifies until 2027-01-29" in said


def test_rotate_with_nothing_due_exits_with_0(ring: Ring) -> None:
    before = ring.file.read_bytes()
    pending = ring.kids()["pending"]
    assert ring.told("rotate") == (
        f"Nothing to do: the key {pending} signs from 2027-01-15 08:00:33Z.\n"
    )
    assert ring.file.read_bytes() == before


def test_dry_run_changes_nothing(ring: Ring) -> None:
    ring.clock.tick(SPREAD)
    before = {path: path.stat().st_mtime_ns for path in ring.file.parent.iterdir()}
    said = ring.told("rotate", "--dry-run")
    assert said.startswith("Would make a key for EdDSA. It signs from 2027-01-15 08:00:44Z.\n")
    assert {path: path.stat().st_mtime_ns for path in ring.file.parent.iterdir()} == before


def test_another_algorithm_is_taken_from_then_on(ring: Ring) -> None:
    ring.clock.tick(SPREAD)
    ring.told("rotate", "--alg", "ES256")
    ring.clock.tick(SPREAD)
    ring.told("rotate")
    assert [each["alg"] for each in ring.listed()] == ["EdDSA"] * 3 + ["ES256"] * 2


def test_fleet_that_needs_longer_waits_longer_and_never_shorter(ring: Ring) -> None:
    ring.clock.tick(SPREAD)
    assert "at least 11" in ring.failed("rotate", "--activate-after", "10")
    for wrong in ("-1", "nan", "1e9", "x"):
        assert ring.run("rotate", "--activate-after", wrong).exit_code in (1, 2)
    ring.told("rotate", "--activate-after", "3600")
    assert ring.listed()[-1]["signs_from"] == ring.clock() + 3600


def test_retire_refuses_a_key_in_use_and_force_ends_it(ring: Ring) -> None:
    kids = ring.kids()
    assert "may be alive" in ring.failed("retire", kids["retiring"])
    assert "signs now" in ring.failed("retire", kids["active"])
    assert "no key x" in ring.failed("retire", "x")
    said = ring.told("retire", kids["active"], "--force")
    assert f"{kids['pending']} signs now." in said
    assert "retired" in ring.told("retire", kids["active"])
    states = {each["kid"]: (each["state"], each["forced"]) for each in ring.listed()}
    assert states[kids["active"]] == ("retired", True)
    assert "by force" in ring.told("list")
    assert len(ring.secrets()) == 2


def test_kid_that_begins_with_a_dash_is_a_kid(ring: Ring) -> None:
    for kid in ("-x", "--x", "-"):
        assert f"no key {kid}" in ring.failed("retire", kid)
        assert f"no key {kid}" in ring.failed("retire", "--force", kid)


def test_export_is_public_and_private_only_when_asked(ring: Ring) -> None:
    public = json.loads(ring.told("export"))
    assert [each["kid"] for each in public["keys"]] == [each["kid"] for each in ring.listed()]
    assert all(set(each) == {"kty", "crv", "x", "kid", "alg", "use"} for each in public["keys"])
    assert json.loads(ring.told("export", "--private")) == json.loads(ring.file.read_text())
    assert "add --private" in ring.failed("export", "--format", "env", code=2)


def test_private_export_is_a_ring_on_another_machine(
    ring: Ring, tmp_path: Path, clock: Clock
) -> None:
    (tmp_path / "other").mkdir(mode=0o700)
    copy = tmp_path / "other" / "keyring.json"
    copy.touch(0o400)
    copy.write_text(ring.told("export", "--private"))
    other = Ring(tmp_path / "other", clock, alg="EdDSA", leeway=5)
    token = ring.jam.issue_tokens("ann")["access_token"]
    assert other.jam.verify_jwt_token(token)["sub"] == "ann"
    assert other.listed() == ring.listed()


@each_case("alg", ["HS256", "ES256"])
def test_ring_leads_back_to_settings_without_a_logout(
    tmp_path: Path, clock: Clock, alg: str
) -> None:
    ring = Ring(tmp_path / f"keys-{alg}", clock, alg=alg)
    ring.told("rotate")
    clock.tick(SPREAD)
    pairs = [ring.jam.issue_tokens("ann")]
    ring.told("rotate")
    clock.tick(SPREAD)
    if alg == "ES256":
        assert "room for one private key" in ring.failed("export", "--private", "--format", "env")
        clock.tick(14 * 86400 + SPREAD)
        pairs = []
    ring.jam.keyring_watch.look()  # type: ignore[union-attr]
    pairs.append(ring.jam.issue_tokens("ann"))
    lines = ring.told("export", "--private", "--format", "env").splitlines()
    written = dict(line.split("=", 1) for line in lines)
    jwt = {name.removeprefix("JAM_JWT_").lower(): value for name, value in written.items()}
    back = Jam({"jwt": jwt}, store=ring.jam.store, clock=clock)
    for pair in pairs:
        assert back.verify_jwt_token(pair["access_token"])["sub"] == "ann"
        new = back.refresh_tokens(pair["refresh_token"])
        # While workers are replaced, those on the ring take what the new ones mint.
        assert ring.jam.verify_jwt_token(new["access_token"])["sub"] == "ann"
        assert ring.jam.refresh_tokens(new["refresh_token"])["token_type"] == "Bearer"


def test_secret_keys_have_no_public_half_to_export(tmp_path: Path, clock: Clock) -> None:
    ring = Ring(tmp_path / "keys", clock)
    ring.told("rotate")
    assert "no public key" in ring.failed("export")


def test_no_command_but_one_shows_a_secret(ring: Ring) -> None:
    ring.clock.tick(SPREAD)
    seen = set(ring.secrets())
    said = []
    for arguments in (
        ["list"], ["list", "--format", "json"], ["export"], ["rotate", "--dry-run"], ["rotate"],
        ["retire", ring.kids()["active"], "--force"], ["list"],
    ):  # fmt: skip
        said.append(ring.run(*arguments).output)
        seen |= set(ring.secrets())
    said.append(run(ring.app, "doctor").output)
    assert len(seen) >= 4
    assert not [secret for secret in seen if secret in "".join(said)]


def test_without_a_ring_each_command_says_what_to_set(jam: Jam) -> None:
    app = Flask("shop")
    JWTExtension(jam, app)
    for command in (["list"], ["rotate"], ["retire", "x"], ["export"]):
        assert "JAM_JWT_KEYRING" in failed(app, "keyring", *command)


def test_directory_that_went_bad_is_one_sentence(ring: Ring) -> None:
    ring.file.write_text("{")
    for command in (["list"], ["rotate"], ["retire", "x"], ["export"]):
        assert "cut off" in ring.failed(*command)
    ring.file.parent.chmod(0o755)
    assert "chmod 700" in ring.failed("rotate")


@pytest.mark.slow
def test_command_of_the_shell_makes_a_ring(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "from flask import Flask\nfrom flask_jam import JWTExtension\n"
        "app = Flask(__name__)\nJWTExtension(app=app)\n"
    )
    (tmp_path / "keys").mkdir(mode=0o700)
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "shop", "jam", "keyring", "rotate"],
        cwd=tmp_path, env={"JAM_JWT_KEYRING": "keys", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Made the key ")
