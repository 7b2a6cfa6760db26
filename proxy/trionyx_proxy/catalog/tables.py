"""The catalog as a whole: the tools by section and name, and the clearances of their sinks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trionyx_proxy.arguments import JSON
from trionyx_proxy.catalog.clearance import Clearances, place, read_clearance
from trionyx_proxy.catalog.description import read_tool, read_vocabulary
from trionyx_proxy.catalog.entry import ToolEntry, Zone
from trionyx_proxy.catalog.vocabulary import ADDRESSING
from trionyx_proxy.core.label import BOTTOM, TOP, Label

_OUTWARD = frozenset({"egress", "fetch"})
_READING = frozenset({"read", "fetch"})


@dataclass(frozen=True, slots=True)
class Catalog:
    """The tools and the clearances of their sinks."""

    _tools: Mapping[tuple[str, str], ToolEntry]
    _addresses: Clearances
    _domains: Clearances
    _hosts: Clearances
    _default: Label

    @classmethod
    def from_data(cls, data: JSON) -> Catalog:
        """Read `data.trionyx` of a bundle; never fails, closes instead."""
        clearances = _object(_object(data).get("clearances"))
        domains, hosts = clearances.get("domains"), clearances.get("hosts")
        both = {**domains, **hosts} if isinstance(domains, dict) and isinstance(hosts, dict) else None
        return cls(
            _tools=_read_tools(_object(data)),
            _addresses=Clearances.read(clearances.get("addresses")),
            _domains=Clearances.read(domains),
            # A host without an entry of its own has the clearance of its domain.
            _hosts=Clearances.read(both),
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
    catalog = _object(data.get("catalog"))
    vocabulary = read_vocabulary(catalog)
    for section, server in _object(catalog.get("servers")).items():
        area = _read_area(places.get(section))
        for name, described in _object(_object(server).get("tools")).items():
            entry = read_tool(section, name, _object(described), vocabulary, area)
            if entry is not None:
                tools[section, name] = entry
    return tools


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
