"""The scheme ``basic``: a name and a password in each request (RFC 7617)."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from typing import Any

from flask import Request, has_request_context, request

from .._credentials.password_checks import PasswordCheck, PasswordChecks
from .._request.status_codes import ANSWERS
from ..errors import Reason
from ..jam import Jam
from .interface import MALFORMED, MISSING, Found, Requirement, Scheme
from .outcome import Accepted, Credential

#: The longest name, in characters.
_LONGEST_NAME = 256
#: The longest credential as it is sent, in base64 characters.
_LONGEST = 4096
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # RFC 7617 2
#: The word after a comma, as of a second header. ``basic=`` is a parameter of another scheme.
_SECOND = re.compile(r",[ \t]*basic(?![\w-]*[ \t]*=)", re.IGNORECASE)
_KEY = secrets.token_bytes(32)


class BasicCredential(Credential):
    """A name and a password, joined by the first colon."""

    def fingerprint(self) -> str:
        """Return 8 hex digits that identify the credential in this process.

        They are keyed: a plain hash would confirm a guess of the password.
        """
        return hashlib.blake2b(self.value.encode(), key=_KEY, digest_size=4).hexdigest()


class BasicScheme(Scheme):
    """Check names and passwords by a function of the application."""

    name = "basic"
    # A browser that has them attaches them by itself, to requests from any site.
    ambient = True
    _has_dialog = True
    vary = ("Authorization",)
    header_name, cookie_name = "Authorization", None

    def __init__(self, jam: Jam, check: PasswordCheck) -> None:
        self._jam = jam
        self._checks = PasswordChecks(check, jam.store, self._now)

    def _now(self) -> float:
        return self._jam.clock()  # a test may replace it

    def find(self, request: Request) -> Found:
        """Return name and password, decoded; ``MALFORMED`` for any other form."""
        header = request.environ.get("HTTP_AUTHORIZATION", "").strip(" \t")
        word, _, value = header.partition(" ")
        if word.lower() != self.name:
            return MALFORMED if _is_mangled(header) else MISSING
        pair = _decoded(value.strip(" \t"))
        return MALFORMED if pair is None else BasicCredential(self.name, "header", pair)

    def _malformed_source(self, request: Request) -> str | None:
        return "header"

    def authenticate(self, credential: Credential, request: Request) -> Accepted:
        """See :class:`~flask_jam.schemes.Scheme`."""
        name, _, password = credential.value.partition(":")
        subject = self._checks.subject_of(name, password)
        # No auth_time: a client repeats a password without its user, so max_age refuses.
        return Accepted(self.name, credential.source, subject, {"name": name})

    def challenge(self, reason: Reason, requirement: Requirement) -> str | None:
        """Return a Basic challenge, except to a page's script: a browser would show a dialog."""
        is_refused = ANSWERS[reason].status == 401 and reason is not Reason.STALE
        if not is_refused or _is_of_script():
            return None
        return f'Basic realm="{self._jam.settings.realm}", charset="UTF-8"'

    def openapi(self) -> dict[str, Any]:
        """Return the Security Scheme Object."""
        return {"type": "http", "scheme": "basic"}


def basic_header(name: str, password: str) -> str:
    """Return the value of the header ``Authorization`` for a name and password."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def _is_mangled(header: str) -> bool:
    """Return True for a damaged Basic header: without the space, or in a second header."""
    return header[:5].lower() == "basic" or ("," in header and bool(_SECOND.search(header)))


def _decoded(value: str) -> str | None:
    """Return name and password, or None for another form (RFC 7617 2, RFC 4648 4)."""
    if len(value) > _LONGEST:
        return None
    try:
        raw = base64.b64decode(value, validate=True)
        pair = raw.decode()
    except ValueError:
        return None
    name, colon, _ = pair.partition(":")
    is_exact = bool(colon) and base64.b64encode(raw) == value.encode()
    return pair if is_exact and len(name) <= _LONGEST_NAME and not _CONTROL.search(pair) else None


def _is_of_script() -> bool:
    """Return True for a request from a page's script, as far as the browser reports it."""
    if not has_request_context():
        return False
    environ = request.environ
    mode = environ.get("HTTP_SEC_FETCH_MODE")
    if mode is not None:
        return bool(mode != "navigate")
    # Without TLS a browser sends none of these.
    is_ajax = environ.get("HTTP_X_REQUESTED_WITH") == "XMLHttpRequest"
    is_fetch = any(name.startswith("HTTP_SEC_FETCH_") for name in environ)
    return is_fetch or is_ajax or "HTTP_HX_REQUEST" in environ
