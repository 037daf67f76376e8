"""The two schemes: where a credential is found in a request, and whom it authenticates."""

from __future__ import annotations

import re
from typing import Any

from .._credentials.sessions import copied_data, is_session_id
from .._request.cookies import check_cookie_name, is_ambiguous, refresh_name, values_of
from .._request.cross_site import is_cross_site
from ..errors import ConfigError, Reason, SessionError, StoreUnavailable, TokenError
from ..jam import Jam
from ..stores.interface import Session
from .outcome import Accepted, Credential, Outcome, Rejected

#: A NamedTuple's own ``__new__`` calls this from Python, which counts on the guarded route.
_new: Any = tuple.__new__
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 9110 11.2
_BEARER = re.compile(r"(?:^|,)[ \t]*bearer", re.IGNORECASE)
_COOKIE_PATH = re.compile(r"/[A-Za-z0-9._~/-]*")
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")
#: Longer header values are not parsed at all: four times the largest token that is allowed.
_LONGEST_HEADER = 4 * 65536


class Scheme:
    """A way to authenticate a request: :class:`JWTScheme` or :class:`SessionScheme`."""

    name: str

    def __init__(self, jam: Jam, header_name: str | None, cookie_name: str | None) -> None:
        self.jam = jam
        self.header_name = header_name
        self.cookie_name = cookie_name
        #: Whether another scheme of the app reads the same header.
        self.shares_header = False
        self._header_key = _environ_key(header_name)
        self._missing = Rejected(self.name, Reason.MISSING)

    def find(self, environ: dict[str, Any]) -> Credential | Rejected:
        """An explicit header before an ambient cookie. A bad one is never passed over."""
        header = environ.get(self._header_key or "")
        if header is not None:
            found = self._in_header(header)
            if found is not None:
                return found
        if self.cookie_name is not None and "HTTP_COOKIE" in environ:
            return self._in_cookie(environ, self.cookie_name)
        return self._missing

    def candidates(self, environ: dict[str, Any]) -> list[Credential]:
        """All that might be one, in every source: passing one over would leave it alive."""
        header = environ.get(self._header_key or "", "")
        values = [("header", part) for part in re.split(r"[ ,\t]+", header[:_LONGEST_HEADER])]
        for name in self.cookie_names():
            values += [("cookie", value) for value in values_of(environ, name)]
        return [
            Credential(self.name, source, value) for source, value in values if self.might_be(value)
        ]

    def cookie_names(self) -> list[str]:
        """Every cookie that may carry one of its credentials."""
        return [] if self.cookie_name is None else [self.cookie_name]

    def might_be(self, value: str) -> bool:
        """Whether a value has the shape of a credential of this scheme."""
        raise NotImplementedError

    def authenticate(self, credential: Credential) -> Accepted:
        """Whom it authenticates.

        :raises TokenError:
        :raises SessionError:
        :raises StoreUnavailable:
        """
        raise NotImplementedError

    def _in_header(self, header: str) -> Credential | Rejected | None:
        if header[:7].lower() != "bearer ":
            return self._without_scheme(header.strip(" \t"))
        value = header[7:].strip(" \t")
        if len(value) > _LONGEST_HEADER:
            return Rejected(self.name, Reason.TOO_LARGE, "header")
        if self.shares_header:
            if not _TOKEN68.fullmatch(value):
                return Rejected(self.name, Reason.MALFORMED, "header")
            if (value.count(".") == 2) != (self.name == "jwt"):
                return None
        found: Credential = _new(Credential, (self.name, "header", value))
        return found

    def _without_scheme(self, header: str) -> Rejected | None:
        # Basic and the like are for somebody else. A mangled Bearer, one behind another header of
        # the name, or anything in a header that is ours alone, was meant for us.
        foreign = self._header_key == "HTTP_AUTHORIZATION" and not _BEARER.search(header)
        return None if foreign or not header else Rejected(self.name, Reason.MALFORMED, "header")

    def _in_cookie(self, environ: dict[str, Any], name: str) -> Credential | Rejected:
        values = values_of(environ, name)
        if is_ambiguous(environ, name, len(values)):
            return Rejected(self.name, Reason.MALFORMED, "cookie")
        if not values or not values[0]:
            return self._missing
        if is_cross_site(environ, self.jam.settings.trusted_origins):
            return Rejected(self.name, Reason.CSRF, "cookie")
        return Credential(self.name, "cookie", values[0])


