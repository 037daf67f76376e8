"""Keys: which ones a ring takes, which one it finds, and how little it says of them."""

from __future__ import annotations

import base64
import json
import logging
import re
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from flask_jam import ConfigError, Jam
from flask_jam._helpers.weak_keys import surrounding_whitespace, without_whitespace
from flask_jam.keys import Key, KeyRing
from flask_jam.settings import ALGORITHMS, JWTSettings, load

from .cases import each_case
from .conftest import SECRET

SYMMETRIC = [alg for alg in ALGORITHMS if alg.startswith("HS")]
ASYMMETRIC = [alg for alg in ALGORITHMS if not alg.startswith("HS")]


class Pem(NamedTuple):
    private: str
    public: str


def pem_of(private: Any, password: bytes | None = None) -> Pem:
    cipher: Any = serialization.NoEncryption()
    if password:
        cipher = serialization.BestAvailableEncryption(password)
    return Pem(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher
        ).decode(),
        private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode(),
    )  # fmt: skip


@lru_cache
def key_of(kind: str, number: int = 0) -> Any:
    """A private key: ``RSA2048``, ``P-256`` …; another one for another number."""
    if kind.startswith("RSA"):
        return rsa.generate_private_key(public_exponent=65537, key_size=int(kind[3:]))
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "Ed448":
        return ed448.Ed448PrivateKey.generate()
    curves = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1,
              "K-256": ec.SECP256K1}  # fmt: skip
    return ec.generate_private_key(curves[kind]())


def kind_of(alg: str) -> str:
    named = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519"}
    return named.get(alg, "RSA2048")


def pem_for(alg: str, number: int = 0) -> Pem:
    return pem_of(key_of(kind_of(alg), number))


def ring(**settings: Any) -> KeyRing:
    for name in ("secret_key", "secret_key_fallbacks"):
        value = settings.get(name)
        if isinstance(value, str):
            settings[name] = value.encode()
    return KeyRing.from_settings(JWTSettings(**settings))


def jwk_of(kind: str, *, private: bool = False, number: int = 0, **members: Any) -> dict[str, Any]:
    key = key_of(kind, number) if number else key_of(kind)
    key = key if private else key.public_key()
    family = pyjwt.algorithms
    if kind.startswith("RSA"):
        jwk = family.RSAAlgorithm.to_jwk(key, as_dict=True)
    elif kind.startswith("Ed"):
        jwk = family.OKPAlgorithm.to_jwk(key, as_dict=True)
    else:
        jwk = family.ECAlgorithm.to_jwk(key, as_dict=True)
    # What a key may be used for is each test's own business.
    return {**{k: v for k, v in jwk.items() if k != "key_ops"}, **members}


