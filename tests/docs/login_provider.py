"""A login provider without a network, for docs/social-login.rst: OpenID Connect, and OAuth."""

from __future__ import annotations

import json
import secrets
import time
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from flask import Flask, abort, request
from jwt.algorithms import ECAlgorithm
from requests.adapters import BaseAdapter

GOOGLE = "https://accounts.google.com"
KEY, FALSE_KEY = (generate_private_key(SECP256R1()) for _ in range(2))
JWK = {**json.loads(ECAlgorithm.to_jwk(KEY.public_key())), "kid": "1"}
#: Who logs in there, what its token says in place of the usual, and with which key.
user: dict[str, Any] = {}
claims: dict[str, Any] = {}
key = [KEY]
is_down = [False]
_codes: dict[str, dict[str, str]] = {}

app = Flask(__name__)


@app.get("/.well-known/openid-configuration")
def metadata() -> dict[str, Any]:
    return {
        "issuer": GOOGLE,
        "authorization_endpoint": f"{GOOGLE}/authorize",
        "token_endpoint": f"{GOOGLE}/token",
        "jwks_uri": f"{GOOGLE}/keys",
        "id_token_signing_alg_values_supported": ["ES256"],
    }


@app.get("/keys")
def keys() -> dict[str, Any]:
    return {"keys": [JWK]}


def authorize(url: str) -> dict[str, str]:
    """Have the user agree; return what the browser brings back to the callback."""
    asked = dict(parse_qsl(urlsplit(url).query))
    code = secrets.token_hex(8)
    _codes[code] = asked
    return {"code": code, "state": asked["state"]}


@app.post("/token")
@app.post("/login/oauth/access_token")
def token() -> dict[str, Any]:
    asked = _codes.pop(request.form.get("code", ""), None)
    hashed = sha256(request.form.get("code_verifier", "").encode()).digest()
    challenge = urlsafe_b64encode(hashed).rstrip(b"=").decode()
    if asked is None or asked["code_challenge"] != challenge:
        abort(400)
    answer = {"access_token": "opaque", "token_type": "Bearer"}
    if "openid" in asked["scope"]:
        answer["id_token"] = _id_token(asked)
    return answer


def _id_token(asked: dict[str, str]) -> str:
    now = int(time.time())
    usual = {
        "iss": GOOGLE, "aud": asked["client_id"], "iat": now, "exp": now + 300,
        "nonce": asked["nonce"], **user,
    }  # fmt: skip
    return jwt.encode({**usual, **claims}, key[0], "ES256", headers={"kid": "1"})


@app.errorhandler(400)
def bad_code(error: Exception) -> tuple[dict[str, str], int]:
    return {"error": "invalid_grant"}, 400


@app.get("/user")
def github_user() -> dict[str, Any]:
    return user


class Wire(BaseAdapter):
    """Answer the requests of Authlib with the app above."""

    def send(self, request: Any, *args: Any, **options: Any) -> requests.Response:
        if is_down[0] or options["timeout"] is None:
            raise requests.ConnectionError
        sent = app.test_client().open(
            urlsplit(request.url).path, method=request.method, data=request.body,
            headers=dict(request.headers),
        )  # fmt: skip
        answer = requests.Response()
        answer.status_code, answer._content = sent.status_code, sent.data
        answer.headers.update(sent.headers)
        return answer

    def close(self) -> None:
        """Hold nothing open."""
