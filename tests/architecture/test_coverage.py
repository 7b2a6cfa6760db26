"""Every branch of the parts that everything rests on is taken by their own tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OWN_TESTS = {
    "audit/trionyx_audit": ["tests/audit"],
    "proxy/trionyx_proxy/core": ["tests/core", "tests/provenance/test_words.py", "tests/proxy/test_state.py"],
}


@pytest.mark.slow
@pytest.mark.parametrize("package", OWN_TESTS)
def test_every_branch_is_taken(package: str, tmp_path: Path) -> None:
    def run(*command: str) -> None:
        environment = os.environ | {"COVERAGE_FILE": str(tmp_path / "data")}
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-1_000:]

    run("coverage", "run", "-m", "pytest", "-q", "-p", "no:cacheprovider", *OWN_TESTS[package])
    run("coverage", "report", "--show-missing", "--fail-under=100", f"--include={package}/*")
