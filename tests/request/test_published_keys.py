"""The public keys at ``jwt.jwks_path``: what is in them, how they are cached, who reads them."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import jwt as pyjwt
import pytest
from flask import Flask
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from flask_jam import ConfigError, Jam, JWTExtension, current_auth, jwt_required, protect
from flask_jam._credentials.key_members import make_key
from flask_jam.audit import routes
from flask_jam.issuers import Issuer
from flask_jam.keys import KeyRing, new_key

from ..cases import each_case
from ..conftest import SECRET, Clock, bearer
from ..credentials.accepting import Accepting
from ..credentials.test_keyring_watch import Rotating, kid_of, look

PATH = "/.well-known/jwks.json"


def new_app(jam: Jam) -> Flask:
    app = Flask("shop", static_folder=None)
    JWTExtension(jam, app)
    app.add_url_rule("/me", "me", jwt_required(lambda: {"who": current_auth().subject}))  # type: ignore[union-attr]
    return app


def asked(app: Flask, method: str = "GET", **headers: str) -> TestResponse:
    return app.test_client().open(PATH, method=method, headers=headers)


@pytest.fixture
def ring(tmp_path: Path, clock: Clock) -> Rotating:
    return Rotating(tmp_path / "keys", clock)


@pytest.fixture
def jam(ring: Rotating) -> Jam:
    """One whose ring has a secret key that is retiring, a pair that signs, and one that waits."""
    jam = ring.jam(jwks_path=PATH)
    for alg in ("HS256", "EdDSA", "ES256"):
        ring.clock.tick(400)
        ring.rotate(jam, alg)
    look(jam)
    return jam


def test_only_public_members_of_pairs_are_published(jam: Jam) -> None:
    answer = asked(new_app(jam))
    keys = answer.json["keys"]  # type: ignore[index]
    assert [(key["alg"], key["use"]) for key in keys] == [("EdDSA", "sig"), ("ES256", "sig")]
    assert [set(key) - {"y"} for key in keys] == [{"kty", "crv", "x", "kid", "alg", "use"}] * 2
    assert keys[0]["kid"] == kid_of(jam)
    assert (answer.status_code, answer.mimetype) == (200, "application/json")


def test_answer_may_be_kept_for_less_than_a_new_key_waits(jam: Jam) -> None:
    answer = asked(new_app(jam))
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    assert answer.cache_control.max_age < jam.keyring_watch.lives.wait  # type: ignore
    assert "Vary" not in answer.headers
    assert "Set-Cookie" not in answer.headers


def test_client_that_has_the_keys_gets_304_until_they_change(ring: Rotating, jam: Jam) -> None:
    app = new_app(jam)
    tag = asked(app).headers["ETag"]
    again = asked(app, **{"If-None-Match": tag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    assert again.headers["Cache-Control"] == "public, max-age=300"
    head = asked(app, "HEAD")
    assert (head.status_code, head.data, head.headers["ETag"]) == (200, b"", tag)
    ring.retire(jam, kid_of(jam))
    look(jam)
    fresh = asked(app, **{"If-None-Match": tag})
    assert (fresh.status_code, len(fresh.json["keys"])) == (200, 1)  # type: ignore[index]


def test_ring_of_secrets_is_404(ring: Rotating, jam: Jam) -> None:
    for settings in ({"secret_key": SECRET}, {"keyring": str(ring.path), "secret_key": SECRET}):
        ring.directory.file.unlink(missing_ok=True)
        secret = Jam({"jwt": {**settings, "jwks_path": PATH}}, clock=ring.clock)
        answer = asked(new_app(secret))
        assert answer.status_code == 404
        assert SECRET not in answer.text


def test_private_key_of_the_settings_is_published_too() -> None:
    made = new_key("ES256")
    jwt = {"alg": "ES256", "private_key": made["JAM_JWT_PRIVATE_KEY"], "jwks_path": PATH}
    keys = asked(new_app(Jam({"jwt": jwt}))).json
    token = Jam({"jwt": jwt}).issue_tokens("ann")["access_token"]
    found = KeyRing.from_jwks(keys or {}).find(pyjwt.get_unverified_header(token))
    assert found is not None


def test_route_is_open_under_default_deny_and_audited_as_public(jam: Jam) -> None:
    app = new_app(jam)
    protect(app, jwt_required)
    assert asked(app).status_code == 200
    assert asked(app, Authorization="Bearer nonsense").status_code == 200
    (listed,) = [route for route in routes(app) if route.rule == PATH]
    assert (listed.origins, listed.methods) == (("public",), ("GET",))
    assert app.test_client().get("/me").status_code == 401


def test_name_that_got_another_key_is_published_anew(ring: Rotating, jam: Jam) -> None:
    app = new_app(jam)
    before = asked(app)
    *_, old = members = ring.directory.read()
    other = replace(make_key(old.alg), kid=old.kid)
    ring.directory.write([*members[:-1], replace(old, key=other)])
    look(jam)
    after = asked(app)
    names = [[key["kid"] for key in answer.json["keys"]] for answer in (before, after)]  # type: ignore[index]
    assert names[0] == names[1]
    assert after.headers["ETag"] != before.headers["ETag"]


def test_another_route_at_the_path_is_an_error(jam: Jam) -> None:
    app = Flask("shop", static_folder=None)
    app.add_url_rule(PATH, "own", lambda: {"keys": []}, methods=["GET"])
    JWTExtension(jam, app)
    app.testing = True
    with pytest.raises(ConfigError, match="endpoint own has the path"):
        asked(app)


def test_other_methods_are_405(jam: Jam) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert asked(new_app(jam), method).status_code == 405


def test_without_the_setting_there_is_no_route(ring: Rotating) -> None:
    assert asked(new_app(ring.jam(secret_key=SECRET))).status_code == 404
    assert [route.rule for route in routes(new_app(ring.jam(secret_key=SECRET)))] == ["/me"]


@each_case("token", ["", "x", "a.b.c"])
def test_app_whose_ring_has_no_key_fails_at_its_first_request(
    tmp_path: Path, clock: Clock, token: str
) -> None:
    ring = Rotating(tmp_path / f"keys{len(token)}", clock)
    jam = ring.jam()
    app = new_app(jam)
    app.testing = True
    with pytest.raises(ConfigError, match="flask jam keyring rotate"):
        app.test_client().get("/me", headers=bearer(token))
    ring.rotate(jam)
    look(jam)
    token = jam.issue_tokens("ann")["access_token"]
    assert app.test_client().get("/me", headers=bearer(token)).json == {"who": "ann"}


# --- readers of others ----------------------------------------------------------------------------


@contextmanager
def served(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{PATH}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def tokens(ring: Rotating, jam: Jam) -> list[str]:
    """A token of each key that is published."""
    found = [jam.issue_tokens("ann")["access_token"]]
    ring.clock.tick(400)
    look(jam)
    return [*found, jam.issue_tokens("bob")["access_token"]]


@pytest.mark.slow
def test_pyjwt_reads_the_keys(ring: Rotating, jam: Jam) -> None:
    made = tokens(ring, jam)
    with served(new_app(jam)) as url:
        client = pyjwt.PyJWKClient(url)
        for token, name in zip(made, ("ann", "bob"), strict=True):
            key = client.get_signing_key_from_jwt(token)
            alg = pyjwt.get_unverified_header(token)["alg"]
            no_time = {"verify_exp": False, "verify_iat": False}
            claims = pyjwt.decode(token, key, algorithms=[alg], options=no_time)  # type: ignore[arg-type]
            assert claims["sub"] == name


@pytest.mark.slow
def test_issuer_of_another_app_reads_the_keys(ring: Rotating) -> None:
    names = {"issuer": "http://127.0.0.1/", "audience": "api"}
    jam = ring.jam(jwks_path=PATH, **names)
    for alg in ("EdDSA", "ES256"):
        ring.clock.tick(400)
        ring.rotate(jam, alg)
    look(jam)
    made = tokens(ring, jam)
    with served(new_app(jam)) as url:
        rules = Issuer(**names, jwks_uri=url, algorithms=("EdDSA", "ES256"))
        other = Accepting([rules], ring.clock)
        assert [other.verify(token).sub for token in made] == ["ann", "bob"]
        other.close()


SCRIPT = """
import { createRemoteJWKSet, jwtVerify } from 'jose'
const [url, now, ...tokens] = process.argv.slice(2)
const keys = createRemoteJWKSet(new URL(url))
const found = []
for (const token of tokens) {
  const options = { currentDate: new Date(Number(now) * 1000), typ: 'JWT' }
  found.push((await jwtVerify(token, keys, options)).payload.sub)
}
console.log(JSON.stringify(found))
"""


@pytest.mark.slow
def test_jose_of_npm_reads_the_keys(ring: Rotating, jam: Jam, tmp_path: Path) -> None:
    modules = Path(__file__).parents[1] / "counterparts" / "node_modules"
    node = shutil.which("node")
    if node is None or not (modules / "jose").is_dir():
        pytest.skip("needs npm ci --prefix tests/counterparts")
    (tmp_path / "node_modules").symlink_to(modules)
    script = tmp_path / "read.mjs"
    script.write_text(SCRIPT)
    made = tokens(ring, jam)
    with served(new_app(jam)) as url:
        command = [node, str(script), url, str(ring.clock()), *made]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (json.loads(done.stdout or "null"), done.stderr) == (["ann", "bob"], "")
