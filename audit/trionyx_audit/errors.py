"""The audit log's exception tree, by who must act: the caller, the operator, or the auditor."""

from __future__ import annotations


class AuditError(Exception):
    """Base of everything this package raises on purpose."""


class EncodingError(AuditError):
    """A value cannot become a record: it breaks the body profile, a limit, or RFC 8785."""


class FormatError(AuditError):
    """Bytes that claim to be a log are not one.

    Args:
        reason: what is wrong; lower-case, one line, no received text in it.
        seq: sequence number that the record at this place would have, or None outside records.
        offset: byte offset of the record within its segment file, or None outside records.
        segment: file name of the segment, or "" outside records.
    """

    def __init__(
        self, reason: str, *, seq: int | None = None, offset: int | None = None, segment: str = ""
    ) -> None:
        place = "" if seq is None else f"record {seq}: "
        super().__init__(place + reason)
        self.reason = reason
        self.seq = seq
        self.offset = offset
        self.segment = segment


class UnreadableError(AuditError):
    """A file of the log is missing or the operating system refuses to read it."""


class UnsupportedError(AuditError):
    """A log is of a format version that this package does not read."""


class KeyMaterialError(AuditError):
    """A key is malformed, of small order, readable by others, or not the one expected."""


class NoteError(AuditError):
    """A signed note or checkpoint is malformed or carries no valid signature of a known key."""


class ProofError(AuditError):
    """A proof is malformed, or does not prove what it claims."""


class PayloadError(AuditError):
    """A payload cannot be opened, or is not the one its record commits to."""


class StorageError(AuditError):
    """A record is not known to be durable, or the log's files are not usable for writing."""


class LockedError(StorageError):
    """Another writer holds the log."""
