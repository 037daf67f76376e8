"""Friendly pages for refusals and for addresses that lead nowhere. A 401 goes to the login form."""

from __future__ import annotations

from typing import Any

from flask import Flask, render_template, request
from werkzeug.exceptions import HTTPException, ServiceUnavailable
from werkzeug.wrappers import Response

from flask_jam import StoreUnavailable

_TEXTS = {
    400: ("That did not work", "Your browser sent something that we do not understand."),
    403: ("Not for you", "You may not do this. If you think that you should, ask an admin."),
    404: ("Nothing here", "This address leads nowhere. It may have been mistyped or moved."),
    405: ("Nothing here", "This address is for the buttons of our pages."),
    410: ("This link is over", "It has expired or was used before. Ask for a new one."),
    413: ("Too much", "That is more than fits into this form."),
    429: ("Too many tries", "To keep guessers out, nobody may try this as often as that."),
    503: ("One moment, please", "We cannot check who you are right now. Try again in a minute."),
}


def init_app(app: Flask) -> None:
    for code in _TEXTS:
        app.register_error_handler(code, page)
    # The guard passed, then the view asked for more and the store was gone.
    app.register_error_handler(StoreUnavailable, lambda _error: page(ServiceUnavailable()))


def page(error: HTTPException) -> Response:
    """Return our page for an error; the API gets the error as it is."""
    response = error.get_response(request.environ)
    if request.blueprint == "api":
        return response
    code, wait = response.status_code, response.headers.get("Retry-After")
    title, text = _TEXTS[code]
    return fill(response, "error.html", code=code, title=title, text=text, wait=wait)


def fill(response: Response, template: str, **context: Any) -> Response:
    """Put a page into a response. Its headers, such as ``Retry-After``, stay."""
    response.set_data(render_template(template, **context))
    response.mimetype = "text/html"
    return response
