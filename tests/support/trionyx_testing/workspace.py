"""A complete working directory of the proxy for a test: keys, a policy bundle that knows the tools, a configuration."""

from __future__ import annotations

import copy
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trionyx_policies
from trionyx_audit.keys import FileSigner, write_signer
from trionyx_audit.reading import records

SHIPPED = Path(trionyx_policies.__file__).parent / "bundle"
SUPPORT = Path(__file__).resolve().parents[1]

ANY_DATA = {"categories": "*", "integrity": "public", "level": "secret", "readers": []}
"""The clearance of a sink that anything may flow into."""


def label(integrity: str = "system", level: str = "public", **more: Any) -> dict[str, Any]:
    return {"categories": [], "integrity": integrity, "level": level, "readers": "*", **more}


def tool(
    effect: str = "read", result: dict[str, Any] | None = None, **args: tuple[str, str]
) -> dict[str, Any]:
    return {
        "effect": effect,
        "args": {
            "/" + name.replace("__", "/").replace("any", "*"): {"role": role, "type": type_}
            for name, (role, type_) in args.items()
        },
        "result": result or label(),
        "clearance": ANY_DATA,
    }


TEXT = {"text": ("content", "text")}

CATALOG: dict[str, dict[str, Any]] = {
    "echo": tool(**TEXT),
    "note": tool("local", **TEXT),
    "send": tool("egress", to__any=("target", "email"), body=("content", "text")),
    "forward_mail": tool("egress", id=("selector", "id"), to__any=("target", "email")) | {"relays": True},
    "move": tool("local", source=("target", "path"), destination=("target", "path")),
    "secret": tool(result=label("org", "secret")),
    "public": tool(result=label("public")),
    "fail": tool(**TEXT),
    "crash": tool("local", **TEXT),
    "hang": tool("local", **TEXT),
    "garbage": tool("local", **TEXT),
    "binary_garbage": tool("local", **TEXT),
    "huge": tool(bytes=("plain", "integer")),
    "progress": tool(steps=("plain", "integer")),
    "structured": tool(),
    "odd_block": tool(),
    "odd_type": tool(),
    "deaf": tool(),
    "chatty": tool(),
    "restless": tool(),
    "rpc_error": tool(),
    "environment": tool(),
    "mails": tool(folder=("plain", "text"))
    | {
        "result": label("public", "internal"),
        "fields": {
            "/*/id": {"type": "id", "label": label("system", "internal")},
            "/*/sender": {"type": "email", "label": label("public", "internal")},
            "/*/recipients/*": {"type": "email", "label": label("system", "internal")},
            "/*/body": {"type": "text", "label": label("public", "internal")},
        },
    },
    "typed": tool(
        "local",
        **{kind: ("target", kind) for kind in ("date", "email", "host", "id", "path", "url")},
        code=("plain", "text"),
        value=("amount", "amount"),
    ),
}
"""What the catalog says of `trionyx_testing.toolserver`; its tool `uncatalogued` is left out on purpose."""


def bundle(directory: Path, *, revision: int = 1, limits: Mapping[str, Any] | None = None) -> Path:
    """Write a copy of the shipped bundle whose data knows the test tools and has roomy limits."""
    shutil.copytree(SHIPPED, directory, dirs_exist_ok=True)
    catalog = json.loads((directory / "data/catalog.json").read_text())
    catalog["trionyx"]["catalog"]["servers"]["test"] = {"tools": copy.deepcopy(CATALOG)}
    (directory / "data/catalog.json").write_text(json.dumps(catalog))
    flow = json.loads((directory / "data/flow.json").read_text())
    flow["trionyx"]["flow"]["hide_text"] = False  # tests of handles switch it on
    (directory / "data/flow.json").write_text(json.dumps(flow))
    found = json.loads((directory / "data/limits.json").read_text())
    found["trionyx"]["limits"] |= {
        "max_calls": 1_000_000,
        "max_same_call": 1_000_000,
        "max_denied": 1_000_000,
    }
    found["trionyx"]["limits"]["max_by_effect"] = {}
    found["trionyx"]["limits"] |= limits or {}
    (directory / "data/limits.json").write_text(json.dumps(found))
    manifest = json.loads((directory / "manifest.json").read_text())
    (directory / "manifest.json").write_text(json.dumps(manifest | {"revision": revision}))
    return directory


