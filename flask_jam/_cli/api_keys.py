"""``flask jam apikeys …``: create, list, rotate and revoke the API keys of a user."""

from __future__ import annotations

import re
from typing import Any

import click
from flask.cli import AppGroup

from .._credentials.api_key_text import pattern_of
from .._credentials.api_keys import ApiKeyInfo
from ..jam import Jam
from .output import (
    current_jam,
    fail,
    format_option,
    issuer_option,
    moment,
    print_json,
    print_rows,
    printable,
    shared_jam,
)

apikeys = AppGroup("apikeys", help="Create, list, rotate and revoke API keys.")

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"([0-9]{1,12})([smhd]?)")


def _seconds(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    """Read seconds, or a number with the unit s, m, h or d."""
    if text is None:
        return None
    found = _SPAN.fullmatch(text)
    if found is None:
        raise click.BadParameter("write seconds, or a number and a unit, such as 90d, 12h or 30m")
    return int(found[1]) * _UNITS[found[2]]


@apikeys.command()
@click.argument("subject")
@click.option("--name", required=True, help="What the key is for, as the list shows it.")
@click.option("--scope", "scopes", multiple=True, help="A scope; repeat it for more.")
@click.option("--role", "roles", multiple=True, help="A role; repeat it for more.")
@click.option(
    "--expires-in",
    metavar="TIME",
    callback=_seconds,
    help="Lifetime, such as 90d. By default it does not expire.",
)
@format_option("text", "json")
@issuer_option
def create(subject: str, form: str, **grants: Any) -> None:
    """Create an API key of SUBJECT. It is printed once.

    The standard output has only the key, so that it can be piped.
    """
    _print_key(*_shared().create_api_key(subject, **grants), form)


@apikeys.command("list")
@click.argument("subject")
@format_option("table", "json")
@issuer_option
def show(subject: str, form: str, issuer: str | None) -> None:
    """List the valid API keys of SUBJECT. A handle is not a credential."""
    found = _shared().list_api_keys(subject, issuer)
    if form == "json":
        print_json([each._asdict() for each in found])
        return
    head = ["handle", "name", "scopes", "roles", "created", "expires", "last used"]
    print_rows(head, [_row(each) for each in found])


def _row(key: ApiKeyInfo) -> list[str]:
    return [
        key.handle,
        printable(key.name),
        printable(" ".join(key.scopes)) or "-",
        printable(" ".join(key.roles)) or "-",
        moment(key.created_at),
        "never" if key.expires_at is None else moment(key.expires_at),
        "never" if key.last_used_at is None else moment(key.last_used_at),
    ]


@apikeys.command()
@click.argument("subject")
@click.argument("handle")
@click.option(
    "--overlap",
    metavar="TIME",
    callback=_seconds,
    default="0",
    help="How long the old key stays valid, such as 1h.",
)
@format_option("text", "json")
@issuer_option
def rotate(subject: str, handle: str, overlap: float, form: str, issuer: str | None) -> None:
    """Replace the API key HANDLE of SUBJECT with a new one, which keeps its expiry."""
    _print_key(*_shared().rotate_api_key(subject, handle, overlap, issuer), form)


@apikeys.command()
@click.argument("subject")
@click.argument("handle")
@issuer_option
def revoke(subject: str, handle: str, issuer: str | None) -> None:
    """Revoke the API key HANDLE of SUBJECT. Exits with 1 if there is none."""
    if not _shared().revoke_api_key(subject, handle, issuer):
        fail(f"{subject} has no API key with the handle {handle}")
    click.echo(f"Revoked: the API key {printable(handle)} of {printable(subject)}.")


@apikeys.command()
def pattern() -> None:
    """Print a regular expression that finds your API keys, for a secret scanner."""
    click.echo(pattern_of(current_jam().settings.api_key.prefix))


def _shared() -> Jam:
    return shared_jam("API keys")


def _print_key(key: str, info: ApiKeyInfo, form: str) -> None:
    if form == "json":
        print_json({"key": key, **info._asdict()})
        return
    click.echo(key)
    click.echo(f"handle: {info.handle}\nThe key is not shown again.", err=True)
