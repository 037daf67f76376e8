"""Issuers: the rules that may be given, and the presets of providers."""

from __future__ import annotations

from flask_jam.issuers import PRESETS, from_table


def test_a_table_is_an_issuer() -> None:
    found = from_table({"preset": "okta", "domain": "example.okta.com", "leeway": 5})
    assert found.issuer == "https://example.okta.com/oauth2/default"
    assert found.leeway == 5
    assert "okta" in PRESETS
