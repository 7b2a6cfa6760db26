"""Running accounts over a log's records: calls that must end, payloads that must be there."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from trionyx_audit.canonical import JSON
from trionyx_audit.errors import PayloadError
from trionyx_audit.payload import Entry, Vault, entries, read_entry
from trionyx_audit.record import commitments
from trionyx_audit.storage import Layout
from trionyx_audit.verdict import CallCount, Finding, PayloadCount, Severity

MAX_IN_DOUBT = 20
MAX_CALL_CHARS = 128
_MAX_PAYLOAD_FINDINGS = 20


class CallAccount:
    """Matches `call.intent` with `call.outcome` and `call.denied` by the member `call`."""

    def __init__(self) -> None:
        # INVARIANT: only open intents are held, so memory follows the calls in flight, not the log.
        self._open: dict[str, int] = {}
        self._intents = self._outcomes = self._revoked = self._denied = self._orphans = 0
        self._first_orphan: int | None = None

    def add(self, seq: int, body: dict[str, JSON]) -> None:
        """Take the next record into account; records that are no calls change nothing."""
        kind = body["type"]
        if kind not in ("call.intent", "call.outcome", "call.denied"):
            return
        call = str(body.get("call", ""))[:MAX_CALL_CHARS]
        match kind:
            case "call.intent" if call not in self._open:
                self._open[call] = seq
                self._intents += 1
            case "call.outcome":
                if self._open.pop(call, None) is None:
                    self._orphans += 1
                    self._first_orphan = seq if self._first_orphan is None else self._first_orphan
                else:
                    self._outcomes += 1
            case "call.denied":
                if self._open.pop(call, None) is None:
                    self._denied += 1
                else:
                    self._revoked += 1
            case _:  # a second intent of an open call: the call was decided again
                pass

    def count(self) -> CallCount:
        """Return the balance so far."""
        in_doubt = tuple(self._open)[:MAX_IN_DOUBT]
        return CallCount(
            self._intents,
            self._outcomes,
            self._revoked,
            self._denied,
            in_doubt,
            len(self._open),
            self._orphans,
        )

    def findings(self) -> Iterator[Finding]:
        """Yield what the balance says that an auditor should know."""
        if self._orphans:
            detail = f"outcomes without an open intent before them: {self._orphans}"
            yield Finding("orphan", Severity.WARNING, detail, self._first_orphan)
        if self._open:
            detail = f"calls with an intent and no end, whose effect is in doubt: {len(self._open)}"
            yield Finding("in_doubt", Severity.NOTE, detail, next(iter(self._open.values())))


class PayloadAccount:
    """Finds the payload of each commitment, and opens it where the key can be read; finds what nobody commits to.

    Args:
        layout: the log's directory.
        vault: opens payloads; None only looks whether they are there.
    """

    def __init__(self, layout: Layout, vault: Vault | None) -> None:
        self._layout = layout
        self._vault = vault
        self._first: int | None = None
        self._path = layout.directory
        self._entries: Iterator[Entry] = iter(())
        self._ahead: Entry | None = None
        self._offset = 0
        self._committed = self._present = self._opened = 0
        self._missing = self._first_missing = 0
        self._altered: list[tuple[int, str]] = []
        # By segment: how many bytes of its payload file are committed to, and where the last of them ends.
        self._claimed: dict[int, tuple[int, int]] = {}
        self._leftover = self._leftover_files = self._ahead_bytes = 0

    def add(self, seq: int, first: int, body: dict[str, JSON]) -> None:
        """Take the next record into account.

        Args:
            seq: the record's sequence number.
            first: first record of its segment.
            body: its members.

        Raises:
            OSError: a payload file cannot be read.
        """
        committed = commitments(body)
        if not committed:
            return
        if first != self._first:
            self._first, self._path, self._offset = first, self._layout.payload(first), 0
            self._ahead = None
        if self._ahead is None:  # the end was reached, but a live log may have grown since
            self._entries = entries(self._path, self._offset)
            self._advance()
        found: dict[str, list[Entry]] = {}
        while self._ahead is not None and self._ahead.seq <= seq:
            if self._ahead.seq == seq:
                found.setdefault(self._ahead.name, []).append(self._ahead)
            self._advance()
        for name, (commit, length) in committed.items():
            self._committed += 1
            if name not in found:
                self._first_missing = self._first_missing or seq
                self._missing += 1
                continue
            self._present += 1
            self._claim(first, self._choose(found[name], commit, length))

    def close(self, size: int, last: int) -> None:
        """Look for payloads that no record commits to, once every record is taken into account.

        Does not hold them against a writer at work: it writes a payload before its record.

        Args:
            size: number of records.
            last: first record of the last segment.

        Raises:
            OSError: the directory or a payload file cannot be read.
        """
        for first, path, length in _payload_files(self._layout):
            claimed, end = self._claimed.get(first, (0, 0))
            tail = 0
            is_open = first == last or first >= size  # a crash may leave the next file without its segment
            if is_open and all(entry.seq >= size for entry in entries(path, end)):
                tail = length - end
            self._ahead_bytes += tail
            if length - claimed > tail:
                self._leftover += length - claimed - tail
                self._leftover_files += 1

    def _claim(self, first: int, entry: Entry) -> None:
        claimed, _ = self._claimed.get(first, (0, 0))
        length = 4 + entry.length
        self._claimed[first] = (claimed + length, entry.offset + length)

    def _advance(self) -> None:
        self._ahead = next(self._entries, None)
        if self._ahead is not None:
            self._offset = self._ahead.offset + 4 + self._ahead.length

    def _choose(self, candidates: list[Entry], commit: str, length: int) -> Entry:
        """Return the entry that is as committed; the first where none can be or is."""
        if self._vault is None:
            return candidates[0]
        reason = ""
        for entry in candidates:  # more than one only if somebody added to the file
            wrong = self._problem(self._vault, entry, commit, length)
            if not wrong:
                self._opened += 1
                return entry
            reason = reason or wrong
        if len(self._altered) < _MAX_PAYLOAD_FINDINGS:
            self._altered.append((candidates[0].seq, reason))
        return candidates[0]

    def _problem(self, vault: Vault, entry: Entry, commit: str, length: int) -> str:
        try:
            data = vault.open(entry.seq, entry.name, bytes.fromhex(commit), read_entry(self._path, entry))
        except PayloadError as error:
            return str(error)
        except ValueError:
            return "the commitment is not hex"
        return "" if len(data) == length else "the payload has another length than its record says"

    def count(self) -> PayloadCount:
        """Return the balance so far."""
        return PayloadCount(self._committed, self._present, self._opened)

    def findings(self) -> Iterator[Finding]:
        """Yield a violation for altered payloads, a warning for missing ones and for what is there besides."""
        for seq, reason in self._altered:
            yield Finding("payload", Severity.VIOLATION, reason, seq)
        if self._missing:
            detail = f"payloads that are missing: {self._missing}"
            yield Finding("missing_payload", Severity.WARNING, detail, self._first_missing)
        if self._leftover_files:
            detail = f"payload files with data that no record commits to: {self._leftover_files}"
            detail += f" ({self._leftover:,} bytes)"
            yield Finding("leftover_payload", Severity.WARNING, detail)
        if self._ahead_bytes:
            detail = f"the last {self._ahead_bytes:,} bytes of the payloads are of no record yet"
            yield Finding("payload_ahead", Severity.NOTE, detail)


def _payload_files(layout: Layout) -> Iterator[tuple[int, Path, int]]:
    """Yield number, path and length of each file among the payloads; -1 for one that can be of no segment."""
    try:
        paths = sorted(layout.payloads.iterdir())
    except FileNotFoundError:
        return  # erased, or kept elsewhere
    for path in paths:
        found = path.lstat()
        is_payload = len(path.stem) == 16 and path.stem.isdecimal() and path == layout.payload(int(path.stem))
        first = int(path.stem) if is_payload and stat.S_ISREG(found.st_mode) else -1
        yield first, path, found.st_size
