"""Recognising in a later run what an untrusted run wrote where no resource is named: a mail may come back by any tool.

Kept are keyed digests, never words: of runs of three words, or of more until two of them say something; of each
identifier; of short texts as a whole. Coarser than `echo`, which knows what the very same run wrote: pieces of words,
reversed and rotated texts are not recognised here. Memory is bounded; at the bound everything is hearsay.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence, Set
from itertools import accumulate
from typing import Final

from trionyx_proxy.catalog import ArgumentType
from trionyx_proxy.provenance.disguises import dialled, disguises, has_spaced_account, shown_numbers
from trionyx_proxy.provenance.echo import parted
from trionyx_proxy.provenance.encodings import decoded, tokens
from trionyx_proxy.provenance.mentions import in_order
from trionyx_proxy.provenance.naming import MAX_NAME, MAX_PARTS, SILENT, identifiers, names, says
from trionyx_proxy.provenance.shown import Shown

DIGEST_BYTES: Final = 8

MAX_RUN: Final = 10
"""Words of a run at most, and of a text that is told as a whole."""

MAX_KNOWN: Final = 500_000
"""Digests that a run keeps; with more, anything is hearsay to it."""

_MAX_REMEMBERED = 16_384
"""Words that are remembered in memory, so that they are not digested again: texts repeat most of theirs."""

_ENOUGH = 200
"""Weight of a run: two telling words, or six characters of a script without spaces; silent words are never enough."""

# Added in a byte to the weight of a word of an identifier.
_NAMES = 128
_SAID = bytes(weight % _NAMES for weight in range(256))
# Words that were written, one after another: at least three, or with one of an identifier among them.
_STRETCH = re.compile(rb"[^\0]{3,}")
_NAMING_STRETCH = re.compile(rb"[^\0]{3,}|[^\0]*[\x80-\xff][^\0]*")
# What a digest is of, which is its last byte: a word of a run, one of an identifier, a run, a whole text, whatever has
# marks in it, a number.
_WORD, _ANCHOR, _RUN, _WHOLE, _LONE, _NUMBER = b"w", b"a", b"r", b"=", b"l", b"n"

# A whole such value is one identifier: what else was written somewhere around it does not make it doubtful.
_IDENTIFIERS: Final = frozenset({ArgumentType.EMAIL, ArgumentType.IBAN})
# Numbers, days and choices are written by everybody.
_COMMON: Final = frozenset(
    {
        ArgumentType.AMOUNT,
        ArgumentType.BOOLEAN,
        ArgumentType.DATE,
        ArgumentType.ENUM,
        ArgumentType.INTEGER,
    }
)
# A field that holds nothing but a name of something: there `fix-login` is one, in prose it is two words.
_NAMING: Final = frozenset(
    {
        ArgumentType.HOST,
        ArgumentType.ID,
        ArgumentType.PATH,
        ArgumentType.REVISION,
        ArgumentType.URL,
    }
)
_DIALLED: Final = frozenset({ArgumentType.PHONE, ArgumentType.TEXT})
_ACCOUNTS: Final = frozenset({ArgumentType.IBAN, ArgumentType.TEXT})


class Hearsay:
    """What untrusted runs of one tenant wrote.

    Args:
        key: secret of the state directory, at most 64 bytes.

    Attributes:
        is_full: it is not known what they wrote: anything may be.
    """

    def __init__(self, key: bytes) -> None:
        self._state = hashlib.blake2b(key=key, digest_size=DIGEST_BYTES - 1, person=b"trionyx hearsay")
        self._known: set[bytes] = set()
        # Without their last byte; the second is part of the first.
        self._words: set[bytes] = set()
        self._anchors: set[bytes] = set()
        self._weights: dict[str, int] = {}
        self.is_full = False

    def __bool__(self) -> bool:
        return self.is_full or bool(self._known)

    def learn(self, digests: bytes) -> None:
        """Add what a run wrote: digests, one behind the other."""
        if self.is_full:
            return
        new = {digests[start : start + DIGEST_BYTES] for start in range(0, len(digests), DIGEST_BYTES)}
        anchors = {digest[:-1] for digest in new if digest.endswith(_ANCHOR)}
        self._known |= new
        self._anchors |= anchors
        self._words |= anchors | {digest[:-1] for digest in new if digest.endswith(_WORD)}
        self._weights.clear()
        if len(self._known) > MAX_KNOWN:
            self.is_full = True
            for kept in (self._known, self._anchors, self._words):
                kept.clear()

    def digests(self, text: str, is_vouched: Callable[[str], bool], suspects: Set[str] | None) -> set[bytes]:
        """Return what must be remembered of a written text.

        Args:
            text: as sent.
            is_vouched: tells whether somebody trusted vouches for an identifier inside the text.
            suspects: words that may be somebody else's; None where every word may be.
        """
        found: set[bytes] = set()
        for form in (text, *decoded(text), *disguises(text)):
            words = tokens(form)
            if suspects is not None and suspects.isdisjoint(words):
                continue  # so it is with most of what an untainted run writes
            parts = parted(form, is_vouched)
            found |= self._of_words(parts, suspects)
            for part, vouched in parts:
                for run in () if vouched else identifiers(part, is_vouched):
                    if suspects is None or not suspects.isdisjoint(run):
                        found |= self._of_run(run, _ANCHOR)
                for run in () if vouched else names(part, is_vouched):
                    if suspects is None or not suspects.isdisjoint(run):
                        found.add(self._digest(_LONE, "".join(run)))
                        found |= {self._digest(_WORD, word) for word in run}
            if 0 < len(words) <= MAX_RUN:
                found.add(self._digest(_WHOLE, "".join(words)))
                found |= {self._digest(_WORD, word) for word in words}
            found |= {self._digest(_NUMBER, number) for number in dialled([form])}
        return found

    def signs(self, shown: Shown, kinds: Sequence[ArgumentType]) -> set[int]:
        """Return the positions of the texts in which something shows that an untrusted run wrote.

        Args:
            shown: the trusted leaves of a result.
            kinds: how each of them is read.
        """
        if self.is_full:
            return set(range(len(shown.texts)))
        if not self._known:
            return set()
        found: set[int] = set()
        if any(True for _ in self._places(shown.words)):
            owners, words = shown.owned
            found = {owners[place] for place in self._places(words)}
        for position, text in enumerate(shown.texts if shown.decoded else ()):
            if any(True for piece in decoded(text) for _ in self._places(tokens(piece))):
                found.add(position)
        found -= {position for position in found if kinds[position] in _IDENTIFIERS}
        for position, (line, text, kind) in enumerate(zip(shown.lines, shown.texts, kinds, strict=True)):
            if (
                self._is_whole(line, *((_WHOLE, _LONE) if kind in _NAMING else (_WHOLE,)))
                or (kind in _DIALLED and self._is_dialled(text, kind))
                or (kind in _ACCOUNTS and self._is_account(text, kind))
            ):
                found.add(position)
        return {position for position in found if kinds[position] not in _COMMON}

    def _of_words(self, parts: Sequence[tuple[str, bool]], suspects: Set[str] | None) -> set[bytes]:
        """Return the digests of runs of words, of which one that says something is nobody's whom somebody trusts.

        A run goes on across what is vouched for: a text would be forgotten that is cut up by the address of its reader.
        """
        words: list[str] = []
        said: list[int] = []
        own: list[bool] = []
        for part, vouched in parts:
            more = tokens(part)
            weights = list(map(says, more))
            words += more
            said += weights
            own += [not vouched and weight > SILENT for weight in weights]
        found: set[bytes] = set()
        for start in range(len(words) - 2):
            end = start + 3
            weight = sum(said[start:end])
            last = min(len(words), start + MAX_RUN)
            while weight < _ENOUGH and end < last:
                weight += said[end]
                end += 1
            run = words[start:end]
            if (
                weight >= _ENOUGH
                and any(own[start:end])
                and (suspects is None or not suspects.isdisjoint(run))
            ):
                found |= self._of_run(run, _WORD)
        return found

    def _of_run(self, words: Sequence[str], kind: bytes) -> set[bytes]:
        return {self._digest(_RUN, " ".join(words)), *(self._digest(kind, word) for word in words)}

    def _weighed(self, words: Sequence[str]) -> bytes:
        """Return what each word says, if it was written; 0 for one that was not."""
        weights = self._weights
        new = set(words).difference(weights)
        if new:
            told, copy = self._words, self._state.copy
            for word in new:
                state = copy()
                state.update(word.encode("utf-8", "surrogatepass"))
                digest = state.digest()
                if digest not in told:
                    weights[word] = 0
                else:
                    weights[word] = says(word) + _NAMES * (digest in self._anchors)
        weighed = bytes(map(weights.__getitem__, words))
        if len(weights) > _MAX_REMEMBERED:
            weights.clear()
        return weighed

    def _places(self, words: Sequence[str]) -> Iterator[int]:
        """Yield the places of the words that belong to a written run."""
        weights = self._weighed(words)
        said = list(accumulate(weights.translate(_SAID), initial=0))
        has_names = max(weights, default=0) >= _NAMES
        for stretch in (_NAMING_STRETCH if has_names else _STRETCH).finditer(weights):
            first, stop = stretch.span()
            for start in range(first, stop if has_names or said[stop] - said[first] >= _ENOUGH else first):
                # As it was told, a run ends with the word with which it says enough.
                end = max(start + 3, bisect_left(said, said[start] + _ENOUGH))
                if end <= min(stop, start + MAX_RUN) and self._holds(words[start:end]):
                    yield from range(start, end)
                if has_names:
                    yield from self._named(words, weights, start, stop)

    def _named(self, words: Sequence[str], weights: bytes, start: int, stop: int) -> Iterator[int]:
        """Yield the places of the words of written identifiers that begin here."""
        for end in range(start + 1, min(stop, start + MAX_PARTS) + 1):
            if weights[end - 1] < _NAMES:
                break
            if self._holds(words[start:end]):
                yield from range(start, end)

    def _holds(self, run: Sequence[str]) -> bool:
        return self._digest(_RUN, " ".join(run)) in self._known

    def _is_whole(self, line: str, *ways: bytes) -> bool:
        words = line.split(maxsplit=MAX_NAME)
        return (
            0 < len(words) <= MAX_NAME
            and all(self._weighed(words))
            and any(self._digest(way, "".join(words)) in self._known for way in ways)
        )

    def _is_dialled(self, text: str, kind: ArgumentType) -> bool:
        numbers = shown_numbers(text, is_prose=kind is ArgumentType.TEXT)
        return any(self._digest(_NUMBER, number) in self._known for number in numbers)

    def _is_account(self, text: str, kind: ArgumentType) -> bool:
        """Tell whether a text shows, in groups, an account number that was written; in prose, or alone, as it was."""
        if not has_spaced_account(text):
            return False
        known = _WHOLE if kind is ArgumentType.IBAN else _ANCHOR
        return any(
            self._digest(known, "".join(tokens(number))) in self._known
            for number in in_order(ArgumentType.IBAN, text)
        )

    def _digest(self, kind: bytes, text: str) -> bytes:
        # Mixing the key in takes longer than the text.
        state = self._state.copy()
        state.update(text.encode("utf-8", "surrogatepass"))
        return state.digest() + kind
