"""Own keys as members of a JWK Set (RFC 7517), private and public."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

import jwt as pyjwt

from ..errors import ConfigError
from ..keys import Key, _generate, _problem, _secret_key, _spki, _thumbprint
from ..settings import ALGORITHMS

#: Size of generated RSA keys, in bits.
_BITS = 3072
_PUBLIC = ("kty", "crv", "n", "e", "x", "y")


def make_key(alg: str) -> Key:
    """Generate a key. A secret is ASCII, so that it can also serve as ``jwt.secret_key``."""
    if alg.startswith("HS"):
        return _secret_key(alg, secrets.token_urlsafe(64).encode(), "the new key")
    private = _generate(alg, bits=_BITS)
    public = private.public_key()
    return Key(_thumbprint(_spki(public)), alg, public, private)


def private_member(key: Key) -> dict[str, Any]:
    """Return a key as a member that signs: a secret."""
    if isinstance(key.private, bytes):
        octets = base64.urlsafe_b64encode(key.private).rstrip(b"=").decode()
        return _named(key, {"kty": "oct", "k": octets})
    return _named(key, _written(key.alg, key.private))


def public_member(key: Key) -> dict[str, Any] | None:
    """Return the public half of a key as a member; None for a secret, which has none."""
    if isinstance(key.public, bytes):
        return None
    written = _written(key.alg, key.public)
    return _named(key, {name: written[name] for name in _PUBLIC if name in written})


def public_set(keys: Iterable[Key]) -> dict[str, Any]:
    """Return the JWK Set of the keys' public halves."""
    written = (public_member(key) for key in keys)
    return {"keys": [member for member in written if member is not None]}


def _named(key: Key, member: dict[str, Any]) -> dict[str, Any]:
    return {**member, "kid": key.kid, "alg": key.alg, "use": "sig"}


def _written(alg: str, key: Any) -> dict[str, Any]:
    member: dict[str, Any] = pyjwt.get_algorithm_by_name(alg).to_jwk(key, as_dict=True)
    member.pop("key_ops", None)
    return member


def read_member(member: Mapping[str, Any]) -> Key:
    """Return the key of a private member.

    :raises ValueError: with the second half of a sentence, which quotes nothing of the key.
    """
    kid, alg = check_names(member)
    if alg.startswith("HS"):
        return _secret(kid, alg, member)
    return _pair(kid, alg, member)


def check_names(member: Mapping[str, Any]) -> tuple[str, str]:
    """Return the kid and the algorithm of a member.

    :raises ValueError: with the second half of a sentence.
    """
    kid, alg = member.get("kid"), member.get("alg")
    if not isinstance(kid, str) or not 0 < len(kid) <= 256 or not kid.isprintable():
        raise ValueError("has no kid")
    if alg not in ALGORITHMS:
        raise ValueError("has no alg that is known here")
    return kid, str(alg)


def _secret(kid: str, alg: str, member: Mapping[str, Any]) -> Key:
    octets = member.get("k")
    if member.get("kty") != "oct" or not isinstance(octets, str):
        raise ValueError(f"is not a secret key for {alg}")
    try:
        secret = base64.b64decode(octets + "=" * (-len(octets) % 4), b"-_", validate=True)
        read = _secret_key(alg, secret, "a key of jwt.keyring")
    except binascii.Error:
        raise ValueError("is damaged: k is not base64url") from None
    except ConfigError as error:
        raise ValueError(f"cannot be used: {error}") from None
    return Key(kid, alg, read.public, read.private)


def _pair(kid: str, alg: str, member: Mapping[str, Any]) -> Key:
    if "d" not in member:
        raise ValueError("has no private half")
    # What a library says of a key may quote it.
    try:
        private: Any = pyjwt.PyJWK(dict(member)).key
        public: Any = pyjwt.PyJWK(
            {name: member[name] for name in _PUBLIC if name in member} | {"alg": alg}
        ).key
        is_pair = _spki(private.public_key()) == _spki(public)
    except Exception:
        raise ValueError(f"is damaged, or no key for {alg}") from None
    problem = _problem(alg, public)
    if problem or not is_pair:
        raise ValueError(f"cannot be used: {problem or 'its halves are of two keys'}")
    return Key(kid, alg, public, private)
