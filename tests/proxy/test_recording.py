"""Where records fail: what counts as stored, and what a lost, late or impossible record costs."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from trionyx_audit.errors import StorageError
from trionyx_audit.keys import FileSigner
from trionyx_audit.log import Log
from trionyx_proxy.cli import main
from trionyx_proxy.core.account import Identity, Prompt
from trionyx_proxy.core.label import Integrity, Label, Level
from trionyx_proxy.pep.claimant import Claimant
from trionyx_proxy.pep.opening import rebuilt
from trionyx_proxy.pep.recorder import Recorder
from trionyx_proxy.state import RunStore
from trionyx_proxy.token import RunClaims
from trionyx_testing.capture import output_of
from trionyx_testing.client import Served, refused, text_of
from trionyx_testing.workspace import Workspace

BODY = b'{"reason":"none"}'
WAIT_S = 20.0
SEGMENT = "seg/0000000000000000.jsonl"


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log.open(tmp_path / "log", signer=FileSigner.from_seed(b"A" * 32), origin="test.example/log")


class HeldDisk:
    """`fdatasync` that waits until it is let go."""

    def __init__(self) -> None:
        self.is_reached = threading.Event()
        self.is_free = threading.Event()
        self._really = os.fdatasync

    def __call__(self, descriptor: int) -> None:
        self.is_reached.set()
        assert self.is_free.wait(WAIT_S)
        self._really(descriptor)


@pytest.fixture
def disk(log: Log, monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldDisk]:
    held = HeldDisk()
    monkeypatch.setattr(os, "fdatasync", held)
    yield held
    held.is_free.set()


@pytest.mark.guarantee("G01")
@pytest.mark.guarantee("G02")
def test_a_record_counts_once_it_is_on_the_disk(log: Log, disk: HeldDisk) -> None:
    recorder = Recorder(log, deadline_s=WAIT_S)

    async def body() -> None:
        stored = asyncio.ensure_future(recorder.store("policy.refused", BODY, {}))
        assert await anyio.to_thread.run_sync(disk.is_reached.wait, WAIT_S)
        assert not stored.done()
        disk.is_free.set()
        assert await stored == log.size - 1
        await recorder.close()

    anyio.run(body)


@pytest.mark.guarantee("G09")
def test_a_record_that_the_disk_refuses_is_lost(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    recorder = Recorder(log, deadline_s=WAIT_S)

    async def body() -> None:
        assert await recorder.store("policy.refused", BODY, {}) is not None
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", refuse)
            assert await recorder.store("policy.refused", BODY, {}) is None
        assert await recorder.store("policy.refused", BODY, {}) is None
        with pytest.raises(StorageError):
            await recorder.close()

    anyio.run(body)


@pytest.mark.guarantee("G03")
def test_a_record_that_comes_too_late_is_lost(log: Log, disk: HeldDisk) -> None:
    recorder = Recorder(log, deadline_s=0.01)

    async def body() -> None:
        with anyio.fail_after(WAIT_S / 2):
            assert await recorder.store("policy.refused", BODY, {}) is None
        disk.is_free.set()
        await recorder.close()

    anyio.run(body)


@pytest.mark.guarantee("G01")
@pytest.mark.guarantee("G09")
def test_a_lost_intent_lets_nothing_through_ever_again(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    with Served(workspace) as served:
        assert text_of(served.call("test__echo", text="recorded")) == "recorded"
        (log,) = workspace.logs()
        with (log / SEGMENT).open("ab") as segment:
            segment.write(b"foreign\n")
        for _ in range(2):
            assert refused(served.call("test__echo", text="unrecorded")) == ["TRX-AUDIT"]
    assert [effect["arguments"] for effect in workspace.effects()] == [{"text": "recorded"}]


@pytest.mark.guarantee("G02")
@pytest.mark.guarantee("G09")
def test_a_lost_outcome_withholds_the_result(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    order = ["mint", "--config", str(workspace.config), "--agent", "a", "--user", "u", "--prompt-file", "-"]
    minted = json.loads(output_of(main, order, stdin=""))
    # The tool's journal is the log itself: carrying out the call spoils the log before the outcome is recorded.
    segment = workspace.root / "audit" / minted["run"] / SEGMENT
    workspace.config.write_text(workspace.config.read_text().replace(str(workspace.journal), str(segment)))
    with Served(workspace, minted["env"]) as served:
        result = served.call("test__secret")
        assert refused(result) == ["TRX-AUDIT"] and "launch code" not in json.dumps(result)
        assert b'"tool": "secret"' in segment.read_bytes()


@pytest.mark.guarantee("G03")
@pytest.mark.guarantee("G13")
def test_a_call_that_the_policy_cannot_decide_is_denied_in_a_record(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    crowd = [f"{number:064}@{'a' * 60}.{'b' * 60}.example" for number in range(3_000)]
    with Served(workspace) as served:
        result = served.call("test__send", to=crowd, body="x")
        assert refused(result) == ["TRX-ENGINE"]
        type_, body = workspace.records()[-1]
        assert result is not None
        assert (type_, body["call"]) == ("call.denied", result["_meta"]["trionyx/call"])
        assert text_of(served.call("test__echo", text="next")) == "next"
    assert [effect["tool"] for effect in workspace.effects()] == ["echo"]


@pytest.mark.guarantee("G21")
def test_an_unlisted_notification_is_recorded(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    with Served(workspace) as served:
        served.send({"method": "notifications/roots/list_changed"})
        for _ in range(100):
            served.request("ping")
            type_, body = workspace.records()[-1]
            if type_ == "call.denied":
                break
        assert (type_, body["code"], body["subject"]) == (
            "call.denied",
            "unknown_method",
            "notifications/roots/list_changed",
        )


@pytest.mark.guarantee("G06")
@pytest.mark.guarantee("G24")
def test_a_restart_joins_what_the_state_file_remembers(tmp_path: Path) -> None:
    run, floor = "01KAH4TBQ0" + "0" * 16, Label(Integrity.SYSTEM)
    remembered = Label(Integrity.USER, Level.SECRET)
    store = RunStore.open(tmp_path / "state")
    try:
        store.register(RunClaims(run, "a", "u", "", "ab" * 32, floor, 1_000, 2_000), Prompt("ab" * 32, True))
        store.save(run, 1, floor.join(remembered), {})
        identity = Identity(run=run, agent="a", user="u", tenant="", registered=True, key=b"k" * 32)
        state = rebuilt((), Claimant(identity, Prompt(), floor), store, size=2)
    finally:
        store.close()
    assert state.label == floor.join(remembered)
