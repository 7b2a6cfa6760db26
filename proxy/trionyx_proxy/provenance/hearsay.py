"""Recognising in a later run what an untrusted run wrote where no resource is named: a mail may come back by any tool.

Kept are keyed digests, never words: of runs of three words, or of more until two of them say something; of each
identifier; of short texts as a whole. Coarser than `echo`, which knows what the very same run wrote: pieces of words,
reversed and rotated texts are not recognised here. Memory is bounded; at the bound everything is hearsay.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence, Set
from itertools import compress
from typing import Final

from trionyx_proxy.catalog import ArgumentType
from trionyx_proxy.provenance.disguises import dialled, disguises, shown_numbers, spaced_account
from trionyx_proxy.provenance.echo import compounds, is_marked, parted
from trionyx_proxy.provenance.encodings import decoded, is_dense, tokens
from trionyx_proxy.provenance.mentions import in_order
from trionyx_proxy.provenance.shown import Shown
from trionyx_proxy.provenance.terms import STOP_WORDS

DIGEST_BYTES: Final = 8

MAX_RUN: Final = 10
"""Words of a run at most, and of a text that is recognised as a whole."""

_MIN_NUMBERED = 5
"""Letters and digits of a word with a digit in it that names something; shorter ones are hours and counts."""

_MAX_REMEMBERED = 65_536
"""Words and runs whose digests are remembered in memory, so that common ones are not digested again."""

# Weights of words: two telling ones are enough for a run, or one of an identifier, or six characters of a script that
# is written without spaces; any number of silent ones is not.
_SILENT, _DENSE, _TELLING, _ENOUGH = 1, 34, 100, 200
_SURE_MARK = re.compile("@|://")
_NUMBERED = re.compile("[0-9]")
# Stands around an identifier and is not of it.
_AROUND = ".:-_#/\\!?"
_WORD, _ANCHOR, _RUN, _WHOLE, _NUMBER = b"w", b"a", b"r", b"=", b"n"

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
        self._key = key
        self._known: set[bytes] = set()
        self._said: dict[str, int] = {}
        self._held: dict[str, bool] = {}
        self.is_full = False

    def __bool__(self) -> bool:
        return self.is_full or bool(self._known)

    def learn(self, digests: bytes) -> None:
        """Add what a run wrote: digests, one behind the other."""
        self._known.update(
            digests[start : start + DIGEST_BYTES] for start in range(0, len(digests), DIGEST_BYTES)
        )
        self._said.clear()
        self._held.clear()

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
                for run in () if vouched else _identifiers(part):
                    if suspects is None or not suspects.isdisjoint(run):
                        found |= self._of_run(run, _ANCHOR)
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
        owners, words = shown.owned
        found = {owners[place] for place in self._places(words)}
        for position, text in enumerate(shown.texts if shown.decoded else ()):
            if any(True for piece in decoded(text) for _ in self._places(tokens(piece))):
                found.add(position)
        found -= {position for position in found if kinds[position] in _IDENTIFIERS}
        for position, text in enumerate(shown.texts):
            kind = kinds[position]
            if (
                self._is_whole(text)
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
            weights = list(map(_says, more))
            words += more
            said += weights
            own += [not vouched and weight > _SILENT for weight in weights]
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

    def _places(self, words: Sequence[str]) -> Iterator[int]:
        """Yield the places of the words that belong to a written run."""
        weights = list(map(self._weight, words))
        for start in compress(range(len(words)), weights):
            run, weight = words[start], weights[start]
            end = start + 1
            while not (weight >= _ENOUGH and self._holds(run)):
                if end == len(words) or end - start == MAX_RUN or not weights[end]:
                    break
                run = f"{run} {words[end]}"
                weight += weights[end]
                end += 1
            else:
                yield from range(start, end)

    def _weight(self, word: str) -> int:
        """Return what a word says, if it was written: 0 for one that was not."""
        weight = self._said.get(word)
        if weight is None:
            weight = 0
            if self._digest(_ANCHOR, word) in self._known:
                weight = _ENOUGH
            elif self._digest(_WORD, word) in self._known:
                weight = _says(word)
            if len(self._said) >= _MAX_REMEMBERED:
                self._said.clear()
            self._said[word] = weight
        return weight

    def _holds(self, run: str) -> bool:
        held = self._held.get(run)
        if held is None:
            if len(self._held) >= _MAX_REMEMBERED:
                self._held.clear()
            held = self._held[run] = self._digest(_RUN, run) in self._known
        return held

    def _is_whole(self, text: str) -> bool:
        words = tokens(text)
        return (
            0 < len(words) <= MAX_RUN
            and all(map(self._weight, words))
            and self._digest(_WHOLE, "".join(words)) in self._known
        )

    def _is_dialled(self, text: str, kind: ArgumentType) -> bool:
        numbers = shown_numbers(text, is_prose=kind is ArgumentType.TEXT)
        return any(self._digest(_NUMBER, number) in self._known for number in numbers)

    def _is_account(self, text: str, kind: ArgumentType) -> bool:
        """Tell whether a text shows, in groups, an account number that was written; in prose, or alone, as it was."""
        if spaced_account(text) is None:
            return False
        known = _WHOLE if kind is ArgumentType.IBAN else _ANCHOR
        return any(
            self._digest(known, "".join(tokens(number))) in self._known
            for number in in_order(ArgumentType.IBAN, text)
        )

    def _digest(self, kind: bytes, text: str) -> bytes:
        return hashlib.blake2b(
            kind + text.encode("utf-8", "surrogatepass"),
            key=self._key,
            digest_size=DIGEST_BYTES,
            person=b"trionyx hearsay",
        ).digest()


def _says(word: str) -> int:
    if len(word) > 1:
        is_count = len(word) < _MIN_NUMBERED and word.isdigit()
        return _SILENT if is_count or word in STOP_WORDS else _TELLING
    return _DENSE if is_dense(word) else _SILENT


def _names_something(word: str, parts: Sequence[str]) -> bool:
    """Whether a word with marks is an identifier, not `follow-up`, `and/or`, `e.g.`, `10:30` or a day."""
    if _SURE_MARK.search(word) is not None:
        return True
    if any(len(part) >= _MIN_NUMBERED and _NUMBERED.search(part) is not None for part in parts):
        return True
    named = [part for part in parts if part.isalpha() and _says(part) >= _TELLING]
    return len(named) > 1 and not set(word).isdisjoint("./:_#\\")


def _identifiers(text: str) -> Iterator[list[str]]:
    """Yield the words of each identifier in a text, three by three."""
    for compound in compounds(text):
        word = compound.strip(_AROUND)
        parts = tokens(word)
        if not is_marked(word) or not parts or not _names_something(word, parts):
            continue
        for start in range(max(1, len(parts) - 2)):
            yield parts[start : start + 3]
