"""Where the values of a run came from: its prompt, trusted fields of results, acts of endorsement.

The question is never whether a value came from somewhere untrusted, but whether somebody trusted vouches for all of
it. Memory is bounded; at the bound nothing more is learnt, and later results are public.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, NamedTuple

from trionyx_proxy.catalog import ArgumentType, Role
from trionyx_proxy.core.label import BOTTOM, Integrity, Label
from trionyx_proxy.provenance import terms, times
from trionyx_proxy.provenance.disguises import dialled, dials, disguises
from trionyx_proxy.provenance.echo import Echo
from trionyx_proxy.provenance.hearsay import Hearsay
from trionyx_proxy.provenance.origin import (
    FROM_PROMPT,
    NOWHERE,
    PROMPT,
    Entry,
    Leaf,
    Origin,
    Source,
    best,
    public,
    ranked,
    together,
)
from trionyx_proxy.provenance.overheard import Overheard
from trionyx_proxy.provenance.shown import Shown
from trionyx_proxy.provenance.testimony import USUAL_LIMITS, IndexLimits, Testimony
from trionyx_proxy.provenance.values import Scalar, fold, is_whole_url, normal, origin_of_url
from trionyx_proxy.provenance.words import PromptReader, PromptWords

__all__ = ["Index", "IndexLimits"]

MAX_TITLE_TERMS: Final = 64
"""Words of a title that are looked up; a longer one has no origin."""

MAX_PHRASE_CHARS: Final = 1_024
"""Length of a name or text that is looked for in the prompt as it stands."""

_JOINED_TEXTS = 8
_JOINED_CHARS = 256

# Kinds that mean the same sort of thing: a short name may be one of a list of choices in another place.
_KIN: Final = frozenset({ArgumentType.NAME, ArgumentType.ENUM, ArgumentType.TEXT})
_CHOOSING: Final = frozenset({Role.TARGET, Role.SELECTOR, Role.SECRET})
_DIALLED: Final = frozenset({ArgumentType.PHONE, ArgumentType.TEXT})
_PUBLIC: Final = Integrity.PUBLIC
_IDENTIFIERS: Final = (
    ArgumentType.EMAIL,
    ArgumentType.URL,
    ArgumentType.IBAN,
    ArgumentType.PATH,
    ArgumentType.ID,
)


class Own(NamedTuple):
    """Untrusted texts of one call, cut up for the rule that looks for them in its result; from `Index.own`.

    Args:
        texts: those that the index did not have already.
        echo: of them.
        numbers: telephone numbers in them.
    """

    texts: list[str]
    echo: Echo
    numbers: set[str]


KNOWN: Final = Own([], Echo(0), set())
"""Of a call whose untrusted texts `Index.wrote` has."""


class Index:
    """The origins of one run. For one thread.

    INVARIANT: what a result says and what a call wrote is learnt in the order of the calls, and before anything that
    could depend on it; until then it may wait, so that it can be learnt while nobody waits for an answer.

    Args:
        words: what is kept of the registered prompt.
        key: secret of the run.
        limits: bounds of memory.
    """

    def __init__(self, words: PromptWords, key: bytes, *, limits: IndexLimits = USUAL_LIMITS) -> None:
        self._prompt = PromptReader(words, key)
        self._limits = limits
        self._testimony = Testimony(limits)
        self._endorsed: dict[tuple[ArgumentType, str, Role], tuple[Entry, ...]] = {}
        self._echo = Echo(limits.shingles)
        self._overheard = Overheard(limits.shingles)
        self._dialled: set[str] = set()
        self._due: deque[Callable[[], None]] = deque()

    @property
    def is_saturated(self) -> bool:
        """Whether a bound was reached: nothing more is learnt, and every later leaf is public."""
        self._settle()
        return self._testimony.is_full or self._echo.is_full

    def origin(self, value: Scalar, kind: ArgumentType, role: Role, scope: str | None = None) -> Origin:
        """Return who vouches for a whole value; where the user does, nobody else is asked.

        Args:
            value: one argument, or one element of a list.
            kind: how it is read; what does not read so comes from nowhere.
            role: its part in the call: a title is covered word by word, everything else as a whole.
            scope: of an id, see `id_scope`, with one thing or none; None takes ids of any scope for the same, which is
                more than is safe where several kinds of things are numbered. An integer with a scope is a number that
                something has: no amount of the prompt and no count in a result vouches for it.
        """
        if role is Role.CONTENT and isinstance(value, str) and len(value) > MAX_PHRASE_CHARS:
            return NOWHERE
        self._settle()
        read = normal(kind, value)
        if read is None or kind is ArgumentType.HANDLE:
            return NOWHERE
        if kind is ArgumentType.URL and isinstance(value, str) and not is_whole_url(value):
            return NOWHERE  # in a text such a mark is left out, but here it would be sent
        endorsed = self._endorsed.get((kind, read, role), ()) if self._endorsed else ()
        if kind is ArgumentType.DATE:
            found = self._date(read)
        elif kind is ArgumentType.INTEGER and scope is not None:
            is_named = self._is_in_prompt(ArgumentType.ID, read, value, scope)
            found = FROM_PROMPT if is_named else best(self._testimony.numbered(read, scope))
        elif self._is_in_prompt(kind, read, value, scope, is_exact=role in _CHOOSING):
            found = FROM_PROMPT
        elif endorsed and endorsed[0][0].integrity is Integrity.USER:
            found = NOWHERE
        else:
            found = best(self._testimony.of(kind, read, scope))
        if endorsed:
            found = best([*((found.label, source) for source in found.sources), *endorsed])
        if not found.sources and role is Role.TITLE and isinstance(value, str):
            return self._title(value)
        return found

    def close(self) -> None:
        """Trust nothing more, as at a bound: what the run saw or wrote is not known in full."""
        self._due.clear()
        self._testimony.close()

    def catch_up(self) -> None:
        """Learn what waits to be learnt, and read ahead what will be asked for, as far as the past tells."""
        self._settle()
        self._testimony.read_ahead()
        self._overheard.learn()

    def same_origin(self, url: str) -> Origin:
        """Return who vouches for a URL with the same scheme, host and port; the rest may be anybody's choice."""
        self._settle()
        read = normal(ArgumentType.URL, url)
        origin = origin_of_url(read) if read is not None else None
        if origin is None:
            return NOWHERE
        if self._prompt.names("origin", origin):
            return FROM_PROMPT
        return best(self._testimony.found("origin", origin))

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
        if entries or len(self._endorsed) < self._limits.values:
            self._endorsed[key] = ranked((*entries, (label, source)))

    def revoke(self, kind: ArgumentType, value: Scalar, role: Role, source: Source | None = None) -> None:
        """Take back one endorsement, or all of a value for a role; other origins of the value stay."""
        read = normal(kind, value)
        if read is None:
            return
        entries = self._endorsed.pop((kind, read, role), ())
        kept = tuple(entry for entry in entries if source is not None and entry[1] != source)
        if kept:
            self._endorsed[kind, read, role] = kept

    def wrote(self, values: Iterable[str]) -> None:
        """Remember texts without a trusted origin that a call sends out: they come back no better."""
        self._due.append(partial(self._learn_written, list(values)))

    def asked(self, values: Iterable[str], *, tainted: bool) -> None:
        """Remember the texts without a trusted origin of a call that only reads: a later page may repeat them.

        Args:
            values: search words and the like.
            tainted: the run has been shown untrusted text, which may have chosen any of them. Otherwise those that
                repeat an untrusted value are meant: an agent also looks for names before they are listed.
        """
        self._settle()
        self.wrote(text for text in values if tainted or self._overheard.is_in(text))

    def told(self, hearsay: Hearsay, text: str, *, tainted: bool) -> set[bytes]:
        """Return what later runs must remember of a text that a call writes and that nothing vouches for.

        Args:
            hearsay: of the tenant.
            text: as sent.
            tainted: all of it may be somebody else's. Otherwise what repeats an untrusted value is meant.
        """
        self._settle()
        return hearsay.digests(text, self._is_vouched, None if tainted else self._overheard.words)

    def own(self, sent: Iterable[str]) -> Own:
        """Cut up the untrusted texts of one call for its own result; those that `wrote` has already add nothing."""
        self._settle()
        new = [text for text in sent if not self._echo.knows(text)]
        echo = Echo(self._limits.shingles)
        return Own(new, echo, self._remember(echo, new) if new else set())

    def relabel(
        self, leaves: Sequence[Leaf], sent: Iterable[str] | Own = (), hearsay: Hearsay | None = None
    ) -> tuple[Leaf, ...]:
        """Return the leaves of one result, those public in which something shows that an untrusted run wrote.

        Args:
            leaves: in document order.
            sent: untrusted texts of this very call, or what `own` made of them; of no effect if `wrote` has them.
            hearsay: what untrusted runs of the tenant wrote.
        """
        if self.is_saturated:
            return tuple(leaf._replace(label=public(leaf.label)) for leaf in leaves)
        own = sent if isinstance(sent, Own) else self.own(sent)
        if not own.texts and not self._echo and not hearsay:
            return tuple(leaves)
        trusted = [position for position, leaf in enumerate(leaves) if leaf.label.integrity is not _PUBLIC]
        shown = Shown([str(leaves[position].value) for position in trusted])
        signs = self._echo.signs(shown)
        numbers = self._dialled
        if own.texts:
            numbers = numbers | own.numbers
            signs |= own.echo.signs(shown)
        if hearsay:
            signs |= hearsay.signs(shown, [leaves[position].kind for position in trusted])
        if numbers:
            for sign, position in enumerate(trusted):
                _, value, kind, _, _, _ = leaves[position]
                if kind in _DIALLED and dials(str(value), numbers, is_prose=kind is ArgumentType.TEXT):
                    signs.add(sign)
        if not signs:
            return tuple(leaves)
        labelled = list(leaves)
        for sign in signs:
            leaf = leaves[trusted[sign]]
            labelled[trusted[sign]] = leaf._replace(label=public(leaf.label))
        return tuple(labelled)

    def add(self, call: str, tool: str, leaves: Iterable[Leaf]) -> None:
        """Learn what the trusted leaves of a result vouch for; public ones are passed over.

        Args:
            call: id of the call.
            tool: its id.
            leaves: as `relabel` returned them.
        """
        self._due.append(partial(self._learn_result, call, tool, tuple(leaves)))

    def _settle(self) -> None:
        """Learn what waits to be learnt."""
        while self._due:
            learn = self._due.popleft()
            try:
                learn()
            except BaseException:
                self.close()  # it may be learnt in part, and nobody knows which
                raise

    def _learn_written(self, texts: list[str]) -> None:
        self._dialled |= self._remember(self._echo, texts)
        if len(self._dialled) > self._limits.shingles:
            self._echo.is_full = True

    def _learn_result(self, call: str, tool: str, leaves: tuple[Leaf, ...]) -> None:
        self._testimony.add(call, tool, leaves)
        self._overheard.add(leaves)

    def _remember(self, echo: Echo, texts: list[str]) -> set[str]:
        """Put written texts into an echo; return the telephone numbers in them, see `dialled`."""
        for text in texts:
            if echo.knows(text):
                continue
            echo.add(text, self._is_vouched)
            for other in disguises(text):
                echo.add(other, self._is_vouched)
        # A server may put together again what came in parts.
        if 1 < len(texts) <= _JOINED_TEXTS and sum(map(len, texts)) <= _JOINED_CHARS:
            echo.add("".join(texts), self._is_vouched)
        return dialled(texts)

    def _is_in_prompt(
        self, kind: ArgumentType, read: str, value: Scalar, scope: str | None, *, is_exact: bool = True
    ) -> bool:
        if kind in _KIN and len(read) > MAX_PHRASE_CHARS:
            return False
        if kind is ArgumentType.TEXT and not is_exact:
            return self._prompt.has_phrase(str(value))
        if kind in _KIN:
            # Where a text chooses something, a sign or mark in it means something: `-5` is not `5`.
            is_plain = normal(ArgumentType.NAME, value) == fold(str(value))
            return is_plain and self._prompt.has_name(str(value))
        if kind is ArgumentType.BOOLEAN:
            return False
        if kind is ArgumentType.ID and read.isdigit():
            names = (scope or "").partition("/")[2]
            if names:
                return self._prompt.names(f"id:{names}", read) or self._prompt.names("id:*", read)
        return self._prompt.names(kind.value, read)

    def _date(self, read: str) -> Origin:
        day, time, zone = times.parts(read)
        if self._prompt.names("date", read):
            return FROM_PROMPT
        in_prompt = any(self._prompt.names("date", name) for name in (day, "-" + day[4:]))
        # The hour in another zone is another hour, and nobody names a zone by itself.
        is_plain = not time or zone in ("", "z")
        if in_prompt and is_plain and (time in ("", "00:00") or self._prompt.names("time", time)):
            return FROM_PROMPT
        whole = best(self._testimony.found("date", read))
        if whole.sources or not is_plain:
            return whole
        date = FROM_PROMPT if in_prompt else best(self._testimony.found("date", day))
        if time in ("", "00:00"):
            return date
        hour = FROM_PROMPT if self._prompt.names("time", time) else best(self._testimony.found("time", time))
        return together(date, hour)

    def _title(self, text: str) -> Origin:
        needs = terms.cover_terms(text)[1]
        if not needs or len(needs) > MAX_TITLE_TERMS:
            return NOWHERE
        entries: list[Entry] = []
        for word in sorted(needs):
            if self._prompt.names("word", word):
                entries.append((BOTTOM, PROMPT))
                continue
            entry = self._testimony.word(word)
            if entry is None:
                return NOWHERE
            entries.append(entry)
        label = BOTTOM
        for entry in entries:
            label = label.join(entry[0])
        return Origin(label, tuple(dict.fromkeys(source for _, source in ranked(entries))))

    def _is_vouched(self, word: str) -> bool:
        for kind in _IDENTIFIERS:
            read = normal(kind, word)
            if read is not None and (
                self._prompt.names(kind.value, read) or bool(self._testimony.of(kind, read, None))
            ):
                return True
        return False
