"""One tool as the catalog describes it: its arguments, the fields of its result, the resource it works on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trionyx_proxy.catalog.member import listed_value, mail_domain, suffixes
from trionyx_proxy.catalog.vocabulary import ArgumentType, Role, Shape
from trionyx_proxy.core.label import BOTTOM, Label


@dataclass(frozen=True, slots=True)
class Argument:
    """One described argument.

    Args:
        base: of a path: the argument whose path a relative one lies below; None where it must be absolute.
    """

    role: Role
    type: ArgumentType
    base: Shape | None = None


@dataclass(frozen=True, slots=True)
class Zone:
    """A part of a file tree with a worth of its own.

    Args:
        prefix: comparison form of its path, see `place`.
        write: the most restrictive label that may be written there; None where the tool's own holds.
    """

    prefix: str
    write: Label | None


@dataclass(frozen=True, slots=True)
class ValueSet:
    """Names that the operator lists: an organisation, own accounts, own channels.

    Args:
        domains: of e-mail addresses, in lower-case ASCII; subdomains belong to them.
        values: whole values, in the form of `listed_value`.
    """

    domains: frozenset[str] = frozenset()
    values: frozenset[str] = frozenset()

    def holds(self, text: object) -> bool:
        """Tell whether a value is in the set; a list of addresses or a display name is not an address."""
        if not isinstance(text, str):
            return False
        if self.values and listed_value(text) in self.values:
            return True
        domain = mail_domain(text) if self.domains else None
        return domain is not None and not self.domains.isdisjoint(suffixes(domain))


@dataclass(frozen=True, slots=True)
class Case:
    """A better label of a field, on the word of a sibling.

    Args:
        field: the sibling: a member of the object that the field is a member of; "" for the value itself.
        members: the set that the sibling's value must be in.
        label: the field's label then; never trusted more than the sibling is.
    """

    field: str
    members: ValueSet
    label: Label


@dataclass(frozen=True, slots=True)
class Names:
    """What the names of an object's members are: hotels, addresses, files.

    Args:
        type: their grammar.
        label: of a name that fits it.
    """

    type: ArgumentType
    label: Label


@dataclass(frozen=True, slots=True)
class Field:
    """What a tool's result holds in one place.

    Args:
        type: the grammar that a short value has; TEXT for anything else.
        label: of a value there that no case applies to. INVARIANT: every case's label flows to it.
        cases: the first whose sibling is in its set gives the label.
        names: of a place that stands for every member of an object: what the members' names are; None for names
            that anybody may have chosen.
    """

    type: ArgumentType
    label: Label
    cases: tuple[Case, ...] = ()
    names: Names | None = None


@dataclass(frozen=True, slots=True)
class Resource:
    """What a call reads or writes and others may read later.

    Args:
        arguments: places of the arguments whose values name it. Each value names a resource of the section; a
            path also names what is below it. () for everything that the section holds.
        reads: whether what the call returns may come from it.
        writes: whether what the call is given may be kept there.
    """

    arguments: tuple[Shape, ...]
    reads: bool
    writes: bool


EVERYTHING = Resource((), reads=True, writes=True)
"""What a tool with an unreadable resource reads and writes."""


@dataclass(frozen=True, slots=True)
class ToolEntry:
    """One tool as the catalog describes it.

    Args:
        catalog: section of the catalog.
        name: the upstream's own name of the tool.
        effect: one of EFFECTS.
        arguments: described arguments by place; any other argument is uncatalogued.
        containers: places of the objects and lists that described arguments lie in.
        result: declared label of whatever the tool returns; of each leaf that no field describes.
        clearance: most restrictive run label that may flow into the tool, before its sinks narrow it.
        roots: absolute directories that paths must lie in; "/" for a whole virtual tree.
        zones: of the section's file tree.
        fields: described places of the result document.
        resource: what it works on; None if nothing of it is read back.
    """

    catalog: str
    name: str
    effect: str
    arguments: Mapping[Shape, Argument]
    containers: frozenset[Shape]
    result: Label
    clearance: Label
    roots: tuple[str, ...]
    zones: tuple[Zone, ...]
    fields: Mapping[Shape, Field]
    resource: Resource | None

    @property
    def output(self) -> Label:
        """The label that a run takes on when the call is released, before its result is read.

        BOTTOM where fields are described: the result's own label joins when it arrives.
        """
        return BOTTOM if self.fields else self.result

    def field(self, leaf: Shape) -> Field | None:
        """Return the description of a leaf, or None: it is then text with the label `result`.

        Where several match, a name goes before `*`, at the first step where they differ.

        Args:
            leaf: its place in the result document, with None for each position in a list.
        """
        found = self.fields.get(leaf)
        if found is not None:
            return found
        matching = [
            shape
            for shape in self.fields
            if len(shape) == len(leaf)
            and all(step is None or step == name for step, name in zip(shape, leaf, strict=True))
        ]
        named = max(matching, key=lambda shape: [step is not None for step in shape], default=None)
        return None if named is None else self.fields[named]
