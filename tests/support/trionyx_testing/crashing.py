"""Real proxy processes that kill themselves (SIGKILL) at a named point of a call's life.

`Zygote` is a process that has imported the proxy once and forks a child per trial, so that hundreds of kills take
minutes. A child is the real `trionyx-proxy serve` on the given pipes; only the seam that a point names is wrapped.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

POINTS = (
    "recv",
    "parsed",
    "decided",
    "before-intent-write",
    "after-write-before-fsync",
    "after-fsync",
    "after-state-commit",
    "before-forward",
    "mid-forward",
    "after-upstream-reply",
    "before-result-join",
    "after-result-join",
    "before-outcome-fsync",
    "mid-deliver",
)


APPROVAL_POINTS = (
    "before-claim",
    "after-claim",
    "before-used-record",
    "after-used-record",
    "approval-given",
    "before-approved-forward",
)
"""Points of a call's life that only a call has which a person approved."""

MESSAGE_POINTS = ("before-put", "after-put", "before-take", "after-take")
"""Points of the life of a call that sends or receives messages."""


class Fuse:
    """Kills this process at the n-th time that it is lit."""

    def __init__(self, nth: int) -> None:
        self._left = nth
        self.is_armed = False

    def light(self) -> None:
        self._left -= 1
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def next_kills(self) -> bool:
        return self._left == 1


