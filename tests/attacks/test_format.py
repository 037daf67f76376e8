"""How a token is written down: E01 to E21.

Payloads are signed by the app's own key unless the case is about the text of the token, so that
nothing but the form can be what is refused. In the header of a request, what is no token68 (RFC
9110 11.2) is a bad request (400); in a cookie it is a bad token like any other (401). Where the
catalogue says 401 of such a header, the contract wins.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from flask_jam import Reason, TokenError
from flask_jam.jws import verify_jws
from flask_jam.keys import Key, KeyRing

from ..cases import each_case
from .forge import Signer, b64, claims, raw_json, unb64
from .victim import COOKIE, INVALID, MALFORMED, MISSING, Victim, check_refusal

Attack = Callable[[Signer], str]
Target = Callable[..., Victim]


def with_symbols(own: Signer) -> str:
    """A good token that has a ``-`` and a ``_`` in its signature."""
    for attempt in range(1000):
        token = own.token(claims(jti=f"attempt-{attempt}"))
        signature = token.rpartition(".")[2]
        if "-" in signature and "_" in signature:
            return token
    raise AssertionError("base64url has lost two letters")


def inside(text: str, part: int = 1) -> Attack:
    """``text`` in the middle of a segment."""

    def attack(own: Signer) -> str:
        segments = own.token().split(".")
        middle = len(segments[part]) // 2
        segments[part] = segments[part][:middle] + text + segments[part][middle:]
        return ".".join(segments)

    return attack


def padded(part: int, count: int) -> Attack:
    def attack(own: Signer) -> str:
        segments = own.token().split(".")
        segments[part] += "=" * count
        return ".".join(segments)

    return attack


def properly_padded(own: Signer) -> str:
    """Every segment with exactly the padding that base64 has, signed that way."""

    def full(raw: bytes) -> str:
        text = b64(raw)
        return text + "=" * (-len(text) % 4)

    text = f"{full(raw_json(own.header(x='a')))}.{full(raw_json(claims(x='a')))}"
    return f"{text}.{full(own.sign(text.encode()))}"


def standard_alphabet(own: Signer) -> str:
    return with_symbols(own).replace("-", "+").replace("_", "/")


def standard_alphabet_signed(own: Signer) -> str:
    """The signature holds over the text as it is sent."""
    payload = b64(raw_json(claims(x="\u00fb\u00ff\u00fe>>>???"))).replace("-", "+")
    return own.sealed(f"{b64(raw_json(own.header()))}.{payload}/")


# --- base64url ------------------------------------------------------------------------


@each_case(
    "attack",
    [
        pytest.param(padded(2, 1), id="E01-padding-behind-the-signature"),
        pytest.param(padded(2, 2), id="E01-padding-twice"),
        pytest.param(padded(2, 3), id="E01-padding-three-times"),
        pytest.param(padded(2, 5000), id="E01-padding-by-the-thousand"),
        pytest.param(standard_alphabet, id="E03-standard-alphabet"),
        pytest.param(standard_alphabet_signed, id="E03-standard-alphabet-signed"),
        *[
            pytest.param(inside(letter, part), id=f"E05-{letter}-in-segment-{part}")
            for letter in "~+/"
            for part in (0, 1, 2)
        ],
        pytest.param(lambda own: own.token() + ".AAAA", id="E06-four-segments"),
        pytest.param(lambda own: own.token() + ".", id="E06-trailing-dot"),
        pytest.param(lambda own: "." + own.token(), id="E06-leading-dot"),
        pytest.param(lambda own: own.token().replace(".", "..", 1), id="E06-double-dot"),
        pytest.param(lambda own: own.token().partition(".")[2], id="E06-two-segments"),
        pytest.param(lambda own: own.token().replace(".", ""), id="E06-no-dot"),
        pytest.param(lambda own: "." + own.token().partition(".")[2], id="E06-no-header"),
        pytest.param(
            lambda own: "{0}..{2}".format(*own.token().split(".")), id="E06-no-payload"
        ),
        pytest.param(lambda own: own.sealed(b64(raw_json(own.header())) + "."),
                     id="E06-empty-payload-signed"),
        *[pytest.param(lambda _own, dots=n: "." * dots, id=f"E06-{n}-dots") for n in (1, 2, 3, 4)],
        pytest.param(lambda _own: "a", id="E06-one-letter"),
        pytest.param(lambda _own: "a.b.c", id="E06-three-letters"),
        pytest.param(lambda own: own.token() * 2, id="E06-twice"),
        *[
            pytest.param(inside("A" * count, 2), id=f"E20-signature-longer-by-{count}")
            for count in (1, 2, 3)
        ],
        # A lone letter stands for 6 bits, which are no byte. 4n + 1 letters never come from bytes.
        pytest.param(lambda own: own.sealed(b64(raw_json(own.header())) + ".AAAAA"),
                     id="E20-payload-of-five-letters"),
        pytest.param(lambda own: own.sealed(_four_n_plus_one(own.header(), claims(), 0)),
                     id="E20-header-of-4n-plus-1"),
        pytest.param(lambda own: own.sealed(_four_n_plus_one(own.header(), claims(), 1)),
                     id="E20-payload-of-4n-plus-1"),
        pytest.param(lambda own: own.token() + "A" * (1 + -len(own.token().rpartition(".")[2]) % 4),
                     id="E20-signature-of-4n-plus-1"),
        pytest.param(lambda own: own.token().rpartition(".")[0] + ".A", id="E20-signature-of-one"),
    ],
)  # fmt: skip
def test_a_token_that_is_not_three_times_base64url_is_refused(
    victim: Target, attack: Attack
) -> None:
    target = victim()
    target.accepts(with_symbols(target.signer))
    target.refuses(attack(target.signer))


def _four_n_plus_one(header: Any, payload: Any, part: int) -> str:
    """JSON that ends where a segment is full, and a letter more."""
    raws = [raw_json(header), raw_json(payload)]
    raws = [raw + b" " * (-len(raw) % 3) for raw in raws]
    segments = [b64(raw) for raw in raws]
    segments[part] += "A"
    return ".".join(segments)


ILLEGAL = {
    "space": " ", "tab": "\t", "cr": "\r", "lf": "\n", "crlf": "\r\n", "nul": "\0", "vt": "\x0b",
    "ff": "\x0c", "escape": "\x1b", "del": "\x7f", "nbsp": "\xa0", "nel": "\x85",
    "folded": "\r\n ",
}  # fmt: skip


@each_case(
    "attack",
    [
        pytest.param(padded(0, 1), id="E02-padding-behind-the-header"),
        pytest.param(padded(1, 1), id="E02-padding-behind-the-payload"),
        pytest.param(padded(0, 2), id="E02-padding-twice-behind-the-header"),
        pytest.param(padded(1, 2), id="E02-padding-twice-behind-the-payload"),
        pytest.param(properly_padded, id="E02-properly-padded-everywhere"),
        pytest.param(inside("="), id="E02-padding-in-the-middle"),
        pytest.param(lambda own: own.token().replace(".", "=.", 2), id="E02-both"),
        *[
            pytest.param(inside(text, part), id=f"E04-{label}-in-segment-{part}")
            for label, text in ILLEGAL.items()
            for part in (0, 1, 2)
        ],
        *[
            pytest.param(lambda own, text=text: own.token().replace(".", text + "."),
                         id=f"E04-{label}-before-the-dots")
            for label, text in ILLEGAL.items()
        ],
        *[
            pytest.param(inside(letter, part), id=f"E05-{ord(letter):02x}-in-segment-{part}")
            for letter in "!\"#$%&'()*,:<>?@[\\]^`{|}"
            for part in (0, 1, 2)
        ],
        *[
            pytest.param(inside(text, part), id=f"E07-{label}-in-segment-{part}")
            for label, text in {
                "latin-1": "\xe9", "utf-8-as-latin-1": "\xc3\xa9", "high": "\xff",
                "fullwidth-as-latin-1": "\uff21".encode().decode("latin-1"),
            }.items()
            for part in (0, 1, 2)
        ],
        pytest.param(lambda _own: "\xe9" * 40, id="E07-nothing-else"),
        pytest.param(lambda own: own.token() + "\xe9", id="E07-behind"),
        # What a server would put into the environ is latin-1; an odd one might not.
        *[
            pytest.param(inside(text), id=f"E07-{label}")
            for label, text in {
                "arabic-digits": "\u0661", "fullwidth": "\uff21", "astral": "\U0001f511",
                "line-separator": "\u2028", "byte-order-mark": "\ufeff", "kelvin": "\u212a",
            }.items()
        ],
        pytest.param(inside("\ud800"), id="E08-lone-surrogate-in-the-environ"),
        pytest.param(lambda own: "\udcff" + own.token(), id="E08-escaped-byte-in-the-environ"),
    ],
)  # fmt: skip
def test_a_token_with_a_letter_that_no_token_has_is_refused(victim: Target, attack: Attack) -> None:
    target = victim()
    target.accepts(target.signer.token())
    target.malformed(attack(target.signer))


# A cookie ends at ";", so what stands before it is the token: cut off, hence refused.
def test_E05_a_semicolon_in_a_token_is_refused(victim: Target) -> None:
    target = victim()
    target.malformed(inside(";")(target.signer))


@each_case(
    ("header", "cookie"),
    [
        pytest.param("Bearer ", f"{COOKIE}=", id="E06-empty"),
        pytest.param("Bearer", COOKIE, id="E06-nothing"),
        pytest.param("Bearer \t ", f"{COOKIE}= ", id="E06-blank"),
    ],
)
def test_an_empty_token_is_a_bad_header_and_no_cookie(
    victim: Target, header: str, cookie: str
) -> None:
    # A browser that was told to clear a cookie may send it empty: that is nobody, not an attack.
    target = victim()
    check_refusal(target.get("/jwt", header), MALFORMED)
    check_refusal(target.get("/jwt", cookie=cookie), MISSING)
    assert target.get("/optional", cookie=cookie).json["payload"] is None


# --- lone surrogates where a text can hold one ----------------------------------------


@each_case(
    "text",
    [
        pytest.param(r"\ud800", id="E08-high-alone"),
        pytest.param(r"\udc00", id="E08-low-alone"),
        pytest.param(r"\udc00\ud800", id="E08-wrong-order"),
        pytest.param(r"a\udfff.b.c", id="E08-among-others"),
    ],
)
def test_a_lone_surrogate_in_a_refresh_request_is_refused(victim: Target, text: str) -> None:
    target = victim()
    body = f'{{"refresh_token": "{text}"}}'
    response = target.client.post("/refresh", data=body, content_type="application/json")
    # The body is no text at all (RFC 8259 8.2), so it is the request that is wrong.
    check_refusal(response, MALFORMED)


def test_E08_a_lone_surrogate_is_a_bad_token_to_every_method(victim: Target) -> None:
    jam = victim().jam
    for text in ("\ud800", "a.b.\udfff", "\ud800" * 9000):
        with pytest.raises(TokenError):
            jam.verify_jwt_token(text)
        with pytest.raises(TokenError):
            jam.refresh_tokens(text)
        assert jam.revoke_token(text) is False


def test_E08_a_surrogate_in_the_bytes_of_a_cookie_is_refused(victim: Target) -> None:
    target = victim()
    encoded = "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")
    check_refusal(target.get("/jwt", cookie=f"{COOKIE}=a.{encoded}.c"), INVALID)


# --- payloads -------------------------------------------------------------------------

GOOD = json.dumps(claims())


def plus(member: str) -> str:
    """The good payload with a member more, as text."""
    return f"{GOOD[:-1]}, {member}}}"


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    """The good payload, ``depth`` levels deep all in all."""
    return plus(f'"x": {opening * (depth - 1)}{closing * (depth - 1)}')


PAYLOADS: dict[str, str | bytes] = {
    **{
        f"E09-{encoding}": GOOD.encode(encoding)
        for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be",
                         "utf-8-sig")
    },
    "E10-latin-1": plus('"x": "\xe9"').encode("latin-1"),
    "E10-overlong-slash": plus('"x": "@"').encode().replace(b"@", b"\xc0\xaf"),
    "E10-overlong-nul": plus('"x": "@"').encode().replace(b"@", b"\xc0\x80"),
    "E10-overlong-in-three": plus('"x": "@"').encode().replace(b"@", b"\xe0\x80\xaf"),
    "E10-cut-off": plus('"x": "@"').encode().replace(b"@", b"\xe2\x82"),
    "E10-continuation-alone": plus('"x": "@"').encode().replace(b"@", b"\x80"),
    "E10-surrogate-bytes": plus('"x": "@"').encode().replace(b"@", b"\xed\xa0\x80"),
    "E10-cesu-8": plus('"x": "@"').encode().replace(b"@", b"\xed\xa0\xbd\xed\xb4\x91"),
    "E10-beyond-unicode": plus('"x": "@"').encode().replace(b"@", b"\xf4\x90\x80\x80"),
    "E10-fe-ff": plus('"x": "@"').encode().replace(b"@", b"\xfe\xff"),
    "E10-in-a-name": plus('"@": 1').encode().replace(b"@", b"\xff"),
    "E11-sub-twice": plus('"sub": "mallory"'),
    "E11-same-sub-twice": plus('"sub": "alice"'),
    "E11-escaped-name": plus(r'"\u0073ub": "mallory"'),
    "E11-exp-twice": plus('"exp": 99999999999'),
    "E11-custom-twice": plus('"x": 1, "x": 2'),
    "E11-nested": plus('"x": {"a": 1, "a": 2}'),
    "E11-in-a-list": plus('"x": [{"a": 1, "a": 2}]'),
    "E11-empty-name-twice": plus('"": 1, "": 2'),
    "E12-array": f"[{GOOD}]",
    "E12-text": json.dumps(GOOD),
    "E12-number": "1",
    "E12-true": "true",
    "E12-null": "null",
    "E12-blank": " ",
    "E12-empty-object": "{}",
    "E12-garbage-behind": GOOD + "x",
    "E12-nul-behind": GOOD + "\0",
    "E12-two-documents": GOOD + GOOD,
    "E12-two-lines": GOOD + "\n" + GOOD,
    "E12-comma-behind": GOOD + ",",
    "E12-not-closed": GOOD[:-1],
    "E12-trailing-comma": GOOD[:-1] + ",}",
    "E12-comment": "/**/" + GOOD,
    "E12-single-quotes": GOOD.replace('"', "'"),
    "E12-raw-control-character": plus('"x": "\n"'),
    "E12-raw-nul": plus('"x": "\0"'),
    "E12-vertical-tab-before": "\x0b" + GOOD,
    "E12-nbsp-before": "\xa0" + GOOD,
    "E12-leading-zero": plus('"x": 01'),
    "E12-hex": plus('"x": 0x10'),
    "E12-plus": plus('"x": +1'),
    "E12-bare-point": plus('"x": .5'),
    "E12-python-none": plus('"x": None'),
    "E12-pickle": b"\x80\x04}\x94.",
    "E12-query-string": "sub=alice&exp=99999999999",
    "E12-cbor": bytes.fromhex("a1") + b"csub" + b"ealice",
    **{
        f"E13-{label}-{constant}": text.replace("@", constant)
        for constant in ("NaN", "Infinity", "-Infinity")
        for label, text in {
            "custom": plus('"x": @'), "nested": plus('"x": {"y": [@]}'),
            "nbf": plus('"nbf": @'), "exp": '{"sub": "alice", "jti": "a", "exp": @}',
            "iat": '{"sub": "alice", "jti": "a", "exp": 1800000600, "iat": @}',
        }.items()
    },
    "E14-1e400": plus('"x": 1e400'),
    "E14-minus-1e400": plus('"x": -1e400'),
    "E14-1e400-nested": plus('"x": [[1E+400]]'),
    "E14-many-digits-and-exponent": plus(f'"x": {"9" * 400}.0'),
    "E14-4301-digits": plus(f'"x": {"9" * 4301}'),
    "E14-minus-4301-digits": plus(f'"x": -{"9" * 4301}'),
    "E14-exp-4301-digits": f'{{"sub": "alice", "jti": "a", "exp": {"9" * 4301}}}',
    "E14-exp-400-digits": f'{{"sub": "alice", "jti": "a", "exp": {"9" * 400}}}',
    "E14-exp-1e400": '{"sub": "alice", "jti": "a", "exp": 1e400}',
    "E16-900-deep": nested(900),
    "E16-2500-deep": nested(2500),
    "E16-17-deep": nested(17),
    "E16-17-objects-deep": nested(17, '{"a":', "}").replace(":}", ":0}"),
    "E16-mixed-deep": nested(33, '[{"a":', "}]").replace(":}", ":0}"),
    **{
        f"E18-{label}-in-{claim}": json.dumps(claims(**{claim: value}))
        for claim in ("sub", "jti", "iss", "aud", "fam")
        for label, value in {
            "nul": "ali\0ce", "lone-surrogate": "ali\ud800ce", "low-surrogate": "\udc00",
            "257-letters": "a" * 257, "newline": "ali\nce", "escape": "\x1b[2J", "del": "\x7f",
            "c1-control": "\x9b2J", "empty": "",
        }.items()
    },
    **{
        f"E18-{label}-in-a-list-aud": json.dumps(claims(aud=["api", value]))
        for label, value in {"nul": "\0", "surrogate": "\ud800", "257-letters": "a" * 257}.items()
    },
    "E18-surrogate-in-a-custom-claim": json.dumps(claims(x="\ud800")),
    "E18-surrogate-in-a-name": json.dumps(claims(**{"\ud800": 1})),
    "E18-surrogate-deep-inside": json.dumps(claims(x=[{"y": "\udfff"}])),
}  # fmt: skip


@each_case("payload", [pytest.param(p, id=code) for code, p in PAYLOADS.items()])
def test_a_payload_that_could_be_read_in_two_ways_is_refused(
    victim: Target, payload: str | bytes
) -> None:
    target = victim(max_token_bytes=32768)
    own = target.signer
    target.accepts(own.seal(own.header(), GOOD.encode()))
    raw = payload if isinstance(payload, bytes) else payload.encode()
    target.refuses(own.seal(own.header(), raw))


# Not JSON at all, or beyond what Python itself reads.
_NOBODY_READS = ("E10", "E12", "E14-4301", "E14-minus", "E14-exp-4301", "E16-2500")


@each_case("code", [c for c in PAYLOADS if not c.startswith(_NOBODY_READS)])
def test_a_lenient_parser_would_have_read_it(code: str) -> None:
    raw = PAYLOADS[code]
    text = raw if isinstance(raw, bytes) else raw.encode()
    assert {"sub", "jti", "exp"} <= set(json.loads(text))


@each_case(
    "payload",
    [
        pytest.param(nested(16), id="E16-16-deep"),
        pytest.param(nested(16, '{"a":', "}").replace(":}", ":0}"), id="E16-16-objects-deep"),
        pytest.param(plus('"x": [' + "[]," * 40 + "[]]"), id="E16-many-but-flat"),
        pytest.param(plus('"x": "' + "[" * 900 + '"'), id="E16-brackets-in-a-text"),
        pytest.param(plus('"x": ' + "9" * 400), id="E14-400-digits-in-a-claim-of-ones-own"),
        pytest.param(plus('"x": 1e300'), id="E14-1e300-in-a-claim-of-ones-own"),
        pytest.param(" \t\r\n" + GOOD + " \t\r\n", id="E12-white-space-around"),
        pytest.param(plus(r'"x": "\ud83d\udd11"'), id="E18-a-pair-of-surrogates"),
        pytest.param(plus(r'"x": "\u0000"'), id="E18-nul-in-a-claim-of-ones-own"),
        pytest.param(json.dumps(claims(sub="a" * 256)), id="E18-256-letters"),
        pytest.param(json.dumps(claims(sub="\u00e9\u4e2d\U0001f511 'x'")), id="E18-any-script"),
    ],
)
def test_a_payload_within_the_limits_is_as_it_was_sent(victim: Target, payload: str) -> None:
    target = victim()
    own = target.signer
    assert target.accepts(own.seal(own.header(), payload.encode())) == json.loads(payload)


@each_case(
    "text",
    [
        pytest.param('{"x":' * 100_000 + "1" + "}" * 100_000, id="E15-objects"),
        pytest.param("[" * 100_000 + "]" * 100_000, id="E15-arrays"),
        pytest.param("[" * 100_000, id="E15-arrays-not-closed"),
        pytest.param('{"x":[' * 50_000, id="E15-mixed-not-closed"),
    ],
)
@each_case("limit", [8192, 65536])
def test_a_hundred_thousand_levels_are_refused_without_a_crash(
    victim: Target, text: str, limit: int
) -> None:
    target = victim(max_token_bytes=limit)
    own = target.signer
    # Whole, it is too long for any limit; what fits into one is deep enough to exhaust a parser.
    target.refuses(own.seal(own.header(), text.encode()), reason="too_large")
    fits = text.encode()[: limit * 3 // 4 - 400]
    target.refuses(own.seal(own.header(), fits))
    target.refuses(own.seal(fits[:2000], claims()))


# --- sizes ----------------------------------------------------------------------------


def of_size(own: Signer, size: int) -> str:
    """A good token of exactly ``size`` characters."""
    start = size * 3 // 4 - 400
    for fill in range(start, start + 400):
        token = own.token(claims(x="A" * fill))
        if len(token) == size:
            return token
        # base64url leaves lengths out that the header's can make up for.
        token = own.token(claims(x="A" * fill), x="A")
        if len(token) == size:
            return token
    raise AssertionError("no token has this size")


@each_case("limit", [8192, 1024, 65536])
def test_E17_a_token_beyond_the_limit_is_refused_before_it_is_decoded(
    victim: Target, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    target = victim(max_token_bytes=limit)
    target.accepts(of_size(target.signer, limit))
    monkeypatch.setattr(Key, "verify", lambda *_: pytest.fail("it was looked at"))
    target.refuses(of_size(target.signer, limit + 1), reason="too_large")
    for size in (2 * limit, 4 * 65536, 4 * 65536 + 1, 2_000_000):
        for text in ("A" * size, "A." * (size // 2), f"{'A' * size}.{'A' * size}.{'A' * size}"):
            target.refuses(text, reason="too_large")


def test_E17_the_limit_holds_wherever_a_token_is_taken(victim: Target) -> None:
    target = victim(fresh=True)
    token = of_size(target.signer, 8193)
    ring = KeyRing.from_settings(target.jam.settings.jwt)
    verify_jws(of_size(target.signer, 8192), ring)
    for take in (target.jam.verify_jwt_token, lambda text: verify_jws(text, ring)):
        with pytest.raises(TokenError) as caught:
            take(token)
        assert caught.value.reason is Reason.TOO_LARGE
    assert target.jam.revoke_token(token) is False
    with pytest.raises(TokenError):
        target.jam.refresh_tokens(token)


@each_case(
    "text",
    [
        pytest.param("." * 1_000_000, id="E21-a-million-dots"),
        pytest.param(".." * 4000, id="E21-as-many-dots-as-fit"),
        pytest.param("a." * 4000, id="E21-segments"),
        pytest.param("." * 10_000_000, id="E21-ten-million-dots"),
        pytest.param("A" * 10_000_000, id="E17-ten-megabytes"),
        pytest.param("A" * 8000 + "=" * 100, id="E17-letters-and-padding"),
        pytest.param("=" * 1_000_000, id="E17-padding-alone"),
        pytest.param(" " * 1_000_000 + "x", id="E17-blanks"),
        pytest.param("a =" * 300_000, id="E17-blanks-and-padding"),
    ],
)
def test_size_costs_next_to_nothing(victim: Target, text: str) -> None:
    target = victim()
    started = time.process_time()
    answers = [target.get("/jwt", f"Bearer {text}"), target.get("/jwt", cookie=f"{COOKIE}={text}")]
    with pytest.raises(TokenError) as caught:
        target.jam.verify_jwt_token(text)
    # Parsing such a thing takes hundreds of milliseconds; refusing it, what copying it takes.
    assert time.process_time() - started < 0.25
    assert {answer.status_code for answer in answers} <= {400, 401}
    assert caught.value.reason in {Reason.TOO_LARGE, Reason.INVALID}


def test_E21_a_million_dots_are_refused_like_any_bad_token(victim: Target) -> None:
    victim().refuses("." * 1_000_000, reason="too_large")
    victim().refuses(".." * 4000)


# --- names that mean something to Python or to a script -------------------------------


@each_case(
    "name",
    [
        pytest.param(name, id=f"E19-{name or 'empty'}")
        for name in ("__class__", "__proto__", "__init__", "__dict__", "__flask_jam__", "items",
                     "keys", "get", "copy", "pop", "constructor", "prototype", "toString",
                     "scope.x", "$where", "", " ", "self", "exp2", "payload")
    ],
)  # fmt: skip
@each_case("value", ["mallory", {"__class__": "x", "items": [1]}, None, True])
def test_a_claim_by_any_name_is_data(victim: Target, name: str, value: Any) -> None:
    target = victim()
    said = claims(**{name: value})
    token = target.signer.token(said)
    assert target.accepts(token) == said
    payload = target.jam.verify_jwt_token(token)
    assert type(payload) is dict
    assert list(payload.items()) == list(said.items())
    assert target.get("/jwt", f"Bearer {token}").json["subject"] == "alice"


def test_E03_the_forge_writes_the_alphabet_that_it_says(victim: Target) -> None:
    token = with_symbols(victim().signer)
    twisted = standard_alphabet(victim().signer)
    assert twisted != token
    assert [unb64(s.replace("+", "-").replace("/", "_")) for s in twisted.split(".")] == [
        unb64(s) for s in token.split(".")
    ]
