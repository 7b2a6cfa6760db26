"""The form of a message: a text, or one JSON object within narrow bounds. Refused or taken as it is, never rewritten.

A valid form says nothing about what the message is worth; its label does.
"""

from __future__ import annotations

from collections.abc import Iterator

from trionyx_proxy.arguments import JSON, Limits, parse, pointer
from trionyx_proxy.errors import ArgumentError
from trionyx_proxy.provenance.values import Scalar

MAX_TEXT_BYTES = 4_096
MAX_DEPTH = 5
MAX_KEYS = 50
MAX_KEY_BYTES = 128
MAX_LIST = 100
MAX_STRING_BYTES = 1_024
MAX_OBJECT_BYTES = 64 << 10

_LIMITS = Limits(
    max_bytes=MAX_OBJECT_BYTES,
    max_depth=MAX_DEPTH,
    max_string_bytes=MAX_STRING_BYTES,
    max_key_bytes=MAX_KEY_BYTES,
)


class MessageError(Exception):
    """What was to be said cannot be; the text is the host's own, with the place and no received value."""


def read_message(text: str) -> JSON:
    """Return a message: an object if the text is one, else the text itself.

    Args:
        text: what begins like a JSON object or list has to be one object.

    Raises:
        MessageError: it is neither, or exceeds a bound; names the place.
    """
    if not text.strip():
        raise MessageError("the message is empty")
    if text.lstrip()[0] not in "{[":
        if len(text.encode()) > MAX_TEXT_BYTES:
            raise MessageError(f"a text has at most {MAX_TEXT_BYTES} bytes")
        return text
    try:
        value = parse(text.encode(), _LIMITS)
    except ArgumentError as error:
        raise MessageError(f"the message at ${error.pointer}: {error}") from None
    if not isinstance(value, dict):
        raise MessageError("the message is neither a text nor an object")
    _check(value, ())
    return value


def check_size(text: str) -> str:
    """Return a text of which nothing may be told but its size.

    Raises:
        MessageError: it is too long.
    """
    if len(text.encode()) > MAX_OBJECT_BYTES:
        raise MessageError(f"a message has at most {MAX_OBJECT_BYTES} bytes")
    return text


def leaves(value: JSON, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Scalar]]:
    """Yield the values in a message that are no containers, in an order that depends on the message alone."""
    if isinstance(value, dict):
        for name in sorted(value):
            yield from leaves(value[name], (*path, name))
    elif isinstance(value, list):
        for position, element in enumerate(value):
            yield from leaves(element, (*path, position))
    elif value is not None:
        yield path, value


def _check(value: JSON, path: tuple[str | int, ...]) -> None:
    place = f"the message at ${pointer(path)}"
    match value:
        case dict():
            if len(value) > MAX_KEYS:
                raise MessageError(f"{place}: an object has at most {MAX_KEYS} members")
            for name, member in value.items():
                if not name or not name.isprintable():
                    raise MessageError(f"{place}: a member name is empty or not printable")
                _check(member, (*path, name))
        case list():
            if len(value) > MAX_LIST:
                raise MessageError(f"{place}: a list has at most {MAX_LIST} elements")
            for position, element in enumerate(value):
                _check(element, (*path, position))
        case _:
            pass
