"""The real agent runtime under test: a stand-in for the proxy, a scripted model, a run in this process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio

from trionyx_agents import claude, profile
from trionyx_agents.definition import Definition, parse_definition
from trionyx_agents.demo.scripted_model import ScriptedModel
from trionyx_agents.events import Ended, Event
from trionyx_agents.interruption import Interruption
from trionyx_agents.launcher import Server

Kind = TypeVar("Kind")

STAND_IN = Path(__file__).with_name("stand_in_proxy.py")


def definition(front: str = "") -> Definition:
    """A definition with further front matter lines."""
    return parse_definition(f"---\nname: tester\nmodel: claude-sonnet-5\n{front}\n---\nYou test.\n".encode())


@dataclass(frozen=True)
class Desk:
    """The stand-in proxy's directory."""

    directory: Path

    @property
    def config(self) -> Path:
        return self.directory / "config.json"

    @property
    def server(self) -> Server:
        command = (sys.executable, str(STAND_IN), "serve", "--config", str(self.config))
        return Server("trionyx", command, {"TRIONYX_RUN_TOKEN": "token-of-the-run"})

    def calls(self) -> list[dict[str, Any]]:
        file = self.directory / "calls.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def environment(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.directory / "environment.json").read_text())
        return found

    def minted(self) -> dict[str, Any] | None:
        file = self.directory / "mint.json"
        return json.loads(file.read_text()) if file.exists() else None


def make_desk(directory: Path) -> Desk:
    directory.mkdir(parents=True, exist_ok=True)
    desk = Desk(directory)
    desk.config.write_text(json.dumps({"directory": str(directory)}))
    return desk


@dataclass(frozen=True)
class Played:
    """A run of the real runtime against a scripted model."""

    events: list[Event]
    ended: Ended

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self.events if isinstance(event, kind)]


def play(
    model: ScriptedModel,
    server: Server,
    *,
    place: profile.Workplace,
    agent: Definition | None = None,
    prompt: str = "go",
    parent: Mapping[str, str] | None = None,
    credential: str = "ANTHROPIC_API_KEY",
) -> Played:
    """Run the real runtime in this process."""
    events: list[Event] = []
    ambient = {**os.environ, **(parent or {}), "ANTHROPIC_BASE_URL": model.url}
    environment = profile.runtime_environment(ambient, place, {credential: model.key})
    task = claude.Task(agent or definition(), prompt, (server,))
    with Interruption() as interruption:
        ended = anyio.run(
            partial(
                claude.run,
                task,
                place=place,
                environment=environment,
                interruption=interruption,
                emit=events.append,
            )
        )
        interruption.check()
    return Played(events, ended)
