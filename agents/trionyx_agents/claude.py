"""The claude-agent-sdk runtime: started in the tight profile, checked, asked once, watched to its end.

It enforces nothing: what a call may do is decided behind the proxy. It makes sure of there being no other
way out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
from claude_agent_sdk import (
    AssistantMessage,
    ClaudeSDKClient,
    HookContext,
    HookInput,
    HookJSONOutput,
    HookMatcher,
    Message,
    ResultMessage,
    SystemMessage,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)

from trionyx_agents import profile, runtime_log
from trionyx_agents.definition import Definition
from trionyx_agents.errors import AgentError, LockdownError
from trionyx_agents.events import Answered, Called, Ended, Event, Reason, Retried, Said, Started
from trionyx_agents.interruption import Interruption
from trionyx_agents.launcher import GATEWAY, Server

START_TIMEOUT_S = profile.SERVER_START_TIMEOUT_MS / 1000 + 5
POLL_S = 0.05

_REASONS: Mapping[str, Reason] = {
    "success": Reason.COMPLETED,
    "error_max_turns": Reason.MAX_TURNS,
    "error_max_budget_usd": Reason.MAX_BUDGET,
}
# Statuses that no retry mends; the runtime would try ten times over several minutes.
_REFUSED = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Task:
    """One prompt for one agent with its servers.

    Args:
        prompt: taken word for word: no file is read and no command run for anything in it.
        servers: normally the proxy alone.
        prefix: what the runtime puts before the definition's tool names.
    """

    definition: Definition
    prompt: str
    servers: tuple[Server, ...]
    prefix: str = f"mcp__{GATEWAY}__"


Emit = Callable[[Event], None]

# What the SDK logs as an error it raises as well; without a handler it would be printed besides.
logging.getLogger("claude_agent_sdk").addHandler(logging.NullHandler())


class RuntimeFailedError(AgentError):
    """The runtime or the SDK gave up."""


class _ServerFailed(AgentError):
    def __init__(self, server: str, reason: str) -> None:
        super().__init__(reason)
        self.server = server


async def run(
    task: Task,
    *,
    place: profile.Workplace,
    environment: Mapping[str, str],
    interruption: Interruption,
    emit: Emit,
) -> Ended:
    """Start the runtime, ask it, and watch it to the end; nothing of it is left running.

    Args:
        task: what to ask of whom.
        place: the run's private directories.
        environment: the runtime's whole environment, from `profile.runtime_environment`.
        interruption: entered; a signal that it has received already ends the run before it begins.
        emit: called with every event but the last, which is returned.

    Raises:
        AgentError: the runtime or a server did not start.
        LockdownError: it came up with other tools than expected.
    """
    begun = time.monotonic()

    def passed_ms() -> int:
        return round((time.monotonic() - begun) * 1000)

    ended: Ended | None = None
    failure: AgentError | None = None
    async with anyio.create_task_group() as group:
        await group.start(interruption.watch)
        with interruption.scope:
            try:
                async with _locked_down(task, place, environment) as (client, tools):
                    interruption.interrupt = partial(_interrupt, client)
                    try:
                        ended = await _converse(client, task, tools, emit)
                    except RuntimeFailedError as error:
                        ended = Ended(Reason.ERROR, str(error), 0, passed_ms())
            except _ServerFailed as error:
                # Only now, with the runtime gone, is its log complete.
                words = runtime_log.last_words(place.home, error.server) or error.problems
                failure = AgentError(
                    *(f"server {error.server} did not start: {_one_line(word)}" for word in words)
                )
            except AgentError as error:
                failure = error  # raised below, past the task group, which would wrap it
        group.cancel_scope.cancel()
    if interruption.signal is not None:
        turns = ended.turns if ended else 0
        return Ended(Reason.INTERRUPTED, interruption.signal.name, turns, passed_ms())
    if failure is not None:
        raise failure
    if ended is None:
        raise AgentError("the agent runtime ended without a word")
    return ended


@asynccontextmanager
async def _locked_down(
    task: Task, place: profile.Workplace, environment: Mapping[str, str]
) -> AsyncIterator[tuple[ClaudeSDKClient, frozenset[str]]]:
    """Yield a runtime whose servers are connected and which shows exactly the expected tools."""
    wanted = task.definition.tools
    expected = None if wanted is None else frozenset(task.prefix + tool for tool in wanted)
    hidden: frozenset[str] = frozenset()
    # What the servers offer is known only once they run, and what to hide must be said before the runtime
    # starts: a definition that narrows the offer costs a second start.
    while True:
        async with _connected(task, place, environment, expected, hidden) as client:
            offered = await _offered(client)
            if expected is None:
                expected = offered
            if missing := expected - offered:
                names = ", ".join(sorted(name.removeprefix(task.prefix) for name in missing))
                raise AgentError(f"not offered by the agent's servers: {names}")
            if not expected:
                raise AgentError("the agent's servers offer no tools")
            if offered - hidden == expected:
                yield client, expected
                return
            if hidden:
                raise LockdownError("the servers' tools changed while the runtime was starting")
            hidden = offered - expected


@asynccontextmanager
async def _connected(
    task: Task,
    place: profile.Workplace,
    environment: Mapping[str, str],
    expected: frozenset[str] | None,
    hidden: frozenset[str],
) -> AsyncIterator[ClaudeSDKClient]:
    allowed = sorted(expected) if expected else [f"mcp__{server.name}__*" for server in task.servers]
    gate = HookMatcher(hooks=[_gate(expected, task.servers)])
    client = ClaudeSDKClient(
        profile.options(
            task.definition,
            task.servers,
            place,
            environment,
            allowed=allowed,
            hidden=sorted(hidden),
            hooks={"PreToolUse": [gate]},
        )
    )
    try:
        with _sdk(), profile.only_environment(environment):
            await client.connect()
        yield client
    finally:
        with anyio.CancelScope(shield=True):
            await client.disconnect()


def _gate(
    expected: frozenset[str] | None, servers: Sequence[Server]
) -> Callable[[HookInput, str | None, HookContext], Awaitable[HookJSONOutput]]:
    prefixes = tuple(f"mcp__{server.name}__" for server in servers)

    async def refuse_others(event: HookInput, call: str | None, context: HookContext) -> HookJSONOutput:
        name = event["tool_name"] if event["hook_event_name"] == "PreToolUse" else ""
        if name in expected if expected is not None else name.startswith(prefixes):
            return {}
        return {
            "hookSpecificOutput": {
                "hookEventName": "PreToolUse",
                "permissionDecision": "deny",
                "permissionDecisionReason": "this agent has no such tool",
            }
        }

    return refuse_others


async def _offered(client: ClaudeSDKClient) -> frozenset[str]:
    """Wait until every server is connected, and return the runtime's names of all their tools."""
    with anyio.move_on_after(START_TIMEOUT_S):
        while True:
            with _sdk():
                servers = (await client.get_mcp_status())["mcpServers"]
            if servers and all(server["status"] == "connected" for server in servers):
                return frozenset(
                    f"mcp__{server['name']}__{tool['name']}"
                    for server in servers
                    for tool in server.get("tools", ())
                )
            for server in servers:
                if server["status"] not in ("connected", "pending"):
                    raise _ServerFailed(server["name"], server.get("error", ""))
            await anyio.sleep(POLL_S)
    raise AgentError(f"the agent's servers did not start within {START_TIMEOUT_S:.0f} s")


