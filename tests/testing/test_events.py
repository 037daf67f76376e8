"""``capture``: what one app sends, while it is asked for, and nothing else."""

from __future__ import annotations

import pytest
from blinker import Signal
from flask import Flask, current_app

from flask_jam import ConfigError, Jam, Reason, signals
from flask_jam.testing import JamClient, capture
from flask_jam.testing.events import SIGNALS, every_signal

from ..conftest import build_app


def test_it_gives_what_was_sent_in_order_with_its_arguments(client: JamClient) -> None:
    with capture(signals.rejected, client.application) as heard:
        client.get("/jwt")
        client.login("alice")
        client.get("/jwt")
        client.get("/admin")
    assert [(one.endpoint, one.reason) for one in heard] == [
        ("jwt", Reason.MISSING), ("admin", "insufficient_role"),
    ]  # fmt: skip
    names = {"scheme", "reason", "source", "endpoint", "fingerprint", "subject", "issuer"}
    assert set(vars(heard[1])) == names
    assert [one.subject for one in heard] == [None, "alice"]
    with pytest.raises(AttributeError, match="raison"):
        assert heard[0].raison


def test_before_and_after_it_hears_nothing(client: JamClient) -> None:
    client.get("/jwt")
    with capture(signals.rejected, client.application) as heard:
        assert heard == []
    client.get("/jwt")
    assert heard == []


def test_it_hears_that_app_only_and_that_signal_only(app: Flask, jam: Jam) -> None:
    other = build_app(jam)
    other.testing = True
    with capture(signals.rejected, app) as heard, capture(signals.revoked, app) as revoked:
        JamClient(other).get("/jwt")
        jam.revoke_subject("alice")
    assert heard == []
    said = {"kind": "subject", "subject": "alice", "issuer": None}
    assert [vars(one) for one in revoked] == [said]


def test_two_at_once_hear_the_same(client: JamClient) -> None:
    app = client.application
    with capture(signals.rejected, app) as outer:
        with capture(signals.rejected, app) as inner:
            client.get("/jwt")
        client.get("/session")
    assert (len(outer), len(inner)) == (2, 1)


def test_current_app_is_the_app(client: JamClient) -> None:
    with client.application.app_context(), capture(signals.rejected, current_app) as heard:
        client.get("/jwt")
    assert len(heard) == 1


def test_an_error_inside_leaves_nobody_listening(app: Flask) -> None:
    before = {name: len(signal.receivers) for name, signal in SIGNALS.items()}
    with pytest.raises(ZeroDivisionError), capture(signals.rejected, app), every_signal(app):
        raise ZeroDivisionError
    assert {name: len(signal.receivers) for name, signal in SIGNALS.items()} == before


def test_every_signal_of_the_page_is_heard_by_its_name(client: JamClient, jam: Jam) -> None:
    with every_signal(client.application) as heard:
        pair = client.post("/login/alice").json
        client.post("/refresh", json={"refresh_token": pair["refresh_token"]})
        client.get("/jwt")
        jam.revoke_token(pair["refresh_token"])
        client.post("/session-login/alice")
        client.post("/session-logout")
    names = [name for name, _ in heard]
    assert names == ["logged_in", "refreshed", "rejected", "revoked", "logged_in", "revoked",
                     "logged_out"]  # fmt: skip
    assert heard[-1][1] == {"scheme": "session", "subject": "alice", "issuer": None}
    assert set(SIGNALS) == {*names, "reuse_detected", "login_failed"}


def test_an_app_that_is_not_being_tested_is_not_listened_to(app: Flask) -> None:
    app.testing = False
    for listen in (capture(signals.rejected, app), every_signal(app)):
        with pytest.raises(ConfigError, match=r"app\.testing = True"):
            listen.__enter__()


def test_what_is_no_signal_is_told(app: Flask) -> None:
    for wrong in ("rejected", signals, Signal()):
        with pytest.raises(ConfigError, match=r"such as signals\.rejected"):
            capture(wrong, app).__enter__()  # type: ignore[arg-type]
