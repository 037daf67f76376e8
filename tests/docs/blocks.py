"""The blocks of a documentation page, and the files that the tutorial builds from them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial"
BLOCK = re.compile(
    r"^\.\. code-block:: (?P<kind>\S+)\n(?P<options>(?:   :.+\n)*)\n(?P<body>(?:   .*\n|\n)+)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    page: str
    kind: str
    options: dict[str, str]
    text: str

    @property
    def file(self) -> str | None:
        return self.options.get("caption")


def blocks(page: str) -> Iterator[Block]:
    """Yield the code blocks of a page of the tutorial, from its top to its end."""
    text = (TUTORIAL / f"{page}.rst").read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        options = dict(re.findall(r"^   :([\w-]+): (.+)$", found["options"], re.MULTILINE))
        yield Block(page, found["kind"], options, dedent(found["body"]).strip("\n") + "\n")


def steps() -> list[str]:
    """Return the pages of the tutorial in the order of its table of contents."""
    contents = (TUTORIAL / "index.rst").read_text(encoding="utf-8").partition(":hidden:")[2]
    return contents.split()


def files_after(step: str) -> dict[str, str]:
    """Return the files that a reader has after a step, with their content."""
    pages = steps()
    done = pages[: pages.index(step) + 1]
    return {block.file: block.text for page in done for block in blocks(page) if block.file}


def build(folder: Path, step: str) -> None:
    """Write what a reader has after a step into a folder."""
    for name, text in files_after(step).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def new_lines(before: str, after: str) -> set[int]:
    """Return the numbers of the lines that are not in the earlier text."""
    matcher = difflib.SequenceMatcher(None, before.splitlines(), after.splitlines(), autojunk=False)
    return {
        number + 1
        for tag, _, _, start, end in matcher.get_opcodes()
        if tag != "equal"
        for number in range(start, end)
    }


def highlighted(block: Block) -> set[int]:
    """Return the numbers of the lines that a block highlights."""
    parts = [
        part.split("-") for part in block.options.get("emphasize-lines", "").split(",") if part
    ]
    return {number for part in parts for number in range(int(part[0]), int(part[-1]) + 1)}
