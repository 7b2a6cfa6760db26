"""The words of provenance: a leaf of a result, who vouches for a value, and what that is worth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from trionyx_proxy.catalog import ArgumentType
from trionyx_proxy.core.label import BOTTOM, Integrity, Label
from trionyx_proxy.provenance.mentions import thing
from trionyx_proxy.provenance.values import Scalar

MAX_SOURCES: Final = 4


class Source(NamedTuple):
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


class Leaf(NamedTuple):
    """One value of a result.

    Args:
        pointer: its place in the result document, safe to print.
        value: as in the result.
        kind: how it is read.
        label: its own.
        scope: what an id of this kind names, see `id_scope`; of a number that numbers something, the section alone;
            empty for other kinds.
        normal: `values.normal` of it where that is known already; empty where it is not.
    """

    pointer: str
    value: Scalar
    kind: ArgumentType
    label: Label
    scope: str = ""
    normal: str = ""


Entry = tuple[Label, Source]
"""One who vouches, and how far that one is trusted."""

PROMPT: Final = Source("prompt")
FROM_PROMPT: Final = Origin(BOTTOM, (PROMPT,))
NOWHERE: Final = Origin(Label(Integrity.PUBLIC))
"""The origin of a value that nobody trusted vouches for."""


def id_scope(section: str, *names: str) -> str:
    """Return the scope of an id: ids of two servers, or of two kinds of things, are not the same.

    Args:
        section: of the catalog.
        names: what the id names, such as `file`; of a field, everything that it may name. None if that is not known.
    """
    return "/".join((section.replace("/", "|"), *filter(None, map(thing, names))))


def scopes_of(scope: str) -> tuple[str, ...]:
    """Return every scope under which an id of a field is asked for: the server's, and that of each thing."""
    section, *names = scope.split("/")
    return (section, *(f"{section}/{name}" for name in names))


def public(label: Label) -> Label:
    """Return a label with the trust taken from it."""
    if label.integrity is Integrity.PUBLIC:
        return label
    return Label(Integrity.PUBLIC, label.level, label.readers, label.categories)


def ranked(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return the most trusted entries, once each; among equally trusted ones, the first stays first."""
    unique = dict.fromkeys(entries)
    if len(unique) < 2:
        return tuple(unique)
    return tuple(sorted(unique, key=lambda entry: entry[0].integrity)[:MAX_SOURCES])


def best(entries: Iterable[Entry]) -> Origin:
    """Return the origin of a value for which all of these vouch as a whole."""
    found = ranked(entries)
    return Origin(found[0][0], tuple(dict.fromkeys(source for _, source in found))) if found else NOWHERE


def together(one: Origin, other: Origin) -> Origin:
    """Return the origin of a value of which two parts have these origins."""
    if not one.sources or not other.sources:
        return NOWHERE
    return Origin(
        one.label.join(other.label), tuple(dict.fromkeys((*one.sources, *other.sources)))[:MAX_SOURCES]
    )
