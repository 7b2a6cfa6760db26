"""Between a definition and a runtime: the run is minted and the proxy becomes the agent's only server.

The proxy is a command, never a library: nothing here reads its configuration, its keys or its log.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trionyx_agents.errors import AgentError

GATEWAY = "trionyx"
MINT_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    """An MCP server the runtime starts on stdio.

    Args:
        name: what the runtime calls it; its tools become `mcp__<name>__<tool>`.
        command: program and arguments.
        environment: variables added to the server's environment; may hold secrets, so never shown.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Grant:
    """A minted run.

    Args:
        run: the run's id.
        environment: what the proxy needs to know the run by; holds the run token.
    """

    run: str
    environment: Mapping[str, str] = field(repr=False)


def find_command(name: str) -> str:
    """Find one of the product's commands beside this interpreter, else on PATH.

    Raises:
        AgentError: it is in neither place.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise AgentError(f"command {name} was not found beside {sys.executable} nor on PATH")
    return found


def mint(config: Path, *, agent: str, user: str, tenant: str | None, ttl_s: int | None, prompt: str) -> Grant:
    """Register a run and its prompt with the proxy's launcher command.

    Args:
        config: the proxy's configuration file.
        agent: name of the definition.
        user: on whose behalf it runs.
        tenant: the user's organisation, or None.
        ttl_s: seconds until the run token expires; None leaves it to the proxy.
        prompt: what the user asks; only its digest and the identifiers in it reach the token.

    Raises:
        AgentError: the command refused, in its own words, or answered nonsense.
    """
    command = [
        find_command("trionyx-proxy"),
        "mint",
        "--config",
        str(config),
        "--agent",
        agent,
        "--user",
        user,
    ]
    command += ["--tenant", tenant] if tenant else []
    command += ["--ttl", str(ttl_s)] if ttl_s else []
    command += ["--prompt-file", "-"]
    try:
        done = subprocess.run(
            command, input=prompt, capture_output=True, encoding="utf-8", timeout=MINT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise AgentError(f"trionyx-proxy mint did not end within {MINT_TIMEOUT_S:.0f} s") from error
    except OSError as error:
        raise AgentError(f"trionyx-proxy mint: {(error.strerror or 'cannot be run').lower()}") from error
    if done.returncode:
        words = [line for line in done.stderr.splitlines() if line.strip()]
        raise AgentError(*(words or (f"trionyx-proxy mint ended with code {done.returncode}",)))
    return read_grant(done.stdout)


def read_grant(answer: str) -> Grant:
    """Read the one JSON line that `trionyx-proxy mint` prints.

    Raises:
        AgentError: it is anything else.
    """
    try:
        match json.loads(answer):
            case {"run": str(run), "env": dict(environment)} if run and all(
                isinstance(value, str) for value in environment.values()
            ):
                return Grant(run, environment)
            case _:
                raise AgentError("trionyx-proxy mint answered without a run")
    except ValueError as error:
        raise AgentError("trionyx-proxy mint answered with something else than JSON") from error


def proxy_server(config: Path, grant: Grant) -> Server:
    """Describe the proxy as the agent's server; the run token goes into its environment."""
    command = (find_command("trionyx-proxy"), "serve", "--config", str(config.resolve()))
    return Server(GATEWAY, command, grant.environment)
