"""How the pages of docs/moving are read by their tests."""

from __future__ import annotations

import pytest

from .pages import DOCS, Page

TEXT = """
.. code-block:: python
   :caption: Before

   from flask import Flask

   app = Flask("before")

Text.

==============  =====
there           here
==============  =====
``a(b=1)``,     ``x``
``WORD_TWO``    ``y``
==============  =====

``not_listed``
"""


@pytest.fixture
def page() -> Page:
    page = Page("index", "Flask")
    page.text = TEXT
    return page


def test_block_is_found_by_its_caption(page: Page) -> None:
    assert page.app("Before").name == "before"
    with pytest.raises(ValueError, match="not enough values"):
        page.block("After")


def test_name_that_no_table_has_is_lacking(page: Page) -> None:
    names = ("a", "b", "WORD", "WORD_TWO", "x", "there", "not_listed")
    assert page.lacking(names) == ["WORD", "not_listed", "there", "x"]


def test_each_peer_has_a_page() -> None:
    peers = {"flask-httpauth", "flask-jwt-extended", "flask-login", "flask-session", "jamlib"}
    assert {file.stem for file in (DOCS / "moving").glob("*.rst")} == peers | {"index"}
