"""What a verification found, as values; nothing here reads a log or prints."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Exit(IntEnum):
    """Exit codes of `trionyx-audit`."""

    HOLDS = 0
    VIOLATED = 1
    USAGE = 2
    INCOMPLETE = 3
    UNREADABLE = 4
    UNSUPPORTED = 5


class Severity(StrEnum):
    """What a finding means for the verdict."""

    VIOLATION = "violation"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth telling.

    Args:
        id: stable machine name: tamper, fork, deleted, replayed, truncated, checkpoint, manifest, payload, …
        detail: lower-case, one line, no text from the log.
        seq: first record concerned, or None.
        segment: file name of its segment, or "".
        offset: byte offset of the record within the segment, or None.
    """

    id: str
    severity: Severity
    detail: str
    seq: int | None = None
    segment: str = ""
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Anchor:
    """A checkpoint from outside the log's directory that the log agrees with.

    Args:
        source: where the auditor has it from.
        size: records it covers.
    """

    source: str
    size: int


@dataclass(frozen=True, slots=True)
class CallCount:
    """Whether every intent has its end.

    Args:
        intents: calls with an intent record.
        outcomes: intents that ended in an outcome.
        revoked: intents that ended in a denial.
        denied: calls denied without an intent.
        in_doubt: call ids of intents without an end, in order, at most the first `MAX_IN_DOUBT`.
        in_doubt_count: their number.
        orphans: outcomes without an open intent.
    """

    intents: int
    outcomes: int
    revoked: int
    denied: int
    in_doubt: tuple[str, ...]
    in_doubt_count: int
    orphans: int


@dataclass(frozen=True, slots=True)
class PayloadCount:
    """What became of the payloads that records commit to.

    Args:
        committed: commitments in the records.
        present: entries found.
        opened: entries decrypted and equal to their commitment; 0 where the keyvault cannot be read.
    """

    committed: int
    present: int
    opened: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of verifying one log.

    Args:
        origin: the log's name.
        vkey: verifier key that was trusted.
        every_signature: whether each record's signature was checked, or only the last one's.
        size: records that verified, from 0 on.
        segments: segment files they came from.
        root: RFC 6962 root over them.
        sealed: records covered by the log's own newest checkpoint.
        checkpoint: that checkpoint's signed note, or b"" where there is none that holds.
        unsealed_s: seconds from the last covered record to the last record.
        last_ts: time of the last verified record, or "".
        anchors: outside checkpoints that agree, smallest first.
        calls: completeness of intents.
        payloads: state of the payloads.
        findings: everything else, first violation first.
    """

    origin: str
    vkey: str
    every_signature: bool
    size: int
    segments: int
    root: bytes
    sealed: int
    checkpoint: bytes
    unsealed_s: float
    last_ts: str
    anchors: tuple[Anchor, ...]
    calls: CallCount
    payloads: PayloadCount
    findings: tuple[Finding, ...]

    @property
    def violation(self) -> Finding | None:
        """The first violation, or None where integrity holds."""
        return next((found for found in self.findings if found.severity is Severity.VIOLATION), None)

    @property
    def exposed(self) -> int:
        """Number of records that no checkpoint from outside covers: they could vanish unnoticed."""
        return self.size - (self.anchors[-1].size if self.anchors else 0)

    def exit(self, *, strict: bool = False) -> Exit:
        """Return the exit code.

        Args:
            strict: whether notes count like warnings.
        """
        severities = {found.severity for found in self.findings}
        if Severity.VIOLATION in severities:
            return Exit.VIOLATED
        if Severity.WARNING in severities or (strict and severities):
            return Exit.INCOMPLETE
        return Exit.HOLDS
