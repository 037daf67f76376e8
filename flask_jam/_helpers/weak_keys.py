"""Detect keys that are published, misused or mathematically weak."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, rsa

_RFC_7515_A1 = (
    b"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
)
#: Secrets from documentation: long enough, and in every attacker's word list.
PUBLISHED_SECRETS = frozenset(
    {
        b"a-string-secret-at-least-256-bits-long",
        b"a-valid-string-secret-that-is-at-least-384-bits-long",
        b"a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
        b"192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
        b"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
        _RFC_7515_A1,
        base64.urlsafe_b64decode(_RFC_7515_A1 + b"=="),
    }
)


_WHITESPACE = " \t\n\r\v\f\x1c\x1d\x1e\x1f\x85\xa0\u200b\u2028\u2029\u2060\u3000\ufeff"


def without_whitespace(secret: bytes) -> bytes:
    """Strip whitespace and invisible characters around a secret.

    One that is not text, such as random bytes, is returned unchanged: a byte 0x20 or 0x0A at one
    of its ends is part of it.
    """
    try:
        text = secret.decode()
    except ValueError:
        return secret
    stripped = text.strip(_WHITESPACE)
    return stripped.encode() if stripped.isprintable() else secret


def surrounding_whitespace(secret: bytes | None) -> bool:
    """Return True if a secret starts or ends with whitespace that another program may strip."""
    return secret is not None and len(without_whitespace(secret)) < len(secret)


def looks_asymmetric(secret: bytes) -> bool:
    # CVE-2022-29217 and its kin: a verifier that takes a public key for a secret.
    text = secret.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0").replace(b"\0", b"")
    if b"-----BEGIN" in text or text.startswith(_SSH):
        return True
    return _is_jwk(text) or _is_der(secret) or _is_der(_b64(secret))


_SSH = (b"ssh-rsa ", b"ssh-dss ", b"ssh-ed25519 ", b"ecdsa-sha2-", b"sk-ssh-", b"sk-ecdsa-")


def _is_jwk(text: bytes) -> bool:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return False
    members = parsed if isinstance(parsed, list) else [parsed]
    return any(isinstance(m, dict) and not {"kty", "keys"}.isdisjoint(m) for m in members)


def _b64(text: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except ValueError:
        return b""


def _is_der(raw: bytes) -> bool:
    loaders = (
        serialization.load_der_public_key,
        x509.load_der_x509_certificate,
        lambda der: serialization.load_der_private_key(der, None),
    )
    if not raw.startswith(b"\x30"):
        return False
    for loader in loaders:
        try:
            loader(raw)
        except Exception:  # noqa: S112 - not of that kind
            continue
        return True
    return False


# One of the points of order 8 of edwards25519 has this y, another its negative (RFC 7748 7).
_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826


def has_small_order(key: ed25519.Ed25519PublicKey | ed448.Ed448PublicKey) -> bool:
    raw = _raw_public(key)
    prime = 2**255 - 19 if len(raw) == 32 else 2**448 - 2**224 - 1
    y = (int.from_bytes(raw, "little") & ((1 << (8 * len(raw) - 1)) - 1)) % prime
    return y in {0, 1, prime - 1, _ORDER_8, prime - _ORDER_8}


def _raw_public(key: Any) -> bytes:
    encoding, form = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    return bytes(key.public_bytes(encoding, form))


def rsa_weakness(numbers: rsa.RSAPublicNumbers) -> str | None:
    if numbers.n.bit_length() < 2048:
        return "write an RSA key of 2048 bits or more"
    if numbers.n.bit_length() > 8192 or numbers.e > 2**32:
        return "write an RSA key of at most 8192 bits, and the usual exponent, 65537"
    if numbers.e < 65537 or numbers.e % 2 == 0:
        return "its public exponent is unsafe: 65537 is usual"
    if _has_roca_fingerprint(numbers.n):
        return "it comes from a faulty generator (ROCA, CVE-2017-15361): make a new one"
    return None


def _has_roca_fingerprint(modulus: int) -> bool:
    # Moduli of the faulty library are powers of 65537 modulo every small prime; others are not.
    primes = [p for p in range(3, 168) if all(p % q for q in range(2, math.isqrt(p) + 1))]
    return all(modulus % p in {pow(65537, k, p) for k in range(p)} for p in primes)
