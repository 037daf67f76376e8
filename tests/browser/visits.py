"""What the browser tests of the site example share: its users, and what they do."""

from __future__ import annotations

import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask_jam import Jam

from .drive import Site, Tab

ROOT = Path(__file__).parent.parent.parent
COOKIE = "site_session"
SECRETS = ("Orange marmalade", "Signed in as alice")
PASSWORDS = {"alice": "wonderland", "bob": "builder"}
ALICE, BOB = "1", "2"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)
APP = "PantryApp/2.1 (Android 15)"
#: Controls that are shown and that a screen reader could not name.
UNNAMED = """
return [...document.querySelectorAll('a, button, select, input:not([type=hidden])')]
  .filter(e => e.checkVisibility())
  .filter(e => !(e.ariaLabel || e.innerText?.trim() || e.labels?.[0]?.innerText.trim()))
  .map(e => e.outerHTML);
"""
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"

Serve = Callable[..., Site]


def log_in(
    tab: Tab, site: Site, name: str = "alice", path: str = "/login", *, remember: bool = False
) -> None:
    tab.go(site.url(path))
    tab.wait_for("Password")
    tab.fill("Name", name)
    if remember:
        tab.field("Keep me signed in").click()
    tab.fill("Password", PASSWORDS[name])
    tab.press("Log in")
    tab.wait_for(f"Signed in as {name}")


def another_device(site: Site, agent: str, name: str = "alice", path: str = "/login") -> None:
    """Log in with another browser, or with the app."""
    form = urllib.parse.urlencode({"name": name, "password": PASSWORDS[name]}).encode()
    address = f"http://127.0.0.1:{site.port}{path}"
    asked = urllib.request.Request(address, form, {"User-Agent": agent})
    opener = urllib.request.build_opener(_NoRedirect)
    opener.open(asked, timeout=5).close()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def http_error_303(self, req: Any, fp: Any, *rest: Any) -> Any:
        return fp


def jam_of(site: Site) -> Jam:
    return site.app.extensions["jam"]  # type: ignore[no-any-return]


def press_labelled(tab: Tab, label: str) -> None:
    """Press the only control that a screen reader calls so."""
    (control,) = tab.run(
        "return [...document.querySelectorAll('button, a')]"
        ".filter(e => e.ariaLabel === arguments[0])", label,
    )  # fmt: skip
    control.click()