async def _converse(client: ClaudeSDKClient, task: Task, tools: frozenset[str], emit: Emit) -> Ended:
    called: dict[str, str] = {}
    checked = False
    async for message in _messages(client, task.prompt):
        if isinstance(message, SystemMessage) and message.subtype == "init":
            _check_start(message, tools, frozenset(server.name for server in task.servers))
            checked = True
            shown = tuple(sorted(tool.removeprefix(task.prefix) for tool in tools))
            emit(Started(str(message.data.get("model", task.definition.model)), shown))
        elif isinstance(message, SystemMessage) and message.subtype == "api_retry":
            retried = _retry(message.data)
            if retried.status in _REFUSED:
                refused = f"the model's API refused the credential ({retried.status})"
                await _interrupt(client)
                return Ended(Reason.ERROR, refused, 0, 0)
            emit(retried)
        elif isinstance(message, AssistantMessage | UserMessage | ResultMessage) and not checked:
            raise LockdownError("the runtime began to act before it said what it is equipped with")
        elif isinstance(message, ResultMessage):
            return _ending(message)
        else:
            for event in _events(message, called, task.prefix):
                emit(event)
    return Ended(Reason.ERROR, "the agent runtime ended without a result", 0, 0)


async def _messages(client: ClaudeSDKClient, prompt: str) -> AsyncIterator[Message]:
    with _sdk():
        await client.query(prompt)
        async for message in client.receive_response():
            yield message


