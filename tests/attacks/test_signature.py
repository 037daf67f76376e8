"""Algorithms, signatures and keys: A01 to A43.

Every attacked app first takes a token that the same forge made without the flaw, so what is
refused is refused for the flaw.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import inspect
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x448, x25519
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from flask import Flask

from flask_jam import ConfigError, Jam, JWTExtension, Reason, TokenError, jwt_required
from flask_jam.jws import verify_jws
from flask_jam.keys import KeyRing
from flask_jam.settings import ALGORITHMS

from ..cases import each_case
from ..conftest import SECRET, Clock
from . import forge
from .forge import (
    DROP,
    FAMILIES,
    NAMES,
    PRIVATE_SHAPES,
    PUBLIC_SHAPES,
    Signer,
    b64,
    claims,
    compact,
    ec_order,
    ec_signature,
    ec_width,
    hmac_token,
    private_pem,
    public_jwk,
    public_pem,
    raw_json,
    raw_rsa,
    rsa_key,
    shaped,
    signer,
    unb64,
)
from .victim import INVALID, Victim, check_refusal

Attack = Callable[[Signer], str]
Target = Callable[..., Victim]


def resigned(own: Signer, change: Callable[[bytes], bytes]) -> str:
    """A good token of the app, its signature changed."""
    head, _, signature = own.token().rpartition(".")
    return f"{head}.{b64(change(unb64(signature)))}"


def named_or_not(own: Signer) -> Iterable[Signer]:
    """An attacker copies the ``kid`` of a token seen before, or leaves it out."""
    return own, own.nameless


# --- the algorithm that the header asks for -------------------------------------------


def unsecured(alg: Any, signature: bytes = b"") -> Attack:
    return lambda own: compact(own.header(alg=alg), claims(), signature)


def with_alg(alg: Any, name: str | None = None) -> Attack:
    """``alg`` in the header of a token that the app's own key signed, by another algorithm."""

    def attack(own: Signer) -> str:
        text = f"{b64(raw_json(own.header(alg=alg)))}.{b64(raw_json(claims()))}"
        return f"{text}.{b64(forge.sign(name or own.name, own.key, text.encode()))}"

    return attack


def cut(own: Signer) -> str:
    return own.token().rpartition(".")[0]


FOREIGN = [(own, other) for own in FAMILIES for other in FAMILIES if own != other]
SWAPS = [
    (own, own[:2] + bits)
    for own in NAMES
    if own[:2] in {"HS", "RS", "PS"}
    for bits in ("256", "384", "512")
    if own[2:] != bits
]


@each_case(
    ("name", "attack"),
    [
        *[pytest.param(n, unsecured("none"), id=f"A01-alg-none-{n}") for n in FAMILIES],
        *[
            pytest.param(n, unsecured(alg), id=f"A02-alg-{alg.strip()}-{n}-{len(alg)}")
            for n in FAMILIES
            for alg in ("None", "NONE", "nOnE", "none ", " none")
        ],
        *[
            pytest.param(n, unsecured("none", b"\xa5" * 64), id=f"A03-none-with-garbage-{n}")
            for n in FAMILIES
        ],
        *[
            pytest.param(n, lambda own: cut(own) + ".", id=f"A04-null-signature-{n}")
            for n in FAMILIES
        ],
        *[pytest.param(n, cut, id=f"A05-no-signature-part-{n}") for n in FAMILIES],
        *[
            pytest.param(own, lambda _own, other=other: signer(other).token(),
                         id=f"A11-{own}-key-sees-{other}")
            for own, other in FOREIGN
        ],
        *[
            # The app's own key bytes, used as the other family would: HMAC over what is public.
            pytest.param(own, lambda own_: hmac_token(shaped(own_.name, "pem"), kid=own_.kid),
                         id=f"A11-{own}-key-as-secret")
            for own in FAMILIES if own != "HS256"
        ],
        *[
            pytest.param(n, with_alg([signer_alg]), id=f"A13-alg-list-{n}")
            for n, signer_alg in [("HS256", "HS256"), ("RS256", "RS256"), ("Ed25519", "EdDSA")]
        ],
        *[
            pytest.param("HS256", with_alg(alg, "HS256"), id=f"A14-alg-{label}")
            for label, alg in {
                "missing": DROP, "null": None, "empty": "", "int": 1, "true": True, "object": {},
                "array": [], "float": 256.0, "nested": {"alg": "HS256"},
            }.items()
        ],
        *[
            pytest.param(n, with_alg(alg), id=f"A15-alg-spelt-{index}-{n}")
            for n in ("HS256", "RS256", "ES256")
            for index, alg in enumerate(
                (n.lower(), n.title(), n + " ", " " + n, n + "\n", n + "\0", n[:2] + "-" + n[2:])
            )
        ],
        *[
            pytest.param(n, with_alg(alg), id=f"A16-unregistered-{alg}-{n}")
            for n in ("HS256", "RS256", "ES512", "Ed25519")
            for alg in ("HS1", "RS1", "ES521", "HS2048", "ES256K", "SHA256", "MD5", "dir", "A128KW")
        ],
        pytest.param("RS256", with_alg("PS256", "PS256"), id="A17-rs-key-sees-PS256"),
        pytest.param("PS256", with_alg("RS256", "RS256"), id="A17-ps-key-sees-RS256"),
        pytest.param("RS256", with_alg("RS256", "PS256"), id="A17-RS256-in-name-only"),
        pytest.param("PS256", with_alg("PS256", "RS256"), id="A17-PS256-in-name-only"),
        pytest.param("RS512", with_alg("PS512", "PS512"), id="A17-rs512-key-sees-PS512"),
        *[
            pytest.param(own, with_alg(other, other), id=f"A18-{own}-key-sees-{other}")
            for own, other in SWAPS
        ],
        *[
            pytest.param(own, with_alg(own, other), id=f"A18-{own}-signed-as-{other}")
            for own, other in SWAPS
        ],
        *[
            pytest.param(f"ES{a}", with_alg(f"ES{b}"), id=f"A18-ES{a}-key-named-ES{b}")
            for a in (256, 384, 512) for b in (256, 384, 512) if a != b
        ],
    ],
)  # fmt: skip
def test_the_algorithm_is_the_keys_and_never_the_headers(
    victim: Target, name: str, attack: Attack
) -> None:
    target = victim(name)
    target.accepts(target.signer.token())
    for own in named_or_not(target.signer):
        target.refuses(attack(own))


@each_case("name", NAMES)
def test_the_forge_makes_tokens_that_every_algorithm_accepts(victim: Target, name: str) -> None:
    target = victim(name)
    assert target.accepts(target.signer.nameless.token()) == claims()
    target.refuses(signer(name, "stranger").token(kid=target.signer.kid))


# --- damaged signatures ---------------------------------------------------------------


