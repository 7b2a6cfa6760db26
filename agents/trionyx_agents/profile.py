"""The tight profile: everything the runtime is given, so that the expected tools are all it has.

Each switch was seen to matter on the real runtime; the lock-down tests try every way around them. Out of
reach is the machine's own administrator (managed settings), whose hooks the runtime runs in any case.

Source: claude-agent-sdk options; `claude --help`.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trionyx_agents.definition import Definition
from trionyx_agents.errors import AgentError
from trionyx_agents.launcher import Server

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeAgentOptions

CREDENTIALS = ("ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN")
SERVER_START_TIMEOUT_MS = 30_000
TOOL_TIMEOUT_MS = 120_000
MAX_MESSAGE_BYTES = 16 * 1024 * 1024

# What the runtime may know of the environment it was started from: how to reach the network, and words.
_INHERITED = frozenset(
    {
        "PATH",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "TZ",
        "ANTHROPIC_BASE_URL",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "NODE_EXTRA_CA_CERTS",
    }
)


@dataclass(frozen=True, slots=True)
class Workplace:
    """The private directories of one run.

    Args:
        home: the runtime's home and configuration directory; nothing of the user's is in it.
        cwd: the runtime's working directory, empty.
        scratch: its temporary directory.
    """

    home: Path
    cwd: Path
    scratch: Path


@contextmanager
def workplace() -> Iterator[Workplace]:
    """Make directories that only their owner can read; remove them with all that the runtime wrote."""
    with tempfile.TemporaryDirectory(prefix="trionyx-agent-", ignore_cleanup_errors=True) as root:
        made = Workplace(Path(root, "home"), Path(root, "work"), Path(root, "tmp"))
        for directory in (made.home, made.cwd, made.scratch):
            directory.mkdir(mode=0o700)
        yield made


def credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """Choose the one credential to hand to the runtime: the API key if set, else the OAuth token.

    Raises:
        AgentError: neither is set.
    """
    for name in CREDENTIALS:
        if value := environment.get(name, "").strip():
            return {name: value}
    raise AgentError(f"set {' or '.join(CREDENTIALS)}")


def runtime_environment(
    parent: Mapping[str, str], place: Workplace, credential: Mapping[str, str]
) -> dict[str, str]:
    """Build the runtime's whole environment; nothing else of `parent` reaches it."""
    return {
        **{name: value for name, value in parent.items() if name in _INHERITED},
        **credential,
        "HOME": str(place.home),
        "CLAUDE_CONFIG_DIR": str(place.home / ".claude"),
        "TMPDIR": str(place.scratch),
        "CLAUDE_CODE_TMPDIR": str(place.scratch),
        "CLAUDE_CODE_PLUGIN_DIRS": "",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_AUTOUPDATER": "1",
        "MCP_TIMEOUT": str(SERVER_START_TIMEOUT_MS),
        "MCP_TOOL_TIMEOUT": str(TOOL_TIMEOUT_MS),
    }


@contextmanager
def only_environment(environment: Mapping[str, str]) -> Iterator[None]:
    """Make `environment` this process's own while a child is started; no other thread may start one.

    The SDK always adds the process's environment to the child's, and some of its variables load code.
    """
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def options(
    definition: Definition,
    servers: Sequence[Server],
    place: Workplace,
    environment: Mapping[str, str],
    *,
    allowed: Sequence[str],
    hidden: Sequence[str],
    hooks: Mapping[str, object],
) -> ClaudeAgentOptions:
    """Build the SDK's options.

    Args:
        definition: model, limits and system prompt.
        servers: all that the runtime may start.
        place: the run's private directories.
        environment: the runtime's whole environment.
        allowed: permission rules for the expected tools, `mcp__trionyx__mail__send` or `mcp__trionyx__*`.
        hidden: tools that a server offers and this agent is not to see.
        hooks: SDK hooks; a second gate, inside the runtime.
    """
    from claude_agent_sdk import ClaudeAgentOptions

    return ClaudeAgentOptions(
        tools=[],
        allowed_tools=list(allowed),
        disallowed_tools=list(hidden),
        mcp_servers=str(_server_file(servers, place)),
        strict_mcp_config=True,
        setting_sources=[],
        permission_mode="dontAsk",
        skills=[],
        plugins=[],
        agents=None,
        verbatim_prompts=True,
        system_prompt={
            "type": "file",
            "path": str(_private(place, "system-prompt.md", definition.system_prompt)),
        },
        model=definition.model,
        max_turns=definition.max_turns,
        max_budget_usd=definition.max_budget_usd,
        max_buffer_size=MAX_MESSAGE_BYTES,
        cwd=place.cwd,
        env=dict(environment),
        hooks=dict(hooks),  # type: ignore[arg-type]  # the SDK's key type is a Literal per event
        # Lines on stderr are the runtime's own chatter; what matters arrives as messages.
        stderr=lambda line: None,
        extra_args={
            "restricted": None,
            "disable-slash-commands": None,
            "no-session-persistence": None,
            "permission-prompts": "none",
        },
    )


def _server_file(servers: Sequence[Server], place: Workplace) -> Path:
    # INVARIANT: run tokens travel in a private file: arguments are visible to every local user.
    entries = {
        server.name: {
            "type": "stdio",
            "command": server.command[0],
            "args": list(server.command[1:]),
            # The runtime hands its environment to its servers; none of them is to see the credential.
            "env": {**dict.fromkeys(CREDENTIALS, ""), **server.environment},
        }
        for server in servers
    }
    return _private(place, "servers.json", json.dumps({"mcpServers": entries}))


def _private(place: Workplace, name: str, text: str) -> Path:
    path = place.scratch / name
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return path
