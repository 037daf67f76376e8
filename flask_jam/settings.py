"""Every setting with its key, default, check and description.

A key is a path such as ``jwt.secret_key``. In the environment and in ``app.config`` it is
``JAM_`` + the path with ``_``, in upper case: ``JAM_JWT_SECRET_KEY``. Settings are read once,
checked once and frozen; later changes of the sources have no effect.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ._helpers.names import nearest
from ._helpers.peer_settings import FLASK_JWT_EXTENDED
from ._helpers.setting_files import read_table
from ._helpers.setting_types import (
    FallbackText,
    as_cookie_path,
    as_count,
    as_domain,
    as_flag,
    as_key_prefix,
    as_name,
    as_one_of,
    as_origins,
    as_pem,
    as_prefix,
    as_quotable,
    as_redis,
    as_route,
    as_seconds,
    as_secret,
    as_secrets,
    as_tables,
    as_text,
    as_view,
    as_views,
)
from .errors import ConfigError

Source = Mapping[str, Any] | str | os.PathLike[str] | None

DAY = 86400.0
_TEN_YEARS = 3650 * DAY

ALGORITHMS = (
    "HS256",
    "HS384",
    "HS512",
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)
#: The shortest secret of each algorithm that takes one, in bytes (RFC 7518 3.2).
SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}


# --- the settings ---------------------------------------------------------------------


def _key(default: Any, check: Callable[[Any], Any], doc: str, *, secret: bool = False) -> Any:
    metadata = {"check": check, "doc": doc, "secret": secret}
    return dataclasses.field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True)
class JWTSettings:
    """The ``jwt`` section. Times are seconds."""

    alg: str = _key("HS256", as_one_of(*ALGORITHMS), "Signs and verifies; the only one accepted.")
    secret_key: bytes | None = _key(
        None, as_secret, "HS256/384/512: at least 32, 48, 64 bytes.", secret=True
    )
    secret_key_fallbacks: tuple[bytes, ...] = _key(
        (), as_secrets, "Former secret keys: they verify, they never sign.", secret=True
    )
    private_key: str | None = _key(None, as_pem, "PEM text: signs and verifies.", secret=True)
    public_key: str | None = _key(
        None, as_pem, "PEM text: alone, this service verifies and cannot sign."
    )
    private_key_file: str | None = _key(None, as_text, "private_key, read from this file.")
    public_key_file: str | None = _key(None, as_text, "public_key, read from this file.")
    keyring: str | None = _key(
        None, as_text, "A directory of keys that rotate; the keys above verify beside it."
    )
    jwks_path: str | None = _key(
        None, as_route, "Where public keys are published, such as /.well-known/jwks.json."
    )
    expire: float = _key(900.0, as_seconds(1, _TEN_YEARS), "Lifetime of an access token.")
    refresh_idle: float = _key(
        14 * DAY,
        as_seconds(1, _TEN_YEARS),
        "A refresh token expires when it was not used for this long.",
    )
    refresh_absolute: float = _key(
        90 * DAY, as_seconds(1, _TEN_YEARS), "A refresh family expires at this age."
    )
    refresh_grace: float = _key(
        10.0, as_seconds(0, 300), "How long a just-used refresh token may be retried."
    )
    rotate_refresh_tokens: bool = _key(
        True,
        as_flag,
        "Each refresh token can be used once. Off: for clients that cannot store a new one.",
    )
    max_lifetime: float = _key(
        DAY,
        as_seconds(1, _TEN_YEARS),
        "A token that lives longer (and longer than expire) is refused.",
    )
    issuer: str | None = _key(None, as_name, "Written as iss, and the only one accepted.")
    audience: str | None = _key(None, as_name, "Written as aud, and one that a token must name.")
    leeway: float = _key(0.0, as_seconds(0, 300), "Clock skew allowed between machines.")
    list: str = _key(
        "deny",
        as_one_of("deny", "allow", "off"),
        "deny: revoked tokens are refused. allow: only tokens issued here pass. off: no look-up.",
    )
    max_logins: int = _key(
        100,
        as_count(0, 10_000_000),
        "Most refresh families of one subject: a login ends the oldest. 0: no bound.",
    )
    cache_size: int = _key(
        10000, as_count(0, 10_000_000), "Verified tokens in the cache; 0 turns it off."
    )
    max_token_bytes: int = _key(8192, as_count(256, 65536), "A longer token is refused unread.")

    @property
    def has_key(self) -> bool:
        """Return True if this service has a configured key."""
        secrets = self.secret_key, *self.secret_key_fallbacks
        files = self.private_key_file, self.public_key_file
        return any((*secrets, self.private_key, self.public_key, *files, self.keyring))

    @property
    def longest(self) -> float:
        """Return the longest lifetime of an access token, in seconds."""
        return max(self.max_lifetime, self.expire)


@dataclass(frozen=True)
class SessionSettings:
    """The ``session`` section. Times are seconds."""

    idle: float = _key(
        DAY, as_seconds(1, _TEN_YEARS), "A session expires when it was not used for this long."
    )
    absolute: float = _key(30 * DAY, as_seconds(1, _TEN_YEARS), "A session expires at this age.")
    remember: bool | None = _key(
        None,
        as_flag,
        "Default of remember at login. true: remembered. false: ends with the browser. "
        "Unset: idle and absolute, and the cookie is kept.",
    )
    remember_idle: float = _key(
        30 * DAY, as_seconds(1, _TEN_YEARS), "idle of a session that is remembered."
    )
    remember_absolute: float = _key(
        365 * DAY, as_seconds(1, _TEN_YEARS), "absolute of a session that is remembered."
    )
    max_bytes: int = _key(65536, as_count(64, 16_777_216), "Size of a session's data as JSON.")
    max_per_owner: int = _key(
        100,
        as_count(0, 10_000_000),
        "Most sessions of one owner: a login ends the oldest. 0: no bound.",
    )

    @property
    def longest(self) -> float:
        """Return the longest lifetime of a session, in seconds."""
        return max(self.absolute, self.remember_absolute)


@dataclass(frozen=True)
class ApiKeySettings:
    """The ``api_key`` section."""

    prefix: str = _key(
        "jam", as_key_prefix, "The beginning of every API key, by which secret scanners find it."
    )


@dataclass(frozen=True)
class Settings:
    """All settings of one :class:`~flask_jam.Jam`, checked and frozen."""

    jwt: JWTSettings = JWTSettings()
    session: SessionSettings = SessionSettings()
    api_key: ApiKeySettings = ApiKeySettings()
    issuers: Any = _key(  # noqa: RUF009
        (),
        as_tables,
        "Other services whose tokens are accepted: a table for each, see Issuers.",
    )
    redis_url: Any = _key(  # noqa: RUF009
        None,
        as_redis,
        "Redis that all processes share; unset: this process's memory.",
        secret=True,
    )
    redis_prefix: str = _key("jam", as_prefix, "The beginning of every key in Redis.")
    redis_timeout: float = _key(
        0.25, as_seconds(0.01, 30), "Timeout of one Redis command, in seconds."
    )
    redis_pool: int = _key(
        50, as_count(1, 10_000), "Connections to one Redis server, at most, in each process."
    )
    near_cache: bool = _key(
        True, as_flag, "Keep what was read from Redis until Redis says it changed."
    )
    near_cache_silence: float = _key(
        1.0,
        as_seconds(0.1, 60),
        "After this long without word from Redis, the near cache is not used.",
    )
    realm: str = _key("api", as_quotable, "Named in WWW-Authenticate (RFC 9110 11.5).")
    trusted_origins: tuple[str, ...] = _key(
        (),
        as_origins,
        "Other origins, app shells included, whose pages may send requests with our cookies.",
    )
    cookie_secure: bool | None = _key(
        None, as_flag, "Cookies over HTTPS only. Unset: on, and off only in debug and testing."
    )
    cookie_samesite: str = _key("Lax", as_one_of("Lax", "Strict", "None"), "SameSite of cookies.")
    cookie_domain: str | None = _key(None, as_domain, "Domain of cookies; unset: this host only.")
    cookie_path: str = _key("/", as_cookie_path, "Path of cookies: they go to URLs below it only.")
    cookie_partitioned: bool = _key(
        False, as_flag, "For pages in frames of other sites: SameSite=None; Secure; Partitioned."
    )
    login_view: str | None = _key(
        None, as_view, "Login page to which a page redirects: an endpoint, or a path of this host."
    )
    login_views: tuple[tuple[str, str], ...] = _key(
        (), as_views, "login_view of the blueprints that have their own, as a mapping."
    )
    login_message: str | None = _key(
        None, as_text, "Flashed on the way to the login page; needs Flask's SECRET_KEY."
    )
    login_message_category: str = _key("message", as_text, "Category of login_message.")


_SECTIONS: dict[str, Any] = {
    "jwt": JWTSettings,
    "session": SessionSettings,
    "api_key": ApiKeySettings,
}


class Entry(NamedTuple):
    """One row of the table of settings."""

    path: str
    field: dataclasses.Field[Any]

    @property
    def env(self) -> str:
        """Return the setting's name in the environment and in ``app.config``."""
        return "JAM_" + self.path.replace(".", "_").upper()