def flipped(signature: bytes, at: int) -> bytes:
    damaged = bytearray(signature)
    damaged[at] ^= 0x01
    return bytes(damaged)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "four-bytes-short": lambda s: s[:-4],
    "first-byte": lambda s: flipped(s, 0),
    "middle-byte": lambda s: flipped(s, len(s) // 2),
    "last-byte": lambda s: flipped(s, -1),
    "zeros": lambda s: bytes(len(s)),
    "ones": lambda s: b"\xff" * len(s),
    "random": lambda s: os.urandom(len(s)),
    "half": lambda s: s[: len(s) // 2],
    "one-byte": lambda s: s[:1],
    "twice": lambda s: s + s,
    "reversed": lambda s: s[::-1],
}


@each_case(
    ("name", "damage"),
    [
        pytest.param(name, change, id=f"A06-{label}-{name}")
        for name in ("HS256", "HS512", "RS256", "PS256", "ES256", "ES512", "Ed25519", "Ed448")
        for label, change in DAMAGE.items()
    ],
)
def test_a_damaged_signature_is_refused(
    victim: Target, name: str, damage: Callable[[bytes], bytes]
) -> None:
    target = victim(name)
    target.accepts(target.signer.token())
    target.refuses(resigned(target.signer, damage))


TAMPERED: dict[str, Attack] = {
    "payload": lambda own: _with_part(own.token(), 1, raw_json(claims(sub="mallory"))),
    "header": lambda own: _with_part(own.token(), 0, raw_json(own.header(x=1))),
    "white-space": lambda own: _with_part(own.token(), 1, raw_json(claims()) + b" "),
    "signature-of-another": lambda own: (
        own.token(claims(sub="mallory")).rpartition(".")[0] + "." + own.token().rpartition(".")[2]
    ),
    "parts-swapped": lambda own: "{1}.{0}.{2}".format(*own.token().split(".")),
}


def _with_part(token: str, part: int, raw: bytes) -> str:
    segments = token.split(".")
    segments[part] = b64(raw)
    return ".".join(segments)


@each_case(
    ("name", "attack"),
    [
        pytest.param(n, attack, id=f"A06-tampered-{label}-{n}")
        for n in FAMILIES
        for label, attack in TAMPERED.items()
    ],
)
def test_a_signature_does_not_hold_for_anything_else(
    victim: Target, name: str, attack: Attack
) -> None:
    target = victim(name)
    target.accepts(target.signer.token())
    target.refuses(attack(target.signer))


@each_case("name", [pytest.param(n, id=f"A06-four-letters-short-{n}") for n in NAMES])
def test_a_signature_that_lost_its_last_letters_is_refused(victim: Target, name: str) -> None:
    target = victim(name)
    token = target.signer.token()
    target.accepts(token)
    target.refuses(token[:-4])


_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@each_case(
    ("name", "part"),
    [
        # Those whose last letter has bits to spare: 32, 64 and 256 bytes are no multiple of 3.
        *[
            pytest.param(n, 2, id=f"A07-spare-bits-of-the-signature-{n}")
            for n in ("HS256", "HS512", "RS256", "PS256", "ES256", "Ed25519")
        ],
        pytest.param("HS256", 0, id="A07-spare-bits-of-the-header"),
        pytest.param("HS256", 1, id="A07-spare-bits-of-the-payload"),
    ],
)
def test_a_segment_has_one_spelling(victim: Target, name: str, part: int) -> None:
    own = victim(name).signer
    header, payload = raw_json(own.header()), raw_json(claims())
    # White space after an object is no flaw, and leaves spare bits at the end of the segment.
    header += b" " * (-(len(header) - 1) % 3)
    payload += b" " * (-(len(payload) - 1) % 3)
    token = own.seal(header, payload)
    victim(name).accepts(token)
    segments = token.split(".")
    last = _ALPHABET.index(segments[part][-1])
    segments[part] = segments[part][:-1] + _ALPHABET[last | 1]
    twisted = ".".join(segments)
    if part < 2:
        twisted = own.sealed(".".join(segments[:2]))
    assert twisted != token
    assert [unb64(s) for s in twisted.split(".")[:part]] == [
        unb64(s) for s in token.split(".")[:part]
    ]
    assert unb64(segments[part]) == unb64(token.split(".")[part])
    victim(name).refuses(twisted)


# --- empty, public and published secrets ----------------------------------------------


@each_case(
    ("name", "secret"),
    [
        *[pytest.param(n, b"", id=f"A08-signed-with-nothing-{n}") for n in FAMILIES],
        *[pytest.param("HS256", s, id=f"A08-signed-with-{label}") for label, s in {
            "nul": b"\0", "space": b" ", "none": b"None", "null": b"null", "secret": b"secret",
            "quotes": b'""', "undefined": b"undefined", "zeros": bytes(32),
        }.items()],
        *[
            pytest.param(name, shaped_secret, id=f"{code}-hmac-over-{shape}-{name}")
            for name in ("RS256", "ES256", "Ed25519")
            for shape in PUBLIC_SHAPES
            for code in ("A09" if "pem" in shape and "x509" not in shape else "A10",)
            for shaped_secret in (lambda name=name, shape=shape: shaped(name, shape),)
        ],
    ],
)  # fmt: skip
def test_a_signature_by_what_everybody_knows_is_refused(
    victim: Target, name: str, secret: bytes | Callable[[], bytes]
) -> None:
    target = victim(name)
    target.accepts(target.signer.token())
    known = secret if isinstance(secret, bytes) else secret()
    for header in (
        {"alg": "HS256"},
        {"alg": "HS256", "kid": target.signer.kid},
        {"alg": target.signer.alg, "kid": target.signer.kid},
    ):
        text = f"{b64(raw_json({'typ': 'JWT', **header}))}.{b64(raw_json(claims()))}"
        mac = hmac.new(known, text.encode(), "sha256").digest()
        target.refuses(f"{text}.{b64(mac)}")


def settings_refused(jwt: dict[str, Any], sentence: str) -> None:
    """Does not start; the sentence says what is wrong and quotes no key."""
    with pytest.raises(ConfigError, match=sentence) as caught:
        Jam({"jwt": jwt})
    assert_nothing_told(caught.value, jwt)


def assert_nothing_told(error: BaseException, *keys: Any) -> None:
    """Neither the error nor what it came from quotes a key: both get into logs."""
    told = ""
    seen: BaseException | None = error
    while seen is not None:
        told += f"{seen!s} {seen!r}"
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    for text in _texts(keys):
        assert text not in told


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, dict):
        yield from (text for inner in value.values() for text in _texts(inner))
    elif isinstance(value, (list, tuple)):
        yield from (text for inner in value for text in _texts(inner))
    elif isinstance(value, str):
        yield from (line for line in value.splitlines() if len(line) > 15 and "---" not in line)


@each_case(
    ("jwt", "sentence"),
    [
        pytest.param({"secret_key": ""}, "empty", id="A08-empty-secret"),
        pytest.param({"secret_key": b""}, "empty", id="A08-empty-bytes"),
        pytest.param({"secret_key": SECRET, "secret_key_fallbacks": [""]}, "empty",
                     id="A08-empty-fallback"),
        pytest.param({"secret_key": SECRET, "secret_key_fallbacks": [b""]}, "empty",
                     id="A08-empty-bytes-fallback"),
        pytest.param({"alg": "HS256,RS256", "secret_key": SECRET}, "alg.*one of",
                     id="A12-algs-with-comma"),
        pytest.param({"alg": "HS256 RS256", "secret_key": SECRET}, "alg.*one of",
                     id="A12-algs-with-space"),
        pytest.param({"alg": "HS256S", "secret_key": SECRET}, "alg.*HS256", id="A12-superstring"),
        pytest.param({"alg": "256", "secret_key": SECRET}, "alg.*one of", id="A12-substring"),
        pytest.param({"algorithms": "HS256", "secret_key": SECRET}, "not a setting",
                     id="A12-algorithms-as-text"),
        pytest.param({"algorithms": ["HS256"], "secret_key": SECRET}, "not a setting",
                     id="A12-algorithms-as-list"),
        pytest.param({"alg": ["HS256"], "secret_key": SECRET}, "alg.*one of", id="A12-alg-list"),
        pytest.param({"alg": {"HS256"}, "secret_key": SECRET}, "alg.*one of", id="A13-alg-set"),
        pytest.param({"alg": ("HS256", "RS256"), "secret_key": SECRET}, "alg.*one of",
                     id="A13-alg-tuple"),
        *[
            pytest.param({"alg": alg, "secret_key": SECRET}, "alg.*one of", id=f"A16-config-{alg}")
            for alg in ("none", "NONE", "HS1", "RS1", "ES521", "HS2048", "hs256", "HS256 ",
                        "ES256K", "dir", "RSA-OAEP")
        ],
        *[
            pytest.param({"alg": alg, "secret_key": SECRET}, "alg", id=f"A16-config-{label}")
            for label, alg in {"empty": "", "int": 256, "false": False}.items()
        ],
        *[
            pytest.param({"secret_key": secret}, "bytes and HS256 needs 32",
                         id=f"A31-short-{secret}")
            for secret in ("secret", "password", "your-256-bit-secret", "changeme", "jwt_secret",
                           "super-secret", "mysecretkey", "dev", "key")
        ],
        *[
            pytest.param({"alg": alg, "secret_key": secret}, "manuals", id=f"A31-published-{label}")
            for label, (alg, secret) in {
                # What the debugger at jwt.io starts with.
                "jwt-io-256": ("HS256", "a-string-secret-at-least-256-bits-long"),
                "jwt-io-384": ("HS384", "a-valid-string-secret-that-is-at-least-384-bits-long"),
                "jwt-io-512": (
                    "HS512",
                    "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
                ),
                # Flask's own documentation of SECRET_KEY, and FastAPI's of JWTs: both are pasted.
                "flask": (
                    "HS256", "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf"
                ),
                "fastapi": (
                    "HS256", "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7"
                ),
                # RFC 7515 A.1.1, as text and as the bytes that it stands for.
                "rfc7515-text": (
                    "HS256",
                    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1"
                    "Z9CAow",
                ),
                "rfc7515-bytes": (
                    "HS256",
                    unb64("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuT"
                          "wjAzZr1Z9CAow"),
                ),
            }.items()
        ],
        *[
            pytest.param({"alg": alg, "secret_key": ("k3y-" * 16)[: size - 1]},
                         f"{size - 1} bytes and {alg} needs {size}", id=f"A30-secret-below-{alg}")
            for alg, size in {"HS256": 32, "HS384": 48, "HS512": 64}.items()
        ],
        pytest.param({"secret_key": SECRET, "secret_key_fallbacks": [SECRET[:31]]},
                     "31 bytes and HS256 needs 32", id="A30-fallback"),
        pytest.param({"alg": "RS256", "secret_key": SECRET}, "signs with a private key",
                     id="A19-secret-for-RS256"),
        pytest.param({"alg": "ES256", "secret_key_fallbacks": [SECRET]},
                     "signs with a private key", id="A19-fallback-for-ES256"),
    ],
)  # fmt: skip
def test_an_app_with_an_unsafe_key_or_algorithm_does_not_start(
    jwt: dict[str, Any], sentence: str
) -> None:
    settings_refused(jwt, sentence)


