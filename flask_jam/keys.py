"""Keys: parsed once, checked once, bound to one algorithm each.

This file and :mod:`flask_jam.jws` are the only ones that touch PyJWT and cryptography. No
message here quotes what a library said of a key: such texts contain the key.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import secrets
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt as pyjwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ._helpers.weak_keys import PUBLISHED_SECRETS, has_small_order, looks_asymmetric, rsa_weakness
from .errors import ConfigError
from .settings import ALGORITHMS, JWTSettings

_log = logging.getLogger(__name__)

_DIGEST_BYTES = {"256": 32, "384": 48, "512": 64}
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
            return _DIGEST_BYTES[self.alg[2:]]
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
        private = _pem_setting(jwt.private_key, jwt.private_key_file, "private_key")
        public = _pem_setting(jwt.public_key, jwt.public_key_file, "public_key")
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
        keys = [_secret_key(jwt.alg, part) for part in every]
        return cls(keys, keys[0])

    @classmethod
    def _asymmetric(cls, alg: str, private: str | None, public: str | None) -> KeyRing:
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
    """Settings for a new key, by their names in the environment."""
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


def _secret_key(alg: str, secret: bytes) -> Key:
    if looks_asymmetric(secret):
        raise ConfigError(
            "jwt.secret_key is a public or private key, which others may know (RFC 8725 2.1): "
            "write it as jwt.private_key and an alg of its family, or make a secret: " + _MAKE_KEY
        )
    needed = _DIGEST_BYTES[alg[2:]]
    if len(secret) < needed:
        raise ConfigError(
            f"jwt.secret_key has {len(secret)} bytes and {alg} needs {needed} (RFC 7518 3.2); "
            f"this makes one: {_MAKE_KEY}"
        )
    if secret in PUBLISHED_SECRETS:
        raise ConfigError(f"jwt.secret_key is printed in manuals; this makes one: {_MAKE_KEY}")
    if len(set(secret)) < 8:
        _log.warning("jwt.secret_key repeats a few characters and is easy to guess")
    digest = hashlib.sha256(b"flask_jam kid\0" + secret).digest()
    return Key(_thumbprint(digest), alg, secret, secret)


# --- PEM ------------------------------------------------------------------------------


def _pem_setting(text: str | None, file: str | None, name: str) -> str | None:
    if text and file:
        raise ConfigError(f"write jwt.{name} or jwt.{name}_file, not both")
    if file is None:
        return text
    try:
        return Path(file).read_text(encoding="ascii")
    except OSError as error:
        where = Path(file).absolute()
        why = f"{where}: {error.strerror}"
        raise ConfigError(f"jwt.{name}_file cannot be read: {why}") from None
    except ValueError:
        raise ConfigError(f"jwt.{name}_file is not PEM text") from None


def _load_private(pem: str) -> Any:
    try:
        return serialization.load_pem_private_key(pem.encode(), password=None)
    except TypeError:
        raise ConfigError(
            "jwt.private_key is encrypted: write it without a passphrase, from a "
            "place that only this service reads"
        ) from None
    except Exception:
        raise ConfigError(
            "jwt.private_key is not a PEM private key: one would start with "
            "-----BEGIN PRIVATE KEY-----; a path belongs in jwt.private_key_file"
        ) from None


def _load_public(pem: str) -> Any:
    try:
        return serialization.load_pem_public_key(pem.encode())
    except Exception:
        raise ConfigError(
            "jwt.public_key is not a PEM public key: one would start with "
            "-----BEGIN PUBLIC KEY-----; a "
            "private key belongs in jwt.private_key, and openssl x509 -pubkey gives a certificate's"
        ) from None


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
        return (alg, key) if alg[:2] == "HS" and len(key) >= _DIGEST_BYTES[alg[2:]] else None
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
