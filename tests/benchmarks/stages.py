"""How long each stage of a call takes by itself: parse, decide, record, label and deliver. Used by `latency.py`."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import orjson

from trionyx_audit.keys import load_signer
from trionyx_audit.log import Log
from trionyx_policies.bundle import load_bundle
from trionyx_policies.point import PolicyPoint
from trionyx_proxy.arguments import LINE
from trionyx_proxy.catalog import Catalog
from trionyx_proxy.config import load
from trionyx_proxy.core.account import Identity, PolicyVersion, Prompt, RunState
from trionyx_proxy.core.effect import AskPolicy, StoreRecord
from trionyx_proxy.core.event import CallRequested, RecordStored, ResultArrived, VerdictReached
from trionyx_proxy.core.request import CallId, Request, Result
from trionyx_proxy.core.run import Run
from trionyx_proxy.pep import wire
from trionyx_proxy.pep.admission import Admission
from trionyx_proxy.pep.delivery import clean_result
from trionyx_proxy.pep.recorder import Recorder
from trionyx_proxy.pep.service import engine_settings
from trionyx_testing.memory import ledger
from trionyx_testing.toolserver import TOOLS
from trionyx_testing.workspace import Workspace

REPEATS = 300


async def median_us(work: Callable[[], Awaitable[object]]) -> float:
    took = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        await work()
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e6


def stage_times(workspace: Workspace, arguments: dict[str, Any]) -> dict[str, float]:
    """Return the median of each stage in microseconds.

    `record` is one durable record, of which a call needs two; `disk` is one append and fdatasync without any of our
    code, the floor that the disk sets.
    """
    return anyio.run(_stage_times, workspace, arguments)


async def _stage_times(workspace: Workspace, arguments: dict[str, Any]) -> dict[str, float]:
    config = load(workspace.config.read_text(), base=workspace.root)
    bundle = load_bundle(config.policy.bundle)
    memory = ledger()
    admission = Admission(Catalog.from_data(bundle.data["trionyx"]), memory)
    admission.pin("test", "test", [{"name": name, "inputSchema": schema} for name, schema in TOOLS.items()])
    params = {"name": "test__echo", "arguments": arguments}
    line = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    point = await PolicyPoint.start(bundle, engine_settings(config))
    run = Run.resume(
        Identity("run", "a", "u", "", True, b"k" * 32),
        Prompt(),
        PolicyVersion(bundle.revision, bundle.digest),
        RunState(),
    )
    answer = {"content": [{"type": "text", "text": arguments["text"]}]}

    def admit() -> Request:
        request = admission.admit(params, call=CallId("c"), at_ms=1)
        assert isinstance(request, Request)
        return request

    def asked() -> tuple[Run, bytes]:
        following, (effect,) = run.receive(CallRequested(admit()))
        assert isinstance(effect, AskPolicy)
        return following, effect.document

    async def parse() -> None:
        wire.decode(line, LINE)
        admit()

    async def policy() -> None:
        await point.decide(asked_document)

    after, asked_document = asked()
    decision = await point.decide(asked_document)
    _, (store, *_) = after.receive(VerdictReached(CallId("c"), decision))
    assert isinstance(store, StoreRecord)

    async def core() -> None:
        following, _ = run.receive(CallRequested(request))
        following, _ = following.receive(VerdictReached(CallId("c"), decision))
        following, _ = following.receive(RecordStored(CallId("c"), 1))
        following, _ = following.receive(ResultArrived(CallId("c"), result))
        following.receive(RecordStored(CallId("c"), 2))

    request = admit()

    def delivered() -> Result:
        entry = admission.entry(request.tool.id)
        cleaned = clean_result(answer)
        assert entry is not None and isinstance(cleaned, dict)
        memory.sent(request, entry, tainted=False, brings_taint=False)
        read = memory.read(request, entry, cleaned, hides_text=False, max_bytes=1 << 20)
        assert isinstance(read, Result)
        return read

    result = delivered()

    async def deliver() -> None:
        delivered()

    with tempfile.TemporaryDirectory(dir=workspace.root) as directory:
        log = Log.open(
            Path(directory) / "log", signer=load_signer(config.audit.key), origin="bench.example/x"
        )
        recorder = Recorder(log, deadline_s=10)

        async def record() -> None:
            assert await recorder.store(store.type, store.body, store.payloads) is not None

        plain = os.open(Path(directory) / "plain", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

        async def disk() -> None:
            os.write(plain, store.body)
            os.fdatasync(plain)

        times = {
            "disk": await median_us(disk),
            "parse": await median_us(parse),
            "policy": await median_us(policy),
            "core": await median_us(core),
            "record": await median_us(record),
            "deliver": await median_us(deliver),
        }
        log.close()
        os.close(plain)
    await point.aclose()
    return times
