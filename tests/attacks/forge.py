"""Tokens as an attacker makes them: any header, any payload, any signature.

Signatures are made with the primitives of cryptography, not with the library that the app
verifies with, so the two can disagree.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from ..conftest import SECRET, Clock

#: The time of the test clock before anyone moves it.
NOW = int(Clock().now)
#: As the value of a claim or of a header parameter: leave it out.
DROP: Any = object()

#: Every algorithm, and the second curve of EdDSA.
NAMES = ("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
         "ES256", "ES384", "ES512", "Ed25519", "Ed448")  # fmt: skip
#: One of each family.
FAMILIES = ("HS256", "RS256", "PS256", "ES256", "Ed25519")

_HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def b64(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def raw_json(value: Any) -> bytes:
    """``value`` as JSON; bytes are taken as they are."""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def compact(header: Any, payload: Any, signature: bytes) -> str:
    """A token of three parts, none of which need be right."""
    return ".".join(map(b64, (raw_json(header), raw_json(payload), signature)))


def claims(**more: Any) -> dict[str, Any]:
    """Claims that the app accepts, changed by ``more``."""
    usual = {"sub": "alice", "jti": "a-token-of-alice", "iat": NOW, "exp": NOW + 600}
    return {name: value for name, value in {**usual, **more}.items() if value is not DROP}


def without(mapping: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name not in names}


@dataclass(frozen=True)
class Signer:
    """A key and how it signs."""

    name: str
    key: Any = field(repr=False)
    kid: str | None = None

    @property
    def alg(self) -> str:
        return "EdDSA" if self.name.startswith("Ed") else self.name

    @property
    def nameless(self) -> Signer:
        """The same key, in whose tokens no ``kid`` stands."""
        return replace(self, kid=None)

    @property
    def public(self) -> Any:
        return self.key.public_key()

    def sign(self, message: bytes) -> bytes:
        return sign(self.name, self.key, message)

    def header(self, **more: Any) -> dict[str, Any]:
        kid = DROP if self.kid is None else self.kid
        usual = {"alg": self.alg, "typ": "JWT", "kid": kid, **more}
        return {name: value for name, value in usual.items() if value is not DROP}

    def token(self, payload: Any = None, /, **header: Any) -> str:
        """A token whose signature holds, with these claims and header parameters."""
        return self.seal(self.header(**header), claims() if payload is None else payload)

    def seal(self, header: Any, payload: Any) -> str:
        """A token whose signature holds over any header and any payload, JSON or not."""
        return self.sealed(f"{b64(raw_json(header))}.{b64(raw_json(payload))}")

    def sealed(self, signing_input: str) -> str:
        return f"{signing_input}.{b64(self.sign(signing_input.encode()))}"

    def settings(self) -> dict[str, Any]:
        """The ``jwt`` section of an app that signs and verifies with this key."""
        if self.name.startswith("HS"):
            return {"alg": self.alg, "secret_key": self.key}
        return {"alg": self.alg, "private_key": private_pem(self.key)}


def sign(name: str, key: Any, message: bytes) -> bytes:
    """The signature of one of :data:`NAMES`."""
    if name.startswith("Ed"):
        return bytes(key.sign(message))
    digest = _HASHES[name[2:]]
    if name.startswith("HS"):
        return hmac.new(key, message, digest.name).digest()
    if name.startswith("RS"):
        return bytes(key.sign(message, padding.PKCS1v15(), digest))
    if name.startswith("PS"):
        pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
        return bytes(key.sign(message, pss, digest))
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(digest)))
    return ec_signature(name, r, s)


def ec_signature(name: str, r: int, s: int) -> bytes:
    """``r || s`` in the width of the curve (RFC 7518 3.4)."""
    width = ec_width(name)
    return r.to_bytes(width, "big") + s.to_bytes(width, "big")


def ec_width(name: str) -> int:
    return (_CURVES[name].key_size + 7) // 8


def ec_order(name: str) -> int:
    return {
        "ES256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
        "ES384": int("f" * 48 + "c7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16),
        "ES512": 2**521
        - 657877501894328237357444332315020117536923257219387276263472201219398408051703,
    }[name]


@functools.cache
def rsa_key(bits: int = 2048, which: str = "own") -> rsa.RSAPrivateKey:
    while True:
        key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
        # A modulus just below a power of two leaves no room for a signature plus the modulus.
        if key.public_key().public_numbers().n < 9 * 2**bits // 10:
            return key


@functools.cache
def signer(name: str, which: str = "own") -> Signer:
    """The key of the app under attack; with another ``which``, of somebody else."""
    if name.startswith("HS"):
        return Signer(name, SECRET.encode() if which == "own" else f"{which} {SECRET}".encode())
    if name == "Ed25519":
        return Signer(name, ed25519.Ed25519PrivateKey.generate())
    if name == "Ed448":
        return Signer(name, ed448.Ed448PrivateKey.generate())
    if name.startswith("ES"):
        return Signer(name, ec.generate_private_key(_CURVES[name]))
    # One RSA key for RS* and PS*: what tells them apart has to be the algorithm.
    return Signer(name, rsa_key(which=which))


# --- keys in the shapes in which they get about ---------------------------------------


def private_pem(key: Any) -> str:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())).decode()


def public_pem(key: Any) -> str:
    return bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).decode()


def _uint(number: int, width: int = 0) -> str:
    return b64(number.to_bytes(max(width, (number.bit_length() + 7) // 8, 1), "big"))


def public_jwk(key: Any) -> dict[str, str]:
    """RFC 7518 6, RFC 8037 2: the public members."""
    if isinstance(key, bytes):
        return {"kty": "oct", "k": b64(key)}
    if isinstance(key, rsa.RSAPublicKey):
        return rsa_jwk(key.public_numbers().n, key.public_numbers().e)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return ec_jwk(key.curve.key_size, key.public_numbers().x, key.public_numbers().y)
    crv = "Ed25519" if isinstance(key, ed25519.Ed25519PublicKey) else "Ed448"
    return {"kty": "OKP", "crv": crv, "x": b64(key.public_bytes_raw())}


def rsa_jwk(n: int, e: int) -> dict[str, str]:
    return {"kty": "RSA", "n": _uint(n), "e": _uint(e)}


def ec_jwk(bits: int, x: int, y: int) -> dict[str, str]:
    width = (bits + 7) // 8
    return {"kty": "EC", "crv": f"P-{bits}", "x": _uint(x, width), "y": _uint(y, width)}


def private_jwk(key: Any) -> dict[str, str]:
    """With the private members, as nobody should publish them."""
    public = public_jwk(key.public_key())
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        return {**public, "d": _uint(numbers.d), "p": _uint(numbers.p), "q": _uint(numbers.q),
                "dp": _uint(numbers.dmp1), "dq": _uint(numbers.dmq1),
                "qi": _uint(numbers.iqmp)}  # fmt: skip
    if isinstance(key, ec.EllipticCurvePrivateKey):
        width = (key.key_size + 7) // 8
        return {**public, "d": _uint(key.private_numbers().private_value, width)}
    return {**public, "d": b64(key.private_bytes_raw())}


def certificate(whose: Signer) -> bytes:
    """Self-signed, in DER."""
    key = whose.key
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "attacked")])
    digest = None if whose.name.startswith("Ed") else hashes.SHA256()
    start = datetime(2020, 1, 1, tzinfo=timezone.utc)
    builder = x509.CertificateBuilder(who, who, key.public_key(), 1, start, start.replace(2040))
    return builder.sign(key, digest).public_bytes(Encoding.DER)


#: How a public key looks in a text that a person or a program pastes somewhere.
PUBLIC_SHAPES = ("pem", "pem-stripped", "pem-crlf", "pkcs1-pem", "der", "pkcs1-der", "x509-pem",
                 "x509-der", "ssh", "jwk", "jwk-indented", "jwks", "bom-pem", "padded-pem",
                 "utf16-pem", "base64-der")  # fmt: skip
PRIVATE_SHAPES = ("private-pem", "private-traditional-pem", "private-openssh", "private-der",
                  "private-jwk")  # fmt: skip


def shaped(name: str, shape: str) -> bytes:
    """The app's own key in a shape; the PEM where a family has no such shape."""
    private, public = signer(name).key, signer(name).public
    pem = public_pem(public).encode()
    der = bytes(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    jwk = public_jwk(public)
    is_rsa, is_ed = isinstance(public, rsa.RSAPublicKey), name.startswith("Ed")
    has_ssh = name != "Ed448"
    makers: dict[str, Any] = {
        "pem": lambda: pem,
        "pem-stripped": pem.strip,
        "pem-crlf": lambda: pem.replace(b"\n", b"\r\n"),
        "pkcs1-pem": lambda: (
            public.public_bytes(Encoding.PEM, PublicFormat.PKCS1) if is_rsa else pem
        ),
        "der": lambda: der,
        "pkcs1-der": lambda: (
            public.public_bytes(Encoding.DER, PublicFormat.PKCS1) if is_rsa else der
        ),
        "x509-pem": lambda: as_pem(certificate(signer(name)), "CERTIFICATE").encode(),
        "x509-der": lambda: certificate(signer(name)),
        "ssh": lambda: (
            public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) if has_ssh else pem
        ),
        "jwk": lambda: raw_json(jwk),
        "jwk-indented": lambda: b"\n  " + json.dumps(jwk, indent=2).encode(),
        "jwks": lambda: raw_json({"keys": [jwk]}),
        "bom-pem": lambda: b"\xef\xbb\xbf" + pem,
        "padded-pem": lambda: b" \t\r\n" + pem,
        "utf16-pem": lambda: pem.decode().encode("utf-16"),
        "base64-der": lambda: base64.b64encode(der),
        "private-pem": lambda: private_pem(private).encode(),
        "private-traditional-pem": lambda: (
            private_pem(private).encode()
            if is_ed
            else private.private_bytes(
                Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
            )
        ),
        "private-openssh": lambda: private.private_bytes(
            Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
        ),
        "private-der": lambda: private.private_bytes(
            Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
        ),
        "private-jwk": lambda: raw_json(private_jwk(private)),
    }
    return bytes(makers[shape]())


