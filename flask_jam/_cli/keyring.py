"""``flask jam keyring …``: show and change the ring of ``jwt.keyring``.

No command prints a private key, except ``export --private``.
"""

from __future__ import annotations

import json
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup

from .._credentials.key_directory import text_of
from .._credentials.key_members import public_set
from .._credentials.key_rotation import Change, retire, rotate, usual_alg
from .._credentials.key_states import SPREAD, Lives, Member, Ring, State
from .._credentials.keyring_watch import KeyringWatch
from ..keys import Key, private_pem
from ..settings import ALGORITHMS
from .output import fail, moment

group = AppGroup("keyring", help="Rotate the keys of jwt.keyring.")


def _watch() -> KeyringWatch:
    jam = current_app.extensions.get("jam")
    if jam is None:
        fail("this app has no Jam: write JamExtension(jam).init_app(app)")
    watch: KeyringWatch | None = jam.keyring_watch
    if watch is None:
        fail("jwt.keyring is not set: name a directory in JAM_JWT_KEYRING")
    return watch


def _ring(watch: KeyringWatch) -> Ring:
    """Read the current ring from the directory."""
    return Ring([*watch.configured, *watch.directory.read()], watch.lives)


def duration(seconds: float) -> str:
    """Return a number of seconds in its largest whole unit."""
    for length, word in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= length and not seconds % length:
            return f"{seconds / length:g} {word}"
    return f"{seconds:g} s"


# --- list -------------------------------------------------------------------------------


@group.command("list")
@click.option(
    "--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True,
    help="How to print it.",
)  # fmt: skip
def show(form: str) -> None:
    """Show every key with its state, and why it has that state."""
    watch = _watch()
    ring, now = _ring(watch), watch.clock()
    rows = [_row(ring, member, state) for member, state in ring.states(now)]
    if form == "json":
        click.echo(json.dumps({"keys": rows, "waits": _waits(ring.lives)}, indent=2))
        return
    if not rows:
        click.echo("no key: flask jam keyring rotate makes the first one")
    for row in rows:
        click.echo(f"{row['kid']}  {row['alg']:5}  {row['state']:8}  {row['why']}")


def _waits(lives: Lives) -> dict[str, Any]:
    return {
        "spread": SPREAD,
        "jwks_max_age": lives.max_age,
        "longest_life": lives.longest,
        "longest_life_setting": lives.setting,
        "leeway": lives.leeway,
        "before_signing": lives.wait,
        "after_signing": lives.after,
    }


def _row(ring: Ring, member: Member, state: State) -> dict[str, Any]:
    own = member.setting is None
    return {
        "kid": member.kid,
        "alg": member.alg,
        "state": str(state),
        "source": member.setting or "jwt.keyring",
        "created_at": member.created_at if own else None,
        "signs_from": member.active_at if own else None,
        "signs_until": ring.signed_until(member) if member.key else None,
        "retires_at": member.retired_at or ring.retires_at(member),
        "forced": member.forced,
        "why": _why(ring, member, state),
    }


def _why(ring: Ring, member: Member, state: State) -> str:
    until, end = ring.signed_until(member), ring.retires_at(member)
    if state is State.PENDING:
        return f"signs from {moment(member.active_at)}: by then {_has_read(ring.lives)}"
    if state is State.RETIRED:
        how = "by force" if member.forced else "nothing that it signed is alive"
        return f"since {moment(member.retired_at or end or 0)}: {how}"
    since = "" if member.setting else f" since {moment(member.active_at)}"
    if state is State.ACTIVE:
        return f"{_source(member)}signs{since}" + (f" until {moment(until)}" if until else "")
    if until is None or end is None:
        return f"{_source(member)}verifies, and signs nothing"
    return f"{_source(member)}signed until {moment(until)}; {_ends(ring, member, end)}"


def _source(member: Member) -> str:
    return f"{member.setting}: " if member.setting else ""


def _has_read(lives: Lives) -> str:
    kept = f", and each copy of the public keys ({duration(lives.max_age)}) has expired"
    return "every worker has read it" + (kept if lives.max_age else "")


def _ends(ring: Ring, member: Member, end: float) -> str:
    lives = ring.lives
    parts = [f"{lives.setting} ({duration(lives.longest)})"]
    if lives.leeway:
        parts.append(f"jwt.leeway ({duration(lives.leeway)})")
    parts.append(f"{duration(SPREAD)} for workers and clocks")
    later = f"{moment(end)}, {' + '.join(parts)} later"
    if member.setting is not None:
        return f"remove it from the settings after {later}"
    return f"verifies until {later}"


# --- rotate -----------------------------------------------------------------------------


