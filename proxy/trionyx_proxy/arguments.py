"""The one strict reading of JSON: bytes that two readers could understand differently are refused.

Every line of the wire and every set of arguments passes here once. What comes out has a canonical form
(RFC 8785) that reads back as the very same value, so that the policy, the log and the tool see one thing.
Source: RFC 8259, RFC 7493 (I-JSON), RFC 8785, RFC 6901 (pointers).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import orjson

from trionyx_audit.canonical import JSON, MAX_INTEGER, canonicalize
from trionyx_audit.errors import EncodingError
from trionyx_proxy.errors import ArgumentError

__all__ = ["ARGUMENTS", "JSON", "LINE", "REPLACEMENT", "Limits", "canonical", "check", "parse", "pointer"]

REPLACEMENT = "\ufffd"
"""Stands where a received text held something that has no reading; what it was is lost, whoever put it there."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much JSON is read at all. Sizes in bytes of UTF-8.

    Args:
        max_bytes: of the whole text.
        max_depth: of nested arrays and objects; `[]` has depth 1. At most 200.
        max_string_bytes: of each string value, unescaped.
        max_key_bytes: of each member name, unescaped.
        max_nodes: values of any kind, containers included.
    """

    max_bytes: int = 1 << 20
    max_depth: int = 32
    max_string_bytes: int = 64 << 10
    max_key_bytes: int = 256
    max_nodes: int = 10_000

    def __post_init__(self) -> None:
        # INVARIANT: the C reader never nests anywhere near the interpreter's recursion limit.
        if not 1 <= self.max_depth <= 200:
            raise ValueError("max_depth must lie within 1 and 200")


ARGUMENTS = Limits()
"""For the arguments of one call."""

LINE = Limits(
    max_bytes=4 << 20, max_depth=128, max_string_bytes=4 << 20, max_key_bytes=1024, max_nodes=200_000
)
"""For one JSON-RPC line in either direction; results and tool lists are larger and deeper than arguments."""

_MESSAGES = {
    "bom": "begins with a byte order mark",
    "duplicate_member": "an object has two members of the same name",
    "encoding": "not valid utf-8",
    "key_too_long": "a member name is too long",
    "not_json": "not a json value",
    "nul": "a string or member name contains U+0000",
    "number_range": "a number has no exact common reading: integers must lie within ±(2^53−1), "
    "others must be finite and survive a round trip",
    "string_too_long": "a string is too long",
    "surrogate": "a string or member name contains a lone surrogate",
    "syntax": "not one well-formed json value",
    "too_deep": "nested too deeply",
    "too_large": "too many bytes",
    "too_many_nodes": "too many values",
}

_STRUCTURE = b'[]{}",'
_NOT_STRUCTURE = bytes(byte for byte in range(256) if byte not in _STRUCTURE)
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NUL_OR_SURROGATE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_SURROGATE = re.compile("[\ud800-\udfff]")
_UNREADABLE = re.compile("[\0\ud800-\udfff]")
_SPEAKABLE = re.compile(r"[A-Za-z0-9_.$-]{1,64}")


def parse(raw: bytes, limits: Limits = ARGUMENTS, *, mends_text: bool = False) -> JSON:
    """Return the only value that `raw` can mean; does not look at any schema.

    A number that is integral is returned as an `int` however it was spelled (`1.0`, `1e2`, `-0`), so the
    value equals what its canonical form reads back as.

    Args:
        raw: the received bytes, whole.
        limits: checked before the reader can nest or allocate beyond them.
        mends_text: put `REPLACEMENT` for each NUL and lone surrogate in a string or member name, instead of refusing
            the whole; only for what tools return. Names that become the same by that are refused.

    Raises:
        ArgumentError: the bytes have no single strict reading, or exceed a limit. The pointer holds member
            names that the sender chose (odd ones as `*`): show it to the sender, do not record it.

    Source: RFC 7493 section 2; RFC 8785 section 3.1.
    """
    if len(raw) > limits.max_bytes:
        raise _error("too_large")
    if raw.startswith(b"\xef\xbb\xbf"):
        raise _error("bom")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise _error("encoding") from None
    countable = _check_structure(raw, limits)
    value, is_flawed = _decoded(text, limits.max_key_bytes)
    # The value needs a closer look only where the bytes alone cannot exclude a flaw.
    escaped = b"\\u" in raw and _NUL_OR_SURROGATE.search(raw)
    if escaped and mends_text:
        value = _mended(value)
    if is_flawed or escaped or not countable or len(raw) > limits.max_string_bytes:
        _Walk(limits).visit(value)
    return value


def check(value: JSON, limits: Limits = ARGUMENTS) -> None:
    """Apply limits to a value that was read under wider ones; bytes are those of its canonical form.

    Raises:
        ArgumentError: as `parse` would for the canonical form of the value.
    """
    _Walk(limits).visit(value)
    if len(canonical(value)) > limits.max_bytes:
        raise _error("too_large")


def canonical(value: JSON) -> bytes:
    """Return the RFC 8785 form of a value; does not apply limits.

    Raises:
        ArgumentError: the value has none (it did not come from `parse`).
    """
    # The general encoder is pure Python; where sorting by bytes is sorting by UTF-16 and no float needs its
    # ECMAScript form, the C encoder gives the same bytes. A property test holds the two against each other.
    if _is_plain(value):
        try:
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        except TypeError:
            raise _error("not_json") from None
    try:
        return canonicalize(value)
    except EncodingError:
        raise _error("not_json") from None


def pointer(path: Iterable[str | int]) -> str:
    """Return the RFC 6901 pointer of a path of member names and list positions.

    Names that are not short and plain become `*`, so that the text is safe to print.
    """
    return "".join(
        f"/{token}" if isinstance(token, int) or _SPEAKABLE.fullmatch(token) else "/*" for token in path
    )


@dataclass(frozen=True, slots=True)
class _Flaw:
    """Stands in the tree where a hook met something unreadable, until its pointer is known."""

    code: str
    name: str | None = None


def _decoded(text: str, max_key_bytes: int) -> tuple[JSON, bool]:
    """Return the value of a text, and whether there is a flaw in it.

    Readers are used again, each by one thread at a time: making one takes longer than reading a short text.
    """
    idle = _IDLE.setdefault(max_key_bytes, [])
    try:
        decoder, flaws = idle.pop()
    except IndexError:
        flaws = []
        decoder = _reader(max_key_bytes, flaws)
    try:
        value: JSON = decoder.decode(text)
    except (ValueError, RecursionError):
        raise _error("syntax") from None
    is_flawed = bool(flaws)
    flaws.clear()
    idle.append((decoder, flaws))
    return value, is_flawed


_IDLE: dict[int, list[tuple[json.JSONDecoder, list[_Flaw]]]] = {}


def _reader(max_key_bytes: int, flaws: list[_Flaw]) -> json.JSONDecoder:
    """Make the standard C scanner, with hooks for everything it is lenient about.

    A hook does not raise, because it does not know where it is: it leaves a `_Flaw` in its place in the tree
    and in `flaws`.
    """

    def flaw(code: str, name: str | None = None) -> _Flaw:
        flaws.append(_Flaw(code, name))
        return flaws[-1]

    # No character takes more than four bytes, so a name of fewer characters needs no counting.
    surely_short = max_key_bytes // 4

    def read_object(pairs: list[tuple[str, JSON]]) -> dict[str, JSON] | _Flaw:
        members = dict(pairs)
        if len(members) != len(pairs):
            seen: set[str] = set()
            for name, _ in pairs:
                if name in seen:
                    return flaw("duplicate_member", name)
                seen.add(name)
        if members and max(map(len, members)) > surely_short:
            flaw("key_too_long")  # perhaps: not in the tree, but the walk will measure it
        return members

    def read_integer(digits: str) -> int | _Flaw:
        if len(digits) <= 17 and -MAX_INTEGER <= (number := int(digits)) <= MAX_INTEGER:
            return number
        return flaw("number_range")

    def read_float(digits: str) -> int | float | _Flaw:
        number = float(digits)
        if not number.is_integer():
            return number if math.isfinite(number) else flaw("number_range")
        if abs(number) > MAX_INTEGER:
            # Up to 1e21 RFC 8785 prints an integer, and that one is out of range.
            return number if 1e21 <= abs(number) < math.inf else flaw("number_range")
        # Only a literal of zeros is zero; anything else was lost to underflow.
        if number == 0 and digits.lower().partition("e")[0].strip("-0."):
            return flaw("number_range")
        return int(number)

    return json.JSONDecoder(
        object_pairs_hook=read_object,
        parse_int=read_integer,
        parse_float=read_float,
        parse_constant=lambda _: flaw("syntax"),
        strict=True,
    )


def _mended(value: JSON) -> JSON:
    """Return a tree as the reader made it, or a part of it, with every text readable; it is changed in place.

    Two names that become one leave a flaw, as two members of one name do.
    """
    match value:
        case str():
            return _UNREADABLE.sub(REPLACEMENT, value)
        case list():
            value[:] = map(_mended, value)
        case dict():
            members: dict[str, Any] = {}  # a flaw stands in it until the walk
            for name, member in value.items():
                mended = _UNREADABLE.sub(REPLACEMENT, name)
                members[mended] = _Flaw("duplicate_member", mended) if mended in members else _mended(member)
            return members
    return value


def _check_structure(raw: bytes, limits: Limits) -> bool:
    """Refuse by brackets and commas alone what would nest or allocate too much; says nothing of validity.

    Returns whether the number of values is already known to keep its limit.
    """
    opens = raw.count(b"[") + raw.count(b"{")
    if opens <= limits.max_depth and opens + raw.count(b",") < limits.max_nodes:
        return True
    # Escapes exist only within strings; anywhere else a backslash stops the reader at once.
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside = b"".join(raw.translate(None, _NOT_STRUCTURE).split(b'"')[::2])
    commas = outside.count(b",")
    brackets = outside.translate(None, b",")
    opens = brackets.count(b"[") + brackets.count(b"{")
    # Every bracket opens a value, and every comma separates two.
    if max(opens, commas + 1) > limits.max_nodes:
        raise _error("too_many_nodes")
    if len(brackets) > 2 * opens:
        raise _error("syntax")
    if max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > limits.max_depth:
        raise _error("too_deep")
    return opens + commas < limits.max_nodes


class _Walk:
    """Visits every value in document order and raises at the first flaw, which it can name by pointer."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._nodes = 0
        self._path: list[str | int] = []

    def visit(self, value: JSON | _Flaw) -> None:
        self._nodes += 1
        if self._nodes > self._limits.max_nodes:
            raise self._error("too_many_nodes")
        match value:
            case str():
                self._text(value, self._limits.max_string_bytes, "string_too_long")
            case dict():
                self._enter()
                for name, member in value.items():
                    self._path.append(name)
                    self._text(name, self._limits.max_key_bytes, "key_too_long")
                    self.visit(member)
                    self._path.pop()
            case list():
                self._enter()
                for position, element in enumerate(value):
                    self._path.append(position)
                    self.visit(element)
                    self._path.pop()
            case bool() | None:
                pass
            case int():
                if not -MAX_INTEGER <= value <= MAX_INTEGER:
                    raise self._error("number_range")
            case float():
                # An integral value has one reading, the `int`.
                if not math.isfinite(value) or (value.is_integer() and abs(value) < 1e21):
                    raise self._error("number_range")
            case _Flaw(code, name):
                raise _error(code, self._path if name is None else [*self._path, name])
            case _:
                raise self._error("not_json")

    def _enter(self) -> None:
        # Each level below the root is one step of the path, so the path's length is the depth outside.
        if len(self._path) >= self._limits.max_depth:
            raise self._error("too_deep")

    def _text(self, text: object, max_bytes: int, code: str) -> None:
        if not isinstance(text, str):
            raise self._error("not_json")
        if _SURROGATE.search(text):
            raise self._error("surrogate")
        if "\0" in text:
            raise self._error("nul")
        if len(text) > max_bytes // 4 and len(text.encode()) > max_bytes:
            raise self._error(code)

    def _error(self, code: str) -> ArgumentError:
        return _error(code, self._path)


def _is_plain(value: object) -> bool:
    """Whether the fast encoder is exact: no floats, ASCII member names, integers in range, plain types."""
    waiting = [value]
    for one in waiting:  # it grows meanwhile
        kind = type(one)
        if kind is str or kind is bool or one is None:
            continue
        if isinstance(one, dict) and kind is dict:
            for name in one:
                if type(name) is not str or not name.isascii():
                    return False
            waiting += one.values()
        elif isinstance(one, list) and kind is list:
            waiting += one
        elif not (isinstance(one, int) and kind is int and -MAX_INTEGER <= one <= MAX_INTEGER):
            return False
    return True


def _error(code: str, path: Iterable[str | int] = ()) -> ArgumentError:
    return ArgumentError(code, pointer(path), _MESSAGES[code])
