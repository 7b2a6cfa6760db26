"""The closed reading of a result's fields: odd descriptions never make a value more trusted than the result.

Trust on the word of a value needs a set that the operator lists: a case asks whether a sibling, or the value
itself, is in such a set. What outsiders may choose freely vouches for nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from trionyx_proxy.arguments import JSON
from trionyx_proxy.catalog.entry import Case, Field, Names, ValueSet
from trionyx_proxy.catalog.vocabulary import ArgumentType, Shape
from trionyx_proxy.core.label import TOP, Integrity, Label, parse_label

ITSELF = ""
"""As the `field` of a case: the value that is labelled, and not a sibling."""

TYPES = {kind.value: kind for kind in ArgumentType}

_STEP = re.compile(r"(?:[^~/]|~[01])+")


def read_shape(pattern: object) -> Shape | None:
    """Read a JSON pointer with `*` for any element; "" is the whole document."""
    if not isinstance(pattern, str) or (pattern and not pattern.startswith("/")):
        return None
    steps = pattern.split("/")[1:]
    if not all(_STEP.fullmatch(step) for step in steps):
        return None
    return tuple(None if step == "*" else step.replace("~1", "/").replace("~0", "~") for step in steps)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What fields refer to by name.

    Args:
        labels: the catalog's labels; a name that is not here is TOP.
        sets: the catalog's sets; a name that is not here is the empty set.
    """

    labels: Mapping[str, Label]
    sets: Mapping[str, ValueSet]

    def label(self, value: JSON) -> Label:
        """Read a label, spelled out or named."""
        return self.labels.get(value, TOP) if isinstance(value, str) else parse_label(value)

    def members(self, name: str) -> ValueSet:
        """Return a set by name."""
        return self.sets.get(name, ValueSet())


def read_fields(value: JSON, result: Label, vocabulary: Vocabulary) -> dict[Shape, Field]:
    """Read the fields of one tool's result.

    Args:
        value: the entry's `fields`.
        result: label of the whole result, which bounds every field's.
        vocabulary: of the catalog.
    """
    described: dict[Shape, JSON] = {}
    for pattern, field in (value if isinstance(value, dict) else {}).items():
        shape = read_shape(pattern)
        if shape is None:
            # It could mean any place, and shadow any other description: nothing is described.
            return {}
        described[shape] = field
    reading = _Reading(described, result, vocabulary)
    return {shape: reading.field(shape) for shape in described}


class _Reading:
    """The descriptions of one result, which refer to each other."""

    def __init__(self, described: Mapping[Shape, JSON], result: Label, vocabulary: Vocabulary) -> None:
        self._described = described
        self._result = result
        self._vocabulary = vocabulary

    def field(self, shape: Shape) -> Field:
        """Read one field. One odd case closes the field: it might be the one that restricts."""
        field = self._plain(shape)
        when = self._when(shape)
        if field is None or when is None:
            return self._closed(shape)
        cases = tuple(case for given in when if (case := self._case(shape, given, field)) is not None)
        return replace(field, cases=cases) if len(cases) == len(when) else self._closed(shape)

    def _plain(self, shape: Shape) -> Field | None:
        """Read type and label; None where they cannot be read, or the label is above the result's."""
        described = self._described[shape]
        if not isinstance(described, dict) or not described.keys() <= {"type", "label", "when", "names"}:
            return None
        worth = self._worth(described)
        names = self._names(shape, described["names"]) if "names" in described else None
        if worth is None or ("names" in described and names is None):
            return None
        return Field(*worth, names=names)

    def _worth(self, described: Mapping[str, JSON]) -> tuple[ArgumentType, Label] | None:
        kind, label = described.get("type"), self._vocabulary.label(described.get("label"))
        if not isinstance(kind, str) or kind not in TYPES or not label.flows_to(self._result):
            return None
        return TYPES[kind], label

    def _names(self, shape: Shape, described: JSON) -> Names | None:
        """Read what the names of members are; None where that cannot be read or the place has no such members."""
        if not shape or shape[-1] is not None:
            return None
        if not isinstance(described, dict) or described.keys() != {"type", "label"}:
            return None
        worth = self._worth(described)
        return None if worth is None else Names(*worth)

    def _when(self, shape: Shape) -> list[JSON] | None:
        described = self._described[shape]
        when = described.get("when", []) if isinstance(described, dict) else None
        return when if isinstance(when, list) else None

    def _closed(self, shape: Shape) -> Field:
        """Return what an odd description means: text as bad as the result, and as any label that is named."""
        label = self._result
        described = self._described[shape]
        if isinstance(described, dict):
            label = label.join(self._vocabulary.label(described.get("label")))
        for case in self._when(shape) or []:
            label = label.join(self._vocabulary.label(case.get("label") if isinstance(case, dict) else None))
        return Field(ArgumentType.TEXT, label)

    def _case(self, shape: Shape, given: JSON, field: Field) -> Case | None:
        if not isinstance(given, dict) or given.keys() != {"field", "in", "label"}:
            return None
        name, members, label = given["field"], given["in"], self._vocabulary.label(given["label"])
        if not isinstance(name, str) or not isinstance(members, str):
            return None
        vouching = self._vouching(shape, name, members)
        if vouching is None or not label.flows_to(field.label):
            return None
        label = replace(label, integrity=max(label.integrity, vouching))
        known = self._vocabulary.members(members)
        return Case(name, known, label) if label.flows_to(field.label) else None

    def _vouching(self, shape: Shape, name: str, members: str) -> Integrity | None:
        """Return how far a value in the set can be trusted to say who wrote the field; None for not at all."""
        if name == ITSELF or (shape and shape[-1] == name):
            return Integrity.ORG  # the operator lists it, whoever wrote it
        if not shape or shape[-1] is None:
            return None  # an element of a list has no siblings with names
        siblings = [sibling for last in (name, None) if (sibling := (*shape[:-1], last)) in self._described]
        if not siblings:
            return None if self._result.integrity is Integrity.PUBLIC else self._result.integrity
        own = self._plain(siblings[0])
        if own is None:
            return None
        if own.label.integrity is not Integrity.PUBLIC:
            return own.label.integrity
        # Anybody may write it; it vouches only if its own description says that this set makes it trusted.
        whole = self._own_cases(siblings[0])
        return whole.get(members)

    def _own_cases(self, shape: Shape) -> dict[str, Integrity]:
        """Return the sets that make a field trusted for being in them; none if its cases ask for more."""
        sure: dict[str, Integrity] = {}
        field, when = self._plain(shape), self._when(shape)
        for given in when or []:
            # Only cases about the value itself: those about siblings could ask each other for ever.
            if field is None or not isinstance(given, dict) or given.get("field") not in (ITSELF, shape[-1]):
                return {}
            case, members = self._case(shape, given, field), given.get("in")
            if case is None or not isinstance(members, str):
                return {}
            if case.label.integrity is not Integrity.PUBLIC:
                sure.setdefault(members, case.label.integrity)
        return sure
