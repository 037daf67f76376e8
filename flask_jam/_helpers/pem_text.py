"""PEM keys: read in every form that a setting may have, or rejected with the reason."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from ..errors import ConfigError


class Pem(NamedTuple):
    """PEM text in its usual form."""

    text: str
    #: The setting that holds it.
    setting: str


def read_pem(text: str | None, file: str | None, setting: str) -> Pem | None:
    """Return the PEM text of a setting or of the file that it names; None if neither is set.

    :raises ConfigError: if both are set, or the file cannot be read.
    """
    if text and file:
        raise ConfigError(f"write {setting} or {setting}_file, not both")
    if file is None:
        return Pem(normal_pem(text), setting) if text else None
    try:
        return Pem(normal_pem(_decode(Path(file).read_bytes())), f"{setting}_file")
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
    r"""Return PEM text in its usual form, whatever a .env file or a dashboard made of it.

    It undoes ``\n`` written as two characters, indentation, line endings of other systems, lines
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


def load_private(pem: Pem) -> Any:
    """Return the private key.

    :raises ConfigError: if the text is no such key; the sentence says why.
    """
    try:
        return serialization.load_pem_private_key(pem.text.encode(), password=None)
    except TypeError:
        raise ConfigError(f"{pem.setting} {_ENCRYPTED}") from None
    except UnsupportedAlgorithm:
        raise ConfigError(f"{pem.setting} {_UNSUPPORTED}") from None
    except Exception:
        _explain(pem, "PRIVATE KEY")


def load_public(pem: Pem) -> Any:
    """Return the public key.

    :raises ConfigError: if the text is no such key; the sentence says why.
    """
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


def _explain(pem: Pem, wanted: str) -> NoReturn:
    """Raise an error that explains why PEM text is not a key, from its first and last line."""
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
