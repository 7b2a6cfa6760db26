"""`trionyx-proxy`: set up, check, serve, mint, answer. Parses, calls, prints; decides nothing.

Exit codes: 0 done · 1 ended by an internal error · 2 usage, configuration, key, token or policy cannot be used ·
4 the log or the run's state cannot be used. Standard output belongs to the protocol (`serve`) or to the answer
(`mint`, `explain`, `graph`); everything else goes to standard error.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import anyio
import orjson
import structlog

from trionyx_audit.checkpoint import TrustedKey
from trionyx_audit.cli.terminal import write_lines
from trionyx_audit.errors import AuditError, KeyMaterialError
from trionyx_audit.keys import load_signer
from trionyx_policies.bundle import load_bundle
from trionyx_policies.errors import PolicyError
from trionyx_proxy.approvals.command import add_parser as add_approvals
from trionyx_proxy.config import Config, check_files, load
from trionyx_proxy.errors import ApprovalsError, ConfigError, EvidenceError, Problem, StateError, TokenError
from trionyx_proxy.inquiry import Inquiry, inquire, json_text, titles_of
from trionyx_proxy.launcher import Birth, mint_run
from trionyx_proxy.operatorlog import log_to_stderr
from trionyx_proxy.pep.claimant import TOKEN_VARIABLE, claim
from trionyx_proxy.pep.opening import check_sections, open_service
from trionyx_proxy.pep.stdio import claim_stdio
from trionyx_proxy.state import RunStore
from trionyx_proxy.story import graph, report
from trionyx_proxy.story.dot import dot
from trionyx_proxy.story.drawing import svg
from trionyx_proxy.story.sentence import sentences
from trionyx_proxy.taint.command import add_parser as add_taint
from trionyx_proxy.workplace import create

LEVEL_VARIABLE = "TRIONYX_LOG_LEVEL"
"""Environment variable with the least severity of the operator's log: debug, info (default), warning, error."""

DONE, FAILED, UNUSABLE, UNREADABLE = 0, 1, 2, 4


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except ConfigError as error:
        return _fail(UNUSABLE, *(str(problem) for problem in error.problems))
    except PolicyError as error:
        return _fail(UNUSABLE, *(f"policy: {line}" for line in str(error).splitlines()))
    except KeyMaterialError as error:
        return _fail(UNUSABLE, str(error))
    except TokenError as error:
        return _fail(UNUSABLE, f"run token: {error}")
    except EvidenceError as error:
        return _fail(FAILED, f"audit log: {error}")
    except AuditError as error:
        return _fail(UNREADABLE, f"audit log: {error}")
    except ApprovalsError as error:
        return _fail(UNREADABLE, f"approvals: {error}")
    except StateError as error:
        return _fail(UNREADABLE, f"run state: {error}")
    except BaseExceptionGroup as group:
        # A defect; its text may hold received values, so only its kinds are named.
        kinds = sorted({type(error).__name__ for error in _leaves(group)})
        return _fail(FAILED, f"ended by an internal error: {', '.join(kinds)}")


