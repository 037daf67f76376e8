"""The provider example, run as its people run it: a real OpenID provider, and an API behind it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
#: What the tests of other providers have installed.
MODULES = ROOT / "tests" / "counterparts" / "node_modules"


class Running(NamedTuple):
    issuer: str
    api: str

    def token(self, client: str, scope: str) -> str:
        form = f"grant_type=client_credentials&scope={scope}".encode()
        basic = b64encode(f"{client}:the-secret-of-the-{client}".encode()).decode()
        asked = urllib.request.Request(f"{self.issuer}/token", form)
        asked.add_header("Authorization", f"Basic {basic}")
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return str(json.load(answer)["access_token"])

    def call(self, method: str, path: str, token: str | None = None) -> tuple[int, Any]:
        asked = urllib.request.Request(f"{self.api}{path}", method=method)
        if token is not None:
            asked.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)["error"]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    if shutil.which("node") is None or not MODULES.is_dir():
        pytest.skip("needs Node, and npm ci --prefix tests/counterparts")
    place = tmp_path / "provider"
    shutil.copytree(
        ROOT / "examples" / "provider", place, ignore=shutil.ignore_patterns("node_modules")
    )
    (place / "node_modules").symlink_to(MODULES)
    command = [sys.executable, str(place / "run.py"), "--port", "0"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environ
    ) as process:
        try:
            assert process.stdout is not None
            urls = re.findall(r"http://127.0.0.1:\d+", process.stdout.readline())
            yield Running(*urls)
        finally:
            process.terminate()


def test_the_api_takes_the_tokens_of_the_provider_and_ends_one_at_once(running: Running) -> None:
    assert running.call("GET", "/articles") == (401, "missing_credential")
    reader = running.token("reader", "articles:read")
    editor = running.token("editor", "articles:read%20articles:write")
    read = {"articles": ["On looking-glasses"], "reader": "reader"}
    assert running.call("GET", "/articles", reader) == (200, read)
    assert running.call("POST", "/articles", reader) == (403, "insufficient_scope")
    assert running.call("POST", "/articles", editor) == (201, {"written_by": "editor"})
    assert running.call("GET", "/articles", editor[:-4] + "AAAA") == (401, "invalid_token")
    assert running.call("POST", "/logout", editor) == (204, None)
    assert running.call("POST", "/articles", editor) == (401, "invalid_token")
    assert running.call("GET", "/articles", reader) == (200, read)
