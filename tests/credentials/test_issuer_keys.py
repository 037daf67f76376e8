"""The keys of an issuer: where they may come from, and how long they are believed."""

from __future__ import annotations

import gc
import gzip
import json
import logging
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from flask_jam._credentials import issuer_keys, key_fetch
from flask_jam._credentials.issuer_keys import FetchedKeys
from flask_jam._credentials.key_fetch import FetchedJSON, FetchError, fetch_json, fetch_keys
from flask_jam._helpers.issuer_urls import as_key_url, discovery_urls
from flask_jam.errors import IssuerUnavailable, Reason, TokenError
from flask_jam.issuers import Issuer

from ..cases import each_case
from ..conftest import Clock
from ..providers import Answer, Provider, running
from ..test_keys import jwk_of, key_of, oct_of, pem_of

KEY = jwk_of("RSA2048", kid="a")
OTHER = jwk_of("P-256", kid="b")
HEADER = {"alg": "RS256", "kid": "a"}


def wait_until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.005)


# --- URLs -----------------------------------------------------------------------------

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


def refresh(keys: FetchedKeys, clock: Clock) -> None:
    """Let the thread of the keys fetch them again."""
    attempts = keys._attempts
    clock.tick(500)
    keys._wake.set()
    wait_until(lambda: keys._attempts > attempts)


# --- one fetch ------------------------------------------------------------------------


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running(KEY) as provider:
        yield provider


def fetched(provider: Provider, within: float = 5.0) -> FetchedJSON:
    return fetch_json(provider.jwks_uri, time.monotonic() + within)


def endless() -> Iterator[bytes]:
    while True:
        yield b" " * 65536


HTML = (("Content-Type", "text/html; charset=utf-8"),)
GZIP = (("Content-Encoding", "gzip"),)
BAD_ANSWERS: dict[str, tuple[Answer, str]] = {
    "a page": (Answer(b"<html>log in</html>", headers=HTML), "HTML"),
    "a captive portal that shows the keys in a page": (Answer({"keys": [KEY]}, 200, HTML), "HTML"),
    "a page under the name of JSON": (Answer(b"<html>"), "not a JSON object"),
    "a list": (Answer([KEY]), "not a JSON object"),
    "nothing": (Answer(b""), "not a JSON object"),
    "a member that is there twice": (Answer(b'{"keys": [], "keys": []}'), "ambiguous"),
    "a number that is none": (Answer(b'{"keys": NaN}'), "not a JSON object"),
    "UTF-16": (Answer(json.dumps({"keys": []}).encode("utf-16")), "not a JSON object"),
    "deep nesting": (Answer(b'{"keys":' + b"[" * 99_999 + b"]" * 99_999 + b"}"), "not a JSON"),
    "more than 512 KiB": (Answer(b" " * 600_000), "larger than"),
    "a body without an end": (Answer(endless()), "larger than"),
    "a body that ends too early": (Answer(b'{"keys": [', length=1000), "not a JSON object"),
    "a bomb": (Answer(gzip.compress(b" " * 10_000_000), 200, GZIP), "compressed"),
    "no content": (Answer(b"", 204), "204"),
    "only a part": (Answer({"keys": [KEY]}, 206), "206"),
    "an error": (Answer({"keys": [KEY]}, 500), "500"),
    "too many headers": (Answer({}, 200, (("X", "y"),) * 200), "no answer"),
    "a header without an end": (Answer({}, 200, (("X", "y" * 100_000),)), "no answer"),
}  # fmt: skip


@each_case("what", BAD_ANSWERS)
def test_an_answer_that_is_no_json_object_is_refused(what: str, provider: Provider) -> None:
    answer, sentence = BAD_ANSWERS[what]
    provider.answers["/keys"] = answer
    with pytest.raises(FetchError, match=sentence):
        fetched(provider)


