"""The command line of `trionyx-audit`, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from trionyx_audit.checkpoint import TrustedKey
from trionyx_audit.cli import browsing, keygen, proving, verification
from trionyx_audit.cli.terminal import printable
from trionyx_audit.errors import AuditError
from trionyx_audit.verdict import Exit

_EPILOG = """exit codes: 0 everything asked for holds, 1 integrity violated, 2 usage, 3 valid but incomplete
(torn tail, missing or added payload, no checkpoint), 4 cannot read, 5 unsupported version"""
_POLL_S = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(_run(options))
    except AuditError as error:
        print(f"trionyx-audit: {printable(str(error))}", file=sys.stderr)
        return int(verification.exit_code(error))
    except KeyboardInterrupt:
        return int(Exit.HOLDS)
    except BrokenPipeError:
        # The reader went away; keep the interpreter from failing again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(Exit.UNREADABLE)


def _run(options: argparse.Namespace) -> Exit:
    match options.command:
        case "keygen":
            return keygen.run(options.name, options.out, json=options.json)
        case "verify":
            return verification.run(
                verification.Options(
                    logs=tuple(options.logs),
                    key=TrustedKey.load(options.key),
                    against=tuple(options.against),
                    remember=options.remember,
                    quick=options.quick,
                    strict=options.strict,
                    json=options.json,
                )
            )
        case "show":
            chosen = browsing.Filter(options.run, options.call, options.type)
            return browsing.show(options.log, chosen, payload=options.payload, json=options.json)
        case "tail":
            key = TrustedKey.load(options.key) if options.key else None
            wait = _wait if options.follow else None
            return browsing.tail(options.log, options.lines, key=key, json=options.json, wait=wait)
        case "prove" if options.since:
            return proving.prove_growth(options.log, options.since, options.out, json=options.json)
        case "prove":
            return proving.prove(options.log, options.record, options.out, json=options.json)
        case _:
            return proving.check(options.proof, TrustedKey.load(options.key), json=options.json)


def _wait() -> bool:
    time.sleep(_POLL_S)
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trionyx-audit", description="Check and read signed, hash-chained logs.", epilog=_EPILOG
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('trionyx-proxy')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print JSON lines")
    key_help = "verifier key (NAME+ID+BASE64), or the file that holds one or a PEM public key"

    made = commands.add_parser("keygen", parents=[common], help="make a signing key")
    made.add_argument(
        "--name", required=True, metavar="ORIGIN", help="name of the logs, corp.example/trionyx"
    )
    made.add_argument("--out", required=True, type=Path, metavar="KEYFILE", help="private key, written 0600")

    checked = commands.add_parser("verify", parents=[common], help="verify logs", epilog=_EPILOG)
    checked.add_argument("logs", nargs="+", type=Path, metavar="LOG", help="log directory")
    checked.add_argument("--key", required=True, help=key_help)
    checked.add_argument("--quick", action="store_true", help="check only the last record's signature")
    checked.add_argument("--strict", action="store_true", help="exit 3 on notes too (calls in doubt, clock)")
    checked.add_argument(
        "--against",
        action="append",
        default=[],
        type=Path,
        metavar="CHECKPOINT",
        help="a checkpoint kept elsewhere",
    )
    checked.add_argument(
        "--remember", type=Path, metavar="FILE", help="compare with the last visit, then update"
    )

    shown = commands.add_parser("show", parents=[common], help="print records")
    shown.add_argument("log", type=Path, metavar="LOG")
    shown.add_argument("--run", help="only records of this run")
    shown.add_argument("--call", help="only records of this call")
    shown.add_argument("--type", help="only this record type, or all below it (call)")
    shown.add_argument("--payload", action="store_true", help="decrypt payloads with the log's keyvault")

    last = commands.add_parser("tail", parents=[common], help="print the last records, checking the log")
    last.add_argument("log", type=Path, metavar="LOG")
    last.add_argument("-n", "--lines", type=_count, default=10, metavar="COUNT")
    last.add_argument(
        "-f", "--follow", action="store_true", help="go on with new records as they are written"
    )
    last.add_argument("--key", help=key_help + "; checks signatures too")

    proven = commands.add_parser("prove", parents=[common], help="make a proof that needs no log")
    proven.add_argument("log", type=Path, metavar="LOG")
    which = proven.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "record", nargs="?", metavar="SEQ|CALL", help="record number, or the id of a call that has one record"
    )
    which.add_argument("--since", type=Path, metavar="CHECKPOINT", help="prove growth since this checkpoint")
    proven.add_argument("--out", type=Path, metavar="FILE", help="write the proof here (.tlog-proof)")

    judged = commands.add_parser("check", parents=[common], help="check a proof")
    judged.add_argument("proof", type=Path, metavar="PROOF")
    judged.add_argument("--key", required=True, help=key_help)
    return parser


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 8):
        raise argparse.ArgumentTypeError("not a count of records")
    return int(text)
