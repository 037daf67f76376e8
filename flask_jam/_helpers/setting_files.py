"""Read settings from TOML, JSON and YAML files."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError


def read_table(path: Path, *, required: bool = True) -> Mapping[str, Any]:
    """Return the table ``[jam]`` or ``[tool.jam]`` of a file, with ``${VAR}`` replaced.

    :raises ConfigError: if the file cannot be read, or is required and has no such table.
    """
    document = _parse(path)
    tool = document.get("tool")
    tables = [document.get("jam"), tool.get("jam") if isinstance(tool, Mapping) else None]
    found = [table for table in tables if table is not None]
    if len(found) > 1 or not all(isinstance(table, Mapping) for table in found):
        raise ConfigError(f"{path.name}: write one table, [jam] or [tool.jam]")
    if not found and required:
        raise ConfigError(f"{path.name} has no settings: write them in a table [jam] or [tool.jam]")
    return dict(_expand(found[0])) if found else {}


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


def _toml(text: str) -> dict[str, Any]:
    # Imported here: 2 ms of processor time, and not every app has a TOML file.
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415
    else:
        import tomli as tomllib  # noqa: PLC0415
    return tomllib.loads(text)


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
    ".toml": _toml,
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
