"""Known bugs put into a copy of the tree, one at a time, to see whether the tests notice.

The work tree is never touched. A copy has an interpreter of its own whose import path begins with the copy, so that
every process that a test starts through `sys.executable` runs the copied code, whatever its environment says.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sysconfig
import tomllib
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trionyx_testing.parts import need

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("proxy", "policies", "audit", "agents")
COPIED = (*PACKAGES, "tests", "pyproject.toml")
BUNDLE = Path("policies/trionyx_policies/bundle")
LIMIT_S = 180
"""Bound on one test; a test that no longer ends has not noticed anything."""
WHOLE_LIMIT_S = 1_800
"""Bound on all of them in a row, on a machine that has other work too."""


@dataclass(frozen=True, slots=True)
class Bug:
    """One seeded bug.

    Args:
        guarantee: id of the promise that it breaks.
        why: what the bug amounts to.
        file: path from the root.
        find: text that occurs exactly once in the file.
        replace: what stands there instead.
        test: node id of the test that must fail.
        rebuild: compile the policy bundle after the change, so that the rules themselves are wrong
            and not merely unlike their compiled form.
    """

    guarantee: str
    why: str
    file: str
    find: str
    replace: str
    test: str
    rebuild: bool = False

    def __str__(self) -> str:
        return f"{self.guarantee} {self.file}: {self.why} [{self.test}]"


def read_bugs() -> tuple[Bug, ...]:
    """Read `tests/seeded_bugs.toml`; an unknown or missing key is a TypeError."""
    tables = tomllib.loads((ROOT / "tests" / "seeded_bugs.toml").read_text())["bug"]
    return tuple(Bug(**table) for table in tables)


class Copy:
    """A copy of the code and the tests below `root`, with its interpreter."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, root / name)
        venv.create(root / "venv", symlinks=True)
        self.python = root / "venv" / "bin" / "python"
        (site,) = (root / "venv" / "lib").glob("python*/site-packages")
        # Lines take effect in order: the copy comes before whatever the installed packages add.
        first = [str(root / name) for name in PACKAGES]
        then = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})"
        (site / "copy.pth").write_text("\n".join([*first, then, ""]))
        # The commands beside the interpreter, as an installation puts them there.
        for name, target in tomllib.loads((root / "pyproject.toml").read_text())["project"][
            "scripts"
        ].items():
            module, _, function = target.partition(":")
            command = self.python.with_name(name)
            command.write_text(
                f"#!{self.python}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
            )
            command.chmod(0o755)
        self._changes = 0

    def origin(self, package: str) -> Path:
        """Return where a process of this copy imports a package from, with no environment at all."""
        code = f"import {package}; print({package}.__file__)"
        found = subprocess.run([self.python, "-I", "-c", code], env={}, capture_output=True, check=True)
        return Path(found.stdout.decode().strip())

    def pytest(self, *nodes: str, limit_s: int = LIMIT_S) -> tuple[int | None, str]:
        """Run tests in the copy; return pytest's exit code (None: it had to be ended) and its report."""
        command = [str(self.python), "-m", "pytest", "-x", "-q", "-m", "", "-p", "no:cacheprovider", *nodes]
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON"))
        }
        kept["TRIONYX_HYPOTHESIS"] = "repeatable"  # a bug that only some draws notice is one that survives
        with subprocess.Popen(
            command,
            cwd=self.root,
            env=kept,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                report, _ = process.communicate(timeout=limit_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                report, _ = process.communicate()
                return None, report
        return process.returncode, report

    @contextmanager
    def bearing(self, bug: Bug) -> Iterator[None]:
        """Put a bug in for the length of the block."""
        path = self.root / bug.file
        before = path.read_text()
        built = {file: file.read_bytes() for file in (self.root / BUNDLE / "build").iterdir()}
        self._write(path, before.replace(bug.find, bug.replace))
        try:
            if bug.rebuild:
                self._rebuild()
            yield
        finally:
            self._write(path, before)
            for file, content in built.items():
                file.write_bytes(content)

    def _write(self, path: Path, text: str) -> None:
        """Write a file with a time of its own: bytecode is matched by size and whole seconds."""
        self._changes += 1
        path.write_text(text)
        os.utime(path, (self._changes, self._changes))

    def _rebuild(self) -> None:
        build = [str(self.python), "-m", "trionyx_policies.cli", "build", "--opa", str(need("opa"))]
        subprocess.run([*build, str(self.root / BUNDLE)], cwd=self.root, capture_output=True, check=True)
