"""`trionyx-agent`: run a definition behind the proxy, or check definitions.

Exit codes: 0 completed; 1 the run failed; 2 it could not start; 3 it ran into max_turns or its budget;
128 + n signal n was received, 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import getpass
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import anyio

from trionyx_agents import profile
from trionyx_agents.definition import load_definition
from trionyx_agents.errors import AgentError, Interrupted
from trionyx_agents.events import Ended, Event, Prompted, Reason, as_json, as_text
from trionyx_agents.interruption import Interruption
from trionyx_agents.launcher import mint, proxy_server
from trionyx_agents.transcript import Transcript

_EXIT_CODES: Mapping[Reason, int] = {
    Reason.COMPLETED: 0,
    Reason.ERROR: 1,
    Reason.MAX_TURNS: 3,
    Reason.MAX_BUDGET: 3,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except AgentError as error:
        for problem in error.problems:
            print(f"trionyx-agent: {problem}", file=sys.stderr)
        return 2
    except Interrupted as interrupted:
        return 128 + interrupted.signal
    except KeyboardInterrupt:  # outside a run
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trionyx-agent", description="Run agents behind trionyx-proxy.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('trionyx-proxy')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run one prompt through an agent")
    run.add_argument("definition", type=Path, metavar="DEFINITION.md")
    prompt = run.add_mutually_exclusive_group(required=True)
    prompt.add_argument("--prompt", metavar="TEXT", help="what to ask, word for word")
    prompt.add_argument("--prompt-file", metavar="FILE", help="file that holds it, or - for standard input")
    run.add_argument("--config", type=Path, default=Path("config.toml"), help="the proxy's (%(default)s)")
    run.add_argument("--user", default=None, help="on whose behalf (the login name)")
    run.add_argument("--tenant", default=None, help="the user's organisation")
    run.add_argument("--ttl", type=_seconds, default=None, metavar="SECONDS", help="life of the run token")
    run.add_argument("--json", action="store_true", help="print events as JSON lines")
    run.add_argument(
        "--transcript",
        type=Path,
        metavar="FILE",
        help="a new file for the events (transcripts/RUN.jsonl beside the configuration)",
    )
    run.set_defaults(command=_run)
    check = commands.add_parser("check", help="read definitions and report every problem")
    check.add_argument("definitions", type=Path, nargs="+", metavar="DEFINITION.md")
    check.set_defaults(command=_check)
    return parser


def _check(options: argparse.Namespace) -> int:
    problems: list[str] = []
    for path in options.definitions:
        try:
            definition = load_definition(path)
        except AgentError as error:
            problems += error.problems
        else:
            tools = "all tools" if definition.tools is None else f"{len(definition.tools)} tools"
            print(f"{path}: {definition.name} on {definition.model}, {tools}")
    if problems:
        raise AgentError(*problems)
    return 0


def _run(options: argparse.Namespace) -> int:
    with Interruption() as interruption:
        # Nothing has been said yet, and a prompt or a run may take its time.
        with interruption.breaking():
            definition = load_definition(options.definition)
            prompt = _prompt(options)
            credential = profile.credentials(os.environ)
            claude = _runtime()
            grant = mint(
                options.config,
                agent=definition.name,
                user=options.user or getpass.getuser(),
                tenant=options.tenant,
                ttl_s=options.ttl,
                prompt=prompt,
            )
        server = proxy_server(options.config, grant)
        path = options.transcript or options.config.resolve().parent / "transcripts" / f"{grant.run}.jsonl"
        width = shutil.get_terminal_size((100, 24)).columns
        with Transcript(path) as transcript:

            def emit(event: Event) -> None:
                transcript.write(event)
                print(as_json(event) if options.json else as_text(event, width=width), flush=True)

            try:
                emit(Prompted(grant.run, definition.name, definition.model, definition.sha256, prompt))
                with profile.workplace() as place:
                    ended = anyio.run(
                        partial(
                            claude.run,
                            claude.Task(definition, prompt, (server,)),
                            place=place,
                            environment=profile.runtime_environment(os.environ, place, credential),
                            interruption=interruption,
                            emit=emit,
                        )
                    )
            except AgentError as error:
                emit(Ended(Reason.ERROR, "; ".join(error.problems), 0, 0))
                raise
            emit(ended)
        interruption.check()
    return _EXIT_CODES[ended.reason]


def _runtime() -> ModuleType:
    # The SDK is an extra of 165 MB: everything but a run works without it.
    try:
        from trionyx_agents import claude
    except ModuleNotFoundError as error:
        if error.name != "claude_agent_sdk":
            raise
        raise AgentError("claude-agent-sdk is not installed: pip install 'trionyx-proxy[claude]'") from error
    return claude


def _prompt(options: argparse.Namespace) -> str:
    prompt: str = options.prompt or ""
    if options.prompt_file is not None:
        try:
            stdin = options.prompt_file == "-"
            source = sys.stdin.buffer.read() if stdin else Path(options.prompt_file).read_bytes()
            prompt = source.decode("utf-8")
        except OSError as error:
            raise AgentError(
                f"{options.prompt_file}: {(error.strerror or 'cannot be read').lower()}"
            ) from error
        except UnicodeDecodeError as error:
            raise AgentError(f"{options.prompt_file}: not UTF-8 at byte {error.start}") from error
    if not prompt.strip():
        raise AgentError("the prompt is empty")
    if not prompt.isascii() and prompt != prompt.encode("utf-8", "replace").decode("utf-8"):
        raise AgentError("the prompt is not valid UTF-8")
    return prompt


def _seconds(text: str) -> int:
    seconds = int(text)
    if not 1 <= seconds <= 30 * 24 * 3600:
        raise argparse.ArgumentTypeError("must be from 1 second to 30 days")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
