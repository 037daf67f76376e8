"""The logins of a user: list sessions and refresh families, and end one or all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..stores.interface import Listed, Page, split_owner
from .refresh_rotation import Families
from .revocation import Revocation
from .sessions import Sessions


class LoginInfo(NamedTuple):
    """One login of a user, to show to them. ``handle`` is no credential."""

    handle: str
    #: ``session`` or ``jwt``.
    scheme: str
    #: The issuer of the user; ``None`` for this service.
    issuer: str | None
    created_at: float
    #: The last use of the session or refresh token.
    last_seen_at: float
    expires_at: float
    #: Details of the client at login.
    user_agent: str | None
    ip: str | None


class Logins:
    """List and end the logins of a user.

    Owners come from :func:`~flask_jam._credentials.revocation.checked_subject`.
    """

    def __init__(self, sessions: Sessions, families: Families, revocation: Revocation) -> None:
        self._sessions = sessions
        self._families = families
        self._revocation = revocation

    def listed(self, owner: str) -> list[LoginInfo]:
        """Return the active logins of an owner, the oldest first."""
        issuer = split_owner(owner)[1]
        found = [
            *_shown("session", issuer, self._sessions.walk(owner), self._sessions.handle),
            *_shown("jwt", issuer, self._families.walk(owner), self._families.handle),
        ]
        return sorted(found, key=lambda login: login.created_at)

    def end(self, owner: str, handle: object) -> bool:
        """End the login of an owner with a handle, if there is one."""
        if self._sessions.delete_by_handle(owner, handle) is not None:
            return self._revocation.session(owner) is not None
        return self._revocation.family(self._families.end_by_handle(owner, handle)) is not None

    def end_all(self, owner: str) -> int:
        """End every login of an owner in one step, then count them and free their memory.

        :raises StoreUnavailable: also in the middle: they have ended, and are reported, but were
            not all counted. A repetition counts the rest.
        """
        self._revocation.cut_logins(owner)
        walks = {"session": self._sessions.walk(owner), "family": self._families.walk(owner)}
        counts: dict[str, int | None] = dict.fromkeys(walks)
        try:
            for kind, walk in walks.items():
                counts[kind] = sum(page.cleared for page in walk)
        finally:
            # Logins that were not counted have ended, too.
            self._revocation.report_ended(owner, (k for k, count in counts.items() if count != 0))
        return sum(count or 0 for count in counts.values())


def _shown(
    scheme: str, issuer: str | None, walk: Iterator[Page], handle_of: Callable[[Listed], str]
) -> Iterator[LoginInfo]:
    for page in walk:
        for login in page.living:
            yield LoginInfo(handle_of(login), scheme, issuer, *login[1:])
