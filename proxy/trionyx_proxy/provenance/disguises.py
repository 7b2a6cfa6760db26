"""What a server may make of a written text before it shows it again: tidied, rendered, normalised.

Unlike `encodings`, nothing of this is undone by decoding what comes back; so it is done to what goes out. A form too
many only withholds trust.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from trionyx_proxy.catalog import ArgumentType
from trionyx_proxy.provenance.mentions import in_order

MAX_SWAPPED_CHARS: Final = 64
"""A name up to this length may be written with its parts the other way round."""

DIALLED_DIGITS: Final = 7
"""Last digits of a telephone number that are the same with every prefix."""

_TAG = re.compile(r"<[^<>]*>")
_EMPHASIS = re.compile(r"[*~`_]")
_ESCAPE = re.compile(r"\\(?:u\{([0-9A-Fa-f]{1,6})\}|U([0-9A-Fa-f]{8})|([0-3][0-7]{2}))")
_HOST = re.compile(r"[^\s/@:?#<>\"'()\[\],;]+")
# What kind of character each is of, in ASCII, to find an account number in groups quickly.
_KINDS = bytes(
    97 if chr(code).isalpha() else 48 if chr(code).isdigit() else code for code in range(128)
).ljust(256)
_SPACED_ACCOUNT = b"aa00 "
_MAX_LABEL_CHARS = 63
_NO_DIGIT = re.compile(r"[^0-9]+")
_NUMBER = re.compile(r"(?<![\w.,$\u20ac\u00a3])(?:\+|00)?\(?[0-9][0-9 ()./-]{5,20}[0-9](?![\w,])")
_ABROAD = re.compile(r"(?<![\w.,$\u20ac\u00a3])(?:\+|00)\(?[0-9][0-9 ()./-]{5,20}[0-9](?![\w,])")
_DAY = re.compile(r"(?:19|20)[0-9]{2}[./-][0-9]|[0-9][./-](?:19|20)[0-9]{2}(?![0-9])")


def disguises(text: str) -> Iterator[str]:
    """Yield other forms of a written text, or of the parts of it that have another.

    Without tags and without marks of emphasis inside words; with more kinds of escapes undone; with host names in their
    other spelling (RFC 3492); account numbers without spaces; `Smith, Bob` as `Bob Smith`.
    """
    if "<" in text and (bare := _TAG.sub("", text)) != text:
        yield bare
    if _EMPHASIS.search(text):
        words = [word for word in text.split() if _EMPHASIS.search(word.strip("*~`_"))]
        if words:
            yield _EMPHASIS.sub("", "\n".join(words))
    if "\\" in text and (undone := _ESCAPE.sub(_character, text)) != text:
        yield undone
    hosts = (
        [other for word in text.split() if (other := _other_host(word)) != word] if _may_be_idn(text) else []
    )
    if hosts:
        yield "\n".join(hosts)
    if has_spaced_account(text):
        yield from in_order(ArgumentType.IBAN, text)
    if "," in text and len(text) <= MAX_SWAPPED_CHARS:
        last, _, first = text.partition(",")
        yield f"{first.strip()} {last.strip()}"


def dialled(texts: Iterable[str]) -> set[str]:
    """Return the last digits of what may be telephone numbers in some texts: a server may write another prefix."""
    found: set[str] = set()
    for text in texts:
        for match in _NUMBER.finditer(text):
            digits = _NO_DIGIT.sub("", match[0])
            if len(digits) >= DIALLED_DIGITS and _DAY.search(match[0]) is None:
                found.add(digits[-DIALLED_DIGITS:])
    return found


def dials(text: str, numbers: set[str], *, is_prose: bool) -> bool:
    """Tell whether a text shows one of these telephone numbers.

    Args:
        text: shown.
        numbers: their last digits, from `dialled`.
        is_prose: see `shown_numbers`.
    """
    return not numbers.isdisjoint(shown_numbers(text, is_prose=is_prose))


def shown_numbers(text: str, *, is_prose: bool) -> set[str]:
    """Return the last digits of what a text shows as telephone numbers.

    Args:
        text: shown.
        is_prose: where a number without a prefix for abroad may be a number of anything.
    """
    if not is_prose:
        return {_NO_DIGIT.sub("", text)[-DIALLED_DIGITS:]}
    return dialled(_ABROAD.findall(text)) if "+" in text or "00" in text else set()


def has_spaced_account(text: str) -> bool:
    """Tell whether a text may hold an account number that is written in groups."""
    return _SPACED_ACCOUNT in text.encode("utf-8", "surrogatepass").translate(_KINDS)


def _may_be_idn(text: str) -> bool:
    return not text.isascii() or "xn--" in text.lower()


def _other_host(word: str) -> str:
    """Return a word with each host name in it as the other spelling has it."""
    return _HOST.sub(_respelled, word) if _may_be_idn(word) and "." in word else word


def _respelled(match: re.Match[str]) -> str:
    labels = match[0].split(".")
    return ".".join(map(_other_label, labels)) if len(labels) > 1 else match[0]


def _other_label(label: str) -> str:
    if len(label) > _MAX_LABEL_CHARS:
        return label
    try:
        if not label.isascii():
            return label.encode("idna").decode("ascii")
        if label.lower().startswith("xn--"):
            return label.encode("ascii").decode("idna")
    except (UnicodeError, ValueError):
        pass  # no host name; it has no other spelling
    return label


def _character(match: re.Match[str]) -> str:
    code = int(match[3], 8) if match[3] else int(match[1] or match[2], 16)
    return chr(code) if code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF else match[0]
