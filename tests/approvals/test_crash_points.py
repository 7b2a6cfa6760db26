"""SIGKILL between a person's yes and the release: one yes never makes two effects, and none without its record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from trionyx_audit.checkpoint import TrustedKey
from trionyx_audit.keys import FileSigner
from trionyx_audit.verify import verify
from trionyx_testing.asking import STRANGER, asking_workspace, minted, pending, terminal
from trionyx_testing.client import Client, refused
from trionyx_testing.crashing import APPROVAL_POINTS, Zygote

ARGUMENTS = {"to": [STRANGER], "body": "hello"}


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    started = Zygote()
    yield started
    started.close()


@pytest.mark.guarantee("G32")
@pytest.mark.guarantee("G01")
@pytest.mark.parametrize("point", APPROVAL_POINTS)
def test_a_kill_between_yes_and_release_spends_a_yes_at_most_once(
    zygote: Zygote, tmp_path: Path, point: str
) -> None:
    made = asking_workspace(tmp_path, wait_ms=0)
    env, serve = minted(made), ["serve", "--config", str(made.config)]

    def live(point: str) -> list[str] | None:
        """Ask for the call in a process that dies at the point; give what was refused, [] for a call let through."""
        client = Client(*zygote.start(serve, point=point, env=env))
        client.initialize()
        answer = client.call("test__send", **ARGUMENTS)
        client.close()
        assert zygote.wait() == (-9 if answer is None else 0)
        if answer is None:
            return None
        return refused(answer) if answer["isError"] else []

    assert live("never") == ["TRX-PENDING", "PROV-002"]
    terminal(made, "approve", pending(made)[0])
    assert live(point) is None
    # What was not taken yet is still there; what was taken is gone, whether or not it was of use.
    afterwards = live("never")
    assert afterwards == ([] if point == "before-claim" else ["TRX-PENDING", "PROV-002"])
    effects = [effect["arguments"] for effect in made.effects()]
    assert effects == ([ARGUMENTS] if point == "before-claim" else [])
    types = [type_ for type_, _ in made.records()]
    assert types.count("approval.used") == 1, "also what was taken in vain is on record in the end"
    assert types.count("call.intent") == len(effects) + (point == "before-approved-forward")
    (log,) = made.logs()
    assert verify(log, TrustedKey(FileSigner.from_seed(b"A" * 32).public)).violation is None
    (found,) = [entry for entry in terminal(made, "list", "--all") if entry["state"] == "used"]
    assert json.dumps(found)
