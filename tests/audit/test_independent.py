"""A log written here, read by Go's checksum-database code, which shares nothing with this package."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from trionyx_audit.checkpoint import TrustedKey
from trionyx_audit.log import Draft, Log

OpenLog = Callable[..., Log]


@pytest.mark.guarantee("G18")
def test_go_accepts_every_checkpoint_root_and_proof(
    place: Path,
    open_log: OpenLog,
    draft: Callable[..., Draft],
    trusted: TrustedKey,
    origin: str,
    auditcheck: Callable[..., str],
) -> None:
    with open_log(place / "log", segment_bytes=20_000, checkpoint_every=40) as log:
        for number in range(130):
            log.submit(draft(n=number)).result(20)
    vkey = str(trusted.for_origin(origin))
    assert auditcheck("log", str(place / "log"), vkey) == "131 records\n"


@pytest.mark.guarantee("G18")
def test_go_refuses_what_we_refuse(
    ten: Path, trusted: TrustedKey, origin: str, auditcheck: Callable[..., str]
) -> None:
    segment = ten / "seg" / "0000000000000000.jsonl"
    content = segment.read_bytes()
    segment.write_bytes(content.replace(b'"c1"', b'"c8"', 1))
    with pytest.raises((AssertionError, subprocess.CalledProcessError), match="not those of the checkpoint"):
        auditcheck("log", str(ten), str(trusted.for_origin(origin)))
