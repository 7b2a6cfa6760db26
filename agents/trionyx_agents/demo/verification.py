"""The log, checked and read as an outsider would: commands, one public key, and a tampered copy."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from trionyx_agents.errors import AgentError
from trionyx_agents.launcher import find_command


@dataclass(frozen=True, slots=True)
class Check:
    """One run of a command that reads the log.

    Args:
        code: exit code; 0 means that everything verified, 1 that something did not.
        lines: what it printed.
    """

    code: int
    lines: tuple[str, ...]


def verify(log: Path, key: Path) -> Check:
    """Verify a log directory against a public key file."""
    return _run("trionyx-audit", "verify", "--key", str(key), str(log))


def explain(log: Path, key: Path, call: str) -> Check:
    """Let the log say why a call went as it went.

    Args:
        log: the run's log directory.
        key: public key file.
        call: the proxy's id of the call, or the runtime's.
    """
    return _run("trionyx-proxy", "explain", call, "--log", str(log), "--key", str(key))


def _run(command: str, *arguments: str) -> Check:
    done = subprocess.run(
        [find_command(command), *arguments], capture_output=True, encoding="utf-8", check=False
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
