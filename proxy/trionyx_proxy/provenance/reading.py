"""Reading a result: its leaves with their labels, what of it the agent is shown, and at which label.

What the catalog does not describe is text with the label of the whole result; what does not fit its description is
public text, and so is a text of which something was lost. Nothing here decides whether text is hidden; that is the
policy's obligation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import is_
from typing import Any

from trionyx_proxy.arguments import JSON, REPLACEMENT, canonical
from trionyx_proxy.catalog import ArgumentType, ToolEntry
from trionyx_proxy.catalog.entry import Case
from trionyx_proxy.catalog.field import ITSELF
from trionyx_proxy.core.label import BOTTOM, Integrity, Label
from trionyx_proxy.provenance.document import ResultDocument, by_container, read_document, rewritten
from trionyx_proxy.provenance.handles import Hidden
from trionyx_proxy.provenance.members import MAX_KEYS, MemberNames, Place
from trionyx_proxy.provenance.origin import Leaf, public
from trionyx_proxy.provenance.plan import Plan, plan_of
from trionyx_proxy.provenance.values import Scalar, conforms, normal

__all__ = ["MAX_KEYS", "MAX_LEAVES", "Hidden", "Reading", "read_result"]

MAX_LEAVES = 20_000
"""A document with more is one public text."""

_BESIDE = -1
_MAX_STRINGS = 64
_TEXT = ArgumentType.TEXT
_PUBLIC = Integrity.PUBLIC
_NOTHING: Mapping[str, Plan] = {}


@dataclass(frozen=True, slots=True)
class Reading:
    """What becomes of one result.

    Args:
        result: the `CallToolResult` to deliver.
        label: of what the agent is shown. What is hidden counts for secrecy, not for trust; a short value of its
            grammar never costs trust.
        leaves: every value of the document, labelled, and then the names of members that are values; for `Index.add`.
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
    is_public = taint or result.get("isError", False) is not False
    walk = _Walk(entry, is_public)
    plan = plan_of(entry)
    document = read_document(result, is_text=_says_nothing_of(plan) and walk.is_all_public)
    value = document.value
    walk.document(value, plan, is_structured=document.is_structured and not document.is_wrapped)
    if len(walk.leaves) > MAX_LEAVES:
        value = canonical(value).decode()
        walk = _Walk(entry, True)
        walk.visit(value, None, "", (0, 0), None)
    for position, text in enumerate(document.besides):
        walk.leaf(text, None, f"/content/{position}", (_BESIDE, position), None)
    leaves = _relabelled(walk, relabel)
    delivery = _Delivery(hide, mint)
    delivery.take(leaves[: len(walk.places)], walk.places, delivery.tokens)
    delivery.take(leaves[len(walk.places) :], walk.names.places, delivery.names)
    for names, places in walk.names.untrusted(is_all_public=walk.is_all_public):
        delivery.take(names, places, delivery.names)
    blocks = [
        delivery.block(block, f"/content/{position}", walk.result_label)
        for position, block in enumerate(document.blocks)
    ]
    delivered = delivery.result(result, document, value, blocks) if delivery.hidden else dict(result)
    return Reading(delivered, delivery.label(), leaves, tuple(delivery.hidden))


