"""Handles: names for text that the agent is not shown, which it can pass on but neither read nor guess.

A handle is bound to its run, since each run has its own `Handles`. Nothing here decides who may see the content.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from trionyx_proxy.arguments import JSON, canonical
from trionyx_proxy.catalog import ArgumentType
from trionyx_proxy.core.label import Label

TOKEN: Final = re.compile("\u27e6trx:(h[a-z2-7]{16})(?::([^\u27e6\u27e7:]{0,96}):([0-9]{1,10})B)?\u27e7")
"""What stands for a hidden text: handle, place in the result, size in bytes."""

_ID = re.compile(r"h[a-z2-7]{16}")
_HANDLE_CHARS = 16  # of 5 bits: nobody tries 2^79 calls
_ALPHABET = bytes(b"abcdefghijklmnopqrstuvwxyz234567"[byte % 32] for byte in range(256))
_DRAWN = 32  # handles drawn at once; a system call for each would cost more than the rest

MAX_PLACE_CHARS = 96

MAX_HANDLES = 4_096
MAX_BYTES = 32 << 20
"""Hidden content kept for one run. At either bound the oldest is forgotten: its handle then names nothing."""


class Hidden(NamedTuple):
    """Something that the agent was not shown.

    Args:
        handle: its id, from `Handles.mint`.
        pointer: its place in the result document, safe to show.
        kind: how it is read; TEXT for what fits no grammar, and for blocks.
        label: its own.
        content: the text, or a content block that is no text.
    """

    handle: str
    pointer: str
    kind: ArgumentType
    label: Label
    content: str | dict[str, JSON]

    @property
    def size(self) -> int:
        """Bytes of the content."""
        content = self.content
        if isinstance(content, str):
            return len(content) if content.isascii() else len(content.encode("utf-8", "replace"))
        return len(canonical(content))

    @property
    def token(self) -> str:
        """What stands in the place of the content: it tells place and size, nothing of the text."""
        place = self.pointer if len(self.pointer) <= MAX_PLACE_CHARS else ""
        return f"\u27e6trx:{self.handle}:{place}:{self.size}B\u27e7"


class Handles:
    """The hidden texts of one run, bounded in number and bytes.

    Args:
        max_handles: kept at once.
        max_bytes: of their content, kept at once.
        entropy: gives that many unpredictable bytes.
    """

    def __init__(
        self,
        *,
        max_handles: int = MAX_HANDLES,
        max_bytes: int = MAX_BYTES,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._hidden: OrderedDict[str, tuple[Hidden, int]] = OrderedDict()
        self._bytes = 0
        self._max_handles = max_handles
        self._max_bytes = max_bytes
        self._entropy = entropy
        self._unused: list[str] = []

    def __len__(self) -> int:
        return len(self._hidden)

    def mint(self) -> str:
        """Return a new handle: `h` and 16 characters of base32, 80 unpredictable bits."""
        if not self._unused:
            drawn = self._entropy(_HANDLE_CHARS * _DRAWN).translate(_ALPHABET).decode()
            self._unused = [
                "h" + drawn[start : start + _HANDLE_CHARS] for start in range(0, len(drawn), _HANDLE_CHARS)
            ]
        return self._unused.pop()

    def put(self, hidden: Hidden) -> None:
        """Keep a hidden text under its handle."""
        size = hidden.size
        replaced = self._hidden.pop(hidden.handle, None)
        self._bytes += size - (replaced[1] if replaced else 0)
        self._hidden[hidden.handle] = hidden, size
        while self._hidden and (len(self._hidden) > self._max_handles or self._bytes > self._max_bytes):
            self._bytes -= self._hidden.popitem(last=False)[1][1]

    def find(self, token_or_id: str) -> Hidden | None:
        """Return what a handle or its token names in this run, or None."""
        handle = named(token_or_id)
        found = self._hidden.get(handle) if handle is not None else None
        return None if found is None else found[0]


def named(text: str) -> str | None:
    """Return the handle that a text is as a whole, by itself or as a token; None for anything longer."""
    if _ID.fullmatch(text):
        return text
    match = TOKEN.fullmatch(text)
    return None if match is None else match[1]


def argument(value: Any) -> str | None:
    """Return the handle that an argument is: exactly one token, or `{"$trx": "h…"}`; None for any other value.

    A bare handle without its token is an ordinary text, since ids of other systems may look alike.
    """
    if isinstance(value, str):
        match = TOKEN.fullmatch(value)
        return None if match is None else match[1]
    if isinstance(value, dict) and value.keys() == {"$trx"} and isinstance(value["$trx"], str):
        return named(value["$trx"])
    return None


def embedded(text: str) -> Iterator[str]:
    """Yield the handles whose tokens stand in a text, in order."""
    for match in TOKEN.finditer(text):
        yield match[1]
