"""`trionyx-agent run`, end to end: the real command, the real runtime, a scripted model, a stand-in for the proxy."""

from __future__ import annotations

import json
import os
import select
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from trionyx_agents.demo.scripted_model import Block, Call, Conversation, Say, ScriptedModel, play
from trionyx_testing.agent_runtime import STAND_IN, Desk
from trionyx_testing.stand_in_proxy import RUN

ECHO, WAIT = "mcp__trionyx__desk__echo", "mcp__trionyx__desk__wait"


@dataclass(frozen=True)
class Finished:
    code: int
    events: list[dict[str, Any]]
    stderr: str

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == name]


@dataclass(frozen=True)
class Command:
    """The installed command with a proxy of its own beside its interpreter."""

    python: Path
    directory: Path
    desk: Desk
    environment: dict[str, str] = field(default_factory=dict)

    def define(self, front: str = "", body: str = "You test.") -> Path:
        path = self.directory / "agent.md"
        path.write_text(f"---\nname: tester\nmodel: claude-sonnet-5\n{front}\n---\n{body}\n")
        return path

    @contextmanager
    def start(
        self, model: ScriptedModel | None, *more: str, front: str = "", ignored: bool = False
    ) -> Iterator[subprocess.Popen[str]]:
        """Start the command; `ignored`: with signals ignored, as SIGINT is for what a script starts with `&`."""
        arguments = ["run", str(self.define(front)), "--config", str(self.desk.config), "--json", *more]
        arguments += [] if {"--prompt", "--prompt-file"} & set(more) else ["--prompt", "go @/etc/hostname"]
        endpoint = {"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": model.key} if model else {}
        kept = {
            name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH") if name in os.environ
        }
        with subprocess.Popen(
            [
                *(("sh", "-c", 'trap "" INT TERM; exec "$@"', "sh") if ignored else ()),
                *(str(self.python), "-m", "trionyx_agents.cli", *arguments),
            ],
            cwd=self.directory,
            env={**kept, "TMPDIR": str(self.directory), **endpoint, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    def run(self, model: ScriptedModel | None, *more: str, front: str = "") -> Finished:
        with self.start(model, *more, front=front) as process:
            return finish(process)


def finish(process: subprocess.Popen[str], seen: Sequence[str] = ()) -> Finished:
    stdout, stderr = process.communicate(timeout=60)
    lines = [*seen, *stdout.splitlines()]
    return Finished(process.returncode, [json.loads(line) for line in lines], stderr)


@pytest.fixture
def command(tmp_path: Path, desk: Desk) -> Command:
    """An environment like the real one, in which `trionyx-proxy` is the stand-in."""
    base = tmp_path / "env"
    (base / "bin").mkdir(parents=True)
    real = Path(sys.prefix)
    (base / "lib").symlink_to(real / "lib")
    (base / "pyvenv.cfg").write_bytes((real / "pyvenv.cfg").read_bytes())
    python = base / "bin" / "python"
    python.symlink_to(Path(sys.executable).resolve())
    proxy = base / "bin" / "trionyx-proxy"
    proxy.write_text(f'#!/bin/sh\nexec "{python}" "{STAND_IN}" "$@"\n')
    proxy.chmod(0o755)
    return Command(python, tmp_path, desk)


def leftovers(command: Command) -> list[str]:
    """Processes whose command line or environment leads into the test's directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if str(command.directory).encode() in text:
            found.append(text.decode(errors="replace")[:200])
    return found


def test_a_run_is_minted_streamed_and_stored(command: Command) -> None:
    with ScriptedModel(play([(Say("hello"), Call(ECHO, {"text": "hi"})), (Say("bye"),)])) as model:
        done = command.run(model, "--user", "emma", "--tenant", "acme", "--ttl", "60")
    assert (done.code, done.stderr) == (0, "")
    assert [event["event"] for event in done.events] == [
        "prompted",
        "started",
        "said",
        "called",
        "answered",
        "said",
        "ended",
    ]
    assert done.named("prompted")[0]["run"] == RUN
    assert done.named("answered")[0] == {
        "event": "answered",
        "call": done.named("called")[0]["call"],
        "tool": "desk__echo",
        "error": False,
        "text": "hi",
    }
    assert done.named("ended")[0]["reason"] == "completed"
    assert done.named("ended")[0]["turns"] == 2
    minted = command.desk.minted()
    assert minted is not None
    assert minted["prompt"] == "go @/etc/hostname"
    assert minted["arguments"][2:] == [
        *("--agent", "tester", "--user", "emma", "--tenant", "acme", "--ttl", "60", "--prompt-file", "-")
    ]
    transcript = command.desk.directory / "transcripts" / f"{RUN}.jsonl"
    assert [json.loads(line) for line in transcript.read_text().splitlines()] == done.events
    assert stat.S_IMODE(transcript.stat().st_mode) == 0o600
    assert "You test." in json.dumps(model.conversations[0].body["system"])
    assert leftovers(command) == []
    assert list(command.directory.glob("trionyx-agent-*")) == []


def test_max_turns_ends_a_run_that_never_ends_and_the_oauth_token_serves_as_well(command: Command) -> None:
    def again(conversation: Conversation) -> Sequence[Block]:
        return (Call(ECHO, {"text": str(conversation.turn)}),)

    with ScriptedModel(again) as model:
        command.environment.update(ANTHROPIC_API_KEY="", CLAUDE_CODE_OAUTH_TOKEN=model.key)
        done = command.run(model, front="max_turns: 3")
    assert (done.code, done.named("ended")[0]["reason"]) == (3, "max_turns")
    assert len(command.desk.calls()) == 3


@pytest.mark.parametrize(
    ("whole_group", "sent", "code"),
    [
        pytest.param(True, signal.SIGINT, 130, id="ctrl-c at a terminal"),
        pytest.param(False, signal.SIGINT, 130, id="the command alone", marks=pytest.mark.slow),
        pytest.param(False, signal.SIGTERM, 143, id="a supervisor", marks=pytest.mark.slow),
    ],
)
def test_a_signal_withdraws_the_call_and_ends_cleanly(
    command: Command, whole_group: bool, sent: signal.Signals, code: int
) -> None:
    transcript = command.directory / "t.jsonl"
    with (
        ScriptedModel(play([(Call(WAIT, {"text": "x"}),)])) as model,
        command.start(model, "--transcript", str(transcript)) as process,
    ):
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(line)
            if json.loads(line)["event"] == "called":
                break
        (os.killpg if whole_group else os.kill)(process.pid, sent)
        done = finish(process, seen)
    assert (done.code, done.stderr) == (code, "")
    assert done.events[-1]["event"] == "ended"
    assert (done.events[-1]["reason"], done.events[-1]["detail"]) == ("interrupted", sent.name)
    assert [json.loads(line) for line in transcript.read_text().splitlines()] == done.events
    assert leftovers(command) == []


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("ignored", [False, True], ids=["alone", "in the background of a script"])
def test_a_signal_during_the_start_ends_it_too(command: Command, sent: signal.Signals, ignored: bool) -> None:
    (
        command.desk.directory / "unready"
    ).touch()  # so that the start lasts until the signal, however late it comes
    with ScriptedModel(play([])) as model, command.start(model, ignored=ignored) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline()]
        os.killpg(process.pid, sent)
        done = finish(process, seen)
    assert (done.code, done.stderr) == (128 + sent, "")
    assert [event["event"] for event in done.events] == ["prompted", "ended"]
    assert (done.events[-1]["reason"], done.events[-1]["detail"]) == ("interrupted", sent.name)
    assert model.conversations == []
    assert leftovers(command) == []
    assert list(command.directory.glob("trionyx-agent-*")) == []


def test_a_signal_ends_a_mint_that_never_ends(command: Command) -> None:
    (command.desk.directory / "stuck").touch()
    told = command.desk.directory / "mint.json"
    os.mkfifo(told)
    with (
        open(os.open(told, os.O_RDONLY | os.O_NONBLOCK), "rb") as minting,
        ScriptedModel(play([])) as model,
        command.start(model) as process,
    ):
        assert process.stdout is not None
        ready, _, _ = select.select([minting.fileno(), process.stdout.fileno()], [], [], 60)
        assert ready == [minting.fileno()]
        os.kill(process.pid, signal.SIGTERM)
        done = finish(process)
    assert (done.code, done.events, done.stderr) == (143, [], "")
    assert leftovers(command) == []


@pytest.mark.slow
def test_a_runtime_that_dies_ends_the_run_as_an_error(command: Command) -> None:
    with ScriptedModel(play([(Call(WAIT, {}),)])) as model, command.start(model) as process:
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(line)
            if json.loads(line)["event"] == "called":
                break
        (runtime,) = [
            int(children)
            for task in Path(f"/proc/{process.pid}/task").iterdir()
            for children in (task / "children").read_text().split()
        ]
        os.kill(runtime, signal.SIGKILL)
        done = finish(process, seen)
    assert (done.code, done.stderr, done.events[-1]["reason"]) == (1, "", "error")
    assert done.events[-1]["detail"].startswith("the agent runtime failed: ")
    assert leftovers(command) == []


def test_a_definition_narrows_what_the_proxy_offers(command: Command) -> None:
    with ScriptedModel(play([(Call(WAIT, {}),), (Call(ECHO, {"text": "hi"}),)])) as model:
        done = command.run(model, front="tools: [desk__echo]")
    assert done.named("started")[0]["tools"] == ["desk__echo"]
    assert {conversation.offered for conversation in model.conversations} == {(ECHO,)}
    assert [event["error"] for event in done.named("answered")] == [True, False]
    assert command.desk.calls() == [{"tool": "desk__echo", "arguments": {"text": "hi"}}]


def test_a_definition_that_wants_more_than_is_offered_does_not_start(command: Command) -> None:
    with ScriptedModel(play([])) as model:
        done = command.run(model, front="tools: [desk__echo, mail__send]")
    assert (done.code, done.stderr) == (2, "trionyx-agent: not offered by the agent's servers: mail__send\n")
    assert model.conversations == []
    assert leftovers(command) == []


def test_a_proxy_that_does_not_start_is_quoted(command: Command) -> None:
    (command.desk.directory / "broken").touch()
    with ScriptedModel(play([])) as model:
        done = command.run(model)
    assert done.code == 2
    assert done.stderr == (
        "trionyx-agent: server trionyx did not start: upstreams.mail.command: no such program\n"
    )
    assert model.conversations == []
    assert leftovers(command) == []


def test_a_model_that_refuses_ends_the_run_as_an_error(command: Command) -> None:
    with ScriptedModel(play([])) as model:
        model.key = "another"
        command.environment["ANTHROPIC_API_KEY"] = "wrong"
        done = command.run(model)
    assert (done.code, done.events[-1]["reason"]) == (1, "error")
    assert done.events[-1]["detail"] == "the model's API refused the credential (401)"
    assert leftovers(command) == []


@pytest.mark.guarantee("G27")
@pytest.mark.parametrize(
    ("front", "arguments", "message"),
    [
        ("max_turns: no", (), "max_turns: must be a whole number from 1 to 1000"),
        ("", (), "set ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN"),
        ("", ("--prompt-file", "absent"), "absent: no such file or directory"),
        ("", ("--prompt-file", "/dev/null"), "the prompt is empty"),
        ("", ("--prompt", "\udcff"), "the prompt is not valid UTF-8"),
    ],
)
def test_what_is_wrong_beforehand_starts_nothing(
    command: Command, front: str, arguments: tuple[str, ...], message: str
) -> None:
    done = command.run(None, *arguments, front=front)
    assert done.code == 2
    assert done.stderr.rstrip().endswith(message)
    assert done.stderr.count("\n") == 1
    assert command.desk.minted() is None


def test_a_missing_proxy_configuration_is_the_proxys_word(command: Command) -> None:
    command.desk.config.unlink()
    with ScriptedModel(play([])) as model:
        done = command.run(model)
    assert done.code == 2
    assert done.stderr.endswith("config.json: no such file\n")
