"""`trionyx-policy`: the commands of policy authors.

Exit codes: 0 all is well; 1 the bundle has problems, or its tests fail; 2 the command could not do its work.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

import anyio

from trionyx_policies.bundle import Bundle, digest_of, load_bundle, read_files
from trionyx_policies.compiler import check_sources, compile_bundle, index_rules
from trionyx_policies.engine import EngineSettings
from trionyx_policies.errors import BundleError, EngineError
from trionyx_policies.install import install_opa
from trionyx_policies.point import PolicyPoint
from trionyx_policies.proposal import accept, load_proposal, propose, write_proposal
from trionyx_policies.proposal.listing import live_list, saved_list
from trionyx_policies.schema import SHIPPED
from trionyx_policies.toolchain import find_opa
from trionyx_policies.trials import run_tests

_FINE: Final = 0
_FOUND: Final = 1
_FAILED: Final = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except BundleError as error:
        for problem in error.problems:
            _complain(problem)
        return _FOUND
    except EngineError as error:
        _complain(str(error))
        return _FAILED
    except OSError as error:
        _complain(f"{error.filename}: {error.strerror}")
        return _FAILED


def _check(arguments: argparse.Namespace) -> int:
    directory = _directory(arguments)
    problems: list[str] = []
    try:
        opa = find_opa(arguments.opa)
    except EngineError as error:
        _complain(f"the sources are not checked: {error}")
    else:
        problems += check_sources(directory, opa)
        problems += [] if problems else index_rules(directory, opa)[1]
    try:
        bundle = load_bundle(directory)
    except BundleError as error:
        problems += error.problems
    if problems:
        raise BundleError(tuple(dict.fromkeys(problems)))
    anyio.run(_answer_once, bundle)
    for note in bundle.notes:
        print(f"note: {note}")
    print(f"revision {bundle.revision}, {len(bundle.packs)} packs, {len(bundle.rules)} rules")
    print(f"digest {bundle.digest}")
    return _FINE


async def _answer_once(bundle: Bundle) -> None:
    point = await PolicyPoint.start(bundle, EngineSettings(deadline_ms=5000))
    await point.aclose()


def _build(arguments: argparse.Namespace) -> int:
    directory = _directory(arguments)
    compile_bundle(directory, find_opa(arguments.opa)).write(directory)
    print(f"digest {load_bundle(directory).digest}")
    return _FINE


def _test(arguments: argparse.Namespace) -> int:
    report = run_tests(_directory(arguments), find_opa(arguments.opa))
    problems = [*report.failures, *report.unproven]
    if not report.failures and report.line_coverage < arguments.threshold:
        problems.append(f"{report.line_coverage:.1f} % of lines covered, less than {arguments.threshold} %")
        problems += [f"{place}: not covered" for place in report.uncovered]
    for problem in problems:
        _complain(problem)
    print(report.summary)
    if problems:
        return _FOUND
    print(f"lines {report.line_coverage:.1f} %; every rule id is shown to fire and not to fire")
    return _FINE


def _init(arguments: argparse.Namespace) -> int:
    if arguments.tools is not None or arguments.server:
        return _propose(arguments)
    target: Path | None = arguments.directory
    if target is None or arguments.section is not None:
        raise EngineError("init takes a directory for a bundle, or --tools or --command for a proposal")
    if target.exists() and any(target.iterdir()):
        raise EngineError(f"{target}: exists and is not empty")
    tests = [path.relative_to(SHIPPED).as_posix() for path in SHIPPED.rglob("*_test.rego")]
    for name in [*read_files(SHIPPED), *tests]:
        destination = target / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.write_bytes((SHIPPED / name).read_bytes())
    print(f"{target}: edit data/*.json; digest {digest_of(read_files(target))}")
    return _FINE


def _propose(arguments: argparse.Namespace) -> int:
    if arguments.tools is not None and arguments.server:
        raise EngineError("init takes --tools or --command, not both")
    if arguments.server:
        called, tools = live_list(arguments.server)
    else:
        called, tools = arguments.tools.stem, saved_list(arguments.tools)
    # A server's name for itself need not be fit for a file.
    section = arguments.section or re.sub(r"[^A-Za-z0-9_-]+", "-", called).strip("-")[:64]
    path = write_proposal(propose(section, tools), arguments.directory or Path("."))
    print(f"{path}: a proposal for {len(tools)} listed tools, which nothing enforces")
    print(f"read and correct it, then: trionyx-policy accept {path} --into BUNDLE")
    return _FINE


def _accept(arguments: argparse.Namespace) -> int:
    proposal = load_proposal(arguments.proposal)
    for change in accept(proposal, _directory(arguments), replace=arguments.replace):
        print(change)
    print(f"digest {digest_of(read_files(arguments.directory))}")
    return _FINE


def _install(_: argparse.Namespace) -> int:
    print(install_opa())
    return _FINE


def _directory(arguments: argparse.Namespace) -> Path:
    directory: Path = arguments.directory
    if not directory.is_dir():
        raise EngineError(f"{directory}: not a directory")
    return directory


def _complain(message: str) -> None:
    print(f"trionyx-policy: {message}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trionyx-policy", description="Check, build and test policy bundles."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('trionyx-proxy')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int], purpose: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=purpose, description=purpose)
        added.set_defaults(command=command)
        return added

    check = add("check", _check, "Examine a bundle; with OPA at hand, its sources too.")
    check.add_argument(
        "directory", type=Path, nargs="?", default=SHIPPED, help="the bundle (the shipped one)"
    )
    build = add("build", _build, "Compile the sources and rewrite build/.")
    build.add_argument("directory", type=Path, help="the bundle")
    tests = add("test", _test, "Run the Rego tests; measure lines and rule ids.")
    tests.add_argument(
        "directory", type=Path, nargs="?", default=SHIPPED, help="the bundle (the shipped one)"
    )
    for command in (check, build, tests):
        command.add_argument("--opa", type=Path, help="the opa executable")
    tests.add_argument("--threshold", type=float, default=95.0, help="least percentage of lines (95)")
    init = add(
        "init", _init, "Copy the shipped bundle, to edit it; or propose a catalog for a server's tools."
    )
    init.add_argument("directory", type=Path, nargs="?", help="where to; for a bundle empty or absent")
    init.add_argument("--tools", type=Path, help="propose for a saved tools/list")
    init.add_argument("--section", help="section of the catalog (the server's name for itself)")
    init.add_argument(
        "--command",
        dest="server",
        nargs=argparse.REMAINDER,
        help="propose for the tools of a server on stdio; takes the rest of the line",
    )
    acceptance = add("accept", _accept, "Take a proposal over into a bundle's catalog.")
    acceptance.add_argument("proposal", type=Path, help="proposals/SECTION.json, read and corrected")
    acceptance.add_argument(
        "--into", dest="directory", metavar="BUNDLE", type=Path, default=Path("."), help="the bundle (.)"
    )
    acceptance.add_argument(
        "--replace", action="store_true", help="describe anew what the catalog knows otherwise"
    )
    opa = add("opa", _install, "Manage the OPA executable.")
    opa.add_subparsers(required=True, metavar="install").add_parser("install").set_defaults(command=_install)
    return parser


if __name__ == "__main__":
    sys.exit(main())
