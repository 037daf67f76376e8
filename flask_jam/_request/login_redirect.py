"""Login redirects for browsers, 401 for API clients, and the way back after a login.

A person who follows a link to a guarded page should see the login form; a script that asks for
data should see a 401. ``Accept`` and Fetch Metadata tell them apart.
"""

from __future__ import annotations

import logging
import posixpath
import re
from urllib.parse import quote, unquote, urlsplit

from flask import current_app, flash, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BuildError, MapAdapter
from werkzeug.urls import iri_to_uri

from ..settings import Settings
from .flask_internals import is_flashed

_log = logging.getLogger("flask_jam.pages")
#: A path, with or without a query: no host (``//``), and nothing that a browser drops or turns
#: into a slash before it looks for one (controls, ``\\``).
_PATH = re.compile(r"/(?!/)[^\\\x00-\x20\x7f]{0,2047}")
_IN_PATH = "/!$&'()*+,:;=@"  # RFC 3986 3.3
_ASCII = bytes(range(128))
_ABSOLUTE = ("http://", "https://")
#: The last segment of a logout URL. A redirect to it would undo the login at once.
_LOGS_OUT = re.compile(r"(?:log|sign)[-_]?out", re.IGNORECASE)


# --- to the login page ----------------------------------------------------------------------


def login_view_of(settings: Settings) -> str | None:
    """Return the login page of this request's blueprint, the innermost first; else the app's."""
    if settings.login_views:
        views = dict(settings.login_views)
        for name in request.blueprints:
            if name in views:
                return views[name]
    return settings.login_view


def flash_login_message(settings: Settings) -> None:
    """Flash ``login_message``, unless it waits to be shown already: several may be refused."""
    message, category = settings.login_message, settings.login_message_category
    if message is not None and not is_flashed(message, category):
        flash(message, category)


def login_url(login_view: str) -> str | None:
    """Return the URL of the login page, with ``next`` for the way back; ``None`` without one.

    It is a path: a client that forges the ``Host`` header must not choose where users log in.
    """
    if request.endpoint == login_view or request.path.rstrip("/") == login_view.rstrip("/"):
        return None
    url = _url_of(login_view)
    if not url.startswith(_ABSOLUTE) and not is_path(url):
        return None
    # A login page on another host, named by the app's configuration, cannot return to a path here.
    back = _next_url() if url.startswith("/") else None
    join = "&" if "?" in url else "?"
    return url if back is None else f"{url}{join}next={quote(back, safe='/')}"


def _url_of(login_view: str) -> str:
    """Return the URL of a login view in ASCII; an empty string if it cannot be built here."""
    root = request.script_root
    if login_view.startswith("/"):
        return quote(root, safe=_IN_PATH) + login_view
    try:
        url = url_for(login_view) if _adapter() is not None else ""
    except BuildError:
        _log.warning("login_view: a part of the URL of %s is not known here", login_view)
        return ""
    if url.startswith(_ABSOLUTE):
        return iri_to_uri(url)
    # Werkzeug quotes the path, and not the mount point before it.
    return quote(root, safe=_IN_PATH) + url.removeprefix(root)


def _adapter() -> MapAdapter | None:
    try:
        return current_app.create_url_adapter(request)
    except (HTTPException, ValueError):
        return None  # the requested host is invalid or not trusted


def _next_url() -> str | None:
    """Return the page to come back to: this one, or the one whose script sent the request."""
    if "HX-Request" in request.headers:
        back = _path_in(request.headers.get("HX-Current-URL", ""))
    elif not _answers_get():
        return None
    else:
        back = quote(request.script_root + request.path, safe=_IN_PATH)
        if request.query_string:
            back += "?" + _in_ascii(request.query_string)
    return back if is_path(back) and not _logs_out(back) else None


def _answers_get() -> bool:
    # Not read from the matched rule: GET and POST of one URL may be two rules.
    adapter = _adapter()
    return adapter is not None and adapter.test(method="GET")


def _path_in(url: str) -> str:
    try:
        path = urlsplit(url)._replace(scheme="", netloc="", fragment="").geturl()
    except ValueError:
        return ""
    return _in_ascii(path.encode("latin-1", "replace"))


def _in_ascii(raw: bytes) -> str:
    """Percent-encode only the non-ASCII bytes of a URL, as a browser does."""
    return quote(raw, safe=_ASCII)


# --- and back -------------------------------------------------------------------------------


def is_path(target: object) -> bool:
    """Return True if a redirect to ``target`` stays on this host (ASVS 3.7.2)."""
    return isinstance(target, str) and _PATH.fullmatch(target) is not None


def safe_next(default: str = "/") -> str:
    """Return where to go after a login: ``next`` of the query or form, if a path of this host.

    Anything else, such as ``//evil.example``, gives ``default``; so does a path that ends in
    ``logout`` or ``sign-out``, which would end the login again. Redirect there with 303.
    """
    try:
        target = request.args.get("next") or request.form.get("next")
    except UnicodeDecodeError:  # Werkzeug, for a query that is not UTF-8
        return default
    if target is None or not is_path(target) or _logs_out(target):
        return default
    return target


def _logs_out(target: str) -> bool:
    """Return True if the last segment of a path is logout, log-out, log_out, signout or alike."""
    # As the router reads it: decoded, and with dot segments resolved.
    path = posixpath.normpath(unquote(re.split(r"[?#]", target, maxsplit=1)[0]))
    return _LOGS_OUT.fullmatch(posixpath.basename(path)) is not None
