"""The words of a text: in order, for names; and as a set, for titles that are covered word by word."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from trionyx_proxy.provenance.values import fold, visible

BREAK = "\n"
"""Stands between two words that do not belong together."""

STOP_WORDS = frozenset(
    "a about above after again all also am an and any are as at be because been before being below between both but "
    "by can could did do does doing down during each few for from further had has have having he her here hers him "
    "his how i if in into is it its itself just ll may me might more most must my no nor not now of off on once only "
    "or other our ours out over own please re s same shall she should so some such t than that the their theirs them "
    "then there these they this those through to too under until up upon us very via was we were what when where "
    "which while who whom why will with within without would you your yours".split()
)
"""Words that say nothing of their own; they need no origin in a title, and name nothing."""

LEADING = "([{*'#~_-,.:\""
TRAILING = ".,;:!?)]}*'_~-"
_TERM = re.compile(r"[^\W_]+")
_LINKISH = re.compile(r"[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}(?:[/:?#].*)?")
# Begins with the point, which is quickly found.
_DOTTED = re.compile(r"\.(?<=\w\.)\w")
_SPACED = bytes(ord(chr(code).lower()) if chr(code).isalnum() else 32 for code in range(128)).ljust(256)
_SEPARATED = re.compile(r"[,;:!?()\[\]{}\"\u201c\u201d\u00ab\u00bb<>|\n\u2013\u2014\u2026]+")


@lru_cache(maxsize=256)
def sequence(text: str) -> tuple[str, ...]:
    """Return the words of a text in order, with `BREAK` where a sentence is interrupted.

    An address, file name or number with inner marks is one word: a part of it is not in the sequence.
    """
    words: list[str] = []
    for line in visible(text).splitlines():
        for raw in fold(line).split():
            _append_words(words, raw)
        _interrupt(words)
    while words and words[-1] == BREAK:
        words.pop()
    return tuple(words)


@lru_cache(maxsize=256)
def cover_terms(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the words of a text as a source and as a claim: `(gives, needs)`.

    Whatever looks like an address, link or file name is given and needed whole. Stop words are in neither.
    """
    gives: set[str] = set()
    needs: set[str] = set()
    for raw in fold(text).split():
        word = raw.lstrip(LEADING).rstrip(TRAILING + '"')
        terms = {term for term in _TERM.findall(word) if term not in STOP_WORDS}
        if _is_linkish(word):
            gives.add(word)
            needs.add(word)
        else:
            gives |= terms
            needs |= terms
    return frozenset(gives), frozenset(needs)


def given_terms(text: str) -> Iterable[str]:
    """Return the words that a text gives as a source, as `cover_terms` does; quick where it has no links."""
    if not text.isascii() or "@" in text or "/" in text or _DOTTED.search(text) is not None:
        return cover_terms(text)[0]
    return text.encode().translate(_SPACED).decode().split()


def _is_linkish(word: str) -> bool:
    return "@" in word or "://" in word or _LINKISH.fullmatch(word) is not None


def _append_words(words: list[str], raw: str) -> None:
    if "@" in raw or "://" in raw:
        word = raw.strip("<>()[]{}\"'`*_").rstrip(TRAILING)
        if raw[:1] in '([{<"\u201c':
            _interrupt(words)
        words.append(word)
        if not raw.endswith(word):
            _interrupt(words)
        return
    position = 0
    numeric = raw.strip("$\u20ac\u00a3.,;:!?()")
    if numeric and numeric[0].isdigit() and re.fullmatch(r"[0-9.,:'\u2019/-]+", numeric):
        words.append(numeric)
        if raw[-1:] in ",;:!?)":
            _interrupt(words)
        return
    for match in _SEPARATED.finditer(raw):
        _append_word(words, raw[position : match.start()])
        _interrupt(words)
        position = match.end()
    _append_word(words, raw[position:])


def _append_word(words: list[str], raw: str) -> None:
    word = raw.strip("'`\u2018\u2019*_~.#-&+=%^$\u20ac\u00a3\\/" if not raw.startswith("/") else "'`*_~.,")
    for possessive in ("'s", "\u2019s"):
        word = word.removesuffix(possessive)
    if word:
        words.append(word)


def _interrupt(words: list[str]) -> None:
    if words and words[-1] != BREAK:
        words.append(BREAK)
