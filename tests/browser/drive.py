"""A real Chromium driven by Selenium, and real servers for it, each under a name of its own.

Every name that ends in ``.test`` is this machine. Chromium takes ``site.test`` and ``evil.test``
for two sites, ``app.site.test`` for another host of the first.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask
from werkzeug.exceptions import ServiceUnavailable
from werkzeug.serving import WSGIRequestHandler, make_server

HOST = "127.0.0.1"
WITHIN = 10.0
NAMES = ("site.test", "app.site.test", "evil.test")
SIZES = {"phone": (390, 844), "desktop": (1200, 800)}
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def _found(*names: str) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)


def missing() -> str | None:
    """What this machine lacks for a test in a browser, as a sentence; ``None`` if nothing."""
    if importlib.util.find_spec("selenium") is None:
        return "needs selenium: pip install selenium"
    if not _found(*_CHROMIUM):
        return "needs Chromium: install chromium"
    if not _found("chromedriver"):
        return "needs chromedriver: install chromium-driver"
    return None


def until(holds: Callable[[], Any], what: str, within: float = WITHIN) -> Any:
    """The first true thing that ``holds`` gives; an ``AssertionError`` if there is none in time."""
    end = time.monotonic() + within
    while True:
        if result := holds():
            return result
        if time.monotonic() > end:
            raise AssertionError(f"{what}, waited {within} s for")
        time.sleep(0.02)


# --- servers -------------------------------------------------------------------------------


@cache
def certificate() -> tuple[ssl.SSLContext, str]:
    """A certificate for all names, made now, and the hash by which Chromium is told to trust it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAMES[0])])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in NAMES]), False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return _context(pem), base64.b64encode(hashlib.sha256(public).digest()).decode()


def _context(pem: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "both.pem")
        file.write_bytes(pem)
        context.load_cert_chain(file)
    return context


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.0"  # no connection outlives its server
    timeout = WITHIN  # a browser opens connections that it may never use

    def log(self, type: str, message: str, *args: Any) -> None:
        """Nothing of a request that went well; an app's error is the server's to log."""


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    host: str
    path: str
    headers: dict[str, str]
    status: int = 0

    @property
    def cookies(self) -> list[str]:
        """Names, in the order that they came in."""
        pairs = self.headers.get("cookie", "").split(";")
        return [pair.split("=")[0].strip() for pair in pairs if pair.strip()]


class Site:
    """An app on a port of its own, with a note of every request."""

    def __init__(self, app: Flask, https: bool = False) -> None:
        self.app = app
        self.scheme = "https" if https else "http"
        self.seen: list[Seen] = []
        self.down = False  # then everything is answered 503
        self._gates: dict[str, threading.Barrier] = {}

    def __enter__(self) -> Site:
        context = certificate()[0] if self.scheme == "https" else None
        self._server = make_server(
            HOST, 0, self._noted, threaded=True, request_handler=_Handler, ssl_context=context
        )
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join(WITHIN)
        self._server.server_close()

    def url(self, path: str = "/", host: str = "site.test") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    def requests(self, path: str) -> list[Seen]:
        """Those to a path, the first one first."""
        return [seen for seen in self.seen if seen.path == path]

    def gather(self, path: str, count: int) -> None:
        """From now on nobody is served at ``path`` until ``count`` requests are there."""
        self._gates[path] = threading.Barrier(count, timeout=WITHIN)

    def _noted(self, environ: dict[str, Any], start_response: Any) -> Any:
        names = {k[5:].lower().replace("_", "-"): v for k, v in environ.items() if k[:5] == "HTTP_"}
        host = names.get("host", "").partition(":")[0]
        seen = Seen(environ["REQUEST_METHOD"], host, environ["PATH_INFO"], names)
        self.seen.append(seen)
        if gate := self._gates.get(seen.path):
            gate.wait()

        def started(status: str, *rest: Any) -> Any:
            seen.status = int(status[:3])
            return start_response(status, *rest)

        app = ServiceUnavailable() if self.down else self.app
        return app(environ, started)


