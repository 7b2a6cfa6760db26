"""JSON documents read in exactly one way: no duplicate member, no constant that JSON does not have.

Does not validate shapes; that is what the schemas in the bundle are for.
"""

from __future__ import annotations

import json
import re
from typing import NoReturn, TypeAlias, cast

import orjson
import rfc8785

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

# A number that is not a short integer, where one can stand; inside a string it is a false alarm.
_ODD_NUMBER = re.compile(rb"[:,\[]-?(?:[0-9]{16}|[0-9]+[.eE])")


class DocumentError(ValueError):
    """The bytes are not one JSON document."""


class DuplicateKeyError(DocumentError):
    """An object has the same member twice."""


def parse(raw: bytes) -> Json:
    """Read JSON text strictly.

    Args:
        raw: UTF-8 JSON text; the caller bounds its length.

    Raises:
        DuplicateKeyError: an object repeats a member.
        DocumentError: anything else that RFC 8259 does not define one meaning for.
    """
    try:
        return cast(Json, json.loads(raw.decode(), object_pairs_hook=_object, parse_constant=_refuse))
    except DocumentError:
        raise
    except RecursionError:
        raise DocumentError("nested too deeply") from None
    except ValueError as error:
        raise DocumentError(str(error).replace("\n", " ")) from None


def canonical(value: Json) -> bytes:
    """Encode as RFC 8785.

    Raises:
        DocumentError: a number or string has no RFC 8785 form (integer beyond 2^53−1, NaN, lone surrogate).
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise DocumentError(str(error)) from None


def parse_canonical(raw: bytes) -> Json:
    """Read JSON text that must already be in RFC 8785 form, so that every reader sees one value.

    Raises:
        DocumentError: the text is not JSON, or not in that form.
    """
    try:
        value = cast(Json, orjson.loads(raw))
    except orjson.JSONDecodeError as error:
        raise DocumentError(str(error)) from None
    # orjson agrees with RFC 8785 except for member order beyond the BMP, number notation and range.
    if orjson.dumps(value, option=orjson.OPT_SORT_KEYS) == raw and _ODD_NUMBER.search(raw) is None:
        return value
    if canonical(value) != raw:
        raise DocumentError("not in canonical form")
    return value


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DuplicateKeyError("an object repeats a member")
    return members


def _refuse(constant: str) -> NoReturn:
    raise DocumentError(f"{constant} is not JSON")
