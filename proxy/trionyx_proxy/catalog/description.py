"""The closed reading of a tool's description: what is odd in it never makes the tool more trusted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from trionyx_proxy.arguments import JSON
from trionyx_proxy.catalog.clearance import read_clearance
from trionyx_proxy.catalog.entry import EVERYTHING, Argument, Case, Field, Resource, ToolEntry, ValueSet, Zone
from trionyx_proxy.catalog.member import listed_domain, listed_value
from trionyx_proxy.catalog.vocabulary import EFFECTS, ArgumentType, Role, Shape
from trionyx_proxy.core.label import Integrity, Label, parse_label

_STEP = re.compile(r"(?:[^~/]|~[01])+")
_ACCESS = {"read": (True, False), "write": (False, True), "both": (True, True)}
_ROLES = {role.value: role for role in Role}
_TYPES = {kind.value: kind for kind in ArgumentType}
_NOBODY = ValueSet()


def read_tool(
    section: str,
    name: str,
    described: Mapping[str, JSON],
    sets: Mapping[str, ValueSet],
    area: tuple[tuple[str, ...], tuple[Zone, ...]],
) -> ToolEntry | None:
    """Read one tool's entry; None if it has no known effect.

    Args:
        section: of the catalog.
        name: the tool's own.
        described: the entry.
        sets: the catalog's sets, by name.
        area: roots and zones of the section.
    """
    effect = described.get("effect")
    if not isinstance(effect, str) or effect not in EFFECTS:
        return None
    arguments = _read_arguments(described.get("args"))
    result = parse_label(described.get("result"))
    return ToolEntry(
        catalog=section,
        name=name,
        effect=effect,
        arguments=arguments,
        containers=frozenset(shape[:end] for shape in arguments for end in range(len(shape))),
        result=result,
        clearance=read_clearance(described.get("clearance")),
        roots=area[0],
        zones=area[1],
        fields=_read_fields(described.get("fields"), result, sets),
        resource=_read_resource(described["resource"], arguments) if "resource" in described else None,
    )


def read_sets(value: JSON) -> dict[str, ValueSet]:
    """Read the catalog's sets by name; a set that holds anything unreadable holds nobody."""
    return {name: _read_set(members) for name, members in _object(value).items()}


def _read_set(value: JSON) -> ValueSet:
    members = _object(value)
    if not members or not members.keys() <= {"domains", "values"}:
        return _NOBODY
    domains = [listed_domain(name) for name in _texts(members.get("domains", []))]
    values = [listed_value(name) for name in _texts(members.get("values", []))]
    known_domains = frozenset(name for name in domains if name is not None and "@" not in name)
    known_values = frozenset(name for name in values if name is not None)
    if None in domains or None in values or any(name is not None and "@" in name for name in domains):
        return _NOBODY
    return ValueSet(known_domains, known_values)


def _texts(value: JSON) -> Iterator[str]:
    """Give the strings of a list; anything else in its place gives one unlistable string."""
    for element in value if isinstance(value, list) else [None]:
        yield _text(element)


def _read_arguments(value: JSON) -> dict[Shape, Argument]:
    arguments: dict[Shape, Argument] = {}
    for pattern, described in _object(value).items():
        argument = _object(described)
        role, kind = _ROLES.get(_text(argument.get("role"))), _TYPES.get(_text(argument.get("type")))
        shape = _read_shape(pattern)
        # An odd description describes nothing: the argument stays uncatalogued, and calls that use it are denied.
        if shape and role is not None and kind is not None:
            arguments[shape] = Argument(role, kind)
    return arguments


def _read_shape(pattern: object) -> Shape | None:
    """Read a JSON pointer with `*` for any element; "" is the whole document."""
    if not isinstance(pattern, str) or (pattern and not pattern.startswith("/")):
        return None
    steps = pattern.split("/")[1:]
    if not all(_STEP.fullmatch(step) for step in steps):
        return None
    return tuple(None if step == "*" else step.replace("~1", "/").replace("~0", "~") for step in steps)


