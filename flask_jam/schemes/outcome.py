"""The values that travel through a request: a credential, and what became of it.

They are tuples, so nothing can be changed on the way, and their ``repr`` holds no secret. It tells
two apart all the same: caches such as ``cache.memoize`` and dogpile make their key of it, and with
one ``repr`` for all, a cached ``load_user`` would give everybody the first one's user.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, NamedTuple

from ..errors import Reason as Reason

_KEY = secrets.token_bytes(32)


def _mark(value: object) -> str:
    """Return what tells a value from others in this process, and nothing else of it."""
    raw = repr(value).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(raw, key=_KEY, digest_size=16).hexdigest()


class Credential(NamedTuple):
    """What a client presented: for which scheme, from where (``"header"``), and its value."""

    scheme: str
    source: str
    value: str

    def __repr__(self) -> str:
        mark = _mark(self.value)
        return f"Credential(scheme={self.scheme!r}, source={self.source!r}, value=•••{mark})"

    def fingerprint(self) -> str:
        """The first 8 hex digits of its SHA-256: enough to correlate, useless to present."""
        value: Any = self.value  # a scheme of an app may use another type
        raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
        return hashlib.sha256(raw).hexdigest()[:8]


class Accepted(NamedTuple):
    """Who is authenticated, how, and with which payload."""

    scheme: str
    source: str
    #: The ``sub`` claim, or whose session it is; ``None`` for a token without ``sub``.
    subject: str | None
    #: Claims or session data: a copy of the request's own.
    payload: dict[str, Any]
    #: When the person proved who they are, in seconds since the epoch, where that is known.
    auth_time: float | None = None
    #: What ``load_user`` has returned; ``None`` in an app without one.
    user: Any = None
    #: Who vouches for the subject; ``None`` for this service itself.
    issuer: str | None = None
    #: What a revocation of this one token names, where a token was presented: no credential.
    token_id: str | None = None

    def __repr__(self) -> str:
        # Not the user, whose repr may ask a database.
        mark = _mark((*self[:_USER], *self[_USER + 1 :]))
        return f"Accepted(scheme={self.scheme!r}, source={self.source!r}, …{mark})"

    @property
    def identity(self) -> str | tuple[str, str] | None:
        """The subject; of another issuer's token or login, ``(issuer, subject)``.

        Equal subjects of two issuers are two users, so this is what to look up and to count by.
        """
        if self.issuer is None or self.subject is None:
            return self.subject
        return self.issuer, self.subject

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that a guard compares; empty if the claim has another form."""
        scope = self.payload.get("scope")
        names = scope.split(" ") if isinstance(scope, str) else [""]
        return () if "" in names else tuple(names)

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that a guard compares; empty if the claim has another form."""
        roles = self.payload.get("roles")
        is_list = isinstance(roles, list) and all(isinstance(role, str) for role in roles)
        return tuple(roles) if is_list else ()  # type: ignore[arg-type]


_USER = Accepted._fields.index("user")


class AcceptedByName(Accepted):
    """Who is authenticated by a token that only guards which name its issuer take.

    It is another class, so that a plain guard tells it apart by a look at the type.
    """

    __slots__ = ()


class Rejected(NamedTuple):
    """The reason authentication failed; ``Reason.MISSING`` when nothing was presented."""

    scheme: str
    reason: Reason
    source: str | None = None
    fingerprint: str | None = None
    #: Known where the credential held: a scope, a role, a check or the age of the login failed.
    subject: str | None = None
    #: Whose subject it is; ``None`` for this service itself.
    issuer: str | None = None


Outcome = Accepted | Rejected

_new: Any = tuple.__new__  # a NamedTuple's own ``_replace`` takes six times as long


def with_user(accepted: Accepted, user: object) -> Accepted:
    """Return who is authenticated, with the user."""
    fields = *accepted[:_USER], user, *accepted[_USER + 1 :]
    known: Accepted = _new(type(accepted), fields)
    return known
