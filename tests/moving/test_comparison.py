"""docs/comparison.rst: the releases that it names, and the cells that can be run in a moment."""

from __future__ import annotations

import gc
import json
import re
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
from flask import Flask

from flask_jam import Jam, JWTExtension, SessionExtension, jwt_required, session_required

from ..conftest import SECRET, bearer
from .pages import DOCS

TEXT = (DOCS / "comparison.rst").read_text(encoding="utf-8")
PEERS = {
    "Flask-JWT-Extended": "flask_jwt_extended", "Authlib": "authlib", "jamlib": "jam",
    "Flask-HTTPAuth": "flask_httpauth", "Flask-Login": "flask_login",
    "Flask-Session": "flask_session",
}  # fmt: skip
NOW = int(time.time())
CLAIMS = {"sub": "alice", "jti": "1", "iat": NOW, "exp": NOW + 600}
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning"),
]
ELSEWHERE = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}


def rows() -> Iterator[list[str]]:
    """Return the cells of each row of the tables, the heads among them."""
    for row in re.findall(r"^   \* - ?(.*\n(?:     -? ?.*\n)*)", TEXT, re.MULTILINE):
        yield [cell.strip() for cell in re.split(r"\n     - ?", row)]


def cells() -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    heads: list[str] = []
    for first, *others in rows():
        if first == "":
            heads = others
        elif heads:
            assert len(others) == len(heads), first
            found |= {(first, head): cell for head, cell in zip(heads, others, strict=True)}
    return found


def test_no_cell_of_the_comparison_is_empty() -> None:
    found = cells()
    assert len(found) > 150
    assert [place for place, cell in found.items() if not cell] == []


@pytest.mark.slow
def test_comparison_names_the_newest_releases() -> None:
    for peer, package in PEERS.items():
        pytest.importorskip(package, reason=f"needs {peer}")
        assert re.search(rf"^   \* - {peer}.*\n     - {version(peer)}$", TEXT, re.MULTILINE), peer


# --- what can be run ------------------------------------------------------------------


def an_app(view: Any, **methods: Any) -> Flask:
    app = Flask("compared")
    app.add_url_rule("/", "view", view, **methods)
    return app


def status(app: Flask, token: str | None, **options: Any) -> int:
    headers = {} if token is None else bearer(token)
    return app.test_client().get("/", headers=headers, **options).status_code


def signed(**claims: Any) -> str:
    """Return a token that holds even what PyJWT would refuse to sign."""
    typ = "at+jwt" if "client_id" in claims else "JWT"  # as RFC 9068 has it, and as jamlib does
    body = json.dumps({**CLAIMS, **claims}).encode()
    return pyjwt.api_jws.encode(body, SECRET, headers={"typ": typ})


async def asynchronous() -> str:
    return "in"


def ours(view: Any) -> Flask:
    app = an_app(jwt_required(view))
    JWTExtension(Jam({"jwt": {"secret_key": SECRET}}), app)
    return app


def jwt_extended(view: Any, **config: Any) -> Flask:
    from flask_jwt_extended import JWTManager
    from flask_jwt_extended import jwt_required as required

    app = an_app(required()(view), methods=["GET", "POST"])
    app.config.update(JWT_SECRET_KEY=SECRET, **config)
    JWTManager(app)
    return app


def authlib(view: Any, scope: str | None = None) -> Flask:
    from authlib.integrations.flask_oauth2 import ResourceProtector
    from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
    from joserfc.jwk import KeySet, OctKey

    class Validator(JWTBearerTokenValidator):  # type: ignore[misc]
        def get_jwks(self) -> Any:
            return KeySet([OctKey.import_key(SECRET)])

    protector = ResourceProtector()
    protector.register_token_validator(Validator("https://i", "api"))
    return an_app(protector(scope)(view))


RFC9068 = {"iss": "https://i", "aud": "api", "client_id": "c"}


def jamlib(view: Any, **options: Any) -> Flask:
    from jam import Jam as TheirJam
    from jam.ext.flask import JamAuth

    app = Flask("compared")
    their = TheirJam({"jose": {"jwt": {"alg": "HS256", "secret_key": SECRET}}})
    auth = JamAuth(app, jam=their, via="jwt", **options)
    app.add_url_rule("/", "view", auth.login_required(view), methods=["GET", "POST"])
    return app


def httpauth(view: Any) -> Flask:
    from flask_httpauth import HTTPTokenAuth

    auth = HTTPTokenAuth()
    auth.verify_token(lambda token: token == "good" or None)
    return an_app(auth.login_required(view))


def view() -> str:
    return "in"


TOKENS = {
    "Flask-Jam": (ours, {}),
    "Flask-JWT-Extended": (jwt_extended, {"fresh": True, "type": "access"}),
    "Authlib": (authlib, RFC9068),
    "jamlib": (jamlib, {}),
}


