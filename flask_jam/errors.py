"""What can go wrong, and why.

::

    JamError
    ├── ConfigError        a setting or an argument is wrong (also a ValueError)
    ├── TokenError         a token is refused, or could not be minted    .reason
    ├── SessionError       a session is gone, or its data cannot be kept .reason
    └── StoreUnavailable   the store did not answer; nothing is known    .reason

No message holds a token, a claim or a key: it may be logged as it is.
"""

from __future__ import annotations

import traceback
from enum import Enum


class Reason(str, Enum):
    """Why something was refused: what exceptions and signals carry.

    Every member equals its own text: ``Reason.EXPIRED == "expired"``.
    """

    MISSING = "missing"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    INVALID = "invalid"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    WRONG_TYPE = "wrong_type"
    REVOKED = "revoked"
    REUSED = "reused"
    UNKNOWN_SESSION = "unknown_session"
    SESSION_EXPIRED = "session_expired"
    CSRF = "csrf"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    INSUFFICIENT_ROLE = "insufficient_role"
    DENIED = "denied"
    STALE = "stale"
    UNAVAILABLE = "unavailable"

    def __str__(self) -> str:
        return self.value


class JamError(Exception):
    """The root of everything that this package raises on its own."""


def safe_summary(error: BaseException) -> str:
    """The kind of an error and where it was raised: its text may quote what it was given."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return type(error).__name__ + where


class ConfigError(JamError, ValueError):
    """A setting or an argument is wrong; the sentence says what to write instead."""


class _RefusalError(JamError):
    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(reason, sentence)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[1])


class TokenError(_RefusalError):
    """A token was refused, or could not be minted; ``reason`` says why."""

    def __init__(self, reason: Reason, sentence: str = "the token is not valid") -> None:
        super().__init__(reason, sentence)


class SessionError(_RefusalError):
    """A session is gone, or its data cannot be kept; ``reason`` says why."""

    def __init__(
        self, reason: Reason = Reason.UNKNOWN_SESSION, sentence: str = "the session is gone"
    ) -> None:
        super().__init__(reason, sentence)


class StoreUnavailable(_RefusalError):  # noqa: N818 - a public name
    """The store did not answer. Never the same as "unknown": callers refuse with 503."""

    def __init__(self, sentence: str = "the store did not answer") -> None:
        super().__init__(Reason.UNAVAILABLE, sentence)

    def __reduce__(self) -> tuple[type[StoreUnavailable], tuple[str]]:
        return type(self), (str(self),)
