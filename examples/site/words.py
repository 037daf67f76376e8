"""What the templates say of a login, in words."""

from __future__ import annotations

from datetime import datetime, timezone

from flask import Flask, current_app

# The first that is found counts: every browser also names the ones that it descends from.
_BROWSERS = {
    "Edg": "Edge", "OPR/": "Opera", "FxiOS/": "Firefox", "Firefox/": "Firefox",
    "CriOS/": "Chrome", "Chrome/": "Chrome", "Safari/": "Safari",
}  # fmt: skip
_SYSTEMS = {
    "iPhone": "iPhone", "iPad": "iPad", "Android": "Android", "Windows": "Windows",
    "CrOS": "ChromeOS", "Mac OS X": "macOS", "Linux": "Linux",
}  # fmt: skip


def init_app(app: Flask) -> None:
    for word in (device, moment, ago):
        app.add_template_filter(word)


def device(user_agent: str | None) -> str:
    """``Firefox on Windows``; of anything that is no browser, the name that it gives itself."""
    text = user_agent or ""
    browser = next((name for mark, name in _BROWSERS.items() if mark in text), None)
    system = next((name for mark, name in _SYSTEMS.items() if mark in text), None)
    if browser is None:
        return text.partition(" ")[0][:40] or "Unknown device"
    return browser if system is None else f"{browser} on {system}"


def moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%d %b %Y, %H:%M} UTC"


def ago(seconds: float) -> str:
    minutes = int(current_app.extensions["jam"].clock() - seconds) // 60
    if minutes < 2:
        return "just now"
    if minutes < 120:
        return f"{minutes} minutes ago"
    return f"{minutes // 60} hours ago" if minutes < 2880 else f"{minutes // 1440} days ago"
