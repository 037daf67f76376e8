"""Keep an answer that depends on the caller out of shared caches: ``no-store`` and ``Vary``."""

from __future__ import annotations

import re
from typing import Any

from flask import Response
from werkzeug.wsgi import FileWrapper

from ..errors import ConfigError, Reason
from ..schemes.outcome import Rejected
from .flask_internals import app_of_request, changes_before_sending, note_sent
from .request_auth import RequestAuth, current_request_auth, request_auth_of
from .views import is_static
from .werkzeug_internals import copy_response, get_request

#: A directive of Cache-Control; its value may be quoted and hold commas.
_DIRECTIVE = re.compile(r'(?:[^,"]|"[^"]*")+')
#: With one of these, no shared cache answers another request with it unasked.
_PRIVATE = {"private", "no-store", "no-cache"}


def keep_private(response: Response) -> Response:
    """Return the answer with the last word on who may keep it (ASVS 14.3.2).

    What the view and every hook said of caching is known now. Cookies of a login, refresh or
    logout are added here, too, so that one in an ``after_request`` hook arrives.
    """
    request = get_request()
    for change in changes_before_sending(request):
        response = change(response)
    auth = request_auth_of(request)
    is_known = auth is not None and (auth.seen or auth.refused)
    if response.response.__class__ is not list and not is_known:
        auth = _looked_into(response) or auth
    if auth is not None and (auth.depends or auth.refused):
        response = _marked(auth, _refused(auth, response) if auth.refused else response)
    note_sent(request)
    return response


def _refused(auth: RequestAuth, response: Response) -> Response:
    """Restore what an error handler of a library dropped of a refusal.

    Flask-RESTX gives its own handlers even what has no code; others build a new answer without the
    challenge, which a 401 must have (RFC 9110 15.5.2).
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
    """Mark a stream that may still ask who it is for: no header can be changed then.

    Only a list or a tuple and the file wrappers are known to be done. The page of an
    HTTPException is run like a WSGI app, so it counts as a stream, too.
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


def _marked(auth: RequestAuth, response: Response) -> Response:
    """Return a copy that says who may keep it: the view may give this one to every request."""
    if _is_public_file(auth, response):
        return response
    headers: list[tuple[str, str]] = []
    caching: list[str] = []
    vary: list[str] = []
    for name, value in response.headers:
        folded = name.lower()
        if folded == "cache-control":
            caching.append(value)
        elif folded == "vary":
            vary.append(value)
        else:
            headers.append((name, value))
    caching_value = _caching(auth, caching)
    if caching_value is not None:
        headers.append(("Cache-Control", caching_value))
    joined = _vary(auth.state.vary, vary)
    if joined:
        headers.append(("Vary", joined))
    return copy_response(response, headers)


def _is_public_file(auth: RequestAuth, response: Response) -> bool:
    """Return True for a static file that no guard stood before."""
    if auth.refused or auth.admitted:
        return False
    rule = auth.request.url_rule
    return rule is not None and response.status_code < 400 and is_static(auth.state.app, rule)


def _caching(auth: RequestAuth, values: list[str]) -> str | None:
    if auth.refused or (auth.seen and not values):
        return "no-store"
    value = ", ".join(values)
    return (_private(value) if auth.seen else value) or None


def _private(value: str) -> str:
    """Return a Cache-Control that lets no shared cache keep the answer (RFC 9111 5.2.2)."""
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
