"""Sets of names, and suggestions for misspelt ones."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from ..errors import ConfigError


def nearest(word: object, choices: Iterable[str]) -> str:
    """Return the choice that was probably meant, as the end of a sentence, or an empty string."""
    folded = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(str(word).lower(), list(folded), n=1, cutoff=0.6)
    return f"; did you mean {folded[near[0]]}?" if near else ""


_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 3.3
_EXAMPLES = {
    "scopes": "articles:read",
    "roles": "admin",
    "sources": "header",
    "issuers": "https://idp.example/",
    "refresh_sources": "body",
}


def name_set(names: object, what: str) -> tuple[str, ...]:
    """Return the names, sorted and unique. Reject a bare string: it would be read by letter.

    :param what: the name of the argument, such as ``scopes``, for the error.
    :raises ConfigError: if these are no names.
    """
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise ConfigError(f'{what}: write a set of names, such as {what}={{"{_EXAMPLES[what]}"}}')
    found = list(names)
    if not all(isinstance(name, str) and name for name in found):
        raise ConfigError(f"{what}: every name must be a non-empty string")
    if what == "scopes" and not all(_SCOPE_TOKEN.fullmatch(name) for name in found):
        raise ConfigError("scopes: a name has no spaces, quotes or backslashes (RFC 6749 3.3)")
    return tuple(sorted(set(found)))
