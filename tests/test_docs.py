"""The documentation against the code: nothing is missing from it, and nothing in it is gone."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

import flask_jam
from flask_jam import Reason, settings, signals

from .cases import each_case
from .test_ranks import MODULES, ORDER

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = {
    page.relative_to(DOCS).with_suffix("").as_posix(): page.read_text(encoding="utf-8")
    for page in sorted(DOCS.rglob("*.rst"))
    if "_build" not in page.parts
}
README = (ROOT / "README.md").read_text(encoding="utf-8")

SETTINGS = {entry.path: entry for entry in settings.entries()}
#: What ``jwt.`` and ``session.`` may be followed by, besides a setting: the verbs.
VERBS = {"login", "refresh", "logout", "handle"}
#: What jamlib reads under the same prefix.
OF_JAMLIB = ("DEBUG", "TMP_DIR", "ENABLE_PLUGINS", "CONFIG_CACHING", "SESSION_AES_SECRET")


@pytest.fixture(scope="module")
def conf() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "conf.py"))


def public_names() -> list[str]:
    tree = ast.parse(Path(flask_jam.__file__).read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return [alias.asname or alias.name for node in imports for alias in node.names]


def table_under(page: str, title: str) -> list[str]:
    """The rows of the simple table under a title."""
    section = re.split(rf"^{title}\n[-=~]+\n", PAGES[page], flags=re.MULTILINE)[1]
    _, _, rows = re.split(r"^=+(?:  =+)+\n", section, flags=re.MULTILINE)[:3]
    return rows.splitlines()


def test_every_page_is_in_the_table_of_contents_once() -> None:
    toctree = re.compile(r"\.\. toctree::\n(?:   :.*\n)*\n((?:   .+\n)+)")
    listed = [
        (Path(page).parent / name).as_posix()
        for page, text in PAGES.items()
        for found in toctree.findall(text)
        for name in found.split()
    ]
    assert sorted(listed) == sorted(set(PAGES) - {"index"})


def test_the_first_page_keeps_the_kinds_of_pages_apart() -> None:
    lists = PAGES["index"].split(".. toctree::")[1:]
    captions = [re.findall(r"^   :caption: (\w+)", each, re.MULTILINE) for each in lists]
    kinds = list(dict.fromkeys(kind for (kind,) in captions))
    assert kinds == ["Tutorial", "Guides", "Reference", "Explanation"]


def rooms_of_the_map() -> list[list[str]]:
    """The files of each table of the map."""
    section = re.split(r"^The map\n-+\n", PAGES["how-it-works"], flags=re.MULTILINE)[1]
    section = re.split(r"^.+\n-+\n", section, maxsplit=1, flags=re.MULTILINE)[0]
    rooms = re.split(r"^.+\n~+\n", section, flags=re.MULTILINE)[1:]
    return [re.findall(r"^``([\w/]+\.py)``  +\S", room, re.MULTILINE) for room in rooms]


def test_the_map_names_every_module_once_in_the_order_of_imports() -> None:
    rooms = rooms_of_the_map()
    modules = [[module_of(file) for file in room] for room in rooms]
    assert sorted(module for room in modules for module in room) == sorted(MODULES)
    for room in modules:
        assert room == sorted(room, key=ORDER.index)


def test_a_table_of_the_map_is_one_folder() -> None:
    rooms = rooms_of_the_map()
    folders = [{file.rpartition("/")[0].partition("/")[0] for file in room} for room in rooms]
    assert all(len(folder) == 1 for folder in folders), folders
    assert len(set().union(*folders)) == len(folders)


def test_every_file_that_the_tour_of_the_code_names_exists() -> None:
    files = re.findall(r"``([\w/]+\.py)``", PAGES["how-it-works"])
    package = Path(flask_jam.__file__).parent
    missing = [file for file in files if not any((at / file).is_file() for at in (package, ROOT))]
    assert missing == []


def module_of(file: str) -> str:
    return file.removesuffix(".py").removesuffix("__init__").strip("/").replace("/", ".")


@pytest.mark.parametrize("name", public_names())
def test_every_public_name_is_described_and_used(name: str) -> None:
    described = rf"^\.\. (autoclass|autoexception|autofunction|data|class):: {name}\b"
    if name != "signals":
        assert re.search(described, PAGES["api"], re.MULTILINE)
    assert any(re.search(rf"\b{name}\b", text) for page, text in PAGES.items() if page != "api")


def test_every_signal_is_described() -> None:
    rows = table_under("signals", "The list")
    listed = [row.split()[0].strip("`") for row in rows if row.startswith("``")]
    own = [name for name, value in vars(signals).items() if hasattr(value, "receivers")]
    assert sorted(listed) == sorted(own)
    assert sorted(re.findall(r"autodata:: (\w+)", PAGES["api"])) == sorted(own)


def test_every_reason_is_described() -> None:
    rows = table_under("refusals", "Reasons")
    assert [row.split()[0].strip("`") for row in rows if row] == [str(reason) for reason in Reason]


@pytest.mark.parametrize("path", SETTINGS)
def test_every_setting_is_in_the_table_with_its_default(path: str, conf: dict[str, Any]) -> None:
    assert conf["SETTINGS_TABLE"] in PAGES["configuration"]
    entry = SETTINGS[path]
    rows = [row.split("\n     - ") for row in conf["settings_table"]().split("\n   * - ")]
    (row,) = [row for row in rows if row[0] == f"``{path}``"]
    assert row[1] == f"``{entry.env}``"
    assert row[3].strip() == entry.field.metadata["doc"]
    default = entry.field.default
    if default is None or default == ():
        assert row[2] == "not set"
    else:
        written = re.fullmatch(r"``(.+?)``(?: \((.+) d\))?", row[2])
        assert written is not None
        assert entry.field.metadata["check"](written[1]) == default
        assert written[2] is None or float(written[2]) * settings.DAY == default


def test_what_the_pages_call_a_setting_is_one() -> None:
    everything = "\n".join([*PAGES.values(), README])
    paths = set(re.findall(r"``((?:jwt|session)\.\w+)``", everything))
    assert len(paths) > 8
    assert {path for path in paths if path.split(".")[1] not in VERBS} <= set(SETTINGS)
    names = set(re.findall(r"\bJAM_[A-Z_]*[A-Z]\b", everything))
    misspelt = {"JAM_JWT_EXPIRES"}  # the page shows what is said about it
    of_jamlib = {f"JAM_{name}" for name in OF_JAMLIB}
    assert names - misspelt - of_jamlib <= {entry.env for entry in SETTINGS.values()}


def test_every_block_is_of_a_kind_that_is_looked_at() -> None:
    # Sybil runs Python blocks and compares HTTP blocks; another spelling it would pass over.
    # A part of an example is shown as the file has it: the tests of examples run that.
    kinds = re.compile(
        r"(invisible-code-block:|code-block::) "
        r"(python|http|console|sh|toml|text|javascript|html\+jinja|nginx)"
        r"|literalinclude:: (?:\.\./examples/[\w/]+\.py|measured/[\w-]+\.txt)"
    )
    for page, text in PAGES.items():
        blocks = re.findall(r"^ *\.\. (.*(?:code|highlight|prompt|literal).*)$", text, re.M)
        assert [block for block in blocks if not kinds.fullmatch(block)] == [], page
        assert not re.search(r"^(?!\.\. ).*::$", text, re.M), page


def test_the_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^):#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@each_case("title", ["Users", "Remember me", "Log out everywhere", "Throttling logins", "API keys"])
def test_the_first_page_names_what_users_look_for(title: str) -> None:
    (page,) = [name for name, text in PAGES.items() if text.startswith(f"{title}\n===")]
    features = PAGES["index"].partition("What you get")[2].partition("Contents")[0]
    assert f":doc:`{page}`" in features


def test_every_picture_is_made_by_a_test_and_shown() -> None:
    texts = [*PAGES.values(), README]
    linked = {name for text in texts for name in re.findall(r"images/([\w-]+\.(?:png|svg))", text)}
    assert linked == {path.name for path in (DOCS / "images").iterdir()}
    shown = {name for name in linked if name.endswith(".png")}  # tests/docs draws the others
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests/browser").glob("test_*.py"))
    made = set(re.findall(r'\.picture\("([\w-]+)"', tests))
    assert {re.sub(r"-(?:desktop|phone)\.png$", "", name) for name in shown} <= made
