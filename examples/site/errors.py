"""Friendly pages for refusals and for addresses that lead nowhere. A 401 goes to the login form."""

from __future__ import annotations

from flask import Flask, render_template
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from flask_jam import StoreUnavailable

_SAYS = {
    403: ("Not for you", "You may not do this. If you think that you should, ask an admin."),
    404: ("Nothing here", "This address leads nowhere. It may have been mistyped or moved."),
    503: ("One moment, please", "We cannot check who you are right now. Try again in a minute."),
}


def init_app(app: Flask) -> None:
    for code in _SAYS:
        app.register_error_handler(code, _page)
    # The guard passed, then the view asked for more and the store was gone.
    app.register_error_handler(StoreUnavailable, lambda _error: _page(ServiceUnavailable()))


def _page(error: HTTPException) -> tuple[str, int, dict[str, str]]:
    code = error.code or 503
    title, text = _SAYS[code]
    page = render_template("error.html", code=code, title=title, text=text)
    return page, code, getattr(error, "extra_headers", {})
