"""Where the values of a run came from: its prompt, trusted fields of results, acts of endorsement.

The question is never whether a value came from somewhere untrusted, but whether somebody trusted vouches for all of
it. What nobody trusted said is not kept, so it cannot change an answer. Memory is bounded; at the bound nothing more
is learnt, and later results are public.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from trionyx_proxy.catalog import ArgumentType, Role
from trionyx_proxy.core.label import BOTTOM, Integrity, Label
from trionyx_proxy.provenance import mentions, times
from trionyx_proxy.provenance.echo import Echo, each_new
from trionyx_proxy.provenance.values import Scalar, normal, origin_of_url, readings
from trionyx_proxy.provenance.words import PromptReader, PromptWords

MAX_SOURCES: Final = 4
MAX_TITLE_TERMS: Final = 64
"""Words of a title that are looked up; a longer one has no origin."""


@dataclass(frozen=True, slots=True)
class Source:
    """Who vouches for a value.

    Args:
        kind: `prompt`, `result`, `handle` (an extracted value), `endorsement`.
        call: id of the call whose result it was, or of the act.
        tool: that was called.
        pointer: place in the result document.
    """

    kind: Literal["prompt", "result", "handle", "endorsement"]
    call: str = ""
    tool: str = ""
    pointer: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a value's origin is worth.

    Args:
        label: of the best source; integrity PUBLIC where there is none.
        sources: the best first, at most `MAX_SOURCES`; () where nobody trusted vouches for the whole value.
    """

    label: Label
    sources: tuple[Source, ...] = ()


NOWHERE: Final = Origin(Label(Integrity.PUBLIC))
"""The origin of a value that nobody trusted vouches for."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value of a result.

    Args:
        pointer: its place in the result document, safe to print.
        value: as in the result.
        kind: how it is read.
        label: its own.
        scope: what an id of this kind names, see `id_scope`; empty for other kinds.
    """

    pointer: str
    value: Scalar
    kind: ArgumentType
    label: Label
    scope: str = ""


@dataclass(frozen=True, slots=True)
class IndexLimits:
    """How much of a run is kept.

    Args:
        values: normal values and words of trusted results, each of them once.
        bytes: characters of trusted texts that are kept to be read later.
        shingles: of written texts.
    """

    values: int = 262_144
    bytes: int = 16 << 20
    shingles: int = 262_144


_PROMPT: Final = Source("prompt")
_Entry = tuple[Label, Source]

# Kinds that mean the same sort of thing: a title may be a text in one place and a name in another.
_KIN: Final = {ArgumentType.NAME: "name", ArgumentType.ENUM: "name", ArgumentType.TEXT: "text"}
_IN_TEXT: Final = frozenset({"email", "url", "host", "iban", "phone", "path", "date", "time", "origin"})


def id_scope(section: str, thing: str = "") -> str:
    """Return the scope of an id: ids of two servers, or of two kinds of things, are not the same.

    Args:
        section: of the catalog.
        thing: what the id names, such as `file`; empty if the catalog does not say.
    """
    return f"{section}/{mentions.thing(thing)}" if thing else section


