"""The fields of a tool, ready for walking a document: one step down for each member or position.

Equal to `ToolEntry.field` for every place: a name goes before `*`, at the first step where they differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from trionyx_proxy.catalog import ArgumentType, Field, Shape, ToolEntry
from trionyx_proxy.catalog.entry import Case
from trionyx_proxy.core.label import Label
from trionyx_proxy.provenance.mentions import is_numbering, things
from trionyx_proxy.provenance.origin import id_scope
from trionyx_proxy.provenance.values import READERS

_MAX_PLANS: Final = 256


_Taken = tuple[ArgumentType, Label, tuple[Case, ...], str, Callable[[str], str | None] | None]


class Plan:
    """What the catalog says of one place in a document and of the places below.

    Args:
        field: the description of a leaf here, or None.
        names: plans of the members that are spelled out.
        any: plan of every position of a list, and of members that are not spelled out; None below which nothing is.
        leaf: what a leaf here takes, or None: its kind, its label, cases of that, its scope (of ids, see `id_scope`;
            of numbers that number something, the section; empty for other kinds), and how a text here is read, see
            `values.READERS`; None for text, which any text is.
    """

    __slots__ = ("any", "field", "leaf", "names")

    def __init__(self, field: Field | None, names: dict[str, Plan], rest: Plan | None, scope: str) -> None:
        self.field = field
        self.names = names
        self.any = rest
        self.leaf: _Taken | None = None
        if field is not None:
            read = None if field.type is ArgumentType.TEXT else READERS[field.type]
            self.leaf = field.type, field.label, field.cases, scope, read


def plan_of(entry: ToolEntry) -> Plan | None:
    """Return the plan of a tool's result, or None if no field is described. Plans are kept for later calls."""
    kept = _PLANS.get(id(entry))
    if kept is not None and kept[0] is entry:
        return kept[1]
    # Of two shapes that match, the one that says a name where the other says `*` goes before.
    fields = sorted(entry.fields.items(), key=lambda item: [step is None for step in item[0]])
    plan = _planned(entry, fields, 0) if fields else None
    if len(_PLANS) >= _MAX_PLANS:
        _PLANS.clear()
    # Keeping the entry keeps its id from being given to another.
    _PLANS[id(entry)] = entry, plan
    return plan


_PLANS: dict[int, tuple[ToolEntry, Plan | None]] = {}


def _planned(entry: ToolEntry, fields: Sequence[tuple[Shape, Field]], depth: int) -> Plan:
    """Plan the places that all these shapes reach at a depth; of several that end here, the first counts."""
    here = next(((shape, field) for shape, field in fields if len(shape) == depth), None)
    deeper = [(shape, field) for shape, field in fields if len(shape) > depth]
    anywhere = [(shape, field) for shape, field in deeper if shape[depth] is None]
    names = dict.fromkeys(step for shape, _ in deeper if (step := shape[depth]) is not None)
    scope = ""
    if here is not None and here[1].type is ArgumentType.ID:
        path = [step for step in here[0] if step is not None]
        scope = id_scope(entry.catalog, *things(path, entry.name, entry.catalog))
    elif here is not None and here[1].type is ArgumentType.INTEGER and here[0] and is_numbering(here[0][-1]):
        scope = id_scope(entry.catalog)
    return Plan(
        None if here is None else here[1],
        {
            name: _planned(entry, [item for item in deeper if item[0][depth] in (name, None)], depth + 1)
            for name in names
        },
        _planned(entry, anywhere, depth + 1) if anywhere else None,
        scope,
    )
