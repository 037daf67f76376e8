"""The built documentation in a real Chromium: layout, search and accessibility."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from flask import Flask

from ..browser.drive import Browser, Site, Tab, missing, until

ROOT = Path(__file__).parent.parent.parent
AXE = ROOT / "tests/counterparts/node_modules/axe-core/axe.min.js"
WIDTHS = {390: 844, 768: 1024, 1280: 900}
#: What users type, and the page that answers it.
PHRASES = {
    "password reset": "tickets.html",
    "rate limit": "throttling.html",
    "api key": "api-keys.html",
    "log out everywhere": "logins.html",
    "remember me": "remember.html",
    "Auth0": "issuers.html",
    "nginx": "deployment.html",
}
#: What axe looks at: a page, the colours, a width.
CHECKED = [
    ("index.html", "light", 1280),
    ("tickets.html", "dark", 390),
    ("refusals.html", "light", 390),
    ("threat-model.html", "dark", 1280),
    ("search.html", "light", 768),
]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MEASURE = """
const page = document.scrollingElement, seen = box => getComputedStyle(box).overflowX
const wider = [...document.querySelectorAll("article pre, .table-wrapper")]
  .filter(box => box.scrollWidth > box.clientWidth)
const heading = document.querySelector("h1"), text = document.querySelector("article p")
return {
  page: page.scrollWidth <= innerWidth,
  boxes: wider.every(box => ["auto", "scroll"].includes(seen(box)) && box.tabIndex === 0),
  heading: !heading || heading.getBoundingClientRect().bottom < innerHeight / 3,
  text: !text || text.getBoundingClientRect().top < innerHeight,
}
"""
AUDIT = """
const kinds = {iframes: false, resultTypes: ["violations"]}
const found = (await axe.run(document, kinds)).violations
const serious = found.filter(each => ["serious", "critical"].includes(each.impact))
return serious.map(each => each.id + ": " + each.nodes.map(node => node.html).slice(0, 3))
"""


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("sphinx", "furo", "sphinx_copybutton"):
        if find_spec(name) is None:
            pytest.skip(f"needs {name}: pip install -e '.[docs]'")
    out = tmp_path_factory.mktemp("html")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", "docs", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300)
    return out


@pytest.fixture(scope="module")
def site(html: Path) -> Iterator[Site]:
    with Site(Flask("documentation", static_folder=str(html), static_url_path="")) as site:
        yield site


@pytest.fixture(scope="module")
def tab(site: Site) -> Iterator[Tab]:
    if reason := missing():
        pytest.skip(reason)
    with Browser() as browser:
        yield browser.tab(site.url("/index.html"))


def pages(html: Path) -> list[str]:
    built = (path.relative_to(html) for path in html.rglob("*.html"))
    return sorted(path.as_posix() for path in built if path.parts[0] != "_static")


def resize(tab: Tab, width: int) -> None:
    tab.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": WIDTHS[width], "deviceScaleFactor": 1, "mobile": False},
    )


def use_scheme(tab: Tab, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    tab.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def test_no_page_scrolls_sideways_and_a_phone_shows_content(
    html: Path, site: Site, tab: Tab
) -> None:
    wrong: dict[str, Any] = {}
    for page in pages(html):
        tab.go(site.url(f"/{page}"))
        for width in WIDTHS:
            resize(tab, width)
            tab.run("dispatchEvent(new Event('resize'))")
            measured = tab.run(MEASURE)
            if not all(measured.values()):
                wrong[f"{page} at {width}"] = measured
    assert wrong == {}


def test_a_desktop_shows_this_page_and_all_pages_beside_the_text(site: Site, tab: Tab) -> None:
    resize(tab, 1280)
    tab.go(site.url("/tickets.html"))
    for box in (".toc-drawer", ".sidebar-drawer"):
        left, right = tab.run(
            "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return [box.left, box.right]", box,
        )  # fmt: skip
        assert 0 <= left < right <= 1280
    assert tab.run("return document.querySelectorAll('button.copybtn').length") > 5


def found(tab: Tab) -> list[str]:
    links = tab.run(
        "return [...document.querySelectorAll('#search-results li a')].map(link => link.href)"
    )
    return [link.rpartition("/")[2].partition("#")[0].partition("?")[0] for link in links]


def test_search_answers_what_users_type(site: Site, tab: Tab) -> None:
    for phrase, page in PHRASES.items():
        tab.go(site.url(f"/search.html?q={quote_plus(phrase)}"))
        results = until(lambda: found(tab), f"results for {phrase!r}")
        assert results[0] == page, (phrase, results[:3])


def test_axe_finds_no_serious_violation(site: Site, tab: Tab) -> None:
    if not AXE.is_file():
        pytest.skip("needs axe-core: npm ci --prefix tests/counterparts")
    wrong: dict[str, Any] = {}
    for page, scheme, width in CHECKED:
        resize(tab, width)
        use_scheme(tab, scheme)
        tab.go(site.url(f"/{page}"))
        tab.run(AXE.read_text(encoding="utf-8"))
        tab.begin(AUDIT)
        if violations := tab.finish():
            wrong[f"{page}, {scheme}"] = violations
    assert wrong == {}
