"""Keys: parsed once, checked once, bound to one algorithm each.

This file and :mod:`flask_jam.jws` are the only ones that touch PyJWT and cryptography. No
message here quotes what a library said of a key: such texts contain the key.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import secrets
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import jwt as pyjwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ._helpers.weak_keys import (
    PUBLISHED_SECRETS,
    has_small_order,
    looks_asymmetric,
    rsa_weakness,
    surrounding_whitespace,
    without_whitespace,
)
from .errors import ConfigError
from .settings import ALGORITHMS, SECRET_BYTES, JWTSettings

_log = logging.getLogger(__name__)

_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
_MAKE_KEY = 'python -c "import secrets; print(secrets.token_urlsafe(64))"'


@dataclass(frozen=True)
class Key:
    """One key, one algorithm (RFC 8725 3.1), ready to use."""

    kid: str
    alg: str
    public: Any = field(repr=False)
    private: Any = field(repr=False)

    def verify(self, signing_input: bytes, signature: bytes) -> bool:
        """Whether PyJWT finds the signature right. Anything it raises is a no (ASVS 16.5.4)."""
        try:
            algorithm = pyjwt.get_algorithm_by_name(self.alg)
            return algorithm.verify(signing_input, self.public, signature) is True
        except Exception:
            return False

    @property
    def signature_bytes(self) -> int:
        """The length of every signature of this key (RFC 7518 3.2 to 3.5, RFC 8032)."""
        if self.alg.startswith("HS"):
            return SECRET_BYTES[self.alg]
        if self.alg == "EdDSA":
            return 114 if isinstance(self.public, ed448.Ed448PublicKey) else 64
        size = int(self.public.key_size + 7) // 8
        return 2 * size if self.alg in _CURVES else size


class KeyRing:
    """The keys that verify, and the one that signs.

    :param keys: every key that verifies; ``kid`` must be unique.
    :param signer: the one that signs, or ``None``: then this service only verifies.
    """

    def __init__(self, keys: Iterable[Key], signer: Key | None = None) -> None:
        self._keys: dict[str, Key] = {}
        for key in keys:
            if key.kid in self._keys:
                raise ConfigError("two keys have one kid: give each its own")
            self._keys[key.kid] = key
        if not self._keys:
            raise ConfigError("no usable key: give one that verifies signatures")
        self.signer = signer
        self._only = next(iter(self._keys.values())) if len(self._keys) == 1 else None

    def find(self, header: Mapping[str, Any]) -> Key | None:
        """The key that the header names; the only one where it names none.

        ``kid`` is a name to look up and nothing else (RFC 8725 3.10). With several keys and no
        ``kid`` none is tried.
        """
        if "kid" not in header:
            return self._only
        kid = header["kid"]
        return self._keys.get(kid) if isinstance(kid, str) else None

    def derive(self, purpose: str) -> tuple[bytes, ...]:
        """Keys for another purpose than signing, the current one first (HKDF, RFC 5869)."""
        own = [key for key in self._keys.values() if key.private is not None]
        own.sort(key=lambda key: key is not self.signer)
        info = b"flask_jam " + purpose.encode()
        return tuple(
            HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(_material(key))
            for key in own
        )

    @classmethod
    def from_settings(cls, jwt: JWTSettings) -> KeyRing:
        """The ring of the ``jwt`` section; a random key, with a warning, where it has none."""
        private = _read_pem(jwt.private_key, jwt.private_key_file, "jwt.private_key")
        public = _read_pem(jwt.public_key, jwt.public_key_file, "jwt.public_key")
        if jwt.alg.startswith("HS"):
            if private or public:
                raise ConfigError(
                    f"jwt.alg {jwt.alg} signs with jwt.secret_key: remove the PEM keys, or write "
                    "an alg of their family such as RS256 or ES256"
                )
            return cls._symmetric(jwt)
        if jwt.secret_key or jwt.secret_key_fallbacks:
            raise ConfigError(
                f"jwt.alg {jwt.alg} signs with a private key: remove jwt.secret_key, or write HS256"
            )
        return cls._asymmetric(jwt.alg, private, public)

    @classmethod
    def _symmetric(cls, jwt: JWTSettings) -> KeyRing:
        secret = jwt.secret_key
        if secret is None:
            if jwt.secret_key_fallbacks:
                raise ConfigError("jwt.secret_key_fallbacks need a jwt.secret_key that signs")
            _warn_of_random_key("JAM_JWT_SECRET_KEY", _MAKE_KEY)
            secret = secrets.token_bytes(64)
        every = (secret, *jwt.secret_key_fallbacks)
        if len(set(every)) < len(every):
            raise ConfigError("jwt.secret_key_fallbacks: remove the keys that are there twice")
        _warn_of_whitespace(jwt)
        keys = [_secret_key(jwt.alg, secret, "jwt.secret_key")]
        for former in jwt.secret_key_fallbacks:
            keys.append(_secret_key(jwt.alg, former, "jwt.secret_key_fallbacks"))
        return cls(keys, keys[0])

    @classmethod
    def _asymmetric(cls, alg: str, private: _Pem | None, public: _Pem | None) -> KeyRing:
        signing: Any = None
        if private is not None:
            signing = _load_private(private)
        elif public is None:
            _warn_of_random_key("JAM_JWT_PRIVATE_KEY_FILE", _openssl(alg))
            signing = _generate(alg)
        verifying = _load_public(public) if public else signing.public_key()
        if signing is not None and _spki(signing.public_key()) != _spki(verifying):
            raise ConfigError(
                "jwt.public_key is not the public half of jwt.private_key: remove it, it is derived"
            )
        _check_public(alg, verifying)
        key = Key(_thumbprint(_spki(verifying)), alg, verifying, signing)
        return cls([key], key if signing is not None else None)

    @classmethod
    def from_jwks(cls, jwks: Mapping[str, Any]) -> KeyRing:
        """A ring that verifies, from a JWK Set (RFC 7517). Keys that cannot verify are left out.

        :raises ConfigError: if no usable key is left, a ``kid`` is there twice, or secret and
            public keys are mixed in one set.
        """
        members = jwks.get("keys") if isinstance(jwks, Mapping) else None
        if not isinstance(members, list):
            raise ConfigError('a JWK Set is a mapping with a list of keys: {"keys": [...]}')
        if len({m.get("kty") == "oct" for m in members if isinstance(m, Mapping)}) > 1:
            raise ConfigError("a JWK Set holds secret keys or public keys, never both")
        loaded = [_from_jwk(member) for member in members]
        return cls([key for key in loaded if key is not None])


def _warn_of_random_key(variable: str, command: str) -> None:
    warnings.warn(
        "No key is configured: a random one is used, so every token dies with this process and no "
        f"other process accepts it. Set {variable} (a file or mapping stands alone: write it "
        f"there); this makes a key: {command}",
        RuntimeWarning,
        stacklevel=2,
    )


def _openssl(alg: str) -> str:
    if alg == "EdDSA":
        return "openssl genpkey -algorithm ed25519 -out private.pem"
    if alg in _CURVES:
        curve = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[alg]
        return f"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:{curve} -out private.pem"
    return "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out private.pem"


def _generate(alg: str, bits: int = 2048) -> Any:
    if alg == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if alg in _CURVES:
        curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
        return ec.generate_private_key(curves[alg])
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def new_key(alg: str) -> dict[str, str]:
    """Make a key; return its settings, by their names in the environment."""
    if alg.startswith("HS"):
        return {"JAM_JWT_ALG": alg, "JAM_JWT_SECRET_KEY": secrets.token_urlsafe(64)}
    key = _generate(alg, bits=3072)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return {
        "JAM_JWT_ALG": alg,
        "JAM_JWT_PRIVATE_KEY": private.decode(),
        "JAM_JWT_PUBLIC_KEY": public.decode(),
    }


# --- secrets --------------------------------------------------------------------------


def _secret_key(alg: str, secret: bytes, setting: str) -> Key:
    if looks_asymmetric(secret):
        raise ConfigError(
            f"{setting} is a public or private key, which others may know (RFC 8725 2.1): "
            "write it as jwt.private_key and an alg of its family, or make a secret: " + _MAKE_KEY
        )
    needed = SECRET_BYTES[alg]
    if len(secret) < needed:
        raise ConfigError(
            f"{setting} has {len(secret)} bytes and {alg} needs {needed} (RFC 7518 3.2); "
            f"this makes one: {_MAKE_KEY}"
        )
    if secret in PUBLISHED_SECRETS or without_whitespace(secret) in PUBLISHED_SECRETS:
        raise ConfigError(f"{setting} is printed in manuals; this makes one: {_MAKE_KEY}")
    if len(set(secret)) < 8:
        _log.warning("%s repeats a few characters and is easy to guess", setting)
    digest = hashlib.sha256(b"flask_jam kid\0" + secret).digest()
    return Key(_thumbprint(digest), alg, secret, secret)


def settings_with_whitespace(jwt: JWTSettings) -> list[str]:
    """Return the settings whose secret has a newline or space around it, by their paths."""
    every = {jwt.secret_key, *jwt.secret_key_fallbacks}
    # A string of former secrets has been read both ways: with the whitespace and without.
    former = [
        key
        for key in jwt.secret_key_fallbacks
        if surrounding_whitespace(key) and without_whitespace(key) not in every
    ]
    settings = ["jwt.secret_key"] if surrounding_whitespace(jwt.secret_key) else []
    return settings + (["jwt.secret_key_fallbacks"] if former else [])


def _warn_of_whitespace(jwt: JWTSettings) -> None:
    settings = settings_with_whitespace(jwt)
    if settings:
        _log.warning(
            "%s: the secret begins or ends with whitespace, such as a trailing newline, and is "
            "used with it. A program that strips the same secret rejects these tokens. Strip it "
            "where it is stored (printf instead of echo; .strip() in Python), and keep the present "
            "value in jwt.secret_key_fallbacks until its tokens have expired",
            " and ".join(settings),
        )


# --- PEM ------------------------------------------------------------------------------


class _Pem(NamedTuple):
    text: str
    #: The setting that it comes from.
    setting: str


def _read_pem(text: str | None, file: str | None, setting: str) -> _Pem | None:
    if text and file:
        raise ConfigError(f"write {setting} or {setting}_file, not both")
    if file is None:
        return _Pem(normal_pem(text), setting) if text else None
    try:
        return _Pem(normal_pem(_decode(Path(file).read_bytes())), f"{setting}_file")
    except OSError as error:
        where = Path(file).absolute()
        why = f"{where}: {error.strerror}"
        raise ConfigError(f"{setting}_file cannot be read: {why}") from None
    except ValueError:
        raise ConfigError(
            f"{setting}_file is not PEM text; openssl pkey -inform DER converts a DER file"
        ) from None


def _decode(raw: bytes) -> str:
    # An editor or a shell of Windows adds a byte order mark.
    is_utf16 = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    return raw.decode("utf-16" if is_utf16 else "utf-8-sig")


_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)


def normal_pem(text: str) -> str:
    r"""Return PEM text in its usual form, however a .env file or a dashboard has written it.

    Undone are ``\n`` written as two characters, indentation, line endings of other systems, lines
    joined by spaces, and quotes: each block gets lines of its own.
    """
    # Base64 has no backslash. Text that was quoted twice has two in front of an n.
    text = re.sub(r"\\+[rn]", "\n", text)
    text = "\n".join(line.strip() for line in text.splitlines())
    return _BLOCK.sub(_normal_block, text)


def _normal_block(block: re.Match[str]) -> str:
    body = "".join(block[2].split())
    if not re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", body):
        return f"\n{block[0]}\n"
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    return f"\n-----BEGIN {block[1]}-----\n{lines}\n-----END {block[1]}-----\n"


def _load_private(pem: _Pem) -> Any:
    try:
        return serialization.load_pem_private_key(pem.text.encode(), password=None)
    except TypeError:
        raise ConfigError(f"{pem.setting} {_ENCRYPTED}") from None
    except UnsupportedAlgorithm:
        raise ConfigError(f"{pem.setting} {_UNSUPPORTED}") from None
    except Exception:
        _explain(pem, "PRIVATE KEY")


def _load_public(pem: _Pem) -> Any:
    try:
        return serialization.load_pem_public_key(pem.text.encode())
    except UnsupportedAlgorithm:
        raise ConfigError(f"{pem.setting} {_UNSUPPORTED}") from None
    except Exception:
        _explain(pem, "PUBLIC KEY")


_UNSUPPORTED = (
    "is a key of a kind that cryptography does not support: flask jam keygen makes another"
)
_ENCRYPTED = (
    "is encrypted: write it without a passphrase, from a place that only this service reads"
)


def _explain(pem: _Pem, wanted: str) -> NoReturn:
    """Raise a sentence that says why PEM text is not a key, by its first and last line alone."""
    text, setting = pem
    what, other = wanted.lower(), "public" if wanted == "PRIVATE KEY" else "private"
    file = "_file" if setting.endswith("_file") else ""
    found = re.findall(r"-----BEGIN ([A-Z0-9 ]+)-----", text)
    label = next((each for each in found if each != "EC PARAMETERS"), "")
    if label == "OPENSSH PRIVATE KEY" or text.strip("\"' \n").startswith(
        ("ssh-", "ecdsa-sha2-", "sk-")
    ):
        options = "-p" if label else "-e"
        why = f"is an OpenSSH key: ssh-keygen {options} -m PKCS8 -f KEY converts it"
    elif not label:
        hint = "" if file else f"; a path belongs in {setting}_file"
        why = f"must be PEM text that starts with -----BEGIN {wanted}-----{hint}"
    elif label.endswith("CERTIFICATE"):
        why = (
            f"is a certificate, not a {what}: openssl x509 -pubkey -noout gives the public key in "
            "it, for jwt.public_key"
        )
    elif label.endswith(f"{other.upper()} KEY"):
        article = "a" if other == "private" else "the"
        why = f"is not a {what}: {article} {other} key belongs in jwt.{other}_key{file}"
    elif not label.endswith(wanted):
        why = f"is PEM text of another kind: it must start with -----BEGIN {wanted}-----"
    elif f"-----END {label}-----" not in text:
        why = (
            "is cut off: its last line, -----END …, is missing. Some readers of .env files keep "
            r"one line only: write the key in one line, with \n for each line break"
        )
    elif "ENCRYPTED" in text.partition("-----END")[0]:
        why = _ENCRYPTED
    else:
        why = (
            f"is not a PEM {what}: it starts and ends as one, but its body is damaged; copy the "
            "whole key again"
        )
    raise ConfigError(f"{setting} {why}") from None


def _check_public(alg: str, key: Any) -> None:
    """Refuse a key that is not of the algorithm's family, or too weak for it (ASVS 11.6.1)."""
    problem = _problem(alg, key)
    if problem:
        raise ConfigError(f"the key does not fit jwt.alg {alg}: {problem}")


