"""The tutorial as its reader has it at the end: typed at a terminal, on Redis, behind nginx."""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPResponse
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from ..servers import _free_port
from .blocks import blocks, steps
from .terminal import SERVERS, Terminal

ADA = {"email": "ada@example.org", "password": "correct horse"}
PROGRAMS = ("redis-server", "nginx", "openssl", "curl")


def missing() -> list[str]:
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    return [name for name in PROGRAMS if not shutil.which(name, path=path)]


pytestmark = [pytest.mark.slow, pytest.mark.redis]


class Browser:
    """A browser with the reader's certificate, which follows no redirect by itself."""

    def __init__(self, site: str, certificate: Path) -> None:
        self.site = site
        context = ssl.create_default_context(cafile=str(certificate))
        https = urllib.request.HTTPSHandler(context=context)
        self.cookies = CookieJar()
        jar = urllib.request.HTTPCookieProcessor(self.cookies)
        self._opener = urllib.request.build_opener(https, jar, _NoRedirect)

    def open(self, path: str, form: dict[str, str] | None = None, **headers: str) -> Any:
        data = None if form is None else urlencode(form).encode()
        sent = {"Accept": "text/html", "Origin": self.site}
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        request = urllib.request.Request(self.site + path, data, sent)
        try:
            response: HTTPResponse = self._opener.open(request, timeout=30)
        except urllib.error.HTTPError as error:
            response = error  # type: ignore[assignment]
        with response:
            response.text = response.read().decode()  # type: ignore[attr-defined]
        return response


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any) -> None:
        return None


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """Do the whole tutorial: write its files, type its commands, compare what they print."""
    if missing():
        pytest.skip(f"needs {', '.join(missing())}")
    folder = tmp_path_factory.mktemp("notebook-app")
    terminal = Terminal(folder, {port: _free_port() for port in SERVERS.values()})
    try:
        for step in steps():
            terminal.write({block.file: block.text for block in blocks(step) if block.file})
            if step == "api-keys":
                make_key(terminal)
            for block in blocks(step):
                if block.kind == "console":
                    terminal.run(block)
            if step == "site":
                write_note(terminal)
            if step == "redis":
                stay_logged_in(terminal)
        yield terminal
    finally:
        terminal.close()


def log_in(terminal: Terminal) -> str:
    """Log in to the app of the first steps as a browser does; return the rest of a command."""
    site = "http://localhost:5000"
    form = " ".join(f"-d '{name}={value}'" for name, value in ADA.items())
    terminal.type(f"curl -s -c jar {form} {site}/login")
    return f"curl -s -b jar {site}"


def write_note(terminal: Terminal) -> None:
    terminal.type(f"{log_in(terminal)}/notes -d text='Buy milk'")


def make_key(terminal: Terminal) -> None:
    page = terminal.type(f"{log_in(terminal)}/keys/new -d name=backup")
    (terminal.values["KEY"],) = re.findall(r"jam_\w+", page)


def stay_logged_in(terminal: Terminal) -> None:
    """Restart the app: what is in Redis survives it."""
    ask = log_in(terminal)
    terminal.restart("flask")
    assert "Buy milk" in terminal.type(f"{ask}/")


@pytest.fixture
def site(terminal: Terminal) -> str:
    return f"https://localhost:{terminal.ports[8443]}"


@pytest.fixture
def visitor(terminal: Terminal, site: str) -> Browser:
    return Browser(site, terminal.folder / "cert.pem")


@pytest.fixture
def ada(visitor: Browser) -> Browser:
    assert visitor.open("/notebook/login", ADA).headers["Location"] == "/notebook/"
    return visitor


def test_behind_nginx_the_login_page_leads_back_below_the_prefix(visitor: Browser) -> None:
    assert visitor.open("/notebook").headers["Location"] == "/notebook/"
    sent = visitor.open("/notebook/keys/")
    assert sent.headers["Location"] == "/notebook/login?next=/notebook/keys/"
    form = visitor.open(sent.headers["Location"])
    assert form.status == 200
    assert 'href="/notebook/forgot"' in form.text
    back = visitor.open(sent.headers["Location"], ADA)
    assert (back.status, back.headers["Location"]) == (303, "/notebook/keys/")
    (cookie,) = visitor.cookies
    assert (cookie.name, cookie.path, cookie.secure) == ("notebook_session", "/notebook", True)


def test_behind_nginx_every_worker_knows_a_login_and_its_end(ada: Browser) -> None:
    # Each request has a connection of its own, and any worker takes it.
    for _ in range(12):
        assert "Buy milk" in ada.open("/notebook/").text
    (cookie,) = [f"{each.name}={each.value}" for each in ada.cookies]
    assert ada.open("/notebook/logout", {}).headers["Location"] == "/notebook/login"
    assert {ada.open("/notebook/", Cookie=cookie).status for _ in range(12)} == {302}


def test_behind_nginx_the_form_of_another_site_is_refused(ada: Browser, site: str) -> None:
    path, note = "/notebook/notes", {"text": "from elsewhere"}
    for elsewhere in ("https://evil.example", site.replace("https", "http"), "https://localhost"):
        assert ada.open(path, note, Origin=elsewhere).status == 403
    assert (
        ada.open(path, note, Origin="https://e.example", X_Forwarded_Host="e.example").status == 403
    )
    assert "from elsewhere" not in ada.open("/notebook/").text
    assert ada.open(path, {"text": "Tea"}).headers["Location"] == "/notebook/"


def test_behind_nginx_an_app_logs_in_and_refreshes(visitor: Browser) -> None:
    pair = json.loads(visitor.open("/notebook/api/login", ADA).text)
    body = {"refresh_token": pair["refresh_token"]}
    pair = json.loads(visitor.open("/notebook/api/refresh", body).text)
    bearer = f"Bearer {pair['access_token']}"
    notes = visitor.open("/notebook/api/notes", Accept="*/*", Authorization=bearer)
    assert notes.status == 200
    assert "Buy milk" in notes.text


def test_without_redis_the_site_lets_no_request_in(terminal: Terminal, ada: Browser) -> None:
    terminal.stop("redis-server")
    assert ada.open("/notebook/").status == 503
    assert ada.open("/notebook/ready").status == 503
    assert ada.open("/notebook/login").status == 200
