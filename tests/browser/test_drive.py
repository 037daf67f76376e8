"""The driver tells the truth: else no test in the browser would mean anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask, Response, request

from ..cases import each_case
from . import drive
from .drive import Browser, Site

Serve = Callable[..., Site]


@pytest.fixture
def app() -> Flask:
    app = Flask("driven")

    @app.get("/")
    def page() -> str:
        return "<!doctype html><title>x</title><label>Name <input></label><button>Go</button>"

    @app.get("/set")
    def set_cookie() -> Response:
        answer = Response("set")
        name, value = request.args["name"], request.args.get("value", "x")
        answer.set_cookie(name, value, max_age=100, secure="secure" in request.args, httponly=True,
                          samesite="Strict", path=request.args.get("path", "/"),
                          domain=request.args.get("domain"))  # fmt: skip
        return answer

    return app


def test_a_secure_cookie_over_plain_http_is_not_kept(
    browser: Browser, serve: Serve, app: Flask
) -> None:
    site = serve(app)
    tab = browser.tab(site.url("/set?name=kept"))
    tab.go(site.url("/set?name=refused&secure"))
    tab.go(site.url("/"))
    assert list(browser.cookies()) == ["kept"]
    assert site.requests("/")[-1].cookies == ["kept"]


def test_https_is_trusted_and_its_cookie_is_told_with_every_flag(
    browser: Browser, serve: Serve, app: Flask
) -> None:
    site = serve(app, https=True)
    tab = browser.tab(site.url("/set?name=told&value=v&secure&path=/set"))
    assert tab.text == "set"
    cookie = browser.cookies()["told"]
    assert (cookie.value, cookie.domain, cookie.path) == ("v", "site.test", "/set")
    assert (cookie.http_only, cookie.secure, cookie.same_site) == (True, True, "Strict")
    assert cookie.max_age is not None
    assert 90 < cookie.max_age <= 100


def test_only_our_own_certificate_is_trusted(
    browser: Browser, serve: Serve, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive.certificate()
    stranger = drive.certificate.__wrapped__()
    monkeypatch.setattr(drive, "certificate", lambda: stranger)
    site = serve(app, https=True)
    tab = browser.tab(site.url("/"))
    assert "ERR_CERT" in tab.text
    assert site.seen == []


def test_a_browser_is_fresh_for_each_test(browser: Browser, serve: Serve, app: Flask) -> None:
    site = serve(app)
    browser.tab(site.url("/set?name=old"))
    assert browser.cookies()
    browser.fresh()
    assert browser.cookies() == {}
    assert len(browser.driver.window_handles) == 1


def test_the_names_are_two_sites_and_a_sibling(browser: Browser, serve: Serve, app: Flask) -> None:
    site = serve(app, https=True)
    browser.tab(site.url("/set?name=wide&secure&domain=site.test"))
    browser.tab(site.url("/set?name=stolen&secure&domain=site.test", "evil.test"))
    for host in drive.NAMES:
        browser.tab(site.url("/", host))
    arrived = {seen.host: seen.cookies for seen in site.requests("/")}
    assert arrived == {"site.test": ["wide"], "app.site.test": ["wide"], "evil.test": []}


@each_case("https", [False, True])
def test_fetch_metadata_comes_over_https_only_and_origin_always(
    browser: Browser, serve: Serve, app: Flask, https: bool
) -> None:
    site = serve(app, https)
    tab = browser.tab(site.url("/"))
    assert tab.fetch("/", method="POST")["status"] == 405
    headers = site.requests("/")[-1].headers
    assert headers.get("sec-fetch-site") == ("same-origin" if https else None)
    assert headers["origin"] == site.url("")


def test_requests_that_are_gathered_are_served_together(
    browser: Browser, serve: Serve, app: Flask
) -> None:
    site = serve(app)
    tabs = [browser.tab(site.url("/")) for _ in range(2)]
    site.gather("/set", 2)
    for number, tab in enumerate(tabs):  # the browser itself has one URL wait for another's answer
        tab.begin_fetch(f"/set?name=x{number}")
    assert [tab.finish()["status"] for tab in tabs] == [200, 200]


def test_an_error_in_the_page_is_one_in_the_test(
    browser: Browser, serve: Serve, app: Flask
) -> None:
    tab = browser.tab(serve(app).url("/"))
    tab.begin("throw new Error('no ' + args[0])", "luck")
    with pytest.raises(AssertionError, match="no luck"):
        tab.finish()


def test_controls_are_found_by_what_people_read(browser: Browser, serve: Serve, app: Flask) -> None:
    tab = browser.tab(serve(app).url("/"))
    tab.fill("Name", "alice")
    assert tab.run("return document.querySelector('input').value") == "alice"
    tab.run("document.querySelector('button').onclick = () => document.body.append('gone')")
    tab.press("Go")
    tab.wait_for("gone")


def test_what_does_not_come_is_an_error_in_time() -> None:
    with pytest.raises(AssertionError, match="the moon"):
        drive.until(lambda: None, "the moon", within=0.05)


def test_pictures_are_taken_in_two_sizes_where_they_are_wanted(
    browser: Browser, serve: Serve, app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tab = browser.tab(serve(app).url("/"))
    monkeypatch.delenv("SCREENSHOTS", raising=False)
    tab.picture("none")
    monkeypatch.setenv("SCREENSHOTS", str(tmp_path / "shots"))
    tab.picture("page")
    taken = {file.name: size(file) for file in (tmp_path / "shots").iterdir()}
    assert taken == {"page-phone.png": (390, 844), "page-desktop.png": (1200, 800)}


def size(png: Path) -> tuple[int, int]:
    header = png.read_bytes()[16:24]
    return int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")


@each_case("lacking", ["chromium", "chromedriver"])
def test_what_is_missing_is_said(lacking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def which(name: str) -> str | None:
        return None if lacking in name or name == "google-chrome" else f"/bin/{name}"

    monkeypatch.setattr(drive.shutil, "which", which)
    pytest.importorskip("selenium", reason="needs selenium")
    assert lacking in (drive.missing() or "").lower()