def _problem(alg: str, key: Any) -> str | None:
    if alg == "EdDSA":
        if not isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
            return "write an Ed25519 or Ed448 key"
        return "anybody can sign for it: make a new one" if has_small_order(key) else None
    if alg in _CURVES:
        fits = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == _CURVES[alg]
        return None if fits else f"write an EC key on {_CURVES[alg]}"
    if not isinstance(key, rsa.RSAPublicKey):
        return "write an RSA key"
    return rsa_weakness(key.public_numbers())


def _spki(public: Any) -> bytes:
    return bytes(
        public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def _thumbprint(material: bytes) -> str:
    digest = hashlib.sha256(material).digest()
    return base64.urlsafe_b64encode(digest[:12]).decode()


def _material(key: Key) -> bytes:
    if isinstance(key.private, bytes):
        return key.private
    return bytes(
        key.private.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


# --- JWK ------------------------------------------------------------------------------

_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})


def _from_jwk(member: Any) -> Key | None:
    """The key that verifies, or ``None`` for one that must not (RFC 7517 4.2, 4.3)."""
    if not isinstance(member, Mapping) or not _may_verify(member):
        return None
    public = {name: value for name, value in member.items() if name not in _PRIVATE_MEMBERS}
    parsed = _parse_jwk(public)
    if parsed is None:
        return None
    kid = member.get("kid", None)
    alg, key = parsed
    if kid is None:
        kid = _thumbprint(key if isinstance(key, bytes) else _spki(key))
    if not isinstance(kid, str) or not _halves_match(member, public):
        return None
    return Key(kid, alg, key, None)


def _may_verify(member: Mapping[str, Any]) -> bool:
    operations = member.get("key_ops", ["verify"])
    return member.get("use", "sig") == "sig" and (
        isinstance(operations, list) and "verify" in operations
    )


def _parse_jwk(member: Mapping[str, Any]) -> tuple[str, Any] | None:
    try:
        parsed = pyjwt.PyJWK(dict(member))
    except Exception:
        return None
    alg, key = parsed.algorithm_name, parsed.key
    if alg not in ALGORITHMS or member.get("alg", alg) != alg:
        return None
    if isinstance(key, bytes):
        return (alg, key) if alg[:2] == "HS" and len(key) >= SECRET_BYTES[alg] else None
    return (alg, key) if not alg.startswith("HS") and _problem(alg, key) is None else None


def _halves_match(member: Mapping[str, Any], public: Mapping[str, Any]) -> bool:
    """Whether a private key that came along belongs to the public one."""
    if member.get("kty") == "oct" or "d" not in member:
        return True
    _log.warning("a JWK Set holds a private key: only its public half is used")
    try:
        private = pyjwt.PyJWK(dict(member)).key
        return _spki(private.public_key()) == _spki(pyjwt.PyJWK(dict(public)).key)
    except Exception:
        return False
