"""Which words of a written text name something, and what a word says; used to tell hearsay.

Two kinds: identifiers, which are recognised wherever they stand, also in prose; and names, which are recognised only
in fields that hold nothing but a name: `fix-login` is one there and two words anywhere else. What honest people write
is no identifier, or their readers would lose their trust: `follow-up`, `and/or`, `10:30`, `24-hour`, `done.The`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from trionyx_proxy.provenance.echo import compounds, is_marked
from trionyx_proxy.provenance.encodings import is_dense, tokens
from trionyx_proxy.provenance.terms import STOP_WORDS

SILENT, DENSE, TELLING = 1, 34, 100
"""Weights of words: those that say nothing, characters of a script without spaces, and all others."""

MAX_PARTS: Final = 4
"""Words of an identifier that are recognised together: three of a longer one, all of an address of a machine."""

MAX_NAME: Final = 32
"""Words of a name."""

_WINDOW = 3
_MAX_PIECES = 8
_MIN_NUMBERED = 5
"""Letters and digits of a word with a digit in it that names something; shorter ones are hours and counts."""

_MIN_NAME = 4
_SURE_MARK = re.compile("@|://")
_NUMBERED = re.compile("[0-9]")
_MACHINE = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
# `done.The` is two sentences.
_HOST = re.compile(r"(?:[\w-]+\.)+(?:[a-z]{2,}|[A-Z]{2,}|xn--[\w-]+)")
_TICKET = re.compile(r"[A-Z]{2,}[-_/:#.]?[0-9]{2,}")
_PLACE = re.compile(r"[/\\]|~[/\\]|\.{1,2}/|[A-Za-z]:\\")
# Ties an identifier to what stands beside it: a server shows the one without the other.
_TIED = re.compile(r"[=&?%+~*^$!]+|[^\x00-\x7f]+|:(?=[0-9])")
# What a name may be a part of, that is shown without the rest.
_PARTING = re.compile(r"[/\\:@=#&?%+~*^$!]+|[^\x00-\x7f]+")
# Stands around an identifier and is not of it.
_AROUND = ".:-_#/\\!?"
# Words that say nothing and are domains of countries.
_COUNTRIES = frozenset(
    {"am", "as", "at", "be", "by", "do", "in", "is", "it", "me", "my", "no", "so", "to", "us"}
)

IsVouched = Callable[[str], bool]


def says(word: str) -> int:
    """Return the weight of a word, as `encodings.tokens` gives it."""
    if len(word) > 1:
        is_count = len(word) < _MIN_NUMBERED and word.isdigit()
        return SILENT if is_count or word in STOP_WORDS else TELLING
    return DENSE if is_dense(word) else SILENT


def identifiers(text: str, is_vouched: IsVouched) -> Iterator[list[str]]:
    """Yield the words of each identifier in a text, three by three; no three that say nothing.

    Args:
        text: as written, without what somebody trusted vouches for.
        is_vouched: tells whether somebody vouches for a part of something that is tied together.
    """
    for compound in compounds(text):
        tied = _TIED.split(compound) if _TIED.search(compound) else []
        for one in (compound, *(piece for piece in tied if piece and not is_vouched(piece))):
            word = one.strip(_AROUND)
            parts = tokens(word)
            if not parts or not is_marked(word):
                continue
            if _MACHINE.fullmatch(word) is not None:
                yield parts
            elif _names_something(one, word, parts):
                for start in range(max(1, len(parts) - _WINDOW + 1)):
                    run = parts[start : start + _WINDOW]
                    if any(says(part) >= TELLING for part in run):
                        yield run


def names(text: str, is_vouched: IsVouched) -> Iterator[list[str]]:
    """Yield the words of whatever may be a name by itself: a compound with marks or digits, and the parts of one.

    Args:
        text: as written, without what somebody trusted vouches for.
        is_vouched: tells whether somebody vouches for a part of a compound.
    """
    for compound in compounds(text):
        pieces = [piece for piece in _PARTING.split(compound) if piece and piece != compound][:_MAX_PIECES]
        hosts = [".".join(piece.split(".")[-2:]) for piece in pieces or [compound] if piece.count(".") > 1]
        for one in (compound, *(piece for piece in (*pieces, *hosts) if not is_vouched(piece))):
            word = one.strip(_AROUND)
            is_number = len(word) >= _MIN_NAME and _NUMBERED.search(word) is not None
            parts = tokens(word)
            if 0 < len(parts) <= MAX_NAME and (is_number or is_marked(one)):
                yield parts


def _names_something(compound: str, word: str, parts: Sequence[str]) -> bool:
    """Whether a word with marks is an identifier.

    Args:
        compound: as it was written.
        word: without what stands around it.
        parts: the words in it.
    """
    if _SURE_MARK.search(word) is not None or _TICKET.fullmatch(word) is not None:
        return True
    if len(parts) > 1 and (_PLACE.match(compound) is not None or _is_host(word, parts)):
        return True
    if any(len(part) >= _MIN_NUMBERED and _NUMBERED.search(part) is not None for part in parts):
        return True
    named = [part for part in parts if part.isalpha() and says(part) >= TELLING]
    return len(named) > 1 and not set(word).isdisjoint("./:_#\\")


def _is_host(word: str, parts: Sequence[str]) -> bool:
    """Whether a word is the name of a host, not the end of a sentence and the beginning of the next."""
    is_top = parts[-1] not in STOP_WORDS or parts[-1] in _COUNTRIES
    return is_top and says(parts[-2]) >= TELLING and _HOST.fullmatch(word) is not None
