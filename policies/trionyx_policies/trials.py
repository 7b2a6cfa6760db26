"""Rego unit tests of a bundle, and what they really test: lines, and every rule id fired and not fired.

Coverage of ids is measured by mutation: with the id taken out of its rule, some test must fail, and with a rule
that contributes the id to every call, some test must fail.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trionyx_policies.compiler import Contributed, contributed_rules
from trionyx_policies.errors import BundleError
from trionyx_policies.toolchain import run

_FAILED: Final = 2  # exit status of `opa test` when tests fail; 1 means that they could not be run
_NO_RULE: Final = '"NONE-000"'


@dataclass(frozen=True, slots=True)
class Report:
    """What the tests showed.

    Args:
        summary: OPA's last line, `PASS: 69/69`.
        failures: what OPA printed about failed tests, line by line.
        line_coverage: percent of the lines of policies that tests reached.
        uncovered: `file:row` of lines that no test reached.
        unproven: `ID: …` for ids that no test shows to fire, or not to fire.
    """

    summary: str
    failures: tuple[str, ...]
    line_coverage: float
    uncovered: tuple[str, ...]
    unproven: tuple[str, ...]


def run_tests(directory: Path, opa: Path, *, mutants: bool = True) -> Report:
    """Run the tests of a bundle directory, then its mutants.

    Args:
        directory: of the bundle, with its tests.
        opa: the executable.
        mutants: whether to measure which rule ids are proven, which takes two runs of the tests for each.

    Raises:
        BundleError: the sources are not formatted, or the tests cannot be run.
    """
    unformatted = run(opa, "fmt", "--list", "policy", cwd=directory).stdout.split()
    if unformatted:
        raise BundleError(tuple(f"{name}: not formatted; run opa fmt -w" for name in unformatted))
    done = run(opa, "test", "policy", "data", cwd=directory)
    lines = tuple((done.stdout + done.stderr).strip().splitlines())
    if done.returncode == _FAILED:
        return Report(lines[-1], lines, 0.0, (), ())
    if done.returncode != 0:
        raise BundleError(lines or ("policy: opa test failed without a word",))
    coverage = json.loads(run(opa, "test", "--coverage", "policy", "data", cwd=directory).stdout)
    uncovered = tuple(
        f"{name}:{span['start']['row']}"
        for name, file in sorted(coverage["files"].items())
        for span in file.get("not_covered", [])
    )
    rules, problems = contributed_rules(directory, opa) if mutants else ({}, [])
    if problems:
        raise BundleError(tuple(problems))
    with ThreadPoolExecutor(max_workers=2) as pool:
        unproven = tuple(
            finding
            for findings in pool.map(
                lambda item: tuple(_unproven(directory, opa, *item)), sorted(rules.items())
            )
            for finding in findings
        )
    summary = lines[-1] if lines else "no tests"
    return Report(summary, (), float(coverage["coverage"]), uncovered, unproven)


def _unproven(directory: Path, opa: Path, identity: str, rule: Contributed) -> Iterator[str]:
    source = (directory / rule.file).read_text()
    if _survives(directory, opa, rule, source.replace(f'"{identity}"', _NO_RULE)):
        yield f"{identity}: no test shows that it fires"
    if _survives(directory, opa, rule, f'{source}\n{rule.kind} contains {{"id": "{identity}"}}\n'):
        yield f"{identity}: no test shows that it does not always fire"


def _survives(directory: Path, opa: Path, rule: Contributed, source: str) -> bool:
    """Tell whether all tests pass although the rule's file is another."""
    with tempfile.TemporaryDirectory(prefix="trionyx-mutant-") as scratch:
        mutant = Path(scratch)
        for part in ("policy", "data"):
            shutil.copytree(directory / part, mutant / part)
        (mutant / rule.file).write_text(source)
        return run(opa, "test", "policy", "data", cwd=mutant).returncode != _FAILED
