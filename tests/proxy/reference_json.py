"""The slow, obvious reader of strict JSON: one character at a time, straight from RFC 8259 and RFC 7493.

It shares no code with the product and uses no JSON library, so that the two can be held against each other.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
ESCAPES = {
    '"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t",
}  # fmt: skip


class Refused(Exception):
    """The text has no strict reading."""


def read(raw: bytes, *, depth: int, string_bytes: int, key_bytes: int, nodes: int) -> object:
    if raw[:3] == b"\xef\xbb\xbf":
        raise Refused("bom")
    try:
        text = raw.decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise Refused("encoding") from None
    reader = _Reader(text, depth, string_bytes, key_bytes, nodes)
    value = reader.value(0)
    reader.space()
    if reader.at != len(text):
        raise Refused("syntax")
    return value


class _Reader:
    def __init__(self, text: str, depth: int, string_bytes: int, key_bytes: int, nodes: int) -> None:
        self.text, self.at = text, 0
        self.depth, self.string_bytes, self.key_bytes, self.nodes = depth, string_bytes, key_bytes, nodes

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self, expected: str) -> None:
        if not self.text.startswith(expected, self.at):
            raise Refused("syntax")
        self.at += len(expected)

    def space(self) -> None:
        while self.peek() and self.peek() in " \t\n\r":
            self.at += 1

    def value(self, level: int) -> object:
        self.space()
        self.nodes -= 1
        if self.nodes < 0:
            raise Refused("too_many_nodes")
        if self.peek() and self.peek() in "[{":
            if level >= self.depth:
                raise Refused("too_deep")
            return self.array(level) if self.peek() == "[" else self.object(level)
        if self.peek() == '"':
            return self.string(self.string_bytes)
        for word, constant in (("true", True), ("false", False), ("null", None)):
            if self.text.startswith(word, self.at):
                self.at += len(word)
                return constant
        return self.number()

    def array(self, level: int) -> list[object]:
        self.take("[")
        self.space()
        out: list[object] = []
        if self.peek() == "]":
            self.take("]")
            return out
        while True:
            out.append(self.value(level + 1))
            self.space()
            if self.peek() != ",":
                self.take("]")
                return out
            self.take(",")

    def object(self, level: int) -> dict[str, object]:
        self.take("{")
        self.space()
        out: dict[str, object] = {}
        if self.peek() == "}":
            self.take("}")
            return out
        while True:
            self.space()
            name = self.string(self.key_bytes)
            if name in out:
                raise Refused("duplicate_member")
            self.space()
            self.take(":")
            out[name] = self.value(level + 1)
            self.space()
            if self.peek() != ",":
                self.take("}")
                return out
            self.take(",")

    def string(self, limit: int) -> str:
        self.take('"')
        units = ""
        while self.peek() != '"':
            char = self.peek()
            if not char or ord(char) < 0x20:
                raise Refused("syntax")
            self.at += 1
            if char != "\\":
                units += char
                continue
            escape = self.peek()
            self.at += 1
            if escape == "u":
                digits = self.text[self.at : self.at + 4]
                if not re.fullmatch("[0-9a-fA-F]{4}", digits):
                    raise Refused("syntax")
                self.at += 4
                units += chr(int(digits, 16))
            elif escape in ESCAPES and escape:
                units += ESCAPES[escape]
            else:
                raise Refused("syntax")
        self.take('"')
        try:
            joined = units.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            raise Refused("surrogate") from None
        if "\0" in joined:
            raise Refused("nul")
        if len(joined.encode()) > limit:
            raise Refused("too_long")
        return joined

    def number(self) -> int | float:
        match = NUMBER.match(self.text, self.at)
        if match is None:
            raise Refused("syntax")
        self.at = match.end()
        literal = match.group()
        number = float(literal)
        if not math.isfinite(number) or (number == 0) != (
            not re.search("[1-9]", literal.lower().split("e")[0])
        ):
            raise Refused("number_range")
        if match[2] is None and match[3] is None:
            if abs(int(literal)) >= 2**53:
                raise Refused("number_range")
            return int(literal)
        if number == int(number) and abs(number) < 1e21:
            if abs(Decimal(number)) >= 2**53:
                raise Refused("number_range")
            return int(number)
        return number
