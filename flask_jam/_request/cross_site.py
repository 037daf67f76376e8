"""The cross-site check: does a request with a cookie come from the site itself?

A browser adds the cookie to every request, whichever site caused it. So the check reads where the
request comes from, in two headers that no script can write (Fetch Metadata; RFC 6454 7.3). No page
has to carry a token. A client that sends neither header is no browser: no site can make it send a
cookie that it does not know.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from .._helpers.setting_types import normal_origin

#: They change nothing (RFC 9110 9.2.1), so another site gains nothing. TRACE echoes: left out.
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def is_cross_site(environ: dict[str, Any], trusted: Collection[str]) -> bool:
    """Return True if a request with an ambient credential must be refused (ASVS 3.5.1).

    :param trusted: origins that may send such requests: ``https://app.example.org``.
    """
    return not is_safe(environ) and is_from_elsewhere(environ, trusted)


def is_safe(environ: dict[str, Any]) -> bool:
    """Return True for a method that changes nothing, and that no page of another site can read."""
    # A WebSocket begins with a GET, and no CORS stands in its way (RFC 6455 10.2).
    return environ.get("REQUEST_METHOD") in SAFE and "HTTP_UPGRADE" not in environ


def is_from_elsewhere(environ: dict[str, Any], trusted: Collection[str]) -> bool:
    """Return True if another site made the browser send the request, whatever its method."""
    site, origin = environ.get("HTTP_SEC_FETCH_SITE"), environ.get("HTTP_ORIGIN")
    if environ.get("HTTP_SEC_FETCH_MODE") == "same-origin":
        # A service worker that repeats a request sends a cross-site form as same-origin.
        return True
    if origin is not None and normal_origin(origin) in trusted:
        return False
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and not _is_own(origin, environ)


def _is_own(origin: str, environ: dict[str, Any]) -> bool:
    """Return True if an origin is the requested host. A proxy may end TLS, so https counts."""
    own = environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    found, scheme = normal_origin(origin), environ.get("wsgi.url_scheme", "http")
    # An attacker who can modify plain http is not the site.
    allowed = ("https",) if scheme == "https" else ("https", "http")
    return found is not None and found in {normal_origin(f"{each}://{own}") for each in allowed}
