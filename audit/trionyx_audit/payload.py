"""Payloads: what records commit to without holding it, encrypted so that it can be erased.

A commitment is SHA-256 over a context, a random salt and the bytes. The salt is encrypted with the bytes, so
once both are gone the hash that stays in the record tells nothing, however few values there were to guess.

An entry of a payload file is a 4-byte length (big endian, of the rest), then

    seq (8) ‖ name length (1) ‖ name ‖ wrap nonce (12) ‖ wrapped key (48) ‖ nonce (12) ‖ sealed salt and bytes

Destroying the keyvault's key erases every payload of the log, wherever copies of the payload files may be.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from trionyx_audit.errors import PayloadError
from trionyx_audit.storage import Layout, open_regular, replace_file

COMMIT_CONTEXT = b"trionyx-audit/v1 commit\n"
PAYLOAD_CONTEXT = b"trionyx-audit/v1 payload\n"
SALT_BYTES = 32
KEY_BYTES = 32
MAX_PAYLOAD = 64 * 2**20
"""Largest payload in bytes; a caller with more has to cut it and say so in the record."""

_NONCE = 12
_WRAPPED = KEY_BYTES + 16
_FIXED = 8 + 1 + _NONCE + _WRAPPED + _NONCE


def commitment(salt: bytes, data: bytes) -> bytes:
    """Return the salted SHA-256 commitment to `data`."""
    return sha256(COMMIT_CONTEXT + salt + data).digest()


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one sealed payload lies in its file.

    Args:
        seq: record that commits to it.
        name: member of that record.
        offset: byte offset of the entry's length field.
        length: bytes of the entry after the length field.
    """

    seq: int
    name: str
    offset: int
    length: int


class Vault:
    """The key that wraps the data keys of one log's payloads; shows nothing of it when printed.

    Args:
        origin: the log's name; bound into every entry.
        key: 32 bytes.
    """

    __slots__ = ("_wrapping", "origin")

    def __init__(self, origin: str, key: bytes) -> None:
        self.origin = origin
        self._wrapping = AESGCM(key)

    @classmethod
    def create(cls, layout: Layout, origin: str, entropy: Callable[[int], bytes]) -> Vault:
        """Write a fresh key into the keyvault of a new log.

        Raises:
            StorageError: it is not known to be durable.
        """
        key = entropy(KEY_BYTES)
        replace_file(_key_path(layout), key, 0o600)
        return cls(origin, key)

    @classmethod
    def load(cls, layout: Layout, origin: str) -> Vault:
        """Read the key of an existing log.

        Raises:
            PayloadError: erased, not readable, or malformed.
        """
        try:
            with open_regular(_key_path(layout)) as file:
                key = file.read(KEY_BYTES + 1)
        except OSError as error:
            raise PayloadError("the keyvault's key is erased or not readable") from error
        if len(key) != KEY_BYTES:
            raise PayloadError("the keyvault's key is malformed")
        return cls(origin, key)

    def seal(self, seq: int, name: str, data: bytes, entropy: Callable[[int], bytes]) -> tuple[bytes, bytes]:
        """Return the commitment to a payload and its entry for the payload file."""
        random = entropy(SALT_BYTES + KEY_BYTES + 2 * _NONCE)
        salt, key = random[:SALT_BYTES], random[SALT_BYTES : SALT_BYTES + KEY_BYTES]
        wrap_nonce, nonce = random[-2 * _NONCE : -_NONCE], random[-_NONCE:]
        commit = commitment(salt, data)
        bound = self._bound(seq, commit)
        wrapped = self._wrapping.encrypt(wrap_nonce, key, bound)
        sealed = AESGCM(key).encrypt(nonce, salt + data, bound)
        rest = seq.to_bytes(8, "big") + bytes([len(name)]) + name.encode("ascii") + wrap_nonce + wrapped
        rest += nonce + sealed
        return commit, len(rest).to_bytes(4, "big") + rest

    def open(self, seq: int, name: str, commit: bytes, entry: bytes) -> bytes:
        """Return the payload in an entry (without its length field) if it is the one committed to.

        Raises:
            PayloadError: altered, of another record, or not what was committed to.
        """
        start = 9 + len(name)
        if entry[:start] != seq.to_bytes(8, "big") + bytes([len(name)]) + name.encode("ascii"):
            raise PayloadError("the payload belongs to another record")
        wrap_nonce = entry[start : start + _NONCE]
        wrapped = entry[start + _NONCE : start + _NONCE + _WRAPPED]
        rest = entry[start + _NONCE + _WRAPPED :]
        bound = self._bound(seq, commit)
        try:
            key = self._wrapping.decrypt(wrap_nonce, wrapped, bound)
            opened = AESGCM(key).decrypt(rest[:_NONCE], rest[_NONCE:], bound)
        except (InvalidTag, ValueError) as error:
            raise PayloadError("the payload was altered or its key is another") from error
        if commitment(opened[:SALT_BYTES], opened[SALT_BYTES:]) != commit:
            raise PayloadError("the payload is not the one committed to")
        return opened[SALT_BYTES:]

    def _bound(self, seq: int, commit: bytes) -> bytes:
        return PAYLOAD_CONTEXT + self.origin.encode() + b"\n" + seq.to_bytes(8, "big") + commit


def entries(path: Path, offset: int = 0) -> Iterator[Entry]:
    """Yield the whole entries of a payload file from an entry on; ends silently at the first that is not whole.

    A missing file has no entries: payloads may be erased or kept elsewhere.
    """
    try:
        file = open_regular(path)
    except FileNotFoundError:
        return
    with file:
        size = os.fstat(file.fileno()).st_size
        while entry := _header(file, offset, size):
            yield entry
            offset += 4 + entry.length


def read_entry(path: Path, entry: Entry) -> bytes:
    """Return the bytes of an entry after its length field.

    Raises:
        PayloadError: the file has changed since it was listed.
    """
    with open_regular(path) as file:
        file.seek(entry.offset + 4)
        data = file.read(entry.length)
    if len(data) != entry.length:
        raise PayloadError("the payload file was cut")
    return data


def _header(file: BinaryIO, offset: int, size: int) -> Entry | None:
    file.seek(offset)
    head = file.read(4 + 9 + 255)
    length = int.from_bytes(head[:4], "big")
    if len(head) < 13 or length < _FIXED or offset + 4 + length > size:
        return None
    name = head[13 : 13 + head[12]]
    if length < _FIXED + len(name) or not name.isascii():
        return None
    return Entry(int.from_bytes(head[4:12], "big"), name.decode("ascii"), offset, length)


def _key_path(layout: Layout) -> Path:
    return layout.keyvault / "payload.key"