class JWTScheme(Scheme):
    """A signed token."""

    name = "jwt"

    def __init__(
        self,
        jam: Jam,
        header_name: str | None,
        cookie_name: str | None,
        refresh_path: str | None = None,
    ) -> None:
        super().__init__(jam, header_name, cookie_name)
        self.refresh_path = refresh_path

    def cookie_names(self) -> list[str]:
        """Those of the refresh token too: a logout ends what they say."""
        if self.cookie_name is None:
            return []
        others = [refresh_name(self.cookie_name, use) for use in ("refresh", "logout")]
        return [self.cookie_name, *others]

    def find_refresh(self, environ: dict[str, Any]) -> Credential | Rejected:
        """The refresh token in its cookie."""
        if self.cookie_name is None:
            return self._missing
        return self._in_cookie(environ, refresh_name(self.cookie_name))

    def might_be(self, value: str) -> bool:
        """Two dots: an access token, or a refresh token that was sent in its place."""
        return value.count(".") == 2

    def authenticate(self, credential: Credential) -> Accepted:
        """See :class:`Scheme`."""
        facts = self.jam.verifier.verify(credential.value)
        accepted: Accepted = _new(
            Accepted, ("jwt", credential.source, facts.sub, facts.fresh(), facts.auth_time)
        )
        return accepted


class SessionScheme(Scheme):
    """An id of a server-side session."""

    name = "session"

    def might_be(self, value: str) -> bool:
        """The shape of an id."""
        return is_session_id(value)

    def authenticate(self, credential: Credential) -> Accepted:
        """See :class:`Scheme`."""
        return self.accepted(credential, self.jam.sessions.lookup(credential.value))

    def accepted(self, credential: Credential, session: Session) -> Accepted:
        """Whose session it is."""
        return Accepted(
            "session",
            credential.source,
            session.session_key,
            copied_data(session),
            session.auth_time,
        )


def authenticated(scheme: Scheme, found: Credential | Rejected) -> Outcome:
    """The outcome for what was found: refusals become values here and nowhere else."""
    if isinstance(found, Rejected):
        return found
    try:
        return scheme.authenticate(found)
    except (TokenError, SessionError, StoreUnavailable) as error:
        reason = Reason.MALFORMED if _is_malformed(found) else error.reason
        return Rejected(scheme.name, reason, found.source, found.fingerprint())


def _is_malformed(found: Credential) -> bool:
    # Asked of refused credentials only: nothing that is no token68 ever passes a gate.
    return found.source == "header" and not _TOKEN68.fullmatch(found.value)


def check_refresh_path(path: object) -> None:
    """Refuse a path that no cookie can have.

    :raises ConfigError: with a sentence.
    """
    if path is not None and not (isinstance(path, str) and _COOKIE_PATH.fullmatch(path)):
        raise ConfigError(
            "refresh_path: write the path that your refresh and logout URLs have in "
            "common, such as /auth"
        )


def check_sources(header_name: str | None, cookie_name: str | None) -> None:
    """Refuse an extension that could never find a credential.

    :raises ConfigError: with a sentence.
    """
    if header_name is None and cookie_name is None:
        raise ConfigError("write a header_name or a cookie_name: with neither nobody is ever known")
    if cookie_name is not None:
        check_cookie_name(cookie_name)
    if header_name is not None and not (
        isinstance(header_name, str) and _HEADER_NAME.fullmatch(header_name)
    ):
        raise ConfigError("header_name: write letters, digits and -, such as Authorization")


def _environ_key(header_name: str | None) -> str | None:
    return None if header_name is None else "HTTP_" + header_name.upper().replace("-", "_")
