"""Every setting: its key, default, check and sentence, in one place.

A key is a path such as ``jwt.secret_key``. In the environment and in ``app.config`` it is
``JAM_`` + the path with ``_``, in upper case: ``JAM_JWT_SECRET_KEY``. Settings are read once,
checked once and frozen; later changes of the sources have no effect.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from .errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Source = Mapping[str, Any] | str | os.PathLike[str] | None

DAY = 86400.0
_TEN_YEARS = 3650 * DAY

ALGORITHMS = (
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512",
    "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip


# --- checks: each takes a raw value, from Python or as text, and gives the typed one --


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("write a text that is not empty")
    return value


def _secret(value: Any) -> bytes:
    if isinstance(value, str):
        # Bytes of the environment that are no UTF-8 arrive as lone surrogates.
        value = value.encode() if _is_utf8(value) else b""
    if not isinstance(value, bytes) or not value:
        raise ValueError("write a long random text; an empty key signs nothing")
    return value


def _is_utf8(text: str) -> bool:
    return not re.search(r"[\ud800-\udfff]", text)


def _secrets(value: Any) -> tuple[bytes, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, (list, tuple)):
        raise ValueError("write a list of keys, the newest first")
    return tuple(_secret(part) for part in value)


def _number(value: Any) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("write a number")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise ValueError("write a number") from None


def _seconds(low: float, high: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        number = _number(value)
        if not math.isfinite(number) or not low <= number <= high:
            raise ValueError(f"write seconds from {low:.15g} to {high:.15g}")
        return number

    return check


def _count(low: int, high: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        number = _number(value)
        if not number.is_integer() or not low <= number <= high:
            raise ValueError(f"write a whole number from {low} to {high}")
        return int(number)

    return check


_WORDS = {"1": True, "true": True, "yes": True, "on": True,
          "0": False, "false": False, "no": False, "off": False}  # fmt: skip


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _WORDS:
        return _WORDS[value.lower()]
    raise ValueError("write true or false")


def _one_of(*choices: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value is False and "off" in choices:  # what YAML makes of a bare off
            return "off"
        if isinstance(value, str) and value in choices:
            return value
        raise ValueError(f"write one of {', '.join(choices)}{nearest(value, choices)}")

    return check


def _quotable(value: Any) -> str:
    # RFC 9110 5.6.4: what may stand in a quoted-string without an escape.
    if not re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", _text(value)):
        raise ValueError("write printable ASCII without quotes or backslashes")
    return str(value)


def _domain(value: Any) -> str:
    if not re.fullmatch(r"\.?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", _text(value)):
        raise ValueError("write a host name such as example.org")
    return str(value)


def _view(value: Any) -> str:
    # Only a path of this host, or an endpoint: a URL elsewhere would get our visitors' paths.
    if not re.fullmatch(r"[A-Za-z_][\w.-]*|/|/[\w.~-][\w./~-]*", _text(value), re.ASCII):
        raise ValueError("write an endpoint such as auth.login, or a path such as /login")
    return str(value)


def _redis(value: Any) -> Any:
    # A client of one's own is taken as it is; what it is asked for shows when it is used.
    if not isinstance(value, str) and hasattr(value, "execute_command"):
        return value
    return _text(value)


def _prefix(value: Any) -> str:
    # Braces would choose the machine of a cluster.
    if not re.fullmatch(r"[A-Za-z0-9_.:/-]{1,64}", _text(value)):
        raise ValueError("write up to 64 letters, digits and _ . : / -")
    return str(value)


_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9-]+(\.[a-z0-9-]+)*)(:[0-9]{1,5})?")


def _origins(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
        raise ValueError("write a list of origins, such as https://app.example.org")
    found = tuple(each.lower() for each in value)
    if not all(_ORIGIN.fullmatch(each) for each in found):
        # No wildcards: whoever gets a page onto a sibling host would be trusted, too.
        raise ValueError("write each origin whole, without a path: https://app.example.org")
    return found


def nearest(word: object, choices: Iterable[str]) -> str:
    """The choice that was probably meant, as the end of a sentence, or nothing."""
    folded = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(str(word).lower(), list(folded), n=1, cutoff=0.6)
    return f"; did you mean {folded[near[0]]}?" if near else ""


# --- the settings ---------------------------------------------------------------------


def _key(default: Any, check: Callable[[Any], Any], doc: str, *, secret: bool = False) -> Any:
    metadata = {"check": check, "doc": doc, "secret": secret}
    return dataclasses.field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True)
class JWTSettings:
    """The ``jwt`` section. Times are seconds."""

    alg: str = _key("HS256", _one_of(*ALGORITHMS), "Signs and verifies; the only one accepted.")
    secret_key: bytes | None = _key(
        None, _secret, "HS256/384/512: at least 32, 48, 64 bytes.", secret=True
    )
    secret_key_fallbacks: tuple[bytes, ...] = _key(
        (), _secrets, "Former secret keys: they verify, they never sign.", secret=True
    )
    private_key: str | None = _key(None, _text, "PEM text: signs and verifies.", secret=True)
    public_key: str | None = _key(
        None, _text, "PEM text: alone, this service verifies and cannot sign."
    )
    private_key_file: str | None = _key(None, _text, "private_key, read from this file.")
    public_key_file: str | None = _key(None, _text, "public_key, read from this file.")
    expire: float = _key(900.0, _seconds(1, _TEN_YEARS), "Life of an access token.")
    refresh_idle: float = _key(
        14 * DAY, _seconds(1, _TEN_YEARS), "A refresh token unused for so long is dead."
    )
    refresh_absolute: float = _key(
        90 * DAY, _seconds(1, _TEN_YEARS), "A refresh family is never older than this."
    )
    refresh_grace: float = _key(
        10.0, _seconds(0, 300), "So long the last refresh token gets the same successor again."
    )
    max_lifetime: float = _key(
        DAY,
        _seconds(1, _TEN_YEARS),
        "A token that lives longer (and longer than expire) is refused.",
    )
    issuer: str | None = _key(None, _text, "Written as iss, and the only one accepted.")
    audience: str | None = _key(None, _text, "Written as aud, and one that a token must name.")
    leeway: float = _key(0.0, _seconds(0, 300), "Clock skew allowed between machines.")
    list: str = _key(
        "deny",
        _one_of("deny", "allow", "off"),
        "deny: revoked tokens are refused. allow: only tokens minted here pass. off: no look-up.",
    )
    cache_size: int = _key(10000, _count(0, 10_000_000), "Verified tokens kept; 0 keeps none.")
    max_token_bytes: int = _key(8192, _count(256, 65536), "A longer token is refused unread.")

    @property
    def longest(self) -> float:
        """The longest life of an access token, in seconds."""
        return max(self.max_lifetime, self.expire)


@dataclass(frozen=True)
class SessionSettings:
    """The ``session`` section. Times are seconds."""

    idle: float = _key(DAY, _seconds(1, _TEN_YEARS), "A session unused for so long is dead.")
    absolute: float = _key(30 * DAY, _seconds(1, _TEN_YEARS), "A session is never older than this.")
    max_bytes: int = _key(65536, _count(64, 16_777_216), "Size of a session's data as JSON.")


@dataclass(frozen=True)
class Settings:
    """All settings of one :class:`~flask_jam.Jam`, checked and frozen."""

    jwt: JWTSettings = JWTSettings()
    session: SessionSettings = SessionSettings()
    redis_url: Any = _key(  # noqa: RUF009
        None, _redis, "Where state is shared by all processes; unset: this one's memory.",
        secret=True,
    )  # fmt: skip
    redis_prefix: str = _key("jam", _prefix, "The beginning of every key in Redis.")
    redis_timeout: float = _key(0.25, _seconds(0.01, 30), "So long may one question to Redis take.")
    near_cache: bool = _key(
        True, _flag, "Keep what was read from Redis until Redis says it changed."
    )
    near_cache_silence: float = _key(
        1.0, _seconds(0.1, 60), "Redis silent for so long: nothing kept is believed."
    )
    realm: str = _key("api", _quotable, "Named in WWW-Authenticate (RFC 9110 11.5).")
    trusted_origins: tuple[str, ...] = _key(
        (), _origins, "Other origins whose pages may send requests with our cookies."
    )
    cookie_secure: bool | None = _key(
        None, _flag, "Cookies over HTTPS only. Unset: on, and off only in debug and testing."
    )
    cookie_samesite: str = _key("Lax", _one_of("Lax", "Strict", "None"), "SameSite of cookies.")
    cookie_domain: str | None = _key(None, _domain, "Domain of cookies; unset: this host only.")
    cookie_partitioned: bool = _key(
        False, _flag, "For pages in frames of other sites: SameSite=None; Secure; Partitioned."
    )
    login_view: str | None = _key(
        None, _view, "Where a page sends who is not known: an endpoint, or a path of this host."
    )


_SECTIONS: dict[str, Any] = {"jwt": JWTSettings, "session": SessionSettings}


class Entry(NamedTuple):
    """One row of the table of settings."""

    path: str
    field: dataclasses.Field[Any]

    @property
    def env(self) -> str:
        """Its name in the environment and in ``app.config``."""
        return "JAM_" + self.path.replace(".", "_").upper()


def entries() -> Iterator[Entry]:
    """Every setting, in the order of the documentation."""
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
        raw = _from_file(Path(config))
    elif config is not None:
        raise ConfigError("config: write a mapping, a path, or nothing for the environment")
    else:
        raw = {**_from_pyproject(), **_from_names(os.environ), **_from_names(app_config or {})}
    return _build(raw)


def _build(raw: Mapping[str, Any]) -> Settings:
    values: dict[str, dict[str, Any]] = {"": {}, **{section: {} for section in _SECTIONS}}
    for path, value in raw.items():
        section, _, name = path.rpartition(".")
        values[section][name] = _checked(path, value)
    settings = Settings(
        jwt=JWTSettings(**values["jwt"]), session=SessionSettings(**values["session"]), **values[""]
    )
    if settings.cookie_samesite == "None" and settings.cookie_secure is False:
        raise ConfigError("cookie_samesite None needs cookie_secure: browsers drop it otherwise")
    if settings.cookie_partitioned and (
        settings.cookie_secure is False or settings.cookie_samesite == "Strict"
    ):
        raise ConfigError("cookie_partitioned is for pages in frames of other sites: leave "
                          "cookie_secure and cookie_samesite unset")  # fmt: skip
    return settings


def _checked(path: str, value: Any) -> Any:
    try:
        return _BY_PATH[path].field.metadata["check"](value)
    except ValueError as error:
        # The value itself stays out of the sentence: it may be a secret.
        raise ConfigError(f"{path} ({_BY_PATH[path].env}) is not usable: {error}") from None


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
        last = name.rpartition(".")[2]
        meant = [path for path in table if path.rpartition(".")[2] == last]
        others = table if "." in name or table is _BY_ENV else (*_SECTIONS, *table)
        hint = nearest(meant[0] if meant else name, others)
        hint = hint or "; the documentation lists them under Configuration"
        raise ConfigError(f"{name} is not a setting{hint}")


def _from_pyproject() -> dict[str, Any]:
    path = Path("pyproject.toml")
    return _from_file(path, required=False) if path.is_file() else {}


def _from_file(path: Path, *, required: bool = True) -> dict[str, Any]:
    document = _parse(path)
    tool = document.get("tool")
    tables = [document.get("jam"), tool.get("jam") if isinstance(tool, Mapping) else None]
    found = [table for table in tables if table is not None]
    if len(found) > 1 or not all(isinstance(table, Mapping) for table in found):
        raise ConfigError(f"{path.name}: write one table, [jam] or [tool.jam]")
    if not found and required:
        raise ConfigError(f"{path.name} has no settings: write them in a table [jam] or [tool.jam]")
    return _flatten(_expand(found[0])) if found else {}


def _parse(path: Path) -> Mapping[str, Any]:
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        raise ConfigError(f"{path.name}: write a path that ends in {', '.join(_PARSERS)}")
    try:
        document = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except ConfigError:
        raise
    except ValueError:
        # A parser's message quotes the line, and the line may hold a secret.
        raise ConfigError(f"{path.name} is not valid {path.suffix[1:].upper()}") from None
    return document if isinstance(document, Mapping) else {}


def _yaml(text: str) -> Any:
    try:
        import yaml  # noqa: PLC0415 - an extra: imported only where YAML is read
    except ImportError:
        raise ConfigError("YAML needs an extra: pip install 'Flask-Jam[yaml]'") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError("not YAML") from None


_PARSERS: dict[str, Callable[[str], Any]] = {
    ".toml": tomllib.loads,
    ".json": json.loads,
    ".yaml": _yaml,
    ".yml": _yaml,
}


def _expand(value: Any) -> Any:
    if isinstance(value, str):
        return re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", _variable, value)
    if isinstance(value, Mapping):
        return {key: _expand(inner) for key, inner in value.items()}
    return [_expand(inner) for inner in value] if isinstance(value, list) else value


def _variable(match: re.Match[str]) -> str:
    try:
        return os.environ[match[1]]
    except KeyError:
        raise ConfigError(
            f"the environment has no {match[1]}: set it, or write the value"
        ) from None


# --- one check that settings and guards share -----------------------------------------

_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 3.3


_EXAMPLES = {"scopes": "articles:read", "roles": "admin"}


def name_set(names: object, what: str) -> tuple[str, ...]:
    """The names, sorted and unique. A bare text is refused: it would be read letter by letter.

    :param what: ``scopes`` or ``roles``, for the sentence.
    :raises ConfigError: if these are no names.
    """
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise ConfigError(f'{what}: write a set of names, such as {what}={{"{_EXAMPLES[what]}"}}')
    found = list(names)
    if not all(isinstance(name, str) and name for name in found):
        raise ConfigError(f"{what}: every name must be a text that is not empty")
    if what == "scopes" and not all(_SCOPE_TOKEN.fullmatch(name) for name in found):
        raise ConfigError("scopes: a name has no spaces, quotes or backslashes (RFC 6749 3.3)")
    return tuple(sorted(set(found)))
