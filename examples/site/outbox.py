"""Where the mails go. A real application hands them to a queue; this one keeps the last of them.

A visitor who reads other users' mails can reset their passwords: only ``--debug`` has a page of it.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, cast

from flask import Flask, current_app, render_template

from flask_jam import public


class Mail(NamedTuple):
    to: str
    subject: str
    #: An address of this site.
    link: str

    def __repr__(self) -> str:
        return "Mail(…)"  # the link is a secret


def init_app(app: Flask) -> None:
    app.extensions["outbox"] = deque(maxlen=100)
    if app.debug:
        app.add_url_rule("/outbox", "outbox", index)


def send(mail: Mail) -> None:
    cast(deque[Mail], current_app.extensions["outbox"]).appendleft(mail)


@public
def index() -> str:
    return render_template("outbox.html", mails=current_app.extensions["outbox"])
