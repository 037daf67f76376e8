"""``flask jam …``: keys, routes, tokens and sessions on the command line.

The commands are thin calls. None prints a credential or a key, except those that create one.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click
from flask import Flask, current_app
from flask.cli import AppGroup

from .._credentials.logins import LoginInfo
from .._credentials.sessions import SessionInfo
from .._request.app_state import EXTENSION_KEY
from .._request.start_checks import idle_guards
from ..audit import Route, early_code, open_routes, overridden_guards, routes, stable
from ..errors import JamError
from ..jam import Jam
from ..keys import new_key
from ..settings import ALGORITHMS
from . import doctor as examination
from .api_keys import apikeys
from .inspection import has_key
from .inspection import inspect as look_at
from .issuer_states import IssuerState, states_of
from .keyring import group as keyring
from .lazy_group import HELP
from .output import (
    current_jam,
    fail,
    format_option,
    issuer_option,
    moment,
    padded,
    print_json,
    print_rows,
    printable,
    shared_jam,
)


class _Group(AppGroup):
    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; print a failure as a sentence."""
        try:
            return super().invoke(ctx)
        except JamError as error:
            fail(str(error))


group = _Group("jam", help=HELP)
group.add_command(keyring)
group.add_command(apikeys)
#: How much of the standard input is read: far more than any credential needs.
_MOST = 1_000_000
_COLOURS = {"ok": "green", "warning": "yellow", "failure": "red"}


# --- keygen -------------------------------------------------------------------------------------


@group.command(with_appcontext=False)
@click.option(
    "--alg",
    type=click.Choice(ALGORITHMS),
    default="HS256",
    show_default=True,
    help="The algorithm of the key.",
)
@format_option("env", "line", "json")
def keygen(alg: str, form: str) -> None:
    """Create a key, as lines for a .env file.

    Keep them secret. HS... signs and verifies with one secret. The others sign with the private
    key; the public key is not secret, and another service needs only that to verify.

    The format line has one unquoted line for each value, as docker --env-file and the dashboards
    of hosting platforms need it.
    """
    found = new_key(alg)
    if form == "json":
        print_json(found)
        return
    for name, value in found.items():
        text = value.rstrip()
        if form == "line":
            text = text.replace("\n", r"\n")
        # A PEM in quotes keeps its line breaks: a shell reads that as well as a .env file does.
        click.echo(f'{name}="{text}"' if "\n" in text else f"{name}={text}")


# --- routes -------------------------------------------------------------------------------------

_HEADS = ("methods", "rule", "endpoint", "guard", "from", "source")


@group.command("routes")
@format_option("table", "json", "markdown")
@click.option(
    "--check",
    is_flag=True,
    help="Exit with 1 if a route is open without being marked "
    "@public, or if a guard protects nothing.",
)
def show_routes(form: str, check: bool) -> None:
    """List every route with the guards in front of it.

    The column "from" shows their origin: the view's own, its blueprint, the app,
    Flask-Admin's is_accessible; "public" and "static" are open on purpose, and "none" by mistake.
    A decorator above a guard, such as a cache, is a warning.
    """
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    _PRINT[form](routes(app))
    for sentence in [*overridden_guards(app), *(early_code(app) if check else ())]:
        click.echo(f"\nwarning: {printable(sentence)}", err=True)
    if check:
        _check(app)


def _check(app: Flask) -> None:
    unmarked, idle = open_routes(app), list(idle_guards(app))
    if unmarked:
        click.echo(f"\n{len(unmarked)} open without being marked @public:", err=True)
    for route in unmarked:
        click.echo(f"  {' '.join(route.methods)} {route.rule}  {route.source}", err=True)
    for sentence in idle:
        click.echo(f"\n{sentence}", err=True)
    if unmarked or idle:
        raise SystemExit(1)


def _cells(route: Route) -> list[str]:
    came = ", ".join(route.origins) or "none"
    return [
        " ".join(route.methods) or "any",
        route.rule,
        route.endpoint,
        route.guard or "-",
        came,
        route.source,
    ]


def _print_table(found: list[Route]) -> None:
    head, *rows = padded([_HEADS, *map(_cells, found)])
    click.echo("  ".join(head).rstrip())
    for route, row in zip(found, rows, strict=True):
        colour = None if route.origins else "red"
        click.echo(click.style("  ".join(row).rstrip(), fg=colour))


def _print_markdown(found: list[Route]) -> None:
    rows = ([_as_code(cell) for cell in _cells(route)] for route in found)
    for row in (_HEADS, ["---"] * len(_HEADS), *rows):
        click.echo("| " + " | ".join(row) + " |")