def hmac_token(secret: bytes, alg: str = "HS256", **header: Any) -> str:
    """A token that holds for a verifier which takes ``secret`` for an HMAC key."""
    return Signer(alg, secret).token(**header)


# --- DER and RSA by hand --------------------------------------------------------------


def der(tag: int, content: bytes, *, long_form: bool = False) -> bytes:
    """One element. ``long_form`` writes the length in more bytes than DER allows."""
    size = len(content)
    if size < 0x80 and not long_form:
        return bytes((tag, size)) + content
    length = size.to_bytes(max(1, (size.bit_length() + 7) // 8), "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def der_int(number: int) -> bytes:
    return der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))


#: Object identifiers, encoded.
OID = {
    "rsaEncryption": bytes.fromhex("2a864886f70d010101"),
    "ecPublicKey": bytes.fromhex("2a8648ce3d0201"),
    "Ed25519": bytes.fromhex("2b6570"),
    "Ed448": bytes.fromhex("2b6571"),
    "P-256": bytes.fromhex("2a8648ce3d030107"),
    "md5": bytes.fromhex("2a864886f70d0205"),
    "sha1": bytes.fromhex("2b0e03021a"),
    "sha224": bytes.fromhex("608648016503040204"),
    "sha256": bytes.fromhex("608648016503040201"),
    "sha384": bytes.fromhex("608648016503040202"),
    "sha512": bytes.fromhex("608648016503040203"),
}


