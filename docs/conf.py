"""How the documentation is built: ``sphinx-build -W -b html docs docs/_build/html``."""

from __future__ import annotations

import dataclasses
from importlib.metadata import version as version_of
from typing import Any

from flask_jam.settings import DAY, entries

project = "Flask-Jam"
author = "the Flask-Jam authors"
project_copyright = "the Flask-Jam authors, BSD-3-Clause"
release = version = version_of("Flask-Jam")

extensions = ["sphinx.ext.autodoc", "sphinx_copybutton"]
# A copy of a console block is its commands alone: no prompt and no output.
copybutton_prompt_text = "$ "
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
# Long signatures: one parameter per line.
maximum_signature_line_length = 80

MONOSPACE = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
html_theme = "furo"
# The default underlines the names of modules, like links.
pygments_dark_style = "github-dark"
html_title = "Flask-Jam"
html_theme_options = {
    "top_of_page_buttons": [],
    "light_css_variables": {"font-stack--monospace": MONOSPACE},
}
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_js_files = ["pages.js"]
html_copy_source = False
html_show_sourcelink = False

# --- the table of settings ------------------------------------------------------------

SETTINGS_TABLE = ".. settings-table\n"


def shown(field: dataclasses.Field[Any]) -> str:
    """The default of a setting, as one would write it."""
    default = field.default
    if default is None or default == ():
        return "not set"
    if isinstance(default, float):
        days = f" ({default / DAY:g} d)" if default >= DAY else ""
        return f"``{default:g}``{days}" if default < 1e6 else f"``{default:.0f}``{days}"
    return f"``{default}``"


def settings_table() -> str:
    """One row per setting, out of ``flask_jam/settings.py``."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 22 30 16 32", ""]
    rows = [("Setting", "Environment, ``app.config``", "Default", "What it is")]
    for entry in entries():
        doc = entry.field.metadata["doc"]
        rows.append((f"``{entry.path}``", f"``{entry.env}``", shown(entry.field), doc))
    for row in rows:
        cells = [f"     - {cell}" for cell in row]
        lines += ["   *" + cells[0][4:], *cells[1:]]
    return "\n".join(lines) + "\n"


def put_settings_table(_app: Any, _page: str, source: list[str]) -> None:
    source[0] = source[0].replace(SETTINGS_TABLE, settings_table())


def setup(app: Any) -> None:
    app.connect("source-read", put_settings_table)
