"""The scheme ``jwt``: a signed access token."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from flask import Request

from .._credentials.issuer_names import metadata_url
from .._credentials.refresh_rotation import is_refresh_token
from .._helpers.deadline import one_deadline
from .._helpers.names import name_set, nearest
from .._helpers.setting_types import COOKIE_PATH
from .._request.cookies import refresh_name
from ..errors import ConfigError, Reason, StoreUnavailable, TokenError
from ..jam import Jam
from ..stores.interface import Family
from .interface import MALFORMED, MISSING, Found
from .outcome import Accepted, AcceptedByName, Credential
from .transport import TOKEN68, SeveralCookies, TransportScheme, is_malformed

if TYPE_CHECKING:
    from ..issuers import Issuer

_new: Any = tuple.__new__  # as in transport.py
#: The default sources of a refresh token.
REFRESH_SOURCES = ("body", "cookie")
_REFRESH_SOURCES = (*REFRESH_SOURCES, "header")


class JWTScheme(TransportScheme):
    """Verify signed tokens of a :class:`~flask_jam.Jam`."""

    name = "jwt"
    label = "JWT"

    def __init__(  # noqa: PLR0913 - where tokens are read
        self,
        jam: Jam,
        header_name: str | None,
        cookie_name: str | None,
        refresh_path: str | None = None,
        *,
        header_type: str | None = "Bearer",
        refresh_sources: Collection[str] = REFRESH_SOURCES,
    ) -> None:
        super().__init__(jam, header_name, cookie_name, header_type)
        self.refresh_path = refresh_path
        self.refresh_sources = frozenset(refresh_sources)

    def recognises(self, value: str) -> bool:
        """Return True for two dots: an access token, or a refresh token sent in its place."""
        return value.count(".") == 2

    def authenticate(self, credential: Credential, request: Request) -> Accepted:
        """See :class:`~flask_jam.schemes.Scheme`."""
        try:
            facts = self.jam.verifier.verify(credential.value)
        except TokenError:
            if is_malformed(credential):
                raise TokenError(Reason.MALFORMED) from None
            raise
        accepted: Accepted = _new(
            AcceptedByName if facts.by_name else Accepted,
            (
                "jwt",
                credential.source,
                facts.sub,
                facts.fresh(),
                facts.auth_time,
                None,
                facts.issuer,
                facts.mark,
            ),
        )
        return accepted

    def end(self, credential: str) -> str | None:
        """End a token and its refresh family."""
        return self.jam.end_login(credential)

    def openapi(self) -> dict[str, Any]:
        """Return one object for each place, and one for each provider that has metadata."""
        return {**super().openapi(), **{name: each for name, _, each in self._providers()}}

    def _places_for(self, issuers: tuple[str, ...]) -> Collection[str] | None:
        """Return the places of own tokens, or of the tokens of the guard's issuers."""
        taken: set[str] = set() if self.cookie_name is None else {f"{self.name}_cookie"}
        described = {rules: name for name, rules, _ in self._providers()}
        for rules in self.jam.issuers.states() if self.jam.issuers else ():
            if self.jam.verifier.is_taken(rules, issuers):
                taken.add(described.get(rules, f"{self.name}_header"))
        if not issuers and self.jam.verifier.has_own_key:
            taken.add(f"{self.name}_header")
        return taken

    def _providers(self) -> Iterator[tuple[str, Issuer, dict[str, str]]]:
        """Yield the issuers with a metadata URL, each with its Security Scheme Object."""
        reads = (self.header_name or "").lower() == "authorization" and not self._has_own_form
        names: set[str] = set()
        for rules in self.jam.issuers.states() if self.jam.issuers and reads else ():
            url = metadata_url(rules)
            if url is not None:
                name = _unused(f"{self.name}_{_slug(rules.issuer)}", names)
                yield name, rules, {"type": "openIdConnect", "openIdConnectUrl": url}

    def cookie_names(self) -> list[str]:
        """Return the names of the cookies, those of the refresh token included, for a logout."""
        if self.cookie_name is None:
            return []
        others = [refresh_name(self.cookie_name, use) for use in ("refresh", "logout")]
        return [self.cookie_name, *others]

    def find_refresh(self, environ: dict[str, Any]) -> Found:
        """Return the refresh token from its cookie."""
        if self.cookie_name is None or "HTTP_COOKIE" not in environ:
            return MISSING
        found = self.in_cookie(environ, refresh_name(self.cookie_name))
        return self._living_refresh(found) if isinstance(found, SeveralCookies) else found

    def refresh_in_header(self, environ: dict[str, Any]) -> Found:
        """Return the refresh token from the header, if that is one of the sources.

        Its form distinguishes it from an access token, which many clients send with each request.
        """
        header = environ.get(self._header_key)
        if "header" not in self.refresh_sources or self.header_name is None or header is None:
            return MISSING
        found = self._in_header(header)
        if isinstance(found, Credential) and TOKEN68.fullmatch(found.value):
            return found if is_refresh_token(found.value) else MISSING
        return MALFORMED if isinstance(found, Credential) else found

    @one_deadline
    def _living_refresh(self, found: SeveralCookies) -> Found:
        """Return the newest valid of several refresh tokens; refuse those of two subjects.

        No login can end a cookie that is sent only to the refresh URL. So contradicting ones are
        ended here, and the next login works.
        """
        try:
            families = [(self.jam.families.of_token(each.value), each) for each in found.each()]
            living = [(family, each) for family, each in families if family is not None]
            if len({family.subject for family, _ in living}) > 1:
                for _, each in living:
                    self.end(each.value)
                return MALFORMED
        except StoreUnavailable:
            return Credential(*found)  # rotating it reports the reason
        newest = max(living, key=self._age_of_refresh, default=None)
        return Credential(*found) if newest is None else newest[1]

    def _age_of_refresh(self, pair: tuple[Family, Credential]) -> tuple[float, int]:
        """Return the sort key: by login, then by generation, as an older one counts as reuse."""
        family, credential = pair
        return family.started_at, self.jam.families.parsed(credential.value)[1]


