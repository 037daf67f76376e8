"""Settings: every key by every source, and for every mistake a sentence that helps."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import json
import logging
import math
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import hypothesis
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa, x25519
from cryptography.x509.oid import NameOID
from hypothesis import strategies as st

from flask_jam import ConfigError, Jam, jwt_required
from flask_jam._helpers.peer_settings import FLASK_JWT_EXTENDED
from flask_jam._helpers.setting_types import normal_origin
from flask_jam.keys import KeyRing
from flask_jam.settings import (
    ApiKeySettings,
    JWTSettings,
    SessionSettings,
    Settings,
    entries,
    load,
)

from .cases import each_case
from .conftest import SECRET
from .test_keys import jwk_of, key_of, oct_of, pem_for, pem_of

DAY = 86400.0
MARKER = "mArKeR"
PATHS = [entry.path for entry in entries()]
ENV_OF = {entry.path: entry.env for entry in entries()}


def value_of(loaded: Settings, path: str) -> Any:
    value: Any = loaded
    for name in path.split("."):
        value = getattr(value, name)
    return value


def tree_of(path: str, value: Any) -> dict[str, Any]:
    section, _, name = path.rpartition(".")
    return {section: {name: value}} if section else {name: value}


def sentence(job: Callable[[], object]) -> str:
    """What the ConfigError of a mistake says."""
    with pytest.raises(ConfigError) as caught:
        job()
    text = str(caught.value)
    assert MARKER not in repr(caught.value)
    assert SECRET not in repr(caught.value)
    assert len(text) > 20, "a sentence, not a word"
    assert "\n" not in text
    return text


# --- the table of settings ------------------------------------------------------------


def test_the_defaults_are_those_of_the_documentation() -> None:
    defaults = {path: value_of(load({}), path) for path in PATHS}
    assert defaults == {
        "jwt.alg": "HS256", "jwt.secret_key": None, "jwt.secret_key_fallbacks": (),
        "jwt.private_key": None, "jwt.public_key": None,
        "jwt.private_key_file": None, "jwt.public_key_file": None,
        "jwt.keyring": None, "jwt.jwks_path": None,
        "jwt.expire": 900, "jwt.refresh_idle": 14 * DAY, "jwt.refresh_absolute": 90 * DAY,
        "jwt.refresh_grace": 10, "jwt.rotate_refresh_tokens": True, "jwt.max_lifetime": DAY,
        "jwt.issuer": None, "jwt.audience": None, "jwt.leeway": 0, "jwt.list": "deny",
        "jwt.max_logins": 100, "jwt.cache_size": 10000, "jwt.max_token_bytes": 8192,
        "session.idle": DAY, "session.absolute": 30 * DAY, "session.remember": None,
        "session.remember_idle": 30 * DAY, "session.remember_absolute": 365 * DAY,
        "session.max_bytes": 65536, "session.max_per_owner": 100, "api_key.prefix": "jam",
        "issuers": (), "redis_url": None, "redis_prefix": "jam", "redis_timeout": 0.25,
        "redis_pool": 50,
        "near_cache": True, "near_cache_silence": 1.0,
        "realm": "api", "trusted_origins": (),
        "cookie_secure": None, "cookie_samesite": "Lax", "cookie_domain": None,
        "cookie_path": "/", "cookie_partitioned": False, "login_view": None,
        "login_views": (), "login_message": None, "login_message_category": "message",
    }  # fmt: skip


def test_nothing_at_all_is_the_defaults() -> None:
    assert load() == load({}) == load(None, {}) == Settings()


def test_every_setting_has_a_description_and_environment_name() -> None:
    for entry in entries():
        assert entry.field.metadata["doc"].endswith("."), entry.path
        assert entry.env == "JAM_" + entry.path.upper().replace(".", "_")


def test_no_two_settings_have_one_name_in_the_environment() -> None:
    assert len(set(ENV_OF.values())) == len(PATHS)


@each_case("thing", [Settings(), JWTSettings(), SessionSettings(), ApiKeySettings()])
def test_settings_are_frozen(thing: Any) -> None:
    for field in dataclasses.fields(thing):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, field.name, "x")


def test_the_longest_life_of_a_token_is_the_longer_of_two() -> None:
    assert JWTSettings(expire=60, max_lifetime=100).longest == 100
    assert JWTSettings(expire=200, max_lifetime=100).longest == 200


# --- every setting by every source ----------------------------------------------------

#: The value as Python or a file has it, as text of the environment, and what becomes of it.
GOOD: dict[str, tuple[Any, str, Any]] = {
    "jwt.alg": ("RS256", "RS256", "RS256"),
    "jwt.secret_key": (SECRET, SECRET, SECRET.encode()),
    "jwt.secret_key_fallbacks": (["one", "two"], "one, two", (b"one", b"two")),
    "jwt.private_key": ("-----BEGIN…", "-----BEGIN…", "-----BEGIN…"),
    "jwt.public_key": ("-----BEGIN…", "-----BEGIN…", "-----BEGIN…"),
    "jwt.private_key_file": ("a/b.pem", "a/b.pem", "a/b.pem"),
    "jwt.public_key_file": ("a/b.pem", "a/b.pem", "a/b.pem"),
    "jwt.keyring": ("a/keys", "a/keys", "a/keys"),
    "jwt.jwks_path": ("/k.json", "/k.json", "/k.json"),
    "jwt.expire": (60, "60", 60.0),
    "jwt.refresh_idle": (3600.5, "3600.5", 3600.5),
    "jwt.refresh_absolute": (7200, "7200", 7200.0),
    "jwt.refresh_grace": (0, "0", 0.0),
    "jwt.rotate_refresh_tokens": (False, "off", False),
    "jwt.max_lifetime": (3600, "3600", 3600.0),
    "jwt.issuer": ("https://a.example", "https://a.example", "https://a.example"),
    "jwt.audience": ("api", "api", "api"),
    "jwt.leeway": (300, "300", 300.0),
    "jwt.list": ("off", "off", "off"),
    "jwt.max_logins": (0, "0", 0),
    "jwt.cache_size": (0, "0", 0),
    "jwt.max_token_bytes": (4096, "4096", 4096),
    "session.idle": (600, "600", 600.0),
    "session.absolute": (6000, "6000", 6000.0),
    "session.remember": (True, "on", True),
    "session.remember_idle": (6000, "6000", 6000.0),
    "session.remember_absolute": (60000, "60000", 60000.0),
    "session.max_bytes": (1024, "1024", 1024),
    "session.max_per_owner": (5, "5", 5),
    "api_key.prefix": ("acme2", "acme2", "acme2"),
    "issuers": (
        [{"preset": "google", "client_ids": "a"}],
        '[{"preset": "google", "client_ids": "a"}]',
        ({"preset": "google", "client_ids": "a"},),
    ),
    "redis_url": ("redis://r:6379/0", "redis://r:6379/0", "redis://r:6379/0"),
    "redis_prefix": ("shop:v2", "shop:v2", "shop:v2"),
    "redis_timeout": (0.5, "0.5", 0.5),
    "redis_pool": (7, "7", 7),
    "near_cache": (False, "off", False),
    "near_cache_silence": (2, "2", 2.0),
    "realm": ("my api", "my api", "my api"),
    "trusted_origins": (
        ["https://a.example:443", "http://[0::1]:5000"],
        "https://A.example, http://[::1]:5000",
        ("https://a.example", "http://[::1]:5000"),
    ),
    "cookie_secure": (False, "off", False),
    "cookie_samesite": ("Strict", "Strict", "Strict"),
    "cookie_domain": (".example.org", ".example.org", ".example.org"),
    "cookie_path": ("/shop", "/shop", "/shop"),
    "cookie_partitioned": (True, "on", True),
    "login_view": ("auth.login", "auth.login", "auth.login"),
    "login_views": (
        {"admin": "admin.login", "shop": "/in"},
        "admin=admin.login, shop = /in",
        (("admin", "admin.login"), ("shop", "/in")),
    ),
    "login_message": ("Log in first.", "Log in first.", "Log in first."),
    "login_message_category": ("warning", "warning", "warning"),
}

Source = Callable[[Path, pytest.MonkeyPatch, str], Settings]


def by_mapping(_: Path, __: pytest.MonkeyPatch, path: str) -> Settings:
    return load(tree_of(path, GOOD[path][0]))


def toml_of(path: str, table: str) -> str:
    section, _, name = path.rpartition(".")
    # JSON's forms of texts, numbers, booleans and lists are TOML's too; tables need another sign.
    value = json.dumps(GOOD[path][0], separators=(", ", " = "))
    return f"[{'.'.join(filter(None, [table, section]))}]\n{name} = {value}\n"


def by_toml(tmp: Path, _: pytest.MonkeyPatch, path: str) -> Settings:
    (tmp / "own.toml").write_text(toml_of(path, "jam"), encoding="utf-8")
    return load(tmp / "own.toml")


def by_tool_toml(tmp: Path, _: pytest.MonkeyPatch, path: str) -> Settings:
    (tmp / "own.toml").write_text(toml_of(path, "tool.jam"), encoding="utf-8")
    return load(str(tmp / "own.toml"))


def by_json(tmp: Path, _: pytest.MonkeyPatch, path: str) -> Settings:
    document = {"jam": tree_of(path, GOOD[path][0]), "other": {"x": 1}}
    (tmp / "own.json").write_text(json.dumps(document), encoding="utf-8")
    return load(tmp / "own.json")


def by_yaml(tmp: Path, _: pytest.MonkeyPatch, path: str, suffix: str = ".yaml") -> Settings:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    document = {"jam": tree_of(path, GOOD[path][0])}
    (tmp / f"own{suffix}").write_text(yaml.safe_dump(document, allow_unicode=True), "utf-8")
    return load(tmp / f"own{suffix}")


def by_yml(tmp: Path, patch: pytest.MonkeyPatch, path: str) -> Settings:
    return by_yaml(tmp, patch, path, ".yml")


def by_pyproject(tmp: Path, _: pytest.MonkeyPatch, path: str) -> Settings:
    (tmp / "pyproject.toml").write_text(toml_of(path, "tool.jam"), encoding="utf-8")
    return load()


def by_pyproject_without_tool(tmp: Path, _: pytest.MonkeyPatch, path: str) -> Settings:
    (tmp / "pyproject.toml").write_text(toml_of(path, "jam"), encoding="utf-8")
    return load()


def by_environment(_: Path, patch: pytest.MonkeyPatch, path: str) -> Settings:
    patch.setenv(ENV_OF[path], GOOD[path][1])
    return load()


def by_app_config(_: Path, __: pytest.MonkeyPatch, path: str) -> Settings:
    return load(None, {"DEBUG": True, ENV_OF[path]: GOOD[path][0]})


SOURCES: list[Source] = [
    by_mapping, by_toml, by_tool_toml, by_json, by_yaml, by_yml, by_pyproject,
    by_pyproject_without_tool, by_environment, by_app_config,
]  # fmt: skip


def test_the_table_of_this_test_is_complete() -> None:
    assert list(GOOD) == PATHS
    assert all(value_of(Settings(), path) != good for path, (_, _, good) in GOOD.items())


@each_case("source", SOURCES, ids=lambda source: source.__name__)
def test_every_setting_is_reachable_by_every_source(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = {path: value_of(Settings(), path) for path in PATHS}
    for path in PATHS:
        with monkeypatch.context() as patch:
            loaded = source(tmp_path, patch, path)
        found = {each: value_of(loaded, each) for each in PATHS}
        assert found == {**defaults, path: GOOD[path][2]}
        assert type(found[path]) is type(GOOD[path][2])


def test_none_is_nothing_said() -> None:
    for path in PATHS:
        assert load(tree_of(path, None)) == load(None, {ENV_OF[path]: None}) == Settings()


@each_case(
    ("text", "flag"),
    [("1", True), ("true", True), ("Yes", True), ("ON", True),
     ("0", False), ("false", False), ("No", False), ("OFF", False)],
)  # fmt: skip
def test_a_flag_has_many_names_in_the_environment(
    text: str, flag: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAM_COOKIE_SECURE", text)
    assert load().cookie_secure is flag


def test_a_duration_may_be_a_timedelta() -> None:
    assert load({"jwt": {"expire": datetime.timedelta(minutes=5)}}).jwt.expire == 300


def test_a_secret_may_be_bytes() -> None:
    raw = bytes(range(64))
    jwt = load({"jwt": {"secret_key": raw, "secret_key_fallbacks": (raw, "x")}}).jwt
    assert (jwt.secret_key, jwt.secret_key_fallbacks) == (raw, (raw, b"x"))


def test_yamls_off_without_quotes_is_the_word_off(tmp_path: Path) -> None:
    # YAML 1.1 reads it as false.
    pytest.importorskip("yaml", reason="needs PyYAML")
    (tmp_path / "own.yaml").write_text("jam:\n  jwt:\n    list: off\n  cookie_secure: off\n")
    loaded = load(tmp_path / "own.yaml")
    assert loaded.jwt.list == "off"
    assert loaded.cookie_secure is False


def test_samesite_none_goes_with_secure_only() -> None:
    assert load({"cookie_samesite": "None"}).cookie_samesite == "None"
    said = sentence(lambda: load({"cookie_samesite": "None", "cookie_secure": False}))
    assert "cookie_secure" in said


@each_case("other", [{"cookie_secure": False}, {"cookie_samesite": "Strict"}], ids=str)
def test_partitioned_goes_with_what_it_needs_only(other: dict[str, Any]) -> None:
    said = sentence(lambda: load({"cookie_partitioned": True, **other}))
    assert "cookie_partitioned" in said


# --- which source wins ----------------------------------------------------------------


def test_app_config_wins_over_the_environment_and_that_over_pyproject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[tool.jam]\nrealm = 'file'\n[tool.jam.jwt]\nexpire = 1\nleeway = 1\naudience = 'file'\n"
    )
    monkeypatch.setenv("JAM_JWT_EXPIRE", "2")
    monkeypatch.setenv("JAM_JWT_LEEWAY", "2")
    loaded = load(None, {"JAM_JWT_EXPIRE": 3, "TESTING": True, "SECRET_KEY": "flask's own"})
    assert (loaded.jwt.expire, loaded.jwt.leeway) == (3, 2)
    assert (loaded.jwt.audience, loaded.realm) == ("file", "file")
    assert loaded.jwt.secret_key is None


def test_what_app_config_leaves_open_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JAM_JWT_EXPIRE", "2")
    assert load(None, {"JAM_JWT_EXPIRE": None}).jwt.expire == 2


@each_case("kind", ["mapping", "file"])
def test_who_gives_a_configuration_gets_that_and_nothing_else(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.jam]\nrealm = 'elsewhere'\n")
    (tmp_path / "own.toml").write_text("[jam.jwt]\nexpire = 5\n")
    monkeypatch.setenv("JAM_JWT_EXPIRE", "2")
    monkeypatch.setenv("JAM_NO_SUCH_THING", "2")
    given: Any = tmp_path / "own.toml" if kind == "file" else {"jwt": {"expire": 5}}
    loaded = load(given)
    assert (loaded.jwt.expire, loaded.realm) == (5, "api")


def test_a_pyproject_of_others_is_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[project]\nname = 'x'\n[tool.ruff]\nx = '${NOT_OURS}'\n"
    )
    assert load() == Settings()


def test_later_changes_of_a_source_have_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    mapping: dict[str, Any] = {"jwt": {"secret_key_fallbacks": ["a" * 64], "expire": 60}}
    loaded = load(mapping)
    monkeypatch.setenv("JAM_JWT_EXPIRE", "7")
    mapping["jwt"]["secret_key_fallbacks"].append("b" * 64)
    mapping["jwt"]["expire"] = 7
    assert loaded == load({"jwt": {"secret_key_fallbacks": ["a" * 64], "expire": 60}})


def test_the_environment_is_read_when_a_jam_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAM_JWT_SECRET_KEY", SECRET)
    monkeypatch.setenv("JAM_JWT_EXPIRE", "5")
    assert Jam().settings.jwt.expire == 5
    monkeypatch.setenv("JAM_JWT_EXPIRE", "6")
    assert Jam().settings.jwt.expire == 6


def test_the_callers_mapping_is_never_changed() -> None:
    fallbacks = ["f" * 64]
    mapping = {
        "jwt": {"secret_key": SECRET, "secret_key_fallbacks": fallbacks},
        "session": {"idle": 60},
    }
    before = json.dumps(mapping)
    Jam(mapping)
    Jam(mapping)
    assert json.dumps(mapping) == before
    assert mapping["jwt"]["secret_key_fallbacks"] is fallbacks
    frozen = MappingProxyType({"jwt": MappingProxyType({"secret_key": SECRET})})
    assert Jam(frozen).settings.jwt.secret_key == SECRET.encode()


# --- ${VAR} ---------------------------------------------------------------------------


@each_case("suffix", [".toml", ".json", ".yaml"])
def test_a_variable_in_a_text_of_a_file_is_replaced(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SECRET", SECRET)
    monkeypatch.setenv("HOST", "a.example")
    monkeypatch.setenv("NESTED", "${HOST}")
    jwt = {"secret_key": "${MY_SECRET}", "issuer": "https://${HOST}/${HOST}", "expire": 60,
           "audience": "${NESTED}", "secret_key_fallbacks": ["x${MY_SECRET}", "plain"]}  # fmt: skip
    text = json.dumps({"jam": {"jwt": jwt}})
    if suffix == ".toml":
        text = "[jam.jwt]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in jwt.items())
    (tmp_path / f"own{suffix}").write_text(text)
    loaded = load(tmp_path / f"own{suffix}").jwt
    assert loaded.secret_key == SECRET.encode()
    assert loaded.secret_key_fallbacks == (b"x" + SECRET.encode(), b"plain")
    assert loaded.issuer == "https://a.example/a.example"
    assert loaded.audience == "${HOST}", "what came from the environment is not read again"


def test_a_variable_may_be_a_number_or_a_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFE", "60")
    monkeypatch.setenv("SECURE", "off")
    (tmp_path / "own.toml").write_text(
        "[jam]\ncookie_secure = '${SECURE}'\n[jam.jwt]\nexpire = '${LIFE}'\n"
    )
    loaded = load(tmp_path / "own.toml")
    assert (loaded.jwt.expire, loaded.cookie_secure) == (60, False)


@each_case("text", ["$HOME", "$", "{HOST}", "$(HOST)", "a$$b"])
def test_nothing_else_is_replaced(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOST", "a.example")
    (tmp_path / "own.json").write_text(json.dumps({"jam": {"jwt": {"audience": text}}}))
    assert load(tmp_path / "own.json").jwt.audience == text


def test_a_mapping_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "a.example")
    assert load({"jwt": {"audience": "${HOST}"}}).jwt.audience == "${HOST}"


@each_case("file", ["own.toml", "own.json", "own.yaml", "pyproject.toml"])
def test_a_variable_that_is_missing_is_named(file: str, tmp_path: Path) -> None:
    text = '{"jam": {"jwt": {"secret_key": "${NO_SUCH_VARIABLE}"}}}'
    if file.endswith(".toml"):
        text = '[jam.jwt]\nsecret_key = "${NO_SUCH_VARIABLE}"\n'
    (tmp_path / file).write_text(text)
    said = sentence(lambda: load(None if file == "pyproject.toml" else tmp_path / file))
    assert "NO_SUCH_VARIABLE" in said
    assert "set it" in said


# --- unknown keys ---------------------------------------------------------------------

#: What somebody writes, and what is meant.
MISSPELT = {
    "jwt.secretkey": "jwt.secret_key",
    "jwt.secret": "jwt.secret_key",
    "jwt.algorithm": "jwt.alg",
    "jwt.expires": "jwt.expire",
    "jwt.refresh_idel": "jwt.refresh_idle",
    "jwt.cache-size": "jwt.cache_size",
    "session.max_byte": "session.max_bytes",
    "session.absolut": "session.absolute",
    "cookie_samsite": "cookie_samesite",
    "cookie_secured": "cookie_secure",
    "relm": "realm",
}


@each_case("wrong", MISSPELT)
def test_a_misspelt_key_of_a_mapping_gets_the_nearest_right_one(wrong: str) -> None:
    said = sentence(lambda: load(tree_of(wrong, MARKER)))
    assert wrong in said
    assert f"did you mean {MISSPELT[wrong]}?" in said


@each_case("file", ["own.toml", "own.json", "own.yaml", "pyproject.toml"])
def test_a_misspelt_key_of_a_file_gets_the_nearest_right_one(file: str, tmp_path: Path) -> None:
    for wrong, right in MISSPELT.items():
        section, _, name = wrong.rpartition(".")
        text = json.dumps({"jam": tree_of(wrong, MARKER)})
        if file.endswith(".toml"):
            text = f"[{'.'.join(filter(None, ['jam', section]))}]\n{name} = '{MARKER}'\n"
        (tmp_path / file).write_text(text)
        given = None if file == "pyproject.toml" else tmp_path / file
        assert f"did you mean {right}?" in sentence(partial(load, given)), wrong


@each_case("source", ["environment", "app.config"])
def test_a_misspelt_variable_gets_the_nearest_right_one(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong, right in MISSPELT.items():
        name = "JAM_" + wrong.replace(".", "_").replace("-", "_").upper()
        if name in ENV_OF.values():
            continue
        with monkeypatch.context() as patch:
            if source == "environment":
                patch.setenv(name, MARKER)
            said = sentence(partial(load, None, {name: 1} if source == "app.config" else {}))
        assert name in said
        assert f"did you mean {ENV_OF[right]}?" in said, wrong


@each_case(
    ("wrong", "right"),
    [("secret_key", "jwt.secret_key"), ("idle", "session.idle"), ("expire", "jwt.expire"),
     ("max_bytes", "session.max_bytes"), ("jwt.realm", "realm")],
)  # fmt: skip
def test_a_key_in_the_wrong_section_gets_the_right_one(wrong: str, right: str) -> None:
    assert f"did you mean {right}?" in sentence(lambda: load(tree_of(wrong, MARKER)))


@each_case(
    ("wrong", "right"),
    [("jtw", "jwt"), ("JWT", "jwt"), ("sessions", "session"), ("sesion", "session"),
     ("Session", "session")],
)  # fmt: skip
def test_a_misspelt_section_gets_the_right_one(wrong: str, right: str) -> None:
    said = sentence(lambda: load({wrong: {"expire": 5}}))
    assert f"did you mean {right}?" in said


@each_case("unlike", ["zzz", "jwt.zzz", "password_hash_rounds"])
def test_a_key_like_none_gets_the_way_to_the_list(unlike: str) -> None:
    said = sentence(lambda: load(tree_of(unlike, MARKER)))
    assert f"{unlike} is not a setting" in said
    assert "documentation" in said


@each_case("key", [5, None, True, ("jwt", "alg")], ids=repr)
def test_a_key_that_is_no_text_is_unknown(key: Any) -> None:
    assert "is not a setting" in sentence(lambda: load({key: 1}))
    assert "is not a setting" in sentence(lambda: load({"jwt": {key: 1}}))


def test_one_setting_has_one_spelling() -> None:
    # Otherwise two of them could contradict each other.
    assert "jwt" in sentence(lambda: load({"jwt.alg": "HS512", "jwt": {"alg": "HS256"}}))


@each_case("section", ["jwt", "session", "api_key"])
@each_case("value", [None, 5, "x", [], True], ids=repr)
def test_a_section_is_a_mapping(section: str, value: Any) -> None:
    said = sentence(lambda: load({section: value}))
    assert f"{section} is a section" in said
    assert "mapping" in said


# --- bad values -----------------------------------------------------------------------

EMPTY: tuple[Any, ...] = (5, True, 1.5, [], {}, b"x", "", " ", "\n")
NO_TEXT: tuple[Any, ...] = (*EMPTY, "a ", " a", "a\n", "a\r", "\ta", "a\tb", "a\x7f", "a\x85b")
NO_NUMBER: tuple[Any, ...] = (MARKER, "", "1h", "nan", "inf", "-inf", math.nan, math.inf, True,
                              [5], {}, b"5")  # fmt: skip

#: For every setting what it must not be, and what the sentence says then.
BAD: dict[str, tuple[tuple[Any, ...], str]] = {
    "jwt.alg": (
        ("none", "None", "NONE", "", "hs256", "HS265", "RS1024", "ES256K", "Ed25519", "HS256,RS256",
         "HS256 ", MARKER, 256, True, ["HS256"], {"HS256": 1}, b"HS256"), "must be one of HS256",
    ),
    "jwt.secret_key": ((5, True, [SECRET], {"k": SECRET}, "", b"", "x" * 64 + "\udcff"), "must be"),
    "jwt.secret_key_fallbacks": (
        (5, True, {"a": 1}, b"x" * 64, [5], [""], [None], ["a", b""]), "must be",
    ),
    "jwt.private_key": (EMPTY, "must be a"),
    "jwt.public_key": (EMPTY, "must be a"),
    "jwt.private_key_file": (NO_TEXT, "must be a"),
    "jwt.public_key_file": (NO_TEXT, "must be a"),
    "jwt.keyring": (NO_TEXT, "must be a"),
    "jwt.jwks_path": (
        (*NO_TEXT, "keys", "/", "/a/", "//a", "/a b", "/<x>", "/a?b", "https://a.example/k"),
        "must be a",
    ),
    "jwt.expire": ((*NO_NUMBER, 0, -1, 0.5, 1e10), "must be"),
    "jwt.refresh_idle": ((*NO_NUMBER, 0, -1, 1e10), "must be"),
    "jwt.refresh_absolute": ((*NO_NUMBER, 0, -1, 1e10), "must be"),
    "jwt.refresh_grace": ((*NO_NUMBER, -1, 301), "must be"),
    "jwt.rotate_refresh_tokens": (
        (5, 2, "maybe", "", MARKER, [], {}, b"1"), "must be true or false",
    ),
    "jwt.max_lifetime": ((*NO_NUMBER, 0, -1, 1e10), "must be"),
    "jwt.issuer": ((*NO_TEXT, "x" * 257, "a\udcff"), "must be a"),
    "jwt.audience": ((*NO_TEXT, ["a", "b"], "x" * 257, "a\udcff"), "must be a"),
    "jwt.leeway": ((*NO_NUMBER, -1, 301, datetime.timedelta(days=1)), "must be"),
    "jwt.list": (("black", "white", "none", "", "Deny", True, None.__class__, 5, ["deny"], MARKER),
                 "must be one of deny, allow, off"),
    "jwt.max_logins": ((*NO_NUMBER, -1, 1.5, 1e8), "must be"),
    "jwt.cache_size": ((*NO_NUMBER, -1, 1.5, 1e8), "must be"),
    "jwt.max_token_bytes": ((*NO_NUMBER, 0, 255, 65537, 300.5), "must be"),
    "session.idle": ((*NO_NUMBER, 0, -1, 1e10), "must be"),
    "session.absolute": ((*NO_NUMBER, 0, -1, 1e10), "must be"),
    "session.remember": ((5, 2, "maybe", "", MARKER, [], {}, b"1"), "must be true or false"),
    "session.remember_idle": ((*NO_NUMBER, 0, -1, 1e10), "must be"),
    "session.remember_absolute": ((*NO_NUMBER, 0, -1, 1e10), "must be"),
    "session.max_bytes": ((*NO_NUMBER, 0, 63, 1e9), "must be"),
    "session.max_per_owner": ((*NO_NUMBER, -1, 1.5, 1e8), "must be"),
    "api_key.prefix": (
        (*NO_TEXT, "a", "a" * 17, "Acme", "2fa", "a_b", "a-b", "a.b", "é1", "a٣"), "must be",
    ),
    "issuers": ((5, True, {"preset": "google"}, MARKER, "", "{}", "[", "5", b"[]"), "must be"),
    "redis_url": (NO_TEXT, "must be a"),
    "redis_prefix": ((*NO_TEXT, "a b", "{a}", "a*", "é", "x" * 65), "must be"),
    "redis_timeout": ((*NO_NUMBER, 0, -1, 0.001, 31), "must be"),
    "redis_pool": ((*NO_NUMBER, 0, -1, 1.5, 10_001), "must be"),
    "near_cache": ((5, 2, "maybe", "", MARKER, [], {}, b"1"), "must be true or false"),
    "near_cache_silence": ((*NO_NUMBER, 0, -1, 0.05, 61), "must be"),
    "realm": ((*NO_TEXT, 'a"b', "a\\b", "a\nb", "a\r\nSet-Cookie: x=1", "é", "\x7f"), "must be"),
    "trusted_origins": (
        (5, True, {"a": 1}, "*", "app.example.org", ["https://*.example.org"], ["https://a/"],
         ["https://a/b"], [5], ["null"], ["ftp://a"], ["https://a:0443"], ["https://u@a"],
         ["https://a:65536"], ["capacitor://"], ["capacitor://*"], ["capacitor://localhost/"],
         ["file://a"], [MARKER], ["https://a b"], ["https://"]),
        "must be",
    ),
    "cookie_secure": ((5, 2, "maybe", "", MARKER, [], {}, b"1"), "must be true or false"),
    "cookie_samesite": (
        ("lax", "none", "", True, False, 5, MARKER), "must be one of Lax, Strict, None",
    ),
    "cookie_domain": ((*NO_TEXT, "a b", "https://example.org", "example.org/", "example..org",
                       "a;b", "example.org:80", "é.example"), "must be"),
    "cookie_path": ((*NO_TEXT, "shop", "/a;b", "/a b", "/a?b", "/é", "https://a.example/"),
                    "must be"),
    "cookie_partitioned": ((5, 2, "maybe", "", MARKER, [], {}, b"1"), "must be true or false"),
    "login_view": ((*NO_TEXT, "https://example.org/login", "//evil.example", "/a b", "login form",
                    "/login?x=1", "/\\evil.example", "/login\n", "é", "a/b"), "must be"),
    "login_views": (
        (5, True, ["admin=login"], MARKER, "admin", "admin=", "=login", "admin=//evil.example",
         {"admin": "https://evil.example"}, {"admin": None}, {"admin": ["login"]}, {5: "login"},
         {"": "login"}, {"a\n": "login"}), "must",
    ),
    "login_message": (NO_TEXT, "must be a"),
    "login_message_category": (NO_TEXT, "must be a"),
}  # fmt: skip


def test_the_table_of_bad_values_is_complete() -> None:
    assert list(BAD) == PATHS


def flaw_in(said: str, path: str) -> str | None:
    """What the sentence about a bad value of a setting lacks."""
    wanted = (path, ENV_OF[path], BAD[path][1])
    return next((phrase for phrase in wanted if phrase not in said), None)


@each_case("path", PATHS)
@each_case("source", ["mapping", "app.config"])
def test_bad_value_is_an_error_with_setting_name_and_hint(path: str, source: str) -> None:
    wrong: dict[str, object] = {}
    for value in BAD[path][0]:
        given = (
            (tree_of(path, value), None) if source == "mapping" else (None, {ENV_OF[path]: value})
        )
        try:
            wrong[repr(value)[:20]] = flaw_in(sentence(lambda given=given: load(*given)), path)  # type: ignore[misc]
        except Exception as error:
            wrong[repr(value)[:20]] = error
        except pytest.fail.Exception:
            wrong[repr(value)[:20]] = "taken"
    assert {value: flaw for value, flaw in wrong.items() if flaw} == {}


@each_case("path", PATHS)
def test_a_bad_text_in_the_environment_is_the_same_error(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in BAD[path][0]:
        if isinstance(value, str) and "\udcff" not in value:
            monkeypatch.setenv(ENV_OF[path], value)
            assert flaw_in(sentence(load), path) is None, repr(value)


def test_secret_that_is_not_utf8_is_an_error_with_a_hint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Bytes of the environment that are no UTF-8 arrive as lone surrogates.
    monkeypatch.setenv("JAM_JWT_SECRET_KEY", SECRET + "\udcff")
    said = sentence(load)
    assert "must be a long random string in valid UTF-8" in said
    assert "codec" not in said


@each_case(
    ("path", "value", "right"),
    [("jwt.alg", "HS265", "HS256"), ("jwt.alg", "hs256", "HS256"), ("jwt.alg", "ES265", "ES256"),
     ("jwt.list", "denny", "deny"), ("jwt.list", "Allow", "allow"),
     ("cookie_samesite", "strict", "Strict"), ("cookie_samesite", "lax", "Lax")],
)  # fmt: skip
def test_a_misspelt_word_gets_the_nearest_right_one(path: str, value: str, right: str) -> None:
    assert f"did you mean {right}?" in sentence(lambda: load(tree_of(path, value)))


# --- bad files ------------------------------------------------------------------------

#: File, content, and what the sentence says.
BAD_FILES: dict[str, tuple[str, str | bytes | None, tuple[str, ...]]] = {
    "missing": ("no.toml", None, ("no.toml", "cannot be read")),
    "wrong suffix": ("own.ini", "[jam]", ("own.ini", ".toml", ".json", ".yaml", ".yml")),
    "no suffix": ("own", "[jam]", ("own", ".toml")),
    "suffix of a copy": ("own.toml.bak", "[jam]", (".toml",)),
    "Python": ("own.py", "jam = {}", (".toml",)),
    "broken TOML": (
        "own.toml",
        f'[jam.jwt]\nsecret_key = "{MARKER}\n',
        ("own.toml", "not valid TOML"),
    ),
    "TOML with a key twice": (
        "own.toml",
        f"[jam]\nrealm = '{MARKER}'\nrealm = 'b'\n",
        ("not valid TOML",),
    ),
    "broken JSON": (
        "own.json",
        f'{{"jam": {{"jwt": {{"secret_key": "{MARKER}',
        ("own.json", "not valid JSON"),
    ),
    "empty JSON": ("own.json", "", ("not valid JSON",)),
    "broken YAML": ("own.yaml", f"jam:\n  jwt: [{MARKER}", ("own.yaml", "not valid YAML")),
    "broken yml": ("own.yml", f"jam: '{MARKER}", ("own.yml", "not valid YML")),
    "YAML that makes objects": (
        "own.yaml",
        f"jam: !!python/object/apply:os.getenv ['{MARKER}']",
        ("not valid",),
    ),
    "not UTF-8": ("own.toml", b"[jam]\nrealm = '\xff'\n", ("not valid TOML",)),
    "empty TOML": ("own.toml", "", ("no settings", "[jam]", "[tool.jam]")),
    "empty YAML": ("own.yaml", "", ("no settings", "[jam]")),
    "settings of others": ("own.toml", f"[flask]\nx = '{MARKER}'\n", ("no settings", "[jam]")),
    "settings without a table": ("own.json", '{"jwt": {"expire": 5}}', ("no settings", "[jam]")),
    "a list": ("own.json", "[1]", ("no settings", "[jam]")),
    "both tables": (
        "own.toml",
        "[jam]\nrealm='a'\n[tool.jam]\nrealm='b'\n",
        ("one table", "[jam] or [tool.jam]"),
    ),
    "both tables in JSON": ("own.json", '{"jam": {}, "tool": {"jam": {}}}', ("one table",)),
    "no table": ("own.json", '{"jam": 5}', ("table", "[jam]")),
    "a list of tables": ("own.toml", "[[jam]]\nrealm = 'a'\n", ("table", "[jam]")),
    "no section": ("own.toml", "[jam]\njwt = 5\n", ("jwt is a section", "mapping")),
}


@each_case("what", BAD_FILES)
def test_a_file_that_is_not_right_is_an_error_that_says_what_to_write(
    what: str, tmp_path: Path
) -> None:
    name, content, phrases = BAD_FILES[what]
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for given in (path, str(path)):
        said = sentence(partial(load, given))
        assert [phrase for phrase in phrases if phrase not in said] == []


@each_case("what", [w for w, row in BAD_FILES.items() if row[0].endswith("own.toml")])
def test_a_pyproject_that_is_not_right_is_the_same_error(what: str, tmp_path: Path) -> None:
    _, content, phrases = BAD_FILES[what]
    assert content is not None
    raw = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "pyproject.toml").write_bytes(raw)
    if "no settings" in phrases:
        assert load() == Settings()
    else:
        said = sentence(load)
        assert [p for p in phrases if p.replace("own.toml", "pyproject.toml") not in said] == []


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "own.toml").mkdir()
    assert "cannot be read" in sentence(lambda: load(tmp_path / "own.toml"))


def test_yaml_without_its_extra_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "yaml", None)
    (tmp_path / "own.yaml").write_text("jam: {}")
    assert "Flask-Jam[yaml]" in sentence(lambda: load(tmp_path / "own.yaml"))


# --- bad keys -------------------------------------------------------------------------


@lru_cache
def certificate() -> str:
    key, name = key_of("P-256"), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    day = datetime.datetime(2026, 1, 1)
    builder = x509.CertificateBuilder(
        issuer_name=name, subject_name=name, public_key=key.public_key(), serial_number=7,
        not_valid_before=day, not_valid_after=day + datetime.timedelta(days=3650),
    )  # fmt: skip
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def der(kind: str) -> bytes:
    public: bytes = (
        key_of(kind)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return public


def private_der(kind: str) -> bytes:
    private: bytes = key_of(kind).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private


def ssh(kind: str) -> bytes:
    line: bytes = (
        key_of(kind)
        .public_key()
        .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    )
    return line


def b64_lines(raw: bytes) -> str:
    return base64.encodebytes(raw).decode()


ASYMMETRIC_SECRETS: dict[str, Callable[[], str | bytes]] = {
    "public PEM": lambda: pem_for("RS256").public,
    "private PEM": lambda: pem_for("RS256").private,
    "private PEM of a curve": lambda: pem_for("ES256").private,
    "certificate": certificate,
    "PEM as bytes": lambda: pem_for("RS256").public.encode(),
    "PEM after a blank line": lambda: "\n \n" + pem_for("RS256").public,
    "PEM after a byte order mark": lambda: "\ufeff" + pem_for("RS256").public,
    "PEM after a comment": lambda: "subject: x\n" + pem_for("RS256").public,
    "PEM in UTF-16": lambda: pem_for("RS256").public.encode("utf-16"),
    "PKCS#1 PEM": lambda: key_of("RSA2048").public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.PKCS1).decode(),
    "public DER": lambda: der("RSA2048"),
    "public DER of a curve": lambda: der("P-256"),
    "public DER of Ed25519": lambda: der("Ed25519"),
    "private DER": lambda: private_der("P-256"),
    "certificate as DER": lambda: base64.b64decode("".join(certificate().splitlines()[1:-1])),
    "public DER in base64": lambda: base64.b64encode(der("RSA2048")).decode(),
    "public DER in lines of base64": lambda: b64_lines(der("P-256")),
    "body of a PEM": lambda: "".join(pem_for("RS256").public.splitlines()[1:-1]),
    "SSH RSA": lambda: ssh("RSA2048").decode(),
    "SSH Ed25519": lambda: ssh("Ed25519").decode(),
    "SSH ECDSA": lambda: ssh("P-256"),
    "JWK": lambda: json.dumps(jwk_of("RSA2048")),
    "private JWK": lambda: json.dumps(jwk_of("P-256", private=True)),
    "indented JWK": lambda: "\n" + json.dumps(jwk_of("P-256"), indent=2),
    "JWK Set": lambda: json.dumps({"keys": [jwk_of("P-256")]}),
    "secret JWK": lambda: json.dumps(oct_of(SECRET.encode())),
    "list of JWKs": lambda: json.dumps([jwk_of("P-256")]),
}  # fmt: skip


@each_case("setting", ["secret_key", "secret_key_fallbacks"])
@each_case("what", ASYMMETRIC_SECRETS)
def test_a_secret_that_is_a_public_or_private_key_is_refused(what: str, setting: str) -> None:
    key = ASYMMETRIC_SECRETS[what]()
    jwt: dict[str, Any] = {"secret_key": key}
    if setting == "secret_key_fallbacks":
        jwt = {"secret_key": SECRET, setting: [key]}
    said = sentence(lambda: Jam({"jwt": jwt}))
    assert "jwt.private_key" in said
    assert "secrets.token_urlsafe" in said
    text = key if isinstance(key, str) else key.decode("latin-1")
    assert not [line for line in text.split() if len(line) > 12 and line in said]


def pem(kind: str) -> str:
    return pem_of(key_of(kind)).private


def public_pem(numbers: rsa.RSAPublicNumbers) -> str:
    return (
        numbers.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def x25519_private() -> str:
    return pem_of(x25519.X25519PrivateKey.generate()).private


RS, ES = {"alg": "RS256"}, {"alg": "ES256"}

BAD_KEYS: dict[str, tuple[Callable[[], Mapping[str, Any]], tuple[str, ...]]] = {
    "HS256 with 31 bytes": (
        lambda: {"secret_key": MARKER + "k" * 25},
        ("31 bytes", "needs 32", "token_urlsafe"),
    ),
    "HS384 with 47 bytes": (
        lambda: {"alg": "HS384", "secret_key": MARKER + "k" * 41},
        ("47 bytes", "needs 48"),
    ),
    "HS512 with 63 bytes": (
        lambda: {"alg": "HS512", "secret_key": MARKER + "k" * 57},
        ("63 bytes", "needs 64"),
    ),
    "short former secret": (
        lambda: {"secret_key": SECRET, "secret_key_fallbacks": [MARKER]},
        ("needs 32",),
    ),
    "a printed secret": (
        lambda: {"secret_key": "a-string-secret-at-least-256-bits-long"},
        ("manuals", "token_urlsafe"),
    ),
    "former secret only": (lambda: {"secret_key_fallbacks": [SECRET]}, ("jwt.secret_key",)),
    "former secret is the present one": (
        lambda: {"secret_key": SECRET, "secret_key_fallbacks": [SECRET]},
        ("secret_key_fallbacks", "remove"),
    ),
    "one former secret twice": (
        lambda: {"secret_key": SECRET, "secret_key_fallbacks": ["f" + SECRET] * 2},
        ("secret_key_fallbacks", "remove"),
    ),
    "secret and private key": (
        lambda: {"secret_key": SECRET, "private_key": pem("RSA2048")},
        ("jwt.secret_key", "RS256"),
    ),
    "secret and public key": (
        lambda: {"secret_key": SECRET, "public_key": pem_for("RS256").public},
        ("jwt.secret_key", "remove"),
    ),
    "private key for HS256": (lambda: {"private_key": pem("RSA2048")}, ("jwt.alg HS256", "RS256")),
    "secret for RS256": (
        lambda: {**RS, "secret_key": SECRET},
        ("jwt.alg RS256", "remove jwt.secret_key"),
    ),
    "former secret for RS256": (
        lambda: {**RS, "private_key": pem("RSA2048"), "secret_key_fallbacks": [SECRET]},
        ("remove",),
    ),
    "secret and key for RS256": (
        lambda: {**RS, "private_key": pem("RSA2048"), "secret_key": SECRET},
        ("remove jwt.secret_key",),
    ),
    "private key twice": (
        lambda: {**RS, "private_key": pem("RSA2048"), "private_key_file": "x.pem"},
        ("jwt.private_key or jwt.private_key_file, not both",),
    ),
    "public key twice": (
        lambda: {**RS, "public_key": pem_for("RS256").public, "public_key_file": "x.pem"},
        ("jwt.public_key or jwt.public_key_file, not both",),
    ),
    "private key file missing": (
        lambda: {**RS, "private_key_file": "no.pem"},
        ("jwt.private_key_file cannot be read",),
    ),
    "public key file missing": (
        lambda: {**RS, "public_key_file": "no.pem"},
        ("jwt.public_key_file cannot be read",),
    ),
    "private key file is a folder": (
        lambda: {**RS, "private_key_file": "."},
        ("jwt.private_key_file cannot be read",),
    ),
    "private key is no PEM": (
        lambda: {**RS, "private_key": MARKER},
        ("jwt.private_key", "-----BEGIN PRIVATE KEY-----"),
    ),
    "public key is no PEM": (
        lambda: {**RS, "public_key": MARKER},
        ("jwt.public_key", "-----BEGIN PUBLIC KEY-----"),
    ),
    "private key is the name of a file": (
        lambda: {**RS, "private_key": "key.pem"},
        ("-----BEGIN PRIVATE KEY-----",),
    ),
    "public PEM as private key": (
        lambda: {**RS, "private_key": pem_for("RS256").public},
        ("jwt.private_key",),
    ),
    "private PEM as public key": (
        lambda: {**RS, "public_key": pem("RSA2048")},
        ("jwt.public_key", "a private key belongs in jwt.private_key"),
    ),
    "certificate as public key": (
        lambda: {**ES, "public_key": certificate()},
        ("jwt.public_key", "openssl x509 -pubkey"),
    ),
    "certificate as private key": (
        lambda: {**ES, "private_key": certificate()},
        ("jwt.private_key",),
    ),
    "encrypted private key": (
        lambda: {**RS, "private_key": pem_of(key_of("RSA2048"), b"passphrase").private},
        ("encrypted", "passphrase"),
    ),
    "truncated private key": (
        lambda: {**RS, "private_key": pem("RSA2048")[:500]},
        ("jwt.private_key",),
    ),
    "halves of two RSA keys": (
        lambda: {**RS, "private_key": pem("RSA2048"), "public_key": pem_for("RS256", 1).public},
        ("jwt.public_key is not the public half of jwt.private_key", "remove it"),
    ),
    "halves of two EC keys": (
        lambda: {**ES, "private_key": pem("P-256"), "public_key": pem_for("ES256", 1).public},
        ("jwt.public_key is not the public half",),
    ),
    "halves of two families": (
        lambda: {**ES, "private_key": pem("P-256"), "public_key": pem_for("RS256").public},
        ("public half",),
    ),
    "RSA of 1024 bits": (
        lambda: {**RS, "private_key": pem("RSA1024")},
        ("jwt.alg RS256", "2048 bits or more"),
    ),
    "public RSA of 1024 bits": (
        lambda: {**RS, "public_key": pem_of(key_of("RSA1024")).public},
        ("2048 bits or more",),
    ),
    "RSA with an exponent of 3": (
        lambda: {**RS, "private_key": pem_of(rsa.generate_private_key(3, 2048)).private},
        ("exponent", "65537"),
    ),
    "RSA of a faulty generator": (
        # A modulus with the fingerprint of ROCA, though no product of two primes.
        lambda: {**RS, "public_key": public_pem(rsa.RSAPublicNumbers(65537, 65537**128))},
        ("faulty generator", "make a new one"),
    ),
    "PS256 with 1024 bits": (
        lambda: {"alg": "PS256", "private_key": pem("RSA1024")},
        ("2048 bits or more",),
    ),
    "EC key for RS256": (
        lambda: {**RS, "private_key": pem("P-256")},
        ("jwt.alg RS256", "an RSA key"),
    ),
    "EC key for PS512": (
        lambda: {"alg": "PS512", "private_key": pem("P-521")},
        ("jwt.alg PS512", "an RSA key"),
    ),
    "Ed25519 key for RS256": (lambda: {**RS, "private_key": pem("Ed25519")}, ("an RSA key",)),
    "RSA key for ES256": (
        lambda: {**ES, "private_key": pem("RSA2048")},
        ("jwt.alg ES256", "secp256r1"),
    ),
    "P-384 for ES256": (
        lambda: {**ES, "private_key": pem("P-384")},
        ("jwt.alg ES256", "secp256r1"),
    ),
    "P-256 for ES384": (lambda: {"alg": "ES384", "private_key": pem("P-256")}, ("secp384r1",)),
    "P-256 for ES512": (
        lambda: {"alg": "ES512", "public_key": pem_for("ES256").public},
        ("secp521r1",),
    ),
    "secp256k1 for ES256": (lambda: {**ES, "private_key": pem("K-256")}, ("secp256r1",)),
    "RSA key for EdDSA": (
        lambda: {"alg": "EdDSA", "private_key": pem("RSA2048")},
        ("jwt.alg EdDSA", "Ed25519"),
    ),
    "EC key for EdDSA": (lambda: {"alg": "EdDSA", "private_key": pem("P-256")}, ("Ed25519",)),
    "X25519 key for EdDSA": (
        lambda: {"alg": "EdDSA", "private_key": x25519_private()},
        ("Ed25519",),
    ),
    "no algorithm at all": (
        lambda: {"alg": "none", "secret_key": SECRET},
        ("must be one of HS256",),
    ),
}


@each_case("what", BAD_KEYS)
def test_a_key_that_does_not_fit_is_an_error_that_says_what_to_write(what: str) -> None:
    make, phrases = BAD_KEYS[what]
    jwt = make()
    said = sentence(lambda: Jam({"jwt": jwt}))
    assert [phrase for phrase in phrases if phrase not in said] == []
    for value in jwt.values():
        lines = [line for line in str(value).splitlines() if len(line) > 30 and "-----" not in line]
        assert not [line for line in lines if line in said]


@each_case("kind", ["private", "public"])
def test_a_key_file_that_is_no_text_is_an_error_that_says_so(kind: str, tmp_path: Path) -> None:
    (tmp_path / "key.der").write_bytes(private_der("RSA2048"))
    jwt = {"alg": "RS256", f"{kind}_key_file": str(tmp_path / "key.der")}
    assert f"jwt.{kind}_key_file is not PEM" in sentence(lambda: Jam({"jwt": jwt}))


def test_the_smallest_secrets_that_fit_are_taken() -> None:
    for alg, size in (("HS256", 32), ("HS384", 48), ("HS512", 64)):
        assert Jam({"jwt": {"alg": alg, "secret_key": SECRET[:size]}})
    assert Jam({"jwt": {"secret_key": "é" * 8 + "0123456789abcdef"}}), "bytes count, not letters"


def test_the_same_mistakes_in_the_environment_are_the_same_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JAM_JWT_SECRET_KEY", pem_for("RS256").public)
    assert "jwt.private_key" in sentence(Jam)
    monkeypatch.setenv("JAM_JWT_SECRET_KEY", MARKER)
    assert "needs 32" in sentence(Jam)


# --- one reader for secret keys -------------------------------------------------------

BASE = SECRET[:40]
#: Secrets that are awkward to write in a list with commas.
AWKWARD = {
    "plain": SECRET,
    "newline at the end": SECRET + "\n",
    "carriage return and newline": SECRET + "\r\n",
    "newline within": f"{BASE}\n{BASE}",
    "space in front": " " + SECRET,
    "spaces around": f"  {SECRET}  ",
    "comma": f"{BASE},{BASE}",
    "comma at the end": SECRET + ",",
    "comma at the start": "," + SECRET,
    "comma, then a short part": SECRET + ",short",
    "short parts": "ab1,cd2,ef3,gh4,ij5,kl6,mn7,op8,qr9,st0",
    "comma and newline": f"{BASE},\n{BASE}\n",
    "quotes": f'"{SECRET}"',
    "JSON list": json.dumps([SECRET, "x" + SECRET]),
    "JSON list of short texts": json.dumps(list("abcdefghijklmnop")),
    "JSON list of numbers": json.dumps(list(range(30))),
    "JSON object": json.dumps({"a": SECRET}),
    "brackets": "[" * 2000 + SECRET,
    "digits": "1234567890" * 7,
    "not ASCII": "éàü€" * 16,
    "no-break space at the end": SECRET + "\xa0",
    "byte order mark": "\ufeff" + SECRET,
}
NEW_SECRET = "n3w-" + SECRET[::-1]


def of_config(**names: Any) -> Jam:
    return Jam(load(None, {f"JAM_JWT_{name}": value for name, value in names.items()}))


@each_case("alg", ["HS256", "HS384", "HS512"])
@each_case("what", AWKWARD)
def test_a_secret_that_becomes_a_fallback_verifies_whatever_it_contains(
    what: str, alg: str
) -> None:
    secret = AWKWARD[what] if alg == "HS256" else AWKWARD[what] + AWKWARD[what]
    before = of_config(ALG=alg, SECRET_KEY=secret)
    token = before.issue_tokens("ann")
    for fallbacks in (secret, [secret], json.dumps([secret])):
        after = of_config(ALG=alg, SECRET_KEY=NEW_SECRET, SECRET_KEY_FALLBACKS=fallbacks)
        assert after.verify_jwt_token(token["access_token"])["sub"] == "ann"


@each_case("what", [what for what in AWKWARD if "\0" not in AWKWARD[what]])
def test_a_secret_of_the_environment_that_becomes_a_fallback_verifies(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAM_JWT_SECRET_KEY", AWKWARD[what])
    pair = Jam().issue_tokens("ann")
    monkeypatch.setenv("JAM_JWT_SECRET_KEY_FALLBACKS", AWKWARD[what])
    monkeypatch.setenv("JAM_JWT_SECRET_KEY", NEW_SECRET)
    assert Jam().verify_jwt_token(pair["access_token"])["sub"] == "ann"


@hypothesis.settings(deadline=None)
@hypothesis.given(st.text(alphabet=" ,\n\r\t\"'[]\\ab1é", min_size=32, max_size=80))
def test_any_text_that_becomes_a_fallback_verifies(secret: str) -> None:
    former = KeyRing.from_settings(load({"jwt": {"secret_key": secret}}).jwt).signer
    jwt = {"secret_key": NEW_SECRET, "secret_key_fallbacks": secret}
    assert former is not None
    assert KeyRing.from_settings(load({"jwt": jwt}).jwt).find({"kid": former.kid}) == former


def test_each_secret_of_a_text_with_commas_verifies() -> None:
    several = ["a" + SECRET, "b" + SECRET + "\n", "c" + SECRET]
    pairs = [of_config(SECRET_KEY=each).issue_tokens("ann") for each in several]
    for text in (",".join(several), ", ".join(several), json.dumps(several)):
        after = of_config(SECRET_KEY=NEW_SECRET, SECRET_KEY_FALLBACKS=text)
        for pair in pairs:
            assert after.verify_jwt_token(pair["access_token"])["sub"] == "ann"


@each_case("text", ["", " ", ",", " , \n", "[]", '[""]'])
def test_a_text_without_a_secret_is_no_fallback(text: str) -> None:
    assert load({"jwt": {"secret_key_fallbacks": text}}).jwt.secret_key_fallbacks == ()


@each_case(
    "text",
    [SECRET + "\n", f"{SECRET},{SECRET} ", f"{SECRET},x{SECRET},x{SECRET}", f" {SECRET},"],
    ids=len,
)
def test_what_a_text_of_fallbacks_reads_twice_is_no_error(text: str) -> None:
    assert of_config(SECRET_KEY=SECRET, SECRET_KEY_FALLBACKS=text)


def test_a_text_that_is_the_present_secret_is_an_error() -> None:
    said = sentence(lambda: of_config(SECRET_KEY=SECRET, SECRET_KEY_FALLBACKS=SECRET))
    assert "duplicate" in said


@each_case("text", [MARKER, f"{MARKER}, {MARKER}x", json.dumps([MARKER])])
def test_a_text_of_fallbacks_that_is_too_short_is_an_error(text: str) -> None:
    said = sentence(lambda: of_config(SECRET_KEY=SECRET, SECRET_KEY_FALLBACKS=text))
    assert "jwt.secret_key_fallbacks has" in said
    assert "HS256 needs 32" in said


def test_a_list_of_fallbacks_is_taken_as_it_is() -> None:
    listed = [f" {SECRET},x", f"{SECRET}\n"]
    loaded = load({"jwt": {"secret_key_fallbacks": listed}}).jwt
    assert loaded.secret_key_fallbacks == tuple(each.encode() for each in listed)
    said = sentence(lambda: of_config(SECRET_KEY=SECRET, SECRET_KEY_FALLBACKS=[f"x,{MARKER}"]))
    assert "needs 32" in said


# --- whitespace around a secret -------------------------------------------------------


def warnings_of(job: Callable[[], object], caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING, "flask_jam"):
        job()
    assert SECRET not in caplog.text
    assert MARKER not in caplog.text
    return [record.getMessage() for record in caplog.records]


@each_case(
    "secret",
    [SECRET + "\n", SECRET + "\r\n", SECRET + " ", "\t" + SECRET, SECRET + "\xa0",
     "\ufeff" + SECRET, (SECRET + "\n").encode()],
)  # fmt: skip
def test_whitespace_around_a_secret_is_kept_and_warned_of_once(
    secret: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    jwt = {"secret_key": secret}
    (said,) = warnings_of(lambda: Jam({"jwt": jwt}), caplog)
    assert said.startswith("jwt.secret_key: ")
    assert "whitespace" in said
    assert ".strip()" in said
    raw = secret if isinstance(secret, bytes) else secret.encode()
    assert Jam({"jwt": jwt}).settings.jwt.secret_key == raw


def test_whitespace_around_a_former_secret_is_warned_of_in_a_list_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def start(fallbacks: Any) -> Callable[[], object]:
        return lambda: of_config(SECRET_KEY=SECRET, SECRET_KEY_FALLBACKS=fallbacks)

    (said,) = warnings_of(start([f"x{SECRET}\n", f"y{SECRET} "]), caplog)
    assert said.startswith("jwt.secret_key_fallbacks: ")
    assert warnings_of(start(f"x{SECRET}\n"), caplog) == [], "it is read without the newline, too"
    assert warnings_of(start(f"x{SECRET}, y{SECRET}"), caplog) == []


def test_one_warning_names_both_settings(caplog: pytest.LogCaptureFixture) -> None:
    jwt = {"secret_key": SECRET + "\n", "secret_key_fallbacks": [f"x{SECRET}\n"]}
    (said,) = warnings_of(lambda: Jam({"jwt": jwt}), caplog)
    assert said.startswith("jwt.secret_key and jwt.secret_key_fallbacks: ")


@each_case(
    "secret",
    [SECRET, f"{SECRET[:30]} {SECRET}", b"\n" + bytes(range(100, 200)),
     b"\x00\x01" * 20 + SECRET.encode() + b" "],
    ids=len,
)  # fmt: skip
def test_no_other_secret_is_warned_of(
    secret: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    assert warnings_of(lambda: Jam({"jwt": {"secret_key": secret}}), caplog) == []


def test_a_printed_secret_is_refused_with_a_newline_too() -> None:
    said = sentence(lambda: of_config(SECRET_KEY="a-string-secret-at-least-256-bits-long\n"))
    assert "manuals" in said


# --- strings that are checked at start ------------------------------------------------


@each_case(
    ("value", "kind"),
    [(int("12345678" * 8), "int: from_prefixed_env reads digits as a number"),
     (1e300, "float: from_prefixed_env reads digits as a number"),
     (True, "bool: from_prefixed_env reads true and false as a flag"),
     ([MARKER], "list"), ({MARKER: 1}, "dict")],
)  # fmt: skip
@each_case(
    "path",
    ["jwt.secret_key", "jwt.issuer", "jwt.private_key", "realm", "redis_prefix", "redis_url"],
)
def test_a_value_that_is_no_string_is_an_error_that_names_its_type(
    path: str, value: Any, kind: str
) -> None:
    said = sentence(lambda: load(tree_of(path, value)))
    assert f"string, got {kind}" in said
    assert "12345678" not in said


def test_a_secret_of_digits_by_from_prefixed_env_is_an_error_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flask import Flask

    digits = "12345678" * 8
    monkeypatch.setenv("FLASK_JAM_JWT_SECRET_KEY", digits)
    app = Flask("digits")
    app.config.from_prefixed_env()
    said = sentence(lambda: load(None, app.config))
    assert "jwt.secret_key (JAM_JWT_SECRET_KEY) must be" in said
    assert "got int: from_prefixed_env reads digits as a number" in said
    assert digits not in said
    # Both of what the sentence says to do.
    monkeypatch.setenv("FLASK_JAM_JWT_SECRET_KEY", f'"{digits}"')
    app.config.from_prefixed_env()
    assert load(None, app.config).jwt.secret_key == digits.encode()
    monkeypatch.setenv("JAM_JWT_SECRET_KEY", digits)
    assert load().jwt.secret_key == digits.encode()


def test_a_flag_by_from_prefixed_env_may_be_a_digit() -> None:
    assert load(None, {"JAM_COOKIE_SECURE": 1}).cookie_secure is True
    assert load(None, {"JAM_NEAR_CACHE": 0}).near_cache is False


@each_case("name", ["issuer", "audience"])
@each_case(
    "character", ["\0", "\t", "\n", "\r", "\x1f", "\x7f", "\x85", "\x9f", "\ud800"], ids=ascii
)
def test_what_no_token_may_name_is_refused_at_start(name: str, character: str) -> None:
    for value in (f"https://a{character}b", f"https://ab{character}"):
        assert f"jwt.{name} " in sentence(lambda value=value: load({"jwt": {name: value}}))  # type: ignore[misc]


@each_case("value", ["x", "x" * 256, "https://a.example/ü", "my api"], ids=len)
def test_an_issuer_and_audience_that_start_are_good_for_a_login(value: str) -> None:
    jwt = {"secret_key": SECRET, "issuer": value, "audience": value}
    jam = Jam({"jwt": jwt})
    token = jam.issue_tokens("ann")["access_token"]
    assert jam.verify_jwt_token(token)["iss"] == value


def test_a_key_file_may_have_spaces_in_its_path(tmp_path: Path) -> None:
    path = tmp_path / "my keys" / "private key.pem"
    path.parent.mkdir()
    path.write_text(pem_for("ES256").private)
    assert Jam({"jwt": {"alg": "ES256", "private_key_file": str(path)}})


# --- origins --------------------------------------------------------------------------

ORIGINS = {
    "https://a.example": "https://a.example",
    "https://A.Example:443": "https://a.example",
    "http://a.example:80": "http://a.example",
    "http://a.example:443": "http://a.example:443",
    "https://a.example:80": "https://a.example:80",
    "https://a.example:8443": "https://a.example:8443",
    "https://a.example:65535": "https://a.example:65535",
    "https://a_b.example": "https://a_b.example",
    "http://localhost:5000": "http://localhost:5000",
    "http://127.0.0.1:5000": "http://127.0.0.1:5000",
    "http://[::1]:5000": "http://[::1]:5000",
    "http://[::1]:80": "http://[::1]",
    "http://[0:0:0:0:0:0:0:1]": "http://[::1]",
    "http://[2001:DB8::1]": "http://[2001:db8::1]",
    "http://[::ffff:1.2.3.4]": "http://[::ffff:102:304]",
    "capacitor://localhost": "capacitor://localhost",
    "ionic://localhost": "ionic://localhost",
    "tauri://localhost": "tauri://localhost",
    "https://tauri.localhost": "https://tauri.localhost",
    "app://obsidian.md": "app://obsidian.md",
    "my-app+x.y://localhost:443": "my-app+x.y://localhost:443",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop":
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    "moz-extension://1F2E3D4C-0000-4000-8000-000000000000":
        "moz-extension://1f2e3d4c-0000-4000-8000-000000000000",
}  # fmt: skip


@each_case(("written", "sent"), list(ORIGINS.items()), ids=str)
def test_an_origin_is_kept_as_a_browser_sends_it(written: str, sent: str) -> None:
    assert normal_origin(written) == normal_origin(sent) == sent
    assert load({"trusted_origins": [written]}).trusted_origins == (sent,)


def test_one_origin_in_two_spellings_is_one() -> None:
    text = "https://a.example, https://A.example:443, tauri://localhost"
    assert load({"trusted_origins": text}).trusted_origins == (
        "https://a.example", "tauri://localhost",
    )  # fmt: skip


@each_case(
    "text",
    ["", "null", "*", "https://", "https://*", "https://*.a.example", "https://a.example/",
     "https://a.example/x", "https://a.example?", "https://a.example#", "https://u@a.example",
     "https://u:p@a.example", "https://evil.example\\@a.example", "https://a.example\\",
     "https://a.example:", "https://a.example:0", "https://a.example:0443",
     "https://a.example:65536", "https://a.example:4a", "https://a.example:４４３",
     "https://a.example\n", "\thttps://a.example", "https://a.\texample", "https://a example",
     "https://a..example", "https://.a.example", "https:///a", "https:a.example", "//a.example",
     "a.example", "1app://localhost", "-app://localhost", "https://é.example",
     "https://\u212a.example", "\u212aapp://localhost", "https://[::1", "https://::1",
     "https://[::g]", "https://[1:2]", "https://[::1%25eth0]", "https://127.1", "https://0x7f.1",
     "https://127.0.0.01", "https://256.0.0.1", "file://localhost", "data://x", "blob://x",
     "javascript://x", "ws://a.example", "wss://a.example", "ftp://a.example",
     "https://a.example,https://b.example", "https://a.example https://b.example"],
    ids=ascii,
)  # fmt: skip
def test_anything_else_is_no_origin(text: str) -> None:
    assert normal_origin(text) is None
    if text:
        sentence(lambda: load({"trusted_origins": [text]}))


# --- names of Flask-JWT-Extended ------------------------------------------------------


def of_app(**config: Any) -> Callable[[], object]:
    from flask import Flask

    from flask_jam import JWTExtension, SessionExtension

    def start() -> None:
        app = Flask("left_over")
        app.config.update(JAM_JWT_SECRET_KEY=SECRET, **config)
        JWTExtension(app=app)
        SessionExtension(app=app)

    return start


@each_case("name", FLASK_JWT_EXTENDED)
def test_a_setting_of_flask_jwt_extended_is_warned_of_with_the_right_one(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (said,) = warnings_of(of_app(**{name: MARKER}), caplog)
    assert f"{name} -> {FLASK_JWT_EXTENDED[name]}" in said
    assert warnings_of(of_app(**{name: None}), caplog) == []
    if f"JAM_{name}" not in ENV_OF.values():
        said = sentence(of_app(**{f"JAM_{name}": MARKER}))
        assert f"JAM_{name} is not a setting; " in said
        assert FLASK_JWT_EXTENDED[name] in said


def test_one_warning_names_all_left_over_settings(caplog: pytest.LogCaptureFixture) -> None:
    (said,) = warnings_of(
        of_app(JWT_SECRET_KEY=MARKER, JWT_ACCESS_TOKEN_EXPIRES=MARKER, JWT_OTHER=1), caplog
    )
    assert (
        "JWT_SECRET_KEY -> JAM_JWT_SECRET_KEY, JWT_ACCESS_TOKEN_EXPIRES -> JAM_JWT_EXPIRE" in said
    )
    assert "JWT_OTHER" not in said


def test_every_right_name_of_that_table_is_a_setting() -> None:
    import re

    named = {word for text in FLASK_JWT_EXTENDED.values() for word in re.findall(r"JAM_\w+", text)}
    assert named <= set(ENV_OF.values())


def test_beside_flask_jwt_extended_its_settings_are_no_mistake(
    caplog: pytest.LogCaptureFixture,
) -> None:
    from flask import Flask

    from flask_jam import JWTExtension

    app = Flask("beside")
    app.extensions["flask-jwt-extended"] = object()
    app.config.update(JAM_JWT_SECRET_KEY=SECRET, JWT_SECRET_KEY=MARKER)
    assert warnings_of(lambda: JWTExtension(app=app), caplog) == []


@each_case(
    ("name", "value", "right"),
    [("fresh", True, "max_age=300"), ("refresh", True, "jwt.refresh()"),
     ("locations", ["cookies"], "cookie_name=… once, in JWTExtension"),
     ("verify_type", False, "remove it"), ("skip_revocation_check", True, 'jwt.list="off"')],
)  # fmt: skip
def test_an_argument_of_flask_jwt_extended_on_a_guard_names_the_right_one(
    name: str, value: Any, right: str
) -> None:
    guard: Any = jwt_required
    said = sentence(lambda: guard(**{name: value}))
    assert said.startswith(f"{name} is no condition of a guard: ")
    assert right in said
    assert "did you mean" not in said