@each_case("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int, provider: Provider) -> None:
    provider.answers["/keys"] = Answer({}, status, (("Location", f"{provider.url}/elsewhere"),))
    with pytest.raises(FetchError, match="not followed"):
        fetched(provider)
    assert provider.asked == ["/keys"]


def test_keys_may_come_under_another_type_with_a_max_age(provider: Provider) -> None:
    for value, expected in [("public, max-age=900", 900), ('max-age="60"', 60), ("no-store", None),
                            ("s-maxage=5", None), ("max-age=-1", None), ("max-age=1e9", 1),
                            ("max-age=99999999999", None)]:  # fmt: skip
        headers = (("Content-Type", "text/plain"), ("Cache-Control", value))
        provider.answers["/keys"] = Answer({"keys": [KEY]}, 200, headers)
        assert fetched(provider)[:2] == ({"keys": [KEY]}, expected), value


@contextmanager
def speaking(*pieces: bytes, certificate: Path | None = None) -> Iterator[str]:
    """Run a server that says the first piece, then the others again and again, slowly."""
    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stopped = threading.Event()

        def serve() -> None:
            connection, _ = listening.accept()
            with tls.wrap_socket(connection, server_side=True) if tls else connection as connection:
                try:
                    connection.sendall(pieces[0])
                    while not stopped.wait(0.02):
                        connection.sendall(b"".join(pieces[1:]))
                except OSError:
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"{'https' if tls else 'http'}://localhost:{listening.getsockname()[1]}/keys"
        finally:
            stopped.set()
            thread.join()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
DRIPS = {
    "silence": (b"", b""),
    "a status line": (b"HTTP/1.1 ", b" "),
    "a header": (HEAD + b"X: ", b"y"),
    "one header after the other": (HEAD, b"X: y\r\n"),
    "a body": (HEAD + b"Content-Length: 9999\r\n\r\n", b" "),
    "pieces of a body": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "the size of a piece": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "to be continued": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.slow
@each_case("what", DRIPS)
def test_a_fetch_ends_at_its_deadline_however_slow_the_answer(what: str) -> None:
    with speaking(*DRIPS[what]) as url:
        began = time.monotonic()
        with pytest.raises(FetchError, match="in time|no answer"):
            fetch_json(url, began + 0.5)
        assert time.monotonic() - began < 3


def test_a_certificate_counts_only_if_this_machine_trusts_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate = write_certificate(tmp_path)
    with running(KEY, certificate=certificate) as provider:
        url = provider.url.replace("127.0.0.1", "localhost") + "/keys"
        with pytest.raises(FetchError, match="CertVerification"):
            fetch_json(url, time.monotonic() + 5)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert fetch_json(url, time.monotonic() + 5).document == {"keys": [KEY]}
        with pytest.raises(FetchError, match="CertVerification"):
            fetch_json(provider.url + "/keys", time.monotonic() + 5)  # of another name
        assert provider.asked == ["/keys"]


def write_certificate(folder: Path) -> Path:
    """Write a certificate for localhost and its key into one file."""
    key, name = key_of("P-256"), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    signed = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    path = folder / "certificate.pem"
    path.write_text(signed.public_bytes(Encoding.PEM).decode() + pem_of(key).private)
    return path


@pytest.mark.slow
def test_a_deadline_holds_for_tls_and_for_its_handshake(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate = write_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    for pieces, served in [
        (DRIPS["a body"], certificate),
        (DRIPS["a header"], certificate),
        ((b"", b""), None),
        ((b"\x16\x03\x03\x3f\xff", b"\x02"), None),
    ]:
        with speaking(*pieces, certificate=served) as url:
            began = time.monotonic()
            with pytest.raises(FetchError, match="in time|no answer"):
                fetch_json(url.replace("http:", "https:"), began + 0.5)
            assert time.monotonic() - began < 3


# --- discovery ------------------------------------------------------------------------


def discovered(provider: Provider, path: str = "") -> Any:
    return fetch_keys(Issuer(provider.url + path, audience="api")).document


def test_the_keys_are_found_through_the_metadata(provider: Provider) -> None:
    assert discovered(provider) == {"keys": [KEY]}
    assert provider.asked == ["/.well-known/openid-configuration", "/keys"]


def test_the_other_places_of_metadata_are_asked_after_a_4xx_only(provider: Provider) -> None:
    metadata = {"issuer": f"{provider.url}/realm", "jwks_uri": provider.jwks_uri}
    last = "/.well-known/openid-configuration/realm"
    provider.answers[last] = Answer(metadata)
    assert discovered(provider, "/realm") == {"keys": [KEY]}
    assert len(provider.asked) == 4
    provider.answers["/realm/.well-known/openid-configuration"] = Answer({}, 503)
    provider.asked.clear()
    with pytest.raises(FetchError, match="503"):
        discovered(provider, "/realm")
    assert len(provider.asked) == 1
    with pytest.raises(FetchError, match="404"):
        discovered(provider, "/another")


CHANGES = (lambda url: f"{url}/", lambda url: url.upper(), lambda url: f"{url}#",
           lambda _: None, lambda url: [url], lambda _: "https://evil.example")  # fmt: skip


@each_case("change", CHANGES)
def test_metadata_of_another_issuer_is_refused(change: Any, provider: Provider) -> None:
    metadata = {"issuer": change(provider.url), "jwks_uri": provider.jwks_uri}
    provider.answers["/.well-known/openid-configuration"] = Answer(metadata)
    with pytest.raises(FetchError, match="another issuer"):
        discovered(provider)
    assert "/keys" not in provider.asked


@each_case("url", ["http://login.example.org/keys", "file:///etc/passwd", None, 5, ["x"], ""])
def test_a_url_of_the_metadata_obeys_the_same_rules(url: Any, provider: Provider) -> None:
    metadata = {"issuer": provider.url, "jwks_uri": url}
    provider.answers["/.well-known/openid-configuration"] = Answer(metadata)
    with pytest.raises(FetchError, match="no URL that may be fetched"):
        discovered(provider)


def test_metadata_of_elsewhere_never_points_to_this_machine(
    monkeypatch: pytest.MonkeyPatch, provider: Provider
) -> None:
    other_spellings = (
        "127.1", "2130706433", "0x7f.1", "0.0.0.0", "[::]", "[::1]", "[::ffff:127.0.0.1]",
        "localhost.", "keys.LOCALHOST",
    )  # fmt: skip
    for url in (provider.jwks_uri, *(f"https://{host}/keys" for host in other_spellings)):
        metadata = {"issuer": "https://login.example.org", "jwks_uri": url}
        found = FetchedJSON(metadata, None, "")
        with monkeypatch.context() as patch:
            patch.setattr(key_fetch, "fetch_json", lambda *_, found=found: found)
            with pytest.raises(FetchError, match="this machine"):
                fetch_keys(Issuer("https://login.example.org", audience="api"))
    assert provider.asked == []
    assert not as_key_url("https://localhost.example.org/keys").is_here


# --- keys kept fresh ------------------------------------------------------------------


class Source:
    """What a fetch gives, in place of a provider: a set, or an error."""

    def __init__(self, *members: Any) -> None:
        self.members: list[Any] = list(members)
        self.max_age: float | None = None
        self.error: Exception | None = None
        self.urls: list[str | None] = []

    def __call__(self, _rules: Issuer, url: str | None) -> FetchedJSON:
        self.urls.append(url)
        if self.error is not None:
            raise self.error
        return FetchedJSON({"keys": self.members}, self.max_age, "https://keys.example/")


def keys_of(source: Any, clock: Clock, **rules: Any) -> FetchedKeys:
    return FetchedKeys(Issuer("https://login.example.org", audience="api", **rules), source, clock)


@each_case(("max_age", "fresh"), [(None, 600), (0, 300), (900, 900), (86400, 3600)])
def test_a_set_is_fetched_again_before_it_is_no_longer_fresh(
    max_age: float | None, fresh: float, clock: Clock
) -> None:
    source = Source(KEY)
    source.max_age = max_age
    keys = keys_of(source, clock)
    assert keys.work() == pytest.approx(0.8 * fresh)
    clock.tick(0.8 * fresh - 1)
    assert keys.work() == pytest.approx(1)
    assert source.urls == [None]
    clock.tick(1)
    keys.work()
    assert source.urls == [None, None]  # the metadata is read again: keys may have moved


def test_a_set_that_did_not_change_keeps_its_ring_in_any_order(clock: Clock) -> None:
    source = Source(KEY, OTHER)
    keys = keys_of(source, clock, algorithms=["RS256", "ES256"])
    keys.work()
    ring = keys.ring
    source.members.reverse()
    clock.tick(600)
    keys.work()
    assert keys.ring is ring
    source.members.pop()
    clock.tick(600)
    keys.work()
    assert keys.ring is not ring


NO_SETS: dict[str, Any] = {
    "an error": FetchError("no answer"),
    "a defect of ours": ZeroDivisionError("secret"),
    "no keys": [],
    "nothing usable": [oct_of(b"x" * 64, alg="HS256"), {"kty": "XYZ"}, "key", None],
    "too many keys": [KEY] * 10_000,
    "no list": "keys",
}


@each_case("what", NO_SETS)
def test_an_old_set_stays_for_a_day_whatever_is_fetched(
    what: str, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    source = Source(KEY)
    keys = keys_of(source, clock)
    keys.work()
    ring = keys.ring
    failed = NO_SETS[what]
    if isinstance(failed, Exception):
        source.error = failed
    else:
        source.members = failed
    clock.tick(86_000)
    keys.work()
    assert keys.ring is ring
    assert keys.state().failures == 1
    assert "the former ones stay in use" in caplog.text
    assert "secret" not in caplog.text
    clock.tick(401)
    keys.work()
    assert keys.ring is None
    with pytest.raises(IssuerUnavailable) as caught:
        keys.find(HEADER)
    assert caught.value.reason is Reason.UNAVAILABLE
    keys.close()


def test_after_failures_the_time_to_the_next_attempt_grows_to_a_minute(clock: Clock) -> None:
    source = Source()
    source.error = FetchError("no answer")
    keys = keys_of(source, clock)
    for expected in (1, 2, 4, 8, 16, 32, 60, 60):
        wait = keys.work()
        assert wait is not None
        assert 0.7 * expected <= wait <= expected
        clock.tick(0.7 * wait)
        keys.work()
        clock.tick(expected)
    assert len(source.urls) == 8
    source.error, source.members = None, [KEY]
    keys.work()
    assert keys.state()[1:] == (("a",), 0.0, 0, None)


def test_odd_members_drop_out_and_the_others_verify(clock: Clock) -> None:
    odd = [oct_of(b"x" * 64, alg="HS256", kid="s"), {"kty": "XYZ"}, None, "key", {**KEY, "kid": 5},
           jwk_of("RSA1024", kid="small"), {**OTHER, "use": "enc"},
           jwk_of("RSA2048", private=True, kid="p")]  # fmt: skip
    keys = keys_of(Source(*odd, KEY), clock)
    keys.work()
    assert keys.state().kids == ("p", "a")
    assert keys.ring is not None
    assert keys.ring.find({"alg": "HS256", "kid": "s"}) is None
    found = keys.ring.find({"alg": "RS256", "kid": "p"})
    assert found is not None
    assert found.private is None


# --- a request that needs keys ---------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issuer_keys, "PATIENCE", 0.1)


def test_the_first_request_waits_for_the_keys(provider: Provider) -> None:
    keys = FetchedKeys(Issuer(provider.url, audience="api"))
    assert provider.asked == []
    key, ring = keys.find(HEADER)
    assert key.kid == "a"
    assert ring is keys.ring
    assert keys.state().url == provider.jwks_uri
    keys.close()


@pytest.mark.usefixtures("impatient")
def test_a_provider_that_hangs_from_the_start_is_unavailable(provider: Provider) -> None:
    provider.answers["/keys"] = provider.held
    keys = FetchedKeys(Issuer("urn:x", audience="api", jwks_uri=provider.jwks_uri))
    with pytest.raises(IssuerUnavailable):
        keys.find(HEADER)
    provider.released.set()
    wait_until(lambda: keys.ring is not None)
    assert keys.find(HEADER)[0].kid == "a"
    assert provider.asked == ["/keys"]
    keys.close()


@each_case("kid", ["a", "unknown"])
def test_requests_wait_two_seconds_for_an_attempt_and_not_two_each(kid: str, clock: Clock) -> None:
    source, released = Source(KEY), threading.Event()

    def fetch(rules: Issuer, url: str | None) -> FetchedJSON:
        if kid == "a" or source.urls:  # hang from the start, or once there are keys
            released.wait()
        return source(rules, url)

    keys = keys_of(fetch, clock)
    if kid == "unknown":
        keys.find(HEADER)
    waited: list[float] = []

    def wait_for(_is_over: Any, seconds: float) -> bool:
        waited.append(seconds)
        return False

    keys._changed.wait_for = wait_for  # type: ignore[method-assign, assignment]
    for passed in (0, 1.5, 60):
        clock.tick(passed)
        with pytest.raises(IssuerUnavailable):
            keys.find({**HEADER, "kid": kid})
        wait_until(lambda: keys._is_fetching)
    assert waited == [2, 0.5, 0]
    released.set()
    keys.close()


def test_in_an_outage_no_request_waits_for_a_kid_also_while_it_is_tried(clock: Clock) -> None:
    source = Source(KEY)
    keys = keys_of(source, clock)
    keys.work()
    source.error = FetchError("no answer")
    clock.tick(500)
    keys.work()
    keys.find(HEADER)
    keys._is_fetching = True  # as long as the provider hangs
    keys._changed.wait_for = None  # type: ignore[method-assign, assignment]
    with pytest.raises(TokenError):
        keys.find({"alg": "RS256", "kid": "unknown"})
    keys.close()


def test_where_no_thread_can_be_started_keys_are_unavailable_until_one_can(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    keys = keys_of(Source(KEY), clock)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(IssuerUnavailable):
            keys.find(HEADER)
    assert keys.find(HEADER)[0].kid == "a"
    keys.close()


def test_after_a_failed_attempt_no_request_waits(clock: Clock) -> None:
    source = Source()
    source.error = FetchError("no answer")
    keys = keys_of(source, clock)
    keys.work()
    keys.close()  # no thread: a request that waited would wait in vain
    for _ in range(100):
        with pytest.raises(IssuerUnavailable):
            keys.find(HEADER)


def test_an_unknown_kid_is_fetched_for_once_in_30_seconds(clock: Clock) -> None:
    source = Source(KEY)
    keys = keys_of(source, clock)
    keys.find(HEADER)
    source.members.append(OTHER | {"kid": "new", "alg": "ES256"})
    for number in range(50):
        with pytest.raises(TokenError) as caught:
            keys.find({"alg": "RS256", "kid": f"k{number}"})
        assert caught.value.reason is Reason.INVALID
    assert source.urls == [None, "https://keys.example/"]
    source.members.append(jwk_of("RSA2048", number=1, kid="newer"))
    with pytest.raises(TokenError):
        keys.find({"alg": "RS256", "kid": "newer"})
    clock.tick(30)
    assert keys.find({"alg": "RS256", "kid": "newer"})[0].kid == "newer"
    assert len(source.urls) == 3
    keys.close()


@pytest.mark.usefixtures("impatient")
def test_a_kid_that_could_not_be_asked_for_is_unavailable_and_not_unknown(
    clock: Clock, provider: Provider
) -> None:
    source = Source(KEY)
    failing = keys_of(source, clock)
    hanging = FetchedKeys(Issuer("urn:x", audience="api", jwks_uri=provider.jwks_uri))
    for keys in (failing, hanging):
        keys.find(HEADER)
    source.error = FetchError("no answer")
    provider.answers["/keys"] = provider.held
    for keys in (failing, hanging):
        with pytest.raises(IssuerUnavailable):
            keys.find({"alg": "RS256", "kid": "unknown"})
    provider.released.set()
    for keys in (failing, hanging):
        keys.close()


def test_without_a_kid_or_during_an_outage_nothing_is_fetched(clock: Clock) -> None:
    two = Source(KEY, jwk_of("RSA2048", number=1, kid="c"))
    failing = Source(KEY)
    no_names: list[dict[str, Any]] = [{}, {"kid": None}, {"kid": 5}, {"kid": ["a"]}]
    for source, header in [*((two, each) for each in no_names), (failing, {"kid": "unknown"})]:
        keys = keys_of(source, clock)
        keys.work()
        if source is failing:
            source.error = FetchError("no answer")
            clock.tick(500)
            keys.work()
        before = len(source.urls)
        with pytest.raises(TokenError):
            keys.find({"alg": "RS256", **header})
        assert len(source.urls) == before
        keys.close()


def test_few_requests_wait_for_a_kid_and_the_others_retry(provider: Provider) -> None:
    keys = FetchedKeys(Issuer("urn:x", audience="api", jwks_uri=provider.jwks_uri))
    keys.find(HEADER)
    provider.answers["/keys"] = provider.held
    outcomes: list[type[Exception]] = []

    def ask() -> None:
        try:
            keys.find({"alg": "RS256", "kid": "unknown"})
        except Exception as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=ask) for _ in range(issuer_keys.MOST_WAITING)]
    for thread in threads:
        thread.start()
    wait_until(lambda: keys._waiting == len(threads))
    ask()
    assert outcomes == [IssuerUnavailable]  # at once, while the others wait
    assert keys.find(HEADER)[0].kid == "a"
    provider.released.set()
    for thread in threads:
        thread.join()
    assert outcomes[1:] == [TokenError] * len(threads)
    assert provider.asked == ["/keys", "/keys"]
    keys.close()


def test_the_thread_ends_with_close_and_with_its_owner(provider: Provider) -> None:
    threads = []
    for end in (FetchedKeys.close, None):
        keys = FetchedKeys(Issuer("urn:x", audience="api", jwks_uri=provider.jwks_uri))
        keys.find(HEADER)
        thread = keys._thread
        assert thread is not None
        assert thread.daemon
        threads.append(thread)
        if end is not None:
            end(keys)
        gone = weakref.ref(keys)
        del keys
    gc.collect()
    assert gone() is None
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


def test_a_handler_of_the_log_that_fails_does_not_end_the_thread(clock: Clock) -> None:
    class Failing(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise RuntimeError(record)

    source = Source()
    source.error = FetchError("no answer")
    keys = keys_of(source, clock)
    failing = Failing()
    issuer_keys._log.addFilter(failing)
    try:
        assert keys.work() is not None
    finally:
        issuer_keys._log.removeFilter(failing)


def test_a_forked_child_has_the_keys_and_a_thread_of_its_own(clock: Clock) -> None:
    source = Source(KEY)
    keys = keys_of(source, clock)
    ring = keys.find(HEADER)[1]
    parents = keys._thread
    keys.after_fork()  # what a child calls; there is no other thread there
    assert keys.ring is None
    assert keys.find(HEADER)[1] is ring
    assert keys.ring is ring
    assert keys._thread not in (None, parents)
    keys.close()


def test_keys_that_a_child_inherits_after_a_day_are_not_used(clock: Clock) -> None:
    source = Source(KEY)
    keys = keys_of(source, clock)
    keys.work()
    clock.tick(86_401)
    source.error = FetchError("no answer")
    keys.after_fork()
    with pytest.raises(IssuerUnavailable):
        keys.find(HEADER)
    keys.close()
