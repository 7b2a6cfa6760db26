"""Other spellings of a text: its words, what it decodes to, and what it may have been turned into.

Used to recognise a text that comes back; a spelling too many only withholds trust.
"""

from __future__ import annotations

import base64
import binascii
import html
import quopri
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from urllib.parse import unquote

MAX_ROUNDS = 3
"""Encodings within encodings that are undone."""

MAX_DECODED = 16
"""Decoded pieces of one text."""

MIN_ENCODED_CHARS = 12
"""Shorter runs are not tried as base64 or hexadecimal; short texts are looked for in encoded form instead."""

MAX_ENCODED_CHARS = 64
"""Texts up to this length are also looked for in encoded form."""

_MARKS = bytes(code for code in range(128) if not chr(code).isalnum())
# Of UTF-8, so that only ASCII is changed.
_LOWER = bytes(range(256)).lower()
_SPLIT = bytes(32 if code in _MARKS else code for code in _LOWER)
# Stands between texts; one that holds it is looked at by itself.
_SEPARATOR = "\x1f"
_OTHER_MARKS = _MARKS.replace(_SEPARATOR.encode(), b"")
_SPLIT_BETWEEN = _SPLIT[:31] + _SEPARATOR.encode() + _SPLIT[32:]
# Bytes that may be of base64 or hexadecimal, and the shortest run of them.
_SEVERED = bytes(97 if chr(code) in "+/_-" or code not in _MARKS else 32 for code in range(128)).ljust(256)
_LONG = b"a" * MIN_ENCODED_CHARS
_ROTATED = str.maketrans(
    {chr(first + code): chr(first + (code + 13) % 26) for first in (65, 97) for code in range(26)}
)
# Scripts that are written without spaces: each character is a word.
_DENSE = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
    r"\U00020000-\U0003ffff"
)
_DENSE_CHARACTER = re.compile(rf"[{_DENSE}]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
# Text in base64 has capitals, unless it is very short; a day is no base64.
_RUN = re.compile(
    r"(?<![A-Za-z0-9+/_-])(?![0-9]{4}-[0-9]{2}-)(?=[a-z0-9+/_-]*[A-Z])[A-Za-z0-9+/_-]{12,}={0,2}|(?<![0-9a-f])[0-9a-f]{24,}"
)
_MIN_HEX = 24
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_JSON_ESCAPE = re.compile(r"\\(?:u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|[nrtbf\"'/\\])")
_PLAIN_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_IGNORED = frozenset({"Mn", "Cf", "Me"})
_MAX_KEPT = 16
_MAX_ORDERED = 256


def tokens(text: str) -> list[str]:
    """Return the runs of letters and digits of a text, without case, accents, width and invisible characters."""
    return _line(text, _SPLIT).split()


def all_tokens(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the tokens of each of the texts, with white space between them, and those of all texts."""
    lines = _line(_SEPARATOR.join(texts), _SPLIT_BETWEEN)
    if lines.count(_SEPARATOR) == len(texts) - 1:
        return lines.split(_SEPARATOR), lines.split()  # the separator is white space, too
    apart = [_line(text, _SPLIT) for text in texts]
    return apart, " ".join(apart).split()


def _line(text: str, table: bytes) -> str:
    spaced = text.encode("utf-8", "surrogatepass").translate(table)
    if len(spaced) == len(text):
        return spaced.decode()
    return _NOT_ASCII.sub(_spaced_run, spaced.decode("utf-8", "surrogatepass"))


def squeezed(text: str) -> str:
    """Return all letters and digits of a text in one run, folded like `tokens`."""
    return text.encode().translate(_LOWER, _MARKS).decode() if text.isascii() else "".join(tokens(text))


def all_squeezed(texts: Sequence[str]) -> list[str]:
    """Return each of the texts squeezed."""
    joined = _SEPARATOR.join(texts)
    if joined.isascii() and joined.count(_SEPARATOR) == len(texts) - 1:
        return joined.encode().translate(_LOWER, _OTHER_MARKS).decode().split(_SEPARATOR)
    return list(map(squeezed, texts))


def is_dense(word: str) -> bool:
    """Tell whether a word is one character of a script that is written without spaces."""
    return _DENSE_CHARACTER.fullmatch(word) is not None


def plain(text: str) -> str:
    """Return a text without case, accents, width and invisible characters; not for comparing identifiers."""
    lowered = text.encode("utf-8", "surrogatepass").translate(_LOWER).decode("utf-8", "surrogatepass")
    return lowered if lowered.isascii() else _NOT_ASCII.sub(_plain_run, lowered)


def may_be_encoded(text: str) -> bool:
    """Tell cheaply whether `decoded` could find anything."""
    if "%" in text or "&" in text or "\\" in text or "=" in text:
        return True
    data = text.encode("utf-8", "surrogatepass")
    severed = data.translate(_SEVERED)
    start = severed.find(_LONG)
    while start >= 0:
        end = severed.find(b" ", start)
        run = data[start:end] if end >= 0 else data[start:]
        # In lower case only hexadecimal is looked for, and that is longer.
        if (len(run) >= _MIN_HEX or not run.islower()) and _RUN.search(run.decode()) is not None:
            return True
        start = severed.find(_LONG, end) if end >= 0 else -1
    return False


def decoded(text: str) -> list[str]:
    """Return what parts of a text decode to: percent, character references, escapes, base64, hexadecimal.

    At most `MAX_DECODED` pieces, to the depth of `MAX_ROUNDS`.
    """
    if not may_be_encoded(text):
        return []
    found: list[str] = []
    known = {text}
    waiting = [text]
    for _ in range(MAX_ROUNDS):
        following: list[str] = []
        for piece in waiting:
            for other in _once(piece):
                if other not in known and len(found) < MAX_DECODED:
                    known.add(other)
                    found.append(other)
                    following.append(other)
        waiting = following
    return found


def transformed(text: str) -> Iterator[str]:
    """Yield what a text may come back as where decoding does not help: reversed, rot13, and short ones encoded."""
    yield text[::-1]
    yield text.translate(_ROTATED)
    if len(text) <= MAX_ENCODED_CHARS:
        data = text.encode("utf-8", "surrogatepass")
        encoded = base64.b64encode(data).decode()
        yield encoded
        if "+" in encoded or "/" in encoded:
            yield encoded.translate({43: "-", 47: "_"})
        yield data.hex()


def _plain_run(match: re.Match[str]) -> str:
    return "".join(character for character in _decomposed(match[0]) if not _is_ignored(character))


@lru_cache(maxsize=1024)
def _spaced(run: str) -> str:
    """Return the words of a run that is not ASCII, with white space between them."""
    return "".join(
        f" {character} " if _DENSE_CHARACTER.match(character) else (character if character.isalnum() else " ")
        for character in _decomposed(run)
        if not _is_ignored(character)
    )


def _spaced_run(match: re.Match[str]) -> str:
    # Kept are the single letters of a script, not long texts.
    return _spaced(match[0]) if len(match[0]) <= _MAX_KEPT else _spaced.__wrapped__(match[0])


def _decomposed(run: str) -> str:
    if len(run) > _MAX_ORDERED:
        # The library puts marks on one letter in order, in quadratic time. Only marks that are left out could be in
        # another order now.
        return "".join(
            _decomposed(run[start : start + _MAX_ORDERED]) for start in range(0, len(run), _MAX_ORDERED)
        )
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", run).casefold())


def _is_ignored(character: str) -> bool:
    return unicodedata.category(character) in _IGNORED


def _once(text: str) -> Iterator[str]:
    if "%" in text:
        yield unquote(text)
        yield unquote(text.replace("+", " "))
    if "&" in text:
        yield html.unescape(text)
    if "\\" in text:
        yield _JSON_ESCAPE.sub(_unescaped, text)
    if "=" in text and text.isascii():
        yield quopri.decodestring(text.encode()).decode("utf-8", "replace")
    for run in text.split():
        if len(run) >= MIN_ENCODED_CHARS:
            for match in _RUN.finditer(run):
                yield from _bytes_of(match[0])


def _unescaped(match: re.Match[str]) -> str:
    escape = match[0]
    if escape[1] in "ux":
        return chr(int(escape[2:], 16))
    return _PLAIN_ESCAPES.get(escape[1], escape[1])


def _bytes_of(run: str) -> Iterator[str]:
    bare = run.rstrip("=")
    candidates: list[bytes] = []
    if _HEX.fullmatch(run):
        candidates.append(bytes.fromhex(run))
    # A cut-off run still decodes up to its last whole group of four.
    whole = bare[: len(bare) - 1] if len(bare) % 4 == 1 else bare
    standard = whole.translate({45: "+", 95: "/"})
    try:
        candidates.append(base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True))
    except binascii.Error:
        pass
    for data in candidates:
        text = data.decode("utf-8", "ignore")
        # Words and numbers are sometimes base64 of noise.
        if len(text) >= 3 and 10 * sum(map(str.isprintable, text)) >= 9 * len(text) >= 8 * len(data) // 4:
            yield text
