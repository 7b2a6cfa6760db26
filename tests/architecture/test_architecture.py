"""The shape of the repository: import contracts, layout, types, style, and what no file may contain."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], cwd=ROOT, capture_output=True, text=True, check=False
    )


def tracked() -> list[Path]:
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.guarantee("G25")
def test_every_import_contract_is_kept() -> None:
    outcome = run(BIN / "lint-imports", "--no-cache")
    assert outcome.returncode == 0, outcome.stdout


def test_types_are_strict() -> None:
    outcome = run(BIN / "mypy")
    assert outcome.returncode == 0, outcome.stdout


def test_style_is_clean() -> None:
    outcome = run(BIN / "ruff", "check", "--no-cache", ".")
    assert outcome.returncode == 0, outcome.stdout
    outcome = run(BIN / "ruff", "format", "--no-cache", "--check", ".")
    assert outcome.returncode == 0, outcome.stdout


def test_the_top_level_holds_nothing_else() -> None:
    visible = {path.relative_to(ROOT).parts[0] for path in tracked()}
    expected = {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "proxy",
        "policies",
        "agents",
        "audit",
        "tests",
    }
    assert {name for name in visible if not name.startswith(".")} == expected


def test_each_folder_on_the_path_holds_one_package() -> None:
    for folder in ("proxy", "policies", "agents", "audit"):
        packages = [
            path.name for path in (ROOT / folder).iterdir() if path.is_dir() and path.name != "__pycache__"
        ]
        assert packages == [f"trionyx_{folder}"]


def test_no_file_names_a_registry_or_a_machine() -> None:
    hosts = [
        r"pypi\.org",
        r"pythonhosted\.",
        r"registry\.npm",
        r"proxy\.golang",
        r"deb\.debian",
        r"crates\.io",
    ]
    pattern = re.compile("|".join(f"(?:{host})" for host in hosts) + r"|(?:^|[^\w.])/(?:work|farm)/")
    found = []
    for path in tracked():
        if path == Path(__file__).resolve() or path.suffix in {".wasm", ".png"}:
            continue
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    assert found == []


def test_modules_stay_small_enough_to_hold_one_job() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in tracked()
        if path.suffix == ".py" and "tests" not in path.relative_to(ROOT).parts
        if (count := len(path.read_text().splitlines())) > 400
    }
    assert long == {}
