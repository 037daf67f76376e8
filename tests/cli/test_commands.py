"""``flask jam …``: each command, its output, its exit code, and what it says to wrong arguments."""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Blueprint, Flask
from flask.cli import FlaskGroup, ScriptInfo
from flask.views import MethodView
from werkzeug.routing import BaseConverter, Rule

from flask_jam import (
    Jam,
    JamExtension,
    JWTExtension,
    SessionExtension,
    jwt_required,
    protect,
    public,
    session_required,
    signals,
)
from flask_jam._cli.commands import group
from flask_jam._cli.inspection import inspect
from flask_jam.settings import ALGORITHMS
from flask_jam.stores.interface import Store
from flask_jam.stores.memory import MemoryStore

from ..attacks.craft import NOW, FlakyStore, b64, claims, forged, signed
from ..cases import each_case
from ..conftest import SECRET, Clock
from ..servers import HOST, RedisServer

MakeJam = Callable[..., Jam]
#: Clears the screen, renames the window, begins a line, and turns the text around.
NASTY = "a\x1b[2J\x1b]0;t\x07\r\nroot: ok\x00\u202e\u2028"


class Shared:
    """A store that is not this process's memory, as far as anybody can tell."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.fixture
def app(jam: Jam) -> Flask:
    return new_app(jam)


def new_app(jam: Jam, *, testing: bool = True) -> Flask:
    app = Flask("shop", static_folder=None)
    app.testing = testing
    JWTExtension(jam, app)
    SessionExtension(jam, app)
    return app


@pytest.fixture
def shared(make_jam: MakeJam) -> Flask:
    """An app whose store other processes see."""
    return new_app(make_jam(store=Shared(MemoryStore())))


def runner() -> CliRunner:
    # Older ones mix the two unless they are told.
    mixes = "mix_stderr" in signature(CliRunner).parameters
    return CliRunner(**{"mix_stderr": False} if mixes else {})


def run(app: Flask, *arguments: str, sent: Any = None, **options: Any) -> Result:
    result = runner().invoke(
        app.cli,
        ["jam", *arguments],
        obj=ScriptInfo(create_app=lambda: app),
        input=sent,
        prog_name="flask",
        **options,
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.output
    return result


def told(app: Flask, *arguments: str, **options: Any) -> str:
    """What it prints, when all is well."""
    result = run(app, *arguments, **options)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


def failed(app: Flask, *arguments: str, code: int = 1, **options: Any) -> str:
    """The one sentence that says what is wrong."""
    result = run(app, *arguments, **options)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert result.stderr.startswith("Error: ") or code == 2
    return result.stderr


# --- the group -----------------------------------------------------------------------------------

COMMANDS = (
    "apikeys", "doctor", "inspect", "issuers", "keygen", "keyring", "logins", "revoke", "routes",
    "sessions",
    "token",
)  # fmt: skip


def test_the_group_lists_every_command_with_a_whole_sentence(app: Flask) -> None:
    said = told(app, "--help", terminal_width=120)
    assert "Keys, routes, tokens and sessions of Flask-Jam." in said
    listed = re.findall(r"^  (\w+)  +(\S.*)$", said.partition("Commands:")[2], re.MULTILINE)
    assert tuple(name for name, _ in listed) == COMMANDS
    assert tuple(sorted(group.commands)) == COMMANDS


@each_case("name", COMMANDS)
def test_each_command_says_what_it_does_and_what_each_option_is_for(app: Flask, name: str) -> None:
    said = told(app, name, "--help", terminal_width=160)
    assert said.startswith(f"Usage: flask jam {name} ")
    for line in said.partition("Options:\n")[2].partition("\n\n")[0].splitlines():
        words = line.split("  ")
        assert words[-1].strip().endswith((".", "]")), f"an option without a sentence: {line}"


@each_case("name", [name for name in COMMANDS if name != "keygen"])
def test_a_command_of_an_app_without_a_jam_says_what_to_write(name: str) -> None:
    bare = Flask("bare", static_folder=None)
    bare.cli.add_command(group)
    bare.testing = True
    needs = {"inspect", "logins", "revoke", "sessions", "token"}
    more = {"keyring": "list", "apikeys": "pattern", **dict.fromkeys(needs, "x")}
    arguments = [name, *([more[name]] if name in more else [])]
    if name == "routes":
        assert told(bare, *arguments).split()[0] == "methods"
    else:
        assert "write JamExtension(jam).init_app(app)" in failed(bare, *arguments)


def test_it_is_there_with_any_extension_and_once(jam: Jam) -> None:
    app = Flask("only")
    JamExtension(jam, app)
    first = app.cli.commands["jam"]
    JamExtension(jam, app)
    assert app.cli.commands["jam"] is first


def test_the_group_of_an_app_lists_and_runs_the_commands(jam: Jam) -> None:
    app = Flask("lazily")
    JamExtension(jam, app)
    helped = app.test_cli_runner().invoke(args=["jam", "--help"])
    assert helped.exit_code == 0
    assert "Keys, routes, tokens and sessions of Flask-Jam." in helped.output
    assert all(f"  {name} " in helped.output for name in COMMANDS)
    wrong = app.test_cli_runner().invoke(args=["jam", "nothing"])
    assert wrong.exit_code == 2
    assert "No such command 'nothing'" in wrong.output


@each_case("command", ["doctor", "routes", "keygen"])
def test_an_app_that_cannot_be_built_is_a_sentence(command: str) -> None:
    def create_app() -> Flask:
        app = Flask("short")
        app.config["JAM_JWT_SECRET_KEY"] = "short"
        JWTExtension(app=app)
        return app

    flask = FlaskGroup(create_app=create_app, add_default_commands=False)
    flask.add_command(group)
    result = runner().invoke(flask, ["jam", command])
    if command == "keygen":
        assert result.exit_code == 0, "it makes what is missing"
    else:
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("Error: jwt.secret_key has 5 bytes and HS256 needs 32")


@each_case(
    "arguments",
    [
        ("nothing",), ("keygen", "--alg", "none"), ("keygen", "--alg", "hs256"), ("keygen", "x"),
        ("routes", "--format", "xml"), ("routes", "x"), ("token",), ("token", "a", "b"),
        ("inspect",), ("inspect", "a", "b"), ("inspect", "a", "--x", "y"), ("sessions",),
        ("sessions", "a", "--format", "markdown"), ("logins",), ("logins", "a", "b"),
        ("logins", "a", "--format", "markdown"), ("revoke",), ("revoke", "--all"),
        ("doctor", "x"), ("doctor", "--format", "markdown"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_told_how_to_call_it(app: Flask, arguments: tuple[str, ...]) -> None:
    said = failed(app, *arguments, code=2)
    assert said.startswith("Usage: flask jam")
    assert "Error: " in said


def test_an_option_without_its_value_is_told(app: Flask) -> None:
    assert "'--claim' requires an argument" in failed(app, "token", "ann", "--claim", code=2)


# --- keygen --------------------------------------------------------------------------------------


@cache
def new_lines(alg: str) -> str:
    result = runner().invoke(group, ["keygen", "--alg", alg])
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def by_shell(text: str, tmp_path: Path) -> dict[str, str]:
    """The variables that a shell has after it has read these lines."""
    (tmp_path / ".env").write_text(text, encoding="utf-8")
    show = "import json, os; print(json.dumps(dict(os.environ)))"
    said = subprocess.run(
        ["/bin/sh", "-c", f"set -a; . ./.env; {sys.executable} -c '{show}'"], cwd=tmp_path,
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    found: dict[str, str] = json.loads(said.stdout)
    return {name: value for name, value in found.items() if name.startswith("JAM_")}


def by_dotenv(text: str, _tmp_path: Path) -> dict[str, str]:
    """What Flask reads, where python-dotenv is installed."""
    dotenv = pytest.importorskip("dotenv", reason="needs python-dotenv")
    return {name: value or "" for name, value in
            dotenv.dotenv_values(stream=io.StringIO(text)).items()}  # fmt: skip


def verifies(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Jam:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    jam = Jam()
    for name in variables:
        monkeypatch.delenv(name)
    return jam


@pytest.mark.slow
@each_case("read", [by_shell, by_dotenv])
@each_case("alg", ALGORITHMS)
def test_a_new_key_signs_and_verifies_when_its_lines_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alg: str,
    read: Callable[[str, Path], dict[str, str]],
) -> None:  # fmt: skip
    found = read(new_lines(alg), tmp_path)
    assert found["JAM_JWT_ALG"] == alg
    jam = verifies(found, monkeypatch)
    pair = jam.issue_tokens("ann")
    assert jam.verify_jwt_token(pair["access_token"])["sub"] == "ann"
    again = verifies(found, monkeypatch)
    assert again.verify_jwt_token(pair["access_token"])["sub"] == "ann", "another process"
    if "JAM_JWT_PUBLIC_KEY" in found:
        del found["JAM_JWT_PRIVATE_KEY"]
        verifier = verifies(found, monkeypatch)
        assert verifier.verify_jwt_token(pair["access_token"])["sub"] == "ann"
        assert verifier.verifier.keyring.signer is None


def test_each_key_is_another_and_as_long_as_it_should_be(app: Flask) -> None:
    made = {told(app, "keygen") for _ in range(3)}
    assert len(made) == 3
    for lines in made:
        secret = re.fullmatch(r"JAM_JWT_ALG=HS256\nJAM_JWT_SECRET_KEY=([\w-]+)\n", lines)
        assert secret is not None
        assert len(secret[1]) == 86


def new_output(alg: str, form: str) -> str:
    result = runner().invoke(group, ["keygen", "--alg", alg, "--format", form])
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def by_docker(text: str) -> dict[str, str]:
    """What docker --env-file reads: a line is a variable, and quotes are part of the value."""
    return dict(line.split("=", 1) for line in text.splitlines())


def test_the_default_format_of_keygen_is_env() -> None:
    assert re.fullmatch(
        r"JAM_JWT_ALG=HS256\nJAM_JWT_SECRET_KEY=[\w-]+\n", new_output("HS256", "env")
    )
    assert '\n-----END PRIVATE KEY-----"\n' in new_lines("ES256")


@each_case("alg, form", [
    ("HS256", "line"), ("ES256", "line"), ("EdDSA", "json"), ("RS256", "json"), ("HS256", "json"),
])  # fmt: skip
def test_a_new_key_in_one_line_or_as_json_signs_and_verifies(
    alg: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = new_output(alg, form)
    found = by_docker(text) if form == "line" else json.loads(text)
    assert found["JAM_JWT_ALG"] == alg
    jam = verifies(found, monkeypatch)
    token = jam.issue_tokens("ann")["access_token"]
    if "JAM_JWT_PRIVATE_KEY" in found:
        del found["JAM_JWT_PRIVATE_KEY"]
    assert verifies(found, monkeypatch).verify_jwt_token(token)["sub"] == "ann"


@each_case("alg", ["HS512", "ES384"])
def test_the_line_format_has_one_line_for_each_value(alg: str) -> None:
    lines = new_output(alg, "line").splitlines()
    assert [line.partition("=")[0] for line in lines] == (
        ["JAM_JWT_ALG", "JAM_JWT_SECRET_KEY"]
        if alg == "HS512"
        else ["JAM_JWT_ALG", "JAM_JWT_PRIVATE_KEY", "JAM_JWT_PUBLIC_KEY"]
    )
    for line in lines[1:] if alg == "ES384" else []:
        assert re.fullmatch(
            r"\w+=-----BEGIN [A-Z]+ KEY-----\\n[\w+/=\\]+\\n-----END [A-Z]+ KEY-----", line
        )


# --- routes --------------------------------------------------------------------------------------


class Things(MethodView):
    def get(self, number: int) -> str:
        return ""

    @jwt_required(roles={"admin", "editor"})
    def delete(self, number: int) -> str:
        return ""


def listed(app: Flask) -> Flask:
    blueprint = Blueprint("desk", __name__, url_prefix="/desk")
    protect(blueprint, jwt_required(scopes={"desk"}, max_age=300) | session_required)
    blueprint.add_url_rule("/", "index", lambda: "")
    app.register_blueprint(blueprint)
    app.add_url_rule("/things/<int:number>", view_func=Things.as_view("things"))
    app.add_url_rule("/health", "health", public(lambda: ""))
    return app


def test_routes_as_a_table(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    rows = [re.split(" {2,}", line) for line in told(listed(app), "routes").splitlines()]
    here = r"tests/cli/test_commands.py:\d+"
    expected = [
        ["methods", "rule", "endpoint", "guard", "from", "source"],
        ["GET", "/desk/", "desk.index",
         "jwt_required(scopes={'desk'}, max_age=300) | session_required", "blueprint", here],
        ["GET", "/health", "health", "-", "public", here],
        ["DELETE", "/things/<int:number>", "things",
         "jwt_required(roles={'admin', 'editor'})", "own", here],
        ["GET", "/things/<int:number>", "things", "-", "none", here],
    ]  # fmt: skip
    assert [row[:5] for row in rows] == [row[:5] for row in expected]
    assert all(re.fullmatch(want[5], row[5]) for row, want in zip(rows, expected, strict=True))


def test_routes_as_json_has_all_that_a_script_needs(app: Flask) -> None:
    found = json.loads(told(listed(app), "routes", "--format", "json"))
    desk, health, delete, get = found
    names = {"methods", "rule", "endpoint", "guard", "from", "source", "open", "all_of"}
    assert all(set(route) == names for route in found)
    plain = {"optional": False, "scopes": [], "roles": [], "max_age": None, "check": None,
             "issuers": []}  # fmt: skip
    assert desk["all_of"] == [
        [{**plain, "scheme": "jwt", "scopes": ["desk"], "max_age": 300},
         {**plain, "scheme": "session"}],
    ]  # fmt: skip
    assert delete["all_of"] == [[{**plain, "scheme": "jwt", "roles": ["admin", "editor"]}]]
    assert (health["guard"], health["from"], health["open"]) == (None, ["public"], False)
    assert (get["guard"], get["from"], get["open"], get["all_of"]) == (None, [], True, [])
    assert [route["methods"] for route in found] == [["GET"], ["GET"], ["DELETE"], ["GET"]]


class Asks:
    """A check without a name."""

    def __call__(self, payload: dict[str, Any]) -> bool:
        return True


def asks(payload: dict[str, Any]) -> bool:
    return True


def test_json_names_a_check_and_never_where_it_is_in_memory(app: Flask) -> None:
    app.add_url_rule("/a", "a", jwt_required(check=asks)(lambda: ""))
    app.add_url_rule("/b", "b", jwt_required(check=Asks())(lambda: ""))
    found = json.loads(told(app, "routes", "--format", "json"))
    assert found[0]["all_of"][0][0]["check"] == "asks"
    assert found[0]["guard"] == "jwt_required(check=asks)"
    for said in (found[1]["all_of"][0][0]["check"], found[1]["guard"], told(app, "routes")):
        assert "Asks" in said
        assert " at 0x" not in said


def test_routes_as_markdown_is_a_table_that_keeps_what_is_in_brackets(app: Flask) -> None:
    lines = told(listed(app), "routes", "--format", "markdown").splitlines()
    assert lines[:2] == ["| methods | rule | endpoint | guard | from | source |",
                         "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    assert "`jwt_required(scopes={'desk'}, max_age=300) \\| session_required`" in lines[2]
    assert lines[4].startswith("| DELETE | `/things/<int:number>` | things | ")
    unescaped = re.compile(r"(?<!\\)\|")
    assert {len(unescaped.findall(line)) for line in lines} == {7}


@each_case("form", ["table", "json", "markdown"])
def test_the_order_is_the_same_whatever_came_first(make_jam: MakeJam, form: str) -> None:
    printed = []
    for order in (1, -1):
        app = new_app(make_jam())
        for rule in ["/b", "/a/<x>", "/", "/a"][::order]:
            app.add_url_rule(rule, rule.replace("/", "_"), asks)
        printed.append(told(app, "routes", "--format", form))
    assert printed[0] == printed[1]


@each_case("form", ["table", "json", "markdown"])
def test_an_app_without_routes_is_no_error(app: Flask, form: str) -> None:
    said = told(app, "routes", "--check", "--format", form)
    assert said == "[]\n" if form == "json" else "methods" in said


def test_colours_are_for_a_terminal_only(app: Flask) -> None:
    assert "\x1b" not in told(listed(app), "routes")
    lines = told(app, "routes", color=True).splitlines()
    red = [line for line in lines if "\x1b[31m" in line]
    assert len(red) == 1
    assert "none" in red[0]


def test_check_passes_where_all_is_guarded_or_open_on_purpose(app: Flask) -> None:
    app.add_url_rule("/a", "a", jwt_required(lambda: ""))
    app.add_url_rule("/b", "b", public(lambda: ""))
    assert "/a" in told(app, "routes", "--check")


@each_case("form", ["table", "json", "markdown"])
def test_check_lists_what_is_open_beside_the_list(app: Flask, form: str) -> None:
    listed(app).add_url_rule("/login", "login", lambda: "", methods=["POST"])
    told(app, "routes")
    result = run(app, "routes", "--check", "--format", form)
    assert result.exit_code == 1
    assert result.stdout == told(app, "routes", "--format", form)
    head, *lines = result.stderr.strip().splitlines()
    assert head == "2 open without being marked @public:"
    assert [line.split()[:2] for line in lines] == [["POST", "/login"],
                                                    ["GET", "/things/<int:number>"]]  # fmt: skip


def test_check_finds_a_guard_that_protects_nothing_also_behind_another(app: Flask) -> None:
    protect(app, jwt_required)

    @jwt_required(roles={"admin"})
    @app.get("/admin")
    def admin() -> str:
        return ""

    result = run(app, "routes", "--check")
    assert result.exit_code == 1
    assert re.search(r"admin \(.*test_commands\.py:\d+\) stands above the route", result.stderr)
    assert "@public" not in result.stderr


def never(*_: Any) -> str:
    raise AssertionError


def test_decorator_above_a_guard_is_a_warning(app: Flask) -> None:
    app.add_url_rule("/a", "a", lru_cache(jwt_required(asks)))
    for arguments in ((), ("--check",), ("--format", "json")):
        result = run(app, "routes", *arguments)
        assert result.exit_code == 0
        assert result.stderr.startswith("\nwarning: functools.lru_cache stands above the guard on ")
        assert "warning" not in result.stdout


def test_check_names_code_that_runs_before_the_guard(app: Flask) -> None:
    app.url_map.converters["number"] = type("Number", (BaseConverter,), {"__module__": "shop"})
    app.add_url_rule("/things/<number:x>", "things", lambda x: "")
    app.url_map.add(Rule("/old", endpoint="things", redirect_to=never))
    protect(app, jwt_required)
    assert run(app, "routes").stderr == ""
    result = run(app, "routes", "--check")
    assert result.exit_code == 0
    assert result.stderr.splitlines()[1::2] == [
        "warning: /old: its redirect_to function runs before the guard of protect, also for a "
        "client without a credential",
        "warning: /things/<number:x>: its converter number runs before the guard of protect, also "
        "for a client without a credential",
    ]


# --- token ---------------------------------------------------------------------------------------


def minted(app: Flask, *arguments: str) -> dict[str, Any]:
    token = told(app, "token", *arguments)
    assert token.count("\n") == 1
    claims: dict[str, Any] = app.extensions["jam"].verify_jwt_token(token.strip())
    return claims


def test_a_token_works_and_says_what_was_asked_for(app: Flask) -> None:
    said = minted(app, "ann", "--scope", "b", "--scope", "a", "--role", "admin", "--role", "x")
    assert (said["sub"], said["scope"], said["roles"]) == ("ann", "a b", ["admin", "x"])


@each_case(
    ("text", "name", "value"),
    [
        ("level=3", "level", 3), ("on=true", "on", True), ("none=null", "none", None),
        ("name=ann", "name", "ann"), ('name="3"', "name", "3"), ("empty=", "empty", ""),
        ("list=[1,2]", "list", [1, 2]), ('deep={"a": 1}', "deep", {"a": 1}),
        ("eq=a=b", "eq", "a=b"), ("x.y=1", "x.y", 1), ("half={", "half", "{"),
        ("deep=" + "[" * 2000, "deep", "[" * 2000), ("é=ü", "é", "ü"),
    ],
)  # fmt: skip
def test_a_claim_is_json_where_it_can_be(app: Flask, text: str, name: str, value: Any) -> None:
    said = minted(app, "ann", "--claim", text)
    assert said[name] == value
    assert type(said[name]) is type(value)


@each_case(
    ("arguments", "sentence"),
    [
        (("",), "1 to 256 characters"), (("a\nb",), "control characters"), (("x" * 300,), "256"),
        (("ann", "--claim", "level"), "write NAME=VALUE"), (("ann", "--claim", "=1"), "NAME="),
        (("ann", "--claim", "scopes=a"), "write --scope"), (("ann", "--claim", "scope=a"), "scope"),
        (("ann", "--claim", "roles=a"), "write --role"), (("ann", "--claim", "subject=a"), "SUBJ"),
        (("ann", "--claim", "self=a"), "another name"), (("ann", "--claim", "exp=5"), "exp"),
        (("ann", "--claim", "sub=bob"), "sub"), (("ann", "--claim", "x=NaN"), "cannot be written"),
        (("ann", "--scope", "a b"), "no spaces"), (("ann", "--scope", ""), "non-empty"),
        (("ann", "--role", ""), "non-empty"), (("ann", "--claim", "x=" + "y" * 9000), "max_token"),
        (("ann", "--claim", "auth_time=1"), "auth_time"), (("ann", "--claim", f"{NASTY}"), "NAME="),
        (("ann", "--claim", f"{NASTY}=NaN"), "cannot be written"),
    ],
)  # fmt: skip
def test_what_can_be_no_token_is_a_sentence(
    app: Flask, arguments: tuple[str, ...], sentence: str
) -> None:
    said = failed(app, "token", *arguments)
    assert sentence in said
    assert said.rstrip("\n").isprintable()


@each_case("mode", ["neither", "debug", "testing"])
def test_a_token_is_for_where_one_develops(
    jam: Jam, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    app = new_app(jam, testing=mode == "testing")
    monkeypatch.setenv("FLASK_DEBUG", "1" if mode == "debug" else "0")
    if mode == "neither":
        said = failed(app, "token", "ann")
        assert "--force" in said
        assert minted(app, "ann", "--force")["sub"] == "ann"
    else:
        assert minted(app, "ann")["sub"] == "ann"


def test_no_token_is_made_where_it_would_be_good_nowhere(make_jam: MakeJam) -> None:
    with pytest.warns(RuntimeWarning, match="No key"):
        keyless = new_app(Jam())
    assert "flask jam keygen" in failed(keyless, "token", "ann")
    listing = make_jam(jwt={"list": "allow"})
    assert "set redis_url" in failed(new_app(listing), "token", "ann")
    allowing = make_jam(jwt={"list": "allow"}, store=Shared(MemoryStore()))
    assert minted(new_app(allowing), "ann")["sub"] == "ann"


def test_a_service_that_only_verifies_makes_no_token(clock: Clock) -> None:
    from flask_jam.keys import new_key

    made = new_key("ES256")
    jam = Jam({"jwt": {"alg": "ES256", "public_key": made["JAM_JWT_PUBLIC_KEY"]}}, clock=clock)
    assert "set jwt.private_key" in failed(new_app(jam), "token", "ann")


# --- inspect -------------------------------------------------------------------------------------


def test_inspect_shows_a_good_token_line_by_line(app: Flask, jam: Jam) -> None:
    token = jam.issue_tokens("ann")["access_token"]
    lines = dict(line.split(": ", 1) for line in told(app, "inspect", token).splitlines())
    assert list(lines) == ["kind", "good", "expires_at", "header", "claims", "note"]
    assert (lines["kind"], lines["good"]) == ("access token", "true")
    assert lines["expires_at"] == "2027-01-15 08:15:00Z"
    assert json.loads(lines["claims"])["sub"] == "ann"


def test_inspect_exits_with_1_where_it_would_be_refused(app: Flask) -> None:
    result = run(app, "inspect", signed(claims(exp=NOW)))
    assert result.exit_code == 1
    assert "reason: expired\ndetail: the token has expired\n" in result.stdout
    assert run(app, "inspect", "hunter2").exit_code == 1


def test_inspect_as_json_is_what_the_function_says(app: Flask, jam: Jam) -> None:
    pair = jam.issue_tokens("ann")
    for credential in (pair["access_token"], pair["refresh_token"], jam.create_session("ann", {}),
                       "x", signed(claims(sub=NASTY))):  # fmt: skip
        said = run(app, "inspect", "--format", "json", "--", credential)
        assert json.loads(said.stdout) == inspect(jam, credential)


@each_case(
    "sent", ["{}", "{}\n", "  {}  \r\n", "\n{}\n\n"], ids=["plain", "line", "spaces", "lines"]
)
def test_a_dash_reads_it_from_the_standard_input(app: Flask, jam: Jam, sent: str) -> None:
    token = jam.issue_tokens("ann")["access_token"]
    assert "good: true" in told(app, "inspect", "-", sent=sent.format(token))


@each_case(
    "sent", [b"", b"\xff\xfe\x00", b"\x1b[2J", b"x" * 3_000_000],
    ids=["nothing", "bytes", "ansi", "huge"],
)  # fmt: skip
def test_whatever_comes_from_the_standard_input_is_no_error(app: Flask, sent: bytes) -> None:
    result = run(app, "inspect", "-", sent=sent)
    assert result.exit_code == 1
    assert len(result.output) < 1000
    assert all(line.isprintable() for line in result.output.splitlines())


def test_no_more_is_read_than_a_credential_can_have(app: Flask) -> None:
    class Endless(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert 0 <= size <= 10_000_000, "it would never end"
            return b"x" * size

    assert run(app, "inspect", "-", sent=Endless()).exit_code == 1


@each_case("first", ["-A", "--", "-f", "-h"])
def test_an_id_may_begin_with_a_dash(app: Flask, first: str) -> None:
    said = run(app, "inspect", first + "A" * 43)
    assert said.exit_code == 1
    assert "kind: session id\ngood: false\nreason: unknown_session" in said.stdout


@each_case("form", ["text", "json"])
@each_case(
    "token",
    [
        lambda jam: signed(claims(sub=NASTY, **{NASTY: NASTY})),
        lambda jam: signed(claims(), {"alg": NASTY, "kid": NASTY}),
        lambda jam: signed(NASTY.encode()),
        lambda jam: f"{b64(NASTY.encode())}.{b64(NASTY.encode())}.AAAA",
        lambda jam: jam.create_session(NASTY, {NASTY: 1, "roles": [NASTY]}),
        lambda jam: NASTY,
    ],
    ids=["claims", "header", "payload", "segments", "session", "itself"],
)
def test_nothing_that_is_inspected_moves_the_cursor(
    app: Flask, jam: Jam, token: Callable[[Jam], str], form: str
) -> None:
    said = run(app, "inspect", "-", "--format", form, sent=token(jam).encode()).output
    assert all(line.isprintable() for line in said.split("\n")), said
    assert "\nroot:" not in said


@each_case("claim", [1e300, -1e300, 2**52, -(2**52), True, "soon", None, [1]])
def test_an_odd_expiry_is_no_error(app: Flask, claim: Any) -> None:
    assert run(app, "inspect", signed(claims(exp=claim))).exit_code == 1


def test_inspect_does_not_repeat_the_credential(app: Flask, jam: Jam) -> None:
    pair = jam.issue_tokens("ann")
    session_id = jam.create_session("ann", {})
    for credential in (*(pair[f"{kind}_token"] for kind in ("access", "refresh")), session_id,
                       "hunter2-hunter2", forged(pair["access_token"])):  # fmt: skip
        for sent in (("inspect", "--", credential), ("inspect", "-")):
            said = run(app, *sent, sent=credential).output
            assert credential not in said
            assert credential.rpartition(".")[2] not in said


def test_inspecting_changes_no_refresh_token(app: Flask, jam: Jam) -> None:
    token = jam.issue_tokens("ann")["refresh_token"]
    assert told(app, "inspect", token) == told(app, "inspect", token)
    assert jam.refresh_tokens(token)


# --- sessions, revoke ----------------------------------------------------------------------------


@each_case("command", ["sessions", "logins", "revoke"])
def test_what_is_in_the_servers_memory_is_said_to_be_there(app: Flask, command: str) -> None:
    said = failed(app, command, "ann")
    assert "memory of the server's process" in said
    assert "set redis_url" in said


def test_sessions_lists_who_has_which(shared: Flask, clock: Clock) -> None:
    jam = shared.extensions["jam"]
    jam.create_session("ann", {}, user_agent="Firefox", ip="10.0.0.1")
    clock.tick(61)
    jam.create_session("ann", {})
    jam.create_session("bob", {}, ip="10.0.0.2")
    lines = told(shared, "sessions", "ann").splitlines()
    head, one, two = (re.split(" {2,}", line) for line in lines)
    handles = [info.handle for info in jam.list_sessions("ann")]
    assert head == ["handle", "since", "last seen", "address", "browser"]
    first, second = "2027-01-15 08:00:00Z", "2027-01-15 08:01:01Z"
    assert one == [handles[0], first, first, "10.0.0.1", "Firefox"]
    assert two == [handles[1], second, second, "-", "-"]


def test_sessions_as_json(shared: Flask) -> None:
    jam = shared.extensions["jam"]
    jam.create_session("ann", {"a": 1}, user_agent="Firefox")
    (found,) = json.loads(told(shared, "sessions", "ann", "--format", "json"))
    assert found == jam.list_sessions("ann")[0]._asdict()
    assert json.loads(told(shared, "sessions", "bob", "--format", "json")) == []


def test_logins_lists_sessions_and_tokens_in_one_list(shared: Flask, clock: Clock) -> None:
    jam = shared.extensions["jam"]
    jam.create_session("ann", {}, user_agent="Firefox", ip="10.0.0.1")
    clock.tick(61)
    jam.issue_pair("ann", "Phone/1", "10.0.0.2")
    jam.issue_tokens("bob")
    lines = told(shared, "logins", "ann").splitlines()
    head, one, two = (re.split(" {2,}", line) for line in lines)
    handles = [info.handle for info in jam.list_logins("ann")]
    assert head == ["handle", "scheme", "since", "last seen", "address", "browser"]
    first, second = "2027-01-15 08:00:00Z", "2027-01-15 08:01:01Z"
    assert one == [handles[0], "session", first, first, "10.0.0.1", "Firefox"]
    assert two == [handles[1], "jwt", second, second, "10.0.0.2", "Phone/1"]


def test_logins_as_json(shared: Flask) -> None:
    jam = shared.extensions["jam"]
    jam.issue_tokens("ann")
    (found,) = json.loads(told(shared, "logins", "ann", "--format", "json"))
    assert found == jam.list_logins("ann")[0]._asdict()
    assert json.loads(told(shared, "logins", "bob", "--format", "json")) == []


def test_logins_ends_the_one_of_a_handle(shared: Flask) -> None:
    jam = shared.extensions["jam"]
    pair, session_id = jam.issue_tokens("ann"), jam.create_session("ann", {})
    for info in jam.list_logins("ann"):
        said = told(shared, "logins", "ann", "--end", info.handle)
        assert said == f"Ended: the login {info.handle} of ann.\n"
        assert "has no login" in failed(shared, "logins", "ann", "--end", info.handle)
    for credential in (*pair.values(), session_id):
        assert not inspect(jam, str(credential))["good"]


def test_a_handle_may_begin_with_a_dash(shared: Flask) -> None:
    assert "the handle -x" in failed(shared, "logins", "ann", "--end", "-x")


def test_a_handle_of_another_subject_ends_nothing(shared: Flask) -> None:
    jam = shared.extensions["jam"]
    jam.issue_tokens("bob")
    (info,) = jam.list_logins("bob")
    assert "ann has no login" in failed(shared, "logins", "ann", "--end", info.handle)
    assert jam.list_logins("bob") == [info]


def test_a_browser_and_an_address_that_lie_move_no_cursor(shared: Flask) -> None:
    jam = shared.extensions["jam"]
    session_id = jam.create_session(NASTY, {}, user_agent=NASTY, ip=NASTY)
    for form in ("table", "json"):
        said = told(shared, "sessions", NASTY, "--format", form)
        assert all(line.isprintable() for line in said.split("\n"))
        assert session_id not in said
        said = told(shared, "logins", NASTY, "--format", form)
        assert all(line.isprintable() for line in said.split("\n"))
    assert all(line.isprintable() for line in told(shared, "revoke", NASTY).split("\n"))


def test_revoke_ends_everything_and_says_so(shared: Flask) -> None:
    jam = shared.extensions["jam"]
    pair, ids = jam.issue_tokens("ann"), [jam.create_session("ann", {}) for _ in range(2)]
    other = jam.issue_tokens("bob")
    heard: list[tuple[str, str]] = []

    def hear(_app: Flask, kind: str, subject: str, **_extra: Any) -> None:
        heard.append((kind, subject))

    signals.revoked.connect(hear, shared)
    assert told(shared, "revoke", "ann") == "Revoked: every token of ann, and 2 session(s).\n"
    assert heard == [("subject", "ann")]
    for credential in (pair["access_token"], pair["refresh_token"], *ids):
        assert not inspect(jam, credential)["good"]
    assert inspect(jam, other["access_token"])["good"]
    assert told(shared, "revoke", "ann").endswith("0 session(s).\n"), "again is no error"


def test_revoke_does_not_promise_what_it_cannot(make_jam: MakeJam) -> None:
    app = new_app(make_jam(jwt={"list": "off"}, store=Shared(MemoryStore())))
    result = run(app, "revoke", "ann")
    assert result.stdout == "Revoked: every refresh token of ann, and 0 session(s).\n"
    assert result.stderr == "jwt.list is off: an access token lives until it expires.\n"


@each_case("command", ["sessions", "logins", "revoke"])
@each_case("subject", ["", "x" * 2000, "\udc80"])
def test_who_can_be_nobody_is_a_sentence(shared: Flask, command: str, subject: str) -> None:
    assert "session key" in failed(shared, command, subject)


@each_case(
    "arguments", [("sessions", "ann"), ("logins", "ann"), ("logins", "ann", "--end", "x"),
                  ("revoke", "ann"), ("inspect", "A" * 45), ("token", "ann"), ("inspect", "TOKEN")]
)  # fmt: skip
def test_a_store_that_is_down_is_a_sentence(make_jam: MakeJam, arguments: tuple[str, ...]) -> None:
    store = FlakyStore()
    jam = make_jam(store=Shared(store))
    app = new_app(jam)
    token = jam.issue_tokens("ann")["access_token"]
    store.fail()
    said = failed(app, *(token if each == "TOKEN" else each for each in arguments))
    assert said == "Error: the store did not answer\n"


# --- on Redis ------------------------------------------------------------------------------------


@pytest.fixture
def on_redis(redis_jam: Jam) -> Flask:
    return new_app(redis_jam)


def test_sessions_and_revoke_reach_what_another_process_has(
    on_redis: Flask, make_jam: MakeJam, redis_server: RedisServer
) -> None:
    server = make_jam(redis_url=redis_server.url, near_cache=False)
    pair = server.issue_tokens("ann")
    ids = [server.create_session("ann", {}, user_agent="Firefox") for _ in range(2)]
    assert told(on_redis, "sessions", "ann").count("Firefox") == 2
    assert "good: true" in told(on_redis, "inspect", "--", ids[0])
    assert "good: true" in told(on_redis, "inspect", pair["refresh_token"])
    assert "2 session(s)" in told(on_redis, "revoke", "ann")
    assert server.list_sessions("ann") == []
    assert run(on_redis, "inspect", pair["access_token"]).stdout.startswith(
        "kind: access token\ngood: false\nreason: revoked\n"
    )
    assert run(on_redis, "inspect", pair["refresh_token"]).exit_code == 1
    server.store.close()  # type: ignore[attr-defined]


def test_a_redis_that_is_not_there_is_a_sentence(make_jam: MakeJam) -> None:
    jam = make_jam(redis_url=f"redis://:hunter2@{HOST}:1/0")
    said = failed(new_app(jam), "revoke", "ann")
    jam.store.close()  # type: ignore[attr-defined]
    assert said == "Error: Redis does not answer\n"


# --- as it is called -----------------------------------------------------------------------------

SHOP = """
from flask import Flask, g
from flask_jam import JWTExtension, jwt_required, public


