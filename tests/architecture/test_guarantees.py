"""README guarantees are data: each is shown by a test, each mark names one, and the README's table is generated."""

from __future__ import annotations

import os
import re
import tomllib
from collections import defaultdict
from pathlib import Path

from trionyx_proxy.core.lifecycle import diagram

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
MARK = re.compile(r"""guarantee\(\s*["'](G\d\d)["']\s*\)""")


def promises() -> dict[str, str]:
    found: dict[str, str] = tomllib.loads((TESTS / "guarantees.toml").read_text())["guarantees"]
    return found


def shown_by() -> dict[str, list[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(TESTS.rglob("test_*.py")):
        for mark in MARK.findall(path.read_text()):
            found[mark].add(str(path.relative_to(TESTS)))
    return {mark: sorted(files) for mark, files in found.items()}


def table() -> str:
    rows = ["| | guarantee | shown by |", "|---|---|---|"]
    files = shown_by()
    for mark, sentence in sorted(promises().items()):
        links = ", ".join(f"[`{file}`](tests/{file})" for file in files[mark])
        rows.append(f"| {mark} | {sentence} | {links} |")
    return "\n".join(rows)


def section(name: str, text: str, new: str | None = None) -> str:
    """Return a generated section of the README, or the README with that section replaced."""
    begin, end = f"<!-- {name}: generated -->\n", f"\n<!-- {name}: end -->"
    before, rest = text.split(begin, 1)
    body, after = rest.split(end, 1)
    return body if new is None else before + begin + new + end + after


def test_every_guarantee_is_shown_by_a_test() -> None:
    assert sorted(promises()) == sorted(mark for mark in promises() if shown_by().get(mark))


def test_every_mark_names_a_guarantee() -> None:
    assert set(shown_by()) <= set(promises())


def check_generated(name: str, expected: str) -> None:
    readme = ROOT / "README.md"
    text = readme.read_text()
    if os.environ.get("TRIONYX_REGENERATE") == "1":
        readme.write_text(section(name, text, expected))
        return
    assert section(name, text) == expected, "regenerate with TRIONYX_REGENERATE=1"


def test_the_readme_table_is_the_data() -> None:
    check_generated("guarantees", table())


def test_the_readme_diagram_is_the_lifecycle_table() -> None:
    check_generated("lifecycle", f"```mermaid\n{diagram().strip()}\n```")
