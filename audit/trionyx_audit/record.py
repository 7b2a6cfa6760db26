"""The line: a canonical body, its signature, and the hash that chain and tree share.

    {"r":<canonical body>,"s":"<88 characters of base64>"}

Body and signature are found by fixed offsets, so nothing is re-serialised before a signature is checked.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from trionyx_audit.canonical import JSON
from trionyx_audit.errors import EncodingError, FormatError

FORMAT = "trionyx-audit/v1"
VERSION = 1
CONTEXT = b"trionyx-audit/v1 record\n"
"""Prefix of every signed record: a signature made here means nothing elsewhere, and the reverse."""

MAX_LINE = 65_535
"""Longest line without its newline; a C2SP entry bundle counts an entry's bytes in 16 bits."""

FIRST_PREVIOUS = "0" * 64
"""What record 0 holds as the hash of its predecessor."""

COMMON = frozenset({"v", "log", "seq", "prev", "kid", "ts", "mono_ns", "boot", "type"})
"""Members that the log itself writes into every body; a draft may hold none of them."""

_PREFIX = b'{"r":'
_MIDDLE = b',"s":"'
_SUFFIX = b'"}'
_SIGNATURE_CHARS = 88
_TAIL = len(_MIDDLE) + _SIGNATURE_CHARS + len(_SUFFIX)
_TYPE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_PAYLOAD_NAME = re.compile(r"[a-z0-9_]{1,64}")


@dataclass(frozen=True, slots=True)
class Draft:
    """A record before the log gives it a place.

    Args:
        type: dotted lower-case name, `call.intent`; names below `log.` belong to the log.
        body: canonical JSON object: the record's own members.
        payloads: byte strings that the record commits to by member name; stored encrypted beside the log.
    """

    type: str
    body: bytes
    payloads: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where a durable record stands: enough to find it later, and to notice if it is gone.

    Args:
        origin: the log's name.
        seq: place in the log, from 0.
        leaf: 32-byte leaf hash of the line.
    """

    origin: str
    seq: int
    leaf: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """One record as read.

    Args:
        seq: place in the log, from 0.
        type: record type.
        body: all members, those of the log included.
        line: the bytes of the line without the newline.
    """

    seq: int
    type: str
    body: dict[str, JSON]
    line: bytes


def leaf_hash(line: bytes) -> bytes:
    """Return the RFC 6962 leaf hash of a line without its newline; `prev` of the next record is its hex."""
    return sha256(b"\x00" + line).digest()


def frame(body: bytes, signature: bytes) -> bytes:
    """Return the line (without newline) of a canonical body and its 64-byte signature.

    Raises:
        EncodingError: the line would be longer than `MAX_LINE`.
    """
    line = _PREFIX + body + _MIDDLE + b2a_base64(signature, newline=False) + _SUFFIX
    if len(line) > MAX_LINE:
        raise EncodingError(f"the record is {len(line)} bytes long, more than {MAX_LINE}")
    return line


def body_of(line: bytes) -> bytes:
    """Return the body bytes of a line; does not parse them and does not check the signature.

    Raises:
        FormatError: the line is not framed as a record.
    """
    if (
        not line.startswith(_PREFIX)
        or not line.endswith(_SUFFIX)
        or line[-_TAIL : -_TAIL + len(_MIDDLE)] != _MIDDLE
    ):
        raise FormatError("the line is not framed as a record")
    return line[len(_PREFIX) : -_TAIL]


def signature_of(line: bytes) -> bytes | None:
    """Return the 64 signature bytes of a framed line, or None where they are not in their one base64 form."""
    text = line[-len(_SUFFIX) - _SIGNATURE_CHARS : -len(_SUFFIX)]
    try:
        signature = a2b_base64(text)
    except Base64Error:
        return None
    # Comparing with the re-encoded form refuses foreign characters, other padding and stray low bits.
    return signature if b2a_base64(signature, newline=False) == text and len(signature) == 64 else None


def check_type(name: str) -> None:
    """Refuse a record type that is not a dotted lower-case name.

    Raises:
        EncodingError: it is not.
    """
    if len(name) > 64 or _TYPE.fullmatch(name) is None:
        raise EncodingError("the record type is not a dotted lower-case name")


def check_payload_name(name: str) -> None:
    """Refuse a payload name that is no member name of the profile or belongs to the log.

    Raises:
        EncodingError: it is not, or does.
    """
    if _PAYLOAD_NAME.fullmatch(name) is None or name in COMMON:
        raise EncodingError("the payload name is not a free member name of [a-z0-9_]")


def commitments(body: Mapping[str, JSON]) -> dict[str, tuple[str, int]]:
    """Return the payloads a body commits to: name → (hex commitment, length in bytes)."""
    found: dict[str, tuple[str, int]] = {}
    for name, value in body.items():
        if isinstance(value, dict) and len(value) == 2 and "commit" in value and "bytes" in value:
            commit, length = value["commit"], value["bytes"]
            if isinstance(commit, str) and isinstance(length, int):
                found[name] = (commit, length)
    return found
