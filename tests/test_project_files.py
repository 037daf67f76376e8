"""The files for contributors and users of the project agree with what is run."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

from .cases import each_case

ROOT = Path(__file__).parent.parent


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read_string(read("setup.cfg"))
    return parser


def test_pre_commit_runs_the_ruff_of_the_extra_dev() -> None:
    pinned = re.findall(r"^ruff==.+$", setup()["options.extras_require"]["dev"], re.MULTILINE)
    assert set(re.findall(r"ruff==[\d.]+", read(".pre-commit-config.yaml"))) == set(pinned)


def test_the_compatibility_table_names_the_tested_versions() -> None:
    table = read("docs/stability.rst").partition("Compatibility\n---")[2]
    lowest = dict(re.findall(r"^([\w-]+)==(.+)$", read(".ci/constraints-lowest.txt"), re.MULTILINE))
    names = {"flask": "Flask", "werkzeug": "Werkzeug", "pyjwt": "PyJWT", "redis": "redis-py"}
    for package, name in {**names, "cryptography": "cryptography"}.items():
        version = lowest[package]
        assert f"* - {name}\n     - {version} and later\n     - {version} " in table
    pythons = re.findall(r"Python :: (3\.\d+)$", setup()["metadata"]["classifiers"], re.MULTILINE)
    oldest, newest = pythons[0], pythons[-1]
    assert f"for version in {' '.join(pythons)};" in read(".ci/run")
    assert f"     - {oldest} to {newest}\n     - {oldest}, {newest} and " in table


def test_the_threat_model_marks_each_requirement_of_doctor() -> None:
    sources = "".join(file.read_text("utf-8") for file in (ROOT / "flask_jam/_cli").glob("*.py"))
    reported = set(re.findall(r'"(\d+\.\d+\.\d+)"', sources))
    row = re.compile(r"^   \* - ([\d.]+)\n(?:     .*\n)+?     - (.*)$", re.MULTILINE)
    rows = row.findall(read("docs/threat-model.rst"))
    assert len(reported) > 10
    assert {number for number, here in rows if "checked" in here} == reported


@each_case("name", ["CONTRIBUTING.md", "SECURITY.md"])
def test_links_of_the_files_for_strangers_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^):#]+)\)", read(name))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
