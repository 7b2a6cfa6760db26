"""Ed25519 keys: private key files, and public keys that are points worth trusting.

The signature library accepts any 32 bytes as a public key, also the neutral element, for which one signature
fits every message. Every public key enters this package through `check_public_key`.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from trionyx_audit.errors import KeyMaterialError

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
MAX_KEY_FILE_BYTES = 16_384

# The field and curve constant of edwards25519 (RFC 8032 section 5.1).
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P


class Signer(Protocol):
    """Whatever holds an Ed25519 private key: a file, a token, a remote service."""

    @property
    def public(self) -> bytes:
        """The 32-byte public key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of `message`."""
        ...


@dataclass(frozen=True, slots=True)
class FileSigner:
    """An Ed25519 private key in this process's memory; shows nothing of it when printed."""

    key: Ed25519PrivateKey = field(repr=False)
    public: bytes

    @classmethod
    def from_seed(cls, seed: bytes) -> FileSigner:
        """Make the signer of a 32-byte RFC 8032 seed; meant for tests and for key generation."""
        key = Ed25519PrivateKey.from_private_bytes(seed)
        return cls(key, key.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of `message`."""
        return self.key.sign(message)

    def to_pem(self) -> bytes:
        """Return the private key as unencrypted PKCS #8 PEM."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def load_signer(path: Path) -> FileSigner:
    """Read an Ed25519 private key file (PKCS #8 PEM, unencrypted, mode 0600 or narrower).

    Raises:
        KeyMaterialError: missing, readable by group or others, or not such a key.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(MAX_KEY_FILE_BYTES)
    except OSError as error:
        raise KeyMaterialError(f"{path}: {_strerror(error)}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise KeyMaterialError(f"{path}: the private key is readable by others, run: chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(text, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyMaterialError(f"{path}: not an unencrypted private key in pem form") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyMaterialError(f"{path}: not an ed25519 key")
    return FileSigner(key, key.public_key().public_bytes_raw())


def write_signer(path: Path, signer: FileSigner) -> None:
    """Write a private key file with mode 0600; never replaces a file.

    Raises:
        KeyMaterialError: the file exists or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(signer.to_pem())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise KeyMaterialError(f"{path}: {_strerror(error)}") from error


def load_public_pem(text: bytes) -> bytes:
    """Return the 32-byte public key of a PEM `SubjectPublicKeyInfo`.

    Raises:
        KeyMaterialError: not such a file, not Ed25519, or a point that `check_public_key` refuses.
    """
    try:
        key = serialization.load_pem_public_key(text)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyMaterialError("not a public key in pem form") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyMaterialError("not an ed25519 key")
    public = key.public_bytes_raw()
    check_public_key(public)
    return public


def verifies(public: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    """Tell whether `signature` is a valid Ed25519 signature; does not vet the key."""
    try:
        public.verify(signature, message)
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=256)
def check_public_key(public: bytes) -> None:
    """Refuse public keys that are not canonical encodings of a point of large order.

    Does not refuse points with a torsion component whose order is a multiple of the group's prime.

    Args:
        public: 32 bytes, little-endian y with the sign of x in the top bit.

    Raises:
        KeyMaterialError: wrong length, y not below 2^255−19, no such point, or order 1, 2, 4 or 8.

    Source: RFC 8032 section 5.1.3; section 4 of "Taming the many EdDSAs" (Chalkias et al., 2020).
    """
    if len(public) != PUBLIC_KEY_BYTES:
        raise KeyMaterialError(f"a public key is {PUBLIC_KEY_BYTES} bytes, not {len(public)}")
    number = int.from_bytes(public, "little")
    y = number & (2**255 - 1)
    if y >= _P:
        raise KeyMaterialError("the public key is not canonically encoded")
    x_squared = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    if x_squared != 0 and pow(x_squared, (_P - 1) // 2, _P) != 1:
        raise KeyMaterialError("the public key is not a point of the curve")
    if _multiplied_by_eight_is_neutral(x_squared, y):
        raise KeyMaterialError("the public key has small order")


def _multiplied_by_eight_is_neutral(x_squared: int, y: int) -> bool:
    """Double the point three times; x² is enough, since y' = (y² + x²) / (1 − d·x²·y²)."""
    for _ in range(3):
        y_squared = y * y % _P
        product = _D * x_squared * y_squared % _P
        doubled_y = (y_squared + x_squared) * pow(1 - product, -1, _P) % _P
        x_squared = 4 * x_squared * y_squared * pow(1 + product, -2, _P) % _P
        y = doubled_y
    return x_squared == 0 and y == 1


def _strerror(error: OSError) -> str:
    return (error.strerror or "cannot be read").lower()
