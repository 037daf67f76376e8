"""Made once, without an app; each app that ``create_app`` makes has its own Jam and state."""

from __future__ import annotations

from flask_jam import ApiKeyExtension, JWTExtension, SessionExtension

session = SessionExtension(cookie_name="site_session")  # for browsers
jwt = JWTExtension()  # for the app on a phone
api_keys = ApiKeyExtension(owner_grants=lambda auth: {"scopes": auth.user.scopes})  # for scripts
