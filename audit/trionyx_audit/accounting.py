"""Running accounts over a log's records: calls that must end, payloads that must be there."""

from __future__ import annotations

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
    """Finds the payload of each commitment, and opens it where the key can be read.

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
        found: dict[str, Entry] = {}
        while self._ahead is not None and self._ahead.seq <= seq:
            if self._ahead.seq == seq:
                found[self._ahead.name] = self._ahead
            self._advance()
        for name, (commit, length) in committed.items():
            self._committed += 1
            if name not in found:
                self._first_missing = self._first_missing or seq
                self._missing += 1
                continue
            self._present += 1
            if self._vault is not None:
                self._open(self._vault, self._path, found[name], commit, length)

    def _advance(self) -> None:
        self._ahead = next(self._entries, None)
        if self._ahead is not None:
            self._offset = self._ahead.offset + 4 + self._ahead.length

    def _open(self, vault: Vault, path: Path, entry: Entry, commit: str, length: int) -> None:
        try:
            data = vault.open(entry.seq, entry.name, bytes.fromhex(commit), read_entry(path, entry))
            if len(data) != length:
                raise PayloadError("the payload has another length than its record says")
        except (PayloadError, ValueError) as error:
            reason = str(error) if isinstance(error, PayloadError) else "the commitment is not hex"
            if len(self._altered) < _MAX_PAYLOAD_FINDINGS:
                self._altered.append((entry.seq, reason))
        else:
            self._opened += 1

    def count(self) -> PayloadCount:
        """Return the balance so far."""
        return PayloadCount(self._committed, self._present, self._opened)

    def findings(self) -> Iterator[Finding]:
        """Yield a violation for altered payloads and a warning for missing ones."""
        for seq, reason in self._altered:
            yield Finding("payload", Severity.VIOLATION, reason, seq)
        if self._missing:
            detail = f"payloads that are missing: {self._missing}"
            yield Finding("missing_payload", Severity.WARNING, detail, self._first_missing)
