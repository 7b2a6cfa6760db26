"""The proposal: one file per section, `trionyx.proposal/v1`, outside of any bundle.

Result labels in a proposal are always untrusted and internal; what a server's fields are worth is for a person to
say. Nothing of a listing's prose is copied: names and numbers only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import orjson

from trionyx_policies.document import DocumentError, Json, canonical, parse
from trionyx_policies.errors import BundleError
from trionyx_policies.proposal.inference import (
    Guess,
    guess_arguments,
    guess_effect,
    guess_relaying,
    guess_role,
    guess_type,
)
from trionyx_policies.proposal.layout import lay_out
from trionyx_policies.schema import SHIPPED, Schema

SCHEMA: Final = "trionyx.proposal/v1"
MAX_TOOLS: Final = 1_024

_TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SECTION: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RESULT: Final[Json] = {"categories": [], "integrity": "public", "level": "internal", "readers": "*"}
_CAUTIOUS: Final[Json] = {"categories": "*", "integrity": "public", "level": "internal", "readers": "*"}
_STRICT: Final[Json] = {"categories": "*", "integrity": "org", "level": "internal", "readers": "*"}
_GRAVE: Final = frozenset({"money", "authz", "destroy"})


def propose(section: str, tools: Sequence[Json]) -> dict[str, Json]:
    """Guess a section of the catalog from listed tools.

    Args:
        section: its name.
        tools: descriptors as a `tools/list` gives them.

    Raises:
        BundleError: the section's name is not one, or nothing that could be described is listed.
    """
    if not _SECTION.fullmatch(section):
        raise BundleError((f"{section!a}: a section is named by letters, digits, - and _",))
    proposed: dict[str, Json] = {}
    skipped = 0
    for descriptor in tools[:MAX_TOOLS]:
        name = descriptor.get("name") if isinstance(descriptor, dict) else None
        if not isinstance(descriptor, dict) or not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
            skipped += 1
        elif name in proposed:
            # Which of the two would be called is the server's choice.
            raise BundleError((f"{name}: listed twice",))
        else:
            proposed[name] = cast(Json, _tool(name, descriptor))
    if not proposed:
        raise BundleError((f"{section}: no tool is listed",))
    return {
        "schema": SCHEMA,
        "section": section,
        "tools_sha256": hashlib.sha256(_digestible(tools)).hexdigest(),
        "skipped": skipped + max(0, len(tools) - MAX_TOOLS),
        "tools": proposed,
    }


def _tool(name: str, descriptor: Mapping[str, Json]) -> dict[str, Any]:
    leaves, undescribed = guess_arguments(descriptor.get("inputSchema"))
    types = {pointer: guess_type(member, leaf) for pointer, (member, leaf) in leaves.items()}
    kinds = {member: types[pointer].value for pointer, (member, _) in leaves.items()}
    effect = guess_effect(name, descriptor.get("annotations"), kinds)
    relaying = guess_relaying(name, effect.value)
    roles = {
        pointer: guess_role(member, types[pointer].value, effect.value)
        for pointer, (member, _) in leaves.items()
    }
    return {
        "entry": {
            "effect": effect.value,
            **({"relays": True} if relaying else {}),
            "args": {
                pointer: {"role": roles[pointer].value, "type": types[pointer].value} for pointer in leaves
            },
            "result": _RESULT,
            "clearance": _STRICT if effect.value in _GRAVE else _CAUTIOUS,
        },
        "effect": _reasoned(effect),
        **({"relays": _reasoned(relaying)} if relaying else {}),
        "args": {
            pointer: {
                "confidence": min(roles[pointer].confidence, types[pointer].confidence),
                "reason": f"{types[pointer].reason}; {roles[pointer].reason}",
            }
            for pointer in leaves
        },
        "undescribed": undescribed,
    }


def write_proposal(proposal: Mapping[str, Json], directory: Path) -> Path:
    """Write a proposal to `proposals/SECTION.json` below a directory; replaces an older one.

    Raises:
        BundleError: the directory is a bundle, in which nothing may lie that is not enforced.
    """
    if (directory / "manifest.json").exists():
        raise BundleError((f"{directory}: is a bundle; proposals lie outside",))
    path = directory / "proposals" / f"{proposal['section']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(lay_out(dict(proposal)))
    return path


def load_proposal(path: Path) -> dict[str, Json]:
    """Read a proposal.

    Raises:
        BundleError: it is none, with every problem.
        OSError: it cannot be read.
    """
    try:
        document = parse(path.read_bytes())
    except DocumentError as error:
        raise BundleError((f"{path}: {error}",)) from None
    problems = _schema().problems(document)
    if problems:
        raise BundleError(tuple(f"{path}: {place + ': ' if place else ''}{text}" for place, text in problems))
    return cast("dict[str, Json]", document)


def _schema() -> Schema:
    """Build the schema of a proposal around the catalog's own of a tool."""
    data = orjson.loads((SHIPPED / "schemas/data.json").read_bytes())
    server = data["properties"]["catalog"]["properties"]["servers"]["additionalProperties"]
    tools = server["properties"]["tools"]
    reasoned = {
        "type": "object",
        "properties": {
            "confidence": {"type": "number", "minimum": 0, "maximum": 1},
            "reason": {"type": "string", "maxLength": 1_024},
        },
        "required": ["confidence", "reason"],
        "additionalProperties": False,
    }
    proposed = {
        "type": "object",
        "properties": {
            "entry": tools["additionalProperties"],
            "effect": reasoned,
            "relays": reasoned,
            "args": {"type": "object", "additionalProperties": reasoned},
            "undescribed": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["entry"],
        "additionalProperties": False,
    }
    schema = {
        "$schema": data["$schema"],
        "$defs": data["$defs"],
        "type": "object",
        "properties": {
            "schema": {"const": SCHEMA},
            "section": {"type": "string", "pattern": f"^{_SECTION.pattern}$"},
            "tools_sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "skipped": {"type": "integer", "minimum": 0},
            "tools": {**tools, "additionalProperties": proposed, "minProperties": 1},
        },
        "required": ["schema", "section", "tools"],
        "additionalProperties": False,
    }
    return Schema.of("proposal", orjson.dumps(schema))


def _reasoned(guess: Guess) -> dict[str, Json]:
    return {"confidence": guess.confidence, "reason": guess.reason}


def _digestible(tools: Sequence[Json]) -> bytes:
    try:
        return canonical(list(tools))
    except DocumentError as error:
        raise BundleError((f"the listed tools have no canonical form: {error}",)) from None
