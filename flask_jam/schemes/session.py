"""The scheme ``session``: the id of a server-side session."""

from __future__ import annotations

from typing import Any

from flask import Request

from .._credentials.sessions import copied_data, is_session_id
from .._request.status_codes import ANSWERS
from ..errors import Reason, SessionError, TokenError
from ..stores.interface import BETWEEN, Session, split_owner
from .interface import Requirement
from .outcome import Accepted, Credential
from .transport import TransportScheme, is_malformed

_new: Any = tuple.__new__  # as in transport.py


class SessionScheme(TransportScheme):
    """Look up server-side sessions of a :class:`~flask_jam.Jam`."""

    name = "session"
    label = "session id"
    takes_the_rest = True

    def recognises(self, value: str) -> bool:
        """Return True for the form of a session id."""
        return is_session_id(value)

    def authenticate(self, credential: Credential, request: Request) -> Accepted:
        """See :class:`~flask_jam.schemes.Scheme`."""
        try:
            return self.accepted(credential, self.jam.sessions.lookup(credential.value))
        except SessionError as error:
            reason = Reason.MALFORMED if is_malformed(credential) else error.reason
            raise TokenError(reason) from None

    def accepted(self, credential: Credential, session: Session) -> Accepted:
        """Return the caller of a session."""
        source, subject, data = credential.source, session.session_key, copied_data(session)
        issuer = None
        if BETWEEN in subject:  # spares most sessions the call
            subject, issuer = split_owner(subject)
        accepted: Accepted = _new(
            Accepted, ("session", source, subject, data, session.auth_time, None, issuer, None)
        )
        return accepted

    def end(self, credential: str) -> str | None:
        """End a session."""
        return self.jam.end_session(credential)

    def challenge(self, reason: Reason, requirement: Requirement) -> str | None:
        """Return a Bearer challenge; ``Cookie`` if only a cookie is read."""
        if self.header_name is None and ANSWERS[reason].status == 401:
            return f'Cookie realm="{self.jam.settings.realm}"'
        return super().challenge(reason, requirement)
