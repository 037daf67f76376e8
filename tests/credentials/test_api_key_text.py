"""The text of an API key: what is one, and what never reaches the store."""

from __future__ import annotations

import base64
import random
import re
from binascii import crc32
from collections.abc import Iterator

import pytest

from flask_jam._credentials.api_key_text import (
    ALPHABET,
    has_form,
    hashed,
    id_of,
    is_key,
    new_key,
    pattern_of,
    slot_of_key,
)
from flask_jam.stores.interface import slot_of

#: The shortest, the usual and the longest prefix, and one with every kind of character.
PREFIXES = ("ab", "jam", "a1b2", "z" * 16)


def slots() -> Iterator[str]:
    letters = base64.urlsafe_b64encode(bytes(range(256)) + bytes([251, 255, 191])).decode()
    unique = sorted(set(letters) - {"="})
    assert len(unique) == 64
    return (high + low for high in unique for low in unique)


def test_a_new_key_is_a_key_and_names_its_slot() -> None:
    for slot in list(slots())[::13]:
        key = new_key("jam", slot)
        assert is_key(key, "jam")
        assert has_form(key, "jam")
        assert slot_of_key(key) == slot
        assert id_of(key)[:2] == slot


def test_a_key_is_69_base62_characters_and_never_repeats() -> None:
    keys = [new_key("jam", slot_of("u")) for _ in range(100)]
    assert {len(key) for key in keys} == {69}
    assert all(set(key[4:]) <= set(ALPHABET) for key in keys)
    assert len({id_of(key) for key in keys}) == len({key[20:63] for key in keys}) == 100


def test_a_key_with_any_character_changed_is_none() -> None:
    key = new_key("jam", slot_of("u"))
    for at, right in enumerate(key):
        for wrong in ALPHABET + "_-. é０":
            changed = key[:at] + wrong + key[at + 1 :]
            assert is_key(changed, "jam") is (wrong == right), (at, wrong)


def test_a_key_cut_doubled_or_in_another_case_is_none() -> None:
    key = new_key("jam", slot_of("u"))
    wrong = [key[:n] for n in range(len(key))] + [key[n:] for n in range(1, len(key))]
    wrong += [key * 2, f"{key},{key}", f" {key}", f"{key}\n", key + "0", "0" + key]
    wrong += [key.lower(), key.upper(), key.swapcase(), key.capitalize(), "JAM" + key[3:]]
    for each in wrong:
        assert not is_key(each, "jam"), each


def test_a_prefix_in_another_case_is_none_whatever_the_checksum() -> None:
    key = new_key("jam", slot_of("u"))
    for head in ("JAM", "Jam", "jAm"):
        other = with_checksum(head + key[3:])
        assert has_form(other, "jam")
        assert not is_key(other, "jam")


def test_a_key_of_another_prefix_is_none() -> None:
    for own in PREFIXES:
        for other in {*PREFIXES, "jam2", "am"} - {own}:
            key = new_key(other, slot_of("u"))
            assert not has_form(key, own)
            assert not is_key(key, own)


def test_the_prefix_alone_changed_breaks_the_checksum() -> None:
    key = new_key("jam", slot_of("u"))
    assert not is_key("ham" + key[3:], "ham")


def test_the_form_is_prefix_and_length_in_any_case() -> None:
    for text in ("jam_" + "?" * 65, "JAM_" + "é" * 65, "Jam_" + "a.b.c" * 13):
        assert has_form(text, "jam")
        assert not is_key(text, "jam")
    for text in ("jam_" + "0" * 64, "jam_" + "0" * 66, "jam-" + "0" * 65, "jax_" + "0" * 65, ""):
        assert not has_form(text, "jam")


def test_a_slot_that_does_not_exist_is_no_key() -> None:
    # 4,096 is 144 in base62: an attacker can compute its checksum.
    key = new_key("jam", "__")
    for head, slot_exists in (("143", True), ("144", False), ("14G", False), ("1zz", False)):
        assert is_key(with_checksum(f"jam_{head}{key[7:]}"), "jam") is slot_exists


def test_the_hash_is_of_the_whole_key_and_holds_none_of_it() -> None:
    key = new_key("jam", slot_of("u"))
    others = {hashed(key[:at] + "0" + key[at + 1 :]) for at in range(len(key)) if key[at] != "0"}
    assert hashed(key) not in others
    assert len(hashed(key)) == 43
    assert key[4:20] not in hashed(key)


def test_a_random_string_of_the_form_is_a_key_by_chance_alone() -> None:
    _tell_random_strings(5_000)


@pytest.mark.slow
def test_a_million_random_strings_of_the_form_are_no_key() -> None:
    _tell_random_strings(1_000_000)


def _tell_random_strings(count: int) -> None:
    letters = bytes(ord(ALPHABET[byte % 62]) for byte in range(256))
    bodies = random.Random(14).randbytes(64 * count).translate(letters).decode()
    texts = ("jam_0" + bodies[at : at + 64] for at in range(0, len(bodies), 64))
    # By chance it is one in 62 ** 6.
    assert not any(is_key(text, "jam") for text in texts)


def test_the_pattern_finds_every_key_and_none_of_another_prefix() -> None:
    for prefix in PREFIXES:
        find = re.compile(pattern_of(prefix)).findall
        keys = [new_key(prefix, slot) for slot in list(slots())[::16]]
        for form in ("{}", "KEY='{}';", 'curl -H "Authorization: Bearer {}" x', "a:{},b", "k={}&"):
            text = "\n".join(form.format(key) for key in keys)
            assert find(text) == keys, form
        for other in set(PREFIXES) - {prefix}:
            assert find(" ".join(new_key(other, slot_of("u")) for _ in range(50))) == []


def test_the_pattern_needs_nothing_that_scanners_lack() -> None:
    # RE2 and Hyperscan have no look-around, back references or possessive quantifiers.
    for prefix in PREFIXES:
        assert not re.search(r"\(\?|\\[1-9]|[+*?}]\+", pattern_of(prefix))


def test_the_pattern_finds_no_longer_or_broken_word() -> None:
    key = new_key("jam", slot_of("u"))
    find = re.compile(pattern_of("jam")).findall
    assert find(f"{key}0 x{key} {key[:-1]} {key.upper()} {key[:30]}-{key[31:]}") == []


@pytest.mark.slow
def test_the_pattern_finds_nothing_in_100_mb_of_base64() -> None:
    source = random.Random(14)
    finds = [re.compile(pattern_of(prefix).encode()).findall for prefix in ("ab", "jam")]
    for _ in range(13):  # 4 MB of each alphabet
        raw = source.randbytes(3 * 2**20)
        for text in (base64.b64encode(raw), base64.urlsafe_b64encode(raw)):
            assert [find(text) for find in finds] == [[], []]


def with_checksum(text: str) -> str:
    """Return a text with the right last six characters, as an attacker computes them."""
    number, letters = crc32(text[:-6].encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        letters = ALPHABET[digit] + letters
    return text[:-6] + letters
