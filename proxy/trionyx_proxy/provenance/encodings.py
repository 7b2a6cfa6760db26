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
from collections.abc import Iterator
from urllib.parse import unquote

MAX_ROUNDS = 3
"""Encodings within encodings that are undone."""

MAX_DECODED = 16
"""Decoded pieces of one text."""

MIN_ENCODED_CHARS = 12
"""Shorter runs are not tried as base64 or hexadecimal; short texts are looked for in encoded form instead."""

MAX_ENCODED_CHARS = 64
"""Texts up to this length are also looked for in encoded form."""

_LOWER = {chr(code): chr(code + 32) for code in range(65, 91)}
_MARKS = [chr(code) for code in range(128) if not chr(code).isalnum()]
_SPLIT = str.maketrans(dict.fromkeys(_MARKS, " ") | _LOWER)
_SQUEEZED = str.maketrans(dict.fromkeys(_MARKS, None) | _LOWER)
_ROTATED = str.maketrans(
    {chr(first + code): chr(first + (code + 13) % 26) for first in (65, 97) for code in range(26)}
)
# Scripts that are written without spaces: each character is a word.
_DENSE = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
    r"\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_DENSE}]|[^\W_{_DENSE}]+")
# Text in base64 has capitals, unless it is very short; a day is no base64.
_RUN = re.compile(
    r"(?<![A-Za-z0-9+/_-])(?![0-9]{4}-[0-9]{2}-)(?=[a-z0-9+/_-]*[A-Z])[A-Za-z0-9+/_-]{12,}={0,2}|(?<![0-9a-f])[0-9a-f]{24,}"
)
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_JSON_ESCAPE = re.compile(r"\\(?:u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|[nrtbf\"'/\\])")
_PLAIN_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_IGNORED = frozenset({"Mn", "Cf", "Me"})


def tokens(text: str) -> list[str]:
    """Return the runs of letters and digits of a text, without case, accents, width and invisible characters."""
    if text.isascii():
        return text.translate(_SPLIT).split()
    return _WORD.findall(plain(text))


def squeezed(text: str) -> str:
    """Return all letters and digits of a text in one run, folded like `tokens`."""
    return text.translate(_SQUEEZED) if text.isascii() else "".join(tokens(text))


def plain(text: str) -> str:
    """Return a text without case, accents, width and invisible characters; not for comparing identifiers."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(character for character in decomposed if unicodedata.category(character) not in _IGNORED)


def may_be_encoded(text: str) -> bool:
    """Tell cheaply whether `decoded` could find anything."""
    if "%" in text or "&" in text or "\\" in text or "=" in text:
        return True
    runs = [run for run in text.split() if len(run) >= MIN_ENCODED_CHARS]
    return any(_RUN.search(run) is not None for run in runs)


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
