"""The directory of a key ring: one file, read strictly and replaced in one step.

``keyring.json`` is a JWK Set with the private keys and their timestamps. A change writes a new file
and renames it: a reader sees the old ring or the new one, even if the writer is killed at any
point. A lock admits one writer at a time; the system releases it with its process.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .._helpers.strict_json import LARGEST_TIMESTAMP, strict_object
from ..errors import ConfigError, TokenError
from .key_members import check_names, private_member, read_member
from .key_states import Member

FILE, LOCK = "keyring.json", "keyring.lock"
_NEW = f"{FILE}.new-"
#: The largest size of a ring, in bytes: a hundred RSA keys need half of it.
_MOST_BYTES = 1 << 20
#: Keys with a private half in one ring.
MOST_KEYS = 100
#: How long a writer waits for another one, in seconds.
_PATIENCE = 10.0
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

#: Values that change with the file.
Stamp = tuple[int, ...]


class KeyringDirectory:
    """Read and replace the ring of a directory.

    :param path: an existing directory that other users of the machine cannot read.
    """

    def __init__(self, path: str) -> None:
        # A process may change its directory later.
        self.path = Path(path).absolute()
        self.file = self.path / FILE

    # --- reading ---

    def stamp(self) -> Stamp | None:
        """Return values that change with the file; None if there is no file.

        :raises ConfigError: if the directory is missing or open to others.
        """
        self._check_directory()
        try:
            return _stamp_of(self.file.stat())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreadable(error) from None

    def read(self, *, was_there: bool = False) -> list[Member]:
        """Return the members; none if there is no file yet.

        :param was_there: the file was just seen: that it is gone now is an error.
        :raises ConfigError: if the file cannot be read, is open to others or is not a ring.
        """
        self._check_directory()
        raw = self._raw()
        if raw is None and was_there:
            raise self.gone()
        return [] if raw is None else members_of(raw, str(self.file))

    def gone(self) -> ConfigError:
        """Return the error of a file that is missing, and was there before."""
        return ConfigError(f"jwt.keyring: {self.file} is gone")

    def _raw(self) -> bytes | None:
        try:
            # A pipe in its place must not block.
            descriptor = os.open(self.file, os.O_RDONLY | _FLAGS)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreadable(error) from None
        try:
            self._check_file(os.fstat(descriptor))
            with open(descriptor, "rb", closefd=False) as file:
                return file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise self._unreadable(error) from None
        finally:
            os.close(descriptor)

    def _check_directory(self) -> None:
        try:
            info = self.path.stat()
        except FileNotFoundError:
            raise ConfigError(
                f"jwt.keyring: there is no directory {self.path}; mkdir -m 700 makes it"
            ) from None
        except OSError as error:
            raise ConfigError(f"jwt.keyring: {self.path}: {_why(error)}") from None
        if not stat.S_ISDIR(info.st_mode):
            raise ConfigError(f"jwt.keyring must be a directory, and {self.path} is a file")
        if _is_open(info) and not self._is_mounted():
            raise ConfigError(
                f"jwt.keyring: other users of this machine can get into {self.path}: chmod 700"
            )

    def _check_file(self, info: os.stat_result) -> None:
        if not stat.S_ISREG(info.st_mode):
            raise ConfigError(f"jwt.keyring: {self.file} is no regular file")
        if _is_open(info):
            raise ConfigError(
                f"jwt.keyring: other users of this machine can read {self.file}: chmod 600, or "
                "mount the secret with the mode 0400"
            )
        if info.st_size > _MOST_BYTES:
            raise ConfigError(f"jwt.keyring: {self.file} is too large to be a ring")

    def _is_mounted(self) -> bool:
        """Return True for a read-only mount: its directory may have any mode, its files count."""
        try:
            return bool(os.statvfs(self.path).f_flag & os.ST_RDONLY)
        except (OSError, AttributeError):
            return False

    def _unreadable(self, error: OSError) -> ConfigError:
        return ConfigError(f"jwt.keyring: {self.file} cannot be read: {_why(error)}")

    # --- writing ---

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one writer in; the others wait.

        :raises ConfigError: if another writer holds the lock for long, or nothing can be written.
        """
        self._check_directory()
        descriptor = self._opened(self.path / LOCK, os.O_RDWR | os.O_CREAT)
        try:
            self._acquire(descriptor)
            self._sweep()
            yield
        finally:
            os.close(descriptor)

    def _acquire(self, descriptor: int) -> None:
        try:
            import fcntl  # noqa: PLC0415 - not on every system
        except ImportError:
            raise ConfigError("jwt.keyring: a ring is changed on a POSIX system only") from None
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass  # another writer has it
            except OSError as error:  # a file system without locks
                raise self._unwritable(error) from None
            if time.monotonic() > end:
                raise ConfigError(f"jwt.keyring: another command is changing {self.path}")
            time.sleep(0.05)

    def _sweep(self) -> None:
        """Remove files that a killed writer has left."""
        for left in self.path.glob(f"{_NEW}*"):
            with suppress(OSError):
                left.unlink()

    def write(self, members: Sequence[Member]) -> None:
        """Replace the ring in one step; call it within :meth:`locked`.

        :raises ConfigError: if it could not be written: then the old ring stays.
        """
        if self.file.is_symlink():  # of a mounted secret, or a copy: those who share it saw nothing
            raise ConfigError(
                f"jwt.keyring: {self.file} is a link: run this command where the ring is made"
            )
        raw = text_of(members).encode()
        new = self.path / f"{_NEW}{secrets.token_hex(8)}"
        descriptor = self._opened(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            with open(descriptor, "wb") as file:
                self._keep_group(descriptor)
                file.write(raw)
                file.flush()
                os.fsync(descriptor)
            os.replace(new, self.file)
            self._sync_directory()
        except OSError as error:
            with suppress(OSError):
                new.unlink()
            raise self._unwritable(error) from None

    def _opened(self, path: Path, flags: int) -> int:
        try:
            descriptor = os.open(path, flags | _FLAGS | getattr(os, "O_NOFOLLOW", 0), 0o600)
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            self._hand_over(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise self._unwritable(error) from None
        return descriptor

    def _hand_over(self, descriptor: int) -> None:
        """Give what root writes to the owner of the directory, who runs the app.

        Not what has another name elsewhere: the owner may have linked a file of root's to here.
        """
        is_root = hasattr(os, "geteuid") and os.geteuid() == 0
        if is_root and os.fstat(descriptor).st_nlink == 1:
            owner = self.path.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)

    def _keep_group(self, descriptor: int) -> None:
        """Let the group read what it could read before: an app whose ring another user rotates."""
        with suppress(FileNotFoundError):
            old = self.file.stat()
            if os.name == "posix" and old.st_mode & stat.S_IRGRP:
                os.fchown(descriptor, -1, old.st_gid)
                os.fchmod(descriptor, stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP)

    def _sync_directory(self) -> None:
        # The ring has been replaced: a file system that cannot do this is no failure.
        with suppress(OSError):
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _unwritable(self, error: OSError) -> ConfigError:
        return ConfigError(
            f"jwt.keyring: {self.path} cannot be written: {_why(error)}. Run this command where "
            "the ring is made, as the user that owns it"
        )


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _is_open(info: os.stat_result) -> bool:
    """Return True if others can read it, or a group can write it."""
    return os.name == "posix" and bool(info.st_mode & (stat.S_IRWXO | stat.S_IWGRP))


def _stamp_of(info: os.stat_result) -> Stamp:
    # ctime also changes with the mode: then the file is checked again.
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


# --- the file -------------------------------------------------------------------------


def text_of(members: Sequence[Member]) -> str:
    """Return members as the content of the file: a secret."""
    return json.dumps({"keys": [_entry(member) for member in members]}, indent=1, allow_nan=False)


def _entry(member: Member) -> dict[str, Any]:
    named = {"kid": member.kid, "alg": member.alg}
    written = named if member.key is None else private_member(member.key)
    times = {"created_at": member.created_at, "active_at": member.active_at}
    if member.retired_at is not None:
        return {**written, **times, "retired_at": member.retired_at, "forced": member.forced}
    return {**written, **times}


def members_of(raw: bytes, name: str) -> list[Member]:
    """Return the members in the content of a file.

    :raises ConfigError: if it is not a complete ring; the sentence quotes nothing of it.
    """
    try:
        entries = strict_object(raw).get("keys")
    except TokenError:
        raise ConfigError(f"jwt.keyring: {name} is cut off or no strict JSON") from None
    if not isinstance(entries, list) or len(entries) > 2 * MOST_KEYS:
        raise ConfigError(f"jwt.keyring: {name} is no ring: it must have a list of keys")
    members = []
    for number, entry in enumerate(entries, 1):
        try:
            members.append(_member(entry))
        except ValueError as error:
            raise ConfigError(f"jwt.keyring: key {number} of {name} {error}") from None
    if len({member.kid for member in members}) < len(members):
        raise ConfigError(f"jwt.keyring: two keys of {name} have one kid")
    return members


def _member(entry: Any) -> Member:
    if not isinstance(entry, Mapping):
        raise ValueError("is no object")
    times = _time(entry, "created_at"), _time(entry, "active_at")
    if "retired_at" not in entry:
        key = read_member(entry)
        return Member(key.kid, key.alg, key, *times)
    kid, alg = check_names(entry)
    forced = entry.get("forced") is True
    return Member(kid, alg, None, *times, retired_at=_time(entry, "retired_at"), forced=forced)


def _time(entry: Mapping[str, Any], name: str) -> float:
    value = entry.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"has no {name}: a number of seconds")
    if not math.isfinite(value) or abs(value) > LARGEST_TIMESTAMP:
        raise ValueError(f"has a {name} that is no timestamp")
    return float(value)
