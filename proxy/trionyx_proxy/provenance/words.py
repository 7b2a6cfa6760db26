"""The registered prompt without its text: keyed digests of its words, in order, and of the values that it names.

Whoever holds the key can ask whether a given word or value is in the prompt; whoever has the digests alone cannot
read it. The key is the run's own and derived from its token, which is stored nowhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Final

from trionyx_proxy.core.account import PromptWords
from trionyx_proxy.provenance.mentions import named_values
from trionyx_proxy.provenance.terms import BREAK, STOP_WORDS, cover_terms, sequence
from trionyx_proxy.provenance.values import fold

__all__ = ["EMPTY", "MAX_TOKENS", "PromptReader", "PromptWords", "digest", "prompt_implies", "prompt_words"]

MAX_TOKENS: Final = 8_192
"""Words of a prompt that are kept; later ones vouch for nothing."""

MAX_VALUES: Final = 16_384

DIGEST_BYTES: Final = 8

_OPENING_WORDS = 4
_DIGESTS = 1_024

EMPTY: Final = PromptWords()


def digest(key: bytes, text: str) -> bytes:
    """Return the keyed digest of a word or value, 8 bytes."""
    return hashlib.blake2b(
        text.encode("utf-8", "surrogatepass"),
        key=key[:64],
        digest_size=DIGEST_BYTES,
        person=b"trionyx words/v1",
    ).digest()


def prompt_words(text: str, key: bytes) -> PromptWords:
    """Return what is kept of a prompt.

    Args:
        text: the trusted task text.
        key: secret of the run, see `token.run_key`.
    """
    words = sequence(text)[:MAX_TOKENS]
    gives, _ = cover_terms(text)
    values = [f"{kind}\0{value}" for kind, value in sorted(named_values(text))]
    values += [f"word\0{word}" for word in sorted(gives)]
    values += [f"raw\0{word}" for word in sorted(set(fold(text).split())) if not _is_clean(word)]
    seen = {word: digest(key, word) for word in set(words)}
    return PromptWords(
        tokens=tuple(seen[word] for word in words),
        values=frozenset(digest(key, value) for value in values[:MAX_VALUES]),
    )


class PromptReader:
    """Answers whether a word, phrase or value is in a registered prompt.

    Args:
        words: what is kept of the prompt.
        key: the one that the digests were made with; with another one nothing is found.
    """

    def __init__(self, words: PromptWords, key: bytes) -> None:
        self._values = words.values
        self._tokens = words.tokens
        # Runs ask for the same words and values again and again.
        self._digest = lru_cache(maxsize=_DIGESTS)(partial(digest, key))
        self._places: dict[bytes, list[int]] = {}
        for place, token in enumerate(words.tokens):
            self._places.setdefault(token, []).append(place)

    def names(self, kind: str, value: str) -> bool:
        """Tell whether the prompt names this normal value of this kind."""
        return bool(self._values) and self._digest(f"{kind}\0{value}") in self._values

    def has_name(self, name: str) -> bool:
        """Tell whether a name stands in the prompt, its marks included: `general.` is another one than `general`.

        The mark before the name of a channel or a tag may be there or not.
        """
        return self.has_phrase(name) and all(
            _is_clean(word) or _is_clean(word.removeprefix("#")) or self.names("raw", word)
            for word in fold(name).split()
        )

    def has_phrase(self, text: str) -> bool:
        """Tell whether the words of a text stand in the prompt one after another; stop words alone do not count."""
        if not self._places or not text or text.isspace():
            return False
        # Most texts differ from the prompt in their first words, and then their rest need not be read. Lines of a text,
        # and scripts that combine letters, are not cut up.
        for count in (1, _OPENING_WORDS) if text.isascii() and text.isprintable() else (1,):
            opening = sequence(" ".join(text.split(maxsplit=count)[:count]))
            if opening and not self._has_row(opening):
                return False
        phrase = sequence(text)
        if not phrase or all(word in STOP_WORDS or word == BREAK for word in phrase):
            return False
        return self._has_row(phrase)

    def _has_row(self, words: Sequence[str]) -> bool:
        first = self._digest(words[0])
        starts = self._places.get(first)
        if starts is None:
            return False
        wanted = (first, *(self._digest(word) for word in words[1:]))
        return any(self._tokens[start : start + len(wanted)] == wanted for start in starts)


def _is_clean(word: str) -> bool:
    """Whether a folded word has nothing about it that `sequence` leaves out."""
    return sequence(word) == (word,)


def prompt_implies(
    words: PromptWords, implied_by: Mapping[str, Iterable[str]], key: bytes
) -> tuple[str, ...]:
    """Return the effects that a prompt's words imply, sorted.

    Args:
        words: what is kept of the prompt.
        implied_by: per effect the words or phrases that imply it, each in the very form that it has in the prompt.
        key: the run's.
    """
    prompt = PromptReader(words, key)
    return tuple(
        sorted(effect for effect, phrases in implied_by.items() if any(map(prompt.has_phrase, phrases)))
    )
