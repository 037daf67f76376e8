"""Helpers of the commands: the app's Jam, tables, JSON and failures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from typing import Any, NoReturn

import click
from flask import current_app

from ..jam import Jam
from ..stores.memory import MemoryStore


def format_option(*formats: str) -> Callable[[Any], Any]:
    """Return the option ``--format``; the first of the formats is the default."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="How to print it.",
    )


def issuer_option(command: Any) -> Any:
    """Add the option ``--issuer`` to a command that is about a subject."""
    said = "Of a user of this provider, instead of one of this service."
    return click.option("--issuer", metavar="ISS", help=said)(command)


def current_jam() -> Jam:
    """Return the Jam of the app, or fail."""
    jam = current_app.extensions.get("jam")
    if jam is None:
        fail("this app has no Jam: write JamExtension(jam).init_app(app)")
    return jam  # type: ignore[no-any-return]


def shared_jam(what: str = "sessions and revocations") -> Jam:
    """Return a Jam with shared state, or fail: the memory of this process has nothing to show."""
    jam = current_jam()
    if isinstance(jam.store, MemoryStore):
        fail(
            f"{what} are in the memory of the server's process, where this command cannot see "
            "them: set redis_url"
        )
    return jam


def fail(sentence: str) -> NoReturn:
    """Print a sentence to the standard error, and exit with 1."""
    raise click.ClickException(printable(sentence))


def print_json(value: Any) -> None:
    """Print in ASCII only: a token's content must not control the terminal."""
    click.echo(json.dumps(value, indent=2))


def padded(rows: Sequence[Sequence[str]]) -> Iterable[list[str]]:
    """Return the cells, padded to the width of their column."""
    widths = [max(len(row[number]) for row in rows) for number in range(len(rows[0]))]
    for row in rows:
        yield [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]


def print_rows(head: list[str], rows: list[list[str]]) -> None:
    """Print a table."""
    for row in padded([head, *rows]):
        click.echo("  ".join(row).rstrip())


def printable(text: str) -> str:
    """Return a string on one line, without terminal control characters."""
    return text if text.isprintable() else ascii(text)[1:-1]


def moment(seconds: float) -> str:
    """Return a timestamp in readable form."""
    try:
        return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M:%S}Z"
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g}"  # beyond the years that dates have