def _read_fields(value: JSON, result: Label, sets: Mapping[str, ValueSet]) -> dict[Shape, Field]:
    described: dict[Shape, JSON] = {}
    for pattern, field in _object(value).items():
        shape = _read_shape(pattern)
        if shape is None:
            # It could mean any place, and shadow any other description: nothing is described.
            return {}
        described[shape] = field
    plain = {shape: _read_plain_field(field, result) for shape, field in described.items()}
    own = {shape: field for shape, (field, _) in plain.items()}
    return {
        shape: _with_cases(shape, _object(described[shape]), field, result, own, sets) if readable else field
        for shape, (field, readable) in plain.items()
    }


def _read_plain_field(value: JSON, result: Label) -> tuple[Field, bool]:
    """Read type and label of a field, and whether they can be read; its `when` is left for later."""
    field = _object(value)
    label = parse_label(field.get("label")) if isinstance(value, dict) else result
    kind = _TYPES.get(_text(field.get("type")))
    # The result's label is declared to bound all of it; a field above it is a mistake, and takes the worse.
    if kind is not None and field.keys() <= {"type", "label", "when"} and label.flows_to(result):
        return Field(kind, label), True
    return Field(ArgumentType.TEXT, result.join(label)), False


def _with_cases(
    shape: Shape,
    described: Mapping[str, JSON],
    field: Field,
    result: Label,
    fields: Mapping[Shape, Field],
    sets: Mapping[str, ValueSet],
) -> Field:
    """Add the cases of a field. One odd case closes the field: it might be the one that restricts."""
    if "when" not in described:
        return field
    when = described["when"]
    cases = [
        _read_case(shape, _object(case), field, result, fields, sets)
        for case in (when if isinstance(when, list) else [None])
    ]
    known = tuple(case for case in cases if case is not None)
    if len(known) == len(cases):
        return Field(field.type, field.label, known)
    closed = result
    for case in when if isinstance(when, list) else []:
        closed = closed.join(parse_label(_object(case).get("label")))
    return Field(ArgumentType.TEXT, closed)


def _read_case(
    shape: Shape,
    case: Mapping[str, JSON],
    field: Field,
    result: Label,
    fields: Mapping[Shape, Field],
    sets: Mapping[str, ValueSet],
) -> Case | None:
    name, members = case.get("field"), case.get("in")
    if case.keys() != {"field", "in", "label"} or not isinstance(name, str) or not isinstance(members, str):
        return None
    if not shape or shape[-1] is None:
        return None  # an element of a list has no siblings with names
    sibling = fields.get((*shape[:-1], name)) or fields.get((*shape[:-1], None))
    vouching = (result if sibling is None else sibling.label).integrity
    label = parse_label(case["label"])
    if vouching is Integrity.PUBLIC or not label.flows_to(field.label):
        return None  # who may write the sibling would choose the label
    label = Label(max(label.integrity, vouching), label.level, label.readers, label.categories)
    return Case(name, sets.get(members, _NOBODY), label) if label.flows_to(field.label) else None


def _read_resource(value: JSON, arguments: Mapping[Shape, Argument]) -> Resource:
    described = _object(value)
    patterns, access = described.get("args"), described.get("access")
    if described.keys() != {"args", "access"} or not isinstance(patterns, list):
        return EVERYTHING
    if not isinstance(access, str) or access not in _ACCESS:
        return EVERYTHING
    shapes = [_read_shape(pattern) for pattern in patterns]
    known = tuple(shape for shape in shapes if shape is not None and shape in arguments)
    if len(known) != len(shapes):
        return EVERYTHING
    reads, writes = _ACCESS[access]
    return Resource(known, reads, writes)


def _text(value: JSON) -> str:
    return value if isinstance(value, str) else ""


def _object(value: JSON) -> dict[str, JSON]:
    return value if isinstance(value, dict) else {}
