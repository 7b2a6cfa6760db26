"""SIGKILL at every named point of a call's life: no unrecorded effect, nothing acknowledged lost, the label kept.

The points are those of a call's hot path, in order; `trionyx_testing.crashing` wraps the seam that each names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from trionyx_audit.checkpoint import TrustedKey
from trionyx_audit.cli import main as audit
from trionyx_audit.keys import FileSigner
from trionyx_audit.verdict import Exit
from trionyx_audit.verify import verify
from trionyx_testing.capture import output_of
from trionyx_testing.client import Client, text_of
from trionyx_testing.crashing import POINTS, Zygote
from trionyx_testing.workspace import Workspace

CALLS = 4
KEY = TrustedKey(FileSigner.from_seed(b"A" * 32).public)


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    started = Zygote()
    yield started
    started.close()


def crash(zygote: Zygote, workspace: Workspace, point: str, nth: int, trial: int) -> Path:
    """Let a proxy die at a point, check what it left, and return its log."""
    before = set(workspace.logs())
    serve = ["serve", "--config", str(workspace.config)]
    client = Client(*zygote.start(serve, point=point, nth=nth))
    delivered: list[str] = []
    if client.initialize() is not None:
        for number in range(CALLS):
            result = client.call("test__echo", text=f"trial {trial} call {number}")
            if result is None:
                break
            assert text_of(result) == f"trial {trial} call {number}"
            delivered.append(result["_meta"]["trionyx/call"])
    client.close()
    assert zygote.wait() == -9, f"{point} was not reached"
    (log,) = set(workspace.logs()) - before
    check(log, workspace, delivered, trial)
    return log


def check(log: Path, workspace: Workspace, delivered: list[str], trial: int) -> None:
    # A torn tail, an in-doubt call or a missing last checkpoint is incomplete, never a violation.
    verdict = verify(log, KEY)
    assert verdict.exit() in (Exit.HOLDS, Exit.INCOMPLETE), verdict.findings
    shown = [
        json.loads(line) for line in output_of(audit, ["show", "--json", "--payload", str(log)]).splitlines()
    ]
    intended = {
        json.loads(entry["payloads"]["args"]["text"])["text"]
        for entry in shown
        if entry["record"]["type"] == "call.intent"
    }
    ended = {entry["record"]["call"] for entry in shown if entry["record"]["type"] == "call.outcome"}
    executed = {
        effect["arguments"]["text"]
        for effect in workspace.effects()
        if effect["arguments"]["text"].startswith(f"trial {trial} ")
    }
    assert executed <= intended, "an effect without a prior record"
    assert set(delivered) <= ended, "a delivered result without its outcome record"


@pytest.mark.guarantee("G01")
@pytest.mark.guarantee("G02")
@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_a_named_point_loses_nothing(zygote: Zygote, tmp_path: Path, point: str) -> None:
    crash(zygote, Workspace.create(tmp_path), point, 2, 0)


@pytest.mark.slow
@pytest.mark.guarantee("G01")
@pytest.mark.guarantee("G02")
@pytest.mark.parametrize("point", POINTS)
def test_twenty_kills_at_a_named_point_lose_nothing(zygote: Zygote, tmp_path: Path, point: str) -> None:
    workspace = Workspace.create(tmp_path)
    for trial in range(20):
        crash(zygote, workspace, point, 1 + trial % CALLS, trial)


@pytest.mark.guarantee("G24")
@pytest.mark.parametrize("point", ["after-fsync", "mid-forward", "before-outcome-fsync", "mid-deliver"])
def test_the_next_process_closes_what_the_dead_one_left_in_doubt(
    zygote: Zygote, tmp_path: Path, point: str
) -> None:
    from trionyx_proxy.cli import main

    workspace = Workspace.create(tmp_path)
    order = ["mint", "--config", str(workspace.config), "--agent", "a", "--user", "u", "--prompt-file", "-"]
    env = json.loads(output_of(main, order, stdin="task"))["env"]
    serve = ["serve", "--config", str(workspace.config)]
    client = Client(*zygote.start(serve, point=point, nth=2, env=env))
    client.initialize()
    while client.call("test__secret") is not None:
        pass
    client.close()
    assert zygote.wait() == -9
    client = Client(*zygote.start(serve, env=env))
    client.initialize()
    client.close()
    assert zygote.wait() == 0
    (log,) = workspace.logs()
    verdict = verify(log, KEY)
    assert verdict.violation is None
    calls = verdict.calls
    assert (calls.intents, calls.orphans) == (calls.outcomes + calls.revoked, 0)
    assert workspace.records()[-1][1]["label"]["level"] == "secret"
