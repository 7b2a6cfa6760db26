"""`trionyx-audit verify`: several logs, one key, and the auditor's own memory of earlier visits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from trionyx_audit.canonical import JSON
from trionyx_audit.checkpoint import Checkpoint, TrustedKey, claimed_checkpoint, open_checkpoint
from trionyx_audit.cli.report import SCHEMA, verdict_lines, verdict_object
from trionyx_audit.cli.terminal import json_line, printable, write_lines
from trionyx_audit.errors import (
    AuditError,
    FormatError,
    KeyMaterialError,
    NoteError,
    UnreadableError,
    UnsupportedError,
)
from trionyx_audit.reading import read_checkpoint, read_manifest, unreadable
from trionyx_audit.storage import Layout, replace_file
from trionyx_audit.verdict import Exit, Verdict
from trionyx_audit.verify import verify

MEMORY_SCHEMA = "trionyx.remembered/v1"
_MAX_MEMORY_BYTES = 64 * 2**20


class UsageError(AuditError):
    """The command line or a file named on it cannot be used."""


@dataclass(frozen=True, slots=True)
class Options:
    """What `verify` was asked to do.

    Args:
        logs: directories.
        key: trusted key.
        against: checkpoint files to compare with.
        remember: file of the last seen checkpoints, or None.
    """

    logs: tuple[Path, ...]
    key: TrustedKey
    against: tuple[Path, ...] = ()
    remember: Path | None = None
    quick: bool = False
    strict: bool = False
    json: bool = False


def run(options: Options) -> Exit:
    """Verify each log, print the verdicts, update the memory of those without violation; return the worst code.

    Raises:
        UsageError: a checkpoint or memory file is not usable.
    """
    memory = _load_memory(options.remember) if options.remember else {}
    outside = _load_checkpoints(options)
    objects: list[JSON] = []
    codes: list[Exit] = []
    matched: set[str] = set()
    for place, directory in enumerate(options.logs):
        try:
            origin = _origin(directory)
            matched.add(origin)
            heads = [(f"the checkpoint {path}", head) for path, head in outside if head.origin == origin]
            heads += _remembered(memory, origin, options)
            verdict = verify(directory, options.key, quick=options.quick, heads=heads)
        except (UnreadableError, UnsupportedError, KeyMaterialError) as error:
            codes.append(exit_code(error))
            objects.append({"log": str(directory), "exit": int(codes[-1]), "error": str(error)})
            text = [f"{printable(str(directory))}: {printable(str(error))}"]
        else:
            codes.append(verdict.exit(strict=options.strict))
            objects.append({"log": str(directory), **verdict_object(verdict, strict=options.strict)})
            text = list(verdict_lines(verdict))
            if codes[-1] is not Exit.VIOLATED:
                _remember(memory, verdict)
        if not options.json:
            write_lines([""] * (place > 0) + text)
    worst = worst_of(codes)
    if options.json:
        write_lines([json_line({"schema": SCHEMA, "exit": int(worst), "logs": objects})])
    if options.remember:
        _store_memory(options.remember, memory)
    # A violation outweighs a checkpoint that is of another log: the log may no longer tell its own name.
    strange = [path for path, head in outside if head.origin not in matched]
    if strange and worst is not Exit.VIOLATED:
        raise UsageError(f"{strange[0]}: the checkpoint is of none of the logs given")
    return worst


def exit_code(error: AuditError) -> Exit:
    """Return the exit code of an error that ended a command."""
    match error:
        case UnreadableError():
            return Exit.UNREADABLE
        case UnsupportedError():
            return Exit.UNSUPPORTED
        case FormatError():
            return Exit.VIOLATED
        case _:
            return Exit.USAGE


def worst_of(codes: Sequence[Exit]) -> Exit:
    """Return the code that says most: a violation beats everything."""
    order = (Exit.VIOLATED, Exit.USAGE, Exit.UNSUPPORTED, Exit.UNREADABLE, Exit.INCOMPLETE, Exit.HOLDS)
    return min(codes, key=order.index)


def _origin(directory: Path) -> str:
    try:
        return read_manifest(Layout(directory)).origin
    except FormatError:
        return ""  # `verify` reports it; no outside checkpoint can be matched


def _load_checkpoints(options: Options) -> list[tuple[Path, Checkpoint]]:
    found: list[tuple[Path, Checkpoint]] = []
    for path in options.against:
        if any(log.resolve() in path.resolve().parents for log in options.logs):
            raise UsageError(f"{path}: a checkpoint in the log's own directory anchors nothing")
        raw = read_checkpoint(path)
        if raw is None:
            raise UnreadableError(f"{path}: no such file or directory")
        try:
            found.append((path, open_checkpoint(raw, options.key.for_origin(claimed_checkpoint(raw).origin))))
        except (NoteError, KeyMaterialError) as error:
            raise UsageError(f"{path}: {error}") from error
    return found


def _remembered(memory: dict[str, str], origin: str, options: Options) -> list[tuple[str, Checkpoint]]:
    note = memory.get(origin)
    if note is None:
        return []
    try:
        head = open_checkpoint(note.encode(), options.key.for_origin(origin))
    except NoteError as error:
        raise UsageError(f"{options.remember}: {error}") from error
    return [(f"the checkpoint remembered in {options.remember}", head)]


def _remember(memory: dict[str, str], verdict: Verdict) -> None:
    """Remember the log's own checkpoint that was just verified; never a smaller one than before."""
    before = memory.get(verdict.origin)
    if not verdict.checkpoint:
        return
    if before is None or claimed_checkpoint(before.encode()).size <= verdict.sealed:
        memory[verdict.origin] = verdict.checkpoint.decode()


def _load_memory(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            value = orjson.loads(file.read(_MAX_MEMORY_BYTES))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise unreadable(path, error) from error
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{path}: not a file of remembered checkpoints") from error
    logs = value.get("logs") if isinstance(value, dict) and value.get("schema") == MEMORY_SCHEMA else None
    if not isinstance(logs, dict) or not all(isinstance(note, str) for note in logs.values()):
        raise UsageError(f"{path}: not a file of remembered checkpoints")
    return logs


def _store_memory(path: Path, memory: dict[str, str]) -> None:
    logs: dict[str, JSON] = dict(memory)
    replace_file(path, (json_line({"schema": MEMORY_SCHEMA, "logs": logs}) + "\n").encode(), 0o600)