# --- the browser ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Cookie:
    """A cookie as the browser keeps it."""

    name: str
    value: str = field(repr=False)
    domain: str
    path: str
    max_age: float | None = field(compare=False)  # what is left of it
    http_only: bool
    secure: bool
    same_site: str | None
    partitioned: bool


class Browser:
    """One Chromium; :meth:`fresh` makes it forget everything."""

    def __enter__(self) -> Browser:
        from selenium import webdriver
        from selenium.webdriver.chrome.options import Options
        from selenium.webdriver.chrome.service import Service

        options = Options()
        options.binary_location = _found(*_CHROMIUM) or ""
        options.accept_insecure_certs = False
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        for argument in _arguments():
            options.add_argument(argument)
        service = Service(_found("chromedriver"), log_output=subprocess.DEVNULL)
        self.driver = webdriver.Chrome(options, service)
        self.driver.set_page_load_timeout(WITHIN)
        self.driver.set_script_timeout(WITHIN)
        self._first = self.driver.current_window_handle  # never closed: the last one ends it all
        self.fresh()
        return self

    def __exit__(self, *exc: object) -> None:
        self.driver.quit()

    def fresh(self) -> None:
        """No tab, no cookie and nothing cached is left of what was before."""
        for handle in self.driver.window_handles:
            if handle != self._first:
                self.driver.switch_to.window(handle)
                self.driver.close()
        self.driver.switch_to.window(self._first)
        self.driver.get("about:blank")
        self.driver.get_log("browser")
        self._first_is_free = True
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.driver.execute_cdp_cmd("Network.clearBrowserCache", {})

    def tab(self, url: str | None = None) -> Tab:
        """A new tab, on a page if one is named."""
        if self._first_is_free:  # a new one takes a fifth of a second
            self.driver.switch_to.window(self._first)
        else:
            self.driver.switch_to.new_window("tab")
        self._first_is_free = False
        tab = Tab(self.driver, self.driver.current_window_handle)
        if url is not None:
            tab.go(url)
        return tab

    def cookies(self) -> dict[str, Cookie]:
        """All that the browser keeps, by name (a name that is there twice: the last)."""
        told = self.driver.execute_cdp_cmd("Network.getAllCookies", {})["cookies"]
        return {each["name"]: _cookie(each) for each in told}

    def drop_cookie(self, name: str, url: str) -> None:
        """As if its time had come."""
        self.driver.execute_cdp_cmd("Network.deleteCookies", {"name": name, "url": url})

    def drop_workers(self, origin: str) -> None:
        """Remove the service workers of an origin: another site may run on its port later."""
        wanted = {"origin": origin, "storageTypes": "service_workers"}
        self.driver.execute_cdp_cmd("Storage.clearDataForOrigin", wanted)


def _arguments() -> list[str]:
    return [
        "--headless=new",
        "--no-sandbox",  # it does not start in a container otherwise, and sees no page but ours
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable",
        "--no-proxy-server",
        f"--host-resolver-rules=MAP *.test {HOST}",
        f"--ignore-certificate-errors-spki-list={certificate()[1]}",
    ]


def _cookie(told: dict[str, Any]) -> Cookie:
    return Cookie(
        told["name"], told["value"], told["domain"], told["path"],
        None if told["session"] else told["expires"] - time.time(),
        told["httpOnly"], told["secure"], told.get("sameSite"), "partitionKey" in told,
    )  # fmt: skip


