import re

from flask_jam.testing import assert_all_protected, assert_refused, frozen_time

ADA, BOB = "1", "2"
PAGE = {"Accept": "text/html"}


def test_every_route_has_a_guard_or_is_public(app):
    assert_all_protected(app)


def test_visitors_are_sent_to_the_login_page_and_back(jam_client):
    answer = jam_client.get("/keys/", headers=PAGE)
    assert (answer.status_code, answer.location) == (302, "/login?next=/keys/")
    form = {"email": "Ada@example.org", "password": "correct horse"}
    assert jam_client.post(answer.location, data=form).location == "/keys/"


def test_users_see_their_own_notes(jam_client):
    jam_client.login(BOB)
    assert [note["text"] for note in jam_client.get("/api/notes").json] == [
        "A note of bob@example.org"
    ]


def test_only_admins_see_the_users(jam_client):
    jam_client.login(BOB, scheme="session")
    assert_refused(jam_client.get("/users/"), "insufficient_role")
    jam_client.login(ADA, scheme="session")
    assert jam_client.get("/users/").status_code == 200


def test_a_key_reads_and_does_not_write(jam_client):
    jam_client.login(ADA, scheme="api_key", scopes={"notes:read"})
    assert jam_client.get("/api/notes").status_code == 200
    assert jam_client.post("/api/notes", json={"text": "No"}).status_code == 401


def test_a_new_key_needs_a_recent_login(app, jam_client):
    with frozen_time(app) as clock:
        jam_client.login(ADA, scheme="session")
        assert jam_client.get("/keys/new").status_code == 200
        clock.tick(301)
        assert_refused(jam_client.get("/keys/new"), "stale")


def test_a_reset_ends_every_login(app, jam_client, caplog):
    app.logger.setLevel("INFO")
    jam_client.login(BOB)
    jam_client.post("/forgot", data={"email": "bob@example.org"})
    link = re.search(r"http://localhost:5000(/reset/\S+)", caplog.text)[1]
    assert jam_client.get(link).status_code == 200
    assert jam_client.post(link, data={"password": "a new one"}).status_code == 303
    assert_refused(jam_client.get("/api/notes"), "revoked")
    assert jam_client.get(link).status_code == 410