def large_rsa(bits: int = 2048, e: int = 65537) -> dict[str, Any]:
    numbers = {"n": (1 << bits) - 159, "e": e}
    raw = {
        name: value.to_bytes((value.bit_length() + 7) // 8, "big")
        for name, value in numbers.items()
    }
    return {
        "kty": "RSA",
        **{
            name: base64.urlsafe_b64encode(value).decode().rstrip("=")
            for name, value in raw.items()
        },
    }


def oct_of(secret: bytes, **members: Any) -> dict[str, Any]:
    return {"kty": "oct", "k": base64.urlsafe_b64encode(secret).rstrip(b"=").decode(), **members}


def signed(kind: str, alg: str, message: bytes) -> bytes:
    return pyjwt.get_algorithm_by_name(alg).sign(message, key_of(kind))


# --- rings from settings --------------------------------------------------------------


@pytest.mark.parametrize("alg", SYMMETRIC)
def test_a_secret_signs_and_verifies_with_one_algorithm(alg: str) -> None:
    keys = ring(alg=alg, secret_key=SECRET)
    assert keys.signer is not None
    assert (keys.signer.alg, keys.find({"kid": keys.signer.kid})) == (alg, keys.signer)


@each_case("alg", ASYMMETRIC)
def test_a_private_key_signs_and_its_public_half_is_the_same_key(alg: str) -> None:
    pem = pem_for(alg)
    both = ring(alg=alg, private_key=pem.private)
    verifies = ring(alg=alg, public_key=pem.public)
    assert both.signer is not None
    assert verifies.signer is None
    found = verifies.find({"kid": both.signer.kid})
    assert found is not None
    assert (found.alg, found.private) == (alg, None)


def test_a_private_key_may_come_with_its_own_public_half() -> None:
    pem = pem_for("ES256")
    keys = ring(alg="ES256", private_key=pem.private, public_key=pem.public)
    assert keys.signer is not None


def test_eddsa_takes_ed448_too() -> None:
    keys = ring(alg="EdDSA", private_key=pem_of(key_of("Ed448")).private)
    assert keys.signer is not None


def test_one_key_has_one_name_in_every_process() -> None:
    names = {ring(secret_key=SECRET).signer.kid for _ in range(3)}  # type: ignore[union-attr]
    assert len(names) == 1
    assert ring(secret_key=SECRET + "x").signer.kid not in names  # type: ignore[union-attr]


def test_the_name_of_a_secret_does_not_tell_the_secret() -> None:
    key = ring(secret_key=SECRET).signer
    assert key is not None
    assert key.kid not in SECRET
    assert len(base64.urlsafe_b64decode(key.kid)) == 12


def test_a_former_secret_verifies_and_does_not_sign() -> None:
    former = "f" + SECRET
    keys = ring(secret_key=SECRET, secret_key_fallbacks=(former.encode(),))
    old = ring(secret_key=former).signer
    assert old is not None
    assert keys.find({"kid": old.kid}) == old
    assert keys.signer == ring(secret_key=SECRET).signer


def is_taken(secret: bytes) -> bool:
    try:
        return ring(secret_key=secret).signer is not None
    except ConfigError:
        return False


def test_a_random_secret_is_taken_whatever_it_starts_with() -> None:
    rest = bytes(range(7, 252, 5))
    starts = [bytes([byte]) for byte in range(256)] + [b"\xff\xfe{", b"\0[", b"  {", b'{"a":']
    assert [start for start in starts if not is_taken(start + rest)] == []


@each_case("first", [b"{", b"[", b"\x30", b"\0", b"\xff\xfe{"])
def test_the_random_key_of_a_process_is_always_taken(
    first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bytes_that_may_come(count: int) -> bytes:
        return (first + bytes(range(1, 250, 3)))[:count]

    monkeypatch.setattr("secrets.token_bytes", bytes_that_may_come)
    with pytest.warns(RuntimeWarning):
        assert Jam().gen_jwt_token({"sub": "ann"})


@each_case(
    ("alg", "variable", "command"),
    [
        ("HS256", "JAM_JWT_SECRET_KEY", "secrets.token_urlsafe"),
        ("RS256", "JAM_JWT_PRIVATE_KEY_FILE", "openssl genpkey -algorithm RSA"),
        ("PS512", "JAM_JWT_PRIVATE_KEY_FILE", "openssl genpkey -algorithm RSA"),
        ("ES384", "JAM_JWT_PRIVATE_KEY_FILE", "ec_paramgen_curve:P-384"),
        ("EdDSA", "JAM_JWT_PRIVATE_KEY_FILE", "-algorithm ed25519"),
    ],
)
def test_no_key_is_a_random_one_and_one_warning_that_says_what_to_do(
    alg: str, variable: str, command: str
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first, second = ring(alg=alg), ring(alg=alg)
    assert [warning.category for warning in caught] == [RuntimeWarning] * 2
    assert variable in str(caught[0].message)
    assert command in str(caught[0].message)
    assert first.signer is not None
    assert second.signer is not None
    assert first.signer.kid != second.signer.kid


def test_the_command_in_the_warning_makes_a_key_that_is_taken() -> None:
    import contextlib
    import io
    import re

    with pytest.warns(RuntimeWarning) as caught:
        ring()
    program = re.search(r'python -c "(.*)"', str(caught[0].message))
    assert program is not None
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(program[1])
    for alg in SYMMETRIC:
        assert ring(alg=alg, secret_key=out.getvalue().strip()).signer is not None


def test_a_secret_of_few_characters_is_warned_of_without_being_quoted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "flask_jam"):
        ring(secret_key="zqzqzqzq" * 8)
    assert "easy to guess" in caplog.text
    assert "zq" not in caplog.text


def test_keys_are_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    jam = Jam({"jwt": {"alg": "RS256", "private_key": pem_for("RS256").private}})

    def parsed_again(*_: Any, **__: Any) -> Any:
        raise AssertionError("a key was parsed at request time")

    for name in ("load_pem_private_key", "load_pem_public_key", "load_der_public_key"):
        monkeypatch.setattr(serialization, name, parsed_again)
    token = jam.gen_jwt_token({"sub": "ann"})
    assert jam.verify_jwt_token(token)["sub"] == "ann"


#: Points of order 1, 2, 4 and 8 of edwards25519, and spellings of them that are not canonical.
SMALL_ORDER = (
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)


def public_ed_pem(raw: bytes) -> str:
    kind = ed25519.Ed25519PublicKey if len(raw) == 32 else ed448.Ed448PublicKey
    pem: bytes = kind.from_public_bytes(raw).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem.decode()


@each_case("point", SMALL_ORDER)
def test_a_key_that_anybody_can_sign_for_is_refused(point: str) -> None:
    raw = bytes.fromhex(point)
    with pytest.raises(ConfigError, match="anybody can sign for it: make a new one"):
        ring(alg="EdDSA", public_key=public_ed_pem(raw))
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(raw).decode().rstrip("=")}
    with pytest.raises(ConfigError, match="no usable key"):
        KeyRing.from_jwks({"keys": [jwk]})


@each_case("y", [0, 1, 2**448 - 2**224 - 2])
def test_a_key_of_ed448_that_anybody_can_sign_for_is_refused(y: int) -> None:
    with pytest.raises(ConfigError, match="anybody can sign"):
        ring(alg="EdDSA", public_key=public_ed_pem(y.to_bytes(57, "little")))


# --- finding --------------------------------------------------------------------------


def two_keys() -> KeyRing:
    return ring(secret_key=SECRET, secret_key_fallbacks=(b"f" + SECRET.encode(),))


def test_without_a_kid_the_only_key_is_found() -> None:
    keys = ring(secret_key=SECRET)
    assert keys.find({}) is keys.signer


def test_without_a_kid_none_of_several_keys_is_tried() -> None:
    assert two_keys().find({}) is None


@each_case("kid", ["", "other", "../../dev/null", None, 0, True, [], {}, ["a"], {"a": 1}], ids=repr)
@each_case("several", [False, True])
def test_a_kid_that_is_none_of_ours_finds_nothing(kid: Any, several: bool) -> None:
    keys = two_keys() if several else ring(secret_key=SECRET)
    assert keys.find({"kid": kid}) is None


def test_a_ring_without_keys_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no usable key"):
        KeyRing([])


def test_two_keys_of_one_name_are_an_error() -> None:
    key = Key("a", "HS256", b"x" * 32, b"x" * 32)
    with pytest.raises(ConfigError, match="kid"):
        KeyRing([key, key])


# --- keys for another purpose ---------------------------------------------------------


def test_keys_for_other_purposes_are_derived_and_differ() -> None:
    keys = two_keys()
    one, other = keys.derive("refresh token"), keys.derive("cookie")
    assert len(one) == len(other) == 2
    assert len({*one, *other}) == 4
    assert all(len(key) == 32 for key in one)
    assert keys.derive("refresh token") == one


def test_the_derived_key_of_the_signer_comes_first() -> None:
    old = Key("old", "HS256", b"o" * 32, b"o" * 32)
    new = Key("new", "HS256", b"n" * 32, b"n" * 32)
    expected = KeyRing([new], new).derive("x") + KeyRing([old], old).derive("x")
    assert KeyRing([old, new], new).derive("x") == expected
    assert KeyRing([new, old], new).derive("x") == expected


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_a_private_key_gives_the_same_derived_key_in_every_process(alg: str) -> None:
    pem = pem_for(alg).private
    first, second = (ring(alg=alg, private_key=pem).derive("x") for _ in range(2))
    assert first == second
    assert len(first) == 1


def test_nothing_is_derived_from_what_everybody_knows() -> None:
    assert ring(alg="RS256", public_key=pem_for("RS256").public).derive("x") == ()


# --- JWK Sets -------------------------------------------------------------------------

PUBLIC_KINDS = [("RSA2048", "RS256"), ("RSA2048", "PS384"), ("P-256", "ES256"), ("P-384", "ES384"),
                ("P-521", "ES512"), ("Ed25519", "EdDSA")]  # fmt: skip


@each_case(("kind", "alg"), PUBLIC_KINDS)
def test_a_public_key_of_a_set_verifies(kind: str, alg: str) -> None:
    keys = KeyRing.from_jwks({"keys": [jwk_of(kind, kid="k1", alg=alg, use="sig")]})
    key = keys.find({"kid": "k1"})
    assert key is not None
    assert key.alg == alg
    assert key.verify(b"message", signed(kind, alg, b"message"))
    assert not key.verify(b"massage", signed(kind, alg, b"message"))
    assert keys.signer is None


@pytest.mark.parametrize("alg", SYMMETRIC)
def test_a_secret_of_a_set_verifies(alg: str) -> None:
    keys = KeyRing.from_jwks({"keys": [oct_of(SECRET.encode(), alg=alg, kid="k1")]})
    key = keys.find({"kid": "k1"})
    assert key is not None
    assert key.alg == alg
    assert keys.signer is None


@each_case(("kind", "alg"), [("RSA2048", "RS256"), ("P-384", "ES384"), ("Ed25519", "EdDSA")])
def test_a_key_that_names_no_algorithm_has_the_one_of_its_family(kind: str, alg: str) -> None:
    jwk = jwk_of(kind)
    jwk.pop("alg", None)
    key = KeyRing.from_jwks({"keys": [jwk]}).find({})
    assert key is not None
    assert key.alg == alg


def test_a_key_without_a_name_gets_one_from_its_material() -> None:
    sets = [{"keys": [jwk_of("P-256")]}, {"keys": [jwk_of("P-256", use="sig")]}]
    names = [KeyRing.from_jwks(jwks).find({}).kid for jwks in sets]  # type: ignore[union-attr]
    assert names[0] == names[1]
    assert len(names[0]) == 16


GOOD = {"kid": "good"}
LEFT_OUT = {
    "for encryption": lambda: jwk_of("RSA2048", use="enc"),
    "may not verify": lambda: jwk_of("RSA2048", key_ops=["encrypt"]),
    "key_ops is no list": lambda: jwk_of("RSA2048", key_ops="verify"),
    "unknown family": lambda: {"kty": "XYZ", "kid": "x"},
    "no family": lambda: {"kid": "x"},
    "not a mapping": lambda: "key",
    "null": lambda: None,
    "too short a modulus": lambda: jwk_of("RSA1024"),
    "the algorithm of another family": lambda: jwk_of("RSA2048", alg="ES256"),
    "the algorithm of another curve": lambda: jwk_of("P-256", alg="ES384"),
    "an algorithm of no JWS": lambda: jwk_of("RSA2048", alg="RSA-OAEP"),
    "none": lambda: jwk_of("RSA2048", alg="none"),
    "null as algorithm": lambda: jwk_of("RSA2048", alg=None),
    "a number as algorithm": lambda: jwk_of("RSA2048", alg=256),
    "a secret's algorithm": lambda: jwk_of("RSA2048", alg="HS256"),
    "an algorithm that we do not take": lambda: jwk_of("K-256", alg="ES256K"),
    "a name that is no text": lambda: jwk_of("P-384", kid=7),
    "a modulus that costs too much": lambda: large_rsa(bits=8200),
    "an exponent that costs too much": lambda: large_rsa(e=2**32 + 1),
    "an operation that is there twice": lambda: jwk_of("RSA2048", key_ops=["verify", "verify"]),
    "Ed25519 as the algorithm of another curve": lambda: jwk_of("Ed448", alg="Ed25519"),
    "broken material": lambda: {**jwk_of("RSA2048"), "n": "AQAB"},
    "material of a wrong type": lambda: {**jwk_of("RSA2048"), "n": 5},
    "a point that is not on the curve": lambda: {**jwk_of("P-256"), "x": jwk_of("P-256")["y"]},
    "halves of two keys": lambda: {**jwk_of("Ed25519", private=True),
                                   "d": base64.urlsafe_b64encode(b"d" * 32).decode().rstrip("=")},
}  # fmt: skip


@each_case("what", LEFT_OUT)
def test_a_key_that_cannot_verify_is_left_out(what: str) -> None:
    bad = LEFT_OUT[what]()
    keys = KeyRing.from_jwks({"keys": [bad, jwk_of("P-256", kid="good")]})
    assert keys.find({"kid": "good"}) is not None
    # It is the only one: whatever the other was, it is not there under any name.
    assert keys.find({}) is keys.find({"kid": "good"})


@each_case("what", LEFT_OUT)
def test_a_set_without_a_usable_key_is_an_error_that_quotes_nothing(what: str) -> None:
    bad = LEFT_OUT[what]()
    with pytest.raises(ConfigError, match="no usable key") as caught:
        KeyRing.from_jwks({"keys": [bad]})
    members = bad.values() if isinstance(bad, dict) else [bad]
    long = [member for member in members if isinstance(member, str) and len(member) > 8]
    assert not [member for member in long if member in str(caught.value)]


@each_case("secret", [b"", b"short", b"x" * 31])
def test_a_secret_of_a_set_that_is_too_short_is_left_out(secret: bytes) -> None:
    with pytest.raises(ConfigError, match="no usable key"):
        KeyRing.from_jwks({"keys": [oct_of(secret, alg="HS256")]})


@each_case(
    "jwks",
    [{}, {"keys": None}, {"keys": {}}, {"keys": "x"}, [], None, "{}", {"keys": []}],
    ids=repr,
)
def test_what_is_no_set_is_an_error_with_a_sentence(jwks: Any) -> None:
    with pytest.raises(ConfigError, match="JWK Set|no usable key"):
        KeyRing.from_jwks(jwks)


def test_a_secret_among_public_keys_is_left_out() -> None:
    keys = KeyRing.from_jwks({"keys": [oct_of(SECRET.encode(), alg="HS256"), jwk_of("P-256")]})
    assert keys.find({"alg": "HS256"}) is None
    assert keys.find({"alg": "ES256"}) is not None


def test_two_keys_of_one_kid_are_told_apart_by_their_algorithm() -> None:
    keys = KeyRing.from_jwks({"keys": [jwk_of("P-256", kid="a"), jwk_of("P-384", kid="a")]})
    assert keys.find({"kid": "a", "alg": "ES384"}).alg == "ES384"  # type: ignore[union-attr]
    assert keys.find({"kid": "a"}) is None
    assert keys.kids == ("a",)


def test_rivals_for_one_kid_drop_out_and_the_set_stays() -> None:
    rivals = [jwk_of("P-256", number=number, kid="a") for number in (0, 1)]
    keys = KeyRing.from_jwks({"keys": [*rivals, jwk_of("P-256", kid="b"), rivals[0]]})
    assert keys.find({"kid": "a", "alg": "ES256"}) is None
    assert keys.kids == ("b",)


def test_equal_keys_of_one_kid_are_one_key() -> None:
    keys = KeyRing.from_jwks({"keys": [jwk_of("P-256", kid="a"), jwk_of("P-256", kid="a")]})
    assert keys.find({"kid": "a"}) is not None
    assert keys.find({"alg": "ES256"}) is not None


def test_only_a_key_that_came_without_a_kid_matches_any() -> None:
    named, nameless = jwk_of("P-256", kid="a"), jwk_of("RSA2048")
    keys = KeyRing.from_jwks({"keys": [named, nameless]})
    assert keys.find({"kid": "provider-1", "alg": "RS256"}) is not None
    assert keys.find({"kid": "provider-1", "alg": "ES256"}) is None
    pem = pem_for("RS256")
    header = {"kid": "provider-1", "alg": "RS256"}
    assert ring(alg="RS256", public_key=pem.public).find(header) is not None
    assert ring(alg="RS256", private_key=pem.private).find(header) is None


def test_a_key_without_alg_serves_the_listed_algorithms_of_its_type() -> None:
    listed = ("RS256", "PS512", "ES256", "EdDSA", "HS256")
    members = [jwk_of("RSA2048", kid="r"), jwk_of("Ed25519", kid="e"), jwk_of("P-384", kid="p")]
    for member in members:
        member.pop("alg", None)
    keys = KeyRing.from_jwks({"keys": members}, algorithms=listed)
    served = {
        (kid, alg) for kid in "rep" for alg in ALGORITHMS if keys.find({"kid": kid, "alg": alg})
    }
    assert served == {("r", "RS256"), ("r", "PS512"), ("e", "EdDSA")}
    key = keys.find({"kid": "r", "alg": "PS512"})
    assert key is not None
    assert key.verify(b"m", signed("RSA2048", "PS512", b"m"))
    assert not key.verify(b"m", signed("RSA2048", "RS256", b"m"))
    with_alg = {"keys": [jwk_of("RSA2048", kid="r", alg="RS512")]}
    with pytest.raises(ConfigError, match="no usable key"):
        KeyRing.from_jwks(with_alg, algorithms=listed)


def test_ed25519_is_another_name_of_eddsa_on_such_a_key() -> None:
    for jwk in (jwk_of("Ed25519", alg="Ed25519"), jwk_of("Ed25519", alg="EdDSA")):
        keys = KeyRing.from_jwks({"keys": [jwk]})
        assert keys.find({"alg": "Ed25519"}) is keys.find({"alg": "EdDSA"}) is not None
    ed448 = KeyRing.from_jwks({"keys": [jwk_of("Ed448", alg="EdDSA")]})
    assert ed448.find({"alg": "EdDSA"}) is not None
    assert ed448.find({"alg": "Ed25519"}) is None


def test_a_larger_set_than_100_keys_is_an_error() -> None:
    with pytest.raises(ConfigError, match="at most 100"):
        KeyRing.from_jwks({"keys": [jwk_of("P-256")] * 101})


def test_of_a_private_key_in_a_set_only_the_public_half_is_used(
    caplog: pytest.LogCaptureFixture,
) -> None:
    jwk = jwk_of("RSA2048", private=True, kid="k1")
    with caplog.at_level(logging.WARNING, "flask_jam"):
        keys = KeyRing.from_jwks({"keys": [jwk]})
    key = keys.find({"kid": "k1"})
    assert key is not None
    assert (key.private, keys.signer, keys.derive("x")) == (None, None, ())
    assert "private" in caplog.text
    assert not [jwk[name] for name in ("d", "p", "q") if jwk[name] in caplog.text]


def test_the_callers_set_is_not_changed() -> None:
    jwks = {"keys": [jwk_of("RSA2048", private=True), jwk_of("P-256")]}
    before = json.dumps(jwks)
    KeyRing.from_jwks(jwks)
    assert json.dumps(jwks) == before


# --- verifying, and saying nothing ----------------------------------------------------


@each_case("alg", ALGORITHMS)
@each_case("signature", [b"", b"\0", b"x" * 64, b"x" * 5000], ids=len)
def test_any_wrong_signature_is_a_no_and_never_an_exception(alg: str, signature: bytes) -> None:
    if alg in SYMMETRIC:
        keys = ring(alg=alg, secret_key=SECRET)
    else:
        keys = ring(alg=alg, public_key=pem_for(alg).public)
    key = keys.find({})
    assert key is not None
    assert key.verify(b"message", signature) is False


@each_case("alg", ["HS256", "RS256", "PS256", "ES256", "EdDSA", "nonsense"])
def test_whatever_the_library_raises_is_a_no(alg: str) -> None:
    # ASVS 16.5.4: an error that nobody thought of must not let anybody in.
    assert Key("k", alg, object(), None).verify(b"message", b"signature") is False


@pytest.mark.parametrize("alg", ["HS256", "RS256", "ES256", "EdDSA"])
def test_a_key_prints_no_key(alg: str) -> None:
    if alg == "HS256":
        keys, material = ring(secret_key=SECRET), SECRET
    else:
        pem = pem_for(alg)
        keys, material = ring(alg=alg, private_key=pem.private), pem.private.splitlines()[1]
    for text in (repr(keys), repr(keys.signer), str(keys.signer), repr(vars(keys))):
        assert material not in text
        assert "PRIVATE" not in text


# --- PEM text as platforms and .env files write it -------------------------------------


def indented(pem: str) -> str:
    return "".join(f"    {line}\n" for line in pem.splitlines())


def in_one_line(pem: str) -> str:
    return pem.replace("\n", r"\n")


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "without the last newline": str.rstrip,
    r"literal \n": in_one_line,
    r"literal \n without the last": lambda pem: in_one_line(pem.rstrip()),
    r"literal \r\n": lambda pem: pem.replace("\n", r"\r\n"),
    r"literal \\n": lambda pem: pem.replace("\n", r"\\n"),
    "double quotes": lambda pem: f'"{pem}"',
    "single quotes": lambda pem: f"'{pem}'",
    r"double quotes and literal \n": lambda pem: f'"{in_one_line(pem)}"',
    r"single quotes and literal \n": lambda pem: f"'{in_one_line(pem)}'",
    "two kinds of quotes": lambda pem: f"'\"{in_one_line(pem)}\"'",
    "escaped quotes": lambda pem: f'\\"{in_one_line(pem)}\\"',
    "JSON": json.dumps,
    "carriage returns": lambda pem: pem.replace("\n", "\r\n"),
    "old carriage returns": lambda pem: pem.replace("\n", "\r"),
    "indented": indented,
    "indented in quotes": lambda pem: f'"\n{indented(pem)}"\n',
    "spaces for newlines": lambda pem: pem.replace("\n", " "),
    "one long line of base64": lambda pem: "\n".join(
        [pem.splitlines()[0], "".join(pem.splitlines()[1:-1]), pem.splitlines()[-1]]
    ),
    "no newline at all": lambda pem: pem.replace("\n", ""),
    "byte order mark": lambda pem: "\ufeff" + pem,
    "comment in front": lambda pem: "# the key of production\n" + pem,
    "blank lines": lambda pem: f"\n\n{pem}\n \n",
}


