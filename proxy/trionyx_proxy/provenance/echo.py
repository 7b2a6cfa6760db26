"""Recognising what a run wrote when it comes back: by runs of words, in other spellings, in pieces.

A written text is cut into shingles: runs of three words, or of more until two of them say something. Any of them in a
result is a sign. A shorter text is looked for as a whole, and so is each identifier in a longer one. Memory is bounded;
at the bound everything is a sign. Source: Broder 1997 (shingles).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import accumulate, compress
from operator import add

from trionyx_proxy.provenance.encodings import MAX_ENCODED_CHARS, decoded, plain, tokens, transformed
from trionyx_proxy.provenance.shown import KEY_CHARS, SHORT_CHARS, Shown
from trionyx_proxy.provenance.terms import STOP_WORDS

MIN_PIECE = 5
"""Letters and digits of a written text that is recognised when it is cut up in the middle of a word."""

_STRIDE = 3
"""Of a reversed or rotated text every third shingle is kept: it is recognised from five words on, not from three."""

_MAX_SHINGLE = 10
"""Words of a shingle at most, whatever they say."""

_COMPOUND = re.compile(r"[^\s<>\"'`,;()\[\]{}|]+")
_APART = str.maketrans(dict.fromkeys("<>\"'`,;()[]{}|", " "))
_MARKED = re.compile(r"[@./:_#\\-]|[0-9]{5}")


class Echo:
    """What was written, as far as it must be recognised. Keys are words written without a space between them.

    Args:
        max_shingles: kept at most; beyond that, `is_full`.
    """

    def __init__(self, max_shingles: int) -> None:
        self._max = max_shingles
        self._seen: set[int] = set()
        self._singles: set[str] = set()
        self._pairs: set[str] = set()
        # Runs of three words that are a sign by themselves; those that are not; and the longer runs that are, with a
        # space behind the third word.
        self._triples: set[str] = set()
        self._stems: set[str] = set()
        self._longer: set[str] = set()
        # What two neighbouring words must be for any pair or triple to be there.
        self._openers: set[str] = set()
        self._wholes: set[str] = set()
        # Texts that are recognised in pieces; and by their first characters, how long they are: a result is compared
        # with each length once, however many texts begin alike.
        self._pieces: set[str] = set()
        self._lengths: dict[str, set[int]] = {}
        self._short_keys: set[int] = set()
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
        for form in (text, *decoded(text)):
            for run in without_vouched(form, is_vouched):
                self._remember(run, 1)
                for other in transformed(run):
                    self._remember(other, _STRIDE)
        if self._count > self._max:
            self.is_full = True

    def signs(self, shown: Shown) -> set[int]:
        """Return the positions of the texts in which something written shows, alone or together with neighbours."""
        texts = shown.texts
        if self.is_full:
            return set(range(len(texts)))
        if not self._count or not texts:
            return set()
        found = self._whole_signs(shown)
        if (not self._singles or self._singles.isdisjoint(shown.words)) and not self._has_run(shown):
            return found
        owners, owned = shown.owned
        found |= self._located(owners, owned)
        if shown.decoded:
            for position, text in enumerate(texts):
                for piece in decoded(text):
                    found |= self._located([position], tokens(piece))
            if not found and any(self._located([0], tokens(piece)) for piece in shown.decoded):
                # It shows only in what the leaves decode to together.
                return set(range(len(texts)))
        return found

    def _has_run(self, shown: Shown) -> bool:
        """Tell whether any written run of two words or more is in the texts, wherever."""
        pairs, words = shown.pairs, shown.words
        # Many texts share two words with another; few share three.
        shared = list(compress(range(len(pairs)), map(self._openers.__contains__, pairs)))
        if not shared:
            return False
        if self._pairs and not self._pairs.isdisjoint([pairs[start] for start in shared]):
            return True
        if shared[-1] == len(pairs) - 1:
            shared.pop()  # nothing comes after the last pair
        thirds = words[2:]
        triples = [pairs[start] + thirds[start] for start in shared]
        if not self._triples.isdisjoint(triples):
            return True
        stems = compress(shared, map(self._stems.__contains__, triples))
        return any(self._length_at(words, start, pairs[start]) for start in stems)

    def _length_at(self, words: Sequence[str], start: int, pair: str) -> int:
        """Return how many words from here on are a sign; 0 for none."""
        if start + 2 < len(words):
            triple = pair + words[start + 2]
            if triple in self._triples:
                return 3
            if triple in self._stems:
                run = triple + " "
                for length, word in enumerate(words[start + 3 : start + _MAX_SHINGLE], 4):
                    run += word
                    if run in self._longer:
                        return length
        return 2 if pair in self._pairs else 0

    def _located(self, owners: Sequence[int], words: Sequence[str]) -> set[int]:
        """Return the owners of the words that are signs; one owner owns all of them."""
        if len(owners) == 1:
            owners = [owners[0]] * len(words)
        found: set[int] = set()
        last = len(words) - 1
        for start, word in enumerate(words):
            if word in self._singles:
                found.add(owners[start])
            if start == last:
                break
            pair = word + words[start + 1]
            if pair in self._openers:
                found.update(owners[start : start + self._length_at(words, start, pair)])
        return found

    def _whole_signs(self, shown: Shown) -> set[int]:
        """Find texts cut up across neighbours, and short leaves that are put together from written ones."""
        found: set[int] = set()
        texts = shown.texts
        if self._wholes:
            found = {position for position, text in enumerate(texts) if plain(text).strip() in self._wholes}
        if not self._pieces:
            return found
        runs, stream, starts, openings = shown.stream
        # Most leaves begin with nothing that was written, and then there is nothing to put together.
        if self._lengths.keys().isdisjoint(openings) and all(
            self._lengths.keys().isdisjoint({opening[:length] for opening in openings})
            for length in self._short_keys
        ):
            return found
        for position, run in enumerate(runs):
            if not run:
                continue
            start = starts[position]
            for length in self._lengths.get(stream[start : start + KEY_CHARS], ()):
                end = start + length
                if MIN_PIECE <= length <= len(stream) - start and stream[start:end] in self._pieces:
                    last = position
                    while starts[last + 1] < end:
                        last += 1
                    # It must end where a word ends: `report` is not written in `reporting`.
                    if end - starts[last] in accumulate(map(len, tokens(texts[last]))):
                        found.update(range(position, last + 1))
            if self._is_put_together(run):
                found.add(position)
        return found

    def _is_put_together(self, run: str) -> bool:
        reached = {0}
        for start in range(len(run)):
            if start in reached:
                for key_chars in range(1, KEY_CHARS + 1):
                    for length in self._lengths.get(run[start : start + key_chars], ()):
                        if run[start : start + length] in self._pieces:
                            reached.add(start + length)
        return len(run) in reached

    def _remember(self, text: str, stride: int) -> None:
        words = tokens(text)
        if len(words) < 3:
            self._keep_short(words, text)
            return
        if len(text) <= SHORT_CHARS:
            self._keep_piece("".join(words))
        if stride == 1 or len(text) <= MAX_ENCODED_CHARS:
            self._keep_identifiers(text)
        telling = [len(word) > 1 and word not in STOP_WORDS for word in words]
        count = len(words) - 2
        firsts, seconds, thirds = (words[place : place + count : stride] for place in range(3))
        openers = list(map(add, firsts, seconds))
        one, two, three = (telling[place : place + count : stride] for place in range(3))
        told = [said >= 2 for said in map(add, map(add, one, two), three)]
        self._openers.update(openers)
        fresh = set(compress(map(add, openers, thirds), told)).difference(self._triples)
        self._triples |= fresh
        self._count += len(fresh)
        for place in range(len(told)) if False in told else ():
            if not told[place]:
                self._keep_run(words, telling, place * stride)
        if (count - 1) % stride:
            self._keep_run(words, telling, count - 1)

    def _keep_run(self, words: list[str], telling: list[bool], start: int) -> None:
        """Remember the run of words from here on that says enough."""
        end = start + 3
        said = sum(telling[start:end])
        last = min(len(words), start + _MAX_SHINGLE)
        while said < 2 and end < last:
            said += telling[end]
            end += 1
        # What says nothing up to the end of the text is a sign only as the whole text.
        if start == 0 or said >= 2:
            self._keep_shingle(words[start:end])

    def _keep_shingle(self, words: list[str]) -> None:
        opener = words[0] + words[1]
        triple = opener + words[2]
        self._openers.add(opener)
        if triple in self._triples:
            return
        self._count += 1
        if len(words) == 3:
            self._triples.add(triple)
        else:
            self._stems.add(triple)
            self._longer.add(f"{triple} {''.join(words[3:])}")

    def _keep_short(self, words: list[str], text: str) -> None:
        if not words:
            self._wholes.add(plain(text).strip())
            return
        whole = "".join(words)
        self._singles.add(whole)
        if len(words) == 2 or len(whole) >= MIN_PIECE:
            self._pairs.add(whole)
            self._openers.add(whole)
        self._keep_piece(whole)
        self._count += 1

    def _keep_piece(self, whole: str) -> None:
        if len(whole) <= SHORT_CHARS:
            key = whole[:KEY_CHARS]
            self._pieces.add(whole)
            self._lengths.setdefault(key, set()).add(len(whole))
            if len(key) < KEY_CHARS:
                self._short_keys.add(len(key))

    def _keep_identifiers(self, text: str) -> None:
        """Remember each identifier in a longer text by itself."""
        for compound in compounds(text):
            word = compound.strip(".:-_#/\\")
            if not is_marked(word):
                continue
            parts = tokens(word)
            if len(parts) < 3:
                if len(parts) == 2 or (parts and len(parts[0]) >= MIN_PIECE):
                    self._keep_short(parts, word)
                continue
            for start in range(len(parts) - 2):
                self._keep_shingle(parts[start : start + 3])
            if len(word) <= SHORT_CHARS:
                whole = "".join(parts)
                self._singles.add(whole)
                self._keep_piece(whole)


def is_marked(word: str) -> bool:
    """Tell whether a word has marks or digits in it as identifiers have."""
    return _MARKED.search(word) is not None


def compounds(text: str) -> list[str]:
    """Return the runs between spaces, brackets and commas that may be identifiers; bare words are none."""
    return [run for run in text.translate(_APART).split() if not run.isalpha()]


def without_vouched(text: str, is_vouched: Callable[[str], bool]) -> list[str]:
    """Return the parts of a text around the identifiers that somebody trusted vouches for; a lone identifier stays."""
    return [part for part, vouched in parted(text, is_vouched) if not vouched and part.strip()]


def parted(text: str, is_vouched: Callable[[str], bool]) -> list[tuple[str, bool]]:
    """Return the parts of a text in order, and whether each is an identifier that somebody trusted vouches for.

    A lone identifier counts as vouched for by nobody.
    """
    if not any(is_marked(run.rstrip(".:!?")) for run in compounds(text)):
        return [(text, False)]
    parts: list[tuple[str, bool]] = []
    start = 0
    for match in _COMPOUND.finditer(text):
        word = match[0].rstrip(".:!?")
        if is_marked(word) and len(word) < len(text.strip()) and is_vouched(word):
            parts += [(text[start : match.start()], False), (word, True)]
            start = match.start() + len(word)
    parts.append((text[start:], False))
    return parts