class Index:
    """The origins of one run. For one thread.

    Args:
        words: what is kept of the registered prompt.
        key: secret of the run.
        limits: bounds of memory.
    """

    def __init__(self, words: PromptWords, key: bytes, *, limits: IndexLimits = IndexLimits()) -> None:
        self._prompt = PromptReader(words, key)
        self._limits = limits
        self._values: dict[str, tuple[_Entry, ...]] = {}
        self._endorsed: dict[tuple[ArgumentType, str, Role], tuple[_Entry, ...]] = {}
        self._texts: list[tuple[str, Label, Source, bool]] = []
        self._text_bytes = 0
        self._read_up_to: dict[str, int] = {}
        self._echo = Echo(limits.shingles)
        self._is_full = False

    @property
    def is_saturated(self) -> bool:
        """Whether a bound was reached: nothing more is learnt, and every later leaf is public."""
        return self._is_full or self._echo.is_full

    def origin(self, value: Scalar, kind: ArgumentType, role: Role, scope: str | None = None) -> Origin:
        """Return who vouches for a whole value.

        Args:
            value: one argument, or one element of a list.
            kind: how it is read; what does not read so comes from nowhere.
            role: its part in the call: a title is covered word by word, everything else as a whole.
            scope: of an id, see `id_scope`; None takes ids of any scope for the same, which is more than is safe
                where several kinds of things are numbered.
        """
        read = normal(kind, value)
        if read is None or kind is ArgumentType.HANDLE:
            return NOWHERE
        entries = list(self._endorsed.get((kind, read, role), ()))
        if kind is ArgumentType.DATE:
            whole = self._date(read)
        else:
            if self._in_prompt(kind, read, value, scope):
                entries.append((BOTTOM, _PROMPT))
            whole = _best(entries)
            if whole.label.integrity is not Integrity.USER:
                entries.extend(self._in_results(kind, read, scope))
                whole = _best(entries)
        if kind is ArgumentType.DATE:
            whole = (
                _best([*entries, *((whole.label, source) for source in whole.sources)]) if entries else whole
            )
        if not whole.sources and role is Role.TITLE and isinstance(value, str):
            return self._title(value)
        return whole

    def same_origin(self, url: str) -> Origin:
        """Return who vouches for a URL with the same scheme, host and port; the rest may be anybody's choice."""
        read = normal(ArgumentType.URL, url)
        origin = origin_of_url(read) if read is not None else None
        if origin is None:
            return NOWHERE
        if self._prompt.names("origin", origin):
            return Origin(BOTTOM, (_PROMPT,))
        return _best(self._found("origin", origin))

    def endorse(self, kind: ArgumentType, value: Scalar, role: Role, source: Source) -> None:
        """Let a value pass for one role. A person's act counts as the user's word, an extract as the organisation's.

        Does nothing for a value that is not of its kind.
        """
        read = normal(kind, value)
        if read is None:
            return
        label = BOTTOM if source.kind == "endorsement" else Label(Integrity.ORG)
        key = (kind, read, role)
        entries = self._endorsed.get(key, ())
        if (label, source) not in entries and (entries or len(self._endorsed) < self._limits.values):
            self._endorsed[key] = _ranked((*entries, (label, source)))

    def revoke(self, kind: ArgumentType, value: Scalar, role: Role, source: Source | None = None) -> None:
        """Take back an endorsement, or all of a value for a role; other origins of the value stay."""
        read = normal(kind, value)
        if read is None:
            return
        kept = tuple(
            entry
            for entry in self._endorsed.pop((kind, read, role), ())
            if source is not None and entry[1] != source
        )
        if kept:
            self._endorsed[kind, read, role] = kept

    def wrote(self, values: Iterable[str]) -> None:
        """Remember texts without a trusted origin that a call sends out: they come back no better."""
        texts = list(values)
        for text in texts:
            self._echo.add(text, self._vouches_for)
        if 1 < len(texts) <= 8 and sum(map(len, texts)) <= 256:
            self._echo.add("".join(texts), self._vouches_for)

    def relabel(self, leaves: Sequence[Leaf], sent: Iterable[str] = ()) -> tuple[Leaf, ...]:
        """Return the leaves of one result, those public in which something shows that the run wrote.

        Args:
            leaves: in document order.
            sent: untrusted texts of this very call.
        """
        if self.is_saturated:
            return tuple(map(_public, leaves))
        trusted = [position for position, leaf in enumerate(leaves) if _is_trusted(leaf.label)]
        texts = [str(leaves[position].value) for position in trusted]
        signs = self._echo.signs(texts)
        new = each_new(self._echo, sent)
        if new:
            here = Echo(self._limits.shingles)
            for text in new:
                here.add(text, self._vouches_for)
            if len(new) <= 8 and sum(map(len, new)) <= 256:
                here.add("".join(new), self._vouches_for)
            signs |= here.signs(texts)
        if not signs:
            return tuple(leaves)
        touched = {trusted[sign] for sign in signs}
        return tuple(_public(leaf) if position in touched else leaf for position, leaf in enumerate(leaves))

    def add(self, call: str, tool: str, leaves: Iterable[Leaf]) -> None:
        """Learn what the trusted leaves of a result vouch for; public ones are passed over.

        Args:
            call: id of the call.
            tool: its id.
            leaves: as `relabel` returned them.
        """
        for leaf in leaves:
            if not _is_trusted(leaf.label) or self._is_full:
                continue
            kind, value = leaf.kind, leaf.value
            read = normal(kind, value)
            if read is None:
                continue
            entry = leaf.label, Source("result", call, tool, leaf.pointer)
            for name in _names(kind, read, leaf.scope):
                self._keep(name, entry)
            if isinstance(value, str):
                self._keep_text(value, entry, kind is ArgumentType.TEXT)

    def _keep(self, name: str, entry: _Entry) -> None:
        known = self._values.get(name)
        if known is None:
            if len(self._values) >= self._limits.values:
                self._is_full = True
                return
            self._values[name] = (entry,)
        elif len(known) < MAX_SOURCES or known[-1][0].integrity > entry[0].integrity:
            self._values[name] = _ranked((*known, entry))

    def _keep_text(self, text: str, entry: _Entry, is_prose: bool) -> None:
        if self._text_bytes + len(text) > self._limits.bytes:
            self._is_full = True
            return
        self._text_bytes += len(text)
        self._texts.append((text, *entry, is_prose))

    def _in_prompt(self, kind: ArgumentType, read: str, value: Scalar, scope: str | None) -> bool:
        if kind in _KIN:
            return len(read) <= 1024 and self._prompt.has_phrase(str(value))
        if kind is ArgumentType.ID and read.isdigit():
            _, _, thing = (scope or "").partition("/")
            if thing:
                return self._prompt.names(f"id:{thing}", read) or self._prompt.names("id:*", read)
        if kind is ArgumentType.BOOLEAN:
            return False
        return self._prompt.names(kind.value, read)

    def _in_results(self, kind: ArgumentType, read: str, scope: str | None) -> tuple[_Entry, ...]:
        if kind is ArgumentType.BOOLEAN:
            return ()
        if kind is ArgumentType.TEXT:
            return _ranked((*self._found("text", read), *self._found("name", read)))
        if kind is ArgumentType.ID and scope is not None:
            return self._found(f"id:{scope.partition('/')[0]}", read)
        return self._found(_KIN.get(kind, kind.value), read)

    def _found(self, kind: str, read: str) -> tuple[_Entry, ...]:
        if kind in _IN_TEXT:
            self._read_texts(kind)
        return self._values.get(f"{kind}\0{read}", ())

    def _read_texts(self, kind: str) -> None:
        """Take the values of a kind out of the trusted texts that were not yet read for it."""
        start = self._read_up_to.get(kind, 0)
        self._read_up_to[kind] = len(self._texts)
        for text, label, source, is_prose in self._texts[start:]:
            if kind == "word":
                for word in mentions.cover_terms(text)[0]:
                    self._keep(f"word\0{word}", (label, source))
            elif is_prose:
                for found, read in mentions.mentioned_values(kind, text):
                    if found == kind:
                        self._keep(f"{found}\0{read}", (label, source))

    def _date(self, read: str) -> Origin:
        day, time, zone = times.parts(read)
        entries: list[_Entry] = [(BOTTOM, _PROMPT)] if self._prompt.names("date", read) else []
        if not entries:
            entries.extend(self._found("date", read))
        whole = _best(entries)
        if whole.sources:
            return whole
        found = self._day(day)
        if not time or not found.sources:
            return found
        # The hour in another zone is another hour, and nobody named the zone by itself.
        if zone not in ("", "z"):
            return NOWHERE
        if time == "00:00":
            return found
        if self._prompt.names("time", time):
            return _joined(found, Origin(BOTTOM, (_PROMPT,)))
        return _joined(found, _best(self._found("time", time)))

    def _day(self, day: str) -> Origin:
        for name in (day, "-" + day[4:]):
            if self._prompt.names("date", name):
                return Origin(BOTTOM, (_PROMPT,))
        return _best(self._found("date", day))

    def _title(self, text: str) -> Origin:
        _, needs = mentions.cover_terms(text)
        if not needs or len(needs) > MAX_TITLE_TERMS:
            return NOWHERE
        covered = Origin(BOTTOM, ())
        unread = [word for word in sorted(needs) if not self._prompt.names("word", word)]
        if len(unread) < len(needs):
            covered = Origin(BOTTOM, (_PROMPT,))
        if unread:
            self._read_texts("word")
        for word in unread:
            found = _best(self._values.get(f"word\0{word}", ()))
            if not found.sources:
                return NOWHERE
            covered = _joined(covered, found) if covered.sources else found
        return covered

    def _vouches_for(self, word: str) -> bool:
        for kind in (
            ArgumentType.EMAIL,
            ArgumentType.URL,
            ArgumentType.IBAN,
            ArgumentType.PATH,
            ArgumentType.ID,
        ):
            read = normal(kind, word)
            if read is not None and (
                self._prompt.names(kind.value, read) or f"{kind.value}\0{read}" in self._values
            ):
                return True
        return False


