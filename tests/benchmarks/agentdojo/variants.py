"""The policies that are compared: none, session taint, and the shipped one with nothing added but a suite's catalog.

A catalog file is a fragment of the bundle's data (`{"catalog": {"servers": …, "sets": …}, "egress": …}`), merged
over the shipped data. It describes tools; no rule and no task is in it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import trionyx_policies

SHIPPED = Path(trionyx_policies.__file__).parent / "bundle"
CATALOGS = Path(__file__).resolve().parent / "catalogs"

BOTTOM = {"categories": [], "integrity": "user", "level": "public", "readers": "*"}
ANY = {"categories": "*", "integrity": "public", "level": "secret", "readers": []}
RANKS = ["user", "system", "org", "public"]


catalogs = CATALOGS
"""Where catalogs are looked for; `run.py --catalogs` changes it."""


def catalog(suite: str) -> dict[str, Any]:
    """Return a suite's fragment of the bundle's data."""
    found: dict[str, Any] = json.loads((catalogs / f"{suite}.json").read_text())
    return found


def effects(suite: str) -> dict[str, str]:
    """Return the effect of each tool, as the suite's catalog has it."""
    tools = catalog(suite)["catalog"]["servers"][suite]["tools"]
    return {name: entry["effect"] for name, entry in tools.items()}


def listings(suite: str, tools: list[dict[str, Any]]) -> list[str]:
    """Return the tools that read and need no argument."""
    known = effects(suite)
    return [
        tool["name"]
        for tool in tools
        if known[tool["name"]] == "read" and not tool["inputSchema"].get("required")
    ]


def make(
    variant: str,
    suite: str,
    tools: list[dict[str, Any]],
    target: Path,
    *,
    changes: Mapping[str, Any] | None = None,
) -> Path:
    """Write a variant's bundle for a suite.

    Args:
        variant: a key of VARIANTS.
        suite: has a catalog file.
        tools: the suite's MCP descriptors.
        target: where to; must not exist.
        changes: a fragment of data to try over the shipped variant's; the other variants are what they are.
    """
    shutil.copytree(SHIPPED, target, ignore=shutil.ignore_patterns("*_test.rego"))
    VARIANTS[variant](suite, tools, target)
    if variant == "shipped":
        _merge_into(target, changes or {})
    return target


def _shipped(suite: str, _: list[dict[str, Any]], target: Path) -> None:
    _merge_into(target, catalog(suite))


def _none(suite: str, _: list[dict[str, Any]], target: Path) -> None:
    """Allow every call: each rule is switched off, nothing is hidden, every argument is just text."""
    entries = {
        name: {
            "effect": "read",
            "args": {
                place: {"role": "plain", "type": _loosest(argument["type"])}
                for place, argument in entry["args"].items()
            },
            "result": BOTTOM,
            "clearance": ANY,
        }
        for name, entry in catalog(suite)["catalog"]["servers"][suite]["tools"].items()
    }
    _merge_into(target, {"catalog": {"servers": {suite: {"tools": entries}}}})
    _switch_off_all_but(target, {})


def _taint(suite: str, _: list[dict[str, Any]], target: Path) -> None:
    """Session taint, per tool: a result that somebody else can have written ends every further effect."""
    fragment = catalog(suite)
    named = fragment["catalog"]["labels"]
    for entry in fragment["catalog"]["servers"][suite]["tools"].values():
        fields = entry.pop("fields", {})
        entry.pop("resource", None)
        labels = [field["label"] for field in fields.values()]
        labels += [case["label"] for field in fields.values() for case in field.get("when", [])]
        spelt = [named[label] for label in labels] or [entry["result"]]
        worst = max(RANKS.index(label["integrity"]) for label in spelt)
        # Two ranks only: what other people write is untrusted, whoever they are.
        rank = "public" if worst >= RANKS.index("org") else "system"
        entry["result"] = {**BOTTOM, "integrity": rank}
        entry["clearance"] = ANY
        for argument in entry["args"].values():
            argument["type"] = _loosest(argument["type"])
    _merge_into(target, fragment)
    _switch_off_all_but(target, {"BIBA-001": "deny"})


VARIANTS: dict[str, Callable[[str, list[dict[str, Any]], Path], None]] = {
    "none": _none,
    "taint": _taint,
    "shipped": _shipped,
}


def _loosest(type_: str) -> str:
    """Return the type that takes whatever an argument of a type may be, and finds nothing in it."""
    return type_ if type_ in ("amount", "boolean", "enum", "id", "integer") else "text"


def _merge_into(bundle: Path, fragment: Mapping[str, Any]) -> None:
    for member, value in fragment.items():
        path = bundle / "data" / f"{member}.json"
        document = json.loads(path.read_text())
        document["trionyx"][member] = _merged(document["trionyx"][member], value)
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False))


def _merged(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        changed = {name: _merged(old[name], value) if name in old else value for name, value in new.items()}
        return {**old, **changed}
    return new


def _switch_off_all_but(bundle: Path, kept: Mapping[str, str]) -> None:
    """Switch every rule off but these, and show all text; what the catalog does not know stays forbidden."""
    index = json.loads((bundle / "build" / "rules.json").read_text())
    switches = {
        rule["id"]: "off"
        for rule in index["rules"]
        if rule["kind"] in ("deny", "approve") and rule["pack"] != "catalog"
    } | kept
    _merge_into(bundle, {"rules": switches, "flow": {"hide_text": False}})
