"""Checkpoints: signed tree heads, and the names under which one key signs many logs.

Source: c2sp.org/tlog-checkpoint; the body has exactly three lines, extension lines are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from trionyx_audit.errors import KeyMaterialError, NoteError
from trionyx_audit.keys import MAX_KEY_FILE_BYTES, Signer, check_public_key, load_public_pem
from trionyx_audit.merkle import HASH_BYTES
from trionyx_audit.note import VerifierKey, decode_base64, encode_base64, open_note, sign_note

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says it holds: its first `size` records, and no others before them, hash to `root`.

    Args:
        origin: the log's name.
        size: number of records.
        root: 32-byte RFC 6962 root.
    """

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the note text: origin, size, root, each on its line."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"

    def signed(self, signer: Signer) -> bytes:
        """Return the checkpoint as a signed note under the log's own name."""
        return sign_note(self.text(), self.origin, signer)

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read a note text; says nothing about who signed it.

        Raises:
            NoteError: not the three lines of a checkpoint.
        """
        lines = text.split("\n")
        if len(lines) != 4 or lines[3] or not lines[0]:
            raise NoteError("the checkpoint has not exactly three lines")
        if _SIZE.fullmatch(lines[1]) is None:
            raise NoteError("the checkpoint's size is not a plain number")
        root = decode_base64(lines[2])
        if len(root) != HASH_BYTES:
            raise NoteError(f"the checkpoint's root is not {HASH_BYTES} bytes")
        return cls(lines[0], int(lines[1]), root)


def claimed_checkpoint(raw: bytes) -> Checkpoint:
    """Return the checkpoint in a note without checking any signature: a claim to be checked otherwise.

    Raises:
        NoteError: not a checkpoint.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise NoteError("the note is not valid utf-8") from error
    return Checkpoint.parse(text.partition("\n\n")[0] + "\n")


def open_checkpoint(raw: bytes, key: VerifierKey) -> Checkpoint:
    """Return the checkpoint in a note that `key` signed for the log of the same name.

    Raises:
        NoteError: malformed, not signed by the key, or for another log.
    """
    text, _ = open_note(raw, (key,))
    checkpoint = Checkpoint.parse(text)
    if checkpoint.origin != key.name:
        raise NoteError("the checkpoint belongs to another log")
    return checkpoint


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key an auditor trusts for every log at or below a name, or for any log.

    Args:
        public: 32-byte Ed25519 public key.
        name: origin, or the prefix of origins before a slash; None trusts the key for every origin.
    """

    public: bytes
    name: str | None = None

    def __post_init__(self) -> None:
        check_public_key(self.public)

    def for_origin(self, origin: str) -> VerifierKey:
        """Return the verifier key of one log.

        Raises:
            KeyMaterialError: the key is not trusted for that log.
        """
        if self.name is not None and origin != self.name and not origin.startswith(self.name + "/"):
            raise KeyMaterialError(f"the key is for logs below {self.name}, not for this log")
        return VerifierKey(origin, self.public)

    @classmethod
    def parse(cls, text: str) -> TrustedKey:
        """Read a vkey or a PEM public key.

        Raises:
            KeyMaterialError: neither, or a key that must not be trusted.
        """
        if text.lstrip().startswith("-----BEGIN"):
            return cls(load_public_pem(text.encode()))
        key = VerifierKey.parse(text.strip())
        return cls(key.public, key.name)

    @classmethod
    def load(cls, text_or_path: str) -> TrustedKey:
        """Read a vkey given as text, or the file that holds a vkey or a PEM public key.

        Raises:
            KeyMaterialError: neither.
        """
        if text_or_path.count("+") >= 2 and not Path(text_or_path).is_file():
            return cls.parse(text_or_path)
        try:
            with Path(text_or_path).open("rb") as file:
                text = file.read(MAX_KEY_FILE_BYTES).decode()
        except OSError as error:
            raise KeyMaterialError(
                f"{text_or_path}: {(error.strerror or 'cannot be read').lower()}"
            ) from error
        except UnicodeDecodeError as error:
            raise KeyMaterialError(f"{text_or_path}: not a key file") from error
        try:
            return cls.parse(text)
        except KeyMaterialError as error:
            raise KeyMaterialError(f"{text_or_path}: {error}") from error
