"""`trionyx-agent run` in front of the real proxy, with the demo's tools and definition."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trionyx_agents.demo import stage, story, world
from trionyx_agents.demo.deeds import ANSWER_PARCEL, DEEDS
from trionyx_agents.demo.scripted_model import ScriptedModel

BIN = Path(sys.executable).parent

pytestmark = pytest.mark.slow


def command(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "PYTHONPATH") if name in os.environ}
    return subprocess.run(
        [str(BIN / arguments[0]), *arguments[1:]],
        env={**kept, "PATH": "/usr/bin:/bin", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )


def test_the_command_runs_the_story_behind_the_proxy_with_nobody_to_ask(tmp_path: Path) -> None:
    made = world.build(tmp_path / "world")
    config = stage.configure(tmp_path / "proxy", made)
    config.write_text(config.read_text().replace(f"wait_ms = {stage.ANSWER_WITHIN_MS}", "wait_ms = 0"))
    with ScriptedModel(story.script) as model:
        done = command(
            *(
                "trionyx-agent",
                "run",
                str(stage.ASSISTANT),
                "--config",
                str(config),
                "--prompt",
                story.PROMPT,
            ),
            *("--user", world.USER, "--json"),
            ANTHROPIC_BASE_URL=model.url,
            ANTHROPIC_API_KEY=model.key,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert {deed.id for deed in DEEDS if not deed.done(made)} == {
        ANSWER_PARCEL.id,
        *(deed.id for deed in DEEDS if deed.theft),
    }
    events = [json.loads(line) for line in done.stdout.splitlines()]
    run = events[0]["run"]
    transcript = config.parent / "transcripts" / f"{run}.jsonl"
    assert [json.loads(line) for line in transcript.read_text().splitlines()] == events

    log = config.parent / "audit" / run
    assert (
        command("trionyx-audit", "verify", "--key", f"{config.parent}/audit.key.vkey", str(log)).returncode
        == 0
    )
    shown = command("trionyx-audit", "show", "--json", "--type", "call.denied", str(log))
    assert len(shown.stdout.splitlines()) == 4
    # The model's own ids of the calls lead from the transcript to the records.
    stopped = {event["call"] for event in events if event["event"] == "answered" and event["error"]}
    assert len(stopped) == 4
    assert all(call in shown.stdout for call in stopped)


@pytest.mark.guarantee("G27")
def test_a_missing_tool_server_is_one_message_and_no_run(tmp_path: Path) -> None:
    config = stage.configure(tmp_path / "proxy", world.build(tmp_path / "world"))
    config.write_text(config.read_text().replace(json.dumps(sys.executable), '"/absent/python"', 1))
    with ScriptedModel(story.script) as model:
        done = command(
            *("trionyx-agent", "run", str(stage.ASSISTANT), "--config", str(config), "--prompt", "hello"),
            ANTHROPIC_BASE_URL=model.url,
            ANTHROPIC_API_KEY=model.key,
        )
    assert done.returncode == 2
    assert "upstreams.mail.command" in done.stderr
    assert done.stderr.count("\n") == 1
    assert model.conversations == []
    assert list((config.parent / "audit").iterdir()) == []
