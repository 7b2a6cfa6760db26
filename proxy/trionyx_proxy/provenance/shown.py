"""The trusted leaves of one result, in the views in which the echo rule looks at them; each is made once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from operator import add
from typing import NamedTuple

from trionyx_proxy.provenance.encodings import all_squeezed, all_tokens, decoded, tokens

SHORT_CHARS = 128
"""Leaves up to this length are also looked at as pieces of one text, and as put together from several."""

KEY_CHARS = 4
"""Letters and digits by which a piece of a written text is found."""


class Stream(NamedTuple):
    """The short texts of a result as one run of letters and digits.

    Args:
        runs: of each text; nothing of long ones.
        whole: the runs, without anything between them.
        starts: where each run begins in it, and where the last one ends.
        openings: with which four characters, or fewer at its end, it goes on where a run begins.
    """

    runs: list[str]
    whole: str
    starts: list[int]
    openings: set[str]


class Shown:
    """The trusted leaves of one result.

    Args:
        texts: the leaves, in document order.

    Attributes:
        decoded: what the texts decode to, taken together.
        lines: the words of each text, with white space between them.
        words: the words of the texts, then of what they decode to.
        pairs: each word with the next one.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.decoded = decoded("\n".join(texts))
        self.lines, self.words = all_tokens(texts)
        for piece in self.decoded:
            self.words += tokens(piece)
        self.pairs = list(map(add, self.words, self.words[1:]))

    @cached_property
    def owned(self) -> tuple[list[int], list[str]]:
        """The words of the texts, with the positions of the texts that they are of."""
        owners: list[int] = []
        owned: list[str] = []
        for position, line in enumerate(self.lines):
            words = line.split()
            owned += words
            owners += [position] * len(words)
        return owners, owned

    @cached_property
    def stream(self) -> Stream:
        """What is looked at for pieces."""
        runs = all_squeezed([text if len(text) <= SHORT_CHARS else "" for text in self.texts])
        whole = "".join(runs)
        starts = [0, *accumulate(map(len, runs))]
        return Stream(runs, whole, starts, {whole[start : start + KEY_CHARS] for start in starts[:-1]})
