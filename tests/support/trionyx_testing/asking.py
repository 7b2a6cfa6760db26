"""A working directory whose policy asks people, and a second terminal to answer from."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from trionyx_proxy.approvals.question import Matter, Question
from trionyx_proxy.cli import main
from trionyx_proxy.config import load
from trionyx_proxy.launcher import mint_run
from trionyx_proxy.state import RunStore
from trionyx_testing.capture import output_of
from trionyx_testing.client import Served
from trionyx_testing.workspace import Workspace, toolserver

WAIT_S = 60.0
STRANGER = "pay@stranger.example"
"""An address that no prompt of these tests names."""

QUESTION = Question(
    run="01JRUN",
    agent="inbox",
    user="emma",
    tenant="acme",
    call="c1",
    tool="mail__send",
    rules=(("PROV-002", "title"),),
    arguments='{"to":["x@evil.example"]}',
    matters=(
        Matter("/to/0", "target", "email", "X@evil.example", "public", ()),
        Matter("/to/1", "target", "email", "jonas@corp.example", "user", ("the registered request",)),
        Matter("/body", "content", "text", "hello", "public", ()),
        Matter("/sum", "amount", "amount", "not a sum", "public", ()),
    ),
)
"""A question of which one value can be vouched for."""

T = TypeVar("T")


def until(look: Callable[[], T | None]) -> T:
    """Return what another process brings about, looking a hundred times a second; fails after WAIT_S."""
    deadline = time.monotonic() + WAIT_S
    while (found := look()) is None or found is False:
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come about")
        threading.Event().wait(0.01)
    return found


def asking_workspace(root: Path, *, wait_ms: int = 15_000, more: str = "", ttl_s: int = 600) -> Workspace:
    """Write a working directory whose policy asks about recipients that nothing trusted vouches for."""
    made = Workspace.create(root, upstreams=toolserver(env={"TOOL_JOURNAL": str(root / "journal.jsonl")}))
    flow = root / "bundle/data/flow.json"
    found = json.loads(flow.read_text())
    found["trionyx"]["flow"] |= {"approval_effects": [], "untainted_effects": []}
    flow.write_text(json.dumps(found))
    with made.config.open("a") as file:
        file.write(f"\n[approvals]\nwait_ms = {wait_ms}\nttl_s = {ttl_s}\n{more}\n")
    return made


def minted(
    made: Workspace, prompt: str = "Do it.", *, user: str = "emma", tenant: str = ""
) -> dict[str, str]:
    """Return the environment of a run with a registered prompt."""
    config = load(made.config.read_text(), base=made.root)
    store = RunStore.open(made.root / "state")
    try:
        run = mint_run(config, store, agent="inbox", user=user, tenant=tenant, ttl_s=3_600, prompt=prompt)
    finally:
        store.close()
    return {"TRIONYX_RUN_TOKEN": run.token}


def terminal(made: Workspace, *order: str) -> list[dict[str, Any]]:
    """Run `trionyx-proxy approvals …` and return the JSON lines that it prints."""
    action, *rest = order
    argv = ["approvals", action, "--config", str(made.config), "--json", *rest]
    return [json.loads(line) for line in output_of(main, argv).splitlines()]


def fails(made: Workspace, *order: str) -> int:
    """Run `trionyx-proxy approvals …` and return its exit code."""
    action, *rest = order
    return main(["approvals", action, "--config", str(made.config), *rest])


def pending(made: Workspace, count: int = 1) -> list[str]:
    """Return the ids of the questions that wait, once there are so many."""

    def look() -> list[str] | None:
        found = [entry["approval"] for entry in terminal(made, "list")]
        return found if len(found) >= count else None

    return until(look)


def send(served: Served, to: str = STRANGER, body: str = "hello") -> int:
    """Ask for a mail to be sent, and do not wait."""
    return served.post("tools/call", {"name": "test__send", "arguments": {"to": [to], "body": body}})


def result(served: Served, request: int) -> dict[str, Any]:
    answer = served.answer(request)
    assert answer is not None
    found: dict[str, Any] = answer["result"]
    return found


def remedies(answer: dict[str, Any]) -> list[dict[str, str]]:
    return [remedy for reason in answer["_meta"]["trionyx/refusal"] for remedy in reason["remedies"]]


class Dialog(Served):
    """A client that says it can show dialogs, and answers each as it is told."""

    def __init__(self, made: Workspace, env: dict[str, str], capabilities: dict[str, Any]) -> None:
        super().__init__(made, env)
        self._capabilities = capabilities

    def __enter__(self) -> Dialog:
        super().__enter__()
        return self

    def initialize(self) -> dict[str, Any] | None:
        info = {"name": "test", "version": "1"}
        params = {"protocolVersion": "2025-11-25", "capabilities": self._capabilities, "clientInfo": info}
        found = self.request("initialize", params)
        self.send({"method": "notifications/initialized"})
        return found

    def asked(self) -> dict[str, Any]:
        """Return the next dialog that the proxy asks for."""
        while (line := self.line()) is not None:
            message: dict[str, Any] = json.loads(line)
            if message.get("method") == "elicitation/create":
                return message
        raise AssertionError("no dialog")
