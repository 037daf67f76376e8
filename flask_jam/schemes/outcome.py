"""The values of a request: a credential, and the outcome of verifying it.

They are immutable tuples, and their ``repr`` contains no secret. It still distinguishes them:
caches such as ``cache.memoize`` and dogpile derive their key from it, and with one ``repr`` for
all, a cached ``load_user`` would return the first caller's user to all others.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, NamedTuple

from ..errors import Reason as Reason

_KEY = secrets.token_bytes(32)


def _mark(value: object) -> str:
    """Return a short mark that identifies a value in this process and reveals nothing of it."""
    raw = repr(value).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(raw, key=_KEY, digest_size=16).hexdigest()


class Credential(NamedTuple):
    """A credential that a client presented: its scheme, source (``"header"``) and value."""

    scheme: str
    source: str
    value: str

    def __repr__(self) -> str:
        mark = _mark(self.value)
        return f"Credential(scheme={self.scheme!r}, source={self.source!r}, value=•••{mark})"

    def fingerprint(self) -> str:
        """Return the first 8 hex digits of its SHA-256: enough to correlate log lines."""
        value: Any = self.value  # a scheme of an app may use another type
        raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
        return hashlib.sha256(raw).hexdigest()[:8]


class Accepted(NamedTuple):
    """The authenticated caller: subject, scheme, source and payload."""

    scheme: str
    source: str
    #: The ``sub`` claim, or the key of the session; ``None`` for a token without ``sub``.
    subject: str | None
    #: Claims or session data: a copy for this request.
    payload: dict[str, Any]
    #: When the user authenticated, in seconds since the epoch, if known.
    auth_time: float | None = None
    #: The user that ``load_user`` returned; ``None`` in an app without one.
    user: Any = None
    #: The issuer of the subject; ``None`` for this service.
    issuer: str | None = None
    #: The name of the token for a revocation, if a token was presented. Not a credential.
    token_id: str | None = None

    def __repr__(self) -> str:
        # Without the user, whose repr may query a database.
        mark = _mark((*self[:_USER], *self[_USER + 1 :]))
        return f"Accepted(scheme={self.scheme!r}, source={self.source!r}, …{mark})"

    @property
    def identity(self) -> str | tuple[str, str] | None:
        """Return the subject; for another issuer, ``(issuer, subject)``.

        Equal subjects of two issuers are two users, so use this to look users up and to count.
        """
        if self.issuer is None or self.subject is None:
            return self.subject
        return self.issuer, self.subject

    @property
    def scopes(self) -> tuple[str, ...]:
        """Return the scopes that a guard compares; empty if the claim has another form."""
        scope = self.payload.get("scope")
        names = scope.split(" ") if isinstance(scope, str) else [""]
        return () if "" in names else tuple(names)

    @property
    def roles(self) -> tuple[str, ...]:
        """Return the roles that a guard compares; empty if the claim has another form."""
        roles = self.payload.get("roles")
        is_list = isinstance(roles, list) and all(isinstance(role, str) for role in roles)
        return tuple(roles) if is_list else ()  # type: ignore[arg-type]


_USER = Accepted._fields.index("user")


class AcceptedByName(Accepted):
    """A caller whose token is accepted only by guards that name its issuer.

    It is a class of its own, so that a plain guard detects it by its type.
    """

    __slots__ = ()


class Rejected(NamedTuple):
    """The reason authentication failed; ``Reason.MISSING`` when nothing was presented."""

    scheme: str
    reason: Reason
    source: str | None = None
    fingerprint: str | None = None
    #: Known if the credential was valid, and a scope, role, check or the age of the login failed.
    subject: str | None = None
    #: The issuer of the subject; ``None`` for this service.
    issuer: str | None = None


Outcome = Accepted | Rejected

_new: Any = tuple.__new__  # a NamedTuple's own ``_replace`` takes six times as long


def with_user(accepted: Accepted, user: object) -> Accepted:
    """Return a copy with the user."""
    fields = *accepted[:_USER], user, *accepted[_USER + 1 :]
    known: Accepted = _new(type(accepted), fields)
    return known
