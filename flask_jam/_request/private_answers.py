"""Keep an answer that depends on the caller out of shared caches: ``no-store`` and ``Vary``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response

from .request_auth import RequestAuth, request_auth_so_far


def keeping_private(process: Callable[[Response], Response]) -> Callable[[Response], Response]:
    """Return an app's ``process_response`` that has the last word on who may keep the answer.

    What the view and every hook said of caching is known then, and stands (ASVS 14.3.2).
    """

    def process_response(response: Response) -> Response:
        try:
            response = process(response)
        finally:  # a hook that raises leaves the answer as it is by now
            auth = request_auth_so_far()
            if auth is not None and (auth.depends or _shows_refusal(auth, response)):
                _mark(auth, response)
        return response

    return process_response


def _shows_refusal(auth: RequestAuth, response: Response) -> bool:
    """Return True if the view made a page of a refusal: another caller would get another page."""
    return auth.refused and response.status_code < 300


def _mark(auth: RequestAuth, response: Response) -> None:
    headers, vary = response.headers, auth.state.vary
    is_cached = is_varied = False
    # To ask the headers for a name that is not there costs more than to look through them.
    for name, _ in headers:
        is_cached = is_cached or name.lower() == "cache-control"
        is_varied = is_varied or name.lower() == "vary"
    if not is_cached and auth.seen:
        headers.add("Cache-Control", "no-store")
    if vary and is_varied:
        _extend_vary(headers, vary)
    elif vary:
        headers.add("Vary", ", ".join(vary))


def _extend_vary(headers: Any, vary: tuple[str, ...]) -> None:
    names = [name.strip() for line in headers.getlist("Vary") for name in line.split(",")]
    known = {name.lower() for name in names}
    names += [name for name in vary if name.lower() not in known]
    headers["Vary"] = ", ".join(names)
