"""Figures of the audit log on this machine: `python tests/benchmarks/audit_log.py [DIRECTORY]`.

Prints the cost of one fdatasync, latency of one producer, throughput of 64, and verification per record. The
directory decides which disk is measured; without one, a temporary directory is.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from trionyx_audit.canonical import canonicalize
from trionyx_audit.checkpoint import TrustedKey
from trionyx_audit.keys import FileSigner
from trionyx_audit.log import Draft, Log, Receipt
from trionyx_audit.verdict import Exit
from trionyx_audit.verify import verify

ORIGIN = "bench.example/log"
PRODUCERS = 64
SIGNER = FileSigner.from_seed(bytes(range(32)))
DRAFT = Draft(
    "call.denied",
    canonicalize(
        {
            "call": "01JD3ZK5V7Q8W9X0Y1Z2A3B4C5",
            "run": "01JD3ZK5V7Q8W9X0Y1Z2A3B4C6",
            "tool": {
                "id": "mail__send",
                "server": "mail",
                "effect": "egress",
                "descriptor_sha256": "ab" * 32,
            },
            "label": {
                "categories": [],
                "integrity": "public",
                "level": "secret",
                "readers": ["jonas@corp.example"],
            },
            "policy": {
                "digest": "cd" * 32,
                "revision": 7,
                "rules": ["FLOW-001", "EGRESS-002"],
                "eval_us": 412,
            },
            "arguments_sha256": "ef" * 32,
            "note": "x" * 400,
        }
    ),
)
WITH_PAYLOAD = Draft("call.denied", DRAFT.body, {"args": b"y" * 600})


def fdatasync_us(directory: Path) -> float:
    times = []
    descriptor = os.open(directory / "sync", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in range(500):
        os.write(descriptor, b"x" * 1500)
        begun = time.perf_counter()
        os.fdatasync(descriptor)
        times.append(time.perf_counter() - begun)
    os.close(descriptor)
    return sorted(times)[250] * 1e6


def one_producer(log: Log, draft: Draft, count: int = 1000) -> tuple[float, float]:
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        log.submit(draft).result()
        times.append(time.perf_counter() - begun)
    times.sort()
    return times[count // 2] * 1e6, times[count * 95 // 100] * 1e6


def coroutines(log: Log, draft: Draft, each: int) -> None:
    async def produce() -> None:
        for _ in range(each):
            await asyncio.wrap_future(log.submit(draft))

    async def everybody() -> None:
        await asyncio.gather(*(produce() for _ in range(PRODUCERS)))

    asyncio.run(everybody())


def threads(log: Log, draft: Draft, each: int) -> None:
    def produce() -> None:
        for _ in range(each):
            log.submit(draft).result()

    started = [threading.Thread(target=produce) for _ in range(PRODUCERS)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()


def pipelined(log: Log, draft: Draft, each: int) -> None:
    """Hold 64 records in flight per producer, as a server with many calls does."""

    def produce() -> None:
        window: list[Future[Receipt]] = []
        for _ in range(each):
            window.append(log.submit(draft))
            if len(window) == 64:
                window.pop(0).result()
        for future in window:
            future.result()

    started = [threading.Thread(target=produce) for _ in range(PRODUCERS)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()


def rate(run: Callable[[Log, Draft, int], None], log: Log, draft: Draft, each: int) -> float:
    begun = time.perf_counter()
    run(log, draft, each)
    return PRODUCERS * each / (time.perf_counter() - begun)


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as name:
        directory = Path(name)
        print(f"one fdatasync                 {fdatasync_us(directory):8.0f} µs")
        with Log.open(directory / "log", signer=SIGNER, origin=ORIGIN) as log:
            for title, draft in (("record", DRAFT), ("record + payload", WITH_PAYLOAD)):
                p50, p95 = one_producer(log, draft)
                print(f"one producer, {title:<17}{p50:7.0f} µs p50  {p95:7.0f} µs p95")
            for run in (coroutines, threads, pipelined):
                print(f"64 {run.__name__:<26} {rate(run, log, DRAFT, 400):8.0f} records/s")
            print(f"64 coroutines with payloads   {rate(coroutines, log, WITH_PAYLOAD, 200):8.0f} records/s")
            cpu = time.process_time()
            size = log.size
            pipelined(log, DRAFT, 200)
            print(
                f"CPU per record, pipelined     {(time.process_time() - cpu) / (log.size - size) * 1e6:8.1f} µs"
            )
        for quick in (True, False):
            begun, cpu = time.perf_counter(), time.process_time()
            verdict = verify(directory / "log", TrustedKey(SIGNER.public), quick=quick)
            if verdict.exit() is not Exit.HOLDS:
                raise SystemExit(f"the log does not verify: {verdict.findings}")
            wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
            mode = "quick" if quick else "full"
            print(
                f"verify {mode:<6} {verdict.size:>8} records {cpu / verdict.size * 1e6:9.1f} µs CPU/record"
                f"  {verdict.size / wall:8.0f} records/s"
            )


if __name__ == "__main__":
    main()