def create_app():
    app = Flask(__name__)
    jwt = JWTExtension(app=app)

    @app.post("/login")
    @public
    def login():
        return jwt.login("ann")

    @app.get("/me")
    @jwt_required
    def me():
        return {"hello": g.payload["sub"]}

    @app.get("/forgotten")
    def forgotten():
        return "oops"

    return app
"""


@pytest.fixture
def called(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``flask --app shop jam …`` in a directory of its own."""
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    environment = {**os.environ, "JAM_JWT_SECRET_KEY": SECRET, "PYTHONWARNINGS": "error"}

    def call(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flask", "--app", "shop", *arguments], cwd=tmp_path,
            env=environment, capture_output=True, text=True, timeout=60, check=False, **options,
        )  # fmt: skip

    return call


@pytest.mark.slow
def test_flask_jam_routes_from_a_shell(called: Callable[..., Any]) -> None:
    done = called("jam", "routes", "--check")
    assert done.returncode == 1
    assert done.stdout.splitlines()[1].split() == [
        "GET", "/forgotten", "forgotten", "-", "none", "shop.py:20",
    ]  # fmt: skip
    assert done.stderr == "\n1 open without being marked @public:\n  GET /forgotten  shop.py:20\n"


@pytest.mark.slow
def test_flask_jam_token_and_inspect_from_a_shell(called: Callable[..., Any]) -> None:
    made = called("--debug", "jam", "token", "ann", "--claim", "level=3")
    assert (made.returncode, made.stderr) == (0, "")
    seen = called("jam", "inspect", "-", "--format", "json", input=made.stdout)
    assert (seen.returncode, seen.stderr) == (0, "")
    assert json.loads(seen.stdout)["claims"]["level"] == 3
    refused = called("jam", "token", "ann")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("Error: this is neither debug nor testing mode")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("script") is None, reason="needs script(1) for a terminal")
