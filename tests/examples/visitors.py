"""Visitors of the site example: a browser each, and an app on a phone."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

ROOT = Path(__file__).parents[2]
SITE = {"TESTING": True, "RATELIMIT_ENABLED": False, "SESSION_COOKIE_SECURE": False}
PASSWORDS = {"alice": "wonderland", "bob": "builder"}
IDS = {"alice": "1", "bob": "2"}
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)
EDGE = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0"
)
APP = "PantryApp/2.1 (Android 15)"
FROM_ELSEWHERE = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}


def browser(app: Flask, agent: str = FIREFOX) -> FlaskClient:
    """Return a client that asks for pages as a browser does when its user follows a link."""
    client = app.test_client()
    client.environ_base |= {
        "HTTP_ACCEPT": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "HTTP_USER_AGENT": agent,
        "HTTP_SEC_FETCH_MODE": "navigate",
        "HTTP_SEC_FETCH_SITE": "same-origin",
    }
    return client


def log_in(
    client: FlaskClient, name: str, url: str = "/login", *, remember: bool = False
) -> TestResponse:
    box = {"remember": "on"} if remember else {}
    response = client.post(url, data={"name": name, "password": PASSWORDS[name], **box})
    assert response.status_code == 303
    return response


def signed_in(
    app: Flask, name: str, agent: str = FIREFOX, *, remember: bool = False
) -> FlaskClient:
    client = browser(app, agent)
    log_in(client, name, remember=remember)
    return client


def phone_app(app: Flask, name: str) -> dict[str, str]:
    """Log the app on a phone in; return its token pair."""
    form = {"name": name, "password": PASSWORDS[name]}
    response = app.test_client().post("/api/login", data=form, headers={"User-Agent": APP})
    assert response.status_code == 200
    return dict(response.json or {})


def app_is_in(app: Flask, pair: dict[str, str]) -> bool:
    headers = {"Authorization": f"Bearer {pair['access_token']}"}
    return app.test_client().get("/api/recipes", headers=headers).status_code == 200


def sent_to_login(response: TestResponse, next_path: str | None = None) -> bool:
    """Return True for a redirect to the form that leads back to ``next_path``."""
    url = urlsplit(response.location or "")
    back = parse_qs(url.query).get("next")
    return (
        response.status_code in (302, 303)
        and url.path == "/login"
        and back == (next_path and [next_path])
    )


def is_in(client: FlaskClient) -> bool:
    return client.get("/dashboard").status_code == 200


def ending_buttons(client: FlaskClient) -> list[str]:
    """Return where the buttons post to that end one other login each."""
    return re.findall(r'action="(/logins/[^"]+/end)"', client.get("/logins/").text)


def messages(page: str) -> list[str]:
    """Return the messages that a page shows."""
    (region,) = re.findall(r'<div role="status">(.*?)</div>', page, re.DOTALL)
    return re.findall(r'<p class="message">(.*?)</p>', region)


def cookie_line(response: TestResponse, name: str = "site_session") -> str:
    """Return the last ``Set-Cookie`` of a name."""
    lines = response.headers.getlist("Set-Cookie")
    return [line for line in lines if line.startswith(f"{name}=")][-1]
