"""The two acts: the same agent, model and tools, first on their own, then behind the proxy."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import anyio

from trionyx_agents import profile
from trionyx_agents.claude import Emit, Task, run
from trionyx_agents.definition import Definition, load_definition
from trionyx_agents.demo.scripted_model import ScriptedModel
from trionyx_agents.demo.second_terminal import SecondTerminal, Typed
from trionyx_agents.demo.story import PROMPT
from trionyx_agents.demo.world import SERVERS, USER, World, build, command
from trionyx_agents.errors import AgentError
from trionyx_agents.events import Ended, Event
from trionyx_agents.interruption import Interruption
from trionyx_agents.launcher import Grant, Server, find_command, mint, proxy_server

ASSISTANT = Path(__file__).with_name("assistant.md")

ANSWER_WITHIN_MS = 60_000
"""How long a call waits for a person; less than the runtime waits for a tool."""


@dataclass(frozen=True, slots=True)
class Act:
    """One act, played to its end.

    Args:
        world: the act's own copy of the world, with its servers' journals.
        events: what the agent's runtime reported.
        run: the proxy's run id, or "".
        typed: what was done at the second terminal.
    """

    world: World
    events: tuple[Event, ...]
    ended: Ended
    run: str = ""
    typed: tuple[Typed, ...] = ()


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays the model.

    Args:
        endpoint: variables that lead the runtime to the model, without the credential.
        credential: the one credential variable.
        model: overrides the definition's model, or "".
    """

    endpoint: Mapping[str, str]
    credential: Mapping[str, str]
    model: str = ""


def scripted(model: ScriptedModel) -> Cast:
    """Let the scripted model play."""
    return Cast({"ANTHROPIC_BASE_URL": model.url}, {"ANTHROPIC_API_KEY": model.key})


def live(environment: Mapping[str, str], model: str) -> Cast:
    """Let the real model play.

    Raises:
        AgentError: no credential is set.
    """
    return Cast({}, profile.credentials(environment), model)


def unprotected(root: Path, cast: Cast, interruption: Interruption) -> Act:
    """Play with the runtime directly on the three servers.

    Raises:
        Interrupted: a signal was received.
    """
    world = build(root)
    servers = tuple(Server(name, command(name), world.environment(name)) for name in SERVERS)
    definition = _assistant(cast)
    # The proxy's own tools are not there without it.
    tools = frozenset(tool for tool in definition.tools or () if tool.startswith(SERVERS))
    task = Task(replace(definition, tools=tools), PROMPT, servers, prefix="mcp__")
    events: list[Event] = []
    ended = _play(task, cast, interruption, events.append)
    return Act(world, tuple(events), ended)


def protected(root: Path, proxy: Path, cast: Cast, interruption: Interruption) -> Act:
    """Play with the proxy between the runtime and the three servers, and a person at a second terminal.

    Args:
        root: directory for the act's world; must be empty or absent.
        cast: who plays the model.
        proxy: directory for the proxy's configuration, keys, state and log; must not exist.
        interruption: entered.

    Raises:
        Interrupted: a signal was received.
    """
    world = build(root)
    definition = _assistant(cast)
    with interruption.breaking():
        config = configure(proxy, world)
        grant: Grant = mint(config, agent=definition.name, user=USER, tenant=None, ttl_s=600, prompt=PROMPT)
    task = Task(definition, PROMPT, (proxy_server(config, grant),))
    events: list[Event] = []
    with SecondTerminal(config) as terminal:

        def emit(event: Event) -> None:
            events.append(event)
            terminal.notice(event)

        ended = _play(task, cast, interruption, emit)
    return Act(world, tuple(events), ended, grant.run, terminal.typed)


def configure(proxy: Path, world: World) -> Path:
    """Make a proxy directory with its own command, put the world's servers behind it and let people be asked.

    Raises:
        AgentError: the command failed, in its own words.
    """
    done = subprocess.run(
        [find_command("trionyx-proxy"), "init", str(proxy)],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise AgentError(*(done.stderr.splitlines() or ("trionyx-proxy init failed",)))
    config = proxy / "config.toml"
    with config.open("a", encoding="utf-8") as file:
        for name in SERVERS:
            file.write(f"\n[upstreams.{name}]\ncommand = {_toml(*command(name))}\n")
            variables = ", ".join(
                f"{key} = {_string(value)}" for key, value in world.environment(name).items()
            )
            file.write(f"env = {{{variables}}}\n")
        file.write(f"\n[approvals]\nwait_ms = {ANSWER_WITHIN_MS}\n")
    return config


def _assistant(cast: Cast) -> Definition:
    definition = load_definition(ASSISTANT)
    return replace(definition, model=cast.model) if cast.model else definition


def _play(task: Task, cast: Cast, interruption: Interruption, emit: Emit) -> Ended:
    with profile.workplace() as place:
        environment = profile.runtime_environment({**os.environ, **cast.endpoint}, place, cast.credential)
        ended = anyio.run(
            partial(
                run,
                task,
                place=place,
                environment=environment,
                interruption=interruption,
                emit=emit,
            )
        )
    interruption.check()
    return ended


def _toml(*strings: str) -> str:
    return f"[{', '.join(map(_string, strings))}]"


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string is a TOML basic string
