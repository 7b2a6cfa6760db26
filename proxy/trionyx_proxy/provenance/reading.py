"""Reading a result: its leaves with their labels, what of it the agent is shown, and at which label.

What the catalog does not describe is text with the label of the whole result; what does not fit its description is
public text. Nothing here decides whether text is hidden; that is the policy's obligation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trionyx_proxy.arguments import JSON, canonical
from trionyx_proxy.catalog import ArgumentType, Field, Shape, ToolEntry
from trionyx_proxy.core.label import BOTTOM, Integrity, Label
from trionyx_proxy.provenance.document import read_document
from trionyx_proxy.provenance.handles import Hidden
from trionyx_proxy.provenance.index import Leaf, id_scope
from trionyx_proxy.provenance.values import Scalar, conforms, normal

__all__ = ["MAX_LEAVES", "Hidden", "Reading", "read_result"]

MAX_LEAVES = 20_000
"""A document with more is one public text."""

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """What becomes of one result.

    Args:
        result: the `CallToolResult` to deliver.
        label: of what the agent is shown. What is hidden counts for secrecy, not for trust; a short value of its
            grammar never costs trust.
        leaves: every value of the document, labelled; for `Index.add`.
        hidden: what handles stand for.
    """

    result: dict[str, Any]
    label: Label
    leaves: tuple[Leaf, ...]
    hidden: tuple[Hidden, ...]


def read_result(
    result: Mapping[str, Any],
    entry: ToolEntry,
    *,
    hide: bool,
    relabel: Callable[[Sequence[Leaf]], Sequence[Leaf]],
    mint: Callable[[], str],
    taint: bool = False,
) -> Reading:
    """Label a result and hide its untrusted text if so obliged; never fails on odd results, closes instead.

    Args:
        result: cleaned, with `content` and perhaps `structuredContent` and `isError`.
        entry: the tool as the catalog describes it.
        hide: whether untrusted text becomes handles.
        relabel: the echo rule, `Index.relabel` with what this call sent.
        mint: gives a new handle.
        taint: what was read was written by a run that had read untrusted text: all of it is public.
    """
    document = read_document(result)
    is_public = taint or result.get("isError", False) is not False
    walk = _Walk(entry, is_public)
    walk.visit(document.value, (), (), "")
    for position, text in enumerate(document.besides):
        walk.leaf(text, ("\0besides", position), (), f"/content/{position}", None)
    value = document.value
    if len(walk.leaves) > MAX_LEAVES:
        value = canonical(value).decode()
        walk = _Walk(entry, True)
        walk.visit(value, (), (), "")
    leaves = _relabelled(walk, relabel)
    shown: set[tuple[Label, bool]] = set()
    hidden: list[Hidden] = []
    tokens: dict[Place, str] = {}

    def show(label: Label, kind: ArgumentType, content: Any, pointer: str, is_plain: bool) -> str | None:
        """Count a value into the label, and return the token that takes its place, if any."""
        if is_plain:
            shown.add((label, False))
            return None
        if not hide or label.integrity is not Integrity.PUBLIC:
            shown.add((label, True))
            return None
        shown.add((label, False))
        hidden.append(Hidden(mint(), pointer, kind, label, content))
        return hidden[-1].token

    for leaf, place in zip(leaves, walk.places, strict=True):
        token = show(leaf.label, leaf.kind, leaf.value, leaf.pointer, conforms(leaf.kind, leaf.value))
        if token is not None:
            tokens[place] = token
    names: dict[Place, str] = {}
    for name, place, pointer in walk.names:
        token = show(walk.name_label, ArgumentType.NAME, name, pointer, conforms(ArgumentType.NAME, name))
        if token is not None:
            names[place] = token
    blocks: list[dict[str, Any]] = []
    for position, block in enumerate(document.blocks):
        token = show(walk.label_of(None, None), ArgumentType.TEXT, block, f"/content/{position}", False)
        blocks.append(block if token is None else {"type": "text", "text": token})
    delivered = dict(result)
    if hidden:
        besides = tuple(
            tokens.get(("\0besides", position), text) for position, text in enumerate(document.besides)
        )
        delivered = document.result(result, _rewritten(value, (), tokens, names), besides, tuple(blocks))
    return Reading(delivered, _join(shown), leaves, tuple(hidden))


class _Walk:
    """Collects the leaves of a document with the labels that the catalog gives them."""

    def __init__(self, entry: ToolEntry, is_public: bool) -> None:
        self._entry = entry
        self._is_public = is_public
        self._fields: dict[Shape, Field | None] = {}
        self._known_names: dict[Shape, frozenset[str]] = {}
        self._scope = id_scope(entry.catalog)
        self.leaves: list[Leaf] = []
        self.places: list[Place] = []
        self.vouching: list[tuple[int, Place]] = []
        self.names: list[tuple[str, Place, str]] = []
        self.name_label = replace(entry.result, integrity=Integrity.PUBLIC)

    def visit(
        self, value: JSON, place: Place, shape: Shape, pointer: str, parent: dict[str, JSON] | None = None
    ) -> None:
        """Visit a value and all in it, in document order."""
        if isinstance(value, dict):
            known = self._names_at(shape)
            for name, member in value.items():
                if name in known:
                    step = name
                else:
                    step = "*"
                    if known or not _is_key(name):
                        self.names.append((name, (*place, name), f"{pointer}/*"))
                self.visit(member, (*place, name), (*shape, name), f"{pointer}/{step}", value)
        elif isinstance(value, list):
            for position, element in enumerate(value):
                self.visit(element, (*place, position), (*shape, None), f"{pointer}/{position}")
        elif value is not None:
            self.leaf(value, place, shape, pointer, parent)

    def leaf(
        self, value: Scalar, place: Place, shape: Shape, pointer: str, parent: dict[str, JSON] | None
    ) -> None:
        """Add one leaf."""
        if len(self.leaves) > MAX_LEAVES:
            return
        field = self._field(shape) if place[:1] != ("\0besides",) else None
        kind = ArgumentType.TEXT if field is None else field.type
        if kind is ArgumentType.TEXT and not isinstance(value, str):
            kind = _natural(value)
        label = self.label_of(field, parent, place)
        if normal(kind, value) is None:
            # Whoever put it there did not keep to the field's meaning.
            label = replace(label, integrity=Integrity.PUBLIC)
            kind = ArgumentType.TEXT if isinstance(value, str) else _natural(value)
        scope = self._scope if kind is ArgumentType.ID else ""
        self.leaves.append(Leaf(pointer, value, kind, label, scope))
        self.places.append(place)

    def label_of(self, field: Field | None, parent: dict[str, JSON] | None, place: Place = ()) -> Label:
        """Return the label of a leaf, and note which sibling it rests on."""
        label = self._entry.result if field is None else field.label
        if field is not None and parent is not None:
            for case in field.cases:
                if case.field in parent and case.members.holds(parent[case.field]):
                    label = case.label
                    self.vouching.append((len(self.leaves), (*place[:-1], case.field)))
                    break
        return replace(label, integrity=Integrity.PUBLIC) if self._is_public else label

    def _field(self, shape: Shape) -> Field | None:
        if shape not in self._fields:
            self._fields[shape] = self._entry.field(shape)
        return self._fields[shape]

    def _names_at(self, shape: Shape) -> frozenset[str]:
        """Return the member names that the catalog spells out at a place."""
        known = self._known_names.get(shape)
        if known is None:
            depth = len(shape)
            known = frozenset(
                step
                for field in self._entry.fields
                if len(field) > depth
                and (step := field[depth]) is not None
                and all(one is None or one == other for one, other in zip(field[:depth], shape, strict=True))
            )
            self._known_names[shape] = known
        return known


def _relabelled(walk: _Walk, relabel: Callable[[Sequence[Leaf]], Sequence[Leaf]]) -> tuple[Leaf, ...]:
    """Apply the echo rule, and let no leaf be trusted more than the sibling that speaks for it."""
    before = walk.leaves
    after = list(relabel(before))
    if len(after) != len(before):
        after = [_public(leaf) for leaf in before]
    # INVARIANT: the echo rule only takes trust away.
    after = [
        new if new is old or old.label.flows_to(new.label) else _public(old)
        for old, new in zip(before, after, strict=True)
    ]
    if walk.vouching:
        positions = {place: position for position, place in enumerate(walk.places)}
        for position, sibling in walk.vouching:
            speaker = positions.get(sibling)
            if speaker is None or after[speaker].label.integrity > after[position].label.integrity:
                integrity = Integrity.PUBLIC if speaker is None else after[speaker].label.integrity
                leaf = after[position]
                after[position] = replace(leaf, label=replace(leaf.label, integrity=integrity))
    return tuple(after)


def _rewritten(value: JSON, place: Place, tokens: Mapping[Place, str], names: Mapping[Place, str]) -> JSON:
    if isinstance(value, dict):
        return {
            names.get((*place, name), name): _rewritten(member, (*place, name), tokens, names)
            for name, member in value.items()
        }
    if isinstance(value, list):
        return [
            _rewritten(element, (*place, position), tokens, names) for position, element in enumerate(value)
        ]
    return tokens.get(place, value)


def _join(shown: set[tuple[Label, bool]]) -> Label:
    joined = BOTTOM
    for label, counts in shown:
        joined = joined.join(label if counts else replace(label, integrity=Integrity.USER))
    return joined


def _public(leaf: Leaf) -> Leaf:
    return replace(leaf, label=replace(leaf.label, integrity=Integrity.PUBLIC))


def _natural(value: Scalar) -> ArgumentType:
    if isinstance(value, bool):
        return ArgumentType.BOOLEAN
    return ArgumentType.AMOUNT if isinstance(value, float) else ArgumentType.INTEGER


def _is_key(name: str) -> bool:
    """Whether a member name looks like a programmer's, not like a text."""
    return (
        len(name) <= 40
        and name.isascii()
        and name.replace("_", "a").replace("-", "a").isalnum()
        and name.count("_") + name.count("-") <= 4
    )