class _Walk:
    """Collects the leaves of a document with the labels that the catalog gives them."""

    def __init__(self, entry: ToolEntry, is_public: bool) -> None:
        self.result_label = public(entry.result) if is_public else entry.result
        self._is_public = is_public
        self._held: dict[tuple[int, Any], bool] = {}
        self.leaves: list[Leaf] = []
        self.places: list[Place] = []
        self.vouching: list[tuple[int, Place]] = []
        self.names = MemberNames(is_public, public(entry.result))
        self.is_all_public = self.result_label.integrity is Integrity.PUBLIC

    def document(self, value: JSON, plan: Plan | None, *, is_structured: bool) -> None:
        """Visit a document; what a server returns as its structure has that server's members."""
        if is_structured and _says_nothing_of(plan) and isinstance(value, dict):
            plan = _MEMBERS
        self.visit(value, plan, "", (0, 0), None)

    def visit(
        self, value: JSON, plan: Plan | None, pointer: str, place: Place, parent: dict[str, JSON] | None
    ) -> None:
        """Visit a value and all in it, in document order."""
        if self.is_all_public and _says_nothing_of(plan) and _is_anybodys(value):
            # INVARIANT: whoever fills a place that nobody described chooses its member names and numbers, too; they
            # are as much a text as its strings.
            self.leaf(canonical(value).decode(), None, pointer, place, parent)
        elif isinstance(value, dict):
            here = id(value)
            names = _NOTHING if plan is None else plan.names
            rest = None if plan is None else plan.any
            for name, member in value.items():
                below = names.get(name)
                if below is None:
                    self._name(name, rest, (here, name), pointer)
                    step, below = "*", rest
                else:
                    step = name
                # Saves a call for each leaf.
                visit = self.leaf if isinstance(member, str) else self.visit
                visit(member, below, f"{pointer}/{step}", (here, name), value)  # type: ignore[arg-type]
        elif isinstance(value, list):
            here = id(value)
            below = None if plan is None else plan.any
            for position, element in enumerate(value):
                self.visit(element, below, f"{pointer}/{position}", (here, position), None)
        elif value is not None:
            self.leaf(value, plan, pointer, place, parent)

    def _name(self, name: str, rest: Plan | None, place: Place, pointer: str) -> None:
        """Note a member name that the catalog does not spell out."""
        if rest is None:
            self.names.unknown(name, place, f"{pointer}/*")
        else:
            described = None if rest.field is None else rest.field.names
            self.names.described(name, place, f"{pointer}/*", described)

    def leaf(
        self, value: Scalar, plan: Plan | None, pointer: str, place: Place, parent: dict[str, JSON] | None
    ) -> None:
        """Add one leaf."""
        leaves = self.leaves
        if len(leaves) > MAX_LEAVES:
            return
        read: str | None = ""
        if plan is None or plan.leaf is None:
            kind, label, scope, reader = _TEXT, self.result_label, "", None
        else:
            kind, label, cases, scope, reader = plan.leaf
            if cases:
                label = self._judged(cases, label, value, parent, place)
            if self._is_public:
                label = public(label)
        if isinstance(value, str):
            # INVARIANT: a text of which something was lost vouches for nothing; others may look the same now.
            if REPLACEMENT in value:
                read = None
            elif reader is not None:
                read = reader(value)
        else:
            if kind is _TEXT:
                kind = _natural(value)
            read = normal(kind, value)
        if read is None:
            # Whoever put it there did not keep to the field's meaning.
            label = public(label)
            kind = _TEXT if isinstance(value, str) else _natural(value)
            read = ""
        # Saves the call that only gives the names of the members.
        leaves.append(tuple.__new__(Leaf, (pointer, value, kind, label, scope, read)))
        self.places.append(place)

    def _judged(
        self,
        cases: tuple[Case, ...],
        otherwise: Label,
        value: Scalar,
        parent: dict[str, JSON] | None,
        place: Place,
    ) -> Label:
        """Return the label that the first case that applies gives, and note the sibling that it rests on."""
        for case in cases:
            is_itself = case.field == ITSELF
            sibling = value if is_itself else None if parent is None else parent.get(case.field)
            # Many fields of one object ask the same of the same sibling.
            asked = (id(case.members), sibling if isinstance(sibling, str) else None)
            held = self._held.get(asked)
            if held is None:
                held = self._held[asked] = case.members.holds(sibling)
            if held:
                if not is_itself:
                    self.vouching.append((len(self.leaves), (place[0], case.field)))
                return case.label
        return otherwise


