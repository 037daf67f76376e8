"""Keep an answer that depends on the caller out of shared caches: ``no-store`` and ``Vary``."""

from __future__ import annotations

import re
from typing import Any

from flask import Request, Response
from werkzeug.wsgi import FileWrapper

from ..errors import ConfigError, Reason
from ..schemes.outcome import Rejected
from .flask_internals import app_of_request
from .request_auth import KEY, RequestAuth, current_request_auth
from .views import is_static
from .werkzeug_internals import add_headers, copy_response, get_request

#: A directive of Cache-Control; its value may be quoted and hold commas.
_DIRECTIVE = re.compile(r'(?:[^,"]|"[^"]*")+')
_DECIDED = {"cache-control", "vary"}
#: With one of these, a shared cache stores nothing or revalidates each answer.
_PRIVATE = {"private", "no-store", "no-cache"}


def keep_private(request: Request, response: Response, is_fresh: bool) -> Response:
    """Add the final caching headers to a response (ASVS 14.3.2).

    It runs after the view and every hook, so what they set is known.

    :param is_fresh: False if a view or a hook may return this object for other requests, too: then
        it is copied.
    """
    auth: RequestAuth | None = request.__dict__.get(KEY)
    is_known = auth is not None and (auth.seen or auth.refused)
    if not is_known and response.response.__class__ is not list:
        auth = _looked_into(response) or auth
    if auth is None or not auth.depends:
        return response
    if auth.refused:
        response = _refused(auth, response)
    elif auth.accepted is None and _is_public_file(auth, response):
        return response
    said: dict[str, list[str]] = {}
    for name, value in response.headers:
        if (folded := name.lower()) in _DECIDED:
            said.setdefault(folded, []).append(value)
    if said or not (auth.seen or auth.refused):
        others = [each for each in response.headers if each[0].lower() not in _DECIDED]
        return copy_response(response, others + _decided(auth, said))
    if is_fresh:
        return add_headers(response, auth.state.private)
    return copy_response(response, [*response.headers, *auth.state.private])


def _refused(auth: RequestAuth, response: Response) -> Response:
    """Restore the parts of a refusal that a library's error handler dropped.

    Flask-RESTX passes even exceptions without a code to its handlers; others build a new response
    without the challenge, which a 401 must have (RFC 9110 15.5.2).
    """
    refusal = auth.refusal
    if refusal is None:
        return response
    if refusal.code is None:
        lost = response.status_code >= 300 and "Location" not in response.headers
        return copy_response(refusal.response, list(refusal.response.headers)) if lost else response
    if response.status_code != refusal.code:
        return response
    missing = [each for each in refusal.extra_headers.items() if each[0] not in response.headers]
    return copy_response(response, [*response.headers, *missing]) if missing else response


def _looked_into(response: Response) -> RequestAuth | None:
    """Mark a stream that may still look up the caller: it cannot change headers any more.

    Only lists, tuples and the file wrappers are known to be complete. The page of an
    HTTPException runs like a WSGI app, so it counts as a stream, too.
    """
    body: Any = response.response
    wrapper = get_request().environ.get("wsgi.file_wrapper", FileWrapper)
    files = (FileWrapper, wrapper) if isinstance(wrapper, type) else (FileWrapper,)
    if isinstance(body, (list, tuple, *files)):
        return None
    try:
        auth = current_request_auth()
    except ConfigError:
        return None
    if auth.state.app is app_of_request() and _carries_credential(auth):
        auth.depends = auth.seen = True
        return auth
    return None


def _carries_credential(auth: RequestAuth) -> bool:
    for scheme in auth.state.schemes.values():
        try:
            found = auth.credential(scheme)
        except Exception:  # it would be asked, and refused
            return True
        if not (isinstance(found, Rejected) and found.reason is Reason.MISSING):
            return True
    return False


def _decided(auth: RequestAuth, headers: dict[str, list[str]]) -> list[tuple[str, str]]:
    """Return the caching headers of the answer, merged with what the view set."""
    caching = _caching(auth, headers.get("cache-control", []))
    values = ("Cache-Control", caching), ("Vary", _vary(auth.state.vary, headers.get("vary", [])))
    return [(name, value) for name, value in values if value]


def _is_public_file(auth: RequestAuth, response: Response) -> bool:
    """Return True for a static file; the caller has checked that it is not guarded."""
    rule = auth.request.url_rule
    return rule is not None and response.status_code < 400 and is_static(auth.state.app, rule)


def _caching(auth: RequestAuth, values: list[str]) -> str | None:
    if auth.refused or (auth.seen and not values):
        return "no-store"
    value = ", ".join(values)
    return (_private(value) if auth.seen else value) or None


def _private(value: str) -> str:
    """Return a Cache-Control that keeps the answer out of shared caches (RFC 9111 5.2.2)."""
    directives = [part.strip() for part in _DIRECTIVE.findall(value)]
    kept = [each for each in directives if not each.lower().startswith(("public", "s-maxage"))]
    if not _PRIVATE.isdisjoint(map(str.lower, kept)):
        return value if kept == directives else ", ".join(kept)
    return ", ".join([*kept, "private"])


def _vary(ours: tuple[str, ...], values: list[str]) -> str:
    if not values:
        return ", ".join(ours)
    names = [name.strip() for value in values for name in value.split(",")]
    known = {name.lower() for name in names}
    return ", ".join([*names, *(name for name in ours if name.lower() not in known)])
