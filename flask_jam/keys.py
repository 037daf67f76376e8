"""Keys, each parsed and checked once and bound to one algorithm.

PyJWT is used only here and in :mod:`flask_jam.jws`. No message here quotes a library's message
about a key: it may contain the key.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import secrets
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jwt as pyjwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ._helpers.pem_text import Pem, load_private, load_public, read_pem
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

#: The most keys of a JWK Set: each takes about 2 ms to load.
MAX_KEYS = 100
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
_MAKE_KEY = 'python -c "import secrets; print(secrets.token_urlsafe(64))"'


@dataclass(frozen=True)
class Key:
    """One key, one algorithm (RFC 8725 3.1), ready to use."""

    kid: str
    alg: str
    public: Any = field(repr=False)
    private: Any = field(repr=False)
    #: The member ``issuer`` of a JWK: Microsoft Entra says there whose tokens the key signs.
    issuer: str | None = field(default=None, repr=False)

    def verify(self, signing_input: bytes, signature: bytes) -> bool:
        """Return True if the signature is valid; False if PyJWT raises anything (ASVS 16.5.4)."""
        try:
            algorithm = pyjwt.get_algorithm_by_name(self.alg)
            return algorithm.verify(signing_input, self.public, signature) is True
        except Exception:
            return False

    @property
    def algs(self) -> tuple[str, ...]:
        """Return the names of the algorithm: ``Ed25519`` is ``EdDSA`` on such a key (RFC 9864)."""
        if isinstance(self.public, ed25519.Ed25519PublicKey):
            return "EdDSA", "Ed25519"
        return (self.alg,)

    @property
    def signature_bytes(self) -> int:
        """Return the length of every signature of this key (RFC 7518 3.2 to 3.5, RFC 8032)."""
        if self.alg.startswith("HS"):
            return SECRET_BYTES[self.alg]
        if self.alg == "EdDSA":
            return 114 if isinstance(self.public, ed448.Ed448PublicKey) else 64
        size = int(self.public.key_size + 7) // 8
        return 2 * size if self.alg in _CURVES else size


class KeyRing:
    """The keys that verify, and the one that signs.

    :param keys: every key that verifies. A ``kid`` has at most one key for each algorithm.
    :param signer: the key that signs, or ``None`` for a service that only verifies.
    :param nameless: those of ``keys`` without a ``kid``: a token may name them by any ``kid``, as
        it is a hint (RFC 7515 4.1.4).
    :param unnamed: those of ``keys`` that tokens without a ``kid`` are of, if they have rivals: the
        others sign none without.
    """

    def __init__(
        self,
        keys: Iterable[Key],
        signer: Key | None = None,
        *,
        nameless: Iterable[Key] = (),
        may_be_empty: bool = False,
        unnamed: Iterable[Key] = (),
    ) -> None:
        self._keys = tuple(keys)
        if len({(key.kid, key.alg) for key in self._keys}) < len(self._keys):
            raise ConfigError("two keys have one kid: give each its own")
        if not self._keys and not may_be_empty:
            raise ConfigError("no usable key: give one that verifies signatures")
        self.signer = signer
        #: What to write instead where nothing signs.
        self.unsigned = "this service only verifies: to sign, set jwt.private_key"
        self._by_kid: dict[str, dict[str | None, Key | None]] = {}
        for key in self._keys:
            _add(self._by_kid.setdefault(key.kid, {}), key)
        self._without_kid = _table(self._keys)
        self._without_kid.update((alg, key) for alg, key in _table(unnamed).items() if alg)
        self._under_any_kid = _table(nameless)
        self._derived: dict[str, tuple[bytes, ...]] = {}

    @property
    def keys(self) -> tuple[Key, ...]:
        """Return every key that verifies."""
        return self._keys

    def signing_key(self) -> Key:
        """Return the key that signs.

        :raises ConfigError: if this service only verifies.
        """
        if self.signer is None:
            raise ConfigError(self.unsigned)
        return self.signer

    @classmethod
    def none(cls) -> KeyRing:
        """Return the ring of a service without a key: it neither accepts nor issues own tokens."""
        ring = cls((), may_be_empty=True)
        ring.unsigned = (
            "this service has no key of its own, so it only accepts tokens of other issuers: to "
            "sign, set jwt.secret_key, or jwt.private_key and jwt.alg"
        )
        return ring

    def find(self, header: Mapping[str, Any]) -> Key | None:
        """Return the key that a header names; without a ``kid``, the only one of its algorithm.

        ``kid`` is only a name to look up (RFC 8725 3.10). With several keys and no ``kid`` none is
        tried. A header without an algorithm finds a key only if there is one candidate.
        """
        alg, kid = header.get("alg"), header.get("kid")
        if "alg" in header and not isinstance(alg, str):
            return None
        if "kid" not in header:
            return self._without_kid.get(alg)
        if not isinstance(kid, str):
            return None
        return self._by_kid.get(kid, self._under_any_kid).get(alg)

    @property
    def kids(self) -> tuple[str, ...]:
        """Return the names of the keys."""
        return tuple(dict.fromkeys(key.kid for key in self._keys))

    def derive(self, purpose: str) -> tuple[bytes, ...]:
        """Derive keys for another purpose than signing, the current one first (HKDF, RFC 5869)."""
        if purpose not in self._derived:
            self._derived[purpose] = self._derive(purpose)
        return self._derived[purpose]

    def _derive(self, purpose: str) -> tuple[bytes, ...]:
        own = [key for key in self._keys if key.private is not None]
        own.sort(key=lambda key: key is not self.signer)
        info = b"flask_jam " + purpose.encode()
        return tuple(
            HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(_material(key))
            for key in own
        )

    @classmethod
    def from_settings(cls, jwt: JWTSettings) -> KeyRing:
        """Return the ring of the ``jwt`` section; warn and use a random key if it has none."""
        private = read_pem(jwt.private_key, jwt.private_key_file, "jwt.private_key")
        public = read_pem(jwt.public_key, jwt.public_key_file, "jwt.public_key")
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
            raise ConfigError("jwt.secret_key_fallbacks: remove the duplicate keys")
        _warn_of_whitespace(jwt)
        keys = [_secret_key(jwt.alg, secret, "jwt.secret_key")]
        for former in jwt.secret_key_fallbacks:
            keys.append(_secret_key(jwt.alg, former, "jwt.secret_key_fallbacks"))
        return cls(keys, keys[0])

    @classmethod
    def _asymmetric(cls, alg: str, private: Pem | None, public: Pem | None) -> KeyRing:
        signing: Any = None
        if private is not None:
            signing = load_private(private)
        elif public is None:
            _warn_of_random_key("JAM_JWT_PRIVATE_KEY_FILE", _openssl(alg))
            signing = _generate(alg)
        verifying = load_public(public) if public else signing.public_key()
        if signing is not None and _spki(signing.public_key()) != _spki(verifying):
            raise ConfigError(
                "jwt.public_key is not the public half of jwt.private_key: remove it, it is derived"
            )
        _check_public(alg, verifying)
        key = Key(_thumbprint(_spki(verifying)), alg, verifying, signing)
        if signing is None:
            return cls([key], nameless=[key])
        return cls([key], key)

    @classmethod
    def from_jwks(
        cls, jwks: Mapping[str, Any], *, algorithms: Collection[str] | None = None
    ) -> KeyRing:
        """Return a ring that verifies, from a JWK Set (RFC 7517). Omit keys that cannot verify.

        A secret among public keys is left out, too. So are different keys that have one ``kid``
        and one algorithm: none of them can be told from the others.

        :param algorithms: the only ones to verify with, for a set of another service. A key that
            names no algorithm serves all of them that its type fits, and secrets are left out. By
            default such a key serves the usual one of its type.
        :raises ConfigError: if no usable key is left, or the set is larger than 100 keys.
        """
        members = jwks.get("keys") if isinstance(jwks, Mapping) else None
        if not isinstance(members, list):
            raise ConfigError('a JWK Set is a mapping with a list of keys: {"keys": [...]}')
        if len(members) > MAX_KEYS:
            raise ConfigError(f"a JWK Set has at most {MAX_KEYS} keys, and this one {len(members)}")
        if algorithms is not None or not all(map(_is_secret, members)):
            members = [member for member in members if not _is_secret(member)]
        loaded = (key for member in members for key in _from_jwk(member, algorithms))
        keys, nameless = _unambiguous(loaded)
        return cls(keys, nameless=nameless)


def _table(keys: Iterable[Key]) -> dict[str | None, Key | None]:
    """Return the keys by algorithm: None if there are several; under None, the only key.

    A key under two kids is one key.
    """
    table: dict[str | None, Key | None] = {}
    for key in keys:
        _add(table, key)
    return table


def _add(table: dict[str | None, Key | None], key: Key) -> None:
    for alg in (None, *key.algs):
        rival = table.get(alg, key)
        table[alg] = key if rival is not None and _is_same(rival, key) else None


def _is_same(key: Key, other: Key) -> bool:
    return key is other or (
        key.alg == other.alg and _public_bytes(key.public) == _public_bytes(other.public)
    )


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
    """Generate a key; return its settings by their names in the environment."""
    if alg.startswith("HS"):
        return {"JAM_JWT_ALG": alg, "JAM_JWT_SECRET_KEY": secrets.token_urlsafe(64)}
    key = _generate(alg, bits=3072)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return {
        "JAM_JWT_ALG": alg,
        "JAM_JWT_PRIVATE_KEY": private_pem(key),
        "JAM_JWT_PUBLIC_KEY": public.decode(),
    }


def private_pem(key: Any) -> str:
    """Return a private key as PEM text, without a passphrase."""
    pem: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem.decode()


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


# --- families of keys -----------------------------------------------------------------


def _check_public(alg: str, key: Any) -> None:
    """Raise an error for a key of another family, or one that is too weak (ASVS 11.6.1)."""
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


class _Loaded(NamedTuple):
    key: Key
    has_kid: bool


def _is_secret(member: Any) -> bool:
    return isinstance(member, Mapping) and member.get("kty") == "oct"


def _from_jwk(member: Any, algorithms: Collection[str] | None) -> Iterator[_Loaded]:
    """Yield the key once for each algorithm; nothing if it must not verify (RFC 7517 4.2, 4.3)."""
    if not isinstance(member, Mapping) or not _may_verify(member):
        return
    public = {name: value for name, value in member.items() if name not in _PRIVATE_MEMBERS}
    parsed = _parse_jwk(public)
    if parsed is None or not _halves_match(member, public):
        return
    usual, key = parsed
    kid = member.get("kid", _thumbprint(_public_bytes(key)))
    issuer = member.get("issuer")
    if isinstance(kid, str):
        for alg in _served(member, usual, key, algorithms):
            loaded = Key(kid, alg, key, None, issuer if isinstance(issuer, str) else None)
            yield _Loaded(loaded, "kid" in member)


def _served(
    member: Mapping[str, Any], usual: str, key: Any, algorithms: Collection[str] | None
) -> Collection[str]:
    if algorithms is None:
        return [usual]
    if "alg" in member:
        return [usual] if usual in algorithms else []
    public = [alg for alg in algorithms if not alg.startswith("HS")]
    return [alg for alg in public if _problem(alg, key) is None]


def _unambiguous(loaded: Iterable[_Loaded]) -> tuple[list[Key], list[Key]]:
    """Return the keys, and those without a kid. Duplicates count once, ambiguous keys never."""
    found: dict[tuple[str, str], _Loaded | None] = {}
    for each in loaded:
        name = each.key.kid, each.key.alg
        rival = found.get(name, each)
        if rival is not None and not _is_same(rival.key, each.key):
            _log.warning("a JWK Set has two keys of one kid and algorithm: neither is used")
            rival = None
        found[name] = rival
    left = [each for each in found.values() if each is not None]
    return [each.key for each in left], [each.key for each in left if not each.has_kid]


def _may_verify(member: Mapping[str, Any]) -> bool:
    operations = member.get("key_ops", ["verify"])
    return member.get("use", "sig") == "sig" and (
        isinstance(operations, list)
        and "verify" in operations
        and not any(operations.count(each) > 1 for each in operations[:_MAX_OPERATIONS])
        and len(operations) <= _MAX_OPERATIONS
    )


#: RFC 7517 4.3 defines eight operations, each at most once.
_MAX_OPERATIONS = 20


def _parse_jwk(member: Mapping[str, Any]) -> tuple[str, Any] | None:
    # RFC 9864; PyJWT supports only the older name.
    alg = "EdDSA" if _is_ed25519(member) else member.get("alg")
    try:
        parsed = pyjwt.PyJWK({**member, "alg": alg} if "alg" in member else dict(member))
    except Exception:
        return None
    usual, key = parsed.algorithm_name, parsed.key
    if usual not in ALGORITHMS or ("alg" in member and alg != usual):
        return None
    if isinstance(key, bytes):
        return (usual, key) if usual[:2] == "HS" and len(key) >= SECRET_BYTES[usual] else None
    return (usual, key) if not usual.startswith("HS") and _problem(usual, key) is None else None


def _is_ed25519(member: Mapping[str, Any]) -> bool:
    return member.get("alg") == "Ed25519" and member.get("crv") == "Ed25519"


def _public_bytes(key: Any) -> bytes:
    return key if isinstance(key, bytes) else _spki(key)


def _halves_match(member: Mapping[str, Any], public: Mapping[str, Any]) -> bool:
    """Return True if an included private key belongs to the public one."""
    if member.get("kty") == "oct" or "d" not in member:
        return True
    _log.warning("a JWK Set holds a private key: only its public half is used")
    try:
        private = pyjwt.PyJWK(dict(member)).key
        return _spki(private.public_key()) == _spki(pyjwt.PyJWK(dict(public)).key)
    except Exception:
        return False
