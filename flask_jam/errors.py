"""The exceptions of this package, and their reasons.

::

    JamError
    ├── ConfigError        a setting or an argument is wrong (also a ValueError)
    ├── TokenError         a token is refused, or could not be issued    .reason
    ├── SessionError       a session is gone, or its data cannot be kept .reason
    └── StoreUnavailable   the store did not answer; nothing is known    .reason
        └── IssuerUnavailable   the keys of a token's issuer are not there yet

No message holds a token, a claim or a key: it may be logged as it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from enum import Enum
from functools import partial
from types import CodeType


class Reason(str, Enum):
    """The reason of a refusal, as exceptions and signals carry it.

    Every member equals its string: ``Reason.EXPIRED == "expired"``.
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
    UNKNOWN_SUBJECT = "unknown_subject"
    CSRF = "csrf"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    INSUFFICIENT_ROLE = "insufficient_role"
    DENIED = "denied"
    STALE = "stale"
    UNAVAILABLE = "unavailable"

    def __str__(self) -> str:
        return self.value


class JamError(Exception):
    """The base class of every exception that this package raises."""


def safe_summary(error: BaseException, own: object = None) -> str:
    """Return an error's type and location. Its message is left out: it may quote secrets.

    :param own: the callable of the app that raised: the place is the innermost line of its file,
        not of a library that it called. Without such a line, as when the arguments do not fit, it
        is the line that defines the callable.
    """
    code = _code_of(own)
    places = list(_places(error))
    if code is not None:
        in_file = [place for place in places if place[0] == code.co_filename]
        places = in_file or [(code.co_filename, code.co_firstlineno)]
    where = " at {}:{}".format(*places[-1]) if places else ""
    return type(error).__name__ + where


def _places(error: BaseException) -> Iterator[tuple[str, int]]:
    """Yield file and line of each frame, the outermost first. No source file is read."""
    step = error.__traceback__
    while step is not None:
        yield step.tb_frame.f_code.co_filename, step.tb_lineno
        step = step.tb_next


def _code_of(own: object) -> CodeType | None:
    """Return the code of a function, method, partial or callable object, below its decorators."""
    try:
        while isinstance(own, partial):
            own = own.func
        if callable(own):
            own = inspect.unwrap(own)
            if not hasattr(own, "__code__"):
                own = inspect.unwrap(type(own).__call__)
        code = getattr(own, "__code__", None)
    except Exception:  # an object of the app, whose attributes may do anything
        return None
    return code if isinstance(code, CodeType) else None


class ConfigError(JamError, ValueError):
    """A setting or an argument is wrong; the sentence says what to write instead."""


class _RefusalError(JamError):
    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(reason, sentence)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[1])


class TokenError(_RefusalError):
    """A token was refused, or could not be issued; ``reason`` says why."""

    def __init__(self, reason: Reason, sentence: str = "the token is not valid") -> None:
        super().__init__(reason, sentence)


class SessionError(_RefusalError):
    """A session is gone, or its data cannot be kept; ``reason`` says why."""

    def __init__(
        self, reason: Reason = Reason.UNKNOWN_SESSION, sentence: str = "the session is gone"
    ) -> None:
        super().__init__(reason, sentence)


class StoreUnavailable(_RefusalError):  # noqa: N818 - a public name
    """The store did not answer, which never means "unknown": callers refuse with 503."""

    def __init__(self, sentence: str = "the store did not answer") -> None:
        super().__init__(Reason.UNAVAILABLE, sentence)

    def __reduce__(self) -> tuple[type[StoreUnavailable], tuple[str]]:
        return type(self), (str(self),)


class IssuerUnavailable(StoreUnavailable):
    """The keys of a token's issuer could not be fetched. Callers refuse with 503."""

    def __init__(self, sentence: str = "the keys of the token's issuer are not there yet") -> None:
        super().__init__(sentence)