def _as_code(cell: str) -> str:
    """Return a cell as Markdown code: ``<int:id>`` would be a link, and ``__init__`` bold."""
    return f"`{cell}`".replace("|", "\\|") if re.search(r"[^\w\s,-]|__", cell) else cell


def _print_json(found: list[Route]) -> None:
    print_json(
        [
            {
                "methods": list(route.methods),
                "rule": route.rule,
                "endpoint": route.endpoint,
                "guard": route.guard or None,
                "from": list(route.origins),
                "source": route.source,
                "open": not route.origins,
                "all_of": [_alternatives(guard) for guard in route.guards],
            }
            for route in found
        ]
    )


def _alternatives(guard: Any) -> list[dict[str, Any]]:
    return [
        {
            "scheme": rule.scheme,
            "optional": rule.optional,
            "scopes": list(rule.scopes),
            "roles": list(rule.roles),
            "max_age": rule.max_age,
            "check": None if rule.check is None else _name(rule.check),
            "issuers": list(rule.issuers),
        }
        for rule in guard.rules
    ]


def _name(check: Any) -> str:
    return stable(getattr(check, "__qualname__", None) or repr(check))


_PRINT: dict[str, Callable[[list[Route]], None]] = {
    "table": _print_table,
    "json": _print_json,
    "markdown": _print_markdown,
}


# --- tokens -------------------------------------------------------------------------------------


@group.command()
@click.argument("subject")
@click.option("--scope", "scopes", multiple=True, help="A scope; repeat it for more.")
@click.option("--role", "roles", multiple=True, help="A role; repeat it for more.")
@click.option("--claim", "claims", multiple=True, metavar="NAME=VALUE", help="Any other claim.")
@click.option("--force", is_flag=True, help="Also if the app is neither in debug nor testing mode.")
def token(
    subject: str, scopes: Sequence[str], roles: Sequence[str], claims: Sequence[str], force: bool
) -> None:
    """Print an access token of SUBJECT, to try out the API.

    A VALUE that is JSON is parsed: --claim level=3 is a number.
    """
    if not (force or current_app.debug or current_app.testing):
        fail(
            "this is neither debug nor testing mode: anyone who reads the token can act as "
            "SUBJECT. Add --force if you mean it"
        )
    jam = current_jam()
    if not has_key(jam.settings.jwt):
        fail(
            "no key is configured, so no process would accept the token: flask jam keygen makes one"
        )
    if jam.settings.jwt.list == "allow":
        jam = shared_jam()
    said: dict[str, Any] = dict(_claim(each) for each in claims)
    pair = jam.issue_tokens(subject, scopes=scopes, roles=roles, **said)
    click.echo(pair["access_token"])


#: What is said otherwise, and what cannot be said by name in Python.
_NOT_AS_CLAIM = {
    "scopes": "--scope",
    "scope": "--scope",
    "roles": "--role",
    "subject": "SUBJECT",
    "self": "another name",
}


def _claim(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        fail(f"--claim {text}: write NAME=VALUE")
    if name in _NOT_AS_CLAIM:
        fail(f"--claim {name}: write {_NOT_AS_CLAIM[name]}")
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):
        return name, value


# A session id may begin with a dash.
@group.command("inspect", context_settings={"ignore_unknown_options": True})
@click.argument("credential", metavar="TOKEN")
@format_option("text", "json")
def show_inspection(credential: str, form: str) -> None:
    """Decode a TOKEN and explain why it would be refused.

    TOKEN may also be a refresh token, a session id or an API key; - reads it from the standard
    input and keeps it out of the shell's history. Clients do not see these reasons. Exits with 1 if
    it would be refused.
    """
    if credential == "-":
        credential = sys.stdin.buffer.read(_MOST).decode("utf-8", "replace")
    found = look_at(current_jam(), credential.strip())
    if form == "json":
        print_json(found)
    else:
        for name, value in found.items():
            click.echo(f"{name}: {_said(name, value)}")
    raise SystemExit(0 if found["good"] else 1)


def _said(name: str, value: Any) -> str:
    if name.endswith("_at"):
        return moment(value)
    return printable(value) if isinstance(value, str) else json.dumps(value)


# --- sessions, logins ---------------------------------------------------------------------------


