"""What the security team says about tools and sinks: a typed, closed view of the bundle's data.

The catalog classifies; it decides nothing. Whatever is missing or odd closes: a tool that is not well
described is not in the catalog, an unreadable result label is TOP, an unreadable clearance is BOTTOM.
"""

from __future__ import annotations

import ipaddress
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from trionyx_proxy.arguments import JSON
from trionyx_proxy.core.label import BOTTOM, TOP, Label, parse_label

Shape = tuple[str | None, ...]
"""The place of an argument: member names from the root, None for any element of a list."""

EFFECTS = frozenset({"read", "fetch", "local", "egress", "money", "book", "authz", "destroy"})
_OUTWARD = frozenset({"egress", "fetch"})
_READING = frozenset({"read", "fetch"})


class Role(StrEnum):
    """What an argument does in a call; how much provenance it needs is up to the policy."""

    TARGET = "target"
    SELECTOR = "selector"
    SECRET = "secret"  # noqa: S105 - a role, not a password
    WHEN = "when"
    AMOUNT = "amount"
    TITLE = "title"
    CONTENT = "content"
    PLAIN = "plain"


class ArgumentType(StrEnum):
    """How an argument is read into facts."""

    EMAIL = "email"
    URL = "url"
    PATH = "path"
    HOST = "host"
    TEXT = "text"
    ID = "id"
    DATE = "date"
    AMOUNT = "amount"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    ENUM = "enum"


ADDRESSING = frozenset({ArgumentType.EMAIL, ArgumentType.URL, ArgumentType.HOST})
"""Types that name somebody or something outside."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One described argument."""

    role: Role
    type: ArgumentType


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
class ToolEntry:
    """One tool as the catalog describes it.

    Args:
        catalog: section of the catalog.
        name: the upstream's own name of the tool.
        effect: one of EFFECTS.
        arguments: described arguments by place; any other argument is uncatalogued.
        containers: places of the objects and lists that described arguments lie in.
        output: declared label of whatever the tool returns.
        clearance: most restrictive run label that may flow into the tool, before its sinks narrow it.
        roots: absolute directories that paths must lie in; "/" for a whole virtual tree.
        zones: of the section's file tree.
    """

    catalog: str
    name: str
    effect: str
    arguments: Mapping[Shape, Argument]
    containers: frozenset[Shape]
    output: Label
    clearance: Label
    roots: tuple[str, ...]
    zones: tuple[Zone, ...]


@dataclass(frozen=True, slots=True)
class Catalog:
    """The tools and the clearances of their sinks."""

    _tools: Mapping[tuple[str, str], ToolEntry]
    _addresses: _Clearances
    _domains: _Clearances
    _hosts: _Clearances
    _default: Label

    @classmethod
    def from_data(cls, data: JSON) -> Catalog:
        """Read `data.trionyx` of a bundle; never fails, closes instead."""
        clearances = _object(_object(data).get("clearances"))
        domains, hosts = clearances.get("domains"), clearances.get("hosts")
        both = {**domains, **hosts} if isinstance(domains, dict) and isinstance(hosts, dict) else None
        return cls(
            _tools=_read_tools(_object(data)),
            _addresses=_Clearances.read(clearances.get("addresses")),
            _domains=_Clearances.read(domains),
            # A host without an entry of its own has the clearance of its domain.
            _hosts=_Clearances.read(both),
            _default=read_clearance(clearances.get("default")),
        )

    def tool(self, catalog: str, name: str) -> ToolEntry | None:
        """Return a tool's entry, or None: it is then neither offered nor callable."""
        return self._tools.get((catalog, name))

    def names(self, catalog: str) -> frozenset[str]:
        """Return the names of a section's tools."""
        return frozenset(name for section, name in self._tools if section == catalog)

    def clearance(self, entry: ToolEntry, facts: Mapping[str, JSON]) -> Label:
        """Return the most restrictive run label that may flow into this call: the meet over all its sinks.

        Args:
            entry: the called tool.
            facts: `facts.compute` of the call's arguments; missing or odd facts close the sink.
        """
        clearance = entry.clearance
        if facts.get("invalid") != []:
            return BOTTOM
        sinks: list[Label] = []
        if entry.effect in _OUTWARD:
            sinks += [self._recipient(fact) for fact in _objects(facts.get("recipients"))]
            sinks += [self._host(fact) for fact in _objects(facts.get("urls"))]
            if not sinks and any(argument.type in ADDRESSING for argument in entry.arguments.values()):
                # It addresses somebody of the upstream's own choice.
                sinks.append(self._default)
        if entry.effect not in _READING:
            sinks += [_zone_clearance(entry, fact) for fact in _objects(facts.get("paths"))]
        for sink in sinks:
            clearance = clearance.meet(sink)
        return clearance

    def _recipient(self, fact: Mapping[str, JSON]) -> Label:
        address, domain = fact.get("address"), fact.get("domain")
        if not isinstance(address, str) or not isinstance(domain, str):
            return BOTTOM
        own = self._addresses.exactly(address)
        return own if own is not None else self._domains.of(domain, self._default)

    def _host(self, fact: Mapping[str, JSON]) -> Label:
        host = fact.get("host")
        return self._hosts.of(host, self._default) if isinstance(host, str) else BOTTOM


def read_clearance(value: JSON) -> Label:
    """Read a label that permits: what is not exactly a label permits nothing (BOTTOM).

    `parse_label` turns the unreadable into TOP, which closes a label but would open a clearance.
    """
    label = parse_label(value)
    return BOTTOM if label == TOP and value != TOP.to_json() else label