class _Delivery:
    """Decides for each value whether it is shown, and at which label the agent is afterwards."""

    def __init__(self, hide: bool, mint: Callable[[], str]) -> None:
        self._hide = hide
        self._mint = mint
        # By identity: labels are few and come from the catalog, and hashing one costs more than the rest.
        self._shown: dict[int, Label] = {}
        self._secret: dict[int, Label] = {}
        self._short: dict[int, Label] = {}
        self._taken: list[Iterable[Leaf]] = []
        self.tokens: dict[Place, str] = {}
        self.names: dict[Place, str] = {}
        self.hidden: list[Hidden] = []

    def take(self, leaves: Sequence[Leaf], places: Iterable[Place], tokens: dict[Place, str]) -> None:
        """Count values, or put tokens into their places."""
        shown, secret, short = self._shown, self._secret, self._short
        self._taken.append(leaves)
        for (pointer, value, kind, label, _, read), place in zip(leaves, places, strict=True):
            if label.integrity is not _PUBLIC:
                (shown if kind is _TEXT else short)[id(label)] = label
            elif conforms(kind, value, read):
                secret[id(label)] = label
            elif self._hide and isinstance(value, str):
                tokens[place] = self._concealed(pointer, kind, label, value)
            else:
                shown[id(label)] = label

    def block(self, block: dict[str, Any], pointer: str, label: Label) -> dict[str, Any]:
        """Count a block that is no text, or return the token that takes its place."""
        if self._hide and label.integrity is Integrity.PUBLIC:
            return {"type": "text", "text": self._concealed(pointer, _TEXT, label, block)}
        self._shown[id(label)] = label
        return block

    def result(
        self, original: Mapping[str, Any], document: ResultDocument, value: JSON, blocks: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """Return the result with tokens in the places of what is hidden."""
        besides = [
            self.tokens.get((_BESIDE, position), text) for position, text in enumerate(document.besides)
        ]
        tokens, names = by_container(self.tokens), by_container(self.names)
        whole = self.tokens.get((0, 0))
        said = rewritten(value, tokens, names) if whole is None else whole
        return document.result(original, said, besides, blocks)

    def label(self) -> Label:
        """Return the label of what the agent is shown."""
        joined = BOTTOM
        for label in self._shown.values():
            joined = joined.join(label)
        # Where text of that trust is shown anyway, it does not matter whether the short values are short.
        for label in self._short.values():
            if label.integrity > joined.integrity and not all(map(_is_short, self._of(label))):
                joined = joined.join(label)
            self._secret[id(label)] = label
        self._secret.update((id(hidden.label), hidden.label) for hidden in self.hidden)
        for label in self._secret.values():
            if label.level or label.readers is not None or label.categories:
                joined = joined.join(Label(Integrity.USER, label.level, label.readers, label.categories))
        return joined

    def _of(self, label: Label) -> Iterator[Leaf]:
        """Yield the values with this very label that are no text."""
        for leaves in self._taken:
            for leaf in leaves:
                if leaf.label is label and leaf.kind is not _TEXT:
                    yield leaf

    def _concealed(
        self, pointer: str, kind: ArgumentType, label: Label, content: str | dict[str, Any]
    ) -> str:
        self.hidden.append(Hidden(self._mint(), pointer, kind, label, content))
        return self.hidden[-1].token


def _is_short(leaf: Leaf) -> bool:
    return conforms(leaf.kind, leaf.value, leaf.normal)


def _relabelled(walk: _Walk, relabel: Callable[[Sequence[Leaf]], Sequence[Leaf]]) -> tuple[Leaf, ...]:
    """Apply the echo rule, and let no leaf be trusted more than the sibling that speaks for it."""
    before = [*walk.leaves, *walk.names.leaves]
    after = list(relabel(before))
    if len(after) != len(before):
        after = [leaf._replace(label=public(leaf.label)) for leaf in before]
    # INVARIANT: the echo rule only takes trust away.
    if not all(map(is_, before, after)):
        for position, (old, new) in enumerate(zip(before, after, strict=True)):
            if new is not old and not (old.label.flows_to(new.label) and new.value is old.value):
                after[position] = old._replace(label=public(old.label))
    if walk.vouching:
        positions = {place: position for position, place in enumerate(walk.places)}
        for position, sibling in walk.vouching:
            speaker = positions.get(sibling)
            leaf = after[position]
            integrity = Integrity.PUBLIC if speaker is None else after[speaker].label.integrity
            if integrity > leaf.label.integrity:
                label = leaf.label
                lowered = Label(integrity, label.level, label.readers, label.categories)
                after[position] = leaf._replace(label=lowered)
    return tuple(after)


_MEMBERS = Plan(None, {}, None, "")


def _says_nothing_of(plan: Plan | None) -> bool:
    """Whether nothing is described here or below."""
    return plan is None or (plan is not _MEMBERS and not plan.names and plan.any is None)


def _is_anybodys(value: JSON) -> bool:
    """Whether a value holds member names, numbers or lists, or many strings: then it is one text, not several."""
    if isinstance(value, dict):
        return bool(value)
    is_short = isinstance(value, list) and len(value) <= _MAX_STRINGS
    return isinstance(value, list) and not (is_short and all(isinstance(one, str) for one in value))


def _natural(value: Scalar) -> ArgumentType:
    if isinstance(value, bool):
        return ArgumentType.BOOLEAN
    return ArgumentType.AMOUNT if isinstance(value, float) else ArgumentType.INTEGER