class Tab:
    """One tab. Everything else may have happened in others since it was last looked at."""

    def __init__(self, driver: Any, handle: str) -> None:
        self._driver = driver
        self._handle = handle

    @property
    def driver(self) -> Any:
        """Selenium's own driver, with this tab in front."""
        self._driver.switch_to.window(self._handle)
        return self._driver

    # - pages

    def go(self, url: str) -> None:
        self.driver.get(url)

    def reload(self) -> None:
        self.driver.refresh()

    def back(self) -> None:
        self.driver.back()

    @property
    def url(self) -> str:
        return str(self.driver.current_url)

    @property
    def text(self) -> str:
        """What somebody sees on the page."""
        return str(self.run("return document.body ? document.body.innerText : ''"))

    def wait_for(self, text: str) -> None:
        until(lambda: text in self.text, f"{text!r} on the page")

    def wait_without(self, text: str) -> None:
        until(lambda: text not in self.text, f"a page without {text!r}")

    # - scripts

    def run(self, script: str, *args: Any) -> Any:
        """The value that a script returns at once."""
        return self.driver.execute_script(script, *args)

    def begin(self, script: str, *args: Any) -> None:
        """Start the body of an async function, and do not wait for it."""
        self.run(f"window.begun = (async (...args) => {{ {script} }})(...arguments)", *args)

    def finish(self) -> Any:
        """What the last :meth:`begin` has come to; an error in the page is one here."""
        told = self.driver.execute_async_script(
            "const done = arguments[0];"
            "window.begun.then(value => done([value]), error => done([null, String(error)]))"
        )
        assert len(told) == 1, told[1]
        return told[0]

    def begin_fetch(self, url: str, **options: Any) -> None:
        self.begin(
            "const answer = await fetch(...args);"
            "return {status: answer.status, text: await answer.text()}", url, options,
        )  # fmt: skip

    def fetch(self, url: str, **options: Any) -> dict[str, Any]:
        """``fetch()`` from this page: ``status`` and ``text``."""
        self.begin_fetch(url, **options)
        return dict(self.finish())

    # - forms, found as people find them

    def field(self, label: str) -> Any:
        """The control that a visible label names."""
        return self._one(
            "return [...document.querySelectorAll('label')]"
            ".filter(e => e.innerText.trim() === arguments[0] && e.checkVisibility())"
            ".map(e => e.control)", label,
        )  # fmt: skip

    def fill(self, label: str, value: str) -> None:
        control = self.field(label)
        if control.get_property("value"):
            control.clear()
        control.send_keys(value)

    def press(self, name: str) -> None:
        """The visible button or link of that name."""
        self._one(
            "return [...document.querySelectorAll('button, a, summary')]"
            ".filter(e => e.innerText.trim() === arguments[0] && e.checkVisibility())", name,
        ).click()  # fmt: skip

    def _one(self, script: str, name: str) -> Any:
        found = until(lambda: self.run(script, name), f"a control {name!r}")
        assert len(found) == 1, f"{len(found)} controls {name!r}"
        return found[0]

    # - what else it shows

    def console(self) -> list[str]:
        """What the page has complained of since it was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def picture(self, name: str, *, dark: bool = False) -> None:
        """Into the folder that SCREENSHOTS names, if it does: ``<name>-phone.png`` and so on."""
        folder = os.environ.get("SCREENSHOTS")
        if not folder:
            return
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._cdp("Emulation.setEmulatedMedia", features=[scheme])
        for size, (width, height) in SIZES.items():
            self._cdp(
                "Emulation.setDeviceMetricsOverride", width=width, height=height,
                deviceScaleFactor=1, mobile=size == "phone",
            )  # fmt: skip
            shot = self._cdp("Page.captureScreenshot", format="png")["data"]
            Path(folder).mkdir(parents=True, exist_ok=True)
            Path(folder, f"{name}-{size}.png").write_bytes(base64.b64decode(shot))
        self._cdp("Emulation.clearDeviceMetricsOverride")
        self._cdp("Emulation.setEmulatedMedia", features=[])

    def _cdp(self, command: str, **arguments: Any) -> dict[str, Any]:
        return dict(self.driver.execute_cdp_cmd(command, arguments))
