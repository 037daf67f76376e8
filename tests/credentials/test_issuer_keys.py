"""The keys of an issuer: where they may come from, and how long they are believed."""

from __future__ import annotations

import pytest

from flask_jam._helpers.issuer_urls import as_key_url, discovery_urls

from ..cases import each_case

REFUSED = [
    "http://login.example.org/keys", "file:///etc/passwd", "data:application/json,{}",
    "ftp://h/k", "https://user:secret@h.example/k", "https://@h.example/k", "https:///k",
    "https://", "//h/k", "h.example", "https://h.example/k#f", "https://h.example/ k",
    "https://h.example\\@evil.example/", "https://h:99999/k", "http://127.0.0.1.example.org/k",
    "http://localhost.example.org/k", "http://0.0.0.0/k", "https://h.example/\n", "http://127.1/k",
    "https://bücher.example/k", "http://10.0.0.1/k", "HTTP://login.example.org/k", "", 5, None,
]  # fmt: skip


@each_case("url", REFUSED, ids=repr)
def test_a_url_that_is_not_https_or_of_this_machine_is_refused(url: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        as_key_url(url)


def test_a_url_is_read_into_what_a_request_needs() -> None:
    assert as_key_url("https://h.example/k?a=1") == ("https", "h.example", 443, "/k?a=1")
    assert as_key_url("http://127.0.0.1:8080") == ("http", "127.0.0.1", 8080, "/")
    assert as_key_url("http://[::1]/k").is_loopback
    assert as_key_url("http://localhost/k").is_loopback


def test_metadata_is_looked_for_in_three_places() -> None:
    assert discovery_urls("https://h.example/a/") == [
        "https://h.example/a/.well-known/openid-configuration",
        "https://h.example/.well-known/oauth-authorization-server/a",
        "https://h.example/.well-known/openid-configuration/a",
    ]
    assert len(discovery_urls("https://h.example")) == 2
