"""The log, checked as an outsider would: the audit command, one public key, and a tampered copy."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from trionyx_agents.errors import AgentError
from trionyx_agents.launcher import find_command


@dataclass(frozen=True, slots=True)
class Check:
    """One run of the audit command.

    Args:
        code: exit code; 0 means that everything verified, 1 that something did not.
        lines: what it printed.
    """

    code: int
    lines: tuple[str, ...]


def verify(log: Path, key: Path) -> Check:
    """Verify a log directory against a public key file."""
    done = subprocess.run(
        [find_command("trionyx-audit"), "verify", "--key", str(key), str(log)],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    return Check(done.returncode, tuple((done.stdout + done.stderr).splitlines()))


def tampered_copy(log: Path, copy: Path) -> tuple[Path, int]:
    """Copy a log directory and flip the lowest bit of one byte in the middle of its records.

    Returns:
        The changed file, relative to the copy, and the offset of the byte.

    Raises:
        AgentError: the log holds no records.
    """
    shutil.copytree(log, copy)
    segments = [file for file in sorted(copy.glob("seg/*.jsonl")) if file.stat().st_size]
    if not segments:
        raise AgentError(f"no records in {log}")
    segment = segments[0]
    content = bytearray(segment.read_bytes())
    offset = len(content) // 2
    content[offset] ^= 1
    segment.chmod(0o600)  # closed segments are read-only, and stay so in the copy
    segment.write_bytes(content)
    return segment.relative_to(copy), offset


def leaked(directory: Path, secret: str) -> tuple[Path, ...]:
    """Find the files below a directory that hold the secret in the clear."""
    return tuple(
        file
        for file in sorted(directory.rglob("*"))
        if file.is_file() and secret.encode() in file.read_bytes()
    )
