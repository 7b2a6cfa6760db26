"""What a defect in the core or the driver costs: the run, and no record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from trionyx_audit.keys import FileSigner
from trionyx_audit.log import Log
from trionyx_audit.reading import records
from trionyx_policies.decision import Decision
from trionyx_proxy.core import evidence
from trionyx_proxy.core.event import CallRejected, CallRequested
from trionyx_proxy.core.request import CallId, Refusal, Request
from trionyx_proxy.pep.driver import CLOSED, Driver, Ending
from trionyx_proxy.pep.exchange import Exchange
from trionyx_proxy.pep.recorder import Recorder, Told
from trionyx_testing.calls import ALLOW, READ, SEND, new_run, rejection, request

WAIT_S = 20.0


class Defective:
    """A decision point that allows, but for one tool, where it fails in a way nobody foresaw."""

    def begin(self, document: bytes) -> Decision:
        if json.loads(document)["tool"]["id"] == SEND.id:
            raise RuntimeError("seeded")
        return ALLOW


class Waiting:
    """A tool that says when it was reached, and answers nothing until it is withdrawn."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.is_withdrawn = False
        self.foreseen: list[Request] = []
        self.on_foreseen: Callable[[], None] = lambda: None

    def foresee(self, request: Request) -> None:
        self.foreseen.append(request)
        self.on_foreseen()

    async def carry(self, effect: object, **options: object) -> object:
        self.reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.is_withdrawn = True

    def ended(self, call: str, *, is_delivered: bool) -> None:
        assert not is_delivered


class Held(Recorder):
    """A recorder that says nothing of an intent until it is let go."""

    def __init__(self, log: Log) -> None:
        super().__init__(log, deadline_s=WAIT_S)
        self._held: list[Callable[[], None]] = []
        self._is_open = False

    def let_go(self) -> None:
        self._is_open = True
        for tell in self._held:
            tell()

    def begin(self, type_: str, body: bytes, payloads: Mapping[str, bytes], told: Told) -> None:
        def hold(seq: int | None) -> None:
            if self._is_open:
                told(seq)
            else:
                self._held.append(partial(told, seq))

        super().begin(type_, body, payloads, hold if type_ == evidence.INTENT else told)


def driver(log: Log, tool: Waiting, recorder: Recorder | None = None) -> Driver:
    return Driver(
        new_run(),
        point=Defective(),
        recorder=recorder or Recorder(log, deadline_s=WAIT_S),
        exchange=cast(Exchange, tool),
        transform=lambda asked, _: asked,
        on_stored=lambda run, seq: None,
    )


def told(directory: Path) -> list[tuple[str, dict[str, Any]]]:
    found = [(record.type, dict(record.body)) for record in records(directory)]
    return [(type_, body) for type_, body in found if type_.startswith("call.")]


@pytest.mark.guarantee("G03")
def test_a_defect_ends_every_open_call_and_every_later_one_in_a_record(tmp_path: Path) -> None:
    log = Log.open(tmp_path / "log", signer=FileSigner.from_seed(b"A" * 32), origin="test.example/log")

    async def body() -> list[Ending]:
        tool = Waiting()
        driven = driver(log, tool)
        with anyio.fail_after(WAIT_S):
            forwarded = asyncio.ensure_future(driven.call(CallRequested(request("c1", READ))))
            await tool.reached.wait()
            broken = await driven.call(CallRequested(request("c2", SEND)))
            endings = [await forwarded, broken]
            endings.append(await driven.call(CallRequested(request("c3", READ))))
            endings.append(await driven.call(CallRejected(rejection("c4"))))
            assert await driven.drain(WAIT_S)
        assert driven.is_broken
        assert tool.is_withdrawn
        log.close()
        return endings

    endings = anyio.run(body)
    assert endings == [CLOSED] * 4
    assert all(isinstance(ending, Refusal) for ending in endings)
    ends = {
        CallId(found["call"]): (type_, found)
        for type_, found in told(tmp_path / "log")
        if type_ != "call.intent"
    }
    assert {call: type_ for call, (type_, _) in ends.items()} == {
        "c1": "call.outcome",
        "c2": "call.denied",
        "c3": "call.denied",
        "c4": "call.denied",
    }
    assert ends[CallId("c1")][1]["status"] == "in_doubt"
    assert all(found["rules"] == ["TRX-INTERNAL"] for type_, found in ends.values() if type_ == "call.denied")


@pytest.mark.guarantee("G03")
def test_after_a_defect_a_lost_record_still_refuses(tmp_path: Path) -> None:
    log = Log.open(tmp_path / "log", signer=FileSigner.from_seed(b"A" * 32), origin="test.example/log")
    log.close()

    async def body() -> Ending:
        driven = driver(log, Waiting())
        driven.is_broken = True
        with anyio.fail_after(WAIT_S):
            return await driven.call(CallRequested(request("c1", READ)))

    assert anyio.run(body) == CLOSED


@pytest.mark.guarantee("G03")
def test_a_call_is_foreseen_while_its_intent_is_recorded_and_sent_after_it(tmp_path: Path) -> None:
    log = Log.open(tmp_path / "log", signer=FileSigner.from_seed(b"A" * 32), origin="test.example/log")
    asked = request("c1", READ)

    async def body() -> list[Request]:
        tool, recorder = Waiting(), Held(log)
        driven = driver(log, tool, recorder)
        reached: list[bool] = []

        def foreseen() -> None:
            reached.append(tool.reached.is_set())
            recorder.let_go()

        tool.on_foreseen = foreseen
        with anyio.fail_after(WAIT_S):
            calling = asyncio.ensure_future(driven.call(CallRequested(asked)))
            await tool.reached.wait()
            assert await driven.drain(WAIT_S)
            await calling
        assert reached == [False]
        log.close()
        return tool.foreseen

    assert anyio.run(body) == [asked]
