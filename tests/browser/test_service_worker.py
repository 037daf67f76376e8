"""What a site's own service worker does to the cross-site check.

A worker that answers requests with new ones makes the browser send them in the site's own name.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from flask import Flask, Response, g, request

from flask_jam import Jam, JWTExtension, SessionExtension, jwt_required, session_required

from ..cases import each_case
from ..conftest import SECRET
from .drive import Browser, Seen, Site, Tab, until

Serve = Callable[..., Site]
Attack = Callable[..., None]
TOKEN = "access_token"

#: What the listener of "fetch" does with an event ``e``.
WORKERS = {
    "none": "",
    "safe": """
        if (e.request.method !== "GET") return
        e.respondWith(fetch(new Request(e.request, {cache: "no-store"})))""",
    "passes-on": "e.respondWith(fetch(e.request))",
    "sends-anew": 'e.respondWith(fetch(new Request(e.request, {cache: "no-store"})))',
    "copies": """
        if (e.request.method === "GET") return
        e.respondWith(e.request.blob().then(body => fetch(e.request.url, {
            method: e.request.method, headers: e.request.headers, body,
        })))""",
}
#: Requests that the site's own page makes.
OWN = {
    "fetch": "fetch('/order', {method: 'POST'})",
    "fetch-with-json": """
        const headers = {'Content-Type': 'application/json'}
        fetch('/order', {method: 'POST', body: '{}', headers})""",
    "fetch-put": "fetch('/order', {method: 'PUT'})",
    "fetch-no-cors": "fetch('/order', {method: 'POST', mode: 'no-cors'})",
    "fetch-keepalive": "fetch('/order', {method: 'POST', keepalive: true})",
    "xhr": "const asked = new XMLHttpRequest; asked.open('POST', '/order'); asked.send()",
    "beacon": "navigator.sendBeacon('/order')",
    "form": "document.querySelector('form').submit()",
    "form-in-new-tab": "document.forms[0].target = '_blank'; document.forms[0].submit()",
    "fetch-same-origin": "fetch('/order', {method: 'POST', mode: 'same-origin'})",
}


class Victim(NamedTuple):
    """A site whose visitor is logged in, with a worker or without."""

    site: Site
    tab: Tab
    orders: list[str]

    def arrived(self, count: int = 1, path: str = "/order") -> list[Seen]:
        """Return the answered requests of a path, once there are so many."""

        def answered() -> list[Seen]:
            return [seen for seen in self.site.requests(path) if seen.status]

        until(lambda: len(answered()) >= count, f"{count} requests")
        return answered()


def build(scheme: str, worker: str, orders: list[str]) -> Flask:
    app = Flask("worker")
    jam = Jam({"jwt": {"secret_key": SECRET}})
    auth: Any
    guard: Any
    if scheme == "session":
        auth, guard = SessionExtension(jam, app), session_required
    else:
        auth = JWTExtension(jam, app, header_name=None, cookie_name=TOKEN, refresh_path="/auth")
        guard = jwt_required

    def order() -> str:
        orders.append(request.method)
        return f"ordered by {g.payload['user']}"

    app.add_url_rule("/order", view_func=guard(order), methods=["GET", "POST", "PUT"])

    @app.post("/login")
    def login() -> dict[str, Any]:
        if scheme == "session":
            return auth.login("alice", {"user": "alice"})  # type: ignore[no-any-return]
        return auth.login("alice", user="alice")  # type: ignore[no-any-return]

    @app.route("/logout", methods=["GET", "POST"])
    def logout() -> str:
        auth.logout()
        return "logged out"

    @app.get("/")
    def page() -> str:
        return '<!doctype html>page<form method="post" action="/order"></form>'

    @app.get("/sw.js")
    def script() -> Response:
        code = f"""
            self.addEventListener("install", () => self.skipWaiting())
            self.addEventListener("activate", e => e.waitUntil(self.clients.claim()))
            self.addEventListener("fetch", e => {{ {WORKERS[worker]} }})"""
        return Response(code, mimetype="text/javascript")

    return app


@pytest.fixture
def victim(browser: Browser, serve: Serve) -> Iterator[Callable[..., Victim]]:
    """``victim("session", "sends-anew")``: alice is logged in at ``site.test``, over https."""

    sites: list[Site] = []

    def start(scheme: str, worker: str) -> Victim:
        orders: list[str] = []
        site = serve(build(scheme, worker, orders), https=True)
        sites.append(site)
        tab = browser.tab(site.url("/"))
        assert tab.fetch("/login", method="POST")["status"] == 200
        if worker != "none":
            tab.begin(
                "await navigator.serviceWorker.register('/sw.js');"
                "while (!navigator.serviceWorker.controller)"
                "  await new Promise(done => setTimeout(done, 10))"
            )
            tab.finish()
        return Victim(site, tab, orders)

    yield start
    for site in sites:
        browser.drop_workers(site.url(""))


@pytest.fixture
def attack(browser: Browser, serve: Serve) -> Attack:
    """``attack(host, url)``: a page of ``host`` opens ``url``, with a form that submits itself."""

    def submit(host: str, url: str, method: str = "post") -> None:
        form = f'<form method="{method}" action="{html.escape(url)}"></form>'
        app = Flask("attacker")
        app.add_url_rule(
            "/", "page", lambda: f"<!doctype html>{form}<script>document.forms[0].submit()</script>"
        )
        browser.tab(serve(app, https=True).url("/", host))

    return submit


each_scheme = each_case("scheme", ["session", "jwt"])
#: Another site, and another host of the same site.
each_attacker = each_case("attacker", ["evil.test", "app.site.test"])


def origin_of(seen: Seen) -> tuple[str | None, str | None]:
    """Return what the browser says of a request: its site and its mode."""
    return seen.headers.get("sec-fetch-site"), seen.headers.get("sec-fetch-mode")


# --- a form on another site -------------------------------------------------------------------


@each_scheme
@each_attacker
def test_cross_site_form_that_a_worker_sends_anew_is_refused(
    victim: Callable[..., Victim], attack: Attack, scheme: str, attacker: str
) -> None:
    site, _, orders = found = victim(scheme, "sends-anew")
    attack(attacker, site.url("/order"))
    (seen,) = found.arrived()
    # All but its mode is as if a page of the site had sent it.
    assert origin_of(seen) == ("same-origin", "same-origin")
    assert seen.headers["origin"] == site.url("")
    assert seen.cookies != []
    assert seen.status == 403
    assert orders == []


@each_scheme
@each_attacker
@each_case("worker", ["none", "safe", "passes-on"])
def test_worker_that_sends_no_form_anew_leaves_its_origin(
    victim: Callable[..., Victim], attack: Attack, scheme: str, attacker: str, worker: str
) -> None:
    site, _, orders = found = victim(scheme, worker)
    attack(attacker, site.url("/order"))
    (seen,) = found.arrived()
    is_same_site = attacker == "app.site.test"
    assert origin_of(seen) == ("same-site" if is_same_site else "cross-site", "navigate")
    assert bool(seen.cookies) is is_same_site  # SameSite=Lax
    assert seen.status == (403 if is_same_site else 401)
    assert orders == []


@each_scheme
@each_case("worker", [name for name in WORKERS if name != "copies"])
def test_cross_site_logout_is_refused_with_every_worker(
    victim: Callable[..., Victim], attack: Attack, scheme: str, worker: str
) -> None:
    site, tab, _ = found = victim(scheme, worker)
    for method in ("get", "post"):
        attack("evil.test", site.url("/logout"), method)
    assert [seen.status for seen in found.arrived(2, "/logout")] == [403, 403]
    assert tab.fetch("/order")["status"] == 200  # still logged in


@each_scheme
def test_worker_that_copies_a_form_hides_where_it_came_from(
    victim: Callable[..., Victim], attack: Attack, scheme: str
) -> None:
    """The limit of every check on the server: cross-site.rst says so."""
    site, tab, orders = found = victim(scheme, "copies")
    attack("evil.test", site.url("/order"))
    found.arrived()
    tab.fetch("/order", method="POST")
    forged, own = found.arrived(2)
    assert forged.headers.keys() - {"content-type", "content-length"} <= own.headers.keys() | {
        "cache-control", "upgrade-insecure-requests",
    }  # fmt: skip
    assert origin_of(forged) == origin_of(own) == ("same-origin", "cors")
    assert orders == ["POST", "POST"]


# --- the site's own requests ------------------------------------------------------------------


def answers(found: Victim) -> dict[str, tuple[str, int]]:
    """Make every request of :data:`OWN`; return its mode and its status."""
    told = {}
    for count, (how, script) in enumerate(OWN.items(), 1):
        found.tab.go(found.site.url("/"))
        found.tab.begin(script)
        seen = found.arrived(count)[-1]
        told[how] = (seen.headers["sec-fetch-mode"], seen.status)
    return told


MODES = {
    "fetch": "cors", "fetch-with-json": "cors", "fetch-put": "cors", "fetch-keepalive": "cors",
    "fetch-no-cors": "no-cors", "xhr": "cors", "beacon": "no-cors",
    "form": "navigate", "form-in-new-tab": "navigate",
}  # fmt: skip
REFUSED = ("same-origin", 403)


@each_case("worker", ["none", "safe", "passes-on"])
def test_own_requests_pass_beside_a_safe_worker(victim: Callable[..., Victim], worker: str) -> None:
    found = victim("session", worker)
    passed = {how: (mode, 200) for how, mode in MODES.items()}
    # A script that names this mode is refused, with a worker or without.
    assert answers(found) == passed | {"fetch-same-origin": REFUSED}
    assert len(found.orders) == len(passed)


def test_worker_that_sends_all_anew_breaks_forms_and_no_script(
    victim: Callable[..., Victim],
) -> None:
    found = victim("session", "sends-anew")
    passed = {how: (mode, 200) for how, mode in MODES.items() if mode != "navigate"}
    broken = ("form", "form-in-new-tab", "fetch-same-origin")
    assert answers(found) == passed | dict.fromkeys(broken, REFUSED)
    assert len(found.orders) == len(passed)


@each_case(
    "worker, status", [("none", 200), ("passes-on", 200), ("safe", 403), ("sends-anew", 403)]
)
def test_own_logout_link_is_refused_if_a_worker_sends_it_anew(
    victim: Callable[..., Victim], worker: str, status: int
) -> None:
    site, tab, _ = found = victim("session", worker)
    tab.go(site.url("/"))
    tab.run("location = '/logout'")
    assert found.arrived(path="/logout")[0].status == status


@each_case("worker", list(WORKERS))
def test_guarded_page_opens_with_every_worker(victim: Callable[..., Victim], worker: str) -> None:
    site, tab, orders = victim("session", worker)
    tab.go(site.url("/order"))
    assert tab.text == "ordered by alice"
    assert orders == ["GET"]
