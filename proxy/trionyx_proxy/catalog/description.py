"""The closed reading of a tool's description: what is odd in it never makes the tool more trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trionyx_proxy.arguments import JSON
from trionyx_proxy.catalog.clearance import read_clearance
from trionyx_proxy.catalog.entry import EVERYTHING, Argument, Resource, ToolEntry, ValueSet, Zone
from trionyx_proxy.catalog.field import TYPES, Vocabulary, read_fields, read_shape
from trionyx_proxy.catalog.member import listed_domain, listed_value
from trionyx_proxy.catalog.vocabulary import EFFECTS, Role, Shape
from trionyx_proxy.core.label import parse_label

_ACCESS = {"read": (True, False), "write": (False, True), "both": (True, True)}
_ROLES = {role.value: role for role in Role}
_NOBODY = ValueSet()


def read_tool(
    section: str,
    name: str,
    described: Mapping[str, JSON],
    vocabulary: Vocabulary,
    area: tuple[tuple[str, ...], tuple[Zone, ...]],
) -> ToolEntry | None:
    """Read one tool's entry; None if it has no known effect.

    Args:
        section: of the catalog.
        name: the tool's own.
        described: the entry.
        vocabulary: what its fields may refer to.
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
        fields=read_fields(described.get("fields"), result, vocabulary),
        resource=_read_resource(described["resource"], arguments) if "resource" in described else None,
    )


def read_vocabulary(catalog: Mapping[str, JSON]) -> Vocabulary:
    """Read the catalog's labels and sets; an unreadable label is TOP, an unreadable set holds nobody."""
    return Vocabulary(
        labels={name: parse_label(label) for name, label in _object(catalog.get("labels")).items()},
        sets={name: _read_set(members) for name, members in _object(catalog.get("sets")).items()},
    )


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
        role, kind = _ROLES.get(_text(argument.get("role"))), TYPES.get(_text(argument.get("type")))
        shape = read_shape(pattern)
        base = read_shape(argument["base"]) if "base" in argument else None
        # An odd description describes nothing: the argument stays uncatalogued, and calls that use it are denied.
        if not shape or role is None or kind is None or ("base" in argument and (not base or None in base)):
            continue
        arguments[shape] = Argument(role, kind, base)
    return arguments


def _read_resource(value: JSON, arguments: Mapping[Shape, Argument]) -> Resource:
    described = _object(value)
    patterns, access = described.get("args"), described.get("access")
    if described.keys() != {"args", "access"} or not isinstance(patterns, list):
        return EVERYTHING
    if not isinstance(access, str) or access not in _ACCESS:
        return EVERYTHING
    shapes = [read_shape(pattern) for pattern in patterns]
    known = tuple(shape for shape in shapes if shape is not None and shape in arguments)
    if len(known) != len(shapes):
        return EVERYTHING
    reads, writes = _ACCESS[access]
    return Resource(known, reads, writes)


def _text(value: JSON) -> str:
    return value if isinstance(value, str) else ""


def _object(value: JSON) -> dict[str, JSON]:
    return value if isinstance(value, dict) else {}