@each_case(
    ("alg", "form"),
    [*(("ES256", form) for form in FORMS), ("EdDSA", r"literal \n"), ("RS256", r"literal \n"),
     ("RS256", "indented"), ("RS256", "spaces for newlines")],
)  # fmt: skip
def test_pem_text_is_taken_in_every_form(form: str, alg: str, tmp_path: Path) -> None:
    pem = pem_for(alg)
    expected = ring(alg=alg, private_key=pem.private).signer
    private, public = FORMS[form](pem.private), FORMS[form](pem.public)
    (tmp_path / "private.pem").write_text(private, encoding="utf-8", newline="")
    (tmp_path / "public.pem").write_text(public, encoding="utf-8", newline="")
    for jwt in (
        {"private_key": private},
        {"private_key_file": str(tmp_path / "private.pem")},
        {"public_key": public},
        {"public_key_file": str(tmp_path / "public.pem")},
    ):
        settings = load({"jwt": {"alg": alg, **jwt}}).jwt
        assert expected is not None
        assert KeyRing.from_settings(settings).find({"kid": expected.kid}) is not None


@each_case("form", [r"literal \n", "indented", "spaces for newlines", "carriage returns"])
def test_older_forms_of_pem_are_taken_in_every_form(form: str) -> None:
    key = key_of("P-256")
    traditional = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()
    # As openssl ecparam -genkey writes it.
    curve = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    for text in (traditional, curve + traditional):
        assert ring(alg="ES256", private_key=FORMS[form](text)).signer is not None


