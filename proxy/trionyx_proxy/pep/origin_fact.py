"""One entry of `facts.origins`: where an argument, or a link in one, came from, in the words of the policy's input."""

from __future__ import annotations

from trionyx_proxy.arguments import JSON
from trionyx_proxy.catalog import ArgumentType, Role
from trionyx_proxy.core.label import Integrity
from trionyx_proxy.provenance import Index, Origin, normal
from trionyx_proxy.provenance.times import parts
from trionyx_proxy.provenance.values import Scalar


def origin_fact(
    at: str,
    role: Role | str,
    kind: ArgumentType,
    origin: Origin,
    *,
    handle: bool = False,
    day: Integrity | None = None,
) -> JSON:
    """Return the entry.

    Args:
        at: pointer of the argument.
        role: its part in the call; `link` for a link in its text.
        kind: its type.
        origin: of the whole value.
        handle: the value came from behind a handle.
        day: how far the day of a date with a time is vouched for, see `day_integrity`; left out where None.
    """
    sources: list[JSON] = [
        {"call": source.call, "kind": source.kind, "pointer": source.pointer, "tool": source.tool}
        for source in origin.sources
    ]
    fact: dict[str, JSON] = {
        "arg": at,
        "handle": handle,
        "integrity": origin.label.integrity.name.lower(),
        "role": str(role),
        "sources": sources,
        "type": kind.value,
    }
    return fact if day is None else fact | {"day": day.name.lower()}


def day_integrity(index: Index, value: Scalar, kind: ArgumentType, role: Role) -> Integrity | None:
    """Return how far the day of a date is vouched for, whoever chose the hour; None for what has none.

    Args:
        index: of the run.
        value: an argument.
        kind: its type; a date in some zone may lie in another day, and has none.
        role: only what says when a thing happens has a day of its own.
    """
    read = normal(kind, value) if kind is ArgumentType.DATE and role is Role.WHEN else None
    if read is None:
        return None
    day, time, zone = parts(read)
    if not time or zone not in ("", "z"):
        return None
    return index.origin(day, kind, role).label.integrity
