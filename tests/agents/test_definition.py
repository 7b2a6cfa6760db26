"""Definitions: what is read, and how every problem of a file comes at once."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trionyx_agents.definition import _FIELDS, MAX_BYTES, Definition, load_definition, parse_definition
from trionyx_agents.errors import AgentError

GOOD = """---
name: inbox-assistant
description: reads mail, writes notes
model: claude-sonnet-5
tools: [mail__list, "files__read"]
max_turns: 12
max_budget_usd: 0.5
---

You are an assistant.

---
This line is text.
"""


def problems(source: str | bytes) -> list[str]:
    with pytest.raises(AgentError) as caught:
        parse_definition(source.encode() if isinstance(source, str) else source)
    return list(caught.value.problems)


def with_front(line: str) -> str:
    return f"---\nname: a\nmodel: m\n{line}\n---\nbody\n"


def test_a_full_definition_is_read() -> None:
    definition = parse_definition(GOOD.encode())
    assert definition.name == "inbox-assistant"
    assert definition.description == "reads mail, writes notes"
    assert definition.model == "claude-sonnet-5"
    assert definition.tools == frozenset({"mail__list", "files__read"})
    assert (definition.max_turns, definition.max_budget_usd) == (12, 0.5)
    assert definition.system_prompt == "You are an assistant.\n\n---\nThis line is text."
    assert len(definition.sha256) == 64


def test_tools_of_the_proxys_own_may_be_named() -> None:
    definition = parse_definition(with_front("tools: [mail__read, trionyx_reveal]").encode())
    assert definition.tools == frozenset({"mail__read", "trionyx_reveal"})


def test_what_may_be_left_out_has_a_bounded_default() -> None:
    definition = parse_definition(with_front("").encode())
    assert (definition.tools, definition.max_turns, definition.max_budget_usd) == (None, 50, None)


def test_windows_line_ends_are_read_alike() -> None:
    unix, windows = parse_definition(GOOD.encode()), parse_definition(GOOD.replace("\n", "\r\n").encode())
    assert dataclasses.replace(windows, sha256=unix.sha256) == unix


def test_every_key_is_a_member_of_the_definition() -> None:
    members = {member.name for member in dataclasses.fields(Definition)}
    assert members == {*_FIELDS, "system_prompt", "sha256"}


def test_all_problems_come_at_once_and_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.md"
    path.write_text("---\nname: Bad Name\nmax_turns: 0\ntools: mail__list\npermissions: all\n---\n\n")
    with pytest.raises(AgentError) as caught:
        load_definition(path)
    assert [problem.removeprefix(f"{path}: ").split(":")[0] for problem in caught.value.problems] == [
        "permissions",
        "name",
        "model",
        "tools",
        "max_turns",
        "the body, which is the system prompt, is empty",
    ]


@pytest.mark.guarantee("G27")
@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("", "no front matter: the file must begin with a block between two lines of ---"),
        ("name: a\n---\nbody", "no front matter: the file must begin with a block between two lines of ---"),
        ("---\nname: a\n", "no front matter: the file must begin with a block between two lines of ---"),
        ("---\n- a\n---\nbody", "the front matter must be a mapping of names to values"),
        ("---\n---\nbody", "the front matter must be a mapping of names to values"),
        ("---\n1: a\n---\nbody", "the front matter must be a mapping of names to values"),
        (with_front("max_turns: true"), "max_turns: must be a whole number from 1 to 1000"),
        (with_front("max_turns: 1001"), "max_turns: must be a whole number from 1 to 1000"),
        (with_front("max_turns: '5'"), "max_turns: must be a whole number from 1 to 1000"),
        (with_front("max_budget_usd: .nan"), "max_budget_usd: must be more than 0 and at most 10000 dollars"),
        (with_front("max_budget_usd: 0"), "max_budget_usd: must be more than 0 and at most 10000 dollars"),
        (with_front("max_budget_usd: true"), "max_budget_usd: must be an amount in dollars"),
        (
            with_front("tools: []"),
            "tools: must be a list of server__tool names, or absent for all that the proxy offers",
        ),
        (with_front("tools: [Bash]"), "tools: 'Bash' is not a server__tool name"),
        (with_front("tools: ['mcp__x__*']"), "tools: 'mcp__x__*' is not a server__tool name"),
        (with_front("tools: [trionyx_]"), "tools: 'trionyx_' is not a server__tool name"),
        (with_front("tools: [a__b, a__b]"), "tools: a name occurs twice"),
        (with_front("description: |\n  two\n  lines"), "description: must be one line of text"),
        (with_front("allowed_tools: [Bash]"), "allowed_tools: unknown key"),
        (with_front("mcp_servers: {}"), "mcp_servers: unknown key"),
        ("---\nname: a\nmodel: --dangerously-skip-permissions\n---\nbody", "model: must be a model name"),
        ("---\nname: a\nmodel: no\n---\nbo\0dy", "the body holds a NUL character"),
    ],
)
def test_each_mistake_is_named(source: str, problem: str) -> None:
    assert problems(source) == [problem]


def test_a_duplicate_key_is_refused_with_its_line() -> None:
    (problem,) = problems(with_front("name: b"))
    assert problem.startswith("line ")
    assert "duplicate key" in problem


def test_tags_build_no_objects() -> None:
    (problem,) = problems(with_front("description: !!python/object/apply:os.system ['true']"))
    assert "constructor" in problem


def test_yaml_words_are_words() -> None:
    assert parse_definition(b"---\nname: no\nmodel: on\n---\nbody").name == "no"


def test_bytes_that_are_no_text_and_files_without_end_are_refused(tmp_path: Path) -> None:
    assert problems(b"---\nname: \xff\n---\n") == ["not UTF-8 at byte 10"]
    assert problems(b"x" * (MAX_BYTES + 1)) == [f"larger than {MAX_BYTES} bytes"]
    with pytest.raises(AgentError, match=r"absent\.md: no such file or directory"):
        load_definition(tmp_path / "absent.md")


@given(st.text(max_size=200))
def test_any_front_matter_is_read_or_refused(text: str) -> None:
    try:
        parse_definition(f"---\nname: a\nmodel: m\n{text}\n---\nbody\n".encode("utf-8", "surrogatepass"))
    except AgentError as error:
        assert all("\n" not in problem for problem in error.problems)
