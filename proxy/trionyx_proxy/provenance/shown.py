"""The trusted leaves of one result, in the views in which the echo rule looks at them; each is made once, if at all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from operator import add

from trionyx_proxy.provenance.encodings import all_squeezed, decoded, tokens

SHORT_CHARS = 128
"""Leaves up to this length are also looked at as pieces of one text, and as put together from several."""

KEY_CHARS = 4
"""Letters and digits by which a piece of a written text is found."""


class Shown:
    """The trusted leaves of one result.

    Args:
        texts: the leaves, in document order.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self._joined = "\n".join(texts)

    @cached_property
    def decoded(self) -> list[str]:
        """What the texts decode to, taken together."""
        return decoded(self._joined)

    @cached_property
    def words(self) -> list[str]:
        """The words of the texts, then of what they decode to."""
        words = tokens(self._joined)
        for piece in self.decoded:
            words += tokens(piece)
        return words

    @cached_property
    def pairs(self) -> list[str]:
        """Each word with the next one."""
        return list(map(add, self.words, self.words[1:]))

    @cached_property
    def owned(self) -> tuple[list[int], list[str]]:
        """The words of the texts, with the positions of the texts that they are of."""
        owners: list[int] = []
        owned: list[str] = []
        for position, text in enumerate(self.texts):
            words = tokens(text)
            owned += words
            owners += [position] * len(words)
        return owners, owned

    @cached_property
    def runs(self) -> list[str]:
        """The letters and digits of each short text, nothing for long ones."""
        return all_squeezed([text if len(text) <= SHORT_CHARS else "" for text in self.texts])

    @cached_property
    def stream(self) -> str:
        """The runs, without anything between them."""
        return "".join(self.runs)

    @cached_property
    def starts(self) -> list[int]:
        """Where each run begins in the stream, and where the last one ends."""
        return [0, *accumulate(map(len, self.runs))]

    @cached_property
    def openings(self) -> set[str]:
        """With which four characters, or fewer at its end, the stream goes on where a run begins."""
        stream = self.stream
        return {stream[start : start + KEY_CHARS] for start in self.starts[:-1]}
