"""Acceptance: a person takes a proposal over into a bundle's catalog. Overwrites nothing that is not asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

from trionyx_policies.bundle import read_files
from trionyx_policies.document import DocumentError, Json, parse
from trionyx_policies.errors import BundleError
from trionyx_policies.gate import examine
from trionyx_policies.proposal.layout import lay_out

UNSURE: Final = 0.5
"""Guesses below this confidence are pointed out."""


@dataclass(frozen=True, slots=True)
class Change:
    """What acceptance did to one tool.

    Args:
        kind: added, replaced, or the same as before.
        tool: `section.name`.
        notes: what differs, and which guesses are unsure.
    """

    kind: Literal["+", "~", "="]
    tool: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join((self.kind, self.tool, *([f"({'; '.join(self.notes)})"] if self.notes else [])))


def accept(proposal: Mapping[str, Json], bundle: Path, *, replace: bool = False) -> tuple[Change, ...]:
    """Merge a proposal into a bundle's catalog and write it, if the bundle then passes the gate.

    Args:
        proposal: as loaded.
        bundle: directory of the bundle.
        replace: whether tools that the catalog describes otherwise are described anew.

    Raises:
        BundleError: the proposal differs from what the catalog says, or the bundle has problems; nothing is
            written then.
        OSError: the catalog cannot be written.
    """
    files = read_files(bundle)
    name, document = _catalog(files)
    section, tools = cast(str, proposal["section"]), cast("dict[str, Any]", proposal["tools"])
    servers = document["trionyx"]["catalog"]["servers"]
    known: dict[str, Any] = servers.get(section, {}).get("tools", {})
    changes = tuple(_change(section, tool, known.get(tool), proposed) for tool, proposed in tools.items())
    overwritten = [change for change in changes if change.kind == "~"]
    if overwritten and not replace:
        raise BundleError(
            tuple(
                f"{change.tool}: the catalog says otherwise; --replace describes it anew"
                for change in overwritten
            )
        )
    if all(change.kind == "=" for change in changes):
        return changes
    merged = {**known, **{tool: proposed["entry"] for tool, proposed in tools.items()}}
    version = servers.get(section, {}).get("version", 0) + 1
    servers[section] = {"version": version, "tools": merged}
    text = lay_out(document).encode()
    _, problems = examine({**files, name: text})
    if problems:
        raise BundleError(tuple(problems))
    fresh = bundle / f".{Path(name).name}.new"
    fresh.write_bytes(text)
    fresh.replace(bundle / name)
    return changes


def _catalog(files: Mapping[str, bytes]) -> tuple[str, dict[str, Any]]:
    """Find the data file that defines the catalog."""
    for name in sorted(name for name in files if name.startswith("data/")):
        try:
            document = parse(files[name])
        except DocumentError as error:
            raise BundleError((f"{name}: {error}",)) from None
        match document:
            case {"trionyx": {"catalog": {"servers": dict()}}}:
                return name, cast("dict[str, Any]", document)
    raise BundleError(("data/catalog.json: defines no trionyx.catalog",))


def _change(section: str, tool: str, known: Mapping[str, Any] | None, proposed: Mapping[str, Any]) -> Change:
    entry = proposed["entry"]
    if known == entry:
        return Change("=", f"{section}.{tool}", ())
    notes = list(_differences(known, entry)) if known is not None else [f"effect {entry['effect']}"]
    if known is None and entry.get("relays"):
        notes.append("relays")
    guesses = {
        "effect": proposed.get("effect"),
        "relays": proposed.get("relays"),
        **(proposed.get("args") or {}),
    }
    unsure = [name for name, guess in guesses.items() if guess is not None and guess["confidence"] < UNSURE]
    if unsure:
        notes.append(f"unsure: {', '.join(unsure)}")
    if proposed.get("undescribed"):
        notes.append(f"not described: {', '.join(proposed['undescribed'])}")
    return Change("+" if known is None else "~", f"{section}.{tool}", tuple(notes))


def _differences(known: Mapping[str, Any], entry: Mapping[str, Any]) -> Iterator[str]:
    if known["effect"] != entry["effect"]:
        yield f"effect {known['effect']} → {entry['effect']}"
    for pointer in sorted(known["args"].keys() | entry["args"].keys()):
        before, after = (it["args"].get(pointer) for it in (known, entry))
        if before != after:
            yield f"{pointer} {_spelled(before)} → {_spelled(after)}"
    for member in ("relays", "result", "clearance", "fields", "resource"):
        if known.get(member) != entry.get(member):
            yield f"{member} {'dropped' if member not in entry else 'changed'}"


def _spelled(argument: Mapping[str, str] | None) -> str:
    return "nothing" if argument is None else f"{argument['role']} {argument['type']}"
