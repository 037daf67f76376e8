"""Keep an answer that depends on the caller out of shared caches: ``no-store`` and ``Vary``."""

from __future__ import annotations

import re
from collections.abc import Callable

from flask import Response
from werkzeug.wsgi import ClosingIterator

from ..errors import ConfigError
from ..schemes.interface import MISSING
from .flask_internals import changes_before_sending, get_current_app
from .request_auth import RequestAuth, current_request_auth, request_auth_so_far
from .views import is_static
from .werkzeug_internals import copy_response

#: A directive of Cache-Control; its value may be quoted and hold commas.
_DIRECTIVE = re.compile(r'(?:[^,"]|"[^"]*")+')
#: With one of these, no shared cache answers another request with it unasked.
_PRIVATE = {"private", "no-store", "no-cache"}


def keeping_private(process: Callable[[Response], Response]) -> Callable[[Response], Response]:
    """Return an app's ``process_response`` that has the last word on who may keep the answer.

    What the view and every hook said of caching is known then (ASVS 14.3.2). Cookies of a login,
    refresh or logout are added here, too, so that one in an ``after_request`` hook arrives.
    """

    def process_response(response: Response) -> Response:
        try:
            return _last_word(process(response))
        except Exception:
            # Flask sends the answer that the hook which raised was given, so that one is changed.
            response.headers = _last_word(response).headers
            raise

    return process_response


def _last_word(response: Response) -> Response:
    for change in changes_before_sending():
        response = change(response)
    auth = request_auth_so_far()
    if auth is not None and (auth.depends or auth.refused):
        return _marked(auth, response)
    if response.response.__class__ is not list:
        return _marked_stream(auth, response)
    return response


def _marked_stream(auth: RequestAuth | None, response: Response) -> Response:
    """Mark a stream that may still ask who it is for, as no header can be changed then."""
    is_error = isinstance(response.response, ClosingIterator)  # the page of an HTTPException
    if is_error or not response.is_streamed or response.direct_passthrough:
        return response
    try:
        auth = auth or current_request_auth()
    except ConfigError:
        return response
    if auth.state.app is not get_current_app() or not _carries_credential(auth):
        return response
    auth.depends = auth.seen = True
    return _marked(auth, response)


def _carries_credential(auth: RequestAuth) -> bool:
    return any(scheme.find(auth.request) is not MISSING for scheme in auth.state.schemes.values())


def _marked(auth: RequestAuth, response: Response) -> Response:
    """Return a copy that says who may keep it: the view may give this one to every request."""
    rule = auth.request.url_rule
    if rule is not None and not auth.refused and is_static(auth.state.app, rule):
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