def test_A08_an_empty_secret_in_the_environment_is_no_reason_to_make_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JAM_JWT_SECRET_KEY", "")
    with pytest.raises(ConfigError, match="empty"):
        Jam()


@each_case(
    ("name", "shape"),
    [
        pytest.param(name, shape, id=f"A10-{shape}-as-secret-{name}")
        for name in ("RS256", "ES256", "ES512", "Ed25519")
        for shape in (*PUBLIC_SHAPES, *PRIVATE_SHAPES)
    ],
)
def test_a_key_of_a_pair_is_no_secret(name: str, shape: str) -> None:
    found = shaped(name, shape)
    for jwt in ({"secret_key": found}, {"secret_key": SECRET, "secret_key_fallbacks": [found]}):
        settings_refused(jwt, "public or private key")


@pytest.mark.parametrize("name", ["RS256", "ES256", "Ed25519"])
def test_A19_one_app_never_takes_a_secret_and_a_key_pair(name: str) -> None:
    own = signer(name)
    for pem in ({"public_key": public_pem(own.public)}, {"private_key": private_pem(own.key)}):
        settings_refused({"alg": "HS256", "secret_key": SECRET, **pem}, "remove the PEM keys")
        settings_refused({"alg": own.alg, "secret_key": SECRET, **pem}, "remove jwt.secret_key")
    jwks = {"keys": [public_jwk(own.public), public_jwk(SECRET.encode())]}
    keys = KeyRing.from_jwks(jwks)
    assert [alg for alg in ALGORITHMS if keys.find({"alg": alg})] == [own.alg]


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
def test_A30_a_secret_as_long_as_the_hash_is_enough(alg: str) -> None:
    size = int(alg[2:]) // 8
    jam = Jam({"jwt": {"alg": alg, "secret_key": bytes(range(1, size + 1))}})
    assert jam.verify_jwt_token(jam.gen_jwt_token({"sub": "alice"}))["sub"] == "alice"


@each_case(
    "secret",
    [
        pytest.param("a" * 32, id="A32-one-letter"),
        pytest.param(bytes(32), id="A32-zeros"),
        pytest.param("0123456" * 10, id="A32-seven-letters"),
        pytest.param("ab" * 40, id="A32-two-letters"),
    ],
)
def test_a_monotonous_secret_is_warned_of(
    caplog: pytest.LogCaptureFixture, secret: str | bytes
) -> None:
    Jam({"jwt": {"secret_key": secret}})
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "easy to guess" in record.message
    assert (secret if isinstance(secret, str) else secret.decode()) not in record.message


def test_A32_a_random_secret_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    Jam({"jwt": {"secret_key": os.urandom(64)}})
    assert caplog.records == []


def test_A33_flasks_own_secret_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    app = Flask("shares_its_secret")
    app.config["SECRET_KEY"] = SECRET
    JWTExtension(Jam({"jwt": {"secret_key": SECRET}}), app)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "SECRET_KEY" in record.message
    assert SECRET not in record.message


def test_A33_each_purpose_has_a_key_of_its_own(victim: Target) -> None:
    target = victim(fresh=True)
    ring = KeyRing.from_settings(target.jam.settings.jwt)
    assert len({SECRET.encode(), *ring.derive("refresh token"), *ring.derive("another")}) == 3
    pair = target.jam.issue_tokens("alice")
    said, _, mac = pair["refresh_token"].rpartition(".")
    # Whoever may mint access tokens with the secret itself may not mint refresh tokens with it.
    naive = b64(hmac.new(SECRET.encode(), said.encode(), hashlib.sha256).digest())
    assert naive != mac
    target.refuses(f"{said}.{naive}")
    response = target.client.post("/refresh", json={"refresh_token": f"{said}.{naive}"})
    check_refusal(response, INVALID)
    target.refuses(pair["refresh_token"])
    # The family is as alive as before: a guess is no replay.
    answer = target.client.post("/refresh", json={"refresh_token": pair["refresh_token"]})
    assert answer.status_code == 200


# --- ECDSA ----------------------------------------------------------------------------

EC_NAMES = ("ES256", "ES384", "ES512")


def numbers_of(name: str, signature: bytes) -> tuple[int, int]:
    width = ec_width(name)
    return int.from_bytes(signature[:width], "big"), int.from_bytes(signature[width:], "big")


def as_der(name: str) -> Callable[[bytes], bytes]:
    return lambda signature: encode_dss_signature(*numbers_of(name, signature))


def special(name: str) -> dict[str, int]:
    n, width = ec_order(name), ec_width(name)
    return {"0": 0, "1": 1, "n-1": n - 1, "n": n, "n+1": n + 1, "max": 2 ** (8 * width) - 1}


def raw_pair(name: str, r: int, s: int) -> Callable[[bytes], bytes]:
    return lambda _signature: ec_signature(name, r, s)


def mixed(name: str, at: int, value: int) -> Callable[[bytes], bytes]:
    def change(signature: bytes) -> bytes:
        pair = list(numbers_of(name, signature))
        pair[at] = value
        return ec_signature(name, *pair)

    return change


def widened(name: str, before: int, after: int) -> Callable[[bytes], bytes]:
    """Each number in a field that is wider than the curve's."""

    def change(signature: bytes) -> bytes:
        width = ec_width(name)
        halves = signature[:width], signature[width:]
        return b"".join(bytes(before) + half + bytes(after) for half in halves)

    return change


EC_LENGTHS: dict[str, Callable[[str], Callable[[bytes], bytes]]] = {
    "zero-behind": lambda _name: lambda s: s + b"\0",
    "zeros-behind": lambda _name: lambda s: s + bytes(len(s)),
    "zero-before": lambda _name: lambda s: b"\0" + s,
    "one-short": lambda _name: lambda s: s[:-1],
    "one-short-in-front": lambda _name: lambda s: s[1:],
    "two-short": lambda _name: lambda s: s[:-2],
    "only-r": lambda name: lambda s: s[: ec_width(name)],
    "wide-fields": lambda name: widened(name, 1, 0),
    "zeros-in-fields": lambda name: widened(name, 0, 1),
    "huge": lambda name: widened(name, 0, 1000),
    "huge-and-zero": lambda name: widened(name, 1000, 0),
    "empty-numbers": lambda _name: lambda _s: bytes(1),
    "swapped": lambda name: lambda s: s[ec_width(name) :] + s[: ec_width(name)],
}


def beyond_the_order(signature: bytes) -> bytes:
    # P-521 has 7 bits to spare in its fields, so a number and its sum with n both fit.
    r, s = numbers_of("ES512", signature)
    return ec_signature("ES512", r + ec_order("ES512"), s + ec_order("ES512"))


@each_case(
    ("name", "change"),
    [
        *[pytest.param(n, as_der(n), id=f"A20-der-{n}") for n in EC_NAMES],
        *[
            pytest.param(n, raw_pair(n, r, s), id=f"A21-r-{rn}-s-{sn}-{n}")
            for n in EC_NAMES
            for rn, r in special(n).items()
            for sn, s in special(n).items()
            if n == "ES256" or rn == sn
        ],
        *[
            pytest.param("ES256", mixed("ES256", at, value), id=f"A21-{'rs'[at]}-is-{label}")
            for at in (0, 1)
            for label, value in special("ES256").items()
        ],
        pytest.param("ES512", beyond_the_order, id="A21-both-plus-n"),
        *[
            pytest.param(n, change(n), id=f"A22-{label}-{n}")
            for n in EC_NAMES
            for label, change in EC_LENGTHS.items()
        ],
    ],
)
def test_an_ecdsa_signature_has_one_form(
    victim: Target, name: str, change: Callable[[bytes], bytes]
) -> None:
    target = victim(name)
    target.accepts(target.signer.token())
    target.refuses(resigned(target.signer, change))


