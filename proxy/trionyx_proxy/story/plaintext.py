"""Received text, made fit to be read by a person: one line, bounded, nothing hidden, nothing that acts.

Does not judge text. A backslash is doubled, so that what stands escaped cannot be confused with what was written so.

Source: Unicode 15 categories and default-ignorable code points; UAX #9 (direction); UTR #36 §2 (visual spoofing).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final

NAME_CHARS: Final = 80
"""Characters shown of a name, an id or a pointer."""

VALUE_CHARS: Final = 400
"""Characters shown of a value."""

# Printable by their category, and yet without a glyph: fillers, selectors, joiners, the braille blank.
_BLANK: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
_PLAIN: Final = re.compile(r"[A-Za-z0-9_~*+@%=/.:-]+")
_RIGHT_TO_LEFT: Final = frozenset({"R", "AL", "AN"})
_MARKS: Final = 2
"""Combining marks shown on one letter; more of them cover the lines above and below."""


def visible(text: str, limit: int = VALUE_CHARS) -> str:
    """Return text in one line of at most `limit` characters in which everything can be seen.

    Letters of every script stay. Who prints them gives each such text a line of its own: letters that are written
    from the right may change the order of what stands beside them.

    Args:
        text: anything, lone surrogates included.
        limit: characters of the answer, ≥ 3.
    """
    return _shown(text, limit, _can_be_seen)


def quoted(text: str, limit: int = VALUE_CHARS) -> str:
    """Return text as `visible` does, in quotation marks, of which it then holds none itself."""
    return f"“{_shown(text, limit, lambda char: char not in '“”' and _can_be_seen(char))}”"


def name(text: str, limit: int = NAME_CHARS) -> str:
    """Return a name fit to stand in a sentence: bare if it can be nothing but a name, else in quotation marks.

    What stands bare holds neither blanks nor commas, and what stands in quotation marks holds none of its own, so
    that no name can go on with the sentence. Letters that are written from the right stand escaped.

    Args:
        text: anything.
        limit: characters of the name itself, without the marks.
    """
    if len(text) <= limit and _PLAIN.fullmatch(text):
        return text
    return f"“{_shown(text, limit, _can_be_in_a_name, marks=0)}”"


def ascii_only(text: str, limit: int = NAME_CHARS) -> str:
    """Return text as at most `limit` printable ASCII characters, everything else escaped; a cut ends in `...`."""
    return _shown(text, limit, lambda char: " " <= char <= "~", cut="...")


def _shown(
    text: str, limit: int, may_stand: Callable[[str], bool], *, marks: int = _MARKS, cut: str = "…"
) -> str:
    parts: list[str] = []
    length = run = 0
    for char in text:
        is_mark = char > "\x7f" and unicodedata.category(char)[0] == "M"
        run = run + 1 if is_mark else 0
        # A mark at the beginning has nothing to stand on but what comes before the text.
        is_plain = char != "\\" and may_stand(char) and (run == 0 or (run <= marks and bool(parts)))
        part = char if is_plain else _escaped(char)
        parts.append(part)
        length += len(part)
        if length > limit:
            while length > limit - len(cut):
                length -= len(parts.pop())
            return "".join(parts) + cut
    return "".join(parts)


def _can_be_seen(char: str) -> bool:
    return char.isprintable() and (char < "\x7f" or _BLANK.match(char) is None)


def _can_be_in_a_name(char: str) -> bool:
    return char not in "“”" and _can_be_seen(char) and unicodedata.bidirectional(char) not in _RIGHT_TO_LEFT


def _escaped(char: str) -> str:
    number = ord(char)
    if char == "\\":
        return "\\\\"
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