def toolserver(alias: str = "test", *, env: Mapping[str, str] | None = None, catalog: str = "test") -> str:
    """Return the configuration of one test tool server."""
    whole = {"PYTHONPATH": str(SUPPORT), **(env or {})}
    pairs = ", ".join(f"{name} = {json.dumps(value)}" for name, value in whole.items())
    return (
        f"[upstreams.{alias}]\n"
        f'command = ["{sys.executable}", "-m", "trionyx_testing.toolserver"]\n'
        f'catalog = "{catalog}"\n'
        f"env = {{ {pairs} }}\n"
    )


@dataclass(frozen=True, slots=True)
class Workspace:
    """Paths of a working directory.

    Args:
        root: holds everything.
        config: the configuration file.
        journal: where the tool server journals what it really did.
    """

    root: Path
    config: Path
    journal: Path

    @classmethod
    def create(
        cls,
        root: Path,
        *,
        engine: str = "wasm",
        upstreams: str | None = None,
        limits: str = "",
        runs: str = "",
        policy: str = "",
        deadline_ms: int = 2000,
        policy_limits: Mapping[str, Any] | None = None,
    ) -> Workspace:
        """Write a working directory.

        Args:
            root: an existing directory outside of which nothing is written.
            engine: `wasm` or `opa`.
            upstreams: TOML of the upstream tables; one test tool server by default.
            limits: TOML lines of the `[limits]` table.
            runs: more TOML lines of the `[runs]` table.
            policy: more TOML lines of the `[policy]` table.
            deadline_ms: of one decision.
            policy_limits: members of the bundle's limits data.
        """
        from trionyx_testing.parts import find

        bundle(root / "bundle", limits=policy_limits)
        journal = root / "journal.jsonl"
        launcher = FileSigner.from_seed(b"L" * 32)
        write_signer(root / "audit.key", FileSigner.from_seed(b"A" * 32))
        write_signer(root / "launcher.key", launcher)
        (root / "launcher.pub").write_bytes(_public_pem(launcher))
        opa = f'opa_command = "{find("opa")}"\n' if engine == "opa" else ""
        upstreams = upstreams or toolserver(env={"TOOL_JOURNAL": str(journal)})
        config = root / "config.toml"
        config.write_text(
            f'[policy]\nbundle = "bundle"\nengine = "{engine}"\n{opa}'
            f'deadline_ms = {deadline_ms}\n{policy}\n[audit]\ndirectory = "audit"\norigin = "test.example/proxy"\n'
            f'key = "audit.key"\ndeadline_ms = 5000\n'
            f'[runs]\nlauncher_key = "launcher.key"\nlauncher_public_key = "launcher.pub"\n'
            f'unregistered = "allow"\n{runs}\n'
            f"[limits]\n{limits}\n{upstreams}"
        )
        return cls(root, config, journal)

    def logs(self) -> list[Path]:
        """Return the log directories, one per run."""
        directory = self.root / "audit"
        return sorted(path for path in directory.iterdir() if path.is_dir()) if directory.is_dir() else []

    def records(self) -> list[tuple[str, dict[str, Any]]]:
        """Return type and body of every record of the only run."""
        (log,) = self.logs()
        return [(record.type, dict(record.body)) for record in records(log)]

    def effects(self) -> list[dict[str, Any]]:
        """Return what the tool server really did, in order."""
        return list(self._journal())

    def _journal(self) -> Iterator[dict[str, Any]]:
        if self.journal.exists():
            for line in self.journal.read_text().splitlines():
                yield json.loads(line)


def _public_pem(signer: FileSigner) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return signer.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
