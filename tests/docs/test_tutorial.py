"""The tutorial: each step is built from the blocks of its page, and does what the page promises."""

from __future__ import annotations

import email
import email.policy
import importlib
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.security import generate_password_hash

from flask_jam.testing import frozen_time

from ..conftest import SECRET, bearer
from .blocks import ROOT, blocks, build, files_after, highlighted, new_lines, steps

ADA = {"email": "ada@example.org", "password": "correct horse"}
BOB = {"email": "bob@example.org", "password": "battery staple"}
PAGE = {"base_url": "https://localhost", "headers": {"Accept": "text/html"}}
Build = Callable[[str], Flask]


@pytest.fixture
def app_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Build]:
    """``app_after(step)`` is the app of a reader who has done a step, with Ada and Bob in it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    # A hash of a password that takes no tenth of a second.
    monkeypatch.setattr(generate_password_hash, "__defaults__", ("pbkdf2:sha256:1", 16))
    made: list[Flask] = []

    def app_after(step: str) -> Flask:
        build(tmp_path, step)
        database = f"sqlite:///{tmp_path / 'notebook.db'}"
        config = {
            "TESTING": True,
            "JAM_JWT_SECRET_KEY": SECRET,
            "SQLALCHEMY_DATABASE_URI": database,
        }
        app: Flask = importlib.import_module("notebook").create_app(config)
        made.append(app)
        runner = app.test_cli_runner()
        runner.invoke(args=["init-db"], catch_exceptions=False)
        for user, role in ((ADA, "admin"), (BOB, "member")):
            options = ["--password", user["password"], "--role", role]
            runner.invoke(args=["add-user", user["email"], *options], catch_exceptions=False)
        return app

    yield app_after
    for app in made:
        with app.app_context():
            sys.modules["notebook.models"].db.engine.dispose()
    for name in [name for name in sys.modules if name.split(".")[0] == "notebook"]:
        del sys.modules[name]


def browser(app: Flask, user: dict[str, str] | None = None) -> FlaskClient:
    client = app.test_client()
    if user is not None:
        assert client.post("/login", data=user, **PAGE).status_code == 303
    return client


def phone(app: Flask, user: dict[str, str]) -> dict[str, str]:
    """Return the headers of a client that has logged in to the API."""
    return bearer(app.test_client().post("/api/login", data=user).json["access_token"])


def status(client: FlaskClient, path: str, method: str = "GET", **options: Any) -> int:
    return client.open(path, method=method, **{**PAGE, **options}).status_code


# --- the pages -----------------------------------------------------------------------------------


def test_blocks_of_the_tutorial_name_a_file_or_are_for_the_terminal() -> None:
    for step in steps():
        for block in blocks(step):
            assert (block.kind == "console") is (block.file is None), block


def test_the_tutorial_highlights_exactly_the_lines_that_are_new() -> None:
    have: dict[str, str] = {}
    for step in steps():
        for block in blocks(step):
            if block.file in have:
                assert highlighted(block) == new_lines(have[block.file], block.text), block
            elif block.file:
                assert highlighted(block) == set()
            if block.file:
                have[block.file] = block.text


def test_the_example_is_what_the_pages_of_the_tutorial_build() -> None:
    folder = ROOT / "examples" / "tutorial"
    kept = {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert kept == files_after(steps()[-1])


# --- the steps -----------------------------------------------------------------------------------


def test_step_1_has_users_with_hashed_passwords(app_after: Build) -> None:
    app = app_after("users")
    models = sys.modules["notebook.models"]
    with app.app_context():
        ada = models.check_login(" ADA@example.org", "correct horse")
        assert (ada.subject, ada.role) == ("1", "admin")
        assert "correct horse" not in ada.password_hash
        assert models.check_login("ada@example.org", "wrong") is None
        assert models.check_login("eve@example.org", "unknown") is None


def test_step_2_shows_users_their_own_notes_after_a_login(app_after: Build) -> None:
    app = app_after("site")
    ada, bob = browser(app), browser(app, BOB)
    sent = ada.get("/?tab=2", **PAGE)
    assert (sent.status_code, sent.location) == (302, "/login?next=/%3Ftab%3D2")
    wrong = ada.post(sent.location, data={**ADA, "password": "x"}, **PAGE)
    assert wrong.status_code == 401
    assert "Wrong address or password." in wrong.text
    assert ada.post(sent.location, data=ADA, **PAGE).location == "/?tab=2"
    assert status(ada, "/notes", "POST", data={"text": "Buy <milk>"}) == 303
    assert "<li>Buy &lt;milk&gt;</li>" in ada.get("/", **PAGE).text
    assert "milk" not in bob.get("/", **PAGE).text
    other_site = {"Sec-Fetch-Site": "cross-site"}
    assert status(ada, "/notes", "POST", data={"text": "x"}, headers=other_site) == 403
    assert status(ada, "/logout", "POST") == 303
    assert status(ada, "/") == 302


def test_step_2_closes_every_route_that_is_not_public(app_after: Build) -> None:
    app = app_after("site")
    result = app.test_cli_runner().invoke(args=["jam", "routes", "--check"])
    assert result.exit_code == 0, result.output


def test_step_3_gives_the_same_notes_to_tokens(app_after: Build) -> None:
    app = app_after("api")
    client = app.test_client()
    assert client.post("/api/login", data={**ADA, "password": "x"}).status_code == 401
    assert client.post("/api/login", json=[1]).status_code == 401
    pair = client.post("/api/login", data=ADA).json
    ada = bearer(pair["access_token"])
    assert client.post("/api/notes", json={"text": "Tea "}, headers=ada).status_code == 201
    for wrong in ([], {"text": 5}, {"text": " "}):
        assert client.post("/api/notes", json=wrong, headers=ada).status_code == 422
    assert client.get("/api/notes", headers=ada).json == [{"id": 1, "text": "Tea"}]
    assert "<li>Tea</li>" in browser(app, ADA).get("/", **PAGE).text
    assert status(browser(app, ADA), "/api/notes", headers={}) == 401
    assert status(app.test_client(), "/", headers=ada) == 401
    body = {"refresh_token": pair["refresh_token"]}
    renewed = client.post("/api/refresh", json=body).json
    assert client.post("/api/logout", headers=bearer(renewed["access_token"])).status_code == 204
    assert client.get("/api/notes", headers=ada).status_code == 401


def test_step_4_lets_an_admin_lock_a_user_out_everywhere(app_after: Build) -> None:
    app = app_after("roles")
    ada, bob, phone_of_bob = browser(app, ADA), browser(app, BOB), phone(app, BOB)
    assert "Users" in ada.get("/", **PAGE).text
    assert "Users" not in bob.get("/", **PAGE).text
    refused = bob.get("/users/", **PAGE)
    assert refused.status_code == 403
    assert "Access is denied." in refused.text
    assert status(bob, "/users/1/lock", "POST") == 403
    assert "bob@example.org, member" in ada.get("/users/", **PAGE).text
    assert status(ada, "/users/9/lock", "POST") == 404
    assert status(ada, "/users/2/lock", "POST") == 303
    assert "(locked)" in ada.get("/users/", **PAGE).text
    assert status(bob, "/") == 302
    assert status(browser(app), "/api/notes", headers=phone_of_bob) == 401
    assert status(bob, "/login", "POST", data=BOB) == 401


def test_step_5_gives_keys_that_read_and_do_not_write(app_after: Build) -> None:
    app = app_after("api-keys")
    ada, client = browser(app, ADA), app.test_client()
    assert status(ada, "/keys/new", "POST", data={"name": " "}) == 422
    made = ada.post("/keys/new", data={"name": "backup"}, **PAGE)
    assert made.headers["Cache-Control"] == "no-store"
    key = bearer(re.search(r"<code>(jam_\w+)</code>", made.text)[1])  # type: ignore[index]
    assert client.get("/api/notes", headers=key).json == []
    assert client.post("/api/notes", json={"text": "x"}, headers=key).status_code == 401
    assert client.post("/api/notes", json={"text": "x"}, headers=phone(app, ADA)).status_code == 201
    assert status(client, "/keys/", headers=key) == 401
    page = ada.get("/keys/", **PAGE).text
    assert "backup" in page
    assert "jam_" not in page
    (path,) = re.findall(r"/keys/\S+/revoke", page)
    assert status(browser(app, BOB), path, "POST") == 303
    assert client.get("/api/notes", headers=key).status_code == 200
    assert status(ada, path, "POST") == 303
    assert client.get("/api/notes", headers=key).status_code == 401


def reset_link(app: Flask, log: pytest.LogCaptureFixture, address: str) -> str:
    """Ask for a link, and return the path of the mail that is in the log."""
    log.clear()
    answer = app.test_client().post("/forgot", data={"email": address}, **PAGE)
    assert "a link is on its way" in answer.text
    found = re.search(r"http://localhost:5000(/reset/\S+)", log.text)
    return found[1] if found else ""


def test_step_6_resets_a_password_by_a_link_that_works_once(
    app_after: Build, caplog: pytest.LogCaptureFixture
) -> None:
    app = app_after("password-reset")
    app.logger.setLevel("INFO")
    ada, phone_of_ada, reader = browser(app, ADA), phone(app, ADA), browser(app)
    assert "/forgot" in reader.get("/login", **PAGE).text
    assert reset_link(app, caplog, "eve@example.org") == ""
    link = reset_link(app, caplog, ADA["email"])
    for _ in range(2):
        form = reader.get(link, **PAGE)
        assert form.status_code == 200
        assert form.headers["Referrer-Policy"] == "no-referrer"
        assert form.headers["Cache-Control"] == "no-store"
    assert status(reader, link, "POST", data={"password": "short"}) == 422
    assert status(reader, link, "POST", data={"password": "a new one"}) == 303
    assert status(ada, "/") == 302
    assert status(browser(app), "/api/notes", headers=phone_of_ada) == 401
    assert status(reader, link, "POST", data={"password": "once more"}) == 410
    assert status(reader, "/reset/x") == 410
    assert status(reader, "/login", "POST", data=ADA) == 401
    browser(app, {**ADA, "password": "a new one"})


def test_step_6_ends_the_link_of_an_account_that_is_locked(
    app_after: Build, caplog: pytest.LogCaptureFixture
) -> None:
    app = app_after("password-reset")
    app.logger.setLevel("INFO")
    link = reset_link(app, caplog, BOB["email"])
    assert status(browser(app, ADA), "/users/2/lock", "POST") == 303
    assert status(browser(app), link) == 410


class MailServer:
    """A server that takes one mail by SMTP and keeps it."""

    def __init__(self) -> None:
        self.mail = ""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._take)

    def __enter__(self) -> MailServer:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._thread.join(10)
        self._listener.close()

    def _take(self) -> None:
        self._listener.settimeout(10)
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rw", newline="\r\n") as file:
            answer = "220 mail"
            while answer:
                print(answer, file=file, flush=True)
                verb = file.readline().strip().upper()
                answer = {"DATA": "354 go on", "QUIT": ""}.get(verb, "250 ok")
                if verb == "DATA":
                    print(answer, file=file, flush=True)
                    self.mail, answer = "".join(iter(file.readline, ".\r\n")), "250 ok"


@pytest.mark.slow
def test_step_6_sends_the_link_by_a_mail_server(app_after: Build) -> None:
    app = app_after("password-reset")
    with MailServer() as server:
        app.config["MAIL_SERVER"] = server.address
        app.test_client().post("/forgot", data={"email": BOB["email"]}, **PAGE)
    mail = email.message_from_string(server.mail, policy=email.policy.default)
    assert mail["To"] == BOB["email"]
    link = mail.get_content().strip().removeprefix("http://localhost:5000")
    assert status(browser(app), link) == 200


def test_step_7_asks_for_the_password_again_and_leads_back(app_after: Build) -> None:
    app = app_after("step-up")
    with frozen_time(app) as clock:
        ada = browser(app, ADA)
        assert status(ada, "/keys/new") == status(ada, "/account/close") == 200
        clock.tick(301)
        assert status(ada, "/") == status(ada, "/keys/") == 200
        for path in ("/keys/new", "/account/close"):
            sent = ada.get(path, **PAGE)
            assert (sent.status_code, sent.location) == (302, f"/login?next={path}")
        assert status(ada, "/account/close", "POST") == 303
        assert "Please confirm that it is you." in ada.get(sent.location, **PAGE).text
        assert ada.post(sent.location, data=ADA, **PAGE).location == "/account/close"
        assert status(ada, "/keys/new", "POST", data={"name": "backup"}) == 200


def test_step_7_closes_an_account_everywhere(app_after: Build) -> None:
    app = app_after("step-up")
    ada, other, phone_of_ada = browser(app, ADA), browser(app, ADA), phone(app, ADA)
    assert status(ada, "/account/close", "POST") == 303
    assert status(ada, "/") == status(other, "/") == 302
    assert status(browser(app), "/api/notes", headers=phone_of_ada) == 401
    assert status(browser(app), "/login", "POST", data=ADA) == 401


def test_step_9_says_whether_the_store_answers(app_after: Build) -> None:
    app = app_after("redis")
    assert status(app.test_client(), "/ready") == 204


def test_step_10_makes_links_below_the_prefix_of_the_proxy(
    app_after: Build, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = app_after("deploy")
    settings = {
        "JAM_JWT_SECRET_KEY": SECRET,
        "FLASK_SQLALCHEMY_DATABASE_URI": app.config["SQLALCHEMY_DATABASE_URI"],
        "FLASK_SITE_URL": "https://shop.example",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    served = importlib.import_module("notebook.wsgi").app
    served.logger.setLevel("INFO")
    forwarded = {"Proto": "https", "Host": "shop.example", "Prefix": "/notebook"}
    headers = {f"X-Forwarded-{name}": value for name, value in forwarded.items()}
    page = served.test_client().post("/forgot", data={"email": BOB["email"]}, headers=headers)
    assert "a link is on its way" in page.text
    assert re.search(r"https://shop\.example/notebook/reset/\S+", caplog.text)
    with served.app_context():
        sys.modules["notebook.models"].db.engine.dispose()
