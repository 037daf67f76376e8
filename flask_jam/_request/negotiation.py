"""Decide whether a client wants a page or data."""

from __future__ import annotations

from typing import Any

from flask import has_request_context, request

from .werkzeug_internals import get_request_context

PROBLEM = "application/problem+json"
#: A browser's ``Accept`` has about 150 characters. Parsing a very long one takes time.
_LONGEST_ACCEPT = 1024


def wants_page() -> bool:
    """Return True if a browser navigates to a page, rather than a script fetching data."""
    environ: dict[str, Any] = get_request_context().request.environ
    if "HTTP_HX_REQUEST" in environ or environ.get("HTTP_X_REQUESTED_WITH") == "XMLHttpRequest":
        return False
    # Fetch Metadata: a fetch() may ask for text/html, and follows redirects silently.
    return environ.get("HTTP_SEC_FETCH_MODE", "navigate") == "navigate" and wants_html()


def wants_html() -> bool:
    """Return True if the client prefers HTML, by ``Accept`` (RFC 9110 12.5.1)."""
    if not has_request_context():
        return False
    # Parsing all types costs more than the rest of a refusal, and most clients name no text type.
    accepted: str = get_request_context().request.environ.get("HTTP_ACCEPT", "")
    if "text/" not in accepted.lower() or len(accepted) > _LONGEST_ACCEPT:
        return False
    accept = request.accept_mimetypes
    named = [quality for kind, quality in accept if kind.lower().endswith("+json")]
    return accept["text/html"] > max(accept[PROBLEM], accept["application/json"], *named)
