"""The tests are tested: each bug of `tests/seeded_bugs.toml`, put into a copy of the code, must be noticed."""

from __future__ import annotations

import ast
import os
import subprocess
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from trionyx_testing.seeding import PACKAGES, ROOT, WHOLE_LIMIT_S, Bug, Copy, read_bugs

BUGS = read_bugs()
FAILED = 1
"""Pytest's exit code for failed tests; others mean that nothing was tested."""


def guarantees() -> set[str]:
    return set(tomllib.loads((ROOT / "tests" / "guarantees.toml").read_text())["guarantees"])


@cache
def functions(file: str) -> frozenset[str]:
    """Return the names of a test file's functions, those of classes as `Class::name`."""
    path = ROOT / file

    def walk(body: list[ast.stmt], prefix: str) -> Iterator[str]:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield prefix + node.name
            elif isinstance(node, ast.ClassDef):
                yield from walk(node.body, f"{prefix}{node.name}::")
                if any(ast.unparse(base).endswith(".TestCase") for base in node.bases):
                    yield f"{prefix}{node.name}::runTest"  # of a state machine of Hypothesis

    return frozenset(walk(ast.parse(path.read_text()).body, "")) if path.is_file() else frozenset()


def test_every_bug_fits_its_file() -> None:
    def fits(bug: Bug) -> bool:
        path = ROOT / bug.file
        return path.is_file() and path.read_text().count(bug.find) == 1 and bug.find != bug.replace

    assert [str(bug) for bug in BUGS if not fits(bug)] == []


def test_every_test_that_must_notice_exists() -> None:
    def exists(bug: Bug) -> bool:
        file, _, name = bug.test.partition("[")[0].partition("::")
        return name in functions(file)

    assert [str(bug) for bug in BUGS if not exists(bug)] == []


def test_every_guarantee_is_broken_by_some_bug() -> None:
    assert {bug.guarantee for bug in BUGS} == guarantees()
    assert len(BUGS) >= 25
    places = [(bug.file, bug.find, bug.replace) for bug in BUGS]
    assert len(set(places)) == len(places)


def judge(copy: Copy, bug: Bug) -> tuple[str, str]:
    """Return "noticed", "skipped" or "survived", and the report."""
    try:
        with copy.bearing(bug):
            code, report = copy.pytest(bug.test)
    except pytest.skip.Exception as missing:
        return "skipped", str(missing)
    except subprocess.CalledProcessError as error:
        return "survived", f"the changed rules do not build: {error.stderr.decode()}"
    last = report.strip().splitlines()[-1] if report.strip() else ""
    if code == FAILED:
        return "noticed", report
    # A part that the test needs is missing. Where all parts are required the test fails instead of skipping.
    is_skipped = code == 0 and "skipped" in last and "passed" not in last
    return ("skipped" if is_skipped else "survived"), f"exit code {code}\n{report[-1_500:]}"


@pytest.mark.slow
def test_every_bug_is_noticed(tmp_path: Path) -> None:
    # Two copies in step with the two cores of a small machine; a copy bears one bug at a time.
    copies = [Copy(tmp_path / name) for name in ("a", "b")]
    for copy in copies:
        for folder in PACKAGES:
            assert copy.origin(f"trionyx_{folder}").is_relative_to(copy.root)
    tests = sorted({bug.test for bug in BUGS})
    todo = iter(BUGS)

    def work(copy: Copy, share: list[str]) -> list[tuple[Bug, str, str]]:
        code, report = copy.pytest(*share, limit_s=WHOLE_LIMIT_S)
        assert code == 0, f"without any bug:\n{report}"
        return [(bug, *judge(copy, bug)) for bug in todo]

    with ThreadPoolExecutor(len(copies)) as workers:
        shares = (tests[0::2], tests[1::2])
        judged = [found for share in workers.map(work, copies, shares) for found in share]
    survivors = [f"{bug}\n{report}" for bug, verdict, report in judged if verdict == "survived"]
    assert not survivors, f"{len(survivors)} of {len(BUGS)} bugs survive:\n\n" + "\n\n".join(survivors)
    skipped = [str(bug) for bug, verdict, _ in judged if verdict == "skipped"]
    if skipped:
        assert os.environ.get("TRIONYX_REQUIRE_ALL") != "1"
        pytest.skip("parts are missing for " + "; ".join(skipped))
