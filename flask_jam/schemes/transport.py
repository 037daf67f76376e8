"""Reading headers and cookies: the base of schemes with a Bearer header or a cookie."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Any, ClassVar, Final, Literal

from flask import Request

from .._request.cookies import (
    MOST_OF_A_NAME,
    check_cookie_name,
    is_oversized,
    read_values,
    values_of,
)
from .._request.status_codes import ANSWERS
from ..errors import ConfigError, Reason
from ..jam import Jam
from .interface import MALFORMED, MISSING, Absence, Found, Requirement, Scheme
from .outcome import Credential

#: A NamedTuple's own ``__new__`` calls this from Python, which counts on the guarded route.
_new: Any = tuple.__new__
TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 9110 11.2
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
#: An Authorization header with a leading word: if ours takes a bare value, it is another library's.
_FOREIGN = re.compile(r"[A-Za-z][A-Za-z0-9_-]* ")
#: The longest header that is split into candidates: four times the largest token allowed.
_LONGEST_HEADER = 4 * 65536


class Default(Enum):
    """A marker for an argument that was not given."""

    HEADER_TYPE = "Bearer in Authorization, a bare value in any other header"

    def __repr__(self) -> str:
        return f"<{self.name}>"


HEADER_TYPE: Final = Default.HEADER_TYPE
#: The word in front of a credential; ``None`` for a bare value.
HeaderType = str | None | Literal[Default.HEADER_TYPE]


class TransportScheme(Scheme):
    """A scheme that reads ``Authorization: Bearer <credential>``, a cookie, or both."""

    _is_built_in = True
    #: Names the credential in OpenAPI.
    label: ClassVar[str]
    #: On a shared header, True if a value that no other scheme recognises is for this one.
    takes_the_rest: ClassVar[bool] = False
    #: On a shared header, the order in which schemes check the form of a value.
    form_rank: ClassVar[int] = 1

    def __init__(
        self,
        jam: Jam,
        header_name: str | None,
        cookie_name: str | None,
        header_type: str | None = "Bearer",
    ) -> None:
        self.jam = jam
        self.header_name = header_name
        self.cookie_name = cookie_name
        self.header_type = header_type
        # A bare value may follow Bearer, so that clients can migrate.
        self._words = {(header_type or "Bearer").lower()}
        self._mangled = _mangled(self._words)
        cookies = () if cookie_name is None else ("Cookie",)
        self.vary = cookies if header_name is None else (header_name, *cookies)
        self._header_key = "HTTP_" + (header_name or "").upper().replace("-", "_")
        #: Other schemes that read the same header, and those of them that read the same word.
        self._neighbours: tuple[TransportScheme, ...] = ()
        self._others: tuple[TransportScheme, ...] = ()
        #: The latter with this one, in the order of ``form_rank``.
        self._by_form: tuple[TransportScheme, ...] = (self,)
        self._is_special = self._has_own_form
        self._shares_bearer = False

    # --- what each scheme adds ---

    def recognises(self, value: str) -> bool:
        """Return True if a value has the form of a credential of this scheme."""
        raise NotImplementedError

    def resembles(self, value: str) -> bool:
        """Return True if a damaged value was meant for this scheme."""
        return False

    def end(self, credential: str) -> str | None:
        """End the login that a credential belongs to; return its owner, or None if none ended.

        :raises StoreUnavailable: if the store did not answer.
        """
        raise NotImplementedError

    def cookie_names(self) -> list[str]:
        """Return every cookie that may carry one of its credentials."""
        return [] if self.cookie_name is None else [self.cookie_name]

    # --- reading a request ---

    def share_header(self, others: Iterable[Scheme]) -> None:
        """Note which other schemes of the app read the same header."""
        transports = [each for each in others if isinstance(each, TransportScheme)]
        same = [each for each in transports if each._header_key == self._header_key]
        self._neighbours = tuple(each for each in same if each is not self and self.header_name)
        self._others = tuple(each for each in self._neighbours if each._words & self._words)
        self._by_form = tuple(sorted((self, *self._others), key=lambda each: each.form_rank))
        self._is_special = bool(self._neighbours) or self._has_own_form
        # Those that read the same word see a value wherever this one does.
        self._shares_bearer = bool(self._others) and "bearer" in self._words

    def find(self, request: Request) -> Found:
        """Return the credential of the header, else of the cookie. A bad one is never skipped."""
        environ = request.environ
        header = environ.get(self._header_key)
        if header is not None:
            if not self._is_special and header[:7] == "Bearer ":  # what nearly every client sends
                sent: Credential = _new(Credential, (self.name, "header", header[7:].strip(" \t")))
                return sent
            if self._shares_bearer and header[:7] == "Bearer ":
                found = self._in_shared_header(header[7:].strip(" \t"))
            else:
                found = self._in_header(header)
            if found is not MISSING:
                return found
        if self.cookie_name is not None and "HTTP_COOKIE" in environ:
            return self.in_cookie(environ, self.cookie_name)
        return MISSING

    def _malformed_source(self, request: Request) -> str | None:
        header = request.environ.get(self._header_key)
        in_header = header is not None and self._in_header(header) is MALFORMED
        return "header" if in_header else "cookie"

    def candidates(self, environ: dict[str, Any]) -> list[Credential]:
        """Return everything that might be a credential, from every source.

        A logout ends all of them: one that is skipped would stay valid.
        """
        header = environ.get(self._header_key, "") if self.header_name else ""
        parts = dict.fromkeys(re.split(r"[ ,\t]+", header[:_LONGEST_HEADER]))
        values = [("header", part) for part in parts if self.recognises(part)][:MOST_OF_A_NAME]
        for name in self.cookie_names():
            values += [("cookie", value) for value in values_of(environ, name)[:MOST_OF_A_NAME]]
        return [
            Credential(self.name, source, value)
            for source, value in values
            if self.recognises(value)
        ]

    def has_too_many(self, environ: dict[str, Any]) -> bool:
        """Return True if there are more cookies of a name than are read."""
        header = environ.get("HTTP_COOKIE", "")
        counts = (len(values_of(environ, name)) for name in self.cookie_names())
        return is_oversized(header) or any(count > MOST_OF_A_NAME for count in counts)

    def in_cookie(self, environ: dict[str, Any], name: str) -> Found:
        """Return the credential of one cookie (RFC 6265 4.2.1); of several cookies, all."""
        header: str = environ["HTTP_COOKIE"]
        if is_oversized(header):
            return MALFORMED
        values, has_lookalike = read_values(header, name)
        if has_lookalike:
            return MALFORMED
        if len(values) < 2:
            one: Found = _new(Credential, (self.name, "cookie", values[0])) if values else MISSING
            return one
        if len(values) > MOST_OF_A_NAME or name.lower().startswith("__host-"):
            return MALFORMED
        return SeveralCookies.of(self.name, values)

    def _in_header(self, header: str) -> Found:
        if header[:7].lower() != "bearer " or self._is_special:
            return self._in_special_header(header)
        found: Credential = _new(Credential, (self.name, "header", header[7:].strip(" \t")))
        return found

    @property
    def _has_own_form(self) -> bool:
        return self.header_type is None or self.header_type.lower() != "bearer"

    def _in_special_header(self, header: str) -> Found:
        value = self._value_in(header)
        if value is None:
            return self._without_value(header.strip(" \t"))
        # A bare value is for schemes that accept one: no scheme with a word refuses it.
        if any(each._value_in(header) is not None for each in self._others):
            return self._in_shared_header(value)
        return Credential(self.name, "header", value)

    def _in_shared_header(self, value: str) -> Found:
        """Return the credential of a value that may be for another scheme of the app."""
        if self._recogniser(value) is not self:
            if not TOKEN68.fullmatch(value):
                return MALFORMED
            if not self._is_ours(value):
                return MISSING
        found: Credential = _new(Credential, (self.name, "header", value))
        return found

    def _value_in(self, header: str) -> str | None:
        """Return the value after the word, or the bare value; None if there is neither."""
        word, space, value = header.partition(" ")
        if space and word.lower() in self._words:
            return value.strip(" \t")
        bare = header.strip(" \t")
        is_bare = self.header_type is None and bare.lower() not in self._words
        return bare if is_bare and TOKEN68.fullmatch(bare) else None

    def _is_ours(self, value: str) -> bool:
        """Return True for a value of a shared header that is for this scheme, valid or not."""
        recogniser = self._recogniser(value)
        if recogniser is not None:
            return recogniser is self
        for each in self._by_form:
            if each.resembles(value):
                return each is self
        return self.takes_the_rest or not any(each.takes_the_rest for each in self._others)

    def _recogniser(self, value: str) -> TransportScheme | None:
        """Return the scheme whose form a value of a shared header has."""
        for each in self._by_form:
            if each.recognises(value):
                return each
        return None

    def _without_value(self, header: str) -> Absence:
        # Basic and the like are for others. A mangled word, one behind another header of the name,
        # or anything in a header that only this scheme reads, was meant for this scheme.
        if not header or any(each._claims(header) for each in self._neighbours):
            return MISSING
        if self._header_key != "HTTP_AUTHORIZATION" or self._mangled.search(header):
            return MALFORMED
        return MISSING if self.header_type is not None or _FOREIGN.match(header) else MALFORMED

    def _claims(self, header: str) -> bool:
        """Return True if a header has a credential of this scheme, by word and form."""
        value = self._value_in(header)
        return value is not None and self.recognises(value)

    # --- describing it ---

    @property
    def token_type(self) -> str:
        """Return the token type of a credential (RFC 6749 7.1)."""
        return self.header_type or "Bearer"

    def header_value(self, credential: str) -> str:
        """Return the header value that carries a credential."""
        return credential if self.header_type is None else f"{self.header_type} {credential}"

    def challenge(self, reason: Reason, requirement: Requirement) -> str | None:
        """Return a Bearer challenge (RFC 6750 3, RFC 9470 3), without ``error`` if none came.

        It names the word of the header, as clients answer with that (RFC 9110 11.6.1).
        """
        answer = ANSWERS[reason]
        details = {
            "missing_credential": "",
            "invalid_request": "",
            "invalid_token": f', error_description="{answer.detail}"',
            "insufficient_user_authentication": f', max_age="{int(requirement.max_age or 0)}"',
            "insufficient_scope": f', scope="{" ".join(requirement.scopes)}"',
        }
        if answer.error not in details:
            return None
        challenge = f'{self.token_type} realm="{self.jam.settings.realm}"'
        if answer.error != "missing_credential":
            challenge += f', error="{answer.error}"'
        return challenge + details[answer.error]

    def openapi(self) -> dict[str, Any]:
        """Return one Security Scheme Object for each place where a credential is read."""
        found: dict[str, Any] = {}
        if self.header_name is not None:
            found[f"{self.name}_header"] = self._header_object(self.header_name)
        if self.cookie_name is not None:
            found[f"{self.name}_cookie"] = {
                "type": "apiKey",
                "in": "cookie",
                "name": self.cookie_name,
                "description": self.label,
            }
        return found

    def _header_object(self, header_name: str) -> dict[str, str]:
        if header_name.lower() == "authorization" and not self._has_own_form:
            return {"type": "http", "scheme": "bearer", "bearerFormat": self.label}
        # OpenAPI's bearer is that word in the header Authorization only.
        form = self.label if self.header_type is None else f"{self.header_type} <{self.label}>"
        return {"type": "apiKey", "in": "header", "name": header_name, "description": form}


class SeveralCookies(Credential):
    """Cookies of one name: a browser sends one for each domain and path that set one.

    The one that counts is known once each was looked up.
    """

    values: tuple[str, ...] = ()

    @classmethod
    def of(cls, scheme: str, values: Sequence[str]) -> SeveralCookies:
        """Return the cookies of a scheme."""
        found: SeveralCookies = tuple.__new__(cls, (scheme, "cookie", values[0]))
        found.values = tuple(values)
        return found

    def each(self) -> Iterator[Credential]:
        """Yield each as a credential of its own."""
        return (Credential(self.scheme, self.source, value) for value in self.values)


def is_malformed(credential: Credential) -> bool:
    """Return True if a refused credential is no token68, so that the request is malformed."""
    return credential.source == "header" and not TOKEN68.fullmatch(credential.value)


def check_sources(header_name: str | None, cookie_name: str | None) -> None:
    """Raise an error for an extension that could never find a credential.

    :raises ConfigError: without a header and a cookie, or for an invalid header name.
    """
    if header_name is None and cookie_name is None:
        raise ConfigError(
            "set header_name or cookie_name: without either, no request can authenticate"
        )
    if cookie_name is not None:
        check_cookie_name(cookie_name)
    if header_name is not None and not (
        isinstance(header_name, str) and _HEADER_NAME.fullmatch(header_name)
    ):
        raise ConfigError("header_name: write letters, digits and -, such as Authorization")


def check_header_type(header_type: object, header_name: str | None) -> str | None:
    """Return the word in front of a credential in a header; ``None`` for a bare value.

    :raises ConfigError: for an invalid word, or without a header.
    """
    if header_type is HEADER_TYPE:
        return "Bearer" if (header_name or "Authorization").lower() == "authorization" else None
    if header_name is None:
        raise ConfigError("header_type is for a header: set header_name, or leave it out")
    if header_type is None:
        return None
    if not isinstance(header_type, str) or not _WORD.fullmatch(header_type):
        raise ConfigError(
            "header_type must be one word, such as Token, or None for a bare value: letters, "
            "digits, - and _"
        )
    return header_type


def _mangled(words: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that finds a word without a credential after it.

    After a comma it must not be a parameter of another library's scheme, such as ``token="x"``.
    """
    word = "|".join(map(re.escape, words))
    return re.compile(rf"^(?:{word})|,[ \t]*(?:{word})(?![\w-]*[ \t]*=)", re.IGNORECASE)
