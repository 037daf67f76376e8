"""Decide whether a client wants a page or data."""

from __future__ import annotations

from flask import request

PROBLEM = "application/problem+json"
#: A browser's ``Accept`` has some 150 characters. To weigh the types of a longer one takes time.
_LONGEST_ACCEPT = 1024


def wants_page() -> bool:
    """Whether a person is waiting for a page, rather than a script for an answer."""
    headers = request.headers
    if "HX-Request" in headers or headers.get("X-Requested-With") == "XMLHttpRequest":
        return False
    # Fetch Metadata: a fetch() may ask for text/html, and follows a redirect without a word.
    return headers.get("Sec-Fetch-Mode", "navigate") == "navigate" and wants_html()


def wants_html() -> bool:
    """Whether HTML is what the client likes best, by ``Accept`` (RFC 9110 12.5.1)."""
    # To weigh all types costs more than the rest of a refusal, and most clients name none of text.
    said = request.headers.get("Accept", "") if request else ""
    if "text/" not in said.lower() or len(said) > _LONGEST_ACCEPT:
        return False
    accept = request.accept_mimetypes
    named = [quality for kind, quality in accept if kind.lower().endswith("+json")]
    return accept["text/html"] > max(accept[PROBLEM], accept["application/json"], *named)
