"""The key of a state directory's approvals: seals what people are shown, and proves who wrote a decision.

Rows of the approvals file hold no argument in the clear, and a decision without the key's proof does not count. The
key lies beside the file, so this holds off whoever can write the one and not read the other, nobody else.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from pathlib import Path

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from trionyx_proxy.errors import StateError

KEY_NAME = "approvals.key"
KEY_BYTES = 32
_NONCE_BYTES = 12


class Seal:
    """Shows nothing of its key when printed.

    Args:
        key: 32 bytes.
    """

    __slots__ = ("_cipher", "_digest_key", "_proof_key")

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(hashlib.blake2b(b"seal", key=key, digest_size=32).digest())
        self._proof_key = hashlib.blake2b(b"proof", key=key, digest_size=32).digest()
        self._digest_key = hashlib.blake2b(b"digest", key=key, digest_size=32).digest()

    @classmethod
    def of(cls, directory: Path, name: str = KEY_NAME) -> Seal:
        """Return the seal of a state directory, which exists; its key is made when there is none.

        Args:
            directory: holds the key.
            name: file of the key; each file that is sealed has its own.

        Raises:
            StateError: the key cannot be read or made, or other users can read it.
        """
        return cls(secret_key(directory, name))

    def close(self, data: bytes, bound: str) -> bytes:
        """Return `data` encrypted; it opens only with the same `bound`."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, bound.encode())

    def open(self, sealed: bytes, bound: str) -> bytes:
        """Return what was sealed.

        Raises:
            StateError: it was not sealed with this key and `bound`.
        """
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound.encode())
        except (InvalidTag, ValueError):
            raise StateError("a row of the file was not written with its key") from None

    def prove(self, *members: str | int) -> bytes:
        """Return the proof that whoever holds the key wrote these members."""
        return hmac.digest(self._proof_key, orjson.dumps(members), "sha256")

    def is_proven(self, proof: bytes, *members: str | int) -> bool:
        """Tell whether a proof is of these members."""
        return hmac.compare_digest(proof, self.prove(*members))

    def digest(self, *members: str) -> str:
        """Return the keyed digest of a value in its context, 64 hex digits."""
        return hmac.digest(self._digest_key, orjson.dumps(members), "sha256").hex()


def bound(id_: str, run: str, digest: str) -> str:
    """Return what ties sealed bytes to their row."""
    return f"{id_} {run} {digest}"


def secret_key(directory: Path, name: str) -> bytes:
    """Return a key of a state directory, which exists; it is made when there is none.

    Args:
        directory: holds the key.
        name: file of the key.

    Raises:
        StateError: the key cannot be read or made, or other users can read it.
    """
    path = directory / name
    try:
        write_secret(path, os.urandom(KEY_BYTES))
    except FileExistsError:
        pass
    except OSError as error:
        raise _unusable(error) from error
    key = read_secret(path)
    if len(key) != KEY_BYTES:
        raise StateError(f"the key is damaged: {path}")
    return key


def write_secret(path: Path, data: bytes) -> None:
    """Write a new file that only its owner can read; an existing one is left alone.

    The file appears whole or not at all, so that another process never reads half of it.

    Raises:
        OSError: it exists, or cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path, follow_symlinks=False)
    finally:
        part.unlink()


def read_secret(path: Path) -> bytes:
    """Return a secret file's bytes, at most 4,096.

    Raises:
        StateError: it cannot be read, is no regular file, or others can read it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) & 0o077:
                raise StateError(f"is open to other users or no file, run: chmod 600 {path}")
            return file.read(4_096)
    except OSError as error:
        raise _unusable(error) from error


def _unusable(error: OSError) -> StateError:
    return StateError(
        f"a secret of the state directory cannot be used: {(error.strerror or 'unknown').lower()}"
    )
