"""Events: complete as JSON, harmless as text."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trionyx_agents.errors import AgentError
from trionyx_agents.events import (
    Answered,
    Called,
    Ended,
    Event,
    Prompted,
    Reason,
    Retried,
    Said,
    Started,
    as_json,
    as_text,
)
from trionyx_agents.transcript import Transcript

EVENTS: list[Event] = [
    Prompted("01J", "inbox", "m", "00", "go"),
    Started("m", ("a__b", "a__c")),
    Said("hello"),
    Called("c1", "a__b", {"x": ["ü", 1, None]}),
    Answered("c1", "a__b", True, "no"),
    Retried(1, 529, "overloaded", 500),
    Ended(Reason.COMPLETED, "", 2, 1234, 0.01),
]


def test_the_examples_cover_every_event() -> None:
    assert [type(event) for event in EVENTS] == list(get_args(Event))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_json_holds_every_member_under_the_events_name(event: Event) -> None:
    line = as_json(event)
    assert line.isascii()
    assert "\n" not in line
    value = json.loads(line)
    assert value.pop("event") == type(event).__name__.lower()
    assert value.keys() == {name for name in type(event).__slots__}


def test_text_is_for_people() -> None:
    assert [as_text(event) for event in EVENTS] == [
        "▸ inbox on m, run 01J",
        "  tools: a__b, a__c",
        "  hello",
        '→ a__b {"x": ["ü", 1, null]}',
        "✗ no",
        "… model API: overloaded (529), attempt 1 failed, next in 0.5 s",
        "▪ completed after 2 turns, 1.2 s, about $0.0100",
    ]


@given(st.text(max_size=400), st.integers(20, 120))
def test_no_control_character_reaches_the_terminal(text: str, width: int) -> None:
    for event in (
        Said(text),
        Answered("c", "t", False, text),
        Called("c", text, {"a": text}),
        Ended(Reason.ERROR, text, 0, 0),
    ):
        shown = as_text(event, width=width)
        assert all(character.isprintable() or character == "\n" for character in shown)


def test_escape_sequences_become_visible() -> None:
    assert as_text(Answered("c", "t", False, "a\x1b[2Jb\u202ec")) == r"← a\x1b[2Jb\u202ec"


def test_long_answers_are_cut_on_the_terminal_only() -> None:
    event = Answered("c", "t", False, "x" * 5000)
    assert "… (5000 characters)" in as_text(event)
    assert json.loads(as_json(event))["text"] == "x" * 5000


def test_a_transcript_is_private_complete_and_new(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "t.jsonl"
    with Transcript(path) as transcript:
        for event in EVENTS:
            transcript.write(event)
        # Line by line: a run that is killed leaves what it saw.
        assert path.read_text().splitlines() == [as_json(event) for event in EVENTS]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(AgentError, match="file exists"):
        Transcript(path)


def test_a_transcript_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(AgentError, match="file exists"):
        Transcript(tmp_path / "link")
    assert not (tmp_path / "target").exists()
