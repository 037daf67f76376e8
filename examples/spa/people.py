"""Who may log in. A real application asks its database here."""

from __future__ import annotations

from werkzeug.security import check_password_hash, generate_password_hash

_PEOPLE = {
    "alice": (generate_password_hash("wonderland"), "editor"),
    "bob": (generate_password_hash("builder"), "reader"),
}
# Checked for unknown names, so that they take as long as known ones.
_NOBODY = (generate_password_hash("nobody"), "")


def is_right(name: str, password: str) -> bool:
    password_hash, _ = _PEOPLE.get(name, _NOBODY)
    return check_password_hash(password_hash, password) and name in _PEOPLE


def role_of(name: str) -> str | None:
    return _PEOPLE[name][1] if name in _PEOPLE else None
