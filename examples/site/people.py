"""The users. A real application asks its database here; this one forgets all at a restart."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from threading import Lock
from typing import cast

from flask import Flask, current_app
from werkzeug.security import check_password_hash, generate_password_hash

from flask_jam import Accepted

from .extensions import session

#: What the API keys of a user may do, by role.
SCOPES = {
    "reader": {"recipes:read": "Read your recipes"},
    "admin": {"recipes:read": "Read your recipes", "people:read": "List all users"},
}


@dataclass
class User:
    id: str  # the subject of the user's logins; never given to another user
    name: str
    password_hash: str = field(repr=False)
    role: str = "reader"
    is_closed: bool = False
    #: Confirmed; None for an account that has none.
    email: str | None = field(default=None, repr=False)

    @property
    def scopes(self) -> set[str]:
        return set(SCOPES[self.role])


_FIRST = (
    User("1", "alice", generate_password_hash("wonderland"), "admin", email="alice@pantry.example"),
    User("2", "bob", generate_password_hash("builder"), email="bob@pantry.example"),
)
# Checked for unknown names, so that they take as long as known ones.
_NOBODY = User("", "", generate_password_hash("nobody"))


class People:
    """Users by id. A name is taken for good, also when its account is closed."""

    def __init__(self) -> None:
        self._by_id = {user.id: replace(user) for user in _FIRST}
        self._by_name = {user.name: user for user in self._by_id.values()}
        self._lock = Lock()

    def all(self) -> list[User]:
        return list(self._by_id.values())

    def get(self, user_id: str) -> User | None:
        return self._by_id.get(user_id)

    def find(self, name: str, password: str) -> User | None:
        """Return the user of that name and password. It takes as long for an unknown name."""
        user = self._by_name.get(plain(name), _NOBODY)
        is_right = check_password_hash(user.password_hash, password)
        return user if is_right and user is not _NOBODY and not user.is_closed else None

    def add(self, name: str, password: str) -> User | None:
        """Make a user; return None if the name is taken, also by a request at the same time."""
        password_hash = generate_password_hash(password)
        with self._lock:
            if name in self._by_name:
                return None
            user = User(str(len(self._by_id) + 1), name, password_hash)
            self._by_id[user.id] = self._by_name[name] = user
        return user

    def with_email(self, address: str) -> User | None:
        """Return the user with that confirmed address."""
        return next((u for u in self.all() if u.email == address and not u.is_closed), None)

    def set_email(self, user: User, address: str) -> bool:
        """Give a user a confirmed address; return False if another user has it."""
        with self._lock:
            if self.with_email(address) not in (None, user):
                return False
            user.email = address
        return True

    def set_password(self, user: User, password: str) -> None:
        user.password_hash = generate_password_hash(password)

    def close(self, user: User) -> None:
        user.is_closed = True


def init_app(app: Flask) -> None:
    app.extensions["people"] = People()


def people() -> People:
    """Return the users of this app."""
    return cast(People, current_app.extensions["people"])


def plain(name: str) -> str:
    """Return a name as it is kept, however it was typed."""
    return name.strip().casefold()


@session.user_loader  # serves tokens and keys as well
def load_user(auth: Accepted) -> User | None:
    """Return the user with the role of today; None for an account that is closed."""
    user = people().get(auth.subject or "")
    if user is None or user.is_closed:
        return None
    auth.payload["roles"] = [user.role]
    return user
