"""A connection that sends more without a meaning than it may: closed, with every message up to there on record."""

from __future__ import annotations

import subprocess
import sys
from itertools import cycle, islice
from pathlib import Path

import orjson
import pytest

from trionyx_testing.workspace import Workspace

BOUND = 50
PROGRAM = f"""
import sys
from trionyx_proxy.cli import main
from trionyx_proxy.pep import downstream

downstream.MAX_REJECTIONS = {BOUND}
sys.exit(main(["serve", "--config", sys.argv[1]]))
"""
"""The command, with a bound that a test can reach."""

OPENING = (
    {
        "id": "i",
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    },
    {"method": "notifications/initialized"},
)


def line(message: dict[str, object]) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", **message}) + b"\n"


def meaningless(kind: str, number: int) -> bytes:
    """A message without a meaning; its record names its number, unless it is malformed."""
    match kind:
        case "request":
            return line({"id": number, "method": f"x/{number}"})
        case "notification":
            return line({"method": f"x/{number}"})
        case "envelope":
            meta = {"io.modelcontextprotocol/protocolVersion": "2099-01-01"}
            return line({"id": number, "method": f"x/{number}", "params": {"_meta": meta}})
        case _:
            return b'{"jsonrpc":"2.0","id":%d,"method":"x","method":"x"}\n' % number


def recorded(directory: Path, kinds: list[str]) -> list[dict[str, object]]:
    """Send all messages at once to a new proxy and close; return its records of refused messages."""
    workspace = Workspace.create(directory)
    sent = b"".join(map(line, OPENING)) + b"".join(meaningless(kind, at) for at, kind in enumerate(kinds))
    serve = [sys.executable, "-c", PROGRAM, str(workspace.config)]
    with subprocess.Popen(serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            process.communicate(sent, timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    records = workspace.records()
    assert records[-1][0] == "run.close"
    return [body for type_, body in records if type_ == "call.denied"]


MIXTURES = [
    pytest.param(("request",), id="requests"),
    pytest.param(("malformed",), id="malformed lines"),
    pytest.param(("request", "malformed"), id="malformed lines after requests"),
    pytest.param(("notification", "notification", "malformed"), id="malformed lines after notifications"),
    pytest.param(("request", "notification", "malformed", "malformed", "envelope"), id="all"),
]


@pytest.mark.guarantee("G03")
@pytest.mark.parametrize("mixture", MIXTURES)
def test_each_message_up_to_the_one_that_closes_the_connection_is_recorded(
    tmp_path: Path, mixture: tuple[str, ...]
) -> None:
    kinds = list(islice(cycle(mixture), 8 * BOUND))
    records = recorded(tmp_path, kinds)
    assert BOUND <= len(records) < len(kinds)
    # As many as were recorded were the first that were sent.
    first = kinds[: len(records)]
    named = {f"x/{at}" for at, kind in enumerate(first) if kind != "malformed"}
    assert {record["subject"] for record in records} - {""} == named
    assert sum(record["subject"] == "" for record in records) == first.count("malformed")


@pytest.mark.guarantee("G03")
def test_each_message_before_the_end_of_input_is_recorded(tmp_path: Path) -> None:
    kinds = list(islice(cycle(("request", "notification", "malformed")), BOUND - 1))
    assert len(recorded(tmp_path, kinds)) == len(kinds)
