"""``BasicExtension``: HTTP Basic on an app."""

from __future__ import annotations

import inspect
from typing import Any

from flask import Flask

from .._credentials.password_checks import PasswordCheck
from ..errors import ConfigError
from ..extensions import _GuardingExtension
from ..guards import basic_required
from ..jam import Jam
from ..schemes.basic import BasicScheme
from ..schemes.interface import Scheme
from .user_loader import LoadUser, is_async, kind_of

_FORM = "write def check(name, password), which returns the subject, or None if they are wrong"


class BasicExtension(_GuardingExtension):
    """HTTP Basic: a name and a password in each request, for scripts and old clients.

    :param check: called with name and password; returns the subject, a non-empty string, or
        ``None`` if they are wrong. A success is remembered for 60 seconds, and until
        ``jam.revoke_subject``, for every request of the app: look at nothing but the two.
    :param load_user: called with the ``Accepted`` of a request; returns the user, or ``None`` to
        refuse: see :meth:`user_loader`.
    :raises ConfigError: if ``check`` is ``async``, or does not take two arguments.
    """

    required = basic_required

    def __init__(
        self,
        check: PasswordCheck,
        jam: Jam | None = None,
        app: Flask | None = None,
        *,
        load_user: LoadUser | None = None,
    ) -> None:
        _check_form(check)
        if jam is not None and not isinstance(jam, Jam):
            raise ConfigError(
                "the second argument is a Jam, the app is the third: "
                "BasicExtension(check, jam, app)"
            )
        self._check = check
        super().__init__(jam, app, load_user)

    @property
    def _name(self) -> str:
        return BasicScheme.name

    def _scheme(self, jam: Jam) -> Scheme:
        return BasicScheme(jam, self._check)

    def _is_doubled(self) -> str:
        return "this app has a BasicExtension already: keep one"


def _check_form(check: Any) -> None:
    """Raise an error if a function could never check a password.

    :raises ConfigError: if it is no function, is ``async``, or does not take two arguments.
    """
    if not callable(check) or isinstance(check, type):
        raise ConfigError(f"check must be a function, got {kind_of(check)}: {_FORM}")
    if is_async(check):
        raise ConfigError(
            "check must not be async: current_auth() and guards cannot wait for it. "
            f"Instead, {_FORM}"
        )
    try:
        signature = inspect.signature(check)
    except (TypeError, ValueError):  # some callables written in C have none
        return
    try:
        signature.bind("", "")
    except TypeError:
        raise ConfigError(f"check is called with two arguments, by position: {_FORM}") from None
