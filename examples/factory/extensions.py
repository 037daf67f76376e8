"""Made once, without an app; each app that ``create_app`` makes has its own Jam and state."""

from __future__ import annotations

from typing import Any

from flask_jam import JWTExtension, SessionExtension

from .people import role_of


def current_roles(name: str, claims: dict[str, Any]) -> dict[str, Any] | None:
    """Asked at each refresh, so that a changed role arrives and a removed person is refused."""
    role = role_of(name)
    return None if role is None else {**claims, "roles": [role]}


jwt = JWTExtension(reload_claims=current_roles)
session = SessionExtension(cookie_name="site")
