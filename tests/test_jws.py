"""The gate and the signature: strict where a parser is lenient, and never an odd exception."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_jam import Reason, TokenError
from flask_jam._helpers.strict_json import MAX_DEPTH, strict_dumps, strict_object
from flask_jam.jws import MAX_HEADER_BYTES, sign_jws, verify_jws
from flask_jam.keys import KeyRing
from flask_jam.settings import ALGORITHMS

from .cases import each_case
from .conftest import SECRET
from .test_keys import SYMMETRIC, oct_of, pem_for, ring

HEADER = {"alg": "HS256", "typ": "JWT"}
CLAIMS = {"sub": "ann"}


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw_json(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def craft(header: Any = HEADER, payload: Any = CLAIMS, secret: str = SECRET) -> str:
    """A token whose signature is right, whatever its parts are."""
    said = f"{b64(raw_json(header))}.{b64(raw_json(payload))}"
    return f"{said}.{b64(hmac.new(secret.encode(), said.encode(), hashlib.sha256).digest())}"


@pytest.fixture(scope="module")
def keys() -> KeyRing:
    return ring(secret_key=SECRET)


def refused(token: Any, keys: KeyRing, **options: Any) -> Reason:
    with pytest.raises(TokenError) as caught:
        verify_jws(token, keys, **options)
    return caught.value.reason


# --- what is right --------------------------------------------------------------------


def test_the_layer_gives_header_and_payload_and_looks_at_no_claim(keys: KeyRing) -> None:
    token = craft({**HEADER, "typ": "other", "x": 1}, b"not JSON \xff")
    header, payload = verify_jws(token, keys)
    assert header == {"alg": "HS256", "typ": "other", "x": 1}
    assert payload == b"not JSON \xff"


def test_the_hmac_example_of_rfc_7515() -> None:
    # Appendix A.1
    secret = ("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75"
              "aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")  # fmt: skip
    token = (
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
        ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0"
        "cnVlfQ"
        ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    )
    keys = KeyRing.from_jwks({"keys": [{"kty": "oct", "k": secret, "alg": "HS256"}]})
    header, payload = verify_jws(token, keys)
    assert header == {"typ": "JWT", "alg": "HS256"}
    assert json.loads(payload)["iss"] == "joe"


def test_the_ed25519_example_of_rfc_8037() -> None:
    # Appendix A.4
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    token = (
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
        ".hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    )
    _, payload = verify_jws(token, KeyRing.from_jwks({"keys": [jwk]}))
    assert payload == b"Example of Ed25519 signing"


@each_case("alg", ALGORITHMS)
def test_what_is_signed_is_verified_with_its_own_key_only(alg: str) -> None:
    def made(number: int) -> KeyRing:
        if alg in SYMMETRIC:
            return ring(alg=alg, secret_key=f"{number}{SECRET}")
        return ring(alg=alg, private_key=pem_for(alg, number).private)

    keys, others = made(0), made(1)
    assert keys.signer is not None
    token = sign_jws(b'{"sub":"ann"}', keys.signer)
    header, payload = verify_jws(token, keys)
    assert header == {"alg": alg, "typ": "JWT", "kid": keys.signer.kid}
    assert payload == b'{"sub":"ann"}'
    assert refused(token, others) is Reason.INVALID


# --- the gate -------------------------------------------------------------------------

SHAPES = {
    "empty": "",
    "no dots": "abc",
    "one dot": "abc.def",
    "three dots": craft() + ".",
    "five segments": craft() + ".abc.def",
    "empty header": craft().partition(".")[2].join([".", ""]),
    "no signature": craft().rpartition(".")[0] + ".",
    "padding": craft() + "=",
    "space before": " " + craft(),
    "space after": craft() + " ",
    "line end": craft() + "\n",
    "NUL": craft() + "\0",
    "scheme": "Bearer " + craft(),
    "plus": craft().replace("-", "+") + "+",
    "slash": craft() + "/",
    "not ASCII": craft() + "é",
    "digits of another script": craft() + "١",
    "full stop of another script": craft().replace(".", "\uff0e"),
    "lone surrogate": craft() + "\udcff",
    "percent": craft().replace(".", "%2E"),
    "quoted": f'"{craft()}"',
}


@each_case("what", SHAPES)
def test_what_has_not_the_shape_of_a_token_is_refused(what: str, keys: KeyRing) -> None:
    assert refused(SHAPES[what], keys) is Reason.INVALID


@each_case("value", [None, 0, b"a.b.c", ["a.b.c"], {}, True], ids=repr)
def test_what_is_no_text_is_refused(value: Any, keys: KeyRing) -> None:
    assert refused(value, keys) is Reason.INVALID


def test_a_token_is_read_up_to_its_bound_and_not_beyond(keys: KeyRing) -> None:
    token = craft(payload=b"x" * 6000)
    assert verify_jws(token, keys, max_bytes=len(token))
    assert refused(token, keys, max_bytes=len(token) - 1) is Reason.TOO_LARGE
    assert refused("x" * 8193, keys) is Reason.TOO_LARGE
    assert refused("x" * 8192, keys) is Reason.INVALID


def test_a_header_is_read_up_to_two_kibibytes(keys: KeyRing) -> None:
    room = MAX_HEADER_BYTES - len(json.dumps({**HEADER, "x": ""}))
    assert verify_jws(craft({**HEADER, "x": "x" * room}), keys)
    assert refused(craft({**HEADER, "x": "x" * (room + 1)}), keys) is Reason.TOO_LARGE


def last_changed(token: str, position: int) -> str:
    """The token with another spelling of the same bytes at the end of one segment."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    parts = token.split(".")
    last = parts[position][-1]
    parts[position] = parts[position][:-1] + alphabet[alphabet.index(last) ^ 1]
    return ".".join(parts)


