"""The links in mails of the site example: reset a password, confirm an e-mail address."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_jam import Jam, StoreUnavailable

from ..cases import each_case
from ..conftest import Clock
from .visitors import (
    IDS,
    SITE,
    app_is_in,
    browser,
    is_in,
    log_in,
    messages,
    phone_app,
    sent_to_login,
    signed_in,
)

WORDS = "three wise words"
FORM = {"password": WORDS, "again": WORDS}
ALICE = "alice@pantry.example"
SENT = "If this address belongs to an account, a link is on its way."


def mails(site: Flask) -> list[Any]:
    return list(site.extensions["outbox"])


def newest(site: Flask) -> str:
    """The path of the link in the newest mail."""
    link = str(mails(site)[0].link)
    assert link.startswith("http://localhost:5000/")
    return link.removeprefix("http://localhost:5000")


def forgot(site: Flask, address: str = ALICE) -> TestResponse:
    return browser(site).post("/forgot", data={"email": address})


def reset_link(site: Flask) -> str:
    assert forgot(site).status_code == 200
    return newest(site)


def confirm_link(client: FlaskClient, address: str) -> str:
    assert client.post("/account/email", data={"email": address}).status_code == 200
    return newest(client.application)


def email_of(site: Flask, name: str = "alice") -> str | None:
    return site.extensions["people"].get(IDS[name]).email  # type: ignore[no-any-return]


# --- reset a password --------------------------------------------------------------------------


def test_a_reset_sets_the_password_and_ends_every_login(site: Flask) -> None:
    thief, phone, bob = signed_in(site, "alice"), phone_app(site, "alice"), signed_in(site, "bob")
    link, client = reset_link(site), browser(site)
    for _ in range(3):  # a mail scanner opens it first
        assert browser(site).get(link).status_code == 200
    response = client.post(link, data=FORM)
    assert (response.status_code, response.location) == (303, "/login")
    page = client.get("/login")
    assert messages(page.text)[0].startswith("Your new password is set")
    assert not is_in(client), "it logs no user in"
    assert not is_in(thief)
    assert not app_is_in(site, phone)
    assert is_in(bob)
    form = {"name": "alice", "password": "wonderland"}
    assert client.post("/login", data=form).status_code == 401
    assert client.post("/login", data={**form, "password": WORDS}).status_code == 303
    for method in ("GET", "POST"):
        over = client.open(link, method=method, data=FORM)
        assert over.status_code == 410
        assert "This link is over" in over.text


def test_the_answer_does_not_tell_whether_an_address_is_known(site: Flask) -> None:
    site.extensions["people"].get(IDS["bob"]).is_closed = True
    addresses = (ALICE, " ALICE@pantry.example", "bob@pantry.example", "x@y.example", "", "\x00")
    answers = [forgot(site, address) for address in addresses]
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, answers[0].text)}
    assert SENT in answers[0].text
    assert [mail.to for mail in mails(site)] == [ALICE, ALICE]


def test_a_mistake_does_not_use_the_link_up(site: Flask) -> None:
    link, client = reset_link(site), browser(site)
    for form, text in (
        ({"password": "short", "again": "short"}, "at least 8 characters"),
        ({"password": "alice-2026", "again": "alice-2026"}, "easy to guess"),
        ({"password": WORDS, "again": "three wise worms"}, "not the same password"),
        ({}, "at least 8 characters"),
    ):
        response = client.post(link, data=form)
        assert response.status_code == 422
        assert text in response.text
    assert client.post(link, data=FORM).status_code == 303


@each_case(
    "end", ["an hour", "a newer link", "a reset", "a new address", "a closed account", "cut"]
)
def test_a_link_ends(site: Flask, site_jam: Jam, clock: Clock, end: str) -> None:
    link, people = reset_link(site), site.extensions["people"]
    {
        "an hour": lambda: clock.tick(3600),
        "a newer link": lambda: forgot(site),
        "a reset": lambda: people.set_password(people.get("1"), "changed elsewhere"),
        "a new address": lambda: people.set_email(people.get("1"), "alice@new.example"),
        "a closed account": lambda: people.close(people.get("1")),
        "cut": lambda: site_jam.revoke_subject("1"),
    }[end]()
    for method in ("GET", "POST"):
        assert browser(site).open(link, method=method, data=FORM).status_code == 410
    assert people.find("alice", WORDS) is None


def test_a_link_is_for_one_purpose(site: Flask) -> None:
    reset, client = reset_link(site), signed_in(site, "bob")
    confirm = confirm_link(client, "bob@new.example")
    for path in (f"/confirm/{reset[7:]}", f"/reset/{confirm[9:]}", "/reset/x", "/confirm/%00"):
        for method in ("GET", "POST"):
            assert client.open(path, method=method, data=FORM).status_code == 410
    assert email_of(site, "bob") == "bob@pantry.example"
    assert client.post(confirm).status_code == client.post(reset, data=FORM).status_code == 303


def test_the_host_of_a_request_is_in_no_mail(site: Flask) -> None:
    evil = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    browser(site).post("/forgot", data={"email": ALICE}, headers=evil)
    assert mails(site)[0].link.startswith("http://localhost:5000/reset/")


# --- confirm an e-mail address -----------------------------------------------------------------


def test_an_address_counts_once_it_is_confirmed(site: Flask) -> None:
    client = signed_in(site, "alice")
    assert sent_to_login(browser(site).get("/account/email"), "/account/email")
    wrong, right = (confirm_link(client, f"{name}@new.example") for name in ("typo", "Alice"))
    elsewhere = browser(site)  # the mail is read on another device
    page = elsewhere.get(right)
    assert "alice@new.example" in page.text
    assert "<strong>alice</strong>" in page.text
    assert email_of(site) == ALICE
    assert elsewhere.post(wrong).status_code == 410
    response = elsewhere.post(right)
    assert response.status_code == 303
    assert messages(elsewhere.get("/").text) == ["Your address is confirmed."]
    assert email_of(site) == "alice@new.example"
    assert elsewhere.post(right).status_code == 410
    assert not is_in(elsewhere)
    forgot(site, "alice@new.example")
    assert newest(site).startswith("/reset/")


def test_a_new_address_needs_a_recent_login_and_is_told_to_the_old_one(
    site: Flask, clock: Clock
) -> None:
    thief = signed_in(site, "alice")
    clock.tick(61)  # of a stolen session
    for method in ("GET", "POST"):
        answer = thief.open("/account/email", method=method, data={"email": "t@evil.example"})
        assert sent_to_login(answer, "/account/email")
    assert mails(site) == []
    confirm_link(signed_in(site, "alice"), "alice@new.example")
    assert [mail.to for mail in mails(site)] == ["alice@new.example", ALICE]
    assert mails(site)[1].link == "http://localhost:5000/logins/"


def test_an_address_of_another_account_is_not_taken_over(site: Flask) -> None:
    client = signed_in(site, "bob")
    link = confirm_link(client, ALICE)  # the answer does not tell that it is taken
    client.post(link)
    assert messages(client.get("/").text) == ["This address belongs to another account."]
    assert (email_of(site), email_of(site, "bob")) == (ALICE, "bob@pantry.example")


@each_case("address", ["", "x", "no address", "a@", "a@\x00b", "a@b\x07c", "@" * 255])
def test_what_is_no_address_gets_no_mail(site: Flask, address: str) -> None:
    response = signed_in(site, "bob").post("/account/email", data={"email": address})
    assert response.status_code == 422
    assert mails(site) == []


# --- both --------------------------------------------------------------------------------------


def test_pages_with_a_ticket_are_kept_by_no_cache_and_told_to_no_site(site: Flask) -> None:
    client = signed_in(site, "bob")
    confirm, reset = confirm_link(client, "a@b.example"), reset_link(site)
    answers = [client.open(path, method=method, data=form) for path in (confirm, reset, "/reset/x")
               for method, form in (("GET", None), ("POST", {}), ("POST", FORM))]  # fmt: skip
    assert {answer.status_code for answer in answers} == {200, 303, 410, 422}
    for answer in answers:
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert not re.search(r'(src|href|action)="https?:', answer.text)


@each_case("known", [True, False])
def test_mails_to_one_address_are_limited(create_site: Any, site_jam: Jam, known: bool) -> None:
    site = create_site({**SITE, "RATELIMIT_ENABLED": True}, site_jam)
    address = ALICE if known else "x@y.example"
    statuses = [forgot(site, address).status_code for _ in range(6)]
    assert statuses == [*[200] * 5, 429]
    assert len(mails(site)) == (5 if known else 0)
    assert forgot(site, "bob@pantry.example").status_code == 200


def test_only_a_debugging_site_shows_its_outbox(
    create_site: Any, site: Flask, site_jam: Jam, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = reset_link(site)
    assert browser(site).get("/outbox").status_code == 404
    assert link not in forgot(site).text
    monkeypatch.setenv("FLASK_DEBUG", "1")
    debugging = create_site(SITE, site_jam)
    assert "/outbox" in forgot(debugging).text
    assert mails(debugging)[0].link in browser(debugging).get("/outbox").text
    assert mails(debugging)[0].link not in repr(mails(debugging))


def test_while_the_store_is_down_a_link_is_neither_sent_nor_over(
    site: Flask, site_jam: Jam, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = reset_link(site)

    def is_down(*_arguments: Any, **_options: Any) -> None:
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        for verb in ("issue_ticket", "peek_ticket", "redeem_ticket"):
            patch.setattr(site_jam.store, verb, is_down)
        for answer in (browser(site).get(link), browser(site).post(link, data=FORM), forgot(site)):
            assert answer.status_code == 503
            assert "One moment, please" in answer.text
    assert len(mails(site)) == 1
    assert browser(site).post(link, data=FORM).status_code == 303


def test_a_user_without_an_address_can_add_one(site: Flask) -> None:
    client = browser(site)
    form = {"name": "carol", "password": WORDS, "again": WORDS}
    assert client.post("/register", data=form).status_code == 303
    assert "Add an e-mail address" in client.get("/dashboard").text
    client.post(confirm_link(client, "carol@pantry.example"))
    assert "Change your e-mail address" in client.get("/dashboard").text
    log_in(browser(site), "bob")
