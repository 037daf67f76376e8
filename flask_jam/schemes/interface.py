"""The interface of authentication schemes: they identify the caller of a request.

To accept another kind of credential, subclass :class:`Scheme`, register it with
:class:`~flask_jam.SchemeExtension`, and run the suite of :mod:`flask_jam.testing.schemes`. Guards,
``protect``, the audit, OpenAPI and ``current_auth()`` then treat it like a token or a session.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Any, ClassVar, Final, Literal, NamedTuple

from flask import Request

from ..errors import ConfigError, Reason
from .outcome import Accepted, Credential


class Absence(Enum):
    """Why :meth:`Scheme.find` returned no credential."""

    MISSING = Reason.MISSING
    MALFORMED = Reason.MALFORMED


#: The request carries no credential of the scheme.
MISSING: Final = Absence.MISSING
#: The request carries a credential of the scheme in a form that cannot be read: 400.
MALFORMED: Final = Absence.MALFORMED

Found = Credential | Literal[Absence.MISSING, Absence.MALFORMED]

#: The extension that registers a scheme; any other is registered by ``SchemeExtension``.
EXTENSIONS: Mapping[str, str] = {
    "jwt": "JWTExtension",
    "session": "SessionExtension",
    "basic": "BasicExtension",
    "api_key": "ApiKeyExtension",
}


def registration_of(name: str) -> str:
    """Return the expression that registers a scheme, for messages."""
    if name == "basic":
        return "BasicExtension(check, jam)"
    known = EXTENSIONS.get(name)
    return f"{known}(jam)" if known else f"SchemeExtension(<the scheme {name}>)"


class Requirement(NamedTuple):
    """The conditions of the refusing guard, for the challenge."""

    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    #: The longest time since the login, in seconds.
    max_age: float | None = None


class Scheme:
    """A way to authenticate a request. Subclass it; one object may serve many threads and apps.

    Keep no state of a request on it.
    """

    #: Names the scheme in guards, signals and ``current_auth().scheme``: ``[a-z][a-z0-9_]*``.
    name: str
    #: True if a browser attaches the credential by itself (a cookie, Basic). An unsafe request
    #: from another site is then refused, as for every credential whose ``source`` is ``"cookie"``.
    ambient: bool = False
    #: The request headers that :meth:`find` reads, for ``Vary``.
    vary: tuple[str, ...] = ()

    #: True for the schemes of this package, whose results need no check on each request.
    _is_built_in: ClassVar[bool] = False
    #: True if a browser asks for the credential in a dialog of its own, and attaches it.
    _has_dialog: ClassVar[bool] = False

    def find(self, request: Request) -> Found:
        """Return the credential that the request carries, :data:`MISSING` or :data:`MALFORMED`.

        Called at most once per request, before anything is verified: read headers, cookies or the
        body, and do no other I/O. Bound what is read. ``Credential.source`` is ``"header"``,
        ``"cookie"``, ``"body"`` or a word of your own.
        """
        raise NotImplementedError

    def authenticate(self, credential: Credential, request: Request) -> Accepted:
        """Return who the credential belongs to.

        The payload must be a new ``dict`` each time: the view may change it. Guards read its
        ``scope`` (names separated by single spaces) and ``roles`` (a list of names). Any exception
        other than those below is logged and propagates; it never lets a request in.

        :raises TokenError: with the ``reason`` for which the credential is refused.
        :raises StoreUnavailable: if it could not be verified: 503.
        """
        raise NotImplementedError

    def challenge(self, reason: Reason, requirement: Requirement) -> str | None:
        """Return the ``WWW-Authenticate`` value of a refusal, or ``None`` (RFC 9110 11.6.1).

        It is sent with a 401, a 400 and a missing scope; a constant is fine.
        """
        return None

    def _malformed_source(self, request: Request) -> str | None:
        """Return the source of a malformed credential, for the signal ``rejected``."""
        return None

    def _places_for(self, issuers: tuple[str, ...]) -> Collection[str] | None:
        """Return the OpenAPI places of credentials that a guard accepts; ``None`` for any.

        :param issuers: the issuers that the guard names.
        """
        return None

    def openapi(self) -> dict[str, Any]:
        """Return the Security Scheme Object of OpenAPI 3.1, or several, each under its name."""
        return {"type": "apiKey", "in": "header", "name": (*self.vary, "Authorization")[0]}


_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


def check_scheme(scheme: object) -> None:
    """Raise an error for a value that is not a scheme.

    :raises ConfigError: if its class, ``name`` or ``vary`` is wrong.
    """
    if isinstance(scheme, type) or not isinstance(scheme, Scheme):
        raise ConfigError(
            "SchemeExtension takes an object of a class that derives from "
            "flask_jam.schemes.Scheme, such as SchemeExtension(WebhookScheme())"
        )
    name = getattr(scheme, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in EXTENSIONS:
        raise ConfigError(
            f"{type(scheme).__name__}.name must be lower-case letters, digits and _, and none of "
            f"{', '.join(EXTENSIONS)}: it names the scheme in guards and signals"
        )
    vary: object = scheme.vary
    if not isinstance(vary, tuple) or not all(isinstance(each, str) for each in vary):
        raise ConfigError(
            f"{type(scheme).__name__}.vary must be a tuple of header names, such as "
            '("X-Signature",)'
        )
