"""The group ``flask jam``, which imports its commands on first use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from flask.cli import AppGroup

HELP = "Keys, routes, tokens and sessions of Flask-Jam."


class LazyGroup(AppGroup):
    """A group of commands that loads another group on first use.

    Importing the commands takes 6 ms of processor time in each worker, which never runs one.

    :param load: returns the group that has the commands.
    """

    def __init__(self, load: Callable[[], click.Group]) -> None:
        super().__init__("jam", help=HELP)
        self._load = load

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Import the commands; list their names."""
        return self._load().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the commands; return the one of that name."""
        return self._load().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command by the other group."""
        return self._load().invoke(ctx)