def as_pem(raw: bytes, label: str = "PUBLIC KEY") -> str:
    body = base64.encodebytes(raw).decode()
    return f"-----BEGIN {label}-----\n{body}-----END {label}-----\n"


def rsa_pem(n: int, e: int) -> str:
    """A public key that no generator would make."""
    algorithm = der(0x30, der(0x06, OID["rsaEncryption"]) + der(0x05, b""))
    key = der(0x30, der_int(n) + der_int(e))
    return as_pem(der(0x30, algorithm + der(0x03, b"\0" + key)))


def ec_pem(x: int, y: int) -> str:
    """A point, on P-256 or not."""
    algorithm = der(0x30, der(0x06, OID["ecPublicKey"]) + der(0x06, OID["P-256"]))
    point = b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big")
    return as_pem(der(0x30, algorithm + der(0x03, b"\0" + point)))


def ed_pem(name: str, point: bytes) -> str:
    """An encoded point, of whatever order."""
    return as_pem(der(0x30, der(0x30, der(0x06, OID[name])) + der(0x03, b"\0" + point)))


def raw_rsa(key: rsa.RSAPrivateKey, encoded: bytes) -> bytes:
    """The private operation on an encoded message of the modulus's width: what padding hides."""
    numbers = key.private_numbers()
    n = numbers.public_numbers.n
    message = int.from_bytes(encoded, "big")
    assert message < n
    # By the primes: a quarter of the time.
    p, q = numbers.p, numbers.q
    mp, mq = pow(message, numbers.dmp1, p), pow(message, numbers.dmq1, q)
    signature = mq + q * (numbers.iqmp * (mp - mq) % p)
    return signature.to_bytes(rsa_width(key), "big")