@each_case("name", EC_NAMES)
@each_case("revoked_first", [True, False])
def test_A23_the_twin_of_an_ecdsa_signature_shares_its_revocation(
    victim: Target, name: str, revoked_first: bool
) -> None:
    target = victim(name, fresh=True)
    token = target.jam.gen_jwt_token({"sub": "alice"})
    head, _, signature = token.rpartition(".")
    r, s = numbers_of(name, unb64(signature))
    twin = f"{head}.{b64(ec_signature(name, r, ec_order(name) - s))}"
    assert twin != token
    assert target.accepts(twin) == target.accepts(token)
    target.jam.revoke_token(token if revoked_first else twin)
    for spelling in (token, twin):
        target.refuses(spelling, reason="revoked")
    # Nor does a cold cache make a difference.
    target.jam.verifier.cache_clear()
    for spelling in (token, twin):
        target.refuses(spelling, reason="revoked")


# --- RSA ------------------------------------------------------------------------------


def pkcs1_signed(encode: Callable[[bytes, int], bytes]) -> Attack:
    """A token whose signature is the private operation on a padding of our own making."""

    def attack(own: Signer) -> str:
        text = f"{b64(raw_json(own.header()))}.{b64(raw_json(claims()))}"
        encoded = encode(text.encode(), forge.rsa_width(own.key))
        return f"{text}.{b64(raw_rsa(own.key, encoded))}"

    return attack


def der_variants() -> dict[str, Callable[[bytes], bytes]]:
    """DigestInfos that a lenient parser takes for the right one."""
    der, oid = forge.der, forge.OID
    sha256 = lambda m: hashlib.sha256(m).digest()  # noqa: E731
    name, null = der(0x06, oid["sha256"]), der(0x05, b"")

    def info(algorithm: bytes, digest: bytes, tail: bytes = b"") -> bytes:
        return der(0x30, algorithm + der(0x04, digest) + tail)

    return {
        "no-null": lambda m: info(der(0x30, name), sha256(m)),
        "null-twice": lambda m: info(der(0x30, name + null + null), sha256(m)),
        "null-with-content": lambda m: info(der(0x30, name + der(0x05, b"\0")), sha256(m)),
        "null-is-a-string": lambda m: info(der(0x30, name + der(0x04, b"")), sha256(m)),
        "null-is-a-sequence": lambda m: info(der(0x30, name + der(0x30, b"")), sha256(m)),
        "garbage-parameters": lambda m: info(der(0x30, name + der(0x04, bytes(16))), sha256(m)),
        "long-length-outside": lambda m: der(
            0x30, der(0x30, name + null) + der(0x04, sha256(m)), long_form=True
        ),
        "long-length-algorithm": lambda m: info(
            der(0x30, name + null, long_form=True), sha256(m)
        ),
        "long-length-oid": lambda m: info(
            der(0x30, der(0x06, oid["sha256"], long_form=True) + null), sha256(m)
        ),
        "long-length-null": lambda m: info(
            der(0x30, name + der(0x05, b"", long_form=True)), sha256(m)
        ),
        "long-length-digest": lambda m: der(
            0x30, der(0x30, name + null) + der(0x04, sha256(m), long_form=True)
        ),
        "indefinite-length": lambda m: b"\x30\x80"
        + der(0x30, name + null) + der(0x04, sha256(m)) + b"\0\0",
        "garbage-inside": lambda m: info(der(0x30, name + null), sha256(m), der(0x04, bytes(8))),
        "bit-string-digest": lambda m: der(
            0x30, der(0x30, name + null) + der(0x03, b"\0" + sha256(m))
        ),
        "short-digest": lambda m: info(der(0x30, name + null), sha256(m)[:31]),
        "long-digest": lambda m: info(der(0x30, name + null), sha256(m) + b"\0"),
        "empty-digest": lambda _m: info(der(0x30, name + null), b""),
        "zero-digest": lambda _m: info(der(0x30, name + null), bytes(32)),
        "set-not-sequence": lambda m: der(0x31, der(0x30, name + null) + der(0x04, sha256(m))),
        "no-algorithm": lambda m: der(0x30, der(0x04, sha256(m))),
        "digest-alone": sha256,
        "digest-as-string": lambda m: der(0x04, sha256(m)),
        "nothing": lambda _m: b"",
        "digest-twice": lambda m: der(0x30, der(0x30, name + null) + der(0x04, sha256(sha256(m)))),
        **{
            f"other-hash-{other}": lambda m, other=other: forge.digest_info(m, other)
            for other in ("md5", "sha1", "sha224", "sha384", "sha512")
        },
        **{
            # The right digest under another hash's name.
            f"named-{other}": lambda m, other=other: info(
                der(0x30, der(0x06, oid[other]) + null), sha256(m)
            )
            for other in ("md5", "sha1", "sha384", "sha512", "rsaEncryption")
        },
    }  # fmt: skip


def padded(**how: Any) -> Callable[[bytes, int], bytes]:
    return lambda message, width: forge.pkcs1(forge.digest_info(message), width, **how)


def short_padding(ones: int, *, behind: bool) -> Callable[[bytes, int], bytes]:
    """Bleichenbacher's forgery of 2006: few FFs, and room for what nobody looks at."""

    def encode(message: bytes, width: int) -> bytes:
        core = b"\x00\x01" + b"\xff" * ones + b"\x00"
        info = forge.digest_info(message)
        garbage = b"\xa5" * (width - len(core) - len(info))
        return core + info + garbage if behind else core + garbage + info

    return encode


def with_digest_info(info: Callable[[bytes], bytes]) -> Callable[[bytes, int], bytes]:
    return lambda message, width: forge.pkcs1(info(message), width)


PKCS1: dict[str, Callable[[bytes, int], bytes]] = {
    "block-type-0": padded(start=b"\x00\x00", fill=b"\x00"),
    "block-type-0-with-ones": padded(start=b"\x00\x00"),
    "block-type-2": padded(start=b"\x00\x02"),
    "block-type-2-random": padded(start=b"\x00\x02", fill=b"\x5a"),
    "block-type-3": padded(start=b"\x00\x03"),
    "starts-with-1": padded(start=b"\x01\x01"),
    "no-zero-in-front": padded(start=b"\x01"),
    "two-zeros-in-front": padded(start=b"\x00\x00\x01"),
    "no-separator": padded(separator=b""),
    "separator-ff": padded(separator=b"\xff"),
    "separator-01": padded(separator=b"\x01"),
    "two-separators": padded(separator=b"\x00\x00"),
    "fill-fe": padded(fill=b"\xfe"),
    "fill-00": padded(fill=b"\x00"),
    "fill-7f": padded(fill=b"\x7f"),
    "last-fill-byte": padded(separator=b"\xfe\x00"),
    "zero-in-fill": padded(start=b"\x00\x01\xff\xff\x00"),
    "garbage-behind": padded(tail=b"\xa5" * 8),
    "zero-behind": padded(tail=b"\x00"),
    "zeros-behind": padded(tail=bytes(16)),
    "no-ones-garbage-behind": short_padding(0, behind=True),
    "8-ones-garbage-behind": short_padding(8, behind=True),
    "8-ones-garbage-between": short_padding(8, behind=False),
    "100-ones-garbage-behind": short_padding(100, behind=True),
    **{f"info-{label}": with_digest_info(info) for label, info in der_variants().items()},
}


def rsa_numbers(change: Callable[[int, int], int]) -> Callable[[Signer], str]:
    """The signature as a number: outside of 0..n-1, or one that everybody knows."""

    def attack(own: Signer) -> str:
        n, width = own.public.public_numbers().n, forge.rsa_width(own.key)
        return resigned(
            own,
            lambda s: change(int.from_bytes(s, "big"), n).to_bytes(width, "big"),
        )

    return attack


def plus_n(own: Signer) -> str:
    """The same number modulo n, in the same width."""
    n, width = own.public.public_numbers().n, forge.rsa_width(own.key)
    for attempt in range(200):
        head, _, signature = own.token(claims(jti=f"attempt-{attempt}")).rpartition(".")
        number = int.from_bytes(unb64(signature), "big") + n
        if number.bit_length() <= 8 * width:
            return f"{head}.{b64(number.to_bytes(width, 'big'))}"
    raise AssertionError("no signature leaves room")


