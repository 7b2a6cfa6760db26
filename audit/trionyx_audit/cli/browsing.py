"""`trionyx-audit show` and `tail`: records for people, checked as they are read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trionyx_audit.canonical import JSON
from trionyx_audit.chain import Chain
from trionyx_audit.checkpoint import TrustedKey
from trionyx_audit.cli.terminal import compact, json_line, printable, write_lines
from trionyx_audit.errors import FormatError
from trionyx_audit.note import encode_base64
from trionyx_audit.opening import PayloadOpener
from trionyx_audit.reading import LineReader, located, read_manifest, records
from trionyx_audit.record import COMMON, Record, commitments, leaf_hash
from trionyx_audit.storage import Layout
from trionyx_audit.verdict import Exit
from trionyx_audit.verify import LineVerifier

_FIRST = ("run", "call", "tool", "rules", "status", "decision")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records to show; None lets everything pass.

    Args:
        type: record type, or the part of it before a dot.
    """

    run: str | None = None
    call: str | None = None
    type: str | None = None

    def matches(self, record: Record) -> bool:
        """Tell whether a record passes."""
        return (
            (self.run is None or record.body.get("run") == self.run)
            and (self.call is None or record.body.get("call") == self.call)
            and (self.type is None or record.type == self.type or record.type.startswith(self.type + "."))
        )


def show(directory: Path, chosen: Filter, *, payload: bool, json: bool) -> Exit:
    """Print the chosen records in order; checks the chain on the way, but no signature.

    Raises:
        FormatError: the log is damaged; the records before the damage have been printed.
        UnreadableError: a file cannot be read.
        PayloadError: payloads are asked for and the key to open them cannot be read.
    """
    opener = PayloadOpener(directory) if payload else None
    for record in records(directory):
        if chosen.matches(record):
            opened = opener.open(record) if opener else {}
            if json:
                write_lines([json_line(row_object(record) | _payload_object(opened, asked=payload))])
            else:
                write_lines([row(record), *_payload_lines(opened)])
    return Exit.HOLDS


def tail(
    directory: Path, count: int, *, key: TrustedKey | None, json: bool, wait: Callable[[], bool] | None
) -> Exit:
    """Print the last records, then, with `wait`, each new one once it has been checked.

    Args:
        directory: the log's directory.
        count: records to print at first.
        key: checks every signature too; None checks only the chain.
        json: whether to print JSON lines.
        wait: called before each look for more; False ends the following. None does not follow.

    Raises:
        FormatError: the log is damaged; everything printed before is not.
        UnreadableError: a file cannot be read.
        KeyMaterialError: the key is not trusted for this log.
    """
    layout = Layout(directory)
    origin = read_manifest(layout).origin
    checker: Chain | LineVerifier = (
        Chain(origin) if key is None else LineVerifier(key.for_origin(origin), every_signature=True)
    )
    reader = LineReader(layout)
    recent: deque[Record] = deque(maxlen=count)
    try:
        _read_new(reader, checker, recent.append)
    finally:
        _print_all(recent, json=json)
    while wait is not None and wait():
        _read_new(reader, checker, lambda record: _print_all([record], json=json))
    return Exit.HOLDS


def row(record: Record) -> str:
    """Return one line for a record: place, time, type, its own members, the start of its leaf hash."""
    body = record.body
    ts = str(body.get("ts", ""))
    own = sorted(
        (name for name in body if name not in COMMON),
        key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name),
    )
    committed = commitments(body)
    members = "  ".join(
        f"{name}=({committed[name][1]:,} bytes)" if name in committed else f"{name}={compact(body[name])}"
        for name in own
    )
    when = printable(f"{ts[:10]} {ts[11:23]}")
    return f"{record.seq:>7}  {when:<23}  {printable(record.type):<13}  {members}  [{_leaf(record)[:8]}]"


def row_object(record: Record) -> dict[str, JSON]:
    """Return a record as a JSON object with its place and leaf hash."""
    return {"seq": record.seq, "leaf": _leaf(record), "record": record.body}


def _leaf(record: Record) -> str:
    return leaf_hash(record.line).hex()


def _print_all(found: deque[Record] | list[Record], *, json: bool) -> None:
    write_lines(json_line(row_object(record)) if json else row(record) for record in found)


def _read_new(reader: LineReader, checker: Chain | LineVerifier, take: Callable[[Record], None]) -> None:
    for line in reader.lines():
        try:
            body, _ = checker.accept(line)
        except FormatError as error:
            raise located(error, reader) from error
        take(Record(reader.size, str(body["type"]), body, line))


def _payload_lines(opened: dict[str, bytes | None]) -> list[str]:
    return [
        f"{'':>9}{printable(name)}: "
        + (
            "(missing, or not the one committed to)"
            if data is None
            else printable(data.decode(errors="replace"))
        )
        for name, data in opened.items()
    ]


def _payload_object(opened: dict[str, bytes | None], *, asked: bool) -> dict[str, JSON]:
    if not asked:
        return {}
    payloads: dict[str, JSON] = {}
    for name, data in opened.items():
        try:
            payloads[name] = None if data is None else {"text": data.decode()}
        except UnicodeDecodeError:
            payloads[name] = {"base64": encode_base64(data or b"")}
    return {"payloads": payloads}
