"""The logins of a user: sessions and refresh families in one list, ended one by one or together."""

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
    #: Who vouches for the user; ``None`` for this service.
    issuer: str | None
    created_at: float
    #: When a session was used last, and when a refresh token was.
    last_seen_at: float
    expires_at: float
    #: Of the login.
    user_agent: str | None
    ip: str | None


class Logins:
    """Lists and ends what a user is logged in with.

    An owner is as :func:`~flask_jam._credentials.revocation.checked_subject` gives it.
    """

    def __init__(self, sessions: Sessions, families: Families, revocation: Revocation) -> None:
        self._sessions = sessions
        self._families = families
        self._revocation = revocation

    def listed(self, owner: str) -> list[LoginInfo]:
        """Return the living logins of an owner, the oldest first."""
        issuer = split_owner(owner)[1]
        found = [
            *_shown("session", issuer, self._sessions.walk(owner), self._sessions.handle),
            *_shown("jwt", issuer, self._families.walk(owner), self._families.handle),
        ]
        return sorted(found, key=lambda login: login.created_at)

    def end(self, owner: str, handle: object) -> bool:
        """End the login that the list of an owner shows under a handle, if there is one."""
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
            # What was not counted has ended all the same.
            self._revocation.report_ended(owner, (k for k, count in counts.items() if count != 0))
        return sum(count or 0 for count in counts.values())


def _shown(
    scheme: str, issuer: str | None, walk: Iterator[Page], handle_of: Callable[[Listed], str]
) -> Iterator[LoginInfo]:
    for page in walk:
        for login in page.living:
            yield LoginInfo(handle_of(login), scheme, issuer, *login[1:])
