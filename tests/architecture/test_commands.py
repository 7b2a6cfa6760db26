"""Each installed command says which version it is, and explains itself, without doing anything."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("name", sorted(PROJECT["scripts"]))
@pytest.mark.parametrize("option", ["--version", "--help"])
def test_a_command_introduces_itself(tmp_path: Path, name: str, option: str) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name(name), option], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    if option == "--version":
        assert done.stdout == f"{name} {PROJECT['version']}\n"
    else:
        assert done.stdout.startswith(f"usage: {name} ")
        assert "--version" in done.stdout
    assert list(tmp_path.iterdir()) == []