def runs_asynchronous_views(build: Callable[[Any], Flask], token: str) -> bool:
    app = build(asynchronous)
    app.testing = True
    try:
        return status(app, token) == 200
    except TypeError:  # a view has returned a coroutine
        return False
    finally:
        gc.collect()


@pytest.fixture
def peers() -> None:
    for package in PEERS.values():
        pytest.importorskip(package, reason="needs the extra bench")


@pytest.mark.slow
@pytest.mark.usefixtures("peers")
def test_cells_about_tokens_are_as_the_releases_behave() -> None:
    found = cells()
    for peer, (build, claims) in TOKENS.items():
        good = signed(**claims)
        assert status(build(view), good) == 200, peer
        assert found["``Bearer a.b.c``", peer] == str(status(build(view), "a.b.c"))
        runs = runs_asynchronous_views(build, good)
        assert found["``async`` views", peer] == ("yes" if runs else "no: 500"), peer
        answer = build(view).test_client().get("/", headers={})
        has_challenge = "WWW-Authenticate" in answer.headers
        assert found["``WWW-Authenticate``", peer].startswith("no") is not has_challenge, peer
        wrong = status(build(view), signed(**{**claims, "exp": "soon"}))
        expected = {"Flask-Jam": 401, "Flask-JWT-Extended": 422, "jamlib": 200}
        assert wrong == expected.get(peer, wrong), peer
    assert status(httpauth(asynchronous), "good") == 200
    assert status(httpauth(view), "a.b.c") == 401
    assert status(authlib(view, "x"), signed(**RFC9068, scope=5)) == 500


@pytest.mark.slow
@pytest.mark.usefixtures("peers")
def test_cells_about_cookies_are_as_the_releases_behave() -> None:
    from jam.ext.flask import CredentialSource

    for build, cookie, claims, expected in (
        (
            lambda: jwt_extended(view, JWT_TOKEN_LOCATION=["cookies"], JWT_COOKIE_SECURE=False),
            "access_token_cookie", TOKENS["Flask-JWT-Extended"][1] | {"csrf": "of the form"}, 401,
        ),
        (lambda: jamlib(view, sources=[CredentialSource.cookie("token")]), "token", {}, 200),
    ):  # fmt: skip
        client = build().test_client()
        client.set_cookie(cookie, signed(**claims))
        assert client.get("/").status_code == 200
        assert client.post("/", headers=ELSEWHERE).status_code == expected


@pytest.mark.slow
@pytest.mark.usefixtures("peers")
def test_cells_about_types_are_as_the_releases_say() -> None:
    found = cells()
    places = {peer: cell for (row, peer), cell in found.items() if row.startswith("types")}
    for peer, cell in places.items():
        spec = find_spec(PEERS.get(peer, "flask_jam"))
        assert spec is not None
        folder = Path(str(spec.origin)).parent
        is_typed = (folder / "py.typed").exists() and folder.name != "site-packages"
        assert cell == ("yes" if is_typed else "no"), peer


# --- sessions -------------------------------------------------------------------------


class SlowView:
    """A view during which something else happens."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], Any] = lambda: None

    def __call__(self) -> str:
        self.meanwhile()
        return "in"


@pytest.mark.slow
@pytest.mark.redis
@pytest.mark.usefixtures("peers")
def test_slow_request_revives_a_session_of_flask_session_alone(redis_server: Any) -> None:
    from flask import session
    from flask_session import Session
    from redis import Redis

    redis_server.flush()
    slow, their = SlowView(), Flask("their")
    with Redis.from_url(redis_server.url) as client:
        their.config.update(SESSION_TYPE="redis", SESSION_REDIS=client)
        Session(their)

        @their.get("/read")
        def read() -> str:
            return f"{session.get('user')} {slow()}"

        their.add_url_rule("/in", "in", lambda: session.update(user="alice") or "in")
        their.add_url_rule("/out", "out", lambda: session.clear() or "out")
        assert seen_after_the_logout(their, slow, "session") == "alice in"
    jam, our = Jam({"jwt": {"secret_key": SECRET}}), Flask("our")
    our.testing = True
    logins = SessionExtension(jam, our)
    our.add_url_rule("/read", "read", session_required(slow))
    our.add_url_rule("/in", "in", lambda: logins.login("alice"))
    our.add_url_rule("/out", "out", lambda: logins.logout() or "out")
    assert "invalid_token" in seen_after_the_logout(our, slow, "sessionId")


def seen_after_the_logout(app: Flask, slow: SlowView, name: str) -> str:
    """Log out while a request reads; return what the cookie opens after it."""
    browser, other_tab = app.test_client(), app.test_client()
    browser.get("/in")
    cookie = browser.get_cookie(name)
    assert cookie is not None
    other_tab.set_cookie(name, cookie.value)
    slow.meanwhile = lambda: other_tab.get("/out")
    browser.get("/read")
    slow.meanwhile = lambda: None
    thief = app.test_client()
    thief.set_cookie(name, cookie.value)
    return thief.get("/read").text
