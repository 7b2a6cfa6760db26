"""What OPA makes of a bundle's sources: the compiled policy, the rules index, the receipt, its complaints.

For authors; loading and deciding need none of it.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trionyx_policies.bundle import ENTRYPOINT, INDEX, RECEIPT, WASM, read_files
from trionyx_policies.errors import BundleError
from trionyx_policies.gate import sources_digest
from trionyx_policies.toolchain import opa_version, run

KINDS: Final = ("deny", "approve", "allow", "oblige", "label")
_FLAGS: Final = ("--capabilities", "../capabilities.json", "--ignore", "*_test.rego")
_PREAMBLE = re.compile(r"^(?:error: )?(?:load error: )?(?:\d+ errors? occurred(?: during loading)?: )?")
_PLACE = re.compile(r"^(?:policy/)?(\S+?\.rego):(\d+): (.*)$")


@dataclass(frozen=True, slots=True)
class Build:
    """The files below `build/`, by path relative to the bundle."""

    files: Mapping[str, bytes]

    def write(self, directory: Path) -> None:
        """Write them into a bundle directory."""
        for name, content in self.files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


@dataclass(frozen=True, slots=True)
class Contributed:
    """Where a rule is contributed, and to which of the sets in `KINDS`."""

    kind: str
    file: str
    row: int


def compile_bundle(directory: Path, opa: Path) -> Build:
    """Compile a bundle directory's sources; writes nothing.

    Raises:
        BundleError: OPA refuses the sources, or a rule lacks what the index needs.
    """
    problems = check_sources(directory, opa)
    if problems:
        raise BundleError(tuple(problems))
    index, problems = index_rules(directory, opa)
    if problems:
        raise BundleError(tuple(problems))
    wasm = _compile(directory, opa)
    receipt = {
        "schema": "trionyx.build/v1",
        "opa": ".".join(map(str, opa_version(opa))),
        "sources": sources_digest(read_files(directory)),
        WASM: hashlib.sha256(wasm).hexdigest(),
        INDEX: hashlib.sha256(index).hexdigest(),
    }
    return Build({WASM: wasm, INDEX: index, RECEIPT: _readable(receipt)})


def check_sources(directory: Path, opa: Path) -> list[str]:
    """Let OPA check the sources strictly, against the schemas and the admitted built-ins."""
    done = run(opa, "check", "--strict", "--schema", "../schemas", *_FLAGS, ".", cwd=directory / "policy")
    return [] if done.returncode == 0 else _complaints(done.stderr or done.stdout)


def index_rules(directory: Path, opa: Path) -> tuple[bytes, list[str]]:
    """Build the rules index from METADATA.

    Returns:
        The index file's content, and every problem: an id in no METADATA or in two, METADATA without rule,
        missing members.
    """
    done = run(opa, "inspect", "--annotations", "--format", "json", "policy", cwd=directory)
    if done.returncode != 0:
        return b"", _complaints(done.stderr or done.stdout)
    problems: list[str] = []
    described: dict[str, dict[str, str]] = {}
    for found in json.loads(done.stdout).get("annotations", []):
        path = [step["value"] for step in found["path"]]
        if found["annotations"].get("scope") != "rule" or path[1:3] != ["trionyx", "policy"]:
            continue
        place = f"{found['location']['file']}:{found['location']['row']}"
        entry = _described(found["annotations"], path[3], place, problems)
        if entry is None:
            continue
        if entry["id"] in described:
            problems.append(f"{place}: rule {entry['id']} is described twice")
        described[entry["id"]] = entry
    contributed, unreadable = contributed_rules(directory, opa)
    problems += unreadable
    for identity, rule in sorted(contributed.items()):
        if identity not in described:
            place = f"{rule.file}:{rule.row}"
            problems.append(f"{place}: rule {identity} has no METADATA with custom.id {identity}")
    for identity in sorted(set(described) - set(contributed)):
        problems.append(f"policy: METADATA describes rule {identity}, which no rule contributes")
    entries = [
        described[identity] | {"kind": contributed[identity].kind}
        for identity in sorted(described)
        if identity in contributed
    ]
    return _readable({"schema": "trionyx.rules/v1", "rules": entries}), problems


def _described(
    annotations: Mapping[str, Any], pack: str, place: str, problems: list[str]
) -> dict[str, str] | None:
    custom = annotations.get("custom", {})
    members = {
        "id": custom.get("id"),
        "pack": pack,
        "title": annotations.get("title"),
        "remedy": custom.get("remedy"),
        "severity": custom.get("severity"),
        "owner": custom.get("owner"),
    }
    missing = [name for name, value in members.items() if not isinstance(value, str)]
    problems += [
        f"{place}: METADATA lacks {'title' if name == 'title' else 'custom.' + name}" for name in missing
    ]
    return None if missing else {name: str(value) for name, value in members.items()}


def contributed_rules(directory: Path, opa: Path) -> tuple[dict[str, Contributed], list[str]]:
    """Read from the syntax tree which rules the packs contribute.

    An id must be a literal in the head of a partial set: only then is the index known to be complete.

    Returns:
        The rules by id, and every problem found.
    """
    rules: dict[str, Contributed] = {}
    problems: list[str] = []
    for source in sorted((directory / "policy" / "packs").glob("*.rego")):
        if source.name.endswith("_test.rego"):
            continue
        name = source.relative_to(directory).as_posix()
        done = run(opa, "parse", "--format", "json", "--json-include", "locations", name, cwd=directory)
        if done.returncode != 0:
            problems += _complaints(done.stderr or done.stdout)
            continue
        for rule in json.loads(done.stdout).get("rules", []):
            head = rule["head"]
            if head["name"] not in KINDS:
                continue
            row = head["location"]["row"]
            identity = _literal_id(head.get("key"))
            if identity is None:
                problems.append(f"{name}:{row}: {head['name']} must contain an object with a literal id")
            elif identity in rules and rules[identity].kind != head["name"]:
                problems.append(f"{name}:{row}: rule {identity} is contributed to two kinds of sets")
            else:
                rules.setdefault(identity, Contributed(head["name"], name, row))
    return rules, problems


def _literal_id(key: Mapping[str, Any] | None) -> str | None:
    if key is None or key["type"] != "object":
        return None
    for name, value in key["value"]:
        if name["value"] == "id" and value["type"] == "string":
            return str(value["value"])
    return None


def _compile(directory: Path, opa: Path) -> bytes:
    with tempfile.TemporaryDirectory(prefix="trionyx-build-") as scratch:
        archive = Path(scratch) / "bundle.tar.gz"
        target = ("--target", "wasm", "--entrypoint", ENTRYPOINT, "--output", str(archive))
        done = run(opa, "build", *target, *_FLAGS, ".", cwd=directory / "policy")
        if done.returncode != 0:
            raise BundleError(tuple(_complaints(done.stderr or done.stdout)))
        with tarfile.open(archive) as members:
            wasm = members.extractfile("/policy.wasm")
            if wasm is None:
                raise BundleError(("policy: opa made no compiled policy",))
            return wasm.read()


def _complaints(text: str) -> list[str]:
    """Turn OPA's report into `path: message` lines; what does not name a place is kept as it is."""
    found: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        match = _PLACE.match(_PREAMBLE.sub("", stripped))
        if match:
            found.append(f"policy/{match[1]}:{match[2]}: {match[3]}")
    return found or [
        f"policy: {text.strip().splitlines()[0] if text.strip() else 'opa failed without a word'}"
    ]


def _readable(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"
