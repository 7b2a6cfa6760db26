"""Recognising what a run wrote when it comes back: by runs of words, in other spellings, in pieces.

A written text is cut into shingles of three words; any of them in a result is a sign. A shorter text is looked for as
a whole. Three words that carry no meaning of their own are no sign, unless the text has nothing else. Memory is
bounded; at the bound everything is a sign. Source: Broder 1997 (shingles).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from operator import add

from trionyx_proxy.provenance.encodings import (
    MAX_ENCODED_CHARS,
    decoded,
    plain,
    squeezed,
    tokens,
    transformed,
)
from trionyx_proxy.provenance.mentions import STOP_WORDS

SHORT_CHARS = 128
"""Leaves up to this length are also compared as wholes that may be put together from several written texts."""

MIN_PIECE = 5
"""Letters and digits of a written text that is recognised when it is cut up in the middle of a word."""

_COMPOUND = re.compile(r"[^\s<>\"'`,;()\[\]{}|]+")
_MARKED = re.compile(r"[@./:_#\\-]|[0-9]{5}")


class Echo:
    """What was written, as far as it must be recognised.

    Args:
        max_shingles: kept at most; beyond that, `is_full`.
    """

    def __init__(self, max_shingles: int) -> None:
        self._max = max_shingles
        self._seen: set[int] = set()
        self._singles: set[str] = set()
        self._openers: set[str] = set()
        self._pairs: set[str] = set()
        self._triples: set[str] = set()
        self._wholes: set[str] = set()
        self._pieces: dict[str, set[str]] = {}
        self._count = 0
        self.is_full = False

    def __bool__(self) -> bool:
        return self._count > 0 or self.is_full

    def __len__(self) -> int:
        return self._count

    def knows(self, text: str) -> bool:
        """Tell whether this very text was added before."""
        return hash(text) in self._seen

    def add(self, text: str, is_vouched: Callable[[str], bool]) -> None:
        """Remember a written text.

        Args:
            text: as sent.
            is_vouched: tells whether an identifier inside the text has a trusted origin of its own; it then comes
                back as trusted as it was. Not asked about the text as a whole.
        """
        if self.is_full or self.knows(text):
            return
        self._seen.add(hash(text))
        self._count += 1
        forms = [text, *decoded(text)]
        for form in forms:
            runs = _without_vouched(form, is_vouched)
            for run in runs:
                self._remember(run, stride=1)
            for run in runs:
                for other in transformed(run):
                    self._remember(other, stride=3)
        if self._count > self._max:
            self.is_full = True

    def signs(self, texts: Sequence[str]) -> set[int]:
        """Return the positions of the texts in which something written shows, alone or together with neighbours.

        Args:
            texts: the leaves of one result, in document order.
        """
        if self.is_full:
            return set(range(len(texts)))
        if not self._count or not texts:
            return set()
        joined = "\n".join(texts)
        found = self._short_signs(texts)
        words = tokens(joined)
        extra = decoded(joined) if _may_be_encoded(joined) else []
        for piece in extra:
            words += tokens(piece)
        if self._singles.isdisjoint(words) and self._openers.isdisjoint(map(add, words, words[1:])):
            return found
        owned = [(position, word) for position, text in enumerate(texts) for word in tokens(text)]
        found |= self._located([position for position, _ in owned], [word for _, word in owned])
        if extra:
            for position, text in enumerate(texts):
                for piece in decoded(text):
                    words = tokens(piece)
                    found |= self._located([position] * len(words), words)
            pieces = [tokens(piece) for piece in extra]
            if any(self._located([0] * len(words), words) for words in pieces) and not found:
                # It shows only in what the leaves decode to together.
                return set(range(len(texts)))
        return found

    def _located(self, owners: Sequence[int], words: Sequence[str]) -> set[int]:
        found: set[int] = set()
        for start, word in enumerate(words):
            if word in self._singles:
                found.add(owners[start])
            if start + 1 == len(words):
                break
            pair = word + words[start + 1]
            if pair in self._pairs:
                found.update(owners[start : start + 2])
            if pair in self._openers and start + 2 < len(words) and pair + words[start + 2] in self._triples:
                found.update(owners[start : start + 3])
        return found

    def _short_signs(self, texts: Sequence[str]) -> set[int]:
        """Find texts cut up across neighbours, and short leaves that are put together from written ones."""
        found = {
            position
            for position, text in enumerate(texts)
            if self._wholes and plain(text).strip() in self._wholes
        }
        if not self._pieces:
            return found
        runs = [squeezed(text) if len(text) <= SHORT_CHARS else "" for text in texts]
        stream = "".join(runs)
        starts = [0, *accumulate(map(len, runs))]
        pieces = self._pieces
        for position, run in enumerate(runs):
            if not run:
                continue
            start = starts[position]
            for piece in pieces.get(run[:4] if len(run) >= 4 else stream[start : start + 4], ()):
                if len(piece) >= MIN_PIECE and stream.startswith(piece, start):
                    last = position
                    while starts[last + 1] < start + len(piece):
                        last += 1
                    found.update(range(position, last + 1))
            if self._is_put_together(run):
                found.add(position)
        return found

    def _is_put_together(self, run: str) -> bool:
        reached = {0}
        for start in range(len(run)):
            if start not in reached:
                if start > max(reached):
                    return False
                continue
            for length in (1, 2, 3, 4):
                if start + length <= len(run):
                    for piece in self._pieces.get(run[start : start + length], ()):
                        if (length == 4 or len(piece) == length) and run.startswith(piece, start):
                            reached.add(start + len(piece))
        return len(run) in reached

    def _remember(self, text: str, stride: int) -> None:
        words = tokens(text)
        if not words:
            whole = plain(text).strip()
            if whole:
                self._wholes.add(whole)
                self._count += 1
            return
        if len(words) < 3:
            self._keep_short(words)
            return
        if len(text) <= SHORT_CHARS:
            self._keep_piece("".join(words))
        telling = {word for word in set(words) if len(word) > 1 and word not in STOP_WORDS}
        parts: set[int] = set()
        if stride == 1 or len(text) <= MAX_ENCODED_CHARS:
            parts = self._keep_compounds(text)
        kept = 0
        last = len(words) - 3
        for start in range(last + 1):
            one, two, three = words[start : start + 3]
            weight = (one in telling) + (two in telling) + (three in telling)
            if weight >= 2 and (start % stride == 0 or start == last):
                self._keep_triple(one, two, three)
                kept += 1
        if not kept or (stride == 1 and parts):
            for start in range(last + 1):
                if not kept or start in parts:
                    self._keep_triple(*words[start : start + 3])

    def _keep_triple(self, one: str, two: str, three: str) -> None:
        triple = one + two + three
        if triple not in self._triples:
            self._openers.add(one + two)
            self._triples.add(triple)
            self._count += 1

    def _keep_short(self, words: list[str]) -> None:
        whole = "".join(words)
        if whole in self._singles and (len(words) == 1 or whole in self._pairs):
            return
        self._singles.add(whole)
        if len(words) == 2 or len(whole) >= MIN_PIECE:
            self._pairs.add(whole)
            self._openers.add(whole)
        self._keep_piece(whole)
        self._count += 1

    def _keep_piece(self, whole: str) -> None:
        if len(whole) <= SHORT_CHARS:
            self._pieces.setdefault(whole[:4], set()).add(whole)

    def _keep_compounds(self, text: str) -> set[int]:
        """Remember each identifier in a longer text by itself; returns nothing but the places of longer ones."""
        for match in _COMPOUND.finditer(text):
            word = match[0].strip(".:-_#/\\")
            if _MARKED.search(word):
                parts = tokens(word)
                if len(parts) < 3:
                    if parts and (len(parts) == 2 or len(parts[0]) >= MIN_PIECE):
                        self._keep_short(parts)
                else:
                    for start in range(len(parts) - 2):
                        self._keep_triple(*parts[start : start + 3])
                    if len(word) <= SHORT_CHARS:
                        self._singles.add("".join(parts))
                        self._keep_piece("".join(parts))
                        self._count += 1
        return set()


def _without_vouched(text: str, is_vouched: Callable[[str], bool]) -> list[str]:
    """Cut a text at the identifiers that somebody trusted vouches for; a lone identifier stays."""
    runs: list[str] = []
    start = 0
    for match in _COMPOUND.finditer(text):
        word = match[0].rstrip(".:!?")
        if _MARKED.search(word) and len(word) < len(text.strip()) and is_vouched(word):
            runs.append(text[start : match.start()])
            start = match.start() + len(word)
    runs.append(text[start:])
    return [run for run in runs if run.strip()]


def _may_be_encoded(text: str) -> bool:
    if "%" in text or "&" in text or "\\" in text or "=" in text:
        return True
    return max(map(len, text.split()), default=0) >= 12


def each_new(echo: Echo, texts: Iterable[str]) -> list[str]:
    """Return the texts that were not added before."""
    return [text for text in texts if not echo.knows(text)]