def test_a_file_in_utf_16_is_read(tmp_path: Path) -> None:
    # What > of an older PowerShell writes.
    path = tmp_path / "private.pem"
    path.write_text(pem_for("ES256").private, encoding="utf-16")
    assert ring(alg="ES256", private_key_file=str(path)).signer is not None


def encrypted(pem_format: Any) -> str:
    text: bytes = key_of("RSA2048").private_bytes(
        serialization.Encoding.PEM, pem_format, serialization.BestAvailableEncryption(b"pass")
    )
    return text.decode()


def without_line(pem: str, number: int) -> str:
    lines = pem.splitlines(keepends=True)
    return "".join(lines[:number] + lines[number + 1 :])


def relabelled(pem: str, label: str) -> str:
    return re.sub(r"-----(BEGIN|END) [A-Z ]+-----", rf"-----\1 {label}-----", pem)


def openssh(kind: str) -> Pem:
    key, form = key_of(kind), serialization
    private = key.private_bytes(
        form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption()
    ).decode()
    public = key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
    return Pem(private, public.decode())


PKCS8, OPENSSL = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
#: What PEM text is instead of a key, by setting, and what the sentence says.
NOT_A_KEY: dict[str, tuple[str, Callable[[], str], str]] = {
    "damaged private": ("private", lambda: without_line(pem_for("RS256").private, 5), "damaged"),
    "damaged character": (
        "private", lambda: pem_for("RS256").private.replace("M", "!", 1), "damaged",
    ),
    "empty private": (
        "private", lambda: "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----", "damaged",
    ),
    "damaged public": ("public", lambda: without_line(pem_for("RS256").public, 2), "damaged"),
    "cut off": ("private", lambda: pem_for("RS256").private[:300], "cut off"),
    "first line only": ("private", lambda: "-----BEGIN PRIVATE KEY-----", "cut off"),
    "cut off public": ("public", lambda: pem_for("RS256").public[:100], "cut off"),
    "encrypted": ("private", lambda: encrypted(PKCS8), "encrypted"),
    "encrypted, older form": ("private", lambda: encrypted(OPENSSL), "encrypted"),
    "encrypted in one line": ("private", lambda: in_one_line(encrypted(OPENSSL)), "encrypted"),
    "encrypted, spaces": ("private", lambda: encrypted(OPENSSL).replace("\n", " "), "encrypted"),
    "certificate": ("private", lambda: CERTIFICATE, "is a certificate, not a private key"),
    "public certificate": ("public", lambda: CERTIFICATE, "openssl x509 -pubkey"),
    "public as private": (
        "private", lambda: pem_for("RS256").public, "is not a private key: the public key belongs",
    ),
    "private as public": (
        "public", lambda: pem_for("RS256").private, "is not a public key: a private key belongs in",
    ),
    "request": (
        "private", lambda: relabelled(pem_for("RS256").private, "CERTIFICATE REQUEST"),
        "of another kind",
    ),
    "OpenSSH private": ("private", lambda: openssh("Ed25519").private, "ssh-keygen -p -m PKCS8"),
    "OpenSSH public": ("public", lambda: openssh("Ed25519").public, "ssh-keygen -e -m PKCS8"),
}  # fmt: skip


