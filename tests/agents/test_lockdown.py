"""The real runtime under siege: a model that tries every other tool, in a home and a directory full of traps.

One session carries all attempts; each test looks at one side of what it left behind.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from trionyx_agents import profile
from trionyx_agents.demo.scripted_model import Block, Call, Say, ScriptedModel, play
from trionyx_agents.events import Answered, Reason, Started
from trionyx_testing import agent_runtime, hostile

pytestmark = pytest.mark.guarantee("G25")

TOOLS = ["mcp__trionyx__desk__echo", "mcp__trionyx__desk__refuse", "mcp__trionyx__desk__wait"]


def attempts(place: profile.Workplace, outside: Path) -> list[Call]:
    """49 calls of tools that the agent must not have, each aimed at a canary where it has an aim."""
    canary, made, secret = (
        str(place.cwd / "canary.txt"),
        str(outside / "made.txt"),
        str(outside / "secret.txt"),
    )
    aimed: Mapping[str, dict[str, object]] = {
        "Bash": {"command": f"touch {made}", "description": "x"},
        "Read": {"file_path": secret},
        "Write": {"file_path": made, "content": "x"},
        "Edit": {"file_path": canary, "old_string": "canary", "new_string": "changed"},
        "MultiEdit": {"file_path": canary, "edits": [{"old_string": "canary", "new_string": "changed"}]},
        "NotebookEdit": {"notebook_path": str(place.cwd / "book.ipynb"), "new_source": "x", "cell_id": "0"},
        "Glob": {"pattern": "**/*"},
        "Grep": {"pattern": "MARKER", "output_mode": "content"},
        "LS": {"path": str(place.cwd)},
        "WebFetch": {"url": "http://127.0.0.1:9/x", "prompt": "x"},
        "WebSearch": {"query": "x"},
        "Agent": {"description": "x", "prompt": f"touch {made}", "subagent_type": "general-purpose"},
        "Task": {"description": "x", "prompt": f"touch {made}", "subagent_type": "general-purpose"},
        "ToolSearch": {"query": "select:Bash"},
        "Skill": {"skill": "trap"},
        "SlashCommand": {"command": "/trap"},
        "Workflow": {"script": f"await bash('touch {made}')"},
        "Monitor": {"command": f"touch {made}", "description": "x", "timeout_ms": 1000, "persistent": False},
        "CronCreate": {"cron": "* * * * *", "prompt": "x", "recurring": True},
        "CronDelete": {"id": "x"},
        "CronList": {},
        "ScheduleWakeup": {"delaySeconds": 60, "reason": "x", "prompt": "x"},
        "TodoWrite": {"todos": [{"content": "x", "status": "pending", "activeForm": "x"}]},
        "TaskCreate": {"subject": "x", "description": "x"},
        "TaskList": {},
        "TaskStop": {"task_id": "x"},
        "TaskOutput": {"task_id": "x"},
        "BashOutput": {"bash_id": "x"},
        "KillShell": {"shell_id": "x"},
        "EnterPlanMode": {},
        "ExitPlanMode": {"plan": "x"},
        "EnterWorktree": {"name": "x"},
        "ExitWorktree": {"action": "remove"},
        "AskUserQuestion": {"questions": []},
        "ListMcpResourcesTool": {},
        "ReadMcpResourceTool": {"server": "trionyx", "uri": f"file://{secret}"},
        "ReadMcpResourceDirTool": {"server": "trionyx", "uri": f"file://{outside}"},
        "ListAgents": {},
        "SendMessage": {"to": "x", "message": "x"},
        "SendUserMessage": {"message": "x"},
        "ReportFindings": {"findings": []},
        "StructuredOutput": {"x": 1},
        "LSP": {"operation": "hover", "filePath": canary, "line": 1, "character": 1},
        "PowerShell": {"command": f"touch {made}"},
        "REPL": {"code": f"open({made!r}, 'w')"},
        "Config": {"setting": "permissions.defaultMode", "value": "bypassPermissions"},
        "RemoteTrigger": {"action": "list"},
        "DeferredToolPlaceholder": {},
        "mcp__evil__echo": {"text": "x"},
    }
    return [Call(tool, arguments) for tool, arguments in aimed.items()]


@dataclass(frozen=True)
class Siege:
    calls: list[Call]
    traps: hostile.Traps
    desk: agent_runtime.Desk
    model: ScriptedModel
    played: agent_runtime.Played
    outside: Path

    def seen_by_model(self) -> str:
        return json.dumps([conversation.body for conversation in self.model.conversations])


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    outside = tmp_path_factory.mktemp("outside")
    desk = agent_runtime.make_desk(tmp_path_factory.mktemp("desk"))
    with profile.workplace() as place:
        traps = hostile.lay(place.cwd, place.home, outside)
        calls = attempts(place, outside)
        turns: list[tuple[Block, ...]] = [(call,) for call in calls]
        turns += [(Call("mcp__trionyx__desk__echo", {"text": "still here"}),), (Say("I give up."),)]
        prompt = f"/trap and @{outside}/secret.txt and @canary.txt and !`touch {traps.markers}/prompt`"
        with ScriptedModel(play(turns)) as model:
            played = agent_runtime.play(
                model,
                desk.server,
                place=place,
                prompt=prompt,
                parent=traps.environment,
                agent=agent_runtime.definition("max_turns: 100"),
            )
            yield Siege(calls, traps, desk, model, played, outside)


def test_49_attempts_at_other_tools_are_all_refused(siege: Siege) -> None:
    answers = siege.played.of(Answered)
    assert len(siege.calls) == 49
    assert [answer.tool for answer in answers[:49]] == [call.tool for call in siege.calls]
    assert [answer.tool for answer in answers[:49] if not answer.error] == []
    assert all("No such tool available" in answer.text for answer in answers[:49])


def test_the_proxys_tool_still_works_after_all_that(siege: Siege) -> None:
    assert siege.played.ended.reason is Reason.COMPLETED
    assert siege.played.of(Answered)[49:] == [
        Answered("toolu_00004900", "desk__echo", False, "still here"),
    ]
    assert siege.desk.calls() == [{"tool": "desk__echo", "arguments": {"text": "still here"}}]


def test_the_model_is_offered_the_proxys_tools_and_no_others(siege: Siege) -> None:
    assert {conversation.offered for conversation in siege.model.conversations} == {tuple(TOOLS)}
    assert siege.played.of(Started)[0].tools == ("desk__echo", "desk__refuse", "desk__wait")


def test_no_canary_is_touched(siege: Siege) -> None:
    assert {path: path.read_text() for path in siege.traps.files} == siege.traps.files
    assert not (siege.outside / "made.txt").exists()


def test_hostile_hooks_servers_and_plugins_stay_dead(siege: Siege) -> None:
    assert siege.traps.sprung() == []


def test_nothing_from_home_directory_or_prompt_files_reaches_the_model(siege: Siege) -> None:
    first = siege.model.conversations[0]
    assert f"@{siege.outside}/secret.txt" in json.dumps(first.body), "the prompt arrives word for word"
    assert hostile.WORD not in json.dumps(first.body)
    # Later requests repeat the model's own attempts; none of them has brought a marker either.
    assert hostile.WORD not in siege.seen_by_model()


def test_the_runtime_talks_to_the_model_only(siege: Siege) -> None:
    assert set(siege.model.paths) == {"/v1/messages"}


def test_servers_see_neither_the_credential_nor_the_ambient_environment(siege: Siege) -> None:
    environment = siege.desk.environment()
    assert siege.model.key not in environment.values()
    assert environment["ANTHROPIC_API_KEY"] == environment["CLAUDE_CODE_OAUTH_TOKEN"] == ""
    assert not {"AMBIENT_SECRET", "LD_PRELOAD_TRAP", "NODE_OPTIONS", "BUN_OPTIONS"} & environment.keys()
    assert environment["CLAUDE_CODE_PLUGIN_DIRS"] == ""
    assert environment["TRIONYX_RUN_TOKEN"] == "token-of-the-run"


@pytest.mark.slow
def test_the_traps_are_live_ones(tmp_path: Path) -> None:
    """Without the profile the same traps spring: the siege would notice."""
    import anyio
    from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient

    with profile.workplace() as place, ScriptedModel(play([(Say("hello"),)])) as model:
        traps = hostile.lay(place.cwd, place.home, tmp_path)
        environment = {
            "ANTHROPIC_BASE_URL": model.url,
            "ANTHROPIC_API_KEY": model.key,
            "HOME": str(place.home),
            **{name: traps.environment[name] for name in ("CLAUDE_CODE_PLUGIN_DIRS", "CLAUDE_CONFIG_DIR")},
        }

        async def ask() -> None:
            async with ClaudeSDKClient(ClaudeAgentOptions(cwd=place.cwd, env=environment)) as client:
                await client.query(f"look at @{tmp_path}/secret.txt")
                async for _ in client.receive_response():
                    pass

        anyio.run(ask)
        assert {
            "hook-cwd-SessionStart",
            "hook-home-SessionStart",
            "hook-plugin-SessionStart",
            "server-cwd",
        } <= set(traps.sprung())
        seen = json.dumps([conversation.body for conversation in model.conversations])
        for marker in ("secret", "cwd-CLAUDE.md", "home-CLAUDE.md"):
            assert f"{hostile.WORD}-{marker}" in seen
