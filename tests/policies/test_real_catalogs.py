"""The catalog describes every tool and argument that the real servers list, and no tool that they lack."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trionyx_policies.bundle import Bundle
from trionyx_testing.parts import need

_HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}}


def command_of(section: str, cwd: Path) -> list[str]:
    """The command line of a real server."""
    if section == "filesystem":
        return [str(need("mcp-server-filesystem")), str(cwd)]
    return [sys.executable, "-m", f"mcp_server_{section}"]


def listed(command: list[str], cwd: Path) -> dict[str, Any]:
    """Ask a stdio server for its tools; the input schema of each by name."""
    messages = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": _HELLO},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
    ]
    with subprocess.Popen(
        command,
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        try:
            server.stdin.write(b"".join(json.dumps(message).encode() + b"\n" for message in messages))
            server.stdin.flush()
            for line in server.stdout:
                answer = json.loads(line)
                if answer.get("id") == 2:
                    return {tool["name"]: tool["inputSchema"] for tool in answer["result"]["tools"]}
        finally:
            server.kill()
    raise AssertionError(f"{command[0]} lists no tools")


def places(schema: dict[str, Any], pointer: str = "") -> Iterator[str]:
    """Give the JSON pointer of every leaf that a schema describes, `*` for elements."""
    options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    for option in options:
        if option.get("properties"):
            for name, inner in option["properties"].items():
                yield from places(inner, f"{pointer}/{name}")
        elif option.get("type") == "array":
            yield from places(option.get("items", {}), f"{pointer}/*")
        elif pointer:
            yield pointer


@pytest.mark.slow
@pytest.mark.guarantee("G21")
@pytest.mark.parametrize("section", ["filesystem", "git", "fetch"])
def test_the_catalog_describes_the_real_server(bundle: Bundle, tmp_path: Path, section: str) -> None:
    data: Any = bundle.data
    described = data["trionyx"]["catalog"]["servers"][section]["tools"]
    real = listed(command_of(section, tmp_path), tmp_path)
    assert described.keys() == real.keys()
    assert {name: set(tool["args"]) for name, tool in described.items()} == {
        name: set(places(schema)) for name, schema in real.items()
    }
