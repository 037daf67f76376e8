"""Draw the pictures of the documentation that no browser takes: ``python -m tests.docs.draw``."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from click.testing import CliRunner
from flask import Flask
from flask.cli import ScriptInfo

from examples.quickstart import create_app
from flask_jam._cli.commands import group

DOCS = Path(__file__).parent.parent.parent / "docs"
MEASURED = DOCS / "measured" / "route-cost.txt"
COMMAND = "flask --app examples/quickstart.py jam routes --check"
KEY = "k3y-of-the-pictures-0123456789-abcdefghijklmnopqrstuvwxyz"

#: The cases of the plot, and what it calls them. Those of Flask-Jam come first.
OURS = {
    "token seen before, HS256, Redis, near cache": "Flask-Jam, token, Redis",
    "token seen before, HS256": "Flask-Jam, token",
    "session on Redis, near cache": "Flask-Jam, session, Redis",
    "session in memory": "Flask-Jam, session",
}
PEERS = {
    "jamlib, HS256": "jamlib, token",
    "Authlib, HS256": "Authlib, token",
    "Flask-Login, signed cookie": "Flask-Login, signed cookie",
    "Flask-JWT-Extended, HS256": "Flask-JWT-Extended, token",
    "Flask-Session on Redis": "Flask-Session, Redis",
    "Flask-JWT-Extended, HS256, Redis block list": "Flask-JWT-Extended, token, Redis block list",
}
UNIT = "Microseconds per request; shorter is better. Processor time, with Redis wall clock."
INK, QUIET, OURS_COLOUR, PEER_COLOUR = "#1f2328", "#59636e", "#0b6e4f", "#8c959f"
SANS = "system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"
MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


class Canvas:
    """An SVG on a light card, readable on a light and on a dark page."""

    def __init__(self, width: int, height: int, font: str, size: int, card: str = "#fff") -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" font-family="{font}" font-size="{size}">',
            f'<rect width="{width}" height="{height}" rx="8" fill="{card}"/>',
        ]

    def text(self, x: float, y: float, text: str, fill: str, **attributes: str) -> None:
        rest = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" fill="{fill}" xml:space="preserve"{rest}>'
            f"{escape(text, quote=False)}</text>"
        )

    def bar(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:.1f}" height="{height:g}" fill="{fill}"/>'
        )

    def svg(self) -> str:
        return "\n".join([*self._parts, "</svg>", ""])


# --- the benchmark ----------------------------------------------------------------------------


class Bar(NamedTuple):
    label: str
    microseconds: float
    fill: str


def read_bars(measured: str) -> list[Bar]:
    """Find the bars in the report of ``route_cost.py``; a missing case is a ``KeyError``."""
    row = re.compile(r"^(\S.*?) +[\d.]+ +[\d.]+- *[\d.]+ +([\d.]+)$", re.MULTILINE)
    over_bare = {case: float(value) for case, value in row.findall(measured)}
    ours = [Bar(label, over_bare[case], OURS_COLOUR) for case, label in OURS.items()]
    return ours + [Bar(label, over_bare[case], PEER_COLOUR) for case, label in PEERS.items()]


def draw_benchmark(measured: str) -> str:
    bars, left, width = read_bars(measured), 304, 760
    canvas = Canvas(width, 92 + 26 * len(bars), SANS, 13)
    canvas.text(20, 32, "What protection adds to a bare Flask route", INK, font_weight="600")
    canvas.text(
        20,
        52,
        "Microseconds per request; shorter is better. Processor time, with Redis wall clock.",
        QUIET,
    )
    scale = (width - left - 64) / max(bar.microseconds for bar in bars)
    for at, bar in enumerate(bars):
        y = 68 + 26 * at
        canvas.text(left - 8, y + 14, bar.label, INK, text_anchor="end")
        canvas.bar(left, y, bar.microseconds * scale, 18, bar.fill)
        canvas.text(left + bar.microseconds * scale + 6, y + 14, f"{bar.microseconds:.0f}", INK)
    return canvas.svg()


# --- the route audit --------------------------------------------------------------------------


def quickstart() -> Flask:
    with patch.dict("os.environ", {"JAM_JWT_SECRET_KEY": KEY}):
        return create_app()


def audit_output() -> list[str]:
    """Run the command of the picture; return its lines, with colours."""
    info = ScriptInfo(create_app=quickstart)
    result = CliRunner().invoke(group, ["routes", "--check"], obj=info, color=True)
    assert result.exit_code == 1, result.output
    return result.output.rstrip().split("\n")


def draw_audit(lines: list[str]) -> str:
    plain = [re.sub(r"\x1b\[\d+m", "", line) for line in lines]
    width = 32 + round(7.9 * max(map(len, [*plain, f"$ {COMMAND}"])))
    canvas = Canvas(width, 40 + 20 * (len(lines) + 1), MONO, 13, "#16181d")
    canvas.text(16, 30, f"$ {COMMAND}", "#8b949e")
    for at, (line, text) in enumerate(zip(lines, plain, strict=True), 1):
        canvas.text(16, 30 + 20 * at, text, "#ff8a80" if "\x1b[31m" in line else "#e6e8eb")
    return canvas.svg()


def pictures() -> dict[str, str]:
    """Return every picture as SVG, by the name of its file."""
    measured = MEASURED.read_text(encoding="utf-8")
    return {
        "route-cost.svg": draw_benchmark(measured),
        "route-audit.svg": draw_audit(audit_output()),
    }


if __name__ == "__main__":
    for name, svg in pictures().items():
        (DOCS / "images" / name).write_text(svg, encoding="utf-8")
