"""JSON with one byte form: RFC 8785 for any value, and the narrower profile of record bodies.

The profile (no floats, no nulls, integers within ±(2^53−1), member names of `[a-z0-9_]`) is the part of JSON
on which a fast encoder with sorted keys gives exactly the RFC 8785 bytes; a property test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import orjson
import rfc8785

from trionyx_audit.errors import EncodingError

JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | int | float | bool | None"
"""Any JSON value. Tuples and other sequences are not JSON here."""

MAX_INTEGER = 2**53 - 1
"""Largest magnitude of an integer that every JSON reader keeps exact (RFC 8785 section 3.2.2.3)."""

MAX_DEPTH = 64
"""Deepest nesting of a record body; far below every JSON reader's recursion limit."""

_PLAIN = frozenset({str, bool})
_NAME = re.compile(r"[a-z0-9_]+")


def canonicalize(value: JSON) -> bytes:
    """Return the RFC 8785 form of a JSON value; does not apply the record-body profile.

    Args:
        value: any JSON value; integers within ±(2^53−1), finite floats, strings without lone surrogates.

    Raises:
        EncodingError: the value has no RFC 8785 form.

    Source: RFC 8785 section 3.
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise EncodingError("the value has no canonical JSON form") from error


def encode_body(members: Mapping[str, JSON]) -> bytes:
    """Return the canonical bytes of a record body that keeps the profile.

    Raises:
        EncodingError: a float, null, large integer, foreign member name, lone surrogate, or deep nesting.
    """
    body = dict(members)
    check_profile(body)
    return dump_profiled(body)


def dump_profiled(members: dict[str, JSON]) -> bytes:
    """Return the canonical bytes of members already known to keep the profile; does not check that again.

    Raises:
        EncodingError: a string holds a lone surrogate.
    """
    try:
        return orjson.dumps(members, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise EncodingError("a string is not valid unicode") from error


def decode_body(body: bytes) -> dict[str, JSON]:
    """Parse bytes that must be the canonical form of one profiled object; any other bytes are refused.

    Duplicate members, whitespace, escapes in another spelling and invalid UTF-8 all fail, because what was
    parsed is encoded again and compared.

    Raises:
        EncodingError: not JSON, not an object, not canonical, or outside the profile.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise EncodingError("not valid json") from error
    if type(value) is not dict:
        raise EncodingError("not a json object")
    check_profile(value)
    if orjson.dumps(value, option=orjson.OPT_SORT_KEYS) != body:
        raise EncodingError("not in canonical form")
    return value


def check_profile(value: JSON, depth: int = MAX_DEPTH) -> None:
    """Check that a value keeps the record-body profile; does not check that its strings are valid unicode.

    Raises:
        EncodingError: it does not.
    """
    # Exact types, not isinstance alone: a subclass could encode itself as something else. Strings and truth values
    # are passed over before the call, because this runs for every value of every record written or read.
    if isinstance(value, dict) and type(value) is dict:
        if depth == 0:
            raise EncodingError(f"nested deeper than {MAX_DEPTH} levels")
        if not value.keys() <= _known_names:
            _check_names(value)
        for member in value.values():
            if type(member) not in _PLAIN:
                check_profile(member, depth - 1)
    elif isinstance(value, list) and type(value) is list:
        if depth == 0:
            raise EncodingError(f"nested deeper than {MAX_DEPTH} levels")
        for element in value:
            if type(element) not in _PLAIN:
                check_profile(element, depth - 1)
    elif isinstance(value, int) and type(value) is int:
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise EncodingError("an integer is outside ±(2^53−1)")
    elif type(value) not in _PLAIN:
        raise EncodingError(
            "a number is not an integer" if isinstance(value, float) else "a value is null or not json"
        )


# Names that passed once, so that the members of a usual record are checked in one step; bounded, never wrong.
_known_names: set[str] = set()
_MAX_KNOWN_NAMES = 4096


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if type(name) is not str or _NAME.fullmatch(name) is None:
            raise EncodingError("a member name is not of [a-z0-9_]")
        if len(_known_names) < _MAX_KNOWN_NAMES:
            _known_names.add(name)
