"""Links in mails in a browser: those of the site example, and a magic link."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from flask import Flask, Response, request

from flask_jam import Jam, SessionExtension

from ..conftest import SECRET
from .drive import Browser, Site
from .visits import ALICE, UNNAMED, Serve, jam_of, log_in


def newest_link(site: Site) -> str:
    path = urlsplit(site.app.extensions["outbox"][0].link).path
    return site.url(path)


def test_a_link_resets_the_password_and_ends_other_logins(browser: Browser, site: Site) -> None:
    tab = browser.tab()
    log_in(tab, site)
    tab.go(site.url("/account/email"))
    tab.fill("New address", "alice@new.example")
    tab.press("Send the link")
    tab.wait_for("Look into your mailbox")
    tab.go(newest_link(site))
    tab.press("Yes, confirm it")
    tab.wait_for("Your address is confirmed.")
    visitor = browser.tab(site.url("/login"))
    visitor.press("Log out")
    visitor.wait_for("You are signed out.")
    visitor.go(site.url("/login"))
    visitor.press("Forgot your password?")
    visitor.fill("E-mail address", "alice@new.example")
    visitor.press("Send the link")
    visitor.wait_for("Look into your mailbox")
    for _ in range(2):
        visitor.go(newest_link(site))
        visitor.wait_for("Choose a new password")
        assert visitor.run(UNNAMED) == []
    visitor.picture("site-reset")
    visitor.fill("New password", "three wise words")
    visitor.fill("New password, once more", "three wise words")
    visitor.press("Set the password")
    visitor.wait_for("Your new password is set")
    assert jam_of(site).list_logins(ALICE) == []
    visitor.fill("Name", "alice")
    visitor.fill("Password", "three wise words")
    visitor.press("Log in")
    visitor.wait_for("Welcome, alice.")
    visitor.go(newest_link(site))
    visitor.wait_for("This link is over")


@pytest.mark.parametrize(
    ("https", "policy", "logs_in"),
    [(True, "no-referrer", True), (False, "same-origin", True), (False, "no-referrer", False)],
)
def test_a_magic_link_needs_to_know_its_own_page(
    browser: Browser, serve: Serve, https: bool, policy: str, logs_in: bool
) -> None:
    """Without Sec-Fetch-Site it is Origin that counts, and ``no-referrer`` hides that."""
    app = Flask("magic")
    session = SessionExtension(jam := Jam({"jwt": {"secret_key": SECRET}}), app)
    app.config["JAM_COOKIE_SECURE"] = https

    @app.route("/magic/<ticket>", methods=["GET", "POST"])
    def magic(ticket: str) -> Response:
        if request.method == "POST":
            session.login(jam.redeem_ticket("magic link", ticket).subject)
            return Response("Welcome")
        form = '<form method="post"><button>Log in</button></form>'
        return Response(form, mimetype="text/html", headers={"Referrer-Policy": policy})

    ticket = jam.issue_ticket("magic link", "ann", expires_in=60)
    tab = browser.tab(serve(app, https=https).url(f"/magic/{ticket}"))
    tab.press("Log in")
    tab.wait_for("Welcome" if logs_in else "Forbidden")
    assert len(jam.list_sessions("ann")) == logs_in