RSA_NUMBERS: dict[str, Attack] = {
    "signature-0": rsa_numbers(lambda _s, _n: 0),
    "signature-1": rsa_numbers(lambda _s, _n: 1),
    "signature-2": rsa_numbers(lambda _s, _n: 2),
    "signature-n-1": rsa_numbers(lambda _s, n: n - 1),
    "signature-n": rsa_numbers(lambda _s, n: n),
    "signature-negated": rsa_numbers(lambda s, n: n - s),
    "signature-plus-n": plus_n,
    "leading-zero": lambda own: resigned(own, lambda s: b"\0" + s),
    "trailing-zero": lambda own: resigned(own, lambda s: s + b"\0"),
    "one-short": lambda own: resigned(own, lambda s: s[:-1]),
    "twice-as-long": lambda own: resigned(own, lambda s: bytes(len(s)) + s),
}


def leading_zero_dropped(own: Signer) -> str:
    """A signature that begins with a zero byte, without it: the same number, one byte less."""
    for attempt in range(5000):
        head, _, signature = own.token(claims(jti=f"attempt-{attempt}")).rpartition(".")
        raw = unb64(signature)
        if raw[0] == 0:
            return f"{head}.{b64(raw[1:])}"
    raise AssertionError("no signature begins with zero")


def pss_signed(**how: Any) -> Attack:
    """EMSA-PSS with a flaw, under the private operation of the app's own key."""

    def attack(own: Signer) -> str:
        text = f"{b64(raw_json(own.header()))}.{b64(raw_json(claims()))}"
        hash_name = f"sha{own.name[2:]}"
        encoded = forge.pss(text.encode(), own.key.key_size, **{"hash_name": hash_name, **how})
        return f"{text}.{b64(raw_rsa(own.key, encoded))}"

    return attack


PSS: dict[str, Attack] = {
    **{f"salt-{size}": pss_signed(salt=bytes(size)) for size in (0, 1, 20, 31, 33, 64, 222)},
    **{f"hash-{name}": pss_signed(hash_name=name) for name in ("sha1", "sha224", "sha384")},
    "hash-sha512": pss_signed(hash_name="sha512", salt=bytes(32)),
    "hash-sha512-salt-64": pss_signed(hash_name="sha512"),
    **{f"mgf-{name}": pss_signed(mgf_hash=name) for name in ("sha1", "sha224", "sha384", "sha512")},
    **{f"trailer-{byte:02x}": pss_signed(trailer=bytes((byte,))) for byte in (0, 0xBB, 0xCC, 0xFF)},
    "trailer-iso": pss_signed(trailer=b"\x34\xcc"),
    "trailer-twice": pss_signed(trailer=b"\xbc\xbc"),
    "padding-not-zero": pss_signed(zero=1),
    "padding-ff": pss_signed(zero=0xFF),
    "separator-0": pss_signed(one=0),
    "separator-2": pss_signed(one=2),
    "separator-81": pss_signed(one=0x81),
    "leading-zero": lambda own: resigned(own, lambda s: b"\0" + s),
    "trailing-zero": lambda own: resigned(own, lambda s: s + b"\0"),
    "one-short": lambda own: resigned(own, lambda s: s[:-1]),
    "signature-0": rsa_numbers(lambda _s, _n: 0),
    "signature-1": rsa_numbers(lambda _s, _n: 1),
    "signature-n-1": rsa_numbers(lambda _s, n: n - 1),
    "signature-n": rsa_numbers(lambda _s, n: n),
    "signature-plus-n": plus_n,
}


@each_case(
    ("name", "attack"),
    [
        *[
            pytest.param("RS256", pkcs1_signed(encode), id=f"A24-{label}")
            for label, encode in PKCS1.items()
        ],
        *[
            pytest.param("RS256", attack, id=f"A24-{label}")
            for label, attack in RSA_NUMBERS.items()
        ],
        pytest.param("RS256", leading_zero_dropped, id="A24-leading-zero-dropped"),
        *[pytest.param("PS256", attack, id=f"A25-{label}") for label, attack in PSS.items()],
        pytest.param("PS384", pss_signed(salt=bytes(32)), id="A25-PS384-salt-32"),
        pytest.param("PS512", pss_signed(salt=bytes(32)), id="A25-PS512-salt-32"),
        pytest.param("PS512", pss_signed(mgf_hash="sha256"), id="A25-PS512-mgf-sha256"),
    ],
)
def test_an_rsa_signature_has_one_padding(victim: Target, name: str, attack: Attack) -> None:
    target = victim(name)
    # The same hands make a right one: what follows is refused for its flaw.
    right = pkcs1_signed(padded()) if name.startswith("RS") else pss_signed()
    target.accepts(right(target.signer))
    target.refuses(attack(target.signer))


def test_A25_the_salt_itself_is_free(victim: Target) -> None:
    target = victim("PS256")
    for salt in (bytes(32), b"\xff" * 32, os.urandom(32)):
        target.accepts(pss_signed(salt=salt)(target.signer))


# --- EdDSA ----------------------------------------------------------------------------

#: The orders of the base points (RFC 8032 5.1, 5.2).
ED_ORDER = {
    "Ed25519": 2**252 + 27742317777372353535851937790883648493,
    "Ed448": 2**446 - 13818066809895115352007386748515426880336692474882178609894547503885,
}
_P25519, _P448 = 2**255 - 19, 2**448 - 2**224 - 1


def _points(name: str) -> list[bytes]:
    """Every encoding of a point of small order: whose multiples everybody can list."""
    if name == "Ed448":
        ys = [0, 1, _P448 - 1, _P448, _P448 + 1]
        return [(y | sign << 455).to_bytes(57, "little") for y in ys for sign in (0, 1)]
    # y of the points of order 8, from x^2 = y^2 and the equation of the curve.
    eighth = int.from_bytes(
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
    )
    ys = [0, 1, _P25519 - 1, _P25519, _P25519 + 1, eighth, _P25519 - eighth]
    return [(y | sign << 255).to_bytes(32, "little") for y in ys for sign in (0, 1)]


def larger_s(name: str, times: int) -> Callable[[bytes], bytes]:
    """S + k * L: the same scalar, another spelling (RFC 8032 5.1.7)."""

    def change(signature: bytes) -> bytes:
        half = len(signature) // 2
        s = int.from_bytes(signature[half:], "little") + times * ED_ORDER[name]
        return signature[:half] + s.to_bytes(half, "little")

    return change


