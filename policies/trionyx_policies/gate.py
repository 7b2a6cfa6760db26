"""The load gate: what must hold of a bundle's files before anything in it may decide.

Works on bytes, without OPA and without evaluating. The engines examine the compiled policy itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, cast

from trionyx_policies.decision import Rule
from trionyx_policies.document import DocumentError, Json, canonical, parse
from trionyx_policies.schema import DATA, INDEX, MANIFEST, RECEIPT, SHIPPED, Schema

_REQUIRED: Final = (
    "manifest.json",
    "capabilities.json",
    "policy/main.rego",
    "build/policy.wasm",
    "build/rules.json",
    "build/build.json",
)
_HOST_SCHEMAS: Final = (
    "schemas/decision.json",
    "schemas/input.json",
    "schemas/manifest.json",
    "schemas/rules.json",
    "schemas/build.json",
)
_RESERVED: Final = ("main", "lib", "policy")


@dataclass(frozen=True, slots=True)
class Contents:
    """What the files say, once nothing is wrong with them.

    Args:
        notes: rules that are switched off, agents that list each other on one side only, and fields that a result has
            only if it says more than they do; each as `path: message`.
    """

    revision: int
    packs: tuple[str, ...]
    rules: Mapping[str, Rule]
    data: Mapping[str, Json]
    notes: tuple[str, ...]


def examine(files: Mapping[str, bytes]) -> tuple[Contents | None, list[str]]:
    """Examine a bundle's files.

    Args:
        files: content by path relative to the bundle.

    Returns:
        What they say, or None; and every problem found, each `path: message`, sorted.
    """
    problems = [f"{name}: missing" for name in _REQUIRED if name not in files]
    problems += [
        f"{name}: must be the host's own, unchanged"
        for name in _HOST_SCHEMAS
        if files.get(name) != (SHIPPED / name).read_bytes()
    ]
    documents: dict[str, Json] = {}
    for name in sorted(name for name in files if name.endswith(".json")):
        try:
            documents[name] = parse(files[name])
        except DocumentError as error:
            problems.append(f"{name}: {error}")

    data, owners = _merged(documents, problems)
    for schema in _data_schemas(files, problems):
        for place, message in schema.problems(data):
            member, _, _ = place.partition(".")
            problems.append(f"{owners.get(member, 'data')}: trionyx{'.' * bool(place)}{place}: {message}")
    problems += _capability_problems(documents.get("capabilities.json"))
    manifest_problems = _misfits("manifest.json", MANIFEST, documents.get("manifest.json"))
    index_problems = _misfits("build/rules.json", INDEX, documents.get("build/rules.json"))
    receipt_problems = _misfits("build/build.json", RECEIPT, documents.get("build/build.json"))
    problems += manifest_problems + index_problems + receipt_problems
    if "build/build.json" in documents and not receipt_problems:
        problems += _stale(files, cast("dict[str, str]", documents["build/build.json"]))
    if manifest_problems or index_problems or not {"manifest.json", "build/rules.json"} <= documents.keys():
        return None, sorted(set(problems))

    manifest = cast("dict[str, Json]", documents["manifest.json"])
    packs = cast("list[str]", manifest["packs"])
    index = cast("dict[str, list[dict[str, str]]]", documents["build/rules.json"])["rules"]
    rules = _rules(index, problems)
    switches, owner = data.get("rules"), owners.get("rules", "data")
    positions = switches if isinstance(switches, dict) else {}
    problems += _switch_problems(owner, positions, index)
    problems += _pack_problems(files, packs, cast("list[str]", manifest["mandatory"]), rules)
    contents = Contents(
        revision=cast(int, manifest["revision"]),
        packs=tuple(sorted(packs)),
        rules=rules,
        data={"trionyx": data},
        notes=(
            *(f"{owner}: {note}" for note in _switched_off(positions, rules)),
            *(f"{owners['peers']}: {note}" for note in _one_sided(data.get("peers"))),
            *(f"{owners['catalog']}: {note}" for note in _wrapped(data.get("catalog"))),
        ),
    )
    return contents, sorted(set(problems))


def sources_digest(files: Mapping[str, bytes]) -> str:
    """Compute the digest of what a compiled policy depends on: Rego, schemas and capabilities, not data."""
    sources = [name for name in sorted(files) if name.endswith(".rego") or name.startswith("schemas/")]
    listing: list[Json] = [
        [name, hashlib.sha256(files[name]).hexdigest()] for name in ["capabilities.json", *sources]
    ]
    return hashlib.sha256(canonical(listing)).hexdigest()


def _switched_off(positions: Mapping[str, Json], rules: Mapping[str, Rule]) -> list[str]:
    """Say which rules are switched off, all in one line."""
    off = [identity for identity in sorted(positions) if positions[identity] == "off" and identity in rules]
    return [f"switched off: {', '.join(off)}"] if off else []


def _wrapped(catalog: Json) -> Iterator[str]:
    """Say where every field is looked for below a member `result`, which a server's wrapping of it is not."""
    servers = catalog.get("servers") if isinstance(catalog, dict) else None
    for section, server in sorted(servers.items()) if isinstance(servers, dict) else ():
        tools = server.get("tools") if isinstance(server, dict) else None
        for name, tool in sorted(tools.items()) if isinstance(tools, dict) else ():
            fields = tool.get("fields") if isinstance(tool, dict) else None
            places = [place for place in fields if place] if isinstance(fields, dict) else []
            if places and all(place.split("/")[1:2] == ["result"] for place in places):
                yield (
                    f"{section}.{name}: fields begin with /result; where `result` is the only member of structured "
                    "content, it is taken off, and they begin with what is in it"
                )


