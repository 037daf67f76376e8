"""``flask jam doctor``: each finding both ways, what fails and what only warns, and no secrets."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, g, request
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.middleware.shared_data import SharedDataMiddleware

from flask_jam import (
    Jam,
    JamExtension,
    JWTExtension,
    SessionExtension,
    current_auth,
    jwt_required,
    protect,
    public,
)
from flask_jam._cli.doctor import Finding, examine
from flask_jam.keys import new_key
from flask_jam.stores.memory import MemoryStore

from ..cases import each_case
from ..conftest import SECRET, Clock
from ..servers import HOST, RedisServer
from .test_commands import Shared, run

MakeJam = Callable[..., Jam]


def new_app(jam: Jam, cookie: str | None = "token", session: str = "sessionId") -> Flask:
    app = Flask("patient", static_folder=None)
    JWTExtension(jam, app, cookie_name=cookie)
    SessionExtension(jam, app, cookie_name=session)
    return app


@pytest.fixture
def app(jam: Jam) -> Flask:
    return new_app(jam)


def found(app: Flask, asvs: str, word: str = "") -> list[tuple[str, str]]:
    """Status and sentence of what serves a requirement, and has a word in it."""
    with app.app_context():
        every = examine(app.extensions["flask_jam"])
    return [(each.status, each.says) for each in every if each.asvs == asvs and word in each.says]


def status(app: Flask, asvs: str, word: str = "") -> str:
    """Of the one finding about this."""
    (one,) = found(app, asvs, word)
    return one[0]


# --- keys, tokens, sessions ----------------------------------------------------------------------


def test_a_key_must_be_configured(app: Flask) -> None:
    assert status(app, "11.6.1", "HS256") == "ok"
    assert found(app, "13.3.1") == []
    with pytest.warns(RuntimeWarning, match="No key"):
        keyless = new_app(Jam())
    assert found(keyless, "11.6.1") == []
    ((is_, says),) = found(keyless, "13.3.1")
    assert is_ == "failure"
    assert "flask jam keygen" in says


def test_a_public_key_alone_is_a_key() -> None:
    public_key = new_key("ES256")["JAM_JWT_PUBLIC_KEY"]
    app = new_app(Jam({"jwt": {"alg": "ES256", "public_key": public_key}}))
    assert status(app, "11.6.1", "ES256") == "ok"


@each_case("kind", [str, str.encode])
def test_flasks_key_must_be_another(app: Flask, kind: Callable[[str], Any]) -> None:
    app.config["SECRET_KEY"] = kind("another-one")
    assert found(app, "13.3.1") == []
    app.config["SECRET_KEY"] = kind(SECRET)
    assert status(app, "13.3.1", "SECRET_KEY") == "failure"


def test_a_secret_key_that_is_no_utf8_is_no_error(app: Flask) -> None:
    app.config["SECRET_KEY"] = "\udc80"
    assert found(app, "13.3.1") == []


def test_an_audience_should_be_named(app: Flask, make_jam: MakeJam) -> None:
    assert status(app, "9.2.3") == "warning"
    named = new_app(make_jam(jwt={"audience": "shop"}))
    assert found(named, "9.2.3") == [("ok", "a token must name the audience shop")]


@each_case(("list_", "expected"), [("deny", "ok"), ("allow", "ok"), ("off", "warning")])
def test_revocation_should_be_asked_for(make_jam: MakeJam, list_: str, expected: str) -> None:
    app = new_app(make_jam(jwt={"list": list_}))
    assert status(app, "7.4.1", "revok") == expected


@each_case(
    ("seconds", "expected", "said"),
    [(90, "ok", "1.5 min"), (45, "ok", "45 s"), (3600, "ok", "1 h"), (3601, "warning", "1.00028 h"),
     (86400, "warning", "1 d")],
)  # fmt: skip
def test_an_access_token_should_be_short_lived(
    make_jam: MakeJam, seconds: float, expected: str, said: str
) -> None:
    ((is_, says),) = found(new_app(make_jam(jwt={"expire": seconds})), "7.1.1")
    assert is_ == expected
    assert f"lives {said}" in says


@each_case(
    ("longest", "expected", "said"),
    [(86400, "ok", "15 min by default, and 1 d at most"), (900, "ok", "15 min by default"),
     (60, "ok", "15 min by default"), (366 * 86400, "warning", "and 366 d at most")],
)  # fmt: skip
def test_longest_life_of_a_token_is_named(
    make_jam: MakeJam, longest: float, expected: str, said: str
) -> None:
    ((is_, says),) = found(new_app(make_jam(jwt={"max_lifetime": longest})), "7.1.1")
    assert is_ == expected
    assert said in says
    assert ("max_lifetime" in says) == (longest > 900)


def test_refresh_tokens_should_be_rotated(app: Flask, make_jam: MakeJam) -> None:
    assert found(app, "10.4.5") == []
    kept = new_app(make_jam(jwt={"rotate_refresh_tokens": False}))
    assert status(kept, "10.4.5", "jwt.rotate_refresh_tokens is off") == "warning"


@each_case("secret", ["\n", " ", "\t", "\r\n"])
def test_whitespace_around_a_secret_is_named(app: Flask, secret: str) -> None:
    assert found(app, "13.3.1") == []
    for name, value in (("secret_key", b"k"), ("secret_key_fallbacks", (b"k",))):
        jwt = app.extensions["flask_jam"].jam.settings.jwt
        key = SECRET.encode() + secret.encode()
        # By force: the reader of settings may have an opinion about it as well.
        object.__setattr__(jwt, name, key if isinstance(value, bytes) else (key,))
        assert status(app, "13.3.1", f"jwt.{name} begins or ends with whitespace") == "warning"
        assert SECRET not in run(app, "doctor").output


def test_ring_without_a_key_fails_and_an_old_one_warns(
    tmp_path: Path, make_jam: MakeJam, clock: Clock
) -> None:
    (tmp_path / "keys").mkdir(mode=0o700)
    jwt = {"keyring": str(tmp_path / "keys"), "secret_key": None}
    empty = new_app(make_jam(jwt=jwt))
    assert found(empty, "13.3.1", "flask jam keyring rotate")[0][0] == "failure"
    assert run(empty, "keyring", "rotate").exit_code == 0
    assert status(new_app(make_jam(jwt=jwt)), "13.3.4") == "ok"
    clock.tick(367 * 86400)
    assert status(new_app(make_jam(jwt=jwt)), "13.3.4", "367 days") == "warning"
    assert found(new_app(make_jam(jwt=jwt)), "13.3.1") == []
    clock.tick(-400 * 86400)
    assert status(new_app(make_jam(jwt=jwt)), "13.3.4", "a clock is wrong") == "warning"


def test_secret_key_that_is_left_beside_a_ring_is_named(
    tmp_path: Path, make_jam: MakeJam, clock: Clock
) -> None:
    (tmp_path / "keys").mkdir(mode=0o700)
    jwt = {"keyring": str(tmp_path / "keys")}
    assert run(new_app(make_jam(jwt=jwt)), "keyring", "rotate").exit_code == 0
    assert found(new_app(make_jam(jwt=jwt)), "13.3.4", "jwt.secret_key") == []
    clock.tick(15 * 86400)
    assert status(new_app(make_jam(jwt=jwt)), "13.3.4", "jwt.secret_key") == "warning"


def test_path_of_public_keys_needs_a_pair(make_jam: MakeJam) -> None:
    published = {"jwks_path": "/keys.json"}
    assert status(new_app(make_jam(jwt=published)), "11.6.1", "/keys.json is 404") == "warning"
    pair = new_key("ES256")["JAM_JWT_PRIVATE_KEY"]
    jam = make_jam(jwt={**published, "alg": "ES256", "private_key": pair})
    assert found(new_app(jam), "11.6.1", "404") == []


def test_the_ends_of_a_session_are_told(make_jam: MakeJam) -> None:
    app = new_app(make_jam(session={"idle": 1800, "absolute": 43200, "remember_idle": 604800}))
    assert found(app, "7.3.1") == [
        ("ok", "a session ends 30 min after its last use, and 12 h after the login"),
        ("ok", "a remembered session ends 7 d after its last use, and 365 d after the login"),
    ]  # fmt: skip


def test_what_the_app_does_not_use_is_not_looked_at(jam: Jam) -> None:
    bare, only_tokens = Flask("bare", static_folder=None), Flask("tokens", static_folder=None)
    JamExtension(jam, bare)
    JWTExtension(jam, only_tokens)
    for asvs in ("11.6.1", "9.2.3", "7.1.1", "7.3.1", "3.3.1", "3.3.3", "4.1.3"):
        assert found(bare, asvs) == []
    for asvs in ("7.3.1", "3.3.1", "3.3.3", "4.1.3"):
        assert found(only_tokens, asvs) == []


# --- cookies -------------------------------------------------------------------------------------


def test_cookies_must_be_secure(app: Flask, make_jam: MakeJam) -> None:
    assert status(app, "3.3.1") == "ok"
    assert status(new_app(make_jam(cookie_secure=False)), "3.3.1") == "failure"


@each_case("mode", ["debug", "testing"])
def test_cookies_of_debug_and_testing_are_told_as_they_are(make_jam: MakeJam, mode: str) -> None:
    usual, always = new_app(make_jam()), new_app(make_jam(cookie_secure=True))
    for app in (usual, always):
        setattr(app, mode, True)
    assert status(usual, "3.3.1") == "warning"
    assert status(always, "3.3.1") == "ok"


@each_case(
    ("name", "expected", "better"),
    [("__Host-id", "ok", "__Host-id"), ("__host-id", "ok", "__host-id"),
     ("id", "warning", "__Host-id"), ("__Secure-id", "warning", "__Host-id")],
)  # fmt: skip
def test_a_cookie_should_be_of_this_host_alone(
    jam: Jam, name: str, expected: str, better: str
) -> None:
    app = new_app(jam, cookie=None, session=name)
    ((is_, says),) = found(app, "3.3.3")
    assert is_ == expected
    assert better in says.partition(": ")[2] + says * (expected == "ok")


def test_each_cookie_is_looked_at(jam: Jam) -> None:
    app = new_app(jam, cookie="__Host-token")
    assert [is_ for is_, _ in found(app, "3.3.3")] == ["ok", "warning"]


def test_a_domain_is_told_and_no_name_is_proposed_that_it_forbids(make_jam: MakeJam) -> None:
    app = new_app(make_jam(cookie_domain="example.org"))
    assert found(app, "3.3.3") == [("warning", "cookies are sent to every host below example.org")]


@each_case(
    ("domain", "server", "fits"),
    [("example.org", "example.org", True), ("example.org", "www.example.org:8000", True),
     ("example.org", "WWW.Example.org", True), ("example.org", None, True),
     ("example.org", "notexample.org", False), ("www.example.org", "example.org", False),
     ("example.org", "localhost:5000", False)],
)  # fmt: skip
def test_domain_of_cookies_must_fit_the_server_name(
    make_jam: MakeJam, domain: str, server: str | None, fits: bool
) -> None:
    app = new_app(make_jam(cookie_domain=domain))
    app.config["SERVER_NAME"] = server
    assert [is_ for is_, _ in found(app, "3.3.3", "SERVER_NAME")] == ([] if fits else ["warning"])


def mounted(app: Flask) -> None:
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/b": lambda *_: []})  # type: ignore[method-assign]


def below_a(app: Flask) -> None:
    app.config["APPLICATION_ROOT"] = "/a"


@each_case("place", [mounted, below_a])
def test_common_cookie_name_beside_other_apps_is_named(
    app: Flask, jam: Jam, place: Callable[[Flask], None]
) -> None:
    assert found(app, "3.3.3", "logs this one's users out") == []
    place(app)
    assert status(app, "3.3.3", "the cookie sessionId goes to all apps") == "warning"
    renamed, narrowed = new_app(jam, session="a_session"), new_app(jam)
    object.__setattr__(jam.settings, "cookie_path", "/a")
    for other in (renamed, narrowed):
        place(other)
        assert found(other, "3.3.3", "logs this one's users out") == []


def test_a_proxy_that_ends_tls_should_be_known(app: Flask) -> None:
    assert status(app, "4.1.3") == "warning"
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    assert status(app, "4.1.3") == "ok"
    app.wsgi_app = SharedDataMiddleware(app.wsgi_app, {})  # type: ignore[method-assign]
    assert status(app, "4.1.3") == "ok", "also as an inner layer"


@each_case(
    ("headers", "expected", "said"),
    [({}, "ok", "takes the scheme from"), ({"x_host": 1}, "ok", "takes the scheme and host from"),
     ({"x_proto": 0}, "warning", "does not take the scheme")],
)  # fmt: skip
def test_proxy_fix_is_described_as_it_is_set(
    app: Flask, headers: dict[str, int], expected: str, said: str
) -> None:
    app.wsgi_app = ProxyFix(app.wsgi_app, **headers)  # type: ignore[method-assign]
    ((is_, says),) = found(app, "4.1.3")
    assert is_ == expected
    assert said in says
    assert "nobody" not in says


def test_nobody_needs_a_proxy_to_develop(app: Flask) -> None:
    app.debug = True
    assert found(app, "4.1.3") == []


# --- other origins -------------------------------------------------------------------------------


def test_a_trusted_origin_should_be_of_https(make_jam: MakeJam) -> None:
    app = new_app(make_jam(trusted_origins=["https://a.example", "http://b.example"]))
    (one, two) = found(app, "3.5.1")
    assert one == ("ok", "pages of https://a.example are trusted")
    assert two[0] == "warning"
    assert "http://b.example" in two[1]


def cors(origin: str | None, credentials: str | None = "true") -> Callable[[Response], Response]:
    """A hook as an extension for CORS has it; ``None`` allows whoever asks."""

    def hook(response: Response) -> Response:
        response.headers["Access-Control-Allow-Origin"] = origin or request.headers["Origin"]
        if credentials is not None:
            response.headers["Access-Control-Allow-Credentials"] = credentials
        return response

    return hook


@each_case(
    ("origin", "credentials", "expected"),
    [(None, "true", "failure"), ("*", "true", "failure"), (None, "True", "failure"),
     ("*", None, "ok"), (None, None, "ok"), (None, "false", "ok"),
     ("https://app.example", "true", "ok")],
)  # fmt: skip
def test_cors_with_credentials_must_name_who_may(
    app: Flask, origin: str | None, credentials: str | None, expected: str
) -> None:
    app.add_url_rule("/me", "me", lambda: "")
    assert status(app, "3.4.2") == "ok"
    app.after_request(cors(origin, credentials))
    assert status(app, "3.4.2") == expected


def test_cors_of_a_blueprint_or_of_a_path_is_found_and_named(app: Flask) -> None:
    blueprint = Blueprint("api", __name__, url_prefix="/api")
    blueprint.after_request(cors(None))
    blueprint.add_url_rule("/things/<int:number>", "things", lambda number: "", methods=["PUT"])
    blueprint.add_url_rule("/other/<path:x>", "other", lambda x: "")
    app.add_url_rule("/me", "me", lambda: "")
    app.register_blueprint(blueprint)
    assert found(app, "3.4.2") == [
        ("failure", "CORS lets pages of every origin read, with credentials, "
         "/api/things/<int:number> and 1 more: name the origins that may"),
    ]  # fmt: skip


def test_cors_of_static_files_is_nobodys_secret(jam: Jam) -> None:
    app = Flask("files")
    JWTExtension(jam, app)
    app.after_request(cors(None))
    assert status(app, "3.4.2") == "ok"


@each_case(
    ("config", "expected"),
    [
        ({"CORS_SUPPORTS_CREDENTIALS": True}, "failure"),
        ({"CORS_SUPPORTS_CREDENTIALS": True, "CORS_ORIGINS": "*"}, "failure"),
        ({"CORS_SUPPORTS_CREDENTIALS": True, "CORS_ORIGINS": ["https://a", "*"]}, "failure"),
        ({"CORS_SUPPORTS_CREDENTIALS": True, "CORS_ORIGINS": ["https://a"]}, "ok"),
        ({"CORS_SUPPORTS_CREDENTIALS": True, "CORS_ORIGINS": re.compile("a*")}, "ok"),
        ({"CORS_ORIGINS": "*"}, "ok"),
    ],
)
def test_cors_in_the_configuration_is_found(
    app: Flask, config: dict[str, Any], expected: str
) -> None:
    app.config.update(config)
    assert status(app, "3.4.2") == expected


def test_the_look_at_cors_runs_no_view_and_survives_every_hook(app: Flask) -> None:
    ran: list[str] = []
    app.add_url_rule("/me", "me", lambda: str(ran.append("view")))
    app.before_request(lambda: ran.append("before"))

    @app.after_request
    def fails(response: Response) -> Response:
        g.missing.attribute  # noqa: B018
        return response

    @app.after_request
    async def later(response: Response) -> Response:
        return response

    app.after_request(cors(None))
    assert status(app, "3.4.2") == "failure"
    assert ran == []


# --- the store -----------------------------------------------------------------------------------


def test_memory_is_for_one_process(app: Flask) -> None:
    assert status(app, "7.4.1", "set redis_url") == "warning"
    assert found(app, "13.1.3") == []


def test_a_store_of_ones_own_is_asked(make_jam: MakeJam) -> None:
    app = new_app(make_jam(store=Shared(MemoryStore())))
    assert found(app, "13.1.3") == [("ok", "the store answers")]


class Redis:
    """A store that tells a policy, or that nobody may know it."""

    def __init__(self, *policies: str) -> None:
        self._store, self._policies = MemoryStore(), set(policies)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def eviction_policies(self) -> set[str]:
        if not self._policies:
            raise RuntimeError("NOPERM hunter2")
        return self._policies


@each_case(
    ("policies", "expected", "said"),
    [
        (("noeviction",), "ok", "is noeviction"),
        (("allkeys-lru",), "failure", "is allkeys-lru: "),
        (("volatile-ttl", "noeviction"), "failure", "is volatile-ttl: "),
        (("b", "a"), "failure", "is a, b: "),
        ((), "warning", "cannot read"),
    ],
)
def test_a_store_must_forget_nothing(
    make_jam: MakeJam, policies: tuple[str, ...], expected: str, said: str
) -> None:
    app = new_app(make_jam(store=Redis(*policies)))
    ((is_, says),) = found(app, "7.4.1", "maxmemory-policy")
    assert is_ == expected
    assert said in says
    assert "hunter2" not in says


@each_case(
    ("url", "expected"),
    [
        ("redis://:hunter2@redis.example:6379/0", "warning"),
        ("redis+cluster://:hunter2@a.example:1,b.example:2", "warning"),
        ("redis+sentinel://:hunter2@a.example:1,b.example:2/main", "warning"),
        ("rediss://:hunter2@redis.example/0", "ok"),
        ("rediss+cluster://:hunter2@a.example", "ok"),
        ("unix://:hunter2@/run/redis.sock", "ok"),
        ("redis://:hunter2@localhost/0", "ok"),
        ("redis://:hunter2@127.0.0.1:6379", "ok"),
        ("redis://:hunter2@[::1]:6379", "ok"),
    ],
)
def test_the_way_to_redis_should_be_encrypted(make_jam: MakeJam, url: str, expected: str) -> None:
    app = new_app(make_jam(redis_url=url, store=Shared(MemoryStore())))
    ((is_, says),) = found(app, "12.3.1")
    assert is_ == expected
    assert "hunter2" not in says
    if expected == "warning":
        assert f"write {url.partition(':')[0].replace('redis', 'rediss')}://" in says


@pytest.fixture
def on_redis(redis_jam: Jam) -> Flask:
    return new_app(redis_jam)


def test_a_real_redis_is_asked_and_left_as_it_was(
    on_redis: Flask, redis_server: RedisServer
) -> None:
    assert found(on_redis, "13.1.3") == [("ok", "the store answers")]
    assert status(on_redis, "7.4.1", "maxmemory-policy") == "ok"
    assert redis_server.client().dbsize() == 0


def test_a_real_redis_that_evicts_is_a_failure(on_redis: Flask, redis_server: RedisServer) -> None:
    client = redis_server.client()
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert status(on_redis, "7.4.1", "allkeys-lru") == "failure"
        assert run(on_redis, "doctor").exit_code == 1
    finally:
        client.config_set("maxmemory-policy", "noeviction")


@pytest.mark.redis
def test_a_user_of_redis_who_may_not_ask_is_only_warned(make_jam: MakeJam) -> None:
    with RedisServer() as server:
        server.client().execute_command(
            "ACL", "SETUSER", "app", "on", ">hunter2", "~*", "&*", "+@all", "-info"
        )
        jam = make_jam(redis_url=f"redis://app:hunter2@{HOST}:{server.port}/0")
        try:
            app = new_app(jam)
            assert status(app, "13.1.3") == "ok"
            assert status(app, "7.4.1", "maxmemory-policy") == "warning"
        finally:
            jam.store.close()  # type: ignore[attr-defined]


def test_a_redis_that_is_down_is_a_failure_and_nothing_more_is_asked(make_jam: MakeJam) -> None:
    jam = make_jam(redis_url=f"redis://:hunter2@{HOST}:1/0")
    app = new_app(jam)
    try:
        assert status(app, "13.1.3") == "failure"
        assert found(app, "7.4.1", "maxmemory") == []
        result = run(app, "doctor")
        assert result.exit_code == 1
        assert "hunter2" not in result.output
    finally:
        jam.store.close()  # type: ignore[attr-defined]


# --- guards --------------------------------------------------------------------------------------


def test_all_is_well_where_every_route_has_a_guard(app: Flask) -> None:
    app.add_url_rule("/a", "a", jwt_required(lambda: ""))
    app.add_url_rule("/b", "b", public(lambda: ""))
    assert found(app, "8.3.1") == [("ok", "every guard protects a route")]
    assert found(app, "8.2.1") == [("ok", "every route has a guard, or is open on purpose")]


def test_public_page_that_greets_is_not_called_open(app: Flask) -> None:
    app.add_url_rule("/", "front", public(lambda: str(current_auth())))
    assert found(app, "8.2.1") == [("ok", "every route has a guard, or is open on purpose")]


def test_decorator_above_a_guard_is_named(app: Flask) -> None:
    app.add_url_rule("/a", "a", functools.lru_cache(jwt_required(lambda: "")))
    assert status(app, "8.3.1", "functools.lru_cache stands above the guard") == "warning"
    assert run(app, "doctor").exit_code == 0


def test_each_open_route_is_named_with_file_and_line(app: Flask) -> None:
    app.add_url_rule("/a", "a", lambda: "", methods=["GET", "POST"])
    app.add_url_rule("/b", "b", lambda: "")
    one, two = found(app, "8.2.1")
    assert one[0] == two[0] == "warning"
    assert re.match(r"GET POST /a \(.*test_doctor\.py:\d+\) is open: guard it, or mark it @public",
                    one[1])  # fmt: skip


def test_each_idle_guard_is_named_with_file_and_line(app: Flask) -> None:
    protect(app, jwt_required)

    @jwt_required(roles={"admin"})
    @app.get("/a")
    def first() -> str:
        return ""

    @jwt_required
    @app.get("/b")
    def second() -> str:
        return ""

    one, two = found(app, "8.3.1")
    for (is_, says), name in ((one, "first"), (two, "second")):
        assert is_ == "failure"
        assert re.search(rf"{name} \(.*test_doctor\.py:\d+\) stands above the route", says)
        assert "swap the two lines" in says


def test_a_guard_that_nobody_could_pass_is_told(jam: Jam) -> None:
    app = Flask("lacking", static_folder=None)
    SessionExtension(jam, app)
    app.add_url_rule("/a", "a", jwt_required(lambda: ""))
    ((is_, says),) = found(app, "8.3.1")
    assert is_ == "failure"
    assert "JWTExtension(jam).init_app(app)" in says


def test_a_login_view_at_which_nobody_arrives_is_told(make_jam: MakeJam) -> None:
    app = new_app(make_jam(login_view="nowhere"))
    ((is_, says),) = found(app, "8.3.1")
    assert is_ == "failure"
    assert "login_view" in says


def test_debug_mode_is_told(app: Flask) -> None:
    assert status(app, "13.4.2") == "ok"
    app.debug = True
    assert status(app, "13.4.2") == "warning"


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def healthy(make_jam: MakeJam) -> Flask:
    jam = make_jam(jwt={"audience": "shop"}, store=Shared(MemoryStore()))
    app = new_app(jam, "__Host-token", "__Host-id")
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    return app


def test_a_healthy_app_has_nothing_but_ok(healthy: Flask) -> None:
    result = run(healthy, "doctor")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert len(lines) >= 12
    assert all(re.match(r"ok       [1-9]\d?\.\d{1,2}\.\d{1,2} {1,3} \S", line) for line in lines)


def test_warnings_alone_exit_with_0(app: Flask) -> None:
    result = run(app, "doctor")
    assert "\nwarning  3.3.3   a sibling host" in result.stdout
    assert "failure" not in result.stdout
    assert result.exit_code == 0


def test_a_failure_exits_with_1(app: Flask) -> None:
    app.config["SECRET_KEY"] = SECRET
    result = run(app, "doctor")
    assert (result.exit_code, result.stderr) == (1, "")
    assert "failure  13.3.1  jwt.secret_key is Flask's SECRET_KEY" in result.stdout


def test_as_json_it_is_a_list_of_findings(app: Flask) -> None:
    app.config["SECRET_KEY"] = SECRET
    result = run(app, "doctor", "--format", "json")
    assert result.exit_code == 1
    with app.app_context():
        every = examine(app.extensions["flask_jam"])
    assert [Finding(**each) for each in json.loads(result.stdout)] == every
    assert {each.status for each in every} == {"ok", "warning", "failure"}


def test_status_is_coloured_in_a_terminal_only(app: Flask) -> None:
    app.config["SECRET_KEY"] = SECRET
    assert "\x1b" not in run(app, "doctor").stdout
    said = run(app, "doctor", color=True).stdout
    for colour, word in ((32, "ok"), (33, "warning"), (31, "failure")):
        assert f"\x1b[{colour}m{word}" in said


def test_the_order_is_the_same_each_time(app: Flask) -> None:
    assert run(app, "doctor").stdout == run(app, "doctor").stdout


def test_a_look_writes_nothing(app: Flask, jam: Jam, clock: Clock) -> None:
    session_id = jam.create_session("ann", {})
    before = jam.list_sessions("ann")
    clock.tick(100)
    run(app, "doctor")
    assert jam.list_sessions("ann") == before
    assert jam.get_session(session_id) == {}