def entries() -> Iterator[Entry]:
    """Yield every setting, in the order of the documentation."""
    for section, cls in _SECTIONS.items():
        yield from (Entry(f"{section}.{f.name}", f) for f in dataclasses.fields(cls))
    yield from (Entry(f.name, f) for f in dataclasses.fields(Settings) if f.name not in _SECTIONS)


_BY_PATH = {entry.path: entry for entry in entries()}
_BY_ENV = {entry.env: entry for entry in entries()}


# --- sources -> {path: raw value} -----------------------------------------------------


def load(config: Source = None, app_config: Mapping[str, Any] | None = None) -> Settings:
    """Read, check and freeze the settings.

    :param config: a mapping; a path to TOML, JSON or YAML; or ``None``: the environment over
        ``./pyproject.toml`` over the defaults.
    :param app_config: a Flask ``app.config``; its ``JAM_...`` keys win over the environment.
    :raises ConfigError: with a sentence that says what to write instead.
    """
    if isinstance(config, Mapping):
        raw = _flatten(config)
    elif isinstance(config, (str, os.PathLike)):
        raw = _flatten(read_table(Path(config)))
    elif config is not None:
        kind = type(config).__name__
        raise ConfigError(
            f"config must be a mapping, a path or None for the environment, got {kind}"
        )
    else:
        raw = {**_from_pyproject(), **_from_names(os.environ), **_from_names(app_config or {})}
    return _build(raw)


