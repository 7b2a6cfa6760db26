"""Acceptance: the bundled CLI works with handles, and waits for what a person says at a second terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from trionyx_agents.demo import stage, story, world
from trionyx_agents.demo.scripted_model import (
    Block,
    Call,
    Conversation,
    Say,
    Script,
    ScriptedModel,
    ToolAnswer,
)
from trionyx_agents.demo.world import World
from trionyx_testing.asking import until

BIN = Path(sys.executable).parent
TOKEN = "⟦trx:"


def environment(**variables: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "PYTHONPATH") if name in os.environ}
    return {**kept, "PATH": "/usr/bin:/bin", **variables}


@dataclass(frozen=True)
class Played:
    """One run of `trionyx-agent` in front of the proxy, played to its end."""

    made: World
    answers: tuple[ToolAnswer, ...]
    events: list[dict[str, Any]]
    records: list[dict[str, Any]]

    def answer(self, tool: str, number: int = 0) -> ToolAnswer:
        return [answer for answer in self.answers if answer.tool.endswith(tool)][number]

    def given(self, tool: str) -> list[Mapping[str, Any]]:
        """Return the arguments as the model gave them."""
        return [
            event["arguments"]
            for event in self.events
            if event["event"] == "called" and event["tool"] == tool
        ]

    def done(self, server: str, tool: str) -> list[Mapping[str, Any]]:
        """Return the arguments as the server got them."""
        return [entry["arguments"] for entry in self.made.journal(server) if entry["tool"] == tool]


class Terminal:
    """A second terminal: `trionyx-proxy approvals …` as processes of their own."""

    def __init__(self, config: Path, process: subprocess.Popen[str]) -> None:
        self._config, self._process = config, process

    def type(self, *words: str) -> list[Any]:
        done = subprocess.run(
            [str(BIN / "trionyx-proxy"), "approvals", *words, "--json", "--config", str(self._config)],
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def question(self) -> dict[str, Any]:
        """Wait for the one question there is and return it in full."""

        def look() -> list[Any] | None:
            found = self.type("list")
            assert found or self._process.poll() is None, "the run is over, and nobody was asked"
            return found or None

        (listed,) = until(look)
        (shown,) = self.type("show", listed["approval"])
        found: dict[str, Any] = shown
        return found


@contextmanager
def agent(config: Path, model: ScriptedModel) -> Iterator[subprocess.Popen[str]]:
    command = [str(BIN / "trionyx-agent"), "run", str(stage.ASSISTANT), "--config", str(config)]
    with subprocess.Popen(
        [*command, "--prompt", story.PROMPT, "--user", world.USER, "--json"],
        env=environment(ANTHROPIC_BASE_URL=model.url, ANTHROPIC_API_KEY=model.key),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def play(root: Path, script: Script, person: Callable[[Terminal, World], None]) -> Played:
    made = world.build(root / "world")
    config = stage.configure(root / "proxy", made)
    with ScriptedModel(script) as model, agent(config, model) as process:
        person(Terminal(config, process), made)
        stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stderr) == (0, "")
    events = [json.loads(line) for line in stdout.splitlines()]
    log = config.parent / "audit" / events[0]["run"]
    shown = subprocess.run(
        [str(BIN / "trionyx-audit"), "show", "--json", str(log)],
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=60,
    )
    records = [json.loads(line)["record"] for line in shown.stdout.splitlines()]
    return Played(made, model.conversations[-1].answers, events, records)


@pytest.mark.guarantee("G31")
@pytest.mark.guarantee("G32")
@pytest.mark.guarantee("G35")
def test_the_bundled_cli_uses_handles_end_to_end_and_an_ask_is_approved_from_a_second_terminal(
    tmp_path: Path,
) -> None:
    asked: list[dict[str, Any]] = []

    def person(terminal: Terminal, made: World) -> None:
        question = terminal.question()
        asked.append(question)
        assert [mail["to"] for mail in journal(made, "send")] == [[world.COLLEAGUE]], "the call waits"
        terminal.type("approve", question["approval"])

    played = play(tmp_path, story.script, person)

    # What the model was given: colleagues' words, and a handle in place of the stranger's.
    colleague, stranger = (json.loads(played.answer("mail__read", number).text) for number in (0, 1))
    original = json.loads((played.made.root / "mail/inbox/m2.json").read_text())
    assert "which room are we in" in colleague["body"]
    assert stranger["from"] == world.PARCEL, "an address is a value, and short enough to be shown"
    assert stranger["body"].startswith(TOKEN)
    revealed = played.answers.index(played.answer("trionyx_reveal"))
    assert [
        answer.tool
        for answer in played.answers[:revealed]
        if "parcel is waiting" in answer.text or world.MARK in answer.text
    ] == []
    assert world.MARK in played.answers[revealed].text

    # What it did with handles: one as a whole argument, one within a text, a few bits of one read.
    kept = {"path": world.NOTICE_FILE, "content": stranger["body"]}
    assert kept in played.given("files__write")
    assert played.made.file(world.NOTICE_FILE).read_text() == original["body"]
    told, sent = played.given("mail__send")[0]["body"], played.done("mail", "send")[0]["body"]
    plan = played.answer("web__fetch").text
    assert plan.startswith(TOKEN)
    assert plan in told
    assert TOKEN not in sent
    assert "Thursday 10:00-11:30  Supplier meeting" in sent
    assert "Lagune" in played.answer("trionyx_extract").text

    # What a person said, and what came of it.
    (question,) = asked
    assert (question["tool"], [rule["id"] for rule in question["rules"]]) == ("mail__send", ["PROV-002"])
    assert json.loads(question["arguments"])["to"] == [world.PARCEL]
    assert [mail["to"] for mail in played.done("mail", "send")] == [[world.COLLEAGUE], [world.PARCEL]]
    order = [record["type"] for record in played.records if record["type"].startswith("approval.")]
    assert order == ["approval.asked", "approval.approved", "approval.used"]
    (released,) = [
        record for record in played.records if record["type"] == "call.intent" and "approval" in record
    ]
    assert released["approval"]["id"] == question["approval"]


@pytest.mark.slow
@pytest.mark.guarantee("G32")
def test_what_the_second_terminal_rejects_is_not_done_and_the_run_goes_on(tmp_path: Path) -> None:
    def person(terminal: Terminal, made: World) -> None:
        terminal.type("reject", terminal.question()["approval"], "--reason", "not ours")

    played = play(tmp_path, story.script, person)
    refusal = played.answer("mail__send", 1)
    assert refusal.error
    assert "TRX-REJECTED" in refusal.text
    assert "not ours" not in refusal.text
    assert [mail["to"] for mail in played.done("mail", "send")] == [[world.COLLEAGUE]]
    assert played.made.file(world.NOTE_FILE).exists()


def keeps_and_reads_back(conversation: Conversation) -> Sequence[Block]:
    """File the stranger's mail as a handle, then read the file."""
    notice = {"path": world.NOTICE_FILE}
    match conversation.turn:
        case 0:
            return (Call(conversation.named("mail__read"), {"id": "m2"}),)
        case 1:
            body = json.loads(conversation.answers[0].text)["body"]
            return (Call(conversation.named("files__write"), notice | {"content": body}),)
        case 2:
            return (Call(conversation.named("files__read"), notice),)
        case _:
            return (Say("Done."),)


@pytest.mark.slow
@pytest.mark.guarantee("G30")
def test_what_was_kept_unread_is_still_a_handle_when_it_is_read_back(tmp_path: Path) -> None:
    """The place itself is the organisation's, so it is what was written there that counts."""
    played = play(tmp_path, keeps_and_reads_back, lambda terminal, made: None)
    assert world.MARK in played.made.file(world.NOTICE_FILE).read_text()
    back = played.answer("files__read")
    assert not back.error
    assert TOKEN in back.text
    assert world.MARK not in back.text


def journal(made: World, tool: str) -> list[Mapping[str, Any]]:
    return [entry["arguments"] for entry in made.journal("mail") if entry["tool"] == tool]
