"""How the state file names what is tainted: shared by those who write the marks and those who clear them."""

from __future__ import annotations

import hashlib
from typing import Final

MARK_BYTES: Final = 8

_KIND: Final = b"2"


def below(name: str) -> str:
    """Return the name under which it is kept that something in a directory is tainted; no resource has it."""
    return f"\0below\0{name}"


def hearsay_mark(key: bytes) -> bytes:
    """Return what hearsay begins with that was digested with this key, 8 bytes.

    Args:
        key: secret of the state directory.
    """
    return hashlib.blake2b(_KIND, key=key, digest_size=MARK_BYTES).digest()