def place(path: str) -> str:
    """Return the form in which paths are compared with zones: folded as widely as any file system folds.

    Over-matching a zone can only narrow a clearance.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())
    return folded.rstrip("/") or "/"


@dataclass(frozen=True, slots=True)
class _Clearances:
    """One table of clearances; a key that cannot be read closes the whole table."""

    _labels: Mapping[str, Label]
    _readable: bool

    @classmethod
    def read(cls, value: JSON) -> _Clearances:
        labels: dict[str, Label] = {}
        readable = isinstance(value, dict)
        for key, label in _object(value).items():
            name = _comparable(key)
            if name is None:
                readable = False
                continue
            # Two spellings of one name: both must permit.
            labels[name] = read_clearance(label).meet(labels.get(name, TOP))
        return cls(labels, readable)

    def exactly(self, name: str) -> Label | None:
        if not self._readable:
            return BOTTOM
        return self._labels.get(name.lower())

    def of(self, name: str, default: Label) -> Label:
        """Return the clearance of the longest listed suffix, on label boundaries."""
        if not self._readable:
            return BOTTOM
        name = name.lower()
        own = self._labels.get(name)
        if own is not None or _is_address(name):
            return default if own is None else own
        labels = name.split(".")
        for start in range(1, len(labels)):
            found = self._labels.get(".".join(labels[start:]))
            if found is not None:
                return found
        return default


def _comparable(name: str) -> str | None:
    """Return a listed domain, host or address in lower-case ASCII, or None."""
    local, at, domain = name.rpartition("@")
    try:
        ascii_domain = domain if domain.isascii() else domain.encode("idna").decode("ascii")
    except UnicodeError:
        return None
    ascii_domain = ascii_domain.lower().removesuffix(".")
    if not ascii_domain or not local.isascii() or (at and not local):
        return None
    comparable = local.lower() + at + ascii_domain
    return comparable if comparable.isprintable() and " " not in comparable else None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _zone_clearance(entry: ToolEntry, fact: Mapping[str, JSON]) -> Label:
    path = fact.get("path")
    if not isinstance(path, str) or fact.get("inside") is not True:
        return BOTTOM
    compared = place(path)
    inner = [zone for zone in entry.zones if _below(compared, zone.prefix)]
    longest = max((len(zone.prefix) for zone in inner), default=0)
    clearance = TOP
    for zone in entry.zones:
        # A tool that is given a directory may write to everything below it.
        is_meant = (zone in inner and len(zone.prefix) == longest) or _below(zone.prefix, compared)
        if is_meant and zone.write is not None:
            clearance = clearance.meet(zone.write)
    return clearance


def _below(path: str, prefix: str) -> bool:
    return prefix == "/" or path == prefix or path.startswith(prefix + "/")


def _read_tools(data: Mapping[str, JSON]) -> dict[tuple[str, str], ToolEntry]:
    tools: dict[tuple[str, str], ToolEntry] = {}
    places = _object(data.get("paths"))
    for section, server in _object(_object(data.get("catalog")).get("servers")).items():
        roots, zones = _read_area(places.get(section))
        for name, described in _object(_object(server).get("tools")).items():
            entry = _object(described)
            effect = entry.get("effect")
            if not isinstance(effect, str) or effect not in EFFECTS:
                continue
            arguments = _read_arguments(entry.get("args"))
            tools[section, name] = ToolEntry(
                catalog=section,
                name=name,
                effect=effect,
                arguments=arguments,
                containers=frozenset(shape[:end] for shape in arguments for end in range(len(shape))),
                output=parse_label(entry.get("result")),
                clearance=read_clearance(entry.get("clearance")),
                roots=roots,
                zones=zones,
            )
    return tools


def _read_arguments(value: JSON) -> dict[Shape, Argument]:
    arguments: dict[Shape, Argument] = {}
    for pattern, described in _object(value).items():
        argument = _object(described)
        role, kind = argument.get("role"), argument.get("type")
        # An odd description describes nothing: the argument stays uncatalogued, and calls that use it are denied.
        if pattern.startswith("/") and role in set(Role) and kind in set(ArgumentType):
            steps = pattern[1:].split("/")
            shape = tuple(
                None if name == "*" else name.replace("~1", "/").replace("~0", "~") for name in steps
            )
            arguments[shape] = Argument(Role(str(role)), ArgumentType(str(kind)))
    return arguments


def _read_area(value: JSON) -> tuple[tuple[str, ...], tuple[Zone, ...]]:
    area = _object(value)
    roots, zones = area.get("roots"), area.get("zones")
    read: list[Zone] = []
    for zone in zones if isinstance(zones, list) else []:
        described = _object(zone)
        prefix = described.get("prefix")
        write = read_clearance(described["write"]) if "write" in described else None
        # A zone without a readable place could be anywhere.
        read.append(Zone(place(prefix), write) if isinstance(prefix, str) else Zone("/", BOTTOM))
    if "zones" in area and not isinstance(zones, list):
        read.append(Zone("/", BOTTOM))
    inside = tuple(root for root in roots if isinstance(root, str)) if isinstance(roots, list) else ()
    return inside, tuple(read)


def _object(value: JSON) -> dict[str, JSON]:
    return value if isinstance(value, dict) else {}


def _objects(value: JSON) -> list[dict[str, JSON]]:
    """Return a list of objects; anything else becomes one empty object, which closes whatever reads it."""
    return [_object(element) for element in value] if isinstance(value, list) else [{}]
