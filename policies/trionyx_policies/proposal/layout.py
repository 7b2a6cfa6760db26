"""JSON for people: whatever fits on a line stands on one line, so that an edited catalog differs line by line."""

from __future__ import annotations

import json
from typing import Final

from trionyx_policies.document import Json

WIDTH: Final = 120
_FLAT: Final = frozenset({"categories", "integrity", "level", "readers"})


def lay_out(document: Json) -> str:
    """Encode a document; members keep their order."""
    return _laid_out(document, 0, 0) + "\n"


def _laid_out(value: Json, indent: int, used: int) -> str:
    """Encode a value that begins behind `used` characters of its line, at a depth of `indent`."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or (len(flat) + used <= WIDTH and _is_simple(value)):
        return flat
    inner, outer = " " * (indent + 2), " " * indent
    if isinstance(value, dict):
        names = {name: json.dumps(name, ensure_ascii=False) + ": " for name in value}
        lines = [
            inner + names[name] + _laid_out(member, indent + 2, indent + 3 + len(names[name]))
            for name, member in value.items()
        ]
        return "{\n" + ",\n".join(lines) + f"\n{outer}}}"
    elements = [inner + _laid_out(element, indent + 2, indent + 3) for element in value]
    return "[\n" + ",\n".join(elements) + f"\n{outer}]"


def _is_simple(value: Json) -> bool:
    """Whether a value is no deeper than a described field with its cases: three levels, a label being one."""
    return _depth(value) <= 3


def _depth(value: Json) -> int:
    match value:
        case dict() if value.keys() == _FLAT:
            return 1
        case dict():
            return 1 + max((_depth(member) for member in value.values()), default=0)
        case list():
            return 1 + max((_depth(element) for element in value), default=0)
    return 0