def arm(point: str, nth: int) -> None:
    """Wrap the seam of one crash point in this process."""
    from trionyx_proxy.core.event import RecordStored, ResultArrived, VerdictReached
    from trionyx_proxy.core.run import Run
    from trionyx_proxy.pep import stdio, wire
    from trionyx_proxy.pep import upstream as upstream_module
    from trionyx_proxy.pep.admission import Admission
    from trionyx_proxy.pep.recorder import Recorder

    fuse = Fuse(nth)

    def around(owner: Any, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        setattr(owner, name, wrap(getattr(owner, name)))

    def before(condition: Callable[..., bool]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def wrap(inner: Callable[..., Any]) -> Callable[..., Any]:
            def run(*args: Any, **kwargs: Any) -> Any:
                if condition(*args, **kwargs):
                    fuse.light()
                return inner(*args, **kwargs)

            return run

        return wrap

    def after(condition: Callable[..., bool]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def wrap(inner: Callable[..., Any]) -> Callable[..., Any]:
            def run(*args: Any, **kwargs: Any) -> Any:
                outcome = inner(*args, **kwargs)
                if condition(*args, **kwargs):
                    fuse.light()
                return outcome

            return run

        return wrap

    def halfway(marker: bytes) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Write half of the line that holds `marker`, then die."""

        def wrap(inner: Callable[..., Any]) -> Callable[..., Any]:
            async def send(sink: Any, item: bytes) -> None:
                if marker in item and fuse.next_kills():
                    await inner(sink, item[: len(item) // 2])
                    fuse.light()
                if marker in item:
                    fuse.light()
                await inner(sink, item)

            return send

        return wrap

    def stores(type_: str) -> Callable[..., bool]:
        return lambda _, stored, *rest: stored == type_

    syncing = {"armed": False}

    def sync_of(type_: str, when: str) -> None:
        def note(_: Any, stored: str, *rest: Any) -> bool:
            syncing["armed"] = stored == type_
            return False

        around(Recorder, "begin", before(note))
        around(os, "fdatasync", (before if when == "before" else after)(lambda *_: syncing["armed"]))

    match point:
        case "recv":
            around(wire, "decode", before(lambda line, limits, **_: b'"tools/call"' in line))
        case "parsed":
            around(Admission, "admit", after(lambda *_, **__: True))
        case "decided":
            around(Run, "receive", before(lambda _, event: isinstance(event, VerdictReached)))
        case "before-intent-write":
            around(Recorder, "begin", before(stores("call.intent")))
        case "after-write-before-fsync":
            sync_of("call.intent", "before")
        case "after-fsync":
            sync_of("call.intent", "after")
        case "after-state-commit":
            around(Run, "receive", after(lambda _, event: isinstance(event, RecordStored)))
        case "before-forward":
            around(upstream_module.Upstream, "call", before(lambda *_, **__: True))
        case "mid-forward":
            from anyio._backends._asyncio import StreamWriterWrapper

            around(StreamWriterWrapper, "send", halfway(b'"tools/call"'))
        case "after-upstream-reply":
            around(wire, "decode", after(lambda line, limits, **_: b'"content"' in line))
        case "before-result-join":
            around(Run, "receive", before(lambda _, event: isinstance(event, ResultArrived)))
        case "after-result-join":
            around(Run, "receive", after(lambda _, event: isinstance(event, ResultArrived)))
        case "before-outcome-fsync":
            sync_of("call.outcome", "before")
        case "mid-deliver":
            around(stdio.PipeSink, "send", halfway(b'"trionyx/call"'))
        case "before-claim" | "after-claim":
            from trionyx_proxy.approvals.store import ApprovalStore

            around(ApprovalStore, "claim", (before if point == "before-claim" else after)(lambda *_: True))
        case "before-used-record":
            from trionyx_proxy.approvals.journal import Journal

            around(Journal, "used", before(lambda *_: True))
        case "after-used-record":
            from trionyx_proxy.core.event import ApprovalGiven

            around(Run, "receive", before(lambda _, event: isinstance(event, ApprovalGiven)))
        case "approval-given":
            from trionyx_proxy.core.event import ApprovalGiven

            around(Run, "receive", after(lambda _, event: isinstance(event, ApprovalGiven)))
        case "before-approved-forward":
            around(upstream_module.Upstream, "call", before(lambda *_, **__: True))
        case "before-put" | "after-put" | "before-take" | "after-take":
            from trionyx_proxy.messages.mailbox import Mailbox

            when, name = point.split("-")
            around(Mailbox, name, (before if when == "before" else after)(lambda *_, **__: True))
        case "never":
            pass
        case _:
            raise ValueError(point)


def zygote(control: socket.socket) -> None:
    """Fork a child for every request on the control socket; answers with the child's exit status."""
    import trionyx_proxy.cli

    control.sendall(b"ready\n")
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, 65_536, 3)
        if not request:
            return
        order = json.loads(request)
        child = os.fork()
        if child == 0:
            control.close()
            for number, descriptor in enumerate(descriptors):
                os.dup2(descriptor, number)
                os.close(descriptor)
            os.environ.update(order["env"])
            arm(order["point"], order["nth"])
            os._exit(trionyx_proxy.cli.main(order["argv"]))
        for descriptor in descriptors:
            os.close(descriptor)
        _, status = os.waitpid(child, 0)
        control.sendall(json.dumps({"status": os.waitstatus_to_exitcode(status)}).encode() + b"\n")


class Zygote:
    """The test's handle on a zygote process."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._control = ours
        self._process = subprocess.Popen(
            [sys.executable, "-m", "trionyx_testing.crashing", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        )
        theirs.close()
        self._lines = ours.makefile("rb")
        if self._lines.readline() != b"ready\n":
            raise RuntimeError("the zygote did not start")

    def start(
        self, argv: list[str], *, point: str = "never", nth: int = 1, env: dict[str, str] | None = None
    ) -> tuple[int, int]:
        """Start a child; return the write end of its input and the read end of its output."""
        input_read, input_write = os.pipe()
        output_read, output_write = os.pipe()
        order = json.dumps({"argv": argv, "point": point, "nth": nth, "env": env or {}}).encode()
        socket.send_fds(self._control, [order], [input_read, output_write, 2])
        os.close(input_read)
        os.close(output_write)
        return input_write, output_read

    def wait(self) -> int:
        """Wait for the child's end; return its exit status, negative for a signal."""
        status: int = json.loads(self._lines.readline())["status"]
        return status

    def close(self) -> None:
        self._lines.close()
        self._control.close()
        self._process.wait(10)


if __name__ == "__main__":
    zygote(socket.socket(fileno=int(sys.argv[1])))
