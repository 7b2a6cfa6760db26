"""The words of short untrusted values that a run was shown: what a call repeats of them may be somebody else's choice.

A run that was shown no untrusted text can still have read a name, an address or a link that anybody chose. Values are
taken apart when somebody asks. Memory is bounded; at the bound every word counts as overheard.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Final

from trionyx_proxy.catalog import ArgumentType
from trionyx_proxy.core.label import Integrity
from trionyx_proxy.provenance.encodings import is_dense, tokens
from trionyx_proxy.provenance.origin import Leaf
from trionyx_proxy.provenance.terms import STOP_WORDS
from trionyx_proxy.provenance.values import conforms

_MAX_WAITING = 16_384
# Numbers, days and choices say nothing that could be looked for.
_SILENT: Final = frozenset(
    {ArgumentType.AMOUNT, ArgumentType.BOOLEAN, ArgumentType.DATE, ArgumentType.INTEGER}
)


class Overheard:
    """What one run overheard.

    Args:
        max_words: kept at most; beyond that, `is_full`.
    """

    def __init__(self, max_words: int) -> None:
        self._max = max_words
        self._words: set[str] = set()
        self._waiting: list[Sequence[Leaf]] = []
        self._count = 0
        self.is_full = False

    def add(self, leaves: Sequence[Leaf]) -> None:
        """Take in the leaves of a result; what is long or unlike its kind was hidden, or has tainted the run."""
        if self.is_full:
            return
        self._waiting.append(leaves)
        self._count += len(leaves)
        if self._count > _MAX_WAITING:
            self.learn()

    @property
    def words(self) -> Set[str] | None:
        """The words, as `encodings.tokens` gives them, without those that say nothing; None for all there are."""
        self.learn()
        return None if self.is_full else self._words

    def is_in(self, text: str) -> bool:
        """Tell whether a text repeats any word that was overheard."""
        words = self.words
        return words is None or not words.isdisjoint(tokens(text))

    def learn(self) -> None:
        """Take apart what waits; the next who asks need not wait for it then."""
        waiting, self._waiting, self._count = self._waiting, [], 0
        heard: set[str] = set()
        for leaves in waiting:
            for _, value, kind, label, _, read in leaves:
                if (
                    label.integrity is Integrity.PUBLIC
                    and kind not in _SILENT
                    and isinstance(value, str)
                    and conforms(kind, value, read)
                ):
                    heard.update(tokens(value))
        # Where words have no spaces between them, one character may be half of a name.
        self._words.update(word for word in heard - STOP_WORDS if len(word) > 1 or is_dense(word))
        if len(self._words) > self._max:
            self.is_full = True
            self._words.clear()
