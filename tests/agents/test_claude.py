"""The runtime's self-check and its gate: what a start may look like, and what is refused inside."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from claude_agent_sdk import HookContext, PreToolUseHookInput, ResultMessage, SystemMessage

from trionyx_agents import claude
from trionyx_agents.errors import LockdownError
from trionyx_agents.events import Ended, Reason
from trionyx_agents.launcher import Server

ECHO = "mcp__trionyx__desk__echo"
GOOD: dict[str, Any] = {
    "tools": [ECHO],
    "mcp_servers": [{"name": "trionyx", "status": "connected"}],
    "permissionMode": "dontAsk",
    "plugins": [{"name": "own", "path": "builtin"}],
    "skills": [],
    "slash_commands": [],
}


def check(**changed: object) -> None:
    claude._check_start(SystemMessage("init", {**GOOD, **changed}), frozenset({ECHO}), frozenset({"trionyx"}))


def test_the_expected_start_passes() -> None:
    check()


@pytest.mark.guarantee("G25")
@pytest.mark.parametrize(
    "changed",
    [
        {"tools": [ECHO, "Bash"]},
        {"tools": []},
        {"tools": ["Bash"]},
        {"mcp_servers": []},
        {"mcp_servers": [{"name": "trionyx", "status": "pending"}]},
        {"mcp_servers": [*GOOD["mcp_servers"], {"name": "evil", "status": "connected"}]},
        {"permissionMode": "bypassPermissions"},
        {"plugins": [{"name": "trap", "path": "/somewhere"}]},
        {"skills": ["trap"]},
        {"slash_commands": ["trap"]},
    ],
    ids=str,
)
def test_any_other_start_is_ended(changed: dict[str, object]) -> None:
    with pytest.raises(LockdownError):
        check(**changed)


@pytest.mark.parametrize("expected", [frozenset({ECHO}), None], ids=["named tools", "all of the servers'"])
@pytest.mark.parametrize(
    ("tool", "passes"), [(ECHO, True), ("Bash", False), ("mcp__evil__x", False), ("", False)]
)
def test_the_gate_passes_the_servers_tools_only(
    expected: frozenset[str] | None, tool: str, passes: bool
) -> None:
    gate = claude._gate(expected, (Server("trionyx", ("x",), {}),))
    event = PreToolUseHookInput(
        hook_event_name="PreToolUse",
        tool_name=tool,
        tool_input={},
        tool_use_id="c",
        session_id="s",
        transcript_path="",
        cwd="",
    )

    async def ask() -> dict[str, Any]:
        return dict(await gate(event, "c", HookContext(signal=None)))

    answer = anyio.run(ask)
    assert (answer == {}) is passes
    if not passes:
        assert answer["hookSpecificOutput"]["permissionDecision"] == "deny"


@pytest.mark.parametrize(
    ("subtype", "is_error", "result", "reason", "detail"),
    [
        ("success", False, "done", Reason.COMPLETED, ""),
        ("success", True, "API Error:\n 500", Reason.ERROR, "API Error: 500"),
        ("error_max_turns", True, None, Reason.MAX_TURNS, ""),
        ("error_max_budget_usd", True, None, Reason.MAX_BUDGET, ""),
        ("error_during_execution", True, None, Reason.ERROR, "error_during_execution"),
        ("something_new", False, None, Reason.ERROR, "something_new"),
    ],
)
def test_every_result_has_one_reason(
    subtype: str, is_error: bool, result: str | None, reason: Reason, detail: str
) -> None:
    message = ResultMessage(subtype, 10, 5, is_error, 2, "s", total_cost_usd=0.5, result=result)
    assert claude._ending(message) == Ended(reason, detail, 2, 10, 0.5)
