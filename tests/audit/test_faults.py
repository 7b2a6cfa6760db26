"""Failing disks and killed writers: what was acknowledged stays, what is left verifies, the next writer goes on."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trionyx_audit.checkpoint import TrustedKey
from trionyx_audit.reading import records
from trionyx_audit.storage import Layout
from trionyx_audit.verify import verify
from trionyx_testing.parts import need

WRITER = Path(__file__).with_name("writer_process.py")
COUNT = 12


def writer(directory: Path, count: int) -> list[str]:
    return [sys.executable, str(WRITER), str(directory), str(count)]


def check(directory: Path, acknowledged: list[int], trusted: TrustedKey) -> None:
    """What was acknowledged is on disk in order, the log verifies, and it can be continued."""
    if Layout(directory).manifest.exists():
        found = [record.body["n"] for record in records(directory) if record.type == "call.denied"]
        assert found[: len(acknowledged)] == acknowledged
        code = verify(directory, trusted).exit()
        assert code in (0, 3)
    else:
        assert acknowledged == []
    done = subprocess.run(writer(directory, 1), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
    # A record whose payload was lost in the crash stays incomplete for ever; everything else is whole again.
    verdict = verify(directory, trusted)
    assert {finding.id for finding in verdict.findings} <= {"missing_payload"}
    assert verdict.sealed == verdict.size > len(acknowledged)


def numbers(out: bytes) -> list[int]:
    found = [int(line) for line in out.split()]
    assert found == list(range(len(found)))
    return found


CALLS = {
    "write": ("EIO", "ENOSPC", "KILL"),
    "fdatasync": ("EIO", "ENOSPC", "KILL"),
    "fsync": ("EIO", "KILL"),
    "rename": ("EIO", "ENOSPC", "KILL"),
    "openat": ("ENOSPC",),
    "fchmod": ("EIO", "KILL"),
}
FAULTS = [(call, fault) for call, faults in CALLS.items() for fault in faults]


def inject(directory: Path, call: str, fault: str, when: int) -> subprocess.CompletedProcess[bytes]:
    what = "signal=KILL" if fault == "KILL" else f"error={fault}"
    # Only files of the log are struck; the interpreter's own files and the pipe to the test are left alone.
    paths = [
        option
        for name in ("seg", "payload", "keyvault", "", "checkpoints.log", "log.json", "checkpoint")
        for option in ("-P", str(directory / name))
    ]
    paths += [
        option
        for name in (
            "seg/0000000000000000.jsonl",
            "payload/0000000000000000.blob",
            "keyvault/.payload.key.tmp",
            ".log.json.tmp",
            ".checkpoint.tmp",
            *(f"seg/{first:016d}.jsonl" for first in range(1, COUNT)),
            *(f"payload/{first:016d}.blob" for first in range(1, COUNT)),
        )
        for option in ("-P", str(directory / name))
    ]
    command = [
        *(str(need("strace")), "-f", "-qq", "-o", "/dev/null"),
        *("-e", f"trace={call}", "-e", f"inject={call}:{what}:when={when}", *paths),
        *writer(directory, COUNT),
    ]
    return subprocess.run(command, capture_output=True, check=False)


@pytest.mark.guarantee("G19")
def test_one_failed_fdatasync_loses_nothing_acknowledged(tmp_path: Path, trusted: TrustedKey) -> None:
    done = inject(tmp_path / "log", "fdatasync", "EIO", 12)
    assert done.returncode == 3
    assert b"input/output error" in done.stderr
    acknowledged = numbers(done.stdout)
    assert 0 < len(acknowledged) < COUNT
    check(tmp_path / "log", acknowledged, trusted)


@pytest.mark.slow
@pytest.mark.guarantee("G19")
@pytest.mark.parametrize(("call", "fault"), FAULTS)
def test_no_fault_loses_an_acknowledged_record(
    tmp_path: Path, trusted: TrustedKey, call: str, fault: str
) -> None:
    struck = 0
    for when in (1, 2, 5, 13, 34):
        directory = tmp_path / f"log-{when}"
        done = inject(directory, call, fault, when)
        acknowledged = numbers(done.stdout)
        struck += done.returncode != 0
        assert done.returncode == 0 or len(acknowledged) <= COUNT
        check(directory, acknowledged, trusted)
    assert struck, "the injected fault must have hit something"


def kill_after(directory: Path, acknowledgements: int) -> list[int]:
    with subprocess.Popen(writer(directory, 10_000), stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        seen = b""
        while seen.count(b"\n") < acknowledgements:
            seen += process.stdout.read(64)
        process.send_signal(signal.SIGKILL)
        seen += process.stdout.read()
    return numbers(seen[: seen.rindex(b"\n") + 1])


@pytest.mark.guarantee("G19")
def test_a_killed_writer_loses_nothing_acknowledged(tmp_path: Path, trusted: TrustedKey) -> None:
    check(tmp_path / "log", kill_after(tmp_path / "log", 7), trusted)


@pytest.mark.slow
@pytest.mark.guarantee("G19")
def test_writers_killed_at_random_lose_nothing_acknowledged(tmp_path: Path, trusted: TrustedKey) -> None:
    chance = random.Random(7)  # noqa: S311  # a reproducible choice of moments, no secret
    for attempt in range(12):
        directory = tmp_path / f"log-{attempt}"
        check(directory, kill_after(directory, chance.randrange(1, 200)), trusted)
