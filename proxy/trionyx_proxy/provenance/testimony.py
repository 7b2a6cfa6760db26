"""What the trusted leaves of a run's results vouch for: values by their kind, texts by what they mention, words.

What nobody trusted said is not kept, so it cannot change an answer. Values are read when somebody asks for their kind.
Memory is bounded; at the bound nothing more is learnt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from trionyx_proxy.catalog import ArgumentType
from trionyx_proxy.core.label import Integrity, Label
from trionyx_proxy.provenance import mentions, terms, times
from trionyx_proxy.provenance.origin import MAX_SOURCES, Entry, Leaf, Source, ranked, scopes_of
from trionyx_proxy.provenance.values import normal, origin_of_url, readings

MAX_WHOLE_CHARS: Final = 160
"""Length of a trusted text that vouches for itself as a whole; longer ones vouch for what they mention."""

_MAX_WAITING = 16_384
"""Leaves of results that are kept as they came until somebody asks for a value of their kind."""

_MOST_NAMES = 8
"""Names under which one value is kept at most, besides the things that an id may be of."""

Said = tuple[str, str, list[Leaf]]
"""A call, its tool, and leaves of its result."""

# Kinds that mean the same sort of thing: a short name may be one of a list of choices in another place.
_KIN: Final = {ArgumentType.NAME: "name", ArgumentType.ENUM: "name", ArgumentType.TEXT: "text"}
# Under which other name the values of a kind are kept, too.
_ALSO: Final = {"origin": "url", "time": "date"}
_WORD: Final = "word"
_IN_TEXT: Final = frozenset({"email", "url", "host", "iban", "phone", "path", "date", "time", "origin"})


@dataclass(frozen=True, slots=True)
class IndexLimits:
    """How much of a run is kept.

    Args:
        values: normal values and words of trusted results, each of them once.
        bytes: characters of trusted texts that are kept to be read when asked.
        shingles: of written texts.
    """

    values: int = 262_144
    bytes: int = 16 << 20
    shingles: int = 262_144


USUAL_LIMITS: Final = IndexLimits()


class Testimony:
    """What the trusted results of one run said. For one thread.

    Args:
        limits: bounds of memory.
    """

    def __init__(self, limits: IndexLimits) -> None:
        self._limits = limits
        self._values: dict[str, tuple[Entry, ...]] = {}
        self._words: dict[str, Entry] = {}
        self._least_word = Integrity.USER  # rank of the least trusted word
        self._scopes: dict[str, tuple[str, ...]] = {}
        self._texts: list[Said] = []
        self._text_bytes = 0
        self._read_up_to: dict[str, int] = {}
        # What was read in texts and is not yet kept.
        self._mentioned: dict[str, list[tuple[str, Entry]]] = {}
        self._waiting: dict[str, list[Said]] = {}
        self._waiting_count = 0
        self._asked: set[str] = set()
        self.is_full = False

    def close(self) -> None:
        """Forget, and learn nothing more."""
        self._values.clear()
        self._waiting.clear()
        self._texts.clear()
        self._mentioned.clear()
        self.is_full = True

    def add(self, call: str, tool: str, leaves: Sequence[Leaf]) -> None:
        """Learn what the trusted leaves of a result of this call of this tool say; public ones are passed over."""
        # Near the bound each value is learnt at once, so that what is learnt does not depend on what was asked.
        at_once = self._is_near(_MOST_NAMES * len(leaves)) or self._waiting_count > _MAX_WAITING
        if at_once:
            self._learn_all()
        texts: list[Leaf] = []
        waiting: dict[str, list[Leaf]] = {}
        for leaf in leaves:
            _, value, kind, label, scope, read = leaf
            if label.integrity is Integrity.PUBLIC:
                continue
            if self.is_full:
                break
            if kind is ArgumentType.TEXT and isinstance(value, str):
                self._keep_text(leaf, texts)
                if len(value) > MAX_WHOLE_CHARS:
                    continue
            elif (kind is ArgumentType.NAME or kind is ArgumentType.ENUM) and (
                read or normal(kind, value) is not None
            ):
                self._keep_text(leaf, texts)
            if at_once:
                self._learn(leaf, call, tool)
                continue
            group = _KIN.get(kind, kind)
            if group in waiting:
                waiting[group].append(leaf)
            else:
                waiting[group] = [leaf]
            self._waiting_count += 1 + scope.count("/")
        if texts:
            self._texts.append((call, tool, texts))
        for group, kept in waiting.items():
            self._waiting.setdefault(group, []).append((call, tool, kept))

    def of(self, kind: ArgumentType, read: str, scope: str | None) -> tuple[Entry, ...]:
        """Return who vouches for a normal value of a kind, the most trusted first.

        Args:
            kind: how it was read.
            read: in its normal form.
            scope: of an id, see `id_scope`; None for ids of any scope.
        """
        if kind is ArgumentType.BOOLEAN:
            return ()  # either value is found everywhere
        if kind is ArgumentType.TEXT:
            return ranked((*self.found("text", read), *self.found("name", read)))
        if kind is ArgumentType.ID:
            self._learn_group("id")
            asked = {one[0] for one in self._scopes.values()} if scope is None else {scope}
            return ranked(entry for one in sorted(asked) for entry in self.found(f"id:{one}", read))
        return self.found(_KIN.get(kind, kind), read)

    def numbered(self, read: str, scope: str) -> tuple[Entry, ...]:
        """Return who says that something in a section has a number: a count, a size or a line does not."""
        self._learn_group("integer")
        section = scope.partition("/")[0]
        return ranked((*self.of(ArgumentType.ID, read, scope), *self.found(f"number:{section}", read)))

    def found(self, kind: str, read: str) -> tuple[Entry, ...]:
        """Return who vouches for a normal value: `kind` may also be `time`, `origin`, or `id:` and a scope."""
        if self._waiting:
            self._learn_group(_ALSO.get(kind, kind))
        if kind in _IN_TEXT:
            self._read_texts(kind)
        return self._values.get(f"{kind}\0{read}", ())

    def word(self, word: str) -> Entry | None:
        """Return the most trusted one who said a word, in a text or a name."""
        self._read_words()
        return self._words.get(word)

    def read_ahead(self) -> None:
        """Learn what is of kinds asked for before: they will be asked for again, and then an answer is awaited."""
        # Words that nobody asks for again must not be what reaches the bound.
        if self._is_near(self._limits.values // 2):
            return
        for group in self._asked.intersection(self._waiting):
            self._learn_group(group)
        for kind in self._read_up_to:
            if kind == _WORD:
                self._read_words()
            else:
                self._look_through(kind)

    def _is_near(self, more: int) -> bool:
        """Tell whether so many values more could go beyond the bound."""
        known = len(self._values) + len(self._words)
        return known + _MOST_NAMES * self._waiting_count + more > self._limits.values

    def _learn_all(self) -> None:
        for group in tuple(self._waiting):
            self._learn_group(group)

    def _learn_group(self, group: str) -> None:
        """Learn the values of a kind that nobody asked for so far."""
        self._asked.add(group)
        for call, tool, leaves in self._waiting.pop(group, ()):
            for leaf in leaves:
                self._waiting_count -= 1 + leaf.scope.count("/")
                self._learn(leaf, call, tool)

    def _learn(self, leaf: Leaf, call: str, tool: str) -> None:
        pointer, value, kind, label, scope, read = leaf
        known = read or normal(kind, value)
        if known is None:
            return
        entry: Entry = (label, Source("result", call, tool, pointer))
        if kind is ArgumentType.ID:
            scopes = self._scopes.get(scope)
            if scopes is None:
                scopes = self._scopes[scope] = scopes_of(scope)
            for one in scopes:
                self._keep(f"id:{one}\0{known}", entry)
        elif kind is ArgumentType.URL or kind is ArgumentType.DATE:
            for name in _names(kind, known):
                self._keep(name, entry)
        else:
            self._keep(f"{_KIN.get(kind, kind)}\0{known}", entry)
            if kind is ArgumentType.INTEGER and scope:
                self._keep(f"number:{scope}\0{known}", entry)

    def _read_texts(self, kind: str) -> None:
        """Take the values of a kind out of the trusted texts that were not yet read for it."""
        self._look_through(kind)
        for name, entry in self._mentioned.pop(kind, ()):
            self._keep(name, entry)

    def _look_through(self, kind: str) -> None:
        """Find the values of a kind in new texts, without keeping them: in what order that is done can be told."""
        start = self._read_up_to.get(kind, 0)
        self._read_up_to[kind] = len(self._texts)
        for call, tool, leaves in self._texts[start:] if start < len(self._texts) else ():
            for pointer, value, leaf_kind, label, _, _ in leaves:
                text, is_prose = str(value), leaf_kind is ArgumentType.TEXT
                if is_prose and mentions.may_mention(kind, text):
                    entry: Entry = (label, Source("result", call, tool, pointer))
                    self._mentioned.setdefault(kind, []).extend(
                        (f"{found}\0{read}", entry)
                        for found, read in mentions.mentioned_values(kind, text)
                        if found == kind
                    )

    def _read_words(self) -> None:
        """Take the words out of the trusted texts that were not yet read for them."""
        start = self._read_up_to.get(_WORD, 0)
        if start == len(self._texts):
            return
        self._read_up_to[_WORD] = len(self._texts)
        together: dict[tuple[int, str], tuple[Label, str, str, list[str]]] = {}
        for call, tool, leaves in self._texts[start:]:
            for _, value, _, label, _, _ in leaves:
                together.setdefault((id(label), call), (label, call, tool, []))[3].append(str(value))
        for label, call, tool, texts in together.values():
            rank = label.integrity
            words = set(terms.given_terms("\n".join(texts)))
            entry: Entry = (label, Source("result", call, tool))
            # Most words are known, and then as trusted: what is new is found without looking at each.
            fresh = words.difference(self._words)
            if self._is_near(len(fresh)):
                self._learn_all()
            self._words.update(dict.fromkeys(fresh, entry))
            if rank < self._least_word:
                for word in words:
                    if self._words[word][0].integrity > rank:
                        self._words[word] = entry
            self._least_word = max(self._least_word, rank)
        if len(self._values) + len(self._words) > self._limits.values:
            self.is_full = True

    def _keep(self, name: str, entry: Entry) -> None:
        known = self._values.setdefault(name, (entry,))
        if known[0] is entry:
            if self._is_near(0):
                self._learn_all()
            if len(self._values) + len(self._words) > self._limits.values:
                del self._values[name]
                self.is_full = True
        elif len(known) < MAX_SOURCES or known[-1][0].integrity > entry[0].integrity:
            self._values[name] = ranked((*known, entry))

    def _keep_text(self, leaf: Leaf, texts: list[Leaf]) -> None:
        self._text_bytes += len(str(leaf.value))
        if self._text_bytes > self._limits.bytes:
            self.is_full = True
        else:
            texts.append(leaf)


def _names(kind: ArgumentType, read: str) -> Iterable[str]:
    """Return under which names a web address or a date is kept."""
    if kind is ArgumentType.URL:
        origins = (origin_of_url(reading) for reading in readings(read))
        return [
            *(f"url\0{reading}" for reading in readings(read)),
            *(f"origin\0{origin}" for origin in origins if origin),
        ]
    day, time, _ = times.parts(read)
    return (f"date\0{read}", f"date\0{day}", f"time\0{time}") if time else (f"date\0{read}",)