@each_case("what", NOT_A_KEY)
@each_case("file", [False, True])
def test_pem_text_that_is_no_key_is_an_error_that_says_why(
    what: str, file: bool, tmp_path: Path
) -> None:
    setting, make, why = NOT_A_KEY[what]
    text = make()
    (tmp_path / "key.pem").write_text(text, encoding="utf-8")
    name = f"{setting}_key_file" if file else f"{setting}_key"
    value = str(tmp_path / "key.pem") if file else text
    with pytest.raises(ConfigError) as caught:
        ring(alg="RS256", **{name: value})
    said = str(caught.value)
    assert said.startswith(f"jwt.{name} is ")
    assert why in said
    assert "must be PEM text that starts" not in said
    body = [line for line in text.splitlines() if len(line) > 12 and "-----" not in line]
    assert not [line for line in body if line in said]


@each_case("text", ["keys/private.pem", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIB"])
def test_text_that_is_no_pem_is_told_how_pem_starts(text: str) -> None:
    for half in ("private", "public"):
        with pytest.raises(ConfigError, match=f"jwt.{half}_key must be PEM text that starts with "
                           f"-----BEGIN {half.upper()} KEY-----") as caught:  # fmt: skip
            ring(alg="RS256", **{f"{half}_key": text})
        assert text not in str(caught.value)


# --- a secret with whitespace around it -----------------------------------------------


@each_case(
    ("secret", "stripped"),
    [(b"abc\n", b"abc"), (b" abc\r\n", b"abc"), (b"a b", b"a b"), (b"abc", b"abc"), (b"", b""),
     ("\ufeffabc\xa0".encode(), b"abc"), (b"\n\xff\xfe ", b"\n\xff\xfe "),
     (b"\x01\x02 ", b"\x01\x02 ")],
)  # fmt: skip
def test_whitespace_around_a_secret_is_found(secret: bytes, stripped: bytes) -> None:
    assert without_whitespace(secret) == stripped
    assert surrounding_whitespace(secret) is (secret != stripped)
    assert surrounding_whitespace(None) is False