def test_colours_in_a_terminal(tmp_path: Path, called: Callable[..., Any]) -> None:
    assert "\x1b" not in called("jam", "routes").stdout
    command = f"{sys.executable} -m flask --app shop jam routes"
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "JAM_JWT_SECRET_KEY": SECRET}, stdin=subprocess.DEVNULL, timeout=60,
        check=True,
    )  # fmt: skip
    assert "\x1b[31mGET" in done.stdout


# --- what the pages of the documentation show -----------------------------------------------------

DOCS = Path(__file__).parents[2] / "docs"


class Shell:
    """Runs the few forms of a command line that the pages have."""

    def __init__(self, create_app: Callable[[], Flask], monkeypatch: pytest.MonkeyPatch) -> None:
        self.create_app = create_app
        self.monkeypatch = monkeypatch
        self.exit_code = 0
        #: The last one that was printed: HANDLE on a page.
        self.handle = "none"

    def __call__(self, line: str) -> str | None:
        """What it prints; ``None`` for what is not ours."""
        words = line.split()
        if words == ["echo", "$?"]:
            return f"{self.exit_code}\n"
        if words[0] == "cat":
            return Path(words[1]).read_text(encoding="utf-8")
        if words[:2] == ["env", "-u"]:
            with self.monkeypatch.context() as patch:
                patch.delenv(words[2])
                return self(" ".join(words[3:]))
        return self.flask(words) if words[0] == "flask" else None

    def flask(self, words: list[str]) -> str:
        self.monkeypatch.setenv("FLASK_DEBUG", "1" if "--debug" in words else "0")
        words, target = self.cut(words, ">")
        words, source = self.cut(words, "<")
        if source == "session.txt":
            self.log_in()
        app = self.create_app()
        sent = None if source is None else Path(source).read_text(encoding="utf-8")
        words = [self.handle if word == "HANDLE" else word for word in words]
        result = run(app, *words[words.index("jam") + 1 :], sent=sent)
        close(app)
        self.handle = (re.findall(r"^handle: (\w+)$", result.stderr, re.M) or [self.handle])[-1]
        self.exit_code = result.exit_code
        if target is not None:
            Path(target).write_text(result.stdout, encoding="utf-8")
            return result.stderr
        return result.stdout + result.stderr

    @staticmethod
    def cut(words: list[str], sign: str) -> tuple[list[str], str | None]:
        return (words[:-2], words[-1]) if words[-2] == sign else (words, None)

    def log_in(self) -> None:
        app = self.create_app()
        agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
        data = {"theme": "dark", "roles": ["editor"]}
        jam = app.extensions["jam"]
        made = jam.create_session("alice", data, user_agent=agent, ip="203.0.113.7")
        Path("session.txt").write_text(made, encoding="utf-8")
        close(app)