async def _interrupt(client: ClaudeSDKClient) -> None:
    with _sdk():
        await client.interrupt()


@contextmanager
def _sdk() -> Iterator[None]:
    try:
        yield
    except AgentError:
        raise
    except (
        Exception
    ) as error:  # the SDK raises bare exceptions too: for a lost answer, a broken line, a time-out
        raise RuntimeFailedError(f"the agent runtime failed: {_one_line(str(error))}") from error


def _retry(data: Mapping[str, Any]) -> Retried:
    return Retried(
        attempt=int(data.get("attempt") or 0),
        status=int(data.get("error_status") or 0),
        error=str(data.get("error") or "unknown"),
        delay_ms=int(data.get("retry_delay_ms") or 0),
    )


def _check_start(init: SystemMessage, tools: frozenset[str], servers: frozenset[str]) -> None:
    data = init.data
    problems = []
    present = frozenset(data.get("tools", ()))
    if present != tools:
        difference = ", ".join(sorted(present ^ tools))
        problems.append(f"the runtime's tools are not the expected ones: {difference}")
    running = {server.get("name"): server.get("status") for server in data.get("mcp_servers", ())}
    if running != dict.fromkeys(servers, "connected"):
        problems.append(
            f"the runtime's servers are not the expected ones: {', '.join(sorted(map(str, running)))}"
        )
    if data.get("permissionMode") != "dontAsk":
        problems.append("the runtime is not in the mode that denies whatever was not granted")
    foreign = [plugin for plugin in data.get("plugins", ()) if plugin.get("path") != "builtin"]
    if foreign or data.get("skills") or data.get("slash_commands"):
        problems.append("the runtime has loaded plugins, skills or commands")
    if problems:
        raise LockdownError(*problems)


def _events(message: Message, called: dict[str, str], prefix: str) -> list[Event]:
    events: list[Event] = []
    content = message.content if isinstance(message, AssistantMessage | UserMessage) else ()
    for block in content if not isinstance(content, str) else ():
        match block:
            case TextBlock(text=text) if isinstance(message, AssistantMessage):
                events.append(Said(text))
            case ToolUseBlock(id=call, name=name, input=arguments):
                called[call] = name.removeprefix(prefix)
                events.append(Called(call, called[call], arguments))
            case ToolResultBlock(tool_use_id=call, content=answer, is_error=error):
                events.append(Answered(call, called.get(call, ""), bool(error), _flat(answer)))
            case _:
                pass  # thinking and the like: the model's own, of no consequence to anybody else
    return events


def _flat(answer: str | list[dict[str, object]] | None) -> str:
    if answer is None or isinstance(answer, str):
        return answer or ""
    return "\n".join(str(part.get("text", f"[{part.get('type', 'unknown')}]")) for part in answer)


def _ending(result: ResultMessage) -> Ended:
    reason = _REASONS.get(result.subtype, Reason.ERROR)
    if reason is Reason.COMPLETED and result.is_error:
        reason = Reason.ERROR
    detail = ""
    if reason is Reason.ERROR:
        detail = _one_line("; ".join(result.errors or ()) or result.result or result.subtype)
    return Ended(reason, detail, result.num_turns, result.duration_ms, result.total_cost_usd)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500] or "no reason given"
