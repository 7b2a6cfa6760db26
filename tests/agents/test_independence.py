"""The agents' package stands alone: it reaches the proxy by command, never by import."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import trionyx_agents

PACKAGE = Path(trionyx_agents.__file__).parent
OTHERS = {"trionyx_proxy", "trionyx_audit", "trionyx_policies"}


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.guarantee("G25")
def test_the_agents_import_nothing_of_ours() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 10
    assert {file.name: imported(file) & OTHERS for file in files if imported(file) & OTHERS} == {}


def test_only_the_runtime_loads_the_sdk_at_import() -> None:
    loaders = {file.name for file in PACKAGE.rglob("*.py") if "claude_agent_sdk" in imported(file)}
    assert loaders == {"claude.py", "profile.py"}
