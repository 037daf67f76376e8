"""The route of ``jwt.jwks_path``: the public keys, for services that verify our tokens."""

from __future__ import annotations

import hashlib
import json

from flask import Flask, Response, abort, request

from .._credentials.key_members import public_set
from .._credentials.key_states import JWKS_MAX_AGE
from ..guards import public
from ..jam import Jam

ENDPOINT = "flask_jam_jwks"


class PublishedKeys:
    """Answers with a JWK Set (RFC 7517), written once for each ring."""

    def __init__(self, jam: Jam) -> None:
        self._jam = jam
        #: The names of the keys, and the text that was written of them.
        self._written: tuple[tuple[str, ...], bytes] = ((), b"")

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
        names = tuple(key.kid for key in keys)
        written = self._written
        if not names or written[0] != names:
            found = public_set(keys)
            body = json.dumps(found, separators=(",", ":")).encode() if found["keys"] else b""
            self._written = written = names, body
        return written[1] or None


def publish_keys(app: Flask, jam: Jam, path: str) -> None:
    """Add the route to an app, open on purpose."""
    keys = PublishedKeys(jam)
    app.add_url_rule(path, ENDPOINT, public(keys.answer))
