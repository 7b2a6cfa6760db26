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
from trionyx_agents.claude import Task, run
from trionyx_agents.definition import Definition, load_definition
from trionyx_agents.demo.scripted_model import ScriptedModel
from trionyx_agents.demo.story import PROMPT
from trionyx_agents.demo.world import SERVERS, USER, World, build, command
from trionyx_agents.errors import AgentError
from trionyx_agents.events import Ended, Event
from trionyx_agents.interruption import Interruption
from trionyx_agents.launcher import Grant, Server, find_command, mint, proxy_server

ASSISTANT = Path(__file__).with_name("assistant.md")


@dataclass(frozen=True, slots=True)
class Act:
    """One act, played to its end.

    Args:
        world: the act's own copy of the world, with its servers' journals.
        events: what the agent's runtime reported.
        run: the proxy's run id, or "".
    """

    world: World
    events: tuple[Event, ...]
    ended: Ended
    run: str = ""


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
    return _play(Task(_assistant(cast), PROMPT, servers, prefix="mcp__"), world, cast, interruption)


def protected(root: Path, proxy: Path, cast: Cast, interruption: Interruption) -> Act:
    """Play with the proxy between the runtime and the three servers.

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
    act = _play(Task(definition, PROMPT, (proxy_server(config, grant),)), world, cast, interruption)
    return replace(act, run=grant.run)


def configure(proxy: Path, world: World) -> Path:
    """Make a proxy directory with its own command and put the world's servers behind it.

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
    return config


def _assistant(cast: Cast) -> Definition:
    definition = load_definition(ASSISTANT)
    return replace(definition, model=cast.model) if cast.model else definition


def _play(task: Task, world: World, cast: Cast, interruption: Interruption) -> Act:
    events: list[Event] = []
    with profile.workplace() as place:
        environment = profile.runtime_environment({**os.environ, **cast.endpoint}, place, cast.credential)
        ended = anyio.run(
            partial(
                run,
                task,
                place=place,
                environment=environment,
                interruption=interruption,
                emit=events.append,
            )
        )
    interruption.check()
    return Act(world, tuple(events), ended)


def _toml(*strings: str) -> str:
    return f"[{', '.join(map(_string, strings))}]"


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string is a TOML basic string
