"""Printing what may be hostile: nothing from a log reaches a terminal or a log viewer uncleaned."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

from trionyx_audit.canonical import JSON


def printable(text: str) -> str:
    """Return text in which every control, format, surrogate and unassigned character is escaped.

    Newlines are escaped too, so one value never becomes two lines.
    """
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def json_line(value: JSON) -> str:
    """Return one line of pure ASCII JSON with sorted members; control characters stand escaped in it."""
    text = json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return text.replace("\x7f", "\\u007f")


def compact(value: JSON, limit: int = 72) -> str:
    """Return a value in at most `limit` printable characters: strings bare, the rest as JSON."""
    text = printable(value) if isinstance(value, str) else json_line(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def write_lines(lines: Iterable[str]) -> None:
    """Print lines, in an encoding that always works."""
    for line in lines:
        encoding = sys.stdout.encoding or "ascii"
        sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stdout.flush()


def _escaped(char: str) -> str:
    number = ord(char)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