@group.command("rotate")
@click.option(
    "--alg", type=click.Choice(ALGORITHMS), help="The algorithm; by default that of the newest key."
)
@click.option(
    "--activate-after", "wait", type=click.FloatRange(0, 30 * 86400), metavar="SECONDS",
    help="How long machines without a shared disk need to get the key, if longer than usual.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
def rotate_ring(alg: str | None, wait: float | None, dry_run: bool) -> None:
    """Create the next key. It signs once every worker knows it.

    Exits with 0 if the key was created, or if one is waiting already, so that cron may run it on
    several machines; with 1 and a sentence if the ring could not be changed.
    """
    watch = _watch()
    least = watch.lives.wait
    if wait is not None and not wait >= least:  # not a number is not, either
        fail(f"--activate-after must be at least {least:g} here")

    def step(ring: Ring) -> Change:
        chosen = alg or usual_alg(ring, current_app.extensions["jam"].settings.jwt.alg)
        return rotate(ring, watch.clock(), chosen, least if wait is None else wait)

    change = step(_ring(watch)) if dry_run else _changed(watch, step)
    _report_rotation(watch, change, dry_run=dry_run)


def _report_rotation(watch: KeyringWatch, change: Change, *, dry_run: bool) -> None:
    about = change.about
    if change.members is None:
        when = "signs from" if about.active_at > watch.clock() else "was made just now, signs from"
        click.echo(f"Nothing to do: the key {about.kid} {when} {moment(about.active_at)}.")
        return
    named = f"a key for {about.alg}" if dry_run else f"the key {about.kid} for {about.alg}"
    did = "Would make" if dry_run else "Made"
    click.echo(f"{did} {named}. It signs from {moment(about.active_at)}.")
    ring = Ring([*watch.configured, *change.members], watch.lives)
    for member, state in ring.states(about.active_at):
        if state is State.RETIRING:
            click.echo(f"{member.kid} {_why(ring, member, state)}.")


def _changed(watch: KeyringWatch, step: Any) -> Change:
    """Change the ring under the writer's lock."""
    with watch.directory.locked():
        change: Change = step(_ring(watch))
        if change.members is not None:
            watch.directory.write(change.members)
    return change


# --- retire -----------------------------------------------------------------------------


# A kid may begin with a dash.
@group.command("retire", context_settings={"ignore_unknown_options": True})
@click.argument("kid")
@click.option("--force", is_flag=True, help="Also if it signs, or its tokens may be valid.")
def retire_key(kid: str, force: bool) -> None:
    """Retire a key: remove its private half, and accept nothing that it signed.

    Without --force, this takes only a key without valid tokens. With --force it takes any key, as
    after a theft: every worker refuses its tokens within a second, refresh tokens included. If the
    key signs, the waiting key replaces it, or a new one.
    """
    watch = _watch()
    change = _changed(watch, lambda ring: retire(ring, kid, watch.clock(), force=force))
    if change.members is None:
        click.echo(f"Nothing to do: {kid} is retired.")
        return
    click.echo(f"Retired: {kid}. Workers that share the directory refuse it within a second.")
    if change.successor is not None:
        click.echo(f"{change.successor.kid} signs now.")


# --- export -----------------------------------------------------------------------------


@group.command("export")
@click.option("--private", is_flag=True, help="Print the ring itself: a secret that signs.")
@click.option(
    "--format", "form", type=click.Choice(("json", "env")), default="json", show_default=True,
    help="env prints the private keys as settings, for a service without a ring.",
)  # fmt: skip
def export(private: bool, form: str) -> None:
    """Print the public keys as a JWK Set.

    With --private, print keyring.json as it is, for machines that do not share the directory.
    """
    watch = _watch()
    ring, now = _ring(watch), watch.clock()
    if form == "env" and not private:
        raise click.UsageError("--format env prints private keys: add --private")
    if form == "env":
        for name, value in _settings(ring, now).items():
            click.echo(f"{name}={value}")
    elif private:
        click.echo(text_of(watch.directory.read()))
    else:
        _export_public(ring, now)


def _export_public(ring: Ring, now: float) -> None:
    found = public_set(ring.keyring(now).keys)
    if not found["keys"]:
        fail("there is no public key: a secret key (HS...) verifies and signs")
    click.echo(json.dumps(found, indent=1))


def _settings(ring: Ring, now: float) -> dict[str, str]:
    """Return the ring as settings for a service without one."""
    signer = ring.signer(now)
    if signer is None or signer.key is None:
        fail("the ring has no key")
    others = [
        member for member in ring.members if member is not signer and _is_used(ring, member, now)
    ]
    if signer.alg.startswith("HS") and all(other.alg == signer.alg for other in others):
        return _secrets(signer.key, [other.key for other in others if other.key])
    if others:
        ends = [ring.retires_at(member) or member.active_at for member in others]
        fail(
            f"settings have room for one private key, and {len(others) + 1} keys are in use: "
            f"rotate no more, and try again after {moment(max(ends))}"
        )
    pem = private_pem(signer.key.private).rstrip().replace("\n", r"\n")
    return {"JAM_JWT_ALG": signer.alg, "JAM_JWT_PRIVATE_KEY": pem}


def _is_used(ring: Ring, member: Member, now: float) -> bool:
    end = ring.retires_at(member)
    return member.key is not None and (end is None or end > now)


def _secrets(signer: Key, others: list[Key]) -> dict[str, str]:
    try:
        first, *rest = [key.private.decode() for key in (signer, *others)]
    except UnicodeDecodeError:
        fail("a secret in the settings is not valid text")
    found = {"JAM_JWT_ALG": signer.alg, "JAM_JWT_SECRET_KEY": first}
    if rest:
        found["JAM_JWT_SECRET_KEY_FALLBACKS"] = json.dumps(rest)
    return found
