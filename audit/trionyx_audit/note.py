"""C2SP signed notes and verifier keys, Ed25519 only.

Source: c2sp.org/signed-note. Signatures of unknown keys (witnesses, other algorithms) are skipped, as the
specification demands; a bad signature of a known key refuses the whole note.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from trionyx_audit.errors import KeyMaterialError, NoteError
from trionyx_audit.keys import SIGNATURE_BYTES, Signer, check_public_key, verifies

ED25519 = 0x01
MAX_NOTE_BYTES = 1_000_000
MAX_NAME_CHARS = 512
MAX_SIGNATURES = 64
_DASH = "— "


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key under a name, `NAME+KEYID+BASE64` (a vkey).

    Args:
        name: key name; for a log's own key its origin.
        public: 32-byte Ed25519 public key, vetted by `check_public_key`.
    """

    name: str
    public: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        check_public_key(self.public)

    @property
    def id(self) -> bytes:
        """The 4-byte key id that signatures of this key start with."""
        material = self.name.encode() + b"\n" + bytes([ED25519]) + self.public
        return sha256(material).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{encode_base64(bytes([ED25519]) + self.public)}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read a vkey.

        Raises:
            KeyMaterialError: malformed, another algorithm, or a key that must not be trusted.
        """
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            material = decode_base64(encoded)
        except NoteError as error:
            raise KeyMaterialError("not a verifier key of the form name+id+base64") from error
        if not material or material[0] != ED25519:
            raise KeyMaterialError("the verifier key is not an ed25519 key")
        key = cls(name, material[1:])
        if key.id.hex() != key_id:
            raise KeyMaterialError("the key id does not belong to the verifier key")
        return key


def check_name(name: str) -> None:
    """Refuse key names that cannot stand in a signature line.

    Raises:
        KeyMaterialError: empty, too long, or holding spaces, plus signs or unprintable characters.
    """
    if not name or len(name) > MAX_NAME_CHARS or "+" in name or not name.isprintable() or " " in name:
        raise KeyMaterialError("a key name is printable and holds neither spaces nor plus signs")


def sign_note(text: str, name: str, signer: Signer) -> bytes:
    """Return the signed note of `text`.

    Args:
        text: ends in a newline; no control characters besides newlines.
        name: key name in the signature line.
        signer: the private key.

    Raises:
        NoteError: `text` cannot be the text of a note.
        KeyMaterialError: `name` cannot be a key name.
    """
    if not text.endswith("\n") or _has_control(text.encode()):
        raise NoteError("a note's text ends in a newline and holds no other control character")
    key = VerifierKey(name, signer.public)
    signature = encode_base64(key.id + signer.sign(text.encode()))
    return f"{text}\n{_DASH}{name} {signature}\n".encode()


def open_note(raw: bytes, keys: Sequence[VerifierKey]) -> tuple[str, tuple[VerifierKey, ...]]:
    """Return the text of a note and the keys that signed it; never returns an unsigned text.

    Args:
        raw: the whole note, at most `MAX_NOTE_BYTES`.
        keys: trusted keys; signatures of others are skipped.

    Raises:
        NoteError: malformed, no signature of a trusted key, or a bad one.
    """
    if len(raw) > MAX_NOTE_BYTES:
        raise NoteError("the note is too long")
    if _has_control(raw):
        raise NoteError("the note holds a control character")
    try:
        decoded = raw.decode()
    except UnicodeDecodeError as error:
        raise NoteError("the note is not valid utf-8") from error
    text, separator, tail = decoded.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise NoteError("the note has no signature lines")
    text += "\n"
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError("the note has too many signatures")
    signers: list[VerifierKey] = []
    for line in lines:
        name, material = _signature_line(line)
        for key in keys:
            if key.name == name and key.id == material[:4] and key not in signers:
                if len(material) != 4 + SIGNATURE_BYTES or not verifies(
                    Ed25519PublicKey.from_public_bytes(key.public), material[4:], text.encode()
                ):
                    raise NoteError("the note carries a bad signature of a trusted key")
                signers.append(key)
    if not signers:
        raise NoteError("the note carries no signature of a trusted key")
    return text, tuple(signers)


def encode_base64(data: bytes) -> str:
    """Return standard base64 with padding, one line."""
    return b2a_base64(data, newline=False).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Return the bytes of a standard base64 text; accepts exactly one text for each byte string.

    Raises:
        NoteError: any other text.
    """
    try:
        data = a2b_base64(text)
    except (Base64Error, ValueError) as error:
        raise NoteError("not base64") from error
    if encode_base64(data) != text:
        raise NoteError("not canonical base64")
    return data


def _signature_line(line: str) -> tuple[str, bytes]:
    name, separator, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not separator:
        raise NoteError("the note has a malformed signature line")
    try:
        check_name(name)
    except KeyMaterialError as error:
        raise NoteError("the note has a malformed signature line") from error
    material = decode_base64(encoded)
    if len(material) < 5:
        raise NoteError("the note has a malformed signature line")
    return name, material


def _has_control(raw: bytes) -> bool:
    return any(byte < 0x20 and byte != 0x0A for byte in raw)
