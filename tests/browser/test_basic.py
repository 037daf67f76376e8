"""HTTP Basic in a browser: it attaches a password by itself, and another site gains nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from flask_jam import BasicExtension, Jam, basic_required

from ..conftest import SECRET
from .drive import Browser, Site, until

FORM = '<!doctype html><form method="post" action="{}"><button>Order</button></form>'


@pytest.mark.parametrize("https", [True, False])
def test_a_password_that_a_browser_attaches_serves_no_other_site(
    browser: Browser, serve: Callable[..., Site], https: bool
) -> None:
    orders: list[str] = []
    site, other = serve(shop(orders), https=https), serve(Flask("other"), https=https)
    other.app.add_url_rule("/trap", "trap", lambda: FORM.format(site.url("/order")))
    tab = browser.tab(site.url("/").replace("://", "://ann:right@"))
    tab.go(site.url("/"))  # attached from here on, also by a script of the page
    assert tab.fetch("/secret")["status"] == 200
    tab.press("Order")
    tab.wait_for("ordered")
    tab.go(other.url("/trap", host="evil.test"))
    tab.press("Order")
    until(lambda: len(site.requests("/order")) == 2, "the form of the other site")
    tab.wait_for("Forbidden")
    assert [seen.status for seen in site.requests("/order")] == [200, 403]
    assert all("authorization" in seen.headers for seen in site.requests("/order"))
    assert orders == ["ann"]


def shop(orders: list[str]) -> Flask:
    app = Flask("shop")
    jam = Jam({"jwt": {"secret_key": SECRET}})
    BasicExtension(lambda name, password: name if password == "right" else None, jam, app)
    app.add_url_rule("/", "page", basic_required(lambda: FORM.format("/order")))
    app.add_url_rule("/secret", "secret", basic_required(lambda: {}))

    @app.post("/order")
    @basic_required
    def order() -> str:
        orders.append("ann")
        return "ordered"

    return app