ED: list[Any] = [
    *[
        pytest.param(n, larger_s(n, times), id=f"A26-S-plus-{times}-L-{n}")
        for n in ("Ed25519", "Ed448")
        for times in (1, 2, 3)
    ],
    *[
        pytest.param(n, lambda s, p=p: p + s[len(s) // 2 :], id=f"A26-small-R-{i}-{n}")
        for n in ("Ed25519", "Ed448")
        for i, p in enumerate(_points(n))
    ],
    *[
        pytest.param(n, lambda s, p=p: p + bytes(len(s) // 2), id=f"A26-small-R-no-S-{i}-{n}")
        for n in ("Ed25519", "Ed448")
        for i, p in enumerate(_points(n))
    ],
    *[
        pytest.param(n, change, id=f"A26-{label}-{n}")
        for n in ("Ed25519", "Ed448")
        for label, change in {
            "one-short": lambda s: s[:-1],
            "one-short-in-front": lambda s: s[1:],
            "zero-behind": lambda s: s + b"\0",
            "zero-before": lambda s: b"\0" + s,
            "only-R": lambda s: s[: len(s) // 2],
            "only-S": lambda s: s[len(s) // 2 :],
            "swapped": lambda s: s[len(s) // 2 :] + s[: len(s) // 2],
            "S-all-ones": lambda s: s[: len(s) // 2] + b"\xff" * (len(s) // 2),
            "S-top-bit": lambda s: s[:-1] + bytes((s[-1] | 0x80,)),
            "S-zero": lambda s: s[: len(s) // 2] + bytes(len(s) // 2),
            "R-sign": lambda s: flipped(s, len(s) // 2 - 1),
        }.items()
    ],
    pytest.param("Ed25519", lambda s: s + bytes(50), id="A26-Ed448-length-for-Ed25519"),
    pytest.param("Ed448", lambda s: s[:64], id="A26-Ed25519-length-for-Ed448"),
]


@each_case(("name", "change"), ED)
def test_an_eddsa_signature_has_one_form(
    victim: Target, name: str, change: Callable[[bytes], bytes]
) -> None:
    target = victim(name)
    target.accepts(target.signer.token())
    target.refuses(resigned(target.signer, change))


@each_case(
    ("name", "point"),
    [
        pytest.param(n, p, id=f"A26-key-of-small-order-{i}-{n}")
        for n in ("Ed25519", "Ed448")
        for i, p in enumerate(_points(n))
    ],
)
def test_an_eddsa_key_that_anybody_can_sign_for_is_left_out(name: str, point: bytes) -> None:
    # With a key of small order, S = 0 and one R out of a handful hold for any message.
    jwk = {"kty": "OKP", "crv": name, "alg": "EdDSA", "kid": "weak", "x": b64(point)}
    target = with_jwks(jwk)
    header = {"alg": "EdDSA", "typ": "JWT", "kid": "weak"}
    for number in range(8):
        for r in _points(name):
            token = compact(header, claims(jti=f"attempt-{number}"), r + bytes(len(r)))
            with pytest.raises(TokenError):
                target.jam.verify_jwt_token(token)
    target.refuses(compact(header, claims(), point + bytes(len(point))))
    unusable(jwk)
    pem = forge.ed_pem(name, point)
    settings_refused({"alg": "EdDSA", "public_key": pem}, "does not fit|not a PEM public key")


# --- keys that are refused when they are loaded ---------------------------------------


def with_jwks(*members: Any) -> Victim:
    """An app whose keys come from a JWK Set with one good key, and with these, which are not."""
    good = signer("ES256", "publisher")
    ring = KeyRing.from_jwks({"keys": [*members, {**public_jwk(good.public), "kid": "good"}]})
    target = _reader_of_sets()
    target.jam.verifier.rekey(ring)
    target.accepts(good.token(kid="good"))
    return target


@functools.cache
def _reader_of_sets() -> Victim:
    """One app for all key sets: each replaces the keys of the one before."""
    return Victim.of("HS256", Clock())


def unusable(*members: Any) -> None:
    """Alone, these are no key at all, and the error quotes none of them."""
    with pytest.raises(ConfigError, match="no usable key") as caught:
        KeyRing.from_jwks({"keys": list(members)})
    assert type(caught.value) is ConfigError
    assert_nothing_told(caught.value, list(members))


def left_out(jwk: dict[str, Any], *tokens: str) -> None:
    """The key is not in the set: alone it makes none, beside a good one nobody can use it."""
    unusable(jwk)
    target = with_jwks(jwk)
    for token in tokens:
        target.refuses(token)


@each_case(
    "exponent",
    [
        pytest.param(1, id="A27-exponent-1"),
        pytest.param(0, id="A27-exponent-0"),
        pytest.param(2, id="A27-exponent-2"),
        pytest.param(3, id="A27-exponent-3"),
        pytest.param(65536, id="A27-exponent-even"),
    ],
)
def test_an_rsa_key_with_an_unsafe_exponent_is_refused(exponent: int) -> None:
    n = rsa_key().public_key().public_numbers().n
    own = Signer("RS256", rsa_key(), "weak")
    text = f"{b64(raw_json(own.header()))}.{b64(raw_json(claims()))}"
    # With e = 1 the padded digest is its own signature.
    itself = f"{text}.{b64(padded()(text.encode(), 256))}"
    left_out({**forge.rsa_jwk(n, exponent), "kid": "weak"}, itself, own.token())
    settings_refused({"alg": "RS256", "public_key": forge.rsa_pem(n, exponent)}, "jwt.")


@each_case("bits", [1024, 2040])
def test_A28_a_short_rsa_key_is_refused(bits: int) -> None:
    key = rsa_key(bits)
    jwk = {**public_jwk(key.public_key()), "kid": "weak"}
    left_out(jwk, Signer("RS256", key, "weak").token())
    for alg in ("RS256", "PS256"):
        for jwt in (
            {"private_key": private_pem(key)},
            {"public_key": public_pem(key.public_key())},
        ):
            settings_refused({"alg": alg, **jwt}, "2048 bits")


def moduli() -> tuple[int, int]:
    """2048 bits with the fingerprint of CVE-2017-15361, and without it by one prime.

    The faulty library's moduli are powers of 65537 modulo every small prime.
    """
    product = math.prod(p for p in range(2, 168) if all(p % q for q in range(2, p)))
    power = pow(65537, 4711, product)
    powers = {pow(65537, k, 17) for k in range(17)}
    steps = (power + product // 17 * step for step in range(17))
    other = next(number for number in steps if number % 17 not in powers | {0})
    rest = product * (2**2047 // product + 12345)
    return power + rest, other % product + rest


def test_A29_a_key_of_the_faulty_generator_is_refused() -> None:
    faulty, sound = moduli()
    assert faulty.bit_length() == sound.bit_length() == 2048
    left_out({**forge.rsa_jwk(faulty, 65537), "kid": "weak"})
    settings_refused({"alg": "RS256", "public_key": forge.rsa_pem(faulty, 65537)}, "ROCA")
    Jam({"jwt": {"alg": "RS256", "public_key": forge.rsa_pem(sound, 65537)}})


@each_case(
    "member",
    [
        pytest.param({"kty": "oct", "k": b64(SECRET.encode()[:31])}, id="A30-jwk-31-bytes"),
        pytest.param({"kty": "oct", "k": ""}, id="A30-jwk-empty"),
        pytest.param({"kty": "oct"}, id="A30-jwk-without-k"),
        pytest.param({"kty": "oct", "alg": "HS384", "k": b64(SECRET.encode()[:47])},
                     id="A30-jwk-47-bytes-for-HS384"),
        pytest.param({"kty": "oct", "alg": "HS512", "k": b64(SECRET.encode()[:63])},
                     id="A30-jwk-63-bytes-for-HS512"),
    ],
)  # fmt: skip
def test_a_short_secret_in_a_key_set_is_left_out(victim: Target, member: dict[str, Any]) -> None:
    unusable({**member, "kid": "weak"})
    good = {"kty": "oct", "k": b64(b"another " + SECRET.encode()), "kid": "good"}
    target = victim(fresh=True)
    target.jam.verifier.rekey(KeyRing.from_jwks({"keys": [{**member, "kid": "weak"}, good]}))
    target.accepts(Signer("HS256", b"another " + SECRET.encode(), "good").token())
    secret = unb64(member.get("k", ""))
    target.refuses(Signer(member.get("alg", "HS256"), secret, "weak").token())


def _mismatched() -> dict[str, dict[str, Any]]:
    """JWKs that contradict themselves or their algorithm, made when they are asked for."""
    own_rsa = public_jwk(signer("RS256").public)
    own_ec = {name: public_jwk(signer(name).public) for name in EC_NAMES}
    ed = public_jwk(signer("Ed25519").public)
    k1 = ec.generate_private_key(ec.SECP256K1()).public_key().public_numbers()
    x_keys = {"X25519": x25519.X25519PrivateKey.generate(), "X448": x448.X448PrivateKey.generate()}
    coordinates = {"x": own_ec["ES384"]["x"], "y": own_ec["ES384"]["y"]}
    return {
        "P-256-for-ES384": {**own_ec["ES256"], "alg": "ES384"},
        "P-256-for-ES512": {**own_ec["ES256"], "alg": "ES512"},
        "P-384-for-ES256": {**own_ec["ES384"], "alg": "ES256"},
        "P-521-for-ES256": {**own_ec["ES512"], "alg": "ES256"},
        "P-521-for-the-alias": {**own_ec["ES512"], "alg": "ES521"},
        "P-384-point-called-P-256": {**own_ec["ES256"], **coordinates},
        "P-256-point-called-P-384": {**own_ec["ES256"], "crv": "P-384"},
        "secp256k1": {**forge.ec_jwk(256, k1.x, k1.y), "crv": "secp256k1"},
        "secp256k1-for-ES256": {**forge.ec_jwk(256, k1.x, k1.y), "crv": "secp256k1",
                                "alg": "ES256"},
        "secp256k1-point-on-P-256": {**forge.ec_jwk(256, k1.x, k1.y), "alg": "ES256"},
        "EC-for-RS256": {**own_ec["ES256"], "alg": "RS256"},
        "EC-for-HS256": {**own_ec["ES256"], "alg": "HS256"},
        "EC-for-EdDSA": {**own_ec["ES256"], "alg": "EdDSA"},
        "EC-for-none": {**own_ec["ES256"], "alg": "none"},
        "RSA-for-ES256": {**own_rsa, "alg": "ES256"},
        "RSA-for-HS256": {**own_rsa, "alg": "HS256"},
        "RSA-for-EdDSA": {**own_rsa, "alg": "EdDSA"},
        "RSA-for-encryption": {**own_rsa, "alg": "RSA-OAEP"},
        "RSA-for-RS1": {**own_rsa, "alg": "RS1"},
        "RSA-for-none": {**own_rsa, "alg": "none"},
        "OKP-for-ES256": {**ed, "alg": "ES256"},
        "OKP-for-HS256": {**ed, "alg": "HS256"},
        "OKP-for-RS256": {**ed, "alg": "RS256"},
        "Ed25519-called-Ed448": {**ed, "crv": "Ed448", "alg": "EdDSA"},
        "Ed25519-without-crv": forge.without(ed, "crv"),
        **{
            name: {"kty": "OKP", "crv": name, "alg": "EdDSA",
                   "x": b64(key.public_key().public_bytes_raw())}
            for name, key in x_keys.items()
        },
        "RSA-called-EC": {**own_rsa, "kty": "EC"},
        "EC-called-RSA": {**own_ec["ES256"], "kty": "RSA"},
        "EC-called-OKP": {**own_ec["ES256"], "kty": "OKP"},
        "lower-case-kty": {**own_rsa, "kty": "rsa"},
        "no-kty": forge.without(own_rsa, "kty"),
        "kty-list": {**own_rsa, "kty": ["RSA"]},
        "kty-null": {**own_rsa, "kty": None},
        "alg-list": {**own_rsa, "alg": ["RS256"]},
        "alg-empty": {**own_rsa, "alg": ""},
        "alg-null": {**own_rsa, "alg": None},
        "alg-int": {**own_rsa, "alg": 256},
        "crv-list": {**own_ec["ES256"], "crv": ["P-256"]},
        "n-int": {**own_rsa, "n": 12345},
        "n-not-base64": {**own_rsa, "n": "***"},
        "n-missing": forge.without(own_rsa, "n"),
        "n-0": {**own_rsa, "n": "AA"},
        "x-missing": forge.without(own_ec["ES256"], "x"),
        "x-null": {**own_ec["ES256"], "x": None},
        "kid-int": {**own_rsa, "kid": 1},
        "kid-list": {**own_rsa, "kid": ["weak"]},
    }  # fmt: skip


MISMATCHED = sorted(_mismatched())


@each_case("label", [pytest.param(m, id=f"A34-jwk-{m}") for m in MISMATCHED])
def test_a_key_that_does_not_fit_its_algorithm_is_left_out(label: str) -> None:
    jwk = _mismatched()[label]
    tokens = [
        Signer(name, signer(name).key, "weak").token()
        for name in ("RS256", "ES256", "ES384", "Ed25519")
    ]
    left_out({"kid": "weak", **jwk}, *tokens)


@each_case(
    ("alg", "name"),
    [
        pytest.param(alg, name, id=f"A34-{name}-key-for-{alg}")
        for alg in ("RS256", "PS384", "ES256", "ES384", "ES512", "EdDSA")
        for name in ("RS256", "ES256", "ES384", "ES512", "Ed25519")
        if name not in {alg, {"PS384": "RS256", "EdDSA": "Ed25519"}.get(alg)}
    ],
)
def test_a_pem_that_does_not_fit_its_algorithm_does_not_start(alg: str, name: str) -> None:
    own = signer(name)
    for jwt in ({"private_key": private_pem(own.key)}, {"public_key": public_pem(own.public)}):
        settings_refused({"alg": alg, **jwt}, f"does not fit jwt.alg {alg}")


@each_case(
    "curve",
    [
        pytest.param(ec.SECP256K1(), id="A34-pem-secp256k1"),
        pytest.param(ec.BrainpoolP256R1(), id="A34-pem-brainpool"),
        pytest.param(ec.SECP224R1(), id="A34-pem-P-224"),
    ],
)
def test_another_curve_of_the_right_size_does_not_start(curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    settings_refused({"alg": "ES256", "private_key": private_pem(key)}, "does not fit")


@each_case("kind", [x25519.X25519PrivateKey, x448.X448PrivateKey])
def test_A34_a_key_for_key_agreement_signs_nothing(kind: Any) -> None:
    settings_refused({"alg": "EdDSA", "private_key": private_pem(kind.generate())}, "does not fit")


@each_case(
    ("dx", "dy"),
    [
        pytest.param(0, 1, id="A35-y-off-by-one"),
        pytest.param(1, 0, id="A35-x-off-by-one"),
        pytest.param(None, None, id="A35-point-0-0"),
    ],
)
def test_a_point_off_the_curve_is_refused(dx: int | None, dy: int | None) -> None:
    numbers = signer("ES256").public.public_numbers()
    x, y = (0, 0) if dx is None or dy is None else (numbers.x + dx, numbers.y + dy)
    jwk = {**forge.ec_jwk(256, x, y), "kid": "weak"}
    left_out(jwk, Signer("ES256", signer("ES256").key, "weak").token())
    settings_refused({"alg": "ES256", "public_key": forge.ec_pem(x, y)}, "not a PEM public key")
    # The same hands write a point that is on it.
    pem = forge.ec_pem(numbers.x, numbers.y)
    assert Jam({"jwt": {"alg": "ES256", "public_key": pem}}).verify_jwt_token(
        signer("ES256").token(claims(iat=int(time.time()), exp=int(time.time()) + 60))
    )


@each_case(
    "name",
    [pytest.param(n, id=f"A36-halves-of-two-{n}-keys") for n in ("RS256", "ES256", "Ed25519")],
)
def test_a_jwk_whose_halves_do_not_match_is_left_out(name: str) -> None:
    own, other = signer(name), signer(name, "stranger")
    alg = {"alg": own.alg, "kid": "weak"}
    private = private_jwk_of(other)
    jwk = {**private, **public_jwk(own.public), **alg}
    left_out(jwk, own.token(kid="weak"), other.token(kid="weak"))
    # Where the halves match the public one is used, and the warning quotes none of it.
    target = with_jwks({**private, **alg})
    target.accepts(other.token(kid="weak"))
    target.refuses(own.token(kid="weak"))


def private_jwk_of(whose: Signer) -> dict[str, str]:
    return forge.private_jwk(whose.key)


def test_A36_the_warning_of_a_private_key_in_a_set_quotes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    jwk = {**private_jwk_of(signer("Ed25519", "stranger")), "alg": "EdDSA", "kid": "weak"}
    with_jwks(jwk)
    assert "private key" in caplog.text
    assert jwk["d"] not in caplog.text
    assert jwk["x"] not in caplog.text


# --- two keys that are both trusted ---------------------------------------------------

# Issuers have an issue of their own; what holds already is that each key is bound to its name,
# that the one issuer is compared exactly, and that a key of a set serves no other one's name.


@each_case(("named", "used"), [("RS256", "ES256"), ("ES256", "RS256")])
def test_A37_a_trusted_key_does_not_sign_in_anothers_name(
    victim: Target, named: str, used: str
) -> None:
    target = victim(fresh=True)
    members = [{**public_jwk(signer(n).public), "kid": f"key-{n}"} for n in (named, used)]
    target.jam.verifier.rekey(KeyRing.from_jwks({"keys": members}))
    for name in (named, used):
        target.accepts(signer(name).token(kid=f"key-{name}"))
    target.refuses(signer(used).token(kid=f"key-{named}"))
    target.refuses(signer(named).token(kid=f"key-{named}", alg=signer(used).alg))


def test_A37_a_former_secret_does_not_sign_in_the_new_ones_name(victim: Target) -> None:
    former = signer("HS256", "former")
    target = victim(secret_key_fallbacks=(former.key,))
    old_kid = Victim.of("HS256", Clock(), secret_key=former.key).own_kid()
    target.accepts(target.signer.token())
    target.accepts(former.token(kid=old_kid))
    target.refuses(former.token(kid=target.signer.kid))
    target.refuses(target.signer.token(kid=old_kid))


def test_A37_a_good_signature_does_not_make_another_issuer_ours(victim: Target) -> None:
    target = victim(issuer="https://a.example")
    target.accepts(target.signer.token(claims(iss="https://a.example")))
    foreign = target.signer.token(claims(iss="https://b.example"))
    target.refuses(foreign, reason="wrong_issuer")


# --- other serialisations -------------------------------------------------------------


def jwe(own: Signer, inside: str) -> str:
    """RSA-OAEP-256 and A256GCM, to the public key that everybody has (RFC 7516)."""
    key, nonce = os.urandom(32), os.urandom(12)
    header = b64(raw_json({"alg": "RSA-OAEP-256", "enc": "A256GCM", "cty": "JWT", "kid": own.kid}))
    sealed = AESGCM(key).encrypt(nonce, inside.encode(), header.encode())
    wrapped = own.public.encrypt(key, OAEP(MGF1(SHA256()), SHA256(), None))
    return ".".join([header, b64(wrapped), b64(nonce), b64(sealed[:-16]), b64(sealed[-16:])])


def direct_jwe(secret: bytes, inside: str) -> str:
    """``dir`` with A256GCM, under a secret of 32 bytes."""
    nonce = os.urandom(12)
    header = b64(raw_json({"alg": "dir", "enc": "A256GCM", "cty": "JWT"}))
    sealed = AESGCM(secret[:32]).encrypt(nonce, inside.encode(), header.encode())
    return ".".join([header, "", b64(nonce), b64(sealed[:-16]), b64(sealed[-16:])])


def plain(_own: Signer) -> str:
    return compact({"alg": "none"}, claims(), b"")


def flattened(own: Signer) -> dict[str, Any]:
    protected, payload, signature = own.token().split(".")
    return {"protected": protected, "payload": payload, "signature": signature}


def general(own: Signer) -> dict[str, Any]:
    flat = flattened(own)
    return {"payload": flat.pop("payload"), "signatures": [flat]}


def unprotected(own: Signer, header: dict[str, Any], protected: dict[str, Any]) -> str:
    """RFC 7515 7.2.2, the algorithm outside of what is signed."""
    text = f"{b64(raw_json(protected))}.{b64(raw_json(claims()))}"
    parts = own.sealed(text).split(".")
    return json.dumps(dict(zip(("protected", "payload", "signature"), parts, strict=True))
                      | {"header": header})  # fmt: skip


@each_case(
    ("name", "attack"),
    [
        pytest.param("RS256", lambda own: jwe(own, own.token()), id="A38-jwe-of-a-good-token"),
        pytest.param("RS256", lambda own: jwe(own, plain(own)), id="A38-jwe-of-an-unsigned-token"),
        pytest.param("RS256", lambda own: jwe(own, json.dumps(claims())), id="A38-jwe-of-claims"),
        pytest.param("HS256", lambda own: direct_jwe(own.key, own.token()), id="A38-direct-jwe"),
        pytest.param("HS256", lambda own: direct_jwe(own.key, json.dumps(claims())),
                     id="A38-direct-jwe-of-claims"),
        pytest.param("HS256", lambda own: own.token() + "..", id="A38-five-segments"),
        pytest.param("HS256", lambda own: own.token() + ".AAAA.AAAA", id="A38-two-more-segments"),
        pytest.param("HS256", lambda own: own.token(enc="A256GCM", alg="dir"),
                     id="A38-jwe-header-on-three-segments"),
        pytest.param("HS256", lambda own: own.token(enc="A256GCM"), id="A38-enc-member"),
        pytest.param("RS256", lambda own: own.token(alg="RSA-OAEP-256"), id="A38-encryption-alg"),
        pytest.param("HS256", lambda own: b64(raw_json(flattened(own))),
                     id="A39-flattened-json-encoded"),
        pytest.param("HS256", lambda own: b64(raw_json(general(own))),
                     id="A39-general-json-encoded"),
        pytest.param("HS256", lambda own: compact(own.header(), flattened(own), b"\0" * 32),
                     id="A39-json-in-the-payload"),
        pytest.param("HS256", lambda own: own.seal(own.header(cty="JWT"), own.token().encode()),
                     id="A40-nested-token"),
        pytest.param("HS256", lambda own: own.seal(own.header(), own.token().encode()),
                     id="A40-nested-token-unannounced"),
        pytest.param("HS256", lambda own: own.seal(own.header(cty="JWT"), plain(own).encode()),
                     id="A40-nested-unsigned-token"),
        pytest.param("HS256", lambda own: own.token(cty="JWT"), id="A40-cty-JWT-over-claims"),
        pytest.param("HS256", lambda own: own.token(cty="application/jwt"),
                     id="A40-cty-media-type"),
        pytest.param("HS256", lambda own: own.token(b64=False, crit=["b64"]),
                     id="A41-payload-reads-both-ways"),
        pytest.param("HS256", lambda own: own.token(b64=False), id="A41-without-crit"),
        pytest.param(
            "HS256",
            lambda own: "{0}..{2}".format(*own.token(b64=False, crit=["b64"]).split(".")),
            id="A41-detached",
        ),
        pytest.param("HS256", lambda own: "{0}..{2}".format(*own.token().split(".")),
                     id="A41-detached-without-b64"),
        pytest.param(
            "HS256",
            lambda own: own.seal({"header": {"alg": "HS256"}, "typ": "JWT"}, claims()),
            id="A43-alg-in-a-nested-header",
        ),
        pytest.param(
            "HS256",
            lambda own: b64(unprotected(own, {"alg": "HS256"}, {"typ": "JWT"}).encode()),
            id="A43-unprotected-alg-encoded",
        ),
    ],
)  # fmt: skip
def test_only_the_compact_signed_form_is_taken(victim: Target, name: str, attack: Attack) -> None:
    target = victim(name)
    target.accepts(target.signer.token())
    for own in named_or_not(target.signer):
        target.refuses(attack(own))


# The catalogue says 401; the contract answers 400 where the header is no token68 (RFC 9110 11.2).
@each_case(
    "attack",
    [
        pytest.param(lambda own: json.dumps(flattened(own)), id="A39-flattened-json"),
        pytest.param(lambda own: json.dumps(general(own)), id="A39-general-json"),
        pytest.param(
            lambda own: own.sealed(f"{b64(raw_json(own.header(b64=False, crit=['b64'])))}."
                                   f"{json.dumps(claims())}"),
            id="A41-payload-not-encoded",
        ),
        pytest.param(
            lambda own: unprotected(own, {"alg": "HS256"}, {"typ": "JWT"}),
            id="A43-unprotected-alg",
        ),
        pytest.param(
            lambda own: unprotected(own, {"alg": "none"}, own.header()),
            id="A43-unprotected-alg-disagrees",
        ),
    ],
)  # fmt: skip
def test_a_serialisation_that_is_no_token68_is_a_bad_request(
    victim: Target, attack: Attack
) -> None:
    target = victim()
    target.accepts(target.signer.token())
    target.malformed(attack(target.signer))


# --- verification cannot be switched off ----------------------------------------------

_SWITCHES = frozenset(
    {"options", "verify", "verify_signature", "verify_exp", "verify_aud", "algorithms", "algorithm",
     "alg", "complete", "detached_payload", "insecure", "unsafe", "key", "secret"}
)  # fmt: skip


def test_A42_no_call_takes_a_switch_for_verification(victim: Target) -> None:
    target = victim()
    unsigned = unsecured("none")(target.signer)
    jam = target.jam
    calls: list[Callable[..., Any]] = [
        jam.verify_jwt_token, jam.verifier.verify, jam.refresh_tokens, JWTExtension,
    ]  # fmt: skip
    for call in calls:
        assert _SWITCHES.isdisjoint(inspect.signature(call).parameters)
    for switch in ({"options": {"verify_signature": False}}, {"verify": False},
                   {"verify_signature": ""}, {"algorithms": ["none"]}):  # fmt: skip
        with pytest.raises(TypeError):
            jam.verify_jwt_token(unsigned, **switch)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            JWTExtension(jam, **switch)  # type: ignore[arg-type]
        with pytest.raises((TypeError, ConfigError)):
            jwt_required(**switch)  # type: ignore[call-overload]
        with pytest.raises(ConfigError, match="not a setting"):
            Jam({"jwt": {"secret_key": SECRET, **switch}})


def test_A42_the_signature_layer_takes_a_size_and_nothing_else() -> None:
    assert list(inspect.signature(verify_jws).parameters) == ["token", "keyring", "max_bytes"]
    ring = KeyRing.from_jwks({"keys": [public_jwk(SECRET.encode())]})
    own = signer("HS256")
    assert verify_jws(own.token(), ring) == (own.header(), raw_json(claims()))
    with pytest.raises(TokenError) as caught:
        verify_jws(unsecured("none")(own), ring)
    assert caught.value.reason is Reason.INVALID
