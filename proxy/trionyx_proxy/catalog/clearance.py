"""What sinks may be told: clearances of domains, hosts and addresses, and the comparison form of places.

A clearance permits, so whatever cannot be read permits nothing.
"""

from __future__ import annotations

import ipaddress
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from trionyx_proxy.arguments import JSON
from trionyx_proxy.catalog.member import listed_domain, suffixes
from trionyx_proxy.core.label import BOTTOM, TOP, Label, parse_label


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
class Clearances:
    """One table of clearances; a key that cannot be read closes the whole table."""

    _labels: Mapping[str, Label]
    _readable: bool

    @classmethod
    def read(cls, value: JSON) -> Clearances:
        """Read a table; never fails."""
        labels: dict[str, Label] = {}
        readable = isinstance(value, dict)
        for key, label in (value if isinstance(value, dict) else {}).items():
            name = listed_domain(key)
            if name is None:
                readable = False
                continue
            # Two spellings of one name: both must permit.
            labels[name] = read_clearance(label).meet(labels.get(name, TOP))
        return cls(labels, readable)

    def exactly(self, name: str) -> Label | None:
        """Return the clearance of this very name."""
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
        found = (self._labels.get(suffix) for suffix in suffixes(name))
        return next((label for label in found if label is not None), default)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
