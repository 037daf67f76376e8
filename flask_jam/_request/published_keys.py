"""The route of ``jwt.jwks_path``: the public keys, for services that verify our tokens."""

from __future__ import annotations

import hashlib
import json

from flask import Response, abort, request

from .._credentials.key_members import public_set
from .._credentials.key_states import JWKS_MAX_AGE
from ..errors import ConfigError
from ..guards import public
from ..jam import Jam
from ..keys import Key
from .app_state import AppState

ENDPOINT = "flask_jam_jwks"


class PublishedKeys:
    """The view that answers with a JWK Set (RFC 7517), serialized once for each key ring."""

    def __init__(self, jam: Jam) -> None:
        self._jam = jam
        #: The keys, and the text that was written of them. Not their names: a ring that was written
        #: by hand may give a name to another key.
        self._written: tuple[tuple[Key, ...] | None, bytes] = (None, b"")

    def answer(self) -> Response:
        """Return the set, or 304 to a client that has it; 404 if every key is a secret."""
        body = self._body()
        if body is None:
            abort(404)
        response = Response(body, mimetype="application/json")
        response.cache_control.public = True
        response.cache_control.max_age = JWKS_MAX_AGE
        response.set_etag(hashlib.sha256(body).hexdigest()[:32])
        response.make_conditional(request)
        return response

    def _body(self) -> bytes | None:
        keys = self._jam.verifier.keyring.keys
        known, body = self._written
        if known is not keys:
            found = public_set(keys)
            body = json.dumps(found, separators=(",", ":")).encode() if found["keys"] else b""
            self._written = keys, body
        return body or None


def check_path(state: AppState) -> None:
    """Refuse to serve an app of which another route has the path of the public keys.

    :raises ConfigError: as others would read there what is not the keys.
    """
    path = state.jam.settings.jwt.jwks_path
    for rule in state.app.url_map.iter_rules():
        if rule.rule == path and rule.endpoint != ENDPOINT and "GET" in (rule.methods or {"GET"}):
            raise ConfigError(
                f"jwt.jwks_path: the endpoint {rule.endpoint} has the path {path} already: remove "
                "it, or publish the keys at another path"
            )


def publish_keys(state: AppState, path: str) -> None:
    """Add the route to an app, marked ``@public``."""
    keys = PublishedKeys(state.jam)
    state.app.add_url_rule(path, ENDPOINT, public(keys.answer))
    state.start_checks.append(check_path)
