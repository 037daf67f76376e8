"""The string of an API key: ``<prefix>_<id><secret><checksum>`` in base62.

The prefix lets secret scanners find a key. The id names it in the store and begins with the slot
of its owner. The checksum keeps typos and floods from the store; an attacker can compute it.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import secrets
import string

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SLOT_ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
_DIGITS = {letter: value for value, letter in enumerate(ALPHABET)}
#: Each number below 62 * 62 as two letters: a checksum is computed on every request.
_PAIRS = tuple(high + low for high in ALPHABET for low in ALPHABET)
_URL_SAFE = bytes.maketrans(b"+/", b"-_")

#: The slot as a number below 4,096, then 77 random bits.
_SLOT, _ID = 3, 16
#: 256 random bits.
_SECRET = 43
_CHECKSUM = 6
#: Characters behind the prefix and its underscore.
_BODY = _ID + _SECRET + _CHECKSUM
_FORM = re.compile(rf"[01][0-9A-Za-z]{{{_BODY - 1}}}")
_ANY = re.compile(rf"[a-z][a-z0-9]*_{_FORM.pattern}")


def new_key(prefix: str, slot: str) -> str:
    """Return a new key for an owner in a slot."""
    number = _SLOT_ALPHABET.index(slot[0]) * 64 + _SLOT_ALPHABET.index(slot[1])
    random = "".join(secrets.choice(ALPHABET) for _ in range(_ID - _SLOT + _SECRET))
    text = f"{prefix}_{ALPHABET[number // len(_PAIRS)]}{_PAIRS[number % len(_PAIRS)]}{random}"
    return text + _checksum(text)


def has_form(text: str, prefix: str) -> bool:
    """Return True for the prefix, in any letter case, and the length of a key.

    Such a value is meant as a key, valid or not, so no other scheme is asked.
    """
    head = len(prefix)
    return len(text) == head + 1 + _BODY and text[head] == "_" and text[:head].lower() == prefix


def is_any_key(text: str) -> bool:
    """Return True for the form of a key, whatever its prefix."""
    return _ANY.fullmatch(text) is not None


def is_key(text: str, prefix: str) -> bool:
    """Return True if prefix, length, alphabet and checksum of a key are right."""
    if not has_form(text, prefix) or not text.startswith(prefix):
        return False
    body = text[len(prefix) + 1 :]
    return (
        _FORM.fullmatch(body) is not None
        and _number(body[:_SLOT]) < 64 * 64
        and _checksum(text[:-_CHECKSUM]) == text[-_CHECKSUM:]
    )


def slot_of_key(text: str) -> str:
    """Return the slot of a key's owner, if :func:`is_key`."""
    high, low = divmod(_number(text[-_BODY : _SLOT - _BODY]), 64)
    return _SLOT_ALPHABET[high] + _SLOT_ALPHABET[low]


def id_of(text: str) -> str:
    """Return the id of a key for the store, if :func:`is_key`: it begins with the slot."""
    return slot_of_key(text) + text[_SLOT - _BODY : _ID - _BODY]


def digest_of(text: str) -> bytes:
    """Return a hash of an ASCII string, as a cache key."""
    return hashlib.sha256(b"flask_jam api key\0" + text.encode("ascii")).digest()


def hashed(text: str) -> str:
    """Return the hash that the store keeps of a key; the key cannot be derived from it."""
    raw = binascii.b2a_base64(digest_of(text), newline=False)
    return raw.translate(_URL_SAFE)[:43].decode()


def length_of(prefix: str) -> int:
    """Return the length of a key, in characters."""
    return len(prefix) + 1 + _BODY


def pattern_of(prefix: str) -> str:
    """Return a regular expression that finds keys in files, in the scanners' common syntax."""
    return rf"\b{prefix}_{_FORM.pattern}\b"


def _checksum(text: str) -> str:
    high, low = divmod(binascii.crc32(text.encode("ascii")), len(_PAIRS))
    high, middle = divmod(high, len(_PAIRS))
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]


def _number(letters: str) -> int:
    """Return the number that three letters encode."""
    high, middle, low = letters[0], letters[1], letters[2]
    return (_DIGITS[high] * len(ALPHABET) + _DIGITS[middle]) * len(ALPHABET) + _DIGITS[low]
