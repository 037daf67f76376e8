"""Fetch the keys of an issuer: one GET, no redirects, bounded in size and in time.

The client is ``http.client`` of the standard library: it follows no redirect, reads no proxy from
the environment, keeps no cookies and decompresses nothing. It bounds headers itself; body and total
time are bounded here.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from .._helpers.issuer_urls import KeyURL, as_key_url, discovery_urls
from .._helpers.strict_json import strict_object
from ..errors import TokenError
from .issuer import Issuer

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

#: Total time in seconds: metadata, keys, and a slow body.
DEADLINE = 5.0
MAX_BYTES = 512 * 1024
_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "Flask-Jam",
}
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=\"?([0-9]{1,9})(?![0-9])", re.IGNORECASE)


class FetchError(Exception):
    """A failed fetch. The message quotes nothing of the answer."""

    def __init__(self, sentence: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status


class FetchedJSON(NamedTuple):
    """A JSON object, and how long it may be cached."""

    document: dict[str, Any]
    #: ``max-age`` in seconds, or None if the answer has none.
    max_age: float | None
    url: str


def fetch_keys(
    rules: Issuer, known_url: str | None = None, within: float = DEADLINE
) -> FetchedJSON:
    """Fetch an issuer's JWK Set.

    :param known_url: the URL of the last fetch.
    :raises FetchError: if it cannot be fetched.
    """
    ends = time.monotonic() + within
    url = known_url or rules.jwks_uri or _discovered(rules, ends)
    return fetch_json(url, ends)


def _discovered(rules: Issuer, ends: float) -> str:
    """Return ``jwks_uri`` from an issuer's metadata."""
    metadata = _metadata(rules, ends)
    # OpenID Connect Discovery 4.3, RFC 8414 3.3: exactly, or it is another issuer's.
    if metadata.get("issuer") != rules.issuer:
        raise FetchError("the metadata is of another issuer")
    try:
        url = as_key_url(metadata.get("jwks_uri"))
    except ValueError:
        raise FetchError("jwks_uri of the metadata is no URL that may be fetched") from None
    if url.is_here and not as_key_url(rules.issuer).is_here:
        raise FetchError("jwks_uri of the metadata is an address of this machine")
    return str(metadata["jwks_uri"])


def _metadata(rules: Issuer, ends: float) -> Mapping[str, Any]:
    error = FetchError("the issuer publishes no metadata: write jwks_uri")
    for url in discovery_urls(rules.issuer):
        try:
            return fetch_json(url, ends).document
        except FetchError as failed:
            if failed.status is None or not 400 <= failed.status < 500:
                raise
            error = failed
    raise error


def fetch_json(url: str, ends: float) -> FetchedJSON:
    """Fetch a JSON object.

    :param ends: the deadline, by the monotonic clock.
    :raises FetchError: for any other answer, a redirect, or one that is too large or too late.
    """
    # Imported here, in the thread that fetches: an app without issuers pays nothing.
    from http.client import HTTPException  # noqa: PLC0415

    try:
        body, response = _answer(as_key_url(url), ends)
    except FetchError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        late = "no complete answer in time" if time.monotonic() >= ends else "no answer"
        raise FetchError(f"{late} ({type(error).__name__})") from None
    if time.monotonic() >= ends:
        raise FetchError("no complete answer in time")
    try:
        document = strict_object(body)
    except TokenError:
        raise FetchError("the answer is not a JSON object, or an ambiguous one") from None
    return FetchedJSON(document, _max_age(response), url)


def _answer(url: KeyURL, ends: float) -> tuple[bytes, HTTPResponse]:
    connection = _connected(url, ends)
    try:
        with _cut_at(ends, connection.sock):
            connection.request("GET", url.target, headers=_HEADERS)
            with contextlib.closing(connection.getresponse()) as response:
                _check_head(response)
                body = response.read(MAX_BYTES + 1)
    finally:
        connection.close()
    if len(body) > MAX_BYTES:
        raise FetchError(f"the answer is larger than {MAX_BYTES} bytes")
    return body, response


def _connected(url: KeyURL, ends: float) -> HTTPConnection:
    import ssl  # noqa: PLC0415
    from http.client import HTTPConnection, HTTPSConnection  # noqa: PLC0415

    left = max(ends - time.monotonic(), 0.01)
    connection = (
        HTTPConnection(url.host, url.port, timeout=left)
        if url.scheme == "http"
        else HTTPSConnection(url.host, url.port, timeout=left, context=ssl.create_default_context())
    )
    connection.connect()
    return connection


@contextlib.contextmanager
def _cut_at(ends: float, connected: socket.socket) -> Iterator[None]:
    """Cut the connection at the deadline: a socket's timeout restarts with each byte."""

    def cut() -> None:
        with contextlib.suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(ends - time.monotonic(), 0.0), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _check_head(response: HTTPResponse) -> None:
    if response.status != 200:
        what = "a redirect, which is not followed" if 300 <= response.status < 400 else "an error"
        raise FetchError(f"the answer is {response.status}: {what}", response.status)
    if response.getheader("Content-Encoding", "identity").lower() != "identity":
        raise FetchError("the answer is compressed, which was not asked for")
    # Keys are served with various types, but never as a page, which is a captive portal's.
    if response.getheader("Content-Type", "").lower().startswith("text/html"):
        raise FetchError("the answer is an HTML page")


def _max_age(response: HTTPResponse) -> float | None:
    match = _MAX_AGE.search(response.getheader("Cache-Control") or "")
    return float(match[1]) if match else None