@each_case("position", [0, 1, 2])
def test_one_value_has_one_spelling(position: int, keys: KeyRing) -> None:
    # Lengths that leave unused bits at the end of each segment.
    header, payload = b'{"alg":"HS256","typ":"JWT" }', b'{"sub":"ann"}'
    token = craft(header, payload)
    assert verify_jws(token, keys)
    other = last_changed(token, position)
    lengths = [len(part) % 4 for part in token.split(".")]
    assert lengths[position] in (2, 3), "this segment has no unused bits: the test proves nothing"
    assert base64.urlsafe_b64decode(other.split(".")[position] + "==") == (
        base64.urlsafe_b64decode(token.split(".")[position] + "==")
    )
    assert refused(other, keys) is Reason.INVALID


@each_case("position", [0, 1, 2])
def test_a_segment_of_an_impossible_length_is_refused(position: int, keys: KeyRing) -> None:
    parts = craft().split(".")
    parts[position] = parts[position][: len(parts[position]) // 4 * 4] + "A"
    assert refused(".".join(parts), keys) is Reason.INVALID


def test_a_changed_bit_anywhere_is_refused(keys: KeyRing) -> None:
    token = craft()
    for index, letter in enumerate(token):
        if letter != ".":
            changed = token[:index] + ("A" if letter != "A" else "B") + token[index + 1 :]
            assert refused(changed, keys) is Reason.INVALID


BAD_HEADERS: dict[str, Any] = {
    "no algorithm": {"typ": "JWT"},
    "none": {"alg": "none"},
    "None": {"alg": "None"},
    "nOnE": {"alg": "nOnE"},
    "empty": {"alg": ""},
    "null": {"alg": None},
    "number": {"alg": 256},
    "list": {"alg": ["HS256"]},
    "mapping": {"alg": {"HS256": 1}},
    "true": {"alg": True},
    "lower case": {"alg": "hs256"},
    "space": {"alg": "HS256 "},
    "another of the family": {"alg": "HS512"},
    "another family": {"alg": "RS256"},
    "crit": {**HEADER, "crit": ["exp"]},
    "empty crit": {**HEADER, "crit": []},
    "crit of b64": {**HEADER, "b64": False, "crit": ["b64"]},
    "b64": {**HEADER, "b64": True},
    "zip": {**HEADER, "zip": "DEF"},
    "enc": {**HEADER, "enc": "A256GCM"},
    "nested": {**HEADER, "cty": "JWT"},
    "foreign kid": {**HEADER, "kid": "other"},
    "kid of another type": {**HEADER, "kid": ["a"]},
    "null kid": {**HEADER, "kid": None},
    "path as kid": {**HEADER, "kid": "../../../dev/null"},
    "twice": b'{"alg":"HS256","alg":"HS256"}',
    "twice, escaped": b'{"alg":"HS256","\\u0061lg":"HS256"}',
    "list of one": [HEADER],
    "text": b'"HS256"',
    "number alone": b"1",
    "null alone": b"null",
    "nothing": b" ",
    "not JSON": b"{",
    "two values": b'{"alg":"HS256"}{}',
    "single quotes": b"{'alg':'HS256'}",
    "comment": b'{"alg":"HS256"}//',
    "trailing comma": b'{"alg":"HS256",}',
    "byte order mark": b'\xef\xbb\xbf{"alg":"HS256"}',
    "UTF-16": '{"alg":"HS256"}'.encode("utf-16"),
    "UTF-16 without a mark": '{"alg":"HS256"}'.encode("utf-16-le"),
    "UTF-32": '{"alg":"HS256"}'.encode("utf-32"),
    "latin-1": '{"alg":"HS256","x":"é"}'.encode("latin-1"),
    "overlong UTF-8": b'{"alg":"HS256","x":"\xc0\xaf"}',
    "NaN": b'{"alg":"HS256","x":NaN}',
    "Infinity": b'{"alg":"HS256","x":-Infinity}',
    "overflow": b'{"alg":"HS256","x":1e999}',
    "lone surrogate": b'{"alg":"HS256","x":"\\ud800"}',
    "control character": b'{"alg":"HS256","x":"\x01"}',
    "too deep": b'{"alg":"HS256","x":' + b"[" * 16 + b"]" * 16 + b"}",
    "much too deep": b'{"alg":"HS256","x":' + b"[" * 900 + b"]" * 900 + b"}",
}


@each_case("what", BAD_HEADERS)
def test_a_header_that_is_not_just_right_is_refused(what: str, keys: KeyRing) -> None:
    # Its signature is right: nothing but the header can be the cause.
    assert refused(craft(BAD_HEADERS[what]), keys) is Reason.INVALID


@each_case("name", ["jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256"])
def test_a_key_that_came_in_the_token_is_not_used(name: str, keys: KeyRing) -> None:
    own = oct_of(b"e" * 64, alg="HS256")
    header = {**HEADER, name: own if name == "jwk" else "https://example.org/jwks.json"}
    assert refused(craft(header, secret="e" * 64), keys) is Reason.INVALID


def test_every_refusal_has_the_same_words(keys: KeyRing) -> None:
    # Otherwise they would tell apart an unknown key, a bad header and a bad signature.
    said = set()
    for token in (
        craft(secret="x"),
        craft({**HEADER, "kid": "x"}),
        craft({"alg": "none"}),
        "a.b.c",
    ):
        with pytest.raises(TokenError) as caught:
            verify_jws(token, keys)
        said.add(str(caught.value))
    assert len(said) == 1


KEYS = ring(secret_key=SECRET)
quietly = settings(deadline=None, database=None)


@quietly
@given(st.text(max_size=40) | st.lists(st.text("aA1-_.=+é", max_size=9)).map(".".join))
def test_any_text_is_refused_with_a_token_error(text: str) -> None:
    with pytest.raises(TokenError):
        verify_jws(text, KEYS)


@quietly
@given(st.binary(max_size=60))
def test_any_signed_bytes_as_a_header_are_refused_or_right(raw: bytes) -> None:
    try:
        header, _ = verify_jws(craft(raw), KEYS)
    except TokenError:
        return
    assert header["alg"] == "HS256"


# --- JSON -----------------------------------------------------------------------------


@each_case("depth", [1, 2, MAX_DEPTH])
@each_case("brackets", [(b"[", b"]"), (b'{"x":', b"}")])
def test_nesting_up_to_the_bound_is_read(depth: int, brackets: tuple[bytes, bytes]) -> None:
    inner = brackets[0] * (depth - 1) + b"1" + brackets[1] * (depth - 1)
    # Once on its own, and once beside so many others that depth is looked at.
    assert strict_object(b'{"x":' + inner + b"}")["x"]
    assert strict_object(b'{"y":[' + b"[]," * 20 + b'0],"x":' + inner + b"}")["x"]


@each_case("depth", [MAX_DEPTH + 1, 50, 100_000])
@each_case("brackets", [(b"[", b"]"), (b'{"x":', b"}")])
def test_deeper_nesting_is_refused(depth: int, brackets: tuple[bytes, bytes]) -> None:
    inner = brackets[0] * (depth - 1) + b"1" + brackets[1] * (depth - 1)
    with pytest.raises(TokenError):
        strict_object(b'{"x":' + inner + b"}")


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert len(strict_object(b'{"x":[' + b"[]," * 500 + b"{}]}")["x"]) == 501


def test_brackets_in_a_text_are_not_deep() -> None:
    assert strict_object(b'{"x":"' + b"[" * 500 + b'"}') == {"x": "[" * 500}


@each_case(
    "raw",
    [
        b'{"a":{"b":1,"b":1}}', b'{"a":[{"b":1,"\\u0062":2}]}', b'{"a":NaN}', b'{"a":[Infinity]}',
        b'{"a":-1e400}', b'{"a":"\\ud800"}', b'{"\\ud800":1}', b'{"a":"\\udc00\\ud800"}',
        b'{"a":"\xed\xa0\x80"}', b'{"a":' + b"9" * 5000 + b"}",
        b"[]", b'"a"', b"1", b"true", b"null", b"", b" ", b"\xff",
    ],
    ids=lambda raw: repr(raw[:30]),
)  # fmt: skip
def test_what_two_parsers_could_read_in_two_ways_is_refused(raw: bytes) -> None:
    with pytest.raises(TokenError) as caught:
        strict_object(raw)
    assert caught.value.reason is Reason.INVALID


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert strict_object(b'{"a":"\\ud834\\udd1e"}') == {"a": "\U0001d11e"}


def test_the_same_name_on_two_levels_is_no_duplicate() -> None:
    assert strict_object(b'{"a":{"a":{"a":1}}}') == {"a": {"a": {"a": 1}}}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=3
        )
    ),
    max_leaves=10,
)


@quietly
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), json_values, max_size=4))
def test_what_is_written_is_read_back_as_it_was(value: dict[str, Any]) -> None:
    assert strict_object(strict_dumps(value)) == value


@each_case("value", [math.nan, math.inf, -math.inf, "\ud800", {"\udfff": 1}, [math.nan]], ids=repr)
def test_what_json_cannot_say_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError):
        strict_dumps({"x": value})


@each_case("value", [b"x", {1, 2}, object(), 1j], ids=lambda v: type(v).__name__)
def test_what_json_has_no_form_for_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError):
        strict_dumps({"x": value})


@each_case("value", [{1: "a"}, {None: 1}, {True: 1}, [{1.5: 2}], {1: 1, "1": 2}], ids=repr)
def test_name_that_is_no_string_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        strict_dumps({"x": value})


def test_a_cycle_is_a_value_error() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(ValueError):
        strict_dumps({"x": cycle})


def test_what_is_written_is_compact_utf8() -> None:
    assert strict_dumps({"a": [1, "é"], "b": None}) == '{"a":[1,"é"],"b":null}'.encode()
