"""Pages and APIs: who wants which answer, and the way of a visitor to the login page and back.

A person who follows a link to a guarded page should see the login form; a script that asks for
data should see a 401. What is asked for is told by ``Accept`` and by how the request was made.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

from flask import current_app, request, url_for

PROBLEM = "application/problem+json"
#: A path, with or without a query: no host (``//``), and nothing that a browser drops or turns
#: into a slash before it looks for one (controls, ``\\``).
_PATH = re.compile(r"/(?!/)[^\\\x00-\x20\x7f]{0,2047}")


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
    if not request or "text/" not in request.headers.get("Accept", "").lower():
        return False
    accept = request.accept_mimetypes
    named = [quality for kind, quality in accept if kind.lower().endswith("+json")]
    return accept["text/html"] > max(accept[PROBLEM], accept["application/json"], *named)


# --- to the login page ----------------------------------------------------------------------


def login_url(login_view: str) -> str | None:
    """Where this request should go to log in, and come back from; ``None`` if it is there.

    A path, not a URL: whoever writes the ``Host`` header must not choose where people log in.
    """
    if login_view in (request.endpoint, request.path):
        return None
    by_path = login_view.startswith("/")
    url = request.script_root + login_view if by_path else url_for(login_view)
    # On a host of its own, which the app's configuration names, no path of this one is of use.
    back = _way_back() if url.startswith("/") else None
    join = "&" if "?" in url else "?"
    return url if back is None else f"{url}{join}next={quote(back, safe='/')}"


def _way_back() -> str | None:
    """The page to come back to: this one, or the one whose script is asking."""
    if "HX-Request" in request.headers:
        back = _path_in(request.headers.get("HX-Current-URL", ""))
    elif not _answers_get():
        return None
    else:
        back = quote(request.script_root + request.path, safe="/!$&'()*+,:;=@")
        if request.query_string:
            back += "?" + request.query_string.decode("latin-1")
    return back if is_path(back) else None


def _answers_get() -> bool:
    # Not asked of the rule that matched: a GET and a POST of one URL may be two.
    adapter = current_app.create_url_adapter(request)
    return adapter is not None and adapter.test(method="GET")


def _path_in(url: str) -> str:
    try:
        return urlsplit(url)._replace(scheme="", netloc="", fragment="").geturl()
    except ValueError:
        return ""


# --- and back -------------------------------------------------------------------------------


def is_path(target: object) -> bool:
    """Whether a redirect there stays on this host (ASVS 3.7.2)."""
    return isinstance(target, str) and _PATH.fullmatch(target) is not None


def safe_next(default: str = "/") -> str:
    """Where to go after a login: ``next`` of the query or the form, if it is a path of this host.

    Anything else, such as ``//evil.example``, gives ``default``. Redirect there with 303.
    """
    target = request.args.get("next") or request.form.get("next")
    return target if target is not None and is_path(target) else default
