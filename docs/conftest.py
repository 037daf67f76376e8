"""The examples of the documentation are tests.

Python blocks run, from the top of a page to its end, but for those with a caption ``Before``,
``During`` or ``Beside``: an app with a library of the extra ``bench``, which tests run. A block of
``http`` in the documentation is an answer: it must be what ``response`` holds at that point, with
``…`` for what changes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from sybil import Document, Example, Region, Sybil
from sybil.parsers.rest import CodeBlockParser, PythonCodeBlockParser
from werkzeug.security import generate_password_hash

ENVIRONMENT = {
    "JAM_JWT_SECRET_KEY": "k3y-of-the-examples-0123456789-abcdefghijklmnopqrstuvwxyz",
    "SECRET_KEY": "k3y-of-flask-itself-0123456789-abcdefghijklmnopqrstuvwxyz",
}
#: What every answer has and no page needs to show.
UNSHOWN = {"Content-Length"}
#: How the caption of a block starts that needs another library.
WITH_PEER = ("Before", "During", "Beside")


def set_up(namespace: dict[str, Any]) -> None:
    """An empty directory to work in, and a key, as the pages tell their readers to set one."""
    stack = namespace["_stack"] = ExitStack()
    outside = {name: value for name, value in os.environ.items() if not name.startswith("JAM_")}
    stack.enter_context(patch.dict(os.environ, {**outside, **ENVIRONMENT}, clear=True))
    directory = stack.enter_context(TemporaryDirectory())
    stack.callback(os.chdir, os.getcwd())
    os.chdir(directory)
    namespace["__name__"] = "example"
    # A hash of a password that takes no tenth of a second.
    cheap = {"__defaults__": ("pbkdf2:sha256:1", 16)}
    stack.enter_context(patch.multiple(generate_password_hash, **cheap))


def tear_down(namespace: dict[str, Any]) -> None:
    namespace["_stack"].close()


def answer_is_as_shown(example: Example) -> None:
    shown, response = str(example.parsed), example.namespace["response"]
    head, _, body = shown.partition("\n\n")
    status, *lines = head.strip().splitlines()
    headers = [tuple(line.split(": ", 1)) for line in lines]
    sent = [(name, value) for name, value in response.headers if name not in UNSHOWN]
    compare(status, f"HTTP/1.1 {response.status}")
    compare(listed(headers), listed(sent))
    compare(written(body), written(response.text))


def compare(shown: str, sent: str) -> None:
    pattern = ".+?".join(map(re.escape, shown.split("…")))
    assert re.fullmatch(pattern, sent, re.DOTALL), f"shown:\n{shown}\n\nsent:\n{sent}"


def listed(headers: list[tuple[str, str]]) -> str:
    return "\n".join(sorted(f"{name}: {value}" for name, value in headers))


def written(body: str) -> str:
    """JSON in one spelling, so that a page may break its lines; other text as it is."""
    try:
        return json.dumps(json.loads(body), sort_keys=True, ensure_ascii=False)
    except ValueError:
        return body.strip()


class PythonBlocks(PythonCodeBlockParser):
    """Python blocks, without the apps of other libraries."""

    def __call__(self, document: Document) -> Iterator[Region]:
        for region in super().__call__(document):
            if not region.lexemes["options"].get("caption", "").startswith(WITH_PEER):
                yield region


pages = Sybil(
    parsers=[PythonBlocks(), CodeBlockParser("http", answer_is_as_shown)],
    patterns=["*.rst"],
    excludes=["tutorial/*.rst"],  # tests/docs builds the app of its pages
    setup=set_up,
    teardown=tear_down,
)
pytest_collect_file = pages.pytest()