def _names(kind: ArgumentType, read: str, scope: str) -> Iterable[str]:
    if kind is ArgumentType.ID:
        return (f"id\0{read}", f"id:{scope}\0{read}")
    if kind is ArgumentType.URL:
        names = [f"url\0{reading}" for reading in readings(read)]
        return [
            *names,
            *(f"origin\0{origin}" for reading in readings(read) if (origin := origin_of_url(reading))),
        ]
    if kind is ArgumentType.DATE:
        day, time, _ = times.parts(read)
        return (f"date\0{read}", f"date\0{day}", f"time\0{time}") if time else (f"date\0{read}",)
    return (f"{_KIN.get(kind, kind.value)}\0{read}",)


def _is_trusted(label: Label) -> bool:
    return label.integrity is not Integrity.PUBLIC


def _public(leaf: Leaf) -> Leaf:
    return replace(leaf, label=replace(leaf.label, integrity=Integrity.PUBLIC))


def _ranked(entries: Iterable[_Entry]) -> tuple[_Entry, ...]:
    # Stable: among equally trusted ones, the first stays first.
    return tuple(sorted(dict.fromkeys(entries), key=lambda entry: entry[0].integrity)[:MAX_SOURCES])


def _best(entries: Iterable[_Entry]) -> Origin:
    ranked = _ranked(entries)
    return Origin(ranked[0][0], tuple(dict.fromkeys(source for _, source in ranked))) if ranked else NOWHERE


def _joined(one: Origin, other: Origin) -> Origin:
    """Return the origin of a value of which two parts have these origins."""
    if not one.sources or not other.sources:
        return NOWHERE
    return Origin(
        one.label.join(other.label), tuple(dict.fromkeys((*one.sources, *other.sources)))[:MAX_SOURCES]
    )
