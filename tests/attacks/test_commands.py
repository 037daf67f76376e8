"""What the commands must see, and must not show: P02, P05, P20, T15 and X19 of the catalogue."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, request
from flask.views import MethodView
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_jam import Jam, JWTExtension, SessionExtension, jwt_required, protect, public
from flask_jam.keys import new_key
from flask_jam.stores.memory import MemoryStore

from ..cases import each_case
from ..cli.test_commands import Shared, run
from .craft import b64, claims, forged, signed

MakeJam = Callable[..., Jam]
MARKER = "mArKeR7q"


def new_app(jam: Jam, **options: Any) -> Flask:
    app = Flask("attacked", **{"static_folder": None, **options})
    app.testing = True
    JWTExtension(jam, app, cookie_name="token")
    SessionExtension(jam, app)
    return app


@pytest.fixture
def app(jam: Jam) -> Flask:
    return new_app(jam)


def finding(app: Flask, asvs: str) -> list[str]:
    """What the doctor says of a requirement, one word for each."""
    said = json.loads(run(app, "doctor", "--format", "json").stdout)
    return [each["status"] for each in said if each["asvs"] == asvs]


# --- P02: a guard that does nothing --------------------------------------------------------------


def above_the_route(app: Flask) -> None:
    @jwt_required
    @app.route("/idle")
    def idle() -> str:
        return "in"


def above_the_route_of_a_blueprint(app: Flask) -> None:
    blueprint = Blueprint("b", __name__)

    @jwt_required(roles={"admin"})
    @blueprint.get("/idle")
    def idle() -> str:
        return "in"

    app.register_blueprint(blueprint)


def under_a_guard_that_asks_for_less(app: Flask) -> None:
    protect(app, jwt_required)
    above_the_route(app)


def too_late_for_a_class(app: Flask) -> None:
    class Idle(MethodView):
        def get(self) -> str:
            return "in"

    app.add_url_rule("/idle", view_func=Idle.as_view("idle"))
    jwt_required(Idle)


@each_case(
    "mistake",
    [
        pytest.param(above_the_route, id="P02-function"),
        pytest.param(above_the_route_of_a_blueprint, id="P02-blueprint"),
        pytest.param(under_a_guard_that_asks_for_less, id="P02-behind-another"),
        pytest.param(too_late_for_a_class, id="P02-class"),
    ],
)
def test_an_idle_guard_is_found_before_the_first_request(
    app: Flask, mistake: Callable[[Flask], None]
) -> None:
    assert run(app, "routes", "--check").exit_code == 0
    mistake(app)
    checked = run(app, "routes", "--check")
    assert checked.exit_code == 1
    assert re.search(r"(stands above the route|open without being marked)", checked.stderr)
    doctor = run(app, "doctor")
    assert re.search(r"failure  8\.3\.1 .*(idle|Idle) .*stands above the route", doctor.stdout)
    assert doctor.exit_code == 1


def test_P02_a_view_that_is_open_on_one_of_its_routes_is_listed_as_open_there(app: Flask) -> None:
    @app.get("/fine", endpoint="fine")
    @jwt_required
    @app.get("/idle")
    def idle() -> str:
        return "in"

    checked = run(app, "routes", "--check")
    assert checked.exit_code == 1
    assert re.findall(r"GET (/\w+)", checked.stderr) == ["/idle"]


def test_P02_what_is_listed_as_guarded_refuses_strangers(app: Flask) -> None:
    app.add_url_rule("/a", "a", jwt_required(lambda: "in"))
    app.add_url_rule("/b", "b", lambda: "in")
    app.add_url_rule("/c", "c", public(lambda: "in"))
    listed = json.loads(run(app, "routes", "--format", "json").stdout)
    for route in listed:
        status = app.test_client().get(route["rule"]).status_code
        assert status == (401 if route["guard"] else 200)


# --- P05: what is open on purpose is listed all the same -----------------------------------------


def test_P05_static_files_and_well_known_addresses_are_listed(jam: Jam) -> None:
    app = new_app(jam, static_folder="static")
    protect(app, jwt_required)
    blueprint = Blueprint("b", __name__, static_folder="x", url_prefix="/b")
    app.register_blueprint(blueprint)
    app.add_url_rule("/.well-known/security.txt", "security", public(lambda: ""))
    listed = json.loads(run(app, "routes", "--check", "--format", "json").stdout)
    assert [(route["rule"], route["from"], route["guard"]) for route in listed] == [
        ("/.well-known/security.txt", ["public"], None),
        ("/b/x/<path:filename>", ["static"], None),
        ("/static/<path:filename>", ["static"], None),
    ]  # fmt: skip


def test_P05_a_view_that_calls_itself_static_is_open_and_not_on_purpose(app: Flask) -> None:
    app.add_url_rule("/files/<path:filename>", "static", lambda filename: "secret")
    assert run(app, "routes", "--check").exit_code == 1


# --- P20: no command shows a secret --------------------------------------------------------------

#: Every command, and what it is asked about.
ASKED = (("routes",), ("routes", "--format", "json"), ("sessions", "ann"),
         ("sessions", "ann", "--format", "json"), ("doctor",), ("doctor", "--format", "json"),
         ("revoke", "ann"))  # fmt: skip


@pytest.fixture
def full_of_secrets(make_jam: MakeJam) -> Flask:
    """Each secret setting that there is has the marker in it."""
    jam = make_jam(
        jwt={"secret_key": MARKER * 8, "secret_key_fallbacks": [MARKER * 9]},
        redis_url=f"redis://{MARKER}:{MARKER}@redis.example/0", store=Shared(MemoryStore()),
    )  # fmt: skip
    app = new_app(jam)
    app.config["SECRET_KEY"] = MARKER * 8
    jam.create_session("ann", {"card": MARKER, "deep": {"card": MARKER}}, user_agent="Firefox")
    return app


@each_case("asked", ASKED, ids=lambda asked: "P20-" + "-".join(asked))
def test_no_setting_and_no_session_data_is_shown(
    full_of_secrets: Flask, asked: tuple[str, ...]
) -> None:
    result = run(full_of_secrets, *asked)
    assert result.stdout
    assert MARKER not in result.output


@each_case("form", ["text", "json"])
def test_P20_inspecting_masks_the_data_of_a_session(full_of_secrets: Flask, form: str) -> None:
    session_id = full_of_secrets.extensions["jam"].create_session("ann", {"card": MARKER})
    result = run(full_of_secrets, "inspect", "--format", form, "-", sent=session_id)
    assert result.exit_code == 0
    assert "card" in result.output
    assert MARKER not in result.output


@each_case("form", ["text", "json"])
@each_case("state", ["good", "ended", "forged"])
@each_case("kind", ["access", "refresh", "session"])
def test_P20_what_is_inspected_cannot_be_used_by_who_reads_the_screen(
    app: Flask, jam: Jam, kind: str, state: str, form: str
) -> None:
    pair = jam.issue_tokens("ann")
    made = {"access": pair["access_token"], "refresh": pair["refresh_token"],
            "session": jam.create_session("ann", {})}[kind]  # fmt: skip
    if state == "ended":
        jam.revoke_subject("ann")
    elif state == "forged":
        made = made[:-2] + ("AA" if not made.endswith("AA") else "BB")
    screen = run(app, "inspect", "--format", form, "-", sent=made).output
    proof = made.rpartition(".")[2]
    assert made not in screen
    assert proof not in screen
    assert proof[:20] not in screen


@each_case(
    "text",
    [f"{MARKER}-a-password", f"{MARKER}.x", f"x.{MARKER}", f"Basic {MARKER}", f"a{MARKER}=="],
)
def test_P20_what_is_no_credential_of_ours_is_not_repeated(app: Flask, text: str) -> None:
    screen = run(app, "inspect", "-", sent=text).output
    assert MARKER not in screen


@pytest.mark.parametrize("alg", ["HS256", "ES256"])
def test_P20_a_token_is_shown_and_never_the_key_that_made_it(alg: str) -> None:
    made = new_key(alg)
    settings = {name.removeprefix("JAM_JWT_").lower(): value for name, value in made.items()}
    jam = Jam({"jwt": settings})
    app = new_app(jam)
    token = run(app, "token", "ann").stdout.strip()
    jam.verify_jwt_token(token)
    seen = run(app, "inspect", token).stdout + token
    for name, value in made.items():
        if name not in ("JAM_JWT_ALG", "JAM_JWT_PUBLIC_KEY"):
            assert not any(line in seen for line in value.splitlines() if len(line) > 16)


def test_P20_an_error_of_a_command_quotes_no_secret(make_jam: MakeJam) -> None:
    app = new_app(
        make_jam(redis_url=f"redis://:{MARKER}@127.0.0.1:1/0", store=Shared(MemoryStore()))
    )
    for wrong in (("token", "ann", "--claim", "roles=x"), ("sessions", ""), ("revoke", "\udc80")):
        result = run(app, *wrong)
        assert result.exit_code == 1
        assert MARKER not in result.output


@each_case("name", ["jku", "x5u", "jwk", "x5c", "kid"])
def test_P20_inspecting_follows_no_address_in_a_token(app: Flask, name: str) -> None:
    # The fixture ``watch`` fails the test if anything is connected to, looked up or opened.
    header = {"alg": "HS256", "typ": "JWT", name: "http://169.254.169.254/keys"}
    assert run(app, "inspect", signed(claims(), header)).exit_code == (1 if name == "kid" else 0)
    assert run(app, "inspect", forged(signed(claims(), header))).exit_code == 1
    assert run(app, "inspect", f"{b64(json.dumps(header).encode())}.e30.").exit_code == 1


# --- T15, X19: what only the doctor can see ------------------------------------------------------


@each_case(
    ("settings", "proxy", "secure", "told"),
    [
        pytest.param({}, False, ["ok"], ["warning"], id="T15-secure-cookies-and-plain-http"),
        pytest.param({}, True, ["ok"], ["ok"], id="T15-behind-a-known-proxy"),
        pytest.param({"cookie_secure": False}, True, ["failure"], ["ok"], id="T15-not-secure"),
    ],
)
def test_an_app_that_may_not_know_of_its_https_is_told(
    make_jam: MakeJam, settings: dict[str, Any], proxy: bool, secure: list[str], told: list[str]
) -> None:
    app = new_app(make_jam(**settings))
    app.testing = False
    if proxy:
        app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    assert finding(app, "3.3.1") == secure
    assert finding(app, "4.1.3") == told
    expected = 1 if "failure" in secure else 0
    assert run(app, "doctor").exit_code == expected


def anybody(response: Response) -> Response:
    response.headers["Access-Control-Allow-Origin"] = request.headers.get("Origin", "*")
    response.headers["Access-Control-Allow-Credentials"] = "true"
    return response


def wildcard(response: Response) -> Response:
    return anybody(response) if request.path.startswith("/me") else response


def suffix(response: Response) -> Response:
    """As careless people check an origin: ``nobody.invalid`` is not theirs."""
    origin = request.headers.get("Origin", "")
    return anybody(response) if origin.endswith(".example") else response


@each_case(
    ("hook", "expected"),
    [
        pytest.param(anybody, ["failure"], id="X19-whoever-asks"),
        pytest.param(wildcard, ["failure"], id="X19-one-path"),
        pytest.param(suffix, ["ok"], id="X19-some"),
        pytest.param(lambda response: response, ["ok"], id="X19-nobody"),
    ],
)
def test_cors_with_credentials_for_any_origin_is_an_error(
    app: Flask, hook: Callable[[Response], Response], expected: list[str]
) -> None:
    app.add_url_rule("/me", "me", jwt_required(lambda: "in"))
    app.after_request(hook)
    assert finding(app, "3.4.2") == expected
    assert run(app, "doctor").exit_code == (1 if expected == ["failure"] else 0)