def close(app: Flask) -> None:
    getattr(app.extensions["jam"].store, "close", lambda: None)()


def blocks(page: str, kind: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.findall(rf"^\.\. code-block:: {kind}\n((?:\n|   .*\n)+)", text, re.MULTILINE)
    return [textwrap.dedent(block).strip() + "\n" for block in found]


def steps(page: str) -> list[tuple[str, str]]:
    """Each command of a page, with what the page says that it prints."""
    found = []
    for block in blocks(page, "console"):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = step.partition("\n")
            found.append((command, shown))
    return found


def squeezed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


@pytest.fixture
def create_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Flask]]:
    """The factory of ``shop.py``, as ``auditing.rst`` has it."""
    source = blocks("auditing.rst", "python")[0]
    head, _, body = source.partition("\n\n")
    assert head == ":caption: shop.py"
    here = Path(os.getcwd())
    (here / "shop.py").write_text(textwrap.dedent(body), encoding="utf-8")
    monkeypatch.syspath_prepend(str(here))
    monkeypatch.setenv("JAM_JWT_SECRET_KEY", SECRET)
    yield importlib.import_module("shop").create_app
    del sys.modules["shop"]


@pytest.mark.redis
@each_case("page", ["auditing.rst", "cli.rst"])
def test_the_pages_show_what_is_printed(
    page: str, create_app: Callable[[], Flask], monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    if page == "cli.rst":
        server = request.getfixturevalue("redis_server")
        server.flush()
        monkeypatch.setenv("JAM_REDIS_URL", server.url)
    shell = Shell(create_app, monkeypatch)
    for command, shown in steps(page):
        printed = shell(command)
        if printed is not None:
            pattern = ".+?".join(map(re.escape, squeezed(shown).split("…")))
            assert re.fullmatch(pattern, squeezed(printed), re.DOTALL), f"$ {command}\n{printed}"