def _one_sided(peers: Json) -> list[str]:
    """Say which agents would talk to one that does not list them: nothing passes between those."""
    listed = {
        (agent, side, other)
        for agent, peer in (peers.items() if isinstance(peers, dict) else ())
        if isinstance(peer, dict)
        for side in ("send_to", "receive_from")
        if isinstance(others := peer.get(side), list)
        for other in others
    }
    back = {"send_to": "receive_from", "receive_from": "send_to"}
    return [
        f"`{agent}` lists `{other}` in {side}, and `{other}` does not list `{agent}` in {back[side]}"
        for agent, side, other in sorted(listed, key=str)
        if (other, back[side], agent) not in listed
    ]


def _merged(documents: Mapping[str, Json], problems: list[str]) -> tuple[dict[str, Json], dict[str, str]]:
    """Merge `data/*.json`; each file owns the members that it defines below `trionyx`."""
    merged: dict[str, Json] = {}
    owners: dict[str, str] = {}
    for name, document in documents.items():
        if not name.startswith("data/"):
            continue
        match document:
            case {"trionyx": dict(members), **others} if not others:
                for member, value in members.items():
                    if member in merged:
                        problems.append(f"{name}: trionyx.{member} is defined in {owners[member]} too")
                    elif member in _RESERVED:
                        problems.append(f"{name}: trionyx.{member} is a place for rules, not data")
                    else:
                        merged[member] = value
                        owners[member] = name
            case _:
                problems.append(f"{name}: must be an object with the one member trionyx")
    return merged, owners


def _misfits(name: str, schema: Schema, document: Json) -> list[str]:
    if document is None:
        return []
    return [
        f"{name}: {place + ': ' if place else ''}{message}" for place, message in schema.problems(document)
    ]


def _data_schemas(files: Mapping[str, bytes], problems: list[str]) -> Iterator[Schema]:
    """Give the host's schema of the documents it reads, and the bundle's own, which may describe more."""
    yield DATA
    text = files.get("schemas/data.json")
    if text is None:
        problems.append("schemas/data.json: missing")
        return
    try:
        yield Schema.of("data", text)
    except ValueError as error:
        problems.append(f"schemas/data.json: {str(error).splitlines()[0]}")


def _capability_problems(document: Json) -> Iterator[str]:
    """Refuse built-ins that the host does not admit: they could fail, hang, or reach outside."""
    if document is None:
        return
    admitted = builtins(parse((SHIPPED / "capabilities.json").read_bytes()))
    try:
        named = builtins(document)
    except (KeyError, TypeError):
        yield "capabilities.json: not a list of capabilities"
        return
    for name in sorted(named - admitted):
        yield f"capabilities.json: built-in {name} is not admitted"


def builtins(capabilities: Json) -> frozenset[str]:
    """Name the built-ins that a capabilities document allows.

    Raises:
        KeyError, TypeError: the document has another shape.
    """
    document = cast("dict[str, list[dict[str, str]]]", capabilities)
    return frozenset(builtin["name"] for builtin in document["builtins"])


def _stale(files: Mapping[str, bytes], receipt: Mapping[str, str]) -> Iterator[str]:
    for name in ("build/policy.wasm", "build/rules.json"):
        if name in files and hashlib.sha256(files[name]).hexdigest() != receipt[name]:
            yield f"{name}: not what the last build made; run trionyx-policy build"
    if "capabilities.json" in files and sources_digest(files) != receipt["sources"]:
        yield "build/policy.wasm: not compiled from these sources; run trionyx-policy build"


def _rules(entries: list[dict[str, str]], problems: list[str]) -> dict[str, Rule]:
    rules: dict[str, Rule] = {}
    for entry in entries:
        if entry["id"] in rules:
            problems.append(f"build/rules.json: rule {entry['id']} is listed twice")
        if entry["pack"] == "host" or entry["id"].startswith("TRX-"):
            problems.append(f"build/rules.json: rule {entry['id']} claims to be the host's")
        rules[entry["id"]] = Rule(entry["id"], entry["pack"], entry["title"], entry["remedy"])
    return rules


def _switch_problems(owner: str, positions: Mapping[str, Json], index: list[dict[str, str]]) -> Iterator[str]:
    """Refuse switches that would do nothing, or too much.

    The catalog's own rules have none: every other rule relies on facts that are only true of described arguments.
    """
    described = {entry["id"]: entry for entry in index}
    for identity in sorted(positions):
        entry = described.get(identity)
        if entry is None:
            yield f"{owner}: trionyx.rules.{identity}: there is no such rule"
        elif entry["kind"] not in ("deny", "approve"):
            yield f"{owner}: trionyx.rules.{identity}: the rule neither denies nor asks, and has no switch"
        elif entry["pack"] == "catalog":
            yield f"{owner}: trionyx.rules.{identity}: rules of the pack catalog have no switch"


def _pack_problems(
    files: Mapping[str, bytes], packs: list[str], mandatory: list[str], rules: Mapping[str, Rule]
) -> Iterator[str]:
    present = {
        name.removeprefix("policy/packs/").removesuffix(".rego") for name in files if "/packs/" in name
    }
    for pack in sorted(set(packs) - present):
        yield f"manifest.json: pack {pack} has no file policy/packs/{pack}.rego"
    for pack in sorted(present - set(packs)):
        yield f"policy/packs/{pack}.rego: pack {pack} is not in the manifest"
    for pack in sorted(set(mandatory) - set(packs)):
        yield f"manifest.json: mandatory pack {pack} is not among the packs"
    for rule in rules.values():
        if rule.pack not in packs:
            yield f"build/rules.json: rule {rule.id} is of pack {rule.pack}, which the manifest lacks"
