"""Status, error code and public text of each refusal reason."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import Reason


class Answer(NamedTuple):
    """The answer to a client."""

    status: int
    error: str
    detail: str


# One text for every kind of bad credential: an attacker learns nothing from it.
# "Expired" is only used after the signature was verified.
_INVALID = Answer(401, "invalid_token", "The credential is not valid.")
_EXPIRED = Answer(401, "invalid_token", "The credential has expired.")
_DENIED = Answer(403, "access_denied", "Access is denied.")

ANSWERS: dict[Reason, Answer] = {
    Reason.MISSING: Answer(401, "missing_credential", "Authentication is required."),
    Reason.MALFORMED: Answer(
        400, "invalid_request", "The request carries its credential in a wrong form."
    ),
    Reason.TOO_LARGE: _INVALID,
    Reason.INVALID: _INVALID,
    Reason.EXPIRED: _EXPIRED,
    Reason.NOT_YET_VALID: _INVALID,
    Reason.WRONG_ISSUER: _INVALID,
    Reason.WRONG_AUDIENCE: _INVALID,
    Reason.WRONG_TYPE: _INVALID,
    Reason.REVOKED: _INVALID,
    Reason.REUSED: _INVALID,
    Reason.UNKNOWN_SESSION: _INVALID,
    Reason.SESSION_EXPIRED: _EXPIRED,
    Reason.UNKNOWN_SUBJECT: _INVALID,
    Reason.STALE: Answer(
        401, "insufficient_user_authentication", "A more recent login is required."
    ),
    Reason.CSRF: Answer(403, "csrf", "The request may come from another site."),
    Reason.INSUFFICIENT_SCOPE: Answer(
        403, "insufficient_scope", "The credential does not cover this request."
    ),
    Reason.INSUFFICIENT_ROLE: _DENIED,
    Reason.DENIED: _DENIED,
    Reason.UNAVAILABLE: Answer(
        503, "temporarily_unavailable", "Authentication is not possible at the moment."
    ),
}

#: A credential refused for one of these was ours and stays invalid, so its cookie may be cleared.
#: Others may be valid in a moment, or for another app on the host.
PERMANENT = frozenset(
    {
        Reason.EXPIRED,
        Reason.REVOKED,
        Reason.REUSED,
        Reason.SESSION_EXPIRED,
        Reason.UNKNOWN_SUBJECT,
    }
)
