"""The launcher and the profile: what is handed to whom, and where secrets travel."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from claude_agent_sdk import ClaudeAgentOptions

from trionyx_agents import launcher, profile
from trionyx_agents.errors import AgentError
from trionyx_agents.launcher import Grant, Server
from trionyx_testing.agent_runtime import definition

SERVER = Server("trionyx", ("/bin/proxy", "serve"), {"TRIONYX_RUN_TOKEN": "very-secret-token"})


def options(place: profile.Workplace) -> ClaudeAgentOptions:
    return profile.options(
        definition("max_turns: 7\nmax_budget_usd: 2"),
        (SERVER,),
        place,
        {"PATH": "/bin"},
        allowed=["mcp__trionyx__a__b"],
        hidden=["mcp__trionyx__a__c"],
        hooks={},
    )


def test_a_grant_is_read_strictly() -> None:
    assert launcher.read_grant('{"run":"01J","token":"t","env":{"A":"b"},"expires":1}') == Grant(
        "01J", {"A": "b"}
    )
    for answer in ("", "[]", "{}", '{"run":"","env":{}}', '{"run":"x","env":{"A":1}}', '{"run":1,"env":{}}'):
        with pytest.raises(AgentError):
            launcher.read_grant(answer)


def test_secrets_are_not_part_of_any_representation() -> None:
    assert "very-secret" not in repr(SERVER)
    assert "very-secret" not in repr(Grant("01J", {"T": "very-secret"}))


def test_a_missing_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(AgentError, match="command trionyx-nothing was not found"):
        launcher.find_command("trionyx-nothing")


def test_the_profile_closes_every_door(place: profile.Workplace) -> None:
    made = options(place)
    assert made.tools == []
    assert made.allowed_tools == ["mcp__trionyx__a__b"]
    assert made.disallowed_tools == ["mcp__trionyx__a__c"]
    assert made.strict_mcp_config is True
    assert made.setting_sources == []
    assert made.permission_mode == "dontAsk"
    assert (made.skills, made.plugins, made.agents, made.add_dirs, made.settings) == ([], [], None, [], None)
    assert made.verbatim_prompts is True
    assert made.can_use_tool is None
    assert {"restricted", "disable-slash-commands", "no-session-persistence"} <= made.extra_args.keys()
    assert (made.max_turns, made.max_budget_usd) == (7, 2.0)


def test_the_run_token_travels_in_a_private_file(place: profile.Workplace) -> None:
    made = options(place)
    assert isinstance(made.mcp_servers, str)
    file = Path(made.mcp_servers)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    entry = json.loads(file.read_text())["mcpServers"]["trionyx"]
    assert (entry["command"], entry["args"]) == ("/bin/proxy", ["serve"])
    assert entry["env"]["TRIONYX_RUN_TOKEN"] == "very-secret-token"
    assert "very-secret-token" not in repr(made)


def test_the_private_directories_are_private_and_go(tmp_path: Path) -> None:
    with profile.workplace() as place:
        directories = (place.home, place.cwd, place.scratch)
        assert {stat.S_IMODE(directory.stat().st_mode) for directory in directories} == {0o700}
        root = place.home.parent
        (place.home / "left").write_text("x")
    assert not root.exists()


def test_the_runtimes_environment_is_built_not_inherited(place: profile.Workplace) -> None:
    parent = {
        "PATH": "/bin",
        "HOME": "/home/emma",
        "ANTHROPIC_API_KEY": "a",
        "CLAUDE_CODE_OAUTH_TOKEN": "b",
        "CLAUDE_CONFIG_DIR": "/x",
        "CLAUDE_CODE_PLUGIN_DIRS": "/x",
        "AWS_SECRET_ACCESS_KEY": "c",
        "NODE_OPTIONS": "--require x",
        "TRIONYX_RUN_TOKEN": "d",
    }
    environment = profile.runtime_environment(parent, place, profile.credentials(parent))
    assert environment["PATH"] == "/bin"
    assert environment["ANTHROPIC_API_KEY"] == "a"
    assert environment["HOME"] == str(place.home)
    assert environment["CLAUDE_CONFIG_DIR"] == str(place.home / ".claude")
    assert environment["CLAUDE_CODE_PLUGIN_DIRS"] == ""
    absent = {"CLAUDE_CODE_OAUTH_TOKEN", "AWS_SECRET_ACCESS_KEY", "NODE_OPTIONS", "TRIONYX_RUN_TOKEN"}
    assert not absent & environment.keys()


def test_whichever_credential_is_set_is_used() -> None:
    assert profile.credentials({"CLAUDE_CODE_OAUTH_TOKEN": "t"}) == {"CLAUDE_CODE_OAUTH_TOKEN": "t"}
    assert profile.credentials({"ANTHROPIC_API_KEY": " k ", "CLAUDE_CODE_OAUTH_TOKEN": "t"}) == {
        "ANTHROPIC_API_KEY": "k"
    }
    with pytest.raises(AgentError, match="set ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN"):
        profile.credentials({"ANTHROPIC_API_KEY": " "})


def test_this_processs_environment_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMBIENT", "here")
    before = dict(os.environ)
    with pytest.raises(RuntimeError), profile.only_environment({"ONLY": "this"}):
        assert dict(os.environ) == {"ONLY": "this"}
        raise RuntimeError
    assert dict(os.environ) == before