@group.command()
@click.argument("subject")
@format_option("table", "json")
@issuer_option
def sessions(subject: str, form: str, issuer: str | None) -> None:
    """List the valid sessions of SUBJECT. A handle is not a credential."""
    found = shared_jam().list_sessions(subject, issuer)
    if form == "json":
        print_json([each._asdict() for each in found])
        return
    print_rows(["handle", *_USE], [[each.handle, *_use(each)] for each in found])


@group.command()
@click.argument("subject")
@click.option("--end", "handle", metavar="HANDLE", help="End this login, and list nothing.")
@format_option("table", "json")
@issuer_option
def logins(subject: str, handle: str | None, form: str, issuer: str | None) -> None:
    """List the logins of SUBJECT: sessions and tokens. A handle is not a credential.

    Exits with 1 if there is no login to --end.
    """
    jam = shared_jam()
    if handle is not None:
        _end_login(jam, subject, handle, issuer)
        return
    found = jam.list_logins(subject, issuer)
    if form == "json":
        print_json([each._asdict() for each in found])
        return
    rows = [[each.handle, each.scheme, *_use(each)] for each in found]
    print_rows(["handle", "scheme", *_USE], rows)


def _end_login(jam: Jam, subject: str, handle: str, issuer: str | None) -> None:
    if not jam.end_login_by_handle(subject, handle, issuer):
        fail(f"{subject} has no login with the handle {handle}")
    click.echo(f"Ended: the login {printable(handle)} of {printable(subject)}.")
    _warn_of_access_tokens(jam)


_USE = ("since", "last seen", "address", "browser")


def _use(login: SessionInfo | LoginInfo) -> list[str]:
    return [
        moment(login.created_at),
        moment(login.last_seen_at),
        printable(login.ip or "-"),
        printable(login.user_agent or "-"),
    ]


@group.command()
@click.argument("subject")
@issuer_option
def revoke(subject: str, issuer: str | None) -> None:
    """Revoke all tokens, sessions and API keys of SUBJECT."""
    jam = shared_jam()
    count = len(jam.list_sessions(subject, issuer))
    keys = len(jam.list_api_keys(subject, issuer=issuer))
    jam.revoke_subject(subject, issuer)
    tokens = "refresh token" if jam.settings.jwt.list == "off" else "token"
    others = f"{count} session(s)" + (f", and {keys} API key(s)" if keys else "")
    click.echo(f"Revoked: every {tokens} of {printable(subject)}, and {others}.")
    _warn_of_access_tokens(jam)


def _warn_of_access_tokens(jam: Jam) -> None:
    if jam.settings.jwt.list == "off":
        click.echo("jwt.list is off: an access token lives until it expires.", err=True)


# --- other issuers ------------------------------------------------------------------------------


@group.command("issuers")
@format_option("table", "json")
def show_issuers(form: str) -> None:
    """List the other issuers whose tokens are accepted, with their keys.

    This fetches the keys. Exits with 1 if those of an issuer are unavailable: its tokens get a 503.
    To see why a single token is refused, use flask jam inspect TOKEN.
    """
    found = states_of(current_jam())
    if form == "json":
        print_json([each._asdict() for each in found])
    elif not found:
        click.echo("No other issuer is configured: see flask_jam.issuers.")
    else:
        head = ["issuer", "state", "keys", "age", "taken by", "audience"]
        print_rows(head, [_issuer_cells(each) for each in found])
    raise SystemExit(any(each.keys == 0 for each in found))


def _issuer_cells(state: IssuerState) -> list[str]:
    age = "-" if state.age is None else f"{state.age:.0f} s"
    said = "ok" if state.keys and not state.error else state.error or state.state
    audience = " ".join(state.audience)
    return [printable(each) for each in (
        state.issuer, said, str(state.keys), age, state.taken_by, audience)]  # fmt: skip


# --- doctor -------------------------------------------------------------------------------------


@group.command("doctor")
@format_option("table", "json")
def show_findings(form: str) -> None:
    """Check configuration, cookies, store and guards.

    Exits with 1 for a failure, not for a warning. Each line names its OWASP ASVS 5.0 requirement.
    """
    state = current_app.extensions.get(EXTENSION_KEY)
    if state is None:
        fail("this app has no Jam: write JamExtension(jam).init_app(app)")
    found = examination.examine(state)
    if form == "json":
        print_json([finding._asdict() for finding in found])
    else:
        for finding in found:
            status = click.style(finding.status.ljust(7), fg=_COLOURS[finding.status])
            click.echo(f"{status}  {finding.asvs.ljust(6)}  {finding.says}")
    raise SystemExit(any(finding.status == examination.FAILURE for finding in found))