def rsa_width(key: rsa.RSAPrivateKey) -> int:
    return (key.key_size + 7) // 8


def digest_info(message: bytes, hash_name: str = "sha256") -> bytes:
    """RFC 8017 9.2, step 2."""
    algorithm = der(0x30, der(0x06, OID[hash_name]) + der(0x05, b""))
    return der(0x30, algorithm + der(0x04, hashlib.new(hash_name, message).digest()))


def pkcs1(
    content: bytes,
    width: int,
    *,
    start: bytes = b"\x00\x01",
    fill: bytes = b"\xff",
    separator: bytes = b"\x00",
    tail: bytes = b"",
) -> bytes:
    """EMSA-PKCS1-v1_5, every part of it open to change (RFC 8017 9.2)."""
    room = width - len(start) - len(separator) - len(content) - len(tail)
    return start + fill * room + separator + content + tail


def mgf1(seed: bytes, length: int, hash_name: str) -> bytes:
    out = b""
    for counter in range(-(-length // hashlib.new(hash_name).digest_size)):
        out += hashlib.new(hash_name, seed + counter.to_bytes(4, "big")).digest()
    return out[:length]


def pss(
    message: bytes,
    bits: int,
    *,
    hash_name: str = "sha256",
    mgf_hash: str | None = None,
    salt: bytes | None = None,
    trailer: bytes = b"\xbc",
    zero: int = 0,
    one: int = 1,
    top_bit: bool = False,
) -> bytes:
    """EMSA-PSS, every part of it open to change (RFC 8017 9.1.1)."""
    size = hashlib.new(hash_name).digest_size
    salt = bytes(range(size)) if salt is None else salt
    width = (bits - 1 + 7) // 8
    hashed = hashlib.new(hash_name, message).digest()
    inner = hashlib.new(hash_name, bytes(8) + hashed + salt).digest()
    room = width - len(salt) - size - len(trailer) - 1
    block = (bytes((zero,)) * room if room else b"") + bytes((one,)) + salt
    mask = mgf1(inner, len(block), mgf_hash or hash_name)
    masked = bytearray(a ^ b for a, b in zip(block, mask, strict=True))
    masked[0] &= 0xFF >> (8 * width - (bits - 1))
    if top_bit:
        masked[0] |= 0x80
    return bytes(masked) + inner + trailer