def _fail(code: int, *messages: str) -> int:
    for message in messages:
        print(f"trionyx-proxy: {message}", file=sys.stderr)
    return code


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """Return the exceptions in a group, however deep."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _init(options: argparse.Namespace) -> int:
    config = create(options.directory, origin=options.origin)
    print(f"wrote {config}; name your tool servers in it, then: trionyx-proxy check --config {config}")
    return DONE


def _check(options: argparse.Namespace) -> int:
    config = _load(options.config)
    load_signer(config.audit.key)
    bundle = load_bundle(config.policy.bundle)
    check_sections(config, bundle)
    servers = "1 tool server" if len(config.upstreams) == 1 else f"{len(config.upstreams)} tool servers"
    print(
        f"{options.config}: {servers}, engine {config.policy.engine}, "
        f"policy revision {bundle.revision} ({bundle.digest[:12]}), no problems"
    )
    return DONE


def _serve(options: argparse.Namespace) -> int:
    log_to_stderr(os.environ.get(LEVEL_VARIABLE, "info"))
    config = _load(options.config)
    # The token must not be seen by anything this process starts, nor by its own crash report.
    token = os.environ.pop(TOKEN_VARIABLE, None)

    async def serve() -> None:
        store = RunStore.open(config.state_directory)
        if store.replaced is not None:
            log = structlog.get_logger("trionyx.state")
            log.warning("the state file was damaged and is rebuilt", moved_to=str(store.replaced))
        claimant = claim(config, store, token)
        async with open_service(config, claimant, store) as service:
            source, sink = await claim_stdio()
            # What is loaded by now stays; no collection of garbage need walk over it while a call waits.
            gc.collect()
            gc.freeze()
            await service.serve(source, sink)

    # Policy and log work in threads of their own; the default of 5 ms would be most of a call's time under load.
    sys.setswitchinterval(0.0005)
    anyio.run(serve)
    return DONE


def _mint(options: argparse.Namespace) -> int:
    config = _load(options.config, minting=True)
    prompt = sys.stdin.read() if options.prompt_file == "-" else _read(Path(options.prompt_file))
    minted = mint_run(
        config,
        RunStore.open(config.state_directory),
        agent=options.agent,
        user=options.user,
        tenant=options.tenant,
        ttl_s=options.ttl,
        prompt=prompt,
        birth=_birth(options),
    )
    line = orjson.dumps(
        {
            "run": minted.run,
            "token": minted.token,
            "env": {TOKEN_VARIABLE: minted.token},
            "expires": minted.expires,
        }
    )
    print(line.decode())
    return DONE


def _birth(options: argparse.Namespace) -> Birth | None:
    if options.parent is None:
        if options.tools or options.prompt_from is not None:
            raise ConfigError((Problem("--parent", "needed with --tools and --prompt-from"),))
        return None
    tools = tuple(name for name in options.tools.split(",") if name)
    return Birth(options.parent, tools, prompt_is_users=options.prompt_from == "user")


def _explain(options: argparse.Namespace) -> int:
    inquiry, bundle = _inquire(options)
    call = inquiry.call(options.call)
    titles = titles_of(bundle, must=options.bundle is not None)
    told = inquiry.explain(call, titles, with_values=options.values)
    return _print([json_text(report.to_json(told)).rstrip()] if options.json else sentences(told))


def _graph(options: argparse.Namespace) -> int:
    inquiry, _ = _inquire(options)
    drawn = graph.graph_of(inquiry.chronicle, inquiry.basis, max_calls=options.calls)
    match options.format:
        case "svg":
            text = svg(drawn)
        case "json":
            text = json_text(graph.to_json(drawn))
        case _:
            text = dot(drawn)
    if options.out is None:
        return _print([text.rstrip("\n")])
    if inquiry.directory.resolve() in options.out.resolve().parents:
        raise ConfigError((Problem(str(options.out), "nothing may be written into a log's directory"),))
    try:
        options.out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            (Problem(str(options.out), (error.strerror or "cannot be written").lower()),)
        ) from error
    return DONE


def _print(lines: Iterable[str]) -> int:
    try:
        write_lines(lines)
    except BrokenPipeError:
        # The reader went away; keep the interpreter from failing again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


def _inquire(options: argparse.Namespace) -> tuple[Inquiry, Path | None]:
    """Read the log that is asked about; return it with the bundle that the titles of rules are to be taken from."""
    key, bundle = options.key, getattr(options, "bundle", None)
    if options.log is None:
        config = load(_read(options.config), base=options.config.resolve().parent)
        if not options.run or options.run in (".", "..") or Path(options.run).name != options.run:
            raise ConfigError((Problem("--run", "name the run whose log is meant"),))
        log = config.audit.directory / options.run
        beside = config.audit.key.with_name(config.audit.key.name + ".vkey")
        key = key or (str(beside) if beside.is_file() else None)
        bundle = bundle or config.policy.bundle
    else:
        log = options.log
    trusted = TrustedKey.load(key) if key else None
    return inquire(log, trusted, unverified=options.unverified), bundle


def _load(path: Path, *, minting: bool = False) -> Config:
    """Read and check a configuration; nothing is started if anything in it is wrong."""
    config = load(_read(path), base=path.resolve().parent)
    problems = check_files(config, file=path.resolve(), minting=minting)
    if problems:
        raise ConfigError(problems)
    return config


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError((Problem(str(path), (error.strerror or "cannot be read").lower()),)) from error
    except UnicodeDecodeError as error:
        raise ConfigError((Problem(str(path), "not utf-8 text"),)) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trionyx-proxy", description="The tool-call firewall for AI agents."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('trionyx-proxy')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    init = commands.add_parser("init", help="write a working directory: configuration and keys")
    init.add_argument("directory", type=Path, metavar="DIR")
    init.add_argument("--origin", default="localhost/trionyx", help="name of the logs, a schema-less URL")
    init.set_defaults(command=_init)

    check = commands.add_parser("check", help="check a configuration and its policy, start nothing")
    check.set_defaults(command=_check)
    serve = commands.add_parser("serve", help="serve MCP on standard input and output")
    serve.set_defaults(command=_serve)
    mint = commands.add_parser("mint", help="mint a run: register its prompt, print its token")
    mint.set_defaults(command=_mint)
    add_approvals(commands, _load)
    add_taint(commands, _load)
    for command in (check, serve, mint):
        command.add_argument(
            "--config", type=Path, required=True, metavar="FILE", help="the configuration, TOML"
        )
    _add_inquiries(commands)
    mint.add_argument("--agent", required=True, metavar="NAME", help="name of the agent's definition")
    mint.add_argument("--user", required=True, metavar="USER", help="on whose behalf the agent acts")
    mint.add_argument("--tenant", default="", metavar="TENANT", help="may be left out")
    mint.add_argument(
        "--ttl", type=int, default=86_400, metavar="SECONDS", help="until the token expires (default: a day)"
    )
    mint.add_argument("--parent", metavar="RUN", help="mint a child run: it starts at this run's label")
    mint.add_argument(
        "--tools", default="", metavar="A,B", help="of a child run: what it gets of its parent's tools"
    )
    mint.add_argument(
        "--prompt-from",
        choices=("parent", "user"),
        help="of a child run: who wrote its prompt; the parent's words vouch for nothing (default: parent)",
    )
    mint.add_argument("--prompt-file", required=True, metavar="FILE", help="the trusted prompt, - for stdin")
    return parser


def _add_inquiries(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    explain = commands.add_parser("explain", help="say in sentences why a call went as it went")
    explain.add_argument("call", metavar="CALL", help="id of the call, or its number in the run")
    explain.add_argument("--values", action="store_true", help="show the arguments, with the log's keyvault")
    explain.add_argument(
        "--bundle", type=Path, metavar="DIR", help="policy bundle, for the words of its rules"
    )
    explain.add_argument("--json", action="store_true", help="print JSON")
    explain.set_defaults(command=_explain)
    drawn = commands.add_parser(
        "graph", help="draw a run: calls, where arguments came from, where labels rose"
    )
    drawn.add_argument("--format", choices=("dot", "svg", "json"), default="dot", help="(default: dot)")
    drawn.add_argument("-o", dest="out", type=Path, metavar="FILE", help="write it here")
    drawn.add_argument(
        "--calls",
        type=_count,
        default=graph.MAX_CALLS,
        metavar="COUNT",
        help="draw the last COUNT (default: 200)",
    )
    drawn.set_defaults(command=_graph)
    for command in (explain, drawn):
        which = command.add_mutually_exclusive_group(required=True)
        which.add_argument("--log", type=Path, metavar="DIR", help="the run's log")
        which.add_argument("--config", type=Path, metavar="FILE", help="the configuration; needs --run")
        command.add_argument("--run", metavar="RUN", help="the run, with --config")
        command.add_argument("--key", help="verifier key (NAME+ID+BASE64), or the file that holds it")
        command.add_argument(
            "--unverified", action="store_true", help="go on, and say so, where the log does not verify"
        )


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 10_000:
        raise ValueError
    return count


if __name__ == "__main__":
    sys.exit(main())