def _build(raw: Mapping[str, Any]) -> Settings:
    values: dict[str, dict[str, Any]] = {"": {}, **{section: {} for section in _SECTIONS}}
    for path, value in raw.items():
        section, _, name = path.rpartition(".")
        values[section][name] = _checked(path, value)
    _read_fallbacks(values["jwt"])
    sections = {name: cls(**values[name]) for name, cls in _SECTIONS.items()}
    settings = Settings(**sections, **values[""])
    if settings.cookie_samesite == "None" and settings.cookie_secure is False:
        raise ConfigError("cookie_samesite None needs cookie_secure: browsers drop it otherwise")
    if settings.cookie_partitioned and (
        settings.cookie_secure is False or settings.cookie_samesite == "Strict"
    ):
        raise ConfigError(
            "cookie_partitioned is for pages in frames of other sites: leave "
            "cookie_secure and cookie_samesite unset"
        )
    return settings


def _read_fallbacks(jwt: dict[str, Any]) -> None:
    """Replace the string of former secrets by the keys that it may contain."""
    fallbacks = jwt.get("secret_key_fallbacks")
    if isinstance(fallbacks, FallbackText):
        least = SECRET_BYTES.get(jwt.get("alg", JWTSettings.alg), 1)
        jwt["secret_key_fallbacks"] = fallbacks.keys(least, jwt.get("secret_key"))


def _checked(path: str, value: Any) -> Any:
    try:
        return _BY_PATH[path].field.metadata["check"](value)
    except ValueError as error:
        # The sentence does not quote the value: it may be a secret.
        raise ConfigError(f"{path} ({_BY_PATH[path].env}) {error}") from None


def _flatten(tree: Mapping[Any, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if key in _SECTIONS:
            if not isinstance(value, Mapping):
                raise ConfigError(f"{key} is a section: write a mapping of its settings")
            flat.update({f"{key}.{name}": inner for name, inner in value.items()})
        elif "." in str(key):
            raise ConfigError(
                f"{key} is not a setting: write a section, such as {{'jwt': {{...}}}}"
            )
        else:
            flat[str(key)] = value
    for path in flat:
        _known(path, _BY_PATH)
    return {path: value for path, value in flat.items() if value is not None}


def _from_names(names: Mapping[str, Any]) -> dict[str, Any]:
    mine = {name: names[name] for name in names if name.startswith("JAM_")}
    for name in mine:
        _known(name, _BY_ENV)
    return {_BY_ENV[name].path: value for name, value in mine.items() if value is not None}


def _known(name: str, table: Mapping[str, Entry]) -> None:
    if name not in table:
        instead = FLASK_JWT_EXTENDED.get(str(name).removeprefix("JAM_"))
        if table is _BY_ENV and instead is not None:
            hint = f"did you mean {instead}?" if instead in table else f"write {instead}"
            raise ConfigError(f"{name} is not a setting; {hint}")
        last = name.rpartition(".")[2]
        meant = [path for path in table if path.rpartition(".")[2] == last]
        others = table if "." in name or table is _BY_ENV else (*_SECTIONS, *table)
        hint = nearest(meant[0] if meant else name, others)
        hint = hint or "; the documentation lists them under Configuration"
        raise ConfigError(f"{name} is not a setting{hint}")


def _from_pyproject() -> dict[str, Any]:
    path = Path("pyproject.toml")
    return _flatten(read_table(path, required=False)) if path.is_file() else {}
