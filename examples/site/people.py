"""Who may log in. A real application asks its database here."""

from __future__ import annotations

from flask import Flask, current_app
from werkzeug.security import check_password_hash, generate_password_hash

_PEOPLE = {
    "alice": (generate_password_hash("wonderland"), "admin"),
    "bob": (generate_password_hash("builder"), "reader"),
}
# Checked for unknown names, so that they take as long as known ones.
_NOBODY = (generate_password_hash("nobody"), "")


def init_app(app: Flask) -> None:
    app.extensions["closed_accounts"] = {}


def is_right(name: str, password: str) -> bool:
    password_hash, _ = _PEOPLE.get(name, _NOBODY)
    return check_password_hash(password_hash, password) and name in _PEOPLE and not is_closed(name)


def names() -> list[str]:
    return sorted(_PEOPLE)


def role_of(name: str) -> str | None:
    return _PEOPLE[name][1] if name in _PEOPLE else None


def close(name: str) -> None:
    current_app.extensions["closed_accounts"][name] = True


def is_closed(name: str) -> bool:
    return name in current_app.extensions["closed_accounts"]