def _slug(issuer: str) -> str:
    return re.sub(r"\W+", "_", issuer.partition("://")[2]).strip("_")


def _unused(name: str, names: set[str]) -> str:
    number = next(n for n in itertools.count(1) if f"{name}{'' if n == 1 else n}" not in names)
    names.add(found := name if number == 1 else f"{name}{number}")
    return found


def check_refresh_path(path: object) -> None:
    """Raise an error for a path that no cookie can have.

    :raises ConfigError: if it is not an absolute path.
    """
    if path is not None and not (isinstance(path, str) and COOKIE_PATH.fullmatch(path)):
        raise ConfigError(
            "refresh_path: write the path that your refresh and logout URLs have in common, such "
            "as /auth"
        )


def check_refresh_sources(
    sources: object, header_name: str | None, cookie_name: str | None
) -> tuple[str, ...]:
    """Check and return the sources of a refresh token.

    :raises ConfigError: for an unknown source, or one that the extension does not read.
    """
    names = name_set(sources, "refresh_sources")
    for name in names:
        if name not in _REFRESH_SOURCES:
            raise ConfigError(
                f"refresh_sources: {name!r} is none of body, cookie, header"
                f"{nearest(name, _REFRESH_SOURCES)}"
            )
    if not names:
        raise ConfigError("refresh_sources: write at least one of body, cookie, header")
    if "header" in names and header_name is None:
        raise ConfigError('refresh_sources: "header" is the header of header_name: set that')
    if names == ("cookie",) and cookie_name is None:
        raise ConfigError('refresh_sources: "cookie" needs a cookie_name')
    if header_name is None and "cookie" not in names:
        raise ConfigError(
            'refresh_sources: without a header_name only a cookie carries tokens: add "cookie"'
        )
    return names
