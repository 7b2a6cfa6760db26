"""SIGKILL around the mailbox: no message without its intent, none lost, none received twice, the label kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from trionyx_audit.checkpoint import TrustedKey
from trionyx_audit.keys import FileSigner
from trionyx_audit.verify import verify
from trionyx_testing.client import Client
from trionyx_testing.crashing import MESSAGE_POINTS, Zygote
from trionyx_testing.talking import bodies, label_of, mint, received, run_of, said, served, talking_workspace
from trionyx_testing.workspace import Workspace

KEY = TrustedKey(FileSigner.from_seed(b"A" * 32).public)
CALL_POINTS = [
    pytest.param("before-intent-write", marks=pytest.mark.slow),
    pytest.param("after-write-before-fsync", marks=pytest.mark.slow),
    "after-fsync",
    "before-outcome-fsync",
    pytest.param("mid-deliver", marks=pytest.mark.slow),
]
WORDS = "The plan is set."


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    started = Zygote()
    yield started
    started.close()


def die(zygote: Zygote, made: Workspace, token: str, point: str, tool: str, **arguments: str) -> bool:
    """Let a proxy die at a point of one call; return whether the agent got an answer."""
    serve = ["serve", "--config", str(made.config)]
    client = Client(*zygote.start(serve, point=point, nth=1, env={"TRIONYX_RUN_TOKEN": token}))
    client.initialize()
    result = client.call(tool, **arguments)
    client.close()
    assert zygote.wait() == -9, f"{point} was not reached"
    verdict = verify(made.root / "audit" / run_of(token), KEY)
    assert verdict.violation is None, verdict.findings
    return result is not None


@pytest.mark.guarantee("G01")
@pytest.mark.guarantee("G34")
@pytest.mark.parametrize("point", [*CALL_POINTS, "before-put", "after-put"])
def test_a_sender_that_dies_has_said_it_or_not_and_its_intent_came_first(
    zygote: Zygote, tmp_path: Path, point: str
) -> None:
    made = talking_workspace(tmp_path)
    clerk, boss = mint(made, "clerk"), mint(made, "boss")
    with served(made, clerk) as one:
        one.call("test__public")
    is_told = die(zygote, made, clerk, point, "trionyx_send", to="boss", message=WORDS)
    intended = [body for body in bodies(made, clerk, "call.intent") if body["tool"]["name"] == "trionyx_send"]
    with served(made, boss) as other:
        found = [message["message"] for message in received(other)]
    assert found in ([], [WORDS])
    assert not found or intended, "an effect without a prior record"
    assert not is_told or found, "what the sender was told was sent is there"
    if point in ("before-intent-write", "before-put"):
        assert found == []
    if point in ("after-put", "before-outcome-fsync", "mid-deliver"):
        assert found == [WORDS] and label_of(made, boss)["integrity"] == "public"
    with served(made, clerk) as one:  # what was in doubt is closed, and not sent again
        assert received(one) == []
    with served(made, boss) as other:
        assert received(other) == []
    assert verify(tmp_path / "audit" / run_of(clerk), KEY).calls.orphans == 0


@pytest.mark.guarantee("G02")
@pytest.mark.guarantee("G34")
@pytest.mark.parametrize("point", [*CALL_POINTS, "before-take", "after-take"])
def test_a_receiver_that_dies_receives_it_later_unless_its_outcome_is_recorded(
    zygote: Zygote, tmp_path: Path, point: str
) -> None:
    made = talking_workspace(tmp_path)
    clerk, boss = mint(made, "clerk"), mint(made, "boss")
    with served(made, clerk) as one:
        one.call("test__public")
        said(one, "send", to="boss", message=WORDS)
    die(zygote, made, boss, point, "trionyx_receive")
    is_recorded = [body for body in bodies(made, boss, "call.outcome") if body["status"] == "ok"]
    with served(made, boss) as other:
        found = [message["message"] for message in received(other)]
        assert found == ([] if is_recorded else [WORDS]), "once, and not lost before its outcome is on record"
        assert point != "mid-deliver" or is_recorded
        assert label_of(made, boss)["integrity"] == "public", "also of the message whose delivery broke off"
        assert received(other) == []


def test_the_points_are_those_of_the_mailbox() -> None:
    assert set(MESSAGE_POINTS) == {"before-put", "after-put", "before-take", "after-take"}
