"""The extensions: what ``init_app`` does, and what it refuses."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, g

from flask_jam import ConfigError, Jam, JamExtension, JWTExtension, SessionExtension, jwt_required

from .cases import each_case
from .conftest import SECRET, bearer, build_app


def test_the_jam_is_reachable(jam: Jam) -> None:
    app = Flask("reachable")
    JamExtension(jam).init_app(app)
    assert app.extensions["jam"] is jam
    assert app.test_client().get("/").status_code == 404


@each_case("extension", [JamExtension, JWTExtension, SessionExtension])
def test_the_app_is_the_second_argument(jam: Jam, extension: Any) -> None:
    app = Flask("second")
    extension(jam, app)
    assert app.extensions["jam"] is jam
    assert app.extensions["flask_jam"].jam is jam


@each_case("extension", [JamExtension, JWTExtension, SessionExtension])
def test_the_app_in_the_first_place_says_so(extension: Any) -> None:
    with pytest.raises(ConfigError, match="the app is the second"):
        extension(Flask("first"))


def test_init_app_twice_is_harmless(jam: Jam) -> None:
    app = Flask("twice")
    jwt, session = JWTExtension(jam), SessionExtension(jam)
    for _ in range(2):
        jwt.init_app(app)
        session.init_app(app)
    hooks = app.url_value_preprocessors[None]
    assert len(hooks) == 1
    app.add_url_rule("/", "view", lambda: {"payload": g.payload})
    sent = bearer(jam.issue_tokens("alice")["access_token"])
    assert app.test_client().get("/", headers=sent).json["payload"]["sub"] == "alice"


def test_a_second_jam_on_one_app_is_an_error(jam: Jam) -> None:
    app = Flask("second_jam")
    JWTExtension(jam, app)
    with pytest.raises(RuntimeError, match="another Jam already"):
        SessionExtension(Jam({"jwt": {"secret_key": SECRET}}), app)


def test_a_second_extension_of_a_kind_is_an_error(jam: Jam) -> None:
    app = Flask("second_extension")
    JWTExtension(jam, app)
    with pytest.raises(RuntimeError, match="JWTExtension already"):
        JWTExtension(jam, app, header_name="X-Other")


@each_case("extension", [JWTExtension, SessionExtension])
@each_case(
    ("names", "sentence"),
    [
        ({"header_name": None, "cookie_name": None}, "set header_name or cookie_name"),
        ({"header_name": "", "cookie_name": None}, "header_name: write letters"),
        ({"header_name": "X Y"}, "header_name: write letters"),
        ({"header_name": "X\r\nY"}, "header_name: write letters"),
        ({"header_name": 5}, "header_name: write letters"),
        ({"cookie_name": ""}, "cookie_name: write letters"),
        ({"cookie_name": "a=b"}, "cookie_name: write letters"),
        ({"cookie_name": "a b"}, "cookie_name: write letters"),
        ({"cookie_name": 5}, "cookie_name: write letters"),
    ],
)
def test_a_source_that_cannot_be_is_an_error(
    extension: Any, names: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        extension(**names)


def test_one_extension_serves_many_apps_and_keeps_them_apart() -> None:
    jwt, session = JWTExtension(), SessionExtension()
    apps = []
    for number in (1, 2):
        app = Flask(f"app{number}")
        app.config["JAM_JWT_SECRET_KEY"] = f"{number}" + SECRET
        jwt.init_app(app)
        session.init_app(app)
        app.add_url_rule("/in", "in", lambda: jwt.login("alice"))
        app.add_url_rule("/", "view", jwt_required(lambda: "in"))
        apps.append(app)
    one, two = (app.test_client() for app in apps)
    assert apps[0].extensions["jam"] is not apps[1].extensions["jam"]
    token = one.get("/in").json["access_token"]
    assert one.get("/", headers=bearer(token)).status_code == 200
    assert two.get("/", headers=bearer(token)).status_code == 401
    assert two.get("/", headers=bearer(two.get("/in").json["access_token"])).status_code == 200


def test_extensions_without_a_jam_share_one_from_app_config() -> None:
    app = Flask("configured")
    app.config.update(JAM_JWT_SECRET_KEY=SECRET, JAM_JWT_EXPIRE=60, JAM_SESSION_IDLE="120")
    extensions = [JamExtension(), JWTExtension(), SessionExtension()]
    for extension in extensions:
        extension.init_app(app)
    jam = app.extensions["jam"]
    assert (jam.settings.jwt.expire, jam.settings.session.idle) == (60, 120)
    assert jam.settings.jwt.secret_key == SECRET.encode()


def test_app_config_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAM_JWT_SECRET_KEY", SECRET)
    monkeypatch.setenv("JAM_JWT_EXPIRE", "60")
    app = Flask("layers")
    app.config["JAM_JWT_EXPIRE"] = 30
    JWTExtension().init_app(app)
    jwt = app.extensions["jam"].settings.jwt
    assert (jwt.expire, jwt.secret_key) == (30, SECRET.encode())


def test_a_misspelt_key_in_app_config_is_an_error() -> None:
    app = Flask("misspelt")
    app.config["JAM_JWT_SECRT_KEY"] = SECRET
    with pytest.raises(ConfigError, match=r"JAM_JWT_SECRT_KEY.*did you mean JAM_JWT_SECRET_KEY"):
        JWTExtension().init_app(app)


def test_no_key_is_one_warning_that_says_what_to_set() -> None:
    app = Flask("keyless")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        JWTExtension().init_app(app)
        SessionExtension().init_app(app)
    (warning,) = caught
    assert warning.category is RuntimeWarning
    assert "JAM_JWT_SECRET_KEY" in str(warning.message)
    assert "secrets.token_urlsafe" in str(warning.message)


def test_a_key_shared_with_flask_is_warned_of(jam: Jam, caplog: pytest.LogCaptureFixture) -> None:
    app = Flask("shared_key")
    app.config["SECRET_KEY"] = SECRET
    JWTExtension(jam, app)
    assert "SECRET_KEY" in caplog.text
    assert SECRET not in caplog.text


def test_no_state_of_an_app_is_on_an_extension(jam: Jam) -> None:
    jwt = JWTExtension(jam)
    before = dict(vars(jwt))
    app = Flask("stateless")
    jwt.init_app(app)
    app.test_client().get("/")
    assert vars(jwt) == before


def test_two_apps_share_nothing_but_their_jam(jam: Jam) -> None:
    one, two = build_app(jam), build_app(jam)
    assert one.extensions["flask_jam"] is not two.extensions["flask_jam"]
    token = one.test_client().post("/login/alice").json["access_token"]
    assert two.test_client().get("/jwt", headers=bearer(token)).status_code == 200
    two.test_client().post("/logout", headers=bearer(token))
    assert one.test_client().get("/jwt", headers=bearer(token)).status_code == 401


def test_importing_sets_up_no_logging_and_needs_no_redis() -> None:
    script = (
        "import logging, sys; before = list(logging.root.handlers); import flask_jam;"
        "assert logging.root.handlers == before; assert 'redis' not in sys.modules;"
        "assert 'yaml' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)


def test_the_import_brings_nothing_that_an_app_may_not_need() -> None:
    script = (
        "import sys, flask; before = set(sys.modules); import flask_jam;"
        "print(*sorted(set(sys.modules) - before))"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], check=True, timeout=60,
        capture_output=True, text=True,
    )  # fmt: skip
    brought = set(run.stdout.split())
    assert "flask_jam.jam" in brought
    late = {"asyncio", "redis", "yaml", "tomllib", "tomli", "flask_jam.audit"}
    assert brought & (late | {"flask_jam._cli.commands", "flask_jam._cli.doctor"}) == set()


def test_a_forked_worker_serves_what_was_loaded_before_the_fork(jam: Jam) -> None:
    client = build_app(jam).test_client()
    token = client.post("/login/alice").json["access_token"]
    assert client.get("/jwt", headers=bearer(token)).status_code == 200
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork under threads, Python 3.12
        child = os.fork()
    if child == 0:
        answer = client.get("/jwt", headers=bearer(token)).status_code
        os._exit(0 if answer == 200 else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_the_warning_comes_before_the_server_and_not_with_each_request(tmp_path: Path) -> None:
    script = (
        "from flask import Flask; from flask_jam import JWTExtension;"
        "app = Flask('x'); JWTExtension().init_app(app); c = app.test_client();"
        "[c.get('/') for _ in range(3)]"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True, text=True,
        timeout=60, env={k: v for k, v in os.environ.items() if not k.startswith("JAM_")},
    )  # fmt: skip
    assert run.stderr.count("No key is configured") == 1


def test_settings_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Flask("frozen")
    app.config["JAM_JWT_SECRET_KEY"] = SECRET
    JWTExtension().init_app(app)
    app.config["JAM_JWT_EXPIRE"] = 1
    monkeypatch.setenv("JAM_JWT_EXPIRE", "2")
    assert app.extensions["jam"].settings.jwt.expire == 900
    with pytest.raises(AttributeError):
        app.extensions["jam"].settings.jwt.expire = 3
    assert logging.getLogger("flask_jam").handlers == []


def test_flasks_own_cookie_is_not_for_sale(jam: Jam) -> None:
    with pytest.raises(ConfigError, match="Flask's own session"):
        SessionExtension(jam, Flask("collision"), cookie_name="session")


@each_case("verb", ["login", "refresh", "logout"])
def test_a_verb_outside_of_a_request_says_what_to_call(jam: Jam, verb: str) -> None:
    app = Flask("outside")
    for extension in (JWTExtension(jam, app), SessionExtension(jam, app)):
        arguments = ("alice",) if verb == "login" else ()
        with app.app_context(), pytest.raises(ConfigError, match="issue_tokens"):
            getattr(extension, verb)(*arguments)
    assert jam.list_sessions("alice") == []


@each_case("several", [True, False])
def test_several_processes_on_the_memory_store_are_warned_of_once(
    jam: Jam, several: bool, caplog: pytest.LogCaptureFixture
) -> None:
    client = build_app(jam).test_client()
    for _ in range(2):
        client.get("/open", environ_overrides={"wsgi.multiprocess": several})
    warned = [r for r in caplog.records if "several worker processes" in r.getMessage()]
    assert len(warned) == int(several)


@each_case("secure", [True, False])
def test_a_secure_cookie_over_http_is_warned_of(
    jam: Jam, secure: bool, caplog: pytest.LogCaptureFixture
) -> None:
    scheme = "https" if secure else "http"
    build_app(jam).test_client().post("/session-login/a", base_url=f"{scheme}://localhost")
    assert ("JAM_COOKIE_SECURE" in caplog.text) is not secure


def test_two_extensions_cannot_read_one_cookie(jam: Jam) -> None:
    app = Flask("app_under_test")
    JWTExtension(jam, app, cookie_name="credential")
    with pytest.raises(ConfigError, match="give each its own"):
        SessionExtension(jam, app, cookie_name="credential")
