"""A policy bundle: Rego packs, data that security teams edit, schemas, capabilities, manifest, compiled Rego.

Loading needs no OPA. It checks everything that can be checked without evaluating, and reports all problems
at once. It does not compile: changed Rego needs `trionyx-policy build`, changed data needs nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import cast

import orjson

from trionyx_policies.decision import Rule
from trionyx_policies.document import Json, canonical
from trionyx_policies.errors import BundleError
from trionyx_policies.gate import examine
from trionyx_policies.schema import SHIPPED

MANIFEST = "manifest.json"
CAPABILITIES = "capabilities.json"
WASM = "build/policy.wasm"
INDEX = "build/rules.json"
RECEIPT = "build/build.json"
ENTRYPOINT = "trionyx/main/decision"

_MAX_FILE = 16 << 20
_IGNORED = ("README", "LICENSE", ".", "__")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that passed the gate.

    Args:
        digest: hex SHA-256 over the RFC 8785 form of the sorted `[path, sha256]` list of `files`.
        revision: the manifest's; rises with every reload.
        packs: names of the packs that must answer every call, sorted.
        rules: what the index says of each rule id.
        data: the data document, `{"trionyx": {"catalog": …, "clearances": …, …}}`.
        wasm: the compiled policy; independent of `data`.
        files: every file that takes part, by path relative to the bundle; tests and readmes do not.
        notes: what is in order and yet worth knowing, each as `path: message`: rules switched off, one-sided peers,
            fields below `result`.
    """

    digest: str
    revision: int
    packs: tuple[str, ...]
    rules: Mapping[str, Rule]
    data: Mapping[str, Json]
    wasm: bytes
    files: Mapping[str, bytes]
    notes: tuple[str, ...] = ()


def load_bundle(source: Path | None = None) -> Bundle:
    """Load and examine a bundle directory.

    Args:
        source: the directory; None for the bundle in this package.

    Raises:
        BundleError: with every problem found, each as `path: message`.
    """
    files = read_files(SHIPPED if source is None else source)
    contents, problems = examine(files)
    if contents is None or problems:
        raise BundleError(tuple(problems))
    return Bundle(
        digest=digest_of(files),
        revision=contents.revision,
        packs=contents.packs,
        rules=MappingProxyType(dict(contents.rules)),
        data=MappingProxyType(dict(contents.data)),
        wasm=files[WASM],
        files=MappingProxyType(files),
        notes=contents.notes,
    )


def read_files(source: Path) -> dict[str, bytes]:
    """Read the files of a bundle directory that take part in it, by POSIX path relative to it.

    Raises:
        BundleError: the directory or a file cannot be read, or a file has no place in a bundle.
    """
    if not source.is_dir():
        raise BundleError((f"{source}: not a directory",))
    files: dict[str, bytes] = {}
    problems: list[str] = []
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        if path.is_dir() or path.name.endswith("_test.rego") or path.name.startswith(_IGNORED):
            continue
        if not _has_place(PurePosixPath(name)):
            problems.append(f"{name}: has no place in a bundle")
            continue
        try:
            if path.stat().st_size > _MAX_FILE:
                problems.append(f"{name}: larger than {_MAX_FILE} bytes")
                continue
            files[name] = path.read_bytes()
        except OSError as error:
            problems.append(f"{name}: cannot be read ({error.strerror})")
    if problems:
        raise BundleError(tuple(problems))
    return files


def digest_of(files: Mapping[str, bytes]) -> str:
    """Compute the hex digest that names exactly these files."""
    listing: list[Json] = [[name, hashlib.sha256(files[name]).hexdigest()] for name in sorted(files)]
    return hashlib.sha256(canonical(listing)).hexdigest()


def data_document(bundle: Bundle) -> bytes:
    """Encode the bundle's data the way both engines are given it."""
    return orjson.dumps(cast("dict[str, Json]", dict(bundle.data)))


def _has_place(path: PurePosixPath) -> bool:
    match path.parts:
        case ("manifest.json" | "capabilities.json",):
            return True
        case ("policy", *_, name):
            return name.endswith(".rego")
        case ("data" | "schemas", name):
            return name.endswith(".json")
        case ("build", "policy.wasm" | "rules.json" | "build.json"):
            return True
        case _:
            return False
